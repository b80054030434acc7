//! Import after export is the identity, for every format.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::convert::Infallible;

use proptest::prelude::*;
use ream_catalog::export::{Export, Exported, Exporter, FeedHead};
use ream_catalog::import::{Item, Limits, Summary, import};
use ream_catalog::{Author, Date, Link, Record};

fn written(export: Export, records: &[Record]) -> Vec<u8> {
    let head = FeedHead { title: "A <list> & more".into(), ..FeedHead::default() };
    let mut exporter = Exporter::new(export, Vec::new(), &head).unwrap();
    for (number, record) in records.iter().enumerate() {
        exporter.write(&Exported::new(record, &format!("t-{number}"))).unwrap();
    }
    exporter.finish().unwrap()
}

fn read(file: &[u8], export: Option<Export>) -> (Vec<Item>, Summary) {
    let mut items = Vec::new();
    let summary = import(file, export.map(Export::format), &Limits::default(), &mut |item| {
        items.push(item);
        Ok::<(), Infallible>(())
    });
    (items, summary.unwrap())
}

/// Words that formats have a use for.
const WORDS: [&str; 60] = [
    "{",
    "}",
    "{{",
    "}}",
    "\\",
    "\\par",
    "\\'e",
    "\\textbackslash{}",
    "%",
    "50%",
    "&",
    "&amp;",
    "&#65;",
    "AT&T",
    "#",
    "$",
    "$x^2$",
    "$a",
    "b$",
    "$\\alpha_{i}$",
    "_",
    "a_b",
    "~",
    "^",
    "``quoted''",
    "--",
    "---",
    "'",
    "\"",
    "@",
    "@article{key,",
    "@misc(",
    "and",
    "And",
    "others",
    "Jr.",
    "III",
    "van",
    "der",
    "Ph.D.,",
    ",",
    ";",
    "; ",
    "=1+1",
    "+1",
    "-1",
    "'=1",
    "<b>",
    "</b>",
    "<script>alert(1)</script>",
    "p<0.05",
    "<!--",
    "]]>",
    "TY  - JOUR",
    "ER  -",
    "C8  - ream:{}",
    "ream:{\"votes\":1}",
    "<![CDATA[",
    "a|b",
    "é",
];

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[A-Za-z]{1,9}",
        4 => proptest::sample::select(WORDS.to_vec()).prop_map(str::to_owned),
        1 => "\\PC{1,6}",
        1 => "[ß-ỿ]{1,4}",
        1 => "[一-十\u{300}-\u{305}\u{1f600}-\u{1f610}\u{200d}]{1,3}",
        1 => "[!-~]{1,8}",
    ]
}

/// One line as every record has it: no space at the ends or twice, no control character.
fn line(words: std::ops::Range<usize>) -> impl Strategy<Value = String> {
    proptest::collection::vec(word(), words).prop_map(|words| {
        let text = ream_catalog::text::one_line(&words.join(" "));
        if text.is_empty() { "x".to_owned() } else { text }
    })
}

fn summary() -> impl Strategy<Value = String> {
    proptest::collection::vec(line(1..20), 1..4).prop_map(|paragraphs| paragraphs.join("\n\n"))
}

fn date() -> impl Strategy<Value = Date> {
    (proptest::option::of(1_u16..=9999), proptest::option::of(1_u8..=12), proptest::option::of(1_u8..=31))
        .prop_filter_map("no date", |(year, month, day)| Date::new(year, month, day))
}

fn arxiv() -> impl Strategy<Value = String> {
    prop_oneof!["1[6-9]1[0-2]\\.[0-9]{5}", "0[89]0[1-9]\\.[0-9]{4}", "(math|hep-th|cs)/9[1-9]0[1-9][0-9]{3}"]
}

fn doi() -> impl Strategy<Value = String> {
    prop_oneof![
        "10\\.[0-9]{4,6}/[a-z0-9._;()/:<>%{}$#~^\\\\-]{1,20}",
        arxiv().prop_map(|number| format!("10.48550/arxiv.{number}"))
    ]
}

fn link() -> impl Strategy<Value = Link> {
    let url = prop_oneof![
        "https?://[a-z]{1,8}\\.org/[a-zA-Z0-9_~%#?&=.,;:@!$'()*+{}|^/-]{0,20}",
        arxiv().prop_map(|number| format!("https://arxiv.org/abs/{number}")),
    ];
    (prop_oneof![Just("link".to_owned()), Just("pdf".to_owned()), line(1..4)], url)
        .prop_map(|(label, url)| Link { label, url })
}

fn author() -> impl Strategy<Value = Author> {
    let name = prop_oneof![4 => "[A-Z][a-zé]{1,8}( [A-Z]\\.)?( (van|de la))? [A-ZÖ][a-z-]{1,8}( Jr\\.)?", 2 => line(1..5)];
    (name, proptest::option::weighted(0.2, line(1..5)))
        .prop_map(|(name, affiliation)| Author { name, affiliation })
}

