//! What the two kinds of append-only segment share: what was found in one, and when an unsound frame is merely torn.
use crate::hash::Digest;

/// Bytes of a segment at most: formats.md §2, §3.
pub const SEGMENT_LIMIT: usize = 64 << 20;

/// The verdict over a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Every byte is as it should be.
    Sound,
    /// It ends in a write that was never finished, nor answered.
    Torn,
    /// Something that was durable is no longer what it was.
    Damaged,
}

/// Where reading stopped, and why; `Sound` stops at the end of the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stop {
    pub status: Status,
    pub offset: usize,
    pub reason: &'static str,
}

impl Stop {
    pub fn sound(offset: usize) -> Self {
        Self {
            status: Status::Sound,
            offset,
            reason: "",
        }
    }

    pub fn damaged(offset: usize, reason: &'static str) -> Self {
        Self {
            status: Status::Damaged,
            offset,
            reason,
        }
    }

    /// What is wrong with a segment's size, if anything.
    pub fn too_large(segment: &[u8]) -> Option<Self> {
        (segment.len() > SEGMENT_LIMIT)
            .then(|| Self::damaged(SEGMENT_LIMIT, "a segment is at most 64 MiB"))
    }

    pub fn torn(offset: usize) -> Self {
        Self {
            status: Status::Torn,
            offset,
            reason: "the last write was not finished",
        }
    }
}

/// How much is read of what may be frames behind an unsound one. Whoever fills a segment with headers of large frames must
/// not have us take the checksum of each; an unfinished write leaves none of them.
pub struct Looks(usize);

impl Default for Looks {
    fn default() -> Self {
        Self(4 * SEGMENT_LIMIT)
    }
}

impl Looks {
    pub const TOO_MANY: &str =
        "an unsound frame before more that look like frames than a write leaves";

    /// Take `bytes` off; false where there are not as many left.
    pub fn afford(&mut self, bytes: usize) -> bool {
        match self.0.checked_sub(bytes) {
            Some(left) => self.0 = left,
            None => return false,
        }
        true
    }
}

/// Say whether an unsound frame looks unfinished: the file ends inside it, or its part of some aligned 512-byte block
/// is all zero, as a disk leaves it that never wrote that block.
pub fn looks_unfinished(segment: &[u8], offset: usize, extent: usize) -> bool {
    const BLOCK: usize = 512;
    let end = offset + extent;
    if end > segment.len() {
        return true;
    }
    (offset / BLOCK..end.div_ceil(BLOCK)).any(|block| {
        let from = (block * BLOCK).max(offset);
        let to = ((block + 1) * BLOCK).min(end);
        all_zero(&segment[from..to])
    })
}

pub fn all_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|&byte| byte == 0)
}

/// Read a little-endian u32; `at + 4` must be inside.
pub fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// Read a little-endian u64; `at + 8` must be inside.
pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// Read 32 bytes.
pub fn digest_at(bytes: &[u8], at: usize) -> Digest {
    bytes[at..at + 32].try_into().expect("32 bytes")
}
