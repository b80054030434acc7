//! Authors and organisations.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use ream_catalog::{FeedQuery, Named, Names, Sort};
use serde::Deserialize;

use crate::address::{address, segment};
use crate::error::{Error, Result};
use crate::feeds;
use crate::pages::feed::{Choice, ListParams, PeriodView, next, period_view, periods, sorts};
use crate::pages::page;
use crate::params::Params;
use crate::shell::Shell;
use crate::state::App;
use crate::views::{Card, Linked, count};

/// Names and papers of a page.
const NAMES: u32 = 300;
const PAPERS: u32 = 30;

/// What is said of a kind of names.
#[derive(Clone, Copy)]
struct Kind {
    names: Names,
    path: &'static str,
    one: &'static str,
    many: &'static str,
}

const AUTHORS: Kind = Kind { names: Names::Authors, path: "/authors", one: "author", many: "Authors" };
const ORGANISATIONS: Kind =
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
    })
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
    feed: String,
    exports: Vec<(&'static str, String)>,
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
        feed: format!("{path}.atom"),
        exports: feeds::exports(&path, params),
    })
}
