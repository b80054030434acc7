//! Index backpropagation (IBQ; Shi et al., 2024, arXiv 2412.02692): the gradient goes through the categorical law over all codes, so every
//! code learns at every step and large codebooks do not collapse.
//!
//! `p = softmax(z C' / T)`, `ind = onehot(argmax p)`, `ind_st = ind - sg(p) + p`, `z_q = ind_st C`. In the forward pass `z_q` is the chosen
//! code, to the bit; the gradient `g` of `z_q` gives `ind' g` to the chosen codes and, through `p`, `(g C')` to `z` and to **all** codes.
//! `loss = codebook |z_q - sg(z)|^2 + commitment |sg(z_q) - z|^2 + entropy (E H(p) - H(E p))`.

use super::nearest::{MOST_CODES, best_product};
use super::{Quantized, Usage, check_codes, features};
use crate::buffer::Buffer;
use crate::error::{Result, config};
use crate::gemm::{Mat, Start, gemm};
use crate::ops;
use crate::param::{Init, Module, Param};
use crate::tensor::Tensor;

/// What an [`IndexBackprop`] is.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct IndexBackpropConfig {
    /// Number of codes K.
    pub codes: usize,
    /// Width d of a vector.
    pub dim: usize,
    /// T of the softmax.
    pub temperature: f32,
    /// Weight of `|z_q - sg(z)|^2`.
    pub codebook: f32,
    /// Weight of `|sg(z_q) - z|^2`.
    pub commitment: f32,
    /// Weight of the entropies, in nats.
    pub entropy: f32,
}

impl IndexBackpropConfig {
    /// Temperature 1, codebook 1, commitment 0.25, entropy 0.05.
    #[must_use]
    pub fn new(codes: usize, dim: usize) -> Self {
        Self { codes, dim, temperature: 1.0, codebook: 1.0, commitment: 0.25, entropy: 0.05 }
    }
}

/// Best scoring of K vectors, all of which learn.
#[derive(Clone, Debug)]
pub struct IndexBackprop {
    config: IndexBackpropConfig,
    /// `[K, d]`.
    pub codebook: Param,
}

impl IndexBackprop {
    /// Codes normal with deviation `1 / sqrt(d)`.
    ///
    /// # Errors
    /// Naming the key, its range, and what was got.
    pub fn new(init: &Init, settings: IndexBackpropConfig) -> Result<Self> {
        if settings.codes == 0 || settings.codes > MOST_CODES {
            return config("codes", format!("1..={MOST_CODES}"), settings.codes);
        }
        if settings.dim == 0 {
            return config("dim", "1 or more", settings.dim);
        }
        if !(settings.temperature > 0.0 && settings.temperature.is_finite()) {
            return config("temperature", "finite and larger than 0", settings.temperature);
        }
        for (key, weight) in [
            ("codebook", settings.codebook),
            ("commitment", settings.commitment),
            ("entropy", settings.entropy),
        ] {
            if !(weight >= 0.0 && weight.is_finite()) {
                return config(key, "finite and 0 or larger", weight);
            }
        }
        let deviation = 1.0 / (settings.dim as f32).sqrt();
        let codebook = init.normal("codebook", &[settings.codes, settings.dim], deviation);
        Ok(Self { config: settings, codebook })
    }

    /// What it is.
    #[must_use]
    pub fn config(&self) -> &IndexBackpropConfig {
        &self.config
    }

    /// Quantises `z` (`[.., d]`). Memory: two arrays of `[vectors, K]` until the backward pass.
    ///
    /// # Errors
    /// When the last axis is not d or a number is not finite.
    pub fn forward(&self, z: &Tensor) -> Result<Quantized> {
        features("IndexBackprop::forward", z, self.config.dim)?;
        let codebook = self.codebook.tensor();
        let law = ops::linear(z, &codebook, None)?.mul_scalar(1.0 / self.config.temperature).softmax();
        let indices = best_product(z.data(), codebook.data(), self.config.dim);
        let quantized = look_up(&law, &codebook, &indices, z.shape())?;
        let commitment = ops::mse(z, &quantized.detach())?;
        let mut loss = commitment.mul_scalar(self.config.commitment);
        loss = loss.add(&ops::mse(&quantized, &z.detach())?.mul_scalar(self.config.codebook))?;
        if self.config.entropy > 0.0 && !z.is_empty() {
            loss = loss.add(&entropy_gap(&law)?.mul_scalar(self.config.entropy))?;
        }
        let usage = Usage::of(&indices);
        Ok(Quantized { quantized, indices, commitment, loss, usage })
    }

    /// Codes of `z` (`[.., d]`), row-major.
    ///
    /// # Errors
    /// As [`IndexBackprop::forward`].
    pub fn encode(&self, z: &Tensor) -> Result<Vec<u32>> {
        features("IndexBackprop::encode", z, self.config.dim)?;
        Ok(best_product(z.data(), self.codebook.tensor().data(), self.config.dim))
    }

    /// Vectors of codes: shape `to` followed by d.
    ///
    /// # Errors
    /// When a code does not exist or the codes do not fill the shape.
    pub fn decode(&self, indices: &[u32], to: &[usize]) -> Result<Tensor> {
        check_codes("IndexBackprop::decode", indices, self.config.codes as u64, to)?;
        ops::embedding(&self.codebook.tensor(), indices, to)
    }
}

impl Module for IndexBackprop {
    fn params(&self) -> Vec<Param> {
        vec![self.codebook.clone()]
    }
}

