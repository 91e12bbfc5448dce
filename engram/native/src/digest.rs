//! The digest of a set of rows: the sum of their hashes, so that a row is added and taken off without the others.
use crate::hash::{Digest, sha256};

/// Sum the hashes of `rows` modulo 2^256; the sum is big-endian.
pub fn sum_of_hashes<T: AsRef<[u8]>>(rows: &[T]) -> Digest {
    let mut limbs = [0u64; 4];
    for row in rows {
        let mut carry = false;
        for (limb, term) in limbs.iter_mut().zip(limbs_of(&sha256(&[row.as_ref()]))) {
            let (sum, first) = limb.overflowing_add(term);
            let (sum, second) = sum.overflowing_add(u64::from(carry));
            (*limb, carry) = (sum, first || second);
        }
    }
    let mut out = [0; 32];
    for (bytes, limb) in out.rchunks_exact_mut(8).zip(limbs) {
        bytes.copy_from_slice(&limb.to_be_bytes());
    }
    out
}

/// The number of a big-endian digest, least significant limb first.
fn limbs_of(digest: &Digest) -> impl Iterator<Item = u64> {
    digest
        .rchunks_exact(8)
        .map(|bytes| u64::from_be_bytes(bytes.try_into().expect("eight bytes")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Schoolbook addition, a byte at a time.
    fn added(one: Digest, other: Digest) -> Digest {
        let mut out = [0; 32];
        let mut carry = 0;
        for at in (0..32).rev() {
            let sum = u16::from(one[at]) + u16::from(other[at]) + carry;
            out[at] = sum.to_le_bytes()[0];
            carry = sum >> 8;
        }
        out
    }

    #[test]
    fn the_sum_is_that_of_the_rows_one_by_one() {
        assert_eq!(sum_of_hashes::<&[u8]>(&[]), [0; 32]);
        let rows: Vec<Vec<u8>> = (0..200u8).map(|n| vec![n; usize::from(n)]).collect();
        let expected = rows
            .iter()
            .fold([0; 32], |sum, row| added(sum, sha256(&[row])));
        assert_eq!(sum_of_hashes(&rows), expected);
    }
}
