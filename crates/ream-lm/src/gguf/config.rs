//! The shape of a llama: read from a file's keys and held against its tensors.

use ream_rand::Stream;

use super::{Error, File, Kind, Value, Writer};

/// Architectures that are built here.
const SUPPORTED: &[&str] = &["llama"];

/// Fields and their keys, behind the architecture's name.
const KEYS: [(&str, &str); 10] = [
    ("blocks", "block_count"),
    ("width", "embedding_length"),
    ("heads", "attention.head_count"),
    ("kv_heads", "attention.head_count_kv"),
    ("head_size", "attention.key_length"),
    ("ffn", "feed_forward_length"),
    ("eps", "attention.layer_norm_rms_epsilon"),
    ("rope_base", "rope.freq_base"),
    ("context", "context_length"),
    ("vocab", "vocab_size"),
];

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
        let size = |name: &str| file.u32(&key(name)).map(|n| n as usize);
        let or = |name: &str, default: usize| {
            if file.key(&key(name)).is_some() { size(name) } else { Ok(default) }
        };
        // Its rows say how many tokens there are.
        let Some(&[_, vocab]) = file.shape("token_embd.weight") else {
            return Err(file.wrong_tensor("token_embd.weight", "is not there, wanted a shape of two sizes"));
        };
        let base = if file.key(&key("rope.freq_base")).is_some() {
            file.f32(&key("rope.freq_base"))?
        } else {
            10_000.0
        };
        let (width, heads) = (size("embedding_length")?, size("attention.head_count")?);
        let config = Self {
            blocks: size("block_count")?,
            width,
            heads,
            kv_heads: or("attention.head_count_kv", heads)?,
            head_size: or("attention.key_length", width.checked_div(heads).unwrap_or(0))?,
            ffn: size("feed_forward_length")?,
            eps: file.f32(&key("attention.layer_norm_rms_epsilon"))?,
            rope_base: base,
            context: size("context_length")?,
            vocab,
            tied_head: file.shape("output.weight").is_none(),
        };
        config.check_keys(file, &key)?;
        config.check_vocabulary(file, &key)?;
        config.check_tensors(file)?;
        Ok(config)
    }

    /// What contradicts itself: the field and how.
    pub(crate) fn problem(&self) -> Option<(&'static str, String)> {
        for (field, n) in [
            ("blocks", self.blocks),
            ("width", self.width),
            ("heads", self.heads),
            ("kv_heads", self.kv_heads),
            ("ffn", self.ffn),
            ("context", self.context),
            ("vocab", self.vocab),
        ] {
            if n == 0 {
                return Some((field, "is 0, wanted at least 1".to_owned()));
            }
        }
        for (field, x) in [("eps", self.eps), ("rope_base", self.rope_base)] {
            if !(x > 0.0 && x.is_finite()) {
                return Some((field, format!("is {x}, wanted a positive number")));
            }
        }
        if !self.heads.is_multiple_of(self.kv_heads) {
            return Some((
                "kv_heads",
                format!("is {}, wanted a divisor of {}, the query heads", self.kv_heads, self.heads),
            ));
        }
        if self.head_size == 0 || !self.head_size.is_multiple_of(2) {
            return Some(("head_size", format!("is {}, wanted an even number", self.head_size)));
        }
        None
    }

    fn check_keys(&self, file: &File, key: &dyn Fn(&str) -> String) -> Result<(), Error> {
        if let Some((field, problem)) = self.problem() {
            return Err(file.wrong_key(
                &key(KEYS.iter().find(|(f, _)| *f == field).map_or(field, |(_, name)| name)),
                problem,
            ));
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

    /// Writes the keys that [`Config::from_gguf`] reads.
    ///
    /// # Errors
    /// One of them is there already, or a size does not fit 32 bits.
    pub fn write_keys(&self, writer: &mut Writer) -> Result<(), Error> {
        writer.key("general.architecture", Value::Str("llama"))?;
        let sizes = [self.blocks, self.width, self.heads, self.kv_heads, self.head_size, self.ffn];
        let names = KEYS.iter().map(|(_, name)| name);
        let last = [("context_length", self.context), ("vocab_size", self.vocab)];
        for (name, size) in
            names.copied().zip(sizes).chain(last).chain([("rope.dimension_count", self.head_size)])
        {
            let name = format!("llama.{name}");
            let size = u32::try_from(size).map_err(|_| Error::Unwritten {
                name: name.clone(),
                problem: format!("{size} does not fit 32 bits"),
            })?;
            writer.key(&name, Value::U32(size))?;
        }
        writer.key("llama.attention.layer_norm_rms_epsilon", Value::F32(self.eps))?;
        writer.key("llama.rope.freq_base", Value::F32(self.rope_base))
    }

    /// An untrained model of this shape, for tests and measurements: norms are 1, weights that map `d_in` numbers are normal with deviation
    /// `d_in^(-1/2)` and stored as `kind`.
    ///
    /// # Errors
    /// The shape contradicts itself, or its rows do not fill blocks of the type.
    pub fn untrained(&self, kind: Kind, seed: u64) -> Result<Writer, Error> {
        if let Some((field, problem)) = self.problem() {
            return Err(Error::Unwritten { name: field.to_owned(), problem });
        }
        let mut writer = Writer::new();
        self.write_keys(&mut writer)?;
        for (name, shape) in self.tensors() {
            let elements = shape.iter().product();
            if shape.len() == 1 {
                writer.tensor(&name, &shape, Kind::F32, &vec![1.0; elements])?;
                continue;
            }
            let mut numbers = Stream::new(seed, &name).at(0);
            let scale = 1.0 / (shape[0] as f64).sqrt();
            let weights: Vec<f32> = (0..elements).map(|_| (scale * numbers.normal()) as f32).collect();
            writer.tensor(&name, &shape, kind, &weights)?;
        }
        Ok(writer)
    }
}
