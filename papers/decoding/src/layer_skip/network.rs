//! The three kinds of model, their training, and their forward with blocks left out.

use std::ops::ControlFlow;

use ream_nn::diffusion::masked::{draw_times, mask_tokens, masked_loss};
use ream_nn::layers::{FeedForward, MlpKind, NormKind, Positions, TransformerConfig};
use ream_nn::models::Decoder;
use ream_nn::ops::{Mask, Rotation, cross_entropy};
use ream_nn::training::{Adam, AdamConfig, Progress, Schedule, Training, train};
use ream_nn::{Init, Module, Param, Result, Tensor, no_grad};
use ream_rand::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::corpus::{Corpus, MASK, Part, VOCABULARY};

/// Decay of the mean of squared gradients.
const SECOND_MOMENT: f32 = 0.98;
/// With which [`Decoder::new`] draws its token table.
const DECODER_DEVIATION: f32 = 0.02;

/// How a model was trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// Next token, causal mask.
    Ar,
    /// Masked diffusion from scratch, both ways.
    Dlm,
    /// Masked diffusion that begins with an autoregressive model of half the tokens.
    ArInit,
}

impl Kind {
    /// All.
    pub const ALL: [Self; 3] = [Self::Ar, Self::Dlm, Self::ArInit];

    /// Its name in observations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ar => "ar",
            Self::Dlm => "dlm",
            Self::ArInit => "ar-init",
        }
    }

    /// Whether it denoises.
    #[must_use]
    pub fn is_diffusion(self) -> bool {
        self != Self::Ar
    }
}

/// The network of all three kinds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    /// Blocks.
    pub layers: usize,
    /// Width.
    pub d: usize,
    /// Heads.
    pub heads: usize,
    /// Width inside the feed-forward part.
    pub hidden: usize,
    /// Letters that a model sees at once.
    pub context: usize,
    /// Base of the rotary positions: the slowest pair turns once in about six times as many letters.
    pub rope_base: f32,
    /// Standard deviation of the first weights of the token table, which is embedding and head. With 1 / sqrt(d) a token is as loud
    /// as what a first block writes; with the usual 0.02 later blocks would know it through that block alone.
    pub token_deviation: f32,
}

impl Shape {
    /// Rotary positions, RMSNorm, SwiGLU, no biases, one table for embedding and head.
    #[must_use]
    pub fn network(&self) -> TransformerConfig {
        TransformerConfig {
            vocabulary: VOCABULARY,
            context: self.context,
            d: self.d,
            layers: self.layers,
            heads: self.heads,
            hidden: self.hidden,
            positions: Positions::Rope,
            rope_base: self.rope_base,
            norm: NormKind::Rms,
            mlp: MlpKind::SwiGlu,
            bias: false,
            ..TransformerConfig::default()
        }
    }
}

/// How models are trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainingSettings {
    /// Tokens of each model; one that begins with an autoregressive one shares them half and half.
    pub tokens: u64,
    /// Sequences of a step.
    pub batch: usize,
    /// Highest learning rate (AdamW, cosine to a tenth).
    pub learning_rate: f32,
    /// Steps of the warm-up.
    pub warmup: u64,
    /// Smallest share of masked tokens.
    pub least_noise: f64,
}

impl TrainingSettings {
    /// Steps of so many tokens.
    #[must_use]
    pub fn steps(&self, tokens: u64, context: usize) -> u64 {
        (tokens / (self.batch * context).max(1) as u64).max(1)
    }
}

/// A trained model.
#[derive(Clone, Debug)]
pub struct Network {
    /// How it reads.
    pub kind: Kind,
    /// Its weights.
    pub decoder: Decoder,
}

/// What a forward gives.
#[derive(Clone, Debug)]
pub struct Reading {
    /// After the final norm, `[batch, time, d]`.
    pub hidden: Tensor,
    /// The residual stream before the first and after every block, `[blocks + 1][batch, time, d]`; empty unless asked for.
    pub states: Vec<Tensor>,
    /// Multiply-adds that were done in blocks, counted block by block.
    pub multiply_adds: u64,
}

impl Network {
    /// A network with first weights.
    ///
    /// # Errors
    /// A shape that makes no network.
    pub fn new(kind: Kind, shape: &Shape, seed: u64) -> Result<Self> {
        let decoder = Decoder::new(&Init::new(seed), &shape.network())?;
        let scale = shape.token_deviation / DECODER_DEVIATION;
        decoder.tokens.weight.update(|table| table.iter_mut().for_each(|w| *w *= scale));
        Ok(Self { kind, decoder })
    }

