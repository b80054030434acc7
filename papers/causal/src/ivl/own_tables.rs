//! Tables, pictures and warnings for one's own file.

use ream_lab::{Cell, Figure, Layer, Panel, Result, Run, Table};
use ream_stats::instrumental::{ConfidenceSet, TestStatistic};

use super::augment::specs;
use super::config::{Config, CovarianceKind, Estimator};
use super::estimate::{Diagnostics, Found, parameters};
use super::own_data::OwnData;
use super::pictures;

/// Below this F instruments count as weak (Staiger & Stock, 1997).
const WEAK: f64 = 10.0;
/// Root n times the correlation of a parameter with the outcome that chance hardly reaches, whichever of many is the largest.
const TILTED: f64 = 4.5;

fn covariance_name(config: &Config) -> String {
    match (config.covariance, &config.cluster) {
        (CovarianceKind::Classical, _) => "classical".to_owned(),
        (CovarianceKind::Hc0, _) => "robust (HC0)".to_owned(),
        (CovarianceKind::Hc1, _) => "robust (HC1)".to_owned(),
        (CovarianceKind::Hc2, _) => "robust (HC2)".to_owned(),
        (CovarianceKind::Hc3, _) => "robust (HC3)".to_owned(),
        (CovarianceKind::Cluster, column) => {
            format!("by cluster ({})", column.as_deref().unwrap_or_default())
        }
    }
}

/// Says what a reader must know.
pub(crate) fn warn(config: &Config, own: &OwnData, found: &Found, run: &mut Run) {
    for (name, stage) in own.treatment_names.iter().zip(&found.diagnostics.first_stages) {
        if stage.effective_f < WEAK {
            run.warn(format!(
                "weak instruments: they move `{name}` only a little (effective F {:.2}, below {WEAK}). 2SLS then leans towards OLS and its \
                 intervals are too short; trust the Anderson-Rubin interval, or find stronger instruments",
                stage.effective_f
            ));
        }
    }
    let (q, m) = (parameters(own), own.treatment_names.len());
    if config.estimator == Estimator::Ivl && q > 0 && q < m {
        run.warn(format!(
            "{q} instruments or parameters for {m} treatments: as alpha goes to 0 they pin down only {q} of {m} directions, the others \
             stay as confounded as least squares"
        ));
    }
    if config.estimator == Estimator::Ivl && config.alpha.is_none() && config.selector.favours_bias() {
        run.warn(format!(
            "alpha by {}: held-out error rewards the prediction that confounding helps, so this rule leans towards large alpha, the \
             biased fit; cc, stress and iv-risk do not",
            config.selector.name()
        ));
    }
    if own.augmentations.iter().any(|a| a.shakes_all(m / own.degree as usize)) {
        run.warn(
            "the augmentation shakes every treatment: the outcome is indifferent to that only where all coefficients are 0. It shrinks \
             coefficients as a ridge does, and alpha to 0 shrinks them to 0",
        );
    }
    if let Some((column, strength)) = found.tilt.filter(|(_, s)| s.abs() > TILTED) {
        let name =
            own.parameter_names.get(column).map_or_else(|| (column + 1).to_string(), |n| format!("`{n}`"));
        run.warn(format!(
            "parameter {name} of the augmentation goes with the outcome (correlation {:.3}): parameters must be drawn without regard to \
             it, or they are no instruments",
            strength / (own.rows() as f64).sqrt()
        ));
    }
    if own.dropped > 0 {
        run.warn(format!("{} rows with a missing value were left out", own.dropped));
    }
}

/// Tables and pictures.
///
/// # Errors
/// A picture cannot be drawn, or the disk is full.
pub(crate) fn show(config: &Config, own: &OwnData, found: &Found, run: &mut Run) -> Result<()> {
    run.table(summary(config, own, found));
    run.table(coefficients(config, own, found));
    if !found.diagnostics.first_stages.is_empty() {
        run.table(first_stages(own, &found.diagnostics));
        run.table(tests(&found.diagnostics));
        run.table(estimators(own, &found.diagnostics));
    }
    run.figure("coefficients", coefficient_picture(own, found))?;
    if !found.path.is_empty() {
        run.table(path_table(own, found));
        run.figure("alpha-path", path_picture(own, found))?;
    }
    if found.k_path.len() > 1 {
        let name = &own.treatment_names[0];
        let figure = pictures::k_class(
            &format!("{name}: from OLS to 2SLS"),
            &format!("coefficient of {name}"),
            &found.k_path,
        );
        run.figure("kappa", figure)?;
    }
    Ok(())
}

