//! Configuration.

use ream_lab::Invalid;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A problem of the experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum Environment {
    /// RiverSwim with 6 states.
    #[serde(rename = "riverswim-6")]
    RiverSwim6,
    /// RiverSwim with 12 states.
    #[serde(rename = "riverswim-12")]
    RiverSwim12,
    /// RiverSwim with 6 states and jumps to anywhere.
    #[serde(rename = "jumpriverswim-6")]
    JumpRiverSwim6,
    /// Two deterministic loops.
    #[serde(rename = "twoloop")]
    TwoLoop,
    /// The access-control queue.
    #[serde(rename = "access-control")]
    AccessControl,
    /// A mixture of 5 known kernels.
    #[serde(rename = "linmix-5")]
    LinMix5,
    /// A mixture of 10 known kernels.
    #[serde(rename = "linmix-10")]
    LinMix10,
    /// A walker on a circle.
    #[serde(rename = "circle-kernel")]
    CircleKernel,
}

impl Environment {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::RiverSwim6,
        Self::RiverSwim12,
        Self::JumpRiverSwim6,
        Self::TwoLoop,
        Self::AccessControl,
        Self::LinMix5,
        Self::LinMix10,
        Self::CircleKernel,
    ];

    /// The word used in observations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RiverSwim6 => "riverswim-6",
            Self::RiverSwim12 => "riverswim-12",
            Self::JumpRiverSwim6 => "jumpriverswim-6",
            Self::TwoLoop => "twoloop",
            Self::AccessControl => "access-control",
            Self::LinMix5 => "linmix-5",
            Self::LinMix10 => "linmix-10",
            Self::CircleKernel => "circle-kernel",
        }
    }

    /// Whether its horizon is that of the linear classes.
    #[must_use]
    pub fn is_linear(self) -> bool {
        matches!(self, Self::LinMix5 | Self::LinMix10 | Self::CircleKernel)
    }
}

/// Learners, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// LOOP on a finite class of hypotheses.
    Finite,
    /// LOOP by likelihood on tables.
    TabularMle,
    /// LOOP on linear mixtures.
    LinearMixture,
    /// LOOP on linear classes, as a bonus in clipped value iteration (a surrogate).
    Linear,
    /// LOOP's set without the local fit.
    Plain,
    /// LOOP without optimism: the best fit.
    BestFit,
    /// LOOP with a new set at every step.
    Replanning,
    /// The likelihood version with a switching rule like that of the value-based one.
    Patient,
    /// UCRL2; on mixtures, value-targeted regression made for them.
    Ucrl2,
    /// KL-UCRL.
    KlUcrl,
    /// Posterior sampling.
    Psrl,
    /// Optimistic Q-learning.
    OptimisticQ,
    /// Differential Q-learning, epsilon-greedy.
    DifferentialQ,
    /// R-learning, epsilon-greedy.
    RLearning,
    /// Actions at random.
    Random,
}

/// The experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Steps T on tables.
    pub horizon: u64,
    /// Steps T with linear classes (linmix, circle-kernel).
    pub linear_horizon: u64,
    /// delta: how often the confidence sets may fail.
    pub delta: f64,
    /// c: factors of beta. Every one is run and shown; none is chosen for an environment.
    pub constants: Vec<f64>,
    /// Which learners run; empty is all.
    pub algorithms: Vec<Algorithm>,
    /// The problems.
    pub environments: Vec<Environment>,
    /// Size of the finite class of hypotheses, the true one included.
    pub hypotheses: usize,
    /// The likelihood version switches once its deficit since the last update reaches this many sqrt(t beta), beta being the
    /// sum of beta_sa.
    pub mle_root: f64,
    /// The variant that is shown beside it on riverswim-6 switches once its deficit on all data reaches this many beta.
    pub mle_patience: f64,
    /// Random Fourier features of the circle, for each action.
    pub features: usize,
    /// Seeds whose mean regret curve gives the exponent, from the run's first seed on.
    pub averaged_seeds: u64,
    /// How your own process (--data FILE, .json or .csv) is read.
    pub own: Own,
}

/// The user's own process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// Maps rewards to [0, 1] linearly; regret is shown in your units again.
    pub rescale: bool,
    /// State in which the trajectory begins (a JSON file may say so itself).
    pub start: usize,
    /// A CSV file with columns s, a and one for each feature: runs the linear version too.
    pub features: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            horizon: 200_000,
            linear_horizon: 50_000,
            delta: 0.05,
            constants: vec![1.0, 0.05],
            algorithms: Vec::new(),
            environments: Environment::ALL.to_vec(),
            hypotheses: 400,
            mle_root: 3.0,
            mle_patience: 4.0,
            features: 24,
            averaged_seeds: 10,
            own: Own::default(),
        }
    }
}

fn each_once<T: Ord + Clone + std::fmt::Debug>(key: &str, items: &[T]) -> Result<(), Invalid> {
    let mut sorted = items.to_vec();
    sorted.sort();
    sorted.dedup();
    if sorted.len() == items.len() {
        return Ok(());
    }
    Err(Invalid::new(key, "each once", format!("{items:?}")))
}

impl Config {
    /// Ranges of all keys.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self) -> Result<(), Invalid> {
        Invalid::unless_in("horizon", self.horizon, 1000..=100_000_000)?;
        Invalid::unless_in("linear_horizon", self.linear_horizon, 1000..=10_000_000)?;
        Invalid::unless_in("hypotheses", self.hypotheses, 2..=2000)?;
        Invalid::unless_in("mle_patience", self.mle_patience, 1.0..=1000.0)?;
        Invalid::unless_in("mle_root", self.mle_root, 1e-3..=1000.0)?;
        Invalid::unless_in("features", self.features, 2..=100)?;
        Invalid::unless_in("averaged_seeds", self.averaged_seeds, 1..=1000)?;
        if !(self.delta > 0.0 && self.delta < 1.0) {
            let got = self.delta.to_string();
            return Err(Invalid::new("delta", "a number between 0 and 1, both excluded", got));
        }
        let distinct = |c: &f64| self.constants.iter().filter(|other| *other == c).count() == 1;
        let positive = |c: &f64| *c > 0.0 && *c <= 100.0;
        if self.constants.is_empty() || !self.constants.iter().all(|c| positive(c) && distinct(c)) {
            let got = format!("{:?}", self.constants);
            return Err(Invalid::new(
                "constants",
                "one or more numbers above 0, at most 100, each once",
                got,
            ));
        }
        if self.environments.is_empty() {
            return Err(Invalid::new("environments", "one or more", "none"));
        }
        each_once("environments", &self.environments)?;
        each_once("algorithms", &self.algorithms)
    }

    /// Whether a kind of learner runs.
    #[must_use]
    pub fn runs(&self, algorithm: Algorithm) -> bool {
        self.algorithms.is_empty() || self.algorithms.contains(&algorithm)
    }
}
