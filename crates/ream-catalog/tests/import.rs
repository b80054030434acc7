//! What every importer makes of a file as its source writes it, and of a partly bad one.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::convert::Infallible;
use std::io::Write as _;

use ream_catalog::Record;
use ream_catalog::import::{Format, Item, Limits, Problem, Stopped, Summary, import};
use serde_json::{Value, json};

fn read_as(file: &[u8], format: Option<Format>) -> Result<(Vec<Item>, Summary), Problem> {
    let mut items = Vec::new();
    let summary = import(file, format, &Limits::default(), &mut |item| {
        items.push(item);
        Ok::<(), Infallible>(())
    });
    match summary {
        Ok(summary) => Ok((items, summary)),
        Err(Stopped::File(problem)) => Err(problem),
        Err(Stopped::Caller(never)) => match never {},
    }
}

/// Reads a file, lets its format be found, and compares.
fn check(format: Format, file: &str, wanted: &[Result<Value, (u64, u64)>]) {
    let (items, summary) = read_as(file.as_bytes(), None).unwrap();
    assert_eq!(summary.files, [(None, format)]);
    let read: Vec<Result<Value, (u64, u64)>> = items
        .iter()
        .map(|item| match item {
            Ok(record) => Ok(serde_json::to_value(record).unwrap()),
            Err(problem) => Err((problem.record.unwrap(), problem.line)),
        })
        .collect();
    for (number, (read, wanted)) in read.iter().zip(wanted).enumerate() {
        assert_eq!(read, wanted, "record {}: {:?}", number + 1, items[number]);
    }
    assert_eq!(read.len(), wanted.len(), "{items:?}");
}

#[test]
fn arxiv_atom() {
    let file = r#"<?xml version="1.0" encoding="UTF-8"?>
<feed xmlns="http://www.w3.org/2005/Atom">
  <title type="html">ArXiv Query</title>
  <opensearch:totalResults xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/">2</opensearch:totalResults>
  <entry>
    <id>http://arxiv.org/abs/2212.07677v2</id>
    <updated>2023-05-31T00:00:00Z</updated>
    <published>2022-12-15T09:21:21Z</published>
    <title>On &lt;i&gt;x&lt;/i&gt; &amp; y
  in two lines</title>
    <summary>  First line
goes on.

  Second &#233;. <![CDATA[a < b]]></summary>
    <author><name>Ada Lovelace</name><arxiv:affiliation xmlns:arxiv="http://arxiv.org/schemas/atom">London</arxiv:affiliation></author>
    <author><name>Bob</name></author>
    <arxiv:doi xmlns:arxiv="http://arxiv.org/schemas/atom">10.1000/ABC</arxiv:doi>
    <link title="pdf" href="http://arxiv.org/pdf/2212.07677v2" rel="related" type="application/pdf"/>
    <arxiv:journal_ref xmlns:arxiv="http://arxiv.org/schemas/atom">J. of X 1 (2023)</arxiv:journal_ref>
    <category term="cs.LG" scheme="http://arxiv.org/schemas/atom"/>
  </entry>
  <entry><id>http://arxiv.org/abs/2212.07678v1</id><title>Bad &nbsp; entity</title></entry>
  <entry><id>http://arxiv.org/abs/math/0309136v1</id><title>Unclosed <b>tag</title></entry>
  <entry><id>http://arxiv.org/abs/math/0309136v1</id><title>Fine again</title></entry>
  <entry><id>urn:other</id><title>Not of arXiv</title></entry>
</feed>"#;
    let first = json!({
        "title": "On x & y in two lines", "arxiv": "2212.07677", "doi": "10.1000/abc",
        "abstract": "First line goes on.\n\nSecond é. a < b",
        "authors": [{"name": "Ada Lovelace", "affiliation": "London"}, {"name": "Bob"}],
        "date": "2022-12-15", "venue": "J. of X 1 (2023)", "topics": ["cs.LG"],
    });
    let fine = json!({"title": "Fine again", "arxiv": "math/0309136"});
    check(Format::ArxivAtom, file, &[Ok(first), Err((2, 22)), Err((3, 23)), Ok(fine), Err((5, 25))]);
}

#[test]
fn an_error_of_arxiv_is_a_problem() {
    let file = "<feed><entry><id>http://arxiv.org/api/errors#x</id><title>Error</title><summary>bad id</summary></entry></feed>";
    let (items, _) = read_as(file.as_bytes(), None).unwrap();
    assert!(items[0].as_ref().unwrap_err().what.contains("bad id"));
}

