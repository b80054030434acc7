//! Draft heads as they are trained.
//!
//! `h_t` is the base's last hidden state after its final norm, `E` its embedding. Head `i` of `K` guesses `x[t+1+i]`:
//!
//! - **Medusa**: `z = h_t + SiLU(A h_t + b)`;
//! - **Hydra**: `c = [h_t; E(x[t+1]); ...; E(x[t+i])]`, `z = R c + SiLU(A c + b)`;
//! - both: `layers - 1` more blocks `z <- z + SiLU(A z + b)`, logits `U z`;
//! - **prefix attention** (Hydra++): one decoder layer of the base's shape runs over the hidden states, its output replaces `h_t`.
//!
//! `A` begins at 0, `R` at `[1, 0, ..., 0]`, the layer at the identity and `U` at the base's own rows: every head begins as the
//! base's head. Hidden states and embeddings are divided by their root mean squares over the training text, and `U` multiplied
//! by that of the hidden states: the same functions, in units in which one learning rate suits all of them.

use ream_lab::{Error, Invalid, Result};
use ream_lm::llama::{self, Model};
use ream_nn::layers::{Block, Linear, MlpKind, NormKind, Positions, TransformerConfig};
use ream_nn::ops::{Mask, Rotation, concat, linear};
use ream_nn::training::Checkpoint;
use ream_nn::{Init, Module, Param, Tensor};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Which heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Each reads the hidden state alone (Cai et al., 2024, arXiv 2401.10774).
    Medusa,
    /// Each also reads the tokens guessed before it.
    Hydra,
}

/// What decides the shape of a set of draft heads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Which heads.
    pub kind: Kind,
    /// How many: K.
    pub heads: usize,
    /// Layers of each.
    pub layers: usize,
    /// Whether an extra decoder layer summarises the prefix.
    pub prefix_attention: bool,
    /// Rank of the trained correction of the base's rows; 0 trains the rows themselves.
    pub rank: usize,
}

impl Shape {
    /// Numbers that the first block of head `i` (from 0) reads.
    #[must_use]
    pub fn inputs(&self, head: usize, d: usize) -> usize {
        if self.kind == Kind::Hydra { (head + 2) * d } else { d }
    }
}

/// What heads are made for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BaseFacts {
    /// [`Model::fingerprint`] in hex.
    pub fingerprint: String,
    /// Width.
    pub d: usize,
    /// Tokens.
    pub vocabulary: usize,
    heads: usize,
    kv_heads: usize,
    head_size: usize,
    ffn: usize,
    rope_base: f32,
}

impl BaseFacts {
    /// Of a model.
    #[must_use]
    pub fn of(model: &Model) -> Self {
        let llama::Config { width, vocab, heads, kv_heads, head_size, ffn, rope_base, .. } = *model.config();
        Self {
            fingerprint: format!("{:016x}", model.fingerprint()),
            d: width,
            vocabulary: vocab,
            heads,
            kv_heads,
            head_size,
            ffn,
            rope_base,
        }
    }

    /// The extra decoder layer: the base's own shape.
    fn layer(&self) -> TransformerConfig {
        TransformerConfig {
            vocabulary: self.vocabulary,
            context: 1,
            d: self.d,
            layers: 1,
            heads: self.heads,
            kv_heads: self.kv_heads,
            hidden: self.ffn,
            positions: Positions::Rope,
            rope_base: self.rope_base,
            norm: NormKind::Rms,
            mlp: MlpKind::SwiGlu,
            bias: false,
            ..TransformerConfig::default()
        }
    }

    pub(super) fn layer_heads(&self) -> (usize, usize, usize) {
        (self.heads, self.kv_heads, self.head_size)
    }

    pub(super) fn rope_base(&self) -> f32 {
        self.rope_base
    }
}

/// Root mean squares over the training text that inputs are divided by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scales {
    /// Of hidden states.
    pub states: f32,
    /// Of embeddings.
    pub embeddings: f32,
}

/// What is stored beside the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Facts {
    shape: Shape,
    base: BaseFacts,
    scales: Scales,
    vocabulary: Vec<u32>,
}

/// A set of draft heads.
#[derive(Clone, Debug)]
pub struct Heads {
    facts: Facts,
    heads: Vec<Head>,
    prefix: Option<Block>,
    /// `[draft vocabulary, d]`: the base's rows, where only a correction is trained.
    rows: Option<Param>,
}

/// One head.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// `[d, inputs]` and bias.
    pub(super) first: Linear,
    /// R, `[d, inputs]`; Medusa's is the identity.
    pub(super) residual: Option<Param>,
    pub(super) rest: Vec<Linear>,
    pub(super) unembed: Unembed,
}

/// U of one head.
#[derive(Clone, Debug)]
pub(super) enum Unembed {
    /// All rows, `[draft vocabulary, d]`.
    Full(Param),
    /// `up down` is added to the base's rows: `[draft vocabulary, rank]` and `[rank, d]`.
    Correction { down: Param, up: Param },
}

