//! Segments of the log: what opening and auditing scan, what followers walk, and one frame's events.
use _core::eventlog::{self, HEADER, State};
use _core::log_walk::{self, Halt, Wanted};
use _core::segment::Status;
use _core::tree::Frontier;

use crate::bounds::bounded;
use crate::golden;
use crate::messages::events;
use crate::recipe::Recipe;

/// Golden segments, cut behind their data, and one frame of each golden event.
fn segments() -> Vec<Vec<u8>> {
    let mut good = golden::hex_under(&golden::json("formats.json")["log"], "segment_hex");
    let mut folder = golden::file("folder/events/00000000000000000000.log");
    let end = folder
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |at| at + 1);
    folder.truncate(end.next_multiple_of(512));
    good.push(folder);
    let (mut state, mut own) = (State::default(), Vec::new());
    for (time, event) in events().iter().rev().enumerate() {
        // The golden events that are refused are left out.
        let frame = eventlog::encode(&mut state, time as u64, &[event]);
        own.extend(frame.unwrap_or_default());
    }
    good.push(own);
    good
}

/// The state of the longest log that there can be, all but an event.
fn far_on() -> State {
    let size = (1 << 63) - 1;
    let tree = Frontier::new(size, vec![[7; 32]; 63]).expect("as many roots as bits");
    State {
        tree,
        time_unix_ns: 0,
    }
}

/// Where each frame stands, by what the headers say.
fn frames(segment: &[u8]) -> Vec<(usize, usize)> {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(head) = segment.get(at..at + HEADER) {
        let size = u32::from_le_bytes([head[8], head[9], head[10], head[11]]) as usize;
        if segment.len() < at + HEADER + size || size == 0 {
            break;
        }
        found.push((at, HEADER + size));
        at += (HEADER + size).next_multiple_of(8);
    }
    found
}

/// Put the CRCs right, and as a forger positions, counts and roots too.
fn mend(segment: &mut [u8], level: u8) {
    let mut state = State::default();
    for (at, size) in frames(segment) {
        let frame = &mut segment[at..at + size];
        if level == 2
            && let Ok(events) = eventlog::events(frame)
        {
            let position = state.tree.size;
            let count = events.len() as u32;
            events.iter().for_each(|event| state.tree.append(event));
            frame[12..16].copy_from_slice(&count.to_le_bytes());
            frame[16..24].copy_from_slice(&position.to_le_bytes());
            frame[32..64].copy_from_slice(&state.tree.root());
        }
        let crc = crc32c::crc32c(&frame[8..]);
        frame[4..8].copy_from_slice(&crc.to_le_bytes());
    }
}

#[test]
fn log_scan() {
    let good = segments();
    bolero::check!()
        .with_type::<(Recipe, bool, u8, bool)>()
        .for_each(|(recipe, last, covered, far)| {
            let segment = recipe.bytes(&good, mend);
            let before = if *far { far_on() } else { State::default() };
            let mut state = before.clone();
            let (found, stop) = bounded(segment.len(), 16, || {
                eventlog::scan(&segment, &mut state, *last, u64::from(*covered))
            });
            let mut again = (before, 0);
            for frame in &found {
                assert_eq!(frame.offset, again.1, "frames follow each other");
                let bytes = &segment[frame.offset..frame.offset + frame.bytes];
                let events = eventlog::events(bytes).expect("the events of a right frame");
                let encoded = eventlog::encode(&mut again.0, frame.time_unix_ns, &events);
                assert_eq!(
                    encoded.as_deref(),
                    Ok(bytes),
                    "a right frame is what encoding its events gives"
                );
                again.1 += frame.bytes;
            }
            assert_eq!(again.0, state, "the state is behind the last right frame");
            assert!(stop.offset >= again.1 && stop.offset <= segment.len());
            assert!(stop.status != Status::Torn || *last);
            walked_as_scanned(&segment, &found);
        });
}

/// A follower gives the very events that were proved at opening, and nothing of what was not.
fn walked_as_scanned(segment: &[u8], scanned: &[eventlog::Frame]) {
    let end = scanned
        .last()
        .map_or(0, |frame| frame.first_position + u64::from(frame.count));
    let wanted = Wanted {
        start: 0,
        end,
        events: usize::MAX,
        bytes: usize::MAX,
    };
    let walk = log_walk::walk(segment, 0, wanted);
    assert_eq!((walk.position, walk.halt), (end, Halt::Enough));
    assert_eq!(walk.root, scanned.last().map(|frame| frame.root));
}

#[test]
fn log_walk_on() {
    let good = segments();
    bolero::check!()
        .with_type::<(Recipe, u8, u8, u8, u16)>()
        .for_each(|(recipe, start, end, events, bytes)| {
            let chunk = recipe.bytes(&good, mend);
            let wanted = Wanted {
                start: u64::from(*start),
                end: u64::from(*end),
                events: usize::from(*events),
                bytes: usize::from(*bytes),
            };
            let walk = bounded(chunk.len(), 16, || log_walk::walk(&chunk, 0, wanted));
            assert!(walk.offset <= chunk.len() && walk.events.len() <= wanted.events);
            let inside = |found: &log_walk::Found| chunk.get(found.place.clone()).is_some();
            assert!(walk.events.iter().all(inside));
            assert!(
                walk.events
                    .windows(2)
                    .all(|two| two[0].position + 1 == two[1].position)
            );
        });
}

#[test]
fn frame_events() {
    let good = segments();
    bolero::check!().with_type::<Recipe>().for_each(|recipe| {
        let frame = recipe.bytes(&good, mend);
        if let Ok(events) = bounded(frame.len(), 16, || eventlog::events(&frame)) {
            let size: usize = events.iter().map(|event| 4 + event.len()).sum();
            assert!(HEADER + size <= frame.len(), "events stand in their frame");
        }
    });
}
