//! The tree in memory, and its one writer: build, insert, remove, settle.
use std::mem;
use std::sync::Arc;
use std::thread;

use super::hashing::{Leaf, Place, ZERO, bit, forget_path, is_stale, node_hash, run_hash, settled};
use super::snapshot::Snapshot;
use crate::hash::Digest;

/// Bytes of a leaf as it is given: K | value | location u64 LE.
pub const LEAF_ROW: usize = 72;
/// The most leaves of a bucket. Fewer: more memory for nodes; more: more to copy and to hash for each change.
pub const FULL: usize = 16;
/// A node over so few leaves becomes a bucket again; well below `FULL`, so that one leaf that comes and goes moves nothing.
const SPARSE: u64 = 10;
/// Leaves from which two threads build a tree.
const PARALLEL: usize = 1 << 15;

/// A subtree.
#[derive(Debug, Clone)]
pub enum Tree {
    Bucket(Arc<Vec<Place>>),
    Branch(Arc<Branch>),
}

/// A node over more leaves than a bucket takes. One side may be empty.
#[derive(Debug, Clone)]
pub struct Branch {
    pub hash: Digest,
    pub count: u64,
    pub left: Tree,
    pub right: Tree,
}

impl Tree {
    pub fn count(&self) -> u64 {
        match self {
            Self::Bucket(run) => run.len() as u64,
            Self::Branch(branch) => branch.count,
        }
    }

    /// The hash, seen from `depth`, where the subtree stands. Every hash in it must be known.
    pub fn hash(&self, depth: usize) -> Digest {
        match self {
            Self::Bucket(run) => run_hash(run, depth),
            Self::Branch(branch) => branch.hash,
        }
    }

    fn is_stale(&self) -> bool {
        match self {
            Self::Bucket(run) => is_stale(run),
            Self::Branch(branch) => branch.hash == ZERO,
        }
    }

    /// Compute the hashes that are missing, and give its own, seen from `depth`.
    fn settle(&mut self, depth: usize) -> Digest {
        if !self.is_stale() {
            return self.hash(depth);
        }
        match self {
            Self::Bucket(run) => settled(Arc::make_mut(run).as_mut_slice(), depth),
            Self::Branch(branch) => Arc::make_mut(branch).settle(depth),
        }
    }

    /// Visit all leaves in order, each with the hash of the node between it and the next; `after` follows the last.
    pub fn each(&self, after: &Digest, visit: &mut impl FnMut(&Leaf, &Digest)) {
        match self {
            Self::Bucket(run) => {
                let nodes = run.iter().map(|place| &place.node);
                let nodes = nodes.take(run.len().saturating_sub(1)).chain([after]);
                run.iter()
                    .zip(nodes)
                    .for_each(|(place, node)| visit(&place.leaf, node));
            }
            Self::Branch(branch) if branch.right.count() == 0 => branch.left.each(after, visit),
            Self::Branch(branch) => {
                branch.left.each(&branch.hash, visit);
                branch.right.each(after, visit);
            }
        }
    }

    fn insert(&mut self, leaf: Leaf, depth: usize) -> bool {
        match self {
            Self::Branch(branch) => {
                let branch = Arc::make_mut(branch);
                let added = branch.side(&leaf.key, depth).insert(leaf, depth + 1);
                branch.count += u64::from(added);
                branch.hash = ZERO;
                added
            }
            Self::Bucket(run) => {
                let run = Arc::make_mut(run);
                let added = insert_into(run, leaf);
                if run.len() > FULL {
                    *self = grown(&run.as_slice(), 0..run.len(), depth);
                }
                added
            }
        }
    }

    /// Remove a leaf that is there.
    fn remove(&mut self, key: &Digest, depth: usize) {
        match self {
            Self::Branch(branch) => {
                let branch = Arc::make_mut(branch);
                branch.side(key, depth).remove(key, depth + 1);
                branch.count -= 1;
                branch.hash = ZERO;
                if branch.count <= SPARSE {
                    let mut run = Vec::with_capacity(branch.count as usize);
                    self.each(&ZERO, &mut |leaf, node| {
                        run.push(Place {
                            leaf: *leaf,
                            node: *node,
                        })
                    });
                    *self = Self::Bucket(Arc::new(run));
                }
            }
            Self::Bucket(run) => {
                let run = Arc::make_mut(run);
                forget_path(run, key);
                run.retain(|place| place.leaf.key != *key);
            }
        }
    }
}

