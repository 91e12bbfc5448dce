//! Leaves, and the hashes over sorted runs of them.
use crate::hash::{Digest, sha256};

/// The hash of an empty subtree, and the mark of a node whose hash is not known: no node hashes to it.
pub const ZERO: Digest = [0; 32];

/// A leaf: its key, what it commits to, and where the bytes behind that lie (which no hash covers).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leaf {
    pub key: Digest,
    pub value: Digest,
    pub location: u64,
}

impl Leaf {
    pub fn hash(&self) -> Digest {
        leaf_hash(&self.key, &self.value)
    }
}

/// A leaf at its place in a sorted run, with the hash of the node that divides it from the next leaf: ZERO where that is
/// not known, meaningless after the last leaf of a run.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub leaf: Leaf,
    pub node: Digest,
}

pub fn leaf_hash(key: &Digest, value: &Digest) -> Digest {
    sha256(&[&[2], key, value])
}

/// The hash of a node over two subtrees, each given as (count, hash).
pub fn node_hash(left: (u64, Digest), right: (u64, Digest)) -> Digest {
    sha256(&[&node_preimage(left, right)])
}

/// Bytes that a node hashes.
pub const NODE_PREIMAGE: usize = 1 + 2 * 8 + 2 * 32;

pub fn node_preimage(left: (u64, Digest), right: (u64, Digest)) -> [u8; NODE_PREIMAGE] {
    let mut bytes = [3; NODE_PREIMAGE];
    bytes[1..9].copy_from_slice(&left.0.to_be_bytes());
    bytes[9..17].copy_from_slice(&right.0.to_be_bytes());
    bytes[17..49].copy_from_slice(&left.1);
    bytes[49..].copy_from_slice(&right.1);
    bytes
}

pub fn bit(key: &Digest, depth: usize) -> bool {
    key[depth / 8] & (0x80 >> (depth % 8)) != 0
}

/// Whether the first `depth` bits of two keys are the same.
pub fn agree(a: &Digest, b: &Digest, depth: usize) -> bool {
    let (whole, bits) = (depth / 8, depth % 8);
    a[..whole] == b[..whole] && (bits == 0 || (a[whole] ^ b[whole]) >> (8 - bits) == 0)
}

/// Where the leaves whose key has a one at `depth` begin.
pub fn split_of(run: &[Place], depth: usize) -> usize {
    run.partition_point(|place| !bit(&place.leaf.key, depth))
}

/// Where a run of two leaves or more divides: at which depth, and before which leaf.
pub fn division(run: &[Place]) -> (usize, usize) {
    let (first, last) = (&run[0].leaf.key, &run[run.len() - 1].leaf.key);
    let byte = (0..32).find(|&at| first[at] != last[at]);
    let byte = byte.expect("keys of a run are distinct");
    let depth = byte * 8 + (first[byte] ^ last[byte]).leading_zeros() as usize;
    (depth, split_of(run, depth))
}

/// The hash of the subtree over `run`, seen from `depth`. Its nodes' hashes must be known.
pub fn run_hash(run: &[Place], depth: usize) -> Digest {
    match run {
        [] => ZERO,
        [place] => place.leaf.hash(),
        _ => {
            let (at, split) = division(run);
            raised(run[split - 1].node, run, at, depth)
        }
    }
}

/// The hash of a run that divides at `from`, seen from `to`: over it stand nodes with an empty side.
fn raised(hash: Digest, run: &[Place], from: usize, to: usize) -> Digest {
    let (count, key) = (run.len() as u64, &run[0].leaf.key);
    (to..from).rev().fold(hash, |below, depth| {
        if bit(key, depth) {
            node_hash((0, ZERO), (count, below))
        } else {
            node_hash((count, below), (0, ZERO))
        }
    })
}

/// Whether a hash within the run is missing. Whoever changes a leaf forgets every node over it, so the first node tells.
pub fn is_stale(run: &[Place]) -> bool {
    run.len() > 1 && run[division(run).1 - 1].node == ZERO
}

/// Compute the hashes that are missing within the run, and give its own, seen from `depth`.
pub fn settled(run: &mut [Place], depth: usize) -> Digest {
    if run.len() < 2 {
        return run_hash(run, depth);
    }
    let (at, split) = division(run);
    if run[split - 1].node == ZERO {
        let (left, right) = run.split_at_mut(split);
        let counts = (left.len() as u64, right.len() as u64);
        let hashes = (settled(left, at + 1), settled(right, at + 1));
        left[split - 1].node = node_hash((counts.0, hashes.0), (counts.1, hashes.1));
    }
    raised(run[split - 1].node, run, at, depth)
}

/// Forget the hashes of all nodes over the leaf with this key, which the run holds.
pub fn forget_path(mut run: &mut [Place], key: &Digest) {
    while run.len() > 1 {
        let (depth, split) = division(run);
        run[split - 1].node = ZERO;
        let (left, right) = run.split_at_mut(split);
        run = if bit(key, depth) { right } else { left };
    }
}
