//! What is measured of data sets and of models.

use ream_stats::descriptive::effective_sample_size;
use ream_stats::metrics::{auc, calibration_error};
use serde::{Deserialize, Serialize};

use super::data::Log;
use super::world::Batch;

/// A cell with an action counts as covered from this many rows on.
pub const COVERED: u32 = 5;
/// Bins of the calibration error.
const BINS: usize = 10;
/// Predictions are kept this far from 0 and 1 in log losses.
const EDGE: f64 = 1e-9;

/// How good predicted rewards are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean cross-entropy, nats.
    pub log_loss: f64,
    /// Area under the ROC curve; none where all rewards are the same.
    pub auc: Option<f64>,
    /// Expected calibration error over ten bins of equal width.
    pub calibration_error: f64,
}

/// Scores of predictions of the actions that were taken.
#[must_use]
pub fn scores(rewards: &[f64], predicted: &[f64]) -> Scores {
    let positive: Vec<bool> = rewards.iter().map(|y| *y > 0.5).collect();
    let loss = |(y, p): (&f64, &f64)| cross_entropy(*y, *p);
    Scores {
        log_loss: rewards.iter().zip(predicted).map(loss).sum::<f64>() / rewards.len().max(1) as f64,
        auc: auc(&positive, predicted).ok(),
        calibration_error: calibration_error(rewards, predicted, BINS).unwrap_or(0.0),
    }
}

/// `-y log p - (1 - y) log(1 - p)`, nats.
fn cross_entropy(y: f64, p: f64) -> f64 {
    let p = p.clamp(EDGE, 1.0 - EDGE);
    -y * libm::log(p) - (1.0 - y) * libm::log1p(-p)
}

/// What a training set is like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataFacts {
    /// Rows.
    pub rows: f64,
    /// Share of rewards that are 1: class imbalance.
    pub positive_rate: f64,
    /// Entropy of the actions, nats.
    pub action_entropy: f64,
    /// Effective share of rows behind weights `1 / p` (Kish).
    pub effective_share: f64,
    /// Share of cells and actions with at least five rows.
    pub coverage: f64,
}

/// Facts of a training set over `cells` cells and `actions` actions.
#[must_use]
pub fn data_facts(log: &Log, cells: usize, actions: usize) -> DataFacts {
    let n = log.len().max(1) as f64;
    let shares = action_shares(log, actions);
    let mut counts = vec![0_u32; cells * actions];
    for (cell, action) in log.contexts.cells.iter().zip(&log.actions) {
        counts[*cell as usize * actions + *action as usize] += 1;
    }
    let covered = counts.iter().filter(|c| **c >= COVERED).count();
    let weights: Vec<f64> = log.propensities.iter().map(|p| 1.0 / p).collect();
    let entropy = |p: &f64| if *p > 0.0 { -p * libm::log(*p) } else { 0.0 };
    DataFacts {
        rows: log.len() as f64,
        positive_rate: log.positive_rate(),
        action_entropy: shares.iter().map(entropy).sum(),
        effective_share: effective_sample_size(&weights).unwrap_or(0.0) / n,
        coverage: covered as f64 / counts.len().max(1) as f64,
    }
}

fn action_shares(log: &Log, actions: usize) -> Vec<f64> {
    let mut counts = vec![0.0; actions];
    log.actions.iter().for_each(|a| counts[*a as usize] += 1.0);
    counts.iter().map(|c| c / log.len().max(1) as f64).collect()
}

/// Divergence of the actions, and of the rewards, of a log from those of the one before, nats. Half a row is
/// added to every count.
#[must_use]
pub fn shifts(before: &Log, after: &Log, actions: usize) -> [f64; 2] {
    let smoothed = |log: &Log| -> Vec<f64> {
        let n = log.len() as f64;
        action_shares(log, actions).iter().map(|p| (p * n + 0.5) / (n + 0.5 * actions as f64)).collect()
    };
    let coin = |log: &Log| {
        let p = (log.rewards.iter().sum::<f64>() + 0.5) / (log.len() as f64 + 1.0);
        vec![p, 1.0 - p]
    };
    let divergence = |p: &[f64], q: &[f64]| p.iter().zip(q).map(|(p, q)| p * libm::log(p / q)).sum::<f64>();
    [divergence(&smoothed(after), &smoothed(before)), divergence(&coin(after), &coin(before))]
}

