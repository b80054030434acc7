//! The payments simulator `pay8`: six categorical features, eight actions of which each payment allows some, a reward of 0 or 1.

use ream_rand::{Rng, Stream};

/// Features of a payment.
pub const FEATURES: usize = 6;
/// Levels of a feature.
pub const LEVELS: usize = 8;
/// Actions: three binary message options.
pub const ACTIONS: usize = 8;
/// Probability that an action is available.
const AVAILABLE: f64 = 0.7;
/// Log odds of a payment without features and action.
const BASE: f64 = 1.6;
/// Weight of the features' own effects.
const OWN: f64 = 0.5;
/// Innovation of drifting effects, per generation.
const DRIFT: f64 = 0.03;

/// A payment as a policy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payment {
    /// Level of each feature.
    pub features: [u8; FEATURES],
    /// Actions that it allows, ascending; at least one.
    pub allowed: Vec<u8>,
}

/// A world: what payments are approved with what probability.
#[derive(Clone, Debug, PartialEq)]
pub struct World {
    base: [[f64; LEVELS]; FEATURES],
    inter: [[[f64; ACTIONS]; LEVELS]; FEATURES],
    act: [f64; ACTIONS],
    /// Of the first two features and the action: outside the class of the logistic oracle.
    pair: [[[f64; ACTIONS]; LEVELS]; LEVELS],
    stream: Stream,
}

/// Array of independent normals.
fn normals<const N: usize>(rng: &mut Rng, deviation: f64) -> [f64; N] {
    std::array::from_fn(|_| deviation * rng.normal())
}

impl World {
    /// The world of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let stream = Stream::new(seed, "pay8");
        let rng = &mut stream.at(0);
        Self {
            base: std::array::from_fn(|_| normals(rng, 0.8)),
            inter: std::array::from_fn(|_| std::array::from_fn(|_| normals(rng, 0.45))),
            act: normals(rng, 0.25),
            pair: std::array::from_fn(|_| std::array::from_fn(|_| normals(rng, 0.4))),
            stream,
        }
    }

    /// The same world one generation later, where effects drift.
    #[must_use]
    pub fn drifted(&self, generation: u64) -> Self {
        let mut next = self.clone();
        let mut rng = self.stream.child(1).at(generation);
        next.inter.iter_mut().flatten().flatten().for_each(|x| *x += DRIFT * rng.normal());
        next
    }

    /// Probability that a payment is approved under an action.
    #[must_use]
    pub fn approval(&self, payment: &Payment, action: u8) -> f64 {
        let (x, a) = (&payment.features, usize::from(action));
        let mut score = BASE + self.act[a] + self.pair[usize::from(x[0])][usize::from(x[1])][a];
        for (c, level) in x.iter().enumerate() {
            let level = usize::from(*level);
            score += OWN * self.base[c][level] + self.inter[c][level][a];
        }
        1.0 / (1.0 + libm::exp(-score))
    }

    /// The best action of a payment and its probability; of equal ones the first.
    #[must_use]
    pub fn best(&self, payment: &Payment) -> (u8, f64) {
        payment.allowed.iter().map(|a| (*a, self.approval(payment, *a))).fold(
            (payment.allowed[0], f64::NEG_INFINITY),
            |best, next| if next.1 > best.1 { next } else { best },
        )
    }
}

impl Payment {
    /// A payment at random: levels `floor(8 sqrt(u))`, so that high ones are frequent.
    #[must_use]
    pub fn draw(rng: &mut Rng) -> Self {
        let features = std::array::from_fn(|_| (LEVELS as f64 * rng.uniform().sqrt()) as u8);
        loop {
            let allowed: Vec<u8> = (0..ACTIONS as u8).filter(|_| rng.chance(AVAILABLE)).collect();
            if !allowed.is_empty() {
                return Self { features, allowed };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payments_and_approvals_have_the_laws_of_the_simulator() {
        let mut rng = Stream::new(1, "payments").at(0);
        let payments: Vec<Payment> = (0..20_000).map(|_| Payment::draw(&mut rng)).collect();
        for level in 0..LEVELS {
            let share = payments.iter().filter(|p| usize::from(p.features[2]) == level).count() as f64 / 20_000.0;
            // P(level <= sqrt(u) 8 < level + 1).
            let wanted = ((level + 1) * (level + 1) - level * level) as f64 / 64.0;
            assert!((share - wanted).abs() < 0.01, "{level}: {share} {wanted}");
        }
        let allowed = payments.iter().map(|p| p.allowed.len()).sum::<usize>() as f64 / 20_000.0;
        let wanted = 8.0 * AVAILABLE / (1.0 - libm::pow(1.0 - AVAILABLE, 8.0));
        assert!((allowed - wanted).abs() < 0.05, "{allowed} {wanted}");
        // Known beforehand from an independent implementation: uniform play about 0.79, the optimum about 0.94, over worlds.
        let (mut uniform, mut best) = (0.0, 0.0);
        for seed in 0..20 {
            let world = World::new(seed);
            for p in &payments[..500] {
                uniform += p.allowed.iter().map(|a| world.approval(p, *a)).sum::<f64>() / p.allowed.len() as f64;
                best += world.best(p).1;
            }
        }
        assert!((uniform / 10_000.0 - 0.79).abs() < 0.03 && (best / 10_000.0 - 0.94).abs() < 0.02, "{uniform} {best}");
    }

    #[test]
    fn a_drifting_world_moves_a_little_and_the_same_way_each_time() {
        let world = World::new(3);
        let (one, again, two) = (world.drifted(1), world.drifted(1), world.drifted(2));
        assert_eq!(one, again);
        assert!(one != two && one.base == world.base && one.pair == world.pair);
        let moved: Vec<f64> = one.inter.iter().flatten().flatten().zip(world.inter.iter().flatten().flatten()).map(|(a, b)| a - b).collect();
        let deviation = (moved.iter().map(|x| x * x).sum::<f64>() / moved.len() as f64).sqrt();
        assert!((deviation - DRIFT).abs() < 0.005, "{deviation}");
    }
}
