//! Operations on tensors, each with its backward.

mod attention;
mod elementwise;
mod embedding;
mod linear;
mod loss;
mod mask;
mod norm;
mod reduce;
mod rope;
mod shape;

pub use attention::{Heads, attention, cross_attention, self_attention};
pub use elementwise::{maximum, minimum};
pub use embedding::embedding;
pub use linear::linear;
pub use loss::{bce_with_logits, cross_entropy, mse, token_losses};
pub use mask::Mask;
pub use norm::{gated_add, layer_norm, modulate, rms_norm};
pub use rope::{Rotation, rope};
pub use shape::{concat, stack};
