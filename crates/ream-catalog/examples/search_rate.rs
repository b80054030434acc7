//! How fast search is: fills an index with made-up papers and times queries.
//!
//!     cargo run --release -p ream-catalog --example search_rate -- [--folder DIR] [--queries N] [--json] [--slow] PAPERS...
//!
//! For each number of papers: time to build, size on disk, memory, and the 50th and 99th percentile of a page of 20 hits with
//! facets, by words, by meaning, and fused; the exact scan over the vectors alone. Words follow Zipf's law over 60,000 made-up ones, an
//! abstract has 150; query words are drawn like words of titles, so common ones are common in queries too. Vectors are random: a scan does
//! not depend on them. `--slow` tells the slowest queries by words.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a program")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use ream_catalog::Mode;
use ream_catalog::search::{Document, Engine};

const DIMENSIONS: usize = 384;
const VOCABULARY: usize = 60_000;
const BATCH: usize = 5_000;

fn main() -> Result<(), Box<dyn Error>> {
    let mut folder: Option<PathBuf> = None;
    let (mut queries, mut json, mut slow, mut sizes) = (300, false, false, Vec::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--folder" => folder = Some(arguments.next().ok_or("--folder wants a path")?.into()),
            "--queries" => queries = arguments.next().ok_or("--queries wants a number")?.parse()?,
            "--json" => json = true,
            "--slow" => slow = true,
            size => {
                sizes.push(size.parse::<usize>().map_err(|_| format!("`{size}` is no number of papers"))?);
            }
        }
    }
    if sizes.is_empty() {
        sizes.push(10_000);
    }
    for papers in sizes {
        let own = folder
            .clone()
            .unwrap_or_else(std::env::temp_dir)
            .join(format!("search-rate-{}-{papers}", std::process::id()));
        let report = measure(&own, papers, queries.max(1), slow);
        std::fs::remove_dir_all(&own).ok();
        print(&report?, json);
    }
    Ok(())
}

