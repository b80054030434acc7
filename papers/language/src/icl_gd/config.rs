//! What can be set, its presets and its ranges.

use super::lsa::{Mlp, Network};
use super::tasks::{LinearTasks, Shape, SineTasks};
use super::training::Adam;
use super::{copying, sine};
use ream_lab::{Invalid, Preset};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A part of the paper that can be run alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Experiment {
    /// The constructed weights beside gradient descent on W.
    Construction,
    /// One trained layer beside one gradient step; its weights, and other inputs than it was trained on.
    OneLayer,
    /// The same with softmax in place of linear attention.
    Softmax,
    /// `layers` layers that share their matrices, beside GD and GD++.
    Recurrent,
    /// `layers` layers of their own, beside GD and GD++.
    Separate,
    /// `deeper.layers` layers of their own; report only.
    Deeper,
    /// Sine waves with a perceptron in front.
    Sine,
    /// Inputs and targets as separate tokens.
    Copying,
    /// The trained layers on a real table: the diabetes data, or the file given with `--data`.
    Table,
}

/// How long and how fast a network is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Steps, each on a fresh batch.
    pub steps: u64,
    /// Adam's step size.
    pub learning_rate: f64,
    /// Variance of every entry of K, Q, V and P before training, times the size of a token.
    pub initial_scale: f64,
}

/// A network with several layers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deep {
    /// Layers K, and steps of the baselines.
    pub layers: usize,
    /// Factor on the update of every layer, at most 1.
    pub dampening: f64,
    /// Training.
    pub schedule: Schedule,
}

/// The sine experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sine {
    /// Hidden units of the perceptron.
    pub hidden: usize,
    /// Features that it gives to the attention.
    pub features: usize,
    /// Layers of linear attention, and steps of gradient descent on the features.
    pub layers: usize,
    /// Training of the perceptron with attention, of the attention alone and of the perceptron through one step.
    pub schedule: Schedule,
}

/// The copying experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Copying {
    /// Size of the position codes that are concatenated to the tokens.
    pub positions: usize,
    /// Layers of linear attention after the softmax layer.
    pub layers: usize,
    /// Training.
    pub schedule: Schedule,
}

/// How tasks are drawn from a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableDraws {
    /// Column to predict in a file given with `--data`; all other columns are inputs, and they replace `d`.
    pub target: String,
    /// Draws of `n_context` rows and one query.
    pub draws: usize,
}

/// Configuration of `icl-gd`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What is run.
    pub experiments: Vec<Experiment>,
    /// Inputs of a linear task.
    pub d: usize,
    /// Targets of a linear task.
    pub d_y: usize,
    /// Pairs in the context, N.
    pub n_context: usize,
    /// Training inputs are uniform on [-alpha, alpha].
    pub alpha: f64,
    /// Standard deviation of the noise on the targets.
    pub noise: f64,
    /// Heads of every layer.
    pub heads: usize,
    /// Tasks of a training step.
    pub batch: usize,
    /// Largest norm of the slopes.
    pub clip: f64,
    /// Rate of plain gradient descent, the same for every step; null tunes it, per step.
    pub eta: Option<f64>,
    /// Whether GD++ is among the baselines of deep networks.
    pub gdpp: bool,
    /// Fresh tasks on which models are compared.
    pub evaluation_tasks: usize,
    /// Tasks on which baselines are tuned.
    pub tuning_tasks: usize,
    /// Points of the curves over training.
    pub points: u64,
    /// Training of one layer.
    pub one_layer: Schedule,
    /// Layers that share their matrices.
    pub recurrent: Deep,
    /// Layers of their own.
    pub separate: Deep,
    /// More layers of their own.
    pub deeper: Deep,
    /// Sine waves.
    pub sine: Sine,
    /// Separate tokens.
    pub copying: Copying,
    /// Real tables.
    pub table: TableDraws,
}

