//! Set-up, checks and benchmarks.

fn main() {}