fn summary(config: &Config, own: &OwnData, found: &Found) -> Table {
    let text = |v: String| Cell::Text(v);
    let mut table = Table::new("Summary", &["", "value"])
        .row(vec!["Dep. variable".into(), own.outcome_name.as_str().into()])
        .row(vec!["Estimator".into(), config.estimator.name().into()])
        .row(vec!["No. observations".into(), text(own.rows().to_string())])
        .row(vec!["Rows left out".into(), text(own.dropped.to_string())])
        .row(vec!["R-squared".into(), text(format!("{:.4}", found.r_squared))])
        .row(vec!["Cov. estimator".into(), text(covariance_name(config))])
        .row(vec!["Degrees of freedom".into(), text(format!("{:.0}", found.freedom))])
        .row(vec!["kappa".into(), text(format!("{:.4}", found.kappa))]);
    if let Some(alpha) = found.alpha {
        let how = if config.alpha.is_some() { "given" } else { config.selector.name() };
        table = table.row(vec!["alpha".into(), text(format!("{alpha:.4} ({how})"))]);
    }
    let moved =
        if own.is_augmented() { specs(&config.augment).join("; ") } else { own.instrument_names.join(", ") };
    let role = if own.is_augmented() { "Augmentation" } else { "Instruments" };
    if !moved.is_empty() {
        table = table.row(vec![role.into(), moved.into()]);
    }
    if own.is_augmented() && own.own_parameters.is_none() {
        table = table.row(vec!["Draws of the augmentation".into(), text(config.redraws.to_string())]);
    }
    table
}

fn coefficients(config: &Config, own: &OwnData, found: &Found) -> Table {
    let (low, high) =
        (format!("[{:.3}", 0.5 - 0.5 * config.level), format!("{:.3}]", 0.5 + 0.5 * config.level));
    let mut columns = vec!["parameter", "coef.", "std. err.", "t", "P>|t|", low.as_str(), high.as_str()];
    let more = ["sd over draws", "bootstrap se", "boot. low", "boot. high"];
    if own.is_augmented() {
        columns.extend(more);
    }
    let mut table = Table::new(format!("{} of {}", config.estimator.name(), own.outcome_name), &columns);
    for line in &found.lines {
        let e = &line.estimate;
        let mut row: Vec<Cell> = vec![line.name.as_str().into()];
        row.extend([e.value, e.se, line.t, line.p, e.low, e.high].map(Cell::from));
        if own.is_augmented() {
            row.push(line.spread.map_or(Cell::Empty, Cell::from));
            row.extend(match &line.bootstrap {
                Some(b) => [b.se, b.low, b.high].map(Cell::from),
                None => [Cell::Empty, Cell::Empty, Cell::Empty],
            });
        }
        table = table.row(row);
    }
    table.note = if own.is_augmented() {
        format!(
            "Means over draws of the augmentation; standard errors are those of one draw. The bootstrap ({} samples) draws the augmentation \
             anew in each sample, once, and keeps alpha, so that its intervals are on the wide side.",
            config.bootstrap
        )
    } else {
        format!(
            "Student's t with {:.0} degrees of freedom; residuals belong to the treatments themselves.",
            found.freedom
        )
    };
    table
}

fn first_stages(own: &OwnData, of: &Diagnostics) -> Table {
    let columns = ["treatment", "F", "p", "robust F", "p (robust)", "effective F", "partial R2"];
    let rows = own.treatment_names.iter().zip(&of.first_stages);
    let mut table = rows.fold(Table::new("First stage", &columns), |table, (name, stage)| {
        table.row(vec![
            name.as_str().into(),
            stage.f.statistic.into(),
            stage.f.p_value.into(),
            stage.robust_f.statistic.into(),
            stage.robust_f.p_value.into(),
            stage.effective_f.into(),
            stage.partial_r_squared.into(),
        ])
    });
    table.note = format!("An effective F below {WEAK} counts as weak.");
    table
}

