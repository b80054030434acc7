//! Directions and vectors that are trained by the model's own outputs: the paper's objective and those it is compared with.

use std::ops::ControlFlow;

use ream_lab::{Error, Result};
use ream_nn::ops::{concat, cross_entropy, linear};
use ream_nn::training::{Adam, AdamConfig, Progress, Schedule, Training, train};
use ream_nn::{NnError, Param, Tensor, no_grad};
use ream_rand::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::contrast::{Contrast, Direction, random_basis, root_mean_square};
use super::divergence::{Divergence, divergence};
use super::steering::orthonormalise;
use super::subject::{Packed, Subject, TextRun, failed};

/// What a training does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Steps of every trained method.
    pub steps: u64,
    /// Pairs of a step; each counts in both directions.
    pub batch: usize,
    /// Learning rate of directions, which have norm 1 (AdamW, linear decay).
    pub rate: f64,
    /// Learning rate of added vectors, in units of the residual stream's root mean square.
    pub additive_rate: f64,
    /// Directions that are intervened on.
    pub rank: usize,
    /// Factor of the preference losses (SimPO's beta).
    pub beta: f64,
    /// Margin of the preference losses.
    pub margin: f64,
}

/// What is made small.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// The paper's and its variants: the intervened law should be the source's law.
    Match(Divergence),
    /// Distributed alignment search with cross entropy: the answer should be likely after the interchange.
    Answer,
    /// The right answer should be preferred to the wrong one after the interchange.
    Prefer,
    /// An added vector makes the answer likely (ReFT with one bias, trained as a language model).
    AddedAnswer,
    /// A vector, added or subtracted, makes the right answer preferred to the wrong one (as RePS, both directions).
    AddedPrefer,
}

impl Objective {
    /// Whether a vector is added, instead of directions exchanged.
    #[must_use]
    pub fn adds(self) -> bool {
        matches!(self, Self::AddedAnswer | Self::AddedPrefer)
    }
}

/// What a training leaves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trained {
    /// `[rank, width]` orthonormal directions, or `[width]` a vector to add.
    pub rows: Vec<f32>,
    /// The loss of every step.
    pub losses: Vec<f32>,
}

/// The distributed interchange: `h_i + V'(V source - V h_i)` for every row `i` but the first of each text. `states` `[texts, time, width]`, `sources`
/// `[texts, width]`, `basis` `[rank, width]` of orthonormal rows.
///
/// # Errors
/// When shapes do not fit.
pub fn interchange(states: &Tensor, sources: &Tensor, basis: &Tensor) -> ream_nn::Result<Tensor> {
    let (texts, time) = (states.shape()[0], states.shape()[1]);
    let rank = basis.shape()[0];
    let wanted = linear(sources, basis, None)?.reshape(&[texts, 1, rank])?;
    let mut later = vec![1.0; time];
    later.iter_mut().take(1).for_each(|first| *first = 0.0);
    let later = Tensor::from_vec(later, &[1, time, 1])?;
    let missing = wanted.sub(&linear(states, basis, None)?)?.mul(&later)?;
    states.add(&linear(&missing, &basis.transpose(0, 1)?, None)?)
}

/// `h_i + sign a` for every row but the first of each text; a sign for each text.
///
/// # Errors
/// When shapes do not fit.
pub fn addition(states: &Tensor, vector: &Tensor, signs: &[f32]) -> ream_nn::Result<Tensor> {
    let time = states.shape()[1];
    let factors = signs.iter().flat_map(|sign| (0..time).map(move |i| if i == 0 { 0.0 } else { *sign }));
    let factors = Tensor::from_vec(factors.collect(), &[signs.len(), time, 1])?;
    states.add(&linear(&factors, &vector.reshape(&[vector.len(), 1])?, None)?)
}

/// The pairs of a step: each pair comes once in a round of all, in an order that is drawn for the round.
fn pairs_of(step: u64, batch: usize, pairs: usize, stream: Stream) -> Vec<usize> {
    (0..batch as u64)
        .map(|i| {
            let at = step * batch as u64 + i;
            let mut order: Vec<usize> = (0..pairs).collect();
            stream.at(at / pairs as u64).shuffle(&mut order);
            order[(at % pairs as u64) as usize]
        })
        .collect()
}

/// A step's texts, the direction of each, and what is said of them.
struct Step<'a> {
    subject: &'a Subject<'a>,
    settings: &'a Settings,
    /// Which pair, in which direction.
    all: Vec<(&'a Contrast, Direction)>,
}

