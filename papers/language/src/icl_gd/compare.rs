//! How close a trained network is to gradient descent: guesses, sensitivities, losses, weights.

use super::lanes::{Lane, Real};
use super::lsa::{Network, Pair, Pass, Products};
use super::tasks::Chunk;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Guesses of a model on a set of tasks and, when asked for, how they react to the query.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    /// Guesses `[tasks, d_y]`.
    pub guesses: Vec<f64>,
    /// Targets `[tasks, d_y]`.
    pub targets: Vec<f64>,
    /// Sensitivities `d y^_q / d x_q`, `[tasks, d_y, d]`; empty when not asked for.
    pub slopes: Vec<f64>,
}

impl Answers {
    /// Mean query loss `1/2 |guess - target|^2` over tasks; `d_y` targets each.
    pub fn loss(&self, d_y: usize) -> f64 {
        let sum: f64 = self.guesses.iter().zip(&self.targets).map(|(g, y)| (g - y).powi(2)).sum();
        0.5 * sum / (self.guesses.len() / d_y) as f64
    }

    fn join(parts: Vec<Self>) -> Self {
        let mut all = Self::default();
        for part in parts {
            all.guesses.extend(part.guesses);
            all.targets.extend(part.targets);
            all.slopes.extend(part.slopes);
        }
        all
    }
}

/// Takes the tasks out of their lanes: `guess [d_y]`, `slopes [d_y][d]`.
fn by_task<F: Real>(chunk: &Chunk<F>, guess: &[Lane<F>], slopes: &[Vec<Lane<F>>]) -> Answers {
    let mut out = Answers::default();
    for l in 0..chunk.used {
        out.guesses.extend(guess.iter().map(|g| g.0[l].wide()));
        out.targets.extend(chunk.target().iter().map(|y| y.0[l].wide()));
        out.slopes.extend(slopes.iter().flatten().map(|s| s.0[l].wide()));
    }
    out
}

/// Answers of a network; sensitivities on request (networks on plain inputs only).
pub fn network_answers<F: Real>(
    network: &Network,
    products: &Products<F>,
    set: &[Chunk<F>],
    sensitivity: bool,
) -> Answers {
    let parts = set
        .par_chunks(8)
        .map(|part| {
            let mut pass = Pass::new(network);
            let each = part.iter().map(|chunk| {
                pass.forward(products, chunk, None);
                let guess = pass.guess();
                let wanted = if sensitivity { network.shape.d_y } else { 0 };
                let slopes: Vec<_> = (0..wanted)
                    .map(|j| {
                        let mut unit = vec![Lane::default(); network.shape.d_y];
                        unit[j] = Lane::all(F::of(1.0));
                        pass.backward(products, chunk, &unit, true);
                        pass.query_slope().to_vec()
                    })
                    .collect();
                by_task(chunk, &guess, &slopes)
            });
            Answers::join(each.collect())
        })
        .collect();
    Answers::join(parts)
}

/// Answers of gradient descent on `W` from 0; its sensitivity is `W` itself.
pub fn descent_answers<F: Real>(rates: &[f64], set: &[Chunk<F>]) -> Answers {
    let rates: Vec<F> = rates.iter().map(|&r| F::of(r)).collect();
    let parts = set
        .par_iter()
        .map(|chunk| {
            let weights = super::descent::descend(chunk, &rates, None);
            let guess = super::descent::guess(&weights, chunk);
            let slopes: Vec<_> = weights.chunks_exact(chunk.shape.d).map(<[_]>::to_vec).collect();
            by_task(chunk, &guess, &slopes)
        })
        .collect();
    Answers::join(parts)
}

/// Answers of GD++.
pub fn plus_answers<F: Real>(rates: &[[f64; 2]], set: &[Chunk<F>]) -> Answers {
    let rates: Vec<[F; 2]> = rates.iter().map(|r| r.map(F::of)).collect();
    let parts =
        set.par_iter().map(|chunk| by_task(chunk, &super::descent::plus_guess(chunk, &rates), &[])).collect();
    Answers::join(parts)
}

