//! Which `alpha`? Five rules that do not know the truth.
//!
//! | rule | takes the `alpha` |
//! |---|---|
//! | `cc` (default) | whose `\|h_alpha\|` is nearest to the length that the estimated share of confounding leaves |
//! | `stress` | of least held-out squared error on inputs augmented three times as strongly |
//! | `iv-risk` | of least held-out `\|P(y - Xh)\|^2` |
//! | `cv` | of least held-out squared error |
//! | `lcv` | the same, with levels of `G` held out together |
//!
//! `cv` and `lcv` score the prediction that confounding helps, and so lean to `alpha` without end, the biased fit.

use libm::{log, pow};
use nalgebra::{DMatrix, DVector, SymmetricEigen};
use ream_lab::{Error, Result};
use ream_rand::Stream;
use ream_stats::{StatsError, cross_fit, minimise};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::moments::Moments;
use super::sample::Sample;

/// Folds of the rules that hold rows out.
pub const FOLDS: usize = 5;
/// How much more strongly the stress rule augments.
pub const STRESS: f64 = 3.0;
/// Up to so many distinct rows of `G` are levels; above, tenths of its first column are.
const MOST_LEVELS: usize = 64;

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Selector {
    /// Confounder correction.
    Cc,
    /// Held-out error under augmentation three times as strong.
    Stress,
    /// Held-out instrumental-variable risk.
    IvRisk,
    /// Held-out error.
    Cv,
    /// Held-out error, levels of the parameters left out together.
    Lcv,
}

impl Selector {
    /// All of them, the default first.
    pub const ALL: [Self; 5] = [Self::Cc, Self::Stress, Self::IvRisk, Self::Cv, Self::Lcv];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cc => "cc",
            Self::Stress => "stress",
            Self::IvRisk => "iv-risk",
            Self::Cv => "cv",
            Self::Lcv => "lcv",
        }
    }

    /// Whether it scores the biased fit.
    #[must_use]
    pub fn favours_bias(self) -> bool {
        matches!(self, Self::Cv | Self::Lcv)
    }
}

/// `points` values from 1e-3 to 1e3, evenly in the logarithm.
#[must_use]
pub fn alpha_grid(points: usize) -> Vec<f64> {
    let last = points.saturating_sub(1).max(1) as f64;
    (0..points).map(|k| pow(10.0, -3.0 + 6.0 * k as f64 / last)).collect()
}

/// How confounded the outcome seems (Janzing & Schoelkopf, 2018).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Confounding {
    /// `theta`: variance that confounding adds to the coefficients, over that of the truth.
    pub theta: f64,
    /// `beta` in `[0, 1)`: share of the squared length of the coefficients that is confounding.
    pub share: f64,
}

/// Estimates confounding from the direction of least-squares coefficients among the eigenvectors of the inputs'
/// covariance: confounding leans towards directions of small variance. With `v = h / |h|` in the eigenvectors' coordinates
/// and eigenvalues `w`, `theta` minimises `1/2 sum log(1 + theta / w_i) + d/2 log sum v_i^2 / (1 + theta / w_i)`.
///
/// # Errors
/// The search failed (a covariance that is not finite).
pub fn confounding(h: &[f64], covariance: &DMatrix<f64>) -> Result<Confounding> {
    let eigen = SymmetricEigen::new(covariance.clone());
    let turned = eigen.eigenvectors.transpose() * DVector::from_column_slice(h);
    let length = turned.norm();
    let largest = eigen.eigenvalues.iter().copied().fold(0.0_f64, f64::max);
    // Directions without variance hold no coefficient.
    let parts: Vec<(f64, f64)> = eigen
        .eigenvalues
        .iter()
        .zip(turned.iter())
        .filter(|(w, _)| **w > 1e-12 * largest)
        .map(|(w, v)| (*w, v * v / (length * length)))
        .collect();
    if parts.is_empty() || length == 0.0 {
        return Ok(Confounding { theta: 0.0, share: 0.0 });
    }
    let d = parts.len() as f64;
    let objective = |theta: f64| {
        let logs: f64 = parts.iter().map(|(w, _)| log(1.0 + theta / w)).sum();
        let spread: f64 = parts.iter().map(|(w, v)| v / (1.0 + theta / w)).sum();
        0.5 * logs + 0.5 * d * log(spread)
    };
    let theta = least(objective, parts.iter().map(|(w, _)| w).sum::<f64>() / d)
        .map_err(|e| Error::failed(format!("the share of confounding: {e}")))?;
    let mean_inverse = parts.iter().map(|(w, _)| 1.0 / w).sum::<f64>() / d;
    Ok(Confounding { theta, share: 1.0 / (1.0 + 1.0 / (0.001 + theta * mean_inverse)) })
}

