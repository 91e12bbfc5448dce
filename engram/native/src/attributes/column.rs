//! A column: the values of one field, as rows had them when they were read.
//!
//! Two tables: of the values that are no lists, and of the elements of those that are. Elements that are lists or maps
//! themselves, which equal nothing, are in neither.
use std::borrow::Cow;

use roaring::RoaringBitmap;

use super::dictionary::{Dictionary, Keys, Numbers, Strings, ordered};
use super::instant::{WHOLE_DAY_S, instant};
use super::names::Unreadable;
use super::plan::{Edge, Scalar, Test, Unanswered, Words};
use super::postings::{Union, append, bitmap_bytes};
use super::value::Value;

/// How many texts that were matched word by word have their answers kept.
const JUDGED: usize = 16;
/// Strings that are asked about at once.
const ASKED: usize = 1024;

/// Which values of a column are in order, because a filter has asked for a range of them.
#[derive(Debug, Clone, Copy)]
pub struct Ordered {
    numbers: bool,
    strings: bool,
}

/// What things cost, about: an operation on a set of rows, a value that is looked up, one that is put in order, a string
/// that another is looked for in, one that is cut into words.
const SET_NS: usize = 5_000;
const LOOK_UP_NS: usize = 300;
const SORT_NS: usize = 100;
const WITHIN_NS: usize = 20;
const WORDS_NS: usize = 1_000;

/// The values of one field.
#[derive(Default)]
pub struct Column {
    /// So many rows were read.
    pub rows: u32,
    /// When it was last used.
    pub used: u64,
    present: RoaringBitmap,
    lists: RoaringBitmap,
    values: Values,
    elements: Values,
    /// The instants that the strings of `values` name; NaN for one that names none.
    instants: Vec<f64>,
    judged: Vec<Judged>,
}

#[derive(Default)]
struct Values {
    null: RoaringBitmap,
    no: RoaringBitmap,
    yes: RoaringBitmap,
    numbers: Dictionary<Numbers>,
    strings: Dictionary<Strings>,
}

/// Which of the first `asked` strings of a column hold all words of a text.
struct Judged {
    text: Box<str>,
    asked: u32,
    accepted: RoaringBitmap,
}

impl Column {
    /// Add the value of a row, none before the last one, given as its JSON text.
    pub fn add(&mut self, row: u32, raw: &str) -> Result<(), Unreadable> {
        match Value::decode(raw)? {
            Value::List(list) => {
                append(&mut self.lists, row);
                for element in Value::of_list(list) {
                    self.elements.add(row, &element);
                }
            }
            value => self.values.add(row, &value),
        }
        append(&mut self.present, row);
        Ok(())
    }

    /// Say what is in order.
    pub fn ordered(&self) -> Ordered {
        Ordered {
            numbers: self.values.numbers.is_ordered(),
            strings: self.values.strings.is_ordered(),
        }
    }

    /// Put in order what another column has in order.
    pub fn put_in_order(&mut self, ordered: Ordered) {
        if ordered.numbers {
            self.values.numbers.sort();
        }
        if ordered.strings {
            self.values.strings.sort();
        }
    }

    /// Give back what growth has taken in advance.
    pub fn shrink(&mut self) {
        self.values.shrink();
        self.elements.shrink();
    }

    /// Make what `matching` needs for a test, beyond the values.
    pub fn prepare(&mut self, test: &Test) -> Result<(), Unanswered> {
        match test {
            Test::Order(bounds) if !of_text(bounds) => self.values.numbers.sort(),
            Test::Order(_) | Test::StartsWith(_) => self.values.strings.sort(),
            Test::Between { .. } => {
                self.values.numbers.sort();
                let new = self.values.strings.from(self.instants.len() as u32);
                self.instants
                    .extend(new.map(|(_, text)| instant(text).unwrap_or(f64::NAN)));
            }
            Test::Words(words) => return self.judge(words),
            _ => {}
        }
        Ok(())
    }

    fn judge(&mut self, words: &Words) -> Result<(), Unanswered> {
        let known = self.judged.iter().position(|one| one.text == words.text);
        let mut judged = match known {
            Some(at) => self.judged.remove(at),
            None => Judged {
                text: words.text.clone(),
                asked: 0,
                accepted: RoaringBitmap::new(),
            },
        };
        let outcome = judged.go_on(words, &self.values.strings);
        self.judged.truncate(JUDGED - 1);
        self.judged.insert(0, judged);
        outcome
    }

