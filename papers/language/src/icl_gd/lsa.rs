//! The network: tokens, (linear) self-attention layers, and their derivatives by hand.
//!
//! A layer with heads `h` moves every token `j` by what the context tokens `i` say:
//!
//! `e_j <- e_j + lambda sum_h P_h ( sum_i (V_h e_i) w_ij ) `, `w_ij = (K_h e_i) . (Q_h e_j)` (linear), or its softmax over `i`.
//!
//! Only two products of the matrices matter, `A = K^T Q` and `B = P V`: the layer works on
//! `w_ij = e_i . A e_j` and `B sum_i w_ij e_i`, and their slopes are handed on to `K, Q, V, P`.
//! The query is the last token. It looks at the context but is no key and no value. Only its last state is read, so
//! the last layer moves the query alone.

use super::lanes::{Lane, Real, Store, View, gelu, product, softmax, softmax_backward};
use super::tasks::{Chunk, Shape};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How a layer weighs the context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Attention {
    /// Scores as they are: linear self-attention.
    Linear,
    /// Softmax of the scores over the context.
    Softmax,
}

/// Two-layer perceptron before the attention: `x -> W2 GELU(W1 x + b1) + b2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mlp {
    /// Width of the hidden layer.
    pub hidden: usize,
    /// Features that stand in for `x` in the tokens.
    pub features: usize,
}

/// What a network looks like. A token is `(x or features, y, position code)`.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Sizes of the tasks.
    pub shape: Shape,
    /// Perceptron on the inputs, if any. Not together with separate tokens.
    pub mlp: Option<Mlp>,
    /// 0: each pair is one token and there is no position code. More: inputs and targets are separate tokens
    /// `(x, 0, p), (0, y, p')` with codes of this size.
    pub positions: usize,
    /// Layers from first to last.
    pub layers: Vec<Attention>,
    /// One set of matrices for all layers (recurrent).
    pub shared: bool,
    /// Heads of each layer.
    pub heads: usize,
    /// Factor `lambda <= 1` on every update.
    pub dampening: f64,
}

/// The matrices of one head, each `[width, width]`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Head<F> {
    /// Keys `K`.
    pub key: Vec<F>,
    /// Queries `Q`.
    pub query: Vec<F>,
    /// Values `V`.
    pub value: Vec<F>,
    /// Projection `P`.
    pub projection: Vec<F>,
}

/// The two products of a head that the output depends on, each `[width, width]`, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair<F> {
    /// `A = K^T Q`.
    pub a: Vec<F>,
    /// `B = P V`.
    pub b: Vec<F>,
}

/// What the layers compute with: the perceptron's weights as they are and `(A, B)` of each head.
#[derive(Clone, Debug, PartialEq)]
pub struct Products<F> {
    /// `W1 [hidden, d], b1, W2 [features, hidden], b2`, one after another; empty without a perceptron.
    pub mlp: Vec<F>,
    /// Head `h` of (distinct) layer `k` is at `k * heads + h`.
    pub pairs: Vec<Pair<F>>,
}

impl Network {
    /// One token for each pair, linear attention, one head: the base model with `layers` layers.
    pub fn linear(shape: Shape, layers: usize) -> Self {
        Self {
            shape,
            mlp: None,
            positions: 0,
            layers: vec![Attention::Linear; layers],
            shared: false,
            heads: 1,
            dampening: 1.0,
        }
    }

    /// Numbers in front of the target inside a token.
    pub fn features(&self) -> usize {
        self.mlp.map_or(self.shape.d, |mlp| mlp.features)
    }

    /// Size of a token.
    pub fn width(&self) -> usize {
        self.features() + self.shape.d_y + self.positions
    }

    /// Tokens that are keys and values.
    pub fn context(&self) -> usize {
        if self.positions > 0 { 2 * self.shape.n_context } else { self.shape.n_context }
    }

    /// Sets of matrices: one when the layers share them.
    pub fn distinct(&self) -> usize {
        if self.shared { 1 } else { self.layers.len() }
    }

    fn mlp_parameters(&self) -> usize {
        self.mlp.map_or(0, |m| m.hidden * (self.shape.d + 1) + m.features * (m.hidden + 1))
    }

