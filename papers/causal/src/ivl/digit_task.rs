//! The coloured digits as a task: a linear model with every method, perceptrons with three.

use ream_data::mnist;
use ream_lab::{Cell, Place, Result, Run, Table};
use ream_rand::Stream;
use ream_stats::Matrix;

use super::config::Config;
use super::digits::{self, Change, Coloured, LinearTask};
use super::experiment::{Scores, logarithms, observe_alphas, ranked};
use super::methods::{RIDGED, all_arms};
use super::network::{Epoch, Network, train};
use super::pictures::{self, Judged};
use super::select::Selector;

/// Data set with the digits.
pub(crate) const DIGITS: &str = "mnist-10k";

/// Both models on one colouring; `None` where the digits are not here.
///
/// # Errors
/// A fit failed, cancelled.
pub(crate) fn digits(config: &Config, alphas: &[f64], run: &mut Run) -> Result<Option<Scores>> {
    if !run.has_data(DIGITS) {
        run.warn(format!("the digits are not here: that task is left out (ream data fetch {DIGITS})"));
        return Ok(None);
    }
    run.progress(0.27, "coloured digits")?;
    let (trained, tested) = mnist::read(&run.data(DIGITS)?)?;
    let stream = run.stream("digits");
    let of = digits::colour(&trained, config.digits.train, stream);
    let (linear, alpha, chosen) =
        run.part("digits-linear", |run| linear(&trained, &tested, &of, alphas, stream, run))?;
    observe_alphas(run, "digits", &chosen);
    run.progress(0.32, "coloured digits: perceptrons")?;
    let epochs = config.digits.epochs;
    let seed = run.seed();
    let perceptrons = run
        .part("digits-perceptron", |_| perceptrons(&trained, &tested, &of, (alpha, epochs), stream, seed))?;
    for (model, arms) in [("linear", &linear), ("perceptron", &perceptrons)] {
        for (name, reversed, seen) in arms {
            for (measure, value) in [("accuracy", reversed), ("accuracy_seen", seen)] {
                if run.wanted(measure) {
                    run.observe(measure, name, &[("model", Place::from(model))], *value);
                }
            }
        }
    }
    if run.is_first_seed() {
        let (pixels, captions) = digits::shown(&trained, &of, 12, stream.child(7));
        run.figure("digits", pictures::digits(pixels, captions, mnist::SIDE))?;
        run.table(table(&of, &[("linear", &linear), ("perceptron", &perceptrons)]));
        run.figure(
            "accuracy",
            pictures::accuracies(&[("linear model", linear.clone()), ("perceptron", perceptrons)]),
        )?;
    }
    let error = |name: &str| linear.iter().find(|(n, ..)| n == name).map(|(_, reversed, _)| 1.0 - reversed);
    Ok(Some(ranked(error)))
}

fn table(of: &Coloured, models: &[(&str, &Vec<Judged>)]) -> Table {
    let title = format!("Coloured digits: accuracy, {} training digits, first seed", of.images.len());
    let mut table = Table::new(title, &["model", "method", "colours reversed", "colours as in training"]);
    for (model, arms) in models {
        for (name, reversed, seen) in *arms {
            table =
                table.row(vec![Cell::from(*model), name.as_str().into(), (*reversed).into(), (*seen).into()]);
        }
    }
    table.note = "Expected shares of right labels over the law of labels and colours. A quarter of the labels is turned: shape alone \
                  allows 0.75."
        .into();
    table
}

/// Every method, the `alpha` of CC, and the decimal logarithms of all selectors' `alpha`.
type Linear = (Vec<Judged>, f64, Vec<(String, f64)>);

fn linear(
    trained: &mnist::Digits,
    tested: &mnist::Digits,
    of: &Coloured,
    alphas: &[f64],
    stream: Stream,
    run: &mut Run,
) -> Result<Linear> {
    let task = LinearTask::new(trained, of, stream.child(2));
    let estimates = all_arms(&task.sample, alphas, stream.child(3))?;
    if estimates.ridged {
        run.warn(RIDGED);
    }
    let shown: Vec<[Vec<f64>; 2]> = (0..tested.len())
        .map(|i| [0, 1].map(|colour| digits::inputs(tested.image(i), colour, Change::NONE)))
        .collect();
    let judged = estimates
        .arms
        .iter()
        .map(|arm| {
            let score =
                |i: usize, colour: usize| task.score(&arm.coefficients, &shown[i][colour], arm.name == "erm");
            (
                arm.name.clone(),
                digits::accuracy(tested, digits::REVERSED, score),
                digits::accuracy(tested, mean_agreement(), score),
            )
        })
        .collect();
    let alpha = estimates.alphas.iter().find(|(s, _)| *s == Selector::Cc).map_or(1.0, |(_, alpha)| *alpha);
    Ok((judged, alpha, logarithms(&estimates)))
}

fn mean_agreement() -> f64 {
    0.5 * (digits::AGREEMENT[0] + digits::AGREEMENT[1])
}

/// ERM on raw inputs, DA+ERM and IVL on inputs that are augmented anew in each epoch. IVL takes the `alpha` that CC chose for the
/// linear model.
fn perceptrons(
    trained: &mnist::Digits,
    tested: &mnist::Digits,
    of: &Coloured,
    (alpha, epochs): (f64, u64),
    stream: Stream,
    seed: u64,
) -> Result<Vec<Judged>> {
    let raw = || Epoch { x: of.inputs(trained, &vec![Change::NONE; of.images.len()]), g: None };
    let changed = |k: u64, with_parameters: bool| {
        let (changes, g) = of.changes(stream.child(4).child(k));
        Epoch { x: of.inputs(trained, &changes), g: with_parameters.then_some(g) }
    };
    let fit = |epoch: &mut dyn FnMut(u64) -> Epoch| {
        train(&of.labels, alpha, epochs, stream.child(5), seed, |k| Ok(epoch(k)))
    };
    let nets = [
        ("erm", fit(&mut |_| raw())?),
        ("da-erm", fit(&mut |k| changed(k, false))?),
        ("ivl-cc", fit(&mut |k| changed(k, true))?),
    ];
    nets.iter().map(|(name, net)| judge(name, net, tested)).collect()
}

fn judge(name: &str, net: &Network, tested: &mnist::Digits) -> Result<Judged> {
    let scores = [0, 1].map(|colour| {
        let rows: Vec<Vec<f64>> =
            (0..tested.len()).map(|i| digits::inputs(tested.image(i), colour, Change::NONE)).collect();
        net.scores(&Matrix::from_fn(rows.len(), digits::INPUTS, |i, j| rows[i][j]))
    });
    let [red, green] = scores;
    let (red, green) = (red?, green?);
    let score = |i: usize, colour: usize| if colour == 0 { red[i] } else { green[i] };
    Ok((
        name.to_owned(),
        digits::accuracy(tested, digits::REVERSED, score),
        digits::accuracy(tested, mean_agreement(), score),
    ))
}
