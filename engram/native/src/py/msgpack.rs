//! msgpack for Python: the scanner with a buffer under it, and the checks of whole messages.
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::msgpack::{self, MAX_BYTES, MAX_CONTAINERS, MAX_DEPTH, Scanner};

/// From here on (about 20 µs of work) the GIL is released.
const LONG: usize = 32 * 1024;

/// Find the messages in a stream of msgpack, whatever the pieces it comes in. Not for two threads at once.
#[pyclass(module = "engram.native._core")]
pub struct MessageScanner {
    scanner: Scanner,
    /// The unfinished message. It grows with what came, never with what was announced.
    buffer: Vec<u8>,
    fault: Option<&'static str>,
}

impl MessageScanner {
    /// Ends of the messages in `data`. What follows the last one is unfinished.
    fn ends(&mut self, data: &[u8]) -> Vec<usize> {
        let mut ends = Vec::new();
        let mut at = 0;
        while self.fault.is_none() {
            match self.scanner.feed(&data[at..]) {
                Ok(None) => break,
                Ok(Some(size)) => {
                    at += size;
                    ends.push(at);
                }
                Err(fault) => self.fault = Some(fault.name()),
            }
        }
        ends
    }
}

#[pymethods]
impl MessageScanner {
    #[new]
    #[pyo3(signature = (max_depth = MAX_DEPTH, max_bytes = MAX_BYTES))]
    fn new(max_depth: usize, max_bytes: usize) -> Self {
        MessageScanner {
            scanner: Scanner::new(max_depth, max_bytes),
            buffer: Vec::new(),
            fault: None,
        }
    }

    /// Take bytes; give the messages that are whole now, and what ends the stream if something does.
    ///
    /// The fault is `reserved` (not msgpack), `too_deep` or `too_large`; every later call gives it again.
    fn feed<'py>(
        &mut self,
        py: Python<'py>,
        data: &[u8],
    ) -> (Vec<Bound<'py, PyBytes>>, Option<&'static str>) {
        let ends = if data.len() < LONG {
            self.ends(data)
        } else {
            py.detach(|| self.ends(data))
        };
        let mut messages = Vec::with_capacity(ends.len());
        let mut start = 0;
        for end in ends {
            if self.buffer.is_empty() {
                messages.push(PyBytes::new(py, &data[start..end]));
            } else {
                let mut whole = std::mem::take(&mut self.buffer);
                whole.extend_from_slice(&data[start..end]);
                messages.push(PyBytes::new(py, &whole));
            }
            start = end;
        }
        if self.fault.is_some() {
            self.buffer = Vec::new();
        } else {
            self.buffer.extend_from_slice(&data[start..]);
        }
        (messages, self.fault)
    }

    /// Bytes held of the unfinished message.
    #[getter]
    fn pending(&self) -> usize {
        self.buffer.len()
    }
}

/// Check one whole message; give None, or the flaw and its path, such as `[3][0].metadata.colour`.
///
/// Flaws: `reserved`, `too_deep`, `too_large`, `too_many` (containers), `unfinished`, `trailing`, `key_not_string`,
/// `key_twice`, `not_utf8`, `ext`.
#[pyfunction]
#[pyo3(signature = (message, max_depth = MAX_DEPTH, max_containers = MAX_CONTAINERS))]
fn check_message(
    py: Python<'_>,
    message: &[u8],
    max_depth: usize,
    max_containers: usize,
) -> Option<(&'static str, String)> {
    let check = || msgpack::check(message, max_depth, max_containers);
    let checked = if message.len() < LONG {
        check()
    } else {
        py.detach(check)
    };
    checked
        .err()
        .map(|refusal| (refusal.flaw.name(), refusal.path))
}

/// Check the form of an event (formats.md §3); give None, or a flaw.
///
/// Flaws are those of `check_message`, and `size`, `not_a_map`, `no_type`, `type_not_string`.
#[pyfunction]
fn check_event(event: &[u8]) -> Option<&'static str> {
    msgpack::check_event(event).err()
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<MessageScanner>()?;
    m.add_function(wrap_pyfunction!(check_message, m)?)?;
    m.add_function(wrap_pyfunction!(check_event, m)?)
}
