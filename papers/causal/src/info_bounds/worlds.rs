//! Data whose truth is known: random finite models, the synthetic study, IHDP with simulated outcomes; and the NSW trial beside the CPS.

use std::path::Path;

use nalgebra::{DMatrix, SymmetricEigen};
use ream_data::Table;
use ream_lab::{Error, Result};
use ream_rand::{Rng, Stream};
use ream_stats::{Matrix, glm::sigmoid};

use super::divergence::{ALL, Divergence};

/// `D_f(P || Q) - B_f(e)` of every divergence, in the order of [`ALL`], for a random finite model with a hidden confounder: `P(y | a)`,
/// `P(y | do(a))` and `e = P(a)` computed from `P(u)`, `P(a | u)`, `P(y | a, u)`. Where `apart`, the outcomes of those who do not get the
/// treatment never overlap with those of the others, and the bound is reached.
#[must_use]
pub fn divergence_excess(rng: &mut Rng, apart: bool) -> [f64; 5] {
    let (hidden, outcomes) = if apart { (2, 2 + rng.below(5)) } else { (2 + rng.below(4), 2 + rng.below(6)) };
    let mut simplex = |n: usize| -> Vec<f64> {
        let draws: Vec<f64> = (0..n).map(|_| rng.exponential() + 1e-9).collect();
        let total: f64 = draws.iter().sum();
        draws.iter().map(|d| d / total).collect()
    };
    let of_u = simplex(hidden);
    let laws: Vec<Vec<f64>> = if apart {
        // Outcomes 0.. for one half of the world, the rest for the other.
        let split = outcomes / 2;
        let first = [simplex(split), vec![0.0; outcomes - split]].concat();
        let second = [vec![0.0; split], simplex(outcomes - split)].concat();
        vec![first, second]
    } else {
        (0..hidden).map(|_| simplex(outcomes)).collect()
    };
    let treated: Vec<f64> =
        if apart { vec![1.0, 0.0] } else { (0..hidden).map(|_| rng.between(0.01, 0.99)).collect() };
    let e: f64 = of_u.iter().zip(&treated).map(|(u, a)| u * a).sum();
    let mix =
        |weight: &dyn Fn(usize) -> f64, y: usize| (0..hidden).map(|u| weight(u) * laws[u][y]).sum::<f64>();
    let p: Vec<f64> = (0..outcomes).map(|y| mix(&|u| of_u[u] * treated[u] / e, y)).collect();
    let q: Vec<f64> = (0..outcomes).map(|y| mix(&|u| of_u[u], y)).collect();
    let distance =
        |d: Divergence| p.iter().zip(&q).filter(|(_, q)| **q > 0.0).map(|(p, q)| q * d.f(p / q)).sum::<f64>();
    ALL.map(|d| distance(d) - d.radius(e))
}

/// Nodes and weights of the standard normal law (Golub & Welsch, 1969), ascending.
#[must_use]
pub fn gauss_hermite(nodes: usize) -> Vec<(f64, f64)> {
    let jacobi =
        DMatrix::from_fn(
            nodes,
            nodes,
            |i, j| {
                if i.abs_diff(j) == 1 { (i.max(j) as f64).sqrt() } else { 0.0 }
            },
        );
    let eigen = SymmetricEigen::new(jacobi);
    let mut rule: Vec<(f64, f64)> = (0..nodes)
        .map(|k| (eigen.eigenvalues[k], eigen.eigenvectors[(0, k)] * eigen.eigenvectors[(0, k)]))
        .collect();
    rule.sort_by(|a, b| a.0.total_cmp(&b.0));
    rule
}

/// Covariates of the synthetic study.
pub const COVARIATES: usize = 5;

/// The synthetic study's law.
#[derive(Clone, Debug)]
pub struct Synthetic {
    slopes: [f64; COVARIATES],
    rule: Vec<(f64, f64)>,
}

/// Rows of the synthetic study.
#[derive(Clone, Debug)]
pub struct SyntheticRows {
    /// `[n, 5]`.
    pub x: Matrix,
    /// Treated or not.
    pub arm: Vec<usize>,
    /// Outcomes.
    pub y: Vec<f64>,
    /// `P(A = 1 | x)`, the hidden confounder averaged out.
    pub e: Vec<f64>,
}

