//! Transformer blocks and stacks of them (Vaswani et al., 2017), normalised before each part.

use serde::{Deserialize, Serialize};

use crate::error::{Result, config, shape};
use crate::ops::{Heads, Mask, Rotation};
use crate::param::{Init, Module, Param};
use crate::tensor::Tensor;

use super::{Attention, AttentionSizes, CrossAttention, Embedding, LayerNorm, Linear, Mlp, RmsNorm, SwiGlu};

/// How tokens know their positions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Positions {
    /// They do not.
    None,
    /// A trained vector for each position is added to the token's.
    #[default]
    Learned,
    /// Queries and keys are turned by their position (Su et al., 2021).
    Rope,
    /// Half of each head is turned by the row, half by the column of the position in an image of `grid_width`.
    Rope2d,
}

/// Which normalisation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NormKind {
    /// [`LayerNorm`].
    #[default]
    Layer,
    /// [`RmsNorm`].
    Rms,
}

/// Which perceptron.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MlpKind {
    /// [`Mlp`].
    #[default]
    Gelu,
    /// [`SwiGlu`].
    SwiGlu,
}

/// A transformer. Fields that are not given have the values of [`TransformerConfig::default`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransformerConfig {
    /// Number of different tokens.
    pub vocabulary: usize,
    /// Longest sequence with learned positions.
    pub context: usize,
    /// Width of the residual stream.
    pub d: usize,
    /// Blocks.
    pub layers: usize,
    /// Heads of queries; they divide `d`.
    pub heads: usize,
    /// Heads of keys and values, which divide `heads`; as many as `heads` when 0.
    pub kv_heads: usize,
    /// Width inside the perceptron; 4 d (GELU) or 8/3 d rounded up to a multiple of 8 (SwiGLU) when 0.
    pub hidden: usize,
    /// How tokens know their positions.
    pub positions: Positions,
    /// Base of rotary positions.
    pub rope_base: f32,
    /// Width of the image for positions `rope2d`.
    pub grid_width: usize,
    /// Which normalisation.
    pub norm: NormKind,
    /// Which perceptron.
    pub mlp: MlpKind,
    /// Whether linear maps and layer norms have a bias.
    pub bias: bool,
    /// Whether queries and keys are normalised by head.
    pub qk_norm: bool,
    /// Whether the output head is the table of the tokens' vectors.
    pub tied: bool,
}

impl Default for TransformerConfig {
    fn default() -> Self {
        Self {
            vocabulary: 256,
            context: 128,
            d: 128,
            layers: 4,
            heads: 4,
            kv_heads: 0,
            hidden: 0,
            positions: Positions::Learned,
            rope_base: 10_000.0,
            grid_width: 0,
            norm: NormKind::Layer,
            mlp: MlpKind::Gelu,
            bias: true,
            qk_norm: false,
            tied: true,
        }
    }
}

impl TransformerConfig {
    /// Whether this makes a network.
    ///
    /// # Errors
    /// The first key that is out of range, with the range and what was given.
    pub fn check(&self) -> Result<()> {
        for (key, value) in [
            ("vocabulary", self.vocabulary),
            ("context", self.context),
            ("d", self.d),
            ("layers", self.layers),
            ("heads", self.heads),
        ] {
            if value == 0 {
                return config(key, "at least 1", value);
            }
        }
        self.attention().check()?;
        let multiple = match self.positions {
            Positions::Rope => 2,
            Positions::Rope2d => 4,
            Positions::None | Positions::Learned => 1,
        };
        if !self.head_dim().is_multiple_of(multiple) {
            return config(
                "heads",
                format!("such that d / heads is a multiple of {multiple} for these positions"),
                format!("{} for d = {}", self.heads, self.d),
            );
        }
        if self.positions == Positions::Rope2d && self.grid_width == 0 {
            return config("grid_width", "at least 1 for positions rope2d", self.grid_width);
        }
        if !(self.rope_base > 1.0 && self.rope_base.is_finite()) {
            return config("rope_base", "above 1", self.rope_base);
        }
        Ok(())
    }

