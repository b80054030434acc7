//! How the hidden states of a model lie beside the predictive eigenfunctions.
//!
//! Hidden states are defined only up to an invertible linear map that the head `W` can absorb, so distances and directions are
//! taken in the pull-back of the Fisher-Rao metric through the head,
//!
//! `g*(h) = W^T (diag(p) - p p^T) W = Cov_{v~p(.|h)}(w_v)`,   `G = E_{x~mu} g*(h_x)`,
//!
//! that is on `H G^{1/2}`, which such a map does not change. [`Geometry`] holds these; three measures compare them with the
//! operator: the share of its leading eigenfunctions in the leading directions (`A_r`), linear CKA, and the rank correlation of
//! distances.

use super::divergence::hellinger;
use super::operator::Spectrum;
use super::sources::draw;
use ream_rand::Stream;
use ream_stats::{Matrix, StatsError, rank, spectral};

/// Hidden states of some contexts in coordinates that make the metric Euclidean.
#[derive(Clone, Debug)]
pub struct Geometry {
    /// `H_c G^{1/2}`, centred under `mu`, `[contexts, d]`.
    states: Matrix,
    mu: Vec<f64>,
}

impl Geometry {
    /// From hidden states `[contexts, d]`, weights `mu`, and a metric `[d, d]`.
    ///
    /// # Errors
    /// Sizes that do not fit, values that are not finite, a metric that is not symmetric.
    pub fn new(hidden: &Matrix, mu: &[f64], metric: &Matrix) -> Result<Self, StatsError> {
        let root = spectral::symmetric_root(metric)?;
        if root.rows() != hidden.cols() {
            return Err(StatsError::Length { what: "the metric", wanted: hidden.cols(), got: root.rows() });
        }
        Self::euclidean(&times(hidden, &root), mu)
    }

    /// From states whose Euclidean distance is the metric already.
    ///
    /// # Errors
    /// Sizes that do not fit, values that are not finite.
    pub fn euclidean(states: &Matrix, mu: &[f64]) -> Result<Self, StatsError> {
        Ok(Self { states: spectral::centred(states, mu)?, mu: mu.to_vec() })
    }

    /// The same after whitening: coordinates with the covariance 1 on the directions that vary (to 1e-5 of the largest),
    /// which no linear map changes.
    ///
    /// # Errors
    /// Singular values that do not converge.
    pub fn whitened(&self) -> Result<Self, StatsError> {
        let svd = self.singular()?;
        let kept = svd.values.iter().take_while(|s| **s > 1e-5 * svd.values[0]).count().max(1);
        let states = Matrix::from_fn(self.states.rows(), kept, |x, k| {
            if self.mu[x] > 0.0 { svd.left.get(x, k) / self.mu[x].sqrt() } else { 0.0 }
        });
        Self::euclidean(&states, &self.mu)
    }

    fn singular(&self) -> Result<spectral::Svd, StatsError> {
        let (rows, cols) = (self.states.rows(), self.states.cols());
        spectral::svd(&Matrix::from_fn(rows, cols, |x, j| self.mu[x].sqrt() * self.states.get(x, j)))
    }

    /// Singular values of `diag(sqrt mu) H_c G^{1/2}`, largest first.
    ///
    /// # Errors
    /// Singular values that do not converge.
    pub fn singular_values(&self) -> Result<Vec<f64>, StatsError> {
        Ok(self.singular()?.values)
    }

    /// The first two principal coordinates of each context, for a map.
    ///
    /// # Errors
    /// Singular values that do not converge.
    pub fn plane(&self) -> Result<[Vec<f64>; 2], StatsError> {
        let svd = self.singular()?;
        let along = |k: usize| -> Vec<f64> {
            let direction = |j: usize| if k < svd.right.cols() { svd.right.get(j, k) } else { 0.0 };
            let of = |x: usize| self.states.row(x).iter().enumerate().map(|(j, v)| v * direction(j)).sum();
            (0..self.states.rows()).map(of).collect()
        };
        Ok([along(0), along(1)])
    }

