//! Filters as bitmaps: which rows match a condition on their metadata (`docs/filters.md`), found before the search.
//!
//! Theory of operation. For each field that filters have named, a [`Columns`] holds a column: every distinct value of
//! the field, and the rows that have it. A column is read from the rows' metadata when a filter first asks for it, all
//! the fields that a filter lacks in one pass, and read on where rows have come since: a row's metadata never changes.
//! A [`Plan`], the filter's tree, is then a few look-ups and set operations; no row is looked at again.
//!
//! What a field's name stands for in a record, and what each operator matches, is judged in the tests by the filters of
//! `engram.filter`, which look at one record at a time and share no code with this.
mod column;
mod columns;
mod dictionary;
mod instant;
mod names;
mod plan;
mod postings;
#[cfg(test)]
mod tests;
mod value;

pub use columns::{Columns, Metadata, is_name};
pub use instant::{instant, is_day};
pub use plan::{Ask, Edge, Leaf, Plan, Scalar, Test, Unanswered, Words};
