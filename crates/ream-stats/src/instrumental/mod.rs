//! Instrumental variables: two-stage least squares, LIML and every other k-class estimator, anchor regression, and the blend
//! of an instrumental-variable loss with least squares (IVL).
//!
//! An outcome `y [n]` is explained by `D = [W X]`: controls `W [n, w]`, which are their own instruments, and treatments
//! `X [n, k]`, for which there are instruments `Z [n, l]`. With `P` the projection on `A = [W Z]` and `M = I - P`, the k-class
//! estimator (Theil, 1958; Nagar, 1959) is
//!
//! `b = (D'(I - kappa M) D)^-1 D'(I - kappa M) y`.
//!
//! | estimator | `kappa` |
//! |---|---|
//! | ordinary least squares | 0 |
//! | two-stage least squares | 1 |
//! | LIML (Anderson & Rubin, 1949) | least eigenvalue of `(Y'M_W Y)(Y'M Y)^-1`, `Y = [X y]` |
//! | Fuller (1977) with constant `a` | that of LIML less `a / (n - w - l)` |
//! | IVL with `alpha`: least `\|P(y - Db)\|^2 + alpha \|y - Db\|^2` (Akbar et al., 2025, arXiv 2510.25128) | `1 / (1 + alpha)` |
//! | anchor regression with `gamma` (Rothenhausler et al., 2021) | `1 - 1 / gamma` |
//!
//! Nothing of size n x n is formed: all comes from the triangle of one QR factorisation of `[W Z X y]`, taken block by block
//! ([`crate::linear`] says how), so a whole path of `alpha` or `kappa` costs one pass over the rows.
//!
//! There is no implicit intercept: put a column of ones into the controls (or centre every column).
//!
//! ```
//! use ream_rand::Stream;
//! use ream_stats::instrumental::{Instrumental, Variables};
//! use ream_stats::{Covariance, Matrix};
//! // A hidden cause of dose and outcome; the instrument moves the dose alone; the effect is 2.
//! let mut rng = Stream::new(1, "example").at(0);
//! let rows: Vec<[f64; 3]> = (0..500)
//!     .map(|_| {
//!         let (hidden, z) = (rng.normal(), rng.normal());
//!         let x = z + hidden + 0.5 * rng.normal();
//!         [z, x, 2.0 * x - 3.0 * hidden + rng.normal()]
//!     })
//!     .collect();
//! let column = |j: usize| Matrix::from_columns(&[rows.iter().map(|r| r[j]).collect::<Vec<_>>()]);
//! let y: Vec<f64> = rows.iter().map(|r| r[2]).collect();
//! let ones = Matrix::from_columns(&[vec![1.0; 500]])?;
//! let (z, x) = (column(0)?, column(1)?);
//! let variables = Variables { outcome: &y, controls: Some(&ones), treatments: &x, instruments: &z };
//! let model = Instrumental::new(variables)?;
//! let fit = model.two_stage_least_squares(Covariance::Hc1)?;
//! let effect = fit.estimates.intervals(0.95)?[1];
//! assert!(effect.contains(2.0) && model.ols(Covariance::Hc1)?.estimates.coefficients[1] < 1.0);
//! assert!(model.first_stage(0, Covariance::Hc1)?.effective_f > 100.0);
//! # Ok::<(), ream_stats::FitError>(())
//! ```

mod anderson_rubin;
mod limit;
mod tests_of_fit;

pub use anderson_rubin::ConfidenceSet;
pub use limit::IvLimit;
pub use tests_of_fit::{FirstStage, Overidentification, TestStatistic};

use crate::blocks::{MappedScores, powers_of_two, triangle};
use crate::covariance::Covariance;
use crate::error::{FitError, StatsError, finite, length};
use crate::linear::{LinearFit, inference};
use crate::matrix::Matrix;
use crate::qr::{RANK_TOLERANCE, covariance_matrix};
use crate::sum::{CHUNK, chunked, dot};
use nalgebra::{DMatrix, DVector};
use rayon::prelude::*;

