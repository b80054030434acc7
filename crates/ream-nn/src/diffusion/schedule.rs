//! How much noise at which time.

use core::f64::consts::FRAC_PI_2;

use crate::error::{Result, config};

/// `abar_t`: the share of signal variance that is left after step `t` of `0..T`, falling towards 0.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseSchedule {
    alpha_bars: Vec<f64>,
}

impl NoiseSchedule {
    /// `beta_t` from `first` to `last` in equal steps (Ho et al., 2020, arXiv 2006.11239, with 1e-4 and 0.02 for T = 1000).
    ///
    /// # Errors
    /// Naming the key, its range, and what was got.
    pub fn linear(steps: usize, first: f64, last: f64) -> Result<Self> {
        for (key, beta) in [("first", first), ("last", last)] {
            if !(beta > 0.0 && beta < 1.0) {
                return config(key, "in (0, 1)", beta);
            }
        }
        let width = steps.saturating_sub(1).max(1) as f64;
        let betas: Vec<f64> = (0..steps).map(|t| first + (last - first) * t as f64 / width).collect();
        Self::from_betas(&betas)
    }

    /// `abar_t = f(t + 1) / f(0)`, `f(t) = cos^2((t / T + 0.008) / 1.008 pi / 2)`, with `beta_t` at most 0.999 (Nichol & Dhariwal, 2021,
    /// arXiv 2102.09672).
    ///
    /// # Errors
    /// When there are no steps.
    pub fn cosine(steps: usize) -> Result<Self> {
        let f = |t: usize| {
            let c = libm::cos((t as f64 / steps as f64 + 0.008) / 1.008 * FRAC_PI_2);
            c * c
        };
        let betas: Vec<f64> = (0..steps).map(|t| (1.0 - f(t + 1) / f(t)).min(0.999)).collect();
        Self::from_betas(&betas)
    }

    /// `abar_t = prod_{s <= t} (1 - beta_s)`.
    ///
    /// # Errors
    /// When there are no steps, or a beta is not in (0, 1).
    pub fn from_betas(betas: &[f64]) -> Result<Self> {
        if betas.is_empty() {
            return config("steps", "1 or more", 0);
        }
        if let Some(bad) = betas.iter().find(|b| !(**b > 0.0 && **b < 1.0)) {
            return config("beta", "in (0, 1)", bad);
        }
        let mut product = 1.0;
        let alpha_bars = betas.iter().map(|b| {
            product *= 1.0 - b;
            product
        });
        Ok(Self { alpha_bars: alpha_bars.collect() })
    }

    /// Number T of steps.
    #[must_use]
    pub fn steps(&self) -> usize {
        self.alpha_bars.len()
    }

    /// `abar` after step `t`; 1 before the first (`None`).
    ///
    /// # Errors
    /// When there is no such step.
    pub fn alpha_bar(&self, t: Option<usize>) -> Result<f64> {
        match t.map(|t| (t, self.alpha_bars.get(t))) {
            None => Ok(1.0),
            Some((_, Some(a))) => Ok(*a),
            Some((t, None)) => config("t", format!("0..{}", self.steps()), t),
        }
    }

    /// `beta_t = 1 - abar_t / abar_{t-1}`.
    ///
    /// # Errors
    /// When there is no such step.
    pub fn beta(&self, t: usize) -> Result<f64> {
        Ok(1.0 - self.alpha_bar(Some(t))? / self.alpha_bar(t.checked_sub(1))?)
    }
}

/// Noise levels of a sampler, from `max` down to `min` and then 0: `n + 1` numbers,
/// `(max^{1/rho} + i / (n - 1) (min^{1/rho} - max^{1/rho}))^rho` (Karras et al., 2022, arXiv 2206.00364, equation 5; rho = 7 there).
///
/// # Errors
/// Naming the key, its range, and what was got.
pub fn karras_sigmas(n: usize, min: f64, max: f64, rho: f64) -> Result<Vec<f64>> {
    if n == 0 {
        return config("n", "1 or more", n);
    }
    if !(min > 0.0 && min.is_finite()) {
        return config("min", "finite and larger than 0", min);
    }
    if !(max > min && max.is_finite()) {
        return config("max", format!("finite and larger than min = {min}"), max);
    }
    if !(rho > 0.0 && rho.is_finite()) {
        return config("rho", "finite and larger than 0", rho);
    }
    let (high, low) = (libm::pow(max, 1.0 / rho), libm::pow(min, 1.0 / rho));
    let width = (n - 1).max(1) as f64;
    let level = |i: usize| libm::pow(high + i as f64 / width * (low - high), rho);
    Ok((0..n).map(level).chain([0.0]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        let linear = NoiseSchedule::linear(1000, 1e-4, 0.02).unwrap();
        assert!(
            (linear.beta(0).unwrap() - 1e-4).abs() < 1e-12
                && (linear.beta(999).unwrap() - 0.02).abs() < 1e-12
        );
        // ln prod (1 - beta) = -10.12 to four digits (Ho et al. state a prior KL of order 1e-5 bits from it).
        let left = linear.alpha_bar(Some(999)).unwrap();
        assert!((left - 4.036e-5).abs() < 1e-7, "{left}");
        let cosine = NoiseSchedule::cosine(1000).unwrap();
        // Half-way: cos^2((0.5 + 0.008) / 1.008 pi / 2) / cos^2(0.008 / 1.008 pi / 2).
        let middle = cosine.alpha_bar(Some(499)).unwrap();
        let f = |t: f64| libm::pow(libm::cos((t + 0.008) / 1.008 * FRAC_PI_2), 2.0);
        assert!((middle - f(0.5) / f(0.0)).abs() < 1e-12);
        assert!((cosine.beta(999).unwrap() - 0.999).abs() < 1e-12);
        for s in [&linear, &cosine] {
            let all: Vec<f64> = (0..1000).map(|t| s.alpha_bar(Some(t)).unwrap()).collect();
            assert!(all.windows(2).all(|w| w[1] < w[0]) && all[0] < 1.0 && all[999] > 0.0);
        }
        assert_eq!(linear.alpha_bar(None).unwrap(), 1.0);
        let sigmas = karras_sigmas(18, 0.002, 80.0, 7.0).unwrap();
        assert_eq!((sigmas.len(), sigmas[18]), (19, 0.0));
        assert!((sigmas[0] - 80.0).abs() < 1e-9 && (sigmas[17] - 0.002).abs() < 1e-12);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let says = |error: crate::NnError, text: &str| assert!(error.to_string().contains(text), "{error}");
        says(NoiseSchedule::linear(0, 0.1, 0.2).unwrap_err(), "steps must be 1 or more, got 0");
        says(NoiseSchedule::cosine(0).unwrap_err(), "steps must be 1 or more, got 0");
        says(NoiseSchedule::linear(5, 0.0, 0.2).unwrap_err(), "first must be in (0, 1), got 0");
        says(NoiseSchedule::cosine(10).unwrap().alpha_bar(Some(10)).unwrap_err(), "t must be 0..10, got 10");
        says(
            karras_sigmas(5, 1.0, 0.5, 7.0).unwrap_err(),
            "max must be finite and larger than min = 1, got 0.5",
        );
    }
}
