//! What a part of an index is made of: rows of codes, as whoever holds them lends them to a search.
//!
//! A namespace's rows stand in parts: sealed ones, which never change, and one head, which grows. A part is one slab, or,
//! like the head, one slab for each of its chunks. Row ids are a part's own, 0..rows.
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use super::simd::Block;
use crate::attributes::Columns;
use crate::hash::Digest;

/// One 64-bit word of the signs of eight rows: bit b of word w is set where component 64 w + b is negative.
///
/// The signs of a part stand in groups of eight rows, and in a group word by word: lane i of `signs[group * words + w]`
/// is word w of row `8 * group + i`. So eight distances come out of one register, none is added up across lanes, and a
/// row takes no more than its bits. Rows past the last are zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Signs(pub [u64; Self::ROWS]);

impl Signs {
    /// Rows of a group.
    pub const ROWS: usize = 8;
    pub const ZERO: Self = Self([0; Self::ROWS]);
}

/// Rows lent to a search; each slice holds one entry a row, but for the blocks and the signs.
///
/// `blocks`: [`stride_of`] blocks a row, padded with zeros. `scales` and `errors`: of the codes (`codes.rs`).
/// `signs`: [`words_of`] for every eight rows. `tags`: [`tag_of`] the digest, so that a body that came to stand at a
/// row's place is not taken for the row's own. `locations`: where the bodies stand; ascending in a sealed part.
#[derive(Debug, Clone, Copy)]
pub struct Slab<'a> {
    pub blocks: &'a [Block],
    pub scales: &'a [f32],
    pub errors: &'a [f32],
    pub signs: Option<&'a [Signs]>,
    pub tags: &'a [u32],
    pub locations: &'a [u64],
}

impl<'a> Slab<'a> {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.scales.len()
    }

    /// Lend rows `from..to` without their signs.
    pub fn part(&self, from: usize, to: usize) -> Slab<'a> {
        let stride = self.blocks.len() / self.rows().max(1);
        Slab {
            blocks: &self.blocks[from * stride..to * stride],
            scales: &self.scales[from..to],
            errors: &self.errors[from..to],
            signs: None,
            tags: &self.tags[from..to],
            locations: &self.locations[from..to],
        }
    }
}

/// How a part searches fast. None earned: it is scanned by its codes.
#[derive(Debug, Clone, PartialEq)]
pub struct Fast {
    /// What is taken off before the sign is; None takes the signs as they are. One f32 a component.
    pub mean: Option<Vec<f32>>,
    /// How many rows the signs let pass, for each ten that are asked for.
    pub r1: u32,
    /// The share of the ten nearest that they let pass in the self-test.
    pub recall: f32,
}

/// A sealed part: rows that never change, in the order of their locations, and how they may be searched fast.
pub trait Stored: Debug + Send + Sync {
    /// Lend the rows.
    fn slab(&self) -> Slab<'_>;
    /// How the part is searched fast; None where its self-test found no way, and its slab has no signs then.
    fn fast(&self) -> Option<&Fast>;
    /// What filters have read of the rows before they are adopted; nothing, where it is not kept.
    fn columns(&self) -> Arc<Mutex<Columns>> {
        Arc::default()
    }
    /// The digest over all of it.
    fn digest(&self) -> &Digest;
}

/// Blocks of a row of `dim` components.
pub fn stride_of(dim: usize) -> usize {
    dim.div_ceil(Block::LEN)
}

/// Words of a row's signs.
pub fn words_of(dim: usize) -> usize {
    dim.div_ceil(64)
}

/// The first four bytes of a digest, little-endian.
pub fn tag_of(digest: &[u8; 32]) -> u32 {
    u32::from_le_bytes([digest[0], digest[1], digest[2], digest[3]])
}
