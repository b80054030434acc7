//! Several perceptrons of one make evaluated together: twin critics, ensembles of world models.
//!
//! Member `i` computes `h_{l+1} = act(W_{l,i} h_l + b_{l,i})`; all members run in one operation.

use crate::error::{Result, config, shape};
use crate::layers::mlp::MlpConfig;
use crate::ops::{self, Activation};
use crate::param::{Init, Module, Param};
use crate::tensor::Tensor;

/// `members` independent perceptrons.
#[derive(Clone, Debug)]
pub struct EnsembleMlp {
    /// Weight `[members, d_out, d_in]` and bias `[members, d_out]` of every layer.
    layers: Vec<(Param, Param)>,
    activation: Activation,
    members: usize,
}

impl EnsembleMlp {
    /// Members that begin independently of each other. A member begins the same however many others there are.
    ///
    /// # Errors
    /// When there is no member, a size is wrong, or LayerNorm or spectral normalisation is asked for.
    pub fn new(init: &Init, make: &MlpConfig, members: usize) -> Result<Self> {
        make.check()?;
        if members == 0 {
            return config("members", "at least 1", members);
        }
        if make.layer_norm || make.spectral_norm {
            return config("layer_norm and spectral_norm", "false in an ensemble", true);
        }
        let layers = (0..make.sizes.len() - 1).map(|l| {
            let init = init.at(l);
            let (d_in, d_out) = (make.sizes[l], make.sizes[l + 1]);
            let all = |name: &str, draw: &dyn Fn(&mut ream_rand::Rng) -> Vec<f32>| -> Vec<f32> {
                (0..members as u64).flat_map(|i| draw(&mut init.stream(name).at(i))).collect()
            };
            let weight = all("weight", &|rng| make.weight(l, rng));
            let bias = all("bias", &|rng| make.bias(l, rng));
            Ok((
                init.values("weight", &Tensor::from_vec(weight, &[members, d_out, d_in])?),
                init.values("bias", &Tensor::from_vec(bias, &[members, d_out])?),
            ))
        });
        Ok(Self { layers: layers.collect::<Result<_>>()?, activation: make.activation, members })
    }

    /// Number of members.
    #[must_use]
    pub fn members(&self) -> usize {
        self.members
    }

    /// `[batch, d_in]` (read by every member) or `[members, batch, d_in]` (each its own) to `[members, batch, d_out]`.
    ///
    /// # Errors
    /// When the sizes do not fit.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        ops::batched_mlp(x, &self.tensors(), self.activation, 0..self.members)
    }

    /// Weight and bias of every layer as they are now.
    fn tensors(&self) -> Vec<(Tensor, Option<Tensor>)> {
        self.layers.iter().map(|(weight, bias)| (weight.tensor(), Some(bias.tensor()))).collect()
    }

    /// One member alone, `[batch, d_in]` to `[batch, d_out]`.
    ///
    /// # Errors
    /// When there is no such member, or the sizes do not fit.
    pub fn member(&self, i: usize, x: &Tensor) -> Result<Tensor> {
        if i >= self.members {
            return shape("EnsembleMlp", format!("member {i}, there are {}", self.members));
        }
        let y = ops::batched_mlp(x, &self.tensors(), self.activation, i..i + 1)?;
        y.reshape(&y.shape()[1..])
    }

    /// The smallest of the members' outputs, `[batch, d_out]`: the clipped double estimate of TD3 and SAC (Fujimoto et al., 2018).
    ///
    /// # Errors
    /// When the sizes do not fit.
    pub fn smallest(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.forward(x)?;
        let part = |i| y.narrow(0, i, 1)?.reshape(&y.shape()[1..]);
        (1..self.members).try_fold(part(0)?, |least, i| ops::minimum(&least, &part(i)?))
    }
}

impl Module for EnsembleMlp {
    fn params(&self) -> Vec<Param> {
        self.layers.iter().flat_map(|(w, b)| [w.clone(), b.clone()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check_gradients;
    use ream_rand::Stream;

    fn normal(shape: &[usize], seed: u64) -> Tensor {
        Tensor::randn(shape, 0.7, &mut Stream::new(seed, "ensemble").at(0))
    }

    #[test]
    fn the_batched_product_equals_the_members_and_gradients_are_exact() {
        let make = MlpConfig::new(&[3, 7, 7, 2], Activation::Tanh);
        let net = EnsembleMlp::new(&Init::new(1), &make, 3).unwrap();
        let x = normal(&[5, 3], 1);
        let y = net.forward(&x).unwrap();
        assert_eq!(y.shape(), [3, 5, 2]);
        let mut least = vec![f32::INFINITY; 10];
        for i in 0..3 {
            let alone = net.member(i, &x).unwrap().to_vec();
            for (k, v) in alone.iter().enumerate() {
                assert!((y.data()[i * 10 + k] - v).abs() < 1e-6);
                least[k] = least[k].min(*v);
            }
        }
        assert!(y.data()[..10] != y.data()[10..20], "members begin differently");
        for (a, b) in net.smallest(&x).unwrap().data().iter().zip(&least) {
            assert!((a - b).abs() < 1e-6);
        }
        check_gradients(&[x], &net.params(), 1e-2, |x| net.forward(&x[0])).unwrap();
        check_gradients(&[normal(&[3, 5, 3], 2)], &net.params(), 1e-2, |x| net.forward(&x[0])).unwrap();
    }

    #[test]
    fn a_member_does_not_depend_on_the_number_of_others() {
        let make = MlpConfig::new(&[3, 7, 2], Activation::Relu);
        let (two, five) = (
            EnsembleMlp::new(&Init::new(1), &make, 2).unwrap(),
            EnsembleMlp::new(&Init::new(1), &make, 5).unwrap(),
        );
        let x = normal(&[4, 3], 1);
        assert_eq!(two.member(1, &x).unwrap().to_vec(), five.member(1, &x).unwrap().to_vec());
        assert!(two.member(2, &x).unwrap_err().to_string().contains("member 2, there are 2"));
        assert!(EnsembleMlp::new(&Init::new(1), &make, 0).is_err());
    }
}
