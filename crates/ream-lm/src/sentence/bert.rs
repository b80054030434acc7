//! BERT's encoder (Devlin et al., 2019): post-LayerNorm blocks over learned positions, for inference.
//!
//! `x = LN(E_word + E_position + E_type)`, then for every block `h = LN(x + W_o attention(x) + b_o)`,
//! `x = LN(h + W_2 gelu(W_1 h + b_1) + b_2)`. Sequences lie one after another without padding, `[tokens, d]`: only attention
//! asks where one ends. No result of a sequence depends on the others, to the bit.

use std::path::Path;

use ream_nn::gemm::{Mat, Start, gemm};
use ream_nn::ops::{Heads, layer_norm, ragged_self_attention};
use ream_nn::{Buffer, NnError, Tensor};
use serde::Deserialize;

use super::error::SentenceError;
use super::weights::Weights;

/// `config.json`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Config {
    model_type: String,
    hidden_act: String,
    #[serde(default = "absolute")]
    position_embedding_type: String,
    pub(super) hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    pub(super) max_position_embeddings: usize,
    type_vocab_size: usize,
    pub(super) vocab_size: usize,
    layer_norm_eps: f32,
}

fn absolute() -> String {
    "absolute".to_owned()
}

impl Config {
    pub(super) fn check(&self) -> Result<(), String> {
        for (key, got, wanted) in [
            ("model_type", &self.model_type, "bert"),
            ("hidden_act", &self.hidden_act, "gelu"),
            ("position_embedding_type", &self.position_embedding_type, "absolute"),
        ] {
            if got != wanted {
                return Err(format!("{key} = `{got}`, wanted `{wanted}`"));
            }
        }
        for (key, got) in [
            ("hidden_size", self.hidden_size),
            ("num_attention_heads", self.num_attention_heads),
            ("intermediate_size", self.intermediate_size),
            ("type_vocab_size", self.type_vocab_size),
        ] {
            if got == 0 {
                return Err(format!("{key} = 0, wanted at least 1"));
            }
        }
        if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            return Err(format!(
                "hidden_size = {}, wanted a multiple of num_attention_heads = {}",
                self.hidden_size, self.num_attention_heads
            ));
        }
        Ok(())
    }
}

/// `x W + b`.
#[derive(Debug)]
struct Dense {
    /// `[d_in, d_out]`.
    weight: Vec<f32>,
    bias: Vec<f32>,
}

impl Dense {
    fn read(weights: &Weights, name: &str, d_in: usize, d_out: usize) -> Result<Self, SentenceError> {
        let weight = weights.transposed(&format!("{name}.weight"), d_out, d_in)?;
        Ok(Self { weight, bias: weights.get(&format!("{name}.bias"), &[d_out])? })
    }

    /// Several maps of one input side by side: columns in the order of the names.
    fn read_joined(weights: &Weights, names: &[String; 3], d: usize) -> Result<Self, SentenceError> {
        let mut weight = vec![0.0; d * 3 * d];
        let mut bias = Vec::with_capacity(3 * d);
        for (part, name) in names.iter().enumerate() {
            let one = Self::read(weights, name, d, d)?;
            for (row, from) in weight.chunks_exact_mut(3 * d).zip(one.weight.chunks_exact(d)) {
                row[part * d..(part + 1) * d].copy_from_slice(from);
            }
            bias.extend(one.bias);
        }
        Ok(Self { weight, bias })
    }

    /// `[rows, d_in]` to `[rows, d_out]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor, NnError> {
        let (rows, d_in, d_out) = (x.rows(), x.last(), self.bias.len());
        let mut out = Buffer::scratch(rows * d_out);
        let (a, b) = (Mat::new(x.data(), rows, d_in), Mat::new(&self.weight, d_in, d_out));
        gemm(&mut out, d_out, a, b, Start::Bias(&self.bias));
        Tensor::from_buffer(out, &[rows, d_out])
    }
}

/// LayerNorm with weight and bias.
#[derive(Debug)]
struct Norm {
    weight: Tensor,
    bias: Tensor,
    eps: f32,
}

