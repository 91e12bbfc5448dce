//! The inner loops, for each kind of CPU, chosen at run time: how many signs differ, integer dot products of codes, and
//! the f32 sums of the exact cosine. Every kernel gives the same integers and the same bits: integers add in any order, and the f32 sums are
//! sixteen lanes of fused multiply-adds whose lane i takes components i, i + 16, i + 32, and so on.
//!
//! The only unsafe code of the index. A [`Kernel`] exists only if this CPU has it, which is what its loops rely on.
mod bits;

use std::sync::OnceLock;

use super::IndexError;

/// Sixty-four codes, one cache line; every code is in -127..=127, so a pair of products fits in an i16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub struct Block(pub [i8; Self::LEN]);

impl Block {
    pub const LEN: usize = 64;
    pub const ZERO: Self = Self([0; Self::LEN]);
}

/// Bytes of a line of the cache.
#[cfg(target_arch = "x86_64")]
const LINE: usize = 64;

/// Lanes of the f32 sums.
pub const LANES: usize = 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Avx512,
    Avx2,
    Neon,
    Scalar,
}

const KINDS: [(Kind, &str); 4] = [
    (Kind::Avx512, "avx512"),
    (Kind::Avx2, "avx2"),
    (Kind::Neon, "neon"),
    (Kind::Scalar, "scalar"),
];

impl Kind {
    fn is_here(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vnni")
            }
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512 | Self::Avx2 => false,
            // Every aarch64 has NEON and fused multiply-add, and the compiler turns the scalar loops into them.
            Self::Neon => cfg!(target_arch = "aarch64"),
            Self::Scalar => true,
        }
    }
}

/// A set of inner loops that this CPU can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernel(Kind);

impl Kernel {
    /// The loops that need nothing of the CPU.
    pub const SCALAR: Self = Self(Kind::Scalar);

    /// Every kernel that this CPU can run, the best first.
    pub fn available() -> Vec<Self> {
        KINDS
            .iter()
            .filter(|(kind, _)| kind.is_here())
            .map(|&(kind, _)| Self(kind))
            .collect()
    }

    /// The kernel of that name: avx512, avx2, neon or scalar. An unknown one, or one that this CPU lacks, is an error.
    pub fn named(name: &str) -> Result<Self, IndexError> {
        let known = KINDS.iter().find(|(_, known)| *known == name);
        let here = || {
            Self::available()
                .iter()
                .map(|kernel| kernel.name())
                .collect::<Vec<_>>()
                .join(", ")
        };
        match known {
            Some(&(kind, _)) if kind.is_here() => Ok(Self(kind)),
            Some(_) => Err(IndexError::Kernel(format!(
                "this CPU lacks the kernel {name}; it has {}",
                here()
            ))),
            None => Err(IndexError::Kernel(format!(
                "unknown kernel {name:?}; this CPU has {}",
                here()
            ))),
        }
    }

    /// The kernel to use: the one that the environment's `ENGRAM_KERNEL` names, else the best; read once.
    pub fn chosen() -> Result<Self, IndexError> {
        static CHOSEN: OnceLock<Result<Kernel, IndexError>> = OnceLock::new();
        let choose = || match std::env::var_os("ENGRAM_KERNEL") {
            Some(name) if !name.is_empty() => Self::named(&name.to_string_lossy())
                .map_err(|reason| IndexError::Kernel(format!("ENGRAM_KERNEL: {reason}"))),
            _ => Ok(Self::available()[0]),
        };
        CHOSEN.get_or_init(choose).clone()
    }

