//! Files of the reader's own: taken in as a stream, looked at, kept under the hash of what is in them.
//!
//! What a file is, its first bytes say; the name it had is shown and never used. Kept is `<home>/uploads/<sha256>.<kind>`,
//! with the ending that the systems' readers go by, and beside it the name. What no run refers to is removed after a month
//! ([`sweep`]), or sooner where the folder grows beyond its limit.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use axum::extract::multipart::Field;
use axum::http::StatusCode;
use ream_lab::Runs;
use sha2::{Digest, Sha256};

use super::limits::write_atomic;
use crate::error::{Error, Result};
use crate::state::App;

/// Bytes by which a file is told.
const HEAD: usize = 64 * 1024;
/// All uploads together, bytes. One more that is coming in may be beyond it.
const ROOM: u64 = 4 << 30;
/// How long a file stays that no run refers to: 30 days.
const KEPT: Duration = Duration::from_secs(30 * 86_400);
/// How long it stays whatever its size: someone may be filling in the form that it belongs to.
const FRESH: Duration = Duration::from_secs(3_600);

/// A file that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Upload {
    /// `<sha256>.<kind>`: what the form carries on.
    pub(super) id: String,
    /// The name it came with, shortened; to be shown only.
    pub(super) name: String,
    /// Where it is.
    pub(super) path: PathBuf,
    /// Bytes.
    pub(super) bytes: u64,
}

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Csv,
    Tsv,
    Jsonl,
    Json,
    Parquet,
    Stata,
    Png,
    Text,
}

const KINDS: [Kind; 8] =
    [Kind::Csv, Kind::Tsv, Kind::Jsonl, Kind::Json, Kind::Parquet, Kind::Stata, Kind::Png, Kind::Text];

impl Kind {
    fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::Jsonl => "jsonl",
            Self::Json => "json",
            Self::Parquet => "parquet",
            Self::Stata => "dta",
            Self::Png => "png",
            Self::Text => "txt",
        }
    }

    /// Whether a file of this kind is UTF-8 all through.
    fn is_text(self) -> bool {
        !matches!(self, Self::Parquet | Self::Stata | Self::Png)
    }
}

/// Takes a file in; `None` when the field holds none.
pub(super) async fn take(
    home: &Path,
    runs: &Runs,
    mut field: Field<'_>,
    most: u64,
) -> Result<Option<Upload>> {
    let folder = home.join("uploads");
    make_room(home, runs)?;
    let name = shown_name(field.file_name().unwrap_or_default());
    let failed =
        |e: std::io::Error| Error::internal(&format!("cannot keep the file in {}: {e}", folder.display()));
    let mut part = Part::new(&folder)?;
    while let Some(chunk) = field.chunk().await.map_err(|e| cut_off(&e))? {
        part.bytes += chunk.len() as u64;
        if part.bytes > most {
            return Err(Error::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "too_large",
                format!(
                    "{name}: at most {} MiB can be uploaded; run larger files from the command line with --data.",
                    most >> 20
                ),
            ));
        }
        part.write(&chunk).map_err(failed)?;
    }
    if part.bytes == 0 && name.is_empty() {
        return Ok(None);
    }
    part.keep(&folder, name).map(Some)
}

fn cut_off(error: &axum::extract::multipart::MultipartError) -> Error {
    Error::new(error.status(), "bad_upload", format!("The upload broke off: {}", error.body_text()))
}

/// A file that is coming in; what is not kept is removed.
struct Part {
    path: PathBuf,
    file: File,
    hash: Sha256,
    head: Vec<u8>,
    bytes: u64,
}

impl Part {
    fn new(folder: &Path) -> Result<Self> {
        let failed =
            |e: std::io::Error| Error::internal(&format!("cannot write to {}: {e}", folder.display()));
        std::fs::create_dir_all(folder).map_err(failed)?;
        let random = crate::guard::random().map_err(|e| Error::internal(&e))?;
        let path = folder.join(format!("{random}.part"));
        let file = File::create(&path).map_err(failed)?;
        Ok(Self { path, file, hash: Sha256::new(), head: Vec::new(), bytes: 0 })
    }

    fn write(&mut self, chunk: &[u8]) -> std::io::Result<()> {
        self.hash.update(chunk);
        let room = HEAD - self.head.len();
        self.head.extend_from_slice(&chunk[..chunk.len().min(room)]);
        self.file.write_all(chunk)
    }

