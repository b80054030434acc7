//! From the values of several seeds to one figure with an interval.
//!
//! Under ten seeds the interval is Student's t on the seeds' values (which are already paired differences or ratios
//! where a check compares); from ten seeds on it is the BCa bootstrap. A measure that is observed once brings its own
//! spread.

use ream_paper::Seeds;
use ream_stats::bootstrap::{self, Bootstrap};
use ream_stats::{descriptive, distribution, interval};

use crate::observation::Spread;

/// Bootstrap resamples; the random stream is fixed, so an interval is a function of the values alone.
const RESAMPLES: usize = 4000;
/// From this many seeds on, the bootstrap.
const ENOUGH_SEEDS: usize = 10;
/// The power at which an effect counts as detectable.
const POWER: f64 = 0.8;

/// One value for each seed, and the spread of a single observation.
#[derive(Clone, Debug)]
pub(crate) struct Values {
    values: Vec<f64>,
    spread: Option<Spread>,
}

impl Values {
    /// Averages the places of each seed.
    pub(crate) fn of(seeds: impl Iterator<Item = Vec<(f64, Option<Spread>)>>) -> Self {
        let mut values = Vec::new();
        let mut spread = None;
        for places in seeds {
            let n = places.len() as f64;
            values.push(places.iter().map(|(value, _)| value).sum::<f64>() / n);
            spread = average_spread(&places);
        }
        let spread = if values.len() == 1 { spread } else { None };
        Self { values, spread }
    }

    pub(crate) fn values(&self) -> &[f64] {
        &self.values
    }
}

/// The spread of a mean over places: draws are averaged position by position, standard errors as independent.
fn average_spread(places: &[(f64, Option<Spread>)]) -> Option<Spread> {
    if let [(_, only)] = places {
        return only.clone();
    }
    let n = places.len() as f64;
    let draws: Vec<&Vec<f64>> = places
        .iter()
        .filter_map(|(_, s)| if let Some(Spread::Draws(draws)) = s { Some(draws) } else { None })
        .collect();
    if let Some(first) = draws.first()
        && draws.len() == places.len()
        && draws.iter().all(|d| d.len() == first.len())
    {
        return Some(Spread::Draws(
            (0..first.len()).map(|i| draws.iter().map(|d| d[i]).sum::<f64>() / n).collect(),
        ));
    }
    let mut variance = 0.0;
    for (_, spread) in places {
        variance += spread_se(spread.as_ref())?.powi(2);
    }
    Some(Spread::Se(variance.sqrt() / n))
}

/// The standard error that a spread states or implies.
pub(crate) fn spread_se(spread: Option<&Spread>) -> Option<f64> {
    match spread? {
        Spread::Se(se) => Some(*se),
        Spread::Interval([low, high]) => Some((high - low) / (2.0 * z(0.95))),
        Spread::Draws(draws) => descriptive::standard_deviation(draws).ok(),
    }
}

/// Two-sided normal quantile of a level.
fn z(level: f64) -> f64 {
    // A level lies strictly between 0 and 1 (checked when paper.toml is read); 1.96 is never used.
    distribution::normal_quantile(0.5 + level / 2.0).unwrap_or(1.96)
}

/// One figure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Summary {
    pub(crate) value: f64,
    pub(crate) se: Option<f64>,
    pub(crate) interval: Option<[f64; 2]>,
    pub(crate) detectable: Option<f64>,
}

/// The figure of some seeds, with the two-sided interval of `level`.
pub(crate) fn summarise(seeds: Seeds, values: &Values, level: f64) -> Summary {
    let numbers = &values.values;
    if numbers.len() == 1 {
        return single(numbers[0], values.spread.as_ref(), level);
    }
    if seeds == Seeds::Median {
        return median(numbers, level);
    }
    let Ok(t) = interval::mean_t(numbers, level) else {
        let value = descriptive::mean(numbers).unwrap_or(f64::NAN);
        return Summary { value, se: None, interval: None, detectable: None };
    };
    let mut ends = [t.low, t.high];
    let settings = Bootstrap {
        replications: RESAMPLES,
        level,
        stream: ream_rand::Stream::new(0, "interval over seeds"),
    };
    let mean = |values: &[f64]| descriptive::mean(values).unwrap_or(f64::NAN);
    if numbers.len() >= ENOUGH_SEEDS
        && let Ok(bca) = bootstrap::bca(numbers, mean, &settings)
    {
        ends = [bca.low, bca.high];
    }
    let detectable = interval::minimum_detectable_effect(t.se, level, POWER).ok();
    Summary { value: t.value, se: Some(t.se), interval: Some(ends), detectable }
}

