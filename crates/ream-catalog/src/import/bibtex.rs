//! BibTeX and biblatex: entries between whatever else the file holds, `@string` abbreviations and `#`, `crossref`.
//!
//! Values are read as TeX. Facts without a field stand in `ream_...` fields, as JSON, whose braces are balanced by
//! construction. A line that begins a new entry inside an unfinished one ends that one: a missing brace costs one record,
//! not the rest of the file.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Map, Value};

use super::json::{not_json, too_long};
use super::names::NameParts;
use super::remainder::OWN;
use super::sink::{Read, Sink};
use super::source::Source;
use super::tex::untexified;
use super::tidy::short;
use super::{Fault, Stop};
use crate::record::{Author, Date, Link, Record};
use crate::text::{arxiv_id, doi, is_address, plain, plain_line};

mod parse;

use parse::{Body, Parsed, Raw, next_raw};

/// An entry: its fields by name in lower case, values as TeX.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Entry {
    pub(crate) fields: BTreeMap<String, String>,
}

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// What an entry takes over from the one its `crossref` names. The parent's title is the child's book.
const INHERITED: [&str; 8] =
    ["booktitle", "journal", "year", "month", "date", "organization", "series", "institution"];

/// Bytes of entries that wait for their parents, and of possible parents.
const KEPT: usize = 16 << 20;

pub(crate) fn read(source: &mut Source<'_>, sink: &mut Sink<'_>) -> Result<(), Stop> {
    let mut file = File::default();
    let mut next = None;
    loop {
        let raw = match next.take() {
            Some(raw) => raw,
            None => match next_raw(source)? {
                Some(raw) => raw,
                None => break,
            },
        };
        let Body { text, end, follows } = parse::body(source, &raw, sink.limits.record)?;
        next = follows;
        file.entry(&raw, end.and(text), sink)?;
    }
    file.finish(sink)
}

/// What is known of the file so far.
#[derive(Default)]
struct File {
    abbreviations: HashMap<String, String>,
    abbreviation_bytes: usize,
    /// Inheritable fields of entries, by key.
    parents: HashMap<String, BTreeMap<String, String>>,
    /// Entries whose parents did not come yet.
    waiting: Vec<Waiting>,
    kept: usize,
}

struct Waiting {
    number: u64,
    line: u64,
    parent: String,
    entry: Entry,
}

impl File {
    fn entry(&mut self, raw: &Raw, text: Result<String, Fault>, sink: &mut Sink<'_>) -> Result<(), Stop> {
        match raw.kind.as_str() {
            "comment" | "preamble" => return Ok(()),
            "string" => {
                let read = text.and_then(|text| self.abbreviate(&text, sink.limits.record));
                return read.or_else(|fault| sink.record(raw.line, Err(fault)));
            }
            _ => {}
        }
        let parsed = text.and_then(|text| parse::entry(&text, &self.abbreviations, sink.limits.record));
        let Parsed { key, fields } = match parsed {
            Ok(parsed) => parsed,
            Err(fault) => return sink.record(raw.line, Err(fault)),
        };
        let entry = Entry { fields };
        self.remember(&key, &entry);
        let parent = entry.fields.get("crossref").map(|parent| parent.trim().to_ascii_lowercase());
        let Some(parent) = parent else { return sink.record(raw.line, record_of(&entry)) };
        if let Some(facts) = self.parents.get(&parent) {
            return sink.record(raw.line, record_of(&inherit(entry, facts)));
        }
        let bytes: usize = entry.fields.iter().map(|(name, value)| name.len() + value.len() + 64).sum();
        if self.kept + bytes > KEPT {
            return sink.record(raw.line, record_of(&entry));
        }
        self.kept += bytes;
        self.waiting.push(Waiting { number: sink.reserve(), line: raw.line, parent, entry });
        Ok(())
    }

    fn abbreviate(&mut self, text: &str, limit: usize) -> Result<(), Fault> {
        for (name, value) in parse::fields(text, &self.abbreviations, limit)? {
            self.abbreviation_bytes += name.len() + value.len() + 64;
            if self.abbreviation_bytes > limit {
                return Err(Fault::new(
                    "the abbreviations are too long",
                    format!("at most {limit} bytes of them"),
                ));
            }
            self.abbreviations.insert(name, value);
        }
        Ok(())
    }

    fn remember(&mut self, key: &str, entry: &Entry) {
        let mut facts = BTreeMap::new();
        for name in INHERITED {
            if let Some(value) = entry.fields.get(name) {
                facts.insert(name.to_owned(), value.clone());
            }
        }
        if let (false, Some(title)) = (facts.contains_key("booktitle"), entry.fields.get("title")) {
            facts.insert("booktitle".to_owned(), title.clone());
        }
        // Only entries without authors of their own are books of papers; the others would fill the memory.
        let bytes: usize =
            key.len() + facts.iter().map(|(name, value)| name.len() + value.len() + 64).sum::<usize>();
        if !entry.fields.contains_key("author") && self.kept + bytes <= KEPT {
            self.kept += bytes;
            self.parents.insert(key.to_ascii_lowercase(), facts);
        }
    }

