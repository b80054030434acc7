//! Layers: small structs with parameters and a `forward`.

mod attention;
mod conv;
mod linear;
mod norm;
mod transformer;

pub use attention::{Attention, AttentionSizes, CrossAttention};
pub use conv::{BatchNorm, Conv2d, ConvTranspose2d, Downsample, GroupNorm, ResBlock, Upsample};
pub use linear::{Embedding, Linear, Mlp, SwiGlu};
pub use norm::{AdaLn, LayerNorm, RmsNorm};
pub use transformer::{
    Block, FeedForward, Memory, MlpKind, Norm, NormKind, Positions, Stack, TransformerConfig,
};
mod ensemble;
mod lora;
mod mlp;
mod policy;
mod ssm;

pub use ensemble::EnsembleMlp;
pub use lora::{Lora, LoraPerSample};
pub use mlp::{Activation, Beginning, MlpConfig, MlpNet, orthogonal};
pub use policy::{GaussianHead, SquashedGaussian, polyak};
pub use ssm::{Mamba, MambaConfig, MambaState, grid_orders};
