//! `--config` and `--set`: typed by the schema, with the nearest key suggested; nothing makes them panic.

use std::collections::BTreeMap;

use proptest::prelude::*;
use ream_lab::{AnySystem, Error, Invalid, Needs, Preset, Run, System, change};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

struct Toy;

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// How many steps.
    steps: u64,
    /// Learning rate.
    rate: f64,
    /// Which method.
    method: Method,
    /// Name of a column.
    target: String,
    /// A fixed rate, tuned when left out.
    eta: Option<f64>,
    /// Sizes to try.
    sizes: Vec<u64>,
    /// The inner part.
    inner: Inner,
    /// Whether to be loud.
    loud: bool,
    /// Prices by name.
    prices: BTreeMap<String, f64>,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Inner {
    /// Depth.
    depth: u32,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Method {
    /// Plain.
    GradientDescent,
    /// Better.
    Newton,
}

impl System for Toy {
    const PAPER: &'static str = "toy";
    type Config = Config;
    fn preset(_: Preset) -> Config {
        Config {
            steps: 10,
            rate: 0.1,
            method: Method::Newton,
            target: "y".into(),
            eta: None,
            sizes: vec![1, 2],
            inner: Inner { depth: 3 },
            loud: false,
            prices: BTreeMap::new(),
        }
    }
    fn seeds(_: Preset) -> u64 {
        1
    }
    fn check(config: &Config) -> Result<(), Invalid> {
        Invalid::unless_in("steps", config.steps, 1..=100)?;
        Invalid::unless_in("inner.depth", config.inner.depth, 1..=9)
    }
    fn needs(_: &Config) -> Needs {
        Needs::default()
    }
    fn run(_: &Config, _: &mut Run) -> Result<(), Error> {
        Ok(())
    }
}

fn toy() -> AnySystem {
    AnySystem::new::<Toy>()
}

fn set(sets: &[&str]) -> Result<Value, Error> {
    let sets: Vec<String> = sets.iter().map(|s| (*s).to_owned()).collect();
    let changed = change(&toy().schema(), toy().preset(Preset::Smoke)?, None, &sets)?;
    toy().prepare(&changed).map(|(config, _)| config)
}

#[test]
fn values_are_read_by_the_type_of_their_key() {
    let config = set(&[
        "steps=7",
        "rate=1",
        "method=gradient-descent",
        "target=price",
        "eta=0.5",
        "sizes=[3, 4]",
        "inner.depth=2",
        "loud=true",
        "prices.apple=2",
    ])
    .unwrap();
    assert_eq!(
        config,
        json!({"steps": 7, "rate": 1.0, "method": "gradient-descent", "target": "price", "eta": 0.5, "sizes": [3, 4],
               "inner": {"depth": 2}, "loud": true, "prices": {"apple": 2.0}})
    );
}

#[test]
fn errors_name_the_key_and_what_would_be_right() {
    let cases = [
        ("stepz=7", "stepz: ", "did you mean `steps`?"),
        ("inner.dept=7", "inner.dept: ", "did you mean `depth`?"),
        ("steps=many", "steps: ", "wanted a whole number, got `many`"),
        ("steps=0", "steps: ", "wanted between 1 and 100, got 0"),
        ("steps=-3", "steps: ", "invalid value"),
        ("rate=fast", "rate: ", "wanted a number"),
        ("rate=inf", "rate: ", "finite"),
        ("method=newtn", "method: ", "did you mean `newton`?"),
        ("loud=yes", "loud: ", "true or false"),
        ("sizes=3", "sizes: ", "a list"),
        ("sizes=[a]", "sizes: ", "TOML value"),
        ("sizes=[-1]", "sizes[0]: ", "invalid value"),
        ("steps", "--set: ", "KEY=VALUE"),
        ("steps.deep=1", "steps.deep: ", "no keys here"),
    ];
    for (text, place, what) in cases {
        let error = set(&[text]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        let message = error.to_string();
        assert!(message.starts_with(place) && message.contains(what), "{text}: {message}");
    }
}

#[test]
fn a_file_is_laid_over_and_checked_too() {
    let base = toy().preset(Preset::Smoke).unwrap();
    let laid =
        change(&toy().schema(), base.clone(), Some(("c.toml", "steps = 3\n[inner]\ndepth = 5\n")), &[])
            .unwrap();
    assert_eq!((laid["steps"].as_u64(), laid["inner"]["depth"].as_u64()), (Some(3), Some(5)));
    let typo = change(&toy().schema(), base.clone(), Some(("c.toml", "[inner]\ndept = 5\n")), &[])
        .unwrap_err()
        .to_string();
    assert!(typo.contains("inner.dept") && typo.contains("did you mean `depth`?"), "{typo}");
    let broken = change(&toy().schema(), base, Some(("c.toml", "steps = 3\nrate = = 2\n")), &[])
        .unwrap_err()
        .to_string();
    assert!(broken.starts_with("c.toml:2: "), "{broken}");
}

proptest! {
    #[test]
    fn no_set_makes_it_panic(text in "[a-z.]{0,12}=?.{0,20}") {
        let _ = set(&[&text]);
    }

    #[test]
    fn no_value_makes_it_panic(value in ".{0,24}", key in prop::sample::select(vec!["steps", "rate", "method", "sizes", "inner", "prices", "eta"])) {
        let _ = set(&[&format!("{key}={value}")]);
    }

    #[test]
    fn no_run_record_makes_it_panic(text in ".{0,200}") {
        let _ = ream_lab::record::parse_record("run.toml".as_ref(), &text);
        let _ = ream_lab::record::parse_record("run.toml".as_ref(), &format!("format = 1\nid = \"x\"\n{text}"));
        let _ = ream_lab::Results::parse("results.json", &text);
    }
}
