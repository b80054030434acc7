//! Learning rates over time, as a factor of the base rate.

use serde::{Deserialize, Serialize};

/// How the learning rate moves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// Always 1.
    #[default]
    Constant,
    /// Rises in a line over `warmup` steps, then falls as half a cosine to `floor` at the last step.
    Cosine {
        /// Steps of the rise.
        warmup: u64,
        /// Factor at the end.
        floor: f32,
    },
    /// Rises in a line over `warmup` steps, then falls in a line to `floor` at the last step.
    Linear {
        /// Steps of the rise.
        warmup: u64,
        /// Factor at the end.
        floor: f32,
    },
    /// Rises over `warmup` steps, stays, and falls in a line to `floor` over the last `decay` steps.
    WarmupStableDecay {
        /// Steps of the rise.
        warmup: u64,
        /// Steps of the fall.
        decay: u64,
        /// Factor at the end.
        floor: f32,
    },
    /// Rises over `warmup` steps, then falls as the inverse square root of the step.
    InverseSqrt {
        /// Steps of the rise.
        warmup: u64,
    },
}

impl Schedule {
    /// The factor at a step (from 0) of a training of so many steps.
    #[must_use]
    pub fn factor(self, step: u64, steps: u64) -> f32 {
        let warm = |warmup: u64| if step < warmup { Some((step + 1) as f32 / warmup as f32) } else { None };
        // Share of the way from the end of the warm-up to the last step.
        let along = |warmup: u64| {
            let length = steps.saturating_sub(warmup + 1).max(1);
            (step.saturating_sub(warmup) as f32 / length as f32).min(1.0)
        };
        match self {
            Self::Constant => 1.0,
            Self::Cosine { warmup, floor } => warm(warmup).unwrap_or_else(|| {
                floor + (1.0 - floor) * 0.5 * (1.0 + libm::cosf(std::f32::consts::PI * along(warmup)))
            }),
            Self::Linear { warmup, floor } => {
                warm(warmup).unwrap_or_else(|| 1.0 + (floor - 1.0) * along(warmup))
            }
            Self::WarmupStableDecay { warmup, decay, floor } => warm(warmup).unwrap_or_else(|| {
                let left = steps.saturating_sub(step + 1);
                if left >= decay { 1.0 } else { floor + (1.0 - floor) * left as f32 / decay as f32 }
            }),
            Self::InverseSqrt { warmup } => {
                warm(warmup).unwrap_or_else(|| (warmup.max(1) as f32 / (step + 1) as f32).sqrt())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_rise_and_fall_where_they_say() {
        let cosine = Schedule::Cosine { warmup: 10, floor: 0.1 };
        assert_eq!(cosine.factor(0, 100), 0.1);
        assert_eq!(cosine.factor(9, 100), 1.0);
        assert_eq!(cosine.factor(10, 100), 1.0);
        assert!((cosine.factor(99, 100) - 0.1).abs() < 1e-6);
        let linear = Schedule::Linear { warmup: 0, floor: 0.0 };
        assert_eq!((linear.factor(0, 101), linear.factor(50, 101), linear.factor(100, 101)), (1.0, 0.5, 0.0));
        let wsd = Schedule::WarmupStableDecay { warmup: 2, decay: 10, floor: 0.0 };
        assert_eq!((wsd.factor(50, 100), wsd.factor(99, 100), wsd.factor(94, 100)), (1.0, 0.0, 0.5));
        assert_eq!(Schedule::InverseSqrt { warmup: 25 }.factor(99, 200), 0.5);
    }
}