    /// Elements of a head.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        self.d / self.heads.max(1)
    }

    /// Factor on the first weights of maps into the residual stream: `1 / sqrt(2 layers)` (Radford et al., 2019).
    fn residual(&self) -> f32 {
        1.0 / (2.0 * self.layers.max(1) as f32).sqrt()
    }

    pub(crate) fn attention(&self) -> AttentionSizes {
        let base = AttentionSizes::new(self.d, self.heads);
        AttentionSizes {
            kv_heads: if self.kv_heads == 0 { self.heads } else { self.kv_heads },
            bias: self.bias,
            qk_norm: self.qk_norm,
            out_deviation: base.out_deviation * self.residual(),
            ..base
        }
    }

    pub(crate) fn new_norm(&self, init: &Init) -> Norm {
        match self.norm {
            NormKind::Layer => Norm::Layer(LayerNorm::new(init, self.d, self.bias)),
            NormKind::Rms => Norm::Rms(RmsNorm::new(init, self.d)),
        }
    }

    pub(crate) fn new_mlp(&self, init: &Init) -> FeedForward {
        let hidden = match (self.hidden, self.mlp) {
            (0, MlpKind::Gelu) => 4 * self.d,
            (0, MlpKind::SwiGlu) => (8 * self.d).div_ceil(3).next_multiple_of(8),
            (hidden, _) => hidden,
        };
        let deviation = self.residual() / (hidden as f32).sqrt();
        match self.mlp {
            MlpKind::Gelu => {
                let mut mlp = Mlp::new(init, self.d, hidden, self.bias);
                mlp.down = Linear::with_deviation(&init.at("down"), hidden, self.d, self.bias, deviation);
                FeedForward::Gelu(mlp)
            }
            MlpKind::SwiGlu => {
                let mut mlp = SwiGlu::new(init, self.d, hidden);
                mlp.down = Linear::with_deviation(&init.at("down"), hidden, self.d, false, deviation);
                FeedForward::SwiGlu(mlp)
            }
        }
    }
}

/// One of the two normalisations.
#[derive(Clone, Debug)]
pub enum Norm {
    /// Mean 0, variance 1.
    Layer(LayerNorm),
    /// Mean square 1.
    Rms(RmsNorm),
}

impl Norm {
    /// `[.., d]` to `[.., d]`.
    ///
    /// # Errors
    /// When the last axis is not `d`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Layer(norm) => norm.forward(x),
            Self::Rms(norm) => norm.forward(x),
        }
    }
}

impl Module for Norm {
    fn params(&self) -> Vec<Param> {
        match self {
            Self::Layer(norm) => norm.params(),
            Self::Rms(norm) => norm.params(),
        }
    }
}

/// One of the two perceptrons.
#[derive(Clone, Debug)]
pub enum FeedForward {
    /// Two maps with GELU.
    Gelu(Mlp),
    /// Three maps with SwiGLU.
    SwiGlu(SwiGlu),
}

impl FeedForward {
    /// `[.., d]` to `[.., d]`.
    ///
    /// # Errors
    /// When the last axis is not `d`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        match self {
            Self::Gelu(mlp) => mlp.forward(x),
            Self::SwiGlu(mlp) => mlp.forward(x),
        }
    }
}

impl Module for FeedForward {
    fn params(&self) -> Vec<Param> {
        match self {
            Self::Gelu(mlp) => mlp.params(),
            Self::SwiGlu(mlp) => mlp.params(),
        }
    }
}

/// What a sequence besides its own is attended to: its hidden states `[batch, keys, d]` and who may see them.
#[derive(Clone, Copy, Debug)]
pub struct Memory<'a> {
    /// `[batch, keys, d]`.
    pub states: &'a Tensor,
    /// Queries by keys of the memory.
    pub mask: &'a Mask,
}

