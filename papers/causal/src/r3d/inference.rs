//! Bands and tests by the multiplier bootstrap over units.
//!
//! `nu(q) = sum_i xi_i e_i(q) (w_+,i - w_-,i)` with one standard normal number for each unit, shared by all quantiles, both
//! sides and the treatment. Individuals are never drawn: bands made of them would be far too narrow.

use ream_rand::Stream;
use ream_stats::descriptive::gini_of_quantiles;
use ream_stats::distribution::normal_two_sided;
use ream_stats::interval::Estimate;
use ream_stats::multiplier::{self, Band, CurveTest};
use ream_stats::{Matrix, StatsError};

use super::estimate::Fit;
use super::failure::Failure;

/// Draws of the noise.
#[derive(Clone, Debug)]
pub struct Noise {
    /// Of the effect, `[B, Q]`.
    pub effect: Matrix,
    /// Of `m_+`, `[B, Q]`.
    pub above: Matrix,
    /// Of `m_-`, `[B, Q]`.
    pub below: Matrix,
    /// Of the treatment's jump `D`, `[B]`.
    pub treatment: Vec<f64>,
}

/// Draws the noise of a fit.
///
/// # Errors
/// Fewer than two draws, or noise that is not finite.
pub fn noise(fit: &Fit, draws: usize, stream: Stream) -> Result<Noise, Failure> {
    let count = fit.grid.len();
    let all =
        multiplier::draws_of(fit.parts.len(), 2 * count + 1, |part, row| fit.fill(part, row), draws, stream)?;
    let columns = |from: usize| Matrix::from_fn(draws, count, |b, q| all.get(b, from + q));
    let (above, below, treatment) = (columns(0), columns(count), all.column(2 * count));
    let effect = Matrix::from_fn(draws, count, |b, q| {
        let jump = above.get(b, q) - below.get(b, q);
        match &fit.treatment {
            // The ratio's first-order change.
            Some(t) => (jump - fit.effect[q] * treatment[b]) / t.jump,
            None => jump,
        }
    });
    Ok(Noise { effect, above, below, treatment })
}

/// What there is to say about an effect curve.
#[derive(Clone, Debug, PartialEq)]
pub struct Inference {
    /// Standard error at each quantile.
    pub se: Vec<f64>,
    /// Intervals that hold at each quantile alone.
    pub pointwise: Band,
    /// The band of constant width that holds at all quantiles at once.
    pub uniform: Band,
    /// The band that holds at all quantiles at once and is narrow where the noise is small.
    pub studentised: Band,
    /// The test that there is no effect anywhere.
    pub nullity: CurveTest,
    /// The test that the effect is the same everywhere.
    pub homogeneity: CurveTest,
}

/// Bands and tests of the effect.
///
/// # Errors
/// A level outside (0, 1), or too few draws for it.
pub fn infer(fit: &Fit, noise: &Noise, level: f64) -> Result<Inference, Failure> {
    let (curve, draws) = (&fit.effect, &noise.effect);
    Ok(Inference {
        se: multiplier::standard_errors(draws)?,
        pointwise: multiplier::pointwise_intervals(curve, draws, level)?,
        uniform: multiplier::uniform_band(curve, draws, level)?,
        studentised: multiplier::studentised_band(curve, draws, level)?,
        nullity: multiplier::nullity(curve, draws)?,
        homogeneity: multiplier::homogeneity(curve, draws)?,
    })
}

/// Tests of no effect and of a constant effect on the quantiles of a range.
///
/// # Errors
/// A range that holds no quantile of the grid.
pub fn tests_on(fit: &Fit, noise: &Noise, range: [f64; 2]) -> Result<[CurveTest; 2], Failure> {
    let inside = |q: &usize| range[0] - 1e-9 <= fit.grid[*q] && fit.grid[*q] <= range[1] + 1e-9;
    let columns: Vec<usize> = (0..fit.grid.len()).filter(inside).collect();
    if columns.is_empty() {
        let problem = format!("the test range {range:?} holds no quantile of the grid");
        return Err(Failure::Setting(problem));
    }
    let curve: Vec<f64> = columns.iter().map(|&q| fit.effect[q]).collect();
    let draws = Matrix::from_fn(noise.effect.rows(), columns.len(), |b, k| noise.effect.get(b, columns[k]));
    Ok([multiplier::nullity(&curve, &draws)?, multiplier::homogeneity(&curve, &draws)?])
}

/// Gini coefficients of the sides' curves and their difference, above less below.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gini {
    /// Below and above.
    pub sides: [f64; 2],
    /// The difference with its interval.
    pub difference: Estimate,
    /// Share of draws whose difference moves at least as far as the estimate is from 0.
    pub p_value: f64,
}

/// Compares the Gini coefficients of the two sides (of the treated and untreated margins, not scaled by the treatment's jump):
/// a draw adds its noise to both curves.
///
/// # Errors
/// Curves whose mean is not above 0 have no Gini coefficient.
pub fn gini(fit: &Fit, noise: &Noise, level: f64) -> Result<Gini, StatsError> {
    let sides = [gini_of_quantiles(&fit.below, &fit.grid)?, gini_of_quantiles(&fit.above, &fit.grid)?];
    let difference = sides[1] - sides[0];
    let moved = |curve: &[f64], draw: &[f64]| -> Result<f64, StatsError> {
        let curve: Vec<f64> = curve.iter().zip(draw).map(|(c, d)| c + d).collect();
        gini_of_quantiles(&curve, &fit.grid)
    };
    let mut changes = Vec::with_capacity(noise.effect.rows());
    for b in 0..noise.effect.rows() {
        let draw = moved(&fit.above, noise.above.row(b))? - moved(&fit.below, noise.below.row(b))?;
        changes.push(draw - difference);
    }
    let se = ream_stats::descriptive::standard_deviation(&changes)?;
    let beyond = changes.iter().filter(|change| change.abs() >= difference.abs()).count();
    Ok(Gini {
        sides,
        difference: Estimate::symmetric(difference, se, f64::INFINITY, level)?,
        p_value: beyond as f64 / changes.len() as f64,
    })
}

/// The treatment's jump with its interval and p value; `None` in a sharp design.
///
/// # Errors
/// As [`infer`].
pub fn first_stage(fit: &Fit, noise: &Noise, level: f64) -> Result<Option<(Estimate, f64)>, Failure> {
    let Some(treatment) = &fit.treatment else { return Ok(None) };
    let se = ream_stats::descriptive::standard_deviation(&noise.treatment)?;
    let estimate = Estimate::symmetric(treatment.jump, se, f64::INFINITY, level)?;
    let p_value = if se > 0.0 { normal_two_sided(treatment.jump / se) } else { 0.0 };
    Ok(Some((estimate, p_value)))
}
