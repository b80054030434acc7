//! Commands on the collection of papers: import, export, search, serve.

mod export;
mod import;
mod search;
mod serve;

use std::path::PathBuf;
use std::sync::Arc;

use ream_catalog::{Catalog, Embedder, Store};
use ream_lab::{Error, Result};
use ream_lm::sentence::SentenceEncoder;

use crate::commands::{Context, data};

pub(crate) use export::run as export;
pub(crate) use import::run as import;
pub(crate) use search::run as search;
pub(crate) use serve::run as serve;

/// The sentence encoder of meaning search.
struct MiniLm(SentenceEncoder);

impl Embedder for MiniLm {
    fn name(&self) -> &str {
        "all-MiniLM-L6-v2"
    }

    fn dimensions(&self) -> usize {
        self.0.dimensions()
    }

    fn embed(&self, texts: &[&str]) -> std::result::Result<Vec<Vec<f32>>, String> {
        self.0.encode(texts).map_err(|e| e.to_string())
    }
}

/// The sentence encoder, where its weights have been fetched.
fn embedder() -> Result<Option<Arc<dyn Embedder>>> {
    let Ok(folder) = data::store().path("minilm") else { return Ok(None) };
    let encoder = SentenceEncoder::open(&folder).map_err(|e| Error::Data(e.to_string()))?;
    Ok(Some(Arc::new(MiniLm(encoder))))
}

/// Where the collection is: `$REAM_DATABASE_URL`, else a file in ream's home.
fn database() -> Result<String> {
    if let Ok(url) = std::env::var("REAM_DATABASE_URL")
        && !url.trim().is_empty()
    {
        return Ok(url);
    }
    let folder = folder();
    std::fs::create_dir_all(&folder)
        .map_err(|e| Error::Input(format!("cannot create {}: {e}", folder.display())))?;
    Ok(format!("sqlite:{}", folder.join("papers.db").display()))
}

/// Where the collection's own files are.
fn folder() -> PathBuf {
    ream_lab::home().join("catalogue")
}

/// Opens the collection and brings the edition in it up to date with this program.
async fn open(context: &Context) -> Result<Catalog> {
    let store = Store::open(&database()?).await.map_err(failed)?;
    let papers = ream_web::edition_papers(&context.edition, &context.runs);
    store.set_edition(&papers).await.map_err(failed)?;
    let catalog = Catalog::open(store, &folder().join("index"), embedder()?).await.map_err(failed)?;
    Ok(catalog)
}

/// What the catalogue says went wrong, sorted as the command line sorts it.
fn failed(error: ream_catalog::Error) -> Error {
    use ream_catalog::Error as E;
    match error {
        E::Query { .. } | E::Cursor(_) | E::NotFound(_) | E::Address { .. } | E::Newer { .. } => {
            Error::Input(error.to_string())
        }
        other => Error::Failed(other.to_string()),
    }
}

/// The same for a search, with the place in the query marked.
fn query_failed(query: &str, error: ream_catalog::Error) -> Error {
    let Some(at) = error.position() else { return failed(error) };
    let before = query.get(..at).unwrap_or(query).chars().count();
    Error::Input(format!("{error}\n  {query}\n  {}^", " ".repeat(before)))
}

/// Runs a command's asynchronous part.
fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::Failed(format!("cannot start threads: {e}")))?;
    runtime.block_on(work)
}
