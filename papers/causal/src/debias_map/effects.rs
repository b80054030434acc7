//! Effects of a treatment on any outcome: observed, predicted or corrected. Every estimator here is linear in the outcome, so that
//! a linear correction of the outcome is the same correction of the effect.

use ream_lab::{Invalid, Result};
use ream_stats::treatment::{self, Propensity};
use ream_stats::{Covariance, Matrix, glm, linear};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::card::failed;

/// How an effect is estimated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Estimator {
    /// Mean of the treated less mean of the others (Welch); with errors by cluster, least squares on the treatment alone.
    #[default]
    DifferenceInMeans,
    /// Least squares on treatment and covariates; the treatment may be continuous.
    Ols,
    /// Normalised inverse-probability weights (Hájek), logistic in the covariates.
    Ipw,
    /// Augmented inverse-probability weights: outcomes linear in the covariates within each arm, logistic propensity.
    Aipw,
}

impl Estimator {
    /// In words.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DifferenceInMeans => "difference in means",
            Self::Ols => "least squares",
            Self::Ipw => "inverse-probability weights",
            Self::Aipw => "augmented inverse-probability weights",
        }
    }
}

/// Which standard errors.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorKind {
    /// By cluster where the trial has clusters, else robust.
    #[default]
    Auto,
    /// HC1 (Welch's for a difference in means).
    Robust,
    /// HC3 (least squares only).
    Hc3,
    /// As if errors were alike (least squares only).
    Classical,
    /// By cluster.
    Cluster,
}

/// Who was treated.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Treatment {
    /// `[n]`: 0 or 1, or any numbers for least squares.
    pub values: Vec<f64>,
    /// `[n, p]` without an intercept.
    pub covariates: Option<Matrix>,
    /// `[n]`.
    pub clusters: Option<Vec<usize>>,
}

/// An estimate with its standard error.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// In units of the outcome.
    pub value: f64,
    /// Its standard error.
    pub se: f64,
}

impl Treatment {
    /// Treated or not, for each unit.
    ///
    /// # Errors
    /// A value that is neither 0 nor 1, or an arm of fewer than two units.
    pub fn arms(&self) -> Result<Vec<bool>> {
        if let Some(row) = self.values.iter().position(|v| *v != 0.0 && *v != 1.0) {
            let wanted = "0 or 1 (for other values: estimator = ols)";
            let place = format!("the treatment, row {}", row + 1);
            return Err(Invalid::new(place, wanted, self.values[row].to_string()).into());
        }
        let treated: Vec<bool> = self.values.iter().map(|v| *v == 1.0).collect();
        let count = treated.iter().filter(|t| **t).count();
        for (arm, count) in [("treated", count), ("untreated", treated.len() - count)] {
            if count < 2 {
                let place = format!("the {arm} arm");
                return Err(Invalid::new(place, "at least two units", count.to_string()).into());
            }
        }
        Ok(treated)
    }

    /// The units at these positions, which may repeat.
    #[must_use]
    pub fn select(&self, rows: &[usize]) -> Self {
        Self {
            values: rows.iter().map(|&i| self.values[i]).collect(),
            covariates: self.covariates.as_ref().map(|x| x.select_rows(rows)),
            clusters: self.clusters.as_ref().map(|ids| rows.iter().map(|&i| ids[i]).collect()),
        }
    }

    /// Intercept and covariates, `[n, 1 + p]`.
    fn covariate_design(&self) -> Matrix {
        match &self.covariates {
            Some(x) => x.with_intercept(),
            None => Matrix::from_fn(self.values.len(), 1, |_, _| 1.0),
        }
    }

    /// Intercept, treatment, covariates.
    fn design(&self, with_covariates: bool) -> Matrix {
        let covariates = self.covariates.as_ref().filter(|_| with_covariates);
        let p = covariates.map_or(0, Matrix::cols);
        Matrix::from_fn(self.values.len(), 2 + p, |i, j| match j {
            0 => 1.0,
            1 => self.values[i],
            j => covariates.map_or(0.0, |x| x.get(i, j - 2)),
        })
    }
}

