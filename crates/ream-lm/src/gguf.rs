//! GGUF: the file format of llama.cpp, with a model's configuration, tokenizer and weights in one file.
//!
//! Versions 2 and 3, little-endian. The file is mapped into memory, so opening one costs its header; tensors and texts are lent from the
//! map. No count or length in the header is believed before it is compared with the bytes that are left.
//!
//! ```no_run
//! use ream_lm::gguf::{self, Kind};
//!
//! let file = gguf::File::open("SmolLM2-135M-Instruct.Q4_1.gguf")?;
//! assert_eq!(file.u32("llama.block_count")?, 30);
//! let query = file.tensor("blk.0.attn_q.weight")?;
//! assert_eq!((query.kind, query.shape.as_slice()), (Kind::Q4_1, &[576, 576][..]));
//! let mut weights = vec![0.0; query.elements()];
//! query.dequantize(&mut weights)?;
//! # Ok::<(), gguf::Error>(())
//! ```
//!
//! Reference: the GGUF specification in the ggml repository (`docs/gguf.md`).

mod config;
mod dequantize;
mod error;
pub mod half;
mod kind;
mod quantize;
mod read;
mod value;
mod write;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub use dequantize::dequantize;
pub(crate) use dequantize::q4_k_scales;
pub use error::Error;
pub use kind::Kind;
pub use quantize::quantize;
use read::{Cursor, Header, Info};
pub use value::{Array, Value};
pub use write::Writer;

use crate::mapped::Mapped;

/// Models of the llama family.
pub mod llama {
    pub use super::config::Config;
}

/// An open GGUF file.
pub struct File {
    path: PathBuf,
    bytes: Mapped,
    header: Header,
    by_name: HashMap<String, usize>,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "gguf::File({}, {} tensors)", self.path.display(), self.header.tensors.len())
    }
}

/// A tensor as it is stored, lent by the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor<'a> {
    /// Its name.
    pub name: &'a str,
    /// Sizes as in the file: **the fastest first**. A weight that maps `d_in` numbers to `d_out` is `[d_in, d_out]`: `d_out` rows of
    /// `d_in` numbers, each row in whole blocks.
    pub shape: Vec<usize>,
    /// How its numbers are stored.
    pub kind: Kind,
    /// Its blocks.
    pub data: &'a [u8],
}

impl<'a> Tensor<'a> {
    /// Numbers in it.
    #[must_use]
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Numbers in a row.
    #[must_use]
    pub fn row_elements(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }

    /// The blocks of a row; none past the last row.
    #[must_use]
    pub fn row(&self, row: usize) -> &'a [u8] {
        let bytes = self.kind.bytes(self.row_elements()).unwrap_or(0);
        row.checked_mul(bytes).and_then(|start| self.data.get(start..)?.get(..bytes)).unwrap_or_default()
    }

    /// Its numbers, in the order in which they are stored.
    ///
    /// # Errors
    /// `out` does not have [`elements`](Self::elements) places.
    pub fn dequantize(&self, out: &mut [f32]) -> Result<(), Error> {
        dequantize(self.kind, self.data, out)
    }
}

