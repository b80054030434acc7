//! Probabilities of the arms given covariates, fitted on other folds than the rows they are for.

use ream_lab::{Error, Result};
use ream_stats::glm::{self, Penalty};
use ream_stats::{Matrix, cross_fit};
use ream_trees::{Column, Loss, Options};

/// Probabilities are kept between this and one less this.
pub const LEAST: f64 = 0.01;

/// How the probabilities are fitted.
#[derive(Clone, Debug, PartialEq)]
pub enum Model {
    /// Gradient-boosted trees: 300 rounds of depth 4 at rate 0.05.
    Trees,
    /// Logistic regression on standardised covariates.
    Logistic,
    /// Given: this column of the file holds the probability of the second arm.
    Column(String),
}

/// What [`Model::parse`] takes.
pub const FORMS: &str = "gbt, logit, or column:NAME";

impl Model {
    /// From `gbt`, `logit` or `column:NAME`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match (text, text.split_once(':')) {
            ("gbt", _) => Some(Self::Trees),
            ("logit", _) => Some(Self::Logistic),
            (_, Some(("column", name))) if !name.is_empty() => Some(Self::Column(name.to_owned())),
            _ => None,
        }
    }
}

/// Probabilities for rows and other points, by fold.
#[derive(Clone, Debug, PartialEq)]
pub struct Propensities {
    /// The fold of each row.
    pub folds: Vec<usize>,
    /// How many folds there are.
    pub count: usize,
    /// For each row, from the fit without its fold, `[n, levels]`.
    pub rows: Vec<f64>,
    /// For each point, from the fit without each fold in turn, `[folds][points, levels]`.
    pub points: Vec<Vec<f64>>,
    /// Rows whose probability was moved to [`LEAST`] or one less it.
    pub clipped: Vec<usize>,
}

impl Propensities {
    /// Known probabilities of the second of two arms.
    #[must_use]
    pub fn known(folds: Vec<usize>, count: usize, second: &[f64], at_points: &[f64]) -> Self {
        let both = |p: &[f64]| -> Vec<f64> { p.iter().flat_map(|p| [1.0 - p, *p]).collect() };
        let points = vec![both(at_points); count];
        Self { folds, count, rows: both(second), points, clipped: Vec::new() }
    }

    /// The same folds with every probability of the second of two arms changed, then kept within bounds.
    #[must_use]
    pub fn changed(
        &self,
        mut row: impl FnMut(usize, f64) -> f64,
        mut point: impl FnMut(usize, f64) -> f64,
    ) -> Self {
        let change = |p: &[f64], f: &mut dyn FnMut(usize, f64) -> f64| -> Vec<f64> {
            p.chunks_exact(2)
                .enumerate()
                .flat_map(|(i, p)| {
                    let second = f(i, p[1]).clamp(LEAST, 1.0 - LEAST);
                    [1.0 - second, second]
                })
                .collect()
        };
        let rows = change(&self.rows, &mut row);
        let points = self.points.iter().map(|p| change(p, &mut point)).collect();
        Self { rows, points, folds: self.folds.clone(), count: self.count, clipped: Vec::new() }
    }
}

/// Who got which arm.
#[derive(Clone, Copy, Debug)]
pub struct Treatment<'a> {
    /// Covariates, `[n, columns]`.
    pub x: &'a Matrix,
    /// `[n]`.
    pub arm: &'a [usize],
    /// Arms.
    pub levels: usize,
    /// Weights of rows.
    pub weights: Option<&'a [f64]>,
}

/// Fits on the rows of all folds but one, for every fold; for `points` (`[m, columns]`) every fit is asked.
///
/// # Errors
/// A fit that fails: arms that the covariates separate, an arm that is missing from a fold.
pub fn cross_fitted(
    model: &Model,
    treatment: &Treatment<'_>,
    folds: Vec<usize>,
    count: usize,
    points: &Matrix,
) -> Result<Propensities> {
    let mut clipped = Vec::new();
    let mut at_points = Vec::new();
    let levels = treatment.levels;
    let rows = cross_fit::out_of_fold(&folds, |train, test| {
        let wanted = [&treatment.x.select_rows(test), points];
        let [own, other] = fit(model, treatment, train, wanted).map_err(Failed::Lab)?;
        at_points.push(other.into_iter().map(kept).collect::<Vec<f64>>());
        let moved = own.chunks_exact(levels).zip(test).filter(|(p, _)| p.iter().any(|p| kept(*p) != *p));
        clipped.extend(moved.map(|(_, i)| *i));
        Ok(own.chunks_exact(levels).map(Kept::new).collect())
    })
    .map_err(Failed::into_error)?;
    clipped.sort_unstable();
    let rows = rows.iter().flat_map(|p| p.0[..levels.min(MOST_LEVELS)].to_vec()).collect();
    Ok(Propensities { folds, count, rows, points: at_points, clipped })
}

