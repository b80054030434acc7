//! Tests of an instrumental-variable regression: are the instruments strong, do they agree, are the treatments confounded?

use super::{Instrumental, Sizes};
use crate::chi_square::chi_square_tail;
use crate::covariance::Covariance;
use crate::distribution::f_upper;
use crate::error::{FitError, StatsError};
use nalgebra::{DMatrix, DVector};

/// A statistic with its law under the null hypothesis.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TestStatistic {
    /// The statistic.
    pub statistic: f64,
    /// Degrees of freedom above: of the chi-square law when `below` is infinite, else of the F law.
    pub above: f64,
    /// Degrees of freedom below.
    pub below: f64,
    /// Probability of a statistic at least as large under the null hypothesis.
    pub p_value: f64,
}

impl TestStatistic {
    /// `statistic` against the F law.
    pub(super) fn f(statistic: f64, above: f64, below: f64) -> Result<Self, StatsError> {
        Ok(Self { statistic, above, below, p_value: f_upper(statistic, above, below)? })
    }

    fn chi_square(statistic: f64, freedom: f64) -> Self {
        Self { statistic, above: freedom, below: f64::INFINITY, p_value: chi_square_tail(statistic, freedom) }
    }
}

/// How strongly the instruments move one treatment, given the controls.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FirstStage {
    /// The classical F test of the instruments.
    pub f: TestStatistic,
    /// The same Wald test with the covariance that was asked for.
    pub robust_f: TestStatistic,
    /// Effective F (Montiel Olea & Pflueger, 2013): `g'g / tr(V)`, with `g` the coefficients of an orthonormal basis of the
    /// instruments (given the controls) and `V` their covariance of the kind that was asked for. With one instrument it is
    /// `robust_f`, with the classical covariance it is `f`. Below 10 the instruments count as weak. It speaks for one
    /// treatment; with several, look at each and at their collinearity.
    pub effective_f: f64,
    /// Share of the treatment's squares, given the controls, that the instruments explain.
    pub partial_r_squared: f64,
    /// Share of the treatment's squares that controls and instruments explain, about 0.
    pub uncentred_r_squared: f64,
}

/// A test of instruments beyond the number that is needed.
#[derive(Clone, Debug, PartialEq)]
pub struct Overidentification {
    /// Statistic and p value, chi-square with (instruments less treatments) degrees of freedom.
    pub test: TestStatistic,
    /// Coefficients (controls, then treatments) at which the instruments agree best: those of two-stage least squares for
    /// Sargan, of two-step efficient GMM for Hansen.
    pub coefficients: Vec<f64>,
}

