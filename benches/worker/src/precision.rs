//! Whether bf16 matrix products change what is learned: loss curves of the same GPT on the same text in both precisions.

use std::path::{Path, PathBuf};

use ream_nn::gemm::Precision;
use ream_nn::no_grad;
use ream_rand::Stream;
use serde_json::{Value, json};

use crate::transformers::{GPT_ROWS, GPT_TIME, GPT_VOCABULARY, GptBatch, gpt_on};
use crate::workload::{Failure, Model, Workload};

/// Steps whose losses are averaged at the end of a curve.
const TAIL: usize = 50;
/// Batches of text that no step has seen.
const HELD_OUT: u64 = 20;

/// `steps` steps for each of `seeds` seeds in both precisions.
pub(crate) fn curves(steps: usize, seeds: u64) -> Result<Value, Failure> {
    if steps < TAIL || seeds < 2 {
        return Err(format!("a comparison takes at least {TAIL} steps and 2 seeds").into());
    }
    let text = Text::of_this_project()?;
    let mut runs = Vec::new();
    let mut ends = [Vec::new(), Vec::new()];
    for seed in 1..=seeds {
        let both = [Precision::F32, Precision::Bf16].map(|precision| text.train(seed, precision, steps));
        for (precision, (run, ends)) in ["f32", "bf16"].into_iter().zip(both.into_iter().zip(&mut ends)) {
            let run = run?;
            ends.push(run.held_out);
            runs.push(json!({
                "seed": seed,
                "precision": precision,
                "losses": run.losses,
                "tail_loss": run.losses.iter().rev().take(TAIL).sum::<f64>() / TAIL as f64,
                "held_out_loss": run.held_out,
            }));
        }
    }
    let differences: Vec<f64> = ends[0].iter().zip(&ends[1]).map(|(f32, bf16)| bf16 - f32).collect();
    let (difference, difference_deviation) = moments(&differences);
    let (f32_mean, f32_deviation) = moments(&ends[0]);
    Ok(json!({
        "text": { "what": "characters of this project's own files", "characters": text.tokens.len() },
        "steps": steps,
        "runs": runs,
        "summary": {
            "held_out_loss_f32": f32_mean,
            "deviation_between_seeds_f32": f32_deviation,
            "bf16_less_f32": difference,
            "deviation_of_the_difference": difference_deviation,
        },
    }))
}

/// Mean and standard deviation.
fn moments(values: &[f64]) -> (f64, f64) {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    (mean, (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (n - 1.0)).sqrt())
}

struct Run {
    losses: Vec<f64>,
    held_out: f64,
}

/// Characters as tokens; the last tenth is held out.
struct Text {
    tokens: Vec<u32>,
}

impl Text {
    /// Documentation and sources below the working directory, in order of their paths.
    fn of_this_project() -> Result<Self, Failure> {
        let mut files = vec!["README.md".into(), "ARCHITECTURE.md".into(), "CONTRIBUTING.md".into()];
        sources(Path::new("crates"), &mut files)?;
        let mut text = String::new();
        for file in files {
            text += &std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        }
        let mut counts = std::collections::BTreeMap::<char, usize>::new();
        text.chars().for_each(|c| *counts.entry(c).or_default() += 1);
        let mut alphabet: Vec<(char, usize)> = counts.into_iter().collect();
        alphabet.sort_by_key(|&(c, count)| (std::cmp::Reverse(count), c));
        // The last token stands for every rarer character.
        let last = GPT_VOCABULARY as u32 - 1;
        let codes: std::collections::BTreeMap<char, u32> =
            alphabet.into_iter().map(|(c, _)| c).zip(0..last).collect();
        Ok(Self { tokens: text.chars().map(|c| codes.get(&c).copied().unwrap_or(last)).collect() })
    }

    /// Rows at random places of the first nine tenths, or of the last.
    fn batch(&self, stream: Stream, step: u64, held_out: bool) -> GptBatch {
        let cut = self.tokens.len() / 10 * 9;
        let part = if held_out { &self.tokens[cut..] } else { &self.tokens[..cut] };
        let mut rng = stream.at(step);
        let row = |_| {
            let start = rng.below(part.len() - GPT_TIME);
            &part[start..=start + GPT_TIME]
        };
        let rows: Vec<u32> = (0..GPT_ROWS).flat_map(row).copied().collect();
        GptBatch::of(&rows)
    }

    fn train(&self, seed: u64, precision: Precision, steps: usize) -> Result<Run, Failure> {
        let seen = Stream::new(seed, "batches");
        let batches: Vec<GptBatch> = (0..steps as u64).map(|step| self.batch(seen, step, false)).collect();
        let unseen = Stream::new(seed, "held-out batches");
        let others: Vec<GptBatch> = (0..HELD_OUT).map(|step| self.batch(unseen, step, true)).collect();
        let mut training = gpt_on(seed, precision, batches)?;
        let losses =
            (0..steps).map(|_| Ok(f64::from(training.step()?))).collect::<Result<Vec<_>, Failure>>()?;
        let mut total = 0.0;
        for batch in &others {
            // Measured alike for both: what was learned, not how it is read out.
            total += f64::from(no_grad(|| training.model().loss(batch))?.item()?);
        }
        Ok(Run { losses, held_out: total / HELD_OUT as f64 })
    }
}

fn sources(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            sources(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
