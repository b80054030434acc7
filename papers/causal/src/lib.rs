//! Papers of the causal family.

pub mod debias_map;
pub mod info_bounds;
pub mod ivl;
pub mod lc_alpacaeval;
pub mod r3d;

include!(concat!(env!("OUT_DIR"), "/family.rs"));

/// The papers of this family and the systems of those that have one.
#[must_use]
pub fn family() -> ream_lab::FamilyPapers {
    ream_lab::FamilyPapers {
        papers: PAPERS,
        systems: vec![
            ream_lab::AnySystem::new::<debias_map::DebiasMap>(),
            ream_lab::AnySystem::new::<info_bounds::InfoBounds>(),
            ream_lab::AnySystem::new::<ivl::Ivl>(),
            ream_lab::AnySystem::new::<lc_alpacaeval::LcAlpacaEval>(),
            ream_lab::AnySystem::new::<r3d::R3d>(),
        ],
    }
}
