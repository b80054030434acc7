//! How long a search takes, and what the index costs, at the size of the ontology.

use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::engines::{Engine, Engines};
use crate::gene_ontology::{Known, Term, queries};
use crate::{MiniLm, Result};

/// Queries that are timed, spread over the hard ones and over the rest.
const QUERIES: usize = 1000;
/// Queries before the clock starts.
const WARM_UP: usize = 50;
/// Hits of a page, as the site shows them.
const PAGE: usize = 20;
/// Texts whose encoding is timed.
const TEXTS: usize = 1000;

pub(crate) async fn measure(engines: &Engines, terms: &[Term], encoder: &MiniLm) -> Result<Value> {
    let (hard, rest) = queries(terms);
    let spread = |list: Vec<Known>| -> Vec<String> {
        let step = (list.len() / (QUERIES / 2)).max(1);
        list.into_iter().step_by(step).take(QUERIES / 2).map(|known| known.text).collect()
    };
    let (hard, rest) = (spread(hard), spread(rest));
    let mixed: Vec<String> = hard.into_iter().zip(rest).flat_map(|(a, b)| [a, b]).collect();
    let mut rows = serde_json::Map::new();
    for engine in Engine::ALL {
        for query in mixed.iter().rev().take(WARM_UP) {
            engines.search(engine, query, PAGE).await?;
        }
        let mut milliseconds = Vec::with_capacity(mixed.len());
        for query in &mixed {
            let begun = Instant::now();
            engines.search(engine, query, PAGE).await?;
            milliseconds.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        rows.insert(engine.name().to_owned(), quantiles(&mut milliseconds));
    }
    let mut milliseconds = Vec::with_capacity(mixed.len());
    for query in &mixed {
        let begun = Instant::now();
        encoder.0.encode(&[query])?;
        milliseconds.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    let texts: Vec<&str> =
        terms.iter().step_by(terms.len() / TEXTS).map(|term| term.definition.as_str()).collect();
    let begun = Instant::now();
    encoder.0.encode(&texts)?;
    let per_second = texts.len() as f64 / begun.elapsed().as_secs_f64();
    let bytes = |name: &str| size(&engines.folder.join(name));
    Ok(json!({
        "built": engines.built,
        "queries": mixed.len(),
        "hits_a_page": PAGE,
        "milliseconds": rows,
        "query_encoding_milliseconds": quantiles(&mut milliseconds),
        "definitions_encoded_per_second": per_second,
        "tokens_a_definition": texts.iter().map(|t| encoder.0.tokens(t).len()).sum::<usize>() as f64 / texts.len() as f64,
        "bytes": { "store": bytes("catalogue.db"), "index": bytes("index"), "fts5": bytes("fts5.db") },
        "memory_bytes": { "now": memory("VmRSS:"), "most": memory("VmHWM:") },
    }))
}

fn quantiles(milliseconds: &mut [f64]) -> Value {
    milliseconds.sort_by(f64::total_cmp);
    let at = |q: f64| milliseconds.get((q * (milliseconds.len() - 1) as f64).round() as usize);
    json!({ "p50": at(0.5), "p95": at(0.95), "p99": at(0.99), "most": at(1.0) })
}

/// Bytes of a file or of all files in a folder.
fn size(path: &Path) -> u64 {
    match std::fs::read_dir(path) {
        Ok(entries) => entries.filter_map(std::result::Result::ok).map(|entry| size(&entry.path())).sum(),
        Err(_) => std::fs::metadata(path).map_or(0, |meta| meta.len()),
    }
}

/// A line of this process's status, in bytes; nothing where there is no such file.
fn memory(line: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|l| l.strip_prefix(line))?;
    kilobytes.split_whitespace().next()?.parse::<u64>().ok().map(|kb| kb * 1024)
}
