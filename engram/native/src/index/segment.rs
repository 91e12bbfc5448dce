//! A sealed part as a file: rows in the order of their locations, read where they lie. No row is ever changed in it.
//!
//! ```text
//! "EGSG" | version u16 | dim u16 | rows u32 | mode u8 | 3 zeros | r1 u32 | recall f32 | 8 zeros
//! | SHA-256 (32) of the 32 bytes before it and of all behind it
//! | codes: rows * blocks of 64 i8, -127..127, a row padded with zeros | scales: rows * f32 | errors: rows * f32
//! | tags: rows * u32 | locations: rows * u64, ascending
//! | signs, in modes 1 and 2: for every eight rows, of each 64 components a word a row | mean, in mode 2: dim * f32
//! ```
//! Little-endian; each array is padded with zeros to a multiple of 64. Mode 0: no fast mode was earned, and r1 and recall
//! are 0; 1: raw signs; 2: signs about the mean. The same rows give the same bytes.
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use sha2::{Digest as _, Sha256};

use super::codes::check_dim;
use super::plain::{Plain, bytes_of, bytes_of_mut, values_of};
use super::rows::{Fast, Signs, Slab, Stored, stride_of, words_of};
use super::simd::Block;
use crate::attributes::Columns;
use crate::hash::Digest;
use crate::segment::{all_zero, u32_at};

const MAGIC: &[u8; 4] = b"EGSG";
const VERSION: u16 = 1;
const HEADER: usize = 64;
const HASHED: Range<usize> = 0..32;
const DIGEST: Range<usize> = 32..64;

/// Why bytes are no sealed part.
#[derive(Debug, Clone, PartialEq)]
pub enum SegmentError {
    /// Shorter than the header, or of another length than the header says.
    Length { expected: usize, got: usize },
    /// It does not begin as a sealed part does.
    Magic,
    /// A version that this build does not read.
    Version(u16),
    /// A field of the header that no sealed part has.
    Field { name: &'static str, value: u64 },
    /// The digest is not that of the bytes.
    Digest,
    /// An entry of an array that no row has.
    Row {
        array: &'static str,
        row: usize,
        reason: &'static str,
    },
}

impl fmt::Display for SegmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { expected, got } => {
                write!(f, "length: expected {expected} bytes, got {got}")
            }
            Self::Magic => write!(f, "magic: it does not begin with EGSG"),
            Self::Version(version) => {
                write!(
                    f,
                    "version: {version}, and this build reads version {VERSION}"
                )
            }
            Self::Field { name, value } => write!(f, "{name}: no segment has {value} there"),
            Self::Digest => write!(f, "digest: it is not that of the bytes"),
            Self::Row { array, row, reason } => write!(f, "{array}: of row {row}, {reason}"),
        }
    }
}

impl std::error::Error for SegmentError {}

/// Where the arrays of a segment lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Layout {
    dim: usize,
    rows: usize,
    mode: u8,
}

/// The arrays, in the order in which they lie.
const CODES: usize = 0;
const SCALES: usize = 1;
const ERRORS: usize = 2;
const TAGS: usize = 3;
const LOCATIONS: usize = 4;
const SIGNS: usize = 5;
const MEAN: usize = 6;
const ARRAYS: usize = 7;

/// Modes.
const SCANNED: u8 = 0;
const RAW: u8 = 1;
const CENTRED: u8 = 2;

impl Layout {
    /// Where each array lies.
    fn arrays(self) -> [Range<usize>; ARRAYS] {
        let signs = self.rows.div_ceil(Signs::ROWS) * words_of(self.dim) * size_of::<Signs>();
        let sizes = [
            self.rows * stride_of(self.dim) * Block::LEN,
            self.rows * 4,
            self.rows * 4,
            self.rows * 4,
            self.rows * 8,
            if self.mode == SCANNED { 0 } else { signs },
            if self.mode == CENTRED {
                self.dim * 4
            } else {
                0
            },
        ];
        let mut at = HEADER;
        sizes.map(|size| {
            let array = at..at + size;
            at = array.end.next_multiple_of(Block::LEN);
            array
        })
    }

