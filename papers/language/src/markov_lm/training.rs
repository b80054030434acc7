//! Training of a backbone on one of the objectives: the same first weights, batches, optimiser and steps for all of them.

use super::model::{Model, Shape};
use super::objectives::{Objective, multiclass_hinge, smoothed_cross_entropy, spectral_contrastive};
use super::sources::{Source, arg_max};
use ream_lab::{Error, Invalid, Result};
use ream_nn::training::{Adam, AdamConfig, Schedule, Training, train};
use ream_nn::{Init, Module, NnError, Tensor, ops};
use ream_rand::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;

/// Largest norm of all gradients together.
const CLIP: f32 = 1.0;
/// AdamW's weight decay.
const WEIGHT_DECAY: f32 = 0.01;

/// How a backbone is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Optimisation {
    /// Steps, each on a fresh batch.
    pub steps: u64,
    /// Windows of a batch.
    pub batch: usize,
    /// Highest rate of AdamW; it rises over the first twentieth of the steps and falls as half a cosine to 0.
    pub learning_rate: f64,
    /// What label smoothing takes from the target.
    pub smoothing: f64,
}

impl Optimisation {
    /// Ranges.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self) -> Result<(), Invalid> {
        Invalid::unless_in("training.steps", self.steps, 1..=1_000_000)?;
        Invalid::unless_in("training.batch", self.batch, 2..=4096)?;
        Invalid::unless_in("training.learning_rate", self.learning_rate, 1e-6..=1.0)?;
        Invalid::unless_in("training.smoothing", self.smoothing, 0.0..=0.9)
    }
}

/// A source with everything that decides its trainings.
#[derive(Clone, Copy)]
pub struct Setup<'a> {
    /// Where tokens come from.
    pub source: &'a dyn Source,
    /// The transformer.
    pub shape: &'a Shape,
    /// The optimiser.
    pub optimisation: &'a Optimisation,
    /// Seed of the first weights.
    pub seed: u64,
    /// Random numbers of the batches.
    pub batches: Stream,
}

/// Error of the networks as one of the lab.
pub(crate) fn failed(error: impl std::fmt::Display) -> Error {
    Error::failed(error.to_string())
}

impl Setup<'_> {
    /// The model before training. Features of the spectral objective are as wide as the hidden state.
    ///
    /// # Errors
    /// A shape that makes no transformer.
    pub fn untrained(&self, objective: Objective) -> Result<Model> {
        let tokens = self.source.tokens();
        let outputs = if objective == Objective::Spectral { self.shape.d } else { tokens };
        let init = Init::new(self.seed).at(self.source.name());
        Model::new(&init, self.shape, tokens, outputs).map_err(failed)
    }

    /// The batch of a step: windows one token longer than the context.
    fn batch(&self, step: u64) -> Vec<Vec<u32>> {
        let mut rng = self.batches.at(step);
        let length = self.shape.window + 1;
        (0..self.optimisation.batch).map(|_| self.source.window(length, false, &mut rng)).collect()
    }

    fn loss(&self, objective: Objective, model: &Model, step: u64) -> ream_nn::Result<Tensor> {
        let windows = self.batch(step);
        let time = self.shape.window;
        let inputs: Vec<u32> = windows.iter().flat_map(|w| w[..time].to_vec()).collect();
        let next: Vec<u32> = windows.iter().flat_map(|w| w[1..].to_vec()).collect();
        let outputs = model.read_out(&model.hidden(&inputs, [windows.len(), time])?)?;
        match objective {
            Objective::Nll => ops::cross_entropy(&outputs, &next, None),
            Objective::Smoothed => {
                smoothed_cross_entropy(&outputs, &next, self.optimisation.smoothing as f32)
            }
            Objective::Hinge => multiclass_hinge(&outputs, &next),
            // Windows are independent, so the two halves of the batch are.
            Objective::Spectral => spectral_contrastive(&outputs, &next, windows.len() / 2 * time),
            Objective::Squared => ops::mse(&outputs, &likely(self.source, &windows, time, outputs.shape())?),
        }
    }

    /// Trains. `watch` sees the model before the first step and after the steps of `stops` (ascending); `progress` is told
    /// the number of finished steps and may stop the training.
    ///
    /// # Errors
    /// A loss that is not finite; the errors of `watch` and `progress`.
    pub fn train(
        &self,
        objective: Objective,
        stops: &[u64],
        mut watch: impl FnMut(u64, &Model) -> Result<()>,
        mut progress: impl FnMut(u64) -> Result<()>,
    ) -> Result<Model> {
        let model = self.untrained(objective)?;
        if stops.first() == Some(&0) {
            watch(0, &model)?;
        }
        let steps = self.optimisation.steps;
        let settings = AdamConfig::adamw(self.optimisation.learning_rate as f32, WEIGHT_DECAY);
        let mut optimiser = Adam::new(&model.params(), settings);
        let schedule = Schedule::Cosine { warmup: steps / 20, floor: 0.0 };
        let training = Training::steps(steps).schedule(schedule).clip(CLIP);
        let mut stopped = None;
        let trained = train(
            &mut optimiser,
            None,
            &training,
            |step, _| self.loss(objective, &model, step),
            |now| {
                let seen = if stops.contains(&now.step) { watch(now.step, &model) } else { Ok(()) };
                match seen.and_then(|()| progress(now.step)) {
                    Ok(()) => ControlFlow::Continue(()),
                    Err(error) => {
                        stopped = Some(error);
                        ControlFlow::Break(())
                    }
                }
            },
        );
        match (stopped, trained) {
            (Some(error), _) => Err(error),
            (None, Ok(_)) => Ok(model),
            (None, Err(NnError::NotFinite { step, place, .. })) => Err(Error::failed(format!(
                "{objective} on {}: the training diverged at step {step}{place}; a smaller training.learning_rate helps",
                self.source.name()
            ))),
            (None, Err(error)) => Err(failed(error)),
        }
    }
}

