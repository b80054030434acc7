//! Fused multi-head attention: softmax(scale Q K' + bias) V under any mask, block by block of queries.
//!
//! Only the logarithm of each row's sum is kept; backward computes the probabilities again (as Dao et al., 2022, do to save
//! memory traffic). Keys that no query of a block may see are not touched, so a causal mask costs about half.
//! Queries, keys and values are read where they lie, whether packed in one tensor or separate, and written likewise.

use std::sync::Arc;

use super::mask::Mask;
use crate::buffer::Buffer;
use crate::error::{Result, config, shape};
use crate::gemm::{Mat, Precision, SERIAL, Start, gemm_serial, precision, run_jobs};
use crate::simd::{self, LANES, fma, sum_by, vectorised};
use crate::tensor::Tensor;
use crate::threads::Shared;

/// Queries of one block.
const QUERIES: usize = 64;

/// How the columns of queries, keys and values make heads.
#[derive(Clone, Copy, Debug)]
pub struct Heads<'a> {
    heads: usize,
    kv_heads: usize,
    scale: Option<f32>,
    bias: Option<&'a Tensor>,
}

impl<'a> Heads<'a> {
    /// As many heads of keys and values as of queries, scale `1 / sqrt(head_dim)`.
    #[must_use]
    pub fn new(heads: usize) -> Self {
        Self { heads, kv_heads: heads, scale: None, bias: None }
    }

    /// Fewer heads of keys and values, each shared by `heads / kv_heads` neighbouring heads of queries (Ainslie et al., 2023).
    #[must_use]
    pub fn grouped(heads: usize, kv_heads: usize) -> Self {
        Self { kv_heads, ..Self::new(heads) }
    }

    /// Another factor on the scores.
    #[must_use]
    pub fn scaled(self, scale: f32) -> Self {
        Self { scale: Some(scale), ..self }
    }

    /// Adds `bias` (`[heads or 1, queries, keys]`) to the scaled scores. Its gradient, when wanted, costs parallelism over samples.
    #[must_use]
    pub fn biased(self, bias: &'a Tensor) -> Self {
        Self { bias: Some(bias), ..self }
    }
}

/// Columns of a tensor that hold the heads of queries, keys or values.
#[derive(Clone)]
struct Operand {
    tensor: Tensor,
    /// Column of head 0.
    at: usize,
    /// Columns of a row of the tensor.
    columns: usize,
    /// Which gradient it belongs to.
    slot: usize,
}

impl Operand {
    /// First element of a head at a row (all samples' rows counted through).
    fn offset(&self, row: usize, head: usize, head_dim: usize) -> usize {
        row * self.columns + self.at + head * head_dim
    }

    /// `rows` rows of a head, `[rows, head_dim]`.
    fn head(&self, row: usize, rows: usize, head: usize, head_dim: usize) -> Mat<'_> {
        Mat::strided(&self.tensor.data()[self.offset(row, head, head_dim)..], rows, head_dim, self.columns, 1)
    }
}

struct Plan {
    q: Operand,
    k: Operand,
    v: Operand,
    batch: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    scale: f32,
    bias: Option<Tensor>,
    mask: Mask,
    precision: Precision,
}

/// Attention over separate tensors: `q` `[batch, queries, heads * head_dim]`, `k` and `v` `[batch, keys, kv_heads * head_dim]`;
/// result as `q`. A query that may see no key gets zeros.
///
/// # Errors
/// When shapes, heads or mask do not fit.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: Heads<'_>, mask: &Mask) -> Result<Tensor> {
    let whole = |t: &Tensor, slot| Operand { tensor: t.clone(), at: 0, columns: t.last(), slot };
    let head_dim = head_dim("attention", q, heads.heads, heads)?;
    if k.shape() != v.shape() || k.last() != heads.kv_heads * head_dim {
        return shape(
            "attention",
            format!(
                "k {:?} and v {:?} must be [batch, keys, {}] for {} heads of {head_dim}",
                k.shape(),
                v.shape(),
                heads.kv_heads * head_dim,
                heads.kv_heads
            ),
        );
    }
    run(whole(q, 0), whole(k, 1), whole(v, 2), head_dim, heads, mask)
}

