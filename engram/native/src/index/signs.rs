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
/// so few are ever looked at. To begin with, a sample of the rows says how near that will be; where it says too near,
/// the rows are gone over again without it. Either way the rows are the same.
#[derive(Debug)]
pub struct Nearest {
    keep: usize,
    limit: usize,
    /// How many of each distance are held, and how many no farther than the limit.
    counts: Vec<u32>,
    within: usize,
    held: Vec<(u32, u32)>,
    out: [Signs; GROUPS],
    near: [u8; GROUPS],
}

impl Nearest {
    /// Make one for rows of `dim` components.
    pub fn new(dim: usize, keep: usize) -> Self {
        Self {
            keep,
            limit: dim + 1,
            counts: vec![0; dim + 2],
            within: 0,
            held: Vec::with_capacity(4 * keep),
            out: [Signs::ZERO; GROUPS],
            near: [0; GROUPS],
        }
    }

    /// Give the nearest rows of a part, ascending, as far as its mask holds them. `slabs` lends them in order, each with
    /// its first row.
    pub fn of<'a>(
        mut self,
        kernel: Kernel,
        query: &[u64],
        mask: Mask<'_>,
        slabs: impl Fn(&mut dyn FnMut(usize, Slab<'a>)),
    ) -> Vec<u32> {
        let all = self.limit;
        self.limit = self.sampled(kernel, query, mask, &slabs);
        slabs(&mut |first, slab| self.look(kernel, query, first, &slab, mask));
        if self.held.len() < self.keep && self.limit < all {
            self.begin_anew(all);
            slabs(&mut |first, slab| self.look(kernel, query, first, &slab, mask));
        }
        self.finish()
    }

    fn begin_anew(&mut self, limit: usize) {
        self.held.clear();
        self.counts.fill(0);
        (self.within, self.limit) = (0, limit);
    }

    /// Say below what distance there are likely to be somewhat more rows than wanted: from one group of each chunk.
    fn sampled<'a>(
        &mut self,
        kernel: Kernel,
        query: &[u64],
        mask: Mask<'_>,
        slabs: &impl Fn(&mut dyn FnMut(usize, Slab<'a>)),
    ) -> usize {
        let (mut sampled, mut rows) = (0, 0);
        slabs(&mut |first, slab| {
            let signs = slab.signs.unwrap_or_default();
            for start in (0..slab.rows() / Signs::ROWS).step_by(GROUPS) {
                let group = &signs[start * query.len()..(start + 1) * query.len()];
                kernel.distances(query, group, 0, &mut self.out[..1], &mut self.near[..1]);
                let words = mask.words(first + start * Signs::ROWS, Signs::ROWS);
                let bits = words.map_or(0, |words| words[0]);
                for lane in (0..Signs::ROWS).filter(|lane| bits >> lane & 1 == 1) {
                    self.counts[self.out[0].0[lane] as usize] += 1;
                    sampled += 1;
                }
            }
            rows += slab.rows();
        });
        let wanted = (self.keep * sampled).div_ceil(mask.count(rows).max(1));
        // Three standard deviations more, or there would often be too few.
        let wanted = wanted + 3 * wanted.isqrt() + 3;
        let mut below = 0;
        let limit = self.counts.iter().position(|&count| {
            below += count as usize;
            below >= wanted
        });
        self.counts.fill(0);
        limit.map_or(self.limit, |farthest| farthest + 1)
    }

    fn look(
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
            let Some(words) = mask.words(first + start, rows - start) else {
                continue;
            };
            let groups = signs.len() / query.len();
            let (out, near) = (&mut self.out[..groups], &mut self.near[..groups]);
            kernel.distances(query, signs, self.limit as u64, out, near);
            self.near[groups..].fill(0);
            let near = self.near;
            for (word, (near, bits)) in near.as_chunks::<8>().0.iter().zip(words).enumerate() {
                let mut left = u64::from_le_bytes(*near) & bits;
                while left != 0 {
                    let row = word * 64 + left.trailing_zeros() as usize;
                    left &= left - 1;
                    let distance = self.out[row / Signs::ROWS].0[row % Signs::ROWS];
                    self.counts[distance as usize] += 1;
                    self.within += 1;
                    self.held
                        .push((distance as u32, (first + start + row) as u32));
                }
            }
            self.tighten();
        }
    }

    /// Lower the limit to the distance of the farthest that is wanted: a later row as far away comes behind it.
    fn tighten(&mut self) {
        while self.limit > 0 && self.within >= self.keep + self.counts[self.limit] as usize {
            self.within -= self.counts[self.limit] as usize;
            self.limit -= 1;
        }
    }

    /// Give those wanted of those held.
    fn finish(mut self) -> Vec<u32> {
        let mut room = self.keep;
        let mut farthest = 0;
        for &count in &self.counts {
            if count as usize > room {
                break;
            }
            room -= count as usize;
            farthest += 1;
        }
        // Of those that are farthest, the first ones fill what the nearer ones leave.
        self.held.retain(|&(distance, _)| {
            let first = distance as usize == farthest && room > 0;
            room -= usize::from(first);
            (distance as usize) < farthest || first
        });
        self.held.into_iter().map(|(_, row)| row).collect()
    }
}
