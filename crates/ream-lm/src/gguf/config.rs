//! The shape of a llama: read from a file's keys and held against its tensors.

use super::{Error, File, Value};

/// Architectures that are built here.
const SUPPORTED: &[&str] = &["llama"];

/// The shape of a model of the llama family (Touvron et al., 2023): RMSNorm before each part, rotary positions over whole heads in
/// adjacent pairs, grouped-query attention, SwiGLU, no biases.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Blocks of attention and feed-forward.
    pub blocks: usize,
    /// Numbers in the residual stream.
    pub width: usize,
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; each serves `heads / kv_heads` query heads.
    pub kv_heads: usize,
    /// Numbers in a head; even.
    pub head_size: usize,
    /// Width of the feed-forward's middle.
    pub ffn: usize,
    /// Added to the mean square in RMSNorm.
    pub eps: f32,
    /// Pair `i` of a head turns by `position * rope_base^(-2i / head_size)`.
    pub rope_base: f32,
    /// Positions the model was trained for.
    pub context: usize,
    /// Tokens.
    pub vocab: usize,
    /// The embedding is also the output head: there is no `output.weight`.
    pub tied_head: bool,
}

impl Config {
    /// Reads the shape of a model and checks that every tensor it needs is there in that shape.
    ///
    /// # Errors
    /// Another architecture; a key that is missing or asks for what is not built here (scaled rotary positions, experts, biases); a tensor
    /// that is missing or of another shape; another number of tokens in the tokenizer than rows in the embedding.
    pub fn from_gguf(file: &File) -> Result<Self, Error> {
        let architecture = file.str("general.architecture")?;
        if !SUPPORTED.contains(&architecture) {
            let found = architecture.to_owned();
            return Err(Error::Architecture { path: file.path().to_owned(), found, supported: SUPPORTED });
        }
        let key = |name: &str| format!("{architecture}.{name}");
        let size = |name: &str| match file.u32(&key(name))? as usize {
            0 => Err(file.wrong_key(&key(name), "is 0, wanted at least 1")),
            n => Ok(n),
        };
        let or = |name: &str, default: usize| {
            if file.key(&key(name)).is_some() { size(name) } else { Ok(default) }
        };
        let positive = |name: &str, default: Option<f32>| match (file.key(&key(name)), default) {
            (None, Some(default)) => Ok(default),
            _ => match file.f32(&key(name))? {
                x if x > 0.0 && x.is_finite() => Ok(x),
                x => Err(file.wrong_key(&key(name), format!("is {x}, wanted a positive number"))),
            },
        };
        let (width, heads) = (size("embedding_length")?, size("attention.head_count")?);
        let config = Self {
            blocks: size("block_count")?,
            width,
            heads,
            kv_heads: or("attention.head_count_kv", heads)?,
            head_size: or("attention.key_length", width / heads)?,
            ffn: size("feed_forward_length")?,
            eps: positive("attention.layer_norm_rms_epsilon", None)?,
            rope_base: positive("rope.freq_base", Some(10_000.0))?,
            context: size("context_length")?,
            vocab: file.shape("token_embd.weight").and_then(|shape| shape.get(1)).copied().unwrap_or(0),
            tied_head: file.shape("output.weight").is_none(),
        };
        config.check_keys(file, &key)?;
        config.check_vocabulary(file, &key)?;
        config.check_tensors(file)?;
        Ok(config)
    }