/// The columns of an instrumental-variable regression.
#[derive(Clone, Copy, Debug)]
pub struct Variables<'a> {
    /// What is explained, `[n]`.
    pub outcome: &'a [f64],
    /// Columns that are in the equation and are their own instruments, an intercept among them, `[n, w]`.
    pub controls: Option<&'a Matrix>,
    /// Columns whose effects are wanted and which may be confounded, `[n, k]`.
    pub treatments: &'a Matrix,
    /// Columns that act on the outcome through the treatments alone, `[n, l]`.
    pub instruments: &'a Matrix,
}

/// A fit of the k-class.
#[derive(Clone, Debug, PartialEq)]
pub struct KClassFit {
    /// The `kappa` of the fit.
    pub kappa: f64,
    /// Coefficients of the controls and then of the treatments, and their inference. Residuals, residual variance
    /// (`sum e^2 / (n - p)`) and the share explained belong to the treatments themselves, not to what the instruments predict of
    /// them.
    pub estimates: LinearFit,
}

/// An instrumental-variable regression, reduced to the triangle of its columns.
pub struct Instrumental<'a> {
    data: Variables<'a>,
    sizes: Sizes,
    /// Upper triangle of `[W Z X y]`, columns scaled by `scale`.
    r: DMatrix<f64>,
    scale: Vec<f64>,
}

/// Numbers of rows and columns.
#[derive(Clone, Copy, Debug)]
struct Sizes {
    n: usize,
    /// Controls.
    w: usize,
    /// Instruments.
    l: usize,
    /// Treatments.
    k: usize,
}

impl Sizes {
    /// Columns of `A = [W Z]`.
    fn a(self) -> usize {
        self.w + self.l
    }

    /// Columns of `D = [W X]`.
    fn p(self) -> usize {
        self.w + self.k
    }

    /// Columns of `[W Z X]`.
    fn m(self) -> usize {
        self.w + self.l + self.k
    }

    /// Position of column `j` of `D` in `[W Z X]`.
    fn of_d(self, j: usize) -> usize {
        if j < self.w { j } else { self.l + j }
    }
}

impl<'a> Instrumental<'a> {
    /// Checks the columns and reduces them.
    ///
    /// # Errors
    /// [`FitError::Input`] for other lengths and values that are not finite; [`FitError::ConstantInstrument`];
    /// [`FitError::NoResidualFreedom`] unless there are more rows than columns in all; [`FitError::Collinear`] when columns of
    /// `[W Z]` or of `[W X]` are dependent, to twelve digits.
    pub fn new(data: Variables<'a>) -> Result<Self, FitError> {
        let n = data.outcome.len();
        finite("the outcome", data.outcome)?;
        for (what, matrix) in [
            ("the controls", data.controls),
            ("the treatments", Some(data.treatments)),
            ("the instruments", Some(data.instruments)),
        ] {
            let Some(matrix) = matrix else { continue };
            length(what, n, matrix.rows())?;
            matrix.check(what)?;
        }
        let sizes = Sizes {
            n,
            w: data.controls.map_or(0, Matrix::cols),
            l: data.instruments.cols(),
            k: data.treatments.cols(),
        };
        constant_instruments(data.instruments)?;
        if n <= sizes.m() {
            return Err(FitError::NoResidualFreedom { rows: n, columns: sizes.m() });
        }
        let scale = powers_of_two(n, sizes.m() + 1, |i, row| write_row(&data, i, row));
        let r = triangle(n, sizes.m() + 1, |i, row| {
            write_row(&data, i, row);
            row.iter_mut().zip(&scale).for_each(|(v, s)| *v *= s);
        });
        let model = Self { data, sizes, r, scale };
        model.check_rank()?;
        Ok(model)
    }