/// The least value over `theta >= 0`: a grid over sixteen decades around `unit`, then golden sections.
fn least(objective: impl Fn(f64) -> f64, unit: f64) -> Result<f64, StatsError> {
    let at = |exponent: f64| unit * pow(10.0, exponent);
    let mut best = (f64::NEG_INFINITY, objective(0.0));
    for k in 0..=160 {
        let exponent = -8.0 + 0.1 * f64::from(k);
        let value = objective(at(exponent));
        if value < best.1 {
            best = (exponent, value);
        }
    }
    if best.0.is_infinite() {
        return Ok(0.0);
    }
    let found = minimise::golden_section(|e| objective(at(e)), (best.0 - 0.1, best.0 + 0.1), 1e-9)?;
    Ok(at(found.at))
}

/// The `alpha` that a rule takes.
#[derive(Clone, Debug, PartialEq)]
pub struct Choice {
    /// Its position in the grid.
    pub position: usize,
    /// What the rule made small, for each `alpha`.
    pub scores: Vec<f64>,
}

/// Chooses from the grid; `path` holds the fits of the whole sample for it and `da_erm` the limit of infinite `alpha`.
///
/// # Errors
/// Fewer rows or levels than folds.
pub fn choose(
    selector: Selector,
    sample: &Sample,
    alphas: &[f64],
    (da_erm, path): (&[f64], &[Vec<f64>]),
    stream: Stream,
) -> Result<Choice> {
    let scores = if selector == Selector::Cc {
        by_length(sample, da_erm, path)?
    } else {
        held_out(selector, sample, alphas, stream)?
    };
    let position = (0..scores.len()).min_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or(0);
    Ok(Choice { position, scores })
}

fn by_length(sample: &Sample, da_erm: &[f64], path: &[Vec<f64>]) -> Result<Vec<f64>> {
    let moments = Moments::of(&sample.g, &sample.augmented, &sample.y);
    let found = confounding(da_erm, &(moments.xx / moments.rows))?;
    let length = |h: &[f64]| h.iter().map(|v| v * v).sum::<f64>().sqrt();
    let target = (1.0 - found.share).sqrt() * length(da_erm);
    Ok(path.iter().map(|h| (length(h) - target).abs()).collect())
}

fn held_out(selector: Selector, sample: &Sample, alphas: &[f64], stream: Stream) -> Result<Vec<f64>> {
    let folds = folds_of(selector, sample, stream)?;
    let stressed = (selector == Selector::Stress).then(|| sample.at_strength(STRESS));
    let of = |x: &ream_stats::Matrix, fold: usize| {
        let rows = (0..folds.len()).filter(|&i| folds[i] == fold);
        Moments::of_rows(&sample.g, x, &sample.y, rows)
    };
    let all = Moments::of(&sample.g, &sample.augmented, &sample.y);
    let mut scores = vec![0.0; alphas.len()];
    for fold in 0..FOLDS {
        let held = of(&sample.augmented, fold);
        let (path, _) = all.without(&held).ivl_path(alphas);
        let judged = stressed.as_ref().map_or_else(|| held.clone(), |x| of(x, fold));
        for (score, h) in scores.iter_mut().zip(&path) {
            let risk = if selector == Selector::IvRisk { judged.projected_risk(h) } else { judged.risk(h) };
            *score += risk * judged.rows / all.rows;
        }
    }
    Ok(scores)
}

fn folds_of(selector: Selector, sample: &Sample, stream: Stream) -> Result<Vec<usize>> {
    let made = if selector == Selector::Lcv {
        cross_fit::grouped(&levels(&sample.g), FOLDS, stream)
    } else {
        cross_fit::folds(sample.rows(), FOLDS, stream)
    };
    made.map_err(|e| Error::failed(format!("alpha by {}: {e}", selector.name())))
}

/// The level of `G` in each row: its distinct rows where they are few, else tenths of its first column.
#[must_use]
pub fn levels(g: &ream_stats::Matrix) -> Vec<usize> {
    let rows: Vec<Vec<u64>> = (0..g.rows()).map(|i| g.row(i).iter().map(|v| v.to_bits()).collect()).collect();
    let mut distinct = rows.clone();
    distinct.sort_unstable();
    distinct.dedup();
    if (FOLDS..=MOST_LEVELS).contains(&distinct.len()) {
        return rows.iter().map(|row| distinct.binary_search(row).unwrap_or(0)).collect();
    }
    let mut order: Vec<usize> = (0..g.rows()).collect();
    order.sort_by(|&a, &b| g.row(a)[0].total_cmp(&g.row(b)[0]).then(a.cmp(&b)));
    let mut level = vec![0; g.rows()];
    for (rank, i) in order.into_iter().enumerate() {
        level[i] = 10 * rank / g.rows();
    }
    level
}