    /// About how many nanoseconds `prepare` and `matching` take.
    pub fn expected_ns(&self, test: &Test) -> usize {
        let (numbers, strings) = (&self.values.numbers, &self.values.strings);
        let each = |cost| strings.count() * cost;
        match test {
            Test::OneOf(wanted) | Test::NoneOf(wanted) | Test::HoldsAny(wanted) => {
                SET_NS + wanted.len() * LOOK_UP_NS
            }
            Test::HoldsAll(wanted) => SET_NS * (1 + wanted.len()),
            Test::Exists | Test::Null(_) => SET_NS,
            Test::Order(bounds) if !of_text(bounds) => {
                self.rows as usize + numbers.unsorted() * SORT_NS
            }
            Test::Order(_) | Test::StartsWith(_) => {
                self.rows as usize + strings.unsorted() * SORT_NS
            }
            Test::Contains(_) | Test::EndsWith(_) => SET_NS + each(WITHIN_NS),
            Test::Between { .. } => {
                let new = strings.count() - self.instants.len();
                self.rows as usize + numbers.unsorted() * SORT_NS + new * WITHIN_NS + each(1)
            }
            Test::Words(words) => {
                let known = self.judged.iter().find(|one| one.text == words.text);
                let asked = known.map_or(0, |one| one.asked as usize);
                each(1) + (strings.count() - asked) * WORDS_NS
            }
        }
    }

    /// Give the rows that pass a test that was prepared.
    pub fn matching(&self, test: &Test) -> Cow<'_, RoaringBitmap> {
        let mut union = Union::default();
        match test {
            Test::Exists => union.add(&self.present),
            Test::Null(true) => union.add(&self.values.null),
            Test::Null(false) => return Cow::Owned(&self.present - &self.values.null),
            Test::OneOf(wanted) => self.one_of(wanted, &mut union),
            Test::NoneOf(wanted) => {
                self.one_of(wanted, &mut union);
                return Cow::Owned(&self.present - &*union.finish());
            }
            Test::Order(bounds) => self.within(bounds, &mut union),
            Test::Contains(wanted) => {
                self.elements.equal(wanted, &mut union);
                if let Scalar::Text(part) = wanted {
                    let within = |_, text: &str| text.contains(&**part);
                    self.values.strings.accepted(within, &mut union);
                }
            }
            Test::HoldsAny(wanted) => wanted
                .iter()
                .for_each(|one| self.elements.equal(one, &mut union)),
            Test::HoldsAll(wanted) => return self.holds_all(wanted),
            Test::StartsWith(head) => {
                let until = |text: &str| text < &**head || text.starts_with(&**head);
                self.values
                    .strings
                    .span(|text| text < &**head, until, &mut union);
            }
            Test::EndsWith(tail) => {
                let ends = |_, text: &str| text.ends_with(&**tail);
                self.values.strings.accepted(ends, &mut union);
            }
            Test::Words(words) => {
                let judged = self.judged.iter().find(|one| one.text == words.text);
                let accepted = |value, _: &str| judged.is_some_and(|j| j.accepted.contains(value));
                self.values.strings.accepted(accepted, &mut union);
            }
            Test::Between {
                low,
                high,
                whole_day,
            } => self.between(*low, *high, *whole_day, &mut union),
        }
        union.finish()
    }

    fn one_of<'a>(&'a self, wanted: &[Scalar], union: &mut Union<'a>) {
        for one in wanted {
            self.values.equal(one, union);
            self.elements.equal(one, union);
        }
    }

    fn within<'a>(&'a self, bounds: &[(Edge, Scalar)], union: &mut Union<'a>) {
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        for (edge, bound) in bounds {
            match bound {
                Scalar::Number(number) => numbers.push((*edge, ordered(*number))),
                Scalar::Text(text) => texts.push((*edge, &**text)),
                Scalar::Null | Scalar::Bool(_) => return, // nothing is beside these
            }
        }
        if texts.is_empty() {
            let bounds: Vec<_> = numbers.iter().map(|(edge, bound)| (*edge, bound)).collect();
            range(&self.values.numbers, &bounds, union);
        } else {
            range(&self.values.strings, &texts, union);
        }
    }

    fn holds_all(&self, wanted: &[Scalar]) -> Cow<'_, RoaringBitmap> {
        let mut found = Cow::Borrowed(&self.lists);
        for one in wanted {
            let mut union = Union::default();
            self.elements.equal(one, &mut union);
            *found.to_mut() &= &*union.finish();
        }
        found
    }

    fn between<'a>(&'a self, low: f64, high: f64, whole_day: bool, union: &mut Union<'a>) {
        let (end, edge) = if whole_day {
            (high + WHOLE_DAY_S, Edge::Below)
        } else {
            (high, Edge::UpTo)
        };
        let (from, to) = (ordered(low), ordered(end));
        let until = |number: &u64| passes(edge, number, &to);
        self.values
            .numbers
            .span(|number| *number < from, until, union);
        let within = |value: u32, _: &str| {
            let at = self.instants[value as usize];
            at >= low && (at < end || (at == end && !whole_day))
        };
        self.values.strings.accepted(within, union);
    }

    /// About how many bytes of memory this takes.
    pub fn bytes(&self) -> usize {
        let judged = self.judged.iter().map(|one| bitmap_bytes(&one.accepted));
        size_of::<Self>()
            + bitmap_bytes(&self.present)
            + bitmap_bytes(&self.lists)
            + self.values.bytes()
            + self.elements.bytes()
            + self.instants.capacity() * size_of::<f64>()
            + judged.sum::<usize>()
    }
}

