//! Coverage, bias and power where the truth is known.

use rayon::prelude::*;
use ream_lab::{Place, Result, Run};
use ream_rand::Stream;
use ream_stats::local_polynomial::Kernel;
use ream_stats::multiplier;
use ream_stats::regression_discontinuity::RegressionDiscontinuity;
use serde::{Deserialize, Serialize};

use super::baselines::{Pooled, mean_jump};
use super::config::Config;
use super::estimate::{Method, Settings, estimate};
use super::failure::Failure;
use super::inference::{infer, noise};
use super::pictures;
use super::sample::{Sample, deciles, nearest};
use super::simulation::{Units, World};

/// Level of all bands and tests of the simulations.
const LEVEL: f64 = 0.95;
/// Replications between two looks at whether to stop.
const TOGETHER: usize = 10;
/// The quantile whose bias is observed.
const UPPER: f64 = 0.9;

/// The kernel of the simulations.
pub(crate) const KERNEL: Kernel = Kernel::Epanechnikov;

/// One setting of the simulations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cell {
    pub(crate) world: World,
    pub(crate) n: usize,
    pub(crate) effect: f64,
    /// Whether the pooled baseline draws individuals too.
    pub(crate) redraw: bool,
}

impl Cell {
    fn name(&self) -> String {
        format!("{}-{}-{}", self.world.name(), self.n, self.effect)
    }

    fn at(&self) -> [(&'static str, Place); 3] {
        [
            ("world", Place::from(self.world.name())),
            ("n", Place::from(self.n as f64)),
            ("delta", Place::from(self.effect)),
        ]
    }
}

/// All cells of a configuration.
pub(crate) fn cells(config: &Config) -> Vec<Cell> {
    let of = &config.simulation;
    let mut cells = Vec::new();
    for world in [World::Constant, World::Skewed, World::Fuzzy] {
        for &n in &of.sizes {
            cells.extend(of.effects.iter().map(|&effect| Cell { world, n, effect, redraw: false }));
        }
    }
    for world in [World::Curved, World::CurvedAbove] {
        cells.extend(of.sizes.iter().map(|&n| Cell { world, n, effect: 1.0, redraw: false }));
    }
    // Drawing individuals is slow: it is shown where units are fewest.
    let fewest = of.two_level_sizes.iter().copied().min();
    cells.extend(of.two_level_sizes.iter().map(|&n| Cell {
        world: World::TwoLevel,
        n,
        effect: 0.0,
        redraw: Some(n) == fewest,
    }));
    cells
}

/// The estimators that are compared: name, method, order.
pub(crate) const ARMS: [(&str, Method, usize); 4] = [
    ("frechet", Method::Frechet, 2),
    ("simple", Method::Simple, 2),
    ("frechet-undebiased", Method::Frechet, 1),
    ("simple-undebiased", Method::Simple, 1),
];

/// What one replication shows of one estimator.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) arm: &'static str,
    /// Estimate less truth, `[Q]`.
    pub(crate) errors: Vec<f64>,
    /// Whether the uniform and the studentised band hold the truth everywhere, with their mean widths; without draws nothing.
    pub(crate) bands: Option<[(bool, f64); 2]>,
    /// Whether no effect is rejected.
    pub(crate) rejected: Option<bool>,
}

/// What one replication shows of the discontinuity of means: errors, and whether intervals hold the truth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Means {
    error: f64,
    conventional: bool,
    robust: bool,
}

