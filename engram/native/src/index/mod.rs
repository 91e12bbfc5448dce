//! The exact scan: 8-bit codes with a proven error, a filtered scan over them, and the cosine that ranks.
//!
//! The stored f32 rows are not here but in the bodies on disk, so a search has two phases: [`Snapshot::candidates`]
//! gives every row that the codes cannot rule out of the top k, and [`Cosines`] scores the rows fetched for them.
//! `docs/index.md` proves that the two together equal brute force over the stored rows, on any data.
mod codes;
mod exact;
mod fast;
#[allow(unsafe_code)]
mod plain;
mod rows;
mod scan;
mod segment;
#[allow(unsafe_code)]
mod simd;
#[cfg(test)]
mod tests;

use std::fmt;

pub use codes::{Batch, CHUNK_ROWS, Codes, MAX_DIM, Snapshot};
pub use exact::Cosines;
pub use fast::Fast;
pub use rows::{Signs, Slab, stride_of, tag_of, words_of};
pub use scan::{Query, bitmap};
pub use segment::{Aligned, Builder, Pick, Sealed, SegmentError};
pub use simd::{Block, Kernel};

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
    /// A row id that the snapshot does not have.
    NoSuchRow { row: i64, rows: usize },
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
            Self::NoSuchRow { row, rows } => write!(f, "row {row} is not one of the {rows} rows"),
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
