//! Selective state spaces: the Mamba layer (Gu & Dao, 2023, arXiv 2312.00752).
//!
//! `[x, z] = W_in u`, `x = silu(conv(x))`, `[r, B, C] = W_x x`, `delta = softplus(W_dt r + b_dt)`, `A = -exp(A_log)`,
//! `y = scan(x, delta, A, B, C, D, z)` (see [`crate::ops::SelectiveScan`]), and `W_out y`.
//!
//! Beginnings as in the authors' code: `A[e, n] = -(n + 1)` (S4D-real), `D = 1`, `W_dt` uniform within `r^-1/2`, and `b_dt` such
//! that `softplus(b_dt)` is log-uniform on `[0.001, 0.1]`.
//!
//! For pictures a sequence can be scanned in several orders (Zhu et al., 2024, arXiv 2401.09417; Liu et al., 2024,
//! arXiv 2401.10166): each direction has its own convolution and scan, the results are put back in place and added, and
//! one gate is applied to the sum.

use serde::{Deserialize, Serialize};

use crate::autograd::no_grad;
use crate::error::{Result, config, shape};
use crate::layers::Linear;
use crate::ops::{self, SelectiveScan};
use crate::param::{Init, Module, Param};
use crate::tensor::Tensor;

/// What a [`Mamba`] is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MambaConfig {
    /// Width of the layer's input and output.
    pub d: usize,
    /// Channels of the scan are `expand d`.
    pub expand: usize,
    /// States of a channel.
    pub states: usize,
    /// Width of the convolution.
    pub conv: usize,
    /// Rank of the step sizes; `d / 16`, rounded up, when 0.
    pub rank: usize,
    /// Orders in which the sequence is scanned.
    pub directions: usize,
}

impl Default for MambaConfig {
    fn default() -> Self {
        Self { d: 0, expand: 2, states: 16, conv: 4, rank: 0, directions: 1 }
    }
}

impl MambaConfig {
    /// The usual sizes for width `d`.
    #[must_use]
    pub fn new(d: usize) -> Self {
        Self { d, ..Self::default() }
    }

    fn check(&self) -> Result<()> {
        let sizes = [
            ("d", self.d),
            ("expand", self.expand),
            ("states", self.states),
            ("conv", self.conv),
            ("directions", self.directions),
        ];
        sizes.iter().try_for_each(|(key, n)| if *n == 0 { config(key, "at least 1", n) } else { Ok(()) })
    }

    fn channels(&self) -> usize {
        self.expand * self.d
    }

    fn rank(&self) -> usize {
        if self.rank == 0 { self.d.div_ceil(16) } else { self.rank }
    }
}

/// Convolution and scan along one order of the sequence.
#[derive(Clone, Debug)]
struct Direction {
    /// `[channels, conv]`.
    conv: Param,
    /// `[channels]`.
    conv_bias: Param,
    /// `channels` to `rank + 2 states`.
    x: Linear,
    /// `rank` to `channels`.
    dt: Linear,
    /// `[channels, states]`.
    a_log: Param,
    /// `[channels]`.
    d: Param,
}

impl Direction {
    fn new(init: &Init, make: &MambaConfig) -> Result<Self> {
        let (channels, states, rank) = (make.channels(), make.states, make.rank());
        let limit = 1.0 / (make.conv as f32).sqrt();
        let rates: Vec<f32> = (0..channels * states).map(|i| libm::logf((i % states + 1) as f32)).collect();
        let dt = init.at("dt");
        let mut rng = dt.stream("bias").at(0);
        let steps: Vec<f32> =
            (0..channels).map(|_| dt_bias(rng.between(libm::log(0.001), libm::log(0.1)))).collect();
        Ok(Self {
            conv: init.uniform("conv", &[channels, make.conv], limit),
            conv_bias: init.uniform("conv_bias", &[channels], limit),
            x: Linear::new(&init.at("x"), channels, rank + 2 * states, false),
            dt: Linear {
                weight: dt.uniform("weight", &[channels, rank], 1.0 / (rank as f32).sqrt()),
                bias: Some(dt.values("bias", &Tensor::from_vec(steps, &[channels])?)),
            },
            a_log: init.values("a_log", &Tensor::from_vec(rates, &[channels, states])?),
            d: init.constant("d", &[channels], 1.0),
        })
    }

