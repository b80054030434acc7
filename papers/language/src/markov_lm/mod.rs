//! A Markov categorical framework for language modeling.
pub mod alignment;
mod config;
pub mod divergence;
pub mod kernel;
pub mod laws;
pub mod model;
pub mod objectives;
pub mod operator;
pub mod own_data;
pub mod probes;
pub mod sources;
pub mod training;
pub use config::*;
