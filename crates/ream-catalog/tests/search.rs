//! The catalogue's search, from the store to the page, on both databases.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod common;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use common::Database;
use ream_catalog::search::{Document, Engine};
use ream_catalog::{
    Author, Catalog, ClaimFacts, Date, EditionFacts, EditionPaper, Embedder, Error, Hit, MeaningState, Mode,
    Record, SearchPage, SearchQuery, Source, Store,
};
use tempfile::TempDir;

/// Words hashed into a few numbers: texts that share words are near.
struct Hashed;

impl Embedder for Hashed {
    fn name(&self) -> &'static str {
        "hashed-words"
    }

    fn dimensions(&self) -> usize {
        384
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, String> {
        Ok(texts.iter().map(|text| hashed(text)).collect())
    }
}

fn hashed(text: &str) -> Vec<f32> {
    let mut vector = vec![0.0_f32; 384];
    for word in text.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 3) {
        let hash = word
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
        for part in 0..4 {
            let hash = hash.rotate_left(part * 16);
            vector[(hash % 384) as usize] += if hash & (1 << 40) == 0 { 1.0 } else { -1.0 };
        }
    }
    let norm = vector.iter().map(|x| x * x).sum::<f32>().sqrt().max(1e-9);
    vector.iter().map(|x| x / norm).collect()
}

fn source() -> Source {
    Source { kind: "test".into(), name: "here".into() }
}

fn record(title: &str, summary: &str) -> Record {
    Record { title: title.into(), summary: Some(summary.into()), ..Record::default() }
}

/// Where a catalogue lives: a database of its own, and a folder for its index.
struct Place {
    database: Database,
    folder: TempDir,
}

impl Place {
    fn new(database: Database) -> Self {
        Self { database, folder: tempfile::tempdir().unwrap() }
    }

    async fn store(&self) -> Store {
        Store::open(&self.database.url).await.unwrap()
    }

    fn index(&self) -> PathBuf {
        self.folder.path().join("index")
    }
}

/// Each test on each database.
macro_rules! on_both {
    ($($test:ident)*) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(super::Place::new(super::Database::sqlite())).await;
            })*
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                super::$test(super::Place::new(super::Database::postgres())).await;
            })*
        }
    };
}

on_both! {
    finds_marks_and_explains
    mistakes_have_a_code_and_a_place
    a_changed_paper_is_there_once_and_a_new_handle_replaces_the_old
    meaning_is_off_without_an_encoder_and_says_so
    meaning_and_words_are_fused_and_vectors_are_kept
    similar_papers_come_with_a_reason
    a_walk_through_the_pages_shows_every_old_hit_once_while_papers_are_added
    a_cursor_of_another_process_goes_on_behind_its_hit_and_says_so
    the_index_is_deleted_under_load_and_reads_go_on
    a_first_start_shows_what_is_there_so_far
    two_processes_share_an_index
    an_index_of_another_store_is_built_anew
    where_nothing_can_be_written_the_index_is_in_memory
    each_facet_is_counted_without_its_own_choice
    another_process_imports
    a_cursor_whose_snapshot_is_gone_goes_on_and_says_so
}

async fn catalog(place: &Place, records: &[Record], embedder: Option<Arc<dyn Embedder>>) -> Catalog {
    let store = place.store().await;
    store.upsert(records, &source()).await.unwrap();
    let catalog = Catalog::open(store, &place.index(), embedder).await.unwrap();
    catalog.refresh().await.unwrap();
    catalog
}

fn query(text: &str) -> SearchQuery {
    SearchQuery { text: text.into(), mode: Mode::Text, ..SearchQuery::default() }
}

fn titles(page: &SearchPage) -> Vec<&str> {
    page.hits.iter().map(|hit| hit.paper.record.title.as_str()).collect()
}

fn shown(hit: &Hit) -> String {
    hit.title_html
        .iter()
        .map(|(text, marked)| if *marked { format!("[{text}]") } else { text.clone() })
        .collect()
}

