//! The workloads, as `benches/causal/worker.py` has them. What a step is timed for is what the package on the other side does in its own: from
//! arrays to estimates with standard errors.

use ream_rand::Stream;
use ream_stats::density::{Bandwidth, Kde};
use ream_stats::instrumental::{Instrumental, KClassFit, Variables};
use ream_stats::local_polynomial::{self, Kernel};
use ream_stats::regression_discontinuity::{self, RegressionDiscontinuity};
use ream_stats::treatment::{self, Propensity};
use ream_stats::{Covariance, FitError, cross_fit, glm, linear, monotone, multiplier};
use ream_trees::{Column, Loss, Options};

use crate::Failure;
use crate::table::{EXPLAINING, Table};

/// A workload that is set up: one call is one step and gives the estimates.
pub(crate) type Step = Box<dyn FnMut() -> Result<Vec<f64>, Failure>>;

type Make = fn(&mut Table) -> Result<Step, Failure>;

/// Every workload and how it is made.
pub(crate) const WORKLOADS: &[(&str, Make)] = &[
    ("ols-hc1", |table| ols(table, |_| Covariance::Hc1)),
    ("ols-hc3", |table| ols(table, |_| Covariance::Hc3)),
    ("ols-cluster", |table| ols(table, |ids| Covariance::Cluster(ids))),
    ("2sls", |table| instrumental(table, |model| model.two_stage_least_squares(Covariance::Hc0))),
    ("liml", |table| instrumental(table, |model| model.liml(Covariance::Hc0))),
    ("logit", logit),
    ("rd", rd),
    ("local-linear", local_linear),
    ("kde", kde),
    ("isotonic", isotonic),
    ("multiplier", multiplier_draws),
    ("aipw", aipw),
    ("trees", trees),
    ("cross-fit", cross_fitted),
];

fn both(estimates: &[f64], errors: &[f64]) -> Vec<f64> {
    [estimates, errors].concat()
}

fn ols(table: &mut Table, kind: for<'a> fn(&'a [usize]) -> Covariance<'a>) -> Result<Step, Failure> {
    let (x, y) = (table.explaining(EXPLAINING)?.with_intercept(), table.column("y")?);
    let clusters: Vec<usize> = match kind(&[]) {
        Covariance::Cluster(_) => table.column("cluster")?.iter().map(|id| *id as usize).collect(),
        _ => Vec::new(),
    };
    Ok(Box::new(move || {
        let fit = linear::ols(&x, &y, kind(&clusters))?;
        Ok(both(&fit.coefficients, &fit.standard_errors))
    }))
}

