//! What the names of fields stand for in one record: one walk over its canonical JSON finds all of them.
//!
//! A name is the key of exactly that name, else the longest key, ended by a dot of the name, that leads into a map in
//! which the rest is found by the same rule; where it is not found there, the next shorter key is tried. So a name's
//! readings are the ways to cut it at dots, each standing at another place of the record, and the one whose first key is
//! longest counts, then whose second is, and so on. [`Cuts`] orders them.
//!
//! The bytes may be damaged: they are checked as far as they are read, and nothing of a record that is no canonical JSON
//! object is used. Records obey `jcs::METADATA`, which bounds the walk's depth and its length.
use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use crate::jcs::{self, Value};
use crate::record::METADATA_LIMIT;

/// Dots in a name; as many as [`Cuts`] has bits.
pub const MAX_DOTS: usize = 64;

/// The dots of a name at which it was cut, its first dot the highest bit: the reading that counts is the smallest.
type Cuts = u64;

/// A record's metadata is no canonical JSON object.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable;

/// Names to be looked up together, and what was found of them in the last record.
pub struct Names<'n> {
    /// Sorted, so that those that begin alike stand side by side.
    names: Vec<&'n str>,
}

impl<'n> Names<'n> {
    /// Sort the names. They are distinct.
    pub fn new(mut names: Vec<&'n str>) -> Self {
        names.sort_unstable();
        Self { names }
    }

    /// Find where in a record the JSON text of what each name stands for is. The answers are in the names' order.
    /// Gives the record's text.
    pub fn find<'d>(&self, document: &'d [u8], found: &mut Found) -> Result<&'d str, Unreadable> {
        if document.len() > METADATA_LIMIT {
            return Err(Unreadable);
        }
        let text = std::str::from_utf8(document).map_err(|_| Unreadable)?;
        found.clear();
        found.resize(self.names.len(), None);
        let mut walk = Walk {
            text,
            at: 0,
            names: &self.names,
            found,
        };
        let all = Wanted {
            names: 0..self.names.len(),
            used: 0,
            dots: 0,
            cuts: 0,
        };
        if walk.peek() != Some(b'{') {
            return Err(Unreadable);
        }
        walk.value(1, all)?;
        if walk.at != text.len() {
            return Err(Unreadable);
        }
        Ok(text)
    }
}

/// Of each name, the reading that counts, and where its value is.
pub type Found = Vec<Option<(Cuts, Range<usize>)>>;

/// The names that a map may answer: those that begin with the keys that lead into it, each with a dot, `used` bytes.
#[derive(Clone)]
struct Wanted {
    names: Range<usize>,
    used: usize,
    dots: u32,
    cuts: Cuts,
}

struct Walk<'d, 'w> {
    text: &'d str,
    at: usize,
    names: &'w [&'w str],
    found: &'w mut Found,
}

impl Walk<'_, '_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> Result<(), Unreadable> {
        let right = self.peek() == Some(byte);
        self.at += usize::from(right);
        right.then_some(()).ok_or(Unreadable)
    }

    /// Read over a value that stands at `depth` if it is a container; note in it what is wanted.
    fn value(&mut self, depth: usize, wanted: Wanted) -> Result<(), Unreadable> {
        match self.peek() {
            Some(b'{' | b'[') if depth > jcs::METADATA.depth => Err(Unreadable),
            Some(b'{') => self.map(depth, &wanted),
            Some(b'[') => self.list(depth),
            Some(b'"') => self.string().map(|_| ()),
            Some(b't') => self.word("true"),
            Some(b'f') => self.word("false"),
            Some(b'n') => self.word("null"),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => Err(Unreadable),
        }
    }

    fn word(&mut self, word: &str) -> Result<(), Unreadable> {
        let right = self.text[self.at..].starts_with(word);
        self.at += word.len();
        right.then_some(()).ok_or(Unreadable)
    }

    fn number(&mut self) -> Result<(), Unreadable> {
        while matches!(
            self.peek(),
            Some(b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')
        ) {
            self.at += 1;
        }
        Ok(())
    }

    /// Read over a string; give where it stands, with its quotes, and whether it holds an escape.
    fn string(&mut self) -> Result<(Range<usize>, bool), Unreadable> {
        let start = self.at;
        let mut escaped = false;
        self.eat(b'"')?;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    escaped = true;
                    self.at += 2;
                }
                Some(byte) if byte >= b' ' => self.at += 1,
                _ => return Err(Unreadable),
            }
        }
        self.at += 1;
        Ok((start..self.at, escaped))
    }

    fn list(&mut self, depth: usize) -> Result<(), Unreadable> {
        self.eat(b'[')?;
        if self.eat(b']').is_ok() {
            return Ok(());
        }
        loop {
            self.value(depth + 1, Wanted::nothing())?;
            if self.eat(b',').is_err() {
                return self.eat(b']');
            }
        }
    }

    fn map(&mut self, depth: usize, wanted: &Wanted) -> Result<(), Unreadable> {
        self.eat(b'{')?;
        if self.eat(b'}').is_ok() {
            return Ok(());
        }
        loop {
            let (key, escaped) = self.string()?;
            self.eat(b':')?;
            self.member(depth, wanted, key, escaped)?;
            if self.eat(b',').is_err() {
                return self.eat(b'}');
            }
        }
    }

    fn member(
        &mut self,
        depth: usize,
        wanted: &Wanted,
        key: Range<usize>,
        escaped: bool,
    ) -> Result<(), Unreadable> {
        if wanted.names.is_empty() {
            return self.value(depth + 1, Wanted::nothing());
        }
        let key = unquoted(&self.text[key], escaped)?;
        let (exact, inner) = wanted.under(self.names, &key);
        let start = self.at;
        self.value(depth + 1, inner)?;
        if let Some(name) = exact {
            let known = self.found[name].as_ref();
            // `<=`: where a damaged map has a key twice, the last counts, as in Python.
            if known.is_none_or(|(cuts, _)| wanted.cuts <= *cuts) {
                self.found[name] = Some((wanted.cuts, start..self.at));
            }
        }
        Ok(())
    }
}

