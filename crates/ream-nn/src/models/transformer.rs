//! Transformers over tokens: decoder, encoder, encoder with decoder.

use super::KvCache;
use crate::autograd::no_grad;
use crate::error::{Result, shape};
use crate::layers::{Embedding, Linear, Memory, Stack, TransformerConfig};
use crate::ops::{self, Mask};
use crate::param::{Init, Module, Param};
use crate::tensor::Tensor;

/// Standard deviation of the tokens' first vectors and of the head's first weights (Radford et al., 2019).
const DEVIATION: f32 = 0.02;

/// A table of tokens, a stack of blocks, a head. Which way it reads is up to the mask: causal, prefix, any.
///
/// ```
/// use ream_nn::{Init, layers::TransformerConfig, models::Decoder, ops::Mask};
/// # fn main() -> ream_nn::Result<()> {
/// let config = TransformerConfig { vocabulary: 16, d: 32, layers: 2, ..TransformerConfig::default() };
/// let model = Decoder::new(&Init::new(1), &config)?;
/// let logits = model.forward(&[3, 1, 4, 1, 5, 9], [2, 3], &Mask::causal())?;
/// assert_eq!(logits.shape(), [2, 3, 16]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Decoder {
    /// `[vocabulary, d]`.
    pub tokens: Embedding,
    /// Positions, blocks, last norm.
    pub stack: Stack,
    /// `d` to `vocabulary`; the table of tokens when there is none.
    pub head: Option<Linear>,
    config: TransformerConfig,
}

/// A transformer that reads both ways: the same network as [`Decoder`], under a mask that is not causal.
pub type Encoder = Decoder;

impl Decoder {
    /// A network with first weights keyed by `init`.
    ///
    /// # Errors
    /// Those of [`TransformerConfig::check`].
    pub fn new(init: &Init, config: &TransformerConfig) -> Result<Self> {
        Self::build(init, config, false)
    }

    fn build(init: &Init, config: &TransformerConfig, cross: bool) -> Result<Self> {
        config.check()?;
        Ok(Self {
            tokens: Embedding::new(&init.at("tokens"), config.vocabulary, config.d, DEVIATION),
            stack: Stack::new(init, config, cross)?,
            head: (!config.tied).then(|| {
                Linear::with_deviation(&init.at("head"), config.d, config.vocabulary, false, DEVIATION)
            }),
            config: config.clone(),
        })
    }

    /// What it was made from.
    #[must_use]
    pub fn config(&self) -> &TransformerConfig {
        &self.config
    }

    /// Logits `[batch, time, vocabulary]` of tokens `ids` of shape `[batch, time]`.
    ///
    /// # Errors
    /// When ids do not fill the shape, have no row, or the sequence is longer than learned positions reach.
    pub fn forward(&self, ids: &[u32], shape: [usize; 2], mask: &Mask) -> Result<Tensor> {
        self.logits(&self.hidden(ids, shape, mask)?)
    }

    /// Last hidden states `[batch, time, d]`, after the last norm.
    ///
    /// # Errors
    /// As [`Decoder::forward`].
    pub fn hidden(&self, ids: &[u32], shape: [usize; 2], mask: &Mask) -> Result<Tensor> {
        self.hidden_at(ids, shape, None, mask)
    }

    /// As [`Decoder::hidden`] for tokens at these positions: `time` of them, or `batch * time`.
    ///
    /// # Errors
    /// As [`Decoder::forward`].
    pub fn hidden_at(
        &self,
        ids: &[u32],
        shape: [usize; 2],
        positions: Option<&[u32]>,
        mask: &Mask,
    ) -> Result<Tensor> {
        self.stack.forward(&self.tokens.forward(ids, &shape)?, positions, mask, None)
    }

    /// Reads `time` more tokens of each sample, `ids` of shape `[batch, time]`, and appends them to the cache; logits
    /// `[batch, time, vocabulary]`, without a gradient.
    ///
    /// `positions` are those of `time` tokens or of `batch * time`, or continue after the cache; `mask` is that of `time` queries by
    /// `cache.len() + time` keys, for instance `Mask::causal().with_offset(cache.len())`. Guesses that turn out wrong are taken
    /// back with [`KvCache::truncate`] or [`KvCache::gather`].
    ///
    /// # Errors
    /// As [`Decoder::forward`]; a cache of another model or batch.
    pub fn step(
        &self,
        ids: &[u32],
        shape: [usize; 2],
        positions: Option<&[u32]>,
        mask: &Mask,
        cache: &mut KvCache,
    ) -> Result<Tensor> {
        self.logits(&self.step_hidden(ids, shape, positions, mask, cache)?)
    }

