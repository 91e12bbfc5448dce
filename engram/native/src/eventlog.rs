//! The event log's frames: one a group commit, CRC-framed and Merkle-rooted.
//!
//! ```text
//! "EGL1" | crc32c u32 (payload_len to the last event byte) | payload_len u32 | count u32 | first_position u64
//! | time_unix_ns u64 | root 32 | (u32 len | event) * count | zeros to the next multiple of 8
//! ```
use crate::hash::Digest;
use crate::msgpack::event_type;
use crate::segment::{Looks, Stop, all_zero, digest_at, looks_unfinished, u32_at, u64_at};
use crate::tree::Frontier;

pub const HEADER: usize = 64;
pub const FRAME_LIMIT: usize = 8 << 20;
pub const COUNT_LIMIT: usize = 65_536;
pub const EVENT_LIMIT: usize = 65_535;

/// The type of the event at position 0.
const FIRST_TYPE: &[u8] = b"log_created.1";

/// A sound and right frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub offset: usize,
    pub bytes: usize,
    pub first_position: u64,
    pub count: u32,
    pub time_unix_ns: u64,
    pub root: Digest,
}

/// The log's state before a frame: its tree, and the last frame's time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub tree: Frontier,
    pub time_unix_ns: u64,
}

/// Say whether a log may start with this event.
pub fn may_start(event: &[u8]) -> bool {
    event_type(event) == Ok(FIRST_TYPE)
}

/// Encode a frame of `events` after `state`, and move `state` behind it. `events` obey the limits.
pub fn encode(state: &mut State, now_ns: u64, events: &[&[u8]]) -> Result<Vec<u8>, &'static str> {
    if events.is_empty() || events.len() > COUNT_LIMIT {
        return Err("a frame holds 1 to 65,536 events");
    }
    let payload_len: usize = events.iter().map(|event| 4 + event.len()).sum();
    if HEADER + payload_len.next_multiple_of(8) > FRAME_LIMIT {
        return Err("a frame is at most 8 MiB");
    }
    let mut next = state.clone();
    let later = state.time_unix_ns.checked_add(1);
    next.time_unix_ns = now_ns.max(later.ok_or("no time is after the last frame's")?);
    for event in events {
        event_type(event)?;
        next.tree.append(event);
    }
    let mut out = Vec::with_capacity(HEADER + payload_len.next_multiple_of(8));
    out.extend_from_slice(b"EGL1\0\0\0\0");
    out.extend_from_slice(&(payload_len as u32).to_le_bytes());
    out.extend_from_slice(&(events.len() as u32).to_le_bytes());
    out.extend_from_slice(&state.tree.size.to_le_bytes());
    out.extend_from_slice(&next.time_unix_ns.to_le_bytes());
    out.extend_from_slice(&next.tree.root());
    for event in events {
        out.extend_from_slice(&(event.len() as u32).to_le_bytes());
        out.extend_from_slice(event);
    }
    let crc = crc32c::crc32c(&out[8..]);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    out.resize(out.len().next_multiple_of(8), 0);
    *state = next;
    Ok(out)
}

/// Read a segment from `state` on, checking everything; `state` ends behind the last right frame.
///
/// `last`: no segment follows. `covered`: the size of the largest checkpoint; what it covers is never torn.
pub fn scan(segment: &[u8], state: &mut State, last: bool, covered: u64) -> (Vec<Frame>, Stop) {
    let mut frames = Vec::new();
    let mut at = 0;
    if let Some(stop) = Stop::too_large(segment) {
        return (frames, stop);
    }
    loop {
        if at == segment.len() {
            let empty = frames.is_empty() && !last;
            let stop = if empty {
                Stop::damaged(at, "a segment before the last holds no frame")
            } else {
                Stop::sound(at)
            };
            return (frames, stop);
        }
        if last && all_zero(&segment[at..]) {
            return (frames, Stop::sound(at));
        }
        match sound(segment, at) {
            Some(bytes) => match right(&segment[at..at + bytes], at, state) {
                Ok(frame) => frames.push(frame),
                Err(reason) => return (frames, Stop::damaged(at, reason)),
            },
            None => return (frames, unsound(segment, at, state, last, covered)),
        }
        at += frames.last().expect("just pushed").bytes;
    }
}