/// `x + attention(norm(x))`, then, with a memory, `x + cross(norm(x))`, then `x + mlp(norm(x))`.
#[derive(Clone, Debug)]
pub struct Block {
    /// Before attention.
    pub attention_norm: Norm,
    /// To itself.
    pub attention: Attention,
    /// To a memory, with the norm before it.
    pub cross: Option<(Norm, CrossAttention)>,
    /// Before the perceptron.
    pub mlp_norm: Norm,
    /// The perceptron.
    pub mlp: FeedForward,
}

impl Block {
    /// A block; `cross` adds attention to a memory of the same width.
    ///
    /// # Errors
    /// When heads do not divide the width.
    pub fn new(init: &Init, c: &TransformerConfig, cross: bool) -> Result<Self> {
        let sizes = AttentionSizes { qk_norm: false, ..c.attention() };
        let cross = cross.then(|| -> Result<_> {
            let layer = CrossAttention::new(&init.at("cross"), sizes, c.d)?;
            Ok((c.new_norm(&init.at("cross_norm")), layer))
        });
        Ok(Self {
            attention_norm: c.new_norm(&init.at("attention_norm")),
            attention: Attention::new(&init.at("attention"), c.attention())?,
            cross: cross.transpose()?,
            mlp_norm: c.new_norm(&init.at("mlp_norm")),
            mlp: c.new_mlp(&init.at("mlp")),
        })
    }

    /// `x` `[batch, time, d]` to the same.
    ///
    /// # Errors
    /// When shapes do not fit, or a memory is missing or given in vain.
    pub fn forward(
        &self,
        x: &Tensor,
        rotation: Option<&Rotation>,
        mask: &Mask,
        memory: Option<Memory<'_>>,
    ) -> Result<Tensor> {
        let mut x = x.add(&self.attention.forward(&self.attention_norm.forward(x)?, rotation, mask)?)?;
        match (&self.cross, memory) {
            (Some((norm, cross)), Some(memory)) => {
                x = x.add(&cross.forward(&norm.forward(&x)?, memory.states, memory.mask)?)?;
            }
            (None, None) => {}
            (Some(_), None) => return shape("Block", "this block attends to a memory, none was given"),
            (None, Some(_)) => {
                return shape("Block", "a memory was given, this block has no cross-attention");
            }
        }
        x.add(&self.mlp.forward(&self.mlp_norm.forward(&x)?)?)
    }
}

impl Block {
    /// As [`Block::forward`] with attention done by `attend`, which is given packed queries, keys and values.
    pub(crate) fn step(
        &self,
        x: &Tensor,
        rotation: Option<&Rotation>,
        attend: impl FnOnce(&Tensor, Heads<'static>) -> Result<Tensor>,
    ) -> Result<Tensor> {
        if self.cross.is_some() {
            return shape("Block", "a block with a memory does not decode with a cache");
        }
        let qkv = self.attention.packed(&self.attention_norm.forward(x)?, rotation)?;
        let x = x.add(&self.attention.out.forward(&attend(&qkv, self.attention.heads())?)?)?;
        x.add(&self.mlp.forward(&self.mlp_norm.forward(&x)?)?)
    }
}

impl Module for Block {
    fn params(&self) -> Vec<Param> {
        let mut all = [self.attention_norm.params(), self.attention.params()].concat();
        if let Some((norm, cross)) = &self.cross {
            all.extend(norm.params());
            all.extend(cross.params());
        }
        all.extend(self.mlp_norm.params());
        all.extend(self.mlp.params());
        all
    }
}

/// Blocks on top of each other, positions below them and a norm above.
#[derive(Clone, Debug)]
pub struct Stack {
    /// Learned positions, `[context, d]`.
    pub positions: Option<Embedding>,
    /// The blocks.
    pub blocks: Vec<Block>,
    /// The last norm.
    pub norm: Norm,
    encoding: PositionEncoding,
}

impl Stack {
    /// `cross` gives every block attention to a memory.
    ///
    /// # Errors
    /// Those of [`TransformerConfig::check`].
    pub fn new(init: &Init, config: &TransformerConfig, cross: bool) -> Result<Self> {
        config.check()?;
        Ok(Self {
            positions: (config.positions == Positions::Learned)
                .then(|| Embedding::new(&init.at("positions"), config.context, config.d, 0.02)),
            blocks: (0..config.layers)
                .map(|i| Block::new(&init.at(format!("blocks.{i}")), config, cross))
                .collect::<Result<_>>()?,
            norm: config.new_norm(&init.at("norm")),
            encoding: PositionEncoding::new(config)?,
        })
    }

