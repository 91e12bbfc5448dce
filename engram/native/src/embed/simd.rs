//! Sixteen f32 lanes, on whatever the CPU has, with the same bits from each.
//!
//! Every operation here is one IEEE 754 operation a lane, rounded to nearest even: add, subtract, multiply, divide,
//! fused multiply-add. So a program over `Lanes` gives the same bits on AVX-512 (one register), AVX2 (two), NEON (four)
//! and on a CPU without fused multiply-add (`fused` below computes it exactly).
//! A value of a `Lanes` type exists only where its CPU features were found, which is what makes its methods sound.

#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// Lanes of every vector: fixed, because the order of a reduction depends on it.
pub const LANES: usize = 16;

/// Sixteen numbers in memory.
pub type Sixteen = [f32; LANES];

/// A piece of work written once over any `Lanes`; `run` must be `#[inline(always)]` to be compiled for each CPU.
pub trait Task {
    fn run<L: Lanes>(self, lanes: L);
}

/// The operations of one kernel on vectors of sixteen lanes.
pub trait Lanes: Copy + Send + Sync {
    type V: Copy;

    /// Rows and sixteen-column panels that one block of a matrix product keeps in registers.
    const ROWS: usize;
    const PANELS: usize;

    /// Run `task` with this kernel's CPU features switched on in the compiler.
    fn vectorize(self, task: impl Task);

    fn splat(self, value: f32) -> Self::V;
    fn load(self, from: &Sixteen) -> Self::V;
    fn store(self, to: &mut Sixteen, v: Self::V);
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, rounded once.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger; of equal ones either (no caller tells +0 from -0), and no input is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `then` in lanes where `a < b`, `otherwise` in the others.
    fn select_less(self, a: Self::V, b: Self::V, then: Self::V, otherwise: Self::V) -> Self::V;
    /// 2^n, where `shifted` is 1.5 * 2^23 + n and -126 <= n <= 127: n stands in its low bits already.
    fn power_of_two(self, shifted: Self::V) -> Self::V;

    /// The sum by a fixed tree: lane i + lane (i + 8), then + 4, + 2, + 1.
    #[inline(always)]
    fn sum(self, v: Self::V) -> f32 {
        self.reduce(v, |a, b| a + b)
    }

    /// The largest lane.
    #[inline(always)]
    fn largest(self, v: Self::V) -> f32 {
        self.reduce(v, |a, b| if a > b { a } else { b })
    }

    #[inline(always)]
    fn reduce(self, v: Self::V, join: impl Fn(f32, f32) -> f32) -> f32 {
        let mut lanes = [0.0; LANES];
        self.store(&mut lanes, v);
        for width in [8, 4, 2, 1] {
            for i in 0..width {
                lanes[i] = join(lanes[i], lanes[i + width]);
            }
        }
        lanes[0]
    }
}

/// `a * b + c` rounded once, without the hardware instruction and without the platform's libm.
///
/// The product of two f32 is exact in f64. Their sum with `c` is rounded to odd (Boldo and Melquiond, "Emulation of a
/// FMA and correctly rounded sums", 2008), after which rounding to f32 cannot go wrong twice. Finite input only.
#[inline(always)]
pub fn fused(a: f32, b: f32, c: f32) -> f32 {
    let product = f64::from(a) * f64::from(b);
    let addend = f64::from(c);
    let sum = product + addend;
    let shifted = sum - product;
    let lost = (product - (sum - shifted)) + (addend - shifted);
    let bits = sum.to_bits();
    let towards_lost = if (lost > 0.0) == (sum > 0.0) {
        1
    } else {
        u64::MAX
    };
    let step = if lost != 0.0 && bits & 1 == 0 {
        towards_lost
    } else {
        0
    };
    f64::from_bits(bits.wrapping_add(step)) as f32
}

/// Arrays, for every CPU.
#[derive(Clone, Copy)]
pub struct Arrays;

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> Sixteen {
    std::array::from_fn(f)
}

impl Lanes for Arrays {
    type V = Sixteen;
    const ROWS: usize = 4;
    const PANELS: usize = 1;