impl Default for Synthetic {
    fn default() -> Self {
        // One draw for everyone: the study's slopes are part of the study.
        let mut rng = Stream::new(1, "synthetic slopes").at(0);
        Self { slopes: [0.0; COVARIATES].map(|_| 0.6 * rng.normal()), rule: gauss_hermite(64) }
    }
}

impl Synthetic {
    /// `P(A = 1 | x, u)`.
    fn propensity(&self, x: &[f64], u: f64) -> f64 {
        let linear: f64 = x.iter().zip(&self.slopes).map(|(x, w)| x * w).sum();
        0.05 + 0.9 * sigmoid(linear + 0.8 * u + 0.5 * libm::sin(x[0]) - 0.25 * x[0] * x[0])
    }

    fn base(x: &[f64]) -> f64 {
        0.5 + 0.8 * libm::tanh(x[0]) + 0.25 * x[1] * x[1] - 0.15 * libm::sin(x[2])
    }

    fn effect(x: &[f64], e: f64) -> f64 {
        0.7 + 0.2 * libm::sin(x[0]) + 0.1 * x[0] + 0.8 * (e - 0.5)
    }

    fn over_u(&self, f: impl Fn(f64) -> f64) -> f64 {
        self.rule.iter().map(|(u, w)| w * f(*u)).sum()
    }

    /// `P(A = 1 | x)`.
    #[must_use]
    pub fn marginal_propensity(&self, x: &[f64]) -> f64 {
        self.over_u(|u| self.propensity(x, u))
    }

    /// `E[Y | do(A = 1), x]`.
    #[must_use]
    pub fn truth(&self, x: &[f64]) -> f64 {
        Self::base(x) + self.over_u(|u| Self::effect(x, self.propensity(x, u)) + 0.7 * u)
    }

    /// Rows.
    #[must_use]
    pub fn draw(&self, n: usize, stream: Stream) -> SyntheticRows {
        let mut rng = stream.at(0);
        let mut rows: Vec<[f64; COVARIATES]> = Vec::with_capacity(n);
        let (mut arm, mut y, mut e) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..n {
            let x = [0.0; COVARIATES].map(|_| rng.between(-2.0, 2.0));
            let u = rng.normal();
            let p = self.propensity(&x, u);
            let treated = rng.chance(p);
            // Student's t with 3 degrees of freedom.
            let noise = rng.normal() / (rng.gamma(1.5) / 1.5).sqrt();
            arm.push(usize::from(treated));
            y.push(Self::base(&x) + if treated { Self::effect(&x, p) } else { 0.0 } + 0.7 * u + noise);
            e.push(self.marginal_propensity(&x));
            rows.push(x);
        }
        let x = Matrix::from_fn(n, COVARIATES, |i, j| rows[i][j]);
        SyntheticRows { x, arm, y, e }
    }
}

/// Columns of IHDP that are numbers, the first five shown covariates among them.
const NUMERIC: [&str; 6] = ["bw", "b.head", "preterm", "birth.o", "nnhealth", "momage"];
/// The other covariates of Hill's study.
const BINARY: [&str; 19] = [
    "sex",
    "twin",
    "b.marr",
    "mom.lths",
    "mom.hs",
    "mom.scoll",
    "cig",
    "first",
    "booze",
    "drugs",
    "work.dur",
    "prenatal",
    "site1",
    "site2",
    "site3",
    "site4",
    "site5",
    "site6",
    "site7",
];
/// What an analyst sees.
pub const SHOWN: [&str; 5] = ["bw", "b.head", "preterm", "momage", "nnhealth"];

/// IHDP as an observational study: treated infants of mothers who are not white are left out (Hill, 2011).
#[derive(Clone, Debug)]
pub struct Ihdp {
    /// All 25 covariates, numbers standardised, `[747, 25]`.
    all: Matrix,
    /// The five that are shown, `[747, 5]`.
    pub shown: Matrix,
    /// Treated or not.
    pub arm: Vec<usize>,
}

