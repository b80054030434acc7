//! Folders as Hugging Face's libraries write them.
//!
//! Differences from GGUF: names; shapes are written slowest first (the numbers lie the same way); and rotary positions turn the two *halves* of a
//! head against each other, so that row `i` and row `i + size / 2` of a head are a pair where GGUF has rows `2 i` and `2 i + 1`. Rows of queries and
//! keys are put in GGUF's order once, when the folder is opened; all other tensors are lent from the mapped files.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use safetensors::Dtype;
use serde::Deserialize;

use super::shard::{Problem, Shard};
use super::{Error, Source};
use crate::Tokenizer;
use crate::chat::Chat;
use crate::gguf::{Kind, Tensor, dequantize, llama};

/// A llama in safetensors files.
#[derive(Debug)]
pub struct HuggingFace {
    folder: PathBuf,
    /// Tokens that end what the model says.
    ends: Vec<u32>,
    config: llama::Config,
    shards: Vec<Shard>,
    /// By GGUF's names.
    tensors: HashMap<String, Place>,
}

#[derive(Debug)]
struct Place {
    /// By GGUF's name.
    name: String,
    /// Fastest first.
    shape: Vec<usize>,
    kind: Kind,
    data: Data,
}

#[derive(Debug)]
enum Data {
    /// As it lies in a file, by the name it has there.
    Lent {
        shard: usize,
        name: String,
    },
    Own(Vec<u8>),
}

/// `config.json`. Keys that say nothing about the computation are not listed.
#[derive(Deserialize)]
struct Config {
    model_type: String,
    #[serde(default = "silu")]
    hidden_act: String,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: usize,
    rms_norm_eps: f32,
    rope_theta: Option<f32>,
    /// Scaled rotary positions of earlier versions.
    rope_scaling: Option<Rope>,
    /// Rotary positions of later versions.
    rope_parameters: Option<Rope>,
    max_position_embeddings: usize,
    vocab_size: usize,
    #[serde(default)]
    tie_word_embeddings: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    eos_token_id: Option<Ends>,
}

#[derive(Clone, Deserialize)]
#[serde(untagged)]
enum Ends {
    One(u32),
    Several(Vec<u32>),
}

/// `tokenizer_config.json`.
#[derive(Deserialize)]
struct TokenizerConfig {
    chat_template: Option<String>,
}

#[derive(Deserialize)]
struct Rope {
    rope_theta: Option<f32>,
    #[serde(alias = "type")]
    rope_type: Option<String>,
}

/// `model.safetensors.index.json`.
#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

fn silu() -> String {
    "silu".to_owned()
}

impl Config {
    fn llama(self) -> Result<llama::Config, String> {
        for (key, got, wanted) in
            [("model_type", &self.model_type, "llama"), ("hidden_act", &self.hidden_act, "silu")]
        {
            if got != wanted {
                return Err(format!("{key} is `{got}`, supported: {wanted}"));
            }
        }
        for (key, is) in [("attention_bias", self.attention_bias), ("mlp_bias", self.mlp_bias)] {
            if is {
                return Err(format!("{key} is true: biases are not built here"));
            }
        }
        for rope in [&self.rope_scaling, &self.rope_parameters].into_iter().flatten() {
            if let Some(kind) = rope.rope_type.as_deref().filter(|kind| *kind != "default") {
                return Err(format!("rotary positions are scaled (`{kind}`), which is not built here"));
            }
        }
        let base = self.rope_theta.or(self.rope_parameters.and_then(|rope| rope.rope_theta));
        let heads = self.num_attention_heads;
        let config = llama::Config {
            blocks: self.num_hidden_layers,
            width: self.hidden_size,
            heads,
            kv_heads: self.num_key_value_heads.unwrap_or(heads),
            head_size: self.head_dim.unwrap_or(self.hidden_size.checked_div(heads).unwrap_or(0)),
            ffn: self.intermediate_size,
            eps: self.rms_norm_eps,
            rope_base: base.unwrap_or(10_000.0),
            context: self.max_position_embeddings,
            vocab: self.vocab_size,
            tied_head: self.tie_word_embeddings,
        };
        match config.problem() {
            Some((field, problem)) => Err(format!("the model's {field} {problem}")),
            None => Ok(config),
        }
    }
}

