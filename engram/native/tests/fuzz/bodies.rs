//! Segments of bodies, and a body read by its location.
use std::collections::HashSet;
use std::sync::Arc;

use _core::bodies::{self, ALIGN, ERASED, HEADER, Known, PATCH, RECORD};
use _core::hash::{Digest, sha256};
use _core::index::BodyMaps;
use _core::record;
use _core::segment::Status;

use crate::bounds::bounded;
use crate::golden;
use crate::recipe::Recipe;
use crate::records::payloads;

/// Golden segments, and one of small bodies of each kind.
pub fn segments() -> Vec<Vec<u8>> {
    let mut good = golden::hex_under(&golden::json("formats.json")["bodies"], "segment_hex");
    let mut own = Vec::new();
    for payload in payloads() {
        let (digest, _) = record::decode(&payload).expect("a good record");
        own.extend(bodies::encode(RECORD, &digest, &payload).expect("a small body"));
    }
    let patch = br#"{"a":1}"#;
    own.extend(bodies::encode(PATCH, &sha256(&[patch]), patch).expect("a small body"));
    own.extend(bodies::encode(ERASED, &[9; 32], &[0; 100]).expect("a small body"));
    good.push(own);
    good
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
        at += (HEADER + size).next_multiple_of(ALIGN);
    }
    found
}

/// Put the CRCs right, and as a forger the ids too.
pub fn mend(segment: &mut [u8], level: u8) {
    for (at, size) in frames(segment) {
        let frame = &mut segment[at..at + size];
        if level == 2 {
            let id: Option<Digest> = match frame[12] {
                RECORD => record::decode(&frame[HEADER..])
                    .ok()
                    .map(|(digest, _)| digest),
                PATCH => Some(sha256(&[&frame[HEADER..]])),
                _ => None,
            };
            id.inspect(|id| frame[16..48].copy_from_slice(id));
        }
        let crc = match frame[12] {
            ERASED => {
                crc32c::crc32c_append(crc32c::crc32c(&frame[8..HEADER]), &vec![0; size - HEADER])
            }
            _ => crc32c::crc32c(&frame[8..]),
        };
        frame[4..8].copy_from_slice(&crc.to_le_bytes());
    }
}

#[test]
fn body_scan() {
    let good = segments();
    let ids: Vec<Digest> = good
        .iter()
        .flat_map(|segment| bodies::scan(segment, 0, Known::default(), true, true).frames)
        .map(|frame| frame.id)
        .collect();
    bolero::check!()
        .with_type::<(Recipe, bool, u16, u16, bool)>()
        .for_each(|(recipe, last, named, held, content)| {
            let segment = recipe.bytes(&good, mend);
            let some = |bits: &u16| -> HashSet<Digest> {
                let chosen = ids
                    .iter()
                    .enumerate()
                    .filter(|(at, _)| bits >> (at % 16) & 1 == 1);
                chosen.map(|(_, id)| *id).collect()
            };
            let (named, held) = (some(named), some(held));
            let known = Known {
                named: Some(&named),
                held: Some(&held),
            };
            let found = bounded(segment.len(), 256, || {
                bodies::scan(&segment, 0, known, *last, *content)
            });
            let mut end = 0;
            for frame in &found.frames {
                assert_eq!(frame.offset, end, "frames follow each other");
                end += frame.bytes;
                assert!(end <= segment.len() && HEADER + frame.len <= frame.bytes);
                let bytes = &segment[frame.offset + HEADER..][..frame.len];
                if *content && frame.kind == RECORD {
                    assert_eq!(
                        record::decode(bytes).map(|(digest, _)| digest),
                        Ok(frame.id)
                    );
                }
            }
            assert!(found.stop.offset <= segment.len() && found.stop.offset >= end);
            assert!(found.stop.status != Status::Torn || *last || !found.erase_again.is_empty());
            assert!(
                found
                    .erase_again
                    .iter()
                    .all(|at| segment[at + 12] == ERASED)
            );
        });
}

/// A body at any location: what comes out has the checksum that stands before it.
#[test]
fn body_at_a_location() {
    let good = segments();
    bolero::check!()
        .with_type::<(Recipe, u16, u8, u8)>()
        .for_each(|(recipe, at, high, dim)| {
            let segment = recipe.bytes(&good, mend);
            let size = segment.len();
            let maps = BodyMaps::default();
            drop(maps.put(0, Arc::new(segment.clone())));
            let location = u64::from(*at) * 4 + (u64::from(*high) << 26);
            let (maps, mut vector, mut metadata) =
                (maps.maps(), vec![0; usize::from(*dim) * 4], Vec::new());
            // What stands there says how long it is; the segment bounds it.
            if let Some(body) = bounded(size, 4, || maps.proved(location, None)) {
                let at = usize::try_from(location).expect("inside the segment");
                assert_eq!(
                    &segment[at + HEADER..][..body.payload.len()],
                    &body.payload[..]
                );
                assert_eq!(
                    crc32c::crc32c(&segment[at + 8..][..HEADER - 8 + body.payload.len()])
                        .to_le_bytes(),
                    segment[at + 4..at + 8]
                );
            }
            let _ = maps.vector(location, 0, &mut vector);
            let _ = bounded(size, 4, || maps.metadata(location, &mut metadata));
        });
}
