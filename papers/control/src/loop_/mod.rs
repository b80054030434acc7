//! LOOP: optimistic learning of average-reward decision processes with general function classes (He, Zhong & Yang, 2024,
//! arXiv 2404.12648).
//!
//! A hypothesis `f = (Q_f, J_f)` has `V_f = max_a Q_f` and the Bellman error
//! `E(f)(s, a) = Q_f(s, a) + J_f - r(s, a) - E V_f(s')`. On data `D`, with auxiliary functions `g` from `G`,
//!
//! `L_D(f, g) = sum_D (Q_g(s, a) + J_f - r - V_f(s'))^2`,  `B = { f : L_D(f, f) - min_g L_D(f, g) <= beta }`,
//!
//! where the subtraction removes the variance of `V_f(s')`. LOOP follows the hypothesis of `B` that promises the largest
//! gain `J_f`, acts greedily in `Q_f`, and makes the set anew only once the hypothesis is contradicted by `4 beta` or more.
//! Regret `sum_t (J* - r_t)` is of order span times complexity times `sqrt(T)`, with `O(log T)` switches.
//!
//! | part | what is there |
//! |---|---|
//! | [`finite`] | value-based LOOP on a finite class: exact set, exact argmax |
//! | [`tabular`] | the likelihood version on tables; UCRL2, KL-UCRL, posterior sampling |
//! | [`mixture`] | linear mixtures of known kernels |
//! | [`linear`] | linear classes, by a bonus in clipped value iteration (a surrogate) |
//! | [`balls`], [`evi`], [`ridge`] | best models in KL and L1 balls, extended value iteration, incremental regression |
//! | [`model_free`] | Q-learning three ways, and chance |
//! | [`arms`] | which learner runs on which problem |
//! | [`learner`] | what a learner is; a trajectory and its figures |
//! | [`statistics`] | exponents of curves |
//!
//! ```
//! use ream_control::environments::average_reward::{river_swim, solver};
//! use ream_control::loop_::learner::{TableWorld, Truth, simulate};
//! use ream_control::loop_::model_free::Uniform;
//! use ream_control::loop_::tabular::{Known, ModelBased, ModelSet, SwitchRule};
//! use ream_rand::Stream;
//!
//! let river = river_swim(6);
//! let best = solver::solve(&river).unwrap();
//! let known = Known::of(&river, best.span, 20_000, 0.05);
//! let mut learner = ModelBased::new(known, ModelSet::Likelihood(0.05), SwitchRule::Root(3.0));
//! let steps = 20_000;
//! let trace = simulate(
//!     &mut TableWorld::new(&river), &mut learner, Truth::of(&river, &best), steps, Stream::new(1, "example"), false,
//! );
//! let mut chance = Uniform::new(2, Stream::new(1, "chance"));
//! let played = simulate(
//!     &mut TableWorld::new(&river), &mut chance, Truth::of(&river, &best), steps, Stream::new(1, "example"), false,
//! );
//! println!("regret {:.0} after {:.0} switches, by chance {:.0}", trace.total(), trace.updates(), played.total());
//! assert!(2.0 * trace.total() < played.total());
//! ```

pub mod arms;
pub mod balls;
mod config;
pub mod evi;
mod experiment;
pub mod finite;
pub mod learner;
pub mod linear;
pub mod mixture;
pub mod model_free;
pub mod own_data;
mod pictures;
pub mod ridge;
pub mod statistics;
pub mod tabular;
#[cfg(test)]
mod tests;

use std::path::Path;

use ream_lab::{Invalid, Needs, Preset, Result, Run, System};

pub use config::{Algorithm, Config, Environment, Own};

/// The system.
pub struct Loop;

impl System for Loop {
    const PAPER: &'static str = "loop";
    type Config = Config;

    fn preset(preset: Preset) -> Config {
        match preset {
            Preset::Smoke => {
                Config { horizon: 3000, linear_horizon: 3000, averaged_seeds: 2, ..Config::default() }
            }
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
        let steps = (config.horizon.max(config.linear_horizon) * config.environments.len() as u64) as f64;
        Needs { threads: 1, memory_mib: 100, minutes: steps * 0.35e-6, ..Needs::default() }
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
