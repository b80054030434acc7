//! CSL-JSON (citation-style-language.org, schema 1.0.2): an array of items, `{"items": [...]}`, or one item. Facts without
//! a place stand under `custom.ream`.

use serde_json::{Map, Value};

use super::names::NameParts;
use super::remainder::OWN;
use super::sink::{Read, Sink};
use super::source::Source;
use super::{Fault, Stop};
use crate::record::{Author, Date, Link, Record};
use crate::text::{arxiv_id, doi, is_address, plain, plain_line};

pub(crate) fn read(source: &mut Source<'_>, sink: &mut Sink<'_>) -> Result<(), Stop> {
    super::json::elements(source, sink, "items", true, &record_of)
}

pub(crate) fn record_of(mut item: Map<String, Value>) -> Result<Read, Fault> {
    let added = match item.remove("custom") {
        Some(Value::Object(mut custom)) => custom.remove(OWN),
        _ => None,
    };
    let added = match added {
        Some(Value::Object(added)) => Some(added),
        _ => None,
    };
    let text = |key: &str| item.get(key).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
    let url = text("URL").map(str::trim).filter(|url| is_address(url));
    let doi = text("DOI").and_then(doi);
    let places = ["number", "archive_location", "note", "id"];
    let arxiv = places
        .iter()
        .filter_map(|key| text(key))
        .filter(|text| text.to_ascii_lowercase().starts_with("arxiv"))
        .find_map(arxiv_id)
        .or_else(|| doi.as_deref().and_then(arxiv_id))
        .or_else(|| url.and_then(arxiv_id));
    let authors = item.get("author").and_then(Value::as_array).into_iter().flatten();
    let topics = text("keyword").into_iter().flat_map(|words| words.split([',', ';']));
    let links = url.filter(|url| arxiv.is_none() || arxiv_id(url) != arxiv);
    let record = Record {
        title: plain_line(text("title").unwrap_or("")),
        summary: text("abstract").map(plain),
        authors: authors.filter_map(author).collect(),
        date: item.get("issued").and_then(date),
        venue: text("container-title").or_else(|| text("event-title")).map(plain_line),
        topics: topics.map(plain_line).filter(|topic| !topic.is_empty()).collect(),
        links: links.map(|url| Link { label: "link".to_owned(), url: url.to_owned() }).into_iter().collect(),
        arxiv,
        doi,
        ..Record::default()
    };
    Ok((record, added))
}

fn author(name: &Value) -> Option<Author> {
    let part = |key: &str| name.get(key).and_then(Value::as_str).map(plain_line).unwrap_or_default();
    let literal = part("literal");
    let name = if literal.is_empty() {
        let family = [part("dropping-particle"), part("non-dropping-particle"), part("family")];
        let family = family.iter().filter(|part| !part.is_empty()).cloned().collect::<Vec<_>>().join(" ");
        NameParts { given: part("given"), family, suffix: part("suffix") }.printed()
    } else {
        literal
    };
    (!name.is_empty()).then_some(Author { name, affiliation: None })
}

/// `{"date-parts": [[2024, 5, 1]]}`, where numbers may be strings, or `{"raw": "2024-05-01"}`.
fn date(issued: &Value) -> Option<Date> {
    if let Some(raw) = issued.get("raw").or_else(|| issued.get("literal")).and_then(Value::as_str) {
        return raw.get(..10).unwrap_or(raw).parse().ok();
    }
    let parts = issued.get("date-parts")?.get(0)?.as_array()?;
    let number = |at: usize| {
        parts.get(at).and_then(|part| part.as_u64().or_else(|| part.as_str()?.trim().parse().ok()))
    };
    let year = number(0).and_then(|year| u16::try_from(year).ok());
    let month = number(1).and_then(|month| u8::try_from(month).ok());
    let day = number(2).and_then(|day| u8::try_from(day).ok());
    year?;
    Date::new(year, month, day)
        .or_else(|| Date::new(year, month, None))
        .or_else(|| Date::new(year, None, None))
}
