//! The three Transformers: pre-norm blocks, GELU, rotary positions, one table for input and output embedding.
//!
//! A causal and a non-causal decoder are one model under two masks ([`super::masks`]). An encoder-decoder has `layers` blocks in
//! each of its two stacks, hence about twice the weights; each token passes one of them, so the work for a token is that of
//! a decoder, but for the attention across.

use ream_nn::layers::{Embedding, Memory, Positions, Stack, TransformerConfig};
use ream_nn::ops::{self, Mask};
use ream_nn::{Init, Module, Param, Result, Tensor, no_grad};
use serde::{Deserialize, Serialize};

use super::cells::Architecture;
use super::masks;
use super::objectives::Example;

/// Sizes of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizes {
    /// Width.
    pub d: usize,
    /// Heads.
    pub heads: usize,
    /// Blocks of a stack.
    pub layers: usize,
    /// Tokens.
    pub vocabulary: usize,
}

impl Sizes {
    fn transformer(self) -> TransformerConfig {
        TransformerConfig {
            vocabulary: self.vocabulary,
            d: self.d,
            layers: self.layers,
            heads: self.heads,
            positions: Positions::Rope,
            bias: false,
            ..TransformerConfig::default()
        }
    }
}

/// A Transformer of the grid.
pub struct Model {
    architecture: Architecture,
    sizes: Sizes,
    start: u32,
    /// Tokens on their way in, on both sides, and on their way out.
    embedding: Embedding,
    encoder: Option<Stack>,
    decoder: Stack,
}

/// Sequences of one batch, padded to one length.
struct Padded {
    ids: Vec<u32>,
    samples: usize,
    length: usize,
}

impl Padded {
    fn new<'a>(sequences: impl Iterator<Item = Vec<u32>> + 'a) -> Self {
        let sequences: Vec<Vec<u32>> = sequences.collect();
        let length = sequences.iter().map(Vec::len).max().unwrap_or(0);
        let mut ids = Vec::with_capacity(length * sequences.len());
        for sequence in &sequences {
            ids.extend_from_slice(sequence);
            // Padding stands at the end, where no token of the sequence sees it.
            ids.resize(ids.len() + length - sequence.len(), 0);
        }
        Self { ids, samples: sequences.len(), length }
    }
}

impl Model {
    /// With random weights that depend on `init` and their names only: both decoders start alike. `start` is the token that a
    /// decoder behind an encoder sees first.
    ///
    /// # Errors
    /// Heads that do not divide the width into even parts.
    pub fn new(architecture: Architecture, sizes: Sizes, start: u32, init: &Init) -> Result<Self> {
        let config = sizes.transformer();
        let behind = architecture == Architecture::EncoderDecoder;
        let encoder = behind.then(|| Stack::new(&init.at("encoder"), &config, false)).transpose()?;
        Ok(Self {
            architecture,
            sizes,
            start,
            embedding: Embedding::new(&init.at("tokens"), sizes.vocabulary, sizes.d, 0.02),
            encoder,
            decoder: Stack::new(&init.at("decoder"), &config, behind)?,
        })
    }

    /// Its architecture.
    pub fn architecture(&self) -> Architecture {
        self.architecture
    }

    /// Its sizes.
    pub fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// The same decoder under another mask. `None` between a decoder and an encoder-decoder, whose weights differ.
    #[must_use]
    pub fn with_mask(mut self, architecture: Architecture) -> Option<Self> {
        let is_decoder = |a: Architecture| a != Architecture::EncoderDecoder;
        if is_decoder(self.architecture) != is_decoder(architecture) {
            return None;
        }
        self.architecture = architecture;
        Some(self)
    }

    fn embed(&self, padded: &Padded) -> Result<Tensor> {
        self.embedding.forward(&padded.ids, &[padded.samples, padded.length])
    }

    /// Final hidden states: `[samples, length, d]` over what the decoder reads.
    fn hidden(&self, examples: &[&Example]) -> Result<Tensor> {
        match &self.encoder {
            None => self.decode_alone(examples),
            Some(encoder) => self.decode_behind(&self.encode(encoder, examples)?, examples),
        }
    }

    fn decode_alone(&self, examples: &[&Example]) -> Result<Tensor> {
        let padded = Padded::new(examples.iter().map(|e| e.tokens[..e.tokens.len() - 1].to_vec()));
        let mask = masks::of_decoder(self.architecture, &inputs(examples));
        self.decoder.forward(&self.embed(&padded)?, None, &mask, None)
    }

    fn encode(&self, encoder: &Stack, examples: &[&Example]) -> Result<Tensor> {
        let padded = Padded::new(examples.iter().map(|e| e.input().to_vec()));
        encoder.forward(&self.embed(&padded)?, None, &masks::of_input(&inputs(examples)), None)
    }

