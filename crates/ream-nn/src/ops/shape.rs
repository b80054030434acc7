//! Operations that move elements: permute, slice, join, broadcast.

use crate::buffer::Buffer;
use crate::error::{Result, shape};
use crate::tensor::Tensor;
use crate::threads;

/// Row-major strides.
fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// Copies `x` into an array of shape `to`, whose axis `i` steps through `x` by `steps[i]`.
fn gather(x: &[f32], to: &[usize], steps: &[usize]) -> Buffer {
    let mut out = Buffer::scratch(to.iter().product());
    let Some((&width, outer)) = to.split_last() else {
        out.copy_from_slice(x);
        return out;
    };
    if width == 0 {
        return out;
    }
    let (step, rows_per_job) = (steps[outer.len()], (4096 / width).max(1));
    threads::chunks(&mut out, width * rows_per_job, |start, part| {
        for (r, row) in part.chunks_exact_mut(width).enumerate() {
            let mut rest = start / width + r;
            let mut from = 0;
            for (axis, size) in outer.iter().enumerate().rev() {
                from += rest % size * steps[axis];
                rest /= size;
            }
            match step {
                0 => row.fill(x[from]),
                1 => row.copy_from_slice(&x[from..from + width]),
                _ => row.iter_mut().enumerate().for_each(|(j, out)| *out = x[from + j * step]),
            }
        }
    });
    out
}

/// The reverse of a broadcast: adds `grad` (shape `from`) up into an array of `len` elements, in order.
fn scatter_sum(grad: &[f32], from: &[usize], steps: &[usize], len: usize) -> Buffer {
    // Leading axes that were repeated whole are the common case (a bias, a position embedding).
    let repeated = steps.iter().take_while(|s| **s == 0).count();
    let inner: usize = from[repeated..].iter().product();
    if inner == len && inner > 0 {
        return crate::kernels::sum_rows(grad, inner);
    }
    let mut out = Buffer::zeros(len);
    let Some((&width, outer)) = from.split_last() else {
        out.copy_from_slice(grad);
        return out;
    };
    if width == 0 {
        return out;
    }
    let step = steps[outer.len()];
    for (r, row) in grad.chunks_exact(width).enumerate() {
        let mut rest = r;
        let mut to = 0;
        for (axis, size) in outer.iter().enumerate().rev() {
            to += rest % size * steps[axis];
            rest /= size;
        }
        if step == 0 {
            out[to] += crate::simd::sum_by(width, |j| row[j]);
        } else {
            row.iter().enumerate().for_each(|(j, g)| out[to + j * step] += g);
        }
    }
    out
}

impl Tensor {
    /// Repeats axes of size 1 (and missing leading axes) to fill the shape.
    ///
    /// # Errors
    /// When an axis is neither 1 nor the size wanted.
    pub fn broadcast_to(&self, to: &[usize]) -> Result<Self> {
        if self.shape() == to {
            return Ok(self.clone());
        }
        let missing = to.len().checked_sub(self.rank());
        let Some(missing) = missing else {
            return shape("broadcast_to", format!("{:?} has more axes than {to:?}", self.shape()));
        };
        let own = strides(self.shape());
        let mut steps = vec![0; to.len()];
        for (i, &size) in self.shape().iter().enumerate() {
            if size == to[missing + i] {
                steps[missing + i] = own[i];
            } else if size != 1 {
                return shape(
                    "broadcast_to",
                    format!(
                        "axis {i} of {:?} is {size}: 1 or {} would fit {to:?}",
                        self.shape(),
                        to[missing + i]
                    ),
                );
            }
        }
        // An axis of size 1 on both sides needs no step.
        for (step, size) in steps.iter_mut().zip(to) {
            if *size == 1 {
                *step = 0;
            }
        }
        let out = gather(self.data(), to, &steps);
        let (parent, from) = (self.clone(), to.to_vec());
        Ok(Self::custom("broadcast_to", to, out, &[self], move |grad, sink| {
            sink.add(&parent, scatter_sum(&grad, &from, &steps, parent.len()));
            Ok(())
        }))
    }

