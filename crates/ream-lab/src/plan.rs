//! From an order (command line or form) to a run that is decided but not started.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::{change, did_you_mean, hash as config_hash};
use crate::edition::Entry;
use crate::error::{Error, Invalid, Result};
use crate::machine::{Machine, cores, isa};
use crate::preset::Preset;
use crate::record::{FORMAT, OwnData, RunRecord};
use crate::report::NOT_FETCHED;
use crate::run::LARGEST_SEED;
use crate::system::{AnySystem, Needs};
use crate::time;

/// What someone asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Order {
    /// Which configuration to start from.
    pub preset: Preset,
    /// `5` for seeds 1 to 5, `3,7,9` for these; the preset's own number when absent.
    pub seeds: Option<String>,
    /// `key=value` each.
    pub sets: Vec<String>,
    /// Name and text of a TOML file of changes.
    pub config: Option<(String, String)>,
    /// The user's own file.
    pub data: Option<PathBuf>,
    /// Only these claims; empty for all.
    pub claims: Vec<String>,
    /// Threads of each seed; what the system uses well when absent.
    pub threads: Option<usize>,
}

/// A run that is decided but not started.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The preset.
    pub preset: Preset,
    /// The canonical configuration.
    pub config: Value,
    /// Whether it differs from the preset.
    pub modified: bool,
    /// What it needs.
    pub needs: Needs,
    /// Seeds, in order.
    pub seeds: Vec<u64>,
    /// Claims asked for; empty for all.
    pub claims: Vec<String>,
    /// The user's own file, as an absolute path.
    pub own_data: Option<PathBuf>,
    /// Threads of each seed.
    pub threads: usize,
    command: String,
}

impl Plan {
    /// Types and checks an order.
    ///
    /// # Errors
    /// What is wrong, where, what would be right; nothing was started.
    pub fn new(entry: &Entry, system: &AnySystem, order: &Order) -> Result<Self> {
        let base = system.preset(order.preset)?;
        let file = order.config.as_ref().map(|(name, text)| (name.as_str(), text.as_str()));
        let changed = change(&system.schema(), base.clone(), file, &order.sets)?;
        let (config, needs) = system.prepare(&changed)?;
        let seeds = match &order.seeds {
            Some(text) => parse_seeds(text)?,
            None => (1..=system.seeds(order.preset)).collect(),
        };
        known_claims(entry, &order.claims)?;
        let own_data = match &order.data {
            Some(path) => Some(own_file(system, &config, path)?),
            None => None,
        };
        if order.threads == Some(0) {
            return Err(Invalid::new("--threads", "at least 1", "0").into());
        }
        let threads = order.threads.unwrap_or_else(|| needs.threads.clamp(1, cores()));
        Ok(Self {
            preset: order.preset,
            modified: config != base,
            config,
            needs,
            seeds,
            claims: order.claims.clone(),
            own_data,
            threads,
            command: command(&entry.paper.slug, order),
        })
    }

    /// Claims that this plan can say something about.
    pub fn testable<'a>(&'a self, entry: &'a Entry) -> impl Iterator<Item = &'a str> {
        entry
            .paper
            .claims
            .iter()
            .filter(|c| !c.checks.is_empty() && (self.claims.is_empty() || self.claims.contains(&c.id)))
            .map(|c| c.id.as_str())
    }

    /// The exact command that makes the run again.
    #[must_use]
    pub fn command(&self) -> &str {
        &self.command
    }

