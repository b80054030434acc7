//! What 100,000 papers cost, for a person to read:
//! `cargo test --release -p ream-catalog --test load -- --ignored --nocapture [sqlite|postgres]`;
//! `REAM_LOAD_PAPERS` sets another number. On a machine that does other work look at the processor's seconds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod common;

use std::time::Instant;

use common::{Database, block_on, paper, source};
use ream_catalog::{FeedQuery, Names, Record, Sort, Store};

const BATCH: usize = 1_000;

#[test]
#[ignore = "a measurement"]
fn sqlite() {
    block_on(measure(Database::sqlite()));
}

#[test]
#[ignore = "a measurement"]
fn postgres() {
    block_on(measure(Database::postgres()));
}

async fn measure(database: Database) {
    println!("{}", database.name);
    let store = Store::open(&database.url).await.unwrap();
    let papers = std::env::var("REAM_LOAD_PAPERS").map_or(100_000, |papers| papers.parse().unwrap());
    let records: Vec<Record> = (0..papers).map(paper).collect();
    let voted: Vec<Record> =
        records.iter().map(|r| Record { votes: r.votes.map(|v| v + 1), ..r.clone() }).collect();
    for (turn, records) in [("new", &records), ("nothing new", &records), ("one count changed", &voted)] {
        let (begun, used) = (Instant::now(), processor());
        for batch in records.chunks(BATCH) {
            store.upsert(batch, &source("load")).await.unwrap();
        }
        let (wall, used) = (begun.elapsed().as_secs_f64(), processor() - used);
        println!("  {papers} papers, {turn}: {wall:.1} s ({used:.1} s of the processor)");
    }
    let begun = Instant::now();
    for one in records.iter().take(100) {
        store.upsert(std::slice::from_ref(one), &source("load")).await.unwrap();
    }
    println!("  one paper at a time: {:.2} ms", begun.elapsed().as_secs_f64() * 10.0);
    for sort in Sort::ALL {
        let until = sort.period().and_then(|_| "2016-06-10".parse().ok());
        let query = FeedQuery { sort, until, limit: 30, ..FeedQuery::default() };
        pages(&store, sort.name(), query).await;
    }
    let base = FeedQuery { sort: Sort::Hot, limit: 30, ..FeedQuery::default() };
    let author = records[0].authors[0].name.clone();
    pages(&store, "hot, an author", FeedQuery { author: Some(author.clone()), ..base.clone() }).await;
    let organisation = Some(records[0].organisations[0].clone());
    pages(&store, "hot, an organisation", FeedQuery { organisation, ..base.clone() }).await;
    let topic = Some("cs.LG".to_owned());
    pages(&store, "hot, a topic", FeedQuery { topic: topic.clone(), ..base.clone() }).await;
    let from = "2020".parse().ok();
    pages(&store, "hot, since 2020", FeedQuery { from, ..base.clone() }).await;
    let until = "2010-01".parse().ok();
    pages(&store, "hot, until 2010-01", FeedQuery { until, ..base.clone() }).await;
    pages(&store, "hot, a topic since 2020", FeedQuery { from, topic: topic.clone(), ..base.clone() }).await;
    pages(&store, "hot, an author of a topic", FeedQuery { author: Some(author), topic, ..base }).await;
    let begun = Instant::now();
    for _ in 0..100 {
        store.names(Names::Authors, None, 50).await.unwrap();
    }
    println!("  authors: {:.2} ms", begun.elapsed().as_secs_f64() * 10.0);
    let begun = Instant::now();
    store.missing_vectors("none", 100).await.unwrap();
    println!("  missing vectors: {:.2} ms", begun.elapsed().as_secs_f64() * 1e3);
    let begun = Instant::now();
    store.count().await.unwrap();
    println!("  counts: {:.2} ms", begun.elapsed().as_secs_f64() * 1e3);
    store.close().await;
}

/// Milliseconds of a page, and of the tenth page.
async fn pages(store: &Store, name: &str, mut query: FeedQuery) {
    let mut times = Vec::new();
    let mut total = 0;
    for _ in 0..10 {
        let begun = Instant::now();
        let page = store.feed(&query).await.unwrap();
        times.push(begun.elapsed().as_secs_f64() * 1e3);
        total = page.total;
        query.after = page.next;
        if query.after.is_none() {
            break;
        }
    }
    let mut sorted = times.clone();
    sorted.sort_by(f64::total_cmp);
    println!(
        "  {name}: {:.2} ms median, {:.2} ms worst of {} pages; {total} papers",
        sorted[sorted.len() / 2],
        sorted[sorted.len() - 1],
        times.len()
    );
}

/// Seconds that this process has used (hundredths, user and system).
fn processor() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}
