//! Every list, search and paper in other forms: Atom, JSON Feed, BibTeX, RIS, CSL-JSON, JSON Lines, CSV. Feeds hold the
//! beginning of a list, the others the whole of it, written page by page while the reader takes it.

use std::borrow::Cow;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::stream;
use ream_catalog::export::{Export, Exported, Exporter, FeedHead};
use ream_catalog::{FeedQuery, SearchQuery, Sort, Stored};

use crate::address::segment;
use crate::calendar;
use crate::entries;
use crate::error::{Error, Result};
use crate::pages::feed::ListParams;
use crate::pages::search::SearchParams;
use crate::pages::{names, scoreboard};
use crate::params::Params;
use crate::runs::{RunFilter, runs_feed};
use crate::shell::Shell;
use crate::state::App;
use crate::views::is_web;

/// Papers of a feed, unless asked otherwise.
const FEED: u32 = 50;
/// Papers read at once for an export.
const BATCH: u32 = 200;
/// Hits of a search that an export holds.
const HITS: usize = 2_000;

pub(crate) fn routes() -> Router<App> {
    let mut all = Router::new();
    for form in entries::Form::ALL {
        let extension = form.extension();
        all = all
            .route(
                &format!("/scoreboard.{extension}"),
                get(async move |app: State<App>, shell: Shell, filters: Params<scoreboard::Filters>| {
                    scoreboard::claims_feed(&app, &shell, &filters.0, form).await
                }),
            )
            .route(
                &format!("/authors.{extension}"),
                get(async move |app: State<App>, shell: Shell| {
                    names::feed(&app, &shell, names::AUTHORS, form).await
                }),
            )
            .route(
                &format!("/organisations.{extension}"),
                get(async move |app: State<App>, shell: Shell| {
                    names::feed(&app, &shell, names::ORGANISATIONS, form).await
                }),
            )
            .route(
                &format!("/runs.{extension}"),
                get(async move |app: State<App>, shell: Shell, filter: Params<RunFilter>| {
                    runs_feed(&app, &shell, filter.0, form).await
                }),
            );
    }
    for export in Export::ALL {
        let extension = export.extension();
        all = all
            .route(
                &format!("/feed.{extension}"),
                get(async move |State(app): State<App>, shell: Shell, Params(params): Params<ListParams>| {
                    list(&app, &shell, &params, "/feed", "ream: papers", export, |_| {}).await
                }),
            )
            .route(
                &format!("/search.{extension}"),
                get(async move |State(app): State<App>, shell: Shell, Params(pairs): Params<Vec<_>>| {
                    search(&app, &shell, SearchParams::read(pairs)?, export).await
                }),
            );
    }
    all
}

/// A name without the ending of an export, and the export.
pub(crate) fn ending(name: &str) -> (&str, Option<Export>) {
    // `csl.json` ends in `json` too: the longer ending is meant.
    let fits = |export: Export| {
        let rest = name.strip_suffix(export.extension())?.strip_suffix('.')?;
        (!rest.is_empty()).then_some((rest, export))
    };
    match Export::ALL.into_iter().filter_map(fits).min_by_key(|(rest, _)| rest.len()) {
        Some((rest, export)) => (rest, Some(export)),
        None => (name, None),
    }
}

/// Another form of what a page shows: announced in its head, linked at its end.
#[derive(Clone)]
pub(crate) struct Alternate {
    pub(crate) name: &'static str,
    pub(crate) media_type: &'static str,
    pub(crate) href: String,
}

impl Alternate {
    /// The type loses its parameters: they are of the file, not of the link.
    pub(crate) fn new(name: &'static str, media_type: &'static str, href: String) -> Self {
        Self { name, media_type: media_type.split(';').next().unwrap_or(media_type), href }
    }
}

/// The exports of a list, with their addresses.
pub(crate) fn exports(path: &str, params: &ListParams) -> Vec<Alternate> {
    let params = ListParams { after: String::new(), limit: String::new(), ..params.clone() };
    each(|extension| params.address(&format!("{path}.{extension}")))
}

