//! Where the time of a step goes, by operation.
//!
//! Operations run one after another on the thread that asks for them, so the time from one to the next belongs to the latter.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Calls and time of one operation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// How often it ran.
    pub calls: u64,
    /// How long in total.
    pub time: Duration,
}

struct Log {
    last: Instant,
    shares: BTreeMap<(bool, &'static str), Share>,
}

thread_local! {
    static LOG: RefCell<Option<Log>> = const { RefCell::new(None) };
}

/// Runs `work` and tells how long each operation of this thread took, the longest first: `linear` forward, `linear'` backward.
pub fn profile<T>(work: impl FnOnce() -> T) -> (T, Vec<(String, Share)>) {
    LOG.set(Some(Log { last: Instant::now(), shares: BTreeMap::new() }));
    let result = work();
    let log = LOG.take();
    let mut shares: Vec<(String, Share)> = log
        .into_iter()
        .flat_map(|log| log.shares)
        .map(|((back, name), share)| (if back { format!("{name}'") } else { name.to_owned() }, share))
        .collect();
    shares.sort_by_key(|(_, share)| std::cmp::Reverse(share.time));
    (result, shares)
}

/// The operation `name` has ended; `back` when it was its backward.
pub(crate) fn ended(name: &'static str, back: bool) {
    LOG.with_borrow_mut(|log| {
        if let Some(log) = log {
            let now = Instant::now();
            let share = log.shares.entry((back, name)).or_default();
            share.calls += 1;
            share.time += now - log.last;
            log.last = now;
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Tensor;

    #[test]
    fn operations_are_counted_both_ways_and_only_inside() {
        let x = Tensor::full(&[4], 0.5).watched();
        let (_, shares) = profile(|| x.exp().exp().sum().backward());
        let calls = |name: &str| shares.iter().find(|(n, _)| n == name).map_or(0, |(_, share)| share.calls);
        assert_eq!(
            (calls("exp"), calls("exp'"), calls("sum"), calls("sum'"), calls("tanh")),
            (2, 2, 1, 1, 0)
        );
        let _ = x.tanh();
        assert!(profile(|| ()).1.is_empty());
    }
}
