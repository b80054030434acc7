//! Every rule from observations to verdict, each by a small case.

use ream_paper::{Paper, Scale};

use super::*;
use crate::Place;

/// Judged by the measures of the paper below.
fn judge(claim: &Claim, seeds: &[SeedObservations]) -> Outcome {
    super::judge(&paper("", "\"report-only\"", "paper").measures, claim, seeds)
}

/// A claim with one check, from the check's TOML.
fn claim(check: &str, holds: &str, scale: &str) -> Claim {
    paper(check, holds, scale).claims.remove(0)
}

fn paper(check: &str, holds: &str, scale: &str) -> Paper {
    let text = format!(
        r#"
slug = "t"
number = 1
title = "T"
date = "2024-01-01"
kind = "method"
family = "causal"
topic = "t"
line = "l"
summary = "s"
[[measures]]
id = "loss"
unit = "1"
better = "lower"
seeds = 3
text = "x"
[[measures]]
id = "once"
unit = "1"
better = "lower"
seeds = 0
text = "x"
[[claims]]
id = "c1"
kind = "finding"
statement = "s"
metric = "m"
rule_text = "r"
scale = "{scale}"
paper_figure = {{ text = "f", source = "abstract" }}
holds = {holds}
{check}
"#
    );
    Paper::parse("t", &text).unwrap()
}

fn check(body: &str) -> String {
    format!("[[claims.checks]]\nid = \"a\"\n{body}")
}

fn judged(body: &str, seeds: &[SeedObservations]) -> Outcome {
    judge(&claim(&check(body), "\"a\"", "paper"), seeds)
}

fn seen(arm: &str, at: &[(&str, Place)], value: f64) -> Observation {
    let at = at.iter().map(|(k, p)| ((*k).to_owned(), p.clone())).collect();
    Observation { measure: "loss".into(), arm: arm.into(), at, value, spread: None }
}

/// One observation `loss@x` for each seed.
fn seeds(values: &[f64]) -> Vec<SeedObservations> {
    values
        .iter()
        .enumerate()
        .map(|(i, v)| SeedObservations { seed: i as u64 + 1, observations: vec![seen("x", &[], *v)] })
        .collect()
}

const VALUE: &str = "quantity = { value = \"loss@x\" }\nseeds = \"mean\"\n";

#[test]
fn holding_is_confirmed_at_the_scale_of_the_experiment() {
    let values = seeds(&[1.0, 2.0, 3.0]);
    assert_eq!(judged(&format!("{VALUE}test = \"< 2.5\""), &values).verdict, Verdict::Confirmed);
    let reduced = claim(&check(&format!("{VALUE}test = \"< 2.5\"")), "\"a\"", "reduced");
    assert_eq!(reduced.scale, Scale::Reduced);
    assert_eq!(judge(&reduced, &values).verdict, Verdict::ConfirmedAtReducedScale);
}

#[test]
fn failing_on_the_right_side_of_no_effect_is_direction_only() {
    let values = seeds(&[0.8, 0.9, 0.85]);
    let outcome = judged(&format!("{VALUE}test = \"<= 0.5\"\nnull = 1"), &values);
    assert_eq!(outcome.verdict, Verdict::DirectionOnly);
    assert!(outcome.reason.contains("0.85") && outcome.reason.contains("<= 0.5"), "{}", outcome.reason);
    assert_eq!(
        judged(&format!("{VALUE}test = \"<= 0.5\"\nnull = 0.7"), &values).verdict,
        Verdict::NotConfirmed
    );
    assert_eq!(judged(&format!("{VALUE}test = \"<= 0.5\""), &values).verdict, Verdict::NotConfirmed);
}

