//! Directions with their latents in a file, for use without training.

use std::path::Path;

use ream_lab::{Error, Invalid, Result};
use ream_lm::llama::Model;
use ream_nn::training::Checkpoint;
use ream_nn::{Param, Tensor};
use serde::{Deserialize, Serialize};

use super::contrast::Factors;
use super::subject::failed;

/// What a file of directions belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Facts {
    /// What the file is.
    kind: String,
    /// Fingerprint of the model.
    model: String,
    /// Blocks before the intervention.
    layer: usize,
    /// Directions.
    rank: usize,
    /// Width of the residual stream.
    width: usize,
}

/// Directions for one model and layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Directions {
    /// Blocks before the intervention.
    pub layer: usize,
    /// `[rank, width]`, orthonormal rows.
    pub basis: Vec<f32>,
    /// What steering clamps to.
    pub factors: Factors,
}

const KIND: &str = "directions of an interchange intervention";

impl Directions {
    fn facts(model: &Model, layer: usize, rank: usize) -> Facts {
        Facts {
            kind: KIND.to_owned(),
            model: format!("{:016x}", model.fingerprint()),
            layer,
            rank,
            width: model.config().width,
        }
    }

    fn params(&self, facts: &Facts) -> Result<Vec<Param>> {
        let of = |name: &str, numbers: &[f32], shape: &[usize]| -> Result<Param> {
            let value = Tensor::from_vec(numbers.to_vec(), shape).map_err(failed)?;
            Ok(Param::new(name, &value))
        };
        Ok(vec![
            of("basis", &self.basis, &[facts.rank, facts.width])?,
            of("negative_mean", &self.factors.negative, &[facts.rank])?,
            of("positive_mean", &self.factors.positive, &[facts.rank])?,
            of("positive_largest", &self.factors.largest, &[facts.rank])?,
        ])
    }

    /// Writes them as one safetensors file.
    ///
    /// # Errors
    /// The disk.
    pub fn save(&self, path: &Path, model: &Model) -> Result<()> {
        let facts = Self::facts(model, self.layer, self.factors.positive.len());
        let params = self.params(&facts)?;
        Checkpoint::of(&facts, 0, &facts.model, 0, &params)
            .and_then(|checkpoint| checkpoint.write(path))
            .map_err(failed)
    }

    /// Reads what [`Directions::save`] wrote.
    ///
    /// # Errors
    /// A damaged file; directions of another model; another kind of file.
    pub fn load(path: &Path, model: &Model) -> Result<Self> {
        let place = path.display().to_string();
        let checkpoint = Checkpoint::read(path).map_err(|error| Error::Input(error.to_string()))?;
        let facts: Facts = serde_json::from_str(&checkpoint.config)
            .map_err(|error| Invalid::new(&place, KIND, format!("another file: {error}")))?;
        let mine = Self::facts(model, facts.layer, facts.rank);
        if facts != mine {
            let got = format!("those of model {} (width {})", facts.model, facts.width);
            let wanted = format!("{KIND} of this model, {} (width {})", mine.model, mine.width);
            return Err(Invalid::new(&place, wanted, got).into());
        }
        let rank = facts.rank;
        let zeros = || vec![0.0; rank];
        let factors = Factors { negative: zeros(), positive: zeros(), largest: zeros() };
        let empty = Self { layer: facts.layer, basis: vec![0.0; rank * facts.width], factors };
        let params = empty.params(&facts)?;
        checkpoint.restore(&params).map_err(|error| Error::Input(error.to_string()))?;
        let read = |i: usize| params.get(i).map(Param::to_vec).unwrap_or_default();
        let factors = Factors { negative: read(1), positive: read(2), largest: read(3) };
        Ok(Self { layer: facts.layer, basis: read(0), factors })
    }
}
