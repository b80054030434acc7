//! The card of a map: what its maker learns once, on places that the predictor has not seen, and publishes beside the predictions.
//!
//! With predictions `z` of truths `y` on the calibration sample, the regression of `z` **on** `y` gives
//!
//! `E[z | y] = a + b y`,  `b = Cov(z, y) / Var(y)`.
//!
//! (The regression of `y` on `z` is another line: its slope is near 1 for a predictor trained to be accurate, and dividing by it
//! leaves the attenuation where it is.) For Tweedie's correction predictions are first recentred by that other line, so that
//! `y = z + e` with errors `e` of mean 0 that do not depend on `z` (Berkson errors), of variance `sigma^2`. A kernel density of the
//! recentred predictions gives the score.

use ream_lab::{Error, Invalid, Result};
use ream_stats::density::{Bandwidth, Kde, ScoreCurve};
use ream_stats::{Covariance, Matrix, linear};
use serde::{Deserialize, Serialize};

/// Fewest calibration rows.
pub const LEAST_ROWS: usize = 20;
/// Below this many calibration rows there is a warning.
pub const FEW_ROWS: usize = 100;
/// Slopes of predictions on truths up to this are no signal: dividing by them gives noise.
pub const LEAST_SLOPE: f64 = 0.05;
/// Slopes of truths on predictions outside this range violate the premise of Berkson errors.
pub const BERKSON: [f64; 2] = [0.9, 1.1];
/// From this many rows on the density is binned.
const MANY_ROWS: usize = 4096;
const CELLS: usize = 1024;

/// Held-out predictions with the truth.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Calibration {
    /// `[n]`.
    pub predictions: Vec<f64>,
    /// `[n]`, in the same unit.
    pub truth: Vec<f64>,
    /// `[n]`, of areas that were drawn together; standard errors and the bootstrap go by them.
    pub clusters: Option<Vec<usize>>,
    /// `[n]`, not negative.
    pub weights: Option<Vec<f64>>,
}

impl Calibration {
    /// The rows at these positions, which may repeat.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        let pick = |values: &[f64]| rows.iter().map(|&i| values[i]).collect();
        Self {
            predictions: pick(&self.predictions),
            truth: pick(&self.truth),
            clusters: self.clusters.as_ref().map(|ids| rows.iter().map(|&i| ids[i]).collect()),
            weights: self.weights.as_ref().map(|w| pick(w)),
        }
    }

    fn check(&self) -> Result<()> {
        let n = self.predictions.len();
        if n < LEAST_ROWS {
            let wanted = format!("at least {LEAST_ROWS} rows with prediction and truth");
            return Err(Invalid::new("the calibration sample", wanted, n.to_string()).into());
        }
        let others = [self.clusters.as_ref().map(Vec::len), self.weights.as_ref().map(Vec::len)];
        let lengths = others.into_iter().flatten().chain([self.truth.len()]);
        if let Some(length) = lengths.into_iter().find(|length| *length != n) {
            let wanted = format!("{n} values, one for each prediction");
            return Err(Invalid::new("the calibration sample", wanted, length.to_string()).into());
        }
        for (what, values) in [("predictions", &self.predictions), ("truths", &self.truth)] {
            if let Some(row) = values.iter().position(|v| !v.is_finite()) {
                let place = format!("the calibration sample, {what}, row {}", row + 1);
                return Err(Invalid::new(place, "a finite number", values[row].to_string()).into());
            }
            if values.iter().all(|v| *v == values[0]) {
                let place = format!("the calibration sample, {what}");
                return Err(
                    Invalid::new(place, "values that differ", format!("{} everywhere", values[0])).into()
                );
            }
        }
        let weights = self.weights.as_deref().unwrap_or(&[]);
        if let Some(row) = weights.iter().position(|w| !(*w >= 0.0 && w.is_finite())) {
            let place = format!("the calibration sample, weights, row {}", row + 1);
            return Err(Invalid::new(place, "a number of at least 0", weights[row].to_string()).into());
        }
        Ok(())
    }
}

/// How the derivative of the log-density is taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Derivative {
    /// The weighted mean of the kernels' own.
    #[default]
    Analytic,
    /// `(log p(z + h) - log p(z - h)) / 2h` with `h` a thousandth of the predictions' standard deviation.
    CentralDifference,
}

