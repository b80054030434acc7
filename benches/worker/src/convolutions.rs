//! Convolutional workloads, as in `benches/torch/convolutions.py`; images are `[batch, height, width, channels]`.

use ream_nn::layers::{Conv2d, GroupNorm, ResBlock, Upsample};
use ream_nn::ops::{self, Conv};
use ream_nn::quantizers::{
    CodebookUpdate, Distance, Quantized, Seeding, VectorQuantizer, VqConfig, straight_through,
};
use ream_nn::{Init, Module, Param, Tensor};
use ream_rand::Stream;

use crate::data::{self, BATCHES};
use crate::workload::{Cost, Failure, Model, Training, Workload, adamw};

/// One layer of a stack.
enum Layer {
    Conv(Conv2d),
    Silu,
    NormSilu(GroupNorm),
    Residual(ResBlock),
    Upsample(Upsample),
}

/// Layers on top of each other, named by their places.
struct Stack {
    init: Init,
    layers: Vec<Layer>,
}

impl Stack {
    fn new(init: &Init, name: &str) -> Self {
        Self { init: init.at(name), layers: Vec::new() }
    }

    fn push(mut self, make: impl FnOnce(&Init) -> Layer) -> Self {
        let layer = make(&self.init.at(self.layers.len()));
        self.layers.push(layer);
        self
    }

    /// A convolution that keeps the size, divided by the stride.
    fn conv(self, from: usize, to: usize, kernel: usize, stride: usize) -> Self {
        let conv = Conv::same(kernel).stride(stride);
        self.push(|init| Layer::Conv(Conv2d::new(init, from, to, kernel, conv, true)))
    }

    fn silu(self) -> Self {
        self.push(|_| Layer::Silu)
    }

    fn norm_silu(self, channels: usize) -> Self {
        self.push(|init| Layer::NormSilu(GroupNorm::new(init, 8, channels)))
    }

    fn residual(self, channels: usize) -> Self {
        self.push(|init| Layer::Residual(ResBlock::new(init, channels, channels, 8)))
    }

    fn upsample(self, from: usize, to: usize) -> Self {
        self.push(|init| Layer::Upsample(Upsample::new(init, from, to)))
    }

    fn forward(&self, x: &Tensor) -> ream_nn::Result<Tensor> {
        self.layers.iter().try_fold(x.clone(), |x, layer| match layer {
            Layer::Conv(conv) => conv.forward(&x),
            Layer::Silu => Ok(x.silu()),
            Layer::NormSilu(norm) => norm.forward_silu(&x),
            Layer::Residual(block) => block.forward(&x),
            Layer::Upsample(up) => up.forward(&x),
        })
    }

    /// FLOP of one forward pass of one image of `size` pixels squared.
    fn flop(&self, mut size: usize) -> usize {
        let of = |conv: &Conv2d, size: usize| 2 * conv.weight.len() * size * size;
        let mut total = 0;
        for layer in &self.layers {
            match layer {
                Layer::Silu | Layer::NormSilu(_) => {}
                Layer::Conv(conv) => {
                    size /= conv.conv.stride;
                    total += of(conv, size);
                }
                Layer::Residual(block) => total += of(&block.conv1, size) + of(&block.conv2, size),
                Layer::Upsample(up) => {
                    size *= 2;
                    total += of(&up.conv, size);
                }
            }
        }
        total
    }
}

impl Module for Stack {
    fn params(&self) -> Vec<Param> {
        let of = |layer: &Layer| match layer {
            Layer::Conv(conv) => conv.params(),
            Layer::Silu => Vec::new(),
            Layer::NormSilu(norm) => norm.params(),
            Layer::Residual(block) => block.params(),
            Layer::Upsample(up) => up.params(),
        };
        self.layers.iter().flat_map(of).collect()
    }
}

/// Something that turns features into codes: the codes' vectors and what the loss gains.
trait Bottleneck: Module {
    fn quantize(&self, z: &Tensor) -> ream_nn::Result<(Tensor, Tensor)>;
}

/// How far a reconstruction is from its image.
type Reconstruction = fn(&Tensor, &Tensor) -> ream_nn::Result<Tensor>;

