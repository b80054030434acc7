//! Layers for images `[batch, height, width, channels]`.

use crate::error::{Result, config};
use crate::ops::{self, Conv};
use crate::param::{Init, Module, Param};
use crate::tensor::Tensor;

/// A convolution with its weights.
#[derive(Clone, Debug)]
pub struct Conv2d {
    /// `[out, kernel, kernel, in / groups]`.
    pub weight: Param,
    /// `[out]`.
    pub bias: Option<Param>,
    /// How it moves.
    pub conv: Conv,
}

impl Conv2d {
    /// Weights normal with deviation `1 / sqrt(kernel^2 in / groups)`, bias zero. `c_in` and `c_out` must be multiples of the groups.
    #[must_use]
    pub fn new(init: &Init, c_in: usize, c_out: usize, kernel: usize, conv: Conv, bias: bool) -> Self {
        let inner = c_in / conv.groups.max(1);
        let deviation = 1.0 / ((kernel * kernel * inner).max(1) as f32).sqrt();
        Self {
            weight: init.normal("weight", &[c_out, kernel, kernel, inner], deviation),
            bias: bias.then(|| init.constant("bias", &[c_out], 0.0)),
            conv,
        }
    }

    /// `[batch, height, width, in]` to `[batch, height', width', out]`: see [`ops::conv2d`].
    ///
    /// # Errors
    /// When sizes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(Param::tensor);
        ops::conv2d(x, &self.weight.tensor(), bias.as_ref(), self.conv)
    }
}

impl Module for Conv2d {
    fn params(&self) -> Vec<Param> {
        std::iter::once(self.weight.clone()).chain(self.bias.clone()).collect()
    }
}

/// A transposed convolution with its weights.
#[derive(Clone, Debug)]
pub struct ConvTranspose2d {
    /// `[in, kernel, kernel, out / groups]`.
    pub weight: Param,
    /// `[out]`.
    pub bias: Option<Param>,
    /// How the convolution that it transposes moves.
    pub conv: Conv,
}

impl ConvTranspose2d {
    /// Weights normal with deviation `sqrt(stride^2 groups / (kernel^2 in))` (so many inputs reach a pixel), bias zero.
    #[must_use]
    pub fn new(init: &Init, c_in: usize, c_out: usize, kernel: usize, conv: Conv, bias: bool) -> Self {
        let reach = (kernel * kernel * c_in).max(1) as f32;
        let deviation = ((conv.stride * conv.stride * conv.groups) as f32 / reach).sqrt();
        let shape = [c_in, kernel, kernel, c_out / conv.groups.max(1)];
        Self {
            weight: init.normal("weight", &shape, deviation),
            bias: bias.then(|| init.constant("bias", &[c_out], 0.0)),
            conv,
        }
    }

    /// `[batch, height, width, in]` to `[batch, height', width', out]`: see [`ops::conv_transpose2d`].
    ///
    /// # Errors
    /// When sizes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let bias = self.bias.as_ref().map(Param::tensor);
        ops::conv_transpose2d(x, &self.weight.tensor(), bias.as_ref(), self.conv)
    }
}

impl Module for ConvTranspose2d {
    fn params(&self) -> Vec<Param> {
        std::iter::once(self.weight.clone()).chain(self.bias.clone()).collect()
    }
}

/// Group normalisation with scale and shift.
#[derive(Clone, Debug)]
pub struct GroupNorm {
    /// `[channels]`, one at first.
    pub weight: Param,
    /// `[channels]`, zero at first.
    pub bias: Param,
    /// Groups of channels.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f32,
}

impl GroupNorm {
    /// `groups` must divide `channels`.
    #[must_use]
    pub fn new(init: &Init, groups: usize, channels: usize) -> Self {
        Self {
            weight: init.constant("weight", &[channels], 1.0),
            bias: init.constant("bias", &[channels], 0.0),
            groups,
            eps: 1e-5,
        }
    }

    /// `[batch, .., channels]`, same shape out.
    ///
    /// # Errors
    /// When sizes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::group_norm(x, self.groups, &self.weight.tensor(), &self.bias.tensor(), self.eps)
    }

    /// `silu` of it, in one pass.
    ///
    /// # Errors
    /// When sizes do not fit.
    pub fn forward_silu(&self, x: &Tensor) -> Result<Tensor> {
        ops::group_norm_silu(x, self.groups, &self.weight.tensor(), &self.bias.tensor(), self.eps)
    }
}

impl Module for GroupNorm {
    fn params(&self) -> Vec<Param> {
        vec![self.weight.clone(), self.bias.clone()]
    }
}

