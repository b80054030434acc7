//! Configuration, and the constants of the experiment.

use ream_lab::Invalid;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bandit::Memory;

use super::evidence::Keeping;
use super::simulation::Method;

/// A population of the experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Population {
    /// Normal scores whose group means move with acceptance.
    Synthetic,
    /// The thousand records of German Credit.
    German,
    /// The COMPAS records of two groups.
    Compas,
}

impl Population {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Synthetic, Self::German, Self::Compas];

    /// The word used in observations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Synthetic => "synthetic",
            Self::German => "german",
            Self::Compas => "compas",
        }
    }

    /// Its data set.
    #[must_use]
    pub fn data(self) -> Option<&'static str> {
        match self {
            Self::Synthetic => None,
            Self::German => Some("german-credit"),
            Self::Compas => Some("compas"),
        }
    }

    /// `eps` of a regime.
    #[must_use]
    pub fn limit(self, regime: Regime) -> f64 {
        match (self, regime) {
            (Self::Synthetic, _) | (Self::German, Regime::Tight) => 0.10,
            (Self::German, Regime::Light) => 0.14,
            (Self::Compas, Regime::Tight) => 0.12,
            (Self::Compas, Regime::Light) => 0.24,
        }
    }

    /// `kappa`.
    #[must_use]
    pub fn feedback(self) -> f64 {
        if self == Self::Synthetic { 0.15 } else { 1.5 }
    }

    /// Cost of accepting a bad applicant.
    #[must_use]
    pub fn cost(self) -> f64 {
        if self == Self::German { 2.0 } else { 1.0 }
    }
}

/// How narrow the limit on the gap is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Regime {
    /// The environments' own limits.
    Tight,
    /// The unconstrained optimum is nearly feasible.
    Light,
}

impl Regime {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Tight, Self::Light];

    /// The word used in observations.
    #[must_use]
    pub fn name(self) -> &'static str {
        if self == Self::Tight { "tight" } else { "light" }
    }
}

/// `rho`: least acceptance rate in every environment.
pub(crate) const SERVICE: f64 = 0.30;
/// `eta`: how far a share moves each round.
pub(crate) const RATE: f64 = 0.05;

/// How the first sweep goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Sweep {
    /// Every threshold once, in order.
    Full,
    /// Every fourth threshold; the others inherit wide intervals from their neighbours.
    Coarse,
}

/// The experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Rounds T.
    pub rounds: u64,
    /// Number of thresholds K, evenly spaced over [0, 1].
    pub thresholds: usize,
    /// Applicants in a round, m; 1 is single arrivals.
    pub batch: usize,
    /// delta: how often all confidence intervals together may fail.
    pub delta: f64,
    /// The populations.
    pub environments: Vec<Population>,
    /// Whether the sweeps over limit, batch and grid run.
    pub sweeps: bool,
    /// How the first sweep of OFS goes.
    pub sweep: Sweep,
    /// Rounds that OFS remembers; 0 is all.
    pub window: usize,
    /// Factor by which OFS discounts earlier rounds; 1 is none.
    pub discount: f64,
    /// Rounds for which OFS keeps a threshold, learning from the last one.
    pub dwell: u64,
    /// Bandwidth, in thresholds, over which OFS shares observations between neighbours; 1 is off.
    pub smoothing: f64,
    /// How your own file (--data FILE) is read, and the loop around it.
    pub own: Own,
}

/// The user's own file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// Column of scores in [0, 1]. Not read where features are given.
    pub score: String,
    /// Columns from which a score is fitted, out of fold: numbers as they are, other columns as categories.
    pub features: Vec<String>,
    /// Column of groups, two or more.
    pub group: String,
    /// Column of outcomes, 0 or 1.
    pub outcome: String,
    /// Replaces scores by their ranks, scaled to [0, 1].
    pub rank_scores: bool,
    /// eps: largest gap between the acceptance rates of two groups.
    pub eps: f64,
    /// rho: least acceptance rate; 0 is no limit.
    pub rho: f64,
    /// Largest acceptance rate; 1 is no limit.
    pub capacity: f64,
    /// Reward of an accepted good applicant.
    pub accept_good: f64,
    /// Reward of an accepted bad applicant.
    pub accept_bad: f64,
    /// Reward of a rejected good applicant.
    pub reject_good: f64,
    /// Reward of a rejected bad applicant.
    pub reject_bad: f64,
    /// kappa: how strongly acceptance changes who applies.
    pub kappa: f64,
    /// eta: how fast.
    pub eta: f64,
    /// No feedback: who applies never changes.
    pub open_loop: bool,
}

