//! A snapshot: the trie as it was when it was committed, for readers on any thread.
use super::hashing::{Leaf, Place, bit, run_hash, split_of};
use super::tree::{Branch, Tree, size};
use super::wanted::{GROUP_BITS, group_span};
use crate::hash::Digest;

/// A trie that does not change.
#[derive(Debug, Clone)]
pub struct Snapshot {
    tree: Tree,
}

/// A subtree of a snapshot, borrowed.
#[derive(Debug, Clone, Copy)]
pub enum Sub<'a> {
    Branch(&'a Branch),
    Run(&'a [Place]),
}

impl<'a> From<&'a Tree> for Sub<'a> {
    fn from(tree: &'a Tree) -> Self {
        match tree {
            Tree::Bucket(run) => Self::Run(run),
            Tree::Branch(branch) => Self::Branch(branch),
        }
    }
}

impl<'a> Sub<'a> {
    pub fn count(&self) -> u64 {
        match self {
            Self::Branch(branch) => branch.count,
            Self::Run(run) => run.len() as u64,
        }
    }

    pub fn hash(&self, depth: usize) -> Digest {
        match self {
            Self::Branch(branch) => branch.hash,
            Self::Run(run) => run_hash(run, depth),
        }
    }

    /// The two sides by the bit at `depth`, where this stands.
    pub fn sides(&self, depth: usize) -> (Self, Self) {
        match self {
            Self::Branch(branch) => (Self::from(&branch.left), Self::from(&branch.right)),
            Self::Run(run) => {
                let (left, right) = run.split_at(split_of(run, depth));
                (Self::Run(left), Self::Run(right))
            }
        }
    }

    /// The leaf, if there is exactly one.
    pub fn only(&self) -> Option<&'a Leaf> {
        match self {
            Self::Run([place]) => Some(&place.leaf),
            _ => None,
        }
    }
}

impl Snapshot {
    pub fn over(tree: &Tree) -> Self {
        Self { tree: tree.clone() }
    }

    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    pub fn count(&self) -> u64 {
        self.tree.count()
    }

    pub fn root(&self) -> Digest {
        self.tree.hash(0)
    }

    /// Bytes of memory, what other snapshots share with it included.
    pub fn size(&self) -> usize {
        size(&self.tree)
    }

    /// The leaf at a rank, in the order of keys.
    pub fn leaf(&self, rank: u64) -> Option<&Leaf> {
        let mut tree = &self.tree;
        let mut before = 0;
        loop {
            match tree {
                Tree::Bucket(run) => {
                    let at = usize::try_from(rank - before).ok()?;
                    return run.get(at).map(|place| &place.leaf);
                }
                Tree::Branch(branch) => {
                    let middle = before + branch.left.count();
                    if rank < middle {
                        tree = &branch.left;
                    } else {
                        before = middle;
                        tree = &branch.right;
                    }
                }
            }
        }
    }

    /// The rank and the leaf of a key.
    pub fn find(&self, key: &Digest) -> Option<(u64, &Leaf)> {
        let (before, run) = self.descend(key);
        let at = run.binary_search_by(|place| place.leaf.key.cmp(key)).ok()?;
        Some((before + at as u64, &run[at].leaf))
    }

    /// The first rank and the number of leaves of a placement group.
    pub fn group(&self, group: u16) -> (u64, u64) {
        debug_assert!(usize::from(group) < 1 << GROUP_BITS);
        let (first, last) = group_span(group);
        let start = self.below(&first, false);
        (start, self.below(&last, true) - start)
    }

    /// How many keys are lower than `key`, or equal to it where those count.
    fn below(&self, key: &Digest, equal: bool) -> u64 {
        let (before, run) = self.descend(key);
        let lower = |place: &Place| place.leaf.key < *key || equal && place.leaf.key == *key;
        before + run.partition_point(lower) as u64
    }

    /// The bucket on the path of a key, and how many leaves stand before it.
    fn descend(&self, key: &Digest) -> (u64, &[Place]) {
        let mut tree = &self.tree;
        let mut before = 0;
        let mut depth = 0;
        loop {
            match tree {
                Tree::Bucket(run) => return (before, run),
                Tree::Branch(branch) if bit(key, depth) => {
                    before += branch.left.count();
                    tree = &branch.right;
                }
                Tree::Branch(branch) => tree = &branch.left,
            }
            depth += 1;
        }
    }
}