    /// Everything after the convolution: `x` `[batch, time, channels]`; gives the scan to `run`.
    fn scan(
        &self,
        x: &Tensor,
        z: Option<&Tensor>,
        run: impl FnOnce(SelectiveScan<'_>) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let (rank, states) = (self.dt.weight.tensor().last(), self.a_log.tensor().last());
        let parts = self.x.forward(x)?.split(2, &[rank, states, states])?;
        let delta = self.dt.forward(&parts[0])?.softplus();
        let (a, d) = (self.a_log.tensor().exp().neg(), self.d.tensor());
        run(SelectiveScan { u: x, delta: &delta, a: &a, b: &parts[1], c: &parts[2], d: &d, z })
    }

    fn convolve(&self, x: &Tensor) -> Result<Tensor> {
        ops::causal_conv_silu(x, &self.conv.tensor(), &self.conv_bias.tensor())
    }

    fn forward(&self, x: &Tensor, z: Option<&Tensor>) -> Result<Tensor> {
        self.scan(&self.convolve(x)?, z, |scan| scan.run())
    }
}

/// The bias whose softplus is `e^ln_dt`, at least 1e-4.
fn dt_bias(ln_dt: f64) -> f32 {
    let dt = libm::exp(ln_dt).max(1e-4);
    (dt + libm::log(-libm::expm1(-dt))) as f32
}

impl Module for Direction {
    fn params(&self) -> Vec<Param> {
        let mut all = vec![self.conv.clone(), self.conv_bias.clone()];
        all.extend(self.x.params());
        all.extend(self.dt.params());
        all.extend([self.a_log.clone(), self.d.clone()]);
        all
    }
}

/// A Mamba layer, `[batch, time, d]` to `[batch, time, d]`.
#[derive(Clone, Debug)]
pub struct Mamba {
    /// `d` to `2 channels`: input of the scan and gate.
    input: Linear,
    directions: Vec<Direction>,
    /// `channels` to `d`.
    output: Linear,
    make: MambaConfig,
}

/// What a [`Mamba`] remembers between two calls of [`Mamba::extend`].
#[derive(Clone, Debug)]
pub struct MambaState {
    /// The last inputs of the convolution, `[batch, conv - 1, channels]`.
    conv: Tensor,
    /// `[batch, channels, states]`.
    scan: Vec<f32>,
}

impl MambaState {
    /// Bytes held, whatever the number of steps.
    #[must_use]
    pub fn bytes(&self) -> usize {
        4 * (self.conv.len() + self.scan.len())
    }
}

impl Mamba {
    /// A layer of this make.
    ///
    /// # Errors
    /// When a size is zero.
    pub fn new(init: &Init, make: &MambaConfig) -> Result<Self> {
        make.check()?;
        let directions = (0..make.directions).map(|i| Direction::new(&init.at("scan").at(i), make));
        Ok(Self {
            input: Linear::new(&init.at("input"), make.d, 2 * make.channels(), false),
            directions: directions.collect::<Result<_>>()?,
            output: Linear::new(&init.at("output"), make.channels(), make.d, false),
            make: *make,
        })
    }

    /// The input of the scan and the gate, `[batch, time, channels]` each.
    fn split(&self, u: &Tensor) -> Result<(Tensor, Tensor)> {
        if u.rank() != 3 || u.last() != self.make.d {
            return shape(
                "Mamba",
                format!("the input {:?} must be [batch, time, d] with d = {}", u.shape(), self.make.d),
            );
        }
        let both = self.input.forward(u)?;
        let channels = self.make.channels();
        Ok((both.narrow(2, 0, channels)?, both.narrow(2, channels, channels)?))
    }

    /// Scans from the first step to the last (one direction): `[batch, time, d]` to `[batch, time, d]`.
    ///
    /// # Errors
    /// When the shape does not fit, or there are several directions.
    pub fn forward(&self, u: &Tensor) -> Result<Tensor> {
        let (x, z) = self.split(u)?;
        self.output.forward(&self.only()?.forward(&x, Some(&z))?)
    }

