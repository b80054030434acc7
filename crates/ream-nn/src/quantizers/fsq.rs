//! Finite scalar quantisation (Mentzer et al., 2023, arXiv 2309.15505): every dimension is bounded and rounded to `L_i` levels; the codebook is
//! the grid, `prod L_i` codes, and nothing is learned.
//!
//! `f(z) = h tanh(z + s) - o` with `h = (1 + 1e-3) (L - 1) / 2`; for odd L `s = o = 0`; for even L `o = 1/2` and `s = atanh(o / h)`, so that
//! `f(0) = 0` and the L integers `-L/2 .. L/2 - 1` can be reached. `z_q = round(f(z)) / floor(L / 2)`, gradient straight through the
//! rounding only. Code: `sum_i (round(f(z_i)) + floor(L_i / 2)) prod_{j < i} L_j`.

use super::{Quantized, Usage, check_codes, features, straight_through, with_last};
use crate::error::{Result, config};
use crate::ops;
use crate::tensor::Tensor;

/// Lets `tanh` reach the outermost levels; with more than 1000 of them it would reach too far.
const MARGIN: f64 = 1e-3;

/// A grid of levels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fsq {
    levels: Vec<u32>,
}

impl Fsq {
    /// One number of levels for each dimension. The authors recommend 5 or more each, for instance `[8, 5, 5, 5]` for 1000 codes.
    ///
    /// # Errors
    /// When there is no dimension, a number is outside 3..=512 (two levels leave the half-shift no room: see [`super::Bsq`]), or the
    /// codes do not fit 32 bits.
    pub fn new(levels: &[u32]) -> Result<Self> {
        if levels.is_empty() {
            return config("levels", "at least one number", "none");
        }
        if let Some(bad) = levels.iter().find(|l| !(3..=512).contains(*l)) {
            return config("levels", "3..=512 each", bad);
        }
        let codes = levels.iter().try_fold(1_u32, |product, l| product.checked_mul(*l));
        if codes.is_none() {
            return config("levels", "numbers whose product is below 2^32", format!("{levels:?}"));
        }
        Ok(Self { levels: levels.to_vec() })
    }

    /// Levels of each dimension.
    #[must_use]
    pub fn levels(&self) -> &[u32] {
        &self.levels
    }

