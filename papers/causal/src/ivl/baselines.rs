//! What IVL stands beside. Every method gets the same augmented sample.
//!
//! Methods that learn from two environments (raw and augmented rows) have risks `R_e(h) = h'A_e h - 2 b_e'h + c_e`. Group DRO, the
//! two risk extrapolations (Krueger et al., 2021) and plain pooling are all least squares of a weighted mixture,
//! `h(w) = (w A_0 + (1 - w) A_1)^-1 (w b_0 + (1 - w) b_1)`, and differ in the rule for `w`; weights outside `[0, 1]` extrapolate. So
//! each is the root of a function of one variable, and exact.
//!
//! Strengths (ridge, IRM, V-REx, MM-REx) are those of least held-out error over five folds of the rows, pooled over the environments
//! that a method sees: what a user without the truth would do.

use nalgebra::{Cholesky, DMatrix, DVector};
use ream_lab::{Error, Result};
use ream_rand::Stream;
use ream_stats::{cross_fit, linear};

use super::moments::{Moments, Solved, solve};
use super::sample::Sample;
use super::select::{Confounding, FOLDS};

/// Relative strengths of the ridge.
const RIDGES: [f64; 13] = [1e-6, 1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0];
/// Strengths of IRM and V-REx, in units of one over the outcome's variance.
const PENALTIES: [f64; 5] = [0.1, 1.0, 10.0, 100.0, 1000.0];
/// Least weights of MM-REx.
const LEAST_WEIGHTS: [f64; 4] = [-0.25, -0.5, -1.0, -2.0];
/// `gamma` of anchor regression: Rothenhaeusler et al. (2021) leave it to the user; held-out error would make it IVL by CV.
pub const ANCHOR_GAMMA: f64 = 5.0;

/// Raw (0) and augmented (1) rows, as means of products.
#[derive(Clone, Debug)]
pub struct Environments {
    a: [DMatrix<f64>; 2],
    b: [DVector<f64>; 2],
    c: [f64; 2],
}

impl Environments {
    /// From the moments of the raw and of the augmented rows.
    #[must_use]
    pub fn new(raw: &Moments, augmented: &Moments) -> Self {
        Self {
            a: [&raw.xx / raw.rows, &augmented.xx / augmented.rows],
            b: [&raw.xy / raw.rows, &augmented.xy / augmented.rows],
            c: [raw.yy / raw.rows, augmented.yy / augmented.rows],
        }
    }

    /// `R_e(h)`.
    #[must_use]
    pub fn risk(&self, e: usize, h: &DVector<f64>) -> f64 {
        h.dot(&(&self.a[e] * h)) - 2.0 * self.b[e].dot(h) + self.c[e]
    }

    fn gap(&self, h: &DVector<f64>) -> f64 {
        self.risk(0, h) - self.risk(1, h)
    }

    /// `h(w)`, where the mixture has a minimum.
    fn mixture(&self, w: f64) -> Option<DVector<f64>> {
        let a = &self.a[0] * w + &self.a[1] * (1.0 - w);
        let b = &self.b[0] * w + &self.b[1] * (1.0 - w);
        let size = a.diagonal().max();
        let factor = Cholesky::new(a)?;
        factor.l_dirty().diagonal().iter().all(|d| d * d > 1e-13 * size).then(|| factor.solve(&b))
    }

    fn pooled(&self) -> DVector<f64> {
        let (h, _) = solve(&(&self.a[0] + &self.a[1]), &(&self.b[0] + &self.b[1]));
        DVector::from_vec(h)
    }

    /// The root of a function of `w` and `h(w)` that falls from `low` to `high`; an end where it has no root between. Ends without a
    /// minimum are drawn towards 1/2.
    fn root(&self, low: f64, high: f64, falls: impl Fn(f64, &DVector<f64>) -> f64) -> DVector<f64> {
        let inside = |mut w: f64| {
            for _ in 0..60 {
                if let Some(h) = self.mixture(w) {
                    return (w, h);
                }
                w = 0.5 * (w + 0.5);
            }
            (0.5, self.pooled())
        };
        let ((mut low, at_low), (mut high, at_high)) = (inside(low), inside(high));
        if falls(low, &at_low) <= 0.0 {
            return at_low;
        }
        if falls(high, &at_high) >= 0.0 {
            return at_high;
        }
        let mut best = at_low;
        for _ in 0..80 {
            let middle = 0.5 * (low + high);
            let Some(h) = self.mixture(middle) else { break };
            if falls(middle, &h) > 0.0 {
                low = middle;
            } else {
                high = middle;
            }
            best = h;
        }
        best
    }