    fn check_rank(&self) -> Result<(), FitError> {
        let Sizes { w, l, k, .. } = self.sizes;
        let group = |j: usize| match j {
            j if j < w => ("controls", j),
            j if j < w + l => ("instruments", j - w),
            j => ("treatments", j - w - l),
        };
        let a: Vec<usize> = (0..w + l).collect();
        let d: Vec<usize> = (0..w).chain(w + l..w + l + k).collect();
        for columns in [a, d] {
            let part = DMatrix::from_fn(self.sizes.m(), columns.len(), |i, j| self.r[(i, columns[j])]);
            let Some((j, combination)) = dependent_column(part) else { continue };
            let (role, column) = group(columns[j]);
            let others: Vec<String> = combination
                .into_iter()
                .map(|i| {
                    let (role, column) = group(columns[i]);
                    format!("column {column} of the {role}")
                })
                .collect();
            let relation = if others.is_empty() {
                "is zero throughout".to_owned()
            } else {
                format!("is a linear combination of {}", others.join(", "))
            };
            return Err(FitError::Collinear { role, column, relation });
        }
        Ok(())
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.sizes.n
    }

    /// Ordinary least squares of the outcome on controls and treatments: `kappa = 0`.
    ///
    /// # Errors
    /// As [`Instrumental::k_class`].
    pub fn ols(&self, kind: Covariance<'_>) -> Result<KClassFit, FitError> {
        self.k_class(0.0, kind)
    }

    /// Two-stage least squares: `kappa = 1`.
    ///
    /// # Errors
    /// As [`Instrumental::k_class`].
    pub fn two_stage_least_squares(&self, kind: Covariance<'_>) -> Result<KClassFit, FitError> {
        self.k_class(1.0, kind)
    }

    /// Limited-information maximum likelihood.
    ///
    /// # Errors
    /// As [`Instrumental::k_class`] and [`Instrumental::liml_kappa`].
    pub fn liml(&self, kind: Covariance<'_>) -> Result<KClassFit, FitError> {
        self.k_class(self.liml_kappa()?, kind)
    }

    /// Fuller's estimator: LIML's `kappa` less `constant / (n - w - l)`; a constant of 1 makes it nearly unbiased.
    ///
    /// # Errors
    /// As [`Instrumental::liml`]; [`FitError::Input`] for a constant that is negative or not finite.
    pub fn fuller(&self, constant: f64, kind: Covariance<'_>) -> Result<KClassFit, FitError> {
        if !(constant.is_finite() && constant >= 0.0) {
            return Err(setting("Fuller's constant", constant, "numbers of at least 0"));
        }
        let freedom = (self.sizes.n - self.sizes.a()) as f64;
        self.k_class(self.liml_kappa()? - constant / freedom, kind)
    }

    /// The `kappa` of LIML, at least 1.
    ///
    /// # Errors
    /// [`FitError::TooFewInstruments`]; [`FitError::Input`] when outcome and treatments are explained without error by the
    /// instruments.
    pub fn liml_kappa(&self) -> Result<f64, FitError> {
        let Sizes { w, l, k, .. } = self.sizes;
        self.check_order()?;
        if l == k {
            return Ok(1.0);
        }
        // kappa - 1 is the least eigenvalue of E^-T B'B E^-1, B the rows of Z and E the rows of X and y.
        let from = w + l;
        let e = self.r.view((from, from), (k + 1, k + 1)).into_owned();
        let b = self.r.view((w, from), (l, k + 1)).into_owned();
        let mut inverse = DMatrix::identity(k + 1, k + 1);
        let solved = e.solve_upper_triangular_mut(&mut inverse);
        let ratio = b * inverse;
        if !solved || ratio.iter().any(|v| !v.is_finite()) {
            return Err(StatsError::Undefined {
                what: "LIML",
                why: "the instruments explain a treatment or the outcome without error",
            }
            .into());
        }
        let least = ratio.singular_values().iter().copied().fold(f64::INFINITY, f64::min);
        Ok(1.0 + least * least)
    }

