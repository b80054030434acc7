//! Trials on a map: a treatment is assigned to real places by their outcome, so that the true effect is known, and the effect is
//! measured again on the map.
//!
//! `P(A = 1 | Y) = sigma(c z(Y))` with `z` the standardised outcome: predictions are independent of the treatment given the outcome,
//! by construction. The truth is the same estimator on the real outcome of the same places.

use ream_lab::Result;
use ream_rand::Stream;
use ream_stats::bootstrap::percentile_of;
use ream_stats::{Matrix, glm};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::card::{Calibration, Card, Correction, Method, failed};
use super::config::Config;
use super::effects::{self, Effect, ErrorKind, Estimator, Treatment, estimate};
use super::inference::{self, Resamples, draw_corrections};
use super::places::{Places, Split};
use super::ppi;
use super::predictors::{self, Objective, Predictor};

/// What one trial gave.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The effect on the real outcome.
    pub truth: f64,
    /// The effect if all places, those of training and calibration too, were in the trial: expected means under the same law of
    /// treatment.
    pub population: Option<f64>,
    /// Standard deviation of the real outcome.
    pub deviation: f64,
    /// Estimates by name.
    pub estimates: BTreeMap<String, f64>,
    /// 95 % intervals by name.
    pub intervals: BTreeMap<String, [f64; 2]>,
}

impl Trial {
    /// Whether the effect is at least half a standard deviation (a medium one in Cohen's words).
    #[must_use]
    pub fn is_large(&self) -> bool {
        self.truth.abs() >= 0.5 * self.deviation
    }

    /// Whether an interval holds the truth.
    #[must_use]
    pub fn covered(&self, arm: &str) -> Option<bool> {
        self.intervals.get(arm).map(|[low, high]| (*low..=*high).contains(&self.truth))
    }

    /// Whether an interval holds the effect of all places.
    #[must_use]
    pub fn covered_population(&self, arm: &str) -> Option<bool> {
        let ([low, high], effect) = (self.intervals.get(arm)?, self.population?);
        Some((*low..=*high).contains(&effect))
    }

    fn tell(&mut self, arm: impl Into<String>, value: f64) {
        self.estimates.insert(arm.into(), value);
    }
}

/// A map of one split with its trials.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MapTrials {
    /// Trials whose treatment depends on the outcome.
    pub trials: Vec<Trial>,
    /// Trials whose treatment depends on covariates too.
    pub confounded: Vec<Trial>,
    /// `b`, R2, sigma, slope of truths on predictions.
    pub card: [f64; 4],
    /// Share of the trial places whose prediction lies outside the calibration range.
    pub outside: f64,
    /// For a treatment that is an input of the predictor: effects on truth and by method, and the t statistic of the test.
    pub input_treatment: BTreeMap<String, f64>,
    /// Errors of predictions of the trial places (root mean square), by method.
    pub prediction_error: BTreeMap<String, f64>,
}

/// A map: a predictor, its card, and predictions of the trial places.
pub struct Map {
    /// Held-out predictions with truths.
    pub calibration: Calibration,
    /// The card.
    pub card: Card,
    /// Corrections of bootstrap samples.
    pub replicates: Vec<Correction>,
    /// Predictions of the trial places, `[n]`.
    pub predictions: Vec<f64>,
    /// Predictions by predictors with the fix at training time, by name.
    pub fixed: Vec<(String, Vec<f64>)>,
}

/// Trains a predictor on one part, learns the card on the second, predicts the third.
///
/// # Errors
/// Errors of fits and of the card.
pub fn map(
    config: &Config,
    places: &Places,
    split: &Split,
    predictor: Predictor,
    stream: Stream,
) -> Result<Map> {
    let rows = |rows: &[usize]| places.features.select_rows(rows);
    let (train, truth) = (rows(&split.train), places.outcomes(&split.train));
    let trial = rows(&split.trial);
    let seed = stream.at(0).next_u64();
    let objective = |bias_penalty: f64| Objective {
        bias_penalty,
        steps: config.steps,
        seed,
        same_unit: places.same_unit,
    };
    let fitted = predictors::fit(predictor, &objective(0.0), &train, &truth)?;
    let calibration = Calibration {
        predictions: fitted.predict(&rows(&split.calibration))?,
        truth: places.outcomes(&split.calibration),
        clusters: Some(places.areas_of(&split.calibration)),
        weights: None,
    };
    let mut fixed = Vec::new();
    if predictor != Predictor::Trees {
        for &penalty in &config.bias_penalties {
            let fitted = predictors::fit(predictor, &objective(penalty), &train, &truth)?;
            fixed.push((format!("fixed-{penalty}"), fitted.predict(&trial)?));
        }
    }
    let card = Card::new(&calibration, &config.card_settings())?;
    let replicates =
        draw_corrections(&calibration, &config.replicate_settings(), config.bootstrap, stream.child(1))?;
    Ok(Map { predictions: fitted.predict(&trial)?, calibration, card, replicates, fixed })
}

