//! exp and GELU out of the operations of `Lanes`: no branch, no table, no libm, so the same bits everywhere.
//!
//! The coefficients are our own: `scripts/derive_polynomials.py` derives them and states their errors.
use super::simd::Lanes;

/// 1.5 * 2^23: adding it to a number below 2^22 rounds that to an integer, which then stands in the low bits.
const ROUNDER: f32 = 12_582_912.0;

/// ln 2 in two parts: the first has 15 bits, so its product with an exponent is exact.
const LN2_HIGH: f32 = 0.693_145_75;
const LN2_LOW: f32 = 1.428_606_8e-6;

/// Below this exp would leave the normal numbers; it stays at about 1.6e-38.
const EXP_LEAST: f32 = -87.0;

/// exp(r) = 1 + r + r^2 * tail(r) for |r| <= ln(2) / 2; relative error 3.8e-9 before rounding. Highest power first.
const EXP_TAIL: [f32; 5] = [
    0.001_381_46,
    0.008_368_71,
    0.041_668_39,
    0.166_665_21,
    0.499_999_94,
];

/// erfc(a / sqrt 2) / 2 = exp(-tail(a)) for 0 <= a <= 8; error of a * exp(-tail(a)) 3.9e-9 before rounding.
const GELU_TAIL: [f32; 11] = [
    2.834_478_4e-8,
    -7.857_584e-7,
    9.312_705e-6,
    -6.091_886_5e-5,
    0.000_214_387_15,
    -3.007_484_2e-5,
    -0.004_791_473_5,
    0.036_340_64,
    0.318_308_68,
    0.797_884_64,
    std::f32::consts::LN_2,
];
const GELU_END: f32 = 8.0;

/// Horner's rule, one fused multiply-add a coefficient.
#[inline(always)]
fn polynomial<L: Lanes, const N: usize>(lanes: L, coefficients: [f32; N], x: L::V) -> L::V {
    let mut value = lanes.splat(coefficients[0]);
    for c in &coefficients[1..] {
        value = lanes.fma(value, x, lanes.splat(*c));
    }
    value
}

/// exp(x) for x <= 0, never subnormal: what is below -87 counts as -87.
#[inline(always)]
pub fn exp<L: Lanes>(lanes: L, x: L::V) -> L::V {
    let x = lanes.max(x, lanes.splat(EXP_LEAST));
    let shifted = lanes.fma(
        x,
        lanes.splat(std::f32::consts::LOG2_E),
        lanes.splat(ROUNDER),
    );
    let n = lanes.sub(shifted, lanes.splat(ROUNDER));
    let r = lanes.fma(n, lanes.splat(-LN2_HIGH), x);
    let r = lanes.fma(n, lanes.splat(-LN2_LOW), r);
    let one_r = lanes.add(lanes.splat(1.0), r);
    let value = lanes.fma(lanes.mul(r, r), polynomial(lanes, EXP_TAIL, r), one_r);
    lanes.mul(value, lanes.power_of_two(shifted))
}

/// x * (1 + erf(x / sqrt 2)) / 2, BERT's GELU ("Gaussian Error Linear Units", Hendrycks and Gimpel, 2016).
#[inline(always)]
pub fn gelu<L: Lanes>(lanes: L, x: L::V) -> L::V {
    let zero = lanes.splat(0.0);
    let magnitude = lanes.max(x, lanes.sub(zero, x));
    let a = lanes.sub(
        zero,
        lanes.max(lanes.sub(zero, magnitude), lanes.splat(-GELU_END)),
    );
    let tail = exp(lanes, lanes.sub(zero, polynomial(lanes, GELU_TAIL, a)));
    let share = lanes.select_less(x, zero, tail, lanes.sub(lanes.splat(1.0), tail));
    lanes.mul(x, share)
}
