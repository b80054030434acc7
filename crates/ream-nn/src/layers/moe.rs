//! Mixture of experts (Shazeer et al., 2017, arXiv 1701.06538; Fedus, Zoph & Shazeer, 2022, arXiv 2101.03961).
//!
//! A router scores every token, `s = W_r x`; the `k` experts of the highest scores work on it:
//!
//! `y = sum_{e in top-k} g_e expert_e(x)` (+ a shared expert that sees every token)
//!
//! with gates `g` the softmax over the chosen scores ([`Gates::Chosen`], as in Mixtral) or the chosen entries of the softmax
//! over all ([`Gates::All`], as in Switch: with one expert a token the only form whose router learns from the task).
//!
//! No token is dropped: tokens are grouped by expert, every expert is one product over its group, and results go back
//! to their places. Ties go to the lower expert.
//!
//! Two losses keep the router in shape, both returned to be weighted by the caller:
//! balance `E sum_e f_e P_e`, with `f_e` the share of choices that went to `e` and `P_e` the mean of its softmax probability
//! (1 when perfectly even), and the z-loss `mean (ln sum_e exp s_e)^2` (Zoph et al., 2022, arXiv 2202.08906).

use serde::{Deserialize, Serialize};

use crate::error::{Result, config, shape};
use crate::layers::{Linear, Mlp};
use crate::ops;
use crate::param::{Init, Module, Param};
use crate::tensor::Tensor;

/// How chosen scores become weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gates {
    /// Softmax over the chosen scores: the weights of a token add up to 1.
    #[default]
    Chosen,
    /// The chosen entries of the softmax over all scores.
    All,
}

/// What a [`Moe`] is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoeConfig {
    /// Width of input and output.
    pub d: usize,
    /// Hidden width of an expert.
    pub hidden: usize,
    /// Number of experts.
    pub experts: usize,
    /// Experts of a token.
    pub top_k: usize,
    /// How chosen scores become weights.
    #[serde(default)]
    pub gates: Gates,
    /// Hidden width of the expert that sees every token; none when 0.
    #[serde(default)]
    pub shared: usize,
}

/// A routed perceptron.
#[derive(Clone, Debug)]
pub struct Moe {
    /// `d` to `experts`, without bias.
    pub router: Linear,
    /// The experts.
    pub experts: Vec<Mlp>,
    /// Sees every token.
    pub shared: Option<Mlp>,
    make: MoeConfig,
}

/// What a [`Moe`] gives.
#[derive(Clone, Debug)]
pub struct Routed {
    /// The result, shape of the input.
    pub y: Tensor,
    /// Load-balancing loss, shape `[]`; 1 when even.
    pub balance: Tensor,
    /// Router z-loss, shape `[]`.
    pub z: Tensor,
    /// The experts of every token, best first, `[tokens, k]`.
    pub choices: Vec<usize>,
    /// How many choices fell on each expert.
    pub load: Vec<usize>,
}

impl Routed {
    /// The largest load over the mean load: 1 when even, the number of experts when one takes all.
    #[must_use]
    pub fn imbalance(&self) -> f64 {
        let total: usize = self.load.iter().sum();
        let largest = self.load.iter().copied().max().unwrap_or(0);
        if total == 0 { 1.0 } else { largest as f64 * self.load.len() as f64 / total as f64 }
    }
}

impl Moe {
    /// A layer of this make. The router begins normal with deviation `0.1 / sqrt(d)`: nearly even, as Switch advises.
    ///
    /// # Errors
    /// When a size is zero, or `top_k` is more than there are experts.
    pub fn new(init: &Init, make: &MoeConfig) -> Result<Self> {
        for (key, n) in [("d", make.d), ("hidden", make.hidden), ("experts", make.experts)] {
            if n == 0 {
                return config(key, "at least 1", n);
            }
        }
        if make.top_k == 0 || make.top_k > make.experts {
            return config("top_k", format!("between 1 and experts = {}", make.experts), make.top_k);
        }
        let experts = init.at("experts");
        let deviation = 0.1 / (make.d as f32).sqrt();
        Ok(Self {
            router: Linear::with_deviation(&init.at("router"), make.d, make.experts, false, deviation),
            experts: (0..make.experts).map(|e| Mlp::new(&experts.at(e), make.d, make.hidden, true)).collect(),
            shared: (make.shared > 0).then(|| Mlp::new(&init.at("shared"), make.d, make.shared, true)),
            make: *make,
        })
    }