    fn bytes(self) -> usize {
        self.arrays()[MEAN].end.next_multiple_of(Block::LEN)
    }
}

// -- writing --------------------------------------------------------------------------------------------------------------

/// Bytes at a multiple of 64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aligned(Vec<Block>);

impl Aligned {
    fn copy(bytes: &[u8]) -> Self {
        let mut blocks = vec![Block::ZERO; bytes.len().div_ceil(Block::LEN)];
        bytes_of_mut(&mut blocks)[..bytes.len()].copy_from_slice(bytes);
        Self(blocks)
    }
}

impl Aligned {
    /// The digest of the segment that these bytes are.
    pub fn digest(&self) -> &[u8] {
        &self.as_ref()[DIGEST]
    }
}

impl AsRef<[u8]> for Aligned {
    fn as_ref(&self) -> &[u8] {
        bytes_of(&self.0)
    }
}

/// Some rows of a slab.
pub struct Pick<'a> {
    pub slab: Slab<'a>,
    pub rows: Vec<u32>,
}

/// A segment that is being made: its rows stand, and their fast mode is to be found.
pub struct Builder {
    layout: Layout,
    blocks: Vec<Block>,
}

impl Builder {
    /// Put rows of `dim` components in the order of their locations, of which no two are the same.
    pub fn new(dim: usize, picks: &[Pick]) -> Self {
        let mut order = Vec::with_capacity(picks.iter().map(|pick| pick.rows.len()).sum());
        for pick in picks {
            let rows = pick.rows.iter().map(|&row| row as usize);
            order.extend(rows.map(|row| (pick.slab.locations[row], pick.slab, row)));
        }
        order.sort_unstable_by_key(|&(location, ..)| location);
        let layout = Layout {
            dim,
            rows: order.len(),
            mode: SCANNED,
        };
        let mut blocks = Vec::new();
        // Room for signs and a mean too, so that what may be gigabytes is never moved.
        let most = Layout {
            mode: CENTRED,
            ..layout
        };
        blocks.reserve_exact(most.bytes() / Block::LEN);
        blocks.resize(layout.bytes() / Block::LEN, Block::ZERO);
        let mut builder = Self { layout, blocks };
        let stride = stride_of(dim);
        let codes = &mut builder.blocks[1..=order.len() * stride];
        for (to, (_, slab, row)) in codes.chunks_exact_mut(stride).zip(&order) {
            to.copy_from_slice(&slab.blocks[row * stride..(row + 1) * stride]);
        }
        builder.fill(SCALES, order.iter().map(|(_, slab, row)| slab.scales[*row]));
        builder.fill(ERRORS, order.iter().map(|(_, slab, row)| slab.errors[*row]));
        builder.fill(TAGS, order.iter().map(|(_, slab, row)| slab.tags[*row]));
        builder.fill(LOCATIONS, order.iter().map(|(location, ..)| *location));
        builder
    }

    /// The rows as they will stand, without signs.
    pub fn slab(&self) -> Slab<'_> {
        slab_of(self.layout, bytes_of(&self.blocks))
    }

    /// Add how the rows are searched fast, if they are, and prove the bytes by their digest.
    pub fn finish(mut self, fast: Option<(&Fast, &[Signs])>) -> Aligned {
        let (mut r1, mut recall) = (0, 0.0);
        if let Some((fast, signs)) = fast {
            (r1, recall) = (fast.r1, fast.recall);
            self.layout.mode = if fast.mean.is_some() { CENTRED } else { RAW };
            let blocks = self.layout.bytes() / Block::LEN;
            self.blocks.resize(blocks, Block::ZERO);
            self.fill(SIGNS, signs.iter().copied());
            self.fill(MEAN, fast.mean.iter().flatten().copied());
        }
        let layout = self.layout;
        let bytes = bytes_of_mut(&mut self.blocks);
        bytes[..4].copy_from_slice(MAGIC);
        bytes[4..6].copy_from_slice(&VERSION.to_le_bytes());
        bytes[6..8].copy_from_slice(&(layout.dim as u16).to_le_bytes());
        bytes[8..12].copy_from_slice(&(layout.rows as u32).to_le_bytes());
        bytes[12] = layout.mode;
        bytes[16..20].copy_from_slice(&r1.to_le_bytes());
        bytes[20..24].copy_from_slice(&f32::to_le_bytes(recall));
        let digest = digest_of(bytes);
        bytes[DIGEST].copy_from_slice(&digest);
        Aligned(self.blocks)
    }

    fn fill<T: Plain>(&mut self, array: usize, values: impl Iterator<Item = T>) {
        let bytes = &mut bytes_of_mut(&mut self.blocks)[self.layout.arrays()[array].clone()];
        for (to, value) in bytes.chunks_exact_mut(size_of::<T>()).zip(values) {
            to.copy_from_slice(bytes_of(&[value]));
        }
    }
}

