//! all-MiniLM-L6-v2: the same text gives the same 384 floats, bit for bit, in any company and on any CPU.
//!
//! `tokens` cuts a text into word pieces, `model` runs them through BERT; `simd`, `gemm`, `math` and `attention` are the
//! arithmetic, whose order of operations is fixed; `kernel` chooses the instructions it is done with, and `ieee` sees to it
//! that the thread rounds as IEEE 754 has it. `weights` and `map` read the model's file.
mod attention;
mod gemm;
#[allow(unsafe_code)]
mod ieee;
mod kernel;
#[allow(unsafe_code)]
mod map;
mod math;
mod model;
mod shape;
#[allow(unsafe_code)]
mod simd;
#[cfg(test)]
mod tests;
mod tokens;
mod weights;

use std::fmt;
use std::fs::File;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

pub use kernel::{Kernel, NAMES};
pub use model::{MAX_TOKENS, Vector};
pub use shape::HIDDEN as DIM;
pub use tokens::{Span, TokenizerError};
pub use weights::WeightsError;

use kernel::Call;
use model::{Model, VOCABULARY};
use simd::Lanes;
use tokens::WordPieces;

use crate::hash::{Digest, sha256_of};

/// Rows that go through the matrix products together: enough to use each weight well, few enough to stay in the cache.
const ROWS_TOGETHER: usize = 256;

/// The embedder: weights, tokenizer and kernel. Read only, so any number of threads may use one.
pub struct MiniLm {
    model: Model,
    pieces: WordPieces,
    kernel: Kernel,
    weights_sha256: Digest,
}

/// What became of one text.
#[derive(Debug, PartialEq)]
pub struct Embedded {
    /// Tokens, [CLS] and [SEP] included.
    pub tokens: usize,
    /// None if there are more than `MAX_TOKENS`: never a part of the text only.
    pub vector: Option<Vector>,
}

/// Why there is no embedder.
#[derive(Debug)]
pub enum LoadError {
    Weights(WeightsError),
    Tokenizer(TokenizerError),
    Kernel(String),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Weights(error) => error.fmt(f),
            Self::Tokenizer(error) => error.fmt(f),
            Self::Kernel(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LoadError {}

/// Why texts were not embedded.
#[derive(Debug)]
pub enum EmbedError {
    Tokenizer(TokenizerError),
    /// The caller's flag was set before every text was done.
    Stopped,
}

impl fmt::Display for EmbedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokenizer(error) => error.fmt(f),
            Self::Stopped => write!(f, "stopped before every text was embedded"),
        }
    }
}

impl std::error::Error for EmbedError {}

impl From<TokenizerError> for EmbedError {
    fn from(error: TokenizerError) -> Self {
        Self::Tokenizer(error)
    }
}

impl MiniLm {
    /// Read `model.safetensors` and `tokenizer.json`. `kernel` names one of `NAMES`; None is the fastest here.
    pub fn load(weights: File, tokenizer: &[u8], kernel: Option<&str>) -> Result<Self, LoadError> {
        let kernel = Kernel::choose(kernel).map_err(LoadError::Kernel)?;
        let (model, pieces, sha256) = thread::scope(|scope| {
            let pieces = scope.spawn(|| WordPieces::parse(tokenizer, VOCABULARY));
            let sha256 = scope.spawn(|| sha256_of(&weights));
            let model = ieee::by_default(|| Model::read(&weights));
            (model, pieces.join(), sha256.join())
        });
        Ok(Self {
            model: model.map_err(LoadError::Weights)?,
            pieces: pieces
                .unwrap_or_else(|panic| resume_unwind(panic))
                .map_err(LoadError::Tokenizer)?,
            kernel,
            weights_sha256: sha256
                .unwrap_or_else(|panic| resume_unwind(panic))
                .map_err(|error| LoadError::Weights(error.into()))?,
        })
    }

    /// SHA-256 of the very file that was loaded.
    pub fn weights_sha256(&self) -> Digest {
        self.weights_sha256
    }

    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Count the tokens of `text`, [CLS] and [SEP] included.
    pub fn count_tokens(&self, text: &str) -> Result<usize, TokenizerError> {
        self.pieces.ids(text).map(|ids| ids.len())
    }

    /// Where the pieces of `text` stand in it, without [CLS] and [SEP] around them; any length.
    pub fn token_spans(&self, text: &str) -> Result<Vec<Span>, TokenizerError> {
        self.pieces.spans(text)
    }

    /// Embed each text; one over `MAX_TOKENS` leaves the others alone.
    ///
    /// `stop` is looked at before a text is cut into tokens and before a group of at most 256 tokens (or of one text) is
    /// embedded; once it is set the whole call ends with `Stopped`.
    pub fn embed(
        &self,
        texts: &[impl AsRef<str>],
        stop: Option<&AtomicBool>,
    ) -> Result<Vec<Embedded>, EmbedError> {
        let go_on = || match stop.is_some_and(|flag| flag.load(Ordering::Relaxed)) {
            true => Err(EmbedError::Stopped),
            false => Ok(()),
        };
        let ids = texts
            .iter()
            .map(|text| go_on().and_then(|()| Ok(self.pieces.ids(text.as_ref())?)))
            .collect::<Result<Vec<_>, _>>()?;
        let mut embedded: Vec<_> = ids
            .iter()
            .map(|ids| Embedded {
                tokens: ids.len(),
                vector: None,
            })
            .collect();
        let mut wanted = embedded.iter_mut().filter(|one| one.tokens <= MAX_TOKENS);
        let fitting: Vec<_> = ids
            .into_iter()
            .filter(|ids| ids.len() <= MAX_TOKENS)
            .collect();
        for group in groups(&fitting) {
            go_on()?;
            let forward = Forward {
                model: &self.model,
                texts: group,
            };
            let vectors = ieee::by_default(|| self.kernel.call(forward));
            vectors
                .into_iter()
                .zip(&mut wanted)
                .for_each(|(vector, one)| one.vector = Some(vector));
        }
        Ok(embedded)
    }
}

/// Cut the texts into groups of at most `ROWS_TOGETHER` tokens, or of one text.
fn groups(texts: &[Vec<u32>]) -> impl Iterator<Item = &[Vec<u32>]> {
    let mut rest = texts;
    std::iter::from_fn(move || {
        let mut rows = 0;
        let fits = |text: &&Vec<u32>| {
            rows += text.len();
            rows <= ROWS_TOGETHER
        };
        let count = rest.iter().take_while(fits).count().max(1).min(rest.len());
        let (group, after) = rest.split_at(count);
        rest = after;
        (count > 0).then_some(group)
    })
}

struct Forward<'a> {
    model: &'a Model,
    texts: &'a [Vec<u32>],
}

impl Call for Forward<'_> {
    type Output = Vec<Vector>;

    fn call<L: Lanes>(self, lanes: L) -> Vec<Vector> {
        self.model.forward(lanes, self.texts)
    }
}
