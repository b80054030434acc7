//! Models of the llama family, with quantised weights: one engine for reading, decoding, trees of drafts and looking inside.
//!
//! A [`Model`] is weights. A [`Cache`] holds keys and values of positions that were read, a [`Branch`] says which of them a text
//! consists of: branches share what they have in common, and cutting, forking or picking a path of a tree moves no number.
//! [`Model::forward`] reads [`Feed`]s, any mix of chains and trees on any branches, in one pass over the weights.
//!
//! A row's result depends on its token, its position and what it sees, to the bit: not on the rows beside it, the way the keys
//! came into the cache, or the number of threads. So greedy decoding by drafts gives the text that decoding one by one gives.

mod attention;
mod cache;
mod convert;
mod differentiable;
mod error;
mod fingerprint;
mod forward;
mod math;
mod model;
mod pass;
#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod tests;

pub use cache::{Branch, Cache};
pub use convert::decoder_file;
pub use differentiable::Differentiable;
pub use error::LlamaError;
pub use forward::Forward;
pub use model::Model;
pub use pass::{Feed, Layout, Logits, Output};

pub use crate::gguf::llama::Config;
