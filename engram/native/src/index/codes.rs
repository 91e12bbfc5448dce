//! Codes of rows: eight bits a component, a scale, and how far from the row's direction they are at most.
//!
//! Of a row x with direction u = x/|x| we keep integers c (round(127 x / max|x|)) and a scale s, the projection of u on c
//! rounded down; so |s c| <= 1, and e >= |u - s c| is measured after s is rounded, and rounded up itself.
use super::rows::{Slab, stride_of};
use super::simd::Block;
use super::{IndexError, read_vector};

/// The largest dimension: 127 * 127 * 4096 is far below what an i32 holds.
pub const MAX_DIM: usize = 4096;

/// What f64 rounding can add to a measured residual of at most 4096 components, twice over (`docs/index.md`).
const ROUNDING: f64 = 1.0 / (1u64 << 38) as f64;
/// Adding and taking off 1.5 * 2^52 rounds a small f64 to the nearest integer, ties to even; its low byte is then the
/// integer's two's complement.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// Coded rows that no part holds yet.
#[derive(Debug)]
pub struct Batch {
    encoder: Encoder,
    row: Vec<f32>,
    pub(super) blocks: Vec<Block>,
    pub(super) scales: Vec<f32>,
    pub(super) errors: Vec<f32>,
    pub(super) tags: Vec<u32>,
    pub(super) locations: Vec<u64>,
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
            tags: Vec::new(),
            locations: Vec::new(),
        })
    }

    /// Code one row, given as `dim` little-endian f32, whose body stands at `location` and has the digest of `tag`.
    pub fn push(&mut self, bytes: &[u8], tag: u32, location: u64) -> Result<(), IndexError> {
        read_vector(bytes, &mut self.row)?;
        let coded = self.encoder.encode(&self.row);
        self.encoder.blocks_into(&mut self.blocks);
        self.scales.push(coded.scale);
        self.errors.push(coded.error);
        self.tags.push(tag);
        self.locations.push(location);
        Ok(())
    }

    /// The number of components of a row.
    pub fn dim(&self) -> usize {
        self.row.len()
    }

    /// Lend the rows.
    pub fn slab(&self) -> Slab<'_> {
        Slab {
            blocks: &self.blocks,
            scales: &self.scales,
            errors: &self.errors,
            signs: None,
            tags: &self.tags,
            locations: &self.locations,
        }
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

    /// Give the direction of the vector just coded, its `dim` components rounded to f32.
    pub fn direction(&self, dim: usize) -> Vec<f32> {
        self.unit[..dim].iter().map(|&x| x as f32).collect()
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
