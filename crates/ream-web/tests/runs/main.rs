//! Papers run on the site, over a real listener and with real workers; and what the site refuses.
//!
//! This test has its own `main` because it plays the parts of the tests, of the worker (`worker DIR --seed K --threads T`)
//! that the site starts; and a site that can be killed (`site HOME`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    unreachable_pub
)]

mod client;
mod fetching;
mod guarding;
mod html;
mod payloads;
mod probe;
mod running;
mod stopping;

use std::path::Path;
use std::process::{Command, ExitCode};

type Test = (&'static str, fn());

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["worker", dir, "--seed", seed, "--threads", threads] => {
            match probe::worker(Path::new(dir), seed.parse().unwrap(), threads.parse().unwrap()) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => {
                    eprintln!("error: {error}");
                    ExitCode::from(error.exit_code())
                }
            }
        }
        ["site", home] => client::serve_for_ever(Path::new(home)),
        ["--list", ..] => ExitCode::SUCCESS,
        _ if std::env::var_os("REAM_HOME").is_none() => in_a_home_of_its_own(&args),
        _ => run_tests(words.iter().find(|word| !word.starts_with('-')).copied()),
    }
}

/// What the lab keeps outside of a run's directory goes into a folder that is thrown away.
fn in_a_home_of_its_own(args: &[String]) -> ExitCode {
    let home = tempfile::tempdir().unwrap();
    let status =
        Command::new(std::env::current_exe().unwrap()).args(args).env("REAM_HOME", home.path()).status();
    if status.unwrap().success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run_tests(filter: Option<&str>) -> ExitCode {
    let (mut passed, mut failed) = (0, 0);
    for (name, test) in
        running::TESTS.iter().chain(&guarding::TESTS).chain(&stopping::TESTS).chain(&fetching::TESTS)
    {
        if filter.is_some_and(|f| !name.contains(f)) {
            continue;
        }
        let begun = std::time::Instant::now();
        let ok = std::panic::catch_unwind(test).is_ok();
        println!(
            "test {name} ... {} ({:.1} s)",
            if ok { "ok" } else { "FAILED" },
            begun.elapsed().as_secs_f64()
        );
        if ok { passed += 1 } else { failed += 1 }
    }
    let word = if failed == 0 { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {word}. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out"
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
