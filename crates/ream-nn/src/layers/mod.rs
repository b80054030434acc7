//! Layers: small structs with parameters and a `forward`.

mod attention;
mod linear;
mod norm;
mod transformer;

pub use attention::{Attention, AttentionSizes, CrossAttention};
pub use linear::{Embedding, Linear, Mlp, SwiGlu};
pub use norm::{AdaLn, LayerNorm, RmsNorm};
pub use transformer::{
    Block, FeedForward, Memory, MlpKind, Norm, NormKind, Positions, Stack, TransformerConfig,
};
