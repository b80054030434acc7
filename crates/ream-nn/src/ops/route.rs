//! Routing of tokens to experts: choosing, and bringing results back.

use crate::buffer::Buffer;
use crate::error::{Result, shape};
use crate::simd::{self, fma, vectorised};
use crate::tensor::Tensor;
use crate::threads::{self, Shared};

/// Numbers of one job.
const WORK: usize = 16 * 1024;

/// Elements `columns[i]` (`k` of them) of every row: `[rows, n]` to `[rows, k]`; the columns of a row differ.
///
/// # Errors
/// When the columns do not fill `[rows, k]`, or one is outside.
pub fn pick(x: &Tensor, columns: &[usize], k: usize) -> Result<Tensor> {
    let &[rows, n] = x.shape() else {
        return shape("pick", format!("{:?} must be [rows, n]", x.shape()));
    };
    if columns.len() != rows * k || columns.iter().any(|c| *c >= n) {
        return shape(
            "pick",
            format!("{} columns below {n} must fill [rows, k] = [{rows}, {k}]", columns.len()),
        );
    }
    let places: Vec<usize> = columns.iter().enumerate().map(|(i, c)| i / k * n + c).collect();
    let out: Vec<f32> = places.iter().map(|p| x.data()[*p]).collect();
    let parent = x.clone();
    Ok(Tensor::custom("pick", &[rows, k], out.into(), &[x], move |grad, sink| {
        if let Some(sum) = sink.accumulate(&parent) {
            places.iter().zip(grad.iter()).for_each(|(p, g)| sum[*p] += g);
        }
        Ok(())
    }))
}

vectorised! {
    /// `out += factor x`.
    fn add_scaled(out: &mut [f32], x: &[f32], factor: f32) {
        for (out, x) in out.iter_mut().zip(x) { *out = fma::<FMA>(factor, *x, *out); }
    }
}

/// Weighted rows brought back to their tokens: `out_i = sum_j gates[i, j] y[slots[i k + j]]`; `y` `[tokens k, d]`, `gates`
/// `[tokens, k]`, and `slots` uses every row of `y` once.
///
/// # Errors
/// When the sizes do not fit, or a row is used twice.
pub fn combine(y: &Tensor, gates: &Tensor, slots: &[usize]) -> Result<Tensor> {
    let (&[rows, d], &[tokens, k]) = (y.shape(), gates.shape()) else {
        return shape(
            "combine",
            format!("y {:?} must be [tokens k, d], gates {:?} [tokens, k]", y.shape(), gates.shape()),
        );
    };
    let mut used = vec![false; rows];
    let once = slots.iter().all(|s| used.get_mut(*s).is_some_and(|u| !std::mem::replace(u, true)));
    if rows != tokens * k || slots.len() != rows || !once {
        return shape(
            "combine",
            format!(
                "{} slots must name each of {rows} rows once, for [tokens, k] = [{tokens}, {k}]",
                slots.len()
            ),
        );
    }
    let block = (WORK / d.max(1)).max(1);
    let mut out = Buffer::scratch(tokens * d);
    threads::chunks(&mut out, block * d, |start, out| {
        for (i, out) in out.chunks_exact_mut(d).enumerate() {
            let token = start / d + i;
            out.fill(0.0);
            let own = token * k..(token + 1) * k;
            for (slot, gate) in slots[own.clone()].iter().zip(&gates.data()[own]) {
                add_scaled(out, &y.data()[slot * d..][..d], *gate);
            }
        }
    });
    let (py, pg, slots) = (y.clone(), gates.clone(), slots.to_vec());
    Ok(Tensor::custom("combine", &[tokens, d], out, &[y, gates], move |grad, sink| {
        let mut dy = Buffer::scratch(rows * d);
        let mut dg = Buffer::scratch(rows);
        let (y_out, g_out) = (Shared::new(&mut dy), Shared::new(&mut dg));
        threads::for_each(tokens.div_ceil(block), &|job| {
            for token in job * block..((job + 1) * block).min(tokens) {
                let g = &grad[token * d..][..d];
                for (j, slot) in slots.iter().enumerate().skip(token * k).take(k) {
                    // SAFETY: the slot belongs to this token alone, and slots differ.
                    let row = unsafe { y_out.part(slot * d, d) };
                    row.fill(0.0);
                    add_scaled(row, g, pg.data()[j]);
                    // SAFETY: gate j belongs to this token alone.
                    let gate = unsafe { g_out.part(j, 1) };
                    gate[0] = simd::dot(g, &py.data()[slot * d..][..d]);
                }
            }
        });
        sink.add(&py, dy);
        sink.add(&pg, dg);
        Ok(())
    }))
}
