//! A run from its form to its files.

use std::time::{Duration, Instant};

use crate::Test;
use crate::client::{Served, read};
use crate::probe::edition;

pub const TESTS: [Test; 11] = [
    ("from_the_form_to_the_verdict", from_the_form_to_the_verdict),
    ("errors_stand_beside_their_fields", errors_stand_beside_their_fields),
    ("a_cancelled_run_goes_on_where_it_was", a_cancelled_run_goes_on_where_it_was),
    ("runs_wait_for_each_other", runs_wait_for_each_other),
    ("a_run_beyond_its_time_is_stopped", a_run_beyond_its_time_is_stopped),
    ("a_failed_seed_is_tried_again_on_request", a_failed_seed_is_tried_again_on_request),
    ("own_data_are_looked_at_first", own_data_are_looked_at_first),
    ("a_run_is_watched_as_it_goes", a_run_is_watched_as_it_goes),
    ("a_site_that_starts_takes_over_what_lives", a_site_that_starts_takes_over_what_lives),
    ("what_waits_outlives_the_site", what_waits_outlives_the_site),
    ("two_tabs_do_not_get_in_each_others_way", two_tabs_do_not_get_in_each_others_way),
];

fn served() -> (tempfile::TempDir, Served) {
    let home = tempfile::tempdir().unwrap();
    let site = Served::new(home.path(), edition(false));
    (home, site)
}

fn from_the_form_to_the_verdict() {
    let (_home, site) = served();
    let form = site.page("/papers/probe/run?preset=full");
    for part in [
        "Steps of a walk.",
        "value=\"200\"",
        "<option value=\"fast\"",
        "whole number, at least 0",
        "ream run probe --preset full",
    ] {
        assert!(form.contains(part), "{part}: {form}");
    }
    let consent = site.consent();
    let looked = site.submit(
        &consent,
        &[("preset", "full"), ("seeds", "3,5"), ("set.steps", "30"), ("action", "look")],
        None,
    );
    assert_eq!(looked.status, 200);
    assert!(
        looked.text().contains("ream run probe --preset full --seeds 3,5 --set steps=30"),
        "{}",
        looked.text()
    );
    assert!(site.page("/runs").contains("No runs"), "looking starts nothing");

    let id = site.start(&consent, &[("preset", "full"), ("seeds", "3,5"), ("set.steps", "30")]);
    let page = site.wait(&id, "finished");
    assert!(page.contains("confirmed") && page.contains("Not evidence: the configuration differs"), "{page}");
    assert!(page.contains("Walk") && page.contains("class=\"ream-figure\"") && page.contains("Steps"));
    let explained = site.page(&format!("/runs/{id}/explain/c1"));
    assert!(
        explained.contains("positive: holds") && explained.contains("wanted <code>&#62; 0</code>")
            || explained.contains("&gt; 0"),
        "{explained}"
    );
    assert_eq!(site.get(&format!("/runs/{id}/explain/c9")).status, 404);

    let report: serde_json::Value =
        serde_json::from_str(&site.page(&format!("/runs/{id}/report.json"))).unwrap();
    assert_eq!(report["claims"][0]["verdict"], "confirmed");
    assert_eq!(report["record"]["seeds"], serde_json::json!([3, 5]));
    assert!(
        site.page(&format!("/runs/{id}/files/observations.csv"))
            .starts_with("seed,measure,arm,at,value\n3,sum,probe,,")
    );
    assert!(site.page(&format!("/runs/{id}/files/run.toml")).contains("config_hash"));
    assert!(site.page(&format!("/runs/{id}/files/table-1.tex")).contains("\\begin{tabular}"));
    assert!(site.page(&format!("/runs/{id}/files/claims.md")).contains("| paper"));
    assert!(site.page(&format!("/runs/{id}/files/report.html")).contains("<!doctype html>"));
    let svg = site.get(&format!("/runs/{id}/figures/walk.svg"));
    assert_eq!((svg.status, svg.header("content-type")), (200, Some("image/svg+xml")));
    assert!(svg.header("content-disposition").unwrap().starts_with("attachment"));

    let again = site.page(&format!("/papers/probe/run?like={id}"));
    assert!(again.contains("value=\"30\"") && again.contains("value=\"3,5,\""), "{again}");
    let other = site.start(&consent, &[("preset", "smoke")]);
    let smoke = site.wait(&other, "finished");
    assert!(smoke.contains("Smoke: not evidence."));
    let compared = site.page(&format!("/compare?a={id}&b={other}"));
    assert!(compared.contains("<th scope=\"row\">steps</th><td>30</td><td>20</td>"), "{compared}");
    assert!(site.page(&format!("/compare?a={id}")).contains(&other));
    let run: serde_json::Value = serde_json::from_str(&site.page(&format!("/api/v1/runs/{id}"))).unwrap();
    assert_eq!(
        (&run["slug"], &run["state"], &run["finished"]),
        (&"probe".into(), &"finished".into(), &2.into())
    );
    assert_eq!(run["report"]["claims"][0]["verdict"], "confirmed");
    assert_eq!((&run["evidence"], &run["progress"]["fraction"]), (&false.into(), &1.0.into()));
    let pair: serde_json::Value =
        serde_json::from_str(&site.page(&format!("/api/v1/compare?a={id}&b={other}"))).unwrap();
    assert!(
        pair["inputs"].as_array().unwrap().iter().any(|i| i["name"] == "steps" && i["a"] == "30"),
        "{pair}"
    );
    let smoke: serde_json::Value =
        serde_json::from_str(&site.page("/api/v1/runs?preset=smoke&state=finished")).unwrap();
    assert_eq!((smoke.as_array().unwrap().len(), &smoke[0]["id"]), (1, &other.as_str().into()));
    let feed = site.page("/runs.atom");
    assert!(feed.contains(&format!("<id>urn:ream:run:{id}</id>")) && feed.contains("probe, full: finished"));
    let list = site.page("/runs?state=finished&preset=smoke");
    assert!(list.contains(&other) && !list.contains(&id));
}

