//! Mixture of transformers (Liang et al., 2024): every modality has its own weights, attention runs over all tokens.

use crate::error::{Result, config, shape};
use crate::layers::PositionEncoding;
use crate::layers::{Attention, Embedding, FeedForward, Linear, Norm, Positions, TransformerConfig};
use crate::ops::{self, Mask, Rotation};
use crate::param::{Init, Module, Param};
use crate::tensor::Tensor;

/// The weights of one modality in one block.
#[derive(Clone, Debug)]
struct Expert {
    attention_norm: Norm,
    attention: Attention,
    mlp_norm: Norm,
    mlp: FeedForward,
}

impl Module for Expert {
    fn params(&self) -> Vec<Param> {
        let parts: [&dyn Module; 4] = [&self.attention_norm, &self.attention, &self.mlp_norm, &self.mlp];
        parts.iter().flat_map(|part| part.params()).collect()
    }
}

/// A decoder whose tokens go through the projections, norms and perceptron of their modality; tokens of all modalities share one
/// vocabulary, one table and one attention.
#[derive(Clone, Debug)]
pub struct MixtureOfTransformers {
    /// `[vocabulary, d]`.
    pub tokens: Embedding,
    /// Learned positions, `[context, d]`.
    pub positions: Option<Embedding>,
    /// `d` to `vocabulary`; the table of tokens when there is none.
    pub head: Option<Linear>,
    /// Blocks of one expert for each modality.
    blocks: Vec<Vec<Expert>>,
    norms: Vec<Norm>,
    encoding: PositionEncoding,
}

/// Tokens in order of their modality, and the way back.
struct Order {
    sorted: Vec<usize>,
    back: Vec<usize>,
    /// Tokens of each modality.
    counts: Vec<usize>,
}

impl Order {
    fn new(modalities: &[u8], count: usize) -> Result<Self> {
        if let Some(i) = modalities.iter().position(|m| usize::from(*m) >= count) {
            return shape(
                "MixtureOfTransformers",
                format!("modality {} at token {i}, there are {count}", modalities[i]),
            );
        }
        let mut sorted: Vec<usize> = (0..modalities.len()).collect();
        sorted.sort_by_key(|&i| modalities[i]);
        let mut back = vec![0; sorted.len()];
        for (to, &from) in sorted.iter().enumerate() {
            back[from] = to;
        }
        let mut counts = vec![0; count];
        modalities.iter().for_each(|m| counts[usize::from(*m)] += 1);
        Ok(Self { sorted, back, counts })
    }

    /// Applies the function of each modality to its rows of `x`, which are sorted.
    fn map(&self, x: &Tensor, f: impl Fn(usize, &Tensor) -> Result<Tensor>) -> Result<Tensor> {
        let mut parts = Vec::with_capacity(self.counts.len());
        let mut first = 0;
        for (modality, &count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            parts.push(if count == x.shape()[0] {
                f(modality, x)?
            } else {
                f(modality, &x.narrow(0, first, count)?)?
            });
            first += count;
        }
        match parts.as_slice() {
            [one] => Ok(one.clone()),
            several => ops::concat(&several.iter().collect::<Vec<_>>(), 0),
        }
    }
}

impl MixtureOfTransformers {
    /// A network of `modalities` sets of weights.
    ///
    /// # Errors
    /// Those of [`TransformerConfig::check`]; `modalities` outside 1..=255.
    pub fn new(init: &Init, c: &TransformerConfig, modalities: usize) -> Result<Self> {
        c.check()?;
        if !(1..=255).contains(&modalities) {
            return config("modalities", "in 1..=255", modalities);
        }
        let expert = |layer: usize, modality: usize| -> Result<Expert> {
            let init = init.at(format!("blocks.{layer}.{modality}"));
            Ok(Expert {
                attention_norm: c.new_norm(&init.at("attention_norm")),
                attention: Attention::new(&init.at("attention"), c.attention())?,
                mlp_norm: c.new_norm(&init.at("mlp_norm")),
                mlp: c.new_mlp(&init.at("mlp")),
            })
        };
        Ok(Self {
            tokens: Embedding::new(&init.at("tokens"), c.vocabulary, c.d, 0.02),
            positions: (c.positions == Positions::Learned)
                .then(|| Embedding::new(&init.at("positions"), c.context, c.d, 0.02)),
            head: (!c.tied).then(|| Linear::with_deviation(&init.at("head"), c.d, c.vocabulary, false, 0.02)),
            blocks: (0..c.layers)
                .map(|layer| (0..modalities).map(|m| expert(layer, m)).collect())
                .collect::<Result<_>>()?,
            norms: (0..modalities).map(|m| c.new_norm(&init.at(format!("norm.{m}")))).collect(),
            encoding: PositionEncoding::new(c)?,
        })
    }

    /// Logits `[batch, time, vocabulary]` of tokens `ids` of shape `[batch, time]`, each of the modality given.
    ///
    /// # Errors
    /// When ids or modalities do not fill the shape or are out of range.
    pub fn forward(&self, ids: &[u32], modalities: &[u8], shape: [usize; 2], mask: &Mask) -> Result<Tensor> {
        let hidden = self.hidden(ids, modalities, shape, mask)?;
        match &self.head {
            Some(head) => head.forward(&hidden),
            None => self.tokens.logits(&hidden),
        }
    }

