//! The shared small language model: one shape for every paper that needs a trained decoder on two cores.
//!
//! A llama (RMSNorm, rotary positions, SwiGLU, no biases; the engine of [`crate::llama`] runs it) of d = 128, 4 layers, 4 heads over 128
//! tokens of a byte-pair encoding with 512 merges (256 bytes + 512 merges = 768 tokens), about 0.9 million parameters. `kjv-base` is this model on the King James Bible's training chapters.
//! What decides a checkpoint is its [`SmallConfig`] and the text; [`SmallLm`] can be kept as it is (it is serialisable) by whoever
//! has a store, keyed by both.

use std::ops::ControlFlow;

use ream_nn::layers::{MlpKind, NormKind, Positions, TransformerConfig};
use ream_nn::models::Decoder;
use ream_nn::ops::{Mask, cross_entropy, token_losses};
use ream_nn::training::{Adam, AdamConfig, Progress, Schedule, Training, train};
use ream_nn::{Init, Module, NnError, no_grad};
use ream_rand::Stream;
use serde::{Deserialize, Serialize};

use crate::bpe::{Bpe, BpeError};
use crate::llama::{self, LlamaError};

/// What decides a small language model, beside its text.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmallConfig {
    /// Merges of the byte-pair encoding.
    pub merges: usize,
    /// Width.
    pub d: usize,
    /// Blocks.
    pub layers: usize,
    /// Heads.
    pub heads: usize,
    /// Tokens the model sees at once.
    pub context: usize,
    /// Tokens of the training.
    pub tokens: u64,
    /// Sequences of a step.
    pub batch: usize,
    /// Highest learning rate (AdamW, cosine to a tenth).
    pub learning_rate: f32,
    /// Steps of the warm-up.
    pub warmup: u64,
    /// Seed of the first weights and of the order of the text.
    pub seed: u64,
}

impl Default for SmallConfig {
    /// `kjv-base`: 1.5 million tokens.
    fn default() -> Self {
        Self {
            merges: 512,
            d: 128,
            layers: 4,
            heads: 4,
            context: 128,
            tokens: 1_500_000,
            batch: 8,
            learning_rate: 1e-3,
            warmup: 50,
            seed: 0,
        }
    }
}

impl SmallConfig {
    /// The network.
    #[must_use]
    pub fn network(&self, vocabulary: usize) -> TransformerConfig {
        TransformerConfig {
            vocabulary,
            context: self.context,
            d: self.d,
            layers: self.layers,
            heads: self.heads,
            positions: Positions::Rope,
            norm: NormKind::Rms,
            mlp: MlpKind::SwiGlu,
            bias: false,
            ..TransformerConfig::default()
        }
    }

    /// Steps of the training.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.tokens / (self.batch * self.context).max(1) as u64
    }
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum SmallError {
    /// The text is too short.
    #[error("the text has {tokens} tokens; at least {wanted} are needed")]
    TooLittleText {
        /// Tokens of the text.
        tokens: usize,
        /// One more than a context.
        wanted: usize,
    },
    /// A stored model whose weights do not fit its configuration.
    #[error(
        "the stored model holds {found} arrays of weights that do not fit its configuration, which has {wanted}"
    )]
    Stored {
        /// Arrays found.
        found: usize,
        /// Arrays of the network.
        wanted: usize,
    },
    /// The tokenizer.
    #[error(transparent)]
    Bpe(#[from] BpeError),
    /// The network.
    #[error(transparent)]
    Nn(#[from] NnError),
}

/// A trained small language model with its tokenizer.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct SmallLm {
    /// What decided it.
    pub config: SmallConfig,
    /// Its tokenizer, learned on its training text.
    pub bpe: Bpe,
    /// Its network.
    pub model: Decoder,
}

/// The stored form.
#[derive(Serialize, Deserialize)]
struct Stored {
    config: SmallConfig,
    bpe: Bpe,
    weights: Vec<Vec<f32>>,
}

impl From<SmallLm> for Stored {
    fn from(lm: SmallLm) -> Self {
        let weights = lm.model.params().iter().map(ream_nn::Param::to_vec).collect();
        Self { config: lm.config, bpe: lm.bpe, weights }
    }
}

