//! Multi-scale residual quantisation of feature maps, the tokenizer of next-scale prediction (VAR; Tian et al., 2024, arXiv 2404.02905).
//!
//! `f` is `[batch, S, S, C]`, the sides are `s_1 < .. < s_K = S`, all scales share one codebook E:
//!
//! ```text
//! f^_0 = 0
//! r_k  = codes of area_down(f - f^_{k-1}, s_k)
//! h_k  = phi_k(bicubic_up(E[r_k], S)),    phi_k(h) = (1 - a) h + a conv3_k(h)
//! f^_k = f^_{k-1} + h_k
//! ```
//!
//! The convolutions are shared over the scales: a few of them, scale k uses the nearest. [`MultiScaleVq::advance`] is the one place where `f^`
//! grows, in quantising and in replaying, so stored tokens give the same `f^` to the bit. A generator predicts scale k + 1 from
//! `area_down(f^_k, s_{k+1})`, [`MultiScaleVq::next_input`].
//!
//! Value and gradient of the result: `f^_K`, with the gradient handed to `f` unchanged *and* to the convolutions (the authors stop it
//! before them). `loss = sum_k commitment |f - sg(f^_k)|^2 + latent |f^_k - sg(f)|^2`.

use ream_rand::Rng;

use super::vq::{Distance, VectorQuantizer, VqConfig};
use super::{Usage, check_codes, features};
use crate::error::{Result, config, shape};
use crate::layers::Conv2d;
use crate::ops::{self, Conv};
use crate::param::{Init, Module, Param};
use crate::tensor::Tensor;

/// What a [`MultiScaleVq`] is.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct MultiScaleVqConfig {
    /// Sides of the token maps, rising; the last is the side of the feature map.
    pub scales: Vec<usize>,
    /// Number of convolutions, at least 1; scale k of K uses the one nearest to `(k - 1) / (K - 1)`.
    pub convolutions: usize,
    /// Share a of the convolution.
    pub share: f32,
    /// Weight of `|f^_k - sg(f)|^2`, summed over scales; 0 leaves the convolutions to the final reconstruction.
    pub latent: f32,
    /// The shared codebook; Euclidean. Its `commitment` weighs `|f - sg(f^_k)|^2`.
    pub codebook: VqConfig,
}

impl MultiScaleVqConfig {
    /// Two convolutions with share 1/2, latent weight 1.
    #[must_use]
    pub fn new(scales: &[usize], codebook: VqConfig) -> Self {
        Self { scales: scales.to_vec(), convolutions: 2, share: 0.5, latent: 1.0, codebook }
    }
}

/// What a [`MultiScaleVq`] makes of features `[batch, S, S, C]`.
#[derive(Clone, Debug)]
pub struct MultiScaleQuantized {
    /// `f^_K`, `[batch, S, S, C]`.
    pub quantized: Tensor,
    /// Codes of each scale, `[batch, s_k, s_k]` row-major.
    pub indices: Vec<Vec<u32>>,
    /// Mean of `|f - sg(f^_k)|^2`, summed over scales; unweighted, shape `[]`.
    pub commitment: Tensor,
    /// What to add to the training loss, shape `[]`.
    pub loss: Tensor,
    /// Which codes came, for each scale.
    pub usage: Vec<Usage>,
}

/// `f^` after some scales.
#[derive(Clone, Debug)]
pub struct Replay {
    latent: Tensor,
    scales: usize,
}

impl Replay {
    /// `f^_k`, `[batch, S, S, C]`.
    #[must_use]
    pub fn latent(&self) -> &Tensor {
        &self.latent
    }

    /// Number k of scales so far.
    #[must_use]
    pub fn scales(&self) -> usize {
        self.scales
    }
}

/// One codebook on residuals of rising size.
#[derive(Clone, Debug)]
pub struct MultiScaleVq {
    config: MultiScaleVqConfig,
    codebook: VectorQuantizer,
    convolutions: Vec<Conv2d>,
}

