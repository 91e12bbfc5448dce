//! Multiproofs: the opened leaves, and the counts and hashes of all that stays closed.
//!
//! ```text
//! preorder from the root, which is opened and has no tag; per opened node, left then right:
//! 0x00 closed: varint count [+ 32 bytes if > 0]   0x01 opened node   0x02 opened leaf      varint: unsigned LEB128
//! a trie of one leaf: empty, its leaf opened; an empty trie: empty, no leaf
//! ```
use super::hashing::Leaf;
use super::snapshot::{Snapshot, Sub};
use super::wanted::{Wanted, ranks_touch, spans_touch};
use crate::hash::Digest;

pub const CLOSED: u8 = 0;
pub const NODE: u8 = 1;
pub const LEAF: u8 = 2;

/// A multiproof and the leaves that it opens, in trie order.
#[derive(Debug, Default, PartialEq)]
pub struct Proof {
    pub leaves: Vec<Leaf>,
    pub multiproof: Vec<u8>,
}

impl Snapshot {
    /// Prove what is asked for. An error says what cannot be asked.
    pub fn prove(&self, wanted: Wanted<'_>) -> Result<Proof, String> {
        if wanted.is_empty() {
            return Err("a proof of nothing: give a rank or a key".to_owned());
        }
        if let Wanted::Ranks(ranks) = wanted
            && let Some(rank) = ranks.iter().find(|rank| **rank >= self.count())
        {
            return Err(format!(
                "rank {rank} is not below the count, {}",
                self.count()
            ));
        }
        let mut walk = Walk {
            wanted,
            path: [0; 32],
            before: 0,
            proof: Proof::default(),
        };
        let root = Sub::from(self.tree());
        match root.only() {
            Some(leaf) => walk.proof.leaves.push(*leaf),
            None if root.count() > 0 => walk.sides(root, 0),
            None => {}
        }
        Ok(walk.proof)
    }
}

struct Walk<'a> {
    wanted: Wanted<'a>,
    path: Digest,
    before: u64,
    proof: Proof,
}

impl Walk<'_> {
    fn sides(&mut self, node: Sub<'_>, depth: usize) {
        let (left, right) = node.sides(depth);
        self.side(left, depth + 1);
        self.path[depth / 8] ^= 0x80 >> (depth % 8);
        self.side(right, depth + 1);
        self.path[depth / 8] ^= 0x80 >> (depth % 8);
    }

    fn side(&mut self, sub: Sub<'_>, depth: usize) {
        if !self.is_wanted(sub, depth) {
            return self.close(sub, depth);
        }
        match sub.only() {
            Some(leaf) => {
                self.proof.multiproof.push(LEAF);
                self.proof.leaves.push(*leaf);
                self.before += 1;
            }
            None => {
                self.proof.multiproof.push(NODE);
                self.sides(sub, depth);
            }
        }
    }

    fn is_wanted(&self, sub: Sub<'_>, depth: usize) -> bool {
        sub.count() > 0
            && match self.wanted {
                Wanted::Ranks(ranks) => ranks_touch(ranks, self.before, sub.count()),
                Wanted::Spans(spans) => spans_touch(spans, &self.path, depth),
            }
    }

    fn close(&mut self, sub: Sub<'_>, depth: usize) {
        let out = &mut self.proof.multiproof;
        out.push(CLOSED);
        put_varint(out, sub.count());
        if sub.count() > 0 {
            out.extend_from_slice(&sub.hash(depth));
        }
        self.before += sub.count();
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