    /// Width of a vector.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.levels.len()
    }

    /// Number of codes.
    #[must_use]
    pub fn codes(&self) -> u64 {
        self.levels.iter().map(|l| u64::from(*l)).product()
    }

    fn half(&self, i: usize) -> f32 {
        (self.levels[i] / 2) as f32
    }

    /// `[d]` of a number for each dimension.
    fn each(&self, number: impl Fn(f64) -> f64) -> Result<Tensor> {
        let values = self.levels.iter().map(|l| number(f64::from(*l)) as f32).collect();
        Tensor::from_vec(values, &[self.dim()])
    }

    /// `f(z)`: what is rounded.
    fn bounded(&self, z: &Tensor) -> Result<Tensor> {
        let half = |l: f64| (1.0 + MARGIN) * (l - 1.0) / 2.0;
        let offset = |l: f64| if l % 2.0 == 0.0 { 0.5 } else { 0.0 };
        let shift = self.each(|l| libm::atanh(offset(l) / half(l)))?;
        z.add(&shift)?.tanh().mul(&self.each(half)?)?.sub(&self.each(offset)?)
    }

    /// The integers of `z`: `-floor(L / 2) ..`.
    fn rounded(bounded: &Tensor) -> Result<Tensor> {
        // Adding 0 turns -0 into 0.
        Tensor::from_vec(bounded.data().iter().map(|x| x.round() + 0.0).collect(), bounded.shape())
    }

    fn codes_of(&self, rounded: &Tensor) -> Vec<u32> {
        let code = |vector: &[f32]| {
            let mut basis = 1;
            let digits = vector.iter().enumerate().map(|(i, x)| {
                let digit = (x + self.half(i)) as u32 * basis;
                basis *= if i + 1 < self.dim() { self.levels[i] } else { 1 };
                digit
            });
            digits.sum()
        };
        rounded.data().chunks_exact(self.dim()).map(code).collect()
    }

    /// Quantises `z` (`[.., d]`) to numbers in `[-1, 1]`. Nothing is learned: `loss` is 0, `commitment` tells how much rounding moved.
    ///
    /// # Errors
    /// When the last axis is not d or a number is not finite.
    pub fn forward(&self, z: &Tensor) -> Result<Quantized> {
        features("Fsq::forward", z, self.dim())?;
        let bounded = self.bounded(z)?;
        let rounded = Self::rounded(&bounded)?;
        let indices = self.codes_of(&rounded);
        let scale = self.each(|l| 1.0 / (l / 2.0).floor())?;
        let commitment = ops::mse(&bounded.mul(&scale)?, &rounded.mul(&scale)?)?;
        let quantized = straight_through(&bounded, &rounded)?.mul(&scale)?;
        let usage = Usage::of(&indices);
        Ok(Quantized { quantized, indices, commitment, loss: Tensor::scalar(0.0), usage })
    }

    /// Codes of `z` (`[.., d]`), row-major.
    ///
    /// # Errors
    /// As [`Fsq::forward`].
    pub fn encode(&self, z: &Tensor) -> Result<Vec<u32>> {
        features("Fsq::encode", z, self.dim())?;
        Ok(self.codes_of(&Self::rounded(&self.bounded(&z.detach())?)?))
    }

    /// Vectors of codes: shape `to` followed by d.
    ///
    /// # Errors
    /// When a code does not exist or the codes do not fill the shape.
    pub fn decode(&self, indices: &[u32], to: &[usize]) -> Result<Tensor> {
        check_codes("Fsq::decode", indices, self.codes(), to)?;
        let mut data = Vec::with_capacity(indices.len() * self.dim());
        for &code in indices {
            let mut rest = code;
            for (i, &l) in self.levels.iter().enumerate() {
                data.push(((rest % l) as f32 - self.half(i)) * (1.0 / f64::from(l / 2)) as f32);
                rest /= l;
            }
        }
        Tensor::from_vec(data, &with_last(to, self.dim()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_gradients;
    use ream_rand::Stream;

    #[test]
    fn every_level_is_reached_and_zero_stays_zero() {
        for l in 3..=9_u32 {
            let fsq = Fsq::new(&[l]).unwrap();
            let z = Tensor::from_vec((-400..=400).map(|i| i as f32 / 40.0).collect(), &[801, 1]).unwrap();
            let out = fsq.forward(&z).unwrap();
            assert_eq!(out.usage.used, l as usize, "{l} levels");
            assert!(out.indices.is_sorted() && out.indices[0] == 0 && out.indices[800] == l - 1);
            assert_eq!(fsq.forward(&Tensor::zeros(&[1, 1])).unwrap().quantized.to_vec(), [0.0]);
            let even = l % 2 == 0;
            let most = out.quantized.data()[800];
            assert_eq!(most, if even { (l / 2 - 1) as f32 / (l / 2) as f32 } else { 1.0 });
            assert_eq!(out.quantized.data()[0], -1.0);
        }
    }

    #[test]
    fn codes_and_vectors_are_a_bijection() {
        let fsq = Fsq::new(&[8, 5, 3, 4]).unwrap();
        let all: Vec<u32> = (0..480).collect();
        let vectors = fsq.decode(&all, &[480]).unwrap();
        let mut seen: Vec<Vec<u32>> =
            vectors.data().chunks_exact(4).map(|v| v.iter().map(|x| x.to_bits()).collect()).collect();
        seen.sort();
        seen.dedup();
        assert_eq!((fsq.codes(), seen.len()), (480, 480));
        // Features anywhere: what decode gives for their codes is what forward gave, to the bit.
        let z = Tensor::randn(&[20, 30, 4], 1.5, &mut Stream::new(1, "fsq").at(0));
        let out = fsq.forward(&z).unwrap();
        assert_eq!(fsq.encode(&z).unwrap(), out.indices);
        assert_eq!(fsq.decode(&out.indices, &[20, 30]).unwrap().to_vec(), out.quantized.to_vec());
    }

    #[test]
    fn the_gradient_is_that_of_the_bounded_features() {
        let fsq = Fsq::new(&[8, 5, 6]).unwrap();
        let z = Tensor::randn(&[4, 3], 0.7, &mut Stream::new(2, "fsq").at(0));
        let scale = fsq.each(|l| 1.0 / (l / 2.0).floor()).unwrap();
        let grad = |f: &dyn Fn(&Tensor) -> Tensor| {
            let z = z.watched();
            let weights = Tensor::randn(&[4, 3], 1.0, &mut Stream::new(3, "w").at(0));
            f(&z).backward_with(weights.to_vec().into()).unwrap().of(&z).unwrap().to_vec()
        };
        let smooth = grad(&|z| fsq.bounded(z).unwrap().mul(&scale).unwrap());
        assert_eq!(grad(&|z| fsq.forward(z).unwrap().quantized), smooth);
        check_gradients(std::slice::from_ref(&z), &[], 0.01, |z| fsq.bounded(&z[0])?.mul(&scale)).unwrap();
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let says = |levels: &[u32], text: &str| {
            let error = Fsq::new(levels).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        says(&[], "levels must be at least one number");
        says(&[5, 2], "levels must be 3..=512 each, got 2");
        says(&[512, 512, 512, 512], "product is below 2^32");
        let fsq = Fsq::new(&[3, 3]).unwrap();
        assert!(
            fsq.decode(&[9], &[1]).unwrap_err().to_string().contains("code 9 at position 0, there are 9")
        );
        assert!(fsq.forward(&Tensor::zeros(&[2, 3])).is_err());
    }
}
