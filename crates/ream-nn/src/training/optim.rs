//! Optimisers: each changes its parameters in place from the gradients of one backward pass.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::autograd::Gradients;
use crate::error::{NnError, Result};
use crate::gemm::{Mat, Start, gemm};
use crate::kernels::CHUNK;
use crate::param::Param;
use crate::simd::{fma, vectorised};
use crate::tensor::Tensor;
use crate::threads::{self, Shared};

/// Something that changes parameters by their gradients.
pub trait Optimiser {
    /// The parameters it changes, in a fixed order.
    fn params(&self) -> &[Param];
    /// One step; `factor` multiplies the base learning rate. Parameters without a gradient, and frozen ones, stay as they are.
    fn step(&mut self, gradients: &Gradients, factor: f32);
    /// The base learning rate.
    fn learning_rate(&self) -> f32;
    /// Everything it remembers between steps, by name.
    ///
    /// # Errors
    /// None in practice: shapes are the parameters'.
    fn state(&self) -> Result<Vec<(String, Tensor)>>;
    /// Takes back what [`Optimiser::state`] gave.
    ///
    /// # Errors
    /// [`NnError::State`] when a part is missing or of another size.
    fn load(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()>;
}

/// Settings of [`Adam`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdamConfig {
    /// Base learning rate.
    pub learning_rate: f32,
    /// Decay of the mean of gradients.
    pub beta1: f32,
    /// Decay of the mean of squared gradients.
    pub beta2: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
    /// Decoupled weight decay (Loshchilov & Hutter, 2019); 0 makes it Adam.
    pub weight_decay: f32,
    /// Whether only parameters of two or more axes decay.
    pub decay_matrices_only: bool,
}

impl Default for AdamConfig {
    /// Kingma & Ba's constants, rate 0.001, no weight decay.
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            beta1: 0.9,
            beta2: 0.999,
            epsilon: 1e-8,
            weight_decay: 0.0,
            decay_matrices_only: true,
        }
    }
}

impl AdamConfig {
    /// AdamW at this rate and decay, other constants as usual.
    #[must_use]
    pub fn adamw(learning_rate: f32, weight_decay: f32) -> Self {
        Self { learning_rate, weight_decay, ..Self::default() }
    }
}

struct Moments {
    param: Param,
    decays: bool,
    first: Vec<f32>,
    second: Vec<f32>,
    steps: u64,
}

impl Moments {
    fn new(param: &Param, matrices_only: bool) -> Self {
        let n = param.len();
        let decays = !matrices_only || param.shape().len() >= 2;
        Self { param: param.clone(), decays, first: vec![0.0; n], second: vec![0.0; n], steps: 0 }
    }
}

/// Adam (Kingma & Ba, 2015) and, with weight decay, AdamW (Loshchilov & Hutter, 2019):
/// `m <- b1 m + (1 - b1) g`, `v <- b2 v + (1 - b2) g^2`, `w <- w - rate (m / (1 - b1^t) / (sqrt(v / (1 - b2^t)) + eps) + decay w)`.
pub struct Adam {
    config: AdamConfig,
    params: Vec<Param>,
    moments: Vec<Moments>,
}

struct AdamStep {
    rate: f32,
    keep: f32,
    beta1: f32,
    beta2: f32,
    root_correction: f32,
    epsilon: f32,
}

vectorised! {
    fn adam_chunk(w: &mut [f32], m: &mut [f32], v: &mut [f32], g: &[f32], s: &AdamStep) {
        let n = g.len();
        let (w, m, v) = (&mut w[..n], &mut m[..n], &mut v[..n]);
        for i in 0..n {
            m[i] = fma::<FMA>(s.beta1, m[i] - g[i], g[i]);
            let square = g[i] * g[i];
            v[i] = fma::<FMA>(s.beta2, v[i] - square, square);
            let root = v[i].sqrt() * s.root_correction + s.epsilon;
            w[i] = fma::<FMA>(w[i], s.keep, -(s.rate * m[i] / root));
        }
    }
}

impl Adam {
    /// An optimiser of these parameters, each given once.
    #[must_use]
    pub fn new(params: &[Param], config: AdamConfig) -> Self {
        let moments = params.iter().map(|p| Moments::new(p, config.decay_matrices_only)).collect();
        Self { config, params: params.to_vec(), moments }
    }

