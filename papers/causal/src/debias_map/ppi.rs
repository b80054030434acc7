//! Prediction-powered inference: fresh labels of some of the trial's units correct the effect measured on predictions (Angelopoulos
//! et al., 2023; with the power-tuned factor, Angelopoulos, Duchi & Zrnic, 2023).
//!
//! `tau(lambda) = tau_L(y) + lambda (tau(z) - tau_L(z))` with `L` the labelled units, a part of the trial. As every estimator here
//! is linear in the outcome, variances and covariances on the labelled units follow from standard errors of sums of outcomes.

use ream_lab::Result;

use super::effects::{Effect, ErrorKind, Estimator, Treatment, estimate};

/// What fresh labels give.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Labelled {
    /// From the labels alone.
    pub labels: Effect,
    /// Prediction-powered, `lambda = 1`.
    pub plain: Effect,
    /// Prediction-powered, with the `lambda` of least estimated variance in `[0, 1]`.
    pub tuned: Effect,
    /// That `lambda`.
    pub lambda: f64,
}

/// The effect from predictions of all units and labels of some: `rows` are the positions of the labelled units, `labels` their truths.
///
/// # Errors
/// Those of [`estimate`] on the labelled units: an arm without labels, for instance.
pub fn prediction_powered(
    estimator: Estimator,
    kind: ErrorKind,
    treatment: &Treatment,
    predictions: &[f64],
    rows: &[usize],
    labels: &[f64],
) -> Result<Labelled> {
    let all = estimate(estimator, kind, treatment, predictions)?;
    let part = treatment.select(rows);
    let of = |outcome: &[f64]| estimate(estimator, kind, &part, outcome);
    let z: Vec<f64> = rows.iter().map(|&i| predictions[i]).collect();
    let sum: Vec<f64> = z.iter().zip(labels).map(|(z, y)| z + y).collect();
    let (on_labels, on_predictions, on_sum) = (of(labels)?, of(&z)?, of(&sum)?);
    let [vy, vz, vs] = [on_labels, on_predictions, on_sum].map(|e| e.se * e.se);
    let covariance = 0.5 * (vs - vy - vz);
    let share = rows.len() as f64 / predictions.len() as f64;
    let combined = |lambda: f64| {
        // Labelled units are a part of all: Cov(tau(z), tau_L(u)) is that share of the covariance on the labelled ones.
        let own = vy - 2.0 * lambda * covariance + lambda * lambda * vz;
        let cross = 2.0 * lambda * share * (covariance - lambda * vz);
        Effect {
            value: on_labels.value + lambda * (all.value - on_predictions.value),
            se: (own + lambda * lambda * all.se * all.se + cross).max(0.0).sqrt(),
        }
    };
    let curvature = all.se * all.se + vz * (1.0 - 2.0 * share);
    let best = if curvature > 0.0 { (1.0 - share) * covariance / curvature } else { 0.0 };
    let lambda = best.clamp(0.0, 1.0);
    Ok(Labelled { labels: on_labels, plain: combined(1.0), tuned: combined(lambda), lambda })
}
