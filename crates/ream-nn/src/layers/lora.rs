//! Low-rank adapters (Hu et al., 2021, arXiv 2106.09685): `y = W x + b + (alpha / r) B A x`.
//!
//! `A` `[r, d_in]` begins normal and `B` `[d_out, r]` zero, so the adapted layer begins as the base, which is frozen.
//! [`LoraPerSample`] reads another `A_i`, `B_i` for every sample of the batch, for instance written by a generator network.

use crate::error::{Result, config, shape};
use crate::gemm::{Mat, Start, gemm};
use crate::layers::Linear;
use crate::ops;
use crate::param::{Init, Module, Param};
use crate::tensor::Tensor;

/// A frozen linear map with a trained low-rank addition.
#[derive(Clone, Debug)]
pub struct Lora {
    /// The frozen map.
    pub base: Linear,
    /// `[r, d_in]`.
    pub a: Param,
    /// `[d_out, r]`.
    pub b: Param,
    scale: f32,
    /// The base's own weights while the adapter is merged into them: unmerging is exact.
    unmerged: Option<Vec<f32>>,
}

impl Lora {
    /// An adapter of rank `r` on `base`, which is frozen.
    ///
    /// # Errors
    /// When the rank is 0 or larger than the base's sizes.
    pub fn new(init: &Init, base: Linear, r: usize, alpha: f32) -> Result<Self> {
        let (d_out, d_in) = sizes(&base)?;
        if r == 0 || r > d_in.min(d_out) {
            return config("rank", format!("between 1 and {}", d_in.min(d_out)), r);
        }
        base.freeze();
        Ok(Self {
            a: init.normal("lora_a", &[r, d_in], 1.0 / (d_in as f32).sqrt()),
            b: init.constant("lora_b", &[d_out, r], 0.0),
            scale: alpha / r as f32,
            base,
            unmerged: None,
        })
    }

    /// `[.., d_in]` to `[.., d_out]`.
    ///
    /// # Errors
    /// When the last axis is not `d_in`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.base.forward(x)?;
        if self.unmerged.is_some() {
            return Ok(y);
        }
        let low = ops::linear(x, &self.a.tensor(), None)?.mul_scalar(self.scale);
        y.add(&ops::linear(&low, &self.b.tensor(), None)?)
    }

    /// Adds the adapter to the base's weights: evaluation costs no more than the base. Merging twice changes nothing.
    /// Save a model unmerged: a checkpoint holds parameters, not whether they are merged.
    pub fn merge(&mut self) {
        if self.unmerged.is_some() {
            return;
        }
        let (a, b) = (self.a.tensor(), self.b.tensor().mul_scalar(self.scale));
        let (&[r, d_in], &[d_out, _]) = (a.shape(), b.shape()) else { return };
        self.unmerged = Some(self.base.weight.to_vec());
        self.base.weight.update(|w| {
            gemm(w, d_in, Mat::new(b.data(), d_out, r), Mat::new(a.data(), r, d_in), Start::Keep);
        });
    }

    /// Puts the base's own weights back, to the bit.
    ///
    /// # Errors
    /// Never while the base keeps its shape.
    pub fn unmerge(&mut self) -> Result<()> {
        self.unmerged.take().map_or(Ok(()), |weight| self.base.weight.set(&weight))
    }

    /// Only what is trained: `A` and `B`.
    #[must_use]
    pub fn adapter(&self) -> Vec<Param> {
        vec![self.a.clone(), self.b.clone()]
    }
}

impl Module for Lora {
    fn params(&self) -> Vec<Param> {
        [self.base.params(), self.adapter()].concat()
    }

    /// The base stays frozen.
    fn unfreeze(&self) {
        self.adapter().iter().for_each(Param::unfreeze);
    }
}

fn sizes(base: &Linear) -> Result<(usize, usize)> {
    match base.weight.shape()[..] {
        [d_out, d_in] => Ok((d_out, d_in)),
        _ => shape("Lora", format!("a weight [d_out, d_in] is needed, got {:?}", base.weight.shape())),
    }
}

