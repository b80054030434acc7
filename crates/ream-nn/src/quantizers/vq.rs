//! Vector quantisation with a learned codebook (van den Oord et al., 2017, arXiv 1711.00937; moving averages as in Razavi et al., 2019,
//! arXiv 1906.00446).
//!
//! `k(z) = argmin_k |z - e_k|`, `z_q = e_k(z)` with the gradient of `z_q` handed to `z`, and
//! `loss = beta |z - sg(e)|^2 [+ |sg(z) - e|^2]`: the second term only where the codebook learns by gradient. With moving averages
//! `N_k <- g N_k + (1 - g) n_k`, `m_k <- g m_k + (1 - g) sum z`, `e_k = m_k / N_k`.
//! Cosine distance divides `z` and every `e_k` by their lengths first (Yu et al., 2021, arXiv 2110.04627).

use ream_rand::Rng;

use super::nearest::{MOST_CODES, nearest};
use super::{Quantized, Usage, check_codes, features, k_means, straight_through, unit};
use crate::error::{Result, config, shape};
use crate::ops;
use crate::param::{Init, Module, Param};
use crate::tensor::Tensor;

/// What "near" means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Distance {
    /// `|z - e|`.
    Euclidean,
    /// The angle between `z` and `e`; what comes out are unit vectors.
    Cosine,
}

/// How the codebook learns.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub enum CodebookUpdate {
    /// Exponential moving averages of the vectors assigned to each code.
    Ema {
        /// Share of the old average, in `(0, 1)`.
        decay: f32,
    },
    /// The optimiser, through the codebook's term of the loss.
    Gradient,
}

/// Codes that hardly anything is assigned to begin anew at current vectors.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Revival {
    /// Training steps between two revivals.
    pub every: u32,
    /// A code is dead when its moving share is below this multiple of `1 / K`.
    pub threshold: f32,
}

/// Where the codebook begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Seeding {
    /// k-means++ (Arthur & Vassilvitskii, 2007) on the first vectors seen in training.
    KMeansPlusPlus,
    /// Normal numbers of deviation `1 / sqrt(d)`.
    Normal,
}

/// What a [`VectorQuantizer`] is.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct VqConfig {
    /// Number of codes K.
    pub codes: usize,
    /// Width d of a vector.
    pub dim: usize,
    /// What "near" means.
    pub distance: Distance,
    /// How the codebook learns.
    pub update: CodebookUpdate,
    /// Weight beta of the commitment.
    pub commitment: f32,
    /// Second life of dead codes.
    pub revival: Option<Revival>,
    /// Where the codebook begins.
    pub seeding: Seeding,
}

impl VqConfig {
    /// Euclidean, moving averages of decay 0.99, commitment 0.25, k-means++, revival every 50 steps below 3 % of `1 / K`.
    #[must_use]
    pub fn new(codes: usize, dim: usize) -> Self {
        Self {
            codes,
            dim,
            distance: Distance::Euclidean,
            update: CodebookUpdate::Ema { decay: 0.99 },
            commitment: 0.25,
            revival: Some(Revival { every: 50, threshold: 0.03 }),
            seeding: Seeding::KMeansPlusPlus,
        }
    }

    /// Refuses settings that make no quantizer.
    ///
    /// # Errors
    /// Naming the key, its range, and what was got.
    pub fn check(&self) -> Result<()> {
        if self.codes == 0 || self.codes > MOST_CODES {
            return config("codes", format!("1..={MOST_CODES}"), self.codes);
        }
        if self.dim == 0 {
            return config("dim", "1 or more", self.dim);
        }
        if !(self.commitment >= 0.0 && self.commitment.is_finite()) {
            return config("commitment", "finite and 0 or larger", self.commitment);
        }
        if let CodebookUpdate::Ema { decay } = self.update
            && !(decay > 0.0 && decay < 1.0)
        {
            return config("decay", "in (0, 1)", decay);
        }
        if let Some(Revival { every, threshold }) = self.revival {
            if every == 0 {
                return config("revival.every", "1 or more", every);
            }
            if !(0.0..1.0).contains(&threshold) {
                return config("revival.threshold", "in [0, 1)", threshold);
            }
        }
        Ok(())
    }
}

