//! The score: logistic regression whose score of a record never saw that record.

use std::collections::BTreeSet;

use ream_rand::Stream;
use ream_stats::{FitError, Matrix, glm};

use super::environment::Scored;

/// Folds of the cross-fitting.
pub const FOLDS: usize = 5;

/// L2 strength on standardised coefficients (`C = 1`); the intercept is free.
const STRENGTH: f64 = 1.0;

/// A feature of all records.
#[derive(Clone, Debug, PartialEq)]
pub enum Feature {
    /// Numbers, used as they are.
    Numbers(Vec<f64>),
    /// Categories, one column for each.
    Categories(Vec<String>),
}

/// Records before they have a score.
#[derive(Clone, Debug, PartialEq)]
pub struct People {
    /// What the score may rest on. The group is not among it.
    pub features: Vec<Feature>,
    /// Group of each record, from 0.
    pub groups: Vec<usize>,
    /// Outcome of each record.
    pub good: Vec<bool>,
}

/// Scores of all records, with what a reader checks first.
#[derive(Clone, Debug, PartialEq)]
pub struct ScoreModel {
    /// The scored records.
    pub records: Vec<Scored>,
    /// Area under the ROC curve of the out-of-fold scores.
    pub auc: f64,
    /// Of the scores that a model gives to the records it was fitted on: higher, were it used it would be a leak.
    pub auc_in_sample: f64,
}

impl People {
    /// One row per record: numbers, and a column for each category in alphabetical order.
    fn design(&self) -> Vec<Vec<f64>> {
        let mut rows = vec![Vec::new(); self.good.len()];
        for feature in &self.features {
            match feature {
                Feature::Numbers(values) => {
                    rows.iter_mut().zip(values).for_each(|(row, value)| row.push(*value));
                }
                Feature::Categories(values) => {
                    let kinds: BTreeSet<&String> = values.iter().collect();
                    for (row, value) in rows.iter_mut().zip(values) {
                        row.extend(kinds.iter().map(|kind| f64::from(u8::from(*kind == value))));
                    }
                }
            }
        }
        rows
    }

    /// Scores every record with the model of the folds that do not hold it.
    ///
    /// # Errors
    /// The fit fails, for instance because a feature is not finite.
    pub fn score(&self) -> Result<ScoreModel, FitError> {
        let rows = self.design();
        let everyone: Vec<usize> = (0..rows.len()).collect();
        let in_sample = Model::fit(&rows, &self.good, &everyone)?;
        let folds = folds(&self.good);
        let mut scores = vec![0.0; rows.len()];
        for fold in 0..FOLDS {
            let (held, rest): (Vec<usize>, Vec<usize>) = everyone.iter().partition(|&&i| folds[i] == fold);
            let model = Model::fit(&rows, &self.good, &rest)?;
            for i in held {
                scores[i] = model.score(&rows[i]);
            }
        }
        let fitted: Vec<f64> = rows.iter().map(|row| in_sample.score(row)).collect();
        let (auc, auc_in_sample) = (auc(&scores, &self.good), auc(&fitted, &self.good));
        let records = scores.iter().zip(&self.groups).zip(&self.good);
        let records = records.map(|((&score, &group), &good)| Scored { score, group, good }).collect();
        Ok(ScoreModel { records, auc, auc_in_sample })
    }
}

/// Fold of each record: both outcomes are dealt out evenly. The folds belong to the data set, not to a seed: every
/// seed of an experiment meets the same population.
fn folds(good: &[bool]) -> Vec<usize> {
    let stream = Stream::new(0, "folds");
    let mut folds = vec![0; good.len()];
    for (class, step) in [(false, 0), (true, 1)] {
        let mut members: Vec<usize> = (0..good.len()).filter(|&i| good[i] == class).collect();
        stream.at(step).shuffle(&mut members);
        for (position, i) in members.into_iter().enumerate() {
            folds[i] = position % FOLDS;
        }
    }
    folds
}

/// A fitted logistic regression on standardised features.
struct Model {
    centre: Vec<f64>,
    scale: Vec<f64>,
    /// Intercept last.
    coefficients: Vec<f64>,
}

