//! Intervals, tests, rank correlations and regression with standard errors.
//!
//! | module | what |
//! |---|---|
//! | [`descriptive`] | mean, variance, quantiles (weighted too), effective sample size, Gini coefficient |
//! | [`interval`] | intervals of means and proportions, of bounded numbers (Imbens-Manski), minimum detectable effect |
//! | [`bootstrap`] | percentile and BCa intervals of any statistic; pairs, rows, clusters |
//! | [`multiplier`] | multiplier bootstrap of curves: uniform bands, tests of whole curves |
//! | [`rank`] | Pearson, Spearman, Kendall's tau-b |
//! | [`metrics`] | AUC, log loss, Brier score, calibration |
//! | [`linear`] | least squares (weighted or not) with robust standard errors; ridge, lasso |
//! | [`instrumental`] | 2SLS, LIML, k-class, anchor regression, IVL; first stage, Anderson-Rubin sets, tests |
//! | [`local_polynomial`] | local polynomials at a point (equivalent kernels), data-driven bandwidths |
//! | [`regression_discontinuity`] | jump at a cutoff with bias correction and robust intervals |
//! | [`treatment`] | differences in means, Hajek and augmented inverse-probability weights |
//! | [`off_policy`] | value of a policy from the log of another: inverse propensities, self-normalised, direct, doubly robust |
//! | [`glm`] | logistic regression of responses in `[0, 1]`, with L2 or L1 |
//! | [`sparse_logistic`] | logistic regression with L2 on sparse rows |
//! | [`covariance`] | classical, HC0 to HC3 and cluster covariances |
//! | [`cross_fit`] | folds and out-of-fold predictions |
//! | [`chi_square`] | the chi-square test of counts against a law |
//! | [`density`] | Gaussian kernel density, its score, density test at a cutoff |
//! | [`monotone`] | isotonic regression, rearrangement |
//! | [`minimise`] | minima of convex functions of one variable |
//! | [`distribution`] | normal law, Student's t, F |
//! | [`spectral`] | symmetric eigenvalues, singular values, overlap of spans, linear CKA |
//!
//! ```
//! use ream_stats::{Covariance, Matrix, glm, linear, rank};
//! let dose = vec![0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];
//! let share = [0.10, 0.22, 0.18, 0.45, 0.52, 0.49, 0.80, 0.77];
//! let x = Matrix::from_columns(&[&dose])?.with_intercept();
//! let line = linear::ols(&x, &share, Covariance::Hc3)?;
//! let logit = glm::fractional_logistic(&x, &share, None, &glm::Penalty::None)?;
//! assert!(line.intervals(0.95)?[1].low > 0.0 && logit.coefficients[1] > 0.3);
//! assert!(rank::spearman(&dose, &share) > 0.9);
//! # Ok::<(), ream_stats::FitError>(())
//! ```
//!
//! # What holds everywhere
//! - Bad input (empty, NaN, wrong length, out of range) is an error that names the place, never a panic. The three plain
//!   correlations of [`rank`] give NaN instead; their `_test` forms give the error.
//! - The same input gives the same bits on any number of threads: long sums are taken in pieces of fixed size and in a
//!   fixed order, and resampling is keyed by replication.
//! - Nothing is imputed, dropped or clipped. A row of weight 0 is as good as absent, in counts too.
//! - No regression has an implicit intercept.
//! - Fits of many rows need no memory of their size beside the data: [`linear`] above 4,096 rows, [`instrumental`] and
//!   [`local_polynomial`] always, take the triangle of a QR factorisation block by block.
//! - Not here: random effects, survival, multiple-testing corrections.
//!
//! # Speed
//! `cargo xtask bench causal` on two Zen 4 cores: 16 to 21 columns, the other package's time over ours at so many rows, both with all threads, the table
//! in memory, and what ours took of memory beside it at a million rows (`benches/runs/2026-11-28-amd-epyc-2-cores/causal.json`, with intervals).
//!
//! | what | beside | 10,000 | 100,000 | 1,000,000 | memory, MB |
//! |---|---|---|---|---|---|
//! | [`linear`], HC1 | statsmodels OLS, HC1 | 2.8 | 4.3 | 10.7 | 0 of 168 |
//! | [`linear`], HC3 | statsmodels OLS, HC3 | 5.0 | 6.7 | 13.8 | 0 of 168 |
//! | [`linear`], by cluster | statsmodels OLS, by cluster | 3.2 | 3.8 | 7.7 | 0 of 176 |
//! | [`instrumental`], 2SLS, HC0 | linearmodels IV2SLS, robust | 18.5 | 21.5 | 45.4 | 0 of 160 |
//! | [`instrumental`], LIML, HC0 | linearmodels IVLIML, robust | 19.1 | 22.9 | 46.1 | 0 of 160 |
//! | [`glm`], HC0 | statsmodels Logit, HC0 | 4.6 | 2.2 | 1.7 | 66 of 168 |
//! | [`regression_discontinuity`] | rdrobust | 40.9 | 37.6 | 34.8 | 66 of 16 |
//! | [`local_polynomial`], 50 points | numpy, one fit a point | 2.1 | 6.2 | 4.7 | 29 of 16 |
//! | [`density`], 200 points | scipy gaussian_kde | 8.4 | 15.9 | 30.4 | 25 of 8 |
//! | [`monotone`] | scipy isotonic_regression | 1.7 | 1.4 | 1.0 | 1 of 8 |
//! | [`multiplier`], 200 draws | numpy | 1.7 | 2.2 | 2.6 | 0 of 160 |
//! | [`treatment`], AIPW | statsmodels Logit and OLS | 5.3 | 2.7 | 3.7 | 68 of 176 |
//! | [`cross_fit`], five folds of OLS | scikit-learn cross_val_predict | 3.7 | 2.3 | 2.4 | 36 of 168 |
//!
//! Where five times was wanted at 100,000 rows and is not there: least squares with HC1 pass over the design five times, of which reflecting blocks
//! is a third of the time and taking sums of products a sixth; logistic regression spends a fifth of its time on the information matrix and as
//! much on exponentials and logarithms in `libm`, which are the same on every machine; isotonic regression is one pass on one thread on both sides.
//!
//! # Agreement
//! `tests/golden.rs` and `tests/golden_causal.rs` compare with other packages to these significant digits. The reference "exact"
//! is the same estimator in 50-digit arithmetic (mpmath), "formula" its formulas in numpy and scipy. `tests/golden/make.py` and
//! `tests/golden/causal.py` make the values anew.
//!
//! | what | reference | digits |
//! |---|---|---|
//! | least-squares coefficients; Longley; columns that differ by 1e-6 | exact | 13 |
//! | HC0 to HC3, cluster covariances of least squares | exact | 13 |
//! | the same, Longley and columns that differ by 1e-6 | exact | 9 |
//! | the same, p values, intervals, R2 | statsmodels `WLS` | 11 |
//! | ridge coefficients, effective parameters, GCV | scikit-learn `Ridge`, numpy | 12 |
//! | logistic coefficients and all covariances, fractional, weighted | exact | 12 |
//! | the same, columns that differ by 1e-5 | exact | 9 |
//! | the same (classical, HC0, cluster) | statsmodels `GLM` | 12; 5 with columns that differ by 1e-5 |
//! | logistic with L2 towards a centre | exact | 12 |
//! | logistic with L2, L1 | scikit-learn `LogisticRegression` | 8 |
//! | t and Welch intervals, Wilson | scipy, statsmodels | 12 |
//! | tail of t, 0.7 to 1e7 degrees of freedom | exact | 11 |
//! | quantiles of t; of the normal law | scipy; exact | 12; 14 |
//! | Spearman, Kendall's tau-b, Pearson (their p values) | scipy | 12 (10) |
//! | BCa and percentile ends from the same replicates | scipy `bootstrap` | 12 |
//! | BCa and percentile ends from our own resamples | scipy `bootstrap` | Monte-Carlo error |
//! | AUC, log loss, Brier score | scikit-learn | 13 |
//! | mean, variance with an offset of 1e8 | exact rationals | 14 |
//! | quantiles | numpy | 14 |
//! | 2SLS: coefficients, classical, HC0, HC1 and cluster covariances | linearmodels `IV2SLS` | 10 |
//! | LIML and given kappa: coefficients, classical covariance (one very weak instrument) | linearmodels `IVLIML` | 9 (8) |
//! | the same, HC0 | formula | 9 (8) |
//! | Sargan, Hansen J and its GMM; Wu-Hausman | linearmodels | 10; 9 |
//! | first-stage F, robust F; effective F | statsmodels; formula | 9 |
//! | ends of Anderson-Rubin sets | roots of statsmodels' F test | 9 |
//! | jump at a cutoff at given bandwidths: estimates, errors, intervals (p values) | rdrobust | 10 (8) |
//! | the same at its own bandwidths, and those | rdrobust | 9 (7) |
//! | three-step bandwidths | formula | 8 |
//! | kernel density; its logarithm and score | scipy `gaussian_kde`; exact | 12; 11 |
//! | density test at a cutoff | formula | 9 |
//! | isotonic regression; as a function of a predictor | scipy; scikit-learn | 13; 12 |
//! | weighted quantiles, Gini coefficient, Imbens-Manski | formula | 12 |
//! | tail of F, 1 to 1e6 degrees of freedom; its quantiles | exact; scipy | 10; 11 |
//! | Hajek estimate; its error with a logistic propensity | statsmodels `TreatmentEffect` | 10; 6 |
//! | augmented weights | statsmodels, formula | 11 |
//!
//! Some differences are on purpose. statsmodels counts rows of weight 0 in the small-sample factors, we do not; and for
//! GLM it takes HC1 to HC3 to mean HC0, where we apply their factors. linearmodels takes
//! the scores of robust covariances from `P D` for every kappa, we from `(1 - kappa) D + kappa P D`, whose product with the
//! residuals the estimate makes 0. With `q > p + 1` the Python version of rdrobust (2.1.1) takes the coefficient of order `q` for
//! that of order `p + 1` when it chooses `h`; we and the R version do not.

mod blocks;
pub mod bootstrap;
pub mod chi_square;
mod columns;
pub mod covariance;
pub mod cross_fit;
pub mod density;
pub mod descriptive;
pub mod distribution;
pub mod error;
pub mod glm;
pub mod instrumental;
pub mod interval;
pub mod linear;
pub mod local_polynomial;
mod matrix;
pub mod metrics;
pub mod minimise;
pub mod monotone;
pub mod multiplier;
pub mod off_policy;
mod qr;
pub mod rank;
pub mod regression_discontinuity;
pub mod sparse_logistic;
pub mod spectral;
mod sum;
pub mod treatment;

pub use covariance::Covariance;
pub use error::{FitError, StatsError};
pub use interval::Estimate;
pub use matrix::Matrix;
