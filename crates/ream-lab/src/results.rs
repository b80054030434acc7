//! Claims with their verdicts, as `ream claims`, `ream run --json`, `report.json` and `results/<slug>.json` show them.

use std::collections::BTreeMap;

use ream_paper::{Claim, ClaimKind, Deviation, Paper, PaperFigure, Scale};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::code::Code;
use crate::config::hex;
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::preset::Preset;
use crate::verdict::{CheckOutcome, Outcome, SeedObservations, Verdict, judge};

/// Version of the layout of `results/<slug>.json`.
pub const RESULTS_FORMAT: u32 = 1;

/// A claim with what is known of it here. The fields and their types are part of the program's interface.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClaimReport {
    /// Slug of the paper. String.
    pub paper: String,
    /// Id of the claim. String.
    pub claim: String,
    /// `finding` or `property`.
    pub kind: ClaimKind,
    /// The statement. String.
    pub statement: String,
    /// What is measured. String.
    pub metric: String,
    /// The paper's own figure: `{text, source}`, both strings.
    pub paper_figure: PaperFigure,
    /// The first check's figure, at the place where it comes closest to failing. Number or null.
    pub measured: Option<f64>,
    /// Its 95 % interval. `[number, number]` or null.
    pub interval: Option<[f64; 2]>,
    /// One of the six verdicts. String.
    pub verdict: Verdict,
    /// Why, where the verdict alone does not say. String, may be empty.
    pub reason: String,
    /// The rule in words. String.
    pub rule: String,
    /// `paper` or `reduced`.
    pub scale: Scale,
    /// The checks with their figures at every place. Array.
    pub checks: Vec<CheckOutcome>,
    /// Number of seeds that were judged. Integer.
    pub seeds: usize,
    /// The preset that was run. String or null.
    pub preset: Option<Preset>,
    /// Minutes that the run took. Number or null.
    pub minutes: Option<f64>,
    /// Whether the code has changed since. Boolean; null where a changed substrate has not been tried yet, or nothing ran.
    pub stale: Option<bool>,
    /// Differences from the paper's experiment that touch this claim: `{paper, here, why, affects}`. Array.
    pub deviations: Vec<Deviation>,
    /// The command that makes the figure again. String, empty where there is no system.
    pub command: String,
}

/// What a claim's report takes from its run.
#[derive(Clone, Debug, Default)]
pub struct RunFacts {
    /// Number of seeds judged.
    pub seeds: usize,
    /// The preset.
    pub preset: Option<Preset>,
    /// Minutes.
    pub minutes: Option<f64>,
    /// Whether the code has changed since.
    pub stale: Option<bool>,
    /// The command that makes it again.
    pub command: String,
}

impl ClaimReport {
    /// Puts a claim, its outcome and its run together.
    #[must_use]
    pub fn new(paper: &Paper, claim: &Claim, outcome: Outcome, facts: &RunFacts) -> Self {
        let headline = outcome.headline().cloned();
        Self {
            paper: paper.slug.clone(),
            claim: claim.id.clone(),
            kind: claim.kind,
            statement: claim.statement.clone(),
            metric: claim.metric.clone(),
            paper_figure: claim.paper_figure.clone(),
            measured: headline.as_ref().map(|p| p.value),
            interval: headline.and_then(|p| p.interval),
            verdict: outcome.verdict,
            reason: outcome.reason,
            rule: claim.rule_text.clone(),
            scale: claim.scale,
            checks: outcome.checks,
            seeds: facts.seeds,
            preset: facts.preset,
            minutes: facts.minutes,
            stale: facts.stale,
            deviations: paper.deviations_of(&claim.id).cloned().collect(),
            command: facts.command.clone(),
        }
    }
}

/// Hash of what a verdict rests on: statement, rule in words, checks and how they combine. A result whose hash differs
/// from today's was judged by another rule.
#[must_use]
pub fn rule_hash(claim: &Claim) -> String {
    let parts = serde_json::json!([claim.statement, claim.rule_text, claim.scale, claim.holds, claim.checks]);
    hex(&Sha256::digest(parts.to_string().as_bytes()))[..16].to_owned()
}