/// Decay of the codes' shares where the codebook itself has none.
const USAGE_DECAY: f32 = 0.99;
/// A code whose average count is below this keeps its place: there is nothing to average.
const LEAST_COUNT: f32 = 1e-5;

/// Nearest of K learned vectors.
///
/// Codebook, averages and step counter are parameters, so a checkpoint holds all of it; those that no optimiser may touch are frozen.
#[derive(Clone, Debug)]
pub struct VectorQuantizer {
    config: VqConfig,
    /// `[K, d]`.
    codebook: Param,
    /// Moving count of every code, `[K]`; all 0 until the codebook has begun.
    counts: Param,
    /// Moving sum of the vectors of every code, `[K, d]`; unused where the codebook learns by gradient.
    sums: Param,
    /// Training steps so far, `[1]`; exact up to 2^24.
    steps: Param,
}

impl VectorQuantizer {
    /// A codebook that has not begun (k-means++), or of normal numbers.
    ///
    /// # Errors
    /// As [`VqConfig::check`].
    pub fn new(init: &Init, config: VqConfig) -> Result<Self> {
        config.check()?;
        let (k, d) = (config.codes, config.dim);
        let codebook = init.normal("codebook", &[k, d], 1.0 / (d as f32).sqrt());
        let quantizer = Self {
            config,
            codebook,
            counts: init.constant("counts", &[k], 0.0),
            sums: init.constant("sums", &[k, d], 0.0),
            steps: init.constant("steps", &[1], 0.0),
        };
        [&quantizer.counts, &quantizer.sums, &quantizer.steps].into_iter().for_each(Param::freeze);
        if let CodebookUpdate::Ema { .. } = config.update {
            quantizer.codebook.freeze();
        }
        if config.seeding == Seeding::Normal {
            quantizer.begin(&quantizer.codebook.to_vec())?;
        }
        Ok(quantizer)
    }

    /// What it is.
    #[must_use]
    pub fn config(&self) -> &VqConfig {
        &self.config
    }

