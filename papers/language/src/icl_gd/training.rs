//! Training: fresh tasks at every step, the loss `1/2 E |y^_q - y_q|^2` on the query only, Adam, clipped slopes.
//!
//! The tasks of a step are taken in blocks of [`BLOCK`] chunks. A block is one unit of parallel work and the blocks'
//! sums are added in order, so that the result is the same on any number of threads.

use super::lanes::{LANES, Lane, Real};
use super::lsa::{Network, Pass, Products};
use super::tasks::{Chunk, Tasks};
use rayon::prelude::*;
use ream_rand::Stream;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Chunks that one thread takes at a time.
pub const BLOCK: usize = 4;

/// Adam (Kingma & Ba 2015) with the norm of the slopes clipped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Adam {
    /// Step size.
    pub learning_rate: f64,
    /// Memory of the first and the second moment.
    pub betas: [f64; 2],
    /// Largest norm of the slopes; longer ones are shortened to it.
    pub clip: f64,
}

/// Where a training stands: all that a checkpoint needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct State<F> {
    /// Parameters, see [`Network::parameters`].
    pub parameters: Vec<F>,
    first: Vec<F>,
    second: Vec<F>,
    /// Steps taken.
    pub step: u64,
}

impl<F: Real> State<F> {
    /// Before the first step.
    pub fn new(parameters: Vec<F>) -> Self {
        let zeros = vec![F::default(); parameters.len()];
        Self { parameters, first: zeros.clone(), second: zeros, step: 0 }
    }
}

impl Adam {
    /// One step along the slopes of the parameters in `range`.
    pub fn update<F: Real>(&self, state: &mut State<F>, slopes: &[F], range: Range<usize>) {
        state.step += 1;
        let norm = slopes[range.clone()].iter().map(|g| g.wide() * g.wide()).sum::<f64>().sqrt();
        let shorten = F::of(if norm > self.clip { self.clip / norm } else { 1.0 });
        let power = i32::try_from(state.step).unwrap_or(i32::MAX);
        let [b1, b2] = self.betas;
        let rate = F::of(self.learning_rate / (1.0 - b1.powi(power)));
        let correct = F::of(1.0 / (1.0 - b2.powi(power)));
        let (b1, keep1, b2, keep2) = (F::of(b1), F::of(1.0 - b1), F::of(b2), F::of(1.0 - b2));
        let epsilon = F::of(1e-8);
        for at in range {
            let g = slopes[at] * shorten;
            state.first[at] = b1 * state.first[at] + keep1 * g;
            state.second[at] = b2 * state.second[at] + keep2 * g * g;
            let size = (state.second[at] * correct).root() + epsilon;
            state.parameters[at] = state.parameters[at] - rate * state.first[at] / size;
        }
    }
}

/// A training set-up.
#[derive(Clone, Debug)]
pub struct Training<'a, T> {
    /// What is trained.
    pub network: &'a Network,
    /// On which tasks.
    pub tasks: &'a T,
    /// Where fresh tasks come from; one step, one place of the stream.
    pub stream: Stream,
    /// Tasks of a step.
    pub batch: usize,
    /// How a step is taken.
    pub adam: Adam,
    /// The parameters that move; the others stay as they are.
    pub trained: Range<usize>,
}

impl<T: Tasks> Training<'_, T> {
    /// One step on fresh tasks. Returns the mean query loss on them before the step.
    pub fn step<F: Real>(&self, state: &mut State<F>) -> f64 {
        let products = self.network.products(&state.parameters);
        let (loss, mut slopes) = self.batch_slopes(&products, state.step);
        slopes.scale(F::of(1.0 / self.batch as f64));
        let slopes = self.network.pull_back(&state.parameters, &slopes);
        self.adam.update(state, &slopes, self.trained.clone());
        loss / self.batch as f64
    }

    /// Sums over a fresh batch: query loss, and slopes by the products.
    fn batch_slopes<F: Real>(&self, products: &Products<F>, step: u64) -> (f64, Products<F>) {
        let per_block = BLOCK * LANES;
        let parts: Vec<_> = (0..self.batch.div_ceil(per_block))
            .into_par_iter()
            .map_init(
                || Pass::new(self.network),
                |pass, block| {
                    pass.clear();
                    let mut loss = 0.0;
                    for part in 0..BLOCK {
                        let first = block * per_block + part * LANES;
                        if first >= self.batch {
                            break;
                        }
                        let used = LANES.min(self.batch - first);
                        let chunk = self.tasks.chunk(self.stream, step, block * BLOCK + part, used);
                        loss += learn(pass, products, &chunk);
                    }
                    (loss, pass.slopes())
                },
            )
            .collect();
        let mut parts = parts.into_iter();
        let (mut loss, mut slopes) = parts.next().unwrap_or_else(|| (0.0, Pass::new(self.network).slopes()));
        for (more, other) in parts {
            loss += more;
            slopes.add(&other);
        }
        (loss, slopes)
    }
}