    /// Where the perceptron's weights are among the parameters.
    pub fn mlp_range(&self) -> Range<usize> {
        0..self.mlp_parameters()
    }

    /// Number of parameters: the perceptron's, then `K, Q, V, P` of each head of each distinct layer.
    pub fn parameters(&self) -> usize {
        self.mlp_parameters() + self.distinct() * self.heads * 4 * self.width().pow(2)
    }

    /// The parameters that hold these weights.
    pub fn pack<F: Real>(&self, mlp: &[F], heads: &[Head<F>]) -> Vec<F> {
        let mut flat = mlp.to_vec();
        for head in heads {
            for matrix in [&head.key, &head.query, &head.value, &head.projection] {
                flat.extend_from_slice(matrix);
            }
        }
        flat
    }

    /// The products that the layers need.
    pub fn products<F: Real>(&self, parameters: &[F]) -> Products<F> {
        let (mlp, heads) = parameters.split_at(self.mlp_parameters());
        let width = self.width();
        let square = width * width;
        let pairs = heads
            .chunks_exact(4 * square)
            .map(|head| {
                let [key, query, value, projection] = quarters(head);
                Pair {
                    a: matrix_product(width, key, true, query, false),
                    b: matrix_product(width, projection, false, value, false),
                }
            })
            .collect();
        Products { mlp: mlp.to_vec(), pairs }
    }

    /// Slopes by the parameters from slopes by the products:
    /// `dK = Q dA^T`, `dQ = K dA`, `dP = dB V^T`, `dV = P^T dB`.
    pub fn pull_back<F: Real>(&self, parameters: &[F], slopes: &Products<F>) -> Vec<F> {
        let width = self.width();
        let square = width * width;
        let mut out = slopes.mlp.clone();
        for (head, slope) in parameters[self.mlp_parameters()..].chunks_exact(4 * square).zip(&slopes.pairs) {
            let [key, query, value, projection] = quarters(head);
            out.extend(matrix_product(width, query, false, &slope.a, true));
            out.extend(matrix_product(width, key, false, &slope.a, false));
            out.extend(matrix_product(width, projection, true, &slope.b, false));
            out.extend(matrix_product(width, &slope.b, false, value, true));
        }
        out
    }

    /// The sinusoidal codes (Vaswani et al. 2017) of all tokens, `[context + 1, positions]`.
    pub fn position_codes(&self) -> Vec<f64> {
        let rates: Vec<f64> = (0..self.positions.div_ceil(2))
            .map(|pair| libm::pow(10_000.0, -2.0 * pair as f64 / self.positions as f64))
            .collect();
        let mut codes = Vec::with_capacity((self.context() + 1) * self.positions);
        for place in 0..=self.context() {
            for at in 0..self.positions {
                let (sin, cos) = libm::sincos(place as f64 * rates[at / 2]);
                codes.push(if at % 2 == 0 { sin } else { cos });
            }
        }
        codes
    }
}

fn quarters<F>(head: &[F]) -> [&[F]; 4] {
    let quarter = head.len() / 4;
    [&head[..quarter], &head[quarter..2 * quarter], &head[2 * quarter..3 * quarter], &head[3 * quarter..]]
}

/// Product of two square matrices, each as it is or transposed.
pub(crate) fn matrix_product<F: Real>(
    n: usize,
    left: &[F],
    turn: bool,
    right: &[F],
    turn_right: bool,
) -> Vec<F> {
    let mut out = vec![F::default(); n * n];
    let turned: Vec<F>;
    let right = if turn_right {
        turned = (0..n * n).map(|at| right[at % n * n + at / n]).collect();
        &turned
    } else {
        right
    };
    for (i, row) in out.chunks_exact_mut(n).enumerate() {
        for (p, other) in right.chunks_exact(n).enumerate() {
            let factor = if turn { left[p * n + i] } else { left[i * n + p] };
            for (sum, value) in row.iter_mut().zip(other) {
                *sum = *sum + factor * *value;
            }
        }
    }
    out
}

