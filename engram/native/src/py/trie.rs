//! State tries and challenges for Python.
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyString};

use super::maps::digest_of;
use crate::answer::{self, Asked, Sent};
use crate::challenge;
use crate::hash::{Digest, Hmac, hex_of};
use crate::trie::{self, GROUP_BITS, Leaf, Proof, Snapshot, Wanted};

/// Leaves whose change or hashing takes about 20 µs; below, the GIL is kept.
const DETACH_LEAVES: usize = 16;
/// Bytes whose hashing takes about 20 µs.
const DETACH_BYTES: usize = 32 << 10;

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Trie>()?;
    module.add_class::<TrieView>()?;
    module.add_function(wrap_pyfunction!(verify_multiproof, module)?)?;
    module.add_function(wrap_pyfunction!(verify_group, module)?)?;
    module.add_function(wrap_pyfunction!(pos_seed, module)?)?;
    module.add_function(wrap_pyfunction!(pos_rank, module)?)?;
    module.add_function(wrap_pyfunction!(pos_next, module)?)?;
    module.add_function(wrap_pyfunction!(pos_show, module)?)?;
    module.add_function(wrap_pyfunction!(hmac_v1, module)?)?;
    module.add_function(wrap_pyfunction!(hmac_v1_batch, module)?)?;
    Ok(())
}

fn refused(reason: impl Into<String>) -> PyErr {
    PyValueError::new_err(reason.into())
}

/// A buffer's bytes. A copy, because its owner may change it while the GIL is released.
fn copied(name: &str, py: Python<'_>, buffer: &PyBuffer<u8>) -> PyResult<Vec<u8>> {
    if !buffer.is_c_contiguous() {
        return Err(refused(format!("{name}: its bytes are not contiguous")));
    }
    buffer.to_vec(py)
}

fn digests(keys: &[PyBackedBytes]) -> PyResult<Vec<Digest>> {
    keys.iter().map(|key| digest_of(key)).collect()
}

/// A state trie in the hands of its one writer.
///
/// `leaves`: rows of 72 bytes (K 32 | value 32 | location u64 LE) in any order; `ValueError` if a K stands twice. The
/// location, where the bytes behind the value lie, is carried along and hashed nowhere.
#[pyclass(frozen, module = "engram.native._core")]
struct Trie {
    inner: Mutex<trie::Trie>,
}

impl Trie {
    /// Wait without the GIL: whoever holds the trie may be waiting for that.
    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, trie::Trie> {
        let locked = self.inner.lock_py_attached(py);
        locked.unwrap_or_else(PoisonError::into_inner)
    }

    /// As `lock`, for who has let go of the GIL.
    fn lock_detached(&self) -> MutexGuard<'_, trie::Trie> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<trie::Trie> for Trie {
    fn from(trie: trie::Trie) -> Self {
        Self {
            inner: Mutex::new(trie),
        }
    }
}

#[pymethods]
impl Trie {
    #[new]
    #[pyo3(signature = (leaves=None))]
    fn new(py: Python<'_>, leaves: Option<PyBuffer<u8>>) -> PyResult<Self> {
        let Some(leaves) = leaves else {
            return Ok(trie::Trie::default().into());
        };
        let rows = copied("leaves", py, &leaves)?;
        let built = py.detach(|| {
            trie::Trie::build(&rows).map(|mut trie| {
                trie.commit();
                trie
            })
        });
        Ok(built.map_err(refused)?.into())
    }

    /// Read back what `TrieView.save` gave; `ValueError` for anything else. Hashes nothing.
    #[staticmethod]
    fn load(py: Python<'_>, file: PyBuffer<u8>) -> PyResult<Self> {
        let file = copied("file", py, &file)?;
        let loaded = py.detach(|| trie::load(&file));
        Ok(loaded.map_err(refused)?.into())
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.lock(py).count() as usize
    }

    /// Insert a leaf, or replace the one with its key; True if it is new.
    #[pyo3(signature = (key, value, location=0))]
    fn insert(&self, py: Python<'_>, key: &[u8], value: &[u8], location: u64) -> PyResult<bool> {
        let leaf = Leaf {
            key: digest_of(key)?,
            value: digest_of(value)?,
            location,
        };
        Ok(self.lock(py).insert(leaf))
    }

