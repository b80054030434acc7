//! The store answers alike on SQLite and PostgreSQL.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

mod common;

use common::{on_both, paper, source};
use ream_catalog::{
    Author, ClaimFacts, Cursor, EditionFacts, EditionPaper, FeedQuery, Names, Outcome, Record, RunRow, Sort,
    Store, StoredVector,
};

fn titled(title: &str, arxiv: Option<&str>) -> Record {
    Record { title: title.into(), arxiv: arxiv.map(Into::into), ..Record::default() }
}

fn query(sort: Sort, limit: u32) -> FeedQuery {
    FeedQuery { sort, limit, now: 1_700_000_000, ..FeedQuery::default() }
}

async fn put(store: &Store, records: &[Record]) -> Vec<(String, Outcome)> {
    let done = store.upsert(records, &source("test")).await.unwrap();
    done.into_iter().map(|u| (u.handle, u.outcome)).collect()
}

async fn handles(store: &Store, query: &FeedQuery) -> Vec<String> {
    store.feed(query).await.unwrap().items.into_iter().map(|paper| paper.handle).collect()
}

fn edition(slug: &str, record: Record, verdicts: &[&str]) -> EditionPaper {
    let claim = |(n, verdict): (usize, &&str)| ClaimFacts {
        id: format!("c{}", n + 1),
        kind: "finding".into(),
        statement: "It holds".into(),
        paper_figure: "3".into(),
        verdict: (*verdict).into(),
        measured: Some(1.5),
        interval: Some([1.0, 2.0]),
        shortfall: (*verdict == "not confirmed").then_some(0.5),
    };
    let facts = EditionFacts {
        slug: slug.into(),
        number: 1,
        family: "causal".into(),
        topic: "causality".into(),
        kind: "method".into(),
        line: "In a line".into(),
        summary: "Ours".into(),
        runs: !verdicts.is_empty(),
        minutes: (!verdicts.is_empty()).then_some(verdicts.len() as f64),
        claims: verdicts.iter().enumerate().map(claim).collect(),
    };
    EditionPaper { record, facts }
}

/// Titles that differ in punctuation alone are one paper, unless arXiv says that they are two.
#[test]
fn punctuation_alone_does_not_part_papers_and_arxiv_numbers_do() {
    on_both(|store| async move {
        let two =
            [titled("NAD(P)+ in cells", Some("2401.00001")), titled("NADP+ in cells", Some("2401.00002"))];
        let apart = put(&store, &two).await;
        assert_eq!(apart, [("2401.00001".into(), Outcome::Added), ("2401.00002".into(), Outcome::Added)]);
        assert!(put(&store, &two).await.iter().all(|(_, outcome)| *outcome == Outcome::Unchanged));
        let one = [
            titled("ATP(+) in cells", None),
            titled("atp+, in cells", None),
            titled("ATP+ in cells", Some("2401.00003")),
        ];
        let together = put(&store, &one).await;
        assert!(together.iter().all(|(handle, _)| *handle == together[0].0), "{together:?}");
        assert_eq!(store.count().await.unwrap().papers, 3);
    });
}

#[test]
fn what_is_written_is_read() {
    on_both(|store| async move {
        let mut record = paper(7);
        record.doi = Some("10.1000/x".into());
        record.venue = Some("Venue \u{1F4DA} with\0zero".into());
        record.authors.push(Author { name: "Nul\0l".into(), affiliation: Some("Somewhere".into()) });
        let done = put(&store, std::slice::from_ref(&record)).await;
        assert_eq!(done[0], (record.arxiv.clone().unwrap(), Outcome::Added));
        let stored = store.get(&done[0].0).await.unwrap().unwrap();
        assert_eq!(stored.record, record);
        assert_eq!((stored.edition, stored.change), (None, 1));
        assert_eq!(stored.sources, [source("test")]);
        assert!(stored.added > 1_700_000_000);
        for nothing in ["nothing", "", "with\0zero", "'; DROP TABLE papers; --"] {
            assert_eq!(store.get(nothing).await.unwrap(), None);
        }
        assert_eq!(store.get_many(&["nothing", &done[0].0]).await.unwrap().len(), 1);
        assert_eq!(store.author("Nul\0l").await.unwrap().unwrap().papers, 1);
    });
}