fn facts(slug: &str, minutes: Option<f64>, verdict: &str) -> EditionFacts {
    EditionFacts {
        slug: slug.into(),
        number: 1,
        family: "decoding".into(),
        topic: "Speculative decoding".into(),
        kind: "method".into(),
        line: "Drafts that see each other".into(),
        summary: "Our summary mentions zygotes.".into(),
        runs: minutes.is_some(),
        minutes,
        claims: vec![ClaimFacts {
            id: "c1".into(),
            kind: "finding".into(),
            statement: "Heads accept more tokens".into(),
            paper_figure: "1.3x".into(),
            verdict: verdict.into(),
            measured: None,
            interval: None,
            shortfall: None,
        }],
    }
}

async fn finds_marks_and_explains(place: Place) {
    let mut first = record(
        "Trees of drafts",
        &format!("{} Speculative decoding with <b>trees</b>.", "Filler. ".repeat(60)),
    );
    first.authors = vec![Author { name: "Łukasz Kaiser".into(), affiliation: Some("Deep Lab".into()) }];
    first.date = Date::new(Some(2024), Some(5), None);
    let catalog = catalog(&place, &[first, record("Other things", "Nothing of the kind.")], None).await;
    let page = catalog.search(&query("decoding tree")).await.unwrap();
    assert_eq!((titles(&page), page.total), (vec!["Trees of drafts"], 1));
    let hit = &page.hits[0];
    assert_eq!(shown(hit), "[Trees] of drafts");
    let snippet: String = hit.snippet.iter().map(|(text, _)| text.as_str()).collect();
    // Text, not HTML: what the abstract holds is shown as it is.
    assert!(snippet.starts_with("… ") && snippet.contains("<b>trees</b>"), "{snippet}");
    assert_eq!(hit.why, "words in title, abstract");
    let page = catalog.search(&query("author:lukasz org:\"deep lab\" year:2024")).await.unwrap();
    assert_eq!(page.hits[0].why, "words in authors, organisation");
    let year = page.facets.iter().find(|facet| facet.field == "year").unwrap();
    assert_eq!(year.values, [("2024".to_owned(), 1)]);
}

async fn mistakes_have_a_code_and_a_place(place: Place) {
    let catalog = catalog(&place, &[record("One", "")], None).await;
    let error = catalog.search(&query("naïve (one")).await.unwrap_err();
    assert_eq!((error.code(), error.position()), ("bad_query", Some(7)));
    assert_eq!(error.to_string(), "at character 7: this `(` is never closed; close it with `)`");
    for (after, facets) in [("x", vec![]), ("1.1.1.0.0.t-x", vec![]), ("", vec![])] {
        let query = SearchQuery { after: Some(after.into()), facets, ..query("one") };
        assert_eq!(catalog.search(&query).await.unwrap_err().code(), "bad_cursor");
    }
    let query = SearchQuery { facets: vec![("colour".into(), "red".into())], ..query("one") };
    assert_eq!(catalog.search(&query).await.unwrap_err().code(), "bad_query");
}

async fn a_changed_paper_is_there_once_and_a_new_handle_replaces_the_old(place: Place) {
    let plain = Record { arxiv: Some("2402.05109".into()), ..record("Hydra heads", "Old words") };
    let catalog = catalog(&place, std::slice::from_ref(&plain), Some(Arc::new(Hashed))).await;
    catalog.embed_missing(&mut |_, _| {}).await.unwrap();
    assert_eq!(catalog.search(&query("hydra")).await.unwrap().hits[0].paper.handle, "2402.05109");
    let more = Record { votes: Some(3), ..plain.clone() };
    catalog.store().upsert(&[more], &source()).await.unwrap();
    catalog
        .store()
        .upsert(&[Record { venue: Some("ICLR".into()), ..plain.clone() }], &source())
        .await
        .unwrap();
    assert_eq!(catalog.refresh().await.unwrap(), 1);
    assert_eq!(catalog.search(&query("hydra")).await.unwrap().total, 1);
    let edition = EditionPaper { record: plain.clone(), facts: facts("hydra", Some(1.5), "not confirmed") };
    catalog.store().set_edition(&[edition]).await.unwrap();
    catalog.refresh().await.unwrap();
    for text in ["hydra", "zygotes", "claim:accept verdict:not-confirmed runs:<2min family:decoding", ""] {
        let page = catalog.search(&query(text)).await.unwrap();
        assert_eq!((page.total, page.hits[0].paper.handle.as_str()), (1, "hydra"), "{text}");
    }
    assert_eq!(catalog.search(&query("runs:<1min")).await.unwrap().total, 0);
    // Its vector moved with it.
    let near = SearchQuery { mode: Mode::Meaning, ..query("hydra heads words") };
    assert_eq!(catalog.search(&near).await.unwrap().hits[0].paper.handle, "hydra");
    assert_eq!(catalog.meaning(), MeaningState::On { documents: 1 });
}