impl HuggingFace {
    /// Maps the files of a folder and checks that they are a complete llama.
    ///
    /// # Errors
    /// A file is missing, damaged, or of another kind of model: which file, which tensor or key, what was wanted.
    pub fn open(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("config.json");
        let config: Config = read_json(&path)?;
        let ends = match config.eos_token_id.clone() {
            None => Vec::new(),
            Some(Ends::One(id)) => vec![id],
            Some(Ends::Several(ids)) => ids,
        };
        let config = config.llama().map_err(|problem| Error::form(&path, problem))?;
        let (shards, shard_of) = open_shards(folder)?;
        let mut source = Self { folder: folder.to_owned(), ends, config, shards, tensors: HashMap::new() };
        for (name, shape) in source.config.tensors() {
            let theirs = their_name(&name);
            let shard = if source.shards.len() == 1 { Some(&0) } else { shard_of.get(&theirs) };
            let place = source.place(name.clone(), shape, theirs, shard.copied())?;
            // One block after the other: a wrong number of them ends at the first tensor that is missing.
            source.tensors.insert(name, place);
        }
        Ok(source)
    }

    fn place(
        &self,
        name: String,
        shape: Vec<usize>,
        theirs: String,
        shard: Option<usize>,
    ) -> Result<Place, Error> {
        let found = shard.and_then(|i| Some((i, self.shards.get(i)?, self.shards.get(i)?.tensor(&theirs)?)));
        let Some((shard, file, (dtype, found, bytes))) = found else {
            return Err(Error::tensor(&self.folder, &theirs, "is not there"));
        };
        let kind = match dtype {
            Dtype::F32 => Kind::F32,
            Dtype::F16 => Kind::F16,
            Dtype::BF16 => Kind::Bf16,
            other => {
                let problem = format!("is of type {other:?}, supported: F32, F16, BF16");
                return Err(Error::tensor(file.path(), &theirs, problem));
            }
        };
        if !found.iter().rev().eq(&shape) {
            let wanted: Vec<usize> = shape.iter().rev().copied().collect();
            let problem = format!("has shape {found:?}, wanted {wanted:?}");
            return Err(Error::tensor(file.path(), &theirs, problem));
        }
        let (kind, data) = match shape.as_slice() {
            // Norms are few and always F32 in GGUF.
            [n] if kind != Kind::F32 => (Kind::F32, Data::Own(as_f32(kind, bytes, *n)?)),
            [_, rows] if name.contains(".attn_q.") || name.contains(".attn_k.") => {
                (kind, Data::Own(adjacent_pairs(bytes, *rows, self.config.head_size)))
            }
            _ => (kind, Data::Lent { shard, name: theirs }),
        };
        Ok(Place { name, shape, kind, data })
    }
}

impl Source for HuggingFace {
    fn config(&self) -> &llama::Config {
        &self.config
    }

    fn tensor(&self, name: &str) -> Result<Tensor<'_>, Error> {
        let missing = || Error::tensor(&self.folder, name, "is not there");
        let place = self.tensors.get(name).ok_or_else(missing)?;
        let data = match &place.data {
            Data::Own(bytes) => bytes,
            Data::Lent { shard, name } => {
                self.shards.get(*shard).and_then(|file| file.tensor(name)).ok_or_else(missing)?.2
            }
        };
        Ok(Tensor { name: &place.name, shape: place.shape.clone(), kind: place.kind, data })
    }

    fn tokenizer(&self) -> Result<Tokenizer, Error> {
        let path = self.folder.join("tokenizer.json");
        let tokenizer = Tokenizer::from_json(&read(&path)?, self.config.vocab)
            .map_err(|problem| Error::form(&path, problem))?;
        Ok(tokenizer.with_ends(self.ends.iter().copied()))
    }

    fn chat(&self) -> Result<Chat, Error> {
        // Later versions write it into a file of its own.
        let mut path = self.folder.join("chat_template.jinja");
        let template = if path.exists() {
            String::from_utf8(read(&path)?).map_err(|e| Error::form(&path, e.to_string()))?
        } else {
            path = self.folder.join("tokenizer_config.json");
            let config: TokenizerConfig = read_json(&path)?;
            config.chat_template.ok_or_else(|| Error::form(&path, "has no chat_template"))?
        };
        Chat::from_template(&template)
            .map_err(|problem| Error::form(&path, format!("chat_template {problem}")))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|problem| Error::Read { path: path.to_owned(), problem })
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, Error> {
    serde_json::from_slice(&read(path)?)
        .map_err(|e| Error::form(path, format!("{e}; is it another kind of model?")))
}

