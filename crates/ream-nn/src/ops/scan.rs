//! Linear recurrences: `h_t = a_t h_{t-1} + b_t`, and the selective scan of Mamba (Gu & Dao, 2023, arXiv 2312.00752).
//!
//! The selective scan of channel `e` with `n` states:
//!
//! `h_t[e, n] = exp(delta_t[e] A[e, n]) h_{t-1}[e, n] + delta_t[e] B_t[n] u_t[e]`
//!
//! `y_t[e] = (sum_n C_t[n] h_t[e, n] + D[e] u_t[e]) silu(z_t[e])`
//!
//! Channels run in the lanes of vectors and time runs in a loop; jobs are batch x groups of [`GROUP`] channels. The
//! states of all steps would be `n` times the input: only every [`CHUNK`]th is kept, and the backward computes the others again,
//! one chunk at a time, from the last chunk to the first. Cuts are fixed, so bits do not depend on the number of threads.

use std::sync::Arc;

use crate::autograd::{Sink, grad_enabled};
use crate::buffer::Buffer;
use crate::error::{Result, shape};
use crate::kernels;
use crate::simd::{self, fma, vectorised};
use crate::tensor::Tensor;
use crate::threads::{self, Shared};

/// Steps between two kept states.
const CHUNK: usize = 32;
/// Channels of one job.
const GROUP: usize = 64;

/// The operands of a selective scan.
#[derive(Clone, Copy, Debug)]
pub struct SelectiveScan<'a> {
    /// Input, `[batch, time, channels]`.
    pub u: &'a Tensor,
    /// Step sizes, positive, `[batch, time, channels]`.
    pub delta: &'a Tensor,
    /// Rates, negative, `[channels, states]`.
    pub a: &'a Tensor,
    /// How the input enters, `[batch, time, states]`.
    pub b: &'a Tensor,
    /// How the states are read, `[batch, time, states]`.
    pub c: &'a Tensor,
    /// The way past the states, `[channels]`.
    pub d: &'a Tensor,
    /// Gate before its SiLU, `[batch, time, channels]`.
    pub z: Option<&'a Tensor>,
}

#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    time: usize,
    channels: usize,
    states: usize,
}

impl Sizes {
    fn groups(&self) -> usize {
        self.channels.div_ceil(GROUP)
    }

    fn chunks(&self) -> usize {
        self.time.div_ceil(CHUNK)
    }
}

