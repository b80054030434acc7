//! `cargo xtask new-paper`: the files a paper starts from.

use std::fs;
use std::path::Path;

use crate::shell::{Result, root};

const FAMILIES: [&str; 9] =
    ["language", "decoding", "vision", "multimodal", "shapes", "control", "decisions", "causal", "science"];

/// Words of Rust that a slug may be.
const KEYWORDS: [&str; 12] =
    ["loop", "match", "move", "type", "yield", "box", "do", "gen", "ref", "try", "use", "where"];

/// Writes `papers/<family>/src/<module>/{paper.toml,mod.rs}`; refuses to touch what exists.
pub(crate) fn run(slug: &str, family: &str) -> Result<()> {
    if !FAMILIES.contains(&family) {
        return Err(format!("there is no family `{family}`; they are {}", FAMILIES.join(", ")));
    }
    let good = slug.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && slug.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
    if !good {
        return Err(format!("`{slug}`: lower-case letters, digits and hyphens, a letter first"));
    }
    let mut module = slug.replace('-', "_");
    if KEYWORDS.contains(&module.as_str()) {
        module.push('_');
    }
    let folder = root().join("papers").join(family).join("src").join(&module);
    if folder.exists() {
        return Err(format!("{} exists already", folder.display()));
    }
    fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let number = next_number(&root().join("papers"))?;
    write(&folder.join("paper.toml"), &paper_toml(slug, family, number))?;
    write(&folder.join("mod.rs"), &module_rs(slug, &module))?;
    println!("Next:");
    println!("  1. {}: facts, claims, rules; then measures and checks", folder.join("paper.toml").display());
    println!("  2. papers/{family}/src/lib.rs: `pub mod {module};` and list `{module}::Paper` in `family()`");
    println!("  3. commit the checks before the first full run (CONTRIBUTING.md says why)");
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))?;
    println!("wrote {}", path.display());
    Ok(())
}

/// One more than the largest number in use.
fn next_number(papers: &Path) -> Result<u32> {
    let mut largest = 0;
    for family in FAMILIES {
        let Ok(modules) = fs::read_dir(papers.join(family).join("src")) else { continue };
        for module in modules.flatten() {
            let Ok(text) = fs::read_to_string(module.path().join("paper.toml")) else { continue };
            let number = text
                .lines()
                .find_map(|l| l.strip_prefix("number")?.trim_start().strip_prefix('=')?.trim().parse().ok());
            largest = largest.max(number.unwrap_or(0));
        }
    }
    Ok(largest + 1)
}

fn paper_toml(slug: &str, family: &str, number: u32) -> String {
    format!(
        r#"slug = "{slug}"
number = {number}
title = "Title as printed"
date = "2024-01-01"
kind = "method"
family = "{family}"
topic = "topic"
line = "What it says, in one line."
summary = """
What it says, in a paragraph of our own words.
"""

# What the system observes.
[[measures]]
id = "error"
unit = "1"
better = "lower"
seeds = 3
tolerance = 0.05
text = "what it is"

# A claim: a falsifiable headline statement, its rule in words, and the rule as checks over measures.
[[claims]]
id = "c1"
kind = "finding"
statement = "The system errs less than the baseline."
metric = "error"
compares = "system vs baseline"
rule_text = "lower beyond the 95 % interval"
scale = "reduced"
paper_figure = {{ text = "no figure stated", source = "abstract" }}
holds = "lower"

[[claims.checks]]
id = "lower"
quantity = {{ difference = ["error@system", "error@baseline"] }}
seeds = "mean"
beyond = {{ interval = 0.95 }}
test = "< 0"
null = 0
"#
    )
}

fn module_rs(slug: &str, module: &str) -> String {
    format!(
        r#"//! {slug}: one line (authors, year, arXiv number).
//!
//! The idea in a paragraph, the equations in the paper's symbols.

use ream_lab::{{Invalid, Needs, Preset, Result, Run, System}};
use schemars::JsonSchema;
use serde::{{Deserialize, Serialize}};

/// What can be set.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Config {{
    /// Number of draws.
    pub draws: u64,
}}

/// The system of `{slug}`.
pub struct Paper;

impl System for Paper {{
    const PAPER: &'static str = "{slug}";
    type Config = Config;

    fn preset(preset: Preset) -> Config {{
        Config {{ draws: if preset == Preset::Smoke {{ 100 }} else {{ 10_000 }} }}
    }}

    fn seeds(preset: Preset) -> u64 {{
        if preset == Preset::Smoke {{ 1 }} else {{ 3 }}
    }}

    fn check(config: &Config) -> Result<(), Invalid> {{
        Invalid::unless_in("draws", config.draws, 1..=10_000_000)
    }}

    fn needs(_: &Config) -> Needs {{
        Needs::default()
    }}

    fn run(config: &Config, run: &mut Run) -> Result<()> {{
        let mut rng = run.stream("draws").at(0);
        let mut sum = 0.0;
        for draw in 0..config.draws {{
            run.progress(draw as f64 / config.draws as f64, "drawing")?;
            sum += rng.normal();
        }}
        let error = (sum / config.draws as f64).abs();
        run.observe("error", "system", &[], error);
        run.observe("error", "baseline", &[], 1.0);
        Ok(())
    }}
}}

#[cfg(test)]
mod tests {{
    use super::*;

    #[test]
    fn the_smoke_preset_of_{module}_observes_its_measures() {{
        let mut run = Run::in_memory(1);
        Paper::run(&Paper::preset(Preset::Smoke), &mut run).unwrap();
        assert_eq!(run.observations().len(), 2);
    }}
}}
"#
    )
}
