//! What a paper's last full run measured of its systems and baselines, side by side: one column for each measure that asks for it.

use ream_lab::report::text::figure_words;
use ream_lab::{Entry, Results};
use ream_paper::Measure;

use crate::address::segment;

/// The bench table of one paper.
pub(super) struct SideBySide {
    pub(super) slug: String,
    pub(super) href: String,
    /// Heading and what it means.
    pub(super) columns: Vec<(String, String)>,
    pub(super) rows: Vec<(String, Vec<String>)>,
    /// Date and machine of the run.
    pub(super) run: String,
}

impl SideBySide {
    /// Of a paper whose measures name columns and whose full run is published.
    pub(super) fn new(entry: &Entry) -> Option<Self> {
        let columns: Vec<&Measure> = entry.paper.measures.iter().filter(|m| !m.bench.is_empty()).collect();
        let results = entry.results().ok().flatten().filter(|_| !columns.is_empty())?;
        let rows: Vec<(String, Vec<String>)> = arms(&results, &columns)
            .into_iter()
            .map(|arm| {
                let cells = columns.iter().map(|m| figure_words(mean(&results, &m.id, &arm), None)).collect();
                (arm, cells)
            })
            .collect();
        Some(Self {
            slug: entry.paper.slug.clone(),
            href: format!("/papers/{}", segment(&entry.paper.slug)),
            columns: columns.into_iter().map(|m| (m.bench.clone(), m.text.clone())).collect(),
            rows,
            run: format!("{}, {}", results.date, results.machine.cpu),
        })
    }
}

/// Systems and baselines that a column has, in the order in which they were observed.
fn arms(results: &Results, columns: &[&Measure]) -> Vec<String> {
    let mut arms: Vec<String> = Vec::new();
    for seen in results.observations.iter().flat_map(|seed| &seed.observations) {
        if columns.iter().any(|m| m.id == seen.measure) && !arms.contains(&seen.arm) {
            arms.push(seen.arm.clone());
        }
    }
    arms
}

/// Mean over seeds and places.
fn mean(results: &Results, measure: &str, arm: &str) -> Option<f64> {
    let seen = results.observations.iter().flat_map(|seed| &seed.observations);
    let values: Vec<f64> = seen.filter(|o| o.measure == measure && o.arm == arm).map(|o| o.value).collect();
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}