    /// Reorders the axes: axis `i` of the result is axis `axes[i]`.
    ///
    /// # Errors
    /// When `axes` does not name every axis once.
    pub fn permute(&self, axes: &[usize]) -> Result<Self> {
        let mut seen = vec![false; self.rank()];
        for &axis in axes {
            if axis >= self.rank() || std::mem::replace(&mut seen[axis], true) {
                return shape(
                    "permute",
                    format!("{axes:?} is no order of the {} axes of {:?}", self.rank(), self.shape()),
                );
            }
        }
        if axes.len() != self.rank() {
            return shape(
                "permute",
                format!("{axes:?} is no order of the {} axes of {:?}", self.rank(), self.shape()),
            );
        }
        let own = strides(self.shape());
        let to: Vec<usize> = axes.iter().map(|&a| self.shape()[a]).collect();
        let steps: Vec<usize> = axes.iter().map(|&a| own[a]).collect();
        let out = gather(self.data(), &to, &steps);
        let parent = self.clone();
        let (axes, result) = (axes.to_vec(), to.clone());
        Ok(Self::custom("permute", &to, out, &[self], move |grad, sink| {
            let back = strides(&result);
            let mut steps = vec![0; axes.len()];
            for (i, &a) in axes.iter().enumerate() {
                steps[a] = back[i];
            }
            sink.add(&parent, gather(&grad, parent.shape(), &steps));
            Ok(())
        }))
    }

    /// Exchanges two axes.
    ///
    /// # Errors
    /// When there is no such axis.
    pub fn transpose(&self, a: usize, b: usize) -> Result<Self> {
        if a >= self.rank() || b >= self.rank() {
            return shape("transpose", format!("axes {a} and {b} of {:?}", self.shape()));
        }
        let mut axes: Vec<usize> = (0..self.rank()).collect();
        axes.swap(a, b);
        self.permute(&axes)
    }

    /// Elements `start..start + len` of an axis.
    ///
    /// # Errors
    /// When they lie outside.
    pub fn narrow(&self, axis: usize, start: usize, len: usize) -> Result<Self> {
        if axis >= self.rank() || start + len > self.shape()[axis] {
            return shape("narrow", format!("{start}..{} of axis {axis} of {:?}", start + len, self.shape()));
        }
        let inner: usize = self.shape()[axis + 1..].iter().product();
        let (size, width) = (self.shape()[axis] * inner, len * inner);
        let outer: usize = self.shape()[..axis].iter().product();
        let mut out = Buffer::scratch(outer * width);
        copy_blocks(&mut out, width, 0, self.data(), size, start * inner, width);
        let mut to = self.shape().to_vec();
        to[axis] = len;
        let parent = self.clone();
        Ok(Self::custom("narrow", &to, out, &[self], move |grad, sink| {
            if let Some(sum) = sink.accumulate(&parent) {
                for (o, part) in grad.chunks_exact(width.max(1)).enumerate() {
                    let at = o * size + start * inner;
                    sum[at..at + width].iter_mut().zip(part).for_each(|(s, g)| *s += g);
                }
            }
            Ok(())
        }))
    }

    /// Cuts an axis into pieces of these sizes.
    ///
    /// # Errors
    /// When the sizes do not add up to the axis.
    pub fn split(&self, axis: usize, sizes: &[usize]) -> Result<Vec<Self>> {
        if axis >= self.rank() || sizes.iter().sum::<usize>() != self.shape()[axis] {
            return shape("split", format!("{sizes:?} does not add up to axis {axis} of {:?}", self.shape()));
        }
        let mut start = 0;
        sizes
            .iter()
            .map(|&len| {
                start += len;
                self.narrow(axis, start - len, len)
            })
            .collect()
    }

