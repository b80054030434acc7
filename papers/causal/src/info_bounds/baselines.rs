//! What the intervals are held against: Manski's bounds, the marginal sensitivity model, the naive mean.

use super::dual::Law;

/// Bounds without any assumption but a known range of `phi` (Manski, 1990): `e E_P[phi] + (1 - e) [least, most]`. With the sample's own range
/// they are what every divergence ball contains, so no divergence interval is narrower.
#[must_use]
pub fn manski(mean: f64, e: f64, (least, most): (f64, f64)) -> (f64, f64) {
    (e * mean + (1.0 - e) * least, e * mean + (1.0 - e) * most)
}

/// Bounds of the marginal sensitivity model (Tan, 2006): the odds of treatment given the hidden confounder differ from those without by at most
/// the factor `gamma >= 1`. The law of those without the treatment then has a ratio to `P` between `1 / gamma` and `gamma`:
/// `dQ/dP = e + (1 - e) r`, and the largest mean puts `r = gamma` on the highest values.
#[must_use]
pub fn sensitivity(law: &Law, e: f64, gamma: f64) -> (f64, f64) {
    let upper = |law: &Law| e * law.mean() + (1.0 - e) * extreme_mean(law, gamma);
    (-upper(&law.negative()), upper(law))
}

/// `sup E_P[r phi]` over `1 / gamma <= r <= gamma` with `E_P[r] = 1`.
fn extreme_mean(law: &Law, gamma: f64) -> f64 {
    let floor = 1.0 / gamma;
    // What is left of the mass 1 beyond the floor, given out from the top.
    let mut left = 1.0 - floor;
    let mut mean = floor * law.mean();
    for (value, weight) in law.values().iter().zip(law.weights()).rev() {
        let given = left.min(weight * (gamma - floor));
        mean += given * value;
        left -= given;
        if left <= 0.0 {
            break;
        }
    }
    mean
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    #[test]
    fn manski_holds_the_mean_and_closes_at_certainty() {
        let (low, high) = manski(0.4, 0.7, (0.0, 1.0));
        assert!((low - 0.28).abs() < 1e-15 && (high - 0.58).abs() < 1e-15);
        assert_eq!(manski(0.4, 1.0, (0.0, 1.0)), (0.4, 0.4));
    }

    #[test]
    fn sensitivity_bounds_grow_from_the_mean_to_manski() {
        let mut rng = Stream::new(1, "sample").at(0);
        let values: Vec<f64> = (0..400).map(|_| rng.normal()).collect();
        let law = Law::new(&values, None).unwrap();
        let (low, high) = sensitivity(&law, 0.3, 1.0);
        assert!((low - law.mean()).abs() < 1e-12 && (high - law.mean()).abs() < 1e-12);
        let mut before = 0.0;
        for gamma in [1.5, 2.0, 3.0, 100.0] {
            let (low, high) = sensitivity(&law, 0.3, gamma);
            assert!(low < law.mean() && law.mean() < high && high - low > before);
            before = high - low;
        }
        let (low, high) = sensitivity(&law, 0.3, 1e9);
        let wide = manski(law.mean(), 0.3, law.range());
        assert!((low - wide.0).abs() < 1e-6 && (high - wide.1).abs() < 1e-6);
    }

    /// Two values: `r` at the top is `min(gamma, 1 / p - (1 / p - 1) / gamma)`.
    #[test]
    fn a_binary_outcome_has_a_closed_form() {
        for (p, gamma) in [(0.2, 2.0), (0.6, 3.0), (0.5, 1.5)] {
            let law = Law::new(&[0.0, 1.0], Some(&[1.0 - p, p])).unwrap();
            let r = f64::min(gamma, 1.0 / p - (1.0 / p - 1.0) / gamma);
            let (_, high) = sensitivity(&law, 0.25, gamma);
            assert!((high - (0.25 * p + 0.75 * p * r)).abs() < 1e-12, "{p} {gamma}");
        }
    }
}
