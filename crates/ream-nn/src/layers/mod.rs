//! Layers: small structs with parameters and a `forward`.

mod ensemble;
mod linear;
mod lora;
mod mlp;
mod policy;
mod ssm;

pub use ensemble::EnsembleMlp;
pub use linear::{Embedding, Linear, Mlp, SwiGlu};
pub use lora::{Lora, LoraPerSample};
pub use mlp::{Activation, Beginning, MlpConfig, MlpNet, orthogonal};
pub use policy::{GaussianHead, SquashedGaussian, polyak};
pub use ssm::{Mamba, MambaConfig, MambaState, grid_orders};
