//! A large model as a law over texts after a prompt, and a proposal on it whose blocks stay as they are: logits
//! `W (h + A B' h) + c` of the final hidden state `h`, `A` and `B` of low rank.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use ream_lab::Result;
use ream_lm::llama::Model;
use ream_lm::quant::Rows;
use ream_nn::ops::linear;
use ream_nn::{Param, Tensor, no_grad};
use ream_rand::Stream;

use super::law::{Law, Proposal, Tokens, failed};
use super::network::signed_log_likelihood;
use super::sampler::{self, Event};

/// Texts that are drawn side by side.
const DRAWN: usize = 16;
/// Rows whose logits are computed together.
const ROWS: usize = 32;
/// Deviation of the first weights of `B`.
const DEVIATION: f32 = 0.02;

/// A model with the event that its texts are. It keeps the hidden states of texts that it has scored.
#[derive(Debug)]
pub struct Reader<'a> {
    model: &'a Model,
    event: Event,
    states: RefCell<HashMap<Tokens, Rc<Vec<f32>>>>,
}

impl<'a> Reader<'a> {
    /// Texts of this event.
    #[must_use]
    pub fn new(model: &'a Model, event: &Event) -> Self {
        Self { model, event: event.clone(), states: RefCell::default() }
    }

    /// Forgets the hidden states.
    pub fn forget(&self) {
        self.states.borrow_mut().clear();
    }

    /// Hidden states that decide each token, `[length, width]` for each text.
    fn states(&self, texts: &[Tokens]) -> Result<Vec<Rc<Vec<f32>>>> {
        let mut known = self.states.borrow_mut();
        let mut new: Vec<&Tokens> = texts.iter().filter(|text| !known.contains_key(*text)).collect();
        new.sort_unstable();
        new.dedup();
        for (text, states) in new.iter().zip(sampler::states(self.model, &self.event, &new)?) {
            known.insert((*text).clone(), Rc::new(states));
        }
        Ok(texts.iter().filter_map(|text| known.get(text).cloned()).collect())
    }

    fn score(&self, texts: &[Tokens], shape: sampler::Shape<'_>) -> Result<Vec<f64>> {
        let (width, head) = (self.model.config().width, self.model.head());
        let mut scores = Vec::with_capacity(texts.len());
        for (text, states) in texts.iter().zip(self.states(texts)?) {
            let mut score = 0.0;
            for (tokens, rows) in text.chunks(ROWS).zip(states.chunks(ROWS * width)) {
                let mut logits = sampler::project(head, &Rows::new(rows, width));
                let all = logits.chunks_exact_mut(head.outputs());
                for ((logits, hidden), token) in all.zip(rows.chunks_exact(width)).zip(tokens) {
                    shape(hidden, logits);
                    score += sampler::log_probability(logits, *token);
                }
            }
            scores.push(score);
        }
        Ok(scores)
    }
}

/// The model as it is.
impl Law for Reader<'_> {
    fn draw(&self, n: usize, stream: Stream) -> Result<Vec<Tokens>> {
        sampler::draw(self.model, &self.event, n, DRAWN, stream, &|_, _| ())
    }

    fn score(&self, texts: &[Tokens]) -> Result<Vec<f64>> {
        self.score(texts, &|_, _| ())
    }
}

/// The model with an adapter on its final hidden state and a bias over the vocabulary.
#[derive(Clone, Debug)]
pub struct Adapter<'a> {
    reader: &'a Reader<'a>,
    /// The head in single precision, `[vocabulary, width]`.
    head: Tensor,
    /// `A`, `[width, rank]`, 0 at first.
    up: Param,
    /// `B'`, `[rank, width]`.
    down: Param,
    /// `c`, `[vocabulary]`, 0 at first.
    bias: Param,
}

impl<'a> Adapter<'a> {
    /// A proposal that is the model itself until it is trained.
    ///
    /// # Errors
    /// None.
    pub fn new(reader: &'a Reader<'a>, rank: usize, stream: Stream) -> Result<Self> {
        let (model, width) = (reader.model, reader.model.config().width);
        let vocabulary = model.head().outputs();
        let mut head = vec![0.0; vocabulary * width];
        head.chunks_exact_mut(width).enumerate().for_each(|(v, row)| model.head().read_row(v, row));
        let down = Tensor::randn(&[rank, width], DEVIATION, &mut stream.at(0));
        Ok(Self {
            reader,
            head: Tensor::from_vec(head, &[vocabulary, width]).map_err(failed)?,
            up: Param::new("up", &Tensor::zeros(&[width, rank])),
            down: Param::new("down", &down),
            bias: Param::new("bias", &Tensor::zeros(&[vocabulary])),
        })
    }

