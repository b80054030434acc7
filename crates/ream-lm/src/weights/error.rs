//! What can be wrong with weights.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// What is wrong with a model's weights.
#[derive(Debug, Error)]
pub enum Error {
    /// A GGUF file.
    #[error(transparent)]
    Gguf(#[from] crate::gguf::Error),
    /// A file of a folder that cannot be read.
    #[error("{}: {problem}; wanted a folder with config.json and model.safetensors", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        problem: std::io::Error,
    },
    /// A file of a folder that is not of the right form, or asks for what is not built here.
    #[error("{}: {problem}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong, and what was wanted.
        problem: String,
    },
    /// A tensor that is missing, or not of the shape or type wanted.
    #[error("{}: tensor `{tensor}` {problem}", path.display())]
    Tensor {
        /// The file or the folder.
        path: PathBuf,
        /// The tensor's name in the file.
        tensor: String,
        /// What is wrong, and what was wanted.
        problem: String,
    },
}

impl Error {
    pub(super) fn form(path: &Path, problem: impl Into<String>) -> Self {
        Self::Form { path: path.to_owned(), problem: problem.into() }
    }

    pub(super) fn tensor(path: &Path, tensor: &str, problem: impl Into<String>) -> Self {
        Self::Tensor { path: path.to_owned(), tensor: tensor.to_owned(), problem: problem.into() }
    }
}
