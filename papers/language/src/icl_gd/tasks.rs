//! The regression tasks: pairs that a network sees in its context and one query whose target it must guess.
//!
//! Linear: `W ~ N(0, w^2)` of shape `[d_y, d]`, inputs in `[-alpha, alpha]^d`, `y = W x` (plus noise when asked for).
//! Sine: `y = a sin(x + p)` with `a ~ U(0.1, 0.5)`, `p ~ U(0, pi)`, `x ~ U(-5, 5)`.

use super::lanes::{LANES, Lane, Real};
use rayon::prelude::*;
use ream_rand::{Rng, Stream};

/// Sizes of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Inputs of a pair.
    pub d: usize,
    /// Targets of a pair.
    pub d_y: usize,
    /// Pairs in the context.
    pub n_context: usize,
}

/// Up to [`LANES`] tasks side by side. The last pair is the query; its target is known to the loss only.
#[derive(Clone, Debug)]
pub struct Chunk<F> {
    /// Sizes of each task.
    pub shape: Shape,
    /// How many lanes hold a task; the others are zero.
    pub used: usize,
    /// Inputs `[n_context + 1, d]`.
    pub x: Vec<Lane<F>>,
    /// Targets `[n_context + 1, d_y]`.
    pub y: Vec<Lane<F>>,
}

impl<F: Real> Chunk<F> {
    /// A chunk of zeros.
    pub fn empty(shape: Shape) -> Self {
        let pairs = shape.n_context + 1;
        Self {
            shape,
            used: 0,
            x: vec![Lane::default(); pairs * shape.d],
            y: vec![Lane::default(); pairs * shape.d_y],
        }
    }

    /// Adds one task: inputs `[n_context + 1, d]` and targets `[n_context + 1, d_y]`, the query last.
    ///
    /// Does nothing when all lanes hold a task.
    pub fn push(&mut self, x: &[f64], y: &[f64]) {
        if self.used == LANES {
            return;
        }
        for (lane, value) in self.x.iter_mut().zip(x) {
            lane.0[self.used] = F::of(*value);
        }
        for (lane, value) in self.y.iter_mut().zip(y) {
            lane.0[self.used] = F::of(*value);
        }
        self.used += 1;
    }

    /// Targets of the query, `[d_y]`.
    pub fn target(&self) -> &[Lane<F>] {
        &self.y[self.shape.n_context * self.shape.d_y..]
    }

    /// The task in one lane: inputs and targets, the query last.
    pub fn task(&self, lane: usize) -> (Vec<f64>, Vec<f64>) {
        let column = |rows: &[Lane<F>]| rows.iter().map(|r| r.0[lane].wide()).collect();
        (column(&self.x), column(&self.y))
    }
}

/// A law of tasks.
pub trait Tasks: Sync {
    /// Sizes of its tasks.
    fn shape(&self) -> Shape;
    /// Draws one task into `x` (`[n_context + 1, d]`) and `y` (`[n_context + 1, d_y]`).
    fn draw(&self, rng: &mut Rng, x: &mut [f64], y: &mut [f64]);

    /// Chunk number `index` of one step. The same numbers come out whatever was drawn before.
    fn chunk<F: Real>(&self, stream: Stream, step: u64, index: usize, used: usize) -> Chunk<F> {
        let shape = self.shape();
        let mut rng = stream.child(index as u64).at(step);
        let mut chunk = Chunk::empty(shape);
        let mut x = vec![0.0; (shape.n_context + 1) * shape.d];
        let mut y = vec![0.0; (shape.n_context + 1) * shape.d_y];
        for _ in 0..used {
            self.draw(&mut rng, &mut x, &mut y);
            chunk.push(&x, &y);
        }
        chunk
    }

    /// A fixed set of tasks, for evaluation or tuning.
    fn set<F: Real>(&self, stream: Stream, tasks: usize) -> Vec<Chunk<F>> {
        (0..tasks.div_ceil(LANES))
            .into_par_iter()
            .map(|index| self.chunk(stream, 0, index, LANES.min(tasks - index * LANES)))
            .collect()
    }
}

/// Law of the inputs; all have the mean 0 and the variance `alpha^2 / 3` of the uniform law.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inputs {
    /// `U(-alpha, alpha)`, on which networks are trained.
    Uniform,
    /// Normal.
    Normal,
    /// Exponential, shifted to mean 0.
    Exponential,
    /// Laplace.
    Laplace,
}

/// Linear regression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LinearTasks {
    /// Sizes.
    pub shape: Shape,
    /// Half width of the inputs.
    pub alpha: f64,
    /// Standard deviation of the weights.
    pub weight_scale: f64,
    /// Standard deviation of the noise on every target, the query's included.
    pub noise: f64,
    /// Law of the inputs.
    pub inputs: Inputs,
}

impl LinearTasks {
    /// Inputs uniform on `[-1, 1]`, weights `N(0, 1)`, no noise.
    pub fn standard(shape: Shape) -> Self {
        Self { shape, alpha: 1.0, weight_scale: 1.0, noise: 0.0, inputs: Inputs::Uniform }
    }

    /// Mean query loss of the guess 0: `1/2 E |y|^2`.
    pub fn zero_loss(&self) -> f64 {
        let variance = self.alpha * self.alpha / 3.0;
        let signal = self.shape.d as f64 * variance * self.weight_scale * self.weight_scale;
        0.5 * self.shape.d_y as f64 * (signal + self.noise * self.noise)
    }

