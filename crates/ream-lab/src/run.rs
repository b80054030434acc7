//! What a system is given while one seed runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ream_paper::Place;
use ream_rand::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::artefact::ArtefactStore;
use crate::checkpoint::{Checkpoint, Saved};
use crate::error::{Error, Result};
use crate::events::{Event, EventLog};
use crate::figure::{Figure, Theme, render_svg};
use crate::files::{to_json, write_atomic};
use crate::observation::{At, Observation, Spread};
use crate::table::Table;

/// How often a system is told to save by [`Run::save_due`].
const SAVE_EVERY: Duration = Duration::from_secs(5);
/// How often progress is written and the cancel file looked for.
const TELL_EVERY: Duration = Duration::from_millis(200);
/// Tuning seeds start here, far from any evaluation seed.
const TUNING_BASE: u64 = 1 << 48;
/// Largest evaluation seed.
pub const LARGEST_SEED: u64 = TUNING_BASE - 1;

/// One seed of a run: where randomness and data come from, and where everything seen goes.
///
/// ```
/// use ream_lab::Run;
/// let mut run = Run::in_memory(1);
/// let mut rng = run.stream("noise").at(0);
/// run.observe("mean", "system", &[("n", 10.0.into())], rng.uniform());
/// assert_eq!(run.observations().len(), 1);
/// ```
pub struct Run {
    seed: u64,
    first: bool,
    position: u64,
    measures: Option<BTreeMap<String, u64>>,
    selected: Option<BTreeSet<String>>,
    own_data: Option<PathBuf>,
    store: ream_data::Store,
    artefacts: Option<ArtefactStore>,
    sink: Sink,
    /// Observations of the parts under way, innermost last; the first frame is the seed's own.
    frames: Vec<Frame>,
    checkpoint: Checkpoint,
    /// Seconds that earlier workers spent on this seed.
    seconds_before: f64,
    stop: Arc<AtomicBool>,
    started: Instant,
    last_save: Instant,
    last_told: Option<Instant>,
    timings: BTreeMap<String, f64>,
    warnings: Vec<String>,
    tables: Vec<Table>,
    figures: Vec<(String, Figure)>,
    problem: Option<String>,
}

struct Frame {
    path: String,
    observations: Vec<Observation>,
}

/// Where events and files go.
enum Sink {
    Memory,
    Directory { seed_dir: PathBuf, cancel: PathBuf, log: EventLog },
}

/// How a worker sets up its run.
pub(crate) struct Setup<'a> {
    pub(crate) seed: u64,
    pub(crate) position: u64,
    pub(crate) measures: BTreeMap<String, u64>,
    pub(crate) selected: Option<BTreeSet<String>>,
    pub(crate) own_data: Option<PathBuf>,
    pub(crate) store: ream_data::Store,
    /// Hashes of the paper's sources and of the crates below.
    pub(crate) code: (String, String),
    pub(crate) seed_dir: &'a Path,
    pub(crate) cancel: PathBuf,
    pub(crate) stop: Arc<AtomicBool>,
}

impl Run {
    /// A run that writes nothing: for tests, examples, and for using a system as a library. It wants every measure.
    #[must_use]
    pub fn in_memory(seed: u64) -> Self {
        Self {
            seed,
            first: true,
            position: 0,
            measures: None,
            selected: None,
            own_data: None,
            store: ream_data::Store::open(crate::home().join("data")),
            artefacts: None,
            sink: Sink::Memory,
            frames: vec![Frame { path: String::new(), observations: Vec::new() }],
            checkpoint: Checkpoint::default(),
            seconds_before: 0.0,
            stop: Arc::new(AtomicBool::new(false)),
            started: Instant::now(),
            last_save: Instant::now(),
            last_told: None,
            timings: BTreeMap::new(),
            warnings: Vec::new(),
            tables: Vec::new(),
            figures: Vec::new(),
            problem: None,
        }
    }

    /// The same, on the user's own file.
    #[must_use]
    pub fn in_memory_on(seed: u64, file: &Path) -> Self {
        Self { own_data: Some(file.to_owned()), ..Self::in_memory(seed) }
    }

