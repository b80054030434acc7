//! The feed: what runs first, newest, hot, top; by day, week, month or year; by family.

use askama::Template;
use axum::extract::{OriginalUri, State};
use axum::response::Response;
use ream_catalog::{Cursor, Date, FeedQuery, Page, Sort};
use serde::Deserialize;

use crate::address::address;
use crate::calendar::{self, Period};
use crate::error::{Error, Result};
use crate::feeds::Alternate;
use crate::pages::{cached, fresh, now};
use crate::params::Params;
use crate::shell::Shell;
use crate::state::App;
use crate::views::{Card, grouped};

/// Papers of a page.
const PAGE: u32 = 30;

/// What an address can ask of a list of papers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ListParams {
    /// `runs-first`, `newest`, `hot`, `top`, `verified`, `cheapest`, `surprising`.
    pub(crate) sort: String,
    /// `day`, `week`, `month`, `year`.
    pub(crate) period: String,
    /// A day of the period; today where none is given.
    pub(crate) on: String,
    /// A family of the edition.
    pub(crate) family: String,
    /// A topic.
    pub(crate) topic: String,
    /// `1`: only what runs here.
    pub(crate) runs: String,
    /// Where the page before ended.
    pub(crate) after: String,
    /// Papers of a page.
    pub(crate) limit: String,
}

/// A list of papers as it was asked for.
pub(crate) struct Wanted {
    pub(crate) query: FeedQuery,
    /// Whether the order is one of `top`.
    pub(crate) top: bool,
    pub(crate) period: Option<(Period, calendar::Span)>,
}

impl ListParams {
    /// What is asked of the store; `usual` is the order of an address that names none.
    pub(crate) fn wanted(&self, usual: Sort, most: u32) -> Result<Wanted> {
        let now = now();
        let bad = |what: &str| Error::bad_request("bad_query", what.to_owned());
        let mut period = match self.period.as_str() {
            "" | "all" => None,
            name => Some(Period::named(name).ok_or_else(|| {
                bad(&format!("There is no period “{name}”; they are day, week, month, year, all."))
            })?),
        };
        let (sort, top) = match self.sort.as_str() {
            "" => (usual, false),
            "top" => (Sort::TopWeek, true),
            name => {
                let sort: Sort = name.parse()?;
                (sort, sort.period().is_some())
            }
        };
        if top && period.is_none() {
            period = sort.name().strip_prefix("top-").and_then(Period::named);
        }
        let day = match self.on.as_str() {
            "" => now.div_euclid(86_400),
            text => text
                .parse::<Date>()
                .ok()
                .and_then(calendar::day)
                .ok_or_else(|| bad(&format!("“{text}” is no day; one is written 2024-05-01.")))?,
        };
        let span = match period {
            Some(period) => Some((
                period,
                calendar::span(period, day)
                    .ok_or_else(|| bad("There are no such years in this calendar."))?,
            )),
            None => None,
        };
        let limit = match self.limit.as_str() {
            "" => most,
            text => text
                .parse()
                .ok()
                .filter(|n| (1..=200).contains(n))
                .ok_or_else(|| bad("limit is a number from 1 to 200."))?,
        };
        let after = match self.after.as_str() {
            "" => None,
            text => Some(text.parse::<Cursor>()?),
        };
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let sort = if top { top_of(period) } else { sort };
        let query = FeedQuery {
            sort,
            from: span.as_ref().filter(|_| !top).map(|(_, s)| s.from),
            until: span.as_ref().map(|(_, s)| s.until),
            family: some(&self.family),
            topic: some(&self.topic),
            runs_only: self.runs == "1",
            after,
            limit,
            now,
            ..FeedQuery::default()
        };
        Ok(Wanted { query, top, period: span })
    }

    /// The address of this list with one thing changed; the page goes back to the first.
    pub(crate) fn with(&self, path: &str, key: &str, value: &str) -> String {
        let mut changed = Self { after: String::new(), ..self.clone() };
        match key {
            "sort" => value.clone_into(&mut changed.sort),
            "period" => value.clone_into(&mut changed.period),
            "on" => value.clone_into(&mut changed.on),
            "family" => value.clone_into(&mut changed.family),
            "runs" => value.clone_into(&mut changed.runs),
            "after" => value.clone_into(&mut changed.after),
            _ => {}
        }
        changed.address(path)
    }

    /// The address of this list.
    pub(crate) fn address(&self, path: &str) -> String {
        let parts = [
            ("sort", &self.sort),
            ("period", &self.period),
            ("on", &self.on),
            ("family", &self.family),
            ("topic", &self.topic),
            ("runs", &self.runs),
            ("limit", &self.limit),
            ("after", &self.after),
        ];
        address(path, parts.map(|(key, value)| (key, value.as_str())))
    }
}

fn top_of(period: Option<Period>) -> Sort {
    match period {
        Some(Period::Day) => Sort::TopDay,
        Some(Period::Month) => Sort::TopMonth,
        Some(Period::Year) => Sort::TopYear,
        Some(Period::Week) | None => Sort::TopWeek,
    }
}

/// A choice among others.
pub(crate) struct Choice {
    pub(crate) word: String,
    pub(crate) href: String,
    pub(crate) current: bool,
    pub(crate) count: String,
}

impl Choice {
    pub(crate) fn new(word: impl Into<String>, href: String, current: bool) -> Self {
        Self { word: word.into(), href, current, count: String::new() }
    }

    pub(crate) fn counting(mut self, n: u64) -> Self {
        self.count = grouped(n);
        self
    }
}

