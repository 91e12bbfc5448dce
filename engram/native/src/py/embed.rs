//! `MiniLm`: the embedder for Python. It opens the weights' file itself, so that they are never in memory twice.
use std::fs::File;

use pyo3::exceptions::{PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::embed::{DIM, LoadError, MAX_TOKENS, TokenizerError, WeightsError};

/// all-MiniLM-L6-v2, read only after loading: any number of threads may share one.
///
/// `weights` is the path of `model.safetensors`, which is read tensor by tensor; `tokenizer` the bytes of `tokenizer.json`.
/// `kernel` forces one of `avx512`, `avx2`, `neon`, `scalar`. Raises `ValueError` if this CPU lacks it, `OSError` if
/// the weights cannot be read, `RuntimeError` if a file is not what it should be.
#[pyclass(frozen, module = "engram.native._core")]
struct MiniLm(crate::embed::MiniLm);

type Vectors<'py> = Vec<Option<Bound<'py, PyBytes>>>;

#[pymethods]
impl MiniLm {
    #[new]
    #[pyo3(signature = (weights, tokenizer, kernel=None))]
    fn new(
        py: Python<'_>,
        weights: &str,
        tokenizer: &[u8],
        kernel: Option<&str>,
    ) -> PyResult<Self> {
        py.detach(|| {
            let file = File::open(weights)?;
            Ok(Self(
                crate::embed::MiniLm::load(file, tokenizer, kernel).map_err(load_error)?,
            ))
        })
    }

    /// Return the vectors, 384 little-endian f32 each, and the token counts; None for a text of more than 256 tokens.
    fn embed<'py>(
        &self,
        py: Python<'py>,
        texts: Vec<String>,
    ) -> PyResult<(Vectors<'py>, Vec<usize>)> {
        let embedded = py
            .detach(|| self.0.embed(&texts))
            .map_err(tokenizer_error)?;
        let tokens = embedded.iter().map(|one| one.tokens).collect();
        let vectors = embedded
            .iter()
            .map(|one| Some(PyBytes::new(py, &little_endian(one.vector.as_ref()?))));
        Ok((vectors.collect(), tokens))
    }

    /// Count the tokens, [CLS] and [SEP] included.
    fn count_tokens(&self, py: Python<'_>, text: &str) -> PyResult<usize> {
        py.detach(|| self.0.count_tokens(text))
            .map_err(tokenizer_error)
    }

    /// The kernel in use.
    #[getter]
    fn kernel(&self) -> &'static str {
        self.0.kernel().name()
    }
}

fn little_endian(vector: &[f32]) -> Vec<u8> {
    vector.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn load_error(error: LoadError) -> PyErr {
    match error {
        LoadError::Weights(WeightsError::Io(error)) => PyOSError::new_err(error.to_string()),
        LoadError::Kernel(error) => PyValueError::new_err(error),
        other => PyRuntimeError::new_err(other.to_string()),
    }
}

fn tokenizer_error(error: TokenizerError) -> PyErr {
    PyRuntimeError::new_err(error.to_string())
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("MINILM_DIM", DIM)?;
    m.add("MINILM_MAX_TOKENS", MAX_TOKENS)?;
    m.add_class::<MiniLm>()
}