    /// The blend of the instrumental-variable loss with least squares, `|P(y - Db)|^2 + alpha |y - Db|^2`. Infinite `alpha` is
    /// least squares, `alpha` of 0 two-stage least squares. It needs no more instruments than there are.
    ///
    /// # Errors
    /// As [`Instrumental::k_class`]; [`FitError::Input`] for an `alpha` that is negative or NaN.
    pub fn ivl(&self, alpha: f64, kind: Covariance<'_>) -> Result<KClassFit, FitError> {
        let (kappa, rest) = blend(alpha)?;
        self.fit(kappa, rest, kind)
    }

    /// The coefficients of [`Instrumental::ivl`] for each `alpha`, without covariances: no further pass over the rows.
    ///
    /// # Errors
    /// As [`Instrumental::ivl`].
    pub fn ivl_path(&self, alphas: &[f64]) -> Result<Vec<Vec<f64>>, FitError> {
        alphas
            .iter()
            .map(|&alpha| {
                let (kappa, rest) = blend(alpha)?;
                Ok(self.solve(kappa, rest)?.coefficients)
            })
            .collect()
    }

    /// Anchor regression with the instruments as anchors: least `|M(y - Db)|^2 + gamma |P(y - Db)|^2`. `gamma` of 1 is least
    /// squares, infinity two-stage least squares; below 1 the anchors are partly regressed away.
    ///
    /// # Errors
    /// As [`Instrumental::k_class`]; [`FitError::Input`] for a `gamma` that is not above 0.
    pub fn anchor(&self, gamma: f64, kind: Covariance<'_>) -> Result<KClassFit, FitError> {
        if gamma.is_nan() || gamma <= 0.0 {
            return Err(setting("gamma", gamma, "numbers above 0"));
        }
        let rest = 1.0 / gamma;
        self.fit(1.0 - rest, rest, kind)
    }

    /// The k-class estimator for a given `kappa`.
    ///
    /// The sandwich covariances are `B M B` with bread `B = (X~'D)^-1` and scores `x~_i e_i`, where
    /// `X~ = ((1 - kappa) I + kappa P) D` and `e = y - Db` with the treatments themselves; the classical one is `B` times
    /// `sum e^2 / (n - p)`. Tests and intervals use Student's t.
    ///
    /// # Errors
    /// [`FitError::TooFewInstruments`] and [`FitError::NotIdentified`] where `kappa` is 1 or more;
    /// [`FitError::Input`] for a `kappa` that is not finite or so large that the estimator is not defined;
    /// [`FitError::NoCovariance`] for HC2 and HC3 unless `kappa` is 0 (they need the leverages of least squares).
    pub fn k_class(&self, kappa: f64, kind: Covariance<'_>) -> Result<KClassFit, FitError> {
        if !kappa.is_finite() {
            return Err(setting("kappa", kappa, "finite numbers"));
        }
        self.fit(kappa, 1.0 - kappa, kind)
    }

    fn fit(&self, kappa: f64, rest: f64, kind: Covariance<'_>) -> Result<KClassFit, FitError> {
        let solution = self.solve(kappa, rest)?;
        let Sizes { n, .. } = self.sizes;
        let p = self.sizes.p();
        let residual = self.residuals(&solution.coefficients);
        let squares = chunked(n, 1, |range, sum| sum[0] = residual[range].iter().map(|e| e * e).sum())[0];
        let residual_variance = squares / (n - p) as f64;
        let inner = match kind {
            Covariance::Classical => DMatrix::identity(p, p) * residual_variance,
            _ => {
                // Rows of X~ T as a map of the rows of [W Z X].
                let map = self.score_map(kappa, rest)? * &solution.back;
                self.scores(&map, &residual, p, kappa == 0.0).meat(kind)?
            }
        };
        let covariance = covariance_matrix(&(&solution.back * inner * solution.back.transpose()))?;
        let all: Vec<usize> = match kind {
            Covariance::Cluster(_) | Covariance::ClusterUncorrected(_) => (0..n).collect(),
            _ => Vec::new(),
        };
        let freedom = if all.is_empty() { (n - p) as f64 } else { kind.freedom(&all, p) };
        let r_squared = self.r_squared(squares);
        let estimates =
            inference(residual, solution.coefficients, covariance, freedom, residual_variance, r_squared);
        Ok(KClassFit { kappa, estimates })
    }