impl Default for Own {
    fn default() -> Self {
        Self {
            score: "score".to_owned(),
            features: Vec::new(),
            group: "group".to_owned(),
            outcome: "outcome".to_owned(),
            rank_scores: false,
            eps: 0.10,
            rho: SERVICE,
            capacity: 1.0,
            accept_good: 1.0,
            accept_bad: -1.0,
            reject_good: 0.0,
            reject_bad: 0.0,
            kappa: 1.5,
            eta: RATE,
            open_loop: false,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rounds: 5000,
            thresholds: 41,
            batch: 200,
            delta: 0.05,
            environments: Population::ALL.to_vec(),
            sweeps: true,
            sweep: Sweep::Full,
            window: 0,
            discount: 1.0,
            dwell: 1,
            smoothing: 1.0,
            own: Own::default(),
        }
    }
}

impl Config {
    /// OFS with the options that are set.
    #[must_use]
    pub fn method(&self) -> Method {
        let memory = if self.window > 0 {
            Memory::Window(self.window)
        } else if self.discount < 1.0 {
            Memory::Discount(self.discount)
        } else {
            Memory::All
        };
        let stride = if self.sweep == Sweep::Coarse { 4 } else { 1 };
        Method::Ofs { keeping: Keeping { memory, smoothing: self.smoothing, stride }, dwell: self.dwell }
    }

    /// Ranges of all keys.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self) -> Result<(), Invalid> {
        Invalid::unless_in("thresholds", self.thresholds, 3..=1001)?;
        Invalid::unless_in("rounds", self.rounds, 1..=10_000_000)?;
        Invalid::unless_in("batch", self.batch, 1..=1_000_000)?;
        Invalid::unless_in("dwell", self.dwell, 1..=1000)?;
        Invalid::unless_in("smoothing", self.smoothing, 1.0..=20.0)?;
        if !(self.delta > 0.0 && self.delta < 1.0) {
            return Err(Invalid::new(
                "delta",
                "a number between 0 and 1, both excluded",
                self.delta.to_string(),
            ));
        }
        if !(self.discount > 0.0 && self.discount <= 1.0) {
            return Err(Invalid::new("discount", "above 0, at most 1", self.discount.to_string()));
        }
        if self.window > 0 && self.discount < 1.0 {
            return Err(Invalid::new(
                "window",
                "0 where a discount is set: one memory at a time",
                self.window.to_string(),
            ));
        }
        if self.window > 0 && self.window < self.thresholds {
            return Err(Invalid::new(
                "window",
                format!("0, or at least the number of thresholds ({})", self.thresholds),
                self.window.to_string(),
            ));
        }
        let mut seen = self.environments.clone();
        seen.sort();
        seen.dedup();
        if seen.is_empty() || seen.len() != self.environments.len() {
            return Err(Invalid::new(
                "environments",
                "one or more, each once",
                format!("{:?}", self.environments),
            ));
        }
        self.own.check()
    }
}

impl Own {
    fn check(&self) -> Result<(), Invalid> {
        Invalid::unless_in("own.eps", self.eps, 0.0..=1.0)?;
        Invalid::unless_in("own.rho", self.rho, 0.0..=1.0)?;
        Invalid::unless_in("own.capacity", self.capacity, 0.0..=1.0)?;
        Invalid::unless_in("own.kappa", self.kappa, 0.0..=20.0)?;
        if !(self.eta > 0.0 && self.eta <= 1.0) {
            return Err(Invalid::new("own.eta", "above 0, at most 1", self.eta.to_string()));
        }
        let rewards = [self.accept_good, self.accept_bad, self.reject_good, self.reject_bad];
        if rewards.iter().any(|r| !r.is_finite() || r.abs() > 1e6) {
            return Err(Invalid::new(
                "own.accept_good and the other rewards",
                "numbers up to 1e6",
                format!("{rewards:?}"),
            ));
        }
        if rewards.iter().all(|r| *r == rewards[0]) {
            return Err(Invalid::new(
                "own.accept_good and the other rewards",
                "at least two that differ",
                format!("{rewards:?}"),
            ));
        }
        Ok(())
    }
}
