//! Second operands of many products, packed once: the weights of a network that block after block of rows passes through.

use super::{Kernels, Mat, Panels, Plan, Precision, Start, precision};
use crate::buffer::Buffer;
use crate::threads::{self, Shared};

/// Matrices in the order in which the micro-kernels read them, in the precision of the thread that packed them.
pub(crate) struct Packed<'a> {
    /// Each with where its panels begin.
    operands: Vec<(Mat<'a>, usize)>,
    panels: Buffer,
    half: bool,
}

impl<'a> Packed<'a> {
    /// Packs these matrices in one parallel loop.
    pub(crate) fn new(matrices: impl IntoIterator<Item = Mat<'a>>) -> Self {
        let half = precision() == Precision::Bf16;
        let kernels = Kernels::best(half);
        let (mut operands, mut jobs, mut len) = (Vec::new(), Vec::new(), 0);
        for (which, b) in matrices.into_iter().enumerate() {
            let plan = Plan::of_b(b, half);
            jobs.extend((0..plan.packing_jobs(kernels)).map(|job| (which, job)));
            operands.push((b, len));
            len += plan.packed_b_len(kernels);
        }
        let mut panels = Buffer::scratch(len);
        let shared = Shared::new(&mut panels);
        threads::for_each(jobs.len(), &|i| {
            let (which, job) = jobs[i];
            let (b, start) = operands[which];
            Plan::of_b(b, half).pack_panel(kernels, shared, start, job);
        });
        Self { operands, panels, half }
    }

    /// `C = start + A B` with matrix `which` as B, on the calling thread alone; the bits are those of [`super::gemm`] for an A of
    /// more than [`super::SKINNY`] rows. `c` is `[a.rows, b.columns]`, rows next to each other.
    ///
    /// # Panics
    /// When the shapes do not fit.
    pub(crate) fn product(&self, which: usize, c: &mut [f32], a: Mat<'_>, start: Start<'_>) {
        let (b, offset) = self.operands[which];
        assert_eq!(a.columns, b.rows, "inner dimensions of a product");
        assert_eq!(c.len(), a.rows * b.columns, "C of a product");
        if let Start::Bias(bias) = start {
            assert_eq!(bias.len(), b.columns, "length of the bias of a product");
        }
        let plan =
            Plan { m: a.rows, a, c: Shared::new(c), c_row: b.columns, start, ..Plan::of_b(b, self.half) };
        plan.tiles(Kernels::best(self.half), Panels::Packed(&self.panels[offset..]));
    }
}

impl<'a> Plan<'a> {
    /// What packing needs to know: a product without rows.
    fn of_b(b: Mat<'a>, half: bool) -> Self {
        let a = Mat { data: &[], rows: 0, columns: b.rows, row: b.rows, column: 1 };
        let c = Shared::new(&mut []);
        Plan {
            m: 0,
            n: b.columns,
            k: b.rows,
            a,
            b,
            c,
            c_row: b.columns,
            start: Start::Zero,
            parallel: false,
            half,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{gemm, with_precision};
    use super::*;
    use ream_rand::Stream;

    #[test]
    fn products_with_packed_operands_have_the_bits_of_gemm() {
        let mut rng = Stream::new(1, "packed").at(0);
        let mut normal = |n: usize| -> Vec<f32> { (0..n).map(|_| rng.normal() as f32).collect() };
        for [m, n, k] in
            [[17, 1, 1], [17, 5, 3], [40, 49, 193], [64, 256, 23], [100, 23, 256], [70, 130, 400]]
        {
            let (a, b, bias) = (normal(m * k), normal(k * n), normal(n));
            let a = Mat::new(&a, m, k);
            // Row-major, and the transpose of a weight `[n, k]`.
            let both = [Mat::new(&b, k, n), Mat::new(&b, n, k).t()];
            for half in [Precision::F32, Precision::Bf16] {
                with_precision(half, || {
                    let packed = Packed::new(both);
                    for (which, b) in both.into_iter().enumerate() {
                        for start in [Start::Zero, Start::Keep, Start::Bias(&bias)] {
                            let (mut got, mut want) = (vec![0.5; m * n], vec![0.5; m * n]);
                            packed.product(which, &mut got, a, start);
                            gemm(&mut want, n, a, b, start);
                            assert_eq!(got, want, "{m} {n} {k}");
                        }
                    }
                });
            }
        }
    }
}
