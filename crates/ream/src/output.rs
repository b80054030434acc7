//! Standard output and standard error.

// The command line is the one place that prints.
#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::{IsTerminal, Write};
use std::process::{Command, Stdio};

use ream_lab::report::text::Paint;
use ream_lab::{Error, Result, RunProgress, time};
use serde::Serialize;

/// Colours for standard output.
pub(crate) fn paint() -> Paint {
    let plain =
        std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty()) || !std::io::stdout().is_terminal();
    if plain { Paint::Plain } else { Paint::Ansi }
}

/// Prints a text; a reader that went away (`| head`) is no error.
pub(crate) fn text(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    let end: &[u8] = if text.is_empty() || text.ends_with('\n') { b"" } else { b"\n" };
    match out.write_all(text.as_bytes()).and_then(|()| out.write_all(end)).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a piece of a text at once, without an end of line; a reader that went away is no error.
pub(crate) fn piece(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::failed(format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints a value as JSON.
pub(crate) fn json<T: Serialize>(value: &T) -> Result<()> {
    let json = serde_json::to_string_pretty(value).map_err(|e| Error::failed(format!("JSON: {e}")))?;
    text(&json)
}

/// Says something beside the output.
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

/// The one error of a command.
pub(crate) fn error(error: &Error) {
    match error {
        Error::Cancelled => eprintln!("cancelled"),
        _ => eprintln!("error: {error}"),
    }
}

/// Progress on standard error: one line that changes in a terminal, a line now and then elsewhere.
pub(crate) struct Meter {
    terminal: bool,
    last: f64,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), last: 0.0 }
    }

    pub(crate) fn tell(&mut self, progress: &RunProgress) {
        let left = progress.left.map(|s| format!(", about {} left", time::span(s))).unwrap_or_default();
        let line = format!(
            "{:3.0} %  {} of {} seeds, {}{left}  {}",
            100.0 * progress.fraction,
            progress.done,
            progress.seeds,
            time::span(progress.seconds),
            progress.what
        );
        if self.terminal {
            let line: String = line.chars().take(110).collect();
            eprint!("\r\u{1b}[2K{line}");
        } else if progress.seconds - self.last >= 10.0 {
            self.last = progress.seconds;
            eprintln!("{line}");
        }
    }

    pub(crate) fn done(&self) {
        if self.terminal {
            eprint!("\r\u{1b}[2K");
        }
    }
}

/// Opens a page in the user's browser.
pub(crate) fn open(address: &str) -> Result<()> {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let started = Command::new(program).arg(address).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    started
        .map(drop)
        .map_err(|e| Error::Input(format!("cannot start `{program}` ({e}); open {address} in a browser")))
}

/// Asks a yes-or-no question when someone is there to answer.
pub(crate) fn ask(question: &str) -> bool {
    if !interactive() {
        return false;
    }
    eprint!("{question} [y/N] ");
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}

/// Whether someone is there to answer.
pub(crate) fn interactive() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// How far a download is, on standard error.
pub(crate) struct Download {
    name: String,
    terminal: bool,
    told: u64,
}

impl Download {
    pub(crate) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), terminal: std::io::stderr().is_terminal(), told: 0 }
    }

    pub(crate) fn tell(&mut self, bytes: u64, total: u64) {
        let line =
            format!("{}: {} of {}", self.name, ream_data::size_words(bytes), ream_data::size_words(total));
        if self.terminal {
            eprint!("\r\u{1b}[2K{line}");
        } else if bytes >= self.told + 20_000_000 {
            self.told = bytes;
            eprintln!("{line}");
        }
    }

    pub(crate) fn done(&self) {
        if self.terminal {
            eprint!("\r\u{1b}[2K");
        }
    }
}

/// How many of something are done, on standard error.
pub(crate) struct Count {
    what: &'static str,
    terminal: bool,
    told: u64,
}

impl Count {
    pub(crate) fn new(what: &'static str) -> Self {
        Self { what, terminal: std::io::stderr().is_terminal(), told: 0 }
    }

    pub(crate) fn tell(&mut self, done: u64) {
        self.line(done, &format!("{done} {}", self.what));
    }

    pub(crate) fn tell_of(&mut self, done: u64, all: u64) {
        self.line(done, &format!("{done} of {all} {}", self.what));
    }

    fn line(&mut self, done: u64, line: &str) {
        if self.terminal {
            eprint!("\r\u{1b}[2K{line}");
        } else if done >= self.told + 10_000 {
            self.told = done;
            eprintln!("{line}");
        }
    }

    pub(crate) fn done(&self) {
        if self.terminal {
            eprint!("\r\u{1b}[2K");
        }
    }
}
