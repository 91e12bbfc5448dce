//! What strangers' bytes meet first: a target for each native decoder (`docs/hostile.md` has the table).
//!
//! A target makes bytes of a `Recipe`: bytes of its own, or a golden input that is edited, its checksums put right again
//! or not. It then holds the decoder to what it promises: no panic, memory in proportion to the input, and, where it
//! accepts, that what came out is what the format says. `cargo test` runs each for about a second; the table's page has
//! the commands that run one for as long as you like, guided by coverage.
mod bodies;
mod bounds;
mod filters;
mod golden;
mod index;
mod json;
mod log;
mod messages;
mod paths;
mod recipe;
mod records;
mod tries;
mod weights;
