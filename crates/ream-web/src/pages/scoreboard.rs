//! All claims of the edition with filters, and the bench table of a family.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use ream_lab::verdict::brief;
use ream_lab::{ClaimReport, Entry, Verdict, did_you_mean};
use ream_paper::{ClaimKind, Family};
use serde::Deserialize;

use super::side_by_side::SideBySide;
use crate::address::{address, segment};
use crate::board::{Board, Shown};
use crate::entries::{self, Feed, Form};
use crate::error::{Error, Result};
use crate::feeds::{self, Alternate};
use crate::marks::{Mark, tally, verdict};
use crate::pages::feed::{Choice, ListParams};
use crate::pages::page;
use crate::params::Params;
use crate::shell::Shell;
use crate::state::App;
use crate::views;

/// What the scoreboard is narrowed to.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Filters {
    pub(crate) family: String,
    pub(crate) verdict: String,
    /// `finding` or `property`.
    pub(crate) kind: String,
    /// `1`: papers that do not run yet too.
    pub(crate) all: String,
}

impl Filters {
    /// The address of the scoreboard with one filter changed.
    fn with(&self, key: &str, value: &str) -> String {
        let mut changed = self.clone();
        match key {
            "family" => value.clone_into(&mut changed.family),
            "verdict" => value.clone_into(&mut changed.verdict),
            "kind" => value.clone_into(&mut changed.kind),
            _ => value.clone_into(&mut changed.all),
        }
        changed.address("/scoreboard")
    }

    /// The address of what is at `path`, narrowed the same.
    fn address(&self, path: &str) -> String {
        let parts =
            [("family", &self.family), ("verdict", &self.verdict), ("kind", &self.kind), ("all", &self.all)];
        address(path, parts.map(|(key, value)| (key, value.as_str())))
    }

    /// Refuses words that filter nothing.
    pub(crate) fn checked(&self) -> Result<Self> {
        if !self.family.is_empty() {
            family_named(&self.family)?;
        }
        if !self.verdict.is_empty() && verdict(&self.verdict).is_none() {
            let all: Vec<&str> = Verdict::ALL.iter().map(|v| v.name()).collect();
            return Err(Error::bad_request(
                "bad_query",
                format!("There is no verdict “{}”; they are {}.", self.verdict, all.join(", ")),
            ));
        }
        if !["", "finding", "property"].contains(&self.kind.as_str()) {
            return Err(Error::bad_request("bad_query", "A claim is a finding or a property."));
        }
        Ok(self.clone())
    }

    /// Whether a claim passes; a verdict or a family that is asked for shows what does not run, too.
    pub(crate) fn keep(&self, entry: &Entry, report: &ClaimReport) -> bool {
        (self.all == "1" || entry.system.is_some() || !self.family.is_empty() || !self.verdict.is_empty())
            && (self.family.is_empty() || entry.paper.family.name() == self.family)
            && (self.verdict.is_empty() || report.verdict.name() == self.verdict)
            && (self.kind.is_empty() || (report.kind == ClaimKind::Property) == (self.kind == "property"))
    }
}

/// The family of that name.
pub(crate) fn family_named(name: &str) -> Result<Family> {
    Family::ALL.into_iter().find(|f| f.name() == name).ok_or_else(|| {
        let names: Vec<&str> = Family::ALL.iter().map(|f| f.name()).collect();
        let hint = did_you_mean(name, names.iter().copied());
        Error::not_found(format!("There is no family “{name}”{hint}; they are {}.", names.join(", ")))
    })
}

/// A claim in a table.
pub(crate) struct Row {
    pub(crate) paper: String,
    pub(crate) paper_href: String,
    pub(crate) claim: String,
    pub(crate) href: String,
    pub(crate) statement: String,
    pub(crate) property: bool,
    pub(crate) paper_figure: String,
    pub(crate) measured: String,
    pub(crate) interval: String,
    pub(crate) mark: Mark,
    pub(crate) stale: bool,
}

impl Row {
    pub(crate) fn new(report: &ClaimReport) -> Self {
        let paper_href = format!("/papers/{}", segment(&report.paper));
        Self {
            paper: report.paper.clone(),
            claim: report.claim.clone(),
            href: format!("{paper_href}#{}", segment(&report.claim)),
            paper_href,
            statement: report.statement.clone(),
            property: report.kind == ClaimKind::Property,
            paper_figure: report.paper_figure.text.clone(),
            measured: report.measured.map_or_else(|| "–".to_owned(), brief),
            interval: report
                .interval
                .map(|[low, high]| format!("[{}, {}]", brief(low), brief(high)))
                .unwrap_or_default(),
            mark: Mark::of(report.verdict),
            stale: report.stale == Some(true),
        }
    }
}

