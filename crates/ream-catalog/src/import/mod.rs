//! Reading other people's lists: one record after the other, never the whole file in memory.
//!
//! [`import`] opens gzip and zip, tells the format from the content (or is told), and hands every record to the caller
//! as it is read. What is wrong with one record is a [`Problem`] in its place; the others go on. Text of foreign formats
//! may hold HTML and becomes plain text; our own JSONL and what our exports add is plain already.

mod atom;
mod bibtex;
mod csl;
mod csv;
mod daily;
mod detect;
mod feed;
mod json;
mod jsonl;
mod names;
mod oai;
mod packed;
mod page;
mod remainder;
mod ris;
mod sink;
mod source;
mod tex;
mod tidy;
mod xml;

use std::fmt;
use std::io::BufRead;
use std::str::FromStr;

use crate::record::Record;
use sink::Sink;
use source::Source;

pub(crate) use self::{
    atom::record_of as atom_record, bibtex::Entry as BibEntry, bibtex::record_of as bibtex_record,
    csl::record_of as csl_record, csv::COLUMNS as CSV_COLUMNS, csv::LIST_SEPARATOR,
    csv::guarded as csv_guarded, csv::record_of as csv_record, feed::record_of as feed_record,
    names::NameParts, remainder::OWN, remainder::difference, ris::record_of as ris_record, sink::Read,
    tex::texified, tidy::clean, xml::Element,
};

/// What a file can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// Feed of the arXiv query API, or an Atom feed of ours.
    ArxivAtom,
    /// OAI-PMH records with `arXiv` or `oai_dc` metadata.
    OaiPmh,
    /// Hugging Face daily papers as their API sends them.
    DailyJson,
    /// BibTeX and biblatex.
    BibTex,
    /// RIS.
    Ris,
    /// CSL-JSON.
    CslJson,
    /// Our own: one [`Record`] a line.
    Jsonl,
    /// A daily-papers page saved as plain text.
    DailyPage,
    /// A table as our export writes it.
    Csv,
    /// A JSON Feed as our export writes it.
    JsonFeed,
}

impl Format {
    /// Every format, in the order in which messages list them.
    pub const ALL: [Self; 10] = [
        Self::ArxivAtom,
        Self::OaiPmh,
        Self::DailyJson,
        Self::BibTex,
        Self::Ris,
        Self::CslJson,
        Self::Jsonl,
        Self::DailyPage,
        Self::Csv,
        Self::JsonFeed,
    ];

    /// The name by which a caller asks for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ArxivAtom => "arxiv-atom",
            Self::OaiPmh => "oai-pmh",
            Self::DailyJson => "daily-json",
            Self::BibTex => "bibtex",
            Self::Ris => "ris",
            Self::CslJson => "csl-json",
            Self::Jsonl => "jsonl",
            Self::DailyPage => "daily-page",
            Self::Csv => "csv",
            Self::JsonFeed => "json-feed",
        }
    }

    /// The format of a file that begins with `head` (64 KiB are plenty; compressed files are no format).
    ///
    /// # Errors
    /// When the beginning fits none or more than one, with the list of formats and how to name one.
    pub fn detect(head: &[u8]) -> Result<Self, Problem> {
        detect::detect(head).map_err(|fault| fault.at(None, None, 1))
    }

    fn names() -> String {
        Self::ALL.map(Self::name).join(", ")
    }

    fn read(self, source: &mut Source<'_>, sink: &mut Sink<'_>) -> Result<(), Stop> {
        match self {
            Self::ArxivAtom => atom::read(source, sink),
            Self::OaiPmh => oai::read(source, sink),
            Self::DailyJson => daily::read(source, sink),
            Self::BibTex => bibtex::read(source, sink),
            Self::Ris => ris::read(source, sink),
            Self::CslJson => csl::read(source, sink),
            Self::Jsonl => jsonl::read(source, sink),
            Self::DailyPage => page::read(source, sink),
            Self::Csv => csv::read(source, sink),
            Self::JsonFeed => feed::read(source, sink),
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = Problem;

    fn from_str(name: &str) -> Result<Self, Problem> {
        Self::ALL.into_iter().find(|format| format.name() == name).ok_or_else(|| {
            Fault::new(format!("`{name}` is no format"), format!("one of {}", Self::names()))
                .at(None, None, 0)
        })
    }
}

/// Bounds that keep a hostile file from taking the machine. The defaults suit real lists.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Bytes of one record as written in the file.
    pub record: usize,
    /// Characters of a title, name, venue, topic, address.
    pub line: usize,
    /// Characters of an abstract.
    pub summary: usize,
    /// Authors, organisations, topics or links of one record.
    pub list: usize,
    /// Nested elements of XML.
    pub depth: usize,
    /// Bytes that come out of a compressed file, all members together.
    pub unpacked: u64,
    /// Bytes out for each byte in, once a mebibyte has come out of a compressed file.
    pub ratio: u64,
    /// Bytes of a zip file as it comes in.
    pub packed: u64,
    /// Members of a zip file.
    pub members: usize,
    /// Bad records after which the rest is not tried.
    pub problems: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            record: 1 << 20,
            line: 2000,
            summary: 100_000,
            list: 10_000,
            depth: 64,
            unpacked: 2 << 30,
            ratio: 50,
            packed: 1 << 30,
            members: 1000,
            problems: 10_000,
        }
    }
}