impl Step<'_> {
    fn texts(&self, of: impl Fn(&Contrast, Direction) -> &TextRun) -> Result<Packed> {
        Packed::new(&self.all.iter().map(|(c, d)| of(c, *d)).collect::<Vec<_>>())
    }

    /// Logits of the packed rows, after the interchange or the addition.
    fn logits(&self, packed: &Packed, param: &Tensor, adds: bool) -> Result<Tensor> {
        let moved = if adds {
            let signs: Vec<f32> =
                self.all.iter().map(|(_, d)| if *d == Direction::Add { 1.0 } else { -1.0 }).collect();
            addition(&packed.states, param, &signs)
        } else {
            let width = self.subject.width();
            let headers: Vec<f32> =
                self.all.iter().flat_map(|(c, d)| c.source(*d).header()).copied().collect();
            Tensor::from_vec(headers, &[self.all.len(), width])
                .and_then(|sources| interchange(&packed.states, &sources, param))
        };
        self.subject.head(&self.subject.hidden(&moved.map_err(failed)?, &packed.rows)?)
    }

    /// Mean log-probability of each text's answer.
    fn likelihoods(&self, packed: &Packed, param: &Tensor, adds: bool) -> Result<Vec<Tensor>> {
        let logits = self.logits(packed, param, adds)?;
        let mut at = 0;
        let mut all = Vec::with_capacity(packed.lengths.len());
        for (length, answer) in packed.lengths.iter().zip(&packed.answers) {
            let rows = logits.narrow(0, at, *length);
            all.push(rows.and_then(|rows| cross_entropy(&rows, answer, None)).map_err(failed)?.neg());
            at += length;
        }
        Ok(all)
    }

    fn loss(&self, objective: Objective, param: &Tensor) -> Result<Tensor> {
        let base = self.texts(Contrast::base)?;
        let adds = objective.adds();
        match objective {
            Objective::Match(kind) => {
                let laws: Vec<&Tensor> = self.all.iter().map(|(c, d)| c.law(*d)).collect();
                let wanted = no_grad(|| {
                    concat(&laws, 0).map_err(failed).and_then(|hidden| self.subject.head(&hidden))
                })?;
                let logits = self.logits(&base, param, adds)?;
                divergence(kind, &logits, &wanted, &base.weights()).map_err(failed)
            }
            Objective::Answer | Objective::AddedAnswer => {
                let logits = self.logits(&base, param, adds)?;
                let answers = base.answers.concat();
                cross_entropy(&logits, &answers, Some(&base.weights())).map_err(failed)
            }
            Objective::Prefer | Objective::AddedPrefer => {
                let right = self.likelihoods(&base, param, adds)?;
                let wrong = self.likelihoods(&self.texts(Contrast::wrong)?, param, adds)?;
                self.preference(&right, &wrong)
            }
        }
    }

    /// Mean of `-ln sigmoid(beta (right - wrong) - margin)` over pairs of mean log-probabilities.
    fn preference(&self, right: &[Tensor], wrong: &[Tensor]) -> Result<Tensor> {
        let (beta, margin) = (self.settings.beta as f32, self.settings.margin as f32);
        let mut total: Option<Tensor> = None;
        for (right, wrong) in right.iter().zip(wrong) {
            let one = right.sub(wrong).map_err(failed)?.affine(-beta, margin).softplus();
            total = Some(match total {
                Some(sum) => sum.add(&one).map_err(failed)?,
                None => one,
            });
        }
        let total = total.ok_or_else(|| failed("a step without pairs"))?;
        Ok(total.mul_scalar(1.0 / right.len().max(1) as f32))
    }
}

/// The loss of one step on these pairs and directions, as it is trained.
///
/// # Errors
/// When shapes do not fit.
pub fn loss(
    subject: &Subject<'_>,
    settings: &Settings,
    objective: Objective,
    all: Vec<(&Contrast, Direction)>,
    param: &Tensor,
) -> Result<Tensor> {
    Step { subject, settings, all }.loss(objective, param)
}

/// Trains directions or a vector on contrast pairs.
///
/// # Errors
/// A loss that is not finite; the errors of `told`, which is given the share done.
pub fn fit(
    subject: &Subject<'_>,
    contrasts: &[Contrast],
    objective: Objective,
    settings: &Settings,
    stream: Stream,
    told: &mut dyn FnMut(f64) -> Result<()>,
) -> Result<Trained> {
    let width = subject.width();
    let (param, rate) = if objective.adds() {
        let rate = settings.additive_rate * root_mean_square(contrasts);
        (Param::new("vector", &Tensor::zeros(&[width])), rate)
    } else {
        let first = random_basis(settings.rank, width, stream.child(0));
        let first = Tensor::from_vec(first, &[settings.rank, width]).map_err(failed)?;
        (Param::new("basis", &first), settings.rate)
    };
    // Only one direction has an answer that is to be made likely by adding.
    let directions =
        if objective == Objective::AddedAnswer { &Direction::BOTH[..1] } else { &Direction::BOTH[..] };
    let mut adam = Adam::new(std::slice::from_ref(&param), AdamConfig::adamw(rate as f32, 0.01));
    let training =
        Training::steps(settings.steps).schedule(Schedule::Linear { warmup: 0, floor: 0.0 }).clip(1.0);
    let mut problem: Option<Error> = None;
    let mut losses = Vec::new();
    let outcome = {
        let problem = std::cell::RefCell::new(&mut problem);
        train(
            &mut adam,
            None,
            &training,
            |step, _| {
                let pairs = pairs_of(step, settings.batch, contrasts.len(), stream.child(1));
                let all =
                    pairs.iter().flat_map(|i| directions.iter().map(move |d| (&contrasts[*i], *d))).collect();
                loss(subject, settings, objective, all, &param.tensor()).map_err(|error| {
                    let stopped = NnError::Value { operation: "intervention", problem: error.to_string() };
                    problem.borrow_mut().get_or_insert(error);
                    stopped
                })
            },
            |progress: &Progress| {
                if !objective.adds() {
                    param.update(|basis| orthonormalise(basis, width));
                }
                losses.push(progress.loss);
                match told(progress.step as f64 / settings.steps.max(1) as f64) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        problem.borrow_mut().get_or_insert(error);
                        ControlFlow::Break(())
                    }
                }
            },
        )
    };
    match (problem, outcome) {
        (Some(error), _) => Err(error),
        (None, Err(error)) => Err(failed(error)),
        (None, Ok(_)) => Ok(Trained { rows: param.to_vec(), losses }),
    }
}
