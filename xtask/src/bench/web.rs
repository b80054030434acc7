//! `cargo xtask bench web`: the site with 100,000 papers, asked over loopback.
//!
//! A release build imports made-up papers, serves them, and is asked by a few connections that each wait for their answer.
//! Everything is bounded in number and time. The raw latencies stay in the record, in microseconds.

mod client;
mod papers;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::shell::{Result, build};
use client::Connection;

/// Made-up papers.
const PAPERS: usize = 100_000;
/// No workload takes longer.
const LIMIT: Duration = Duration::from_secs(30);

/// Everything of one invocation.
#[derive(Serialize)]
pub(super) struct Report {
    papers: usize,
    /// Seconds of `ream import`, store and index.
    import_seconds: f64,
    /// Largest resident memory of `ream import`, MiB.
    import_peak_mib: f64,
    /// Seconds from the start of `ream serve` to its first answer, for each of several starts.
    start_seconds: Vec<f64>,
    /// Resident memory of the server after all workloads, MiB.
    resident_mib: f64,
    workloads: Vec<Load>,
}

/// Requests of one kind.
#[derive(Serialize)]
struct Load {
    name: &'static str,
    connections: usize,
    requests: usize,
    seconds: f64,
    per_second: f64,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    max_ms: f64,
    /// What the figures are held against.
    #[serde(skip_serializing_if = "Option::is_none")]
    aim: Option<&'static str>,
    reached: bool,
    /// Latency of every request in microseconds, apart by spaces, connection after connection in order of completion.
    microseconds: String,
}

struct Kind {
    name: &'static str,
    connections: usize,
    requests: usize,
    paths: Vec<String>,
    aim: Option<&'static str>,
    holds: fn(&Load) -> bool,
}

/// Measures import, start and requests.
pub(super) fn measure() -> Result<Report> {
    let program = build("release", &[])?;
    let home = tempfile::tempdir().map_err(|e| e.to_string())?;
    let file = home.path().join("papers.jsonl");
    papers::write(&file, PAPERS)?;
    let (import_seconds, import_peak_mib) = import(&program, home.path(), &file)?;
    println!("import of {PAPERS} papers: {import_seconds:.1} s, {import_peak_mib:.0} MiB");
    let mut start_seconds = Vec::new();
    for _ in 0..3 {
        let server = Server::start(&program, home.path())?;
        start_seconds.push(server.started);
    }
    println!("start: {start_seconds:.3?} s");
    let server = Server::start(&program, home.path())?;
    let workloads = kinds().iter().map(|kind| load(&server, kind)).collect::<Result<Vec<_>>>()?;
    let resident_mib = memory(server.child.id(), "VmRSS")?;
    println!("resident: {resident_mib:.0} MiB");
    Ok(Report { papers: PAPERS, import_seconds, import_peak_mib, start_seconds, resident_mib, workloads })
}

fn kinds() -> Vec<Kind> {
    let one = |path: &str| vec![path.to_owned()];
    vec![
        Kind {
            name: "feed",
            connections: 4,
            requests: 20_000,
            paths: one("/"),
            aim: Some("p50 <= 5 ms, p99 <= 50 ms, >= 1000/s"),
            holds: |l| l.p50_ms <= 5.0 && l.p99_ms <= 50.0 && l.per_second >= 1000.0,
        },
        Kind {
            name: "feed, every sort and family",
            connections: 4,
            requests: 4_000,
            paths: papers::feeds(),
            aim: Some("p50 <= 5 ms, p99 <= 50 ms"),
            holds: |l| l.p50_ms <= 5.0 && l.p99_ms <= 50.0,
        },
        Kind {
            name: "search",
            connections: 2,
            requests: 1_000,
            paths: papers::searches(),
            aim: Some("p95 <= 50 ms"),
            holds: |l| l.p95_ms <= 50.0,
        },
        Kind {
            name: "paper",
            connections: 4,
            requests: 4_000,
            paths: papers::pages(PAPERS),
            aim: None,
            holds: |_| true,
        },
        Kind {
            name: "api",
            connections: 4,
            requests: 4_000,
            paths: one("/api/v1/papers"),
            aim: None,
            holds: |_| true,
        },
    ]
}

