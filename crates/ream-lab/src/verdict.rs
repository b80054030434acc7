//! From observations to verdicts. The rule is written in `paper.toml` before the run; what it means is written here.
//!
//! A check gathers its observations, pairs them by seed and place, averages the places of a group within each seed,
//! and turns the seeds into one figure with an interval. The figure, or its margin of error, is held against the test:
//! the check *holds*, *fails*, is *unclear* (the margin straddles the threshold) or is *missing* (not observed, or in fewer seeds
//! than its measure needs).
//! Kleene's three-valued logic combines the checks of a claim.

use std::collections::BTreeMap;
use std::fmt;

use ream_paper::{Check, Claim, Margin, Measure, Quantity, Rule, Scale, Seeds, Term, Test};
use serde::{Deserialize, Serialize};

use crate::observation::{At, Observation, Spread, show_at};
use crate::summary::{Values, spread_se, summarise};

/// What the observations say of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Verdict {
    /// The rule holds, at the paper's scale.
    #[serde(rename = "confirmed")]
    Confirmed,
    /// The rule holds, in an experiment smaller than the paper's.
    #[serde(rename = "confirmed at reduced scale")]
    ConfirmedAtReducedScale,
    /// The rule fails, but every check lies on the claimed side of no effect.
    #[serde(rename = "direction only")]
    DirectionOnly,
    /// The rule fails.
    #[serde(rename = "not confirmed")]
    NotConfirmed,
    /// The intervals are too wide to tell.
    #[serde(rename = "inconclusive")]
    Inconclusive,
    /// There is nothing to judge by; the reason says why.
    #[serde(rename = "not tested")]
    NotTested,
}

impl Verdict {
    /// All verdicts, best first.
    pub const ALL: [Self; 6] = [
        Self::Confirmed,
        Self::ConfirmedAtReducedScale,
        Self::DirectionOnly,
        Self::NotConfirmed,
        Self::Inconclusive,
        Self::NotTested,
    ];

    /// The words shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::ConfirmedAtReducedScale => "confirmed at reduced scale",
            Self::DirectionOnly => "direction only",
            Self::NotConfirmed => "not confirmed",
            Self::Inconclusive => "inconclusive",
            Self::NotTested => "not tested",
        }
    }

    /// A shape that goes with the words, so that colour never carries meaning alone.
    #[must_use]
    pub fn mark(self) -> &'static str {
        match self {
            Self::Confirmed => "●",
            Self::ConfirmedAtReducedScale => "◐",
            Self::DirectionOnly => "◔",
            Self::NotConfirmed => "✕",
            Self::Inconclusive => "?",
            Self::NotTested => "○",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The test is passed.
    Holds,
    /// It is not.
    Fails,
    /// The margin of error straddles the threshold.
    Unclear,
    /// There are no observations for it.
    Missing,
}

/// A check with its figures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckOutcome {
    /// The check's id.
    pub id: String,
    /// What was computed, in words: `loss@trained / loss@gd`.
    pub quantity: String,
    /// How seeds became one figure, and the margin asked for.
    pub how: String,
    /// The condition.
    pub test: String,
    /// How it came out over all places.
    pub state: State,
    /// Why it is missing, or empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// One entry for each group of `for_each`; a single one without.
    pub places: Vec<PlaceOutcome>,
}

/// A check at one place.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlaceOutcome {
    /// The group's values of the `for_each` keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub at: At,
    /// The figure.
    pub value: f64,
    /// Its 95 % interval; null where one seed or one observation gives none.
    pub interval: Option<[f64; 2]>,
    /// Its standard error, likewise.
    pub se: Option<f64>,
    /// Number of seeds.
    pub seeds: usize,
    /// How it came out here.
    pub state: State,
    /// Smallest effect that this many seeds would show with 80 % power, in the figure's unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detectable: Option<f64>,
    /// Whether the figure lies on the claimed side of no effect; null where the check names no null.
    pub right_side: Option<bool>,
}

/// A claim with its checks.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The verdict.
    pub verdict: Verdict,
    /// Why, where the verdict alone does not say: what is missing, what is unclear, which check fails.
    pub reason: String,
    /// The checks, in the order of `paper.toml`.
    pub checks: Vec<CheckOutcome>,
}

impl Outcome {
    /// A claim that nothing was observed for.
    #[must_use]
    pub fn not_tested(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::NotTested, reason: reason.into(), checks: Vec::new() }
    }

    /// The headline figure: the first check's, at the place where it comes closest to failing.
    #[must_use]
    pub fn headline(&self) -> Option<&PlaceOutcome> {
        let check = self.checks.first()?;
        let test: Test = check.test.parse().ok()?;
        check.places.iter().min_by(|a, b| slack(test, a.value).total_cmp(&slack(test, b.value)))
    }
}

