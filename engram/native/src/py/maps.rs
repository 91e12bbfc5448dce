//! The maps of body segments, as buffers that Python owns.
//!
//! The only unsafe code of the Python layer: bytes of a buffer are copied while no GIL is held, and while the file behind
//! it may be written, so no reference to them is ever made.
use std::fmt;
use std::sync::Arc;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::hash::Digest;
use crate::index::{self, MAX_SEGMENTS, Map, tag_of};

struct Borrowed(PyBuffer<u8>);

impl fmt::Debug for Borrowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Borrowed({} bytes)", self.size())
    }
}

impl Map for Borrowed {
    fn size(&self) -> usize {
        self.0.len_bytes()
    }

    fn copy(&self, at: usize, out: &mut [u8]) {
        assert!(at <= self.size() && out.len() <= self.size() - at);
        let start = self.0.buf_ptr().cast::<u8>();
        // SAFETY: the buffer is contiguous and, while it is held, stays where it is; the range is inside it, and `out` is
        // memory of ours. Whoever writes to the file meanwhile leaves some of the old bytes and some of the new.
        unsafe { std::ptr::copy_nonoverlapping(start.add(at), out.as_mut_ptr(), out.len()) }
    }
}

/// The maps of body segments, by number: one writer puts them, any thread reads what stands at a location.
///
/// A location is number * 2**26 + the offset of a body's frame in its segment.
#[pyclass(frozen, module = "engram.native._core")]
pub struct BodyMaps(pub Arc<index::BodyMaps>);

#[pymethods]
impl BodyMaps {
    #[new]
    fn new() -> Self {
        Self(Arc::default())
    }

    /// Take a buffer for the bytes of a segment, in the place of an earlier one; what an earlier one held it must hold.
    fn put(&self, number: usize, map: PyBuffer<u8>) -> PyResult<()> {
        if !map.is_c_contiguous() {
            return Err(PyValueError::new_err("map: its bytes are not contiguous"));
        }
        if number >= MAX_SEGMENTS {
            let text = format!("number must be below {MAX_SEGMENTS}, got {number}");
            return Err(PyValueError::new_err(text));
        }
        drop(self.0.put(number, Arc::new(Borrowed(map))));
        Ok(())
    }

    /// Give a copy of the body at a location whose checksum, and digest where one is given, are right; None where not.
    #[pyo3(signature = (location, digest=None))]
    fn proved<'py>(
        &self,
        py: Python<'py>,
        location: u64,
        digest: Option<Digest>,
    ) -> Option<Bound<'py, PyBytes>> {
        let body = self
            .0
            .maps()
            .proved(location, digest.as_ref().map(tag_of))?;
        let right = digest.is_none_or(|digest| digest == body.digest);
        right.then(|| PyBytes::new(py, &body.payload))
    }
}

/// Take bytes for a digest.
pub fn digest_of(bytes: &[u8]) -> PyResult<Digest> {
    bytes.try_into().map_err(|_| {
        let text = format!("digest must be 32 bytes, got {}", bytes.len());
        PyValueError::new_err(text)
    })
}
