//! What a careful reader asks of a discontinuity: is the running variable smooth at the cutoff, is there an effect where there
//! should be none, does the answer hang on the bandwidth or on the units nearest to the cutoff?

use ream_rand::Stream;
use ream_stats::density::{DensityTest, DensityTestSettings, density_test};
use ream_stats::descriptive::median;

use super::estimate::{Bandwidth, Fit, Settings, estimate};
use super::failure::Failure;
use super::inference::{infer, noise};
use super::sample::Sample;

/// Factors of the bandwidth in the table of sensitivity.
pub const FACTORS: [f64; 5] = [0.5, 0.75, 1.0, 1.5, 2.0];

/// How curves are drawn and judged.
#[derive(Clone, Copy, Debug)]
pub struct Draws {
    /// Draws of the bootstrap.
    pub count: usize,
    /// Level of the bands.
    pub level: f64,
    /// The multipliers.
    pub stream: Stream,
}

/// An effect under changed conditions, in brief.
#[derive(Clone, Debug, PartialEq)]
pub struct Brief {
    /// What was changed.
    pub label: String,
    /// Least and largest bandwidth.
    pub bandwidths: [f64; 2],
    /// Least numbers of units with a weight, below and above.
    pub effective: [usize; 2],
    /// Mean of the effect over the grid.
    pub mean: f64,
    /// `sup |tau|`.
    pub largest: f64,
    /// Half width of the uniform band.
    pub half_width: f64,
    /// p value of no effect anywhere.
    pub p_value: f64,
}

fn brief(label: String, sample: &Sample, settings: &Settings, draws: Draws) -> Result<Brief, Failure> {
    let fit = estimate(sample, settings)?;
    let noise = noise(&fit, draws.count, draws.stream)?;
    let found = infer(&fit, &noise, draws.level)?;
    Ok(Brief {
        label,
        bandwidths: ends(&fit.bandwidths),
        effective: least_effective(&fit),
        mean: fit.mean_effect(),
        largest: found.nullity.statistic,
        half_width: found.uniform.critical,
        p_value: found.nullity.p_value,
    })
}

/// Least and largest.
#[must_use]
pub fn ends(values: &[f64]) -> [f64; 2] {
    values.iter().fold([f64::INFINITY, f64::NEG_INFINITY], |[a, b], v| [a.min(*v), b.max(*v)])
}

/// Fewest units of positive weight at any quantile, below and above.
#[must_use]
pub fn least_effective(fit: &Fit) -> [usize; 2] {
    fit.effective.iter().fold([usize::MAX; 2], |[a, b], [below, above]| [a.min(*below), b.min(*above)])
}

/// The effect with the bandwidths of `fit` times each of [`FACTORS`]; a bandwidth that is too narrow gives its reason.
pub fn sensitivity(
    sample: &Sample,
    settings: &Settings,
    fit: &Fit,
    draws: Draws,
) -> Vec<Result<Brief, String>> {
    FACTORS
        .iter()
        .map(|factor| {
            let values = fit.bandwidths.iter().map(|h| factor * h).collect();
            let settings = Settings { bandwidth: Bandwidth::Each(values), ..settings.clone() };
            let label = format!("bandwidth x {factor}");
            brief(label.clone(), sample, &settings, draws).map_err(|failure| format!("{label}: {failure}"))
        })
        .collect()
}

/// The "effect" at cutoffs where nothing happens. Units of one side of the true cutoff only, so that the true jump is not in
/// the window. Without places the medians of the running variable on either side are taken.
pub fn placebos(
    sample: &Sample,
    settings: &Settings,
    places: &[f64],
    draws: Draws,
) -> Vec<Result<Brief, String>> {
    let cutoff = settings.cutoff;
    let places = if places.is_empty() { side_medians(&sample.x, cutoff) } else { places.to_vec() };
    places
        .into_iter()
        .map(|place| {
            let own = sample.filtered(|x| (x >= cutoff) == (place >= cutoff));
            // What is tested is the outcome: a treatment does not jump here.
            let own = Sample { treatment: None, ..own };
            let settings = Settings { cutoff: place, bandwidth: Bandwidth::Automatic, ..settings.clone() };
            let label = format!("cutoff at {place:.4}");
            brief(label.clone(), &own, &settings, draws).map_err(|failure| format!("{label}: {failure}"))
        })
        .collect()
}

fn side_medians(x: &[f64], cutoff: f64) -> Vec<f64> {
    let side = |above: bool| -> Vec<f64> { x.iter().copied().filter(|x| (*x >= cutoff) == above).collect() };
    [side(false), side(true)].iter().filter_map(|side| median(side).ok()).collect()
}

/// The effect without the units nearer to the cutoff than `radius`, with the bandwidths of the settings.
///
/// # Errors
/// [`Failure`] when too few units are left.
pub fn donut(sample: &Sample, settings: &Settings, radius: f64, draws: Draws) -> Result<Brief, Failure> {
    brief(
        format!("without |x - c| < {radius}"),
        &sample.without_donut(settings.cutoff, radius),
        settings,
        draws,
    )
}

/// Is the density of the running variable continuous at the cutoff?
///
/// # Errors
/// Too few units for an estimate of the density, in words.
pub fn density(sample: &Sample, cutoff: f64, level: f64) -> Result<DensityTest, String> {
    density_test(&sample.x, &DensityTestSettings { cutoff, level, ..DensityTestSettings::default() })
        .map_err(|error| error.to_string())
}
