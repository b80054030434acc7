//! `ream serve` in a temporary home, stopped when dropped.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Result with words for what went wrong.
pub(crate) type Result<T, E = String> = std::result::Result<T, E>;

/// A running site.
pub(crate) struct Site {
    child: Child,
    home: TempDir,
    /// `http://127.0.0.1:PORT`.
    pub(crate) address: String,
}

impl Site {
    /// Starts the site with these lines of JSON imported first.
    pub(crate) fn start(papers: &str) -> Result<Self> {
        let home = tempfile::tempdir().map_err(|e| e.to_string())?;
        if !papers.is_empty() {
            let file = home.path().join("papers.jsonl");
            std::fs::write(&file, papers).map_err(|e| e.to_string())?;
            let done = ream(home.path())
                .arg("import")
                .arg(&file)
                .output()
                .map_err(|e| format!("ream import: {e}"))?;
            if !done.status.success() {
                return Err(format!("ream import: {}", String::from_utf8_lossy(&done.stderr)));
            }
        }
        let mut child = ream(home.path())
            .args(["serve", "--port", "0"])
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|e| format!("ream serve: {e}"))?;
        let out = child.stdout.take().ok_or("ream serve has no output")?;
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).map_err(|e| e.to_string())?;
        let address = line
            .split_whitespace()
            .find(|word| word.starts_with("http://"))
            .ok_or_else(|| format!("`ream serve` said no address: {line:?}"))?;
        Ok(Self { address: address.trim_end_matches('/').to_owned(), child, home })
    }

    /// An address of the site.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// The temporary home.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Asks it to stop, as a service manager does, and waits.
    pub(crate) fn stop(&mut self) -> Result<Duration> {
        let started = Instant::now();
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status().map_err(|e| e.to_string())?;
        while started.elapsed() < Duration::from_secs(20) {
            if self.child.try_wait().map_err(|e| e.to_string())?.is_some() {
                return Ok(started.elapsed());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Err("`ream serve` still runs 20 s after SIGTERM".to_owned())
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ream(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ream"));
    command.env("REAM_HOME", home).env_remove("REAM_DATABASE_URL");
    command
}

/// Where screenshots go: `$REAM_SCREENSHOTS`, else nowhere.
pub(crate) fn screenshots() -> Option<PathBuf> {
    std::env::var_os("REAM_SCREENSHOTS").filter(|v| !v.is_empty()).map(PathBuf::from)
}
