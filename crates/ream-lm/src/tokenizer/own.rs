//! Tokenizers that were trained here, and their way into a file.

use std::collections::HashMap;

use super::alphabet::Alphabet;
use super::merges::{Merge, Merges};
use super::{PreTokenizer, Role, Tokenizer};
use crate::Bpe;
use crate::gguf::{Error, Value, Writer};

impl From<&Bpe> for Tokenizer {
    /// The same tokens under the same numbers; no token ends a text until [`Tokenizer::with_ends`] says so.
    fn from(bpe: &Bpe) -> Self {
        let merges: Vec<Merge> = (0_u32..)
            .zip(bpe.merges())
            .map(|(rank, &(first, second))| Merge { first, second, rank, token: 256 + rank })
            .collect();
        let mut bytes: Vec<Box<[u8]>> = Vec::new();
        let (mut roles, mut named) = (Vec::new(), Vec::new());
        for (id, _) in (0_u32..).zip(0..bpe.vocabulary()) {
            if let Some(name) = bpe.name_of(id) {
                bytes.push(name.as_bytes().into());
                roles.push(Role::Special);
                named.push(id);
            } else {
                bytes.push(bpe.bytes_of(id).unwrap_or_default().into());
                roles.push(Role::Text);
            }
        }
        named.sort_by_key(|&id| std::cmp::Reverse(bytes[id as usize].len()));
        let mut of_byte = [None; 256];
        for (slot, id) in of_byte.iter_mut().zip(0..) {
            *slot = Some(id);
        }
        Self {
            pre: PreTokenizer::Ream,
            merges: Merges::new(bytes.len(), merges),
            bytes,
            roles,
            of_byte,
            whole: HashMap::new(),
            named,
            begin: None,
            ends: Vec::new(),
        }
    }
}

impl Tokenizer {
    /// With these tokens as those that end what the model says.
    #[must_use]
    pub fn with_ends(mut self, tokens: impl IntoIterator<Item = u32>) -> Self {
        self.ends = tokens.into_iter().collect();
        self
    }

    /// Writes the keys that [`Tokenizer::from_gguf`] reads. A file has room for two tokens that end a text.
    ///
    /// # Errors
    /// Two tokens stand for the same bytes, which merges cannot tell apart in a file; one of the keys is there already.
    pub fn write_keys(&self, writer: &mut Writer) -> Result<(), Error> {
        let alphabet = Alphabet::new();
        let written = |id: u32| -> String {
            let bytes = &self.bytes[id as usize];
            match self.roles[id as usize] {
                Role::Text => alphabet.written(bytes),
                _ => String::from_utf8_lossy(bytes).into_owned(),
            }
        };
        let tokens: Vec<String> = (0_u32..).zip(&self.bytes).map(|(id, _)| written(id)).collect();
        let mut seen = HashMap::new();
        for (id, token) in tokens.iter().enumerate().filter(|(id, _)| self.roles[*id] == Role::Text) {
            if let Some(other) = seen.insert(token, id) {
                let problem = format!("tokens {other} and {id} are both {token:?}");
                return Err(Error::Unwritten { name: "tokenizer.ggml.tokens".to_owned(), problem });
            }
        }
        let merges: Vec<String> = self
            .merges
            .by_rank()
            .iter()
            .map(|merge| format!("{} {}", tokens[merge.first as usize], tokens[merge.second as usize]))
            .collect();
        let types: Vec<i32> = self.roles.iter().map(|role| role.number()).collect();
        writer.key("tokenizer.ggml.model", Value::Str("gpt2"))?;
        writer.key("tokenizer.ggml.pre", Value::Str(self.pre.name()))?;
        writer.strings("tokenizer.ggml.tokens", &tokens)?;
        writer.integers("tokenizer.ggml.token_type", &types)?;
        writer.strings("tokenizer.ggml.merges", &merges)?;
        writer.key("tokenizer.ggml.add_bos_token", Value::Bool(self.begin.is_some()))?;
        if let Some(id) = self.begin {
            writer.key("tokenizer.ggml.bos_token_id", Value::U32(id))?;
        }
        for (name, id) in ["eos_token_id", "eot_token_id"].into_iter().zip(&self.ends) {
            writer.key(&format!("tokenizer.ggml.{name}"), Value::U32(*id))?;
        }
        Ok(())
    }
}
