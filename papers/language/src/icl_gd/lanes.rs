//! Sixteen tasks side by side: the arithmetic under the layers.
//!
//! A batch is cut into chunks of [`LANES`] tasks and every number of a task becomes one [`Lane`], so that a product
//! `sum_p a[i][p] b[p][j]` is taken for sixteen tasks at once. Only plain multiplications and additions in a fixed
//! order are used: AVX-512, AVX2 and the portable code give the same bits.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// Tasks that are computed side by side.
pub const LANES: usize = 16;

/// `f32` for training, `f64` where exactness is checked.
pub trait Real:
    Copy
    + Send
    + Sync
    + 'static
    + Default
    + std::fmt::Debug
    + PartialOrd
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
{
    /// The nearest value of this type.
    fn of(value: f64) -> Self;
    /// The value in double precision.
    fn wide(self) -> f64;
    /// Square root.
    fn root(self) -> Self;
    /// `e^self` to a few units in the last place, the same on every machine.
    fn exponential(self) -> Self;
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }
    fn wide(self) -> f64 {
        self
    }
    fn root(self) -> Self {
        self.sqrt()
    }
    fn exponential(self) -> Self {
        libm::exp(self)
    }
}

impl Real for f32 {
    fn of(value: f64) -> Self {
        value as Self
    }
    fn wide(self) -> f64 {
        f64::from(self)
    }
    fn root(self) -> Self {
        self.sqrt()
    }
    /// `2^n * p(r)` with `|r| <= ln(2)/2` and the Taylor polynomial of degree 7. No branches and no calls, so that the
    /// compiler can take a whole lane at once.
    #[inline(always)]
    fn exponential(self) -> Self {
        /// `1.5 * 2^23`: adding it rounds to the nearest integer, which then sits in the low bits.
        const ROUND: f32 = 12_582_912.0;
        let x = if self > 88.0 { 88.0 } else { self };
        let x = if x < -87.0 { -87.0 } else { x };
        let shifted = x * std::f32::consts::LOG2_E + ROUND;
        let n = shifted - ROUND;
        // ln(2) in two pieces: the first has few bits, so that its product with n is exact.
        let r = x - n * (355.0 / 512.0) - n * -2.121_944_4e-4;
        let mut p = 1.0 / 5040.0;
        p = p * r + 1.0 / 720.0;
        p = p * r + 1.0 / 120.0;
        p = p * r + 1.0 / 24.0;
        p = p * r + 1.0 / 6.0;
        p = p * r + 0.5;
        p = p * r + 1.0;
        p = p * r + 1.0;
        let exponent = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32).wrapping_add(127);
        p * f32::from_bits((exponent as u32) << 23)
    }
}

/// One number of each of [`LANES`] tasks.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub struct Lane<F>(pub [F; LANES]);

impl<F: Real> Default for Lane<F> {
    fn default() -> Self {
        Self::all(F::default())
    }
}

impl<F: Real> Lane<F> {
    /// The same number for every task.
    #[inline(always)]
    pub fn all(value: F) -> Self {
        Self([value; LANES])
    }

    /// The sum over the tasks, in a fixed order.
    pub fn sum(&self) -> F {
        let mut part = self.0;
        let mut width = LANES / 2;
        while width > 0 {
            for l in 0..width {
                part[l] = part[l] + part[l + width];
            }
            width /= 2;
        }
        part[0]
    }
}

macro_rules! by_lane {
    ($trait:ident, $name:ident, $op:tt) => {
        impl<F: Real> $trait for Lane<F> {
            type Output = Self;
            #[inline(always)]
            fn $name(self, other: Self) -> Self {
                let mut out = self;
                for l in 0..LANES {
                    out.0[l] = self.0[l] $op other.0[l];
                }
                out
            }
        }
    };
}
by_lane!(Add, add, +);
by_lane!(Sub, sub, -);
by_lane!(Mul, mul, *);

/// What a product multiplies: one number per task, or one number for all of them (a weight).
pub trait Operand<F>: Copy + Sync {
    /// The value for every task.
    fn spread(self) -> Lane<F>;
}