fn holds(low: &[f64], high: &[f64], truth: f64) -> bool {
    low.iter().zip(high).all(|(low, high)| *low <= truth && truth <= *high)
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// One replication of a cell: all estimators on the same units.
pub(crate) fn replicate(
    cell: &Cell,
    config: &Config,
    stream: Stream,
) -> std::result::Result<(Vec<Seen>, Option<Means>), Failure> {
    let of = &config.simulation;
    let units = cell.world.draw(cell.n, of.individuals, cell.effect, &mut stream.at(0));
    let truth = cell.world.truth(cell.effect);
    let sample =
        Sample::from_individuals(units.x.clone(), &units.outcomes, None, deciles(), units.treatment.clone())?;
    let mut seen = Vec::new();
    let mut common = 1.0;
    for (k, (arm, method, order)) in ARMS.into_iter().enumerate() {
        if order == 1 && cell.world == World::TwoLevel {
            continue;
        }
        let settings = Settings { kernel: KERNEL, method, order, ..Settings::default() };
        let fit = estimate(&sample, &settings)?;
        if arm == "frechet" {
            common = fit.bandwidths[0];
        }
        let noise = noise(&fit, of.draws, stream.child(k as u64))?;
        let found = infer(&fit, &noise, LEVEL)?;
        let width = |band: &multiplier::Band| mean(band.low.iter().zip(&band.high).map(|(a, b)| b - a));
        let judged = |band: &multiplier::Band| (holds(&band.low, &band.high, truth), width(band));
        seen.push(Seen {
            arm,
            errors: fit.effect.iter().map(|e| e - truth).collect(),
            bands: Some([judged(&found.uniform), judged(&found.studentised)]),
            rejected: Some(found.nullity.p_value < 1.0 - LEVEL),
        });
    }
    if cell.world == World::TwoLevel {
        seen.push(pooled(cell, config, &units, common, stream.child(100))?);
    }
    Ok((seen, means(&units, truth)))
}

fn pooled(
    cell: &Cell,
    config: &Config,
    units: &Units,
    bandwidth: f64,
    stream: Stream,
) -> std::result::Result<Seen, Failure> {
    let fit = Pooled::fit(&units.x, &units.outcomes, 0.0, KERNEL, bandwidth, &deciles())?;
    let effect = fit.effect();
    let truth = cell.world.truth(cell.effect);
    let mut seen = Seen {
        arm: "pooled",
        errors: effect.iter().map(|e| e - truth).collect(),
        bands: None,
        rejected: None,
    };
    if cell.redraw {
        let draws = fit.noise(config.simulation.draws, stream)?;
        let judged = |band: &multiplier::Band| {
            (holds(&band.low, &band.high, truth), mean(band.low.iter().zip(&band.high).map(|(a, b)| b - a)))
        };
        seen.bands = Some([
            judged(&multiplier::uniform_band(&effect, &draws, LEVEL)?),
            judged(&multiplier::studentised_band(&effect, &draws, LEVEL)?),
        ]);
        seen.rejected = Some(multiplier::nullity(&effect, &draws)?.p_value < 1.0 - LEVEL);
    }
    Ok(seen)
}

/// Nothing where the preliminary bandwidths of the rule hold too few units.
fn means(units: &Units, truth: f64) -> Option<Means> {
    let settings =
        RegressionDiscontinuity { kernel: KERNEL, level: LEVEL, ..RegressionDiscontinuity::default() };
    let jump = mean_jump(&units.x, &units.outcomes, units.treatment.as_deref(), &settings).ok()?;
    Some(Means {
        error: jump.conventional.value - truth,
        conventional: jump.conventional.contains(truth),
        robust: jump.robust.contains(truth),
    })
}

/// Figures of one estimator in one cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ArmFigures {
    pub(crate) arm: String,
    /// Mean of estimate less truth over the replications, `[Q]`.
    pub(crate) mean_errors: Vec<f64>,
    pub(crate) imse: f64,
}

const MEASURES: [&str; 12] = [
    "uniform_coverage",
    "studentised_coverage",
    "band_width",
    "studentised_width",
    "bias",
    "integrated_bias",
    "imse",
    "rejection",
    "mean_coverage",
    "mean_bias",
    "bias_kept",
    "imse_fall",
];

/// Runs the simulations of one seed.
///
/// # Errors
/// Cancelled, or the disk is full.
pub(crate) fn run_all(config: &Config, run: &mut Run) -> Result<()> {
    if !MEASURES.iter().any(|measure| run.wanted(measure)) {
        return Ok(());
    }
    let cells = cells(config);
    let all: f64 = cells.iter().map(|cell| cell.n as f64).sum();
    let mut done = 0.0;
    let mut two_level: Vec<(usize, Vec<ArmFigures>)> = Vec::new();
    for cell in &cells {
        let ends = [done / all, (done + cell.n as f64) / all].map(|share| 0.9 * share);
        let figures = run.part(&cell.name(), |run| one_cell(cell, config, ends, run))?;
        if cell.world == World::TwoLevel {
            two_level.push((cell.n, figures));
        }
        done += cell.n as f64;
    }
    between_sizes(&two_level, run);
    if run.is_first_seed()
        && let Some((n, figures)) = two_level.last()
    {
        run.figure(
            "two-level",
            pictures::two_level(*n, &deciles(), figures, config.simulation.replications),
        )?;
    }
    Ok(())
}