/// Attention of a packed tensor with itself: `qkv` `[batch, time, (heads + 2 kv_heads) * head_dim]`, columns in the order queries,
/// keys, values; result `[batch, time, heads * head_dim]`.
///
/// # Errors
/// When shapes, heads or mask do not fit.
pub fn self_attention(qkv: &Tensor, heads: Heads<'_>, mask: &Mask) -> Result<Tensor> {
    let head_dim = head_dim("self_attention", qkv, heads.heads + 2 * heads.kv_heads, heads)?;
    let part =
        |head: usize| Operand { tensor: qkv.clone(), at: head * head_dim, columns: qkv.last(), slot: 0 };
    let (k, v) = (part(heads.heads), part(heads.heads + heads.kv_heads));
    run(part(0), k, v, head_dim, heads, mask)
}

/// Attention to another sequence with packed keys and values: `q` `[batch, queries, heads * head_dim]`, `kv`
/// `[batch, keys, 2 kv_heads * head_dim]`, columns in the order keys, values; result as `q`.
///
/// # Errors
/// When shapes, heads or mask do not fit.
pub fn cross_attention(q: &Tensor, kv: &Tensor, heads: Heads<'_>, mask: &Mask) -> Result<Tensor> {
    let head_dim = head_dim("cross_attention", q, heads.heads, heads)?;
    if kv.last() != 2 * heads.kv_heads * head_dim {
        return shape(
            "cross_attention",
            format!(
                "kv {:?} must be [batch, keys, {}] for {} heads of {head_dim}",
                kv.shape(),
                2 * heads.kv_heads * head_dim,
                heads.kv_heads
            ),
        );
    }
    let part = |at| Operand { tensor: kv.clone(), at, columns: kv.last(), slot: 1 };
    let q = Operand { tensor: q.clone(), at: 0, columns: q.last(), slot: 0 };
    run(q, part(0), part(heads.kv_heads * head_dim), head_dim, heads, mask)
}

/// Elements of one of the `parts` heads in the columns of `x`.
fn head_dim(operation: &'static str, x: &Tensor, parts: usize, heads: Heads<'_>) -> Result<usize> {
    if heads.heads == 0 || heads.kv_heads == 0 || !heads.heads.is_multiple_of(heads.kv_heads) {
        return config("kv_heads", format!("a divisor of heads = {}", heads.heads), heads.kv_heads);
    }
    if x.last() == 0 || !x.last().is_multiple_of(parts) {
        return shape(
            operation,
            format!("the last axis of {:?} must be a multiple of {parts} heads", x.shape()),
        );
    }
    Ok(x.last() / parts)
}

fn run(q: Operand, k: Operand, v: Operand, head_dim: usize, heads: Heads<'_>, mask: &Mask) -> Result<Tensor> {
    let (&[batch, queries, _], &[k_batch, keys, _]) = (q.tensor.shape(), k.tensor.shape()) else {
        return shape(
            "attention",
            format!(
                "[batch, time, columns] is needed, got {:?} and {:?}",
                q.tensor.shape(),
                k.tensor.shape()
            ),
        );
    };
    if batch != k_batch {
        return shape("attention", format!("queries of {batch} samples, keys of {k_batch}"));
    }
    mask.check(batch, queries, keys)?;
    if let Some(bias) = heads.bias
        && bias.shape() != [heads.heads, queries, keys]
        && bias.shape() != [1, queries, keys]
    {
        return shape(
            "attention",
            format!("the bias {:?} must be [{} or 1, {queries}, {keys}]", bias.shape(), heads.heads),
        );
    }
    let scale = heads.scale.unwrap_or(1.0 / (head_dim as f32).sqrt());
    if !(scale.is_finite() && scale > 0.0) {
        return config("scale", "positive and finite", scale);
    }
    let plan = Plan {
        q,
        k,
        v,
        batch,
        queries,
        keys,
        heads: heads.heads,
        kv_heads: heads.kv_heads,
        head_dim,
        scale,
        bias: heads.bias.cloned(),
        mask: mask.clone(),
        precision: precision(),
    };
    Ok(plan.apply())
}

