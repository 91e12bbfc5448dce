//! The proof of possession's chain: each rank follows from the payload before it, so only who reads them all ends it.
//!
//! ```text
//! seed_0 = H("engram/pos/2/seed\n" | chal_id)        rank_j = (u128be(seed_j[0:16]) * count) >> 128
//! seed_j+1 = H("engram/pos/2/next\n" | seed_j | payload_j)
//! ```
//!
//! And version 1, the first Engram's: a code over the hash of an embedding, in hex, after its place in a batch.
use std::collections::HashMap;

use crate::hash::{Digest, Hmac, hex_of, sha256, sha256_each};
use crate::record::{self, Sizes};

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

/// A chain that was walked over payloads: its last seed, and the ranks that it drew.
#[derive(Debug, PartialEq)]
pub struct Walked {
    pub seed: Digest,
    /// The distinct ones, by first appearance. One more than there are payloads: the chain ends at the last of them.
    pub ranks: Vec<u64>,
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
            return Ok(Walked { seed, ranks });
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
    Ok(Walked { seed, ranks })
}

/// Walk the chain over payloads in their order, as a challenge by key does.
pub fn chain<P: AsRef<[u8]>>(chal_id: &Digest, payloads: &[P]) -> Digest {
    payloads
        .iter()
        .fold(seed(chal_id), |seed, payload| next(&seed, payload.as_ref()))
}

/// The K of each payload's record. The payloads are certified; an error says which of them is none, and why.
pub fn keys_of<P: AsRef<[u8]>>(payloads: &[P]) -> Result<Vec<Digest>, String> {
    let records = payloads.iter().enumerate().map(|(at, payload)| {
        let record = record::checked(payload.as_ref());
        let record = record.map_err(|reason| format!("payload {at}: {reason}"))?;
        Ok((Sizes::of(&record), record))
    });
    let records: Vec<_> = records.collect::<Result<_, String>>()?;
    let preimages: Vec<_> = records
        .iter()
        .map(|(sizes, record)| sizes.preimage(record))
        .collect();
    let digits: Vec<_> = sha256_each(&preimages).iter().map(hex_of).collect();
    let digits: Vec<[&[u8]; 1]> = digits.iter().map(|digits| [&digits[..]]).collect();
    Ok(sha256_each(&digits))
}

/// The proof of an embedding's hash, which is given in hex; `index`: its place in a batch.
pub fn proof_v1(key: &Hmac, embedding_hash: &[u8; 64], index: Option<u32>) -> Digest {
    match index {
        Some(index) => key.of(&[&index.to_le_bytes(), embedding_hash]),
        None => key.of(&[embedding_hash]),
    }
}
