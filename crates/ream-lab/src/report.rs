//! What a finished run says: claims, measures, tables, warnings; as data, as text, as one self-contained page.

use std::collections::BTreeMap;

use ream_paper::{Paper, Place};
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::events::{Event, read};
use crate::files::{to_json, write_atomic};
use crate::launch::{Ended, state};
use crate::observation::At;
use crate::preset::Preset;
use crate::record::{RunDir, RunRecord};
use crate::results::{ClaimReport, RunFacts, digest};
use crate::summary::{Values, summarise};
use crate::table::Table;
use crate::verdict::{Outcome, SeedObservations, judge};

pub mod html;
pub mod page;
pub mod tables;
pub mod text;

/// `report.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Name of the run.
    pub run: String,
    /// Slug of the paper.
    pub paper: String,
    /// Title of the paper.
    pub title: String,
    /// The preset.
    pub preset: Preset,
    /// Why this run is not evidence; empty when it is.
    pub not_evidence: Vec<String>,
    /// Seconds that the whole run took.
    pub seconds: f64,
    /// The same in minutes.
    pub minutes: f64,
    /// Seeds with observations.
    pub finished: Vec<u64>,
    /// Seeds that failed, and why.
    pub failed: Vec<(u64, String)>,
    /// Seeds that have not ended.
    pub unfinished: Vec<(u64, String)>,
    /// The claims.
    pub claims: Vec<ClaimReport>,
    /// Every measure, arm and place, over the seeds.
    pub measures: Vec<MeasureRow>,
    /// Tables of the first seed that has them.
    pub tables: Vec<Table>,
    /// Texts of the first seed that has them.
    pub samples: Vec<(String, String)>,
    /// Warnings of all seeds, each once.
    pub warnings: Vec<String>,
    /// Names of the figures, with the seed that drew each.
    pub figures: Vec<(String, u64)>,
    /// Hash of all observations.
    pub digest: String,
    /// The run's inputs.
    pub record: RunRecord,
}

/// A measure over the seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeasureRow {
    /// Id of the measure.
    pub measure: String,
    /// The system or baseline.
    pub arm: String,
    /// Where.
    pub at: At,
    /// Unit.
    pub unit: String,
    /// Mean over seeds.
    pub value: f64,
    /// Standard error.
    pub se: Option<f64>,
    /// 95 % interval.
    pub interval: Option<[f64; 2]>,
    /// Number of seeds.
    pub seeds: usize,
}

/// The observations without those of measures that depend on how fast the machine was.
fn steady(paper: &Paper, seeds: &[SeedObservations]) -> Vec<SeedObservations> {
    let timed = |id: &str| paper.measure(id).is_some_and(|measure| measure.timed);
    let mut seeds = seeds.to_vec();
    seeds.iter_mut().for_each(|seed| seed.observations.retain(|o| !timed(&o.measure)));
    seeds
}

impl Report {
    /// Gathers a run as it stands; unfinished runs give what there is.
    ///
    /// # Errors
    /// A file of the run is damaged.
    pub fn gather(dir: &RunDir, record: &RunRecord, paper: &Paper) -> Result<Self> {
        let ended = state(dir, record)?;
        let mut seeds = Vec::new();
        let mut seconds = 0.0_f64;
        for seed in &ended.finished {
            let Some(observations) = dir.observations(*seed)? else { continue };
            seconds = seconds.max(dir.timings(*seed)?.and_then(|t| t.get("total").copied()).unwrap_or(0.0));
            seeds.push(SeedObservations { seed: *seed, observations });
        }
        let seconds = dir.wall_seconds()?.unwrap_or(seconds);
        let told = Told::gather(dir, record)?;
        let not_evidence = not_evidence(record, &ended);
        Ok(Self {
            run: record.id.clone(),
            paper: paper.slug.clone(),
            title: paper.title.clone(),
            preset: record.preset,
            not_evidence,
            seconds,
            minutes: seconds / 60.0,
            claims: claims(record, paper, &seeds, &ended, seconds),
            measures: measures(paper, &seeds),
            tables: told.tables,
            samples: told.samples,
            warnings: told.warnings,
            figures: told.figures,
            digest: digest(&steady(paper, &seeds))?,
            finished: ended.finished,
            failed: ended.failed,
            unfinished: ended.unfinished,
            record: record.clone(),
        })
    }

    /// Writes `report.json`, `report.html` and the folder `tables`.
    ///
    /// # Errors
    /// The directory cannot be written; a figure's file is damaged.
    pub fn write(&self, dir: &RunDir) -> Result<()> {
        write_atomic(&dir.file("report.json"), &to_json(self)?)?;
        tables::write(&self.tables, &dir.file("tables"))?;
        let mut figures = Vec::new();
        for (name, seed) in &self.figures {
            figures.push(dir.figure(*seed, name)?);
        }
        write_atomic(&dir.file("report.html"), page::report(self, &figures)?.as_bytes())
    }
}

