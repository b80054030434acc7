//! CSL-JSON. Its text may hold HTML-like markup, so plain text that looks like it is escaped.

use serde_json::{Map, Value, json};

use super::{Exported, Kind, arxiv_page, kind, remainder};
use crate::import::{NameParts, OWN, csl_record};
use crate::record::Record;
use crate::text::markup;

pub(super) fn item(exported: &Exported<'_>) -> Map<String, Value> {
    let record = exported.record;
    let mut item = fields(record, exported.handle);
    let added = remainder(record, csl_record(item.clone()));
    if !added.is_empty() {
        item.insert("custom".to_owned(), json!({ OWN: added }));
    }
    item
}

fn fields(record: &Record, handle: &str) -> Map<String, Value> {
    let mut item = Map::new();
    let mut add = |key: &str, value: Value| item.insert(key.to_owned(), value);
    let text = |text: &str| Value::from(markup(text).into_owned());
    add("id", handle.into());
    add(
        "type",
        match kind(record) {
            Kind::Journal => "article-journal",
            Kind::Conference => "paper-conference",
            Kind::Preprint => "article",
        }
        .into(),
    );
    add("title", text(&record.title));
    if !record.authors.is_empty() {
        add("author", record.authors.iter().map(|author| person(&author.name)).collect());
    }
    if let Some(date) = record.date.filter(|date| date.year().is_some()) {
        let parts = [date.year().map(u32::from), date.month().map(u32::from), date.day().map(u32::from)];
        add("issued", json!({ "date-parts": [parts.into_iter().flatten().collect::<Vec<_>>()] }));
    }
    if let Some(venue) = &record.venue {
        add("container-title", text(venue));
    }
    if let Some(doi) = &record.doi {
        add("DOI", doi.as_str().into());
    }
    if let Some(number) = &record.arxiv {
        add("number", format!("arXiv:{number}").into());
        add("publisher", "arXiv".into());
    }
    if let Some(url) = record.links.first().map(|link| link.url.clone()).or_else(|| arxiv_page(record)) {
        add("URL", url.into());
    }
    if !record.topics.is_empty() {
        add("keyword", text(&record.topics.join(", ")));
    }
    if let Some(summary) = &record.summary {
        add("abstract", text(summary));
    }
    item
}

fn person(name: &str) -> Value {
    match NameParts::of(name) {
        Some(NameParts { given, family, suffix }) => {
            let mut parts = Map::new();
            parts.insert("family".to_owned(), markup(&family).into());
            parts.insert("given".to_owned(), markup(&given).into());
            if !suffix.is_empty() {
                parts.insert("suffix".to_owned(), suffix.into());
            }
            Value::Object(parts)
        }
        None => json!({ "literal": markup(name) }),
    }
}