impl MultiScaleVq {
    /// A codebook that has not begun, and convolutions.
    ///
    /// # Errors
    /// Naming the key, its range, and what was got.
    pub fn new(init: &Init, settings: MultiScaleVqConfig) -> Result<Self> {
        let rising = settings.scales.windows(2).all(|w| w[0] < w[1]);
        if settings.scales.is_empty() || settings.scales[0] == 0 || !rising {
            return config("scales", "rising positive sides", format!("{:?}", settings.scales));
        }
        if settings.convolutions == 0 {
            return config("convolutions", "1 or more", settings.convolutions);
        }
        if !(0.0..=1.0).contains(&settings.share) {
            return config("share", "in [0, 1]", settings.share);
        }
        if !(settings.latent >= 0.0 && settings.latent.is_finite()) {
            return config("latent", "finite and 0 or larger", settings.latent);
        }
        if settings.codebook.distance != Distance::Euclidean {
            return config("codebook.distance", "Euclidean: a residual has a length", "Cosine");
        }
        let c = settings.codebook.dim;
        let convolution = |i: usize| Conv2d::new(&init.at(format!("phi.{i}")), c, c, 3, Conv::same(3), true);
        Ok(Self {
            codebook: VectorQuantizer::new(init, settings.codebook)?,
            convolutions: (0..settings.convolutions).map(convolution).collect(),
            config: settings,
        })
    }

    /// What it is.
    #[must_use]
    pub fn config(&self) -> &MultiScaleVqConfig {
        &self.config
    }

    /// The shared codebook.
    #[must_use]
    pub fn codebook(&self) -> &VectorQuantizer {
        &self.codebook
    }

    /// Side S of the feature map.
    #[must_use]
    pub fn side(&self) -> usize {
        self.config.scales.last().copied().unwrap_or(1)
    }

    /// Tokens of one feature map: `sum s_k^2`.
    #[must_use]
    pub fn tokens(&self) -> usize {
        self.config.scales.iter().map(|s| s * s).sum()
    }

    /// `f^_0 = 0` of a batch.
    #[must_use]
    pub fn begin(&self, batch: usize) -> Replay {
        let side = self.side();
        Replay { latent: Tensor::zeros(&[batch, side, side, self.config.codebook.dim]), scales: 0 }
    }

    /// Adds the next scale's codes `[batch, s_k, s_k]`.
    ///
    /// # Errors
    /// When there is no next scale, a code does not exist, or the codes do not fill the scale.
    pub fn advance(&self, state: &Replay, codes: &[u32]) -> Result<Replay> {
        let Some(&s) = self.config.scales.get(state.scales) else {
            return shape("MultiScaleVq::advance", format!("all {} scales are there", state.scales));
        };
        let to = [state.latent.shape()[0], s, s];
        check_codes("MultiScaleVq::advance", codes, self.config.codebook.codes as u64, &to)?;
        let up = ops::resize_bicubic(&self.codebook.decode(codes, &to)?, [self.side(); 2])?;
        let mixed = up
            .mul_scalar(1.0 - self.config.share)
            .add(&self.convolution(state.scales).forward(&up)?.mul_scalar(self.config.share))?;
        Ok(Replay { latent: state.latent.add(&mixed)?, scales: state.scales + 1 })
    }

    /// What a generator sees of the scales so far: `area_down(f^_k, s_{k+1})`, `[batch, s, s, C]`; `None` after the last scale.
    ///
    /// # Errors
    /// None for a state of this quantiser.
    pub fn next_input(&self, state: &Replay) -> Result<Option<Tensor>> {
        let next = self.config.scales.get(state.scales);
        next.map(|s| ops::resize_area(&state.latent, [*s; 2])).transpose()
    }

    /// The convolution of a scale: places of m convolutions are evenly spaced from `1 / 3m` to `1 - 1 / 3m`, as the authors place them; the first of
    /// equally near ones.
    fn convolution(&self, scale: usize) -> &Conv2d {
        let (k, m) = (self.config.scales.len(), self.convolutions.len());
        let wanted = if k == 1 { 0.0 } else { scale as f64 / (k - 1) as f64 };
        let edge = 1.0 / (3.0 * m as f64);
        let place =
            |i: usize| if m == 1 { 0.5 } else { edge + (1.0 - 2.0 * edge) * i as f64 / (m - 1) as f64 };
        let far = |i: usize| (place(i) - wanted).abs();
        // Rounding must not decide between equally near ones.
        let nearest = (1..m).fold(0, |best, i| if far(i) < far(best) - 1e-9 { i } else { best });
        &self.convolutions[nearest]
    }

