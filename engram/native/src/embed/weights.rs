//! Reading f32 tensors out of a safetensors file.
//!
//! The file: u64 LE length of the header; the header, JSON `{name: {"dtype", "shape", "data_offsets": [from, to]}}`; then
//! the data, from whose start the offsets count. Numbers little-endian, row-major.
use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};

use serde_json::Value;

/// No header of a real model comes near this; more is not a safetensors file.
const HEADER_LIMIT: u64 = 1 << 20;
const CHUNK_BYTES: usize = 1 << 18;

/// Why weights could not be read.
#[derive(Debug)]
pub enum WeightsError {
    Io(io::Error),
    NotSafetensors(String),
    Tensor {
        name: String,
        expected: String,
        got: String,
    },
}

impl fmt::Display for WeightsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the weights cannot be read: {error}"),
            Self::NotSafetensors(why) => write!(f, "the weights are not a safetensors file: {why}"),
            Self::Tensor {
                name,
                expected,
                got,
            } => write!(
                f,
                "tensor {name} of the weights: expected {expected}, got {got}"
            ),
        }
    }
}

impl std::error::Error for WeightsError {}

impl From<io::Error> for WeightsError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// An open safetensors file.
pub struct Tensors<R> {
    source: R,
    data_start: u64,
    entries: HashMap<String, Entry>,
}

#[derive(serde::Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

impl<R: Read + Seek> Tensors<R> {
    /// Read the header.
    pub fn open(mut source: R) -> Result<Self, WeightsError> {
        let mut length = [0; 8];
        source.read_exact(&mut length)?;
        let length = u64::from_le_bytes(length);
        if length > HEADER_LIMIT {
            return Err(WeightsError::NotSafetensors(format!(
                "a header of {length} bytes, at most {HEADER_LIMIT}"
            )));
        }
        let mut header = vec![0; length as usize];
        source.read_exact(&mut header)?;
        let not = |error: serde_json::Error| WeightsError::NotSafetensors(error.to_string());
        let mut values: HashMap<String, Value> = serde_json::from_slice(&header).map_err(not)?;
        values.remove("__metadata__");
        let entry = |(name, value)| Ok((name, serde_json::from_value(value).map_err(not)?));
        let entries = values
            .into_iter()
            .map(entry)
            .collect::<Result<_, WeightsError>>()?;
        Ok(Self {
            source,
            data_start: 8 + length,
            entries,
        })
    }

    /// Read the f32 tensor `name`, which must have this shape.
    pub fn take(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let mismatch = |got: String| WeightsError::Tensor {
            name: name.into(),
            expected: format!("F32 {shape:?}"),
            got,
        };
        let entry = self
            .entries
            .remove(name)
            .ok_or_else(|| mismatch("nothing".into()))?;
        let count = shape.iter().product::<usize>();
        let (from, to) = entry.data_offsets;
        if entry.dtype != "F32"
            || entry.shape != shape
            || to.checked_sub(from) != Some(4 * count as u64)
        {
            return Err(mismatch(format!(
                "{} {:?}, bytes {from} to {to}",
                entry.dtype, entry.shape
            )));
        }
        let start = self
            .data_start
            .checked_add(from)
            .ok_or_else(|| mismatch(format!("offset {from}")))?;
        self.source.seek(SeekFrom::Start(start))?;
        let mut values = Vec::with_capacity(count);
        let mut chunk = vec![0; CHUNK_BYTES.min(4 * count)];
        while values.len() < count {
            let chunk = &mut chunk[..CHUNK_BYTES.min(4 * (count - values.len()))];
            self.source.read_exact(chunk)?;
            values.extend(
                chunk
                    .as_chunks()
                    .0
                    .iter()
                    .map(|bytes| f32::from_le_bytes(*bytes)),
            );
        }
        Ok(values)
    }
}
