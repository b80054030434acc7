//! Units with their quantile curves.

use ream_stats::{Matrix, StatsError, descriptive};

/// Units that carry a distribution each, as their quantile functions on a grid.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Running variable, `[n]`.
    pub x: Vec<f64>,
    /// `Qhat_i(q)`, `[n, Q]`.
    pub curves: Matrix,
    /// The probabilities `q`, ascending, `[Q]`.
    pub grid: Vec<f64>,
    /// Treatment of each unit, `[n]`, in a fuzzy design.
    pub treatment: Option<Vec<f64>>,
}

impl Sample {
    /// Takes the empirical quantiles (type 7) of every unit's individuals; with weights of individuals, the weighted ones,
    /// which are the same when all weights are equal. Every unit counts once, however many individuals it has.
    ///
    /// # Errors
    /// [`StatsError`] for units without individuals, values that are not finite, weights that are negative or all 0, or
    /// lengths that differ.
    pub fn from_individuals(
        x: Vec<f64>,
        outcomes: &[Vec<f64>],
        weights: Option<&[Vec<f64>]>,
        grid: Vec<f64>,
        treatment: Option<Vec<f64>>,
    ) -> Result<Self, StatsError> {
        let n = x.len();
        for (what, got) in [
            ("the outcomes (units)", outcomes.len()),
            ("the weights (units)", weights.map_or(n, <[Vec<f64>]>::len)),
            ("the treatment (units)", treatment.as_ref().map_or(n, Vec::len)),
        ] {
            if got != n {
                return Err(StatsError::Length { what, wanted: n, got });
            }
        }
        let mut data = Vec::with_capacity(n * grid.len());
        for (i, values) in outcomes.iter().enumerate() {
            data.extend(match weights {
                Some(weights) => descriptive::weighted_quantiles(values, &weights[i], &grid)?,
                None => descriptive::quantiles(values, &grid)?,
            });
        }
        let curves = Matrix::new(n, grid.len(), data)?;
        Ok(Self { x, curves, grid, treatment })
    }

    /// Number of units.
    #[must_use]
    pub fn units(&self) -> usize {
        self.x.len()
    }

    /// The units that `keep` names, in their order.
    #[must_use]
    pub fn filtered(&self, keep: impl Fn(f64) -> bool) -> Self {
        let rows: Vec<usize> = (0..self.x.len()).filter(|&i| keep(self.x[i])).collect();
        let pick = |values: &[f64]| rows.iter().map(|&i| values[i]).collect();
        Self {
            x: pick(&self.x),
            curves: self.curves.select_rows(&rows),
            grid: self.grid.clone(),
            treatment: self.treatment.as_deref().map(pick),
        }
    }

    /// Without the units nearer to the cutoff than `radius`, where units may have sorted themselves (a donut).
    #[must_use]
    pub fn without_donut(&self, cutoff: f64, radius: f64) -> Self {
        self.filtered(|x| (x - cutoff).abs() >= radius)
    }

    /// Median of each unit where the grid has one (the nearest probability otherwise), `[n]`.
    #[must_use]
    pub fn medians(&self) -> Vec<f64> {
        self.curves.column(self.nearest(0.5))
    }

    /// Column whose probability is nearest to `q`.
    #[must_use]
    pub fn nearest(&self, q: f64) -> usize {
        nearest(&self.grid, q)
    }
}

/// Position of the value nearest to `q`; 0 for an empty grid.
#[must_use]
pub fn nearest(grid: &[f64], q: f64) -> usize {
    let distance = |k: &usize| (grid[*k] - q).abs();
    (0..grid.len()).min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap_or(0)
}

/// 0.01 to 0.99 by 0.01.
#[must_use]
pub fn percentiles() -> Vec<f64> {
    (1..100).map(|k| f64::from(k) / 100.0).collect()
}

/// 0.1 to 0.9 by 0.1: where units have few individuals, their tails say nothing.
#[must_use]
pub fn deciles() -> Vec<f64> {
    (1..10).map(|k| f64::from(k) / 10.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curves_are_type_7_quantiles() {
        let outcomes = [vec![3.0, 1.0, 2.0], vec![10.0, 20.0]];
        let sample =
            Sample::from_individuals(vec![-1.0, 1.0], &outcomes, None, vec![0.25, 0.5, 0.9], None).unwrap();
        assert_eq!(sample.curves.row(0), [1.5, 2.0, 2.8]);
        assert_eq!(sample.curves.row(1), [12.5, 15.0, 19.0]);
        assert_eq!(sample.medians(), [2.0, 15.0]);
        let equal = [vec![0.3; 3], vec![5.0; 2]];
        let weighted =
            Sample::from_individuals(vec![-1.0, 1.0], &outcomes, Some(&equal), vec![0.25, 0.5, 0.9], None)
                .unwrap();
        for (a, b) in sample.curves.data().iter().zip(weighted.curves.data()) {
            assert!((a - b).abs() < 1e-12);
        }
        let heavy = [vec![0.0, 1.0, 1.0], vec![1.0, 1.0]];
        let weighted =
            Sample::from_individuals(vec![-1.0, 1.0], &outcomes, Some(&heavy), vec![0.5], None).unwrap();
        assert_eq!(weighted.curves.row(0), [1.5]);
    }

    #[test]
    fn units_are_taken_out_together() {
        let outcomes: Vec<Vec<f64>> = (0..4).map(|i| vec![f64::from(i)]).collect();
        let x = vec![-1.0, -0.1, 0.1, 1.0];
        let sample =
            Sample::from_individuals(x, &outcomes, None, vec![0.5], Some(vec![0.0, 0.0, 1.0, 1.0])).unwrap();
        let far = sample.without_donut(0.0, 0.5);
        assert_eq!((far.x.as_slice(), far.curves.data()), (&[-1.0, 1.0][..], &[0.0, 3.0][..]));
        assert_eq!(far.treatment, Some(vec![0.0, 1.0]));
    }

    #[test]
    fn what_is_wrong_is_said() {
        let of =
            |outcomes: &[Vec<f64>]| Sample::from_individuals(vec![0.0, 1.0], outcomes, None, deciles(), None);
        assert!(of(&[vec![1.0]]).unwrap_err().to_string().contains("the outcomes (units)"));
        assert!(of(&[vec![1.0], vec![]]).is_err() && of(&[vec![1.0], vec![f64::NAN]]).is_err());
        assert_eq!((percentiles().len(), deciles().len()), (99, 9));
    }
}
