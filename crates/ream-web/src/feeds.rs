//! Every list, search and paper in other forms: Atom, JSON Feed, BibTeX, RIS, CSL-JSON, JSON Lines, CSV.

use axum::response::Response;
use ream_catalog::{FeedQuery, Stored};

use crate::error::{Error, Result};
use crate::pages::feed::ListParams;
use crate::pages::search::SearchParams;
use crate::state::App;

#[derive(Clone, Copy)]
pub(crate) enum Export {}

pub(crate) fn ending(name: &str) -> (&str, Option<Export>) {
    (name, None)
}
pub(crate) fn exports(_path: &str, _params: &ListParams) -> Vec<(&'static str, String)> {
    Vec::new()
}
pub(crate) fn search_exports(_params: &SearchParams) -> Vec<(&'static str, String)> {
    Vec::new()
}
pub(crate) fn paper_exports(_handle: &str) -> Vec<(&'static str, String)> {
    Vec::new()
}
pub(crate) fn one(_stored: &Stored, _export: Export) -> Result<Response> {
    Err(Error::not_found("no"))
}
pub(crate) async fn list(
    _app: &App,
    _params: &ListParams,
    _path: &str,
    _title: &str,
    _export: Export,
    _narrow: impl Fn(&mut FeedQuery),
) -> Result<Response> {
    Err(Error::not_found("no"))
}
