//! The diabetes table of Efron, Hastie, Johnstone & Tibshirani (*Least angle regression*, 2004): 442 patients, ten
//! features, disease progression one year on. The crate `linfa-datasets` (MIT or Apache-2.0) carries it, so it needs no
//! fetching; the features come centred and scaled to unit length.

/// Names of the ten features, in order.
pub const FEATURES: [&str; 10] = ["age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"];

/// The first patient. `linfa-datasets` 0.8.1 reads its file as if it began with a header and so loses this row of it.
const FIRST: ([f64; 10], f64) = (
    [
        3.807_590_643_342_41e-2,
        5.068_011_873_981_87e-2,
        6.169_620_651_868_85e-2,
        2.187_235_499_495_58e-2,
        -4.422_349_842_444_64e-2,
        -3.482_076_283_769_86e-2,
        -4.340_084_565_202_69e-2,
        -2.592_261_998_182_82e-3,
        1.990_842_087_631_83e-2,
        -1.764_612_515_980_52e-2,
    ],
    151.0,
);

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
    let mut features: Vec<[f64; 10]> =
        set.records.rows().into_iter().map(|row| std::array::from_fn(|j| row[j])).collect();
    let mut target = set.targets.to_vec();
    if features.first() != Some(&FIRST.0) && features.len() == 441 {
        features.insert(0, FIRST.0);
        target.insert(0, FIRST.1);
    }
    Diabetes { features, target }
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
                mean.abs() < 1e-12 && (squares - 1.0).abs() < 1e-10,
                "feature {j}: mean {mean}, squares {squares}"
            );
        }
    }
}
