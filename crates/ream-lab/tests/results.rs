//! Published results: when they are stale, when a rule has changed under them, what a damaged file says.

use std::collections::BTreeMap;

use ream_lab::{
    Code, Machine, Observation, Preset, RESULTS_FORMAT, Results, SeedObservations, SmokeDigest, Verdict,
    digest, rule_hash,
};
use ream_paper::Paper;

const PAPER: &str = r#"
slug = "toy"
number = 1
title = "T"
kind = "method"
family = "causal"
topic = "t"
line = "l"
summary = "s"
measures = [{ id = "loss", unit = "1", better = "lower", seeds = 2, text = "x" }]
[[claims]]
id = "c1"
kind = "finding"
statement = "small"
metric = "loss"
rule_text = "below 1"
scale = "paper"
paper_figure = { text = "f", source = "abstract" }
holds = "small"
[[claims.checks]]
id = "small"
quantity = { value = "loss@toy" }
seeds = "mean"
test = "< 1"
"#;

#[allow(clippy::unwrap_used, reason = "only called by tests")]
fn paper(text: &str) -> Paper {
    Paper::parse("toy", text).unwrap()
}

fn code(sources: &str, substrate: &str) -> Code {
    Code { sources: sources.into(), substrate: substrate.into(), clean: true, ..Code::default() }
}

fn seen(value: f64) -> Vec<SeedObservations> {
    let observation =
        Observation { measure: "loss".into(), arm: "toy".into(), at: BTreeMap::new(), value, spread: None };
    vec![
        SeedObservations { seed: 1, observations: vec![observation.clone()] },
        SeedObservations { seed: 2, observations: vec![observation] },
    ]
}

fn results() -> Results {
    let paper = paper(PAPER);
    Results {
        format: RESULTS_FORMAT,
        paper: "toy".into(),
        run: "toy-1".into(),
        date: "2024-01-01".into(),
        preset: Preset::Full,
        config: serde_json::json!({}),
        config_hash: String::new(),
        threads: 1,
        minutes: 1.0,
        command: "ream run toy --preset full".into(),
        code: code("a", "b"),
        machine: Machine::default(),
        isa: "x".into(),
        data: BTreeMap::new(),
        scaled: Vec::new(),
        smoke: SmokeDigest { isa: "x".into(), digest: "d".into() },
        rules: paper.claims.iter().map(|c| (c.id.clone(), rule_hash(c))).collect(),
        verdicts: BTreeMap::new(),
        previous: Vec::new(),
        observations: seen(0.5),
    }
}

#[test]
fn a_result_is_stale_when_its_own_code_changed_and_the_smoke_run_decides_for_the_rest() {
    let results = results();
    let smoke = |isa: &str, digest: &str| SmokeDigest { isa: isa.into(), digest: digest.into() };
    assert_eq!(results.stale(&code("a", "b"), None), Some(false));
    assert_eq!(results.stale(&code("other", "b"), Some(&smoke("x", "d"))), Some(true));
    assert_eq!(results.stale(&code("a", "other"), None), None, "nobody tried");
    assert_eq!(results.stale(&code("a", "other"), Some(&smoke("x", "d"))), Some(false));
    assert_eq!(results.stale(&code("a", "other"), Some(&smoke("x", "e"))), Some(true));
    assert_eq!(
        results.stale(&code("a", "other"), Some(&smoke("y", "d"))),
        None,
        "digests of two instruction sets say nothing"
    );
}

#[test]
fn a_rule_that_changed_after_the_run_gives_no_verdict() {
    let results = results();
    let claims = results.claims(&paper(PAPER), Some(false));
    assert_eq!((claims[0].verdict, claims[0].measured, claims[0].seeds), (Verdict::Confirmed, Some(0.5), 2));
    for (from, to) in
        [("< 1", "< 2"), ("\"below 1\"", "\"below 2\""), ("statement = \"small\"", "statement = \"smaller\"")]
    {
        let changed = paper(&PAPER.replace(from, to));
        let claims = results.claims(&changed, Some(false));
        assert_eq!(
            (claims[0].verdict, claims[0].reason.as_str()),
            (Verdict::NotTested, "rule changed after the run"),
            "{from}"
        );
    }
    let words = paper(&PAPER.replace("summary = \"s\"", "summary = \"another\""));
    assert_eq!(results.claims(&words, None)[0].verdict, Verdict::Confirmed, "a summary is no rule");
}

#[test]
fn results_survive_the_disk_and_damage_is_named() {
    let results = results();
    let text = serde_json::to_string(&results).unwrap();
    assert_eq!(Results::parse("r.json", &text).unwrap(), results);
    let damaged = Results::parse("r.json", &text[..text.len() / 2]).unwrap_err();
    assert!(damaged.to_string().contains("r.json: damaged results") && damaged.exit_code() == 2, "{damaged}");
    let newer = text.replace("\"format\":1", "\"format\":2");
    assert!(Results::parse("r.json", &newer).unwrap_err().to_string().contains("newer version"));
}

#[test]
fn a_digest_knows_every_value() {
    let one = digest(&seen(0.5)).unwrap();
    assert_eq!(one, digest(&seen(0.5)).unwrap());
    assert_ne!(one, digest(&seen(0.5 + f64::EPSILON)).unwrap());
}
