//! Identifiers, records, canonical JSON, hashes, for Python.
use pyo3::buffer::{Element, PyBuffer};
use pyo3::exceptions::{PyOverflowError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};

use crate::jcs::{self, Refusal, Value};
use crate::{digest, ed25519, record, sr25519};

pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(canonical, module)?)?;
    module.add_function(wrap_pyfunction!(canonical_json, module)?)?;
    module.add_function(wrap_pyfunction!(f32_bytes, module)?)?;
    module.add_function(wrap_pyfunction!(check_embedding, module)?)?;
    module.add_function(wrap_pyfunction!(cid_digest, module)?)?;
    module.add_function(wrap_pyfunction!(encode_record, module)?)?;
    module.add_function(wrap_pyfunction!(decode_record, module)?)?;
    module.add_function(wrap_pyfunction!(crc32c_of, module)?)?;
    module.add_function(wrap_pyfunction!(sum_of_hashes, module)?)?;
    module.add_class::<Ed25519Pair>()?;
    module.add_function(wrap_pyfunction!(ed25519_verify, module)?)?;
    module.add_function(wrap_pyfunction!(sr25519_verify, module)?)?;
    module.add_function(wrap_pyfunction!(sr25519_public, module)?)?;
    module.add_function(wrap_pyfunction!(sr25519_sign, module)?)?;
    Ok(())
}

/// A refusal as `ValueError(path, reason)`.
fn refused(refusal: Refusal) -> PyErr {
    PyValueError::new_err((refusal.path, refusal.reason))
}

/// Write a Python value (dict, list, tuple, str, bool, int, float, None) as canonical JSON.
#[pyfunction]
fn canonical<'py>(py: Python<'py>, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let value = from_python(value, 1, "")?;
    Ok(PyBytes::new(py, &jcs::write(&value)))
}

/// Parse JSON text and write it canonically; what the formats refuse is refused.
#[pyfunction]
fn canonical_json<'py>(py: Python<'py>, json: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    let value = jcs::parse(json, jcs::METADATA).map_err(refused)?;
    Ok(PyBytes::new(py, &jcs::write(&value)))
}

fn from_python(value: &Bound<'_, PyAny>, depth: usize, path: &str) -> PyResult<Value> {
    if value.is_none() {
        return Ok(Value::Null);
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(Value::Bool(flag.is_true()));
    }
    if let Ok(text) = value.cast::<PyString>() {
        return text_of(text, path).map(Value::Text);
    }
    if value.is_instance_of::<PyInt>() {
        // A plain int prints its digits; a subclass (an IntEnum) may print a name, so ask the base class.
        let digits = value
            .py()
            .get_type::<PyInt>()
            .call_method1("__repr__", (value,));
        let digits = digits.map_err(|_| {
            refused(refusal(
                path,
                "no double equals this integer: it is too large",
            ))
        })?;
        return jcs::integer(&digits.to_string())
            .map(Value::Number)
            .map_err(|reason| refused(refusal(path, &reason)));
    }
    if let Ok(number) = value.cast::<PyFloat>() {
        let number = number.value();
        if !number.is_finite() {
            return Err(refused(refusal(
                path,
                &format!(
                    "{} is not a number that JSON has (no NaN, no infinity)",
                    number.to_string().to_lowercase()
                ),
            )));
        }
        return Ok(Value::Number(number));
    }
    if let Ok(map) = value.cast::<PyDict>() {
        return map_of(map, depth, path);
    }
    if let Ok(items) = value.cast::<PyList>() {
        return list_of(items.iter(), depth, path);
    }
    if let Ok(items) = value.cast::<PyTuple>() {
        return list_of(items.iter(), depth, path);
    }
    let kind = value.get_type().name()?;
    Err(refused(refusal(
        path,
        &format!("a {kind} is not a JSON value; make it a string or a number"),
    )))
}

fn refusal(path: &str, reason: &str) -> Refusal {
    Refusal {
        path: path.to_owned(),
        reason: reason.to_owned(),
    }
}

fn text_of(text: &Bound<'_, PyString>, path: &str) -> PyResult<String> {
    let surrogate = |_| refused(refusal(path, "a lone surrogate, which is not Unicode text"));
    text.extract::<String>().map_err(surrogate)
}

fn map_of(map: &Bound<'_, PyDict>, depth: usize, path: &str) -> PyResult<Value> {
    jcs::check_depth(depth, jcs::METADATA).map_err(refused)?;
    let mut members = Vec::with_capacity(map.len());
    for (key, value) in map {
        let Ok(key) = key.cast::<PyString>() else {
            let kind = key.get_type().name()?;
            return Err(refused(refusal(
                path,
                &format!("a key is a string, got {kind}"),
            )));
        };
        let key = text_of(key, path)?;
        jcs::check_key(&key, jcs::METADATA, path).map_err(refused)?;
        let value = from_python(&value, depth + 1, &jcs::member(path, &key))?;
        members.push((key, value));
    }
    Ok(Value::Map(members))
}