impl SelectiveScan<'_> {
    fn sizes(&self) -> Result<Sizes> {
        let (&[batch, time, channels], &[_, states]) = (self.u.shape(), self.a.shape()) else {
            return shape(
                "selective_scan",
                format!(
                    "u {:?} must be [batch, time, channels], A {:?} [channels, states]",
                    self.u.shape(),
                    self.a.shape()
                ),
            );
        };
        let wide = [batch, time, channels];
        let narrow = [batch, time, states];
        let mut wanted = vec![
            ("delta", self.delta, "[batch, time, channels]", wide.to_vec()),
            ("A", self.a, "[channels, states]", vec![channels, states]),
            ("B", self.b, "[batch, time, states]", narrow.to_vec()),
            ("C", self.c, "[batch, time, states]", narrow.to_vec()),
            ("D", self.d, "[channels]", vec![channels]),
        ];
        wanted.extend(self.z.map(|z| ("z", z, "[batch, time, channels]", wide.to_vec())));
        for (name, tensor, axes, want) in wanted {
            if tensor.shape() != want {
                return shape(
                    "selective_scan",
                    format!("{name} {:?} must be {axes} = {want:?}", tensor.shape()),
                );
            }
        }
        Ok(Sizes { batch, time, channels, states })
    }

    fn slices(&self) -> Slices<'_> {
        Slices {
            u: self.u.data(),
            delta: self.delta.data(),
            a: self.a.data(),
            b: self.b.data(),
            c: self.c.data(),
            d: self.d.data(),
            z: self.z.map(Tensor::data),
        }
    }

    /// Runs the scan from zero states: `[batch, time, channels]`.
    ///
    /// # Errors
    /// When a shape does not fit; the message names the operand and its axes.
    pub fn run(&self) -> Result<Tensor> {
        let sizes = self.sizes()?;
        let mut parents = vec![self.u, self.delta, self.a, self.b, self.c, self.d];
        parents.extend(self.z);
        let keep = grad_enabled() && parents.iter().any(|p| p.requires_grad());
        let mut kept = Buffer::scratch(if keep {
            sizes.batch * sizes.chunks() * sizes.states * sizes.channels
        } else {
            0
        });
        let out = forward(sizes, self.slices(), None, keep.then_some(&mut kept));
        let owned: Vec<Tensor> = parents.iter().map(|p| (*p).clone()).collect();
        Ok(Tensor::custom("selective_scan", self.u.shape(), out, &parents, move |grad, sink| {
            backward(sizes, &owned, &kept, &grad, sink);
            Ok(())
        }))
    }

    /// Continues from `state` (`[batch, channels, states]`, zeros at the start) and leaves the last one there, without a gradient:
    /// for generation, one step or many at a time.
    ///
    /// # Errors
    /// When a shape does not fit.
    pub fn extend(&self, state: &mut [f32]) -> Result<Tensor> {
        let sizes = self.sizes()?;
        if state.len() != sizes.batch * sizes.channels * sizes.states {
            return shape(
                "selective_scan",
                format!(
                    "a state of {} numbers, [batch, channels, states] = [{}, {}, {}] is needed",
                    state.len(),
                    sizes.batch,
                    sizes.channels,
                    sizes.states
                ),
            );
        }
        Ok(Tensor::constant(forward(sizes, self.slices(), Some(state), None), self.u.shape()))
    }
}

#[derive(Clone, Copy)]
struct Slices<'a> {
    u: &'a [f32],
    delta: &'a [f32],
    a: &'a [f32],
    b: &'a [f32],
    c: &'a [f32],
    d: &'a [f32],
    z: Option<&'a [f32]>,
}

/// The channels of one job: a sample and a group.
#[derive(Clone, Copy)]
struct Strip {
    sizes: Sizes,
    sample: usize,
    first: usize,
    width: usize,
}

/// The operands of one step of a strip.
struct Step<'a> {
    u: &'a [f32],
    delta: &'a [f32],
    b: &'a [f32],
    c: &'a [f32],
    d: &'a [f32],
}

impl Strip {
    fn of(sizes: Sizes, job: usize) -> Self {
        let first = job % sizes.groups() * GROUP;
        Self { sizes, sample: job / sizes.groups(), first, width: GROUP.min(sizes.channels - first) }
    }

    /// Place of step `t` in a `[batch, time, channels]` array.
    fn at(&self, t: usize) -> usize {
        (self.sample * self.sizes.time + t) * self.sizes.channels + self.first
    }

    /// Place of a chunk's first states in the kept ones, `[batch, chunks, groups, states, width]`.
    fn kept_at(&self, chunk: usize) -> usize {
        ((self.sample * self.sizes.chunks() + chunk) * self.sizes.channels + self.first) * self.sizes.states
    }

    fn step<'a>(&self, x: &Slices<'a>, t: usize) -> Step<'a> {
        let (at, w, n) = (self.at(t), self.width, self.sizes.states);
        let narrow = (self.sample * self.sizes.time + t) * n;
        Step {
            u: &x.u[at..at + w],
            delta: &x.delta[at..at + w],
            b: &x.b[narrow..narrow + n],
            c: &x.c[narrow..narrow + n],
            d: &x.d[self.first..self.first + w],
        }
    }

    /// Rows `[width, states]`, turned into `[states, width]`.
    fn turned(&self, rows: &[f32]) -> Buffer {
        columns(&rows[..self.width * self.sizes.states], self.width, self.sizes.states)
    }

    /// The rates of these channels, `[states, width]`.
    fn rates(&self, x: &Slices<'_>) -> Buffer {
        self.turned(&x.a[self.first * self.sizes.states..])
    }
}

