//! The tokenizer inside a model's file: byte-level byte-pair encoding with the vocabulary and the merges of the file.
//!
//! ```no_run
//! use ream_lm::{Tokenizer, gguf};
//!
//! let file = gguf::File::open("SmolLM2-135M-Instruct.Q4_1.gguf")?;
//! let tokenizer = Tokenizer::from_gguf(&file)?;
//! let tokens = tokenizer.encode("<|im_start|>user\nHi", true);
//! assert_eq!(tokens[0], tokenizer.special("<|im_start|>").unwrap());
//! // Text of a user never becomes a special token.
//! assert!(!tokenizer.encode("<|im_start|>user\nHi", false).contains(&tokens[0]));
//! assert_eq!(tokenizer.decode(&tokens), b"user\nHi");
//! # Ok::<(), gguf::Error>(())
//! ```
//!
//! Text is cut into words by the file's *pre-tokenizer* ([`PreTokenizer`]), and the merges are applied to the bytes of each word as in
//! [`bpe`](crate::bpe). The tokens are those of the `tokenizers` library. What that library cannot be given, text that is not UTF-8, is encoded byte
//! by byte: a byte that belongs to no character counts as a sign of its own.
//!
//! A vocabulary need not have a token for every byte: SmolLM2's lacks six control characters (U+0004, U+0006, U+0013, U+0014, U+0016,
//! U+001D), the two bytes that begin characters from U+40000 to U+BFFFF (none is assigned), and the 13 that occur in no UTF-8. As in the
//! reference such a byte gives no token; [`Tokenizer::first_lost`] finds it. All else comes back: `decode(encode(x)) == x`.

mod alphabet;
mod json;
mod merges;
mod own;
mod stream;
mod words;

use std::collections::HashMap;

use alphabet::Alphabet;
use merges::Merges;
pub use stream::TextStream;
pub use words::PreTokenizer;

use crate::bpe::encode::{Known, Word};
use crate::gguf::{self, File};

/// A byte-level byte-pair encoding with any vocabulary.
#[derive(Clone, Debug)]
pub struct Tokenizer {
    pre: PreTokenizer,
    /// The bytes that each token stands for; the name of one that is not text.
    bytes: Vec<Box<[u8]>>,
    roles: Vec<Role>,
    /// The token of each byte.
    of_byte: [Option<u32>; 256],
    merges: Merges,
    /// Tokens that are words as a whole before any merge is applied; only where the model wants them.
    whole: HashMap<Box<[u8]>, u32>,
    /// Tokens that are found by their names, the longest first.
    named: Vec<u32>,
    begin: Option<u32>,
    ends: Vec<u32>,
}

/// What a token is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Text,
    /// Found by its name in text that may hold special tokens; stands for no text.
    Special,
    /// Found by its name in any text.
    Added,
    /// Never made.
    Unused,
}

impl Tokenizer {
    /// Reads the vocabulary, the merges and the special tokens of a file (keys `tokenizer.ggml.*`).
    ///
    /// # Errors
    /// A key is missing or contradicts another; the tokenizer or the pre-tokenizer is of a kind that is not built here, which is named.
    pub fn from_gguf(file: &File) -> Result<Self, gguf::Error> {
        let key = |name: &str| format!("tokenizer.ggml.{name}");
        let model = file.str(&key("model"))?;
        if model != "gpt2" {
            let problem = format!("is `{model}`, wanted `gpt2`: byte-level byte-pair encoding");
            return Err(file.wrong_key(&key("model"), problem));
        }
        let name = file.str(&key("pre"))?;
        let pre = PreTokenizer::from_name(name).ok_or_else(|| {
            let known = PreTokenizer::NAMES.map(|(name, _)| name).join(", ");
            file.wrong_key(&key("pre"), format!("is `{name}`, supported: {known}"))
        })?;
        let tokens = file.strings(&key("tokens"))?;
        let types = match file.key(&key("token_type")) {
            Some(_) => file.integers(&key("token_type"))?,
            None => vec![1; tokens.len()],
        };
        if types.len() != tokens.len() {
            let problem = format!("has {} entries, wanted {}, one for each token", types.len(), tokens.len());
            return Err(file.wrong_key(&key("token_type"), problem));
        }
        let merges = file.strings(&key("merges"))?;
        let mut tokenizer = Self::new(pre, pre.takes_whole_words(), &tokens, &types, &merges)
            .map_err(|(name, problem)| file.wrong_key(&key(name), problem))?;
        let id = |name: &str| {
            if file.key(&key(name)).is_none() {
                return Ok(None);
            }
            match file.u32(&key(name))? {
                id if (id as usize) < tokens.len() => Ok(Some(id)),
                id => {
                    Err(file.wrong_key(&key(name), format!("is {id}, wanted a token below {}", tokens.len())))
                }
            }
        };
        let begins = match file.key(&key("add_bos_token")) {
            Some(_) => file.bool(&key("add_bos_token"))?,
            None => pre == PreTokenizer::Llama3,
        };
        tokenizer.begin = if begins { id("bos_token_id")? } else { None };
        for name in ["eos_token_id", "eot_token_id"] {
            tokenizer.ends.extend(id(name)?);
        }
        tokenizer.ends.dedup();
        Ok(tokenizer)
    }

