//! Set-up, checks and benchmarks: `cargo xtask ci | bench | new-paper`.

// A task runner prints what it does.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod bench;
mod ci;
mod new_paper;
mod packages;
mod shell;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Tasks of the ream workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Everything the CI checks: format, lints, tests, documentation, every system's smoke preset, the README's commands
    Ci {
        /// Only these steps: format, lint, packages, test, doc, data, smoke, readme
        steps: Vec<String>,
        /// test: how often writers and servers are killed on each database, for instance 200
        #[arg(long)]
        crash_rounds: Option<u32>,
    },
    /// Recorded workloads; writes a folder under benches/runs
    Bench {
        /// Which suites: build, start-up, overhead, smoke, full, nn, lm, search, web, causal; start-up, overhead and smoke when none is named
        suites: Vec<String>,
        /// How often each workload runs
        #[arg(long, default_value_t = 5)]
        repeat: usize,
        /// nn, causal: only these workloads, for instance gpt,vqae; search: only these parts of quality,time,growth
        #[arg(long, value_delimiter = ',')]
        only: Vec<String>,
        /// nn: who else takes the same steps: torch, torch-1-thread, torch-compile
        #[arg(long, value_delimiter = ',', default_value = "torch")]
        rivals: Vec<String>,
        /// nn, lm, causal: blocks of theirs, ours, ours, theirs; ten or more are a measurement
        #[arg(long, default_value_t = 10)]
        blocks: usize,
    },
    /// The skeleton of a paper: paper.toml, module, test
    NewPaper {
        /// Short name: lower case, hyphens
        slug: String,
        /// Family, for instance causal
        #[arg(long)]
        family: String,
    },
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Ci { steps, crash_rounds } => ci::check(&steps, &ci::Options { crash_rounds }),
        Task::Bench { suites, repeat, only, rivals, blocks } => {
            bench::run(&suites, repeat, &bench::nn::Options { only, rivals, blocks })
        }
        Task::NewPaper { slug, family } => new_paper::run(&slug, &family),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
