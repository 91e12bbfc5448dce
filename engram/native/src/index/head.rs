//! The head of a namespace: rows in memory, to which one writer appends.
//!
//! Appending never touches what a view sees: full chunks are shared, the last one is copied on write. A chunk takes
//! little more room than its rows, so that a namespace of a hundred rows takes little.
use std::sync::Arc;

use super::codes::Batch;
use super::fast;
use super::mask::CHUNK_ROWS;
use super::rows::{Fast, Signs, Slab};
use super::signs;
use super::simd::{Block, Kernel};

/// The head tests itself whenever it has grown by so many rows.
pub const TEST_ROWS: usize = 16_384;
/// Room is taken for so many rows at a time, while a chunk is small.
const ROOM_ROWS: usize = 16;

#[derive(Debug, Default)]
struct Chunk {
    blocks: Vec<Block>,
    scales: Vec<f32>,
    errors: Vec<f32>,
    tags: Vec<u32>,
    locations: Vec<u64>,
}

impl Chunk {
    fn rows(&self) -> usize {
        self.scales.len()
    }

    fn with_room(rows: usize, stride: usize) -> Self {
        Self {
            blocks: Vec::with_capacity(rows * stride),
            scales: Vec::with_capacity(rows),
            errors: Vec::with_capacity(rows),
            tags: Vec::with_capacity(rows),
            locations: Vec::with_capacity(rows),
        }
    }

    fn extend(&mut self, slab: &Slab<'_>, from: usize, to: usize) {
        let stride = slab.blocks.len() / slab.rows();
        self.blocks
            .extend_from_slice(&slab.blocks[from * stride..to * stride]);
        self.scales.extend_from_slice(&slab.scales[from..to]);
        self.errors.extend_from_slice(&slab.errors[from..to]);
        self.tags.extend_from_slice(&slab.tags[from..to]);
        self.locations.extend_from_slice(&slab.locations[from..to]);
    }

    fn slab<'a>(&'a self, signs: Option<&'a [Signs]>) -> Slab<'a> {
        Slab {
            blocks: &self.blocks,
            scales: &self.scales,
            errors: &self.errors,
            signs,
            tags: &self.tags,
            locations: &self.locations,
        }
    }
}

#[derive(Debug, Clone)]
struct Shared {
    rows: Arc<Chunk>,
    signs: Option<Arc<Vec<Signs>>>,
    /// The lowest and the highest location, so that the one that holds a location is soon found.
    locations: (u64, u64),
}

impl Shared {
    fn slab(&self) -> Slab<'_> {
        self.rows
            .slab(self.signs.as_ref().map(|signs| signs.as_slice()))
    }
}

/// Rows in memory. A clone shares them, and is what a view holds: it never changes.
#[derive(Debug, Clone, Default)]
pub struct Head {
    rows: usize,
    chunks: Vec<Shared>,
    fast: Option<Arc<Fast>>,
    tested_rows: usize,
}

impl Head {
    /// The number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Lend the rows, chunk by chunk: each slab with its first row.
    pub fn slabs(&self) -> impl Iterator<Item = (usize, Slab<'_>)> {
        let chunks = self.chunks.iter().enumerate();
        chunks.map(|(number, chunk)| (number * CHUNK_ROWS, chunk.slab()))
    }

    /// Lend the chunk that a row is in, and give its place there.
    pub fn find(&self, row: usize) -> (Slab<'_>, usize) {
        (self.chunks[row / CHUNK_ROWS].slab(), row % CHUNK_ROWS)
    }

    /// How it may be searched fast, and how many rows the signs must let pass: in proportion to those of the test.
    pub fn fast(&self) -> Option<(&Fast, usize)> {
        let fast = self.fast.as_deref()?;
        let grown = fast.r1 as usize * self.rows.max(self.tested_rows);
        Some((fast, grown.div_ceil(self.tested_rows)))
    }

    /// Give the rows whose body stands at a location, dead ones included.
    pub fn at(&self, location: u64) -> impl Iterator<Item = usize> {
        let near =
            self.chunks.iter().enumerate().filter(move |(_, chunk)| {
                (chunk.locations.0..=chunk.locations.1).contains(&location)
            });
        near.flat_map(move |(number, chunk)| {
            let rows = chunk.rows.locations.iter().enumerate();
            rows.filter(move |&(_, &at)| at == location)
                .map(move |(row, _)| number * CHUNK_ROWS + row)
        })
    }