/// Batch normalisation with scale, shift and running statistics.
#[derive(Clone, Debug)]
pub struct BatchNorm {
    /// `[channels]`, one at first.
    pub weight: Param,
    /// `[channels]`, zero at first.
    pub bias: Param,
    /// Running mean, `[channels]`; frozen, so that checkpoints keep it and optimisers leave it alone.
    pub mean: Param,
    /// Running unbiased variance, `[channels]`; frozen.
    pub variance: Param,
    /// Part of the running statistics that a batch replaces.
    pub momentum: f32,
    /// Added to the variance.
    pub eps: f32,
}

impl BatchNorm {
    /// Running mean 0 and variance 1, momentum 0.1.
    #[must_use]
    pub fn new(init: &Init, channels: usize) -> Self {
        let (mean, variance) =
            (init.constant("mean", &[channels], 0.0), init.constant("variance", &[channels], 1.0));
        mean.freeze();
        variance.freeze();
        Self {
            weight: init.constant("weight", &[channels], 1.0),
            bias: init.constant("bias", &[channels], 0.0),
            mean,
            variance,
            momentum: 0.1,
            eps: 1e-5,
        }
    }

    /// `[.., channels]`, same shape out. While training, normalises with the batch's own statistics and moves the running ones;
    /// otherwise normalises with the running ones.
    ///
    /// # Errors
    /// When sizes do not fit, or a batch to train on has a single number for each channel.
    pub fn forward(&self, x: &Tensor, train: bool) -> Result<Tensor> {
        let (gamma, beta) = (self.weight.tensor(), self.bias.tensor());
        if !train {
            let (mean, variance) = (self.mean.to_vec(), self.variance.to_vec());
            return ops::batch_norm_with(x, &gamma, &beta, &mean, &variance, self.eps);
        }
        if x.rows() < 2 {
            return config("rows of a batch to normalise", "at least 2 while training", x.rows());
        }
        let (y, batch) = ops::batch_norm(x, &gamma, &beta, self.eps)?;
        let unbiased = batch.count as f32 / (batch.count as f32 - 1.0);
        let part = self.momentum;
        self.mean.update(|mean| {
            mean.iter_mut().zip(&batch.mean).for_each(|(m, b)| *m += part * (b - *m));
        });
        self.variance.update(|variance| {
            variance.iter_mut().zip(&batch.variance).for_each(|(v, b)| *v += part * (b * unbiased - *v));
        });
        Ok(y)
    }
}

impl Module for BatchNorm {
    fn params(&self) -> Vec<Param> {
        vec![self.weight.clone(), self.bias.clone(), self.mean.clone(), self.variance.clone()]
    }
}

/// `skip(x) + conv(silu(norm(conv(silu(norm(x))))))` with 3 x 3 convolutions and group normalisation; `skip` is the identity, or a
/// 1 x 1 convolution when the channels differ.
#[derive(Clone, Debug)]
pub struct ResBlock {
    /// Over the input.
    pub norm1: GroupNorm,
    /// `in` to `out`.
    pub conv1: Conv2d,
    /// Between the convolutions.
    pub norm2: GroupNorm,
    /// `out` to `out`.
    pub conv2: Conv2d,
    /// When the channels differ.
    pub skip: Option<Conv2d>,
}

impl ResBlock {
    /// `groups` must divide both numbers of channels.
    #[must_use]
    pub fn new(init: &Init, c_in: usize, c_out: usize, groups: usize) -> Self {
        let same = Conv::same(3);
        Self {
            norm1: GroupNorm::new(&init.at("norm1"), groups, c_in),
            conv1: Conv2d::new(&init.at("conv1"), c_in, c_out, 3, same, true),
            norm2: GroupNorm::new(&init.at("norm2"), groups, c_out),
            conv2: Conv2d::new(&init.at("conv2"), c_out, c_out, 3, same, true),
            skip: (c_in != c_out)
                .then(|| Conv2d::new(&init.at("skip"), c_in, c_out, 1, Conv::default(), true)),
        }
    }

    /// `[batch, height, width, in]` to `[batch, height, width, out]`.
    ///
    /// # Errors
    /// When sizes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let h = self.conv1.forward(&self.norm1.forward_silu(x)?)?;
        let h = self.conv2.forward(&self.norm2.forward_silu(&h)?)?;
        match &self.skip {
            Some(skip) => h.add(&skip.forward(x)?),
            None => h.add(x),
        }
    }
}

impl Module for ResBlock {
    fn params(&self) -> Vec<Param> {
        [
            self.norm1.params(),
            self.conv1.params(),
            self.norm2.params(),
            self.conv2.params(),
            self.skip.params(),
        ]
        .concat()
    }
}