/// How far inside the test a value lies; negative outside.
fn slack(test: Test, value: f64) -> f64 {
    match test {
        Test::Less(bound) | Test::AtMost(bound) => bound - value,
        Test::Greater(bound) | Test::AtLeast(bound) => value - bound,
        Test::In(low, high) => (value - low).min(high - value),
    }
}

/// The observations of one seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeedObservations {
    /// The seed.
    pub seed: u64,
    /// What it saw.
    pub observations: Vec<Observation>,
}

/// Judges a claim. `measures` are the paper's: each says how many seeds it needs.
#[must_use]
pub fn judge(measures: &[Measure], claim: &Claim, seeds: &[SeedObservations]) -> Outcome {
    let Some(rule) = &claim.holds else {
        return Outcome::not_tested("its rule is not written as checks yet");
    };
    let checks: Vec<CheckOutcome> =
        claim.checks.iter().map(|check| evaluate(measures, check, seeds)).collect();
    if *rule == Rule::ReportOnly {
        return Outcome { verdict: Verdict::NotTested, reason: "no threshold stated".to_owned(), checks };
    }
    let (verdict, reason) = decide(claim, rule, &checks);
    Outcome { verdict, reason, checks }
}

fn decide(claim: &Claim, rule: &Rule, checks: &[CheckOutcome]) -> (Verdict, String) {
    if let Some(missing) = checks.iter().find(|check| check.state == State::Missing) {
        return (Verdict::NotTested, missing.why.clone());
    }
    match combine(rule, checks) {
        State::Holds if claim.scale == Scale::Paper => (Verdict::Confirmed, String::new()),
        State::Holds => (Verdict::ConfirmedAtReducedScale, String::new()),
        State::Unclear | State::Missing => (Verdict::Inconclusive, unclear_reason(checks)),
        State::Fails => {
            let reason = failing_reason(checks);
            let right = checks.iter().all(|check| {
                check.state == State::Holds || check.places.iter().all(|p| p.right_side == Some(true))
            });
            (if right { Verdict::DirectionOnly } else { Verdict::NotConfirmed }, reason)
        }
    }
}

fn unclear_reason(checks: &[CheckOutcome]) -> String {
    let parts: Vec<String> = checks
        .iter()
        .filter(|check| check.state == State::Unclear)
        .map(|check| {
            let wide = check
                .places
                .iter()
                .filter(|p| p.state == State::Unclear)
                .filter_map(|p| p.detectable)
                .fold(0.0, f64::max);
            if wide > 0.0 {
                format!(
                    "{}: the interval straddles {}; these seeds show an effect of {} or more",
                    check.id,
                    check.test,
                    brief(wide)
                )
            } else {
                format!("{}: too few seeds for an interval", check.id)
            }
        })
        .collect();
    parts.join("; ")
}

fn failing_reason(checks: &[CheckOutcome]) -> String {
    let parts: Vec<String> = checks
        .iter()
        .filter(|check| check.state == State::Fails)
        .map(|check| {
            let worst = check.places.iter().find(|p| p.state == State::Fails);
            let place = worst
                .filter(|p| !p.at.is_empty())
                .map(|p| format!(" at {}", show_at(&p.at)))
                .unwrap_or_default();
            let value = worst.map(|p| brief(p.value)).unwrap_or_default();
            format!("{}{place}: {value}, wanted {}", check.id, check.test)
        })
        .collect();
    parts.join("; ")
}

