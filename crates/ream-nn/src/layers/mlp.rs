//! Perceptrons for control: any sizes, orthogonal beginnings, optional LayerNorm and spectral normalisation.
//!
//! `h_0 = x`, `h_{l+1} = act(norm(W_l h_l + b_l))`, and the last layer is linear.
//!
//! - Orthogonal beginning (Saxe, McClelland & Ganguli, 2014): `W = gain Q` where `Q` has orthonormal rows or columns, from the QR
//!   decomposition of a normal matrix with a positive diagonal of `R`, so `Q` is uniform.
//! - Spectral normalisation (Miyato et al., 2018): the layer uses `W / sigma`, `sigma = |W' u|` with `u` the left singular vector
//!   that [`MlpNet::power_iteration`] follows. `u` is held fixed in the gradient, where `sigma` as a function of `W` is exact.

use ream_rand::Rng;
use serde::{Deserialize, Serialize};

use crate::error::{Result, config};
use crate::layers::{LayerNorm, Linear};
use crate::ops::{self, Activation};
use crate::param::{Init, Module, Param};
use crate::tensor::Tensor;

/// How the weights of an [`MlpNet`] begin. Biases begin at zero, with `Uniform` as the weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Beginning {
    /// Orthogonal with these gains: the activation's own when `hidden` is not given; `last` is often 0.01 for policies, 1 for values.
    Orthogonal {
        /// Gain of the hidden layers.
        hidden: Option<f32>,
        /// Gain of the last layer.
        last: f32,
    },
    /// Normal with deviation `1 / sqrt(d_in)`.
    #[default]
    Normal,
    /// Uniform on `[-1 / sqrt(d_in), 1 / sqrt(d_in))`, what PyTorch's `Linear` does.
    Uniform,
}

/// What an [`MlpNet`] is made of.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MlpConfig {
    /// `[d_in, hidden, .., d_out]`.
    pub sizes: Vec<usize>,
    /// Between the layers.
    #[serde(default)]
    pub activation: Activation,
    /// How the weights begin.
    #[serde(default)]
    pub beginning: Beginning,
    /// LayerNorm before every activation.
    #[serde(default)]
    pub layer_norm: bool,
    /// Spectral normalisation of every hidden layer.
    #[serde(default)]
    pub spectral_norm: bool,
}

impl MlpConfig {
    /// Plain layers of these sizes, `[d_in, hidden, .., d_out]`.
    #[must_use]
    pub fn new(sizes: &[usize], activation: Activation) -> Self {
        Self { sizes: sizes.to_vec(), activation, ..Self::default() }
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.sizes.len() < 2 || self.sizes.contains(&0) {
            return config("sizes", "at least [d_in, d_out], all positive", format!("{:?}", self.sizes));
        }
        Ok(())
    }

    /// The first weights of layer `l`, `[d_out, d_in]`.
    pub(super) fn weight(&self, l: usize, rng: &mut Rng) -> Vec<f32> {
        let (d_in, d_out) = (self.sizes[l], self.sizes[l + 1]);
        let scale = 1.0 / (d_in as f32).sqrt();
        match self.beginning {
            Beginning::Orthogonal { hidden, last } => {
                let hidden = hidden.unwrap_or_else(|| self.activation.gain());
                orthogonal(d_out, d_in, if l + 2 == self.sizes.len() { last } else { hidden }, rng)
            }
            Beginning::Normal => (0..d_out * d_in).map(|_| rng.normal() as f32 * scale).collect(),
            Beginning::Uniform => (0..d_out * d_in).map(|_| uniform(rng, scale)).collect(),
        }
    }

    /// The first bias of layer `l`, `[d_out]`.
    pub(super) fn bias(&self, l: usize, rng: &mut Rng) -> Vec<f32> {
        let scale =
            if self.beginning == Beginning::Uniform { 1.0 / (self.sizes[l] as f32).sqrt() } else { 0.0 };
        (0..self.sizes[l + 1]).map(|_| uniform(rng, scale)).collect()
    }
}

fn uniform(rng: &mut Rng, limit: f32) -> f32 {
    (2.0 * rng.uniform_f32() - 1.0) * limit
}

/// A uniformly distributed matrix `[rows, columns]` with orthonormal rows or columns (whichever are fewer), times `gain`.
#[must_use]
pub fn orthogonal(rows: usize, columns: usize, gain: f32, rng: &mut Rng) -> Vec<f32> {
    let (count, len) = (rows.min(columns), rows.max(columns));
    let mut vectors: Vec<Vec<f64>> = Vec::with_capacity(count);
    while vectors.len() < count {
        let mut v: Vec<f64> = (0..len).map(|_| rng.normal()).collect();
        // Gram-Schmidt twice is orthogonal to rounding (Giraud et al., 2005).
        for q in vectors.iter().chain(&vectors) {
            let along: f64 = q.iter().zip(&v).map(|(q, v)| q * v).sum();
            v.iter_mut().zip(q).for_each(|(v, q)| *v -= along * q);
        }
        let norm = v.iter().map(|v| v * v).sum::<f64>().sqrt();
        if norm > 1e-6 {
            v.iter_mut().for_each(|v| *v /= norm);
            vectors.push(v);
        }
    }
    let at = |i: usize, j: usize| if rows <= columns { vectors[i][j] } else { vectors[j][i] };
    (0..rows * columns).map(|k| at(k / columns, k % columns) as f32 * gain).collect()
}

