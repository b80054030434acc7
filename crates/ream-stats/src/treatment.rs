//! Average effects of a treatment that is there or not: differences in means, inverse-probability weights, augmented weights.
//!
//! Every estimate comes with its influence values `psi_i`, one for each row, so that `estimate - effect` is their mean up to noise
//! of smaller order; the standard error is `(sum psi_i^2)^(1/2) / n`, by cluster from the sums of the clusters times `G / (G - 1)`.
//! Influence values of several estimates on the same rows give their covariance ([`covariance_of`]).
//!
//! ```
//! use ream_rand::Stream;
//! use ream_stats::treatment::{self, Propensity};
//! use ream_stats::{Matrix, glm};
//! // Those with large x are treated more often and have larger outcomes; the effect is 1.
//! let mut rng = Stream::new(1, "example").at(0);
//! let x: Vec<f64> = (0..2000).map(|_| rng.normal()).collect();
//! let treated: Vec<bool> = x.iter().map(|x| rng.chance(glm::sigmoid(*x))).collect();
//! let y: Vec<f64> = (0..2000).map(|i| 2.0 * x[i] + f64::from(u8::from(treated[i])) + rng.normal()).collect();
//! let design = Matrix::from_columns(&[x])?.with_intercept();
//! let weighted = treatment::hajek(&y, &treated, Propensity::Logistic(&design), None)?;
//! let naive = ream_stats::interval::welch(
//!     &(0..2000).filter(|i| treated[*i]).map(|i| y[i]).collect::<Vec<_>>(),
//!     &(0..2000).filter(|i| !treated[*i]).map(|i| y[i]).collect::<Vec<_>>(),
//!     0.95,
//! )?;
//! assert!(weighted.interval(0.95)?.contains(1.0) && naive.low > 2.0);
//! # Ok::<(), ream_stats::FitError>(())
//! ```

use crate::descriptive::mean_and_variance;
use crate::error::{FitError, StatsError, at_least, finite, length};
use crate::glm::{Penalty, fractional_logistic, inverse};
use crate::interval::Estimate;
use crate::matrix::Matrix;
use crate::sum::{compensated, dot};
use nalgebra::{DMatrix, DVector};
use std::collections::BTreeMap;

/// An average effect.
#[derive(Clone, Debug, PartialEq)]
pub struct Effect {
    /// The estimate.
    pub value: f64,
    /// Its standard error.
    pub se: f64,
    /// Means with and without treatment, whose difference the estimate is.
    pub means: [f64; 2],
    /// Influence values, one for each row.
    pub influence: Vec<f64>,
}

impl Effect {
    /// The estimate with its normal interval.
    ///
    /// # Errors
    /// [`StatsError`] for a level outside `(0, 1)`.
    pub fn interval(&self, level: f64) -> Result<Estimate, StatsError> {
        Estimate::symmetric(self.value, self.se, f64::INFINITY, level)
    }
}

/// Differences in means of several outcomes.
#[derive(Clone, Debug, PartialEq)]
pub struct MeanDifferences {
    /// Mean of the treated less mean of the others, for each outcome.
    pub values: Vec<f64>,
    /// Welch's covariance, `S_1 / n_1 + S_0 / n_0` with the sample covariances of each arm, `[outcomes, outcomes]`.
    pub covariance: Matrix,
    /// Satterthwaite's degrees of freedom, for each outcome.
    pub freedom: Vec<f64>,
    /// Rows with and without treatment.
    pub counts: [usize; 2],
}

impl MeanDifferences {
    /// Welch's interval of each difference.
    ///
    /// # Errors
    /// [`StatsError`] for a level outside `(0, 1)`.
    pub fn intervals(&self, level: f64) -> Result<Vec<Estimate>, StatsError> {
        let each = |q: usize| {
            Estimate::symmetric(self.values[q], self.covariance.get(q, q).sqrt(), self.freedom[q], level)
        };
        (0..self.values.len()).map(each).collect()
    }

    /// The difference of the combination `sum_q weights_q outcome_q` with its standard error: that of a correction made of
    /// several outcomes, for instance.
    ///
    /// # Errors
    /// [`StatsError`] unless there is one finite weight for each outcome.
    pub fn combined(&self, weights: &[f64]) -> Result<(f64, f64), StatsError> {
        length("the weights", self.values.len(), weights.len())?;
        finite("the weights", weights)?;
        let spread = self.covariance.times(weights)?;
        Ok((dot(weights, &self.values), dot(weights, &spread).max(0.0).sqrt()))
    }
}

