//! Sealed segments for Python: what is built comes out as a buffer, and a buffer is read where it lies.
//!
//! Unsafe: a built segment lends its bytes to Python, and a mapped one borrows those of a buffer that Python owns.
use std::ffi::c_int;
use std::sync::Arc;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::index::{self, Sealed, Stored};

struct Held(PyBuffer<u8>);

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the buffer is contiguous and, while it is held, stays where it is. Nobody writes to a segment: its file
        // gets its name when it is whole, and is never opened to be written again.
        unsafe { std::slice::from_raw_parts(self.0.buf_ptr().cast(), self.0.len_bytes()) }
    }
}

/// A sealed segment, read where it lies: nothing of it is copied if it begins at a multiple of 64.
///
/// The buffer must stay as it is for as long as this lives. `ValueError` says what is wrong with one that is no segment.
#[pyclass(frozen, module = "engram.native._core")]
pub struct Segment(pub Arc<Sealed>);

#[pymethods]
impl Segment {
    #[new]
    fn new(py: Python<'_>, file: PyBuffer<u8>) -> PyResult<Self> {
        if !file.is_c_contiguous() {
            return Err(PyValueError::new_err("file: its bytes are not contiguous"));
        }
        let sealed = py.detach(|| Sealed::open(Box::new(Held(file))));
        let sealed = sealed.map_err(|reason| PyValueError::new_err(reason.to_string()))?;
        Ok(Self(Arc::new(sealed)))
    }

    /// The SHA-256 over all of it but itself.
    #[getter]
    fn digest<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.digest())
    }

    /// The number of components of a row.
    #[getter]
    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn __len__(&self) -> usize {
        self.0.slab().rows()
    }
}

/// A segment that was built, in memory: a buffer of its bytes.
#[pyclass(frozen, module = "engram.native._core")]
pub struct Built(pub index::Built);

#[pymethods]
impl Built {
    /// The digest by which the segment will be known.
    #[getter]
    fn digest<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.bytes.digest())
    }

    /// How many of the head's first rows it takes the place of.
    #[getter]
    fn head_rows(&self) -> usize {
        self.0.head_rows
    }

    fn __len__(&self) -> usize {
        self.0.rows
    }

    /// # Safety
    /// As Python calls it: `view` is to be filled.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let bytes = slf.get().0.bytes.as_ref();
        let (start, size) = (bytes.as_ptr().cast_mut().cast(), bytes.len() as isize);
        // SAFETY: the bytes stay where they are for as long as this object lives, to which the view holds on, and they
        // are lent to be read only.
        match unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, size, 1, flags) } {
            0 => Ok(()),
            _ => Err(PyErr::fetch(slf.py())),
        }
    }
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Segment>()?;
    module.add_class::<Built>()
}
