//! Binary spherical quantisation (Zhao et al., 2024, arXiv 2406.07548): features on the unit sphere become its nearest corner of a cube.
//!
//! `u = z / |z|`, `b = sign(u) / sqrt(d)` (0 counts as negative), gradient straight through to `u`. Code: `sum_j bit_j 2^j`.
//! With the soft assignment `q(c|u)` proportional to `e^{tau u c}`, `c` in `{+-1/sqrt(d)}^d`, the loss is
//! `commitment |sg(b) - u|^2 + entropy (H_sample - gamma H_codebook)`:
//! - `H_sample = E_u H(q(.|u))` wants sure assignments. `q` is a product over bits, each on with probability
//!   `sigma(2 tau u_j / sqrt(d))`, so the sum over `2^d` codes is **exactly** the sum of d binary entropies.
//! - `H_codebook = H(E_u q(.|u))` wants all codes used. The average is no product, so it is taken for groups of `group` bits
//!   (`2^group` codes each) and added up: exact for `group = d`, otherwise an upper bound that keeps only dependence inside groups.

use super::{Quantized, Usage, check_codes, features, straight_through, unit, with_last};
use crate::error::{Result, config};
use crate::ops;
use crate::tensor::Tensor;

/// What a [`Bsq`] is.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct BsqConfig {
    /// Bits d, which is also the width of a vector.
    pub bits: usize,
    /// Weight of the commitment (a mean over elements).
    pub commitment: f32,
    /// Weight of the entropies, in nats.
    pub entropy: f32,
    /// Weight gamma of the codebook's entropy against the samples'.
    pub gamma: f32,
    /// `tau` of the soft assignment; 2 makes it proportional to `e^{-|u - c|^2}`.
    pub inverse_temperature: f32,
    /// Bits in one group of the codebook's entropy.
    pub group: usize,
}

impl BsqConfig {
    /// Commitment 0.25, entropy 0.1, gamma 1, tau 2, one bit in a group.
    #[must_use]
    pub fn new(bits: usize) -> Self {
        Self { bits, commitment: 0.25, entropy: 0.1, gamma: 1.0, inverse_temperature: 2.0, group: 1 }
    }
}

/// Signs of a unit vector.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bsq {
    config: BsqConfig,
}

impl Bsq {
    /// Checks the settings.
    ///
    /// # Errors
    /// Naming the key, its range, and what was got.
    pub fn new(settings: BsqConfig) -> Result<Self> {
        if !(1..=32).contains(&settings.bits) {
            return config("bits", "1..=32", settings.bits);
        }
        if settings.group == 0 || settings.group > settings.bits.min(12) {
            return config("group", format!("1..={}", settings.bits.min(12)), settings.group);
        }
        for (key, weight) in [
            ("commitment", settings.commitment),
            ("entropy", settings.entropy),
            ("gamma", settings.gamma),
            ("inverse_temperature", settings.inverse_temperature),
        ] {
            if !(weight >= 0.0 && weight.is_finite()) {
                return config(key, "finite and 0 or larger", weight);
            }
        }
        Ok(Self { config: settings })
    }

    /// What it is.
    #[must_use]
    pub fn config(&self) -> &BsqConfig {
        &self.config
    }

    /// Width of a vector.
    #[must_use]
    pub fn dim(&self) -> usize {
        self.config.bits
    }

    /// Number of codes.
    #[must_use]
    pub fn codes(&self) -> u64 {
        1 << self.config.bits
    }

    /// `1 / sqrt(d)`.
    fn corner(&self) -> f32 {
        1.0 / (self.config.bits as f32).sqrt()
    }

    fn codes_of(&self, z: &Tensor) -> Vec<u32> {
        let code = |v: &[f32]| v.iter().enumerate().fold(0, |code, (j, x)| code | (u32::from(*x > 0.0) << j));
        z.data().chunks_exact(self.config.bits).map(code).collect()
    }

