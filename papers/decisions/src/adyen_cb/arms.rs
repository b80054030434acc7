//! The arms: the system with its gammas, baselines, and remedies.

use super::config::Config;
use super::data::Window;
use super::generations::Plan;
use super::policy::Rule;
use super::serving::{Family, Serving, Training, Weighting};

/// U: uniform exploration on a part of the traffic, models of that part.
pub const UNIFORM_PART: &str = "uniform-part";
/// The arm whose models see fresh uniform data of the same size in every generation: the floor of estimation noise.
pub const CONTROL: &str = "uniform";
/// Always the truly best action.
pub const OPTIMUM: &str = "optimum";
/// The arm of the gamma that generation 0 chooses.
pub const CHOSEN: &str = "squarecb-chosen";

/// Name of an inverse-gap arm.
#[must_use]
pub fn squarecb(gamma: f64) -> String {
    format!("squarecb-{gamma}")
}

fn plan(name: &str, serving: Serving, training: Training) -> Plan {
    Plan { name: name.to_owned(), serving, training }
}

/// The system and its baselines. The first is the control, the second U.
#[must_use]
pub fn policies(config: &Config) -> Vec<Plan> {
    let all = Training::plain(config.memory);
    let epsilon = config.exploration;
    let matched = |family| Serving::Matched { family, epsilon };
    let mut plans = vec![
        plan(CONTROL, Serving::Fixed(Rule::Uniform), all),
        plan(
            UNIFORM_PART,
            Serving::Sliced { share: epsilon, rest: Rule::Greedy },
            Training { uniform_only: true, ..all },
        ),
        plan("epsilon-greedy", Serving::Fixed(Rule::EpsilonGreedy { epsilon }), all),
        plan("boltzmann", matched(Family::Boltzmann), all),
        plan("fastcb", matched(Family::Fastcb), all),
        plan("greedy", Serving::Fixed(Rule::Greedy), all),
        plan("squarecb-matched", matched(Family::Squarecb), all),
        plan("squarecb-scheduled", Serving::Scheduled { factor: config.schedule }, all),
    ];
    let gamma = |gamma: &f64| plan(&squarecb(*gamma), Serving::Fixed(Rule::Squarecb { gamma: *gamma }), all);
    plans.extend(config.gammas.iter().map(gamma));
    plans
}

/// Remedies, tried on the largest gamma.
#[must_use]
pub fn remedies(config: &Config) -> Vec<Plan> {
    let gamma = largest_gamma(config);
    let rule = Rule::Squarecb { gamma };
    let fixed = Serving::Fixed(rule);
    let all = Training::plain(config.memory);
    let memory = |window| Training { window, ..all };
    vec![
        plan("memory-2", fixed, memory(Window::Last(2))),
        plan("memory-4", fixed, memory(Window::Last(4))),
        plan("memory-all", fixed, memory(Window::All)),
        plan("ipw", fixed, Training { weighting: Weighting::Inverse { clip: config.clip }, ..all }),
        plan("class-weighted", fixed, Training { weighting: Weighting::Classes, ..all }),
        plan("uniform-slice", Serving::Sliced { share: 0.02, rest: rule }, all),
        plan("calibrated", fixed, Training { calibrated: true, ..all }),
    ]
}

/// The gamma that remedies are tried on.
#[must_use]
pub fn largest_gamma(config: &Config) -> f64 {
    config.gammas.last().copied().unwrap_or(2000.0)
}

/// The arms of the pictures.
#[must_use]
pub fn is_drawn(config: &Config, name: &str) -> bool {
    let ends = [config.gammas.first(), config.gammas.last()];
    [CONTROL, UNIFORM_PART, "epsilon-greedy"].contains(&name)
        || ends.into_iter().flatten().any(|gamma| squarecb(*gamma) == name)
}

/// What a name stands for.
#[must_use]
pub fn words(name: &str) -> &'static str {
    match name {
        CONTROL => "R: uniform on everything (its models: the control)",
        UNIFORM_PART => "U: uniform on a part, greedy on the rest, models of that part",
        "epsilon-greedy" => "E: epsilon-greedy, models of everything",
        "boltzmann" => "B: exponential weights, exploration mass of E",
        "fastcb" => "inverse divergences, exploration mass of E",
        "greedy" => "G: greedy",
        "squarecb-matched" => "SquareCB, exploration mass of E",
        "squarecb-scheduled" => "SquareCB, gamma from the model's error",
        CHOSEN => "SquareCB, gamma chosen on generation 0",
        OPTIMUM => "O: the truly best action",
        "memory-2" | "memory-4" | "memory-all" => "remedy: longer memory",
        "ipw" => "remedy: inverse-propensity weights in the fit, clipped",
        "class-weighted" => "remedy: both classes with the same weight",
        "uniform-slice" => "remedy: 2 % of the traffic uniform",
        "calibrated" => "remedy: isotonic calibration before the gaps",
        _ => "SquareCB, gamma as named",
    }
}
