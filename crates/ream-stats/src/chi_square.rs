//! The chi-square test of counts against a law.

use crate::error::StatsError;

/// What a test of counts says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ChiSquare {
    /// `sum (observed - expected)^2 / expected`.
    pub statistic: f64,
    /// Cells less one.
    pub freedom: f64,
    /// Probability of a statistic at least as large when the law is the true one.
    pub p: f64,
}

/// Pearson's test that `counts` are draws from a law of these `probabilities`, one for each cell; the caller pools cells that expect few
/// draws (5 is the usual bound).
///
/// # Errors
/// [`StatsError`] for other lengths, fewer than two cells, no draw, or a probability that is not above 0.
pub fn chi_square(counts: &[u64], probabilities: &[f64]) -> Result<ChiSquare, StatsError> {
    if counts.len() != probabilities.len() {
        return Err(StatsError::Length {
            what: "the probabilities",
            wanted: counts.len(),
            got: probabilities.len(),
        });
    }
    let total: u64 = counts.iter().sum();
    let mass: f64 = probabilities.iter().sum();
    if counts.len() < 2 || total == 0 || probabilities.iter().any(|p| p.is_nan() || *p <= 0.0) {
        return Err(StatsError::Undefined {
            what: "a chi-square test",
            why: "it needs two cells, a draw, and probabilities above 0",
        });
    }
    let cell = |(count, p): (&u64, &f64)| {
        let expected = total as f64 * p / mass;
        (*count as f64 - expected).powi(2) / expected
    };
    let statistic: f64 = counts.iter().zip(probabilities).map(cell).sum();
    let freedom = (counts.len() - 1) as f64;
    Ok(ChiSquare { statistic, freedom, p: chi_square_tail(statistic, freedom) })
}

/// `P(X >= x)` of a chi-square law with so many degrees of freedom: the regularised incomplete gamma function `Q(freedom / 2, x / 2)`, by its
/// series below the mean and Lentz's continued fraction above it.
#[must_use]
pub fn chi_square_tail(x: f64, freedom: f64) -> f64 {
    if x <= 0.0 {
        return 1.0;
    }
    let (a, x) = (freedom / 2.0, x / 2.0);
    let front = libm::exp(a * libm::log(x) - x - libm::lgamma(a));
    if x < a + 1.0 {
        let (mut term, mut sum, mut n) = (1.0 / a, 1.0 / a, a);
        while term > sum * 1e-16 {
            n += 1.0;
            term *= x / n;
            sum += term;
        }
        return (1.0 - front * sum).clamp(0.0, 1.0);
    }
    let mut b = x + 1.0 - a;
    let (mut c, mut d) = (1e300, 1.0 / b);
    let mut fraction = d;
    for i in 1..10_000 {
        let n = f64::from(i);
        let an = -n * (n - a);
        b += 2.0;
        d = 1.0 / (an * d + b);
        c = b + an / c;
        fraction *= d * c;
        if (d * c - 1.0).abs() < 1e-15 {
            break;
        }
    }
    (front * fraction).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables of the chi-square law.
    #[test]
    fn tails_are_those_of_the_tables() {
        for (x, freedom, p) in [
            (3.841_458_820_694_124, 1.0, 0.05),
            (6.634_896_601_021_213, 1.0, 0.01),
            (18.307_038_053_275_146, 10.0, 0.05),
            (124.342_113_404_004_07, 100.0, 0.05),
            (2.155_856_481_304_64, 10.0, 0.995),
        ] {
            assert!((chi_square_tail(x, freedom) - p).abs() < 1e-9, "{x} {freedom}");
        }
        assert_eq!(chi_square_tail(0.0, 3.0), 1.0);
    }

    #[test]
    fn counts_of_the_law_pass_and_others_do_not() {
        let law = [0.5, 0.3, 0.2];
        let fine = chi_square(&[500, 310, 190], &law).unwrap();
        assert!(fine.p > 0.3 && fine.freedom == 2.0, "{fine:?}");
        let off = chi_square(&[600, 250, 150], &law).unwrap();
        assert!(off.p < 1e-6, "{off:?}");
        assert!(chi_square(&[1, 2], &law).is_err());
        assert!(chi_square(&[1, 2], &[1.0, 0.0]).is_err());
    }
}
