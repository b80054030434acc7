//! The exact bound at a covariate value: the dual of the arm's law, weighted by a kernel around that value.
//!
//! The reference for the networks, and what is used where rows are few. Covariates are standardised; the kernel is Gaussian with Scott's
//! bandwidth `n^(-1/(p + 4))` for the `n` rows of the arm.
//!
//! A far row's weight all but vanishes, its value does not: Kullback-Leibler and total variation charge little or nothing for mass on a value of
//! small weight, so that these intervals reach for the extremes of the whole arm, as Manski's with the sample's range do.

use rayon::prelude::*;
use ream_stats::{Matrix, StatsError};

use super::divergence::Divergence;
use super::dual::{Bound, Law};
use super::learner::Scaling;

/// What the kernel says at one point under one arm.
#[derive(Clone, Debug, PartialEq)]
pub struct AtPoint {
    /// Ends for each divergence.
    pub ends: Vec<(f64, f64)>,
    /// Their standard errors, `(lower, upper)`, with the probability of the arm and the kernel's bias taken as known.
    pub se: Vec<(f64, f64)>,
    /// Weighted mean of `phi`: the naive estimate.
    pub mean: f64,
    /// Effective number of rows, `1 / sum of squared weights`.
    pub effective: f64,
}

/// Rows of one arm, ready to be weighted.
#[derive(Clone, Debug)]
pub struct Smoother {
    scaling: Scaling,
    x: Matrix,
    /// Ascending.
    phi: Vec<f64>,
    weights: Vec<f64>,
    bandwidth: f64,
}

impl Smoother {
    /// From the rows of the arm `a`: covariates `x` (`[n, columns]`) of all rows, standardised over all of them.
    ///
    /// # Errors
    /// [`StatsError`] when the arm has fewer than two rows.
    pub fn new(
        x: &Matrix,
        arm: &[usize],
        a: usize,
        phi: &[f64],
        weights: Option<&[f64]>,
    ) -> Result<Self, StatsError> {
        let scaling = Scaling::of(x);
        let mut rows: Vec<usize> = (0..arm.len()).filter(|i| arm[*i] == a).collect();
        if rows.len() < 2 {
            return Err(StatsError::TooFew {
                what: "a kernel (rows of the arm)",
                wanted: 2,
                got: rows.len(),
            });
        }
        // In the order of phi, so that laws need no sorting again.
        rows.sort_by(|i, j| phi[*i].total_cmp(&phi[*j]));
        let power = -1.0 / (x.cols() as f64 + 4.0);
        Ok(Self {
            x: scaling.apply(x).select_rows(&rows),
            scaling,
            phi: rows.iter().map(|i| phi[*i]).collect(),
            weights: rows.iter().map(|i| weights.map_or(1.0, |w| w[*i])).collect(),
            bandwidth: libm::pow(rows.len() as f64, power),
        })
    }

    /// Weights of the rows at a standardised point, of sum 1.
    fn weights(&self, at: &[f64]) -> Vec<f64> {
        let distance =
            |i: usize| -> f64 { self.x.row(i).iter().zip(at).map(|(a, b)| (a - b) * (a - b)).sum::<f64>() };
        let distances: Vec<f64> = (0..self.phi.len()).map(distance).collect();
        // Relative to the nearest row, so that a far point still has weights.
        let nearest = distances.iter().copied().fold(f64::INFINITY, f64::min);
        let scale = -0.5 / (self.bandwidth * self.bandwidth);
        let kernel = distances.iter().zip(&self.weights).map(|(d, w)| w * libm::exp(scale * (d - nearest)));
        let kernel: Vec<f64> = kernel.collect();
        let total: f64 = kernel.iter().sum();
        kernel.into_iter().map(|k| k / total).collect()
    }

    /// The weighted law at each of `points` (`[m, columns]`).
    ///
    /// # Errors
    /// As [`Law::new`].
    pub fn laws(&self, points: &Matrix) -> Result<Vec<Law>, StatsError> {
        let points = self.scaling.apply(points);
        (0..points.rows()).map(|p| Law::new(&self.phi, Some(&self.weights(points.row(p))))).collect()
    }

