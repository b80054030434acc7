//! What can be wrong with a sentence encoder's files.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// What is wrong with a sentence encoder.
#[derive(Debug, Error)]
pub enum SentenceError {
    /// A file that cannot be read.
    #[error("{}: {problem}; wanted a folder with config.json, tokenizer.json and model.safetensors", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        problem: std::io::Error,
    },
    /// `config.json` or `tokenizer.json` is not JSON of the right form, or asks for what is not built here.
    #[error("{}: {problem}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what was wanted.
        problem: String,
    },
    /// A tensor that is missing, or not of the shape and type wanted.
    #[error("{}: tensor `{tensor}` {problem}, wanted f32 {wanted:?}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor's name.
        tensor: String,
        /// What is wrong.
        problem: String,
        /// The shape wanted.
        wanted: Vec<usize>,
    },
    /// An operation was given what it cannot take.
    #[error("sentence encoder: {0}")]
    Network(#[from] ream_nn::NnError),
}

impl SentenceError {
    pub(super) fn form(path: &Path, problem: impl Into<String>) -> Self {
        Self::Form { path: path.to_owned(), problem: problem.into() }
    }
}

/// The bytes of a file of the model.
fn read(path: &Path) -> Result<Vec<u8>, SentenceError> {
    std::fs::read(path).map_err(|problem| SentenceError::Read { path: path.to_owned(), problem })
}

/// A file of the model as JSON.
pub(super) fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, SentenceError> {
    serde_json::from_slice(&read(path)?)
        .map_err(|e| SentenceError::form(path, format!("{e}; is it another kind of model?")))
}
