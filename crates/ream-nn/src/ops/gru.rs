//! A GRU through time in one operation, with its backward.
//!
//! Gates in the order r, z, n; `i_t = W_i x_t + b_i` comes from outside, for all steps in one product:
//!
//! `r = sigmoid(i_r + W_r h + b_r)`, `z = sigmoid(i_z + W_z h + b_z)`, `n = tanh(i_n + r (W_n h + b_n))`, `h' = (1 - z) n + z h`.

use crate::buffer::Buffer;
use crate::error::{Result, shape};
use crate::gemm::{Mat, Start, gemm};
use crate::kernels;
use crate::simd::{self, fma, vectorised};
use crate::tensor::Tensor;
use crate::threads::{self, Shared};

/// Numbers of one job of the gates.
const WORK: usize = 4096;

vectorised! {
    /// `inner` `[3 h]` is what comes from the state; `kept` `[4 h]` receives r, z, n and the state's part of n.
    fn gates(h: &mut [f32], kept: &mut [f32], before: &[f32], outer: &[f32], inner: &[f32]) {
        let w = h.len();
        let (r, rest) = kept.split_at_mut(w);
        let (z, rest) = rest.split_at_mut(w);
        let (n, q) = rest.split_at_mut(w);
        let (before, q) = (&before[..w], &mut q[..w]);
        let (outer_r, outer_z, outer_n) = (&outer[..w], &outer[w..2 * w], &outer[2 * w..3 * w]);
        let (inner_r, inner_z, inner_n) = (&inner[..w], &inner[w..2 * w], &inner[2 * w..3 * w]);
        for l in 0..w { r[l] = simd::sigmoid::<FMA>(outer_r[l] + inner_r[l]); }
        for l in 0..w { z[l] = simd::sigmoid::<FMA>(outer_z[l] + inner_z[l]); }
        for l in 0..w {
            q[l] = inner_n[l];
            n[l] = simd::tanh::<FMA>(fma::<FMA>(r[l], q[l], outer_n[l]));
            h[l] = fma::<FMA>(z[l], before[l] - n[l], n[l]);
        }
    }
}
vectorised! {
    /// `dh` becomes the part of the gradient of the state before that does not pass the product.
    fn gates_backward(dh: &mut [f32], outer: &mut [f32], inner: &mut [f32], kept: &[f32], before: &[f32]) {
        let w = dh.len();
        let (r, z, n, q) = (&kept[..w], &kept[w..2 * w], &kept[2 * w..3 * w], &kept[3 * w..4 * w]);
        let before = &before[..w];
        let (outer_r, rest) = outer.split_at_mut(w);
        let (outer_z, outer_n) = rest.split_at_mut(w);
        let (inner_r, rest) = inner.split_at_mut(w);
        let (inner_z, inner_n) = rest.split_at_mut(w);
        let (outer_n, inner_n) = (&mut outer_n[..w], &mut inner_n[..w]);
        for l in 0..w {
            let dn = dh[l] * (1.0 - z[l]) * fma::<FMA>(-n[l], n[l], 1.0);
            let dz = dh[l] * (before[l] - n[l]) * z[l] * (1.0 - z[l]);
            let dr = dn * q[l] * r[l] * (1.0 - r[l]);
            outer_r[l] = dr;
            inner_r[l] = dr;
            outer_z[l] = dz;
            inner_z[l] = dz;
            outer_n[l] = dn;
            inner_n[l] = dn * r[l];
            dh[l] *= z[l];
        }
    }
}

/// Runs a GRU: `outer` `[batch, time, 3 h]` is `W_i x + b_i`, `weight` `[3 h, h]` and `bias` `[3 h]` meet the state, `start` is
/// `[batch, h]` or zero. Where `resets` (`[batch, time]`) is true the state is zero before that step. The result is `[batch, time, h]`.
///
/// # Errors
/// When a shape does not fit.
pub fn gru(
    outer: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    start: Option<&Tensor>,
    resets: Option<&[bool]>,
) -> Result<Tensor> {
    let &[rows, h] = weight.shape() else {
        return shape("gru", format!("the weight {:?} must be [3 h, h]", weight.shape()));
    };
    let &[batch, time, gates] = outer.shape() else {
        return shape("gru", format!("the input {:?} must be [batch, time, 3 h]", outer.shape()));
    };
    if rows != 3 * h || gates != rows || bias.shape() != [rows] {
        return shape(
            "gru",
            format!(
                "weight {:?}, bias {:?}, input {:?} must be [3 h, h], [3 h], [batch, time, 3 h] with one h",
                weight.shape(),
                bias.shape(),
                outer.shape()
            ),
        );
    }
    if let Some(start) = start.filter(|s| s.shape() != [batch, h]) {
        return shape("gru", format!("the start {:?} must be [batch, h] = [{batch}, {h}]", start.shape()));
    }
    if let Some(resets) = resets.filter(|r| r.len() != batch * time) {
        return shape("gru", format!("{} resets for [batch, time] = [{batch}, {time}]", resets.len()));
    }
    // An empty batch has no steps to run.
    let plan = Plan { batch, time: if batch == 0 { 0 } else { time }, h };
    let resets: Vec<bool> = resets.map_or_else(|| vec![false; batch * time], <[bool]>::to_vec);
    let (out, before, kept) = plan.forward(outer, weight, bias, start, &resets);
    let owned = (outer.clone(), weight.clone(), bias.clone(), start.cloned());
    let mut parents = vec![outer, weight, bias];
    parents.extend(start);
    Ok(Tensor::custom("gru", &[batch, time, h], out, &parents, move |grad, sink| {
        let (outer, weight, bias, start) = owned;
        let (d_outer, d_inner, d_start) = plan.backward(&grad, &weight, &before, &kept, &resets);
        sink.add(&outer, d_outer);
        if weight.requires_grad() {
            let (dw, at) = sink.start(&weight);
            let steps = plan.batch * plan.time;
            gemm(dw, h, Mat::new(&d_inner, steps, 3 * h).t(), Mat::new(&before, steps, h), at);
        }
        if bias.requires_grad() {
            sink.add(&bias, kernels::sum_rows(&d_inner, 3 * h));
        }
        if let Some(start) = start {
            sink.add(&start, d_start);
        }
        Ok(())
    }))
}