    /// As [`Decoder::step`], giving the last hidden states `[batch, time, d]`.
    ///
    /// # Errors
    /// As [`Decoder::step`].
    pub fn step_hidden(
        &self,
        ids: &[u32],
        shape: [usize; 2],
        positions: Option<&[u32]>,
        mask: &Mask,
        cache: &mut KvCache,
    ) -> Result<Tensor> {
        let [batch, time] = shape;
        cache.check(&self.config, batch)?;
        no_grad(|| {
            let following: Vec<u32>;
            let positions = match positions {
                Some(positions) => positions,
                None => {
                    following = (cache.len()..cache.len() + time).map(|p| p as u32).collect();
                    &following
                }
            };
            cache.reserve(time);
            let x = self.tokens.forward(ids, &shape)?;
            let (mut x, rotation) = self.stack.embed(&x, Some(positions))?;
            for (i, block) in self.stack.blocks.iter().enumerate() {
                x = block.step(&x, rotation.as_ref(), |qkv, heads| {
                    cache.write(i, qkv.data(), qkv.last(), time);
                    ops::cached_attention(qkv, cache.layer(i, time), heads, mask)
                })?;
            }
            cache.advance(time);
            self.stack.norm.forward(&x)
        })
    }

    /// Logits of hidden states: `[.., d]` to `[.., vocabulary]`.
    ///
    /// # Errors
    /// When the last axis is not `d`.
    pub fn logits(&self, hidden: &Tensor) -> Result<Tensor> {
        match &self.head {
            Some(head) => head.forward(hidden),
            None => self.tokens.logits(hidden),
        }
    }
}

impl Module for Decoder {
    fn params(&self) -> Vec<Param> {
        [self.tokens.params(), self.stack.params(), self.head.params()].concat()
    }
}

/// An encoder that reads both ways, and a decoder whose blocks attend to the encoder's last hidden states.
#[derive(Clone, Debug)]
pub struct EncoderDecoder {
    /// Reads the source; its head is not used and it has none.
    pub encoder: Decoder,
    /// Writes the target.
    pub decoder: Decoder,
}

impl EncoderDecoder {
    /// Encoder and decoder of the given makes, which must be equally wide.
    ///
    /// # Errors
    /// Those of [`TransformerConfig::check`]; widths that differ.
    pub fn new(init: &Init, encoder: &TransformerConfig, decoder: &TransformerConfig) -> Result<Self> {
        if encoder.d != decoder.d {
            return shape(
                "EncoderDecoder",
                format!("encoder of d = {}, decoder of d = {}", encoder.d, decoder.d),
            );
        }
        let encoder = TransformerConfig { tied: true, ..encoder.clone() };
        Ok(Self {
            encoder: Decoder::build(&init.at("encoder"), &encoder, false)?,
            decoder: Decoder::build(&init.at("decoder"), decoder, true)?,
        })
    }

    /// Last hidden states of the source, `[batch, time, d]`; `mask` hides padding.
    ///
    /// # Errors
    /// As [`Decoder::forward`].
    pub fn encode(&self, source: &[u32], shape: [usize; 2], mask: &Mask) -> Result<Tensor> {
        self.encoder.hidden(source, shape, mask)
    }

    /// Logits `[batch, time, vocabulary]` of the target, given the encoded source.
    ///
    /// # Errors
    /// As [`Decoder::forward`]; a memory of other samples.
    pub fn decode(
        &self,
        target: &[u32],
        shape: [usize; 2],
        mask: &Mask,
        memory: Memory<'_>,
    ) -> Result<Tensor> {
        let x = self.decoder.tokens.forward(target, &shape)?;
        self.decoder.logits(&self.decoder.stack.forward(&x, None, mask, Some(memory))?)
    }
}

impl Module for EncoderDecoder {
    fn params(&self) -> Vec<Param> {
        [self.encoder.params(), self.decoder.params()].concat()
    }
}