async fn meaning_is_off_without_an_encoder_and_says_so(place: Place) {
    let catalog = catalog(&place, &[record("Drafts", "")], None).await;
    assert!(matches!(catalog.meaning(), MeaningState::Off { why } if why.contains("ream data fetch minilm")));
    for mode in [Mode::Meaning, Mode::Fused] {
        let page = catalog.search(&SearchQuery { mode, ..query("drafts") }).await.unwrap();
        assert_eq!(page.total, 1);
        assert!(page.notes[0].contains("meaning search is off"), "{:?}", page.notes);
    }
    assert_eq!(catalog.embed_missing(&mut |_, _| {}).await.unwrap(), 0);
    assert!(catalog.search(&query("drafts")).await.unwrap().notes.is_empty());
    // The encoder comes later, under the open catalogue.
    catalog.set_embedder(Arc::new(Hashed)).await.unwrap();
    assert_eq!(catalog.meaning(), MeaningState::On { documents: 0 });
    assert_eq!(catalog.embed_missing(&mut |_, _| {}).await.unwrap(), 1);
    let page = catalog.search(&SearchQuery { mode: Mode::Meaning, ..query("drafts") }).await.unwrap();
    assert!(page.notes.is_empty() && page.hits[0].why.contains("near in meaning"), "{page:?}");
}

async fn meaning_and_words_are_fused_and_vectors_are_kept(place: Place) {
    let records = [
        record("Guessing several tokens", "draft model proposes tokens, verified together"),
        record("Verified tokens", "unrelated"),
        record("Causal estimates", "instrument variable regression"),
    ];
    let catalog = catalog(&place, &records, Some(Arc::new(Hashed))).await;
    let page = catalog.search(&SearchQuery { mode: Mode::Fused, ..query("tokens") }).await.unwrap();
    assert!(page.notes[0].starts_with("0 of 3 papers"), "{:?}", page.notes);
    let mut seen = Vec::new();
    assert_eq!(catalog.embed_missing(&mut |done, total| seen.push((done, total))).await.unwrap(), 3);
    assert_eq!(seen.last(), Some(&(3, 3)));
    assert_eq!(catalog.embed_missing(&mut |_, _| {}).await.unwrap(), 0);
    let near = SearchQuery { mode: Mode::Meaning, ..query("draft model proposes") };
    let page = catalog.search(&near).await.unwrap();
    assert_eq!((titles(&page)[0], page.total, page.notes.len()), ("Guessing several tokens", 3, 0));
    assert!(page.hits[0].score > page.hits[1].score && page.hits[0].why.contains("near in meaning"));
    // Conditions hold by meaning too.
    let page = catalog
        .search(&SearchQuery { text: "draft model -title:guessing".into(), ..near.clone() })
        .await
        .unwrap();
    assert!(page.total == 2 && !titles(&page).contains(&"Guessing several tokens"));
    let page = catalog.search(&SearchQuery { mode: Mode::Fused, ..query("verified tokens") }).await.unwrap();
    assert_eq!(page.total, 3);
    assert!(titles(&page)[..2].iter().all(|title| title.contains("tokens")));
    // Another start finds the stored vectors.
    drop(catalog);
    let again = self::catalog(&place, &records, Some(Arc::new(Hashed))).await;
    assert_eq!(again.meaning(), MeaningState::On { documents: 3 });
    // A changed text is embedded again, and its vector is another.
    let bare = Record { title: "Bare title".into(), ..Record::default() };
    again.store().upsert(&[bare], &source()).await.unwrap();
    assert_eq!(again.embed_missing(&mut |_, _| {}).await.unwrap(), 1);
    again.store().upsert(&[record("Bare title", "quaternion rotations")], &source()).await.unwrap();
    assert_eq!(again.embed_missing(&mut |_, _| {}).await.unwrap(), 1);
    again.refresh().await.unwrap();
    let near = SearchQuery { text: "quaternion rotations".into(), ..near };
    assert_eq!(titles(&again.search(&near).await.unwrap())[0], "Bare title");
    assert_eq!(again.meaning(), MeaningState::On { documents: 4 });
}

