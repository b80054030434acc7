//! Fields of the index, and how a paper becomes a document.
//!
//! Titles, abstracts and claims are there twice: stemmed with positions, for words and phrases, and as written (folded, without positions)
//! for prefixes and for the vocabulary that mistyped words are held against. Nothing is stored: a hit is a handle, and the store has
//! the paper.

use sha2::{Digest, Sha256};
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, STRING, Schema, TextFieldIndexing, TextOptions,
};
use tantivy::{TantivyDocument, Term};

use super::analysis::{FOLDED, STEMMED, fold};
use super::query::TextField;

/// Version of the index: any change of fields, analysis or meaning of the payload raises it, and the index is made anew.
pub(crate) const VERSION: u32 = 1;

/// Names of the fast fields that the collector reads.
pub(crate) mod name {
    pub(crate) const KEY: &str = "key";
    pub(crate) const HANDLE: &str = "handle";
    pub(crate) const FAMILY: &str = "family";
    pub(crate) const TOPIC: &str = "topic";
    pub(crate) const ORGANISATION: &str = "organisation";
    pub(crate) const VERDICT: &str = "verdict";
    pub(crate) const YEAR: &str = "year";
    pub(crate) const RUNS: &str = "runs";
}

/// What the index holds of a paper.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Document {
    /// Handle.
    pub handle: String,
    /// Title.
    pub title: String,
    /// Abstract, and our own line and summary where there are some.
    pub texts: Vec<String>,
    /// Names of authors.
    pub authors: Vec<String>,
    /// Organisations and affiliations.
    pub organisations: Vec<String>,
    /// Family of the edition.
    pub family: Option<String>,
    /// Subject words.
    pub topics: Vec<String>,
    /// Statements of claims.
    pub claims: Vec<String>,
    /// Verdicts of claims.
    pub verdicts: Vec<String>,
    /// Year.
    pub year: Option<u16>,
    /// Whether it runs here.
    pub runs: bool,
    /// Minutes of a full run.
    pub minutes: Option<f64>,
    /// arXiv number.
    pub arxiv: Option<String>,
}

/// A paper's number in the index and among the vectors: the first 64 bits of the SHA-256 of its handle.
pub(crate) fn key(handle: &str) -> u64 {
    let digest = Sha256::digest(handle.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(first)
}

/// The fields, by purpose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields {
    pub(crate) key: Field,
    handle: Field,
    title: Field,
    title_words: Field,
    text: Field,
    text_words: Field,
    claims: Field,
    claims_words: Field,
    authors: Field,
    pub(crate) author_names: Field,
    organisations: Field,
    pub(crate) family: Field,
    pub(crate) topics: Field,
    pub(crate) verdicts: Field,
    pub(crate) year: Field,
    pub(crate) runs: Field,
    pub(crate) minutes: Field,
    arxiv: Field,
}

/// One indexed field that a query's text is looked for in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// Words and phrases.
    pub(crate) field: Field,
    /// Prefixes and vocabulary.
    pub(crate) written: Field,
    /// Whether `field` is stemmed.
    pub(crate) stemmed: bool,
    /// Weight among the fields.
    pub(crate) boost: f32,
}

fn text_options(analyzer: &str, record: IndexRecordOption, norms: bool) -> TextOptions {
    TextOptions::default().set_indexing_options(
        TextFieldIndexing::default().set_tokenizer(analyzer).set_index_option(record).set_fieldnorms(norms),
    )
}

