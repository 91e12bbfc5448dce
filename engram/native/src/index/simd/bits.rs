//! How many signs differ from a query's, eight rows at a time. Every kernel counts the same integers.
use super::super::rows::Signs;
use super::{Kernel, Kind};

impl Kernel {
    /// Put the distances of each group of eight rows into `out`, and into `near` which of them are below `limit`.
    ///
    /// A group is `query.len()` entries of `signs`; there is one entry of `out` and of `near` for each. Bit i of `near`
    /// is row i of its group.
    pub fn distances(
        self,
        query: &[u64],
        signs: &[Signs],
        limit: u64,
        out: &mut [Signs],
        near: &mut [u8],
    ) {
        assert!(signs.len() == query.len() * out.len() && out.len() == near.len());
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 if is_x86_feature_detected!("avx512vpopcntdq") => {
                // SAFETY: the features were found, here and where the Kernel was made.
                unsafe {
                    match query.len() {
                        // The words of a query that stay in registers: those of 384, 512, 768 and 1024 components.
                        6 => x86::distances_avx512::<6>(query, signs, limit, out, near),
                        8 => x86::distances_avx512::<8>(query, signs, limit, out, near),
                        12 => x86::distances_avx512::<12>(query, signs, limit, out, near),
                        16 => x86::distances_avx512::<16>(query, signs, limit, out, near),
                        _ => x86::distances_avx512_any(query, signs, limit, out, near),
                    }
                }
            }
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512 | Kind::Avx2 if is_x86_feature_detected!("avx2") => {
                // SAFETY: as above.
                unsafe { x86::distances_avx2(query, signs, limit, out, near) }
            }
            _ => distances_scalar(query, signs, limit, out, near),
        }
    }
}

