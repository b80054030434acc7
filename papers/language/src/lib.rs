//! Papers of the language family
