//! Sums of derivatives by bin, and the best split that they show.

use crate::Options;
use crate::bins::Cuts;

/// Least share of a leaf's second derivatives on either side of a split: what is left of a difference below it is rounding.
const LEAST_SHARE: f64 = 1e-10;

/// Sums over the rows of a bin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sums {
    /// First derivatives.
    pub(crate) g: f64,
    /// Second derivatives.
    pub(crate) h: f64,
    pub(crate) rows: u32,
}

impl Sums {
    pub(crate) fn add(&mut self, other: &Self) {
        self.g += other.g;
        self.h += other.h;
        self.rows += other.rows;
    }

    pub(crate) fn less(&self, other: &Self) -> Self {
        Self { g: self.g - other.g, h: self.h - other.h, rows: self.rows - other.rows }
    }

    /// Twice what the loss falls by when the rows get their best common value.
    fn score(&self, l2: f64) -> f64 {
        if self.h + l2 > 0.0 { self.g * self.g / (self.h + l2) } else { 0.0 }
    }
}

/// What goes to the left.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Rule {
    /// Bins up to this one.
    UpTo(u8),
    /// Bins in the set.
    OneOf([u64; 4]),
}

impl Rule {
    pub(crate) fn is_left(&self, bin: u8) -> bool {
        match self {
            Self::UpTo(last) => bin <= *last,
            Self::OneOf(set) => Self::holds(set, bin),
        }
    }

    pub(crate) fn holds(set: &[u64; 4], bin: u8) -> bool {
        set[usize::from(bin / 64)] >> (bin % 64) & 1 == 1
    }
}

/// A split of one column.
#[derive(Clone, Debug)]
pub(crate) struct Split {
    /// Twice what the loss falls by.
    pub(crate) gain: f64,
    pub(crate) column: usize,
    pub(crate) rule: Rule,
}

/// Adds the rows' derivatives to the bins. `derivatives[i]` is of row `rows[i]`.
pub(crate) fn fill(out: &mut [Sums], bins: &[u8], rows: &[u32], derivatives: &[[f64; 2]]) {
    for (row, [g, h]) in rows.iter().zip(derivatives) {
        let sums = &mut out[usize::from(bins[*row as usize])];
        sums.g += g;
        sums.h += h;
        sums.rows += 1;
    }
}

/// The best split of a column, if one gains anything.
pub(crate) fn best(
    column: usize,
    cuts: &Cuts,
    histogram: &[Sums],
    total: &Sums,
    options: &Options,
) -> Option<Split> {
    match cuts {
        Cuts::Numbers(_) => {
            let order: Vec<u8> = (0..histogram.len()).map(|bin| bin as u8).collect();
            let (gain, place) = along(&order, histogram, total, options)?;
            Some(Split { gain, column, rule: Rule::UpTo(order[place]) })
        }
        Cuts::Categories { .. } => {
            // Among all 2^k sets the best one is a beginning of the levels in order of their best values (Fisher 1958).
            let ratio = |bin: u8| {
                let sums = &histogram[usize::from(bin)];
                sums.g / (sums.h + options.smoothing).max(f64::MIN_POSITIVE)
            };
            let mut order: Vec<u8> =
                (0..histogram.len()).filter(|bin| histogram[*bin].rows > 0).map(|bin| bin as u8).collect();
            order.sort_by(|a, b| ratio(*a).total_cmp(&ratio(*b)));
            let (gain, place) = along(&order, histogram, total, options)?;
            let mut set = [0_u64; 4];
            order[..=place].iter().for_each(|bin| set[usize::from(bin / 64)] |= 1 << (bin % 64));
            Some(Split { gain, column, rule: Rule::OneOf(set) })
        }
    }
}

/// The best place to cut an order of bins: gain, place of the left side's last bin.
fn along(order: &[u8], histogram: &[Sums], total: &Sums, options: &Options) -> Option<(f64, usize)> {
    let before = total.score(options.l2);
    let least = options.min_leaf.max(1) as u32;
    let mut found: Option<(f64, usize)> = None;
    let mut left = Sums::default();
    for (place, bin) in order.iter().enumerate() {
        let sums = &histogram[usize::from(*bin)];
        if sums.rows == 0 {
            continue;
        }
        left.add(sums);
        if left.rows < least {
            continue;
        }
        let right = total.less(&left);
        if right.rows < least {
            break;
        }
        if left.h.min(right.h) < LEAST_SHARE * total.h {
            continue;
        }
        let gain = left.score(options.l2) + right.score(options.l2) - before;
        // Rounding gains, too; a gain is one only beyond it.
        if gain > 1e-12 * before.max(f64::MIN_POSITIVE) && found.as_ref().is_none_or(|(most, _)| gain > *most)
        {
            found = Some((gain, place));
        }
    }
    found
}
