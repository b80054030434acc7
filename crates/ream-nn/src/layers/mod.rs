//! Layers: small structs with parameters and a `forward`.

mod attention;
mod conv;
mod ensemble;
mod linear;
mod lora;
mod mlp;
mod norm;
mod policy;
mod ssm;
mod transformer;

pub use attention::{Attention, AttentionSizes, CrossAttention};
pub use conv::{BatchNorm, Conv2d, ConvTranspose2d, Downsample, GroupNorm, ResBlock, Upsample};
pub use ensemble::EnsembleMlp;
pub use linear::{Embedding, Linear, Mlp, SwiGlu};
pub use lora::{Lora, LoraPerSample};
pub use mlp::{Activation, Beginning, MlpConfig, MlpNet, orthogonal};
pub use norm::{AdaLn, LayerNorm, RmsNorm};
pub use policy::{GaussianHead, SquashedGaussian, polyak};
pub use ssm::{Mamba, MambaConfig, MambaState, grid_orders};
pub(crate) use transformer::PositionEncoding;
pub use transformer::{
    Block, FeedForward, Memory, MlpKind, Norm, NormKind, Positions, Stack, TransformerConfig,
};