/// Standardised values, population form.
fn standardised(values: &[f64]) -> (Vec<f64>, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let deviation = (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n).sqrt();
    (values.iter().map(|v| (v - mean) / deviation.max(f64::MIN_POSITIVE)).collect(), deviation)
}

/// Mean outcome of the treated less that of the others, expected over treatments of probability `sigma(c z(y))`, where `z` takes
/// mean and standard deviation from the trial's own outcomes.
fn expected_difference(outcome: &[f64], c: f64, of_trial: &[f64]) -> f64 {
    let mean = of_trial.iter().sum::<f64>() / of_trial.len() as f64;
    let (_, deviation) = standardised(of_trial);
    let (mut sums, mut totals) = ([0.0; 2], [0.0; 2]);
    for y in outcome {
        let p = glm::sigmoid(c * (y - mean) / deviation);
        for (arm, p) in [(0, 1.0 - p), (1, p)] {
            sums[arm] += p * y;
            totals[arm] += p;
        }
    }
    sums[1] / totals[1] - sums[0] / totals[0]
}

/// Covariates of the confounded trials.
const CONFOUNDERS: [&str; 2] = ["age", "educyr"];
/// The input of the predictor that is taken for a treatment, to show what goes wrong.
pub const INPUT_TREATMENT: &str = "urban";

/// All trials on one map. Two maps of the same split and stream see the same treatments.
///
/// # Errors
/// Errors of the estimators.
pub fn trials(
    config: &Config,
    places: &Places,
    split: &Split,
    map: &Map,
    stream: Stream,
) -> Result<MapTrials> {
    let truth = places.outcomes(&split.trial);
    let (z, deviation) = standardised(&truth);
    let bench = Bench::new(config, map, &truth, deviation, stream);
    let assignments = stream.child(1);
    let mut told = MapTrials::default();
    for t in 0..config.trials {
        let mut rng = assignments.at(t);
        let c = rng.between(-config.strength, config.strength);
        let score: Vec<f64> = z.iter().map(|z| c * z).collect();
        let values = effects::assign(&score, &mut rng);
        let treatment = Treatment { values, ..Treatment::default() };
        let mut trial = bench.trial(config, &treatment, stream.child(2).child(t))?;
        trial.population = Some(expected_difference(&places.outcome, c, &truth));
        told.trials.push(trial);
    }
    let covariate = |name: &&str| {
        let values = places.feature(name)?;
        let here: Vec<f64> = split.trial.iter().map(|&i| values[i]).collect();
        Some(standardised(&here).0)
    };
    if let Some(columns) = CONFOUNDERS.iter().map(covariate).collect::<Option<Vec<Vec<f64>>>>() {
        for t in 0..config.confounded_trials {
            told.confounded.push(confounded(config, &bench, &z, &columns, stream.child(3).at(t))?);
        }
    }
    if places.feature(INPUT_TREATMENT).is_some() {
        told.input_treatment = input_treatment(places, split, map, &truth)?;
    }
    let card = &map.card;
    let c = &card.correction;
    told.card = [c.line.slope, card.r_squared, c.sigma, c.forward.slope];
    told.outside = c.outside(&map.predictions) as f64 / truth.len() as f64;
    for method in Method::ALL {
        let corrected = c.corrected(method, &map.predictions);
        let squares: f64 = corrected.iter().zip(&truth).map(|(a, b)| (a - b) * (a - b)).sum();
        told.prediction_error.insert(method.name().to_owned(), (squares / truth.len() as f64).sqrt());
    }
    Ok(told)
}

/// What all trials on a map share.
struct Bench<'a> {
    map: &'a Map,
    truth: &'a [f64],
    deviation: f64,
    /// Trial places corrected by the card, one entry for each method.
    corrected: Vec<(Method, Vec<f64>)>,
    resamples: Resamples,
    /// Tweedie's correction by every replicate, `[replications][n]`.
    tweedie: Vec<Vec<f64>>,
}

impl<'a> Bench<'a> {
    fn new(config: &Config, map: &'a Map, truth: &'a [f64], deviation: f64, stream: Stream) -> Self {
        let correction = &map.card.correction;
        let corrected =
            Method::ALL.iter().map(|m| (*m, correction.corrected(*m, &map.predictions))).collect();
        Self {
            map,
            truth,
            deviation,
            corrected,
            resamples: Resamples::new(truth.len(), config.bootstrap, stream.child(0)),
            tweedie: map.replicates.iter().map(|c| c.corrected(Method::Tweedie, &map.predictions)).collect(),
        }
    }

    fn trial(&self, config: &Config, treatment: &Treatment, labels: Stream) -> Result<Trial> {
        let of =
            |outcome: &[f64]| estimate(Estimator::DifferenceInMeans, ErrorKind::Robust, treatment, outcome);
        let mut trial = Trial { truth: of(self.truth)?.value, deviation: self.deviation, ..Trial::default() };
        for (method, outcome) in &self.corrected {
            trial.tell(method.name(), of(outcome)?.value);
        }
        for (name, predictions) in &self.map.fixed {
            trial.tell(name.clone(), of(predictions)?.value);
        }
        self.intervals(&mut trial, treatment, of(&self.map.predictions)?)?;
        self.labelled(config, &mut trial, treatment, labels)?;
        Ok(trial)
    }

