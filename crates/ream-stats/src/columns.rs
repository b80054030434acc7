//! Loops over the columns of a block, several of them together: the same sums in the same order as one by one, so that results have the
//! same bits, but independent of one another, so that the processor need not wait for one to begin the next. No fused
//! multiply-adds: the bits are the same on every machine.

use ream_simd::vectorised;

/// Partial sums of an inner product, as in [`crate::sum::lane_dot`].
const LANES: usize = 8;
/// Columns that are read together.
const TOGETHER: usize = 4;
/// Rows whose sums stay in registers.
const STRIP: usize = 32;

/// The sum of eight lanes, then what did not fill them.
#[inline(always)]
fn total(lanes: &[f64; LANES], rest: f64) -> f64 {
    let [s0, s1, s2, s3, s4, s5, s6, s7] = *lanes;
    (((s0 + s4) + (s1 + s5)) + ((s2 + s6) + (s3 + s7))) + rest
}

/// `lanes += x y`.
#[inline(always)]
fn add_products(lanes: &mut [f64; LANES], x: &[f64; LANES], y: &[f64; LANES]) {
    for k in 0..LANES {
        lanes[k] += x[k] * y[k];
    }
}

/// [`crate::sum::lane_dot`] of `x` with each of four columns.
#[inline(always)]
fn four_dots(x: &[f64], columns: [&[f64]; TOGETHER]) -> [f64; TOGETHER] {
    let (whole, rest) = x.as_chunks::<LANES>();
    let [(a, _), (b, _), (c, _), (d, _)] = columns.map(|column| column[..x.len()].as_chunks::<LANES>());
    // Written out: a loop over the four would be vectorised across them.
    let (mut s0, mut s1, mut s2, mut s3) = ([0.0; LANES], [0.0; LANES], [0.0; LANES], [0.0; LANES]);
    for ((((x, a), b), c), d) in whole.iter().zip(a).zip(b).zip(c).zip(d) {
        add_products(&mut s0, x, a);
        add_products(&mut s1, x, b);
        add_products(&mut s2, x, c);
        add_products(&mut s3, x, d);
    }
    let first = x.len() - rest.len();
    let end = |column: &[f64]| rest.iter().zip(&column[first..]).map(|(x, y)| x * y).sum();
    let [a, b, c, d] = columns.map(end);
    [total(&s0, a), total(&s1, b), total(&s2, c), total(&s3, d)]
}