    /// The constants of this parameter's next step.
    fn next(config: &AdamConfig, moments: &mut Moments, factor: f32) -> AdamStep {
        moments.steps += 1;
        let t = moments.steps as f64;
        let c1 = 1.0 - libm::pow(f64::from(config.beta1), t);
        let c2 = 1.0 - libm::pow(f64::from(config.beta2), t);
        let rate = config.learning_rate * factor;
        AdamStep {
            rate: (f64::from(rate) / c1) as f32,
            keep: if moments.decays { 1.0 - rate * config.weight_decay } else { 1.0 },
            beta1: config.beta1,
            beta2: config.beta2,
            root_correction: (1.0 / c2.sqrt()) as f32,
            epsilon: config.epsilon,
        }
    }
}

/// A parameter while it is changed.
struct Change<'a> {
    param: &'a Param,
    gradient: &'a [f32],
    first: Shared,
    second: Shared,
    step: AdamStep,
}

impl Optimiser for Adam {
    fn params(&self) -> &[Param] {
        &self.params
    }

    fn learning_rate(&self) -> f32 {
        self.config.learning_rate
    }

    fn step(&mut self, gradients: &Gradients, factor: f32) {
        let changes: Vec<Change<'_>> = self
            .moments
            .iter_mut()
            .filter(|moments| !moments.param.is_frozen())
            .filter_map(|moments| {
                let gradient = gradients.get(&moments.param)?;
                let step = Self::next(&self.config, moments, factor);
                let (first, second) = (Shared::new(&mut moments.first), Shared::new(&mut moments.second));
                Some(Change { param: &moments.param, gradient, first, second, step })
            })
            .collect();
        let params: Vec<&Param> = changes.iter().map(|change| change.param).collect();
        // All parameters in one loop: most are too small for one of their own.
        Param::update_all(&params, |weights| {
            threads::chunks_of_all(weights, CHUNK, |which, i, w| {
                let change = &changes[which];
                // SAFETY: chunk `i` of both moments belongs to this job alone.
                let (m, v) = unsafe { (change.first.part(i, w.len()), change.second.part(i, w.len())) };
                adam_chunk(w, m, v, &change.gradient[i..i + w.len()], &change.step);
            });
        });
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let mut state = Vec::new();
        for m in &self.moments {
            let (name, shape) = (m.param.name(), m.param.shape());
            state.push((format!("adam/first/{name}"), Tensor::from_vec(m.first.clone(), &shape)?));
            state.push((format!("adam/second/{name}"), Tensor::from_vec(m.second.clone(), &shape)?));
            state.push((format!("adam/steps/{name}"), steps_tensor(m.steps)));
        }
        Ok(state)
    }

    fn load(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        for m in &mut self.moments {
            let name = m.param.name().to_owned();
            fill(state, &format!("adam/first/{name}"), &mut m.first)?;
            fill(state, &format!("adam/second/{name}"), &mut m.second)?;
            m.steps = read_steps(state, &format!("adam/steps/{name}"))?;
        }
        Ok(())
    }
}

/// A step counter as a tensor: two halves of 24 bits, which f32 holds exactly.
fn steps_tensor(steps: u64) -> Tensor {
    let mut value = Tensor::zeros(&[2]);
    let data = value.data_mut();
    data[0] = (steps & 0xff_ffff) as f32;
    data[1] = (steps >> 24) as f32;
    value
}

fn read_steps(state: &BTreeMap<String, Tensor>, key: &str) -> Result<u64> {
    match state.get(key).map(Tensor::data) {
        Some(&[low, high]) => Ok(low as u64 | ((high as u64) << 24)),
        _ => Err(NnError::State(key.to_owned())),
    }
}

fn fill(state: &BTreeMap<String, Tensor>, key: &str, to: &mut [f32]) -> Result<()> {
    match state.get(key) {
        Some(found) if found.len() == to.len() => {
            to.copy_from_slice(found.data());
            Ok(())
        }
        _ => Err(NnError::State(key.to_owned())),
    }
}

