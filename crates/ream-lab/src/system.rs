//! What a paper's system offers to the lab, and the same with its types erased.

use std::path::Path;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config;
use crate::error::{Invalid, Result};
use crate::preset::Preset;
use crate::run::Run;

/// A paper's method as an experiment that can be run.
///
/// The method itself is plain public functions in the paper's module; a system only calls them and says what it saw.
/// It observes *measures*; which figure makes a claim hold is written in `paper.toml` and never known here.
pub trait System: 'static {
    /// Slug of the paper.
    const PAPER: &'static str;
    /// The configuration: `#[serde(deny_unknown_fields)]`, every key documented (the comment is its help).
    type Config: Serialize + DeserializeOwned + JsonSchema;
    /// The configuration of a preset.
    fn preset(preset: Preset) -> Self::Config;
    /// How many seeds a preset runs by default.
    fn seeds(preset: Preset) -> u64;
    /// Ranges, once; afterwards the configuration is trusted.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    fn check(config: &Self::Config) -> Result<(), Invalid>;
    /// What a run needs, known before it starts.
    fn needs(config: &Self::Config) -> Needs;
    /// Looks at the user's own file before anything is started.
    ///
    /// # Errors
    /// File, row, column and what would be right. By default: this system takes no file.
    fn check_data(config: &Self::Config, file: &Path) -> Result<()> {
        let _ = config;
        Err(Invalid::new(
            "--data",
            format!("no file: `{}` runs on built-in data only", Self::PAPER),
            file.display().to_string(),
        )
        .into())
    }
    /// Runs one seed.
    ///
    /// # Errors
    /// What failed; [`crate::Error::Cancelled`] from [`Run::progress`] is passed on with `?`.
    fn run(config: &Self::Config, run: &mut Run) -> Result<()>;
}

/// What a run needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Needs {
    /// Ids of data sets. What lacks its data is not tested; the rest runs.
    pub data: Vec<String>,
    /// Threads one seed can use well; 0 and 1 both mean one.
    pub threads: usize,
    /// Whether it measures time, so that nothing else may run beside it.
    pub timed: bool,
    /// Memory of one seed, MiB.
    pub memory_mib: u64,
    /// Expected minutes of one seed on one core like those of a 2024 server.
    pub minutes: f64,
    /// What was scaled down against the paper, in words.
    pub scaled: Vec<String>,
}

/// A [`System`] behind JSON values.
#[derive(Clone, Copy)]
pub struct AnySystem {
    paper: &'static str,
    schema: fn() -> Value,
    preset: fn(Preset) -> Result<Value>,
    seeds: fn(Preset) -> u64,
    prepare: fn(&Value) -> Result<(Value, Needs)>,
    check_data: fn(&Value, &Path) -> Result<()>,
    run: fn(&Value, &mut Run) -> Result<()>,
}

impl AnySystem {
    /// Erases the types of `S`.
    #[must_use]
    pub fn new<S: System>() -> Self {
        Self {
            paper: S::PAPER,
            schema: || schemars::schema_for!(S::Config).to_value(),
            preset: |preset| config::canonical(&S::preset(preset)),
            seeds: S::seeds,
            prepare: |value| {
                let config = typed::<S>(value)?;
                Ok((config::canonical(&config)?, S::needs(&config)))
            },
            check_data: |value, file| S::check_data(&typed::<S>(value)?, file),
            run: |value, run| S::run(&typed::<S>(value)?, run),
        }
    }

    /// Slug of the paper.
    #[must_use]
    pub fn paper(&self) -> &'static str {
        self.paper
    }

    /// JSON schema of the configuration.
    #[must_use]
    pub fn schema(&self) -> Value {
        (self.schema)()
    }

    /// The canonical configuration of a preset.
    ///
    /// # Errors
    /// Only where a configuration cannot be written as JSON.
    pub fn preset(&self, preset: Preset) -> Result<Value> {
        (self.preset)(preset)
    }

    /// Default number of seeds of a preset.
    #[must_use]
    pub fn seeds(&self, preset: Preset) -> u64 {
        (self.seeds)(preset)
    }

    /// Fills in defaults, checks types and ranges; gives the canonical configuration and what it needs.
    ///
    /// # Errors
    /// The key, what is allowed, what was got.
    pub fn prepare(&self, value: &Value) -> Result<(Value, Needs)> {
        (self.prepare)(value)
    }

    /// Looks at the user's own file.
    ///
    /// # Errors
    /// See [`System::check_data`].
    pub fn check_data(&self, value: &Value, file: &Path) -> Result<()> {
        (self.check_data)(value, file)
    }

    /// Runs one seed.
    ///
    /// # Errors
    /// See [`System::run`].
    pub fn run(&self, value: &Value, run: &mut Run) -> Result<()> {
        (self.run)(value, run)
    }
}

fn typed<S: System>(value: &Value) -> Result<S::Config> {
    let config: S::Config = serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        Invalid::new(
            if path == "." { "configuration".to_owned() } else { path },
            error.inner().to_string(),
            "",
        )
    })?;
    S::check(&config)?;
    Ok(config)
}

/// A paper of a family as its build script embeds it.
#[derive(Clone, Copy, Debug)]
pub struct Embedded {
    /// Short name.
    pub slug: &'static str,
    /// Where its text came from, for errors.
    pub file: &'static str,
    /// Text of `paper.toml`.
    pub toml: &'static str,
    /// Text of `results/<slug>.json`, when there is one.
    pub result: Option<&'static str>,
    /// Hash of the paper's sources and its family's shared sources.
    pub sources: &'static str,
}

/// What a family crate brings: its papers, and the systems of those that have one.
#[derive(Clone)]
pub struct FamilyPapers {
    /// All its papers.
    pub papers: &'static [Embedded],
    /// Systems, listed by hand.
    pub systems: Vec<AnySystem>,
}
