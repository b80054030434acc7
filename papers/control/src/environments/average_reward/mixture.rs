//! A linear mixture of known kernels.

use ream_rand::Stream;

use super::TabularMdp;

const STATES: usize = 10;
const ACTIONS: usize = 3;
/// Weight of the uniform law in every row.
const UNIFORM: f64 = 0.05;

/// `P = sum_i theta_i P_i` with known base kernels `P_i`, unknown weights and known rewards; 10 states, 3 actions.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearMixture {
    /// The process.
    pub mdp: TabularMdp,
    /// `theta`, a point of the simplex.
    pub weights: Vec<f64>,
    /// Base kernels, each `[cells * states]`.
    pub kernels: Vec<Vec<f64>>,
}

impl LinearMixture {
    /// `linmix-d`: rows of base kernels are 0.95 Dirichlet(0.3) + 0.05 uniform, weights Dirichlet(1), rewards uniform. The
    /// draw belongs to the environment and is always the same; smaller mixtures use the first kernels of larger ones.
    #[must_use]
    pub fn new(d: usize) -> Self {
        let stream = Stream::new(0, "linear mixture");
        let mut rng = stream.child(0).at(0);
        let rewards: Vec<f64> = (0..STATES * ACTIONS).map(|_| rng.uniform()).collect();
        let kernels: Vec<Vec<f64>> = (0..d as u64)
            .map(|i| {
                let mut rng = stream.child(1).at(i);
                let row = |_| {
                    let law = dirichlet(&mut rng, &[0.3; STATES]);
                    law.into_iter().map(|p| (1.0 - UNIFORM) * p + UNIFORM / STATES as f64)
                };
                (0..STATES * ACTIONS).flat_map(row).collect()
            })
            .collect();
        let weights = dirichlet(&mut stream.child(2).at(d as u64), &vec![1.0; d]);
        let rows = (0..STATES * ACTIONS)
            .map(|cell| {
                let p = |next: usize| {
                    kernels.iter().zip(&weights).map(|(k, w)| w * k[cell * STATES + next]).sum()
                };
                (0..STATES).map(|next| (next, p(next))).collect()
            })
            .collect();
        Self { mdp: TabularMdp::new(ACTIONS, 0, rows, rewards), weights, kernels }
    }

    /// `x_i(s, a) = sum_s' P_i(s' | s, a) v(s')` for every pair: `[cells * d]`.
    #[must_use]
    pub fn features(&self, v: &[f64]) -> Vec<f64> {
        let (d, cells) = (self.kernels.len(), self.mdp.cells());
        let mut x = vec![0.0; cells * d];
        for (i, kernel) in self.kernels.iter().enumerate() {
            for (cell, row) in kernel.chunks(v.len()).enumerate() {
                x[cell * d + i] = row.iter().zip(v).map(|(p, v)| p * v).sum();
            }
        }
        x
    }
}

/// A draw of the Dirichlet law with these positive parameters.
pub(crate) fn dirichlet(rng: &mut ream_rand::Rng, parameters: &[f64]) -> Vec<f64> {
    loop {
        let draws: Vec<f64> = parameters.iter().map(|&a| rng.gamma(a)).collect();
        let sum: f64 = draws.iter().sum();
        // All gamma variables of small shape may round to zero.
        if sum > 0.0 {
            return draws.into_iter().map(|g| g / sum).collect();
        }
    }
}
