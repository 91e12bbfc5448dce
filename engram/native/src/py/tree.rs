//! The log's tree, for Python: hashes, inclusion and consistency.
use pyo3::exceptions::{PyIndexError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList};

use super::log::LogState;
use crate::hash::Digest;
use crate::tree::{self, FramePaths};

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("LONGEST_LOG_PATH", tree::LONGEST_PATH)?;
    module.add_function(wrap_pyfunction!(leaf_hashes, module)?)?;
    module.add_function(wrap_pyfunction!(subtree_roots, module)?)?;
    module.add_function(wrap_pyfunction!(frame_paths, module)?)?;
    module.add_function(wrap_pyfunction!(verify_inclusion, module)?)?;
    module.add_function(wrap_pyfunction!(verify_consistency, module)?)?;
    Ok(())
}

/// Hashes that are made without releasing the interpreter: about 20 µs of work.
const HASHED_AT_ONCE: usize = 128;

fn hash_all(py: Python<'_>, events: &[PyBackedBytes]) -> Vec<Digest> {
    let hash = || events.iter().map(|event| tree::leaf(event)).collect();
    if events.len() > HASHED_AT_ONCE {
        py.detach(hash)
    } else {
        hash()
    }
}

/// The leaf hashes of events, one behind the other.
#[pyfunction]
fn leaf_hashes<'py>(py: Python<'py>, events: Vec<PyBackedBytes>) -> Bound<'py, PyBytes> {
    PyBytes::new(py, hash_all(py, &events).as_flattened())
}

/// The root of each complete subtree of `width` hashes (a power of two); ValueError unless they come out even.
#[pyfunction]
fn subtree_roots<'py>(
    py: Python<'py>,
    hashes: &[u8],
    width: usize,
) -> PyResult<Bound<'py, PyBytes>> {
    let (hashes, rest) = hashes.as_chunks();
    if !width.is_power_of_two() || !rest.is_empty() || hashes.len() % width != 0 {
        return Err(PyValueError::new_err(
            "these are no hashes of whole subtrees of such a width",
        ));
    }
    let roots: Vec<Digest> = hashes.chunks(width).map(tree::subtree_root).collect();
    Ok(PyBytes::new(py, roots.as_flattened()))
}

/// The inclusion paths of some events of a frame (`wanted`: their numbers in it) in the log as it ends after the frame,
/// that began at `before`. A hash that several paths share is one object.
#[pyfunction]
fn frame_paths<'py>(
    py: Python<'py>,
    before: &LogState,
    events: Vec<PyBackedBytes>,
    wanted: Vec<usize>,
) -> PyResult<Bound<'py, PyList>> {
    if wanted.iter().any(|number| *number >= events.len()) {
        return Err(PyIndexError::new_err("the frame has no such event"));
    }
    let before = before.tree();
    let frame = FramePaths::new(&before, hash_all(py, &events));
    let mut shared: Vec<Vec<Option<Bound<'py, PyBytes>>>> =
        frame.widths().map(|width| vec![None; width]).collect();
    let paths = PyList::empty(py);
    for number in wanted {
        let hash = |place: (usize, usize)| {
            let made = &mut shared[place.0][place.1];
            made.get_or_insert_with(|| PyBytes::new(py, frame.hash(place)))
                .clone()
        };
        paths.append(PyList::new(
            py,
            frame.path(number).into_iter().map(hash).collect::<Vec<_>>(),
        )?)?;
    }
    Ok(paths)
}

/// Say whether the event with this leaf hash is at `position` of the log of `size` events and this root.
#[pyfunction]
fn verify_inclusion(
    leaf: Digest,
    position: u64,
    size: u64,
    path: Vec<Digest>,
    root: Digest,
) -> bool {
    tree::verify_inclusion(&leaf, position, size, &path, &root)
}

/// Say whether the log of `second` events begins with all that the one of `first` has.
#[pyfunction]
fn verify_consistency(
    first: u64,
    first_root: Digest,
    second: u64,
    second_root: Digest,
    path: Vec<Digest>,
) -> bool {
    tree::verify_consistency(first, &first_root, second, &second_root, &path)
}
