//! A small network as a law over texts after a prompt; all of its weights can be trained.

use ream_lab::Result;
use ream_lm::llama::Model;
use ream_nn::models::Decoder;
use ream_nn::ops::{Mask, cross_entropy, token_losses};
use ream_nn::{Init, Module, Param, Tensor, no_grad};
use ream_rand::Stream;

use super::law::{Law, Proposal, Tokens, failed, log_sum_exp};
use super::sampler::{self, Event};

/// Texts that are drawn side by side.
const DRAWN: usize = 64;
/// Texts that are scored in one pass.
const SCORED: usize = 128;

/// A decoder and the event that its texts are.
#[derive(Clone, Debug)]
pub struct Network {
    decoder: Decoder,
    event: Event,
}

impl Network {
    /// Shares the decoder's weights.
    #[must_use]
    pub fn new(decoder: &Decoder, event: &Event) -> Self {
        Self { decoder: decoder.clone(), event: event.clone() }
    }

    /// The same weights after another prompt.
    #[must_use]
    pub fn after(&self, prompt: Tokens) -> Self {
        Self { decoder: self.decoder.clone(), event: self.event.after(prompt) }
    }

    /// The event.
    #[must_use]
    pub fn event(&self) -> &Event {
        &self.event
    }

    /// Prompt and text without its last token; and the next token of each place, those of the prompt left at 0.
    fn inputs(&self, texts: &[Tokens]) -> (Tokens, Tokens, usize) {
        let (prompt, length) = (&self.event.prompt, self.event.length);
        let time = prompt.len() + length - 1;
        let (mut ids, mut targets) = (Vec::new(), Vec::new());
        for text in texts {
            ids.extend(prompt.iter().chain(&text[..length - 1]));
            targets.extend(std::iter::repeat_n(0, prompt.len() - 1).chain(text.iter().copied()));
        }
        (ids, targets, time)
    }

    /// Log-probability of each token of each text, `[texts][length]`.
    ///
    /// # Errors
    /// Texts of another length.
    pub fn token_scores(&self, texts: &[Tokens]) -> Result<Vec<Vec<f64>>> {
        let mut scores = Vec::with_capacity(texts.len());
        for group in texts.chunks(SCORED) {
            let (ids, targets, time) = self.inputs(group);
            let losses = no_grad(|| {
                let logits = self.decoder.forward(&ids, [group.len(), time], &Mask::causal())?;
                token_losses(&logits, &targets)
            })
            .map_err(failed)?;
            let from = self.event.prompt.len() - 1;
            scores.extend(
                losses.chunks_exact(time).map(|row| row[from..].iter().map(|l| -f64::from(*l)).collect()),
            );
        }
        Ok(scores)
    }
}

impl Law for Network {
    fn draw(&self, n: usize, stream: Stream) -> Result<Vec<Tokens>> {
        let model = Model::from_decoder(&self.decoder).map_err(failed)?;
        sampler::draw(&model, &self.event, n, DRAWN, stream, &|_, _| ())
    }

    fn score(&self, texts: &[Tokens]) -> Result<Vec<f64>> {
        Ok(self.token_scores(texts)?.iter().map(|tokens| tokens.iter().sum()).collect())
    }
}

impl Proposal for Network {
    fn params(&self) -> Vec<Param> {
        self.decoder.params()
    }

    fn weighted_log_likelihood(&self, texts: &[Tokens], weights: &[f32]) -> Result<Tensor> {
        let (ids, targets, time) = self.inputs(texts);
        let logits = self.decoder.forward(&ids, [texts.len(), time], &Mask::causal()).map_err(failed)?;
        let from = self.event.prompt.len() - 1;
        let spread = |sign: f32| -> Vec<f32> {
            let of = |w: &f32| {
                let w = (sign * w).max(0.0);
                (0..time).map(move |t| if t < from { 0.0 } else { w })
            };
            weights.iter().flat_map(of).collect()
        };
        signed_log_likelihood(&logits, &targets, &spread(1.0), &spread(-1.0)).map_err(failed)
    }

    fn copy(&self) -> Result<Self> {
        let decoder = Decoder::new(&Init::new(0), self.decoder.config()).map_err(failed)?;
        let copy = Self { decoder, event: self.event.clone() };
        copy.set(self)?;
        Ok(copy)
    }
}