#[inline(always)]
fn one_dot(x: &[f64], column: &[f64]) -> f64 {
    let ((whole, rest), (columns, end)) = (x.as_chunks::<LANES>(), column[..x.len()].as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (x, y) in whole.iter().zip(columns) {
        add_products(&mut lanes, x, y);
    }
    total(&lanes, rest.iter().zip(end).map(|(x, y)| x * y).sum())
}

/// Four columns of `rows` numbers that stand one after the other.
#[inline(always)]
fn four(columns: &[f64], rows: usize) -> [&[f64]; TOGETHER] {
    let (a, rest) = columns.split_at(rows);
    let (b, rest) = rest.split_at(rows);
    let (c, d) = rest.split_at(rows);
    [a, b, c, d]
}

vectorised! {
    /// Adds the inner product of `x` with column `i` of `columns` (one after the other, as long as `x`) to `sums[i]`.
    pub(crate) fn add_dots(sums: &mut [f64], x: &[f64], columns: &[f64]) {
        let _ = FMA;
        let rows = x.len();
        let (groups, rest) = sums.as_chunks_mut::<TOGETHER>();
        let single = groups.len() * TOGETHER * rows;
        for (sums, columns) in groups.iter_mut().zip(columns.chunks_exact(TOGETHER * rows)) {
            for (sum, dot) in sums.iter_mut().zip(four_dots(x, four(columns, rows))) {
                *sum += dot;
            }
        }
        for (sum, column) in rest.iter_mut().zip(columns[single..].chunks_exact(rows)) {
            *sum += one_dot(x, column);
        }
    }
}

vectorised! {
    /// One Householder reflection of a row of a triangle with the block below it: `reflector` is what the reflection leaves of its own column,
    /// `head` the part in the triangle, `scale` twice the inverse of its squared length; `row` `[columns]` are the triangle's numbers to the
    /// right, `columns` those of the block.
    pub(crate) fn reflect(reflector: &[f64], head: f64, scale: f64, row: &mut [f64], columns: &mut [f64]) {
        let _ = FMA;
        let rows = reflector.len();
        let (groups, rest) = row.as_chunks_mut::<TOGETHER>();
        let (many, single) = columns.split_at_mut(groups.len() * TOGETHER * rows);
        for (at, columns) in groups.iter_mut().zip(many.chunks_exact_mut(TOGETHER * rows)) {
            let dots = four_dots(reflector, four(columns, rows));
            for ((at, dot), column) in at.iter_mut().zip(dots).zip(columns.chunks_exact_mut(rows)) {
                let along = scale * (head * *at + dot);
                *at -= along * head;
                column.iter_mut().zip(reflector).for_each(|(y, x)| *y += -along * x);
            }
        }
        for (at, column) in rest.iter_mut().zip(single.chunks_exact_mut(rows)) {
            let along = scale * (head * *at + one_dot(reflector, column));
            *at -= along * head;
            column.iter_mut().zip(reflector).for_each(|(y, x)| *y += -along * x);
        }
    }
}

vectorised! {
    /// `out = sum_k factors[k] column_k`, in order of `k`; columns stand one after the other, each as long as `out`.
    pub(crate) fn combine(out: &mut [f64], factors: &[f64], columns: &[f64]) {
        let _ = FMA;
        let rows = out.len();
        let (strips, rest) = out.as_chunks_mut::<STRIP>();
        for (i, strip) in strips.iter_mut().enumerate() {
            let mut sums = [0.0; STRIP];
            for (factor, column) in factors.iter().zip(columns.chunks_exact(rows)) {
                let Some(x) = column[i * STRIP..].first_chunk::<STRIP>() else { continue };
                for k in 0..STRIP {
                    sums[k] += factor * x[k];
                }
            }
            *strip = sums;
        }
        let first = rows - rest.len();
        rest.fill(0.0);
        for (factor, column) in factors.iter().zip(columns.chunks_exact(rows)) {
            rest.iter_mut().zip(&column[first..]).for_each(|(y, x)| *y += factor * x);
        }
    }
}

vectorised! {
    /// `out[k] += sum_j column_j[k]^2`, in order of `j`.
    pub(crate) fn add_squares(out: &mut [f64], columns: &[f64]) {
        let _ = FMA;
        for column in columns.chunks_exact(out.len()) {
            out.iter_mut().zip(column).for_each(|(y, x)| *y += x * x);
        }
    }
}

/// `out[i]` is the inner product of row `i` with `b`, in order of index.
pub(crate) fn row_dots<'a>(out: &mut [f64], row: impl Fn(usize) -> &'a [f64], b: &[f64]) {
    let p = b.len();
    let (groups, rest) = out.as_chunks_mut::<TOGETHER>();
    let single = groups.len() * TOGETHER;
    for (i, out) in groups.iter_mut().enumerate() {
        // Four sums side by side, because each addition waits for the one before it.
        let rows: [&[f64]; TOGETHER] = core::array::from_fn(|k| &row(i * TOGETHER + k)[..p]);
        let mut sums = [0.0; TOGETHER];
        for j in 0..p {
            for (sum, row) in sums.iter_mut().zip(&rows) {
                *sum += row[j] * b[j];
            }
        }
        *out = sums;
    }
    for (k, out) in rest.iter_mut().enumerate() {
        *out = crate::sum::dot(row(single + k), b);
    }
}

vectorised! {
    /// `sums += sum_i factors[i] row_i`, in order of `i`; rows are as long as `sums` and stand one after the other.
    pub(crate) fn add_rows(sums: &mut [f64], factors: &[f64], rows: &[f64]) {
        let _ = FMA;
        for (factor, row) in factors.iter().zip(rows.chunks_exact(sums.len())) {
            sums.iter_mut().zip(row).for_each(|(s, x)| *s += factor * x);
        }
    }
}

