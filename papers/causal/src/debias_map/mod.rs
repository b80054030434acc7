//! Debiasing machine-learning predictions for causal inference without further labels: one map, many trials (Pettersson, Jerzak &
//! Daoud, 2025, arXiv 2508.01341).
//!
//! A map holds predictions `z = f(x)` of an outcome `y` for places where nobody measured it. A predictor that is accurate shrinks:
//! `E[z | y] = a + b y` with `b < 1`. Where the treatment acts through the outcome, so that `z` is independent of `A` given `y`, an
//! effect measured on the map is `b` times the true one. Two corrections, learned once from held-out predictions and truths,
//!
//! - LCC: `(z - a) / b`, the line inverted;
//! - Tweedie: `z - sigma^2 d/dz log p(z)`, from `y = z + e` with `e` independent of `z` (Berkson errors). Tweedie's formula says
//!   `E[z | y] = y + sigma^2 d/dy log p_Y(y)`; the density of truths is not known in a trial, and that of predictions takes its
//!   place;
//!
//! make effects right in every later trial, without labels there. For normal predictions the two are equal.
//!
//! | part | what is there |
//! |---|---|
//! | [`card`] | what the map maker learns: line, errors, score curve; corrections; the card's file |
//! | [`effects`] | estimators of a trial; the test of `z` independent of `A` given `y` |
//! | [`inference`] | delta method, bootstrap of calibration clusters and trial units |
//! | [`ppi`] | prediction-powered inference, which needs labels |
//! | [`predictors`] | ridge, trees, a perceptron; the fix at training time |
//! | [`places`] | households in communes, pictures of digits |
//! | [`trials`], [`summary`] | trials with a known effect, and what is read off them |
//! | [`analytic`] | cases whose limits are known |
//!
//! ```
//! use ream_causal::debias_map::analytic::Law;
//! use ream_causal::debias_map::card::{Card, CardSettings, Method};
//! use ream_rand::Stream;
//!
//! let sample = Law::Gaussian.sample(2000, Stream::new(1, "example"));
//! let card = Card::new(&sample, &CardSettings::default())?;
//! // Half of the variance is explained: a prediction 1 above the mean stands for a truth 2 above it.
//! let moved = card.correction.apply(Method::Lcc, 1.0) - card.correction.apply(Method::Lcc, 0.0);
//! assert!((moved - 2.0).abs() < 0.2);
//! # Ok::<(), ream_lab::Error>(())
//! ```

pub mod analytic;
pub mod card;
mod config;
pub mod effects;
mod experiment;
pub mod inference;
pub mod own_data;
mod own_tables;
mod pictures;
pub mod places;
pub mod ppi;
pub mod predictors;
pub mod summary;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_own;
pub mod trials;

use std::path::Path;

use ream_lab::{Invalid, Needs, Preset, Result, Run, System};

pub use config::{Config, Own};

/// The system.
pub struct DebiasMap;

impl System for DebiasMap {
    const PAPER: &'static str = "debias-map";
    type Config = Config;

    fn preset(preset: Preset) -> Config {
        match preset {
            Preset::Smoke => Config::smoke(),
            Preset::Full | Preset::Long => Config::default(),
        }
    }

    fn seeds(_: Preset) -> u64 {
        1
    }

    fn check(config: &Config) -> Result<(), Invalid> {
        config.check()
    }

    fn needs(config: &Config) -> Needs {
        let maps = config.splits as f64 * (config.predictors.len() + 1) as f64;
        let replicates = maps * config.bootstrap as f64;
        Needs {
            data: vec![experiment::DIGITS.to_owned()],
            threads: 2,
            memory_mib: 300,
            minutes: (replicates * 4e-3 + maps * 1.5) / 60.0,
            ..Needs::default()
        }
    }

    fn check_data(config: &Config, file: &Path) -> Result<()> {
        own_data::load(config, file).map(|_| ())
    }

    fn run(config: &Config, run: &mut Run) -> Result<()> {
        match run.own_data().map(Path::to_owned) {
            Some(file) => own_data::run(config, &file, run),
            None => experiment::run_all(config, run),
        }
    }
}
