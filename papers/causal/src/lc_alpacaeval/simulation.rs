//! A leaderboard whose truth is known: verbosity changes lengths, never quality.
//!
//! `z = theta + phi tanh(delta / s) + psi gamma`, `gamma ~ N(0, 1.3^2)`, `psi ~ U(0.6, 1.4)`, `theta ~ N(-1.5, 1)`,
//! `phi = -1.8`; lengths are log-normal with a factor for each model. Every model comes in three variants with the same
//! `theta` and `psi`, its lengths times 0.45, 1 and 1.4. A preference follows a Beta law of mean `sigma(z)`.

use ream_rand::Stream;
use ream_stats::glm::sigmoid;

use super::annotations::{Judgements, Pairs};
use super::fit::saturate;

/// What the three variants do to a model's lengths.
pub const VARIANTS: [(&str, f64); 3] = [("concise", 0.45), ("plain", 1.0), ("verbose", 1.4)];
/// Length slope of every model.
const PHI: f64 = -1.8;
/// Standard deviation of the difficulties.
const DIFFICULTY_SD: f64 = 1.3;

/// A simulated board.
#[derive(Clone, Debug)]
pub struct World {
    /// What a judge would have seen.
    pub judgements: Judgements,
    /// True length-controlled win rate of each entry of `judgements.models`, percent.
    pub truth: Vec<f64>,
    /// Which model each entry is a variant of.
    pub base: Vec<usize>,
}

/// Draws a board of `models` models on `instructions` instructions; `concentration` is that of the Beta law.
#[must_use]
pub fn world(models: usize, instructions: usize, concentration: f64, stream: Stream) -> World {
    let mut rng = stream.child(0).at(0);
    let gamma: Vec<f64> = (0..instructions).map(|_| DIFFICULTY_SD * rng.normal()).collect();
    let baseline: Vec<f64> = (0..instructions).map(|_| length(7.3, rng.normal())).collect();
    let mut world = World {
        judgements: Judgements {
            baseline: "baseline".into(),
            instructions: (0..instructions).map(|i| format!("{i:05}")).collect(),
            models: Vec::new(),
            dropped: 0,
        },
        truth: Vec::new(),
        base: Vec::new(),
    };
    for model in 0..models {
        let mut rng = stream.child(1).at(model as u64);
        let (theta, psi) = (-1.5 + rng.normal(), rng.between(0.6, 1.4));
        let centre = 7.3 + 0.35 * rng.normal();
        let plain: Vec<f64> = (0..instructions).map(|_| length(centre, rng.normal())).collect();
        let truth = 100.0 * expected(theta, psi);
        for (variant, (name, factor)) in VARIANTS.into_iter().enumerate() {
            let mut rng = stream.child(2 + variant as u64).at(model as u64);
            let lengths: Vec<f64> = plain.iter().map(|l| (factor * l).round().max(1.0)).collect();
            let delta: Vec<f64> = baseline.iter().zip(&lengths).map(|(b, m)| b - m).collect();
            let t = saturate(&delta);
            let judge = |(t, g): (&f64, &f64)| {
                let mean = sigmoid(theta + PHI * t + psi * g);
                rng.beta(concentration * mean, concentration * (1.0 - mean))
            };
            let preference = t.iter().zip(&gamma).map(judge).collect();
            world.judgements.models.push(Pairs {
                model: format!("model-{model:02}-{name}"),
                instruction: (0..instructions).collect(),
                preference,
                delta,
                length: lengths,
                mediators: Vec::new(),
            });
            world.truth.push(truth);
            world.base.push(model);
        }
    }
    world
}

/// A log-normal length in characters.
fn length(centre: f64, noise: f64) -> f64 {
    libm::exp(centre + 0.5 * noise).round().max(1.0)
}

/// `E sigma(theta + psi gamma)` over the law of instructions, by Simpson's rule on nine standard deviations either side.
#[must_use]
pub fn expected(theta: f64, psi: f64) -> f64 {
    const STEPS: usize = 720;
    let h = 18.0 / STEPS as f64;
    let density = |u: f64| libm::exp(-0.5 * u * u) / (2.0 * std::f64::consts::PI).sqrt();
    let value = |i: usize| {
        let u = -9.0 + h * i as f64;
        sigmoid(theta + psi * DIFFICULTY_SD * u) * density(u)
    };
    let weight = |i: usize| match i {
        0 | STEPS => 1.0,
        i if i % 2 == 1 => 4.0,
        _ => 2.0,
    };
    (0..=STEPS).map(|i| weight(i) * value(i)).sum::<f64>() * h / 3.0
}
