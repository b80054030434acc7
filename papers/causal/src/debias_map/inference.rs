//! Standard errors and intervals of corrected effects.
//!
//! Delta method for the linear correction, `Var(tau / b) = Var(tau) / b^2 + tau^2 Var(b) / b^4`. For both corrections a bootstrap
//! that resamples calibration clusters and trial units separately: corrections are drawn once for a map and used again for every
//! trial, so that the cost does not grow with trials times densities.

use rayon::prelude::*;
use ream_lab::Result;
use ream_rand::{Rng, Stream};
use ream_stats::bootstrap::percentile_of;
use ream_stats::{Estimate, distribution};
use std::collections::BTreeMap;

use super::card::{Calibration, Card, CardSettings, Correction, Method, failed};
use super::effects::{Effect, Estimator, Treatment, estimate};

/// Resamples that may fail before the bootstrap gives up on one replicate.
const TRIES: u64 = 20;

/// Positions of each cluster's rows, or of each row alone.
#[derive(Clone, Debug)]
pub struct Units(Vec<Vec<usize>>);

impl Units {
    /// The units that are drawn together.
    #[must_use]
    pub fn new(n: usize, clusters: Option<&[usize]>) -> Self {
        let Some(ids) = clusters else { return Self((0..n).map(|i| vec![i]).collect()) };
        let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (i, id) in ids.iter().enumerate() {
            members.entry(*id).or_default().push(i);
        }
        Self(members.into_values().collect())
    }

    /// Rows of as many units as there are, drawn with replacement.
    #[must_use]
    pub fn resample(&self, rng: &mut Rng) -> Vec<usize> {
        let drawn = rng.resample(self.0.len());
        drawn.into_iter().flat_map(|u| self.0[u].iter().copied()).collect()
    }
}

/// Corrections of `replications` bootstrap samples of the calibration clusters (rows, without clusters).
///
/// # Errors
/// As [`Correction::new`], when twenty samples in a row cannot be used.
pub fn draw_corrections(
    sample: &Calibration,
    settings: &CardSettings,
    replications: usize,
    stream: Stream,
) -> Result<Vec<Correction>> {
    let units = Units::new(sample.predictions.len(), sample.clusters.as_deref());
    let draw = |r: usize| {
        let stream = stream.child(r as u64);
        let attempt = |t: u64| Correction::new(&sample.select(&units.resample(&mut stream.at(t))), settings);
        (1..TRIES).fold(attempt(0), |found, t| found.or_else(|_| attempt(t)))
    };
    (0..replications).into_par_iter().map(draw).collect()
}

/// The linear correction of an effect with its delta-method error; `effect` is that on the predictions as they are.
#[must_use]
pub fn delta(effect: Effect, card: &Card) -> Effect {
    let b = card.correction.line.slope;
    let from_slope = effect.value * card.line_errors[1] / (b * b);
    let from_trial = effect.se / b;
    Effect { value: effect.value / b, se: (from_trial * from_trial + from_slope * from_slope).sqrt() }
}

/// A normal interval.
///
/// # Errors
/// A level outside `(0, 1)`.
pub fn normal(effect: Effect, level: f64) -> Result<Estimate> {
    Estimate::symmetric(effect.value, effect.se, f64::INFINITY, level).map_err(failed)
}

/// Two-sided p value of an effect of 0, normal.
#[must_use]
pub fn p_value(effect: Effect) -> f64 {
    distribution::normal_two_sided(effect.value / effect.se)
}

/// The effect on corrected predictions with its bootstrap interval: replicate `r` takes the `r`-th correction and a sample of the
/// trial's units (clusters, where it has any).
///
/// # Errors
/// Errors of the estimator on the trial; a resample without an arm is drawn again.
pub fn bootstrap(
    estimator: Estimator,
    treatment: &Treatment,
    predictions: &[f64],
    (card, corrections): (&Card, &[Correction]),
    method: Method,
    (level, stream): (f64, Stream),
) -> Result<Estimate> {
    let units = Units::new(predictions.len(), treatment.clusters.as_deref());
    let kind = super::effects::ErrorKind::Robust;
    let of = |correction: &Correction, treatment: &Treatment, z: &[f64]| {
        let outcome = correction.corrected(method, z);
        estimate(estimator, kind, treatment, &outcome).map(|e| e.value)
    };
    let value = of(&card.correction, treatment, predictions)?;
    let draw = |(r, correction): (usize, &Correction)| {
        let stream = stream.child(r as u64);
        let attempt = |t: u64| {
            let rows = units.resample(&mut stream.at(t));
            let z: Vec<f64> = rows.iter().map(|&i| predictions[i]).collect();
            of(correction, &treatment.select(&rows), &z)
        };
        (1..TRIES).fold(attempt(0), |found, t| found.or_else(|_| attempt(t)))
    };
    let draws = corrections.par_iter().enumerate().map(draw).collect::<Result<Vec<f64>>>()?;
    percentile_of(value, &draws, level).map_err(failed)
}

/// A difference in means on the same trial units again and again: how often each unit is drawn in each replicate, and its
/// corrected values there. For many trials on one map.
#[derive(Clone, Debug)]
pub struct Resamples {
    /// `[replications][n]`.
    counts: Vec<Vec<u16>>,
}

impl Resamples {
    /// Draws the units of every replicate.
    #[must_use]
    pub fn new(n: usize, replications: usize, stream: Stream) -> Self {
        let draw = |r: usize| {
            let mut counts = vec![0_u16; n];
            for i in stream.at(r as u64).resample(n) {
                counts[i] += 1;
            }
            counts
        };
        Self { counts: (0..replications).into_par_iter().map(draw).collect() }
    }

    /// The difference in means in every replicate, of outcomes that may differ between replicates, `[replications][n]`.
    #[must_use]
    pub fn differences<'a>(&self, treated: &[bool], outcome: impl Fn(usize) -> &'a [f64] + Sync) -> Vec<f64> {
        let of = |(r, counts): (usize, &Vec<u16>)| {
            let (mut sums, mut totals) = ([0.0; 2], [0.0; 2]);
            for ((count, on), y) in counts.iter().zip(treated).zip(outcome(r)) {
                let (arm, count) = (usize::from(*on), f64::from(*count));
                sums[arm] += count * y;
                totals[arm] += count;
            }
            sums[1] / totals[1] - sums[0] / totals[0]
        };
        self.counts.par_iter().enumerate().map(of).collect()
    }
}
