//! Where a token stands: learned and sinusoidal embeddings, of positions, of grid cells and of the time of a diffusion.
//!
//! - Sinusoidal (Vaswani et al., 2017): `e[2 i] = sin(p w_i)`, `e[2 i + 1] = cos(p w_i)`, `w_i = 10000^(-2 i / d)`.
//! - On a grid (He et al., 2022, arXiv 2111.06377): the first half of the width for the row, the second for the column, each half
//!   all sines, then all cosines.
//! - Time of a diffusion (Ho et al., 2020): all cosines, then all sines, `w_i = period^(-i / (d / 2))`, then two linear maps
//!   with a SiLU between.
//! - Fourier features (Tancik et al., 2020, arXiv 2006.10739): `[cos(2 pi B v), sin(2 pi B v)]` with `B` normal and never trained.

use crate::error::{Result, config, shape};
use crate::layers::Linear;
use crate::ops;
use crate::param::{Init, Module, Param};
use crate::tensor::Tensor;

/// Frequencies `base^(-i / count)`.
fn frequencies(count: usize, base: f64) -> impl Fn(usize) -> f64 {
    move |i| libm::pow(base, -(i as f64) / count.max(1) as f64)
}

fn even(key: &str, d: usize, by: usize) -> Result<()> {
    if d == 0 || !d.is_multiple_of(by) {
        config(key, format!("a positive multiple of {by}"), d)
    } else {
        Ok(())
    }
}

/// Sinusoidal embeddings of positions, `[positions, d]`, sines and cosines in turn.
///
/// # Errors
/// When `d` is not even.
pub fn sinusoidal(positions: &[f32], d: usize) -> Result<Tensor> {
    even("d", d, 2)?;
    let w = frequencies(d / 2, 10_000.0);
    let row = |p: f32| {
        let w = &w;
        (0..d).map(move |j| {
            let angle = f64::from(p) * w(j / 2);
            (if j % 2 == 0 { libm::sin(angle) } else { libm::cos(angle) }) as f32
        })
    };
    Tensor::from_vec(positions.iter().flat_map(|p| row(*p)).collect(), &[positions.len(), d])
}

/// Sines, then cosines, of one coordinate.
fn halves(p: f32, d: usize, out: &mut Vec<f32>) {
    let w = frequencies(d / 2, 10_000.0);
    out.extend((0..d / 2).map(|i| libm::sin(f64::from(p) * w(i)) as f32));
    out.extend((0..d / 2).map(|i| libm::cos(f64::from(p) * w(i)) as f32));
}

/// Sinusoidal embeddings of the cells of a grid, `[rows columns, d]`, cells by rows. Coordinates need not be whole: a finer grid
/// over the same range interpolates.
///
/// # Errors
/// When `d` is not a multiple of 4.
pub fn sinusoidal_2d(rows: &[f32], columns: &[f32], d: usize) -> Result<Tensor> {
    even("d", d, 4)?;
    let mut all = Vec::with_capacity(rows.len() * columns.len() * d);
    for y in rows {
        for x in columns {
            halves(*y, d / 2, &mut all);
            halves(*x, d / 2, &mut all);
        }
    }
    Tensor::from_vec(all, &[rows.len() * columns.len(), d])
}

/// Embeddings of the times of a diffusion, `[times, d]`: all cosines, then all sines; `period` is usually 10000.
///
/// # Errors
/// When `d` is not even, or the period not above 1.
pub fn timestep_embedding(times: &[f32], d: usize, period: f32) -> Result<Tensor> {
    even("d", d, 2)?;
    if !(period.is_finite() && period > 1.0) {
        return config("period", "finite and above 1", period);
    }
    let w = frequencies(d / 2, f64::from(period));
    let mut all = Vec::with_capacity(times.len() * d);
    for t in times {
        all.extend((0..d / 2).map(|i| libm::cos(f64::from(*t) * w(i)) as f32));
        all.extend((0..d / 2).map(|i| libm::sin(f64::from(*t) * w(i)) as f32));
    }
    Tensor::from_vec(all, &[times.len(), d])
}

/// A learned vector for every position.
#[derive(Clone, Debug)]
pub struct LearnedPositions {
    /// `[positions, d]`.
    pub table: Param,
}

impl LearnedPositions {
    /// Vectors normal with the given deviation.
    #[must_use]
    pub fn new(init: &Init, positions: usize, d: usize, deviation: f32) -> Self {
        Self { table: init.normal("table", &[positions, d], deviation) }
    }

    /// Adds the vectors of positions `first..first + time`: `[.., time, d]` to the same.
    ///
    /// # Errors
    /// When the positions go beyond the table, or the last axis is not `d`.
    pub fn forward(&self, x: &Tensor, first: usize) -> Result<Tensor> {
        let table = self.table.tensor();
        let &[positions, d] = table.shape() else {
            return shape("LearnedPositions", "the table must be [positions, d]");
        };
        let time = if x.rank() < 2 { 0 } else { x.shape()[x.rank() - 2] };
        if x.rank() < 2 || x.last() != d || first + time > positions {
            return shape(
                "LearnedPositions",
                format!(
                    "{:?} from position {first} must be [.., time, {d}] within {positions} positions",
                    x.shape()
                ),
            );
        }
        x.add(&table.narrow(0, first, time)?)
    }
}

impl Module for LearnedPositions {
    fn params(&self) -> Vec<Param> {
        vec![self.table.clone()]
    }
}

/// The time of a diffusion as a vector: sinusoids, linear, SiLU, linear.
#[derive(Clone, Debug)]
pub struct TimestepEmbedding {
    first: Linear,
    second: Linear,
    width: usize,
    scale: f32,
}

