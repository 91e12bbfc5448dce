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
mod tests;