    fn decode_behind(&self, encoded: &Tensor, examples: &[&Example]) -> Result<Tensor> {
        let padded = Padded::new(examples.iter().map(|e| {
            let target = e.target();
            [&[self.start], &target[..target.len() - 1]].concat()
        }));
        let memory = Memory { states: encoded, mask: &masks::of_input(&inputs(examples)) };
        self.decoder.forward(&self.embed(&padded)?, None, &Mask::causal(), Some(memory))
    }

    /// Where in the decoder's reading each token with loss is predicted, and which token it is.
    fn targets(&self, examples: &[&Example]) -> Vec<(Vec<usize>, Vec<u32>)> {
        let behind = self.encoder.is_some();
        examples
            .iter()
            .map(|e| {
                let first = e.n_in.max(usize::from(!behind));
                let from = if behind { 0 } else { first - 1 };
                let targets = e.tokens[first..].to_vec();
                ((from..from + targets.len()).collect(), targets)
            })
            .collect()
    }

    /// Logits of all tokens with loss, example after example, and these tokens: `[tokens, vocabulary]`.
    fn predictions(&self, examples: &[&Example], hidden: &Tensor) -> Result<(Tensor, Vec<u32>)> {
        let length = hidden.shape()[1];
        let (mut rows, mut targets) = (Vec::new(), Vec::new());
        for (sample, (places, tokens)) in self.targets(examples).into_iter().enumerate() {
            rows.extend(places.into_iter().map(|place| sample * length + place));
            targets.extend(tokens);
        }
        let flat = hidden.reshape(&[hidden.rows(), hidden.last()])?.index_select(0, &rows)?;
        Ok((self.embedding.logits(&flat)?, targets))
    }

    /// Mean negative log-likelihood in nats over the tokens with loss of all examples together, shape `[]`.
    ///
    /// # Errors
    /// A token that is none of the vocabulary.
    pub fn loss(&self, examples: &[&Example]) -> Result<Tensor> {
        let hidden = self.hidden(examples)?;
        let (logits, targets) = self.predictions(examples, &hidden)?;
        ops::cross_entropy(&logits, &targets, None)
    }

    /// Negative log-likelihoods in nats of the tokens with loss of each example, without a gradient.
    ///
    /// # Errors
    /// A token that is none of the vocabulary.
    pub fn token_losses(&self, examples: &[&Example]) -> Result<Vec<Vec<f32>>> {
        no_grad(|| {
            let hidden = self.hidden(examples)?;
            let (logits, targets) = self.predictions(examples, &hidden)?;
            let mut all = ops::token_losses(&logits, &targets)?.into_iter();
            Ok(examples.iter().map(|e| all.by_ref().take(self.loss_tokens(e)).collect()).collect())
        })
    }

    /// Tokens of an example that carry loss here: behind an encoder the start token comes before the first.
    fn loss_tokens(&self, example: &Example) -> usize {
        if self.encoder.is_some() { example.tokens.len() - example.n_in } else { example.loss_tokens() }
    }
}

impl Module for Model {
    fn params(&self) -> Vec<Param> {
        [
            self.embedding.params(),
            self.encoder.as_ref().map(Module::params).unwrap_or_default(),
            self.decoder.params(),
        ]
        .concat()
    }
}