    fn keep(mut self, folder: &Path, name: String) -> Result<Upload> {
        let wrong = |what: &str| Error::bad_request("bad_upload", format!("{name}: {what}"));
        let kind = sniff(&self.head).map_err(|what| wrong(&what))?;
        if kind.is_text()
            && let Some(at) = not_utf8(&self.path).map_err(|e| Error::internal(&e))?
        {
            return Err(wrong(&format!("not UTF-8 at byte {at}; save it as UTF-8")));
        }
        let hash: String =
            std::mem::take(&mut self.hash).finalize().iter().map(|b| format!("{b:02x}")).collect();
        let id = format!("{hash}.{}", kind.ending());
        let path = folder.join(&id);
        self.file
            .flush()
            .and_then(|()| std::fs::rename(&self.path, &path))
            .map_err(|e| Error::internal(&e))?;
        write_atomic(&folder.join(format!("{hash}.name")), name.as_bytes())?;
        Ok(Upload { id, name, path, bytes: self.bytes })
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // After it was kept there is nothing of that name.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Refuses an upload where the files that runs refer to fill the folder.
fn make_room(home: &Path, runs: &Runs) -> Result<()> {
    let folder = home.join("uploads");
    if used(&folder) <= ROOM {
        return Ok(());
    }
    sweep(home, runs, ROOM, SystemTime::now()).map_err(|e| Error::internal(&e))?;
    if used(&folder) <= ROOM {
        return Ok(());
    }
    Err(Error::new(
        StatusCode::INSUFFICIENT_STORAGE,
        "uploads_full",
        format!(
            "{} holds more than {} GiB of files that runs refer to; remove runs that are not needed.",
            folder.display(),
            ROOM >> 30
        ),
    ))
}

fn used(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.metadata().ok()).map(|meta| meta.len()).sum()
}

/// Removes uploads that no run refers to and that are older than a month; then, while the folder holds more than `room`
/// bytes, the oldest of those older than an hour. What broke off an hour ago goes too. Gives what was removed.
pub(crate) fn sweep(home: &Path, runs: &Runs, room: u64, now: SystemTime) -> std::io::Result<Vec<PathBuf>> {
    let folder = home.join("uploads");
    let mut old = Vec::new();
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        let meta = entry.metadata()?;
        let age = now.duration_since(meta.modified()?).unwrap_or_default();
        // The name goes with its file.
        if meta.is_file() && age > FRESH && entry.path().extension().is_some_and(|e| e != "name") {
            old.push((age, entry.path()));
        }
    }
    if old.is_empty() {
        return Ok(Vec::new());
    }
    let records = records(runs)?;
    let hash = |path: &Path| path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    old.retain(|(_, path)| !records.iter().any(|record| record.contains(&hash(path))));
    old.sort_by(|a, b| b.cmp(a));
    let mut removed = Vec::new();
    for (age, path) in old {
        let broken_off = path.extension().is_some_and(|e| e == "part");
        if age <= KEPT && !broken_off && used(&folder) <= room {
            continue;
        }
        std::fs::remove_file(&path)?;
        match std::fs::remove_file(folder.join(format!("{}.name", hash(&path)))) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => removed.push(path),
        }
    }
    Ok(removed)
}

