//! Attention layers.

use crate::error::{Result, config};
use crate::ops::{self, Heads, Mask, Rotation};
use crate::param::{Init, Module, Param};
use crate::tensor::Tensor;

use super::{Linear, RmsNorm};

/// Sizes of an attention layer.
#[derive(Clone, Copy, Debug)]
pub struct AttentionSizes {
    /// Width of the input and the output.
    pub d: usize,
    /// Heads of queries; they divide `d`.
    pub heads: usize,
    /// Heads of keys and values; they divide `heads`.
    pub kv_heads: usize,
    /// Whether the linear maps have a bias.
    pub bias: bool,
    /// Whether queries and keys are normalised by head (Henry et al., 2020), with a root mean square and a weight.
    pub qk_norm: bool,
    /// Standard deviation of the output map's first weights.
    pub out_deviation: f32,
}

impl AttentionSizes {
    /// Multi-head attention without bias or normalisation.
    #[must_use]
    pub fn new(d: usize, heads: usize) -> Self {
        let out_deviation = 1.0 / (d.max(1) as f32).sqrt();
        Self { d, heads, kv_heads: heads, bias: false, qk_norm: false, out_deviation }
    }

    /// Elements of a head.
    #[must_use]
    pub fn head_dim(&self) -> usize {
        self.d / self.heads.max(1)
    }

    /// # Errors
    /// When heads do not divide `d`, or `kv_heads` do not divide heads.
    pub fn check(&self) -> Result<()> {
        if self.heads == 0 || self.d == 0 || !self.d.is_multiple_of(self.heads) {
            return config("heads", format!("a divisor of d = {}", self.d), self.heads);
        }
        if self.kv_heads == 0 || !self.heads.is_multiple_of(self.kv_heads) {
            return config("kv_heads", format!("a divisor of heads = {}", self.heads), self.kv_heads);
        }
        Ok(())
    }
}

/// Normalises every head of `x` (`[batch, time, heads * head_dim]`).
fn norm_heads(norm: &RmsNorm, x: &Tensor) -> Result<Tensor> {
    let head_dim = norm.weight.len();
    norm.forward(&x.reshape(&[x.len() / head_dim, head_dim])?)?.reshape(x.shape())
}

/// A sequence attends to itself.
#[derive(Clone, Debug)]
pub struct Attention {
    /// `d` to queries, keys and values in one product.
    pub qkv: Linear,
    /// `d` to `d`.
    pub out: Linear,
    /// Norms of queries and of keys, `[head_dim]`.
    pub norms: Option<[RmsNorm; 2]>,
    sizes: AttentionSizes,
}

impl Attention {
    /// With weights of deviation `1 / sqrt(d)`, those of the output map as the sizes say.
    ///
    /// # Errors
    /// Those of [`AttentionSizes::check`].
    pub fn new(init: &Init, sizes: AttentionSizes) -> Result<Self> {
        sizes.check()?;
        let (d, head_dim) = (sizes.d, sizes.head_dim());
        Ok(Self {
            qkv: Linear::new(&init.at("qkv"), d, d + 2 * sizes.kv_heads * head_dim, sizes.bias),
            out: Linear::with_deviation(&init.at("out"), d, d, sizes.bias, sizes.out_deviation),
            norms: sizes
                .qk_norm
                .then(|| ["q_norm", "k_norm"].map(|name| RmsNorm::new(&init.at(name), head_dim))),
            sizes,
        })
    }

    /// Its sizes.
    #[must_use]
    pub fn sizes(&self) -> AttentionSizes {
        self.sizes
    }

    /// `x` `[batch, time, d]` to the same; `rotation` turns queries and keys by their positions.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn forward(&self, x: &Tensor, rotation: Option<&Rotation>, mask: &Mask) -> Result<Tensor> {
        self.out.forward(&ops::self_attention(&self.packed(x, rotation)?, self.heads(), mask)?)
    }

    pub(crate) fn heads(&self) -> Heads<'static> {
        Heads::grouped(self.sizes.heads, self.sizes.kv_heads)
    }

    /// Queries, keys and values as attention sees them, normalised and turned: `[batch, time, (heads + 2 kv_heads) * head_dim]`.
    pub(crate) fn packed(&self, x: &Tensor, rotation: Option<&Rotation>) -> Result<Tensor> {
        self.turned(&self.project(x)?, rotation)
    }

    /// Queries, keys and values, normalised.
    pub(crate) fn project(&self, x: &Tensor) -> Result<Tensor> {
        let qkv = self.qkv.forward(x)?;
        let Some([q_norm, k_norm]) = &self.norms else { return Ok(qkv) };
        let kv = self.sizes.kv_heads * self.sizes.head_dim();
        let axis = qkv.rank() - 1;
        let parts = qkv.split(axis, &[self.sizes.d, kv, kv])?;
        ops::concat(&[&norm_heads(q_norm, &parts[0])?, &norm_heads(k_norm, &parts[1])?, &parts[2]], axis)
    }

    /// Turns queries and keys by their positions.
    pub(crate) fn turned(&self, qkv: &Tensor, rotation: Option<&Rotation>) -> Result<Tensor> {
        match rotation {
            Some(rotation) => ops::rope(qkv, self.sizes.heads + self.sizes.kv_heads, rotation),
            None => Ok(qkv.clone()),
        }
    }
}

impl Module for Attention {
    fn params(&self) -> Vec<Param> {
        let norms = self.norms.iter().flatten().flat_map(Module::params);
        [self.qkv.params(), self.out.params()].concat().into_iter().chain(norms).collect()
    }
}

/// A sequence attends to another one.
#[derive(Clone, Debug)]
pub struct CrossAttention {
    /// `d` to queries.
    pub q: Linear,
    /// `memory` to keys and values in one product.
    pub kv: Linear,
    /// `d` to `d`.
    pub out: Linear,
    sizes: AttentionSizes,
}

impl CrossAttention {
    /// From a memory of width `memory`. Normalised queries and keys are not offered here.
    ///
    /// # Errors
    /// Those of [`AttentionSizes::check`]; `qk_norm`.
    pub fn new(init: &Init, sizes: AttentionSizes, memory: usize) -> Result<Self> {
        sizes.check()?;
        if sizes.qk_norm {
            return config("qk_norm", "false for cross-attention", true);
        }
        let kv = 2 * sizes.kv_heads * sizes.head_dim();
        Ok(Self {
            q: Linear::new(&init.at("q"), sizes.d, sizes.d, sizes.bias),
            kv: Linear::new(&init.at("kv"), memory, kv, sizes.bias),
            out: Linear::with_deviation(&init.at("out"), sizes.d, sizes.d, sizes.bias, sizes.out_deviation),
            sizes,
        })
    }

    /// `x` `[batch, time, d]` attends to `memory` `[batch, keys, memory]`; result as `x`.
    ///
    /// # Errors
    /// When the shapes do not fit.
    pub fn forward(&self, x: &Tensor, memory: &Tensor, mask: &Mask) -> Result<Tensor> {
        let heads = Heads::grouped(self.sizes.heads, self.sizes.kv_heads);
        let mixed = ops::cross_attention(&self.q.forward(x)?, &self.kv.forward(memory)?, heads, mask)?;
        self.out.forward(&mixed)
    }
}

impl Module for CrossAttention {
    fn params(&self) -> Vec<Param> {
        [self.q.params(), self.kv.params(), self.out.params()].concat()
    }
}