impl Model {
    fn fit(rows: &[Vec<f64>], good: &[bool], members: &[usize]) -> Result<Self, FitError> {
        let columns = rows.first().map_or(0, Vec::len);
        let n = members.len() as f64;
        let (mut centre, mut scale) = (vec![0.0; columns], vec![1.0; columns]);
        for j in 0..columns {
            let mean = members.iter().map(|&i| rows[i][j]).sum::<f64>() / n;
            let variance = members.iter().map(|&i| (rows[i][j] - mean).powi(2)).sum::<f64>() / n;
            centre[j] = mean;
            // A category that these members lack stays a column of zeros.
            if variance > 0.0 {
                scale[j] = variance.sqrt();
            }
        }
        let mut model = Self { centre, scale, coefficients: Vec::new() };
        let design: Vec<Vec<f64>> = members.iter().map(|&i| model.standardised(&rows[i])).collect();
        let y: Vec<f64> = members.iter().map(|&i| f64::from(u8::from(good[i]))).collect();
        let mut strength = vec![STRENGTH; columns];
        strength.push(0.0);
        let penalty = glm::Penalty::L2 { strength, centre: vec![0.0; columns + 1] };
        let fit = glm::fractional_logistic(&Matrix::from_rows(&design)?, &y, None, &penalty)?;
        model.coefficients = fit.coefficients;
        Ok(model)
    }

    fn standardised(&self, row: &[f64]) -> Vec<f64> {
        let scaled = row.iter().zip(self.centre.iter().zip(&self.scale)).map(|(x, (c, s))| (x - c) / s);
        scaled.chain([1.0]).collect()
    }

    fn score(&self, row: &[f64]) -> f64 {
        glm::sigmoid(self.standardised(row).iter().zip(&self.coefficients).map(|(x, b)| x * b).sum())
    }
}

/// Area under the ROC curve: the chance that a random good record scores above a random bad one, ties counting half.
/// NaN when one of the outcomes is absent.
#[must_use]
pub fn auc(scores: &[f64], good: &[bool]) -> f64 {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]));
    let (mut wins, mut bad_below, mut goods) = (0.0, 0.0, 0.0);
    for tied in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let good_here = tied.iter().filter(|&&i| good[i]).count() as f64;
        let bad_here = tied.len() as f64 - good_here;
        wins += good_here * (bad_below + 0.5 * bad_here);
        bad_below += bad_here;
        goods += good_here;
    }
    wins / (goods * bad_below)
}

/// Shares of good outcomes and of the last group.
#[must_use]
pub fn shares(records: &[Scored]) -> (f64, f64) {
    let n = records.len() as f64;
    let last = records.iter().map(|r| r.group).max().unwrap_or(0);
    let count = |of: &dyn Fn(&Scored) -> bool| records.iter().filter(|r| of(r)).count() as f64 / n;
    (count(&|r| r.good), count(&|r| r.group == last))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Noise features that say nothing, many of them.
    fn noise(n: usize, features: usize) -> People {
        let mut rng = Stream::new(5, "noise people").at(0);
        let features =
            (0..features).map(|_| Feature::Numbers((0..n).map(|_| rng.normal()).collect())).collect();
        let good = (0..n).map(|_| rng.chance(0.5)).collect();
        People { features, groups: (0..n).map(|i| i % 2).collect(), good }
    }

    #[test]
    fn auc_is_the_chance_of_the_right_order() {
        assert_eq!(auc(&[0.1, 0.4, 0.35, 0.8], &[false, false, true, true]), 0.75);
        assert_eq!(auc(&[0.5, 0.5], &[false, true]), 0.5);
        assert!(auc(&[0.5], &[true]).is_nan());
    }

    #[test]
    fn a_score_out_of_fold_does_not_know_its_record() {
        let model = noise(300, 40).score().unwrap();
        assert!(model.auc_in_sample > 0.7, "{}", model.auc_in_sample);
        assert!((model.auc - 0.5).abs() < 0.1, "{}", model.auc);
    }

    #[test]
    fn folds_deal_both_outcomes_evenly() {
        let good: Vec<bool> = (0..103).map(|i| i % 3 == 0).collect();
        let folds = folds(&good);
        for fold in 0..FOLDS {
            let of = |class: bool| (0..103).filter(|&i| folds[i] == fold && good[i] == class).count();
            assert!((6..=7).contains(&of(true)) && (13..=14).contains(&of(false)));
        }
    }

    #[test]
    fn categories_become_columns_in_order() {
        let people = People {
            features: vec![
                Feature::Categories(["b", "a", "b"].map(str::to_owned).to_vec()),
                Feature::Numbers(vec![1.0, 2.0, 3.0]),
            ],
            groups: vec![0, 1, 0],
            good: vec![true, false, true],
        };
        assert_eq!(people.design(), [[0.0, 1.0, 1.0], [1.0, 0.0, 2.0], [0.0, 1.0, 3.0]]);
    }
}