/// Settings of [`Sgd`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SgdConfig {
    /// Base learning rate.
    pub learning_rate: f32,
    /// Decay of the running sum of gradients; 0 for none.
    pub momentum: f32,
    /// Whether the step looks ahead along the momentum (Nesterov).
    pub nesterov: bool,
    /// Weight decay, added to the gradient.
    pub weight_decay: f32,
}

impl Default for SgdConfig {
    /// Rate 0.01, no momentum, no decay.
    fn default() -> Self {
        Self { learning_rate: 0.01, momentum: 0.0, nesterov: false, weight_decay: 0.0 }
    }
}

/// Gradient descent with momentum: `u <- momentum u + g + decay w`, `w <- w - rate u`.
pub struct Sgd {
    config: SgdConfig,
    params: Vec<Param>,
    velocity: Vec<Vec<f32>>,
}

vectorised! {
    fn sgd_chunk(w: &mut [f32], u: &mut [f32], g: &[f32], rate: f32, momentum: f32, decay: f32, nesterov: f32) {
        let n = g.len();
        let (w, u) = (&mut w[..n], &mut u[..n]);
        for i in 0..n {
            let g = fma::<FMA>(decay, w[i], g[i]);
            u[i] = fma::<FMA>(momentum, u[i], g);
            let ahead = fma::<FMA>(momentum, u[i], g);
            let direction = nesterov * ahead + (1.0 - nesterov) * u[i];
            w[i] = fma::<FMA>(-rate, direction, w[i]);
        }
    }
}

impl Sgd {
    /// An optimiser of these parameters.
    #[must_use]
    pub fn new(params: &[Param], config: SgdConfig) -> Self {
        let velocity = params.iter().map(|p| vec![0.0; p.len()]).collect();
        Self { config, params: params.to_vec(), velocity }
    }
}

impl Optimiser for Sgd {
    fn params(&self) -> &[Param] {
        &self.params
    }

    fn learning_rate(&self) -> f32 {
        self.config.learning_rate
    }

    fn step(&mut self, gradients: &Gradients, factor: f32) {
        let c = self.config;
        for (param, velocity) in self.params.iter().zip(&mut self.velocity).filter(|(p, _)| !p.is_frozen()) {
            let Some(gradient) = gradients.get(param) else { continue };
            let shared = Shared::new(velocity);
            param.update(|weights| {
                threads::chunks(weights, CHUNK, |i, w| {
                    // SAFETY: chunk `i` of the velocity belongs to this job alone.
                    let u = unsafe { shared.part(i, w.len()) };
                    let nesterov = if c.nesterov { 1.0 } else { 0.0 };
                    let rate = c.learning_rate * factor;
                    sgd_chunk(w, u, &gradient[i..i + w.len()], rate, c.momentum, c.weight_decay, nesterov);
                });
            });
        }
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        self.params
            .iter()
            .zip(&self.velocity)
            .map(|(p, u)| {
                Ok((format!("sgd/velocity/{}", p.name()), Tensor::from_vec(u.clone(), &p.shape())?))
            })
            .collect()
    }

    fn load(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        for (param, velocity) in self.params.iter().zip(&mut self.velocity) {
            fill(state, &format!("sgd/velocity/{}", param.name()), velocity)?;
        }
        Ok(())
    }
}

/// Settings of [`Muon`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MuonConfig {
    /// Base learning rate of the matrices.
    pub learning_rate: f32,
    /// Decay of the momentum.
    pub momentum: f32,
    /// Decoupled weight decay of the matrices.
    pub weight_decay: f32,
    /// Steps of the Newton-Schulz iteration.
    pub iterations: usize,
    /// Settings for everything that is not a matrix, and for what the caller names.
    pub others: AdamConfig,
}

impl Default for MuonConfig {
    /// Jordan's constants.
    fn default() -> Self {
        Self {
            learning_rate: 0.02,
            momentum: 0.95,
            weight_decay: 0.0,
            iterations: 5,
            others: AdamConfig::default(),
        }
    }
}

/// Muon (Jordan et al., 2024): the momentum of a matrix is made nearly orthogonal by a Newton-Schulz iteration before the step.
/// Embeddings, heads and vectors go to [`Adam`].
pub struct Muon {
    config: MuonConfig,
    params: Vec<Param>,
    matrices: Vec<(Param, Vec<f32>)>,
    others: Adam,
}