fn digest_of(bytes: &[u8]) -> Digest {
    let mut hasher = Sha256::new();
    hasher.update(&bytes[HASHED]);
    hasher.update(&bytes[DIGEST.end..]);
    hasher.finalize().into()
}

// -- reading --------------------------------------------------------------------------------------------------------------

/// Bytes that stay what and where they are, for as long as they are held.
pub type Bytes = Box<dyn AsRef<[u8]> + Send + Sync>;

/// A sealed part: every byte of it was proved when it was opened.
pub struct Sealed {
    bytes: Bytes,
    layout: Layout,
    fast: Option<Fast>,
    digest: Digest,
    columns: Arc<Mutex<Columns>>,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({:?}, {:?})", self.layout, self.fast)
    }
}

impl Sealed {
    /// Read a segment where it lies; one that does not begin at a multiple of 64 is copied.
    pub fn open(bytes: Bytes) -> Result<Self, SegmentError> {
        let layout = layout_of((*bytes).as_ref())?;
        let bytes: Bytes = match values_of::<Block>((*bytes).as_ref()) {
            Some(_) => bytes,
            None => Box::new(Aligned::copy((*bytes).as_ref())),
        };
        let whole = (*bytes).as_ref();
        let digest = digest_of(whole);
        if whole[DIGEST] != digest {
            return Err(SegmentError::Digest);
        }
        check_padding(whole, layout)?;
        check_rows(&slab_of(layout, whole))?;
        check_past_dim(&slab_of(layout, whole), layout.dim)?;
        let fast = fast_of(whole, layout)?;
        Ok(Self {
            bytes,
            layout,
            fast,
            digest,
            columns: Arc::default(),
        })
    }

    /// The number of components of a row.
    pub fn dim(&self) -> usize {
        self.layout.dim
    }
}

impl Stored for Sealed {
    fn slab(&self) -> Slab<'_> {
        slab_of(self.layout, (*self.bytes).as_ref())
    }

    fn fast(&self) -> Option<&Fast> {
        self.fast.as_ref()
    }

    fn columns(&self) -> Arc<Mutex<Columns>> {
        Arc::clone(&self.columns)
    }

    fn digest(&self) -> &Digest {
        &self.digest
    }
}

/// Read the header, and see that the bytes are as many as it says.
fn layout_of(bytes: &[u8]) -> Result<Layout, SegmentError> {
    let Some(header) = bytes.first_chunk::<HEADER>() else {
        return Err(SegmentError::Length {
            expected: HEADER,
            got: bytes.len(),
        });
    };
    if &header[..4] != MAGIC {
        return Err(SegmentError::Magic);
    }
    let u16_at = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    match u16_at(4) {
        VERSION => {}
        other => return Err(SegmentError::Version(other)),
    }
    let field = |name, value: u64, sound: bool| match sound {
        true => Ok(value),
        false => Err(SegmentError::Field { name, value }),
    };
    let (dim, mode) = (usize::from(u16_at(6)), header[12]);
    field("dim", dim as u64, check_dim(dim).is_ok())?;
    field("mode", u64::from(mode), mode <= CENTRED)?;
    for (name, reserved) in [("bytes 13 to 15", 13..16), ("bytes 24 to 31", 24..32)] {
        let found = header[reserved].iter().rev();
        let found = found.fold(0, |value, &byte| value << 8 | u64::from(byte));
        field(name, found, found == 0)?;
    }
    let rows = u32_at(header, 8) as usize;
    let layout = Layout { dim, rows, mode };
    match (layout.bytes(), bytes.len()) {
        (expected, got) if expected == got => Ok(layout),
        (expected, got) => Err(SegmentError::Length { expected, got }),
    }
}