    pub(crate) fn in_directory(setup: Setup<'_>) -> Result<Self> {
        let checkpoint = Checkpoint::read(&setup.seed_dir.join("checkpoint"))?.unwrap_or_default();
        let log = EventLog::open(&setup.seed_dir.join("events.jsonl"), checkpoint.events)?;
        Ok(Self {
            first: setup.position == 0,
            position: setup.position,
            measures: Some(setup.measures),
            selected: setup.selected,
            own_data: setup.own_data,
            store: setup.store,
            artefacts: Some(ArtefactStore {
                folder: crate::home().join("artefacts"),
                sources: setup.code.0,
                substrate: setup.code.1,
            }),
            sink: Sink::Directory { seed_dir: setup.seed_dir.to_owned(), cancel: setup.cancel, log },
            seconds_before: checkpoint.seconds,
            checkpoint,
            stop: setup.stop,
            ..Self::in_memory(setup.seed)
        })
    }

    /// Where artefacts live and which code makes them; `None` in memory.
    pub(crate) fn artefact_store(&self) -> Option<&ArtefactStore> {
        self.artefacts.as_ref()
    }

    #[cfg(test)]
    pub(crate) fn with_artefacts(mut self, folder: &Path, sources: &str, substrate: &str) -> Self {
        let (sources, substrate) = (sources.to_owned(), substrate.to_owned());
        self.artefacts = Some(ArtefactStore { folder: folder.to_owned(), sources, substrate });
        self
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Random numbers of this seed for a purpose.
    #[must_use]
    pub fn stream(&self, purpose: &str) -> Stream {
        Stream::new(self.seed, purpose)
    }

    /// The `i`-th seed for tuning: the same for every evaluation seed, and disjoint from all of them. Whatever is tuned
    /// is tuned here and then frozen, baselines with the same budget.
    #[must_use]
    pub fn tuning_seed(&self, i: u64) -> u64 {
        TUNING_BASE + i
    }

    /// Whether this is the run's first seed: what is observed once is observed here.
    #[must_use]
    pub fn is_first_seed(&self) -> bool {
        self.first
    }

    /// Whether this seed should observe a measure: the measure needs that many seeds, and a selected claim reads it.
    #[must_use]
    pub fn wanted(&self, measure: &str) -> bool {
        if self.selected.as_ref().is_some_and(|selected| !selected.contains(measure)) {
            return false;
        }
        match self.measures.as_ref().map(|m| m.get(measure)) {
            None | Some(None) => true,
            Some(Some(0)) => self.first,
            Some(Some(seeds)) => self.position < *seeds,
        }
    }

    /// The user's own file, when the run is on one.
    #[must_use]
    pub fn own_data(&self) -> Option<&Path> {
        self.own_data.as_deref()
    }

    /// The verified file of a data set.
    ///
    /// # Errors
    /// [`Error::DataMissing`] with the command that fetches it.
    pub fn data(&self, id: &str) -> Result<PathBuf> {
        Ok(self.store.path(id)?)
    }

    /// Whether a data set is there.
    #[must_use]
    pub fn has_data(&self, id: &str) -> bool {
        self.store.path(id).is_ok()
    }

    /// Says how far the seed is and looks whether it should stop; cheap enough for an inner loop.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when asked to stop; the disk may be full.
    pub fn progress(&mut self, fraction: f64, what: &str) -> Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Error::Cancelled);
        }
        if self.last_told.is_some_and(|told| told.elapsed() < TELL_EVERY) {
            return Ok(());
        }
        self.last_told = Some(Instant::now());
        let seconds = self.started.elapsed().as_secs_f64();
        if let Sink::Directory { cancel, log, .. } = &mut self.sink {
            let fraction = if fraction.is_finite() { fraction.clamp(0.0, 1.0) } else { 0.0 };
            log.append(&Event::Progress { fraction, what: what.to_owned(), seconds })?;
            log.flush()?;
            if cancel.exists() {
                return Err(Error::Cancelled);
            }
        }
        Ok(())
    }

    /// A point of a curve, for instance a training loss. Not an observation: no claim can read it.
    pub fn metric(&mut self, name: &str, step: u64, value: f64) {
        let value = value.is_finite().then_some(value);
        self.tell(&Event::Metric { name: name.to_owned(), step, value });
    }

    /// A table for the report; a later one of the same title takes its place.
    pub fn table(&mut self, table: Table) {
        self.tell(&Event::Table { table: table.clone() });
        self.tables.retain(|t| t.title != table.title);
        self.tables.push(table);
    }

    /// A text for the report.
    pub fn sample(&mut self, title: &str, text: &str) {
        self.tell(&Event::Sample { title: title.to_owned(), text: text.to_owned() });
    }

    /// Something a reader must know, in words a researcher understands.
    pub fn warn(&mut self, text: impl Into<String>) {
        let text = text.into();
        if !self.warnings.contains(&text) {
            self.tell(&Event::Warn { text: text.clone() });
            self.warnings.push(text);
        }
    }

    /// A picture. `name` becomes a file name: lower-case letters, digits, hyphens.
    ///
    /// # Errors
    /// The figure is inconsistent, the name is not allowed, or the disk is full.
    pub fn figure(&mut self, name: &str, figure: Figure) -> Result<()> {
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        {
            return Err(Error::failed(format!(
                "figure name `{name}`: lower-case letters, digits and hyphens"
            )));
        }
        let svg = render_svg(&figure, Theme::Auto, 760.0)
            .map_err(|e| Error::failed(format!("figure `{name}`: {e}")))?;
        if let Sink::Directory { seed_dir, .. } = &self.sink {
            let dir = seed_dir.join("figures");
            std::fs::create_dir_all(&dir).map_err(Error::io("create", &dir))?;
            write_atomic(&dir.join(format!("{name}.json")), &to_json(&figure)?)?;
            write_atomic(&dir.join(format!("{name}.svg")), svg.as_bytes())?;
        }
        self.tell(&Event::Figure { name: name.to_owned() });
        self.figures.retain(|(other, _)| other != name);
        self.figures.push((name.to_owned(), figure));
        Ok(())
    }

    /// One value of a measure.
    pub fn observe(&mut self, measure: &str, arm: &str, at: &[(&str, Place)], value: f64) {
        self.push(measure, arm, at, value, None);
    }

    /// One value of a measure with its own uncertainty.
    pub fn observe_with(
        &mut self,
        measure: &str,
        arm: &str,
        at: &[(&str, Place)],
        value: f64,
        spread: Spread,
    ) {
        self.push(measure, arm, at, value, Some(spread));
    }

    fn push(&mut self, measure: &str, arm: &str, at: &[(&str, Place)], value: f64, spread: Option<Spread>) {
        let at: At = at.iter().map(|(key, place)| ((*key).to_owned(), place.clone())).collect();
        let observation = Observation { measure: measure.to_owned(), arm: arm.to_owned(), at, value, spread };
        let note = if !observation.is_finite() {
            Some(format!("{observation} is not a finite number"))
        } else if self.measures.as_ref().is_some_and(|m| !m.contains_key(measure)) {
            Some(format!("{observation}: paper.toml declares no such measure"))
        } else {
            None
        };
        if note.is_some() {
            self.problem = self.problem.take().or(note);
        } else if let Some(frame) = self.frames.last_mut() {
            frame.observations.push(observation);
        }
    }

    /// All observations so far.
    #[must_use]
    pub fn observations(&self) -> Vec<Observation> {
        let mut all: Vec<Observation> =
            self.frames.iter().flat_map(|f| f.observations.iter().cloned()).collect();
        all.sort_by(Observation::order);
        all
    }

    /// Tables so far.
    #[must_use]
    pub fn tables(&self) -> &[Table] {
        &self.tables
    }

    /// Figures so far, with their names.
    #[must_use]
    pub fn figures(&self) -> &[(String, Figure)] {
        &self.figures
    }

    /// Warnings so far.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Does a part of the work once: when it was finished before a crash, its result and observations come back and
    /// the work is not done again. Parts may hold parts.
    ///
    /// # Errors
    /// Those of `work`; a stored result that no longer fits the type; the disk may be full.
    pub fn part<T: Serialize + DeserializeOwned>(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<T> {
        let path = match self.frames.last() {
            Some(frame) if !frame.path.is_empty() => format!("{}/{name}", frame.path),
            _ => name.to_owned(),
        };
        if let Some(done) = self.checkpoint.parts.get(&path).cloned() {
            if let Some(frame) = self.frames.last_mut() {
                frame.observations.extend(done.observations);
            }
            return decode(&path, &done.value);
        }
        let begun = Instant::now();
        self.frames.push(Frame { path: path.clone(), observations: Vec::new() });
        let result = work(self);
        let observations = self.frames.pop().map(|frame| frame.observations).unwrap_or_default();
        let result = result?;
        let inner = format!("{path}/");
        self.checkpoint.parts.retain(|key, _| !key.starts_with(&inner));
        self.checkpoint.states.retain(|key, _| *key != path && !key.starts_with(&inner));
        self.checkpoint.parts.insert(
            path.clone(),
            Saved { value: encode(&path, &result)?, observations: observations.clone() },
        );
        if let Some(frame) = self.frames.last_mut() {
            frame.observations.extend(observations);
        }
        *self.timings.entry(path).or_default() += begun.elapsed().as_secs_f64();
        self.write_checkpoint()?;
        Ok(result)
    }

    /// Whether enough time has passed since the last save to make another one worth its cost.
    #[must_use]
    pub fn save_due(&self) -> bool {
        matches!(self.sink, Sink::Directory { .. }) && self.last_save.elapsed() >= SAVE_EVERY
    }

    /// Keeps the state of the part under way; a worker that dies after this goes on from here.
    ///
    /// # Errors
    /// The disk may be full.
    pub fn save<T: Serialize>(&mut self, state: &T) -> Result<()> {
        if let Some(frame) = self.frames.last() {
            let saved =
                Saved { value: encode(&frame.path, state)?, observations: frame.observations.clone() };
            self.checkpoint.states.insert(frame.path.clone(), saved);
        }
        self.write_checkpoint()
    }

    /// The state that [`Run::save`] kept for the part under way, when a worker before this one died in it.
    ///
    /// # Errors
    /// The stored state does not fit the type.
    pub fn resume<T: DeserializeOwned>(&mut self) -> Result<Option<T>> {
        let Some(frame) = self.frames.last_mut() else { return Ok(None) };
        let Some(saved) = self.checkpoint.states.get(&frame.path) else { return Ok(None) };
        frame.observations.clone_from(&saved.observations);
        decode(&frame.path, &saved.value).map(Some)
    }

    fn write_checkpoint(&mut self) -> Result<()> {
        self.last_save = Instant::now();
        self.checkpoint.seconds = self.seconds_before + self.started.elapsed().as_secs_f64();
        if let Sink::Directory { seed_dir, log, .. } = &mut self.sink {
            log.flush()?;
            self.checkpoint.events = log.count();
            self.checkpoint.write(&seed_dir.join("checkpoint"))?;
        }
        Ok(())
    }

    /// Events are told as they come; a disk that is full is noticed at the next progress, part or save.
    fn tell(&mut self, event: &Event) {
        if let Sink::Directory { log, .. } = &mut self.sink
            && let Err(error) = log.append(event)
        {
            self.problem = self.problem.take().or(Some(error.to_string()));
        }
    }

    /// The observations in canonical order and the timings, once the system has returned.
    pub(crate) fn finish(&mut self) -> Result<(Vec<Observation>, BTreeMap<String, f64>)> {
        if let Some(problem) = self.problem.take() {
            return Err(Error::failed(problem));
        }
        if let Sink::Directory { log, .. } = &mut self.sink {
            log.flush()?;
        }
        let observations = self.observations();
        if let Some(twice) = observations.windows(2).find(|pair| pair[0].key() == pair[1].key()) {
            return Err(Error::failed(format!("{} was observed twice", twice[0])));
        }
        let mut timings = std::mem::take(&mut self.timings);
        timings.insert("total".to_owned(), self.seconds_before + self.started.elapsed().as_secs_f64());
        Ok((observations, timings))
    }
}

fn encode<T: Serialize>(path: &str, value: &T) -> Result<Vec<u8>> {
    postcard::to_stdvec(value)
        .map_err(|e| Error::failed(format!("cannot keep the state of part `{path}`: {e}")))
}

fn decode<T: DeserializeOwned>(path: &str, bytes: &[u8]) -> Result<T> {
    postcard::from_bytes(bytes)
        .map_err(|e| Error::failed(format!("the kept state of part `{path}` cannot be read: {e}")))
}
