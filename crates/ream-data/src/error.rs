//! What is wrong with data: what, where, what would be right.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// Anything wrong with a data set or a file of the user's.
#[derive(Debug, Error)]
pub enum DataError {
    /// There is no data set of that id.
    #[error("there is no data set `{id}`{hint} (`ream data list` shows them)")]
    Unknown {
        /// The id asked for.
        id: String,
        /// A suggestion, or nothing.
        hint: String,
    },
    /// A data set that was never fetched.
    #[error("data set `{id}` is not fetched ({size}, {licence}); fetch it with: ream data fetch {id}")]
    NotFetched {
        /// The data set.
        id: String,
        /// Size of the download in words.
        size: String,
        /// Its licence.
        licence: String,
    },
    /// A fetched file is not what the registry says.
    #[error("data set `{id}`: {} is damaged: {got}, wanted SHA-256 {wanted}; fetch it again with: ream data fetch {id}", path.display())]
    Damaged {
        /// The data set.
        id: String,
        /// The file.
        path: PathBuf,
        /// Checksum wanted.
        wanted: String,
        /// What was found: another checksum, another size, nothing.
        got: String,
    },
    /// Fetching failed; nothing was kept.
    #[error("cannot fetch `{id}`: {problem}")]
    Fetch {
        /// The data set.
        id: String,
        /// What happened and what to do.
        problem: String,
    },
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// "read", "write" ...
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's word for it.
        source: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{file}{place}: {problem}")]
    Format {
        /// Which file.
        file: String,
        /// `:3` for a line, `, row 2, column ...`, or nothing.
        place: String,
        /// What is wrong and what would be right.
        problem: String,
    },
}

impl DataError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// Fetching a data set failed.
    pub(crate) fn fetch(id: &str, problem: impl Into<String>) -> Self {
        Self::Fetch { id: id.to_owned(), problem: problem.into() }
    }

    /// A problem of a whole file.
    pub(crate) fn format(file: &Path, problem: impl Into<String>) -> Self {
        Self::Format { file: file.display().to_string(), place: String::new(), problem: problem.into() }
    }

    /// A problem at a line, from 1.
    pub(crate) fn line(file: &Path, line: u64, problem: impl Into<String>) -> Self {
        Self::Format { file: file.display().to_string(), place: format!(":{line}"), problem: problem.into() }
    }

    /// A problem of a cell; the row is counted from 1 below the header.
    pub(crate) fn cell(file: &str, row: usize, column: &str, problem: impl Into<String>) -> Self {
        Self::Format {
            file: file.to_owned(),
            place: format!(", row {row}, column `{column}`"),
            problem: problem.into(),
        }
    }
}
