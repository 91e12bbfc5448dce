//! State tries: what a node holds now, as a count-annotated binary Merkle trie that proves any part of itself.
//!
//! ```text
//! leaf  = H(0x02 | K | value)        node = H(0x03 | u64be count left | u64be count right | L | R), split on bit d of K
//! empty = 32 zeros, count 0; a subtree of one leaf is that leaf: the root follows from the leaves alone
//! ```
//!
//! In memory a tree of nodes ends in buckets of at most `tree::FULL` leaves, sorted, each with the hash of the node
//! between it and the next one: buckets keep the cost of a leaf near its own bytes, and a proof hashes next to nothing.
//! Nodes and buckets are shared by reference count and copied when they are written to, so a snapshot costs what was
//! written since, and any number of them live beside the writer.
//!
//! Depths run from 0, the root, to 255, the last bit that can tell two keys apart: recursion is bounded by that.
mod file;
mod hashing;
mod proof;
mod snapshot;
#[cfg(test)]
mod tests;
mod tree;
mod verify;
mod wanted;

pub use file::{ROW, load, save};
pub use hashing::{Leaf, Place};
pub use proof::Proof;
pub use snapshot::Snapshot;
pub use tree::{LEAF_ROW, Trie};
pub use verify::{OPENED_LEAF, verify};
pub use wanted::{GROUP_BITS, Wanted, group_span};
