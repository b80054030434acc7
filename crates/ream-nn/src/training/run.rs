//! The training loop: schedule, accumulation, clipping, averages, checkpoints, and what to do when a number is not finite.

use std::ops::ControlFlow;
use std::path::PathBuf;

use crate::error::{NnError, Result};
use crate::gemm::{Precision, with_precision};
use crate::tensor::Tensor;
use crate::training::checkpoint::Checkpoint;
use crate::training::ema::Ema;
use crate::training::optim::Optimiser;
use crate::training::schedule::Schedule;

/// How to train.
#[derive(Clone, Debug)]
pub struct Training {
    /// Number of steps.
    pub steps: u64,
    /// How the learning rate moves.
    pub schedule: Schedule,
    /// Largest norm of all gradients together.
    pub clip: Option<f32>,
    /// Batches whose gradients are averaged in one step, at least 1.
    pub accumulate: usize,
    /// Precision of the matrix products.
    pub precision: Precision,
    /// Where and how often to save; also where to go on from.
    pub saving: Option<Saving>,
}

impl Training {
    /// So many steps at a constant rate in f32, one batch each, gradients as they are.
    #[must_use]
    pub fn steps(steps: u64) -> Self {
        Self {
            steps,
            schedule: Schedule::Constant,
            clip: None,
            accumulate: 1,
            precision: Precision::F32,
            saving: None,
        }
    }

    /// The same with this schedule.
    #[must_use]
    pub fn schedule(self, schedule: Schedule) -> Self {
        Self { schedule, ..self }
    }

    /// The same with gradients cut to this norm.
    #[must_use]
    pub fn clip(self, norm: f32) -> Self {
        Self { clip: Some(norm), ..self }
    }
}

/// A checkpoint file that a training writes, and goes on from when it is there.
#[derive(Clone, Debug)]
pub struct Saving {
    /// The file.
    pub path: PathBuf,
    /// Every so many steps, and at the end.
    pub every: u64,
    /// What decides the model, as JSON: a file of another configuration is refused.
    pub config: serde_json::Value,
    /// The seed: a file of another seed is refused.
    pub seed: u64,
    /// Hash or name of the data: a file of other data is refused.
    pub data: String,
}

/// Where a training stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// Finished steps.
    pub step: u64,
    /// Number of steps.
    pub steps: u64,
    /// Mean loss of this step's batches.
    pub loss: f32,
    /// Norm of all gradients, before clipping; only computed when clipping.
    pub gradient_norm: Option<f64>,
    /// Learning rate of this step.
    pub learning_rate: f32,
}

/// What a training did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// Loss of every step that was run here.
    pub losses: Vec<f32>,
    /// Step that the checkpoint gave, 0 without one.
    pub resumed_at: u64,
}