/// The effect of the treatment on an outcome, `[n]`.
///
/// # Errors
/// A treatment that the estimator cannot take, clusters that are asked for and not there, errors of the fits.
pub fn estimate(
    estimator: Estimator,
    kind: ErrorKind,
    treatment: &Treatment,
    outcome: &[f64],
) -> Result<Effect> {
    let clusters = match kind {
        ErrorKind::Auto => treatment.clusters.as_deref(),
        ErrorKind::Cluster => Some(treatment.clusters.as_deref().ok_or_else(|| {
            Invalid::new("se", "a column of clusters (own.cluster) for errors by cluster", "none")
        })?),
        _ => None,
    };
    match estimator {
        Estimator::DifferenceInMeans if clusters.is_none() => {
            let treated = treatment.arms()?;
            let outcomes = Matrix::new(outcome.len(), 1, outcome.to_vec()).map_err(failed)?;
            let fit = treatment::difference_in_means(&outcomes, &treated).map_err(failed)?;
            Ok(Effect { value: fit.values[0], se: fit.covariance.get(0, 0).sqrt() })
        }
        Estimator::DifferenceInMeans | Estimator::Ols => {
            if estimator == Estimator::DifferenceInMeans {
                treatment.arms()?;
            }
            let covariance = match (clusters, kind) {
                (Some(ids), _) => Covariance::Cluster(ids),
                (None, ErrorKind::Hc3) => Covariance::Hc3,
                (None, ErrorKind::Classical) => Covariance::Classical,
                (None, _) => Covariance::Hc1,
            };
            let design = treatment.design(estimator == Estimator::Ols);
            let fit = linear::ols(&design, outcome, covariance).map_err(failed)?;
            Ok(Effect { value: fit.coefficients[1], se: fit.standard_errors[1] })
        }
        Estimator::Ipw => {
            let treated = treatment.arms()?;
            let design = treatment.covariate_design();
            let fit = treatment::hajek(outcome, &treated, Propensity::Logistic(&design), clusters);
            let fit = fit.map_err(failed)?;
            Ok(Effect { value: fit.value, se: fit.se })
        }
        Estimator::Aipw => {
            let treated = treatment.arms()?;
            let design = treatment.covariate_design();
            let [with, without] = [true, false].map(|on| arm_predictions(&design, &treated, outcome, on));
            let fit = treatment::aipw(
                outcome,
                &treated,
                &with?,
                &without?,
                Propensity::Logistic(&design),
                clusters,
            );
            let fit = fit.map_err(failed)?;
            Ok(Effect { value: fit.value, se: fit.se })
        }
    }
}

/// Least squares within an arm, predicted for all.
fn arm_predictions(design: &Matrix, treated: &[bool], outcome: &[f64], on: bool) -> Result<Vec<f64>> {
    let rows: Vec<usize> = (0..treated.len()).filter(|&i| treated[i] == on).collect();
    let y: Vec<f64> = rows.iter().map(|&i| outcome[i]).collect();
    let fit = linear::ols(&design.select_rows(&rows), &y, Covariance::Classical).map_err(failed)?;
    fit.predict(design).map_err(failed)
}

/// Assigns a treatment with probability `sigma(sum_k c_k z_k)` for each unit, where `score` is that sum.
#[must_use]
pub fn assign(score: &[f64], rng: &mut ream_rand::Rng) -> Vec<f64> {
    score.iter().map(|s| f64::from(u8::from(rng.chance(glm::sigmoid(*s))))).collect()
}

/// Whether predictions still depend on a column once the truth is held equal.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Independence {
    /// Coefficient of the column in the regression of predictions on truth and column.
    pub coefficient: f64,
    /// Its standard error, HC1 or by cluster.
    pub se: f64,
}

impl Independence {
    /// Coefficient over standard error.
    #[must_use]
    pub fn t(self) -> f64 {
        self.coefficient / self.se
    }

    /// Whether independence is rejected at 5 %.
    #[must_use]
    pub fn is_violated(self) -> bool {
        self.t().abs() > 1.959_963_984_540_054
    }
}

/// Tests `prediction independent of column given truth` on rows with labels, for a column like the treatment of a trial.
///
/// # Errors
/// Errors of least squares, for instance a constant column.
pub fn independence(
    predictions: &[f64],
    truth: &[f64],
    column: &[f64],
    clusters: Option<&[usize]>,
) -> Result<Independence> {
    let x = Matrix::from_columns(&[truth, column]).map_err(failed)?.with_intercept();
    let kind = clusters.map_or(Covariance::Hc1, Covariance::Cluster);
    let fit = linear::ols(&x, predictions, kind).map_err(failed)?;
    Ok(Independence { coefficient: fit.coefficients[2], se: fit.standard_errors[2] })
}

/// What to tell of a violation.
#[must_use]
pub fn dependence_warning(column: &str, test: Independence, is_input: bool) -> String {
    let cause = if is_input {
        format!(
            "`{column}` is an input of the predictive model, so that the map answers to the treatment itself"
        )
    } else {
        format!("the map answers to `{column}` by another way than through the outcome")
    };
    format!(
        "places of equal truth have predictions that differ by {:.4} with `{column}` (t = {:.1}): {cause}. Corrections divide by b, \
         which blows this difference up: an effect of `{column}` measured on this map is wrong, and the corrected one over-shoots",
        test.coefficient,
        test.t()
    )
}