fn distances_scalar(
    query: &[u64],
    signs: &[Signs],
    limit: u64,
    out: &mut [Signs],
    near: &mut [u8],
) {
    let groups = signs.chunks_exact(query.len());
    for ((group, out), near) in groups.zip(out).zip(near) {
        let mut sums = [0u64; Signs::ROWS];
        for (query, word) in query.iter().zip(group) {
            for (sum, word) in sums.iter_mut().zip(word.0) {
                *sum += u64::from((query ^ word).count_ones());
            }
        }
        *near = (0..Signs::ROWS).fold(0, |bits, row| bits | u8::from(sums[row] < limit) << row);
        out.0 = sums;
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::{
        __m256i, __m512i, _mm256_add_epi8, _mm256_add_epi64, _mm256_and_si256, _mm256_castsi256_pd,
        _mm256_cmpgt_epi64, _mm256_load_si256, _mm256_movemask_pd, _mm256_sad_epu8,
        _mm256_set1_epi8, _mm256_set1_epi64x, _mm256_setr_epi8, _mm256_setzero_si256,
        _mm256_shuffle_epi8, _mm256_srli_epi16, _mm256_store_si256, _mm256_xor_si256,
        _mm512_add_epi64, _mm512_cmplt_epu64_mask, _mm512_load_si512, _mm512_popcnt_epi64,
        _mm512_set1_epi64, _mm512_setzero_si512, _mm512_store_si512, _mm512_xor_si512,
    };

    use super::Signs;

    /// Words that a byte can count for: eight bits of each.
    const WORDS_A_BYTE: usize = 31;

    #[target_feature(enable = "avx512f,avx512vpopcntdq")]
    pub fn distances_avx512<const WORDS: usize>(
        query: &[u64],
        signs: &[Signs],
        limit: u64,
        out: &mut [Signs],
        near: &mut [u8],
    ) {
        let limit = _mm512_set1_epi64(limit.cast_signed());
        let query: &[u64; WORDS] = query.try_into().expect("the query has so many words");
        let query = query.map(|word| _mm512_set1_epi64(word.cast_signed()));
        for ((group, out), near) in signs.as_chunks::<WORDS>().0.iter().zip(out).zip(near) {
            let mut sums = _mm512_setzero_si512();
            for (query, word) in query.iter().zip(group) {
                sums = _mm512_add_epi64(sums, differ_avx512(*query, word));
            }
            *near = finish_avx512(sums, limit, out);
        }
    }

    #[target_feature(enable = "avx512f,avx512vpopcntdq")]
    pub fn distances_avx512_any(
        query: &[u64],
        signs: &[Signs],
        limit: u64,
        out: &mut [Signs],
        near: &mut [u8],
    ) {
        let limit = _mm512_set1_epi64(limit.cast_signed());
        let groups = signs.chunks_exact(query.len());
        for ((group, out), near) in groups.zip(out).zip(near) {
            let mut sums = _mm512_setzero_si512();
            for (query, word) in query.iter().zip(group) {
                let query = _mm512_set1_epi64(query.cast_signed());
                sums = _mm512_add_epi64(sums, differ_avx512(query, word));
            }
            *near = finish_avx512(sums, limit, out);
        }
    }

    #[target_feature(enable = "avx512f,avx512vpopcntdq")]
    fn differ_avx512(query: __m512i, word: &Signs) -> __m512i {
        // SAFETY: the eight words are 64 bytes and aligned to 64.
        let word = unsafe { _mm512_load_si512(word.0.as_ptr().cast()) };
        _mm512_popcnt_epi64(_mm512_xor_si512(word, query))
    }

    #[target_feature(enable = "avx512f,avx512vpopcntdq")]
    fn finish_avx512(sums: __m512i, limit: __m512i, out: &mut Signs) -> u8 {
        // SAFETY: the eight words are 64 bytes and aligned to 64.
        unsafe { _mm512_store_si512(out.0.as_mut_ptr().cast(), sums) };
        _mm512_cmplt_epu64_mask(sums, limit)
    }

    #[target_feature(enable = "avx2")]
    pub fn distances_avx2(
        query: &[u64],
        signs: &[Signs],
        limit: u64,
        out: &mut [Signs],
        near: &mut [u8],
    ) {
        // Signed comparison: no distance and no limit comes near 2^63, but the limit that lets all pass.
        let limit = _mm256_set1_epi64x(limit.min(i64::MAX as u64).cast_signed());
        let groups = signs.chunks_exact(query.len());
        for ((group, out), near) in groups.zip(out).zip(near) {
            *near = 0;
            for half in 0..2 {
                let mut sums = _mm256_setzero_si256();
                let parts = query.chunks(WORDS_A_BYTE).zip(group.chunks(WORDS_A_BYTE));
                for (query, words) in parts {
                    let mut bytes = _mm256_setzero_si256();
                    for (query, word) in query.iter().zip(words) {
                        let query = _mm256_set1_epi64x(query.cast_signed());
                        let differ = _mm256_xor_si256(load_half(word, half), query);
                        bytes = _mm256_add_epi8(bytes, counts(differ));
                    }
                    let zero = _mm256_setzero_si256();
                    sums = _mm256_add_epi64(sums, _mm256_sad_epu8(bytes, zero));
                }
                let below = _mm256_castsi256_pd(_mm256_cmpgt_epi64(limit, sums));
                *near |= (_mm256_movemask_pd(below) as u8) << (4 * half);
                // SAFETY: there are eight words, aligned to 64 bytes, and a half is four of them.
                unsafe { _mm256_store_si256(out.0.as_mut_ptr().add(4 * half).cast(), sums) };
            }
        }
    }

    #[target_feature(enable = "avx2")]
    fn load_half(word: &Signs, half: usize) -> __m256i {
        assert!(half < 2);
        // SAFETY: there are eight words, aligned to 64 bytes, and a half is four of them.
        unsafe { _mm256_load_si256(word.0.as_ptr().add(4 * half).cast()) }
    }

    /// Count the bits of each byte: a table looked up for either nibble.
    #[target_feature(enable = "avx2")]
    fn counts(bits: __m256i) -> __m256i {
        let table = _mm256_setr_epi8(
            0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2,
            3, 3, 4,
        );
        let nibble = _mm256_set1_epi8(0x0f);
        let low = _mm256_and_si256(bits, nibble);
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bits), nibble);
        _mm256_add_epi8(
            _mm256_shuffle_epi8(table, low),
            _mm256_shuffle_epi8(table, high),
        )
    }
}