    /// Group DRO: least largest risk.
    #[must_use]
    pub fn group_dro(&self) -> DVector<f64> {
        self.root(0.0, 1.0, |_, h| self.gap(h))
    }

    /// MM-REx: least largest risk over affine mixtures whose weights are at least `least` (negative: extrapolation).
    #[must_use]
    pub fn minimax_rex(&self, least: f64) -> DVector<f64> {
        self.root(least, 1.0 - least, |_, h| self.gap(h))
    }

    /// V-REx: least mean risk plus `strength` times the variance of the risks, `(R_0 - R_1)^2 / 4`.
    #[must_use]
    pub fn variance_rex(&self, strength: f64) -> DVector<f64> {
        let begin = self.mixture(0.5).unwrap_or_else(|| self.pooled());
        let reach = 0.5 + 0.5 * strength * self.gap(&begin);
        self.root(reach.min(0.5), reach.max(0.5), |w, h| 0.5 + 0.5 * strength * self.gap(h) - w)
    }

    /// IRM (Arjovsky et al., 2019): `sum_e R_e(h) + strength sum_e D_e(h)^2`, where `D_e = 2 (h'A_e h - b_e'h)` is the gradient
    /// in a common factor of `h`. It is not convex; damped Newton steps from the pooled fit.
    #[must_use]
    pub fn irm(&self, strength: f64) -> DVector<f64> {
        let mut h = self.pooled();
        let mut damping = 0.0;
        let mut value = self.irm_value(&h, strength);
        for _ in 0..200 {
            let (gradient, hessian) = self.irm_slopes(&h, strength);
            let size = hessian.diagonal().abs().max().max(f64::MIN_POSITIVE);
            let stepped = Cholesky::new(&hessian + DMatrix::identity(h.len(), h.len()) * (damping * size))
                .map(|factor| &h - factor.solve(&gradient));
            let better = stepped.map(|to| (self.irm_value(&to, strength), to)).filter(|(v, _)| *v < value);
            match better {
                Some((v, to)) => {
                    let gained = value - v;
                    (value, h) = (v, to);
                    damping *= 0.1;
                    if gained <= 1e-13 * self.c[0].max(self.c[1]) {
                        break;
                    }
                }
                None if damping > 1e8 => break,
                None => damping = (damping * 10.0_f64).max(1e-8),
            }
        }
        h
    }

    fn irm_value(&self, h: &DVector<f64>, strength: f64) -> f64 {
        (0..2)
            .map(|e| {
                let slope = 2.0 * (h.dot(&(&self.a[e] * h)) - self.b[e].dot(h));
                self.risk(e, h) + strength * slope * slope
            })
            .sum()
    }

    fn irm_slopes(&self, h: &DVector<f64>, strength: f64) -> (DVector<f64>, DMatrix<f64>) {
        let m = h.len();
        let (mut gradient, mut hessian) = (DVector::zeros(m), DMatrix::zeros(m, m));
        for e in 0..2 {
            let ah = &self.a[e] * h;
            let slope = 2.0 * (h.dot(&ah) - self.b[e].dot(h));
            // Gradient of the slope.
            let turn = &ah * 4.0 - &self.b[e] * 2.0;
            gradient += (&ah - &self.b[e]) * 2.0 + &turn * (2.0 * strength * slope);
            hessian += &self.a[e] * (2.0 + 8.0 * strength * slope);
            hessian.ger(2.0 * strength, &turn, &turn, 1.0);
        }
        (gradient, hessian)
    }
}

/// Moments of raw and augmented rows, of all rows and of each fold.
pub struct Folded {
    all: [Moments; 2],
    held: Vec<[Moments; 2]>,
}

impl Folded {
    /// Five folds of the rows.
    ///
    /// # Errors
    /// Fewer rows than folds.
    pub fn new(sample: &Sample, stream: Stream) -> Result<Self> {
        let folds = cross_fit::folds(sample.rows(), FOLDS, stream)
            .map_err(|e| Error::failed(format!("folds of the baselines: {e}")))?;
        let of = |keep: &dyn Fn(usize) -> bool| {
            [&sample.raw, &sample.augmented]
                .map(|x| Moments::of_rows(&sample.g, x, &sample.y, (0..sample.rows()).filter(|&i| keep(i))))
        };
        Ok(Self { all: of(&|_| true), held: (0..FOLDS).map(|fold| of(&|i| folds[i] == fold)).collect() })
    }

    /// Moments of all rows: raw, augmented.
    #[must_use]
    pub fn all(&self) -> &[Moments; 2] {
        &self.all
    }

    /// Both environments.
    #[must_use]
    pub fn environments(&self) -> Environments {
        Environments::new(&self.all[0], &self.all[1])
    }