    /// The same with `tilt` added to the logits of some tokens.
    ///
    /// # Errors
    /// Those of [`Proposal::copy`].
    pub fn tilted(&self, tokens: &[u32], tilt: f32) -> Result<Self> {
        let tilted = self.copy()?;
        tilted.bias.update(|bias| {
            for token in tokens {
                if let Some(c) = bias.get_mut(*token as usize) {
                    *c += tilt;
                }
            }
        });
        Ok(tilted)
    }

    /// What is added to the engine's logits: `(W A) (B' h) + c`. The same engine's logits serve the model and the proposal, so that before any
    /// training the two are the same law to the bit.
    fn shaped<T>(&self, work: impl FnOnce(sampler::Shape<'_>) -> Result<T>) -> Result<T> {
        let up = self.up.tensor().detach();
        // `[vocabulary, rank]`: rows of the head times A.
        let transposed = up.transpose(0, 1).map_err(failed)?;
        let wide = no_grad(|| linear(&self.head, &transposed, None)).map_err(failed)?;
        let (down, bias) = (self.down.to_vec(), self.bias.to_vec());
        let rank = self.down.shape()[0];
        let width = down.len() / rank;
        work(&|hidden: &[f32], logits: &mut [f32]| {
            let narrow: Vec<f32> = down
                .chunks_exact(width)
                .map(|row| ream_nn::simd::sum_by(width, |i| row[i] * hidden[i]))
                .collect();
            for ((logit, row), c) in logits.iter_mut().zip(wide.data().chunks_exact(rank)).zip(&bias) {
                let change: f32 = row.iter().zip(&narrow).map(|(w, x)| w * x).sum();
                *logit += change + c;
            }
        })
    }
}

impl Law for Adapter<'_> {
    fn draw(&self, n: usize, stream: Stream) -> Result<Vec<Tokens>> {
        let reader = self.reader;
        self.shaped(|shape| sampler::draw(reader.model, &reader.event, n, DRAWN, stream, shape))
    }

    fn score(&self, texts: &[Tokens]) -> Result<Vec<f64>> {
        self.shaped(|shape| self.reader.score(texts, shape))
    }
}

