//! Writing GGUF files.

use std::collections::BTreeSet;
use std::path::Path;

use super::read::ALIGNMENT;
use super::value::{Value, ValueKind};
use super::{Error, Kind, quantize};

/// A GGUF file under way, version 3.
///
/// ```
/// use ream_lm::gguf::{File, Kind, Value, Writer};
///
/// let mut writer = Writer::new();
/// writer.key("general.architecture", Value::Str("llama"))?;
/// // Two rows of 32 numbers: sizes are given the fastest first.
/// writer.tensor("weight", &[32, 2], Kind::Q8_0, &[0.5; 64])?;
/// let file = File::from_bytes("an example", writer.to_bytes())?;
/// assert_eq!(file.tensor("weight")?.kind, Kind::Q8_0);
/// # Ok::<(), ream_lm::gguf::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Writer {
    names: BTreeSet<String>,
    key_count: u64,
    /// Keys as they stand in the file.
    keys: Vec<u8>,
    tensors: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    shape: Vec<usize>,
    kind: Kind,
    data: Vec<u8>,
}

impl Writer {
    /// An empty file.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a key: a number, a boolean, a string, or an array that another file lends.
    ///
    /// # Errors
    /// The name is empty or there already, or the key is `general.alignment`.
    pub fn key(&mut self, name: &str, value: Value<'_>) -> Result<(), Error> {
        self.raw_key(name, value.kind(), |out| value.write(out))
    }

    /// Adds an array of strings.
    ///
    /// # Errors
    /// The name is empty or there already.
    pub fn strings(&mut self, name: &str, strings: &[impl AsRef<str>]) -> Result<(), Error> {
        let mut values = strings.iter().map(|text| Value::Str(text.as_ref()));
        self.array(name, ValueKind::Str, strings.len(), &mut values)
    }

    /// Adds an array of 32-bit integers.
    ///
    /// # Errors
    /// The name is empty or there already.
    pub fn integers(&mut self, name: &str, integers: &[i32]) -> Result<(), Error> {
        self.array(name, ValueKind::I32, integers.len(), &mut integers.iter().map(|&x| Value::I32(x)))
    }

    /// Adds an array of numbers.
    ///
    /// # Errors
    /// The name is empty or there already.
    pub fn numbers(&mut self, name: &str, numbers: &[f32]) -> Result<(), Error> {
        self.array(name, ValueKind::F32, numbers.len(), &mut numbers.iter().map(|&x| Value::F32(x)))
    }

    fn array(
        &mut self,
        name: &str,
        kind: ValueKind,
        length: usize,
        values: &mut dyn Iterator<Item = Value<'_>>,
    ) -> Result<(), Error> {
        self.raw_key(name, ValueKind::Array, |out| {
            out.extend(kind.number().to_le_bytes());
            out.extend((length as u64).to_le_bytes());
            values.for_each(|value| value.write(out));
        })
    }

    fn raw_key(
        &mut self,
        name: &str,
        kind: ValueKind,
        write: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Error> {
        if name == "general.alignment" {
            return Err(unwritten(name, &format!("tensors are aligned to {ALIGNMENT} bytes here")));
        }
        self.reserve("key", name)?;
        Value::Str(name).write(&mut self.keys);
        self.keys.extend(kind.number().to_le_bytes());
        write(&mut self.keys);
        self.key_count += 1;
        Ok(())
    }

    /// Takes a name; keys and tensors have names of their own.
    fn reserve(&mut self, what: &str, name: &str) -> Result<(), Error> {
        if name.is_empty() || !self.names.insert(format!("{what} {name}")) {
            return Err(unwritten(name, &format!("names of a {what} are unique and not empty")));
        }
        Ok(())
    }

    /// Adds a tensor: numbers in the order of the file, stored as [`quantize`] does; sizes the fastest first.
    ///
    /// # Errors
    /// The numbers are not those of the shape, its rows do not fill blocks, a number does not fit; as [`Writer::blocks`].
    pub fn tensor(&mut self, name: &str, shape: &[usize], kind: Kind, numbers: &[f32]) -> Result<(), Error> {
        self.blocks(name, shape, kind, quantize(kind, numbers)?)
    }

    /// Adds a tensor whose blocks are there already.
    ///
    /// # Errors
    /// The name is empty or there already; the shape has no dimension, more than four, or one of size 0; its rows do not fill blocks; the
    /// bytes are not those of the shape.
    pub fn blocks(&mut self, name: &str, shape: &[usize], kind: Kind, data: Vec<u8>) -> Result<(), Error> {
        let elements = shape.iter().try_fold(1_usize, |n, &size| n.checked_mul(size));
        let sizes = (1..=4).contains(&shape.len()) && elements.is_some_and(|n| n > 0);
        if !sizes || !shape[0].is_multiple_of(kind.block().0) {
            let problem = format!(
                "shape {shape:?} in {kind}, wanted 1 to 4 sizes, the first a multiple of {}",
                kind.block().0
            );
            return Err(unwritten(name, &problem));
        }
        let wanted = elements.and_then(|n| kind.bytes(n));
        if wanted != Some(data.len()) {
            let problem = format!("{} bytes for shape {shape:?} in {kind}, wanted {wanted:?}", data.len());
            return Err(unwritten(name, &problem));
        }
        self.reserve("tensor", name)?;
        self.tensors.push(Entry { name: name.to_owned(), shape: shape.to_owned(), kind, data });
        Ok(())
    }

    /// The whole file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(3_u32.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend(self.key_count.to_le_bytes());
        out.extend(&self.keys);
        let mut offset = 0;
        for tensor in &self.tensors {
            Value::Str(&tensor.name).write(&mut out);
            out.extend((tensor.shape.len() as u32).to_le_bytes());
            tensor.shape.iter().for_each(|&size| out.extend((size as u64).to_le_bytes()));
            out.extend(tensor.kind.number().to_le_bytes());
            out.extend((offset as u64).to_le_bytes());
            offset = (offset + tensor.data.len()).next_multiple_of(ALIGNMENT);
        }
        for tensor in &self.tensors {
            out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
            out.extend(&tensor.data);
        }
        out
    }

    /// Writes the file: beside its place, then renamed, so that nobody sees half of it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        let path = path.as_ref();
        let beside = path.with_added_extension(format!("{}.tmp", std::process::id()));
        std::fs::write(&beside, self.to_bytes()).and_then(|()| std::fs::rename(&beside, path)).map_err(
            |problem| {
                let _ = std::fs::remove_file(&beside);
                Error::Io { path: path.to_owned(), problem }
            },
        )
    }
}

fn unwritten(name: &str, problem: &str) -> Error {
    Error::Unwritten { name: name.to_owned(), problem: problem.to_owned() }
}
