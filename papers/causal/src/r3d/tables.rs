//! Tables in the form in which packages for discontinuities print them.

use ream_lab::{Cell, Table};
use ream_stats::distribution::normal_two_sided;
use ream_stats::local_polynomial::{Constants, Kernel};

use super::analysis::{Analysis, bandwidth_words};
use super::diagnostics::{Brief, least_effective};
use super::estimate::{Bandwidth, Method};
use super::sample::{deciles, nearest};

fn percent(level: f64) -> String {
    let value = 100.0 * level;
    format!("{}", (value * 1e6).round() / 1e6)
}

fn kernel_word(kernel: Kernel) -> &'static str {
    match kernel {
        Kernel::Triangular => "triangular",
        Kernel::Epanechnikov => "Epanechnikov",
        Kernel::Uniform => "uniform",
    }
}

/// What was estimated, how, on what: the head of the output.
#[must_use]
pub fn design(title: &str, of: &Analysis) -> Table {
    let settings = &of.settings;
    let method = match settings.method {
        Method::Frechet => "local Frechet (projection, one bandwidth)",
        Method::Simple => "by quantile (rearrangement)",
    };
    let kind = match (&settings.bandwidth, settings.method, settings.coverage) {
        (Bandwidth::Automatic, Method::Frechet, false) => "IMSE-optimal",
        (Bandwidth::Automatic, Method::Simple, false) => "MSE-optimal for each quantile",
        (Bandwidth::Automatic, _, true) => "shrunk for coverage",
        _ => "given",
    };
    let constants = if settings.constants == Constants::Drop && settings.bandwidth == Bandwidth::Automatic {
        ", constants dropped"
    } else {
        ""
    };
    let fewest = least_effective(&of.fit);
    let design = if of.fit.treatment.is_some() { "fuzzy" } else { "sharp" };
    let mut table = Table::new(title, &["", "below", "above"])
        .row(vec!["units".into(), (of.units[0] as u64).into(), (of.units[1] as u64).into()])
        .row(vec!["units with a weight, fewest".into(), (fewest[0] as u64).into(), (fewest[1] as u64).into()])
        .row(vec!["mean of the fitted curve".into(), mean(&of.fit.below).into(), mean(&of.fit.above).into()]);
    if let Ok(gini) = &of.gini {
        table = table.row(vec![
            "Gini coefficient of the fitted curve".into(),
            gini.sides[0].into(),
            gini.sides[1].into(),
        ]);
    }
    if let Some(treatment) = &of.fit.treatment {
        table = table.row(vec!["share treated".into(), treatment.sides[0].into(), treatment.sides[1].into()]);
    }
    table.note = format!(
        "Design {design}, cutoff {}. Estimator {method}; order p = {}, bandwidth {} ({kind}, made for order s = {}{constants}), \
         {} kernel. Bands at {} % by {} draws of a multiplier bootstrap over units.",
        settings.cutoff,
        settings.order,
        bandwidth_words(&of.fit),
        settings.bandwidth_order,
        kernel_word(settings.kernel),
        percent(of.level),
        of.draws,
    );
    table
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The effect at the deciles (or at every quantile of a coarser grid), as regression tables are printed.
#[must_use]
pub fn effect(title: &str, of: &Analysis) -> Table {
    let fit = &of.fit;
    let mut columns: Vec<usize> = if fit.grid.len() <= 25 {
        (0..fit.grid.len()).collect()
    } else {
        deciles().into_iter().map(|q| nearest(&fit.grid, q)).collect()
    };
    columns.dedup();
    let level = percent(of.level);
    let lower = format!("[{level} %");
    let names = ["q", "effect", "std. err.", "z", "P>|z|", &lower, "interval]", "[uniform", "band]", "h"];
    let mut table = columns.iter().fold(Table::new(title, &names), |table, &q| {
        let (effect, se) = (fit.effect[q], of.inference.se[q]);
        let z = (se > 0.0).then(|| effect / se);
        table.row(vec![
            fit.grid[q].into(),
            effect.into(),
            se.into(),
            z.map_or(Cell::Empty, |z| format!("{z:.3}").into()),
            z.map_or(Cell::Empty, |z| format!("{:.3}", normal_two_sided(z)).into()),
            of.inference.pointwise.low[q].into(),
            of.inference.pointwise.high[q].into(),
            of.inference.uniform.low[q].into(),
            of.inference.uniform.high[q].into(),
            fit.bandwidths[q].into(),
        ])
    });
    table.note =
        "z, P and interval are of each quantile alone; the band holds at all quantiles at once.".to_owned();
    table
}

/// Every quantile with everything: for CSV and JSON.
#[must_use]
pub fn all_quantiles(title: &str, of: &Analysis) -> Table {
    let names = [
        "q",
        "tau",
        "se",
        "pointwise_low",
        "pointwise_high",
        "uniform_low",
        "uniform_high",
        "studentised_low",
        "studentised_high",
        "h",
        "n_eff_below",
        "n_eff_above",
        "m_minus",
        "m_plus",
    ];
    let (fit, found) = (&of.fit, &of.inference);
    (0..fit.grid.len()).fold(Table::new(title, &names), |table, q| {
        table.row(vec![
            fit.grid[q].into(),
            fit.effect[q].into(),
            found.se[q].into(),
            found.pointwise.low[q].into(),
            found.pointwise.high[q].into(),
            found.uniform.low[q].into(),
            found.uniform.high[q].into(),
            found.studentised.low[q].into(),
            found.studentised.high[q].into(),
            fit.bandwidths[q].into(),
            (fit.effective[q][0] as u64).into(),
            (fit.effective[q][1] as u64).into(),
            fit.below[q].into(),
            fit.above[q].into(),
        ])
    })
}

/// Tests of the whole curve, of ranges, of inequality, and of the treatment's jump.
#[must_use]
pub fn tests(title: &str, of: &Analysis) -> Table {
    let names = ["test", "quantiles", "statistic", "P"];
    let [first, last] = [of.fit.grid[0], of.fit.grid[of.fit.grid.len() - 1]];
    let range = |a: f64, b: f64| format!("{a} to {b}");
    let row = |table: Table, name: &str, quantiles: String, statistic: f64, p: f64| {
        table.row(vec![name.into(), quantiles.into(), statistic.into(), p.into()])
    };
    let (nullity, homogeneity) = (of.inference.nullity, of.inference.homogeneity);
    let mut table = Table::new(title, &names);
    table = row(table, "no effect: sup |tau|", range(first, last), nullity.statistic, nullity.p_value);
    let name = "constant effect: sup |tau - mean|";
    table = row(table, name, range(first, last), homogeneity.statistic, homogeneity.p_value);
    for ([a, b], [nullity, homogeneity]) in &of.ranges {
        table = row(table, "no effect: sup |tau|", range(*a, *b), nullity.statistic, nullity.p_value);
        table = row(table, name, range(*a, *b), homogeneity.statistic, homogeneity.p_value);
    }
    match &of.gini {
        Ok(gini) => {
            let difference = gini.difference.value;
            table = row(table, "equal Gini: above less below", range(first, last), difference, gini.p_value);
        }
        Err(why) => table.note = format!("Gini coefficients are not compared: {why}."),
    }
    if let Some((jump, p_value)) = &of.first_stage {
        table = row(table, "no jump of the treatment", String::new(), jump.value, *p_value);
    }
    if let Ok(density) = &of.density {
        let name = "smooth density of the running variable: log ratio";
        table = row(table, name, String::new(), density.log_ratio.value, density.p_value);
    }
    table
}

/// The effect at other bandwidths, other cutoffs, without the nearest units.
#[must_use]
pub fn robustness(title: &str, of: &Analysis) -> Table {
    let names =
        ["", "h", "units below", "units above", "mean effect", "sup |tau|", "half band", "P of no effect"];
    let all = of.sensitivity.iter().chain(&of.placebos).chain(&of.donut);
    all.fold(Table::new(title, &names), |table, one| match one {
        Ok(brief) => table.row(brief_row(brief)),
        Err(why) => table.row(vec![format!("not possible: {why}").into()]),
    })
}

fn brief_row(brief: &Brief) -> Vec<Cell> {
    let [least, largest] = brief.bandwidths;
    let h = if least == largest { format!("{least:.4}") } else { format!("{least:.4} to {largest:.4}") };
    vec![
        brief.label.as_str().into(),
        h.into(),
        (brief.effective[0] as u64).into(),
        (brief.effective[1] as u64).into(),
        brief.mean.into(),
        brief.largest.into(),
        brief.half_width.into(),
        brief.p_value.into(),
    ]
}
