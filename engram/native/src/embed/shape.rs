//! The model's shape: all-MiniLM-L6-v2, as its configuration has it.

pub const HIDDEN: usize = 384;
pub const HEADS: usize = 12;
pub const HEAD: usize = HIDDEN / HEADS;
