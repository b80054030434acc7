//! Bandit core: what the bandits of this family share.
//!
//! Arms with running means ([`ArmMeans`]), Hoeffding radii ([`radius`]), and the choices built on them: upper
//! confidence bounds (Auer, Cesa-Bianchi & Fischer, 2002), epsilon-greedy, Thompson sampling with a normal posterior
//! (Thompson, 1933), and the projected dual step of primal-dual bandits with constraints.

use ream_rand::Rng;

/// How long observations count.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Memory {
    /// For ever.
    All,
    /// For this many updates.
    Window(usize),
    /// Each update multiplies the weight of all earlier ones by this factor, in `(0, 1)`.
    Discount(f64),
}

/// Count and sum of one observed quantity for each arm. Under a discount both are weighted.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmMeans {
    counts: Vec<f64>,
    sums: Vec<f64>,
}

impl ArmMeans {
    /// No observations of `arms` arms.
    #[must_use]
    pub fn new(arms: usize) -> Self {
        Self { counts: vec![0.0; arms], sums: vec![0.0; arms] }
    }

    /// Adds an observation of an arm.
    pub fn add(&mut self, arm: usize, value: f64) {
        self.counts[arm] += 1.0;
        self.sums[arm] += value;
    }

    /// Takes an earlier observation back.
    pub fn remove(&mut self, arm: usize, value: f64) {
        self.counts[arm] -= 1.0;
        // The last one out leaves no rounding behind.
        self.sums[arm] = if self.counts[arm] == 0.0 { 0.0 } else { self.sums[arm] - value };
    }

    /// Multiplies the weight of everything seen so far.
    pub fn discount(&mut self, factor: f64) {
        for (count, sum) in self.counts.iter_mut().zip(&mut self.sums) {
            *count *= factor;
            *sum *= factor;
        }
    }

    /// Weight of the observations of an arm: their number, unless discounted.
    #[must_use]
    pub fn count(&self, arm: usize) -> f64 {
        self.counts[arm]
    }

    /// Mean of an arm; `None` when it was never observed.
    #[must_use]
    pub fn mean(&self, arm: usize) -> Option<f64> {
        (self.counts[arm] > 0.0).then(|| self.sums[arm] / self.counts[arm])
    }

    /// Count and mean over all arms weighted by a kernel around `arm` that falls linearly to 0 at `bandwidth` arms.
    /// With a bandwidth of at most 1 that is the arm alone.
    #[must_use]
    pub fn smoothed(&self, arm: usize, bandwidth: f64) -> (f64, f64) {
        if bandwidth <= 1.0 {
            return (self.counts[arm], self.mean(arm).unwrap_or(0.0));
        }
        let reach = bandwidth as usize;
        let (mut count, mut sum) = (0.0, 0.0);
        for other in arm.saturating_sub(reach)..(arm + reach + 1).min(self.counts.len()) {
            let weight = (1.0 - arm.abs_diff(other) as f64 / bandwidth).max(0.0);
            count += weight * self.counts[other];
            sum += weight * self.sums[other];
        }
        (count, if count > 0.0 { sum / count } else { 0.0 })
    }
}

/// A mean with the half-width of its confidence interval; infinite for an arm that was never tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// The estimate.
    pub mean: f64,
    /// Half the width.
    pub radius: f64,
}

impl Interval {
    /// What is known of an arm that was never tried.
    pub const UNTRIED: Self = Self { mean: 0.0, radius: f64::INFINITY };

    /// Lower end.
    #[must_use]
    pub fn low(self) -> f64 {
        self.mean - self.radius
    }

    /// Upper end.
    #[must_use]
    pub fn high(self) -> f64 {
        self.mean + self.radius
    }

    /// Whether a value lies inside.
    #[must_use]
    pub fn covers(self, value: f64) -> bool {
        (value - self.mean).abs() <= self.radius
    }

    /// The smallest interval that holds both.
    #[must_use]
    pub fn hull(self, other: Self) -> Self {
        let (low, high) = (self.low().min(other.low()), self.high().max(other.high()));
        if high - low == f64::INFINITY {
            return Self::UNTRIED;
        }
        Self { mean: f64::midpoint(low, high), radius: (high - low) / 2.0 }
    }
}

