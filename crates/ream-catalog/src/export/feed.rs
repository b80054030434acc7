//! JSON Feed 1.1 (jsonfeed.org).

use std::io::{self, Write};

use serde_json::{Map, Value, json};

use super::{Exported, FeedHead, arxiv_page, remainder, time};
use crate::import::{OWN, feed_record};

pub(super) fn begin(out: &mut dyn Write, head: &FeedHead) -> io::Result<()> {
    let text = |text: &str| Value::from(text).to_string();
    write!(out, "{{\"version\":\"https://jsonfeed.org/version/1.1\",\"title\":{}", text(&head.title))?;
    if let Some(home) = &head.home {
        write!(out, ",\"home_page_url\":{}", text(home))?;
    }
    if let Some(address) = &head.address {
        write!(out, ",\"feed_url\":{}", text(address))?;
    }
    out.write_all(b",\"items\":[")
}

pub(super) fn item(exported: &Exported<'_>) -> Map<String, Value> {
    let record = exported.record;
    let mut item = Map::new();
    let mut add = |key: &str, value: Option<Value>| value.map(|value| item.insert(key.to_owned(), value));
    let page = exported.page.map(str::to_owned).or_else(|| arxiv_page(record));
    add("id", Some(page.clone().unwrap_or_else(|| exported.handle.to_owned()).into()));
    add("url", page.map(Value::from));
    add("external_url", arxiv_page(record).map(Value::from));
    add("title", Some(record.title.as_str().into()));
    add("content_text", Some(record.summary.as_deref().unwrap_or("").into()));
    add("date_published", record.date.and_then(time::midnight).map(Value::from));
    add("date_modified", exported.added.map(|added| time::instant(added).into()));
    if !record.authors.is_empty() {
        add("authors", Some(record.authors.iter().map(|author| json!({ "name": author.name })).collect()));
    }
    if !record.topics.is_empty() {
        add("tags", Some(record.topics.as_slice().into()));
    }
    let added = remainder(record, feed_record(item.clone()));
    if !added.is_empty() {
        item.insert(format!("_{OWN}"), Value::Object(added));
    }
    item
}