/// The orders that a list can be put in.
pub(crate) fn sorts(params: &ListParams, path: &str, wanted: &Wanted) -> Vec<Choice> {
    let sorts = [
        ("Runs here first", "runs-first"),
        ("Newest", "newest"),
        ("Hot", "hot"),
        ("Top", "top"),
        ("Verified", "verified"),
        ("Cheapest to run", "cheapest"),
        ("Most surprising", "surprising"),
    ];
    sorts
        .into_iter()
        .map(|(word, name)| {
            let current = if wanted.top { name == "top" } else { name == wanted.query.sort.name() };
            Choice::new(word, params.with(path, "sort", name), current)
        })
        .collect()
}

/// The periods that a list can be limited to.
pub(crate) fn periods(params: &ListParams, path: &str, wanted: &Wanted) -> Vec<Choice> {
    let now = wanted.period.as_ref().map(|(period, _)| *period);
    let all = (!wanted.top).then(|| Choice::new("all time", params.with(path, "period", ""), now.is_none()));
    let each = Period::ALL.into_iter().map(|period| {
        Choice::new(period.name(), params.with(path, "period", period.name()), now == Some(period))
    });
    all.into_iter().chain(each).collect()
}

/// The period that is shown, with its neighbours.
pub(crate) struct PeriodView {
    pub(crate) label: String,
    pub(crate) before: String,
    pub(crate) after: String,
    pub(crate) word: &'static str,
}

pub(crate) fn period_view(params: &ListParams, path: &str, wanted: &Wanted) -> Option<PeriodView> {
    let (period, span) = wanted.period.as_ref()?;
    let other = |day: Option<Date>| day.map(|d| params.with(path, "on", &d.to_string())).unwrap_or_default();
    Some(PeriodView {
        label: span.label.clone(),
        before: other(span.before),
        after: other(span.after),
        word: period.name(),
    })
}

#[derive(Template)]
#[template(path = "feed.html")]
struct Feed<'a> {
    shell: &'a Shell,
    sorts: Vec<Choice>,
    periods: Vec<Choice>,
    families: Vec<Choice>,
    only_runs: Choice,
    period: Option<PeriodView>,
    cards: Vec<Card>,
    total: String,
    first: String,
    next: String,
    /// Where the latest paper is, if this period has none.
    latest: Option<(String, String)>,
    edition: u64,
    runs: u64,
    papers: String,
    imported: String,
    verdicts: Vec<(crate::marks::Mark, u64)>,
    exports: Vec<Alternate>,
    /// What to try first.
    try_first: Option<String>,
}

/// `/`
pub(crate) async fn feed(
    State(app): State<App>,
    shell: Shell,
    OriginalUri(uri): OriginalUri,
    Params(params): Params<ListParams>,
) -> Result<Response> {
    let here = uri.path_and_query().map_or("/", |p| p.as_str());
    if let Some(page) = app.pages.get(here) {
        return Ok(cached(page));
    }
    let wanted = params.wanted(Sort::RunsFirst, PAGE)?;
    let page = app.store().feed(&wanted.query).await?;
    let counts = app.store().count().await?;
    let latest = if page.items.is_empty() { latest(&app, &params).await? } else { None };
    let edition: u64 = counts.families.values().sum();
    let families =
        std::iter::once(Choice::new("all", params.with("/", "family", ""), params.family.is_empty()))
            .chain(counts.families.iter().map(|(name, n)| {
                Choice::new(name.as_str(), params.with("/", "family", name), params.family == *name)
                    .counting(*n)
            }))
            .collect();
    let toggled = if params.runs == "1" { "" } else { "1" };
    let feed = Feed {
        shell: &shell,
        sorts: sorts(&params, "/", &wanted),
        periods: periods(&params, "/", &wanted),
        families,
        only_runs: Choice::new("only what runs here", params.with("/", "runs", toggled), params.runs == "1"),
        period: period_view(&params, "/", &wanted),
        next: next(&params, "/", &page),
        first: if params.after.is_empty() { String::new() } else { params.with("/", "after", "") },
        total: crate::views::count(page.total, "paper"),
        cards: page.items.iter().map(Card::new).collect(),
        latest,
        edition,
        runs: counts.runs,
        papers: grouped(counts.papers),
        imported: if counts.papers > edition { grouped(counts.papers - edition) } else { String::new() },
        verdicts: crate::marks::Mark::all()
            .into_iter()
            .filter_map(|mark| counts.claims.get(mark.name).map(|n| (mark, *n)))
            .collect(),
        exports: crate::feeds::exports("/feed", &params),
        try_first: app.board().first.clone(),
    };
    fresh(&app, here, &feed)
}

/// The address of the page after.
pub(crate) fn next(params: &ListParams, path: &str, page: &Page) -> String {
    page.next.as_ref().map(|cursor| params.with(path, "after", &cursor.to_string())).unwrap_or_default()
}

/// The date of the latest paper, with the address that shows its period.
async fn latest(app: &App, params: &ListParams) -> Result<Option<(String, String)>> {
    let query = FeedQuery {
        sort: Sort::Newest,
        limit: 1,
        now: now(),
        family: Some(params.family.clone()).filter(|f| !f.is_empty()),
        runs_only: params.runs == "1",
        ..FeedQuery::default()
    };
    let page = app.store().feed(&query).await?;
    let date = page.items.first().and_then(|paper| paper.record.date).filter(|d| d.year().is_some());
    Ok(date.map(|date| (date.to_string(), params.with("/", "on", &date.to_string()))))
}
