//! SHA-256 of many messages at once: one in each of sixteen lanes of a vector register, where a CPU has such (AVX-512).
//!
//! Two and a half times as fast as the hash unit of that CPU, which takes one message at a time. Elsewhere, and for few
//! messages, they are hashed one after the other, to the same digests.
//!
//! The only unsafe code of the hashes: calling what is compiled for CPUs with those registers, after asking whether this
//! one has them.
use super::{Digest, sha256};

/// The SHA-256 of each message, given as parts.
pub fn sha256_each<const PARTS: usize>(messages: &[[&[u8]; PARTS]]) -> Vec<Digest> {
    #[cfg(target_arch = "x86_64")]
    if messages.len() >= vector::WORTH && vector::is_here() {
        return vector::sha256_each(messages);
    }
    messages.iter().map(|parts| sha256(parts)).collect()
}

#[cfg(target_arch = "x86_64")]
mod vector {
    use std::arch::is_x86_feature_detected;
    use std::arch::x86_64::*;
    use std::array::from_fn;

    use sha2::block_api::compress256;

    use super::Digest;
    use crate::hash::{FIRST, digest_of};

    const LANES: usize = 16;
    /// Lanes that must be busy: below that, one message after the other is as fast.
    pub const WORTH: usize = 6;

    type Block = [u8; 64];
    type State = [u32; 8];
    type Words = [__m512i; LANES];

    pub fn is_here() -> bool {
        is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw")
    }

