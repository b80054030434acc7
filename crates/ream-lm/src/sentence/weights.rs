//! Weights by name from `model.safetensors`, checked against the shapes wanted.

use std::path::Path;

use safetensors::Dtype;

use super::error::SentenceError;
use crate::weights::shard::{Problem, Shard};

/// Tensors of a file.
pub(super) struct Weights(Shard);

impl Weights {
    pub(super) fn open(path: &Path) -> Result<Self, SentenceError> {
        Shard::open(path).map(Self).map_err(|problem| match problem {
            Problem::Io(problem) => SentenceError::Read { path: path.to_owned(), problem },
            Problem::Form(problem) => SentenceError::form(path, problem),
        })
    }

    /// The numbers of a tensor of this shape, row-major.
    pub(super) fn get(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, SentenceError> {
        let wrong = |problem: String| SentenceError::Tensor {
            path: self.0.path().to_owned(),
            tensor: name.to_owned(),
            problem,
            wanted: shape.to_vec(),
        };
        let (dtype, found, bytes) = self.0.tensor(name).ok_or_else(|| wrong("is not there".to_owned()))?;
        if dtype != Dtype::F32 || found != shape {
            return Err(wrong(format!("is {dtype:?} {found:?}")));
        }
        let (numbers, _) = bytes.as_chunks::<4>();
        let values: Vec<f32> = numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        match values.iter().position(|x| !x.is_finite()) {
            Some(at) => Err(wrong(format!("has {} at element {at}", values[at]))),
            None => Ok(values),
        }
    }

    /// A weight `[d_out, d_in]` as `[d_in, d_out]`: the form whose rows a matrix product reads where they lie, however many rows
    /// the other operand has.
    pub(super) fn transposed(
        &self,
        name: &str,
        d_out: usize,
        d_in: usize,
    ) -> Result<Vec<f32>, SentenceError> {
        let weight = self.get(name, &[d_out, d_in])?;
        let mut turned = vec![0.0; weight.len()];
        for (o, row) in weight.chunks_exact(d_in.max(1)).enumerate() {
            for (i, w) in row.iter().enumerate() {
                turned[i * d_out + o] = *w;
            }
        }
        Ok(turned)
    }
}