    /// Remove a leaf; False if there was none.
    fn remove(&self, py: Python<'_>, key: &[u8]) -> PyResult<bool> {
        Ok(self.lock(py).remove(&digest_of(key)?))
    }

    /// Remove keys of 32 bytes, absent ones too, then insert rows of 72: of a key that comes twice the last one stays.
    fn update(
        &self,
        py: Python<'_>,
        inserted: PyBuffer<u8>,
        removed: PyBuffer<u8>,
    ) -> PyResult<()> {
        let (rows, keys) = (
            copied("inserted", py, &inserted)?,
            copied("removed", py, &removed)?,
        );
        let done = py.detach(|| self.lock_detached().update(&rows, &keys));
        done.map_err(refused)
    }

    /// Hash what has changed and give a snapshot, which stays as it is while the writer goes on.
    fn commit(&self, py: Python<'_>) -> TrieView {
        let inner = py.detach(|| self.lock_detached().commit());
        TrieView {
            root: inner.root(),
            inner,
        }
    }
}

type PyProof<'py> = (Vec<Bound<'py, PyBytes>>, Bound<'py, PyBytes>);

/// A trie as it was when it was committed; for any thread.
#[pyclass(frozen, module = "engram.native._core")]
pub struct TrieView {
    pub inner: Snapshot,
    root: Digest,
}

impl TrieView {
    fn prove_wanted<'py>(&self, py: Python<'py>, wanted: Wanted<'_>) -> PyResult<PyProof<'py>> {
        let proof = py.detach(|| self.inner.prove(wanted)).map_err(refused)?;
        let Proof { leaves, multiproof } = proof;
        let opened = |leaf: &Leaf| opened(py, &leaf.key, &leaf.value);
        Ok((
            leaves.iter().map(opened).collect(),
            PyBytes::new(py, &multiproof),
        ))
    }
}

/// An opened leaf as it is sent: K | value.
fn opened<'py>(py: Python<'py>, key: &Digest, value: &Digest) -> Bound<'py, PyBytes> {
    PyBytes::new(py, [*key, *value].as_flattened())
}

#[pymethods]
impl TrieView {
    /// The hash over all of it; 32 zeros when it is empty.
    #[getter]
    fn root<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.root)
    }

    fn __len__(&self) -> usize {
        self.inner.count() as usize
    }

    /// Bytes of memory that it holds on to, what it shares with other snapshots included.
    #[getter]
    fn size_bytes(&self, py: Python<'_>) -> usize {
        py.detach(|| self.inner.size())
    }

    /// The leaf at a rank, in the order of keys: (K, value, location). `IndexError` beyond the last.
    fn leaf<'py>(
        &self,
        py: Python<'py>,
        rank: u64,
    ) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>, u64)> {
        let Some(leaf) = self.inner.leaf(rank) else {
            let text = format!("rank {rank} is not below the count, {}", self.inner.count());
            return Err(PyIndexError::new_err(text));
        };
        Ok((
            PyBytes::new(py, &leaf.key),
            PyBytes::new(py, &leaf.value),
            leaf.location,
        ))
    }

    /// The leaf of a key: (rank, value, location); None if there is none.
    fn find<'py>(
        &self,
        py: Python<'py>,
        key: &[u8],
    ) -> PyResult<Option<(u64, Bound<'py, PyBytes>, u64)>> {
        let found = self.inner.find(&digest_of(key)?);
        Ok(found.map(|(rank, leaf)| (rank, PyBytes::new(py, &leaf.value), leaf.location)))
    }

    /// Prove the leaves at ranks, in any order: (the opened leaves, K | value each, in trie order, the multiproof).
    fn prove<'py>(&self, py: Python<'py>, mut ranks: Vec<u64>) -> PyResult<PyProof<'py>> {
        ranks.sort_unstable();
        ranks.dedup();
        self.prove_wanted(py, Wanted::Ranks(&ranks))
    }

    /// Prove, of each key, its leaf or what stands on its path in place of it.
    fn prove_keys<'py>(&self, py: Python<'py>, keys: Vec<PyBackedBytes>) -> PyResult<PyProof<'py>> {
        let mut keys = digests(&keys)?;
        keys.sort_unstable();
        keys.dedup();
        let spans: Vec<_> = keys.iter().map(|key| (*key, *key)).collect();
        self.prove_wanted(py, Wanted::Spans(&spans))
    }

    /// The first rank and the number of leaves of a placement group (the top 14 bits of K).
    fn group(&self, g: u16) -> PyResult<(u64, u64)> {
        Ok(self.inner.group(group_of(g)?))
    }

    /// Prove all leaves of a placement group, and that there are no others: `verify_group` checks it.
    fn prove_group<'py>(&self, py: Python<'py>, g: u16) -> PyResult<PyProof<'py>> {
        self.prove_wanted(py, Wanted::Spans(&[trie::group_span(group_of(g)?)]))
    }

    /// The whole of it as a file that `Trie.load` reads.
    fn save<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        let file = py.detach(|| trie::save(&self.inner));
        PyBytes::new(py, &file)
    }
}