/// What all runs say of themselves, word for word: a record that this program cannot read still holds the hash of its file.
fn records(runs: &Runs) -> std::io::Result<Vec<String>> {
    let names = runs.names().map_err(std::io::Error::other)?;
    let mut all = Vec::with_capacity(names.len());
    for name in names {
        match std::fs::read(runs.path(&name).join("run.toml")) {
            Ok(bytes) => all.push(String::from_utf8_lossy(&bytes).into_owned()),
            // Removed meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// Sweeps now and once a day, until the site stops.
pub(crate) async fn keep_tidy(app: App) {
    let stopping = app.stopping();
    tokio::pin!(stopping);
    loop {
        let site = app.clone();
        let sweep = move || sweep(&site.site.home, &site.site.runs, ROOM, SystemTime::now());
        let trouble = match tokio::task::spawn_blocking(sweep).await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(format!("old uploads: {error}")),
            Err(error) => Some(format!("old uploads: {error}")),
        };
        app.set_trouble("uploads", trouble);
        tokio::select! {
            () = &mut stopping => return,
            () = tokio::time::sleep(Duration::from_secs(86_400)) => {}
        }
    }
}

/// A file that was taken in before, by the id that the form carried on.
pub(super) fn find(home: &Path, id: &str) -> Result<Upload> {
    let gone = || Error::bad_request("bad_upload", "The file is not here any more; choose it again.");
    let (hash, ending) = id.split_once('.').ok_or_else(gone)?;
    let is_ours = hash.len() == 64
        && hash.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        && KINDS.iter().any(|kind| kind.ending() == ending);
    if !is_ours {
        return Err(gone());
    }
    let folder = home.join("uploads");
    let path = folder.join(id);
    let bytes = std::fs::metadata(&path).map_err(|_| gone())?.len();
    let name = std::fs::read_to_string(folder.join(format!("{hash}.name"))).unwrap_or_default();
    Ok(Upload { id: id.to_owned(), name, path, bytes })
}

/// The name of an uploaded file, by its path; `None` for a file from somewhere else.
pub(super) fn name_of(home: &Path, path: &Path) -> Option<String> {
    let folder = home.join("uploads");
    let inside = path.parent()?.canonicalize().ok()? == folder.canonicalize().ok()?;
    let hash = path.file_stem()?.to_str().filter(|_| inside)?;
    std::fs::read_to_string(folder.join(format!("{hash}.name"))).ok().filter(|name| !name.is_empty())
}

/// The last part of a name, of a length that can be shown.
fn shown_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    last.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// Tells a file by its first bytes.
fn sniff(head: &[u8]) -> Result<Kind, String> {
    let archives: [&[u8]; 4] = [b"\x1f\x8b", b"PK\x03\x04", b"BZh", b"\xfd7zXZ"];
    if head.is_empty() {
        return Err("the file is empty".to_owned());
    }
    if archives.iter().any(|magic| head.starts_with(magic)) {
        return Err("a packed file; unpack it first".to_owned());
    }
    if head.starts_with(b"PAR1") {
        return Ok(Kind::Parquet);
    }
    if is_stata(head) {
        return Ok(Kind::Stata);
    }
    if head.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Ok(Kind::Png);
    }
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        // A letter may be cut in two at the end of the head.
        Err(error) if error.error_len().is_none() => {
            str::from_utf8(&head[..error.valid_up_to()]).unwrap_or_default()
        }
        Err(_) => "\0",
    };
    if text.chars().any(|c| c == '\0') {
        return Err(
            "wanted CSV, TSV, JSON, JSON lines, Parquet, Stata, PNG or plain text in UTF-8, got something else"
                .to_owned(),
        );
    }
    Ok(kind_of_text(text.trim_start_matches('\u{feff}')))
}

/// Releases from 117 on begin with a tag, those before with their number, a byte order and two fixed bytes.
fn is_stata(head: &[u8]) -> bool {
    head.starts_with(b"<stata_dta>") || matches!(head, [113..=115, 1 | 2, 1, 0, ..])
}

fn kind_of_text(text: &str) -> Kind {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    if text.trim_start().starts_with('[') {
        return Kind::Json;
    }
    if first.trim_start().starts_with('{') {
        let whole = serde_json::from_str::<serde_json::Value>(first).is_ok();
        return if whole { Kind::Jsonl } else { Kind::Json };
    }
    let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).take(50).collect();
    // The last one may be cut.
    let lines = if lines.len() > 2 { &lines[..lines.len() - 1] } else { &lines };
    // A table has as many separators in most of its lines as in its heading; prose has not.
    let is_table = |separator: char| {
        let wanted = lines.first().map_or(0, |line| outside_quotes(line, separator));
        let same = lines.iter().filter(|line| outside_quotes(line, separator) == wanted).count();
        wanted > 0 && lines.len() > 1 && 5 * same >= 3 * lines.len()
    };
    match (is_table('\t'), is_table(',')) {
        (true, _) => Kind::Tsv,
        (false, true) => Kind::Csv,
        (false, false) => Kind::Text,
    }
}

fn outside_quotes(line: &str, separator: char) -> usize {
    let mut quoted = false;
    let mut count = 0;
    for c in line.chars() {
        quoted ^= c == '"';
        count += usize::from(c == separator && !quoted);
    }
    count
}

