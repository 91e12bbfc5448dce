//! Self-attention of one text: for each head softmax(q k^T / sqrt(32)) v, over all of the text's tokens, no mask.
use super::gemm::{Panels, Place, Product};
use super::math::exp;
use super::shape::{HEAD, HEADS, HIDDEN};
use super::simd::{LANES, Lanes, Task};

/// 1 / sqrt(32), the nearest f32.
const SCALE: f32 = 0.176_776_7;

/// Memory that attention reuses from text to text.
#[derive(Debug)]
pub struct Scratch {
    keys: Panels,
    values: Panels,
    scores: Vec<f32>,
    sums: Vec<f32>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            keys: Panels::zeros(HEAD, 0),
            values: Panels::zeros(1, 0),
            scores: Vec::new(),
            sums: Vec::new(),
        }
    }
}

/// Read `qkv` (a row a token: q, k, v of all heads side by side), write `context` (a row a token), of one text each.
pub fn attend<L: Lanes>(lanes: L, qkv: &[f32], context: &mut [f32], scratch: &mut Scratch) {
    let tokens = context.len() / HIDDEN;
    let width = tokens.next_multiple_of(LANES);
    scratch.scores.resize(tokens * width, 0.0);
    scratch.sums.resize(tokens, 0.0);
    for head in 0..HEADS {
        pack_head(qkv, tokens, head, scratch);
        let Scratch {
            keys,
            values,
            scores,
            sums,
        } = scratch;
        let context_at = Place {
            start: head * HEAD,
            stride: HIDDEN,
        };
        lanes.vectorize(Product {
            rows: tokens,
            left: qkv,
            left_at: Place {
                start: head * HEAD,
                stride: 3 * HIDDEN,
            },
            panels: keys,
            bias: None,
            out: scores,
            out_at: Place::whole(width),
        });
        lanes.vectorize(Exponentials {
            tokens,
            scores,
            sums,
        });
        lanes.vectorize(Product {
            rows: tokens,
            left: scores,
            left_at: Place::whole(width),
            panels: values,
            bias: None,
            out: context,
            out_at: context_at,
        });
        for (row, sum) in context.chunks_exact_mut(HIDDEN).zip(sums) {
            row[context_at.start..][..HEAD]
                .iter_mut()
                .for_each(|x| *x /= *sum);
        }
    }
}

/// Lay the head's keys out with tokens as columns and its values with dimensions as columns.
///
/// Columns beyond the last token keep what was there; their scores are overwritten before use.
fn pack_head(qkv: &[f32], tokens: usize, head: usize, scratch: &mut Scratch) {
    let Scratch { keys, values, .. } = scratch;
    keys.reshape(HEAD, tokens);
    values.reshape(tokens, HEAD);
    for (token, row) in qkv.chunks_exact(3 * HIDDEN).enumerate() {
        let key = &row[HIDDEN + head * HEAD..][..HEAD];
        for (sixteen, x) in keys.panel_mut(token / LANES).iter_mut().zip(key) {
            sixteen[token % LANES] = *x;
        }
        let value = &row[2 * HIDDEN + head * HEAD..][..HEAD];
        for (panel, sixteen) in value.as_chunks().0.iter().enumerate() {
            values.panel_mut(panel)[token] = *sixteen;
        }
    }
}

/// Each row of scores: exp(scale * score - the largest), zeros in the padding; and the row's sum.
///
/// The division by the sum comes after the product with the values, where it is 32 divisions a row and not `tokens`.
struct Exponentials<'a> {
    tokens: usize,
    scores: &'a mut [f32],
    sums: &'a mut [f32],
}

impl Task for Exponentials<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let width = self.tokens.next_multiple_of(LANES);
        let scale = lanes.splat(SCALE);
        for (row, sum) in self.scores.chunks_exact_mut(width).zip(self.sums) {
            let first = row[0];
            row[self.tokens..].fill(first);
            let sixteens = row.as_chunks_mut().0;
            let mut largest = lanes.load(&sixteens[0]);
            for sixteen in &*sixteens {
                largest = lanes.max(largest, lanes.load(sixteen));
            }
            let largest = lanes.mul(lanes.splat(lanes.largest(largest)), scale);
            for sixteen in &mut *sixteens {
                let x = lanes.sub(lanes.mul(lanes.load(sixteen), scale), largest);
                lanes.store(sixteen, exp(lanes, x));
            }
            row[self.tokens..].fill(0.0);
            let mut total = lanes.splat(0.0);
            for sixteen in row.as_chunks().0 {
                total = lanes.add(total, lanes.load(sixteen));
            }
            *sum = lanes.sum(total);
        }
    }
}
