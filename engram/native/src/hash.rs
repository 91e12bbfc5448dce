//! SHA-256, the one hash of every format.
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use sha2::block_api::compress256;
use sha2::{Digest as _, Sha256};

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
        return short(parts, size);
    }
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn short(parts: &[&[u8]], size: usize) -> Digest {
    let mut message = [0; SHORT_BLOCKS * 64];
    let mut at = 0;
    for part in parts {
        message[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    let end = (size + 9).next_multiple_of(64);
    message[size] = 0x80;
    message[end - 8..end].copy_from_slice(&(size as u64 * 8).to_be_bytes());
    let mut state = FIRST;
    compress256(&mut state, message[..end].as_chunks().0);
    let mut digest = [0; 32];
    for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(state) {
        *bytes = word.to_be_bytes();
    }
    digest
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
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        text.push(DIGITS[usize::from(byte >> 4)] as char);
        text.push(DIGITS[usize::from(byte & 15)] as char);
    }
    text
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
}