/// Trains: `loss(step, part)` is the loss of one batch, a scalar; its data must depend on `step` and `part` only, so that a
/// training that goes on from a checkpoint sees the same batches. `report` is called after every step and may stop it.
///
/// Stopped and finished trainings leave a checkpoint when there is a [`Saving`]; the learning rate, the order of batches and every bit
/// of the weights are those of a training that was never stopped.
///
/// # Errors
/// [`NnError::NotFinite`] when a loss or a gradient is not finite, with step and layer: the weights and the checkpoint stay those of
/// the last good step. [`NnError::Stopped`] when `report` breaks. A checkpoint that does not fit; the errors of `loss`.
pub fn train(
    optimiser: &mut dyn Optimiser,
    mut ema: Option<&mut Ema>,
    training: &Training,
    mut loss: impl FnMut(u64, usize) -> Result<Tensor>,
    mut report: impl FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Summary> {
    let begin = resume(optimiser, ema.as_deref_mut(), training)?;
    let mut summary = Summary { losses: Vec::new(), resumed_at: begin };
    for step in begin..training.steps {
        let factor = training.schedule.factor(step, training.steps);
        let outcome =
            with_precision(training.precision, || one_step(optimiser, training, step, factor, &mut loss));
        let (value, gradient_norm) = match outcome {
            Ok(done) => done,
            Err(error) => {
                save(optimiser, ema.as_deref(), training, step)?;
                return Err(error);
            }
        };
        if let Some(ema) = ema.as_deref_mut() {
            ema.update();
        }
        summary.losses.push(value);
        let done = step + 1;
        let learning_rate = optimiser.learning_rate() * factor;
        let progress =
            Progress { step: done, steps: training.steps, loss: value, gradient_norm, learning_rate };
        let stop = report(&progress).is_break() && done < training.steps;
        let due = training.saving.as_ref().is_some_and(|s| done.is_multiple_of(s.every.max(1)));
        if stop || due || done == training.steps {
            save(optimiser, ema.as_deref(), training, done)?;
        }
        if stop {
            return Err(NnError::Stopped(done));
        }
    }
    Ok(summary)
}

fn one_step(
    optimiser: &mut dyn Optimiser,
    training: &Training,
    step: u64,
    factor: f32,
    loss: &mut impl FnMut(u64, usize) -> Result<Tensor>,
) -> Result<(f32, Option<f64>)> {
    let parts = training.accumulate.max(1);
    let mut total = 0.0;
    let mut sum = None;
    for part in 0..parts {
        let batch = loss(step, part)?;
        let value = batch.item()?;
        if !value.is_finite() {
            let place = batch.first_not_finite(optimiser.params());
            return Err(not_finite("loss", step, place));
        }
        total += value;
        let gradients = batch.backward()?;
        drop(batch);
        sum = Some(match sum {
            None => gradients,
            Some(mut before) => {
                crate::autograd::Gradients::merge(&mut before, optimiser.params(), gradients);
                before
            }
        });
    }
    let Some(mut gradients) = sum else { return Ok((total, None)) };
    if parts > 1 {
        gradients.scale(optimiser.params(), 1.0 / parts as f32);
    }
    let norm = match training.clip {
        Some(limit) => gradients.clip_norm(optimiser.params(), limit),
        None => gradients.norm(optimiser.params()),
    };
    if !norm.is_finite() {
        let broken =
            |p: &&crate::param::Param| gradients.get(p).is_some_and(|g| g.iter().any(|x| !x.is_finite()));
        let place = optimiser.params().iter().rev().find(broken).map(|p| format!("parameter `{}`", p.name()));
        return Err(not_finite("gradient", step, place));
    }
    optimiser.step(&gradients, factor);
    Ok((total / parts as f32, training.clip.map(|_| norm)))
}

fn not_finite(what: &'static str, step: u64, place: Option<String>) -> NnError {
    NnError::NotFinite { what, step, place: place.map(|p| format!("; first in {p}")).unwrap_or_default() }
}

fn save(optimiser: &dyn Optimiser, ema: Option<&Ema>, training: &Training, step: u64) -> Result<()> {
    let Some(saving) = &training.saving else { return Ok(()) };
    let mut checkpoint = Checkpoint::of(&saving.config, saving.seed, &saving.data, step, optimiser.params())?;
    checkpoint.add(optimiser.state()?);
    if let Some(ema) = ema {
        checkpoint.add(ema.state()?);
    }
    checkpoint.write(&saving.path)
}

fn resume(optimiser: &mut dyn Optimiser, ema: Option<&mut Ema>, training: &Training) -> Result<u64> {
    let Some(saving) = training.saving.as_ref().filter(|s| s.path.exists()) else { return Ok(0) };
    let found = Checkpoint::read(&saving.path)?;
    found.expect_config(&saving.path, &saving.config)?;
    let problem = |problem: String| NnError::Checkpoint { path: saving.path.clone(), problem };
    if found.seed != saving.seed {
        return Err(problem(format!("is of seed {}, {} is wanted", found.seed, saving.seed)));
    }
    if found.data != saving.data {
        return Err(problem(format!("is of other data (`{}`, `{}` is wanted)", found.data, saving.data)));
    }
    if found.step > training.steps {
        return Err(problem(format!("stands at step {}, the training has {}", found.step, training.steps)));
    }
    let missing = |error: NnError| match error {
        NnError::State(name) => {
            problem(format!("holds no `{name}` of the right size: another optimiser wrote it"))
        }
        NnError::Checkpoint { problem: text, .. } => problem(text),
        other => other,
    };
    found.restore(optimiser.params()).map_err(missing)?;
    optimiser.load(&found.tensors).map_err(missing)?;
    if let Some(ema) = ema {
        ema.load(&found.tensors).map_err(missing)?;
    }
    Ok(found.step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layers::Mlp;
    use crate::ops;
    use crate::param::{Init, Module};
    use crate::training::{Adam, AdamConfig};
    use ream_rand::Stream;

    fn batch(step: u64, part: usize) -> (Tensor, Tensor) {
        let mut rng = Stream::new(5, "batch").child(part as u64).at(step);
        let x = Tensor::randn(&[16, 4], 1.0, &mut rng);
        let y = x.square().sum_axis(1).unwrap().mul_scalar(0.3).broadcast_to(&[16, 4]).unwrap();
        (x, y)
    }

    struct Setup {
        model: Mlp,
        adam: Adam,
        ema: Ema,
        training: Training,
    }

    fn setup(path: Option<PathBuf>) -> Setup {
        let model = Mlp::new(&Init::new(1).at("net"), 4, 16, true);
        let adam = Adam::new(&model.params(), AdamConfig { learning_rate: 0.01, ..AdamConfig::default() });
        let ema = Ema::new(&model.params(), 0.9);
        let saving = path.map(|path| Saving {
            path,
            every: 7,
            config: serde_json::json!({ "hidden": 16 }),
            seed: 1,
            data: "made".into(),
        });
        let schedule = Schedule::Cosine { warmup: 5, floor: 0.1 };
        let training = Training { saving, accumulate: 2, ..Training::steps(40).schedule(schedule).clip(1.0) };
        Setup { model, adam, ema, training }
    }

    fn go(s: &mut Setup, stop_at: u64) -> Result<Summary> {
        let model = &s.model;
        train(
            &mut s.adam,
            Some(&mut s.ema),
            &s.training,
            |step, part| {
                let (x, y) = batch(step, part);
                ops::mse(&model.forward(&x)?, &y)
            },
            |p| if p.step == stop_at { ControlFlow::Break(()) } else { ControlFlow::Continue(()) },
        )
    }

    fn weights(s: &mut Setup) -> Vec<Vec<f32>> {
        let read = |s: &Setup| s.model.params().iter().map(crate::param::Param::to_vec).collect::<Vec<_>>();
        let mut all = read(s);
        s.ema.swap();
        all.extend(read(s));
        s.ema.swap();
        all
    }

    #[test]
    fn a_stopped_training_goes_on_to_the_same_bits() {
        let mut whole = setup(None);
        let summary = go(&mut whole, 0).unwrap();
        assert!(summary.losses[39] < 0.5 * summary.losses[0], "{:?}", summary.losses);
        let dir = tempfile::tempdir().unwrap();
        for stop in [1, 7, 20] {
            let path = dir.path().join(format!("{stop}.safetensors"));
            let mut first = setup(Some(path.clone()));
            assert!(matches!(go(&mut first, stop), Err(NnError::Stopped(at)) if at == stop));
            let mut second = setup(Some(path));
            assert_eq!(go(&mut second, 0).unwrap().resumed_at, stop);
            assert_eq!(weights(&mut second), weights(&mut whole), "stopped at {stop}");
        }
    }

    #[test]
    fn other_configuration_seed_or_data_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.safetensors");
        let _ = go(&mut setup(Some(path.clone())), 3);
        type Change = fn(&mut Saving);
        let changes: [(Change, &str); 3] = [
            (|s| s.config = serde_json::json!({ "hidden": 8 }), "hidden: 16 there, 8 wanted"),
            (|s| s.seed = 2, "is of seed 1, 2 is wanted"),
            (|s| s.data = "other".into(), "is of other data"),
        ];
        for (change, wanted) in changes {
            let mut s = setup(Some(path.clone()));
            change(s.training.saving.as_mut().unwrap());
            let error = go(&mut s, 0).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }

    #[test]
    fn a_loss_that_is_not_finite_names_step_and_layer_and_keeps_the_last_good_weights() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n.safetensors");
        let mut s = setup(Some(path.clone()));
        let model = s.model.clone();
        let error = train(
            &mut s.adam,
            Some(&mut s.ema),
            &s.training,
            |step, part| {
                let (x, y) = batch(step, part);
                let x = if step == 9 { x.mul_scalar(1e30).square() } else { x };
                ops::mse(&model.forward(&x)?, &y)
            },
            |_| ControlFlow::Continue(()),
        )
        .unwrap_err();
        let text = error.to_string();
        assert!(text.contains("loss is not finite at step 9") && text.contains("`net.up.weight`"), "{text}");
        let kept = Checkpoint::read(&path).unwrap();
        assert_eq!(kept.step, 9);
        assert!(kept.tensors.values().all(|t| t.data().iter().all(|x| x.is_finite())));
        let mut other = setup(Some(path));
        assert_eq!(go(&mut other, 0).unwrap().resumed_at, 9);
    }

    #[test]
    fn a_gradient_that_is_not_finite_names_a_parameter() {
        let mut s = setup(None);
        let p = s.model.params()[3].clone();
        p.update(|x| x.fill(0.0));
        let error = train(
            &mut s.adam,
            None,
            &Training::steps(3),
            |_, _| Ok(p.tensor().abs().add_scalar(0.0).sqrt().sum()),
            |_| ControlFlow::Continue(()),
        )
        .unwrap_err()
        .to_string();
        assert!(
            error.contains("gradient is not finite at step 0; first in parameter `net.down.bias`"),
            "{error}"
        );
    }

    #[test]
    fn accumulated_gradients_are_those_of_the_whole_batch() {
        let (model, x) = (
            Mlp::new(&Init::new(2), 4, 8, true),
            Tensor::randn(&[8, 4], 1.0, &mut Stream::new(1, "x").at(0)),
        );
        let params = model.params();
        let loss = |x: &Tensor| model.forward(x).unwrap().square().mean();
        let whole = loss(&x).backward().unwrap();
        let mut halves = loss(&x.narrow(0, 0, 4).unwrap()).backward().unwrap();
        halves.merge(&params, loss(&x.narrow(0, 4, 4).unwrap()).backward().unwrap());
        halves.scale(&params, 0.5);
        for p in &params {
            for (a, b) in whole.get(p).unwrap().iter().zip(halves.get(p).unwrap()) {
                assert!((a - b).abs() < 1e-6, "{a} {b}");
            }
        }
    }
}