/// How many claims of a kind have which verdict.
struct Score {
    kind: &'static str,
    counts: Vec<(Mark, usize)>,
}

#[derive(Template)]
#[template(path = "scoreboard.html")]
struct Scoreboard<'a> {
    shell: &'a Shell,
    verdicts: Vec<Choice>,
    families: Vec<Choice>,
    kinds: Vec<Choice>,
    everything: Choice,
    scores: Vec<Score>,
    rows: Vec<Row>,
    total: usize,
    /// The same in the JSON interface.
    data: String,
    exports: Vec<Alternate>,
}

fn scores(reports: &[&ClaimReport]) -> Vec<Score> {
    [("Findings", ClaimKind::Finding), ("Properties", ClaimKind::Property)]
        .into_iter()
        .map(|(kind, wanted)| {
            let of_kind = reports.iter().filter(|r| r.kind == wanted).map(|r| r.verdict.name());
            Score { kind, counts: tally(of_kind) }
        })
        .filter(|score| !score.counts.is_empty())
        .collect()
}

/// The claims that pass, in the order of the edition.
pub(crate) fn kept<'a>(app: &'a App, board: &'a Board, filters: &Filters) -> Vec<&'a ClaimReport> {
    let mut kept = Vec::new();
    for entry in &app.site.edition.entries {
        let reports = board.papers.get(&entry.paper.slug).map(|s| s.reports.as_slice()).unwrap_or_default();
        kept.extend(reports.iter().filter(|report| filters.keep(entry, report)));
    }
    kept
}

/// `/scoreboard`
pub(crate) async fn scoreboard(
    State(app): State<App>,
    shell: Shell,
    Params(filters): Params<Filters>,
) -> Result<Response> {
    let filters = filters.checked()?;
    let board = app.board();
    let reports = kept(&app, &board, &filters);
    let choice = |key: &str, word: &str, value: &str, now: &str| {
        Choice::new(word, filters.with(key, value), value == now)
    };
    let verdicts = std::iter::once(choice("verdict", "all", "", &filters.verdict))
        .chain(Mark::all().into_iter().map(|mark| {
            let word = format!("{} {}", mark.shape, mark.name);
            choice("verdict", &word, mark.name, &filters.verdict)
        }))
        .collect();
    let families = std::iter::once(choice("family", "all", "", &filters.family))
        .chain(Family::ALL.into_iter().map(|f| choice("family", f.name(), f.name(), &filters.family)))
        .collect();
    let kinds = [("all", ""), ("findings", "finding"), ("properties", "property")]
        .map(|(word, value)| choice("kind", word, value, &filters.kind))
        .into();
    let all = if filters.all == "1" { "" } else { "1" };
    page(&Scoreboard {
        shell: &shell,
        verdicts,
        families,
        kinds,
        everything: Choice::new(
            "papers that do not run yet too",
            filters.with("all", all),
            filters.all == "1",
        ),
        scores: scores(&reports),
        rows: reports.iter().map(|report| Row::new(report)).collect(),
        total: app.site.edition.entries.iter().map(|e| e.paper.claims.len()).sum(),
        data: filters.address("/api/v1/claims"),
        exports: entries::alternates(|extension| filters.address(&format!("/scoreboard.{extension}"))),
    })
}

/// The claims of the scoreboard as a feed: an entry for each, the latest verdicts first. What nothing was measured of is
/// as old as its paper is here.
pub(crate) async fn claims_feed(app: &App, shell: &Shell, filters: &Filters, form: Form) -> Result<Response> {
    let filters = filters.checked()?;
    let board = app.board();
    let reports = kept(app, &board, &filters);
    let mut slugs: Vec<&str> = reports.iter().map(|report| report.paper.as_str()).collect();
    slugs.dedup();
    let added: BTreeMap<String, i64> =
        app.store().get_many(&slugs).await?.into_iter().map(|paper| (paper.handle, paper.added)).collect();
    let measured = |slug: &str| board.papers.get(slug).and_then(|shown| shown.measured);
    let seconds = |slug: &str| measured(slug).or(added.get(slug).copied()).unwrap_or(0);
    let mut claims: Vec<entries::Entry> =
        reports.iter().map(|report| claim_entry(report, seconds(&report.paper))).collect();
    claims.sort_by_key(|entry| Reverse(entry.seconds));
    let own = filters.address(&format!("/scoreboard.{}", form.extension()));
    Feed::new(shell, "ream: claims", &filters.address("/scoreboard"), &own, claims).answer(form)
}

