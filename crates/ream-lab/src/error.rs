//! What can go wrong, sorted by what the caller can do about it.

use std::fmt;
use std::path::{Path, PathBuf};

use thiserror::Error;

/// Result of anything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An input that is not allowed: where, what would be right, what was got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The key, file or column.
    pub place: String,
    /// What would be right.
    pub wanted: String,
    /// What was got.
    pub got: String,
}

impl Invalid {
    /// `place`: the configuration key, or file and column.
    pub fn new(place: impl Into<String>, wanted: impl Into<String>, got: impl Into<String>) -> Self {
        Self { place: place.into(), wanted: wanted.into(), got: got.into() }
    }

    /// Refuses unless `value` lies in `range`.
    ///
    /// # Errors
    /// Names the key, the range and the value.
    pub fn unless_in<T: PartialOrd + fmt::Display + Copy>(
        key: &str,
        value: T,
        range: std::ops::RangeInclusive<T>,
    ) -> std::result::Result<(), Self> {
        if range.contains(&value) {
            return Ok(());
        }
        Err(Self::new(key, format!("between {} and {}", range.start(), range.end()), value.to_string()))
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: wanted {}", self.place, self.wanted)?;
        if self.got.is_empty() { Ok(()) } else { write!(f, ", got {}", self.got) }
    }
}

impl std::error::Error for Invalid {}

/// Anything that stops a run or a command.
#[derive(Debug, Error)]
pub enum Error {
    /// The user's input: nothing was started, nothing was written.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The user's input in free words.
    #[error("{0}")]
    Input(String),
    /// A data set that was never fetched.
    #[error("{0}")]
    DataMissing(String),
    /// Reading or decoding data failed.
    #[error("{0}")]
    Data(String),
    /// Someone asked the run to stop.
    #[error("cancelled")]
    Cancelled,
    /// A file could not be read or written.
    #[error("cannot {action} {}: {source}{}", path.display(), advice(source))]
    Io {
        /// "read", "write", "create", "lock" ...
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's word for it.
        source: std::io::Error,
    },
    /// A file of ours does not say what it should.
    #[error("{}: {problem}", path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What is wrong, what to do.
        problem: String,
    },
    /// The computation itself failed.
    #[error("{0}")]
    Failed(String),
}

/// What to do about the commonest causes.
fn advice(source: &std::io::Error) -> &'static str {
    match source.kind() {
        std::io::ErrorKind::StorageFull
        | std::io::ErrorKind::FileTooLarge
        | std::io::ErrorKind::QuotaExceeded => "; free some space, then go on with `ream run --resume`",
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            "; choose a directory you may write to with --runs DIR or REAM_HOME"
        }
        _ => "",
    }
}

impl Error {
    /// The computation failed for this reason.
    pub fn failed(why: impl Into<String>) -> Self {
        Self::Failed(why.into())
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    pub(crate) fn corrupt(path: &Path, problem: impl fmt::Display) -> Self {
        Self::Corrupt { path: path.to_owned(), problem: problem.to_string() }
    }

    /// The exit code of the command line: 1 a run failed, 2 bad input, 3 data missing, 130 cancelled.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Invalid(_) | Self::Input(_) | Self::Data(_) | Self::Corrupt { .. } => 2,
            Self::DataMissing(_) => 3,
            Self::Cancelled => 130,
            Self::Io { .. } | Self::Failed(_) => 1,
        }
    }
}

impl From<ream_data::DataError> for Error {
    fn from(error: ream_data::DataError) -> Self {
        match error {
            ream_data::DataError::NotFetched { .. } => Self::DataMissing(error.to_string()),
            other => Self::Data(other.to_string()),
        }
    }
}
