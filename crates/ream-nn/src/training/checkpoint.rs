//! Checkpoints: one safetensors file with weights, the optimiser's state, and what decided them.
//!
//! The metadata hold the configuration as JSON, the seed, the hash of the data, the step, and a SHA-256 over all of it and every
//! tensor, so that a file that was cut or changed is refused. Any program that reads safetensors can read the weights
//! (`param/<name>`).

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::error::{NnError, Result};
use crate::param::Param;
use crate::tensor::Tensor;

/// Version of the format.
const FORMAT: &str = "ream-nn/1";

/// What a checkpoint file holds.
#[derive(Clone, Debug, Default)]
pub struct Checkpoint {
    /// The model's configuration as canonical JSON (keys sorted).
    pub config: String,
    /// Seed of the training.
    pub seed: u64,
    /// Hash or name of the data.
    pub data: String,
    /// Finished steps.
    pub step: u64,
    /// `param/<name>`, and what the optimiser and the averages remember.
    pub tensors: BTreeMap<String, Tensor>,
}

/// SHA-256 of a configuration's canonical JSON, in hex: what names a checkpoint.
///
/// # Errors
/// When the configuration cannot be written as JSON.
pub fn config_hash<C: Serialize>(config: &C) -> Result<String> {
    Ok(hex(&Sha256::digest(canonical(config)?.as_bytes())))
}

/// JSON with sorted keys.
fn canonical<C: Serialize>(config: &C) -> Result<String> {
    let value = serde_json::to_value(config).map_err(|e| NnError::Config {
        key: "config".into(),
        wanted: "JSON".into(),
        got: e.to_string(),
    })?;
    Ok(value.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

impl Checkpoint {
    /// The weights of a model, to which the optimiser's state may be added.
    ///
    /// # Errors
    /// When the configuration cannot be written as JSON.
    pub fn of<C: Serialize>(config: &C, seed: u64, data: &str, step: u64, params: &[Param]) -> Result<Self> {
        let tensors = params.iter().map(|p| (format!("param/{}", p.name()), p.tensor().detach())).collect();
        Ok(Self { config: canonical(config)?, seed, data: data.to_owned(), step, tensors })
    }

    /// Adds tensors by name.
    pub fn add(&mut self, state: Vec<(String, Tensor)>) {
        self.tensors.extend(state);
    }

    /// Sets the parameters to the weights stored under their names.
    ///
    /// # Errors
    /// When one is missing or of another shape (named); nothing is changed then.
    pub fn restore(&self, params: &[Param]) -> Result<()> {
        let found: Vec<&Tensor> = params
            .iter()
            .map(|p| {
                let problem = |problem: String| NnError::Checkpoint { path: "(in memory)".into(), problem };
                let tensor = self
                    .tensors
                    .get(&format!("param/{}", p.name()))
                    .ok_or_else(|| problem(format!("holds no parameter `{}`", p.name())))?;
                if tensor.shape() != p.shape() {
                    return Err(problem(format!(
                        "parameter `{}` has shape {:?} there, {:?} here",
                        p.name(),
                        tensor.shape(),
                        p.shape()
                    )));
                }
                Ok(tensor)
            })
            .collect::<Result<_>>()?;
        params.iter().zip(found).try_for_each(|(p, t)| p.set(t.data()))
    }

    /// Refuses a checkpoint of another configuration.
    ///
    /// # Errors
    /// Names the first keys that differ.
    pub fn expect_config<C: Serialize>(&self, path: &Path, config: &C) -> Result<()> {
        let wanted = canonical(config)?;
        if wanted == self.config {
            return Ok(());
        }
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap_or_default();
        let (there, here) = (read(&self.config), read(&wanted));
        let keys: std::collections::BTreeSet<&String> =
            [&there, &here].into_iter().filter_map(|v| v.as_object()).flat_map(|o| o.keys()).collect();
        let differing: Vec<String> = keys
            .into_iter()
            .filter(|k| there.get(k.as_str()) != here.get(k.as_str()))
            .map(|k| {
                let show =
                    |v: &serde_json::Value| v.get(k.as_str()).map_or("absent".into(), ToString::to_string);
                format!("{k}: {} there, {} wanted", show(&there), show(&here))
            })
            .collect();
        Err(problem(path, format!("is of another configuration ({})", differing.join("; "))))
    }

    fn digest(&self) -> String {
        let mut hash = Sha256::new();
        for part in [FORMAT, &self.config, &self.data] {
            hash.update((part.len() as u64).to_le_bytes());
            hash.update(part);
        }
        hash.update(self.seed.to_le_bytes());
        hash.update(self.step.to_le_bytes());
        for (name, tensor) in &self.tensors {
            hash.update((name.len() as u64).to_le_bytes());
            hash.update(name);
            tensor.shape().iter().for_each(|n| hash.update((*n as u64).to_le_bytes()));
            hash.update(bytes_of(tensor.data()));
        }
        hex(&hash.finalize())
    }

    /// Writes the file beside and renames it, so that a reader sees the old one or the new one, whole.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let bytes: Vec<(&String, Vec<u8>, &[usize])> =
            self.tensors.iter().map(|(name, t)| (name, bytes_of(t.data()), t.shape())).collect();
        let views: Vec<(&String, TensorView<'_>)> = bytes
            .iter()
            .map(|(name, bytes, shape)| {
                let view = TensorView::new(Dtype::F32, shape.to_vec(), bytes)
                    .map_err(|e| problem(path, format!("cannot hold `{name}`: {e}")))?;
                Ok((*name, view))
            })
            .collect::<Result<_>>()?;
        let metadata: HashMap<String, String> = [
            ("format", FORMAT.to_owned()),
            ("config", self.config.clone()),
            ("seed", self.seed.to_string()),
            ("data", self.data.clone()),
            ("step", self.step.to_string()),
            ("sha256", self.digest()),
        ]
        .map(|(k, v)| (k.to_owned(), v))
        .into();
        let file = safetensors::serialize(views, Some(metadata))
            .map_err(|e| problem(path, format!("cannot be written: {e}")))?;
        let beside = path.with_extension("partial");
        let io = |action, path: &Path| {
            let path = path.to_owned();
            move |source| NnError::Io { action, path, source }
        };
        std::fs::write(&beside, file).map_err(io("write", &beside))?;
        std::fs::rename(&beside, path).map_err(io("rename", path))
    }

    /// Reads and verifies a file.
    ///
    /// # Errors
    /// When it cannot be read, is no checkpoint of ours, was cut or changed.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).map_err(|source| NnError::Io {
            action: "read",
            path: path.to_owned(),
            source,
        })?;
        let broken = |e: safetensors::SafeTensorError| {
            problem(path, format!("is cut off or no safetensors file: {e}"))
        };
        let (_, header) = SafeTensors::read_metadata(&bytes).map_err(broken)?;
        let file = SafeTensors::deserialize(&bytes).map_err(broken)?;
        let empty = HashMap::new();
        let metadata = header.metadata().as_ref().unwrap_or(&empty);
        let text = |key: &str| {
            metadata
                .get(key)
                .cloned()
                .ok_or_else(|| problem(path, format!("has no `{key}` in its metadata: it is not ours")))
        };
        if text("format")? != FORMAT {
            return Err(problem(
                path,
                format!("has format `{}`; this program reads `{FORMAT}`", text("format")?),
            ));
        }
        let number = |key: &str| {
            let value = text(key)?;
            value.parse::<u64>().map_err(|_| problem(path, format!("`{key}` is `{value}`, no whole number")))
        };
        let mut found = Self {
            config: text("config")?,
            seed: number("seed")?,
            data: text("data")?,
            step: number("step")?,
            tensors: BTreeMap::new(),
        };
        for (name, view) in file.tensors() {
            if view.dtype() != Dtype::F32 {
                return Err(problem(path, format!("tensor `{name}` is {:?}; F32 is wanted", view.dtype())));
            }
            let (whole, _) = view.data().as_chunks::<4>();
            let values = whole.iter().map(|b| f32::from_le_bytes(*b)).collect();
            found.tensors.insert(name, Tensor::from_vec(values, view.shape())?);
        }
        if found.digest() != text("sha256")? {
            return Err(problem(
                path,
                "was changed after it was written: its checksum does not fit".to_owned(),
            ));
        }
        Ok(found)
    }
}