/// `log(2 K T^2 / delta)`: a union bound over `K` arms, two sides and all counts up to `T`.
#[must_use]
pub fn union_log(arms: usize, rounds: u64, delta: f64) -> f64 {
    let rounds = rounds as f64;
    libm::log(2.0 * arms as f64 * rounds * rounds / delta)
}

/// Hoeffding's radius `scale sqrt(log / (2 n))`; infinite at `n = 0`. `scale` is the range of one observation, or what
/// stands for it.
#[must_use]
pub fn radius(scale: f64, log: f64, count: f64) -> f64 {
    if count > 0.0 { scale * (log / (2.0 * count)).sqrt() } else { f64::INFINITY }
}

/// Standard deviation of the noise in a curve that was observed once at each of evenly spaced points: second
/// differences take out any straight line (Gasser, Sroka & Jennen-Steinmetz, 1986). A point that is missing takes its
/// differences with it; `None` when none is left.
#[must_use]
pub fn noise_deviation(curve: &[Option<f64>]) -> Option<f64> {
    let squares: Vec<f64> =
        curve.windows(3).filter_map(|w| Some((w[0]? - 2.0 * w[1]? + w[2]?).powi(2))).collect();
    if squares.is_empty() {
        return None;
    }
    Some((squares.iter().sum::<f64>() / (6.0 * squares.len() as f64)).sqrt())
}

/// The arm with the largest score; among equals the first. `None` for no arms.
pub fn best(scores: impl IntoIterator<Item = (usize, f64)>) -> Option<usize> {
    let mut best: Option<(usize, f64)> = None;
    for (arm, score) in scores {
        if best.is_none_or(|(_, top)| score > top) {
            best = Some((arm, score));
        }
    }
    best.map(|(arm, _)| arm)
}

/// The arm with the smallest cost; among equals the one with the larger score, then the first. `None` for no arms.
pub fn cheapest(arms: impl IntoIterator<Item = (usize, f64, f64)>) -> Option<usize> {
    let mut best: Option<(usize, f64, f64)> = None;
    for (arm, cost, score) in arms {
        if best.is_none_or(|(_, least, top)| cost < least || (cost == least && score > top)) {
            best = Some((arm, cost, score));
        }
    }
    best.map(|(arm, _, _)| arm)
}

/// With probability `explore` any of the arms, else the one of the largest score.
pub fn epsilon_greedy(scores: &[f64], explore: f64, rng: &mut Rng) -> usize {
    // Both numbers are drawn every time, so that a changed `explore` changes no other draw.
    let (explores, any) = (rng.chance(explore), rng.below(scores.len()));
    if explores { any } else { best(scores.iter().copied().enumerate()).unwrap_or(any) }
}

/// A draw from the normal posterior of an arm's mean under a flat prior and noise of the given standard deviation;
/// infinite for an arm that was never tried.
pub fn thompson(mean: f64, deviation: f64, count: f64, rng: &mut Rng) -> f64 {
    let z = rng.normal();
    if count > 0.0 { mean + z * deviation / count.sqrt() } else { f64::INFINITY }
}

