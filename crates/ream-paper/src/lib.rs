//! Papers, claims, checks and deviations as types; reads paper.toml