fn group_of(g: u16) -> PyResult<u16> {
    if usize::from(g) < 1 << GROUP_BITS {
        return Ok(g);
    }
    Err(refused(format!(
        "a placement group is below {}, got {g}",
        1 << GROUP_BITS
    )))
}

/// Check a multiproof and give the ranks of its opened leaves, in trie order; `ValueError` says why it is INVALID.
///
/// `leaves`: those opened, K | value each. `keys`: None if leaves were asked for by rank (mode 0), else the keys that were
/// asked for (mode 3), ascending and distinct. Whether the ranks are those that were asked for is the caller's to compare.
#[pyfunction]
fn verify_multiproof(
    py: Python<'_>,
    root: &[u8],
    count: u64,
    leaves: Vec<PyBackedBytes>,
    multiproof: &[u8],
    keys: Option<Vec<PyBackedBytes>>,
) -> PyResult<Vec<u64>> {
    let root = digest_of(root)?;
    let spans = keys.map(|keys| spans_of(&keys)).transpose()?;
    let check = || trie::verify(&root, count, &leaves, multiproof, spans.as_deref());
    let ranks = if multiproof.len() >= DETACH_BYTES || leaves.len() >= DETACH_LEAVES {
        py.detach(check)
    } else {
        check()
    };
    ranks.map_err(refused)
}

fn spans_of(keys: &[PyBackedBytes]) -> PyResult<Vec<(Digest, Digest)>> {
    let keys = digests(keys)?;
    if keys.is_empty() || keys.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(refused("keys: one or more, ascending and distinct"));
    }
    Ok(keys.into_iter().map(|key| (key, key)).collect())
}

/// Check the proof of a whole placement group: (the first rank of its leaves, their number).
///
/// Leaves that stand on the group's path without being of it are opened too; those of the group are the others.
#[pyfunction]
fn verify_group(
    py: Python<'_>,
    root: &[u8],
    count: u64,
    leaves: Vec<PyBackedBytes>,
    multiproof: &[u8],
    g: u16,
) -> PyResult<(u64, u64)> {
    let (root, span) = (digest_of(root)?, trie::group_span(group_of(g)?));
    let ranks = py.detach(|| trie::verify(&root, count, &leaves, multiproof, Some(&[span])));
    let ranks = ranks.map_err(refused)?;
    let of_group = |leaf: &PyBackedBytes| (&span.0[..]..=&span.1[..]).contains(&&leaf[..32]);
    let mut of = ranks.iter().zip(&leaves).filter(|(_, leaf)| of_group(leaf));
    let first = of.next().map(|(rank, _)| *rank);
    Ok((
        first.unwrap_or(0),
        of.count() as u64 + u64::from(first.is_some()),
    ))
}

/// The first seed of a challenge's chain.
#[pyfunction]
fn pos_seed<'py>(py: Python<'py>, chal_id: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    Ok(PyBytes::new(py, &challenge::seed(&digest_of(chal_id)?)))
}

/// The rank that a seed draws among `count` leaves.
#[pyfunction]
fn pos_rank(seed: &[u8], count: u64) -> PyResult<u64> {
    Ok(challenge::rank(&digest_of(seed)?, count))
}

