//! Intervals, tests, rank correlations and regression with standard errors
