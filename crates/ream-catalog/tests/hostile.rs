//! Files made to hurt: importers end, do not panic, and keep within their memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, missing_docs)]

use std::convert::Infallible;
use std::io::{BufReader, Read as _, Write as _};
use std::time::{Duration, Instant};

use ream_catalog::export::{Export, Exported, Exporter, FeedHead};
use ream_catalog::import::{Format, Limits, Problem, Stopped, Summary, import};
use ream_catalog::{Author, Link, Record};
use ream_rand::Stream;

fn read(file: impl std::io::BufRead, format: Option<Format>) -> Result<Summary, Problem> {
    match import(file, format, &Limits::default(), &mut |_| Ok::<(), Infallible>(())) {
        Ok(summary) => Ok(summary),
        Err(Stopped::File(problem)) => Err(problem),
        Err(Stopped::Caller(never)) => match never {},
    }
}

/// The most memory this process has had since the last call of `restart`, in MiB. Linux only.
#[cfg(target_os = "linux")]
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[cfg(target_os = "linux")]
fn restart() -> u64 {
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    peak()
}

/// Runs `work` and says how many MiB it took beyond what was there.
#[cfg(target_os = "linux")]
fn memory<T>(work: impl FnOnce() -> T) -> (T, u64) {
    let before = restart();
    let done = work();
    (done, peak().saturating_sub(before))
}

#[cfg(not(target_os = "linux"))]
fn memory<T>(work: impl FnOnce() -> T) -> (T, u64) {
    (work(), 0)
}

fn gzip(input: impl std::io::Read) -> Vec<u8> {
    let mut packed = Vec::new();
    let mut encoder = flate2::read::GzEncoder::new(input, flate2::Compression::fast());
    encoder.read_to_end(&mut packed).unwrap();
    packed
}

/// A first record, then spaces without end.
fn spaces(first: &[u8], bytes: u64) -> impl std::io::Read {
    first.chain(std::io::repeat(b' ').take(bytes))
}

fn sample(number: usize) -> Record {
    Record {
        title: format!("A Study of {number} {{Things}}: 50% & more, $x_{number}$"),
        arxiv: Some(format!("2401.{:05}", number % 100_000)),
        doi: number.is_multiple_of(3).then(|| format!("10.1000/x_{number}")),
        summary: Some(format!(
            "We study things. {}",
            "Naïve text with $a<b$ & \\macros, again and again. ".repeat(20)
        )),
        authors: (0..1 + number % 7)
            .map(|a| Author {
                name: format!("Given{a} van Family{number}"),
                affiliation: (a == 5).then(|| "ACME".into()),
            })
            .collect(),
        author_count: number.is_multiple_of(5).then_some(12),
        organisations: vec!["ACME & Sons".into()],
        date: ["2024", "2024-05", "2024-05-01", "--05-01"][number % 4].parse().ok(),
        venue: number.is_multiple_of(2).then(|| "Proceedings of X".into()),
        topics: vec!["cs.LG".into(), "a, b".into()],
        links: vec![Link { label: "code".into(), url: format!("https://example.org/{number}?a=b&c=%20~") }],
        votes: Some(3),
        comments: (number % 2 == 1).then_some(4),
    }
}

fn written(export: Export, records: impl Iterator<Item = Record>) -> Vec<u8> {
    let mut exporter = Exporter::new(export, Vec::new(), &FeedHead::default()).unwrap();
    for (number, record) in records.enumerate() {
        exporter.write(&Exported::new(&record, &number.to_string())).unwrap();
    }
    exporter.finish().unwrap()
}

