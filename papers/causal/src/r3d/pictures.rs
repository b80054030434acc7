//! The pictures.

use ream_lab::{Figure, Layer, Panel};
use ream_stats::local_polynomial::{LocalPolynomial, Side};

use super::analysis::Analysis;
use super::diagnostics::ends;
use super::experiment::ArmFigures;
use super::sample::{Sample, nearest};
use super::simulation::pooled_limits;

/// More points than this are thinned in a scatter.
const MOST_POINTS: usize = 2000;
/// Places at which a local fit is drawn on a side.
const PLACES: usize = 60;
/// A grid with more quantiles than this is thinned in a heat map.
const MOST_ROWS: usize = 25;
/// Most bins of a heat map on a side.
const MOST_BINS: usize = 20;

/// The effect at every quantile with its bands.
#[must_use]
pub fn effect(name: &str, unit: &str, of: &Analysis) -> Figure {
    let (fit, found) = (&of.fit, &of.inference);
    let q = || fit.grid.clone();
    let description = "Jump of the mean quantile function at the cutoff, for every quantile. The wide band holds the whole curve \
                       with the level of the bands, the narrow one each quantile alone.";
    Figure::new(format!("{name}: effect by quantile"), description).panel(
        Panel::new("")
            .x("quantile")
            .y(format!("effect on {unit}"))
            .layer(Layer::band("uniform band", q(), found.uniform.low.clone(), found.uniform.high.clone()))
            .layer(Layer::band(
                "each quantile alone",
                q(),
                found.pointwise.low.clone(),
                found.pointwise.high.clone(),
            ))
            .layer(Layer::line("effect", q(), fit.effect.clone()))
            .layer(Layer::rule("no effect", 0.0)),
    )
}

/// The two fitted quantile functions at the cutoff.
#[must_use]
pub fn sides(name: &str, unit: &str, of: &Analysis) -> Figure {
    let fit = &of.fit;
    let description = "Mean quantile function at the cutoff, seen from below and from above; their difference is the effect \
                       (in a sharp design).";
    Figure::new(format!("{name}: quantile functions at the cutoff"), description).panel(
        Panel::new("")
            .x("quantile")
            .y(unit)
            .layer(Layer::line("from below", fit.grid.clone(), fit.below.clone()))
            .layer(Layer::line("from above", fit.grid.clone(), fit.above.clone())),
    )
}

/// Rows of a side in bins of equal numbers, by ascending position.
fn bins(x: &[f64], cutoff: f64, above: bool) -> Vec<Vec<usize>> {
    let mut rows: Vec<usize> = (0..x.len()).filter(|&i| (x[i] >= cutoff) == above).collect();
    rows.sort_by(|&a, &b| x[a].total_cmp(&x[b]));
    let count = (rows.len() / 5).clamp(1, MOST_BINS);
    let cut = |k: usize| k * rows.len() / count;
    (0..count).map(|k| rows[cut(k)..cut(k + 1)].to_vec()).filter(|bin| !bin.is_empty()).collect()
}

/// The grid's columns that a heat map shows, the highest quantile on top: all of a coarse grid, of a fine one every twentieth.
fn rows_of(grid: &[f64]) -> Vec<usize> {
    let mut columns: Vec<usize> = if grid.len() <= MOST_ROWS {
        (0..grid.len()).collect()
    } else {
        (1..20).map(|k| nearest(grid, f64::from(k) / 20.0)).collect()
    };
    columns.dedup();
    columns.reverse();
    columns
}

