//! Inputs and targets as separate tokens: a first softmax layer must learn to glue neighbours together.
//!
//! The sequence is `x_1, (0, y_1), x_2, (0, y_2), ..., x_q` with position codes beside; a softmax layer and then linear
//! layers. What an output token `u_j` of the first layer listens to is the norm of its Jacobians `du_j / de_i`: by its own
//! token, by its neighbour (the other half of its pair), by all others. `u_j` is the layer's update without the residual
//! path, whose Jacobian is the identity before anything is learned.

use super::lanes::{Lane, Real};
use super::lsa::{Attention, Network, Pair, Pass, Products};
use super::tasks::{Chunk, Shape};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// A softmax layer and then `layers` of linear self-attention on separate tokens with position codes of size `positions`.
pub fn network(shape: Shape, positions: usize, layers: usize) -> Network {
    let kinds = std::iter::once(Attention::Softmax).chain((0..layers).map(|_| Attention::Linear)).collect();
    Network { layers: kinds, positions, ..Network::linear(shape, layers + 1) }
}

/// Mean Jacobian norms (Frobenius) of the first layer's update, summed over the tokens of each group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Influence {
    /// By the token itself.
    pub own: f64,
    /// By the other half of its pair.
    pub neighbour: f64,
    /// By all other context tokens together.
    pub others: f64,
}

impl Influence {
    /// `(own + neighbour) / others`.
    pub fn ratio(&self) -> f64 {
        (self.own + self.neighbour) / self.others
    }

    /// The neighbour's part of the whole.
    pub fn neighbour_share(&self) -> f64 {
        self.neighbour / (self.own + self.neighbour + self.others)
    }
}

/// Influence on all context tokens, and on those that hold inputs only, averaged over tokens and tasks.
pub fn influence<F: Real>(network: &Network, products: &Products<F>, set: &[Chunk<F>]) -> [Influence; 2] {
    let parts: Vec<[Influence; 2]> = set
        .par_iter()
        .map(|chunk| {
            let mut pass = Pass::new(network);
            pass.forward(products, chunk, None);
            let mut sums = [Influence::default(); 2];
            for lane in 0..chunk.used {
                let tokens: Vec<f64> = pass.tokens(0).iter().map(|e: &Lane<F>| e.0[lane].wide()).collect();
                for token in 0..network.context() {
                    let one = of_token(network, &products.pairs[..network.heads], &tokens, token);
                    add(&mut sums[0], &one);
                    if token % 2 == 0 {
                        add(&mut sums[1], &one);
                    }
                }
            }
            sums
        })
        .collect();
    let tasks: usize = set.iter().map(|c| c.used).sum();
    let mut total = [Influence::default(); 2];
    for part in parts {
        add(&mut total[0], &part[0]);
        add(&mut total[1], &part[1]);
    }
    let counts = [tasks * network.context(), tasks * network.context() / 2];
    std::array::from_fn(|at| {
        let n = counts[at] as f64;
        Influence { own: total[at].own / n, neighbour: total[at].neighbour / n, others: total[at].others / n }
    })
}

fn add(sum: &mut Influence, one: &Influence) {
    sum.own += one.own;
    sum.neighbour += one.neighbour;
    sum.others += one.others;
}

fn of_token<F: Real>(network: &Network, heads: &[Pair<F>], tokens: &[f64], token: usize) -> Influence {
    let mut out = Influence::default();
    for (source, jacobian) in jacobians(network, heads, tokens, token).iter().enumerate() {
        let norm = jacobian.iter().map(|v| v * v).sum::<f64>().sqrt();
        if source == token {
            out.own += norm;
        } else if source == token ^ 1 {
            out.neighbour += norm;
        } else {
            out.others += norm;
        }
    }
    out
}

/// `du_j / de_i` for every context token `i`, each `[width, width]`, row-major.
///
/// With `p_i` the softmax weights, `m = sum p_i e_i`, `v_i = e_i - m` and `a = A e_j`:
/// `du_j/de_i = B p_i (I + v_i a^T)`, and by its own token also `B (sum_i p_i v_i e_i^T) A`, the way through its question.
fn jacobians<F: Real>(network: &Network, heads: &[Pair<F>], tokens: &[f64], token: usize) -> Vec<Vec<f64>> {
    let (width, context) = (network.width(), network.context());
    let row = |i: usize| &tokens[i * width..(i + 1) * width];
    let mut out = vec![vec![0.0; width * width]; context];
    for head in heads {
        let a: Vec<f64> = head.a.iter().map(|v| v.wide()).collect();
        let b: Vec<f64> = head.b.iter().map(|v| v.wide()).collect();
        let asked = times(&a, row(token));
        let weights = softmax(&(0..context).map(|i| dot(row(i), &asked)).collect::<Vec<_>>());
        let mut mean = vec![0.0; width];
        for (i, p) in weights.iter().enumerate() {
            for (m, e) in mean.iter_mut().zip(row(i)) {
                *m += p * e;
            }
        }
        let mut through_question = vec![0.0; width * width];
        for (i, p) in weights.iter().enumerate() {
            let apart: Vec<f64> = row(i).iter().zip(&mean).map(|(e, m)| e - m).collect();
            let moved = times(&b, &apart);
            let by_question = times_turned(&a, row(i));
            for r in 0..width {
                for c in 0..width {
                    out[i][r * width + c] += p * (b[r * width + c] + moved[r] * asked[c]);
                    through_question[r * width + c] += p * moved[r] * by_question[c];
                }
            }
        }
        if token < context {
            for (sum, value) in out[token].iter_mut().zip(&through_question) {
                *sum += value;
            }
        }
    }
    out
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn times(matrix: &[f64], vector: &[f64]) -> Vec<f64> {
    matrix.chunks_exact(vector.len()).map(|row| dot(row, vector)).collect()
}

fn times_turned(matrix: &[f64], vector: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; vector.len()];
    for (row, factor) in matrix.chunks_exact(vector.len()).zip(vector) {
        for (sum, value) in out.iter_mut().zip(row) {
            *sum += factor * value;
        }
    }
    out
}

