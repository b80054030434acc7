//! A walker on a circle: continuous states.

use ream_rand::Rng;
use ream_stats::distribution::normal_cdf;

use super::TabularMdp;

const STEP: f64 = 0.08;
const NOISE: f64 = 0.03;
const ACTIONS: usize = 3;

/// `circle-kernel`: `x' = x + 0.08 a + N(0, 0.03^2)` modulo 1 with `a` in {-1, 0, 1} (actions 0, 1, 2) and reward
/// `exp(-40 dist(x, 0.7)^2) + 0.2 exp(-40 dist(x, 0.2)^2) - 0.05 |a|`; it starts at 0.2.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Circle {
    /// Where the walker is, in `[0, 1)`.
    pub position: f64,
}

impl Default for Circle {
    fn default() -> Self {
        Self { position: 0.2 }
    }
}

fn distance(x: f64, y: f64) -> f64 {
    let d = (x - y).abs();
    d.min(1.0 - d)
}

fn wrap(x: f64) -> f64 {
    let rest = x - libm::floor(x);
    if rest < 1.0 { rest } else { 0.0 }
}

fn displacement(action: usize) -> f64 {
    STEP * (action as f64 - 1.0)
}

impl Circle {
    /// Least and greatest possible reward.
    pub const REWARDS: [f64; 2] = [-0.05, 1.0 + 0.2];

    /// Reward of an action at a position.
    #[must_use]
    pub fn reward(x: f64, action: usize) -> f64 {
        let bump = |centre: f64| libm::exp(-40.0 * distance(x, centre) * distance(x, centre));
        bump(0.7) + 0.2 * bump(0.2) - 0.05 * (action as f64 - 1.0).abs()
    }

    /// Moves; gives the reward of the position that was left.
    pub fn step(&mut self, rng: &mut Rng, action: usize) -> f64 {
        let reward = Self::reward(self.position, action);
        self.position = wrap(self.position + displacement(action) + NOISE * rng.normal());
        reward
    }

    /// Which of `cells` equal parts of the circle a position lies in.
    #[must_use]
    pub fn cell_of(x: f64, cells: usize) -> usize {
        ((x * cells as f64) as usize).min(cells - 1)
    }

    /// The middle of a part.
    #[must_use]
    pub fn centre(cell: usize, cells: usize) -> f64 {
        (cell as f64 + 0.5) / cells as f64
    }

    /// The process on equal parts: transitions from the middle of each, with the exact mass of every part.
    #[must_use]
    pub fn discretised(cells: usize) -> TabularMdp {
        let width = 1.0 / cells as f64;
        let reach = (8.0 * NOISE / width).ceil() as i64 + 1;
        let (mut rows, mut rewards) = (Vec::new(), Vec::new());
        for cell in 0..cells {
            let x = Self::centre(cell, cells);
            for action in 0..ACTIONS {
                let mean = x + displacement(action);
                let middle = libm::floor(mean / width) as i64;
                let mut row: Vec<(usize, f64)> = (middle - reach..=middle + reach)
                    .map(|j| {
                        let [low, high] = [j, j + 1].map(|j| (j as f64 * width - mean) / NOISE);
                        let mass = normal_cdf(high) - normal_cdf(low);
                        (j.rem_euclid(cells as i64) as usize, mass)
                    })
                    .collect();
                row.sort_by_key(|(next, _)| *next);
                let mut merged: Vec<(usize, f64)> = Vec::new();
                for (next, mass) in row {
                    match merged.last_mut() {
                        Some(last) if last.0 == next => last.1 += mass,
                        _ => merged.push((next, mass)),
                    }
                }
                let sum: f64 = merged.iter().map(|(_, mass)| mass).sum();
                merged.iter_mut().for_each(|(_, mass)| *mass /= sum);
                rows.push(merged);
                rewards.push(Self::reward(x, action));
            }
        }
        TabularMdp::new(ACTIONS, Self::cell_of(Self::default().position, cells), rows, rewards)
    }
}
