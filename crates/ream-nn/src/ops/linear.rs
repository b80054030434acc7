//! Matrix products with gradients.

use crate::buffer::Buffer;
use crate::error::{Result, shape};
use crate::gemm::{Mat, Start, gemm, gemm_serial, precision};
use crate::kernels;
use crate::tensor::Tensor;
use crate::threads::{self, Shared};

/// `x W' + b` over the last axis: `x` `[.., d_in]`, `weight` `[d_out, d_in]`, `bias` `[d_out]`.
///
/// # Errors
/// When the sizes do not fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let &[d_out, d_in] = weight.shape() else {
        return shape("linear", format!("a weight [d_out, d_in] is needed, got {:?}", weight.shape()));
    };
    if x.rank() == 0 || x.last() != d_in {
        return shape(
            "linear",
            format!(
                "the last axis of {:?} must be d_in = {d_in} of the weight {:?}",
                x.shape(),
                weight.shape()
            ),
        );
    }
    if let Some(bias) = bias.filter(|b| b.shape() != [d_out]) {
        return shape("linear", format!("the bias {:?} must be [d_out] = [{d_out}]", bias.shape()));
    }
    let rows = x.rows();
    let mut out = Buffer::scratch(rows * d_out);
    let start = bias.map_or(Start::Zero, |b| Start::Bias(b.data()));
    gemm(&mut out, d_out, Mat::new(x.data(), rows, d_in), Mat::new(weight.data(), d_out, d_in).t(), start);
    let mut to = x.shape().to_vec();
    if let Some(last) = to.last_mut() {
        *last = d_out;
    }
    let (px, pw, pb) = (x.clone(), weight.clone(), bias.cloned());
    let mut parents = vec![x, weight];
    parents.extend(bias);
    Ok(Tensor::custom("linear", &to, out, &parents, move |grad, sink| {
        let dy = Mat::new(&grad, rows, d_out);
        if px.requires_grad() {
            let mut dx = Buffer::scratch(rows * d_in);
            gemm(&mut dx, d_in, dy, Mat::new(pw.data(), d_out, d_in), Start::Zero);
            sink.add(&px, dx);
        }
        if pw.requires_grad() {
            let (dw, start) = sink.start(&pw);
            gemm(dw, d_in, dy.t(), Mat::new(px.data(), rows, d_in), start);
        }
        if let Some(pb) = pb.filter(Tensor::requires_grad) {
            sink.add(&pb, kernels::sum_rows(&grad, d_out));
        }
        Ok(())
    }))
}

impl Tensor {
    /// Matrix product of the last two axes: `[.., m, k]` by `[.., k, n]` with equal leading axes, or `[k, n]`.
    ///
    /// # Errors
    /// When the sizes do not fit.
    pub fn matmul(&self, other: &Self) -> Result<Self> {
        let (a, b) = (self.shape(), other.shape());
        let problem = || {
            shape(
                "matmul",
                format!("{a:?} by {b:?}: [.., m, k] by [.., k, n] with equal leading axes, or by [k, n]"),
            )
        };
        if a.len() < 2 || b.len() < 2 || a[a.len() - 1] != b[b.len() - 2] {
            return problem();
        }
        let (k, n) = (b[b.len() - 2], b[b.len() - 1]);
        let mut to = a[..a.len() - 1].to_vec();
        to.push(n);
        if b.len() == 2 {
            return self.matmul_shared(other, k, n, &to);
        }
        if a[..a.len() - 2] != b[..b.len() - 2] {
            return problem();
        }
        let m = a[a.len() - 2];
        let batch: usize = a[..a.len() - 2].iter().product();
        let out = batched(batch, m, n, |i| {
            (
                Mat::new(&self.data()[i * m * k..][..m * k], m, k),
                Mat::new(&other.data()[i * k * n..][..k * n], k, n),
            )
        });
        let (pa, pb) = (self.clone(), other.clone());
        Ok(Self::custom("matmul", &to, out, &[self, other], move |grad, sink| {
            let dy = |i: usize| Mat::new(&grad[i * m * n..][..m * n], m, n);
            if pa.requires_grad() {
                let da =
                    batched(batch, m, k, |i| (dy(i), Mat::new(&pb.data()[i * k * n..][..k * n], k, n).t()));
                sink.add(&pa, da);
            }
            if pb.requires_grad() {
                let db =
                    batched(batch, k, n, |i| (Mat::new(&pa.data()[i * m * k..][..m * k], m, k).t(), dy(i)));
                sink.add(&pb, db);
            }
            Ok(())
        }))
    }

    /// All leading axes of `self` by one matrix.
    fn matmul_shared(&self, other: &Self, k: usize, n: usize, to: &[usize]) -> Result<Self> {
        let rows = to[..to.len() - 1].iter().product();
        let mut out = Buffer::scratch(rows * n);
        gemm(&mut out, n, Mat::new(self.data(), rows, k), Mat::new(other.data(), k, n), Start::Zero);
        let (pa, pb) = (self.clone(), other.clone());
        Ok(Self::custom("matmul", to, out, &[self, other], move |grad, sink| {
            let dy = Mat::new(&grad, rows, n);
            if pa.requires_grad() {
                let mut da = Buffer::scratch(rows * k);
                gemm(&mut da, k, dy, Mat::new(pb.data(), k, n).t(), Start::Zero);
                sink.add(&pa, da);
            }
            if pb.requires_grad() {
                let (db, start) = sink.start(&pb);
                gemm(db, n, Mat::new(pa.data(), rows, k).t(), dy, start);
            }
            Ok(())
        }))
    }
}

/// `batch` products of `[m, k]` by `[k, n]`, one job each.
fn batched<'a>(
    batch: usize,
    m: usize,
    n: usize,
    operands: impl Fn(usize) -> (Mat<'a>, Mat<'a>) + Sync,
) -> Buffer {
    let mut out = Buffer::scratch(batch * m * n);
    let (shared, precision) = (Shared::new(&mut out), precision());
    threads::for_each(batch, &|i| {
        let (a, b) = operands(i);
        // SAFETY: every job owns its product.
        gemm_serial(unsafe { shared.part(i * m * n, m * n) }, n, a, b, Start::Zero, precision);
    });
    out
}
