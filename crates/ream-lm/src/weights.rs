//! The weights of a llama, whatever files they are in.
//!
//! [`open`] takes a GGUF file, or a folder with `config.json` and `model.safetensors` as Hugging Face's libraries write it (also in several files
//! with an index), beside them `tokenizer.json` and `tokenizer_config.json`. Both become a [`Source`]: one configuration, tensors by the names and in
//! the layout of GGUF, tokenizer and chat format.
//!
//! ```no_run
//! use ream_lm::weights;
//!
//! let source = weights::open("models/SmolLM2-135M-Instruct".as_ref())?;
//! let query = source.tensor("blk.0.attn_q.weight")?;
//! assert_eq!(query.shape[0], source.config().width);
//! # Ok::<(), ream_lm::weights::Error>(())
//! ```

mod error;
mod hugging_face;
pub(crate) mod shard;

use std::path::Path;

pub use error::Error;
pub use hugging_face::HuggingFace;

use crate::Tokenizer;
use crate::chat::Chat;
use crate::gguf::{self, Tensor, llama};

/// Weights of a llama by the names of GGUF (`token_embd.weight`, `blk.0.attn_q.weight`, ..., `output_norm.weight`): all those of
/// [`llama::Config::tensors`], in their shapes. Rows of queries and keys are in the order in which **adjacent** pairs of a head turn.
pub trait Source: Send + Sync {
    /// The model's shape.
    fn config(&self) -> &llama::Config;

    /// A tensor by name.
    ///
    /// # Errors
    /// There is none, or its type is not built here.
    fn tensor(&self, name: &str) -> Result<Tensor<'_>, Error>;

    /// The tokenizer that belongs to the model.
    ///
    /// # Errors
    /// It is missing, damaged, or of a kind that is not built here.
    fn tokenizer(&self) -> Result<Tokenizer, Error>;

    /// How the model wants conversations written.
    ///
    /// # Errors
    /// The files do not say, or want what is not built here.
    fn chat(&self) -> Result<Chat, Error>;
}

/// A GGUF file of a llama.
#[derive(Debug)]
pub struct Gguf {
    file: gguf::File,
    config: llama::Config,
}

impl Gguf {
    /// Checks that a file is a complete llama.
    ///
    /// # Errors
    /// As [`llama::Config::from_gguf`].
    pub fn new(file: gguf::File) -> Result<Self, gguf::Error> {
        let config = llama::Config::from_gguf(&file)?;
        Ok(Self { file, config })
    }

    /// The file, for its tokenizer and its other keys.
    #[must_use]
    pub fn file(&self) -> &gguf::File {
        &self.file
    }
}

impl Source for Gguf {
    fn config(&self) -> &llama::Config {
        &self.config
    }

    fn tensor(&self, name: &str) -> Result<Tensor<'_>, Error> {
        Ok(self.file.tensor(name)?)
    }

    fn tokenizer(&self) -> Result<Tokenizer, Error> {
        Ok(Tokenizer::from_gguf(&self.file)?)
    }

    fn chat(&self) -> Result<Chat, Error> {
        Ok(Chat::from_gguf(&self.file)?)
    }
}

/// The weights at a path: a GGUF file, or a folder of Hugging Face's form.
///
/// # Errors
/// What is there is neither, is damaged, or is no llama.
pub fn open(path: &Path) -> Result<Box<dyn Source>, Error> {
    if path.is_dir() {
        return Ok(Box::new(HuggingFace::open(path)?));
    }
    Ok(Box::new(Gguf::new(gguf::File::open(path)?)?))
}

#[cfg(test)]
mod tests;
