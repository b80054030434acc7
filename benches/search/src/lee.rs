//! Lee's news texts: does a similarity agree with people's? (Lee, Pincombe and Welsh, *An empirical evaluation of models of text document
//! similarity*, 2005: 50 texts, every pair judged by 8 to 12 people.)

use std::path::Path;

use ream_catalog::Embedder;
use ream_catalog::search::Quantised;
use serde_json::{Value, json};

use crate::fts::Fts5;
use crate::gene_ontology::words;
use crate::{MiniLm, Result};

/// Texts that people found at least this similar count as found together, for average precision.
const SIMILAR: f64 = 0.5;

/// Texts and what people said of their pairs.
pub(crate) struct Lee {
    texts: Vec<String>,
    /// `[texts][texts]`, 0 to 1, only the upper triangle is read.
    human: Vec<Vec<f64>>,
}

impl Lee {
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let read =
            |name: &str| std::fs::read(folder.join(name)).map(|b| String::from_utf8_lossy(&b).into_owned());
        let texts: Vec<String> = read("lee.cor")?.lines().map(str::to_owned).collect();
        let mut human = Vec::new();
        for (i, line) in read("similarities0-1.txt")?.lines().enumerate() {
            let row: std::result::Result<Vec<f64>, _> = line.split_whitespace().map(str::parse).collect();
            human.push(row.map_err(|e| format!("similarities0-1.txt, line {}: {e}", i + 1))?);
        }
        if human.len() != texts.len() || human.iter().any(|row| row.len() != texts.len()) {
            return Err(format!("lee: {} texts, {} rows of similarities", texts.len(), human.len()).into());
        }
        Ok(Self { texts, human })
    }

    /// Correlation over all pairs, and mean average precision of the similar ones, of a similarity `[texts][texts]`.
    fn judge(&self, similarity: &[Vec<f64>]) -> Value {
        let n = self.texts.len();
        let pairs = || (0..n).flat_map(move |i| (i + 1..n).map(move |j| (i, j)));
        let people: Vec<f64> = pairs().map(|(i, j)| self.human[i][j]).collect();
        let ours: Vec<f64> = pairs().map(|(i, j)| similarity[i][j]).collect();
        json!({ "pearson": pearson(&people, &ours), "mean_average_precision": self.precision(similarity) })
    }

    fn precision(&self, similarity: &[Vec<f64>]) -> f64 {
        let n = self.texts.len();
        let mut all = Vec::new();
        for (i, row) in similarity.iter().enumerate() {
            let mut others: Vec<usize> = (0..n).filter(|j| *j != i).collect();
            others.sort_by(|a, b| row[*b].total_cmp(&row[*a]));
            let good = |j: usize| self.human[i.min(j)][i.max(j)] >= SIMILAR;
            let (mut hits, mut sum) = (0.0, 0.0);
            for (place, j) in others.into_iter().enumerate() {
                if good(j) {
                    hits += 1.0;
                    sum += hits / (place + 1) as f64;
                }
            }
            if hits > 0.0 {
                all.push(sum / hits);
            }
        }
        all.iter().sum::<f64>() / all.len().max(1) as f64
    }
}

fn pearson(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len().max(1) as f64;
    let (ma, mb) = (a.iter().sum::<f64>() / n, b.iter().sum::<f64>() / n);
    let sum = |x: &[f64], mx: f64, y: &[f64], my: f64| -> f64 {
        x.iter().zip(y).map(|(x, y)| (x - mx) * (y - my)).sum()
    };
    sum(a, ma, b, mb) / (sum(a, ma, a, ma) * sum(b, mb, b, mb)).sqrt()
}

pub(crate) async fn measure(lee: &Lee, encoder: &MiniLm, work: &Path) -> Result<Value> {
    let texts: Vec<&str> = lee.texts.iter().map(String::as_str).collect();
    let vectors = encoder.embed(&texts)?;
    let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    let table = |vectors: &[Vec<f32>]| -> Vec<Vec<f64>> {
        vectors.iter().map(|a| vectors.iter().map(|b| cosine(a, b)).collect()).collect()
    };
    // As the catalogue keeps them.
    let rounded: Vec<Vec<f32>> = vectors
        .iter()
        .map(|vector| {
            let kept = Quantised::new(vector);
            kept.bytes.iter().map(|byte| f32::from(*byte) * kept.scale).collect()
        })
        .collect();
    std::fs::create_dir_all(work)?;
    let documents = texts.iter().map(|text| ("", *text));
    let fts = Fts5::build(&work.join("lee-fts5.db"), documents).await?;
    let mut bm25 = vec![vec![0.0; texts.len()]; texts.len()];
    for (i, text) in texts.iter().enumerate() {
        for (j, score) in fts.search(&words(text), texts.len()).await? {
            bm25[i][j] = score;
        }
    }
    // BM25 of j for the words of i is not that of i for the words of j; a text's score for itself is the scale.
    let own: Vec<f64> = (0..texts.len()).map(|i| bm25[i][i].max(f64::MIN_POSITIVE)).collect();
    let both = |i: usize, j: usize| (bm25[i][j] / own[i] + bm25[j][i] / own[j]) / 2.0;
    let words: Vec<Vec<f64>> =
        (0..texts.len()).map(|i| (0..texts.len()).map(|j| both(i, j)).collect()).collect();
    Ok(json!({
        "texts": texts.len(),
        "pairs": texts.len() * (texts.len() - 1) / 2,
        "similar_from": SIMILAR,
        "meaning": lee.judge(&table(&vectors)),
        "meaning_i8": lee.judge(&table(&rounded)),
        "sqlite-fts5": lee.judge(&words),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_similarity_like_the_peoples_is_perfect() {
        let human = vec![vec![1.0, 0.9, 0.1], vec![0.0, 1.0, 0.6], vec![0.0, 0.0, 1.0]];
        let lee = Lee { texts: vec![String::new(); 3], human };
        let ours = vec![vec![1.0, 0.9, 0.1], vec![0.9, 1.0, 0.6], vec![0.1, 0.6, 1.0]];
        let good = lee.judge(&ours);
        assert!((good["pearson"].as_f64().unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(good["mean_average_precision"], 1.0);
        // Texts 0 and 2 find their friend second, text 1 finds both first.
        let worse = vec![vec![1.0, 0.1, 0.9], vec![0.1, 1.0, 0.6], vec![0.9, 0.6, 1.0]];
        assert!((lee.precision(&worse) - (0.5 + 1.0 + 0.5) / 3.0).abs() < 1e-12);
    }
}