impl TimestepEmbedding {
    /// `width` sinusoids to `d` numbers; times are multiplied by `scale` first (1 for step numbers, 1000 for times in `[0, 1]`).
    ///
    /// # Errors
    /// When `width` is not even.
    pub fn new(init: &Init, width: usize, d: usize, scale: f32) -> Result<Self> {
        even("width", width, 2)?;
        Ok(Self {
            first: Linear::new(&init.at("first"), width, d, true),
            second: Linear::new(&init.at("second"), d, d, true),
            width,
            scale,
        })
    }

    /// One vector for each time: `[times, d]`.
    ///
    /// # Errors
    /// Never after construction.
    pub fn forward(&self, times: &[f32]) -> Result<Tensor> {
        let scaled: Vec<f32> = times.iter().map(|t| t * self.scale).collect();
        let e = timestep_embedding(&scaled, self.width, 10_000.0)?;
        self.second.forward(&self.first.forward(&e)?.silu())
    }
}

impl Module for TimestepEmbedding {
    fn params(&self) -> Vec<Param> {
        [self.first.params(), self.second.params()].concat()
    }
}

/// Random Fourier features of coordinates; saved with the model, never trained.
#[derive(Clone, Debug)]
pub struct FourierFeatures {
    /// `[m, d_in]`, frozen.
    pub frequencies: Param,
}

impl FourierFeatures {
    /// `m` frequencies, normal with the given deviation (in cycles for a unit of the coordinates).
    #[must_use]
    pub fn new(init: &Init, d_in: usize, m: usize, deviation: f32) -> Self {
        let frequencies = init.normal("frequencies", &[m, d_in], deviation);
        frequencies.freeze();
        Self { frequencies }
    }

    /// `[.., d_in]` to `[.., 2 m]`: cosines, then sines.
    ///
    /// # Errors
    /// When the last axis is not `d_in`.
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let angles = ops::linear(x, &self.frequencies.tensor(), None)?.mul_scalar(core::f32::consts::TAU);
        ops::concat(&[&angles.cos(), &angles.sin()], x.rank() - 1)
    }
}

impl Module for FourierFeatures {
    fn params(&self) -> Vec<Param> {
        vec![self.frequencies.clone()]
    }

    /// The frequencies stay frozen.
    fn unfreeze(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gradcheck::check_gradients;
    use ream_rand::Stream;

    fn normal(shape: &[usize], seed: u64) -> Tensor {
        Tensor::randn(shape, 0.7, &mut Stream::new(seed, "position").at(0))
    }

    fn near(got: f32, want: f64) {
        assert!((f64::from(got) - want).abs() < 1e-6, "{got} {want}");
    }

    #[test]
    fn sinusoids_are_those_of_the_formulas() {
        let e = sinusoidal(&[0.0, 3.0], 6).unwrap();
        assert_eq!(e.data()[..6], [0.0, 1.0, 0.0, 1.0, 0.0, 1.0]);
        near(e.data()[6 + 2], libm::sin(3.0 * libm::pow(10_000.0, -2.0 / 6.0)));
        near(e.data()[6 + 5], libm::cos(3.0 * libm::pow(10_000.0, -4.0 / 6.0)));
        let grid = sinusoidal_2d(&[0.0, 1.0], &[0.0, 1.0, 2.0], 8).unwrap();
        assert_eq!(grid.shape(), [6, 8]);
        // Cell (1, 2): row 1 in the first half, column 2 in the second.
        let cell = &grid.data()[5 * 8..];
        near(cell[0], libm::sin(1.0));
        near(cell[3], libm::cos(0.01));
        near(cell[4], libm::sin(2.0));
        near(cell[7], libm::cos(0.02));
        let t = timestep_embedding(&[5.0], 4, 10_000.0).unwrap();
        near(t.data()[1], libm::cos(0.05));
        near(t.data()[2], libm::sin(5.0));
        assert!(
            sinusoidal(&[0.0], 3).unwrap_err().to_string().contains("d must be a positive multiple of 2")
        );
        assert!(sinusoidal_2d(&[0.0], &[0.0], 6).is_err() && timestep_embedding(&[0.0], 4, 1.0).is_err());
    }

    #[test]
    fn gradients_of_inputs_and_every_parameter() {
        let table = LearnedPositions::new(&Init::new(1), 7, 4, 0.5);
        // A table that is used whole, so that no gradient is zero by design.
        check_gradients(&[normal(&[2, 7, 4], 1)], &table.params(), 5e-3, |x| {
            Ok(table.forward(&x[0], 0)?.square())
        })
        .unwrap();
        let shifted = table.forward(&Tensor::zeros(&[1, 2, 4]), 5).unwrap();
        assert_eq!(shifted.to_vec(), table.table.to_vec()[20..]);
        let error = table.forward(&normal(&[2, 3, 4], 1), 5).unwrap_err().to_string();
        assert!(error.contains("within 7 positions"), "{error}");
        let time = TimestepEmbedding::new(&Init::new(2), 8, 5, 1000.0).unwrap();
        check_gradients(&[], &time.params(), 1e-2, |_| time.forward(&[0.1, 0.7, 0.9])).unwrap();
        let fourier = FourierFeatures::new(&Init::new(3), 2, 3, 0.3);
        let x = normal(&[4, 2], 2);
        check_gradients(std::slice::from_ref(&x), &[], 1e-2, |x| fourier.forward(&x[0])).unwrap();
        let y = fourier.forward(&x).unwrap();
        let b = fourier.frequencies.to_vec();
        let angle = core::f32::consts::TAU * (b[0] * x.data()[0] + b[1] * x.data()[1]);
        near(y.data()[0], libm::cos(f64::from(angle)));
        near(y.data()[3], libm::sin(f64::from(angle)));
    }
}