vectorised! {
    /// `h = exp(delta a) h + delta b u`, `y = c h + d u`.
    fn forward_step(y: &mut [f32], h: &mut [f32], drive: &mut [f32], a: &[f32], x: &Step<'_>) {
        let w = y.len();
        let (u, delta, d, drive) = (&x.u[..w], &x.delta[..w], &x.d[..w], &mut drive[..w]);
        for l in 0..w {
            drive[l] = delta[l] * u[l];
            y[l] = d[l] * u[l];
        }
        for ((h, a), (b, c)) in h.chunks_exact_mut(w).zip(a.chunks_exact(w)).zip(x.b.iter().zip(x.c)) {
            for l in 0..w {
                let decay = simd::exp::<FMA>(delta[l] * a[l]);
                h[l] = fma::<FMA>(decay, h[l], drive[l] * b);
                y[l] = fma::<FMA>(*c, h[l], y[l]);
            }
        }
    }
}
vectorised! {
    /// The states once more: `decay = exp(delta a)`, `after = decay before + delta b u`.
    fn replay_step(after: &mut [f32], decay: &mut [f32], drive: &mut [f32], before: &[f32], a: &[f32], x: &Step<'_>) {
        let w = drive.len();
        let (u, delta) = (&x.u[..w], &x.delta[..w]);
        for l in 0..w {
            drive[l] = delta[l] * u[l];
        }
        let rows = after.chunks_exact_mut(w).zip(decay.chunks_exact_mut(w));
        for (((after, decay), (before, a)), b) in rows.zip(before.chunks_exact(w).zip(a.chunks_exact(w))).zip(x.b) {
            for l in 0..w {
                decay[l] = simd::exp::<FMA>(delta[l] * a[l]);
                after[l] = fma::<FMA>(decay[l], before[l], drive[l] * b);
            }
        }
    }
}
vectorised! {
    /// `y silu(z)`.
    fn gate(y: &mut [f32], z: &[f32]) {
        for (y, z) in y.iter_mut().zip(z) { *y *= z * simd::sigmoid::<FMA>(*z); }
    }
}
vectorised! {
    /// The gate backwards: `y` is computed again from the states; `dy` becomes the gradient before the gate.
    fn gate_backward(dz: &mut [f32], dy: &mut [f32], y: &mut [f32], after: &[f32], z: &[f32], x: &Step<'_>) {
        let w = dy.len();
        let (dz, y, z, u, d) = (&mut dz[..w], &mut y[..w], &z[..w], &x.u[..w], &x.d[..w]);
        for l in 0..w {
            y[l] = d[l] * u[l];
        }
        for (after, c) in after.chunks_exact(w).zip(x.c) {
            for l in 0..w {
                y[l] = fma::<FMA>(*c, after[l], y[l]);
            }
        }
        for l in 0..w {
            let s = simd::sigmoid::<FMA>(z[l]);
            dz[l] = dy[l] * y[l] * s * fma::<FMA>(z[l], 1.0 - s, 1.0);
            dy[l] *= z[l] * s;
        }
    }
}
vectorised! {
    /// One step backwards; `narrow` receives the sums over channels for b and c, `[2, states]`.
    fn backward_step(
        carry: &mut [f32], d_a: &mut [f32], d_d: &mut [f32], du: &mut [f32], d_delta: &mut [f32], dh: &mut [f32],
        narrow: &mut [f32], dy: &[f32], before: &[f32], after: &[f32], decay: &[f32], a: &[f32], x: &Step<'_>
    ) {
        let w = dy.len();
        let (du, d_delta, d_d, dh) = (&mut du[..w], &mut d_delta[..w], &mut d_d[..w], &mut dh[..w]);
        let (u, delta, d) = (&x.u[..w], &x.delta[..w], &x.d[..w]);
        du.fill(0.0);
        d_delta.fill(0.0);
        let (d_b, d_c) = narrow.split_at_mut(x.b.len());
        for (s, (carry, d_a)) in carry.chunks_exact_mut(w).zip(d_a.chunks_exact_mut(w)).enumerate() {
            let row = s * w..(s + 1) * w;
            let (before, after) = (&before[row.clone()], &after[row.clone()]);
            let (decay, a, b, c) = (&decay[row.clone()], &a[row], x.b[s], x.c[s]);
            for l in 0..w {
                dh[l] = fma::<FMA>(c, dy[l], carry[l]);
                carry[l] = dh[l] * decay[l];
                // Gradient of the exponent delta a.
                let exponent = carry[l] * before[l];
                d_a[l] = fma::<FMA>(exponent, delta[l], d_a[l]);
                d_delta[l] = fma::<FMA>(exponent, a[l], d_delta[l]);
                du[l] = fma::<FMA>(dh[l], b, du[l]);
            }
            d_c[s] = simd::sum_by(w, |l| dy[l] * after[l]);
            d_b[s] = simd::sum_by(w, |l| dh[l] * (delta[l] * u[l]));
        }
        for l in 0..w {
            // `du` holds sum dh b so far.
            d_delta[l] = fma::<FMA>(du[l], u[l], d_delta[l]);
            du[l] = fma::<FMA>(du[l], delta[l], dy[l] * d[l]);
            d_d[l] = fma::<FMA>(dy[l], u[l], d_d[l]);
        }
    }
}