    /// Errors unless there are as many instruments as treatments, at least.
    fn check_order(&self) -> Result<(), FitError> {
        let Sizes { l: instruments, k: treatments, .. } = self.sizes;
        if instruments >= treatments {
            Ok(())
        } else {
            Err(FitError::TooFewInstruments { instruments, treatments })
        }
    }

    /// Rows `A` of `D` in the coordinates of the triangle, `[a, p]`.
    fn projected(&self) -> DMatrix<f64> {
        DMatrix::from_fn(self.sizes.a(), self.sizes.p(), |i, j| self.r[(i, self.sizes.of_d(j))])
    }

    /// What of `D` is orthogonal to `A`, `[k, p]`: zero for the controls.
    fn left_over(&self) -> DMatrix<f64> {
        let Sizes { w, k, .. } = self.sizes;
        let a = self.sizes.a();
        DMatrix::from_fn(
            k,
            self.sizes.p(),
            |i, j| if j < w { 0.0 } else { self.r[(a + i, self.sizes.of_d(j))] },
        )
    }

    /// The outcome in the coordinates of the triangle: rows `A`, rows `X`.
    fn outcome(&self) -> (DVector<f64>, DVector<f64>) {
        let (a, m) = (self.sizes.a(), self.sizes.m());
        let part = |from: usize, to: usize| DVector::from_fn(to - from, |i, _| self.r[(from + i, m)]);
        (part(0, a), part(a, m))
    }

    fn solve(&self, kappa: f64, rest: f64) -> Result<Solution, FitError> {
        if rest <= 0.0 {
            self.check_order()?;
            self.check_identified()?;
        }
        let (on, off) = (self.projected(), self.left_over());
        let (y_on, y_off) = self.outcome();
        let (p, a, k) = (self.sizes.p(), self.sizes.a(), self.sizes.k);
        let (triangle, z) = if rest >= 0.0 {
            // Least squares of the rows of A and, weighted, of what is orthogonal to them.
            let weight = rest.sqrt();
            let stack =
                DMatrix::from_fn(a + k, p, |i, j| if i < a { on[(i, j)] } else { weight * off[(i - a, j)] });
            let y = DVector::from_fn(a + k, |i, _| if i < a { y_on[i] } else { weight * y_off[i - a] });
            let qr = stack.qr();
            (qr.r(), qr.q().transpose() * y)
        } else {
            // kappa > 1: the same with the weight subtracted, in a basis of the projected columns.
            let qr = on.qr();
            let base = qr.r();
            let inverse = upper_inverse(&base).ok_or_else(|| not_identified(&base, self.sizes))?;
            let spread = &off * &inverse;
            let middle = DMatrix::identity(p, p) - spread.transpose() * &spread * -rest;
            let Some(lower) = middle.cholesky() else {
                return Err(setting(
                    "kappa",
                    kappa,
                    "numbers below the point where D'(I - kappa M)D is singular",
                ));
            };
            // middle = L L'; the triangle is L' R.
            let right = qr.q().transpose() * y_on - spread.transpose() * y_off * -rest;
            let Some(z) = lower.l().solve_lower_triangular(&right) else {
                return Err(setting(
                    "kappa",
                    kappa,
                    "numbers below the point where D'(I - kappa M)D is singular",
                ));
            };
            (lower.l().transpose() * base, z)
        };
        let mut back = upper_inverse(&triangle).ok_or_else(|| not_identified(&triangle, self.sizes))?;
        for j in 0..p {
            let s = self.scale[self.sizes.of_d(j)];
            back.row_mut(j).scale_mut(s);
        }
        let y_scale = self.scale[self.sizes.m()];
        let coefficients: Vec<f64> = (&back * z).iter().map(|b| b / y_scale).collect();
        Ok(Solution { coefficients, back })
    }