fn one_cell(cell: &Cell, config: &Config, [from, to]: [f64; 2], run: &mut Run) -> Result<Vec<ArmFigures>> {
    let stream = run.stream(&cell.name());
    let count = config.simulation.replications;
    let (mut seen, mut means): (Vec<Vec<Seen>>, Vec<Means>) = (Vec::new(), Vec::new());
    for begin in (0..count).step_by(TOGETHER) {
        run.progress(from + (to - from) * begin as f64 / count as f64, &cell.name())?;
        let some = (begin..(begin + TOGETHER).min(count))
            .into_par_iter()
            .map(|i| replicate(cell, config, stream.child(i as u64)))
            .collect::<std::result::Result<Vec<_>, _>>()?;
        for (own, of_means) in some {
            seen.push(own);
            means.extend(of_means);
        }
    }
    let arms = seen.first().map_or(0, Vec::len);
    let figures = (0..arms)
        .map(|k| {
            let own: Vec<&Seen> = seen.iter().map(|one| &one[k]).collect();
            observe(cell, &own, run)
        })
        .collect();
    if means.len() < count {
        run.warn(format!(
            "{}: in {} of {count} replications the discontinuity of means finds no bandwidth (too few units in a preliminary \
             window); its figures leave them out",
            cell.name(),
            count - means.len()
        ));
    }
    observe_means(cell, &means, run);
    Ok(figures)
}

fn tell(run: &mut Run, measure: &str, arm: &str, cell: &Cell, value: f64) {
    if run.wanted(measure) {
        run.observe(measure, arm, &cell.at(), value);
    }
}

fn share(flags: impl ExactSizeIterator<Item = bool>) -> f64 {
    mean(flags.map(|flag| f64::from(u8::from(flag))))
}

/// Tells what the replications show of one estimator.
fn observe(cell: &Cell, seen: &[&Seen], run: &mut Run) -> ArmFigures {
    let arm = seen[0].arm;
    let grid = deciles();
    let mean_errors: Vec<f64> = (0..grid.len()).map(|q| mean(seen.iter().map(|one| one.errors[q]))).collect();
    let imse = mean(seen.iter().map(|one| mean(one.errors.iter().map(|e| e * e))));
    tell(run, "bias", arm, cell, mean_errors[nearest(&grid, UPPER)]);
    tell(run, "integrated_bias", arm, cell, mean(mean_errors.iter().map(|e| e.abs())));
    tell(run, "imse", arm, cell, imse);
    let bands: Vec<[(bool, f64); 2]> = seen.iter().filter_map(|one| one.bands).collect();
    if !bands.is_empty() {
        tell(run, "uniform_coverage", arm, cell, share(bands.iter().map(|band| band[0].0)));
        tell(run, "studentised_coverage", arm, cell, share(bands.iter().map(|band| band[1].0)));
        tell(run, "band_width", arm, cell, mean(bands.iter().map(|band| band[0].1)));
        tell(run, "studentised_width", arm, cell, mean(bands.iter().map(|band| band[1].1)));
    }
    let rejected: Vec<bool> = seen.iter().filter_map(|one| one.rejected).collect();
    if !rejected.is_empty() {
        tell(run, "rejection", arm, cell, share(rejected.iter().copied()));
    }
    ArmFigures { arm: arm.to_owned(), mean_errors, imse }
}

fn observe_means(cell: &Cell, means: &[Means], run: &mut Run) {
    if means.is_empty() {
        return;
    }
    tell(run, "mean_bias", "conventional", cell, mean(means.iter().map(|one| one.error)));
    tell(run, "mean_coverage", "conventional", cell, share(means.iter().map(|one| one.conventional)));
    tell(run, "mean_coverage", "robust", cell, share(means.iter().map(|one| one.robust)));
}

/// What becomes of bias and error from the fewest to the most units of the two-level world.
fn between_sizes(cells: &[(usize, Vec<ArmFigures>)], run: &mut Run) {
    let few = cells.iter().min_by_key(|(n, _)| *n);
    let many = cells.iter().max_by_key(|(n, _)| *n);
    let (Some((n, few)), Some((most, many))) = (few, many) else { return };
    if n == most {
        return;
    }
    let upper = nearest(&deciles(), UPPER);
    for (small, large) in few.iter().zip(many) {
        if run.wanted("imse_fall") {
            run.observe("imse_fall", &small.arm, &[], small.imse / large.imse);
        }
        if small.arm == "pooled" && run.wanted("bias_kept") {
            let kept = large.mean_errors[upper] / small.mean_errors[upper];
            run.observe("bias_kept", &small.arm, &[], kept);
        }
    }
}