/// Indicators of the most likely next token under the true law; of the sampled one where no law is known.
fn likely(
    source: &dyn Source,
    windows: &[Vec<u32>],
    time: usize,
    shape: &[usize],
) -> ream_nn::Result<Tensor> {
    let tokens = source.tokens();
    let mut targets = vec![0.0; windows.len() * time * tokens];
    for (x, window) in windows.iter().enumerate() {
        for (t, law) in source.laws(&window[..time]).into_iter().enumerate() {
            let label = law.map_or(window[t + 1] as usize, |law| arg_max(&law));
            targets[(x * time + t) * tokens + label] = 1.0;
        }
    }
    Tensor::from_vec(targets, shape)
}

#[cfg(test)]
mod tests {
    use super::super::sources::Markov;
    use super::*;

    fn optimisation(steps: u64) -> Optimisation {
        Optimisation { steps, batch: 16, learning_rate: 3e-3, smoothing: 0.2 }
    }

    fn with_setup<T>(steps: u64, work: impl FnOnce(Setup<'_>) -> T) -> T {
        let source = Markov::low_rank(6, 3, 0.3, Stream::new(1, "source")).unwrap();
        let shape = Shape { d: 16, layers: 1, heads: 2, window: 8 };
        let optimisation = optimisation(steps);
        work(Setup {
            source: &source,
            shape: &shape,
            optimisation: &optimisation,
            seed: 1,
            batches: Stream::new(1, "batches"),
        })
    }

    #[test]
    fn every_objective_falls() {
        with_setup(150, |setup| {
            for objective in [
                Objective::Nll,
                Objective::Spectral,
                Objective::Hinge,
                Objective::Smoothed,
                Objective::Squared,
            ] {
                let loss = |model: &Model| {
                    (1000..1005)
                        .map(|s| setup.loss(objective, model, s).unwrap().item().unwrap())
                        .sum::<f32>()
                };
                let before = loss(&setup.untrained(objective).unwrap());
                let model = setup.train(objective, &[], |_, _| Ok(()), |_| Ok(())).unwrap();
                assert!(
                    loss(&model) < before - 0.05 * before.abs(),
                    "{objective}: {} of {before}",
                    loss(&model)
                );
            }
        });
    }

    #[test]
    fn stops_are_seen_and_a_training_can_be_cancelled() {
        with_setup(20, |setup| {
            let mut seen = Vec::new();
            let watch = |step, _: &Model| {
                seen.push(step);
                Ok(())
            };
            setup.train(Objective::Nll, &[0, 5, 20], watch, |_| Ok(())).unwrap();
            assert_eq!(seen, [0, 5, 20]);
            let stop = |step| if step == 7 { Err(Error::Cancelled) } else { Ok(()) };
            let error = setup.train(Objective::Nll, &[], |_, _| Ok(()), stop).unwrap_err();
            assert!(matches!(error, Error::Cancelled));
        });
    }

    #[test]
    fn the_same_setup_gives_the_same_bits() {
        with_setup(10, |setup| {
            let train = || setup.train(Objective::Hinge, &[], |_, _| Ok(()), |_| Ok(())).unwrap().snapshot();
            assert_eq!(train(), train());
        });
    }
}
