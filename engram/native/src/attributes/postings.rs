//! Which rows have a value: the row itself while it is one, links from the last to the first while they are few, then a
//! bitmap. A bitmap of few rows takes a hundred bytes, and a field may have as many values as there are rows.
use std::borrow::Cow;

use roaring::{MultiOps, RoaringBitmap};

/// The most rows that are kept as links, of 8 bytes each.
const LINKED: u32 = 255;
const NONE: u32 = u32::MAX;

/// The rows of one value: how many, and the row, the last link or the bitmap; past `LINKED` the number stands still.
#[derive(Clone, Copy)]
struct Posting {
    rows: u32,
    at: u32,
}

struct Link {
    row: u32,
    before: u32,
}

/// The rows of values that are numbered from 0 on.
pub struct Postings {
    of: Vec<Posting>,
    links: Vec<Link>,
    free: u32,
    bitmaps: Vec<RoaringBitmap>,
}

impl Default for Postings {
    fn default() -> Self {
        Self {
            of: Vec::new(),
            links: Vec::new(),
            free: NONE,
            bitmaps: Vec::new(),
        }
    }
}

impl Postings {
    /// Note that a row, none before the last one, has a value, or the next new one.
    pub fn add(&mut self, value: u32, row: u32) {
        let Some(&Posting { rows, at }) = self.of.get(value as usize) else {
            return self.of.push(Posting { rows: 1, at: row });
        };
        if rows > LINKED {
            append(&mut self.bitmaps[at as usize], row);
            return;
        }
        let latest = if rows == 1 {
            at
        } else {
            self.links[at as usize].row
        };
        if latest == row {
            return; // a list that holds a value twice
        }
        let posting = if rows == LINKED {
            Posting {
                rows: rows + 1,
                at: self.promote(at, row),
            }
        } else {
            let before = if rows == 1 { self.link(at, NONE) } else { at };
            Posting {
                rows: rows + 1,
                at: self.link(row, before),
            }
        };
        self.of[value as usize] = posting;
    }

    fn link(&mut self, row: u32, before: u32) -> u32 {
        let link = Link { row, before };
        if self.free == NONE {
            self.links.push(link);
            return self.links.len() as u32 - 1;
        }
        let at = self.free;
        self.free = std::mem::replace(&mut self.links[at as usize], link).before;
        at
    }

    /// Make a bitmap of the links that end at `last`, which are free then, and of `row`.
    fn promote(&mut self, last: u32, row: u32) -> u32 {
        let mut bitmap: RoaringBitmap = self.linked(last).collect();
        append(&mut bitmap, row);
        let mut first = last;
        while self.links[first as usize].before != NONE {
            first = self.links[first as usize].before;
        }
        self.links[first as usize].before = self.free;
        self.free = last;
        self.bitmaps.push(bitmap);
        self.bitmaps.len() as u32 - 1
    }

    /// The rows of the links that end at `last`, descending.
    fn linked(&self, last: u32) -> impl Iterator<Item = u32> {
        let at = |link: u32| self.links.get(link as usize);
        std::iter::successors(at(last), move |link| at(link.before)).map(|link| link.row)
    }

    /// Add the rows of a value to a union.
    pub fn collect<'a>(&'a self, value: u32, into: &mut Union<'a>) {
        match self.of[value as usize] {
            Posting { rows: 1, at } => into.rows.push(at),
            Posting { rows, at } if rows <= LINKED => into.rows.extend(self.linked(at)),
            Posting { at, .. } => into.bitmaps.push(&self.bitmaps[at as usize]),
        }
    }

    /// Give back what growth has taken in advance.
    pub fn shrink(&mut self) {
        self.of.shrink_to_fit();
        self.links.shrink_to_fit();
        self.bitmaps.shrink_to_fit();
    }

    /// About how many bytes of memory this takes.
    pub fn bytes(&self) -> usize {
        let bitmaps: usize = self.bitmaps.iter().map(bitmap_bytes).sum();
        self.of.capacity() * size_of::<Posting>()
            + self.links.capacity() * size_of::<Link>()
            + bitmaps
    }
}

/// Add a row, none before the last one, which it may be.
pub fn append(bitmap: &mut RoaringBitmap, row: u32) {
    _ = bitmap.try_push(row);
}

/// About how many bytes of memory a bitmap takes.
pub fn bitmap_bytes(bitmap: &RoaringBitmap) -> usize {
    size_of::<RoaringBitmap>() + bitmap.serialized_size() + 40 * (bitmap.len().min(1) as usize)
}

/// Rows of several values, together.
#[derive(Default)]
pub struct Union<'a> {
    rows: Vec<u32>,
    bitmaps: Vec<&'a RoaringBitmap>,
}

impl<'a> Union<'a> {
    /// Add a set of rows.
    pub fn add(&mut self, bitmap: &'a RoaringBitmap) {
        if !bitmap.is_empty() {
            self.bitmaps.push(bitmap);
        }
    }

    /// Give all rows; borrowed where they are of one bitmap.
    pub fn finish(self) -> Cow<'a, RoaringBitmap> {
        match (self.rows.is_empty(), &self.bitmaps[..]) {
            (true, [one]) => Cow::Borrowed(one),
            (true, many) => Cow::Owned(many.iter().copied().union()),
            (false, many) => {
                let rows = bitmap_of(self.rows);
                let all = [&[&rows], many].concat();
                Cow::Owned(all.into_iter().union())
            }
        }
    }
}

/// Bits a row up to which it is quicker to set them one by one than to sort.
const SPARSE: usize = 512;

fn bitmap_of(mut rows: Vec<u32>) -> RoaringBitmap {
    let end = rows.iter().max().map_or(0, |&row| row as usize + 1);
    if rows.len() < end / SPARSE {
        rows.sort_unstable();
        rows.dedup();
        return RoaringBitmap::from_sorted_iter(rows).expect("sorted, each once");
    }
    let mut bits = vec![0u8; end.div_ceil(8)];
    for row in rows {
        bits[row as usize / 8] |= 1 << (row % 8);
    }
    RoaringBitmap::from_lsb0_bytes(0, &bits)
}
