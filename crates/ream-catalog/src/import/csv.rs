//! The table that our export writes. Cells that a spreadsheet would take for a formula carry one `'` in front.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::json::{not_json, too_long};
use super::remainder::OWN;
use super::sink::{Read, Sink};
use super::source::Source;
use super::{Fault, Stop};
use crate::record::{Author, Record};

/// The columns, in order. `handle` and those after `ream` are for readers of the table and are not read back.
pub(crate) const COLUMNS: [&str; 17] = [
    "handle",
    "title",
    "authors",
    "date",
    "arxiv",
    "doi",
    "venue",
    "organisations",
    "topics",
    "votes",
    "comments",
    "author_count",
    "abstract",
    OWN,
    "family",
    "claims",
    "confirmed",
];

/// What stands between the values of one cell.
pub(crate) const LIST_SEPARATOR: &str = "; ";

/// Whether a line is the first of such a table.
pub(crate) fn is_header(line: &str) -> bool {
    line.trim_end() == COLUMNS.join(",")
}

/// The cell as a spreadsheet may have it: a leading `=`, `+`, `-`, `@` (also after `'`) gets a `'` in front.
pub(crate) fn guarded(cell: &str) -> Cow<'_, str> {
    if is_formula(cell) { Cow::Owned(format!("'{cell}")) } else { Cow::Borrowed(cell) }
}

fn unguarded(cell: &str) -> &str {
    cell.strip_prefix('\'').filter(|rest| is_formula(rest)).unwrap_or(cell)
}

fn is_formula(cell: &str) -> bool {
    cell.trim_start_matches('\'').starts_with(['=', '+', '-', '@', '＝', '＋', '－', '＠', '\t', '\r'])
}

pub(crate) fn read(source: &mut Source<'_>, sink: &mut Sink<'_>) -> Result<(), Stop> {
    let mut parser = csv_core::Reader::new();
    let limit = sink.limits.record;
    let mut row = Row::default();
    let mut first = true;
    loop {
        source.skip_while(|b| matches!(b, b'\n' | b'\r'))?;
        let line = source.line;
        let Some(whole) = row.next(&mut parser, source, limit)? else { return Ok(()) };
        if std::mem::take(&mut first) && row.cells().is_ok_and(|cells| is_header(&cells.join(","))) {
            continue;
        }
        let read = if whole { row.cells().and_then(|cells| cells_of(&cells)) } else { Err(too_long(limit)) };
        sink.record(line, read)?;
    }
}

/// One row, as bytes and where its cells end.
#[derive(Default)]
struct Row {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Row {
    /// The next row; whether it is whole; nothing at the end.
    fn next(
        &mut self,
        parser: &mut csv_core::Reader,
        source: &mut Source<'_>,
        limit: usize,
    ) -> Result<Option<bool>, Stop> {
        use std::io::BufRead as _;
        let (mut cells, mut ends) = (vec![0; 8 << 10], [0; 64]);
        self.bytes.clear();
        self.ends.clear();
        let mut whole = true;
        loop {
            let input = source.peek()?;
            let (state, taken, written, ended) = parser.read_record(input, &mut cells, &mut ends);
            source.consume(taken);
            // Past the limit the row is still read to its end, and forgotten.
            whole &= self.bytes.len() + written <= limit && self.ends.len() + ended <= 4 * COLUMNS.len();
            if whole {
                self.bytes.extend_from_slice(&cells[..written]);
                self.ends.extend_from_slice(&ends[..ended]);
            }
            match state {
                csv_core::ReadRecordResult::Record => return Ok(Some(whole)),
                csv_core::ReadRecordResult::End => return Ok(None),
                _ => {}
            }
        }
    }

    fn cells(&self) -> Result<Vec<&str>, Fault> {
        let text = std::str::from_utf8(&self.bytes)
            .map_err(|_| Fault::new("it is not UTF-8", "a table saved as UTF-8"))?;
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts
            .zip(&self.ends)
            .map(|(start, &end)| text.get(start..end))
            .collect::<Option<_>>()
            .ok_or_else(|| Fault::new("its cells are cut inside a character", "a table saved as UTF-8"))
    }
}

fn cells_of(cells: &[&str]) -> Result<Read, Fault> {
    if cells.len() != COLUMNS.len() {
        let wanted = format!("{}, as in the first line: {}", COLUMNS.len(), COLUMNS.join(","));
        return Err(Fault::new(format!("it has {} cells", cells.len()), wanted));
    }
    record_of(&COLUMNS.into_iter().zip(cells.iter().copied()).collect())
}

/// The record of a row, by column.
pub(crate) fn record_of(row: &BTreeMap<&str, &str>) -> Result<Read, Fault> {
    let cell = |name: &str| row.get(name).map(|cell| unguarded(cell)).filter(|cell| !cell.is_empty());
    let list = |name: &str| -> Vec<String> {
        cell(name).map(|cell| cell.split(LIST_SEPARATOR).map(str::to_owned).collect()).unwrap_or_default()
    };
    let count = |name: &str| {
        let number = |cell: &str| cell.parse::<u32>();
        let fault = |_| Fault::new(format!("its {name} are no number"), "a whole number, or nothing");
        cell(name).map(number).transpose().map_err(fault)
    };
    let record = Record {
        title: cell("title").unwrap_or("").to_owned(),
        arxiv: cell("arxiv").map(str::to_owned),
        doi: cell("doi").map(str::to_owned),
        summary: cell("abstract").map(str::to_owned),
        authors: list("authors").into_iter().map(|name| Author { name, affiliation: None }).collect(),
        author_count: count("author_count")?,
        organisations: list("organisations"),
        date: cell("date")
            .map(str::parse)
            .transpose()
            .map_err(|fault| Fault::new("its date cannot be read", fault))?,
        venue: cell("venue").map(str::to_owned),
        topics: list("topics"),
        links: Vec::new(),
        votes: count("votes")?,
        comments: count("comments")?,
    };
    let added =
        match cell(OWN).map(serde_json::from_str::<Value>).transpose().map_err(|error| not_json(&error))? {
            Some(Value::Object(added)) => Some(added),
            _ => None,
        };
    Ok((record, added))
}
