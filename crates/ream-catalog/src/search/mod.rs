//! Search: words over a disposable index, meaning over sentence vectors, both fused by reciprocal rank; similar papers.
//!
//! # Queries
//! | written | finds |
//! |---|---|
//! | `draft tokens` | papers that have both words, in any English form, in any field |
//! | `"in-context learning"` | these words side by side, in this order |
//! | `transform*` | words that begin so, as written |
//! | `a OR b`, `NOT a`, `-a`, `(a OR b) c` | boolean; `AND` may be left out and binds before `OR` |
//! | `title:` `abstract:` `author:` `org:` `family:` `topic:` `claim:` `arxiv:` | a field; also `title:(a OR "b c")` |
//! | `year:2024`, `year:2024..`, `year:..2023`, `year:2020..2022` | years, both ends included |
//! | `verdict:confirmed`, `verdict:"not confirmed"`, `verdict:not-confirmed` | papers with a claim of this verdict |
//! | `runs:yes`, `runs:no`, `runs:<2min`, `runs:<=30s`, `runs:1min..1h` | whether it runs here, and how long a full run takes |
//!
//! The bare words of a query are what a search by meaning compares; fields and negations hold there too. A word that no paper has is
//! replaced by the nearest that some have (one edit from four letters on, two from eight), and a query whose words no paper has all of
//! shows papers that have some; [`SearchPage::notes`] says both.
//!
//! # Pages
//! A search works on a snapshot: the index and the vectors as they were at one moment. A cursor names its snapshot, and the snapshot is kept
//! for a minute after its last use, so a walk through the pages shows every hit of its first page's moment exactly once, whatever is
//! written meanwhile. After that, or in another process, the walk goes on behind the last hit's rank and handle in the present index;
//! scores shift a little with what was added, so a hit may then appear twice or not at all, and the notes say so.

mod analysis;
pub(crate) mod collect;
mod compile;
pub(crate) mod cursor;
mod dot;
mod engine;
mod excluded;
pub(crate) mod execute;
pub(crate) mod index;
mod query;
mod queue;
mod schema;
pub(crate) mod similar;
pub(crate) mod snippet;
#[cfg(test)]
mod tests;
mod vectors;

use std::fmt;
use std::str::FromStr;

use crate::store::Stored;

pub use engine::{Engine, EngineHits};
pub use query::{Form, MAX_BYTES, MAX_CLAUSES, MAX_DEPTH, Node, QueryError, TextField, VERDICTS, parse};
pub use schema::Document;
pub(crate) use schema::key;
pub use snippet::Highlighted;
pub use vectors::{Quantised, Vectors};

/// An error of the index, as the catalogue shows it.
#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
pub(crate) fn index_error(error: tantivy::TantivyError) -> crate::Error {
    crate::Error::Index(error.to_string())
}

/// What a search compares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Words.
    Text,
    /// Meaning: sentence vectors.
    Meaning,
    /// Both, fused by reciprocal rank. Without vectors the same as words.
    #[default]
    Fused,
}

impl Mode {
    /// `text`, `meaning`, `fused`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Meaning => "meaning",
            Self::Fused => "fused",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Text, Self::Meaning, Self::Fused]
            .into_iter()
            .find(|mode| mode.name() == text)
            .ok_or_else(|| format!("no search mode `{text}`; modes are text, meaning, fused"))
    }
}

/// A search.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SearchQuery {
    /// The query; see the [module](self). Empty finds every paper.
    pub text: String,
    /// What is compared.
    pub mode: Mode,
    /// Chosen facet values: values of one field are alternatives, different fields are all asked for.
    pub facets: Vec<(String, String)>,
    /// [`SearchPage::next`] of the page before.
    pub after: Option<String>,
    /// Hits of a page, 1..=200; 0 means 20.
    pub limit: usize,
}

/// A page of hits.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchPage {
    /// The hits, best first.
    pub hits: Vec<Hit>,
    /// Where the next page begins.
    pub next: Option<String>,
    /// Hits on all pages. By meaning at most the 1,000 nearest; fused, the hits of the words and the 100 nearest.
    pub total: usize,
    /// Counts over all pages, each facet without its own choice.
    pub facets: Vec<Facet>,
    /// What the reader should know: words replaced, meaning search off, an index that is being built.
    pub notes: Vec<String>,
}

/// A paper that a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// The paper.
    pub paper: Stored,
    /// Score of the words (BM25), of meaning (cosine), or of both (sum of reciprocal ranks).
    pub score: f32,
    /// The title in pieces, never HTML; marked ones are what was found.
    pub title_html: Highlighted,
    /// The part of the abstract that says most, in pieces.
    pub snippet: Highlighted,
    /// Why it is here: where the words are, how near in meaning.
    pub why: String,
}

/// A field with its values among the hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facet {
    /// `family`, `topic`, `verdict`, `organisation`, `year`, `runs`.
    pub field: String,
    /// Values with their counts: years newest first, the rest by count. At most 20, chosen ones always.
    pub values: Vec<(String, u64)>,
}

/// A paper similar to another.
#[derive(Clone, Debug, PartialEq)]
pub struct Similar {
    /// The paper.
    pub paper: Stored,
    /// Sum of reciprocal ranks.
    pub score: f32,
    /// Why, as a sentence.
    pub why: String,
}