/// Forward and backward through one chunk: adds its slopes to the pass and returns its summed query loss.
pub fn learn<F: Real>(pass: &mut Pass<'_, F>, products: &Products<F>, chunk: &Chunk<F>) -> f64 {
    pass.forward(products, chunk, None);
    let mut loss = 0.0;
    let by_guess: Vec<Lane<F>> = pass
        .guess()
        .iter()
        .zip(chunk.target())
        .map(|(guess, target)| {
            let mut miss = *guess - *target;
            for (l, miss) in miss.0.iter_mut().enumerate() {
                if l < chunk.used {
                    loss += 0.5 * miss.wide() * miss.wide();
                } else {
                    *miss = F::default();
                }
            }
            miss
        })
        .collect();
    pass.backward(products, chunk, &by_guess, false);
    loss
}

/// Small random parameters: entries of the attention's matrices `N(0, scale / width)`; for a perceptron weights
/// `N(0, 1/inputs)`, the first biases drawn as the first weights are (else all its kinks would lie at 0), the second 0.
pub fn small_parameters<F: Real>(network: &Network, scale: f64, stream: Stream) -> Vec<F> {
    let mut rng = stream.at(0);
    let mut flat = Vec::with_capacity(network.parameters());
    if let Some(mlp) = network.mlp {
        let d = network.shape.d;
        let (first, second) = (1.0 / (d as f64).sqrt(), 1.0 / (mlp.hidden as f64).sqrt());
        flat.extend((0..mlp.hidden * (d + 1)).map(|_| F::of(first * rng.normal())));
        flat.extend((0..mlp.features * mlp.hidden).map(|_| F::of(second * rng.normal())));
        flat.resize(network.mlp_range().end, F::default());
    }
    let spread = (scale / network.width() as f64).sqrt();
    flat.extend((flat.len()..network.parameters()).map(|_| F::of(spread * rng.normal())));
    flat
}

#[cfg(test)]
mod tests {
    use super::super::lsa::{Attention, Mlp};
    use super::super::tasks::{LinearTasks, Shape, SineTasks};
    use super::*;

    /// Every slope of a network's loss against central differences in double precision.
    fn check_slopes(network: &Network, tasks: &impl Tasks, trained: Range<usize>) {
        let stream = Stream::new(9, "gradients");
        let mut parameters: Vec<f64> = small_parameters(network, 0.6, stream.child(1));
        let chunk: Chunk<f64> = tasks.chunk(stream, 0, 0, 13);
        let loss = |parameters: &[f64]| {
            let mut pass = Pass::new(network);
            learn(&mut pass, &network.products(parameters), &chunk)
        };
        let mut pass = Pass::new(network);
        let products = network.products(&parameters);
        learn(&mut pass, &products, &chunk);
        let slopes = network.pull_back(&parameters, &pass.slopes());
        assert_eq!(slopes.len(), network.parameters());
        let scale = slopes.iter().map(|s| s.abs()).fold(0.0, f64::max);
        assert!(scale > 1e-3, "the slopes vanish: {scale}");
        for at in trained {
            let here = parameters[at];
            parameters[at] = here + 1e-5;
            let up = loss(&parameters);
            parameters[at] = here - 1e-5;
            let down = loss(&parameters);
            parameters[at] = here;
            let want = (up - down) / 2e-5;
            assert!((slopes[at] - want).abs() < 1e-6 * scale.max(1.0), "{at}: {} wanted {want}", slopes[at]);
        }
    }

    const SHAPE: Shape = Shape { d: 3, d_y: 2, n_context: 4 };

    #[test]
    fn slopes_of_one_and_several_layers() {
        let tasks = LinearTasks::standard(SHAPE);
        for layers in [1, 2, 3] {
            let network = Network::linear(SHAPE, layers);
            check_slopes(&network, &tasks, 0..network.parameters());
        }
    }

    #[test]
    fn slopes_with_sharing_dampening_and_heads() {
        let tasks = LinearTasks::standard(SHAPE);
        let network = Network { shared: true, dampening: 0.7, heads: 2, ..Network::linear(SHAPE, 3) };
        check_slopes(&network, &tasks, 0..network.parameters());
    }

    #[test]
    fn slopes_of_softmax_layers() {
        let tasks = LinearTasks::standard(SHAPE);
        let layers = vec![Attention::Softmax, Attention::Linear, Attention::Softmax];
        let network = Network { layers, heads: 2, ..Network::linear(SHAPE, 3) };
        check_slopes(&network, &tasks, 0..network.parameters());
    }