fn record() -> impl Strategy<Value = Record> {
    let many = prop_oneof![9 => proptest::collection::vec(author(), 0..5), 1 => proptest::collection::vec(author(), 200..400)];
    let texts = (line(1..12), proptest::option::of(summary()), proptest::option::of(line(1..6)));
    let ids = (proptest::option::of(arxiv()), proptest::option::of(doi()), proptest::option::of(date()));
    let lists = (
        many,
        proptest::collection::vec(line(1..4), 0..3),
        proptest::collection::vec(line(1..3), 0..4),
        proptest::collection::vec(link(), 0..3),
    );
    let count = || proptest::option::of(any::<u32>());
    let counts = (proptest::option::of(1_u32..), count(), count());
    (texts, ids, lists, counts).prop_map(
        |(
            (title, summary, venue),
            (arxiv, doi, date),
            (authors, organisations, topics, links),
            (author_count, votes, comments),
        )| {
            Record {
                title,
                arxiv,
                doi,
                summary,
                authors,
                author_count,
                organisations,
                date,
                venue,
                topics,
                links,
                votes,
                comments,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 200, ..ProptestConfig::default() })]

    /// 60 lists of 20 records each: 1,200 records for every format.
    #[test]
    fn import_after_export_is_the_identity(records in proptest::collection::vec(record(), 20)) {
        for export in Export::ALL {
            let file = written(export, &records);
            let (items, summary) = read(&file, None);
            prop_assert_eq!(summary.files, [(None, export.format())], "{}", export);
            for (item, record) in items.iter().zip(&records) {
                prop_assert_eq!(item.as_ref(), Ok(record), "{}", export);
            }
            prop_assert_eq!(items.len(), records.len(), "{}", export);
        }
    }
}

/// Ordinary records need nothing beyond the standard fields: what the property above finds equal is not only what we
/// added ourselves.
#[test]
fn ordinary_records_fit_standard_fields() {
    let record = Record {
        title: "Attention Is All You Need: 50% of R&D, $O(n^2)$".into(),
        arxiv: Some("1706.03762".into()),
        doi: Some("10.1000/abc_1".into()),
        summary: Some("One paragraph.\n\nAnother, with {braces} and \\commands.".into()),
        authors: ["Ashish Vaswani", "Łukasz Kaiser", "Johannes van der Waals", "Martin Luther King Jr."]
            .map(|name| Author { name: name.into(), affiliation: None })
            .into(),
        date: "2017-06-12".parse().ok(),
        venue: Some("Advances in Neural Information Processing Systems".into()),
        topics: vec!["cs.CL".into(), "attention".into()],
        ..Record::default()
    };
    for export in Export::ALL {
        let file = String::from_utf8(written(export, std::slice::from_ref(&record))).unwrap();
        match export {
            Export::Csv | Export::Jsonl => {}
            // Without a place in JSON Feed.
            Export::JsonFeed => {
                assert!(file.contains("\"_ream\":{\"doi\":\"10.1000/abc_1\",\"venue\":"), "{file}");
            }
            Export::Atom => assert!(file.contains("<ream:facts>{}</ream:facts>"), "{file}"),
            _ => assert!(!file.contains("ream"), "{export}: {file}"),
        }
    }
}

/// What someone corrects in an exported file counts on import.
#[test]
fn corrections_survive() {
    let record = Record { title: "A Tilte".into(), votes: Some(7), ..Record::default() };
    for export in Export::ALL {
        let file = String::from_utf8(written(export, std::slice::from_ref(&record)))
            .unwrap()
            .replacen("Tilte", "Title", 1);
        let (items, _) = read(file.as_bytes(), Some(export));
        assert!(!file.contains("Tilte"), "{export}: {file}");
        let record = items[0].as_ref().unwrap();
        assert_eq!((record.title.as_str(), record.votes), ("A Title", Some(7)), "{export}");
    }
}

/// Spreadsheets take a cell that begins so for a formula.
#[test]
fn no_cell_is_a_formula() {
    let nasty = ["=1+1", "+1", "-1", "@SUM(A1)", "'=1", "＝1"];
    let records: Vec<_> = nasty
        .map(|text| Record {
            title: text.into(),
            venue: Some(text.into()),
            topics: vec![text.into()],
            ..Record::default()
        })
        .into();
    let file = written(Export::Csv, &records);
    let mut rows = csv::Reader::from_reader(&file[..]);
    for row in rows.records() {
        for cell in &row.unwrap() {
            assert!(!cell.starts_with(['=', '+', '-', '@', '＝']), "{cell}");
        }
    }
}

/// Feeds are XML and JSON that other programs can read, whatever a record holds.
#[test]
fn feeds_are_well_formed() {
    let record = Record {
        title: "a \u{0} < b ]]> & \u{ffff}".into(),
        summary: Some("\u{1}".into()),
        ..Record::default()
    };
    let file = written(Export::Atom, std::slice::from_ref(&record));
    assert_eq!(read(&file, None).0[0].as_ref().unwrap().title, "a < b ]]> &");
    let json: serde_json::Value = serde_json::from_slice(&written(Export::JsonFeed, &[])).unwrap();
    assert_eq!(json["items"], serde_json::json!([]));
    let json: serde_json::Value = serde_json::from_slice(&written(Export::CslJson, &[])).unwrap();
    assert_eq!(json, serde_json::json!([]));
}
