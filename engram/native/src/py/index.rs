//! The index for Python: buffers in, hits out. A refused argument is a `ValueError`.
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::sync::MutexExt;
use pyo3::types::PyBytes;

use super::attributes::{FilterPlan, unanswered};
use super::maps::{BodyMaps, digest_of};
use super::segment::{Built, Segment};
use crate::index::{self, Ask, Cosines, IndexError, Kernel, Mode, Query, Rows, Stored};

/// Vectors copied with the GIL held before they are worked on without it: about 100 µs of copying.
const COPY_ROWS: usize = 1024;
/// Components that take about 20 µs to work on in floating point; below, the GIL is kept, because taking it back beside
/// a busy thread can cost milliseconds.
const FLOAT_DETACH: usize = 16_384;
/// What a search may be expected to take with the GIL held, for the same reason.
const SEARCH_DETACH_NS: usize = 100_000;
const FILTER_DETACH_NS: usize = 100_000;

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

/// The rows of one namespace, of one dimension (1..4096), in the hands of its one writer; readers search its views.
///
/// A row is known by its location: where its body stands in `bodies`.
#[pyclass(frozen, module = "engram.native._core")]
struct Space {
    inner: Mutex<index::Space>,
}

impl Space {
    /// Wait without the GIL: whoever holds it may be waiting for that, to let go of a map or a segment.
    fn lock(&self, py: Python<'_>) -> MutexGuard<'_, index::Space> {
        let locked = self.inner.lock_py_attached(py);
        locked.unwrap_or_else(PoisonError::into_inner)
    }

    /// As `lock`, for who has let go of the GIL.
    fn lock_detached(&self) -> MutexGuard<'_, index::Space> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl Space {
    #[new]
    #[pyo3(signature = (dim, bodies, *, kernel=None))]
    fn new(dim: usize, bodies: &BodyMaps, kernel: Option<&str>) -> PyResult<Self> {
        let kernel = kernel_of(kernel).map_err(refused)?;
        let inner = index::Space::new(dim, kernel, Arc::clone(&bodies.0)).map_err(refused)?;
        Ok(Self {
            inner: Mutex::new(inner),
        })
    }

    #[getter]
    fn dim(&self, py: Python<'_>) -> usize {
        self.lock(py).dim()
    }

    fn __len__(&self, py: Python<'_>) -> usize {
        self.lock(py).living()
    }

    /// The number of rows of the head, dead ones included.
    #[getter]
    fn head_rows(&self, py: Python<'_>) -> usize {
        self.lock(py).head_rows()
    }

    /// Add the rows of bodies, each given as (digest of 32 bytes, location). Give the locations of those that are not
    /// added, because the body there is not sound, not of that digest, or holds no vector of `dim` components.
    ///
    /// A row that is there and alive stays as it is; one that was removed comes as a new one.
    fn add(&self, py: Python<'_>, rows: Vec<(PyBackedBytes, u64)>) -> PyResult<Vec<u64>> {
        let rows = rows
            .iter()
            .map(|(digest, location)| Ok((digest_of(digest)?, *location)));
        let rows = rows.collect::<PyResult<Vec<_>>>()?;
        let long = rows.len() * self.dim(py) >= FLOAT_DETACH;
        let added = if long {
            py.detach(|| self.lock_detached().add(&rows))
        } else {
            self.lock(py).add(&rows)
        };
        added.map_err(refused)
    }

    /// Take the row at a location off what is published next; False if there is none alive.
    fn remove(&self, py: Python<'_>, location: u64) -> bool {
        self.lock(py).remove(location)
    }

    /// Have fast searches of what is published next look at `times` as many rows as the parts' self-tests say.
    fn widen(&self, py: Python<'_>, times: usize) {
        self.lock(py).widen(times);
    }

    /// Put a segment in the place of the parts that it was built from, and of the head's first rows; None: nothing lived.
    ///
    /// What died meanwhile is dead in it. `ValueError`, and nothing changes, where a part is not here or a row is missing.
    fn adopt(
        &self,
        segment: Option<&Segment>,
        parts: Vec<u64>,
        head_rows: usize,
        py: Python<'_>,
    ) -> PyResult<()> {
        if let Some(Segment(sealed)) = segment
            && sealed.dim() != self.dim(py)
        {
            let (expected, got) = (self.dim(py), sealed.dim());
            let text = format!("segment: dim must be {expected}, got {got}");
            return Err(PyValueError::new_err(text));
        }
        let stored = segment.map(|Segment(sealed)| Arc::clone(sealed) as Arc<dyn Stored>);
        py.detach(|| self.lock_detached().adopt(stored, &parts, head_rows))
            .map_err(refused)
    }

    /// Have the living rows be those at these locations, each a u64, in any order, some of them twice; give those that no part
    /// holds, ascending.
    fn reconcile(&self, py: Python<'_>, live: &[u8]) -> PyResult<Vec<u64>> {
        let (live, []) = live.as_chunks() else {
            let text = format!("live must be a multiple of 8 bytes, got {}", live.len());
            return Err(PyValueError::new_err(text));
        };
        let live = live.iter().map(|bytes| u64::from_le_bytes(*bytes));
        let live = live.collect();
        Ok(py.detach(|| self.lock_detached().reconcile(live)))
    }

    /// Give readers what is here now.
    fn publish(&self, py: Python<'_>) -> View {
        View(self.lock(py).publish())
    }
}

type PartSize<'py> = (u64, usize, usize, Option<Bound<'py, PyBytes>>);
type HitRow<'py> = (Bound<'py, PyBytes>, u64, f32, Bound<'py, PyBytes>);
type FastWay<'py> = (u32, f32, Option<Bound<'py, PyBytes>>);

