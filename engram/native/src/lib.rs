//! Engram's hot core: a pure Rust library, with a thin PyO3 layer over it in `py/`.
//!
//! Nothing here opens a file, reads a clock or starts a thread that outlives its call. Integers of files are
//! little-endian, integers of proofs big-endian, both spelled out. Unsafe code stands in the small
//! modules that are allowed it where they are declared (SIMD, memory maps, floating-point settings).
#![deny(unsafe_code)]

pub mod answer;
pub mod attributes;
pub mod bodies;
pub mod challenge;
pub mod collect;
pub mod digest;
pub mod ed25519;
pub mod embed;
pub mod eventlog;
pub mod hash;
pub mod index;
pub mod jcs;
pub mod json;
pub mod living;
pub mod log_walk;
pub mod msgpack;
pub mod record;
pub mod segment;
pub mod sr25519;
pub mod tree;
pub mod trie;

#[cfg(feature = "python")]
mod py;