impl Muon {
    /// An optimiser of these parameters; matrices for which `adam` says true go to Adam with all that are no matrices.
    #[must_use]
    pub fn new(params: &[Param], config: MuonConfig, adam: impl Fn(&Param) -> bool) -> Self {
        let (matrices, others): (Vec<Param>, Vec<Param>) =
            params.iter().cloned().partition(|p| p.shape().len() == 2 && !adam(p));
        Self {
            config,
            params: params.to_vec(),
            matrices: matrices.into_iter().map(|p| (p.clone(), vec![0.0; p.len()])).collect(),
            others: Adam::new(&others, config.others),
        }
    }
}

impl Optimiser for Muon {
    fn params(&self) -> &[Param] {
        &self.params
    }

    fn learning_rate(&self) -> f32 {
        self.config.learning_rate
    }

    fn step(&mut self, gradients: &Gradients, factor: f32) {
        let c = self.config;
        for (param, momentum) in self.matrices.iter_mut().filter(|(p, _)| !p.is_frozen()) {
            let Some(gradient) = gradients.get(param) else { continue };
            let mut look_ahead = vec![0.0; momentum.len()];
            for ((u, g), ahead) in momentum.iter_mut().zip(gradient).zip(&mut look_ahead) {
                *u = c.momentum * *u + g;
                *ahead = c.momentum * *u + g;
            }
            let shape = param.shape();
            let (rows, columns) = (shape[0], shape[1]);
            let direction = orthogonalise(&look_ahead, rows, columns, c.iterations);
            let rate = c.learning_rate * factor;
            let scale = rate * (rows as f32 / columns as f32).max(1.0).sqrt();
            param.update(|w| {
                for (w, d) in w.iter_mut().zip(&direction) {
                    *w = *w * (1.0 - rate * c.weight_decay) - scale * d;
                }
            });
        }
        self.others.step(gradients, factor);
    }

    fn state(&self) -> Result<Vec<(String, Tensor)>> {
        let mut state = self.others.state()?;
        for (param, momentum) in &self.matrices {
            let value = Tensor::from_vec(momentum.clone(), &param.shape())?;
            state.push((format!("muon/momentum/{}", param.name()), value));
        }
        Ok(state)
    }

    fn load(&mut self, state: &BTreeMap<String, Tensor>) -> Result<()> {
        for (param, momentum) in &mut self.matrices {
            fill(state, &format!("muon/momentum/{}", param.name()), momentum)?;
        }
        self.others.load(state)
    }
}