/// Tokens of input of each example.
fn inputs(examples: &[&Example]) -> Vec<usize> {
    examples.iter().map(|e| e.n_in).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    const SIZES: Sizes = Sizes { d: 16, heads: 2, layers: 2, vocabulary: 40 };

    fn model(architecture: Architecture) -> Model {
        Model::new(architecture, SIZES, 39, &Init::new(3)).unwrap()
    }

    fn example(seed: u64, n: usize, n_in: usize) -> Example {
        let mut rng = Stream::new(seed, "tokens").at(0);
        Example { tokens: (0..n).map(|_| rng.below(39) as u32).collect(), n_in }
    }

    /// Logits of every position of a decoder, for tests that look at all of them.
    fn all_logits(model: &Model, example: &Example) -> Vec<Vec<u32>> {
        let hidden = no_grad(|| model.hidden(&[example])).unwrap();
        let logits = model.embedding.logits(&hidden).unwrap();
        logits.data().chunks(SIZES.vocabulary).map(|row| row.iter().map(|x| x.to_bits()).collect()).collect()
    }

    /// A causal and a non-causal decoder are the same weights and the same code: with no input, to the bit.
    #[test]
    fn without_input_both_decoders_are_one() {
        let [causal, free] = [Architecture::CausalDecoder, Architecture::NonCausalDecoder].map(model);
        let alone = example(1, 24, 0);
        assert_eq!(all_logits(&causal, &alone), all_logits(&free, &alone));
        let names = |m: &Model| m.params().iter().map(|p| p.name().to_owned()).collect::<Vec<_>>();
        assert_eq!(names(&causal), names(&free));
        // With input they differ, from the first token on.
        let with_input = example(1, 24, 9);
        assert_ne!(all_logits(&causal, &with_input)[0], all_logits(&free, &with_input)[0]);
        // And one becomes the other by its mask alone.
        let switched = causal.with_mask(Architecture::NonCausalDecoder).unwrap();
        assert_eq!(all_logits(&switched, &with_input), all_logits(&free, &with_input));
        assert!(switched.with_mask(Architecture::EncoderDecoder).is_none());
    }

    /// No leak: a token of the target changes nothing before it, neither in the target nor in the input; a token of the input
    /// changes everything.
    #[test]
    fn no_token_of_the_target_is_seen_before_its_turn() {
        let n_in = 9;
        for architecture in [Architecture::CausalDecoder, Architecture::NonCausalDecoder] {
            let (model, base) = (model(architecture), example(2, 24, n_in));
            let before = all_logits(&model, &base);
            for j in 0..23 {
                let mut other = base.clone();
                other.tokens[j] = (other.tokens[j] + 1) % 39;
                let after = all_logits(&model, &other);
                let from = if architecture == Architecture::NonCausalDecoder && j < n_in { 0 } else { j };
                assert_eq!(before[..from], after[..from], "{architecture:?}, token {j}");
                assert!((from..23).all(|i| before[i] != after[i]), "{architecture:?}, token {j}");
            }
        }
    }

    #[test]
    fn no_token_of_the_target_is_seen_before_its_turn_behind_an_encoder() {
        let (model, base) = (model(Architecture::EncoderDecoder), example(2, 20, 8));
        let before = all_logits(&model, &base);
        for j in 8..19 {
            let mut other = base.clone();
            other.tokens[j] = (other.tokens[j] + 1) % 39;
            let after = all_logits(&model, &other);
            // The decoder reads the start token first: target `j` stands one place later.
            let from = j - 8 + 1;
            assert_eq!(before[..from], after[..from], "token {j}");
            assert!((from..12).all(|i| before[i] != after[i]), "token {j}");
        }
    }

    /// The decoder really attends to the encoder: without its output the loss is another.
    #[test]
    fn a_decoder_behind_an_encoder_reads_it() {
        let model = model(Architecture::EncoderDecoder);
        let one = example(3, 20, 8);
        let loss = |memory: &Tensor| {
            let hidden = model.decode_behind(memory, &[&one]).unwrap();
            let (logits, targets) = model.predictions(&[&one], &hidden).unwrap();
            ops::cross_entropy(&logits, &targets, None).unwrap().item().unwrap()
        };
        let memory = model.encode(model.encoder.as_ref().unwrap(), &[&one]).unwrap();
        let there = loss(&memory);
        assert_eq!(there, model.loss(&[&one]).unwrap().item().unwrap());
        assert!((there - loss(&Tensor::zeros(memory.shape()))).abs() > 1e-4);
        // Every token of the input counts.
        for j in 0..8 {
            let mut other = one.clone();
            other.tokens[j] = (other.tokens[j] + 1) % 39;
            let changed = model.token_losses(&[&other]).unwrap()[0].iter().sum::<f32>() / 12.0;
            assert_ne!(there, changed, "token {j}");
        }
    }

    #[test]
    fn padding_changes_nothing() {
        for architecture in Architecture::ALL {
            let model = model(architecture);
            let examples = [example(4, 24, 9), example(5, 11, 3), example(6, 17, 12)];
            let together = model.token_losses(&examples.iter().collect::<Vec<_>>()).unwrap();
            for (one, losses) in examples.iter().zip(&together) {
                let alone = &model.token_losses(&[one]).unwrap()[0];
                assert_eq!(alone.len(), one.tokens.len() - one.n_in);
                for (a, b) in alone.iter().zip(losses) {
                    assert!((a - b).abs() < 1e-5, "{architecture:?}: {a} {b}");
                }
            }
        }
    }

    #[test]
    fn loss_is_the_mean_of_token_losses_and_reaches_every_parameter() {
        for architecture in Architecture::ALL {
            let model = model(architecture);
            let examples = [example(4, 24, 9), example(5, 11, 3)];
            let refs: Vec<&Example> = examples.iter().collect();
            let losses: Vec<f32> = model.token_losses(&refs).unwrap().concat();
            let loss = model.loss(&refs).unwrap();
            let mean = losses.iter().sum::<f32>() / losses.len() as f32;
            assert!((loss.item().unwrap() - mean).abs() < 1e-5);
            let gradients = loss.backward().unwrap();
            for param in model.params() {
                let gradient = gradients.get(&param).unwrap();
                assert!(gradient.iter().any(|g| *g != 0.0), "{architecture:?}: {}", param.name());
            }
        }
    }

    #[test]
    fn an_encoder_decoder_has_about_twice_the_weights() {
        let sizes = Sizes { d: 96, heads: 4, layers: 4, vocabulary: 775 };
        let count = |a| Model::new(a, sizes, 0, &Init::new(1)).unwrap().parameter_count();
        let (decoder, both) = (count(Architecture::CausalDecoder), count(Architecture::EncoderDecoder));
        assert!((480_000..560_000).contains(&decoder), "{decoder}");
        assert!((1.9..2.3).contains(&(both as f64 / decoder as f64)), "{both}");
    }
}