    /// Quantises `z` (`[.., d]`) to vectors of unit length; the straight-through gradient goes to `z / |z|`.
    ///
    /// # Errors
    /// When the last axis is not d or a number is not finite.
    pub fn forward(&self, z: &Tensor) -> Result<Quantized> {
        let lead = features("Bsq::forward", z, self.config.bits)?.to_vec();
        let indices = self.codes_of(z);
        let corners = self.decode(&indices, &lead)?;
        let u = unit(z)?;
        let commitment = ops::mse(&u, &corners)?;
        let mut loss = commitment.mul_scalar(self.config.commitment);
        if self.config.entropy > 0.0 && !z.is_empty() {
            let gap =
                self.sample_entropy(&u)?.sub(&self.codebook_entropy(&u)?.mul_scalar(self.config.gamma))?;
            loss = loss.add(&gap.mul_scalar(self.config.entropy))?;
        }
        let usage = Usage::of(&indices);
        Ok(Quantized { quantized: straight_through(&u, &corners)?, indices, commitment, loss, usage })
    }

    /// Codes of `z` (`[.., d]`), row-major.
    ///
    /// # Errors
    /// As [`Bsq::forward`].
    pub fn encode(&self, z: &Tensor) -> Result<Vec<u32>> {
        features("Bsq::encode", z, self.config.bits)?;
        Ok(self.codes_of(z))
    }

    /// Vectors of codes: shape `to` followed by d.
    ///
    /// # Errors
    /// When a code does not exist or the codes do not fill the shape.
    pub fn decode(&self, indices: &[u32], to: &[usize]) -> Result<Tensor> {
        check_codes("Bsq::decode", indices, self.codes(), to)?;
        let corner = self.corner();
        let sign = |code: u32, j: usize| if code >> j & 1 == 1 { corner } else { -corner };
        let data = indices.iter().flat_map(|c| (0..self.config.bits).map(move |j| sign(*c, j))).collect();
        Tensor::from_vec(data, &with_last(to, self.config.bits))
    }

    /// `E_u H(q(.|u))`, nats: mean over vectors of the sum over bits of `H(sigma(a))`, where `H = softplus(a) - a sigma(a)`.
    fn sample_entropy(&self, u: &Tensor) -> Result<Tensor> {
        let a = u.mul_scalar(2.0 * self.config.inverse_temperature * self.corner());
        let entropy = a.softplus().sub(&a.mul(&a.sigmoid())?)?;
        Ok(entropy.sum().mul_scalar(1.0 / u.rows() as f32))
    }