impl<F: Real> Operand<F> for F {
    #[inline(always)]
    fn spread(self) -> Lane<F> {
        Lane::all(self)
    }
}

impl<F: Real> Operand<F> for Lane<F> {
    #[inline(always)]
    fn spread(self) -> Self {
        self
    }
}

/// A matrix inside a slice: element `(i, j)` is at `i * row + j * column`.
#[derive(Clone, Copy, Debug)]
pub struct View<'a, T> {
    data: &'a [T],
    row: usize,
    column: usize,
}

impl<'a, T> View<'a, T> {
    /// Rows one after another, `columns` apart.
    pub fn rows(data: &'a [T], columns: usize) -> Self {
        Self { data, row: columns, column: 1 }
    }

    /// The transpose of [`View::rows`].
    pub fn turned(data: &'a [T], columns: usize) -> Self {
        Self { data, row: 1, column: columns }
    }

    /// Whether a matrix of this size lies inside the slice.
    fn holds(&self, rows: usize, columns: usize) -> bool {
        rows == 0 || columns == 0 || (rows - 1) * self.row + (columns - 1) * self.column < self.data.len()
    }
}

/// What happens to the numbers that were in the result before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// They are replaced.
    Fresh,
    /// The product is added to them.
    Sum,
}

/// Instruction set of this machine: `avx512`, `avx2` or `portable`. It changes the time, not the bits.
pub fn instruction_set() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            return "avx512";
        }
        if is_x86_feature_detected!("avx2") {
            return "avx2";
        }
    }
    "portable"
}

/// `out[i][j] = sum_p a[i][p] b[p][j]` for each task; `size` is `[rows, inner, columns]` and `out` has row-major lanes.
///
/// Slices that are too short for `size` are a programming error and stop the program.
pub fn product<F: Real, A: Operand<F>, B: Operand<F>>(
    size: [usize; 3],
    a: View<'_, A>,
    b: View<'_, B>,
    out: &mut [Lane<F>],
    store: Store,
) {
    let [m, k, n] = size;
    assert!(a.holds(m, k) && b.holds(k, n) && m * n <= out.len(), "a product reaches past its matrices");
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: the machine has AVX-512F, checked in the line above; the extents were checked before.
            unsafe { product_avx512(size, a, b, out, store) };
            return;
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the machine has AVX2, checked in the line above; the extents were checked before.
            unsafe { product_avx2(size, a, b, out, store) };
            return;
        }
    }
    // SAFETY: the extents were checked above.
    unsafe { tiles::<F, A, B, 1, 4>(size, a, b, out, store) };
}

/// # Safety
/// The machine must have AVX-512F and the matrices must hold `size`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn product_avx512<F: Real, A: Operand<F>, B: Operand<F>>(
    size: [usize; 3],
    a: View<'_, A>,
    b: View<'_, B>,
    out: &mut [Lane<F>],
    store: Store,
) {
    // SAFETY: the caller's promise.
    unsafe { tiles::<F, A, B, 4, 4>(size, a, b, out, store) }
}

/// # Safety
/// The machine must have AVX2 and the matrices must hold `size`.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
unsafe fn product_avx2<F: Real, A: Operand<F>, B: Operand<F>>(
    size: [usize; 3],
    a: View<'_, A>,
    b: View<'_, B>,
    out: &mut [Lane<F>],
    store: Store,
) {
    // SAFETY: the caller's promise.
    unsafe { tiles::<F, A, B, 2, 2>(size, a, b, out, store) }
}

