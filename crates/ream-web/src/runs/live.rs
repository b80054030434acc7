//! What a run's workers have told so far, read from the ends of their event files as they grow; bounded in every direction.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use ream_lab::events::Event;
use ream_lab::{Axis, Figure, Layer, Panel, RunDir, RunRecord};

/// Bytes read of one file at once.
const STEP: u64 = 4 << 20;
/// A line that is longer is not kept.
const LONGEST_LINE: usize = 8 << 20;
/// Curves that are kept of a seed.
const CURVES: usize = 24;
/// Points that are kept of a curve; with more, every second one goes.
const POINTS: usize = 400;
/// Samples that are kept of a seed: the last ones.
const SAMPLES: usize = 12;
/// Characters that are kept of a sample.
const SAMPLE: usize = 8 * 1024;
/// Warnings and figures that are kept of a seed.
const MARKS: usize = 48;
/// Seeds whose curves are drawn.
const DRAWN_SEEDS: usize = 8;

/// Follows all seeds of a run.
pub(super) struct Live {
    dir: RunDir,
    seeds: BTreeMap<u64, Seed>,
}

/// What one seed has told.
#[derive(Default)]
struct Seed {
    /// Bytes of the file that are read.
    offset: u64,
    /// The beginning of a line whose end is not there yet.
    torn: Vec<u8>,
    /// Whether the rest of a line is passed over.
    skipping: bool,
    /// Events so far, rewound ones not counted: the number that a rewind mark names.
    count: u64,
    progress: Option<Step>,
    curves: BTreeMap<String, Curve>,
    samples: Vec<Told<(String, String)>>,
    warnings: Vec<Told<String>>,
    figures: Vec<Told<String>>,
}

/// How far a seed is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Step {
    /// 0..=1.
    pub(super) fraction: f64,
    /// What is being done.
    pub(super) what: String,
}

/// Something with the number of the event that told it.
struct Told<T>(u64, T);

#[derive(Default)]
struct Curve {
    /// Every how many points one is kept.
    stride: u64,
    seen: u64,
    /// Number of the event, step, value.
    points: Vec<(u64, f64, f64)>,
    last: Option<(u64, f64, f64)>,
}

impl Curve {
    fn push(&mut self, point: (u64, f64, f64)) {
        self.stride = self.stride.max(1);
        if self.seen.is_multiple_of(self.stride) {
            self.points.push(point);
        }
        self.seen += 1;
        self.last = Some(point);
        if self.points.len() > POINTS {
            let mut at = 0;
            self.points.retain(|_| {
                at += 1;
                at % 2 == 1
            });
            self.stride *= 2;
        }
    }

    fn rewind(&mut self, to: u64) {
        self.points.retain(|point| point.0 < to);
        self.last = self.points.last().copied();
    }

    /// Steps and values, the last one always among them.
    fn line(&self) -> (Vec<f64>, Vec<f64>) {
        let last = self.last.filter(|last| self.points.last().is_none_or(|kept| kept.0 != last.0));
        self.points.iter().copied().chain(last).map(|(_, x, y)| (x, y)).unzip()
    }
}

impl Live {
    /// Nothing is read yet.
    pub(super) fn new(dir: RunDir, record: &RunRecord) -> Self {
        Self { dir, seeds: record.seeds.iter().map(|seed| (*seed, Seed::default())).collect() }
    }

    /// Reads what there is, up to `most` bytes of each seed.
    pub(super) fn read_all(mut self, most: u64) -> Self {
        for _ in 0..most.div_ceil(STEP) {
            if !self.advance() {
                break;
            }
        }
        self
    }

    /// Reads on; whether there was anything new.
    pub(super) fn advance(&mut self) -> bool {
        let mut moved = false;
        for (number, seed) in &mut self.seeds {
            // A seed that has not begun has no file.
            if let Ok(mut file) = File::open(self.dir.seed(*number).join("events.jsonl")) {
                moved |= seed.read(&mut file).unwrap_or(false);
            }
        }
        moved
    }

    /// How far every seed that has begun is.
    pub(super) fn steps(&self) -> BTreeMap<u64, Step> {
        self.seeds.iter().filter_map(|(number, seed)| Some((*number, seed.progress.clone()?))).collect()
    }