impl File {
    /// Maps a file into memory and reads its header.
    ///
    /// The file must not be changed in place while it is open (a system that cuts it then ends the process); replacing it by a rename is
    /// harmless.
    ///
    /// # Errors
    /// It cannot be read, is no GGUF file of version 2 or 3, is cut off, or contradicts itself: the byte and what is wrong there. A tensor
    /// of an unsupported type is an error only when it is asked for.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let bytes = Mapped::open(path).map_err(|problem| Error::Io { path: path.to_owned(), problem })?;
        Self::new(path, bytes)
    }

    /// The same from bytes in memory; `name` stands for the path in messages.
    ///
    /// # Errors
    /// As [`File::open`].
    pub fn from_bytes(name: impl AsRef<Path>, bytes: Vec<u8>) -> Result<Self, Error> {
        Self::new(name.as_ref(), Mapped::Owned(bytes))
    }

    fn new(path: &Path, bytes: Mapped) -> Result<Self, Error> {
        let header = read::header(bytes.bytes()).map_err(|problem| Error::Form {
            path: path.to_owned(),
            at: problem.at,
            problem: problem.text,
        })?;
        let by_name = header.tensors.iter().enumerate().map(|(i, info)| (info.name.clone(), i)).collect();
        Ok(Self { path: path.to_owned(), bytes, header, by_name })
    }

    /// The file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The format's version, 2 or 3.
    #[must_use]
    pub fn version(&self) -> u32 {
        self.header.version
    }

    /// What tensors' offsets are multiples of, bytes.
    #[must_use]
    pub fn alignment(&self) -> usize {
        self.header.alignment
    }

    /// The value of a key.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<Value<'_>> {
        self.header.keys.get(name).and_then(|place| self.value(place))
    }

    fn value(&self, place: &read::Place) -> Option<Value<'_>> {
        // It was read once when the file was opened.
        Value::read(place.kind, &mut Cursor::new(self.bytes.bytes().get(place.bytes.clone())?)).ok()
    }

    /// All keys in the order of their names.
    pub fn keys(&self) -> impl Iterator<Item = (&str, Value<'_>)> {
        self.header.keys.iter().filter_map(|(name, place)| Some((name.as_str(), self.value(place)?)))
    }

    /// An integer of any stored type.
    ///
    /// # Errors
    /// There is no such key, or its value is no integer or does not fit.
    pub fn u32(&self, key: &str) -> Result<u32, Error> {
        self.typed(key, "an integer from 0 to 2^32 - 1", |value| value.integer()?.try_into().ok())
    }

    /// A floating-point number of either stored size.
    ///
    /// # Errors
    /// There is no such key, or its value is of another type.
    pub fn f32(&self, key: &str) -> Result<f32, Error> {
        self.typed(key, "a number", |value| match value {
            Value::F32(x) => Some(x),
            Value::F64(x) => Some(x as f32),
            _ => None,
        })
    }

    /// A boolean.
    ///
    /// # Errors
    /// There is no such key, or its value is of another type.
    pub fn bool(&self, key: &str) -> Result<bool, Error> {
        self.typed(key, "a boolean", |value| if let Value::Bool(x) = value { Some(x) } else { None })
    }

    /// A text.
    ///
    /// # Errors
    /// There is no such key, or its value is of another type.
    pub fn str(&self, key: &str) -> Result<&str, Error> {
        self.typed(key, "a string", Value::text)
    }

    /// An array of texts.
    ///
    /// # Errors
    /// There is no such key, or its value is of another type.
    pub fn strings(&self, key: &str) -> Result<Vec<&str>, Error> {
        self.elements(key, "an array of strings", Value::text)
    }

    /// An array of integers of any stored type.
    ///
    /// # Errors
    /// There is no such key, or its value is of another type, or one does not fit.
    pub fn integers(&self, key: &str) -> Result<Vec<i64>, Error> {
        self.elements(key, "an array of integers", |value| value.integer()?.try_into().ok())
    }

    /// An array of floating-point numbers.
    ///
    /// # Errors
    /// There is no such key, or its value is of another type.
    pub fn f32s(&self, key: &str) -> Result<Vec<f32>, Error> {
        self.elements(key, "an array of 32-bit numbers", |value| {
            if let Value::F32(x) = value { Some(x) } else { None }
        })
    }

    fn elements<'a, T>(
        &'a self,
        key: &str,
        wanted: &str,
        take: impl Fn(Value<'a>) -> Option<T>,
    ) -> Result<Vec<T>, Error> {
        self.typed(key, wanted, |value| {
            if let Value::Array(array) = value { array.iter().map(&take).collect() } else { None }
        })
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        wanted: &str,
        take: impl FnOnce(Value<'a>) -> Option<T>,
    ) -> Result<T, Error> {
        let Some(value) = self.key(key) else {
            return Err(self.wrong_key(key, format!("is not there, wanted {wanted}")));
        };
        take(value).ok_or_else(|| match value {
            Value::Str(_) | Value::Array(_) => {
                self.wrong_key(key, format!("is {}, wanted {wanted}", value.type_name()))
            }
            _ => self.wrong_key(key, format!("is {value:?}, wanted {wanted}")),
        })
    }

    /// An error about a key.
    pub(crate) fn wrong_key(&self, key: &str, problem: impl Into<String>) -> Error {
        Error::Key { path: self.path.clone(), key: key.to_owned(), problem: problem.into() }
    }

    /// An error about a tensor.
    pub(crate) fn wrong_tensor(&self, tensor: &str, problem: impl Into<String>) -> Error {
        Error::Tensor { path: self.path.clone(), tensor: tensor.to_owned(), problem: problem.into() }
    }

    /// A tensor by name.
    ///
    /// # Errors
    /// There is none, or its type is not built here.
    pub fn tensor(&self, name: &str) -> Result<Tensor<'_>, Error> {
        let info = self.by_name.get(name).and_then(|&i| self.header.tensors.get(i));
        info.map_or_else(|| Err(self.wrong_tensor(name, "is not there")), |info| self.lend(info))
    }

    /// The shape of a tensor, fastest first, of whatever type it is.
    #[must_use]
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        let info = self.header.tensors.get(*self.by_name.get(name)?)?;
        Some(&info.shape)
    }

    /// The names of all tensors, in the order of the file.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.header.tensors.iter().map(|info| info.name.as_str())
    }

    /// All tensors in the order of the file; an error stands for one whose type is not built here.
    pub fn tensors(&self) -> impl Iterator<Item = Result<Tensor<'_>, Error>> {
        self.header.tensors.iter().map(|info| self.lend(info))
    }

    fn lend<'a>(&'a self, info: &'a Info) -> Result<Tensor<'a>, Error> {
        let kind = info.kind.map_err(|number| {
            let found = kind::name_of(number);
            self.wrong_tensor(&info.name, format!("is of type {found}, supported: {}", Kind::list()))
        })?;
        let data = self.bytes.bytes().get(info.bytes.clone()).unwrap_or_default();
        Ok(Tensor { name: &info.name, shape: info.shape.clone(), kind, data })
    }
}

#[cfg(test)]
pub(crate) mod tests;
