//! Record payloads, embeddings, and signatures.
use _core::hash::sha256;
use _core::{ed25519, record, sr25519};

use crate::bounds::bounded;
use crate::golden;
use crate::recipe::Recipe;

/// Golden payloads, and one of each kind that is small.
pub fn payloads() -> Vec<Vec<u8>> {
    let mut good = golden::hex_under(
        &golden::json("formats.json")["payload"]["accepted"],
        "payload_hex",
    );
    let made = [
        record::encode(0, &[0, 0, 128, 63], b"{}", b"v1", b"", None),
        record::encode(
            1,
            &[0, 0, 128, 63, 0, 0, 0, 0],
            br#"{"a":[1,"\u0000",{"b":null}]}"#,
            b"test/1",
            b"text",
            None,
        ),
        record::encode(2, b"", b"{}", b"sealed/1", b"ciphertext", None),
    ];
    good.extend(made.into_iter().map(|made| made.expect("a good record").1));
    good
}

/// Put the content's hash right: whoever forges a payload can.
pub fn mend(payload: &mut [u8], _level: u8) {
    let Some(header) = payload.first_chunk::<{ record::HEADER }>() else {
        return;
    };
    let blob_len = u32::from_le_bytes([header[16], header[17], header[18], header[19]]) as usize;
    if let Some(blob) = payload
        .len()
        .checked_sub(blob_len)
        .filter(|at| *at >= record::HEADER)
    {
        let hash = sha256(&[&payload[blob..]]);
        payload[32..64].copy_from_slice(&hash);
    }
}

#[test]
fn record() {
    let good = payloads();
    bolero::check!().with_type::<Recipe>().for_each(|recipe| {
        let payload = recipe.bytes(&good, mend);
        let Ok((digest, found)) = bounded(payload.len(), 64, || record::decode(&payload)) else {
            return;
        };
        let again = record::encode(
            found.flags,
            found.embedding,
            found.metadata,
            found.model_version,
            found.blob,
            Some(found.content),
        );
        assert_eq!(
            again,
            Ok((digest, payload)),
            "a payload is a function of its fields"
        );
    });
}

#[test]
fn embedding() {
    let good = vec![vec![0, 0, 128, 63], 1.5f32.to_le_bytes().repeat(384)];
    bolero::check!().with_type::<Recipe>().for_each(|recipe| {
        let bytes = recipe.bytes(&good, |_, _| ());
        let accepted = bounded(bytes.len(), 2, || record::check_embedding(&bytes)).is_ok();
        let numbers = bytes
            .as_chunks::<4>()
            .0
            .iter()
            .map(|raw| f32::from_le_bytes(*raw));
        let finite = numbers
            .clone()
            .all(|x| x.is_finite() && x.to_bits() != 0x8000_0000);
        let some = bytes.is_empty() || numbers.clone().any(|x| x != 0.0);
        let whole = bytes.len().is_multiple_of(4) && bytes.len() / 4 <= record::DIM_LIMIT;
        assert_eq!(accepted, whole && finite && some);
    });
}

/// Public key, signature, message: only what was signed verifies.
#[test]
fn sr25519_signature() {
    const MESSAGE: &[u8] = b"engram/put/1\n";
    let signed = |seed: u8| {
        let (public, signature) = (
            sr25519::public([seed; 32]),
            sr25519::sign([seed; 32], MESSAGE),
        );
        [&public[..], &signature, MESSAGE].concat()
    };
    let good = vec![signed(7), signed(8), vec![0; 96 + MESSAGE.len()]];
    bolero::check!().with_type::<Recipe>().for_each(|recipe| {
        let bytes = recipe.bytes(&good, |_, _| ());
        let (public, rest) = bytes.split_at(bytes.len().min(32));
        let (signature, message) = rest.split_at(rest.len().min(64));
        let verified = bounded(bytes.len(), 16, || {
            sr25519::verify(public, message, signature)
        });
        assert_eq!(
            verified,
            good[..2].contains(&bytes),
            "only what was signed verifies"
        );
    });
}

/// Public key, signature, message, as RFC 8032 §7.1 signs the empty one: only that verifies.
#[test]
fn ed25519_signature() {
    const SIGNED: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\
                          e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155\
                          5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b";
    let digit = |at: usize| u8::from_str_radix(&SIGNED[2 * at..][..2], 16).expect("hex");
    let signed: Vec<u8> = (0..96).map(digit).collect();
    let good = vec![signed, vec![0; 96]];
    bolero::check!().with_type::<Recipe>().for_each(|recipe| {
        let bytes = recipe.bytes(&good, |_, _| ());
        let (public, rest) = bytes.split_at(bytes.len().min(32));
        let (signature, message) = rest.split_at(rest.len().min(64));
        let verified = bounded(bytes.len(), 16, || {
            ed25519::verify(public, message, signature)
        });
        assert_eq!(verified, bytes == good[0], "only what was signed verifies");
    });
}
