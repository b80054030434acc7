//! The amortised learner: cross-fitted networks, pseudo-outcomes, intervals at any covariates, averages with standard errors.
//!
//! For every fold `k`, with probabilities of the arms from the other folds: networks `(lambda, u)` are trained on the rows of fold `k`;
//! `Z = g*((phi - u) / lambda)` is regressed on arm and covariates, `m`; the end is `sign [lambda (eta(e) + m) + u]`. Folds are averaged.
//!
//! Rows whose `t` lies beyond the conjugate's domain keep the value of the continued conjugate: leaving them out would make intervals falsely
//! narrow. Their share is reported.
//!
//! Averages over rows would be ruined by one such row of another fold. There the shift is raised to `u + c lambda`, with the least `c` that brings
//! every row into the domain: any price and shift give a bound, so that it stays one.

use ream_lab::{Error, Result};
use ream_stats::Matrix;
use ream_trees::{Loss, Options};

use super::divergence::{Divergence, MARGIN};
use super::dual::Law;
use super::marginal::{End, Ends};
use super::networks::{DualNets, Fit, Sample, Settings};
use super::propensity::{Propensities, boosted, predict};

/// Trees for pseudo-outcomes.
const TREES: Options = Options {
    rounds: 100,
    rate: 0.1,
    leaves: 16,
    depth: 4,
    min_leaf: 10,
    l2: 0.0,
    bins: 255,
    smoothing: 10.0,
};

/// What is learned from.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    /// Covariates, `[n, columns]`.
    pub x: &'a Matrix,
    /// Arms, `[n]`.
    pub arm: &'a [usize],
    /// How many arms there are.
    pub levels: usize,
    /// `phi` of the outcomes, `[n]`.
    pub phi: &'a [f64],
    /// Weights of rows.
    pub weights: Option<&'a [f64]>,
}

/// Location and scale of columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Scaling(Vec<(f64, f64)>);

impl Scaling {
    /// Means and standard deviations of the columns of `x`; constant columns keep their units.
    #[must_use]
    pub fn of(x: &Matrix) -> Self {
        let of_column = |j: usize| {
            let (mean, deviation) = centre_and_scale(&x.column(j), None);
            (mean, deviation)
        };
        Self((0..x.cols()).map(of_column).collect())
    }

    /// Standardised columns.
    #[must_use]
    pub fn apply(&self, x: &Matrix) -> Matrix {
        Matrix::from_fn(x.rows(), x.cols(), |i, j| (x.get(i, j) - self.0[j].0) / self.0[j].1)
    }
}

/// Mean and standard deviation; the latter 1 where there is none.
fn centre_and_scale(values: &[f64], weights: Option<&[f64]>) -> (f64, f64) {
    let weight = |i: usize| weights.map_or(1.0, |w| w[i]);
    let total: f64 = (0..values.len()).map(weight).sum();
    let mean = values.iter().enumerate().map(|(i, v)| weight(i) * v).sum::<f64>() / total;
    let variance =
        values.iter().enumerate().map(|(i, v)| weight(i) * (v - mean) * (v - mean)).sum::<f64>() / total;
    (mean, if variance > 0.0 { variance.sqrt() } else { 1.0 })
}

/// What one fold's fit says at the points, `[fits][levels][points]`, for standardised `phi`.
#[derive(Clone, Debug)]
struct Functions {
    lambda: Vec<Vec<Vec<f64>>>,
    u: Vec<Vec<Vec<f64>>>,
    m: Vec<Vec<Vec<f64>>>,
    /// For averages: `c` of each fit, and `m` of the pseudo-outcomes under the raised shift.
    raised: Vec<(f64, Vec<Vec<f64>>)>,
}

/// Fits of every fold.
#[derive(Clone, Debug)]
pub struct Learned {
    divergences: Vec<Divergence>,
    fits: Vec<Fit>,
    folds: Vec<Functions>,
    levels: usize,
    points: usize,
    centre: f64,
    scale: f64,
    /// Share of the rows whose `t` lies beyond the domain of the conjugate, for each divergence: the larger of both ends.
    pub outside: Vec<f64>,
}