fn check_padding(bytes: &[u8], layout: Layout) -> Result<(), SegmentError> {
    for array in layout.arrays() {
        let padding = array.end..array.end.next_multiple_of(Block::LEN);
        if !all_zero(&bytes[padding.clone()]) {
            return Err(SegmentError::Field {
                name: "padding",
                value: padding.start as u64,
            });
        }
    }
    Ok(())
}

fn check_rows(slab: &Slab) -> Result<(), SegmentError> {
    let wrong = |array, row, reason| Err(SegmentError::Row { array, row, reason });
    // The kernels add pairs of products in 16 bits, which -128 would overflow.
    if let Some(at) = bytes_of(slab.blocks).iter().position(|&code| code == 0x80) {
        let row = at / (slab.blocks.len() / slab.scales.len() * Block::LEN);
        return wrong("codes", row, "one is -128");
    }
    // No row is longer than one, and one of its codes is 127.
    let sound = |scale: &f32| *scale > 0.0 && *scale <= 1.0;
    if let Some(row) = slab.scales.iter().position(|scale| !sound(scale)) {
        return wrong("scales", row, "it is not above 0 and at most 1");
    }
    let sound = |error: &f32| error.is_finite() && *error >= 0.0;
    if let Some(row) = slab.errors.iter().position(|error| !sound(error)) {
        return wrong("errors", row, "it is not a number of 0 or more");
    }
    match slab.locations.windows(2).position(|two| two[0] >= two[1]) {
        Some(row) => wrong("locations", row + 1, "it is not above the one before"),
        None if slab.locations.last() == Some(&u64::MAX) => {
            wrong("locations", slab.rows() - 1, "nothing can stand there")
        }
        None => Ok(()),
    }
}

/// See that what fills up the last block of a row, and its last word of signs, are zeros: distances would count them.
fn check_past_dim(slab: &Slab, dim: usize) -> Result<(), SegmentError> {
    let wrong = |array, row| {
        let reason = "what is behind its last component is not zero";
        Err(SegmentError::Row { array, row, reason })
    };
    let used = dim % Block::LEN;
    if used == 0 {
        return Ok(());
    }
    let mut blocks = slab.blocks.chunks_exact(stride_of(dim));
    let filled = |row: &[Block]| {
        row.last()
            .is_some_and(|x| x.0[used..].iter().any(|&c| c != 0))
    };
    if let Some(row) = blocks.position(filled) {
        return wrong("codes", row);
    }
    let mut groups = slab.signs.unwrap_or_default().chunks_exact(words_of(dim));
    let filled = |group: &[Signs]| {
        group
            .last()
            .is_some_and(|x| x.0.iter().any(|w| w >> used != 0))
    };
    match groups.position(filled) {
        Some(group) => wrong("signs", group * Signs::ROWS),
        None => Ok(()),
    }
}

fn fast_of(bytes: &[u8], layout: Layout) -> Result<Option<Fast>, SegmentError> {
    let r1 = u32_at(bytes, 16);
    let recall = f32::from_bits(u32_at(bytes, 20));
    let field = |name, value| Err(SegmentError::Field { name, value });
    if layout.mode == SCANNED {
        return match (r1, recall.to_bits()) {
            (0, 0) => Ok(None),
            (0, bits) => field("recall without a mode", u64::from(bits)),
            _ => field("r1 without a mode", u64::from(r1)),
        };
    }
    if r1 == 0 {
        return field("r1", 0);
    }
    if !(0.0..=1.0).contains(&recall) {
        return field("recall's bits", u64::from(recall.to_bits()));
    }
    let mean = array_of::<f32>(bytes, layout, MEAN);
    if let Some(at) = mean.iter().position(|value| !value.is_finite()) {
        return Err(SegmentError::Row {
            array: "mean",
            row: at,
            reason: "it is not a finite number",
        });
    }
    let mean = (layout.mode == CENTRED).then(|| mean.to_vec());
    Ok(Some(Fast { mean, r1, recall }))
}