    fn finish(self, sink: &mut Sink<'_>) -> Result<(), Stop> {
        for Waiting { number, line, parent, entry } in self.waiting {
            let entry = match self.parents.get(&parent) {
                Some(facts) => inherit(entry, facts),
                None => entry,
            };
            sink.numbered(number, line, record_of(&entry))?;
        }
        Ok(())
    }
}

fn inherit(mut entry: Entry, facts: &BTreeMap<String, String>) -> Entry {
    for (name, value) in facts {
        entry.fields.entry(name.clone()).or_insert_with(|| value.clone());
    }
    entry
}

/// The record of an entry.
pub(crate) fn record_of(entry: &Entry) -> Result<Read, Fault> {
    let tex =
        |name: &str| entry.fields.get(name).map(String::as_str).filter(|value| !value.trim().is_empty());
    let text = |name: &str| tex(name).map(untexified);
    let line = |name: &str| text(name).map(|text| plain_line(&text)).filter(|text| !text.is_empty());
    let first = |names: &[&str]| names.iter().find_map(|name| line(name));
    let mut title = line("title").unwrap_or_default();
    if let Some(subtitle) = line("subtitle") {
        title = format!("{title}: {subtitle}");
    }
    let doi = tex("doi").and_then(|tex| doi(&address(tex)));
    let urls: Vec<String> =
        ["url", "howpublished"].iter().filter_map(|name| tex(name)).map(address).collect();
    let venue = first(&["journal", "journaltitle", "booktitle", "series"]);
    let arxiv = arxiv(entry, &text)
        .or_else(|| doi.as_deref().and_then(arxiv_id))
        .or_else(|| urls.iter().find_map(|url| arxiv_id(url)))
        .or_else(|| venue.as_deref().and_then(arxiv_in_venue));
    let links = urls.into_iter().filter(|url| is_address(url) && (arxiv.is_none() || arxiv_id(url) != arxiv));
    let is_preprint = |venue: &String| {
        let name = venue.to_ascii_lowercase();
        arxiv.is_some() && (name.starts_with("arxiv") || name == "corr")
    };
    let topics = [text("keywords"), text("primaryclass")];
    let topics = topics.iter().flatten().flat_map(|words| words.split([',', ';'])).map(plain_line);
    let record = Record {
        summary: text("abstract").map(|text| plain(&text)),
        authors: tex("author").map(authors).transpose()?.unwrap_or_default(),
        organisations: organisations(tex("organization").or(tex("institution")).or(tex("school"))),
        date: date(&text),
        venue: venue.filter(|venue| !is_preprint(venue)),
        topics: topics.filter(|topic| !topic.is_empty()).collect(),
        links: links.map(|url| Link { label: "link".to_owned(), url }).collect(),
        title,
        arxiv,
        doi,
        ..Record::default()
    };
    Ok((record, added(entry)?))
}

/// An address, which TeX does not set as text: `~` and `%` stand for themselves. `\\url{...}` around it and backslashes
/// before signs go.
fn address(tex: &str) -> String {
    let inside = tex.split_once("\\url{").map_or(tex, |(_, rest)| rest.split('}').next().unwrap_or(rest));
    let mut address = String::with_capacity(inside.len());
    let mut signs = inside.trim().chars().peekable();
    while let Some(c) = signs.next() {
        let escape = c == '\\' && signs.peek().is_some_and(|next| "_%#&~$".contains(*next));
        if !escape && !matches!(c, '{' | '}') {
            address.push(c);
        }
    }
    address
}

/// `ream_votes = {3}` and the like.
fn added(entry: &Entry) -> Result<Option<Map<String, Value>>, Fault> {
    let mut added = Map::new();
    for (name, value) in &entry.fields {
        if let Some(name) = name.strip_prefix(OWN).and_then(|name| name.strip_prefix('_')) {
            let value = serde_json::from_str(value).map_err(|error| not_json(&error))?;
            added.insert(name.to_owned(), value);
        }
    }
    Ok((!added.is_empty()).then_some(added))
}

