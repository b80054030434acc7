//! Measures the catalogue's search on real data, beside SQLite's FTS5 on the same documents: `cargo xtask bench search` runs it.
//!
//! `bench-search quality|time WORK_FOLDER` prints one JSON object. The data sets `gene-ontology`, `lee` and `minilm` must be fetched. The
//! catalogue of the ontology stays in the work folder, so a second measurement does not embed it again.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints")]

mod engines;
mod fts;
mod gene_ontology;
mod lee;
mod quality;
mod time;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ream_catalog::Embedder;
use ream_lm::SentenceEncoder;
use serde_json::json;

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The sentence encoder as the catalogue takes it.
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

/// Fetched data: under `$REAM_HOME`, else `.ream` in the user's home.
fn data() -> ream_data::Store {
    let home = std::env::var_os("REAM_HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    let home = home.unwrap_or_else(|| std::env::home_dir().unwrap_or_default().join(".ream"));
    ream_data::Store::open(home.join("data"))
}

#[tokio::main]
async fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [what, work] = args.as_slice() else {
        return Err("wanted: quality|time WORK_FOLDER".into());
    };
    let data = data();
    let encoder = Arc::new(MiniLm(SentenceEncoder::open(&data.path("minilm")?)?));
    let terms = gene_ontology::terms(&std::fs::read_to_string(data.path("gene-ontology")?)?)?;
    let report = match what.as_str() {
        "quality" => {
            let lee = lee::measure(&lee::Lee::open(&data.path("lee")?)?, &encoder, Path::new(work)).await?;
            let engines = engines::Engines::open(&terms, encoder, Path::new(work)).await?;
            json!({ "lee": lee, "gene_ontology": quality::measure(&engines, &terms).await? })
        }
        "time" => {
            let engines = engines::Engines::open(&terms, Arc::clone(&encoder), Path::new(work)).await?;
            time::measure(&engines, &terms, &encoder).await?
        }
        other => return Err(format!("no measurement `{other}`; they are quality and time").into()),
    };
    println!("{report}");
    Ok(())
}
