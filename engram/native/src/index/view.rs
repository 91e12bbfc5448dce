//! What readers see of a namespace: its parts as they were when they were published. It never changes.
use std::sync::{Arc, Mutex};

use super::fast::ROWS_PER_R1;
use super::head::Head;
use super::maps::BodyMaps;
use super::mask::{Mask, is_set, set};
use super::rows::{Fast, Slab, Stored};
use crate::attributes::Columns;

/// A part's rows: sealed ones, which nobody changes, or those of the head, as far as it had grown.
#[derive(Debug, Clone)]
pub enum Rows {
    Sealed(Arc<dyn Stored>),
    Head(Head),
}

/// A part of a view. `id` names the part, whatever view it is in: its rows keep their numbers under it.
///
/// `dead`: bits of rows that are no longer there. `columns`: what filters have read of the rows, for every view alike.
#[derive(Debug, Clone)]
pub struct Part {
    pub id: u64,
    pub rows: Rows,
    pub columns: Arc<Mutex<Columns>>,
    pub dead: Option<Arc<Vec<u64>>>,
}

/// The parts of a namespace, sealed ones first, the head last.
#[derive(Debug)]
pub struct View {
    pub dim: usize,
    pub parts: Vec<Part>,
    pub bodies: Arc<BodyMaps>,
    pub living: usize,
    /// How many times as many rows fast searches look at as the parts' self-tests say.
    pub widening: usize,
}

/// The rows of each part that a filter lets pass, as bits, by the part's id. A part that is not named has none.
#[derive(Debug, Clone, Default)]
pub struct Allowed(pub Vec<(u64, Vec<u64>)>);

impl Rows {
    /// The number of rows, dead ones included.
    pub fn count(&self) -> usize {
        match self {
            Self::Sealed(part) => part.slab().rows(),
            Self::Head(head) => head.rows(),
        }
    }

    /// Lend the rows, each slab with its first row.
    pub fn for_each_slab<'a>(&'a self, mut work: impl FnMut(usize, Slab<'a>)) {
        match self {
            Self::Sealed(part) => work(0, part.slab()),
            Self::Head(head) => head.slabs().for_each(|(first, slab)| work(first, slab)),
        }
    }

    /// Lend the slab that a row is in, and give its place there.
    pub fn find(&self, row: usize) -> (Slab<'_>, usize) {
        match self {
            Self::Sealed(part) => (part.slab(), row),
            Self::Head(head) => head.find(row),
        }
    }

    /// How they may be searched fast, and how many rows the signs let pass for each ten asked for.
    pub fn fast(&self) -> Option<(&Fast, usize)> {
        match self {
            Self::Sealed(part) => part.fast().map(|fast| (fast, fast.r1 as usize)),
            Self::Head(head) => head.fast(),
        }
    }
}

impl View {
    /// For how many nearest rows a part's signs must do, when `k` are asked for: self-tests are for ten.
    pub fn breadth(&self, k: usize) -> usize {
        k.checked_next_multiple_of(10)
            .and_then(|tens| tens.checked_mul(self.widening))
            .unwrap_or(usize::MAX)
    }
}

impl Part {
    /// Count the rows that are dead.
    pub fn dead_count(&self) -> usize {
        let words = self.dead.iter().flat_map(|dead| dead.iter());
        words.map(|word| word.count_ones() as usize).sum()
    }

    /// Say whether a row is not dead.
    pub fn is_alive(&self, row: usize) -> bool {
        self.dead.as_ref().is_none_or(|dead| !is_set(dead, row))
    }

    /// Make the mask of the rows that are alive, allowed, and at no location in the ranges `excluded`, which are sorted
    /// and do not meet; None where all are.
    pub fn mask(&self, allowed: Option<&Allowed>, excluded: &[(u64, u64)]) -> Option<Vec<u64>> {
        if allowed.is_none() && excluded.is_empty() && self.dead.is_none() {
            return None;
        }
        let rows = self.rows.count();
        let mut words = match allowed {
            None => vec![u64::MAX; rows.div_ceil(64)],
            Some(Allowed(parts)) => parts
                .iter()
                .find(|(id, _)| *id == self.id)
                .map_or(Vec::new(), |(_, words)| words.clone()),
        };
        words.truncate(rows.div_ceil(64));
        if let Some(last) = words.get_mut(rows / 64) {
            *last &= (1 << (rows % 64)) - 1;
        }
        for (word, dead) in words
            .iter_mut()
            .zip(self.dead.iter().flat_map(|dead| dead.iter()))
        {
            *word &= !dead;
        }
        if !excluded.is_empty() {
            let bad = self.rows_in(excluded);
            words
                .iter_mut()
                .zip(bad)
                .for_each(|(word, bad)| *word &= !bad);
        }
        Some(words)
    }

    /// How many rows the signs must let pass for the best `k` of those in the mask; None where codes serve it better.
    pub fn fast_for(&self, k: usize, mask: Mask<'_>) -> Option<(&Fast, usize)> {
        let (fast, r1) = self.rows.fast()?;
        let r1 = r1.checked_mul(k.div_ceil(10))?;
        let served = r1.checked_mul(ROWS_PER_R1)? <= mask.count(self.rows.count());
        served.then_some((fast, r1))
    }

    fn rows_in(&self, ranges: &[(u64, u64)]) -> Vec<u64> {
        let mut bits = Vec::new();
        self.rows.for_each_slab(|first, slab| {
            for (row, &location) in slab.locations.iter().enumerate() {
                let before = ranges.partition_point(|&(from, _)| from <= location);
                if before > 0 && location < ranges[before - 1].1 {
                    set(&mut bits, first + row);
                }
            }
        });
        bits
    }
}
