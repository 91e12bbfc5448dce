//! The proof of possession's chain: each rank follows from the payload before it, so only who reads them all ends it.
//!
//! ```text
//! seed_0 = H("engram/pos/2/seed\n" | chal_id)        rank_j = (u128be(seed_j[0:16]) * count) >> 128
//! seed_j+1 = H("engram/pos/2/next\n" | seed_j | payload_j)
//! ```
use std::collections::HashMap;

use crate::hash::{Digest, hex, sha256};
use crate::record;

/// The most links of a chain.
pub const LINKS: usize = 1024;

pub fn seed(chal_id: &Digest) -> Digest {
    sha256(&[b"engram/pos/2/seed\n", chal_id])
}

pub fn rank(seed: &Digest, count: u64) -> u64 {
    let high = u64::from_be_bytes(seed[..8].try_into().expect("8 bytes"));
    let low = u64::from_be_bytes(seed[8..16].try_into().expect("8 bytes"));
    let (high, low) = (
        u128::from(high) * u128::from(count),
        u128::from(low) * u128::from(count),
    );
    ((high + (low >> 64)) >> 64) as u64
}

pub fn next(seed: &Digest, payload: &[u8]) -> Digest {
    sha256(&[b"engram/pos/2/next\n", seed, payload])
}

/// What payloads show: the chain's last seed, the rank that each was drawn at, and the leaf that it belongs under.
#[derive(Debug, PartialEq)]
pub struct Walked {
    pub seed: Digest,
    pub ranks: Vec<u64>,
    /// (K, H(payload)) of each payload.
    pub leaves: Vec<(Digest, Digest)>,
}

/// Walk `links` links over payloads, each distinct one given once, by first appearance. An error says why they are
/// INVALID.
pub fn walk<P: AsRef<[u8]>>(
    chal_id: &Digest,
    count: u64,
    links: usize,
    payloads: &[P],
) -> Result<Walked, String> {
    if count == 0 || !(1..=LINKS).contains(&links) {
        return Err(format!(
            "a chain has 1 to {LINKS} links over 1 leaf or more, not {links} over {count}"
        ));
    }
    let leaves = leaves_of(payloads)?;
    let mut seed = seed(chal_id);
    let mut ranks = Vec::with_capacity(payloads.len());
    let mut drawn = HashMap::with_capacity(payloads.len());
    for _ in 0..links {
        let rank = rank(&seed, count);
        let at = *drawn.entry(rank).or_insert_with(|| {
            ranks.push(rank);
            ranks.len() - 1
        });
        let Some(payload) = payloads.get(at) else {
            return Err(format!("payload {at} is missing"));
        };
        seed = next(&seed, payload.as_ref());
    }
    if ranks.len() < payloads.len() {
        return Err(format!(
            "{} payloads, and the chain drew {}",
            payloads.len(),
            ranks.len()
        ));
    }
    Ok(Walked {
        seed,
        ranks,
        leaves,
    })
}

/// Walk the chain over payloads in their order, as a challenge by key does: `ranks` stays empty.
pub fn chain<P: AsRef<[u8]>>(chal_id: &Digest, payloads: &[P]) -> Result<Walked, String> {
    if payloads.len() > LINKS {
        return Err(format!(
            "a chain has at most {LINKS} links, not {}",
            payloads.len()
        ));
    }
    let leaves = leaves_of(payloads)?;
    let seed = payloads
        .iter()
        .fold(seed(chal_id), |seed, payload| next(&seed, payload.as_ref()));
    Ok(Walked {
        seed,
        ranks: Vec::new(),
        leaves,
    })
}

fn leaves_of<P: AsRef<[u8]>>(payloads: &[P]) -> Result<Vec<(Digest, Digest)>, String> {
    let leaf = |(at, payload): (usize, &P)| {
        leaf_of(payload.as_ref()).map_err(|reason| format!("payload {at}: {reason}"))
    };
    payloads.iter().enumerate().map(leaf).collect()
}

/// The leaf of a record: (K, H(payload)). The payload is certified.
fn leaf_of(payload: &[u8]) -> Result<(Digest, Digest), String> {
    let (digest, _) = record::decode(payload)?;
    Ok((sha256(&[hex(&digest).as_bytes()]), sha256(&[payload])))
}