/// Most arms of a treatment.
pub const MOST_LEVELS: usize = 16;

/// Probabilities of a row, within bounds; what [`cross_fit::out_of_fold`] hands back must be `Copy`.
#[derive(Clone, Copy)]
struct Kept([f64; MOST_LEVELS]);

impl Kept {
    fn new(p: &[f64]) -> Self {
        let mut all = [0.0; MOST_LEVELS];
        all.iter_mut().zip(p).for_each(|(to, p)| *to = kept(*p));
        Self(all)
    }
}

enum Failed {
    Stats(ream_stats::StatsError),
    Lab(Error),
}

impl From<ream_stats::StatsError> for Failed {
    fn from(error: ream_stats::StatsError) -> Self {
        Self::Stats(error)
    }
}

impl Failed {
    fn into_error(self) -> Error {
        match self {
            Self::Stats(error) => Error::failed(format!("propensity: {error}")),
            Self::Lab(error) => error,
        }
    }
}

fn kept(p: f64) -> f64 {
    p.clamp(LEAST, 1.0 - LEAST)
}

/// Probabilities of all arms at two sets of points, `[m, levels]` each, as fitted.
fn fit(
    model: &Model,
    treatment: &Treatment<'_>,
    train: &[usize],
    wanted: [&Matrix; 2],
) -> Result<[Vec<f64>; 2]> {
    let x = treatment.x.select_rows(train);
    let weights: Option<Vec<f64>> = treatment.weights.map(|w| train.iter().map(|i| w[*i]).collect());
    let one = |level: usize| -> Result<[Vec<f64>; 2]> {
        let y: Vec<f64> = train.iter().map(|i| f64::from(u8::from(treatment.arm[*i] == level))).collect();
        match model {
            Model::Logistic => logistic(&x, &y, weights.as_deref(), wanted),
            Model::Trees | Model::Column(_) => trees(&x, &y, weights.as_deref(), wanted),
        }
    };
    if treatment.levels == 2 {
        let second = one(1)?;
        return Ok(second.map(|p| p.into_iter().flat_map(|p| [1.0 - p, p]).collect()));
    }
    // One against the rest, then of sum 1.
    let each = (0..treatment.levels).map(one).collect::<Result<Vec<_>>>()?;
    let joined = |k: usize| -> Vec<f64> {
        (0..wanted[k].rows())
            .flat_map(|i| {
                let p: Vec<f64> = each.iter().map(|of| of[k][i].max(1e-9)).collect();
                let total: f64 = p.iter().sum();
                p.into_iter().map(move |p| p / total).collect::<Vec<f64>>()
            })
            .collect()
    };
    Ok([joined(0), joined(1)])
}

/// Trees for probabilities.
const TREES: Options = Options {
    rounds: 300,
    rate: 0.05,
    leaves: 16,
    depth: 4,
    min_leaf: 20,
    l2: 1.0,
    bins: 255,
    smoothing: 10.0,
};

fn trees(x: &Matrix, y: &[f64], weights: Option<&[f64]>, wanted: [&Matrix; 2]) -> Result<[Vec<f64>; 2]> {
    let model = boosted(x, y, weights, Loss::Logistic, &TREES)?;
    Ok([predict(&model, wanted[0])?, predict(&model, wanted[1])?])
}

/// Boosted trees on all columns of a matrix.
///
/// # Errors
/// As [`ream_trees::fit`].
pub fn boosted(
    x: &Matrix,
    y: &[f64],
    weights: Option<&[f64]>,
    loss: Loss,
    options: &Options,
) -> Result<ream_trees::Model> {
    let columns: Vec<Vec<f64>> = (0..x.cols()).map(|j| x.column(j)).collect();
    let columns: Vec<Column<'_>> = columns.iter().map(|c| Column::Numbers(c)).collect();
    ream_trees::fit(&columns, y, weights, loss, options).map_err(|e| Error::failed(format!("trees: {e}")))
}

/// What trees say of the rows of a matrix.
///
/// # Errors
/// As [`ream_trees::Model::predict`].
pub fn predict(model: &ream_trees::Model, x: &Matrix) -> Result<Vec<f64>> {
    if x.rows() == 0 {
        return Ok(Vec::new());
    }
    let columns: Vec<Vec<f64>> = (0..x.cols()).map(|j| x.column(j)).collect();
    let columns: Vec<Column<'_>> = columns.iter().map(|c| Column::Numbers(c)).collect();
    model.predict(&columns).map_err(|e| Error::failed(format!("trees: {e}")))
}