/// How a card is made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CardSettings {
    /// Width of the kernels.
    pub bandwidth: Bandwidth,
    /// Recentre predictions before Tweedie's correction.
    pub recalibrate: bool,
    /// Points of the score curve.
    pub points: usize,
    /// How the score is taken.
    pub derivative: Derivative,
}

impl Default for CardSettings {
    fn default() -> Self {
        Self { bandwidth: Bandwidth::Scott, recalibrate: true, points: 512, derivative: Derivative::Analytic }
    }
}

/// A straight line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// Value at 0.
    pub intercept: f64,
    /// Rise.
    pub slope: f64,
}

impl Line {
    /// Value at `x`.
    #[must_use]
    pub fn at(self, x: f64) -> f64 {
        self.intercept + self.slope * x
    }
}

/// What corrects a prediction.
#[derive(Clone, Debug, PartialEq)]
pub struct Correction {
    /// Predictions on truths: `a` and `b`.
    pub line: Line,
    /// Truths on predictions.
    pub forward: Line,
    /// What is done to predictions before Tweedie's correction: `forward`, or nothing.
    pub recentring: Line,
    /// Standard deviation of truth less recentred prediction, population form.
    pub sigma: f64,
    /// Score of the density of recentred predictions over the calibration range.
    pub curve: ScoreCurve,
    /// Means of predictions and truths.
    pub means: [f64; 2],
    /// Their standard deviations, population form.
    pub deviations: [f64; 2],
}

/// The ways to treat predictions.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// As they are.
    Naive,
    /// The line inverted, `(z - a) / b`.
    Lcc,
    /// `z - sigma^2 d/dz log p(z)` of recentred predictions.
    Tweedie,
    /// The classic mistake: the regression of truths on predictions.
    Forward,
    /// Rescaled to the truths' standard deviation.
    Variance,
}

impl Method {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Naive, Self::Lcc, Self::Tweedie, Self::Forward, Self::Variance];

    /// The word used in observations and tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Naive => "naive",
            Self::Lcc => "lcc",
            Self::Tweedie => "tweedie",
            Self::Forward => "forward",
            Self::Variance => "variance",
        }
    }
}

impl Correction {
    /// Learns a correction. Nothing is asked of the slope: see [`Card::new`].
    ///
    /// # Errors
    /// Fewer than 20 rows, lengths that differ, values that are not finite, constant predictions or truths.
    pub fn new(sample: &Calibration, settings: &CardSettings) -> Result<Self> {
        sample.check()?;
        let weights = sample.weights.as_deref();
        let moments = Moments::of(&sample.predictions, &sample.truth, weights);
        let forward = moments.line();
        let recentring = if settings.recalibrate { forward } else { Line { intercept: 0.0, slope: 1.0 } };
        let centred: Vec<f64> = sample.predictions.iter().map(|z| recentring.at(*z)).collect();
        let errors = Moments::of(&centred, &sample.truth, weights).of_difference();
        let curve = score_curve(&centred, weights, settings)?;
        Ok(Self {
            line: moments.turned().line(),
            forward,
            recentring,
            sigma: errors.sqrt(),
            curve,
            means: moments.means,
            deviations: moments.variances.map(f64::sqrt),
        })
    }

    /// A prediction corrected.
    #[must_use]
    pub fn apply(&self, method: Method, prediction: f64) -> f64 {
        match method {
            Method::Naive => prediction,
            Method::Lcc => (prediction - self.line.intercept) / self.line.slope,
            Method::Tweedie => {
                let z = self.recentring.at(prediction);
                // Below a mode the score is positive and the point moves down, away from the mean.
                z - self.sigma * self.sigma * self.curve.at(z)
            }
            Method::Forward => self.forward.at(prediction),
            Method::Variance => {
                self.means[1] + (prediction - self.means[0]) * self.deviations[1] / self.deviations[0]
            }
        }
    }

    /// Predictions corrected, `[n]`.
    #[must_use]
    pub fn corrected(&self, method: Method, predictions: &[f64]) -> Vec<f64> {
        predictions.iter().map(|z| self.apply(method, *z)).collect()
    }

