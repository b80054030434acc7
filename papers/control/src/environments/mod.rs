//! Environments that several papers of the family share. A paper names an environment; what it is stands here.

pub mod average_reward;
