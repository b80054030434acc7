//! Neural networks on an ordinary CPU: tensors with gradients, fused kernels, layers, quantizers, samplers, training.