    /// An error is the key it is about and what is wrong.
    fn new(
        pre: PreTokenizer,
        whole_words: bool,
        tokens: &[&str],
        types: &[i64],
        merges: &[&str],
    ) -> Result<Self, (&'static str, String)> {
        if u32::try_from(tokens.len()).is_err() {
            return Err(("tokens", "has 2^32 entries or more".to_owned()));
        }
        let roles: Vec<Role> = types.iter().map(|&number| Role::from_number(number)).collect();
        let alphabet = Alphabet::new();
        let bytes: Vec<Box<[u8]>> = tokens
            .iter()
            .zip(&roles)
            .map(|(token, role)| match role {
                Role::Text => alphabet.bytes(token).unwrap_or_else(|| token.as_bytes().into()),
                _ => token.as_bytes().into(),
            })
            .collect();
        let mut of_text: HashMap<&str, u32> = HashMap::with_capacity(tokens.len());
        let mut of_byte = [None; 256];
        for (id, (token, role)) in (0_u32..).zip(tokens.iter().zip(&roles)) {
            if *role == Role::Text {
                of_text.entry(token).or_insert(id);
                if let [byte] = *bytes[id as usize] {
                    of_byte[usize::from(byte)].get_or_insert(id);
                }
            }
        }
        let merges = Merges::read(&of_text, tokens.len(), merges).map_err(|problem| ("merges", problem))?;
        let mut whole = HashMap::new();
        if whole_words {
            whole.extend(of_text.values().map(|&id| (bytes[id as usize].clone(), id)));
        }
        let mut named: Vec<u32> = (0_u32..)
            .zip(&roles)
            .filter(|&(id, role)| {
                matches!(role, Role::Special | Role::Added) && !bytes[id as usize].is_empty()
            })
            .map(|(id, _)| id)
            .collect();
        named.sort_by_key(|&id| std::cmp::Reverse(bytes[id as usize].len()));
        Ok(Self { pre, bytes, roles, of_byte, merges, whole, named, begin: None, ends: Vec::new() })
    }

    /// Number of tokens.
    #[must_use]
    pub fn vocabulary(&self) -> usize {
        self.bytes.len()
    }

    /// How text is cut into words.
    #[must_use]
    pub fn pre_tokenizer(&self) -> PreTokenizer {
        self.pre
    }

    /// The token that stands before every text, where the model wants one. [`encode`](Self::encode) does not add it.
    #[must_use]
    pub fn begin(&self) -> Option<u32> {
        self.begin
    }

    /// Whether a token ends what the model says.
    #[must_use]
    pub fn is_end(&self, token: u32) -> bool {
        self.ends.contains(&token)
    }

    /// The special token of that name.
    #[must_use]
    pub fn special(&self, name: &str) -> Option<u32> {
        self.named.iter().copied().find(|&id| &*self.bytes[id as usize] == name.as_bytes())
    }

    /// The name of a special token.
    #[must_use]
    pub fn name_of(&self, token: u32) -> Option<&str> {
        let name = self.bytes.get(token as usize)?;
        if self.roles[token as usize] == Role::Special { str::from_utf8(name).ok() } else { None }
    }