#[test]
fn a_margin_that_straddles_is_inconclusive_and_says_what_could_be_seen() {
    // mean 2, t interval [-0.48, 4.48]
    let values = seeds(&[1.0, 2.0, 3.0]);
    let outcome = judged(&format!("{VALUE}beyond = {{ interval = 0.95 }}\ntest = \"> 1\""), &values);
    assert_eq!(outcome.verdict, Verdict::Inconclusive);
    assert!(outcome.checks[0].places[0].detectable.unwrap() > 1.0);
    assert!(outcome.reason.contains("straddles > 1"), "{}", outcome.reason);
    // One standard error is 0.577: 2 - 0.577 > 1.
    assert_eq!(
        judged(&format!("{VALUE}beyond = {{ se = 1 }}\ntest = \"> 1\""), &values).verdict,
        Verdict::Confirmed
    );
    assert_eq!(
        judged(&format!("{VALUE}beyond = {{ se = 1 }}\ntest = \"> 3\""), &values).verdict,
        Verdict::NotConfirmed
    );
    // One seed gives no interval at all.
    let outcome = judged(&format!("{VALUE}beyond = {{ se = 1 }}\ntest = \"> 1\""), &seeds(&[2.0]));
    assert_eq!(outcome.verdict, Verdict::Inconclusive);
}

#[test]
fn within_asks_only_for_one_value_of_the_margin() {
    let values = seeds(&[1.0, 2.0, 3.0]);
    assert_eq!(
        judged(&format!("{VALUE}within = {{ se = 1 }}\ntest = \">= 2.5\""), &values).verdict,
        Verdict::Confirmed
    );
    assert_eq!(
        judged(&format!("{VALUE}within = {{ se = 1 }}\ntest = \">= 2.6\""), &values).verdict,
        Verdict::NotConfirmed
    );
}

#[test]
fn every_seed_must_pass() {
    let body = "quantity = { value = \"loss@x\" }\nseeds = \"every\"\ntest = \"< 2.5\"\nnull = 4";
    assert_eq!(judged(body, &seeds(&[1.0, 2.0])).verdict, Verdict::Confirmed);
    assert_eq!(judged(body, &seeds(&[1.0, 3.0])).verdict, Verdict::DirectionOnly);
    assert_eq!(judged(body, &seeds(&[1.0, 5.0])).verdict, Verdict::NotConfirmed);
}

#[test]
fn what_only_some_seeds_saw_is_not_judged() {
    let body = format!("{VALUE}test = \"< 0.5\"");
    let mut all = seeds(&[0.1, 0.2, 0.3]);
    assert_eq!(judged(&body, &all).verdict, Verdict::Confirmed);
    all[1].observations.clear();
    let outcome = judged(&body, &all);
    assert_eq!(outcome.verdict, Verdict::NotTested);
    assert_eq!(outcome.reason, "loss@x was observed in 2 of 3 seeds");
    assert!(outcome.checks[0].places.is_empty());
    // A fourth seed is more than the measure needs.
    let mut all = seeds(&[0.1, 0.2, 0.3, 0.4]);
    all[3].observations.clear();
    assert_eq!(judged(&body, &all).verdict, Verdict::Confirmed);
    // Of several places the one that is not complete is named.
    let mut all = environments(&[("a", 0.5, 0.1), ("b", 0.5, 0.2)]);
    all.push(SeedObservations { seed: 2, observations: vec![all[0].observations[0].clone()] });
    let outcome = judged(&format!("{body}\nfor_each = [\"environment\"]"), &all);
    assert_eq!(outcome.reason, "loss@x was observed at environment = b in 1 of 2 seeds");
}

#[test]
fn the_median_is_not_the_mean() {
    let body = "quantity = { value = \"loss@x\" }\nseeds = \"median\"\ntest = \"< 2.5\"";
    assert_eq!(judged(body, &seeds(&[1.0, 2.0, 90.0])).verdict, Verdict::Confirmed);
}

fn two_arms(pairs: &[(f64, f64)]) -> Vec<SeedObservations> {
    pairs
        .iter()
        .enumerate()
        .map(|(i, (x, y))| SeedObservations {
            seed: i as u64,
            observations: vec![seen("x", &[], *x), seen("y", &[], *y)],
        })
        .collect()
}

