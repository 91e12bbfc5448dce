//! The check of JSON for Python.
use pyo3::prelude::*;

use crate::json;
use crate::msgpack::{MAX_CONTAINERS, MAX_DEPTH};

/// From here on (about 20 µs of work) the GIL is released.
const LONG: usize = 16 * 1024;

/// Check one JSON text; give None, or the flaw, its path, such as `.metadata.colour`, and the byte it was found at.
///
/// Flaws: `too_deep`, `too_many` (containers), `trailing`, `key_twice`, `not_utf8`, `surrogate`; any other names what
/// was expected there: the text is not JSON.
#[pyfunction]
#[pyo3(signature = (text, max_depth = MAX_DEPTH, max_containers = MAX_CONTAINERS))]
fn check_json(
    py: Python<'_>,
    text: &[u8],
    max_depth: usize,
    max_containers: usize,
) -> Option<(&'static str, String, usize)> {
    let check = || json::check(text, max_depth, max_containers);
    let checked = if text.len() < LONG {
        check()
    } else {
        py.detach(check)
    };
    checked
        .err()
        .map(|refusal| (refusal.flaw.name(), refusal.path, refusal.at))
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(check_json, m)?)
}
