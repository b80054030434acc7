//! Speed of two pieces of work against each other, on a machine that others use too.
//!
//! The two run in blocks `A B B A`, so that a drift of the machine's speed within a block cancels; a block's ratio is the
//! time of its two `A` over that of its two `B`. The figure is the median over blocks, its interval the bootstrap over
//! blocks. One machine-wide lock keeps two measurements apart.

use std::fs::File;
use std::time::{Duration, Instant};

use ream_stats::bootstrap::{self, Bootstrap};
use ream_stats::descriptive;

use crate::error::{Error, Result};
use crate::run::Run;

/// Fewest blocks that count as a measurement.
pub const FEWEST_BLOCKS: usize = 10;

/// Times of `A` over times of `B`.
#[derive(Clone, Debug, PartialEq)]
pub struct Paired {
    /// Median ratio over blocks; above 1, `A` is slower.
    pub ratio: f64,
    /// 95 % bootstrap interval over blocks.
    pub interval: [f64; 2],
    /// The ratio of every block.
    pub blocks: Vec<f64>,
    /// Median seconds of one `A`.
    pub seconds_a: f64,
    /// Median seconds of one `B`.
    pub seconds_b: f64,
}

impl Run {
    /// Times `a` against `b` in `blocks` blocks of `A B B A` after one untimed block; see [`Paired`]. A ratio is a
    /// measurement of this machine at this hour: observe it only as a measure with a stated tolerance.
    ///
    /// # Errors
    /// Fewer than [`FEWEST_BLOCKS`] blocks, work too short to be timed, cancellation, or an error of `a` or `b`.
    pub fn paired(
        &mut self,
        blocks: usize,
        mut a: impl FnMut() -> Result<()>,
        mut b: impl FnMut() -> Result<()>,
    ) -> Result<Paired> {
        if blocks < FEWEST_BLOCKS {
            return Err(Error::failed(format!(
                "a speed ratio needs at least {FEWEST_BLOCKS} blocks, got {blocks}"
            )));
        }
        let _alone = self.wait_for_lock(
            &std::env::temp_dir().join("ream-timing.lock"),
            "waiting for another measurement",
        )?;
        let (mut ratios, mut times_a, mut times_b) = (Vec::new(), Vec::new(), Vec::new());
        for block in 0..=blocks {
            self.progress(block as f64 / (blocks + 1) as f64, "timing")?;
            let first = seconds(&mut a)?;
            let inner = [seconds(&mut b)?, seconds(&mut b)?];
            let last = seconds(&mut a)?;
            // The first block only warms caches and clocks up.
            if block > 0 {
                ratios.push((first + last) / (inner[0] + inner[1]));
                times_a.extend([first, last]);
                times_b.extend(inner);
            }
        }
        summarise(ratios, &times_a, &times_b)
    }

    /// Takes a lock that other processes may hold for minutes, and stays able to stop while it waits.
    pub(crate) fn wait_for_lock(&mut self, path: &std::path::Path, what: &str) -> Result<File> {
        let file = File::create(path).map_err(Error::io("create", path))?;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(std::fs::TryLockError::WouldBlock) => {
                    self.progress(0.0, what)?;
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(std::fs::TryLockError::Error(source)) => return Err(Error::io("lock", path)(source)),
            }
        }
    }
}

fn seconds(work: &mut impl FnMut() -> Result<()>) -> Result<f64> {
    let begun = Instant::now();
    work()?;
    Ok(begun.elapsed().as_secs_f64())
}

fn summarise(ratios: Vec<f64>, times_a: &[f64], times_b: &[f64]) -> Result<Paired> {
    if ratios.iter().any(|r| !r.is_finite()) {
        return Err(Error::failed("the work is too short to be timed; repeat it within one call"));
    }
    let wrong = |e: ream_stats::StatsError| Error::failed(format!("timing: {e}"));
    let median = |values: &[f64]| descriptive::median(values).unwrap_or(f64::NAN);
    let settings = Bootstrap {
        replications: 2000,
        level: 0.95,
        stream: ream_rand::Stream::new(0, "interval over blocks"),
    };
    let interval = bootstrap::percentile(&ratios, median, &settings).map_err(wrong)?;
    Ok(Paired {
        ratio: median(&ratios),
        interval: [interval.low, interval.high],
        seconds_a: median(times_a),
        seconds_b: median(times_b),
        blocks: ratios,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_give_a_median_and_an_interval() {
        let mut run = Run::in_memory(1);
        let nap = |micros| {
            move || -> Result<()> {
                std::thread::sleep(Duration::from_micros(micros));
                Ok(())
            }
        };
        let paired = run.paired(10, nap(4000), nap(1000)).unwrap();
        assert_eq!(paired.blocks.len(), 10);
        // No assertion on speed: only that the slower one is the slower one, by a wide margin.
        assert!(paired.ratio > 1.0, "{paired:?}");
        assert!(paired.interval[0] <= paired.ratio && paired.ratio <= paired.interval[1]);
    }

    #[test]
    fn too_few_blocks_are_refused_and_errors_passed_on() {
        let mut run = Run::in_memory(1);
        assert!(run.paired(3, || Ok(()), || Ok(())).is_err());
        let failed = run.paired(10, || Err(Error::failed("broken")), || Ok(())).unwrap_err();
        assert_eq!(failed.to_string(), "broken");
    }
}