fn zero_linear(init: &Init, inputs: usize, outputs: usize) -> Linear {
    Linear {
        weight: init.constant("weight", &[outputs, inputs], 0.0),
        bias: Some(init.constant("bias", &[outputs], 0.0)),
    }
}

impl Heads {
    /// Untrained heads for a base that draft the tokens of `vocabulary`.
    ///
    /// # Errors
    /// No heads or layers, an empty vocabulary, a token that the base has not; prefix attention for a base whose heads do not fill its width.
    pub fn new(model: &Model, shape: Shape, vocabulary: &[u32], scales: Scales, seed: u64) -> Result<Self> {
        let base = BaseFacts::of(model);
        if vocabulary.is_empty() {
            return Err(Invalid::new("the draft vocabulary", "at least one token", "none").into());
        }
        let mut rows = vec![0.0; vocabulary.len() * base.d];
        for (token, row) in vocabulary.iter().zip(rows.chunks_exact_mut(base.d)) {
            if *token as usize >= base.vocabulary {
                let wanted = format!("tokens below {}", base.vocabulary);
                return Err(Invalid::new("the draft vocabulary", wanted, token.to_string()).into());
            }
            model.head().read_row(*token as usize, row);
            row.iter_mut().for_each(|x| *x *= scales.states);
        }
        let rows = Tensor::from_vec(rows, &[vocabulary.len(), base.d]).map_err(failed)?;
        let facts = Facts { shape, base, scales, vocabulary: vocabulary.to_vec() };
        Self::build(facts, &rows, seed)
    }

    fn build(facts: Facts, rows: &Tensor, seed: u64) -> Result<Self> {
        let shape = facts.shape;
        if shape.heads == 0 || shape.layers == 0 {
            return Err(Invalid::new("draft heads", "at least one head of one layer", "none").into());
        }
        let init = Init::new(seed);
        let heads = (0..shape.heads)
            .map(|i| Head::new(&init.at(format!("heads.{i}")), &facts, i, rows))
            .collect::<Result<_>>()?;
        let prefix = shape.prefix_attention.then(|| identity_layer(&init.at("prefix"), &facts.base));
        let rows = (shape.rank > 0).then(|| Param::new("rows", rows));
        if let Some(rows) = &rows {
            rows.freeze();
        }
        Ok(Self { facts, heads, prefix: prefix.transpose()?, rows })
    }

    /// Their shape.
    #[must_use]
    pub fn shape(&self) -> Shape {
        self.facts.shape
    }

    /// What they were made for.
    #[must_use]
    pub fn base(&self) -> &BaseFacts {
        &self.facts.base
    }

    /// Tokens they draft.
    #[must_use]
    pub fn vocabulary(&self) -> &[u32] {
        &self.facts.vocabulary
    }

    /// What inputs are divided by.
    #[must_use]
    pub fn scales(&self) -> Scales {
        self.facts.scales
    }

    pub(super) fn parts(&self) -> (&[Head], Option<&Block>) {
        (&self.heads, self.prefix.as_ref())
    }

    /// The base's rows, `[draft vocabulary, d]`, where heads correct them.
    pub(super) fn rows(&self) -> Option<&Param> {
        self.rows.as_ref()
    }

    /// `states` `[windows, time, d]`, divided by their scale, as heads see them: through the layer of prefix attention where there is one.
    ///
    /// # Errors
    /// When the shape does not fit.
    pub fn summarise(&self, states: &Tensor) -> Result<Tensor> {
        let Some(layer) = &self.prefix else { return Ok(states.clone()) };
        let base = &self.facts.base;
        let time = states.shape().get(1).copied().unwrap_or(0) as u32;
        let rotation = Rotation::new(base.head_size, base.rope_base, 0..time).map_err(failed)?;
        layer.forward(states, Some(&rotation), &Mask::causal(), None).map_err(failed)
    }

    /// Logits `[rows, draft vocabulary]` of head `i` (from 0): `states` `[rows, d]` from [`Heads::summarise`], `embeddings[j]` `[rows, d]` those
    /// of token `x[t+1+j]`, divided by their scale.
    ///
    /// # Errors
    /// When there are fewer than `i + 1` embeddings for a Hydra head, or shapes do not fit.
    pub fn logits(&self, i: usize, states: &Tensor, embeddings: &[Tensor]) -> Result<Tensor> {
        let head = &self.heads[i];
        let mut input = states.clone();
        if self.facts.shape.kind == Kind::Hydra {
            let Some(seen) = embeddings.get(..=i) else {
                return Err(Error::failed(format!(
                    "head {i} reads {} tokens, {} were given",
                    i + 1,
                    embeddings.len()
                )));
            };
            let parts: Vec<&Tensor> = std::iter::once(states).chain(seen).collect();
            input = concat(&parts, 1).map_err(failed)?;
        }
        let mut z = head.first.forward(&input).map_err(failed)?.silu();
        z = match &head.residual {
            Some(r) => linear(&input, &r.tensor(), None).and_then(|r| r.add(&z)),
            None => states.add(&z),
        }
        .map_err(failed)?;
        for block in &head.rest {
            z = block.forward(&z).and_then(|more| z.add(&more.silu())).map_err(failed)?;
        }
        match (&head.unembed, &self.rows) {
            (Unembed::Full(rows), _) => linear(&z, &rows.tensor(), None).map_err(failed),
            (Unembed::Correction { down, up }, rows) => {
                let low = linear(&z, &down.tensor(), None)
                    .and_then(|low| linear(&low, &up.tensor(), None))
                    .map_err(failed)?;
                let Some(rows) = rows else { return Ok(low) };
                linear(&z, &rows.tensor(), None).and_then(|all| all.add(&low)).map_err(failed)
            }
        }
    }