#[test]
fn oai_pmh() {
    let file = r#"<?xml version="1.0"?>
<OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/"><ListRecords>
<record><header><identifier>oai:arXiv.org:0704.0001</identifier></header><metadata>
 <arXiv xmlns="http://arxiv.org/OAI/arXiv/"><id>0704.0001</id><created>2007-04-02</created><updated>2007-07-24</updated>
 <authors><author><keyname>van Berger</keyname><forenames>C.</forenames><suffix>Jr.</suffix><affiliation>ANL</affiliation></author></authors>
 <title>A calculation</title><categories>hep-ph hep-ex</categories><comments>37 pages</comments>
 <journal-ref>Phys.Rev.D76</journal-ref><doi>10.1103/PhysRevD.76</doi><abstract>  We do.
 </abstract></arXiv></metadata></record>
<record><header status="deleted"><identifier>oai:arXiv.org:0704.0002</identifier></header></record>
<record><header><identifier>oai:arXiv.org:0704.0003</identifier></header><metadata>
 <oai_dc:dc xmlns:oai_dc="http://www.openarchives.org/OAI/2.0/oai_dc/" xmlns:dc="http://purl.org/dc/elements/1.1/">
 <dc:title>Core</dc:title><dc:creator>Pan, Hongjun</dc:creator><dc:subject>Physics</dc:subject><dc:description>It moves.</dc:description>
 <dc:description>Comment: 11 pages</dc:description><dc:date>2008-01-13</dc:date><dc:date>2007-04-01</dc:date>
 <dc:identifier>http://arxiv.org/abs/0704.0003</dc:identifier><dc:identifier>https://example.org/a</dc:identifier></oai_dc:dc></metadata></record>
<record><header><identifier>oai:x:1</identifier></header><metadata><marc/></metadata></record>
<resumptionToken>x</resumptionToken></ListRecords></OAI-PMH>"#;
    let first = json!({
        "title": "A calculation", "arxiv": "0704.0001", "doi": "10.1103/physrevd.76", "abstract": "We do.",
        "authors": [{"name": "C. van Berger Jr.", "affiliation": "ANL"}], "date": "2007-04-02", "venue": "Phys.Rev.D76",
        "topics": ["hep-ph", "hep-ex"],
    });
    let second = json!({
        "title": "Core", "arxiv": "0704.0003", "abstract": "It moves.", "authors": [{"name": "Hongjun Pan"}],
        "date": "2007-04-01", "topics": ["Physics"], "links": [{"label": "link", "url": "https://example.org/a"}],
    });
    check(Format::OaiPmh, file, &[Ok(first), Ok(second), Err((4, 15))]);
    assert_eq!(read_as(file.as_bytes(), None).unwrap().1.deleted, 1);
}

