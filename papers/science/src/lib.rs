//! Papers of the science family