/// The exports of a search.
pub(crate) fn search_exports(params: &SearchParams) -> Vec<Alternate> {
    each(|extension| params.address(&format!("/search.{extension}"), ""))
}

/// The exports of a paper.
pub(crate) fn paper_exports(handle: &str) -> Vec<Alternate> {
    each(|extension| format!("/papers/{}.{extension}", segment(handle)))
}

fn each(address: impl Fn(&str) -> String) -> Vec<Alternate> {
    let one =
        |export: Export| Alternate::new(export.name(), export.media_type(), address(export.extension()));
    Export::ALL.map(one).into()
}

/// One paper.
pub(crate) fn one(shell: &Shell, stored: &Stored, export: Export) -> Result<Response> {
    let home = format!("/papers/{}", segment(&stored.handle));
    let head = head(shell, &stored.record.title, &home, &home, export, stored.added);
    let mut exporter = Exporter::new(export, Vec::new(), &head).map_err(|e| Error::internal(&e))?;
    write(&mut exporter, shell.origin.as_str(), stored).map_err(|e| Error::internal(&e))?;
    let body = exporter.finish().map_err(|e| Error::internal(&e))?;
    Ok(answer(export.media_type(), stored.added, body))
}

fn write<W: Write>(exporter: &mut Exporter<W>, origin: &str, stored: &Stored) -> io::Result<()> {
    let page = format!("{origin}/papers/{}", segment(&stored.handle));
    // Only web addresses become links, whatever a record says.
    let mut record = Cow::Borrowed(&stored.record);
    if !record.links.iter().all(|link| is_web(&link.url)) {
        record.to_mut().links.retain(|link| is_web(&link.url));
    }
    exporter.write(&Exported {
        record: &record,
        handle: &stored.handle,
        page: Some(&page),
        added: Some(stored.added),
        edition: stored.edition.as_ref(),
    })
}

fn head(shell: &Shell, title: &str, home: &str, path: &str, export: Export, updated: i64) -> FeedHead {
    FeedHead {
        title: title.to_owned(),
        home: Some(format!("{}{home}", shell.origin)),
        address: Some(format!("{}{path}.{}", shell.origin, export.extension())),
        updated,
    }
}

/// `updated`: when the newest of it came in, seconds since 1970.
pub(crate) fn answer(media_type: &'static str, updated: i64, body: impl Into<Body>) -> Response {
    let headers = [(header::CONTENT_TYPE, media_type), (header::CACHE_CONTROL, "no-cache")];
    let mut response = (headers, body.into()).into_response();
    let date = calendar::http_date(updated).and_then(|date| HeaderValue::from_str(&date).ok());
    if let Some(date) = date.filter(|_| updated > 0) {
        response.headers_mut().insert(header::LAST_MODIFIED, date);
    }
    response
}

/// A list of papers; feeds are ordered by date unless the address says otherwise.
pub(crate) async fn list(
    app: &App,
    shell: &Shell,
    params: &ListParams,
    path: &str,
    title: &str,
    export: Export,
    narrow: impl FnOnce(&mut FeedQuery),
) -> Result<Response> {
    let feed = matches!(export, Export::Atom | Export::JsonFeed);
    let mut query = params.wanted(Sort::Newest, if feed { FEED } else { BATCH })?.query;
    narrow(&mut query);
    let page = app.store().feed(&query).await?;
    let limited = feed || !params.limit.is_empty();
    let home = params.address(if path == "/feed" { "/" } else { path });
    let updated = page.items.iter().map(|paper| paper.added).max().unwrap_or(0);
    let head = head(shell, title, &home, path, export, updated);
    let next =
        page.next.filter(|_| !limited).map(|after| Source::List(FeedQuery { after: Some(after), ..query }));
    stream_of(app, shell, export, &head, &page.items, next)
}