/// Mean quantile functions along the running variable, in bins of equal numbers of units; the line is the cutoff.
#[must_use]
pub fn heat(name: &str, running: &str, unit: &str, sample: &Sample, cutoff: f64) -> Figure {
    let below = bins(&sample.x, cutoff, false);
    let boundary = below.len() as f64 - 0.5;
    let all: Vec<Vec<usize>> = below.into_iter().chain(bins(&sample.x, cutoff, true)).collect();
    let mean = |bin: &Vec<usize>, value: &dyn Fn(usize) -> f64| {
        bin.iter().map(|&i| value(i)).sum::<f64>() / bin.len() as f64
    };
    let step = all.len().div_ceil(8).max(1);
    // Three digits or so of the whole range.
    let [least, most] = ends(&sample.x);
    let decimals = (4.0 - libm::log10(most - least).ceil()).clamp(0.0, 9.0) as usize;
    let labels = all.iter().enumerate().map(|(k, bin)| {
        if k % step == 0 { format!("{:.decimals$}", mean(bin, &|i| sample.x[i])) } else { String::new() }
    });
    let columns = rows_of(&sample.grid);
    let values: Vec<Vec<f64>> = columns
        .iter()
        .map(|&q| all.iter().map(|bin| mean(bin, &|i| sample.curves.get(i, q))).collect())
        .collect();
    let quantiles = columns.iter().map(|&q| sample.grid[q].to_string());
    let description = "Mean quantiles of units with neighbouring values of the running variable, in bins of equal numbers of \
                       units (labels are bins' means). A jump shows as an edge at the line.";
    Figure::new(format!("{name}: distributions along the running variable"), description).panel(
        Panel::new("")
            .x(running)
            .y("quantile")
            .categories_x(labels)
            .categories_y(quantiles)
            .layer(Layer::heat(unit, values))
            .layer(Layer::vertical("cutoff", boundary)),
    )
}

/// Medians of the units with local linear fits on both sides.
#[must_use]
pub fn medians(name: &str, running: &str, unit: &str, sample: &Sample, of: &Analysis) -> Figure {
    let cutoff = of.settings.cutoff;
    let h = of.fit.bandwidths[nearest(&of.fit.grid, 0.5)];
    let values = sample.medians();
    let step = sample.units().div_ceil(MOST_POINTS).max(1);
    let shown = || (0..sample.units()).step_by(step);
    let points =
        Layer::points("units", shown().map(|i| sample.x[i]).collect(), shown().map(|i| values[i]).collect());
    let mut panel = Panel::new("").x(running).y(format!("median of {unit}")).layer(points);
    for (label, above) in [("local fit below", false), ("local fit above", true)] {
        let rows: Vec<usize> = (0..sample.units()).filter(|&i| (sample.x[i] >= cutoff) == above).collect();
        let x: Vec<f64> = rows.iter().map(|&i| sample.x[i]).collect();
        let y: Vec<f64> = rows.iter().map(|&i| values[i]).collect();
        let far = x.iter().fold(cutoff, |far, x| if above { far.max(*x) } else { far.min(*x) });
        let places: Vec<f64> =
            (0..=PLACES).map(|k| cutoff + (far - cutoff) * k as f64 / PLACES as f64).collect();
        // Where too few units are near, the line has a gap.
        let fitted = |at: &f64| {
            let fit = LocalPolynomial::new(&x, *at, Side::Both, of.settings.kernel, 1, h).ok()?;
            fit.value(&y).ok()
        };
        let line = places.iter().map(|at| fitted(at).unwrap_or(f64::NAN)).collect();
        panel = panel.layer(Layer::line(label, places, line));
    }
    let thinned = if step > 1 { format!(" One unit in {step} is drawn.") } else { String::new() };
    let description = format!(
        "Each point is a unit's median; lines are local linear fits with the bandwidth of the median, {h:.4}, on either \
         side.{thinned}"
    );
    Figure::new(format!("{name}: medians of the units"), description)
        .panel(panel.layer(Layer::vertical("cutoff", cutoff)))
}

/// The two-level world: estimators against the truth.
#[must_use]
pub(crate) fn two_level(n: usize, grid: &[f64], arms: &[ArmFigures], replications: usize) -> Figure {
    let description = format!(
        "Mean estimates over {replications} replications of {n} units whose means vary much below the cutoff and little above. \
         No unit's quantiles change on average at the cutoff: the truth is 0. Pooling all individuals sees the spread \
         between units as an effect; the dashed line is where it converges."
    );
    let mut panel = Panel::new("").x("quantile").y("effect").layer(Layer::rule("truth", 0.0));
    for arm in arms {
        panel = panel.layer(Layer::line(&arm.arm, grid.to_vec(), arm.mean_errors.clone()));
    }
    let limit = grid.iter().map(|q| pooled_limits(*q)).map(|[below, above]| above - below).collect();
    Figure::new("Two levels of randomness: R3D, pooled, truth", description)
        .panel(panel.layer(Layer::dashed("limit of pooling", grid.to_vec(), limit)))
}
