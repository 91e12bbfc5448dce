//! The columns of one part of rows, made as filters ask for them.
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;

use roaring::RoaringBitmap;

use super::column::{Column, Ordered};
use super::names::{MAX_DOTS, Names};
use super::plan::{Plan, Unanswered};

/// Fields whose columns are kept; those that were asked for last.
const FIELDS: usize = 256;

/// Puts a row's metadata, canonical JSON, into the buffer, which is empty; says whether there are any.
pub type Metadata<'a> = &'a mut dyn FnMut(u32, &mut Vec<u8>) -> bool;

impl fmt::Debug for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.fields.keys()).finish()
    }
}

/// The columns of rows that are numbered from 0 on. Rows are only added, and a row's metadata never changes.
#[derive(Default)]
pub struct Columns {
    fields: HashMap<Box<str>, Column>,
    clock: u64,
}

impl Columns {
    /// Give those of the first `rows` that match. A row whose metadata are not there, or damaged, counts as one without
    /// any.
    pub fn matching(
        &mut self,
        plan: &Plan,
        rows: u32,
        metadata: Metadata<'_>,
    ) -> Result<RoaringBitmap, Unanswered> {
        let mut named = HashSet::new();
        plan.each_leaf(&mut |leaf| _ = named.insert(&*leaf.field));
        self.read(&named, rows, metadata);
        self.forget(&named);
        let mut outcome = Ok(());
        plan.each_leaf(&mut |leaf| {
            if let (Ok(()), Some(column)) = (&outcome, self.fields.get_mut(&leaf.field)) {
                outcome = column.prepare(&leaf.test);
            }
        });
        outcome?;
        let found = plan.matching(rows, &|leaf| match self.fields.get(&leaf.field) {
            Some(column) => column.matching(&leaf.test),
            None => Cow::default(),
        });
        // Columns may have been read for whoever sees more rows.
        let mut found = found.into_owned();
        if found.max().is_some_and(|last| last >= rows) {
            found.remove_range(rows..);
        }
        Ok(found)
    }

    /// About how many nanoseconds `matching` takes; None where there are rows to be read.
    pub fn expected_ns(&self, plan: &Plan, rows: u32) -> Option<usize> {
        let mut ns = Some(0);
        plan.each_leaf(&mut |leaf| {
            let column = self.fields.get(&leaf.field);
            let column = column.filter(|column| column.rows >= rows);
            ns = ns
                .zip(column)
                .map(|(ns, column)| ns + column.expected_ns(&leaf.test));
        });
        ns
    }

    /// The fields that have columns, and what is in order of each.
    pub fn known(&self) -> Vec<(Box<str>, Ordered)> {
        let fields = self.fields.iter();
        fields
            .map(|(field, column)| (field.clone(), column.ordered()))
            .collect()
    }

    /// Read the columns of these fields as far as `rows`, and put in order what is.
    pub fn read_as(&mut self, fields: Vec<(Box<str>, Ordered)>, rows: u32, metadata: Metadata<'_>) {
        let named = fields.iter().map(|(field, _)| &**field).collect();
        self.read(&named, rows, metadata);
        for (field, ordered) in fields {
            if let Some(column) = self.fields.get_mut(&field) {
                column.put_in_order(ordered);
            }
        }
    }

    /// Read the columns of these fields as far as `rows`.
    pub fn read(&mut self, named: &HashSet<&str>, rows: u32, metadata: Metadata<'_>) {
        self.clock += 1;
        let mut behind: Vec<(&str, Column)> = Vec::new();
        for &field in named {
            let column = self.fields.entry(field.into()).or_default();
            column.used = self.clock;
            if column.rows < rows {
                behind.push((field, std::mem::take(column)));
            }
        }
        behind.sort_by_key(|(_, column)| column.rows);
        while let Some(first) = behind.first().map(|(_, column)| column.rows)
            && first < rows
        {
            let level = behind.partition_point(|(_, column)| column.rows == first);
            let to = behind.get(level).map_or(rows, |(_, column)| column.rows);
            read_on(&mut behind[..level], first..to, metadata);
        }
        for (field, mut column) in behind {
            column.used = self.clock;
            self.fields.insert(field.into(), column);
        }
    }

    fn forget(&mut self, named: &HashSet<&str>) {
        let keep = FIELDS.max(named.len());
        if self.fields.len() <= keep {
            return;
        }
        let mut used: Vec<u64> = self.fields.values().map(|column| column.used).collect();
        used.sort_unstable_by(|a, b| b.cmp(a));
        let last = used[keep - 1];
        self.fields.retain(|_, column| column.used >= last);
    }

    /// About how many bytes of memory this takes.
    pub fn bytes(&self) -> usize {
        let fields = self.fields.iter();
        fields
            .map(|(field, column)| field.len() + column.bytes())
            .sum()
    }
}

/// Read the values of several fields in one pass. The columns all stand at the first of the rows.
fn read_on(columns: &mut [(&str, Column)], rows: std::ops::Range<u32>, metadata: Metadata<'_>) {
    columns.sort_by_key(|(field, _)| *field);
    let names = Names::new(columns.iter().map(|(field, _)| *field).collect());
    let (mut document, mut found) = (Vec::new(), Vec::new());
    for row in rows.clone() {
        document.clear();
        if !metadata(row, &mut document) {
            continue;
        }
        let Ok(text) = names.find(&document, &mut found) else {
            continue;
        };
        for ((_, column), place) in columns.iter_mut().zip(&found) {
            if let Some((_, place)) = place {
                // One that cannot be read is as good as missing.
                _ = column.add(row, &text[place.clone()]);
            }
        }
    }
    for (_, column) in columns {
        // Not where a few rows came to many: growth in advance is what makes that cheap.
        if rows.start < rows.end / 2 {
            column.shrink();
        }
        column.rows = rows.end;
    }
}

/// Whether a field's name can be looked up.
pub fn is_name(field: &str) -> bool {
    field.bytes().filter(|byte| *byte == b'.').count() <= MAX_DOTS
}