    fn check_keys(&self, file: &File, key: &dyn Fn(&str) -> String) -> Result<(), Error> {
        let (heads, kv_heads) = (self.heads, self.kv_heads);
        if !heads.is_multiple_of(kv_heads) {
            let problem = format!("is {kv_heads}, wanted a divisor of {heads}, the query heads");
            return Err(file.wrong_key(&key("attention.head_count_kv"), problem));
        }
        if self.head_size == 0 || !self.head_size.is_multiple_of(2) {
            let problem = format!("gives heads of {}, wanted an even number", self.head_size);
            return Err(file.wrong_key(&key("attention.head_count"), problem));
        }
        for name in ["rope.dimension_count", "attention.value_length"] {
            if file.key(&key(name)).is_some() && file.u32(&key(name))? as usize != self.head_size {
                let problem =
                    format!("is not {}, the size of a head; others are not built here", self.head_size);
                return Err(file.wrong_key(&key(name), problem));
            }
        }
        match file.key(&key("rope.scaling.type")) {
            None | Some(Value::Str("none")) => {}
            Some(other) => {
                let problem =
                    format!("is {other:?}: scaled rotary positions are not built here, wanted `none`");
                return Err(file.wrong_key(&key("rope.scaling.type"), problem));
            }
        }
        if file.key(&key("expert_count")).and_then(Value::integer).is_some_and(|n| n > 0) {
            return Err(file.wrong_key(&key("expert_count"), "is not 0: experts are not built here"));
        }
        Ok(())
    }

    fn check_vocabulary(&self, file: &File, key: &dyn Fn(&str) -> String) -> Result<(), Error> {
        let other = |name: &str, found: usize| {
            let problem =
                format!("says {found} tokens, wanted {}, the rows of `token_embd.weight`", self.vocab);
            file.wrong_key(name, problem)
        };
        if file.shape("token_embd.weight").is_none() {
            return Err(file.wrong_tensor("token_embd.weight", "is not there"));
        }
        let stated = key("vocab_size");
        if file.key(&stated).is_some() && file.u32(&stated)? as usize != self.vocab {
            return Err(other(&stated, file.u32(&stated)? as usize));
        }
        match file.key("tokenizer.ggml.tokens") {
            Some(Value::Array(tokens)) if tokens.len() != self.vocab => {
                Err(other("tokenizer.ggml.tokens", tokens.len()))
            }
            _ => Ok(()),
        }
    }

    fn check_tensors(&self, file: &File) -> Result<(), Error> {
        for name in file.tensor_names() {
            if name.ends_with(".bias") || name.starts_with("rope_freqs") {
                return Err(file
                    .wrong_tensor(name, "is there: biases and scaled rotary positions are not built here"));
            }
        }
        // A wrong number of blocks ends at the first that is missing.
        for (name, wanted) in self.tensors() {
            match file.shape(&name) {
                Some(shape) if shape == wanted => {}
                Some(shape) => {
                    return Err(file.wrong_tensor(&name, format!("has shape {shape:?}, wanted {wanted:?}")));
                }
                None => {
                    return Err(file.wrong_tensor(&name, format!("is not there, wanted shape {wanted:?}")));
                }
            }
        }
        Ok(())
    }

    /// Names and shapes (fastest first) of all tensors of such a model.
    pub fn tensors(&self) -> impl Iterator<Item = (String, Vec<usize>)> {
        let (width, ffn) = (self.width, self.ffn);
        let (query, key_value) =
            (self.heads.saturating_mul(self.head_size), self.kv_heads.saturating_mul(self.head_size));
        let of_block = move |block: usize| {
            let parts = [
                ("attn_norm", vec![width]),
                ("attn_q", vec![width, query]),
                ("attn_k", vec![width, key_value]),
                ("attn_v", vec![width, key_value]),
                ("attn_output", vec![query, width]),
                ("ffn_norm", vec![width]),
                ("ffn_gate", vec![width, ffn]),
                ("ffn_up", vec![width, ffn]),
                ("ffn_down", vec![ffn, width]),
            ];
            parts.into_iter().map(move |(part, shape)| (format!("blk.{block}.{part}.weight"), shape))
        };
        let head = (!self.tied_head).then(|| ("output.weight".to_owned(), vec![width, self.vocab]));
        [
            ("token_embd.weight".to_owned(), vec![width, self.vocab]),
            ("output_norm.weight".to_owned(), vec![width]),
        ]
        .into_iter()
        .chain(head)
        .chain((0..self.blocks).flat_map(of_block))
    }
}
