//! Telling separated data from an optimum that is merely far away.

use crate::sum::dot;

/// Sine of the angle by which a row may be on the wrong side.
const ANGLE: f64 = 1e-6;

/// Whether the linear predictor can grow along `direction` for ever without raising the cross-entropy.
///
/// That is so when every row with `y = 1` lies on the positive side or on the border, every row with `y = 0` on the
/// negative side or on the border, and every row with a fractional `y` on the border (Albert & Anderson, 1984).
/// Each row is judged by its own size, so one large row cannot hide the others.
pub(crate) fn separates(rows: &[f64], cols: usize, y: &[f64], direction: &[f64]) -> bool {
    let length = dot(direction, direction).sqrt();
    if length.is_nan() || length <= 0.0 {
        return false;
    }
    rows.chunks_exact(cols).zip(y).all(|(row, &y)| {
        let side = dot(row, direction);
        let border = ANGLE * length * dot(row, row).sqrt();
        let wrong = if y >= 1.0 {
            -side
        } else if y <= 0.0 {
            side
        } else {
            side.abs()
        };
        wrong <= border
    })
}
