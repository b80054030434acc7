//! Operations on tensors, each with its backward.

mod attention;
mod conv;
mod batched;
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
mod norm_group;
mod pool;
mod resize;

pub use conv::{Conv, conv_transpose1d, conv_transpose2d, conv1d, conv1d_causal, conv2d};
mod scan;

pub use batched::batched_linear;
pub use elementwise::{maximum, minimum};
pub use embedding::embedding;
pub use linear::linear;
pub use loss::{bce_with_logits, cross_entropy, mse, token_losses};
pub use mask::Mask;
pub use norm::{gated_add, layer_norm, modulate, rms_norm};
pub use rope::{Rotation, rope};
pub use norm_group::{BatchStatistics, batch_norm, batch_norm_with, group_norm, group_norm_silu};
pub use pool::{avg_pool2d, global_avg_pool, max_pool2d, upsample_nearest};
pub use resize::{resize_area, resize_bicubic, resize_bilinear};
pub use scan::{SelectiveScan, causal_conv_silu, linear_recurrence};
pub(crate) use loss::{log_sum_exp, softmax_row};
pub use shape::{concat, stack};
