//! The run directory: what is in it, how it is named, how it is written.
//!
//! ```text
//! <slug>-<date>-<time>-<4 hex>/run.toml    immutable: system, preset, configuration, seeds, code, data, machine
//!   parent.lock                            flock of the one launcher
//!   seed-<k>/lock                          flock of the one writer
//!   seed-<k>/events.jsonl                  progress, metrics, tables, samples
//!   seed-<k>/checkpoint                    what a resumed worker starts from
//!   seed-<k>/figures/*.json|svg            seed-<k>/timings.json
//!   seed-<k>/observations.json             written once, atomically: no times, paths, ids
//!   seed-<k>/exit                          last, atomically: status and why
//!   cancel                                 asks every worker to stop at its next safe point
//!   wall.json                              seconds that launchers have spent on it
//!   report.json  report.html  tables/      aggregation, checks, verdicts; every table as CSV, JSON, Markdown, LaTeX
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::code::Code;
use crate::error::{Error, Result};
use crate::figure::Figure;
use crate::files::{read_json, to_json, write_atomic};
use crate::machine::Machine;
use crate::observation::Observation;
use crate::preset::Preset;

/// Version of the run directory's layout; a newer one is refused.
pub const FORMAT: u32 = 1;

/// `run.toml`: everything that decides a run, written once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// Version of the layout.
    pub format: u32,
    /// Name of the run and of its directory.
    pub id: String,
    /// Slug of the paper.
    pub paper: String,
    /// Which preset it started from.
    pub preset: Preset,
    /// Whether any key differs from the preset.
    pub modified: bool,
    /// Hash of the canonical configuration.
    pub config_hash: String,
    /// Seeds, in order.
    pub seeds: Vec<u64>,
    /// Claims asked for; empty means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<String>,
    /// Threads of each worker.
    pub threads: usize,
    /// Seconds since 1970 (UTC).
    pub created: u64,
    /// The command that makes it again.
    pub command: String,
    /// Instruction set that the kernels use.
    pub isa: String,
    /// The user's own file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_data: Option<OwnData>,
    /// What was scaled down against the paper.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scaled: Vec<String>,
    /// Data sets and the SHA-256 of the files used; `not fetched` where one was missing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// The program.
    pub code: Code,
    /// The machine.
    pub machine: Machine,
    /// The canonical configuration.
    pub config: Value,
}

/// A file of the user's: referenced, never copied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnData {
    /// Absolute path.
    pub path: PathBuf,
    /// SHA-256 of its bytes.
    pub sha256: String,
}

/// `seed-<k>/exit`: how a worker ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exit {
    /// Finished, failed or cancelled.
    pub status: Status,
    /// Why, when it did not finish.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// Exit code that the worker ended with.
    #[serde(default)]
    pub code: u8,
}

/// How a worker ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Observations are written.
    Finished,
    /// The computation failed; tried again only on request.
    Failed,
    /// Stopped at a safe point; goes on with `--resume`.
    Cancelled,
}

/// A run directory that exists.
#[derive(Clone, Debug)]
pub struct RunDir {
    root: PathBuf,
}

impl RunDir {
    /// Makes the directory of a new run under `runs` and writes `run.toml`.
    ///
    /// # Errors
    /// The directory cannot be written; nothing is left behind.
    pub fn create(runs: &Path, record: &RunRecord) -> Result<Self> {
        fs::create_dir_all(runs).map_err(Error::io("create", runs))?;
        let root = runs.join(&record.id);
        fs::create_dir(&root).map_err(Error::io("create", &root))?;
        let text = toml::to_string(record).map_err(|e| Error::failed(format!("run.toml: {e}")))?;
        if let Err(error) = write_atomic(&root.join("run.toml"), text.as_bytes()) {
            let _ = fs::remove_dir_all(&root);
            return Err(error);
        }
        Ok(Self { root })
    }

    /// Opens a run by directory.
    ///
    /// # Errors
    /// It is not a run, is damaged, or was written by a newer version.
    pub fn open(root: &Path) -> Result<(Self, RunRecord)> {
        let path = root.join("run.toml");
        let text = fs::read_to_string(&path).map_err(Error::io("read", &path))?;
        let record = parse_record(&path, &text)?;
        Ok((Self { root: root.to_owned() }, record))
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A file of the run.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// The directory of a seed.
    #[must_use]
    pub fn seed(&self, seed: u64) -> PathBuf {
        self.root.join(format!("seed-{seed}"))
    }

    /// How a seed ended, if it did.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn exit(&self, seed: u64) -> Result<Option<Exit>> {
        read_json(&self.seed(seed).join("exit"))
    }

    /// What a seed observed, if it finished.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn observations(&self, seed: u64) -> Result<Option<Vec<Observation>>> {
        read_json(&self.seed(seed).join("observations.json"))
    }

    /// A figure that a seed drew.
    ///
    /// # Errors
    /// There is none of that name, or its file is damaged.
    pub fn figure(&self, seed: u64, name: &str) -> Result<Figure> {
        let path = self.seed(seed).join("figures").join(format!("{name}.json"));
        read_json(&path)?.ok_or_else(|| Error::corrupt(&path, "the figure's file is missing"))
    }

    /// Wall-clock seconds that launchers have spent on the run.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn wall_seconds(&self) -> Result<Option<f64>> {
        read_json(&self.file("wall.json"))
    }

    pub(crate) fn add_wall_seconds(&self, seconds: f64) -> Result<()> {
        let before = self.wall_seconds()?.unwrap_or(0.0);
        write_atomic(&self.file("wall.json"), &to_json(&(before + seconds))?)
    }

    /// Seconds by part of a seed's work, if it finished.
    ///
    /// # Errors
    /// The file is damaged.
    pub fn timings(&self, seed: u64) -> Result<Option<BTreeMap<String, f64>>> {
        read_json(&self.seed(seed).join("timings.json"))
    }
}

/// Reads the text of a `run.toml`.
///
/// # Errors
/// Line and key; a newer format is named as such.
pub fn parse_record(path: &Path, text: &str) -> Result<RunRecord> {
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let line = |error: &toml::de::Error| {
        error.span().map_or(1, |span| {
            text.as_bytes()[..span.start.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1
        })
    };
    if let Ok(Version { format }) = toml::from_str(text)
        && format > FORMAT
    {
        return Err(Error::corrupt(
            path,
            format!("written by a newer version of ream (format {format}, this one reads up to {FORMAT})"),
        ));
    }
    toml::from_str(text).map_err(|e| Error::corrupt(path, format!("line {}: {}", line(&e), e.message())))
}
