//! A paper and its system, small enough to be run in every test, and the worker that this test program also is.

use std::path::Path;
use std::sync::Arc;

use ream_lab::{
    AnySystem, Build, Edition, Embedded, Error, FamilyPapers, Figure, Invalid, Layer, Needs, Panel, Preset,
    Run, RunDir, System, Table,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::payloads::payloads;

/// `@` stands where a hostile paper has its payloads.
const PAPER: &str = r#"
slug = "probe"
number = 1
title = "A probe @"
date = "2024-01-01"
kind = "method"
family = "causal"
topic = "tests @"
line = "l @"
summary = "s @"
[[measures]]
id = "sum"
unit = "1 @"
better = "neither"
seeds = 2
text = "sum of the numbers drawn @"
[[claims]]
id = "c1"
kind = "finding"
statement = "the sum is positive @"
metric = "sum @"
rule_text = "> 0 @"
scale = "paper"
paper_figure = { text = "- @", source = "none @" }
holds = "positive"
[[claims.checks]]
id = "positive"
quantity = { value = "sum@probe" }
seeds = "mean"
test = "> 0"
[[deviations]]
paper = "more steps @"
here = "few steps @"
why = "it is a test @"
affects = ["c1"]
"#;

/// Draws numbers, slowly where it is told to.
struct Probe;

/// How it walks.
#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Gait {
    Slow,
    Fast,
}

#[derive(Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Steps of a walk.
    steps: u64,
    /// Milliseconds of each step.
    pause: u64,
    /// How it walks.
    gait: Gait,
    /// Where to.
    rate: Option<f64>,
    /// Fails at the end of this seed, until `mended` is there.
    fail_seed: Option<u64>,
    /// Tells everything that a page could trip over.
    hostile: bool,
}

impl System for Probe {
    const PAPER: &'static str = "probe";
    type Config = Config;
    fn preset(preset: Preset) -> Config {
        let steps = if preset == Preset::Smoke { 20 } else { 200 };
        Config { steps, pause: 1, gait: Gait::Slow, rate: None, fail_seed: None, hostile: false }
    }
    fn seeds(_: Preset) -> u64 {
        2
    }
    fn check(config: &Config) -> Result<(), Invalid> {
        Invalid::unless_in("steps", config.steps, 1..=100_000)
    }
    fn needs(_: &Config) -> Needs {
        Needs { minutes: 0.01, memory_mib: 20, ..Needs::default() }
    }
    fn check_data(_: &Config, file: &Path) -> Result<(), Error> {
        let table = ream_data::Table::open(file)?;
        table.numbers("x")?;
        Ok(())
    }
    fn run(config: &Config, run: &mut Run) -> Result<(), Error> {
        if config.hostile {
            tell_payloads(run)?;
        }
        let (mut step, mut sum) = run.resume::<(u64, f64)>()?.unwrap_or((0, 0.0));
        let stream = run.stream("walk");
        while step < config.steps {
            run.progress(step as f64 / config.steps as f64, "walking")?;
            sum += stream.at(step).uniform();
            step += 1;
            run.metric("sum", step, sum);
            run.save(&(step, sum))?;
            std::thread::sleep(std::time::Duration::from_millis(config.pause));
        }
        if config.fail_seed == Some(run.seed()) && !ream_lab::home().join("mended").exists() {
            return Err(Error::failed("told to fail"));
        }
        run.table(Table::new("Steps", &["what", "n"]).row(vec!["walk".into(), step.into()]));
        run.figure(
            "walk",
            Figure::new("Walk", "Where it went.").panel(Panel::new("p").layer(Layer::line(
                "l",
                vec![0.0, 1.0],
                vec![1.0, 2.0],
            ))),
        )?;
        run.observe("sum", "probe", &[], sum);
        Ok(())
    }
}

fn tell_payloads(run: &mut Run) -> Result<(), Error> {
    let all = payloads();
    let text = all.join(" ");
    for (step, payload) in all.iter().enumerate() {
        run.metric(payload, step as u64, 1.0);
        run.warn(payload.as_str());
        run.sample(payload, payload);
    }
    run.sample("all", &text);
    let row = vec![text.as_str().into(), 1.0.into()];
    let mut table = Table::new(text.clone(), &[&text, &text]).row(row);
    table.note.clone_from(&text);
    run.table(table);
    let line = Layer::line(text.clone(), vec![0.0, 1.0], vec![1.0, 2.0]);
    let panel = Panel::new(text.clone()).x(text.clone()).y(text.clone()).layer(line);
    let images = Layer::Images {
        width: 1,
        height: 1,
        pixels: vec![vec![0, 0, 0]],
        captions: vec![text.clone()],
        columns: 1,
    };
    let figure = Figure::new(text.clone(), text.clone()).panel(panel).panel(Panel::new(text).layer(images));
    run.figure("hostile", figure)
}

/// An edition of that one paper.
pub fn edition(hostile: bool) -> Arc<Edition> {
    let text = if hostile { payloads().join(" ") } else { String::new() };
    let quoted = toml::Value::String(text).to_string();
    // The text goes into quoted strings: only its escapes are wanted.
    let inner = basic(&quoted);
    let toml: &'static str = Box::leak(
        PAPER.replace('@', &inner).replace(&format!("sum{inner}probe"), "sum@probe").into_boxed_str(),
    );
    let embedded =
        Embedded { slug: "probe", file: "probe/paper.toml", toml, result: None, sources: "probe-sources" };
    let papers: &'static [Embedded] = Box::leak(vec![embedded].into_boxed_slice());
    let family = FamilyPapers { papers, systems: vec![AnySystem::new::<Probe>()] };
    let build = Build { version: "0.0.0", commit: "c0ffee", clean: true, substrate: "probe-substrate" };
    Arc::new(Edition::load(vec![family], build).unwrap())
}

/// A text as it stands in a basic string of TOML.
fn basic(text: &str) -> String {
    let text: String =
        toml::from_str::<toml::Table>(&format!("t = {text}")).unwrap()["t"].as_str().unwrap().to_owned();
    let json = serde_json::to_string(&text).unwrap();
    json[1..json.len() - 1].to_owned()
}

/// One seed, in a process of its own.
pub fn worker(dir: &Path, seed: u64, threads: usize) -> Result<(), Error> {
    let (dir, record) = RunDir::open(dir)?;
    let edition = edition(false);
    let (entry, system) = edition.system("probe")?;
    ream_lab::work(&dir, &record, &entry.paper, &system, seed, threads)
}
