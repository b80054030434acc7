//! Contextual bandits in payment processing: exploring through the reward model, and training the next model
//! on what that yields (arXiv 2412.00569, 2024).
//!
//! A payment `x` allows some actions `A(x)`; the bank's yes or no is the reward `y`. A frozen model
//! `f_g(x, a) = P(y = 1 | x, a)` serves a generation of `N` payments by inverse-gap
//! weighting (SquareCB, Foster & Rakhlin, 2020): with `b = argmax f`, `mu = |A(x)|`,
//!
//! `p(a | x) = 1 / (mu + gamma (f(x, b) - f(x, a)))` for `a != b`, and `b` gets the rest.
//!
//! What was served is logged with its probability; labels arrive late; the next model is fitted by ordinary
//! empirical risk minimisation on the last `M` generations. The theory of
//! SquareCB (regret of order `sqrt(K T Reg)`) needs a model class that holds the truth and an online oracle.
//! Here neither is there: models are frozen for a generation, action sets
//! change from payment to payment, and how far the class is from the truth is measured and shown.
//!
//! | part | what is there |
//! |---|---|
//! | [`policy`], [`serving`] | rules from predictions to probabilities; schedules, slices, what models are fitted on |
//! | [`oracle`] | logistic regression with hashed crosses, boosted trees, calibration |
//! | [`generations`] | serve, log, wait for labels, refit |
//! | [`causes`] | refits that take one cause of degradation away at a time; realizability |
//! | [`oscillation`] | swings beside the noise of estimation |
//! | [`diagnostics`] | class balance, coverage, entropy, shifts, scores |
//! | [`payments`], [`conversions`] | the simulator `pay8`; digits and German Credit as bandits |
//! | [`open_bandit`], [`own_data`] | off-policy values on real logs and on yours |
//!
//! ```
//! use ream_decisions::adyen_cb::generations::{Plan, Scene, Size, run};
//! use ream_decisions::adyen_cb::oracle::{Class, Recipe};
//! use ream_decisions::adyen_cb::payments::Pay8;
//! use ream_decisions::adyen_cb::policy::Rule;
//! use ream_decisions::adyen_cb::serving::{Serving, Training};
//! use ream_decisions::adyen_cb::world::World;
//! use ream_rand::Stream;
//!
//! let world = Pay8::new(1);
//! let size = Size { contexts: 2000, generations: 2, late: 0.1, holdout: 2000 };
//! let scene = Scene::new(&world, size, Stream::new(1, "example"));
//! let recipe = Recipe::new(Class::Logistic, world.actions(), world.crossed());
//! let plan = Plan {
//!     name: "squarecb".to_owned(),
//!     serving: Serving::Fixed(Rule::Squarecb { gamma: 200.0 }),
//!     training: Training::plain(1),
//! };
//! let trace = run(&scene, &recipe, &plan)?;
//! assert!(trace.generations[0].played > scene.batches[1].uniform_value() + 0.03);
//! # Ok::<(), String>(())
//! ```

pub mod arms;
pub mod causes;
mod config;
pub mod conversions;
pub mod data;
pub mod diagnostics;
mod experiment;
pub mod generations;
pub mod open_bandit;
pub mod oracle;
pub mod oscillation;
pub mod own_data;
pub mod own_log;
pub mod payments;
mod pictures;
pub mod policy;
pub mod serving;
mod tables;
#[cfg(test)]
mod tests;
pub mod world;

use std::path::Path;

use ream_lab::{Invalid, Needs, Preset, Result, Run, System};

pub use config::{Config, Own, Schedule, Unseen};
use oracle::Class;

/// The system.
pub struct AdyenCb;

impl System for AdyenCb {
    const PAPER: &'static str = "adyen-cb";
    type Config = Config;

    fn preset(preset: Preset) -> Config {
        match preset {
            Preset::Smoke => Config {
                payments: 800,
                generations: 3,
                classes: vec![Class::Logistic],
                holdout: 1000,
                realizability: 5000,
                averaged_worlds: 1,
                conversion: 400,
                bootstrap: 200,
                ..Config::default()
            },
            Preset::Full | Preset::Long => Config::default(),
        }
    }

    fn seeds(preset: Preset) -> u64 {
        if preset == Preset::Smoke { 1 } else { 10 }
    }

    fn check(config: &Config) -> Result<(), Invalid> {
        config.check()
    }

    fn needs(config: &Config) -> Needs {
        let mut data = Vec::new();
        if config.conversion > 0 {
            data.extend(["digits-8x8", "german-credit"]);
        }
        if config.off_policy {
            data.extend(["open-bandit-random", "open-bandit-bts", "open-bandit-items"]);
        }
        let payments = (config.payments * config.generations) as f64;
        let cost: f64 =
            config.classes.iter().map(|c| if *c == Class::Trees { 10.0 } else { 1.5 }).sum::<f64>();
        Needs {
            data: data.into_iter().map(str::to_owned).collect(),
            threads: 2,
            memory_mib: 400,
            // Seconds of one world for 72,000 payments on one core, about.
            minutes: 4.0 * cost * payments / 72_000.0 / 60.0,
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
