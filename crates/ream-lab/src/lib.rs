//! Running systems: runs, observations, claims to verdicts, launchers, figures, reports.
//!
//! A *system* ([`System`]) is a paper's method made into an experiment. A *run* is one system, one configuration and
//! several seeds; each seed is a child process that talks to its launcher only through the run directory ([`record`]).
//! A seed *observes* measures; [`verdict`] holds the observations against the claims of `paper.toml`.
//!
//! ```
//! use ream_lab::{Error, Invalid, Needs, Preset, Run, System};
//! use schemars::JsonSchema;
//! use serde::{Deserialize, Serialize};
//!
//! /// Averages coin tosses.
//! struct Coin;
//!
//! #[derive(Serialize, Deserialize, JsonSchema)]
//! #[serde(deny_unknown_fields)]
//! struct Config {
//!     /// How many tosses.
//!     tosses: u64,
//! }
//!
//! impl System for Coin {
//!     const PAPER: &'static str = "coin";
//!     type Config = Config;
//!     fn preset(preset: Preset) -> Config {
//!         Config { tosses: if preset == Preset::Smoke { 10 } else { 10_000 } }
//!     }
//!     fn seeds(_: Preset) -> u64 {
//!         3
//!     }
//!     fn check(config: &Config) -> Result<(), Invalid> {
//!         Invalid::unless_in("tosses", config.tosses, 1..=1_000_000)
//!     }
//!     fn needs(_: &Config) -> Needs {
//!         Needs::default()
//!     }
//!     fn run(config: &Config, run: &mut Run) -> Result<(), Error> {
//!         let mut rng = run.stream("tosses").at(0);
//!         let heads = (0..config.tosses).filter(|_| rng.chance(0.5)).count();
//!         run.observe("heads", "coin", &[], heads as f64 / config.tosses as f64);
//!         Ok(())
//!     }
//! }
//!
//! let mut run = Run::in_memory(1);
//! Coin::run(&Coin::preset(Preset::Full), &mut run)?;
//! assert!((run.observations()[0].value - 0.5).abs() < 0.03);
//! # Ok::<(), Error>(())
//! ```

mod artefact;
mod checkpoint;
mod code;
mod config;
mod edition;
mod error;
pub mod events;
pub mod figure;
mod files;
pub mod keys;
mod launch;
mod machine;
mod observation;
mod plan;
mod preset;
pub mod record;
pub mod report;
mod results;
mod run;
mod runs;
mod summary;
mod system;
pub mod table;
pub mod time;
pub mod timing;
pub mod verdict;
mod worker;

pub use code::Code;
pub use config::{change, did_you_mean, hash as config_hash, nearest};
pub use edition::{Build, Edition, Entry};
pub use error::{Error, Invalid, Result};
pub use figure::{Axis, Figure, Layer, Panel};
pub use launch::{Ended, Launch, RunProgress, alive, drive, driven, state};
pub use machine::{Machine, cores, isa};
pub use observation::{At, Observation, Spread, show_at};
pub use plan::{Order, Plan};
pub use preset::Preset;
pub use ream_paper::Place;
pub use record::{OwnData, RunDir, RunRecord};
pub use report::Report;
pub use results::{ClaimReport, Previous, RESULTS_FORMAT, Results, RunFacts, SmokeDigest, digest, rule_hash};
pub use run::{LARGEST_SEED, Run};
pub use runs::{Runs, Standing};
pub use system::{AnySystem, Embedded, FamilyPapers, Needs, System};
pub use table::{Cell, Table};
pub use timing::Paired;
pub use verdict::{Outcome, SeedObservations, State, Verdict, judge};
pub use worker::work;

/// Where runs, data and models live: `$REAM_HOME`, else `.ream` in the user's home.
#[must_use]
pub fn home() -> std::path::PathBuf {
    if let Some(home) = std::env::var_os("REAM_HOME").filter(|h| !h.is_empty()) {
        return home.into();
    }
    std::env::home_dir().unwrap_or_else(std::env::temp_dir).join(".ream")
}
