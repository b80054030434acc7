//! Residual vector quantisation (Lee et al., 2022, arXiv 2203.01941; quantizer dropout as in Zeghidour et al., 2021, arXiv 2107.03312).
//!
//! `r_0 = z`, `k_s = argmin_k |r_s - e_k|`, `r_{s+1} = r_s - e_{k_s}`, `z_q = sum_s e_{k_s}` with the gradient handed to `z`. The commitment is
//! added up over stages: `sum_s |r_s - sg(e_{k_s})|^2`, where `r_s` depends on `z` only through `z` itself.

use ream_rand::Rng;

use super::vq::{Distance, VectorQuantizer, VqConfig};
use super::{Quantized, Usage, check_codes, features, straight_through};
use crate::error::{Result, config, shape};
use crate::param::{Init, Module, Param};
use crate::tensor::Tensor;

/// What a [`ResidualVq`] is.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ResidualVqConfig {
    /// Number of stages, at least 1.
    pub stages: usize,
    /// Whether all stages use one codebook.
    pub shared: bool,
    /// Probability of a training step with fewer stages: their number is then uniform on `1..=stages`.
    pub quantizer_dropout: f32,
    /// Every stage; Euclidean.
    pub stage: VqConfig,
}

/// What a [`ResidualVq`] makes of features `[.., d]`.
#[derive(Clone, Debug)]
pub struct ResidualQuantized {
    /// Sum of the stages' vectors `[.., d]`, with a gradient to the features.
    pub quantized: Tensor,
    /// Codes `[vectors, stages]`, row-major.
    pub indices: Vec<u32>,
    /// Stages that ran: fewer than all in a step with dropout.
    pub stages: usize,
    /// Mean squared residual after each stage, added up; unweighted, shape `[]`.
    pub commitment: Tensor,
    /// What to add to the training loss, shape `[]`.
    pub loss: Tensor,
    /// Which codes came, for each stage.
    pub usage: Vec<Usage>,
}

/// Stages of vector quantisers, each on the residual of the one before.
#[derive(Clone, Debug)]
pub struct ResidualVq {
    config: ResidualVqConfig,
    /// One for each stage, or the shared one.
    quantizers: Vec<VectorQuantizer>,
}

impl ResidualVq {
    /// Codebooks that have not begun.
    ///
    /// # Errors
    /// Naming the key, its range, and what was got.
    pub fn new(init: &Init, settings: ResidualVqConfig) -> Result<Self> {
        if settings.stages == 0 {
            return config("stages", "1 or more", settings.stages);
        }
        if !(0.0..=1.0).contains(&settings.quantizer_dropout) {
            return config("quantizer_dropout", "in [0, 1]", settings.quantizer_dropout);
        }
        if settings.stage.distance != Distance::Euclidean {
            return config("stage.distance", "Euclidean: a residual has a length", "Cosine");
        }
        let books = if settings.shared { 1 } else { settings.stages };
        let make = |i: usize| VectorQuantizer::new(&init.at(i), settings.stage);
        Ok(Self { config: settings, quantizers: (0..books).map(make).collect::<Result<_>>()? })
    }

    /// What it is.
    #[must_use]
    pub fn config(&self) -> &ResidualVqConfig {
        &self.config
    }

    /// The quantiser of a stage below [`ResidualVqConfig::stages`].
    fn stage(&self, s: usize) -> &VectorQuantizer {
        &self.quantizers[s % self.quantizers.len()]
    }

    /// Quantises `z` (`[.., d]`) with all stages; nothing changes.
    ///
    /// # Errors
    /// When the last axis is not d or a number is not finite.
    pub fn forward(&self, z: &Tensor) -> Result<ResidualQuantized> {
        features("ResidualVq::forward", z, self.config.stage.dim)?;
        self.combine(z, &self.run(z, self.config.stages, |_, _| Ok(()))?)
    }

    /// Quantises `z` (`[.., d]`) and learns from it: a shared codebook moves once, from all stages together.
    ///
    /// Uses one uniform number where there is dropout (and one more when it strikes), then those of the stages in order.
    ///
    /// # Errors
    /// When the last axis is not d, a number is not finite, or there is no vector.
    pub fn forward_train(&self, z: &Tensor, rng: &mut Rng) -> Result<ResidualQuantized> {
        features("ResidualVq::forward_train", z, self.config.stage.dim)?;
        let p = f64::from(self.config.quantizer_dropout);
        let strikes = p > 0.0 && rng.chance(p);
        let stages = if strikes { 1 + rng.below(self.config.stages) } else { self.config.stages };
        let parts =
            self.run(
                z,
                stages,
                |quantizer, residual| {
                    if quantizer.has_begun() { Ok(()) } else { quantizer.seed(residual, rng) }
                },
            )?;
        let assigned: Vec<(&[f32], &[u32])> =
            parts.iter().map(|(residual, q)| (residual.data(), q.indices.as_slice())).collect();
        if self.config.shared {
            self.stage(0).learn(&assigned, rng);
        } else {
            assigned.iter().enumerate().for_each(|(s, part)| self.stage(s).learn(&[*part], rng));
        }
        self.combine(z, &parts)
    }

