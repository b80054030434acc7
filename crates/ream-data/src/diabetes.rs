//! The diabetes table of Efron, Hastie, Johnstone & Tibshirani (*Least angle regression*, 2004): 442 patients, ten
//! features, disease progression one year on. The crate `linfa-datasets` (MIT or Apache-2.0) carries it, so it needs no
//! fetching; the features come centred and scaled to unit length.

/// Names of the ten features, in order.
pub const FEATURES: [&str; 10] = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"];

/// The table.
#[derive(Clone, Debug, PartialEq)]
pub struct Diabetes {
    /// `[442][10]`, each feature centred, its squares summing to 1.
    pub features: Vec<[f64; 10]>,
    /// `[442]`, a clinical score from 25 to 346.
    pub target: Vec<f64>,
}

/// Reads the table.
#[must_use]
pub fn load() -> Diabetes {
    let set = linfa_datasets::diabetes();
    let features = set.records.rows().into_iter().map(|row| std::array::from_fn(|j| row[j])).collect();
    Diabetes { features, target: set.targets.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_known_table() {
        let table = load();
        assert_eq!((table.features.len(), table.target.len()), (442, 442));
        assert_eq!((table.target[0], table.target[441]), (151.0, 57.0));
        for j in 0..10 {
            let mean = table.features.iter().map(|row| row[j]).sum::<f64>() / 442.0;
            let squares: f64 = table.features.iter().map(|row| row[j] * row[j]).sum();
            assert!(
                mean.abs() < 1e-6 && (squares - 1.0).abs() < 1e-3,
                "feature {j}: mean {mean}, squares {squares}"
            );
        }
    }
}
