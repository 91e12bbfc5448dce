//! A filter, ready to be carried out: its tree, with names and values of our own.
use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use roaring::{MultiOps, RoaringBitmap};

/// A condition on a row's metadata.
#[derive(Debug)]
pub enum Plan {
    /// Every part matches.
    All(Vec<Plan>),
    /// At least one part matches.
    Any(Vec<Plan>),
    Not(Box<Plan>),
    Leaf(Leaf),
}

/// A condition on one field.
#[derive(Debug)]
pub struct Leaf {
    pub field: Box<str>,
    pub test: Test,
}

/// What a field's value is tested for. A field that is missing passes none of them.
#[derive(Debug)]
pub enum Test {
    Exists,
    /// It is null, or it is not.
    Null(bool),
    /// It, or an element of it, equals one of these.
    OneOf(Vec<Scalar>),
    NoneOf(Vec<Scalar>),
    /// It is a number, or a string, on these sides of numbers, or of strings.
    Order(Vec<(Edge, Scalar)>),
    /// It is a list with this element, or a string with this string within it.
    Contains(Scalar),
    /// It is a list with one of these elements.
    HoldsAny(Vec<Scalar>),
    /// It is a list with all these elements.
    HoldsAll(Vec<Scalar>),
    StartsWith(Box<str>),
    EndsWith(Box<str>),
    Words(Words),
    /// It is an instant from `low` to `high`, or before the end of the day that begins at `high`.
    Between {
        low: f64,
        high: f64,
        whole_day: bool,
    },
}

/// A side of a bound, with the bound or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edge {
    Above,
    From,
    Below,
    UpTo,
}

/// A value that others are compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar {
    Null,
    Bool(bool),
    Number(f64),
    Text(Box<str>),
}

/// The words that a string has to hold. Where text or string are not of ASCII, words are for `ask` to tell.
pub struct Words {
    pub text: Box<str>,
    pub ask: Arc<dyn Ask>,
}

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Words({:?})", self.text)
    }
}

/// Whoever can tell whether strings pass a test, always alike.
pub trait Ask: Send + Sync {
    /// Tell it of each.
    fn ask(&self, strings: &[&str]) -> Result<Vec<bool>, Unanswered>;
}

/// Why there was no answer.
pub type Unanswered = Box<dyn Error + Send + Sync>;

impl Plan {
    /// Join conditions, which all have to hold. Those on the order of one field become one: a range is far smaller than
    /// what lies above its lower end, and what lies below its upper one.
    pub fn all(parts: Vec<Self>) -> Self {
        let mut joined: Vec<Self> = Vec::new();
        for part in parts {
            let Some((field, bounds)) = part.order() else {
                joined.push(part);
                continue;
            };
            let kind = std::mem::discriminant(&bounds[0].1);
            let alike = |known: &&mut Self| {
                known.order().is_some_and(|(name, others)| {
                    name == field && std::mem::discriminant(&others[0].1) == kind
                })
            };
            let known = joined.iter_mut().find(alike);
            if let Some(Self::Leaf(Leaf {
                test: Test::Order(others),
                ..
            })) = known
            {
                others.extend_from_slice(bounds);
            } else {
                joined.push(part);
            }
        }
        Self::All(joined)
    }

    fn order(&self) -> Option<(&str, &[(Edge, Scalar)])> {
        match self {
            Self::Leaf(Leaf {
                field,
                test: Test::Order(bounds),
            }) => Some((field, bounds)),
            _ => None,
        }
    }

    /// Visit every condition on a field.
    pub fn each_leaf<'p>(&'p self, visit: &mut impl FnMut(&'p Leaf)) {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                parts.iter().for_each(|part| part.each_leaf(visit));
            }
            Self::Not(part) => part.each_leaf(visit),
            Self::Leaf(leaf) => visit(leaf),
        }
    }

    /// Give the rows that match, of the first `rows`; others may be among them. `leaf` gives those of one field.
    pub fn matching<'a>(
        &self,
        rows: u32,
        leaf: &impl Fn(&Leaf) -> Cow<'a, RoaringBitmap>,
    ) -> Cow<'a, RoaringBitmap> {
        match self {
            Self::Leaf(one) => leaf(one),
            Self::Not(part) => Cow::Owned(all(rows) - &*part.matching(rows, leaf)),
            Self::Any(parts) => {
                let parts: Vec<_> = parts.iter().map(|part| part.matching(rows, leaf)).collect();
                Cow::Owned(parts.iter().map(AsRef::as_ref).union())
            }
            Self::All(parts) => every(parts, rows, leaf),
        }
    }
}

/// Begin with the parts that say what to take, then take off what the others leave out.
fn every<'a>(
    parts: &[Plan],
    rows: u32,
    leaf: &impl Fn(&Leaf) -> Cow<'a, RoaringBitmap>,
) -> Cow<'a, RoaringBitmap> {
    let (less, more): (Vec<_>, Vec<_>) =
        parts.iter().partition(|part| matches!(part, Plan::Not(_)));
    let mut found: Option<Cow<'a, RoaringBitmap>> = None;
    for part in more {
        let these = part.matching(rows, leaf);
        found = Some(match found {
            None => these,
            Some(those) => Cow::Owned(&*those & &*these),
        });
        if found.as_ref().is_some_and(|found| found.is_empty()) {
            return Cow::default();
        }
    }
    let mut found = found.unwrap_or_else(|| Cow::Owned(all(rows)));
    for part in less {
        if let Plan::Not(part) = part {
            *found.to_mut() -= &*part.matching(rows, leaf);
        }
    }
    found
}

fn all(rows: u32) -> RoaringBitmap {
    let mut all = RoaringBitmap::new();
    all.insert_range(0..rows);
    all
}