impl Wanted {
    fn nothing() -> Self {
        Self {
            names: 0..0,
            used: 0,
            dots: 0,
            cuts: 0,
        }
    }

    /// Give the name whose rest is `key`, and the names that go on behind it with a dot.
    fn under(&self, names: &[&str], key: &str) -> (Option<usize>, Self) {
        let asked = &names[self.names.clone()];
        let at = asked.partition_point(|name| &name[self.used..] < key);
        let first = self.names.start + at;
        let alike = &asked[at..];
        // Those that begin with the key stand here, if there are any.
        match alike.first().map(|name| &name[self.used..]) {
            Some(rest) if rest.starts_with(key) => {
                let exact = (rest.len() == key.len()).then_some(first);
                (exact, self.behind(alike, first, key))
            }
            _ => (None, Self::nothing()),
        }
    }

    /// Of names from number `first` on, of which none comes before `key`, those that go on with it and a dot.
    fn behind(&self, alike: &[&str], first: usize, key: &str) -> Self {
        let compare = |name: &str| {
            let (head, tail) = name.as_bytes()[self.used..].split_at_checked(key.len())?;
            Some(head.cmp(key.as_bytes()).then(tail.first()?.cmp(&b'.')))
        };
        // Too short to go on: what stands before the others is the key itself, then.
        let order = |name: &str| {
            compare(name).unwrap_or_else(|| name[self.used..].cmp(key).then(Ordering::Less))
        };
        let from = alike.partition_point(|name| order(name) == Ordering::Less);
        let to = alike.partition_point(|name| order(name) != Ordering::Greater);
        if from == to {
            return Self::nothing();
        }
        let dots = self.dots + key.bytes().filter(|byte| *byte == b'.').count() as u32;
        Self {
            names: first + from..first + to,
            used: self.used + key.len() + 1,
            dots: dots + 1,
            cuts: self.cuts | 1 << (MAX_DOTS as u32 - 1 - dots),
        }
    }
}

/// Give what a JSON string says.
pub fn unquoted(raw: &str, escaped: bool) -> Result<Cow<'_, str>, Unreadable> {
    if !escaped {
        return Ok(Cow::Borrowed(&raw[1..raw.len() - 1]));
    }
    match jcs::parse(raw.as_bytes(), jcs::METADATA) {
        Ok(Value::Text(text)) => Ok(Cow::Owned(text)),
        _ => Err(Unreadable),
    }
}

/// Give the JSON text of each element of a list that was read over.
pub fn elements(list: &str) -> impl Iterator<Item = &str> {
    let mut at = 1;
    std::iter::from_fn(move || {
        at += usize::from(list.as_bytes()[at] == b',');
        let mut walk = Walk {
            text: list,
            at,
            names: &[],
            found: &mut Vec::new(),
        };
        walk.value(1, Wanted::nothing()).ok()?;
        let element = &list[at..walk.at];
        at = walk.at;
        Some(element)
    })
}
