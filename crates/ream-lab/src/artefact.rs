//! Checkpoints that several papers or runs share: trained once, kept by what decides them.

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use crate::config::{canonical, hex};
use crate::error::{Error, Result};
use crate::files::write_durable;
use crate::run::Run;

/// Where artefacts are kept, and the code that makes them.
#[derive(Clone, Debug)]
pub(crate) struct ArtefactStore {
    pub(crate) folder: PathBuf,
    /// Hash of the paper's and its family's sources.
    pub(crate) sources: String,
    /// Hash of the crates below the papers.
    pub(crate) substrate: String,
}

/// Whose code makes an artefact.
#[derive(Clone, Copy)]
enum Scope {
    Paper,
    Edition,
}

impl Run {
    /// What `train` makes, from the store when it was made before by the same code, on the same instruction set, from the
    /// same `inputs` (configuration, seed and data hashes: everything that decides the result belongs in it).
    /// Two processes that want the same artefact train it once: the second waits. A damaged file is trained again.
    ///
    /// A run in memory keeps nothing and always trains.
    ///
    /// # Errors
    /// Those of `train`; cancellation while waiting; the store cannot be written.
    pub fn artefact<C: Serialize, T: Serialize + DeserializeOwned>(
        &mut self,
        name: &str,
        inputs: &C,
        train: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let path = self.artefact_path(name, inputs, Scope::Paper)?;
        self.artefact_at(name, path, train)
    }

    /// As [`Run::artefact`], shared by all papers: kept for as long as the crates below them stay the same. `train` must be code of those crates.
    ///
    /// # Errors
    /// Those of [`Run::artefact`].
    pub fn shared_artefact<C: Serialize, T: Serialize + DeserializeOwned>(
        &mut self,
        name: &str,
        inputs: &C,
        train: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let path = self.artefact_path(name, inputs, Scope::Edition)?;
        self.artefact_at(name, path, train)
    }

    fn artefact_at<T: Serialize + DeserializeOwned>(
        &mut self,
        name: &str,
        path: Option<PathBuf>,
        train: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let Some(path) = path else { return train(self) };
        if let Some(found) = read(&path) {
            return Ok(found);
        }
        let folder = path.parent().map(PathBuf::from).unwrap_or_default();
        std::fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let _lock = self
            .wait_for_lock(&path.with_extension("lock"), "waiting for another run to train the same model")?;
        // Whoever held the lock may have made it.
        if let Some(found) = read(&path) {
            return Ok(found);
        }
        let made = train(self)?;
        let mut bytes =
            postcard::to_stdvec(&made).map_err(|e| Error::failed(format!("cannot keep `{name}`: {e}")))?;
        bytes.extend_from_slice(&Sha256::digest(&bytes));
        write_durable(&path, &bytes)?;
        Ok(made)
    }

    fn artefact_path<C: Serialize>(&self, name: &str, inputs: &C, scope: Scope) -> Result<Option<PathBuf>> {
        let Some(store) = self.artefact_store() else { return Ok(None) };
        let code = match scope {
            Scope::Paper => format!("{} {}", store.sources, store.substrate),
            Scope::Edition => store.substrate.clone(),
        };
        let store = &store.folder;
        let key = serde_json::json!([name, canonical(inputs)?, code, crate::machine::isa()]);
        let hash = hex(&Sha256::digest(key.to_string().as_bytes()));
        Ok(Some(store.join(format!("{name}-{}.bin", &hash[..24]))))
    }
}

/// A kept artefact; `None` when there is none or its checksum does not fit.
fn read<T: DeserializeOwned>(path: &std::path::Path) -> Option<T> {
    let bytes = std::fs::read(path).ok()?;
    let (value, sum) = bytes.split_at_checked(bytes.len().checked_sub(32)?)?;
    if Sha256::digest(value)[..] != *sum {
        return None;
    }
    postcard::from_bytes(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_artefact_is_trained_once_for_the_same_inputs() {
        let home = tempfile::tempdir().unwrap();
        let mut trained = 0;
        let mut get = |inputs: (u64, &str), code: &str| -> Vec<f64> {
            let mut run = Run::in_memory(1).with_artefacts(home.path(), code, "below");
            run.artefact("model", &inputs, |_| {
                trained += 1;
                Ok(vec![1.5, f64::from(trained)])
            })
            .unwrap()
        };
        let first = get((1, "a"), "code");
        assert_eq!(get((1, "a"), "code"), first);
        assert_ne!(get((2, "a"), "code"), first);
        assert_ne!(get((1, "a"), "other code"), first);
        for entry in std::fs::read_dir(home.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|e| e == "bin") {
                std::fs::write(&path, "damaged").unwrap();
            }
        }
        assert_eq!(get((1, "a"), "code"), [1.5, 4.0], "a damaged file is trained again");
    }

    #[test]
    fn a_shared_artefact_serves_all_papers_until_the_crates_below_change() {
        let home = tempfile::tempdir().unwrap();
        let mut trained = 0;
        let mut get = |sources: &str, substrate: &str| -> u64 {
            let mut run = Run::in_memory(1).with_artefacts(home.path(), sources, substrate);
            run.shared_artefact("base", &1, |_| {
                trained += 1;
                Ok(trained)
            })
            .unwrap()
        };
        assert_eq!((get("one paper", "a"), get("another paper", "a"), get("one paper", "b")), (1, 1, 2));
    }

    #[test]
    fn a_run_in_memory_keeps_nothing() {
        let made: u64 = Run::in_memory(1).artefact("model", &1, |run| Ok(run.seed())).unwrap();
        assert_eq!(made, 1);
    }
}