/// A model beside a reference on the same tasks.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// Mean query loss of the model.
    pub loss: f64,
    /// Mean query loss of the reference.
    pub reference: f64,
    /// `(loss - reference) / reference`.
    pub gap: f64,
    /// Mean absolute difference of the guesses.
    pub difference: f64,
    /// Mean cosine of the sensitivities (`NaN` without them).
    pub cosine: f64,
    /// Mean Euclidean distance of the sensitivities (`NaN` without them).
    pub distance: f64,
}

impl Agreement {
    /// Compares answers on the same tasks, inputs of size `d` and targets of size `d_y`.
    pub fn new(model: &Answers, reference: &Answers, d: usize, d_y: usize) -> Self {
        let (loss, other) = (model.loss(d_y), reference.loss(d_y));
        let apart = model.guesses.iter().zip(&reference.guesses).map(|(a, b)| (a - b).abs());
        let (mut cosine, mut distance, mut count) = (0.0, 0.0, 0.0);
        for (a, b) in model.slopes.chunks_exact(d).zip(reference.slopes.chunks_exact(d)) {
            cosine += cosine_of(a, b);
            distance += a.iter().zip(b).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
            count += 1.0;
        }
        Self {
            loss,
            reference: other,
            gap: (loss - other) / other,
            difference: apart.sum::<f64>() / model.guesses.len() as f64,
            cosine: cosine / count,
            distance: distance / count,
        }
    }
}

/// Cosine of two vectors; 0 when one of them is 0.
pub fn cosine_of(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let size = (dot(a, a) * dot(b, b)).sqrt();
    if size > 0.0 { dot(a, b) / size } else { 0.0 }
}

/// Largest absolute difference between two lists of guesses.
pub fn largest_difference(a: &[f64], b: &[f64]) -> f64 {
    // `max` would hide a NaN, a comparison lets it through.
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |most, next| if next <= most { most } else { next })
}

/// Learned weights beside the construction's.
#[derive(Clone, Debug, PartialEq)]
pub struct Alignment {
    /// The learned pair, brought to the construction's scale and sign: only the product of `A` and `B` matters.
    pub learned: Pair<f64>,
    /// Mean of the learned and the constructed matrices.
    pub middle: Pair<f64>,
    /// Cosine of `A` with the construction's.
    pub cosine_a: f64,
    /// Cosine of `B` with the construction's.
    pub cosine_b: f64,
}

/// Rescales a learned pair so that `A` has the construction's norm (and `B` the inverse factor), takes the common sign
/// out, and averages.
pub fn align<F: Real>(learned: &Pair<F>, constructed: &Pair<F>) -> Alignment {
    let wide = |m: &[F]| m.iter().map(|v| v.wide()).collect::<Vec<f64>>();
    let (mut a, mut b) = (wide(&learned.a), wide(&learned.b));
    let (to_a, to_b) = (wide(&constructed.a), wide(&constructed.b));
    let norm = |m: &[f64]| m.iter().map(|v| v * v).sum::<f64>().sqrt();
    let sign = if cosine_of(&a, &to_a) < 0.0 { -1.0 } else { 1.0 };
    let factor = sign * norm(&to_a) / norm(&a).max(f64::MIN_POSITIVE);
    a.iter_mut().for_each(|v| *v *= factor);
    b.iter_mut().for_each(|v| *v /= factor);
    let mean = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| 0.5 * (x + y)).collect();
    Alignment {
        middle: Pair { a: mean(&a, &to_a), b: mean(&b, &to_b) },
        cosine_a: cosine_of(&a, &to_a),
        cosine_b: cosine_of(&b, &to_b),
        learned: Pair { a, b },
    }
}