    /// How many predictions lie outside the range of the calibration sample.
    #[must_use]
    pub fn outside(&self, predictions: &[f64]) -> usize {
        let centred: Vec<f64> = predictions.iter().map(|z| self.recentring.at(*z)).collect();
        self.curve.outside(&centred)
    }
}

/// First and second moments of two variables.
struct Moments {
    means: [f64; 2],
    variances: [f64; 2],
    covariance: f64,
}

impl Moments {
    fn of(a: &[f64], b: &[f64], weights: Option<&[f64]>) -> Self {
        let weight = |i: usize| weights.map_or(1.0, |w| w[i]);
        let total: f64 = (0..a.len()).map(weight).sum();
        let mean = |v: &[f64]| v.iter().enumerate().map(|(i, v)| weight(i) * v).sum::<f64>() / total;
        let means = [mean(a), mean(b)];
        let (mut variances, mut covariance) = ([0.0; 2], 0.0);
        for (i, (a, b)) in a.iter().zip(b).enumerate() {
            let (a, b) = (a - means[0], b - means[1]);
            variances[0] += weight(i) * a * a;
            variances[1] += weight(i) * b * b;
            covariance += weight(i) * a * b;
        }
        Self { means, variances: variances.map(|v| v / total), covariance: covariance / total }
    }

    /// The other one first.
    fn turned(&self) -> Self {
        let [a, b] = self.means;
        let [va, vb] = self.variances;
        Self { means: [b, a], variances: [vb, va], covariance: self.covariance }
    }

    /// The second on the first.
    fn line(&self) -> Line {
        let slope = self.covariance / self.variances[0];
        Line { intercept: self.means[1] - slope * self.means[0], slope }
    }

    /// Variance of the second less the first.
    fn of_difference(&self) -> f64 {
        (self.variances[0] + self.variances[1] - 2.0 * self.covariance).max(0.0)
    }
}

fn score_curve(centred: &[f64], weights: Option<&[f64]>, settings: &CardSettings) -> Result<ScoreCurve> {
    let kde = if centred.len() > MANY_ROWS {
        Kde::binned(centred, weights, settings.bandwidth, CELLS)
    } else {
        Kde::new(centred, weights, settings.bandwidth)
    };
    let kde = kde.map_err(failed)?;
    let (low, high) = kde.range();
    match settings.derivative {
        Derivative::Analytic => ScoreCurve::new(&kde, low, high, settings.points),
        Derivative::CentralDifference => {
            let moments = Moments::of(centred, centred, weights);
            let step = moments.variances[0].sqrt() * 1e-3;
            let grid = ScoreCurve::new(&kde, low, high, settings.points).map_err(failed)?.grid();
            let slope = |z: &f64| (kde.log_density(z + step) - kde.log_density(z - step)) / (2.0 * step);
            ScoreCurve::from_scores(low, high, grid.iter().map(slope).collect())
        }
    }
    .map_err(failed)
}

/// A statistic that cannot be computed, as an error of the lab.
pub(crate) fn failed(error: impl std::fmt::Display) -> Error {
    Error::failed(error.to_string())
}

/// A correction with what a reader of the map must know.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// The correction.
    pub correction: Correction,
    /// Standard errors of `a` and `b`, HC1 or by cluster.
    pub line_errors: [f64; 2],
    /// Standard error of the slope of truths on predictions.
    pub forward_error: f64,
    /// Share of the truths' variance that predictions explain, `1 - sum (y - z)^2 / sum (y - mean)^2`.
    pub r_squared: f64,
    /// Calibration rows.
    pub rows: usize,
    /// Calibration clusters, where there are any.
    pub clusters: Option<usize>,
    /// What a reader must know, in words.
    pub warnings: Vec<String>,
}

