//! One linear map for each member of a batch: ensembles, and adapters that differ from sample to sample.

use crate::buffer::Buffer;
use crate::error::{Result, shape};
use crate::gemm::{Mat, Start, gemm, gemm_serial, precision};
use crate::kernels;
use crate::tensor::Tensor;
use crate::threads::{self, Shared};

/// `y_i = x_i W_i' + b_i` for every member `i`: `x` `[members, rows, d_in]`, or `[rows, d_in]` when all members read the same rows;
/// `weight` `[members, d_out, d_in]`, `bias` `[members, d_out]`; the result is `[members, rows, d_out]`.
///
/// # Errors
/// When the sizes do not fit.
pub fn batched_linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let &[members, d_out, d_in] = weight.shape() else {
        return shape(
            "batched_linear",
            format!("a weight [members, d_out, d_in] is needed, got {:?}", weight.shape()),
        );
    };
    let (rows, shared) = match *x.shape() {
        [m, rows, d] if m == members && d == d_in => (rows, false),
        [rows, d] if d == d_in => (rows, true),
        _ => {
            return shape(
                "batched_linear",
                format!(
                    "x {:?} must be [members, rows, d_in] = [{members}, rows, {d_in}] or [rows, {d_in}] for the weight {:?}",
                    x.shape(),
                    weight.shape()
                ),
            );
        }
    };
    if let Some(bias) = bias.filter(|b| b.shape() != [members, d_out]) {
        return shape(
            "batched_linear",
            format!("the bias {:?} must be [members, d_out] = [{members}, {d_out}]", bias.shape()),
        );
    }
    let of_x = move |i: usize| if shared { 0 } else { i };
    let mut out = Buffer::scratch(members * rows * d_out);
    products(&mut out, members, rows, d_out, |i| {
        let start = bias.map_or(Start::Zero, |b| Start::Bias(&b.data()[i * d_out..][..d_out]));
        (member(x.data(), of_x(i), rows, d_in), member(weight.data(), i, d_out, d_in).t(), start)
    });
    let (px, pw, pb) = (x.clone(), weight.clone(), bias.cloned());
    let mut parents = vec![x, weight];
    parents.extend(bias);
    Ok(Tensor::custom("batched_linear", &[members, rows, d_out], out, &parents, move |grad, sink| {
        let dy = |i| member(&grad, i, rows, d_out);
        if px.requires_grad() && shared {
            let mut dx = Buffer::zeros(rows * d_in);
            for i in 0..members {
                gemm(&mut dx, d_in, dy(i), member(pw.data(), i, d_out, d_in), Start::Keep);
            }
            sink.add(&px, dx);
        } else if px.requires_grad() {
            let mut dx = Buffer::scratch(members * rows * d_in);
            products(&mut dx, members, rows, d_in, |i| {
                (dy(i), member(pw.data(), i, d_out, d_in), Start::Zero)
            });
            sink.add(&px, dx);
        }
        if pw.requires_grad() {
            let (dw, start) = sink.start(&pw);
            products(dw, members, d_out, d_in, |i| {
                (dy(i).t(), member(px.data(), of_x(i), rows, d_in), start)
            });
        }
        if let Some(pb) = pb.filter(Tensor::requires_grad) {
            let mut db = Buffer::zeros(members * d_out);
            for (db, g) in db.chunks_exact_mut(d_out.max(1)).zip(grad.chunks_exact((rows * d_out).max(1))) {
                db.copy_from_slice(&kernels::sum_rows(g, d_out));
            }
            sink.add(&pb, db);
        }
        Ok(())
    }))
}

/// Matrix `i` of `[members, rows, columns]`.
fn member(data: &[f32], i: usize, rows: usize, columns: usize) -> Mat<'_> {
    Mat::new(&data[i * rows * columns..][..rows * columns], rows, columns)
}

/// Products `[m, n]`, one for each member: a job each when they fill the threads, otherwise each on all threads. The bits are the same.
fn products<'a>(
    out: &mut [f32],
    members: usize,
    m: usize,
    n: usize,
    operands: impl Fn(usize) -> (Mat<'a>, Mat<'a>, Start<'a>) + Sync,
) {
    let size = m * n;
    if members < threads::threads() {
        for i in 0..members {
            let (a, b, start) = operands(i);
            gemm(&mut out[i * size..][..size], n, a, b, start);
        }
        return;
    }
    let (shared, precision) = (Shared::new(out), precision());
    threads::for_each(members, &|i| {
        let (a, b, start) = operands(i);
        // SAFETY: every job owns its member's product.
        gemm_serial(unsafe { shared.part(i * size, size) }, n, a, b, start, precision);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check_gradients;
    use crate::ops;
    use ream_rand::Stream;

    fn normal(shape: &[usize], seed: u64) -> Tensor {
        Tensor::randn(shape, 0.7, &mut Stream::new(seed, "batched").at(0))
    }

    #[test]
    fn members_equal_their_own_linear_maps_and_gradients_are_exact() {
        let (w, b) = (normal(&[3, 5, 4], 1), normal(&[3, 5], 2));
        for x in [normal(&[3, 6, 4], 3), normal(&[6, 4], 4)] {
            let y = batched_linear(&x, &w, Some(&b)).unwrap();
            for i in 0..3 {
                let xi = if x.rank() == 2 { x.clone() } else { pick(&x, i) };
                let want = ops::linear(&xi, &pick(&w, i), Some(&pick(&b, i))).unwrap();
                assert_eq!(pick(&y, i).to_vec(), want.to_vec());
            }
            let all = [x, w.clone(), b.clone()];
            check_gradients(&all, &[], 5e-3, |x| batched_linear(&x[0], &x[1], Some(&x[2]))).unwrap();
            check_gradients(&all[..2], &[], 5e-3, |x| {
                batched_linear(&x[0], &x[1], None)?.add(&batched_linear(&x[0], &x[1].square(), None)?)
            })
            .unwrap();
        }
    }

    fn pick(x: &Tensor, i: usize) -> Tensor {
        x.narrow(0, i, 1).unwrap().reshape(&x.shape()[1..]).unwrap()
    }

    #[test]
    fn errors_name_the_axes() {
        let error = batched_linear(&normal(&[2, 6, 4], 1), &normal(&[3, 5, 4], 2), None).unwrap_err();
        assert!(error.to_string().contains("[members, rows, d_in] = [3, rows, 4]"), "{error}");
        let error = batched_linear(&normal(&[6, 4], 1), &normal(&[5, 4], 2), None).unwrap_err();
        assert!(error.to_string().contains("[members, d_out, d_in]"), "{error}");
        let bias = normal(&[5], 3);
        let error = batched_linear(&normal(&[6, 4], 1), &normal(&[3, 5, 4], 2), Some(&bias)).unwrap_err();
        assert!(error.to_string().contains("[members, d_out] = [3, 5]"), "{error}");
    }
}