fn errors_stand_beside_their_fields() {
    let (_home, site) = served();
    let consent = site.consent();
    let fields = [("set.steps", "many <b>"), ("set.gait", "fats"), ("seeds", "3"), ("action", "start")];
    let answer = site.submit(&consent, &fields, None);
    let page = answer.text();
    assert_eq!(answer.status, 422);
    assert!(page.contains("value=\"many &#60;b&#62;\""), "what was typed stays: {page}");
    assert!(page.contains("wanted a whole number, got `many &#60;b&#62;`"), "{page}");
    assert!(page.contains("did you mean `fast`?") && page.contains("2 things are"), "{page}");
    let range = site.submit(&consent, &[("set.steps", "0"), ("action", "start")], None).text();
    assert!(range.contains("id=\"f-steps-wrong\">wanted between 1 and 100000, got 0"), "{range}");
    let seeds = site.submit(&consent, &[("seeds", "three"), ("action", "start")], None).text();
    assert!(seeds.contains("id=\"seeds-wrong\"") && seeds.contains("a count such as 5"), "{seeds}");
    let unknown = site.submit(&consent, &[("set.step", "3"), ("action", "start")], None).text();
    assert!(unknown.contains("There is no key `step`; did you mean `steps`?"), "{unknown}");
    let minutes = site.submit(&consent, &[("minutes", "-1"), ("action", "start")], None).text();
    assert!(minutes.contains("id=\"minutes-wrong\""), "{minutes}");
    assert_eq!(site.submit(&consent, &[("preset", "huge")], None).status, 400);
    assert!(site.page("/runs").contains("No runs"), "nothing was started");
    assert_eq!(site.get("/papers/nothing/run").status, 404);
}

fn a_cancelled_run_goes_on_where_it_was() {
    let (_home, site) = served();
    let consent = site.consent();
    let id = site.start(&consent, &[("set.steps", "300"), ("set.pause", "10"), ("seeds", "1")]);
    site.wait(&id, "running");
    let running = site.page(&format!("/runs/{id}"));
    assert!(
        running.contains("http-equiv=\"refresh\"")
            && running.contains("<progress")
            && running.contains(">Cancel<")
    );
    std::thread::sleep(Duration::from_millis(600));
    assert_eq!(site.post(&consent, &format!("/runs/{id}/cancel"), &[]).status, 303);
    let page = site.wait(&id, "unfinished");
    assert!(page.contains(">Resume<") && !page.contains("http-equiv=\"refresh\""), "{page}");
    assert_eq!(site.post(&consent, &format!("/runs/{id}/cancel"), &[]).status, 409);
    assert_eq!(site.post(&consent, &format!("/runs/{id}/resume"), &[]).status, 303);
    site.wait(&id, "finished");
    let events =
        std::fs::read_to_string(site.home.join("runs").join(&id).join("seed-1/events.jsonl")).unwrap();
    let rewind = events.lines().find(|line| line.contains("\"rewind\"")).unwrap();
    assert!(!rewind.contains("\"to\":0"), "it did not begin again: {rewind}");
}