impl Card {
    /// Learns the card of a map from held-out predictions.
    ///
    /// # Errors
    /// Those of [`Correction::new`], and a slope of predictions on truths of at most 0.05: nothing can be corrected then.
    pub fn new(sample: &Calibration, settings: &CardSettings) -> Result<Self> {
        let correction = Correction::new(sample, settings)?;
        let slope = correction.line.slope;
        if slope <= LEAST_SLOPE {
            let wanted = format!(
                "a slope b of predictions on truth above {LEAST_SLOPE} (at or below it the predictions carry no signal to correct{})",
                if slope < 0.0 { "; a negative one means that they are turned round" } else { "" }
            );
            return Err(Invalid::new("the calibration sample", wanted, format!("{slope:.4}")).into());
        }
        let design = |x: &[f64]| Matrix::from_columns(&[x]).map(|x| x.with_intercept()).map_err(failed);
        let kind = sample.clusters.as_deref().map_or(Covariance::Hc1, Covariance::Cluster);
        let fit = |x: &[f64], y: &[f64]| {
            let x = design(x)?;
            match &sample.weights {
                Some(w) => linear::wls(&x, y, w, kind).map_err(failed),
                None => linear::ols(&x, y, kind).map_err(failed),
            }
        };
        let line = fit(&sample.truth, &sample.predictions)?;
        let forward = fit(&sample.predictions, &sample.truth)?;
        let clusters = sample.clusters.as_ref().map(|ids| {
            let mut ids = ids.clone();
            ids.sort_unstable();
            ids.dedup();
            ids.len()
        });
        let moments = Moments::of(&sample.predictions, &sample.truth, sample.weights.as_deref());
        let bias = moments.means[1] - moments.means[0];
        let mut card = Self {
            r_squared: 1.0 - (moments.of_difference() + bias * bias) / moments.variances[1],
            line_errors: [line.standard_errors[0], line.standard_errors[1]],
            forward_error: forward.standard_errors[1],
            rows: sample.predictions.len(),
            clusters,
            warnings: Vec::new(),
            correction,
        };
        card.warnings = card.cautions();
        Ok(card)
    }

    /// Takes `sigma` from a second sample, whose predictions are recentred by this card.
    ///
    /// # Errors
    /// As [`Correction::new`].
    pub fn with_sigma_of(mut self, sample: &Calibration) -> Result<Self> {
        sample.check()?;
        let centred: Vec<f64> =
            sample.predictions.iter().map(|z| self.correction.recentring.at(*z)).collect();
        let errors = Moments::of(&centred, &sample.truth, sample.weights.as_deref());
        self.correction.sigma = errors.of_difference().sqrt();
        Ok(self)
    }

    fn cautions(&self) -> Vec<String> {
        let mut all = Vec::new();
        if self.rows < FEW_ROWS {
            all.push(format!(
                "{} calibration rows: b and the score curve are rough below {FEW_ROWS}; trust the bootstrap interval, not the point",
                self.rows
            ));
        }
        if let Some(clusters) = self.clusters.filter(|c| *c < 20) {
            all.push(format!(
                "{clusters} calibration clusters: standard errors by cluster are too small with fewer than about 20"
            ));
        }
        let slope = self.correction.forward.slope;
        if !(BERKSON[0]..=BERKSON[1]).contains(&slope) {
            let recentred =
                self.correction.recentring.slope != 1.0 || self.correction.recentring.intercept != 0.0;
            all.push(format!(
                "the truth rises by {slope:.3} for one unit of prediction, outside 0.9 to 1.1: errors do not behave as Tweedie's correction \
                 assumes (the predictor is over- or underfitted for these places); {}",
                if recentred {
                    "its predictions were recentred by that line first"
                } else {
                    "switch on `recalibrate`, or use the linear correction alone"
                }
            ));
        }
        all
    }
}

/// A card as a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CardFile {
    /// What this is.
    pub format: String,
    /// Predictions on truths: `a`, `b`.
    pub line: Line,
    /// Standard errors of `a` and `b`.
    pub line_errors: [f64; 2],
    /// Truths on predictions.
    pub forward: Line,
    /// Standard error of its slope.
    pub forward_error: f64,
    /// What is done to predictions before Tweedie's correction.
    pub recentring: Line,
    /// Standard deviation of the errors.
    pub sigma: f64,
    /// Ends of the score curve, in recentred predictions.
    pub range: [f64; 2],
    /// Scores at equally spaced points between them.
    pub scores: Vec<f64>,
    /// Means of predictions and truths.
    pub means: [f64; 2],
    /// Their standard deviations.
    pub deviations: [f64; 2],
    /// Share of variance explained.
    pub r_squared: f64,
    /// Calibration rows.
    pub rows: usize,
    /// Calibration clusters.
    pub clusters: Option<usize>,
    /// What a reader must know.
    pub warnings: Vec<String>,
    /// Columns that were tested: do predictions answer to them once the truth is held equal?
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Corrections of bootstrap samples of the calibration clusters, for the standard errors of later trials.
    pub replicates: Vec<ReplicateFile>,
}

