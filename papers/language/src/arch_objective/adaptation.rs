//! How much faster an adapted model reaches a loss than one that starts from nothing.

use serde::{Deserialize, Serialize};

/// Validation loss over a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Input and target tokens so far, growing.
    pub tokens: Vec<f64>,
    /// Loss there.
    pub loss: Vec<f64>,
}

impl Curve {
    /// The last loss.
    pub fn last(&self) -> Option<f64> {
        self.loss.last().copied()
    }

    /// All tokens.
    pub fn length(&self) -> f64 {
        self.tokens.last().copied().unwrap_or(0.0)
    }

    /// Tokens at which the curve first reaches `loss`, on straight lines between its points.
    pub fn reaches(&self, loss: f64) -> Option<f64> {
        let at = self.loss.iter().position(|value| *value <= loss)?;
        let Some(before) = at.checked_sub(1) else { return Some(self.tokens[at]) };
        let (high, low) = (self.loss[before], self.loss[at]);
        let part = (high - loss) / (high - low);
        Some(self.tokens[before] + part * (self.tokens[at] - self.tokens[before]))
    }
}

/// Tokens from scratch over tokens of the adaptation to the same loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SpeedUp {
    /// The ratio, or a bound of it.
    pub ratio: f64,
    /// Whether the training from scratch ended above the loss, so that the ratio is at least this.
    pub at_least: bool,
}

/// Holds an adaptation against a training from scratch. Nothing for curves without points.
pub fn speed_up(scratch: &Curve, adapted: &Curve) -> Option<SpeedUp> {
    let (loss, used) = (adapted.last()?, adapted.length());
    let (tokens, at_least) = match scratch.reaches(loss) {
        Some(tokens) => (tokens, false),
        None => (scratch.length(), true),
    };
    (used > 0.0).then_some(SpeedUp { ratio: tokens / used, at_least })
}

/// The same with trainings from scratch that have ended: losses of a short and of a long one, and between them a straight line
/// of the loss over the logarithm of the tokens. An adapted loss outside the two is given the nearer length.
pub fn decayed_speed_up(short: (f64, f64), long: (f64, f64), loss: f64, used: f64) -> f64 {
    let ((tokens_a, loss_a), (tokens_b, loss_b)) = (short, long);
    let part = if loss_a > loss_b { ((loss_a - loss) / (loss_a - loss_b)).clamp(0.0, 1.0) } else { 0.0 };
    tokens_a * libm::pow(tokens_b / tokens_a, part) / used
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(points: &[(f64, f64)]) -> Curve {
        Curve { tokens: points.iter().map(|p| p.0).collect(), loss: points.iter().map(|p| p.1).collect() }
    }

    #[test]
    fn a_loss_is_reached_between_two_points() {
        let scratch = curve(&[(0.0, 8.0), (100.0, 4.0), (200.0, 2.0), (300.0, 2.5)]);
        assert_eq!(scratch.reaches(3.0), Some(150.0));
        assert_eq!(scratch.reaches(8.0), Some(0.0));
        assert_eq!(scratch.reaches(2.0), Some(200.0));
        assert_eq!(scratch.reaches(1.0), None);
    }

    #[test]
    fn speed_up_is_a_ratio_of_tokens_or_a_bound() {
        let scratch = curve(&[(0.0, 8.0), (100.0, 4.0), (200.0, 2.0)]);
        let adapted = |loss| curve(&[(0.0, 9.0), (50.0, loss)]);
        assert_eq!(speed_up(&scratch, &adapted(3.0)), Some(SpeedUp { ratio: 3.0, at_least: false }));
        assert_eq!(speed_up(&scratch, &adapted(1.0)), Some(SpeedUp { ratio: 4.0, at_least: true }));
        // A model that was worse off than a beginner is slower.
        assert_eq!(speed_up(&scratch, &adapted(7.0)), Some(SpeedUp { ratio: 0.5, at_least: false }));
        assert_eq!(speed_up(&scratch, &Curve::default()), None);
    }

    #[test]
    fn between_two_lengths_the_loss_is_linear_in_the_logarithm() {
        let of = |loss| decayed_speed_up((100.0, 4.0), (400.0, 2.0), loss, 100.0);
        assert!((of(3.0) - 2.0).abs() < 1e-12);
        assert_eq!((of(5.0), of(4.0), of(2.0), of(1.0)), (1.0, 1.0, 4.0, 4.0));
        assert_eq!(decayed_speed_up((100.0, 2.0), (400.0, 2.5), 2.1, 50.0), 2.0);
    }
}
