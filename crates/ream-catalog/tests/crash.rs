//! `kill -9` under write load: what was acknowledged is there, the rest is whole or not there at all, the database is sound.
//!
//! Each round starts this binary as a writer, lets it write for a random while, and kills it: on PostgreSQL in turns the
//! writer, and the server with all its processes. `REAM_CRASH_ROUNDS=200` sets the number of rounds on each database.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use common::postgres::Server;
use common::{Database, block_on, paper, source};
use ream_catalog::{FeedQuery, Names, Store};
use ream_rand::Stream;
use sqlx::{AnyConnection, Connection, Row};

/// Numbers of papers that one writing task may use.
const SPAN: u32 = 100_000;
/// Writing tasks of a writer.
const TASKS: u32 = 2;
const ROUNDS: u32 = 6;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["writer", url, round] => {
            block_on(write(url, round.parse().unwrap()));
            ExitCode::SUCCESS
        }
        ["--list", ..] => ExitCode::SUCCESS,
        _ => run_tests(words.iter().find(|word| !word.starts_with('-')).copied()),
    }
}

type Test = (&'static str, fn());

const TESTS: [Test; 2] = [
    ("sqlite_keeps_what_it_acknowledged", sqlite_keeps_what_it_acknowledged),
    ("postgres_keeps_what_it_acknowledged", postgres_keeps_what_it_acknowledged),
];

fn run_tests(filter: Option<&str>) -> ExitCode {
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in TESTS {
        if filter.is_some_and(|f| !name.contains(f)) {
            continue;
        }
        let ok = std::panic::catch_unwind(test).is_ok();
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        if ok { passed += 1 } else { failed += 1 }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Writes until it is killed, or its server is. A line on standard output acknowledges a batch: the numbers of its papers.
async fn write(url: &str, round: u32) {
    let store = Store::open(url).await.unwrap();
    let mut tasks = Vec::new();
    for task in 0..TASKS {
        let store = store.clone();
        tasks.push(tokio::spawn(async move {
            let mut next = (round * TASKS + task) * SPAN;
            loop {
                let numbers: Vec<u32> = (next..next + 1 + next % 7).collect();
                next += numbers.len() as u32;
                let records: Vec<_> = numbers.iter().map(|&n| paper(n)).collect();
                if store.upsert(&records, &source("crash")).await.is_err() {
                    // its server is gone: no other task shall wait for it
                    std::process::exit(1);
                }
                let line: Vec<String> = numbers.iter().map(u32::to_string).collect();
                let mut out = std::io::stdout().lock();
                if writeln!(out, "{}", line.join(" ")).and_then(|()| out.flush()).is_err() {
                    return;
                }
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

struct Writer {
    child: Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Writer {
    fn start(url: &str, round: u32) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["writer", url, &round.to_string()])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            // a line without its end was not acknowledged whole, but each of its numbers was written out by then
            for line in stdout.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// Waits for the first acknowledgement, then for a random while.
    fn work(&self, round: u32) -> String {
        let first = self.lines.recv_timeout(Duration::from_secs(20)).expect("nothing was written");
        let pause = Stream::new(4, "crash").at(u64::from(round)).uniform();
        std::thread::sleep(Duration::from_secs_f64(0.08 * pause));
        first
    }

    /// All that was acknowledged before the end.
    fn finish(mut self, first: String) -> Vec<u32> {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < Duration::from_secs(20), "a writer without its server goes on");
            std::thread::sleep(Duration::from_millis(2));
        }
        let lines = std::iter::once(first).chain(self.lines.iter());
        lines.flat_map(|line| line.split(' ').map(|n| n.parse().unwrap()).collect::<Vec<u32>>()).collect()
    }
}

fn rounds() -> u32 {
    std::env::var("REAM_CRASH_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap())
}

fn sqlite_keeps_what_it_acknowledged() {
    let database = Database::sqlite();
    let mut tally = Tally::default();
    for round in 0..rounds() {
        let mut writer = Writer::start(&database.url, round);
        let first = writer.work(round);
        writer.child.kill().unwrap();
        tally.add(writer.finish(first));
        block_on(async {
            sound(&database.url, &tally).await;
            let answer =
                ask(&format!("sqlite://{}", database.file().display()), "PRAGMA integrity_check").await;
            assert_eq!(answer, ["ok"]);
            let answer =
                ask(&format!("sqlite://{}", database.file().display()), "PRAGMA foreign_key_check").await;
            assert!(answer.is_empty(), "{answer:?}");
        });
    }
    tally.report("sqlite");
}

fn postgres_keeps_what_it_acknowledged() {
    let mut server = Server::start();
    server.create("crash");
    let url = server.url("crash");
    let mut tally = Tally::default();
    for round in 0..rounds() {
        let mut writer = Writer::start(&url, round);
        let first = writer.work(round);
        if round % 2 == 0 {
            writer.child.kill().unwrap();
            tally.add(writer.finish(first));
        } else {
            server.kill();
            tally.add(writer.finish(first));
            server.launch();
        }
        block_on(sound(&url, &tally));
    }
    // every page of every table, and every row in every index
    let check = server
        .tool("pg_amcheck", "crash")
        .args(["--install-missing", "--heapallindexed", "--on-error-stop"])
        .output()
        .unwrap();
    assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stdout));
    tally.report("postgres");
}

async fn ask(url: &str, text: &'static str) -> Vec<String> {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(url).await.unwrap();
    let rows = sqlx::query(text).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

/// What was acknowledged so far.
#[derive(Default)]
struct Tally {
    numbers: BTreeSet<u32>,
    /// Checked in earlier rounds.
    old: BTreeSet<u32>,
    rounds: u32,
}

impl Tally {
    fn add(&mut self, numbers: Vec<u32>) {
        self.old = self.numbers.clone();
        self.numbers.extend(numbers);
        self.rounds += 1;
    }

    fn report(&self, name: &str) {
        println!("{name}: {} kills, {} acknowledged papers, all there", self.rounds, self.numbers.len());
    }
}

/// Acknowledged papers are there word for word, and whatever is derived from papers agrees with them.
async fn sound(url: &str, tally: &Tally) {
    let store = Store::open(url).await.unwrap();
    let fresh: Vec<String> = tally.numbers.difference(&tally.old).map(|&n| paper(n).arxiv.unwrap()).collect();
    let keys: Vec<&str> = fresh.iter().map(String::as_str).collect();
    let found = store.get_many(&keys).await.unwrap();
    assert_eq!(found.len(), keys.len(), "acknowledged papers are missing");
    for (stored, &n) in found.iter().zip(tally.numbers.difference(&tally.old)) {
        assert_eq!(stored.record, paper(n));
    }
    // the counts, kept apart, against the papers
    let mut authors = std::collections::BTreeMap::<String, u64>::new();
    let (mut papers, mut last) = (0, 0);
    loop {
        let page = store.changed_since(last, 5_000).await.unwrap();
        let Some(end) = page.last() else { break };
        last = end.change;
        papers += page.len() as u64;
        for paper in &page {
            let names: BTreeSet<&str> = paper.record.authors.iter().map(|a| a.name.as_str()).collect();
            for name in names {
                *authors.entry(name.to_owned()).or_default() += 1;
            }
        }
    }
    assert!(papers >= tally.numbers.len() as u64);
    let query = FeedQuery { limit: 1, ..FeedQuery::default() };
    assert_eq!(store.feed(&query).await.unwrap().total, papers);
    let page = store.names(Names::Authors, None, 1_000).await.unwrap();
    assert_eq!(page.total, authors.len() as u64);
    for name in page.items {
        assert_eq!(name.papers, authors[&name.name], "{}", name.name);
    }
    store.close().await;
}