fn single(value: f64, spread: Option<&Spread>, level: f64) -> Summary {
    let se = spread_se(spread);
    let interval = match spread {
        None => None,
        Some(Spread::Interval(ends)) if (level - 0.95).abs() < 1e-12 => Some(*ends),
        Some(Spread::Draws(draws)) => {
            let tail = (1.0 - level) / 2.0;
            descriptive::quantiles(draws, &[tail, 1.0 - tail]).ok().map(|ends| [ends[0], ends[1]])
        }
        Some(_) => se.map(|se| [value - z(level) * se, value + z(level) * se]),
    };
    Summary {
        value,
        se,
        interval,
        detectable: se.and_then(|se| interval::minimum_detectable_effect(se, level, POWER).ok()),
    }
}

/// The median; its interval lies between order statistics (binomial), which exists from six seeds on at 95 %.
fn median(numbers: &[f64], level: f64) -> Summary {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    let value = descriptive::median(&sorted).unwrap_or(f64::NAN);
    let n = sorted.len();
    // Largest k with P(Binomial(n, 1/2) < k) <= (1 - level) / 2.
    let (mut below, mut term, mut k) = (0.0, 0.5_f64.powi(i32::try_from(n).unwrap_or(i32::MAX)), 0);
    while below + term <= (1.0 - level) / 2.0 && k < n {
        below += term;
        term *= (n - k) as f64 / (k + 1) as f64;
        k += 1;
    }
    let interval = (k > 0 && 2 * k <= n).then(|| [sorted[k - 1], sorted[n - k]]);
    let se = interval.map(|[low, high]| (high - low) / (2.0 * z(level)));
    let detectable = se.and_then(|se| interval::minimum_detectable_effect(se, level, POWER).ok());
    Summary { value, se, interval, detectable }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_median_of_six_lies_between_its_extremes() {
        let values = Values { values: vec![3.0, 1.0, 2.0, 6.0, 5.0, 4.0], spread: None };
        let summary = summarise(Seeds::Median, &values, 0.95);
        assert_eq!(summary.value, 3.5);
        assert_eq!(summary.interval, Some([1.0, 6.0]));
        let five = Values { values: vec![3.0, 1.0, 2.0, 5.0, 4.0], spread: None };
        assert_eq!(summarise(Seeds::Median, &five, 0.95).interval, None);
    }

    #[test]
    fn few_seeds_use_student_and_many_the_bootstrap() {
        let few = Values { values: vec![1.0, 2.0, 3.0], spread: None };
        let [low, high] = summarise(Seeds::Mean, &few, 0.95).interval.unwrap();
        // mean 2, se 1/sqrt(3), t(2, 0.975) = 4.302652729911275
        assert!((low - (2.0 - 4.302_652_729_911_275 / 3_f64.sqrt())).abs() < 1e-9);
        assert!((high - (2.0 + 4.302_652_729_911_275 / 3_f64.sqrt())).abs() < 1e-9);
        let many = Values { values: (0..12).map(f64::from).map(|v| v * v).collect(), spread: None };
        let summary = summarise(Seeds::Mean, &many, 0.95);
        let [low, high] = summary.interval.unwrap();
        assert!(
            summary.value - low < high - summary.value,
            "the bootstrap of skewed values is not symmetric"
        );
    }

    #[test]
    fn what_is_observed_once_brings_its_own_spread() {
        let of = |spread| summarise(Seeds::Once, &Values { values: vec![2.0], spread }, 0.95);
        assert_eq!(of(None).interval, None);
        assert_eq!(of(Some(Spread::Interval([1.0, 4.0]))).interval, Some([1.0, 4.0]));
        let draws: Vec<f64> = (0..=100).map(f64::from).collect();
        let [low, high] = of(Some(Spread::Draws(draws))).interval.unwrap();
        assert!((low - 2.5).abs() < 1e-9 && (high - 97.5).abs() < 1e-9);
        let [low, high] = of(Some(Spread::Se(1.0))).interval.unwrap();
        assert!((high - low - 2.0 * 1.959_963_984_540_054).abs() < 1e-9);
    }
}
