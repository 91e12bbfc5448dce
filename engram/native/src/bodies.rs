//! Body segments: payloads and patches, append-only, in frames at multiples of 64.
//!
//! ```text
//! "EGB1" | crc32c u32 (of what follows, to the last payload byte) | len u32 | kind u8 | 3 zeros | id 32 | 16 zeros
//! | bytes | zeros to the next multiple of 64
//! ```
use std::collections::HashSet;

use crate::hash::{Digest, sha256};
use crate::jcs;
use crate::record;
use crate::segment::{Looks, Status, Stop, all_zero, digest_at, looks_unfinished, u32_at};

pub const HEADER: usize = 64;
pub const ALIGN: usize = 64;
pub const BYTES_LIMIT: usize = 1 << 20;
pub const RECORD: u8 = 0;
pub const PATCH: u8 = 1;
pub const ERASED: u8 = 2;

/// A patch obeys the rules of metadata, but for its size.
const PATCH_RULES: jcs::Rules = jcs::METADATA;

/// A sound frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub offset: usize,
    pub bytes: usize,
    pub len: usize,
    pub kind: u8,
    pub id: Digest,
}

/// What a segment holds. `erase_again`: offsets of erasures that were not finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub frames: Vec<Frame>,
    pub erase_again: Vec<usize>,
    pub stop: Stop,
}

/// Encode a frame.
pub fn encode(kind: u8, id: &Digest, bytes: &[u8]) -> Result<Vec<u8>, &'static str> {
    if bytes.is_empty() || bytes.len() > BYTES_LIMIT {
        return Err("a body has 1 byte to 1 MiB");
    }
    let mut out = Vec::with_capacity((HEADER + bytes.len()).next_multiple_of(ALIGN));
    out.extend_from_slice(b"EGB1\0\0\0\0");
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(&[kind, 0, 0, 0]);
    out.extend_from_slice(id);
    out.extend_from_slice(&[0; 16]);
    out.extend_from_slice(bytes);
    let crc = crc32c::crc32c(&out[8..]);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out.resize(out.len().next_multiple_of(ALIGN), 0);
    Ok(out)
}

/// What else is known where a frame is unsound. `named`: the ids that the log's events name; None when no log is at
/// hand. `held`: the ids of frames in earlier segments.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    pub named: Option<&'a HashSet<Digest>>,
    pub held: Option<&'a HashSet<Digest>>,
}

/// Read a segment from offset `from`.
/// `last`: no segment follows. `content`: also check that each body is what its id says.
pub fn scan(segment: &[u8], from: usize, known: Known, last: bool, content: bool) -> Found {
    let mut found = Found {
        frames: Vec::new(),
        erase_again: Vec::new(),
        stop: Stop::sound(from),
    };
    if let Some(stop) = Stop::too_large(segment) {
        found.stop = stop;
        return found;
    }
    let mut at = from;
    found.stop = loop {
        if at >= segment.len() && !last && at == 0 {
            break Stop::damaged(at, "a segment before the last holds no frame");
        }
        if at >= segment.len() || (last && all_zero(&segment[at..])) {
            break Stop::sound(at);
        }
        let Some(frame) = sound(segment, at) else {
            break unsound(segment, at, known, last, &found.frames);
        };
        let whole = &segment[at..at + frame.bytes];
        if !all_zero(&whole[HEADER + frame.len..]) {
            break Stop::damaged(at, "the padding is not zero");
        }
        if content && let Err(reason) = check_content(&frame, &whole[HEADER..HEADER + frame.len]) {
            break Stop::damaged(at, reason);
        }
        if frame.kind == ERASED && !all_zero(&whole[HEADER..]) {
            found.erase_again.push(at);
        }
        at += frame.bytes;
        found.frames.push(frame);
    };
    if found.stop.status == Status::Sound && !found.erase_again.is_empty() {
        found.stop = Stop {
            status: Status::Torn,
            offset: at,
            reason: "an erasure was not finished",
        };
    }
    found
}

fn extent(segment: &[u8], at: usize) -> usize {
    if at + 12 > segment.len() {
        return HEADER;
    }
    let len = u32_at(segment, at + 8) as usize;
    if len == 0 || len > BYTES_LIMIT {
        HEADER
    } else {
        (HEADER + len).next_multiple_of(ALIGN)
    }
}

fn sound(segment: &[u8], at: usize) -> Option<Frame> {
    let bytes = extent(segment, at);
    if bytes == HEADER || at + bytes > segment.len() || &segment[at..at + 4] != b"EGB1" {
        return None;
    }
    let len = u32_at(segment, at + 8) as usize;
    let frame = Frame {
        offset: at,
        bytes,
        len,
        kind: segment[at + 12],
        id: digest_at(segment, at + 16),
    };
    let head = &segment[at + 8..at + HEADER];
    let crc = if frame.kind == ERASED {
        crc32c::crc32c_append(crc32c::crc32c(head), &vec![0; len])
    } else {
        crc32c::crc32c(&segment[at + 8..at + HEADER + len])
    };
    let reserved = all_zero(&segment[at + 13..at + 16]) && all_zero(&segment[at + 48..at + 64]);
    (crc == u32_at(segment, at + 4) && reserved).then_some(frame)
}

fn check_content(frame: &Frame, bytes: &[u8]) -> Result<(), &'static str> {
    match frame.kind {
        RECORD => match record::decode(bytes) {
            Ok((digest, _)) if digest == frame.id => Ok(()),
            Ok(_) => Err("the record's id is not its CID"),
            Err(_) => Err("not a valid record payload"),
        },
        PATCH if sha256(&[bytes]) != frame.id => Err("the patch's id is not its hash"),
        PATCH => jcs::is_canonical_object(bytes, PATCH_RULES)
            .map_err(|_| "the patch is not canonical JSON"),
        ERASED => Ok(()),
        _ => Err("an unknown kind"),
    }
}

fn unsound(segment: &[u8], at: usize, known: Known, last: bool, before: &[Frame]) -> Stop {
    if !last {
        return Stop::damaged(at, "an unsound frame in a segment that another follows");
    }
    if !looks_unfinished(segment, at, extent(segment, at)) {
        return Stop::damaged(at, "an unsound frame that was written whole");
    }
    let id = segment.get(at + 16..at + 48).map(|id| digest_at(id, 0));
    if let (Some(named), Some(id)) = (known.named, id)
        && named.contains(&id)
    {
        return Stop::damaged(at, "an unsound frame whose id an event names");
    }
    let before = before.iter().filter(|frame| frame.kind != ERASED); // what was erased may have been put again
    let before: HashSet<&Digest> = before.map(|frame| &frame.id).collect();
    let held =
        |id: &Digest| before.contains(id) || known.held.is_some_and(|held| held.contains(id));
    let counts = |id: &Digest| {
        known
            .named
            .is_none_or(|named| named.contains(id) && !held(id))
    };
    // The id first: whoever fills a body with headers of frames must not have us take the CRC of each.
    let mut looks = Looks::default();
    for next in (at + ALIGN..segment.len().saturating_sub(HEADER)).step_by(ALIGN) {
        if &segment[next..next + 4] != b"EGB1" || !counts(&digest_at(segment, next + 16)) {
            continue;
        }
        if !looks.afford(extent(segment, next)) {
            return Stop::damaged(at, Looks::TOO_MANY);
        }
        if sound(segment, next).is_some() {
            return Stop::damaged(at, "an unsound frame before a sound one");
        }
    }
    Stop::torn(at)
}