/// The seed after a payload.
#[pyfunction]
fn pos_next<'py>(
    py: Python<'py>,
    seed: &[u8],
    payload: PyBackedBytes,
) -> PyResult<Bound<'py, PyBytes>> {
    let seed = digest_of(seed)?;
    let next = if payload.len() >= DETACH_BYTES {
        py.detach(|| challenge::next(&seed, &payload))
    } else {
        challenge::next(&seed, &payload)
    };
    Ok(PyBytes::new(py, &next))
}

type PyShown<'py> = (
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    Option<Bound<'py, PyBytes>>,
    Option<String>,
);

/// Judge phase B of a challenge over the trie of a root and a count: (hashes, seed_m, lacks, wrong).
///
/// `keys`: None by rank, else those that were asked for, ascending and distinct. `payloads`: of the distinct ranks by first
/// appearance, or of the keys that are held, each certified as a record. Gives the hashes of all payloads one behind the
/// other, the seed that they lead to, the leaf at which they end too early, and why all of it is INVALID if it is.
#[pyfunction]
#[allow(clippy::too_many_arguments)] // what is asked, and what was sent
fn pos_show<'py>(
    py: Python<'py>,
    chal_id: &[u8],
    root: &[u8],
    count: u64,
    m: usize,
    keys: Option<Vec<PyBackedBytes>>,
    leaves: Vec<PyBackedBytes>,
    multiproof: &[u8],
    payloads: Vec<PyBackedBytes>,
) -> PyResult<PyShown<'py>> {
    let keys = keys.map(|keys| spans_of(&keys)).transpose()?;
    let asked = Asked {
        chal_id: digest_of(chal_id)?,
        root: digest_of(root)?,
        count,
        links: m,
        keys: keys.as_deref(),
    };
    let sent = Sent {
        leaves: &leaves,
        multiproof,
        payloads: &payloads,
    };
    let (hashes, shown) = py.detach(|| {
        let hashes = answer::hashes_of(sent.payloads);
        let shown = answer::show(&asked, &sent, &hashes);
        (hashes, shown)
    });
    let hashes = PyBytes::new(py, hashes.as_flattened());
    Ok(match shown {
        Ok(shown) => {
            let lacks = shown.lacks.map(|leaf| PyBytes::new(py, &leaf));
            (hashes, PyBytes::new(py, &shown.seed), lacks, None)
        }
        Err(wrong) => (hashes, PyBytes::new(py, &[]), None, Some(wrong)),
    })
}

/// The first Engram's proof of an embedding by its hash, both in hex. `key`: H(validator key | nonce).
#[pyfunction]
fn hmac_v1<'py>(
    py: Python<'py>,
    key: &[u8],
    embedding_hash: &str,
) -> PyResult<Bound<'py, PyString>> {
    let key = Hmac::new(&digest_of(key)?);
    proof_v1(py, &key, embedding_hash, None)
}

/// The proofs of a batch, each over its place in it too; None where there is no hash.
#[pyfunction]
fn hmac_v1_batch<'py>(
    py: Python<'py>,
    key: &[u8],
    embedding_hashes: Vec<Option<PyBackedStr>>,
) -> PyResult<Vec<Option<Bound<'py, PyString>>>> {
    let key = Hmac::new(&digest_of(key)?);
    let proof = |(hash, index): (&Option<PyBackedStr>, u32)| {
        let hash = hash.as_deref();
        hash.map(|hash| proof_v1(py, &key, hash, Some(index)))
            .transpose()
    };
    embedding_hashes.iter().zip(0..).map(proof).collect()
}

fn proof_v1<'py>(
    py: Python<'py>,
    key: &Hmac,
    embedding_hash: &str,
    index: Option<u32>,
) -> PyResult<Bound<'py, PyString>> {
    let Ok(hash) = embedding_hash.as_bytes().try_into() else {
        let text = format!(
            "an embedding's hash has 64 digits, not {}",
            embedding_hash.len()
        );
        return Err(PyValueError::new_err(text));
    };
    let code = hex_of(&challenge::proof_v1(key, hash, index));
    PyString::from_bytes(py, &code)
}