impl Instrumental<'_> {
    /// The first stage of one treatment.
    ///
    /// # Errors
    /// [`FitError::Input`] for a treatment that does not exist or is explained without error; the errors of the covariance.
    pub fn first_stage(&self, treatment: usize, kind: Covariance<'_>) -> Result<FirstStage, FitError> {
        let Sizes { n, w, l, k } = self.sizes;
        let a = self.sizes.a();
        if treatment >= k {
            let (value, what) = (treatment as f64, "the treatment");
            return Err(StatsError::Setting {
                what,
                value,
                allowed: "positions below the number of treatments",
            }
            .into());
        }
        let column = a + treatment;
        let squares = |from: usize, to: usize| {
            (from..to).map(|i| self.r[(i, column)] * self.r[(i, column)]).sum::<f64>()
        };
        let (controls, explained, left) = (squares(0, w), squares(w, a), squares(a, a + k));
        let below = (n - a) as f64;
        if left <= 1e-24 * (controls + explained + left) {
            return Err(StatsError::Undefined {
                what: "the first stage",
                why: "the instruments explain the treatment without error",
            }
            .into());
        }
        let f = TestStatistic::f(explained / l as f64 / (left / below), l as f64, below)?;
        let first = self.first_stages()?;
        let residual = self.by_row_of_first_stage(&first, treatment);
        let basis = self.basis_of_a()?;
        let map = basis.columns(w, l).into_owned();
        let v = self.scores(&map, &residual, a, false).meat(kind)?;
        let scale = self.scale[column];
        let g = DVector::from_fn(l, |i, _| self.r[(w + i, column)] / scale);
        let trace = v.trace();
        let robust_f = TestStatistic::f(wald(&g, v)? / l as f64, l as f64, self.below(kind, a))?;
        Ok(FirstStage {
            f,
            robust_f,
            effective_f: g.norm_squared() / trace,
            partial_r_squared: explained / (explained + left),
            uncentred_r_squared: (controls + explained) / (controls + explained + left),
        })
    }

    /// Sargan's (1958) test that the instruments beyond the number needed are valid:
    /// `n e'Pe / e'e` with the residuals `e` of two-stage least squares.
    ///
    /// # Errors
    /// As [`Instrumental::two_stage_least_squares`]; [`FitError::Input`] unless there are more instruments than treatments.
    pub fn sargan(&self) -> Result<Overidentification, FitError> {
        let freedom = self.spare_instruments("Sargan's test")?;
        let coefficients = self.solve(1.0, 0.0)?.coefficients;
        let (on, off) = self.residual_coordinates(&coefficients);
        let m = self.sizes.m();
        // What is orthogonal to all columns, the outcome's own row.
        let own = self.r[(m, m)] / self.scale[m];
        let explained = on.norm_squared();
        let all = explained + off.norm_squared() + own * own;
        let statistic = self.sizes.n as f64 * explained / all;
        Ok(Overidentification { test: TestStatistic::chi_square(statistic, freedom), coefficients })
    }

    /// Hansen's (1982) J test of the same, after two-step efficient GMM: the first step is two-stage least squares, the
    /// weights are the inverse of `sum e_i^2 a_i a_i'` (or of its cluster form) at its residuals. `kind` is
    /// [`Covariance::Hc0`], as usual, or a cluster kind.
    ///
    /// # Errors
    /// As [`Instrumental::sargan`]; the errors of the covariance; [`FitError::NoCovariance`] when the weights do not exist.
    pub fn hansen_j(&self, kind: Covariance<'_>) -> Result<Overidentification, FitError> {
        let freedom = self.spare_instruments("Hansen's test")?;
        let first = self.solve(1.0, 0.0)?.coefficients;
        let residual = self.residuals(&first);
        let basis = self.basis_of_a()?;
        let meat = self.scores(&basis, &residual, self.sizes.a(), false).meat(kind)?;
        let lower = meat.cholesky().ok_or(NO_WEIGHTS)?.l();
        // Moments in the basis of A, made of unit covariance.
        let y_scale = self.scale[self.sizes.m()];
        let moments = lower.solve_lower_triangular(&(self.outcome().0 / y_scale)).ok_or(NO_WEIGHTS)?;
        let mut design = self.projected();
        for (j, mut column) in design.column_iter_mut().enumerate() {
            column /= self.scale[self.sizes.of_d(j)];
        }
        let design = lower.solve_lower_triangular(&design).ok_or(NO_WEIGHTS)?;
        let qr = design.clone().qr();
        let mut b = qr.q().transpose() * &moments;
        if !qr.r().solve_upper_triangular_mut(&mut b) {
            return Err(NO_WEIGHTS);
        }
        let statistic = (moments - design * &b).norm_squared();
        Ok(Overidentification {
            test: TestStatistic::chi_square(statistic, freedom),
            coefficients: b.as_slice().to_vec(),
        })
    }

    /// The Wu-Hausman test that the treatments are not confounded: the classical F test of the first-stage residuals when they
    /// are added to least squares (Wu, 1973; Hausman, 1978).
    ///
    /// # Errors
    /// As [`Instrumental::two_stage_least_squares`]; [`FitError::Input`] when the instruments explain a treatment without
    /// error, or too few rows are left.
    pub fn wu_hausman(&self) -> Result<TestStatistic, FitError> {
        self.check_order()?;
        self.check_identified()?;
        let Sizes { n, k, .. } = self.sizes;
        let (p, a, m) = (self.sizes.p(), self.sizes.a(), self.sizes.m());
        if n <= p + k {
            return Err(FitError::NoResidualFreedom { rows: n, columns: p + k });
        }
        let (on, off) = (self.projected(), self.left_over());
        let (y_on, y_off) = self.outcome();
        let w = self.sizes.w;
        // In the coordinates of the triangle: D, and beside it the first-stage residuals.
        let plain = DMatrix::from_fn(m, p, |i, j| if i < a { on[(i, j)] } else { off[(i - a, j)] });
        let wide = DMatrix::from_fn(m, p + k, |i, j| match (i, j) {
            (i, j) if j < p => plain[(i, j)],
            (i, _) if i < a => 0.0,
            (i, j) => off[(i - a, w + j - p)],
        });
        if super::first_dependent(&wide.clone().qr().r()).is_some() {
            return Err(StatsError::Undefined {
                what: "the Wu-Hausman test",
                why: "the instruments explain a treatment without error, or as many columns as there are treatments do not vary apart",
            }
            .into());
        }
        let y = DVector::from_fn(m, |i, _| if i < a { y_on[i] } else { y_off[i - a] });
        let own = self.r[(m, m)];
        let missed = |design: DMatrix<f64>| {
            let q = design.qr().q();
            (&y - &q * (q.transpose() * &y)).norm_squared() + own * own
        };
        let (restricted, full) = (missed(plain), missed(wide));
        let below = (n - p - k) as f64;
        Ok(TestStatistic::f((restricted - full).max(0.0) / k as f64 / (full / below), k as f64, below)?)
    }

    /// Residuals `x_j - A pi_j` of one treatment's first stage.
    fn by_row_of_first_stage(&self, first: &DMatrix<f64>, treatment: usize) -> Vec<f64> {
        let coefficients: Vec<f64> = first.column(treatment).iter().copied().collect();
        let (on_controls, on_instruments) = coefficients.split_at(self.sizes.w);
        self.by_row(|i| {
            let controls = self.data.controls.map_or(0.0, |w| crate::sum::dot(w.row(i), on_controls));
            let instruments = crate::sum::dot(self.data.instruments.row(i), on_instruments);
            self.data.treatments.get(i, treatment) - controls - instruments
        })
    }

    /// `y - Db` in the coordinates of the triangle, in the outcome's units: rows `A`, rows `X`.
    fn residual_coordinates(&self, b: &[f64]) -> (DVector<f64>, DVector<f64>) {
        let scaled = DVector::from_fn(b.len(), |j, _| b[j] / self.scale[self.sizes.of_d(j)]);
        let (y_on, y_off) = self.outcome();
        let y_scale = self.scale[self.sizes.m()];
        (y_on / y_scale - self.projected() * &scaled, y_off / y_scale - self.left_over() * scaled)
    }

    /// Degrees of freedom below of a robust F test with `columns` columns.
    pub(super) fn below(&self, kind: Covariance<'_>, columns: usize) -> f64 {
        match kind {
            Covariance::Cluster(_) | Covariance::ClusterUncorrected(_) => {
                kind.freedom(&(0..self.sizes.n).collect::<Vec<_>>(), columns)
            }
            _ => (self.sizes.n - columns) as f64,
        }
    }

    fn spare_instruments(&self, what: &'static str) -> Result<f64, FitError> {
        self.check_order()?;
        let spare = self.sizes.l - self.sizes.k;
        if spare > 0 {
            Ok(spare as f64)
        } else {
            Err(StatsError::Undefined { what, why: "there are only as many instruments as treatments" }
                .into())
        }
    }
}

const NO_WEIGHTS: FitError = FitError::NoCovariance {
    why: "the moments' covariance is singular; with clusters there must be more clusters than instruments and controls",
};

/// `g' V^-1 g`.
pub(super) fn wald(g: &DVector<f64>, v: DMatrix<f64>) -> Result<f64, FitError> {
    let factor = v.cholesky().ok_or(FitError::NoCovariance {
        why: "the covariance of the instruments' coefficients is singular; with clusters there must be more clusters than instruments",
    })?;
    Ok(g.dot(&factor.solve(g)))
}