    /// `A_r = (1/r) |U_r^T Phi_r|_F^2`: the share of the `r` leading eigenfunctions in the `r` leading directions of the
    /// states, in `[0, 1]`; about `r / contexts` for states that know nothing of them.
    ///
    /// # Errors
    /// Fewer than `r` directions or eigenfunctions, sizes that do not fit.
    pub fn alignment(&self, spectrum: &Spectrum, r: usize) -> Result<f64, StatsError> {
        let svd = self.singular()?;
        let fewest = svd.values.len().min(spectrum.values.len());
        if r == 0 || r > fewest {
            return Err(StatsError::TooFew { what: "the alignment", wanted: r.max(1), got: fewest });
        }
        let leading = Matrix::from_fn(self.states.rows(), r, |x, k| svd.left.get(x, k));
        spectral::overlap(&leading, &spectrum.leading(r))
    }

    /// Linear CKA with the `r` leading eigenfunctions, each scaled by the root of its eigenvalue.
    ///
    /// # Errors
    /// States that are all the same, sizes that do not fit.
    pub fn cka(&self, spectrum: &Spectrum, r: usize) -> Result<f64, StatsError> {
        spectral::linear_cka(&self.states, &spectrum.scaled(r, &self.mu), Some(&self.mu))
    }

    /// Spearman's correlation over pairs of contexts between the distance of states and the Hellinger distance of the
    /// true laws `[contexts, tokens]`.
    ///
    /// # Errors
    /// A pair outside the contexts; distances that are all the same.
    pub fn separation(&self, laws: &Matrix, pairs: &[(usize, usize)]) -> Result<f64, StatsError> {
        let contexts = self.states.rows().min(laws.rows());
        if pairs.iter().any(|(x, y)| x.max(y) >= &contexts) {
            return Err(StatsError::Undefined {
                what: "the separation",
                why: "a pair is no pair of contexts",
            });
        }
        let distance = |(x, y): &(usize, usize)| {
            let squares = self.states.row(*x).iter().zip(self.states.row(*y)).map(|(a, b)| (a - b) * (a - b));
            squares.sum::<f64>().sqrt()
        };
        let states: Vec<f64> = pairs.iter().map(distance).collect();
        let truths: Vec<f64> = pairs.iter().map(|(x, y)| hellinger(laws.row(*x), laws.row(*y))).collect();
        rank::spearman_test(&states, &truths, 0.95).map(|test| test.estimate.value)
    }
}

/// `G = E_{x~mu} W^T (diag(p_x) - p_x p_x^T) W` of a head with rows `w_v`, `[tokens, d]`, and the model's laws
/// `[contexts, tokens]`; `mu` sums to 1. The result is `[d, d]`.
///
/// # Errors
/// Sizes that do not fit.
pub fn head_metric(head: &Matrix, laws: &Matrix, mu: &[f64]) -> Result<Matrix, StatsError> {
    let (tokens, d) = (head.rows(), head.cols());
    if laws.cols() != tokens || laws.rows() != mu.len() {
        return Err(StatsError::Length { what: "the laws (columns)", wanted: tokens, got: laws.cols() });
    }
    let mut metric = vec![0.0; d * d];
    let mut add = |vector: &[f64], weight: f64| {
        for (row, a) in metric.chunks_exact_mut(d).zip(vector) {
            for (sum, b) in row.iter_mut().zip(vector) {
                *sum += weight * a * b;
            }
        }
    };
    // Rows are taken from their mean over tokens: a common shift of all rows changes no law and must not cost digits.
    let middle: Vec<f64> = (0..d).map(|j| head.column(j).iter().sum::<f64>() / tokens as f64).collect();
    let rows = Matrix::from_fn(tokens, d, |v, j| head.get(v, j) - middle[j]);
    for (x, weight) in mu.iter().enumerate() {
        let mut mean = vec![0.0; d];
        for (v, p) in laws.row(x).iter().enumerate() {
            for (m, w) in mean.iter_mut().zip(rows.row(v)) {
                *m += p * w;
            }
        }
        add(&mean, -weight);
    }
    for v in 0..tokens {
        let mass: f64 = mu.iter().enumerate().map(|(x, weight)| weight * laws.get(x, v)).sum();
        add(rows.row(v), mass);
    }
    Matrix::new(d, d, metric)
}

