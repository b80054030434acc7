//! Operations on tensors, each with its backward.

mod elementwise;
mod embedding;
mod linear;
mod loss;
mod reduce;
mod shape;

pub use elementwise::{maximum, minimum};
pub use embedding::embedding;
pub use linear::linear;
pub use loss::{bce_with_logits, cross_entropy, mse, token_losses};
pub use shape::{concat, stack};
