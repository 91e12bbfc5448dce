//! Which rows can be among the best, by the codes alone.
//!
//! A row's cosine lies within `margin` of what its codes say. Every row whose upper bound reaches the k-th largest lower
//! bound is kept, first under the query's 8-bit codes, then, of those that are left, under its 16-bit ones, which takes
//! the query's own error out of the margin. `docs/index.md` has the derivation. There is one such bound for all parts.
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::mask::{CHUNK_ROWS, Mask};
use super::query::Query;
use super::rows::Slab;
use super::simd::Kernel;

/// Rows whose codes are fetched ahead of those that are looked at.
const AHEAD: usize = 8;

/// A row of one of several parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowId {
    pub part: usize,
    pub row: usize,
}

impl RowId {
    /// Give the row that comes so many rows later.
    pub fn after(self, rows: u32) -> Self {
        Self {
            part: self.part,
            row: self.row + rows as usize,
        }
    }
}

/// A row, and what its codes say of its cosine: within `margin` of `value`.
#[derive(Debug, Clone, Copy)]
pub struct Near {
    pub id: RowId,
    pub value: f64,
    pub margin: f64,
}

/// Offer every row of a slab that the mask holds. Row 0 of the slab is `first`.
pub fn scan(
    kernel: Kernel,
    query: &Query,
    first: RowId,
    slab: &Slab<'_>,
    mask: Mask<'_>,
    best: &mut Best,
) {
    let mut selected = Vec::new();
    let mut dots = [0; CHUNK_ROWS];
    for start in (0..slab.rows()).step_by(CHUNK_ROWS) {
        let chunk = slab.part(start, slab.rows().min(start + CHUNK_ROWS));
        let rows = mask.select(first.row + start, chunk.rows(), &mut selected);
        kernel.dots(&query.coarse, chunk.blocks, rows, &mut dots);
        for (&row, &dot) in rows.iter().zip(&dots) {
            let at = row as usize;
            let value = query.scale * f64::from(chunk.scales[at]) * f64::from(dot);
            let margin = f64::from(chunk.errors[at]) + query.coarse_error;
            best.offer(first.after(start as u32 + row), value, margin);
        }
    }
}

/// Offer some rows, wherever they stand; `find` lends the slab of a row, and gives its place there.
pub fn scan_some<'a>(
    kernel: Kernel,
    query: &Query,
    rows: &[RowId],
    find: impl Fn(RowId) -> (Slab<'a>, usize),
    best: &mut Best,
) {
    let stride = query.coarse.len();
    let fetch = |&id: &RowId| {
        let (slab, at) = find(id);
        kernel.prefetch(&slab.blocks[at * stride..(at + 1) * stride]);
        kernel.prefetch(&slab.scales[at..=at]);
        kernel.prefetch(&slab.errors[at..=at]);
    };
    rows.iter().take(AHEAD).for_each(fetch);
    let mut dot = [0];
    for (number, &id) in rows.iter().enumerate() {
        if let Some(later) = rows.get(number + AHEAD) {
            fetch(later);
        }
        let (slab, at) = find(id);
        kernel.dots(&query.coarse, slab.blocks, &[at as u32], &mut dot);
        let value = query.scale * f64::from(slab.scales[at]) * f64::from(dot[0]);
        let margin = f64::from(slab.errors[at]) + query.coarse_error;
        best.offer(id, value, margin);
    }
}

/// Look at rows again with all that is known of the query, and keep those that can be among the best `k`.
pub fn refine<'a>(
    kernel: Kernel,
    query: &Query,
    k: usize,
    near: &[Near],
    find: impl Fn(RowId) -> (Slab<'a>, usize),
) -> Vec<Near> {
    let mut best = Best::new(k);
    for &Near { id, .. } in near {
        let (slab, at) = find(id);
        let (mut coarse, mut fine) = ([0], [0]);
        kernel.dots(&query.coarse, slab.blocks, &[at as u32], &mut coarse);
        kernel.dots(&query.fine, slab.blocks, &[at as u32], &mut fine);
        let value = query.scale * f64::from(coarse[0]) + query.step * f64::from(fine[0]);
        let margin = f64::from(slab.errors[at]) + query.fine_error;
        best.offer(id, f64::from(slab.scales[at]) * value, margin);
    }
    best.finish()
}

/// Rows whose upper bound may still reach the k-th largest lower bound.
#[derive(Debug)]
pub struct Best {
    k: usize,
    lowers: BinaryHeap<Reverse<Bound>>,
    floor: f64,
    near: Vec<Near>,
    prune_at: usize,
}

impl Best {
    /// Make one for the best `k`.
    pub fn new(k: usize) -> Self {
        let floor = if k == 0 {
            f64::INFINITY
        } else {
            f64::NEG_INFINITY
        };
        Self {
            k,
            lowers: BinaryHeap::new(),
            floor,
            near: Vec::new(),
            prune_at: 1024,
        }
    }

    /// Take a row whose cosine lies within `margin` of `value`.
    #[inline]
    pub fn offer(&mut self, id: RowId, value: f64, margin: f64) {
        if value + margin >= self.floor {
            self.keep(Near { id, value, margin });
        }
    }

    #[inline(never)]
    fn keep(&mut self, near: Near) {
        self.near.push(near);
        let lower = near.value - near.margin;
        if self.lowers.len() < self.k {
            self.lowers.push(Reverse(Bound(lower)));
        } else if lower > self.floor {
            self.lowers.pop();
            self.lowers.push(Reverse(Bound(lower)));
        }
        if self.lowers.len() == self.k {
            self.floor = self
                .lowers
                .peek()
                .map_or(self.floor, |Reverse(Bound(least))| *least);
        }
        // The floor only rises, so what was near may be so no more; drop it before the list grows without need.
        if self.near.len() >= self.prune_at {
            self.prune();
            self.prune_at = 1024.max(2 * self.near.len());
        }
    }

    fn prune(&mut self) {
        let floor = self.floor;
        self.near.retain(|near| near.value + near.margin >= floor);
    }

    /// Give the rows that are left.
    pub fn finish(mut self) -> Vec<Near> {
        self.prune();
        self.near
    }
}

/// A bound, ordered; it is never NaN.
#[derive(Debug, PartialEq)]
struct Bound(f64);

impl Eq for Bound {}

impl PartialOrd for Bound {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bound {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.total_cmp(&other.0)
    }
}
