//! Bytes of a file as the numbers they are, where they lie.
//!
//! The only place where bytes are taken for something else. Files are little-endian, so a machine that is not cannot read
//! them in place, and does not build this.
use super::rows::Signs;
use super::simd::Block;

const _: () = assert!(cfg!(target_endian = "little"), "segments are read in place");

/// Types of which every bit pattern is a value, without padding.
///
/// # Safety
/// Whoever implements it promises just that.
pub unsafe trait Plain: Copy {}

// SAFETY: 64 integers of a byte each, and nothing between or behind them.
unsafe impl Plain for Block {}
// SAFETY: eight integers of 64 bits, and nothing between or behind them.
unsafe impl Plain for Signs {}
// SAFETY: every pattern of 32 bits is an f32.
unsafe impl Plain for f32 {}
// SAFETY: every pattern of 32 bits is a u32.
unsafe impl Plain for u32 {}
// SAFETY: every pattern of 64 bits is a u64.
unsafe impl Plain for u64 {}

/// Take bytes for values; None where they do not begin at a multiple of the type's alignment, or do not end with a value.
pub fn values_of<T: Plain>(bytes: &[u8]) -> Option<&[T]> {
    // SAFETY: every bit pattern is a T.
    let (before, values, behind) = unsafe { bytes.align_to() };
    (before.is_empty() && behind.is_empty()).then_some(values)
}

/// Take values for their bytes.
pub fn bytes_of<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: a value has no padding, so each of its bytes is initialised; a byte is aligned anywhere.
    unsafe { values.align_to() }.1
}

/// Take values for their bytes, to be written.
pub fn bytes_of_mut<T: Plain>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: as in `bytes_of`, and whatever is written is a value again.
    unsafe { values.align_to_mut() }.1
}