    fn vectorize(self, task: impl Task) {
        task.run(self);
    }
    #[inline(always)]
    fn splat(self, value: f32) -> Sixteen {
        [value; LANES]
    }
    #[inline(always)]
    fn load(self, from: &Sixteen) -> Sixteen {
        *from
    }
    #[inline(always)]
    fn store(self, to: &mut Sixteen, v: Sixteen) {
        *to = v;
    }
    #[inline(always)]
    fn add(self, a: Sixteen, b: Sixteen) -> Sixteen {
        each(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Sixteen, b: Sixteen) -> Sixteen {
        each(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Sixteen, b: Sixteen) -> Sixteen {
        each(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: Sixteen, b: Sixteen) -> Sixteen {
        each(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn fma(self, a: Sixteen, b: Sixteen, c: Sixteen) -> Sixteen {
        each(|i| fused(a[i], b[i], c[i]))
    }
    #[inline(always)]
    fn max(self, a: Sixteen, b: Sixteen) -> Sixteen {
        each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn select_less(self, a: Sixteen, b: Sixteen, then: Sixteen, otherwise: Sixteen) -> Sixteen {
        each(|i| if a[i] < b[i] { then[i] } else { otherwise[i] })
    }
    #[inline(always)]
    fn power_of_two(self, shifted: Sixteen) -> Sixteen {
        each(|i| f32::from_bits((shifted[i].to_bits() << 23).wrapping_add(1.0_f32.to_bits())))
    }
}

/// Four 128-bit registers.
#[cfg(target_arch = "aarch64")]
#[derive(Clone, Copy)]
pub struct Neon;

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn quads(f: impl Fn(usize) -> float32x4_t) -> [float32x4_t; 4] {
    std::array::from_fn(f)
}

// SAFETY, of every block below: the build target itself has NEON, and loads and stores take sixteen floats.
#[cfg(target_arch = "aarch64")]
impl Lanes for Neon {
    type V = [float32x4_t; 4];
    const ROWS: usize = 6;
    const PANELS: usize = 1;

    fn vectorize(self, task: impl Task) {
        task.run(self);
    }
    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        unsafe { [vdupq_n_f32(value); 4] }
    }
    #[inline(always)]
    fn load(self, from: &Sixteen) -> Self::V {
        let from = from.as_ptr();
        quads(|i| unsafe { vld1q_f32(from.add(4 * i)) })
    }
    #[inline(always)]
    fn store(self, to: &mut Sixteen, v: Self::V) {
        let to = to.as_mut_ptr();
        for (i, quad) in v.into_iter().enumerate() {
            unsafe { vst1q_f32(to.add(4 * i), quad) };
        }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        quads(|i| unsafe { vaddq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        quads(|i| unsafe { vsubq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        quads(|i| unsafe { vmulq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        quads(|i| unsafe { vdivq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        quads(|i| unsafe { vfmaq_f32(c[i], a[i], b[i]) })
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        quads(|i| unsafe { vmaxq_f32(a[i], b[i]) })
    }
    #[inline(always)]
    fn select_less(self, a: Self::V, b: Self::V, then: Self::V, otherwise: Self::V) -> Self::V {
        quads(|i| unsafe { vbslq_f32(vcltq_f32(a[i], b[i]), then[i], otherwise[i]) })
    }
    #[inline(always)]
    fn power_of_two(self, shifted: Self::V) -> Self::V {
        quads(|i| unsafe {
            let one = vreinterpretq_s32_f32(vdupq_n_f32(1.0));
            let exponent = vshlq_n_s32::<23>(vreinterpretq_s32_f32(shifted[i]));
            vreinterpretq_f32_s32(vaddq_s32(exponent, one))
        })
    }
}

/// Two 256-bit registers.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub struct Avx2(());

/// One 512-bit register.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub struct Avx512(());

#[cfg(target_arch = "x86_64")]
impl Avx2 {
    pub fn detect() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }
}

#[cfg(target_arch = "x86_64")]
impl Avx512 {
    pub fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx512f").then_some(Self(()))
    }
}

// SAFETY, of every block below: the features were detected when `self` was made, and loads and stores take sixteen floats.
#[cfg(target_arch = "x86_64")]
impl Lanes for Avx2 {
    type V = [__m256; 2];
    const ROWS: usize = 6;
    const PANELS: usize = 1;

    fn vectorize(self, task: impl Task) {
        #[target_feature(enable = "avx2,fma")]
        fn run(lanes: Avx2, task: impl Task) {
            task.run(lanes);
        }
        unsafe { run(self, task) }
    }
    #[inline(always)]
    fn splat(self, value: f32) -> Self::V {
        unsafe { [_mm256_set1_ps(value); 2] }
    }
    #[inline(always)]
    fn load(self, from: &Sixteen) -> Self::V {
        let from = from.as_ptr();
        unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(8))] }
    }
    #[inline(always)]
    fn store(self, to: &mut Sixteen, v: Self::V) {
        let to = to.as_mut_ptr();
        unsafe {
            _mm256_storeu_ps(to, v[0]);
            _mm256_storeu_ps(to.add(8), v[1]);
        }
    }
    #[inline(always)]
    fn add(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { [_mm256_add_ps(a[0], b[0]), _mm256_add_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn sub(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { [_mm256_sub_ps(a[0], b[0]), _mm256_sub_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn mul(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { [_mm256_mul_ps(a[0], b[0]), _mm256_mul_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn div(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { [_mm256_div_ps(a[0], b[0]), _mm256_div_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V {
        unsafe {
            [
                _mm256_fmadd_ps(a[0], b[0], c[0]),
                _mm256_fmadd_ps(a[1], b[1], c[1]),
            ]
        }
    }
    #[inline(always)]
    fn max(self, a: Self::V, b: Self::V) -> Self::V {
        unsafe { [_mm256_max_ps(a[0], b[0]), _mm256_max_ps(a[1], b[1])] }
    }
    #[inline(always)]
    fn select_less(self, a: Self::V, b: Self::V, then: Self::V, otherwise: Self::V) -> Self::V {
        let half = |i: usize| unsafe {
            _mm256_blendv_ps(
                otherwise[i],
                then[i],
                _mm256_cmp_ps::<_CMP_LT_OQ>(a[i], b[i]),
            )
        };
        [half(0), half(1)]
    }
    #[inline(always)]
    fn power_of_two(self, shifted: Self::V) -> Self::V {
        let half = |i: usize| unsafe {
            let one = _mm256_castps_si256(_mm256_set1_ps(1.0));
            let exponent = _mm256_slli_epi32::<23>(_mm256_castps_si256(shifted[i]));
            _mm256_castsi256_ps(_mm256_add_epi32(exponent, one))
        };
        [half(0), half(1)]
    }
}

#[cfg(target_arch = "x86_64")]
impl Lanes for Avx512 {
    type V = __m512;
    const ROWS: usize = 8;
    const PANELS: usize = 3;

    fn vectorize(self, task: impl Task) {
        #[target_feature(enable = "avx512f")]
        fn run(lanes: Avx512, task: impl Task) {
            task.run(lanes);
        }
        unsafe { run(self, task) }
    }
    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    fn load(self, from: &Sixteen) -> __m512 {
        let from = from.as_ptr();
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    fn store(self, to: &mut Sixteen, v: __m512) {
        let to = to.as_mut_ptr();
        unsafe { _mm512_storeu_ps(to, v) }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn select_less(self, a: __m512, b: __m512, then: __m512, otherwise: __m512) -> __m512 {
        unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), otherwise, then) }
    }
    #[inline(always)]
    fn power_of_two(self, shifted: __m512) -> __m512 {
        unsafe {
            let one = _mm512_castps_si512(_mm512_set1_ps(1.0));
            let exponent = _mm512_slli_epi32::<23>(_mm512_castps_si512(shifted));
            _mm512_castsi512_ps(_mm512_add_epi32(exponent, one))
        }
    }
}