    /// Quantises `f` (`[batch, S, S, C]`); nothing changes.
    ///
    /// # Errors
    /// When the shape does not fit or a number is not finite.
    pub fn forward(&self, f: &Tensor) -> Result<MultiScaleQuantized> {
        self.check("MultiScaleVq::forward", f)?;
        Ok(self.run(f)?.0)
    }

    /// Quantises `f` and lets the codebook learn from all scales together, after the codes were assigned: the codes decode to other vectors
    /// from then on.
    ///
    /// A codebook that has not begun begins by k-means++ among the vectors that each scale would see if the scales before it lost nothing
    /// but detail.
    ///
    /// # Errors
    /// When the shape does not fit, a number is not finite, or there is no vector.
    pub fn forward_train(&self, f: &Tensor, rng: &mut Rng) -> Result<MultiScaleQuantized> {
        self.check("MultiScaleVq::forward_train", f)?;
        if !self.codebook.has_begun() {
            self.codebook.seed(&self.pyramid(f)?, rng)?;
        }
        let (out, seen) = self.run(f)?;
        let assigned: Vec<(&[f32], &[u32])> =
            seen.iter().zip(&out.indices).map(|(z, ids)| (z.data(), ids.as_slice())).collect();
        self.codebook.learn(&assigned, rng);
        Ok(out)
    }

    /// The result, and the vectors that each scale quantised.
    fn run(&self, f: &Tensor) -> Result<(MultiScaleQuantized, Vec<Tensor>)> {
        let fixed = f.detach();
        let mut state = self.begin(f.shape()[0]);
        let (mut seen, mut indices) = (Vec::new(), Vec::new());
        let (mut commitment, mut latent) = (Tensor::scalar(0.0), Tensor::scalar(0.0));
        for &s in &self.config.scales {
            let rest = fixed.sub(&state.latent.detach())?;
            let z = ops::resize_area(&rest, [s; 2])?;
            let codes = self.codebook.encode(&z)?;
            state = self.advance(&state, &codes)?;
            commitment = commitment.add(&ops::mse(f, &state.latent.detach())?)?;
            latent = latent.add(&ops::mse(&state.latent, &fixed)?)?;
            seen.push(z);
            indices.push(codes);
        }
        let loss = commitment
            .mul_scalar(self.config.codebook.commitment)
            .add(&latent.mul_scalar(self.config.latent))?;
        let usage = indices.iter().map(|codes| Usage::of(codes)).collect();
        let quantized = through_both(f, &state.latent);
        Ok((MultiScaleQuantized { quantized, indices, commitment, loss, usage }, seen))
    }

    /// Vectors to begin a codebook with, `[n, C]`.
    fn pyramid(&self, f: &Tensor) -> Result<Tensor> {
        let mut rest = f.detach();
        let mut vectors = Vec::new();
        for &s in &self.config.scales {
            let z = ops::resize_area(&rest, [s; 2])?;
            rest = rest.sub(&ops::resize_bicubic(&z, [self.side(); 2])?)?;
            vectors.push(z.reshape(&[z.rows(), z.last()])?);
        }
        ops::concat(&vectors.iter().collect::<Vec<_>>(), 0)
    }

    fn check(&self, operation: &'static str, f: &Tensor) -> Result<()> {
        let lead = features(operation, f, self.config.codebook.dim)?;
        let side = self.side();
        if matches!(lead, [_, h, w] if [*h, *w] == [side; 2]) {
            return Ok(());
        }
        let want = self.config.codebook.dim;
        shape(operation, format!("features [batch, {side}, {side}, {want}] are needed, got {:?}", f.shape()))
    }

    /// Codes of each scale of `f` (`[batch, S, S, C]`), `[batch, s_k, s_k]` row-major.
    ///
    /// # Errors
    /// As [`MultiScaleVq::forward`].
    pub fn encode(&self, f: &Tensor) -> Result<Vec<Vec<u32>>> {
        crate::no_grad(|| Ok(self.forward(f)?.indices))
    }