fn logistic(x: &Matrix, y: &[f64], weights: Option<&[f64]>, wanted: [&Matrix; 2]) -> Result<[Vec<f64>; 2]> {
    let failed = |e: ream_stats::FitError| Error::failed(format!("logistic propensity: {e}"));
    let fit = glm::fractional_logistic(&x.with_intercept(), y, weights, &Penalty::None).map_err(failed)?;
    if fit.separated {
        return Err(Error::Input(
            "the covariates separate the arms: some rows have a propensity of 0 or 1 and nothing bounds what the other arm would do there; leave the \
             covariate out, or use --set propensity=gbt"
                .to_owned(),
        ));
    }
    let predict = |x: &Matrix| {
        if x.rows() == 0 { Ok(Vec::new()) } else { fit.predict(&x.with_intercept()).map_err(failed) }
    };
    Ok([predict(wanted[0])?, predict(wanted[1])?])
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    fn sample(n: usize, levels: usize) -> (Matrix, Vec<usize>, Vec<f64>) {
        let mut rng = Stream::new(1, "arms").at(0);
        let mut truth = Vec::new();
        let (mut rows, mut arm) = (Vec::new(), Vec::new());
        for _ in 0..n {
            let x = rng.normal();
            let p = glm::sigmoid(x);
            truth.push(p);
            rows.push([x, rng.normal()]);
            arm.push(if rng.chance(p) { 1 + rng.below(levels - 1) } else { 0 });
        }
        (Matrix::from_rows(&rows).unwrap(), arm, truth)
    }

    #[test]
    fn both_models_find_the_probability_and_rows_are_predicted_from_other_folds() {
        let (x, arm, truth) = sample(1200, 2);
        let treatment = Treatment { x: &x, arm: &arm, levels: 2, weights: None };
        let folds = cross_fit::folds(1200, 2, Stream::new(1, "folds")).unwrap();
        for (model, most) in [(Model::Trees, 0.17), (Model::Logistic, 0.05)] {
            let fitted = cross_fitted(&model, &treatment, folds.clone(), 2, &x).unwrap();
            let error: f64 =
                (0..1200).map(|i| (fitted.rows[2 * i + 1] - truth[i]).abs()).sum::<f64>() / 1200.0;
            assert!(error < most, "{model:?} {error}");
            // The fit without fold k is asked for the points of fold k: the same number.
            for (i, fold) in folds.iter().enumerate() {
                assert_eq!(fitted.rows[2 * i + 1], fitted.points[*fold][2 * i + 1]);
                assert!((fitted.rows[2 * i] + fitted.rows[2 * i + 1] - 1.0).abs() < 1e-12);
            }
        }
    }

    #[test]
    fn three_arms_have_probabilities_of_sum_one() {
        let (x, arm, truth) = sample(900, 3);
        let treatment = Treatment { x: &x, arm: &arm, levels: 3, weights: None };
        let folds = cross_fit::folds(900, 2, Stream::new(1, "folds")).unwrap();
        let fitted = cross_fitted(&Model::Logistic, &treatment, folds, 2, &x).unwrap();
        let mut error = 0.0;
        for (i, p) in fitted.rows.chunks_exact(3).enumerate() {
            assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            error += (p[0] - (1.0 - truth[i])).abs() / 900.0;
        }
        assert!(error < 0.06, "{error}");
    }

    #[test]
    fn separated_arms_are_an_error() {
        let x = Matrix::from_fn(80, 1, |i, _| i as f64);
        let arm: Vec<usize> = (0..80).map(|i| usize::from(i >= 40)).collect();
        let treatment = Treatment { x: &x, arm: &arm, levels: 2, weights: None };
        let folds: Vec<usize> = (0..80).map(|i| i % 2).collect();
        let error = cross_fitted(&Model::Logistic, &treatment, folds, 2, &x).unwrap_err().to_string();
        assert!(error.contains("separate the arms"), "{error}");
    }

    #[test]
    fn models_are_read_from_words() {
        assert_eq!(Model::parse("gbt"), Some(Model::Trees));
        assert_eq!(Model::parse("logit"), Some(Model::Logistic));
        assert_eq!(Model::parse("column:p"), Some(Model::Column("p".into())));
        assert_eq!((Model::parse("column:"), Model::parse("forest")), (None, None));
    }
}