/// Differences in means between treated and other rows, for each column of `outcomes` (`[n, outcomes]`), with the covariance
/// between them.
///
/// # Errors
/// [`StatsError`] for other lengths, values that are not finite, or fewer than two rows in an arm.
pub fn difference_in_means(outcomes: &Matrix, treated: &[bool]) -> Result<MeanDifferences, StatsError> {
    outcomes.check("the outcomes")?;
    length("the treatment", outcomes.rows(), treated.len())?;
    let count = treated.iter().filter(|t| **t).count();
    at_least("the treated (rows)", 2, count)?;
    at_least("the untreated (rows)", 2, treated.len() - count)?;
    let arm = |on: bool| -> Vec<usize> { (0..treated.len()).filter(|&i| treated[i] == on).collect() };
    let arms = [arm(true), arm(false)];
    let q = outcomes.cols();
    let moments = arms.each_ref().map(|rows| arm_moments(outcomes, rows));
    let [(mean_1, cov_1), (mean_0, cov_0)] = &moments;
    let counts = [count, treated.len() - count];
    let freedom = |j: usize| {
        let parts = [cov_1.get(j, j), cov_0.get(j, j)];
        let sum = parts[0] + parts[1];
        if sum > 0.0 {
            let part = |k: usize| (parts[k] / sum) * (parts[k] / sum) / (counts[k] - 1) as f64;
            1.0 / (part(0) + part(1))
        } else {
            (treated.len() - 2) as f64
        }
    };
    Ok(MeanDifferences {
        values: mean_1.iter().zip(mean_0).map(|(a, b)| a - b).collect(),
        covariance: Matrix::from_fn(q, q, |i, j| cov_1.get(i, j) + cov_0.get(i, j)),
        freedom: (0..q).map(freedom).collect(),
        counts,
    })
}

/// Means of an arm, and the sample covariance of its rows divided by their number.
fn arm_moments(outcomes: &Matrix, rows: &[usize]) -> (Vec<f64>, Matrix) {
    let q = outcomes.cols();
    let n = rows.len() as f64;
    let column = |j: usize| rows.iter().map(|&i| outcomes.get(i, j)).collect::<Vec<f64>>();
    let columns: Vec<Vec<f64>> = (0..q).map(column).collect();
    let (mean, variance): (Vec<f64>, Vec<f64>) = columns.iter().map(|c| mean_and_variance(c)).unzip();
    let product = |i: usize, j: usize| {
        if i == j {
            return variance[i] / n;
        }
        let pairs = columns[i].iter().zip(&columns[j]);
        compensated(pairs.map(|(a, b)| (a - mean[i]) * (b - mean[j]))) / (n - 1.0) / n
    };
    let covariance = Matrix::from_fn(q, q, product);
    (mean, covariance)
}

