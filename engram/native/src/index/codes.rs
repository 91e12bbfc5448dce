//! Codes of rows: eight bits a component, a scale, and how far from the row's direction they are at most.
//!
//! Of a row x with direction u = x/|x| we keep integers c (round(127 x / max|x|)) and a scale s, the projection of u on c
//! rounded down; so |s c| <= 1, and e >= |u - s c| is measured after s is rounded, and rounded up itself.
//! Appending never touches what a snapshot sees: full chunks are shared, the last one is copied on write.
use std::sync::Arc;

use super::rows::stride_of;
use super::simd::Block;
use super::{IndexError, read_vector};

/// Rows of a chunk; a bitmap's chunk is 32 whole bytes.
pub const CHUNK_ROWS: usize = 256;
/// The largest dimension: 127 * 127 * 4096 is far below what an i32 holds.
pub const MAX_DIM: usize = 4096;

/// What f64 rounding can add to a measured residual of at most 4096 components, twice over (`docs/index.md`).
const ROUNDING: f64 = 1.0 / (1u64 << 38) as f64;
/// Adding and taking off 1.5 * 2^52 rounds a small f64 to the nearest integer, ties to even; its low byte is then the
/// integer's two's complement.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// Up to [`CHUNK_ROWS`] coded rows.
#[derive(Debug)]
pub(super) struct Chunk {
    pub blocks: Vec<Block>,
    pub scales: Vec<f32>,
    pub errors: Vec<f32>,
}

impl Chunk {
    fn new(stride: usize) -> Self {
        Self {
            blocks: Vec::with_capacity(stride * CHUNK_ROWS),
            scales: Vec::with_capacity(CHUNK_ROWS),
            errors: Vec::with_capacity(CHUNK_ROWS),
        }
    }

    pub fn rows(&self) -> usize {
        self.scales.len()
    }
}

impl Clone for Chunk {
    /// Copy with room for a full chunk, because a copy is made only to append to it.
    fn clone(&self) -> Self {
        let mut copy = Self::new(self.blocks.len() / self.rows().max(1));
        copy.blocks.extend_from_slice(&self.blocks);
        copy.scales.extend_from_slice(&self.scales);
        copy.errors.extend_from_slice(&self.errors);
        copy
    }
}

/// Coded rows that are not appended yet.
#[derive(Debug)]
pub struct Batch {
    encoder: Encoder,
    row: Vec<f32>,
    blocks: Vec<Block>,
    scales: Vec<f32>,
    errors: Vec<f32>,
}

impl Batch {
    /// Make an empty batch for rows of `dim` components.
    pub fn new(dim: usize) -> Result<Self, IndexError> {
        check_dim(dim)?;
        Ok(Self {
            encoder: Encoder::new(dim),
            row: vec![0.0; dim],
            blocks: Vec::new(),
            scales: Vec::new(),
            errors: Vec::new(),
        })
    }

    /// Code one row, given as `dim` little-endian f32.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), IndexError> {
        read_vector(bytes, &mut self.row)?;
        let coded = self.encoder.encode(&self.row);
        self.encoder.blocks_into(&mut self.blocks);
        self.scales.push(coded.scale);
        self.errors.push(coded.error);
        Ok(())
    }

    /// The number of rows coded.
    pub fn len(&self) -> usize {
        self.scales.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.scales.is_empty()
    }
}

/// The codes of one index, in the hands of its one writer.
#[derive(Debug)]
pub struct Codes {
    dim: usize,
    rows: usize,
    chunks: Vec<Arc<Chunk>>,
}

impl Codes {
    /// Make an index of `dim` components a row.
    pub fn new(dim: usize) -> Result<Self, IndexError> {
        check_dim(dim)?;
        Ok(Self {
            dim,
            rows: 0,
            chunks: Vec::new(),
        })
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Append a batch of the same dimension; snapshots taken before do not see it.
    pub fn append(&mut self, batch: &Batch) -> Result<(), IndexError> {
        assert_eq!(
            batch.row.len(),
            self.dim,
            "the batch is of another dimension"
        );
        if self.rows + batch.len() > u32::MAX as usize {
            return Err(IndexError::TooManyRows);
        }
        let stride = stride_of(self.dim);
        let mut from = 0;
        while from < batch.len() {
            if self.rows.is_multiple_of(CHUNK_ROWS) {
                self.chunks.push(Arc::new(Chunk::new(stride)));
            }
            let take = (CHUNK_ROWS - self.rows % CHUNK_ROWS).min(batch.len() - from);
            let last = self
                .chunks
                .last_mut()
                .expect("a chunk was pushed when there was none");
            let chunk = Arc::make_mut(last);
            let to = from + take;
            chunk
                .blocks
                .extend_from_slice(&batch.blocks[from * stride..to * stride]);
            chunk.scales.extend_from_slice(&batch.scales[from..to]);
            chunk.errors.extend_from_slice(&batch.errors[from..to]);
            self.rows += take;
            from = to;
        }
        Ok(())
    }

    /// Publish what is there now; it never changes.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            dim: self.dim,
            rows: self.rows,
            chunks: self.chunks.clone(),
        }
    }
}