/// Four significant digits, plain where that is readable.
#[must_use]
pub fn brief(value: f64) -> String {
    if value == 0.0 {
        return "0".to_owned();
    }
    let magnitude = value.abs();
    if !(1e-4..1e6).contains(&magnitude) {
        return format!("{value:.2e}");
    }
    let digits = (0..=9).find(|d| magnitude >= libm_pow10(3 - d)).unwrap_or(9);
    let text = format!("{value:.*}", usize::try_from(digits).unwrap_or(0));
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

fn libm_pow10(exponent: i32) -> f64 {
    10_f64.powi(exponent)
}

/// Kleene's logic: a part that is unclear leaves the whole unclear unless the others decide it.
fn combine(rule: &Rule, checks: &[CheckOutcome]) -> State {
    let of = |id: &str| checks.iter().find(|check| check.id == id);
    let count = |states: &[State], needed: usize| {
        let holds = states.iter().filter(|s| **s == State::Holds).count();
        let possible = states.iter().filter(|s| **s != State::Fails).count();
        if holds >= needed {
            State::Holds
        } else if possible < needed {
            State::Fails
        } else {
            State::Unclear
        }
    };
    let parts = |parts: &[Rule]| -> Vec<State> { parts.iter().map(|part| combine(part, checks)).collect() };
    match rule {
        Rule::ReportOnly => State::Missing,
        Rule::Check(id) => of(id).map_or(State::Missing, |check| check.state),
        Rule::All(list) => count(&parts(list), list.len()),
        Rule::Any(list) => count(&parts(list), 1),
        Rule::AtLeast(n, list) => count(&parts(list), *n),
        Rule::AtLeastPlaces(n, id) => of(id).map_or(State::Missing, |check| {
            count(&check.places.iter().map(|p| p.state).collect::<Vec<_>>(), *n)
        }),
    }
}

fn evaluate(measures: &[Measure], check: &Check, seeds: &[SeedObservations]) -> CheckOutcome {
    let margin = match (check.beyond, check.within) {
        (Some(margin), _) => ("beyond", margin),
        (None, Some(margin)) => ("within", margin),
        (None, None) => ("beyond", Margin::Point),
    };
    let mut outcome = CheckOutcome {
        id: check.id.clone(),
        quantity: check.quantity.to_string(),
        how: describe(check.seeds, margin),
        test: check.test.to_string(),
        state: State::Missing,
        why: String::new(),
        places: Vec::new(),
    };
    match gather(check, seeds, needed(measures, check, seeds.len())) {
        Err(why) => outcome.why = why,
        Ok(groups) => {
            outcome.places = groups.into_iter().map(|(at, figures)| place(check, at, &figures)).collect();
            let states: Vec<State> = outcome.places.iter().map(|p| p.state).collect();
            outcome.state = if states.contains(&State::Fails) {
                State::Fails
            } else if states.contains(&State::Unclear) {
                State::Unclear
            } else {
                State::Holds
            };
        }
    }
    outcome
}

fn describe(seeds: Seeds, (word, margin): (&str, Margin)) -> String {
    let who = match seeds {
        Seeds::Mean => "mean over seeds",
        Seeds::Median => "median over seeds",
        Seeds::Every => "every seed",
        Seeds::Once => "observed once",
    };
    match margin {
        Margin::Point => who.to_owned(),
        Margin::Se(k) => format!("{who}, {word} {k} standard errors"),
        Margin::Interval(level) => format!("{who}, {word} its {} % interval", brief(100.0 * level)),
    }
}

/// Seeds that must have observed a check's quantity: as many as its measures need, or all there are.
fn needed(measures: &[Measure], check: &Check, seeds: usize) -> usize {
    let of = |term: &Term| measures.iter().find(|m| m.id == term.measure).map_or(0, |m| m.seeds);
    let least = check.quantity.terms().into_iter().map(of).min().unwrap_or(0);
    usize::try_from(least).unwrap_or(usize::MAX).min(seeds)
}

/// The figures of every group, or why there are none.
fn gather(check: &Check, seeds: &[SeedObservations], needed: usize) -> Result<BTreeMap<At, Values>, String> {
    type Places = Vec<(f64, Option<Spread>)>;
    let mut groups: BTreeMap<At, BTreeMap<u64, Places>> = BTreeMap::new();
    for seed in seeds {
        for (at, value, spread) in paired(check, seed)? {
            let mut group = At::new();
            for key in &check.for_each {
                let place =
                    at.get(key).ok_or_else(|| format!("{} was observed without `{key}`", check.quantity))?;
                group.insert(key.clone(), place.clone());
            }
            groups.entry(group).or_default().entry(seed.seed).or_default().push((value, spread));
        }
    }
    if groups.is_empty() {
        let place = if check.filter.is_empty() { "" } else { " where the check asks for it" };
        return Err(format!("{} was not observed{place}", check.quantity));
    }
    if check.seeds == Seeds::Once && groups.values().any(|seeds| seeds.len() > 1) {
        return Err(format!(
            "{} is a measure that is observed once, but several seeds observed it",
            check.quantity
        ));
    }
    // A mean over the seeds that happened to see something is a mean over a choice.
    if let Some((at, some)) = groups.iter().find(|(_, some)| some.len() < needed) {
        let place = if at.is_empty() { String::new() } else { format!(" at {}", show_at(at)) };
        let (some, quantity) = (some.len(), &check.quantity);
        return Err(format!("{quantity} was observed{place} in {some} of {needed} seeds"));
    }
    Ok(groups.into_iter().map(|(at, seeds)| (at, Values::of(seeds.into_values()))).collect())
}

type Paired = Vec<(At, f64, Option<Spread>)>;

/// The quantity of one seed at every place where all its terms were observed.
fn paired(check: &Check, seed: &SeedObservations) -> Result<Paired, String> {
    let matching = |term: &Term| -> BTreeMap<&At, &Observation> {
        seed.observations
            .iter()
            .filter(|o| o.measure == term.measure && o.arm == term.arm)
            .filter(|o| {
                check.filter.iter().all(|(key, filter)| o.at.get(key).is_some_and(|p| filter.admits(p)))
            })
            .map(|o| (&o.at, o))
            .collect()
    };
    let (a, b) = match &check.quantity {
        Quantity::Value(term) => {
            return Ok(matching(term)
                .into_iter()
                .map(|(at, o)| (at.clone(), o.value, o.spread.clone()))
                .collect());
        }
        Quantity::Difference([a, b]) | Quantity::Ratio([a, b]) => (a, b),
    };
    let (left, right) = (matching(a), matching(b));
    if let Some(at) = left
        .keys()
        .find(|at| !right.contains_key(*at))
        .or_else(|| right.keys().find(|at| !left.contains_key(*at)))
    {
        let (there, absent) = if left.contains_key(*at) { (a, b) } else { (b, a) };
        let place = if at.is_empty() { String::new() } else { format!(" at {}", show_at(at)) };
        return Err(format!("seed {}{place}: {there} was observed but {absent} was not", seed.seed));
    }
    let ratio = matches!(check.quantity, Quantity::Ratio(_));
    let mut pairs = Vec::with_capacity(left.len());
    for (at, x) in left {
        let y = right[at];
        if ratio && y.value == 0.0 {
            return Err(format!("seed {}: {b} is 0, there is no ratio", seed.seed));
        }
        let value = if ratio { x.value / y.value } else { x.value - y.value };
        pairs.push((at.clone(), value, combine_spread(ratio, x, y)));
    }
    Ok(pairs)
}

/// Draws of the same length belong together; standard errors are taken as independent (delta method for a ratio).
fn combine_spread(ratio: bool, x: &Observation, y: &Observation) -> Option<Spread> {
    if let (Some(Spread::Draws(a)), Some(Spread::Draws(b))) = (&x.spread, &y.spread)
        && a.len() == b.len()
    {
        return Some(Spread::Draws(
            a.iter().zip(b).map(|(a, b)| if ratio { a / b } else { a - b }).collect(),
        ));
    }
    let (a, b) = (spread_se(x.spread.as_ref())?, spread_se(y.spread.as_ref())?);
    let se = if ratio {
        let r = x.value / y.value;
        ((a / y.value).powi(2) + (r * b / y.value).powi(2)).sqrt()
    } else {
        a.hypot(b)
    };
    Some(Spread::Se(se))
}

fn place(check: &Check, at: At, figures: &Values) -> PlaceOutcome {
    let (margin, lenient) = match (check.beyond, check.within) {
        (Some(margin), _) => (margin, false),
        (None, Some(margin)) => (margin, true),
        (None, None) => (Margin::Point, false),
    };
    let level = if let Margin::Interval(level) = margin { level } else { 0.95 };
    let summary = summarise(check.seeds, figures, level);
    let shown =
        if (level - 0.95).abs() < 1e-12 { summary.clone() } else { summarise(check.seeds, figures, 0.95) };
    let range = match margin {
        Margin::Point => Some((summary.value, summary.value)),
        Margin::Se(k) => summary.se.map(|se| (summary.value - k * se, summary.value + k * se)),
        Margin::Interval(_) => summary.interval.map(|[low, high]| (low, high)),
    };
    let state = place_state(check, figures, range, lenient);
    let right = |null: f64| match check.seeds {
        Seeds::Every => figures.values().iter().all(|v| check.test.right_side(*v, null)),
        _ => check.test.right_side(summary.value, null),
    };
    PlaceOutcome {
        at,
        value: shown.value,
        interval: shown.interval,
        se: shown.se,
        seeds: figures.values().len(),
        state,
        detectable: summary.detectable,
        right_side: check.null.map(right),
    }
}

/// Holds the margin of error (`None`: there is none) against the test.
fn place_state(check: &Check, figures: &Values, range: Option<(f64, f64)>, lenient: bool) -> State {
    let decided = |holds: bool| if holds { State::Holds } else { State::Fails };
    if check.seeds == Seeds::Every {
        return decided(figures.values().iter().all(|v| check.test.passes(*v)));
    }
    let Some((low, high)) = range else { return State::Unclear };
    let (all, some) = (check.test.passes_all(low, high), check.test.passes_some(low, high));
    if lenient || all == some { decided(some) } else { State::Unclear }
}

#[cfg(test)]
#[path = "verdict_tests.rs"]
mod tests;