/// Where a file stops being UTF-8.
fn not_utf8(path: &Path) -> std::io::Result<Option<u64>> {
    let mut file = File::open(path)?;
    let mut buffer = vec![0; 1 << 20];
    let (mut start, mut kept) = (0_u64, 0);
    loop {
        let read = file.read(&mut buffer[kept..])?;
        let filled = kept + read;
        match std::str::from_utf8(&buffer[..filled]) {
            Ok(_) if read == 0 => return Ok(None),
            Ok(_) => {
                start += filled as u64;
                kept = 0;
            }
            Err(error) if error.error_len().is_none() && read > 0 => {
                let good = error.valid_up_to();
                buffer.copy_within(good..filled, 0);
                start += good as u64;
                kept = filled - good;
            }
            Err(error) => return Ok(Some(start + error.valid_up_to() as u64)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_is_in_it() {
        let good: [(&[u8], Kind); 13] = [
            (b"a,b\n1,2\n3,4\n", Kind::Csv),
            (b"\xef\xbb\xbfa,b\n1,2\n", Kind::Csv),
            (b"name,text\nx,\"a, b, c\"\ny,z\n", Kind::Csv),
            (b"a,b\n1,2\n3\n4,5\n6,7\n", Kind::Csv),
            (b"a\tb\n1\t2\n", Kind::Tsv),
            (b"{\"a\": 1}\n{\"a\": 2}\n", Kind::Jsonl),
            (b"{\n \"a\": 1}\n", Kind::Json),
            (b"[{\"a\": 1}]", Kind::Json),
            (b"PAR1....", Kind::Parquet),
            (b"<stata_dta><header><release>118", Kind::Stata),
            (b"\x72\x01\x01\x00\x08", Kind::Stata),
            (b"\x89PNG\r\n\x1a\n....", Kind::Png),
            (b"It was the best of times, it was the worst of times.\nIt was the age of wisdom.\nNo comma, one, two\n", Kind::Text),
        ];
        for (bytes, kind) in good {
            assert_eq!(sniff(bytes), Ok(kind), "{}", String::from_utf8_lossy(bytes));
        }
        for bad in
            [&b""[..], b"\x1f\x8b\x08rest", b"PK\x03\x04rest", b"\x7fELF\x00", b"a,b\n\xff,2\n", b"a\0b"]
        {
            assert!(sniff(bad).is_err(), "{bad:?}");
        }
        assert_eq!(
            sniff("a,b\n1,é".as_bytes().split_last().unwrap().1),
            Ok(Kind::Csv),
            "a letter cut in two"
        );
    }

    #[test]
    fn text_is_utf8_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "é".repeat(1 << 20)).unwrap();
        assert_eq!(not_utf8(&path).unwrap(), None);
        let mut bytes = "é".repeat(1 << 20).into_bytes();
        bytes.push(0xff);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(not_utf8(&path).unwrap(), Some(2 << 20));
        std::fs::write(&path, &"é".as_bytes()[..1]).unwrap();
        assert_eq!(not_utf8(&path).unwrap(), Some(0));
    }

    #[test]
    fn what_no_run_refers_to_is_removed_in_time() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("uploads");
        std::fs::create_dir_all(&folder).unwrap();
        let runs = Runs::new(home.path().join("runs"));
        let now = SystemTime::now();
        let day = Duration::from_secs(86_400);
        let put = |letter: &str, ending: &str, age: Duration| {
            let hash = letter.repeat(64);
            let path = folder.join(format!("{hash}.{ending}"));
            std::fs::write(&path, "a,b\n1,2\n").unwrap();
            std::fs::write(folder.join(format!("{hash}.name")), "mine.csv").unwrap();
            File::options().write(true).open(&path).unwrap().set_modified(now - age).unwrap();
            path
        };
        let run = home.path().join("runs/p-20240501-120000-abcd");
        std::fs::create_dir_all(&run).unwrap();
        // No record of any version, but it names the file.
        std::fs::write(run.join("run.toml"), format!("sha256 = \"{}\"", "a".repeat(64))).unwrap();
        let used = put("a", "csv", 90 * day);
        let old = put("b", "csv", 31 * day);
        let young = put("c", "csv", 29 * day);
        let part = put("d", "part", 2 * day);
        let coming = put("e", "part", Duration::from_secs(60));
        assert_eq!(sweep(home.path(), &runs, ROOM, now).unwrap(), [old.clone(), part.clone()]);
        assert!(!folder.join(format!("{}.name", "b".repeat(64))).exists(), "its name goes with it");
        assert!(used.exists() && young.exists() && coming.exists() && !old.exists() && !part.exists());

        // Beyond the limit the oldest go first, and nothing that is used or that someone may be at.
        let younger = put("f", "csv", 2 * day);
        let fresh = put("0", "csv", Duration::from_secs(60));
        let room = super::used(&folder) - 1;
        assert_eq!(sweep(home.path(), &runs, room, now).unwrap(), [young]);
        assert_eq!(sweep(home.path(), &runs, 0, now).unwrap(), [younger]);
        assert!(used.exists() && fresh.exists() && coming.exists());
        assert_eq!(sweep(home.path(), &runs, 0, now + 31 * day).unwrap().len(), 2);
        assert!(used.exists());
    }

    #[test]
    fn ids_lead_nowhere_else() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("secret.csv"), "x").unwrap();
        for id in [
            "../secret.csv",
            "secret.csv",
            "",
            "a.b.c",
            &format!("{}.sh", "a".repeat(64)),
            &format!("{}.csv", "A".repeat(64)),
        ] {
            assert!(find(home.path(), id).is_err(), "{id}");
        }
        assert_eq!(shown_name("C:\\x\\..\\a b.csv"), "a b.csv");
        assert_eq!(shown_name("../../etc/passwd"), "passwd");
    }
}