/// What one head of one layer leaves behind for the way back.
struct HeadTrace<F> {
    /// `A e_j` of the tokens that move, `[moving, width]`.
    asked: Vec<Lane<F>>,
    /// Weights `w_ij`, `[moving, context]`.
    weights: Vec<Lane<F>>,
    /// `sum_i w_ij e_i`, `[moving, width]`.
    mixed: Vec<Lane<F>>,
}

/// Room for one pass of one chunk through a network, and the slopes that add up over chunks.
pub struct Pass<'n, F> {
    network: &'n Network,
    codes: Vec<F>,
    /// Hidden units and the GELU's slopes, `[tokens, hidden]`.
    hidden: Vec<Lane<F>>,
    bend: Vec<Lane<F>>,
    /// Tokens before each layer, and after the last: `[tokens, width]` each.
    states: Vec<Vec<Lane<F>>>,
    heads: Vec<HeadTrace<F>>,
    /// Slope by the tokens, `[tokens, width]`.
    slope: Vec<Lane<F>>,
    scratch: [Vec<Lane<F>>; 4],
    mlp_slopes: Vec<Lane<F>>,
    a_slopes: Vec<Vec<Lane<F>>>,
    b_slopes: Vec<Vec<Lane<F>>>,
}

/// The tokens that a layer moves and the rows of them that it writes.
struct Reach {
    first: usize,
    moving: usize,
    row: usize,
    rows: usize,
}

impl<'n, F: Real> Pass<'n, F> {
    /// Room for a network.
    pub fn new(network: &'n Network) -> Self {
        let (tokens, width) = (network.context() + 1, network.width());
        let zeros = |n: usize| vec![Lane::default(); n];
        let hidden = network.mlp.map_or(0, |m| m.hidden);
        let layers = network.layers.len();
        let heads = (0..layers * network.heads)
            .map(|at| {
                let moving = if at / network.heads + 1 == layers { 1 } else { tokens };
                HeadTrace {
                    asked: zeros(moving * width),
                    weights: zeros(moving * network.context()),
                    mixed: zeros(moving * width),
                }
            })
            .collect();
        let matrices = network.distinct() * network.heads;
        let wide = width.max(network.context()).max(hidden);
        Self {
            network,
            codes: network.position_codes().into_iter().map(F::of).collect(),
            hidden: zeros(tokens * hidden),
            bend: zeros(tokens * hidden),
            states: (0..=layers).map(|_| zeros(tokens * width)).collect(),
            heads,
            slope: zeros(tokens * width),
            scratch: std::array::from_fn(|_| zeros(tokens * wide)),
            mlp_slopes: zeros(network.mlp_parameters()),
            a_slopes: (0..matrices).map(|_| zeros(width * width)).collect(),
            b_slopes: (0..matrices).map(|_| zeros(width * width)).collect(),
        }
    }

    /// A layer before the last moves all tokens; the last moves the query's targets only.
    fn reach(&self, layer: usize) -> Reach {
        let network = self.network;
        if layer + 1 == network.layers.len() {
            Reach { first: network.context(), moving: 1, row: network.features(), rows: network.shape.d_y }
        } else {
            Reach { first: 0, moving: network.context() + 1, row: 0, rows: network.width() }
        }
    }

    /// Sends a chunk through the network. `start` is a matrix `W_0 [d_y, d]`: the query's target place then begins at
    /// `-W_0 x_q` instead of 0. The guesses are in [`Pass::guess`].
    pub fn forward(&mut self, products: &Products<F>, chunk: &Chunk<F>, start: Option<&[F]>) {
        self.embed(products, chunk, start);
        for layer in 0..self.network.layers.len() {
            self.layer_forward(layer, products);
        }
    }

    /// The guess `-e_q[y]` for each target, `[d_y]`.
    pub fn guess(&self) -> Vec<Lane<F>> {
        let network = self.network;
        let at = network.context() * network.width() + network.features();
        let last = &self.states[network.layers.len()];
        last[at..at + network.shape.d_y].iter().map(|e| Lane::default() - *e).collect()
    }

    /// Slope by the query's own input, `[d]`, after [`Pass::backward`] with `inputs` set; for networks on plain inputs.
    pub fn query_slope(&self) -> &[Lane<F>] {
        let at = self.network.context() * self.network.width();
        &self.slope[at..at + self.network.shape.d]
    }

