//! Papers of the decisions family
