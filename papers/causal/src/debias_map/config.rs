//! Configuration.

use ream_lab::Invalid;
use ream_stats::density::Bandwidth;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::card::{CardSettings, Derivative, Method};
use super::effects::{ErrorKind, Estimator};
use super::predictors::Predictor;

/// The experiment, and how your own file is read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Splits of the areas into training, calibration and trial; each is a new map.
    pub splits: u64,
    /// Trials on each map whose treatment depends on the outcome.
    pub trials: u64,
    /// Trials on each map of households whose treatment depends on covariates too, estimated by inverse-probability weights.
    pub confounded_trials: u64,
    /// Strengths c of the dependence of treatment on the standardised outcome are uniform on -strength to strength.
    pub strength: f64,
    /// Predictors of the households' map.
    pub predictors: Vec<Predictor>,
    /// Predictor of the map of digits.
    pub digits_predictor: Predictor,
    /// Pictures of digits; 0 for all, none without the data set.
    pub digits: usize,
    /// Steps of the perceptron's training, on all rows at once.
    pub steps: u64,
    /// Weights of the bias penalty at training time.
    pub bias_penalties: Vec<f64>,
    /// Numbers of fresh labels of prediction-powered inference.
    pub labels: Vec<usize>,
    /// Bootstrap samples B on each map of the experiment.
    pub bootstrap: usize,
    /// Places of the analytic cases.
    pub analytic: usize,
    /// Width of the kernels: scott, silverman, or a number.
    pub bandwidth: String,
    /// Recentre predictions by the regression of truth on prediction before Tweedie's correction.
    pub recalibrate: bool,
    /// Points of the score curve.
    pub points: usize,
    /// How the score is taken.
    pub derivative: Derivative,
    /// How your own tables (--data calibration.csv) are read.
    pub own: Own,
}

/// The user's own tables.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Own {
    /// Column of predictions.
    pub prediction: String,
    /// Column of truths in the calibration table.
    pub truth: String,
    /// Column of areas: standard errors, the bootstrap and folds go by them. Used where a table has it.
    pub cluster: Option<String>,
    /// Column of weights in the calibration table.
    pub weight: Option<String>,
    /// Column that names each unit once.
    pub id: Option<String>,
    /// File of the trial; without it the card and the corrected map are made.
    pub trial: Option<String>,
    /// File with id and prediction, joined to the trial by `own.id`, where the trial has no predictions.
    pub map: Option<String>,
    /// A card made before (card.json): then --data is the trial.
    pub card: Option<String>,
    /// Column of the trial's treatment: 0 or 1, any numbers for least squares.
    pub treatment: String,
    /// Columns of the trial's covariates.
    pub covariates: Vec<String>,
    /// Column of the trial with truths of some units (empty elsewhere): adds prediction-powered inference.
    pub label: Option<String>,
    /// Columns that a predictor is trained on; then --data holds them and the truth, and predictions are made here.
    pub features: Vec<String>,
    /// Predictor of your features.
    pub predictor: Predictor,
    /// Folds of out-of-fold predictions over whole areas for the card; 0 sets half of the areas aside instead.
    pub folds: usize,
    /// Columns of the calibration table to test: do predictions answer to them once the truth is held equal? Name columns like
    /// the treatment.
    pub test: Vec<String>,
    /// File with prediction and truth that sigma is taken from.
    pub sigma_sample: Option<String>,
    /// Which rows the table of effects has.
    pub methods: Vec<Method>,
    /// How the effect is estimated.
    pub estimator: Estimator,
    /// Which standard errors.
    pub se: ErrorKind,
    /// Level of intervals.
    pub level: f64,
    /// Bootstrap samples of your card and trial.
    pub bootstrap: usize,
    /// Folder for map.csv, card.json and the table of effects (CSV, JSON, Markdown, LaTeX).
    pub output: Option<String>,
}

impl Default for Own {
    fn default() -> Self {
        Self {
            prediction: "prediction".to_owned(),
            truth: "truth".to_owned(),
            cluster: None,
            weight: None,
            id: None,
            trial: None,
            map: None,
            card: None,
            treatment: "treatment".to_owned(),
            covariates: Vec::new(),
            label: None,
            features: Vec::new(),
            predictor: Predictor::Ridge,
            folds: 5,
            test: Vec::new(),
            sigma_sample: None,
            methods: vec![Method::Naive, Method::Lcc, Method::Tweedie],
            estimator: Estimator::DifferenceInMeans,
            se: ErrorKind::Auto,
            level: 0.95,
            bootstrap: 500,
            output: None,
        }
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            splits: 10,
            trials: 40,
            confounded_trials: 10,
            strength: 1.5,
            predictors: vec![Predictor::Ridge, Predictor::Trees, Predictor::Mlp],
            digits_predictor: Predictor::Mlp,
            digits: 0,
            steps: 100,
            bias_penalties: vec![1.0, 5.0],
            labels: vec![50, 100, 200, 400],
            bootstrap: 500,
            analytic: 200_000,
            bandwidth: "scott".to_owned(),
            recalibrate: true,
            points: 512,
            derivative: Derivative::Analytic,
            own: Own::default(),
        }
    }
}