/// A pair in another precision.
pub fn convert<F: Real>(pair: &Pair<f64>) -> Pair<F> {
    let narrow = |m: &[f64]| m.iter().map(|&v| F::of(v)).collect();
    Pair { a: narrow(&pair.a), b: narrow(&pair.b) }
}

#[cfg(test)]
mod tests {
    use super::super::construction::{descent_network, plus_network};
    use super::super::tasks::{LinearTasks, Shape, Tasks};
    use super::*;
    use ream_rand::Stream;

    /// The construction, in both precisions, for several steps, several targets and a start away from 0.
    fn construction_difference<F: Real>(layers: usize, d_y: usize, start: bool) -> f64 {
        let shape = Shape { d: 10, d_y, n_context: 10 };
        let stream = Stream::new(21, "construction");
        super::super::construction_difference::<F>(shape, layers, start, 1000, stream)
    }

    #[test]
    fn the_construction_is_gradient_descent() {
        for layers in [1, 2, 5] {
            for d_y in [1, 3] {
                for start in [false, true] {
                    let (narrow, wide) = (
                        construction_difference::<f32>(layers, d_y, start),
                        construction_difference::<f64>(layers, d_y, start),
                    );
                    assert!(narrow > 0.0 && narrow <= 1e-5, "f32, {layers} layers: {narrow}");
                    assert!(wide <= 1e-10, "f64, {layers} layers: {wide}");
                }
            }
        }
    }

    #[test]
    fn sensitivities_of_both_models_are_the_same_matrix() {
        let shape = Shape { d: 4, d_y: 2, n_context: 6 };
        let set: Vec<Chunk<f64>> = LinearTasks::standard(shape).set(Stream::new(3, "s"), 50);
        let (network, parameters) = descent_network(shape, &[0.9, 0.6], None);
        let model = network_answers(&network, &network.products(&parameters), &set, true);
        let reference = descent_answers(&[0.9, 0.6], &set);
        let agreement = Agreement::new(&model, &reference, 4, 2);
        assert!((agreement.cosine - 1.0).abs() < 1e-10 && agreement.distance < 1e-10);
        assert!(agreement.gap.abs() < 1e-10 && agreement.difference < 1e-10);
        let (network, parameters) = plus_network(shape, &[[0.9, 0.01], [0.6, 0.0]]);
        let plus = network_answers(&network, &network.products(&parameters), &set, true);
        let agreement = Agreement::new(&plus, &reference, 4, 2);
        assert!(agreement.cosine < 1.0 - 1e-6 && agreement.difference > 1e-4);
        let direct = plus_answers(&[[0.9, 0.01], [0.6, 0.0]], &set);
        assert!(largest_difference(&direct.guesses, &plus.guesses) < 1e-12);
    }

    #[test]
    fn alignment_ignores_scale_and_sign() {
        let shape = Shape { d: 3, d_y: 1, n_context: 6 };
        let (network, parameters) = descent_network::<f64>(shape, &[0.9], None);
        let truth = network.products(&parameters).pairs[0].clone();
        let scaled = Pair {
            a: truth.a.iter().map(|v| -3.0 * v).collect(),
            b: truth.b.iter().map(|v| v / -3.0).collect(),
        };
        let alignment = align(&scaled, &truth);
        assert!((alignment.cosine_a - 1.0).abs() < 1e-12 && (alignment.cosine_b - 1.0).abs() < 1e-12);
        assert!(alignment.middle.b.iter().zip(&truth.b).all(|(a, b)| (a - b).abs() < 1e-12));
        let wrong = align(&Pair { a: truth.a.clone(), b: scaled.b }, &truth);
        assert!(wrong.cosine_b < -0.99, "a sign that changes the guess is not forgiven");
    }

    #[test]
    fn a_nan_is_never_the_smaller_difference() {
        assert!(largest_difference(&[1.0, f64::NAN], &[1.0, 2.0]).is_nan());
    }
}
