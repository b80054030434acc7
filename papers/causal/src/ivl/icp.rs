//! Invariant causal prediction (Peters, Buehlmann & Meinshausen, 2016), linear, with the raw and the augmented rows as environments.
//!
//! A set of inputs is accepted when neither the coefficients (Chow's test) nor the variances of the residuals (F test) of a
//! regression on it differ between the environments, each at half the level. The causal inputs are those in every accepted
//! set. Augmentation leaves `y` alone, so the empty set is always accepted and the answer is empty: an augmented sample is no
//! interventional one in the sense of ICP, and its prediction is 0. The test is made all the same.

use nalgebra::{DMatrix, DVector};
use ream_lab::{Error, Result};
use ream_stats::distribution::f_upper;

use super::moments::{Moments, solve};

/// Inputs that are searched, those of largest standardised coefficients: 2^8 sets.
pub const SEARCHED: usize = 8;

/// What was accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Accepted {
    /// How many of the sets.
    pub sets: usize,
    /// Inputs in all of them.
    pub inputs: Vec<usize>,
    /// Least squares of the pooled rows on these inputs, 0 elsewhere.
    pub coefficients: Vec<f64>,
}

/// Tests all sets of the searched inputs at `level`.
///
/// # Errors
/// Too few rows for the tests.
pub fn icp(environments: &[Moments; 2], level: f64) -> Result<Accepted> {
    let [raw, augmented] = environments;
    let pooled = Moments {
        rows: raw.rows + augmented.rows,
        gg: &raw.gg + &augmented.gg,
        gx: &raw.gx + &augmented.gx,
        gy: &raw.gy + &augmented.gy,
        xx: &raw.xx + &augmented.xx,
        xy: &raw.xy + &augmented.xy,
        yy: raw.yy + augmented.yy,
    };
    let m = pooled.xx.nrows();
    let (h, _) = pooled.least_squares();
    let mut order: Vec<usize> = (0..m).collect();
    let size = |j: usize| h[j].abs() * pooled.xx[(j, j)].max(0.0).sqrt();
    order.sort_by(|&a, &b| size(b).total_cmp(&size(a)).then(a.cmp(&b)));
    order.truncate(SEARCHED);
    let (mut sets, mut common) = (0, None::<u32>);
    for set in 0..1_u32 << order.len() {
        let inputs: Vec<usize> = members(set, &order);
        if invariant(environments, &pooled, &inputs, level)? {
            sets += 1;
            common = Some(common.map_or(set, |c| c & set));
        }
    }
    let inputs = members(common.unwrap_or(0), &order);
    let mut coefficients = vec![0.0; m];
    for (j, v) in inputs.iter().zip(on(&pooled, &inputs).0) {
        coefficients[*j] = v;
    }
    Ok(Accepted { sets, inputs, coefficients })
}

fn members(set: u32, order: &[usize]) -> Vec<usize> {
    order.iter().enumerate().filter(|(k, _)| set >> k & 1 == 1).map(|(_, &j)| j).collect()
}

/// Least squares on some inputs, and the sum of squared residuals.
fn on(moments: &Moments, inputs: &[usize]) -> (Vec<f64>, f64) {
    let k = inputs.len();
    let xx = DMatrix::from_fn(k, k, |i, j| moments.xx[(inputs[i], inputs[j])]);
    let xy = DVector::from_fn(k, |i, _| moments.xy[inputs[i]]);
    let (h, _) = solve(&xx, &xy);
    let left = squares_of(moments, inputs, &h);
    (h, left)
}

fn squares_of(moments: &Moments, inputs: &[usize], h: &[f64]) -> f64 {
    let explained: f64 = inputs.iter().zip(h).map(|(&j, h)| h * moments.xy[j]).sum();
    let fitted: f64 = inputs
        .iter()
        .zip(h)
        .map(|(&i, a)| inputs.iter().zip(h).map(|(&j, b)| a * b * moments.xx[(i, j)]).sum::<f64>())
        .sum();
    moments.yy - 2.0 * explained + fitted
}

fn invariant(environments: &[Moments; 2], pooled: &Moments, inputs: &[usize], level: f64) -> Result<bool> {
    let k = inputs.len() as f64;
    let (h, together) = on(pooled, inputs);
    let apart: f64 = environments.iter().map(|e| on(e, inputs).1).sum();
    let below = pooled.rows - 2.0 * k - 2.0;
    let tail = |f: f64, above: f64, below: f64| {
        f_upper(f, above, below).map_err(|e| Error::failed(format!("invariant causal prediction: {e}")))
    };
    let coefficients =
        if k > 0.0 { tail(((together - apart) / k).max(0.0) / (apart / below), k, below)? } else { 1.0 };
    let variance = |e: usize| squares_of(&environments[e], inputs, &h) / (environments[e].rows - 1.0);
    let ratio = variance(0) / variance(1);
    let upper = tail(ratio, environments[0].rows - 1.0, environments[1].rows - 1.0)?;
    let variances = 2.0 * upper.min(1.0 - upper);
    Ok(2.0 * coefficients.min(variances) >= level)
}