async fn similar_papers_come_with_a_reason(place: Place) {
    let by = |record: Record, name: &str| Record {
        authors: vec![Author { name: name.into(), affiliation: None }],
        topics: vec!["decoding".into()],
        ..record
    };
    let records = [
        by(record("Speculative trees", "A draft tree is verified by the target"), "Ada Lovelace"),
        by(record("More speculative trees", "The draft tree grows, the target verifies"), "ADA LOVELACE"),
        by(record("Gardening", "Soil and water"), "Ada Lovelace"),
        record("Instruments", "Soil regression"),
    ];
    let catalog = catalog(&place, &records, Some(Arc::new(Hashed))).await;
    catalog.embed_missing(&mut |_, _| {}).await.unwrap();
    let handle = catalog.search(&query("title:\"speculative trees\" -more")).await.unwrap().hits[0]
        .paper
        .handle
        .clone();
    let similar = catalog.similar(&handle, 5).await.unwrap();
    assert_eq!(similar[0].paper.record.title, "More speculative trees");
    let why = &similar[0].why;
    for part in [
        "Both speak of ",
        "tree",
        "Ada Lovelace wrote both",
        "both are about decoding",
        "near in meaning (0.",
    ] {
        assert!(why.contains(part), "{why}");
    }
    assert!(similar.iter().all(|other| other.paper.handle != handle));
    let gardening = similar.iter().find(|other| other.paper.record.title == "Gardening").unwrap();
    assert!(
        gardening.why.starts_with("Ada Lovelace wrote both; both are about decoding"),
        "{}",
        gardening.why
    );
    assert!(matches!(catalog.similar("absent", 5).await, Err(Error::NotFound(_))));
    assert_eq!(catalog.similar(&handle, 1).await.unwrap().len(), 1);
}

fn numbered(range: std::ops::Range<usize>) -> Vec<Record> {
    range
        .map(|i| {
            let words = ["attention", "sparse", "causal", "draft", "flow"];
            let second = words[i % 5];
            record(&format!("Common paper {i}"), &format!("{second} {}", "word ".repeat(i % 7)))
        })
        .collect()
}

