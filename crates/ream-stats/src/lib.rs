//! Intervals, tests, rank correlations and regression with standard errors.

pub mod covariance;
pub mod error;
pub mod glm;
mod matrix;
mod qr;
mod sum;

pub use covariance::Covariance;
pub use error::{FitError, StatsError};
pub use matrix::Matrix;
