//! One sample, looked at from all sides: what an applied researcher reports, and what they should be warned of.

use ream_rand::Stream;
use ream_stats::density::DensityTest;
use ream_stats::interval::Estimate;
use ream_stats::multiplier::CurveTest;

use super::config::Config;
use super::diagnostics::{Brief, Draws, density, donut, ends, least_effective, placebos, sensitivity};
use super::estimate::{Bandwidth, Fit, Method, Settings, estimate};
use super::failure::Failure;
use super::inference::{Gini, Inference, first_stage, gini, infer, noise, tests_on};
use super::sample::Sample;

/// Fewer units than this on a side are called few.
const FEW_UNITS: usize = 20;
/// Below this the jump of the treatment, in standard errors, is called weak: `F = t^2 < 10`.
const WEAK: f64 = 3.162_277_660_168_379_5;

/// Everything about one sample.
#[derive(Clone, Debug)]
pub struct Analysis {
    /// The settings.
    pub settings: Settings,
    /// Number of units below and above.
    pub units: [usize; 2],
    /// The estimates.
    pub fit: Fit,
    /// Bands and tests.
    pub inference: Inference,
    /// Level of the bands.
    pub level: f64,
    /// Draws of the bootstrap.
    pub draws: usize,
    /// Gini coefficients; a reason where there are none.
    pub gini: Result<Gini, String>,
    /// Tests of no effect and of a constant effect on ranges of quantiles.
    pub ranges: Vec<([f64; 2], [CurveTest; 2])>,
    /// The treatment's jump and its p value in a fuzzy design.
    pub first_stage: Option<(Estimate, f64)>,
    /// Density test of the running variable.
    pub density: Result<DensityTest, String>,
    /// The effect at other bandwidths.
    pub sensitivity: Vec<Result<Brief, String>>,
    /// The effect at other cutoffs.
    pub placebos: Vec<Result<Brief, String>>,
    /// The effect without the nearest units, where that was asked for.
    pub donut: Option<Result<Brief, String>>,
    /// What a researcher should know before believing it.
    pub warnings: Vec<String>,
}

/// Estimates, bands, tests and diagnostics of a sample.
///
/// # Errors
/// As [`estimate`]; test ranges without a quantile of the grid. Diagnostics that cannot be made are told as such.
pub fn analyse(
    sample: &Sample,
    settings: &Settings,
    config: &Config,
    stream: Stream,
) -> Result<Analysis, Failure> {
    let level = config.level();
    let draws = |k: u64| Draws { count: config.draws, level, stream: stream.child(k) };
    let fit = estimate(sample, settings)?;
    let noise = noise(&fit, config.draws, stream.child(0))?;
    let ranges = config
        .test_ranges
        .iter()
        .map(|range| Ok((*range, tests_on(&fit, &noise, *range)?)))
        .collect::<Result<Vec<_>, Failure>>()?;
    let above = sample.x.iter().filter(|x| **x >= settings.cutoff).count();
    let mut analysis = Analysis {
        settings: settings.clone(),
        units: [sample.units() - above, above],
        inference: infer(&fit, &noise, level)?,
        level,
        draws: config.draws,
        gini: gini(&fit, &noise, level).map_err(|error| error.to_string()),
        ranges,
        first_stage: first_stage(&fit, &noise, level)?,
        density: density(sample, settings.cutoff, level),
        sensitivity: sensitivity(sample, settings, &fit, draws(1)),
        placebos: placebos(sample, settings, &config.placebo, draws(2)),
        donut: (config.donut > 0.0)
            .then(|| donut(sample, settings, config.donut, draws(3)).map_err(|failure| failure.to_string())),
        fit,
        warnings: Vec::new(),
    };
    analysis.warnings = warnings(&analysis);
    Ok(analysis)
}