impl Plan {
    fn apply(self) -> Tensor {
        let width = self.heads * self.head_dim;
        let mut out = Buffer::scratch(self.batch * self.queries * width);
        let mut logs = Buffer::scratch(self.batch * self.heads * self.queries);
        let (shared, shared_logs) = (Shared::new(&mut out), Shared::new(&mut logs));
        run_jobs(self.batch * self.heads, self.is_large(), &|job| self.head(job, shared, shared_logs));
        let out = Arc::new(out);
        let to = [self.batch, self.queries, width];
        let mut parents: Vec<Tensor> = Vec::with_capacity(4);
        for operand in [&self.q, &self.k, &self.v] {
            if operand.slot == parents.len() {
                parents.push(operand.tensor.clone());
            }
        }
        let targets = parents.clone();
        parents.extend(self.bias.clone());
        let kept = Arc::clone(&out);
        Tensor::derived("attention", &to, out, &parents.iter().collect::<Vec<_>>(), move |grad, sink| {
            let mut grads: Vec<Buffer> = targets.iter().map(|t| Buffer::scratch(t.len())).collect();
            let bias_grad = self.backward(&grad, &kept, &logs, &mut grads);
            for (target, grad) in targets.iter().zip(grads) {
                sink.add(target, grad);
            }
            if let (Some(bias), Some(grad)) = (&self.bias, bias_grad) {
                sink.add(bias, grad);
            }
            Ok(())
        })
    }

    fn is_large(&self) -> bool {
        2 * self.batch * self.heads * self.queries * self.keys * self.head_dim >= SERIAL
    }

    /// Keys that any of `count` queries from `first` sees.
    fn span(&self, sample: usize, first: usize, count: usize) -> (usize, usize) {
        let rows = (first..first + count).map(|i| self.mask.row(sample, i, self.keys));
        let (low, high) = rows
            .filter(|row| row.start < row.end)
            .fold((usize::MAX, 0), |(low, high), row| (low.min(row.start), high.max(row.end)));
        if low < high { (low, high) } else { (0, 0) }
    }

    /// Blocks of queries: first query, their number, first key, number of keys.
    fn blocks(&self, sample: usize) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        (0..self.queries).step_by(QUERIES).map(move |first| {
            let count = QUERIES.min(self.queries - first);
            let (low, high) = self.span(sample, first, count);
            (first, count, low, high - low)
        })
    }

    fn bias_row(&self, head: usize, query: usize) -> Option<&[f32]> {
        self.bias.as_ref().map(|bias| {
            let head = if bias.shape()[0] == 1 { 0 } else { head };
            &bias.data()[(head * self.queries + query) * self.keys..][..self.keys]
        })
    }

    /// Scores of a row: what the query may not see becomes -inf or lies outside the range returned; the factor that is left to
    /// apply is returned too.
    fn masked(
        &self,
        row: &mut [f32],
        sample: usize,
        head: usize,
        query: usize,
        low: usize,
    ) -> (usize, usize, f32) {
        let seen = self.mask.row(sample, query, self.keys);
        let end = (seen.end.max(low) - low).min(row.len());
        let start = (seen.start.max(low) - low).min(end);
        let mut scale = self.scale;
        if let Some(bias) = self.bias_row(head, query) {
            add_bias(&mut row[start..end], &bias[low + start..low + end], scale);
            scale = 1.0;
        }
        if let Some(bits) = seen.bits {
            for (j, score) in row[start..end].iter_mut().enumerate() {
                let key = low + start + j;
                if bits[key / 64] >> (key % 64) & 1 == 0 {
                    *score = f32::NEG_INFINITY;
                }
            }
        }
        (start, end, scale)
    }

    /// Forward of one head of one sample.
    fn head(&self, job: usize, out: Shared, logs: Shared) {
        let (sample, head) = (job / self.heads, job % self.heads);
        let (d, group) = (self.head_dim, self.heads / self.kv_heads);
        let mut scores = Buffer::scratch(QUERIES.min(self.queries) * self.keys);
        let mut mixed = Buffer::scratch(QUERIES.min(self.queries) * d);
        for (first, count, low, keys) in self.blocks(sample) {
            let scores = &mut scores[..count * keys];
            let q = self.q.head(sample * self.queries + first, count, head, d);
            let (k, v) = (
                self.k.head(sample * self.keys + low, keys, head / group, d),
                self.v.head(sample * self.keys + low, keys, head / group, d),
            );
            gemm_serial(scores, keys, q, k.t(), Start::Zero, self.precision);
            let mut inverse = [0.0; QUERIES];
            for i in 0..count {
                let row = &mut scores[i * keys..(i + 1) * keys];
                let (start, end, scale) = self.masked(row, sample, head, first + i, low);
                let (max, sum) = exp_row(row, start, end, scale);
                inverse[i] = if sum > 0.0 { 1.0 / sum } else { 0.0 };
                let log = if sum > 0.0 { max + libm::logf(sum) } else { f32::NEG_INFINITY };
                // SAFETY: the logarithms of this head belong to this job.
                unsafe { logs.part(job * self.queries + first + i, 1)[0] = log };
            }
            let mixed = &mut mixed[..count * d];
            gemm_serial(mixed, d, Mat::new(scores, count, keys), v, Start::Zero, self.precision);
            for (i, row) in mixed.chunks_exact(d).enumerate() {
                let at = ((sample * self.queries + first + i) * self.heads + head) * d;
                // SAFETY: the columns of this head belong to this job.
                scaled(unsafe { out.part(at, d) }, row, inverse[i]);
            }
        }
    }

    /// Fills the gradients of the operands; returns that of the bias.
    fn backward(&self, grad: &[f32], out: &[f32], logs: &[f32], grads: &mut [Buffer]) -> Option<Buffer> {
        let wants_bias = self.bias.as_ref().is_some_and(Tensor::requires_grad);
        let mut by_head = Buffer::zeros(if wants_bias { self.heads * self.queries * self.keys } else { 0 });
        let pass = Pass {
            plan: self,
            grad,
            out,
            logs,
            grads: grads.iter_mut().map(|g| Shared::new(g)).collect(),
            bias: wants_bias.then(|| Shared::new(&mut by_head)),
        };
        if wants_bias {
            // Samples add to one gradient of the bias: one after another.
            run_jobs(self.kv_heads, self.is_large(), &|head| {
                (0..self.batch).for_each(|sample| pass.head(sample, head));
            });
        } else {
            run_jobs(self.batch * self.kv_heads, self.is_large(), &|job| {
                pass.head(job / self.kv_heads, job % self.kv_heads);
            });
        }
        let bias = self.bias.as_ref().filter(|_| wants_bias)?;
        if bias.shape()[0] == self.heads {
            return Some(by_head);
        }
        let mut sum = Buffer::zeros(bias.len());
        crate::kernels::add_rows(&mut sum, &by_head);
        Some(sum)
    }
}