fn load(server: &Server, kind: &Kind) -> Result<Load> {
    // A few that do not count: the first page of each kind fills caches.
    Connection::open(server.address)?.ask(&kind.paths, 0, 20, LIMIT)?;
    let begun = Instant::now();
    let each = kind.requests / kind.connections;
    let mut microseconds = Vec::with_capacity(kind.requests);
    std::thread::scope(|scope| -> Result<()> {
        let threads: Vec<_> = (0..kind.connections)
            .map(|k| {
                scope.spawn(move || Connection::open(server.address)?.ask(&kind.paths, k * each, each, LIMIT))
            })
            .collect();
        for thread in threads {
            microseconds.extend(thread.join().map_err(|_| "a connection's thread died".to_owned())??);
        }
        Ok(())
    })?;
    let seconds = begun.elapsed().as_secs_f64();
    let mut sorted = microseconds.clone();
    sorted.sort_unstable();
    let at = |share: f64| -> f64 {
        let last = sorted.len().saturating_sub(1);
        let index = (share * last as f64).ceil() as usize;
        sorted.get(index).map_or(f64::NAN, |us| f64::from(*us) / 1000.0)
    };
    let words = microseconds.iter().map(u32::to_string).collect::<Vec<_>>().join(" ");
    let mut measured = Load {
        name: kind.name,
        connections: kind.connections,
        requests: microseconds.len(),
        seconds,
        per_second: microseconds.len() as f64 / seconds,
        p50_ms: at(0.5),
        p95_ms: at(0.95),
        p99_ms: at(0.99),
        max_ms: at(1.0),
        aim: kind.aim,
        reached: true,
        microseconds: words,
    };
    measured.reached = (kind.holds)(&measured);
    println!(
        "{:<28} {:6.0}/s  p50 {:.2} ms  p95 {:.2}  p99 {:.2}  max {:.1}{}",
        measured.name,
        measured.per_second,
        measured.p50_ms,
        measured.p95_ms,
        measured.p99_ms,
        measured.max_ms,
        if measured.reached { "" } else { "  below the aim" }
    );
    Ok(measured)
}

/// Imports a file; gives seconds and the peak of resident memory.
fn import(program: &Path, home: &Path, file: &Path) -> Result<(f64, f64)> {
    let begun = Instant::now();
    let mut child = Command::new(program)
        .arg("import")
        .arg(file)
        .env("REAM_HOME", home)
        .stdout(Stdio::null())
        .spawn()
        .map_err(|e| format!("ream import: {e}"))?;
    let mut peak = 0.0_f64;
    loop {
        // The high-water mark vanishes with the process, so it is read while it lives.
        peak = memory(child.id(), "VmHWM").map_or(peak, |mib| mib.max(peak));
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            let seconds = begun.elapsed().as_secs_f64();
            return if status.success() {
                Ok((seconds, peak))
            } else {
                Err(format!("ream import: {status}"))
            };
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A line of `/proc/<pid>/status` in MiB.
fn memory(pid: u32, line: &str) -> Result<f64> {
    let path = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{path}: {e}"))?;
    text.lines()
        .find_map(|l| {
            l.strip_prefix(line)?.strip_prefix(':')?.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()
        })
        .map(|kib| kib / 1024.0)
        .ok_or_else(|| format!("{path}: no line {line}"))
}

struct Server {
    child: Child,
    address: SocketAddr,
    /// Seconds to the first answer.
    started: f64,
}

impl Server {
    fn start(program: &Path, home: &Path) -> Result<Self> {
        let begun = Instant::now();
        let mut child = Command::new(program)
            .args(["serve", "--port", "0"])
            .env("REAM_HOME", home)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("ream serve: {e}"))?;
        let out = child.stdout.take().ok_or("ream serve has no output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).map_err(|e| e.to_string())?;
        let address = line
            .split_whitespace()
            .find_map(|word| word.strip_prefix("http://")?.trim_end_matches('/').parse().ok())
            .ok_or_else(|| format!("`ream serve` said no address: {line:?}"))?;
        let mut server = Self { child, address, started: 0.0 };
        Connection::open(address)?.ask(&["/".to_owned()], 0, 1, LIMIT)?;
        server.started = begun.elapsed().as_secs_f64();
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
