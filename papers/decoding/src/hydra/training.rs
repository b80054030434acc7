//! How draft heads are trained: the base stays as it is, its hidden states come from a [`Corpus`].
//!
//! For all positions `t` and heads `i`, head `i` is held against the text's token `x[t+1+i]`, or, distilled, against the base's own law
//! `p(. | x[<= t+i])`. Medusa weighs head `i` by `0.8^i`, Hydra equally.

use super::corpus::Corpus;
use super::heads::{Heads, Kind, failed};
use ream_lab::{Invalid, Result};
use ream_lm::llama::Model;
use ream_nn::gemm::Precision;
use ream_nn::ops::{SparseLaws, cross_entropy, soft_cross_entropy};
use ream_nn::training::{Adam, AdamConfig, Progress, Schedule, Training, train as run_training};
use ream_nn::{Module, NnError, Tensor};
use ream_rand::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// Weight of Medusa's head `i` against head `i - 1`.
const MEDUSA_DECAY: f32 = 0.8;
/// Weight decay of AdamW.
const WEIGHT_DECAY: f32 = 0.01;

/// How heads are trained, the same for all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Optimisation {
    /// Steps.
    pub steps: u64,
    /// Windows of a step.
    pub batch: usize,
    /// Highest learning rate (AdamW, cosine).
    pub learning_rate: f32,
    /// Steps of the warm-up.
    pub warmup: u64,
}

impl Optimisation {
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self, key: &str) -> std::result::Result<(), Invalid> {
        Invalid::unless_in(&format!("{key}.steps"), self.steps, 1..=1_000_000)?;
        Invalid::unless_in(&format!("{key}.batch"), self.batch, 1..=1024)?;
        Invalid::unless_in(&format!("{key}.learning_rate"), self.learning_rate, 1e-6..=0.1)?;
        Invalid::unless_in(&format!("{key}.warmup"), self.warmup, 0..=self.steps)
    }
}

/// Trains heads in place; gives the loss of every step. `report` is called after every step and may stop it.
///
/// # Errors
/// Windows too short for the heads; a loss that is not finite; what `report` says.
pub fn train(
    heads: &Heads,
    model: &Model,
    corpus: &Corpus,
    (optimisation, distil): (&Optimisation, bool),
    seed: u64,
    mut report: impl FnMut(&Progress) -> Result<()>,
) -> Result<Vec<f32>> {
    let batches = Batches::new(heads, model, corpus, seed)?;
    let mut adam = Adam::new(&heads.params(), AdamConfig::adamw(optimisation.learning_rate, WEIGHT_DECAY));
    let mut training = Training::steps(optimisation.steps)
        .schedule(Schedule::Cosine { warmup: optimisation.warmup, floor: 0.0 })
        .clip(1.0);
    training.precision = Precision::Bf16;
    let mut stopped = None;
    let summary = run_training(
        &mut adam,
        None,
        &training,
        |step, _| batches.loss(step, optimisation.batch, distil),
        |progress| match report(progress) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                stopped = Some(error);
                ControlFlow::Break(())
            }
        },
    );
    match (stopped, summary) {
        (Some(error), _) => Err(error),
        (None, summary) => Ok(summary.map_err(failed)?.losses),
    }
}

/// Batches of windows.
struct Batches<'a> {
    heads: &'a Heads,
    model: &'a Model,
    corpus: &'a Corpus,
    order: Stream,
    /// The place in the draft vocabulary of each of the base's tokens.
    place: Vec<Option<u32>>,
}

impl<'a> Batches<'a> {
    fn new(heads: &'a Heads, model: &'a Model, corpus: &'a Corpus, seed: u64) -> Result<Self> {
        let needed = heads.shape().heads + 2;
        if corpus.window < needed {
            let wanted = format!("windows of at least {needed} tokens for {} heads", needed - 2);
            return Err(Invalid::new("the training text", wanted, corpus.window.to_string()).into());
        }
        let mut place = vec![None; heads.base().vocabulary];
        for (i, token) in heads.vocabulary().iter().enumerate() {
            place[*token as usize] = Some(i as u32);
        }
        Ok(Self { heads, model, corpus, order: Stream::new(seed, "order of windows"), place })
    }

