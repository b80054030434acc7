//! Flow matching on the straight path (Lipman et al., 2022, arXiv 2210.02747; rectified flow, Liu et al., 2022, arXiv 2209.03003).
//!
//! `x_t = (1 - t) x_0 + t e`: data at t = 0, noise at t = 1. The model predicts the velocity `v = e - x_0` by least squares; samples follow
//! `dx / dt = v(x, t)` from 1 down to 0. Times of training are uniform or logit-normal (Esser et al., 2024, arXiv 2403.03206).

use ream_rand::Rng;

use super::{asked, mix, same_shape, times};
use crate::autograd::no_grad;
use crate::error::{Result, config};
use crate::tensor::Tensor;

/// The law of the times of training.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum TimeLaw {
    /// Uniform on `[0, 1)`.
    Uniform,
    /// `sigma(m + s n)`, n standard normal.
    LogitNormal {
        /// m; 0 is symmetric, larger values prefer noise.
        mean: f64,
        /// s.
        deviation: f64,
    },
}

impl TimeLaw {
    /// One time for each sample.
    ///
    /// # Errors
    /// When mean or deviation are not finite, or the deviation is negative.
    pub fn draw(&self, batch: usize, rng: &mut Rng) -> Result<Vec<f32>> {
        match *self {
            Self::Uniform => Ok((0..batch).map(|_| rng.uniform_f32()).collect()),
            Self::LogitNormal { mean, deviation } => {
                if !mean.is_finite() {
                    return config("mean", "finite", mean);
                }
                if !(deviation >= 0.0 && deviation.is_finite()) {
                    return config("deviation", "finite and 0 or larger", deviation);
                }
                let one = |z: f64| (1.0 / (1.0 + libm::exp(-(mean + deviation * z)))) as f32;
                Ok((0..batch).map(|_| one(rng.normal())).collect())
            }
        }
    }
}

/// How the flow is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Solver {
    /// One call of the model a step; error of first order.
    Euler,
    /// Two calls a step; error of second order.
    Midpoint,
}

/// `x_t` of data `[batch, ..]`, noise of the same shape, and one time in `[0, 1]` for each sample.
///
/// # Errors
/// When shapes differ or a time lies outside.
pub fn path(x0: &Tensor, noise: &Tensor, t: &[f32]) -> Result<Tensor> {
    if let Some(bad) = t.iter().find(|t| !(0.0..=1.0).contains(*t)) {
        return config("t", "in [0, 1]", bad);
    }
    let weights: Vec<_> = t.iter().map(|t| (1.0 - f64::from(*t), f64::from(*t))).collect();
    mix("flow::path", x0, noise, &weights)
}

/// What the model should give: `e - x_0`, whatever the time.
///
/// # Errors
/// When shapes differ.
pub fn velocity(x0: &Tensor, noise: &Tensor) -> Result<Tensor> {
    same_shape("flow::velocity", x0, noise)?;
    noise.sub(x0)
}

/// The clean data that a velocity means: `x_t - t v`.
///
/// # Errors
/// When shapes differ.
pub fn to_x0(x: &Tensor, velocity: &Tensor, t: &[f32]) -> Result<Tensor> {
    mix("flow::to_x0", x, velocity, &t.iter().map(|t| (1.0, -f64::from(*t))).collect::<Vec<_>>())
}

/// `n + 1` times from 1 to 0: evenly spaced u become `shift u / (1 + (shift - 1) u)` (Esser et al., 2024); 1 leaves them evenly spaced,
/// larger shifts spend more steps near noise.
///
/// # Errors
/// Naming the key, its range, and what was got.
pub fn time_grid(n: usize, shift: f64) -> Result<Vec<f64>> {
    if n == 0 {
        return config("n", "1 or more", n);
    }
    if !(shift > 0.0 && shift.is_finite()) {
        return config("shift", "finite and larger than 0", shift);
    }
    let time = |i: usize| {
        let u = 1.0 - i as f64 / n as f64;
        shift * u / (1.0 + (shift - 1.0) * u)
    };
    Ok((0..=n).map(time).collect())
}

