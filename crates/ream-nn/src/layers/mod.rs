//! Layers: small structs with parameters and a `forward`.

mod conv;
mod linear;

pub use conv::{BatchNorm, Conv2d, ConvTranspose2d, Downsample, GroupNorm, ResBlock, Upsample};
pub use linear::{Embedding, Linear, Mlp, SwiGlu};