/// Brings the singular values of a matrix near 1: `X <- a X + (b A + c A^2) X` with `A = X X'`, from `X = G / |G|`.
fn orthogonalise(matrix: &[f32], rows: usize, columns: usize, iterations: usize) -> Vec<f32> {
    const A: f32 = 3.4445;
    const B: f32 = -4.775;
    const C: f32 = 2.0315;
    let norm = matrix.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt() as f32;
    // The iteration works on the smaller Gram matrix: a tall matrix is turned.
    let tall = rows > columns;
    let (m, n) = if tall { (columns, rows) } else { (rows, columns) };
    let mut x = vec![0.0; m * n];
    for i in 0..m {
        for j in 0..n {
            x[i * n + j] = (if tall { matrix[j * m + i] } else { matrix[i * n + j] }) / (norm + 1e-7);
        }
    }
    let (mut gram, mut square, mut next) = (vec![0.0; m * m], vec![0.0; m * m], vec![0.0; m * n]);
    for _ in 0..iterations {
        gemm(&mut gram, m, Mat::new(&x, m, n), Mat::new(&x, m, n).t(), Start::Zero);
        gemm(&mut square, m, Mat::new(&gram, m, m), Mat::new(&gram, m, m), Start::Zero);
        for (s, g) in square.iter_mut().zip(&gram) {
            *s = B * g + C * *s;
        }
        for (next, x) in next.iter_mut().zip(&x) {
            *next = A * x;
        }
        gemm(&mut next, n, Mat::new(&square, m, m), Mat::new(&x, m, n), Start::Keep);
        std::mem::swap(&mut x, &mut next);
    }
    if tall { (0..rows * columns).map(|k| x[k % columns * n + k / columns]).collect() } else { x }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops;
    use crate::param::Init;
    use ream_rand::Stream;

    fn quadratic(p: &Param, target: &Tensor) -> Result<Gradients> {
        ops::mse(&p.tensor(), target)?.backward()
    }

    #[test]
    fn every_optimiser_finds_the_minimum() {
        let target = Tensor::randn(&[6, 4], 1.0, &mut Stream::new(2, "t").at(0));
        type Make = fn(&[Param]) -> Box<dyn Optimiser>;
        let optimisers: [Make; 4] = [
            |p| Box::new(Adam::new(p, AdamConfig { learning_rate: 0.05, ..AdamConfig::default() })),
            |p| {
                Box::new(Sgd::new(p, SgdConfig { learning_rate: 2.0, momentum: 0.5, ..SgdConfig::default() }))
            },
            |p| {
                Box::new(Sgd::new(
                    p,
                    SgdConfig { learning_rate: 1.0, momentum: 0.5, nesterov: true, weight_decay: 0.0 },
                ))
            },
            |p| Box::new(Muon::new(p, MuonConfig::default(), |_| false)),
        ];
        for make in optimisers {
            let p = Init::new(1).normal("p", &[6, 4], 1.0);
            let mut optimiser = make(std::slice::from_ref(&p));
            for step in 0..600_u64 {
                let factor = crate::training::Schedule::Linear { warmup: 0, floor: 0.0 }.factor(step, 600);
                optimiser.step(&quadratic(&p, &target).unwrap(), factor);
            }
            let loss = ops::mse(&p.tensor(), &target).unwrap().item().unwrap();
            assert!(loss < 1e-3, "{loss}");
        }
    }

    #[test]
    fn one_step_of_adamw_is_the_formula() {
        let p = Init::new(1).constant("p", &[1, 1], 2.0);
        let config = AdamConfig { learning_rate: 0.1, weight_decay: 0.5, ..AdamConfig::default() };
        let mut adam = Adam::new(std::slice::from_ref(&p), config);
        let gradients = p.tensor().mul_scalar(3.0).sum().backward().unwrap();
        adam.step(&gradients, 1.0);
        // m / c1 = 3 and v / c2 = 9, so the step is 1; decay takes 0.1 * 0.5 * 2.
        assert!((p.to_vec()[0] - (2.0 - 0.1 - 0.1)).abs() < 1e-6);
        let v = Init::new(1).constant("v", &[1], 2.0);
        let mut adam = Adam::new(std::slice::from_ref(&v), config);
        adam.step(&v.tensor().mul_scalar(3.0).sum().backward().unwrap(), 1.0);
        assert!((v.to_vec()[0] - 1.9).abs() < 1e-6, "vectors do not decay");
    }

    #[test]
    fn frozen_parameters_stay() {
        let init = Init::new(1);
        let (a, b) = (init.constant("a", &[2], 1.0), init.constant("b", &[2], 1.0));
        let both = [a.clone(), b.clone()];
        let mut adam = Adam::new(&both, AdamConfig::default());
        b.freeze();
        let loss = a.tensor().add(&b.tensor()).unwrap().square().sum();
        let gradients = loss.backward().unwrap();
        assert!(gradients.get(&b).is_none());
        adam.step(&gradients, 1.0);
        assert_eq!(b.to_vec(), [1.0; 2]);
        assert!(a.to_vec()[0] < 1.0);
    }

    #[test]
    fn muons_direction_has_singular_values_near_one() {
        for (rows, columns) in [(8, 20), (20, 8), (6, 6)] {
            let g = Tensor::randn(&[rows, columns], 1.0, &mut Stream::new(4, "g").at(0));
            let x = orthogonalise(g.data(), rows, columns, 10);
            let small = rows.min(columns);
            let at =
                |i: usize, k: usize| if rows <= columns { x[i * columns + k] } else { x[k * columns + i] };
            for i in 0..small {
                let norm: f32 = (0..rows.max(columns)).map(|k| at(i, k) * at(i, k)).sum();
                assert!((0.4..1.6).contains(&norm), "{norm}");
            }
        }
    }
}
