//! From logits to tokens: filters, exact sampling, beam search, speculative acceptance.
//!
//! A *law* is a slice of probabilities over the vocabulary. Filters make a law of logits ([`Filter::law`]); [`sample`] draws from it by the
//! inverse of its distribution function; [`gumbel_max`] and [`gumbel_top_k`] draw from logits directly (Gumbel, 1954; Kool et
//! al., 2019, arXiv 1903.06059). [`speculative`] decides how many drafted tokens are kept so that what comes out has the target's law.
//!
//! All random numbers come from a [`ream_rand::Rng`] in a documented order, and sums run in f64 in order of the vocabulary: a draw depends
//! on nothing but its inputs.
//!
//! ```
//! use ream_nn::sampling::Filter;
//! use ream_rand::Stream;
//! let filter = Filter { temperature: 0.8, top_p: 0.95, ..Filter::default() };
//! let mut rng = Stream::new(1, "sample").at(0);
//! let token = filter.sample(&[0.1, 2.0, -1.0, f32::NEG_INFINITY], &mut rng)?;
//! assert!(token < 3);
//! # Ok::<(), ream_nn::NnError>(())
//! ```

mod beam;
mod draw;
mod filter;
pub mod speculative;
#[cfg(test)]
pub(crate) mod testing;

pub use beam::{Beam, BeamSearch, LiveBeam};
pub use draw::{greedy, gumbel_max, gumbel_top_k, sample};
pub use filter::{Filter, guided, repetition_penalty};
