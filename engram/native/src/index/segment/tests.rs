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