/// Share of decisions that took the action that is truly best. `truth` as in [`Batch`], of the same rows.
#[must_use]
pub fn best_share(log: &Log, truth: &[Vec<f64>]) -> f64 {
    let best = |(i, truth): (usize, &Vec<f64>)| {
        let allowed = &log.contexts.allowed[i];
        allowed[super::policy::largest(truth)] == log.actions[i]
    };
    truth.iter().enumerate().filter(|row| best(*row)).count() as f64 / truth.len().max(1) as f64
}

/// Expected log loss of predictions less the entropy of the truth, over actions at random: the mean
/// divergence of the truth from the model, nats.
#[must_use]
pub fn excess_log_loss(batch: &Batch, predicted: &[Vec<f64>]) -> f64 {
    let row = |(truth, predicted): (&Vec<f64>, &Vec<f64>)| {
        let pair = |(t, p): (&f64, &f64)| cross_entropy(*t, *p) - cross_entropy(*t, *t);
        truth.iter().zip(predicted).map(pair).sum::<f64>() / truth.len() as f64
    };
    batch.truth.iter().zip(predicted).map(row).sum::<f64>() / batch.truth.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::data::Contexts;
    use super::*;

    fn log(actions: &[u32], rewards: &[f64], propensities: &[f64]) -> Log {
        let n = actions.len();
        Log {
            contexts: Contexts { allowed: vec![vec![0, 1]; n], cells: vec![0; n], ..Contexts::default() },
            actions: actions.to_vec(),
            propensities: propensities.to_vec(),
            rewards: rewards.to_vec(),
            uniform: vec![false; n],
            late: vec![false; n],
        }
    }

    #[test]
    fn facts_are_counts() {
        let even = log(&[0, 1, 0, 1], &[1.0, 1.0, 1.0, 0.0], &[0.5; 4]);
        let facts = data_facts(&even, 1, 2);
        assert!((facts.action_entropy - libm::log(2.0)).abs() < 1e-12);
        assert_eq!((facts.rows, facts.positive_rate, facts.coverage), (4.0, 0.75, 0.0));
        assert!((facts.effective_share - 1.0).abs() < 1e-12);
        let five = log(&[0; 5], &[1.0; 5], &[1.0, 1.0, 1.0, 1.0, 0.1]);
        let facts = data_facts(&five, 1, 2);
        assert_eq!((facts.coverage, facts.action_entropy), (0.5, 0.0));
        assert!((facts.effective_share - 14.0 * 14.0 / 104.0 / 5.0).abs() < 1e-12);
        let [same, _] = shifts(&even, &even, 2);
        let [actions, rewards] = shifts(&even, &five, 2);
        assert!(same.abs() < 1e-15 && actions > 0.3 && rewards > 0.0);
    }

    #[test]
    fn the_truth_has_no_excess_and_knows_the_best() {
        let truth = vec![vec![0.2, 0.9], vec![0.7, 0.6]];
        let batch = Batch { contexts: Contexts::default(), truth: truth.clone() };
        assert!(excess_log_loss(&batch, &truth).abs() < 1e-12);
        let flat = vec![vec![0.5; 2]; 2];
        let wanted: f64 = truth
            .iter()
            .flatten()
            .map(|p| p * libm::log(2.0 * p) + (1.0 - p) * libm::log(2.0 - 2.0 * p))
            .sum();
        assert!((excess_log_loss(&batch, &flat) - wanted / 4.0).abs() < 1e-12);
        assert_eq!(best_share(&log(&[1, 1], &[1.0, 1.0], &[1.0; 2]), &truth), 0.5);
        let scores = scores(&[1.0, 0.0], &[0.8, 0.2]);
        assert!((scores.log_loss + libm::log(0.8)).abs() < 1e-12 && scores.auc == Some(1.0));
        assert_eq!(super::scores(&[1.0, 1.0], &[0.8, 0.2]).auc, None);
    }
}
