//! An LSTM through time in one operation, with its backward.
//!
//! Gates in the order i, f, g, o; `x_t` stands for `W_x input_t + b`, which comes from outside for all steps in one product:
//!
//! `i, f, o = sigmoid(x + W h)`, `g = tanh(x_g + W_g h)`, `c' = f c + i g`, `h' = o tanh(c')`.

use crate::buffer::Buffer;
use crate::error::{Result, shape};
use crate::gemm::{Mat, Start, gemm};
use crate::kernels;
use crate::simd::{self, fma, vectorised};
use crate::tensor::Tensor;

vectorised! {
    /// `gates` `[4 h]` holds the sums and receives i, f, g, o; `c` the cell after, of which tanh is `t`.
    fn forward_cell(h: &mut [f32], c: &mut [f32], t: &mut [f32], gates: &mut [f32], before: &[f32]) {
        let w = h.len();
        let (i, rest) = gates.split_at_mut(w);
        let (f, rest) = rest.split_at_mut(w);
        let (g, o) = rest.split_at_mut(w);
        let (o, c, t, before) = (&mut o[..w], &mut c[..w], &mut t[..w], &before[..w]);
        i.iter_mut().for_each(|x| *x = simd::sigmoid::<FMA>(*x));
        f.iter_mut().for_each(|x| *x = simd::sigmoid::<FMA>(*x));
        g.iter_mut().for_each(|x| *x = simd::tanh::<FMA>(*x));
        o.iter_mut().for_each(|x| *x = simd::sigmoid::<FMA>(*x));
        for l in 0..w {
            c[l] = fma::<FMA>(f[l], before[l], i[l] * g[l]);
            t[l] = simd::tanh::<FMA>(c[l]);
            h[l] = o[l] * t[l];
        }
    }
}
vectorised! {
    /// `gates` become the gradients of their sums, `dc` that of the cell before.
    fn backward_cell(gates: &mut [f32], dc: &mut [f32], dh: &[f32], t: &[f32], before: &[f32]) {
        let w = dh.len();
        let (i, rest) = gates.split_at_mut(w);
        let (f, rest) = rest.split_at_mut(w);
        let (g, o) = rest.split_at_mut(w);
        let (o, dc, t, before) = (&mut o[..w], &mut dc[..w], &t[..w], &before[..w]);
        for l in 0..w {
            let cell = fma::<FMA>(dh[l] * o[l], fma::<FMA>(-t[l], t[l], 1.0), dc[l]);
            dc[l] = cell * f[l];
            o[l] = dh[l] * t[l] * o[l] * (1.0 - o[l]);
            f[l] = cell * before[l] * f[l] * (1.0 - f[l]);
            let (was_i, was_g) = (i[l], g[l]);
            i[l] = cell * was_g * was_i * (1.0 - was_i);
            g[l] = cell * was_i * fma::<FMA>(-was_g, was_g, 1.0);
        }
    }
}