/// The rows that were there when it was taken; any number of threads may search it.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(super) dim: usize,
    pub(super) rows: usize,
    pub(super) chunks: Vec<Arc<Chunk>>,
}

impl Snapshot {
    /// The number of components of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }
}

/// A row's scale and error beside its codes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Coded {
    pub scale: f32,
    pub error: f32,
}

/// Scratch for coding vectors of one dimension; lengths are padded with zeros to whole blocks.
#[derive(Debug)]
pub(super) struct Encoder {
    unit: Vec<f64>,
    levels: Vec<f64>,
}

impl Encoder {
    pub fn new(dim: usize) -> Self {
        let padded = stride_of(dim) * Block::LEN;
        Self {
            unit: vec![0.0; padded],
            levels: vec![0.0; padded],
        }
    }

    /// Code a finite vector that is not zero. Squares of f32 neither overflow nor vanish in f64, so nothing is scaled.
    pub fn encode(&mut self, vector: &[f32]) -> Coded {
        for (wide, &x) in self.unit.iter_mut().zip(vector) {
            *wide = f64::from(x);
        }
        let inverse_norm = 1.0 / dot(&self.unit, &self.unit).sqrt();
        self.unit.iter_mut().for_each(|x| *x *= inverse_norm);
        quantise(&self.unit, &mut self.levels);
        let projection = dot(&self.unit, &self.levels) / dot(&self.levels, &self.levels);
        let scale = (projection as f32).next_down();
        let error = distance(&self.unit, &self.levels, f64::from(scale));
        Coded {
            scale,
            error: round_up(error),
        }
    }

    /// Code what the codes just made leave out, as `(step, error)`: unit = scale * codes + step * codes' + error.
    /// The codes of the residue replace those of the vector. None if nothing is left.
    pub fn encode_residue(&mut self, scale: f32) -> Option<(f64, f64)> {
        for (x, level) in self.unit.iter_mut().zip(&self.levels) {
            *x -= f64::from(scale) * level;
        }
        let step = quantise(&self.unit, &mut self.levels)?;
        Some((step, distance(&self.unit, &self.levels, step)))
    }

    /// Append the codes last made.
    pub fn blocks_into(&self, blocks: &mut Vec<Block>) {
        blocks.extend(
            self.levels
                .as_chunks::<{ Block::LEN }>()
                .0
                .iter()
                .map(|levels| {
                    let mut block = Block::ZERO;
                    for (code, level) in block.0.iter_mut().zip(levels) {
                        *code = (level + ROUND).to_bits() as i8;
                    }
                    block
                }),
        );
    }
}

pub(super) fn check_dim(dim: usize) -> Result<(), IndexError> {
    match dim {
        1..=MAX_DIM => Ok(()),
        _ => Err(IndexError::Dim(dim)),
    }
}

/// Round each component to a level of -127..=127 and return the step between levels; None if all are zero.
fn quantise(values: &[f64], levels: &mut [f64]) -> Option<f64> {
    let largest = largest_of(values);
    if largest == 0.0 {
        return None;
    }
    let per_step = 127.0 / largest;
    for (level, x) in levels.iter_mut().zip(values) {
        *level = (x * per_step + ROUND) - ROUND;
    }
    Some(largest / 127.0)
}

fn largest_of(values: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    for values in values.as_chunks::<8>().0 {
        for (most, x) in lanes.iter_mut().zip(values) {
            *most = if x.abs() > *most { x.abs() } else { *most };
        }
    }
    lanes.into_iter().fold(0.0, f64::max)
}

/// Bound |values - step * levels| from above, rounding of this very computation included.
fn distance(values: &[f64], levels: &[f64], step: f64) -> f64 {
    let mut lanes = [0.0; 8];
    for (x, level) in values
        .as_chunks::<8>()
        .0
        .iter()
        .zip(levels.as_chunks::<8>().0)
    {
        for lane in 0..8 {
            let left = x[lane] - step * level[lane];
            lanes[lane] += left * left;
        }
    }
    lanes.iter().sum::<f64>().sqrt() * (1.0 + ROUNDING) + ROUNDING
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    for (a, b) in a.as_chunks::<8>().0.iter().zip(b.as_chunks::<8>().0) {
        for lane in 0..8 {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    lanes.iter().sum()
}

fn round_up(value: f64) -> f32 {
    let near = value as f32;
    if f64::from(near) < value {
        near.next_up()
    } else {
        near
    }
}