    /// Picks positions of an axis, in the given order; a position may come twice.
    ///
    /// # Errors
    /// When there is no such axis or position.
    pub fn index_select(&self, axis: usize, positions: &[usize]) -> Result<Self> {
        if axis >= self.rank() {
            return shape("index_select", format!("axis {axis} of {:?}", self.shape()));
        }
        let size = self.shape()[axis];
        if let Some(bad) = positions.iter().find(|p| **p >= size) {
            return shape("index_select", format!("position {bad} of axis {axis} of {:?}", self.shape()));
        }
        let inner: usize = self.shape()[axis + 1..].iter().product();
        let outer: usize = self.shape()[..axis].iter().product();
        let mut out = Buffer::scratch(outer * positions.len() * inner);
        for o in 0..outer {
            for (i, &p) in positions.iter().enumerate() {
                let (to, from) = ((o * positions.len() + i) * inner, (o * size + p) * inner);
                out[to..to + inner].copy_from_slice(&self.data()[from..from + inner]);
            }
        }
        let mut to = self.shape().to_vec();
        to[axis] = positions.len();
        let (parent, positions) = (self.clone(), positions.to_vec());
        Ok(Self::custom("index_select", &to, out, &[self], move |grad, sink| {
            if let Some(sum) = sink.accumulate(&parent) {
                for o in 0..outer {
                    for (i, &p) in positions.iter().enumerate() {
                        let (from, to) = ((o * positions.len() + i) * inner, (o * size + p) * inner);
                        let row = &grad[from..from + inner];
                        sum[to..to + inner].iter_mut().zip(row).for_each(|(s, g)| *s += g);
                    }
                }
            }
            Ok(())
        }))
    }

    /// Adds an axis of size 1.
    ///
    /// # Errors
    /// When there is no such place.
    pub fn unsqueeze(&self, axis: usize) -> Result<Self> {
        if axis > self.rank() {
            return shape("unsqueeze", format!("axis {axis} of {:?}", self.shape()));
        }
        let mut to = self.shape().to_vec();
        to.insert(axis, 1);
        self.reshape(&to)
    }
}

/// Copies blocks of `width` from every `from_size` elements (at `from_at`) to every `to_size` elements (at `to_at`).
fn copy_blocks(
    to: &mut [f32],
    to_size: usize,
    to_at: usize,
    from: &[f32],
    from_size: usize,
    from_at: usize,
    width: usize,
) {
    if width == 0 {
        return;
    }
    for (to, from) in to.chunks_exact_mut(to_size).zip(from.chunks_exact(from_size)) {
        to[to_at..to_at + width].copy_from_slice(&from[from_at..from_at + width]);
    }
}

/// Joins tensors along an axis.
///
/// # Errors
/// When another axis differs, or there is nothing to join.
pub fn concat(tensors: &[&Tensor], axis: usize) -> Result<Tensor> {
    let Some(first) = tensors.first() else {
        return shape("concat", "nothing to join");
    };
    if axis >= first.rank() {
        return shape("concat", format!("axis {axis} of {:?}", first.shape()));
    }
    let fits = |t: &Tensor| {
        t.rank() == first.rank() && (0..t.rank()).all(|i| i == axis || t.shape()[i] == first.shape()[i])
    };
    if let Some(bad) = tensors.iter().find(|t| !fits(t)) {
        return shape(
            "concat",
            format!("{:?} and {:?} differ outside axis {axis}", first.shape(), bad.shape()),
        );
    }
    let inner: usize = first.shape()[axis + 1..].iter().product();
    let widths: Vec<usize> = tensors.iter().map(|t| t.shape()[axis] * inner).collect();
    let total: usize = widths.iter().sum();
    let outer: usize = first.shape()[..axis].iter().product();
    let mut out = Buffer::scratch(outer * total);
    let mut at = 0;
    for (t, &width) in tensors.iter().zip(&widths) {
        copy_blocks(&mut out, total, at, t.data(), width, 0, width);
        at += width;
    }
    let mut to = first.shape().to_vec();
    to[axis] = tensors.iter().map(|t| t.shape()[axis]).sum();
    let parents: Vec<Tensor> = tensors.iter().map(|t| (*t).clone()).collect();
    Ok(Tensor::custom("concat", &to, out, tensors, move |grad, sink| {
        let mut at = 0;
        for (parent, &width) in parents.iter().zip(&widths) {
            if parent.requires_grad() {
                let mut part = Buffer::scratch(outer * width);
                copy_blocks(&mut part, width, 0, &grad, total, at, width);
                sink.add(parent, part);
            }
            at += width;
        }
        Ok(())
    }))
}

/// Joins tensors of one shape along a new axis.
///
/// # Errors
/// When shapes differ, or there is nothing to join.
pub fn stack(tensors: &[&Tensor], axis: usize) -> Result<Tensor> {
    let with: Vec<Tensor> = tensors.iter().map(|t| t.unsqueeze(axis)).collect::<Result<_>>()?;
    concat(&with.iter().collect::<Vec<_>>(), axis)
}
