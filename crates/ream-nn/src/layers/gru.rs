//! Recurrent layers: GRU (Cho et al., 2014, arXiv 1406.1078) and LSTM (Hochreiter & Schmidhuber, 1997).
//!
//! The GRU applies its reset gate after the recurrent product, as cuDNN and PyTorch do:
//!
//! `r = sigmoid(W_ir x + b_ir + W_hr h + b_hr)`, `z = sigmoid(W_iz x + b_iz + W_hz h + b_hz)`,
//! `n = tanh(W_in x + b_in + r (W_hn h + b_hn))`, `h' = (1 - z) n + z h`.
//!
//! The LSTM: `i, f, o = sigmoid(W x + b + U h)`, `g = tanh(W_g x + b_g + U_g h)`, `c' = f c + i g`, `h' = o tanh(c')`; its forget
//! bias begins at 1 (Jozefowicz et al., 2015).
//!
//! The products with the input are made for all steps at once; the recurrence and its backward through time are one operation.
//! Weights begin uniform on `[-1 / sqrt(h), 1 / sqrt(h))`.

use crate::error::{Result, shape};
use crate::layers::Linear;
use crate::ops;
use crate::param::{Init, Module, Param};
use crate::tensor::Tensor;

/// The weights of one direction.
#[derive(Clone, Debug)]
struct Cell {
    /// `[3 h, d_in]` and `[3 h]`: gates r, z, n.
    input: Linear,
    /// `[3 h, h]` and `[3 h]`.
    state: Linear,
}

fn uniform_linear(init: &Init, d_in: usize, d_out: usize, limit: f32) -> Linear {
    Linear {
        weight: init.uniform("weight", &[d_out, d_in], limit),
        bias: Some(init.uniform("bias", &[d_out], limit)),
    }
}

impl Cell {
    fn new(init: &Init, d_in: usize, h: usize) -> Self {
        let limit = 1.0 / (h.max(1) as f32).sqrt();
        Self {
            input: uniform_linear(&init.at("input"), d_in, 3 * h, limit),
            state: uniform_linear(&init.at("state"), h, 3 * h, limit),
        }
    }

    fn forward(&self, x: &Tensor, start: Option<&Tensor>, resets: Option<&[bool]>) -> Result<Tensor> {
        let Some(bias) = &self.state.bias else { return shape("Gru", "the recurrent bias is missing") };
        ops::gru(&self.input.forward(x)?, &self.state.weight.tensor(), &bias.tensor(), start, resets)
    }
}

impl Module for Cell {
    fn params(&self) -> Vec<Param> {
        [self.input.params(), self.state.params()].concat()
    }
}

/// A gated recurrent unit over `[batch, time, d_in]`.
#[derive(Clone, Debug)]
pub struct Gru {
    ahead: Cell,
    back: Option<Cell>,
    hidden: usize,
}

impl Gru {
    /// From the first step to the last.
    #[must_use]
    pub fn new(init: &Init, d_in: usize, hidden: usize) -> Self {
        Self { ahead: Cell::new(init, d_in, hidden), back: None, hidden }
    }

    /// In both directions, each with its own weights.
    #[must_use]
    pub fn bidirectional(init: &Init, d_in: usize, hidden: usize) -> Self {
        let back = Cell::new(&init.at("back"), d_in, hidden);
        Self { back: Some(back), ..Self::new(init, d_in, hidden) }
    }

    /// States of all steps: `[batch, time, d_in]` to `[batch, time, h]`, or `[batch, time, 2 h]` (ahead, then back) in both
    /// directions. `start` is `[batch, h]` (`[batch, 2 h]`), zero when not given.
    ///
    /// # Errors
    /// When a shape does not fit.
    pub fn forward(&self, x: &Tensor, start: Option<&Tensor>) -> Result<Tensor> {
        self.run(x, start, None)
    }

