//! Signatures of node keys: pure Ed25519, verified strictly.
//!
//! Strictly: a scalar that is not reduced is refused, and so are a key and a commitment of small order, for which whoever
//! likes can sign. Nothing here holds a secret: keys sign elsewhere.
use ed25519_dalek::{Signature, VerifyingKey};

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