    /// Tokens before layer `layer` in the last forward pass, `[tokens, width]`.
    pub(crate) fn tokens(&self, layer: usize) -> &[Lane<F>] {
        &self.states[layer]
    }

    /// The same tasks with the perceptron's features in place of the inputs.
    pub fn featured(&mut self, products: &Products<F>, chunk: &Chunk<F>) -> Chunk<F> {
        self.embed(products, chunk, None);
        let (width, features) = (self.network.width(), self.network.features());
        let x =
            self.states[0].chunks_exact(width).flat_map(|token| token[..features].iter().copied()).collect();
        Chunk { shape: Shape { d: features, ..chunk.shape }, used: chunk.used, x, y: chunk.y.clone() }
    }

    fn embed(&mut self, products: &Products<F>, chunk: &Chunk<F>, start: Option<&[F]>) {
        let network = self.network;
        let (width, features) = (network.width(), network.features());
        let Shape { d, d_y, n_context } = network.shape;
        let tokens = &mut self.states[0];
        tokens.fill(Lane::default());
        let stride = if network.positions > 0 { 2 } else { 1 };
        for pair in 0..=n_context {
            let at = pair * stride * width;
            if network.mlp.is_none() {
                tokens[at..at + d].copy_from_slice(&chunk.x[pair * d..(pair + 1) * d]);
            }
            if pair < n_context {
                let at = at + (stride - 1) * width + features;
                tokens[at..at + d_y].copy_from_slice(&chunk.y[pair * d_y..(pair + 1) * d_y]);
            }
        }
        if network.positions > 0 {
            for (token, codes) in
                tokens.chunks_exact_mut(width).zip(self.codes.chunks_exact(network.positions))
            {
                for (lane, code) in token[features + d_y..].iter_mut().zip(codes) {
                    *lane = Lane::all(*code);
                }
            }
        }
        if let Some(start) = start {
            let (query, target) = tokens[n_context * stride * width..].split_at_mut(features);
            let size = [d_y, d, 1];
            product(size, View::rows(start, d), View::rows(query, 1), &mut target[..d_y], Store::Fresh);
            for lane in &mut target[..d_y] {
                *lane = Lane::default() - *lane;
            }
        }
        if let Some(mlp) = network.mlp {
            let pairs = n_context + 1;
            let [w1, b1, w2, b2] = mlp_parts(&products.mlp, mlp, d);
            let size = [pairs, d, mlp.hidden];
            product(size, View::rows(&chunk.x, d), View::turned(w1, d), &mut self.hidden, Store::Fresh);
            for row in self.hidden.chunks_exact_mut(mlp.hidden) {
                for (lane, bias) in row.iter_mut().zip(b1) {
                    *lane = *lane + Lane::all(*bias);
                }
            }
            gelu(&mut self.hidden, &mut self.bend);
            let out = &mut self.scratch[0];
            let size = [pairs, mlp.hidden, mlp.features];
            product(
                size,
                View::rows(&self.hidden, mlp.hidden),
                View::turned(w2, mlp.hidden),
                out,
                Store::Fresh,
            );
            for (token, row) in self.states[0].chunks_exact_mut(width).zip(out.chunks_exact(mlp.features)) {
                for ((lane, value), bias) in token.iter_mut().zip(row).zip(b2) {
                    *lane = *value + Lane::all(*bias);
                }
            }
        }
    }