fn slab_of(layout: Layout, bytes: &[u8]) -> Slab<'_> {
    Slab {
        blocks: array_of(bytes, layout, CODES),
        scales: array_of(bytes, layout, SCALES),
        errors: array_of(bytes, layout, ERRORS),
        signs: (layout.mode != SCANNED).then(|| array_of(bytes, layout, SIGNS)),
        tags: array_of(bytes, layout, TAGS),
        locations: array_of(bytes, layout, LOCATIONS),
    }
}

fn array_of<T: Plain>(bytes: &[u8], layout: Layout, array: usize) -> &[T] {
    let bytes = &bytes[layout.arrays()[array].clone()];
    values_of(bytes).expect("the bytes begin at a multiple of 64, and so does every array of them")
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIM: usize = 70;

    /// Rows of any codes, whose locations fall.
    struct Rows {
        blocks: Vec<Block>,
        scales: Vec<f32>,
        errors: Vec<f32>,
        tags: Vec<u32>,
        locations: Vec<u64>,
    }

    impl Rows {
        fn new(count: usize) -> Self {
            let code = |at: usize, row: usize| (at * 31 + row * 17) as i8;
            let inside = |i: usize, at: usize| at % stride_of(DIM) * Block::LEN + i < DIM;
            let code = |i, at| {
                if inside(i, at) {
                    code(i, at).max(-127)
                } else {
                    0
                }
            };
            let block = |at| Block(std::array::from_fn(|i| code(i, at)));
            Self {
                blocks: (0..count * stride_of(DIM)).map(block).collect(),
                scales: (0..count).map(|row| (1 + row) as f32 / 64.0).collect(),
                errors: (0..count).map(|row| row as f32 / 8.0).collect(),
                tags: (0..count as u32).collect(),
                locations: (0..count as u64).map(|row| 1 << 40 | (900 - row)).collect(),
            }
        }

        fn slab(&self) -> Slab<'_> {
            Slab {
                blocks: &self.blocks,
                scales: &self.scales,
                errors: &self.errors,
                signs: None,
                tags: &self.tags,
                locations: &self.locations,
            }
        }

        fn pick(&self, rows: impl Iterator<Item = u32>) -> Pick<'_> {
            Pick {
                slab: self.slab(),
                rows: rows.collect(),
            }
        }
    }

    fn fast(mean: bool) -> Fast {
        Fast {
            mean: mean.then(|| (0..DIM).map(|at| at as f32 - 3.5).collect()),
            r1: 400,
            recall: 0.9975,
        }
    }

    fn signs(rows: usize) -> Vec<Signs> {
        let groups = rows.div_ceil(Signs::ROWS) * words_of(DIM);
        (0..groups as u64).map(|at| Signs([at; 8])).collect()
    }

    /// A segment of 21 rows in each mode.
    fn segments() -> [Vec<u8>; 3] {
        let rows = Rows::new(30);
        let builder = || Builder::new(DIM, &[rows.pick(0..20), rows.pick(29..30)]);
        let bytes = |built: Aligned| built.as_ref().to_vec();
        [
            bytes(builder().finish(None)),
            bytes(builder().finish(Some((&fast(false), &signs(21))))),
            bytes(builder().finish(Some((&fast(true), &signs(21))))),
        ]
    }

    fn opened(bytes: &[u8]) -> Result<Sealed, SegmentError> {
        Sealed::open(Box::new(Shifted(Aligned::copy(bytes), 0, bytes.len())))
    }

    /// As who can count a digest may change bytes.
    fn forged(bytes: &[u8], change: impl FnOnce(&mut [u8])) -> Result<Sealed, SegmentError> {
        let mut bytes = bytes.to_vec();
        change(&mut bytes);
        if bytes.len() >= HEADER {
            let digest = digest_of(&bytes);
            bytes[DIGEST].copy_from_slice(&digest);
        }
        opened(&bytes)
    }

    #[test]
    fn rows_stand_by_location_with_all_that_is_theirs() {
        let rows = Rows::new(30);
        for (bytes, mode) in segments().iter().zip(0..) {
            let sealed = opened(bytes).unwrap();
            assert_eq!((sealed.slab().rows(), sealed.dim()), (21, DIM));
            assert_eq!(sealed.fast().cloned(), (mode > 0).then(|| fast(mode == 2)));
            assert_eq!(sealed.digest()[..], bytes[DIGEST]);
            let (slab, stride) = (sealed.slab(), stride_of(DIM));
            assert_eq!(slab.signs.map(<[_]>::to_vec), (mode > 0).then(|| signs(21)));
            for (at, row) in [29].into_iter().chain((0..20).rev()).enumerate() {
                let (found, there) = (at * stride..(at + 1) * stride, row * stride);
                assert_eq!(slab.blocks[found], rows.blocks[there..there + stride]);
                assert_eq!(slab.scales[at], rows.scales[row]);
                assert_eq!(slab.errors[at], rows.errors[row]);
                assert_eq!(slab.tags[at], rows.tags[row]);
                assert_eq!(slab.locations[at], rows.locations[row]);
            }
        }
    }

    #[test]
    fn the_same_rows_from_other_parts_are_the_same_bytes() {
        let rows = Rows::new(30);
        let one = Builder::new(DIM, &[rows.pick(3..28)]).finish(None);
        let picks = [rows.pick(20..28), rows.pick(3..11), rows.pick(11..20)];
        assert_eq!(one, Builder::new(DIM, &picks).finish(None));
        let again = opened(one.as_ref()).unwrap();
        let slab = again.slab();
        let rows = (0..slab.rows() as u32).rev().collect();
        assert_eq!(one, Builder::new(DIM, &[Pick { slab, rows }]).finish(None));
    }

    #[test]
    fn no_rows_are_a_segment_too() {
        let empty = Builder::new(DIM, &[]).finish(None);
        assert_eq!(opened(empty.as_ref()).unwrap().slab().rows(), 0);
    }

    #[test]
    fn bytes_at_an_odd_address_are_copied() {
        for bytes in segments() {
            for shift in [1, 8, 32] {
                let moved = Aligned::copy(&[vec![0; shift], bytes.clone()].concat());
                let moved = Shifted(moved, shift, bytes.len());
                let sealed = Sealed::open(Box::new(moved)).unwrap();
                assert_eq!(sealed.slab().tags, opened(&bytes).unwrap().slab().tags);
            }
        }
    }

    struct Shifted(Aligned, usize, usize);

    impl AsRef<[u8]> for Shifted {
        fn as_ref(&self) -> &[u8] {
            &self.0.as_ref()[self.1..self.1 + self.2]
        }
    }

    #[test]
    fn every_bit_that_flips_is_refused() {
        for bytes in segments() {
            for at in 0..bytes.len() {
                let mut flipped = bytes.clone();
                flipped[at] ^= 1 << (at % 8);
                assert!(opened(&flipped).is_err(), "byte {at}");
            }
        }
    }

    #[test]
    fn another_length_is_refused() {
        for bytes in segments() {
            for length in (0..bytes.len()).chain([bytes.len() + 1, bytes.len() + 64]) {
                let mut cut = bytes.clone();
                cut.resize(length, 0);
                let refused = forged(&cut, |_| ());
                assert!(
                    matches!(refused, Err(SegmentError::Length { .. })),
                    "{length}"
                );
            }
        }
    }

    #[test]
    fn whatever_is_forged_is_refused_or_read_and_never_a_panic() {
        for bytes in segments() {
            for at in (0..HEADER).chain(bytes.len() - 512..bytes.len()) {
                for value in [0, 1, 2, 3, 0x7f, 0x80, 0xff] {
                    if let Ok(sealed) = forged(&bytes, |bytes| bytes[at] = value) {
                        assert_eq!(sealed.slab().locations.len(), sealed.slab().rows());
                    }
                }
            }
        }
    }

    #[test]
    fn each_field_is_held_to_what_it_may_be() {
        let [scanned, raw, centred] = segments();
        let refused = |bytes: &[u8], at: usize, to: &[u8]| {
            let change = |bytes: &mut [u8]| bytes[at..at + to.len()].copy_from_slice(to);
            forged(bytes, change).unwrap_err()
        };
        let field = |name, value| SegmentError::Field { name, value };
        assert_eq!(refused(&raw, 0, b"EGSX"), SegmentError::Magic);
        assert_eq!(refused(&raw, 4, &[2]), SegmentError::Version(2));
        assert_eq!(refused(&raw, 6, &[0, 0]), field("dim", 0));
        assert_eq!(refused(&raw, 6, &[1, 16]), field("dim", 4097));
        assert_eq!(refused(&raw, 12, &[3]), field("mode", 3));
        assert_eq!(refused(&raw, 13, &[0, 1]), field("bytes 13 to 15", 1 << 8));
        assert_eq!(refused(&raw, 31, &[1]), field("bytes 24 to 31", 1 << 56));
        assert_eq!(refused(&raw, 16, &[0; 4]), field("r1", 0));
        let no_share = f32::to_le_bytes(1.5);
        let bits = u64::from(1.5f32.to_bits());
        assert_eq!(refused(&raw, 20, &no_share), field("recall's bits", bits));
        assert_eq!(refused(&scanned, 16, &[7]), field("r1 without a mode", 7));
        assert_eq!(
            refused(&scanned, 20, &[1]),
            field("recall without a mode", 1)
        );
        let huge = refused(&raw, 8, &[0xff; 4]);
        assert!(matches!(huge, SegmentError::Length { .. }));
        assert_eq!(raw[HEADER - 1], refused_digest(&raw));
        let arrays = layout_of(&centred).unwrap().arrays();
        let row = |array, row, reason| SegmentError::Row { array, row, reason };
        let nan = f32::NAN.to_le_bytes();
        let at = |array: usize, row: usize, size: usize| arrays[array].start + row * size;
        let said = "it is not above 0 and at most 1";
        for bad in [f32::NAN, 0.0, -1.0, 1.001, f32::INFINITY] {
            let found = refused(&centred, at(SCALES, 4, 4), &bad.to_le_bytes());
            assert_eq!(found, row("scales", 4, said));
        }
        for bad in [f32::NAN, -1.0, f32::INFINITY] {
            let found = refused(&centred, at(ERRORS, 20, 4), &bad.to_le_bytes());
            assert_eq!(found, row("errors", 20, "it is not a number of 0 or more"));
        }
        assert_eq!(
            refused(&centred, at(CODES, 5, 128) + 3, &[0x80]),
            row("codes", 5, "one is -128")
        );
        assert_eq!(
            refused(&centred, at(LOCATIONS, 7, 8), &[0; 8]),
            row("locations", 7, "it is not above the one before")
        );
        assert_eq!(
            refused(&centred, at(MEAN, 9, 4), &nan),
            row("mean", 9, "it is not a finite number")
        );
        assert_eq!(
            refused(&centred, at(LOCATIONS, 20, 8), &[0xff; 8]),
            row("locations", 20, "nothing can stand there")
        );
        let said = "what is behind its last component is not zero";
        let behind = at(CODES, 5, 128) + DIM;
        assert_eq!(refused(&scanned, behind, &[1]), row("codes", 5, said));
        // The third group of rows, its second word of the fourth row: bit 6 is that of component 70.
        let behind = at(SIGNS, 2 * 2 + 1, 64) + 3 * 8;
        assert_eq!(refused(&raw, behind, &[1 << 6]), row("signs", 16, said));
        let padding = arrays[SCALES].end;
        assert_eq!(
            refused(&centred, padding, &[1]),
            field("padding", padding as u64)
        );
    }

    /// The last byte of the digest, of a segment that has another one.
    fn refused_digest(bytes: &[u8]) -> u8 {
        let mut other = bytes.to_vec();
        other[HEADER - 1] ^= 1;
        assert_eq!(opened(&other).unwrap_err(), SegmentError::Digest);
        bytes[HEADER - 1]
    }
}