async fn a_walk_through_the_pages_shows_every_old_hit_once_while_papers_are_added(place: Place) {
    let catalog = catalog(&place, &numbered(0..200), Some(Arc::new(Hashed))).await;
    catalog.embed_missing(&mut |_, _| {}).await.unwrap();
    for mode in [Mode::Text, Mode::Meaning, Mode::Fused] {
        let mut query = SearchQuery { mode, limit: 13, ..query("common attention OR common") };
        let whole = SearchQuery { limit: 200, ..query.clone() };
        let mut old: Vec<String> = Vec::new();
        let mut next = whole;
        loop {
            let page = catalog.search(&next).await.unwrap();
            old.extend(page.hits.into_iter().map(|hit| hit.paper.handle));
            next.after = page.next;
            if next.after.is_none() {
                break;
            }
        }
        let mut walked = Vec::new();
        let mut added = 1000;
        loop {
            let page = catalog.search(&query).await.unwrap();
            assert!(page.notes.iter().all(|note| note.contains("by meaning so far")), "{:?}", page.notes);
            assert_eq!(page.total, old.len());
            walked.extend(page.hits.into_iter().map(|hit| hit.paper.handle));
            // More papers, and changes of old ones, between any two pages.
            catalog.store().upsert(&numbered(added..added + 5), &source()).await.unwrap();
            let changed: Vec<Record> =
                numbered(0..200).into_iter().map(|r| Record { votes: Some(added as u32), ..r }).collect();
            catalog.store().upsert(&changed, &source()).await.unwrap();
            catalog.refresh().await.unwrap();
            added += 5;
            query.after = page.next;
            if query.after.is_none() {
                break;
            }
        }
        assert_eq!(walked, old, "{mode}");
    }
}

async fn a_cursor_of_another_process_goes_on_behind_its_hit_and_says_so(place: Place) {
    let first = catalog(&place, &numbered(0..50), None).await;
    let mut query = SearchQuery { limit: 20, ..query("common") };
    let page = first.search(&query).await.unwrap();
    let mut walked: Vec<String> = page.hits.iter().map(|hit| hit.paper.handle.clone()).collect();
    query.after = page.next;
    drop(first);
    let second = catalog(&place, &[], None).await;
    for _ in 0..2 {
        let page = second.search(&query).await.unwrap();
        walked.extend(page.hits.iter().map(|hit| hit.paper.handle.clone()));
        query.after = page.next.clone();
        assert!(walked.len() > 40 || page.notes[0].contains("since the first page"), "{:?}", page.notes);
    }
    // Nothing was written meanwhile, so nothing is lost either.
    assert_eq!((walked.len(), walked.iter().collect::<BTreeSet<_>>().len()), (50, 50));
    assert_eq!(query.after, None);
}

async fn the_index_is_deleted_under_load_and_reads_go_on(place: Place) {
    let catalog = catalog(&place, &numbered(0..3000), None).await;
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..2)
        .map(|_| {
            let (catalog, stop) = (catalog.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut reads = 0;
                while !stop.load(Ordering::Relaxed) {
                    let page = catalog.search(&query("common sparse")).await.unwrap();
                    assert!(page.total >= 600, "{}", page.total);
                    reads += 1;
                }
                reads
            })
        })
        .collect();
    for round in 0..4 {
        let index = place.index();
        match round {
            // The directory, what points at the index, its files.
            0 => remove_folder(&index),
            1 => std::fs::remove_file(index.join("index.json")).unwrap(),
            _ => remove_files(&index),
        }
        let more = 10_000 + round * 10;
        catalog.store().upsert(&numbered(more..more + 10), &source()).await.unwrap();
        catalog.refresh().await.unwrap();
        let page = catalog.search(&query(&format!("\"common paper {}\"", more + 9))).await.unwrap();
        assert_eq!(page.total, 1, "round {round}");
        assert_eq!(catalog.search(&query("")).await.unwrap().total, 3010 + round * 10);
        assert!(index.join("index.json").is_file());
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        assert!(reader.await.unwrap() > 0);
    }
}

/// Removes a folder into which merges may be writing.
fn remove_folder(folder: &Path) {
    while let Err(error) = std::fs::remove_dir_all(folder) {
        match error.kind() {
            std::io::ErrorKind::NotFound => return,
            // A file came while the others went.
            std::io::ErrorKind::DirectoryNotEmpty => {}
            _ => panic!("{error}"),
        }
    }
}

fn remove_files(folder: &Path) {
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            remove_folder(&entry.path());
        }
    }
}

