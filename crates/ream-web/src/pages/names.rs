//! Authors and organisations.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use ream_catalog::{FeedQuery, Named, Names, Sort, Stored};
use serde::Deserialize;

use crate::address::{address, segment};
use crate::entries::{self, Feed, Form};
use crate::error::{Error, Result};
use crate::feeds::{self, Alternate};
use crate::pages::feed::{Choice, ListParams, PeriodView, next, period_view, periods, sorts};
use crate::pages::{now, page};
use crate::params::Params;
use crate::shell::Shell;
use crate::state::App;
use crate::views::{Card, Linked, count};

/// Names and papers of a page.
const NAMES: u32 = 300;
const PAPERS: u32 = 30;
/// Names of a feed, and the newest papers among which they are looked for.
const NEWS: usize = 50;
const LOOKED_AT: u32 = 100;

/// What is said of a kind of names.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    names: Names,
    path: &'static str,
    one: &'static str,
    many: &'static str,
}

pub(crate) const AUTHORS: Kind =
    Kind { names: Names::Authors, path: "/authors", one: "author", many: "Authors" };
pub(crate) const ORGANISATIONS: Kind =
    Kind { names: Names::Organisations, path: "/organisations", one: "organisation", many: "Organisations" };

#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct NamesParams {
    after: String,
}

#[derive(Template)]
#[template(path = "names.html")]
struct NamesPage<'a> {
    shell: &'a Shell,
    kind: Kind,
    total: String,
    names: Vec<(Linked, String)>,
    first: String,
    next: String,
    exports: Vec<Alternate>,
}

/// `/authors`
pub(crate) async fn authors(app: State<App>, shell: Shell, params: Params<NamesParams>) -> Result<Response> {
    names(&app, &shell, &params.0, AUTHORS).await
}

/// `/organisations`
pub(crate) async fn organisations(
    app: State<App>,
    shell: Shell,
    params: Params<NamesParams>,
) -> Result<Response> {
    names(&app, &shell, &params.0, ORGANISATIONS).await
}

async fn names(app: &App, shell: &Shell, params: &NamesParams, kind: Kind) -> Result<Response> {
    let after = Some(params.after.as_str()).filter(|after| !after.is_empty());
    let found = app.store().names(kind.names, after, NAMES).await?;
    let linked = |named: &Named| {
        let href = format!("{}/{}", kind.path, segment(&named.handle));
        (Linked { name: named.name.clone(), href }, crate::views::grouped(named.papers))
    };
    page(&NamesPage {
        shell,
        kind,
        total: count(found.total, kind.one),
        names: found.items.iter().map(linked).collect(),
        first: after.map(|_| kind.path.to_owned()).unwrap_or_default(),
        next: found
            .next
            .as_ref()
            .map(|next| address(kind.path, [("after", next.as_str())]))
            .unwrap_or_default(),
        exports: entries::alternates(|extension| format!("{}.{extension}", kind.path)),
    })
}

/// Who has written the newest papers, or stands behind them: an entry for each, with its newest paper. The list itself
/// is ordered by numbers of papers, which are no news.
pub(crate) async fn feed(app: &App, shell: &Shell, kind: Kind, form: Form) -> Result<Response> {
    let query = FeedQuery { sort: Sort::Newest, limit: LOOKED_AT, now: now(), ..FeedQuery::default() };
    let papers = app.store().feed(&query).await?.items;
    let mut met = BTreeSet::new();
    let mut found = Vec::new();
    for paper in &papers {
        for name in written(kind, paper) {
            if found.len() == NEWS || !met.insert(name) {
                continue;
            }
            let Some(named) = app.store().named(kind.names, name).await? else { continue };
            found.push(entries::Entry {
                id: format!("urn:ream:{}:{}", kind.one, named.handle),
                title: format!("{}: {}", named.name, count(named.papers, "paper")),
                text: format!("The newest: {}", paper.record.title),
                page: format!("{}/{}", kind.path, segment(&named.handle)),
                seconds: paper.added,
                tags: Vec::new(),
            });
        }
    }
    // Two spellings of one name are one entry.
    let mut ids = BTreeSet::new();
    found.retain(|entry| ids.insert(entry.id.clone()));
    let own = format!("{}.{}", kind.path, form.extension());
    let title = format!("ream: {}s with new papers", kind.one);
    Feed::new(shell, &title, kind.path, &own, found).answer(form)
}

fn written(kind: Kind, paper: &Stored) -> Vec<&str> {
    match kind.names {
        Names::Organisations => paper.record.organisations.iter().map(String::as_str).collect(),
        _ => paper.record.authors.iter().map(|author| author.name.as_str()).collect(),
    }
}

#[derive(Template)]
#[template(path = "name.html")]
struct NamePage<'a> {
    shell: &'a Shell,
    kind: Kind,
    name: &'a str,
    total: String,
    sorts: Vec<Choice>,
    periods: Vec<Choice>,
    period: Option<PeriodView>,
    cards: Vec<Card>,
    first: String,
    next: String,
    exports: Vec<Alternate>,
}

/// `/authors/{handle}`, and the same with the ending of a feed or export.
pub(crate) async fn author(
    app: State<App>,
    shell: Shell,
    Path(handle): Path<String>,
    params: Params<ListParams>,
) -> Result<Response> {
    name(&app, &shell, &handle, &params.0, AUTHORS).await
}

/// `/organisations/{handle}`, and the same with the ending of a feed or export.
pub(crate) async fn organisation(
    app: State<App>,
    shell: Shell,
    Path(handle): Path<String>,
    params: Params<ListParams>,
) -> Result<Response> {
    name(&app, &shell, &handle, &params.0, ORGANISATIONS).await
}

async fn name(app: &App, shell: &Shell, asked: &str, params: &ListParams, kind: Kind) -> Result<Response> {
    // Names may end in what looks like an ending ("Acme.json"): the whole is tried first.
    let (named, export) = match app.store().named(kind.names, asked).await? {
        Some(named) => (Some(named), None),
        None => {
            let (handle, export) = feeds::ending(asked);
            (app.store().named(kind.names, handle).await?, export)
        }
    };
    let named = named.ok_or_else(|| Error::not_found(format!("There is no {} “{asked}” here.", kind.one)))?;
    let path = format!("{}/{}", kind.path, segment(&named.handle));
    let narrow = |query: &mut FeedQuery| match kind.names {
        Names::Organisations => query.organisation = Some(named.handle.clone()),
        _ => query.author = Some(named.handle.clone()),
    };
    if let Some(export) = export {
        return feeds::list(app, shell, params, &path, &format!("ream: {}", named.name), export, narrow)
            .await;
    }
    let mut wanted = params.wanted(Sort::Newest, PAPERS)?;
    narrow(&mut wanted.query);
    let found = app.store().feed(&wanted.query).await?;
    page(&NamePage {
        shell,
        kind,
        name: &named.name,
        total: count(named.papers, "paper"),
        sorts: sorts(params, &path, &wanted),
        periods: periods(params, &path, &wanted),
        period: period_view(params, &path, &wanted),
        cards: found.items.iter().map(Card::new).collect(),
        first: if params.after.is_empty() { String::new() } else { params.with(&path, "after", "") },
        next: next(params, &path, &found),
        exports: feeds::exports(&path, params),
    })
}
