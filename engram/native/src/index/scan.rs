//! Phase one of the exact search: which rows can be among the top k, by the codes alone.
//!
//! A row's cosine lies within `margin` of what its codes say. Every allowed row whose upper bound reaches the k-th largest
//! lower bound is kept, first under the query's 8-bit codes, then, of those that are left, under its 16-bit ones, which
//! takes the query's own error out of the margin. `docs/index.md` has the derivation.
use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use super::codes::{CHUNK_ROWS, Chunk, Encoder, Snapshot, check_dim};
use super::exact::ranking_error;
use super::rows::stride_of;
use super::simd::{Block, Kernel};
use super::{IndexError, read_vector};

const MASK_BYTES: usize = CHUNK_ROWS / 8;
/// Every row of a chunk, for the scan without a filter.
const EVERY_ROW: [u16; CHUNK_ROWS] = {
    let mut rows = [0; CHUNK_ROWS];
    let mut row = 0;
    while row < CHUNK_ROWS {
        rows[row] = row as u16;
        row += 1;
    }
    rows
};

/// A query's codes: eight bits, and eight more for what the first leave out.
#[derive(Debug)]
pub struct Query {
    dim: usize,
    coarse: Vec<Block>,
    scale: f64,
    coarse_error: f64,
    fine: Vec<Block>,
    step: f64,
    fine_error: f64,
}

impl Query {
    /// Code a query given as `dim` little-endian f32; NaN, infinity and zero are refused.
    pub fn new(dim: usize, bytes: &[u8]) -> Result<Self, IndexError> {
        check_dim(dim)?;
        let mut vector = vec![0.0; dim];
        read_vector(bytes, &mut vector)?;
        let mut encoder = Encoder::new(dim);
        let coded = encoder.encode(&vector);
        let (mut coarse, mut fine) = (Vec::new(), Vec::new());
        encoder.blocks_into(&mut coarse);
        let residue = encoder.encode_residue(coded.scale);
        let (step, fine_error) = residue.unwrap_or((0.0, f64::from(coded.error)));
        match residue {
            Some(_) => encoder.blocks_into(&mut fine),
            None => fine.resize(stride_of(dim), Block::ZERO),
        }
        // The ranking itself is f32 arithmetic; its own error is in every margin, so that ties are kept as it sees them.
        let ranking = ranking_error(dim);
        Ok(Self {
            dim,
            coarse,
            scale: f64::from(coded.scale),
            coarse_error: f64::from(coded.error) + ranking,
            fine,
            step,
            fine_error: fine_error + ranking,
        })
    }
}

impl Snapshot {
    /// Give the rows, ascending, that hold the `k` best allowed ones and whatever ties with the last of them.
    ///
    /// A mask is a bitmap of rows: bit i % 8 of byte i / 8 is row i, and rows past its end are not allowed. A row must
    /// be in every mask. There are never fewer rows than the smaller of `k` and the number allowed.
    pub fn candidates(&self, kernel: Kernel, query: &Query, k: usize, masks: &[&[u8]]) -> Vec<u32> {
        assert_eq!(query.dim, self.dim, "the query is of another dimension");
        let near = self.scan(kernel, query, k, masks);
        let near = if near.len() > k {
            self.refine(kernel, query, k, &near)
        } else {
            near
        };
        near.into_iter().map(|(row, _)| row).collect()
    }

    fn scan(&self, kernel: Kernel, query: &Query, k: usize, masks: &[&[u8]]) -> Vec<(u32, f64)> {
        let mut best = Best::new(k);
        let mut selected = Vec::with_capacity(CHUNK_ROWS);
        let mut dots = [0; CHUNK_ROWS];
        for (number, chunk) in self.chunks.iter().enumerate() {
            let rows = select(number, chunk.rows(), masks, &mut selected);
            kernel.dots(&query.coarse, &chunk.blocks, rows, &mut dots);
            let first = number * CHUNK_ROWS;
            for (&row, &dot) in rows.iter().zip(&dots) {
                let row = usize::from(row);
                let value = query.scale * f64::from(chunk.scales[row]) * f64::from(dot);
                best.offer(
                    first + row,
                    value,
                    f64::from(chunk.errors[row]) + query.coarse_error,
                );
            }
        }
        best.finish()
    }