    /// `f^` of codes of the first scales, or all: the same bits as in quantising.
    ///
    /// # Errors
    /// When there are too many scales, a code does not exist, or codes do not fill their scale.
    pub fn decode(&self, indices: &[Vec<u32>], batch: usize) -> Result<Tensor> {
        let state = indices.iter().try_fold(self.begin(batch), |state, codes| self.advance(&state, codes))?;
        Ok(state.latent)
    }

    /// What a generator sees in training: `area_down(f^_{k-1}, s_k)` for the scales k = 2..=K, `[batch, s_k, s_k, C]` each.
    ///
    /// # Errors
    /// As [`MultiScaleVq::decode`].
    pub fn inputs(&self, indices: &[Vec<u32>], batch: usize) -> Result<Vec<Tensor>> {
        let mut state = self.begin(batch);
        let mut inputs = Vec::new();
        for codes in indices {
            state = self.advance(&state, codes)?;
            inputs.extend(self.next_input(&state)?);
        }
        Ok(inputs)
    }
}

/// The value of `latent`; its gradient goes to both.
fn through_both(f: &Tensor, latent: &Tensor) -> Tensor {
    let (pf, pl) = (f.clone(), latent.clone());
    Tensor::derived("multi_scale", f.shape(), latent.shared_data(), &[f, latent], move |grad, sink| {
        if pl.requires_grad() {
            sink.add(&pl, grad.clone());
        }
        sink.add(&pf, grad);
        Ok(())
    })
}

