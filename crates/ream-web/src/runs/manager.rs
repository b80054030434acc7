//! Starts runs, some at once; the others wait in a queue.
//!
//! What is known of a run is in its directory. Here is only who waits and who is being driven: when the server dies, the
//! workers go on, and [`Manager::adopt`] of the next one takes them over; what had waited waits again.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::http::StatusCode;
use ream_lab::{
    Edition, Entry, Launch, Plan, Preset, Report, RunDir, RunProgress, RunRecord, Runs, Standing, drive,
};

use super::limits::{Allowance, RunLimits, slots};
use super::waiting::Waiting;
use crate::error::{Error, Result};

/// A handle; cheap to clone.
#[derive(Clone)]
pub(crate) struct Manager(Arc<Inner>);

struct Inner {
    edition: Arc<Edition>,
    runs: Runs,
    program: PathBuf,
    home: PathBuf,
    limits: RunLimits,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Job>,
    active: BTreeMap<String, Active>,
}

struct Job {
    id: String,
    timed: bool,
    smoke: bool,
    slots: usize,
    retry_failed: bool,
    /// Its place in the queue; given up when it is driven.
    waiting: Option<Waiting>,
}

struct Active {
    timed: bool,
    smoke: bool,
    stop: Arc<AtomicBool>,
    progress: Option<RunProgress>,
}

/// How a run stands with the manager.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    /// It is being driven from here.
    Driven { progress: Option<RunProgress>, stopping: bool },
    /// So many others are before it.
    Waiting(usize),
    /// Neither.
    Elsewhere,
}

impl Manager {
    pub(crate) fn new(
        edition: Arc<Edition>,
        runs: Runs,
        program: PathBuf,
        home: PathBuf,
        limits: RunLimits,
    ) -> Self {
        Self(Arc::new(Inner { edition, runs, program, home, limits, state: Mutex::default() }))
    }

    pub(super) fn limits(&self) -> &RunLimits {
        &self.0.limits
    }

    /// Makes the directory of a new run and puts it into the queue; gives its name.
    pub(super) fn start(
        &self,
        entry: &Entry,
        plan: &Plan,
        minutes: Option<f64>,
        store: &ream_data::Store,
    ) -> Result<String> {
        self.room()?;
        let slots = slots(&plan.needs, plan.threads, self.limits());
        let allowance = Allowance::of(&plan.needs, plan.seeds.len(), slots, minutes, self.limits())?;
        let record = plan.record(entry, store)?;
        let dir = RunDir::create(self.0.runs.dir(), &record)?;
        allowance.write(&dir)?;
        let smoke = plan.preset == Preset::Smoke && !plan.modified;
        let ordered = Waiting::enter(&dir, false).and_then(|waiting| {
            self.room()?;
            self.queue(Job {
                id: record.id.clone(),
                timed: plan.needs.timed,
                smoke,
                slots,
                retry_failed: false,
                waiting: Some(waiting),
            })
        });
        if let Err(error) = ordered {
            // Somebody else took the last place meanwhile: nothing was started, so nothing stays.
            let _ = std::fs::remove_dir_all(dir.root());
            return Err(error);
        }
        Ok(record.id)
    }

    /// Puts a run that has not ended into the queue again.
    pub(super) fn resume(&self, dir: &RunDir, record: &RunRecord, retry_failed: bool) -> Result<()> {
        if ream_lab::driven(dir) || self.place(&record.id) != Place::Elsewhere {
            return Err(running(&record.id));
        }
        self.room()?;
        self.queue_again(dir, record, Waiting::enter(dir, retry_failed)?)
    }

    /// Puts a run at its place; where it cannot run, it gives the place up.
    fn queue_again(&self, dir: &RunDir, record: &RunRecord, waiting: Waiting) -> Result<()> {
        match self.job(dir, record, waiting.retry_failed()) {
            Ok(job) => self.queue(Job { waiting: Some(waiting), ..job }),
            Err(error) => {
                waiting.leave()?;
                Err(error)
            }
        }
    }

    fn job(&self, dir: &RunDir, record: &RunRecord, retry_failed: bool) -> Result<Job> {
        let (entry, system) = self.0.edition.system(&record.paper)?;
        entry.same_code(record)?;
        let (_, needs) = system.prepare(&record.config)?;
        let slots = slots(&needs, record.threads, self.limits());
        let before = Allowance::read(dir).map(|a| a.minutes);
        Allowance::of(&needs, record.seeds.len(), slots, before, self.limits())?.write(dir)?;
        let smoke = record.preset == Preset::Smoke && !record.modified;
        Ok(Job { id: record.id.clone(), timed: needs.timed, smoke, slots, retry_failed, waiting: None })
    }

