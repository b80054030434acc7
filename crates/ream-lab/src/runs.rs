//! The folder of all runs: names, opening, how a run stands.

use std::path::{Path, PathBuf};

use crate::config::did_you_mean;
use crate::error::{Error, Result};
use crate::launch::{alive, state};
use crate::record::{RunDir, RunRecord};

/// The folder in which run directories live.
#[derive(Clone, Debug)]
pub struct Runs {
    dir: PathBuf,
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Every seed has observations.
    Finished,
    /// A worker of it lives.
    Running,
    /// No worker lives, no seed failed, some have not ended.
    Unfinished,
    /// Some seed failed and no worker lives.
    Failed,
}

impl Standing {
    /// `finished`, `running`, `unfinished`, `failed`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Finished => "finished",
            Self::Running => "running",
            Self::Unfinished => "unfinished",
            Self::Failed => "failed",
        }
    }

    /// How a run stands, and how many of its seeds have observations.
    ///
    /// # Errors
    /// A file of the run is damaged.
    pub fn of(dir: &RunDir, record: &RunRecord) -> Result<(Self, usize)> {
        let ended = state(dir, record)?;
        let standing = if ended.finished.len() == record.seeds.len() {
            Self::Finished
        } else if alive(dir, record) {
            Self::Running
        } else if ended.failed.is_empty() {
            Self::Unfinished
        } else {
            Self::Failed
        };
        Ok((standing, ended.finished.len()))
    }
}

impl Runs {
    /// The runs of this folder; it need not exist yet.
    #[must_use]
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The folder.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory of the run of that name.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Whether a text can name a run: letters, digits and hyphens, so that it never leaves the folder.
    #[must_use]
    pub fn is_name(text: &str) -> bool {
        !text.is_empty() && text.len() <= 200 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    }

    /// Names of all runs, oldest first: names begin with the paper, so the time in them is what sorts.
    ///
    /// # Errors
    /// The folder exists and cannot be read.
    pub fn names(&self) -> Result<Vec<String>> {
        let entries = match std::fs::read_dir(&self.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::Input(format!("cannot read {}: {error}", self.dir.display()))),
        };
        let mut names: Vec<(String, String)> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| self.path(name).join("run.toml").is_file())
            .map(|name| (name.chars().rev().take(20).collect::<String>().chars().rev().collect(), name))
            .collect();
        names.sort();
        Ok(names.into_iter().map(|(_, name)| name).collect())
    }

    /// Opens a run by its exact name.
    ///
    /// # Errors
    /// There is none of that name, or it is damaged.
    pub fn open_exactly(&self, name: &str) -> Result<(RunDir, RunRecord)> {
        if !Self::is_name(name) || !self.path(name).join("run.toml").is_file() {
            return Err(Error::Input(format!("there is no run `{name}`")));
        }
        RunDir::open(&self.path(name))
    }

    /// Opens a run by name, by the beginning of its name, or the `last` one.
    ///
    /// # Errors
    /// None or several fit; the nearest name is suggested.
    pub fn open(&self, wanted: &str) -> Result<(RunDir, RunRecord)> {
        let names = self.names()?;
        if wanted == "last" {
            let last = names
                .last()
                .ok_or_else(|| Error::Input(format!("there are no runs in {}", self.dir.display())))?;
            return RunDir::open(&self.path(last));
        }
        if names.iter().any(|name| name == wanted) {
            return RunDir::open(&self.path(wanted));
        }
        let matching: Vec<&String> = names.iter().filter(|name| name.starts_with(wanted)).collect();
        match matching.as_slice() {
            [only] => RunDir::open(&self.path(only)),
            [] => {
                let hint = did_you_mean(wanted, names.iter().map(String::as_str));
                Err(Error::Input(format!(
                    "there is no run `{wanted}` in {}{hint} (`ream runs list`)",
                    self.dir.display()
                )))
            }
            several => Err(Error::Input(format!(
                "`{wanted}` begins the names of {} runs; the newest is {}",
                several.len(),
                several.last().map(|s| s.as_str()).unwrap_or_default()
            ))),
        }
    }
}