/// Runs an LSTM: `outer` `[batch, time, 4 h]` is `W_x x + b`, `weight` `[4 h, h]`, `start` the state and cell before the first step,
/// `[batch, h]` each, or zero. The result holds the states followed by the cells: `[batch, time, 2 h]`.
///
/// # Errors
/// When a shape does not fit.
pub fn lstm(outer: &Tensor, weight: &Tensor, start: Option<(&Tensor, &Tensor)>) -> Result<Tensor> {
    let (&[batch, time, gates], &[rows, h]) = (outer.shape(), weight.shape()) else {
        return shape(
            "lstm",
            format!(
                "input {:?} must be [batch, time, 4 h], weight {:?} [4 h, h]",
                outer.shape(),
                weight.shape()
            ),
        );
    };
    if rows != 4 * h || gates != rows {
        return shape(
            "lstm",
            format!(
                "input {:?} and weight {:?} must be [batch, time, 4 h] and [4 h, h] with one h",
                outer.shape(),
                weight.shape()
            ),
        );
    }
    if let Some((s, c)) = start.filter(|(s, c)| s.shape() != [batch, h] || c.shape() != [batch, h]) {
        return shape(
            "lstm",
            format!("state {:?} and cell {:?} must be [batch, h] = [{batch}, {h}]", s.shape(), c.shape()),
        );
    }
    // An empty batch has no steps to run.
    let plan = Plan { batch, time: if batch == 0 { 0 } else { time }, h };
    let zero = Buffer::zeros(batch * h);
    let (first_h, first_c) = start.map_or((&zero[..], &zero[..]), |(s, c)| (s.data(), c.data()));
    let (out, kept) = plan.forward(outer.data(), weight.data(), first_h, first_c);
    let mut parents = vec![outer, weight];
    parents.extend(start.map(|s| s.0));
    parents.extend(start.map(|s| s.1));
    let owned: Vec<Tensor> = parents.iter().map(|p| (*p).clone()).collect();
    let out = std::sync::Arc::new(out);
    let states = std::sync::Arc::clone(&out);
    Ok(Tensor::derived("lstm", &[batch, time, 2 * h], out, &parents, move |grad, sink| {
        let zero = Buffer::zeros(batch * h);
        let first = |k: usize| owned.get(k).map_or(&zero[..], Tensor::data);
        let weight = &owned[1];
        let back = plan.backward(&grad, weight.data(), &states, kept, first(3));
        if weight.requires_grad() {
            let before = plan.before(&states, first(2), 0);
            let (dw, at) = sink.start(weight);
            let steps = plan.batch * plan.time;
            gemm(dw, h, Mat::new(&back.gates, steps, 4 * h).t(), Mat::new(&before, steps, h), at);
        }
        sink.add(&owned[0], back.gates);
        for (parent, grad) in owned[2..].iter().zip([back.state, back.cell]) {
            sink.add(parent, grad);
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

/// Gates `[batch, time, 4 h]` and tanh of the cells `[batch, time, h]`.
struct Kept {
    gates: Buffer,
    tanh: Buffer,
}

struct Back {
    gates: Buffer,
    state: Buffer,
    cell: Buffer,
}

impl Plan {
    /// State (`part` 0) or cell (1) before every step, `[batch, time, h]`.
    fn before(&self, out: &[f32], first: &[f32], part: usize) -> Buffer {
        let &Self { batch, time, h } = self;
        let mut before = Buffer::scratch(batch * time * h);
        for (row, to) in before.chunks_exact_mut(h.max(1)).enumerate() {
            let from = if row % time == 0 {
                &first[row / time * h..][..h]
            } else {
                &out[(row - 1) * 2 * h + part * h..][..h]
            };
            to.copy_from_slice(from);
        }
        before
    }

    fn forward(&self, outer: &[f32], weight: &[f32], first_h: &[f32], first_c: &[f32]) -> (Buffer, Kept) {
        let &Self { batch, time, h } = self;
        let mut out = Buffer::scratch(batch * time * 2 * h);
        let mut kept = Kept { gates: Buffer::copy_of(outer), tanh: Buffer::scratch(batch * time * h) };
        for t in 0..time {
            let state = match t {
                0 => Mat::new(first_h, batch, h),
                _ => Mat::strided(&out[(t - 1) * 2 * h..], batch, h, time * 2 * h, 1),
            };
            // The sums of this step, added to what came from outside.
            gemm(
                &mut kept.gates[t * 4 * h..],
                time * 4 * h,
                state,
                Mat::new(weight, 4 * h, h).t(),
                Start::Keep,
            );
            for b in 0..batch {
                let row = b * time + t;
                let (past, now) = out.split_at_mut(row * 2 * h);
                let before = match t {
                    0 => &first_c[b * h..][..h],
                    _ => &past[past.len() - h..],
                };
                let (state, cell) = now[..2 * h].split_at_mut(h);
                let gates = &mut kept.gates[row * 4 * h..][..4 * h];
                forward_cell(state, cell, &mut kept.tanh[row * h..][..h], gates, before);
            }
        }
        (out, kept)
    }

    fn backward(&self, grad: &[f32], weight: &[f32], out: &[f32], kept: Kept, first_c: &[f32]) -> Back {
        let &Self { batch, time, h } = self;
        let Kept { mut gates, tanh } = kept;
        let before = self.before(out, first_c, 1);
        let mut state = Buffer::zeros(batch * h);
        let mut cell = Buffer::zeros(batch * h);
        for t in (0..time).rev() {
            for b in 0..batch {
                let row = b * time + t;
                let (dh, dc) = (&mut state[b * h..][..h], &mut cell[b * h..][..h]);
                kernels::add_rows(dh, &grad[row * 2 * h..][..h]);
                kernels::add_rows(dc, &grad[row * 2 * h + h..][..h]);
                let gates = &mut gates[row * 4 * h..][..4 * h];
                backward_cell(gates, dc, dh, &tanh[row * h..][..h], &before[row * h..][..h]);
            }
            let step = Mat::strided(&gates[t * 4 * h..], batch, 4 * h, time * 4 * h, 1);
            gemm(&mut state, h, step, Mat::new(weight, 4 * h, h), Start::Zero);
        }
        Back { gates, state, cell }
    }
}