fn passes<K: Ord + ?Sized>(edge: Edge, key: &K, bound: &K) -> bool {
    match edge {
        Edge::Above => key > bound,
        Edge::From => key >= bound,
        Edge::Below => key < bound,
        Edge::UpTo => key <= bound,
    }
}

fn of_text(bounds: &[(Edge, Scalar)]) -> bool {
    bounds
        .iter()
        .any(|(_, bound)| matches!(bound, Scalar::Text(_)))
}

/// Add the rows of the values that pass all bounds.
fn range<'a, K: Keys>(
    values: &'a Dictionary<K>,
    bounds: &[(Edge, &K::Key)],
    union: &mut Union<'a>,
) {
    let (low, high): (Vec<_>, Vec<_>) = bounds
        .iter()
        .partition(|(edge, _)| matches!(edge, Edge::Above | Edge::From));
    let all = |bounds: &[(Edge, &K::Key)], key: &K::Key| {
        bounds.iter().all(|(edge, bound)| passes(*edge, key, bound))
    };
    values.span(|key| !all(&low, key), |key| all(&high, key), union);
}

impl Values {
    fn add(&mut self, row: u32, value: &Value<'_>) {
        match value {
            Value::Null => append(&mut self.null, row),
            Value::Bool(false) => append(&mut self.no, row),
            Value::Bool(true) => append(&mut self.yes, row),
            Value::Number(number) => self.numbers.add(&ordered(*number), row),
            Value::Text(text) => self.strings.add(text, row),
            Value::List(_) | Value::Map => {}
        }
    }

    fn equal<'a>(&'a self, wanted: &Scalar, union: &mut Union<'a>) {
        match wanted {
            Scalar::Null => union.add(&self.null),
            Scalar::Bool(false) => union.add(&self.no),
            Scalar::Bool(true) => union.add(&self.yes),
            Scalar::Number(number) => self.numbers.equal(&ordered(*number), union),
            Scalar::Text(text) => self.strings.equal(text, union),
        }
    }

    fn shrink(&mut self) {
        self.numbers.shrink();
        self.strings.shrink();
    }

    fn bytes(&self) -> usize {
        let bitmaps = [&self.null, &self.no, &self.yes].map(bitmap_bytes);
        bitmaps.iter().sum::<usize>() + self.numbers.bytes() + self.strings.bytes()
    }
}

impl Judged {
    fn go_on(&mut self, words: &Words, strings: &Dictionary<Strings>) -> Result<(), Unanswered> {
        let wanted = ascii_words(&words.text);
        let mut others = Vec::new();
        for (value, text) in strings.from(self.asked) {
            match &wanted {
                Some(wanted) if text.is_ascii() => {
                    if holds(wanted, text) {
                        self.accepted.insert(value);
                    }
                }
                _ => others.push((value, text)),
            }
        }
        for part in others.chunks(ASKED) {
            let texts: Vec<&str> = part.iter().map(|(_, text)| *text).collect();
            let answers = words.ask.ask(&texts)?;
            let accepted = part.iter().zip(answers).filter(|(_, answer)| *answer);
            self.accepted.extend(accepted.map(|((value, _), _)| *value));
        }
        self.asked = strings.count() as u32;
        Ok(())
    }
}

/// The words of a text of ASCII, sorted, each once; None for another text.
fn ascii_words(text: &str) -> Option<Vec<String>> {
    let lower = text.is_ascii().then(|| text.to_ascii_lowercase())?;
    let mut words: Vec<String> = split(&lower).map(str::to_owned).collect();
    words.sort_unstable();
    words.dedup();
    Some(words)
}

fn holds(wanted: &[String], text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    let wanted_at = |word: &str| wanted.binary_search_by(|one| one.as_str().cmp(word)).ok();
    let mut held: Vec<usize> = split(&lower).filter_map(wanted_at).collect();
    held.sort_unstable();
    held.dedup();
    held.len() == wanted.len()
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
}
