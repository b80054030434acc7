//! RIS: `TY  - JOUR` to `ER  - `, one tag a line. Facts without a tag stand in `C8  - ream:{...}`.

use serde_json::Value;

use super::json::{not_json, too_long};
use super::names::NameParts;
use super::remainder::OWN;
use super::sink::{Read, Sink};
use super::source::{Line, Source};
use super::{Fault, Stop};
use crate::record::{Author, Date, Link, Record};
use crate::text::{arxiv_id, doi, is_address, plain, plain_line};

/// Tags with their values, in order.
type Fields = Vec<(String, String)>;

pub(crate) fn read(source: &mut Source<'_>, sink: &mut Sink<'_>) -> Result<(), Stop> {
    let limit = sink.limits.record;
    let mut text = Vec::new();
    let mut open: Option<Open> = None;
    loop {
        let line = source.line;
        let Some(kept) = source.next_line(&mut text, limit)? else { break };
        if let (Line::TooLong, Some(open)) = (&kept, &mut open) {
            open.spoil(too_long(limit));
            continue;
        }
        let Ok(text) = std::str::from_utf8(&text) else {
            let fault = || Fault::new(format!("line {line} is not UTF-8"), "the same file saved as UTF-8");
            match &mut open {
                Some(open) => open.spoil(fault()),
                None => sink.record(line, Err(fault()))?,
            }
            continue;
        };
        match (tag(text), &mut open) {
            (Some(("TY", _)), _) => {
                if let Some(open) = open.replace(Open::new(line)) {
                    sink.record(open.line, Err(unfinished()))?;
                }
            }
            (Some(("ER", _)), Some(_)) => {
                if let Some(open) = open.take() {
                    sink.record(open.line, open.read())?;
                }
            }
            (Some((tag, value)), Some(open)) => open.push(tag, value, limit),
            (None, Some(open)) => open.go_on(text.trim(), limit),
            (Some((tag, _)), None) => {
                let fault = Fault::new(format!("the tag `{tag}` stands outside a record"), "`TY  - ` first");
                sink.record(line, Err(fault))?;
                skip_stray(source, limit)?;
            }
            (None, None) => {}
        }
    }
    match open {
        Some(open) => sink.record(open.line, Err(unfinished())),
        None => Ok(()),
    }
}

/// Takes the lines of a record that did not begin, so that they count as one.
fn skip_stray(source: &mut Source<'_>, limit: usize) -> Result<(), Stop> {
    let mut text = Vec::new();
    while !source.peek()?.starts_with(b"TY") {
        if source.next_line(&mut text, limit)?.is_none() {
            break;
        }
    }
    Ok(())
}

fn unfinished() -> Fault {
    Fault::new("it does not end", "`ER  - ` after its last line")
}

/// A record that is being read.
struct Open {
    line: u64,
    fields: Fields,
    bytes: usize,
    fault: Option<Fault>,
}

impl Open {
    fn new(line: u64) -> Self {
        Self { line, fields: Vec::new(), bytes: 0, fault: None }
    }

    fn spoil(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
        self.fields.clear();
    }

    fn room(&mut self, bytes: usize, limit: usize) -> bool {
        // A line costs more than its letters.
        self.bytes += bytes + 16;
        if self.bytes > limit {
            self.spoil(too_long(limit));
        }
        self.fault.is_none()
    }

    fn push(&mut self, tag: &str, value: &str, limit: usize) {
        if self.room(value.len(), limit) {
            self.fields.push((tag.to_owned(), value.trim().to_owned()));
        }
    }

    /// A line without a tag goes on with the one before.
    fn go_on(&mut self, text: &str, limit: usize) {
        if text.is_empty() || !self.room(text.len(), limit) {
            return;
        }
        if let Some((_, value)) = self.fields.last_mut() {
            value.push(' ');
            value.push_str(text);
        }
    }