fn runs_wait_for_each_other() {
    let (_home, site) = served();
    let consent = site.consent();
    let slow = [("set.steps", "5000"), ("set.pause", "10"), ("seeds", "1")];
    let first = site.start(&consent, &slow);
    site.wait(&first, "running");
    let second = site.start(&consent, &slow);
    let third = site.start(&consent, &slow);
    assert!(site.page(&format!("/runs/{second}")).contains("next in the queue"));
    assert!(site.page(&format!("/runs/{third}")).contains("1 before it in the queue"));
    let full = site.submit(&consent, &[("set.steps", "5000"), ("action", "start")], None);
    assert_eq!(full.status, 429);
    assert!(full.text().contains("queue_full"));
    assert_eq!(
        site.post(&consent, &format!("/runs/{second}/resume"), &[]).status,
        409,
        "no second place for one run"
    );
    assert_eq!(site.post(&consent, &format!("/runs/{second}/cancel"), &[]).status, 303);
    site.wait(&second, "unfinished");
    // A smoke run does not wait for the long one.
    let smoke = site.start(&consent, &[]);
    site.wait(&smoke, "finished");
    site.post(&consent, &format!("/runs/{first}/cancel"), &[]);
    site.wait(&third, "running");
    site.post(&consent, &format!("/runs/{third}/cancel"), &[]);
    site.wait(&third, "unfinished");
}

fn a_run_beyond_its_time_is_stopped() {
    let (_home, site) = served();
    let consent = site.consent();
    let id = site
        .start(&consent, &[("set.steps", "5000"), ("set.pause", "10"), ("seeds", "1"), ("minutes", "0.01")]);
    let page = site.wait(&id, "unfinished");
    assert!(page.contains("the time limit of 0.6 s was over"), "{page}");
    assert!(page.contains(">Resume<"));
}

fn a_failed_seed_is_tried_again_on_request() {
    let (_home, site) = served();
    let consent = site.consent();
    let id = site.start(&consent, &[("set.fail_seed", "2")]);
    let page = site.wait(&id, "failed");
    assert!(
        page.contains("seed 2: failed")
            && page.contains("told to fail")
            && page.contains("Try failed seeds again"),
        "{page}"
    );
    assert!(!page.contains(">Resume<"), "there is nothing that waits");
    // The worker's home is the site's.
    std::fs::write(site.home.join("mended"), "").unwrap();
    assert_eq!(site.post(&consent, &format!("/runs/{id}/resume"), &[("retry", "1")]).status, 303);
    site.wait(&id, "finished");
}

