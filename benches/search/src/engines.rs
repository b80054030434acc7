//! The ontology in the catalogue and in FTS5, behind one question: which documents, best first?

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use ream_catalog::{Catalog, Mode, Outcome, Record, SearchQuery, Source, Store};
use serde_json::{Value, json};

use crate::fts::Fts5;
use crate::gene_ontology::{Term, words};
use crate::{MiniLm, Result};

/// Records of one write.
const BATCH: usize = 1000;

/// Who answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    Catalog(Mode),
    Fts5,
}

impl Engine {
    pub(crate) const ALL: [Self; 4] =
        [Self::Catalog(Mode::Text), Self::Catalog(Mode::Meaning), Self::Catalog(Mode::Fused), Self::Fts5];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Catalog(mode) => mode.name(),
            Self::Fts5 => "sqlite-fts5",
        }
    }
}

/// The same documents in the catalogue and in FTS5.
pub(crate) struct Engines {
    pub(crate) folder: PathBuf,
    pub(crate) catalog: Catalog,
    fts: Fts5,
    /// Document of each handle: the first term with its title.
    documents: HashMap<String, usize>,
    /// The document that each term became: terms whose names differ in nothing but punctuation are one paper.
    pub(crate) of_term: Vec<usize>,
    /// What building took.
    pub(crate) built: Value,
}

impl Engines {
    pub(crate) async fn open(terms: &[Term], encoder: Arc<MiniLm>, work: &Path) -> Result<Self> {
        let folder = work.join("gene-ontology");
        std::fs::create_dir_all(&folder)?;
        let store = Store::open(&format!("sqlite:{}", folder.join("catalogue.db").display())).await?;
        let begun = Instant::now();
        let (handles, added) = import(&store, terms).await?;
        let import_seconds = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        let catalog = Catalog::open(store, &folder.join("index"), Some(encoder)).await?;
        catalog.refresh().await?;
        let index_seconds = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        let mut progress = |done: usize, total: usize| {
            if done.is_multiple_of(64 * 32) {
                eprintln!("{done} of {total} embedded, {:.0} s", begun.elapsed().as_secs_f64());
            }
        };
        let embedded = catalog.embed_missing(&mut progress).await?;
        let embed_seconds = begun.elapsed().as_secs_f64();
        let begun = Instant::now();
        let texts = terms.iter().map(|term| (term.name.as_str(), term.definition.as_str()));
        let fts = Fts5::build(&folder.join("fts5.db"), texts).await?;
        let built = json!({
            "terms": terms.len(),
            "papers_added_now": added,
            "import_seconds": import_seconds,
            "index_seconds": index_seconds,
            "embedded_now": embedded,
            "embed_seconds": embed_seconds,
            "fts5_seconds": begun.elapsed().as_secs_f64(),
        });
        let mut documents = HashMap::new();
        let of_term: Vec<usize> = handles
            .iter()
            .enumerate()
            .map(|(i, handle)| *documents.entry(handle.clone()).or_insert(i))
            .collect();
        Ok(Self { folder, catalog, fts, documents, of_term, built })
    }

    /// The best documents for a query of words, best first. FTS5 finds any of the words; the catalogue reads the query as a user's.
    pub(crate) async fn search(&self, engine: Engine, text: &str, limit: usize) -> Result<Vec<usize>> {
        match engine {
            Engine::Fts5 => {
                let found = self.fts.search(&words(text), limit).await?;
                Ok(found.into_iter().map(|(row, _)| self.of_term[row]).collect())
            }
            Engine::Catalog(mode) => {
                let query = SearchQuery { text: text.to_owned(), mode, limit, ..SearchQuery::default() };
                let page = self.catalog.search(&query).await?;
                Ok(page
                    .hits
                    .iter()
                    .filter_map(|hit| self.documents.get(&hit.paper.handle).copied())
                    .collect())
            }
        }
    }
}

/// Terms as papers; the handle of each, and how many were new.
async fn import(store: &Store, terms: &[Term]) -> Result<(Vec<String>, usize)> {
    let source = Source { kind: "obo".into(), name: "gene-ontology".into() };
    let (mut handles, mut added) = (Vec::with_capacity(terms.len()), 0);
    for batch in terms.chunks(BATCH) {
        let record = |term: &Term| Record {
            title: term.name.clone(),
            summary: Some(term.definition.clone()),
            ..Record::default()
        };
        let records: Vec<Record> = batch.iter().map(record).collect();
        for upsert in store.upsert(&records, &source).await? {
            added += usize::from(upsert.outcome == Outcome::Added);
            handles.push(upsert.handle);
        }
    }
    Ok((handles, added))
}
