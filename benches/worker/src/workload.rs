//! What every workload shares.

use ream_nn::gemm::{self, Precision};
use ream_nn::training::{Adam, AdamConfig, Optimiser};
use ream_nn::{Param, Tensor};

/// Anything that stops a worker.
pub(crate) type Failure = Box<dyn std::error::Error>;

/// How a workload is made.
pub(crate) type Make = fn() -> Result<Box<dyn Workload>, Failure>;

/// What one step costs and gives.
#[derive(Clone, Copy)]
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

/// A network with the loss that it is trained on.
pub(crate) trait Model {
    type Batch;
    fn params(&self) -> Vec<Param>;
    fn loss(&self, batch: &Self::Batch) -> ream_nn::Result<Tensor>;
}

/// Forward, loss, backward, optimiser, over batches in turn.
pub(crate) struct Training<M: Model> {
    cost: Cost,
    model: M,
    batches: Vec<M::Batch>,
    optimiser: Adam,
    precision: Precision,
    taken: usize,
}

impl<M: Model> Training<M> {
    /// `cost` without the parameters, which are counted here.
    pub(crate) fn new(model: M, batches: Vec<M::Batch>, config: AdamConfig, cost: Cost) -> Self {
        let params = model.params();
        let parameters = params.iter().filter(|p| !p.is_frozen()).map(Param::len).sum();
        let optimiser = Adam::new(&params, config);
        let precision = Precision::F32;
        Self { cost: Cost { parameters, ..cost }, model, batches, optimiser, precision, taken: 0 }
    }

    /// With matrix products in this precision, forward and backward.
    pub(crate) fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    pub(crate) fn model(&self) -> &M {
        &self.model
    }
}

impl<M: Model> Workload for Training<M> {
    fn cost(&self) -> Cost {
        self.cost
    }

    fn step(&mut self) -> Result<f32, Failure> {
        let batch = &self.batches[self.taken % self.batches.len()];
        let (loss, gradients) = gemm::with_precision(self.precision, || -> ream_nn::Result<_> {
            let loss = self.model.loss(batch)?;
            let gradients = loss.backward()?;
            Ok((loss, gradients))
        })?;
        self.optimiser.step(&gradients, 1.0);
        self.taken += 1;
        Ok(loss.item()?)
    }
}

/// AdamW as in `benches/torch/workload.py`: only matrices and kernels decay.
pub(crate) fn adamw(learning_rate: f32, weight_decay: f32) -> AdamConfig {
    AdamConfig { learning_rate, weight_decay, beta2: 0.95, ..AdamConfig::default() }
}
