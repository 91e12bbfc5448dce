//! The fast mode, and the self-test that a part earns it by.
//!
//! A row's signs, those of its codes' values less a mean, tell by the number of bits that differ from the query's which
//! rows are worth a look at their codes: the best `r1` of the part. That is a good guess on centred data and a bad one on
//! other data, so no part uses it that has not shown on its own rows what it finds.

use super::mask::{CHUNK_ROWS, Mask, is_set};
use super::rows::{Fast, Signs, Slab};
use super::scan::{Best, RowId};
use super::signs::{self, GROUPS};
use super::simd::{Block, Kernel};

/// Rows held out as queries.
const QUERIES: usize = 64;
/// The nearest that each must find again.
const NEAREST: usize = 10;
/// How many rows the signs may let pass for them.
pub const R1S: [usize; 8] = [400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200];
/// The most of them that a part of any size may need; a larger one may need as large a share of its rows.
pub const MOST_R1: usize = 3200;
/// Rows for each that the signs let pass at least. Rows of a part are nearer to one another than what is asked of it, and
/// the more so the more there are: a million needed ten times as many as their test had said (`docs/benchmarks.md`).
const MOST_ROWS_PER_R1: usize = 256;
/// Rows for each that the signs may let pass beyond [`MOST_R1`]: what merged parts have earned is not lost in merging.
const ROWS_PER_LARGE_R1: usize = 20;
/// The share of the nearest that must be found.
pub const RECALL: f64 = 0.995;
/// Components below which signs say too little.
pub const MIN_DIM: usize = 64;
/// A part of fewer rows for each that the signs let pass is scanned by its codes, which costs no more.
pub const ROWS_PER_R1: usize = 8;

/// Rows of a test: a slab, and which of its rows count; None counts all.
pub type Kept<'a> = (Slab<'a>, Option<&'a [u64]>);

/// Test whether rows may be searched fast: how, or None where no way found enough.
///
/// Sixty-four of them are asked for their ten nearest by codes, ties with the tenth included, themselves left out; then
/// it is counted behind how many rows each of these stands by signs, raw or centred, a tie counting as before it. The
/// way that needs the fewest rows is taken, and raw signs where both need as many and find as much. Nothing but the
/// rows and their order matters: the same ones earn the same.
pub fn earn(kernel: Kernel, dim: usize, kept: &[Kept<'_>]) -> Option<Fast> {
    let rows = numbered(kept);
    if dim < MIN_DIM || rows.len() < ROWS_PER_R1 * R1S[0] {
        return None;
    }
    let held_out: Vec<Row> = (0..QUERIES)
        .map(|at| rows.nth((at * rows.len() + rows.len() / 2) / QUERIES))
        .collect();
    let nearest = nearest_by_codes(kernel, kept, &held_out);
    let most = MOST_R1.max(rows.len() / ROWS_PER_LARGE_R1);
    if nearest.iter().any(|near| near.len() > most) {
        return None; // so many are the tenth nearest that they cannot all be let pass
    }
    let centred = mean_of(dim, kept);
    let ways = [None, Some(centred)].map(|mean| {
        let recalls = recalls(kernel, dim, kept, &held_out, &nearest, mean.as_deref());
        (mean, recalls)
    });
    for (at, &r1) in R1S.iter().enumerate().filter(|&(_, &r1)| r1 <= most) {
        let best = ways.iter().filter(|(_, recalls)| recalls[at] >= RECALL);
        let best = best.reduce(|raw, other| if other.1[at] > raw.1[at] { other } else { raw });
        if let Some((mean, recalls)) = best {
            return Some(Fast {
                mean: mean.clone(),
                r1: r1.max(rows.len() / MOST_ROWS_PER_R1) as u32,
                recall: recalls[at] as f32,
            });
        }
    }
    None
}

/// One row of a test: in which slab, and where there.
#[derive(Clone, Copy)]
struct Row<'a> {
    id: RowId,
    blocks: &'a [Block],
    scale: f32,
}

struct Numbered<'a> {
    kept: &'a [Kept<'a>],
    counts: Vec<usize>,
}

fn numbered<'a>(kept: &'a [Kept<'a>]) -> Numbered<'a> {
    let counts = kept
        .iter()
        .map(|(slab, mask)| Mask(*mask).count(slab.rows()));
    Numbered {
        kept,
        counts: counts.collect(),
    }
}

impl<'a> Numbered<'a> {
    fn len(&self) -> usize {
        self.counts.iter().sum()
    }

    /// Give the row that `number` others that count come before; there must be one.
    fn nth(&self, mut number: usize) -> Row<'a> {
        let mut at = 0;
        while number >= self.counts[at] {
            number -= self.counts[at];
            at += 1;
        }
        let (slab, mask) = &self.kept[at];
        let row = match mask {
            None => number,
            Some(words) => (0..slab.rows())
                .filter(|&row| is_set(words, row))
                .nth(number)
                .expect("so many bits were counted"),
        };
        row_of(slab, RowId { part: at, row })
    }
}