fn forward(sizes: Sizes, x: Slices<'_>, state: Option<&mut [f32]>, kept: Option<&mut Buffer>) -> Buffer {
    let mut out = Buffer::scratch(sizes.batch * sizes.time * sizes.channels);
    let shared = Shared::new(&mut out);
    let state = state.map(Shared::new);
    let kept = kept.map(|k| Shared::new(k));
    threads::for_each(sizes.batch * sizes.groups(), &|job| {
        let strip = Strip::of(sizes, job);
        let (w, n) = (strip.width, sizes.states);
        let place = (strip.sample * sizes.channels + strip.first) * n;
        // SAFETY: the rows of these channels of this sample belong to this job alone.
        let state = state.as_ref().map(|s| unsafe { s.part(place, w * n) });
        let mut h = state.as_ref().map_or_else(|| Buffer::zeros(w * n), |rows| strip.turned(rows));
        let (a, mut drive) = (strip.rates(&x), [0.0; GROUP]);
        for t in 0..sizes.time {
            if let Some(kept) = kept.as_ref().filter(|_| t % CHUNK == 0) {
                // SAFETY: the kept states of a strip belong to its job alone.
                unsafe { kept.part(strip.kept_at(t / CHUNK), w * n) }.copy_from_slice(&h);
            }
            // SAFETY: step `t` of these channels belongs to this job alone.
            let y = unsafe { shared.part(strip.at(t), w) };
            forward_step(y, &mut h, &mut drive, &a, &strip.step(&x, t));
            if let Some(z) = x.z {
                gate(y, &z[strip.at(t)..][..w]);
            }
        }
        if let Some(rows) = state {
            rows.copy_from_slice(&columns(&h, n, w));
        }
    });
    out
}

/// Where the gradients go: whole arrays, or one part for each sample or group that is summed afterwards.
struct Grads {
    u: Buffer,
    delta: Buffer,
    z: Buffer,
    /// `[batch, channels, states]`.
    a: Buffer,
    /// `[batch, channels]`.
    d: Buffer,
    /// `[groups, batch, time, states]`.
    b: Buffer,
    c: Buffer,
}