impl Fields {
    /// The schema and its fields.
    pub(crate) fn schema() -> (Schema, Self) {
        let mut builder = Schema::builder();
        let stemmed = || text_options(STEMMED, IndexRecordOption::WithFreqsAndPositions, true);
        let folded = || text_options(FOLDED, IndexRecordOption::WithFreqsAndPositions, true);
        let written = || text_options(FOLDED, IndexRecordOption::Basic, false);
        let fields = Self {
            key: builder.add_u64_field(name::KEY, INDEXED | FAST),
            handle: builder.add_text_field(name::HANDLE, STRING | FAST),
            title: builder.add_text_field("title", stemmed()),
            title_words: builder.add_text_field("title_words", written()),
            text: builder.add_text_field("text", stemmed()),
            text_words: builder.add_text_field("text_words", written()),
            claims: builder.add_text_field("claims", stemmed()),
            claims_words: builder.add_text_field("claims_words", written()),
            authors: builder.add_text_field("authors", folded()),
            author_names: builder.add_text_field("author_names", STRING),
            organisations: builder.add_text_field(name::ORGANISATION, folded().set_fast("raw")),
            family: builder.add_text_field(name::FAMILY, folded().set_fast("raw")),
            topics: builder.add_text_field(name::TOPIC, folded().set_fast("raw")),
            verdicts: builder.add_text_field(name::VERDICT, STRING | FAST),
            year: builder.add_u64_field(name::YEAR, INDEXED | FAST),
            runs: builder.add_text_field(name::RUNS, STRING | FAST),
            minutes: builder.add_f64_field("minutes", INDEXED | FAST),
            arxiv: builder.add_text_field("arxiv", folded()),
        };
        (builder.build(), fields)
    }

    /// The term that finds the paper of a handle.
    pub(crate) fn key_term(&self, handle: &str) -> Term {
        Term::from_field_u64(self.key, key(handle))
    }

    /// Where text is looked for. The weights are ours, fixed before any measurement: a title says most, names and subjects more than a
    /// word of running text.
    pub(crate) fn targets(&self, field: TextField) -> Vec<Target> {
        let stemmed = |field, written, boost| Target { field, written, stemmed: true, boost };
        let folded = |field, boost| Target { field, written: field, stemmed: false, boost };
        let title = stemmed(self.title, self.title_words, 2.5);
        let text = stemmed(self.text, self.text_words, 1.0);
        let claims = stemmed(self.claims, self.claims_words, 0.7);
        let authors = folded(self.authors, 1.5);
        let organisations = folded(self.organisations, 1.0);
        let family = folded(self.family, 1.0);
        let topics = folded(self.topics, 1.5);
        let arxiv = folded(self.arxiv, 1.0);
        match field {
            TextField::Any => vec![title, text, claims, authors, organisations, family, topics, arxiv],
            TextField::Title => vec![title],
            TextField::Abstract => vec![text],
            TextField::Author => vec![authors],
            TextField::Organisation => vec![organisations],
            TextField::Family => vec![family],
            TextField::Topic => vec![topics],
            TextField::Claim => vec![claims],
            TextField::Arxiv => vec![arxiv],
        }
    }

    /// The document of a paper.
    pub(crate) fn document(&self, paper: &Document) -> TantivyDocument {
        let mut document = TantivyDocument::default();
        document.add_u64(self.key, key(&paper.handle));
        document.add_text(self.handle, &paper.handle);
        let mut both = |field, written, text: &str| {
            document.add_text(field, text);
            document.add_text(written, text);
        };
        both(self.title, self.title_words, &paper.title);
        paper.texts.iter().for_each(|text| both(self.text, self.text_words, text));
        paper.claims.iter().for_each(|text| both(self.claims, self.claims_words, text));
        for author in &paper.authors {
            document.add_text(self.authors, author);
            document.add_text(self.author_names, fold(author));
        }
        let each = [
            (self.organisations, &paper.organisations),
            (self.topics, &paper.topics),
            (self.verdicts, &paper.verdicts),
        ];
        for (field, values) in each {
            values.iter().for_each(|value| document.add_text(field, value));
        }
        for (field, value) in [(self.family, &paper.family), (self.arxiv, &paper.arxiv)] {
            if let Some(value) = value {
                document.add_text(field, value);
            }
        }
        if let Some(year) = paper.year {
            document.add_u64(self.year, u64::from(year));
        }
        document.add_text(self.runs, if paper.runs { "yes" } else { "no" });
        if let Some(minutes) = paper.minutes.filter(|minutes| minutes.is_finite()) {
            document.add_f64(self.minutes, minutes);
        }
        document
    }
}
