//! One augmented sample, and the linear fits of the paper on it.

use ream_lab::{Error, Result};
use ream_stats::instrumental::{Instrumental, IvLimit, Variables};
use ream_stats::{Covariance, FitError, Matrix, linear};

/// Raw and augmented inputs of the same rows, the parameters of the augmentation, and the outcome; every column centred.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// `X`, `[n, m]`.
    pub raw: Matrix,
    /// `GX`, `[n, m]`.
    pub augmented: Matrix,
    /// `G`, `[n, q]`: what was drawn for each row.
    pub g: Matrix,
    /// `y`, `[n]`.
    pub y: Vec<f64>,
}

impl Sample {
    /// Centres every column.
    #[must_use]
    pub fn centred(raw: &Matrix, augmented: &Matrix, g: &Matrix, y: &[f64]) -> Self {
        let mean = y.iter().sum::<f64>() / y.len().max(1) as f64;
        Self {
            raw: centred(raw),
            augmented: centred(augmented),
            g: centred(g),
            y: y.iter().map(|y| y - mean).collect(),
        }
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.y.len()
    }

    /// Number of inputs.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.raw.cols()
    }

    /// Inputs augmented `strength` times as strongly: `X + strength (GX - X)`. Exact for what is linear in its parameters
    /// (translations, noise, gains); for others the linear continuation.
    #[must_use]
    pub fn at_strength(&self, strength: f64) -> Matrix {
        Matrix::from_fn(self.rows(), self.inputs(), |i, j| {
            let raw = self.raw.get(i, j);
            raw + strength * (self.augmented.get(i, j) - raw)
        })
    }
}

/// The columns less their means.
#[must_use]
pub fn centred(x: &Matrix) -> Matrix {
    let mut means = vec![0.0; x.cols()];
    for i in 0..x.rows() {
        means.iter_mut().zip(x.row(i)).for_each(|(m, v)| *m += v);
    }
    let n = x.rows().max(1) as f64;
    Matrix::from_fn(x.rows(), x.cols(), |i, j| x.get(i, j) - means[j] / n)
}

/// The linear fits of one sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Fits {
    /// Least squares on the raw inputs.
    pub erm: Vec<f64>,
    /// Least squares on the augmented inputs: `alpha` to infinity.
    pub da_erm: Vec<f64>,
    /// `alpha` to 0, of all solutions the one closest to [`Fits::da_erm`].
    pub da_iv: Vec<f64>,
    /// `alpha` to 0, of all solutions the one of least risk.
    pub da_iv_risk: Vec<f64>,
    /// IVL for each `alpha` that was asked for.
    pub path: Vec<Vec<f64>>,
}

impl Fits {
    /// All fits; the path costs no further pass over the rows.
    ///
    /// # Errors
    /// Columns that are dependent, or too few rows.
    pub fn new(sample: &Sample, alphas: &[f64]) -> Result<Self> {
        let fits = || -> Result<Self, FitError> {
            let model = Instrumental::new(Variables {
                outcome: &sample.y,
                controls: None,
                treatments: &sample.augmented,
                instruments: &sample.g,
            })?;
            let path = model.ivl_path(alphas)?;
            let da_erm = model.ivl_path(&[f64::INFINITY])?.into_iter().flatten().collect();
            Ok(Self {
                erm: linear::ols(&sample.raw, &sample.y, Covariance::Classical)?.coefficients,
                da_erm,
                da_iv: model.iv_limit(IvLimit::ClosestToLeastSquares)?,
                da_iv_risk: model.iv_limit(IvLimit::LeastResiduals)?,
                path,
            })
        };
        fits().map_err(|e| Error::failed(format!("the augmented sample: {e}")))
    }
}

/// Normalised causal excess risk of linear coefficients, `|h - f|^2 / (|h - f|^2 + |f|^2)`: 0 for the truth, 0.5 for `h = 0`,
/// near 1 where confounding is all there is.
#[must_use]
pub fn normalised_risk(h: &[f64], truth: &[f64]) -> f64 {
    let missed: f64 = h.iter().zip(truth).map(|(h, f)| (h - f) * (h - f)).sum();
    let size: f64 = truth.iter().map(|f| f * f).sum();
    if missed + size > 0.0 { missed / (missed + size) } else { 0.0 }
}

/// Mean of coefficient vectors over draws of `G`.
#[must_use]
pub fn mean_of(draws: &[Vec<f64>]) -> Vec<f64> {
    let mut mean = vec![0.0; draws.first().map_or(0, Vec::len)];
    for draw in draws {
        mean.iter_mut().zip(draw).for_each(|(m, v)| *m += v / draws.len() as f64);
    }
    mean
}