struct Report {
    papers: usize,
    /// Names and values; names carry the unit.
    values: Vec<(&'static str, f64)>,
}

fn measure(folder: &Path, papers: usize, queries: usize, slow: bool) -> Result<Report, Box<dyn Error>> {
    let words = Words::new();
    let mut random = Random(1);
    let mut engine = Engine::open(folder, DIMENSIONS)?;
    let before = memory("RssAnon:");
    let start = Instant::now();
    let mut put = 0;
    while put < papers {
        let batch: Vec<Document> =
            (put..papers.min(put + BATCH)).map(|i| paper(i, &words, &mut random)).collect();
        put += batch.len();
        engine.put(&batch)?;
    }
    engine.commit()?;
    engine.rest()?;
    let build = start.elapsed().as_secs_f64();
    let text_memory = memory("RssAnon:") - before;
    for first in (0..papers).step_by(BATCH) {
        let vectors: Vec<_> =
            (first..papers.min(first + BATCH)).map(|i| (handle(i), random.unit())).collect();
        engine.put_vectors(vectors);
    }
    engine.commit()?;
    let asked: Vec<(String, Vec<f32>)> =
        (0..queries).map(|i| (query(i, &words, &mut random), random.unit())).collect();
    let mut values = vec![
        ("build_s", build),
        ("index_mb", size(folder) as f64 / 1e6),
        ("index_heap_mb", text_memory),
        ("heap_mb", memory("RssAnon:")),
    ];
    for (names, mode) in [
        (["text_p50_ms", "text_p99_ms"], Mode::Text),
        (["meaning_p50_ms", "meaning_p99_ms"], Mode::Meaning),
        (["fused_p50_ms", "fused_p99_ms"], Mode::Fused),
    ] {
        let times = timed(&asked, |text, vector| Ok(engine.search(text, mode, Some(vector), 20)?.total))?;
        if slow && mode == Mode::Text {
            tell_slowest(&engine, &asked, &times)?;
        }
        values.extend(names.into_iter().zip(percentiles(times)));
    }
    let scans = percentiles(timed(&asked, |_, vector| Ok(engine.scan(vector, 100)))?);
    values.extend(["scan_p50_ms", "scan_p99_ms"].into_iter().zip(scans));
    values.push(("scan_ns_a_paper", scans[0] * 1e6 / papers.max(1) as f64));
    values.push(("rss_mb", memory("VmRSS:")));
    Ok(Report { papers, values })
}

fn timed(
    asked: &[(String, Vec<f32>)],
    search: impl Fn(&str, &[f32]) -> Result<usize, Box<dyn Error>>,
) -> Result<Vec<f64>, Box<dyn Error>> {
    // Once unmeasured: files come into memory.
    for (text, vector) in asked.iter().take(20) {
        search(text, vector)?;
    }
    let mut times = Vec::with_capacity(asked.len());
    for (text, vector) in asked {
        let start = Instant::now();
        search(text, vector)?;
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(times)
}

/// Ten of the slowest queries and what they find.
fn tell_slowest(engine: &Engine, asked: &[(String, Vec<f32>)], times: &[f64]) -> Result<(), Box<dyn Error>> {
    let mut order: Vec<usize> = (0..times.len()).collect();
    order.sort_by(|a, b| times[*b].total_cmp(&times[*a]));
    for i in order.into_iter().take(10) {
        let found = engine.search(&asked[i].0, Mode::Text, None, 20)?;
        eprintln!("  {:.1} ms, {} hits: {} {:?}", times[i], found.total, asked[i].0, found.notes);
    }
    Ok(())
}

/// The 50th and 99th percentile.
fn percentiles(mut times: Vec<f64>) -> [f64; 2] {
    times.sort_by(f64::total_cmp);
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    [at(50), at(99)]
}

fn print(Report { papers, values }: &Report, json: bool) {
    if json {
        let values: Vec<String> =
            values.iter().map(|(name, value)| format!("\"{name}\":{value:.4}")).collect();
        println!("{{\"papers\":{papers},{}}}", values.join(","));
    } else {
        println!("{papers} papers");
        values.iter().for_each(|(name, value)| println!("  {name:<16} {value:.3}"));
    }
}

fn handle(i: usize) -> String {
    format!("{:02}{:02}.{i:07}", 10 + i % 16, 1 + i % 12)
}

fn paper(i: usize, words: &Words, random: &mut Random) -> Document {
    let author = |random: &mut Random| {
        let (given, family) = (random.below(400), random.below(20_000));
        format!("{} {}", words.spelled(VOCABULARY + given), words.spelled(2 * VOCABULARY + family))
    };
    let tested = random.below(100) == 0;
    Document {
        handle: handle(i),
        title: words.row(8, random),
        texts: vec![words.row(150, random)],
        authors: (0..1 + random.below(6)).map(|_| author(random)).collect(),
        organisations: vec![format!("Institute {}", random.below(2000))],
        family: tested.then(|| format!("family-{}", random.below(9))),
        topics: vec![format!("cs.{}", random.below(40))],
        claims: if tested { vec![words.row(12, random)] } else { Vec::new() },
        verdicts: if tested { vec!["confirmed".into()] } else { Vec::new() },
        year: Some(2010 + (i % 16) as u16),
        runs: tested,
        minutes: tested.then(|| random.below(60) as f64),
        arxiv: Some(handle(i)),
    }
}

/// One to three words; every tenth a phrase, every tenth a beginning, every tenth with a year.
fn query(i: usize, words: &Words, random: &mut Random) -> String {
    let text = words.row(1 + i % 3, random);
    match i % 10 {
        7 => format!("\"{text}\""),
        8 => format!("{}*", &text[..text.len().min(5)].trim()),
        9 => format!("{text} year:2020.."),
        _ => text,
    }
}

/// Made-up words under Zipf's law.
struct Words {
    all: Vec<String>,
    /// Cumulated weights.
    weights: Vec<f64>,
}

impl Words {
    fn new() -> Self {
        let mut sum = 0.0;
        let weights = (1..=VOCABULARY)
            .map(|rank| {
                sum += 1.0 / (rank as f64 + 2.7);
                sum
            })
            .collect();
        let mut words = Self { all: Vec::new(), weights };
        words.all = (0..VOCABULARY).map(|i| words.spelled(i)).collect();
        words
    }

    /// The same letters for the same number, always.
    fn spelled(&self, number: usize) -> String {
        let mut random = Random(number as u64 + 7);
        let syllables = 2 + random.below(3);
        (0..syllables)
            .flat_map(|_| {
                let consonant = b"bcdfghjklmnprstvwz"[random.below(18)];
                let vowel = b"aeiou"[random.below(5)];
                [char::from(consonant), char::from(vowel)]
            })
            .collect()
    }

    fn row(&self, length: usize, random: &mut Random) -> String {
        let total = self.weights[VOCABULARY - 1];
        let word = |random: &mut Random| {
            let place = self.weights.partition_point(|weight| *weight < random.uniform() * total);
            self.all[place.min(VOCABULARY - 1)].as_str()
        };
        let words: Vec<&str> = (0..length).map(|_| word(random)).collect();
        words.join(" ")
    }
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn unit(&mut self) -> Vec<f32> {
        let raw: Vec<f32> = (0..DIMENSIONS).map(|_| self.uniform() as f32 - 0.5).collect();
        let norm = raw.iter().map(|x| x * x).sum::<f32>().sqrt();
        raw.iter().map(|x| x / norm).collect()
    }
}

/// A line of this process's status, MB; 0 where the system has none.
fn memory(line: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = status.lines().find_map(|text| text.strip_prefix(line));
    let kb = found.and_then(|text| text.trim().trim_end_matches(" kB").parse::<f64>().ok());
    kb.unwrap_or(0.0) / 1e3
}

fn size(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(data) if data.is_dir() => size(&entry.path()),
            Ok(data) => data.len(),
            Err(_) => 0,
        })
        .sum()
}
