//! Bibles as modules of the SWORD project: compressed texts (`zText`) with OSIS markup.
//!
//! A module has three files for each testament (`ot`, `nt`). `.bzv` holds one entry of 10 bytes for each place of the
//! module's versification (u32 block, u32 start, u16 length); `.bzs` one of 12 bytes for each block (u32 offset, u32 packed
//! size, u32 size); `.bzz` the blocks, zlib streams. Numbers are little-endian. The entries are, in this order: heading of the
//! module, heading of the testament, then for each book its heading, and for each chapter its heading and its verses. Where a
//! book or a chapter begins is read from the markup of its heading.
//!
//! Of the markup, `<note>` and `<title>` go with what they hold, other tags go alone; white space is collapsed. The sign of a
//! paragraph (`¶`) goes too. A note between two words leaves a space, which some modules forget.
//!
//! Format: the SWORD project's `zverse` and `rawverse` drivers; markup: OSIS 2.1.1.

mod canon;
mod markup;
mod module;

use std::path::Path;

use crate::error::DataError;

pub use canon::CANON;

/// A Bible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bible {
    /// Its books in the order of the module.
    pub books: Vec<Book>,
}

/// A book of a Bible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Book {
    /// OSIS name: `Gen`, `1Sam`, `Matt`.
    pub id: String,
    /// Name in the module's language: `Genesis`, `San Mateo`.
    pub name: String,
    /// Chapter `c`, verse `v`, both from 1, is `chapters[c - 1][v - 1]`. A verse that this translation does not have is
    /// empty, so that verses of modules with the same versification correspond by index.
    pub chapters: Vec<Vec<String>>,
}

/// Where a verse stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// OSIS name of the book.
    pub book: &'a str,
    /// Chapter, from 1.
    pub chapter: usize,
    /// Verse, from 1.
    pub verse: usize,
}

/// A verse in two translations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'a> {
    /// Where it stands.
    pub place: Place<'a>,
    /// The verse of the first Bible.
    pub left: &'a str,
    /// The verse of the second Bible.
    pub right: &'a str,
}

impl Bible {
    /// Reads the module in a folder: `ot.bzs`, `ot.bzv`, `ot.bzz`, `nt.bzs`, `nt.bzv`, `nt.bzz`.
    ///
    /// # Errors
    /// A file is missing, truncated or damaged, points outside another one, unpacks into more than a Bible holds, or its
    /// books and chapters are out of order.
    pub fn open(folder: &Path) -> Result<Self, DataError> {
        let mut books = Vec::new();
        for testament in ["ot", "nt"] {
            module::read(folder, testament, &mut books)?;
        }
        Ok(Self { books })
    }

    /// The book of that OSIS name.
    #[must_use]
    pub fn book(&self, id: &str) -> Option<&Book> {
        self.books.iter().find(|book| book.id == id)
    }

    /// Only the 66 books that all editions share ([`CANON`]), without those that stand in some Bibles (Tobit, Maccabees).
    #[must_use]
    pub fn canonical(mut self) -> Self {
        self.books.retain(|book| canon::name(&book.id).is_some());
        self
    }

    /// Every chapter in order: its book, its number from 1, its verses.
    pub fn chapters(&self) -> impl Iterator<Item = (&Book, usize, &[String])> {
        self.books.iter().flat_map(|book| {
            book.chapters.iter().enumerate().map(move |(i, verses)| (book, i + 1, verses.as_slice()))
        })
    }

    /// Every verse that is not empty, in order.
    pub fn verses(&self) -> impl Iterator<Item = (Place<'_>, &str)> {
        self.chapters().flat_map(|(book, chapter, verses)| {
            verses
                .iter()
                .enumerate()
                .filter(|(_, text)| !text.is_empty())
                .map(move |(i, text)| (Place { book: &book.id, chapter, verse: i + 1 }, text.as_str()))
        })
    }

    /// The verses that both Bibles have, by place.
    ///
    /// # Errors
    /// The Bibles do not count books, chapters and verses alike: the same place would not be the same verse.
    pub fn pairs<'a>(&'a self, other: &'a Self) -> Result<Vec<Pair<'a>>, DataError> {
        let mut right = other.chapters();
        let mut pairs = Vec::new();
        for (book, chapter, verses) in self.chapters() {
            let partner =
                right.next().filter(|(b, c, v)| b.id == book.id && *c == chapter && v.len() == verses.len());
            let Some((_, _, others)) = partner else {
                return Err(unlike(&book.id, chapter));
            };
            for (i, (left, right)) in verses.iter().zip(others).enumerate() {
                if !left.is_empty() && !right.is_empty() {
                    pairs.push(Pair { place: Place { book: &book.id, chapter, verse: i + 1 }, left, right });
                }
            }
        }
        match right.next() {
            Some((book, chapter, _)) => Err(unlike(&book.id, chapter)),
            None => Ok(pairs),
        }
    }
}

fn unlike(book: &str, chapter: usize) -> DataError {
    DataError::Format {
        file: "two Bibles".to_owned(),
        place: format!(", {book} {chapter}"),
        problem: "do not count verses alike; pairs of verses need modules of one versification (`kjv` and `spanish-bible` are)"
            .to_owned(),
    }
}