/// Give the events of a frame; an error where its sizes do not add up.
pub fn events(frame: &[u8]) -> Result<Vec<&[u8]>, &'static str> {
    const WRONG: &str = "the events' sizes do not add up";
    let sized = |bytes: &[u8], at: usize| bytes.get(at..at + 4).map(|_| u32_at(bytes, at) as usize);
    let size = sized(frame, 8).ok_or(WRONG)?;
    let mut rest = frame.get(HEADER..HEADER + size).ok_or(WRONG)?;
    let mut events = Vec::new();
    while !rest.is_empty() {
        let end = 4 + sized(rest, 0).ok_or(WRONG)?;
        events.push(rest.get(4..end).ok_or(WRONG)?);
        rest = &rest[end..];
    }
    Ok(events)
}

/// The extent that a header at `at` claims: the header alone where its payload_len is one that no frame has.
fn extent(segment: &[u8], at: usize) -> usize {
    if at + 12 > segment.len() {
        return HEADER;
    }
    let payload_len = u32_at(segment, at + 8) as usize;
    let whole = HEADER + payload_len.next_multiple_of(8);
    if payload_len == 0 || whole > FRAME_LIMIT {
        HEADER
    } else {
        whole
    }
}

/// The bytes of the frame at `at` if its magic, extent and CRC are right.
fn sound(segment: &[u8], at: usize) -> Option<usize> {
    let bytes = extent(segment, at);
    if bytes == HEADER || at + bytes > segment.len() || &segment[at..at + 4] != b"EGL1" {
        return None;
    }
    let end = at + HEADER + u32_at(segment, at + 8) as usize;
    (crc32c::crc32c(&segment[at + 8..end]) == u32_at(segment, at + 4)).then_some(bytes)
}

/// Check what a sound frame says against the log before it.
fn right(frame: &[u8], offset: usize, state: &mut State) -> Result<Frame, &'static str> {
    let payload_len = u32_at(frame, 8) as usize;
    let count = u32_at(frame, 12);
    let first_position = u64_at(frame, 16);
    let time_unix_ns = u64_at(frame, 24);
    if first_position != state.tree.size {
        return Err("first_position is not the number of events before it");
    }
    if time_unix_ns <= state.time_unix_ns {
        return Err("time_unix_ns does not grow");
    }
    if !all_zero(&frame[HEADER + payload_len..]) {
        return Err("the padding is not zero");
    }
    let tree = events_right(&frame[HEADER..HEADER + payload_len], count, &state.tree)?;
    let root = digest_at(frame, 32);
    if tree.root() != root {
        return Err("the root is not that of the events");
    }
    *state = State { tree, time_unix_ns };
    Ok(Frame {
        offset,
        bytes: frame.len(),
        first_position,
        count,
        time_unix_ns,
        root,
    })
}

fn events_right(payload: &[u8], count: u32, before: &Frontier) -> Result<Frontier, &'static str> {
    let mut tree = before.clone();
    let mut at = 0;
    while at < payload.len() {
        if at + 4 > payload.len() {
            return Err("the events' sizes do not add up");
        }
        let length = u32_at(payload, at) as usize;
        at += 4;
        let event = payload
            .get(at..at + length)
            .ok_or("the events' sizes do not add up")?;
        let kind = event_type(event)?;
        if tree.size == 0 && kind != FIRST_TYPE {
            return Err("position 0 is not log_created.1");
        }
        tree.append(event);
        at += length;
    }
    if tree.size - before.size != u64::from(count) || count as usize > COUNT_LIMIT {
        return Err("count is not the number of events");
    }
    Ok(tree)
}

fn unsound(segment: &[u8], at: usize, state: &State, last: bool, covered: u64) -> Stop {
    if !last {
        return Stop::damaged(at, "an unsound frame in a segment that another follows");
    }
    if covered > state.tree.size {
        return Stop::damaged(at, "an unsound frame where events were committed");
    }
    if !looks_unfinished(segment, at, extent(segment, at)) {
        return Stop::damaged(at, "an unsound frame that was written whole");
    }
    let mut looks = Looks::default();
    for next in (at + 8..segment.len().saturating_sub(HEADER)).step_by(8) {
        if &segment[next..next + 4] != b"EGL1" || u64_at(segment, next + 16) <= state.tree.size {
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