    /// The bytes that a token stands for: none for a special token, `None` for a number that is no token.
    #[must_use]
    pub fn bytes_of(&self, token: u32) -> Option<&[u8]> {
        let bytes = self.bytes.get(token as usize)?;
        Some(if self.roles[token as usize] == Role::Special { &[] } else { bytes })
    }

    /// Where the first byte is that has no token and is lost when the text is encoded.
    #[must_use]
    pub fn first_lost(&self, text: impl AsRef<[u8]>) -> Option<usize> {
        text.as_ref().iter().position(|&byte| self.of_byte[usize::from(byte)].is_none())
    }

    /// The tokens of a text. With `special` the names of special tokens become these tokens; text from elsewhere is encoded without.
    #[must_use]
    pub fn encode(&self, text: impl AsRef<[u8]>, special: bool) -> Vec<u32> {
        let mut tokens = Vec::new();
        self.encoder().encode_into(text, special, &mut tokens);
        tokens
    }

    /// An encoder that remembers words: for many texts.
    #[must_use]
    pub fn encoder(&self) -> Encoder<'_> {
        Encoder { tokenizer: self, known: Known::default(), word: Word::default() }
    }

    /// The bytes of tokens. Special tokens give none; a number that is no token gives U+FFFD.
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

    /// Text from one token after the other.
    #[must_use]
    pub fn stream(&self) -> TextStream<'_> {
        TextStream::new(self)
    }

    /// The first named token in a text: where it is and which.
    fn find_named(&self, text: &[u8], special: bool) -> Option<(usize, u32)> {
        let wanted = |id: &u32| special || self.roles[*id as usize] == Role::Added;
        let mut begins = [false; 256];
        for id in self.named.iter().filter(|id| wanted(id)) {
            begins[usize::from(self.bytes[*id as usize][0])] = true;
        }
        let candidates = text.iter().enumerate().filter(|(_, byte)| begins[usize::from(**byte)]);
        candidates.map(|(at, _)| at).find_map(|at| {
            let here = |id: &u32| wanted(id) && text[at..].starts_with(&self.bytes[*id as usize]);
            self.named.iter().copied().find(here).map(|id| (at, id))
        })
    }
}

impl Role {
    /// By the numbers of the file format: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte.
    fn from_number(number: i64) -> Self {
        match number {
            1 => Self::Text,
            2 | 3 => Self::Special,
            4 => Self::Added,
            _ => Self::Unused,
        }
    }

    fn number(self) -> i32 {
        match self {
            Self::Text => 1,
            Self::Special => 3,
            Self::Added => 4,
            Self::Unused => 5,
        }
    }
}

/// Encodes texts and remembers words.
#[derive(Clone, Debug)]
pub struct Encoder<'a> {
    tokenizer: &'a Tokenizer,
    known: Known,
    word: Word,
}

impl Encoder<'_> {
    /// Appends the tokens of a text, as [`Tokenizer::encode`] gives them.
    pub fn encode_into(&mut self, text: impl AsRef<[u8]>, special: bool, tokens: &mut Vec<u32>) {
        let mut rest = text.as_ref();
        while let Some((at, id)) = self.tokenizer.find_named(rest, special) {
            self.encode_text(&rest[..at], tokens);
            tokens.push(id);
            rest = &rest[at + self.tokenizer.bytes[id as usize].len()..];
        }
        self.encode_text(rest, tokens);
    }

    fn encode_text(&mut self, text: &[u8], tokens: &mut Vec<u32>) {
        let Self { tokenizer, known, word } = self;
        tokenizer.pre.words(text, |bytes| {
            known.encode_into(bytes, tokens, |bytes, tokens| tokenizer.encode_word(bytes, word, tokens));
        });
    }
}

impl Tokenizer {
    fn encode_word(&self, bytes: &[u8], word: &mut Word, tokens: &mut Vec<u32>) {
        if let Some(&id) = self.whole.get(bytes) {
            return tokens.push(id);
        }
        word.start(bytes.iter().filter_map(|&byte| self.of_byte[usize::from(byte)]));
        word.merge_into(|pair| self.merges.get(pair), tokens);
    }
}

#[cfg(test)]
pub(crate) mod tests;
