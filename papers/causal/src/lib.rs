//! Papers of the causal family