/// Learns both ends for the divergences, and evaluates them at `points` (`[m, columns]`).
///
/// # Errors
/// A fold that is too small to train on, a fit that fails.
pub fn learn(
    problem: &Problem<'_>,
    propensities: &Propensities,
    points: &Matrix,
    divergences: &[Divergence],
    debiased: bool,
    settings: &Settings,
    seed: u64,
) -> Result<Learned> {
    fit_folds(problem, propensities, points, divergences, debiased, settings, seed, false)
}

/// As [`learn`] at the rows themselves, ready for [`Learned::average`].
///
/// # Errors
/// As [`learn`].
pub fn learn_rows(
    problem: &Problem<'_>,
    propensities: &Propensities,
    divergences: &[Divergence],
    debiased: bool,
    settings: &Settings,
    seed: u64,
) -> Result<Learned> {
    fit_folds(problem, propensities, problem.x, divergences, debiased, settings, seed, true)
}

#[allow(clippy::too_many_arguments, reason = "the arguments of both entries, and which of them it is")]
fn fit_folds(
    problem: &Problem<'_>,
    propensities: &Propensities,
    points: &Matrix,
    divergences: &[Divergence],
    debiased: bool,
    settings: &Settings,
    seed: u64,
    averages: bool,
) -> Result<Learned> {
    let scaling = Scaling::of(problem.x);
    let (x, at) = (scaling.apply(problem.x), scaling.apply(points));
    let (centre, scale) = centre_and_scale(problem.phi, problem.weights);
    let total: f64 = problem.weights.map_or(problem.phi.len() as f64, |w| w.iter().sum());
    let mean_weight = total / problem.phi.len() as f64;
    let sample = Sample {
        columns: x.cols(),
        levels: problem.levels,
        x: x.data().iter().map(|v| *v as f32).collect(),
        arm: problem.arm.to_vec(),
        phi: problem.phi.iter().map(|p| (p - centre) / scale).collect(),
        e: propensities.rows.clone(),
        weights: (0..problem.phi.len())
            .map(|i| problem.weights.map_or(1.0, |w| w[i] / mean_weight))
            .collect(),
    };
    let fits: Vec<Fit> =
        divergences.iter().flat_map(|d| [-1.0, 1.0].map(|sign| Fit { divergence: *d, sign })).collect();
    let mut outside = vec![0.0_f64; divergences.len()];
    let mut folds = Vec::new();
    for k in 0..propensities.count {
        let rows: Vec<usize> = (0..sample.len()).filter(|i| propensities.folds[*i] == k).collect();
        let part = sample.select(&rows);
        let of_fold = Fold { sample: &part, x: x.select_rows(&rows), at: &at };
        let (mut functions, shares) = of_fold.fit(&fits, debiased, settings, seed.wrapping_add(k as u64))?;
        if averages {
            of_fold.raise(&mut functions, &fits, &sample, &rows)?;
        }
        for (j, share) in shares.iter().enumerate() {
            outside[j / 2] = outside[j / 2].max(*share);
        }
        folds.push(functions);
    }
    Ok(Learned {
        divergences: divergences.to_vec(),
        fits,
        folds,
        levels: problem.levels,
        points: points.rows(),
        centre,
        scale,
        outside,
    })
}

struct Fold<'a> {
    sample: &'a Sample,
    /// Standardised covariates of the fold's rows and of the points.
    x: Matrix,
    at: &'a Matrix,
}

