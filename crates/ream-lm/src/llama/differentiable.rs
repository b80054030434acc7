//! The last blocks of a model in single precision, with gradients for activations: weights are constants.

use ream_nn::ops::{Heads, Mask, Rotation, attention, linear, rms_norm, rope};
use ream_nn::{NnError, Tensor};

use super::model::Block;
use super::{Config, LlamaError, Model};
use crate::quant::Matrix;

/// The blocks of a model from one on, its last norm and its head, as operations with gradients.
///
/// The weights are the file's, dequantised; activations are not rounded to 8 bits as the engine rounds them, so the two differ by about a
/// percent where weights are quantised, and by rounding where they are not.
///
/// ```no_run
/// use ream_lm::llama::Model;
/// use ream_nn::Tensor;
/// use ream_nn::ops::Mask;
///
/// let model = Model::open("SmolLM2-135M-Instruct.Q4_1.gguf")?;
/// let upper = model.differentiable(15)?;
/// // The residual stream after block 14 of a text of 7 tokens.
/// let x = Tensor::from_vec(vec![0.1; 7 * 576], &[1, 7, 576])?.watched();
/// let loss = upper.logits(&x, &Mask::causal())?.log_sum_exp().sum();
/// let gradients = loss.backward()?;
/// assert!(gradients.of(&x).is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Differentiable {
    config: Config,
    blocks: Vec<Floats>,
    /// `[width]`.
    norm: Tensor,
    /// `[vocabulary, width]`.
    head: Tensor,
}

/// A block's weights, as in [`Block`]; pairs of a head lie half a head apart, as [`rope`] turns them.
#[derive(Debug)]
struct Floats {
    attention_norm: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    o: Tensor,
    ffn_norm: Tensor,
    /// `[2 ffn, width]`.
    gate_up: Tensor,
    down: Tensor,
}

impl Model {
    /// Blocks `first..`, the last norm and the head with gradients for activations. They take 4 bytes a weight.
    ///
    /// # Errors
    /// When `first` is beyond the last block (one past it gives norm and head alone).
    pub fn differentiable(&self, first: usize) -> Result<Differentiable, LlamaError> {
        let Some(blocks) = self.blocks.get(first..) else {
            return Err(LlamaError::Block { block: first, last: self.config.blocks.saturating_sub(1) });
        };
        let head_size = self.config.head_size;
        let blocks = blocks.iter().map(|block| Floats::new(block, head_size)).collect::<Result<_, _>>()?;
        Ok(Differentiable {
            config: self.config.clone(),
            blocks,
            norm: vector(&self.norm)?,
            head: matrix(&self.head, |row| row)?,
        })
    }
}

impl Differentiable {
    /// Hidden states after the last norm, `[batch, time, width]`, of the residual stream `x` before the first of these blocks; positions count
    /// from 0.
    ///
    /// # Errors
    /// When `x` is not `[batch, time, width]` or the mask does not fit.
    pub fn hidden(&self, x: &Tensor, mask: &Mask) -> Result<Tensor, NnError> {
        let time = x.shape().get(1).copied().unwrap_or(0);
        let rotation = Rotation::new(self.config.head_size, self.config.rope_base, 0..time as u32)?;
        let mut x = x.clone();
        for block in &self.blocks {
            x = block.forward(&x, &self.config, &rotation, mask)?;
        }
        rms_norm(&x, Some(&self.norm), self.config.eps)
    }

    /// Logits `[batch, time, vocabulary]` of the same.
    ///
    /// # Errors
    /// As [`Differentiable::hidden`].
    pub fn logits(&self, x: &Tensor, mask: &Mask) -> Result<Tensor, NnError> {
        self.head(&self.hidden(x, mask)?)
    }

    /// Logits of hidden states after the last norm: for those rows only that are needed.
    ///
    /// # Errors
    /// When the last axis is not the model's width.
    pub fn head(&self, hidden: &Tensor) -> Result<Tensor, NnError> {
        linear(hidden, &self.head, None)
    }
}

impl Floats {
    fn new(block: &Block, head: usize) -> Result<Self, NnError> {
        // Row i of a head here is row `2 i` or `2 (i - head / 2) + 1` of the file, whose pairs are neighbours.
        let apart = |row: usize| {
            let (first, i) = (row / head * head, row % head);
            first + if i < head / 2 { 2 * i } else { 2 * (i - head / 2) + 1 }
        };
        let (gate, up) = (matrix(&block.gate, |row| row)?, matrix(&block.up, |row| row)?);
        Ok(Self {
            attention_norm: vector(&block.attention_norm)?,
            q: matrix(&block.q, apart)?,
            k: matrix(&block.k, apart)?,
            v: matrix(&block.v, |row| row)?,
            o: matrix(&block.o, |row| row)?,
            ffn_norm: vector(&block.ffn_norm)?,
            gate_up: ream_nn::ops::concat(&[&gate, &up], 0)?,
            down: matrix(&block.down, |row| row)?,
        })
    }

    fn forward(&self, x: &Tensor, config: &Config, turns: &Rotation, mask: &Mask) -> Result<Tensor, NnError> {
        let normed = rms_norm(x, Some(&self.attention_norm), config.eps)?;
        let q = rope(&linear(&normed, &self.q, None)?, config.heads, turns)?;
        let k = rope(&linear(&normed, &self.k, None)?, config.kv_heads, turns)?;
        let v = linear(&normed, &self.v, None)?;
        let mixed = attention(&q, &k, &v, Heads::grouped(config.heads, config.kv_heads), mask)?;
        let x = x.add(&linear(&mixed, &self.o, None)?)?;
        let normed = rms_norm(&x, Some(&self.ffn_norm), config.eps)?;
        x.add(&linear(&linear(&normed, &self.gate_up, None)?.silu_gate()?, &self.down, None)?)
    }
}

fn vector(numbers: &[f32]) -> Result<Tensor, NnError> {
    Tensor::from_vec(numbers.to_vec(), &[numbers.len()])
}

/// Rows `of(0)`, `of(1)`, ... of a matrix as numbers.
fn matrix(matrix: &Matrix, of: impl Fn(usize) -> usize) -> Result<Tensor, NnError> {
    let mut out = vec![0.0; matrix.outputs() * matrix.inputs()];
    for (row, out) in out.chunks_exact_mut(matrix.inputs().max(1)).enumerate() {
        matrix.read_row(of(row), out);
    }
    Tensor::from_vec(out, &[matrix.outputs(), matrix.inputs()])
}
