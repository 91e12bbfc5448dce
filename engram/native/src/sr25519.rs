//! Signatures of hotkeys: sr25519, which is Schnorr over Ristretto, in the context that Substrate signs in.
//!
//! Verifying is strict: a scalar that is not reduced, a point that is not canonical and a signature without schnorrkel's
//! mark (the highest bit of its last byte) are refused, so that no second signature follows from a first.
use schnorrkel::context::{SigningContext, attach_rng};
use schnorrkel::{ExpansionMode, Keypair, MiniSecretKey, PublicKey, Signature};

const CONTEXT: &[u8] = b"substrate";
const IDENTITY: [u8; 32] = [0; 32];

/// Say whether `signature` (64 bytes) is that of `message` under `public` (32 bytes). Wrong lengths verify nothing.
pub fn verify(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let (Ok(public), Ok(signature)) = (
        PublicKey::from_bytes(public),
        Signature::from_bytes(signature),
    ) else {
        return false;
    };
    // Whoever likes can sign for the identity: nobody is it.
    public.to_bytes() != IDENTITY && public.verify_simple(CONTEXT, message, &signature).is_ok()
}

/// Give the public key of a seed, as wallets make it of one.
pub fn public(seed: [u8; 32]) -> [u8; 32] {
    pair(seed).public.to_bytes()
}

/// Sign. The secret nonce follows from key and message alone, as in Ed25519: no randomness that could fail.
pub fn sign(seed: [u8; 32], message: &[u8]) -> [u8; 64] {
    let transcript = SigningContext::new(CONTEXT).bytes(message);
    pair(seed).sign(attach_rng(transcript, Zeros)).to_bytes()
}

fn pair(seed: [u8; 32]) -> Keypair {
    MiniSecretKey::from_bytes(&seed)
        .expect("any 32 bytes are a seed")
        .expand_to_keypair(ExpansionMode::Ed25519)
}

/// No randomness. It is safe for plain signatures, and for nothing else of schnorrkel's.
struct Zeros;

impl rand_core::CryptoRng for Zeros {}

impl rand_core::RngCore for Zeros {
    fn next_u32(&mut self) -> u32 {
        0
    }

    fn next_u64(&mut self) -> u64 {
        0
    }

    fn fill_bytes(&mut self, into: &mut [u8]) {
        into.fill(0);
    }

    fn try_fill_bytes(&mut self, into: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(into);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEED: [u8; 32] = [7; 32];

    /// The order of the group, little-endian: s and s + L are the same scalar.
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde,
        0x14, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];

    #[test]
    fn what_is_signed_verifies_and_nothing_else_does() {
        let (public, signature) = (public(SEED), sign(SEED, b"message"));
        assert!(verify(&public, b"message", &signature));
        assert!(!verify(&public, b"massage", &signature));
        assert!(!verify(&super::public([8; 32]), b"message", &signature));
        for bit in (0..signature.len() * 8).step_by(3) {
            let mut other = signature;
            other[bit / 8] ^= 1 << (bit % 8);
            assert!(!verify(&public, b"message", &other), "bit {bit}");
        }
    }

    #[test]
    fn a_scalar_that_is_not_reduced_is_refused() {
        let (public, mut signature) = (public(SEED), sign(SEED, b"message"));
        signature[63] &= 0x7f;
        let mut carry = 0u16;
        for (byte, more) in signature[32..].iter_mut().zip(ORDER) {
            carry += u16::from(*byte) + u16::from(more);
            *byte = carry as u8;
            carry >>= 8;
        }
        assert_eq!(carry, 0);
        assert_eq!(signature[63] & 0x80, 0, "the mark has its bit to itself");
        signature[63] |= 0x80;
        assert!(!verify(&public, b"message", &signature));
    }

    #[test]
    fn lengths_and_bytes_that_are_no_key_and_no_signature_verify_nothing() {
        let (public, signature) = (public(SEED), sign(SEED, b"message"));
        for length in [0, 1, 31, 33, 64] {
            assert!(!verify(&vec![1; length], b"message", &signature));
        }
        for length in [0, 63, 65] {
            assert!(!verify(&public, b"message", &vec![0x80; length]));
        }
        assert!(!verify(&[0xff; 32], b"message", &signature));
    }

    /// s = 1 and R = B: with the identity as the key, any challenge leaves s·B = R.
    #[test]
    fn nobody_signs_for_the_identity() {
        let base = "e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76";
        let mut signature = [0; 64];
        for (at, byte) in signature[..32].iter_mut().enumerate() {
            *byte = u8::from_str_radix(&base[2 * at..2 * at + 2], 16).unwrap();
        }
        signature[32] = 1;
        signature[63] = 0x80;
        let forged = Signature::from_bytes(&signature).unwrap();
        let identity = PublicKey::from_bytes(&IDENTITY).unwrap();
        let allowed = identity.verify_simple(CONTEXT, b"message", &forged);
        assert!(allowed.is_ok(), "schnorrkel alone allows it");
        assert!(!verify(&IDENTITY, b"message", &signature));
    }

    #[test]
    fn the_same_is_signed_the_same_way() {
        assert_eq!(sign(SEED, b"message"), sign(SEED, b"message"));
        assert_ne!(sign(SEED, b"message")[..32], sign(SEED, b"other")[..32]);
    }
}
