//! Configuration.

use ream_lab::Invalid;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::select::Selector;

/// The estimator that is applied to a file of one's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Estimator {
    /// Ordinary least squares.
    Ols,
    /// Two-stage least squares.
    #[serde(rename = "2sls")]
    TwoStage,
    /// Limited-information maximum likelihood.
    Liml,
    /// The k-class with a kappa of your own.
    Kclass,
    /// The blend of instrumental-variable loss and least squares.
    Ivl,
    /// Anchor regression.
    Anchor,
}

impl Estimator {
    /// The name shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ols => "OLS",
            Self::TwoStage => "2SLS",
            Self::Liml => "LIML",
            Self::Kclass => "k-class",
            Self::Ivl => "IVL",
            Self::Anchor => "anchor regression",
        }
    }
}

/// Standard errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CovarianceKind {
    /// One variance for all rows.
    Classical,
    /// White's.
    Hc0,
    /// White's times n / (n - p).
    Hc1,
    /// By leverage (OLS only).
    Hc2,
    /// By leverage, squared (OLS only).
    Hc3,
    /// By cluster; name its column.
    Cluster,
}

/// What can be set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Points of the grid of alpha, 1e-3 to 1e3.
    pub alphas: usize,
    /// The linear simulation.
    pub simulation: Simulation,
    /// The optical device.
    pub optical: Optical,
    /// The coloured digits.
    pub digits: Digits,
    /// Your own file: column of the outcome.
    pub outcome: Option<String>,
    /// Columns whose effects are wanted and which may be confounded.
    pub treatments: Vec<String>,
    /// Columns held equal; they are their own instruments. An intercept is always there.
    pub controls: Vec<String>,
    /// Columns that act on the outcome through the treatments alone.
    pub instruments: Vec<String>,
    /// Augmentations of the treatments, one after the other, instead of instruments: `translate cols=a,b sd=0.5`, `null-of
    /// vector=1,0,-2 sd=1`, `permute-columns cols=a,b,c`, `flip image=8x8 axis=h`, `rotate image=8x8 max=15`, `shift image=8x8 by=1`,
    /// `noise sd=0.3`, `column g=g1,g2 to=x1_t,x2_t`.
    pub augment: Vec<String>,
    /// Columns that the outcome depends on in any case: an augmentation that changes one is refused.
    pub outcome_relevant: Vec<String>,
    /// Which estimator.
    pub estimator: Estimator,
    /// alpha of IVL; left out, the selector takes it.
    pub alpha: Option<f64>,
    /// How alpha is chosen.
    pub selector: Selector,
    /// kappa of the k-class.
    pub kappa: Option<f64>,
    /// gamma of anchor regression.
    pub gamma: Option<f64>,
    /// Treatments to powers up to this one, after the augmentation.
    pub degree: u32,
    /// Standard errors.
    pub covariance: CovarianceKind,
    /// Column of the clusters.
    pub cluster: Option<String>,
    /// Draws of the augmentation that estimates are averaged over.
    pub redraws: u64,
    /// Bootstrap samples of augmented fits; each draws the augmentation anew.
    pub bootstrap: usize,
    /// Confidence level.
    pub level: f64,
    /// Leave out rows with a missing value.
    pub drop_missing: bool,
}

/// The linear simulation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Simulation {
    /// Inputs, and confounders.
    pub dimension: usize,
    /// Rows.
    pub rows: usize,
    /// Strengths of confounding in the sweep.
    pub kappas: Vec<f64>,
    /// Strengths of augmentation in the sweep.
    pub gammas: Vec<f64>,
    /// Data sets of a sweep, all made by the first seed.
    pub repeats: u64,
    /// Rows at which IVL is held against a stronger augmentation.
    pub equivalence: Vec<usize>,
}

/// The optical device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Optical {
    /// The first so many experiments; 0 for all twelve.
    pub experiments: usize,
    /// Draws of the augmentation that estimates are averaged over.
    pub redraws: u64,
}

/// The coloured digits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Digits {
    /// Training digits; 0 for all 8,495.
    pub train: usize,
    /// Epochs of the perceptrons.
    pub epochs: u64,
}

impl Config {
    /// The whole experiment.
    #[must_use]
    pub fn full() -> Self {
        Self {
            alphas: 13,
            simulation: Simulation {
                dimension: 32,
                rows: 2048,
                kappas: (0..=8).map(|k| 0.25 * f64::from(k)).collect(),
                gammas: vec![0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0],
                repeats: 32,
                equivalence: vec![10_000, 100_000, 1_000_000],
            },
            optical: Optical { experiments: 0, redraws: 20 },
            digits: Digits { train: 0, epochs: 20 },
            outcome: None,
            treatments: Vec::new(),
            controls: Vec::new(),
            instruments: Vec::new(),
            augment: Vec::new(),
            outcome_relevant: Vec::new(),
            estimator: Estimator::Ivl,
            alpha: None,
            selector: Selector::Cc,
            kappa: None,
            gamma: None,
            degree: 1,
            covariance: CovarianceKind::Hc1,
            cluster: None,
            redraws: 20,
            bootstrap: 500,
            level: 0.95,
            drop_missing: false,
        }
    }

