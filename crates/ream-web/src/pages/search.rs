//! Search with facets.

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use ream_catalog::{Facet, Hit, MeaningState, Mode, SearchPage, SearchQuery};

use crate::address::address;
use crate::error::{Error, Result};
use crate::feeds::{self, Alternate};
use crate::fetches::{self, DataRow};
use crate::marks::{Mark, verdict};
use crate::pages::feed::Choice;
use crate::pages::page;
use crate::params::Params;
use crate::shell::Shell;
use crate::state::App;
use crate::views::{Card, count};

/// Hits of a page.
const PAGE: usize = 20;
/// Values of a facet that are shown.
const VALUES: usize = 10;
/// Longest query, characters.
const LONGEST: usize = 800;
/// The data set that meaning search needs.
const ENCODER: &str = "minilm";

/// What an address can ask of the search: `q`, `mode`, `after`, `limit`, and any number of `is=field:value`.
#[derive(Clone, Debug, Default)]
pub(crate) struct SearchParams {
    pub(crate) text: String,
    pub(crate) mode: String,
    pub(crate) facets: Vec<(String, String)>,
    pub(crate) after: String,
    pub(crate) limit: Option<usize>,
}

impl SearchParams {
    /// Reads the query of an address.
    pub(crate) fn read(pairs: Vec<(String, String)>) -> Result<Self> {
        let mut params = Self::default();
        let bad = |message: String| Error::bad_request("bad_query", message);
        for (key, value) in pairs {
            match key.as_str() {
                "q" => params.text = value.trim().to_owned(),
                "mode" => params.mode = value,
                "after" => params.after = value,
                "limit" => {
                    let limit = value.parse().ok().filter(|n| (1..=200).contains(n));
                    params.limit = Some(limit.ok_or_else(|| bad("limit is a number from 1 to 200.".into()))?);
                }
                "is" => match value.split_once(':') {
                    Some((field, value)) => params.facets.push((field.to_owned(), value.to_owned())),
                    None => return Err(bad(format!("“is={value}”: a facet is written field:value."))),
                },
                _ => {}
            }
        }
        if params.text.chars().count() > LONGEST {
            return Err(bad(format!("A query has at most {LONGEST} characters.")));
        }
        params.mode()?;
        Ok(params)
    }

    fn mode(&self) -> Result<Mode> {
        match self.mode.as_str() {
            "" | "fused" => Ok(Mode::Fused),
            "text" => Ok(Mode::Text),
            "meaning" => Ok(Mode::Meaning),
            other => Err(Error::bad_request(
                "bad_query",
                format!("There is no mode “{other}”; they are text, meaning, fused."),
            )),
        }
    }

    /// What is asked of the catalogue.
    pub(crate) fn query(&self) -> SearchQuery {
        SearchQuery {
            text: self.text.clone(),
            mode: self.mode().unwrap_or(Mode::Fused),
            facets: self.facets.clone(),
            after: Some(self.after.clone()).filter(|after| !after.is_empty()),
            limit: self.limit.unwrap_or(PAGE),
        }
    }

    /// The address of this search below `path`, with another cursor.
    pub(crate) fn address(&self, path: &str, after: &str) -> String {
        let facets: Vec<String> = self.facets.iter().map(|(f, v)| format!("{f}:{v}")).collect();
        let fixed = [("q", self.text.as_str()), ("mode", self.mode.as_str())];
        let facets = facets.iter().map(|facet| ("is", facet.as_str()));
        address(path, fixed.into_iter().chain(facets).chain([("after", after)]))
    }

    /// This search with a facet put on or taken off.
    fn toggled(&self, field: &str, value: &str) -> Self {
        let mut changed = Self { after: String::new(), ..self.clone() };
        let before = changed.facets.len();
        changed.facets.retain(|(f, v)| (f.as_str(), v.as_str()) != (field, value));
        if changed.facets.len() == before {
            changed.facets.push((field.to_owned(), value.to_owned()));
        }
        changed
    }
}

/// A facet with its most frequent values.
struct FacetView {
    field: String,
    values: Vec<Choice>,
}

