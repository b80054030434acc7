//! What others do: pool all individuals, or look at means only.

use ream_rand::Stream;
use ream_stats::local_polynomial::{Kernel, LocalPolynomial, Side};
use ream_stats::regression_discontinuity::{self, Jump, RegressionDiscontinuity};
use ream_stats::{FitError, Matrix, descriptive};

/// The pooled quantile discontinuity: all individuals in one heap, as if each were a unit. A local linear estimate of their
/// distribution function at the cutoff on each side, inverted. It answers what the quantiles of the pooled population do, which
/// is another question, and its noise is taken over individuals, which are not independent.
#[derive(Clone, Debug)]
pub struct Pooled {
    /// Probabilities.
    pub grid: Vec<f64>,
    /// Below and above.
    sides: [PooledSide; 2],
    /// Quantiles of the pooled individuals at the cutoff, below and above.
    pub curves: [Vec<f64>; 2],
}

/// Individuals within the window, by ascending outcome.
#[derive(Clone, Debug)]
struct PooledSide {
    outcomes: Vec<f64>,
    /// Offset from the cutoff in bandwidths.
    offsets: Vec<f64>,
    /// `k(u)`.
    kernel: Vec<f64>,
}

impl Pooled {
    /// `x` `[n]` and outcomes of each unit's individuals.
    ///
    /// # Errors
    /// Too few different positions in the window, values that are not finite.
    pub fn fit(
        x: &[f64],
        outcomes: &[Vec<f64>],
        cutoff: f64,
        kernel: Kernel,
        bandwidth: f64,
        grid: &[f64],
    ) -> Result<Self, FitError> {
        let (mut places, mut values) = (Vec::new(), Vec::new());
        for (x, own) in x.iter().zip(outcomes) {
            places.extend(std::iter::repeat_n(*x, own.len()));
            values.extend_from_slice(own);
        }
        let side = |side| -> Result<(PooledSide, Vec<f64>), FitError> {
            let fit = LocalPolynomial::new(&places, cutoff, side, kernel, 1, bandwidth)?;
            let mut order: Vec<usize> = (0..fit.rows().len()).collect();
            order.sort_by(|&a, &b| values[fit.rows()[a]].total_cmp(&values[fit.rows()[b]]));
            let pick = |from: &[f64]| -> Vec<f64> { order.iter().map(|&k| from[k]).collect() };
            let own = PooledSide {
                outcomes: order.iter().map(|&k| values[fit.rows()[k]]).collect(),
                offsets: pick(fit.offsets()),
                kernel: pick(fit.kernel_weights()),
            };
            let curve = inverse(&own.outcomes, &pick(fit.weights()), grid);
            Ok((own, curve))
        };
        let (below, above) = (side(Side::Below)?, side(Side::Above)?);
        Ok(Self { grid: grid.to_vec(), sides: [below.0, above.0], curves: [below.1, above.1] })
    }

    /// Difference of the pooled quantiles.
    #[must_use]
    pub fn effect(&self) -> Vec<f64> {
        self.curves[1].iter().zip(&self.curves[0]).map(|(a, b)| a - b).collect()
    }

    /// Noise of the effect by drawing *individuals* with replacement, `[draws, Q]`: the bootstrap of one who pools.
    ///
    /// # Errors
    /// None but for a matrix that does not fit, which cannot be.
    pub fn noise(&self, draws: usize, stream: Stream) -> Result<Matrix, FitError> {
        let effect = self.effect();
        let mut data = Vec::with_capacity(draws * effect.len());
        for b in 0..draws {
            let mut rng = stream.at(b as u64);
            let curves = [&self.sides[0], &self.sides[1]].map(|side| {
                let count = side.outcomes.len();
                let mut times = vec![0.0; count];
                (0..count).for_each(|_| times[rng.below(count)] += 1.0);
                side.redrawn(&times, &self.grid)
            });
            data.extend((0..effect.len()).map(|q| curves[1][q] - curves[0][q] - effect[q]));
        }
        Ok(Matrix::new(draws, effect.len(), data)?)
    }
}

