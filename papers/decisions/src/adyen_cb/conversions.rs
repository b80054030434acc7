//! Supervised data as bandits: the context is the features, the action a class, the reward 1 with probability
//! 0.9 for the right class and 0.1 for any other.

use std::path::Path;

use ream_data::{DataError, digits, german};
use ream_rand::Stream;

use super::data::{Actions, Contexts, Field};
use super::world::{Batch, World};

/// Probability of a reward for the right class, and for another.
const REWARD: [f64; 2] = [0.9, 0.1];

/// Records with a class.
#[derive(Clone, Debug, PartialEq)]
pub struct Classes {
    /// Columns, `[records]`.
    fields: Vec<Field>,
    /// Class of each record.
    labels: Vec<u32>,
    classes: usize,
}

impl Classes {
    /// Handwritten digits, 8 x 8 pixels, ten classes.
    ///
    /// # Errors
    /// The file is not what it should be.
    pub fn digits(file: &Path) -> Result<Self, DataError> {
        let records = digits::load(file)?;
        let pixel = |p: usize| Field::Numbers(records.iter().map(|r| f64::from(r.pixels[p])).collect());
        Ok(Self {
            fields: (0..digits::PIXELS).map(pixel).collect(),
            labels: records.iter().map(|r| u32::from(r.digit)).collect(),
            classes: 10,
        })
    }

    /// German Credit: refuse or grant. All attributes but sex and personal status.
    ///
    /// # Errors
    /// The file is not what it should be.
    pub fn german(file: &Path) -> Result<Self, DataError> {
        let records = german::load(file)?;
        let words = |name: &str| -> Vec<String> {
            records.iter().map(|r| r.attribute(name).unwrap_or_default().to_owned()).collect()
        };
        let field = |name: &&str| {
            if german::NUMERIC.contains(name) {
                // The decoder has checked that these are numbers.
                Field::Numbers(words(name).iter().map(|w| w.parse().unwrap_or(0.0)).collect())
            } else {
                levels(&words(name))
            }
        };
        Ok(Self {
            fields: german::ATTRIBUTES.iter().filter(|name| **name != "personal").map(field).collect(),
            labels: records.iter().map(|r| u32::from(r.good)).collect(),
            classes: 2,
        })
    }
}

/// Words as levels, in alphabetical order.
#[must_use]
pub fn levels(words: &[String]) -> Field {
    let mut names: Vec<&String> = words.iter().collect();
    names.sort();
    names.dedup();
    let code = |word: &String| names.binary_search(&word).map_or(0, |i| i as u32);
    Field::Categories { codes: words.iter().map(code).collect(), levels: names.len() as u32 }
}

impl World for Classes {
    fn actions(&self) -> Actions {
        Actions::plain(self.classes)
    }

    /// Records drawn with replacement; all classes are available.
    fn batch(&self, _: usize, n: usize, stream: Stream) -> Batch {
        let rows: Vec<usize> = (0..n as u64).map(|i| stream.at(i).below(self.labels.len())).collect();
        let truth = |row: &usize| -> Vec<f64> {
            (0..self.classes as u32).map(|a| REWARD[usize::from(a != self.labels[*row])]).collect()
        };
        let contexts = Contexts {
            fields: self.fields.iter().map(|field| field.take(&rows)).collect(),
            allowed: vec![(0..self.classes as u32).collect(); n],
            cells: vec![0; n],
            pairs: Vec::new(),
        };
        Batch { contexts, truth: rows.iter().map(truth).collect() }
    }

    fn cells(&self) -> usize {
        1
    }

    fn crossed(&self) -> Vec<usize> {
        (0..self.fields.len()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_class_pays() {
        let world = Classes {
            fields: vec![Field::Numbers(vec![0.0, 1.0]), levels(&["b".to_owned(), "a".to_owned()])],
            labels: vec![2, 0],
            classes: 3,
        };
        let batch = world.batch(0, 50, Stream::new(1, "rows"));
        for (i, truth) in batch.truth.iter().enumerate() {
            let row = batch.contexts.fields[0].at(i);
            assert_eq!(truth[..], if row == 0.0 { [0.1, 0.1, 0.9] } else { [0.9, 0.1, 0.1] });
            assert_eq!(batch.contexts.fields[1].at(i), 1.0 - row, "levels are in alphabetical order");
        }
        assert!((batch.optimum() - 0.9).abs() < 1e-12);
        assert!((batch.uniform_value() - 1.1 / 3.0).abs() < 1e-12);
    }
}
