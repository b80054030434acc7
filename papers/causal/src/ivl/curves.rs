//! Means over repeats with their intervals: what sweeps show.

use ream_lab::{Error, Result};
use ream_rand::Stream;
use ream_stats::bootstrap::{self, Bootstrap};
use serde::{Deserialize, Serialize};

/// One method along a sweep.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// The method.
    pub arm: String,
    /// Places.
    pub x: Vec<f64>,
    /// Mean at each.
    pub mean: Vec<f64>,
    /// Ends of its 95 % interval.
    pub low: Vec<f64>,
    /// Ends of its 95 % interval.
    pub high: Vec<f64>,
}

/// Values of methods at places, repeat by repeat.
#[derive(Clone, Debug, Default)]
pub struct Gathered {
    x: Vec<f64>,
    /// By method: name, and for each place its values.
    arms: Vec<(String, Vec<Vec<f64>>)>,
}

impl Gathered {
    /// Nothing yet at these places.
    #[must_use]
    pub fn new(x: &[f64]) -> Self {
        Self { x: x.to_vec(), arms: Vec::new() }
    }

    /// One more value of a method at a place.
    pub fn add(&mut self, place: usize, arm: &str, value: f64) {
        let at = self.arms.iter().position(|(name, _)| name == arm).unwrap_or_else(|| {
            self.arms.push((arm.to_owned(), vec![Vec::new(); self.x.len()]));
            self.arms.len() - 1
        });
        self.arms[at].1[place].push(value);
    }

    /// Means and percentile bootstrap intervals.
    ///
    /// # Errors
    /// Fewer than two repeats.
    pub fn curves(&self, stream: Stream) -> Result<Vec<Curve>> {
        self.arms
            .iter()
            .map(|(arm, places)| {
                let mut curve = Curve { arm: arm.clone(), x: self.x.clone(), ..Curve::default() };
                for values in places {
                    let [mean, low, high] = mean_with_interval(values, stream)?;
                    curve.mean.push(mean);
                    curve.low.push(low);
                    curve.high.push(high);
                }
                Ok(curve)
            })
            .collect()
    }
}

/// Mean and its 95 % percentile bootstrap interval.
///
/// # Errors
/// Fewer than two values.
pub fn mean_with_interval(values: &[f64], stream: Stream) -> Result<[f64; 3]> {
    let settings = Bootstrap { replications: 1000, level: 0.95, stream };
    let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    let of = bootstrap::percentile(values, mean, &settings)
        .map_err(|e| Error::failed(format!("an interval over repeats: {e}")))?;
    Ok([of.value, of.low, of.high])
}
