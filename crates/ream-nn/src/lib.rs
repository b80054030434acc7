//! Neural networks on an ordinary CPU: tensors with gradients, fused kernels, layers, quantizers, samplers, training.

mod autograd;
mod buffer;
mod conv;
pub mod diffusion;
mod error;
pub mod evolution;
pub mod gemm;
mod gradcheck;
mod kernels;
pub mod layers;
pub mod memory;
pub mod models;
pub mod ops;
mod param;
pub mod profile;
pub mod quantizers;
pub mod sampling;
pub mod simd;
mod tensor;
pub mod threads;
pub mod training;

pub use autograd::{Gradients, Sink, no_grad};
pub use buffer::{Buffer, release_memory};
pub use error::{NnError, Result};
pub use gradcheck::check_gradients;
pub use param::{Init, Module, Param};
pub use simd::{Isa, isa, vectorised};
pub use tensor::Tensor;
pub use threads::{set_threads, threads};