impl Module for MultiScaleVq {
    fn params(&self) -> Vec<Param> {
        [self.codebook.params(), self.convolutions.params()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantizers::Revival;
    use ream_rand::Stream;

    fn rng(step: u64) -> Rng {
        Stream::new(29, "multi-scale").at(step)
    }

    fn config(scales: &[usize]) -> MultiScaleVqConfig {
        let revival = Some(Revival { every: 10, threshold: 0.03 });
        MultiScaleVqConfig::new(scales, VqConfig { revival, ..VqConfig::new(32, 4) })
    }

    /// Smooth random maps: what a scale below the last can say something about.
    fn maps(batch: usize, seed: u64) -> Tensor {
        let coarse = Tensor::randn(&[batch, 3, 3, 4], 1.0, &mut rng(seed));
        let fine = Tensor::randn(&[batch, 8, 8, 4], 0.3, &mut rng(seed + 1));
        ops::resize_bicubic(&coarse, [8, 8]).unwrap().add(&fine).unwrap()
    }

    fn trained(scales: &[usize]) -> MultiScaleVq {
        let ms = MultiScaleVq::new(&Init::new(1).at("ms"), config(scales)).unwrap();
        for step in 0..40 {
            ms.forward_train(&maps(8, 10 * step), &mut rng(10_000 + step)).unwrap();
        }
        ms
    }

    #[test]
    fn replaying_tokens_gives_the_same_bits() {
        let ms = trained(&[1, 2, 3, 5, 8]);
        assert_eq!((ms.tokens(), ms.side()), (103, 8));
        let f = maps(6, 7777);
        let out = ms.forward(&f.watched()).unwrap();
        let lengths: Vec<usize> = out.indices.iter().map(Vec::len).collect();
        assert_eq!(lengths, [6, 24, 54, 150, 384]);
        assert_eq!(ms.decode(&out.indices, 6).unwrap().to_vec(), out.quantized.to_vec());
        assert_eq!(ms.encode(&f).unwrap(), out.indices);
        // Step by step, as a generator goes, and all at once, as training sees it.
        let inputs = ms.inputs(&out.indices, 6).unwrap();
        let mut state = ms.begin(6);
        for (k, codes) in out.indices.iter().enumerate() {
            state = ms.advance(&state, codes).unwrap();
            match ms.next_input(&state).unwrap() {
                Some(input) => assert_eq!(input.to_vec(), inputs[k].to_vec()),
                None => assert_eq!(k, 4),
            }
        }
        assert_eq!(state.latent().to_vec(), out.quantized.to_vec());
        assert_eq!(inputs[3].shape(), [6, 8, 8, 4]);
        // One image of the batch alone.
        let of_two = |k: usize, s: usize| out.indices[k][2 * s * s..3 * s * s].to_vec();
        let alone: Vec<Vec<u32>> = [1, 2, 3, 5, 8].iter().enumerate().map(|(k, s)| of_two(k, *s)).collect();
        let one = ms.decode(&alone, 1).unwrap();
        let two = &out.quantized.data()[2 * 256..3 * 256];
        assert!(one.data().iter().zip(two).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    #[test]
    fn more_scales_say_more_than_one() {
        let f = maps(16, 5555);
        let error = |ms: &MultiScaleVq| {
            let out = ms.forward(&f).unwrap();
            ops::mse(&f, &out.quantized).unwrap().item().unwrap()
        };
        let (many, one) = (trained(&[1, 2, 3, 5, 8]), trained(&[8]));
        assert!(error(&many) < error(&one), "{} {}", error(&many), error(&one));
    }

    #[test]
    fn gradients_pass_straight_through_and_reach_the_convolutions() {
        let ms = trained(&[1, 3, 8]);
        let f = maps(2, 99).watched();
        let weights = Tensor::randn(&[f.len()], 1.0, &mut rng(1)).to_vec();
        let grads = ms.forward(&f).unwrap().quantized.backward_with(weights.clone().into()).unwrap();
        assert_eq!(grads.of(&f).unwrap(), weights);
        for p in ms.convolutions.params() {
            assert!(grads.get(&p).is_some_and(|g| g.iter().any(|g| *g != 0.0)), "{}", p.name());
        }
        let loss = ms.forward(&f).unwrap().loss.backward().unwrap();
        assert!(ms.convolutions.params().iter().all(|p| loss.get(p).is_some()));
        // With fixed codes, f^ is a smooth function of the convolutions.
        let codes = ms.encode(&f).unwrap();
        crate::check_gradients(&[], &ms.convolutions.params(), 0.01, |_| ms.decode(&codes, 2)).unwrap();
    }

    #[test]
    fn convolutions_are_shared_by_nearness() {
        let used = |scales: &[usize], m: usize| -> Vec<usize> {
            let settings = MultiScaleVqConfig { convolutions: m, ..config(scales) };
            let ms = MultiScaleVq::new(&Init::new(1), settings).unwrap();
            let number =
                |k| ms.convolutions.iter().position(|c| c.weight.same(&ms.convolution(k).weight)).unwrap();
            (0..scales.len()).map(number).collect()
        };
        assert_eq!(used(&[1, 2, 3, 5, 8], 2), [0, 0, 0, 1, 1]);
        assert_eq!(used(&[1, 2, 4], 1), [0, 0, 0]);
        // The ten scales and four convolutions of the authors; the third and the eighth lie half-way between two.
        assert_eq!(used(&[1, 2, 3, 4, 5, 6, 8, 10, 13, 16], 4), [0, 0, 0, 1, 1, 2, 2, 2, 3, 3]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let says = |c: MultiScaleVqConfig, text: &str| {
            let error = MultiScaleVq::new(&Init::new(1), c).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        says(config(&[]), "scales must be rising positive sides, got []");
        says(config(&[1, 3, 3]), "scales must be rising");
        says(MultiScaleVqConfig { convolutions: 0, ..config(&[1]) }, "convolutions must be 1 or more");
        says(MultiScaleVqConfig { share: 1.5, ..config(&[1]) }, "share must be in [0, 1], got 1.5");
        let ms = MultiScaleVq::new(&Init::new(1), config(&[1, 2])).unwrap();
        let error = ms.forward(&Tensor::zeros(&[1, 3, 3, 4])).unwrap_err().to_string();
        assert!(error.contains("features [batch, 2, 2, 4] are needed, got [1, 3, 3, 4]"), "{error}");
        assert!(
            ms.decode(&[vec![0, 0]], 1)
                .unwrap_err()
                .to_string()
                .contains("2 codes do not fill the shape [1, 1, 1]")
        );
        let all = [vec![0], vec![0; 4], vec![0; 4]];
        assert!(ms.decode(&all, 1).unwrap_err().to_string().contains("all 2 scales are there"));
    }
}