    /// Routes by the router: `[.., d]` to `[.., d]`.
    ///
    /// # Errors
    /// When the last axis is not `d`.
    pub fn forward(&self, x: &Tensor) -> Result<Routed> {
        let k = self.make.top_k;
        let tokens = self.tokens(x)?;
        let scores = self.router.forward(&tokens)?;
        let choices: Vec<usize> =
            scores.data().chunks_exact(self.make.experts).flat_map(|row| top(row, k)).collect();
        let probabilities = scores.softmax();
        let gates = match self.make.gates {
            Gates::Chosen => ops::pick(&scores, &choices, k)?.softmax(),
            Gates::All => ops::pick(&probabilities, &choices, k)?,
        };
        let load = self.load(&choices);
        let total = choices.len().max(1) as f32;
        let shares: Vec<f32> = load.iter().map(|n| *n as f32 / total * self.make.experts as f32).collect();
        let shares = Tensor::from_vec(shares, &[1, self.make.experts])?;
        let y = self.dispatch(&tokens, &choices, &gates)?;
        Ok(Routed {
            y: self.finish(x, &tokens, &y)?,
            balance: probabilities.mean_axis(0)?.mul(&shares)?.sum(),
            z: scores.log_sum_exp().square().mean(),
            choices,
            load,
        })
    }

    /// Routes by the caller's choice, one expert a token with weight 1, for instance by modality. The router is not used.
    ///
    /// # Errors
    /// When the last axis is not `d`, or there is not one existing expert for each token.
    pub fn forward_routed(&self, x: &Tensor, expert_of: &[usize]) -> Result<Tensor> {
        let tokens = self.tokens(x)?;
        let n = tokens.shape()[0];
        if expert_of.len() != n || expert_of.iter().any(|e| *e >= self.make.experts) {
            return shape(
                "Moe",
                format!("{} choices below {} are needed for {n} tokens", expert_of.len(), self.make.experts),
            );
        }
        let y = self.dispatch(&tokens, expert_of, &Tensor::full(&[n, 1], 1.0))?;
        self.finish(x, &tokens, &y)
    }

    /// Multiply-adds for one token, of all that work on it: for comparisons at equal active compute.
    #[must_use]
    pub fn active_multiply_adds(&self) -> usize {
        let MoeConfig { d, hidden, experts, top_k, shared, .. } = self.make;
        d * experts + 2 * d * (top_k * hidden + shared)
    }

    fn tokens(&self, x: &Tensor) -> Result<Tensor> {
        if x.rank() == 0 || x.last() != self.make.d {
            return shape("Moe", format!("the last axis of {:?} must be d = {}", x.shape(), self.make.d));
        }
        x.reshape(&[x.rows(), self.make.d])
    }

    fn load(&self, choices: &[usize]) -> Vec<usize> {
        let mut load = vec![0; self.make.experts];
        choices.iter().for_each(|e| load[*e] += 1);
        load
    }

    /// Each expert on its tokens (in their order), and back: `choices` is `[tokens, k]`, `gates` likewise.
    fn dispatch(&self, tokens: &Tensor, choices: &[usize], gates: &Tensor) -> Result<Tensor> {
        let k = gates.last();
        let mut groups: Vec<Vec<usize>> = vec![Vec::new(); self.make.experts];
        choices.iter().enumerate().for_each(|(i, e)| groups[*e].push(i));
        let mut slots = vec![0; choices.len()];
        groups.iter().flatten().enumerate().for_each(|(slot, i)| slots[*i] = slot);
        let mut parts = Vec::new();
        for (expert, group) in self.experts.iter().zip(&groups).filter(|(_, group)| !group.is_empty()) {
            let rows: Vec<usize> = group.iter().map(|i| i / k).collect();
            parts.push(expert.forward(&tokens.index_select(0, &rows)?)?);
        }
        if parts.is_empty() {
            return Ok(tokens.clone());
        }
        ops::combine(&ops::concat(&parts.iter().collect::<Vec<_>>(), 0)?, gates, &slots)
    }

