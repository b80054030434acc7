//! One small pool of threads for the kernels: workers spin for a moment between two parallel loops and then sleep.
//!
//! A training step is some hundreds of short parallel loops with little between them. Waking a thread costs more than many
//! of them take, so a worker keeps looking for the next loop for a few tens of microseconds before it sleeps.
//! Every thread has a share of a loop's jobs, the same for every loop of as many jobs, and takes from the end of others' shares when its own is done:
//! what a thread wrote in one loop it mostly finds in its own cache in the next, and no thread waits for a late one.
//! A loop that is asked for while another one runs (from a second thread, or from inside a job) runs on the caller alone:
//! results never depend on who computes which job, so this changes nothing but time.

use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::thread::Thread;

/// How often a worker looks for work before it sleeps: about 50 microseconds.
const SPINS: usize = 4_000;
/// Set in [`Pool::state`] while a loop takes helpers; the bits below count them.
const OPEN: usize = 1 << 31;

type Job = *const (dyn Fn(usize) + Sync);

/// The loop that runs now: its jobs' work, and how many threads have a share.
#[derive(Clone, Copy)]
struct Loop {
    job: Job,
    threads: usize,
}

struct Pool {
    /// Valid while `state` has `OPEN` or counts a helper.
    job: UnsafeCell<Option<Loop>>,
    state: AtomicUsize,
    generation: AtomicUsize,
    asleep: AtomicUsize,
    failed: AtomicBool,
    leader: Mutex<()>,
    workers: OnceLock<Workers>,
    limit: AtomicUsize,
}

/// The helpers, and a share for each and for the thread that asks for a loop, which has the first.
struct Workers {
    threads: Vec<Thread>,
    shares: Vec<Share>,
}

/// The jobs `first..end` of a thread that nobody has taken yet, in the low and the high half; alone on its cache lines.
#[repr(align(128))]
#[derive(Default)]
struct Share(AtomicU64);

impl Share {
    fn set(&self, first: usize, end: usize) {
        self.0.store(first as u64 | (end as u64) << 32, Ordering::Relaxed);
    }

    /// The first job that is left, for the owner.
    fn take(&self) -> Option<usize> {
        self.change(|first, end| (first, first + 1, end))
    }

    /// The last job that is left, for another thread.
    fn steal(&self) -> Option<usize> {
        self.change(|first, end| (end - 1, first, end - 1))
    }

    /// `pick` says which job, and what is left then.
    fn change(&self, pick: impl Fn(u64, u64) -> (u64, u64, u64)) -> Option<usize> {
        let mut now = self.0.load(Ordering::Relaxed);
        loop {
            let (first, end) = (now & u64::from(u32::MAX), now >> 32);
            if first >= end {
                return None;
            }
            let (job, first, end) = pick(first, end);
            match self.0.compare_exchange_weak(now, first | end << 32, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return Some(job as usize),
                Err(changed) => now = changed,
            }
        }
    }
}

// SAFETY: `job` is written only by the holder of `leader` while no helper is counted, and read only by counted helpers.
unsafe impl Sync for Pool {}

static POOL: Pool = Pool {
    job: UnsafeCell::new(None),
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
pub fn for_each(jobs: usize, work: &(dyn Fn(usize) + Sync)) {
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
    let threads = wanted.min(jobs).min(workers.shares.len());
    if u32::try_from(jobs).is_err() || threads == 1 {
        return (0..jobs).for_each(work);
    }
    // SAFETY: the reference outlives its use: this function returns only after every helper has left.
    let job: Job = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), Job>(work) };
    // SAFETY: this thread holds `leader` and no helper is counted.
    unsafe { *POOL.job.get() = Some(Loop { job, threads }) };
    for (i, share) in workers.shares[..threads].iter().enumerate() {
        share.set(jobs * i / threads, jobs * (i + 1) / threads);
    }
    POOL.state.store(OPEN, Ordering::SeqCst);
    POOL.generation.fetch_add(1, Ordering::SeqCst);
    if POOL.asleep.load(Ordering::SeqCst) > 0 {
        workers.threads.iter().take(threads - 1).for_each(Thread::unpark);
    }
    let outcome = catch_unwind(AssertUnwindSafe(|| drain(work, &workers.shares[..threads], 0)));
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

