//! The real samples: Senate votes as distributions of one point, House districts after close Senate elections.

use ream_lab::{Place, Result, Run, Spread, Table};

use super::analysis::{Analysis, analyse};
use super::config::{Config, Estimator};
use super::elections::{self, HOUSE, Outcome, Reference, SENATE, Senate};
use super::estimate::{Bandwidth, Method, Settings};
use super::sample::{Sample, deciles};
use super::{pictures, tables};

/// Real samples, once in a run; what is not fetched is said and left out.
///
/// # Errors
/// A damaged file, cancelled.
pub(crate) fn run_all(config: &Config, run: &mut Run) -> Result<()> {
    if !run.has_data(SENATE) {
        run.warn(format!("the Senate's elections are not here (ream data fetch {SENATE})"));
        return Ok(());
    }
    let senate = elections::senate(&run.data(SENATE)?)?;
    if run.wanted("scalar_difference") {
        run.progress(0.9, "one-point distributions")?;
        one_point(&senate, run)?;
    }
    if !["election_effect", "election_largest", "election_p"].iter().any(|measure| run.wanted(measure)) {
        return Ok(());
    }
    if !run.has_data(HOUSE) {
        run.warn(format!("the House's elections are not here (ream data fetch {HOUSE})"));
        return Ok(());
    }
    for outcome in [Outcome::VoteShare, Outcome::Score] {
        run.progress(0.95, &format!("close elections: {}", outcome.name()))?;
        close_elections(config, &senate, outcome, run)?;
    }
    Ok(())
}

/// R3D on distributions of one point against the ordinary discontinuity.
fn one_point(senate: &[Senate], run: &mut Run) -> Result<()> {
    let sample = elections::one_point(senate)?;
    let title = format!("Senate votes as one-point distributions, {} units", sample.units());
    let columns = ["kernel", "p", "h", "rdrobust, conventional", "R3D less rdrobust, relative"];
    let mut table = Table::new(title, &columns);
    for reference in elections::references()? {
        let mut worst = 0.0_f64;
        for (arm, method) in [("frechet", Method::Frechet), ("simple", Method::Simple)] {
            let difference = elections::difference(&sample, method, &reference)?;
            run.observe("scalar_difference", arm, &place(&reference), difference);
            worst = worst.max(difference);
        }
        table = table.row(vec![
            reference.kernel.as_str().into(),
            (reference.p as u64).into(),
            reference.h.into(),
            reference.conventional.into(),
            format!("{worst:.1e}").into(),
        ]);
    }
    table.note = "rdrobust 2.1.1 (Python) on the same votes; the worst of both estimators and all quantiles."
        .to_owned();
    run.table(table);
    Ok(())
}

fn place(reference: &Reference) -> [(&'static str, Place); 3] {
    [
        ("kernel", Place::from(reference.kernel.as_str())),
        ("p", Place::from(reference.p as f64)),
        ("h", Place::from(reference.h)),
    ]
}

/// House districts two years after a Senate election.
fn close_elections(config: &Config, senate: &[Senate], outcome: Outcome, run: &mut Run) -> Result<()> {
    let districts = elections::districts(&run.data(HOUSE)?, outcome)?;
    let (x, outcomes) = elections::units(senate, &districts);
    let sample = Sample::from_individuals(x, &outcomes, None, deciles(), None)
        .map_err(super::failure::Failure::from)?;
    for (arm, method) in [("frechet", Estimator::Frechet), ("simple", Estimator::Simple)] {
        let own = Config { method, ..Config::default() };
        let settings =
            Settings { kernel: config.kernel.kernel(), bandwidth: Bandwidth::Automatic, ..own.settings()? };
        let own = Config { draws: config.draws, ..own };
        let found = analyse(&sample, &settings, &own, run.stream(&format!("elections {}", outcome.name())))?;
        observe(outcome, arm, &found, run);
        if method == Estimator::Frechet {
            show(outcome, &sample, &found, run)?;
        }
    }
    Ok(())
}

fn observe(outcome: Outcome, arm: &str, found: &Analysis, run: &mut Run) {
    let at = [("outcome", Place::from(outcome.name()))];
    let (fit, of) = (&found.fit, &found.inference);
    if run.wanted("election_effect") {
        for (q, name) in fit.grid.iter().enumerate() {
            let at = [at[0].clone(), ("q", Place::from(*name))];
            let spread = Spread::Se(of.se[q]);
            run.observe_with("election_effect", arm, &at, fit.effect[q], spread);
        }
    }
    for (measure, value) in [("election_largest", of.nullity.statistic), ("election_p", of.nullity.p_value)] {
        if run.wanted(measure) {
            run.observe(measure, arm, &at, value);
        }
    }
}

fn show(outcome: Outcome, sample: &Sample, found: &Analysis, run: &mut Run) -> Result<()> {
    let (name, unit) = match outcome {
        Outcome::VoteShare => ("House vote after a Senate election", "Democratic vote share, percent"),
        Outcome::Score => ("House roll calls after a Senate election", "liberal score"),
    };
    let mut head = tables::design(&format!("{name}: design"), found);
    head.note.push_str(
        " Units are Senate elections, their distributions the state's House districts two years later.",
    );
    run.table(head);
    run.table(tables::effect(&format!("{name}: effect of a Democratic win"), found));
    run.table(tables::tests(&format!("{name}: tests"), found));
    run.table(tables::robustness(&format!("{name}: robustness"), found));
    for warning in &found.warnings {
        run.warn(format!("{name}: {warning}"));
    }
    let file = outcome.name();
    run.figure(&format!("effect-{file}"), pictures::effect(name, unit, found))?;
    run.figure(&format!("sides-{file}"), pictures::sides(name, unit, found))?;
    run.figure(
        &format!("heat-{file}"),
        pictures::heat(name, "Democratic margin, points", unit, sample, found.settings.cutoff),
    )?;
    run.figure(
        &format!("medians-{file}"),
        pictures::medians(name, "Democratic margin, points", unit, sample, found),
    )
}