    fn finish(&self, x: &Tensor, tokens: &Tensor, y: &Tensor) -> Result<Tensor> {
        match &self.shared {
            Some(shared) => y.add(&shared.forward(tokens)?)?.reshape(x.shape()),
            None => y.reshape(x.shape()),
        }
    }
}

/// Positions of the `k` largest, best first; the lower one at a tie.
fn top(row: &[f32], k: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..row.len()).collect();
    order.sort_by(|a, b| row[*b].total_cmp(&row[*a]).then(a.cmp(b)));
    order.truncate(k);
    order
}

impl Module for Moe {
    fn params(&self) -> Vec<Param> {
        [self.router.params(), self.experts.params(), self.shared.params()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check_gradients;
    use crate::threads::set_threads;
    use ream_rand::Stream;

    fn normal(shape: &[usize], seed: u64) -> Tensor {
        Tensor::randn(shape, 0.7, &mut Stream::new(seed, "moe").at(0))
    }

    fn layer(top_k: usize, gates: Gates, shared: usize) -> Moe {
        let make = MoeConfig { d: 4, hidden: 6, experts: 3, top_k, gates, shared };
        let layer = Moe::new(&Init::new(1), &make).unwrap();
        // A decided router: differences of scores that a step of the gradient check cannot turn round.
        layer.router.weight.set(normal(&[3, 4], 9).mul_scalar(4.0).data()).unwrap();
        layer
    }

    /// Tokens whose choices are clear.
    fn clear_tokens(layer: &Moe) -> Tensor {
        let k = layer.make.top_k;
        let clear = |x: &Tensor| {
            let scores = layer.router.forward(x).unwrap();
            scores.data().chunks_exact(3).all(|row| {
                let mut sorted = row.to_vec();
                sorted.sort_by(|a, b| b.total_cmp(a));
                k == 3 || sorted[k - 1] - sorted[k] > 0.8
            })
        };
        (0..1000).map(|seed| normal(&[2, 3, 4], seed)).find(clear).unwrap()
    }

    #[test]
    fn equals_every_expert_on_every_token() {
        for (k, gates, shared) in
            [(1, Gates::All, 0), (2, Gates::Chosen, 5), (3, Gates::All, 0), (2, Gates::All, 3)]
        {
            let layer = layer(k, gates, shared);
            let x = normal(&[17, 4], 5);
            let got = layer.forward(&x).unwrap();
            let scores = layer.router.forward(&x).unwrap();
            let mut want = Tensor::zeros(&[17, 4]);
            let mut weights = vec![0.0; 17 * 3];
            for (t, row) in scores.data().chunks_exact(3).enumerate() {
                let chosen = &got.choices[t * k..(t + 1) * k];
                let over: Vec<usize> = if gates == Gates::All { vec![0, 1, 2] } else { chosen.to_vec() };
                let total: f64 = over.iter().map(|e| libm::exp(f64::from(row[*e]))).sum();
                chosen
                    .iter()
                    .for_each(|e| weights[t * 3 + e] = (libm::exp(f64::from(row[*e])) / total) as f32);
                assert!((0..3).all(|e| chosen.contains(&e) || row[e] <= row[chosen[k - 1]]));
            }
            let weights = Tensor::from_vec(weights, &[17, 3]).unwrap();
            for (e, expert) in layer.experts.iter().enumerate() {
                let part = expert.forward(&x).unwrap().mul(&weights.narrow(1, e, 1).unwrap()).unwrap();
                want = want.add(&part).unwrap();
            }
            if let Some(shared) = &layer.shared {
                want = want.add(&shared.forward(&x).unwrap()).unwrap();
            }
            for (a, b) in got.y.data().iter().zip(want.data()) {
                assert!((a - b).abs() < 1e-5, "{a} {b}");
            }
            assert_eq!(got.load.iter().sum::<usize>(), 17 * k);
        }
    }

    #[test]
    fn gradients_of_result_and_losses_for_input_and_every_parameter() {
        for (k, gates, shared) in [(1, Gates::All, 0), (2, Gates::Chosen, 5), (3, Gates::All, 3)] {
            let layer = layer(k, gates, shared);
            let x = clear_tokens(&layer);
            let load = layer.forward(&x).unwrap().load;
            let params: Vec<Param> = layer
                .params()
                .into_iter()
                .filter(|p| {
                    load.iter()
                        .enumerate()
                        .all(|(e, n)| *n > 0 || !p.name().starts_with(&format!("experts.{e}")))
                })
                .collect();
            check_gradients(&[x], &params, 1e-2, |x| {
                let out = layer.forward(&x[0])?;
                out.y.add(&out.balance)?.add(&out.z.mul_scalar(0.1))
            })
            .unwrap_or_else(|e| panic!("{k} {gates:?}: {e}"));
        }
    }

    #[test]
    fn bits_do_not_depend_on_threads() {
        let make = MoeConfig { d: 32, hidden: 64, experts: 4, top_k: 2, gates: Gates::Chosen, shared: 16 };
        let layer = Moe::new(&Init::new(3), &make).unwrap();
        let x = normal(&[700, 32], 1);
        let run = |threads| {
            set_threads(threads);
            let out = layer.forward(&x).unwrap();
            let loss = out.y.square().sum().add(&out.balance).unwrap().add(&out.z).unwrap();
            let grads = loss.backward().unwrap();
            let all: Vec<_> = layer.params().iter().map(|p| grads.get(p).unwrap().to_vec()).collect();
            (out.y.to_vec(), out.choices, all)
        };
        assert!(run(1) == run(3));
    }

    #[test]
    fn losses_are_what_they_should_be_at_the_extremes() {
        let layer = layer(1, Gates::All, 0);
        layer.router.weight.set(&[0.0; 12]).unwrap();
        let even = layer.forward(&normal(&[30, 4], 1)).unwrap();
        // Even probabilities, and every tie to expert 0.
        assert!((even.balance.item().unwrap() - 1.0).abs() < 1e-6 && even.load == [30, 0, 0]);
        assert!((even.z.item().unwrap() - libm::logf(3.0) * libm::logf(3.0)).abs() < 1e-5);
        assert!((even.imbalance() - 3.0).abs() < 1e-12);
        layer.router.weight.set(&[9.0, 9.0, 9.0, 9.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]).unwrap();
        let one = layer.forward(&Tensor::full(&[10, 4], 1.0)).unwrap();
        assert!((one.balance.item().unwrap() - 3.0).abs() < 1e-4);
    }

    #[test]
    fn hard_routing_runs_the_named_expert_and_errors_say_what_is_right() {
        let layer = layer(1, Gates::All, 0);
        let x = normal(&[5, 4], 1);
        let y = layer.forward_routed(&x, &[2, 0, 2, 1, 0]).unwrap();
        for (t, e) in [2, 0, 2, 1, 0].into_iter().enumerate() {
            let want = layer.experts[e].forward(&x.narrow(0, t, 1).unwrap()).unwrap();
            for (a, b) in y.narrow(0, t, 1).unwrap().data().iter().zip(want.data()) {
                assert!((a - b).abs() < 1e-6);
            }
        }
        assert!(layer.forward_routed(&x, &[3; 5]).unwrap_err().to_string().contains("5 choices below 3"));
        assert!(layer.forward(&normal(&[5, 3], 1)).unwrap_err().to_string().contains("d = 4"));
        assert_eq!(layer.active_multiply_adds(), 4 * 3 + 2 * 4 * 6);
        let make = MoeConfig { top_k: 4, ..layer.make };
        assert!(
            Moe::new(&Init::new(1), &make).unwrap_err().to_string().contains("between 1 and experts = 3")
        );
    }
}
