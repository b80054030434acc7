//! Writing lists for other programs, record by record.
//!
//! Every format has its importer in [`crate::import`], and import after export gives the record back. Standard fields
//! carry what they can; what would come back otherwise goes into a field of ours (`import/remainder.rs`).

mod atom;
mod bibtex;
mod csl;
mod csv;
mod feed;
mod key;
mod ris;
mod time;

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

use serde_json::{Map, Value};

use crate::edition::EditionFacts;
use crate::import::{Fault, Format, Read, clean, difference};
use crate::record::Record;
use key::Keys;

/// What a list can be written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Export {
    /// BibTeX, readable by biblatex too.
    BibTex,
    /// RIS.
    Ris,
    /// CSL-JSON.
    CslJson,
    /// Our own: one [`Record`] a line.
    Jsonl,
    /// A table for spreadsheets.
    Csv,
    /// Atom.
    Atom,
    /// JSON Feed 1.1.
    JsonFeed,
}

impl Export {
    /// Every format, in the order in which pages list them.
    pub const ALL: [Self; 7] =
        [Self::BibTex, Self::Ris, Self::CslJson, Self::Jsonl, Self::Csv, Self::Atom, Self::JsonFeed];

    /// The name that a person reads.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::BibTex => "BibTeX",
            Self::Ris => "RIS",
            Self::CslJson => "CSL-JSON",
            Self::Jsonl => "JSONL",
            Self::Csv => "CSV",
            Self::Atom => "Atom",
            Self::JsonFeed => "JSON Feed",
        }
    }

    /// The ending of its address and file, unique among the formats.
    #[must_use]
    pub fn extension(self) -> &'static str {
        match self {
            Self::BibTex => "bib",
            Self::Ris => "ris",
            Self::CslJson => "csl.json",
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Atom => "atom",
            Self::JsonFeed => "json",
        }
    }

    /// The value of `Content-Type`.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        match self {
            Self::BibTex => "application/x-bibtex; charset=utf-8",
            Self::Ris => "application/x-research-info-systems; charset=utf-8",
            Self::CslJson => "application/vnd.citationstyles.csl+json",
            Self::Jsonl => "application/x-ndjson",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Atom => "application/atom+xml; charset=utf-8",
            Self::JsonFeed => "application/feed+json",
        }
    }

    /// The format of an ending, without a dot before it.
    #[must_use]
    pub fn from_extension(extension: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|export| export.extension() == extension)
    }

    /// The format that reads it back.
    #[must_use]
    pub fn format(self) -> Format {
        match self {
            Self::BibTex => Format::BibTex,
            Self::Ris => Format::Ris,
            Self::CslJson => Format::CslJson,
            Self::Jsonl => Format::Jsonl,
            Self::Csv => Format::Csv,
            Self::Atom => Format::ArxivAtom,
            Self::JsonFeed => Format::JsonFeed,
        }
    }
}

impl fmt::Display for Export {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a feed says of itself; the other formats have no place for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedHead {
    /// Title of the list.
    pub title: String,
    /// The page that shows the list.
    pub home: Option<String>,
    /// The address of the feed itself.
    pub address: Option<String>,
    /// When the list last changed, in seconds since 1970.
    pub updated: i64,
}

/// A record to write, and what is known of it besides.
#[derive(Clone, Copy, Debug)]
pub struct Exported<'a> {
    /// The record.
    pub record: &'a Record,
    /// The paper's handle in the catalogue.
    pub handle: &'a str,
    /// The address of its page.
    pub page: Option<&'a str>,
    /// When it came into the catalogue, in seconds since 1970.
    pub added: Option<i64>,
    /// What ream adds to a paper of its edition.
    pub edition: Option<&'a EditionFacts>,
}

impl<'a> Exported<'a> {
    /// A record with nothing known besides.
    #[must_use]
    pub fn new(record: &'a Record, handle: &'a str) -> Self {
        Self { record, handle, page: None, added: None, edition: None }
    }
}