    /// The kernel's name, as `ENGRAM_KERNEL` takes it.
    pub fn name(self) -> &'static str {
        KINDS
            .iter()
            .find(|(kind, _)| *kind == self.0)
            .map_or("", |&(_, name)| name)
    }

    /// Put the dot product of `query` with each named row of `blocks` into `out`. A row is `query.len()` blocks.
    pub fn dots(self, query: &[Block], blocks: &[Block], rows: &[u32], out: &mut [i32]) {
        match self.0 {
            // SAFETY: a Kernel of this kind is made only where `is_here` found the features.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { x86::dots_avx512(query, blocks, rows, out) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { x86::dots_avx2(query, blocks, rows, out) },
            _ => dots_scalar(query, blocks, rows, out),
        }
    }

    /// Have the CPU fetch values that will be wanted soon.
    pub fn prefetch<T>(self, values: &[T]) {
        #[cfg(target_arch = "x86_64")]
        for line in (0..size_of_val(values)).step_by(LINE) {
            let at = values.as_ptr().cast::<i8>().wrapping_add(line);
            // SAFETY: a prefetch reads nothing that the program sees, and faults nowhere.
            unsafe {
                std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at);
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = values;
    }

    /// Sum a*b and b*b in sixteen lanes each; both slices have the same length, a multiple of sixteen.
    pub(super) fn products(self, a: &[f32], b: &[f32]) -> [[f32; LANES]; 2] {
        assert!(a.len() == b.len() && a.len().is_multiple_of(LANES));
        match self.0 {
            // SAFETY: as in `dots`.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 => unsafe { x86::products_avx512(a, b) },
            // SAFETY: as in `dots`.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { x86::products_avx2(a, b) },
            _ => products_scalar(a, b),
        }
    }
}

fn dots_scalar(query: &[Block], blocks: &[Block], rows: &[u32], out: &mut [i32]) {
    let stride = query.len();
    for (&row, out) in rows.iter().zip(out) {
        let start = row as usize * stride;
        let blocks = &blocks[start..start + stride];
        *out = query.iter().zip(blocks).map(|(q, x)| dot_block(q, x)).sum();
    }
}

fn dot_block(q: &Block, x: &Block) -> i32 {
    q.0.iter()
        .zip(&x.0)
        .map(|(&q, &x)| i32::from(i16::from(q) * i16::from(x)))
        .sum()
}