    /// As [`Gru::forward`], with the state set to zero before every step where `resets` (`[batch, time]`) is true, in the order in
    /// which a direction meets the steps: episodes that end within a sequence.
    ///
    /// # Errors
    /// When a shape does not fit.
    pub fn forward_with_resets(&self, x: &Tensor, start: Option<&Tensor>, resets: &[bool]) -> Result<Tensor> {
        self.run(x, start, Some(resets))
    }

    fn run(&self, x: &Tensor, start: Option<&Tensor>, resets: Option<&[bool]>) -> Result<Tensor> {
        let &[batch, time, _] = x.shape() else {
            return shape("Gru", format!("the input {:?} must be [batch, time, d_in]", x.shape()));
        };
        let Some(back) = &self.back else { return self.ahead.forward(x, start, resets) };
        let h = self.hidden;
        let (first, second) = match start {
            None => (None, None),
            Some(s) if s.shape() == [batch, 2 * h] => (Some(s.narrow(1, 0, h)?), Some(s.narrow(1, h, h)?)),
            Some(s) => {
                return shape(
                    "Gru",
                    format!("the start {:?} must be [batch, 2 h] = [{batch}, {}]", s.shape(), 2 * h),
                );
            }
        };
        if let Some(resets) = resets.filter(|r| r.len() != batch * time) {
            return shape("Gru", format!("{} resets for [batch, time] = [{batch}, {time}]", resets.len()));
        }
        let order: Vec<usize> = (0..time).rev().collect();
        let turned: Option<Vec<bool>> =
            resets.map(|r| r.chunks_exact(time.max(1)).flat_map(|row| row.iter().rev().copied()).collect());
        let ahead = self.ahead.forward(x, first.as_ref(), resets)?;
        let behind = back.forward(&x.index_select(1, &order)?, second.as_ref(), turned.as_deref())?;
        ops::concat(&[&ahead, &behind.index_select(1, &order)?], 2)
    }

    /// One step: `x` `[batch, d_in]` and state `[batch, h]` to the next state `[batch, h]`.
    ///
    /// # Errors
    /// When a shape does not fit, or the layer has two directions.
    pub fn step(&self, x: &Tensor, state: &Tensor) -> Result<Tensor> {
        if self.back.is_some() {
            return shape("Gru", "a bidirectional layer has no single step");
        }
        self.ahead.forward(&x.unsqueeze(1)?, Some(state), None)?.reshape(&[x.shape()[0], self.hidden])
    }
}

impl Module for Gru {
    fn params(&self) -> Vec<Param> {
        [self.ahead.params(), self.back.params()].concat()
    }
}

/// Long short-term memory over `[batch, time, d_in]`.
#[derive(Clone, Debug)]
pub struct Lstm {
    /// `[4 h, d_in]` and `[4 h]`: gates i, f, g, o.
    input: Linear,
    /// `[4 h, h]`.
    state: Param,
    hidden: usize,
}

impl Lstm {
    /// A layer of `hidden` cells.
    #[must_use]
    pub fn new(init: &Init, d_in: usize, hidden: usize) -> Self {
        let limit = 1.0 / (hidden.max(1) as f32).sqrt();
        let input = uniform_linear(&init.at("input"), d_in, 4 * hidden, limit);
        if let Some(bias) = &input.bias {
            bias.update(|b| {
                b.fill(0.0);
                b[hidden..2 * hidden].fill(1.0);
            });
        }
        Self { input, state: init.at("state").uniform("weight", &[4 * hidden, hidden], limit), hidden }
    }

    /// States and cells of all steps, `[batch, time, h]` each; `start` is the state and cell before, `[batch, h]` each, or zero.
    ///
    /// # Errors
    /// When a shape does not fit.
    pub fn forward(&self, x: &Tensor, start: Option<(&Tensor, &Tensor)>) -> Result<(Tensor, Tensor)> {
        if x.rank() != 3 {
            return shape("Lstm", format!("the input {:?} must be [batch, time, d_in]", x.shape()));
        }
        let both = ops::lstm(&self.input.forward(x)?, &self.state.tensor(), start)?;
        Ok((both.narrow(2, 0, self.hidden)?, both.narrow(2, self.hidden, self.hidden)?))
    }
}

