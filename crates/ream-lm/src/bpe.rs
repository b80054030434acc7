//! Byte-level byte-pair encoding.
//!
//! Tokens 0 to 255 are the bytes; each *merge* adds a token for a pair of earlier ones, so the vocabulary has 256 + merges
//! tokens ("BPE-512" in the papers' pages means 512 merges: 768 tokens); special tokens come after these and are never made
//! from text. Any bytes can be encoded, and decoding gives them back exactly.
//!
//! Text is first cut into words ([`words`]), and no token crosses the border of a word. Training merges the most frequent
//! pair of neighbouring tokens, again and again; of equally frequent pairs the one with the lowest first token, then the
//! lowest second token. Encoding applies the merges to each word in the order in which they were learned.
//!
//! References: Gage, *A new algorithm for data compression* (1994); Sennrich, Haddow and Birch, *Neural machine translation
//! of rare words with subword units* (2016); the byte level is that of GPT-2 (Radford et al., 2019).

pub(crate) mod encode;
mod train;
pub(crate) mod words;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use encode::Encoder;
pub use words::words;

/// A pair of neighbouring tokens.
type Pair = (u32, u32);

/// Most bytes of a token. Words of a language are shorter; a page of dashes must not become a token of its own length.
pub const MAX_TOKEN_BYTES: usize = 256;

/// A byte-level byte-pair encoding. It is saved as its merges and special tokens; what is read back is checked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Saved", into = "Saved")]
pub struct Bpe {
    merges: Vec<Pair>,
    special: Vec<String>,
    /// The merge of a pair, counted from 0.
    ranks: HashMap<Pair, u32>,
    /// The bytes of the tokens that are not special.
    bytes: Vec<Box<[u8]>>,
}

/// What is wrong with a tokenizer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BpeError {
    /// The text has too few pairs that occur twice.
    #[error("the text gives {found} merges, wanted {wanted}; ask for at most {found}, or train on more text")]
    TooLittleText {
        /// Merges asked for.
        wanted: usize,
        /// Merges found.
        found: usize,
    },
    /// A saved merge that cannot have been learned.
    #[error("merge {index} of the tokenizer: {problem}")]
    Merge {
        /// Which merge, from 0.
        index: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A special token without a name, or with that of another one.
    #[error("special token `{name}`: names are unique and not empty")]
    Special {
        /// The name.
        name: String,
    },
    /// More tokens than their numbers can tell apart.
    #[error("a vocabulary has fewer than 2^32 tokens")]
    TooLarge,
}

/// The stored form.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    merges: Vec<Pair>,
    special: Vec<String>,
}

impl From<Bpe> for Saved {
    fn from(bpe: Bpe) -> Self {
        Self { merges: bpe.merges, special: bpe.special }
    }
}

impl TryFrom<Saved> for Bpe {
    type Error = BpeError;

    fn try_from(saved: Saved) -> Result<Self, BpeError> {
        let mut bpe = Self::without_merges();
        for (a, b) in saved.merges {
            bpe.push((a, b))?;
        }
        let names: Vec<&str> = saved.special.iter().map(String::as_str).collect();
        bpe.with_special(&names)
    }
}

impl PartialEq for Bpe {
    /// Everything else follows from these.
    fn eq(&self, other: &Self) -> bool {
        self.merges == other.merges && self.special == other.special
    }
}

impl Eq for Bpe {}

impl Bpe {
    /// Learns merges from texts; no token crosses from one text into the next. The same texts in any order give the same
    /// tokenizer.
    ///
    /// # Errors
    /// Fewer than `merges` pairs occur at least twice.
    pub fn train<T: AsRef<[u8]>>(
        texts: impl IntoIterator<Item = T>,
        merges: usize,
    ) -> Result<Self, BpeError> {
        let mut bpe = Self::without_merges();
        train::train(&mut bpe, texts, merges)?;
        Ok(bpe)
    }

    fn without_merges() -> Self {
        let bytes = (0..=u8::MAX).map(|byte| Box::from([byte])).collect();
        Self { merges: Vec::new(), special: Vec::new(), ranks: HashMap::new(), bytes }
    }

