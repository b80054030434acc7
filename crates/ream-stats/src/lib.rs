//! Intervals, tests, rank correlations and regression with standard errors.

pub mod covariance;
pub mod descriptive;
pub mod distribution;
pub mod error;
pub mod glm;
pub mod interval;
pub mod linear;
mod matrix;
mod qr;
mod sum;

pub use covariance::Covariance;
pub use error::{FitError, StatsError};
pub use interval::Estimate;
pub use matrix::Matrix;
