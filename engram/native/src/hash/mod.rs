//! SHA-256, the one hash of every format.
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use sha2::block_api::compress256;
use sha2::{Digest as _, Sha256};

#[allow(unsafe_code)]
mod lanes;

pub use lanes::sha256_each;

/// A SHA-256 digest.
pub type Digest = [u8; 32];

/// Bytes of a message that is hashed in one piece: with its padding it fills `SHORT_BLOCKS` at most.
const SHORT: usize = SHORT_BLOCKS * 64 - 9;
const SHORT_BLOCKS: usize = 6;

/// SHA-256 over the concatenation of `parts`.
///
/// A short message is padded here and compressed in one call: of a leaf or a node of a tree, feeding a hasher piece by
/// piece took as long as the hashing.
pub fn sha256(parts: &[&[u8]]) -> Digest {
    let size: usize = parts.iter().map(|part| part.len()).sum();
    if size <= SHORT {
        return short(FIRST, 0, parts, size);
    }
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The hash of whole blocks and of what follows them, which is hashed in one piece: `state` is that after the blocks.
fn short(mut state: [u32; 8], before: usize, parts: &[&[u8]], size: usize) -> Digest {
    let mut message = [0; SHORT_BLOCKS * 64];
    let mut at = 0;
    for part in parts {
        message[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    let end = (size + 9).next_multiple_of(64);
    message[size] = 0x80;
    message[end - 8..end].copy_from_slice(&((before + size) as u64 * 8).to_be_bytes());
    compress256(&mut state, message[..end].as_chunks().0);
    digest_of(&state)
}

fn digest_of(state: &[u32; 8]) -> Digest {
    let mut digest = [0; 32];
    for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    digest
}

/// A key of HMAC-SHA256, RFC 2104, its two blocks hashed: what is left of a short message is three compressions.
pub struct Hmac {
    inner: [u32; 8],
    outer: [u32; 8],
}

impl Hmac {
    pub fn new(key: &Digest) -> Self {
        let state = |pad: u8| {
            let mut block = [pad; 64];
            block
                .iter_mut()
                .zip(key)
                .for_each(|(byte, key)| *byte ^= key);
            let mut state = FIRST;
            compress256(&mut state, &[block]);
            state
        };
        Self {
            inner: state(0x36),
            outer: state(0x5c),
        }
    }

    /// The code of a message of at most `SHORT` bytes.
    pub fn of(&self, parts: &[&[u8]]) -> Digest {
        let size = parts.iter().map(|part| part.len()).sum();
        let inner = short(self.inner, 64, parts, size);
        short(self.outer, 64, &[&inner], inner.len())
    }
}

/// The state that SHA-256 starts from: FIPS 180-4 §5.3.3.
const FIRST: [u32; 8] = [
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
];

/// SHA-256 of a whole file, wherever its cursor stands.
pub fn sha256_of(file: &File) -> io::Result<Digest> {
    let mut hasher = Sha256::new();
    let mut block = vec![0; 1 << 20];
    let mut offset = 0;
    loop {
        match file.read_at(&mut block, offset) {
            Ok(0) => return Ok(hasher.finalize().into()),
            Ok(count) => {
                hasher.update(&block[..count]);
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Lower-case hex, as identifiers print it.
pub fn hex(bytes: &[u8]) -> String {
    let pairs = bytes.iter().flat_map(|byte| digits(*byte));
    pairs.map(char::from).collect()
}

/// The lower-case hex of a digest, in ASCII.
pub fn hex_of(digest: &Digest) -> [u8; 64] {
    let mut text = [0; 64];
    for (pair, byte) in text.as_chunks_mut().0.iter_mut().zip(digest) {
        *pair = digits(*byte);
    }
    text
}

fn digits(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [
        DIGITS[usize::from(byte >> 4)],
        DIGITS[usize::from(byte & 15)],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_any_length_and_in_any_parts_is_hashed_as_the_hasher_does() {
        let message: Vec<u8> = (0..1000u32).map(|n| (n * 7) as u8).collect();
        for size in 0..message.len() {
            let expected: Digest = Sha256::digest(&message[..size]).into();
            assert_eq!(sha256(&[&message[..size]]), expected, "{size} bytes");
            let (one, rest) = message[..size].split_at(size / 3);
            assert_eq!(sha256(&[&[], one, rest]), expected, "{size} bytes in parts");
        }
    }

    #[test]
    fn many_messages_at_once_have_the_digests_of_each() {
        let message: Vec<u8> = (0..5000u32).map(|n| (n * 7) as u8).collect();
        let sizes = [
            0, 1, 55, 56, 63, 64, 65, 113, 119, 120, 127, 128, 129, 1024, 1709, 4999,
        ];
        for count in [0, 1, 5, 6, 7, 16, 17, 33, 100] {
            let parts: Vec<[&[u8]; 3]> = (0..count)
                .map(|n| {
                    let (one, rest) =
                        message[..sizes[n * 7 % 16]].split_at(sizes[n * 7 % 16] / (n + 1));
                    [one, rest, &message[..sizes[n % 16]]]
                })
                .collect();
            let expected: Vec<Digest> = parts.iter().map(|parts| sha256(parts)).collect();
            assert_eq!(sha256_each(&parts), expected, "{count} messages");
        }
    }

    #[test]
    fn a_code_is_that_of_rfc_4231() {
        // Test case 2, whose key is padded with zeros to a block anyway.
        let mut key = [0; 32];
        key[..4].copy_from_slice(b"Jefe");
        let code = Hmac::new(&key).of(&[b"what do ya want ", b"for nothing?"]);
        let expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(hex(&code), expected);
        assert_eq!(hex_of(&code), *expected.as_bytes());
    }
}
