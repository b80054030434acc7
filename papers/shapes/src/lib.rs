//! Papers of the shapes family
