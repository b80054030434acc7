//! The predictive-similarity operator on contexts: which contexts predict alike.
//!
//! `(M f)(x) = E_{x'~mu}[ K(x, x') f(x') ]` for contexts with the law `mu`, with one of two kernels,
//!
//! `K(x, x') = sum_v P(v|x) P(v|x') / P(v)`  (normalised co-occurrence; 1 for contexts that are unrelated),
//! `K_B(x, x') = sum_v sqrt(P(v|x) P(v|x'))`  (Bhattacharyya).
//!
//! Both are Gram matrices of features, `P(v|x) / sqrt(P(v))` and `sqrt(P(v|x))`, so their spectra are the squared singular
//! values of `[contexts, tokens]` matrices and no matrix of contexts by contexts is ever made. The constant function is an
//! eigenfunction of `K` with the eigenvalue 1; it says nothing of the contexts and is removed by centring the features,
//! exactly for `K`; for `K_B` the operator is restricted to functions of mean 0.

use ream_stats::{Matrix, StatsError, spectral};
use std::fmt;

/// Which kernel compares contexts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Similarity {
    /// `sum_v P(v|x) P(v|x') / P(v)`.
    Normalised,
    /// `sum_v sqrt(P(v|x) P(v|x'))`.
    Bhattacharyya,
}

impl Similarity {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Normalised, Self::Bhattacharyya];
}

impl fmt::Display for Similarity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normalised => "k",
            Self::Bhattacharyya => "bhattacharyya",
        })
    }
}

/// Non-trivial eigenvalues and eigenfunctions.
#[derive(Clone, Debug, PartialEq)]
pub struct Spectrum {
    /// Eigenvalues, largest first.
    pub values: Vec<f64>,
    /// `sqrt(mu(x)) phi(x)`: orthonormal columns, one for each eigenvalue, `[contexts, values]`.
    pub weighted: Matrix,
}

impl Spectrum {
    /// The leading `r` weighted eigenfunctions, `[contexts, r]` (fewer where there are fewer).
    #[must_use]
    pub fn leading(&self, r: usize) -> Matrix {
        Matrix::from_fn(self.weighted.rows(), r.min(self.values.len()), |x, k| self.weighted.get(x, k))
    }

    /// `phi(x) sqrt(lambda)` of the leading `r` eigenfunctions, `[contexts, r]`; `mu` as given to [`spectrum`].
    #[must_use]
    pub fn scaled(&self, r: usize, mu: &[f64]) -> Matrix {
        Matrix::from_fn(self.weighted.rows(), r.min(self.values.len()), |x, k| {
            if mu[x] > 0.0 { self.weighted.get(x, k) * (self.values[k] / mu[x]).sqrt() } else { 0.0 }
        })
    }
}

/// The non-trivial spectrum of the operator for next-token laws `[contexts, tokens]` and weights `mu` that sum to 1.
///
/// # Errors
/// No contexts, weights of another length, values that are not finite.
pub fn spectrum(laws: &Matrix, mu: &[f64], similarity: Similarity) -> Result<Spectrum, StatsError> {
    let features = features(laws, mu, similarity)?;
    let centred = spectral::centred(&features, mu)?;
    let weighted = Matrix::from_fn(laws.rows(), laws.cols(), |x, v| mu[x].sqrt() * centred.get(x, v));
    let svd = spectral::svd(&weighted)?;
    Ok(Spectrum { values: svd.values.iter().map(|s| s * s).collect(), weighted: svd.left })
}

