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
use crate::simd::{self, LANES, fma, vectorised};
use crate::tensor::Tensor;
use crate::threads::Shared;

/// Up to this many queries a head is computed row by row.
const FEW: usize = 16;
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
    /// Which gradient it belongs to.
    slot: usize,
}

impl Operand {
    fn view(&self) -> View<'_> {
        let rows = self.tensor.shape().get(1).copied().unwrap_or(0);
        View {
            data: self.tensor.data(),
            at: self.at,
            columns: self.tensor.last(),
            sample_rows: rows,
            slot: self.slot,
        }
    }
}

/// An operand where it lies: rows of a sample next to each other, heads within a row.
#[derive(Clone, Copy)]
struct View<'a> {
    data: &'a [f32],
    at: usize,
    /// Numbers of a row.
    columns: usize,
    /// Rows from one sample to the next.
    sample_rows: usize,
    slot: usize,
}

impl<'a> View<'a> {
    /// Where a row of a head begins.
    fn offset(&self, sample: usize, row: usize, head: usize, head_dim: usize) -> usize {
        (sample * self.sample_rows + row) * self.columns + self.at + head * head_dim
    }

    /// `rows` rows of a head, `[rows, head_dim]`.
    fn head(&self, sample: usize, row: usize, rows: usize, head: usize, head_dim: usize) -> Mat<'a> {
        let from = self.offset(sample, row, head, head_dim);
        Mat::strided(&self.data[from..], rows, head_dim, self.columns, 1)
    }
}

/// Sizes of an attention and what it is called with.
#[derive(Clone, Copy)]
struct Sizes {
    batch: usize,
    queries: usize,
    keys: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    scale: f32,
    precision: Precision,
}

struct Plan<'a> {
    q: View<'a>,
    k: View<'a>,
    v: View<'a>,
    sizes: Sizes,
    bias: Option<&'a Tensor>,
    mask: &'a Mask,
    /// Row of the result where sample 0 begins.
    first_row: usize,
}

/// Attention over separate tensors: `q` `[batch, queries, heads * head_dim]`, `k` and `v` `[batch, keys, kv_heads * head_dim]`;
/// result as `q`. A query that may see no key gets zeros.
///
/// # Errors
/// When shapes, heads or mask do not fit.
pub fn attention(q: &Tensor, k: &Tensor, v: &Tensor, heads: Heads<'_>, mask: &Mask) -> Result<Tensor> {
    let whole = |t: &Tensor, slot| Operand { tensor: t.clone(), at: 0, slot };
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
    let part = |head: usize| Operand { tensor: qkv.clone(), at: head * head_dim, slot: 0 };
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
    let part = |at| Operand { tensor: kv.clone(), at, slot: 1 };
    let q = Operand { tensor: q.clone(), at: 0, slot: 0 };
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
    let sizes = Sizes::new(heads, [batch, queries, keys, head_dim], mask)?;
    let (out, logs) =
        Plan { q: q.view(), k: k.view(), v: v.view(), sizes, bias: heads.bias, mask, first_row: 0 }.forward();
    let out = Arc::new(out);
    let mut targets: Vec<Tensor> = Vec::with_capacity(4);
    for operand in [&q, &k, &v] {
        if operand.slot == targets.len() {
            targets.push(operand.tensor.clone());
        }
    }
    let parents: Vec<&Tensor> = targets.iter().chain(heads.bias).collect();
    let to = [batch, queries, heads.heads * head_dim];
    let (kept, mask, bias) = (Arc::clone(&out), mask.clone(), heads.bias.cloned());
    Ok(Tensor::derived("attention", &to, out, &parents, {
        let targets = targets.clone();
        move |grad, sink| {
            let mut grads: Vec<Buffer> = targets.iter().map(|t| Buffer::scratch(t.len())).collect();
            let (bias, mask) = (bias.as_ref(), &mask);
            let plan = Plan { q: q.view(), k: k.view(), v: v.view(), sizes, bias, mask, first_row: 0 };
            let bias_grad = plan.backward(&grad, &kept, &logs, &mut grads);
            for (target, grad) in targets.iter().zip(grads) {
                sink.add(target, grad);
            }
            if let (Some(bias), Some(grad)) = (bias, bias_grad) {
                sink.add(bias, grad);
            }
            Ok(())
        }
    }))
}

