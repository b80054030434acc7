//! Figures of curves: the exponent of regret, how it falls, and how switches grow.

use ream_rand::Stream;

/// Regret below this counts as this.
const FLOOR: f64 = 1.0;
/// Bootstrap samples over seeds.
const DRAWS: usize = 1000;

/// Slope, and share of variance explained, of the least-squares line through points. A line through a constant explains
/// nothing.
#[must_use]
pub fn line(x: &[f64], y: &[f64]) -> (f64, f64) {
    let n = x.len().max(1) as f64;
    let (mean_x, mean_y) = (x.iter().sum::<f64>() / n, y.iter().sum::<f64>() / n);
    let sum = |f: &dyn Fn(f64, f64) -> f64| -> f64 {
        x.iter().zip(y).map(|(x, y)| f(x - mean_x, y - mean_y)).sum()
    };
    let (xx, xy, yy) = (sum(&|x, _| x * x), sum(&|x, y| x * y), sum(&|_, y| y * y));
    if xx <= 0.0 {
        return (0.0, 0.0);
    }
    (xy / xx, if yy > 0.0 { xy * xy / (xx * yy) } else { 0.0 })
}

/// Slope of log regret against log time over the last decade.
#[must_use]
pub fn exponent(grid: &[u64], regret: &[f64]) -> f64 {
    let first = grid.last().map_or(0, |t| t / 10);
    let points = grid.iter().zip(regret).filter(|(t, _)| **t >= first);
    let (x, y): (Vec<f64>, Vec<f64>) =
        points.map(|(t, r)| (libm::log(*t as f64), libm::log(r.max(FLOOR)))).unzip();
    line(&x, &y).0
}

/// Regret per step a decade before the end, over that at the end.
#[must_use]
pub fn fall(grid: &[u64], regret: &[f64]) -> f64 {
    let Some(&last) = grid.last() else { return 1.0 };
    let at = |t: u64| {
        let i = grid.partition_point(|g| *g < t);
        regret[i.min(regret.len() - 1)].max(FLOOR) / grid[i.min(grid.len() - 1)] as f64
    };
    at((last / 10).max(1)) / at(last)
}

/// `R^2` of `switches ~ a + b log t`.
#[must_use]
pub fn logarithmic_fit(grid: &[u64], switches: &[f64]) -> f64 {
    let x: Vec<f64> = grid.iter().map(|t| libm::log(*t as f64)).collect();
    line(&x, switches).1
}

/// Mean curve of several seeds.
#[must_use]
pub fn mean_curve(curves: &[Vec<f64>]) -> Vec<f64> {
    mean_of(curves, &(0..curves.len()).collect::<Vec<_>>())
}

fn mean_of(curves: &[Vec<f64>], picked: &[usize]) -> Vec<f64> {
    let Some(first) = curves.first() else { return Vec::new() };
    (0..first.len())
        .map(|i| picked.iter().map(|&k| curves[k][i]).sum::<f64>() / picked.len() as f64)
        .collect()
}

/// A figure of the mean curve, and the same for bootstrap samples of the seeds.
#[must_use]
pub fn of_mean(curves: &[Vec<f64>], stream: Stream, figure: impl Fn(&[f64]) -> f64) -> (f64, Vec<f64>) {
    let draws =
        (0..DRAWS as u64).map(|i| figure(&mean_of(curves, &stream.at(i).resample(curves.len())))).collect();
    (figure(&mean_curve(curves)), draws)
}

#[cfg(test)]
mod tests {
    use super::super::learner::time_grid;
    use super::*;

    fn curve(f: impl Fn(f64) -> f64) -> (Vec<u64>, Vec<f64>) {
        let grid = time_grid(100_000);
        let values = grid.iter().map(|t| f(*t as f64)).collect();
        (grid, values)
    }

    #[test]
    fn powers_give_their_exponent_and_fall() {
        for (power, fallen) in [(0.5, 10_f64.sqrt()), (1.0, 1.0), (0.0, 10.0)] {
            let (grid, regret) = curve(|t| 300.0 * libm::pow(t, power));
            assert!((exponent(&grid, &regret) - power).abs() < 1e-9);
            assert!((fall(&grid, &regret) - fallen).abs() < 1e-9, "{power}");
        }
        // Only the last decade counts, and what is below the floor is flat.
        let (grid, regret) = curve(|t| if t < 10_000.0 { t } else { -5.0 });
        assert!(exponent(&grid, &regret).abs() < 1e-12);
    }

    #[test]
    fn logarithms_fit_and_roots_do_not() {
        let (grid, switches) = curve(|t| libm::floor(3.0 + 8.0 * libm::log(t)));
        assert!(logarithmic_fit(&grid, &switches) > 0.99);
        let (grid, switches) = curve(f64::sqrt);
        let root = logarithmic_fit(&grid, &switches);
        assert!(root < 0.75, "{root}");
        let (grid, never) = curve(|_| 1.0);
        assert_eq!(logarithmic_fit(&grid, &never), 0.0);
    }

    #[test]
    fn the_grid_holds_the_decades_the_end_and_a_tenth_of_it() {
        let grid = time_grid(200_000);
        assert!(grid.windows(2).all(|pair| pair[0] < pair[1]));
        for t in [1, 10, 1000, 20_000, 100_000, 200_000] {
            assert!(grid.contains(&t), "{t}");
        }
    }

    #[test]
    fn the_figure_of_a_mean_is_not_the_mean_of_figures() {
        let (grid, one) = curve(|t| t);
        let (_, other) = curve(|_| 1.0);
        let curves = vec![one.clone(), other];
        let (value, draws) = of_mean(&curves, Stream::new(1, "test"), |mean| exponent(&grid, mean));
        assert!(value > 0.99, "{value}");
        assert_eq!(draws.len(), DRAWS);
        let low = draws.iter().copied().fold(f64::INFINITY, f64::min);
        assert!(low.abs() < 1e-9);
        assert_eq!(mean_curve(&curves)[0], 1.0);
    }
}
