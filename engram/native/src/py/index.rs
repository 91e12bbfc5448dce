//! The exact scan for Python: buffers in, row ids and scores out. A refused argument is a `ValueError`.
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::index::{self, Batch, Cosines, IndexError, Kernel, Query};

/// Vectors copied with the GIL held before they are coded without it: about 100 µs of copying.
const COPY_ROWS: usize = 1024;
/// Components that take about 20 µs to scan and to work on in floating point; below, the GIL is kept, because taking it
/// back beside a busy thread can cost milliseconds.
const SCAN_DETACH: usize = 262_144;
const FLOAT_DETACH: usize = 16_384;
/// Bytes of a record payload before its vector.
const PAYLOAD_HEADER: usize = 64;

fn refused(reason: IndexError) -> PyErr {
    PyValueError::new_err(reason.to_string())
}

fn kernel_of(name: Option<&str>) -> Result<Kernel, IndexError> {
    name.map_or_else(Kernel::chosen, Kernel::named)
}

fn released_if<T: Send>(long: bool, py: Python<'_>, work: impl FnOnce() -> T + Send) -> T {
    if long { py.detach(work) } else { work() }
}

/// Append a buffer's bytes to `into`. A copy, because its owner may change it while the GIL is released.
fn copy(buffer: &Bound<'_, PyAny>, into: &mut Vec<u8>) -> PyResult<usize> {
    let py = buffer.py();
    let buffer = PyUntypedBuffer::get(buffer)?;
    let from = into.len();
    into.resize(from + buffer.len_bytes(), 0);
    buffer
        .as_typed::<u8>()?
        .copy_to_slice(py, &mut into[from..])?;
    buffer.release(py);
    Ok(into.len() - from)
}

/// Append-only 8-bit codes of one dimension (1..4096), with a proven error: one writer, any number of snapshots.
///
/// Vectors are little-endian float32 of any length but zero. `ValueError` refuses a whole call and changes nothing.
#[pyclass(frozen, module = "engram.native._core")]
struct Codes {
    dim: usize,
    inner: Mutex<index::Codes>,
}

impl Codes {
    /// Held for as long as a copy takes, and never while waiting for the GIL.
    fn lock(&self) -> MutexGuard<'_, index::Codes> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Add the codes of whole vectors to a batch, the GIL released.
    fn code(&self, py: Python<'_>, vectors: &[u8], batch: &mut Batch) -> PyResult<()> {
        let code = || {
            vectors.chunks_exact(self.dim * 4).try_for_each(|vector| {
                let at = batch.len();
                batch.push(vector).map_err(|reason| reason.at(at))
            })
        };
        let long = vectors.len() / 4 >= FLOAT_DETACH;
        released_if(long, py, code).map_err(refused)
    }

    fn publish(&self, py: Python<'_>, batch: &Batch) -> PyResult<()> {
        let long = batch.len() * self.dim >= SCAN_DETACH;
        released_if(long, py, || self.lock().append(batch)).map_err(refused)
    }
}

#[pymethods]
impl Codes {
    #[new]
    fn new(dim: usize) -> PyResult<Self> {
        Kernel::chosen().map_err(refused)?;
        let inner = Mutex::new(index::Codes::new(dim).map_err(refused)?);
        Ok(Self { dim, inner })
    }

    #[getter]
    fn dim(&self) -> usize {
        self.dim
    }

    fn __len__(&self) -> usize {
        self.lock().len()
    }

    /// Append the n * dim floats of n rows. `bytes` are read in place; another buffer is copied first.
    fn append(&self, vectors: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut copied = Vec::new();
        let bytes = if let Ok(bytes) = vectors.cast::<PyBytes>() {
            bytes.as_bytes()
        } else {
            copy(vectors, &mut copied)?;
            &copied
        };
        let size = self.dim * 4;
        if !bytes.len().is_multiple_of(size) {
            let text = format!(
                "vectors must be a multiple of {size} bytes, got {}",
                bytes.len()
            );
            return Err(PyValueError::new_err(text));
        }
        let mut batch = Batch::new(self.dim).map_err(refused)?;
        self.code(vectors.py(), bytes, &mut batch)?;
        self.publish(vectors.py(), &batch)
    }

    /// Append the vector of each record payload.
    fn append_payloads(&self, py: Python<'_>, payloads: Vec<Bound<'_, PyAny>>) -> PyResult<()> {
        let mut batch = Batch::new(self.dim).map_err(refused)?;
        let (mut payload, mut vectors) = (Vec::new(), Vec::new());
        for part in payloads.chunks(COPY_ROWS) {
            vectors.clear();
            for (at, buffer) in part.iter().enumerate() {
                payload.clear();
                copy(buffer, &mut payload)?;
                let vector = vector_of(&payload, self.dim).map_err(|text| {
                    PyValueError::new_err(format!("payload {}: {text}", batch.len() + at))
                })?;
                vectors.extend_from_slice(vector);
            }
            self.code(py, &vectors, &mut batch)?;
        }
        self.publish(py, &batch)
    }

