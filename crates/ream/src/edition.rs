//! The papers and systems that this program was built with.

use std::collections::BTreeMap;

use ream_lab::{AnySystem, Code, Embedded, Error, FamilyPapers, Result, Results, SmokeDigest, did_you_mean};
use ream_paper::Paper;

/// Commit, cleanliness and hash of the crates below the papers, set by the build script.
const COMMIT: &str = env!("REAM_COMMIT");
const CLEAN: &str = env!("REAM_CLEAN");
const SUBSTRATE: &str = env!("REAM_SUBSTRATE");

/// A paper with its system, if it has one, and its published results.
pub(crate) struct Entry {
    pub(crate) paper: Paper,
    pub(crate) system: Option<AnySystem>,
    embedded: Embedded,
}

/// All papers of the program, by number.
pub(crate) struct Edition {
    pub(crate) entries: Vec<Entry>,
}

fn families() -> Vec<FamilyPapers> {
    vec![
        #[cfg(feature = "language")]
        ream_language::family(),
        #[cfg(feature = "decoding")]
        ream_decoding::family(),
        #[cfg(feature = "vision")]
        ream_vision::family(),
        #[cfg(feature = "multimodal")]
        ream_multimodal::family(),
        #[cfg(feature = "shapes")]
        ream_shapes::family(),
        #[cfg(feature = "control")]
        ream_control::family(),
        #[cfg(feature = "decisions")]
        ream_decisions::family(),
        #[cfg(feature = "causal")]
        ream_causal::family(),
        #[cfg(feature = "science")]
        ream_science::family(),
    ]
}

impl Edition {
    /// Reads every embedded paper.
    pub(crate) fn load() -> Result<Self> {
        let mut entries = Vec::new();
        for family in families() {
            let systems: BTreeMap<&str, AnySystem> = family.systems.iter().map(|s| (s.paper(), *s)).collect();
            for embedded in family.papers {
                let paper =
                    Paper::parse(embedded.file, embedded.toml).map_err(|e| Error::Input(e.to_string()))?;
                entries.push(Entry {
                    system: systems.get(embedded.slug).copied(),
                    paper,
                    embedded: *embedded,
                });
            }
        }
        entries.sort_by_key(|entry| entry.paper.number);
        Ok(Self { entries })
    }

    /// The paper of that name.
    pub(crate) fn get(&self, slug: &str) -> Result<&Entry> {
        self.entries.iter().find(|entry| entry.paper.slug == slug).ok_or_else(|| {
            let hint = did_you_mean(slug, self.entries.iter().map(|e| e.paper.slug.as_str()));
            Error::Input(format!("there is no paper `{slug}`{hint} (`ream papers` lists them)"))
        })
    }

    /// The paper of that name, with its system.
    pub(crate) fn system(&self, slug: &str) -> Result<(&Entry, AnySystem)> {
        let entry = self.get(slug)?;
        match entry.system {
            Some(system) => Ok((entry, system)),
            None => Err(Error::Input(format!(
                "`{slug}` has no system yet; `ream show {slug}` shows its claims and rules, `ream papers --implemented` what runs"
            ))),
        }
    }
}

impl Entry {
    /// The program as far as it decides this paper's observations.
    pub(crate) fn code(&self) -> Code {
        Code {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            commit: COMMIT.to_owned(),
            clean: CLEAN == "true",
            sources: self.embedded.sources.to_owned(),
            substrate: SUBSTRATE.to_owned(),
        }
    }

    /// The published results, if there are any.
    pub(crate) fn results(&self) -> Result<Option<Results>> {
        let file = format!("results/{}.json", self.paper.slug);
        self.embedded.result.map(|text| Results::parse(&file, text)).transpose()
    }

    /// Where this build keeps what its smoke run saw, by which a change below the papers is judged.
    pub(crate) fn smoke_file(&self) -> std::path::PathBuf {
        let code = self.code();
        ream_lab::home()
            .join("smoke")
            .join(format!("{}-{}-{}.json", self.paper.slug, code.sources, code.substrate))
    }

    /// What this build's smoke run saw, if it ran.
    pub(crate) fn smoke_today(&self) -> Option<SmokeDigest> {
        serde_json::from_slice(&std::fs::read(self.smoke_file()).ok()?).ok()
    }
}