/// `[multiplier + step * residual]_+`.
#[must_use]
pub fn dual_step(multiplier: f64, step: f64, residual: f64) -> f64 {
    (multiplier + step * residual).max(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    #[test]
    fn means_follow_what_is_added_and_taken_back() {
        let mut means = ArmMeans::new(3);
        assert_eq!(means.mean(1), None);
        means.add(1, 2.0);
        means.add(1, 4.0);
        assert_eq!(means.mean(1), Some(3.0));
        means.remove(1, 2.0);
        assert_eq!((means.mean(1), means.count(1)), (Some(4.0), 1.0));
        means.remove(1, 4.0);
        assert_eq!(means.mean(1), None);
        means.add(0, 1.0);
        means.discount(0.5);
        means.add(0, 4.0);
        assert_eq!((means.count(0), means.mean(0)), (1.5, Some(3.0)));
    }

    #[test]
    fn smoothing_weighs_neighbours_and_is_off_at_bandwidth_one() {
        let mut means = ArmMeans::new(5);
        for (arm, value) in [(1, 0.0), (2, 1.0), (3, 4.0)] {
            means.add(arm, value);
        }
        assert_eq!(means.smoothed(2, 1.0), (1.0, 1.0));
        let (count, mean) = means.smoothed(2, 2.0);
        assert_eq!((count, mean), (2.0, 1.5));
        assert_eq!(means.smoothed(0, 1.0).0, 0.0);
    }

    #[test]
    fn radius_is_hoeffdings_and_infinite_without_observations() {
        let log = union_log(41, 5000, 0.05);
        assert!((log - libm::log(2.0 * 41.0 * 25e6 / 0.05)).abs() < 1e-12);
        assert_eq!(radius(1.0, log, 0.0), f64::INFINITY);
        assert!((radius(2.0, log, 8.0) - 2.0 * (log / 16.0).sqrt()).abs() < 1e-15);
        assert_eq!(Interval::UNTRIED.low(), f64::NEG_INFINITY);
    }

    #[test]
    fn hull_holds_both_ends() {
        let hull = Interval { mean: 0.0, radius: 0.1 }.hull(Interval { mean: 1.0, radius: 0.3 });
        assert!((hull.low() + 0.1).abs() < 1e-12 && (hull.high() - 1.3).abs() < 1e-12);
        assert_eq!(hull.hull(Interval::UNTRIED), Interval::UNTRIED);
    }

    #[test]
    fn noise_is_told_from_a_slope() {
        let line: Vec<Option<f64>> = (0..41).map(|i| Some(0.3 * f64::from(i))).collect();
        assert!(noise_deviation(&line).unwrap() < 1e-12);
        let mut rng = Stream::new(1, "noise").at(0);
        let noisy: Vec<Option<f64>> =
            (0..20_000).map(|i| Some(0.01 * f64::from(i) + 0.2 * rng.normal())).collect();
        assert!((noise_deviation(&noisy).unwrap() / 0.2 - 1.0).abs() < 0.02);
        assert_eq!(noise_deviation(&[Some(1.0), None, Some(2.0), Some(3.0)]), None);
    }

    #[test]
    fn ties_go_to_the_rule() {
        assert_eq!(best([(0, 1.0), (1, f64::INFINITY), (2, f64::INFINITY)]), Some(1));
        assert_eq!(cheapest([(0, 0.2, 9.0), (1, 0.1, 1.0), (2, 0.1, 2.0), (3, 0.1, 2.0)]), Some(2));
        assert_eq!(best(Vec::new()), None);
    }

    #[test]
    fn epsilon_greedy_explores_at_its_rate() {
        let stream = Stream::new(1, "greedy");
        let scores = [0.0, 1.0, 0.5, 0.2];
        let picks = (0..20_000).filter(|&t| epsilon_greedy(&scores, 0.2, &mut stream.at(t)) != 1).count();
        // A fifth of the rounds explores, three quarters of those leave the best arm.
        assert!((picks as f64 / 20_000.0 - 0.15).abs() < 0.01);
    }

    #[test]
    fn multipliers_stay_non_negative() {
        assert_eq!(dual_step(0.01, 0.05, -1.0), 0.0);
        assert!((dual_step(0.2, 0.05, 0.4) - 0.22).abs() < 1e-15);
    }

    #[test]
    fn thompson_draws_have_the_posterior_law() {
        let stream = Stream::new(4, "thompson");
        let draws: Vec<f64> = (0..20_000).map(|t| thompson(0.5, 2.0, 16.0, &mut stream.at(t))).collect();
        let mean = draws.iter().sum::<f64>() / 20_000.0;
        let variance = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / 19_999.0;
        assert!((mean - 0.5).abs() < 0.02 && (variance / 0.25 - 1.0).abs() < 0.05);
        assert_eq!(thompson(0.0, 1.0, 0.0, &mut stream.at(0)), f64::INFINITY);
    }
}
