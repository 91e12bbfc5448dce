//! A query's codes and signs.
use super::codes::{Encoder, check_dim};
use super::exact::ranking_error;
use super::rows::stride_of;
use super::signs;
use super::simd::Block;
use super::{IndexError, read_vector};

/// A query's codes: eight bits, and eight more for what the first leave out; and its direction, for its signs.
#[derive(Debug)]
pub struct Query {
    pub(super) coarse: Vec<Block>,
    pub(super) scale: f64,
    pub(super) coarse_error: f64,
    pub(super) fine: Vec<Block>,
    pub(super) step: f64,
    pub(super) fine_error: f64,
    direction: Vec<f32>,
    bytes: Vec<u8>,
}

impl Query {
    /// Code a query given as `dim` little-endian f32; NaN, infinity and zero are refused.
    pub fn new(dim: usize, bytes: &[u8]) -> Result<Self, IndexError> {
        check_dim(dim)?;
        let mut vector = vec![0.0; dim];
        read_vector(bytes, &mut vector)?;
        let mut encoder = Encoder::new(dim);
        let coded = encoder.encode(&vector);
        let direction = encoder.direction(dim);
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
            coarse,
            scale: f64::from(coded.scale),
            coarse_error: f64::from(coded.error) + ranking,
            fine,
            step,
            fine_error: fine_error + ranking,
            direction,
            bytes: bytes.to_vec(),
        })
    }

    /// The number of components.
    pub fn dim(&self) -> usize {
        self.direction.len()
    }

    /// The little-endian f32 that it was made of.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Give its signs, less a part's mean.
    pub fn signs(&self, mean: Option<&[f32]>) -> Vec<u64> {
        signs::signs_of_direction(&self.direction, mean)
    }
}