/// Features whose inner products are the kernel.
fn features(laws: &Matrix, mu: &[f64], similarity: Similarity) -> Result<Matrix, StatsError> {
    if mu.len() != laws.rows() {
        return Err(StatsError::Length { what: "the weights", wanted: laws.rows(), got: mu.len() });
    }
    Ok(match similarity {
        Similarity::Bhattacharyya => Matrix::from_fn(laws.rows(), laws.cols(), |x, v| laws.get(x, v).sqrt()),
        Similarity::Normalised => {
            let mut marginal = vec![0.0; laws.cols()];
            for (x, weight) in mu.iter().enumerate() {
                for (sum, p) in marginal.iter_mut().zip(laws.row(x)) {
                    *sum += weight * p;
                }
            }
            // A token that never occurs has the feature 0 everywhere.
            Matrix::from_fn(laws.rows(), laws.cols(), |x, v| {
                if marginal[v] > 0.0 { laws.get(x, v) / marginal[v].sqrt() } else { 0.0 }
            })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::kernel::{Kernel, dirichlet};
    use super::*;
    use ream_rand::Stream;

    fn example() -> (Matrix, Vec<f64>) {
        let mut rng = Stream::new(1, "operator").at(0);
        let kernel = Kernel::random(40, 8, 0.4, &mut rng);
        let mu = dirichlet(40, 2.0, &mut rng);
        (Matrix::from_fn(40, 8, |x, v| kernel.row(x)[v]), mu)
    }

    /// The spectrum is that of the dense operator, whose trivial eigenvalue is 1 with a constant eigenfunction.
    #[test]
    fn the_spectrum_is_that_of_the_dense_operator() {
        let (laws, mu) = example();
        let marginal: Vec<f64> = (0..8).map(|v| (0..40).map(|x| mu[x] * laws.get(x, v)).sum()).collect();
        let k =
            |x: usize, y: usize| (0..8).map(|v| laws.get(x, v) * laws.get(y, v) / marginal[v]).sum::<f64>();
        let dense = Matrix::from_fn(40, 40, |x, y| (mu[x] * mu[y]).sqrt() * k(x, y));
        let eigen = spectral::symmetric_eigen(&dense).unwrap();
        let spectrum = spectrum(&laws, &mu, Similarity::Normalised).unwrap();
        assert!((eigen.values[0] - 1.0).abs() < 1e-12);
        for (x, weight) in mu.iter().enumerate() {
            assert!((eigen.vectors.get(x, 0) - weight.sqrt()).abs() < 1e-9, "the trivial one is constant");
        }
        for (a, b) in eigen.values[1..8].iter().zip(&spectrum.values) {
            assert!((a - b).abs() < 1e-10);
        }
        let wanted = Matrix::from_fn(40, 5, |x, j| eigen.vectors.get(x, j + 1));
        assert!((spectral::overlap(&spectrum.leading(5), &wanted).unwrap() - 1.0).abs() < 1e-8);
    }

    #[test]
    fn functions_have_mean_zero_in_both_forms() {
        let (laws, mu) = example();
        for similarity in Similarity::ALL {
            let spectrum = spectrum(&laws, &mu, similarity).unwrap();
            for k in 0..5 {
                let mean: f64 = (0..40).map(|x| mu[x].sqrt() * spectrum.weighted.get(x, k)).sum();
                assert!(mean.abs() < 1e-9, "{similarity} {k}: {mean}");
            }
            assert!(spectrum.values[0] > 0.01 && spectrum.values.is_sorted_by(|a, b| a >= b));
        }
    }

    /// Laws that mix r classes leave r - 1 non-trivial eigenvalues.
    #[test]
    fn rank_counts_the_latent_classes() {
        let mut rng = Stream::new(2, "rank").at(0);
        let kernel =
            Kernel::random(60, 4, 0.5, &mut rng).then(&Kernel::random(4, 12, 0.5, &mut rng)).unwrap();
        let laws = Matrix::from_fn(60, 12, |x, v| kernel.row(x)[v]);
        let values = spectrum(&laws, &[1.0 / 60.0; 60], Similarity::Normalised).unwrap().values;
        assert!(values[2] > 1e-3 && values[3] < 1e-12, "{values:?}");
    }

    /// The sum of K over contexts is 1: the kernel of unrelated contexts; identical contexts lie above.
    #[test]
    fn features_reproduce_the_kernel() {
        let (laws, mu) = example();
        let features = features(&laws, &mu, Similarity::Normalised).unwrap();
        let k =
            |x: usize, y: usize| features.row(x).iter().zip(features.row(y)).map(|(a, b)| a * b).sum::<f64>();
        for x in 0..40 {
            let mean: f64 = (0..40).map(|y| mu[y] * k(x, y)).sum();
            assert!((mean - 1.0).abs() < 1e-12 && k(x, x) >= 1.0 - 1e-12);
        }
    }
}