    /// Scans the sequence in one order for each direction; `orders[i][k]` is the position that direction `i` meets as its `k`th.
    ///
    /// # Errors
    /// When the shape does not fit, or there is not one order for each direction, or one is no permutation of the positions.
    pub fn forward_orders(&self, u: &Tensor, orders: &[Vec<usize>]) -> Result<Tensor> {
        let (x, z) = self.split(u)?;
        if orders.len() != self.directions.len() {
            return shape(
                "Mamba",
                format!("{} orders for {} directions", orders.len(), self.directions.len()),
            );
        }
        let mut sum: Option<Tensor> = None;
        for (direction, order) in self.directions.iter().zip(orders) {
            let back = inverse(order, u.shape()[1])?;
            let y = direction.forward(&x.index_select(1, order)?, None)?.index_select(1, &back)?;
            sum = Some(match sum {
                Some(sum) => sum.add(&y)?,
                None => y,
            });
        }
        let Some(sum) = sum else { return shape("Mamba", "there is no direction") };
        self.output.forward(&sum.mul(&z.silu())?)
    }

    /// An empty memory for `batch` sequences.
    ///
    /// # Errors
    /// When there are several directions: only one order can be continued.
    pub fn state(&self, batch: usize) -> Result<MambaState> {
        self.only()?;
        let (make, channels) = (&self.make, self.make.channels());
        Ok(MambaState {
            conv: Tensor::zeros(&[batch, make.conv - 1, channels]),
            scan: vec![0.0; batch * channels * make.states],
        })
    }

    /// Continues sequences by one step or many, `[batch, time, d]` to `[batch, time, d]`, without a gradient.
    ///
    /// # Errors
    /// When the shape does not fit the memory.
    pub fn extend(&self, u: &Tensor, state: &mut MambaState) -> Result<Tensor> {
        no_grad(|| {
            let direction = self.only()?;
            let (x, z) = self.split(u)?;
            let past = self.make.conv - 1;
            let long = ops::concat(&[&state.conv, &x], 1)?;
            let time = u.shape()[1];
            let x = direction.convolve(&long)?.narrow(1, past, time)?;
            let y = direction.scan(&x, Some(&z), |scan| scan.extend(&mut state.scan))?;
            state.conv = long.narrow(1, time, past)?;
            self.output.forward(&y)
        })
    }