    fn layer_forward(&mut self, layer: usize, products: &Products<F>) {
        let reach = self.reach(layer);
        let network = self.network;
        let (width, context) = (network.width(), network.context());
        let set = if network.shared { 0 } else { layer };
        let (before, after) = self.states.split_at_mut(layer + 1);
        let (tokens, next) = (&before[layer], &mut after[0]);
        let moving = &tokens[reach.first * width..];
        let update = &mut self.scratch[0];
        for head in 0..network.heads {
            let pair = &products.pairs[set * network.heads + head];
            let trace = &mut self.heads[layer * network.heads + head];
            let (n, square) = (reach.moving, View::turned(&pair.a, width));
            product([n, width, width], View::rows(moving, width), square, &mut trace.asked, Store::Fresh);
            let (asked, keys) = (View::rows(&trace.asked, width), View::turned(tokens, width));
            product([n, width, context], asked, keys, &mut trace.weights, Store::Fresh);
            if network.layers[layer] == Attention::Softmax {
                softmax(&mut trace.weights, context);
            }
            let (weights, values) = (View::rows(&trace.weights, context), View::rows(tokens, width));
            product([n, context, width], weights, values, &mut trace.mixed, Store::Fresh);
            let store = if head == 0 { Store::Fresh } else { Store::Sum };
            let projection = View::turned(&pair.b[reach.row * width..], width);
            product([n, width, reach.rows], View::rows(&trace.mixed, width), projection, update, store);
        }
        next.copy_from_slice(tokens);
        let dampening = Lane::all(F::of(network.dampening));
        for (token, update) in next[reach.first * width..]
            .chunks_exact_mut(width)
            .zip(update.chunks_exact(reach.rows))
            .take(reach.moving)
        {
            for (lane, change) in token[reach.row..].iter_mut().zip(update) {
                *lane = *lane + dampening * *change;
            }
        }
    }

    /// Goes back from slopes by the guesses, `[d_y]`, and adds the slopes by the products to the sums of this pass.
    /// `inputs` asks for slopes by the tokens that enter the first layer as well.
    pub fn backward(&mut self, products: &Products<F>, chunk: &Chunk<F>, by_guess: &[Lane<F>], inputs: bool) {
        let network = self.network;
        self.slope.fill(Lane::default());
        let at = network.context() * network.width() + network.features();
        for (lane, slope) in self.slope[at..].iter_mut().zip(by_guess) {
            *lane = Lane::default() - *slope;
        }
        let inputs = inputs || network.mlp.is_some();
        for layer in (0..network.layers.len()).rev() {
            self.layer_backward(layer, products, inputs || layer > 0);
        }
        if let Some(mlp) = network.mlp {
            self.mlp_backward(mlp, products, chunk);
        }
    }

    fn layer_backward(&mut self, layer: usize, products: &Products<F>, inputs: bool) {
        let Reach { first, moving, row, rows } = self.reach(layer);
        let network = self.network;
        let (width, context) = (network.width(), network.context());
        let set = if network.shared { 0 } else { layer };
        let tokens = &self.states[layer];
        let asking = &tokens[first * width..];
        let [by_update, by_mixed, by_weight, by_asked] = &mut self.scratch;
        let dampening = Lane::all(F::of(network.dampening));
        let slopes = self.slope[first * width..].chunks_exact(width).take(moving);
        for (to, from) in by_update.chunks_exact_mut(rows).zip(slopes) {
            for (to, from) in to.iter_mut().zip(&from[row..]) {
                *to = dampening * *from;
            }
        }
        for head in 0..network.heads {
            let at = set * network.heads + head;
            let pair = &products.pairs[at];
            let trace = &self.heads[layer * network.heads + head];
            let b = View::rows(&pair.b[row * width..], width);
            let (up, mixed) = (View::turned(by_update, rows), View::rows(&trace.mixed, width));
            product([rows, moving, width], up, mixed, &mut self.b_slopes[at][row * width..], Store::Sum);
            product([moving, rows, width], View::rows(by_update, rows), b, by_mixed, Store::Fresh);
            let (down, keys) = (View::rows(by_mixed, width), View::turned(tokens, width));
            product([moving, width, context], down, keys, by_weight, Store::Fresh);
            if inputs {
                let weights = View::turned(&trace.weights, context);
                product([context, moving, width], weights, down, &mut self.slope, Store::Sum);
            }
            if network.layers[layer] == Attention::Softmax {
                softmax_backward(&trace.weights, &mut by_weight[..moving * context], context);
            }
            let scores = View::rows(by_weight, context);
            product([moving, context, width], scores, View::rows(tokens, width), by_asked, Store::Fresh);
            let (ask, asking) = (View::turned(by_asked, width), View::rows(asking, width));
            product([width, moving, width], ask, asking, &mut self.a_slopes[at], Store::Sum);
            if inputs {
                let (scores, asked) = (View::turned(by_weight, context), View::rows(&trace.asked, width));
                product([context, moving, width], scores, asked, &mut self.slope, Store::Sum);
                let (ask, a) = (View::rows(by_asked, width), View::rows(&pair.a, width));
                product([moving, width, width], ask, a, &mut self.slope[first * width..], Store::Sum);
            }
        }
    }

