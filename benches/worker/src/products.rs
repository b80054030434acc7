//! The rate that everything else is held against: one product of 2048x2048 matrices.

use ream_nn::gemm::{Mat, Start, gemm};

use crate::data;
use crate::workload::{Cost, Failure, Workload};

const SIDE: usize = 2048;

struct Sgemm {
    a: Vec<f32>,
    b: Vec<f32>,
    out: Vec<f32>,
}

pub(crate) fn sgemm() -> Result<Box<dyn Workload>, Failure> {
    let matrix = |seed| data::uniform(seed, SIDE * SIDE);
    Ok(Box::new(Sgemm { a: matrix(1), b: matrix(2), out: vec![0.0; SIDE * SIDE] }))
}

impl Workload for Sgemm {
    fn cost(&self) -> Cost {
        Cost { flop: 2 * (SIDE as u64).pow(3), parameters: 0, items: 1, item: "step" }
    }

    fn step(&mut self) -> Result<f32, Failure> {
        let (a, b) = (Mat::new(&self.a, SIDE, SIDE), Mat::new(&self.b, SIDE, SIDE));
        gemm(&mut self.out, SIDE, a, b, Start::Zero);
        Ok(self.out[0])
    }
}