/// Keys and values of a cache: `capacity` rows for each sample, of which the first `keys` are filled.
#[derive(Clone, Copy)]
pub(crate) struct Cached<'a> {
    pub(crate) k: &'a [f32],
    pub(crate) v: &'a [f32],
    pub(crate) capacity: usize,
    pub(crate) keys: usize,
}

/// Attention of the queries in the first columns of a packed `[batch, queries, (heads + 2 kv_heads) * head_dim]` to a cache, without
/// a gradient; result `[batch, queries, heads * head_dim]`.
pub(crate) fn cached_attention(
    qkv: &Tensor,
    cache: Cached<'_>,
    heads: Heads<'_>,
    mask: &Mask,
) -> Result<Tensor> {
    let head_dim = head_dim("cached_attention", qkv, heads.heads + 2 * heads.kv_heads, heads)?;
    let &[batch, queries, columns] = qkv.shape() else {
        return shape("cached_attention", format!("[batch, time, columns] is needed, got {:?}", qkv.shape()));
    };
    let sizes = Sizes::new(heads, [batch, queries, cache.keys, head_dim], mask)?;
    let q = View { data: qkv.data(), at: 0, columns, sample_rows: queries, slot: 0 };
    let columns = heads.kv_heads * head_dim;
    let view = |data| View { data, at: 0, columns, sample_rows: cache.capacity, slot: 0 };
    let (out, _) =
        Plan { q, k: view(cache.k), v: view(cache.v), sizes, bias: None, mask, first_row: 0 }.forward();
    crate::profile::ended("cached_attention", false);
    Ok(Tensor::constant(out, &[batch, queries, heads.heads * head_dim]))
}

/// Attention within each of several sequences that lie one after another without padding, every token to all of its own sequence,
/// without a gradient: `qkv` `[tokens, (heads + 2 kv_heads) * head_dim]`, columns in the order queries, keys, values, `lengths` in
/// tokens; result `[tokens, heads * head_dim]`. What a sequence gets does not depend on its neighbours, to the bit.
///
/// # Errors
/// When the lengths do not add up to the tokens, or shapes and heads do not fit; a bias is not taken.
pub fn ragged_self_attention(qkv: &Tensor, lengths: &[usize], heads: Heads<'_>) -> Result<Tensor> {
    const NAME: &str = "ragged_self_attention";
    let head_dim = head_dim(NAME, qkv, heads.heads + 2 * heads.kv_heads, heads)?;
    let &[tokens, columns] = qkv.shape() else {
        return shape(NAME, format!("[tokens, columns] is needed, got {:?}", qkv.shape()));
    };
    if lengths.iter().sum::<usize>() != tokens {
        return shape(
            NAME,
            format!("sequences of {} tokens in all, qkv has {tokens}", lengths.iter().sum::<usize>()),
        );
    }
    if heads.bias.is_some() {
        return shape(NAME, "a bias has one size, sequences have several");
    }
    let mask = Mask::full();
    let mut plans = Vec::with_capacity(lengths.len());
    let mut first_row = 0;
    for &length in lengths {
        let sizes = Sizes::new(heads, [1, length, length, head_dim], &mask)?;
        let data = &qkv.data()[first_row * columns..(first_row + length) * columns];
        let part = |head: usize| View { data, at: head * head_dim, columns, sample_rows: length, slot: 0 };
        let (k, v) = (part(heads.heads), part(heads.heads + heads.kv_heads));
        plans.push(Plan { q: part(0), k, v, sizes, bias: None, mask: &mask, first_row });
        first_row += length;
    }
    let mut out = Buffer::scratch(tokens * heads.heads * head_dim);
    let mut logs = Buffer::scratch(tokens * heads.heads);
    let (shared, shared_logs) = (Shared::new(&mut out), Shared::new(&mut logs));
    let large = plans.iter().map(|plan| plan.sizes.work()).sum::<usize>() >= SERIAL;
    run_jobs(plans.len() * heads.heads, large, &|job| {
        plans[job / heads.heads].job(job % heads.heads, shared, shared_logs);
    });
    crate::profile::ended(NAME, false);
    Ok(Tensor::constant(out, &[tokens, heads.heads * head_dim]))
}