/// `sum of (positive - negative) * log softmax(logits)[target]`. The cross entropy is a mean over weights that must not cancel, so the two
/// signs are taken apart.
pub(super) fn signed_log_likelihood(
    logits: &Tensor,
    targets: &[u32],
    positive: &[f32],
    negative: &[f32],
) -> ream_nn::Result<Tensor> {
    let part = |weights: &[f32], sign: f32| {
        let total: f32 = weights.iter().sum();
        Ok::<_, ream_nn::NnError>(cross_entropy(logits, targets, Some(weights))?.mul_scalar(sign * total))
    };
    if negative.iter().all(|w| *w == 0.0) {
        return part(positive, -1.0);
    }
    part(positive, -1.0)?.add(&part(negative, 1.0)?)
}

/// Forced-word decoding: the word's tokens are written at a place that is drawn evenly, everything else is drawn from the base model. Every
/// text has the word; which texts come is another matter.
#[derive(Clone, Debug)]
pub struct ForcedWord {
    base: Network,
    word: Tokens,
}

impl ForcedWord {
    /// Writes these tokens into texts of the base model.
    #[must_use]
    pub fn new(base: &Network, word: Tokens) -> Self {
        Self { base: base.clone(), word }
    }

    fn places(&self) -> usize {
        (self.base.event.length + 1).saturating_sub(self.word.len()).max(1)
    }
}

impl Law for ForcedWord {
    fn draw(&self, n: usize, stream: Stream) -> Result<Vec<Tokens>> {
        let model = Model::from_decoder(&self.base.decoder).map_err(failed)?;
        let event = &self.base.event;
        let mut rng = stream.child(0).at(0);
        let mut at: Vec<usize> = (0..n).map(|_| rng.below(self.places())).collect();
        at.sort_unstable();
        let mut texts = Vec::with_capacity(n);
        for place in 0..self.places() {
            let count = at.iter().filter(|p| **p == place).count();
            let mut begun = if place == 0 {
                vec![Tokens::new(); count]
            } else {
                let event = Event { length: place, ..event.clone() };
                sampler::draw(&model, &event, count, DRAWN, stream.child(2 * place as u64 + 1), &|_, _| ())?
            };
            begun.iter_mut().for_each(|text| text.extend(&self.word));
            let rest = event.length - place - self.word.len();
            for (i, mut text) in begun.into_iter().enumerate() {
                if rest > 0 {
                    let prompt = event.prompt.iter().chain(&text).copied().collect();
                    let event = Event { length: rest, ..event.after(prompt) };
                    let stream = stream.child(2 * place as u64 + 2).child(i as u64);
                    let end = sampler::draw(&model, &event, 1, 1, stream, &|_, _| ())?;
                    text.extend(end.into_iter().flatten());
                }
                texts.push(text);
            }
        }
        Ok(texts)
    }

