//! Whole networks made of the layers.

mod cache;
mod mixture;
mod transformer;

pub use cache::KvCache;
pub use mixture::MixtureOfTransformers;
pub use transformer::{Decoder, Encoder, EncoderDecoder};