    fn mlp_backward(&mut self, mlp: Mlp, products: &Products<F>, chunk: &Chunk<F>) {
        let (d, width, pairs) =
            (self.network.shape.d, self.network.width(), self.network.shape.n_context + 1);
        let Mlp { hidden, features } = mlp;
        let [_, _, w2, _] = mlp_parts(&products.mlp, mlp, d);
        let (first, second) = self.mlp_slopes.split_at_mut(hidden * (d + 1));
        let (by_w1, by_b1) = first.split_at_mut(hidden * d);
        let (by_w2, by_b2) = second.split_at_mut(features * hidden);
        let [by_features, by_hidden, ..] = &mut self.scratch;
        for (to, from) in by_features.chunks_exact_mut(features).zip(self.slope.chunks_exact(width)) {
            to.copy_from_slice(&from[..features]);
        }
        let up = View::turned(by_features, features);
        product([features, pairs, hidden], up, View::rows(&self.hidden, hidden), by_w2, Store::Sum);
        add_rows(by_b2, &by_features[..pairs * features]);
        let down = View::rows(by_features, features);
        product([pairs, features, hidden], down, View::rows(w2, hidden), by_hidden, Store::Fresh);
        for (slope, bend) in by_hidden.iter_mut().zip(&self.bend) {
            *slope = *slope * *bend;
        }
        let up = View::turned(by_hidden, hidden);
        product([hidden, pairs, d], up, View::rows(&chunk.x, d), by_w1, Store::Sum);
        add_rows(by_b1, &by_hidden[..pairs * hidden]);
    }

    /// Forgets the slopes of all tasks so far.
    pub fn clear(&mut self) {
        let matrices = self.a_slopes.iter_mut().chain(&mut self.b_slopes);
        for slopes in matrices.chain([&mut self.mlp_slopes]) {
            slopes.fill(Lane::default());
        }
    }

    /// The slopes summed over all tasks since the pass was made or cleared.
    pub fn slopes(&self) -> Products<F> {
        let sums = |lanes: &[Lane<F>]| lanes.iter().map(Lane::sum).collect();
        Products {
            mlp: sums(&self.mlp_slopes),
            pairs: self
                .a_slopes
                .iter()
                .zip(&self.b_slopes)
                .map(|(a, b)| Pair { a: sums(a), b: sums(b) })
                .collect(),
        }
    }
}

fn add_rows<F: Real>(sum: &mut [Lane<F>], rows: &[Lane<F>]) {
    for row in rows.chunks_exact(sum.len()) {
        for (sum, lane) in sum.iter_mut().zip(row) {
            *sum = *sum + *lane;
        }
    }
}

/// `[W1, b1, W2, b2]` of a perceptron.
pub(crate) fn mlp_parts<F>(flat: &[F], mlp: Mlp, d: usize) -> [&[F]; 4] {
    let (w1, rest) = flat.split_at(mlp.hidden * d);
    let (b1, rest) = rest.split_at(mlp.hidden);
    let (w2, b2) = rest.split_at(mlp.features * mlp.hidden);
    [w1, b1, w2, b2]
}

impl<F: Real> Products<F> {
    /// Adds other slopes to these.
    pub fn add(&mut self, other: &Self) {
        let add = |to: &mut [F], from: &[F]| {
            for (to, from) in to.iter_mut().zip(from) {
                *to = *to + *from;
            }
        };
        add(&mut self.mlp, &other.mlp);
        for (to, from) in self.pairs.iter_mut().zip(&other.pairs) {
            add(&mut to.a, &from.a);
            add(&mut to.b, &from.b);
        }
    }

    /// Multiplies every slope.
    pub fn scale(&mut self, factor: F) {
        let matrices = self.pairs.iter_mut().flat_map(|p| p.a.iter_mut().chain(p.b.iter_mut()));
        for value in self.mlp.iter_mut().chain(matrices) {
            *value = *value * factor;
        }
    }
}
