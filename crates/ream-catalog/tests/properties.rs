//! Any sequence of records, in any split into batches, makes the same store; and making it twice is making it once.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod common;

use common::{Database, block_on, source};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use ream_catalog::{Author, FeedQuery, Link, Named, Names, Record, Sort, Store, Stored};

/// Few values, so that records meet.
fn record() -> impl Strategy<Value = Record> {
    let title =
        prop::sample::select(vec!["One map", "one MAP!", "Two", "Three körper", "Three Korper", "!", "?"]);
    let arxiv = prop::sample::select(vec!["2401.00001", "2401.00002", "math/0101001"]);
    let date = prop::sample::select(vec!["2024", "2024-01", "2024-01-05", "--01-05", "2023-01-05"]);
    let word = || prop::sample::select(vec!["Ada L.", "ADA L", "Bo", "Cy", "李"]);
    let who = (word(), option::of(word()))
        .prop_map(|(name, place)| Author { name: name.into(), affiliation: place.map(Into::into) });
    let link = word().prop_map(|w| Link { label: w.into(), url: format!("https://example.org/{w}") });
    let lists = (vec(who, 0..3), vec(word(), 0..3), vec(word(), 0..3), vec(link, 0..3));
    let numbers = (option::of(0_u32..4), option::of(0_u32..4), option::of(0_u32..4));
    let texts = (option::of(word()), option::of(word()), option::of(word()));
    (title, option::of(arxiv), option::of(date), lists, numbers, texts).prop_map(
        |(title, arxiv, date, (authors, organisations, topics, links), (count, votes, comments), texts)| {
            let text = |text: Option<&str>| text.map(str::to_owned);
            let list = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect();
            Record {
                title: title.into(),
                arxiv: text(arxiv),
                doi: text(texts.0),
                summary: text(texts.1),
                authors,
                author_count: count,
                organisations: list(organisations),
                date: date.map(|d| d.parse().unwrap()),
                venue: text(texts.2),
                topics: list(topics),
                links,
                votes,
                comments,
            }
        },
    )
}

/// All that can be read, without times and change numbers.
#[derive(Debug, PartialEq)]
struct Everything {
    papers: Vec<Stored>,
    names: Vec<Vec<Named>>,
    feeds: Vec<(u64, Vec<String>)>,
    years: Vec<u64>,
}

async fn everything(store: &Store) -> Everything {
    let mut papers = store.all(None, 1_000).await.unwrap();
    let changes: std::collections::BTreeSet<i64> = papers.iter().map(|p| p.change).collect();
    assert_eq!(changes.len(), papers.len(), "no two papers share a change number");
    for paper in &mut papers {
        (paper.added, paper.change) = (0, 0);
    }
    let mut names = Vec::new();
    for kind in [Names::Authors, Names::Organisations, Names::Topics] {
        names.push(store.names(kind, None, 100).await.unwrap().items);
    }
    let mut feeds = Vec::new();
    for sort in Sort::ALL {
        let query = FeedQuery { sort, limit: 200, until: None, now: 1_704_412_800, ..FeedQuery::default() };
        let page = store.feed(&query).await.unwrap();
        assert_eq!(page.total, page.items.len() as u64, "{sort}");
        feeds.push((page.total, page.items.into_iter().map(|p| p.handle).collect()));
    }
    let mut years = Vec::new();
    for year in ["2023", "2024"] {
        let date = year.parse().ok();
        let query = FeedQuery { from: date, until: date, limit: 1, ..FeedQuery::default() };
        years.push(store.feed(&query).await.unwrap().total);
    }
    Everything { papers, names, feeds, years }
}

async fn fill(store: &Store, records: &[Record], cuts: &[usize]) {
    let mut rest = records;
    for &cut in cuts {
        let (head, tail) = rest.split_at(cut.min(rest.len()));
        store.upsert(head, &source("property")).await.unwrap();
        rest = tail;
    }
    store.upsert(rest, &source("property")).await.unwrap();
}

fn check(cases: u32, database: impl Fn() -> Database) {
    let config =
        Config { cases, rng_seed: RngSeed::Fixed(4), failure_persistence: None, ..Config::default() };
    let strategy = (vec(record(), 0..14), vec(0_usize..5, 0..4));
    let outcome = TestRunner::new(config).run(&strategy, |(records, cuts)| {
        let (whole, split) = (database(), database());
        block_on(async {
            let one = Store::open(&whole.url).await.unwrap();
            fill(&one, &records, &[]).await;
            let once = everything(&one).await;
            let two = Store::open(&split.url).await.unwrap();
            fill(&two, &records, &cuts).await;
            prop_assert_eq!(&everything(&two).await, &once, "split {:?}", cuts);
            fill(&one, &records, &cuts).await;
            prop_assert_eq!(&everything(&one).await, &once, "twice");
            one.close().await;
            two.close().await;
            Ok(())
        })
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[test]
fn splits_and_repeats_make_the_same_store_on_sqlite() {
    check(40, Database::sqlite);
}

#[test]
fn splits_and_repeats_make_the_same_store_on_postgres() {
    check(15, Database::postgres);
}