impl PooledSide {
    /// Quantiles where every individual counts so many times.
    fn redrawn(&self, times: &[f64], grid: &[f64]) -> Vec<f64> {
        let (mut s0, mut s1, mut s2) = (0.0, 0.0, 0.0);
        for ((u, k), t) in self.offsets.iter().zip(&self.kernel).zip(times) {
            let w = k * t;
            s0 += w;
            s1 += w * u;
            s2 += w * u * u;
        }
        let scale = 1.0 / (s0 * s2 - s1 * s1);
        let weights: Vec<f64> = self
            .offsets
            .iter()
            .zip(&self.kernel)
            .zip(times)
            .map(|((u, k), t)| k * t * (s2 - s1 * u) * scale)
            .collect();
        inverse(&self.outcomes, &weights, grid)
    }
}

/// `inf { y : F(y) >= q }` where `F` jumps by the weights at the ascending outcomes. Weights may be negative, so `F` may fall:
/// its running maximum counts.
fn inverse(outcomes: &[f64], weights: &[f64], grid: &[f64]) -> Vec<f64> {
    let mut curve = Vec::with_capacity(grid.len());
    let (mut at, mut sum) = (0, 0.0);
    for &q in grid {
        // Rounding must not carry a step past its place.
        while at < outcomes.len() && sum + weights[at] < q - 1e-12 {
            sum += weights[at];
            at += 1;
        }
        curve.push(outcomes[at.min(outcomes.len() - 1)]);
    }
    curve
}

/// The discontinuity of the units' means, as `rdrobust` would estimate it.
///
/// # Errors
/// As [`regression_discontinuity::estimate`]; units without individuals.
pub fn mean_jump(
    x: &[f64],
    outcomes: &[Vec<f64>],
    treatment: Option<&[f64]>,
    settings: &RegressionDiscontinuity,
) -> Result<Jump, FitError> {
    let means = outcomes.iter().map(|own| descriptive::mean(own)).collect::<Result<Vec<f64>, _>>()?;
    regression_discontinuity::estimate(x, &means, treatment, settings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_function_is_inverted() {
        let outcomes = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(inverse(&outcomes, &[0.25; 4], &[0.1, 0.25, 0.26, 0.75, 1.0]), [1.0, 1.0, 2.0, 3.0, 4.0]);
        // A negative weight: F is 0.5, 0.3, 0.9, 1.
        assert_eq!(inverse(&outcomes, &[0.5, -0.2, 0.6, 0.1], &[0.5, 0.51, 0.95]), [1.0, 3.0, 4.0]);
    }

    #[test]
    fn drawing_everyone_once_changes_nothing() {
        let mut rng = Stream::new(1, "pooled").at(0);
        let x: Vec<f64> = (0..80).map(|_| rng.between(-1.0, 1.0)).collect();
        let outcomes: Vec<Vec<f64>> = (0..80).map(|_| (0..7).map(|_| rng.normal()).collect()).collect();
        let grid = [0.2, 0.5, 0.8];
        let pooled = Pooled::fit(&x, &outcomes, 0.0, Kernel::Epanechnikov, 0.7, &grid).unwrap();
        for (side, curve) in pooled.sides.iter().zip(&pooled.curves) {
            assert_eq!(&side.redrawn(&vec![1.0; side.outcomes.len()], &grid), curve);
        }
        let noise = pooled.noise(40, Stream::new(2, "individuals")).unwrap();
        assert_eq!((noise.rows(), noise.cols()), (40, 3));
        assert!(noise.data().iter().any(|v| *v != 0.0));
    }

    #[test]
    fn one_law_for_all_gives_its_quantiles() {
        let mut rng = Stream::new(3, "pooled").at(0);
        let x: Vec<f64> = (0..200).map(|_| rng.between(-1.0, 1.0)).collect();
        let outcomes: Vec<Vec<f64>> = x
            .iter()
            .map(|x| (0..50).map(|_| rng.normal() + f64::from(u8::from(*x >= 0.0))).collect())
            .collect();
        let pooled = Pooled::fit(&x, &outcomes, 0.0, Kernel::Triangular, 1.0, &[0.5, 0.9]).unwrap();
        let (effect, curves) = (pooled.effect(), &pooled.curves);
        assert!((effect[0] - 1.0).abs() < 0.15 && (effect[1] - 1.0).abs() < 0.2, "{effect:?}");
        assert!((curves[0][1] - 1.2816).abs() < 0.15, "{curves:?}");
    }
}