/// A bandwidth from its word or number.
fn bandwidth(text: &str) -> Option<Bandwidth> {
    match text {
        "scott" => Some(Bandwidth::Scott),
        "silverman" => Some(Bandwidth::Silverman),
        other => other.parse().ok().filter(|h: &f64| *h > 0.0 && h.is_finite()).map(Bandwidth::Fixed),
    }
}

impl Config {
    /// A small one, for seconds.
    #[must_use]
    pub fn smoke() -> Self {
        Self {
            splits: 2,
            trials: 10,
            confounded_trials: 3,
            predictors: vec![Predictor::Ridge],
            digits_predictor: Predictor::Ridge,
            digits: 1200,
            steps: 40,
            bootstrap: 60,
            analytic: 20_000,
            ..Self::default()
        }
    }

    /// Ranges of all keys.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn check(&self) -> Result<(), Invalid> {
        Invalid::unless_in("splits", self.splits, 1..=1000)?;
        Invalid::unless_in("trials", self.trials, 2..=10_000)?;
        Invalid::unless_in("confounded_trials", self.confounded_trials, 0..=10_000)?;
        Invalid::unless_in("strength", self.strength, 0.1..=5.0)?;
        Invalid::unless_in("steps", self.steps, 1..=100_000)?;
        Invalid::unless_in("bootstrap", self.bootstrap, 2..=100_000)?;
        Invalid::unless_in("analytic", self.analytic, 1000..=10_000_000)?;
        Invalid::unless_in("points", self.points, 16..=100_000)?;
        Invalid::unless_in("own.bootstrap", self.own.bootstrap, 2..=100_000)?;
        Invalid::unless_in("own.level", self.own.level, 0.5..=0.999)?;
        if self.own.folds != 0 {
            Invalid::unless_in("own.folds", self.own.folds, 2..=100)?;
        }
        if self.digits != 0 {
            Invalid::unless_in("digits", self.digits, 400..=10_000)?;
        }
        if bandwidth(&self.bandwidth).is_none() {
            let wanted = "scott, silverman, or a number above 0";
            return Err(Invalid::new("bandwidth", wanted, self.bandwidth.clone()));
        }
        let mut kinds = self.predictors.clone();
        kinds.sort_unstable();
        kinds.dedup();
        if kinds.is_empty() || kinds.len() != self.predictors.len() {
            return Err(Invalid::new(
                "predictors",
                "one or more, each once",
                format!("{:?}", self.predictors),
            ));
        }
        let positive = |l: &f64| *l > 0.0 && *l <= 1e4;
        if !self.bias_penalties.iter().all(positive) || has_repeats(&self.bias_penalties) {
            let got = format!("{:?}", self.bias_penalties);
            return Err(Invalid::new("bias_penalties", "numbers above 0, at most 10000, each once", got));
        }
        let labels: Vec<f64> = self.labels.iter().map(|n| *n as f64).collect();
        if !self.labels.iter().all(|n| (20..=10_000).contains(n)) || has_repeats(&labels) {
            return Err(Invalid::new(
                "labels",
                "numbers from 20 to 10000, each once",
                format!("{:?}", self.labels),
            ));
        }
        if matches!(self.own.estimator, Estimator::Ipw | Estimator::Aipw) && self.own.covariates.is_empty() {
            let wanted = "one or more covariates for weights by the propensity";
            return Err(Invalid::new("own.covariates", wanted, "none"));
        }
        if self.own.card.is_some() && (self.own.trial.is_some() || !self.own.features.is_empty()) {
            let wanted = "neither own.trial nor own.features beside a card: --data is the trial then";
            return Err(Invalid::new("own.card", wanted, "both"));
        }
        Ok(())
    }

    /// How cards are made.
    #[must_use]
    pub fn card_settings(&self) -> CardSettings {
        CardSettings {
            bandwidth: bandwidth(&self.bandwidth).unwrap_or(Bandwidth::Scott),
            recalibrate: self.recalibrate,
            points: self.points,
            derivative: self.derivative,
        }
    }

    /// The same with fewer points, for bootstrap samples.
    #[must_use]
    pub fn replicate_settings(&self) -> CardSettings {
        CardSettings { points: self.points.min(128), ..self.card_settings() }
    }
}

fn has_repeats(values: &[f64]) -> bool {
    values.iter().enumerate().any(|(i, v)| values[..i].contains(v))
}