/// Half the height and width: a 3 x 3 convolution with stride 2.
#[derive(Clone, Debug)]
pub struct Downsample {
    /// Stride 2, padding 1.
    pub conv: Conv2d,
}

impl Downsample {
    /// `c_in` to `c_out` channels.
    #[must_use]
    pub fn new(init: &Init, c_in: usize, c_out: usize) -> Self {
        Self { conv: Conv2d::new(&init.at("conv"), c_in, c_out, 3, Conv::same(3).stride(2), true) }
    }

    /// `[batch, height, width, in]` to `[batch, ceil(height / 2), ceil(width / 2), out]`.
    ///
    /// # Errors
    /// When sizes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.conv.forward(x)
    }
}

impl Module for Downsample {
    fn params(&self) -> Vec<Param> {
        self.conv.params()
    }
}

/// Twice the height and width: every pixel four times, then a 3 x 3 convolution (in one step: [`ops::upsample_conv2d`]).
#[derive(Clone, Debug)]
pub struct Upsample {
    /// Stride 1, padding 1.
    pub conv: Conv2d,
}

impl Upsample {
    /// `c_in` to `c_out` channels.
    #[must_use]
    pub fn new(init: &Init, c_in: usize, c_out: usize) -> Self {
        Self { conv: Conv2d::new(&init.at("conv"), c_in, c_out, 3, Conv::same(3), true) }
    }

    /// `[batch, height, width, in]` to `[batch, 2 height, 2 width, out]`.
    ///
    /// # Errors
    /// When sizes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let bias = self.conv.bias.as_ref().map(Param::tensor);
        ops::upsample_conv2d(x, &self.conv.weight.tensor(), bias.as_ref())
    }
}

impl Module for Upsample {
    fn params(&self) -> Vec<Param> {
        self.conv.params()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_gradients;
    use ream_rand::Stream;

    fn normal(shape: &[usize], seed: u64) -> Tensor {
        Tensor::randn(shape, 0.7, &mut Stream::new(seed, "x").at(0))
    }

    #[test]
    fn every_parameter_gets_its_gradient() {
        let init = Init::new(1);
        let x = [normal(&[2, 4, 4, 6], 1)];
        let same = ResBlock::new(&init, 6, 6, 3);
        check_gradients(&x, &same.params(), 1e-2, |x| same.forward(&x[0])).unwrap();
        let wider = ResBlock::new(&init, 6, 8, 2);
        assert_eq!(wider.params().len(), 10);
        check_gradients(&x, &wider.params(), 1e-2, |x| wider.forward(&x[0])).unwrap();
        let down = Downsample::new(&init, 6, 5);
        check_gradients(&x, &down.params(), 1e-2, |x| down.forward(&x[0])).unwrap();
        let up = Upsample::new(&init, 6, 5);
        check_gradients(&x, &up.params(), 1e-2, |x| up.forward(&x[0])).unwrap();
        let back = ConvTranspose2d::new(&init, 6, 4, 4, Conv::same(3).stride(2).groups(2), true);
        check_gradients(&x, &back.params(), 1e-2, |x| back.forward(&x[0])).unwrap();
        assert_eq!(back.forward(&x[0]).unwrap().shape(), [2, 8, 8, 4]);
        let norm = GroupNorm::new(&init, 3, 6);
        check_gradients(&x, &norm.params(), 1e-2, |x| norm.forward(&x[0])).unwrap();
        let batch = BatchNorm::new(&init, 6);
        check_gradients(&x, &batch.params()[..2], 1e-2, |x| batch.forward(&x[0], true)).unwrap();
        check_gradients(&x, &batch.params()[..2], 1e-2, |x| batch.forward(&x[0], false)).unwrap();
    }

    #[test]
    fn batch_norm_learns_the_statistics_of_what_it_sees() {
        let norm = BatchNorm::new(&Init::new(1), 3);
        let x = normal(&[64, 4, 4, 3], 1).affine(2.0, 5.0);
        for _ in 0..100 {
            norm.forward(&x, true).unwrap();
        }
        let (train, eval) = (norm.forward(&x, true).unwrap(), norm.forward(&x, false).unwrap());
        assert!(train.data().iter().zip(eval.data()).all(|(a, b)| (a - b).abs() < 5e-3));
        assert!(norm.params()[2].is_frozen() && norm.params()[3].is_frozen());
        assert!(norm.forward(&normal(&[1, 1, 1, 3], 2), true).is_err());
    }

    #[test]
    fn a_frozen_layer_passes_gradients_on() {
        let block = ResBlock::new(&Init::new(1), 4, 4, 2);
        block.freeze();
        check_gradients(&[normal(&[1, 3, 3, 4], 1)], &[], 1e-2, |x| block.forward(&x[0])).unwrap();
    }
}
