//! Sentence embeddings: texts of like meaning become vectors that point the same way.
//!
//! [`SentenceEncoder`] reads sentence-transformers' *all-MiniLM-L6-v2* (Reimers and Gurevych, 2019, arXiv 1908.10084; the encoder is
//! MiniLM, Wang et al., 2020, arXiv 2002.10957): an uncased WordPiece tokenizer, BERT with 6 blocks of width 384, the mean of the last
//! hidden states, scaled to length 1. Any other BERT with the same three files and mean pooling works too. The data set `minilm`
//! holds the model.
//!
//! ```no_run
//! use ream_lm::SentenceEncoder;
//!
//! let encoder = SentenceEncoder::open("data/minilm/files".as_ref())?;
//! let texts = ["a fast decoder", "speeding up generation", "protein folding"];
//! let vectors = encoder.encode(&texts)?;
//! let cosine = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
//! assert_eq!(vectors[0].len(), encoder.dimensions());
//! assert!(cosine(&vectors[0], &vectors[1]) > cosine(&vectors[0], &vectors[2]));
//! # Ok::<(), ream_lm::SentenceError>(())
//! ```

mod bert;
mod error;
mod text;
mod tokenizer;
mod weights;

#[cfg(test)]
mod tests;

use std::path::Path;

use bert::{Bert, Config};
pub use error::SentenceError;
use error::read_json;
pub use tokenizer::WordPiece;

/// Tokens of a text that are read, `[CLS]` and `[SEP]` among them: what the model was made for. The rest of a longer text is not seen.
pub const MAX_TOKENS: usize = 256;

/// Tokens that go through the network at once: enough that the packing of weights costs little, and activations of tens of megabytes.
const BATCH_TOKENS: usize = 2048;

/// A sentence encoder, ready to use from several threads.
#[derive(Debug)]
pub struct SentenceEncoder {
    tokenizer: WordPiece,
    bert: Bert,
    dimensions: usize,
    max_tokens: usize,
}

impl SentenceEncoder {
    /// Reads `config.json`, `tokenizer.json` and `model.safetensors` of a folder: 91 MB in memory for all-MiniLM-L6-v2.
    ///
    /// # Errors
    /// A file is missing, damaged, or of another kind of model: which file, which tensor or key, what was wanted.
    pub fn open(dir: &Path) -> Result<Self, SentenceError> {
        let path = dir.join("config.json");
        let config: Config = read_json(&path)?;
        config.check().map_err(|problem| SentenceError::form(&path, problem))?;
        let max_tokens = MAX_TOKENS.min(config.max_position_embeddings);
        if max_tokens < 2 {
            return Err(SentenceError::form(
                &path,
                "max_position_embeddings below 2, wanted room for the two marks",
            ));
        }
        let path = dir.join("tokenizer.json");
        let tokenizer = WordPiece::open(&path)?;
        if tokenizer.size() > config.vocab_size {
            let (got, wanted) = (tokenizer.size(), config.vocab_size);
            let problem = format!("{got} tokens, wanted at most vocab_size = {wanted} of config.json");
            return Err(SentenceError::form(&path, problem));
        }
        let path = dir.join("model.safetensors");
        let bert = Bert::read(&config, &path)?;
        Ok(Self { tokenizer, bert, dimensions: config.hidden_size, max_tokens })
    }

    /// Length of a vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The tokens of a text, at most [`MAX_TOKENS`].
    #[must_use]
    pub fn tokens(&self, text: &str) -> Vec<u32> {
        self.tokenizer.encode(text, self.max_tokens)
    }

    /// One vector of length 1 for each text, `[texts][dimensions]`; their inner products are cosines.
    ///
    /// The vector of a text does not depend on the texts beside it or on the number of threads, to the bit. Matrix products run
    /// in the precision of [`ream_nn::gemm::with_precision`].
    ///
    /// # Errors
    /// None for a model that [`SentenceEncoder::open`] took; the network's own checks are handed on rather than hidden.
    pub fn encode(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, SentenceError> {
        let mut vectors = Vec::with_capacity(texts.len());
        let mut batch: Vec<Vec<u32>> = Vec::new();
        let mut filled = 0;
        for text in texts {
            let tokens = self.tokens(text);
            if filled + tokens.len() > BATCH_TOKENS {
                self.encode_batch(&batch, &mut vectors)?;
                batch.clear();
                filled = 0;
            }
            filled += tokens.len();
            batch.push(tokens);
        }
        self.encode_batch(&batch, &mut vectors)?;
        Ok(vectors)
    }

    fn encode_batch(&self, batch: &[Vec<u32>], vectors: &mut Vec<Vec<f32>>) -> Result<(), SentenceError> {
        if batch.is_empty() {
            return Ok(());
        }
        let hidden = self.bert.forward(batch)?;
        let mut rest = hidden.data();
        for tokens in batch {
            let (own, after) = rest.split_at(tokens.len() * self.dimensions);
            vectors.push(unit_mean(own, self.dimensions));
            rest = after;
        }
        Ok(())
    }
}

/// The mean of rows `[n, d]`, scaled to length 1.
fn unit_mean(rows: &[f32], d: usize) -> Vec<f32> {
    let mut sum = vec![0.0_f64; d];
    for row in rows.chunks_exact(d) {
        sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    let norm = sum.iter().map(|x| x * x).sum::<f64>().sqrt();
    let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
    sum.iter().map(|x| (x * scale) as f32).collect()
}