impl Sizes {
    fn new(heads: Heads<'_>, [batch, queries, keys, head_dim]: [usize; 4], mask: &Mask) -> Result<Self> {
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
        let (heads, kv_heads) = (heads.heads, heads.kv_heads);
        Ok(Self { batch, queries, keys, heads, kv_heads, head_dim, scale, precision: precision() })
    }

    /// Multiply-adds.
    fn work(&self) -> usize {
        2 * self.batch * self.heads * self.queries * self.keys * self.head_dim
    }

    /// Whether threads are worth waking.
    fn is_large(&self) -> bool {
        self.work() >= SERIAL
    }
}

impl Plan<'_> {
    /// The result and the logarithm of every row's sum.
    fn forward(&self) -> (Buffer, Buffer) {
        let s = &self.sizes;
        let mut out = Buffer::scratch(s.batch * s.queries * s.heads * s.head_dim);
        let mut logs = Buffer::scratch(s.batch * s.heads * s.queries);
        let (shared, shared_logs) = (Shared::new(&mut out), Shared::new(&mut logs));
        run_jobs(s.batch * s.heads, s.is_large(), &|job| self.job(job, shared, shared_logs));
        (out, logs)
    }

    /// Forward of one head of one sample: job `sample * heads + head`.
    fn job(&self, job: usize, out: Shared, logs: Shared) {
        if self.sizes.queries <= FEW && self.sizes.precision == Precision::F32 {
            self.head_of_few(job, out, logs);
        } else {
            self.head(job, out, logs);
        }
    }

    /// Where the result of a head of a query begins.
    fn at(&self, sample: usize, query: usize, head: usize) -> usize {
        let row = self.first_row + sample * self.sizes.queries + query;
        (row * self.sizes.heads + head) * self.sizes.head_dim
    }

    /// Where the logarithm of a query's sum is.
    fn log_at(&self, job: usize, query: usize) -> usize {
        self.first_row * self.sizes.heads + job * self.sizes.queries + query
    }

    /// Keys that any of `count` queries from `first` sees.
    fn span(&self, sample: usize, first: usize, count: usize) -> (usize, usize) {
        let rows = (first..first + count).map(|i| self.mask.row(sample, i, self.sizes.keys));
        let (low, high) = rows
            .filter(|row| row.start < row.end)
            .fold((usize::MAX, 0), |(low, high), row| (low.min(row.start), high.max(row.end)));
        if low < high { (low, high) } else { (0, 0) }
    }

    /// Blocks of queries: first query, their number, first key, number of keys.
    fn blocks(&self, sample: usize) -> impl Iterator<Item = (usize, usize, usize, usize)> {
        (0..self.sizes.queries).step_by(QUERIES).map(move |first| {
            let count = QUERIES.min(self.sizes.queries - first);
            let (low, high) = self.span(sample, first, count);
            (first, count, low, high - low)
        })
    }

    fn bias_row(&self, head: usize, query: usize) -> Option<&[f32]> {
        self.bias.map(|bias| {
            let head = if bias.shape()[0] == 1 { 0 } else { head };
            &bias.data()[(head * self.sizes.queries + query) * self.sizes.keys..][..self.sizes.keys]
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
        let seen = self.mask.row(sample, query, self.sizes.keys);
        let end = (seen.end.max(low) - low).min(row.len());
        let start = (seen.start.max(low) - low).min(end);
        let mut scale = self.sizes.scale;
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

    /// Forward of one head of one sample for a few queries: rows of keys and values are read once each, nothing is packed.
    fn head_of_few(&self, job: usize, out: Shared, logs: Shared) {
        let Sizes { queries, heads, head_dim: d, .. } = self.sizes;
        let (sample, head) = (job / heads, job % heads);
        let kv_head = head / (heads / self.sizes.kv_heads);
        let mut room = Buffer::scratch(padded(self.sizes.keys));
        for i in 0..queries {
            // SAFETY: the columns and the logarithms of this head belong to this job.
            let (out, log) =
                unsafe { (out.part(self.at(sample, i, head), d), logs.part(self.log_at(job, i), 1)) };
            let seen = self.mask.row(sample, i, self.sizes.keys);
            let len = seen.end - seen.start;
            let row = &mut room[..padded(len)];
            let q = self.q.offset(sample, i, head, d);
            let [k, v] = [self.k, self.v].map(|x| (x.data, x.offset(sample, seen.start, kv_head, d)));
            scores_of(&mut row[..len], &self.q.data[q..q + d], &k.0[k.1.min(k.0.len())..], self.k.columns);
            let (start, end, scale) = self.masked(row, sample, head, i, seen.start);
            let (max, sum) = exp_row(row, start, end, scale);
            log[0] = if sum > 0.0 { max + libm::logf(sum) } else { f32::NEG_INFINITY };
            mix(
                out,
                &row[..len],
                &v.0[v.1.min(v.0.len())..],
                self.v.columns,
                if sum > 0.0 { 1.0 / sum } else { 0.0 },
            );
        }
    }

    /// Forward of one head of one sample.
    fn head(&self, job: usize, out: Shared, logs: Shared) {
        let (sample, head) = (job / self.sizes.heads, job % self.sizes.heads);
        let (d, group) = (self.sizes.head_dim, self.sizes.heads / self.sizes.kv_heads);
        let mut scores = Buffer::scratch(QUERIES.min(self.sizes.queries) * padded(self.sizes.keys));
        let mut mixed = Buffer::scratch(QUERIES.min(self.sizes.queries) * d);
        for (first, count, low, keys) in self.blocks(sample) {
            let step = padded(keys);
            let scores = &mut scores[..count * step];
            let q = self.q.head(sample, first, count, head, d);
            let (k, v) = (
                self.k.head(sample, low, keys, head / group, d),
                self.v.head(sample, low, keys, head / group, d),
            );
            gemm_serial(scores, step, q, k.t(), Start::Zero, self.sizes.precision);
            let mut inverse = [0.0; QUERIES];
            for i in 0..count {
                let row = &mut scores[i * step..(i + 1) * step];
                let (start, end, scale) = self.masked(row, sample, head, first + i, low);
                let (max, sum) = exp_row(row, start, end, scale);
                inverse[i] = if sum > 0.0 { 1.0 / sum } else { 0.0 };
                let log = if sum > 0.0 { max + libm::logf(sum) } else { f32::NEG_INFINITY };
                // SAFETY: the logarithms of this head belong to this job.
                unsafe { logs.part(self.log_at(job, first + i), 1)[0] = log };
            }
            let mixed = &mut mixed[..count * d];
            gemm_serial(
                mixed,
                d,
                Mat::strided(scores, count, keys, step, 1),
                v,
                Start::Zero,
                self.sizes.precision,
            );
            for (i, row) in mixed.chunks_exact(d).enumerate() {
                // SAFETY: the columns of this head belong to this job.
                scaled(unsafe { out.part(self.at(sample, first + i, head), d) }, row, inverse[i]);
            }
        }
    }

    /// Fills the gradients of the operands; returns that of the bias.
    fn backward(&self, grad: &[f32], out: &[f32], logs: &[f32], grads: &mut [Buffer]) -> Option<Buffer> {
        let wants_bias = self.bias.is_some_and(Tensor::requires_grad);
        let mut by_head = Buffer::zeros(if wants_bias {
            self.sizes.heads * self.sizes.queries * self.sizes.keys
        } else {
            0
        });
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
            run_jobs(self.sizes.kv_heads, self.sizes.is_large(), &|head| {
                (0..self.sizes.batch).for_each(|sample| pass.head(sample, head));
            });
        } else {
            run_jobs(self.sizes.batch * self.sizes.kv_heads, self.sizes.is_large(), &|job| {
                pass.head(job / self.sizes.kv_heads, job % self.sizes.kv_heads);
            });
        }
        let bias = self.bias.filter(|_| wants_bias)?;
        if bias.shape()[0] == self.sizes.heads {
            return Some(by_head);
        }
        let mut sum = Buffer::zeros(bias.len());
        crate::kernels::add_rows(&mut sum, &by_head);
        Some(sum)
    }
}

/// What the jobs of backward share.
struct Pass<'a> {
    plan: &'a Plan<'a>,
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
        let (d, group) = (p.sizes.head_dim, p.sizes.heads / p.sizes.kv_heads);
        let rows = QUERIES.min(p.sizes.queries);
        let (mut dk, mut dv) = (Buffer::zeros(p.sizes.keys * d), Buffer::zeros(p.sizes.keys * d));
        let mut room = Buffer::scratch(2 * rows * padded(p.sizes.keys) + rows * d);
        for head in kv_head * group..(kv_head + 1) * group {
            for (first, count, low, keys) in p.blocks(sample) {
                self.block(sample, head, (first, count, low, keys), &mut room, &mut dk, &mut dv);
            }
        }
        for (operand, from) in [(&p.k, &dk), (&p.v, &dv)] {
            self.write(operand, sample, 0, kv_head, from);
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
        let (d, kv_head) = (p.sizes.head_dim, head / (p.sizes.heads / p.sizes.kv_heads));
        let step = padded(keys);
        let (scores, room) = room.split_at_mut(count * step);
        let (slopes, room) = room.split_at_mut(count * step);
        let dq = &mut room[..count * d];
        let row = sample * p.sizes.queries + first;
        let (q, k, v) = (
            p.q.head(sample, first, count, head, d),
            p.k.head(sample, low, keys, kv_head, d),
            p.v.head(sample, low, keys, kv_head, d),
        );
        let at = (row * p.sizes.heads + head) * d;
        let dy = Mat::strided(&self.grad[at..], count, d, p.sizes.heads * d, 1);
        gemm_serial(scores, step, q, k.t(), Start::Zero, p.sizes.precision);
        gemm_serial(slopes, step, dy, v.t(), Start::Zero, p.sizes.precision);
        for i in 0..count {
            let (probability, slope) =
                (&mut scores[i * step..(i + 1) * step], &mut slopes[i * step..(i + 1) * step]);
            let (start, end, scale) = p.masked(probability, sample, head, first + i, low);
            let log = self.logs[(sample * p.sizes.heads + head) * p.sizes.queries + first + i];
            let y = at + i * p.sizes.heads * d;
            let along = simd::dot(&self.grad[y..y + d], &self.out[y..y + d]);
            slope_row(probability, slope, start, end, scale, log, along);
            if let Some(bias) = &self.bias {
                // SAFETY: this job alone holds this head, and its samples come one after another.
                let sum =
                    unsafe { bias.part((head * p.sizes.queries + first + i) * p.sizes.keys + low, keys) };
                sum.iter_mut().zip(slope.iter()).for_each(|(sum, g)| *sum += g);
            }
            scale_row(slope, p.sizes.scale);
        }
        let (lower, upper) = (low * d, (low + keys) * d);
        let probabilities = Mat::strided(scores, count, keys, step, 1);
        gemm_serial(&mut dv[lower..upper], d, probabilities.t(), dy, Start::Keep, p.sizes.precision);
        let slopes = Mat::strided(slopes, count, keys, step, 1);
        gemm_serial(dq, d, slopes, k, Start::Zero, p.sizes.precision);
        gemm_serial(&mut dk[lower..upper], d, slopes.t(), q, Start::Keep, p.sizes.precision);
        self.write(&p.q, sample, first, head, dq);
    }

    /// Puts rows of a head where the operand has them.
    fn write(&self, operand: &View<'_>, sample: usize, row: usize, head: usize, from: &[f32]) {
        let d = self.plan.sizes.head_dim;
        for (i, from) in from.chunks_exact(d).enumerate() {
            // SAFETY: rows of this sample and columns of this head belong to this job.
            let to = unsafe { self.grads[operand.slot].part(operand.offset(sample, row + i, head, d), d) };
            to.copy_from_slice(from);
        }
    }
}

