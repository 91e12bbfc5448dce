//! State tries: what a node holds now, as a count-annotated binary Merkle trie, rebuilt from all its leaves.
//!
//! leaf = H(0x02 | K | value), node = H(0x03 | count left | count right | L | R) split on K's bits, most significant
//! first; a subtree of one leaf is that leaf; empty = 32 zeros. History-independent.
use crate::hash::{Digest, sha256};

/// Give (root, count) of `leaves`, (K, value) pairs in any order; an error if a K stands twice.
pub fn root(leaves: &mut [(Digest, Digest)]) -> Result<(Digest, u64), &'static str> {
    leaves.sort_unstable();
    if leaves.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err("a key stands twice");
    }
    Ok((subtree(leaves, 0), leaves.len() as u64))
}

fn subtree(leaves: &[(Digest, Digest)], depth: usize) -> Digest {
    match leaves {
        [] => [0; 32],
        [(key, value)] => sha256(&[&[2], key, value]),
        _ => {
            let split =
                leaves.partition_point(|(key, _)| key[depth / 8] & (0x80 >> (depth % 8)) == 0);
            let (left, right) = leaves.split_at(split);
            sha256(&[
                &[3],
                &(left.len() as u64).to_be_bytes(),
                &(right.len() as u64).to_be_bytes(),
                &subtree(left, depth + 1),
                &subtree(right, depth + 1),
            ])
        }
    }
}
