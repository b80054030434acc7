//! Weights by name from `model.safetensors`, checked against the shapes wanted.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};

use super::error::SentenceError;

/// Tensors of a file.
pub(super) struct Weights<'a> {
    path: &'a Path,
    file: SafeTensors<'a>,
}

impl<'a> Weights<'a> {
    pub(super) fn parse(path: &'a Path, bytes: &'a [u8]) -> Result<Self, SentenceError> {
        let file = SafeTensors::deserialize(bytes)
            .map_err(|e| SentenceError::form(path, format!("is cut off or no safetensors file: {e}")))?;
        Ok(Self { path, file })
    }

    /// The numbers of a tensor of this shape, row-major.
    pub(super) fn get(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, SentenceError> {
        let wrong = |problem: String| SentenceError::Tensor {
            path: self.path.to_owned(),
            tensor: name.to_owned(),
            problem,
            wanted: shape.to_vec(),
        };
        let tensor = self.file.tensor(name).map_err(|_| wrong("is not there".to_owned()))?;
        if tensor.dtype() != Dtype::F32 || tensor.shape() != shape {
            return Err(wrong(format!("is {:?} {:?}", tensor.dtype(), tensor.shape())));
        }
        let (numbers, _) = tensor.data().as_chunks::<4>();
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