vectorised! {
    /// Inner products of `q` with rows of `k`, `columns` apart.
    fn scores_of(out: &mut [f32], q: &[f32], k: &[f32], columns: usize) {
        let d = q.len();
        for (j, out) in out.iter_mut().enumerate() {
            let k = &k[j * columns..j * columns + d];
            let mut lanes = [0.0_f32; LANES];
            for (x, y) in q.chunks(LANES).zip(k.chunks(LANES)) {
                if let (Ok(x), Ok(y)) = (<&[f32; LANES]>::try_from(x), <&[f32; LANES]>::try_from(y)) {
                    for l in 0..LANES { lanes[l] = fma::<FMA>(x[l], y[l], lanes[l]); }
                } else {
                    for (lane, (x, y)) in lanes.iter_mut().zip(x.iter().zip(y)) { *lane = fma::<FMA>(*x, *y, *lane); }
                }
            }
            *out = simd::add_lanes(&lanes);
        }
    }
}
vectorised! {
    /// `out = factor * sum of weights[j] * row j of v`, rows `columns` apart.
    fn mix(out: &mut [f32], weights: &[f32], v: &[f32], columns: usize, factor: f32) {
        let d = out.len();
        for first in (0..d).step_by(2 * LANES) {
            let width = (d - first).min(2 * LANES);
            let mut sums = [0.0_f32; 2 * LANES];
            for (j, w) in weights.iter().enumerate() {
                let row = &v[j * columns + first..][..width];
                if let Ok(row) = <&[f32; 2 * LANES]>::try_from(row) {
                    for l in 0..2 * LANES { sums[l] = fma::<FMA>(*w, row[l], sums[l]); }
                } else {
                    for (sum, x) in sums.iter_mut().zip(row) { *sum = fma::<FMA>(*w, *x, *sum); }
                }
            }
            for (out, sum) in out[first..first + width].iter_mut().zip(&sums) { *out = sum * factor; }
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
    fn scale_row(x: &mut [f32], factor: f32) {
        let _ = FMA;
        for x in x.as_chunks_mut::<LANES>().0 { for x in x { *x *= factor; } }
    }
}

/// Rows of scores are whole chunks of [`LANES`], so that no kernel has a remainder.
fn padded(keys: usize) -> usize {
    keys.next_multiple_of(LANES)
}

/// Clears a padded row outside `start..end`: zeros in chunks that lie outside whole, -inf beside the range. Gives the chunks between.
#[inline(always)]
fn inside(row: &mut [f32], start: usize, end: usize) -> &mut [[f32; LANES]] {
    let (first, last) = if start < end { (start / LANES * LANES, padded(end)) } else { (0, 0) };
    row[..first].fill(0.0);
    row[last..].fill(0.0);
    if start < end {
        row[first..start].fill(f32::NEG_INFINITY);
        row[end..last].fill(f32::NEG_INFINITY);
    }
    row[first..last].as_chunks_mut().0
}

vectorised! {
    /// `e^(scale (s - max))` within the range, 0 outside; returns the scaled maximum and the sum, 0 when nothing is allowed.
    fn exp_row(row: &mut [f32], start: usize, end: usize, scale: f32) -> (f32, f32) {
        let chunks = inside(row, start, end);
        let mut lanes = [f32::NEG_INFINITY; LANES];
        for chunk in chunks.iter() {
            for (lane, x) in lanes.iter_mut().zip(chunk) { *lane = if *x > *lane { *x } else { *lane }; }
        }
        let mut width = LANES / 2;
        while width > 0 {
            for i in 0..width { lanes[i] = if lanes[i + width] > lanes[i] { lanes[i + width] } else { lanes[i] }; }
            width /= 2;
        }
        let max = lanes[0] * scale;
        if max == f32::NEG_INFINITY {
            chunks.as_flattened_mut().fill(0.0);
            return (max, 0.0);
        }
        let mut sums = [0.0_f32; LANES];
        for chunk in chunks {
            for (sum, x) in sums.iter_mut().zip(chunk) {
                *x = simd::exp::<FMA>(fma::<FMA>(*x, scale, -max));
                *sum += *x;
            }
        }
        (max, simd::add_lanes(&sums))
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
        let first = start / LANES * LANES;
        slopes[..first].fill(0.0);
        slopes[padded(end)..].fill(0.0);
        let chunks = inside(scores, start, end);
        for (s, g) in chunks.iter_mut().zip(slopes[first..].as_chunks_mut::<LANES>().0) {
            for (s, g) in s.iter_mut().zip(g) {
                let p = simd::exp::<FMA>(fma::<FMA>(*s, scale, -log));
                *s = p;
                *g = p * (*g - along);
            }
        }
    }
}

#[cfg(test)]
mod tests;