#[derive(Clone, Copy)]
struct Plan {
    batch: usize,
    time: usize,
    h: usize,
}

impl Plan {
    /// Calls `work(sample)` for all samples, several to a job.
    fn samples(&self, work: impl Fn(usize) + Sync) {
        let each = (WORK / self.h.max(1)).max(1);
        threads::for_each(self.batch.div_ceil(each), &|job| {
            (job * each..((job + 1) * each).min(self.batch)).for_each(&work);
        });
    }

    /// Result, state before every step, and `[batch, time, 4 h]` for the backward.
    fn forward(
        &self,
        outer: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        start: Option<&Tensor>,
        resets: &[bool],
    ) -> (Buffer, Buffer, Buffer) {
        let &Self { batch, time, h } = self;
        let mut out = Buffer::scratch(batch * time * h);
        let mut before = Buffer::zeros(batch * time * h);
        let mut kept = Buffer::scratch(batch * time * 4 * h);
        let mut inner = Buffer::scratch(batch * 3 * h);
        for t in 0..time {
            for b in 0..batch {
                let at = (b * time + t) * h;
                if resets[b * time + t] {
                    continue;
                }
                match (t, start) {
                    (0, Some(start)) => before[at..at + h].copy_from_slice(&start.data()[b * h..][..h]),
                    (0, None) => {}
                    _ => before[at..at + h].copy_from_slice(&out[at - h..at]),
                }
            }
            let state = Mat::strided(&before[t * h..], batch, h, time * h, 1);
            gemm(&mut inner, 3 * h, state, Mat::new(weight.data(), 3 * h, h).t(), Start::Bias(bias.data()));
            let (out, kept) = (Shared::new(&mut out), Shared::new(&mut kept));
            self.samples(|b| {
                let at = b * time + t;
                // SAFETY: step t of sample b belongs to this job alone.
                let (out, kept) = unsafe { (out.part(at * h, h), kept.part(at * 4 * h, 4 * h)) };
                let (before, outer) = (&before[at * h..][..h], &outer.data()[at * 3 * h..][..3 * h]);
                gates(out, kept, before, outer, &inner[b * 3 * h..][..3 * h]);
            });
        }
        (out, before, kept)
    }

    /// Gradients of what came from outside, of what came from the state (both `[batch, time, 3 h]`), and of the start.
    fn backward(
        &self,
        grad: &[f32],
        weight: &Tensor,
        before: &[f32],
        kept: &[f32],
        resets: &[bool],
    ) -> (Buffer, Buffer, Buffer) {
        let &Self { batch, time, h } = self;
        let mut d_outer = Buffer::scratch(batch * time * 3 * h);
        let mut d_inner = Buffer::scratch(batch * time * 3 * h);
        let mut dh = Buffer::zeros(batch * h);
        for t in (0..time).rev() {
            let (carry, from_outer, from_inner) =
                (Shared::new(&mut dh), Shared::new(&mut d_outer), Shared::new(&mut d_inner));
            self.samples(|b| {
                let at = b * time + t;
                // SAFETY: step t of sample b belongs to this job alone.
                let dh = unsafe { carry.part(b * h, h) };
                // SAFETY: as above.
                let outer = unsafe { from_outer.part(at * 3 * h, 3 * h) };
                // SAFETY: as above.
                let inner = unsafe { from_inner.part(at * 3 * h, 3 * h) };
                kernels::add_rows(dh, &grad[at * h..][..h]);
                gates_backward(dh, outer, inner, &kept[at * 4 * h..][..4 * h], &before[at * h..][..h]);
            });
            let step = Mat::strided(&d_inner[t * 3 * h..], batch, 3 * h, time * 3 * h, 1);
            gemm(&mut dh, h, step, Mat::new(weight.data(), 3 * h, h), Start::Keep);
            for b in (0..batch).filter(|b| resets[b * time + t]) {
                dh[b * h..(b + 1) * h].fill(0.0);
            }
        }
        (d_outer, d_inner, dh)
    }
}