fn warnings(of: &Analysis) -> Vec<String> {
    let mut found = Vec::new();
    let alpha = 1.0 - of.level;
    let automatic = of.settings.bandwidth == Bandwidth::Automatic;
    if automatic && of.settings.order <= of.settings.bandwidth_order {
        found.push(format!(
            "the polynomial's order ({}) is not above the order that the bandwidth is made for ({}): the leading bias stays in \
             the estimate and bands cover less often than they say; take order = {}",
            of.settings.order,
            of.settings.bandwidth_order,
            of.settings.bandwidth_order + 1
        ));
    }
    if automatic && of.settings.constants == ream_stats::local_polynomial::Constants::Drop {
        found.push(
            "bw_constants = drop leaves the kernel's constants out of the bandwidth rule: bandwidths are several times too \
             narrow, and are here for comparison only"
                .to_owned(),
        );
    }
    found.extend(of_bandwidths(&of.fit, &of.settings));
    let fewest = least_effective(&of.fit);
    if fewest.iter().any(|n| *n < FEW_UNITS) {
        found.push(format!(
            "only {} units below and {} above have a weight at some quantile: with fewer than {FEW_UNITS} on a side, bands \
             rest on a normal approximation that may be poor",
            fewest[0], fewest[1]
        ));
    }
    if let Some((jump, _)) = &of.first_stage
        && jump.se > 0.0
        && (jump.value / jump.se).abs() < WEAK
    {
        found.push(format!(
            "the treatment jumps by {:.3} with a standard error of {:.3} (F = {:.1}, below 10): the ratio may be far off and \
             its bands too narrow; report the jump of the outcome itself",
            jump.value,
            jump.se,
            (jump.value / jump.se).powi(2)
        ));
    }
    found.extend(of_design(of, alpha));
    found
}

fn of_bandwidths(fit: &Fit, settings: &Settings) -> Vec<String> {
    let mut found = Vec::new();
    let quantiles = |columns: &[usize]| match settings.method {
        Method::Frechet => "the curve".to_owned(),
        Method::Simple => {
            let names: Vec<String> = columns.iter().take(5).map(|q| fit.grid[*q].to_string()).collect();
            let more = if columns.len() > 5 { ", ..." } else { "" };
            format!("q = {}{more}", names.join(", "))
        }
    };
    if !fit.widened.is_empty() {
        found.push(format!(
            "the automatic bandwidth for {} held fewer than {} units on a side and was widened to hold them: there are too \
             few units near the cutoff for this order",
            quantiles(&fit.widened),
            settings.order + 2
        ));
    }
    if !fit.rule_of_thumb.is_empty() {
        found.push(format!(
            "the curvatures on both sides cancel for {}, so that no bandwidth is optimal: the rule of thumb \
             1.06 sd(x) n^(-1 / (2 s + 1)) was taken",
            quantiles(&fit.rule_of_thumb)
        ));
    }
    found
}

/// Warnings about the design rather than the estimate.
fn of_design(of: &Analysis, alpha: f64) -> Vec<String> {
    let mut found = Vec::new();
    match &of.density {
        Ok(test) if test.p_value < alpha => found.push(format!(
            "the density of the running variable jumps at the cutoff (log ratio {:.3}, p = {:.4}): units may have chosen \
             their side, and then the effect is not identified",
            test.log_ratio.value, test.p_value
        )),
        Ok(_) => {}
        Err(why) => found.push(format!("the density of the running variable could not be tested: {why}")),
    }
    for placebo in &of.placebos {
        match placebo {
            Ok(brief) if brief.p_value < alpha => found.push(format!(
                "there is an \"effect\" of up to {:.4} at the placebo {} too (p = {:.4}), where nothing should happen",
                brief.largest, brief.label, brief.p_value
            )),
            Ok(_) => {}
            Err(why) => found.push(format!("a placebo was left out: {why}")),
        }
    }
    if let Some(Err(why)) = &of.donut {
        found.push(format!("the donut was left out: {why}"));
    }
    found
}

/// Bandwidth in words: one number, or from the least to the largest.
#[must_use]
pub fn bandwidth_words(fit: &Fit) -> String {
    let [least, largest] = ends(&fit.bandwidths);
    if least == largest { format!("{least:.4}") } else { format!("{least:.4} to {largest:.4}") }
}