impl Proposal for Adapter<'_> {
    fn params(&self) -> Vec<Param> {
        vec![self.up.clone(), self.down.clone(), self.bias.clone()]
    }

    fn weighted_log_likelihood(&self, texts: &[Tokens], weights: &[f32]) -> Result<Tensor> {
        let states = self.reader.states(texts)?;
        let width = self.reader.model.config().width;
        let rows: Vec<f32> = states.iter().flat_map(|s| s.iter().copied()).collect();
        let targets: Tokens = texts.concat();
        let spread = |sign: f32| -> Vec<f32> {
            let of = |(text, w): (&Tokens, &f32)| std::iter::repeat_n((sign * w).max(0.0), text.len());
            texts.iter().zip(weights).flat_map(of).collect()
        };
        let sum = || {
            let h = Tensor::from_vec(rows, &[targets.len(), width])?;
            let narrow = linear(&h, &self.down.tensor(), None)?;
            let moved = h.add(&linear(&narrow, &self.up.tensor(), None)?)?;
            let logits = linear(&moved, &self.head, Some(&self.bias.tensor()))?;
            signed_log_likelihood(&logits, &targets, &spread(1.0), &spread(-1.0))
        };
        sum().map_err(failed)
    }

    fn copy(&self) -> Result<Self> {
        let same = |p: &Param| Param::new(p.name(), &p.tensor().detach());
        Ok(Self { up: same(&self.up), down: same(&self.down), bias: same(&self.bias), ..self.clone() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_lm::SmallConfig;
    use ream_nn::models::Decoder;
    use ream_nn::{Init, Module};

    fn model() -> Model {
        let config = SmallConfig { d: 32, layers: 2, heads: 2, context: 32, ..SmallConfig::default() };
        let decoder = Decoder::new(&Init::new(4), &config.network(40)).unwrap();
        decoder.params().iter().for_each(|p| p.update(|x| x.iter_mut().for_each(|x| *x *= 3.0)));
        Model::from_decoder(&decoder).unwrap()
    }

    fn event() -> Event {
        Event { prompt: vec![3, 1, 4], length: 6, ends: vec![0] }
    }

    #[test]
    fn before_training_the_proposal_is_the_model_to_the_bit() {
        let model = model();
        let reader = Reader::new(&model, &event());
        let adapter = Adapter::new(&reader, 4, Stream::new(1, "init")).unwrap();
        let texts = reader.draw(30, Stream::new(1, "draws")).unwrap();
        assert_eq!(adapter.draw(30, Stream::new(1, "draws")).unwrap(), texts);
        assert_eq!(adapter.score(&texts).unwrap(), reader.score(&texts, &|_, _| ()).unwrap());
        let whole: Tokens = event().prompt.iter().chain(&texts[0]).copied().collect();
        let wanted: f64 = model.score(&whole).unwrap()[2..].iter().map(|s| f64::from(*s)).sum();
        assert!((adapter.score(&texts).unwrap()[0] - wanted).abs() < 1e-4);
    }

    #[test]
    fn gradients_are_those_of_finite_differences_of_the_scores() {
        let model = model();
        let reader = Reader::new(&model, &event());
        let adapter = Adapter::new(&reader, 4, Stream::new(1, "init")).unwrap();
        adapter.up.update(|x| x.iter_mut().enumerate().for_each(|(i, x)| *x = (i % 7) as f32 * 0.02 - 0.05));
        adapter.bias.update(|x| x.iter_mut().enumerate().for_each(|(i, x)| *x = (i % 3) as f32 * 0.1));
        let texts = adapter.draw(6, Stream::new(2, "draws")).unwrap();
        let weights = [1.0, -0.5, 0.3, 0.2, -0.1, 0.7];
        let value = |a: &Adapter<'_>| -> f64 {
            a.score(&texts).unwrap().iter().zip(weights).map(|(s, w)| s * f64::from(w)).sum()
        };
        let sum = adapter.weighted_log_likelihood(&texts, &weights).unwrap();
        assert!((f64::from(sum.item().unwrap()) - value(&adapter)).abs() < 2e-3);
        let gradients = sum.backward().unwrap();
        for (which, param) in adapter.params().into_iter().enumerate() {
            let gradient = gradients.get(&param).unwrap().to_vec();
            let largest =
                (0..gradient.len()).max_by(|a, b| gradient[*a].abs().total_cmp(&gradient[*b].abs())).unwrap();
            let moved = |by: f32| {
                let other = adapter.copy().unwrap();
                other.params()[which].update(|x| x[largest] += by);
                value(&other)
            };
            let slope = (moved(5e-3) - moved(-5e-3)) / 1e-2;
            let wanted = f64::from(gradient[largest]);
            assert!((slope - wanted).abs() < 0.02 * wanted.abs() + 1e-3, "{which}: {slope} {wanted}");
        }
    }

    #[test]
    fn the_mean_of_a_over_q_is_1_also_where_texts_end_early() {
        let model = model();
        let reader = Reader::new(&model, &event());
        let adapter = Adapter::new(&reader, 4, Stream::new(1, "init")).unwrap();
        adapter.bias.update(|x| x.iter_mut().enumerate().for_each(|(i, x)| *x = (i % 3) as f32 * 0.2));
        let texts = adapter.draw(3000, Stream::new(3, "draws")).unwrap();
        assert!(texts.iter().any(|t| t.len() < 6));
        let (a, q) = (reader.score(&texts, &|_, _| ()).unwrap(), adapter.score(&texts).unwrap());
        let ratios: Vec<f64> = a.iter().zip(&q).map(|(a, q)| libm::exp(a - q)).collect();
        let mean = ratios.iter().sum::<f64>() / 3000.0;
        let se = (ratios.iter().map(|r| (r - mean) * (r - mean)).sum::<f64>() / 3000.0 / 3000.0).sqrt();
        assert!((mean - 1.0).abs() < 4.0 * se && se < 0.05, "{mean} {se}");
    }
}
