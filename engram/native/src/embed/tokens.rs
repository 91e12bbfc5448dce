//! Text to token ids: the tokenizer that the model was trained with, from its own `tokenizer.json`.
use std::fmt;

use tokenizers::Tokenizer;

/// Why a text, or the tokenizer's file, could not be used.
#[derive(Debug)]
pub struct TokenizerError(String);

impl fmt::Display for TokenizerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the tokenizer: {}", self.0)
    }
}

impl std::error::Error for TokenizerError {}

impl From<tokenizers::Error> for TokenizerError {
    fn from(error: tokenizers::Error) -> Self {
        Self(error.to_string())
    }
}

pub struct WordPieces {
    tokenizer: Tokenizer,
    vocabulary: usize,
}

impl WordPieces {
    /// Read `tokenizer.json` for a model that has a row for each id below `vocabulary`.
    ///
    /// The file asks for truncation and padding to 128 tokens; both are switched off, since no text is ever cut silently.
    pub fn parse(file: &[u8], vocabulary: usize) -> Result<Self, TokenizerError> {
        let mut tokenizer = Tokenizer::from_bytes(file)?;
        tokenizer.with_truncation(None)?;
        tokenizer.with_padding(None);
        Ok(Self {
            tokenizer,
            vocabulary,
        })
    }

    /// The ids of `text`, [CLS] first and [SEP] last.
    pub fn ids(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        let ids = self.tokenizer.encode_fast(text, true)?.get_ids().to_vec();
        match ids.iter().find(|id| **id as usize >= self.vocabulary) {
            Some(id) => Err(TokenizerError(format!(
                "id {id}, and the model has {} words",
                self.vocabulary
            ))),
            None => Ok(ids),
        }
    }
}
