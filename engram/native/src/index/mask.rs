//! Which rows of a part may be found: bit i % 64 of word i / 64 is row i.

/// Rows that are looked at together; a mask's chunk is four whole words.
pub const CHUNK_ROWS: usize = 256;
const WORDS: usize = CHUNK_ROWS / 64;

/// A part's mask: every row, or those whose bits are set. Rows past its end are not in it.
#[derive(Debug, Clone, Copy)]
pub struct Mask<'a>(pub Option<&'a [u64]>);

impl Mask<'_> {
    /// Count its rows, out of `rows`.
    pub fn count(&self, rows: usize) -> usize {
        match self.0 {
            None => rows,
            Some(words) => words.iter().map(|word| word.count_ones() as usize).sum(),
        }
    }

    /// List the rows of up to `rows` of the chunk that begins at row `first`, counted from there.
    pub fn select<'a>(&self, first: usize, rows: usize, into: &'a mut Vec<u32>) -> &'a [u32] {
        into.clear();
        if self.0.is_none() {
            return &EVERY_ROW[..rows.min(CHUNK_ROWS)];
        }
        for (word, mut left) in self.words(first, rows).into_iter().flatten().enumerate() {
            while left != 0 {
                into.push((word * 64) as u32 + left.trailing_zeros());
                left &= left - 1;
            }
        }
        into
    }

    /// Give the bits of up to `rows` rows of the chunk that begins at row `first`; None if none is set.
    pub fn words(&self, first: usize, rows: usize) -> Option<[u64; WORDS]> {
        let mut words = [u64::MAX; WORDS];
        if let Some(mask) = self.0 {
            let from = mask.len().min(first / 64);
            let mask = &mask[from..mask.len().min(from + WORDS)];
            words[..mask.len()].copy_from_slice(mask);
            words[mask.len()..].fill(0);
        }
        for (at, word) in words.iter_mut().enumerate() {
            let left = rows.saturating_sub(at * 64).min(64);
            *word &= if left == 64 {
                u64::MAX
            } else {
                (1 << left) - 1
            };
        }
        words.iter().any(|&word| word != 0).then_some(words)
    }
}

/// Every row of a chunk, for the scan without a mask.
const EVERY_ROW: [u32; CHUNK_ROWS] = {
    let mut rows = [0; CHUNK_ROWS];
    let mut row = 0;
    while row < CHUNK_ROWS {
        rows[row] = row as u32;
        row += 1;
    }
    rows
};

/// Say whether a bit is set; none is past the end.
pub fn is_set(words: &[u64], row: usize) -> bool {
    words
        .get(row / 64)
        .is_some_and(|word| word >> (row % 64) & 1 == 1)
}

/// Set a bit, growing the words as need be.
pub fn set(words: &mut Vec<u64>, row: usize) {
    if words.len() <= row / 64 {
        words.resize(row / 64 + 1, 0);
    }
    words[row / 64] |= 1 << (row % 64);
}