/// One replication of IHDP.
#[derive(Clone, Debug)]
pub struct IhdpOutcomes {
    /// Outcomes.
    pub y: Vec<f64>,
    /// `E[Y(1) | the five shown covariates]`: the noise-free surface, smoothed over the shown covariates.
    pub truth: Vec<f64>,
}

impl Ihdp {
    /// Reads the covariates.
    ///
    /// # Errors
    /// A column that is missing or not a number.
    pub fn load(path: &Path) -> Result<Self> {
        let table = Table::open(path)?;
        let (treat, white) = (table.numbers("treat")?, table.numbers("momwhite")?);
        let keep: Vec<usize> = (0..table.rows()).filter(|i| treat[*i] == 0.0 || white[*i] == 1.0).collect();
        let pick = |name: &str| -> Result<Vec<f64>> {
            let column = table.numbers(name)?;
            Ok(keep.iter().map(|i| column[*i]).collect())
        };
        let numeric = NUMERIC.iter().map(|n| Ok(standardised(&pick(n)?))).collect::<Result<Vec<_>>>()?;
        let binary = BINARY.iter().map(|n| pick(n)).collect::<Result<Vec<_>>>()?;
        let shown = SHOWN.iter().map(|n| Ok(standardised(&pick(n)?))).collect::<Result<Vec<_>>>()?;
        let matrix = |columns: &[Vec<f64>]| {
            Matrix::from_columns(columns).map_err(|e| Error::failed(format!("IHDP: {e}")))
        };
        Ok(Self {
            all: matrix(&[numeric, binary].concat())?,
            shown: matrix(&shown)?,
            arm: keep.iter().map(|i| usize::from(treat[*i] == 1.0)).collect(),
        })
    }

    /// Response surface B of Hill (2011): `Y(0) = exp((X + 1/2) b) + N(0, 1)`, `Y(1) = X b - w + N(0, 1)`, with `b` drawn and `w` such that the
    /// mean effect on the treated is 4.
    #[must_use]
    pub fn outcomes(&self, stream: Stream) -> IhdpOutcomes {
        let mut rng = stream.at(0);
        let slopes: Vec<f64> = (0..self.all.cols()).map(|_| draw_slope(&mut rng)).collect();
        let n = self.arm.len();
        let linear = |i: usize, shift: f64| -> f64 {
            self.all.row(i).iter().zip(&slopes).map(|(x, b)| (x + shift) * b).sum()
        };
        let zero: Vec<f64> = (0..n).map(|i| libm::exp(linear(i, 0.5))).collect();
        let one: Vec<f64> = (0..n).map(|i| linear(i, 0.0)).collect();
        let treated: Vec<usize> = (0..n).filter(|i| self.arm[*i] == 1).collect();
        let gap = treated.iter().map(|i| one[*i] - zero[*i]).sum::<f64>() / treated.len() as f64;
        let surface: Vec<f64> = one.iter().map(|y| y - (gap - 4.0)).collect();
        let y =
            (0..n).map(|i| (if self.arm[i] == 1 { surface[i] } else { zero[i] }) + rng.normal()).collect();
        IhdpOutcomes { y, truth: smooth(&self.shown, &surface) }
    }
}

fn draw_slope(rng: &mut Rng) -> f64 {
    let u = rng.uniform();
    [(0.6, 0.0), (0.7, 0.1), (0.8, 0.2), (0.9, 0.3)]
        .iter()
        .find(|(below, _)| u < *below)
        .map_or(0.4, |(_, b)| *b)
}

fn standardised(values: &[f64]) -> Vec<f64> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let deviation = (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n).sqrt();
    values.iter().map(|v| (v - mean) / if deviation > 0.0 { deviation } else { 1.0 }).collect()
}

/// Kernel regression at the rows themselves, Scott's bandwidth.
fn smooth(x: &Matrix, values: &[f64]) -> Vec<f64> {
    let n = x.rows();
    let bandwidth = libm::pow(n as f64, -1.0 / (x.cols() as f64 + 4.0));
    let scale = -0.5 / (bandwidth * bandwidth);
    (0..n)
        .map(|i| {
            let (mut sum, mut total) = (0.0, 0.0);
            for (j, value) in values.iter().enumerate() {
                let distance: f64 = x.row(i).iter().zip(x.row(j)).map(|(a, b)| (a - b) * (a - b)).sum();
                let weight = libm::exp(scale * distance);
                sum += weight * value;
                total += weight;
            }
            sum / total
        })
        .collect()
}

