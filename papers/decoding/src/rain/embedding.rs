//! What makes two texts alike: a sentence encoder, or the model's own mean final hidden state.

use std::collections::HashMap;

use ream_lab::Result;
use ream_lm::llama::{Cache, Feed, Layout, Logits};
use ream_lm::{LanguageModel, SentenceEncoder};

use super::failed;
use super::tree::cosine;
use super::voice::Reading;

/// Embeds texts as vectors of length 1.
#[derive(Debug)]
pub enum Embedder<'m> {
    /// A sentence encoder, and what it was asked.
    Sentences {
        /// The encoder.
        encoder: &'m SentenceEncoder,
        /// Its answers.
        known: HashMap<String, Vec<f64>>,
    },
    /// Mean final hidden state of a model over the text, less the mean of such states.
    States {
        /// The model.
        lm: &'m LanguageModel,
        /// The mean that is taken away, `[width]`.
        centre: Vec<f64>,
    },
}

impl<'m> Embedder<'m> {
    /// By a sentence encoder.
    #[must_use]
    pub fn sentences(encoder: &'m SentenceEncoder) -> Self {
        Self::Sentences { encoder, known: HashMap::new() }
    }

    /// By a model's hidden states, centred on the mean of these texts.
    ///
    /// # Errors
    /// A text beyond the context.
    pub fn states<T: AsRef<str>>(lm: &'m LanguageModel, texts: &[T]) -> Result<Self> {
        let mut centre = vec![0.0; lm.model.config().width];
        for text in texts {
            let state = mean_state(lm, text.as_ref())?;
            centre.iter_mut().zip(state).for_each(|(sum, h)| *sum += h / texts.len() as f64);
        }
        Ok(Self::States { lm, centre })
    }

    /// In words.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Sentences { .. } => "all-MiniLM-L6-v2",
            Self::States { .. } => "mean final hidden state of the model, centred",
        }
    }

    /// The embedding of a text that the model has written, and whose reading is at hand; empty when there is nothing to embed.
    ///
    /// # Errors
    /// Those of the encoder.
    pub fn written(&mut self, text: &str, reading: &Reading) -> Result<Vec<f64>> {
        match self {
            Self::Sentences { .. } => self.text(text),
            Self::States { centre, .. } => {
                Ok(reading.mean_state().map(|state| unit(state, centre)).unwrap_or_default())
            }
        }
    }

    /// The embedding of any text.
    ///
    /// # Errors
    /// Those of the encoder or the model.
    pub fn text(&mut self, text: &str) -> Result<Vec<f64>> {
        match self {
            Self::Sentences { encoder, known } => {
                if let Some(known) = known.get(text) {
                    return Ok(known.clone());
                }
                let vectors = encoder.encode(&[text]).map_err(failed)?;
                let vector: Vec<f64> = vectors.into_iter().flatten().map(f64::from).collect();
                known.insert(text.to_owned(), vector.clone());
                Ok(vector)
            }
            Self::States { lm, centre } => Ok(unit(mean_state(lm, text)?, centre)),
        }
    }

    /// Cosine of two texts.
    ///
    /// # Errors
    /// As for [`Embedder::text`].
    pub fn cosine(&mut self, a: &str, b: &str) -> Result<f64> {
        Ok(cosine(&self.text(a)?, &self.text(b)?))
    }
}

/// Mean final hidden state over a text; zeros for one without tokens.
fn mean_state(lm: &LanguageModel, text: &str) -> Result<Vec<f64>> {
    let tokens = lm.encode(text);
    let width = lm.model.config().width;
    if tokens.is_empty() {
        return Ok(vec![0.0; width]);
    }
    let mut cache = Cache::new(&lm.model);
    let mut branch = cache.branch();
    let feed = Feed { branch: &mut branch, tokens: &tokens, layout: Layout::Chain };
    let output =
        lm.model.forward().logits(Logits::None).hidden().run(&mut cache, &mut [feed]).map_err(failed)?;
    let mut mean = vec![0.0; width];
    for state in output.hidden.chunks_exact(width) {
        mean.iter_mut().zip(state).for_each(|(mean, h)| *mean += f64::from(*h) / tokens.len() as f64);
    }
    Ok(mean)
}

/// `(x - centre) / |x - centre|`.
fn unit(mut x: Vec<f64>, centre: &[f64]) -> Vec<f64> {
    x.iter_mut().zip(centre).for_each(|(x, centre)| *x -= centre);
    let size = x.iter().map(|x| x * x).sum::<f64>().sqrt();
    if size > 0.0 {
        x.iter_mut().for_each(|x| *x /= size);
    }
    x
}

#[cfg(test)]
mod tests {
    use super::super::testing::tiny;
    use super::super::voice::{Draw, Voice};
    use super::*;

    #[test]
    fn states_are_centred_and_of_length_1() {
        let lm = tiny();
        let texts = ["the sea is blue", "is the sky wide?", "he slew the sky", "so wide"];
        let mut embedder = Embedder::states(lm, &texts).unwrap();
        let raw = Embedder::States { lm, centre: vec![0.0; 32] };
        let all = |mut embedder: Embedder<'_>| -> Vec<f64> {
            let pairs = (0..4).flat_map(|a| (0..a).map(move |b| (a, b)));
            pairs.map(|(a, b)| embedder.cosine(texts[a], texts[b]).unwrap()).collect()
        };
        let vector = embedder.text(texts[0]).unwrap();
        assert!((vector.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < 1e-9);
        let mean = |cosines: Vec<f64>| cosines.iter().sum::<f64>() / cosines.len() as f64;
        // What all texts have in common is taken away.
        assert!(mean(all(embedder)) < mean(all(raw)) - 0.05);
    }

    #[test]
    fn what_was_written_is_embedded_by_the_states_that_were_read() {
        let lm = tiny();
        let mut embedder = Embedder::states(lm, &["the sea", "the sky is blue"]).unwrap();
        let mut voice = Voice::new(lm, 1, 1, Vec::new());
        let start = voice.begin(&lm.encode("the")).unwrap();
        assert!(embedder.written("", &start).unwrap().is_empty(), "the prompt does not count");
        let mut set = voice.sets(&start, 2, vec![Draw::Greedy]).unwrap().remove(0);
        voice.settle(&mut set.reading).unwrap();
        assert_eq!(embedder.written("x", &set.reading).unwrap().len(), 32);
    }
}
