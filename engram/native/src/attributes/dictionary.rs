//! The distinct values of one type in a column: found by hash, and in order once a filter asks for a range.
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hash};

use super::postings::{Postings, Union};

/// Values by number, from 0 on.
pub trait Keys: Default {
    type Key: ?Sized + Hash + Ord;
    fn count(&self) -> usize;
    fn get(&self, value: u32) -> &Self::Key;
    fn push(&mut self, key: &Self::Key);
    fn shrink(&mut self);
    fn bytes(&self) -> usize;
}

/// Numbers, as `ordered` gives them.
pub type Numbers = Vec<u64>;

/// Give bits that order as the doubles do. There is no NaN, and one zero.
pub fn ordered(number: f64) -> u64 {
    let bits = (number + 0.0).to_bits();
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

impl Keys for Numbers {
    type Key = u64;

    fn count(&self) -> usize {
        self.len()
    }

    fn get(&self, value: u32) -> &u64 {
        &self[value as usize]
    }

    fn push(&mut self, key: &u64) {
        Vec::push(self, *key);
    }

    fn shrink(&mut self) {
        self.shrink_to_fit();
    }

    fn bytes(&self) -> usize {
        self.capacity() * size_of::<u64>()
    }
}

/// Strings, one behind the other.
#[derive(Default)]
pub struct Strings {
    text: String,
    ends: Vec<usize>,
}

impl Keys for Strings {
    type Key = str;

    fn count(&self) -> usize {
        self.ends.len()
    }

    fn get(&self, value: u32) -> &str {
        let value = value as usize;
        let start = if value == 0 { 0 } else { self.ends[value - 1] };
        &self.text[start..self.ends[value]]
    }

    fn push(&mut self, key: &str) {
        self.text.push_str(key);
        self.ends.push(self.text.len());
    }

    fn shrink(&mut self) {
        self.text.shrink_to_fit();
        self.ends.shrink_to_fit();
    }

    fn bytes(&self) -> usize {
        self.text.capacity() + self.ends.capacity() * size_of::<usize>()
    }
}

const EMPTY: u8 = 0;
/// Values that may stand behind the ordered ones, in the order they came, beside an eighth of those.
const UNORDERED: usize = 64;

/// Distinct values and their rows.
pub struct Dictionary<K: Keys> {
    keys: K,
    postings: Postings,
    /// An open table of value numbers, a power of two long. A slot's tag is seven bits of its value's hash, and one set.
    slots: Vec<u32>,
    tags: Vec<u8>,
    hasher: RandomState,
    /// The first so many values, in order; empty until a range is asked for.
    order: Vec<u32>,
}

impl<K: Keys> Default for Dictionary<K> {
    fn default() -> Self {
        Self {
            keys: K::default(),
            postings: Postings::default(),
            slots: Vec::new(),
            tags: Vec::new(),
            hasher: RandomState::new(),
            order: Vec::new(),
        }
    }
}

impl<K: Keys> Dictionary<K> {
    /// Note that a row, none before the last one, has a value.
    pub fn add(&mut self, key: &K::Key, row: u32) {
        if (self.keys.count() + 1) * 8 > self.slots.len() * 7 {
            self.grow();
        }
        let hash = self.hasher.hash_one(key);
        let value = match self.look(hash, key) {
            Ok(value) => value,
            Err(slot) => {
                let value = self.keys.count() as u32;
                (self.slots[slot], self.tags[slot]) = (value, tag_of(hash));
                self.keys.push(key);
                value
            }
        };
        self.postings.add(value, row);
    }

    /// Find a value's number; else the slot where it would stand. The table is never full.
    fn look(&self, hash: u64, key: &K::Key) -> Result<u32, usize> {
        let (mask, tag) = (self.slots.len() - 1, tag_of(hash));
        let mut slot = hash as usize & mask;
        while self.tags[slot] != EMPTY {
            if self.tags[slot] == tag && self.keys.get(self.slots[slot]) == key {
                return Ok(self.slots[slot]);
            }
            slot = (slot + 1) & mask;
        }
        Err(slot)
    }

    fn grow(&mut self) {
        let size = (self.slots.len() * 2).max(8);
        (self.slots, self.tags) = (vec![0; size], vec![EMPTY; size]);
        for value in 0..self.keys.count() as u32 {
            let hash = self.hasher.hash_one(self.keys.get(value));
            let mut slot = hash as usize & (size - 1);
            while self.tags[slot] != EMPTY {
                slot = (slot + 1) & (size - 1);
            }
            (self.slots[slot], self.tags[slot]) = (value, tag_of(hash));
        }
    }

    /// The number of distinct values.
    pub fn count(&self) -> usize {
        self.keys.count()
    }

    /// The values numbered from `first` on.
    pub fn from(&self, first: u32) -> impl Iterator<Item = (u32, &K::Key)> {
        (first..self.keys.count() as u32).map(|value| (value, self.keys.get(value)))
    }

    /// Add the rows that have a value.
    pub fn equal<'a>(&'a self, key: &K::Key, into: &mut Union<'a>) {
        if self.keys.count() > 0
            && let Ok(value) = self.look(self.hasher.hash_one(key), key)
        {
            self.postings.collect(value, into);
        }
    }

    /// Add the rows whose values a test accepts.
    pub fn accepted<'a>(&'a self, test: impl Fn(u32, &K::Key) -> bool, into: &mut Union<'a>) {
        for (value, key) in self.from(0) {
            if test(value, key) {
                self.postings.collect(value, into);
            }
        }
    }

    /// Put the values in order, but for a few new ones, so that `span` need not look at each.
    pub fn sort(&mut self) {
        if self.unsorted() == 0 {
            return;
        }
        let ordered = self.order.len();
        self.order.extend(ordered as u32..self.keys.count() as u32);
        let keys = &self.keys;
        // Stable, because that takes the ordered ones as they are.
        self.order.sort_by(|a, b| keys.get(*a).cmp(keys.get(*b)));
    }

    /// Say whether a range was asked for.
    pub fn is_ordered(&self) -> bool {
        !self.order.is_empty()
    }

    /// How many values `sort` would put in order, all of them, because too many are new; 0 where they are few.
    pub fn unsorted(&self) -> usize {
        let ordered = self.order.len();
        if self.keys.count() - ordered <= UNORDERED + ordered / 8 {
            0
        } else {
            self.keys.count()
        }
    }

    /// Add the rows of the values from the first that is not `before`, to the last that is `until`.
    pub fn span<'a>(
        &'a self,
        before: impl Fn(&K::Key) -> bool,
        until: impl Fn(&K::Key) -> bool,
        into: &mut Union<'a>,
    ) {
        let first = |test: &dyn Fn(&K::Key) -> bool| {
            self.order
                .partition_point(|value| test(self.keys.get(*value)))
        };
        let (from, to) = (first(&before), first(&until));
        for &value in self.order.get(from..to).unwrap_or_default() {
            self.postings.collect(value, into);
        }
        for (value, key) in self.from(self.order.len() as u32) {
            if !before(key) && until(key) {
                self.postings.collect(value, into);
            }
        }
    }

    /// Give back what growth has taken in advance.
    pub fn shrink(&mut self) {
        self.keys.shrink();
        self.postings.shrink();
    }

    /// About how many bytes of memory this takes.
    pub fn bytes(&self) -> usize {
        let table = self.slots.len() * (size_of::<u32>() + 1);
        self.keys.bytes() + self.postings.bytes() + table + self.order.capacity() * size_of::<u32>()
    }
}

fn tag_of(hash: u64) -> u8 {
    (hash >> 57) as u8 | 0x80
}
