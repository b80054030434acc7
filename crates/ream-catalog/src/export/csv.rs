//! A table for spreadsheets. Nothing in it is a formula (see `import/csv.rs`).

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::{Exported, remainder};
use crate::import::{CSV_COLUMNS, LIST_SEPARATOR, OWN, csv_guarded, csv_record};
use crate::record::Record;

pub(super) fn header(out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", CSV_COLUMNS.join(","))
}

pub(super) fn write(out: &mut dyn Write, exported: &Exported<'_>) -> io::Result<()> {
    let mut row = row(exported.record);
    row.insert("handle", exported.handle.to_owned());
    if let Some(edition) = exported.edition {
        row.insert("family", edition.family.clone());
        row.insert("claims", edition.claims.len().to_string());
        row.insert("confirmed", edition.confirmed().to_string());
    }
    for cell in row.values_mut() {
        *cell = csv_guarded(cell).into_owned();
    }
    let read = csv_record(&row.iter().map(|(&name, cell)| (name, cell.as_str())).collect());
    let added = remainder(exported.record, read);
    if !added.is_empty() {
        row.insert(OWN, serde_json::Value::Object(added).to_string());
    }
    let cells = CSV_COLUMNS.map(|name| row.get(name).map(String::as_str).unwrap_or_default());
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(cells)?;
    writer.flush()
}

fn row(record: &Record) -> BTreeMap<&'static str, String> {
    let text = |fact: &Option<String>| fact.clone().unwrap_or_default();
    let count = |fact: Option<u32>| fact.map(|count| count.to_string()).unwrap_or_default();
    let authors: Vec<&str> = record.authors.iter().map(|author| author.name.as_str()).collect();
    BTreeMap::from([
        ("title", record.title.clone()),
        ("authors", authors.join(LIST_SEPARATOR)),
        ("date", record.date.map(|date| date.to_string()).unwrap_or_default()),
        ("arxiv", text(&record.arxiv)),
        ("doi", text(&record.doi)),
        ("venue", text(&record.venue)),
        ("organisations", record.organisations.join(LIST_SEPARATOR)),
        ("topics", record.topics.join(LIST_SEPARATOR)),
        ("votes", count(record.votes)),
        ("comments", count(record.comments)),
        ("author_count", count(record.author_count)),
        ("abstract", text(&record.summary)),
    ])
}