    /// Takes over the runs whose workers live although nobody drives them, then those that had waited, in their order.
    pub(crate) fn adopt(&self) {
        let mut left = Vec::new();
        for name in self.0.runs.names().unwrap_or_default() {
            let Ok((dir, record)) = self.0.runs.open_exactly(&name) else { continue };
            if ream_lab::alive(&dir, &record) {
                if !ream_lab::driven(&dir) {
                    // A run of other code goes on without us.
                    let _ = self.resume(&dir, &record, false);
                }
            } else if let Some(waiting) = Waiting::take_over(&dir) {
                left.push((waiting, dir, record));
            }
        }
        left.sort_by_key(|(waiting, ..)| waiting.since());
        for (waiting, dir, record) in left {
            if let Err(error) = self.queue_again(&dir, &record, waiting) {
                // Of other code, as a rule: the run's page says it.
                self.note(&record.id, &format!("it had waited and could not be started: {error}"));
            }
        }
    }

    /// Notes in a run why it goes on no more. If even that cannot be written, its page shows an unfinished run.
    fn note(&self, id: &str, problem: &str) {
        if let Ok((dir, _)) = self.0.runs.open_exactly(id)
            && let Some(allowance) = Allowance::read(&dir)
        {
            let _ = Allowance { stopped: problem.to_owned(), ..allowance }.write(&dir);
        }
    }

    /// Asks a run to stop at its next safe point, or takes it out of the queue.
    pub(super) fn cancel(&self, dir: &RunDir, record: &RunRecord) -> Result<()> {
        let mut state = self.state();
        if let Some(active) = state.active.get(&record.id) {
            active.stop.store(true, Ordering::Relaxed);
            return Ok(());
        }
        if let Some(at) = state.queue.iter().position(|job| job.id == record.id) {
            let job = state.queue.remove(at);
            return job.and_then(|job| job.waiting).map_or(Ok(()), Waiting::leave);
        }
        drop(state);
        if !ream_lab::alive(dir, record) {
            return Err(Error::new(
                StatusCode::CONFLICT,
                "not_running",
                format!("Run {} is not running.", record.id),
            ));
        }
        let path = dir.file("cancel");
        std::fs::write(&path, "")
            .map_err(|e| Error::internal(&format!("cannot write {}: {e}", path.display())))
    }

    /// How a run stands here.
    pub(super) fn place(&self, id: &str) -> Place {
        let state = self.state();
        if let Some(active) = state.active.get(id) {
            let stopping = active.stop.load(Ordering::Relaxed);
            return Place::Driven { progress: active.progress.clone(), stopping };
        }
        state.queue.iter().position(|job| job.id == id).map_or(Place::Elsewhere, Place::Waiting)
    }

    /// Runs that are driven and runs that wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        let state = self.state();
        (state.active.len(), state.queue.len())
    }

    /// What every change of the state leaves is whole, so a panic elsewhere does not matter.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn room(&self) -> Result<()> {
        let waiting = self.state().queue.len();
        if waiting < self.0.limits.queue {
            return Ok(());
        }
        Err(Error::new(
            StatusCode::TOO_MANY_REQUESTS,
            "queue_full",
            format!(
                "{waiting} runs are waiting already; start this one when some of them have ended, or cancel one."
            ),
        ))
    }

    /// Puts a job at the end. What had waited before the site was started finds a place however many they are.
    fn queue(&self, job: Job) -> Result<()> {
        let mut state = self.state();
        if state.active.contains_key(&job.id) || state.queue.iter().any(|other| other.id == job.id) {
            return Err(running(&job.id));
        }
        state.queue.push_back(job);
        drop(state);
        self.pump();
        Ok(())
    }

    /// Starts what may start now.
    fn pump(&self) {
        let mut state = self.state();
        while let Some(at) = next(&state, &self.0.limits) {
            let Some(job) = state.queue.remove(at) else { break };
            let stop = Arc::new(AtomicBool::new(false));
            let active =
                Active { timed: job.timed, smoke: job.smoke, stop: Arc::clone(&stop), progress: None };
            state.active.insert(job.id.clone(), active);
            let this = self.clone();
            std::thread::spawn(move || this.drive(job, &stop));
        }
    }

    /// One launch of a run from its beginning to its report; on a thread of its own.
    fn drive(&self, mut job: Job, stop: &Arc<AtomicBool>) {
        let waiting = job.waiting.take();
        let launch = || self.launch(&job, waiting, stop);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(launch));
        let problem = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("the launcher failed".to_owned()),
        };
        if let Some(problem) = problem {
            self.note(&job.id, &problem);
        }
        self.state().active.remove(&job.id);
        self.pump();
    }

    fn launch(&self, job: &Job, mut waiting: Option<Waiting>, stop: &Arc<AtomicBool>) -> Result<()> {
        let (dir, record) = self.0.runs.open_exactly(&job.id)?;
        let entry = self.0.edition.get(&record.paper)?;
        let allowance = Allowance::read(&dir);
        let launch = Launch {
            program: self.0.program.clone(),
            home: self.0.home.clone(),
            retry_failed: job.retry_failed,
            slots: Some(job.slots),
            memory_mib: allowance.as_ref().map(|a| a.memory_mib),
            stop: Arc::clone(stop),
        };
        let minutes = allowance.as_ref().map_or(f64::INFINITY, |a| a.minutes);
        let mut over = false;
        let driven = drive(&dir, &record, &launch, |progress| {
            // Its workers are there now, and will be found by them.
            waiting.take().map(Waiting::leave);
            if progress.seconds > 60.0 * minutes && !stop.swap(true, Ordering::Relaxed) {
                over = true;
            }
            if let Some(active) = self.state().active.get_mut(&job.id) {
                active.progress = Some(progress.clone());
            }
        });
        waiting.map_or(Ok(()), Waiting::leave)?;
        driven?;
        if let Some(allowance) = allowance.filter(|_| over) {
            let stopped = format!("the time limit of {} was over", ream_lab::time::span(60.0 * minutes));
            Allowance { stopped, ..allowance }.write(&dir)?;
        }
        let report = Report::gather(&dir, &record, &entry.paper)?;
        report.write(&dir)?;
        entry.keep_smoke_digest(&report)?;
        Ok(())
    }
}