#[test]
fn the_same_paper_is_found_by_arxiv_number_else_by_title() {
    on_both(|store| async move {
        let first = put(&store, &[titled("On Größe", None)]).await.remove(0);
        assert!(first.0.starts_with("t-"), "{}", first.0);
        // a title finds it, and the number is learned
        let numbered = put(&store, &[titled("ON GRÖSSE!", Some("2401.00001"))]).await.remove(0);
        assert_eq!(numbered, (first.0.clone(), Outcome::Merged));
        // the number finds it under another title, and that title is learned
        put(&store, &[titled("A new title", Some("2401.00001"))]).await;
        let renamed = put(&store, &[titled("A new title", None)]).await.remove(0);
        assert_eq!(renamed, (first.0.clone(), Outcome::Unchanged));
        assert_eq!(store.get("2401.00001").await.unwrap().unwrap().record.title, "On Größe");
        // another number is another paper, even with one title
        let other = put(&store, &[titled("On Größe", Some("math/0101001"))]).await.remove(0);
        assert_eq!(other, ("math_0101001".into(), Outcome::Added));
        assert_eq!(store.get("math_0101001").await.unwrap().unwrap().record.arxiv.unwrap(), "math/0101001");
        assert_eq!(store.count().await.unwrap().papers, 2);
    });
}

#[test]
fn a_batch_may_name_a_paper_twice() {
    on_both(|store| async move {
        let mut again = titled("One", Some("2401.00001"));
        again.votes = Some(3);
        let done = put(&store, &[titled("One", None), again, titled("one", None)]).await;
        let outcomes: Vec<Outcome> = done.iter().map(|(_, outcome)| *outcome).collect();
        assert_eq!(outcomes, [Outcome::Added, Outcome::Merged, Outcome::Unchanged]);
        assert!(done.iter().all(|(handle, _)| *handle == done[0].0));
        assert_eq!(store.get(&done[0].0).await.unwrap().unwrap().record.votes, Some(3));
    });
}