    /// Windows of a step: every window comes once before one comes again.
    fn windows(&self, step: u64, batch: usize) -> Vec<usize> {
        let n = self.corpus.windows();
        (step as usize * batch..(step as usize + 1) * batch)
            .map(|k| {
                let mut order: Vec<usize> = (0..n).collect();
                self.order.at((k / n) as u64).shuffle(&mut order);
                order[k % n]
            })
            .collect()
    }

    fn loss(&self, step: u64, batch: usize, distil: bool) -> ream_nn::Result<Tensor> {
        let windows = self.windows(step, batch);
        let (count, d) = (self.heads.shape().heads, self.heads.base().d);
        // Positions whose last target is in the window.
        let time = self.corpus.window - count - 1;
        let rows = windows.len() * time;
        let scales = self.heads.scales();
        let mut states = Vec::with_capacity(rows * d);
        windows.iter().for_each(|w| self.corpus.states(*w, time, scales.states, &mut states));
        let states = Tensor::from_vec(states, &[windows.len(), time, d])?;
        let states = self.heads.summarise(&states).map_err(stop)?.reshape(&[rows, d])?;
        let embeddings = match self.heads.shape().kind {
            Kind::Medusa => Vec::new(),
            Kind::Hydra => (1..=count)
                .map(|ahead| self.embeddings(&windows, time, ahead, scales.embeddings))
                .collect::<ream_nn::Result<_>>()?,
        };
        let mut total: Option<Tensor> = None;
        let mut weight = 1.0;
        for i in 0..count {
            let logits = self.heads.logits(i, &states, &embeddings).map_err(stop)?;
            let loss = if distil {
                soft_cross_entropy(&logits, self.laws(&windows, time, i))?
            } else {
                self.text_loss(&logits, &windows, time, i)?
            };
            if self.heads.shape().kind == Kind::Medusa {
                weight *= MEDUSA_DECAY;
            }
            let loss = loss.mul_scalar(weight);
            total = Some(match total {
                None => loss,
                Some(sum) => sum.add(&loss)?,
            });
        }
        total.ok_or(NnError::Stopped(step))
    }

    /// Embeddings of the tokens `ahead` of each position, `[rows, d]`.
    fn embeddings(
        &self,
        windows: &[usize],
        time: usize,
        ahead: usize,
        scale: f32,
    ) -> ream_nn::Result<Tensor> {
        let d = self.heads.base().d;
        let mut out = vec![0.0; windows.len() * time * d];
        for (w, part) in windows.iter().zip(out.chunks_exact_mut(time * d)) {
            let tokens = &self.corpus.tokens(*w)[ahead..];
            for (token, row) in tokens.iter().zip(part.chunks_exact_mut(d)) {
                self.model.embed(*token, row).map_err(|_| NnError::Stopped(0))?;
                row.iter_mut().for_each(|x| *x /= scale);
            }
        }
        Tensor::from_vec(out, &[windows.len() * time, d])
    }

    /// Against the text: tokens outside the draft vocabulary count for nothing.
    fn text_loss(
        &self,
        logits: &Tensor,
        windows: &[usize],
        time: usize,
        i: usize,
    ) -> ream_nn::Result<Tensor> {
        let (mut targets, mut weights) = (Vec::new(), Vec::new());
        for w in windows {
            for token in &self.corpus.tokens(*w)[i + 2..i + 2 + time] {
                let place = self.place[*token as usize];
                targets.push(place.unwrap_or(0));
                weights.push(if place.is_some() { 1.0 } else { 0.0 });
            }
        }
        cross_entropy(logits, &targets, Some(&weights))
    }

    /// The base's laws of the token that head `i` guesses, in places of the draft vocabulary; what lies outside it is left out.
    fn laws(&self, windows: &[usize], time: usize, i: usize) -> SparseLaws {
        let mut soft = SparseLaws { starts: vec![0], places: Vec::new(), probabilities: Vec::new() };
        for w in windows {
            for t in 0..time {
                for (token, p) in self.corpus.law(*w, t + i + 1) {
                    if let Some(place) = self.place[token as usize].filter(|_| p > 0.0) {
                        soft.places.push(place);
                        soft.probabilities.push(p);
                    }
                }
                soft.starts.push(soft.places.len());
            }
        }
        soft
    }
}

fn stop(_: ream_lab::Error) -> NnError {
    NnError::Stopped(0)
}
