//! Operations on tensors, each with its backward.

mod batched;
mod elementwise;
mod embedding;
mod linear;
mod loss;
mod reduce;
mod scan;
mod shape;

pub use batched::batched_linear;
pub use elementwise::{maximum, minimum};
pub use embedding::embedding;
pub use linear::linear;
pub use loss::{bce_with_logits, cross_entropy, mse, token_losses};
pub use scan::{SelectiveScan, causal_conv_silu, linear_recurrence};
pub use shape::{concat, stack};
