//! Rate of our matrix product: `cargo run --release -p ream-nn --example gemm_rate [THREADS]`.
use std::time::Instant;

use ream_nn::gemm::{Mat, Precision, Start, gemm, with_precision};

fn main() {
    let threads = std::env::args().nth(1).and_then(|t| t.parse().ok()).unwrap_or(2);
    ream_nn::set_threads(threads);
    let shapes = [
        (1024, 1024, 1024),
        (2048, 2048, 2048),
        (2048, 576, 192),
        (2048, 768, 192),
        (2048, 192, 768),
        (192, 768, 2048),
        (256, 256, 256),
        (128, 128, 32),
        (12544, 32, 288),
    ];
    for (m, n, k) in shapes {
        for (name, ta, tb) in [("A B", false, false), ("A B'", false, true), ("A' B", true, false)] {
            let a = vec![0.5_f32; m * k];
            let b = vec![0.5_f32; k * n];
            let mut c = vec![0.0_f32; m * n];
            let a = if ta { Mat::new(&a, k, m).t() } else { Mat::new(&a, m, k) };
            let b = if tb { Mat::new(&b, n, k).t() } else { Mat::new(&b, k, n) };
            for precision in [Precision::F32, Precision::Bf16] {
                let mut best = f64::INFINITY;
                with_precision(precision, || {
                    let rounds = (2e9 / (m * n * k) as f64).clamp(3.0, 2000.0) as usize;
                    for _ in 0..rounds {
                        let start = Instant::now();
                        gemm(&mut c, n, a, b, Start::Zero);
                        best = best.min(start.elapsed().as_secs_f64());
                    }
                });
                #[expect(clippy::print_stdout, reason = "an example's output")]
                {
                    println!(
                        "{m:5} {n:5} {k:5} {name:5} {precision:?}: {:7.1} GFLOP/s",
                        2e-9 * (m * n * k) as f64 / best
                    );
                }
            }
        }
    }
}
