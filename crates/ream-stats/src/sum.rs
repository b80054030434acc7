//! Sums in a fixed order: the same bits on any number of threads.

use core::ops::Range;
use rayon::prelude::*;

/// Rows in one piece of a long sum. Pieces do not depend on the number of threads, nor does their order.
pub(crate) const CHUNK: usize = 4096;

/// Values from which a single look at them is worth a second thread.
const LONG: usize = 1 << 15;

/// `n` values in pieces; `fill` writes those from its first argument on.
pub(crate) fn filled(n: usize, fill: impl Fn(usize, &mut [f64]) + Sync) -> Vec<f64> {
    let mut out = vec![0.0; n];
    if n > CHUNK {
        out.par_chunks_mut(CHUNK).enumerate().for_each(|(piece, out)| fill(piece * CHUNK, out));
    } else {
        fill(0, &mut out);
    }
    out
}

/// `of(i)` for every `i` in `0..n`.
pub(crate) fn mapped(n: usize, of: impl Fn(usize) -> f64 + Sync) -> Vec<f64> {
    filled(n, |first, out| out.iter_mut().enumerate().for_each(|(k, out)| *out = of(first + k)))
}

/// Sum of vectors of length `width` over the pieces of `0..n`; `part` adds its range into the given zeros.
pub(crate) fn chunked(n: usize, width: usize, part: impl Fn(Range<usize>, &mut [f64]) + Sync) -> Vec<f64> {
    let piece = |k: usize| {
        let mut sums = vec![0.0; width];
        part(k * CHUNK..((k + 1) * CHUNK).min(n), &mut sums);
        sums
    };
    let pieces = n.div_ceil(CHUNK);
    if pieces <= 1 {
        return piece(0);
    }
    let parts: Vec<Vec<f64>> = (0..pieces).into_par_iter().map(piece).collect();
    let mut total = vec![0.0; width];
    for sums in parts {
        for (t, s) in total.iter_mut().zip(sums) {
            *t += s;
        }
    }
    total
}

/// Neumaier's compensated sum: error of a few units in the last place, whatever the length.
pub(crate) fn compensated(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut sum, mut lost) = (0.0_f64, 0.0_f64);
    for value in values {
        let next = sum + value;
        lost += if sum.abs() >= value.abs() { (sum - next) + value } else { (value - next) + sum };
        sum = next;
    }
    // An overflowed sum has a meaningless (NaN) compensation.
    if lost.is_finite() { sum + lost } else { sum }
}

/// `start - sum a_i b_i` as if in twice the working precision (Ogita, Rump & Oishi, 2005).
pub(crate) fn exact_residual(start: f64, a: impl Iterator<Item = (f64, f64)>) -> f64 {
    let (mut sum, mut lost) = (start, 0.0);
    for (x, y) in a {
        let product = -x * y;
        let next = sum + product;
        let part = next - sum;
        lost += (sum - (next - part)) + (product - part) - product_error(x, y);
        sum = next;
    }
    // Outside the range in which a product can be split the compensation is not a number.
    if lost.is_finite() { sum + lost } else { sum }
}

/// What rounding takes from the product `x y` (Dekker's product, Veltkamp's splitting).
fn product_error(x: f64, y: f64) -> f64 {
    let split = |v: f64| {
        let c = 134_217_729.0 * v;
        let high = c - (c - v);
        (high, v - high)
    };
    let ((xh, xl), (yh, yl)) = (split(x), split(y));
    xl * yl - (((x * y - xh * yh) - xl * yh) - xh * yl)
}

/// Inner product in order of index.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// True when no value is NaN or infinite.
pub(crate) fn all_finite(values: &[f64]) -> bool {
    // Without a way out inside a piece, the compiler looks at several values at once.
    let piece = |values: &[f64]| values.iter().fold(true, |all, v| all & v.is_finite());
    if values.len() > LONG { values.par_chunks(LONG).all(piece) } else { piece(values) }
}

/// Inner product in eight interleaved sums: another order than [`dot`], the same on every machine, and one that the
/// compiler can turn into vector instructions. For long columns.
pub(crate) fn lane_dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    let mut lanes = [0.0_f64; LANES];
    let (x, y) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f64 = x.remainder().iter().zip(y.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in x.zip(y) {
        for k in 0..LANES {
            lanes[k] += x[k] * y[k];
        }
    }
    let [s0, s1, s2, s3, s4, s5, s6, s7] = lanes;
    (((s0 + s4) + (s1 + s5)) + ((s2 + s6) + (s3 + s7))) + rest
}

/// `y += factor x`.
pub(crate) fn add_scaled(y: &mut [f64], factor: f64, x: &[f64]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += factor * x;
    }
}