    /// Whether the codebook has begun: k-means++ waits for the first vectors.
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.counts.to_vec().iter().any(|n| *n > 0.0)
    }

    /// The codes' vectors `[K, d]`, of unit length under cosine distance; with a gradient where the codebook learns by one.
    ///
    /// # Errors
    /// None for a quantizer that was made by [`VectorQuantizer::new`].
    pub fn codebook(&self) -> Result<Tensor> {
        let codebook = match self.config.update {
            CodebookUpdate::Ema { .. } => self.codebook.tensor().detach(),
            CodebookUpdate::Gradient => self.codebook.tensor(),
        };
        self.metric(&codebook)
    }

    /// Begins the codebook at vectors chosen by k-means++ among these (`[.., d]`).
    ///
    /// # Errors
    /// When the last axis is not `d`, a number is not finite, or there is no vector.
    pub fn seed(&self, vectors: &Tensor, rng: &mut Rng) -> Result<()> {
        features("VectorQuantizer::seed", vectors, self.config.dim)?;
        if vectors.is_empty() {
            return shape("VectorQuantizer::seed", format!("no vectors in {:?}", vectors.shape()));
        }
        let vectors = self.metric(&vectors.detach())?;
        let rows = k_means::plus_plus(vectors.data(), self.config.dim, self.config.codes, rng);
        let chosen: Vec<f32> =
            rows.iter().flat_map(|r| row(vectors.data(), self.config.dim, *r)).copied().collect();
        self.begin(&chosen)
    }

    /// Codebook and averages as if every code had been met once.
    fn begin(&self, codes: &[f32]) -> Result<()> {
        let codes = self.metric(&Tensor::from_vec(codes.to_vec(), &[self.config.codes, self.config.dim])?)?;
        self.codebook.set(codes.data())?;
        self.sums.set(codes.data())?;
        self.counts.set(&vec![1.0; self.config.codes])
    }

    /// What distances are measured between.
    pub(super) fn metric(&self, x: &Tensor) -> Result<Tensor> {
        match self.config.distance {
            Distance::Euclidean => Ok(x.clone()),
            Distance::Cosine => unit(x),
        }
    }

    /// Quantises `z` (`[.., d]`); nothing changes.
    ///
    /// Under cosine distance `quantized` is of unit length and stands for `z / |z|`, whose gradient the straight-through rule takes.
    ///
    /// # Errors
    /// When the last axis is not `d` or a number is not finite.
    pub fn forward(&self, z: &Tensor) -> Result<Quantized> {
        features("VectorQuantizer::forward", z, self.config.dim)?;
        self.quantise(&self.metric(z)?)
    }

    /// Quantises `z` (`[.., d]`) and learns from it: begins the codebook when it has not begun, then moves averages and revives dead codes
    /// after the codes were assigned.
    ///
    /// # Errors
    /// When the last axis is not `d`, a number is not finite, or there is no vector.
    pub fn forward_train(&self, z: &Tensor, rng: &mut Rng) -> Result<Quantized> {
        features("VectorQuantizer::forward_train", z, self.config.dim)?;
        let z = self.metric(z)?;
        if !self.has_begun() {
            self.seed(&z, rng)?;
        }
        let out = self.quantise(&z)?;
        self.learn(&[(z.data(), &out.indices)], rng);
        Ok(out)
    }

    /// As [`VectorQuantizer::forward`], for vectors that are measured already.
    pub(super) fn quantise(&self, z: &Tensor) -> Result<Quantized> {
        let codebook = self.codebook()?;
        let indices = nearest(z.data(), codebook.data(), self.config.dim);
        let picked = ops::embedding(&codebook, &indices, &z.shape()[..z.rank() - 1])?;
        let commitment = ops::mse(z, &picked.detach())?;
        let mut loss = commitment.mul_scalar(self.config.commitment);
        if self.config.update == CodebookUpdate::Gradient {
            loss = loss.add(&ops::mse(&picked, &z.detach())?)?;
        }
        let usage = Usage::of(&indices);
        Ok(Quantized { quantized: straight_through(z, &picked)?, indices, commitment, loss, usage })
    }

    /// Codes of `z` (`[.., d]`), row-major.
    ///
    /// # Errors
    /// As [`VectorQuantizer::forward`].
    pub fn encode(&self, z: &Tensor) -> Result<Vec<u32>> {
        features("VectorQuantizer::encode", z, self.config.dim)?;
        Ok(nearest(self.metric(z)?.data(), self.codebook()?.data(), self.config.dim))
    }

    /// Vectors of codes: shape `to` followed by d.
    ///
    /// # Errors
    /// When a code does not exist or the codes do not fill the shape.
    pub fn decode(&self, indices: &[u32], to: &[usize]) -> Result<Tensor> {
        check_codes("VectorQuantizer::decode", indices, self.config.codes as u64, to)?;
        ops::embedding(&self.codebook()?, indices, to)
    }

    /// One step of learning from vectors and their codes, in order.
    pub(super) fn learn(&self, assigned: &[(&[f32], &[u32])], rng: &mut Rng) {
        let (k, d) = (self.config.codes, self.config.dim);
        let mut fresh = vec![0.0_f32; k];
        let mut sums = vec![0.0_f32; k * d];
        for (vectors, ids) in assigned {
            for (vector, id) in vectors.chunks_exact(d).zip(*ids) {
                let id = *id as usize;
                fresh[id] += 1.0;
                sums[id * d..][..d].iter_mut().zip(vector).for_each(|(s, z)| *s += z);
            }
        }
        let decay = match self.config.update {
            CodebookUpdate::Ema { decay } => decay,
            CodebookUpdate::Gradient => USAGE_DECAY,
        };
        let mix = |old: &mut [f32], new: &[f32]| {
            old.iter_mut().zip(new).for_each(|(o, n)| *o = decay * *o + (1.0 - decay) * n);
        };
        self.counts.update(|counts| mix(counts, &fresh));
        if matches!(self.config.update, CodebookUpdate::Ema { .. }) {
            self.sums.update(|old| mix(old, &sums));
            self.move_codes();
        }
        self.steps.update(|steps| steps[0] += 1.0);
        let step = self.steps.to_vec()[0] as u64;
        if let Some(revival) = self.config.revival
            && step.is_multiple_of(u64::from(revival.every))
        {
            self.revive(revival.threshold, assigned, rng);
        }
    }

    /// `e_k = m_k / N_k`, of unit length under cosine distance.
    fn move_codes(&self) {
        let (counts, sums, d) = (self.counts.to_vec(), self.sums.to_vec(), self.config.dim);
        self.codebook.update(|codes| {
            for ((code, sum), count) in codes.chunks_exact_mut(d).zip(sums.chunks_exact(d)).zip(&counts) {
                let by = match self.config.distance {
                    Distance::Euclidean => *count,
                    Distance::Cosine => sum.iter().map(|x| x * x).sum::<f32>().sqrt(),
                };
                if *count > LEAST_COUNT && by > 0.0 {
                    code.iter_mut().zip(sum).for_each(|(e, m)| *e = m / by);
                }
            }
        });
    }

    /// Seeds dead codes anew: different vectors of this batch, in random order, with the average count.
    fn revive(&self, threshold: f32, assigned: &[(&[f32], &[u32])], rng: &mut Rng) {
        let (k, d) = (self.config.codes, self.config.dim);
        let counts = self.counts.to_vec();
        let average = counts.iter().sum::<f32>() / k as f32;
        let dead: Vec<usize> = (0..k).filter(|i| counts[*i] < threshold * average).collect();
        let mut rows: Vec<&[f32]> = assigned.iter().flat_map(|(z, _)| z.chunks_exact(d)).collect();
        if dead.is_empty() {
            return;
        }
        rng.shuffle(&mut rows);
        for (&code, vector) in dead.iter().zip(rows) {
            self.codebook.update(|codes| codes[code * d..][..d].copy_from_slice(vector));
            self.counts.update(|counts| counts[code] = average);
            self.sums.update(|sums| {
                sums[code * d..][..d].iter_mut().zip(vector).for_each(|(s, z)| *s = z * average);
            });
        }
    }
}