    /// `log sum over places of 1 / places * a(all but the word there)`; minus infinity where the word's tokens do not stand.
    fn score(&self, texts: &[Tokens]) -> Result<Vec<f64>> {
        let places = self.places();
        let one = |(text, scores): (&Tokens, Vec<f64>)| {
            let whole: f64 = scores.iter().sum();
            let found: Vec<f64> = (0..places)
                .filter(|at| text[*at..].starts_with(&self.word))
                .map(|at| whole - scores[at..at + self.word.len()].iter().sum::<f64>())
                .collect();
            log_sum_exp(found.into_iter()) - libm::log(places as f64)
        };
        Ok(texts.iter().zip(self.base.token_scores(texts)?).map(one).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_lm::SmallConfig;

    fn network() -> Network {
        let config = SmallConfig { d: 32, layers: 2, heads: 2, context: 32, ..SmallConfig::default() };
        let decoder = Decoder::new(&Init::new(4), &config.network(24)).unwrap();
        // Far from even, so that what is wrong shows.
        decoder.params().iter().for_each(|p| p.update(|x| x.iter_mut().for_each(|x| *x *= 3.0)));
        Network::new(&decoder, &Event { prompt: vec![3, 1], length: 4, ends: Vec::new() })
    }

    #[test]
    fn draws_are_scored_as_the_same_event() {
        let (base, other) = (network(), network().after(vec![7]));
        let texts = other.draw(6000, Stream::new(1, "draws")).unwrap();
        assert!(texts.iter().all(|t| t.len() == 4));
        let (a, q) = (base.score(&texts).unwrap(), other.score(&texts).unwrap());
        let ratios: Vec<f64> = a.iter().zip(&q).map(|(a, q)| libm::exp(a - q)).collect();
        let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
        let variance = ratios.iter().map(|r| (r - mean) * (r - mean)).sum::<f64>() / ratios.len() as f64;
        let se = (variance / ratios.len() as f64).sqrt();
        assert!((mean - 1.0).abs() < 4.0 * se && se < 0.1, "{mean} {se}");
        // The draws follow the scores: the commonest first token.
        let firsts = |token: u32| texts.iter().filter(|t| t[0] == token).count() as f64 / texts.len() as f64;
        let scores = other.token_scores(&(0..24).map(|t| vec![t, 0, 0, 0]).collect::<Vec<_>>()).unwrap();
        for (token, score) in scores.iter().enumerate() {
            let p = libm::exp(score[0]);
            let se = (p * (1.0 - p) / texts.len() as f64).sqrt();
            assert!((firsts(token as u32) - p).abs() < 4.0 * se + 1e-4, "{token} {p}");
        }
    }

    #[test]
    fn draws_do_not_depend_on_the_batch_or_on_each_other() {
        let network = network();
        let model = Model::from_decoder(&network.decoder).unwrap();
        let draw = |n, batch| {
            sampler::draw(&model, &network.event, n, batch, Stream::new(5, "x"), &|_, _| ()).unwrap()
        };
        assert_eq!(draw(20, 64), draw(20, 3));
        assert_eq!(draw(20, 64)[..7], draw(7, 64));
    }

    #[test]
    fn texts_end_where_the_event_says() {
        let network = network();
        let model = Model::from_decoder(&network.decoder).unwrap();
        let event = Event { ends: (0..12).collect(), ..network.event.clone() };
        let texts = sampler::draw(&model, &event, 200, 16, Stream::new(5, "x"), &|_, _| ()).unwrap();
        let short = texts.iter().filter(|t| t.len() < 4).count();
        assert!(short > 20 && short < 200, "{short}");
        for text in &texts {
            let ends = text.iter().position(|t| *t < 12).unwrap_or(3);
            assert_eq!(text.len(), ends + 1);
        }
    }

    #[test]
    fn weighted_likelihood_is_the_sum_of_scores_and_copies_are_apart() {
        let network = network();
        let texts = network.draw(5, Stream::new(2, "draws")).unwrap();
        let weights = [0.5, -1.0, 0.25, 0.0, -0.25];
        let sum = network.weighted_log_likelihood(&texts, &weights).unwrap();
        let scores = network.score(&texts).unwrap();
        let wanted: f64 = scores.iter().zip(weights).map(|(s, w)| s * f64::from(w)).sum();
        assert!((f64::from(sum.item().unwrap()) - wanted).abs() < 1e-3);
        // Weights that cancel still have a gradient.
        let gradients = sum.backward().unwrap();
        assert!(gradients.norm(&network.params()) > 1e-3);
        let copy = network.copy().unwrap();
        assert_eq!(copy.score(&texts).unwrap(), scores);
        copy.params()[0].update(|x| x.iter_mut().for_each(|x| *x += 1.0));
        assert_eq!(network.score(&texts).unwrap(), scores);
        assert_ne!(copy.score(&texts).unwrap(), scores);
    }

    #[test]
    fn forced_words_are_there_and_scored_as_they_are_drawn() {
        let network = network();
        let forced = ForcedWord::new(&network, vec![5, 9]);
        let texts = forced.draw(4000, Stream::new(3, "draws")).unwrap();
        assert!(texts.iter().all(|t| t.len() == 4 && t.windows(2).any(|w| w == [5, 9])));
        // The mean of a / q over draws of q is the base's mass where q can draw: the chance of the word's tokens.
        let (a, q) = (network.score(&texts).unwrap(), forced.score(&texts).unwrap());
        let mass = a.iter().zip(&q).map(|(a, q)| libm::exp(a - q)).sum::<f64>() / texts.len() as f64;
        let base = network.draw(40_000, Stream::new(4, "draws")).unwrap();
        let share = base.iter().filter(|t| t.windows(2).any(|w| w == [5, 9])).count() as f64 / 40_000.0;
        let se = (share / 40_000.0).sqrt();
        assert!((mass - share).abs() < 5.0 * se + 0.2 * share, "{mass} {share}");
        assert_eq!(forced.score(&[vec![0, 0, 0, 0]]).unwrap()[0], f64::NEG_INFINITY);
    }
}