    /// Last hidden states, normalised: `x` `[batch, time, d]` to the same. `positions` are those of `time` tokens or of
    /// `batch * time`; 0, 1, 2, ... when `None`.
    ///
    /// # Errors
    /// When shapes do not fit, or a position lies outside the context.
    pub fn forward(
        &self,
        x: &Tensor,
        positions: Option<&[u32]>,
        mask: &Mask,
        memory: Option<Memory<'_>>,
    ) -> Result<Tensor> {
        let (mut x, rotation) = self.embed(x, positions)?;
        for block in &self.blocks {
            x = block.forward(&x, rotation.as_ref(), mask, memory)?;
        }
        self.norm.forward(&x)
    }

    /// Adds learned positions, or makes the rotation of queries and keys.
    pub(crate) fn embed(&self, x: &Tensor, positions: Option<&[u32]>) -> Result<(Tensor, Option<Rotation>)> {
        let &[_, time, d] = x.shape() else {
            return shape("Stack", format!("[batch, time, d] is needed, got {:?}", x.shape()));
        };
        let rotation = self.encoding.rotation(time, positions)?;
        let Some(table) = &self.positions else { return Ok((x.clone(), rotation)) };
        let counted: Vec<u32>;
        let positions = match positions {
            Some(positions) => positions,
            None => {
                counted = (0..time as u32).collect();
                &counted
            }
        };
        let mut vectors = table.forward(positions, &[positions.len()])?;
        if positions.len() != time {
            vectors = vectors.reshape(&[positions.len() / time.max(1), time, d])?;
        }
        Ok((x.add(&vectors)?, rotation))
    }
}

impl Module for Stack {
    fn params(&self) -> Vec<Param> {
        [self.positions.params(), self.blocks.params(), self.norm.params()].concat()
    }
}

/// Turns positions into rotations; those of the context are computed once.
#[derive(Clone, Debug)]
pub(crate) struct PositionEncoding {
    table: Option<Rotation>,
    head_dim: usize,
    base: f32,
    grid_width: Option<u32>,
}

impl PositionEncoding {
    pub(crate) fn new(config: &TransformerConfig) -> Result<Self> {
        let grid_width = (config.positions == Positions::Rope2d).then_some(config.grid_width as u32);
        let mut this = Self { table: None, head_dim: config.head_dim(), base: config.rope_base, grid_width };
        if matches!(config.positions, Positions::Rope | Positions::Rope2d) {
            this.table = Some(this.at(0..config.context as u32)?);
        }
        Ok(this)
    }

    fn at(&self, positions: impl Iterator<Item = u32>) -> Result<Rotation> {
        match self.grid_width {
            None => Rotation::new(self.head_dim, self.base, positions),
            Some(width) => Rotation::two_dimensional(
                self.head_dim,
                self.base,
                positions.map(|p| (p / width.max(1), p % width.max(1))),
            ),
        }
    }

    /// The rotation of `time` tokens at these positions, or counted from 0; `None` for positions of another kind.
    pub(crate) fn rotation(&self, time: usize, positions: Option<&[u32]>) -> Result<Option<Rotation>> {
        let Some(table) = &self.table else { return Ok(None) };
        let known = table.tokens();
        Ok(Some(match positions {
            None if time == known => table.clone(),
            None if time < known => table.first(time),
            None => self.at(0..time as u32)?,
            Some(given) if given.iter().all(|p| (*p as usize) < known) => table.select(given)?,
            Some(given) => self.at(given.iter().copied())?,
        }))
    }
}

#[cfg(test)]
mod tests;