fn tests(of: &Diagnostics) -> Table {
    let columns = ["test", "null hypothesis", "statistic", "law", "p"];
    let mut table = Table::new("Tests", &columns);
    let law = |t: &TestStatistic| {
        if t.below.is_infinite() {
            format!("chi2({:.0})", t.above)
        } else {
            format!("F({:.0}, {:.0})", t.above, t.below)
        }
    };
    let all = [
        ("Wu-Hausman", "treatments are not confounded", &of.wu_hausman),
        ("Sargan", "instruments agree", &of.sargan),
        ("Hansen J", "instruments agree", &of.hansen),
    ];
    for (name, null, test) in all {
        let Some(test) = test else { continue };
        table = table.row(vec![
            name.into(),
            null.into(),
            test.statistic.into(),
            law(test).into(),
            test.p_value.into(),
        ]);
    }
    let set = of.anderson_rubin.map(|set| match set {
        ConfidenceSet::Interval { low, high } => format!("[{low:.5}, {high:.5}]"),
        ConfidenceSet::Rays { until, from } => format!("up to {until:.5} and from {from:.5} on"),
        ConfidenceSet::Line => "every number".to_owned(),
        ConfidenceSet::Empty => "no number".to_owned(),
    });
    if let Some(set) = set {
        table.note = format!(
            "Anderson-Rubin interval of the treatment, valid however weak the instruments are: {set}."
        );
    } else if table.rows.is_empty() {
        table.note = "With fewer instruments than treatments there is nothing to test.".to_owned();
    }
    table
}

fn estimators(own: &OwnData, of: &Diagnostics) -> Table {
    let mut columns = vec!["estimator".to_owned(), "kappa".to_owned()];
    for name in &own.treatment_names {
        columns.extend([
            name.clone(),
            format!("{name}: se"),
            format!("{name}: low"),
            format!("{name}: high"),
        ]);
    }
    let heads: Vec<&str> = columns.iter().map(String::as_str).collect();
    of.others.iter().fold(Table::new("Estimators", &heads), |table, (name, kappa, estimates)| {
        let mut row: Vec<Cell> = vec![name.as_str().into(), (*kappa).into()];
        for e in estimates {
            row.extend([e.value, e.se, e.low, e.high].map(Cell::from));
        }
        table.row(row)
    })
}

fn path_table(own: &OwnData, found: &Found) -> Table {
    let heads: Vec<&str> =
        ["alpha", "kappa"].into_iter().chain(own.treatment_names.iter().map(String::as_str)).collect();
    let mut table = found.path.iter().fold(Table::new("alpha path", &heads), |table, (alpha, h)| {
        let mut row: Vec<Cell> = vec![(*alpha).into(), (1.0 / (1.0 + alpha)).into()];
        row.extend(h.iter().map(|v| Cell::from(*v)));
        table.row(row)
    });
    if own.is_augmented() {
        table.note = "The first draw of the augmentation.".to_owned();
    }
    table
}

fn path_picture(own: &OwnData, found: &Found) -> Figure {
    let description =
        "Coefficients of IVL along alpha: instrumental variables on the left, least squares on the right.";
    let x: Vec<f64> = found.path.iter().map(|(alpha, _)| *alpha).collect();
    let mut panel = Panel::new("").x("alpha").y("coefficient").log_x();
    // More lines than this cannot be told apart.
    for (j, name) in own.treatment_names.iter().enumerate().take(9) {
        panel = panel.layer(Layer::line(name, x.clone(), found.path.iter().map(|(_, h)| h[j]).collect()));
    }
    if let Some(alpha) = found.alpha.filter(|a| *a > 0.0) {
        panel = panel.layer(Layer::vertical("alpha taken", alpha));
    }
    Figure::new("Coefficients along alpha", description).panel(panel)
}

fn coefficient_picture(own: &OwnData, found: &Found) -> Figure {
    let description = "Coefficients of the treatments with their intervals (bootstrap with an augmentation).";
    let treatments: Vec<_> = found.lines.iter().skip(own.control_names.len()).collect();
    let ends = |k: usize| {
        let line = treatments[k];
        let of = line.bootstrap.as_ref().unwrap_or(&line.estimate);
        [of.low, of.high]
    };
    let points = Layer::Points {
        label: "estimate".into(),
        x: (0..treatments.len()).map(|k| k as f64).collect(),
        y: treatments.iter().map(|line| line.estimate.value).collect(),
        error: (0..treatments.len()).map(ends).collect(),
        names: Vec::new(),
        shade: Vec::new(),
        shade_label: String::new(),
    };
    let panel = Panel::new("")
        .x("treatment")
        .y("coefficient")
        .categories_x(treatments.iter().map(|line| line.name.clone()))
        .layer(points)
        .layer(Layer::rule("no effect", 0.0));
    Figure::new(format!("Effects on {}", own.outcome_name), description).panel(panel)
}