#[test]
fn differences_and_ratios_are_paired_by_seed() {
    // The arms vary far more than their difference.
    let pairs = two_arms(&[(1.0, 2.0), (11.0, 12.1), (21.0, 21.9)]);
    let body = "quantity = { difference = [\"loss@x\", \"loss@y\"] }\nseeds = \"mean\"\nbeyond = { interval = 0.95 }\ntest = \"< 0\"";
    let outcome = judged(body, &pairs);
    assert_eq!(outcome.verdict, Verdict::Confirmed);
    assert!((outcome.checks[0].places[0].value + 1.0).abs() < 1e-12);
    let ratio = judged(
        "quantity = { ratio = [\"loss@x\", \"loss@y\"] }\nseeds = \"mean\"\ntest = \"< 1\"",
        &two_arms(&[(1.0, 2.0), (1.0, 4.0)]),
    );
    assert!((ratio.checks[0].places[0].value - 0.375).abs() < 1e-12);
}

#[test]
fn a_partner_that_is_absent_is_named() {
    let mut pairs = two_arms(&[(1.0, 2.0)]);
    pairs[0].observations.pop();
    let outcome = judged(
        "quantity = { difference = [\"loss@x\", \"loss@y\"] }\nseeds = \"mean\"\ntest = \"< 0\"",
        &pairs,
    );
    assert_eq!(outcome.verdict, Verdict::NotTested);
    assert!(outcome.reason.contains("loss@x was observed but loss@y was not"), "{}", outcome.reason);
    let zero = judged(
        "quantity = { ratio = [\"loss@x\", \"loss@y\"] }\nseeds = \"mean\"\ntest = \"< 0\"",
        &two_arms(&[(1.0, 0.0)]),
    );
    assert!(zero.reason.contains("no ratio"), "{}", zero.reason);
}

fn environments(values: &[(&str, f64, f64)]) -> Vec<SeedObservations> {
    let observations = values
        .iter()
        .map(|(name, alpha, v)| seen("x", &[("environment", (*name).into()), ("alpha", (*alpha).into())], *v))
        .collect();
    vec![SeedObservations { seed: 1, observations }]
}

#[test]
fn groups_are_tested_one_by_one_and_other_places_averaged() {
    let values = environments(&[("a", 0.5, 1.0), ("a", 1.0, 3.0), ("b", 0.5, 5.0), ("b", 1.0, 7.0)]);
    let each = judged(&format!("{VALUE}for_each = [\"environment\"]\ntest = \"< 2.5\"\nnull = 9"), &values);
    assert_eq!(each.verdict, Verdict::DirectionOnly);
    assert_eq!(each.checks[0].places.iter().map(|p| p.value).collect::<Vec<_>>(), [2.0, 6.0]);
    assert_eq!(each.headline().unwrap().value, 6.0, "the headline is the place closest to failing");
    let all = judged(&format!("{VALUE}test = \"<= 4\""), &values);
    assert_eq!(all.verdict, Verdict::Confirmed);
    let some = judged(
        &format!(
            "{VALUE}where = {{ alpha = {{ min = 0.4, max = 0.6 }}, environment = [\"a\", \"c\"] }}\ntest = \"in [1, 1]\""
        ),
        &values,
    );
    assert_eq!(some.verdict, Verdict::Confirmed);
    let absent = judged(&format!("{VALUE}where = {{ environment = \"z\" }}\ntest = \"< 1\""), &values);
    assert_eq!(
        (absent.verdict, absent.reason.as_str()),
        (Verdict::NotTested, "loss@x was not observed where the check asks for it")
    );
    let unknown = judged(&format!("{VALUE}for_each = [\"nowhere\"]\ntest = \"< 1\""), &values);
    assert!(unknown.reason.contains("without `nowhere`"), "{}", unknown.reason);
}

#[test]
fn at_least_counts_places() {
    let values = environments(&[("a", 1.0, 1.0), ("b", 1.0, 1.0), ("c", 1.0, 9.0)]);
    let body = check(&format!("{VALUE}for_each = [\"environment\"]\ntest = \"< 2\""));
    let two = judge(&claim(&body, "{ at_least = 2, of = \"a\" }", "paper"), &values);
    assert_eq!(two.verdict, Verdict::Confirmed);
    let three = judge(&claim(&body, "{ at_least = 3, of = \"a\" }", "paper"), &values);
    assert_eq!(three.verdict, Verdict::NotConfirmed);
}