    /// Everything that decides the run. Data sets are taken as they are in `store`.
    ///
    /// # Errors
    /// A data file cannot be read.
    pub fn record(&self, entry: &Entry, store: &ream_data::Store) -> Result<RunRecord> {
        let paper = entry.paper.slug.clone();
        let mut hashes = BTreeMap::new();
        if self.own_data.is_none() {
            for id in &self.needs.data {
                let hash = match store.path(id) {
                    Ok(_) => store.hash(id)?,
                    Err(_) => NOT_FETCHED.to_owned(),
                };
                hashes.insert(id.clone(), hash);
            }
        }
        let own_data = match &self.own_data {
            Some(path) => Some(OwnData { path: path.clone(), sha256: ream_data::hash_file(path)? }),
            None => None,
        };
        let created = time::now();
        Ok(RunRecord {
            format: FORMAT,
            id: format!("{paper}-{}-{}", time::compact(created), salt(created)),
            command: self.command.clone(),
            paper,
            preset: self.preset,
            modified: self.modified,
            config_hash: config_hash(&self.config),
            seeds: self.seeds.clone(),
            claims: self.claims.clone(),
            threads: self.threads,
            created,
            isa: isa().to_owned(),
            own_data,
            scaled: self.needs.scaled.clone(),
            data: hashes,
            code: entry.code(),
            machine: Machine::this(),
            config: self.config.clone(),
        })
    }
}

fn known_claims(entry: &Entry, claims: &[String]) -> Result<()> {
    for id in claims {
        if entry.paper.claim(id).is_none() {
            let ids = entry.paper.claims.iter().map(|c| c.id.as_str());
            let all: Vec<&str> = ids.clone().collect();
            return Err(Error::Input(format!(
                "`{}` has no claim `{id}`{}; it has {}",
                entry.paper.slug,
                did_you_mean(id, ids),
                all.join(", ")
            )));
        }
    }
    Ok(())
}

fn own_file(system: &AnySystem, config: &Value, path: &Path) -> Result<PathBuf> {
    let full =
        std::fs::canonicalize(path).map_err(|e| Error::Input(format!("--data {}: {e}", path.display())))?;
    system.check_data(config, &full)?;
    Ok(full)
}

/// Four hexadecimal digits that tell two runs of one second apart.
fn salt(created: u64) -> String {
    let nanos =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.subsec_nanos());
    let mixed = (created ^ (u64::from(nanos) << 20) ^ u64::from(std::process::id()))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("{:04x}", mixed >> 48)
}

fn command(slug: &str, order: &Order) -> String {
    let mut words = vec!["ream".to_owned(), "run".to_owned(), slug.to_owned()];
    if order.preset != Preset::Smoke {
        words.extend(["--preset".to_owned(), order.preset.name().to_owned()]);
    }
    let pairs = [
        ("--seeds", order.seeds.clone()),
        ("--config", order.config.as_ref().map(|(name, _)| name.clone())),
        ("--data", order.data.as_ref().map(|p| p.display().to_string())),
        ("--claims", (!order.claims.is_empty()).then(|| order.claims.join(","))),
    ];
    for (flag, value) in pairs {
        if let Some(value) = value {
            words.extend([flag.to_owned(), quote(&value)]);
        }
    }
    for set in &order.sets {
        words.extend(["--set".to_owned(), quote(set)]);
    }
    words.join(" ")
}

fn quote(text: &str) -> String {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_=.,/:+".contains(c));
    if plain && !text.is_empty() { text.to_owned() } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

/// `5` means 1 to 5; `3,7,9` these.
fn parse_seeds(text: &str) -> Result<Vec<u64>> {
    let wrong = |got: &str| -> Error {
        Invalid::new(
            "--seeds",
            format!("a count such as 5, or a list such as 3,7,9, between 1 and {LARGEST_SEED}"),
            format!("`{got}`"),
        )
        .into()
    };
    let number = |part: &str| -> Result<u64> {
        part.trim().parse().ok().filter(|n| (1..=LARGEST_SEED).contains(n)).ok_or_else(|| wrong(part))
    };
    if !text.contains(',') {
        let count = number(text)?;
        if count > 100_000 {
            return Err(Invalid::new(
                "--seeds",
                "a count of at most 100000; one large seed N is written `N,`",
                text,
            )
            .into());
        }
        return Ok((1..=count).collect());
    }
    let mut seeds = Vec::new();
    for part in text.trim_end_matches(',').split(',') {
        let seed = number(part)?;
        if seeds.contains(&seed) {
            return Err(Invalid::new("--seeds", "every seed once", format!("{seed} twice")).into());
        }
        seeds.push(seed);
    }
    Ok(seeds)
}
