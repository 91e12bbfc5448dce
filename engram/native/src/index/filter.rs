//! Which rows of a view a filter lets pass, by the columns of its parts (`attributes`).
use std::sync::PoisonError;

use roaring::RoaringBitmap;

use super::maps::Maps;
use super::rows::Stored;
use super::view::{Allowed, Part, View};
use crate::attributes::{Columns, Plan, Unanswered};

impl View {
    /// Give the rows that match. Reads what columns lack from the bodies; waits for whoever does so already.
    ///
    /// Not for a thread that others wait for while it waits, such as one that holds the GIL.
    pub fn allow(&self, plan: &Plan) -> Result<Allowed, Unanswered> {
        let maps = self.bodies.maps();
        let parts = self.parts.iter().map(|part| {
            let mut columns = part.columns.lock().unwrap_or_else(PoisonError::into_inner);
            part.allow(plan, &mut columns, &maps)
        });
        parts.collect::<Result<_, _>>().map(Allowed)
    }

    /// Read of rows that are to take the place of these parts the fields that the parts have columns of.
    pub fn read_ahead(&self, parts: &[u64], stored: &dyn Stored) {
        let (maps, columns) = (self.bodies.maps(), stored.columns());
        let mut columns = columns.lock().unwrap_or_else(PoisonError::into_inner);
        let locations = stored.slab().locations;
        let rows = u32::try_from(locations.len()).expect("no part has more rows");
        for part in self.parts.iter().filter(|part| parts.contains(&part.id)) {
            let known = part.columns.lock().unwrap_or_else(PoisonError::into_inner);
            let fields = known.known();
            drop(known); // filters of the part need not wait for what is read now
            columns.read_as(fields, rows, &mut |row, into| {
                maps.metadata(locations[row as usize], into)
            });
        }
    }

    /// Give the rows that match if that takes about `ns` nanoseconds at most: no body to be read, nobody to be waited for.
    pub fn allow_within(&self, plan: &Plan, ns: usize) -> Option<Result<Allowed, Unanswered>> {
        let maps = self.bodies.maps();
        let (mut left, mut found) = (ns, Vec::new());
        for part in &self.parts {
            let mut columns = part.columns.try_lock().ok()?;
            left = left.checked_sub(columns.expected_ns(plan, part.count())?)?;
            match part.allow(plan, &mut columns, &maps) {
                Ok(rows) => found.push(rows),
                Err(reason) => return Some(Err(reason)),
            }
        }
        Some(Ok(Allowed(found)))
    }
}

impl Allowed {
    /// Count the rows, the dead among them.
    pub fn count(&self) -> usize {
        let words = self.0.iter().flat_map(|(_, words)| words);
        words.map(|word| word.count_ones() as usize).sum()
    }
}

impl Part {
    fn count(&self) -> u32 {
        u32::try_from(self.rows.count()).expect("no part has more rows")
    }

    fn allow(
        &self,
        plan: &Plan,
        columns: &mut Columns,
        maps: &Maps,
    ) -> Result<(u64, Vec<u64>), Unanswered> {
        let found = columns.matching(plan, self.count(), &mut |row, into| {
            let (slab, at) = self.rows.find(row as usize);
            maps.metadata(slab.locations[at], into)
        })?;
        Ok((self.id, words_of(&found)))
    }
}

/// Rows of a container of a bitmap, and of one that is written as a list of them.
const CONTAINER_ROWS: usize = 1 << 16;
const LISTED_ROWS: usize = 4096;

/// Give a bitmap's bits. Read from the portable form of Roaring bitmaps, whose large containers are bits as they are:
/// to go through the rows one by one takes as long as a search of them.
fn words_of(rows: &RoaringBitmap) -> Vec<u64> {
    let mut words = vec![0; rows.max().map_or(0, |last| last as usize / 64 + 1)];
    let mut bytes = Vec::with_capacity(rows.serialized_size());
    rows.serialize_into(&mut bytes)
        .expect("a vector takes what is written to it");
    let mut from = &bytes[..];
    let cookie = u32::from_le_bytes(take(&mut from));
    let (count, runs) = if cookie & 0xffff == 12347 {
        let count = (cookie >> 16) as usize + 1;
        let (runs, rest) = from.split_at(count.div_ceil(8));
        from = rest;
        (count, runs)
    } else {
        (u32::from_le_bytes(take(&mut from)) as usize, &[][..])
    };
    let (heads, rest) = from.split_at(4 * count);
    let offsets = if runs.is_empty() || count >= 4 {
        4 * count
    } else {
        0
    };
    from = &rest[offsets..];
    for (at, head) in heads.as_chunks::<4>().0.iter().enumerate() {
        let first = usize::from(u16::from_le_bytes([head[0], head[1]])) * (CONTAINER_ROWS / 64);
        let len = usize::from(u16::from_le_bytes([head[2], head[3]])) + 1;
        let words = &mut words[first..];
        if runs
            .get(at / 8)
            .is_some_and(|byte| byte >> (at % 8) & 1 == 1)
        {
            for _ in 0..u16::from_le_bytes(take(&mut from)) {
                let start = u32::from(u16::from_le_bytes(take(&mut from)));
                let more = u32::from(u16::from_le_bytes(take(&mut from)));
                (start..=start + more).for_each(|row| words[row as usize / 64] |= 1 << (row % 64));
            }
        } else if len <= LISTED_ROWS {
            for _ in 0..len {
                let row = u16::from_le_bytes(take(&mut from));
                words[usize::from(row) / 64] |= 1 << (row % 64);
            }
        } else {
            let (bits, rest) = from.split_at(CONTAINER_ROWS / 8);
            from = rest;
            for (word, bits) in words.iter_mut().zip(bits.as_chunks().0) {
                *word = u64::from_le_bytes(*bits);
            }
        }
    }
    words
}

fn take<const N: usize>(from: &mut &[u8]) -> [u8; N] {
    let (taken, rest) = from.split_first_chunk().expect("whole, as it was written");
    *from = rest;
    *taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_are_those_of_the_bitmap_whatever_its_containers() {
        let every = |step: usize, end: u32| (0..end).step_by(step);
        let mut sets: Vec<RoaringBitmap> = vec![
            RoaringBitmap::new(),
            [0].into(),
            [63, 64, 65_535, 65_536, 1_000_000].into(),
            every(2, 200_000).collect(),
            every(1000, 2_000_000).collect(),
            every(3, 70_000).chain(600_000..600_010).collect(),
        ];
        for end in [1, 5_000, 65_536, 300_001] {
            let mut run = RoaringBitmap::new();
            run.insert_range(0..end);
            sets.push(&run - &sets[2]);
            sets.push(&run | &sets[4]);
            sets.push(run);
        }
        for set in sets {
            let mut optimized = set.clone();
            optimized.optimize();
            for set in [set, optimized] {
                let words = words_of(&set);
                let bits = (0..64 * words.len() as u32)
                    .filter(|row| words[*row as usize / 64] >> (row % 64) & 1 == 1);
                assert!(bits.eq(set.iter()), "{set:?}");
            }
        }
    }
}
