//! Reading f32 tensors out of a safetensors file.
//!
//! The file: u64 LE length of the header; the header, JSON `{name: {"dtype", "shape", "data_offsets": [from, to]}}`; then
//! the data, from whose start the offsets count. Numbers little-endian, row-major.
use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Deref;

use serde_json::Value;

use super::map::Mapped;

/// No header of a real model comes near this; more is not a safetensors file.
const HEADER_LIMIT: u64 = 1 << 20;

/// An f32 as the file has it: four bytes, little-endian, at no particular address.
pub type Number = [u8; 4];

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
pub struct Tensors<'a> {
    file: &'a File,
    data_start: u64,
    entries: HashMap<String, Entry>,
}

/// A tensor's numbers, mapped: nothing is in memory before it is read, and nothing after this is dropped.
pub struct Tensor(Mapped);

#[derive(serde::Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (u64, u64),
}

impl<'a> Tensors<'a> {
    /// Read the header; an error if the file ends before the data that it tells of.
    pub fn open(file: &'a File) -> Result<Self, WeightsError> {
        let length = Mapped::new(file, 0, 8)?;
        let length = u64::from_le_bytes(length.as_chunks().0[0]);
        if length > HEADER_LIMIT {
            return Err(WeightsError::NotSafetensors(format!(
                "a header of {length} bytes, at most {HEADER_LIMIT}"
            )));
        }
        let header = Mapped::new(file, 8, length)?;
        let not = |error: serde_json::Error| WeightsError::NotSafetensors(error.to_string());
        let mut values: HashMap<String, Value> = serde_json::from_slice(&header).map_err(not)?;
        values.remove("__metadata__");
        let entry = |(name, value)| Ok((name, serde_json::from_value(value).map_err(not)?));
        let entries = values
            .into_iter()
            .map(entry)
            .collect::<Result<HashMap<String, Entry>, WeightsError>>()?;
        let data_start = 8 + length;
        let data_end = entries.values().map(|entry| entry.data_offsets.1).max();
        Mapped::new(file, data_start, data_end.unwrap_or(0))?;
        Ok(Self {
            file,
            data_start,
            entries,
        })
    }

    /// Map the f32 tensor `name`, which must have this shape.
    pub fn map(&self, name: &str, shape: &[usize]) -> Result<Tensor, WeightsError> {
        let mismatch = |got: String| WeightsError::Tensor {
            name: name.into(),
            expected: format!("F32 {shape:?}"),
            got,
        };
        let entry = self
            .entries
            .get(name)
            .ok_or_else(|| mismatch("nothing".into()))?;
        let bytes = 4 * shape.iter().product::<usize>() as u64;
        let (from, to) = entry.data_offsets;
        if entry.dtype != "F32" || entry.shape != shape || to.checked_sub(from) != Some(bytes) {
            return Err(mismatch(format!(
                "{} {:?}, bytes {from} to {to}",
                entry.dtype, entry.shape
            )));
        }
        Ok(Tensor(Mapped::new(
            self.file,
            self.data_start + from,
            bytes,
        )?))
    }
}

impl Deref for Tensor {
    type Target = [Number];

    fn deref(&self) -> &[Number] {
        self.0.as_chunks().0
    }
}