fn instrumental(
    table: &mut Table,
    fit: fn(&Instrumental<'_>) -> Result<KClassFit, FitError>,
) -> Result<Step, Failure> {
    let (controls, outcome) = (table.explaining(16)?.with_intercept(), table.column("y")?);
    let (treatments, instruments) = (table.matrix(&["d"])?, table.matrix(&["z0", "z1"])?);
    Ok(Box::new(move || {
        let variables = Variables {
            outcome: &outcome,
            controls: Some(&controls),
            treatments: &treatments,
            instruments: &instruments,
        };
        let fit = fit(&Instrumental::new(variables)?)?.estimates;
        Ok(both(&fit.coefficients, &fit.standard_errors))
    }))
}

fn logit(table: &mut Table) -> Result<Step, Failure> {
    let (x, y) = (table.explaining(EXPLAINING)?.with_intercept(), table.column("binary")?);
    Ok(Box::new(move || {
        let fit = glm::fractional_logistic(&x, &y, None, &glm::Penalty::None)?;
        let errors: Vec<f64> =
            fit.covariance(&x, &y, None, Covariance::Hc0)?.diagonal().iter().map(|v| v.sqrt()).collect();
        Ok(both(&fit.coefficients, &errors))
    }))
}

fn rd(table: &mut Table) -> Result<Step, Failure> {
    let (x, y) = (table.column("running")?, table.column("jump")?);
    Ok(Box::new(move || {
        let fit = regression_discontinuity::estimate(&x, &y, None, &RegressionDiscontinuity::default())?;
        Ok(vec![fit.conventional.value, fit.bias_corrected.value, fit.robust.se])
    }))
}

/// `count` points from `low` to `high`.
fn spaced(low: f64, high: f64, count: usize) -> Vec<f64> {
    (0..count).map(|i| low + (high - low) * i as f64 / (count - 1) as f64).collect()
}

fn local_linear(table: &mut Table) -> Result<Step, Failure> {
    let (x, y, points) = (table.column("running")?, table.column("jump")?, spaced(-0.9, -0.1, 50));
    Ok(Box::new(move || Ok(local_polynomial::curve(&x, &y, &points, Kernel::Triangular, 1, 0.2)?)))
}

fn kde(table: &mut Table) -> Result<Step, Failure> {
    let (values, points) = (table.at(0)?, spaced(-3.0, 3.0, 200));
    Ok(Box::new(move || {
        let kde = Kde::new(&values, None, Bandwidth::Scott)?;
        Ok(kde.densities(&points))
    }))
}

fn isotonic(table: &mut Table) -> Result<Step, Failure> {
    let slope = spaced(0.0, 1.0, table.rows());
    let values: Vec<f64> = table.column("jump")?.iter().zip(&slope).map(|(y, s)| y + s).collect();
    Ok(Box::new(move || {
        let fitted = monotone::isotonic(&values, None)?;
        Ok(vec![fitted[0], fitted[fitted.len() / 2], fitted[fitted.len() - 1]])
    }))
}

fn multiplier_draws(table: &mut Table) -> Result<Step, Failure> {
    let contributions = table.explaining(EXPLAINING)?;
    Ok(Box::new(move || {
        let draws = multiplier::draws(&contributions, 200, Stream::new(1, "multipliers"))?;
        let errors = multiplier::standard_errors(&draws)?;
        Ok(vec![errors.iter().sum::<f64>() / errors.len() as f64 / (contributions.rows() as f64).sqrt()])
    }))
}

fn aipw(table: &mut Table) -> Result<Step, Failure> {
    let (x, y) = (table.explaining(EXPLAINING)?.with_intercept(), table.column("y")?);
    let binary = table.column("binary")?;
    let treated: Vec<bool> = binary.iter().map(|b| *b > 0.5).collect();
    Ok(Box::new(move || {
        let propensity = glm::fractional_logistic(&x, &binary, None, &glm::Penalty::None)?.predict(&x)?;
        let arm = |on: bool| {
            let rows: Vec<usize> = (0..treated.len()).filter(|&i| treated[i] == on).collect();
            let outcome: Vec<f64> = rows.iter().map(|&i| y[i]).collect();
            linear::ols(&x.select_rows(&rows), &outcome, Covariance::Classical)?.predict(&x)
        };
        let (with, without) = (arm(true)?, arm(false)?);
        let effect = treatment::aipw(&y, &treated, &with, &without, Propensity::Known(&propensity), None)?;
        Ok(vec![effect.value, effect.se])
    }))
}

fn trees(table: &mut Table) -> Result<Step, Failure> {
    let columns = (0..EXPLAINING).map(|j| table.at(j)).collect::<Result<Vec<_>, _>>()?;
    let y = table.column("y")?;
    let options = Options { rounds: 50, rate: 0.1, leaves: 31, min_leaf: 20, ..Options::default() };
    Ok(Box::new(move || {
        let columns: Vec<Column<'_>> = columns.iter().map(|c| Column::Numbers(c)).collect();
        let model = ream_trees::fit(&columns, &y, None, Loss::Squared, &options)?;
        Ok(vec![mean_square(&y, &model.predict(&columns)?)])
    }))
}

fn cross_fitted(table: &mut Table) -> Result<Step, Failure> {
    let (x, y) = (table.explaining(EXPLAINING)?.with_intercept(), table.column("y")?);
    Ok(Box::new(move || {
        let folds = cross_fit::folds(y.len(), 5, Stream::new(1, "folds"))?;
        let fitted = cross_fit::out_of_fold(&folds, |train, test| -> Result<Vec<f64>, FitError> {
            let outcome: Vec<f64> = train.iter().map(|&i| y[i]).collect();
            let fit = linear::ols(&x.select_rows(train), &outcome, Covariance::Classical)?;
            fit.predict(&x.select_rows(test))
        })?;
        Ok(vec![mean_square(&y, &fitted)])
    }))
}

fn mean_square(y: &[f64], fitted: &[f64]) -> f64 {
    y.iter().zip(fitted).map(|(y, f)| (y - f) * (y - f)).sum::<f64>() / y.len() as f64
}