    #[test]
    fn slopes_on_separate_tokens() {
        let tasks = LinearTasks::standard(SHAPE);
        let layers = vec![Attention::Softmax, Attention::Linear];
        let network = Network { layers, positions: 4, ..Network::linear(SHAPE, 2) };
        check_slopes(&network, &tasks, 0..network.parameters());
    }

    #[test]
    fn slopes_with_a_perceptron() {
        let tasks = SineTasks { n_context: 5 };
        let mlp = Some(Mlp { hidden: 4, features: 3 });
        for layers in [1, 2] {
            let network = Network { mlp, ..Network::linear(tasks.shape(), layers) };
            check_slopes(&network, &tasks, 0..network.parameters());
        }
    }

    /// Meta-learning: the slope of the loss *through* a gradient step, by the perceptron in front of it.
    #[test]
    fn slopes_through_a_gradient_step() {
        let tasks = SineTasks { n_context: 5 };
        let mlp = Some(Mlp { hidden: 4, features: 3 });
        let network = Network { mlp, ..Network::linear(tasks.shape(), 1) };
        check_slopes(&network, &tasks, network.mlp_range());
    }

    #[test]
    fn slopes_by_the_query_input() {
        let network = Network { heads: 2, ..Network::linear(SHAPE, 2) };
        let stream = Stream::new(9, "inputs");
        let products = network.products(&small_parameters::<f64>(&network, 0.5, stream));
        let mut chunk: Chunk<f64> = LinearTasks::standard(SHAPE).chunk(stream, 1, 0, LANES);
        let mut pass = Pass::new(&network);
        pass.forward(&products, &chunk, None);
        pass.backward(&products, &chunk, &[Lane::all(1.0), Lane::all(0.0)], true);
        let slopes = pass.query_slope().to_vec();
        for (i, slope) in slopes.iter().enumerate() {
            let mut guess_at = |by: f64| {
                let at = SHAPE.n_context * SHAPE.d + i;
                let here = chunk.x[at];
                chunk.x[at] = here + Lane::all(by);
                pass.forward(&products, &chunk, None);
                chunk.x[at] = here;
                pass.guess()[0]
            };
            let (up, down) = (guess_at(1e-5), guess_at(-1e-5));
            for l in 0..LANES {
                assert!(((up.0[l] - down.0[l]) / 2e-5 - slope.0[l]).abs() < 1e-7);
            }
        }
    }

    fn train(threads: usize, batch: usize, steps: usize) -> (State<f32>, f64, f64) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let shape = Shape { d: 4, d_y: 1, n_context: 6 };
            let (network, tasks) = (Network::linear(shape, 1), LinearTasks::standard(shape));
            let training = Training {
                network: &network,
                tasks: &tasks,
                stream: Stream::new(1, "training"),
                batch,
                adam: Adam { learning_rate: 5e-3, betas: [0.9, 0.98], clip: 10.0 },
                trained: 0..network.parameters(),
            };
            let mut state = State::new(small_parameters(&network, 0.002, Stream::new(1, "initial")));
            let first = training.step(&mut state);
            let mut last = 0.0;
            for step in 1..steps {
                let loss = training.step(&mut state);
                last += if step * 2 > steps { loss } else { 0.0 };
            }
            (state, first, last / (steps as f64 / 2.0))
        })
    }

    #[test]
    fn one_and_three_threads_give_the_same_bits() {
        let (one, three) = (train(1, 200, 30).0, train(3, 200, 30).0);
        assert_eq!(one, three);
    }

    /// Traps: the start is not the solution (its loss is that of the guess 0), and no layer undercuts the best step.
    #[test]
    fn training_goes_from_the_zero_guess_to_the_best_single_step_and_not_below() {
        let (state, first, _) = train(1, 256, 1500);
        let shape = Shape { d: 4, d_y: 1, n_context: 6 };
        let tasks = LinearTasks::standard(shape);
        assert!((first / tasks.zero_loss() - 1.0).abs() < 0.25, "{first}");
        let network = Network::linear(shape, 1);
        let set: Vec<Chunk<f32>> = tasks.set(Stream::new(2, "evaluation"), 8000);
        let loss = |parameters: &[f32]| {
            let products = network.products(parameters);
            let mut pass = Pass::new(&network);
            set.iter().map(|chunk| learn(&mut pass, &products, chunk)).sum::<f64>() / 8000.0
        };
        let untrained = loss(&small_parameters(&network, 0.002, Stream::new(1, "initial")));
        assert!((untrained / tasks.zero_loss() - 1.0).abs() < 0.05, "{untrained}");
        let (floor, trained) = (super::super::descent::preconditioned_floor(&set), loss(&state.parameters));
        assert!(trained > 0.995 * floor && trained < 1.1 * floor, "{trained} {floor}");
    }
}
