//! Non-linear tasks: the layers run their linear learner on features that a perceptron has learned.
//!
//! The network is a perceptron `1 -> 40 -> 40` on the inputs of the tokens and then linear self-attention, trained
//! together. Its counterparts: gradient descent with the best rate on the frozen features; the same perceptron trained
//! *through* one gradient step (meta-learning); and the attention alone.

use super::compare::{Answers, descent_answers, network_answers, plus_answers};
use super::construction::descent_head;
use super::descent::{Freedom, Spectrum, best_single_rate, tune};
use super::lanes::Real;
use super::lsa::{Mlp, Network, Pass, Products};
use super::tasks::{Chunk, Shape, SineTasks, Tasks};
use super::training::small_parameters;
use rayon::prelude::*;
use ream_rand::Stream;
use std::ops::Range;

/// Perceptron and `layers` of linear self-attention.
pub fn network(tasks: SineTasks, mlp: Mlp, layers: usize) -> Network {
    Network { mlp: Some(mlp), ..Network::linear(tasks.shape(), layers) }
}

/// A perceptron before one gradient step with a fixed rate of 1 (the features' scale plays the rate's part): the
/// network, its first parameters, and the range that is trained.
pub fn through_one_step<F: Real>(
    tasks: SineTasks,
    mlp: Mlp,
    stream: Stream,
) -> (Network, Vec<F>, Range<usize>) {
    let network = network(tasks, mlp, 1);
    let mut parameters: Vec<F> = small_parameters(&network, 0.0, stream);
    parameters.truncate(network.mlp_range().end);
    // Features begin at unit size; 1/features makes the first guesses about as large as the targets.
    let rate = 1.0 / mlp.features as f64;
    let shape = Shape { d: mlp.features, ..tasks.shape() };
    let parameters = network.pack(&parameters, &[descent_head(shape, rate, None)]);
    let trained = network.mlp_range();
    (network, parameters, trained)
}

/// Tasks with a network's features in place of their inputs.
pub fn featured<F: Real>(network: &Network, products: &Products<F>, set: &[Chunk<F>]) -> Vec<Chunk<F>> {
    let parts: Vec<Vec<_>> = set
        .par_chunks(8)
        .map(|part| {
            let mut pass = Pass::new(network);
            part.iter().map(|chunk| pass.featured(products, chunk)).collect()
        })
        .collect();
    parts.concat()
}

/// Gradient descent on frozen features, its rates tuned on `tuning`: the rates and the answers on `set`.
///
/// One step has one best rate in closed form; more steps, and GD++, are searched for.
pub fn descent_on_features<F: Real>(
    freedom: Freedom,
    tuning: &[Chunk<F>],
    set: &[Chunk<F>],
) -> (Vec<[f64; 2]>, Answers) {
    if freedom.steps == 1 {
        let rate = best_single_rate(tuning);
        return (vec![[rate, 0.0]], descent_answers(&[rate], set));
    }
    let rates = tune(&Spectrum::of_set(tuning), freedom);
    let answers = if freedom.plus {
        plus_answers(&rates, set)
    } else {
        descent_answers(&rates.iter().map(|r| r[0]).collect::<Vec<_>>(), set)
    };
    (rates, answers)
}

/// One task with many queries: the context of the first task of `stream`, and `points` places from -5 to 5.
#[derive(Clone, Debug)]
pub struct Curve<F> {
    /// Inputs and targets of the context.
    pub context: (Vec<f64>, Vec<f64>),
    /// Queries.
    pub x: Vec<f64>,
    /// The true curve there.
    pub truth: Vec<f64>,
    /// The same, as tasks for a model.
    pub tasks: Vec<Chunk<F>>,
}

/// A task to draw.
pub fn curve<F: Real>(tasks: SineTasks, stream: Stream, points: usize) -> Curve<F> {
    let mut rng = stream.at(0);
    let amplitude = rng.between(0.1, 0.5);
    let phase = rng.between(0.0, std::f64::consts::PI);
    let wave = |x: f64| amplitude * libm::sin(x + phase);
    let x: Vec<f64> = (0..tasks.n_context).map(|_| rng.between(-5.0, 5.0)).collect();
    let y: Vec<f64> = x.iter().map(|&x| wave(x)).collect();
    let grid: Vec<f64> = (0..points).map(|at| -5.0 + 10.0 * at as f64 / (points - 1) as f64).collect();
    let mut chunks = Vec::new();
    for queries in grid.chunks(super::lanes::LANES) {
        let mut chunk = Chunk::empty(tasks.shape());
        for query in queries {
            let with = |values: &[f64], last: f64| values.iter().copied().chain([last]).collect::<Vec<_>>();
            chunk.push(&with(&x, *query), &with(&y, wave(*query)));
        }
        chunks.push(chunk);
    }
    Curve { context: (x, y), truth: grid.iter().map(|&x| wave(x)).collect(), x: grid, tasks: chunks }
}

/// Answers of a network on tasks.
pub fn answers<F: Real>(network: &Network, parameters: &[F], set: &[Chunk<F>]) -> Answers {
    network_answers(network, &network.products(parameters), set, false)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASKS: SineTasks = SineTasks { n_context: 10 };
    const MLP: Mlp = Mlp { hidden: 6, features: 5 };

    /// The meta-learner's network and gradient descent on its features are two ways to the same numbers.
    #[test]
    fn a_step_on_features_is_the_networks_step() {
        let (network, parameters, trained) = through_one_step::<f64>(TASKS, MLP, Stream::new(1, "meta"));
        assert_eq!(trained.end, 6 * 2 + 5 * 7);
        let set: Vec<Chunk<f64>> = TASKS.set(Stream::new(2, "set"), 40);
        let model = answers(&network, &parameters, &set);
        let features = featured(&network, &network.products(&parameters), &set);
        let descent = descent_answers(&[1.0 / 5.0], &features);
        assert!(model.guesses.iter().any(|g| g.abs() > 1e-4));
        for (a, b) in model.guesses.iter().zip(&descent.guesses) {
            assert!((a - b).abs() < 1e-12, "{a} {b}");
        }
    }

    #[test]
    fn the_best_rate_on_features_is_best() {
        let (network, parameters, _) = through_one_step::<f64>(TASKS, MLP, Stream::new(1, "meta"));
        let products = network.products(&parameters);
        let set = featured(&network, &products, &TASKS.set(Stream::new(2, "set"), 400));
        let freedom = Freedom { steps: 1, plus: false, shared: false };
        let (rates, best) = descent_on_features(freedom, &set, &set);
        for factor in [0.95, 1.05] {
            assert!(descent_answers(&[factor * rates[0][0]], &set).loss(1) > best.loss(1));
        }
    }

    #[test]
    fn a_curve_is_one_task_with_many_queries() {
        let curve = curve::<f64>(TASKS, Stream::new(3, "curve"), 41);
        assert_eq!(curve.tasks.iter().map(|c| c.used).sum::<usize>(), 41);
        let (x, y) = curve.tasks[2].task(8);
        assert_eq!((x[10], y[10]), (curve.x[40], curve.truth[40]));
        assert_eq!((&x[..10], &y[..10]), (&curve.context.0[..], &curve.context.1[..]));
    }
}
