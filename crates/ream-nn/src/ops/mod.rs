//! Operations on tensors, each with its backward.

mod conv;
mod elementwise;
mod embedding;
mod linear;
mod loss;
mod norm_group;
mod pool;
mod reduce;
mod resize;
mod shape;

pub use conv::{Conv, conv_transpose1d, conv_transpose2d, conv1d, conv1d_causal, conv2d, upsample_conv2d};
pub use elementwise::{maximum, minimum};
pub use embedding::embedding;
pub use linear::linear;
pub use loss::{bce_with_logits, cross_entropy, mse, token_losses};
pub use norm_group::{BatchStatistics, batch_norm, batch_norm_with, group_norm, group_norm_silu};
pub use pool::{avg_pool2d, global_avg_pool, max_pool2d, upsample_nearest};
pub use resize::{resize_area, resize_bicubic, resize_bilinear};
pub use shape::{concat, stack};