    /// Publish the rows that are there now.
    fn snapshot(&self) -> CodesSnapshot {
        CodesSnapshot(self.lock().snapshot())
    }
}

/// Find the vector in a record payload: "EPR1", flags, dtype 0, dim u16 at 6, and f32 * dim at 64.
fn vector_of(payload: &[u8], dim: usize) -> Result<&[u8], String> {
    let end = PAYLOAD_HEADER + dim * 4;
    if payload.len() < end {
        return Err(format!(
            "needs {end} bytes for {dim} components, got {}",
            payload.len()
        ));
    }
    if payload[..4] != *b"EPR1" || payload[5] != 0 {
        return Err("is not a record payload of f32".to_owned());
    }
    match u16::from_le_bytes([payload[6], payload[7]]) {
        found if usize::from(found) == dim => Ok(&payload[PAYLOAD_HEADER..end]),
        found => Err(format!("dim must be {dim}, got {found}")),
    }
}

/// The codes as they were when it was taken; any number of threads may use it at once.
#[pyclass(frozen, module = "engram.native._core")]
struct CodesSnapshot(index::Snapshot);

#[pymethods]
impl CodesSnapshot {
    #[getter]
    fn dim(&self) -> usize {
        self.0.dim()
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }

    /// Give the rows, ascending, that hold the k largest `exact_cosines`, and all that tie with the last of them.
    ///
    /// Only rows in both bitmaps count (row i is bit i % 8 of byte i // 8; rows past the end are not in it); None holds
    /// every row. `kernel`, one of `scan_kernels()`, goes before ENGRAM_KERNEL.
    #[pyo3(signature = (query, k, allowed=None, alive=None, *, kernel=None))]
    fn candidates(
        &self,
        py: Python<'_>,
        query: &[u8],
        k: usize,
        allowed: Option<&[u8]>,
        alive: Option<&[u8]>,
        kernel: Option<&str>,
    ) -> PyResult<Vec<u32>> {
        let kernel = kernel_of(kernel).map_err(refused)?;
        let query = Query::new(self.0.dim(), query).map_err(refused)?;
        let masks: Vec<&[u8]> = allowed.into_iter().chain(alive).collect();
        let scan = || self.0.candidates(kernel, &query, k, &masks);
        let long = self.0.len() * self.0.dim() >= SCAN_DETACH;
        Ok(released_if(long, py, scan))
    }

    /// Make the bitmap of these rows; `ValueError` for one that is not here.
    fn bitmap<'py>(&self, py: Python<'py>, rows: Vec<i64>) -> PyResult<Bound<'py, PyBytes>> {
        let bits = index::bitmap(self.0.len(), &rows).map_err(refused)?;
        Ok(PyBytes::new(py, &bits))
    }
}

/// Give the float32 cosine of `query` with each row, in [-1, 1], the same bits on every machine.
#[pyfunction]
#[pyo3(signature = (query, rows, *, kernel=None))]
fn exact_cosines(
    py: Python<'_>,
    query: &[u8],
    rows: Vec<Bound<'_, PyAny>>,
    kernel: Option<&str>,
) -> PyResult<Vec<f32>> {
    let kernel = kernel_of(kernel).map_err(refused)?;
    let mut cosines = Cosines::new(kernel, query.len() / 4, query).map_err(refused)?;
    let mut scores = Vec::with_capacity(rows.len());
    let mut bytes = Vec::new();
    for part in rows.chunks(COPY_ROWS) {
        bytes.clear();
        for (at, row) in part.iter().enumerate() {
            let (expected, got) = (query.len(), copy(row, &mut bytes)?);
            if got != expected {
                return Err(refused(
                    IndexError::Length { expected, got }.at(scores.len() + at),
                ));
            }
        }
        let score = || {
            bytes.chunks_exact(query.len()).try_for_each(|row| {
                let at = scores.len();
                scores.push(cosines.score(row).map_err(|reason| reason.at(at))?);
                Ok(())
            })
        };
        released_if(bytes.len() / 4 >= FLOAT_DETACH, py, score).map_err(refused)?;
    }
    Ok(scores)
}

/// Names of the scan kernels that this CPU can run, the best first.
#[pyfunction]
fn scan_kernels() -> Vec<&'static str> {
    Kernel::available().into_iter().map(Kernel::name).collect()
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Codes>()?;
    module.add_class::<CodesSnapshot>()?;
    module.add_function(wrap_pyfunction!(exact_cosines, module)?)?;
    module.add_function(wrap_pyfunction!(scan_kernels, module)?)
}