fn products_scalar(a: &[f32], b: &[f32]) -> [[f32; LANES]; 2] {
    let (mut ab, mut bb) = ([0.0f32; LANES], [0.0f32; LANES]);
    for (a, b) in a
        .as_chunks::<LANES>()
        .0
        .iter()
        .zip(b.as_chunks::<LANES>().0)
    {
        for lane in 0..LANES {
            ab[lane] = a[lane].mul_add(b[lane], ab[lane]);
            bb[lane] = b[lane].mul_add(b[lane], bb[lane]);
        }
    }
    [ab, bb]
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256, __m256i, __m512i, _mm_add_epi32, _mm_cvtsi128_si32, _mm_shuffle_epi32,
        _mm256_abs_epi8, _mm256_add_epi32, _mm256_castsi256_si128, _mm256_extracti128_si256,
        _mm256_fmadd_ps, _mm256_load_si256, _mm256_loadu_ps, _mm256_madd_epi16,
        _mm256_maddubs_epi16, _mm256_set1_epi16, _mm256_setzero_ps, _mm256_setzero_si256,
        _mm256_sign_epi8, _mm256_storeu_ps, _mm512_dpbusd_epi32, _mm512_fmadd_ps,
        _mm512_load_si512, _mm512_loadu_ps, _mm512_reduce_add_epi32, _mm512_set1_epi8,
        _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_ps, _mm512_xor_si512,
    };

    use super::{Block, LANES};

    /// Sixteen partial sums a block: |q| times the row's code with q's sign is unsigned times signed, as maddubs wants.
    #[target_feature(enable = "avx2,fma")]
    pub fn dots_avx2(query: &[Block], blocks: &[Block], rows: &[u32], out: &mut [i32]) {
        let stride = query.len();
        let ones = _mm256_set1_epi16(1);
        for (&row, out) in rows.iter().zip(out) {
            let start = row as usize * stride;
            let mut sums = [_mm256_setzero_si256(); 2];
            for (q, x) in query.iter().zip(&blocks[start..start + stride]) {
                for (sum, (q, x)) in sums.iter_mut().zip(halves(q).into_iter().zip(halves(x))) {
                    let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(x, q));
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(pairs, ones));
                }
            }
            *out = sum_avx2(_mm256_add_epi32(sums[0], sums[1]));
        }
    }

    #[target_feature(enable = "avx2,fma")]
    fn halves(block: &Block) -> [__m256i; 2] {
        let start: *const __m256i = block.0.as_ptr().cast();
        // SAFETY: a block is 64 bytes and aligned to 64, so both halves are inside it and aligned to 32.
        unsafe { [_mm256_load_si256(start), _mm256_load_si256(start.add(1))] }
    }

    #[target_feature(enable = "avx2,fma")]
    fn sum_avx2(sums: __m256i) -> i32 {
        let four = _mm_add_epi32(
            _mm256_castsi256_si128(sums),
            _mm256_extracti128_si256::<1>(sums),
        );
        let two = _mm_add_epi32(four, _mm_shuffle_epi32::<0b01_00_11_10>(four));
        _mm_cvtsi128_si32(_mm_add_epi32(two, _mm_shuffle_epi32::<0b10_11_00_01>(two)))
    }

    /// VNNI multiplies unsigned by signed, so the row's codes are raised by 128, and 128 * sum(q) comes off at the end.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub fn dots_avx512(query: &[Block], blocks: &[Block], rows: &[u32], out: &mut [i32]) {
        let stride = query.len();
        let raise = _mm512_set1_epi8(-128);
        let mut sums = _mm512_setzero_si512();
        for q in query {
            sums = _mm512_dpbusd_epi32(sums, raise, whole(q));
        }
        let raised = _mm512_reduce_add_epi32(sums);
        for (&row, out) in rows.iter().zip(out) {
            let start = row as usize * stride;
            let mut sum = _mm512_setzero_si512();
            for (q, x) in query.iter().zip(&blocks[start..start + stride]) {
                sum = _mm512_dpbusd_epi32(sum, _mm512_xor_si512(whole(x), raise), whole(q));
            }
            *out = _mm512_reduce_add_epi32(sum) - raised;
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn whole(block: &Block) -> __m512i {
        // SAFETY: a block is 64 bytes and aligned to 64.
        unsafe { _mm512_load_si512(block.0.as_ptr().cast()) }
    }

    #[target_feature(enable = "avx2,fma")]
    pub fn products_avx2(a: &[f32], b: &[f32]) -> [[f32; LANES]; 2] {
        let (mut ab, mut bb) = ([_mm256_setzero_ps(); 2], [_mm256_setzero_ps(); 2]);
        for (a, b) in a
            .as_chunks::<LANES>()
            .0
            .iter()
            .zip(b.as_chunks::<LANES>().0)
        {
            for half in 0..2 {
                let (a, b) = (load_half(a, half), load_half(b, half));
                ab[half] = _mm256_fmadd_ps(a, b, ab[half]);
                bb[half] = _mm256_fmadd_ps(b, b, bb[half]);
            }
        }
        let mut lanes = [[0.0; LANES]; 2];
        for (lanes, sums) in lanes.iter_mut().zip([ab, bb]) {
            // SAFETY: there are sixteen lanes, and each sum is eight of them.
            unsafe {
                _mm256_storeu_ps(lanes.as_mut_ptr(), sums[0]);
                _mm256_storeu_ps(lanes.as_mut_ptr().add(8), sums[1]);
            }
        }
        lanes
    }

    #[target_feature(enable = "avx2,fma")]
    fn load_half(values: &[f32; LANES], half: usize) -> __m256 {
        assert!(half < 2);
        // SAFETY: there are sixteen floats, and a half is eight of them.
        unsafe { _mm256_loadu_ps(values.as_ptr().add(half * 8)) }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    pub fn products_avx512(a: &[f32], b: &[f32]) -> [[f32; LANES]; 2] {
        let (mut ab, mut bb) = (_mm512_setzero_ps(), _mm512_setzero_ps());
        for (a, b) in a
            .as_chunks::<LANES>()
            .0
            .iter()
            .zip(b.as_chunks::<LANES>().0)
        {
            // SAFETY: each chunk is sixteen floats.
            let (a, b) = unsafe { (_mm512_loadu_ps(a.as_ptr()), _mm512_loadu_ps(b.as_ptr())) };
            ab = _mm512_fmadd_ps(a, b, ab);
            bb = _mm512_fmadd_ps(b, b, bb);
        }
        let mut lanes = [[0.0; LANES]; 2];
        // SAFETY: each target is sixteen floats.
        unsafe {
            _mm512_storeu_ps(lanes[0].as_mut_ptr(), ab);
            _mm512_storeu_ps(lanes[1].as_mut_ptr(), bb);
        }
        lanes
    }
}