/// The probabilities of treatment.
#[derive(Clone, Copy, Debug)]
pub enum Propensity<'a> {
    /// Known, or estimated elsewhere and taken as known: strictly between 0 and 1, one for each row.
    Known(&'a [f64]),
    /// From a logistic regression on these columns (put an intercept in), `[n, columns]`; the standard errors count that it is
    /// estimated.
    Logistic(&'a Matrix),
}

/// The normalised inverse-probability estimate (Hajek, 1971),
///
/// `sum (A y / e) / sum (A / e) - sum ((1 - A) y / (1 - e)) / sum ((1 - A) / (1 - e))`.
///
/// With a logistic propensity the influence values are those of all equations solved together (Lunceford & Davidian, 2004).
///
/// # Errors
/// [`FitError::Input`] for other lengths, values that are not finite, an empty arm, or probabilities that are not strictly
/// between 0 and 1; the errors of the logistic regression; [`FitError::NoCovariance`] when it separates the arms.
pub fn hajek(
    y: &[f64],
    treated: &[bool],
    propensity: Propensity<'_>,
    clusters: Option<&[usize]>,
) -> Result<Effect, FitError> {
    check(y, treated, clusters)?;
    let n = y.len();
    let model = Model::new(propensity, treated)?;
    let weight = |i: usize| if treated[i] { 1.0 / model.e[i] } else { 1.0 / (1.0 - model.e[i]) };
    let mean = |on: bool| {
        let rows = || (0..n).filter(move |&i| treated[i] == on);
        let total = compensated(rows().map(weight));
        (compensated(rows().map(|i| weight(i) * y[i])) / total, total)
    };
    let ((mean_1, total_1), (mean_0, total_0)) = (mean(true), mean(false));
    let part = |i: usize| {
        if treated[i] {
            (n as f64 / total_1) * weight(i) * (y[i] - mean_1)
        } else {
            -(n as f64 / total_0) * weight(i) * (y[i] - mean_0)
        }
    };
    let mut influence: Vec<f64> = (0..n).map(part).collect();
    // d(1/e) = -(1 - e)/e x db and d(1/(1 - e)) = e/(1 - e) x db: weights 1/e - 1 and 1/(1 - e) - 1.
    model.correct(&mut influence, |i| {
        let (total, centre) = if treated[i] { (total_1, mean_1) } else { (total_0, mean_0) };
        -(weight(i) - 1.0) * (y[i] - centre) / total
    })?;
    effect([mean_1, mean_0], influence, clusters)
}

/// The augmented inverse-probability estimate (Robins, Rotnitzky & Zhao, 1994) from predictions of the outcome with and without
/// treatment, `mu_1` and `mu_0`:
///
/// `mean of mu_1 - mu_0 + A (y - mu_1) / e - (1 - A)(y - mu_0) / (1 - e)`.
///
/// It is right when either the predictions or the probabilities are, and errors of both enter by their product: with
/// predictions for each row from rows of other folds ([`crate::cross_fit`]) the standard error need not count that they are
/// estimated.
///
/// # Errors
/// As [`hajek`].
pub fn aipw(
    y: &[f64],
    treated: &[bool],
    with_treatment: &[f64],
    without: &[f64],
    propensity: Propensity<'_>,
    clusters: Option<&[usize]>,
) -> Result<Effect, FitError> {
    check(y, treated, clusters)?;
    for (what, values) in
        [("the predictions with treatment", with_treatment), ("the predictions without", without)]
    {
        length(what, y.len(), values.len())?;
        finite(what, values)?;
    }
    let n = y.len();
    let model = Model::new(propensity, treated)?;
    let arm = |i: usize, on: bool| {
        let (mu, e) = if on { (with_treatment[i], model.e[i]) } else { (without[i], 1.0 - model.e[i]) };
        if treated[i] == on { mu + (y[i] - mu) / e } else { mu }
    };
    let mean = |on: bool| compensated((0..n).map(|i| arm(i, on))) / n as f64;
    let (mean_1, mean_0) = (mean(true), mean(false));
    let value = mean_1 - mean_0;
    let mut influence: Vec<f64> = (0..n).map(|i| arm(i, true) - arm(i, false) - value).collect();
    model.correct(&mut influence, |i| {
        let (mu, e) =
            if treated[i] { (with_treatment[i], model.e[i]) } else { (without[i], 1.0 - model.e[i]) };
        -(1.0 / e - 1.0) * (y[i] - mu) / n as f64
    })?;
    effect([mean_1, mean_0], influence, clusters)
}

/// Covariance of several estimates on the same rows from their influence values: `sum_i psi_ai psi_bi / n^2`, by cluster from
/// the sums of the clusters times `G / (G - 1)`.
///
/// # Errors
/// [`StatsError`] without estimates, for other lengths, values that are not finite, or fewer than two clusters.
pub fn covariance_of(influences: &[&[f64]], clusters: Option<&[usize]>) -> Result<Matrix, StatsError> {
    at_least("a covariance (estimates)", 1, influences.len())?;
    let n = influences[0].len();
    at_least("a covariance (rows)", 2, n)?;
    for values in influences {
        length("influence values", n, values.len())?;
        finite("influence values", values)?;
    }
    let (sums, factor) = match clusters {
        None => (influences.iter().map(|v| v.to_vec()).collect(), 1.0),
        Some(ids) => by_cluster(influences, ids)?,
    };
    let scale = factor / (n as f64 * n as f64);
    let q = influences.len();
    let product = |i: usize, j: usize| compensated(sums[i].iter().zip(&sums[j]).map(|(a, b)| a * b)) * scale;
    Ok(Matrix::from_fn(q, q, product))
}

/// Sums of each estimate's influence values by cluster, and `G / (G - 1)`.
fn by_cluster(influences: &[&[f64]], ids: &[usize]) -> Result<(Vec<Vec<f64>>, f64), StatsError> {
    length("cluster identifiers", influences[0].len(), ids.len())?;
    let mut sums: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
    for (i, id) in ids.iter().enumerate() {
        let sum = sums.entry(*id).or_insert_with(|| vec![0.0; influences.len()]);
        sum.iter_mut().zip(influences).for_each(|(s, v)| *s += v[i]);
    }
    let count = sums.len() as f64;
    at_least("a cluster covariance (clusters)", 2, sums.len())?;
    let each = (0..influences.len()).map(|q| sums.values().map(|s| s[q]).collect()).collect();
    Ok((each, count / (count - 1.0)))
}

fn effect(means: [f64; 2], influence: Vec<f64>, clusters: Option<&[usize]>) -> Result<Effect, FitError> {
    let variance = covariance_of(&[&influence], clusters)?.get(0, 0);
    Ok(Effect { value: means[0] - means[1], se: variance.sqrt(), means, influence })
}

fn check(y: &[f64], treated: &[bool], clusters: Option<&[usize]>) -> Result<(), StatsError> {
    finite("y", y)?;
    length("the treatment", y.len(), treated.len())?;
    if let Some(ids) = clusters {
        length("cluster identifiers", y.len(), ids.len())?;
    }
    let count = treated.iter().filter(|t| **t).count();
    at_least("the treated (rows)", 1, count)?;
    at_least("the untreated (rows)", 1, y.len() - count)
}

/// Probabilities of treatment and, where they are estimated, what that does to influence values.
struct Model<'a> {
    e: Vec<f64>,
    design: Option<&'a Matrix>,
    treated: &'a [bool],
}

