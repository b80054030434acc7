//! Outcome-invariant data augmentation as an instrument: IV-like regression, IVL (Akbar et al., 2025, arXiv 2510.25128).
//!
//! `Y = f(X) + xi` with `E[xi] = 0`, but a hidden cause of `X` and `Y` makes `E[xi | X]` differ from 0. If `f(gX) = f(X)` for
//! transformations `g`, then drawing `g` at random and replacing `X` by `GX` is a soft intervention on `X`: least squares on
//! `(GX, Y)` (DA+ERM) is less confounded. The parameters `G` are independent of `Y` and move `GX`, so that they act like
//! instruments, although they may be too few. With `P` the projection on `G`, IVL blends both losses,
//!
//! `h_alpha = argmin |P (y - GX h)|^2 + alpha |y - GX h|^2`,
//!
//! from instrumental variables (`alpha` to 0) to DA+ERM (`alpha` to infinity). It is the k-class estimator with `kappa = 1 / (1 + alpha)`,
//! anchor regression with `gamma = 1 + 1 / alpha`, and, for translations of strength `gamma`, in the population the same as DA+ERM at
//! strength `gamma sqrt((1 + alpha) / alpha)`.
//!
//! | part | what is there |
//! |---|---|
//! | [`sample`], [`moments`] | one augmented sample and its linear fits |
//! | [`select`] | five ways to choose `alpha` without the truth |
//! | [`baselines`], [`icp`], [`methods`] | ridge, confounder corrections, IRM, risk extrapolation, DRO, ICP, all on the same sample |
//! | [`simulation`], [`optical`], [`digits`], [`card`] | the data |
//! | [`network`] | the same loss for a perceptron |
//! | [`augment`] | augmentations of one's own columns |
//! | [`own_data`] | OLS, 2SLS, LIML, k-class, IVL, anchor regression on one's own file, with standard errors |
//!
//! ```
//! use ream_causal::ivl::sample::{Fits, normalised_risk};
//! use ream_causal::ivl::simulation::World;
//! use ream_rand::Stream;
//!
//! let world = World::draw(8, Stream::new(1, "example"));
//! let sample = world.rows(2000, Stream::new(1, "rows")).sample(&world, 1.0, 1.0);
//! let fits = Fits::new(&sample, &[0.1])?;
//! let [erm, da, ivl] = [&fits.erm, &fits.da_erm, &fits.path[0]].map(|h| normalised_risk(h, &world.truth));
//! assert!(ivl < da && da < erm);
//! # Ok::<(), ream_lab::Error>(())
//! ```

pub mod augment;
pub mod baselines;
pub mod card;
mod config;
pub mod curves;
mod digit_task;
pub mod digits;
mod estimate;
mod experiment;
pub mod icp;
pub mod methods;
pub mod moments;
pub mod network;
pub mod optical;
pub mod own_data;
mod own_tables;
mod pictures;
pub mod sample;
pub mod select;
pub mod simulation;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_own;

use std::path::Path;

use ream_lab::{Invalid, Needs, Preset, Result, Run, System};

pub use config::{Config, CovarianceKind, Estimator};

/// The system.
pub struct Ivl;

impl System for Ivl {
    const PAPER: &'static str = "ivl";
    type Config = Config;

    fn preset(preset: Preset) -> Config {
        match preset {
            Preset::Smoke => Config::smoke(),
            Preset::Full | Preset::Long => Config::full(),
        }
    }

    fn seeds(preset: Preset) -> u64 {
        if preset == Preset::Smoke { 4 } else { 32 }
    }

    fn check(config: &Config) -> Result<(), Invalid> {
        config.check()
    }

    fn needs(config: &Config) -> Needs {
        // Sweeps and digits of the first seed take longest; a mean over the seeds.
        let sweeps = (config.simulation.repeats
            * (config.simulation.kappas.len() + config.simulation.gammas.len()) as u64
            * config.simulation.rows as u64) as f64;
        Needs {
            data: vec![digit_task::DIGITS.to_owned(), experiment::CARD.to_owned()],
            threads: 1,
            memory_mib: 300,
            minutes: 0.02 + sweeps * 1e-8,
            scaled: vec!["digits of 28 x 28 pixels pooled to 8 x 8; perceptrons of 2 x 64".to_owned()],
            ..Needs::default()
        }
    }

    fn check_data(config: &Config, file: &Path) -> Result<()> {
        own_data::load(config, file).map(|_| ())
    }

    fn run(config: &Config, run: &mut Run) -> Result<()> {
        match run.own_data().map(Path::to_owned) {
            Some(file) => own_data::run(config, &file, run),
            None => {
                config.none_of_own()?;
                experiment::run_all(config, run)
            }
        }
    }
}
