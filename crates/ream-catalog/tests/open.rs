//! Opening: the released schemas, newer ones, several programs at once; and what several writers do to a reader.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod common;

use std::collections::BTreeMap;
use std::path::PathBuf;

use common::{Database, block_on, paper, source};
use ream_catalog::{EditionPaper, FeedQuery, Record, SCHEMA, Sort, Store, StoredVector};
use sqlx::{AnyConnection, AssertSqlSafe, Connection, Row};

async fn raw(database: &Database) -> AnyConnection {
    sqlx::any::install_default_drivers();
    let url = if database.name == "sqlite" {
        format!("sqlite://{}?mode=rwc", database.file().display())
    } else {
        database.url.clone()
    };
    AnyConnection::connect(&url).await.unwrap()
}

async fn run(database: &Database, text: String) {
    let mut connection = raw(database).await;
    sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

fn fixture(version: i64, database: &Database) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(format!("schema-{version}.{}.sql", database.name))
}

/// The fixtures hold papers 0..20, the edition of one paper, a run and a vector.
#[test]
fn every_released_schema_stays_openable() {
    for version in 1..=SCHEMA {
        for database in Database::both() {
            let text = std::fs::read_to_string(fixture(version, &database)).unwrap();
            block_on(async {
                run(&database, text).await;
                let store = Store::open(&database.url).await.unwrap();
                let counts = store.count().await.unwrap();
                assert_eq!((counts.papers, counts.runs), (20, 1), "{}", database.name);
                assert_eq!(store.get("alpha").await.unwrap().unwrap().record.title, paper(3).title);
                assert_eq!(store.runs(None, 9).await.unwrap().len(), 1);
                assert_eq!(store.vectors("mini", 0, 9).await.unwrap().0[0].components, [-128, 0, 127]);
                let query = FeedQuery { sort: Sort::Hot, limit: 200, ..FeedQuery::default() };
                assert_eq!(store.feed(&query).await.unwrap().items.len(), 20);
                let done = store.upsert(&[paper(3), paper(99)], &source("test")).await.unwrap();
                assert_eq!(done[0].handle, "alpha");
                assert_eq!(store.count().await.unwrap().papers, 21);
                store.close().await;
            });
        }
    }
}

/// Writes the fixtures of the present schema: `cargo test -p ream-catalog --test open -- --ignored`. A released one is
/// never written again.
#[test]
#[ignore = "writes into the source tree"]
fn write_the_fixtures() {
    for database in Database::both() {
        block_on(async {
            let store = Store::open(&database.url).await.unwrap();
            store.upsert(&(0..20).map(paper).collect::<Vec<_>>(), &source("fixture")).await.unwrap();
            let facts = serde_json::json!({
                "slug": "alpha", "number": 1, "family": "causal", "topic": "causality", "kind": "method",
                "line": "In a line", "summary": "Ours", "runs": true, "minutes": 2.5, "claims": [{
                    "id": "c1", "kind": "finding", "statement": "It holds", "paper_figure": "3",
                    "verdict": "confirmed", "measured": 3.5, "interval": [3.0, 4.0], "shortfall": 0.0
                }]
            });
            let alpha = EditionPaper { record: paper(3), facts: serde_json::from_value(facts).unwrap() };
            store.set_edition(&[alpha]).await.unwrap();
            let run = serde_json::json!({
                "id": "alpha-1", "slug": "alpha", "preset": "full", "state": "finished", "created": 1,
                "seconds": 2.0, "evidence": true
            });
            store.set_runs(&[serde_json::from_value(run).unwrap()]).await.unwrap();
            let missing = store.missing_vectors("mini", 1).await.unwrap().remove(0);
            let vector = StoredVector {
                handle: missing.handle,
                text_hash: missing.text_hash,
                scale: 0.5,
                components: vec![-128, 0, 127],
            };
            store.put_vectors("mini", &[vector]).await.unwrap();
            store.close().await;
            let text = if database.name == "sqlite" {
                dump_sqlite(&database).await
            } else {
                dump_postgres(&database)
            };
            std::fs::write(fixture(SCHEMA, &database), text).unwrap();
        });
    }
}

async fn dump_sqlite(database: &Database) -> String {
    let mut connection = raw(database).await;
    let mut text = String::from("PRAGMA journal_mode = WAL;\nPRAGMA foreign_keys = OFF;\n");
    let select = "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY type DESC, rowid";
    for row in sqlx::query(select).fetch_all(&mut connection).await.unwrap() {
        let (kind, name, sql): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        text += &format!("{sql};\n");
        if kind != "table" {
            continue;
        }
        let columns = format!("SELECT name FROM pragma_table_info('{name}')");
        let columns = sqlx::query(AssertSqlSafe(columns)).fetch_all(&mut connection).await.unwrap();
        let quoted: Vec<String> =
            columns.iter().map(|c| format!("quote({})", c.get::<String, _>(0))).collect();
        let rows = format!("SELECT {} FROM {name}", quoted.join(" || ', ' || "));
        for row in sqlx::query(AssertSqlSafe(rows)).fetch_all(&mut connection).await.unwrap() {
            text += &format!("INSERT INTO {name} VALUES ({});\n", row.get::<String, _>(0));
        }
    }
    text
}

