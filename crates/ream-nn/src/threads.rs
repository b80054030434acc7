//! One small pool of threads for the kernels: workers spin for a moment between two parallel loops and then sleep.
//!
//! A training step is some hundreds of short parallel loops with little between them. Waking a thread costs more than many
//! of them take, so a worker keeps looking for the next loop for a few tens of microseconds before it sleeps.
//! A loop that is asked for while another one runs (from a second thread, or from inside a job) runs on the caller alone:
//! results never depend on who computes which job, so this changes nothing but time.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::Thread;

/// How often a worker looks for work before it sleeps: about 50 microseconds.
const SPINS: usize = 4_000;
/// Set in [`Pool::state`] while a loop takes helpers; the bits below count them.
const OPEN: usize = 1 << 31;

type Job = *const (dyn Fn(usize) + Sync);

struct Pool {
    /// The loop that runs now; valid while `state` has `OPEN` or counts a helper.
    job: UnsafeCell<Option<(Job, usize)>>,
    next: AtomicUsize,
    state: AtomicUsize,
    generation: AtomicUsize,
    asleep: AtomicUsize,
    failed: AtomicBool,
    leader: Mutex<()>,
    workers: OnceLock<Vec<Thread>>,
    limit: AtomicUsize,
}

// SAFETY: `job` is written only by the holder of `leader` while no helper is counted, and read only by counted helpers.
unsafe impl Sync for Pool {}

static POOL: Pool = Pool {
    job: UnsafeCell::new(None),
    next: AtomicUsize::new(0),
    state: AtomicUsize::new(0),
    generation: AtomicUsize::new(0),
    asleep: AtomicUsize::new(0),
    failed: AtomicBool::new(false),
    leader: Mutex::new(()),
    workers: OnceLock::new(),
    limit: AtomicUsize::new(0),
};

/// How many threads the kernels use: what [`set_threads`] said, else the size of rayon's pool.
#[must_use]
pub fn threads() -> usize {
    match POOL.limit.load(Ordering::Relaxed) {
        0 => rayon::current_num_threads().max(1),
        n => n,
    }
}

/// Sets how many threads the kernels use, at least one. Results do not depend on it, to the bit.
///
/// Threads are started at the first parallel loop, as many as the larger of this number and rayon's pool then says.
pub fn set_threads(threads: usize) {
    POOL.limit.store(threads.max(1), Ordering::Relaxed);
}

/// Calls `work(i)` for every `i` in `0..jobs`, each once, on the pool's threads.
pub(crate) fn for_each(jobs: usize, work: &(dyn Fn(usize) + Sync)) {
    let wanted = threads();
    if jobs <= 1 || wanted == 1 {
        return (0..jobs).for_each(work);
    }
    let Ok(_leader) = POOL.leader.try_lock().or_else(|error| match error {
        std::sync::TryLockError::Poisoned(guard) => Ok(PoisonError::into_inner(guard)),
        std::sync::TryLockError::WouldBlock => Err(()),
    }) else {
        return (0..jobs).for_each(work);
    };
    let workers = POOL.workers.get_or_init(|| start(wanted.max(rayon::current_num_threads()) - 1));
    // SAFETY: the reference outlives its use: this function returns only after every helper has left.
    let job: Job = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), Job>(work) };
    // SAFETY: this thread holds `leader` and no helper is counted.
    unsafe { *POOL.job.get() = Some((job, jobs)) };
    POOL.next.store(0, Ordering::Relaxed);
    POOL.state.store(OPEN, Ordering::SeqCst);
    POOL.generation.fetch_add(1, Ordering::SeqCst);
    if POOL.asleep.load(Ordering::SeqCst) > 0 {
        workers.iter().take((wanted - 1).min(jobs - 1)).for_each(Thread::unpark);
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| drain(work, jobs)));
    POOL.state.fetch_and(!OPEN, Ordering::SeqCst);
    let mut spins = 0_usize;
    while POOL.state.load(Ordering::Acquire) != 0 {
        spins += 1;
        if spins.is_multiple_of(SPINS) { std::thread::yield_now() } else { std::hint::spin_loop() }
    }
    let failed = POOL.failed.swap(false, Ordering::Relaxed);
    match outcome {
        Err(panic) => resume_unwind(panic),
        Ok(()) if failed => resume_unwind(Box::new("a job of a parallel loop failed")),
        Ok(()) => {}
    }
}

fn drain(work: &(dyn Fn(usize) + Sync), jobs: usize) {
    loop {
        let i = POOL.next.fetch_add(1, Ordering::Relaxed);
        if i >= jobs {
            return;
        }
        work(i);
    }
}

