//! RIS. A paragraph of an abstract is an `AB` of its own.

use std::io::{self, Write};

use super::{Kind, arxiv_page, kind, remainder};
use crate::import::{NameParts, OWN, ris_record};
use crate::record::{Date, Record};

pub(super) fn write(out: &mut dyn Write, record: &Record, handle: &str) -> io::Result<()> {
    let kind = kind(record);
    let mut fields = fields(record, kind, handle);
    let added = remainder(record, ris_record(&fields));
    if !added.is_empty() {
        fields.push(("C8".to_owned(), format!("{OWN}:{}", serde_json::Value::Object(added))));
    }
    let name = match kind {
        Kind::Journal => "JOUR",
        Kind::Conference => "CONF",
        Kind::Preprint => "UNPB",
    };
    write!(out, "TY  - {name}\r\n")?;
    for (tag, value) in fields {
        write!(out, "{tag}  - {value}\r\n")?;
    }
    out.write_all(b"ER  - \r\n\r\n")
}

fn fields(record: &Record, kind: Kind, handle: &str) -> Vec<(String, String)> {
    let mut fields: Vec<(String, String)> = Vec::new();
    let mut add =
        |tag: &str, value: Option<String>| fields.extend(value.map(|value| (tag.to_owned(), value)));
    add("ID", Some(handle.to_owned()));
    add("TI", Some(record.title.clone()));
    for author in &record.authors {
        add("AU", Some(person(&author.name)));
    }
    add("PY", record.date.and_then(Date::year).map(|year| format!("{year:04}")));
    add("DA", record.date.map(date));
    add(if kind == Kind::Conference { "T2" } else { "JO" }, record.venue.clone());
    add("DO", record.doi.clone());
    add("AN", record.arxiv.as_ref().map(|number| format!("arXiv:{number}")));
    for link in &record.links {
        add("UR", Some(link.url.clone()));
    }
    if record.links.is_empty() {
        add("UR", arxiv_page(record));
    }
    for topic in &record.topics {
        add("KW", Some(topic.clone()));
    }
    for paragraph in record.summary.iter().flat_map(|text| text.split("\n\n")) {
        add("AB", Some(paragraph.to_owned()));
    }
    fields
}

fn person(name: &str) -> String {
    match NameParts::of(name) {
        Some(NameParts { given, family, suffix }) if suffix.is_empty() => format!("{family}, {given}"),
        Some(NameParts { given, family, suffix }) => format!("{family}, {given}, {suffix}"),
        None => name.to_owned(),
    }
}

/// `2024/05/01/`: what is not known stays empty.
fn date(date: Date) -> String {
    let year = date.year().map(|year| format!("{year:04}")).unwrap_or_default();
    let two = |part: Option<u8>| part.map(|part| format!("{part:02}")).unwrap_or_default();
    format!("{year}/{}/{}/", two(date.month()), two(date.day()))
}