/// `results/<slug>.json`: the last full run of a paper.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Results {
    /// Version of the layout.
    pub format: u32,
    /// Slug of the paper.
    pub paper: String,
    /// Name of the run.
    pub run: String,
    /// `2024-05-01`.
    pub date: String,
    /// The preset, unmodified.
    pub preset: Preset,
    /// The canonical configuration.
    pub config: serde_json::Value,
    /// Its hash.
    pub config_hash: String,
    /// Threads of each worker.
    pub threads: usize,
    /// Wall-clock minutes from the first worker's start to the last one's end.
    pub minutes: f64,
    /// The command that makes it again.
    pub command: String,
    /// The program.
    pub code: Code,
    /// The machine.
    pub machine: Machine,
    /// Instruction set.
    pub isa: String,
    /// Data sets and hashes of the files used.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub data: BTreeMap<String, String>,
    /// What was scaled down.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scaled: Vec<String>,
    /// Digest of the smoke preset's observations, by which a change below the papers is judged.
    pub smoke: SmokeDigest,
    /// Hash of every claim's rule at the time of the run.
    pub rules: BTreeMap<String, String>,
    /// The verdicts.
    pub verdicts: BTreeMap<String, Verdict>,
    /// Verdicts of earlier runs, newest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous: Vec<Previous>,
    /// Everything that was observed.
    pub observations: Vec<SeedObservations>,
}

/// What the smoke preset observed, as a hash.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SmokeDigest {
    /// Instruction set; digests are compared within one.
    pub isa: String,
    /// Hash of the observations of all smoke seeds.
    pub digest: String,
}

/// An earlier run's verdicts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Previous {
    /// `2024-05-01`.
    pub date: String,
    /// The program.
    pub code: Code,
    /// The verdicts.
    pub verdicts: BTreeMap<String, Verdict>,
}

impl Results {
    /// Reads `results/<slug>.json`.
    ///
    /// # Errors
    /// Damaged, or written by a newer version.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let newer = |format| {
            Error::corrupt(file.as_ref(), format!("written by a newer version of ream (format {format})"))
        };
        // Only what cannot be read is asked for its version alone: these are megabytes.
        match serde_json::from_str::<Self>(text) {
            Ok(results) if results.format > RESULTS_FORMAT => Err(newer(results.format)),
            Ok(results) => Ok(results),
            Err(e) => Err(match serde_json::from_str(text) {
                Ok(Version { format }) if format > RESULTS_FORMAT => newer(format),
                _ => Error::corrupt(
                    file.as_ref(),
                    format!("damaged results: {e}; restore it from the repository"),
                ),
            }),
        }
    }

    /// The claims of `paper` as this run and today's rules have them.
    #[must_use]
    pub fn claims(&self, paper: &Paper, stale: Option<bool>) -> Vec<ClaimReport> {
        let facts = RunFacts {
            seeds: self.observations.len(),
            preset: Some(self.preset),
            minutes: Some(self.minutes),
            stale,
            command: self.command.clone(),
        };
        let report = |claim: &Claim| {
            let outcome = if self.rules.get(&claim.id).is_some_and(|hash| *hash == rule_hash(claim)) {
                judge(&paper.measures, claim, &self.observations)
            } else {
                Outcome::not_tested("rule changed after the run")
            };
            ClaimReport::new(paper, claim, outcome, &facts)
        };
        paper.claims.iter().map(report).collect()
    }

    /// Whether today's code still makes these results: `Some(false)` when the paper's sources and the crates below are
    /// the same, or the paper's are and today's smoke run saw the same; `Some(true)` when not; `None` when nobody tried.
    #[must_use]
    pub fn stale(&self, code: &Code, smoke_today: Option<&SmokeDigest>) -> Option<bool> {
        if self.code.sources != code.sources {
            return Some(true);
        }
        if self.code.substrate == code.substrate {
            return Some(false);
        }
        let today = smoke_today.filter(|today| today.isa == self.smoke.isa)?;
        Some(today.digest != self.smoke.digest)
    }
}

/// Hash of the observations of several seeds.
///
/// # Errors
/// Only where an observation cannot be written as JSON.
pub fn digest(seeds: &[SeedObservations]) -> Result<String> {
    let text = serde_json::to_vec(seeds).map_err(|e| Error::failed(format!("digest: {e}")))?;
    Ok(hex(&Sha256::digest(text))[..32].to_owned())
}
