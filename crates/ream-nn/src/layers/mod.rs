//! Layers: small structs with parameters and a `forward`.

mod linear;

pub use linear::{Embedding, Linear, Mlp, SwiGlu};
