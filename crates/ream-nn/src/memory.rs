//! How much memory tensors take, and whether a run can fit before it is started.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{NnError, Result};
use crate::param::Param;

/// Numbers in live tensors, and the most there were.
static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);
/// The most there ever were.
static MOST: AtomicUsize = AtomicUsize::new(0);

/// What is added to an estimate for packed operands, the allocator, and the program itself: 64 MiB.
const BASE_BYTES: u64 = 64 << 20;

pub(crate) fn took(len: usize) {
    let now = LIVE.fetch_add(len, Ordering::Relaxed) + len;
    PEAK.fetch_max(now, Ordering::Relaxed);
    MOST.fetch_max(now, Ordering::Relaxed);
}

pub(crate) fn gave(len: usize) {
    LIVE.fetch_sub(len, Ordering::Relaxed);
}

/// The most numbers that were ever in live tensors at once.
pub(crate) fn most() -> usize {
    MOST.load(Ordering::Relaxed)
}

/// Bytes of all live tensors of this process.
#[must_use]
pub fn live_bytes() -> u64 {
    LIVE.load(Ordering::Relaxed) as u64 * 4
}

/// Bytes that tensors made by `work` took at their most, above what was there before. Other threads that make tensors at the same time
/// are counted too.
pub fn peak_of<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = LIVE.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let result = work();
    let peak = PEAK.load(Ordering::Relaxed).saturating_sub(before);
    (result, peak as u64 * 4)
}

/// Estimate of the bytes of a training: weights, gradients and Adam's moments of `params`, and the graph of `batch` samples when one
/// takes `sample_bytes` (measure it: [`peak_of`] the loss of one sample).
#[must_use]
pub fn training_bytes(params: &[Param], sample_bytes: u64, batch: usize) -> u64 {
    let weights: usize = params.iter().map(Param::len).sum();
    BASE_BYTES + 16 * weights as u64 + sample_bytes * batch as u64
}

/// Bytes that this process may still take: what the machine has free, or less when a control group says so; `None` where neither is
/// known.
#[must_use]
pub fn available_bytes() -> Option<u64> {
    let free = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("MemAvailable:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
    });
    let number = |path: &str| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let group = number("/sys/fs/cgroup/memory.max")
        .zip(number("/sys/fs/cgroup/memory.current"))
        .map(|(limit, used)| limit.saturating_sub(used));
    free.into_iter().chain(group).min()
}

/// Refuses work that cannot fit, before it is started.
///
/// # Errors
/// [`NnError::Memory`] with the estimate, what there is, and the hint.
pub fn check_fits(needed_bytes: u64, hint: &str) -> Result<()> {
    match available_bytes() {
        Some(limit) if needed_bytes > limit => Err(NnError::Memory {
            needed_mib: needed_bytes >> 20,
            limit_mib: limit >> 20,
            hint: hint.to_owned(),
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;

    #[test]
    fn the_peak_counts_tensors_that_were_alive_together() {
        let (_, peak) = peak_of(|| {
            drop(Tensor::zeros(&[2000, 1000]));
            let kept = Tensor::zeros(&[4000, 1000]);
            kept.square()
        });
        // 32 MB, give or take what other tests make and free at the same time.
        assert!((24_000_000..40_000_000).contains(&peak), "{peak}");
    }

    #[test]
    fn what_cannot_fit_is_refused_with_the_figures() {
        check_fits(1 << 20, "nothing").unwrap();
        let error = check_fits(1 << 50, "a smaller batch or context").unwrap_err().to_string();
        assert!(error.contains("1073741824 MiB") && error.contains("a smaller batch or context"), "{error}");
    }
}
