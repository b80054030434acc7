//! The instrumental-variable limit with fewer instruments than treatments.

use super::{Instrumental, Sizes};
use crate::error::FitError;
use nalgebra::{DMatrix, DVector};

/// Which of the solutions of the 2SLS normal equations is taken when there are many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IvLimit {
    /// The nearest to least squares in the coefficients of the treatments, `min |b - b_OLS|` (in the units of the columns).
    ClosestToLeastSquares,
    /// The one of least squared residuals: the limit of IVL as `alpha` goes to 0.
    LeastResiduals,
}

/// Singular values below this part of the largest count as 0.
const NULL: f64 = 1e-10;

impl Instrumental<'_> {
    /// Coefficients (controls, then treatments) that solve the normal equations of two-stage least squares,
    /// `D'P(y - Db) = 0`. When the instruments determine the treatments' coefficients both limits are two-stage least squares;
    /// when they do not, the instruments pin down only part of them and `limit` says how the rest is chosen.
    ///
    /// # Errors
    /// Those of [`Instrumental::ols`], for the limit that begins there.
    pub fn iv_limit(&self, limit: IvLimit) -> Result<Vec<f64>, FitError> {
        let Sizes { w, l, k, .. } = self.sizes;
        let (a, m) = (self.sizes.a(), self.sizes.m());
        let y_scale = self.scale[m];
        // In the units of the columns, given the controls: moved b = z on the instruments, left b = rest beside them.
        let block = |from: usize, rows: usize| {
            DMatrix::from_fn(rows, k, |i, j| self.r[(from + i, a + j)] / self.scale[a + j])
        };
        let (moved, left) = (block(w, l), block(a, k));
        let response =
            |from: usize, rows: usize| DVector::from_fn(rows, |i, _| self.r[(from + i, m)] / y_scale);
        let (z, rest) = (response(w, l), response(a, k));
        let on_instruments = Decomposition::new(moved.clone(), 0.0);
        let treatments = match limit {
            IvLimit::ClosestToLeastSquares => {
                let ols = self.solve(0.0, 1.0)?.coefficients;
                let start = DVector::from_column_slice(&ols[w..]);
                let missed = &z - &moved * &start;
                start + on_instruments.solve(&missed)
            }
            IvLimit::LeastResiduals => {
                let start = on_instruments.solve(&z);
                // Moves that the instruments do not see.
                let free = &left - &left * on_instruments.row_projection();
                let missed = rest - &left * &start;
                start + Decomposition::new(free, left.norm()).solve(&missed)
            }
        };
        Ok(self.with_controls(&treatments))
    }

    /// Coefficients of all columns of `D` for given ones of the treatments.
    fn with_controls(&self, treatments: &DVector<f64>) -> Vec<f64> {
        let Sizes { w, k, .. } = self.sizes;
        let (a, m) = (self.sizes.a(), self.sizes.m());
        let mut controls = DVector::from_fn(w, |i, _| {
            let treated: f64 = (0..k).map(|j| self.r[(i, a + j)] / self.scale[a + j] * treatments[j]).sum();
            self.r[(i, m)] / self.scale[m] - treated
        });
        // The controls have full rank: `Instrumental::new` has seen to it.
        let solved = self.r.view((0, 0), (w, w)).into_owned().solve_upper_triangular_mut(&mut controls);
        debug_assert!(solved);
        let scaled = controls.iter().zip(&self.scale).map(|(c, s)| c * s);
        scaled.chain(treatments.iter().copied()).collect()
    }
}

/// `A V = U S` with orthogonal `V`, by one-sided Jacobi rotations (Hestenes, 1958): small singular values come out as
/// accurately as large ones, and `V` is whole for matrices of any shape.
struct Decomposition {
    /// Columns of `U S`.
    scaled: DMatrix<f64>,
    v: DMatrix<f64>,
    /// Singular values.
    sizes: Vec<f64>,
    /// Singular values up to this count as 0.
    cut: f64,
}

