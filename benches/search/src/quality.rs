//! Does the right term come first when it is asked for by another name?

use serde_json::{Value, json};

use crate::Result;
use crate::engines::{Engine, Engines};
use crate::gene_ontology::{Known, Term, queries};

/// Hits that are looked at.
const DEPTH: usize = 10;
/// Of the queries that are not hard, every so many-th is asked.
const SAMPLE: usize = 30;

/// Reciprocal ranks of the right answers within [`DEPTH`], 0 where it is not among them.
struct Ranks(Vec<f64>);

impl Ranks {
    fn recall(&self, depth: usize) -> f64 {
        let found = self.0.iter().filter(|rank| **rank * depth as f64 > 1.0 - 1e-9).count();
        found as f64 / self.0.len().max(1) as f64
    }

    fn summary(&self, beside: &Self) -> Value {
        let (mrr, se) = mean(&self.0);
        let differences: Vec<f64> = self.0.iter().zip(&beside.0).map(|(a, b)| a - b).collect();
        let (over, over_se) = mean(&differences);
        json!({
            "recall_at_1": self.recall(1),
            "recall_at_10": self.recall(10),
            "mrr_at_10": mrr,
            "mrr_se": se,
            "mrr_over_fts5": over,
            "mrr_over_fts5_se": over_se,
        })
    }
}

/// Mean and its standard error.
fn mean(values: &[f64]) -> (f64, f64) {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / (n - 1.0).max(1.0);
    (mean, (variance / n).sqrt())
}

pub(crate) async fn measure(engines: &Engines, terms: &[Term]) -> Result<Value> {
    let (hard, rest) = queries(terms);
    let rest_count = rest.len();
    let sample: Vec<Known> = rest.into_iter().step_by(SAMPLE).collect();
    Ok(json!({
        "built": engines.built,
        "documents": engines.of_term.iter().enumerate().filter(|(i, of)| i == *of).count(),
        "rule": "exact synonyms of one term only; words are runs of letters and digits; hard: fewer than half of the distinct words are \
                 in the term's name or definition",
        "depth": DEPTH,
        "hard_queries": hard.len(),
        "other_queries": rest_count,
        "hard": ask(engines, &hard).await?,
        "others_sampled": sample.len(),
        "others": ask(engines, &sample).await?,
    }))
}

/// All queries to all engines.
async fn ask(engines: &Engines, queries: &[Known]) -> Result<Value> {
    let mut all = Vec::new();
    for engine in Engine::ALL {
        let mut ranks = Vec::with_capacity(queries.len());
        for query in queries {
            let found = engines.search(engine, &query.text, DEPTH).await?;
            let answer = engines.of_term[query.term];
            let place = found.iter().position(|document| *document == answer);
            ranks.push(place.map_or(0.0, |place| 1.0 / (place + 1) as f64));
        }
        eprintln!("{}: {} queries", engine.name(), queries.len());
        all.push((engine, Ranks(ranks)));
    }
    let beside = all.iter().find(|(engine, _)| *engine == Engine::Fts5).map(|(_, ranks)| ranks);
    let rows =
        all.iter().filter_map(|(engine, ranks)| Some((engine.name().to_owned(), ranks.summary(beside?))));
    Ok(Value::Object(rows.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recall_counts_answers_up_to_a_rank() {
        let ranks = Ranks(vec![1.0, 0.5, 0.1, 0.0]);
        assert_eq!((ranks.recall(1), ranks.recall(2), ranks.recall(10)), (0.25, 0.5, 0.75));
        let summary = ranks.summary(&Ranks(vec![1.0, 0.0, 0.1, 0.0]));
        assert!((summary["mrr_at_10"].as_f64().unwrap() - 0.4).abs() < 1e-12);
        assert!((summary["mrr_over_fts5"].as_f64().unwrap() - 0.125).abs() < 1e-12);
    }
}
