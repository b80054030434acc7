//! The papers and systems that this program was built with.

use ream_lab::{Build, Edition, FamilyPapers, Result};

/// Commit, cleanliness and hash of the crates below the papers, set by the build script.
const BUILD: Build = Build {
    version: env!("CARGO_PKG_VERSION"),
    commit: env!("REAM_COMMIT"),
    clean: matches!(env!("REAM_CLEAN").as_bytes(), b"true"),
    substrate: env!("REAM_SUBSTRATE"),
};

/// Reads every embedded paper.
pub(crate) fn load() -> Result<Edition> {
    Edition::load(families(), BUILD)
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