/// A frozen linear map to which every sample brings its own low-rank addition: `y_i = W x_i + b + (alpha / r) B_i A_i x_i`.
#[derive(Clone, Debug)]
pub struct LoraPerSample {
    /// The frozen map.
    pub base: Linear,
    d_in: usize,
    d_out: usize,
    rank: usize,
    scale: f32,
}

impl LoraPerSample {
    /// Adapters of rank `r` on `base`, which is frozen.
    ///
    /// # Errors
    /// When the rank is 0 or larger than the base's sizes.
    pub fn new(base: Linear, r: usize, alpha: f32) -> Result<Self> {
        let (d_out, d_in) = sizes(&base)?;
        if r == 0 || r > d_in.min(d_out) {
            return config("rank", format!("between 1 and {}", d_in.min(d_out)), r);
        }
        base.freeze();
        Ok(Self { base, d_in, d_out, rank: r, scale: alpha / r as f32 })
    }

    /// How many numbers a generator writes for one sample: `r (d_in + d_out)`.
    #[must_use]
    pub fn adapter_len(&self) -> usize {
        self.rank * (self.d_in + self.d_out)
    }

    /// Cuts what a generator wrote, `[batch, r (d_in + d_out)]`, into `A` `[batch, r, d_in]` and `B` `[batch, d_out, r]`.
    ///
    /// # Errors
    /// When the last axis has another size.
    pub fn split(&self, written: &Tensor) -> Result<(Tensor, Tensor)> {
        let &[batch, len] = written.shape() else {
            return shape(
                "LoraPerSample::split",
                format!("[batch, numbers] is needed, got {:?}", written.shape()),
            );
        };
        if len != self.adapter_len() {
            return shape(
                "LoraPerSample::split",
                format!("{len} numbers a sample, r (d_in + d_out) = {} are needed", self.adapter_len()),
            );
        }
        let of_a = self.rank * self.d_in;
        let a = written.narrow(1, 0, of_a)?.reshape(&[batch, self.rank, self.d_in])?;
        let b = written.narrow(1, of_a, len - of_a)?.reshape(&[batch, self.d_out, self.rank])?;
        Ok((a, b))
    }

    /// `x` `[batch, time, d_in]` or `[batch, d_in]`, `a` `[batch, r, d_in]`, `b` `[batch, d_out, r]`; gradients flow into all three.
    /// Without adapters (`None`) it is the base, to the bit.
    ///
    /// # Errors
    /// When the sizes do not fit.
    pub fn forward(&self, x: &Tensor, adapter: Option<(&Tensor, &Tensor)>) -> Result<Tensor> {
        let y = self.base.forward(x)?;
        let Some((a, b)) = adapter else { return Ok(y) };
        let (batch, r) = (x.shape()[0], self.rank);
        if !matches!(x.rank(), 2 | 3) {
            return shape(
                "LoraPerSample",
                format!("x {:?} must be [batch, time, d_in] or [batch, d_in]", x.shape()),
            );
        }
        if a.shape() != [batch, r, self.d_in] || b.shape() != [batch, self.d_out, r] {
            return shape(
                "LoraPerSample",
                format!(
                    "A {:?} must be [batch, r, d_in] = [{batch}, {r}, {}], B {:?} [batch, d_out, r] = [{batch}, {}, {r}]",
                    a.shape(),
                    self.d_in,
                    b.shape(),
                    self.d_out
                ),
            );
        }
        let time = if x.rank() == 3 { x.shape()[1] } else { 1 };
        let rows = x.reshape(&[batch, time, self.d_in])?;
        let low = ops::batched_linear(&rows, a, None)?.mul_scalar(self.scale);
        y.add(&ops::batched_linear(&low, b, None)?.reshape(y.shape())?)
    }
}

impl Module for LoraPerSample {
    fn params(&self) -> Vec<Param> {
        self.base.params()
    }