impl Config {
    /// The named configuration.
    pub fn preset(preset: Preset) -> Self {
        use Experiment as E;
        let schedule = |steps, learning_rate, initial_scale| Schedule { steps, learning_rate, initial_scale };
        let deep = |layers, steps, rate| Deep {
            layers,
            dampening: 1.0,
            schedule: schedule(steps, rate, 0.002 / layers as f64),
        };
        let full = Self {
            experiments: vec![
                E::Construction,
                E::OneLayer,
                E::Softmax,
                E::Recurrent,
                E::Separate,
                E::Deeper,
                E::Sine,
                E::Copying,
                E::Table,
            ],
            d: 10,
            d_y: 1,
            n_context: 10,
            alpha: 1.0,
            noise: 0.0,
            heads: 1,
            batch: 512,
            clip: 10.0,
            eta: None,
            gdpp: true,
            evaluation_tasks: 20_000,
            tuning_tasks: 65_536,
            points: 40,
            one_layer: schedule(10_000, 1e-3, 0.002),
            recurrent: deep(2, 20_000, 2e-4),
            separate: deep(2, 20_000, 5e-4),
            deeper: Deep { dampening: 0.5, ..deep(5, 20_000, 2e-4) },
            sine: Sine { hidden: 40, features: 40, layers: 1, schedule: schedule(10_000, 1e-3, 0.002) },
            copying: Copying { positions: 10, layers: 1, schedule: schedule(20_000, 1e-3, 0.05) },
            table: TableDraws { target: String::new(), draws: 10_000 },
        };
        if preset != Preset::Smoke {
            return full;
        }
        Self {
            experiments: vec![E::Construction, E::OneLayer, E::Table],
            d: 5,
            batch: 128,
            evaluation_tasks: 4000,
            tuning_tasks: 4096,
            points: 20,
            one_layer: schedule(1500, 3e-3, 0.05),
            table: TableDraws { draws: 2000, ..full.table.clone() },
            ..full
        }
    }

    /// Whether an experiment is run.
    pub fn has(&self, experiment: Experiment) -> bool {
        self.experiments.contains(&experiment)
    }

    /// Sizes of the linear tasks.
    pub fn shape(&self) -> Shape {
        Shape { d: self.d, d_y: self.d_y, n_context: self.n_context }
    }

    /// The linear tasks on which networks are trained.
    pub fn tasks(&self) -> LinearTasks {
        LinearTasks { alpha: self.alpha, noise: self.noise, ..LinearTasks::standard(self.shape()) }
    }

    /// The sine tasks.
    pub fn sine_tasks(&self) -> SineTasks {
        SineTasks { n_context: self.n_context }
    }

    /// Linear attention with this many layers.
    pub fn network(&self, layers: usize) -> Network {
        Network { heads: self.heads, ..Network::linear(self.shape(), layers) }
    }

    /// A deep network.
    pub fn deep_network(&self, deep: &Deep, shared: bool) -> Network {
        Network { shared, dampening: deep.dampening, ..self.network(deep.layers) }
    }

    /// The perceptron and attention of the sine experiment.
    pub fn sine_network(&self) -> Network {
        Network { heads: self.heads, ..sine::network(self.sine_tasks(), self.mlp(), self.sine.layers) }
    }

    /// The perceptron of the sine experiment.
    pub fn mlp(&self) -> Mlp {
        Mlp { hidden: self.sine.hidden, features: self.sine.features }
    }

    /// The network of the copying experiment.
    pub fn copying_network(&self) -> Network {
        let network = copying::network(self.shape(), self.copying.positions, self.copying.layers);
        Network { heads: self.heads, ..network }
    }

    /// How steps are taken.
    pub fn adam(&self, schedule: &Schedule) -> Adam {
        Adam { learning_rate: schedule.learning_rate, betas: [0.9, 0.98], clip: self.clip }
    }

