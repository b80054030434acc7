//! R3D: regression discontinuity when every unit at the cutoff carries a whole distribution (Van Dijcke, 2025).
//!
//! A unit `i` has a running variable `X_i` and a sample of individuals from its own random law with quantile function `Q_i`.
//! What is wanted is, for every quantile,
//!
//! `tau(q) = lim_{x down to c} E[Q_i(q) | X = x] - lim_{x up to c} E[Q_i(q) | X = x]`,
//!
//! in a fuzzy design over the jump of `E[T | X]`. Both sides share weights of a local polynomial of order `p`,
//! `m_s(q) = sum_i w_s,i Qhat_i(q)`; then `m_+` and `m_-` are made monotone: sorted, with a bandwidth for each quantile, or
//! projected on the non-decreasing functions, with one bandwidth (local Frechet regression in Wasserstein space). With bandwidths
//! made for order `s = p - 1` the leading bias is gone. Bands come from `nu(q) = sum_i xi_i e_i(q) (w_+,i - w_-,i)`, one
//! standard normal number for each *unit*: randomness is in units first and in individuals second, and pooling the individuals
//! answers another question.
//!
//! | part | what is there |
//! |---|---|
//! | [`sample`] | units and their empirical quantiles |
//! | [`estimate`] | the two estimators, sharp and fuzzy, their bandwidths |
//! | [`inference`] | multiplier bootstrap, bands, tests, Gini coefficients |
//! | [`diagnostics`] | density test, placebo cutoffs, donut, other bandwidths |
//! | [`analysis`], [`tables`], [`pictures`] | all of it for one sample, with warnings; as printed |
//! | [`baselines`] | pooled quantile discontinuity, discontinuity of means |
//! | [`simulation`] | worlds whose effect is known |
//! | [`elections`] | close elections, real |
//! | [`own_data`] | the user's file |
//!
//! ```
//! use ream_causal::r3d::estimate::{Settings, estimate};
//! use ream_causal::r3d::inference::{infer, noise};
//! use ream_causal::r3d::sample::{Sample, deciles};
//! use ream_causal::r3d::simulation::World;
//! use ream_rand::Stream;
//!
//! let units = World::Constant.draw(400, 50, 1.0, &mut Stream::new(1, "example").at(0));
//! let sample = Sample::from_individuals(units.x, &units.outcomes, None, deciles(), None)?;
//! let fit = estimate(&sample, &Settings::default())?;
//! let found = infer(&fit, &noise(&fit, 1000, Stream::new(1, "multipliers"))?, 0.95)?;
//! assert!(found.uniform.low.iter().zip(&found.uniform.high).all(|(low, high)| *low < 1.0 && 1.0 < *high));
//! assert!(found.nullity.p_value < 0.01 && found.homogeneity.p_value > 0.05);
//! # Ok::<(), ream_causal::r3d::failure::Failure>(())
//! ```

pub mod analysis;
pub mod baselines;
pub mod config;
pub mod diagnostics;
pub mod elections;
pub mod estimate;
mod experiment;
pub mod failure;
pub mod inference;
pub mod own_data;
pub mod pictures;
mod real;
pub mod sample;
pub mod simulation;
pub mod tables;
#[cfg(test)]
mod tests;

use std::path::Path;

use ream_lab::{Invalid, Needs, Preset, Result, Run, System};

pub use config::Config;

/// The paper's system.
pub struct R3d;

impl System for R3d {
    const PAPER: &'static str = "r3d";
    type Config = Config;

    fn preset(preset: Preset) -> Config {
        let full = Config::default();
        if preset != Preset::Smoke {
            return full;
        }
        let simulation = config::Simulation {
            sizes: vec![200],
            two_level_sizes: vec![200, 500],
            replications: 20,
            ..full.simulation.clone()
        };
        Config { simulation, draws: 500, ..full }
    }

    fn seeds(preset: Preset) -> u64 {
        if preset == Preset::Smoke { 2 } else { 10 }
    }

    fn check(config: &Config) -> Result<(), Invalid> {
        config.check()
    }

    fn needs(config: &Config) -> Needs {
        let units: usize = experiment::cells(config).iter().map(|cell| cell.n).sum();
        let work = (units * config.simulation.replications * config.simulation.draws) as f64;
        Needs {
            data: vec![elections::SENATE.to_owned(), elections::HOUSE.to_owned()],
            threads: 2,
            memory_mib: 200,
            minutes: work * 2.3e-9,
            ..Needs::default()
        }
    }

    fn check_data(config: &Config, file: &Path) -> Result<()> {
        own_data::load(config, file).map(|_| ())
    }

    fn run(config: &Config, run: &mut Run) -> Result<()> {
        if let Some(file) = run.own_data().map(Path::to_owned) {
            return own_data::run(config, &file, run);
        }
        experiment::run_all(config, run)?;
        if run.is_first_seed() { real::run_all(config, run) } else { Ok(()) }
    }
}