impl FacetView {
    fn new(params: &SearchParams, facet: &Facet) -> Self {
        let chosen = |value: &str| params.facets.iter().any(|(f, v)| *f == facet.field && v == value);
        let values = facet.values.iter().filter(|(value, n)| *n > 0 || chosen(value)).take(VALUES);
        let values = values.map(|(value, n)| {
            let word = match facet.field.as_str() {
                "verdict" if verdict(value).is_some() => format!("{} {value}", Mark::named(value).shape),
                "runs" if value == "yes" => "runs here".to_owned(),
                "runs" => "does not run here".to_owned(),
                _ => value.clone(),
            };
            let href = params.toggled(&facet.field, value).address("/search", "");
            Choice::new(word, href, chosen(value)).counting(*n)
        });
        Self { field: facet.field.clone(), values: values.collect() }
    }
}

#[derive(Template)]
#[template(path = "search.html")]
struct Search<'a> {
    shell: &'a Shell,
    text: &'a str,
    /// Whether something was searched for.
    asked: bool,
    total: String,
    modes: Vec<Choice>,
    notes: &'a [String],
    /// The sentence encoder, where meaning search is off.
    encoder: Option<DataRow>,
    facets: Vec<FacetView>,
    cards: Vec<Card>,
    first: String,
    next: String,
    exports: Vec<Alternate>,
    /// What is wrong with the query, and the query up to there.
    problem: Option<(String, String)>,
}

fn card(hit: &Hit) -> Card {
    let mut card = Card::new(&hit.paper);
    card.title.clone_from(&hit.title_html);
    if !hit.snippet.is_empty() {
        card.line.clone_from(&hit.snippet);
    }
    card.why.clone_from(&hit.why);
    card
}

/// `/search`
pub(crate) async fn search(
    State(app): State<App>,
    shell: Shell,
    Params(pairs): Params<Vec<(String, String)>>,
) -> Result<Response> {
    let params = SearchParams::read(pairs)?;
    let asked = !params.text.is_empty() || !params.facets.is_empty();
    let nothing =
        SearchPage { hits: Vec::new(), next: None, total: 0, facets: Vec::new(), notes: Vec::new() };
    if !asked {
        return page(&view(&shell, &params, &nothing, None));
    }
    let off = matches!(app.site.catalog.meaning(), MeaningState::Off { .. });
    let encoder = fetches::known(ENCODER).ok().filter(|_| off).map(|set| DataRow::new(&app, set));
    match app.site.catalog.search(&params.query()).await {
        Ok(mut found) => {
            // Said by the page itself, with the button that ends it.
            let why = app.site.catalog.meaning();
            found.notes.retain(|note| {
                encoder.is_none() || !matches!(&why, MeaningState::Off { why } if why == note)
            });
            page(&Search { encoder, ..view(&shell, &params, &found, None) })
        }
        Err(error) => {
            let error = Error::from(error);
            if error.status.is_server_error() || error.code != "bad_query" {
                return Err(error);
            }
            let upto = error.position.and_then(|at| params.text.get(..at)).unwrap_or_default().to_owned();
            let problem = Some((error.message, upto));
            let mut response = page(&view(&shell, &params, &nothing, problem))?.into_response();
            *response.status_mut() = StatusCode::BAD_REQUEST;
            Ok(response)
        }
    }
}

fn view<'a>(
    shell: &'a Shell,
    params: &'a SearchParams,
    found: &'a SearchPage,
    problem: Option<(String, String)>,
) -> Search<'a> {
    let now = if params.mode.is_empty() { "fused" } else { params.mode.as_str() };
    let mode = |word: &str, name: &str| {
        let changed = SearchParams { mode: name.to_owned(), after: String::new(), ..params.clone() };
        Choice::new(word, changed.address("/search", ""), name == now)
    };
    let asked = !params.text.is_empty() || !params.facets.is_empty();
    Search {
        shell,
        text: &params.text,
        asked,
        total: count(found.total as u64, "paper"),
        modes: vec![mode("words and meaning", "fused"), mode("words", "text"), mode("meaning", "meaning")],
        notes: &found.notes,
        encoder: None,
        facets: found
            .facets
            .iter()
            .map(|f| FacetView::new(params, f))
            .filter(|f| !f.values.is_empty())
            .collect(),
        cards: found.hits.iter().map(card).collect(),
        first: if params.after.is_empty() { String::new() } else { params.address("/search", "") },
        next: found.next.as_deref().map(|next| params.address("/search", next)).unwrap_or_default(),
        exports: if asked && problem.is_none() { feeds::search_exports(params) } else { Vec::new() },
        problem,
    }
}