    /// A network with these weights.
    ///
    /// # Errors
    /// Weights of another shape.
    pub fn from_weights(kind: Kind, shape: &Shape, weights: &[Vec<f32>]) -> Result<Self> {
        let network = Self::new(kind, shape, 0)?;
        network.decoder.params().iter().zip(weights).try_for_each(|(p, w)| p.set(w))?;
        Ok(network)
    }

    /// All weights, in the order of the network.
    #[must_use]
    pub fn weights(&self) -> Vec<Vec<f32>> {
        self.decoder.params().iter().map(Param::to_vec).collect()
    }

    /// Number of blocks.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.decoder.config().layers
    }

    /// Who sees whom: what came before, or all.
    #[must_use]
    pub fn mask(&self) -> Mask {
        if self.kind.is_diffusion() { Mask::full() } else { Mask::causal() }
    }

    /// Reads `[batch, time]` tokens without the blocks of `skip` (counted from 0): the residual stream passes them by, nothing of them
    /// is computed. `taps` asks for the residual stream between blocks.
    ///
    /// # Errors
    /// Tokens that do not fit the shape.
    pub fn read(&self, ids: &[u32], shape: [usize; 2], skip: &[usize], taps: bool) -> Result<Reading> {
        no_grad(|| {
            let config = self.decoder.config();
            let rotation = Rotation::new(config.head_dim(), config.rope_base, 0..shape[1] as u32)?;
            let (mask, cost) = (self.mask(), self.block_multiply_adds(shape));
            let mut x = self.decoder.tokens.forward(ids, &shape)?;
            let (mut states, mut multiply_adds) = (Vec::new(), 0);
            if taps {
                states.push(x.clone());
            }
            for (i, block) in self.decoder.stack.blocks.iter().enumerate() {
                if !skip.contains(&i) {
                    x = block.forward(&x, Some(&rotation), &mask, None)?;
                    multiply_adds += cost;
                }
                if taps {
                    states.push(x.clone());
                }
            }
            Ok(Reading { hidden: self.decoder.stack.norm.forward(&x)?, states, multiply_adds })
        })
    }

    /// Logits of all positions, `[batch, time, vocabulary]`.
    ///
    /// # Errors
    /// As [`Network::read`].
    pub fn logits(&self, ids: &[u32], shape: [usize; 2], skip: &[usize]) -> Result<Tensor> {
        let reading = self.read(ids, shape, skip, false)?;
        no_grad(|| self.decoder.logits(&reading.hidden))
    }

    /// Multiply-adds of one block for `[batch, time]` tokens.
    #[must_use]
    pub fn block_multiply_adds(&self, [batch, time]: [usize; 2]) -> u64 {
        let d = self.decoder.config().d;
        let hidden = self.decoder.stack.blocks.first().map_or(0, |block| match &block.mlp {
            FeedForward::SwiGlu(mlp) => mlp.down.weight.len() / d,
            FeedForward::Gelu(_) => 0,
        });
        let pairs = if self.kind.is_diffusion() { time * time } else { time * (time + 1) / 2 };
        (batch * (time * (4 * d * d + 3 * d * hidden) + 2 * pairs * d)) as u64
    }

    /// Multiply-adds of embedding and head for so many positions.
    #[must_use]
    pub fn head_multiply_adds(&self, positions: usize) -> u64 {
        (positions * self.decoder.config().d * VOCABULARY) as u64
    }

    /// Opens the mask of an autoregressive model; the mask's row begins anew, as that of a model of the same seed does.
    ///
    /// # Errors
    /// None for a network of the same shape.
    pub fn open(&self, shape: &Shape, seed: u64) -> Result<Self> {
        let fresh = Self::new(Kind::ArInit, shape, seed)?;
        let (mut weights, first) = (self.weights(), fresh.weights());
        let row = MASK as usize * shape.d..(MASK as usize + 1) * shape.d;
        weights[0][row.clone()].copy_from_slice(&first[0][row]);
        Self::from_weights(Kind::ArInit, shape, &weights)
    }

    /// Trains for `steps`; `report` may stop it.
    ///
    /// # Errors
    /// A loss that is not finite; [`ream_nn::NnError::Stopped`].
    pub fn train(
        &self,
        corpus: &Corpus,
        settings: &TrainingSettings,
        steps: u64,
        batches: Stream,
        report: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<()> {
        // The weights 1/t make gradients of very different sizes: with the usual 0.999 few of them set the pace for all.
        let config = AdamConfig { beta2: SECOND_MOMENT, ..AdamConfig::adamw(settings.learning_rate, 0.05) };
        let mut adam = Adam::new(&self.decoder.params(), config);
        let schedule = Schedule::Cosine { warmup: settings.warmup, floor: 0.1 };
        let training = Training::steps(steps).schedule(schedule).clip(1.0);
        train(&mut adam, None, &training, |step, _| self.loss(corpus, settings, batches, step), report)
            .map(|_| ())
    }

    /// The loss of a step: next token, or `1 / t` times that of the masked tokens.
    fn loss(
        &self,
        corpus: &Corpus,
        settings: &TrainingSettings,
        batches: Stream,
        step: u64,
    ) -> Result<Tensor> {
        let (batch, time) = (settings.batch, self.decoder.config().context);
        let mut rng = batches.at(step);
        if self.kind.is_diffusion() {
            let targets = corpus.windows(Part::Training, batch, time, &mut rng);
            let t = draw_times(batch, settings.least_noise, &mut rng)?;
            let masked = mask_tokens(&targets, &t, MASK, None, &mut rng)?;
            let logits = self.decoder.forward(&masked.tokens, [batch, time], &Mask::full())?;
            return masked_loss(&logits, &targets, &masked);
        }
        let windows = corpus.windows(Part::Training, batch, time + 1, &mut rng);
        let (inputs, targets) = shifted(&windows, time + 1);
        let logits = self.decoder.forward(&inputs, [batch, time], &Mask::causal())?;
        cross_entropy(&logits, &targets, None)
    }
}