    /// One picture for each curve that the seeds draw, with a line for each seed.
    pub(super) fn charts(&self) -> Vec<Figure> {
        let mut names: Vec<&String> = self.seeds.values().flat_map(|seed| seed.curves.keys()).collect();
        names.sort();
        names.dedup();
        names.into_iter().take(CURVES).map(|name| self.chart(name)).collect()
    }

    fn chart(&self, name: &str) -> Figure {
        let drawn =
            self.seeds.iter().filter_map(|(number, seed)| Some((number, seed.curves.get(name)?.line())));
        let lines: Vec<_> = drawn.take(DRAWN_SEEDS).collect();
        let values = || lines.iter().flat_map(|(_, (_, y))| y.iter().copied()).filter(|y| y.is_finite());
        let (low, high) = values().fold((f64::INFINITY, 0.0_f64), |(low, high), y| (low.min(y), high.max(y)));
        let log = low > 0.0 && low.is_finite() && high / low >= 50.0;
        let mut panel = Panel {
            x: Axis { label: "step".to_owned(), ..Axis::default() },
            y: Axis { log, ..Axis::default() },
            ..Panel::default()
        };
        for (number, (x, y)) in &lines {
            panel = panel.layer(Layer::line(format!("seed {number}"), x.clone(), y.clone()));
        }
        Figure::new(name, format!("{name} over the steps of each seed.")).panel(panel)
    }

    /// The last texts of every seed: seed, title, text.
    pub(super) fn samples(&self) -> Vec<(u64, &str, &str)> {
        let all = self.seeds.iter().flat_map(|(number, seed)| seed.samples.iter().map(move |s| (*number, s)));
        all.map(|(number, Told(_, (title, text)))| (number, title.as_str(), text.as_str())).collect()
    }

    /// Warnings of all seeds, each once.
    pub(super) fn warnings(&self) -> Vec<&str> {
        let mut all: Vec<&str> = Vec::new();
        for Told(_, text) in self.seeds.values().flat_map(|seed| &seed.warnings) {
            if !all.contains(&text.as_str()) {
                all.push(text);
            }
        }
        all
    }

    /// Figures that are drawn: name, and the first seed that drew it.
    pub(super) fn figures(&self) -> BTreeMap<&str, u64> {
        let mut all = BTreeMap::new();
        for (number, seed) in &self.seeds {
            for Told(_, name) in &seed.figures {
                all.entry(name.as_str()).or_insert(*number);
            }
        }
        all
    }
}

impl Seed {
    fn read(&mut self, file: &mut File) -> std::io::Result<bool> {
        if file.metadata()?.len() < self.offset {
            // Another file of that name: begin again.
            *self = Self::default();
        }
        file.seek(SeekFrom::Start(self.offset))?;
        let mut bytes = Vec::new();
        file.take(STEP).read_to_end(&mut bytes)?;
        self.offset += bytes.len() as u64;
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.torn.len() + part.len() > LONGEST_LINE {
                self.torn.clear();
                self.skipping = true;
            }
            if !self.skipping {
                self.torn.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                let line = std::mem::take(&mut self.torn);
                // A line that was passed over is an event all the same.
                match (std::mem::take(&mut self.skipping), serde_json::from_slice(&line)) {
                    (false, Ok(event)) => self.take(event),
                    (true, _) => self.count += 1,
                    // Torn by a crash: readers skip it, and so does the count.
                    (false, Err(_)) => {}
                }
            }
        }
        Ok(!bytes.is_empty())
    }

    fn take(&mut self, event: Event) {
        let number = self.count;
        self.count += 1;
        match event {
            Event::Progress { fraction, what, .. } => self.progress = Some(Step { fraction, what }),
            Event::Metric { name, step, value } => {
                if self.curves.contains_key(&name) || self.curves.len() < CURVES {
                    self.curves.entry(name).or_default().push((
                        number,
                        step as f64,
                        value.unwrap_or(f64::NAN),
                    ));
                }
            }
            Event::Sample { title, text } => {
                self.samples.retain(|Told(_, (other, _))| *other != title);
                keep(&mut self.samples, SAMPLES, Told(number, (title, text.chars().take(SAMPLE).collect())));
            }
            Event::Warn { text } => {
                keep(&mut self.warnings, MARKS, Told(number, text.chars().take(SAMPLE).collect()));
            }
            Event::Figure { name } => {
                self.figures.retain(|Told(_, other)| *other != name);
                keep(&mut self.figures, MARKS, Told(number, name));
            }
            Event::Table { .. } => {}
            Event::Rewind { to } => self.rewind(to),
        }
    }

    fn rewind(&mut self, to: u64) {
        self.count = to;
        self.samples.retain(|told| told.0 < to);
        self.warnings.retain(|told| told.0 < to);
        self.figures.retain(|told| told.0 < to);
        self.curves.values_mut().for_each(|curve| curve.rewind(to));
        self.curves.retain(|_, curve| curve.last.is_some());
    }
}

