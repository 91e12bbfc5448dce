//! Which rows of a view a filter lets pass, by the columns of its parts (`attributes`).
use std::sync::PoisonError;

use roaring::RoaringBitmap;

use super::maps::Maps;
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

fn words_of(rows: &RoaringBitmap) -> Vec<u64> {
    let mut words = vec![0; rows.max().map_or(0, |last| last as usize / 64 + 1)];
    for row in rows {
        words[row as usize / 64] |= 1 << (row % 64);
    }
    words
}
