//! Whole networks made of the layers.

mod transformer;

pub use transformer::{Decoder, Encoder, EncoderDecoder};
