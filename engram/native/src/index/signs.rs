//! The signs of rows: how they are made of codes, and which rows have the fewest that differ from a query's.
use super::mask::{CHUNK_ROWS, Mask};
use super::rows::{Signs, Slab, words_of};
use super::simd::{Block, Kernel};

/// Groups whose distances are counted before the limit is looked at again: those of one chunk of a mask.
pub const GROUPS: usize = CHUNK_ROWS / Signs::ROWS;

/// Give the signs of a row's values less the mean, word by word. The arithmetic is f32, each operation rounded once.
pub fn signs_of<'a>(
    blocks: &'a [Block],
    scale: f32,
    mean: Option<&'a [f32]>,
) -> impl Iterator<Item = u64> + 'a {
    blocks.iter().enumerate().map(move |(word, block)| {
        let Some(mean) = mean else {
            return packed(block.0.map(|code| code < 0));
        };
        let mut below = [false; Block::LEN];
        let means = &mean[word * Block::LEN..mean.len().min((word + 1) * Block::LEN)];
        for ((below, &code), &mean) in below.iter_mut().zip(&block.0).zip(means) {
            *below = scale * f32::from(code) < mean;
        }
        packed(below)
    })
}

/// Give the signs of a direction's components less the mean.
pub fn signs_of_direction(unit: &[f32], mean: Option<&[f32]>) -> Vec<u64> {
    let mut words = vec![0; words_of(unit.len())];
    for (at, &x) in unit.iter().enumerate() {
        let below = x < mean.map_or(0.0, |mean| mean[at]);
        words[at / 64] |= u64::from(below) << (at % 64);
    }
    words
}

fn packed(bits: [bool; 64]) -> u64 {
    let mut word = 0;
    for (byte, bits) in bits.as_chunks::<8>().0.iter().enumerate() {
        // Eight bools are eight bytes of 0 or 1; the product gathers them in its highest byte, the first one lowest.
        let bytes = u64::from_le_bytes(bits.map(u8::from));
        let gathered = bytes.wrapping_mul(0x0102_0408_1020_4080) >> 56;
        word |= gathered << (8 * byte);
    }
    word
}

/// Append the signs of the rows of `slab` from row `from` on, which is where those that are there end.
pub fn extend(signs: &mut Vec<Signs>, from: usize, slab: &Slab<'_>, mean: Option<&[f32]>) {
    let rows = slab.rows();
    let stride = slab.blocks.len() / rows.max(1);
    signs.resize(rows.div_ceil(Signs::ROWS) * stride, Signs::ZERO);
    for row in from..rows {
        let blocks = &slab.blocks[row * stride..(row + 1) * stride];
        let group = &mut signs[row / Signs::ROWS * stride..];
        for (words, word) in group
            .iter_mut()
            .zip(signs_of(blocks, slab.scales[row], mean))
        {
            words.0[row % Signs::ROWS] = word;
        }
    }
}

/// The `keep` rows of a part with the smallest distances, the first ones where distances are equal.
///
/// Rows come in order. Once as many as wanted are held, only a row nearer than the farthest of them can be among them,
/// so few are ever looked at, and no more than a few times `keep` are held.
#[derive(Debug)]
pub struct Nearest {
    keep: usize,
    limit: u64,
    held: Vec<(u32, u32)>,
    counts: Vec<u32>,
    out: [Signs; GROUPS],
    near: [u8; GROUPS],
}

impl Nearest {
    /// Make one for rows of `dim` components.
    pub fn new(dim: usize, keep: usize) -> Self {
        Self {
            keep,
            limit: u64::MAX,
            held: Vec::with_capacity(2 * keep + 2 * CHUNK_ROWS),
            counts: vec![0; dim + 1],
            out: [Signs::ZERO; GROUPS],
            near: [0; GROUPS],
        }
    }

    /// Look at the rows of a slab, of which row 0 is row `first` of its part, as far as the part's mask holds them.
    pub fn look(
        &mut self,
        kernel: Kernel,
        query: &[u64],
        first: usize,
        slab: &Slab<'_>,
        mask: Mask<'_>,
    ) {
        let signs = slab.signs.unwrap_or_default();
        let rows = slab.rows();
        for (number, signs) in signs.chunks(GROUPS * query.len()).enumerate() {
            let start = number * CHUNK_ROWS;
            let Some(bits) = mask.bytes(first + start, rows - start) else {
                continue;
            };
            let groups = signs.len() / query.len();
            let (out, near) = (&mut self.out[..groups], &mut self.near[..groups]);
            kernel.distances(query, signs, self.limit, out, near);
            for (group, (&near, &bits)) in self.near[..groups].iter().zip(&bits).enumerate() {
                let mut left = near & bits;
                while left != 0 {
                    let lane = left.trailing_zeros() as usize;
                    left &= left - 1;
                    let row = first + start + group * Signs::ROWS + lane;
                    self.held.push((self.out[group].0[lane] as u32, row as u32));
                }
            }
            if self.held.len() >= 2 * self.keep + CHUNK_ROWS {
                self.prune();
            }
        }
    }

    /// Give the rows, ascending.
    pub fn finish(mut self) -> Vec<u32> {
        self.prune();
        self.held.into_iter().map(|(_, row)| row).collect()
    }

    fn prune(&mut self) {
        if self.held.len() < self.keep || self.keep == 0 {
            return;
        }
        self.counts.fill(0);
        for &(distance, _) in &self.held {
            self.counts[distance as usize] += 1;
        }
        let (mut limit, mut nearer) = (0, 0);
        while nearer + self.counts[limit] as usize <= self.keep {
            nearer += self.counts[limit] as usize;
            limit += 1;
            if limit == self.counts.len() {
                break;
            }
        }
        // Of those at the limit itself, the first ones fill what the nearer ones leave.
        let mut room = self.keep - nearer;
        self.held.retain(|&(distance, _)| {
            let at = distance as usize;
            let first = at == limit && room > 0;
            room -= usize::from(first);
            at < limit || first
        });
        // A later row at the distance of the farthest comes behind it.
        let farthest = self.held.iter().map(|&(distance, _)| distance).max();
        self.limit = farthest.map_or(u64::MAX, u64::from);
    }
}