    /// Adds a merge and gives its token.
    fn push(&mut self, pair: Pair) -> Result<u32, BpeError> {
        let index = self.merges.len();
        let wrong = |problem: String| BpeError::Merge { index, problem };
        let token = u32::try_from(self.bytes.len()).map_err(|_| BpeError::TooLarge)?;
        let (Some(a), Some(b)) = (self.bytes.get(pair.0 as usize), self.bytes.get(pair.1 as usize)) else {
            return Err(wrong(format!(
                "joins {} and {}, but only tokens below {token} exist",
                pair.0, pair.1
            )));
        };
        if a.len() + b.len() > MAX_TOKEN_BYTES {
            return Err(wrong(format!("makes a token of more than {MAX_TOKEN_BYTES} bytes")));
        }
        let joined: Box<[u8]> = [&**a, &**b].concat().into();
        let rank = u32::try_from(index).map_err(|_| BpeError::TooLarge)?;
        if self.ranks.insert(pair, rank).is_some() {
            return Err(wrong(format!("joins {} and {} for the second time", pair.0, pair.1)));
        }
        self.bytes.push(joined);
        self.merges.push(pair);
        Ok(token)
    }

    /// Appends special tokens, which text never gives.
    ///
    /// # Errors
    /// A name is empty or there already.
    pub fn with_special(mut self, names: &[&str]) -> Result<Self, BpeError> {
        for name in names {
            if name.is_empty() || self.special(name).is_some() {
                return Err(BpeError::Special { name: (*name).to_owned() });
            }
            self.special.push((*name).to_owned());
            u32::try_from(self.vocabulary()).map_err(|_| BpeError::TooLarge)?;
        }
        Ok(self)
    }

    /// The special token of that name.
    #[must_use]
    pub fn special(&self, name: &str) -> Option<u32> {
        let position = self.special.iter().position(|special| special == name)?;
        u32::try_from(self.bytes.len() + position).ok()
    }

    /// Number of tokens: 256 bytes, merges, special tokens.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.bytes.len() + self.special.len()
    }

    /// The pairs that were merged; merge `i` makes token `256 + i`.
    #[must_use]
    pub fn merges(&self) -> &[(u32, u32)] {
        &self.merges
    }

    /// The bytes that a token stands for: none for a special token, `None` for a number that is no token.
    #[must_use]
    pub fn bytes_of(&self, token: u32) -> Option<&[u8]> {
        match self.bytes.get(token as usize) {
            Some(bytes) => Some(bytes),
            None if (token as usize) < self.vocabulary() => Some(&[]),
            None => None,
        }
    }

    /// The name of a special token.
    #[must_use]
    pub fn name_of(&self, token: u32) -> Option<&str> {
        let position = (token as usize).checked_sub(self.bytes.len())?;
        self.special.get(position).map(String::as_str)
    }

    /// The tokens of a text; never special ones.
    #[must_use]
    pub fn encode(&self, text: impl AsRef<[u8]>) -> Vec<u32> {
        let mut tokens = Vec::new();
        self.encoder().encode_into(text, &mut tokens);
        tokens
    }

    /// An encoder that remembers words: for many texts.
    #[must_use]
    pub fn encoder(&self) -> Encoder<'_> {
        Encoder::new(self)
    }

    /// The bytes of tokens. Special tokens give none; a number that is no token gives U+FFFD, the sign of what cannot be
    /// shown.
    #[must_use]
    pub fn decode(&self, tokens: &[u32]) -> Vec<u8> {
        let unknown = "\u{fffd}".as_bytes();
        tokens.iter().flat_map(|&token| self.bytes_of(token).unwrap_or(unknown)).copied().collect()
    }

    /// The same as text: bytes that are not UTF-8, such as those of a character cut in two, become U+FFFD.
    #[must_use]
    pub fn decode_text(&self, tokens: &[u32]) -> String {
        String::from_utf8_lossy(&self.decode(tokens)).into_owned()
    }
}
