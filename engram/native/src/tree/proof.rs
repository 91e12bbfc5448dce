//! Inclusion and consistency proofs, verified. A proof is a stranger's: it is walked once, and nothing is allocated.
use super::node;
use crate::hash::{Digest, sha256};

/// Hashes in the longest proof of any tree of fewer than 2^64 leaves: consistency has one more than the tree is high.
pub const LONGEST_PATH: usize = 65;

/// Say whether the leaf at `position` is in the tree of `size` leaves and this root: RFC 9162 §2.1.3.2.
pub fn verify_inclusion(
    leaf: &Digest,
    position: u64,
    size: u64,
    path: &[Digest],
    root: &Digest,
) -> bool {
    if position >= size {
        return false;
    }
    let (mut at, mut last) = (position, size - 1);
    let mut hash = *leaf;
    for sibling in path {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            hash = node(sibling, &hash);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            hash = node(&hash, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && hash == *root
}

/// Say whether the tree of `second` leaves begins with all that the tree of `first` has: RFC 9162 §2.1.4.2.
///
/// Two equal sizes need equal roots, and the empty tree stands at the beginning of any other; both have an empty path.
pub fn verify_consistency(
    first: u64,
    first_root: &Digest,
    second: u64,
    second_root: &Digest,
    path: &[Digest],
) -> bool {
    let right_if_empty = |size: u64, root: &Digest| size != 0 || *root == sha256(&[]);
    if first > second || !right_if_empty(first, first_root) || !right_if_empty(second, second_root)
    {
        return false;
    }
    if first == 0 || first == second {
        return path.is_empty() && (first == 0 || first_root == second_root);
    }
    let (Some(seed), rest) = (if first.is_power_of_two() {
        (Some(first_root), path)
    } else {
        (path.first(), path.get(1..).unwrap_or_default())
    }) else {
        return false;
    };
    let (mut at, mut last) = (first - 1, second - 1);
    while at & 1 == 1 {
        at >>= 1;
        last >>= 1;
    }
    let (mut before, mut after) = (*seed, *seed);
    for sibling in rest {
        if last == 0 {
            return false;
        }
        if at & 1 == 1 || at == last {
            before = node(sibling, &before);
            after = node(sibling, &after);
            while at & 1 == 0 && at != 0 {
                at >>= 1;
                last >>= 1;
            }
        } else {
            after = node(&after, sibling);
        }
        at >>= 1;
        last >>= 1;
    }
    last == 0 && before == *first_root && after == *second_root
}

#[cfg(test)]
mod tests {
    use ct_merkle::mem_backed_tree::MemoryBackedTree;
    use sha2::Sha256;

    use super::super::{FramePaths, Frontier, leaf};
    use super::*;

    type OtherTree = MemoryBackedTree<Sha256, Vec<u8>>;

    fn hashes(proof: &[u8]) -> Vec<Digest> {
        proof.as_chunks().0.to_vec()
    }

    fn changed(path: &[Digest], at: usize) -> Vec<Digest> {
        let mut path = path.to_vec();
        path[at][at % 32] ^= 1;
        path
    }

    #[test]
    fn the_proofs_of_another_implementation_verify_and_no_changed_ones() {
        let mut other = OtherTree::new();
        let mut roots: Vec<Digest> = vec![sha256(&[])];
        let mut leaves: Vec<Digest> = Vec::new();
        let mut frontier = Frontier::default();
        for number in 0..200u64 {
            let event = number.to_be_bytes().to_vec();
            frontier.append(&event);
            leaves.push(leaf(&event));
            other.push(event);
            let (size, root) = (number + 1, frontier.root());
            assert_eq!(root, Digest::from(*other.root().as_bytes()));
            roots.push(root);
            let frame = FramePaths::new(&Frontier::default(), leaves.clone());
            for position in 0..size {
                let path = hashes(other.prove_inclusion(position as usize).as_bytes());
                let ours = frame.path(position as usize).into_iter();
                assert_eq!(
                    ours.map(|place| *frame.hash(place)).collect::<Vec<_>>(),
                    path
                );
                let hash = &leaves[position as usize];
                assert!(verify_inclusion(hash, position, size, &path, &root));
                for at in 0..path.len() {
                    assert!(!verify_inclusion(
                        hash,
                        position,
                        size,
                        &changed(&path, at),
                        &root
                    ));
                    assert!(!verify_inclusion(hash, position, size, &path[..at], &root));
                }
                assert!(!verify_inclusion(hash, position ^ 1, size, &path, &root) || size == 1);
            }
            for first in 1..size {
                let path = hashes(other.prove_consistency((size - first) as usize).as_bytes());
                let before = &roots[first as usize];
                assert!(verify_consistency(first, before, size, &root, &path));
                for at in 0..path.len() {
                    let changed = changed(&path, at);
                    assert!(!verify_consistency(first, before, size, &root, &changed));
                    assert!(!verify_consistency(first, before, size, &root, &path[..at]));
                }
            }
        }
    }

    #[test]
    fn a_path_of_the_largest_log_is_walked_to_its_end() {
        let (hash, path) = (leaf(b""), [leaf(b"x"); 64]);
        let root = path.iter().fold(hash, |root, sibling| node(&root, sibling));
        assert!(verify_inclusion(&hash, 0, u64::MAX, &path, &root));
        assert!(!verify_inclusion(&hash, 0, u64::MAX, &path[..63], &root));
        assert!(!verify_inclusion(&hash, u64::MAX, u64::MAX, &path, &root));
        assert!(!verify_consistency(
            u64::MAX - 1,
            &root,
            u64::MAX,
            &root,
            &path
        ));
    }
}
