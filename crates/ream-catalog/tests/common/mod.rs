//! What the store's tests share: both databases, a private PostgreSQL server, records to write.

#![allow(dead_code, reason = "every test binary uses its own part")]

pub(crate) mod postgres;

use std::future::Future;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use postgres::Server;
use ream_catalog::{Author, Link, Record, Source, Store};

/// A database of its own, gone with this value.
pub(crate) struct Database {
    pub(crate) url: String,
    pub(crate) name: &'static str,
    _dir: Option<tempfile::TempDir>,
}

impl Database {
    pub(crate) fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("catalogue.db").display());
        Self { url, name: "sqlite", _dir: Some(dir) }
    }

    /// A new database on this binary's server.
    pub(crate) fn postgres() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let server = Self::server();
        let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
        server.create(&name);
        Self { url: server.url(&name), name: "postgres", _dir: None }
    }

    /// An empty one of the same kind.
    pub(crate) fn another(&self) -> Self {
        if self.name == "sqlite" { Self::sqlite() } else { Self::postgres() }
    }

    /// This binary's server, started when first needed.
    pub(crate) fn server() -> &'static Server {
        static SERVER: OnceLock<Server> = OnceLock::new();
        SERVER.get_or_init(Server::start)
    }

    pub(crate) fn both() -> [Self; 2] {
        [Self::sqlite(), Self::postgres()]
    }

    pub(crate) fn file(&self) -> PathBuf {
        PathBuf::from(self.url.strip_prefix("sqlite:").unwrap())
    }
}

/// Runs a test on both databases, each empty.
pub(crate) fn on_both<F: Future<Output = ()>>(test: impl Fn(Store) -> F) {
    for database in Database::both() {
        println!("on {}", database.name);
        block_on(async {
            let store = Store::open(&database.url).await.unwrap();
            test(store.clone()).await;
            store.close().await;
        });
    }
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

pub(crate) fn source(name: &str) -> Source {
    Source { kind: "jsonl".into(), name: name.into() }
}

/// A plausible record, the same for the same number.
pub(crate) fn paper(n: u32) -> Record {
    let pick = |of: u32, salt: u32| (n.wrapping_mul(2_654_435_761).rotate_left(salt) ^ n) % of;
    let author = |k: u32| Author { name: format!("Author Number{}", pick(5_000, k)), affiliation: None };
    let day = pick(28, 11) + 1;
    Record {
        title: format!("Paper {n} on subject {}", pick(97, 3)),
        arxiv: Some(format!("{:02}{:02}.{:05}", 10 + pick(16, 5), 1 + pick(12, 7), n)),
        summary: Some(format!("We study subject {} in {n} ways. ", pick(97, 3)).repeat(20)),
        authors: (1..=1 + pick(5, 13)).map(author).collect(),
        organisations: vec![format!("University {}", pick(400, 17))],
        date: format!("20{:02}-{:02}-{day:02}", 10 + pick(16, 5), 1 + pick(12, 7)).parse().ok(),
        topics: vec![format!("cs.{}", ["LG", "CL", "CV", "AI"][pick(4, 19) as usize])],
        links: vec![Link { label: "page".into(), url: format!("https://example.org/{n}") }],
        votes: Some(pick(300, 23)),
        comments: Some(pick(20, 29)),
        ..Record::default()
    }
}