/// Three checks with the states holds, fails, unclear.
fn three(holds: &str) -> Verdict {
    let body = |id: &str, rest: &str| format!("[[claims.checks]]\nid = \"{id}\"\n{VALUE}{rest}\n");
    let checks = body("h", "test = \"> 1\"")
        + &body("f", "test = \"> 9\"")
        + &body("u", "beyond = { interval = 0.95 }\ntest = \"> 1\"");
    let unused = ["h", "f", "u"]
        .iter()
        .filter(|id| !holds.contains(&format!("\"{id}\"")))
        .map(|id| format!("\"{id}\""))
        .collect::<Vec<_>>();
    // Every check has to be used; those that the case does not name are joined so that they cannot decide.
    let rule = if unused.is_empty() {
        holds.to_owned()
    } else {
        format!("{{ any = [{holds}, {{ all = [{}, \"f\"] }}] }}", unused.join(", "))
    };
    judge(&claim(&checks, &rule, "paper"), &seeds(&[1.0, 2.0, 3.0])).verdict
}

#[test]
fn kleene_logic_combines_checks() {
    assert_eq!(three("{ all = [\"h\", \"u\"] }"), Verdict::Inconclusive);
    assert_eq!(three("{ all = [\"h\", \"u\", \"f\"] }"), Verdict::NotConfirmed);
    assert_eq!(three("{ any = [\"h\", \"u\", \"f\"] }"), Verdict::Confirmed);
    assert_eq!(three("{ any = [\"u\", \"f\"] }"), Verdict::Inconclusive);
    assert_eq!(three("{ at_least = 2, of = [\"h\", \"u\", \"f\"] }"), Verdict::Inconclusive);
    assert_eq!(three("{ at_least = 3, of = [\"h\", \"u\", \"f\"] }"), Verdict::NotConfirmed);
    assert_eq!(three("{ at_least = 1, of = [\"h\", \"u\", \"f\"] }"), Verdict::Confirmed);
}

#[test]
fn report_only_shows_figures_and_gives_no_verdict() {
    let outcome =
        judge(&claim(&check(&format!("{VALUE}test = \"< 9\"")), "\"report-only\"", "paper"), &seeds(&[1.0]));
    assert_eq!((outcome.verdict, outcome.reason.as_str()), (Verdict::NotTested, "no threshold stated"));
    assert_eq!(outcome.headline().unwrap().value, 1.0);
}

#[test]
fn a_measure_observed_once_uses_its_own_spread() {
    let body = "quantity = { difference = [\"once@x\", \"once@y\"] }\nseeds = \"once\"\nbeyond = { interval = 0.95 }\ntest = \"> 0\"";
    let one = |arm: &str, value: f64, spread: Spread| Observation {
        measure: "once".into(),
        arm: arm.into(),
        at: At::new(),
        value,
        spread: Some(spread),
    };
    let draws = |shift: f64| Spread::Draws((0..100).map(|i| f64::from(i) + shift).collect());
    // The draws vary by 100 but always differ by exactly 1: draws at the same position belong together.
    let together = vec![SeedObservations {
        seed: 1,
        observations: vec![one("x", 51.0, draws(1.0)), one("y", 50.0, draws(0.0))],
    }];
    assert_eq!(judged(body, &together).verdict, Verdict::Confirmed);
    let apart = vec![SeedObservations {
        seed: 1,
        observations: vec![one("x", 51.0, Spread::Se(30.0)), one("y", 50.0, Spread::Se(30.0))],
    }];
    assert_eq!(judged(body, &apart).verdict, Verdict::Inconclusive);
    let twice = vec![together[0].clone(), SeedObservations { seed: 2, ..together[0].clone() }];
    assert_eq!(judged(body, &twice).verdict, Verdict::NotTested);
}

#[test]
fn figures_are_shown_briefly() {
    for (value, text) in [
        (0.0, "0"),
        (0.98765, "0.9877"),
        (12.3456, "12.35"),
        (1234.5, "1234"),
        (0.000_02, "2.00e-5"),
        (-0.5, "-0.5"),
        (0.001, "0.001"),
        (2e9, "2.00e9"),
    ] {
        assert_eq!(brief(value), text, "{value}");
    }
}