fn l1(a: &Tensor, b: &Tensor) -> ream_nn::Result<Tensor> {
    Ok(a.sub(b)?.abs().mean())
}

struct Autoencoder<Q> {
    encoder: Stack,
    quantizer: Q,
    decoder: Stack,
    reconstruction: Reconstruction,
}

impl<Q: Bottleneck> Model for Autoencoder<Q> {
    type Batch = Tensor;

    fn params(&self) -> Vec<Param> {
        [self.encoder.params(), self.quantizer.params(), self.decoder.params()].concat()
    }

    fn loss(&self, images: &Tensor) -> ream_nn::Result<Tensor> {
        let (quantized, loss) = self.quantizer.quantize(&self.encoder.forward(images)?)?;
        (self.reconstruction)(&self.decoder.forward(&quantized)?, images)?.add(&loss)
    }
}

/// The training of an autoencoder on images of rectangles; `quantizer_flop` are those of one image.
fn training<Q: Bottleneck + 'static>(
    model: Autoencoder<Q>,
    seed: u64,
    [rows, size]: [usize; 2],
    quantizer_flop: usize,
) -> Result<Box<dyn Workload>, Failure> {
    let batches = data::rectangles(seed, BATCHES * rows, size)
        .chunks(rows * size * size)
        .map(|batch| Tensor::from_vec(batch.to_vec(), &[rows, size, size, 1]))
        .collect::<ream_nn::Result<_>>()?;
    let forward = model.encoder.flop(size) + model.decoder.flop(size / 4);
    let flop = (rows * (3 * forward + quantizer_flop)) as u64;
    let cost = Cost { flop, parameters: 0, items: rows, item: "image" };
    Ok(Box::new(Training::new(model, batches, adamw(1e-3, 1e-4), cost)))
}

// --- the plain VQ autoencoder ---

/// Codes that learn by their own gradient.
struct GradientVq(VectorQuantizer);

impl Module for GradientVq {
    fn params(&self) -> Vec<Param> {
        self.0.params()
    }
}

impl Bottleneck for GradientVq {
    fn quantize(&self, z: &Tensor) -> ream_nn::Result<(Tensor, Tensor)> {
        let Quantized { quantized, loss, .. } = self.0.forward(z)?;
        Ok((quantized, loss))
    }
}

fn codebook(codes: usize, dim: usize) -> VqConfig {
    VqConfig { revival: None, seeding: Seeding::Normal, ..VqConfig::new(codes, dim) }
}

/// 28x28 images, batch 64, 7x7 codes of 32 numbers out of 256.
pub(crate) fn vqae() -> Result<Box<dyn Workload>, Failure> {
    let init = Init::new(1);
    let config = VqConfig { update: CodebookUpdate::Gradient, ..codebook(256, 32) };
    let encoder = Stack::new(&init, "encoder");
    let decoder = Stack::new(&init, "decoder");
    let model = Autoencoder {
        encoder: encoder.conv(1, 32, 3, 2).silu().conv(32, 64, 3, 2).residual(64).conv(64, 32, 1, 1),
        quantizer: GradientVq(VectorQuantizer::new(&init.at("quantizer"), config)?),
        decoder: decoder.conv(32, 64, 3, 1).residual(64).upsample(64, 32).silu().upsample(32, 1),
        reconstruction: ops::mse,
    };
    training(model, 51, [64, 28], 2 * 49 * 256 * 32)
}

// --- the tokenizers of visual autoregression ---

fn encoder(init: &Init, latent: usize) -> Stack {
    Stack::new(init, "encoder")
        .conv(1, 16, 3, 1)
        .residual(16)
        .conv(16, 32, 3, 2)
        .residual(32)
        .conv(32, 64, 3, 2)
        .residual(64)
        .norm_silu(64)
        .conv(64, latent, 1, 1)
}

fn decoder(init: &Init, latent: usize) -> Stack {
    Stack::new(init, "decoder")
        .conv(latent, 64, 3, 1)
        .residual(64)
        .upsample(64, 32)
        .residual(32)
        .upsample(32, 16)
        .residual(16)
        .norm_silu(16)
        .conv(16, 1, 3, 1)
}