/// One layer with what may stand around it.
#[derive(Clone, Debug)]
struct Layer {
    linear: Linear,
    norm: Option<LayerNorm>,
    /// Left singular vector, `[1, d_out]`, frozen.
    u: Option<Param>,
}

impl Layer {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let Some(u) = &self.u else { return self.normalised(&self.linear.forward(x)?) };
        let weight = self.linear.weight.tensor();
        let sigma = u.tensor().matmul(&weight)?.square().sum().sqrt();
        let bias = self.linear.bias.as_ref().map(Param::tensor);
        self.normalised(&ops::linear(x, &weight.div(&sigma)?, bias.as_ref())?)
    }

    fn normalised(&self, x: &Tensor) -> Result<Tensor> {
        self.norm.as_ref().map_or_else(|| Ok(x.clone()), |norm| norm.forward(x))
    }
}

impl Module for Layer {
    fn params(&self) -> Vec<Param> {
        [self.linear.params(), self.norm.params(), self.u.params()].concat()
    }
}

/// A perceptron, `[.., d_in]` to `[.., d_out]`.
#[derive(Clone, Debug)]
pub struct MlpNet {
    layers: Vec<Layer>,
    activation: Activation,
}

impl MlpNet {
    /// A network of this make.
    ///
    /// # Errors
    /// When there are fewer than two sizes, or one is zero.
    pub fn new(init: &Init, config: &MlpConfig) -> Result<Self> {
        config.check()?;
        let layers = (0..config.sizes.len() - 1).map(|l| Self::layer(&init.at(l), config, l));
        let net = Self { layers: layers.collect::<Result<_>>()?, activation: config.activation };
        // Near the singular vector from the start, so that the first steps are not scaled wrongly.
        net.power_iteration(20);
        Ok(net)
    }

    fn layer(init: &Init, config: &MlpConfig, l: usize) -> Result<Layer> {
        let (d_in, d_out) = (config.sizes[l], config.sizes[l + 1]);
        let hidden = l + 2 < config.sizes.len();
        let weight = config.weight(l, &mut init.stream("weight").at(0));
        let bias = config.bias(l, &mut init.stream("bias").at(0));
        let linear = Linear {
            weight: init.values("weight", &Tensor::from_vec(weight, &[d_out, d_in])?),
            bias: Some(init.values("bias", &Tensor::from_vec(bias, &[d_out])?)),
        };
        let norm = (hidden && config.layer_norm).then(|| LayerNorm::new(&init.at("norm"), d_out, true));
        let u = (hidden && config.spectral_norm).then(|| {
            let u = init.normal("u", &[1, d_out], 1.0);
            u.freeze();
            u
        });
        Ok(Layer { linear, norm, u })
    }

    /// `[.., d_in]` to `[.., d_out]`.
    ///
    /// # Errors
    /// When the last axis is not `d_in`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if let Some(plain) = self.plain() {
            return ops::mlp(x, &plain, self.activation);
        }
        let mut h = x.clone();
        for (l, layer) in self.layers.iter().enumerate() {
            h = layer.forward(&h)?;
            if l + 1 < self.layers.len() {
                h = self.activation.apply(&h);
            }
        }
        Ok(h)
    }

    /// Weight and bias of every layer, when nothing stands between a layer and its activation.
    fn plain(&self) -> Option<Vec<(Tensor, Option<Tensor>)>> {
        let plain = |layer: &Layer| layer.norm.is_none() && layer.u.is_none();
        self.layers.iter().all(plain).then(|| {
            let layers = self.layers.iter().map(|layer| &layer.linear);
            layers.map(|linear| (linear.weight.tensor(), linear.bias.as_ref().map(Param::tensor))).collect()
        })
    }

    /// The hidden features before the last layer, `[.., hidden]`.
    ///
    /// # Errors
    /// When the last axis is not `d_in`.
    pub fn features(&self, x: &Tensor) -> Result<Tensor> {
        self.layers[..self.layers.len() - 1]
            .iter()
            .try_fold(x.clone(), |h, layer| Ok(self.activation.apply(&layer.forward(&h)?)))
    }

    /// Moves the singular vectors of spectral normalisation towards those of the present weights: once after every step of training.
    pub fn power_iteration(&self, times: usize) {
        for layer in &self.layers {
            let Some(u) = &layer.u else { continue };
            let weight = layer.linear.weight.tensor();
            let d_in = weight.last();
            u.update(|u| {
                for _ in 0..times.max(1) {
                    power_step(u, weight.data(), d_in);
                }
            });
        }
    }
}