async fn a_first_start_shows_what_is_there_so_far(place: Place) {
    let store = place.store().await;
    store.upsert(&numbered(0..2000), &source()).await.unwrap();
    let catalog = Catalog::open(store, &place.index(), None).await.unwrap();
    // At once: nothing waits for the index.
    let page = catalog.search(&query("common")).await.unwrap();
    assert!(page.total == 2000 || page.notes.iter().any(|note| note.contains("is being built")), "{page:?}");
    catalog.refresh().await.unwrap();
    let page = catalog.search(&query("common")).await.unwrap();
    assert_eq!((page.total, page.notes.len()), (2000, 0));
}

async fn two_processes_share_an_index(place: Place) {
    let first = catalog(&place, &numbered(0..10), None).await;
    let second = catalog(&place, &[], None).await;
    assert_eq!(second.search(&query("common")).await.unwrap().total, 10);
    first.store().upsert(&numbered(10..15), &source()).await.unwrap();
    first.refresh().await.unwrap();
    second.refresh().await.unwrap();
    assert_eq!(second.search(&query("common")).await.unwrap().total, 15);
}

async fn an_index_of_another_store_is_built_anew(mut place: Place) {
    for (titles, hits) in [(0..30, 30), (100..150, 50), (200..205, 5)] {
        let catalog = catalog(&place, &numbered(titles), None).await;
        let page = catalog.search(&query("common")).await.unwrap();
        assert_eq!((page.total, page.hits.len()), (hits, hits.min(20)));
        catalog.store().close().await;
        drop(catalog);
        place.database = place.database.another();
    }
}

async fn where_nothing_can_be_written_the_index_is_in_memory(place: Place) {
    std::fs::write(place.index(), "a file").unwrap();
    let catalog = catalog(&place, &numbered(0..10), None).await;
    assert_eq!(catalog.search(&query("common")).await.unwrap().total, 10);
}

async fn each_facet_is_counted_without_its_own_choice(place: Place) {
    let records: Vec<Record> = numbered(0..30)
        .into_iter()
        .enumerate()
        .map(|(i, r)| Record {
            date: Date::new(Some(2020 + (i % 3) as u16), None, None),
            organisations: vec![["Lab A", "Lab B"][i % 2].into()],
            ..r
        })
        .collect();
    let catalog = catalog(&place, &records, None).await;
    let facets =
        vec![("year".to_owned(), "2021".to_owned()), ("organisation".to_owned(), "Lab A".to_owned())];
    let page = catalog.search(&SearchQuery { facets, ..query("common") }).await.unwrap();
    let counts = |field: &str| page.facets.iter().find(|facet| facet.field == field).unwrap().values.clone();
    assert_eq!(page.total, 5);
    assert_eq!(counts("year"), [("2022".into(), 5), ("2021".into(), 5), ("2020".into(), 5)]);
    assert_eq!(counts("organisation"), [("Lab A".into(), 5), ("Lab B".into(), 5)]);
    assert_eq!(counts("runs"), [("no".into(), 5)]);
}

async fn a_cursor_whose_snapshot_is_gone_goes_on_and_says_so(place: Place) {
    let catalog = catalog(&place, &numbered(0..30), None).await;
    let first = SearchQuery { limit: 10, ..query("common") };
    let old = catalog.search(&first).await.unwrap();
    // More walks than snapshots are kept.
    for more in 0..40 {
        catalog.store().upsert(&numbered(100 + more..101 + more), &source()).await.unwrap();
        catalog.refresh().await.unwrap();
        assert!(catalog.search(&first).await.unwrap().next.is_some());
    }
    let next = SearchQuery { after: old.next, ..first.clone() };
    let page = catalog.search(&next).await.unwrap();
    assert!(page.notes[0].contains("since the first page"), "{:?}", page.notes);
    assert_eq!(page.hits.len(), 10);
    // A cursor of another query is an error.
    let other = SearchQuery { text: "attention".into(), ..next };
    assert_eq!(catalog.search(&other).await.unwrap_err().code(), "bad_cursor");
}

