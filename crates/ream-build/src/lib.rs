//! What build scripts do: embed a family's papers and results, hash sources, ask git for the commit.
//!
//! A family's `build.rs` is `fn main() -> std::io::Result<()> { ream_build::family() }`; its `lib.rs` includes the file that this
//! writes. A paper without a system needs only its `paper.toml`.

// A build script talks to cargo on standard output.
#![allow(clippy::print_stdout)]

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

/// Writes `family.rs` into `OUT_DIR`: a constant `PAPERS` of `ream_lab::Embedded`.
///
/// # Errors
/// A folder cannot be read or `OUT_DIR` cannot be written.
pub fn family() -> io::Result<()> {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    // The whole folder: cargo would run this at every build for a `results` that does not exist yet.
    println!("cargo::rerun-if-changed={}", root.display());
    let mut modules = Vec::new();
    let mut shared = Vec::new();
    for entry in sorted(&root.join("src"))? {
        if entry.is_dir() {
            if entry.join("paper.toml").is_file() { modules.push(entry) } else { shared.push(entry) }
        } else if entry.file_name().is_some_and(|name| name != "lib.rs") {
            // `lib.rs` only lists the systems: a paper added there changes no other paper's results.
            shared.push(entry);
        }
    }
    let data = root.join("data");
    if data.is_dir() {
        shared.push(data);
    }
    let mut text =
        String::from("/// The papers of this family.\npub static PAPERS: &[ream_lab::Embedded] = &[\n");
    for module in &modules {
        text.push_str(&embedded(&root, module, &shared)?);
    }
    text.push_str("];\n");
    fs::write(Path::new(&variable("OUT_DIR")?).join("family.rs"), text)
}

fn embedded(root: &Path, module: &Path, shared: &[PathBuf]) -> io::Result<String> {
    let toml = module.join("paper.toml");
    let slug = slug(&fs::read_to_string(&toml)?)
        .ok_or_else(|| io::Error::other(format!("{}: no line `slug = \"...\"`", toml.display())))?;
    let result = root.join("results").join(format!("{slug}.json"));
    let result = if result.is_file() { format!("Some(include_str!({result:?}))") } else { "None".to_owned() };
    let mut paths = vec![module.to_owned()];
    paths.extend_from_slice(shared);
    let mut entry = String::new();
    let _ = writeln!(
        entry,
        "    ream_lab::Embedded {{ slug: {slug:?}, file: {:?}, toml: include_str!({toml:?}), result: {result}, sources: {:?} }},",
        toml.strip_prefix(root).unwrap_or(&toml).display().to_string(),
        hash(root, &paths)?
    );
    Ok(entry)
}

/// The slug of a `paper.toml`: the real parser reads it later; here only the file's name for its results is needed.
fn slug(toml: &str) -> Option<String> {
    let line = toml.lines().find_map(|line| line.strip_prefix("slug"))?;
    let value = line.trim_start().strip_prefix('=')?.trim().strip_prefix('"')?;
    Some(value.split_once('"')?.0.to_owned())
}

/// Hash of all files below `paths`, names included; facts and claims (`paper.toml`) are not code.
fn hash(root: &Path, paths: &[PathBuf]) -> io::Result<String> {
    let mut files = Vec::new();
    for path in paths {
        collect(path, &mut files)?;
    }
    files.sort();
    let mut hasher = Sha256::new();
    for file in files.iter().filter(|file| file.file_name().is_some_and(|name| name != "paper.toml")) {
        hasher.update(file.strip_prefix(root).unwrap_or(file).display().to_string().as_bytes());
        hasher.update([0]);
        hasher.update(fs::read(file)?);
        hasher.update([0]);
    }
    Ok(hasher.finalize().iter().take(8).fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    }))
}

fn collect(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_dir() {
        for entry in sorted(path)? {
            collect(&entry, files)?;
        }
    } else if path.is_file() {
        files.push(path.to_owned());
    }
    Ok(())
}

fn sorted(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut entries: Vec<PathBuf> =
        fs::read_dir(dir)?.map(|e| e.map(|e| e.path())).collect::<Result<_, _>>()?;
    entries.retain(|path| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.')));
    entries.sort();
    Ok(entries)
}

fn variable(name: &str) -> io::Result<String> {
    env::var(name).map_err(|_| io::Error::other(format!("{name} is not set: this runs in a build script")))
}

/// Tells the program its commit, whether the tree is clean, and the hash of the crates below the papers, as the
/// environment variables `REAM_COMMIT`, `REAM_CLEAN` and `REAM_SUBSTRATE` at compile time.
///
/// # Errors
/// The workspace cannot be read.
pub fn program(substrate: &[&str]) -> io::Result<()> {
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR")?);
    let root = here.join("../..");
    let mut sources = Vec::new();
    for name in substrate {
        for part in ["src", "datasets.toml"] {
            sources.push(root.join("crates").join(name).join(part));
        }
    }
    for watched in ["crates", "papers", "Cargo.toml", "Cargo.lock"] {
        println!("cargo::rerun-if-changed={}", root.join(watched).display());
    }
    let commit = git(&here, &["rev-parse", "HEAD"]).unwrap_or_default();
    if let Some(log) = git(&here, &["rev-parse", "--path-format=absolute", "--git-path", "logs/HEAD"]) {
        println!("cargo::rerun-if-changed={log}");
    }
    // Results are written after a run and are no part of the program.
    let changes = git(
        &here,
        &[
            "status",
            "--porcelain",
            "--",
            ":/crates",
            ":/papers",
            ":/Cargo.toml",
            ":/Cargo.lock",
            ":(top,exclude)papers/*/results",
        ],
    );
    let clean = !commit.is_empty() && changes.is_some_and(|text| text.is_empty());
    println!("cargo::rustc-env=REAM_COMMIT={commit}");
    println!("cargo::rustc-env=REAM_CLEAN={clean}");
    println!("cargo::rustc-env=REAM_SUBSTRATE={}", hash(&root, &sources)?);
    Ok(())
}

fn git(dir: &Path, arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").current_dir(dir).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slug_is_found() {
        assert_eq!(slug("# x\nslug = \"icl-gd\"\nnumber = 1\n").as_deref(), Some("icl-gd"));
        assert_eq!(slug("number = 1\n"), None);
        assert_eq!(slug("slug = 3\n"), None);
    }
}
