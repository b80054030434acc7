//! Weights with which linear self-attention *is* gradient descent.
//!
//! `K = Q = [I 0; 0 0]`, `V = [0 0; W_0 -I]`, `P = (eta/N) I`: one layer turns every target `y_j` into `y_j - dW x_j` with
//! `dW = -(eta/N) sum_i (W_0 x_i - y_i) x_i^T`, the gradient step on `L(W) = 1/(2N) sum_i |W x_i - y_i|^2` from `W_0`.
//! The context then carries residuals and the query minus its prediction, so `K` layers are `K` steps. The query's
//! target place starts at `-W_0 x_q` (0 for `W_0 = 0`).
//!
//! GD++ also moves the inputs, `x_j <- x_j - gamma sum_i x_i (x_i . x_j)`: `-gamma` on the `x` block of `P V`.

use super::lanes::Real;
use super::lsa::{Head, Network};
use super::tasks::Shape;

/// One layer of gradient descent with rate `eta` from `start` (`W_0 [d_y, d]`, `None` for 0), on tokens `(x, y)`.
pub fn descent_head<F: Real>(shape: Shape, eta: f64, start: Option<&[F]>) -> Head<F> {
    let width = shape.d + shape.d_y;
    let key = diagonal(width, 0..shape.d, F::of(1.0));
    let mut value = diagonal(width, shape.d..width, F::of(-1.0));
    if let Some(start) = start {
        for (row, weights) in start.chunks_exact(shape.d).enumerate() {
            let at = (shape.d + row) * width;
            value[at..at + shape.d].copy_from_slice(weights);
        }
    }
    let rate = F::of(eta / shape.n_context as f64);
    Head { query: key.clone(), key, value, projection: diagonal(width, 0..width, rate) }
}

/// One layer of GD++ with rates `[eta, gamma]`.
pub fn plus_head<F: Real>(shape: Shape, [eta, gamma]: [f64; 2]) -> Head<F> {
    let mut head = descent_head(shape, eta, None);
    let width = shape.d + shape.d_y;
    // `P` becomes the identity and `V` carries both rates, so that a rate of 0 needs no division.
    head.value = diagonal(width, 0..shape.d, F::of(-gamma));
    for at in shape.d..width {
        head.value[at * width + at] = F::of(-eta / shape.n_context as f64);
    }
    head.projection = diagonal(width, 0..width, F::of(1.0));
    head
}

/// A network that takes one gradient step per rate, and its parameters.
pub fn descent_network<F: Real>(shape: Shape, rates: &[f64], start: Option<&[F]>) -> (Network, Vec<F>) {
    let network = Network::linear(shape, rates.len());
    let heads: Vec<_> = rates.iter().map(|&eta| descent_head(shape, eta, start)).collect();
    let parameters = network.pack(&[], &heads);
    (network, parameters)
}

/// A network that takes one step of GD++ per pair of rates, and its parameters.
pub fn plus_network<F: Real>(shape: Shape, rates: &[[f64; 2]]) -> (Network, Vec<F>) {
    let network = Network::linear(shape, rates.len());
    let heads: Vec<_> = rates.iter().map(|&pair| plus_head(shape, pair)).collect();
    let parameters = network.pack(&[], &heads);
    (network, parameters)
}

fn diagonal<F: Real>(width: usize, places: std::ops::Range<usize>, value: F) -> Vec<F> {
    let mut matrix = vec![F::default(); width * width];
    for at in places {
        matrix[at * width + at] = value;
    }
    matrix
}

#[cfg(test)]
mod tests {
    use super::super::descent;
    use super::super::lanes::{LANES, Lane};
    use super::super::lsa::Pass;
    use super::super::tasks::{Chunk, LinearTasks, Tasks};
    use super::*;
    use ream_rand::Stream;

    fn guess(network: &Network, parameters: &[f64], chunk: &Chunk<f64>) -> Vec<Lane<f64>> {
        let mut pass = Pass::new(network);
        pass.forward(&network.products(parameters), chunk, None);
        pass.guess()
    }

    fn chunk(shape: Shape) -> Chunk<f64> {
        LinearTasks::standard(shape).chunk(Stream::new(7, "tests"), 0, 0, LANES)
    }

    const SHAPE: Shape = Shape { d: 6, d_y: 2, n_context: 8 };

    #[test]
    fn gdpp_layers_are_gdpp_steps() {
        let chunk = chunk(SHAPE);
        let rates = [[0.7, 0.03], [0.4, 0.01], [0.9, -0.02]];
        let (network, parameters) = plus_network(SHAPE, &rates);
        let got = guess(&network, &parameters, &chunk);
        for (got, want) in got.iter().zip(descent::plus_guess(&chunk, &rates)) {
            for l in 0..LANES {
                assert!((got.0[l] - want.0[l]).abs() < 1e-12);
            }
        }
    }

