//! Records: the payload's bytes, the content identifier over them, and the rules that an embedding obeys.
//!
//! ```text
//! "EPR1" | flags u8 | dtype u8 | dim u16 | meta_len u32 | version_len u16 | 2 zeros | blob_len u32 | 12 zeros
//! | content 32 | f32 * dim | meta (JCS) | model_version | blob          integers little-endian
//! ```
use crate::hash::{Digest, sha256};
use crate::jcs;

pub const HEADER: usize = 64;
pub const PAYLOAD_LIMIT: usize = 1 << 20;
pub const DIM_LIMIT: usize = 4096;
pub const METADATA_LIMIT: usize = 4096;
pub const VERSION_LIMIT: usize = 128;

const NO_CONTENT: Digest = [0; 32];
const SEALED_VERSION: &[u8] = b"sealed/1";

/// A payload, taken apart; borrowed from its bytes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Record<'a> {
    pub flags: u8,
    pub embedding: &'a [u8],
    pub metadata: &'a [u8],
    pub model_version: &'a [u8],
    pub blob: &'a [u8],
    pub content: &'a [u8],
}

impl Record<'_> {
    pub fn dim(&self) -> usize {
        self.embedding.len() / 4
    }
}

/// Check a stored embedding: finite, no negative zero, not all zero. Empty is legal: no public vector.
pub fn check_embedding(bytes: &[u8]) -> Result<(), String> {
    if !bytes.len().is_multiple_of(4) {
        return Err(format!(
            "{} bytes are not whole float32 numbers of 4 bytes",
            bytes.len()
        ));
    }
    if bytes.len() / 4 > DIM_LIMIT {
        return Err(format!(
            "{} numbers are more than {DIM_LIMIT} dimensions",
            bytes.len() / 4
        ));
    }
    let numbers = bytes.as_chunks().0.iter().copied().map(u32::from_le_bytes);
    // Without a branch for each number, so that many are looked at in one step.
    let (any, wrong) = numbers.clone().fold((0, false), |(any, wrong), bits| {
        (
            any | bits,
            wrong | is_not_finite(bits) | (bits == NEGATIVE_ZERO),
        )
    });
    if wrong {
        return Err(what_is_wrong(numbers));
    }
    if any != 0 || bytes.is_empty() {
        Ok(())
    } else {
        Err("the vector is zero".to_owned())
    }
}

const NEGATIVE_ZERO: u32 = 0x8000_0000;

fn is_not_finite(bits: u32) -> bool {
    bits & 0x7f80_0000 == 0x7f80_0000
}

fn what_is_wrong(numbers: impl Iterator<Item = u32>) -> String {
    for (index, bits) in numbers.enumerate() {
        if is_not_finite(bits) {
            return not_finite(index, f32::from_bits(bits).into());
        }
        if bits == NEGATIVE_ZERO {
            return format!("number {index} is -0.0");
        }
    }
    unreachable!("a wrong number was seen")
}

/// Say which number is NaN or infinite.
pub fn not_finite(index: usize, value: f64) -> String {
    format!("number {index} is {value}, and a vector's are finite")
}

/// Check a model version: 1 to 128 of `[A-Za-z0-9._/:@+-]`.
pub fn check_model_version(text: &[u8]) -> Result<(), &'static str> {
    let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"._/:@+-".contains(byte);
    if text.is_empty() || text.len() > VERSION_LIMIT {
        return Err("model_version must have 1 to 128 bytes");
    }
    if text.iter().all(legal) {
        Ok(())
    } else {
        Err("model_version may hold only A-Z a-z 0-9 . _ / : @ + -")
    }
}

/// Give the CID's digest. The parts must have been checked.
pub fn digest(
    embedding: &[u8],
    content: &[u8],
    flags: u8,
    metadata: &[u8],
    model_version: &[u8],
) -> Digest {
    let record = Record {
        flags,
        embedding,
        metadata,
        model_version,
        blob: &[],
        content,
    };
    let sizes = Sizes::of(&record);
    sha256(&sizes.preimage(&record))
}

/// The numbers among what a CID hashes, as bytes.
pub struct Sizes {
    dim: [u8; 4],
    flags: [u8; 1],
    metadata: [u8; 4],
    model_version: [u8; 4],
}

impl Sizes {
    pub fn of(record: &Record<'_>) -> Self {
        Self {
            dim: (record.dim() as u32).to_le_bytes(),
            flags: [record.flags],
            metadata: (record.metadata.len() as u32).to_le_bytes(),
            model_version: (record.model_version.len() as u32).to_le_bytes(),
        }
    }