fn backward(sizes: Sizes, parents: &[Tensor], kept: &Buffer, grad: &[f32], sink: &mut Sink) {
    let [u, delta, a, b, c, d, ..] = parents else { return };
    let z = parents.get(6);
    let x = SelectiveScan { u, delta, a, b, c, d, z };
    let x = x.slices();
    let wide = sizes.batch * sizes.time * sizes.channels;
    let narrow = sizes.groups() * sizes.batch * sizes.time * sizes.states;
    let mut grads = Grads {
        u: Buffer::scratch(wide),
        delta: Buffer::scratch(wide),
        z: Buffer::scratch(if z.is_some() { wide } else { 0 }),
        a: Buffer::scratch(sizes.batch * sizes.channels * sizes.states),
        d: Buffer::scratch(sizes.batch * sizes.channels),
        b: Buffer::scratch(narrow),
        c: Buffer::scratch(narrow),
    };
    run_backward(sizes, x, kept, grad, &mut grads);
    sink.add(u, grads.u);
    sink.add(delta, grads.delta);
    sink.add(a, kernels::sum_rows(&grads.a, sizes.channels * sizes.states));
    sink.add(b, kernels::sum_rows(&grads.b, sizes.batch * sizes.time * sizes.states));
    sink.add(c, kernels::sum_rows(&grads.c, sizes.batch * sizes.time * sizes.states));
    sink.add(d, kernels::sum_rows(&grads.d, sizes.channels));
    if let Some(z) = z {
        sink.add(z, grads.z);
    }
}

fn run_backward(sizes: Sizes, x: Slices<'_>, kept: &[f32], grad: &[f32], grads: &mut Grads) {
    let n = sizes.states;
    let wide = [Shared::new(&mut grads.u), Shared::new(&mut grads.delta), Shared::new(&mut grads.z)];
    let (d_a, d_d) = (Shared::new(&mut grads.a), Shared::new(&mut grads.d));
    let narrow = [Shared::new(&mut grads.b), Shared::new(&mut grads.c)];
    threads::for_each(sizes.batch * sizes.groups(), &|job| {
        let strip = Strip::of(sizes, job);
        let mut room = Room::new(&strip, &x);
        for chunk in (0..sizes.chunks()).rev() {
            room.chunk(&strip, chunk, &x, kept, grad, &wide, &narrow);
        }
        let row = strip.sample * sizes.channels + strip.first;
        // SAFETY: these channels of this sample belong to this job alone.
        unsafe { d_a.part(row * n, strip.width * n) }.copy_from_slice(&columns(&room.d_a, n, strip.width));
        // SAFETY: as above.
        unsafe { d_d.part(row, strip.width) }.copy_from_slice(&room.d_d);
    });
}

/// Room of one job of the backward. Arrays by state are `[states, width]`.
struct Room {
    a: Buffer,
    /// Gradient of the states that arrives from the step after.
    carry: Buffer,
    /// States before and after every step of a chunk.
    h: Buffer,
    decay: Buffer,
    d_a: Buffer,
    d_d: Buffer,
    dy: Buffer,
    scratch: Buffer,
    narrow: Buffer,
}

impl Room {
    fn new(strip: &Strip, x: &Slices<'_>) -> Self {
        let (w, n) = (strip.width, strip.sizes.states);
        Self {
            a: strip.rates(x),
            carry: Buffer::zeros(w * n),
            h: Buffer::scratch((CHUNK + 1) * w * n),
            decay: Buffer::scratch(CHUNK * w * n),
            d_a: Buffer::zeros(w * n),
            d_d: Buffer::zeros(w),
            dy: Buffer::scratch(w),
            scratch: Buffer::scratch(w),
            narrow: Buffer::scratch(2 * n),
        }
    }