/// What keeps a run from being evidence, in words.
fn not_evidence(record: &RunRecord, ended: &Ended) -> Vec<String> {
    let mut why = Vec::new();
    if record.preset == Preset::Smoke {
        why.push("smoke: not evidence".to_owned());
    }
    if record.modified {
        why.push("the configuration differs from the preset".to_owned());
    }
    if record.own_data.is_some() {
        why.push("own data".to_owned());
    }
    if !record.claims.is_empty() {
        why.push("only some claims were asked for".to_owned());
    }
    if record.code.commit.is_empty() {
        why.push("the program was built outside a repository".to_owned());
    } else if !record.code.clean {
        why.push("the program was built from a tree with uncommitted changes".to_owned());
    }
    if !ended.failed.is_empty() || !ended.unfinished.is_empty() {
        why.push("not every seed has finished".to_owned());
    }
    why
}

fn claims(
    record: &RunRecord,
    paper: &Paper,
    seeds: &[SeedObservations],
    ended: &Ended,
    seconds: f64,
) -> Vec<ClaimReport> {
    let facts = RunFacts {
        seeds: seeds.len(),
        preset: Some(record.preset),
        minutes: Some(seconds / 60.0),
        stale: Some(false),
        command: record.command.clone(),
    };
    let missing: Vec<&str> =
        record.data.iter().filter(|(_, hash)| *hash == NOT_FETCHED).map(|(id, _)| id.as_str()).collect();
    paper
        .claims
        .iter()
        .map(|claim| {
            let mut outcome = if record.own_data.is_some() {
                Outcome::not_tested("own data")
            } else if !record.claims.is_empty() && !record.claims.contains(&claim.id) {
                Outcome::not_tested("not asked for")
            } else if seeds.is_empty() {
                Outcome::not_tested(if ended.failed.is_empty() {
                    "no seed has finished"
                } else {
                    "every seed failed"
                })
            } else {
                judge(&paper.measures, claim, seeds)
            };
            if outcome.verdict == crate::Verdict::NotTested
                && !missing.is_empty()
                && outcome.reason.contains("observed")
            {
                outcome.reason = format!("data not fetched (ream data fetch {})", missing.join(" "));
            } else if outcome.verdict == crate::Verdict::NotTested && outcome.reason.contains("observed") {
                outcome.reason = format!("{} by the {} preset", outcome.reason, record.preset.name());
            }
            ClaimReport::new(paper, claim, outcome, &facts)
        })
        .collect()
}

/// What `run.toml` says of a data set that was not there.
pub const NOT_FETCHED: &str = "not fetched";

fn measures(paper: &Paper, seeds: &[SeedObservations]) -> Vec<MeasureRow> {
    type Key<'a> = (&'a str, &'a str, &'a At);
    type Places = Vec<(f64, Option<crate::Spread>)>;
    let mut groups: BTreeMap<Key<'_>, Vec<Places>> = BTreeMap::new();
    for seed in seeds {
        for o in &seed.observations {
            groups.entry(o.key()).or_default().push(vec![(o.value, o.spread.clone())]);
        }
    }
    groups
        .into_iter()
        .map(|((measure, arm, at), values)| {
            let values = Values::of(values.into_iter());
            let summary = summarise(ream_paper::Seeds::Mean, &values, 0.95);
            MeasureRow {
                measure: measure.to_owned(),
                arm: arm.to_owned(),
                at: at.clone(),
                unit: paper.measure(measure).map(|m| m.unit.clone()).unwrap_or_default(),
                value: summary.value,
                se: summary.se,
                interval: summary.interval,
                seeds: values.values().len(),
            }
        })
        .collect()
}

/// Tables, texts, figures and warnings that the seeds told.
#[derive(Default)]
struct Told {
    tables: Vec<Table>,
    samples: Vec<(String, String)>,
    warnings: Vec<String>,
    figures: Vec<(String, u64)>,
}

impl Told {
    fn gather(dir: &RunDir, record: &RunRecord) -> Result<Self> {
        let mut all = Self::default();
        for seed in &record.seeds {
            let mut own = Self::default();
            for event in read(&dir.seed(*seed).join("events.jsonl"))? {
                match event {
                    Event::Table { table } => {
                        own.tables.retain(|t| t.title != table.title);
                        own.tables.push(table);
                    }
                    Event::Sample { title, text } => {
                        own.samples.retain(|s| s.0 != title);
                        own.samples.push((title, text));
                    }
                    Event::Figure { name } => {
                        own.figures.retain(|f| f.0 != name);
                        own.figures.push((name, *seed));
                    }
                    Event::Warn { text } if !all.warnings.contains(&text) => all.warnings.push(text),
                    _ => {}
                }
            }
            own.tables.retain(|t| all.tables.iter().all(|other| other.title != t.title));
            own.samples.retain(|s| all.samples.iter().all(|other| other.0 != s.0));
            own.figures.retain(|f| all.figures.iter().all(|other| other.0 != f.0));
            all.tables.append(&mut own.tables);
            all.samples.append(&mut own.samples);
            all.figures.append(&mut own.figures);
        }
        Ok(all)
    }
}

/// `german, 0.5`: the values of a place without their keys.
pub(crate) fn place_words(at: &At) -> String {
    at.values().map(Place::to_string).collect::<Vec<_>>().join(", ")
}