    /// Residual and quantisation of each stage.
    fn run(
        &self,
        z: &Tensor,
        stages: usize,
        mut before: impl FnMut(&VectorQuantizer, &Tensor) -> Result<()>,
    ) -> Result<Vec<(Tensor, Quantized)>> {
        let mut residual = z.clone();
        let mut parts = Vec::with_capacity(stages);
        for s in 0..stages {
            before(self.stage(s), &residual)?;
            let out = self.stage(s).quantise(&residual)?;
            let next = residual.sub(&out.quantized.detach())?;
            parts.push((std::mem::replace(&mut residual, next), out));
        }
        Ok(parts)
    }

    fn combine(&self, z: &Tensor, parts: &[(Tensor, Quantized)]) -> Result<ResidualQuantized> {
        let zero = (Tensor::scalar(0.0), Tensor::scalar(0.0));
        let (commitment, loss) = parts.iter().try_fold(zero, |(commitment, loss), (_, q)| {
            Ok::<_, crate::NnError>((commitment.add(&q.commitment)?, loss.add(&q.loss)?))
        })?;
        let vectors: Vec<Tensor> = parts.iter().map(|(_, q)| q.quantized.detach()).collect();
        let indices = (0..z.rows()).flat_map(|i| parts.iter().map(move |(_, q)| q.indices[i])).collect();
        Ok(ResidualQuantized {
            quantized: straight_through(z, &total(&vectors, z.shape())?)?,
            indices,
            stages: parts.len(),
            commitment,
            loss,
            usage: parts.iter().map(|(_, q)| q.usage).collect(),
        })
    }

    /// Codes `[vectors, stages]` of `z` (`[.., d]`), row-major.
    ///
    /// # Errors
    /// As [`ResidualVq::forward`].
    pub fn encode(&self, z: &Tensor) -> Result<Vec<u32>> {
        crate::no_grad(|| Ok(self.forward(z)?.indices))
    }

    /// Vectors of codes `[vectors, stages]`, with all stages or the first few: shape `to` followed by d, the same bits as in quantising.
    ///
    /// # Errors
    /// When there are too many stages, a code does not exist, or the codes do not fill the shape.
    pub fn decode(&self, indices: &[u32], stages: usize, to: &[usize]) -> Result<Tensor> {
        if stages == 0 || stages > self.config.stages {
            return config("stages", format!("1..={}", self.config.stages), stages);
        }
        let vectors: usize = to.iter().product();
        if indices.len() != vectors * stages {
            return shape(
                "ResidualVq::decode",
                format!("{} codes for {vectors} vectors of {stages} stages", indices.len()),
            );
        }
        check_codes("ResidualVq::decode", indices, self.config.stage.codes as u64, &[indices.len()])?;
        let of_stage = |s: usize| {
            let codes: Vec<u32> = indices.iter().skip(s).step_by(stages).copied().collect();
            self.stage(s).decode(&codes, to)
        };
        let parts = (0..stages).map(of_stage).collect::<Result<Vec<_>>>()?;
        total(&parts, &super::with_last(to, self.config.stage.dim))
    }
}

/// The sum, in order.
fn total(vectors: &[Tensor], to: &[usize]) -> Result<Tensor> {
    vectors.iter().try_fold(Tensor::zeros(to), |sum, v| sum.add(v))
}