fn softmax(scores: &[f64]) -> Vec<f64> {
    let top = scores.iter().fold(f64::NEG_INFINITY, |a, b| a.max(*b));
    let powers: Vec<f64> = scores.iter().map(|s| libm::exp(s - top)).collect();
    let total: f64 = powers.iter().sum();
    powers.iter().map(|p| p / total).collect()
}

#[cfg(test)]
mod tests {
    use super::super::lanes::LANES;
    use super::super::tasks::{LinearTasks, Tasks};
    use super::super::training::small_parameters;
    use super::*;
    use ream_rand::Stream;

    const SHAPE: Shape = Shape { d: 3, d_y: 1, n_context: 4 };

    /// The Jacobians against differences of the layer itself, moved token by token.
    #[test]
    fn jacobians_are_those_of_the_layer() {
        let network = Network { heads: 2, ..network(SHAPE, 4, 1) };
        let stream = Stream::new(5, "jacobians");
        let products = network.products(&small_parameters::<f64>(&network, 1.6, stream));
        let chunk: Chunk<f64> = LinearTasks::standard(SHAPE).chunk(stream, 1, 0, LANES);
        let mut pass = Pass::new(&network);
        pass.forward(&products, &chunk, None);
        let width = network.width();
        let tokens: Vec<f64> = pass.tokens(0).iter().map(|e| e.0[2]).collect();
        let token = 3;
        // The layer, spelt out for one token.
        let update = |tokens: &[f64]| {
            let mut out = vec![0.0; width];
            for head in &products.pairs[..2] {
                let asked = times(&head.a, &tokens[token * width..(token + 1) * width]);
                let scores: Vec<f64> =
                    (0..8).map(|i| dot(&tokens[i * width..(i + 1) * width], &asked)).collect();
                let mut mean = vec![0.0; width];
                for (i, p) in softmax(&scores).iter().enumerate() {
                    for (m, e) in mean.iter_mut().zip(&tokens[i * width..]) {
                        *m += p * e;
                    }
                }
                for (sum, value) in out.iter_mut().zip(times(&head.b, &mean)) {
                    *sum += value;
                }
            }
            out
        };
        let layer: Vec<f64> =
            (0..width).map(|c| pass.tokens(1)[token * width + c].0[2] - tokens[token * width + c]).collect();
        for (a, b) in update(&tokens).iter().zip(&layer) {
            assert!((a - b).abs() < 1e-12, "the test's layer is the network's");
        }
        let jacobians = jacobians(&network, &products.pairs[..2], &tokens, token);
        for source in 0..8 {
            for c in 0..width {
                let mut moved = tokens.clone();
                moved[source * width + c] += 1e-6;
                let up = update(&moved);
                moved[source * width + c] -= 2e-6;
                let down = update(&moved);
                for r in 0..width {
                    let want = (up[r] - down[r]) / 2e-6;
                    assert!((jacobians[source][r * width + c] - want).abs() < 1e-7);
                }
            }
        }
    }

    /// Before training every token listens to all equally: 2 of the 2N, so the ratio is near `2 / (2N - 2)`.
    #[test]
    fn an_untrained_layer_listens_to_all_tokens_alike() {
        let shape = Shape { d: 5, d_y: 1, n_context: 10 };
        let network = network(shape, 12, 1);
        let products = network.products(&small_parameters::<f32>(&network, 0.002, Stream::new(1, "initial")));
        let set: Vec<Chunk<f32>> = LinearTasks::standard(shape).set(Stream::new(2, "set"), 32);
        for influence in influence(&network, &products, &set) {
            assert!((influence.ratio() / (2.0 / 18.0) - 1.0).abs() < 0.1, "{influence:?}");
            assert!((influence.neighbour_share() - 0.05).abs() < 0.01);
        }
    }

    /// A layer built to copy: position codes that find the neighbour and a projection that takes its target.
    #[test]
    fn a_layer_that_copies_listens_to_the_pair() {
        let shape = Shape { d: 2, d_y: 1, n_context: 3 };
        let network = network(shape, 8, 1);
        let width = network.width();
        let mut products = network.products(&vec![0.0_f64; network.parameters()]);
        // Score 400 (p_i . p_{j^1}) by a map fitted for the even places: code(j + 1) is a rotation of code(j).
        for pair in 0..4 {
            let rate = libm::pow(10_000.0, -(2.0 * pair as f64) / 8.0);
            let (sin, cos) = libm::sincos(rate);
            let at = 3 + 2 * pair;
            for (r, c, v) in [(0, 0, cos), (0, 1, sin), (1, 0, -sin), (1, 1, cos)] {
                products.pairs[0].a[(at + r) * width + at + c] = 400.0 * v;
            }
        }
        products.pairs[0].b[2 * width + 2] = 1.0;
        let set: Vec<Chunk<f64>> = LinearTasks::standard(shape).set(Stream::new(2, "set"), 16);
        let [_, inputs] = influence(&network, &products, &set);
        assert!(inputs.ratio() > 100.0 && inputs.neighbour_share() > 0.8, "{inputs:?}");
    }
}
