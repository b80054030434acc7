//! The category of finite Markov kernels: row-stochastic matrices with composition, tensor, copy, discard and swap.
//!
//! An object is a finite set `{0, .., n-1}`, written as its size; the tensor of sizes `n` and `m` is `n m` with the pair `(i, j)`
//! at `i m + j`. A kernel `X -> Y` is a matrix `[|X|, |Y|]` whose rows are laws. Copy, discard and swap make it a Markov
//! category (Fritz, 2020): [`super::laws`] holds the equations against random kernels.

use ream_lab::Invalid;
use ream_rand::Rng;

/// By how much a row of a user's kernel may miss the sum 1.
pub const SUM_TOLERANCE: f64 = 1e-6;

/// A Markov kernel between finite sets.
#[derive(Clone, Debug, PartialEq)]
pub struct Kernel {
    rows: usize,
    cols: usize,
    probabilities: Vec<f64>,
}

impl Kernel {
    /// A kernel `rows -> cols` from its matrix, row-major. Rows that miss the sum 1 by rounding are scaled to it. `place`
    /// names the matrix in errors.
    ///
    /// # Errors
    /// The first entry that is negative or no finite number, or the first row that does not sum to 1 within
    /// [`SUM_TOLERANCE`], with its index (from 0) and its sum.
    pub fn new(place: &str, rows: usize, cols: usize, mut probabilities: Vec<f64>) -> Result<Self, Invalid> {
        if rows == 0 || cols == 0 || probabilities.len() != rows * cols {
            let got = format!("{rows} x {cols} and {} entries", probabilities.len());
            return Err(Invalid::new(place, "rows times columns entries, at least one of each", got));
        }
        for (i, row) in probabilities.chunks_exact_mut(cols).enumerate() {
            if let Some(j) = row.iter().position(|p| !p.is_finite() || *p < 0.0) {
                let at = format!("{place}, row {i}, column {j}");
                return Err(Invalid::new(at, "a probability, at least 0", row[j].to_string()));
            }
            let sum: f64 = row.iter().sum();
            if (sum - 1.0).abs() > SUM_TOLERANCE {
                let wanted = format!("probabilities that sum to 1 within {SUM_TOLERANCE:e}");
                return Err(Invalid::new(format!("{place}, row {i}"), wanted, format!("the sum {sum}")));
            }
            row.iter_mut().for_each(|p| *p /= sum);
        }
        Ok(Self { rows, cols, probabilities })
    }

    fn from_fn(rows: usize, cols: usize, probability: impl Fn(usize, usize) -> f64) -> Self {
        let at = |k: usize| probability(k / cols, k % cols);
        Self { rows, cols, probabilities: (0..rows * cols).map(at).collect() }
    }

    /// The kernel that sends `x` to `map[x]` for certain.
    ///
    /// # Errors
    /// A value of the map that is not below `cols`.
    pub fn deterministic(map: &[usize], cols: usize) -> Result<Self, Invalid> {
        match map.iter().position(|y| *y >= cols) {
            Some(x) => Err(Invalid::new(
                format!("the map at {x}"),
                format!("a value below {cols}"),
                map[x].to_string(),
            )),
            None => Ok(Self::from_fn(map.len(), cols, |x, y| indicator(map[x] == y))),
        }
    }

    /// The identity of a set of size `n`.
    #[must_use]
    pub fn identity(n: usize) -> Self {
        Self::from_fn(n, n, |x, y| indicator(x == y))
    }

    /// `x -> (x, x)`.
    #[must_use]
    pub fn copy(n: usize) -> Self {
        Self::from_fn(n, n * n, |x, y| indicator(y == x * n + x))
    }

    /// The only kernel to the set with one element.
    #[must_use]
    pub fn discard(n: usize) -> Self {
        Self::from_fn(n, 1, |_, _| 1.0)
    }

    /// `(x, y) -> (y, x)` for `x` of `n` and `y` of `m`.
    #[must_use]
    pub fn swap(n: usize, m: usize) -> Self {
        Self::from_fn(n * m, n * m, |from, to| indicator(to == (from % m) * n + from / m))
    }

    /// Rows from a symmetric Dirichlet law.
    #[must_use]
    pub fn random(rows: usize, cols: usize, concentration: f64, rng: &mut Rng) -> Self {
        let probabilities = (0..rows).flat_map(|_| dirichlet(cols, concentration, rng)).collect();
        Self { rows, cols, probabilities }
    }

    /// Size of the set it starts from.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Size of the set it goes to.
    #[must_use]
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The law of the output at `x`, `[cols]`.
    ///
    /// # Panics
    /// When `x` is not below [`Kernel::rows`].
    #[must_use]
    pub fn row(&self, x: usize) -> &[f64] {
        &self.probabilities[x * self.cols..(x + 1) * self.cols]
    }

    /// Composition: first this kernel, then `next`; the matrix product.
    ///
    /// # Errors
    /// When `next` does not start where this one ends.
    pub fn then(&self, next: &Self) -> Result<Self, Invalid> {
        if next.rows != self.cols {
            let wanted = format!("a kernel from the {} outcomes of the first", self.cols);
            return Err(Invalid::new("composition", wanted, format!("a kernel from {}", next.rows)));
        }
        let mut out = vec![0.0; self.rows * next.cols];
        for (x, row) in out.chunks_exact_mut(next.cols).enumerate() {
            for (y, p) in self.row(x).iter().enumerate().filter(|(_, p)| **p > 0.0) {
                for (sum, q) in row.iter_mut().zip(next.row(y)) {
                    *sum += p * q;
                }
            }
        }
        Ok(Self { rows: self.rows, cols: next.cols, probabilities: out })
    }

