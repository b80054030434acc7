//! Operations on tensors, each with its backward.

mod attention;
mod batched;
mod conv;
mod elementwise;
mod embedding;
mod linear;
mod loss;
mod mask;
mod norm;
mod norm_group;
mod pool;
mod reduce;
mod resize;
mod rope;
mod scan;
mod shape;

pub(crate) use attention::{Cached, cached_attention};
pub use attention::{Heads, attention, cross_attention, self_attention};
pub use batched::batched_linear;
pub use conv::{Conv, conv_transpose1d, conv_transpose2d, conv1d, conv1d_causal, conv2d, upsample_conv2d};
pub use elementwise::{maximum, minimum};
pub use embedding::embedding;
pub use linear::linear;
pub use loss::{bce_with_logits, cross_entropy, mse, token_losses};
pub(crate) use loss::{log_sum_exp, row_max, softmax_row};
pub use mask::Mask;
pub use norm::{gated_add, layer_norm, modulate, rms_norm};
pub use norm_group::{BatchStatistics, batch_norm, batch_norm_with, group_norm, group_norm_silu};
pub use pool::{avg_pool2d, global_avg_pool, max_pool2d, upsample_nearest};
pub use resize::{resize_area, resize_bicubic, resize_bilinear};
pub use rope::{Rotation, rope};
pub use scan::{SelectiveScan, causal_conv_silu, linear_recurrence};
pub use shape::{concat, stack};
