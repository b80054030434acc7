//! Optimistic Feasible Search: one acceptance threshold, chosen online under limits while decisions change who applies
//! next (arXiv 2512.22313, 2025).
//!
//! Each round a threshold `theta_t` of a grid is in force, a batch of applicants is accepted where `score >= theta_t`,
//! and the learner sees for this threshold alone: mean reward `R`, acceptance rate of each group, overall acceptance.
//! The population answers, `z_{t+1} = (1 - eta) z_t + eta Phi(z_t, theta_t)`; where `Phi` contracts in `z`, every fixed
//! threshold has one steady state. Limits: `|acc_1 - acc_0| <= eps`, `acc >= rho`.
//!
//! For threshold `k` with `n_k` plays let `r_k, d_k, s_k` be the means of reward, *signed* gap and acceptance, and
//!
//! `w_{X,k} = c_X sqrt(log(2 K T^2 / delta) / (2 n_k))`, infinite at `n_k = 0`, with `c_X = 2 sd_X` of one round's noise.
//!
//! `h_D = max(0, |d_k| - w_D - eps)` and `h_S = max(0, rho - s_k - w_S)` are the violations that are certain. OFS plays
//!
//! `argmax_{k in F_t} r_k + w_R` over `F_t = {k : h_D = h_S = 0}`, or `argmin_k h_D + h_S` where `F_t` is empty:
//!
//! a limit costs a threshold its place only once it is broken for certain. An infeasible threshold with residual `D` is
//! played `O(log T / D^2)` times.
//!
//! Parts: [`search`] is the method, [`evidence`] means and radii, [`environment`] the populations, [`oracle`] the sweep
//! over steady states, [`baselines`] what it is compared with, [`score`] the out-of-fold score of real records,
//! [`simulation`] rounds and their figures.
//!
//! ```
//! use ream_decisions::ofs::environment::{Environment, Limits, Synthetic};
//! use ream_decisions::ofs::oracle::Oracle;
//! use ream_decisions::ofs::simulation::{Method, Plan, simulate};
//! use ream_rand::Stream;
//!
//! let world = Synthetic::new(41, 0.15);
//! let limits = Limits { gap: 0.10, service: 0.30, capacity: None };
//! let oracle = Oracle::closed_loop(&world, &limits);
//! let plan = Plan { rounds: 1000, batch: 200, delta: 0.05, limits };
//! let trace = simulate(&world, &plan, &Method::ofs(), &oracle, Stream::new(1, "example"));
//! let summary = trace.summary(world.thresholds(), &oracle);
//! assert!(summary.steady_gap.abs() < 0.02);
//! ```

pub mod baselines;
mod config;
pub mod environment;
pub mod evidence;
mod experiment;
pub mod oracle;
pub mod own_data;
mod people;
mod pictures;
pub mod score;
pub mod search;
pub mod simulation;
#[cfg(test)]
mod tests;

use std::path::Path;

use ream_lab::{Invalid, Needs, Preset, Result, Run, System};

pub use config::{Config, Own, Population, Regime, Sweep};

/// The system.
pub struct Ofs;

impl System for Ofs {
    const PAPER: &'static str = "ofs";
    type Config = Config;

    fn preset(preset: Preset) -> Config {
        match preset {
            Preset::Smoke => Config { rounds: 300, ..Config::default() },
            Preset::Full | Preset::Long => Config::default(),
        }
    }

    fn seeds(preset: Preset) -> u64 {
        if preset == Preset::Smoke { 2 } else { 10 }
    }

    fn check(config: &Config) -> Result<(), Invalid> {
        config.check()
    }

    fn needs(config: &Config) -> Needs {
        let data = config.environments.iter().filter_map(|p| p.data()).map(str::to_owned).collect();
        let rounds = config.rounds as f64 * config.environments.len() as f64;
        let runs = if config.sweeps { 75.0 } else { 42.0 };
        // About 100 000 rounds a second on one core, plus the fit of the scores.
        let minutes = (runs * rounds / 100_000.0 + 0.5) / 60.0;
        Needs { data, threads: 2, memory_mib: 100, minutes, ..Needs::default() }
    }

    fn check_data(config: &Config, file: &Path) -> Result<()> {
        own_data::load(config, file).map(|_| ())
    }

    fn run(config: &Config, run: &mut Run) -> Result<()> {
        if let Some(file) = run.own_data().map(Path::to_owned) {
            return own_data::run(config, &file, run);
        }
        let worlds = people::worlds(config, run)?;
        experiment::run_all(config, &worlds, run)
    }
}