/// What the jobs of backward share.
struct Pass<'a> {
    plan: &'a Plan,
    grad: &'a [f32],
    out: &'a [f32],
    logs: &'a [f32],
    grads: Vec<Shared>,
    bias: Option<Shared>,
}

impl Pass<'_> {
    /// Backward of one head of keys and values of one sample, with all heads of queries that share it.
    fn head(&self, sample: usize, kv_head: usize) {
        let p = self.plan;
        let (d, group) = (p.head_dim, p.heads / p.kv_heads);
        let rows = QUERIES.min(p.queries);
        let (mut dk, mut dv) = (Buffer::zeros(p.keys * d), Buffer::zeros(p.keys * d));
        let mut room = Buffer::scratch(2 * rows * p.keys + rows * d);
        for head in kv_head * group..(kv_head + 1) * group {
            for (first, count, low, keys) in p.blocks(sample) {
                self.block(sample, head, (first, count, low, keys), &mut room, &mut dk, &mut dv);
            }
        }
        for (operand, from) in [(&p.k, &dk), (&p.v, &dv)] {
            self.write(operand, sample * p.keys, kv_head, from);
        }
    }

    fn block(
        &self,
        sample: usize,
        head: usize,
        (first, count, low, keys): (usize, usize, usize, usize),
        room: &mut [f32],
        dk: &mut [f32],
        dv: &mut [f32],
    ) {
        let p = self.plan;
        let (d, kv_head) = (p.head_dim, head / (p.heads / p.kv_heads));
        let (scores, room) = room.split_at_mut(count * keys);
        let (slopes, room) = room.split_at_mut(count * keys);
        let dq = &mut room[..count * d];
        let row = sample * p.queries + first;
        let (q, k, v) = (
            p.q.head(row, count, head, d),
            p.k.head(sample * p.keys + low, keys, kv_head, d),
            p.v.head(sample * p.keys + low, keys, kv_head, d),
        );
        let at = (row * p.heads + head) * d;
        let dy = Mat::strided(&self.grad[at..], count, d, p.heads * d, 1);
        gemm_serial(scores, keys, q, k.t(), Start::Zero, p.precision);
        gemm_serial(slopes, keys, dy, v.t(), Start::Zero, p.precision);
        for i in 0..count {
            let (probability, slope) =
                (&mut scores[i * keys..(i + 1) * keys], &mut slopes[i * keys..(i + 1) * keys]);
            let (start, end, scale) = p.masked(probability, sample, head, first + i, low);
            let log = self.logs[(sample * p.heads + head) * p.queries + first + i];
            let y = at + i * p.heads * d;
            let along = simd::dot(&self.grad[y..y + d], &self.out[y..y + d]);
            slope_row(probability, slope, start, end, scale, log, along);
            if let Some(bias) = &self.bias {
                // SAFETY: this job alone holds this head, and its samples come one after another.
                let sum = unsafe { bias.part((head * p.queries + first + i) * p.keys + low, keys) };
                sum.iter_mut().zip(slope.iter()).for_each(|(sum, g)| *sum += g);
            }
        }
        let (lower, upper) = (low * d, (low + keys) * d);
        let probabilities = Mat::new(scores, count, keys);
        gemm_serial(&mut dv[lower..upper], d, probabilities.t(), dy, Start::Keep, p.precision);
        crate::kernels::scale_serial(slopes, p.scale);
        let slopes = Mat::new(slopes, count, keys);
        gemm_serial(dq, d, slopes, k, Start::Zero, p.precision);
        gemm_serial(&mut dk[lower..upper], d, slopes.t(), q, Start::Keep, p.precision);
        self.write(&p.q, row, head, dq);
    }

    /// Puts rows of a head where the operand has them.
    fn write(&self, operand: &Operand, row: usize, head: usize, from: &[f32]) {
        let d = self.plan.head_dim;
        for (i, from) in from.chunks_exact(d).enumerate() {
            // SAFETY: rows of this sample and columns of this head belong to this job.
            let to = unsafe { self.grads[operand.slot].part(operand.offset(row + i, head, d), d) };
            to.copy_from_slice(from);
        }
    }
}