fn running(id: &str) -> Error {
    Error::new(StatusCode::CONFLICT, "running", format!("Run {id} is running already."))
}

/// Which job may start now, first come first served.
fn next(state: &State, limits: &RunLimits) -> Option<usize> {
    if state.active.values().any(|active| active.timed) {
        return None;
    }
    if state.active.len() < limits.at_once {
        // What measures time waits at the head of the queue until it is alone, and nothing passes it.
        let first = state.queue.front()?;
        return (!first.timed || state.active.is_empty()).then_some(0);
    }
    if state.active.values().any(|active| active.smoke) {
        return None;
    }
    let timed_first = state.queue.front().is_some_and(|job| job.timed);
    state.queue.iter().position(|job| job.smoke && !job.timed).filter(|_| !timed_first)
}

/// How a run stands, with the queue counted in: what waits here is not *unfinished*.
pub(super) fn standing(place: &Place, dir: &RunDir, record: &RunRecord) -> Result<(&'static str, usize)> {
    let (standing, finished) = Standing::of(dir, record)?;
    let word = match (place, standing) {
        (Place::Waiting(_), _) => "queued",
        (Place::Driven { stopping: true, .. }, _) => "stopping",
        (Place::Driven { .. }, _) => "running",
        (Place::Elsewhere, standing) => standing.name(),
    };
    Ok((word, finished))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(id: &str, smoke: bool, timed: bool) -> Job {
        Job { id: id.to_owned(), timed, smoke, slots: 1, retry_failed: false, waiting: None }
    }

    fn active(smoke: bool, timed: bool) -> Active {
        Active { timed, smoke, stop: Arc::default(), progress: None }
    }

    #[test]
    fn places_are_few_and_one_is_for_smoke_runs() {
        let limits = RunLimits { at_once: 1, queue: 9, minutes: 1.0, memory_mib: 1 };
        let mut state = State::default();
        state.queue.push_back(job("long", false, false));
        assert_eq!(next(&state, &limits), Some(0));
        state.active.insert("a".into(), active(false, false));
        assert_eq!(next(&state, &limits), None);
        state.queue.push_back(job("smoke", true, false));
        assert_eq!(next(&state, &limits), Some(1), "a smoke run passes");
        state.active.insert("b".into(), active(true, false));
        assert_eq!(next(&state, &limits), None, "but only one");
    }

    #[test]
    fn what_measures_time_is_alone() {
        let limits = RunLimits { at_once: 4, queue: 9, minutes: 1.0, memory_mib: 1 };
        let mut state = State::default();
        state.queue.push_back(job("timed", false, true));
        state.queue.push_back(job("smoke", true, false));
        assert_eq!(next(&state, &limits), Some(0));
        state.active.insert("a".into(), active(false, false));
        assert_eq!(next(&state, &limits), None, "it waits, and nothing passes it");
        state.active.clear();
        state.active.insert("t".into(), active(false, true));
        assert_eq!(next(&state, &limits), None, "nothing starts beside it");
    }
}
