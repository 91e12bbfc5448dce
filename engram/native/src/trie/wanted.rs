//! What a proof is about: leaves by rank, or all that stands on the paths of keys or of a placement group.
use crate::hash::Digest;

/// Bits of K that name a placement group.
pub const GROUP_BITS: usize = 14;

/// What is asked for.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// The leaves at these ranks (mode 0): ascending, distinct.
    Ranks(&'a [u64]),
    /// Whatever stands between the two ends of each span (mode 3: a key is a span of one): ascending, disjoint.
    Spans(&'a [(Digest, Digest)]),
}

impl Wanted<'_> {
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Ranks(ranks) => ranks.is_empty(),
            Self::Spans(spans) => spans.is_empty(),
        }
    }
}

/// Say whether a rank lies within `count` ranks from `first`.
pub fn ranks_touch(ranks: &[u64], first: u64, count: u64) -> bool {
    let next = ranks.partition_point(|rank| *rank < first);
    ranks.get(next).is_some_and(|rank| rank - first < count)
}

/// Say whether a span meets the subtree at `path`, whose first `depth` bits count and whose others are zero.
pub fn spans_touch(spans: &[(Digest, Digest)], path: &Digest, depth: usize) -> bool {
    let next = spans.partition_point(|(_, last)| last < path);
    spans
        .get(next)
        .is_some_and(|(first, _)| *first <= end_of(path, depth))
}

/// The highest key under a path.
fn end_of(path: &Digest, depth: usize) -> Digest {
    let mut end = *path;
    if let Some(byte) = end.get_mut(depth / 8) {
        *byte |= 0xff >> (depth % 8);
        end[depth / 8 + 1..].fill(0xff);
    }
    end
}

/// The lowest and the highest key of a placement group.
pub fn group_span(group: u16) -> (Digest, Digest) {
    let mut first = [0; 32];
    first[..2].copy_from_slice(&(group << (16 - GROUP_BITS)).to_be_bytes());
    (first, end_of(&first, GROUP_BITS))
}
