//! Eigenvalues, singular values, and how alike two representations are.
//!
//! Vectors are given with their largest entry positive, so that the same matrix always gives the same signs. A vector of
//! a value that occurs several times is one of many: compare spans ([`overlap`]), not vectors.
//!
//! ```
//! use ream_stats::{Matrix, spectral};
//! let a = Matrix::from_rows(&[[2.0, 1.0], [1.0, 2.0]])?;
//! let eigen = spectral::symmetric_eigen(&a)?;
//! assert!((eigen.values[0] - 3.0).abs() < 1e-12 && (eigen.values[1] - 1.0).abs() < 1e-12);
//! # Ok::<(), ream_stats::StatsError>(())
//! ```

use crate::error::{StatsError, at_least, length, not_negative};
use crate::matrix::Matrix;
use nalgebra::{DMatrix, SVD, SymmetricEigen};

/// Sweeps after which an iteration that does not converge is given up; convergence takes two or three for each value.
const SWEEPS: usize = 100_000;

/// `A = V diag(values) V'` of a symmetric matrix.
#[derive(Clone, Debug, PartialEq)]
pub struct Eigen {
    /// Eigenvalues, largest first.
    pub values: Vec<f64>,
    /// Orthonormal eigenvectors, one column for each value, `[n, n]`.
    pub vectors: Matrix,
}

/// `A = U diag(values) V'` with `k = min(rows, columns)` values.
#[derive(Clone, Debug, PartialEq)]
pub struct Svd {
    /// Singular values, largest first.
    pub values: Vec<f64>,
    /// Left vectors, one column for each value, `[rows, k]`.
    pub left: Matrix,
    /// Right vectors, one column for each value, `[columns, k]`.
    pub right: Matrix,
}

/// Eigenvalues and eigenvectors of a symmetric matrix; its lower triangle is read.
///
/// # Errors
/// [`StatsError`] for a matrix that is empty, not square, not symmetric to 1e-9 of its largest entry, or not finite.
pub fn symmetric_eigen(a: &Matrix) -> Result<Eigen, StatsError> {
    a.check("the symmetric matrix")?;
    length("the symmetric matrix (columns)", a.rows(), a.cols())?;
    let largest = a.data().iter().fold(0.0_f64, |m, v| m.max(v.abs()));
    for i in 0..a.rows() {
        for j in 0..i {
            if (a.get(i, j) - a.get(j, i)).abs() > 1e-9 * largest {
                return Err(StatsError::Undefined {
                    what: "a symmetric eigendecomposition",
                    why: "the matrix is not symmetric",
                });
            }
        }
    }
    let eigen = SymmetricEigen::try_new(dense(a), f64::EPSILON, SWEEPS)
        .ok_or(StatsError::Undefined { what: "the eigendecomposition", why: "it did not converge" })?;
    let order = descending(eigen.eigenvalues.as_slice());
    let mut vectors = columns(&eigen.eigenvectors, &order);
    signed(&mut [&mut vectors]);
    Ok(Eigen { values: order.iter().map(|&k| eigen.eigenvalues[k]).collect(), vectors })
}

/// Thin singular value decomposition.
///
/// # Errors
/// [`StatsError`] for a matrix that is empty or not finite.
pub fn svd(a: &Matrix) -> Result<Svd, StatsError> {
    a.check("the matrix")?;
    let svd = SVD::try_new(dense(a), true, true, f64::EPSILON, SWEEPS);
    let parts = svd.and_then(|svd| Some((svd.singular_values, svd.u?, svd.v_t?)));
    let (values, left, right) =
        parts.ok_or(StatsError::Undefined { what: "the singular values", why: "they did not converge" })?;
    let order = descending(values.as_slice());
    let (mut left, mut right) = (columns(&left, &order), columns(&right.transpose(), &order));
    signed(&mut [&mut left, &mut right]);
    Ok(Svd { values: order.iter().map(|&k| values[k]).collect(), left, right })
}