/// The files of a folder, and which of them holds each tensor when there are several.
fn open_shards(folder: &Path) -> Result<(Vec<Shard>, HashMap<String, usize>), Error> {
    let index = folder.join("model.safetensors.index.json");
    if !index.exists() {
        return Ok((vec![open_shard(&folder.join("model.safetensors"))?], HashMap::new()));
    }
    let Index { weight_map } = read_json(&index)?;
    let (mut shards, mut numbers, mut shard_of) = (Vec::new(), BTreeMap::new(), HashMap::new());
    for (tensor, file) in weight_map {
        if Path::new(&file).file_name() != Some(file.as_ref()) {
            return Err(Error::form(&index, format!("`{file}` is no name of a file in this folder")));
        }
        let number = match numbers.get(&file) {
            Some(number) => *number,
            None => {
                shards.push(open_shard(&folder.join(&file))?);
                numbers.insert(file, shards.len() - 1);
                shards.len() - 1
            }
        };
        shard_of.insert(tensor, number);
    }
    Ok((shards, shard_of))
}

fn open_shard(path: &Path) -> Result<Shard, Error> {
    Shard::open(path).map_err(|problem| match problem {
        Problem::Io(problem) => Error::Read { path: path.to_owned(), problem },
        Problem::Form(problem) => Error::form(path, problem),
    })
}

/// Hugging Face's name for one of GGUF's.
fn their_name(name: &str) -> String {
    let block = |rest: &str| {
        let (number, part) = rest.split_once('.')?;
        let part = match part.strip_suffix(".weight")? {
            "attn_norm" => "input_layernorm",
            "attn_q" => "self_attn.q_proj",
            "attn_k" => "self_attn.k_proj",
            "attn_v" => "self_attn.v_proj",
            "attn_output" => "self_attn.o_proj",
            "ffn_norm" => "post_attention_layernorm",
            "ffn_gate" => "mlp.gate_proj",
            "ffn_up" => "mlp.up_proj",
            "ffn_down" => "mlp.down_proj",
            _ => return None,
        };
        Some(format!("model.layers.{number}.{part}.weight"))
    };
    match name {
        "token_embd.weight" => "model.embed_tokens.weight".to_owned(),
        "output_norm.weight" => "model.norm.weight".to_owned(),
        "output.weight" => "lm_head.weight".to_owned(),
        _ => name.strip_prefix("blk.").and_then(block).unwrap_or_else(|| name.to_owned()),
    }
}

fn as_f32(kind: Kind, bytes: &[u8], elements: usize) -> Result<Vec<u8>, Error> {
    let mut numbers = vec![0.0; elements];
    dequantize(kind, bytes, &mut numbers)?;
    Ok(numbers.iter().flat_map(|x| x.to_le_bytes()).collect())
}

/// Rows of heads of `size` from halves to adjacent pairs: rows `i` and `i + size / 2` of a head become `2 i` and `2 i + 1`.
fn adjacent_pairs(bytes: &[u8], rows: usize, size: usize) -> Vec<u8> {
    let row_bytes = bytes.len() / rows.max(1);
    let mut out = Vec::with_capacity(bytes.len());
    for row in 0..rows {
        let (head, within) = (row / size, row % size);
        let from = head * size + within / 2 + (within % 2) * (size / 2);
        out.extend_from_slice(&bytes[from * row_bytes..][..row_bytes]);
    }
    out
}
