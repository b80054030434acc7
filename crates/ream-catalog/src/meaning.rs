//! Sentence encoders, as the catalogue sees them.

/// Turns texts into unit vectors whose scalar product says how near they are in meaning.
pub trait Embedder: Send + Sync {
    /// Name of the model. Vectors of another model are made again.
    fn name(&self) -> &str;

    /// Numbers of a vector.
    fn dimensions(&self) -> usize;

    /// One unit vector for each text, `[texts, dimensions]`.
    ///
    /// # Errors
    /// Why there are none, in words.
    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, String>;
}

/// Whether papers can be found by meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MeaningState {
    /// They can.
    On {
        /// Papers that have a vector.
        documents: usize,
    },
    /// They cannot.
    Off {
        /// Why, and what would change it.
        why: String,
    },
}

impl MeaningState {
    pub(crate) fn off() -> Self {
        Self::Off {
            why: "meaning search is off: its sentence encoder is not on this machine (`ream data fetch minilm`)".into(),
        }
    }
}
