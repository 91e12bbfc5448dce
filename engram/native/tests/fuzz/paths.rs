//! Inclusion and consistency paths of the log's tree.
use std::collections::HashMap;

use _core::hash::{Digest, sha256};
use _core::tree::{FramePaths, Frontier, leaf, verify_consistency, verify_inclusion};
use bolero::TypeGenerator;

use crate::bounds::bounded;

/// Leaves of the golden trees.
const LEAVES: usize = 40;

#[derive(Debug, TypeGenerator)]
struct Claim {
    position: u64,
    size: u64,
    small: bool,
    path: Vec<Digest>,
    good: bool,
    root: Digest,
    edit: u8,
}

/// Every good claim of small trees: (position, size, path, root).
fn good() -> Vec<(u64, u64, Vec<Digest>, Digest)> {
    let mut found = Vec::new();
    let mut after = Frontier::default();
    let mut leaves = Vec::new();
    for number in 0..LEAVES {
        after.append(&[number as u8]);
        leaves.push(leaf(&[number as u8]));
        let frame = FramePaths::new(&Frontier::default(), leaves.clone());
        for at in 0..=number {
            let path = frame
                .path(at)
                .into_iter()
                .map(|place| *frame.hash(place))
                .collect();
            found.push((at as u64, after.size, path, after.root()));
        }
    }
    found
}

#[test]
fn log_inclusion() {
    let good = good();
    let place = |(position, size, path, root): (u64, u64, Vec<Digest>, Digest)| {
        ((position, size), (path, root))
    };
    let known: HashMap<_, _> = good.iter().cloned().map(place).collect();
    bolero::check!()
        .with_type::<(Claim, u16)>()
        .for_each(|(claim, which)| {
            let (mut position, mut size, mut path, mut root) =
                good[usize::from(*which) % good.len()].clone();
            let leaf = leaf(&[position as u8]);
            if claim.good {
                // One edit of a good claim, or none.
                match claim.edit % 6 {
                    0 => {}
                    1 => position = claim.position % 64,
                    2 => {
                        size = if claim.small {
                            claim.size % 64
                        } else {
                            claim.size
                        }
                    }
                    3 => path.truncate(claim.position as usize % (path.len() + 1)),
                    4 => path.extend(&claim.path),
                    _ => root = claim.root,
                }
            } else {
                (position, size, path, root) =
                    (claim.position, claim.size, claim.path.clone(), claim.root);
            }
            let held = bounded(0, 0, || {
                verify_inclusion(&leaf, position, size, &path, &root)
            });
            let of_that_size = known.get(&(position, size));
            let is_so = of_that_size.is_some_and(|known| *known == (path, root));
            // A root binds the size only beside it: who signs one signs both.
            let resized = claim.good && claim.edit % 6 == 2;
            assert!(held == is_so || resized, "what is not so is not proved");
        });
}

#[test]
fn log_consistency() {
    let roots: Vec<Digest> = good()
        .chunk_by(|a, b| a.1 == b.1)
        .map(|tree| tree[0].3)
        .collect();
    bolero::check!()
        .with_type::<(Claim, u8, u8)>()
        .for_each(|(claim, first, second)| {
            let root = |size: u64| match size {
                0 => sha256(&[]),
                size => roots.get(size as usize - 1).copied().unwrap_or(claim.root),
            };
            let (first, second) = match claim.small {
                true => (u64::from(*first) % 42, u64::from(*second) % 42),
                false => (claim.position, claim.size),
            };
            let path = &claim.path;
            let held = bounded(0, 0, || {
                verify_consistency(first, &root(first), second, &root(second), path)
            });
            let needs_none =
                first == 0 && (second != 0 || root(0) == sha256(&[])) || first == second;
            assert_eq!(
                held,
                path.is_empty() && needs_none && first <= second,
                "random hashes prove nothing"
            );
        });
}
