//! Papers of the decisions family: bandits and agents.

pub mod adyen_cb;
pub mod bandit;
pub mod ofs;

include!(concat!(env!("OUT_DIR"), "/family.rs"));

/// The papers of this family and the systems of those that have one.
#[must_use]
pub fn family() -> ream_lab::FamilyPapers {
    ream_lab::FamilyPapers {
        papers: PAPERS,
        systems: vec![
            ream_lab::AnySystem::new::<adyen_cb::AdyenCb>(),
            ream_lab::AnySystem::new::<ofs::Ofs>(),
        ],
    }
}