    /// The states of a chunk once more, then its steps from the last to the first.
    #[expect(clippy::too_many_arguments, reason = "operands and results of a kernel")]
    fn chunk(
        &mut self,
        strip: &Strip,
        chunk: usize,
        x: &Slices<'_>,
        kept: &[f32],
        grad: &[f32],
        wide: &[Shared; 3],
        narrow: &[Shared; 2],
    ) {
        let (w, n, sizes) = (strip.width, strip.sizes.states, strip.sizes);
        let (from, size) = (chunk * CHUNK, w * n);
        let steps = CHUNK.min(sizes.time - from);
        self.h[..size].copy_from_slice(&kept[strip.kept_at(chunk)..][..size]);
        for i in 0..steps {
            let (before, after) = self.h[i * size..(i + 2) * size].split_at_mut(size);
            let decay = &mut self.decay[i * size..(i + 1) * size];
            replay_step(after, decay, &mut self.scratch, before, &self.a, &strip.step(x, from + i));
        }
        for i in (0..steps).rev() {
            let (at, step) = (strip.at(from + i), strip.step(x, from + i));
            let (before, after) = self.h[i * size..(i + 2) * size].split_at(size);
            self.dy.copy_from_slice(&grad[at..at + w]);
            // SAFETY: step `from + i` of these channels belongs to this job alone, in each of the three arrays.
            let [du, d_delta, dz] = wide.each_ref().map(|shared| unsafe { shared.part(at, w) });
            if let Some(z) = x.z {
                gate_backward(dz, &mut self.dy, &mut self.scratch, after, &z[at..at + w], &step);
            }
            let decay = &self.decay[i * size..(i + 1) * size];
            backward_step(
                &mut self.carry,
                &mut self.d_a,
                &mut self.d_d,
                du,
                d_delta,
                &mut self.scratch,
                &mut self.narrow,
                &self.dy,
                before,
                after,
                decay,
                &self.a,
                &step,
            );
            let place = ((strip.first / GROUP * sizes.batch + strip.sample) * sizes.time + from + i) * n;
            for (shared, sums) in narrow.iter().zip(self.narrow.chunks_exact(n.max(1))) {
                // SAFETY: this step of this sample and group belongs to this job alone.
                unsafe { shared.part(place, n) }.copy_from_slice(sums);
            }
        }
    }
}

vectorised! {
    /// `h = a before + b`.
    fn recur(h: &mut [f32], before: &[f32], a: &[f32], b: &[f32]) {
        for (h, ((p, a), b)) in h.iter_mut().zip(before.iter().zip(a).zip(b)) { *h = fma::<FMA>(*a, *p, *b); }
    }
}
vectorised! {
    /// `out = a b`.
    fn times(out: &mut [f32], a: &[f32], b: &[f32]) {
        let _ = FMA;
        for (out, (a, b)) in out.iter_mut().zip(a.iter().zip(b)) { *out = a * b; }
    }
}