vectorised! {
    /// `score = scale score + bias`.
    fn add_bias(scores: &mut [f32], bias: &[f32], scale: f32) {
        for (s, b) in scores.iter_mut().zip(bias) { *s = fma::<FMA>(*s, scale, *b); }
    }
}
vectorised! {
    fn scaled(out: &mut [f32], x: &[f32], factor: f32) {
        let _ = FMA;
        for (out, x) in out.iter_mut().zip(x) { *out = x * factor; }
    }
}
vectorised! {
    /// `e^(scale (s - max))` within the range, 0 outside; returns the scaled maximum and the sum, 0 when nothing is allowed.
    fn exp_row(row: &mut [f32], start: usize, end: usize, scale: f32) -> (f32, f32) {
        row[..start].fill(0.0);
        row[end..].fill(0.0);
        let row = &mut row[start..end];
        let mut lanes = [f32::NEG_INFINITY; LANES];
        let (whole, rest) = row.as_chunks::<LANES>();
        for chunk in whole {
            for (lane, x) in lanes.iter_mut().zip(chunk) { *lane = if *x > *lane { *x } else { *lane }; }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) { *lane = if *x > *lane { *x } else { *lane }; }
        let max = lanes.iter().fold(f32::NEG_INFINITY, |a, b| if *b > a { *b } else { a }) * scale;
        if max == f32::NEG_INFINITY {
            row.fill(0.0);
            return (max, 0.0);
        }
        for x in row.iter_mut() { *x = simd::exp::<FMA>(fma::<FMA>(*x, scale, -max)); }
        (max, sum_by(row.len(), |i| row[i]))
    }
}
vectorised! {
    /// Probabilities `p` from scores, and slopes `p (dp - along)` from their gradients, 0 outside the range.
    fn slope_row(
        scores: &mut [f32],
        slopes: &mut [f32],
        start: usize,
        end: usize,
        scale: f32,
        log: f32,
        along: f32,
    ) {
        let (start, end) = if log == f32::NEG_INFINITY { (0, 0) } else { (start, end) };
        for row in [&mut *scores, &mut *slopes] {
            row[..start].fill(0.0);
            row[end..].fill(0.0);
        }
        for (s, g) in scores[start..end].iter_mut().zip(&mut slopes[start..end]) {
            let p = simd::exp::<FMA>(fma::<FMA>(*s, scale, -log));
            *s = p;
            *g = p * (*g - along);
        }
    }
}

#[cfg(test)]
mod tests;