impl Fold<'_> {
    fn fit(
        &self,
        fits: &[Fit],
        debiased: bool,
        settings: &Settings,
        seed: u64,
    ) -> Result<(Functions, Vec<f64>)> {
        let sample = self.sample;
        if sample.len() < 10 {
            let got = format!("{} rows", sample.len());
            return Err(Error::failed(format!("a fold needs at least 10 rows to train on, got {got}")));
        }
        let start = fits.iter().map(|fit| pooled(sample, *fit)).collect::<Result<Vec<_>>>()?;
        let failed = |e: ream_nn::NnError| Error::failed(format!("networks: {e}"));
        let mut nets =
            DualNets::new(sample.columns, sample.levels, fits, debiased, settings.width, seed, &start)
                .map_err(failed)?;
        nets.train(sample, settings, seed).map_err(failed)?;
        let own = (0..sample.levels)
            .map(|a| nets.at(&sample.x, a))
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed)?;
        let points: Vec<f32> = self.at.data().iter().map(|v| *v as f32).collect();
        let there =
            (0..sample.levels).map(|a| nets.at(&points, a)).collect::<Result<Vec<_>, _>>().map_err(failed)?;
        let mut functions =
            Functions { lambda: Vec::new(), u: Vec::new(), m: Vec::new(), raised: Vec::new() };
        let mut outside = Vec::new();
        for (j, fit) in fits.iter().enumerate() {
            let pairs: Vec<(f64, f64)> = (0..sample.len()).map(|i| own[sample.arm[i]][j][i]).collect();
            let (z, share) = pseudo_outcomes(sample, *fit, &pairs);
            outside.push(share);
            functions.m.push(self.regress(&z)?);
            functions.lambda.push(there.iter().map(|arm| arm[j].iter().map(|p| p.0).collect()).collect());
            functions.u.push(there.iter().map(|arm| arm[j].iter().map(|p| p.1).collect()).collect());
        }
        Ok((functions, outside))
    }

    /// Raises every fit's shift until no row of `all` (at whose covariates the functions are known) lies beyond the domain; `rows` are the fold's.
    fn raise(&self, functions: &mut Functions, fits: &[Fit], all: &Sample, rows: &[usize]) -> Result<()> {
        for (j, fit) in fits.iter().enumerate() {
            let t = |i: usize| {
                let arm = all.arm[i];
                (fit.sign * all.phi[i] - functions.u[j][arm][i]) / functions.lambda[j][arm][i]
            };
            let most = (0..all.len()).map(t).fold(f64::NEG_INFINITY, f64::max);
            let c = (most - (fit.divergence.end() - MARGIN)).max(0.0);
            let m = if c > 0.0 {
                let z: Vec<f64> = rows.iter().map(|i| fit.divergence.continued(t(*i) - c).0).collect();
                self.regress(&z)?
            } else {
                functions.m[j].clone()
            };
            functions.raised.push((c, m));
        }
        Ok(())
    }

    /// `m(a, x)` at the points, `[levels][points]`.
    fn regress(&self, z: &[f64]) -> Result<Vec<Vec<f64>>> {
        let levels = self.sample.levels;
        let with_arm = |x: &Matrix, arm: &dyn Fn(usize) -> usize| {
            let p = x.cols();
            Matrix::from_fn(x.rows(), p + levels - 1, |i, j| {
                if j < p { x.get(i, j) } else { f64::from(u8::from(arm(i) == j - p + 1)) }
            })
        };
        let own = with_arm(&self.x, &|i| self.sample.arm[i]);
        let model = boosted(&own, z, Some(&self.sample.weights), Loss::Squared, &TREES)?;
        (0..levels).map(|a| predict(&model, &with_arm(self.at, &|_| a))).collect()
    }
}

/// `Z` of every row, and the share of rows beyond the domain.
fn pseudo_outcomes(sample: &Sample, fit: Fit, pairs: &[(f64, f64)]) -> (Vec<f64>, f64) {
    let mut beyond = 0_usize;
    let z = pairs
        .iter()
        .zip(&sample.phi)
        .map(|((lambda, u), phi)| {
            let (value, _, out) = fit.divergence.continued((fit.sign * phi - u) / lambda);
            beyond += usize::from(out);
            value
        })
        .collect();
    (z, beyond as f64 / sample.len() as f64)
}

