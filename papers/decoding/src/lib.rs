//! Papers of the decoding family.

pub mod bases;
pub mod cdas;
pub mod guard;
pub mod hydra;
pub mod layer_skip;
pub mod rain;
#[cfg(test)]
mod testing;

include!(concat!(env!("OUT_DIR"), "/family.rs"));

/// The papers of this family and the systems of those that have one.
#[must_use]
pub fn family() -> ream_lab::FamilyPapers {
    ream_lab::FamilyPapers {
        papers: PAPERS,
        systems: vec![
            ream_lab::AnySystem::new::<layer_skip::LayerSkip>(),
            ream_lab::AnySystem::new::<hydra::Hydra>(),
            ream_lab::AnySystem::new::<guard::Guard>(),
            ream_lab::AnySystem::new::<rain::Rain>(),
            ream_lab::AnySystem::new::<cdas::Cdas>(),
        ],
    }
}
