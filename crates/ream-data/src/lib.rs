//! Data sets with provenance: registry, fetch, verify, decode; the user's own tables.

use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use thiserror::Error;

/// What is wrong with data.
#[derive(Debug, Error)]
pub enum DataError {
    /// A data set that was never fetched.
    #[error("data set `{id}` is not fetched (ream data fetch {id})")]
    NotFetched {
        /// The data set.
        id: String,
    },
    /// A file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// The system's word for it.
        source: std::io::Error,
    },
}

/// A folder of fetched data sets.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

impl Store {
    /// The store in a folder, which need not exist yet.
    #[must_use]
    pub fn open(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The file of a data set.
    ///
    /// # Errors
    /// It is not fetched.
    pub fn path(&self, id: &str) -> Result<PathBuf, DataError> {
        let path = self.root.join(id);
        if path.is_file() { Ok(path) } else { Err(DataError::NotFetched { id: id.to_owned() }) }
    }
}

/// SHA-256 of a file's bytes, hexadecimal.
///
/// # Errors
/// The file cannot be read.
pub fn hash_file(path: &Path) -> Result<String, DataError> {
    let read = |source| DataError::Read { path: path.to_owned(), source };
    let mut file = std::fs::File::open(path).map_err(read)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut buffer).map_err(read)?;
        if n == 0 {
            return Ok(hasher.finalize().iter().map(|b| format!("{b:02x}")).collect());
        }
        hasher.update(&buffer[..n]);
    }
}
