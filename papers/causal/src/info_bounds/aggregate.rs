//! One interval out of several: the order-statistic rule.
//!
//! All intervals hold the same number where the method's conditions hold, so their intersection does too; estimated ends may cross. The rule
//! takes the `k`-th largest lower and the `k`-th smallest upper end. With `k = 1` that is the intersection; `k-agg` raises `k` until the
//! interval is not empty; the largest `k` takes the loosest ends.

/// An interval and where its ends come from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aggregate {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Which order statistic was taken, from 1.
    pub k: usize,
    /// Positions of the intervals that the lower and the upper end come from.
    pub from: [usize; 2],
    /// Whether the lower end lies above the upper one: no order statistic gave an interval. It is shown as it is, never as empty.
    pub crossed: bool,
}

/// The `k`-th largest lower and the `k`-th smallest upper end of `(lower, upper)` pairs; the smallest `k` that gives an interval where `k` is
/// `None` (k-agg). A `k` beyond the number of intervals takes the loosest ends. `None` without intervals.
#[must_use]
pub fn order_statistic(intervals: &[(f64, f64)], k: Option<usize>) -> Option<Aggregate> {
    let n = intervals.len();
    let mut lowers: Vec<usize> = (0..n).collect();
    let mut uppers = lowers.clone();
    lowers.sort_by(|a, b| intervals[*b].0.total_cmp(&intervals[*a].0));
    uppers.sort_by(|a, b| intervals[*a].1.total_cmp(&intervals[*b].1));
    let at = |k: usize| {
        let (from_lower, from_upper) = (*lowers.get(k - 1)?, *uppers.get(k - 1)?);
        let (lower, upper) = (intervals[from_lower].0, intervals[from_upper].1);
        Some(Aggregate { lower, upper, k, from: [from_lower, from_upper], crossed: lower > upper })
    };
    match k {
        Some(k) => at(k.clamp(1, n.max(1))),
        None => (1..=n).filter_map(at).find(|a| !a.crossed).or_else(|| at(n.max(1))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVALS: [(f64, f64); 4] = [(0.0, 3.0), (1.0, 4.0), (-2.0, 0.5), (-1.0, 9.0)];

    #[test]
    fn k_agg_takes_the_first_order_that_gives_an_interval() {
        // Intersection: 1.0 to 0.5, empty; second: 0.0 to 3.0.
        let first = order_statistic(&INTERVALS, Some(1)).unwrap();
        assert!(first.crossed && (first.lower, first.upper, first.from) == (1.0, 0.5, [1, 2]));
        let agg = order_statistic(&INTERVALS, None).unwrap();
        assert_eq!((agg.lower, agg.upper, agg.k, agg.crossed), (0.0, 3.0, 2, false));
    }

    #[test]
    fn the_largest_k_is_the_loosest_and_k_grows_monotonically() {
        let loosest = order_statistic(&INTERVALS, Some(4)).unwrap();
        assert_eq!((loosest.lower, loosest.upper), (-2.0, 9.0));
        assert_eq!(order_statistic(&INTERVALS, Some(5)), Some(loosest));
        let widths: Vec<f64> = (1..=4)
            .map(|k| order_statistic(&INTERVALS, Some(k)).map(|a| a.upper - a.lower).unwrap())
            .collect();
        assert!(widths.windows(2).all(|w| w[0] <= w[1]));
    }

    #[test]
    fn an_interval_that_stays_empty_is_said() {
        let agg = order_statistic(&[(2.0, 1.0)], None).unwrap();
        assert!(agg.crossed && agg.k == 1);
        assert_eq!(order_statistic(&[], None), None);
    }
}
