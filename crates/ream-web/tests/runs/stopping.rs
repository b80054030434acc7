//! The site stops while it is asked.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::Test;
use crate::client::{Served, read, try_ask};
use crate::probe::edition;

pub const TESTS: [Test; 2] = [
    ("no_answer_is_cut_when_the_site_stops", no_answer_is_cut_when_the_site_stops),
    ("who_never_finishes_asking_is_given_up", who_never_finishes_asking_is_given_up),
];

fn who_never_finishes_asking_is_given_up() {
    let home = tempfile::tempdir().unwrap();
    let site = Served::new(home.path(), edition(false));
    let slow: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(site.address).unwrap();
            stream.write_all(b"GET /runs HTTP/1.1\r\nHost: loc").unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            stream
        })
        .collect();
    assert_eq!(site.get("/runs").status, 200, "others are answered meanwhile");
    let begun = Instant::now();
    for mut stream in slow {
        let mut rest = Vec::new();
        // Closed or reset, but not waited for.
        let _ = stream.read_to_end(&mut rest);
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
}

fn no_answer_is_cut_when_the_site_stops() {
    let home = tempfile::tempdir().unwrap();
    let mut site = Served::new(home.path(), edition(false));
    let consent = site.consent();
    let id = site.start(&consent, &[("set.steps", "3000"), ("set.pause", "5"), ("seeds", "1")]);
    site.wait(&id, "running");
    let address = site.address;
    let mut watch = TcpStream::connect(address).unwrap();
    watch.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    write!(watch, "GET /runs/{id}/events HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let watcher = std::thread::spawn(move || read(watch));

    let done = Arc::new(AtomicBool::new(false));
    let (whole, cut) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let askers: Vec<_> = [
        "/runs".to_owned(),
        format!("/runs/{id}"),
        "/papers/probe/run".to_owned(),
        format!("/runs/{id}/report.json"),
    ]
    .into_iter()
    .map(|path| {
        let (done, whole, cut) = (Arc::clone(&done), Arc::clone(&whole), Arc::clone(&cut));
        std::thread::spawn(move || {
            while !done.load(Ordering::Relaxed) {
                match try_ask(address, "GET", &path, &[], b"") {
                    Ok(answer) if answer.status == 200 => whole.fetch_add(1, Ordering::Relaxed),
                    Ok(answer) => panic!("{path}: {}", answer.status),
                    // Refused or closed before the first byte: the site is gone, and nothing was promised.
                    Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                        cut.fetch_add(1, Ordering::Relaxed)
                    }
                    Err(_) => break,
                };
            }
        })
    })
    .collect();
    std::thread::sleep(Duration::from_millis(1500));
    let begun = Instant::now();
    site.tell_to_stop();
    site.stop();
    assert!(
        begun.elapsed() < Duration::from_secs(8),
        "the stream does not hold the site up: {:?}",
        begun.elapsed()
    );
    done.store(true, Ordering::Relaxed);
    askers.into_iter().for_each(|asker| asker.join().unwrap());
    assert!(whole.load(Ordering::Relaxed) > 20, "{whole:?}");
    assert_eq!(cut.load(Ordering::Relaxed), 0, "no answer was cut");
    let watched = watcher.join().unwrap().expect("the stream was ended, not cut");
    assert!(watched.text().contains("event: state"));
    // The run itself goes on; it is told to stop so that the test leaves nothing behind.
    std::fs::write(home.path().join("runs").join(&id).join("cancel"), "").unwrap();
    let exit = home.path().join("runs").join(&id).join("seed-1/exit");
    while !exit.exists() && begun.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(exit.exists(), "the worker was alive");
}
