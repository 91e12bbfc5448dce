//! Reading on in the event log, from a frame whose place is known to what is committed. Formats §3.
//!
//! Opening has proved the frames against the tree; here each is held against its CRC and its position again, since a
//! follower may come by much later than that.
use crate::eventlog::{FRAME_LIMIT, HEADER};
use crate::hash::Digest;
use crate::segment::{all_zero, digest_at, u32_at, u64_at};
use std::ops::Range;

/// What to give: events from `start` on, of frames before `end`, and after the first no more than this.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    pub start: u64,
    pub end: u64,
    pub events: usize,
    pub bytes: usize,
}

/// An event, as its place in the chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub position: u64,
    pub time_unix_ns: u64,
    pub place: Range<usize>,
}

/// Why reading on stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Halt {
    /// All that was wanted is there.
    Enough,
    /// The chunk ends: so many bytes from the offset are needed to go on.
    Needs(usize),
    /// What stands at the offset is not the frame of that position.
    Unsound,
}

/// What was found. `offset` and `position` are those of the first frame that was not given whole, `root` is the log's
/// before it, where this chunk tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Walk {
    pub events: Vec<Found>,
    pub offset: usize,
    pub position: u64,
    pub root: Option<Digest>,
    pub halt: Halt,
}

/// Read on in `chunk`, which begins with the frame whose first event is `position`.
pub fn walk(chunk: &[u8], position: u64, wanted: Wanted) -> Walk {
    let mut walk = Walk {
        events: Vec::new(),
        offset: 0,
        position,
        root: None,
        halt: Halt::Enough,
    };
    let mut bytes = 0;
    while walk.position < wanted.end {
        if walk.events.len() >= wanted.events || bytes >= wanted.bytes {
            return walk;
        }
        let frame = match frame_at(chunk, walk.offset, walk.position) {
            Ok(frame) => frame,
            Err(halt) => return Walk { halt, ..walk },
        };
        if !give(chunk, &frame, wanted, &mut bytes, &mut walk.events) {
            return walk;
        }
        walk.root = Some(digest_at(chunk, walk.offset + 32));
        walk.offset = frame.places.end.next_multiple_of(8);
        walk.position += u64::from(frame.count);
    }
    walk
}

struct Frame {
    places: Range<usize>,
    first: u64,
    count: u32,
    time_unix_ns: u64,
}

fn frame_at(chunk: &[u8], at: usize, position: u64) -> Result<Frame, Halt> {
    if chunk.len() < at + HEADER {
        return Err(Halt::Needs(HEADER));
    }
    let payload_len = u32_at(chunk, at + 8) as usize;
    let whole = HEADER + payload_len.next_multiple_of(8);
    if &chunk[at..at + 4] != b"EGL1" || payload_len == 0 || whole > FRAME_LIMIT {
        return Err(Halt::Unsound);
    }
    if chunk.len() < at + whole {
        return Err(Halt::Needs(whole));
    }
    let end = at + HEADER + payload_len;
    let frame = Frame {
        places: at + HEADER..end,
        first: u64_at(chunk, at + 16),
        count: u32_at(chunk, at + 12),
        time_unix_ns: u64_at(chunk, at + 24),
    };
    let sound = crc32c::crc32c(&chunk[at + 8..end]) == u32_at(chunk, at + 4);
    let right = frame.first == position && events(chunk, &frame).count() == frame.count as usize;
    if sound && right && all_zero(&chunk[end..at + whole]) {
        Ok(frame)
    } else {
        Err(Halt::Unsound)
    }
}

/// Give the places of a frame's events, up to the first whose size goes over its end.
fn events<'a>(chunk: &'a [u8], frame: &Frame) -> impl Iterator<Item = Range<usize>> + 'a {
    let Range { start: mut at, end } = frame.places.clone();
    std::iter::from_fn(move || {
        let start = at + 4;
        let next = (start <= end).then(|| start + u32_at(chunk, at) as usize)?;
        at = next;
        (next <= end).then_some(start..next)
    })
}

