//! The miner's walk for Python, and hashing many payloads at once.
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use super::maps::digest_of;
use super::trie::TrieView;
use crate::challenge::LINKS;
use crate::collect;
use crate::hash::sha256_each;

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(pos_collect, module)?)?;
    module.add_function(wrap_pyfunction!(sha256_many, module)?)?;
    Ok(())
}

type Place<'py> = (u64, Bound<'py, PyBytes>, Bound<'py, PyBytes>, u64);
type Collected<'py> = (Bound<'py, PyBytes>, Vec<Place<'py>>, bool, Option<usize>);

/// Walk a chain of `m` links over a trie as its miner: (last seed, places, lacking, rotten).
///
/// `read(location)` gives a payload, or None. Places: (rank, K, value, location) of the distinct leaves drawn, by first
/// appearance. `lacking`: the last of them has no payload, and the seed is the one that drew it. `rotten`: the number of a
/// place whose payload is not its own; the seed is of no use then. What `read` raises is raised.
#[pyfunction]
fn pos_collect<'py>(
    py: Python<'py>,
    view: &TrieView,
    chal_id: &[u8],
    m: usize,
    read: &Bound<'py, PyAny>,
) -> PyResult<Collected<'py>> {
    let walked = collect::collect(
        &digest_of(chal_id)?,
        &view.inner,
        m.min(LINKS),
        |location| {
            read.call1((location,))?
                .extract::<Option<PyBackedBytes>>()
                .map_err(PyErr::from)
        },
    )?;
    let places = walked.places.iter().map(|(rank, leaf)| {
        let (key, value) = (PyBytes::new(py, &leaf.key), PyBytes::new(py, &leaf.value));
        (*rank, key, value, leaf.location)
    });
    let seed = PyBytes::new(py, &walked.seed);
    Ok((seed, places.collect(), walked.lacking, walked.rotten))
}

/// The SHA-256 of each payload, one behind the other.
#[pyfunction]
fn sha256_many<'py>(py: Python<'py>, payloads: Vec<PyBackedBytes>) -> Bound<'py, PyBytes> {
    let messages: Vec<[&[u8]; 1]> = payloads.iter().map(|payload| [payload.as_ref()]).collect();
    let hashes = py.detach(|| sha256_each(&messages));
    PyBytes::new(py, hashes.as_flattened())
}