/// Adds to a list that holds the last `most`.
fn keep<T>(list: &mut Vec<Told<T>>, most: usize, told: Told<T>) {
    if list.len() >= most {
        list.remove(0);
    }
    list.push(told);
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn seed_of(lines: &str) -> Seed {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(lines.as_bytes()).unwrap();
        let mut seed = Seed::default();
        assert!(seed.read(&mut file).unwrap());
        assert!(!seed.read(&mut file).unwrap(), "nothing new");
        seed
    }

    fn metric(step: u64, value: f64) -> String {
        format!("{{\"event\":\"metric\",\"name\":\"loss\",\"step\":{step},\"value\":{value}}}\n")
    }

    #[test]
    fn a_line_counts_when_its_end_is_there() {
        let mut file = tempfile::tempfile().unwrap();
        let line = metric(1, 2.0);
        file.write_all(&line.as_bytes()[..20]).unwrap();
        let mut seed = Seed::default();
        seed.read(&mut file).unwrap();
        assert!(seed.curves.is_empty());
        file.seek(SeekFrom::End(0)).unwrap();
        file.write_all(&line.as_bytes()[20..]).unwrap();
        seed.read(&mut file).unwrap();
        assert_eq!(seed.curves["loss"].line(), (vec![1.0], vec![2.0]));
    }

    #[test]
    fn rewound_events_are_forgotten() {
        let rewind = "{\"event\":\"rewind\",\"to\":1}\n";
        let warn = "{\"event\":\"warn\",\"text\":\"w\"}\n";
        let torn = "{\"event\":\"metr\n";
        let before = format!("{}{}{warn}{torn}{rewind}", metric(1, 1.0), metric(2, 2.0));
        let seed = seed_of(&(before + &metric(2, 3.0)));
        assert_eq!(seed.curves["loss"].line(), (vec![1.0, 2.0], vec![1.0, 3.0]));
        assert!(seed.warnings.is_empty());
        assert_eq!(seed.count, 2);
    }

    #[test]
    fn curves_are_thinned_and_keep_their_ends() {
        let lines: String = (0..5000).map(|i| metric(i, i as f64)).collect();
        let seed = seed_of(&lines);
        let (x, _) = seed.curves["loss"].line();
        assert!(x.len() <= POINTS + 1 && x.len() > POINTS / 3, "{}", x.len());
        assert_eq!((x[0], x[x.len() - 1]), (0.0, 4999.0));
        assert!(x.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn everything_is_bounded() {
        let mut lines = String::new();
        for i in 0..200 {
            lines += &format!("{{\"event\":\"metric\",\"name\":\"m{i}\",\"step\":1,\"value\":null}}\n");
            lines +=
                &format!("{{\"event\":\"sample\",\"title\":\"t{i}\",\"text\":\"{}\"}}\n", "x".repeat(20_000));
            lines += &format!("{{\"event\":\"warn\",\"text\":\"w{i}\"}}\n");
        }
        let seed = seed_of(&lines);
        assert_eq!((seed.curves.len(), seed.samples.len(), seed.warnings.len()), (CURVES, SAMPLES, MARKS));
        assert!(seed.samples.iter().all(|told| told.1.1.len() == SAMPLE));
        assert_eq!(seed.samples[SAMPLES - 1].1.0, "t199");
    }
}
