//! tmp
pub mod aggregate;
pub mod baselines;
pub mod divergence;
pub mod dual;
pub mod learner;
pub mod marginal;
pub mod networks;
pub mod phi;
pub mod propensity;