fn own_data_are_looked_at_first() {
    let (_home, site) = served();
    let consent = site.consent();
    let wrong = site.submit(&consent, &[("action", "start")], Some(("mine.csv", b"x,y\n1,2\nthree,4\n")));
    let page = wrong.text();
    assert_eq!(wrong.status, 422);
    let told = page.split("id=\"file-wrong\">").nth(1).unwrap().split("</p>").next().unwrap().to_owned();
    assert!(
        told.contains("mine.csv") && told.contains("three") && told.contains("row 2") && told.contains("`x`"),
        "{told}"
    );
    let packed = site.submit(&consent, &[("action", "start")], Some(("mine.csv", b"\x1f\x8b\x08\x00")));
    assert_eq!(packed.status, 400);
    assert!(packed.text().contains("unpack it first"));
    assert!(site.page("/runs").contains("No runs"));

    // A good file is kept while something else in the form is wrong.
    let kept = site
        .submit(&consent, &[("seeds", "x"), ("action", "start")], Some(("my data.csv", b"x,y\n1,2\n3,4\n")))
        .text();
    assert!(kept.contains("my data.csv"), "{kept}");
    let upload = kept.split("name=\"upload\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let id = site.start(&consent, &[("upload", upload)]);
    let page = site.wait(&id, "finished");
    assert!(
        page.contains("On own data: <strong>my data.csv</strong>") && page.contains("not tested"),
        "{page}"
    );
    let report = site.page(&format!("/runs/{id}/report.json"));
    assert!(report.contains("\"own data\""), "{report}");
    let left: Vec<_> = std::fs::read_dir(site.home.join("uploads")).unwrap().flatten().collect();
    assert!(left.iter().all(|entry| !entry.file_name().to_string_lossy().ends_with(".part")), "{left:?}");

    let without =
        site.submit(&consent, &[("no_upload", "1"), ("upload", upload), ("action", "look")], None).text();
    assert!(!without.contains("name=\"upload\""));
    let large = vec![b'x'; 3 << 20];
    let refused = site.submit(&consent, &[("action", "start")], Some(("large.csv", &large)));
    assert_eq!(refused.status, 413);
}

/// Reads events until one of a kind; gives all ids.
fn events_until(site: &Served, id: &str, last: Option<&str>, kind: &str) -> (Vec<String>, String) {
    use std::io::{BufRead, BufReader, Write};
    let mut stream = std::net::TcpStream::connect(site.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let last = last.map(|id| format!("Last-Event-ID: {id}\r\n")).unwrap_or_default();
    write!(stream, "GET /runs/{id}/events HTTP/1.1\r\nHost: {}\r\n{last}\r\n", site.address).unwrap();
    let mut seen = Vec::new();
    let mut text = String::new();
    for line in BufReader::new(stream).lines() {
        let line = line.unwrap();
        if let Some(id) = line.strip_prefix("id: ") {
            seen.push(id.to_owned());
        }
        text += &line;
        text.push('\n');
        if text.contains(&format!("event: {kind}\n")) && line.is_empty() {
            break;
        }
    }
    (seen, text)
}

fn a_run_is_watched_as_it_goes() {
    let (_home, site) = served();
    let consent = site.consent();
    let id = site.start(&consent, &[("set.steps", "400"), ("set.pause", "10"), ("seeds", "1")]);
    site.wait(&id, "running");
    let (seen, text) = events_until(&site, &id, None, "chart");
    assert!(
        text.contains("event: state\n") && text.contains("\"state\":\"running\"") && text.contains("<svg"),
        "{text}"
    );
    let last = seen.last().unwrap();
    let (more, _) = events_until(&site, &id, Some(last), "state");
    let number = |id: &String| id.rsplit('-').next().unwrap().parse::<u64>().unwrap();
    assert!(number(&more[0]) > number(last), "what was seen is not sent again: {last} {more:?}");
    let (fresh, _) = events_until(&site, &id, Some("elsewhere-9999999"), "state");
    assert!(!fresh.is_empty(), "a number of another process is not believed");
    let (_, text) = events_until(&site, &id, None, "end");
    assert!(text.contains("\"state\":\"finished\""), "{text}");
    // The stream ends by itself, whole, when the run has.
    let mut stream = std::net::TcpStream::connect(site.address).unwrap();
    std::io::Write::write_all(
        &mut stream,
        format!("GET /runs/{id}/events HTTP/1.1\r\nHost: {}\r\n\r\n", site.address).as_bytes(),
    )
    .unwrap();
    let answer = read(stream).unwrap();
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    assert!(answer.text().contains("event: end"));
    assert_eq!(site.get("/runs/none/events").status, 404);
}

fn a_site_that_starts_takes_over_what_lives() {
    let home = tempfile::tempdir().unwrap();
    let (first, mut process) = Served::elsewhere(home.path());
    let consent = first.consent();
    let slow = [("set.steps", "400"), ("set.pause", "10"), ("seeds", "1")];
    let id = first.start(&consent, &slow);
    first.wait(&id, "running");
    let waiting = first.start(&consent, &slow);
    let folder = home.path().join("runs").join(&id);
    let lock = || std::fs::read_to_string(folder.join("seed-1/lock")).unwrap();
    let begun = Instant::now();
    while !folder.join("seed-1/lock").exists() && begun.elapsed().as_secs() < 10 {
        std::thread::sleep(Duration::from_millis(20));
    }
    let worker = lock();
    process.kill().unwrap();
    process.wait().unwrap();

    let second = Served::new(home.path(), edition(false));
    let page = second.wait(&id, "running");
    assert!(page.contains(">Cancel<"), "{page}");
    second.wait(&waiting, "queued");
    let page = second.wait(&id, "finished");
    assert!(!page.contains("Stopped:"), "{page}");
    assert_eq!(lock(), worker, "no second worker was started");
    let report = second.page(&format!("/runs/{id}/report.json"));
    assert!(report.contains("\"verdict\": \"confirmed\""), "the report is written: {report}");
}

fn what_waits_outlives_the_site() {
    let home = tempfile::tempdir().unwrap();
    let slow = [("set.steps", "150"), ("set.pause", "10"), ("seeds", "1")];
    let mut ids = Vec::new();
    // Killed, and asked to stop: neither leaves time to write anything down.
    for signal in ["-KILL", "-TERM"] {
        let (site, mut process) = Served::elsewhere(home.path());
        if ids.is_empty() {
            let consent = site.consent();
            ids.extend((0..3).map(|_| site.start(&consent, &slow)));
        }
        site.wait(&ids[0], "running");
        assert!(site.page(&format!("/runs/{}", ids[1])).contains("next in the queue"));
        assert!(site.page(&format!("/runs/{}", ids[2])).contains("1 before it in the queue"));
        let told = std::process::Command::new("kill").args([signal, &process.id().to_string()]).status();
        assert!(told.unwrap().success());
        process.wait().unwrap();
    }
    let queued = |id: &str| home.path().join("runs").join(id).join("queued.json").exists();
    assert!(!queued(&ids[0]) && queued(&ids[1]) && queued(&ids[2]));

    let site = Served::new(home.path(), edition(false));
    site.wait(&ids[2], "queued");
    // A second site beside it takes nothing that the first one holds.
    let (beside, mut process) = Served::elsewhere(home.path());
    assert!(beside.page(&format!("/runs/{}", ids[2])).contains("<strong id=\"state\">unfinished"));
    process.kill().unwrap();
    process.wait().unwrap();
    let consent = site.consent();
    site.wait(&ids[1], "finished");
    site.wait(&ids[2], "running");
    // The file goes once the launcher drives the run, a moment after its state is shown.
    let begun = Instant::now();
    while queued(&ids[1]) || queued(&ids[2]) {
        assert!(begun.elapsed() < Duration::from_secs(60), "a run that has begun still waits");
        std::thread::sleep(Duration::from_millis(30));
    }
    site.wait(&ids[2], "finished");
    // A place that was given up is not taken again.
    let last = [site.start(&consent, &slow), site.start(&consent, &slow)];
    assert_eq!(site.post(&consent, &format!("/runs/{}/cancel", last[1]), &[]).status, 303);
    assert!(!queued(&last[1]));
    site.wait(&last[0], "finished");
}

fn two_tabs_do_not_get_in_each_others_way() {
    let (_home, site) = served();
    let first = site.consent();
    // The second tab shows the cookie of the first and is given no other; its form and the first one's are both good.
    let tab = site.ask("GET", "/papers/probe/run", &[("cookie", &first.cookie)], b"");
    assert_eq!(tab.header("set-cookie"), None);
    assert!(tab.text().contains(&first.token));
    let slow = [("set.steps", "500"), ("set.pause", "10"), ("seeds", "1")];
    let one = site.start(&first, &slow);
    let other = site.start(&first, &slow);
    assert_ne!(one, other, "pressed in both tabs, run twice");
    site.wait(&one, "running");
    // What the other tab has done already is said, not done twice.
    let cancel = format!("/runs/{other}/cancel");
    assert_eq!(site.post(&first, &cancel, &[]).status, 303);
    let again = site.post(&first, &cancel, &[]);
    assert!(again.status == 409 && again.text().contains("is not running"), "{}", again.text());
    let resume = format!("/runs/{other}/resume");
    assert_eq!(site.post(&first, &resume, &[]).status, 303);
    let again = site.post(&first, &resume, &[]);
    assert!(again.status == 409 && again.text().contains("is running already"), "{}", again.text());
    site.post(&first, &cancel, &[]);
    // Two tabs opened at once, before either had a cookie: the browser keeps the later one.
    let later = site.consent();
    let mixed = crate::client::Consent { cookie: later.cookie.clone(), token: first.token.clone() };
    let refused = site.post(&mixed, &format!("/runs/{one}/cancel"), &[]);
    assert!(refused.status == 403 && refused.text().contains("reload the page"), "{}", refused.text());
    assert_eq!(site.post(&later, &format!("/runs/{one}/cancel"), &[]).status, 303);
    site.wait(&one, "unfinished");
}
