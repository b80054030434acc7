//! The optical device: real confounding whose truth is known (Janzing & Schoelkopf, 2018).
//!
//! A webcam sees a screen of 3 x 3 pixels (`x1..x9`) and a sensor measures its brightness (`y`); a light-emitting diode (`c`) shines
//! on both, the more the higher its brightness. The truth is the coefficients of `x` in a regression of `y` on `x` and `c`; no
//! method sees `c`. Noise on the inputs is the augmentation: `GX = X + sqrt(0.1) sd(X) N(0, I)`, `sd` over all entries.

use std::io::Read;

use flate2::read::GzDecoder;
use ream_lab::{Error, Result};
use ream_rand::Stream;
use ream_stats::{Covariance, Matrix, linear};
use serde::Deserialize;

use super::methods::{Estimates, all_arms};
use super::sample::{Sample, centred, mean_of};

/// 12 experiments of 1,000 rows (provenance beside the file).
const BUILT_IN: &[u8] = include_bytes!("../../data/optical_device.csv.gz");
/// Pixels of the screen.
pub const PIXELS: usize = 9;
/// Variance of the augmentation over that of the inputs.
pub const NOISE_SHARE: f64 = 0.1;

/// One setting of the device.
#[derive(Clone, Debug, PartialEq)]
pub struct Experiment {
    /// Its number.
    pub number: u32,
    /// Brightness of the diode, 0..=99.
    pub brightness: f64,
    /// Whether pixels do not reach the sensor at all.
    pub pure_confounding: bool,
    /// Pixels, centred, `[n, 9]`.
    pub x: Matrix,
    /// The sensor, centred, `[n]`.
    pub y: Vec<f64>,
    /// Coefficients of the pixels given the diode, `[9]`.
    pub truth: Vec<f64>,
}

#[derive(Deserialize)]
struct Line {
    experiment: u32,
    brightness: f64,
    kind: String,
    x1: f64,
    x2: f64,
    x3: f64,
    x4: f64,
    x5: f64,
    x6: f64,
    x7: f64,
    x8: f64,
    x9: f64,
    c: f64,
    y: f64,
}

impl Line {
    fn pixels(&self) -> [f64; PIXELS] {
        [self.x1, self.x2, self.x3, self.x4, self.x5, self.x6, self.x7, self.x8, self.x9]
    }
}

/// All experiments, by number.
///
/// # Errors
/// The embedded bytes are damaged.
pub fn experiments() -> Result<Vec<Experiment>> {
    let broken = |e: &dyn std::fmt::Display| Error::failed(format!("the optical device's table: {e}"));
    let mut text = String::new();
    GzDecoder::new(BUILT_IN).read_to_string(&mut text).map_err(|e| broken(&e))?;
    let mut groups: std::collections::BTreeMap<u32, Vec<Line>> = std::collections::BTreeMap::new();
    for line in csv::Reader::from_reader(text.as_bytes()).deserialize::<Line>() {
        let line = line.map_err(|e| broken(&e))?;
        groups.entry(line.experiment).or_default().push(line);
    }
    groups.into_values().map(|lines| experiment(&lines).map_err(|e| broken(&e))).collect()
}

fn experiment(lines: &[Line]) -> Result<Experiment> {
    let x = centred(&Matrix::from_fn(lines.len(), PIXELS, |i, j| lines[i].pixels()[j]));
    let rest = centred(&Matrix::from_fn(lines.len(), 2, |i, j| if j == 0 { lines[i].c } else { lines[i].y }));
    let y = rest.column(1);
    let with_cause =
        Matrix::from_fn(
            lines.len(),
            PIXELS + 1,
            |i, j| if j < PIXELS { x.get(i, j) } else { rest.get(i, 0) },
        );
    let fit = linear::ols(&with_cause, &y, Covariance::Classical)
        .map_err(|e| Error::failed(format!("experiment {}: {e}", lines[0].experiment)))?;
    Ok(Experiment {
        number: lines[0].experiment,
        brightness: lines[0].brightness,
        pure_confounding: lines[0].kind == "pure_confounding",
        truth: fit.coefficients[..PIXELS].to_vec(),
        x,
        y,
    })
}

/// Noise on every input, its deviation `sqrt(share)` times that of all entries together; the draws are `G`.
#[must_use]
pub fn with_noise(x: &Matrix, y: &[f64], share: f64, stream: Stream) -> Sample {
    let count = (x.rows() * x.cols()) as f64;
    let mean = x.data().iter().sum::<f64>() / count;
    let variance = x.data().iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / count;
    let deviation = (share * variance).sqrt();
    let mut rng = stream.at(0);
    let g = Matrix::from_fn(x.rows(), x.cols(), |_, _| rng.normal());
    let augmented = Matrix::from_fn(x.rows(), x.cols(), |i, j| x.get(i, j) + deviation * g.get(i, j));
    Sample::centred(x, &augmented, &g, y)
}

/// All methods, each averaged over draws of `G`.
#[derive(Clone, Debug, PartialEq)]
pub struct Averaged {
    /// Names and mean coefficients.
    pub arms: Vec<(String, Vec<f64>)>,
    /// Standard deviation over draws of each coefficient, mean over coefficients.
    pub spread: Vec<f64>,
    /// Mean coefficients for each `alpha`.
    pub path: Vec<Vec<f64>>,
    /// Mean decimal logarithm of each selector's `alpha`.
    pub alphas: Vec<(String, f64)>,
}

/// Fits one experiment `redraws` times.
///
/// # Errors
/// A fit failed.
pub fn averaged(of: &Experiment, alphas: &[f64], redraws: u64, stream: Stream) -> Result<Averaged> {
    let draws: Vec<Estimates> = (0..redraws)
        .map(|r| {
            let draw = stream.child(r);
            all_arms(&with_noise(&of.x, &of.y, NOISE_SHARE, draw), alphas, draw.child(1))
        })
        .collect::<Result<_>>()?;
    Ok(average(&draws, alphas.len()))
}

fn average(draws: &[Estimates], points: usize) -> Averaged {
    let of_arm =
        |k: usize| -> Vec<Vec<f64>> { draws.iter().map(|d| d.arms[k].coefficients.clone()).collect() };
    let first = &draws[0];
    let arms = (0..first.arms.len()).map(|k| (first.arms[k].name.clone(), mean_of(&of_arm(k)))).collect();
    let spread = (0..first.arms.len()).map(|k| spread(&of_arm(k))).collect();
    let at = |p: usize| -> Vec<Vec<f64>> { draws.iter().map(|d| d.fits.path[p].clone()).collect() };
    let logarithm =
        |s: usize| draws.iter().map(|d| libm::log10(d.alphas[s].1)).sum::<f64>() / draws.len() as f64;
    Averaged {
        arms,
        spread,
        path: (0..points).map(|p| mean_of(&at(p))).collect(),
        alphas: (0..first.alphas.len())
            .map(|s| (first.alphas[s].0.name().to_owned(), logarithm(s)))
            .collect(),
    }
}

/// Standard deviation of each coefficient over draws, mean over coefficients; 0 for one draw.
#[must_use]
pub fn spread(draws: &[Vec<f64>]) -> f64 {
    let mean = mean_of(draws);
    if draws.len() < 2 || mean.is_empty() {
        return 0.0;
    }
    let of = |j: usize| {
        let squares: f64 = draws.iter().map(|d| (d[j] - mean[j]) * (d[j] - mean[j])).sum();
        (squares / (draws.len() - 1) as f64).sqrt()
    };
    (0..mean.len()).map(of).sum::<f64>() / mean.len() as f64
}
