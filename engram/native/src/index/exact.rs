//! Phase two of the exact search: the cosine that ranks, the same bits on every machine.
//!
//! In this order, every operation rounded once to f32:
//! 1. Each vector is multiplied by the power of two that brings its largest magnitude into [1, 2), and padded with zeros
//!    to a multiple of sixteen. That is exact but for components 2^126 times smaller than the largest, and nothing can
//!    overflow after it.
//! 2. qx, xx and qq are summed in sixteen lanes: lane i takes components i, i + 16, i + 32, and so on, each by one fused
//!    multiply-add onto the lane, from zero. The lanes are folded as a tree: lane i gets lane i + 8, then i + 4, i + 2, i + 1.
//! 3. cosine = qx / sqrt(qq * xx), clamped to [-1, 1]; a negative zero becomes zero.
//!
//! So a vector has cosine exactly 1 with itself, and exactly -1 with its opposite: sqrt(a * a) = a in IEEE arithmetic.
use super::codes::check_dim;
use super::simd::{Kernel, LANES};
use super::{IndexError, largest_magnitude, read_vector};

/// Scores rows against one query.
#[derive(Debug)]
pub struct Cosines {
    kernel: Kernel,
    query: Vec<f32>,
    query_squared: f32,
    raw: Vec<f32>,
    row: Vec<f32>,
}

impl Cosines {
    /// Prepare a query given as `dim` little-endian f32; NaN, infinity and zero are refused.
    pub fn new(kernel: Kernel, dim: usize, query: &[u8]) -> Result<Self, IndexError> {
        check_dim(dim)?;
        let mut raw = vec![0.0; dim];
        read_vector(query, &mut raw)?;
        let mut scaled = vec![0.0; dim.next_multiple_of(LANES)];
        scale(&raw, &mut scaled);
        let [squared, _] = kernel.products(&scaled, &scaled);
        Ok(Self {
            kernel,
            row: vec![0.0; scaled.len()],
            query: scaled,
            query_squared: fold(squared),
            raw,
        })
    }

    /// Give the cosine of the query with a stored row of the same dimension, as little-endian f32.
    pub fn score(&mut self, row: &[u8]) -> Result<f32, IndexError> {
        read_vector(row, &mut self.raw)?;
        scale(&self.raw, &mut self.row);
        let [product, squared] = self.kernel.products(&self.query, &self.row);
        let cosine = fold(product) / (self.query_squared * fold(squared)).sqrt();
        // Adding zero turns -0 into 0, so equal scores have equal bits.
        Ok(cosine.clamp(-1.0, 1.0) + 0.0)
    }
}

/// How far [`Cosines::score`] can be from the cosine itself: 2 (n + 4) + 2.5 roundings for lanes of n terms, and some.
pub(super) fn ranking_error(dim: usize) -> f64 {
    let roundings = 2 * dim.div_ceil(LANES) + 16;
    roundings as f64 * f64::from(f32::EPSILON) / 2.0
}

/// Multiply by the power of two that brings the largest magnitude into [1, 2). In f64, where that power always fits.
fn scale(values: &[f32], scaled: &mut [f32]) {
    let largest = f64::from(largest_magnitude(values));
    let exponent = (largest.to_bits() >> 52) & 0x7ff;
    let power = f64::from_bits((2 * 1023 - exponent) << 52);
    for (scaled, &value) in scaled.iter_mut().zip(values) {
        *scaled = (f64::from(value) * power) as f32;
    }
}

fn fold(mut lanes: [f32; LANES]) -> f32 {
    for half in [8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}