fn list_of<'py>(
    items: impl Iterator<Item = Bound<'py, PyAny>>,
    depth: usize,
    path: &str,
) -> PyResult<Value> {
    jcs::check_depth(depth, jcs::METADATA).map_err(refused)?;
    let item = |(index, item): (usize, Bound<'py, PyAny>)| {
        from_python(&item, depth + 1, &format!("{path}[{index}]"))
    };
    items
        .enumerate()
        .map(item)
        .collect::<PyResult<Vec<Value>>>()
        .map(Value::List)
}

/// Round numbers to float32, as an embedding is stored: a buffer of f4 or f8, bytes of f32le, or numbers.
#[pyfunction]
fn f32_bytes<'py>(py: Python<'py>, vector: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let bytes = if let Ok(bytes) = vector.cast::<PyBytes>() {
        plus_zero(bytes.as_bytes())
    } else if let Some(values) = native::<f32>(vector) {
        one_dimensional(values.dimensions())?;
        values.to_vec(py)?.into_iter().flat_map(stored).collect()
    } else if let Some(values) = native::<f64>(vector) {
        one_dimensional(values.dimensions())?;
        rounded(values.to_vec(py)?)?
    } else if let Ok(raw) = PyBuffer::<u8>::get(vector) {
        plus_zero(&raw.to_vec(py)?)
    } else {
        rounded(numbers(vector)?)?
    };
    record::check_embedding(&bytes).map_err(PyValueError::new_err)?;
    Ok(PyBytes::new(py, &bytes))
}

/// The buffer of floats behind an array, where they are of this kind and in this machine's byte order.
fn native<T: Element>(vector: &Bound<'_, PyAny>) -> Option<PyBuffer<T>> {
    let values = PyBuffer::<T>::get(vector).ok()?;
    let foreign = if cfg!(target_endian = "little") {
        b">!".as_slice()
    } else {
        b"<".as_slice()
    };
    let order = values.format().to_bytes().first().copied().unwrap_or(b'@');
    (!foreign.contains(&order)).then_some(values)
}

fn one_dimensional(dimensions: usize) -> PyResult<()> {
    if dimensions == 1 {
        return Ok(());
    }
    Err(PyValueError::new_err(format!(
        "it has {dimensions} dimensions, and a vector has one"
    )))
}

fn stored(value: f32) -> [u8; 4] {
    // -0.0 + 0.0 is +0.0; every other value is itself.
    (value + 0.0).to_le_bytes()
}

fn plus_zero(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for raw in bytes
        .chunks_exact_mut(4)
        .filter(|raw| *raw == [0, 0, 0, 0x80])
    {
        raw[3] = 0;
    }
    bytes
}

fn numbers(vector: &Bound<'_, PyAny>) -> PyResult<Vec<f64>> {
    let kind = vector.get_type().name()?;
    if vector.is_instance_of::<PyString>()
        || vector.is_instance_of::<PyDict>()
        || vector.len().is_err()
    {
        return Err(PyTypeError::new_err(format!(
            "expected bytes, an array or numbers, got {kind}"
        )));
    }
    let item = |(index, item): (usize, PyResult<Bound<'_, PyAny>>)| number(index, &item?);
    vector.try_iter()?.enumerate().map(item).collect()
}

fn number(index: usize, item: &Bound<'_, PyAny>) -> PyResult<f64> {
    if let Ok(plain) = item.cast_exact::<PyFloat>() {
        return Ok(plain.value());
    }
    let name = item.get_type().name()?;
    let kind = name.to_cow()?; // not by its Display, which asks for signals, and drops a Ctrl-C that it meets
    let real = !kind.starts_with("complex") && !item.is_instance_of::<PyString>();
    match item.extract::<f64>() {
        Ok(value) if real => Ok(value),
        Err(error) if error.is_instance_of::<PyOverflowError>(item.py()) => Err(beyond(index)),
        _ => Err(PyTypeError::new_err(format!(
            "item {index} is not a number but {kind}"
        ))),
    }
}

fn beyond(index: usize) -> PyErr {
    PyValueError::new_err(format!("number {index} is beyond float32"))
}

fn rounded(values: Vec<f64>) -> PyResult<Vec<u8>> {
    for (index, value) in values.iter().enumerate() {
        if !value.is_finite() {
            return Err(PyValueError::new_err(record::not_finite(index, *value)));
        }
        if (*value as f32).is_infinite() {
            return Err(beyond(index));
        }
    }
    Ok(values
        .into_iter()
        .flat_map(|value| stored(value as f32))
        .collect())
}

/// Check stored embedding bytes; ValueError says what is wrong.
#[pyfunction]
fn check_embedding(embedding: &[u8]) -> PyResult<()> {
    record::check_embedding(embedding).map_err(PyValueError::new_err)
}

/// The digest of a CID from checked parts.
#[pyfunction]
fn cid_digest<'py>(
    py: Python<'py>,
    embedding: &[u8],
    content: &[u8],
    flags: u8,
    metadata: &[u8],
    model_version: &[u8],
) -> PyResult<Bound<'py, PyBytes>> {
    if content.len() != 32 {
        return Err(PyValueError::new_err("content is a hash of 32 bytes"));
    }
    record::check_embedding(embedding).map_err(PyValueError::new_err)?;
    record::check_model_version(model_version).map_err(PyValueError::new_err)?;
    Ok(PyBytes::new(
        py,
        &record::digest(embedding, content, flags, metadata, model_version),
    ))
}

