//! Papers of the language family.

pub mod arch_objective;
pub mod icl_gd;
pub mod markov_lm;

include!(concat!(env!("OUT_DIR"), "/family.rs"));

/// The papers of this family and the systems of those that have one.
#[must_use]
pub fn family() -> ream_lab::FamilyPapers {
    ream_lab::FamilyPapers {
        papers: PAPERS,
        systems: vec![
            ream_lab::AnySystem::new::<arch_objective::ArchObjective>(),
            ream_lab::AnySystem::new::<icl_gd::IclGd>(),
            ream_lab::AnySystem::new::<markov_lm::MarkovLm>(),
        ],
    }
}