/// Pairs of contexts, each drawn from `mu` on its own.
#[must_use]
pub fn draw_pairs(mu: &[f64], pairs: usize, stream: Stream) -> Vec<(usize, usize)> {
    let mut rng = stream.at(0);
    let cumulative: Vec<f64> = mu
        .iter()
        .scan(0.0, |sum, p| {
            *sum += p;
            Some(*sum)
        })
        .collect();
    let total = cumulative.last().copied().unwrap_or(0.0);
    if total <= 0.0 {
        return Vec::new();
    }
    let mut one = || {
        let at = rng.uniform() * total;
        let x = cumulative.partition_point(|sum| *sum <= at);
        if x < mu.len() { x } else { draw(mu, &mut rng) }
    };
    (0..pairs).map(|_| (one(), one())).collect()
}

/// The matrix product.
fn times(a: &Matrix, b: &Matrix) -> Matrix {
    let mut out = vec![0.0; a.rows() * b.cols()];
    for (i, row) in out.chunks_exact_mut(b.cols()).enumerate() {
        for (k, left) in a.row(i).iter().enumerate() {
            for (sum, right) in row.iter_mut().zip(b.row(k)) {
                *sum += left * right;
            }
        }
    }
    Matrix::from_fn(a.rows(), b.cols(), |i, j| out[i * b.cols() + j])
}

#[cfg(test)]
mod tests {
    use super::super::kernel::{Kernel, dirichlet};
    use super::super::operator::{Similarity, spectrum};
    use super::*;

    const CONTEXTS: usize = 400;
    const TOKENS: usize = 16;
    const D: usize = 24;

    fn random(rows: usize, cols: usize, step: u64) -> Matrix {
        let mut rng = Stream::new(5, "alignment tests").at(step);
        Matrix::from_fn(rows, cols, |_, _| rng.normal())
    }

    /// Laws that mix six classes, and a model that has learned them exactly: `h` holds the log-probabilities, `W` reads
    /// them out.
    struct Exact {
        laws: Matrix,
        mu: Vec<f64>,
        hidden: Matrix,
        head: Matrix,
    }

    fn exact() -> Exact {
        let mut rng = Stream::new(4, "exact model").at(0);
        let mix = Kernel::random(CONTEXTS, 6, 0.5, &mut rng);
        let kernel = mix.then(&Kernel::random(6, TOKENS, 1.0, &mut rng)).unwrap();
        let laws = Matrix::from_fn(CONTEXTS, TOKENS, |x, v| kernel.row(x)[v]);
        let mu = dirichlet(CONTEXTS, 3.0, &mut rng);
        // Directions that the head does not read must not count, however large they are.
        let noise = random(CONTEXTS, D, 1);
        let hidden = Matrix::from_fn(CONTEXTS, D, |x, j| {
            if j < TOKENS { libm::log(laws.get(x, j)) } else { 50.0 * noise.get(x, j) }
        });
        let head = Matrix::from_fn(TOKENS, D, |v, j| f64::from(u8::from(v == j)));
        Exact { laws, mu, hidden, head }
    }

    fn geometry(exact: &Exact) -> Geometry {
        let metric = head_metric(&exact.head, &exact.laws, &exact.mu).unwrap();
        Geometry::new(&exact.hidden, &exact.mu, &metric).unwrap()
    }

    #[test]
    fn the_metric_is_the_mean_covariance_of_the_heads_rows() {
        let exact = exact();
        let head = random(TOKENS, 3, 2);
        let metric = head_metric(&head, &exact.laws, &exact.mu).unwrap();
        for i in 0..3 {
            for j in 0..3 {
                let mut wanted = 0.0;
                for (x, weight) in exact.mu.iter().enumerate() {
                    let mean =
                        |a: usize| (0..TOKENS).map(|v| exact.laws.get(x, v) * head.get(v, a)).sum::<f64>();
                    let both: f64 =
                        (0..TOKENS).map(|v| exact.laws.get(x, v) * head.get(v, i) * head.get(v, j)).sum();
                    wanted += weight * (both - mean(i) * mean(j));
                }
                assert!((metric.get(i, j) - wanted).abs() < 1e-12);
            }
        }
    }