/// The hits of a search, best first.
async fn search(app: &App, shell: &Shell, params: SearchParams, export: Export) -> Result<Response> {
    let feed = matches!(export, Export::Atom | Export::JsonFeed);
    let limit = params.limit.unwrap_or(if feed { FEED as usize } else { BATCH as usize });
    let limited = feed || params.limit.is_some();
    let query = SearchQuery { limit, ..params.query() };
    let found = app.site.catalog.search(&query).await?;
    let papers: Vec<Stored> = found.hits.into_iter().map(|hit| hit.paper).collect();
    let updated = papers.iter().map(|paper| paper.added).max().unwrap_or(0);
    let title = format!("ream: {}", params.text);
    let head = head(shell, &title, &params.address("/search", ""), "/search", export, updated);
    let left = HITS.saturating_sub(papers.len());
    let next = found
        .next
        .filter(|_| !limited && left > 0)
        .map(|after| Source::Search(SearchQuery { after: Some(after), ..query }, left));
    stream_of(app, shell, export, &head, &papers, next)
}

/// Where the next papers of an export come from.
enum Source {
    List(FeedQuery),
    Search(SearchQuery, usize),
}

impl Source {
    async fn more(self, app: &App) -> Result<(Vec<Stored>, Option<Self>)> {
        match self {
            Self::List(query) => {
                let page = app.store().feed(&query).await?;
                let next = page.next.map(|after| Self::List(FeedQuery { after: Some(after), ..query }));
                Ok((page.items, next))
            }
            Self::Search(query, left) => {
                let found = app.site.catalog.search(&query).await?;
                let papers: Vec<Stored> = found.hits.into_iter().take(left).map(|hit| hit.paper).collect();
                let left = left - papers.len();
                let next = found.next.filter(|_| left > 0);
                Ok((
                    papers,
                    next.map(|after| Self::Search(SearchQuery { after: Some(after), ..query }, left)),
                ))
            }
        }
    }
}

/// What an exporter has written since it was last emptied.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn take(&self) -> Bytes {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).into()
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An export under way.
struct UnderWay {
    app: App,
    origin: String,
    exporter: Exporter<Written>,
    written: Written,
    next: Option<Source>,
}

fn stream_of(
    app: &App,
    shell: &Shell,
    export: Export,
    head: &FeedHead,
    first: &[Stored],
    next: Option<Source>,
) -> Result<Response> {
    let written = Written::default();
    let exporter = Exporter::new(export, written.clone(), head).map_err(|e| Error::internal(&e))?;
    let mut under_way = UnderWay { app: app.clone(), origin: shell.origin.clone(), exporter, written, next };
    for stored in first {
        write(&mut under_way.exporter, &under_way.origin, stored).map_err(|e| Error::internal(&e))?;
    }
    if under_way.next.is_none() {
        let UnderWay { exporter, written, .. } = under_way;
        exporter.finish().map_err(|e| Error::internal(&e))?;
        return Ok(answer(export.media_type(), head.updated, written.take()));
    }
    let chunks = stream::try_unfold(Some(under_way), async |state| {
        let Some(mut state) = state else { return Ok(None) };
        let Some(next) = state.next.take() else {
            let UnderWay { exporter, written, .. } = state;
            exporter.finish()?;
            return Ok(Some((written.take(), None)));
        };
        let before = state.written.take();
        let (papers, next) = next.more(&state.app).await.map_err(|e| io::Error::other(e.message))?;
        for stored in &papers {
            write(&mut state.exporter, &state.origin, stored)?;
        }
        state.next = next;
        Ok::<_, io::Error>(Some((before, Some(state))))
    });
    Ok(answer(export.media_type(), head.updated, Body::from_stream(chunks)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_are_taken_off_and_arxiv_numbers_are_not() {
        assert_eq!(ending("icl-gd"), ("icl-gd", None));
        assert_eq!(ending("2212.07677"), ("2212.07677", None));
        assert_eq!(ending("2212.07677.bib"), ("2212.07677", Some(Export::BibTex)));
        assert_eq!(ending("icl-gd.csl.json"), ("icl-gd", Some(Export::CslJson)));
        assert_eq!(ending("icl-gd.json"), ("icl-gd", Some(Export::JsonFeed)));
        assert_eq!(ending(".bib"), (".bib", None));
    }
}