/// One test, since the memory of all tests of a process is one.
#[test]
fn memory_stays_within_its_bounds() {
    let first = b"{\"title\":\"A\"}\n";
    let bomb = gzip(spaces(first, 400 << 20));
    assert!(bomb.len() < 4 << 20);
    for format in [None, Some(Format::Jsonl), Some(Format::BibTex), Some(Format::Ris), Some(Format::CslJson)]
    {
        let (end, mib) = memory(|| read(&bomb[..], format));
        assert!(end.unwrap_err().what.contains("of the compressed file give"), "{format:?}");
        assert!(mib < 64, "{mib} MiB");
    }

    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default().compression_level(Some(1));
    for name in ["a.jsonl", "b.jsonl"] {
        writer.start_file(name, options).unwrap();
        std::io::copy(&mut spaces(first, 100 << 20), &mut writer).unwrap();
    }
    let bomb = writer.finish().unwrap().into_inner();
    let (end, mib) = memory(|| read(&bomb[..], None));
    assert!(end.unwrap_err().what.contains("of the compressed file give"));
    assert!(mib < 64, "{mib} MiB");

    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for number in 0..2000 {
        writer.start_file(format!("{number}"), options).unwrap();
    }
    writer.write_all(b"x").unwrap();
    let many = writer.finish().unwrap().into_inner();
    assert!(read(&many[..], None).unwrap_err().what.contains("2000 members"));

    // A title, a line, a comment without end: read to the end of the file and dropped.
    for (start, format) in [
        ("<feed><entry><title>", Format::ArxivAtom),
        ("<feed><!--", Format::OaiPmh),
        ("{\"title\":\"", Format::Jsonl),
        ("[{\"paper\":\"", Format::DailyJson),
        ("@misc{a, title={", Format::BibTex),
        ("TY  - JOUR\nTI  - ", Format::Ris),
        ("\u{2022} 1 authors\n\u{b7}\n", Format::DailyPage),
        ("\"", Format::Csv),
    ] {
        let file = BufReader::new(start.as_bytes().chain(std::io::repeat(b'a').take(8 << 20)));
        let (end, mib) = memory(|| read(file, Some(format)));
        assert!(end.is_ok_and(|summary| summary.records == 0), "{format}");
        assert!(mib < 32, "{format}: {mib} MiB");
    }

    // Many records take no more than few.
    for export in Export::ALL {
        let file = written(export, (0..1000).map(sample));
        let (end, mib) = memory(|| read(&file[..], None));
        assert_eq!(end.unwrap().records, 1000, "{export}");
        assert!(mib < 16, "{export}: {mib} MiB");
    }
}

/// Whole bytes, runs and pieces of other files, changed at random: nothing panics, everything ends soon, what is wrong with a record names
/// it. `REAM_FUZZ_SECONDS` runs on for so long and holds every file's memory against a bound as well; then run this test alone:
/// `REAM_FUZZ_SECONDS=600 cargo test --release -p ream-catalog --test hostile mutated -- --nocapture`.
#[test]
fn mutated_files_do_no_harm() {
    let files: Vec<Vec<u8>> =
        Export::ALL.map(|export| written(export, (0..4).map(sample))).into_iter().chain(extra()).collect();
    let stream = Stream::new(1, "mutations");
    let longer = std::env::var("REAM_FUZZ_SECONDS").ok().map(|seconds| seconds.parse().unwrap());
    let (start, mut slowest, mut most, mut done) = (Instant::now(), Duration::ZERO, 0, 0);
    for round in 0..u64::MAX {
        let mut rng = stream.at(round);
        let mut file = files[rng.below(files.len())].clone();
        for _ in 0..1 + rng.below(8) {
            mutate(&mut file, &files, &mut rng);
        }
        let format = if rng.chance(0.7) { None } else { Some(Format::ALL[rng.below(Format::ALL.len())]) };
        let begun = Instant::now();
        if longer.is_some() {
            let ((), mib) = memory(|| read_mutated(&file, format));
            assert!(mib < 64, "round {round}: {mib} MiB for {} bytes", file.len());
            most = most.max(mib);
        } else {
            read_mutated(&file, format);
        }
        slowest = slowest.max(begun.elapsed());
        assert!(slowest < Duration::from_secs(30), "round {round}: {slowest:?} for {} bytes", file.len());
        done = round + 1;
        // Without the variable: so many, within the time that the machine has; the rest would be more of the same.
        let enough = match longer {
            Some(seconds) => start.elapsed() > Duration::from_secs(seconds),
            None => done == 1500 || start.elapsed() > Duration::from_secs(8),
        };
        if enough {
            break;
        }
    }
    println!("{done} files in {:.0?}, the slowest {slowest:.1?}, at most {most} MiB", start.elapsed());
}

fn read_mutated(file: &[u8], format: Option<Format>) {
    let limits = Limits { record: 1 << 16, ..Limits::default() };
    let mut items = 0_usize;
    let _ = import(file, format, &limits, &mut |item| {
        items += 1;
        match item {
            Ok(record) => {
                assert!(!record.title.is_empty());
                assert!(!record.title.contains(|c: char| c.is_control()));
            }
            Err(problem) => {
                assert!(
                    problem.record.is_some() && !problem.what.is_empty() && !problem.wanted.is_empty(),
                    "{problem}"
                );
            }
        }
        Ok::<(), Infallible>(())
    });
    assert!(items <= file.len(), "more records than bytes");
}