/// `(log lambda, u)` of the bound without covariates over all rows of a fold, with the mean radius: where networks begin, within the domain of
/// every row.
fn pooled(sample: &Sample, fit: Fit) -> Result<(f64, f64)> {
    let phi: Vec<f64> = sample.phi.iter().map(|p| fit.sign * p).collect();
    let failed = |e: ream_stats::StatsError| Error::failed(format!("the bound without covariates: {e}"));
    let law = Law::new(&phi, Some(&sample.weights)).map_err(failed)?;
    let radius = (0..sample.len())
        .map(|i| fit.divergence.radius(sample.e[i * sample.levels + sample.arm[i]]))
        .sum::<f64>()
        / sample.len() as f64;
    let bound = law.upper(fit.divergence, radius).map_err(failed)?;
    let lambda = bound.lambda.max(1e-3);
    let (_, most) = law.range();
    // On the safe side of the end of the domain even where lambda was too small to use.
    let end = fit.divergence.end() - MARGIN;
    Ok((libm::log(lambda), bound.u.max(most - lambda * end)))
}

impl Learned {
    /// `(lower, upper)` at every point under an arm, with probabilities of the arms at the points for each fold, `[folds][points, levels]`.
    #[must_use]
    pub fn ends(&self, divergence: usize, arm: usize, e: &[Vec<f64>]) -> Vec<(f64, f64)> {
        let end = |fit: usize, point: usize| {
            let d = self.fits[fit].divergence;
            let of_fold = |(functions, e): (&Functions, &Vec<f64>)| {
                let radius = d.radius(e[point * self.levels + arm]);
                let (lambda, u) = (functions.lambda[fit][arm][point], functions.u[fit][arm][point]);
                lambda * (radius + functions.m[fit][arm][point]) + u
            };
            let sum: f64 = self.folds.iter().zip(e).map(of_fold).sum();
            self.centre + self.scale * self.fits[fit].sign * sum / self.folds.len() as f64
        };
        (0..self.points).map(|p| (end(2 * divergence, p), end(2 * divergence + 1, p))).collect()
    }

    /// Both ends of the mean over rows of `sum_a policy(row, a) E[phi | do(a), x]`, by the one-step estimate: each row's term comes from
    /// the functions of the next fold, their shift raised (see the head of this module).
    ///
    /// # Errors
    /// When the fit was not made by [`learn_rows`] on these rows.
    pub fn average(
        &self,
        divergence: usize,
        problem: &Problem<'_>,
        propensities: &Propensities,
        policy: impl Fn(usize, usize) -> f64,
    ) -> Result<Ends> {
        if self.points != problem.phi.len() || self.folds.iter().any(|f| f.raised.is_empty()) {
            return Err(Error::failed("averages need a fit made by learn_rows on these rows"));
        }
        let end = |fit: usize| {
            let terms: Vec<f64> = (0..self.points)
                .map(|i| {
                    let of_arm = |a: usize| {
                        let share = policy(i, a);
                        if share == 0.0 {
                            0.0
                        } else {
                            share * self.one_step(fit, problem, propensities, i, a)
                        }
                    };
                    (0..self.levels).map(of_arm).sum()
                })
                .collect();
            let n = terms.len() as f64;
            let total: f64 = problem.weights.map_or(n, |w| w.iter().sum());
            let weight = |i: usize| problem.weights.map_or(1.0, |w| w[i] * n / total);
            let mean = terms.iter().enumerate().map(|(i, t)| weight(i) * t).sum::<f64>() / n;
            let factor = self.fits[fit].sign * self.scale;
            let influence = terms.iter().enumerate().map(|(i, t)| factor * weight(i) * (t - mean)).collect();
            let centre = self.centre * self.mass(&policy, problem);
            End::new(centre + factor * mean, influence)
        };
        Ok(Ends { lower: end(2 * divergence), upper: end(2 * divergence + 1) })
    }

    /// Mean over rows of the policy's mass, 1 for a policy: what the centre of `phi` counts for.
    fn mass(&self, policy: &impl Fn(usize, usize) -> f64, problem: &Problem<'_>) -> f64 {
        let weight = |i: usize| problem.weights.map_or(1.0, |w| w[i]);
        let total: f64 = (0..self.points).map(weight).sum();
        let of_row = |i: usize| weight(i) * (0..self.levels).map(|a| policy(i, a)).sum::<f64>();
        (0..self.points).map(of_row).sum::<f64>() / total
    }