/// Windows of `len` tokens as inputs and the tokens after them.
#[must_use]
pub fn shifted(windows: &[u32], len: usize) -> (Vec<u32>, Vec<u32>) {
    let cut =
        |from: usize, to: usize| windows.chunks_exact(len).flat_map(|w| &w[from..to]).copied().collect();
    (cut(0, len - 1), cut(1, len))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::corpus::tests::corpus;
    use super::*;

    pub(crate) fn shape() -> Shape {
        Shape { layers: 6, d: 16, heads: 2, hidden: 48, context: 48, rope_base: 100.0, token_deviation: 0.02 }
    }

    pub(crate) fn settings() -> TrainingSettings {
        TrainingSettings { tokens: 40_000, batch: 8, learning_rate: 3e-3, warmup: 10, least_noise: 0.02 }
    }

    pub(crate) fn trained(kind: Kind, steps: u64) -> Network {
        let network = Network::new(kind, &shape(), 5).unwrap();
        let batches = Stream::new(5, "batches");
        network.train(&corpus(48), &settings(), steps, batches, |_| ControlFlow::Continue(())).unwrap();
        network
    }

    fn tokens() -> Vec<u32> {
        corpus(48).windows(Part::HeldOut, 2, 48, &mut Stream::new(1, "tokens").at(0))
    }

    #[test]
    fn no_skipped_block_is_the_full_model_to_the_bit() {
        for kind in Kind::ALL {
            let network = trained(kind, 3);
            let full = no_grad(|| network.decoder.forward(&tokens(), [2, 48], &network.mask())).unwrap();
            let mine = network.logits(&tokens(), [2, 48], &[]).unwrap();
            assert!(full.data().iter().zip(mine.data()).all(|(a, b)| a.to_bits() == b.to_bits()));
            let skipped = network.logits(&tokens(), [2, 48], &[2]).unwrap();
            assert!(full.data().iter().zip(skipped.data()).any(|(a, b)| (a - b).abs() > 1e-4));
        }
    }

    #[test]
    fn skipping_a_block_of_zeros_changes_nothing() {
        let network = trained(Kind::Dlm, 3);
        let block = &network.decoder.stack.blocks[3];
        for weight in [&block.attention.out.params()[0], block.mlp.params().last().unwrap()] {
            weight.update(|w| w.fill(0.0));
        }
        let (full, skipped) =
            (network.logits(&tokens(), [2, 48], &[]), network.logits(&tokens(), [2, 48], &[3]));
        assert_eq!(full.unwrap().data(), skipped.unwrap().data());
    }

    #[test]
    fn skipped_blocks_cost_nothing_and_give_what_they_got() {
        let network = trained(Kind::Ar, 3);
        let full = network.read(&tokens(), [2, 48], &[], true).unwrap();
        let cut = network.read(&tokens(), [2, 48], &[1, 4], true).unwrap();
        assert_eq!(full.multiply_adds * 4, cut.multiply_adds * 6);
        assert_eq!(full.multiply_adds, 6 * network.block_multiply_adds([2, 48]));
        for (l, same) in [(1, true), (4, true), (0, false), (5, false)] {
            assert_eq!(cut.states[l].data() == cut.states[l + 1].data(), same, "block {l}");
        }
    }

    #[test]
    fn the_token_table_is_as_loud_as_asked() {
        for wanted in [0.02, 0.125] {
            let shape = Shape { d: 64, token_deviation: wanted, ..shape() };
            let table = &Network::new(Kind::Dlm, &shape, 3).unwrap().weights()[0];
            let mean_square = table.iter().map(|w| w * w).sum::<f32>() / table.len() as f32;
            assert!((mean_square.sqrt() / wanted - 1.0).abs() < 0.06, "{} for {wanted}", mean_square.sqrt());
        }
    }

    /// With five of six blocks left out a pass takes less than half as long, even on a busy machine.
    #[test]
    fn skipped_blocks_take_no_time() {
        let shape = Shape { layers: 12, d: 64, heads: 4, hidden: 192, context: 96, ..shape() };
        let network = Network::new(Kind::Dlm, &shape, 1).unwrap();
        let ids = vec![3_u32; 8 * 96];
        let time = |skip: &[usize]| {
            let once = || {
                let begun = std::time::Instant::now();
                network.read(&ids, [8, 96], skip, false).unwrap();
                begun.elapsed()
            };
            (0..9).map(|_| once()).min().unwrap()
        };
        let (full, cut) = (time(&[]), time(&(1..11).collect::<Vec<_>>()));
        assert!(cut * 2 < full, "{cut:?} of {full:?}");
    }

    /// The engine leaves out the same blocks, keeps no keys of them, and gives the same logits, one way and both ways.
    #[test]
    fn the_engine_skips_the_same_blocks_and_keeps_no_keys_of_them() {
        use ream_lm::llama::{Cache, Feed, Layout, Logits, Model};
        for kind in [Kind::Ar, Kind::Dlm] {
            let network = trained(kind, 20);
            let model = Model::from_decoder(&network.decoder).unwrap();
            let ids = tokens()[..48].to_vec();
            let positions: Vec<u32> = (0..48).collect();
            let sees = vec![true; 48 * 48];
            let layout = match kind {
                Kind::Ar => Layout::Chain,
                _ => Layout::Masked { positions: &positions, sees: &sees },
            };
            let mut sizes = Vec::new();
            for skip in [vec![], vec![1, 2, 4]] {
                let mut cache = Cache::skipping(&model, &skip).unwrap();
                let mut branch = cache.branch();
                let feed = Feed { branch: &mut branch, tokens: &ids, layout };
                let out = model.forward().logits(Logits::All).run(&mut cache, &mut [feed]).unwrap();
                let mine = network.logits(&ids, [1, 48], &skip).unwrap();
                for (a, b) in out.logits.iter().zip(mine.data()) {
                    assert!((a - b).abs() < 2e-3, "{kind:?} {skip:?}: {a} {b}");
                }
                sizes.push(cache.size());
            }
            assert_eq!(sizes[0], 2 * sizes[1], "three of six blocks hold keys");
        }
    }

    #[test]
    fn an_opened_model_is_the_autoregressive_one_but_for_the_masks_row() {
        let network = trained(Kind::Ar, 5);
        let opened = network.open(&shape(), 5).unwrap();
        let (before, after) = (network.weights(), opened.weights());
        assert_eq!(before[1..], after[1..]);
        let at = MASK as usize * 16;
        assert_eq!(before[0][..at], after[0][..at]);
        let fresh = Network::new(Kind::Dlm, &shape(), 5).unwrap().weights();
        assert_eq!(after[0][at..], fresh[0][at..]);
        assert_ne!(after[0][at..], before[0][at..]);
    }

    #[test]
    fn targets_are_one_letter_ahead() {
        let (inputs, targets) = shifted(&[1, 2, 3, 4, 5, 6], 3);
        assert_eq!((inputs, targets), (vec![1, 2, 4, 5], vec![2, 3, 5, 6]));
    }
}