impl Branch {
    fn side(&mut self, key: &Digest, depth: usize) -> &mut Tree {
        if bit(key, depth) {
            &mut self.right
        } else {
            &mut self.left
        }
    }

    fn settle(&mut self, depth: usize) -> Digest {
        let (left, right) = (&mut self.left, &mut self.right);
        let counts = (left.count(), right.count());
        let hashes =
            if depth == 0 && self.count >= PARALLEL as u64 && left.is_stale() && right.is_stale() {
                thread::scope(|scope| {
                    let left = scope.spawn(|| left.settle(depth + 1));
                    let right = right.settle(depth + 1);
                    (left.join().expect("hashing does not panic"), right)
                })
            } else {
                (left.settle(depth + 1), right.settle(depth + 1))
            };
        self.hash = node_hash((counts.0, hashes.0), (counts.1, hashes.1));
        self.hash
    }
}

fn insert_into(run: &mut Vec<Place>, leaf: Leaf) -> bool {
    let place = Place { leaf, node: ZERO };
    let found = run.binary_search_by(|held| held.leaf.key.cmp(&leaf.key));
    match found {
        Ok(at) => run[at].leaf = leaf,
        Err(at) => {
            run.reserve_exact(1);
            run.insert(at, place);
        }
    }
    forget_path(run, &leaf.key);
    found.is_err()
}

/// Places in the order of their keys, to grow a tree from.
pub trait Sorted: Sync {
    /// The bit of a key at `depth`.
    fn bit(&self, at: usize, depth: usize) -> bool;
    fn place(&self, at: usize) -> Place;
}

impl Sorted for &[Place] {
    fn bit(&self, at: usize, depth: usize) -> bool {
        bit(&self[at].leaf.key, depth)
    }

    fn place(&self, at: usize) -> Place {
        self[at]
    }
}

/// The tree over a range of places, whose keys agree before `depth`.
pub fn grown(places: &impl Sorted, range: std::ops::Range<usize>, depth: usize) -> Tree {
    if range.len() <= FULL {
        let run: Vec<Place> = range.map(|at| places.place(at)).collect();
        return Tree::Bucket(Arc::new(run));
    }
    let (start, end) = (range.start, range.end);
    let split = first_one(places, start, end, depth);
    let divides = split > start && split < end;
    let hash = if divides {
        places.place(split - 1).node
    } else {
        ZERO
    };
    let left = || grown(places, start..split, depth + 1);
    let right = || grown(places, split..end, depth + 1);
    let (left, right) = if depth == 0 && range.len() >= PARALLEL {
        thread::scope(|scope| {
            let left = scope.spawn(left);
            let right = right();
            (left.join().expect("growing a tree does not panic"), right)
        })
    } else {
        (left(), right())
    };
    let count = (end - start) as u64;
    Tree::Branch(Arc::new(Branch {
        hash,
        count,
        left,
        right,
    }))
}

fn first_one(places: &impl Sorted, mut start: usize, mut end: usize, depth: usize) -> usize {
    while start < end {
        let middle = start + (end - start) / 2;
        if places.bit(middle, depth) {
            end = middle;
        } else {
            start = middle + 1;
        }
    }
    start
}

/// Rows of `LEAF_ROW` bytes, in the order of their keys by way of an index.
struct Rows<'a> {
    rows: &'a [u8],
    order: Vec<(u64, u32)>,
}

impl<'a> Rows<'a> {
    fn sort(rows: &'a [u8]) -> Result<Self, String> {
        if !rows.len().is_multiple_of(LEAF_ROW) {
            return Err(format!(
                "a leaf is {LEAF_ROW} bytes (K, value, location), and {} bytes are not whole leaves",
                rows.len()
            ));
        }
        let head = |row: &[u8]| u64::from_be_bytes(row[..8].try_into().expect("8 bytes"));
        let chunks = rows.chunks_exact(LEAF_ROW);
        if u32::try_from(chunks.len()).is_err() {
            return Err(format!(
                "{} leaves are more than a trie takes at once",
                chunks.len()
            ));
        }
        let mut order: Vec<(u64, u32)> = chunks.zip(0..).map(|(row, at)| (head(row), at)).collect();
        let key = |at: u32| &rows[at as usize * LEAF_ROW..][..32];
        order.sort_unstable_by(|a, b| {
            a.0.cmp(&b.0)
                .then_with(|| key(a.1).cmp(key(b.1)).then(a.1.cmp(&b.1)))
        });
        Ok(Self { rows, order })
    }

