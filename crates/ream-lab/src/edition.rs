//! The papers and systems that a program was built with.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rayon::prelude::*;
use ream_paper::Paper;

use crate::code::Code;
use crate::config::did_you_mean;
use crate::error::{Error, Result};
use crate::files::{to_json, write_atomic};
use crate::preset::Preset;
use crate::record::RunDir;
use crate::report::{NOT_FETCHED, Report};
use crate::results::{ClaimReport, Results, RunFacts, SmokeDigest};
use crate::runs::Runs;
use crate::system::{AnySystem, Embedded, FamilyPapers};
use crate::verdict::Outcome;

/// What a program's build script found out.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// Version of the program.
    pub version: &'static str,
    /// Commit it was built from; empty outside a repository.
    pub commit: &'static str,
    /// Whether nothing was changed since that commit.
    pub clean: bool,
    /// Hash of the sources of the crates below the papers.
    pub substrate: &'static str,
}

/// A paper with its system, if it has one, and its published results.
pub struct Entry {
    /// Facts, summary, claims.
    pub paper: Paper,
    /// What can be run, where there is something.
    pub system: Option<AnySystem>,
    embedded: Embedded,
    build: Build,
}

/// All papers of a program, by number.
pub struct Edition {
    /// The papers.
    pub entries: Vec<Entry>,
}

impl Edition {
    /// Reads every embedded paper of these families.
    ///
    /// # Errors
    /// File, line and key where a `paper.toml` is wrong.
    pub fn load(families: Vec<FamilyPapers>, build: Build) -> Result<Self> {
        let mut entries = Vec::new();
        for family in families {
            let systems: BTreeMap<&str, AnySystem> = family.systems.iter().map(|s| (s.paper(), *s)).collect();
            for embedded in family.papers {
                let paper =
                    Paper::parse(embedded.file, embedded.toml).map_err(|e| Error::Input(e.to_string()))?;
                entries.push(Entry {
                    system: systems.get(embedded.slug).copied(),
                    paper,
                    embedded: *embedded,
                    build,
                });
            }
        }
        entries.sort_by_key(|entry| entry.paper.number);
        Ok(Self { entries })
    }

    /// What `of` makes of every paper, in the order of the papers, on all threads: to judge all claims takes a while.
    pub fn map<T: Send>(&self, of: impl Fn(&Entry) -> T + Sync + Send) -> Vec<T> {
        self.entries.par_iter().map(of).collect()
    }

    /// The paper of that name.
    ///
    /// # Errors
    /// There is none; the nearest name is suggested.
    pub fn get(&self, slug: &str) -> Result<&Entry> {
        self.entries.iter().find(|entry| entry.paper.slug == slug).ok_or_else(|| {
            let hint = did_you_mean(slug, self.entries.iter().map(|e| e.paper.slug.as_str()));
            Error::Input(format!("there is no paper `{slug}`{hint} (`ream papers` lists them)"))
        })
    }

    /// The paper of that name, with its system.
    ///
    /// # Errors
    /// There is none of that name, or it has no system yet.
    pub fn system(&self, slug: &str) -> Result<(&Entry, AnySystem)> {
        let entry = self.get(slug)?;
        match entry.system {
            Some(system) => Ok((entry, system)),
            None => Err(Error::Input(format!(
                "`{slug}` has no system yet; `ream show {slug}` shows its claims and rules, `ream papers --implemented` what runs"
            ))),
        }
    }
}

impl Entry {
    /// The program as far as it decides this paper's observations.
    #[must_use]
    pub fn code(&self) -> Code {
        Code {
            version: self.build.version.to_owned(),
            commit: self.build.commit.to_owned(),
            clean: self.build.clean,
            sources: self.embedded.sources.to_owned(),
            substrate: self.build.substrate.to_owned(),
        }
    }

    /// The published results, if there are any.
    ///
    /// # Errors
    /// They are damaged, or written by a newer version.
    pub fn results(&self) -> Result<Option<Results>> {
        let file = format!("results/{}.json", self.paper.slug);
        self.embedded.result.map(|text| Results::parse(&file, text)).transpose()
    }