    /// Errors when the instruments do not move each treatment apart from the others.
    fn check_identified(&self) -> Result<(), FitError> {
        let Sizes { w, l, k, .. } = self.sizes;
        let moved = DMatrix::from_fn(l, k, |i, j| self.r[(w + i, w + l + j)]);
        let r = moved.qr().r();
        for j in 0..k {
            // Relative to the whole of the treatment that the controls leave.
            let size = self.r.view((w, w + l + j), (l + k, 1)).norm();
            if r[(j, j)].abs() <= RANK_TOLERANCE * size {
                return Err(FitError::NotIdentified { treatment: j });
            }
        }
        Ok(())
    }

    /// `[m, p]`: rows of `X~ = (1 - kappa) D + kappa P D` from rows of `[W Z X]`.
    fn score_map(&self, kappa: f64, rest: f64) -> Result<DMatrix<f64>, FitError> {
        let first = self.first_stages()?;
        let (w, a) = (self.sizes.w, self.sizes.a());
        Ok(DMatrix::from_fn(self.sizes.m(), self.sizes.p(), |i, j| match (i, j) {
            (i, j) if j < w => f64::from(u8::from(i == j)),
            (i, j) if i < a => kappa * first[(i, j - w)],
            (i, j) => {
                if i - a == j - w {
                    rest
                } else {
                    0.0
                }
            }
        }))
    }

    /// Coefficients of the treatments on `[W Z]`, `[a, k]`.
    fn first_stages(&self) -> Result<DMatrix<f64>, FitError> {
        let (a, k) = (self.sizes.a(), self.sizes.k);
        let r = self.r.view((0, 0), (a, a)).into_owned();
        let mut first = self.r.view((0, a), (a, k)).into_owned();
        if !r.solve_upper_triangular_mut(&mut first) {
            return Err(FitError::NoCovariance { why: "the instruments are dependent" });
        }
        for i in 0..a {
            for j in 0..k {
                first[(i, j)] *= self.scale[i] / self.scale[a + j];
            }
        }
        Ok(first)
    }

    /// `[m, a]`: rows of an orthonormal basis of `A` (first `W`, then what `Z` adds) from rows of `[W Z X]`.
    fn basis_of_a(&self) -> Result<DMatrix<f64>, FitError> {
        let a = self.sizes.a();
        let r = self.r.view((0, 0), (a, a)).into_owned();
        let inverse =
            upper_inverse(&r).ok_or(FitError::NoCovariance { why: "the instruments are dependent" })?;
        Ok(DMatrix::from_fn(
            self.sizes.m(),
            a,
            |i, j| if i < a { self.scale[i] * inverse[(i, j)] } else { 0.0 },
        ))
    }

    /// The scores `residual_i map' row_i`, rows of `[W Z X]`.
    fn scores<'b>(
        &'b self,
        map: &'b DMatrix<f64>,
        residual: &'b [f64],
        parameters: usize,
        leverage: bool,
    ) -> MappedScores<'b, impl Fn(usize, &mut [f64]) + Sync + 'b> {
        MappedScores {
            rows: self.sizes.n,
            fill: |i: usize, row: &mut [f64]| write_row(&self.data, i, row),
            map,
            residual,
            parameters,
            leverage,
        }
    }

    /// `y - Db` for each row.
    fn residuals(&self, b: &[f64]) -> Vec<f64> {
        let (on_controls, on_treatments) = b.split_at(self.sizes.w);
        self.by_row(|i| {
            let controls = self.data.controls.map_or(0.0, |w| dot(w.row(i), on_controls));
            self.data.outcome[i] - controls - dot(self.data.treatments.row(i), on_treatments)
        })
    }

    fn by_row(&self, value: impl Fn(usize) -> f64 + Sync + Send) -> Vec<f64> {
        (0..self.sizes.n).into_par_iter().with_min_len(CHUNK).map(value).collect()
    }

    /// `1 - squares / total`, about the mean when the controls hold a constant (exactly one value in every row).
    fn r_squared(&self, squares: f64) -> f64 {
        let constant = self.data.controls.is_some_and(|w| {
            (0..w.cols()).any(|j| w.get(0, j) != 0.0 && (1..w.rows()).all(|i| w.get(i, j) == w.get(0, j)))
        });
        let y = self.data.outcome;
        let n = y.len();
        let centre = if constant {
            chunked(n, 1, |range, sum| sum[0] = y[range].iter().sum())[0] / n as f64
        } else {
            0.0
        };
        let total = chunked(n, 1, |range, sum| {
            sum[0] = y[range].iter().map(|y| (y - centre) * (y - centre)).sum();
        })[0];
        if total > 0.0 { 1.0 - squares / total } else { f64::NAN }
    }
}

