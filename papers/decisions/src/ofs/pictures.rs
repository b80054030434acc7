//! Pictures: what each threshold leads to and where OFS played, violations, and the population over time.

use ream_lab::{Figure, Layer, Panel};

use super::config::Population;
use super::environment::{Environment, Limits};
use super::oracle::Oracle;
use super::simulation::{Trace, plays};

/// Most points of a drawn curve.
const POINTS: usize = 200;

/// A method's run.
#[derive(Clone, Copy)]
pub(crate) struct Curve<'a> {
    /// The method.
    pub(crate) name: &'a str,
    /// Its run.
    pub(crate) trace: &'a Trace,
}

/// The name of a population in a heading.
#[must_use]
pub(crate) fn title(population: Population) -> String {
    match population {
        Population::Synthetic => "Synthetic loop",
        Population::German => "German Credit",
        Population::Compas => "COMPAS",
    }
    .to_owned()
}

/// Reward and gap against threshold, cumulative violation, state and threshold over time. The first curve is OFS.
#[must_use]
pub(crate) fn loop_figure(
    title: &str,
    environment: &dyn Environment,
    limits: &Limits,
    oracle: &Oracle,
    frozen: &Oracle,
    curves: &[Curve<'_>],
) -> Figure {
    let description = format!(
        "Left to right: reward and acceptance gap of each threshold on the first population and at its steady state \
         (shaded: gap within {}), with the thresholds that OFS played, darker where more often; violation of the \
         limits summed over rounds; the population's state while each method ran; the threshold in force.",
        limits.gap
    );
    let mut figure = Figure::new(format!("{title}: thresholds in a loop"), description)
        .panel(by_threshold("Reward of a threshold", "reward", environment, [oracle, frozen], curves, |at| {
            at.reward
        }))
        .panel(gap_panel(environment, limits, oracle, frozen, curves))
        .panel(over_time("Cumulative violation", "V_t", curves, |trace| running_sum(&trace.violation)));
    let ofs_and_few: Vec<Curve<'_>> = curves
        .iter()
        .filter(|c| ["ofs", "ucb", "primal-dual", "oracle"].contains(&c.name))
        .copied()
        .collect();
    figure = figure.panel(over_time(
        "State of the population",
        "mean or share of the last group",
        &ofs_and_few,
        |t| t.state.clone(),
    ));
    let theta = environment.thresholds();
    figure
        .panel(
            over_time("Threshold in force", "threshold", &ofs_and_few[..ofs_and_few.len().min(1)], |t| {
                t.arms.iter().map(|&k| theta[k]).collect()
            })
            .layer(Layer::Rule {
                label: "oracle".to_owned(),
                value: theta[oracle.arm()],
                vertical: false,
            }),
        )
        .columns(2)
}

fn by_threshold(
    heading: &str,
    label: &str,
    environment: &dyn Environment,
    oracles: [&Oracle; 2],
    curves: &[Curve<'_>],
    of: impl Fn(&super::environment::Expected) -> f64,
) -> Panel {
    let theta = environment.thresholds();
    let mut panel = Panel::new(heading).x("threshold").y(label);
    for (oracle, name, dashed) in
        [(oracles[0], "steady state", false), (oracles[1], "first population", true)]
    {
        let y = oracle.steady.iter().map(|s| of(&s.at)).collect();
        panel = panel.layer(Layer::Line { label: name.to_owned(), x: theta.to_vec(), y, dashed });
    }
    let Some(ofs) = curves.first() else { return panel };
    let counts = plays(&ofs.trace.arms, theta.len());
    let played: Vec<usize> = (0..theta.len()).filter(|&k| counts[k] > 0.0).collect();
    panel.layer(Layer::Points {
        label: format!("played by {}", ofs.name),
        x: played.iter().map(|&k| theta[k]).collect(),
        y: played.iter().map(|&k| of(&oracles[0].steady[k].at)).collect(),
        error: Vec::new(),
        names: Vec::new(),
        shade: played.iter().map(|&k| libm::log10(counts[k])).collect(),
        shade_label: "log10 of plays".to_owned(),
    })
}

fn gap_panel(
    environment: &dyn Environment,
    limits: &Limits,
    oracle: &Oracle,
    frozen: &Oracle,
    curves: &[Curve<'_>],
) -> Panel {
    let theta = environment.thresholds();
    let mut panel =
        by_threshold("Acceptance gap of a threshold", "gap", environment, [oracle, frozen], curves, |at| {
            at.gap
        });
    let band = Layer::Band {
        label: "feasible".to_owned(),
        x: vec![theta[0], theta[theta.len() - 1]],
        low: vec![0.0; 2],
        high: vec![limits.gap; 2],
    };
    panel.layers.insert(0, band);
    panel
}

fn over_time(heading: &str, label: &str, curves: &[Curve<'_>], of: impl Fn(&Trace) -> Vec<f64>) -> Panel {
    let mut panel = Panel::new(heading).x("round").y(label);
    for curve in curves {
        let values = of(curve.trace);
        let step = values.len().div_ceil(POINTS).max(1);
        let picked: Vec<usize> = (0..values.len()).step_by(step).collect();
        panel = panel.layer(Layer::Line {
            label: curve.name.to_owned(),
            x: picked.iter().map(|&t| (t + 1) as f64).collect(),
            y: picked.iter().map(|&t| values[t]).collect(),
            dashed: curve.name == "oracle",
        });
    }
    panel
}

fn running_sum(values: &[f64]) -> Vec<f64> {
    values
        .iter()
        .scan(0.0, |sum, v| {
            *sum += v;
            Some(*sum)
        })
        .collect()
}
