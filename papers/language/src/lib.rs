//! Papers of the language family

pub mod icl_gd;