    fn refine(
        &self,
        kernel: Kernel,
        query: &Query,
        k: usize,
        near: &[(u32, f64)],
    ) -> Vec<(u32, f64)> {
        let mut best = Best::new(k);
        for &(row, _) in near {
            let (chunk, at) = self.find(row);
            let (mut coarse, mut fine) = ([0], [0]);
            kernel.dots(&query.coarse, &chunk.blocks, &[at], &mut coarse);
            kernel.dots(&query.fine, &chunk.blocks, &[at], &mut fine);
            let at = usize::from(at);
            let value = query.scale * f64::from(coarse[0]) + query.step * f64::from(fine[0]);
            let value = f64::from(chunk.scales[at]) * value;
            best.offer(
                row as usize,
                value,
                f64::from(chunk.errors[at]) + query.fine_error,
            );
        }
        best.finish()
    }

    fn find(&self, row: u32) -> (&Chunk, u16) {
        let row = row as usize;
        (&self.chunks[row / CHUNK_ROWS], (row % CHUNK_ROWS) as u16)
    }
}

/// Rows whose upper bound may still reach the k-th largest lower bound.
struct Best {
    k: usize,
    lowers: BinaryHeap<Reverse<Bound>>,
    floor: f64,
    near: Vec<(u32, f64)>,
    prune_at: usize,
}

impl Best {
    fn new(k: usize) -> Self {
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

    #[inline]
    fn offer(&mut self, row: usize, value: f64, margin: f64) {
        if value + margin >= self.floor {
            self.keep(row, value, margin);
        }
    }

    #[inline(never)]
    fn keep(&mut self, row: usize, value: f64, margin: f64) {
        self.near.push((row as u32, value + margin));
        let lower = value - margin;
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
        self.near.retain(|&(_, upper)| upper >= floor);
    }

    fn finish(mut self) -> Vec<(u32, f64)> {
        self.prune();
        self.near
    }
}

/// A bound, ordered; it is never NaN.
#[derive(PartialEq)]
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

/// List the rows of a chunk that are in every mask.
fn select<'a>(
    number: usize,
    rows: usize,
    masks: &[&[u8]],
    selected: &'a mut Vec<u16>,
) -> &'a [u16] {
    if masks.is_empty() {
        return &EVERY_ROW[..rows];
    }
    let mut bits = [u8::MAX; MASK_BYTES];
    for mask in masks {
        let from = mask.len().min(number * MASK_BYTES);
        let mask = &mask[from..mask.len().min(from + MASK_BYTES)];
        bits.iter_mut()
            .zip(mask)
            .for_each(|(bit, mask)| *bit &= mask);
        bits[mask.len()..].fill(0);
    }
    selected.clear();
    for (byte, &bits) in bits.iter().enumerate() {
        let mut left = bits;
        while left != 0 {
            selected.push((byte * 8) as u16 + left.trailing_zeros() as u16);
            left &= left - 1;
        }
    }
    selected.truncate(selected.partition_point(|&row| usize::from(row) < rows));
    selected
}

/// Make the bitmap that allows the named rows out of `rows`.
pub fn bitmap(rows: usize, allowed: &[i64]) -> Result<Vec<u8>, IndexError> {
    let mut bits = vec![0; rows.div_ceil(8)];
    for &row in allowed {
        match usize::try_from(row) {
            Ok(at) if at < rows => bits[at / 8] |= 1 << (at % 8),
            _ => return Err(IndexError::NoSuchRow { row, rows }),
        }
    }
    Ok(bits)
}
