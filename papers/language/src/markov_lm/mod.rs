//! A Markov categorical framework for language modeling.
pub mod divergence;
pub mod kernel;
pub mod laws;
