//! The programs that are compared: how each is made and started.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{Result, cargo, output, root, run};

/// Version of PyTorch that the record speaks of.
const TORCH: &str = "2.15.0";

/// Threads of every side.
const THREADS: usize = 2;

/// Settings of numerical libraries that a machine may carry and a plain installation does not.
const TUNING: [&str; 8] = ["OPENBLAS_", "MKL_", "OMP_", "GOMP_", "KMP_", "DNNL_", "ONEDNN_", "NVPL_"];

/// What ream-nn is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Rival {
    Torch,
    TorchOneThread,
    TorchCompile,
}

pub(super) const RIVALS: [Rival; 3] = [Rival::Torch, Rival::TorchOneThread, Rival::TorchCompile];

impl Rival {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Torch => "torch",
            Self::TorchOneThread => "torch-1-thread",
            Self::TorchCompile => "torch-compile",
        }
    }

    pub(super) fn parse(name: &str) -> Result<Self> {
        RIVALS.into_iter().find(|r| r.name() == name).ok_or_else(|| {
            let all: Vec<&str> = RIVALS.iter().map(|r| r.name()).collect();
            format!("there is no rival `{name}`; they are {}", all.join(", "))
        })
    }
}

/// How to start a side's worker.
#[derive(Clone)]
pub(super) struct Side {
    pub(super) name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
}

impl Side {
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).current_dir(root());
        for name in tuning() {
            command.env_remove(name);
        }
        command
    }
}

/// Environment variables that workers do not see, in order.
pub(super) fn tuning() -> Vec<String> {
    let mut names: Vec<String> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .filter(|name| TUNING.iter().any(|prefix| name.starts_with(prefix)))
        .collect();
    names.sort();
    names
}

/// Our own worker, built.
pub(super) fn ream() -> Result<Side> {
    run(cargo().args(["build", "--locked", "--release", "--package", "bench-worker"]))?;
    let program = target_directory(&root().join("Cargo.toml"))?.join("release/bench-worker");
    Ok(Side { name: "ream", program, arguments: vec!["--threads".to_owned(), THREADS.to_string()] })
}

/// A rival's worker, installed.
pub(super) fn rival(rival: Rival) -> Result<Side> {
    let threads = if rival == Rival::TorchOneThread { 1 } else { THREADS };
    let mut arguments = vec!["--threads".to_owned(), threads.to_string()];
    arguments.insert(0, "benches/torch/worker.py".to_owned());
    if rival == Rival::TorchCompile {
        arguments.push("--compile".to_owned());
    }
    Ok(Side { name: rival.name(), program: torch()?, arguments })
}

fn target_directory(manifest: &Path) -> Result<PathBuf> {
    let text = output(
        cargo()
            .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
            .arg(manifest),
    )?;
    let metadata: serde_json::Value =
        serde_json::from_str(&text).map_err(|e| format!("cargo metadata: {e}"))?;
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .ok_or_else(|| "cargo metadata names no target directory".to_owned())
}

/// The Python of a virtual environment with PyTorch, made when missing in the user's cache folder.
fn torch() -> Result<PathBuf> {
    let folder = cache()?.join("ream-bench/torch");
    let python = folder.join("bin/python");
    let version =
        || output(Command::new(&python).args(["-c", "import numpy, torch; print(torch.__version__)"]));
    if !version().is_ok_and(|v| v.trim().split('+').next() == Some(TORCH)) {
        println!("installing PyTorch {TORCH} from PyPI into {}: about 6 GB", folder.display());
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
        run(Command::new(&python).args(["-m", "pip", "install", &format!("torch=={TORCH}"), "numpy"]))?;
        version()?;
    }
    Ok(python)
}

/// The user's cache folder.
pub(in crate::bench) fn cache() -> Result<PathBuf> {
    std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")))
        .ok_or_else(|| "neither XDG_CACHE_HOME nor HOME says where a cache may be".to_owned())
}