impl Decomposition {
    /// Of a matrix that is what is left of one of size `whole`, so that its rounding counts as 0.
    fn new(a: DMatrix<f64>, whole: f64) -> Self {
        let n = a.ncols();
        let (mut scaled, mut v) = (a, DMatrix::identity(n, n));
        // Convergence is quadratic: five or six sweeps. The bound only guards against values that are not finite.
        for _ in 0..60 {
            let mut turned = false;
            for p in 0..n {
                for q in p + 1..n {
                    turned |= rotate(&mut scaled, &mut v, p, q);
                }
            }
            if !turned {
                break;
            }
        }
        let sizes: Vec<f64> = scaled.column_iter().map(|c| c.norm()).collect();
        let cut = NULL * sizes.iter().copied().fold(whole.max(f64::MIN_POSITIVE), f64::max);
        Self { scaled, v, sizes, cut }
    }

    /// Positions of the singular values that do not count as 0.
    fn rank(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.sizes.len()).filter(|&j| self.sizes[j] > self.cut)
    }

    /// The shortest least-squares solution of `A x = y`.
    fn solve(&self, y: &DVector<f64>) -> DVector<f64> {
        let mut x = DVector::zeros(self.v.nrows());
        for j in self.rank() {
            x += self.v.column(j) * (self.scaled.column(j).dot(y) / self.sizes[j] / self.sizes[j]);
        }
        x
    }

    /// The projection on the span of the rows of `A`.
    fn row_projection(&self) -> DMatrix<f64> {
        let mut sum = DMatrix::zeros(self.v.nrows(), self.v.nrows());
        for j in self.rank() {
            sum += self.v.column(j) * self.v.column(j).transpose();
        }
        sum
    }
}

/// Makes columns `p` and `q` orthogonal; whether they were not.
fn rotate(scaled: &mut DMatrix<f64>, v: &mut DMatrix<f64>, p: usize, q: usize) -> bool {
    let (a, b) = (scaled.column(p), scaled.column(q));
    let (along, first, second) = (a.dot(&b), a.norm_squared(), b.norm_squared());
    if along.abs() <= 1e-15 * (first * second).sqrt() {
        return false;
    }
    let slope = (second - first) / (2.0 * along);
    let tangent = slope.signum() / (slope.abs() + (1.0 + slope * slope).sqrt());
    let cosine = 1.0 / (1.0 + tangent * tangent).sqrt();
    let sine = cosine * tangent;
    for matrix in [scaled, v] {
        for i in 0..matrix.nrows() {
            let (x, y) = (matrix[(i, p)], matrix[(i, q)]);
            matrix[(i, p)] = cosine * x - sine * y;
            matrix[(i, q)] = sine * x + cosine * y;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decompositions_of_wide_tall_and_deficient_matrices() {
        let wide = DMatrix::from_row_slice(2, 4, &[1.0, 2.0, -1.0, 0.5, 1.0, 2.0, -1.0, 0.5 + 1e-6]);
        let tall = wide.transpose();
        let deficient = DMatrix::from_row_slice(3, 3, &[1.0, 2.0, 3.0, 2.0, 4.0, 6.0, 1.0, 0.0, 1.0]);
        for (matrix, rank) in [(wide, 2), (tall, 2), (deficient, 2)] {
            let parts = Decomposition::new(matrix.clone(), 0.0);
            assert_eq!(parts.rank().count(), rank);
            assert!((&matrix * &parts.v - &parts.scaled).norm() < 1e-13 * matrix.norm());
            let identity = DMatrix::identity(matrix.ncols(), matrix.ncols());
            assert!((parts.v.transpose() * &parts.v - identity).norm() < 1e-13);
            // The shortest solution of a consistent system lies in the span of the rows.
            let y = &matrix * DVector::from_fn(matrix.ncols(), |i, _| 1.0 + i as f64);
            let x = parts.solve(&y);
            assert!((&matrix * &x - &y).norm() < 1e-9 * y.norm());
            assert!((parts.row_projection() * &x - &x).norm() < 1e-9 * x.norm());
        }
    }
}
