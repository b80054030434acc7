//! Programs that tests need and that are no crates: a PostgreSQL server, a browser with its driver, axe-core.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{Result, output, run, target};

/// Version of axe-core whose rules the pages are held against.
const AXE: &str = "axe-core@4.14.1";

/// Installs what is missing.
pub(crate) fn install() -> Result<()> {
    let mut missing = Vec::new();
    if !postgres_server() {
        missing.push("postgresql");
    }
    for program in ["chromium", "chromedriver"] {
        if !on_path(program) {
            missing.extend(["chromium", "chromium-driver"]);
            break;
        }
    }
    if !missing.is_empty() {
        debian(&missing)?;
    }
    axe().map(|_| ())
}

/// Where axe-core's script is; fetched when it is not there yet.
pub(crate) fn axe() -> Result<PathBuf> {
    let folder = target()?.join("axe-core");
    let script = folder.join("package/axe.min.js");
    if script.is_file() {
        return Ok(script);
    }
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let listed = output(Command::new("npm").args(["pack", "--silent", AXE]).current_dir(&folder))?;
    let archive = listed.lines().last().ok_or("npm pack named no file")?.trim();
    run(Command::new("tar").args(["-xzf", archive, "package/axe.min.js"]).current_dir(&folder))?;
    Ok(script)
}

/// Debian keeps its servers beside each other, outside `PATH`.
fn postgres_server() -> bool {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    on_path("postgres") || versions.map(|v| v.path().join("bin/postgres")).any(|p| p.is_file())
}

fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| Path::new(&folder).join(program).is_file())
}

/// A new machine knows no Debian package yet, so a failed install lists them and tries again.
fn debian(packages: &[&str]) -> Result<()> {
    let install = || {
        run(Command::new("apt-get")
            .args(["-qq", "install", "--yes", "--no-install-recommends"])
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"))
    };
    install().or_else(|_| {
        run(Command::new("apt-get").args(["-qq", "update"]))?;
        install()
    })
}