fn extra() -> Vec<Vec<u8>> {
    let page = "Daily Papers\n\nbyAK and the research community\n\nMar 11\n\nTitle\n\nAbstract.\n\n  \u{2022} 7 authors\n\u{b7}\nDec 15, 2022 3\n";
    let daily = r#"[{"paper": {"id": "2501.00001", "authors": [{"name": "A"}], "title": "T", "summary": "S"}, "numComments": 3}]"#;
    let oai = "<OAI-PMH><record><header status='x'><identifier>oai:arXiv.org:0704.0001</identifier></header><metadata><arXiv><title>T</title></arXiv></metadata></record></OAI-PMH>";
    let bib = "@string{a = {b}}\n@misc{k, title = a # \"{\\'e}\" # 1, crossref = {k}, author = {A, B and C D}}\n@comment{x}\n@misc(k, title = \"x\")";
    let plain = [page, daily, oai, bib].map(|text| text.as_bytes().to_vec());
    let packed = gzip(bib.as_bytes());
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    writer.start_file("a.bib", zip::write::SimpleFileOptions::default()).unwrap();
    writer.write_all(bib.as_bytes()).unwrap();
    plain.into_iter().chain([packed, writer.finish().unwrap().into_inner()]).collect()
}

fn mutate(file: &mut Vec<u8>, files: &[Vec<u8>], rng: &mut ream_rand::Rng) {
    const SIGNS: [&str; 24] = [
        "{",
        "}",
        "\"",
        "\\",
        "@",
        "@misc{",
        "<",
        ">",
        "</entry>",
        "<![CDATA[",
        "]]>",
        "<!--",
        "&#x110000;",
        "&amp;",
        "[",
        "]",
        ",",
        "\n",
        "\r\n",
        "\nER  - ",
        "\u{0}",
        "\u{feff}",
        "$",
        "\\'",
    ];
    let at = rng.below(file.len() + 1);
    let length = rng.below(40).min(file.len() - at);
    match rng.below(6) {
        0 => {
            let byte = u8::try_from(rng.below(256)).unwrap();
            file.splice(at..at + length.min(1), [byte]);
        }
        1 => drop(file.drain(at..at + length)),
        2 => {
            let sign = SIGNS[rng.below(SIGNS.len())].repeat(1 + rng.below(3) * rng.below(40));
            file.splice(at..at, sign.into_bytes());
        }
        3 => {
            let piece = file[at..at + length].repeat(1 + rng.below(20));
            file.splice(at..at, piece);
        }
        4 => {
            let other = &files[rng.below(files.len())];
            let from = rng.below(other.len());
            let piece = other[from..(from + rng.below(400)).min(other.len())].to_vec();
            file.splice(at..at, piece);
        }
        _ => file.truncate(at),
    }
}

/// Inputs that nest or repeat one sign without end: no stack may overflow (accents of TeX once did) and no cost may grow
/// much faster than the length.
#[test]
fn endless_repetition_does_no_harm() {
    for (file, format) in [
        ("@misc{a, title={".to_owned() + &"{".repeat(200_000), Format::BibTex),
        ("@misc{a, title={".to_owned() + &"\\'".repeat(200_000) + "}}", Format::BibTex),
        ("@misc{a, author={".to_owned() + &"a and ".repeat(100_000) + "}}", Format::BibTex),
        (
            "@misc{a, title={".to_owned() + &"$\\foo{".repeat(50_000) + &"}".repeat(50_000) + "}}",
            Format::BibTex,
        ),
        ("{\"title\":".to_owned() + &"[".repeat(500_000), Format::Jsonl),
        ("[".repeat(500_000), Format::CslJson),
        ("<feed><entry><title>".to_owned() + &"&lt;script&gt;&lt;b&gt;".repeat(20_000), Format::ArxivAtom),
        ("<feed><entry ".to_owned() + &"a='1' ".repeat(50_000) + "/>", Format::ArxivAtom),
        ("TY  - X\n".repeat(2000), Format::Ris),
        ("\u{2022}\n\n".repeat(2000), Format::DailyPage),
    ] {
        let start = Instant::now();
        let _ = read(file.as_bytes(), Some(format));
        assert!(start.elapsed() < Duration::from_secs(20), "{format}: {:?}", start.elapsed());
    }
}