    /// `H(E_u q(.|u))`, nats, added up over groups of bits.
    fn codebook_entropy(&self, u: &Tensor) -> Result<Tensor> {
        let flat = u.reshape(&[u.rows(), self.config.bits])?;
        let mut total = Tensor::scalar(0.0);
        let mut start = 0;
        while start < self.config.bits {
            let bits = self.config.group.min(self.config.bits - start);
            let corner = self.config.inverse_temperature * self.corner();
            let signs = (0..bits).flat_map(|j| (0..1_usize << bits).map(move |c| c >> j & 1 == 1));
            let codes = signs.map(|on| if on { corner } else { -corner }).collect();
            let codes = Tensor::from_vec(codes, &[bits, 1 << bits])?;
            let average = flat.narrow(1, start, bits)?.matmul(&codes)?.softmax().mean_axis(0)?;
            let logs = average.add_scalar(f32::MIN_POSITIVE).ln();
            total = total.sub(&average.mul(&logs)?.sum())?;
            start += bits;
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_gradients;
    use ream_rand::Stream;

    fn bsq(bits: usize, group: usize) -> Bsq {
        Bsq::new(BsqConfig { group, ..BsqConfig::new(bits) }).unwrap()
    }

    fn normal(shape: &[usize], seed: u64) -> Tensor {
        Tensor::randn(shape, 1.0, &mut Stream::new(seed, "bsq").at(0))
    }

    /// `q(c|u)` of every code, by its definition.
    fn assignment(bsq: &Bsq, u: &[f32]) -> Vec<f64> {
        let codes: Vec<u32> = (0..bsq.codes() as u32).collect();
        let vectors = bsq.decode(&codes, &[codes.len()]).unwrap();
        let dot = |c: &[f32]| c.iter().zip(u).map(|(c, u)| f64::from(*c) * f64::from(*u)).sum::<f64>();
        let tau = f64::from(bsq.config.inverse_temperature);
        let weights: Vec<f64> =
            vectors.data().chunks_exact(u.len()).map(|c| libm::exp(tau * dot(c))).collect();
        let total: f64 = weights.iter().sum();
        weights.iter().map(|w| w / total).collect()
    }

    fn entropy(law: &[f64]) -> f64 {
        law.iter().map(|p| -p * libm::log(*p)).sum()
    }

    #[test]
    fn entropies_are_those_of_all_codes() {
        let z = normal(&[7, 5], 1);
        let whole = bsq(5, 5);
        let u = unit(&z).unwrap();
        let laws: Vec<Vec<f64>> = u.data().chunks_exact(5).map(|u| assignment(&whole, u)).collect();
        let sample = laws.iter().map(|l| entropy(l)).sum::<f64>() / 7.0;
        // The factorised form is exact whatever the group.
        for group in [1, 2, 5] {
            let got = bsq(5, group).sample_entropy(&u).unwrap().item().unwrap();
            assert!((f64::from(got) - sample).abs() < 1e-5, "{got} {sample}");
        }
        let average: Vec<f64> = (0..32).map(|c| laws.iter().map(|l| l[c]).sum::<f64>() / 7.0).collect();
        let got = |group| f64::from(bsq(5, group).codebook_entropy(&u).unwrap().item().unwrap());
        assert!((got(5) - entropy(&average)).abs() < 1e-5, "{} {}", got(5), entropy(&average));
        assert!(got(1) >= got(2) - 1e-6 && got(2) >= got(5) - 1e-6);
    }

    #[test]
    fn codes_corners_and_straight_through_gradient() {
        let q = bsq(4, 1);
        let z = Tensor::from_vec(vec![0.1, -2.0, 0.0, 3.0], &[1, 4]).unwrap();
        let out = q.forward(&z).unwrap();
        // Zero counts as negative.
        assert_eq!(
            (out.indices.as_slice(), out.quantized.to_vec()),
            (&[0b1001][..], vec![0.5, -0.5, -0.5, 0.5])
        );
        let all: Vec<u32> = (0..16).collect();
        assert_eq!(q.encode(&q.decode(&all, &[4, 4]).unwrap()).unwrap(), all);
        let z = normal(&[3, 4], 2).watched();
        let u = unit(&z).unwrap();
        let weights = normal(&[3, 4], 3).to_vec();
        let direct = u.backward_with(weights.clone().into()).unwrap().of(&z).unwrap().to_vec();
        let through = q.forward(&z).unwrap().quantized.backward_with(weights.into()).unwrap();
        assert_eq!(through.of(&z).unwrap(), direct);
    }

    #[test]
    fn the_loss_has_its_gradient() {
        // Away from 0, where signs change.
        let z = normal(&[6, 4], 4);
        let z = Tensor::from_vec(z.data().iter().map(|x| x + 0.4 * x.signum()).collect(), &[6, 4]).unwrap();
        for group in [1, 3] {
            let strong = BsqConfig { entropy: 1.0, gamma: 1.1, group, ..BsqConfig::new(4) };
            let q = Bsq::new(strong).unwrap();
            check_gradients(std::slice::from_ref(&z), &[], 0.01, |z| Ok(q.forward(&z[0])?.loss)).unwrap();
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let says = |c: BsqConfig, text: &str| {
            let error = Bsq::new(c).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        says(BsqConfig::new(0), "bits must be 1..=32, got 0");
        says(BsqConfig::new(33), "bits must be 1..=32, got 33");
        says(BsqConfig { group: 5, ..BsqConfig::new(4) }, "group must be 1..=4, got 5");
        says(BsqConfig { gamma: f32::NAN, ..BsqConfig::new(4) }, "gamma must be");
        assert!(bsq(4, 1).decode(&[16], &[1]).unwrap_err().to_string().contains("code 16"));
        assert_eq!(bsq(32, 1).decode(&[u32::MAX], &[1]).unwrap().to_vec(), [1.0 / 32.0_f32.sqrt(); 32]);
    }
}