/// Two processes on one database and one index: whoever holds the index's lock writes it, whoever imports.
async fn another_process_imports(place: Place) {
    let server = catalog(&place, &numbered(0..10), None).await;
    import_elsewhere(&place, 10..15);
    server.refresh().await.unwrap();
    let page = server.search(&query("common")).await.unwrap();
    assert_eq!((page.total, page.notes.len()), (15, 0), "{:?}", page.notes);
    server.store().close().await;
    drop(server);
    // The other process writes the index and ends; a server that has only read it takes its place.
    let other = Other::start(&place, 15..20);
    let server = catalog(&place, &[], None).await;
    other.end();
    server.store().upsert(&numbered(20..25), &source()).await.unwrap();
    server.refresh().await.unwrap();
    assert_eq!(server.search(&query("common")).await.unwrap().total, 25);
    import_elsewhere(&place, 25..30);
    server.refresh().await.unwrap();
    assert_eq!(server.search(&query("common")).await.unwrap().total, 30);
}

/// A process that imports, tells so, and holds its catalogue until its input ends.
struct Other {
    process: Child,
    // Open to the end: it may still have something to say.
    _output: BufReader<ChildStdout>,
}

impl Other {
    fn start(place: &Place, papers: std::ops::Range<usize>) -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "the_other_process", "--ignored", "--nocapture"]);
        command.env("REAM_TEST_DATABASE", &place.database.url).env("REAM_TEST_INDEX", place.index());
        command.env("REAM_TEST_PAPERS", format!("{}-{}", papers.start, papers.end));
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut lines = output.by_ref().lines().map_while(Result::ok);
        assert!(lines.any(|line| line.contains("imported")), "the other process failed");
        Self { process: child, _output: output }
    }

    fn end(mut self) {
        drop(self.process.stdin.take());
        assert!(self.process.wait().unwrap().success());
    }
}

fn import_elsewhere(place: &Place, papers: std::ops::Range<usize>) {
    Other::start(place, papers).end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by another test"]
async fn the_other_process() {
    let [url, index, papers] =
        ["DATABASE", "INDEX", "PAPERS"].map(|name| std::env::var(format!("REAM_TEST_{name}")).unwrap());
    let (from, to) = papers.split_once('-').unwrap();
    let store = Store::open(&url).await.unwrap();
    store.upsert(&numbered(from.parse().unwrap()..to.parse().unwrap()), &source()).await.unwrap();
    let catalog = Catalog::open(store, Path::new(&index), None).await.unwrap();
    catalog.refresh().await.unwrap();
    println!("imported");
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    catalog.store().close().await;
}

/// Ten thousand papers: every word finds as many as have it, in every mode, and how long a page takes is printed (not asserted).
#[test]
fn ten_thousand_papers() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["attention", "sparse", "causal", "draft", "flow", "tree", "policy", "graph"];
    let mut engine = Engine::open(folder.path(), 384).unwrap();
    let title = |i: usize| format!("{} {} {i}", words[i % 8], words[i / 8 % 8]);
    let papers: Vec<Document> = (0..10_000)
        .map(|i| Document { handle: format!("p{i:05}"), title: title(i), ..Document::default() })
        .collect();
    engine.put(&papers).unwrap();
    engine.put_vectors((0..10_000).map(|i| (format!("p{i:05}"), hashed(&title(i)))));
    engine.commit().unwrap();
    let start = std::time::Instant::now();
    for word in words {
        let want = (0..10_000).filter(|i| title(*i).contains(word)).count();
        let vector = hashed(word);
        assert_eq!(engine.search(word, Mode::Text, None, 20).unwrap().total, want);
        let near = engine.search(word, Mode::Meaning, Some(&vector), 20).unwrap();
        assert_eq!((near.total, near.hits.len()), (1000, 20));
        let fused = engine.search(word, Mode::Fused, Some(&vector), 20).unwrap();
        assert!(fused.total >= want && fused.total <= want + 100);
        for (handle, _) in near.hits.iter().chain(&fused.hits) {
            assert!(title(handle[1..].parse().unwrap()).contains(word), "{handle}");
        }
    }
    println!("{:.1} ms a search", start.elapsed().as_secs_f64() * 1e3 / 24.0);
}