    /// Last hidden states `[batch, time, d]`, after the last norm.
    ///
    /// # Errors
    /// As [`MixtureOfTransformers::forward`].
    pub fn hidden(&self, ids: &[u32], modalities: &[u8], to: [usize; 2], mask: &Mask) -> Result<Tensor> {
        if modalities.len() != ids.len() {
            return shape(
                "MixtureOfTransformers",
                format!("{} modalities for {} tokens", modalities.len(), ids.len()),
            );
        }
        let order = Order::new(modalities, self.norms.len())?;
        let [batch, time] = to;
        let rotation = self.encoding.rotation(time, None)?;
        let mut x = self.tokens.forward(ids, &to)?;
        if let Some(table) = &self.positions {
            let counted: Vec<u32> = (0..time as u32).collect();
            x = x.add(&table.forward(&counted, &[time])?)?;
        }
        let d = x.last();
        let mut x = x.reshape(&[batch * time, d])?.index_select(0, &order.sorted)?;
        for block in &self.blocks {
            x = x.add(&attend(block, &order, &x, to, rotation.as_ref(), mask)?)?;
            let y = order.map(&x, |m, x| block[m].mlp.forward(&block[m].mlp_norm.forward(x)?))?;
            x = x.add(&y)?;
        }
        let x = order.map(&x, |m, x| self.norms[m].forward(x))?;
        x.index_select(0, &order.back)?.reshape(&[batch, time, d])
    }
}

/// Attention over all tokens, projected by their modality: sorted rows in, sorted rows out.
fn attend(
    block: &[Expert],
    order: &Order,
    x: &Tensor,
    [batch, time]: [usize; 2],
    rotation: Option<&Rotation>,
    mask: &Mask,
) -> Result<Tensor> {
    let Some(first) = block.first() else { return Ok(x.clone()) };
    let qkv = order.map(x, |m, x| block[m].attention.project(&block[m].attention_norm.forward(x)?))?;
    let columns = qkv.last();
    let qkv = qkv.index_select(0, &order.back)?.reshape(&[batch, time, columns])?;
    let qkv = first.attention.turned(&qkv, rotation)?;
    let mixed = ops::self_attention(&qkv, first.attention.heads(), mask)?;
    let mixed = mixed.reshape(&[batch * time, mixed.last()])?.index_select(0, &order.sorted)?;
    order.map(&mixed, |m, x| block[m].attention.out.forward(x))
}

impl Module for MixtureOfTransformers {
    fn params(&self) -> Vec<Param> {
        let mut all = [self.tokens.params(), self.positions.params(), self.head.params()].concat();
        all.extend(self.blocks.iter().flat_map(Module::params));
        all.extend(self.norms.params());
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_gradients;
    use ream_rand::Stream;

    fn config() -> TransformerConfig {
        TransformerConfig {
            vocabulary: 7,
            context: 8,
            d: 8,
            layers: 1,
            heads: 2,
            hidden: 12,
            qk_norm: true,
            positions: Positions::Rope,
            ..TransformerConfig::default()
        }
    }

    #[test]
    fn every_parameter_receives_its_gradient_and_modalities_keep_to_their_weights() {
        let model = MixtureOfTransformers::new(&Init::new(1), &config(), 2).unwrap();
        for (i, param) in model.params().iter().enumerate() {
            let mut rng = Stream::new(3, "stir").at(i as u64);
            let offset = if param.name().ends_with("norm.weight") { 1.0 } else { 0.0 };
            param.set(Tensor::randn(&param.shape(), 0.4, &mut rng).add_scalar(offset).data()).unwrap();
        }
        let (ids, kinds) = ([0, 1, 2, 3, 4, 5, 6, 0], [0, 1, 1, 0, 1, 0, 0, 1]);
        let run = || model.forward(&ids, &kinds, [2, 4], &Mask::causal());
        check_gradients(&[], &model.params(), 3e-2, |_| run()).unwrap();
        // With the first token of modality 0 alone, weights of modality 1 change nothing.
        let first = |model: &MixtureOfTransformers| {
            model.forward(&ids[..1], &kinds[..1], [1, 1], &Mask::causal()).unwrap().to_vec()
        };
        let before = first(&model);
        for param in model.params().iter().filter(|p| p.name().contains("blocks.0.1.")) {
            param.update(|x| x.iter_mut().for_each(|x| *x += 1.0));
        }
        assert_eq!(before, first(&model));
        let wrong = model.forward(&ids, &[2; 8], [2, 4], &Mask::causal()).unwrap_err();
        assert!(wrong.to_string().contains("modality 2 at token 0"));
    }

    #[test]
    fn one_modality_is_a_decoder() {
        let (init, config) = (Init::new(5), TransformerConfig { qk_norm: false, ..config() });
        let mixture = MixtureOfTransformers::new(&init, &config, 1).unwrap();
        let decoder = crate::models::Decoder::new(&init, &config).unwrap();
        decoder.copy_from(&mixture).unwrap();
        let ids = [1, 2, 3, 4, 5, 6];
        let a = mixture.forward(&ids, &[0; 6], [2, 3], &Mask::causal()).unwrap();
        let b = decoder.forward(&ids, [2, 3], &Mask::causal()).unwrap();
        assert_eq!(a.data(), b.data());
    }
}