    /// A row's term of the mean bound under an arm, whose mean does not change to first order with `m` and `e`.
    fn one_step(
        &self,
        fit: usize,
        problem: &Problem<'_>,
        propensities: &Propensities,
        i: usize,
        a: usize,
    ) -> f64 {
        let Fit { divergence: d, sign } = self.fits[fit];
        let functions = &self.folds[(propensities.folds[i] + 1) % self.folds.len()];
        let (c, m) = &functions.raised[fit];
        let (lambda, m) = (functions.lambda[fit][a][i], m[a][i]);
        let u = functions.u[fit][a][i] + c * lambda;
        let e = propensities.rows[i * self.levels + a];
        let inside = f64::from(u8::from(problem.arm[i] == a));
        let drift = lambda * d.radius_slope(e) * (inside - e);
        let own = if problem.arm[i] == a {
            let phi = sign * (problem.phi[i] - self.centre) / self.scale;
            lambda * (d.continued((phi - u) / lambda).0 - m) / e
        } else {
            0.0
        };
        lambda * (d.radius(e) + m) + u + own + drift
    }

    /// The divergences, in the order of their numbers.
    #[must_use]
    pub fn divergences(&self) -> &[Divergence] {
        &self.divergences
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info_bounds::divergence::ALL;
    use crate::info_bounds::propensity::{Model, Treatment, cross_fitted};
    use ream_rand::Stream;
    use ream_stats::cross_fit;

    const SETTINGS: Settings = Settings {
        width: 16,
        epochs: 30,
        patience: 10,
        validation: 0.2,
        batch: 64,
        learning_rate: 2e-3,
        weight_decay: 1e-4,
    };

    struct Trial {
        x: Matrix,
        arm: Vec<usize>,
        y: Vec<f64>,
        e: Vec<f64>,
    }

    /// Bounded noise, arms by a known probability.
    fn trial(n: usize) -> Trial {
        let mut rng = Stream::new(8, "trial").at(0);
        let x: Vec<f64> = (0..n).map(|_| rng.between(-1.0, 1.0)).collect();
        let e: Vec<f64> = x.iter().map(|x| 0.5 + 0.3 * x).collect();
        let arm: Vec<usize> = e.iter().map(|e| usize::from(rng.chance(*e))).collect();
        let y = x.iter().zip(&arm).map(|(x, a)| 5.0 + 2.0 * x + *a as f64 + rng.between(-1.0, 1.0)).collect();
        Trial { x: Matrix::from_columns(&[x]).unwrap(), arm, y, e }
    }

    fn known(t: &Trial) -> Propensities {
        let folds = cross_fit::folds(t.y.len(), 2, Stream::new(1, "folds")).unwrap();
        Propensities::known(folds, 2, &t.e, &t.e)
    }

    fn learned(t: &Trial, e: &Propensities, y: &[f64], divergences: &[Divergence]) -> Learned {
        let problem = Problem { x: &t.x, arm: &t.arm, levels: 2, phi: y, weights: None };
        learn_rows(&problem, e, divergences, true, &SETTINGS, 1).unwrap()
    }

    #[test]
    fn the_mean_lies_within_nearly_everywhere_and_averages_agree_with_their_rows() {
        let t = trial(800);
        let e = known(&t);
        let fit = learned(&t, &e, &t.y, &ALL);
        let problem = Problem { x: &t.x, arm: &t.arm, levels: 2, phi: &t.y, weights: None };
        for (j, d) in ALL.into_iter().enumerate() {
            let ends = fit.ends(j, 1, &e.points);
            let inside = ends
                .iter()
                .zip(t.x.data())
                .filter(|((low, high), x)| *low <= 6.0 + 2.0 * **x && 6.0 + 2.0 * **x <= *high)
                .count();
            assert!(inside > 760, "{d:?}: {inside}");
            let average = fit.average(j, &problem, &e, |_, a| f64::from(u8::from(a == 1))).unwrap();
            // Outcomes lie between 2 and 9 here, and so do averages, give or take what the raised shift costs.
            let (low, high) = average.limits(0.95).unwrap();
            assert!(
                low < 6.0 && 6.0 < high,
                "{d:?}: {low} {high} {:?} {} {}",
                average.values(),
                average.upper.se,
                fit.outside[j]
            );
            assert!(average.lower.se > 0.0 && low > -5.0 && high < 16.0, "{d:?}: {low} {high}");
        }
    }

    #[test]
    fn units_of_the_outcome_do_not_matter() {
        let t = trial(300);
        let e = known(&t);
        let scaled: Vec<f64> = t.y.iter().map(|y| 1000.0 * y - 7.0).collect();
        let (one, two) = (
            learned(&t, &e, &t.y, &[Divergence::ChiSquare]),
            learned(&t, &e, &scaled, &[Divergence::ChiSquare]),
        );
        for (a, b) in one.ends(0, 1, &e.points).iter().zip(two.ends(0, 1, &e.points)) {
            assert!((1000.0 * a.0 - 7.0 - b.0).abs() < 0.05 * b.0.abs().max(100.0), "{a:?} {b:?}");
        }
    }

    /// One row of a value far beyond the others widens the average by that value's share, not beyond all measure.
    #[test]
    fn a_far_row_does_not_ruin_the_average() {
        let t = trial(400);
        let e = known(&t);
        let mut y = t.y.clone();
        let row = (0..400).find(|i| t.arm[*i] == 1).unwrap();
        y[row] = 500.0;
        let fit = learned(&t, &e, &y, &ALL);
        let problem = Problem { x: &t.x, arm: &t.arm, levels: 2, phi: &y, weights: None };
        for (j, d) in ALL.into_iter().enumerate() {
            let average = fit.average(j, &problem, &e, |_, a| f64::from(u8::from(a == 1))).unwrap();
            assert!(average.lower.value < 8.0 && average.upper.value > 6.0, "{d:?} {:?}", average.values());
            assert!(
                average.upper.value < 5000.0 && average.upper.se < 5000.0,
                "{d:?} {:?}",
                average.values()
            );
        }
    }

    /// A policy that gives everyone the second arm is that arm; one that mixes lies between.
    #[test]
    fn policies_mix_arms() {
        let t = trial(300);
        let e = known(&t);
        let fit = learned(&t, &e, &t.y, &[Divergence::Hellinger]);
        let problem = Problem { x: &t.x, arm: &t.arm, levels: 2, phi: &t.y, weights: None };
        let of = |share: f64| {
            fit.average(0, &problem, &e, |_, a| if a == 1 { share } else { 1.0 - share }).unwrap().upper.value
        };
        let middle = 0.5 * (of(0.0) + of(1.0));
        assert!((of(0.5) - middle).abs() < 1e-9);
    }

    /// Rows beyond the domain are kept at the continued conjugate's value, which is larger than the domain's end allows.
    #[test]
    fn rows_outside_the_domain_widen_the_interval() {
        let sample = Sample {
            columns: 1,
            levels: 2,
            x: vec![0.0; 4],
            arm: vec![0; 4],
            phi: vec![0.0, 0.1, 0.2, 50.0],
            e: vec![0.5; 8],
            weights: vec![1.0; 4],
        };
        for divergence in ALL {
            let fit = Fit { divergence, sign: 1.0 };
            let u = 0.2 - divergence.end() + 0.01;
            let pairs = [(1.0, u); 4];
            let (z, share) = pseudo_outcomes(&sample, fit, &pairs);
            assert!((share - 0.25).abs() < 1e-12, "{divergence:?} {share}");
            let dropped = z[..3].iter().sum::<f64>() / 3.0;
            let kept = z.iter().sum::<f64>() / 4.0;
            assert!(kept > dropped + 100.0, "{divergence:?}: {kept} {dropped}");
        }
    }

    #[test]
    fn propensities_from_trees_work_too() {
        let t = trial(300);
        let treatment = Treatment { x: &t.x, arm: &t.arm, levels: 2, weights: None };
        let folds = cross_fit::folds(300, 2, Stream::new(1, "folds")).unwrap();
        let e = cross_fitted(&Model::Trees, &treatment, folds, 2, &t.x).unwrap();
        let fit = learned(&t, &e, &t.y, &[Divergence::Kl]);
        assert!(fit.ends(0, 1, &e.points).iter().all(|(low, high)| low.is_finite() && high.is_finite()));
    }
}
