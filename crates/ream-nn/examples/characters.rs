//! Trains a character model and samples from it: `cargo run --release -p ream-nn --example characters -- FILE [STEPS]`.
#![expect(clippy::print_stdout, reason = "an example's output")]

use std::ops::ControlFlow;

use ream_nn::layers::TransformerConfig;
use ream_nn::models::Decoder;
use ream_nn::training::{Adam, AdamConfig, Schedule, Training, train};
use ream_nn::{Init, Module, no_grad, ops, sampling};
use ream_rand::Stream;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let text = std::fs::read(arguments.next().ok_or("which text? give a file")?)?;
    let steps = arguments.next().map_or(Ok(300), |n| n.parse())?;
    let (batch, context) = (16, 64);
    if text.len() <= context {
        return Err(format!("the text has {} bytes, more than {context} are needed", text.len()).into());
    }
    let config = TransformerConfig { vocabulary: 256, context, d: 96, layers: 3, ..Default::default() };
    let model = Decoder::new(&Init::new(1), &config)?;
    let mut adam = Adam::new(&model.params(), AdamConfig::adamw(2e-3, 0.1));
    let training = Training::steps(steps).schedule(Schedule::Cosine { warmup: 20, floor: 0.1 }).clip(1.0);
    let loss = |step, _| {
        let mut rng = Stream::new(1, "batches").at(step);
        let starts: Vec<usize> = (0..batch).map(|_| rng.below(text.len() - context)).collect();
        let window = |offset: usize| -> Vec<u32> {
            let at = |s: usize| text[s + offset..s + offset + context].iter().map(|b| u32::from(*b));
            starts.iter().flat_map(|&s| at(s)).collect()
        };
        let logits = model.forward(&window(0), [batch, context], &ops::Mask::causal())?;
        ops::cross_entropy(&logits, &window(1), None)
    };
    train(&mut adam, None, &training, loss, |p| {
        if p.step.is_multiple_of(20) {
            println!("step {:4} of {}: {:.3} nats a character", p.step, p.steps, p.loss);
        }
        ControlFlow::Continue(())
    })?;
    let filter = sampling::Filter { temperature: 0.8, ..Default::default() };
    let (mut written, mut rng) = (vec![u32::from(b'\n')], Stream::new(1, "sample").at(0));
    for _ in 0..400 {
        let seen = &written[written.len().saturating_sub(context)..];
        let logits = no_grad(|| model.forward(seen, [1, seen.len()], &ops::Mask::causal()))?;
        let last = &logits.data()[(seen.len() - 1) * 256..];
        written.push(filter.sample(last, &mut rng)? as u32);
    }
    let bytes: Vec<u8> = written.iter().map(|t| *t as u8).collect();
    println!("{}", String::from_utf8_lossy(&bytes));
    Ok(())
}