vectorised! {
    /// `sums += sum_i factors[i] |row_i|`, as [`add_rows`].
    pub(crate) fn add_sizes(sums: &mut [f64], factors: &[f64], rows: &[f64]) {
        let _ = FMA;
        for (factor, row) in factors.iter().zip(rows.chunks_exact(sums.len())) {
            sums.iter_mut().zip(row).for_each(|(s, x)| *s += factor * x.abs());
        }
    }
}

vectorised! {
    /// `sums += sum_i factors[i] row_i row_i'`, in order of `i`: the lower triangle row by row, `cols (cols + 1) / 2` numbers.
    pub(crate) fn add_outer(sums: &mut [f64], factors: &[f64], rows: &[f64], cols: usize) {
        let _ = FMA;
        let (groups, single) = factors.as_chunks::<TOGETHER>();
        let first = groups.len() * TOGETHER * cols;
        for (factors, rows) in groups.iter().zip(rows.chunks_exact(TOGETHER * cols)) {
            let [r0, r1, r2, r3] = four(rows, cols);
            let mut rest = &mut *sums;
            for j in 0..cols {
                let (line, next) = rest.split_at_mut(j + 1);
                let scaled = [factors[0] * r0[j], factors[1] * r1[j], factors[2] * r2[j], factors[3] * r3[j]];
                let (r0, r1, r2, r3) = (&r0[..=j], &r1[..=j], &r2[..=j], &r3[..=j]);
                for k in 0..=j {
                    let sum = line[k] + scaled[0] * r0[k];
                    line[k] = ((sum + scaled[1] * r1[k]) + scaled[2] * r2[k]) + scaled[3] * r3[k];
                }
                rest = next;
            }
        }
        for (factor, row) in single.iter().zip(rows[first..].chunks_exact(cols)) {
            let mut rest = &mut *sums;
            for j in 0..cols {
                let (line, next) = rest.split_at_mut(j + 1);
                let scaled = factor * row[j];
                line.iter_mut().zip(row).for_each(|(s, x)| *s += scaled * x);
                rest = next;
            }
        }
    }
}

vectorised! {
    /// `out_i = sum_k row_i[k] upper_k`, where line `k` of `upper` `[cols, cols]` (row-major) is 0 before its place `k`.
    pub(crate) fn times_upper(out: &mut [f64], rows: &[f64], upper: &[f64], cols: usize) {
        let _ = FMA;
        for (out, row) in out.chunks_exact_mut(cols).zip(rows.chunks_exact(cols)) {
            out.fill(0.0);
            let (groups, single) = row.as_chunks::<TOGETHER>();
            let first = groups.len() * TOGETHER;
            for (g, (x, lines)) in groups.iter().zip(upper.chunks_exact(TOGETHER * cols)).enumerate() {
                let from = g * TOGETHER;
                let [t0, t1, t2, t3] = four(lines, cols).map(|line| &line[from..cols]);
                for (j, y) in out[from..].iter_mut().enumerate() {
                    *y = (((*y + x[0] * t0[j]) + x[1] * t1[j]) + x[2] * t2[j]) + x[3] * t3[j];
                }
            }
            for (k, (x, line)) in single.iter().zip(upper[first * cols..].chunks_exact(cols)).enumerate() {
                let from = first + k;
                out[from..].iter_mut().zip(&line[from..]).for_each(|(y, t)| *y += x * t);
            }
        }
    }
}