#[test]
fn daily_json() {
    let file = r#"[
{"paper": {"id": "2501.00001", "authors": [{"_id": "1", "name": "Ada Lovelace", "hidden": false}, {"name": ""}],
  "publishedAt": "2025-01-01T18:59:59.000Z", "title": "A\nTitle", "summary": "Text &amp; more.", "upvotes": 12,
  "githubRepo": "https://github.com/a/b", "projectPage": "javascript:alert(1)", "ai_keywords": ["x"]},
 "publishedAt": "2025-01-02T00:00:00.000Z", "title": "A Title", "numComments": 3,
 "organization": {"name": "acme", "fullname": "ACME Labs"}},
{"paper": 7},
{"paper": {"id": "2501.00002", "title": "Broken "quote"}},
{"paper": {"id": "2501.00003"}, "title": "Title of the listing", "publishedAt": "2025-01-03"}
]"#;
    let first = json!({
        "title": "A Title", "arxiv": "2501.00001", "abstract": "Text & more.", "authors": [{"name": "Ada Lovelace"}],
        "organisations": ["ACME Labs"], "date": "2025-01-01", "links": [{"label": "code", "url": "https://github.com/a/b"}],
        "votes": 12, "comments": 3,
    });
    let (items, summary) = read_as(file.as_bytes(), None).unwrap();
    assert_eq!(summary.files, [(None, Format::DailyJson)]);
    assert_eq!(serde_json::to_value(items[0].as_ref().unwrap()).unwrap(), first);
    assert_eq!(items[1].as_ref().unwrap_err().line, 7);
    // A stray quote takes what follows along, and says so.
    let problem = items[2].as_ref().unwrap_err();
    assert_eq!((problem.record, problem.line), (Some(3), 8));
    assert!(problem.what.contains("could not be separated from it"), "{problem}");
    // Where brackets and quotes still pair, the next record is found again.
    let file = "[\n{\"paper\": {\"id\": \"2501.00002\",\n\"title\": \"Broken \"quote\"\"}},\n{\"paper\": {\"id\": \"2501.00004\"}, \"title\": \"Whole\"}\n]";
    let (items, _) = read_as(file.as_bytes(), None).unwrap();
    let problem = items[0].as_ref().unwrap_err();
    assert!(problem.what.contains("records up to line 3 could not be separated"), "{problem}");
    assert_eq!((items.len(), items[1].as_ref().unwrap().title.as_str()), (2, "Whole"));
}

/// A line is a record, whatever is in it.
#[test]
fn a_damaged_line_of_jsonl_takes_nothing_along() {
    let file = "{\"title\":\"One\"}\n{\"title\":\"Bro\"ken}\n{\"title\":\"Three\"}\n{\"title\":[[[\n{\"title\":\"Five\"}\n";
    let (items, _) = read_as(file.as_bytes(), Some(Format::Jsonl)).unwrap();
    let shown: Vec<Result<&str, (Option<u64>, u64)>> = items
        .iter()
        .map(|item| item.as_ref().map(|r| r.title.as_str()).map_err(|problem| (problem.record, problem.line)))
        .collect();
    assert_eq!(shown, [Ok("One"), Err((Some(2), 2)), Ok("Three"), Err((Some(4), 4)), Ok("Five")]);
}

#[test]
fn bibtex() {
    let file = r#"Remarks @ the beginning, also of me@example.org {x}.
@comment{no entry: @misc{x, title={y}}}
@string{ nips = "Advances in " # {Neural Systems} }
@STRING(pub = "P")
@InProceedings{vaswani17,
  title = {Attention {I}s {A}ll}, subtitle = "You {"}Need{"}",
  author = "Vaswani, Ashish and de la Cruz, Jr., Mar{\'i}a and {Barnes and Noble} and Ludwig van Beethoven and others",
  booktitle = nips # " 30", year = 2017, month = jun # "~12", eprint = {1706.03762v5}, archivePrefix={arXiv},
  primaryClass={cs.CL}, keywords={a, b; c}, url={https://arxiv.org/abs/1706.03762}, abstract = {One.

Two\par three 50\%.}, ream_votes = {3},
}
@article{broken, title = {No end, year = 2020,
@misc(child, title={Child}, crossref={Book}, author={A B}, doi = {https://doi.org/10.1000/X\_1})
@article{scholar, title = "{\"U}ber", journal={arXiv preprint arXiv:2212.07677}, author={Kurt G{\"o}del}, year={c. 1931}}
@article{dblp, title={D}, journal={CoRR}, volume={abs/2212.07678}}
@proceedings{book, title={The Book}, year=1999, organization = {{Barnes and Noble} and ACM}}
@misc{undefined, title = foo}
@misc{commas, title = {C}, author = {A, B, C, D}}
@misc{link, title={L}, howpublished={\url{https://example.org/~a%20b}}, date={2020-05}}
"#;
    let first = json!({
        "title": "Attention Is All: You \"Need\"", "arxiv": "1706.03762", "abstract": "One.\n\nTwo\n\nthree 50%.",
        "authors": [{"name": "Ashish Vaswani"}, {"name": "María de la Cruz Jr."}, {"name": "Barnes and Noble"}, {"name": "Ludwig van Beethoven"}],
        "date": "2017-06-12", "venue": "Advances in Neural Systems 30", "topics": ["a", "b", "c", "cs.CL"], "votes": 3,
    });
    let scholar =
        json!({"title": "Über", "arxiv": "2212.07677", "authors": [{"name": "Kurt Gödel"}], "date": "1931"});
    let dblp = json!({"title": "D", "arxiv": "2212.07678"});
    let book = json!({"title": "The Book", "date": "1999", "organisations": ["Barnes and Noble", "ACM"]});
    let link = json!({"title": "L", "date": "2020-05", "links": [{"label": "link", "url": "https://example.org/~a%20b"}]});
    // The child waits for its book, and keeps its number.
    let child = json!({
        "title": "Child", "authors": [{"name": "A B"}], "doi": "10.1000/x_1", "venue": "The Book", "date": "1999",
        "organisations": ["Barnes and Noble", "ACM"],
    });
    let wanted = [
        Ok(first),
        Err((2, 13)),
        Ok(scholar),
        Ok(dblp),
        Ok(book),
        Err((7, 18)),
        Err((8, 19)),
        Ok(link),
        Ok(child),
    ];
    check(Format::BibTex, file, &wanted);
}

#[test]
fn ris() {
    let file = "TY  - CONF\r\nTI  - A <i>Title</i>\r\n  that goes on\r\nAU  - Lovelace, Ada\r\nAU  - Waals, Johannes van der, Jr.\r\nAU  - ACME\r\n\
PY  - 2020/05/01/\r\nT2  - Meeting\r\nAB  - One.\r\nAB  - Two.\r\nKW  - k1\r\nKW  - k2\r\nDO  - doi:10.1000/X\r\nAN  - arXiv:2001.00001v3\r\n\
UR  - https://arxiv.org/abs/2001.00001\r\nUR  - https://example.org/\r\nER  - \r\n\r\n\
TY  - JOUR\r\nTI  - Unfinished\r\nTY  - JOUR\r\nT1  - Third\r\nY1  - 1999\r\nER  -\r\nTI  - stray\r\nAU  - stray\r\n";
    let first = json!({
        "title": "A Title that goes on", "arxiv": "2001.00001", "doi": "10.1000/x", "abstract": "One.\n\nTwo.",
        "authors": [{"name": "Ada Lovelace"}, {"name": "Johannes van der Waals Jr."}, {"name": "ACME"}], "date": "2020-05-01",
        "venue": "Meeting", "topics": ["k1", "k2"], "links": [{"label": "link", "url": "https://example.org/"}],
    });
    check(
        Format::Ris,
        file,
        &[Ok(first), Err((2, 19)), Ok(json!({"title": "Third", "date": "1999"})), Err((4, 25))],
    );
}

#[test]
fn csl_json() {
    let file = r#"[{"id": 1, "type": "article-journal", "title": "A<sub>2</sub>",
"author": [{"family": "Waals", "given": "Johannes", "non-dropping-particle": "van der", "suffix": "Jr."}, {"literal": "ACME"}],
"issued": {"date-parts": [["2020", 5]]}, "container-title": "J", "DOI": "10.1000/X", "URL": "https://example.org/",
"number": "arXiv:2001.00001 [cs]", "keyword": "a, b", "abstract": "<jats:p>P.</jats:p>"},
{"id": "x", "type": "book"}, [], {"id": 2, "type": "book", "title": "T", "issued": {"raw": "1999-12-31"}}]"#;
    let first = json!({
        "title": "A2", "arxiv": "2001.00001", "doi": "10.1000/x", "abstract": "P.",
        "authors": [{"name": "Johannes van der Waals Jr."}, {"name": "ACME"}], "date": "2020-05", "venue": "J",
        "topics": ["a", "b"], "links": [{"label": "link", "url": "https://example.org/"}],
    });
    check(
        Format::CslJson,
        file,
        &[Ok(first), Err((2, 5)), Err((3, 5)), Ok(json!({"title": "T", "date": "1999-12-31"}))],
    );
    check(
        Format::CslJson,
        "{\"items\": [{\"type\": \"book\", \"title\": \"T\"}]}",
        &[Ok(json!({"title": "T"}))],
    );
    check(Format::CslJson, "{\n\"type\": \"book\",\n\"title\": \"T\"}", &[Ok(json!({"title": "T"}))]);
    // Lines of JSON are no CSL-JSON: what was not read is not passed over in silence.
    check(
        Format::CslJson,
        "{\"type\": \"book\", \"title\": \"T\"}\n{\"type\"",
        &[Ok(json!({"title": "T"})), Err((2, 2))],
    );
}

#[test]
fn jsonl() {
    let file = "\u{feff}{\"title\": \"A <b> \\u0000 B\", \"arxiv\": \"arXiv:2001.00001v2\", \"date\": \"--02-29\"}\n\n\
                {\"title\": \"\"}\n{\"title\": \"T\", \"colour\": 1}\nnonsense\n{\"title\": \"T\", \"links\": [{\"label\": \"x\", \"url\": \"javascript:x\"}]}\n\
                {\"title\": \"Last\"}";
    let first = json!({"title": "A <b> B", "arxiv": "2001.00001", "date": "--02-29"});
    check(
        Format::Jsonl,
        file,
        &[Ok(first), Err((2, 3)), Err((3, 4)), Err((4, 5)), Err((5, 6)), Ok(json!({"title": "Last"}))],
    );
}

#[test]
fn daily_page() {
    let file = "new\n\nGet trending papers in your email inbox!\n\nSubscribe\n\nDaily Papers\n\nbyAK and the research community\n\nMar 11\n
First Title: With a Colon

The abstract of the first paper says what it does.

  \u{2022} 7 authors
\u{b7}
Dec 15, 2022 3

Second Title

Short abstract.

acme-ai ACME Labs of All
\u{b7}
Feb 29

Third Without Closing Lines

Its abstract ends here.

Fourth Without an Abstract

  \u{2022} 1 authors
\u{b7}

Fifth Without Authors

Its abstract is here.

\u{b7}
Jan 2, 2024

A lonely line

Sixth at the End

Its abstract is last.

  \u{2022} 12 authors
\u{b7}
May 1 20";
    let wanted = [
        Ok(
            json!({"title": "First Title: With a Colon", "abstract": "The abstract of the first paper says what it does.",
            "author_count": 7, "date": "2022-12-15", "comments": 3}),
        ),
        Ok(
            json!({"title": "Second Title", "abstract": "Short abstract.", "organisations": ["ACME Labs of All"], "date": "--02-29"}),
        ),
        Ok(json!({"title": "Third Without Closing Lines", "abstract": "Its abstract ends here."})),
        Ok(json!({"title": "Fourth Without an Abstract", "author_count": 1})),
        Ok(
            json!({"title": "Fifth Without Authors", "abstract": "Its abstract is here.", "date": "2024-01-02"}),
        ),
        Err((6, 45)),
        Ok(
            json!({"title": "Sixth at the End", "abstract": "Its abstract is last.", "author_count": 12, "date": "--05-01", "comments": 20}),
        ),
    ];
    check(Format::DailyPage, file, &wanted);
}

#[test]
fn what_is_not_known_is_not_guessed() {
    for file in [
        "",
        " \n",
        "hello",
        "<html><body>",
        "<!DOCTYPE html><html>",
        "[]",
        "[1]",
        "{}",
        "{\"a\": 1}",
        "\u{0}\u{1}",
        "a,b\n1,2",
    ] {
        let problem = read_as(file.as_bytes(), None).unwrap_err();
        assert!(
            problem.to_string().contains("daily-page") && problem.to_string().contains("--format"),
            "{file:?}: {problem}"
        );
    }
    let both = "Notes\nTY  - JOUR\nTI  - x\nER  - \n@misc{a, title={b}}\n";
    let problem = read_as(both.as_bytes(), None).unwrap_err();
    assert!(problem.what.contains("more than one format (bibtex, ris)"), "{problem}");
    assert_eq!(read_as(both.as_bytes(), Some(Format::Ris)).unwrap().1.records, 1);
    assert!("bibtext".parse::<Format>().unwrap_err().wanted.contains("bibtex"));
    assert!(Format::ALL.iter().all(|format| format.name().parse() == Ok(*format)));
    let wide: Vec<u8> = "\u{feff}TY  - ".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(read_as(&wide, None).unwrap_err().what.contains("UTF-16"));
}

#[test]
fn document_types_and_depth_are_refused() {
    let laughs = "<?xml version=\"1.0\"?><!DOCTYPE lolz [<!ENTITY lol \"lol\"><!ENTITY lol2 \"&lol;&lol;\">]><feed><entry><title>&lol2;</title></entry></feed>";
    let outside = "<!DOCTYPE feed SYSTEM \"file:///etc/passwd\"><feed/>";
    for file in [laughs, outside] {
        for format in [None, Some(Format::ArxivAtom), Some(Format::OaiPmh)] {
            assert!(read_as(file.as_bytes(), format).unwrap_err().what.contains("DTD"), "{file}");
        }
    }
    let deep = format!("<feed><entry>{}", "<a>".repeat(100_000));
    assert!(read_as(deep.as_bytes(), None).unwrap_err().what.contains("nested"));
    let shallow = format!(
        "<feed><entry><id>http://arxiv.org/abs/2001.00001</id><title>T</title>{}{}</entry></feed>",
        "<a>".repeat(60),
        "</a>".repeat(60)
    );
    assert_eq!(read_as(shallow.as_bytes(), None).unwrap().1.records, 1);
}

#[test]
fn a_record_that_is_too_long_costs_only_itself() {
    let long = "x".repeat(2 << 20);
    let files = [
        format!("{{\"title\":\"{long}\"}}\n{{\"title\":\"ok\"}}\n"),
        format!("[{{\"type\":\"book\",\"title\":\"{long}\"}},{{\"type\":\"book\",\"title\":\"ok\"}}]"),
        format!("@misc{{a, title={{{long}}}}}\n@misc{{b, title={{ok}}}}"),
        format!("TY  - JOUR\nTI  - {long}\nER  - \nTY  - JOUR\nTI  - ok\nER  - \n"),
        format!(
            "<feed><entry><title>{long}</title></entry><entry><id>http://arxiv.org/abs/2001.00001</id><title>ok</title></entry></feed>"
        ),
    ];
    for file in files {
        let (items, _) = read_as(file.as_bytes(), None).unwrap();
        assert_eq!(items.len(), 2, "{items:?}");
        assert!(items[0].as_ref().unwrap_err().wanted.contains("1048576 bytes"), "{items:?}");
        assert_eq!(items[1].as_ref().unwrap().title, "ok");
    }
    let (items, _) = read_as(format!("{{\"title\":\"{}\"}}", "x".repeat(3000)).as_bytes(), None).unwrap();
    assert!(items[0].as_ref().unwrap_err().wanted.contains("2000 characters"));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in members {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

#[test]
fn compressed_files_are_opened() {
    let bib = b"@misc{a, title={A}}".as_slice();
    let lines = b"{\"title\":\"B\"}\n{}\n".as_slice();
    let (items, summary) = read_as(&gzip(bib), None).unwrap();
    assert_eq!((items[0].as_ref().unwrap().title.as_str(), summary.files.len()), ("A", 1));
    // Several members one after the other are one file.
    assert_eq!(read_as(&[gzip(bib), gzip(b"\n@misc{b, title={B}}")].concat(), None).unwrap().1.records, 2);

    let file = zip(&[("a/refs.bib", bib), ("readme", b"Read me."), ("b.jsonl", lines)]);
    let (items, summary) = read_as(&file, None).unwrap();
    assert_eq!(summary.skipped, ["readme"]);
    assert_eq!(
        summary.files,
        [(Some("a/refs.bib".into()), Format::BibTex), (Some("b.jsonl".into()), Format::Jsonl)]
    );
    let problem = items[2].as_ref().unwrap_err();
    assert_eq!((problem.member.as_deref(), problem.record, problem.line), (Some("b.jsonl"), Some(2), 2));

    for (file, what) in [
        (gzip(&gzip(bib)), "inside a compressed file"),
        (zip(&[("readme", b"Read me.")]), "none of the 1 members"),
        (gzip(&bib.repeat(1000))[..100].to_vec(), "cannot be read"),
        (zip(&[("a", bib)])[..60].to_vec(), "cannot be read"),
    ] {
        let problem = read_as(&file, None).unwrap_err();
        assert!(problem.what.contains(what), "{problem}");
    }
}

#[test]
fn the_caller_may_stop() {
    let mut seen = 0;
    let end =
        import(b"{\"title\":\"A\"}\n{\"title\":\"B\"}\n".as_slice(), None, &Limits::default(), &mut |_| {
            seen += 1;
            Err("enough")
        });
    assert!(matches!(end, Err(Stopped::Caller("enough"))));
    assert_eq!(seen, 1);
}

#[test]
fn too_many_bad_records_end_the_import() {
    let limits = Limits { problems: 3, ..Limits::default() };
    let end = import("{}\n".repeat(10).as_bytes(), Some(Format::Jsonl), &limits, &mut |_: Item| {
        Ok::<(), Infallible>(())
    });
    assert!(matches!(end, Err(Stopped::File(problem)) if problem.line == 3));
}

#[test]
fn problems_say_where_and_what_would_be_right() {
    let (items, _) = read_as(b"{\"title\":\"A\"}\n{\"title\":\"B\",\"doi\":\"x\"}\n", None).unwrap();
    let problem = items[1].as_ref().unwrap_err().to_string();
    assert_eq!(problem, "record 2, line 2: `x` is no DOI; wanted: a DOI such as 10.1000/182");
    assert_eq!(items[0].as_ref().unwrap(), &Record { title: "A".into(), ..Record::default() });
}
