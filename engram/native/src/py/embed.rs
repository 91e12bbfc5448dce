//! `MiniLm`: the embedder for Python. It opens the weights' file itself, so that they are never in memory twice.
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};

use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyOSError, PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::embed::{DIM, EmbedError, LoadError, MAX_TOKENS, TokenizerError, WeightsError};
use crate::hash::hex;

/// all-MiniLM-L6-v2, read only after loading: any number of threads may share one.
///
/// `weights` is the path of `model.safetensors`, which is read tensor by tensor; `tokenizer` the bytes of `tokenizer.json`.
/// `kernel` forces one of `avx512`, `avx2`, `neon`, `scalar`. Raises `ValueError` if this CPU lacks it, `OSError` if
/// the weights cannot be read, `RuntimeError` if a file is not what it should be.
#[pyclass(frozen, module = "engram.native._core")]
struct MiniLm(crate::embed::MiniLm);

create_exception!(
    engram.native._core,
    Stopped,
    PyException,
    "The call's `Stop` was set before every text was embedded."
);

/// A flag by which one thread ends the calls of others.
#[pyclass(frozen, module = "engram.native._core")]
struct Stop(AtomicBool);

#[pymethods]
impl Stop {
    #[new]
    fn new() -> Self {
        Self(AtomicBool::new(false))
    }

    /// Set the flag, for good.
    fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    #[getter]
    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

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
    ///
    /// `stop` is looked at between groups of at most 256 tokens (or one text); once set, the call raises `Stopped`.
    #[pyo3(signature = (texts, stop=None))]
    fn embed<'py>(
        &self,
        py: Python<'py>,
        texts: Vec<String>,
        stop: Option<Bound<'py, Stop>>,
    ) -> PyResult<(Vectors<'py>, Vec<usize>)> {
        let stop = stop.as_ref().map(|stop| &stop.get().0);
        let embedded = py
            .detach(|| self.0.embed(&texts, stop))
            .map_err(embed_error)?;
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

    /// Return three little-endian u32 a token, [CLS] and [SEP] not added: `text[start:end]` is the piece, in code points;
    /// then the number of its word, from 0.
    fn token_spans<'py>(&self, py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyBytes>> {
        let spans = py
            .detach(|| self.0.token_spans(text))
            .map_err(tokenizer_error)?;
        PyBytes::new_with(py, 12 * spans.len(), |bytes| {
            for (to, span) in bytes.as_chunks_mut::<12>().0.iter_mut().zip(&spans) {
                let numbers = [span.start, span.end, span.word].map(u32::to_le_bytes);
                to.copy_from_slice(numbers.as_flattened());
            }
            Ok(())
        })
    }

    /// Hex SHA-256 of the weights' file, the very one that was loaded.
    #[getter]
    fn weights_sha256(&self) -> String {
        hex(&self.0.weights_sha256())
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

fn embed_error(error: EmbedError) -> PyErr {
    match error {
        EmbedError::Tokenizer(error) => tokenizer_error(error),
        EmbedError::Stopped => Stopped::new_err(error.to_string()),
    }
}

pub fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add("MINILM_DIM", DIM)?;
    m.add("MINILM_MAX_TOKENS", MAX_TOKENS)?;
    m.add("Stopped", m.py().get_type::<Stopped>())?;
    m.add_class::<Stop>()?;
    m.add_class::<MiniLm>()
}