fn row(data: &[f32], d: usize, i: usize) -> &[f32] {
    &data[i * d..(i + 1) * d]
}

impl Module for VectorQuantizer {
    fn params(&self) -> Vec<Param> {
        vec![self.codebook.clone(), self.counts.clone(), self.sums.clone(), self.steps.clone()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check_gradients;
    use ream_rand::Stream;

    fn rng(step: u64) -> Rng {
        Stream::new(11, "vq").at(step)
    }

    fn config(codes: usize, dim: usize) -> VqConfig {
        VqConfig { revival: None, ..VqConfig::new(codes, dim) }
    }

    fn fixed(config: VqConfig, codes: &[f32]) -> VectorQuantizer {
        let vq = VectorQuantizer::new(&Init::new(1).at("vq"), config).unwrap();
        vq.begin(codes).unwrap();
        vq
    }

    #[test]
    fn nearest_codes_losses_and_straight_through_gradient() {
        let vq = fixed(config(2, 2), &[0.0, 0.0, 1.0, 1.0]);
        let z = Tensor::from_vec(vec![0.2, 0.1, 0.9, 0.6, 0.5, 0.5], &[1, 3, 2]).unwrap().watched();
        let out = vq.forward(&z).unwrap();
        // The third vector lies half-way: the lowest code.
        assert_eq!(out.indices, [0, 1, 0]);
        assert_eq!(out.quantized.to_vec(), [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
        assert_eq!(out.quantized.shape(), [1, 3, 2]);
        let want = (0.04 + 0.01 + 0.01 + 0.16 + 0.25 + 0.25) / 6.0;
        assert!((out.commitment.item().unwrap() - want).abs() < 1e-6);
        assert!((out.loss.item().unwrap() - 0.25 * want).abs() < 1e-6);
        assert_eq!(out.usage.used, 2);
        let weights = vec![1.0, -2.0, 3.0, 4.0, 5.0, 6.0];
        let grads = out.quantized.backward_with(weights.clone().into()).unwrap();
        assert_eq!(grads.of(&z).unwrap(), weights);
        assert_eq!(vq.encode(&z).unwrap(), out.indices);
        assert_eq!(vq.decode(&out.indices, &[1, 3]).unwrap().to_vec(), out.quantized.to_vec());
    }

    #[test]
    fn losses_have_their_gradients() {
        // Away from the borders between codes, where the commitment is smooth.
        let z = Tensor::from_vec(vec![0.3, 0.2, -1.1, 0.4, 1.3, -0.9], &[3, 2]).unwrap();
        for distance in [Distance::Euclidean, Distance::Cosine] {
            let gradient = VqConfig { distance, update: CodebookUpdate::Gradient, ..config(3, 2) };
            let vq = fixed(gradient, &[0.5, 0.4, -0.8, 0.1, 0.7, -0.6]);
            // The commitment moves the features alone, the codebook's term the codes alone: each is held still where it should be.
            check_gradients(std::slice::from_ref(&z), &[], 0.01, |x| Ok(vq.forward(&x[0])?.commitment))
                .unwrap();
            let fixed_z = z.detach();
            check_gradients(&[], std::slice::from_ref(&vq.codebook), 0.01, |_| {
                let out = vq.forward(&fixed_z)?;
                out.loss.sub(&out.commitment.mul_scalar(0.25))?.add(&Tensor::scalar(0.0))
            })
            .unwrap_or_else(|e| panic!("{distance:?}: {e}"));
        }
    }

    #[test]
    fn moving_averages_follow_their_equations() {
        let ema = VqConfig { update: CodebookUpdate::Ema { decay: 0.75 }, ..config(3, 1) };
        let vq = fixed(ema, &[0.0, 10.0, 50.0]);
        let z = Tensor::from_vec(vec![1.0, 2.0, 9.0], &[3, 1]).unwrap();
        vq.forward_train(&z, &mut rng(0)).unwrap();
        let close = |a: Vec<f32>, b: [f32; 3]| {
            assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5), "{a:?} {b:?}");
        };
        close(vq.counts.to_vec(), [1.25, 1.0, 0.75]);
        // m_0 = 0.75 * 0 + 0.25 * 3; m_1 = 7.5 + 2.25; an unused code stays where it is.
        close(vq.codebook().unwrap().to_vec(), [0.75 / 1.25, 9.75, 50.0]);
        for step in 0..3000 {
            vq.forward_train(&z, &mut rng(step)).unwrap();
        }
        close(vq.codebook().unwrap().to_vec(), [1.5, 9.0, 50.0]);
    }

    #[test]
    fn training_puts_one_code_on_each_cluster() {
        let mut noise = rng(5);
        let centres = [[3.0_f32, 0.0], [-3.0, 0.0], [0.0, 3.0], [0.0, -3.0]];
        let vq = VectorQuantizer::new(&Init::new(2).at("vq"), config(4, 2)).unwrap();
        assert!(!vq.has_begun());
        for step in 0..100 {
            let data =
                (0..64).flat_map(|i| centres[i % 4].map(|c| c + 0.1 * noise.normal() as f32)).collect();
            let out = vq.forward_train(&Tensor::from_vec(data, &[64, 2]).unwrap(), &mut rng(step)).unwrap();
            assert_eq!(out.usage.used, 4);
        }
        let mut found = vq.encode(&Tensor::from_vec(centres.concat(), &[4, 2]).unwrap()).unwrap();
        let codes = vq.decode(&found, &[4]).unwrap();
        assert!(codes.data().iter().zip(centres.concat()).all(|(a, b)| (a - b).abs() < 0.1), "{codes:?}");
        found.sort_unstable();
        assert_eq!(found, [0, 1, 2, 3]);
    }

    #[test]
    fn cosine_codes_are_unit_vectors_and_lengths_do_not_matter() {
        let cosine = VqConfig { distance: Distance::Cosine, ..config(4, 3) };
        let vq = VectorQuantizer::new(&Init::new(3).at("vq"), cosine).unwrap();
        for step in 0..20 {
            vq.forward_train(&Tensor::randn(&[32, 3], 2.0, &mut rng(step)), &mut rng(100 + step)).unwrap();
        }
        for code in vq.codebook().unwrap().data().chunks_exact(3) {
            assert!((code.iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5, "{code:?}");
        }
        let z = Tensor::randn(&[32, 3], 1.0, &mut rng(50));
        assert_eq!(vq.encode(&z).unwrap(), vq.encode(&z.mul_scalar(17.0)).unwrap());
    }

    #[test]
    fn dead_codes_come_back() {
        let revive = VqConfig { revival: Some(Revival { every: 10, threshold: 0.5 }), ..config(4, 1) };
        let vq = fixed(
            VqConfig { update: CodebookUpdate::Ema { decay: 0.5 }, ..revive },
            &[0.0, 1.0, 900.0, 901.0],
        );
        let z = Tensor::from_vec((0..32).map(|i| i as f32 / 16.0).collect(), &[32, 1]).unwrap();
        let used: Vec<usize> =
            (0..30).map(|s| vq.forward_train(&z, &mut rng(s)).unwrap().usage.used).collect();
        assert!(used[..10].iter().all(|u| *u == 2) && used[29] == 4, "{used:?}");
        // Nothing is re-seeded between the intervals.
        let still = fixed(revive, &[0.0, 1.0, 900.0, 901.0]);
        (0..9).for_each(|s| assert!(still.forward_train(&z, &mut rng(s)).is_ok()));
        let codes = still.codebook().unwrap().to_vec();
        assert!((codes[2] - 900.0).abs() < 0.01 && (codes[3] - 901.0).abs() < 0.01, "{codes:?}");
    }

    #[test]
    fn a_copy_of_the_parameters_continues_to_the_bit() {
        let revive = VqConfig { revival: Some(Revival { every: 7, threshold: 0.4 }), ..config(16, 4) };
        let train = |vq: &VectorQuantizer, from: u64, to: u64| {
            for step in from..to {
                vq.forward_train(&Tensor::randn(&[24, 4], 1.0, &mut rng(step)), &mut rng(500 + step))
                    .unwrap();
            }
        };
        let whole = VectorQuantizer::new(&Init::new(4).at("vq"), revive).unwrap();
        train(&whole, 0, 25);
        let resumed = VectorQuantizer::new(&Init::new(99).at("vq"), revive).unwrap();
        train(&whole, 25, 40);
        let first = VectorQuantizer::new(&Init::new(4).at("vq"), revive).unwrap();
        train(&first, 0, 25);
        resumed.copy_from(&first).unwrap();
        train(&resumed, 25, 40);
        for (a, b) in whole.params().iter().zip(resumed.params()) {
            assert_eq!(a.to_vec(), b.to_vec(), "{}", a.name());
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let init = Init::new(1).at("vq");
        let says = |c: VqConfig, text: &str| {
            let error = VectorQuantizer::new(&init, c).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        says(config(0, 2), "codes must be 1..=16777216, got 0");
        says(config(2, 0), "dim must be 1 or more, got 0");
        says(VqConfig { commitment: -1.0, ..config(2, 2) }, "commitment must be");
        says(
            VqConfig { update: CodebookUpdate::Ema { decay: 1.0 }, ..config(2, 2) },
            "decay must be in (0, 1), got 1",
        );
        let every = Some(Revival { every: 0, threshold: 0.1 });
        says(VqConfig { revival: every, ..config(2, 2) }, "revival.every must be 1 or more");
        let vq = fixed(config(2, 2), &[0.0, 0.0, 1.0, 1.0]);
        let error = vq.forward(&Tensor::zeros(&[4, 3])).unwrap_err().to_string();
        assert!(error.contains("the last axis of [4, 3] must be d = 2"), "{error}");
        let bad = Tensor::from_vec(vec![0.0, 0.0, 0.0, f32::NAN], &[2, 2]).unwrap();
        assert!(vq.forward(&bad).unwrap_err().to_string().contains("element 1 of vector 1 is not finite"));
        assert!(
            vq.decode(&[0, 2], &[2]).unwrap_err().to_string().contains("code 2 at position 1, there are 2")
        );
    }
}