impl Module for ResidualVq {
    fn params(&self) -> Vec<Param> {
        self.quantizers.params()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantizers::CodebookUpdate;
    use ream_rand::Stream;

    fn rng(step: u64) -> Rng {
        Stream::new(13, "residual").at(step)
    }

    fn config(stages: usize, shared: bool) -> ResidualVqConfig {
        ResidualVqConfig { stages, shared, quantizer_dropout: 0.0, stage: VqConfig::new(16, 4) }
    }

    fn trained(settings: ResidualVqConfig) -> ResidualVq {
        let rvq = ResidualVq::new(&Init::new(1).at("rvq"), settings).unwrap();
        for step in 0..60 {
            rvq.forward_train(&Tensor::randn(&[128, 4], 1.0, &mut rng(step)), &mut rng(1000 + step)).unwrap();
        }
        rvq
    }

    #[test]
    fn every_stage_brings_the_sum_nearer() {
        for shared in [false, true] {
            let rvq = trained(config(4, shared));
            assert_eq!(rvq.params().len(), if shared { 4 } else { 16 });
            let z = Tensor::randn(&[8, 16, 4], 1.0, &mut rng(7777));
            let out = rvq.forward(&z).unwrap();
            assert_eq!((out.stages, out.indices.len(), out.usage.len()), (4, 8 * 16 * 4, 4));
            let error = |stages: usize| {
                let first: Vec<u32> =
                    out.indices.chunks_exact(4).flat_map(|c| &c[..stages]).copied().collect();
                let y = rvq.decode(&first, stages, &[8, 16]).unwrap();
                crate::ops::mse(&z, &y).unwrap().item().unwrap()
            };
            let errors: Vec<f32> = (1..=4).map(error).collect();
            assert!(errors.windows(2).all(|w| w[1] < w[0]), "{shared}: {errors:?}");
            // The commitment is the sum of the errors after each stage.
            let sum: f32 = errors.iter().sum();
            assert!((out.commitment.item().unwrap() - sum).abs() < 1e-4 * sum);
            assert_eq!(rvq.decode(&out.indices, 4, &[8, 16]).unwrap().to_vec(), out.quantized.to_vec());
            assert_eq!(rvq.encode(&z).unwrap(), out.indices);
        }
    }

    #[test]
    fn gradients_pass_straight_through_and_codebooks_get_theirs() {
        let stage = VqConfig { update: CodebookUpdate::Gradient, ..VqConfig::new(16, 4) };
        let rvq = trained(ResidualVqConfig { stage, ..config(3, false) });
        let z = Tensor::randn(&[5, 4], 1.0, &mut rng(1)).watched();
        let weights = Tensor::randn(&[20], 1.0, &mut rng(2)).to_vec();
        let out = rvq.forward(&z).unwrap();
        assert_eq!(out.quantized.backward_with(weights.clone().into()).unwrap().of(&z).unwrap(), weights);
        let grads = out.loss.backward().unwrap();
        assert!(rvq.quantizers.iter().all(|q| grads.get(&q.params()[0]).is_some()));
    }

    #[test]
    fn the_commitment_has_its_gradient() {
        // Codes far apart, features well inside their cells: the commitment is smooth there.
        let stage = VqConfig { codes: 2, dim: 1, ..VqConfig::new(2, 1) };
        let rvq = ResidualVq::new(&Init::new(1), ResidualVqConfig { stage, ..config(2, false) }).unwrap();
        let far = |codes: &[f32]| Tensor::from_vec(codes.to_vec(), &[2, 1]).unwrap();
        rvq.quantizers[0].seed(&far(&[0.0, 10.0]), &mut rng(1)).unwrap();
        rvq.quantizers[1].seed(&far(&[0.0, 3.0]), &mut rng(1)).unwrap();
        let z = Tensor::from_vec(vec![0.3, 2.5, 10.4, 12.2], &[4, 1]).unwrap();
        assert_eq!(rvq.decode(&rvq.encode(&z).unwrap(), 2, &[4]).unwrap().to_vec(), [0.0, 3.0, 10.0, 13.0]);
        crate::check_gradients(&[z], &[], 0.01, |x| Ok(rvq.forward(&x[0])?.commitment)).unwrap();
    }

    #[test]
    fn dropout_takes_all_numbers_of_stages() {
        let rvq = trained(ResidualVqConfig { quantizer_dropout: 1.0, ..config(3, false) });
        let z = Tensor::randn(&[64, 4], 1.0, &mut rng(1));
        let mut seen = [0; 4];
        (0..300).for_each(|s| seen[rvq.forward_train(&z, &mut rng(s)).unwrap().stages] += 1);
        assert!(seen[0] == 0 && seen[1..].iter().all(|n| (60..=140).contains(n)), "{seen:?}");
        assert_eq!(rvq.forward(&z).unwrap().stages, 3);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let says = |c: ResidualVqConfig, text: &str| {
            let error = ResidualVq::new(&Init::new(1), c).unwrap_err().to_string();
            assert!(error.contains(text), "{error}");
        };
        says(config(0, false), "stages must be 1 or more, got 0");
        says(
            ResidualVqConfig { quantizer_dropout: 2.0, ..config(2, false) },
            "quantizer_dropout must be in [0, 1]",
        );
        let cosine = VqConfig { distance: Distance::Cosine, ..VqConfig::new(4, 4) };
        says(ResidualVqConfig { stage: cosine, ..config(2, false) }, "stage.distance must be Euclidean");
        let rvq = ResidualVq::new(&Init::new(1), config(2, false)).unwrap();
        assert!(
            rvq.decode(&[0; 3], 2, &[2])
                .unwrap_err()
                .to_string()
                .contains("3 codes for 2 vectors of 2 stages")
        );
        assert!(
            rvq.decode(&[0; 6], 3, &[2]).unwrap_err().to_string().contains("stages must be 1..=2, got 3")
        );
    }
}