fn problem(path: &Path, problem: String) -> NnError {
    NnError::Checkpoint { path: path.to_owned(), problem }
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::param::{Init, Module};

    fn model(d: usize) -> Vec<Param> {
        crate::layers::Linear::new(&Init::new(1).at("head"), d, 2, true).params()
    }

    fn config(d: usize) -> serde_json::Value {
        serde_json::json!({ "d": d, "layers": 2 })
    }

    fn written(dir: &Path) -> std::path::PathBuf {
        let path = dir.join("a.safetensors");
        Checkpoint::of(&config(3), 7, "text", 12, &model(3)).unwrap().write(&path).unwrap();
        path
    }

    #[test]
    fn saved_is_loaded_bit_for_bit() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let found = Checkpoint::read(&path).unwrap();
        assert_eq!((found.seed, found.step, found.data.as_str()), (7, 12, "text"));
        found.expect_config(&path, &config(3)).unwrap();
        let other = model(3);
        other[0].update(|x| x.fill(0.0));
        found.restore(&other).unwrap();
        assert_eq!(other[0].to_vec(), model(3)[0].to_vec());
    }

    #[test]
    fn another_configuration_and_another_shape_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let found = Checkpoint::read(&path).unwrap();
        let error = found.expect_config(&path, &config(4)).unwrap_err().to_string();
        assert!(error.contains("d: 3 there, 4 wanted"), "{error}");
        let other = model(4);
        let before = other[1].to_vec();
        let error = found.restore(&other).unwrap_err().to_string();
        assert!(error.contains("`head.weight` has shape [2, 3] there, [2, 4] here"), "{error}");
        assert_eq!(other[1].to_vec(), before);
    }

    #[test]
    fn every_cut_and_every_changed_byte_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = written(dir.path());
        let good = std::fs::read(&path).unwrap();
        for len in (0..good.len()).step_by(7) {
            std::fs::write(&path, &good[..len]).unwrap();
            assert!(Checkpoint::read(&path).is_err(), "cut at {len}");
        }
        let header = u64::from_le_bytes(good[..8].try_into().unwrap()) as usize + 8;
        for at in (header..good.len()).chain(good.windows(6).position(|w| w == b"\"seed\"").map(|p| p + 8)) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            let error = Checkpoint::read(&path).unwrap_err().to_string();
            assert!(error.contains("was changed") || error.contains("whole number"), "{at}: {error}");
        }
    }
}