/// The symmetric matrix of a lower triangle that stands row by row.
pub(crate) fn symmetric(triangle: &[f64], cols: usize) -> nalgebra::DMatrix<f64> {
    nalgebra::DMatrix::from_fn(cols, cols, |i, j| {
        let (low, high) = (i.min(j), i.max(j));
        triangle[high * (high + 1) / 2 + low]
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sum::{add_scaled, dot, lane_dot};
    use ream_rand::Stream;

    fn noise(n: usize, at: u64) -> Vec<f64> {
        let mut rng = Stream::new(5, "columns").at(at);
        (0..n).map(|_| rng.normal()).collect()
    }

    #[test]
    fn sums_of_several_columns_have_the_bits_of_one_by_one() {
        for rows in [1, 7, 8, 31, 33, 64, 100] {
            for cols in [1, 3, 4, 5, 9] {
                let (x, columns, factors) = (noise(rows, 1), noise(rows * cols, 2), noise(cols, 3));
                let column = |j: usize| &columns[j * rows..(j + 1) * rows];
                let mut sums = vec![0.5; cols];
                add_dots(&mut sums, &x, &columns);
                assert!((0..cols).all(|j| sums[j] == 0.5 + lane_dot(&x, column(j))));

                let mut out = vec![f64::NAN; rows];
                combine(&mut out, &factors, &columns);
                let mut plain = vec![0.0; rows];
                factors.iter().enumerate().for_each(|(j, f)| add_scaled(&mut plain, *f, column(j)));
                assert_eq!(out, plain);

                let mut squares = vec![0.0; rows];
                add_squares(&mut squares, &columns);
                let by_hand = |k: usize| (0..cols).map(|j| column(j)[k] * column(j)[k]).sum::<f64>();
                assert!((0..rows).all(|k| squares[k] == by_hand(k)));

                let by_row = |i: usize| &columns[i * cols..(i + 1) * cols];
                let (mut sums, mut sizes) = (vec![0.0; cols], vec![0.0; cols]);
                add_rows(&mut sums, &x, &columns);
                add_sizes(&mut sizes, &x, &columns);
                let mut outer = vec![0.0; cols * (cols + 1) / 2];
                add_outer(&mut outer, &x, &columns, cols);
                let outer = symmetric(&outer, cols);
                for j in 0..cols {
                    let plain = |term: &dyn Fn(usize) -> f64| (0..rows).fold(0.0, |s, i| s + term(i));
                    assert_eq!(sums[j], plain(&|i| x[i] * by_row(i)[j]));
                    assert_eq!(sizes[j], plain(&|i| x[i] * by_row(i)[j].abs()));
                    let product =
                        |a: usize, b: usize| plain(&|i| x[i] * by_row(i)[a.max(b)] * by_row(i)[a.min(b)]);
                    assert!((0..cols).all(|k| outer[(j, k)] == product(j, k)));
                }

                let mut products = vec![0.0; rows];
                row_dots(&mut products, by_row, &factors);
                assert!((0..rows).all(|i| products[i] == dot(by_row(i), &factors)));
            }
        }
    }

    #[test]
    fn rows_times_a_triangle() {
        for (rows, cols) in [(3, 1), (5, 4), (6, 11), (2, 21)] {
            let (x, mut upper) = (noise(rows * cols, 1), noise(cols * cols, 2));
            (0..cols).for_each(|k| upper[k * cols..k * cols + k].fill(0.0));
            let mut out = vec![f64::NAN; rows * cols];
            times_upper(&mut out, &x, &upper, cols);
            for i in 0..rows {
                for j in 0..cols {
                    let plain = (0..=j).fold(0.0, |s, k| s + x[i * cols + k] * upper[k * cols + j]);
                    assert_eq!(out[i * cols + j], plain);
                }
            }
        }
    }

    #[test]
    fn a_reflection_has_the_bits_of_its_formula() {
        for (rows, cols) in [(5, 1), (40, 6), (256, 21)] {
            let (reflector, row, columns) = (noise(rows, 1), noise(cols, 2), noise(rows * cols, 3));
            let (head, scale) = (1.5, 0.01);
            let (mut got_row, mut got) = (row.clone(), columns.clone());
            reflect(&reflector, head, scale, &mut got_row, &mut got);
            for j in 0..cols {
                let mut column = columns[j * rows..(j + 1) * rows].to_vec();
                let along = scale * (head * row[j] + lane_dot(&reflector, &column));
                add_scaled(&mut column, -along, &reflector);
                assert_eq!(
                    (got_row[j], &got[j * rows..(j + 1) * rows]),
                    (row[j] - along * head, column.as_slice())
                );
            }
        }
    }
}