/// `(onehot - sg(p) + p) C` with `p` `[.., K]`, `C` `[K, d]`: the rows `indices` of `C`, to the bit.
fn look_up(law: &Tensor, codebook: &Tensor, indices: &[u32], to: &[usize]) -> Result<Tensor> {
    let (k, d) = (law.last(), codebook.last());
    let rows = indices.len();
    let picked = Buffer::copy_of(ops::embedding(&codebook.detach(), indices, &[rows])?.data());
    let (law, codes, ids) = (law.clone(), codebook.clone(), indices.to_vec());
    let parents = [&law.clone(), &codes.clone()];
    Ok(Tensor::custom("index_backprop", to, picked, &parents, move |grad, sink| {
        if law.requires_grad() {
            let mut down = Buffer::scratch(rows * k);
            gemm(&mut down, k, Mat::new(&grad, rows, d), Mat::new(codes.data(), k, d).t(), Start::Zero);
            sink.add(&law, down);
        }
        if let Some(sum) = sink.accumulate(&codes) {
            for (g, id) in grad.chunks_exact(d).zip(&ids) {
                let row = &mut sum[*id as usize * d..][..d];
                row.iter_mut().zip(g).for_each(|(s, g)| *s += g);
            }
        }
        Ok(())
    }))
}

/// `E H(p) - H(E p)` over rows, nats.
fn entropy_gap(law: &Tensor) -> Result<Tensor> {
    let minus_entropy = |p: &Tensor| Ok(p.mul(&p.add_scalar(f32::MIN_POSITIVE).ln())?.sum());
    let flat = law.reshape(&[law.rows(), law.last()])?;
    let average = flat.mean_axis(0)?;
    minus_entropy(&average)?.sub(&minus_entropy(&flat)?.mul_scalar(1.0 / law.rows() as f32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_gradients;
    use ream_rand::Stream;

    fn normal(shape: &[usize], seed: u64) -> Tensor {
        Tensor::randn(shape, 1.0, &mut Stream::new(seed, "ibq").at(0))
    }

    #[test]
    fn the_gradient_is_that_of_the_definition_and_reaches_every_code() {
        let ibq = IndexBackprop::new(&Init::new(1).at("q"), IndexBackpropConfig::new(12, 5)).unwrap();
        let z = normal(&[2, 3, 5], 1).watched();
        let out = ibq.forward(&z).unwrap();
        assert_eq!(out.quantized.to_vec(), ibq.decode(&out.indices, &[2, 3]).unwrap().to_vec());
        assert_eq!(ibq.encode(&z).unwrap(), out.indices);
        let weights = normal(&[30], 2).to_vec();
        let grads = out.quantized.backward_with(weights.clone().into()).unwrap();
        let (to_z, to_codes) = (grads.of(&z).unwrap().to_vec(), grads.get(&ibq.codebook).unwrap().to_vec());
        // The definition, composed: (onehot - sg(p) + p) C.
        let codebook = ibq.codebook.tensor();
        let law = ops::linear(&z, &codebook, None).unwrap().softmax();
        let mut hot = vec![0.0; 6 * 12];
        out.indices.iter().enumerate().for_each(|(i, id)| hot[i * 12 + *id as usize] = 1.0);
        let hot = Tensor::from_vec(hot, &[2, 3, 12]).unwrap();
        let mixed = hot.sub(&law.detach()).unwrap().add(&law).unwrap().matmul(&codebook).unwrap();
        let want = mixed.backward_with(weights.into()).unwrap();
        let close = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5);
        assert!(close(&to_z, want.of(&z).unwrap()) && close(&to_codes, want.get(&ibq.codebook).unwrap()));
        assert!(out.usage.used < 12);
        assert!(
            to_codes.chunks_exact(5).all(|code| code.iter().any(|g| g.abs() > 1e-6)),
            "a code without gradient"
        );
    }

    #[test]
    fn the_smooth_part_of_the_loss_has_its_gradient() {
        let law = |x: &[Tensor]| Ok(x[0].softmax());
        check_gradients(&[normal(&[4, 6], 3)], &[], 0.01, |x| entropy_gap(&law(x)?)).unwrap();
        // Uniform assignments: E H(p) = H(E p), so the gap is 0; sure and different ones: -ln 2.
        let even = entropy_gap(&Tensor::full(&[2, 4], 0.25)).unwrap().item().unwrap();
        let sure = Tensor::from_vec(vec![1.0, 0.0, 0.0, 1.0], &[2, 2]).unwrap();
        assert!(even.abs() < 1e-6);
        assert!((entropy_gap(&sure).unwrap().item().unwrap() + core::f32::consts::LN_2).abs() < 1e-6);
        // The commitment moves the features alone.
        let ibq = IndexBackprop::new(&Init::new(1).at("q"), IndexBackpropConfig::new(3, 4)).unwrap();
        let z = ibq.decode(&[0, 1, 2], &[3]).unwrap().detach().mul_scalar(2.0);
        check_gradients(&[z], &[], 0.01, |x| Ok(ibq.forward(&x[0])?.commitment)).unwrap();
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let says = |c: IndexBackpropConfig, text: &str| {
            let error = IndexBackprop::new(&Init::new(1), c).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        let good = IndexBackpropConfig::new(4, 2);
        says(IndexBackpropConfig { codes: 0, ..good }, "codes must be");
        says(IndexBackpropConfig { dim: 0, ..good }, "dim must be 1 or more, got 0");
        says(
            IndexBackpropConfig { temperature: 0.0, ..good },
            "temperature must be finite and larger than 0, got 0",
        );
        says(IndexBackpropConfig { entropy: -1.0, ..good }, "entropy must be");
    }
}
