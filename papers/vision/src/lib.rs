//! Papers of the vision family
