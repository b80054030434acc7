//! Configuration.

use ream_lab::Invalid;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::oracle::Class;

/// The experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// N: payments of a generation.
    pub payments: usize,
    /// G: generations that are served by a model, after the uniform one.
    pub generations: usize,
    /// M: generations that a model is fitted on (arms of the memory study have their own).
    pub memory: usize,
    /// Share of labels that arrive one generation late.
    pub late: f64,
    /// Classes of models.
    pub classes: Vec<Class>,
    /// gamma: inverse-gap policies, from much exploration to little. The largest is the one that remedies are
    /// tried on.
    pub gammas: Vec<f64>,
    /// epsilon: share of traffic that baselines explore on, and whose exploration mass matched policies have.
    pub exploration: f64,
    /// c: factor of the schedule gamma = c sqrt(N |A| / err).
    pub schedule: f64,
    /// Strength of the L2 penalty of the logistic model.
    pub l2: f64,
    /// Largest inverse-propensity weight of a training row.
    pub clip: f64,
    /// Payments on which the models of all generations are compared.
    pub holdout: usize,
    /// Uniform payments that show how far a class of models is from the truth.
    pub realizability: usize,
    /// Worlds whose mean curves are drawn, from the run's first seed on (of the trees: the arms of the pictures).
    pub averaged_worlds: u64,
    /// Remedies: memory, weights, a uniform slice, calibration.
    pub remedies: bool,
    /// The same world with drifting effects (logistic model).
    pub drift: bool,
    /// Digits and German Credit as bandits: contexts of a generation; 0 leaves them out.
    pub conversion: usize,
    /// Value of policies from the Open Bandit logs.
    pub off_policy: bool,
    /// Bootstrap samples of these values.
    pub bootstrap: usize,
    /// How your own log (--data FILE) is read and used.
    pub own: Own,
}

/// A schedule of gamma on the user's own log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// `own.gamma` in every generation.
    Constant,
    /// `schedule * sqrt(N |A| / err)`, err from what two models of half the rows disagree on.
    Error,
    /// The gamma at which the exploration mass is that of epsilon-greedy with `exploration`.
    Matched,
}

/// What is done with actions that are available but were never taken in the training rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Unseen {
    /// An error that names them.
    Refuse,
    /// They are not played, and are taken out of the available actions.
    Exclude,
}

/// The user's own log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// Column of the action that was taken.
    pub action: String,
    /// Column of the reward, 0 or 1.
    pub reward: String,
    /// Column of the action's probability when it was taken.
    pub propensity: String,
    /// Estimates the probabilities from the log when there is no such column; every figure then says so.
    pub estimate_propensity: bool,
    /// Column of the available actions, separated by `|`; without it every action of the file is always available.
    pub available: Option<String>,
    /// Column of the generation (a number) or the day; without it the rows are cut into `own.slices` in the
    /// file's order.
    pub generation: Option<String>,
    /// Generations where there is no such column.
    pub slices: usize,
    /// Columns of the context; empty is all other columns.
    pub context: Vec<String>,
    /// gamma of the policy that is judged.
    pub gamma: f64,
    /// How gamma moves from generation to generation.
    pub schedule: Schedule,
    /// M: generations that a model is fitted on; 0 is all so far.
    pub memory: usize,
    /// Class of the model.
    pub class: Class,
    /// Available actions that the training rows do not have.
    pub unseen: Unseen,
}

impl Default for Own {
    fn default() -> Self {
        Self {
            action: "action".to_owned(),
            reward: "reward".to_owned(),
            propensity: "propensity".to_owned(),
            estimate_propensity: false,
            available: None,
            generation: None,
            slices: 5,
            context: Vec::new(),
            gamma: 200.0,
            schedule: Schedule::Constant,
            memory: 1,
            class: Class::Logistic,
            unseen: Unseen::Refuse,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            payments: 6000,
            generations: 12,
            memory: 1,
            late: 0.1,
            classes: vec![Class::Logistic, Class::Trees],
            gammas: vec![10.0, 50.0, 200.0, 2000.0],
            exploration: 0.1,
            schedule: 1.0,
            l2: 2.0,
            clip: 10.0,
            holdout: 6000,
            realizability: 200_000,
            averaged_worlds: 10,
            remedies: true,
            drift: true,
            conversion: 1000,
            off_policy: true,
            bootstrap: 1000,
            own: Own::default(),
        }
    }
}

impl Config {
    /// Ranges of all keys.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self) -> Result<(), Invalid> {
        Invalid::unless_in("payments", self.payments, 200..=1_000_000)?;
        Invalid::unless_in("generations", self.generations, 1..=200)?;
        Invalid::unless_in("memory", self.memory, 1..=200)?;
        Invalid::unless_in("late", self.late, 0.0..=0.9)?;
        Invalid::unless_in("exploration", self.exploration, 0.001..=0.5)?;
        Invalid::unless_in("schedule", self.schedule, 1e-6..=1e6)?;
        Invalid::unless_in("l2", self.l2, 1e-6..=1e6)?;
        Invalid::unless_in("clip", self.clip, 1.0..=1e9)?;
        Invalid::unless_in("holdout", self.holdout, 200..=1_000_000)?;
        Invalid::unless_in("realizability", self.realizability, 1000..=10_000_000)?;
        Invalid::unless_in("averaged_worlds", self.averaged_worlds, 1..=1000)?;
        Invalid::unless_in("bootstrap", self.bootstrap, 100..=100_000)?;
        if self.conversion > 0 {
            Invalid::unless_in("conversion", self.conversion, 200..=1_000_000)?;
        }
        Invalid::unless_in("own.slices", self.own.slices, 2..=10_000)?;
        check_gamma("own.gamma", self.own.gamma)?;
        if self.gammas.is_empty() || !self.gammas.is_sorted_by(|a, b| a < b) {
            return Err(Invalid::new("gammas", "one or more, ascending", format!("{:?}", self.gammas)));
        }
        self.gammas.iter().try_for_each(|gamma| check_gamma("gammas", *gamma))?;
        let mut classes = self.classes.clone();
        classes.sort();
        classes.dedup();
        if classes.is_empty() || classes.len() != self.classes.len() {
            return Err(Invalid::new(
                "classes",
                "logistic, trees or both, each once",
                format!("{:?}", self.classes),
            ));
        }
        Ok(())
    }
}

fn check_gamma(key: &str, gamma: f64) -> Result<(), Invalid> {
    if gamma >= 0.0 && gamma.is_finite() {
        return Ok(());
    }
    let wanted = "a finite number of at least 0 (0 plays all actions alike, more is greedier)";
    Err(Invalid::new(key, wanted, gamma.to_string()))
}
