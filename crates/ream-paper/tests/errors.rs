//! Errors of `paper.toml` name file, line and key, and say what would be right; nothing makes the parser panic.

use proptest::prelude::*;
use ream_paper::{Paper, Rule};

const GOOD: &str = r#"slug = "toy"
number = 1
title = "A toy"
date = "2024-05-01"
kind = "method"
family = "language"
topic = "toys"
line = "One line."
summary = "Two lines."

[[measures]]
id = "loss"
unit = "nats"
better = "lower"
seeds = 3
text = "query loss"

[[claims]]
id = "c1"
kind = "finding"
statement = "It is small."
metric = "loss"
compares = "toy vs real"
rule_text = "smaller"
scale = "paper"
paper_figure = { text = "10", source = "abstract" }
holds = { all = ["smaller", { at_least = 2, of = "smaller" }] }

[[claims.checks]]
id = "smaller"
quantity = { ratio = ["loss@toy", "loss@real"] }
for_each = ["place"]
where = { alpha = { min = 0.5, max = 1 }, group = ["a", "b"], w = 1.0 }
seeds = "mean"
beyond = { interval = 0.95 }
test = "< 1"
null = 1

[[deviations]]
paper = "big"
here = "small"
why = "time"
affects = ["c1"]
"#;

#[allow(clippy::unwrap_used, reason = "only called by tests")]
fn error(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "the test's own text has no `{from}`");
    Paper::parse("toy/paper.toml", &GOOD.replacen(from, to, 1)).unwrap_err().to_string()
}

#[test]
fn the_good_text_is_good_and_survives_json() {
    let paper = Paper::parse("x", GOOD).unwrap();
    let claim = &paper.claims[0];
    assert_eq!(claim.holds.as_ref().unwrap().checks(), ["smaller"]);
    assert_eq!(claim.holds.as_ref().unwrap().to_string(), "smaller and smaller in at least 2 places");
    let json = serde_json::to_string(&paper).unwrap();
    assert_eq!(serde_json::from_str::<Paper>(&json).unwrap(), paper);
}

#[test]
fn errors_say_where_and_what() {
    let cases = [
        ("slug = \"toy\"", "slug = \"Toy\"", ":1: slug: ", "got `Toy`"),
        ("number = 1", "number = \"one\"", ":2: number: ", "invalid type"),
        ("date = \"2024-05-01\"", "date = \"2024-5-1\"", ":4: date: ", "2024-05-01"),
        ("family = \"language\"", "family = \"langage\"", ":6: family: ", "expected one of"),
        ("topic", "topc", ":7: topc: ", "unknown field"),
        ("summary = \"Two lines.\"", "summary = \"\"", ":9: summary: ", "must not be empty"),
        ("better = \"lower\"", "better = \"less\"", "measures[1].better: ", "expected one of"),
        ("id = \"c1\"", "id = \"first\"", "claims[1].id: ", "for instance `c1`"),
        ("[\"smaller\", {", "[\"smalle\", {", ":27: claims[1].holds: ", "no check `smalle`"),
        ("at_least = 2", "at_least = 0", "claims[1].holds", "from 1"),
        ("loss@toy", "los@toy", "claims[1].checks[1].quantity: ", "no measure `los`"),
        ("test = \"< 1\"", "test = \"below 1\"", "claims[1].checks[1].test: ", "`< 0`"),
        ("seeds = \"mean\"", "seeds = \"once\"", "claims[1].checks[1].seeds: ", "`once`"),
        ("{ interval = 0.95 }", "{ interval = 95 }", "claims[1].checks[1].beyond", "0 < interval < 1"),
        ("affects = [\"c1\"]", "affects = [\"c2\"]", "deviations[1].affects: ", "no claim `c2`"),
        ("for_each = [\"place\"]", "", "claims[1].holds: ", "for_each"),
    ];
    for (from, to, place, what) in cases {
        let message = error(from, to);
        assert!(message.starts_with("toy/paper.toml:"), "{message}");
        assert!(message.contains(place), "wanted `{place}` in: {message}");
        assert!(message.contains(what), "wanted `{what}` in: {message}");
    }
}

#[test]
fn text_that_is_not_toml_has_a_line() {
    let message = Paper::parse("p", "slug = \"a\"\nnumber = = 2\n").unwrap_err().to_string();
    assert!(message.starts_with("p:2: "), "{message}");
}

#[test]
fn report_only_needs_no_checks() {
    let text = GOOD.replace(
        "holds = { all = [\"smaller\", { at_least = 2, of = \"smaller\" }] }",
        "holds = \"report-only\"",
    );
    assert_eq!(Paper::parse("p", &text).unwrap().claims[0].holds, Some(Rule::ReportOnly));
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>()) {
        let _ = Paper::parse("p", &text);
    }

    #[test]
    fn no_damage_makes_it_panic(at in 0..GOOD.len(), len in 0usize..30, put in "[\\x00-\\x7f]{0,8}") {
        let end = (at + len).min(GOOD.len());
        let text = format!("{}{put}{}", &GOOD[..at], &GOOD[end..]);
        if let Err(error) = Paper::parse("p", &text) {
            prop_assert!(error.line >= 1 && !error.problem.is_empty());
        }
    }
}