/// Follows the flow from `x` (standard normal) along falling times (see [`time_grid`]). No random number is drawn.
///
/// # Errors
/// Those of the model; fewer than two times, times that do not fall, or lie outside `[0, 1]`.
pub fn sample(
    x: &Tensor,
    grid: &[f64],
    solver: Solver,
    mut model: impl FnMut(&Tensor, &[f32]) -> Result<Tensor>,
) -> Result<Tensor> {
    let inside = grid.iter().all(|t| (0.0..=1.0).contains(t));
    if grid.len() < 2 || !inside || !grid.windows(2).all(|w| w[0] > w[1]) {
        return config("grid", "two or more falling times in [0, 1]", format!("{grid:?}"));
    }
    let mut slope = |x: &Tensor, t: f64| asked("flow::sample", &mut model, x, &times(x, t));
    no_grad(|| {
        grid.windows(2).try_fold(x.clone(), |x, pair| {
            let (from, width) = (pair[0], pair[1] - pair[0]);
            let first = slope(&x, from)?;
            let used = match solver {
                Solver::Euler => first,
                Solver::Midpoint => {
                    slope(&x.add(&first.mul_scalar((0.5 * width) as f32))?, from + 0.5 * width)?
                }
            };
            x.add(&used.mul_scalar(width as f32))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{assert_moments, rng};
    use super::*;

    /// The exact velocity for data `N(mean, variance)`: with `s = (1-t)^2 variance + t^2`,
    /// `E[e - x_0 | x_t] = -mean + (t - (1-t) variance) / s (x_t - (1-t) mean)`.
    fn exact(mean: f64, variance: f64) -> impl FnMut(&Tensor, &[f32]) -> Result<Tensor> {
        move |x, t| {
            let t = f64::from(t[0]);
            let gain = (t - (1.0 - t) * variance) / ((1.0 - t).powi(2) * variance + t * t);
            Ok(x.affine(gain as f32, (-mean - gain * (1.0 - t) * mean) as f32))
        }
    }

    #[test]
    fn path_velocity_and_clean_data_agree() {
        let (x0, noise) =
            (Tensor::randn(&[3, 4], 1.0, &mut rng(1)), Tensor::randn(&[3, 4], 1.0, &mut rng(2)));
        let t = [0.0, 0.3, 1.0];
        let x = path(&x0, &noise, &t).unwrap();
        let back = to_x0(&x, &velocity(&x0, &noise).unwrap(), &t).unwrap();
        assert!(back.data().iter().zip(x0.data()).all(|(a, b)| (a - b).abs() < 1e-5));
        assert_eq!((&x.data()[..4], &x.data()[8..]), (&x0.data()[..4], &noise.data()[8..]));
        crate::check_gradients(&[x0, noise], &[], 0.01, |x| path(&x[0], &x[1], &t)).unwrap();
    }

    #[test]
    fn the_exact_velocity_of_normal_data_gives_their_moments() {
        let start = Tensor::randn(&[100, 200], 1.0, &mut rng(3));
        for (mean, variance) in [(0.0, 1.0), (1.5, 0.3), (-1.0, 2.5)] {
            let grid = time_grid(200, 1.0).unwrap();
            for (solver, bias) in [(Solver::Euler, 0.02), (Solver::Midpoint, 1e-3)] {
                let x = sample(&start, &grid, solver, exact(mean, variance)).unwrap();
                assert_moments(&format!("{mean} {variance} {solver:?}"), &x, mean, variance, bias * variance);
            }
        }
        // Data that are one point: the velocity is constant along each line, so one Euler step is exact.
        let one = sample(&start, &[1.0, 0.0], Solver::Euler, exact(2.0, 0.0)).unwrap();
        assert!(one.data().iter().all(|x| (x - 2.0).abs() < 1e-5));
    }

    #[test]
    fn orders_of_the_solvers() {
        // The exact flow of normal data takes e to mean + sqrt(variance) e.
        let x = Tensor::full(&[1, 1], 1.0);
        let error = |n: usize, solver: Solver| {
            let got = sample(&x, &time_grid(n, 1.0).unwrap(), solver, exact(1.0, 4.0)).unwrap();
            (f64::from(got.data()[0]) - 3.0).abs()
        };
        // First order halves with the step; second order falls to a quarter or less (symmetry makes it an eighth here).
        let euler = error(8, Solver::Euler) / error(16, Solver::Euler);
        assert!((1.7..2.3).contains(&euler), "{euler}");
        let midpoint = error(8, Solver::Midpoint) / error(16, Solver::Midpoint);
        assert!(midpoint > 3.5, "{midpoint}");
    }

    #[test]
    fn times_have_their_laws() {
        let law = TimeLaw::LogitNormal { mean: 0.4, deviation: 0.7 };
        let logits: Vec<f32> =
            law.draw(20_000, &mut rng(4)).unwrap().iter().map(|t| libm::logf(t / (1.0 - t))).collect();
        assert_moments("logit-normal", &Tensor::from_vec(logits, &[20_000]).unwrap(), 0.4, 0.49, 1e-3);
        let uniform = TimeLaw::Uniform.draw(20_000, &mut rng(5)).unwrap();
        assert_moments("uniform", &Tensor::from_vec(uniform, &[20_000]).unwrap(), 0.5, 1.0 / 12.0, 0.0);
        assert_eq!(time_grid(4, 1.0).unwrap(), [1.0, 0.75, 0.5, 0.25, 0.0]);
        let shifted = time_grid(2, 3.0).unwrap();
        assert!((shifted[1] - 0.75).abs() < 1e-12 && shifted[0] == 1.0 && shifted[2] == 0.0);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let x = Tensor::zeros(&[1, 1]);
        let says = |error: crate::NnError, text: &str| assert!(error.to_string().contains(text), "{error}");
        says(path(&x, &x, &[1.5]).unwrap_err(), "t must be in [0, 1], got 1.5");
        says(path(&x, &Tensor::zeros(&[2, 1]), &[0.5]).unwrap_err(), "[1, 1] and [2, 1]");
        says(
            sample(&x, &[0.0, 1.0], Solver::Euler, |x, _| Ok(x.clone())).unwrap_err(),
            "grid must be two or more falling",
        );
        says(time_grid(0, 1.0).unwrap_err(), "n must be 1 or more, got 0");
        let bad = TimeLaw::LogitNormal { mean: 0.0, deviation: -1.0 };
        says(bad.draw(1, &mut rng(1)).unwrap_err(), "deviation must be finite and 0 or larger, got -1");
    }
}
