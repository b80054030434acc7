//! The function of the outcome whose mean is bounded.

use ream_stats::{StatsError, descriptive};

/// `phi`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Phi {
    /// The outcome itself.
    Mean,
    /// `1(Y <= t)`: the mean is the distribution function at `t`.
    Cdf(f64),
    /// The quantile loss at level `q` of the sample's own `q`-quantile: `(Y - c)(q - 1(Y < c))`.
    QuantileLoss(f64),
}

/// What [`Phi::parse`] takes.
pub const FORMS: &str = "mean, cdf:T with a number T, or quantile-loss:Q with a number Q between 0 and 1";

impl Phi {
    /// From `mean`, `cdf:2.5`, `quantile-loss:0.9`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (word, number) = match text.split_once(':') {
            Some((word, number)) => (word, Some(number.trim().parse::<f64>().ok()?)),
            None => (text, None),
        };
        match (word.trim(), number) {
            ("mean", None) => Some(Self::Mean),
            ("cdf", Some(t)) if t.is_finite() => Some(Self::Cdf(t)),
            ("quantile-loss", Some(q)) if q > 0.0 && q < 1.0 => Some(Self::QuantileLoss(q)),
            _ => None,
        }
    }

    /// As it is written in a table, for an outcome of this name.
    #[must_use]
    pub fn name(self, outcome: &str) -> String {
        match self {
            Self::Mean => outcome.to_owned(),
            Self::Cdf(t) => format!("1({outcome} <= {t})"),
            Self::QuantileLoss(q) => format!("quantile loss of {outcome} at {q}"),
        }
    }

    /// `phi` of every outcome.
    ///
    /// # Errors
    /// [`StatsError`] for no values, or values that are not finite where a quantile is taken.
    pub fn of(self, outcomes: &[f64]) -> Result<Vec<f64>, StatsError> {
        Ok(match self {
            Self::Mean => outcomes.to_vec(),
            Self::Cdf(t) => outcomes.iter().map(|y| f64::from(u8::from(*y <= t))).collect(),
            Self::QuantileLoss(q) => {
                let c = descriptive::quantile(outcomes, q)?;
                outcomes.iter().map(|y| (y - c) * (q - f64::from(u8::from(*y < c)))).collect()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read() {
        assert_eq!(Phi::parse("mean"), Some(Phi::Mean));
        assert_eq!(Phi::parse("cdf:2.5"), Some(Phi::Cdf(2.5)));
        assert_eq!(Phi::parse("quantile-loss:0.9"), Some(Phi::QuantileLoss(0.9)));
        for wrong in ["", "median", "cdf", "cdf:x", "quantile-loss:1.5", "mean:1", "cdf:inf"] {
            assert_eq!(Phi::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn values_are_as_defined() {
        let y = [0.0, 1.0, 2.0, 3.0, 4.0];
        assert_eq!(Phi::Cdf(1.0).of(&y).unwrap(), [1.0, 1.0, 0.0, 0.0, 0.0]);
        // c = 3 at level 0.75.
        assert_eq!(Phi::QuantileLoss(0.75).of(&y).unwrap(), [0.75, 0.5, 0.25, 0.0, 0.75]);
    }
}
