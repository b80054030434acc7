//! Weights of a llama, ready to compute with.

use std::path::Path;
use std::sync::Arc;

use super::{Config, LlamaError};
use crate::quant::{Matrix, QuantError};
use crate::weights::{self, Source};

/// A model of the llama family (Touvron et al., 2023), its weights quantised as in its file.
#[derive(Debug)]
pub struct Model {
    pub(super) config: Config,
    /// `[vocabulary, width]`.
    pub(super) embedding: Arc<Matrix>,
    /// `[vocabulary, width]`; the embedding where the two are one.
    pub(super) head: Arc<Matrix>,
    /// `[width]`.
    pub(super) norm: Vec<f32>,
    pub(super) blocks: Vec<Block>,
    /// Radians that pair `i` of a head turns per position.
    pub(super) frequencies: Vec<f64>,
}

/// Attention and feed-forward.
#[derive(Debug)]
pub(super) struct Block {
    /// `[width]`.
    pub(super) attention_norm: Vec<f32>,
    /// `[heads * head_size, width]`.
    pub(super) q: Matrix,
    /// `[kv_heads * head_size, width]`.
    pub(super) k: Matrix,
    /// `[kv_heads * head_size, width]`.
    pub(super) v: Matrix,
    /// `[width, heads * head_size]`.
    pub(super) o: Matrix,
    /// `[width]`.
    pub(super) ffn_norm: Vec<f32>,
    /// `[ffn, width]`.
    pub(super) gate: Matrix,
    /// `[ffn, width]`.
    pub(super) up: Matrix,
    /// `[width, ffn]`.
    pub(super) down: Matrix,
}

impl Model {
    /// Loads a GGUF file, or a folder of Hugging Face's form. The weights are copied into the layout of the kernels; the file is not needed
    /// afterwards.
    ///
    /// # Errors
    /// What [`weights::open`] and [`Model::new`] say.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, LlamaError> {
        Self::new(weights::open(path.as_ref())?.as_ref())
    }

    /// The model of open weights.
    ///
    /// # Errors
    /// When the architecture is another one, or a tensor is missing, of another shape or of an unsupported type, or holds a
    /// scale that is not finite: which one.
    pub fn new(file: &dyn Source) -> Result<Self, LlamaError> {
        let config = file.config().clone();
        let embedding = Arc::new(matrix(file, "token_embd.weight")?);
        let head =
            if config.tied_head { Arc::clone(&embedding) } else { Arc::new(matrix(file, "output.weight")?) };
        let norm = vector(file, "output_norm.weight")?;
        let blocks = (0..config.blocks).map(|i| Block::new(file, i)).collect::<Result<_, _>>()?;
        let pairs = config.head_size / 2;
        let frequencies = (0..pairs)
            .map(|i| libm::pow(f64::from(config.rope_base), -(2.0 * i as f64) / config.head_size as f64))
            .collect();
        Ok(Self { config, embedding, head, norm, blocks, frequencies })
    }

    /// Its shape.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The matrix that makes logits of final hidden states, `[vocabulary, width]`.
    #[must_use]
    pub fn head(&self) -> &Matrix {
        &self.head
    }

    /// The embedding of a token into `out` (`[width]`).
    ///
    /// # Errors
    /// When there is no such token.
    pub fn embed(&self, token: u32, out: &mut [f32]) -> Result<(), LlamaError> {
        if token as usize >= self.config.vocab {
            return Err(LlamaError::Token { token, place: 0, vocabulary: self.config.vocab });
        }
        self.embedding.read_row(token as usize, out);
        Ok(())
    }

    /// Bytes of the weights in memory.
    #[must_use]
    pub fn size(&self) -> usize {
        // A tied head is the embedding.
        self.read_bytes() + if self.config.tied_head { 0 } else { self.embedding.size() }
    }

    /// Bytes that one pass reads when every row wants logits: all blocks and the head.
    #[must_use]
    pub fn read_bytes(&self) -> usize {
        let block = |b: &Block| b.matrices().iter().map(|m| m.size()).sum::<usize>();
        self.blocks.iter().map(block).sum::<usize>() + self.head.size()
    }

    /// Multiply-adds of one row through all blocks and the head, attention apart.
    #[must_use]
    pub fn multiply_adds(&self) -> usize {
        let size = |m: &Matrix| m.outputs() * m.inputs();
        let block = |b: &Block| b.matrices().iter().map(|m| size(m)).sum::<usize>();
        self.blocks.iter().map(block).sum::<usize>() + size(&self.head)
    }
}

impl Block {
    fn new(file: &dyn Source, index: usize) -> Result<Self, LlamaError> {
        let name = |part: &str| format!("blk.{index}.{part}.weight");
        Ok(Self {
            attention_norm: vector(file, &name("attn_norm"))?,
            q: matrix(file, &name("attn_q"))?,
            k: matrix(file, &name("attn_k"))?,
            v: matrix(file, &name("attn_v"))?,
            o: matrix(file, &name("attn_output"))?,
            ffn_norm: vector(file, &name("ffn_norm"))?,
            gate: matrix(file, &name("ffn_gate"))?,
            up: matrix(file, &name("ffn_up"))?,
            down: matrix(file, &name("ffn_down"))?,
        })
    }

    pub(super) fn matrices(&self) -> [&Matrix; 7] {
        [&self.q, &self.k, &self.v, &self.o, &self.gate, &self.up, &self.down]
    }
}

fn matrix(file: &dyn Source, name: &str) -> Result<Matrix, LlamaError> {
    let tensor = file.tensor(name)?;
    let (inputs, outputs) = (tensor.row_elements(), tensor.shape.get(1).copied().unwrap_or(1));
    Matrix::new(tensor.kind, outputs, inputs, tensor.data)
        .map_err(|problem| LlamaError::Tensor { tensor: name.to_owned(), problem })
}

fn vector(file: &dyn Source, name: &str) -> Result<Vec<f32>, LlamaError> {
    let tensor = file.tensor(name)?;
    let mut out = vec![0.0; tensor.elements()];
    tensor.dequantize(&mut out).map_err(weights::Error::from)?;
    if out.iter().all(|x| x.is_finite()) {
        return Ok(out);
    }
    Err(LlamaError::Tensor { tensor: name.to_owned(), problem: QuantError::NotFinite { output: 0 } })
}