    /// A few seconds of it.
    #[must_use]
    pub fn smoke() -> Self {
        let full = Self::full();
        Self {
            simulation: Simulation {
                kappas: vec![0.0, 1.0, 2.0],
                gammas: vec![0.1, 1.0, 10.0],
                repeats: 2,
                equivalence: vec![10_000],
                ..full.simulation
            },
            optical: Optical { experiments: 2, redraws: 4 },
            digits: Digits { train: 600, epochs: 2 },
            ..full
        }
    }

    /// Ranges of all keys.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self) -> Result<(), Invalid> {
        Invalid::unless_in("alphas", self.alphas, 3..=200)?;
        Invalid::unless_in("simulation.dimension", self.simulation.dimension, 2..=200)?;
        Invalid::unless_in("simulation.rows", self.simulation.rows, 200..=1_000_000)?;
        Invalid::unless_in("simulation.repeats", self.simulation.repeats, 2..=10_000)?;
        if self.simulation.rows < 10 * self.simulation.dimension {
            let wanted = format!("at least ten for each of {} inputs", self.simulation.dimension);
            return Err(Invalid::new("simulation.rows", wanted, self.simulation.rows.to_string()));
        }
        positive_list("simulation.kappas", &self.simulation.kappas, 0.0)?;
        positive_list("simulation.gammas", &self.simulation.gammas, 1e-6)?;
        if let Some(n) = self.simulation.equivalence.iter().find(|n| !(1000..=100_000_000).contains(*n)) {
            let wanted = "numbers of rows between 1000 and 100000000";
            return Err(Invalid::new("simulation.equivalence", wanted, n.to_string()));
        }
        Invalid::unless_in("optical.experiments", self.optical.experiments, 0..=12)?;
        Invalid::unless_in("optical.redraws", self.optical.redraws, 1..=1000)?;
        if self.digits.train != 0 {
            Invalid::unless_in("digits.train", self.digits.train, 300..=8495)?;
        }
        Invalid::unless_in("digits.epochs", self.digits.epochs, 1..=1000)?;
        Invalid::unless_in("degree", self.degree, 1..=5)?;
        Invalid::unless_in("redraws", self.redraws, 1..=1000)?;
        Invalid::unless_in("bootstrap", self.bootstrap, 2..=100_000)?;
        Invalid::unless_in("level", self.level, 0.5..=0.9999)?;
        if let Some(alpha) = self.alpha.filter(|a| !(*a >= 0.0 && a.is_finite())) {
            return Err(Invalid::new("alpha", "a number of at least 0", alpha.to_string()));
        }
        if let Some(gamma) = self.gamma.filter(|g| !(*g > 0.0 && g.is_finite())) {
            return Err(Invalid::new("gamma", "a number above 0", gamma.to_string()));
        }
        if let Some(kappa) = self.kappa.filter(|k| !k.is_finite()) {
            return Err(Invalid::new("kappa", "a finite number", kappa.to_string()));
        }
        Ok(())
    }

    /// Keys that only a file of one's own can answer to.
    ///
    /// # Errors
    /// The key that was set.
    pub fn none_of_own(&self) -> Result<(), Invalid> {
        let lists = [
            ("treatments", &self.treatments),
            ("controls", &self.controls),
            ("instruments", &self.instruments),
            ("augment", &self.augment),
            ("outcome_relevant", &self.outcome_relevant),
        ];
        let given = lists.into_iter().filter_map(|(key, list)| list.first().map(|v| (key, v)));
        let numbers = [("alpha", self.alpha), ("kappa", self.kappa), ("gamma", self.gamma)];
        let single = [("outcome", self.outcome.clone()), ("cluster", self.cluster.clone())]
            .into_iter()
            .chain(numbers.map(|(key, v)| (key, v.map(|v| v.to_string()))));
        let mut all =
            single.filter_map(|(key, v)| v.map(|v| (key, v))).chain(given.map(|(key, v)| (key, v.clone())));
        match all.next() {
            Some((key, value)) => {
                Err(Invalid::new(key, "nothing, unless --data gives a file of your own", value))
            }
            None => Ok(()),
        }
    }
}

fn positive_list(key: &str, values: &[f64], least: f64) -> Result<(), Invalid> {
    let fits = |v: &f64| v.is_finite() && *v >= least && *v <= 1e6;
    let rising = values.windows(2).all(|pair| pair[0] < pair[1]);
    if !values.is_empty() && values.iter().all(fits) && rising {
        return Ok(());
    }
    let wanted = format!("one or more rising numbers from {least} to 1e6");
    Err(Invalid::new(key, wanted, format!("{values:?}")))
}