    /// Writes weights and what they belong to as one safetensors file.
    ///
    /// # Errors
    /// The disk.
    pub fn save(&self, path: &Path) -> Result<()> {
        let mut params = self.params();
        params.extend(self.rows.clone());
        let fingerprint = &self.facts.base.fingerprint;
        Checkpoint::of(&self.facts, 0, fingerprint, 0, &params)
            .and_then(|checkpoint| checkpoint.write(path))
            .map_err(failed)
    }

    /// Reads what [`Heads::save`] wrote.
    ///
    /// # Errors
    /// A damaged file; heads that were trained for another base.
    pub fn load(path: &Path, model: &Model) -> Result<Self> {
        let place = path.display().to_string();
        let checkpoint = Checkpoint::read(path).map_err(failed)?;
        let facts: Facts = serde_json::from_str(&checkpoint.config)
            .map_err(|error| Invalid::new(&place, "draft heads", format!("another file: {error}")))?;
        let base = BaseFacts::of(model);
        if facts.base != base {
            let got = format!(
                "heads of base {} (width {}, {} tokens)",
                facts.base.fingerprint, facts.base.d, facts.base.vocabulary
            );
            let wanted = format!(
                "heads trained for this base, {} (width {}, {} tokens)",
                base.fingerprint, base.d, base.vocabulary
            );
            return Err(Invalid::new(&place, wanted, got).into());
        }
        let rows = Tensor::zeros(&[facts.vocabulary.len(), base.d]);
        let heads = Self::build(facts, &rows, 0)?;
        let mut params = heads.params();
        params.extend(heads.rows.clone());
        checkpoint.restore(&params).map_err(failed)?;
        Ok(heads)
    }
}

impl Head {
    fn new(init: &Init, facts: &Facts, i: usize, rows: &Tensor) -> Result<Self> {
        let (shape, d, tokens) = (facts.shape, facts.base.d, facts.vocabulary.len());
        let inputs = shape.inputs(i, d);
        let residual = (shape.kind == Kind::Hydra).then(|| {
            let mut identity = vec![0.0; d * inputs];
            (0..d).for_each(|k| identity[k * inputs + k] = 1.0);
            Tensor::from_vec(identity, &[d, inputs]).map(|value| init.values("residual", &value))
        });
        let unembed = if shape.rank == 0 {
            Unembed::Full(init.values("unembed", rows))
        } else {
            Unembed::Correction {
                down: init.normal("down", &[shape.rank, d], 1.0 / (d as f32).sqrt()),
                up: init.constant("up", &[tokens, shape.rank], 0.0),
            }
        };
        Ok(Self {
            first: zero_linear(&init.at("first"), inputs, d),
            residual: residual.transpose().map_err(failed)?,
            rest: (1..shape.layers).map(|k| zero_linear(&init.at(format!("rest.{k}")), d, d)).collect(),
            unembed,
        })
    }
}

/// A decoder layer that gives what it is given.
fn identity_layer(init: &Init, base: &BaseFacts) -> Result<Block> {
    if base.heads * base.head_size != base.d {
        let wanted = format!("a base whose heads fill its width of {}", base.d);
        return Err(
            Invalid::new("prefix attention", wanted, format!("{} x {}", base.heads, base.head_size)).into()
        );
    }
    let block = Block::new(init, &base.layer(), false).map_err(failed)?;
    for name in ["out.weight", "down.weight"] {
        for param in block.params().iter().filter(|p| p.name().ends_with(name)) {
            param.update(|w| w.fill(0.0));
        }
    }
    Ok(block)
}

impl Module for Heads {
    fn params(&self) -> Vec<Param> {
        let mut all = Vec::new();
        for head in &self.heads {
            all.extend(head.first.params());
            all.extend(head.residual.clone());
            all.extend(head.rest.params());
            match &head.unembed {
                Unembed::Full(rows) => all.push(rows.clone()),
                Unembed::Correction { down, up } => all.extend([down.clone(), up.clone()]),
            }
        }
        all.extend(self.prefix.params());
        all
    }
}

pub(super) fn failed(error: impl std::fmt::Display) -> Error {
    Error::failed(error.to_string())
}