#[test]
fn unchanged_papers_keep_their_change_number() {
    on_both(|store| async move {
        let records: Vec<Record> = (0..5).map(paper).collect();
        put(&store, &records).await;
        let before = store.changed_since(0, 100).await.unwrap();
        assert_eq!(before.iter().map(|p| p.change).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
        let done = put(&store, &records).await;
        assert!(done.iter().all(|(_, outcome)| *outcome == Outcome::Unchanged));
        assert_eq!(store.changed_since(0, 100).await.unwrap(), before);
        let mut newer = records[2].clone();
        newer.votes = Some(10_000);
        put(&store, &[newer]).await;
        let changed = store.changed_since(5, 100).await.unwrap();
        assert_eq!(changed.len(), 1);
        assert_eq!((changed[0].change, changed[0].record.votes), (6, Some(10_000)));
        // another source is news
        let other = store.upsert(&records[..1], &source("other")).await.unwrap();
        assert_eq!(other[0].outcome, Outcome::Merged);
    });
}

#[test]
fn every_order_gives_every_paper_once_and_in_order() {
    on_both(|store| async move {
        put(&store, &(0..300).map(paper).collect::<Vec<_>>()).await;
        let papers = [
            edition("alpha", paper(3), &["confirmed", "not confirmed"]),
            edition("beta", titled("Beta", None), &["confirmed", "confirmed", "confirmed at reduced scale"]),
            edition("gamma", paper(5), &["not tested"]),
        ];
        store.set_edition(&papers).await.unwrap();
        for sort in Sort::ALL {
            let mut asked = query(sort, 7);
            asked.until = Some("2017-06-10".parse().unwrap());
            if sort.period().is_none() {
                asked.until = None;
            }
            let total = store.feed(&asked).await.unwrap().total;
            let mut seen = Vec::new();
            loop {
                let page = store.feed(&asked).await.unwrap();
                assert_eq!(page.total, total, "{sort}");
                seen.extend(page.items);
                let Some(next) = page.next else { break };
                asked.after = Some(next.to_string().parse::<Cursor>().unwrap());
            }
            assert_eq!(seen.len() as u64, total, "{sort}");
            let distinct: std::collections::BTreeSet<&str> = seen.iter().map(|p| p.handle.as_str()).collect();
            assert_eq!(distinct.len(), seen.len(), "{sort}");
            if sort.period().is_none() {
                assert_eq!(total, 301, "{sort}");
            }
            for paper in &seen {
                assert!(!ream_catalog::ranking::explain(paper, sort, 1_700_000_000).is_empty());
            }
        }
        assert_eq!(handles(&store, &query(Sort::Verified, 3)).await[..2], ["beta", "alpha"]);
        assert_eq!(handles(&store, &query(Sort::Cheapest, 3)).await[..2], ["gamma", "alpha"]);
        assert_eq!(handles(&store, &query(Sort::Surprising, 1)).await, ["alpha"]);
        let first = handles(&store, &query(Sort::RunsFirst, 3)).await;
        assert!(first.iter().all(|h| ["alpha", "beta", "gamma"].contains(&h.as_str())), "{first:?}");
    });
}

#[test]
fn newest_and_hot_and_top_follow_their_formulas() {
    on_both(|store| async move {
        let dated = |title: &str, date: &str, votes: u32| Record {
            date: date.parse().ok(),
            votes: Some(votes),
            ..titled(title, None)
        };
        // arXiv number 2402 and a day without a year: 2024-03-01
        let yearless = Record { arxiv: Some("2402.00001".into()), ..dated("Yearless", "--03-01", 0) };
        let records = [
            dated("Old and loved", "2024-02-01", 999),
            dated("New", "2024-02-14", 0),
            dated("Month", "2024-02", 5),
            dated("Undated", "--02-14", 1_000_000),
            yearless,
        ];
        put(&store, &records).await;
        let titles = |query: FeedQuery| {
            let store = store.clone();
            async move {
                let page = store.feed(&query).await.unwrap();
                assert_eq!(page.total, page.items.len() as u64);
                page.items.into_iter().map(|p| p.record.title).collect::<Vec<_>>()
            }
        };
        assert_eq!(
            titles(query(Sort::Newest, 9)).await,
            ["Yearless", "New", "Old and loved", "Month", "Undated"]
        );
        // 999 votes are 3 weeks: 02-22; 5 are 0.78 weeks after 02-01
        assert_eq!(
            titles(query(Sort::Hot, 9)).await,
            ["Yearless", "Old and loved", "New", "Month", "Undated"]
        );
        let until = |sort, date: &str| FeedQuery { until: date.parse().ok(), ..query(sort, 9) };
        assert_eq!(titles(until(Sort::TopMonth, "2024-02-20")).await, ["Old and loved", "Month", "New"]);
        assert_eq!(titles(until(Sort::TopYear, "2024")).await, ["Old and loved", "Month", "Yearless", "New"]);
        // Monday 2024-02-12 to Sunday 2024-02-18
        assert_eq!(titles(until(Sort::TopWeek, "2024-02-18")).await, ["New"]);
        assert_eq!(titles(until(Sort::TopWeek, "2024-02-19")).await, [""; 0]);
        assert_eq!(titles(until(Sort::TopDay, "2024-02-01")).await, ["Old and loved"]);
        // without `until` the period of `now`: 2023-11-14
        assert_eq!(titles(query(Sort::TopDay, 9)).await, [""; 0]);
        let between = FeedQuery { from: "2024-02".parse().ok(), ..until(Sort::Newest, "2024-02") };
        assert_eq!(titles(between).await, ["New", "Old and loved", "Month"]);
    });
}

#[test]
fn filters_narrow_a_feed() {
    on_both(|store| async move {
        put(&store, &(0..200).map(paper).collect::<Vec<_>>()).await;
        store.set_edition(&[edition("alpha", paper(3), &["confirmed"])]).await.unwrap();
        let all = store.all(None, 1_000).await.unwrap();
        let author = all[10].record.authors[0].name.clone();
        let organisation = all[20].record.organisations[0].clone();
        let count = |keep: &dyn Fn(&Record) -> bool| all.iter().filter(|p| keep(&p.record)).count() as u64;
        let by_author = FeedQuery { author: Some(author.clone()), ..query(Sort::Hot, 200) };
        let page = store.feed(&by_author).await.unwrap();
        assert_eq!(page.total, count(&|r| r.authors.iter().any(|a| a.name == author)));
        assert_eq!(page.items.len() as u64, page.total);
        let by_both = FeedQuery {
            organisation: Some(organisation.clone()),
            topic: Some("cs.LG".into()),
            from: "2015".parse().ok(),
            ..query(Sort::Newest, 200)
        };
        let page = store.feed(&by_both).await.unwrap();
        let wanted = count(&|r| {
            r.organisations.contains(&organisation)
                && r.topics.iter().any(|t| t == "cs.LG")
                && r.date.and_then(ream_catalog::Date::year).is_some_and(|y| y >= 2015)
        });
        assert_eq!((page.items.len() as u64, page.total), (wanted, wanted));
        // the count is kept, until something is written
        assert_eq!(store.feed(&by_both).await.unwrap().total, wanted);
        let mut one_more = titled("One more", None);
        one_more.organisations = vec![organisation];
        (one_more.topics, one_more.date) = (vec!["cs.LG".into()], "2020".parse().ok());
        put(&store, &[one_more]).await;
        assert_eq!(store.feed(&by_both).await.unwrap().total, wanted + 1);
        let runs = FeedQuery { runs_only: true, ..query(Sort::Newest, 10) };
        assert_eq!(handles(&store, &runs).await, ["alpha"]);
        let family = FeedQuery { family: Some("causal".into()), ..query(Sort::Hot, 10) };
        assert_eq!(handles(&store, &family).await, ["alpha"]);
        let nobody = FeedQuery { author: Some("Nobody".into()), ..query(Sort::Hot, 10) };
        assert_eq!(store.feed(&nobody).await.unwrap().total, 0);
    });
}

#[test]
fn a_wrong_query_is_one_clear_error() {
    on_both(|store| async move {
        let code = |query: FeedQuery| {
            let store = store.clone();
            async move { store.feed(&query).await.unwrap_err().code() }
        };
        assert_eq!(code(query(Sort::Hot, 0)).await, "bad_query");
        assert_eq!(code(query(Sort::Hot, 201)).await, "bad_query");
        let yearless = FeedQuery { from: "--05-01".parse().ok(), ..query(Sort::Hot, 1) };
        assert_eq!(code(yearless).await, "bad_query");
        let other = FeedQuery { after: Some("newest.1.1".parse().unwrap()), ..query(Sort::Hot, 1) };
        assert_eq!(code(other).await, "bad_cursor");
        assert_eq!(store.names(Names::Authors, Some("x"), 5).await.unwrap_err().code(), "bad_cursor");
        assert_eq!("warm".parse::<Sort>().unwrap_err().code(), "bad_query");
    });
}

#[test]
fn the_edition_joins_and_leaves() {
    on_both(|store| async move {
        let mut imported = titled("One map many trials", Some("2508.01341"));
        imported.summary = Some("Theirs".into());
        imported.votes = Some(9);
        put(&store, &[imported.clone(), titled("Other", None)]).await;
        let mut record = titled("One Map, Many Trials", Some("2508.01341"));
        record.date = "--08-02".parse().ok();
        record.votes = Some(4);
        let papers = [
            edition("one-map", record, &["confirmed", "not tested"]),
            edition("solo", titled("Solo", None), &[]),
        ];
        store.set_edition(&papers).await.unwrap();
        let joined = store.get("one-map").await.unwrap().unwrap();
        assert_eq!(store.get("2508.01341").await.unwrap().unwrap(), joined, "the old handle answers");
        assert_eq!(joined.record.title, "One Map, Many Trials");
        assert_eq!((joined.record.summary.as_deref(), joined.record.votes), (Some("Theirs"), Some(9)));
        assert_eq!(joined.edition.as_ref().unwrap(), &papers[0].facts);
        // again, and again after an import: nothing moves
        store.set_edition(&papers).await.unwrap();
        assert_eq!(store.get("one-map").await.unwrap().unwrap(), joined);
        let again = put(&store, &[imported]).await.remove(0);
        assert_eq!(again, ("one-map".into(), Outcome::Unchanged));
        let counts = store.count().await.unwrap();
        assert_eq!((counts.papers, counts.runs), (3, 1));
        assert_eq!(
            counts.claims.into_iter().collect::<Vec<_>>(),
            [("confirmed".into(), 1), ("not tested".into(), 1)]
        );
        assert_eq!(counts.families["causal"], 2);
        assert_eq!(store.named(Names::Topics, "causality").await.unwrap().unwrap().papers, 2);
        // names are exchanged, one paper leaves
        let swapped = [edition("solo", papers[0].record.clone(), &["confirmed"])];
        store.set_edition(&swapped).await.unwrap();
        assert_eq!(store.get("solo").await.unwrap().unwrap().record.title, "One Map, Many Trials");
        assert_eq!(store.get("one-map").await.unwrap().unwrap().handle, "solo");
        let counts = store.count().await.unwrap();
        assert_eq!((counts.papers, counts.families["causal"]), (3, 1));
        store.set_edition(&[]).await.unwrap();
        let counts = store.count().await.unwrap();
        assert_eq!((counts.papers, counts.runs, counts.claims.len(), counts.families.len()), (3, 0, 0, 0));
        assert_eq!(store.get("solo").await.unwrap().unwrap().edition, None);
        assert_eq!(store.named(Names::Topics, "causality").await.unwrap(), None);
        let twice = [edition("a", titled("Same", None), &[]), edition("b", titled("same", None), &[])];
        assert_eq!(store.set_edition(&twice).await.unwrap_err().code(), "bad_edition");
        assert_eq!(store.count().await.unwrap().papers, 3, "nothing of it was written");
    });
}

#[test]
fn names_come_with_their_counts() {
    on_both(|store| async move {
        let by = |title: &str, authors: &[&str]| Record {
            authors: authors.iter().map(|a| Author { name: (*a).into(), affiliation: None }).collect(),
            ..titled(title, None)
        };
        put(
            &store,
            &[by("1", &["Ada L.", "Bo"]), by("2", &["ADA L", "Cy", "Cy"]), by("3", &["Ada-L", "Bo", "李明"])],
        )
        .await;
        let page = store.names(Names::Authors, None, 2).await.unwrap();
        let list = |page: &ream_catalog::NamedPage| {
            page.items.iter().map(|n| (n.handle.clone(), n.papers)).collect::<Vec<_>>()
        };
        assert_eq!(list(&page), [("ada-l".into(), 3), ("bo".into(), 2)]);
        assert_eq!((page.items[0].name.as_str(), page.total), ("Ada-L", 4));
        let rest = store.names(Names::Authors, page.next.as_deref(), 2).await.unwrap();
        assert_eq!(list(&rest), [("cy".into(), 1), ("李明".into(), 1)]);
        assert_eq!(rest.next, None);
        assert_eq!(store.author("ada-l").await.unwrap().unwrap().papers, 3);
        assert_eq!(store.organisation("none").await.unwrap(), None);
    });
}

#[test]
fn all_comes_in_the_order_of_handles() {
    on_both(|store| async move {
        put(&store, &(0..50).map(paper).collect::<Vec<_>>()).await;
        put(&store, &[titled("Zeta", Some("B.1")), titled("Eta", Some("a.1"))]).await;
        let (mut seen, mut after) = (Vec::new(), None::<String>);
        loop {
            let page = store.all(after.as_deref(), 9).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.handle.clone());
            seen.extend(page.into_iter().map(|p| p.handle));
        }
        let mut sorted = seen.clone();
        sorted.sort();
        assert_eq!(seen, sorted, "byte order on both databases");
        assert_eq!(seen.len(), 52);
    });
}