/// The rows of a namespace as they were published; any number of threads may search it at once.
#[pyclass(frozen, module = "engram.native._core")]
struct View(index::View);

#[pymethods]
impl View {
    #[getter]
    fn dim(&self) -> usize {
        self.0.dim
    }

    fn __len__(&self) -> usize {
        self.0.living
    }

    /// The parts: (id, rows, dead ones included), the head last. Under an id, a row keeps its number in every view.
    #[getter]
    fn parts(&self) -> Vec<(u64, usize)> {
        let parts = self.0.parts.iter();
        parts.map(|part| (part.id, part.rows.count())).collect()
    }

    /// The parts as `parts` gives them: (id, rows, how many of these are dead, the segment's digest or None).
    #[getter]
    fn sizes<'py>(&self, py: Python<'py>) -> Vec<PartSize<'py>> {
        let parts = self.0.parts.iter();
        let digest = |rows: &Rows| match rows {
            Rows::Sealed(stored) => Some(PyBytes::new(py, stored.digest())),
            Rows::Head(_) => None,
        };
        parts
            .map(|part| {
                (
                    part.id,
                    part.rows.count(),
                    part.dead_count(),
                    digest(&part.rows),
                )
            })
            .collect()
    }

    /// Build the segment of the living rows of these parts; of the head's first ones, where `most_head_rows` says of how
    /// many at most. `ValueError` for a part that is not here.
    #[pyo3(signature = (parts, most_head_rows = None))]
    fn build(
        &self,
        py: Python<'_>,
        parts: Vec<u64>,
        most_head_rows: Option<usize>,
    ) -> PyResult<Built> {
        let kernel = kernel_of(None).map_err(refused)?;
        let part = |id: &u64| self.0.parts.iter().find(|part| part.id == *id).cloned();
        let Some(parts) = parts.iter().map(part).collect::<Option<Vec<_>>>() else {
            return Err(PyValueError::new_err(format!(
                "parts: not all of {parts:?} are here"
            )));
        };
        Ok(Built(py.detach(|| {
            index::build(
                kernel,
                self.0.dim,
                &parts,
                most_head_rows.unwrap_or(usize::MAX),
            )
        })))
    }

    /// How each part is searched fast: (r1, recall in the self-test, mean as f32 or None); None where it is not.
    #[getter]
    fn fast<'py>(&self, py: Python<'py>) -> Vec<Option<FastWay<'py>>> {
        let way = |part: &index::Part| {
            part.rows.fast().map(|(fast, r1)| {
                let mean = fast.mean.as_ref().map(|mean| {
                    let bytes: Vec<u8> = mean.iter().flat_map(|x| x.to_le_bytes()).collect();
                    PyBytes::new(py, &bytes)
                });
                (r1 as u32, fast.recall, mean)
            })
        };
        self.0.parts.iter().map(way).collect()
    }

    /// Give (row, location) of the living rows of a part, from row `start` on. `ValueError` for a part that is not here.
    #[pyo3(signature = (part, start=0))]
    fn living(&self, part: u64, start: usize) -> PyResult<Vec<(usize, u64)>> {
        let mut parts = self.0.parts.iter();
        let Some(part) = parts.find(|known| known.id == part) else {
            return Err(PyValueError::new_err(format!("no part {part} here")));
        };
        let mut living = Vec::new();
        part.rows.for_each_slab(|first, slab| {
            let rows = (first..).zip(slab.locations.iter().copied());
            living.extend(rows.filter(|&(row, _)| row >= start && part.is_alive(row)));
        });
        Ok(living)
    }

    /// Read of a segment, which is to take the place of these parts, the fields that filters have asked of them, so that
    /// the next filter need not.
    fn read_ahead(&self, py: Python<'_>, parts: Vec<u64>, segment: &Segment) {
        py.detach(|| self.0.read_ahead(&parts, &*segment.0));
    }

    /// Give the rows that a filter lets pass: (allowed, steps), the steps as of `search`.
    ///
    /// The fields that it names are read from the bodies' metadata, once; a row whose metadata cannot be read counts as
    /// one without any. What the filter's test of a value raises is raised.
    #[pyo3(signature = (plan, *, explain=false))]
    fn allow(
        &self,
        py: Python<'_>,
        plan: &FilterPlan,
        explain: bool,
    ) -> PyResult<(Allowed, Vec<index::Step>)> {
        let started = Instant::now();
        // With the GIL held nobody is waited for: who holds a part's columns may be waiting for the GIL.
        let found = match self.0.allow_within(&plan.0, FILTER_DETACH_NS) {
            Some(found) => found,
            None => py.detach(|| self.0.allow(&plan.0)),
        };
        let allowed = found.map_err(unanswered)?;
        let mut steps = Vec::new();
        if explain {
            let us = started.elapsed().as_nanos() as f64 / 1e3;
            steps.push(("filter", allowed.count(), us));
        }
        Ok((Allowed(allowed), steps))
    }

    /// Say about how many microseconds a search of all rows takes, for whoever has to choose a thread for it.
    #[pyo3(signature = (k, *, exact=false))]
    fn expected_us(&self, k: usize, exact: bool) -> f64 {
        self.0.expected_ns(k, exact) as f64 / 1e3
    }

    /// Find the `k` rows nearest to `query` (f32) by cosine, of those that are alive and allowed: all if there are fewer.
    ///
    /// Gives (hits, mode, steps, damaged). A hit is (digest, location, score, payload), its body proved; the order is
    /// score descending, then digest ascending. `mode` is "exact" or "fast". `steps`, with `explain` only: (name, rows
    /// left, µs). `damaged`: locations of bodies that were met and are not sound; no hit is of them, and none is missing
    /// for them. `excluded`: ranges of locations of bodies known to be so. `kernel`, one of `scan_kernels()`, goes before
    /// ENGRAM_KERNEL.
    #[pyo3(signature = (query, k, *, exact=false, allowed=None, excluded=Vec::new(), explain=false, kernel=None))]
    #[allow(clippy::too_many_arguments, clippy::type_complexity)]
    fn search<'py>(
        &self,
        py: Python<'py>,
        query: &[u8],
        k: usize,
        exact: bool,
        allowed: Option<&Allowed>,
        excluded: Vec<(u64, u64)>,
        explain: bool,
        kernel: Option<&str>,
    ) -> PyResult<(Vec<HitRow<'py>>, &'static str, Vec<index::Step>, Vec<u64>)> {
        if k == 0 {
            return Err(PyValueError::new_err("k must be at least 1, got 0"));
        }
        let kernel = kernel_of(kernel).map_err(refused)?;
        let query = Query::new(self.0.dim, query).map_err(refused)?;
        let started = Instant::now();
        let clock = move || started.elapsed().as_nanos() as f64 / 1e3;
        let ask = Ask {
            kernel,
            k,
            exact,
            allowed: allowed.map(|allowed| &allowed.0),
            excluded: &excluded,
            clock: explain.then_some(&clock),
        };
        let long = self.0.expected_ns(k, exact) >= SEARCH_DETACH_NS;
        let found = released_if(long, py, || self.0.search(&query, &ask));
        let hit = |hit: &index::Hit| {
            let (digest, payload) = (
                PyBytes::new(py, &hit.digest),
                PyBytes::new(py, &hit.payload),
            );
            (digest, hit.location, hit.score, payload)
        };
        let mode = match found.mode {
            Mode::Exact => "exact",
            Mode::Fast => "fast",
        };
        Ok((
            found.hits.iter().map(hit).collect(),
            mode,
            found.steps,
            found.damaged,
        ))
    }
}