    /// Where this build keeps what its smoke run saw, by which a change below the papers is judged.
    #[must_use]
    pub fn smoke_file(&self) -> PathBuf {
        let name = format!("{}-{}-{}.json", self.paper.slug, self.embedded.sources, self.build.substrate);
        crate::home().join("smoke").join(name)
    }

    /// What this build's smoke run saw, if it ran.
    #[must_use]
    pub fn smoke_today(&self) -> Option<SmokeDigest> {
        serde_json::from_slice(&std::fs::read(self.smoke_file()).ok()?).ok()
    }

    /// Remembers what this build's smoke run saw: a change below the papers is judged by it. Runs that are not the whole
    /// smoke preset on its own data are let pass.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn keep_smoke_digest(&self, report: &Report) -> Result<()> {
        let record = &report.record;
        let whole = record.preset == Preset::Smoke
            && !record.modified
            && record.own_data.is_none()
            && record.claims.is_empty()
            && report.finished == record.seeds
            && self.system.is_some_and(|s| record.seeds == (1..=s.seeds(Preset::Smoke)).collect::<Vec<_>>())
            && !record.data.values().any(|hash| hash == NOT_FETCHED);
        if !whole {
            return Ok(());
        }
        let path = self.smoke_file();
        let digest = SmokeDigest { isa: record.isa.clone(), digest: report.digest.clone() };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(Error::io("create", parent))?;
        }
        write_atomic(&path, &to_json(&digest)?)
    }

    /// The claims as they stand: a newer run of evidence among `runs`, else the published results.
    ///
    /// # Errors
    /// Results or a run are damaged.
    pub fn claims(&self, runs: &Runs) -> Result<Vec<ClaimReport>> {
        let published = self.results()?;
        if let Some(report) = self.newest_evidence(runs, published.as_ref().map_or("", |r| r.run.as_str()))? {
            return Ok(report.claims);
        }
        if let Some(results) = published {
            let stale = results.stale(&self.code(), self.smoke_today().as_ref());
            return Ok(results.claims(&self.paper, stale));
        }
        let (reason, command) = match self.system {
            Some(_) => ("no full run yet", format!("ream run {} --preset full", self.paper.slug)),
            None => ("not implemented", String::new()),
        };
        let facts = RunFacts { command, ..RunFacts::default() };
        let report = |claim| ClaimReport::new(&self.paper, claim, Outcome::not_tested(reason), &facts);
        Ok(self.paper.claims.iter().map(report).collect())
    }

    /// The newest run that is evidence and was made by this very code.
    fn newest_evidence(&self, runs: &Runs, published: &str) -> Result<Option<Report>> {
        let prefix = format!("{}-", self.paper.slug);
        for name in runs.names()?.iter().rev().filter(|name| name.starts_with(&prefix)) {
            if name == published {
                return Ok(None);
            }
            let Ok((dir, record)) = RunDir::open(&runs.path(name)) else { continue };
            let candidate =
                record.paper == self.paper.slug && record.preset != Preset::Smoke && !record.modified;
            if !candidate || record.code != self.code() {
                continue;
            }
            let report = Report::gather(&dir, &record, &self.paper)?;
            if report.not_evidence.is_empty() {
                return Ok(Some(report));
            }
        }
        Ok(None)
    }

    /// Refuses a run that other code has started: a run's seeds are all made by one program.
    ///
    /// # Errors
    /// The code differs; both hashes and the command that starts a new run are named.
    pub fn same_code(&self, record: &crate::RunRecord) -> Result<()> {
        let code = self.code();
        if (&record.code.sources, &record.code.substrate) == (&code.sources, &code.substrate) {
            return Ok(());
        }
        Err(Error::Input(format!(
            "run {} was started by other code (sources {} and {}, now {} and {}); start a new run: {}",
            record.id,
            record.code.sources,
            record.code.substrate,
            code.sources,
            code.substrate,
            record.command
        )))
    }
}
