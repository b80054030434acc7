//! One safetensors file, mapped into memory.

use std::io;
use std::path::{Path, PathBuf};

use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensors};

use crate::mapped::Mapped;

/// Bytes of the length before a file's header.
const LENGTH_BYTES: usize = 8;

/// An open safetensors file.
#[derive(Debug)]
pub(crate) struct Shard {
    path: PathBuf,
    bytes: Mapped,
    /// Where tensors' bytes are counted from.
    start: usize,
    metadata: Metadata,
}

/// Why a file does not open.
pub(crate) enum Problem {
    Io(io::Error),
    Form(String),
}

impl Shard {
    pub(crate) fn open(path: &Path) -> Result<Self, Problem> {
        let bytes = Mapped::open(path).map_err(Problem::Io)?;
        let (length, metadata) = SafeTensors::read_metadata(bytes.bytes())
            .map_err(|e| Problem::Form(format!("is cut off or no safetensors file: {e}")))?;
        Ok(Self { path: path.to_owned(), bytes, start: LENGTH_BYTES + length, metadata })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Type, shape (slowest first) and bytes of a tensor.
    pub(crate) fn tensor(&self, name: &str) -> Option<(Dtype, &[usize], &[u8])> {
        let TensorInfo { dtype, shape, data_offsets: (from, to) } = self.metadata.info(name)?;
        let bytes = self.bytes.bytes().get(self.start..)?.get(*from..*to)?;
        Some((*dtype, shape, bytes))
    }
}
