//! Sums, means, largest elements.

use crate::buffer::Buffer;
use crate::error::{Result, shape};
use crate::kernels;
use crate::tensor::Tensor;

impl Tensor {
    /// Sum of all elements, shape `[]`.
    #[must_use]
    pub fn sum(&self) -> Self {
        let total = kernels::sum(self.data()) as f32;
        let parent = self.clone();
        Self::custom("sum", &[], vec![total].into(), &[self], move |grad, sink| {
            let mut all = Buffer::scratch(parent.len());
            all.fill(grad[0]);
            sink.add(&parent, all);
            Ok(())
        })
    }

    /// Mean of all elements, shape `[]`.
    #[must_use]
    pub fn mean(&self) -> Self {
        self.sum().mul_scalar(1.0 / self.len().max(1) as f32)
    }

    /// Sum over one axis, which keeps size 1.
    ///
    /// # Errors
    /// When there is no such axis.
    pub fn sum_axis(&self, axis: usize) -> Result<Self> {
        let (outer, size, inner) = self.around("sum_axis", axis)?;
        let mut out = Buffer::zeros(outer * inner);
        if inner == 1 {
            for (out, row) in out.iter_mut().zip(self.data().chunks_exact(size.max(1))) {
                *out = crate::simd::sum_by(size, |j| row[j]);
            }
        } else if inner > 0 {
            for (out, block) in
                out.chunks_exact_mut(inner).zip(self.data().chunks_exact((size * inner).max(1)))
            {
                kernels::add_rows(out, block);
            }
        }
        let mut to = self.shape().to_vec();
        to[axis] = 1;
        let parent = self.clone();
        Ok(Self::custom("sum_axis", &to, out, &[self], move |grad, sink| {
            let mut all = Buffer::scratch(parent.len());
            for (block, g) in all.chunks_exact_mut((size * inner).max(1)).zip(grad.chunks_exact(inner.max(1)))
            {
                block.chunks_exact_mut(inner).for_each(|row| row.copy_from_slice(g));
            }
            sink.add(&parent, all);
            Ok(())
        }))
    }

    /// Mean over one axis, which keeps size 1.
    ///
    /// # Errors
    /// When there is no such axis.
    pub fn mean_axis(&self, axis: usize) -> Result<Self> {
        let sum = self.sum_axis(axis)?;
        Ok(sum.mul_scalar(1.0 / self.shape()[axis].max(1) as f32))
    }

    /// Largest element along one axis, which keeps size 1; the gradient goes to the first of the largest.
    ///
    /// # Errors
    /// When there is no such axis, or it is empty.
    pub fn max_axis(&self, axis: usize) -> Result<Self> {
        let (outer, size, inner) = self.around("max_axis", axis)?;
        if size == 0 {
            return shape("max_axis", format!("axis {axis} of {:?} is empty", self.shape()));
        }
        let mut best = vec![0_usize; outer * inner];
        for o in 0..outer {
            for i in 0..inner {
                let at = |j: usize| self.data()[(o * size + j) * inner + i];
                best[o * inner + i] = (1..size).fold(0, |b, j| if at(j) > at(b) { j } else { b });
            }
        }
        let place = move |k: usize, j: usize| (k / inner * size + j) * inner + k % inner;
        let out: Vec<f32> = best.iter().enumerate().map(|(k, &j)| self.data()[place(k, j)]).collect();
        let mut to = self.shape().to_vec();
        to[axis] = 1;
        let parent = self.clone();
        Ok(Self::custom("max_axis", &to, out.into(), &[self], move |grad, sink| {
            let mut all = Buffer::zeros(parent.len());
            for (k, (&j, g)) in best.iter().zip(grad.iter()).enumerate() {
                all[place(k, j)] = *g;
            }
            sink.add(&parent, all);
            Ok(())
        }))
    }

    /// Position of the largest element of every row (all axes but the last together); the first of several.
    #[must_use]
    pub fn argmax(&self) -> Vec<usize> {
        let width = self.last().max(1);
        self.data()
            .chunks_exact(width)
            .map(|row| (1..width).fold(0, |b, j| if row[j] > row[b] { j } else { b }))
            .collect()
    }

    /// Number of elements before, along and after an axis.
    fn around(&self, operation: &'static str, axis: usize) -> Result<(usize, usize, usize)> {
        if axis >= self.rank() {
            return shape(operation, format!("axis {axis} of {:?}", self.shape()));
        }
        let s = self.shape();
        Ok((s[..axis].iter().product(), s[axis], s[axis + 1..].iter().product()))
    }
}
