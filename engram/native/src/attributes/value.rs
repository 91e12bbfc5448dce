//! A value of a record, taken from its JSON text.
use std::borrow::Cow;

use super::names::{Unreadable, elements, unquoted};

/// A value, as filters tell values apart.
#[derive(Debug, PartialEq)]
pub enum Value<'d> {
    Null,
    Bool(bool),
    Number(f64),
    Text(Cow<'d, str>),
    /// The list's JSON text.
    List(&'d str),
    Map,
}

impl<'d> Value<'d> {
    /// Decode the JSON text of a value that was read over.
    pub fn decode(raw: &'d str) -> Result<Self, Unreadable> {
        Ok(match raw.as_bytes().first() {
            Some(b'n') => Self::Null,
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'"') => Self::Text(unquoted(raw, raw.contains('\\'))?),
            Some(b'[') => Self::List(raw),
            Some(b'{') => Self::Map,
            _ => Self::Number(number(raw)?),
        })
    }

    /// The elements of a list; those that cannot be read equal nothing, and are left out.
    pub fn of_list(raw: &'d str) -> impl Iterator<Item = Self> {
        elements(raw).filter_map(|element| Self::decode(element).ok())
    }
}

fn number(raw: &str) -> Result<f64, Unreadable> {
    let number: f64 = raw.parse().map_err(|_| Unreadable)?;
    number.is_finite().then_some(number).ok_or(Unreadable)
}
