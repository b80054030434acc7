//! What an import costs: reads a file into a new store and index and prints seconds and memory.
//!
//!     cargo run --release -p ream-catalog --example import_rate -- [--write PAPERS] FILE
//!
//! `--write` first writes so many made-up papers into FILE, as JSON lines: titles of nine words, abstracts of 150, words whose frequency falls
//! with their rank. `REAM_DATABASE_URL` names a database, which must be empty; otherwise it is a file in a temporary folder.

#![allow(clippy::print_stdout, reason = "a program")]

use std::error::Error;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ream_catalog::import::Limits;
use ream_catalog::{Author, Catalog, Date, Record, Store, intake};
use ream_rand::Stream;

const VOCABULARY: f64 = 60_000.0;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let file = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["--write", papers, file] => {
            write(
                Path::new(file),
                papers.parse().map_err(|_| format!("`{papers}` is no number of papers"))?,
            )?;
            (*file).to_owned()
        }
        [file] => (*file).to_owned(),
        _ => return Err("wanted: [--write PAPERS] FILE".into()),
    };
    let folder = tempfile::tempdir()?;
    let address = std::env::var("REAM_DATABASE_URL")
        .unwrap_or_else(|_| format!("sqlite:{}", folder.path().join("papers.db").display()));
    let peaks = Peaks::watch();
    let begun = Instant::now();
    let catalog = Catalog::open(Store::open(&address).await?, &folder.path().join("index"), None).await?;
    let reader = BufReader::with_capacity(64 << 10, File::open(&file)?);
    let done = intake(catalog.store(), reader, None, Limits::default(), &file, &mut |_| {}).await?;
    let stored = begun.elapsed().as_secs_f64();
    peaks.print("stored");
    catalog.refresh().await?;
    let indexed = begun.elapsed().as_secs_f64();
    peaks.print("indexed");
    println!(
        "{} added, {} merged; stored after {stored:.1} s, indexed after {indexed:.1} s",
        done.added, done.merged
    );
    println!("peak resident: {:.0} MiB", status("VmHWM:") as f64 / 1024.0);
    catalog.store().close().await;
    Ok(())
}

/// Highest memory of its own and of mapped files, KiB, looked at every 20 ms.
struct Peaks {
    own: Arc<AtomicU64>,
    files: Arc<AtomicU64>,
    end: Arc<AtomicBool>,
}

impl Peaks {
    fn watch() -> Self {
        let peaks = Self { own: Arc::default(), files: Arc::default(), end: Arc::default() };
        let (own, files, end) = (Arc::clone(&peaks.own), Arc::clone(&peaks.files), Arc::clone(&peaks.end));
        thread::spawn(move || {
            while !end.load(Ordering::Relaxed) {
                own.fetch_max(status("RssAnon:"), Ordering::Relaxed);
                files.fetch_max(status("RssFile:"), Ordering::Relaxed);
                thread::sleep(Duration::from_millis(20));
            }
        });
        peaks
    }

    fn print(&self, when: &str) {
        let mib = |peak: &AtomicU64| peak.load(Ordering::Relaxed) as f64 / 1024.0;
        println!(
            "{when}: at most {:.0} MiB of its own and {:.0} MiB of files so far",
            mib(&self.own),
            mib(&self.files)
        );
    }
}

impl Drop for Peaks {
    fn drop(&mut self) {
        self.end.store(true, Ordering::Relaxed);
    }
}

/// A line of this process's status, KiB; 0 where the system has none.
fn status(line: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let found = text.lines().find_map(|text| text.strip_prefix(line));
    found.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn write(file: &Path, papers: usize) -> Result<(), Box<dyn Error>> {
    let mut out = BufWriter::new(File::create(file)?);
    let stream = Stream::new(1, "import-rate");
    for index in 0..papers {
        let mut generator = stream.at(index as u64);
        let mut uniform = || generator.uniform();
        serde_json::to_writer(&mut out, &record(index, &mut uniform))?;
        out.write_all(b"\n")?;
    }
    Ok(out.flush()?)
}

fn record(index: usize, uniform: &mut impl FnMut() -> f64) -> Record {
    let authors = 1 + (uniform() * 6.0) as usize;
    Record {
        title: text(9, uniform),
        arxiv: Some(format!(
            "{:02}{:02}.{:05}",
            10 + index / 1_200_000 % 16,
            1 + index / 100_000 % 12,
            index % 100_000
        )),
        summary: Some(text(150, uniform)),
        authors: (0..authors).map(|_| Author { name: text(2, uniform), affiliation: None }).collect(),
        organisations: vec![text(1, uniform)],
        date: Date::new(
            Some(2010 + (index % 16) as u16),
            Some(1 + (index % 12) as u8),
            Some(1 + (index % 28) as u8),
        ),
        topics: vec![format!("cs.{}", ["AI", "CL", "CV", "LG", "RO"][index % 5])],
        votes: Some((1.0 / (uniform() + 0.002)) as u32),
        ..Record::default()
    }
}

/// Words whose frequency falls with their rank.
fn text(words: usize, uniform: &mut impl FnMut() -> f64) -> String {
    let words: Vec<String> = (0..words).map(|_| word(libm::pow(VOCABULARY, uniform()) as usize)).collect();
    words.join(" ")
}

/// The same letters for the same number, always.
fn word(number: usize) -> String {
    let (mut rest, mut word) = (number, String::new());
    loop {
        word.push(char::from(b"bcdfghjklmnprstvwz"[rest % 18]));
        word.push(char::from(b"aeiou"[rest / 18 % 5]));
        rest /= 90;
        if rest == 0 {
            return word;
        }
    }
}
