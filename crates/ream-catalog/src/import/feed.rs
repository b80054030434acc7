//! JSON Feed (jsonfeed.org, version 1.1) as our export writes it; facts without a place stand under `_ream`.

use serde_json::{Map, Value};

use super::remainder::OWN;
use super::sink::{Read, Sink};
use super::source::Source;
use super::{Fault, Stop};
use crate::record::{Author, Record};
use crate::text::{arxiv_id, plain, plain_line};

pub(crate) fn read(source: &mut Source<'_>, sink: &mut Sink<'_>) -> Result<(), Stop> {
    super::json::elements(source, sink, "items", false, &record_of)
}

pub(crate) fn record_of(mut item: Map<String, Value>) -> Result<Read, Fault> {
    let added = match item.remove(&format!("_{OWN}")) {
        Some(Value::Object(added)) => Some(added),
        _ => None,
    };
    let text = |key: &str| item.get(key).and_then(Value::as_str);
    let list = |key: &str| item.get(key).and_then(Value::as_array).into_iter().flatten();
    let name = |author: &Value| author.get("name").and_then(Value::as_str).map(plain_line);
    let record = Record {
        title: plain_line(text("title").unwrap_or("")),
        arxiv: text("external_url").and_then(arxiv_id),
        summary: text("content_text").map(plain),
        authors: list("authors").filter_map(name).map(|name| Author { name, affiliation: None }).collect(),
        date: text("date_published").and_then(|date| date.get(..10)?.parse().ok()),
        topics: list("tags").filter_map(Value::as_str).map(plain_line).collect(),
        ..Record::default()
    };
    Ok((record, added))
}