/// Add the events of a frame that are wanted; false where some are left for the next time.
fn give(
    chunk: &[u8],
    frame: &Frame,
    wanted: Wanted,
    bytes: &mut usize,
    found: &mut Vec<Found>,
) -> bool {
    for (position, place) in (frame.first..).zip(events(chunk, frame)) {
        if position < wanted.start {
            continue;
        }
        if found.len() >= wanted.events || *bytes >= wanted.bytes {
            return false;
        }
        *bytes += place.len();
        found.push(Found {
            position,
            time_unix_ns: frame.time_unix_ns,
            place,
        });
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eventlog::{State, encode};

    const ALL: Wanted = Wanted {
        start: 0,
        end: u64::MAX,
        events: usize::MAX,
        bytes: usize::MAX,
    };

    fn event(number: u8) -> Vec<u8> {
        [&b"\x82\xa4type\xa1x\xa1n"[..], &[number & 0x7f]].concat()
    }

    /// Frames of 1, 3 and 2 events.
    fn log() -> (Vec<u8>, Vec<usize>, Vec<Digest>) {
        let mut state = State::default();
        let (mut out, mut ends, mut roots) = (Vec::new(), Vec::new(), Vec::new());
        for numbers in [&[0u8][..], &[1, 2, 3], &[4, 5]] {
            let events: Vec<Vec<u8>> = numbers.iter().map(|&number| event(number)).collect();
            let events: Vec<&[u8]> = events.iter().map(Vec::as_slice).collect();
            out.extend(encode(&mut state, 7, &events).expect("small events"));
            ends.push(out.len());
            roots.push(state.tree.root());
        }
        (out, ends, roots)
    }

    fn numbers(chunk: &[u8], walk: &Walk) -> Vec<(u64, u8)> {
        walk.events
            .iter()
            .map(|found| (found.position, chunk[found.place.end - 1]))
            .collect()
    }

    #[test]
    fn every_event_is_given_once_with_its_position() {
        let (log, ends, roots) = log();
        let walk = walk(&log, 0, ALL);
        let all: Vec<(u64, u8)> = (0..6).map(|n| (n, n as u8)).collect();
        assert_eq!(numbers(&log, &walk), all);
        assert_eq!((walk.offset, walk.position), (ends[2], 6));
        assert_eq!(
            (walk.root, walk.halt),
            (Some(roots[2]), Halt::Needs(HEADER))
        );
    }

    #[test]
    fn nothing_is_read_behind_the_committed_end() {
        let (mut log, ends, roots) = log();
        log[ends[1]..].fill(0xff);
        let walk = walk(&log, 0, Wanted { end: 4, ..ALL });
        assert_eq!(
            (walk.events.len(), walk.offset, walk.position),
            (4, ends[1], 4)
        );
        assert_eq!((walk.root, walk.halt), (Some(roots[1]), Halt::Enough));
    }

    #[test]
    fn a_limit_may_stop_inside_a_frame_and_the_next_call_goes_on_there() {
        let (log, ends, roots) = log();
        let first = walk(&log, 0, Wanted { events: 2, ..ALL });
        assert_eq!(numbers(&log, &first), [(0, 0), (1, 1)]);
        assert_eq!((first.offset, first.position), (ends[0], 1));
        assert_eq!((first.root, first.halt), (Some(roots[0]), Halt::Enough));
        let rest = Wanted {
            start: 2,
            bytes: 1,
            ..ALL
        };
        let second = walk(&log[ends[0]..], 1, rest);
        assert_eq!(numbers(&log[ends[0]..], &second), [(2, 2)]);
        assert_eq!((second.offset, second.position, second.root), (0, 1, None));
    }

    #[test]
    fn a_chunk_that_ends_inside_a_frame_says_what_is_needed() {
        let (log, ends, _) = log();
        for cut in ends[0]..ends[1] {
            let walk = walk(&log[..cut], 0, ALL);
            let needs = if cut < ends[0] + HEADER {
                HEADER
            } else {
                ends[1] - ends[0]
            };
            assert_eq!((walk.events.len(), walk.offset), (1, ends[0]));
            assert_eq!(walk.halt, Halt::Needs(needs), "cut at {cut}");
        }
    }

    #[test]
    fn no_changed_byte_is_given_as_an_event() {
        let (log, ends, _) = log();
        for at in 0..log.len() {
            let mut changed = log.clone();
            changed[at] ^= 0x10;
            let walk = walk(&changed, 0, ALL);
            let frame = ends.iter().filter(|&&end| end <= at).count();
            assert_eq!(walk.position, [0, 1, 4][frame], "byte {at}");
        }
    }
}
