//! Log and body segments, for Python.
use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Mutex;

use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBytes, PyList};

use crate::log_walk::{self, Halt, Wanted};
use crate::segment::{Status, Stop};
use crate::tree::Frontier;
use crate::{bodies, eventlog, hash};

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<LogState>()?;
    module.add_function(wrap_pyfunction!(frame_events, module)?)?;
    module.add_function(wrap_pyfunction!(walk_log, module)?)?;
    module.add_function(wrap_pyfunction!(encode_body, module)?)?;
    module.add_function(wrap_pyfunction!(scan_bodies, module)?)?;
    Ok(())
}

/// Events whose frame is encoded without releasing the interpreter: about 20 µs of work.
const ENCODED_AT_ONCE: usize = 64;

/// (status, offset, reason): status 0 sound, 1 torn, 2 damaged.
type Verdict = (u8, usize, &'static str);

fn verdict(stop: &Stop) -> Verdict {
    let status = match stop.status {
        Status::Sound => 0,
        Status::Torn => 1,
        Status::Damaged => 2,
    };
    (status, stop.offset, stop.reason)
}

/// A segment, or a part of one: bytes are borrowed, any other buffer is copied, since nothing keeps its owner from changing it.
struct Segment<'a>(Cow<'a, [u8]>);

impl<'a, 'py> FromPyObject<'a, 'py> for Segment<'a> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = <&'a [u8]>::extract(object) {
            return Ok(Self(Cow::Borrowed(bytes)));
        }
        let copy = PyBuffer::<u8>::get(&object)?.to_vec(object.py())?;
        Ok(Self(Cow::Owned(copy)))
    }
}

/// (offset, bytes, first_position, count, time_unix_ns, root).
type LogFrame<'py> = (usize, usize, u64, u32, u64, Bound<'py, PyBytes>);

/// The log's tree and time, behind the last frame read or written.
#[pyclass(frozen, module = "engram.native._core")]
pub struct LogState(Mutex<eventlog::State>);

impl LogState {
    fn with<T>(&self, call: impl FnOnce(&mut eventlog::State) -> T) -> T {
        call(&mut self.0.lock().expect("no caller panics"))
    }

    pub fn tree(&self) -> Frontier {
        self.with(|state| state.tree.clone())
    }
}

#[pymethods]
impl LogState {
    #[new]
    #[pyo3(signature = (size = 0, roots = Vec::new(), time_unix_ns = 0))]
    fn new(size: u64, roots: Vec<hash::Digest>, time_unix_ns: u64) -> PyResult<Self> {
        let tree = Frontier::new(size, roots)
            .ok_or_else(|| PyValueError::new_err("these roots are not of such a tree"))?;
        Ok(Self(Mutex::new(eventlog::State { tree, time_unix_ns })))
    }

    /// Events so far.
    #[getter]
    fn size(&self) -> u64 {
        self.with(|state| state.tree.size)
    }

    #[getter]
    fn time_unix_ns(&self) -> u64 {
        self.with(|state| state.time_unix_ns)
    }

    /// The RFC 6962 root of the log so far.
    #[getter]
    fn root<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.with(|state| state.tree.root()))
    }

    /// Roots of the complete subtrees, largest first.
    #[getter]
    fn roots<'py>(&self, py: Python<'py>) -> Vec<Bound<'py, PyBytes>> {
        self.with(|state| {
            state
                .tree
                .roots
                .iter()
                .map(|root| PyBytes::new(py, root))
                .collect()
        })
    }

    fn copy(&self) -> Self {
        Self(Mutex::new(self.with(|state| state.clone())))
    }

    /// Encode one frame of `events` and move behind it.
    fn encode<'py>(
        &self,
        py: Python<'py>,
        now_ns: u64,
        events: Vec<PyBackedBytes>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let events: Vec<&[u8]> = events.iter().map(|event| &**event).collect();
        if self.size() == 0
            && !events
                .first()
                .is_some_and(|event| eventlog::may_start(event))
        {
            return Err(PyValueError::new_err("position 0 is not log_created.1"));
        }
        let encode = || self.with(|state| eventlog::encode(state, now_ns, &events));
        let frame = if events.len() > ENCODED_AT_ONCE {
            py.detach(encode)
        } else {
            encode()
        };
        let frame = frame.map_err(PyValueError::new_err)?;
        Ok(PyBytes::new(py, &frame))
    }

    /// Read a segment from here on, move behind its last right frame: (frames, verdict).
    fn scan<'py>(
        &self,
        py: Python<'py>,
        segment: Segment<'_>,
        last: bool,
        covered: u64,
    ) -> PyResult<(Vec<LogFrame<'py>>, Verdict)> {
        let segment = segment.0.as_ref();
        let (frames, stop) =
            py.detach(|| self.with(|state| eventlog::scan(segment, state, last, covered)));
        let frame = |f: &eventlog::Frame| {
            (
                f.offset,
                f.bytes,
                f.first_position,
                f.count,
                f.time_unix_ns,
                PyBytes::new(py, &f.root),
            )
        };
        Ok((frames.iter().map(frame).collect(), verdict(&stop)))
    }
}