/// One thing that is wrong with a file: where, what, and what would be right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problem {
    /// The file inside a zip file.
    pub member: Option<String>,
    /// The record, counted from 1; absent where the whole file is meant.
    pub record: Option<u64>,
    /// The line where it begins, counted from 1; 0 where lines mean nothing.
    pub line: u64,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub wanted: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let member = self.member.as_ref().map(|member| format!("`{member}`"));
        let record = self.record.map(|record| format!("record {record}"));
        let line = (self.line > 0).then(|| format!("line {}", self.line));
        let place = [member, record, line].into_iter().flatten().collect::<Vec<_>>().join(", ");
        let colon = if place.is_empty() { "" } else { ": " };
        write!(f, "{place}{colon}{}; wanted: {}", self.what, self.wanted)
    }
}

/// A [`Problem`] whose place is not known yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    what: String,
    wanted: String,
}

impl Fault {
    pub(crate) fn new(what: impl Into<String>, wanted: impl Into<String>) -> Self {
        Self { what: what.into(), wanted: wanted.into() }
    }

    fn at(self, member: Option<String>, record: Option<u64>, line: u64) -> Problem {
        Problem { member, record, line, what: self.what, wanted: self.wanted }
    }
}

/// A record, or why there is none in its place.
pub type Item = Result<Record, Problem>;

/// What came of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Files read, with their format: one, or those of a zip file.
    pub files: Vec<(Option<String>, Format)>,
    /// Records handed over.
    pub records: u64,
    /// Records that were bad.
    pub problems: u64,
    /// Records that only say that a paper was withdrawn from its source (OAI-PMH).
    pub deleted: u64,
    /// Members of a zip file that are of no known format.
    pub skipped: Vec<String>,
}

/// Why an import ended early. What was handed over before stays handed over.
#[derive(Debug, thiserror::Error)]
pub enum Stopped<E> {
    /// The file cannot be read, or not any further.
    #[error("{0}")]
    File(Problem),
    /// The caller did not take a record.
    #[error("{0}")]
    Caller(E),
}

/// Inside: why reading stops.
pub(crate) enum Stop {
    /// The file is at fault, at this line.
    File(Fault, u64),
    /// The caller said so.
    Caller,
}

/// Reads records and hands each to `take`, bad ones as [`Problem`]s in their place. gzip and zip are recognised by their
/// first bytes; of a zip file every member of a known format is read. `format` overrides what the content says.
///
/// ```
/// use ream_catalog::import::{Limits, import};
///
/// let file = "@misc{a, title = {Na{\\\"i}ve Bayes}, year = 2024}\n@misc{b, title = }\n";
/// let mut titles = Vec::new();
/// let summary = import(file.as_bytes(), None, &Limits::default(), &mut |item| {
///     titles.push(item.map(|record| record.title).map_err(|problem| problem.line));
///     Ok::<(), std::convert::Infallible>(())
/// })?;
/// assert_eq!(titles, [Ok("Naïve Bayes".to_owned()), Err(2)]);
/// assert_eq!((summary.records, summary.problems), (1, 1));
/// # Ok::<(), ream_catalog::import::Stopped<std::convert::Infallible>>(())
/// ```
///
/// # Errors
/// [`Stopped::File`] when the format is unknown or ambiguous, a limit on the whole file is passed, or the file cannot be
/// read on; [`Stopped::Caller`] with what `take` returned.
pub fn import<E>(
    mut reader: impl BufRead,
    format: Option<Format>,
    limits: &Limits,
    take: &mut dyn FnMut(Item) -> Result<(), E>,
) -> Result<Summary, Stopped<E>> {
    let mut refused = None;
    let mut deliver = |item: Item| match take(item) {
        Ok(()) => true,
        Err(error) => {
            refused = Some(error);
            false
        }
    };
    let mut sink = Sink::new(limits, &mut deliver);
    let end = packed::open(&mut reader, format, &mut sink);
    let (member, summary) = (sink.member.take(), std::mem::take(&mut sink.summary));
    match end {
        Ok(()) => Ok(summary),
        Err(Stop::File(fault, line)) => Err(Stopped::File(fault.at(member, None, line))),
        Err(Stop::Caller) => match refused {
            Some(error) => Err(Stopped::Caller(error)),
            None => Ok(summary),
        },
    }
}