/// `h_t = a_t h_{t-1} + b_t` over `[batch, time, channels]`, from `start` (`[batch, channels]`) or zero; the result holds `h_1 .. h_T`.
///
/// # Errors
/// When the shapes differ.
pub fn linear_recurrence(a: &Tensor, b: &Tensor, start: Option<&Tensor>) -> Result<Tensor> {
    let &[batch, time, channels] = a.shape() else {
        return shape("linear_recurrence", format!("a {:?} must be [batch, time, channels]", a.shape()));
    };
    if b.shape() != a.shape() {
        return shape("linear_recurrence", format!("b {:?} must have a's shape {:?}", b.shape(), a.shape()));
    }
    if let Some(start) = start.filter(|s| s.shape() != [batch, channels]) {
        return shape(
            "linear_recurrence",
            format!("start {:?} must be [batch, channels] = [{batch}, {channels}]", start.shape()),
        );
    }
    let mut out = Buffer::scratch(a.len());
    let zero = Buffer::zeros(channels);
    let blocks = channels.div_ceil(GROUP);
    let shared = Shared::new(&mut out);
    threads::for_each(batch * blocks, &|job| {
        let (sample, first) = (job / blocks, job % blocks * GROUP);
        let width = GROUP.min(channels - first);
        let mut before = match start {
            Some(start) => &start.data()[sample * channels + first..][..width],
            None => &zero[..width],
        };
        for t in 0..time {
            let at = (sample * time + t) * channels + first;
            // SAFETY: these channels of this sample belong to this job alone, and a step is read only after it was written.
            let h = unsafe { shared.part(at, width) };
            recur(h, before, &a.data()[at..at + width], &b.data()[at..at + width]);
            before = h;
        }
    });
    let out = Arc::new(out);
    let h = Arc::clone(&out);
    let (pa, pb, ps) = (a.clone(), b.clone(), start.cloned());
    let mut parents = vec![a, b];
    parents.extend(start);
    Ok(Tensor::derived("linear_recurrence", a.shape(), out, &parents, move |mut grad, sink| {
        // In place: the gradient of h_t, what arrives there plus a_{t+1} times that of h_{t+1}, is that of b_t.
        let mut da = Buffer::scratch(pa.len());
        let mut d_start = Buffer::scratch(batch * channels);
        let (shared, da_shared, start_shared) =
            (Shared::new(&mut grad), Shared::new(&mut da), Shared::new(&mut d_start));
        threads::for_each(batch * blocks, &|job| {
            let (sample, first) = (job / blocks, job % blocks * GROUP);
            let width = GROUP.min(channels - first);
            let mut carry = vec![0.0; width];
            for t in (0..time).rev() {
                let at = (sample * time + t) * channels + first;
                // SAFETY: these channels of this sample belong to this job alone, here and below.
                let g = unsafe { shared.part(at, width) };
                kernels::add_rows(g, &carry);
                let before = match (t, &ps) {
                    (0, Some(start)) => &start.data()[sample * channels + first..][..width],
                    (0, None) => &zero[..width],
                    _ => &h[at - channels..][..width],
                };
                // SAFETY: as above.
                times(unsafe { da_shared.part(at, width) }, g, before);
                times(&mut carry, g, &pa.data()[at..at + width]);
            }
            // SAFETY: as above.
            unsafe { start_shared.part(sample * channels + first, width) }.copy_from_slice(&carry);
        });
        sink.add(&pa, da);
        sink.add(&pb, grad);
        if let Some(ps) = &ps {
            sink.add(ps, d_start);
        }
        Ok(())
    }))
}

/// `silu(bias + sum_k w[e, k] x_{t-K+1+k}[e])`, a causal convolution of each channel by itself: `x` `[batch, time, channels]`,
/// `weight` `[channels, width]`, `bias` `[channels]`; before the first step stand zeros.
///
/// # Errors
/// When the shapes do not fit.
pub fn causal_conv_silu(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (&[_, time, channels], &[rows, width]) = (x.shape(), weight.shape()) else {
        return shape(
            "causal_conv",
            format!(
                "x {:?} must be [batch, time, channels], the weight {:?} [channels, width]",
                x.shape(),
                weight.shape()
            ),
        );
    };
    if rows != channels || bias.shape() != [channels] {
        return shape(
            "causal_conv",
            format!(
                "the weight {:?} must be [channels, width] = [{channels}, {width}], the bias {:?} [{channels}]",
                weight.shape(),
                bias.shape()
            ),
        );
    }
    let taps = columns(weight.data(), channels, width);
    let pre = convolve(x.data(), &taps, bias.data(), time);
    let out = kernels::map(&pre, silu);
    let (px, pw, pb) = (x.clone(), weight.clone(), bias.clone());
    Ok(Tensor::custom("causal_conv", x.shape(), out, &[x, weight, bias], move |mut grad, sink| {
        kernels::update(&mut grad, &pre, silu_backward);
        if px.requires_grad() {
            sink.add(&px, convolve_back(&grad, &taps, time, channels));
        }
        if pw.requires_grad() {
            let d_taps = tap_gradients(&grad, px.data(), time, channels, width);
            sink.add(&pw, columns(&d_taps, width, channels));
        }
        if pb.requires_grad() {
            sink.add(&pb, kernels::sum_rows(&grad, channels));
        }
        Ok(())
    }))
}