    fn leaf(&self, at: usize) -> Leaf {
        let row = &self.rows[self.order[at].1 as usize * LEAF_ROW..][..LEAF_ROW];
        leaf_of(row)
    }
}

impl Sorted for Rows<'_> {
    fn bit(&self, at: usize, depth: usize) -> bool {
        match 1_u64.rotate_right(depth as u32 + 1) {
            mask if depth < 64 => self.order[at].0 & mask != 0, // from a row it would be a miss of the cache
            _ => bit(&self.leaf(at).key, depth),
        }
    }

    fn place(&self, at: usize) -> Place {
        Place {
            leaf: self.leaf(at),
            node: ZERO,
        }
    }
}

/// The leaf in a row of `LEAF_ROW` bytes.
pub fn leaf_of(row: &[u8]) -> Leaf {
    Leaf {
        key: row[..32].try_into().expect("32 bytes"),
        value: row[32..64].try_into().expect("32 bytes"),
        location: u64::from_le_bytes(row[64..72].try_into().expect("8 bytes")),
    }
}

/// A trie in the hands of its one writer.
#[derive(Debug, Clone)]
pub struct Trie {
    root: Tree,
}

impl Default for Trie {
    fn default() -> Self {
        Self {
            root: Tree::Bucket(Arc::default()),
        }
    }
}

impl From<Tree> for Trie {
    fn from(root: Tree) -> Self {
        Self { root }
    }
}

impl Trie {
    /// Build from rows of `LEAF_ROW` bytes in any order; an error if a key stands twice.
    pub fn build(rows: &[u8]) -> Result<Self, String> {
        let rows = Rows::sort(rows)?;
        let count = rows.order.len();
        if let Some(at) = (1..count).find(|&at| {
            rows.order[at - 1].0 == rows.order[at].0 && rows.leaf(at - 1).key == rows.leaf(at).key
        }) {
            return Err(format!(
                "the key {} stands twice",
                crate::hash::hex(&rows.leaf(at).key)
            ));
        }
        Ok(Self {
            root: grown(&rows, 0..count, 0),
        })
    }

    pub fn count(&self) -> u64 {
        self.root.count()
    }

    /// Insert a leaf, or replace the one with its key. Gives whether it is new.
    pub fn insert(&mut self, leaf: Leaf) -> bool {
        self.root.insert(leaf, 0)
    }

    /// Remove a leaf. Gives whether it was there.
    pub fn remove(&mut self, key: &Digest) -> bool {
        let held = Snapshot::over(&self.root).find(key).is_some();
        if held {
            self.root.remove(key, 0);
        }
        held
    }

    /// Remove keys (32 bytes each; absent ones too), then insert rows of `LEAF_ROW` bytes: of a key that comes twice the
    /// last one stays.
    pub fn update(&mut self, inserted: &[u8], removed: &[u8]) -> Result<(), String> {
        if !removed.len().is_multiple_of(32) {
            return Err(format!(
                "a key is 32 bytes, and {} bytes are not whole keys",
                removed.len()
            ));
        }
        let rows = Rows::sort(inserted)?;
        for key in removed.chunks_exact(32) {
            self.remove(key.try_into().expect("32 bytes"));
        }
        for at in 0..rows.order.len() {
            self.insert(rows.leaf(at));
        }
        Ok(())
    }

    /// Hash what has changed and give a snapshot, which stays as it is while this goes on.
    pub fn commit(&mut self) -> Snapshot {
        self.root.settle(0);
        Snapshot::over(&self.root)
    }
}

/// Bytes that the subtree holds on to, its own share of the allocator's rounding left out.
pub fn size(tree: &Tree) -> usize {
    /// Two counts before what an `Arc` holds.
    const ARC: usize = 2 * mem::size_of::<usize>();
    match tree {
        Tree::Bucket(run) => {
            ARC + mem::size_of::<Vec<Place>>() + run.capacity() * mem::size_of::<Place>()
        }
        Tree::Branch(branch) => {
            ARC + mem::size_of::<Branch>() + size(&branch.left) + size(&branch.right)
        }
    }
}
