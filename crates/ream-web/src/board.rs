//! How all claims of the edition stand, computed once and kept until a run changes something.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::Arc;

use ream_catalog::{EditionPaper, RunRow};
use ream_lab::figure::Theme;
use ream_lab::report::html::figure_block;
use ream_lab::{
    ClaimReport, Edition, Entry, Figure, Layer, Panel, Preset, RunDir, RunRecord, Runs, Standing, show_at,
};
use ream_paper::Test;

use crate::edition::{edition_paper, reports};

/// Places of a claim that a figure shows.
const PLACES: usize = 24;

/// Every paper of the edition by its short name.
#[derive(Default)]
pub(crate) struct Board {
    pub(crate) papers: BTreeMap<String, Arc<Shown>>,
    /// What to try first: the paper whose smoke run is expected to be over soonest and needs nothing that is not here.
    pub(crate) first: Option<String>,
}

/// What is shown of a paper besides its facts.
pub(crate) struct Shown {
    /// Its claims as they stand.
    pub(crate) reports: Vec<ClaimReport>,
    /// When what they rest on was measured, seconds since 1970; nothing where nothing was.
    pub(crate) measured: Option<i64>,
    /// Minutes of the last full run.
    pub(crate) minutes: Option<f64>,
    /// What its system expects of one seed, where nothing has been run.
    pub(crate) expected: Option<f64>,
    /// Data sets that its smoke or its full preset uses.
    pub(crate) data: Vec<String>,
    /// What was measured, as a figure; empty where nothing was. Its colours are the page's style.
    pub(crate) figure: String,
}

impl Shown {
    /// The command that made its figures, or will.
    pub(crate) fn command(&self, slug: &str) -> String {
        let made = self.reports.iter().map(|report| report.command.as_str()).find(|c| !c.is_empty());
        made.map_or_else(|| format!("ream run {slug} --preset full"), str::to_owned)
    }
}

impl Board {
    /// Judges every paper again.
    pub(crate) fn of(edition: &Edition, runs: &Runs, store: &ream_data::Store) -> Self {
        let shown = |entry: &Entry| {
            let reports = reports(entry, runs);
            let figure =
                figure(entry, &reports).and_then(|f| figure_block(&f, Theme::Page).ok()).unwrap_or_default();
            let minutes = reports.iter().find_map(|r| r.minutes);
            let measured = measured(entry, runs);
            Shown { minutes, measured, data: data(entry), expected: expected(entry), figure, reports }
        };
        let papers = edition.map(|e| (e.paper.slug.clone(), Arc::new(shown(e)))).into_iter().collect();
        Self { papers, first: first(edition, store) }
    }

    /// The edition as the catalogue holds it.
    pub(crate) fn edition_papers(&self, edition: &Edition) -> Vec<EditionPaper> {
        let paper = |entry: &Entry| {
            self.papers.get(&entry.paper.slug).map(|shown| edition_paper(entry, &shown.reports))
        };
        edition.entries.iter().filter_map(paper).collect()
    }
}

/// When the run ended by which [`Entry::claims`] judges: the newest evidence of this very code, else the published result.
fn measured(entry: &Entry, runs: &Runs) -> Option<i64> {
    let published = entry.results().ok().flatten();
    let prefix = format!("{}-", entry.paper.slug);
    let code = entry.code();
    let names = runs.names().unwrap_or_default();
    let newer = names
        .iter()
        .rev()
        .filter(|name| name.starts_with(&prefix))
        .take_while(|name| published.as_ref().is_none_or(|results| results.run != **name));
    for name in newer {
        let Ok((dir, record)) = runs.open_exactly(name) else { continue };
        if record.paper != entry.paper.slug || record.code != code {
            continue;
        }
        let row = run_row(&dir, &record);
        if row.evidence {
            return Some(row.created.saturating_add(row.seconds.unwrap_or(0.0) as i64));
        }
    }
    let day = published?.date.parse().ok().and_then(crate::calendar::day)?;
    Some(day * 86_400)
}

/// The paper of the cheapest smoke run; of equals the first by name.
fn first(edition: &Edition, store: &ream_data::Store) -> Option<String> {
    let cost = |entry: &Entry| {
        let system = entry.system?;
        let (_, needs) = system.preset(Preset::Smoke).and_then(|config| system.prepare(&config)).ok()?;
        let here = |id: &String| {
            ream_data::get(id).is_ok_and(|set| store.condition(set) == ream_data::Condition::Fetched)
        };
        let minutes = needs.minutes * system.seeds(Preset::Smoke) as f64;
        needs.data.iter().all(here).then(|| (minutes, entry.paper.slug.clone()))
    };
    let cheapest = edition
        .entries
        .iter()
        .filter_map(cost)
        .min_by(|(a, x), (b, y)| a.total_cmp(b).then_with(|| x.cmp(y)));
    cheapest.map(|(_, slug)| slug)
}

/// Data sets of a system's smoke and full preset.
fn data(entry: &Entry) -> Vec<String> {
    let needs = |preset| {
        let system = entry.system?;
        let (_, needs) = system.preset(preset).and_then(|config| system.prepare(&config)).ok()?;
        Some(needs.data)
    };
    let all: BTreeSet<String> =
        [Preset::Smoke, Preset::Full].into_iter().filter_map(needs).flatten().collect();
    all.into_iter().collect()
}

