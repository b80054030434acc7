//! Columns cut into bins.

use crate::Column;
use rayon::prelude::*;

/// How a column is cut.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Cuts {
    /// Value `x` is in the bin whose number is how many cuts are below `x`.
    Numbers(Vec<f64>),
    /// The bin of every level.
    Categories { bins: Vec<u8>, count: usize },
}

impl Cuts {
    /// Bins.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Numbers(cuts) => cuts.len() + 1,
            Self::Categories { count, .. } => *count,
        }
    }

    fn new(column: &Column<'_>, most: usize) -> Self {
        match column {
            Column::Numbers(values) => Self::Numbers(cuts(values, most)),
            Column::Categories { codes, levels } => levels_of(codes, *levels, most),
        }
    }

    fn bins(&self, column: &Column<'_>) -> Vec<u8> {
        match (self, column) {
            (Self::Numbers(cuts), Column::Numbers(values)) => {
                values.iter().map(|x| cuts.partition_point(|cut| cut < x) as u8).collect()
            }
            (Self::Categories { bins, .. }, Column::Categories { codes, .. }) => {
                codes.iter().map(|code| bins[*code as usize]).collect()
            }
            // Cuts are made of the same column.
            _ => Vec::new(),
        }
    }
}

/// Cuts half-way between neighbouring values: between all of them where there are few, else such that bins hold about as many rows.
fn cuts(values: &[f64], most: usize) -> Vec<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let mut runs: Vec<(f64, usize)> = Vec::new();
    for x in sorted {
        match runs.last_mut() {
            // 0 and -0 are one value.
            Some((value, count)) if *value == x => *count += 1,
            _ => runs.push((x, 1)),
        }
    }
    let all = runs.len() <= most;
    let (mut cuts, mut left_rows, mut left_bins, mut filled) = (Vec::new(), values.len(), most, 0);
    for pair in runs.windows(2) {
        let ((low, rows), (high, next)) = (pair[0], pair[1]);
        filled += rows;
        // A run that would overfill the bin begins a new one where that is nearer to the aim.
        let aim = left_rows as f64 / left_bins as f64;
        let full = filled as f64 >= aim || (filled as f64 + next as f64 / 2.0) > aim;
        if all || (full && left_bins > 1) {
            let middle = low + (high - low) / 2.0;
            // Neighbouring floats have no middle; a bin takes values up to its cut.
            cuts.push(if middle < high { middle } else { low });
            left_rows -= filled;
            left_bins = left_bins.saturating_sub(1).max(1);
            filled = 0;
        }
    }
    cuts
}

/// A bin for every level; the rarest share the last one when there are too many.
fn levels_of(codes: &[u32], levels: u32, most: usize) -> Cuts {
    let levels = levels as usize;
    if levels <= most {
        return Cuts::Categories {
            bins: (0..levels).map(|level| level as u8).collect(),
            count: levels.max(1),
        };
    }
    let mut rows = vec![0_usize; levels];
    codes.iter().for_each(|code| rows[*code as usize] += 1);
    let mut order: Vec<usize> = (0..levels).collect();
    order.sort_by_key(|level| core::cmp::Reverse(rows[*level]));
    let mut bins = vec![(most - 1) as u8; levels];
    for (bin, level) in order.into_iter().take(most - 1).enumerate() {
        bins[level] = bin as u8;
    }
    Cuts::Categories { bins, count: most }
}

/// All columns, cut.
pub(crate) struct Binned {
    cuts: Vec<Cuts>,
    bins: Vec<Vec<u8>>,
}

impl Binned {
    pub(crate) fn new(columns: &[Column<'_>], most: usize) -> Self {
        let one = |column: &Column<'_>| {
            let cuts = Cuts::new(column, most);
            let bins = cuts.bins(column);
            (cuts, bins)
        };
        let (cuts, bins) = columns.par_iter().map(one).unzip();
        Self { cuts, bins }
    }

    pub(crate) fn columns(&self) -> usize {
        self.cuts.len()
    }

    pub(crate) fn cuts(&self, column: usize) -> &Cuts {
        &self.cuts[column]
    }

    /// `[rows]`.
    pub(crate) fn bins(&self, column: usize) -> &[u8] {
        &self.bins[column]
    }

    pub(crate) fn into_cuts(self) -> Vec<Cuts> {
        self.cuts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_are_cut_between_all_of_them() {
        assert_eq!(cuts(&[3.0, 1.0, 1.0, 2.0, -0.0, 0.0], 255), [0.5, 1.5, 2.5]);
        assert!(cuts(&[7.0; 5], 255).is_empty());
        let next = 1.0_f64.next_up();
        let cut = cuts(&[1.0, next], 255);
        assert!(cut[0] >= 1.0 && cut[0] < next);
        assert!(cuts(&[-1.7e308, 1.7e308], 255)[0].is_finite());
    }

    #[test]
    fn many_values_fill_bins_evenly() {
        let values: Vec<f64> = (0..10_000).map(|i| libm::sqrt(f64::from(i))).collect();
        let cuts = cuts(&values, 100);
        assert_eq!(cuts.len(), 99);
        let mut rows = vec![0; 100];
        values.iter().for_each(|x| rows[cuts.partition_point(|cut| cut < x)] += 1);
        assert!(rows.iter().all(|n| (95..=105).contains(n)), "{rows:?}");
    }

    #[test]
    fn a_heavy_value_keeps_a_bin_of_its_own_and_the_rest_is_still_cut() {
        let mut values = vec![0.0; 9000];
        values.extend((1..=1000).map(f64::from));
        let cuts = cuts(&values, 16);
        assert_eq!(cuts[0], 0.5);
        assert!((14..=15).contains(&cuts.len()), "{cuts:?}");
    }

    #[test]
    fn rare_levels_share_a_bin() {
        let codes: Vec<u32> = (0..300).flat_map(|level| vec![level; if level < 3 { 9 } else { 1 }]).collect();
        let Cuts::Categories { bins, count } = levels_of(&codes, 300, 4) else { panic!() };
        assert_eq!((count, &bins[..5]), (4, &[0, 1, 2, 3, 3][..]));
    }
}