    /// Trap: the order of the context must not matter, or the query is a key or positions leak in.
    #[test]
    fn permuting_the_context_changes_nothing() {
        let original = chunk(SHAPE);
        let mut turned = original.clone();
        turned.x[..SHAPE.n_context * SHAPE.d].rotate_left(3 * SHAPE.d);
        turned.y[..SHAPE.n_context * SHAPE.d_y].rotate_left(3 * SHAPE.d_y);
        let network = Network { heads: 2, ..Network::linear(SHAPE, 2) };
        let mut rng = Stream::new(1, "weights").at(0);
        let parameters: Vec<f64> = (0..network.parameters()).map(|_| 0.3 * rng.normal()).collect();
        for (a, b) in
            guess(&network, &parameters, &original).iter().zip(guess(&network, &parameters, &turned))
        {
            for l in 0..LANES {
                assert!((a.0[l] - b.0[l]).abs() < 1e-9 * a.0[l].abs().max(1.0));
            }
        }
    }

    /// Trap: the query is no key and no value. Its own input changes its guess linearly, and a query at 0 is guessed 0.
    #[test]
    fn the_query_is_no_key_and_no_value() {
        let network = Network::linear(SHAPE, 1);
        let mut rng = Stream::new(2, "weights").at(0);
        let parameters: Vec<f64> = (0..network.parameters()).map(|_| 0.3 * rng.normal()).collect();
        let once = chunk(SHAPE);
        let mut twice = once.clone();
        for lane in &mut twice.x[SHAPE.n_context * SHAPE.d..] {
            *lane = *lane + *lane;
        }
        for (a, b) in guess(&network, &parameters, &once).iter().zip(guess(&network, &parameters, &twice)) {
            for l in 0..LANES {
                assert!(a.0[l] != 0.0 && (2.0 * a.0[l] - b.0[l]).abs() < 1e-12 * a.0[l].abs().max(1.0));
            }
        }
    }

    /// Trap: the query's target must not leak into the guess.
    #[test]
    fn the_query_target_is_not_read() {
        let network = Network::linear(SHAPE, 2);
        let mut rng = Stream::new(3, "weights").at(0);
        let parameters: Vec<f64> = (0..network.parameters()).map(|_| 0.3 * rng.normal()).collect();
        let seen = chunk(SHAPE);
        let mut other = seen.clone();
        for lane in &mut other.y[SHAPE.n_context * SHAPE.d_y..] {
            *lane = Lane::all(1e6);
        }
        assert_eq!(guess(&network, &parameters, &seen), guess(&network, &parameters, &other));
    }

    #[test]
    fn doubling_the_targets_doubles_the_guess() {
        let (network, parameters) = descent_network(SHAPE, &[0.8, 0.5], None);
        let once = chunk(SHAPE);
        let mut twice = once.clone();
        for lane in &mut twice.y {
            *lane = *lane + *lane;
        }
        for (a, b) in guess(&network, &parameters, &once).iter().zip(guess(&network, &parameters, &twice)) {
            assert_eq!(*a + *a, b);
        }
    }

    /// Rotating all inputs by an orthogonal matrix (a product of plane rotations) leaves the construction's guess.
    #[test]
    fn rotating_the_inputs_changes_nothing() {
        let (network, parameters) = plus_network(SHAPE, &[[0.8, 0.02], [0.5, 0.01]]);
        let plain = chunk(SHAPE);
        let mut turned = plain.clone();
        for (plane, angle) in [(0, 0.3), (2, 1.1), (1, -0.7), (4, 2.0)] {
            let (sin, cos) = libm::sincos(angle);
            for row in turned.x.chunks_exact_mut(SHAPE.d) {
                for l in 0..LANES {
                    let (a, b) = (row[plane].0[l], row[plane + 1].0[l]);
                    row[plane].0[l] = cos * a - sin * b;
                    row[plane + 1].0[l] = sin * a + cos * b;
                }
            }
        }
        for (a, b) in guess(&network, &parameters, &plain).iter().zip(guess(&network, &parameters, &turned)) {
            for l in 0..LANES {
                assert!((a.0[l] - b.0[l]).abs() < 1e-12);
            }
        }
    }

    /// Trap: softmax cannot represent a gradient step. Were it to match to 1e-5, something would be compared with itself.
    #[test]
    fn softmax_attention_is_not_a_gradient_step() {
        let shape = Shape { d: 6, d_y: 1, n_context: 8 };
        let (mut network, parameters) = descent_network::<f64>(shape, &[0.8], None);
        network.layers = vec![super::super::lsa::Attention::Softmax];
        let chunk = chunk(shape);
        let got = guess(&network, &parameters, &chunk)[0];
        let weights = descent::descend(&chunk, &[0.8], None);
        let want = descent::guess(&weights, &chunk)[0];
        let difference = (0..LANES).map(|l| (got.0[l] - want.0[l]).abs()).fold(0.0, f64::max);
        assert!(difference > 1e-2, "{difference}");
    }
}