/// The root `R` of a symmetric matrix without negative eigenvalues: `R R = A`, `R = R'`. Eigenvalues that rounding made
/// negative count as 0.
///
/// # Errors
/// As [`symmetric_eigen`].
pub fn symmetric_root(a: &Matrix) -> Result<Matrix, StatsError> {
    let eigen = symmetric_eigen(a)?;
    let n = a.rows();
    let roots: Vec<f64> = eigen.values.iter().map(|v| v.max(0.0).sqrt()).collect();
    let v = &eigen.vectors;
    Ok(Matrix::from_fn(n, n, |i, j| (0..n).map(|k| v.get(i, k) * roots[k] * v.get(j, k)).sum()))
}

/// Share of one span that lies in the other: `(1/r) |U' V|_F^2` for orthonormal columns `U: [n, p]`, `V: [n, r]`, in
/// `[0, 1]`.
///
/// # Errors
/// [`StatsError`] for different numbers of rows or no columns.
pub fn overlap(u: &Matrix, v: &Matrix) -> Result<f64, StatsError> {
    length("the second basis (rows)", u.rows(), v.rows())?;
    at_least("a basis (columns)", 1, u.cols().min(v.cols()))?;
    Ok(squares(&product(u, v, None)) / v.cols() as f64)
}

/// Linear centred kernel alignment (Kornblith, Norouzi, Lee & Hinton, 2019) of two representations of the same rows,
/// `[n, p]` and `[n, q]`, in `[0, 1]`. The weights of the rows are all the same unless given. It does not change under
/// rotation and common scale of the columns, but does under other linear maps.
///
/// # Errors
/// [`StatsError`] for different numbers of rows, fewer than two rows, negative weights, values that are not finite, or a
/// representation that never varies.
pub fn linear_cka(x: &Matrix, y: &Matrix, weights: Option<&[f64]>) -> Result<f64, StatsError> {
    x.check("the first representation")?;
    y.check("the second representation")?;
    length("the second representation (rows)", x.rows(), y.rows())?;
    at_least("a representation (rows)", 2, x.rows())?;
    let equal = vec![1.0; x.rows()];
    let weights = weights.unwrap_or(&equal);
    length("the weights", x.rows(), weights.len())?;
    not_negative("the weights", weights)?;
    let (x, y) = (varying(x, weights)?, varying(y, weights)?);
    let inner = |a: &Matrix, b: &Matrix| squares(&product(a, b, Some(weights)));
    Ok(inner(&x, &y) / (inner(&x, &x) * inner(&y, &y)).sqrt())
}

/// Centred columns that vary beyond rounding.
fn varying(x: &Matrix, weights: &[f64]) -> Result<Matrix, StatsError> {
    let from_mean = centred(x, weights)?;
    let size = |m: &Matrix| -> f64 {
        weights.iter().enumerate().map(|(i, w)| w * m.row(i).iter().map(|v| v * v).sum::<f64>()).sum()
    };
    if size(&from_mean) > 1e-24 * size(x) {
        Ok(from_mean)
    } else {
        Err(StatsError::Undefined { what: "linear CKA", why: "a representation is the same in every row" })
    }
}

/// The columns less their weighted means.
///
/// # Errors
/// [`StatsError`] unless there is one weight for each row and their sum is positive.
pub fn centred(x: &Matrix, weights: &[f64]) -> Result<Matrix, StatsError> {
    length("the weights", x.rows(), weights.len())?;
    not_negative("the weights", weights)?;
    let total: f64 = weights.iter().sum();
    if total <= 0.0 {
        return Err(StatsError::Undefined { what: "a weighted mean", why: "the weights sum to 0" });
    }
    let mut mean = vec![0.0; x.cols()];
    for (i, w) in weights.iter().enumerate() {
        for (m, v) in mean.iter_mut().zip(x.row(i)) {
            *m += w / total * v;
        }
    }
    Ok(Matrix::from_fn(x.rows(), x.cols(), |i, j| x.get(i, j) - mean[j]))
}

/// `A' diag(w) B` for matrices of the same number of rows.
fn product(a: &Matrix, b: &Matrix, weights: Option<&[f64]>) -> Matrix {
    let mut sums = vec![0.0; a.cols() * b.cols()];
    for i in 0..a.rows() {
        let w = weights.map_or(1.0, |w| w[i]);
        for (sum, &left) in sums.chunks_exact_mut(b.cols()).zip(a.row(i)) {
            for (s, right) in sum.iter_mut().zip(b.row(i)) {
                *s += w * left * right;
            }
        }
    }
    Matrix::from_fn(a.cols(), b.cols(), |i, j| sums[i * b.cols() + j])
}

