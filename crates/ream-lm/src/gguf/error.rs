//! What can be wrong with a GGUF file.

use std::path::PathBuf;

use thiserror::Error;

/// What is wrong with a GGUF file, or with a request to it.
#[derive(Debug, Error)]
pub enum Error {
    /// A file that cannot be read or written.
    #[error("{}: {problem}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system says.
        problem: std::io::Error,
    },
    /// The header is not that of a GGUF file which is read here.
    #[error("{}: at byte {at}: {problem}", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// Where in the file.
        at: usize,
        /// What is wrong there, and what would be right.
        problem: String,
    },
    /// A key that is missing, or whose value is not of the type or range wanted.
    #[error("{}: key `{key}` {problem}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// The key.
        key: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// A tensor that is missing, of a type that is not built here, or not of the shape wanted.
    #[error("{}: tensor `{tensor}` {problem}", path.display())]
    Tensor {
        /// The file.
        path: PathBuf,
        /// The tensor.
        tensor: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
    /// A model of another architecture.
    #[error("{}: the architecture is `{found}`, supported: {}", path.display(), supported.join(", "))]
    Architecture {
        /// The file.
        path: PathBuf,
        /// What the file says.
        found: String,
        /// What is built here.
        supported: &'static [&'static str],
    },
    /// Bytes and numbers that do not fit each other.
    #[error("{kind}: {bytes} bytes for {elements} elements; wanted {} bytes for every {} elements", kind.block().1, kind.block().0)]
    Length {
        /// The element type.
        kind: super::Kind,
        /// Bytes given.
        bytes: usize,
        /// Numbers given.
        elements: usize,
    },
    /// A number that a type cannot hold.
    #[error("{kind}: element {at} is {number}, wanted a finite number that fits the type")]
    Number {
        /// The element type.
        kind: super::Kind,
        /// Which number.
        at: usize,
        /// The number.
        number: f32,
    },
    /// A type that is read and not written.
    #[error("{kind} is read only; wanted F32, F16, BF16, Q8_0, Q4_0 or Q4_1")]
    ReadOnly {
        /// The element type.
        kind: super::Kind,
    },
    /// A key or a tensor that cannot be written.
    #[error("`{name}` cannot be written: {problem}")]
    Unwritten {
        /// Its name.
        name: String,
        /// What is wrong with it, and what would be right.
        problem: String,
    },
}