/// Encode a record payload: (CID digest, payload).
#[pyfunction]
fn encode_record<'py>(
    py: Python<'py>,
    flags: u8,
    embedding: &[u8],
    metadata: &[u8],
    model_version: &[u8],
    blob: &[u8],
    content: Option<&[u8]>,
) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)> {
    if content.is_some_and(|content| content.len() != 32) {
        return Err(PyValueError::new_err("content is a hash of 32 bytes"));
    }
    let (digest, payload) =
        record::encode(flags, embedding, metadata, model_version, blob, content)
            .map_err(PyValueError::new_err)?;
    Ok((PyBytes::new(py, &digest), PyBytes::new(py, &payload)))
}

type Parts<'py> = (
    Bound<'py, PyBytes>,
    u8,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
    String,
    Bound<'py, PyBytes>,
    Bound<'py, PyBytes>,
);

/// Decode and certify a payload: (CID digest, flags, embedding, metadata, model_version, blob, content).
#[pyfunction]
fn decode_record<'py>(py: Python<'py>, payload: PyBuffer<u8>) -> PyResult<Parts<'py>> {
    let payload = payload.to_vec(py)?;
    let (digest, record) = record::decode(&payload).map_err(PyValueError::new_err)?;
    let bytes = |part: &[u8]| PyBytes::new(py, part);
    let version = String::from_utf8_lossy(record.model_version).into_owned();
    let parts = (
        bytes(record.embedding),
        bytes(record.metadata),
        bytes(record.blob),
        bytes(record.content),
    );
    Ok((
        bytes(&digest),
        record.flags,
        parts.0,
        parts.1,
        version,
        parts.2,
        parts.3,
    ))
}

/// CRC-32C (Castagnoli) of a buffer.
#[pyfunction]
fn crc32c_of(data: &[u8]) -> u32 {
    crc32c::crc32c(data)
}

/// An Ed25519 key pair of a seed of 32 bytes.
#[pyclass(frozen, module = "engram.native._core")]
struct Ed25519Pair(ed25519::Pair);

#[pymethods]
impl Ed25519Pair {
    #[new]
    fn new(seed: [u8; 32]) -> Self {
        Self(ed25519::Pair::new(&seed))
    }

    #[getter]
    fn public<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.public())
    }

    /// Sign a message: 64 bytes, the same for the same message.
    fn sign<'py>(&self, py: Python<'py>, message: &[u8]) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &py.detach(|| self.0.sign(message)))
    }
}

/// Whether `signature` is that of `message` under an Ed25519 key; under one of small order, for which anybody can sign,
/// none is.
#[pyfunction]
fn ed25519_verify(py: Python<'_>, public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    py.detach(|| ed25519::verify(public, message, signature))
}

/// Whether `signature` is that of `message` under an sr25519 key, in Substrate's context.
#[pyfunction]
fn sr25519_verify(py: Python<'_>, public: &[u8], message: &[u8], signature: &[u8]) -> bool {
    py.detach(|| sr25519::verify(public, message, signature))
}

/// The sr25519 public key of a seed.
#[pyfunction]
fn sr25519_public<'py>(py: Python<'py>, seed: [u8; 32]) -> Bound<'py, PyBytes> {
    PyBytes::new(py, &sr25519::public(seed))
}

/// Sign with the sr25519 key of a seed, in Substrate's context.
#[pyfunction]
fn sr25519_sign<'py>(py: Python<'py>, seed: [u8; 32], message: &[u8]) -> Bound<'py, PyBytes> {
    let signature = py.detach(|| sr25519::sign(seed, message));
    PyBytes::new(py, &signature)
}

/// The sum of the SHA-256 hashes of `rows` modulo 2^256, big-endian.
#[pyfunction]
fn sum_of_hashes<'py>(py: Python<'py>, rows: Vec<PyBackedBytes>) -> Bound<'py, PyBytes> {
    let sum = py.detach(|| digest::sum_of_hashes(&rows));
    PyBytes::new(py, &sum)
}