    /// The base stays frozen.
    fn unfreeze(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check_gradients;
    use ream_rand::Stream;

    fn normal(shape: &[usize], seed: u64) -> Tensor {
        Tensor::randn(shape, 0.7, &mut Stream::new(seed, "lora").at(0))
    }

    fn adapted() -> Lora {
        let init = Init::new(1);
        Lora::new(&init, Linear::new(&init.at("base"), 6, 5, true), 2, 4.0).unwrap()
    }

    #[test]
    fn begins_as_the_base_and_only_the_adapter_gets_gradients() {
        let layer = adapted();
        let x = normal(&[3, 4, 6], 1);
        assert_eq!(layer.forward(&x).unwrap().to_vec(), layer.base.forward(&x).unwrap().to_vec());
        layer.b.set(normal(&[5, 2], 2).data()).unwrap();
        check_gradients(std::slice::from_ref(&x), &layer.adapter(), 1e-2, |x| layer.forward(&x[0])).unwrap();
        let grads = layer.forward(&x).unwrap().sum().backward().unwrap();
        assert!(grads.get(&layer.base.weight).is_none() && grads.get(&layer.a).is_some());
        layer.unfreeze();
        assert!(layer.base.weight.is_frozen());
    }

    #[test]
    fn merging_keeps_the_function_and_unmerging_the_bits() {
        let mut layer = adapted();
        layer.b.set(normal(&[5, 2], 2).data()).unwrap();
        let x = normal(&[7, 6], 1);
        let (before, weight) = (layer.forward(&x).unwrap().to_vec(), layer.base.weight.to_vec());
        layer.merge();
        layer.merge();
        assert_ne!(layer.base.weight.to_vec(), weight);
        for (a, b) in layer.forward(&x).unwrap().data().iter().zip(&before) {
            assert!((a - b).abs() < 1e-5);
        }
        layer.unmerge().unwrap();
        assert_eq!(layer.base.weight.to_vec(), weight);
        assert_eq!(layer.forward(&x).unwrap().to_vec(), before);
    }

    #[test]
    fn every_sample_has_its_own_adapter() {
        let layer = LoraPerSample::new(Linear::new(&Init::new(1), 6, 5, true), 2, 3.0).unwrap();
        let written = normal(&[3, layer.adapter_len()], 1);
        let (a, b) = layer.split(&written).unwrap();
        for x in [normal(&[3, 4, 6], 2), normal(&[3, 6], 3)] {
            let y = layer.forward(&x, Some((&a, &b))).unwrap();
            for i in 0..3 {
                let mut alone = Lora::new(&Init::new(1), layer.base.clone(), 2, 3.0).unwrap();
                alone.a.set(&a.data()[i * 12..(i + 1) * 12]).unwrap();
                alone.b.set(&b.data()[i * 10..(i + 1) * 10]).unwrap();
                let want = alone.forward(&x.narrow(0, i, 1).unwrap()).unwrap();
                for (y, want) in y.narrow(0, i, 1).unwrap().data().iter().zip(want.data()) {
                    assert!((y - want).abs() < 1e-5);
                }
                alone.merge();
                alone.unmerge().unwrap();
            }
            check_gradients(&[x.clone(), written.clone()], &[], 1e-2, |x| {
                let (a, b) = layer.split(&x[1])?;
                layer.forward(&x[0], Some((&a, &b)))
            })
            .unwrap();
            let off = layer.forward(&x, None).unwrap();
            assert_eq!(off.to_vec(), layer.base.forward(&x).unwrap().to_vec());
        }
    }

    #[test]
    fn errors_name_the_axes() {
        let base = Linear::new(&Init::new(1), 6, 5, true);
        assert!(
            Lora::new(&Init::new(1), base.clone(), 6, 1.0)
                .unwrap_err()
                .to_string()
                .contains("between 1 and 5")
        );
        let layer = LoraPerSample::new(base, 2, 1.0).unwrap();
        let error = layer.split(&normal(&[3, 7], 1)).unwrap_err().to_string();
        assert!(error.contains("r (d_in + d_out) = 22"), "{error}");
        let (a, b) = (normal(&[2, 2, 6], 1), normal(&[3, 5, 2], 2));
        let error = layer.forward(&normal(&[3, 6], 1), Some((&a, &b))).unwrap_err().to_string();
        assert!(error.contains("[batch, r, d_in] = [3, 2, 6]"), "{error}");
    }
}
