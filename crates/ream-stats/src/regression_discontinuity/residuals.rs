//! Residuals for standard errors: of the fits, or of differences to neighbours.

use super::{RegressionDiscontinuity, Variance};
use crate::error::FitError;
use crate::local_polynomial::LocalPolynomial;
use rayon::prelude::*;

/// Residuals of the rows of a window (ascending in `x`, beginning at row `first` of the side) for the plain fit and for the
/// fit of the bias. Each fit comes with its outcome, of the whole side.
pub(super) fn of_window(
    x: &[f64],
    y: &[f64],
    fits: [(&LocalPolynomial, &Vec<f64>); 2],
    first: usize,
    settings: &RegressionDiscontinuity,
) -> Result<[Vec<f64>; 2], FitError> {
    if let Variance::NearestNeighbours(count) = settings.variance {
        let residuals = of_neighbours(x, y, count);
        return Ok([residuals.clone(), residuals]);
    }
    let [(plain, on_y), (bias, also_y)] = fits;
    Ok([
        of_fit(x, y, plain, on_y, first, settings.variance)?,
        of_fit(x, y, bias, also_y, first, settings.variance)?,
    ])
}

/// Residuals of a fit for rows that need not all lie in its own window.
pub(super) fn of_fit(
    x: &[f64],
    y: &[f64],
    fit: &LocalPolynomial,
    whole: &[f64],
    first: usize,
    variance: Variance,
) -> Result<Vec<f64>, FitError> {
    let coefficients = fit.coefficients(whole)?;
    let (n, parameters) = (x.len() as f64, coefficients.len() as f64);
    let mut factor = vec![1.0; x.len()];
    match variance {
        Variance::Hc1 => factor.fill((n / (n - parameters)).sqrt()),
        Variance::Hc2 | Variance::Hc3 => {
            for (&i, h) in fit.rows().iter().zip(fit.leverages()) {
                let slack = 1.0 - h;
                if slack <= 1e-10 {
                    return Err(FitError::FullLeverage { row: i });
                }
                let at = &mut factor[i - first];
                *at = if variance == Variance::Hc2 { 1.0 / slack.sqrt() } else { 1.0 / slack };
            }
        }
        Variance::Hc0 | Variance::NearestNeighbours(_) => {}
    }
    let u = |x: f64| (x - fit.at()) / fit.bandwidth();
    Ok((0..x.len()).map(|i| factor[i] * (y[i] - fit.at_offset(&coefficients, u(x[i])))).collect())
}

/// `sqrt(J / (J + 1)) (y_i - mean of its J nearest neighbours)` for positions in ascending order. Rows at one position are
/// taken together; where the next to the left and to the right are equally far, both are taken, so `J` may exceed `wanted`.
pub(super) fn of_neighbours(x: &[f64], y: &[f64], wanted: usize) -> Vec<f64> {
    let n = x.len();
    // Where the run of equal positions that holds a row begins, and where it ends (exclusive).
    let mut start = vec![0; n];
    let mut end = vec![n; n];
    for i in 1..n {
        start[i] = if x[i] == x[i - 1] { start[i - 1] } else { i };
    }
    for i in (0..n.saturating_sub(1)).rev() {
        end[i] = if x[i] == x[i + 1] { end[i + 1] } else { i + 1 };
    }
    let wanted = wanted.min(n - 1);
    let one = |i: usize| {
        let (mut low, mut high) = (start[i], end[i]);
        while high - low - 1 < wanted {
            let left = if low > 0 { x[i] - x[low - 1] } else { f64::INFINITY };
            let right = if high < n { x[high] - x[i] } else { f64::INFINITY };
            if left <= right {
                low = start[low - 1];
            }
            if right <= left {
                high = end[high];
            }
        }
        let count = (high - low - 1) as f64;
        let others = y[low..high].iter().sum::<f64>() - y[i];
        (count / (count + 1.0)).sqrt() * (y[i] - others / count)
    };
    if n < 2 { vec![0.0; n] } else { (0..n).into_par_iter().with_min_len(1024).map(one).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_by_hand() {
        // One neighbour: 0 and 1 each other's; 3 has 1 and 5 equally far.
        let e = of_neighbours(&[0.0, 1.0, 3.0, 5.0], &[1.0, 3.0, 10.0, 4.0], 1);
        let half = 0.5_f64.sqrt();
        let wanted = [half * -2.0, half * 2.0, (2.0_f64 / 3.0).sqrt() * 6.5, half * -6.0];
        for (got, want) in e.iter().zip(wanted) {
            assert!((got - want).abs() < 1e-14, "{e:?}");
        }
        // Rows at one position are neighbours first, all of them.
        let e = of_neighbours(&[0.0, 0.0, 0.0, 9.0], &[1.0, 2.0, 3.0, 50.0], 1);
        assert!((e[1]).abs() < 1e-14 && (e[0] - (2.0_f64 / 3.0).sqrt() * -1.5).abs() < 1e-14);
        // Fewer rows than neighbours.
        assert!((of_neighbours(&[0.0, 1.0], &[0.0, 2.0], 3)[1] - half * 2.0).abs() < 1e-14);
        assert_eq!(of_neighbours(&[1.0], &[3.0], 3), [0.0]);
    }
}