/// The number, where the entry says that it is one of arXiv: in `eprint`, or in `volume` as DBLP writes it.
fn arxiv(entry: &Entry, text: &dyn Fn(&str) -> Option<String>) -> Option<String> {
    let kind = ["archiveprefix", "eprinttype"].iter().find_map(|name| entry.fields.get(*name));
    let of_arxiv = kind.is_none_or(|kind| kind.trim().eq_ignore_ascii_case("arxiv"));
    let eprint = text("eprint").filter(|_| of_arxiv).and_then(|number| arxiv_id(&number));
    let volume = || text("volume").and_then(|volume| arxiv_id(volume.strip_prefix("abs/")?));
    eprint.or_else(|| text("arxiv").or(text("arxivid")).and_then(|number| arxiv_id(&number))).or_else(volume)
}

/// `arXiv preprint arXiv:2212.07677`.
fn arxiv_in_venue(venue: &str) -> Option<String> {
    if !venue.to_ascii_lowercase().starts_with("arxiv") {
        return None;
    }
    venue.split([' ', ',']).find_map(|word| arxiv_id(word.trim_end_matches('.')))
}

fn organisations(tex: Option<&str>) -> Vec<String> {
    let names = tex.into_iter().flat_map(|tex| split(tex, " and "));
    names.map(|name| plain_line(&untexified(name))).filter(|name| !name.is_empty()).collect()
}

/// `year`, `month`, `day`, or `date` as biblatex has it.
fn date(text: &dyn Fn(&str) -> Option<String>) -> Option<Date> {
    if let Some(date) = text("date").and_then(|date| date.split('/').next()?.trim().parse().ok()) {
        return Some(date);
    }
    let year = text("year").and_then(|year| {
        let digits: String = year.chars().filter(char::is_ascii_digit).collect();
        digits.parse().ok()
    });
    let month = text("month");
    let month_words = month.as_deref().unwrap_or("").trim().to_ascii_lowercase();
    // Some write the day with the month: `May 5` or `5 May`.
    let mut number = None;
    let mut month = None;
    for word in month_words.split([' ', '.', ',', '~']) {
        match word.parse::<u8>() {
            Ok(n) => number = Some(n),
            Err(_) => {
                month = month.or_else(|| {
                    MONTHS
                        .iter()
                        .position(|name| word.starts_with(name))
                        .and_then(|at| u8::try_from(at + 1).ok())
                });
            }
        }
    }
    let day = text("day").and_then(|day| day.trim().parse().ok());
    let (month, day) = if month.is_none() { (number, day) } else { (month, day.or(number)) };
    Date::new(year, month, day)
        .or_else(|| Date::new(year, month, None))
        .or_else(|| Date::new(year, None, None))
}

/// Names between `and`. `others` at the end says only that there are more.
fn authors(tex: &str) -> Result<Vec<Author>, Fault> {
    let mut authors = Vec::new();
    for name in split(tex, " and ") {
        if name.trim() == "others" {
            continue;
        }
        let printed = plain_line(&person(name)?);
        if !printed.is_empty() {
            authors.push(Author { name: printed, affiliation: None });
        }
    }
    Ok(authors)
}

/// `First von Last`, `von Last, First` or `von Last, Jr, First`, as printed.
fn person(tex: &str) -> Result<String, Fault> {
    let parts: Vec<String> = split(tex, ",").into_iter().map(untexified).collect();
    let (family, suffix, given) = match parts.as_slice() {
        [name] => return Ok(name.clone()),
        [family, given] => (family, "", given),
        [family, suffix, given] => (family, suffix.as_str(), given),
        parts => {
            let what = format!("`{}` has {} commas", short(tex.trim()), parts.len() - 1);
            return Err(Fault::new(what, "`Last, First` or `Last, Jr, First`, and ` and ` between authors"));
        }
    };
    let parts = NameParts { given: given.clone(), family: family.clone(), suffix: suffix.to_owned() };
    Ok(parts.printed())
}

/// Parts between separators outside braces. White space around a word counts as one space.
fn split<'a>(tex: &'a str, separator: &str) -> Vec<&'a str> {
    let word = separator.trim();
    let spaced = word.len() != separator.len();
    let bytes = tex.as_bytes();
    let (mut depth, mut start, mut at) = (0_usize, 0, 0);
    let mut parts = Vec::new();
    while at < bytes.len() {
        match bytes[at] {
            b'{' => depth += 1,
            b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        let end = at + word.len();
        let here =
            depth == 0 && bytes.get(at..end).is_some_and(|found| found.eq_ignore_ascii_case(word.as_bytes()));
        let blank = |b: Option<&u8>| b.is_none_or(u8::is_ascii_whitespace);
        let alone = !spaced || (at > 0 && blank(bytes.get(at - 1)) && blank(bytes.get(end)));
        if here && alone {
            parts.push(&tex[start..at]);
            start = end;
            at = end;
        } else {
            at += 1;
        }
    }
    parts.push(&tex[start..]);
    parts
}

/// What a record that is too long is told.
fn long(limit: usize) -> Fault {
    too_long(limit)
}
