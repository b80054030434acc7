//! Training: optimisers, schedules, averages of weights, checkpoints, and the loop that ties them together.

mod checkpoint;
mod ema;
mod optim;
mod run;
mod schedule;

pub use checkpoint::{Checkpoint, config_hash};
pub use ema::Ema;
pub use optim::{Adam, AdamConfig, Muon, MuonConfig, Optimiser, Sgd, SgdConfig};
pub use run::{Progress, Saving, Summary, Training, train};
pub use schedule::Schedule;