    fn only(&self) -> Result<&Direction> {
        match &self.directions[..] {
            [one] => Ok(one),
            all => shape("Mamba", format!("{} directions need an order each: forward_orders", all.len())),
        }
    }
}

impl Module for Mamba {
    fn params(&self) -> Vec<Param> {
        [self.input.params(), self.directions.params(), self.output.params()].concat()
    }
}

/// Where each of `len` positions comes in an order.
fn inverse(order: &[usize], len: usize) -> Result<Vec<usize>> {
    let mut back = vec![usize::MAX; len];
    for (k, &position) in order.iter().enumerate() {
        match back.get_mut(position) {
            Some(place) if *place == usize::MAX => *place = k,
            _ => {
                return shape(
                    "Mamba",
                    format!("position {position} at place {k} is twice there or not below {len}"),
                );
            }
        }
    }
    if order.len() != len {
        return shape("Mamba", format!("an order of {} positions for {len} steps", order.len()));
    }
    Ok(back)
}

/// The four orders of a grid of `height` x `width` positions: by rows, by rows backwards, by columns, by columns backwards.
#[must_use]
pub fn grid_orders(height: usize, width: usize) -> [Vec<usize>; 4] {
    let rows: Vec<usize> = (0..height * width).collect();
    let columns: Vec<usize> = (0..width).flat_map(|x| (0..height).map(move |y| y * width + x)).collect();
    let reversed = |order: &[usize]| order.iter().rev().copied().collect();
    [rows.clone(), reversed(&rows), columns.clone(), reversed(&columns)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check_gradients;
    use ream_rand::Stream;

    fn normal(shape: &[usize], seed: u64) -> Tensor {
        Tensor::randn(shape, 0.7, &mut Stream::new(seed, "ssm").at(0))
    }

    fn small(directions: usize) -> Mamba {
        let make = MambaConfig { d: 6, states: 3, rank: 2, directions, ..MambaConfig::default() };
        let layer = Mamba::new(&Init::new(1), &make).unwrap();
        // Larger steps than at the beginning, so that the states matter in a short test.
        for direction in &layer.directions {
            direction.dt.bias.as_ref().unwrap().update(|b| b.iter_mut().for_each(|b| *b += 3.0));
        }
        layer
    }

    #[test]
    fn every_input_and_parameter_has_its_gradient() {
        let layer = small(1);
        check_gradients(&[normal(&[2, 7, 6], 1)], &layer.params(), 1e-2, |x| layer.forward(&x[0])).unwrap();
        let layer = small(4);
        let orders = grid_orders(2, 3);
        check_gradients(&[normal(&[2, 6, 6], 2)], &layer.params(), 1e-2, |x| {
            layer.forward_orders(&x[0], &orders)
        })
        .unwrap();
    }

    #[test]
    fn one_step_at_a_time_equals_one_pass() {
        let layer = small(1);
        let u = normal(&[2, 11, 6], 3);
        let whole = layer.forward(&u).unwrap();
        let mut state = layer.state(2).unwrap();
        let mut parts = Vec::new();
        for (from, len) in [(0, 5), (5, 1), (6, 1), (7, 4)] {
            parts.push(layer.extend(&u.narrow(1, from, len).unwrap(), &mut state).unwrap());
        }
        let joined = ops::concat(&parts.iter().collect::<Vec<_>>(), 1).unwrap();
        for (a, b) in joined.data().iter().zip(whole.data()) {
            assert!((a - b).abs() < 1e-4, "{a} {b}");
        }
        assert_eq!(state.bytes(), 4 * (2 * 3 * 12 + 2 * 12 * 3));
    }

    #[test]
    fn the_past_does_not_see_the_future_and_orders_are_what_they_say() {
        let layer = small(1);
        let u = normal(&[1, 6, 6], 4);
        let changed = ops::concat(&[&u.narrow(1, 0, 4).unwrap(), &normal(&[1, 2, 6], 5)], 1).unwrap();
        let (a, b) = (layer.forward(&u).unwrap(), layer.forward(&changed).unwrap());
        assert_eq!(a.data()[..24], b.data()[..24]);
        assert!(a.data()[24..] != b.data()[24..]);
        // Scanning in an order equals scanning the reordered sequence and putting it back.
        let order = grid_orders(2, 3)[2].clone();
        assert_eq!(order, [0, 3, 1, 4, 2, 5]);
        let direct = layer.forward(&u.index_select(1, &order).unwrap()).unwrap();
        let got =
            layer.forward_orders(&u, std::slice::from_ref(&order)).unwrap().index_select(1, &order).unwrap();
        for (a, b) in direct.data().iter().zip(got.data()) {
            assert!((a - b).abs() < 1e-5);
        }
    }

    #[test]
    fn begins_as_the_authors_layer_does() {
        let layer = Mamba::new(&Init::new(2), &MambaConfig::new(32)).unwrap();
        let direction = &layer.directions[0];
        assert_eq!(direction.dt.weight.shape(), [64, 2]);
        let rates = direction.a_log.tensor().exp();
        assert!((0..16).all(|n| (rates.data()[16 + n] - (n + 1) as f32).abs() < 1e-4));
        let steps = direction.dt.bias.as_ref().unwrap().tensor().softplus();
        assert!(steps.data().iter().all(|dt| (0.000_99..0.101).contains(dt)), "{steps:?}");
    }

    #[test]
    fn errors_say_what_would_be_right() {
        let layer = small(2);
        let u = normal(&[1, 6, 6], 1);
        let message = |r: Result<Tensor>| r.unwrap_err().to_string();
        assert!(message(layer.forward(&u)).contains("forward_orders"));
        let twice = vec![vec![0, 1, 2, 3, 4, 4]; 2];
        assert!(message(layer.forward_orders(&u, &twice)).contains("position 4 at place 5"));
        assert!(message(layer.forward_orders(&u, &twice[..1])).contains("1 orders for 2 directions"));
        assert!(message(small(1).forward(&normal(&[6, 6], 1))).contains("[batch, time, d] with d = 6"));
        assert!(
            Mamba::new(&Init::new(1), &MambaConfig::new(0)).unwrap_err().to_string().contains("d must be")
        );
    }
}