    /// Bootstrap intervals, and that of the delta method.
    fn intervals(&self, trial: &mut Trial, treatment: &Treatment, naive: Effect) -> Result<()> {
        let treated = treatment.arms()?;
        let plain = self.resamples.differences(&treated, |_| &self.map.predictions);
        let linear: Vec<f64> =
            plain.iter().zip(&self.map.replicates).map(|(d, c)| d / c.line.slope).collect();
        let tweedie = self.resamples.differences(&treated, |r| &self.tweedie[r]);
        for (method, draws) in [(Method::Naive, plain), (Method::Lcc, linear), (Method::Tweedie, tweedie)] {
            let value = trial.estimates.get(method.name()).copied().unwrap_or(f64::NAN);
            let interval = percentile_of(value, &draws, 0.95).map_err(failed)?;
            trial.intervals.insert(method.name().to_owned(), [interval.low, interval.high]);
        }
        let delta = inference::normal(inference::delta(naive, &self.map.card), 0.95)?;
        trial.intervals.insert("lcc-delta".to_owned(), [delta.low, delta.high]);
        Ok(())
    }

    /// Prediction-powered inference; more labels hold those of fewer.
    fn labelled(
        &self,
        config: &Config,
        trial: &mut Trial,
        treatment: &Treatment,
        stream: Stream,
    ) -> Result<()> {
        let n = self.truth.len();
        let mut order: Vec<usize> = (0..n).collect();
        stream.at(0).shuffle(&mut order);
        for &count in config.labels.iter().filter(|count| 2 * **count <= n) {
            let rows = &order[..count];
            let labels: Vec<f64> = rows.iter().map(|&i| self.truth[i]).collect();
            let found = ppi::prediction_powered(
                Estimator::DifferenceInMeans,
                ErrorKind::Robust,
                treatment,
                &self.map.predictions,
                rows,
                &labels,
            )?;
            for (name, effect) in [("ppi", found.plain), ("ppi-tuned", found.tuned), ("labels", found.labels)]
            {
                let arm = format!("{name}-{count}");
                let interval = inference::normal(effect, 0.95)?;
                trial.intervals.insert(arm.clone(), [interval.low, interval.high]);
                trial.tell(arm, effect.value);
            }
        }
        Ok(())
    }
}

/// A trial whose treatment depends on outcome and covariates, weighted by a logistic propensity of the covariates.
fn confounded(
    config: &Config,
    bench: &Bench<'_>,
    z: &[f64],
    covariates: &[Vec<f64>],
    mut rng: ream_rand::Rng,
) -> Result<Trial> {
    let c = rng.between(-config.strength, config.strength);
    let d: Vec<f64> = covariates.iter().map(|_| rng.between(-1.0, 1.0)).collect();
    let score: Vec<f64> = (0..z.len())
        .map(|i| c * z[i] + d.iter().zip(covariates).map(|(d, x)| d * x[i]).sum::<f64>())
        .collect();
    let treatment = Treatment {
        values: effects::assign(&score, &mut rng),
        covariates: Some(Matrix::from_columns(covariates).map_err(failed)?),
        clusters: None,
    };
    let of = |outcome: &[f64]| estimate(Estimator::Ipw, ErrorKind::Robust, &treatment, outcome);
    let mut trial = Trial { truth: of(bench.truth)?.value, deviation: bench.deviation, ..Trial::default() };
    for (method, outcome) in &bench.corrected {
        trial.tell(method.name(), of(outcome)?.value);
    }
    Ok(trial)
}

/// The effect of an input of the predictor, taken for a treatment: predictions answer to it directly.
fn input_treatment(
    places: &Places,
    split: &Split,
    map: &Map,
    truth: &[f64],
) -> Result<BTreeMap<String, f64>> {
    let column = places.feature(INPUT_TREATMENT).unwrap_or_default();
    let at = |rows: &[usize]| rows.iter().map(|&i| column[i]).collect::<Vec<f64>>();
    let treatment = Treatment { values: at(&split.trial), ..Treatment::default() };
    let of = |outcome: &[f64]| {
        estimate(Estimator::DifferenceInMeans, ErrorKind::Robust, &treatment, outcome).map(|e| e.value)
    };
    let mut told = BTreeMap::from([("truth".to_owned(), of(truth)?)]);
    for method in [Method::Naive, Method::Lcc, Method::Tweedie] {
        let outcome = map.card.correction.corrected(method, &map.predictions);
        told.insert(method.name().to_owned(), of(&outcome)?);
    }
    let sample = &map.calibration;
    let test = effects::independence(
        &sample.predictions,
        &sample.truth,
        &at(&split.calibration),
        sample.clusters.as_deref(),
    )?;
    told.insert("t".to_owned(), test.t());
    told.insert("coefficient".to_owned(), test.coefficient);
    Ok(told)
}
