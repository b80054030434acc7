//! Rates of our convolutions, and the time of one pass forward and back through a small image autoencoder:
//! `cargo run --release -p ream-nn --example conv_rate [THREADS [BATCH]]`.
#![expect(clippy::print_stdout, reason = "an example's output")]
use std::time::Instant;

use ream_nn::layers::{Conv2d, GroupNorm, ResBlock, Upsample};
use ream_nn::ops::{self, Conv};
use ream_nn::{Buffer, Init, Result, Tensor};
use ream_rand::Stream;

/// Best of several calls, in seconds.
fn best<T>(mut work: impl FnMut() -> Result<T>) -> Result<f64> {
    let (begin, mut best) = (Instant::now(), f64::INFINITY);
    while begin.elapsed().as_secs_f64() < 0.4 {
        let start = Instant::now();
        work()?;
        best = best.min(start.elapsed().as_secs_f64());
    }
    Ok(best)
}

/// Rates of one convolution: the backward passes are timed with a single tensor that wants a gradient.
fn rates(batch: usize, side: usize, c_in: usize, c_out: usize, stride: usize) -> Result<()> {
    let rng = &mut Stream::new(1, "rates").at(0);
    let x = Tensor::randn(&[batch, side, side, c_in], 1.0, rng);
    let w = Tensor::randn(&[c_out, 3, 3, c_in], 0.1, rng);
    let conv = Conv::same(3).stride(stride);
    let y = ops::conv2d(&x, &w, None, conv)?;
    let flops = 2.0 * (y.len() * 9 * c_in) as f64;
    let forward = best(|| ops::conv2d(&x, &w, None, conv))?;
    let backward = |x: &Tensor, w: &Tensor| -> Result<f64> {
        let (mut best, begin) = (f64::INFINITY, Instant::now());
        while begin.elapsed().as_secs_f64() < 0.4 {
            let y = ops::conv2d(x, w, None, conv)?;
            let grad = Buffer::copy_of(y.data());
            let start = Instant::now();
            y.backward_with(grad)?;
            best = best.min(start.elapsed().as_secs_f64());
        }
        Ok(best)
    };
    let input = backward(&x.watched(), &w)?;
    let weight = backward(&x, &w.watched())?;
    let rate = |seconds: f64| format!("{:7.1}", flops * 1e-9 / seconds);
    println!(
        "{batch:3} x {side:2} x {side:2} x {c_in:2} -> {c_out:2} s{stride}: forward {} input gradient {} weight gradient {} GFLOP/s ({:.3} {:.3} {:.3} ms)",
        rate(forward),
        rate(input),
        rate(weight),
        forward * 1e3,
        input * 1e3,
        weight * 1e3
    );
    Ok(())
}

fn autoencoder(batch: usize) -> Result<()> {
    let init = Init::new(1);
    let (same, down) = (Conv::same(3), Conv::same(3).stride(2));
    let stem = Conv2d::new(&init.at("stem"), 1, 32, 3, down, true);
    let wider = Conv2d::new(&init.at("wider"), 32, 64, 3, down, true);
    let block = ResBlock::new(&init.at("block"), 64, 64, 8);
    let norm = GroupNorm::new(&init.at("norm"), 8, 64);
    let code = Conv2d::new(&init.at("code"), 64, 32, 1, Conv::default(), true);
    let back = Conv2d::new(&init.at("back"), 32, 64, 1, Conv::default(), true);
    let block2 = ResBlock::new(&init.at("block2"), 64, 64, 8);
    let up1 = Upsample::new(&init.at("up1"), 64, 32);
    let up2 = Upsample::new(&init.at("up2"), 32, 32);
    let last = Conv2d::new(&init.at("last"), 32, 1, 3, same, true);
    let x = Tensor::randn(&[batch, 28, 28, 1], 1.0, &mut Stream::new(2, "images").at(0));
    let step = || -> Result<[f64; 2]> {
        let start = Instant::now();
        let h = wider.forward(&stem.forward(&x)?.silu())?;
        let z = code.forward(&norm.forward_silu(&block.forward(&h)?)?)?;
        let h = block2.forward(&back.forward(&z)?)?;
        let h = up2.forward(&up1.forward(&h)?.silu())?.silu();
        let loss = ops::mse(&last.forward(&h)?, &x)?;
        let forward = start.elapsed().as_secs_f64();
        loss.backward()?;
        Ok([forward, start.elapsed().as_secs_f64()])
    };
    let mut best = [f64::INFINITY; 2];
    for _ in 0..40 {
        let times = step()?;
        best = [best[0].min(times[0]), best[1].min(times[1])];
    }
    println!(
        "autoencoder {batch} x 28 x 28: forward {:.2} ms, with gradients {:.2} ms",
        best[0] * 1e3,
        best[1] * 1e3
    );
    Ok(())
}

fn main() -> Result<()> {
    let threads = std::env::args().nth(1).and_then(|t| t.parse().ok()).unwrap_or(2);
    let batch = std::env::args().nth(2).and_then(|t| t.parse().ok()).unwrap_or(64);
    ream_nn::set_threads(threads);
    for (side, c_in, c_out, stride) in [
        (28, 32, 64, 1),
        (14, 64, 64, 1),
        (7, 64, 64, 1),
        (32, 16, 16, 1),
        (32, 1, 16, 1),
        (32, 16, 32, 2),
        (28, 32, 1, 1),
        (28, 32, 32, 1),
    ] {
        rates(batch, side, c_in, c_out, stride)?;
    }
    autoencoder(batch)
}
