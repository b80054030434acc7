//! Folds, and predictions for each row from a fit that has not seen it.
//!
//! Folds depend on the stream alone, so they are the same wherever they are made.
//!
//! ```
//! use ream_rand::Stream;
//! use ream_stats::{StatsError, cross_fit};
//! let y = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
//! let folds = cross_fit::folds(6, 3, Stream::new(1, "folds")).unwrap();
//! let means = cross_fit::out_of_fold(&folds, |train, test| {
//!     let mean = train.iter().map(|&i| y[i]).sum::<f64>() / train.len() as f64;
//!     Ok::<_, StatsError>(vec![mean; test.len()])
//! })
//! .unwrap();
//! assert_eq!(means.len(), 6);
//! ```

use crate::error::{StatsError, at_least, length};
use ream_rand::Stream;
use std::collections::BTreeMap;

/// A fold in `0..k` for each of `n` rows, at random; sizes differ by at most 1.
///
/// # Errors
/// [`StatsError`] unless `2 <= k <= n`.
pub fn folds(n: usize, k: usize, stream: Stream) -> Result<Vec<usize>, StatsError> {
    check_k(k)?;
    at_least("cross-fitting (rows)", k, n)?;
    let mut order: Vec<usize> = (0..n).collect();
    stream.at(0).shuffle(&mut order);
    Ok(dealt(n, k, order))
}

/// As [`folds`], with the share of each stratum (any label) as equal as possible over the folds; sizes differ by at
/// most 1 within each stratum and in all.
///
/// # Errors
/// [`StatsError`] unless `2 <= k <= n`.
pub fn stratified(strata: &[usize], k: usize, stream: Stream) -> Result<Vec<usize>, StatsError> {
    check_k(k)?;
    at_least("cross-fitting (rows)", k, strata.len())?;
    let mut rng = stream.at(0);
    let mut order = Vec::with_capacity(strata.len());
    for mut rows in members(strata).into_values() {
        rng.shuffle(&mut rows);
        order.append(&mut rows);
    }
    // Dealing on from where the last stratum ended keeps the totals equal too.
    Ok(dealt(strata.len(), k, order))
}

/// As [`folds`], with all rows of a group in one fold. Groups are dealt at random, larger ones first, each to the
/// smallest fold so far.
///
/// # Errors
/// [`StatsError`] unless `k` is at least 2 and at most the number of groups.
pub fn grouped(groups: &[usize], k: usize, stream: Stream) -> Result<Vec<usize>, StatsError> {
    check_k(k)?;
    let mut members: Vec<Vec<usize>> = members(groups).into_values().collect();
    at_least("cross-fitting (groups)", k, members.len())?;
    stream.at(0).shuffle(&mut members);
    members.sort_by_key(|rows| core::cmp::Reverse(rows.len()));
    let mut sizes = vec![0; k];
    let mut fold = vec![0; groups.len()];
    for rows in members {
        let smallest = (0..k).min_by_key(|&f| sizes[f]).unwrap_or(0);
        sizes[smallest] += rows.len();
        for i in rows {
            fold[i] = smallest;
        }
    }
    Ok(fold)
}

/// Predictions for every row, each by `predict(train, test)` for the fold that holds it: `train` and `test` are row
/// numbers in ascending order, the result has one value for each of `test`. Folds are worked in order.
///
/// # Errors
/// The error of `predict`; [`StatsError::TooFew`] when `folds` holds fewer than two different folds,
/// [`StatsError::Length`] when a prediction has the wrong length.
pub fn out_of_fold<T: Copy, E: From<StatsError>>(
    folds: &[usize],
    mut predict: impl FnMut(&[usize], &[usize]) -> Result<Vec<T>, E>,
) -> Result<Vec<T>, E> {
    let members = members(folds);
    at_least("cross-fitting (folds)", 2, members.len())?;
    let mut result: Vec<Option<T>> = vec![None; folds.len()];
    for (fold, test) in &members {
        let train: Vec<usize> = (0..folds.len()).filter(|&i| folds[i] != *fold).collect();
        let values = predict(&train, test)?;
        length("the prediction of a fold", test.len(), values.len())?;
        for (&i, value) in test.iter().zip(values) {
            result[i] = Some(value);
        }
    }
    // Every row is in exactly one fold, so none is missing.
    Ok(result.into_iter().flatten().collect())
}

fn check_k(k: usize) -> Result<(), StatsError> {
    if k >= 2 {
        Ok(())
    } else {
        Err(StatsError::Setting { what: "the number of folds", value: k as f64, allowed: "2 or more" })
    }
}

fn dealt(n: usize, k: usize, order: Vec<usize>) -> Vec<usize> {
    let mut fold = vec![0; n];
    for (place, i) in order.into_iter().enumerate() {
        fold[i] = place % k;
    }
    fold
}

/// Rows of each label, in ascending order.
pub(crate) fn members(labels: &[usize]) -> BTreeMap<usize, Vec<usize>> {
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (i, &label) in labels.iter().enumerate() {
        members.entry(label).or_default().push(i);
    }
    members
}
