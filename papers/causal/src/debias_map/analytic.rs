//! Cases whose limits are known: predictions of a known law, truths that add an independent error to them.
//!
//! With `z ~ N(0, v)` and `y = z + N(0, s^2)` the score is `-z / v`, and Tweedie's correction is `z (1 + s^2 / v) = z / b`: that of the
//! line. With `z ~ Gamma(2)` the conditional mean `E[z | y]` is no line and the two differ.

use ream_lab::Result;
use ream_rand::Stream;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::card::{Calibration, Card, CardSettings, Method};
use super::effects::{self, ErrorKind, Estimator, Treatment, estimate};

/// Laws of the predictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Law {
    /// Normal, variance 1.
    Gaussian,
    /// Gamma of shape 2, over the square root of 2: variance 1.
    Gamma,
}

impl Law {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Gaussian, Self::Gamma];

    /// The word used in observations.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gaussian => "gaussian",
            Self::Gamma => "gamma",
        }
    }

    /// Predictions and truths with errors of variance 1, so that `b` is 1/2.
    #[must_use]
    pub fn sample(self, n: usize, stream: Stream) -> Calibration {
        let mut rng = stream.at(0);
        let mut sample = Calibration::default();
        for _ in 0..n {
            let z = match self {
                Self::Gaussian => rng.normal(),
                Self::Gamma => rng.gamma(2.0) / core::f64::consts::SQRT_2,
            };
            sample.predictions.push(z);
            sample.truth.push(z + rng.normal());
        }
        sample
    }
}

/// What share of the true effect each method finds, and whether the card's settings matter: `n` places for the card, as many for a
/// trial whose treatment has the logit of the standardised truth.
///
/// # Errors
/// Errors of the card.
pub fn recovered(law: Law, n: usize, settings: &CardSettings, stream: Stream) -> Result<Vec<(Method, f64)>> {
    let card = Card::new(&law.sample(n, stream.child(0)), settings)?;
    let trial = law.sample(n, stream.child(1));
    let mean = trial.truth.iter().sum::<f64>() / n as f64;
    // Both have variance 2.
    let score: Vec<f64> = trial.truth.iter().map(|y| (y - mean) / core::f64::consts::SQRT_2).collect();
    let values = effects::assign(&score, &mut stream.child(2).at(0));
    let treatment = Treatment { values, ..Treatment::default() };
    let of = |outcome: &[f64]| {
        estimate(Estimator::DifferenceInMeans, ErrorKind::Robust, &treatment, outcome).map(|e| e.value)
    };
    let truth = of(&trial.truth)?;
    let share =
        |method: Method| Ok((method, of(&card.correction.corrected(method, &trial.predictions))? / truth));
    [Method::Naive, Method::Lcc, Method::Tweedie].into_iter().map(share).collect()
}
