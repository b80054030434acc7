//! Layers: small structs with parameters and a `forward`.

mod attention;
mod conv;
mod ensemble;
mod film;
mod gru;
mod linear;
mod lora;
mod mlp;
mod moe;
mod norm;
mod policy;
mod position;
mod ssm;
mod transformer;

pub use crate::ops::Activation;
pub use attention::{Attention, AttentionSizes, CrossAttention};
pub use conv::{BatchNorm, Conv2d, ConvTranspose2d, Downsample, GroupNorm, ResBlock, Upsample};
pub use ensemble::EnsembleMlp;
pub use film::{Film, film};
pub use gru::{Gru, Lstm};
pub use linear::{Embedding, Linear, Mlp, SwiGlu};
pub use lora::{Lora, LoraPerSample};
pub use mlp::{Beginning, MlpConfig, MlpNet, orthogonal};
pub use moe::{Gates, Moe, MoeConfig, Routed};
pub use norm::{AdaLn, LayerNorm, RmsNorm};
pub use policy::{GaussianHead, SquashedGaussian, polyak};
pub use position::{
    FourierFeatures, LearnedPositions, TimestepEmbedding, sinusoidal, sinusoidal_2d, timestep_embedding,
};
pub use ssm::{Mamba, MambaConfig, MambaState, grid_orders};
pub(crate) use transformer::PositionEncoding;
pub use transformer::{
    Block, FeedForward, Memory, MlpKind, Norm, NormKind, Positions, Stack, TransformerConfig,
};
