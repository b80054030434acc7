//! One module for each command.

mod catalogue;
mod claims;
mod config;
mod data;
mod lm;
mod papers;
mod report;
mod run;
mod runs;
mod welcome;
mod worker;

use clap::CommandFactory;
use ream_lab::{Edition, Error, Result, Runs, Verdict, did_you_mean};

use crate::cli::{Cli, Command};
use crate::edition;
use crate::output;

/// What every command is given.
pub(crate) struct Context {
    pub(crate) edition: Edition,
    pub(crate) runs: Runs,
    pub(crate) json: bool,
}

/// Runs the command; gives the exit code.
pub(crate) fn run(cli: Cli) -> Result<u8> {
    let runs = cli.runs.unwrap_or_else(|| ream_lab::home().join("runs"));
    let context = Context { edition: edition::load()?, runs: Runs::new(runs), json: cli.json };
    let Some(command) = cli.command else { return welcome::show(&context) };
    match command {
        Command::Papers(args) => papers::list(&context, &args),
        Command::Show { paper } => papers::show(&context, &paper),
        Command::Run(args) => run::run(&context, &args),
        Command::Config { paper, preset, schema } => config::show(&context, &paper, preset.into(), schema),
        Command::Runs(command) => runs::run(&context, command),
        Command::Report(args) => report::show(&context, &args),
        Command::Compare { a, b } => report::compare(&context, &a, &b),
        Command::ExportRun { run, csv } => report::export(&context, &run, csv),
        Command::Claims(args) => claims::show(&context, &args),
        Command::Data(command) => data::run(&context, command),
        Command::Lm(command) => lm::run(&context, command),
        Command::Worker { run, seed, threads } => worker::work(&context, &run, seed, threads),
        Command::Search(args) => catalogue::search(&context, &args),
        Command::Import(args) => catalogue::import(&context, &args),
        Command::Export(args) => catalogue::export(&context, &args),
        Command::Serve(args) => catalogue::serve(context, &args),
        Command::Completions { shell } => completions(shell),
        Command::Man => manual(),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<u8> {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "ream", &mut bytes);
    output::text(&String::from_utf8_lossy(&bytes))?;
    Ok(0)
}

fn manual() -> Result<u8> {
    let mut bytes = Vec::new();
    let failed = |e: std::io::Error| Error::failed(format!("manual: {e}"));
    clap_mangen::Man::new(Cli::command()).render(&mut bytes).map_err(failed)?;
    for sub in Cli::command().get_subcommands().filter(|sub| !sub.is_hide_set()) {
        clap_mangen::Man::new(sub.clone()).render(&mut bytes).map_err(failed)?;
    }
    output::text(&String::from_utf8_lossy(&bytes))?;
    Ok(0)
}

/// Reads a verdict's words.
pub(crate) fn verdict(text: &str) -> Result<Verdict> {
    let plain = text.trim().to_lowercase().replace('-', " ");
    Verdict::ALL.into_iter().find(|v| v.name() == plain).ok_or_else(|| {
        let names: Vec<&str> = Verdict::ALL.iter().map(|v| v.name()).collect();
        Error::Input(format!(
            "there is no verdict `{text}`{}; they are {}",
            did_you_mean(&plain, names.iter().copied()),
            names.join(", ")
        ))
    })
}