/// A test of independence given the truth, in a card's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The column.
    pub column: String,
    /// Its coefficient in the regression of predictions on truth and column.
    pub coefficient: f64,
    /// The coefficient's standard error.
    pub se: f64,
    /// Whether the column is an input of the predictor, where that is known.
    pub is_input: bool,
}

/// A bootstrap sample's correction in a card's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReplicateFile {
    /// Predictions on truths.
    pub line: Line,
    /// What is done before Tweedie's correction.
    pub recentring: Line,
    /// Standard deviation of the errors.
    pub sigma: f64,
    /// Ends of the score curve.
    pub range: [f64; 2],
    /// Scores at equally spaced points.
    pub scores: Vec<f64>,
}

const FORMAT: &str = "ream debias-map card 1";

fn ends(curve: &ScoreCurve) -> [f64; 2] {
    let grid = curve.grid();
    [grid.first().copied().unwrap_or(0.0), grid.last().copied().unwrap_or(0.0)]
}

impl CardFile {
    /// A card with its replicates, ready to be written.
    #[must_use]
    pub fn of(card: &Card, replicates: &[Correction]) -> Self {
        let c = &card.correction;
        let replicate = |c: &Correction| ReplicateFile {
            line: c.line,
            recentring: c.recentring,
            sigma: c.sigma,
            range: ends(&c.curve),
            scores: c.curve.scores().to_vec(),
        };
        Self {
            format: FORMAT.to_owned(),
            line: c.line,
            line_errors: card.line_errors,
            forward: c.forward,
            forward_error: card.forward_error,
            recentring: c.recentring,
            sigma: c.sigma,
            range: ends(&c.curve),
            scores: c.curve.scores().to_vec(),
            means: c.means,
            deviations: c.deviations,
            r_squared: card.r_squared,
            rows: card.rows,
            clusters: card.clusters,
            warnings: card.warnings.clone(),
            checks: Vec::new(),
            replicates: replicates.iter().map(replicate).collect(),
        }
    }

    /// The card and its replicates.
    ///
    /// # Errors
    /// Another format, a curve that is none, a slope of at most 0.05.
    pub fn open(self) -> Result<(Card, Vec<Correction>)> {
        if self.format != FORMAT {
            return Err(Invalid::new("the card, `format`", format!("\"{FORMAT}\""), self.format).into());
        }
        if !(self.line.slope > LEAST_SLOPE && self.line.slope.is_finite()) {
            let wanted = format!("a slope b above {LEAST_SLOPE}");
            return Err(Invalid::new("the card, `line.slope`", wanted, self.line.slope.to_string()).into());
        }
        let curve = |[low, high]: [f64; 2], scores: Vec<f64>| {
            ScoreCurve::from_scores(low, high, scores)
                .map_err(|e| Error::from(Invalid::new("the card, `scores`", "a score curve", e.to_string())))
        };
        let replicates = self.replicates.into_iter().map(|r| {
            Ok(Correction {
                line: r.line,
                forward: self.forward,
                recentring: r.recentring,
                sigma: r.sigma,
                curve: curve(r.range, r.scores)?,
                means: self.means,
                deviations: self.deviations,
            })
        });
        let replicates = replicates.collect::<Result<Vec<_>>>()?;
        let correction = Correction {
            line: self.line,
            forward: self.forward,
            recentring: self.recentring,
            sigma: self.sigma,
            curve: curve(self.range, self.scores)?,
            means: self.means,
            deviations: self.deviations,
        };
        let card = Card {
            correction,
            line_errors: self.line_errors,
            forward_error: self.forward_error,
            r_squared: self.r_squared,
            rows: self.rows,
            clusters: self.clusters,
            warnings: self.warnings,
        };
        Ok((card, replicates))
    }
}
