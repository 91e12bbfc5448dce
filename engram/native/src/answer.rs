//! Phase B of a challenge as its verifier judges it: leaves, multiproof and payloads, held against a committed trie.
use crate::challenge::{LINKS, chain, keys_of, walk};
use crate::hash::{Digest, sha256_each};
use crate::trie::{OPENED_LEAF, verify};

/// What a challenge asks of a trie, which is committed to by root and count.
pub struct Asked<'a> {
    pub chal_id: Digest,
    pub root: Digest,
    pub count: u64,
    pub links: usize,
    /// The keys, ascending, each one a span of its own; None: as many ranks as there are links, which payloads draw.
    pub keys: Option<&'a [(Digest, Digest)]>,
}

/// What a miner sends, and has signed.
pub struct Sent<'a, B> {
    pub leaves: &'a [B],
    pub multiproof: &'a [u8],
    pub payloads: &'a [B],
}

/// What it shows: the seed that the payloads lead to, and the leaf of the record at which they end too early.
#[derive(Debug, PartialEq)]
pub struct Shown {
    pub seed: Digest,
    pub lacks: Option<[u8; OPENED_LEAF]>,
}

/// The hashes of what is sent as payloads, whatever it is: what the miner has signed.
pub fn hashes_of<B: AsRef<[u8]>>(payloads: &[B]) -> Vec<Digest> {
    let payloads: Vec<_> = payloads.iter().map(|payload| [payload.as_ref()]).collect();
    sha256_each(&payloads)
}

/// Judge what was sent. `hashes`: of the payloads. An error says what no honest miner sends.
pub fn show<B: AsRef<[u8]>>(
    asked: &Asked<'_>,
    sent: &Sent<'_, B>,
    hashes: &[Digest],
) -> Result<Shown, String> {
    let ranks = verify(
        &asked.root,
        asked.count,
        sent.leaves,
        sent.multiproof,
        asked.keys,
    )
    .map_err(|reason| format!("the multiproof does not hold: {reason}"))?;
    if sent.payloads.len() > LINKS {
        let number = sent.payloads.len();
        return Err(format!("a chain has at most {LINKS} links, not {number}"));
    }
    let own: Vec<[u8; OPENED_LEAF]> = keys_of(sent.payloads)?
        .iter()
        .zip(hashes)
        .map(|(key, hash)| leaf_of(key, hash))
        .collect();
    match asked.keys {
        None => by_rank(asked, sent, &ranks, &own),
        Some(keys) => by_key(asked, sent, keys, &own),
    }
}

/// The payloads draw ranks, and the leaves that are opened are those at these ranks and no others.
fn by_rank<B: AsRef<[u8]>>(
    asked: &Asked<'_>,
    sent: &Sent<'_, B>,
    ranks: &[u64],
    own: &[[u8; OPENED_LEAF]],
) -> Result<Shown, String> {
    let walked = walk(&asked.chal_id, asked.count, asked.links, sent.payloads)?;
    let opened = |rank| {
        ranks
            .binary_search(rank)
            .ok()
            .map(|at| sent.leaves[at].as_ref())
    };
    let drawn: Vec<Option<&[u8]>> = walked.ranks.iter().map(opened).collect();
    let (drawn, lacking) = drawn.split_at(own.len());
    let theirs = drawn.iter().zip(own).all(|(leaf, own)| *leaf == Some(own));
    let lacks = lacking
        .first()
        .map(|leaf| leaf.and_then(|leaf| leaf.try_into().ok()));
    if ranks.len() != walked.ranks.len() || !theirs || lacks == Some(None) {
        return Err(
            "the leaves that it opens are not those that the payloads draw, or not theirs".into(),
        );
    }
    Ok(Shown {
        seed: walked.seed,
        lacks: lacks.flatten(),
    })
}

/// The payloads are those of the keys that are held, ascending; all, or the first of them.
fn by_key<B: AsRef<[u8]>>(
    asked: &Asked<'_>,
    sent: &Sent<'_, B>,
    keys: &[(Digest, Digest)],
    own: &[[u8; OPENED_LEAF]],
) -> Result<Shown, String> {
    let is_wanted = |leaf: &&[u8]| {
        keys.binary_search_by(|(key, _)| key[..].cmp(&leaf[..32]))
            .is_ok()
    };
    let mut held = sent.leaves.iter().map(AsRef::as_ref).filter(is_wanted);
    if own.iter().any(|own| held.next() != Some(own)) {
        return Err("the payloads are not those of the keys that are held, in their order".into());
    }
    Ok(Shown {
        seed: chain(&asked.chal_id, sent.payloads),
        lacks: held.next().and_then(|leaf| leaf.try_into().ok()),
    })
}

/// A leaf as it is sent: K | H(payload).
fn leaf_of(key: &Digest, hash: &Digest) -> [u8; OPENED_LEAF] {
    let mut leaf = [0; OPENED_LEAF];
    leaf[..32].copy_from_slice(key);
    leaf[32..].copy_from_slice(hash);
    leaf
}
