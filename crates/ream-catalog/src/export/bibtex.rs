//! BibTeX. Values stand on one line each, so nothing in them can look like the beginning of an entry.

use std::io::{self, Write};

use super::{Kind, arxiv_page, kind, remainder};
use crate::import::{BibEntry, NameParts, OWN, bibtex_record, texified};
use crate::record::{Date, Record};

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

pub(super) fn write(out: &mut dyn Write, record: &Record, key: &str) -> io::Result<()> {
    let kind = kind(record);
    let mut fields = fields(record, kind);
    let entry =
        BibEntry { fields: fields.iter().cloned().map(|(name, value)| (name.to_owned(), value)).collect() };
    let added = remainder(record, bibtex_record(&entry));
    let name = match kind {
        Kind::Journal => "article",
        Kind::Conference => "inproceedings",
        Kind::Preprint => "misc",
    };
    write!(out, "@{name}{{{key}")?;
    // The names of months are abbreviations that BibTeX knows and styles print in their own language.
    if let Some(month) = fields.iter_mut().find(|(name, _)| *name == "month") {
        write!(out, ",\n  month = {}", std::mem::take(&mut month.1))?;
    }
    for (name, value) in fields.iter().filter(|(name, _)| *name != "month") {
        write!(out, ",\n  {name} = {{{value}}}")?;
    }
    for (name, value) in &added {
        // Braces inside strings of JSON would upset the count.
        write!(out, ",\n  {OWN}_{name} = {{{}}}", balanced(&value.to_string()))?;
    }
    out.write_all(b",\n}\n\n")
}

/// Standard fields, values as TeX.
fn fields(record: &Record, kind: Kind) -> Vec<(&'static str, String)> {
    // Double braces keep styles from writing the title's capitals small.
    let mut fields = vec![("title", format!("{{{}}}", texified(&record.title)))];
    let mut add = |name, value: Option<String>| {
        fields.extend(value.filter(|value| !value.is_empty()).map(|v| (name, v)));
    };
    let list = |values: Vec<String>, between: &str| values.join(between);
    add("author", Some(list(record.authors.iter().map(|author| person(&author.name)).collect(), " and ")));
    let venue = record.venue.as_deref().map(texified);
    add(if kind == Kind::Conference { "booktitle" } else { "journal" }, venue);
    let part = |part: fn(Date) -> Option<u8>| record.date.and_then(part);
    add("year", record.date.and_then(Date::year).map(|year| format!("{year:04}")));
    add(
        "month",
        part(Date::month).and_then(|month| MONTHS.get(usize::from(month) - 1)).map(|&name| name.to_owned()),
    );
    add("day", part(Date::day).map(|day| day.to_string()));
    add("doi", record.doi.clone().filter(|doi| !doi.contains(['{', '}', '\\'])));
    add("eprint", record.arxiv.clone());
    add("archiveprefix", record.arxiv.as_ref().map(|_| "arXiv".to_owned()));
    let url = record.links.first().map(|link| link.url.clone()).or_else(|| arxiv_page(record));
    add("url", url.filter(|url| !url.contains(['{', '}', '\\'])));
    let organisations = record.organisations.iter().map(|name| format!("{{{}}}", texified(name))).collect();
    add("organization", Some(list(organisations, " and ")));
    add("keywords", Some(list(record.topics.iter().map(|topic| texified(topic)).collect(), ", ")));
    add("abstract", record.summary.as_deref().map(texified));
    fields
}

/// `Last, First` or `Last, Jr, First`; a name that has no such parts stands in braces.
fn person(name: &str) -> String {
    match NameParts::of(name) {
        Some(parts) if !has_and(&parts) => {
            let given = texified(&parts.given);
            let family = texified(&parts.family);
            match parts.suffix.as_str() {
                "" => format!("{family}, {given}"),
                suffix => format!("{family}, {suffix}, {given}"),
            }
        }
        _ => format!("{{{}}}", texified(name)),
    }
}

fn has_and(parts: &NameParts) -> bool {
    [&parts.given, &parts.family]
        .iter()
        .any(|part| part.split(' ').any(|word| word.eq_ignore_ascii_case("and")))
}

/// JSON whose braces inside strings are written as escapes.
fn balanced(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut string, mut escaped) = (false, false);
    for c in json.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => string = !string,
            _ => {}
        }
        match c {
            '{' if string => out.push_str("\\u007b"),
            '}' if string => out.push_str("\\u007d"),
            c => out.push(c),
        }
    }
    out
}