/// The result in tiles of at most `TALL x WIDE` sums that stay in registers.
///
/// # Safety
/// The matrices must hold `size`.
#[inline(always)]
unsafe fn tiles<F: Real, A: Operand<F>, B: Operand<F>, const TALL: usize, const WIDE: usize>(
    size: [usize; 3],
    a: View<'_, A>,
    b: View<'_, B>,
    out: &mut [Lane<F>],
    store: Store,
) {
    let [m, _, n] = size;
    let mut i = 0;
    while i < m {
        let tall = TALL.min(m - i);
        let mut j = 0;
        while j < n {
            let wide = WIDE.min(n - j);
            // SAFETY: `i + tall <= m` and `j + wide <= n`.
            unsafe {
                match (tall, wide) {
                    (4, 4) => tile::<F, A, B, 4, 4>(size, [i, j], a, b, out, store),
                    (4, 3) => tile::<F, A, B, 4, 3>(size, [i, j], a, b, out, store),
                    (4, 2) => tile::<F, A, B, 4, 2>(size, [i, j], a, b, out, store),
                    (4, _) => tile::<F, A, B, 4, 1>(size, [i, j], a, b, out, store),
                    (3, 4) => tile::<F, A, B, 3, 4>(size, [i, j], a, b, out, store),
                    (3, 3) => tile::<F, A, B, 3, 3>(size, [i, j], a, b, out, store),
                    (3, 2) => tile::<F, A, B, 3, 2>(size, [i, j], a, b, out, store),
                    (3, _) => tile::<F, A, B, 3, 1>(size, [i, j], a, b, out, store),
                    (2, 4) => tile::<F, A, B, 2, 4>(size, [i, j], a, b, out, store),
                    (2, 3) => tile::<F, A, B, 2, 3>(size, [i, j], a, b, out, store),
                    (2, 2) => tile::<F, A, B, 2, 2>(size, [i, j], a, b, out, store),
                    (2, _) => tile::<F, A, B, 2, 1>(size, [i, j], a, b, out, store),
                    (_, 4) => tile::<F, A, B, 1, 4>(size, [i, j], a, b, out, store),
                    (_, 3) => tile::<F, A, B, 1, 3>(size, [i, j], a, b, out, store),
                    (_, 2) => tile::<F, A, B, 1, 2>(size, [i, j], a, b, out, store),
                    (_, _) => tile::<F, A, B, 1, 1>(size, [i, j], a, b, out, store),
                }
            }
            j += wide;
        }
        i += tall;
    }
}

/// # Safety
/// The tile must lie inside `size`, and the matrices must hold `size`.
#[inline(always)]
unsafe fn tile<F: Real, A: Operand<F>, B: Operand<F>, const TALL: usize, const WIDE: usize>(
    size: [usize; 3],
    at: [usize; 2],
    a: View<'_, A>,
    b: View<'_, B>,
    out: &mut [Lane<F>],
    store: Store,
) {
    let [_, k, n] = size;
    let [i0, j0] = at;
    let mut sums = [[Lane::<F>::default(); WIDE]; TALL];
    for p in 0..k {
        let mut right = [Lane::<F>::default(); WIDE];
        for (j, lane) in right.iter_mut().enumerate() {
            // SAFETY: `p < k` and `j0 + j < n`, and `b` holds `k x n`.
            *lane = unsafe { *b.data.get_unchecked(p * b.row + (j0 + j) * b.column) }.spread();
        }
        for (i, row) in sums.iter_mut().enumerate() {
            // SAFETY: `i0 + i < m` and `p < k`, and `a` holds `m x k`.
            let left = unsafe { *a.data.get_unchecked((i0 + i) * a.row + p * a.column) }.spread();
            for (sum, lane) in row.iter_mut().zip(&right) {
                *sum = *sum + left * *lane;
            }
        }
    }
    for (i, row) in sums.iter().enumerate() {
        for (j, sum) in row.iter().enumerate() {
            // SAFETY: `(i0 + i, j0 + j)` lies inside `m x n`, and `out` has at least `m * n` lanes.
            let place = unsafe { out.get_unchecked_mut((i0 + i) * n + j0 + j) };
            *place = match store {
                Store::Fresh => *sum,
                Store::Sum => *place + *sum,
            };
        }
    }
}

