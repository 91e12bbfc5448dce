//! Checking a multiproof from a stranger, with nothing but a root, a count and the leaves that were sent along.
//!
//! Time and memory follow what was sent and asked for: no recursion, at most 256 nodes open at a time and 256 opened for
//! each leaf or key. What is refused is refused at the first byte that shows it, before a node is hashed: an opened node
//! that nothing asked for ends the walk. Then nodes are hashed a level at a time, deepest first, many at once.
use super::hashing::{NODE_PREIMAGE, ZERO, agree, node_preimage};
use super::proof::{CLOSED, LEAF, NODE};
use super::wanted::spans_touch;
use crate::hash::{Digest, sha256_each};

/// Bytes of an opened leaf as it is sent: K | value.
pub const OPENED_LEAF: usize = 64;
const DEPTHS: usize = 256;

type Refusal = &'static str;

/// Check a multiproof. Gives the ranks of the opened leaves, in trie order; an error says why it is INVALID.
///
/// `spans`: what was asked for (ascending, disjoint) where it was not ranks. Whether the ranks are those that were asked
/// for is the caller's to compare.
pub fn verify<L: AsRef<[u8]>>(
    root: &Digest,
    count: u64,
    leaves: &[L],
    multiproof: &[u8],
    spans: Option<&[(Digest, Digest)]>,
) -> Result<Vec<u64>, Refusal> {
    if leaves.iter().any(|leaf| leaf.as_ref().len() != OPENED_LEAF) {
        return Err("a leaf is 64 bytes: K and value");
    }
    let hashed: Vec<_> = leaves.iter().map(|leaf| [&[2], leaf.as_ref()]).collect();
    let mut check = Check {
        leaves,
        hashes: sha256_each(&hashed),
        spans,
        rest: multiproof,
        path: [0; 32],
        open: Vec::new(),
        levels: Vec::new(),
        before: 0,
        ranks: Vec::with_capacity(leaves.len()),
    };
    let whole = match count {
        0 => check.nothing()?,
        1 => check.leaf(0)?,
        _ => check.node()?,
    };
    if !check.rest.is_empty() {
        return Err("bytes are left over");
    }
    if check.ranks.len() != leaves.len() {
        return Err("leaves are left over");
    }
    if whole.count != count {
        return Err("the counts do not add up to the trie's");
    }
    if check.fold().unwrap_or(whole.hash) != *root {
        return Err("it does not hash to the root");
    }
    Ok(check.ranks)
}

/// A subtree that is done with: how many leaves, and its hash, which is not known yet (zeros) of a node that was opened.
#[derive(Clone, Copy)]
struct Done {
    count: u64,
    hash: Digest,
}

const NOTHING: Done = Done {
    count: 0,
    hash: ZERO,
};

/// A node that is not yet done with.
struct Open {
    left: Option<Done>,
    /// Leaves opened before it: in mode 0 it must open another.
    opened_before: usize,
}

/// What a node hashes. The hashes of the opened nodes under it come when their level is hashed.
struct Node {
    bytes: [u8; NODE_PREIMAGE],
    /// Whether it is the right side of its parent, and which of the level over it that is.
    right: bool,
    parent: usize,
}

struct Check<'a, L> {
    leaves: &'a [L],
    hashes: Vec<Digest>,
    spans: Option<&'a [(Digest, Digest)]>,
    rest: &'a [u8],
    /// The bits from the root to where the walk stands; those after it are zero.
    path: Digest,
    open: Vec<Open>,
    /// The nodes that are done with, by their depth.
    levels: Vec<Vec<Node>>,
    before: u64,
    ranks: Vec<u64>,
}

