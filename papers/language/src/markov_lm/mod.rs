//! A Markov categorical framework for language modeling.
pub mod alignment;
pub mod divergence;
pub mod kernel;
pub mod laws;
pub mod operator;
pub mod sources;
