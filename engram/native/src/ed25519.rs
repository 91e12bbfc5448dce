//! Signatures of node keys: pure Ed25519, verified strictly.
//!
//! Strictly: a scalar that is not reduced is refused, and so are a key and a commitment of small order, for which whoever
//! likes can sign. A pair's secret is overwritten when it is dropped.
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};

/// A key that signs, with its public key, which is computed once.
pub struct Pair(SigningKey);

impl Pair {
    /// The pair of a seed.
    pub fn new(seed: &[u8; 32]) -> Self {
        Self(SigningKey::from_bytes(seed))
    }

    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    pub fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

/// Say whether `signature` (64 bytes) is that of `message` under `public` (32 bytes). Wrong lengths verify nothing.
pub fn verify(public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let (Ok(public), Ok(signature)) = (
        VerifyingKey::try_from(public),
        Signature::from_slice(signature),
    ) else {
        return false;
    };
    public.verify_strict(message, &signature).is_ok()
}
