//! The log's Merkle tree (RFC 6962 §2.1): appended to, never rewritten.
use crate::hash::{Digest, sha256};

mod frame;
mod proof;

pub use frame::FramePaths;
pub use proof::{LONGEST_PATH, verify_consistency, verify_inclusion};

pub fn leaf(event: &[u8]) -> Digest {
    sha256(&[&[0], event])
}

fn node(left: &Digest, right: &Digest) -> Digest {
    sha256(&[&[1], left, right])
}

/// The root of a complete subtree from its hashes at some level: as many as a power of two, at least one.
pub fn subtree_root(hashes: &[Digest]) -> Digest {
    match hashes {
        [only] => *only,
        [left, right] => node(left, right),
        _ => {
            let (left, right) = hashes.split_at(hashes.len() / 2);
            node(&subtree_root(left), &subtree_root(right))
        }
    }
}

/// The right edge of the tree: the roots of its complete subtrees, largest first. Enough to append and to give the root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frontier {
    pub size: u64,
    pub roots: Vec<Digest>,
}

impl Frontier {
    /// Build from a stored edge; None if it cannot belong to a tree of `size` leaves, which no tree has over 2^63 of: so
    /// nothing that is appended overflows.
    pub fn new(size: u64, roots: Vec<Digest>) -> Option<Self> {
        let can_be = size <= 1 << 63 && roots.len() == size.count_ones() as usize;
        can_be.then_some(Self { size, roots })
    }

    pub fn append(&mut self, event: &[u8]) {
        let mut root = leaf(event);
        let mut size = self.size;
        while size & 1 == 1 {
            let left = self.roots.pop().expect("one root for each bit of the size");
            root = node(&left, &root);
            size >>= 1;
        }
        self.roots.push(root);
        self.size += 1;
    }

    pub fn root(&self) -> Digest {
        let mut roots = self.roots.iter().rev();
        let Some(last) = roots.next() else {
            return sha256(&[]);
        };
        roots.fold(*last, |right, left| node(left, &right))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn naive(events: &[Vec<u8>]) -> Digest {
        match events.len() {
            0 => sha256(&[]),
            1 => leaf(&events[0]),
            n => {
                let half = n.next_power_of_two() / 2;
                node(&naive(&events[..half]), &naive(&events[half..]))
            }
        }
    }

    #[test]
    fn the_frontier_gives_the_root_of_rfc_6962() {
        let events: Vec<Vec<u8>> = (0..70u8).map(|n| vec![n; usize::from(n)]).collect();
        let mut frontier = Frontier::default();
        for n in 0..events.len() {
            assert_eq!(frontier.root(), naive(&events[..n]));
            frontier.append(&events[n]);
        }
    }
}
