//! Other ways to read a win rate out of judged pairs.

use ream_stats::descriptive;

use super::annotations::Pairs;

/// Mean preference with draws as half, percent, and its standard error.
#[must_use]
pub fn raw(pairs: &Pairs) -> (f64, f64) {
    let n = pairs.preference.len() as f64;
    let mean = descriptive::mean(&pairs.preference).unwrap_or(f64::NAN);
    let sd = descriptive::standard_deviation(&pairs.preference).unwrap_or(f64::NAN);
    (100.0 * mean, 100.0 * sd / n.sqrt())
}

/// Raw rate times `2 sigma((mean len_b - mean len_m) / 500)`.
#[must_use]
pub fn length_normalised(pairs: &Pairs) -> f64 {
    let shorter = descriptive::mean(&pairs.delta).unwrap_or(0.0);
    raw(pairs).0 * 2.0 * ream_stats::glm::sigmoid(shorter / 500.0)
}

/// Average of the mean preference among answers that are longer than the baseline's and among those that are shorter;
/// the raw rate where one kind is absent.
#[must_use]
pub fn length_balanced(pairs: &Pairs) -> f64 {
    let mean = |longer: bool| {
        let chosen: Vec<f64> = pairs
            .preference
            .iter()
            .zip(&pairs.delta)
            .filter(|(_, d)| (**d < 0.0) == longer && **d != 0.0)
            .map(|(y, _)| *y)
            .collect();
        descriptive::mean(&chosen).ok()
    };
    match (mean(true), mean(false)) {
        (Some(longer), Some(shorter)) => 50.0 * (longer + shorter),
        _ => raw(pairs).0,
    }
}
