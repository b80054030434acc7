//! The bytes of a file, mapped into memory.

use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// Bytes of a mapped file, or bytes of one's own.
#[derive(Debug)]
pub(crate) enum Mapped {
    File(Mmap),
    Owned(Vec<u8>),
}

impl Mapped {
    /// Maps a file for reading. Nothing is read until it is looked at; pages can be dropped and read again by the system.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a file"));
        }
        // SAFETY: the map is private to this process and never written. What the type system cannot see is another process that
        // changes or cuts the file meanwhile; fetched data sets are replaced by a rename, which leaves a mapped file as it was.
        // Every reader of these bytes takes any bytes (numbers are assembled from them, strings are checked when they are lent).
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self::File(map))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::File(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}