/// Writes a list, record by record.
///
/// ```
/// use ream_catalog::Record;
/// use ream_catalog::export::{Export, Exported, Exporter, FeedHead};
///
/// let record = Record { title: "50% of R&D".into(), arxiv: Some("2401.00001".into()), ..Record::default() };
/// let mut exporter = Exporter::new(Export::BibTex, Vec::new(), &FeedHead::default())?;
/// exporter.write(&Exported::new(&record, "2401.00001"))?;
/// let file = String::from_utf8(exporter.finish()?).unwrap();
/// assert!(file.contains("title = {{50\\% of R\\&D}},"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Exporter<W: Write> {
    export: Export,
    out: W,
    head: FeedHead,
    first: bool,
    keys: Keys,
}

impl<W: Write> Exporter<W> {
    /// Begins a list. `out` is written to in small pieces and should be buffered.
    ///
    /// # Errors
    /// What `out` says.
    pub fn new(export: Export, mut out: W, head: &FeedHead) -> io::Result<Self> {
        match export {
            Export::BibTex | Export::Ris | Export::Jsonl => {}
            Export::CslJson => out.write_all(b"[")?,
            Export::Csv => csv::header(&mut out)?,
            Export::Atom => atom::begin(&mut out, head)?,
            Export::JsonFeed => feed::begin(&mut out, head)?,
        }
        Ok(Self { export, out, head: head.clone(), first: true, keys: Keys::default() })
    }

    /// Writes one record.
    ///
    /// # Errors
    /// What the writer says.
    pub fn write(&mut self, exported: &Exported<'_>) -> io::Result<()> {
        let mut record = Cow::Borrowed(exported.record);
        clean(record.to_mut());
        let exported = Exported { record: &record, ..*exported };
        let first = std::mem::take(&mut self.first);
        let out = &mut self.out;
        match self.export {
            Export::BibTex => bibtex::write(out, &record, &self.keys.next(&record)),
            Export::Ris => ris::write(out, &record, exported.handle),
            Export::CslJson => {
                out.write_all(if first { b"\n" } else { b",\n" })?;
                serde_json::to_writer(out, &csl::item(&exported)).map_err(io::Error::from)
            }
            Export::Jsonl => {
                serde_json::to_writer(&mut *out, &*record)?;
                out.write_all(b"\n")
            }
            Export::Csv => csv::write(out, &exported),
            Export::Atom => atom::write(out, &exported, &self.head),
            Export::JsonFeed => {
                out.write_all(if first { b"\n" } else { b",\n" })?;
                serde_json::to_writer(out, &feed::item(&exported)).map_err(io::Error::from)
            }
        }
    }

    /// Ends the list and gives the writer back.
    ///
    /// # Errors
    /// What the writer says.
    pub fn finish(mut self) -> io::Result<W> {
        match self.export {
            Export::BibTex | Export::Ris | Export::Jsonl | Export::Csv => {}
            Export::CslJson => self.out.write_all(b"\n]\n")?,
            Export::Atom => self.out.write_all(b"</feed>\n")?,
            Export::JsonFeed => self.out.write_all(b"\n]}\n")?,
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

/// The facts that do not come back from what was written.
fn remainder(record: &Record, read: Result<Read, Fault>) -> Map<String, Value> {
    let mut read = read.map(|(record, _)| record).unwrap_or_default();
    clean(&mut read);
    difference(record, &read)
}

/// The arXiv page of a record.
fn arxiv_page(record: &Record) -> Option<String> {
    record.arxiv.as_ref().map(|number| format!("https://arxiv.org/abs/{number}"))
}

/// What kind of publication a record is, as far as its facts say.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Journal,
    Conference,
    Preprint,
}

fn kind(record: &Record) -> Kind {
    const MEETINGS: [&str; 22] = [
        "proc",
        "conference",
        "workshop",
        "symposium",
        "neurips",
        "nips",
        "icml",
        "iclr",
        "cvpr",
        "iccv",
        "eccv",
        "acl",
        "emnlp",
        "naacl",
        "aaai",
        "ijcai",
        "aistats",
        "uai",
        "kdd",
        "colt",
        "corl",
        "interspeech",
    ];
    let Some(venue) = record.venue.as_ref().map(|venue| venue.to_lowercase()) else { return Kind::Preprint };
    let meeting = venue.split(|c: char| !c.is_alphanumeric()).any(|word| MEETINGS.contains(&word));
    if meeting || venue.contains("proceedings") || venue.contains("advances in neural") {
        Kind::Conference
    } else {
        Kind::Journal
    }
}
