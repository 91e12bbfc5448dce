//! The bodies that rows are made of, where they stand: f32 vectors, digests and metadata are read from there, not copied.
//!
//! A location is segment number * 2^26 + the offset of a frame (`bodies.rs`) in its segment. A frame's bytes are copied
//! before they are looked at: a map's may change, where a disk fails or an erasure is under way.
use std::fmt::Debug;
use std::sync::{Arc, PoisonError, RwLock};

use super::rows::tag_of;
use crate::bodies::{ERASED, HEADER};
use crate::hash::Digest;
use crate::record::METADATA_LIMIT;
use crate::segment::{SEGMENT_LIMIT, digest_at, u32_at};

/// Bytes of a payload before its vector.
const PAYLOAD_HEADER: usize = 64;
/// Segments that there may be: 64 TiB of bodies. The table has an entry for each up to the last.
pub const MAX_SEGMENTS: usize = 1 << 20;

/// The bytes of one segment.
pub trait Map: Debug + Send + Sync {
    /// The number of bytes.
    fn size(&self) -> usize;
    /// Copy the bytes from `at` on into `out`, all of which must be inside.
    fn copy(&self, at: usize, out: &mut [u8]);
}

impl Map for Vec<u8> {
    fn size(&self) -> usize {
        self.len()
    }

    fn copy(&self, at: usize, out: &mut [u8]) {
        out.copy_from_slice(&self[at..at + out.len()]);
    }
}

type Table = Vec<Option<Arc<dyn Map>>>;

/// The maps of all segments: renewed by one writer, read by any thread.
#[derive(Debug, Default)]
pub struct BodyMaps(RwLock<Arc<Table>>);

/// The maps as they were at one time.
#[derive(Debug, Clone)]
pub struct Maps(Arc<Table>);

/// A body's bytes, proved or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    pub digest: Digest,
    pub payload: Vec<u8>,
}

impl BodyMaps {
    /// Take `map` for segment `number`, below [`MAX_SEGMENTS`], in the place of an earlier one, and give that back: to let
    /// go of it may mean to wait for the GIL, which nobody may under the lock.
    pub fn put(&self, number: usize, map: Arc<dyn Map>) -> Option<Arc<dyn Map>> {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let maps = Arc::make_mut(&mut table);
        if maps.len() <= number {
            maps.resize(number + 1, None);
        }
        maps[number].replace(map)
    }

    /// Give the maps that there are now.
    pub fn maps(&self) -> Maps {
        Maps(Arc::clone(
            &self.0.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

impl Maps {
    /// Give a copy of the body at a location whose checksum is right, and its digest's tag where one is given.
    pub fn proved(&self, location: u64, tag: Option<u32>) -> Option<Body> {
        let (map, at) = self.find(location)?;
        let mut frame = vec![0; HEADER];
        map.copy(at, &mut frame);
        let size = u32_at(&frame, 8) as usize;
        if size > map.size() - at - HEADER || frame[12] == ERASED {
            return None;
        }
        frame.resize(HEADER + size, 0);
        map.copy(at, &mut frame);
        let digest = digest_at(&frame, 16);
        if tag.is_some_and(|tag| tag != tag_of(&digest))
            || crc32c::crc32c(&frame[8..]) != u32_at(&frame, 4)
        {
            return None;
        }
        frame.drain(..HEADER);
        Some(Body {
            digest,
            payload: frame,
        })
    }

    /// Copy the vector of the body at a location, unproved, and give its digest; None where no vector can stand there.
    pub fn vector(&self, location: u64, tag: u32, vector: &mut [u8]) -> Option<Digest> {
        let (map, at) = self.find(location)?;
        let mut head = [0; HEADER + PAYLOAD_HEADER];
        if map.size() - at < head.len() + vector.len() {
            return None;
        }
        map.copy(at, &mut head);
        let digest = digest_at(&head, 16);
        let fits = u32_at(&head, 8) as usize >= PAYLOAD_HEADER + vector.len();
        if !fits || tag_of(&digest) != tag || !holds_vector(&head[HEADER..], vector.len() / 4) {
            return None;
        }
        map.copy(at + head.len(), vector);
        Some(digest)
    }

    /// Copy the metadata of the body at a location, unproved, into an empty buffer; say whether any can stand there.
    pub fn metadata(&self, location: u64, into: &mut Vec<u8>) -> bool {
        let Some((map, at)) = self.find(location) else {
            return false;
        };
        let mut head = [0; HEADER + PAYLOAD_HEADER];
        if map.size() - at < head.len() {
            return false;
        }
        map.copy(at, &mut head);
        let (payload, length) = (&head[HEADER..], u32_at(&head, HEADER + 8) as usize);
        let before = PAYLOAD_HEADER + usize::from(u16::from_le_bytes([payload[6], payload[7]])) * 4;
        let end = HEADER + before + length;
        let fits = payload[..4] == *b"EPR1" && u32_at(&head, 8) as usize >= before + length;
        if !fits || length > METADATA_LIMIT || map.size() - at < end {
            return false;
        }
        into.resize(length, 0);
        map.copy(at + HEADER + before, into);
        true
    }

    fn find(&self, location: u64) -> Option<(&Arc<dyn Map>, usize)> {
        let number = usize::try_from(location / SEGMENT_LIMIT as u64).ok()?;
        let at = (location % SEGMENT_LIMIT as u64) as usize;
        let map = self.0.get(number)?.as_ref()?;
        (at + HEADER <= map.size()).then_some((map, at))
    }
}

/// Find the vector in a record payload: "EPR1", flags, dtype 0, dim u16 at 6, and f32 * dim at 64.
pub fn vector_of(payload: &[u8], dim: usize) -> Option<&[u8]> {
    let vector = payload.get(PAYLOAD_HEADER..PAYLOAD_HEADER + dim * 4)?;
    holds_vector(payload, dim).then_some(vector)
}

fn holds_vector(payload: &[u8], dim: usize) -> bool {
    payload[..4] == *b"EPR1"
        && payload[5] == 0
        && usize::from(u16::from_le_bytes([payload[6], payload[7]])) == dim
}