/// The trial's treated with the comparison group of the CPS, and what the trial itself found.
#[derive(Clone, Debug)]
pub struct Training {
    /// Earnings of 1978, US dollars.
    pub earnings: Vec<f64>,
    /// 1 for the treated of the trial, 0 for the comparison group.
    pub arm: Vec<usize>,
    /// Difference in means of the trial.
    pub experiment: f64,
}

impl Training {
    /// Reads both files.
    ///
    /// # Errors
    /// A column that is missing or not a number, a trial with an empty arm.
    pub fn load(trial: &Path, comparison: &Path) -> Result<Self> {
        let (trial, comparison) = (Table::open(trial)?, Table::open(comparison)?);
        let (treat, earned) = (trial.numbers("treat")?, trial.numbers("re78")?);
        let arm = |on: bool| -> Vec<f64> {
            earned.iter().zip(&treat).filter(|(_, t)| (**t == 1.0) == on).map(|(y, _)| *y).collect()
        };
        let (treated, control) = (arm(true), arm(false));
        if treated.is_empty() || control.is_empty() {
            return Err(Error::Data(format!("{}: an arm of the trial is empty", trial.file())));
        }
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let experiment = mean(&treated) - mean(&control);
        let outside = comparison.numbers("re78")?;
        let arm = [vec![1; treated.len()], vec![0; outside.len()]].concat();
        Ok(Self { earnings: [treated, outside].concat(), arm, experiment })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hermite_rules_integrate_moments() {
        let rule = gauss_hermite(64);
        let moment = |k: i32| rule.iter().map(|(u, w)| w * u.powi(k)).sum::<f64>();
        for (k, wanted) in [(0, 1.0), (1, 0.0), (2, 1.0), (4, 3.0), (6, 15.0)] {
            assert!((moment(k) - wanted).abs() < 1e-9, "{k}: {}", moment(k));
        }
    }

    #[test]
    fn no_model_goes_beyond_the_bound_and_those_apart_reach_it() {
        let mut rng = Stream::new(1, "models").at(0);
        for _ in 0..300 {
            assert!(divergence_excess(&mut rng, false).iter().all(|x| *x <= 1e-10));
            assert!(divergence_excess(&mut rng, true).iter().all(|x| x.abs() < 1e-10));
        }
    }

    /// Truth and propensity are what a large sample says; the naive mean is not the truth.
    #[test]
    fn the_truth_is_that_of_the_intervention() {
        let world = Synthetic::default();
        let x = [0.5, -1.0, 0.3, 1.2, -0.7];
        let mut rng = Stream::new(3, "check").at(0);
        let (mut done, mut treated, mut seen, mut count) = (0.0, 0.0, 0.0, 0.0);
        let n = 200_000;
        for _ in 0..n {
            let u = rng.normal();
            let p = world.propensity(&x, u);
            let y = Synthetic::base(&x) + Synthetic::effect(&x, p) + 0.7 * u;
            done += y / f64::from(n);
            treated += p / f64::from(n);
            seen += p * y;
            count += p;
        }
        assert!((done - world.truth(&x)).abs() < 0.006, "{done} {}", world.truth(&x));
        assert!((treated - world.marginal_propensity(&x)).abs() < 0.003);
        assert!(seen / count > done + 0.05, "those treated have larger u");
    }

    #[test]
    fn rows_carry_the_propensity_without_the_confounder() {
        let world = Synthetic::default();
        let rows = world.draw(3000, Stream::new(4, "rows"));
        for i in 0..20 {
            assert!((rows.e[i] - world.marginal_propensity(rows.x.row(i))).abs() < 1e-12);
        }
        let share = rows.arm.iter().sum::<usize>() as f64 / 3000.0;
        let mean = rows.e.iter().sum::<f64>() / 3000.0;
        assert!((share - mean).abs() < 0.03);
    }
}
