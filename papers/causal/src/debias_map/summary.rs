//! From trials to figures: statistics pooled over all trials of all maps, with bootstrap draws that resample maps and, within
//! each, trials.

use ream_rand::Stream;

use super::trials::Trial;

/// Bootstrap draws of every pooled statistic.
pub const DRAWS: u64 = 400;

/// An estimate beside the truth, for each map and trial: `[maps][trials]`.
pub type Pairs = Vec<Vec<(f64, f64)>>;

/// Truths and estimates of an arm.
#[must_use]
pub fn pairs(maps: &[&[Trial]], arm: &str) -> Pairs {
    let of = |trial: &Trial| trial.estimates.get(arm).map(|value| (trial.truth, *value));
    maps.iter().map(|trials| trials.iter().filter_map(of).collect()).collect()
}

/// Slope of estimates on truths, least squares with an intercept.
#[must_use]
pub fn slope(pairs: &[(f64, f64)]) -> f64 {
    let n = pairs.len() as f64;
    let (x, y) = pairs.iter().fold((0.0, 0.0), |(x, y), (a, b)| (x + a / n, y + b / n));
    let (mut above, mut below) = (0.0, 0.0);
    for (a, b) in pairs {
        above += (a - x) * (b - y);
        below += (a - x) * (a - x);
    }
    above / below
}

/// Root mean square of estimate less truth.
#[must_use]
pub fn rmse(pairs: &[(f64, f64)]) -> f64 {
    (pairs.iter().map(|(t, e)| (e - t) * (e - t)).sum::<f64>() / pairs.len() as f64).sqrt()
}

/// Mean of the distance between estimate and truth.
#[must_use]
pub fn mean_error(pairs: &[(f64, f64)]) -> f64 {
    pairs.iter().map(|(t, e)| (e - t).abs()).sum::<f64>() / pairs.len() as f64
}

/// A statistic of items pooled over maps, with draws: maps are resampled, then items within each map.
#[must_use]
pub fn pooled<T: Copy>(maps: &[Vec<T>], stream: Stream, statistic: impl Fn(&[T]) -> f64) -> (f64, Vec<f64>) {
    let all: Vec<T> = maps.iter().flatten().copied().collect();
    let draw = |r: u64| {
        let mut rng = stream.at(r);
        let mut drawn: Vec<T> = Vec::with_capacity(all.len());
        for m in rng.resample(maps.len()) {
            let items = &maps[m];
            drawn.extend(rng.resample(items.len()).into_iter().map(|i| items[i]));
        }
        statistic(&drawn)
    };
    (statistic(&all), (0..DRAWS).map(draw).collect())
}

/// Two arms on the same trials, `(truth, first, second)`: their draws resample both together.
#[must_use]
pub fn triples(maps: &[&[Trial]], first: &str, second: &str) -> Vec<Vec<(f64, f64, f64)>> {
    let of = |trial: &Trial| Some((trial.truth, *trial.estimates.get(first)?, *trial.estimates.get(second)?));
    maps.iter().map(|trials| trials.iter().filter_map(of).collect()).collect()
}

/// Root mean square error of the first arm over that of the second.
#[must_use]
pub fn error_ratio(triples: &[(f64, f64, f64)]) -> f64 {
    let squares = triples.iter().fold((0.0, 0.0), |(a, b), (t, first, second)| {
        (a + (first - t) * (first - t), b + (second - t) * (second - t))
    });
    (squares.0 / squares.1).sqrt()
}

/// Whether intervals hold the truth, and how wide they are, for each map and trial that `keep`s.
#[must_use]
pub fn coverage(maps: &[&[Trial]], arm: &str, keep: impl Fn(&Trial) -> bool) -> Vec<Vec<(f64, f64)>> {
    let of = |trial: &Trial| {
        let [low, high] = *trial.intervals.get(arm)?;
        let covered = f64::from(u8::from(trial.covered(arm)?));
        keep(trial).then_some((covered, high - low))
    };
    maps.iter().map(|trials| trials.iter().filter_map(of).collect()).collect()
}

/// Labels at which an error that falls as a power of their number reaches `wanted`: log error is a straight line in log labels
/// through the two points around it, beyond the ends through the two nearest. `None` for fewer than two points, or where the line
/// does not fall.
#[must_use]
pub fn break_even(errors: &[(usize, f64)], wanted: f64) -> Option<f64> {
    let logs: Vec<(f64, f64)> = errors.iter().map(|(n, e)| (libm::log(*n as f64), libm::log(*e))).collect();
    let target = libm::log(wanted);
    let pair = logs.windows(2).find(|pair| pair[1].1 <= target).or_else(|| logs.windows(2).last())?;
    let fall = (pair[1].1 - pair[0].1) / (pair[1].0 - pair[0].0);
    (fall < 0.0).then(|| libm::exp(pair[0].0 + (target - pair[0].1) / fall))
}