fn row_of<'a>(slab: &Slab<'a>, id: RowId) -> Row<'a> {
    let stride = slab.blocks.len() / slab.rows();
    Row {
        id,
        blocks: &slab.blocks[id.row * stride..(id.row + 1) * stride],
        scale: slab.scales[id.row],
    }
}

/// Give the chunks of all rows: each with the place of its first row, and its rows that count, from there.
fn for_each_chunk<'a>(kept: &[Kept<'a>], mut work: impl FnMut(RowId, Slab<'a>, &[u32])) {
    let mut selected = Vec::with_capacity(CHUNK_ROWS);
    for (part, (slab, mask)) in kept.iter().enumerate() {
        for row in (0..slab.rows()).step_by(CHUNK_ROWS) {
            let chunk = slab.part(row, slab.rows().min(row + CHUNK_ROWS));
            let rows = Mask(*mask).select(row, chunk.rows(), &mut selected);
            work(RowId { part, row }, chunk, rows);
        }
    }
}

/// Find the nearest of each query, ties with the last included, by what the codes say.
fn nearest_by_codes(kernel: Kernel, kept: &[Kept<'_>], queries: &[Row<'_>]) -> Vec<Vec<RowId>> {
    let mut best: Vec<Best> = queries.iter().map(|_| Best::new(NEAREST)).collect();
    let mut dots = [0; CHUNK_ROWS];
    for_each_chunk(kept, |first, chunk, rows| {
        for (query, best) in queries.iter().zip(&mut best) {
            kernel.dots(query.blocks, chunk.blocks, rows, &mut dots);
            for (&row, &dot) in rows.iter().zip(&dots) {
                let id = first.after(row);
                if id != query.id {
                    best.offer(
                        id,
                        f64::from(chunk.scales[row as usize]) * f64::from(dot),
                        0.0,
                    );
                }
            }
        }
    });
    best.into_iter()
        .map(|best| best.finish().into_iter().map(|near| near.id).collect())
        .collect()
}

/// Give the mean of the rows' values, summed in f64 in the order of the rows.
fn mean_of(dim: usize, kept: &[Kept<'_>]) -> Vec<f32> {
    let mut sums = vec![0.0f64; dim];
    let mut count = 0;
    for_each_chunk(kept, |_, chunk, rows| {
        count += rows.len();
        for &row in rows {
            let row = row_of(
                &chunk,
                RowId {
                    part: 0,
                    row: row as usize,
                },
            );
            let codes = row.blocks.iter().flat_map(|block| &block.0);
            for (sum, &code) in sums.iter_mut().zip(codes) {
                *sum += f64::from(row.scale * f32::from(code));
            }
        }
    });
    sums.iter().map(|sum| (sum / count as f64) as f32).collect()
}

/// Give the mean share of the nearest that stand among the first by signs, for each of [`R1S`].
fn recalls(
    kernel: Kernel,
    dim: usize,
    kept: &[Kept<'_>],
    queries: &[Row<'_>],
    nearest: &[Vec<RowId>],
    mean: Option<&[f32]>,
) -> [f64; R1S.len()] {
    let signs_of =
        |row: &Row<'_>| -> Vec<u64> { signs::signs_of(row.blocks, row.scale, mean).collect() };
    let asked: Vec<Vec<u64>> = queries.iter().map(signs_of).collect();
    let mut counts = vec![vec![0u32; dim + 1]; queries.len()];
    let mut chunk_signs = Vec::new();
    let (mut out, mut near) = ([Signs::ZERO; GROUPS], [0; GROUPS]);
    for_each_chunk(kept, |first, chunk, rows| {
        chunk_signs.clear();
        signs::extend(&mut chunk_signs, 0, &chunk, mean);
        let groups = chunk.rows().div_ceil(Signs::ROWS);
        for ((query, asked), counts) in queries.iter().zip(&asked).zip(&mut counts) {
            kernel.distances(
                asked,
                &chunk_signs,
                0,
                &mut out[..groups],
                &mut near[..groups],
            );
            for &row in rows.iter().filter(|&&row| first.after(row) != query.id) {
                let row = row as usize;
                counts[out[row / Signs::ROWS].0[row % Signs::ROWS] as usize] += 1;
            }
        }
    });
    let mut recalls = [0.0; R1S.len()];
    for ((asked, counts), nearest) in asked.iter().zip(&mut counts).zip(nearest) {
        for distance in 1..counts.len() {
            counts[distance] += counts[distance - 1];
        }
        for &id in nearest {
            let signs = signs_of(&row_of(&kept[id.part].0, id));
            let differ = signs.iter().zip(asked).map(|(a, b)| (a ^ b).count_ones());
            let before = counts[differ.sum::<u32>() as usize];
            for (recall, r1) in recalls.iter_mut().zip(R1S) {
                if before as usize <= r1 {
                    *recall += 1.0 / (nearest.len() * queries.len()) as f64;
                }
            }
        }
    }
    recalls
}