/// The events of a frame, as a list of bytes; ValueError where its sizes do not add up.
#[pyfunction]
fn frame_events<'py>(py: Python<'py>, frame: Segment<'_>) -> PyResult<Bound<'py, PyList>> {
    let events = eventlog::events(&frame.0).map_err(PyValueError::new_err)?;
    PyList::new(py, events.into_iter().map(|event| PyBytes::new(py, event)))
}

/// ((position, time_unix_ns, event) each, offset, position, root, halt).
type LogWalk<'py> = (
    Vec<(u64, u64, Bound<'py, PyBytes>)>,
    usize,
    u64,
    Option<Bound<'py, PyBytes>>,
    i64,
);

/// Read on in a chunk that begins with the frame of event `position`: events from `start` on, of frames before `end`,
/// no more than about `limit_events` and `limit_bytes` of them. Gives them, the offset and the position of the first
/// frame that was not given whole, the log's root before that frame (None where this chunk does not tell), and why it
/// stopped: 0 enough, -1 no such frame there, else the bytes needed from the offset.
#[pyfunction]
fn walk_log<'py>(
    py: Python<'py>,
    chunk: &[u8],
    position: u64,
    start: u64,
    end: u64,
    limit_events: usize,
    limit_bytes: usize,
) -> LogWalk<'py> {
    let wanted = Wanted {
        start,
        end,
        events: limit_events,
        bytes: limit_bytes,
    };
    let walk = py.detach(|| log_walk::walk(chunk, position, wanted));
    let event = |found: &log_walk::Found| {
        let bytes = PyBytes::new(py, &chunk[found.place.clone()]);
        (found.position, found.time_unix_ns, bytes)
    };
    let halt = match walk.halt {
        Halt::Enough => 0,
        Halt::Unsound => -1,
        Halt::Needs(bytes) => bytes as i64,
    };
    (
        walk.events.iter().map(event).collect(),
        walk.offset,
        walk.position,
        walk.root.map(|root| PyBytes::new(py, &root)),
        halt,
    )
}

/// Encode one body frame.
#[pyfunction]
fn encode_body<'py>(
    py: Python<'py>,
    kind: u8,
    id: hash::Digest,
    data: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    let frame = bodies::encode(kind, &id, data).map_err(PyValueError::new_err)?;
    Ok(PyBytes::new(py, &frame))
}

/// (offset, bytes, len, kind, id).
type BodyFrame<'py> = (usize, usize, usize, u8, Bound<'py, PyBytes>);

/// Read a body segment from `start`: (frames, offsets to erase again, verdict). `held`: ids in earlier segments.
#[pyfunction]
#[pyo3(signature = (segment, start, named, last, content, held = None))]
fn scan_bodies<'py>(
    py: Python<'py>,
    segment: Segment<'_>,
    start: usize,
    named: Option<HashSet<hash::Digest>>,
    last: bool,
    content: bool,
    held: Option<HashSet<hash::Digest>>,
) -> PyResult<(Vec<BodyFrame<'py>>, Vec<usize>, Verdict)> {
    let segment = segment.0.as_ref();
    let known = bodies::Known {
        named: named.as_ref(),
        held: held.as_ref(),
    };
    let found = py.detach(|| bodies::scan(segment, start, known, last, content));
    let frame = |f: &bodies::Frame| (f.offset, f.bytes, f.len, f.kind, PyBytes::new(py, &f.id));
    Ok((
        found.frames.iter().map(frame).collect(),
        found.erase_again,
        verdict(&found.stop),
    ))
}