/// Coefficients of `D` and the `T` with `T'D'(I - kappa M)D T = I`.
struct Solution {
    coefficients: Vec<f64>,
    back: DMatrix<f64>,
}

/// Writes `[W Z X]` or `[W Z X y]` of row `i`, as many values as `row` holds.
fn write_row(data: &Variables<'_>, i: usize, row: &mut [f64]) {
    let controls = data.controls.map_or(&[][..], |w| w.row(i));
    let parts = controls.iter().chain(data.instruments.row(i)).chain(data.treatments.row(i));
    row.iter_mut().zip(parts.chain(core::iter::once(&data.outcome[i]))).for_each(|(to, v)| *to = *v);
}

fn constant_instruments(instruments: &Matrix) -> Result<(), FitError> {
    let first = instruments.row(0);
    let mut varies = vec![false; first.len()];
    for i in 1..instruments.rows() {
        if varies.iter().all(|v| *v) {
            break;
        }
        varies.iter_mut().zip(instruments.row(i).iter().zip(first)).for_each(|(v, (a, b))| *v |= a != b);
    }
    match varies.iter().position(|v| !v) {
        Some(column) => Err(FitError::ConstantInstrument { column }),
        None => Ok(()),
    }
}

/// `kappa` and `1 - kappa` of IVL.
fn blend(alpha: f64) -> Result<(f64, f64), FitError> {
    if alpha.is_nan() || alpha < 0.0 {
        return Err(setting("alpha", alpha, "numbers of at least 0"));
    }
    let kappa = 1.0 / (1.0 + alpha);
    Ok((kappa, if alpha.is_infinite() { 1.0 } else { alpha / (1.0 + alpha) }))
}

fn setting(what: &'static str, value: f64, allowed: &'static str) -> FitError {
    StatsError::Setting { what, value, allowed }.into()
}

/// The inverse of an upper triangle, unless a column lies (to [`RANK_TOLERANCE`]) in the span of those before it.
fn upper_inverse(r: &DMatrix<f64>) -> Option<DMatrix<f64>> {
    if first_dependent(r).is_some() {
        return None;
    }
    let mut inverse = DMatrix::identity(r.nrows(), r.ncols());
    r.solve_upper_triangular_mut(&mut inverse).then_some(inverse)
}

/// The first column of an upper triangle that the columns before it span.
fn first_dependent(r: &DMatrix<f64>) -> Option<usize> {
    (0..r.ncols()).find(|&j| r[(j, j)].abs() <= RANK_TOLERANCE * r.view((0, j), (j + 1, 1)).norm())
}

fn not_identified(r: &DMatrix<f64>, sizes: Sizes) -> FitError {
    let column = first_dependent(r).unwrap_or(r.ncols() - 1);
    FitError::NotIdentified { treatment: column.saturating_sub(sizes.w) }
}

/// A column that the columns before it span, and which of those take part.
fn dependent_column(columns: DMatrix<f64>) -> Option<(usize, Vec<usize>)> {
    let r = columns.qr().r();
    let j = first_dependent(&r)?;
    let base = r.view((0, 0), (j, j)).into_owned();
    let mut shares = DVector::from_fn(j, |i, _| r[(i, j)]);
    if !base.solve_upper_triangular_mut(&mut shares) {
        return Some((j, (0..j).collect()));
    }
    let size = |i: usize| r.column(i).norm();
    Some((j, (0..j).filter(|&i| shares[i].abs() * size(i) > 1e-8 * size(j)).collect()))
}
