//! What every workload shares.

use ream_nn::training::{Adam, AdamConfig, Optimiser};
use ream_nn::{Param, Tensor};

use crate::data::BATCHES;

/// Anything that stops a worker.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// How a workload is made.
pub(crate) type Make = fn() -> Result<Box<dyn Workload>, Failure>;

/// What one step costs and gives.
pub(crate) struct Cost {
    /// Two for a multiplication with its addition; backward counts twice forward.
    pub(crate) flop: u64,
    pub(crate) parameters: usize,
    /// How many tokens, images or transitions a step takes.
    pub(crate) items: usize,
    pub(crate) item: &'static str,
}

/// A piece of work that is repeated.
pub(crate) trait Workload {
    fn cost(&self) -> Cost;
    /// One step; gives the loss.
    fn step(&mut self) -> Result<f32, Failure>;
}

/// The loss of one batch.
pub(crate) type Loss = Box<dyn FnMut(usize) -> ream_nn::Result<Tensor>>;

/// Forward, loss, backward, optimiser.
pub(crate) struct Training {
    cost: Cost,
    optimiser: Adam,
    loss: Loss,
    taken: usize,
}

impl Training {
    pub(crate) fn new(params: &[Param], config: AdamConfig, mut cost: Cost, loss: Loss) -> Self {
        cost.parameters = params.iter().map(Param::len).sum();
        Self { cost, optimiser: Adam::new(params, config), loss, taken: 0 }
    }
}

impl Workload for Training {
    fn cost(&self) -> Cost {
        Cost { ..self.cost }
    }

    fn step(&mut self) -> Result<f32, Failure> {
        let loss = (self.loss)(self.taken % BATCHES)?;
        let gradients = loss.backward()?;
        self.optimiser.step(&gradients, 1.0);
        self.taken += 1;
        Ok(loss.item()?)
    }
}

/// AdamW as in `benches/torch/workload.py`: only matrices and kernels decay.
pub(crate) fn adamw(learning_rate: f32, weight_decay: f32) -> AdamConfig {
    AdamConfig { learning_rate, weight_decay, beta2: 0.95, ..AdamConfig::default() }
}