    fn read(self) -> Result<Read, Fault> {
        match self.fault {
            Some(fault) => Err(fault),
            None => record_of(&self.fields),
        }
    }
}

/// `AU  - Lovelace, Ada`: a letter, a letter or digit, one or two spaces, `-`, a space or the end.
fn tag(line: &str) -> Option<(&str, &str)> {
    let (tag, rest) = (line.get(..2)?, line.get(2..)?);
    let mut signs = tag.bytes();
    let proper = signs.next().is_some_and(|b| b.is_ascii_uppercase())
        && signs.next().is_some_and(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    let value = rest.strip_prefix("  -").or_else(|| rest.strip_prefix(" -"))?;
    (proper && (value.is_empty() || value.starts_with(' '))).then_some((tag, value))
}

pub(crate) fn record_of(fields: &[(String, String)]) -> Result<Read, Fault> {
    let all = |wanted: &'static [&str]| {
        fields
            .iter()
            .filter(move |(tag, value)| wanted.contains(&tag.as_str()) && !value.is_empty())
            .map(|(_, value)| value)
    };
    let first = |wanted: &[&str]| {
        wanted.iter().find_map(|tag| {
            fields.iter().find(|(t, value)| t == tag && !value.is_empty()).map(|(_, value)| value)
        })
    };
    let doi = first(&["DO"]).and_then(|value| doi(value));
    let urls: Vec<&String> = all(&["UR", "L1", "L2", "LK"]).collect();
    let numbered =
        all(&["AN", "C1", "M1", "N1"]).filter(|value| value.to_ascii_lowercase().starts_with("arxiv"));
    let arxiv = numbered
        .map(String::as_str)
        .find_map(arxiv_id)
        .or_else(|| doi.as_deref().and_then(arxiv_id))
        .or_else(|| urls.iter().find_map(|url| arxiv_id(url)));
    let links = urls.into_iter().filter(|url| is_address(url) && (arxiv.is_none() || arxiv_id(url) != arxiv));
    let paragraphs: Vec<String> = all(&["AB", "N2"]).map(|text| plain(text)).collect();
    let record = Record {
        title: first(&["TI", "T1", "CT"]).map(|title| plain_line(title)).unwrap_or_default(),
        summary: (!paragraphs.is_empty()).then(|| paragraphs.join("\n\n")),
        authors: all(&["AU", "A1"])
            .map(|name| Author { name: plain_line(&NameParts::inverted(name).printed()), affiliation: None })
            .collect(),
        date: first(&["DA"])
            .and_then(|text| date(text))
            .or_else(|| first(&["PY", "Y1"]).and_then(|text| date(text))),
        venue: first(&["JF", "JO", "T2", "BT", "JA"]).map(|venue| plain_line(venue)),
        topics: all(&["KW"]).map(|topic| plain_line(topic)).collect(),
        links: links.map(|url| Link { label: "link".to_owned(), url: url.clone() }).collect(),
        arxiv,
        doi,
        ..Record::default()
    };
    let own = all(&["C8"]).find_map(|value| value.strip_prefix(OWN)?.strip_prefix(':'));
    let added = match own.map(serde_json::from_str::<Value>).transpose().map_err(|error| not_json(&error))? {
        Some(Value::Object(added)) => Some(added),
        _ => None,
    };
    Ok((record, added))
}

/// `2024/05/01/`, with any part empty from the right, or from the left where there is no year; also `2024-05-01`.
fn date(text: &str) -> Option<Date> {
    if let Ok(date) = text.parse() {
        return Some(date);
    }
    let mut parts = text.split('/').map(str::trim);
    let year = parts.next().and_then(|part| part.get(..4).unwrap_or(part).parse().ok());
    let month = parts.next().and_then(|part| part.parse().ok());
    let day = parts.next().and_then(|part| part.parse().ok());
    Date::new(year, month, day)
        .or_else(|| Date::new(year, month, None))
        .or_else(|| Date::new(year, None, None))
}