    /// Bounds at `points` (`[m, columns]`) with probability `e` of the arm at each.
    ///
    /// # Errors
    /// As [`Law::upper`].
    pub fn at(
        &self,
        points: &Matrix,
        e: &[f64],
        divergences: &[Divergence],
    ) -> Result<Vec<AtPoint>, StatsError> {
        let points = self.scaling.apply(points);
        let one = |p: usize| {
            let weights = self.weights(points.row(p));
            let law = Law::new(&self.phi, Some(&weights))?;
            let mut out = AtPoint {
                ends: Vec::new(),
                se: Vec::new(),
                mean: law.mean(),
                effective: 1.0 / weights.iter().map(|w| w * w).sum::<f64>(),
            };
            for d in divergences {
                let radius = d.radius(e[p]);
                let (lower, upper) = (law.lower(*d, radius)?, law.upper(*d, radius)?);
                out.ends.push((lower.value, upper.value));
                out.se.push((self.error(*d, &lower, &weights, -1.0), self.error(*d, &upper, &weights, 1.0)));
            }
            Ok(out)
        };
        (0..points.rows()).into_par_iter().map(one).collect()
    }

    fn error(&self, d: Divergence, bound: &Bound, weights: &[f64], sign: f64) -> f64 {
        let prices: Vec<f64> = self.phi.iter().map(|phi| bound.price(d, sign * phi)).collect();
        // A weight that has vanished takes no part, whatever its price.
        let held = || prices.iter().zip(weights).filter(|(_, w)| **w > 0.0);
        let mean: f64 = held().map(|(p, w)| w * p).sum();
        held().map(|(p, w)| w * w * (p - mean) * (p - mean)).sum::<f64>().sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info_bounds::divergence::ALL;
    use ream_rand::Stream;

    #[test]
    fn the_interval_follows_the_covariate_and_holds_the_mean() {
        let mut rng = Stream::new(1, "rows").at(0);
        let x: Vec<f64> = (0..600).map(|_| rng.between(-1.0, 1.0)).collect();
        let arm: Vec<usize> = (0..600).map(|_| rng.below(2)).collect();
        let phi: Vec<f64> = x.iter().map(|x| 3.0 * x + rng.between(-0.5, 0.5)).collect();
        let x = Matrix::from_columns(&[x]).unwrap();
        let smoother = Smoother::new(&x, &arm, 1, &phi, None).unwrap();
        let points = Matrix::from_columns(&[vec![-0.8, 0.8]]).unwrap();
        let at = smoother.at(&points, &[0.5, 0.5], &ALL).unwrap();
        for (j, d) in ALL.into_iter().enumerate() {
            let [left, right] = [at[0].ends[j], at[1].ends[j]];
            assert!(left.0 < right.0 - 1.0 && left.1 < right.1 - 1.0, "{d:?}");
            assert!(left.0 < at[0].mean && at[0].mean < left.1, "{d:?}");
            assert!(at[0].se[j].1 > 0.0, "{d:?} {:?}", at[0].se);
        }
        let certain = smoother.at(&points, &[1.0, 1.0], &ALL).unwrap();
        assert!(certain[0].ends.iter().all(|(l, u)| (u - l).abs() < 1e-9));
    }

    /// Without a covariate that varies the kernel is the arm itself.
    #[test]
    fn a_constant_covariate_gives_the_marginal_bound() {
        let phi: Vec<f64> = (0..50).map(|i| f64::from(i % 7)).collect();
        let x = Matrix::from_fn(50, 1, |_, _| 2.0);
        let arm = vec![0; 50];
        let smoother = Smoother::new(&x, &arm, 0, &phi, None).unwrap();
        let at = smoother.at(&Matrix::from_fn(1, 1, |_, _| 2.0), &[0.4], &ALL).unwrap();
        let law = Law::new(&phi, None).unwrap();
        for (d, ends) in ALL.into_iter().zip(&at[0].ends) {
            let (low, high) = law.interval(d, 0.4).unwrap();
            assert!((low - ends.0).abs() < 1e-9 && (high - ends.1).abs() < 1e-9);
        }
        assert!((at[0].effective - 50.0).abs() < 1e-9);
    }
}