/// `u <- W W' u`, of length 1.
fn power_step(u: &mut [f32], weight: &[f32], d_in: usize) {
    let mut v = vec![0.0_f32; d_in];
    for (row, u) in weight.chunks_exact(d_in).zip(u.iter()) {
        v.iter_mut().zip(row).for_each(|(v, w)| *v += w * u);
    }
    for (row, u) in weight.chunks_exact(d_in).zip(u.iter_mut()) {
        *u = crate::simd::dot(row, &v);
    }
    let norm = crate::simd::dot(u, u).sqrt().max(f32::MIN_POSITIVE);
    u.iter_mut().for_each(|u| *u /= norm);
}

impl Module for MlpNet {
    fn params(&self) -> Vec<Param> {
        self.layers.params()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check_gradients;
    use ream_rand::Stream;

    fn normal(shape: &[usize], seed: u64) -> Tensor {
        Tensor::randn(shape, 0.7, &mut Stream::new(seed, "mlp").at(0))
    }

    #[test]
    fn orthogonal_matrices_are_orthogonal() {
        for (rows, columns) in [(5, 5), (3, 7), (7, 3), (1, 4)] {
            let w = orthogonal(rows, columns, 2.0, &mut Stream::new(1, "q").at(0));
            let at =
                |i: usize, j: usize| if rows <= columns { w[i * columns + j] } else { w[j * columns + i] };
            for i in 0..rows.min(columns) {
                for k in 0..rows.min(columns) {
                    let dot: f32 = (0..rows.max(columns)).map(|j| at(i, j) * at(k, j)).sum();
                    assert!((dot - if i == k { 4.0 } else { 0.0 }).abs() < 1e-5, "{rows} {columns} {i} {k}");
                }
            }
        }
    }

    #[test]
    fn gradients_with_every_activation_and_option() {
        let x = [normal(&[5, 3], 1)];
        for activation in [Activation::Tanh, Activation::Gelu, Activation::Silu] {
            for (layer_norm, spectral_norm) in [(false, false), (true, false), (false, true), (true, true)] {
                let beginning = Beginning::Orthogonal { hidden: None, last: 1.0 };
                let make =
                    MlpConfig { sizes: vec![3, 8, 6, 2], activation, beginning, layer_norm, spectral_norm };
                let net = MlpNet::new(&Init::new(2), &make).unwrap();
                let trained: Vec<Param> = net.params().into_iter().filter(|p| !p.is_frozen()).collect();
                check_gradients(&x, &trained, 1e-2, |x| net.forward(&x[0]))
                    .unwrap_or_else(|e| panic!("{make:?}: {e}"));
            }
        }
        let kinked = Tensor::from_vec(vec![-1.4, -0.5, 0.6, 1.3], &[4]).unwrap();
        check_gradients(&[kinked], &[], 5e-3, |x| {
            Activation::Elu.apply(&x[0]).add(&Activation::Relu.apply(&x[0]))
        })
        .unwrap();
    }

    #[test]
    fn spectral_norm_finds_the_largest_singular_value() {
        let make = MlpConfig { spectral_norm: true, ..MlpConfig::new(&[3, 4, 1], Activation::Tanh) };
        let net = MlpNet::new(&Init::new(3), &make).unwrap();
        let layer = &net.layers[0];
        // Singular values 3, 2, 1: the map of the unit vector along the first must come out with length 1.
        layer.linear.weight.set(&[3.0, 0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0]).unwrap();
        net.power_iteration(60);
        let x = Tensor::from_vec(vec![1.0, 1.0, 1.0], &[1, 3]).unwrap();
        let y = layer.forward(&x).unwrap().to_vec();
        for (y, want) in y.iter().zip([1.0, 2.0 / 3.0, 1.0 / 3.0, 0.0]) {
            assert!((y - want).abs() < 1e-5, "{y} {want}");
        }
    }

    #[test]
    fn features_feed_the_last_layer_and_sizes_are_checked() {
        let net = MlpNet::new(&Init::new(4), &MlpConfig::new(&[3, 8, 2], Activation::Relu)).unwrap();
        let x = normal(&[5, 3], 2);
        let features = net.features(&x).unwrap();
        let y = net.layers[1].forward(&features).unwrap();
        assert_eq!(y.to_vec(), net.forward(&x).unwrap().to_vec());
        let error = MlpNet::new(&Init::new(4), &MlpConfig::new(&[3], Activation::Relu)).unwrap_err();
        assert!(error.to_string().contains("sizes must be at least [d_in, d_out]"), "{error}");
        assert!(net.forward(&normal(&[5, 4], 3)).unwrap_err().to_string().contains("d_in = 3"));
    }
}
