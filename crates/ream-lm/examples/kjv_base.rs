//! Trains `kjv-base`, the shared small language model, and says how well it predicts chapters it has not seen:
//! `cargo run --release -p ream-lm --example kjv_base -- FOLDER-OF-THE-SWORD-MODULE`.
#![expect(clippy::print_stdout, reason = "an example's output")]

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use ream_lm::small::{SmallConfig, SmallLm, split_chapters};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder =
        std::env::args().nth(1).map(PathBuf::from).ok_or("where is the module? (ream data fetch kjv)")?;
    let bible = ream_data::sword::Bible::open(&folder)?;
    let chapters: Vec<String> = bible.chapters().map(|(_, _, verses)| verses.join("\n") + "\n").collect();
    let (train, held) = split_chapters(&chapters, 0.05);
    let begun = Instant::now();
    let lm = SmallLm::train(&train, &SmallConfig::default(), |p| {
        if p.step.is_multiple_of(100) {
            println!("step {} of {}: {:.3} nats a token", p.step, p.steps, p.loss);
        }
        ControlFlow::Continue(())
    })?;
    println!(
        "{} chapters, {} tokens in {:.0} s",
        train.len(),
        lm.config.tokens,
        begun.elapsed().as_secs_f64()
    );
    println!("{:.3} bits per character of {} held-out chapters", lm.bits_per_character(&held)?, held.len());
    Ok(())
}