/// Minutes that a system expects of one seed of its full preset.
fn expected(entry: &Entry) -> Option<f64> {
    let system = entry.system?;
    let (_, needs) = system.preset(Preset::Full).and_then(|config| system.prepare(&config)).ok()?;
    (needs.minutes > 0.0).then_some(needs.minutes)
}

/// One panel for each claim that was measured: its first check at every place, with intervals, and the threshold.
fn figure(entry: &Entry, reports: &[ClaimReport]) -> Option<Figure> {
    let panels: Vec<Panel> = reports.iter().filter_map(panel).collect();
    if panels.is_empty() {
        return None;
    }
    let mut figure = Figure::new(
        format!("{}: what was measured", entry.paper.slug),
        "One panel for each claim: the first check of its rule at every place where it was tested, with 95 % intervals over seeds. Dashed lines are what the rule asks for.",
    );
    figure.panels = panels;
    Some(figure.columns(2))
}

fn panel(report: &ClaimReport) -> Option<Panel> {
    let check = report.checks.first().filter(|check| !check.places.is_empty())?;
    let test: Test = check.test.parse().ok()?;
    let places = &check.places[..check.places.len().min(PLACES)];
    let names =
        places.iter().map(|place| if place.at.is_empty() { "all".to_owned() } else { show_at(&place.at) });
    let points = Layer::Points {
        label: "measured".to_owned(),
        x: (0..places.len()).map(|i| i as f64).collect(),
        y: places.iter().map(|p| p.value).collect(),
        error: places.iter().map(|p| p.interval.unwrap_or([f64::NAN; 2])).collect(),
        names: Vec::new(),
        shade: Vec::new(),
        shade_label: String::new(),
    };
    let panel = Panel::new(format!("{}: {}", report.claim, report.statement))
        .y(check.quantity.as_str())
        .categories_x(names)
        .layer(points);
    let rule = |label: String, value| Layer::Rule { label, value, vertical: false };
    Some(match test {
        Test::Less(bound) | Test::AtMost(bound) | Test::Greater(bound) | Test::AtLeast(bound) => {
            panel.layer(rule(format!("wanted {}", check.test), bound))
        }
        Test::In(low, high) => panel
            .layer(rule(format!("wanted from {low}"), low))
            .layer(rule(format!("wanted to {high}"), high)),
    })
}

/// Changes when a run is added, removed, ends a seed or is reported, when a smoke run is recorded, or when data come or
/// go. Costs a look at each run's folder and at its seeds' folders, whose times change with every file that is put there,
/// and at each data set.
pub(crate) fn stamp(runs: &Runs, store: &ream_data::Store) -> u64 {
    let mut hash = DefaultHasher::new();
    let mut look = |path: &Path| {
        if let Ok(time) = path.metadata().and_then(|m| m.modified()) {
            (path, time).hash(&mut hash);
        }
    };
    look(&ream_lab::home().join("smoke"));
    for name in runs.names().unwrap_or_default() {
        let run = runs.path(&name);
        look(&run);
        let seeds = std::fs::read_dir(&run).into_iter().flatten().flatten();
        let mut seeds: Vec<_> = seeds
            .map(|e| e.path())
            .filter(|p| p.join("exit").is_file() || p.join("lock").is_file())
            .collect();
        seeds.sort();
        for seed in seeds {
            // The lock says who works on it, the exit how it ended; events change every moment and do not count.
            look(&seed.join("lock"));
            look(&seed.join("exit"));
        }
    }
    for (_, condition) in store.list() {
        (condition == ream_data::Condition::Fetched).hash(&mut hash);
    }
    hash.finish()
}

/// The runs as lists show them, newest first. One that cannot be read is left out.
pub(crate) fn run_rows(runs: &Runs) -> ream_lab::Result<Vec<RunRow>> {
    let mut names = runs.names()?;
    names.reverse();
    let row = |name: &String| {
        let (dir, record) = runs.open_exactly(name).ok()?;
        Some(run_row(&dir, &record))
    };
    Ok(names.iter().filter_map(row).collect())
}

fn run_row(dir: &RunDir, record: &RunRecord) -> RunRow {
    let state = Standing::of(dir, record).map_or("damaged", |(standing, _)| standing.name());
    RunRow {
        id: record.id.clone(),
        slug: record.paper.clone(),
        preset: record.preset.name().to_owned(),
        state: state.to_owned(),
        created: i64::try_from(record.created).unwrap_or(i64::MAX),
        seconds: dir.wall_seconds().ok().flatten(),
        evidence: is_evidence(state, record),
    }
}

/// Whether verdicts may rest on a run.
pub(crate) fn is_evidence(state: &str, record: &RunRecord) -> bool {
    state == "finished"
        && record.preset != Preset::Smoke
        && !record.modified
        && record.own_data.is_none()
        && record.claims.is_empty()
        && record.code.clean
        && !record.code.commit.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_that_come_are_news() {
        let home = tempfile::tempdir().unwrap();
        let runs = Runs::new(home.path().join("runs"));
        let store = ream_data::Store::open(home.path().join("data"));
        let before = stamp(&runs, &store);
        assert_eq!(stamp(&runs, &store), before);
        let set = ream_data::get("alpaca-leaderboard").unwrap();
        let file = home.path().join("data").join(&set.id).join(&set.files[0].name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, vec![0; usize::try_from(set.files[0].bytes).unwrap()]).unwrap();
        assert_ne!(stamp(&runs, &store), before);
    }
}
