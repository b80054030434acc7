//! Networks that were trained here, as models of the engine.

use ream_nn::layers::{FeedForward, MlpKind, Norm, NormKind, Positions};
use ream_nn::models::Decoder;

use super::{LlamaError, Model};
use crate::gguf::{self, File, Kind, Value, Writer};
use crate::weights::{self, Gguf};

impl Model {
    /// A decoder with rotary positions, RMSNorm and SwiGLU and without biases, its weights in single precision.
    ///
    /// # Errors
    /// When the decoder is built differently: how.
    pub fn from_decoder(decoder: &Decoder) -> Result<Self, LlamaError> {
        let file = File::from_bytes("a network trained here", decoder_file(decoder)?)
            .map_err(weights::Error::from)?;
        Self::new(&Gguf::new(file).map_err(weights::Error::from)?)
    }
}

/// The decoder as a GGUF file in single precision, without a tokenizer.
///
/// # Errors
/// When it is not built as a llama is.
pub fn decoder_file(decoder: &Decoder) -> Result<Vec<u8>, LlamaError> {
    let config = decoder.config();
    for (what, is) in [
        ("rotary positions", config.positions == Positions::Rope),
        ("RMSNorm", config.norm == NormKind::Rms),
        ("SwiGLU", config.mlp == MlpKind::SwiGlu),
        ("maps without bias", !config.bias),
        ("heads without norms", !config.qk_norm),
    ] {
        if !is {
            return Err(LlamaError::NotALlama { wanted: what });
        }
    }
    Ok(write(decoder).map_err(weights::Error::from)?.to_bytes())
}

fn write(decoder: &Decoder) -> Result<Writer, gguf::Error> {
    let (config, d) = (decoder.config(), decoder.config().d);
    let kv_heads = if config.kv_heads == 0 { config.heads } else { config.kv_heads };
    let head = d / config.heads;
    let mut file = Writer::new();
    let mut norms = decoder.stack.blocks.iter().flat_map(|b| [&b.attention_norm, &b.mlp_norm]);
    let eps = norms.find_map(|n| if let Norm::Rms(n) = n { Some(n.eps) } else { None }).unwrap_or(1e-5);
    file.key("general.architecture", Value::Str("llama"))?;
    file.key("llama.attention.layer_norm_rms_epsilon", Value::F32(eps))?;
    file.key("llama.rope.freq_base", Value::F32(config.rope_base))?;
    let hidden =
        decoder.stack.blocks.iter().find_map(|b| gated(&b.mlp)).map_or(0, |f| f.down.weight.len() / d);
    for (key, n) in [
        ("context_length", config.context),
        ("embedding_length", d),
        ("block_count", config.layers),
        ("feed_forward_length", hidden),
        ("attention.head_count", config.heads),
        ("attention.head_count_kv", kv_heads),
    ] {
        file.key(&format!("llama.{key}"), Value::U32(n as u32))?;
    }
    let vocabulary = config.vocabulary;
    file.tensor("token_embd.weight", &[d, vocabulary], Kind::F32, &decoder.tokens.weight.to_vec())?;
    if let Some(head) = &decoder.head {
        file.tensor("output.weight", &[d, vocabulary], Kind::F32, &head.weight.to_vec())?;
    }
    file.tensor("output_norm.weight", &[d], Kind::F32, &weight(&decoder.stack.norm))?;
    for (i, block) in decoder.stack.blocks.iter().enumerate() {
        let qkv = block.attention.qkv.weight.to_vec();
        let (q, rest) = qkv.split_at(d * d);
        let (k, v) = rest.split_at(kv_heads * head * d);
        let (gate_up, down) = match gated(&block.mlp) {
            Some(f) => (f.gate_up.weight.to_vec(), f.down.weight.to_vec()),
            None => (Vec::new(), Vec::new()),
        };
        let (gate, up) = gate_up.split_at(gate_up.len() / 2);
        let out = block.attention.out.weight.to_vec();
        for (name, inputs, numbers) in [
            ("attn_q", d, adjacent(q, head, d)),
            ("attn_k", d, adjacent(k, head, d)),
            ("attn_v", d, v.to_vec()),
            ("attn_output", d, out),
            ("ffn_gate", d, gate.to_vec()),
            ("ffn_up", d, up.to_vec()),
            ("ffn_down", hidden, down),
        ] {
            let shape = [inputs, numbers.len() / inputs.max(1)];
            file.tensor(&format!("blk.{i}.{name}.weight"), &shape, Kind::F32, &numbers)?;
        }
        for (name, norm) in [("attn_norm", &block.attention_norm), ("ffn_norm", &block.mlp_norm)] {
            file.tensor(&format!("blk.{i}.{name}.weight"), &[d], Kind::F32, &weight(norm))?;
        }
    }
    Ok(file)
}

fn weight(norm: &Norm) -> Vec<f32> {
    match norm {
        Norm::Rms(norm) => norm.weight.to_vec(),
        Norm::Layer(norm) => norm.weight.to_vec(),
    }
}

fn gated(mlp: &FeedForward) -> Option<&ream_nn::layers::SwiGlu> {
    if let FeedForward::SwiGlu(mlp) = mlp { Some(mlp) } else { None }
}

/// Rows of heads whose pairs are `i` and `i + head / 2`, put so that the pairs are neighbours.
fn adjacent(rows: &[f32], head: usize, inputs: usize) -> Vec<f32> {
    let row = |i: usize| &rows[i * inputs..(i + 1) * inputs];
    let heads = rows.len() / (head * inputs).max(1);
    (0..heads)
        .flat_map(|h| (0..head).map(move |i| h * head + i / 2 + i % 2 * (head / 2)))
        .flat_map(row)
        .copied()
        .collect()
}
