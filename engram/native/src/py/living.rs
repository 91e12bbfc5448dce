//! What lives, folded from events, for Python.
use std::sync::Mutex;

use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::hash::Digest;
use crate::living::{Changes, Living};

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<LivingFold>()
}

/// (K | value | 8 zeros) of each leaf that came or changed, K of each that went.
type Told<'py> = (Bound<'py, PyBytes>, Bound<'py, PyBytes>);

/// Which memberships, records and keys live. Every digest is 32 bytes.
#[pyclass(frozen, module = "engram.native._core")]
struct LivingFold(Mutex<Living>);

impl LivingFold {
    fn with<T>(&self, call: impl FnOnce(&mut Living) -> T) -> T {
        call(&mut self.0.lock().expect("no caller panics"))
    }
}

#[pymethods]
impl LivingFold {
    #[new]
    fn new() -> Self {
        Self(Mutex::default())
    }

    /// A put; by how many the living memberships of its namespace changed.
    fn stored(
        &self,
        ns: Digest,
        digest: Digest,
        signer: Digest,
        issued: u64,
        payload: Digest,
    ) -> i8 {
        self.with(|living| living.stored(&ns, &digest, &signer, issued, &payload))
    }

    /// A deletion; by how many the living memberships of its namespace changed.
    fn deleted(&self, ns: Digest, digest: Digest, signer: Digest, issued: u64) -> i8 {
        self.with(|living| living.deleted(&ns, &digest, &signer, issued))
    }

    /// A key and what it names, None for nothing; by how many the living keys of its namespace changed.
    fn key_set(&self, key: Digest, named: Option<Digest>, issued: u64) -> i8 {
        self.with(|living| living.key_set(&key, named.as_ref(), issued))
    }

    /// How many memberships of a record live.
    fn lives(&self, digest: Digest) -> u32 {
        self.with(|living| living.lives(&digest))
    }

    /// What the tries of records and of heads have to be told since the last call.
    fn changes<'py>(&self, py: Python<'py>) -> (Told<'py>, Told<'py>) {
        let (records, heads) = py.detach(|| {
            self.with(|living| (living.changes_of_records(), living.changes_of_heads()))
        });
        (told(py, &records), told(py, &heads))
    }
}

fn told<'py>(py: Python<'py>, changes: &Changes) -> Told<'py> {
    let mut rows = Vec::with_capacity(72 * changes.inserted.len());
    for (key, value) in &changes.inserted {
        rows.extend_from_slice(key);
        rows.extend_from_slice(value);
        rows.extend_from_slice(&[0; 8]);
    }
    (
        PyBytes::new(py, &rows),
        PyBytes::new(py, changes.removed.as_flattened()),
    )
}
