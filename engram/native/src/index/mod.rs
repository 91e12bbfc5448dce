//! The index: signs of rows, 8-bit codes with a proven error, a filtered scan over them, and the cosine that ranks.
//!
//! Vectors, digests and metadata are not here but in the bodies on disk. [`Space`] is the writer's side, [`View`] what a
//! reader searches. `docs/index.md` proves that an exact search equals brute force over the stored vectors, on any data,
//! and says when a fast one is made.
mod codes;
mod exact;
mod fast;
mod filter;
mod head;
mod maps;
mod mask;
#[allow(unsafe_code)]
mod plain;
mod query;
mod rows;
mod scan;
mod seal;
mod search;
mod segment;
mod signs;
#[allow(unsafe_code)]
mod simd;
mod space;
#[cfg(test)]
mod tests;
mod view;

use std::fmt;

pub use codes::{Batch, MAX_DIM};
pub use exact::Cosines;
pub use fast::{Kept, MIN_DIM, MOST_R1, R1S, RECALL, earn};
pub use head::TEST_ROWS;
pub use maps::{Body, BodyMaps, MAX_SEGMENTS, Map, Maps, vector_of};
pub use mask::{CHUNK_ROWS, Mask};
pub use query::Query;
pub use rows::{Fast, Signs, Slab, Stored, stride_of, tag_of, words_of};
pub use seal::{Built, build};
pub use search::{Ask, EXACT_ROWS, Found, Hit, Mode, Step};
pub use segment::{Aligned, Sealed, SegmentError};
pub use signs::extend as extend_signs;
pub use simd::{Block, Kernel};
pub use space::Space;
pub use view::{Allowed, Part, Rows, View};

/// Why the index refuses its input. Nothing has changed when one is returned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IndexError {
    /// A dimension outside 1..=[`MAX_DIM`].
    Dim(usize),
    /// A vector's bytes are not `expected` long.
    Length { expected: usize, got: usize },
    /// A component is NaN or infinite.
    NotFinite,
    /// Every component is zero, so there is no direction.
    Zero,
    /// A sealed part that cannot take the place of what it is to replace.
    NotReplaced,
    /// More rows than a u32 can name.
    TooManyRows,
    /// A kernel that is unknown, or that this CPU lacks.
    Kernel(String),
    /// One of several vectors is refused.
    At {
        index: usize,
        reason: Box<IndexError>,
    },
}

impl IndexError {
    /// Say which of several vectors was refused.
    pub fn at(self, index: usize) -> Self {
        Self::At {
            index,
            reason: Box::new(self),
        }
    }
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dim(dim) => write!(f, "dim must be 1..{MAX_DIM}, got {dim}"),
            Self::Length { expected, got } => {
                write!(f, "expected {expected} bytes of f32, got {got}")
            }
            Self::NotFinite => write!(f, "a component is NaN or infinite"),
            Self::Zero => write!(f, "every component is zero"),
            Self::NotReplaced => write!(f, "the segment does not hold what it is to replace"),
            Self::TooManyRows => write!(f, "more than {} rows", u32::MAX),
            Self::Kernel(text) => write!(f, "{text}"),
            Self::At { index, reason } => write!(f, "vector {index}: {reason}"),
        }
    }
}

impl std::error::Error for IndexError {}

/// Read little-endian f32, and refuse what has no direction: a wrong length, NaN, infinity, zero.
fn read_vector(bytes: &[u8], into: &mut [f32]) -> Result<(), IndexError> {
    let expected = into.len() * 4;
    if bytes.len() != expected {
        let got = bytes.len();
        return Err(IndexError::Length { expected, got });
    }
    for (value, raw) in into.iter_mut().zip(bytes.as_chunks::<4>().0) {
        *value = f32::from_le_bytes(*raw);
    }
    match largest_magnitude(into).to_bits() {
        0 => Err(IndexError::Zero),
        bits if bits >= f32::INFINITY.to_bits() => Err(IndexError::NotFinite),
        _ => Ok(()),
    }
}

/// The largest |x|, as bits: magnitudes order as integers do, and NaN comes out above infinity instead of vanishing.
fn largest_magnitude(values: &[f32]) -> f32 {
    let bits = values.iter().map(|x| x.to_bits() & 0x7fff_ffff);
    f32::from_bits(bits.fold(0, u32::max))
}
