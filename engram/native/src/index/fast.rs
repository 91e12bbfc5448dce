//! The fast mode, and the self-test that a part earns it by.
//!
//! A row's signs, those of its codes' values less a mean, tell by the number of bits that differ from the query's which
//! rows are worth a look at their codes: the best `r1` of the part. That is a good guess on centred data and a bad one on
//! other data, so no part uses it that has not shown on its own rows what it finds.

/// How a part searches fast. None earned: it is scanned by its codes.
#[derive(Debug, Clone, PartialEq)]
pub struct Fast {
    /// What is taken off before the sign is; None takes the signs as they are. One f32 a component.
    pub mean: Option<Vec<f32>>,
    /// How many rows the signs let pass, for each ten that are asked for.
    pub r1: u32,
    /// The share of the ten nearest that they let pass in the self-test.
    pub recall: f32,
}
