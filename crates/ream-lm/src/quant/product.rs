//! The product of rows with a whole matrix, for maps outside the engine's own passes: draft heads, probes.

use ream_nn::threads;

use super::{Cells, LANES, Matrix, Rows, TILE, Tile};

/// Parts of a matrix that each thread takes, for those that are ready earlier.
const SHARES: usize = 4;
/// Below so many multiply-adds the calling thread does it alone.
const SERIAL: usize = 1 << 17;

/// `out = x W'`: `x` `[rows, inputs]` by `matrix` `[outputs, inputs]` gives `[rows, outputs]`.
///
/// A row's result depends on nothing but the row: not on its neighbours, not on the number of threads.
///
/// # Panics
/// When `x` has another width than the matrix, or `out` has not `rows * outputs` places.
///
/// ```
/// use ream_lm::quant::{Matrix, Rows, product};
///
/// let matrix = Matrix::quantize(&[1.0, 0.0, 0.0, 1.0, 1.0, 1.0], 3, 2)?;
/// let mut out = [0.0; 3];
/// product(&matrix, &Rows::new(&[2.0, -1.0], 2), &mut out);
/// assert!((out[2] - 1.0).abs() < 0.02);
/// # Ok::<(), ream_lm::quant::QuantError>(())
/// ```
pub fn product(matrix: &Matrix, x: &Rows, out: &mut [f32]) {
    let (rows, outputs, panels) = (x.rows(), matrix.outputs(), matrix.panels());
    assert!(x.inputs() == matrix.inputs() && out.len() == rows * outputs, "a product of another shape");
    let cells = Cells::new(out);
    let panel = |panel: usize| {
        let first_output = panel * LANES;
        let len = LANES.min(outputs - first_output);
        let mut tile: Tile = [[0.0; LANES]; TILE];
        for first in (0..rows).step_by(TILE) {
            let count = TILE.min(rows - first);
            matrix.tile(panel, x, first, count, &mut tile);
            for (r, sums) in tile.iter().enumerate().take(count) {
                // SAFETY: every panel of every row comes once.
                let part = unsafe { cells.part((first + r) * outputs + first_output, len) };
                part.copy_from_slice(&sums[..len]);
            }
        }
    };
    if rows * outputs * matrix.inputs() < SERIAL {
        return (0..panels).for_each(panel);
    }
    let jobs = (SHARES * threads()).min(panels);
    threads::for_each(jobs, &|job| (panels * job / jobs..panels * (job + 1) / jobs).for_each(panel));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(n: usize, seed: f32) -> Vec<f32> {
        (0..n).map(|i| libm::sinf(i as f32 * 0.7 + seed)).collect()
    }

    #[test]
    fn products_are_close_to_those_of_floats_and_rows_do_not_depend_on_their_neighbours() {
        for (rows, outputs, inputs) in [(1, 5, 40), (3, 37, 64), (11, 700, 96)] {
            let (weights, x) = (numbers(outputs * inputs, 1.0), numbers(rows * inputs, 2.0));
            let matrix = Matrix::quantize(&weights, outputs, inputs).unwrap();
            let mut all = vec![0.0; rows * outputs];
            product(&matrix, &Rows::new(&x, inputs), &mut all);
            for (row, x) in x.chunks_exact(inputs).enumerate() {
                let mut one = vec![0.0; outputs];
                product(&matrix, &Rows::new(x, inputs), &mut one);
                assert_eq!(one, all[row * outputs..(row + 1) * outputs]);
                for (output, got) in one.iter().enumerate() {
                    let want: f32 = x.iter().zip(&weights[output * inputs..]).map(|(x, w)| x * w).sum();
                    assert!((got - want).abs() < 0.01 * inputs as f32, "{got} {want}");
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "another shape")]
    fn another_width_is_refused() {
        let matrix = Matrix::quantize(&[1.0; 64], 2, 32).unwrap();
        product(&matrix, &Rows::new(&[1.0; 31], 31), &mut [0.0; 2]);
    }
}