    pub fn sha256_each<const PARTS: usize>(messages: &[[&[u8]; PARTS]]) -> Vec<Digest> {
        let mut digests = vec![[0; 32]; messages.len()];
        let mut coming = messages.iter().zip(&mut digests);
        let mut lanes: [Option<Lane<'_>>; LANES] = from_fn(|_| None);
        let mut blocks = [[0; 64]; LANES];
        let mut states = [[0; LANES]; 8];
        loop {
            let mut busy = 0;
            for (n, lane) in lanes.iter_mut().enumerate() {
                if lane.as_ref().is_none_or(|lane| lane.blocks == 0) {
                    if let Some(done) = lane.take() {
                        *done.digest = digest_of(&state_of(&states, n));
                    }
                    if let Some((parts, digest)) = coming.next() {
                        *lane = Some(Lane::new(parts, digest));
                        (0..8).for_each(|word| states[word][n] = FIRST[word]);
                    }
                }
                busy += usize::from(lane.is_some());
            }
            if busy < WORTH {
                break;
            }
            for (lane, block) in lanes.iter_mut().zip(&mut blocks) {
                if let Some(lane) = lane {
                    lane.lay(block);
                }
            }
            // SAFETY: this CPU has what it is compiled for: `is_here` was asked.
            unsafe { compress(&mut states, &blocks) };
        }
        for (n, lane) in lanes.into_iter().enumerate() {
            if let Some(lane) = lane {
                lane.finish(state_of(&states, n));
            }
        }
        digests
    }

    fn state_of(states: &[[u32; LANES]; 8], lane: usize) -> State {
        from_fn(|word| states[word][lane])
    }

    /// A message on its way through the compression, block by block.
    struct Lane<'a> {
        digest: &'a mut Digest,
        parts: &'a [&'a [u8]],
        /// What is left of the first part.
        rest: &'a [u8],
        size: usize,
        /// Bytes of the message laid out so far, and the blocks to come, its padding among them.
        laid: usize,
        blocks: usize,
    }

    impl<'a> Lane<'a> {
        fn new(parts: &'a [&'a [u8]], digest: &'a mut Digest) -> Self {
            let size = parts.iter().map(|part| part.len()).sum::<usize>();
            let blocks = (size + 9).div_ceil(64);
            let (rest, parts) = parts
                .split_first()
                .map_or((&[][..], parts), |(rest, parts)| (*rest, parts));
            Self {
                digest,
                parts,
                rest,
                size,
                laid: 0,
                blocks,
            }
        }

        fn lay(&mut self, block: &mut Block) {
            self.blocks -= 1;
            if let Some((whole, rest)) = self.rest.split_first_chunk() {
                (*block, self.rest) = (*whole, rest);
                self.laid += 64;
                return;
            }
            let mut at = 0;
            loop {
                let (piece, rest) = self.rest.split_at(self.rest.len().min(64 - at));
                block[at..at + piece.len()].copy_from_slice(piece);
                at += piece.len();
                self.rest = rest;
                let Some((next, parts)) = self.parts.split_first() else {
                    break;
                };
                if !self.rest.is_empty() || at == 64 {
                    break;
                }
                (self.rest, self.parts) = (next, parts);
            }
            block[at..].fill(0);
            if at < 64 && self.laid + at == self.size {
                block[at] = 0x80;
            }
            // Beyond the end, so that the mark above is set once.
            self.laid += 64;
            if self.blocks == 0 {
                block[56..].copy_from_slice(&(self.size as u64 * 8).to_be_bytes());
            }
        }

        fn finish(mut self, mut state: State) {
            let mut block = [0; 64];
            while self.blocks > 0 {
                self.lay(&mut block);
                compress256(&mut state, &[block]);
            }
            *self.digest = digest_of(&state);
        }
    }

    macro_rules! round {
        ($a:ident, $b:ident, $c:ident, $d:ident, $e:ident, $f:ident, $g:ident, $h:ident, $word:expr) => {
            let first = sum(sum($h, $word), sum(of_e($e), choice($e, $f, $g)));
            $d = sum($d, first);
            $h = sum(first, sum(of_a($a), majority($a, $b, $c)));
        };
    }

    /// Eight rounds, written out so that nothing moves from register to register: what a round calls a is h of the next.
    macro_rules! eight_rounds {
        ($word:ident, $s:ident, $from:expr) => {{
            let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = $s;
            round!(a, b, c, d, e, f, g, h, $word($from));
            round!(h, a, b, c, d, e, f, g, $word($from + 1));
            round!(g, h, a, b, c, d, e, f, $word($from + 2));
            round!(f, g, h, a, b, c, d, e, $word($from + 3));
            round!(e, f, g, h, a, b, c, d, $word($from + 4));
            round!(d, e, f, g, h, a, b, c, $word($from + 5));
            round!(c, d, e, f, g, h, a, b, $word($from + 6));
            round!(b, c, d, e, f, g, h, a, $word($from + 7));
            $s = [a, b, c, d, e, f, g, h];
        }};
    }

    /// Take one block of each lane's message into its state.
    #[target_feature(enable = "avx512f,avx512bw")]
    fn compress(states: &mut [[u32; LANES]; 8], blocks: &[Block; LANES]) {
        let before: [__m512i; 8] = from_fn(|word| taken_in(&states[word]));
        let mut s = before;
        let mut w = turned(blocks);
        let given = |at: usize, word: __m512i| sum(word, _mm512_set1_epi32(K[at] as i32));
        let first = |at: usize| given(at, w[at]);
        eight_rounds!(first, s, 0);
        eight_rounds!(first, s, 8);
        for from in [16, 32, 48] {
            let mut next = |at: usize| {
                w[at] = scheduled(w[at], w[(at + 1) % 16], w[(at + 9) % 16], w[(at + 14) % 16]);
                given(from + at, w[at])
            };
            eight_rounds!(next, s, 0);
            eight_rounds!(next, s, 8);
        }
        for (word, state) in states.iter_mut().enumerate() {
            give_out(sum(before[word], s[word]), state);
        }
    }

    /// The word of a later round, of those 16, 15, 7 and 2 rounds before it.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn scheduled(by_16: __m512i, by_15: __m512i, by_7: __m512i, by_2: __m512i) -> __m512i {
        let late = xor3(
            _mm512_ror_epi32(by_2, 17),
            _mm512_ror_epi32(by_2, 19),
            _mm512_srli_epi32(by_2, 10),
        );
        let early = xor3(
            _mm512_ror_epi32(by_15, 7),
            _mm512_ror_epi32(by_15, 18),
            _mm512_srli_epi32(by_15, 3),
        );
        sum(sum(by_16, early), sum(by_7, late))
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn of_e(e: __m512i) -> __m512i {
        xor3(
            _mm512_ror_epi32(e, 6),
            _mm512_ror_epi32(e, 11),
            _mm512_ror_epi32(e, 25),
        )
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn of_a(a: __m512i) -> __m512i {
        xor3(
            _mm512_ror_epi32(a, 2),
            _mm512_ror_epi32(a, 13),
            _mm512_ror_epi32(a, 22),
        )
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn choice(e: __m512i, f: __m512i, g: __m512i) -> __m512i {
        _mm512_ternarylogic_epi32(e, f, g, 0xca)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn majority(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        _mm512_ternarylogic_epi32(a, b, c, 0xe8)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn sum(a: __m512i, b: __m512i) -> __m512i {
        _mm512_add_epi32(a, b)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn xor3(a: __m512i, b: __m512i, c: __m512i) -> __m512i {
        _mm512_ternarylogic_epi32(a, b, c, 0x96)
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn taken_in(words: &[u32; LANES]) -> __m512i {
        // SAFETY: 64 bytes are read, and the array has as many.
        unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn give_out(words: __m512i, into: &mut [u32; LANES]) {
        // SAFETY: 64 bytes are written, and the array has as many.
        unsafe { _mm512_storeu_si512(into.as_mut_ptr().cast(), words) }
    }

    /// The n-th vector: the n-th word of every block. Words are big-endian.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn turned(blocks: &[Block; LANES]) -> Words {
        let swap =
            _mm512_broadcast_i32x4(_mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203));
        // SAFETY: 64 bytes are read, and a block has as many.
        let row = |n: usize| unsafe { _mm512_loadu_si512(blocks[n].as_ptr().cast()) };
        let rows: Words = from_fn(|n| _mm512_shuffle_epi8(row(n), swap));
        let pairs: Words = from_fn(|n| {
            let (upper, lower) = (rows[n & !1], rows[n | 1]);
            if n & 1 == 0 {
                _mm512_unpacklo_epi32(upper, lower)
            } else {
                _mm512_unpackhi_epi32(upper, lower)
            }
        });
        // Vector 4 r + c: of rows 4 r to 4 r + 3 the columns c, 4 + c, 8 + c and 12 + c.
        let fours: Words = from_fn(|n| {
            let (from, column) = (n & !3, n & 3);
            let (upper, lower) = (pairs[from + column / 2], pairs[from + 2 + column / 2]);
            if column & 1 == 0 {
                _mm512_unpacklo_epi64(upper, lower)
            } else {
                _mm512_unpackhi_epi64(upper, lower)
            }
        });
        let mut words = fours;
        for column in 0..4 {
            let [first, second, third, fourth] = from_fn(|at| fours[4 * at + column]);
            let even = [
                _mm512_shuffle_i32x4(first, second, 0x88),
                _mm512_shuffle_i32x4(third, fourth, 0x88),
            ];
            let odd = [
                _mm512_shuffle_i32x4(first, second, 0xdd),
                _mm512_shuffle_i32x4(third, fourth, 0xdd),
            ];
            words[column] = _mm512_shuffle_i32x4(even[0], even[1], 0x88);
            words[4 + column] = _mm512_shuffle_i32x4(odd[0], odd[1], 0x88);
            words[8 + column] = _mm512_shuffle_i32x4(even[0], even[1], 0xdd);
            words[12 + column] = _mm512_shuffle_i32x4(odd[0], odd[1], 0xdd);
        }
        words
    }

    /// FIPS 180-4 §4.2.2.
    #[rustfmt::skip]
    const K: [u32; 64] = [
        0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
        0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
        0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
        0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
        0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
        0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
        0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
        0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
    ];
}