    /// Rate of the best single gradient step for uniform inputs: `E[y_q g] / E[g^2]` with `g = 1/N sum_i y_i x_i . x_q`.
    ///
    /// With `v = alpha^2/3` and `m = alpha^4/5` the moments of an input, `E|x|^4 = d m + d (d-1) v^2` and
    /// `eta* = d v / (E|x|^4 / N + (1 - 1/N) d v^2 + noise^2 d v / (N w^2))`.
    pub fn best_rate(&self) -> f64 {
        let (d, n) = (self.shape.d as f64, self.shape.n_context as f64);
        let v = self.alpha.powi(2) / 3.0;
        let fourth = d * self.alpha.powi(4) / 5.0 + d * (d - 1.0) * v * v;
        let noise = (self.noise / self.weight_scale).powi(2);
        d * v / (fourth / n + (1.0 - 1.0 / n) * d * v * v + noise * d * v / n)
    }
}

impl Tasks for LinearTasks {
    fn shape(&self) -> Shape {
        self.shape
    }

    fn draw(&self, rng: &mut Rng, x: &mut [f64], y: &mut [f64]) {
        let Shape { d, d_y, .. } = self.shape;
        let weights: Vec<f64> = (0..d * d_y).map(|_| self.weight_scale * rng.normal()).collect();
        let spread = self.alpha / 3.0_f64.sqrt();
        for value in x.iter_mut() {
            *value = match self.inputs {
                Inputs::Uniform => self.alpha * (2.0 * f64::from(rng.uniform_f32()) - 1.0),
                Inputs::Normal => spread * rng.normal(),
                Inputs::Exponential => spread * (rng.exponential() - 1.0),
                Inputs::Laplace => {
                    let side = if rng.chance(0.5) { 1.0 } else { -1.0 };
                    side * spread * rng.exponential() / 2.0_f64.sqrt()
                }
            };
        }
        for (x, y) in x.chunks_exact(d).zip(y.chunks_exact_mut(d_y)) {
            for (w, y) in weights.chunks_exact(d).zip(y) {
                *y = w.iter().zip(x).map(|(w, x)| w * x).sum();
                if self.noise > 0.0 {
                    *y += self.noise * rng.normal();
                }
            }
        }
    }
}

/// Sine regression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SineTasks {
    /// Pairs in the context.
    pub n_context: usize,
}

impl Tasks for SineTasks {
    fn shape(&self) -> Shape {
        Shape { d: 1, d_y: 1, n_context: self.n_context }
    }

    fn draw(&self, rng: &mut Rng, x: &mut [f64], y: &mut [f64]) {
        let amplitude = rng.between(0.1, 0.5);
        let phase = rng.between(0.0, std::f64::consts::PI);
        for (x, y) in x.iter_mut().zip(y) {
            *x = rng.between(-5.0, 5.0);
            *y = amplitude * libm::sin(*x + phase);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn laws_have_the_stated_moments() {
        let shape = Shape { d: 4, d_y: 2, n_context: 5 };
        for inputs in [Inputs::Uniform, Inputs::Normal, Inputs::Exponential, Inputs::Laplace] {
            let law = LinearTasks {
                alpha: 1.5,
                weight_scale: 2.0,
                noise: 0.5,
                inputs,
                ..LinearTasks::standard(shape)
            };
            let (mut first, mut second, mut loss, mut n) = (0.0, 0.0, 0.0, 0.0);
            for chunk in law.set::<f64>(Stream::new(3, "moments"), 20_000) {
                for lane in 0..chunk.used {
                    let (x, y) = chunk.task(lane);
                    first += x.iter().sum::<f64>();
                    second += x.iter().map(|x| x * x).sum::<f64>();
                    loss += 0.5 * y[10..].iter().map(|y| y * y).sum::<f64>();
                    n += 1.0;
                }
            }
            assert!((first / n / 24.0).abs() < 0.01, "{inputs:?}");
            assert!((second / n / 24.0 / 0.75 - 1.0).abs() < 0.02, "{inputs:?}");
            assert!((loss / n / law.zero_loss() - 1.0).abs() < 0.05, "{inputs:?}");
        }
    }

    #[test]
    fn the_tasks_of_a_step_do_not_depend_on_what_was_drawn_before() {
        let law = LinearTasks::standard(Shape { d: 3, d_y: 1, n_context: 4 });
        let stream = Stream::new(5, "tasks");
        let late: Chunk<f32> = law.chunk(stream, 9, 2, LANES);
        let _ = law.chunk::<f32>(stream, 8, 2, LANES);
        assert_eq!(late.x, law.chunk::<f32>(stream, 9, 2, LANES).x);
        assert_ne!(late.x, law.chunk::<f32>(stream, 10, 2, LANES).x);
        assert_ne!(late.x, law.chunk::<f32>(stream, 9, 3, LANES).x);
    }

    #[test]
    fn sines_stay_in_their_range() {
        for chunk in (SineTasks { n_context: 10 }).set::<f64>(Stream::new(1, "sine"), 500) {
            let (x, y) = chunk.task(0);
            assert!(x.iter().all(|x| x.abs() <= 5.0) && y.iter().all(|y| y.abs() <= 0.5));
        }
    }
}