impl<'a> Model<'a> {
    fn new(propensity: Propensity<'a>, treated: &'a [bool]) -> Result<Self, FitError> {
        let (e, design) = match propensity {
            Propensity::Known(e) => {
                length("the probabilities of treatment", treated.len(), e.len())?;
                (e.to_vec(), None)
            }
            Propensity::Logistic(design) => {
                let response: Vec<f64> = treated.iter().map(|t| f64::from(u8::from(*t))).collect();
                let fit = fractional_logistic(design, &response, None, &Penalty::None)?;
                if fit.separated {
                    return Err(FitError::NoCovariance {
                        why: "the columns of the propensity separate treated from untreated rows: no weights exist",
                    });
                }
                (fit.predict(design)?, Some(design))
            }
        };
        match e.iter().enumerate().find(|(_, e)| !(**e > 0.0 && **e < 1.0)) {
            Some((row, &value)) => Err(StatsError::OutOfRange {
                what: "the probabilities of treatment",
                row,
                value,
                allowed: "numbers above 0 and below 1 (where all or none are treated there is nothing to compare)",
            }
            .into()),
            None => Ok(Self { e, design, treated }),
        }
    }

    /// Adds to the influence values what the estimation of the probabilities does: `H' (I / n)^-1 s_i`, where `slope(i) x_i` sum
    /// to the derivative `H` of the estimate in the coefficients, `I` is the information and `s_i = (A_i - e_i) x_i`.
    fn correct(&self, influence: &mut [f64], slope: impl Fn(usize) -> f64) -> Result<(), FitError> {
        let Some(design) = self.design else { return Ok(()) };
        let (n, p) = (influence.len(), design.cols());
        let mut information = DMatrix::zeros(p, p);
        let mut gradient = DVector::zeros(p);
        for i in 0..n {
            let row = design.row(i);
            let curvature = self.e[i] * (1.0 - self.e[i]);
            let s = slope(i);
            for (j, b) in row.iter().enumerate() {
                gradient[j] += s * b;
                for (k, a) in row.iter().enumerate() {
                    information[(k, j)] += curvature * a * b;
                }
            }
        }
        let bread = inverse(information)
            .ok_or(FitError::NoCovariance { why: "the information of the propensity is singular" })?;
        let direction = bread * gradient * n as f64;
        for (i, psi) in influence.iter_mut().enumerate() {
            let residual = f64::from(u8::from(self.treated[i])) - self.e[i];
            *psi += residual * dot(design.row(i), direction.as_slice());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glm::sigmoid;
    use crate::interval::welch;
    use ream_rand::Stream;

    fn trial(n: usize) -> (Matrix, Vec<bool>, Vec<f64>, Vec<f64>) {
        let mut rng = Stream::new(6, "trial").at(0);
        let x: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
        let e: Vec<f64> = x.iter().map(|x| sigmoid(0.5 * x)).collect();
        let treated: Vec<bool> = e.iter().map(|e| rng.chance(*e)).collect();
        let y = (0..n).map(|i| x[i] + 0.5 * f64::from(u8::from(treated[i])) + rng.normal()).collect();
        (Matrix::from_columns(&[x]).unwrap().with_intercept(), treated, e, y)
    }

    #[test]
    fn differences_are_those_of_welch_and_combine() {
        let (design, treated, _, y) = trial(80);
        let x = design.column(1);
        let twice: Vec<f64> = y.iter().zip(&x).map(|(y, x)| 3.0 * y - 2.0 * x).collect();
        let outcomes = Matrix::from_columns(&[y.clone(), x, twice]).unwrap();
        let all = difference_in_means(&outcomes, &treated).unwrap();
        let pick = |on: bool| (0..80).filter(|i| treated[*i] == on).map(|i| y[i]).collect::<Vec<_>>();
        let plain = welch(&pick(true), &pick(false), 0.9).unwrap();
        let ours = all.intervals(0.9).unwrap()[0];
        for (a, b) in
            [(ours.value, plain.value), (ours.se, plain.se), (ours.low, plain.low), (ours.high, plain.high)]
        {
            assert!((a - b).abs() < 1e-12);
        }
        let (value, se) = all.combined(&[3.0, -2.0, 0.0]).unwrap();
        assert!(
            (value - all.values[2]).abs() < 1e-12 && (se - all.covariance.get(2, 2).sqrt()).abs() < 1e-12
        );
        let (value, se) = all.combined(&[3.0, -2.0, -1.0]).unwrap();
        assert!(value.abs() < 1e-12 && se < 1e-7);
    }

    #[test]
    fn equal_probabilities_are_a_difference_in_means() {
        let (_, treated, _, y) = trial(200);
        let half = vec![0.5; 200];
        let hajek = hajek(&y, &treated, Propensity::Known(&half), None).unwrap();
        let outcomes = Matrix::from_columns(std::slice::from_ref(&y)).unwrap();
        let plain = difference_in_means(&outcomes, &treated).unwrap();
        assert!((hajek.value - plain.values[0]).abs() < 1e-12);
        // Up to the divisor n - 1 in each arm.
        assert!((hajek.se / plain.covariance.get(0, 0).sqrt() - 1.0).abs() < 0.02);
        assert!(compensated(hajek.influence.iter().copied()).abs() < 1e-9);
        // An estimated constant probability changes nothing: the estimate does not depend on it.
        let ones = Matrix::from_fn(200, 1, |_, _| 1.0);
        let estimated = super::hajek(&y, &treated, Propensity::Logistic(&ones), None).unwrap();
        assert!((estimated.value - hajek.value).abs() < 1e-10 && (estimated.se - hajek.se).abs() < 1e-10);
    }

    #[test]
    fn shifting_and_scaling_the_outcome() {
        let (design, treated, e, y) = trial(300);
        let moved: Vec<f64> = y.iter().map(|y| 10.0 - 3.0 * y).collect();
        let (mu_1, mu_0) = (design.column(1), vec![0.2; 300]);
        let shifted = |v: &[f64]| v.iter().map(|v| 10.0 - 3.0 * v).collect::<Vec<_>>();
        for propensity in [Propensity::Known(&e), Propensity::Logistic(&design)] {
            let (a, b) = (
                hajek(&y, &treated, propensity, None).unwrap(),
                hajek(&moved, &treated, propensity, None).unwrap(),
            );
            assert!((b.value + 3.0 * a.value).abs() < 1e-10 && (b.se - 3.0 * a.se).abs() < 1e-10);
            let a = aipw(&y, &treated, &mu_1, &mu_0, propensity, None).unwrap();
            let b = aipw(&moved, &treated, &shifted(&mu_1), &shifted(&mu_0), propensity, None).unwrap();
            assert!((b.value + 3.0 * a.value).abs() < 1e-9 && (b.se - 3.0 * a.se).abs() < 1e-9);
        }
        // Predictions without error leave nothing to weight.
        let exact_1: Vec<f64> = (0..300).map(|i| if treated[i] { y[i] } else { y[i] + 2.0 }).collect();
        let exact_0: Vec<f64> = exact_1.iter().map(|v| v - 2.0).collect();
        let exact = aipw(&y, &treated, &exact_1, &exact_0, Propensity::Logistic(&design), None).unwrap();
        assert!((exact.value - 2.0).abs() < 1e-12 && exact.se < 1e-12);
    }

    #[test]
    fn estimated_probabilities_need_the_correction() {
        // Over repeated samples the standard error agrees with the spread; without the correction it is far too large.
        let (mut values, mut errors, mut plain) = (Vec::new(), Vec::new(), Vec::new());
        for seed in 0..400 {
            let mut rng = Stream::new(seed, "repeated").at(0);
            let x: Vec<f64> = (0..300).map(|_| rng.normal()).collect();
            let treated: Vec<bool> = x.iter().map(|x| rng.chance(sigmoid(0.5 * x))).collect();
            let y: Vec<f64> = x.iter().map(|x| 3.0 * x + rng.normal()).collect();
            let design = Matrix::from_columns(&[x]).unwrap().with_intercept();
            let fit = hajek(&y, &treated, Propensity::Logistic(&design), None).unwrap();
            let response: Vec<f64> = treated.iter().map(|t| f64::from(u8::from(*t))).collect();
            let e = fractional_logistic(&design, &response, None, &Penalty::None)
                .unwrap()
                .predict(&design)
                .unwrap();
            plain.push(hajek(&y, &treated, Propensity::Known(&e), None).unwrap().se);
            values.push(fit.value);
            errors.push(fit.se);
        }
        let spread = mean_and_variance(&values).1.sqrt();
        let (stated, uncorrected) = (mean_and_variance(&errors).0, mean_and_variance(&plain).0);
        assert!((stated / spread - 1.0).abs() < 0.15, "{stated} {spread}");
        assert!(uncorrected / spread > 1.5, "{uncorrected} {spread}");
    }

    #[test]
    fn clusters_of_copies_are_the_rows_alone() {
        let (_, treated, e, y) = trial(60);
        let rows: Vec<usize> = (0..180).map(|i| i / 3).collect();
        let pick = |v: &[f64]| rows.iter().map(|&i| v[i]).collect::<Vec<_>>();
        let long: Vec<bool> = rows.iter().map(|&i| treated[i]).collect();
        let (copies, shares) = (pick(&y), pick(&e));
        let clustered = hajek(&copies, &long, Propensity::Known(&shares), Some(&rows)).unwrap();
        let single = hajek(&y, &treated, Propensity::Known(&e), None).unwrap();
        assert!((clustered.value - single.value).abs() < 1e-12);
        assert!((clustered.se - single.se * (60.0_f64 / 59.0).sqrt()).abs() < 1e-12);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let (_, treated, mut e, y) = trial(20);
        let known = |e: &[f64]| hajek(&y, &treated, Propensity::Known(e), None).map(|_| ());
        e[3] = 1.0;
        let text = known(&e).unwrap_err().to_string();
        assert!(text.contains("the probabilities of treatment[3] is 1"), "{text}");
        assert!(known(&e[1..]).is_err());
        let all = vec![true; 20];
        let text = hajek(&y, &all, Propensity::Known(&[0.5; 20]), None).unwrap_err().to_string();
        assert_eq!(text, "the untreated (rows) needs at least 1 values, got 0");
        let split = Matrix::from_fn(20, 1, |i, _| if treated[i] { 1.0 } else { -1.0 });
        let text = hajek(&y, &treated, Propensity::Logistic(&split), None).unwrap_err().to_string();
        assert!(text.contains("separate"), "{text}");
        assert!(covariance_of(&[], None).is_err() && covariance_of(&[&[1.0, 2.0]], Some(&[1, 1])).is_err());
        assert!(difference_in_means(&Matrix::from_fn(3, 1, |_, _| 1.0), &[true, false, false]).is_err());
    }
}