fn squares(a: &Matrix) -> f64 {
    a.data().iter().map(|v| v * v).sum()
}

fn dense(a: &Matrix) -> DMatrix<f64> {
    DMatrix::from_row_slice(a.rows(), a.cols(), a.data())
}

fn descending(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    order
}

fn columns(a: &DMatrix<f64>, order: &[usize]) -> Matrix {
    Matrix::from_fn(a.nrows(), order.len(), |i, k| a[(i, order[k])])
}

/// Turns the columns of all matrices together so that the largest entry of the first one's column is positive.
fn signed(matrices: &mut [&mut Matrix]) {
    let Some(first) = matrices.first() else { return };
    let signs: Vec<f64> = (0..first.cols())
        .map(|j| {
            let largest = (0..first.rows())
                .map(|i| first.get(i, j))
                .fold(0.0_f64, |m, v| if v.abs() > m.abs() { v } else { m });
            if largest < 0.0 { -1.0 } else { 1.0 }
        })
        .collect();
    for matrix in matrices {
        **matrix = Matrix::from_fn(matrix.rows(), matrix.cols(), |i, j| signs[j] * matrix.get(i, j));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    fn random(rows: usize, cols: usize, step: u64) -> Matrix {
        let mut rng = Stream::new(7, "spectral tests").at(step);
        Matrix::from_fn(rows, cols, |_, _| rng.normal())
    }

    fn times(a: &Matrix, b: &Matrix) -> Matrix {
        Matrix::from_fn(a.rows(), b.cols(), |i, j| (0..a.cols()).map(|k| a.get(i, k) * b.get(k, j)).sum())
    }

    fn largest_difference(a: &Matrix, b: &Matrix) -> f64 {
        assert_eq!((a.rows(), a.cols()), (b.rows(), b.cols()));
        a.data().iter().zip(b.data()).fold(0.0, |m, (x, y)| m.max((x - y).abs()))
    }

    fn orthonormal(a: &Matrix) -> bool {
        let identity = Matrix::from_fn(a.cols(), a.cols(), |i, j| f64::from(u8::from(i == j)));
        largest_difference(&product(a, a, None), &identity) < 1e-10
    }

    #[test]
    fn an_eigendecomposition_makes_the_matrix_again() {
        for n in [1, 2, 5, 40] {
            let a = random(n, n, n as u64);
            let a = Matrix::from_fn(n, n, |i, j| a.get(i, j) + a.get(j, i));
            let eigen = symmetric_eigen(&a).unwrap();
            assert!(eigen.values.is_sorted_by(|a, b| a >= b) && orthonormal(&eigen.vectors));
            let scaled = Matrix::from_fn(n, n, |i, k| eigen.vectors.get(i, k) * eigen.values[k]);
            let transposed = Matrix::from_fn(n, n, |k, j| eigen.vectors.get(j, k));
            assert!(largest_difference(&times(&scaled, &transposed), &a) < 1e-10);
        }
    }

    /// Tall, wide and of deficient rank, where the missing directions must not spoil the others.
    #[test]
    fn singular_values_make_the_matrix_again_whatever_its_rank() {
        for (rows, cols, rank) in [(7, 7, 7), (60, 9, 9), (9, 60, 9), (300, 24, 6), (50, 32, 1)] {
            let a = times(&random(rows, rank, 1), &random(rank, cols, 2));
            let svd = svd(&a).unwrap();
            let k = rows.min(cols);
            assert_eq!((svd.values.len(), svd.left.cols(), svd.right.cols()), (k, k, k));
            assert!(svd.values.is_sorted_by(|a, b| a >= b) && svd.values[k - 1] >= 0.0);
            assert!(svd.values[rank..].iter().all(|v| *v < 1e-10 * svd.values[0]));
            assert!(orthonormal(&Matrix::from_fn(rows, rank, |i, j| svd.left.get(i, j))));
            assert!(orthonormal(&Matrix::from_fn(cols, rank, |i, j| svd.right.get(i, j))));
            let scaled = Matrix::from_fn(rows, k, |i, j| svd.left.get(i, j) * svd.values[j]);
            let transposed = Matrix::from_fn(k, cols, |i, j| svd.right.get(j, i));
            assert!(largest_difference(&times(&scaled, &transposed), &a) < 1e-9);
        }
    }

    #[test]
    fn singular_values_are_roots_of_eigenvalues() {
        let a = random(30, 8, 5);
        let (svd, eigen) = (svd(&a).unwrap(), symmetric_eigen(&product(&a, &a, None)).unwrap());
        for (s, e) in svd.values.iter().zip(&eigen.values) {
            assert!((s * s - e).abs() < 1e-9);
        }
        let transposed = super::svd(&Matrix::from_fn(8, 30, |i, j| a.get(j, i))).unwrap();
        assert!(largest_difference(&transposed.left, &eigen.vectors) < 1e-8, "signs and order agree too");
    }

    #[test]
    fn a_root_squares_to_the_matrix() {
        let a = random(4, 9, 3);
        let a = product(&a, &a, None);
        let root = symmetric_root(&a).unwrap();
        assert!(largest_difference(&times(&root, &root), &a) < 1e-9);
    }

    /// What CKA does not see: rotation, common scale, shift of every row. What it does see: anything else.
    #[test]
    fn cka_is_one_for_a_rotated_copy_only() {
        let x = random(200, 6, 8);
        let symmetric = random(6, 6, 9);
        let symmetric = Matrix::from_fn(6, 6, |i, j| symmetric.get(i, j) + symmetric.get(j, i));
        let turned = times(&x, &symmetric_eigen(&symmetric).unwrap().vectors);
        let turned = Matrix::from_fn(200, 6, |i, j| 3.0 * turned.get(i, j) + 7.0);
        assert!((linear_cka(&x, &turned, None).unwrap() - 1.0).abs() < 1e-10);
        let stretched =
            Matrix::from_fn(200, 6, |i, j| x.get(i, j) * f64::from(u8::from(j == 0)).mul_add(20.0, 1.0));
        assert!(linear_cka(&x, &stretched, None).unwrap() < 0.6);
        assert!(linear_cka(&x, &random(200, 6, 10), None).unwrap() < 0.2);
    }

    /// Weight 2 is the row twice; weight 0 is the row left out.
    #[test]
    fn weights_count_rows() {
        let (x, y) = (random(20, 3, 11), random(20, 4, 12));
        let weights: Vec<f64> = (0..20).map(|i| f64::from(i % 3)).collect();
        let rows: Vec<usize> = (0..20).flat_map(|i| std::iter::repeat_n(i, i % 3)).collect();
        let weighted = linear_cka(&x, &y, Some(&weights)).unwrap();
        let repeated = linear_cka(&x.select_rows(&rows), &y.select_rows(&rows), None).unwrap();
        assert!((weighted - repeated).abs() < 1e-12);
    }

    /// A random subspace of `r` of `n` dimensions holds `r/n` of any other on average.
    #[test]
    fn overlap_of_random_spans_is_their_share() {
        let basis = |step| svd(&random(100, 10, step)).unwrap().left;
        let mean =
            (0..30).map(|k| overlap(&basis(2 * k + 100), &basis(2 * k + 101)).unwrap()).sum::<f64>() / 30.0;
        assert!((mean - 0.1).abs() < 0.01, "{mean}");
        assert!((overlap(&basis(1), &basis(1)).unwrap() - 1.0).abs() < 1e-10);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let skew = Matrix::from_rows(&[[1.0, 2.0], [3.0, 4.0]]).unwrap();
        assert!(symmetric_eigen(&skew).unwrap_err().to_string().contains("not symmetric"));
        assert!(symmetric_eigen(&random(2, 3, 0)).unwrap_err().to_string().contains("expected 2"));
        let gap = Matrix::from_rows(&[[1.0], [f64::NAN]]).unwrap();
        assert!(svd(&gap).unwrap_err().to_string().contains("row 1, column 0"));
        let constant = Matrix::from_fn(5, 2, |_, _| 3.0);
        assert!(
            linear_cka(&constant, &random(5, 2, 0), None)
                .unwrap_err()
                .to_string()
                .contains("same in every row")
        );
        let negative = linear_cka(&random(2, 2, 0), &random(2, 2, 1), Some(&[1.0, -1.0])).unwrap_err();
        assert!(negative.to_string().contains("the weights[1] is -1"), "{negative}");
    }
}
