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

/// A word piece's place: code points `start..end` of its text, and the number of the word that it is a part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub end: u32,
    pub word: u32,
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

    /// Where the pieces of `text` stand in it, in order, without [CLS] and [SEP] around them.
    ///
    /// Starts and ends never descend. A character that the normaliser takes apart (a Hangul syllable) may give several
    /// pieces, each with that character's span.
    pub fn spans(&self, text: &str) -> Result<Vec<Span>, TokenizerError> {
        let encoding = self.tokenizer.encode_char_offsets(text, false)?;
        let words = encoding.get_word_ids().iter();
        let spans = words.zip(encoding.get_offsets()).map(|(word, offsets)| {
            // A word is a split of the pre-tokenizer; a special token found in the text is a split of its own.
            let word = word.ok_or_else(|| TokenizerError("a piece of no word".into()))?;
            let narrow = |offset: usize| {
                u32::try_from(offset).map_err(|_| TokenizerError(format!("offset {offset}")))
            };
            Ok(Span {
                start: narrow(offsets.0)?,
                end: narrow(offsets.1)?,
                word,
            })
        });
        spans.collect()
    }
}