/// Starts the helpers; fewer when the system gives no more threads.
fn start(count: usize) -> Vec<Thread> {
    (0..count)
        .map_while(|index| {
            std::thread::Builder::new()
                .name(format!("ream-nn-{index}"))
                .spawn(move || helper(index))
                .ok()
                .map(|handle| handle.thread().clone())
        })
        .collect()
}

fn helper(index: usize) {
    let mut seen = 0;
    loop {
        seen = wait_for_work(seen);
        if index + 1 >= threads() || !join() {
            continue;
        }
        // SAFETY: counted in `state`, so the leader keeps the job alive and does not write it.
        if let Some((job, jobs)) = unsafe { *POOL.job.get() } {
            // SAFETY: as above; the pointee is `Sync`.
            if catch_unwind(AssertUnwindSafe(|| drain(unsafe { &*job }, jobs))).is_err() {
                POOL.next.store(jobs, Ordering::Relaxed);
                POOL.failed.store(true, Ordering::Relaxed);
            }
        }
        POOL.state.fetch_sub(1, Ordering::Release);
    }
}

/// Counts this helper in, unless the loop is over already.
fn join() -> bool {
    let mut state = POOL.state.load(Ordering::SeqCst);
    while state & OPEN != 0 {
        match POOL.state.compare_exchange_weak(state, state + 1, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => return true,
            Err(now) => state = now,
        }
    }
    false
}

/// Returns once the generation differs from `seen`.
fn wait_for_work(seen: usize) -> usize {
    for _ in 0..SPINS {
        let now = POOL.generation.load(Ordering::Acquire);
        if now != seen {
            return now;
        }
        std::hint::spin_loop();
    }
    POOL.asleep.fetch_add(1, Ordering::SeqCst);
    let now = loop {
        let now = POOL.generation.load(Ordering::SeqCst);
        if now != seen {
            break now;
        }
        std::thread::park();
    };
    POOL.asleep.fetch_sub(1, Ordering::SeqCst);
    now
}

/// A pointer that several jobs may write through, each to its own part.
#[derive(Clone, Copy)]
pub(crate) struct Shared(*mut f32, usize);

// SAFETY: every use hands disjoint ranges to different jobs; `part` checks the bounds.
unsafe impl Send for Shared {}
// SAFETY: as above.
unsafe impl Sync for Shared {}

impl Shared {
    pub(crate) fn new(slice: &mut [f32]) -> Self {
        Self(slice.as_mut_ptr(), slice.len())
    }

    /// The part `start..start + len`, clipped to the slice.
    ///
    /// # Safety
    /// No other part that overlaps may be alive, and the slice must outlive the part.
    #[expect(clippy::mut_from_ref, reason = "the caller promises disjoint parts")]
    pub(crate) unsafe fn part(&self, start: usize, len: usize) -> &mut [f32] {
        let start = start.min(self.1);
        // SAFETY: within the slice; disjointness is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), len.min(self.1 - start)) }
    }

    pub(crate) fn pointer(&self) -> *mut f32 {
        self.0
    }
}

/// Splits `out` into chunks of `size` and calls `work(first index, chunk)` for each.
pub(crate) fn chunks(out: &mut [f32], size: usize, work: impl Fn(usize, &mut [f32]) + Sync) {
    let size = size.max(1);
    let jobs = out.len().div_ceil(size);
    let shared = Shared::new(out);
    for_each(jobs, &|i| {
        // SAFETY: chunk `i` belongs to job `i` alone.
        work(i * size, unsafe { shared.part(i * size, size) });
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicU64;

    #[test]
    fn every_job_runs_once_also_when_nested_and_from_many_threads() {
        set_threads(3);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 1..200 {
                        let sum = AtomicU64::new(0);
                        for_each(round, &|i| {
                            for_each(2, &|j| {
                                sum.fetch_add((i * 2 + j) as u64, Ordering::Relaxed);
                            });
                        });
                        let n = 2 * round as u64;
                        assert_eq!(sum.into_inner(), n * (n - 1) / 2);
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_in_a_job_reaches_the_caller_and_the_pool_lives_on() {
        set_threads(3);
        for _ in 0..20 {
            let result = catch_unwind(|| for_each(64, &|i| assert!(i != 40, "job 40")));
            assert!(result.is_err());
        }
        let done = AtomicUsize::new(0);
        for_each(10, &|_| {
            done.fetch_add(1, Ordering::Relaxed);
        });
        assert_eq!(done.into_inner(), 10);
    }
}