/// Applies a function to every lane with the widest instructions of this machine.
macro_rules! on_lanes {
    ($(#[$doc:meta])* $name:ident, $body:ident, $avx512:ident, $avx2:ident, ($($arg:ident: $kind:ty),*)) => {
        $(#[$doc])*
        pub fn $name<F: Real>($($arg: $kind),*) {
            #[cfg(target_arch = "x86_64")]
            {
                if is_x86_feature_detected!("avx512f") {
                    // SAFETY: the machine has AVX-512F, checked in the line above.
                    unsafe { $avx512($($arg),*) };
                    return;
                }
                if is_x86_feature_detected!("avx2") {
                    // SAFETY: the machine has AVX2, checked in the line above.
                    unsafe { $avx2($($arg),*) };
                    return;
                }
            }
            $body($($arg),*);
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f")]
        fn $avx512<F: Real>($($arg: $kind),*) {
            $body($($arg),*);
        }

        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2")]
        fn $avx2<F: Real>($($arg: $kind),*) {
            $body($($arg),*);
        }
    };
}

on_lanes!(
    /// Softmax along each row of `width` lanes.
    softmax, softmax_body, softmax_avx512, softmax_avx2, (scores: &mut [Lane<F>], width: usize)
);
on_lanes!(
    /// Turns the gradient by the probabilities `p` into the gradient by the scores: `p (g - sum p g)` in each row.
    softmax_backward, softmax_backward_body, softmax_backward_avx512, softmax_backward_avx2,
    (p: &[Lane<F>], gradient: &mut [Lane<F>], width: usize)
);
on_lanes!(
    /// GELU in its tanh form (Hendrycks & Gimpel 2016), and its slope at the same place.
    gelu, gelu_body, gelu_avx512, gelu_avx2, (values: &mut [Lane<F>], slopes: &mut [Lane<F>])
);

#[inline(always)]
fn softmax_body<F: Real>(scores: &mut [Lane<F>], width: usize) {
    for row in scores.chunks_exact_mut(width) {
        let mut top = row[0];
        for lane in row.iter() {
            for l in 0..LANES {
                top.0[l] = if lane.0[l] > top.0[l] { lane.0[l] } else { top.0[l] };
            }
        }
        let mut total = Lane::default();
        for lane in row.iter_mut() {
            for l in 0..LANES {
                lane.0[l] = (lane.0[l] - top.0[l]).exponential();
            }
            total = total + *lane;
        }
        for lane in row.iter_mut() {
            for l in 0..LANES {
                lane.0[l] = lane.0[l] / total.0[l];
            }
        }
    }
}

#[inline(always)]
fn softmax_backward_body<F: Real>(p: &[Lane<F>], gradient: &mut [Lane<F>], width: usize) {
    for (row, slope) in p.chunks_exact(width).zip(gradient.chunks_exact_mut(width)) {
        let mut mean = Lane::default();
        for (p, g) in row.iter().zip(slope.iter()) {
            mean = mean + *p * *g;
        }
        for (p, g) in row.iter().zip(slope.iter_mut()) {
            *g = *p * (*g - mean);
        }
    }
}

#[inline(always)]
fn gelu_body<F: Real>(values: &mut [Lane<F>], slopes: &mut [Lane<F>]) {
    let scale = F::of(0.797_884_560_802_865_4); // sqrt(2 / pi)
    let cubic = F::of(0.044_715);
    let (half, one, two) = (F::of(0.5), F::of(1.0), F::of(2.0));
    let three = F::of(3.0);
    // Past +-15 the hyperbolic tangent is +-1 to the last bit; the bound keeps its exponential finite.
    let (low, high) = (F::of(-15.0), F::of(15.0));
    for (value, slope) in values.iter_mut().zip(slopes.iter_mut()) {
        for l in 0..LANES {
            let x = value.0[l];
            let u = scale * (x + cubic * x * x * x);
            let bounded = if u > high { high } else { u };
            let bounded = if bounded < low { low } else { bounded };
            let tanh = one - two / ((bounded + bounded).exponential() + one);
            value.0[l] = half * x * (one + tanh);
            slope.0[l] =
                half * (one + tanh) + half * x * (one - tanh * tanh) * scale * (one + three * cubic * x * x);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    fn lanes(n: usize, purpose: &str) -> Vec<Lane<f32>> {
        let mut rng = Stream::new(1, purpose).at(0);
        (0..n).map(|_| Lane(std::array::from_fn(|_| rng.uniform_f32() - 0.5))).collect()
    }

    /// Every shape of tile against three plain loops, to the last bit: all instruction sets sum in the same order.
    #[test]
    fn products_are_the_plain_loops_bit_for_bit() {
        for [m, k, n] in [[1, 1, 1], [4, 7, 4], [11, 11, 10], [5, 3, 9], [3, 2, 6], [7, 5, 7]] {
            let (a, b) = (lanes(m * k, "a"), lanes(k * n, "b"));
            let weights: Vec<f32> = a.iter().map(|lane| lane.0[3]).collect();
            let mut rows = vec![Lane::default(); m * n];
            let mut turned = vec![Lane::all(1.0); m * n];
            product([m, k, n], View::rows(&a, k), View::rows(&b, n), &mut rows, Store::Fresh);
            product([m, k, n], View::rows(&weights, k), View::rows(&b, n), &mut turned, Store::Sum);
            // b read as the transpose of an n x k matrix
            let mut bt = vec![Lane::default(); k * n];
            for p in 0..k {
                for j in 0..n {
                    bt[j * k + p] = b[p * n + j];
                }
            }
            let mut again = vec![Lane::default(); m * n];
            product([m, k, n], View::rows(&a, k), View::turned(&bt, k), &mut again, Store::Fresh);
            assert_eq!(rows, again);
            for i in 0..m {
                for j in 0..n {
                    for l in 0..LANES {
                        let (mut sum, mut other) = (0.0_f32, 0.0_f32);
                        for p in 0..k {
                            sum += a[i * k + p].0[l] * b[p * n + j].0[l];
                            other += weights[i * k + p] * b[p * n + j].0[l];
                        }
                        assert_eq!(rows[i * n + j].0[l].to_bits(), sum.to_bits());
                        assert_eq!(turned[i * n + j].0[l].to_bits(), (1.0 + other).to_bits());
                    }
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "reaches past")]
    fn a_product_cannot_leave_its_matrices() {
        let a = lanes(3, "a");
        product([2, 2, 2], View::rows(&a, 2), View::rows(&a, 2), &mut lanes(4, "out"), Store::Fresh);
    }

    #[test]
    fn the_exponential_is_accurate() {
        for i in -8700..8800 {
            let x = i as f32 * 0.01;
            let (got, want) = (f64::from(x.exponential()), libm::exp(f64::from(x)));
            assert!((got / want - 1.0).abs() < 4e-7, "exp({x}) = {got}, wanted {want}");
        }
        assert!(f32::NAN.exponential().is_nan());
    }

    #[test]
    fn softmax_and_gelu_agree_with_double_precision() {
        let mut scores = lanes(12, "scores");
        let wide: Vec<Lane<f64>> = scores.iter().map(|s| Lane(s.0.map(f64::from))).collect();
        let mut exact = wide.clone();
        softmax(&mut scores, 4);
        softmax(&mut exact, 4);
        let (mut values, mut slopes) = (wide.clone(), wide.clone());
        gelu(&mut values, &mut slopes);
        for (row, (got, want)) in scores.iter().zip(&exact).enumerate() {
            for l in 0..LANES {
                assert!((f64::from(got.0[l]) - want.0[l]).abs() < 1e-6, "row {row}");
                let x = wide[row].0[l];
                let form = |x: f64| {
                    0.5 * x * (1.0 + libm::tanh(0.797_884_560_802_865_4 * (x + 0.044_715 * x.powi(3))))
                };
                assert!((values[row].0[l] - form(x)).abs() < 1e-12);
                assert!((slopes[row].0[l] - (form(x + 1e-6) - form(x - 1e-6)) / 2e-6).abs() < 1e-8);
            }
        }
    }
}