impl<L: AsRef<[u8]>> Check<'_, L> {
    fn nothing(&self) -> Result<Done, Refusal> {
        match self.spans {
            Some(_) => Ok(NOTHING),
            None => Err("an empty trie has no leaf to open"),
        }
    }

    fn node(&mut self) -> Result<Done, Refusal> {
        self.enter()?;
        loop {
            let depth = self.open.len();
            let mut done = match self.take(1)?[0] {
                CLOSED => self.closed(depth)?,
                NODE => {
                    self.enter()?;
                    continue;
                }
                LEAF => self.leaf(depth)?,
                _ => return Err("a tag is 0, 1 or 2"),
            };
            while let Some(whole) = self.attach(done)? {
                if self.open.is_empty() {
                    return Ok(whole);
                }
                done = whole;
            }
        }
    }

    fn enter(&mut self) -> Result<(), Refusal> {
        if self.open.len() == DEPTHS {
            return Err("a node is deeper than a key has bits");
        }
        if !self.is_asked_for(self.open.len()) {
            return Err("a node is opened that nothing asked for");
        }
        self.open.push(Open {
            left: None,
            opened_before: self.ranks.len(),
        });
        Ok(())
    }

    fn is_asked_for(&self, depth: usize) -> bool {
        self.spans
            .is_none_or(|spans| spans_touch(spans, &self.path, depth))
    }

    fn leaf(&mut self, depth: usize) -> Result<Done, Refusal> {
        let Some(leaf) = self.leaves.get(self.ranks.len()) else {
            return Err("more leaves are opened than were sent");
        };
        let key = leaf.as_ref().first_chunk().expect("64 bytes");
        if !agree(key, &self.path, depth) {
            return Err("a leaf's key does not lead to where it stands");
        }
        if !self.is_asked_for(depth) {
            return Err("a leaf is opened that nothing asked for");
        }
        let hash = self.hashes[self.ranks.len()];
        self.ranks.push(self.before);
        self.pass(1)?;
        Ok(Done { count: 1, hash })
    }

    fn closed(&mut self, depth: usize) -> Result<Done, Refusal> {
        let count = self.varint()?;
        if count == 0 {
            return Ok(NOTHING);
        }
        if depth > DEPTHS - 64 && count > 1 << (DEPTHS - depth) {
            return Err("a closed subtree counts more leaves than it has keys");
        }
        if self.spans.is_some() && self.is_asked_for(depth) {
            return Err("a subtree that was asked for is closed");
        }
        let hash = self.take(32)?.try_into().expect("32 bytes");
        self.pass(count)?;
        Ok(Done { count, hash })
    }

    /// Give a finished subtree to the node that it hangs under; if that was its right side, give the node, finished.
    fn attach(&mut self, done: Done) -> Result<Option<Done>, Refusal> {
        let at = self.open.len() - 1;
        let Some(left) = self.open[at].left else {
            self.open[at].left = Some(done);
            self.path[at / 8] |= 0x80 >> (at % 8);
            return Ok(None);
        };
        self.path[at / 8] &= !(0x80 >> (at % 8));
        let node = self.open.pop().expect("a node is open");
        let Some(count) = left.count.checked_add(done.count) else {
            return Err("the counts add up past 2^64-1");
        };
        if count < 2 {
            return Err("a node has fewer than two leaves under it");
        }
        if self.spans.is_none() && self.ranks.len() == node.opened_before {
            return Err("a node is opened without an opened leaf under it");
        }
        if self.levels.len() <= at {
            self.levels.resize_with(at + 1, Vec::new);
        }
        let (right, parent) = match at.checked_sub(1) {
            // No other node of the level over it is done with before the one that it hangs under.
            Some(over) => (
                self.open[over].left.is_some(),
                self.levels.get(over).map_or(0, Vec::len),
            ),
            None => (false, 0),
        };
        let bytes = node_preimage((left.count, left.hash), (done.count, done.hash));
        self.levels[at].push(Node {
            bytes,
            right,
            parent,
        });
        Ok(Some(Done { count, hash: ZERO }))
    }

    /// Compute the hash of the root, if it is a node, from those of all nodes under it.
    fn fold(&mut self) -> Option<Digest> {
        let mut hashes = Vec::new();
        while let Some(level) = self.levels.pop() {
            let messages: Vec<[&[u8]; 1]> = level.iter().map(|node| [&node.bytes[..]]).collect();
            hashes = sha256_each(&messages);
            if let Some(over) = self.levels.last_mut() {
                for (node, hash) in level.iter().zip(&hashes) {
                    let at = if node.right {
                        NODE_PREIMAGE - 32
                    } else {
                        NODE_PREIMAGE - 64
                    };
                    over[node.parent].bytes[at..at + 32].copy_from_slice(hash);
                }
            }
        }
        hashes.first().copied()
    }

    fn pass(&mut self, count: u64) -> Result<(), Refusal> {
        self.before = self
            .before
            .checked_add(count)
            .ok_or("the counts add up past 2^64-1")?;
        Ok(())
    }

    fn take(&mut self, size: usize) -> Result<&[u8], Refusal> {
        let Some((taken, rest)) = self.rest.split_at_checked(size) else {
            return Err("it ends too early");
        };
        self.rest = rest;
        Ok(taken)
    }

    /// An unsigned LEB128 number below 2^64 in as few bytes as it needs.
    fn varint(&mut self) -> Result<u64, Refusal> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte < 0x80 {
                if byte == 0 && shift > 0 {
                    return Err("a count is written with more bytes than it needs");
                }
                return Ok(value);
            }
        }
        Err("a count is not below 2^64")
    }
}