/// The rows that a filter lets pass: for each part, by its id, a bitmap of its rows. A part that is not named has none.
#[pyclass(frozen, module = "engram.native._core")]
struct Allowed(index::Allowed);

#[pymethods]
impl Allowed {
    /// Make it of (part, bitmap): row i is bit i % 8 of byte i // 8, rows past the end are not allowed.
    #[new]
    fn new(parts: Vec<(u64, Vec<u8>)>) -> Self {
        let words = |bytes: &[u8]| {
            let words = bytes.chunks(8).map(|chunk| {
                let mut word = [0; 8];
                word[..chunk.len()].copy_from_slice(chunk);
                u64::from_le_bytes(word)
            });
            words.collect()
        };
        let parts = parts.iter().map(|(id, bytes)| (*id, words(bytes)));
        Self(index::Allowed(parts.collect()))
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

/// The planner's constants, by name.
#[pyfunction]
fn planner() -> Vec<(&'static str, f64)> {
    vec![
        ("exact_rows", index::EXACT_ROWS as f64),
        ("min_dim", index::MIN_DIM as f64),
        ("recall", index::RECALL),
        ("least_r1", index::R1S[0] as f64),
        ("most_r1", index::MOST_R1 as f64),
        ("test_rows", index::TEST_ROWS as f64),
    ]
}

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<BodyMaps>()?;
    module.add_class::<Space>()?;
    module.add_class::<View>()?;
    module.add_class::<Allowed>()?;
    module.add_function(wrap_pyfunction!(exact_cosines, module)?)?;
    module.add_function(wrap_pyfunction!(scan_kernels, module)?)?;
    module.add_function(wrap_pyfunction!(planner, module)?)
}