#[test]
fn runs_are_what_was_set_last() {
    on_both(|store| async move {
        let run = |id: &str, created, seconds| RunRow {
            id: id.into(),
            slug: "alpha".into(),
            preset: "full".into(),
            state: "finished".into(),
            created,
            seconds,
            evidence: true,
        };
        let first = [run("a", 1, Some(0.1 + 0.2)), run("b", 2, None)];
        store.set_runs(&first).await.unwrap();
        assert_eq!(store.runs(None, 10).await.unwrap(), [first[1].clone(), first[0].clone()]);
        let second = [run("b", 2, Some(3.0)), run("c", 3, None)];
        store.set_runs(&second).await.unwrap();
        assert_eq!(store.runs(Some("alpha"), 1).await.unwrap(), [second[1].clone()]);
        assert_eq!(store.runs(None, 10).await.unwrap().len(), 2);
        assert!(store.runs(Some("beta"), 10).await.unwrap().is_empty());
    });
}

#[test]
fn vectors_belong_to_a_text() {
    on_both(|store| async move {
        put(&store, &[titled("One", None), titled("Two", None)]).await;
        let missing = store.missing_vectors("mini", 10).await.unwrap();
        assert_eq!(missing.iter().map(|m| m.record.title.as_str()).collect::<Vec<_>>(), ["One", "Two"]);
        let vectors: Vec<StoredVector> = missing
            .iter()
            .map(|m| StoredVector {
                handle: m.handle.clone(),
                text_hash: m.text_hash.clone(),
                scale: 0.007_812_5,
                components: (-128..=127).collect(),
            })
            .collect();
        store.put_vectors("mini", &vectors[..1]).await.unwrap();
        assert_eq!(store.missing_vectors("mini", 10).await.unwrap(), missing[1..]);
        assert_eq!(store.missing_vectors("maxi", 10).await.unwrap().len(), 2);
        store.put_vectors("mini", &vectors).await.unwrap();
        let (first, last) = store.vectors("mini", 0, 1).await.unwrap();
        assert_eq!(first, vectors[..1]);
        assert_eq!(store.vectors("mini", last, 9).await.unwrap().0, vectors[1..]);
        assert_eq!(store.count_vectors("mini").await.unwrap(), 2);
        // the abstract arrives: its vector is of another text
        put(&store, &[Record { summary: Some("New".into()), ..titled("One", None) }]).await;
        assert_eq!(store.missing_vectors("mini", 10).await.unwrap()[0].handle, vectors[0].handle);
        assert_eq!(store.count_vectors("mini").await.unwrap(), 1);
    });
}