    /// A map of the hidden states that the head absorbs changes nothing that is measured in the metric or after whitening.
    #[test]
    fn a_map_that_the_head_absorbs_changes_nothing() {
        let exact = exact();
        let spectrum = spectrum(&exact.laws, &exact.mu, Similarity::Normalised).unwrap();
        let pairs = draw_pairs(&exact.mu, 500, Stream::new(1, "pairs"));
        let measures = |exact: &Exact| {
            let g = geometry(exact);
            [
                g.alignment(&spectrum, 5).unwrap(),
                g.cka(&spectrum, 5).unwrap(),
                g.separation(&exact.laws, &pairs).unwrap(),
                g.whitened().unwrap().cka(&spectrum, 5).unwrap(),
            ]
        };
        // h -> h S with S = diag, W -> W S^-1; and a common shift of the head's rows.
        let s = |j: usize| 1.0 + 0.3 * j as f64;
        let stretched = Exact {
            laws: exact.laws.clone(),
            mu: exact.mu.clone(),
            hidden: Matrix::from_fn(CONTEXTS, D, |x, j| exact.hidden.get(x, j) * s(j)),
            head: Matrix::from_fn(TOKENS, D, |v, j| exact.head.get(v, j) / s(j) + 0.7),
        };
        for (a, b) in measures(&exact).iter().zip(measures(&stretched)) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
        let raw = |exact: &Exact| {
            let read = Matrix::from_fn(CONTEXTS, TOKENS, |x, j| exact.hidden.get(x, j));
            Geometry::euclidean(&read, &exact.mu).unwrap().cka(&spectrum, 5).unwrap()
        };
        assert!((raw(&exact) - raw(&stretched)).abs() > 1e-4, "raw coordinates do change");
    }

    /// An exact model stands far above features that know nothing, whose share is small because the constant is gone.
    #[test]
    fn an_exact_model_is_aligned_and_random_features_are_not() {
        let exact = exact();
        let spectrum = spectrum(&exact.laws, &exact.mu, Similarity::Normalised).unwrap();
        let pairs = draw_pairs(&exact.mu, 2000, Stream::new(1, "pairs"));
        let good = geometry(&exact);
        let bad = Geometry::euclidean(&random(CONTEXTS, D, 9), &exact.mu).unwrap();
        // Shifted features would have the trivial direction first if it were not removed.
        let noise = random(CONTEXTS, D, 9);
        let shifted = Matrix::from_fn(CONTEXTS, D, |x, j| 100.0 + noise.get(x, j));
        let shifted = Geometry::euclidean(&shifted, &exact.mu).unwrap();
        let of = |g: &Geometry| (g.alignment(&spectrum, 5).unwrap(), g.cka(&spectrum, 5).unwrap());
        assert!(of(&good).0 > 0.8 && of(&good).1 > 0.6, "{:?}", of(&good));
        assert!(of(&bad).0 < 5.0 / D as f64 && of(&bad).1 < 0.1, "{:?}", of(&bad));
        assert!((of(&shifted).0 - of(&bad).0).abs() < 1e-6);
        let far = good.separation(&exact.laws, &pairs).unwrap();
        let none = bad.separation(&exact.laws, &pairs).unwrap();
        assert!(far > 0.8 && none.abs() < 0.1, "{far} {none}");
    }

    /// States that are the eigenfunctions themselves reach 1.
    #[test]
    fn the_eigenfunctions_are_aligned_with_themselves() {
        let exact = exact();
        for similarity in Similarity::ALL {
            let spectrum = spectrum(&exact.laws, &exact.mu, similarity).unwrap();
            let states = spectrum.scaled(5, &exact.mu);
            let g = Geometry::euclidean(&states, &exact.mu).unwrap();
            assert!((g.alignment(&spectrum, 5).unwrap() - 1.0).abs() < 1e-9);
            assert!((g.cka(&spectrum, 5).unwrap() - 1.0).abs() < 1e-9);
            for (s, value) in g.singular_values().unwrap().iter().zip(&spectrum.values) {
                assert!((s * s - value).abs() < 1e-9);
            }
            let [first, second] = g.plane().unwrap();
            let product: f64 = (0..CONTEXTS).map(|x| exact.mu[x] * first[x] * second[x]).sum();
            assert!(product.abs() < 1e-9);
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let exact = exact();
        let spectrum = spectrum(&exact.laws, &exact.mu, Similarity::Normalised).unwrap();
        let g = Geometry::euclidean(&random(CONTEXTS, 3, 1), &exact.mu).unwrap();
        assert!(g.alignment(&spectrum, 4).unwrap_err().to_string().contains("at least 4"));
        assert!(g.separation(&exact.laws, &[(0, CONTEXTS)]).is_err());
        assert!(Geometry::new(&exact.hidden, &exact.mu, &random(2, 2, 1)).is_err());
        assert!(head_metric(&random(3, 4, 0), &exact.laws, &exact.mu).is_err());
    }
}