fn claim_entry(report: &ClaimReport, seconds: i64) -> entries::Entry {
    let row = Row::new(report);
    let mut text = format!("{}\nThe paper: {}.", report.statement, report.paper_figure.text);
    if report.measured.is_some() {
        let _ = write!(text, "\nMeasured here: {} {}", row.measured, row.interval);
    }
    for part in [&report.reason, &report.rule] {
        if !part.is_empty() {
            let _ = write!(text, "\n{part}");
        }
    }
    entries::Entry {
        id: format!("urn:ream:claim:{}:{}", report.paper, report.claim),
        title: format!("{} {}: {}", report.paper, report.claim, report.verdict),
        text,
        page: row.href,
        seconds,
        tags: vec![report.verdict.name().to_owned()],
    }
}

/// A paper in the table of its family.
struct Bench {
    slug: String,
    href: String,
    title: String,
    date: String,
    topic: String,
    runs: bool,
    claims: usize,
    tally: Vec<(Mark, usize)>,
    minutes: String,
}

impl Bench {
    fn new(entry: &Entry, shown: Option<&Shown>) -> Self {
        let paper = &entry.paper;
        let reports = shown.map(|s| s.reports.as_slice()).unwrap_or_default();
        let minutes = shown.and_then(|s| match (s.minutes, s.expected) {
            (Some(minutes), _) => Some(views::minutes(minutes)),
            (None, Some(minutes)) => Some(format!("about {} a seed", views::minutes(minutes))),
            (None, None) => None,
        });
        Self {
            slug: paper.slug.clone(),
            href: format!("/papers/{}", segment(&paper.slug)),
            title: paper.title.clone(),
            date: paper.date.map(|d| views::date(d.into())).unwrap_or_default(),
            topic: paper.topic.clone(),
            runs: entry.system.is_some(),
            claims: paper.claims.len(),
            tally: tally(reports.iter().map(|r| r.verdict.name())),
            minutes: minutes.unwrap_or_default(),
        }
    }
}

#[derive(Template)]
#[template(path = "family.html")]
struct FamilyPage<'a> {
    shell: &'a Shell,
    name: &'static str,
    about: &'static str,
    others: Vec<Choice>,
    bench: Vec<Bench>,
    side_by_side: Vec<SideBySide>,
    running: usize,
    scores: Vec<Score>,
    rows: Vec<Row>,
    exports: Vec<Alternate>,
}

pub(crate) fn about(family: Family) -> &'static str {
    match family {
        Family::Language => "Small language models, trained here.",
        Family::Decoding => "Decoding with a real language model.",
        Family::Vision => "Visual autoregression.",
        Family::Multimodal => "Words and pictures in one model.",
        Family::Shapes => "Three-dimensional shapes.",
        Family::Control => "Reinforcement learning.",
        Family::Decisions => "Bandits and agents.",
        Family::Causal => "Causal inference.",
        Family::Science => "Proteins, spectra, recommendation, finance.",
    }
}

/// `/families/{family}`, and the same with the ending of a feed or export.
pub(crate) async fn family(
    State(app): State<App>,
    shell: Shell,
    Path(name): Path<String>,
    Params(params): Params<ListParams>,
) -> Result<Response> {
    let (name, export) = feeds::ending(&name);
    let family = family_named(name)?;
    let name = family.name();
    let params = ListParams { family: name.to_owned(), ..params };
    let path = format!("/families/{name}");
    if let Some(export) = export {
        return feeds::list(&app, &shell, &params, &path, &format!("ream: {name}"), export, |_| {}).await;
    }
    let board = app.board();
    let entries = || app.site.edition.entries.iter().filter(|e| e.paper.family == family);
    let shown = |e: &Entry| board.papers.get(&e.paper.slug).map(AsRef::as_ref);
    let mut bench: Vec<Bench> = entries().map(|e| Bench::new(e, shown(e))).collect();
    bench.sort_by_key(|row| !row.runs);
    let measured: Vec<&ClaimReport> = entries()
        .filter(|e| e.system.is_some())
        .flat_map(|e| shown(e).map(|s| s.reports.as_slice()).unwrap_or_default())
        .collect();
    page(&FamilyPage {
        shell: &shell,
        name,
        about: about(family),
        others: Family::ALL
            .into_iter()
            .map(|f| Choice::new(f.name(), format!("/families/{}", f.name()), f == family))
            .collect(),
        running: bench.iter().filter(|b| b.runs).count(),
        bench,
        side_by_side: entries().filter_map(SideBySide::new).collect(),
        scores: scores(&measured),
        rows: measured.iter().map(|report| Row::new(report)).collect(),
        exports: feeds::exports(&path, &ListParams::default()),
    })
}