    /// Both kernels side by side; the Kronecker product.
    #[must_use]
    pub fn tensor(&self, other: &Self) -> Self {
        let (n, m) = (other.rows, other.cols);
        Self::from_fn(self.rows * n, self.cols * m, |x, y| self.row(x / n)[y / m] * other.row(x % n)[y % m])
    }

    /// The law of the output when the input has the law `input`, `[cols]`.
    ///
    /// # Errors
    /// When `input` has not one probability for each row.
    pub fn push(&self, input: &[f64]) -> Result<Vec<f64>, Invalid> {
        self.check_input(input)?;
        let mut out = vec![0.0; self.cols];
        for (x, p) in input.iter().enumerate() {
            for (sum, q) in out.iter_mut().zip(self.row(x)) {
                *sum += p * q;
            }
        }
        Ok(out)
    }

    /// The joint law of input and output, `[rows, cols]` row-major.
    ///
    /// # Errors
    /// When `input` has not one probability for each row.
    pub fn joint(&self, input: &[f64]) -> Result<Vec<f64>, Invalid> {
        self.check_input(input)?;
        let row = |(x, p): (usize, &f64)| self.row(x).iter().map(|q| p * q).collect::<Vec<f64>>();
        Ok(input.iter().enumerate().flat_map(row).collect())
    }

    pub(super) fn check_input(&self, input: &[f64]) -> Result<(), Invalid> {
        if input.len() == self.rows {
            return Ok(());
        }
        let wanted = format!("{} probabilities, one for each row of the kernel", self.rows);
        Err(Invalid::new("the law of the input", wanted, input.len().to_string()))
    }

    /// Largest absolute difference between the entries of two kernels of the same shape; infinite for different shapes.
    #[must_use]
    pub fn distance(&self, other: &Self) -> f64 {
        if (self.rows, self.cols) != (other.rows, other.cols) {
            return f64::INFINITY;
        }
        let pairs = self.probabilities.iter().zip(&other.probabilities);
        pairs.fold(0.0, |most, (a, b)| most.max((a - b).abs()))
    }
}

fn indicator(yes: bool) -> f64 {
    f64::from(u8::from(yes))
}

/// A draw from the symmetric Dirichlet law on `n` outcomes.
#[must_use]
pub fn dirichlet(n: usize, concentration: f64, rng: &mut Rng) -> Vec<f64> {
    loop {
        let draws: Vec<f64> = (0..n).map(|_| rng.gamma(concentration)).collect();
        let sum: f64 = draws.iter().sum();
        // All draws of a tiny concentration may underflow to 0.
        if sum > 0.0 {
            return draws.iter().map(|v| v / sum).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    #[test]
    fn what_is_no_kernel_is_named() {
        let refuse = |entries: Vec<f64>, words: &[&str]| {
            let error = Kernel::new("t.csv", 2, 2, entries).unwrap_err().to_string();
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        };
        refuse(vec![0.5, 0.5, 0.5, 0.4], &["t.csv, row 1", "sum to 1", "the sum 0.9"]);
        refuse(vec![0.5, 0.5, 1.2, -0.2], &["t.csv, row 1, column 1", "at least 0", "-0.2"]);
        refuse(vec![0.5, 0.5, f64::NAN, 1.0], &["row 1, column 0", "NaN"]);
        refuse(vec![0.5, 0.5], &["2 entries"]);
        let close = Kernel::new("t", 1, 3, vec![0.333_333_3, 0.333_333_3, 0.333_333_4 + 5e-7]).unwrap();
        assert!((close.row(0).iter().sum::<f64>() - 1.0).abs() < 1e-15, "rounding is scaled away");
    }

    #[test]
    fn composition_needs_a_common_set() {
        let error = Kernel::identity(3).then(&Kernel::identity(4)).unwrap_err().to_string();
        assert!(error.contains("3 outcomes") && error.contains("from 4"), "{error}");
        assert!(Kernel::deterministic(&[0, 2], 2).is_err());
        assert!(Kernel::identity(2).push(&[1.0]).is_err());
    }

    #[test]
    fn known_products() {
        let coin = Kernel::new("coin", 1, 2, vec![0.25, 0.75]).unwrap();
        let copied = coin.then(&Kernel::copy(2)).unwrap();
        assert_eq!(copied.row(0), [0.25, 0.0, 0.0, 0.75]);
        assert_eq!(coin.tensor(&coin).row(0), [0.0625, 0.1875, 0.1875, 0.5625]);
        // (x, y) = (1, 2) of 2 x 3 stands at 5 and goes to (2, 1) of 3 x 2, which stands at 5; (0, 2) at 2 to (2, 0) at 4.
        let swap = Kernel::swap(2, 3);
        assert!((swap.row(5)[5] - 1.0).abs() < 1e-15 && (swap.row(2)[4] - 1.0).abs() < 1e-15);
    }

    #[test]
    fn random_rows_are_laws() {
        let kernel = Kernel::random(50, 7, 0.05, &mut Stream::new(1, "kernel").at(0));
        for x in 0..50 {
            assert!((kernel.row(x).iter().sum::<f64>() - 1.0).abs() < 1e-12);
            assert!(kernel.row(x).iter().all(|p| (0.0..=1.0).contains(p)));
        }
    }
}