    /// Append rows. `kernel` runs the self-test, where there are enough of them for another.
    pub fn append(&mut self, kernel: Kernel, batch: &Batch) {
        self.extend(kernel, batch.dim(), &batch.slab());
    }

    fn extend(&mut self, kernel: Kernel, dim: usize, slab: &Slab<'_>) {
        let mut from = 0;
        while from < slab.rows() {
            let next_test = (self.rows / TEST_ROWS + 1) * TEST_ROWS;
            let room = CHUNK_ROWS - self.rows % CHUNK_ROWS;
            let to = slab.rows().min(from + room.min(next_test - self.rows));
            self.append_to_last(slab, from, to);
            self.rows += to - from;
            from = to;
            if self.rows == next_test {
                self.test(kernel, dim);
            }
        }
    }

    /// Drop the first rows, which a sealed part holds now. What is left begins a chunk: if it did not, it is copied.
    pub fn drop_first(&mut self, kernel: Kernel, dim: usize, rows: usize) {
        if rows < self.rows && !rows.is_multiple_of(CHUNK_ROWS) {
            let mut left = Self::default();
            for (first, slab) in self.slabs() {
                let from = rows.saturating_sub(first).min(slab.rows());
                left.extend(kernel, dim, &slab.part(from, slab.rows()));
            }
            *self = left;
            return;
        }
        self.chunks.drain(..rows.div_ceil(CHUNK_ROWS));
        self.rows -= rows;
        self.chunks.shrink_to_fit();
        // What was shown was shown on rows that are gone.
        self.fast = None;
        self.tested_rows = 0;
        if self.rows < TEST_ROWS {
            self.chunks.iter_mut().for_each(|chunk| chunk.signs = None);
        } else {
            self.test(kernel, dim);
        }
    }

    fn append_to_last(&mut self, slab: &Slab<'_>, from: usize, to: usize) {
        if self.rows.is_multiple_of(CHUNK_ROWS) {
            self.chunks.push(Shared {
                rows: Arc::default(),
                signs: self.fast.as_ref().map(|_| Arc::default()),
                locations: (u64::MAX, 0),
            });
        }
        let stride = slab.blocks.len() / slab.rows();
        let last = self
            .chunks
            .last_mut()
            .expect("one was pushed when there was none");
        let chunk = with_room(&mut last.rows, to - from, stride);
        let before = chunk.rows();
        chunk.extend(slab, from, to);
        for &location in &slab.locations[from..to] {
            last.locations.0 = last.locations.0.min(location);
            last.locations.1 = last.locations.1.max(location);
        }
        if let (Some(shared), Some(fast)) = (&mut last.signs, &self.fast) {
            let mean = fast.mean.as_deref();
            signs::extend(Arc::make_mut(shared), before, &last.rows.slab(None), mean);
        }
    }

    fn test(&mut self, kernel: Kernel, dim: usize) {
        // Where all rows are in the head, because nobody seals them, it is tested whenever there are twice as many.
        if self.rows > 4 * TEST_ROWS && self.rows < 2 * self.tested_rows {
            return;
        }
        let kept: Vec<_> = self.slabs().map(|(_, slab)| (slab, None)).collect();
        self.fast = fast::earn(kernel, dim, &kept).map(Arc::new);
        self.tested_rows = self.rows;
        for chunk in &mut self.chunks {
            chunk.signs = self.fast.as_ref().map(|fast| {
                let mut signs = Vec::new();
                signs::extend(&mut signs, 0, &chunk.rows.slab(None), fast.mean.as_deref());
                Arc::new(signs)
            });
        }
    }
}

/// Give the chunk, its writer's alone, with room for some rows more: a copy where a view shares it or it is too small.
fn with_room(shared: &mut Arc<Chunk>, more: usize, stride: usize) -> &mut Chunk {
    let needed = shared.rows() + more;
    let fits = shared.scales.capacity() >= needed && shared.blocks.capacity() >= needed * stride;
    if !fits || Arc::get_mut(shared).is_none() {
        let grown = needed.max(shared.rows() + shared.rows() / 8);
        let room = grown.next_multiple_of(ROOM_ROWS).min(CHUNK_ROWS);
        let mut copy = Chunk::with_room(room, stride);
        if shared.rows() > 0 {
            copy.extend(&shared.slab(None), 0, shared.rows());
        }
        *shared = Arc::new(copy);
    }
    Arc::get_mut(shared).expect("it was copied where it was shared")
}
