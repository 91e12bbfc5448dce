//! The miner's walk of a challenge's chain: each rank names a leaf, the leaf a payload, the payload the next rank.
//!
//! That a payload is its leaf's is looked at for several at once, which is faster than one by one. So a walk may go on
//! for some links over bytes that are not what they should be; what it comes to is then of no use, and is said so.
use std::collections::HashMap;

use crate::challenge::{next, rank, seed};
use crate::hash::{Digest, sha256_each};
use crate::trie::{Leaf, Snapshot};

/// Payloads that are held until they are looked at.
const AT_ONCE: usize = 16;

/// What a walk has come to.
#[derive(Debug, PartialEq)]
pub struct Collected {
    /// After the last link that was made.
    pub seed: Digest,
    /// The distinct leaves that were drawn, with their ranks, by first appearance.
    pub places: Vec<(u64, Leaf)>,
    /// Whether the walk ends early, at the last of `places`, since that has no payload.
    pub lacking: bool,
    /// One of `places` whose payload is not its own, or was there once and is not any more.
    pub rotten: Option<usize>,
}

/// Walk `links` links over what `read` gives for the locations of leaves.
pub fn collect<P: AsRef<[u8]>, E>(
    chal_id: &Digest,
    trie: &Snapshot,
    links: usize,
    mut read: impl FnMut(u64) -> Result<Option<P>, E>,
) -> Result<Collected, E> {
    let mut walked = Collected {
        seed: seed(chal_id),
        places: Vec::with_capacity(links),
        lacking: false,
        rotten: None,
    };
    let mut drawn = HashMap::with_capacity(links);
    let mut unseen = Vec::with_capacity(AT_ONCE);
    for _ in 0..links {
        let rank = rank(&walked.seed, trie.count());
        let Some(leaf) = trie.leaf(rank) else { break };
        let known = walked.places.len();
        let at = *drawn.entry(rank).or_insert_with(|| {
            walked.places.push((rank, *leaf));
            known
        });
        let Some(payload) = read(leaf.location)? else {
            if at < known {
                walked.rotten = Some(at);
                return Ok(walked);
            }
            walked.lacking = true;
            break;
        };
        walked.seed = next(&walked.seed, payload.as_ref());
        unseen.push((at, payload));
        if unseen.len() == AT_ONCE && !look(&mut walked, &mut unseen) {
            return Ok(walked);
        }
    }
    look(&mut walked, &mut unseen);
    Ok(walked)
}

/// Compare payloads with the leaves that they are of.
fn look<P: AsRef<[u8]>>(walked: &mut Collected, unseen: &mut Vec<(usize, P)>) -> bool {
    let messages: Vec<[&[u8]; 1]> = unseen
        .iter()
        .map(|(_, payload)| [payload.as_ref()])
        .collect();
    let hashes = sha256_each(&messages);
    let mut pairs = unseen.iter().zip(&hashes);
    walked.rotten = pairs
        .find(|((at, _), hash)| walked.places[*at].1.value != **hash)
        .map(|((at, _), _)| *at);
    unseen.clear();
    walked.rotten.is_none()
}