    /// What the record's CID is the hash of.
    pub fn preimage<'a>(&'a self, record: &Record<'a>) -> [&'a [u8]; 9] {
        [
            b"engram/cid/1\n",
            &self.dim,
            record.embedding,
            record.content,
            &self.flags,
            &self.metadata,
            record.metadata,
            &self.model_version,
            record.model_version,
        ]
    }
}

/// Encode a payload. `content` is ignored where there is a blob to hash. Gives the CID's digest and the bytes.
pub fn encode(
    flags: u8,
    embedding: &[u8],
    metadata: &[u8],
    model_version: &[u8],
    blob: &[u8],
    content: Option<&[u8]>,
) -> Result<(Digest, Vec<u8>), String> {
    let hashed = sha256(&[blob]);
    let content = if flags == 0 {
        content.unwrap_or(&NO_CONTENT)
    } else {
        &hashed
    };
    let mut out = Vec::with_capacity(
        HEADER + embedding.len() + metadata.len() + model_version.len() + blob.len(),
    );
    out.extend_from_slice(b"EPR1");
    out.extend_from_slice(&[flags, 0]);
    out.extend_from_slice(&((embedding.len() / 4) as u16).to_le_bytes());
    out.extend_from_slice(&(metadata.len() as u32).to_le_bytes());
    out.extend_from_slice(&(model_version.len() as u16).to_le_bytes());
    out.extend_from_slice(&[0; 2]);
    out.extend_from_slice(&(blob.len() as u32).to_le_bytes());
    out.extend_from_slice(&[0; 12]);
    out.extend_from_slice(content);
    for part in [embedding, metadata, model_version, blob] {
        out.extend_from_slice(part);
    }
    let (digest, _) = decode(&out)?;
    Ok((digest, out))
}

/// Decode a payload and certify it: every rule checked, the CID's digest recomputed.
pub fn decode(payload: &[u8]) -> Result<(Digest, Record<'_>), String> {
    let record = checked(payload)?;
    let digest = sha256(&Sizes::of(&record).preimage(&record));
    Ok((digest, record))
}

/// Decode a payload, every rule checked: what is left to certify it is to compute its CID.
pub fn checked(payload: &[u8]) -> Result<Record<'_>, String> {
    let record = split(payload)?;
    check(&record)?;
    Ok(record)
}

fn split(payload: &[u8]) -> Result<Record<'_>, String> {
    if payload.len() < HEADER || &payload[..4] != b"EPR1" {
        return Err("not a record payload: no EPR1 header".to_owned());
    }
    if payload.len() > PAYLOAD_LIMIT {
        return Err(format!(
            "a payload of {} bytes is over the limit of {PAYLOAD_LIMIT}",
            payload.len()
        ));
    }
    let u16_at = |at: usize| usize::from(u16::from_le_bytes([payload[at], payload[at + 1]]));
    let u32_at = |at: usize| {
        u32::from_le_bytes(payload[at..at + 4].try_into().expect("four bytes")) as usize
    };
    if payload[5] != 0 || payload[14..16] != [0; 2] || payload[20..32] != [0; 12] {
        return Err("a reserved byte or the dtype is not zero".to_owned());
    }
    let lengths = [u16_at(6) * 4, u32_at(8), u16_at(12), u32_at(16)];
    if HEADER + lengths.iter().sum::<usize>() != payload.len() {
        return Err("the lengths do not add up to the payload's size".to_owned());
    }
    let mut at = HEADER;
    let [embedding, metadata, model_version, blob] = lengths.map(|length| {
        at += length;
        &payload[at - length..at]
    });
    Ok(Record {
        flags: payload[4],
        embedding,
        metadata,
        model_version,
        blob,
        content: &payload[32..64],
    })
}

fn check(record: &Record<'_>) -> Result<(), String> {
    check_embedding(record.embedding)?;
    check_model_version(record.model_version)?;
    if record.metadata.len() > METADATA_LIMIT {
        return Err(format!(
            "{} bytes of metadata are over the limit of {METADATA_LIMIT}",
            record.metadata.len()
        ));
    }
    jcs::is_canonical_object(record.metadata, jcs::METADATA)
        .map_err(|refusal| format!("metadata{}: {}", refusal.path, refusal.reason))?;
    match record.flags {
        0 if !record.blob.is_empty() => Err("flags 0 with a blob".to_owned()),
        0 => Ok(()),
        1 | 2 if sha256(&[record.blob]) != record.content => {
            Err("content is not the blob's hash".to_owned())
        }
        1 => Ok(()),
        2 if record.dim() > 0
            || record.metadata != b"{}"
            || record.model_version != SEALED_VERSION =>
        {
            Err("a sealed record has no vector, no metadata and the version sealed/1".to_owned())
        }
        2 => Ok(()),
        flags => Err(format!("unknown flags {flags}")),
    }
}