impl Norm {
    fn read(weights: &Weights, name: &str, config: &Config) -> Result<Self, SentenceError> {
        let d = [config.hidden_size];
        let get = |part: &str| weights.get(&format!("{name}.LayerNorm.{part}"), &d);
        Ok(Self {
            weight: Tensor::from_vec(get("weight")?, &d)?,
            bias: Tensor::from_vec(get("bias")?, &d)?,
            eps: config.layer_norm_eps,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor, NnError> {
        layer_norm(x, Some(&self.weight), Some(&self.bias), self.eps)
    }
}

#[derive(Debug)]
struct Block {
    query_key_value: Dense,
    attention_out: Dense,
    attention_norm: Norm,
    up: Dense,
    down: Dense,
    out_norm: Norm,
}

impl Block {
    fn read(weights: &Weights, layer: usize, config: &Config) -> Result<Self, SentenceError> {
        let (d, inner) = (config.hidden_size, config.intermediate_size);
        let name = |part: &str| format!("encoder.layer.{layer}.{part}");
        let names = ["query", "key", "value"].map(|part| name(&format!("attention.self.{part}")));
        Ok(Self {
            query_key_value: Dense::read_joined(weights, &names, d)?,
            attention_out: Dense::read(weights, &name("attention.output.dense"), d, d)?,
            attention_norm: Norm::read(weights, &name("attention.output"), config)?,
            up: Dense::read(weights, &name("intermediate.dense"), d, inner)?,
            down: Dense::read(weights, &name("output.dense"), inner, d)?,
            out_norm: Norm::read(weights, &name("output"), config)?,
        })
    }

    fn forward(&self, x: &Tensor, lengths: &[usize], heads: usize) -> Result<Tensor, NnError> {
        let attended = ragged_self_attention(&self.query_key_value.forward(x)?, lengths, Heads::new(heads))?;
        let h = self.attention_norm.forward(&self.attention_out.forward(&attended)?.add(x)?)?;
        let inner = self.up.forward(&h)?.gelu_exact();
        self.out_norm.forward(&self.down.forward(&inner)?.add(&h)?)
    }
}

/// The encoder.
#[derive(Debug)]
pub(super) struct Bert {
    /// `[vocab_size, d]`.
    words: Vec<f32>,
    /// Position and token type 0 together, `[max_position_embeddings, d]`.
    positions: Vec<f32>,
    norm: Norm,
    blocks: Vec<Block>,
    heads: usize,
    d: usize,
}

impl Bert {
    pub(super) fn read(config: &Config, path: &Path) -> Result<Self, SentenceError> {
        let weights = Weights::open(path)?;
        let d = config.hidden_size;
        let table = |name: &str, rows: usize| weights.get(&format!("embeddings.{name}.weight"), &[rows, d]);
        let mut positions = table("position_embeddings", config.max_position_embeddings)?;
        let types = table("token_type_embeddings", config.type_vocab_size)?;
        for row in positions.chunks_exact_mut(d) {
            row.iter_mut().zip(&types).for_each(|(x, t)| *x += t);
        }
        let blocks = (0..config.num_hidden_layers).map(|layer| Block::read(&weights, layer, config));
        Ok(Self {
            words: table("word_embeddings", config.vocab_size)?,
            positions,
            norm: Norm::read(&weights, "embeddings", config)?,
            blocks: blocks.collect::<Result<_, _>>()?,
            heads: config.num_attention_heads,
            d,
        })
    }

    /// The last hidden states of sequences, one after another: `[tokens, d]`. Every token is below the vocabulary's size and no
    /// sequence longer than there are positions.
    pub(super) fn forward(&self, sequences: &[Vec<u32>]) -> Result<Tensor, NnError> {
        let d = self.d;
        let lengths: Vec<usize> = sequences.iter().map(Vec::len).collect();
        let mut x = Buffer::scratch(lengths.iter().sum::<usize>() * d);
        let tokens = sequences.iter().flat_map(|tokens| tokens.iter().zip(self.positions.chunks_exact(d)));
        for (row, (token, position)) in x.chunks_exact_mut(d).zip(tokens) {
            let word = &self.words[*token as usize * d..][..d];
            for (x, (w, p)) in row.iter_mut().zip(word.iter().zip(position)) {
                *x = w + p;
            }
        }
        let rows = x.len() / d;
        let mut x = self.norm.forward(&Tensor::from_buffer(x, &[rows, d])?)?;
        for block in &self.blocks {
            x = block.forward(&x, &lengths, self.heads)?;
        }
        Ok(x)
    }
}
