//! Whether a series of generations swings more than estimation noise does.

use serde::{Deserialize, Serialize};

/// A series of greedy values next to that of a control, whose models see fresh uniform data of the same size
/// in every generation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Oscillation {
    /// Standard deviation of the series over that of the control.
    pub amplitude: f64,
    /// Turns after which the series goes back by more than two standard deviations of the control.
    pub reversals: f64,
    /// Share of differences whose sign is not that of the one before. Independent noise gives 2/3.
    pub flip_rate: f64,
    /// Autocorrelation of the differences at lag 1. Independent noise gives -1/2.
    pub lag_one: f64,
}

/// Sample standard deviation; 0 for fewer than two values.
#[must_use]
pub fn deviation(values: &[f64]) -> f64 {
    let n = values.len() as f64;
    if n < 2.0 {
        return 0.0;
    }
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / (n - 1.0)).sqrt()
}

/// Turning points of a series that are followed by a move of more than `threshold` the other way.
///
/// The first move of that size gives a direction; every later one against the direction, counted from the
/// furthest point since, is a reversal.
#[must_use]
pub fn reversals(values: &[f64], threshold: f64) -> usize {
    let Some(&first) = values.first() else { return 0 };
    let (mut high, mut low, mut up) = (first, first, None);
    let mut count = 0;
    for &v in values {
        high = high.max(v);
        low = low.min(v);
        match up {
            None if v - low > threshold => (up, high) = (Some(true), v),
            None if high - v > threshold => (up, low) = (Some(false), v),
            Some(true) if high - v > threshold => (up, low, count) = (Some(false), v, count + 1),
            Some(false) if v - low > threshold => (up, high, count) = (Some(true), v, count + 1),
            _ => {}
        }
    }
    count
}

fn differences(values: &[f64]) -> Vec<f64> {
    values.windows(2).map(|w| w[1] - w[0]).collect()
}

/// Share of differences whose sign differs from the one before; 0 without two differences.
#[must_use]
pub fn flip_rate(values: &[f64]) -> f64 {
    let steps = differences(values);
    let pairs = steps.len().saturating_sub(1);
    steps.windows(2).filter(|w| w[0] * w[1] < 0.0).count() as f64 / pairs.max(1) as f64
}

/// Autocorrelation of the differences at lag 1; 0 where they do not vary.
#[must_use]
pub fn lag_one(values: &[f64]) -> f64 {
    let steps = differences(values);
    let mean = steps.iter().sum::<f64>() / steps.len().max(1) as f64;
    let all: f64 = steps.iter().map(|d| (d - mean) * (d - mean)).sum();
    let lagged: f64 = steps.windows(2).map(|w| (w[0] - mean) * (w[1] - mean)).sum();
    if all > 0.0 { lagged / all } else { 0.0 }
}

impl Oscillation {
    /// Of a series beside its control, both from the second generation on; `None` where the control does not vary.
    #[must_use]
    pub fn of(series: &[f64], control: &[f64]) -> Option<Self> {
        let floor = deviation(control);
        (floor > 0.0).then(|| Self {
            amplitude: deviation(series) / floor,
            reversals: reversals(series, 2.0 * floor) as f64,
            flip_rate: flip_rate(series),
            lag_one: lag_one(series),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    #[test]
    fn reversals_are_turns_that_are_followed_through() {
        assert_eq!(reversals(&[0.0, 3.0, 0.0, 3.0, 0.0], 2.0), 3);
        assert_eq!(reversals(&[0.0, 3.0, 2.0, 4.0, 3.0], 2.0), 0, "small steps back are none");
        assert_eq!(reversals(&[0.0, 3.0, 2.0, 0.9, 2.0, 3.0], 2.0), 2, "a way back may take several steps");
        assert_eq!(reversals(&[0.0, -3.0, 0.0], 2.0), 1);
        assert_eq!(reversals(&[0.0, 1.0, 2.0, 3.0, 4.0], 0.5), 0);
        assert_eq!(reversals(&[], 1.0), 0);
    }

    #[test]
    fn independent_noise_flips_two_thirds_of_the_time_and_proves_nothing() {
        let mut rng = Stream::new(1, "noise").at(0);
        let noise: Vec<f64> = (0..40_000).map(|_| rng.normal()).collect();
        assert!((flip_rate(&noise) - 2.0 / 3.0).abs() < 0.01);
        assert!((lag_one(&noise) + 0.5).abs() < 0.01);
        let other: Vec<f64> = (0..40_000).map(|_| rng.normal()).collect();
        let of = Oscillation::of(&noise, &other).unwrap();
        assert!((of.amplitude - 1.0).abs() < 0.02);
        // A swing of period four is not noise by the flips alone: they are fewer.
        let swing: Vec<f64> = (0..400).map(|i| [0.0, 1.0, 2.0, 1.0][i % 4]).collect();
        assert!((flip_rate(&swing) - 0.5).abs() < 0.01 && lag_one(&swing).abs() < 0.01);
        assert!(Oscillation::of(&noise, &[1.0; 5]).is_none());
    }
}