impl TryFrom<Stored> for SmallLm {
    type Error = SmallError;

    fn try_from(stored: Stored) -> Result<Self, SmallError> {
        let network = stored.config.network(stored.bpe.vocabulary());
        let model = Decoder::new(&Init::new(stored.config.seed), &network)?;
        let params = model.params();
        if params.len() != stored.weights.len() {
            return Err(SmallError::Stored { found: stored.weights.len(), wanted: params.len() });
        }
        params.iter().zip(&stored.weights).try_for_each(|(p, w)| p.set(w))?;
        Ok(Self { config: stored.config, bpe: stored.bpe, model })
    }
}

/// Chapters kept from training: `share` of them, at least one, by a draw that depends on nothing but their number.
///
/// Gives (training, held out), each in the order of the text.
#[must_use]
pub fn split_chapters<T: Clone>(chapters: &[T], share: f64) -> (Vec<T>, Vec<T>) {
    let held = ((chapters.len() as f64 * share) as usize).clamp(1, chapters.len().max(1));
    let mut order: Vec<usize> = (0..chapters.len()).collect();
    Stream::new(0, "held-out chapters").at(0).shuffle(&mut order);
    let mut out = vec![false; chapters.len()];
    order.iter().take(held).for_each(|&i| out[i] = true);
    let pick = |wanted: bool| {
        chapters.iter().zip(&out).filter(|(_, o)| **o == wanted).map(|(c, _)| c.clone()).collect()
    };
    (pick(false), pick(true))
}

impl SmallLm {
    /// The network for the engine.
    ///
    /// # Errors
    /// None for a network of [`SmallConfig::network`].
    pub fn llama(&self) -> Result<llama::Model, LlamaError> {
        llama::Model::from_decoder(&self.model)
    }