    /// The fit of least held-out error over `strengths`, judged on the environments `judged`.
    fn best(
        &self,
        strengths: &[f64],
        judged: &[usize],
        fit: impl Fn(&[Moments; 2], f64) -> Vec<f64>,
    ) -> Vec<f64> {
        let score = |strength: f64| -> f64 {
            self.held
                .iter()
                .map(|held| {
                    let train = [0, 1].map(|e| self.all[e].without(&held[e]));
                    let h = fit(&train, strength);
                    judged.iter().map(|&e| held[e].risk(&h) * held[e].rows).sum::<f64>()
                })
                .sum()
        };
        let scores: Vec<f64> = strengths.iter().map(|&s| score(s)).collect();
        let best = (0..scores.len()).min_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or(0);
        fit(&self.all, strengths[best])
    }

    /// Ridge regression on the augmented inputs.
    #[must_use]
    pub fn ridge(&self) -> Vec<f64> {
        self.best(&RIDGES, &[1], |train, strength| {
            let of = &train[1];
            let m = of.xx.nrows();
            let unit = of.xx.trace() / m.max(1) as f64;
            solve(&(&of.xx + DMatrix::identity(m, m) * (strength * unit)), &of.xy).0
        })
    }

    /// Invariant risk minimisation.
    #[must_use]
    pub fn irm(&self) -> Vec<f64> {
        self.best(&PENALTIES, &[0, 1], |train, strength| {
            let of = Environments::new(&train[0], &train[1]);
            of.irm(strength / of.c[0].max(f64::MIN_POSITIVE)).as_slice().to_vec()
        })
    }

    /// Variance risk extrapolation.
    #[must_use]
    pub fn variance_rex(&self) -> Vec<f64> {
        self.best(&PENALTIES, &[0, 1], |train, strength| {
            let of = Environments::new(&train[0], &train[1]);
            of.variance_rex(strength / of.c[0].max(f64::MIN_POSITIVE)).as_slice().to_vec()
        })
    }

    /// Minimax risk extrapolation.
    #[must_use]
    pub fn minimax_rex(&self) -> Vec<f64> {
        self.best(&LEAST_WEIGHTS, &[0, 1], |train, least| {
            Environments::new(&train[0], &train[1]).minimax_rex(least).as_slice().to_vec()
        })
    }
}

/// L2 confounder correction (Janzing, 2019): the ridge whose squared length is the share that confounding leaves.
#[must_use]
pub fn corrected_l2(augmented: &Moments, da_erm: &[f64], found: Confounding) -> Vec<f64> {
    let wanted = (1.0 - found.share) * squares(da_erm);
    let m = augmented.xx.nrows();
    let ridge = |strength: f64| -> Solved {
        solve(&(&augmented.xx + DMatrix::identity(m, m) * strength), &augmented.xy)
    };
    let unit = augmented.xx.trace() / m.max(1) as f64;
    bisect_length(wanted, (-30.0, 20.0), |exponent| ridge(unit * libm::exp(exponent)).0)
}

/// L1 confounder correction: the lasso of that length.
///
/// # Errors
/// Coordinate descent did not converge.
pub fn corrected_l1(augmented: &Moments, da_erm: &[f64], found: Confounding) -> Result<Vec<f64>> {
    let wanted = (1.0 - found.share) * squares(da_erm);
    let n = augmented.rows;
    let products = (&augmented.xx / n, &augmented.xy / n);
    let lasso = linear::Lasso::from_products(products.0.as_slice().to_vec(), products.1.as_slice().to_vec())
        .map_err(|e| Error::failed(format!("L1 confounder correction: {e}")))?;
    let largest = lasso.largest();
    let (mut failed, mut start) = (None, da_erm.to_vec());
    let h = bisect_length(wanted, (-12.0, 0.0), |exponent| {
        match lasso.fit(largest * libm::exp(exponent), Some(&start)) {
            Ok(fit) => start = fit.coefficients,
            Err(e) => failed = Some(e.to_string()),
        }
        start.clone()
    });
    failed.map_or(Ok(h), |e| Err(Error::failed(format!("L1 confounder correction: {e}"))))
}

fn squares(h: &[f64]) -> f64 {
    h.iter().map(|v| v * v).sum()
}

/// The fit of a given squared length, where lengths fall with the exponent of the strength.
fn bisect_length(
    wanted: f64,
    (mut low, mut high): (f64, f64),
    mut fit: impl FnMut(f64) -> Vec<f64>,
) -> Vec<f64> {
    let mut h = fit(low);
    if squares(&h) <= wanted {
        return h;
    }
    for _ in 0..30 {
        let middle = 0.5 * (low + high);
        h = fit(middle);
        if squares(&h) > wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    h
}