/// Codes that follow what is assigned to them.
struct EmaVq(VectorQuantizer);

impl EmaVq {
    fn train(&self, z: &Tensor) -> ream_nn::Result<Quantized> {
        // Nothing is drawn: the codebook has begun and nothing is revived.
        self.0.forward_train(z, &mut Stream::new(1, "codebook").at(0))
    }
}

impl Module for EmaVq {
    fn params(&self) -> Vec<Param> {
        self.0.params()
    }
}

impl Bottleneck for EmaVq {
    fn quantize(&self, z: &Tensor) -> ream_nn::Result<(Tensor, Tensor)> {
        let Quantized { quantized, loss, .. } = self.train(z)?;
        Ok((quantized, loss))
    }
}

/// 32x32 images, batch 32, 8x8 codes of 8 numbers out of 512 by cosine, L1 + commitment (no perceptual term).
pub(crate) fn vq_tokenizer() -> Result<Box<dyn Workload>, Failure> {
    let init = Init::new(1);
    let config = VqConfig { distance: Distance::Cosine, ..codebook(512, 8) };
    let model = Autoencoder {
        encoder: encoder(&init, 8),
        quantizer: EmaVq(VectorQuantizer::new(&init.at("quantizer"), config)?),
        decoder: decoder(&init, 8),
        reconstruction: l1,
    };
    training(model, 61, [32, 32], 2 * 64 * 512 * 8)
}

const SCALES: [usize; 5] = [1, 2, 3, 5, 8];
const SIDE: usize = 8;

/// Residual quantization over five scales (Tian et al., 2024) with one shared codebook.
struct MultiScaleVq {
    codes: EmaVq,
    phi: [Conv2d; 2],
}

impl Module for MultiScaleVq {
    fn params(&self) -> Vec<Param> {
        [self.codes.params(), self.phi[0].params(), self.phi[1].params()].concat()
    }
}

impl Bottleneck for MultiScaleVq {
    fn quantize(&self, f: &Tensor) -> ream_nn::Result<(Tensor, Tensor)> {
        let target = f.detach();
        let mut reached = Tensor::zeros(f.shape());
        let mut commitment = Tensor::scalar(0.0);
        for (k, scale) in SCALES.into_iter().enumerate() {
            let z = ops::resize_area(&target.sub(&reached.detach())?, [scale; 2])?;
            let mut h = self.codes.train(&z)?.quantized;
            if scale != SIDE {
                h = ops::resize_bicubic(&h, [SIDE; 2])?;
            }
            let change = h.add(&self.phi[k / 3].forward(&h)?)?.mul_scalar(0.5);
            reached = reached.add(&change)?;
            commitment = commitment.add(&ops::mse(f, &reached.detach())?)?;
        }
        Ok((straight_through_to(&reached, f)?, commitment.mul_scalar(0.25)))
    }
}

/// `values`, with gradients for both.
fn straight_through_to(values: &Tensor, f: &Tensor) -> ream_nn::Result<Tensor> {
    values.add(&straight_through(f, &Tensor::zeros(f.shape()))?)
}

/// 32x32 images, batch 32, 103 codes of 16 numbers out of 256 over five scales, L1 + commitment.
pub(crate) fn msvq_tokenizer() -> Result<Box<dyn Workload>, Failure> {
    let init = Init::new(1);
    let place = init.at("quantizer");
    let phi = |name: &str| Conv2d::new(&place.at(name), 16, 16, 3, Conv::same(3), true);
    let model = Autoencoder {
        encoder: encoder(&init, 16),
        quantizer: MultiScaleVq {
            codes: EmaVq(VectorQuantizer::new(&place, codebook(256, 16))?),
            phi: [phi("phi0"), phi("phi1")],
        },
        decoder: decoder(&init, 16),
        reconstruction: l1,
    };
    let look_up = 2 * 103 * 256 * 16;
    let phi_flop = 3 * SCALES.len() * 2 * SIDE * SIDE * 9 * 16 * 16;
    training(model, 71, [32, 32], look_up + phi_flop)
}