fn dump_postgres(database: &Database) -> String {
    let name = database.url.rsplit('/').next().unwrap();
    let mut command = Database::server().tool("pg_dump", name);
    let output = command.args(["--rows-per-insert=10", "--no-owner"]).output().unwrap();
    assert!(output.status.success());
    // lines with a backslash are for psql, the rest is SQL
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter(|line| !line.starts_with('\\')).map(|line| format!("{line}\n")).collect()
}

#[test]
fn a_newer_database_is_refused() {
    for database in Database::both() {
        block_on(async {
            Store::open(&database.url).await.unwrap().close().await;
            run(&database, format!("UPDATE meta SET value = {} WHERE name = 'schema'", SCHEMA + 1)).await;
            let error = Store::open(&database.url).await.unwrap_err();
            assert_eq!(error.code(), "newer_database");
            assert!(error.to_string().contains("use a newer ream"), "{error}");
        });
    }
}

#[test]
fn a_store_of_other_formulas_is_put_in_order() {
    for database in Database::both() {
        block_on(async {
            let store = Store::open(&database.url).await.unwrap();
            let records: Vec<Record> = (0..600).map(paper).collect();
            store.upsert(&records, &source("test")).await.unwrap();
            let query = FeedQuery { sort: Sort::Hot, limit: 50, ..FeedQuery::default() };
            let before = store.feed(&query).await.unwrap();
            store.close().await;
            let text = "UPDATE meta SET value = 0 WHERE name = 'ranking'; UPDATE papers SET hot = -id";
            run(&database, text.to_owned()).await;
            let store = Store::open(&database.url).await.unwrap();
            let after = store.feed(&query).await.unwrap();
            let handles = |page: &ream_catalog::Page| -> Vec<String> {
                page.items.iter().map(|p| p.handle.clone()).collect()
            };
            assert_eq!(handles(&after), handles(&before), "{}", database.name);
            store.close().await;
        });
    }
}

#[test]
fn many_open_an_empty_database_at_once() {
    for database in Database::both() {
        block_on(async {
            let tasks: Vec<_> = (0..6)
                .map(|n| {
                    let url = database.url.clone();
                    tokio::spawn(async move {
                        let store = Store::open(&url).await.unwrap();
                        store.upsert(&[paper(n)], &source("test")).await.unwrap();
                        store.close().await;
                    })
                })
                .collect();
            for task in tasks {
                task.await.unwrap();
            }
            let store = Store::open(&database.url).await.unwrap();
            assert_eq!(store.count().await.unwrap().papers, 6, "{}", database.name);
            store.close().await;
        });
    }
}

#[test]
fn a_server_that_is_not_there_is_an_error_without_the_password() {
    let error = block_on(Store::open("postgres://ada:secret@127.0.0.1:1/none")).unwrap_err();
    assert_eq!(error.code(), "bad_database_address");
    assert!(!error.to_string().contains("secret"), "{error}");
}

/// Two programs (each a pool of its own) write with two tasks each, a third follows.
#[test]
fn a_reader_that_follows_the_changes_misses_nothing() {
    const EACH: u32 = 40;
    for database in Database::both() {
        block_on(async {
            let reader = Store::open(&database.url).await.unwrap();
            let mut tasks = Vec::new();
            for program in 0..2 {
                let store = Store::open(&database.url).await.unwrap();
                for task in 0..2 {
                    let store = store.clone();
                    tasks.push(tokio::spawn(async move {
                        for n in 0..EACH {
                            // new papers, and one paper that everybody writes
                            let mut shared = paper(1_000_000);
                            shared.votes = Some(n * 4 + program * 2 + task);
                            let own = paper(program * 10_000 + task * 1_000 + n);
                            store.upsert(&[own, shared], &source("test")).await.unwrap();
                        }
                    }));
                }
            }
            let (mut seen, mut last) = (BTreeMap::new(), 0);
            loop {
                let done = tasks.iter().all(tokio::task::JoinHandle::is_finished);
                let page = reader.changed_since(last, 7).await.unwrap();
                for paper in &page {
                    assert!(paper.change > last, "in order");
                    last = paper.change;
                    seen.insert(paper.handle.clone(), paper.clone());
                }
                if done && page.is_empty() {
                    break;
                }
            }
            for task in tasks {
                task.await.unwrap();
            }
            let all = reader.all(None, 1_000).await.unwrap();
            assert_eq!(all.len(), 4 * EACH as usize + 1);
            assert_eq!(seen.into_values().collect::<Vec<_>>(), all, "{}", database.name);
            reader.close().await;
        });
    }
}