/// Runs the jobs of share `own`, then what the others have not come to.
fn drain(work: &(dyn Fn(usize) + Sync), shares: &[Share], own: usize) {
    while let Some(job) = shares[own].take() {
        work(job);
    }
    for other in (1..shares.len()).map(|i| &shares[(own + i) % shares.len()]) {
        while let Some(job) = other.steal() {
            work(job);
        }
    }
}

/// Starts the helpers; fewer when the system gives no more threads.
fn start(count: usize) -> Workers {
    let threads: Vec<Thread> = (0..count)
        .map_while(|index| {
            std::thread::Builder::new()
                .name(format!("ream-nn-{index}"))
                .spawn(move || helper(index + 1))
                .ok()
                .map(|handle| handle.thread().clone())
        })
        .collect();
    let shares = (0..=threads.len()).map(|_| Share::default()).collect();
    Workers { threads, shares }
}

/// The life of the thread that has share `own`.
fn helper(own: usize) {
    let mut seen = 0;
    loop {
        seen = wait_for_work(seen);
        if own >= threads() || !join() {
            continue;
        }
        // SAFETY: counted in `state`, so the leader keeps the job alive and does not write it.
        let now = unsafe { *POOL.job.get() };
        // A loop runs, so the workers are there.
        if let (Some(Loop { job, threads }), Some(workers)) = (now, POOL.workers.get())
            && own < threads
        {
            let shares = &workers.shares[..threads];
            // SAFETY: as above; the pointee is `Sync`.
            if catch_unwind(AssertUnwindSafe(|| drain(unsafe { &*job }, shares, own))).is_err() {
                shares.iter().for_each(|share| share.set(0, 0));
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

    /// As [`Shared::part`], for parts that outlive this handle: jobs that pass several rooms around.
    ///
    /// # Safety
    /// As for [`Shared::part`], and the part must not be used after the slice is gone.
    pub(crate) unsafe fn owned_part<'a>(self, at: std::ops::Range<usize>) -> &'a mut [f32] {
        let end = at.end.min(self.1);
        let start = at.start.min(end);
        // SAFETY: within the slice; disjointness and lifetime are the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(start), end - start) }
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

/// As [`chunks`] over several arrays in one loop: `work(which array, first index, chunk)`.
pub(crate) fn chunks_of_all(
    arrays: &mut [(usize, &mut [f32])],
    size: usize,
    work: impl Fn(usize, usize, &mut [f32]) + Sync,
) {
    let size = size.max(1);
    let jobs: Vec<(usize, Shared, usize)> = arrays
        .iter_mut()
        .flat_map(|(which, array)| {
            let (which, len, shared) = (*which, array.len(), Shared::new(array));
            (0..len).step_by(size).map(move |start| (which, shared, start))
        })
        .collect();
    for_each(jobs.len(), &|i| {
        let (which, shared, start) = jobs[i];
        // SAFETY: the chunks of all arrays are disjoint, each is one job's.
        work(which, start, unsafe { shared.part(start, size) });
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
    fn chunks_of_several_arrays_are_each_met_once() {
        set_threads(3);
        let mut arrays: Vec<Vec<f32>> = [0, 1, 9, 10, 25].map(|len| vec![0.0; len]).into();
        let mut parts: Vec<(usize, &mut [f32])> =
            arrays.iter_mut().map(Vec::as_mut_slice).enumerate().collect();
        chunks_of_all(&mut parts, 10, |which, start, chunk| {
            for (i, x) in chunk.iter_mut().enumerate() {
                *x += (100 * which + start + i) as f32;
            }
        });
        for (which, array) in arrays.iter().enumerate() {
            assert!(array.iter().enumerate().all(|(i, x)| *x == (100 * which + i) as f32));
        }
    }

    #[test]
    fn shares_are_taken_from_both_ends_and_run_out() {
        let share = Share::default();
        assert_eq!((share.take(), share.steal()), (None, None));
        share.set(3, 6);
        assert_eq!((share.take(), share.steal(), share.take()), (Some(3), Some(5), Some(4)));
        assert_eq!((share.take(), share.steal()), (None, None));
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