    /// All ranges. The first key that is out of range is named.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self) -> Result<(), Invalid> {
        let whole =
            |key: &str, value: usize, low: usize, high: usize| Invalid::unless_in(key, value, low..=high);
        if self.experiments.is_empty() {
            return Err(Invalid::new("experiments", "at least one experiment", "none"));
        }
        whole("d", self.d, 1, 64)?;
        whole("d_y", self.d_y, 1, 16)?;
        whole("n_context", self.n_context, 1, 512)?;
        whole("heads", self.heads, 1, 8)?;
        whole("batch", self.batch, 1, 65_536)?;
        whole("evaluation_tasks", self.evaluation_tasks, 1000, 1_000_000)?;
        whole("tuning_tasks", self.tuning_tasks, 1000, 1_000_000)?;
        Invalid::unless_in("points", self.points, 2..=1000)?;
        positive("alpha", self.alpha, 10.0)?;
        positive("clip", self.clip, 1e9)?;
        Invalid::unless_in("noise", self.noise, 0.0..=100.0)?;
        let schedules = [
            ("one_layer", &self.one_layer),
            ("recurrent.schedule", &self.recurrent.schedule),
            ("separate.schedule", &self.separate.schedule),
            ("deeper.schedule", &self.deeper.schedule),
            ("sine.schedule", &self.sine.schedule),
            ("copying.schedule", &self.copying.schedule),
        ];
        for (key, schedule) in schedules {
            Invalid::unless_in(&format!("{key}.steps"), schedule.steps, 1..=10_000_000)?;
            positive(&format!("{key}.learning_rate"), schedule.learning_rate, 1.0)?;
            positive(&format!("{key}.initial_scale"), schedule.initial_scale, 1.0)?;
        }
        for (key, deep) in
            [("recurrent", &self.recurrent), ("separate", &self.separate), ("deeper", &self.deeper)]
        {
            whole(&format!("{key}.layers"), deep.layers, 2, 32)?;
            positive(&format!("{key}.dampening"), deep.dampening, 1.0)?;
        }
        whole("sine.hidden", self.sine.hidden, 1, 512)?;
        whole("sine.features", self.sine.features, 1, 64)?;
        whole("sine.layers", self.sine.layers, 1, 8)?;
        whole("copying.positions", self.copying.positions, 2, 64)?;
        whole("copying.layers", self.copying.layers, 1, 8)?;
        whole("table.draws", self.table.draws, 1, 1_000_000)?;
        self.check_eta()
    }

    /// A rate by hand must lower the loss: one step from 0 has the expected loss of not moving at twice the best rate.
    fn check_eta(&self) -> Result<(), Invalid> {
        let bound = 2.0 * self.tasks().best_rate();
        match self.eta {
            Some(eta) if !(eta > 0.0 && eta < bound) => Err(Invalid::new(
                "eta",
                format!("above 0 and below {bound:.4}, where one step stops lowering the expected loss"),
                eta.to_string(),
            )),
            _ => Ok(()),
        }
    }
}

fn positive(key: &str, value: f64, most: f64) -> Result<(), Invalid> {
    if value > 0.0 && value <= most {
        return Ok(());
    }
    Err(Invalid::new(key, format!("above 0 and at most {most}"), value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_allowed() {
        for preset in [Preset::Smoke, Preset::Full, Preset::Long] {
            Config::preset(preset).check().unwrap();
        }
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        let refuse = |change: &dyn Fn(&mut Config), key: &str| {
            let mut config = Config::preset(Preset::Smoke);
            change(&mut config);
            let error = config.check().unwrap_err();
            assert_eq!(error.place, key, "{error}");
        };
        refuse(&|c| c.d = 65, "d");
        refuse(&|c| c.d = 0, "d");
        refuse(&|c| c.alpha = f64::NAN, "alpha");
        refuse(&|c| c.one_layer.learning_rate = 0.0, "one_layer.learning_rate");
        refuse(&|c| c.recurrent.dampening = 1.5, "recurrent.dampening");
        refuse(&|c| c.evaluation_tasks = 999, "evaluation_tasks");
        refuse(&|c| c.experiments.clear(), "experiments");
        for eta in [0.0, -1.0, 4.1, f64::NAN] {
            refuse(&|c| c.eta = Some(eta), "eta");
        }
    }

    #[test]
    fn a_rate_within_the_bound_lowers_the_loss_and_one_outside_raises_it() {
        use super::super::compare::descent_answers;
        use super::super::tasks::{Chunk, Tasks};
        let config = Config::preset(Preset::Smoke);
        let set: Vec<Chunk<f64>> = config.tasks().set(ream_rand::Stream::new(1, "bound"), 40_000);
        let bound = 2.0 * config.tasks().best_rate();
        let zero = descent_answers(&[0.0], &set).loss(1);
        assert!(descent_answers(&[0.96 * bound], &set).loss(1) < zero);
        assert!(descent_answers(&[1.04 * bound], &set).loss(1) > zero);
    }
}