/// The transpose of `[rows, columns]`.
fn columns(from: &[f32], rows: usize, columns: usize) -> Buffer {
    let mut to = Buffer::scratch(from.len());
    for (j, row) in to.chunks_exact_mut(rows.max(1)).enumerate() {
        row.iter_mut().enumerate().for_each(|(i, x)| *x = from[i * columns + j]);
    }
    to
}

vectorised! {
    fn silu(out: &mut [f32], x: &[f32]) {
        for (out, x) in out.iter_mut().zip(x) { *out = x * simd::sigmoid::<FMA>(*x); }
    }
}
vectorised! {
    fn silu_backward(grad: &mut [f32], x: &[f32]) {
        for (g, x) in grad.iter_mut().zip(x) {
            let s = simd::sigmoid::<FMA>(*x);
            *g *= s * fma::<FMA>(*x, 1.0 - s, 1.0);
        }
    }
}
vectorised! {
    /// `sum += a b`.
    fn add_product(sum: &mut [f32], a: &[f32], b: &[f32]) {
        for (sum, (a, b)) in sum.iter_mut().zip(a.iter().zip(b)) { *sum = fma::<FMA>(*a, *b, *sum); }
    }
}

/// Rows (sample and step) of one job of a convolution.
const ROWS: usize = 32;

/// `bias + sum_k taps[k] x_{t-K+1+k}`; `taps` `[width, channels]`.
fn convolve(x: &[f32], taps: &[f32], bias: &[f32], time: usize) -> Buffer {
    let channels = bias.len();
    let width = taps.len() / channels.max(1);
    let mut out = Buffer::scratch(x.len());
    threads::chunks(&mut out, ROWS * channels, |start, out| {
        for (i, out) in out.chunks_exact_mut(channels).enumerate() {
            let row = start / channels + i;
            out.copy_from_slice(bias);
            for (k, tap) in taps.chunks_exact(channels).enumerate() {
                let back = width - 1 - k;
                if back <= row % time {
                    add_product(out, &x[(row - back) * channels..][..channels], tap);
                }
            }
        }
    });
    out
}

/// The gradient of x: `sum_k taps[k] g_{t+K-1-k}`.
fn convolve_back(grad: &[f32], taps: &[f32], time: usize, channels: usize) -> Buffer {
    let width = taps.len() / channels.max(1);
    let mut out = Buffer::scratch(grad.len());
    threads::chunks(&mut out, ROWS * channels, |start, out| {
        for (i, out) in out.chunks_exact_mut(channels).enumerate() {
            let row = start / channels + i;
            out.fill(0.0);
            for (k, tap) in taps.chunks_exact(channels).enumerate() {
                let ahead = width - 1 - k;
                if row % time + ahead < time {
                    add_product(out, &grad[(row + ahead) * channels..][..channels], tap);
                }
            }
        }
    });
    out
}

/// The gradient of the taps, `[width, channels]`: blocks of rows, then the blocks in order.
fn tap_gradients(grad: &[f32], x: &[f32], time: usize, channels: usize, width: usize) -> Buffer {
    let rows = grad.len() / channels.max(1);
    let size = width * channels;
    let mut parts = Buffer::scratch(rows.div_ceil(ROWS) * size);
    threads::chunks(&mut parts, size, |start, part| {
        part.fill(0.0);
        let from = start / size.max(1) * ROWS;
        for row in from..(from + ROWS).min(rows) {
            for (k, sum) in part.chunks_exact_mut(channels).enumerate() {
                let back = width - 1 - k;
                if back <= row % time {
                    add_product(
                        sum,
                        &grad[row * channels..][..channels],
                        &x[(row - back) * channels..][..channels],
                    );
                }
            }
        }
    });
    kernels::sum_rows(&parts, size)
}

#[cfg(test)]
mod tests;