    /// Learns tokenizer and network from texts; their order is shuffled, each is read whole. `report` is called after every step and may
    /// stop the training.
    ///
    /// # Errors
    /// Too little text; a loss that is not finite; [`NnError::Stopped`].
    pub fn train<T: AsRef<str>>(
        texts: &[T],
        config: &SmallConfig,
        report: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Self, SmallError> {
        let bpe = Bpe::train(texts.iter().map(AsRef::as_ref), config.merges)?;
        let mut order: Vec<usize> = (0..texts.len()).collect();
        Stream::new(config.seed, "order of texts").at(0).shuffle(&mut order);
        let mut tokens = Vec::new();
        let mut encoder = bpe.encoder();
        for i in order {
            encoder.encode_into(texts[i].as_ref(), &mut tokens);
        }
        if tokens.len() <= config.context {
            return Err(SmallError::TooLittleText { tokens: tokens.len(), wanted: config.context + 1 });
        }
        let model = Decoder::new(&Init::new(config.seed), &config.network(bpe.vocabulary()))?;
        let mut adam = Adam::new(&model.params(), AdamConfig::adamw(config.learning_rate, 0.1));
        let training = Training::steps(config.steps())
            .schedule(Schedule::Cosine { warmup: config.warmup, floor: 0.1 })
            .clip(1.0);
        let batches = Stream::new(config.seed, "batches");
        train(
            &mut adam,
            None,
            &training,
            |step, _| {
                let (inputs, targets) = batch(&tokens, config, &mut batches.at(step));
                let logits = model.forward(&inputs, [config.batch, config.context], &Mask::causal())?;
                cross_entropy(&logits, &targets, None)
            },
            report,
        )?;
        Ok(Self { config: config.clone(), bpe, model })
    }

    /// Bits per character of texts the model has not seen: every token is predicted once, with up to a context of tokens of the same text
    /// before it (windows overlap by half); the first token of a text has no context and is not counted, nor are its characters.
    ///
    /// # Errors
    /// Those of the network.
    pub fn bits_per_character<T: AsRef<str>>(&self, texts: &[T]) -> Result<f64, SmallError> {
        let (mut nats, mut characters) = (0.0_f64, 0_usize);
        for text in texts {
            let tokens = self.bpe.encode(text.as_ref());
            nats += self.nats(&tokens)?;
            let first = tokens.first().and_then(|t| self.bpe.bytes_of(*t)).unwrap_or_default();
            characters +=
                text.as_ref().chars().count() - String::from_utf8_lossy(first).chars().count().min(1);
        }
        Ok(nats / std::f64::consts::LN_2 / characters.max(1) as f64)
    }

    /// Negative log-likelihood in nats of all tokens but the first.
    fn nats(&self, tokens: &[u32]) -> Result<f64, SmallError> {
        let context = self.config.context;
        let mut total = 0.0;
        let mut begin = 0;
        // Tokens up to here are counted.
        let mut counted = 1;
        while counted < tokens.len() {
            let end = (begin + context + 1).min(tokens.len());
            let window = &tokens[begin..end];
            let logits = no_grad(|| {
                self.model.forward(&window[..window.len() - 1], [1, window.len() - 1], &Mask::causal())
            })?;
            let losses = token_losses(&logits, &window[1..])?;
            total += losses[counted - begin - 1..].iter().map(|l| f64::from(*l)).sum::<f64>();
            counted = end;
            begin += context / 2;
        }
        Ok(total)
    }
}

/// Random windows of the tokens: inputs and the tokens that follow them.
fn batch(tokens: &[u32], config: &SmallConfig, rng: &mut ream_rand::Rng) -> (Vec<u32>, Vec<u32>) {
    let (mut inputs, mut targets) = (Vec::new(), Vec::new());
    for _ in 0..config.batch {
        let at = rng.below(tokens.len() - config.context);
        inputs.extend_from_slice(&tokens[at..at + config.context]);
        targets.extend_from_slice(&tokens[at + 1..at + 1 + config.context]);
    }
    (inputs, targets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts() -> Vec<String> {
        let words = ["in the beginning", "was the word", "and the light", "shone upon the waters"];
        (0..40).map(|i| (0..12).map(|j| words[(i * 7 + j * j) % 4]).collect::<Vec<_>>().join(" ")).collect()
    }

    fn config() -> SmallConfig {
        SmallConfig {
            merges: 20,
            d: 32,
            layers: 2,
            heads: 2,
            context: 24,
            tokens: 40_000,
            warmup: 10,
            ..Default::default()
        }
    }

    #[test]
    fn it_learns_and_comes_back_from_its_stored_form() {
        let texts = texts();
        let (train, held) = split_chapters(&texts, 0.1);
        assert_eq!((train.len(), held.len()), (36, 4));
        let lm = SmallLm::train(&train, &config(), |_| ControlFlow::Continue(())).unwrap();
        let bits = lm.bits_per_character(&held).unwrap();
        let untrained =
            SmallLm::train(&train, &SmallConfig { tokens: 0, ..config() }, |_| ControlFlow::Continue(()))
                .unwrap();
        let before = untrained.bits_per_character(&held).unwrap();
        assert!(bits < 0.5 * before, "{bits} of {before}");
        let json = serde_json::to_string(&lm).unwrap();
        let back: SmallLm = serde_json::from_str(&json).unwrap();
        assert_eq!(back.bits_per_character(&held).unwrap(), bits);
        let again = SmallLm::train(&train, &config(), |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(again.bits_per_character(&held).unwrap(), bits);
    }

    #[test]
    fn an_untrained_model_needs_about_the_logarithm_of_its_vocabulary() {
        let texts = texts();
        let lm =
            SmallLm::train(&texts, &SmallConfig { tokens: 0, ..config() }, |_| ControlFlow::Continue(()))
                .unwrap();
        let tokens: usize = texts.iter().map(|t| lm.bpe.encode(t).len() - 1).sum();
        let characters: usize = texts.iter().map(|t| t.len() - 1).sum();
        let want = tokens as f64 * libm::log2(lm.bpe.vocabulary() as f64) / characters as f64;
        assert!((lm.bits_per_character(&texts).unwrap() / want - 1.0).abs() < 0.05);
    }

    #[test]
    fn too_little_text_is_an_error() {
        let error = SmallLm::train(&["aaaa aaaa aaaa"], &SmallConfig { merges: 1, ..config() }, |_| {
            ControlFlow::Continue(())
        });
        assert!(error.unwrap_err().to_string().contains("at least 25 are needed"));
    }
}