impl Module for Lstm {
    fn params(&self) -> Vec<Param> {
        [self.input.params(), self.state.params()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check_gradients;
    use crate::threads::set_threads;
    use ream_rand::Stream;

    fn normal(shape: &[usize], seed: u64) -> Tensor {
        Tensor::randn(shape, 0.7, &mut Stream::new(seed, "gru").at(0))
    }

    fn sigmoid(x: &Tensor) -> Tensor {
        x.sigmoid()
    }

    /// The equations, step by step from elementary operations.
    fn plain_step(cell: &Cell, x: &Tensor, h: &Tensor) -> Tensor {
        let parts = |y: Tensor| y.split(1, &[h.last(); 3]).unwrap();
        let (i, s) = (parts(cell.input.forward(x).unwrap()), parts(cell.state.forward(h).unwrap()));
        let (r, z) = (sigmoid(&i[0].add(&s[0]).unwrap()), sigmoid(&i[1].add(&s[1]).unwrap()));
        let n = i[2].add(&r.mul(&s[2]).unwrap()).unwrap().tanh();
        n.add(&z.mul(&h.sub(&n).unwrap()).unwrap()).unwrap()
    }

    #[test]
    fn equals_the_equations_and_a_single_step() {
        let layer = Gru::new(&Init::new(1), 3, 5);
        let (x, start) = (normal(&[2, 4, 3], 1), normal(&[2, 5], 2));
        let y = layer.forward(&x, Some(&start)).unwrap();
        let (mut h, mut stepped) = (start.clone(), start);
        for t in 0..4 {
            let xt = x.narrow(1, t, 1).unwrap().reshape(&[2, 3]).unwrap();
            h = plain_step(&layer.ahead, &xt, &h);
            stepped = layer.step(&xt, &stepped).unwrap();
            let yt = y.narrow(1, t, 1).unwrap();
            for ((a, b), c) in yt.data().iter().zip(h.data()).zip(stepped.data()) {
                assert!((a - b).abs() < 1e-5 && (a - c).abs() < 1e-6, "{a} {b} {c}");
            }
        }
    }

    #[test]
    fn gradients_of_input_start_and_every_parameter() {
        let inputs = [normal(&[2, 4, 3], 1), normal(&[2, 5], 2)];
        let layer = Gru::new(&Init::new(1), 3, 5);
        check_gradients(&inputs, &layer.params(), 1e-2, |x| layer.forward(&x[0], Some(&x[1]))).unwrap();
        let resets = [false, false, true, false, true, false, false, true];
        check_gradients(&inputs, &layer.params(), 1e-2, |x| {
            layer.forward_with_resets(&x[0], Some(&x[1]), &resets)
        })
        .unwrap();
        let both = Gru::bidirectional(&Init::new(2), 3, 5);
        let inputs = [normal(&[2, 4, 3], 3), normal(&[2, 10], 4)];
        check_gradients(&inputs, &both.params(), 1e-2, |x| both.forward(&x[0], Some(&x[1]))).unwrap();
    }

    #[test]
    fn a_reset_begins_anew_and_the_backward_direction_is_the_forward_one_turned() {
        let layer = Gru::new(&Init::new(1), 3, 5);
        let x = normal(&[1, 6, 3], 1);
        let resets = [false, false, false, true, false, false];
        let y = layer.forward_with_resets(&x, None, &resets).unwrap();
        let second = layer.forward(&x.narrow(1, 3, 3).unwrap(), None).unwrap();
        for (a, b) in y.narrow(1, 3, 3).unwrap().data().iter().zip(second.data()) {
            assert!((a - b).abs() < 1e-6, "{a} {b}");
        }
        let both = Gru::bidirectional(&Init::new(2), 3, 5);
        let turned: Vec<usize> = (0..6).rev().collect();
        let alone = Gru { ahead: both.back.clone().unwrap(), back: None, hidden: 5 };
        let want = alone
            .forward(&x.index_select(1, &turned).unwrap(), None)
            .unwrap()
            .index_select(1, &turned)
            .unwrap();
        let got = both.forward(&x, None).unwrap();
        assert_eq!(got.shape(), [1, 6, 10]);
        assert_eq!(got.narrow(2, 5, 5).unwrap().to_vec(), want.to_vec());
    }

    #[test]
    fn bits_do_not_depend_on_threads() {
        let layer = Gru::new(&Init::new(1), 40, 96);
        let x = normal(&[90, 3, 40], 1);
        let run = |threads| {
            set_threads(threads);
            let y = layer.forward(&x, None).unwrap();
            let grads = y.square().sum().backward().unwrap();
            (y.to_vec(), layer.params().iter().map(|p| grads.get(p).unwrap().to_vec()).collect::<Vec<_>>())
        };
        assert!(run(1) == run(3));
    }

    #[test]
    fn lstm_equals_its_equations_and_its_gradients_are_exact() {
        let layer = Lstm::new(&Init::new(3), 3, 4);
        let (x, h0, c0) = (normal(&[2, 5, 3], 1), normal(&[2, 4], 2), normal(&[2, 4], 3));
        let (states, cells) = layer.forward(&x, Some((&h0, &c0))).unwrap();
        let (mut h, mut c) = (h0.clone(), c0.clone());
        for t in 0..5 {
            let xt = x.narrow(1, t, 1).unwrap().reshape(&[2, 3]).unwrap();
            let sums = layer
                .input
                .forward(&xt)
                .unwrap()
                .add(&ops::linear(&h, &layer.state.tensor(), None).unwrap())
                .unwrap();
            let g = sums.split(1, &[4; 4]).unwrap();
            c = g[1].sigmoid().mul(&c).unwrap().add(&g[0].sigmoid().mul(&g[2].tanh()).unwrap()).unwrap();
            h = g[3].sigmoid().mul(&c.tanh()).unwrap();
            for (all, now) in [(&states, &h), (&cells, &c)] {
                for (a, b) in all.narrow(1, t, 1).unwrap().data().iter().zip(now.data()) {
                    assert!((a - b).abs() < 1e-5, "{a} {b}");
                }
            }
        }
        check_gradients(&[x.clone(), h0, c0], &layer.params(), 1e-2, |x| {
            let (h, c) = layer.forward(&x[0], Some((&x[1], &x[2])))?;
            h.add(&c.mul_scalar(0.5))
        })
        .unwrap();
        check_gradients(&[x], &layer.params(), 1e-2, |x| Ok(layer.forward(&x[0], None)?.0)).unwrap();
    }

    #[test]
    fn errors_name_the_axes() {
        let layer = Gru::new(&Init::new(1), 3, 5);
        let message = |r: Result<Tensor>| r.unwrap_err().to_string();
        assert!(message(layer.forward(&normal(&[4, 3], 1), None)).contains("[batch, time, d_in]"));
        let x = normal(&[2, 4, 3], 1);
        assert!(message(layer.forward(&x, Some(&normal(&[2, 4], 1)))).contains("[batch, h] = [2, 5]"));
        assert!(message(layer.forward_with_resets(&x, None, &[false])).contains("1 resets"));
        let both = Gru::bidirectional(&Init::new(1), 3, 5);
        assert!(message(both.forward(&x, Some(&normal(&[2, 5], 1)))).contains("[batch, 2 h] = [2, 10]"));
        assert!(message(both.step(&normal(&[2, 3], 1), &normal(&[2, 5], 1))).contains("no single step"));
    }
}
