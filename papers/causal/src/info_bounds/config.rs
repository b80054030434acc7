//! Configuration.

use ream_lab::Invalid;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::divergence::{ALL, Divergence};
use super::networks::Settings;
use super::phi::{self, Phi};
use super::propensity::{self, Model};

/// What can be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The divergences.
    pub divergences: Vec<Divergence>,
    /// Which order statistic joins their intervals: 1 is the intersection, 5 the loosest of five; 0 raises it until the interval is not empty.
    pub k: usize,
    /// Folds of cross-fitting.
    pub folds: usize,
    /// Probabilities of treatment: gbt (boosted trees), logit, or column:NAME of your own file.
    pub propensity: String,
    /// Whether networks learn with the debiased loss.
    pub debiased: bool,
    /// The networks.
    pub networks: Networks,
    /// Bootstrap samples of bounds without covariates.
    pub bootstrap: usize,
    /// Level of the limits.
    pub level: f64,
    /// The built-in studies.
    pub study: Study,
    /// Your own file: the column of the outcome.
    pub outcome: Option<String>,
    /// Your own file: the column of the treatment, 2 to 16 levels; the first in order is the reference.
    pub treatment: Option<String>,
    /// Your own file: covariates, numbers or texts; none gives bounds without covariates only.
    pub covariates: Vec<String>,
    /// Your own file: a column of weights of rows.
    pub weights: Option<String>,
    /// Your own file: a column that names rows in tables.
    pub id: Option<String>,
    /// Function of the outcome whose mean is bounded: mean, cdf:T or quantile-loss:Q.
    pub phi: String,
    /// Your own file: how bounds given covariates are computed.
    pub conditional: Conditional,
    /// Your own file: least and greatest possible value of the outcome, where they are known; for Manski's bounds.
    pub range: Vec<f64>,
    /// Your own file: columns with the probabilities that a policy gives to the levels of the treatment, in their order.
    pub policy: Vec<String>,
}

/// How bounds given covariates are computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Conditional {
    /// Networks, cross-fitted.
    Networks,
    /// The exact solver with kernel weights: for some thousands of rows.
    Kernel,
    /// Not at all.
    None,
}

/// The networks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Networks {
    /// Units of each of the two hidden layers.
    pub width: usize,
    /// Most passes over the rows.
    pub epochs: usize,
    /// Passes without a better validation loss before a problem stops.
    pub patience: usize,
    /// Rows of a step.
    pub batch: usize,
    /// Adam's rate.
    pub learning_rate: f32,
    /// Weight decay.
    pub weight_decay: f32,
}

impl Networks {
    /// As the trainer takes them: a fifth of a fold is kept for validation.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings {
            width: self.width,
            epochs: self.epochs,
            patience: self.patience,
            validation: 0.2,
            batch: self.batch,
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
        }
    }
}

/// The built-in studies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Study {
    /// Rows of the synthetic study.
    pub sizes: Vec<usize>,
    /// Points at which it is judged.
    pub points: usize,
    /// Divergences of the study with a noisy propensity.
    pub noise_divergences: Vec<Divergence>,
    /// Random finite models.
    pub models: usize,
    /// Rows of the normal samples whose bound is followed.
    pub growth: Vec<usize>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            divergences: ALL.to_vec(),
            k: 0,
            folds: 2,
            propensity: "gbt".to_owned(),
            debiased: true,
            networks: Networks {
                width: 64,
                epochs: 256,
                patience: 10,
                batch: 64,
                learning_rate: 5e-4,
                weight_decay: 1e-4,
            },
            bootstrap: 500,
            level: 0.95,
            study: Study {
                sizes: vec![500, 1000, 2000],
                points: 200,
                noise_divergences: vec![Divergence::Kl, Divergence::ChiSquare, Divergence::TotalVariation],
                models: 10_000,
                growth: vec![1000, 10_000, 100_000],
            },
            outcome: None,
            treatment: None,
            covariates: Vec::new(),
            weights: None,
            id: None,
            phi: "mean".to_owned(),
            conditional: Conditional::Networks,
            range: Vec::new(),
            policy: Vec::new(),
        }
    }
}

fn each_once(key: &str, divergences: &[Divergence]) -> Result<(), Invalid> {
    let mut sorted = divergences.to_vec();
    sorted.sort();
    sorted.dedup();
    if !sorted.is_empty() && sorted.len() == divergences.len() {
        return Ok(());
    }
    let got: Vec<&str> = divergences.iter().map(|d| d.slug()).collect();
    Err(Invalid::new(key, "one or more divergences, each once", got.join(", ")))
}

impl Config {
    /// Ranges of all keys.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self) -> Result<(), Invalid> {
        each_once("divergences", &self.divergences)?;
        each_once("study.noise_divergences", &self.study.noise_divergences)?;
        Invalid::unless_in("k", self.k, 0..=5)?;
        Invalid::unless_in("folds", self.folds, 2..=20)?;
        Invalid::unless_in("networks.width", self.networks.width, 2..=1024)?;
        Invalid::unless_in("networks.epochs", self.networks.epochs, 1..=10_000)?;
        Invalid::unless_in("networks.patience", self.networks.patience, 1..=10_000)?;
        Invalid::unless_in("networks.batch", self.networks.batch, 1..=100_000)?;
        Invalid::unless_in("networks.learning_rate", self.networks.learning_rate, 1e-6..=0.1)?;
        Invalid::unless_in("networks.weight_decay", self.networks.weight_decay, 0.0..=1.0)?;
        Invalid::unless_in("bootstrap", self.bootstrap, 2..=100_000)?;
        if !(self.level > 0.0 && self.level < 1.0) {
            let got = self.level.to_string();
            return Err(Invalid::new("level", "a number between 0 and 1, both excluded", got));
        }
        Invalid::unless_in("study.points", self.study.points, 2..=10_000)?;
        Invalid::unless_in("study.models", self.study.models, 1..=10_000_000)?;
        for (key, sizes, least) in
            [("study.sizes", &self.study.sizes, 100), ("study.growth", &self.study.growth, 10)]
        {
            if sizes.is_empty() || sizes.windows(2).any(|w| w[0] >= w[1]) || sizes[0] < least {
                let wanted = format!("one or more numbers of rows, rising, from {least} on");
                return Err(Invalid::new(key, wanted, format!("{sizes:?}")));
            }
        }
        if Phi::parse(&self.phi).is_none() {
            return Err(Invalid::new("phi", phi::FORMS, self.phi.clone()));
        }
        if Model::parse(&self.propensity).is_none() {
            return Err(Invalid::new("propensity", propensity::FORMS, self.propensity.clone()));
        }
        match self.range[..] {
            [] => Ok(()),
            [least, most] if least < most && least.is_finite() && most.is_finite() => Ok(()),
            _ => Err(Invalid::new(
                "range",
                "two numbers, the least and the greatest",
                format!("{:?}", self.range),
            )),
        }
    }

    /// The order statistic; `None` for k-agg.
    #[must_use]
    pub fn order(&self) -> Option<usize> {
        (self.k > 0).then_some(self.k)
    }

    /// The propensity model; checked before.
    #[must_use]
    pub fn model(&self) -> Model {
        Model::parse(&self.propensity).unwrap_or(Model::Trees)
    }

    /// `phi`; checked before.
    #[must_use]
    pub fn function(&self) -> Phi {
        Phi::parse(&self.phi).unwrap_or(Phi::Mean)
    }
}
