//! Data sets are fetched from a page.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::Test;
use crate::client::{ENCODER, Served};
use crate::probe::edition;

pub const TESTS: [Test; 2] = [
    ("a_fetch_shows_how_far_it_is_and_why_it_fails", a_fetch_shows_how_far_it_is_and_why_it_fails),
    ("meaning_search_begins_once_its_encoder_is_there", meaning_search_begins_once_its_encoder_is_there),
];

/// A registry's client that writes a little, waits, and fails.
fn client(folder: &Path) {
    let script = "#!/bin/sh\necho asked >> \"$(dirname \"$0\")/log\"\nhead -c 3000 /dev/zero > part.whl\nsleep 1.5\necho 'no <b>route</b> to the registry' >&2\nexit 1\n";
    let file = folder.join("pip");
    std::fs::write(&file, script).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn until(site: &Served, wanted: &str) -> String {
    until_at(site, "/data/alpaca-leaderboard", wanted)
}

fn until_at(site: &Served, address: &str, wanted: &str) -> String {
    let begun = Instant::now();
    loop {
        let page = site.page(address);
        if page.contains(wanted) {
            return page;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "waited for {wanted}: {page}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn a_fetch_shows_how_far_it_is_and_why_it_fails() {
    let (home, programs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    client(programs.path());
    let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap());
    let (site, mut process) = Served::elsewhere_with(home.path(), &path);
    assert!(site.page("/data").contains("action=\"/data/alpaca-leaderboard/fetch\""));
    let before = site.page("/data/alpaca-leaderboard");
    assert!(before.contains("It is not fetched.") && before.contains("Apache-2.0"), "{before}");
    let log = programs.path().join("log");
    let refused = site.ask("POST", "/data/alpaca-leaderboard/fetch", &[], b"");
    assert_eq!(refused.status, 403, "no token");
    assert!(!log.exists(), "nothing is fetched without consent");

    let consent = site.consent();
    assert_eq!(site.post(&consent, "/data/nothing/fetch", &[]).status, 404);
    let begun = site.post(&consent, "/data/alpaca-leaderboard/fetch", &[]);
    assert_eq!((begun.status, begun.header("location")), (303, Some("/data/alpaca-leaderboard")));
    let page = until(&site, "value=\"3000\"");
    assert!(page.contains("<progress") && page.contains("http-equiv=\"refresh\""), "{page}");
    assert_eq!(site.post(&consent, "/data/alpaca-leaderboard/fetch", &[]).status, 303);
    let page = until(&site, "Fetching it failed");
    assert!(page.contains("no &#60;b&#62;route&#60;/b&#62; to the registry"), "{page}");
    assert!(
        page.contains("action=\"/data/alpaca-leaderboard/fetch\"") && !page.contains("<progress"),
        "{page}"
    );
    let asked = std::fs::read_to_string(&log).unwrap();
    assert_eq!(asked.lines().count(), 1, "pressed twice, fetched once");
    let row: serde_json::Value = serde_json::from_str(&site.page("/api/v1/data/alpaca-leaderboard")).unwrap();
    assert_eq!((&row["state"], &row["fetch"]["done"]), (&"not fetched".into(), &true.into()), "{row}");
    process.kill().unwrap();
    process.wait().unwrap();
}

fn meaning_search_begins_once_its_encoder_is_there() {
    let home = tempfile::tempdir().unwrap();
    let site = Served::new(home.path(), edition(false));
    let search = "/search?q=language&mode=meaning";
    assert!(site.page(search).contains("action=\"/data/minilm/fetch\""), "{}", site.page(search));
    // A data set counts as fetched when its file has the right size.
    let set = ream_data::get(ENCODER).unwrap();
    let folder = home.path().join("data").join(&set.id);
    std::fs::create_dir_all(&folder).unwrap();
    let bytes = vec![b'x'; usize::try_from(set.files[0].bytes).unwrap()];
    std::fs::write(folder.join(&set.files[0].name), bytes).unwrap();
    let page = until_at(&site, search, "near in meaning");
    assert!(!page.contains("/data/minilm/fetch"), "{page}");
}
