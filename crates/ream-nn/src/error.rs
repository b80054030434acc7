//! What can go wrong.

use std::path::PathBuf;

/// What can go wrong in a network: shapes, files, numbers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NnError {
    /// Shapes that do not fit; the message names the operation, the axes and both sizes.
    #[error("{operation}: {problem}")]
    Shape {
        /// Name of the operation.
        operation: &'static str,
        /// What does not fit, and what would.
        problem: String,
    },
    /// Numbers that an operation cannot work with.
    #[error("{operation}: {problem}")]
    Value {
        /// Name of the operation.
        operation: &'static str,
        /// Which number, and what would be right.
        problem: String,
    },
    /// A configuration that makes no network.
    #[error("{key} must be {wanted}, got {got}")]
    Config {
        /// Which key.
        key: String,
        /// What is allowed.
        wanted: String,
        /// What was given.
        got: String,
    },
    /// A number that is not finite.
    #[error("{what} is not finite at step {step}{place}")]
    NotFinite {
        /// Loss or gradient.
        what: &'static str,
        /// Step of the training.
        step: u64,
        /// Where it shows first: "; first in ..." or nothing.
        place: String,
    },
    /// A checkpoint that cannot be used.
    #[error("checkpoint {}: {problem}", path.display())]
    Checkpoint {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A part of an optimiser's state that is missing or of another size.
    #[error("the state holds no `{0}` of the right size")]
    State(String),
    /// A file that cannot be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// Read, write, rename.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// [`crate::Tensor::backward`] on something that has no gradient.
    #[error("backward: {0}")]
    Backward(&'static str),
    /// A gradient that differs from finite differences.
    #[error("gradient of {tensor}: {problem}")]
    Gradient {
        /// Which tensor.
        tensor: String,
        /// Which element, and by how much.
        problem: String,
    },
    /// The caller asked the training to stop.
    #[error("stopped at step {0}")]
    Stopped(u64),
    /// An estimate of memory that the machine cannot give.
    #[error("needs about {needed_mib} MiB, the limit is {limit_mib} MiB: {hint}")]
    Memory {
        /// The estimate.
        needed_mib: u64,
        /// What there is.
        limit_mib: u64,
        /// What would make it smaller.
        hint: String,
    },
}

/// Results of this crate.
pub type Result<T> = std::result::Result<T, NnError>;

/// A shape error.
pub(crate) fn shape<T>(operation: &'static str, problem: impl Into<String>) -> Result<T> {
    Err(NnError::Shape { operation, problem: problem.into() })
}

/// A configuration error.
pub(crate) fn config<T>(key: &str, wanted: impl Into<String>, got: impl std::fmt::Display) -> Result<T> {
    Err(NnError::Config { key: key.to_owned(), wanted: wanted.into(), got: got.to_string() })
}

/// An error about numbers.
pub(crate) fn value<T>(operation: &'static str, problem: impl Into<String>) -> Result<T> {
    Err(NnError::Value { operation, problem: problem.into() })
}
