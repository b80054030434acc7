//! SWORD modules that the tests write themselves, whole and damaged.

use std::fs;
use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use proptest::prelude::*;
use ream_data::sword::{Bible, Place};

/// A testament as blocks of entries; entry (block, text).
#[derive(Default)]
struct Testament {
    sizes: Vec<u8>,
    places: Vec<u8>,
    packed: Vec<u8>,
}

#[allow(clippy::unwrap_used, reason = "only called by tests")]
impl Testament {
    fn new(blocks: &[&[&str]]) -> Self {
        let mut made = Self::default();
        for (number, entries) in blocks.iter().enumerate() {
            let mut block = Vec::new();
            for text in *entries {
                made.place(
                    u32::try_from(number).unwrap(),
                    u32::try_from(block.len()).unwrap(),
                    u16::try_from(text.len()).unwrap(),
                );
                block.extend(text.bytes());
            }
            made.block(&block);
        }
        made
    }

    fn place(&mut self, block: u32, start: u32, length: u16) {
        self.places.extend(block.to_le_bytes());
        self.places.extend(start.to_le_bytes());
        self.places.extend(length.to_le_bytes());
    }

    fn block(&mut self, block: &[u8]) {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(block).unwrap();
        let packed = encoder.finish().unwrap();
        for number in [self.packed.len(), packed.len(), block.len()] {
            self.sizes.extend(u32::try_from(number).unwrap().to_le_bytes());
        }
        self.packed.extend(packed);
    }

    fn write(&self, folder: &Path, name: &str) {
        for (end, bytes) in [("bzs", &self.sizes), ("bzv", &self.places), ("bzz", &self.packed)] {
            fs::write(folder.join(format!("{name}.{end}")), bytes).unwrap();
        }
    }
}

fn book(id: &str, name: &str) -> String {
    format!(
        "<div osisID=\"{id}\" sID=\"g\" type=\"book\"/> <milestone n=\"{name}\" type=\"x-usfm-h\"/> <title>Title of {name}</title>"
    )
}

fn chapter(id: &str, number: usize) -> String {
    format!("<chapter n=\"{number}\" osisID=\"{id}.{number}\" sID=\"{id}.{number}\"/> ")
}

fn end(id: &str) -> String {
    format!("<div eID=\"g\" osisID=\"{id}\" type=\"book\"/>")
}

/// Two books in the old testament (one of two chapters, with a missing verse), one in the new.
fn small() -> (Testament, Testament) {
    let tobit = [
        "",
        "<milestone type=\"x-importer\"/>",
        &book("Tob", "Tobit"),
        "An introduction.",
        &chapter("Tob", 1),
        "<w>One</w>, one.",
        "",
        "One, <note>so the Greek</note>three.",
        &chapter("Tob", 2),
        "Two, one.",
        &format!("Two, two. {} Glossary", end("Tob")),
        "after the end",
    ];
    let obadiah = [
        book("Obad", "Abd\u{ed}as"),
        chapter("Obad", 1),
        "Ob, one.".to_owned(),
        format!("Ob, two. {}", end("Obad")),
    ];
    let jude =
        ["", "", &book("Jude", "Jude"), &chapter("Jude", 1), "J, one.", &format!("Amen.{}", end("Jude"))];
    (Testament::new(&[&tobit, &obadiah.each_ref().map(String::as_str)]), Testament::new(&[&jude]))
}

#[allow(clippy::unwrap_used, reason = "only called by tests")]
fn open(old: &Testament, new: &Testament) -> Result<Bible, String> {
    let dir = tempfile::tempdir().unwrap();
    old.write(dir.path(), "ot");
    new.write(dir.path(), "nt");
    Bible::open(dir.path()).map_err(|error| error.to_string())
}

#[test]
fn books_chapters_and_verses_are_found() {
    let (old, new) = small();
    let bible = open(&old, &new).unwrap();
    let names: Vec<(&str, &str)> = bible.books.iter().map(|b| (b.id.as_str(), b.name.as_str())).collect();
    assert_eq!(names, [("Tob", "Tobit"), ("Obad", "Abd\u{ed}as"), ("Jude", "Jude")]);
    assert_eq!(
        bible.books[0].chapters,
        [vec!["One, one.", "", "One, three."], vec!["Two, one.", "Two, two."]]
    );
    assert_eq!(bible.book("Jude").unwrap().chapters, [["J, one.", "Amen."]]);
    let verses: Vec<(Place<'_>, &str)> = bible.verses().collect();
    assert_eq!(verses.len(), 8);
    assert_eq!(verses[1], (Place { book: "Tob", chapter: 1, verse: 3 }, "One, three."));
    assert_eq!(
        bible.chapters().map(|(b, n, v)| (b.id.as_str(), n, v.len())).collect::<Vec<_>>(),
        [("Tob", 1, 3), ("Tob", 2, 2), ("Obad", 1, 2), ("Jude", 1, 2)]
    );
    let canonical: Vec<String> = bible.canonical().books.into_iter().map(|b| b.id).collect();
    assert_eq!(canonical, ["Obad", "Jude"]);
}

#[test]
fn pairs_stand_at_the_same_place() {
    let (old, new) = small();
    let bible = open(&old, &new).unwrap();
    let mut other = bible.clone();
    other.books[1].chapters[0][0] = String::new();
    other.books[2].chapters[0][1] = "Am\u{e9}n.".to_owned();
    let pairs = bible.pairs(&other).unwrap();
    assert_eq!(pairs.len(), 7);
    let last = pairs.last().unwrap();
    assert_eq!(
        (last.place.book, last.place.verse, last.left, last.right),
        ("Jude", 2, "Amen.", "Am\u{e9}n.")
    );
    other.books[2].chapters[0].push("more".to_owned());
    for (a, b) in [
        (&bible, &other),
        (&other, &bible),
        (&bible, &other.clone().canonical()),
        (&bible, &Bible { books: bible.books[..2].to_vec() }),
    ] {
        assert!(a.pairs(b).unwrap_err().to_string().contains("one versification"));
    }
}

#[test]
fn a_verse_of_several_numbers_is_kept_once() {
    let mut old = Testament::default();
    let heading = [book("Obad", "Obadiah"), chapter("Obad", 1), "One and two.".to_owned()];
    old.block(heading.concat().as_bytes());
    let mut start = 0;
    for text in &heading {
        old.place(0, u32::try_from(start).unwrap(), u16::try_from(text.len()).unwrap());
        start += text.len();
    }
    let last = old.places[old.places.len() - 10..].to_vec();
    old.places.extend(last);
    let bible = open(&old, &small().1).unwrap();
    assert_eq!(bible.books[0].chapters, [["One and two.", ""]]);
}

#[test]
fn a_book_without_a_heading_of_its_own_begins_with_its_chapter() {
    let greek = format!("{}{}Text without numbers", book("DanGr", "Daniel (Greek)"), chapter("DanGr", 1));
    let old = Testament::new(&[&[&greek, &chapter("Obad", 1), "Ob, one."]]);
    let bible = open(&old, &small().1).unwrap();
    assert_eq!((bible.books[0].id.as_str(), bible.books[0].name.as_str()), ("Obad", "Obadiah"));
    assert_eq!(bible.books.len(), 2);
}

#[test]
fn damage_has_a_name_and_a_place() {
    let good = small;
    let refused = |change: &dyn Fn(&mut Testament), wanted: &str| {
        let (mut old, new) = good();
        change(&mut old);
        let error = open(&old, &new).unwrap_err();
        assert!(error.contains(wanted), "{error}");
    };
    refused(
        &|t| t.places.truncate(t.places.len() - 3),
        "ot.bzv: has 157 bytes, wanted entries of 10 bytes: it is truncated",
    );
    refused(&|t| t.sizes.truncate(20), "ot.bzs: has 20 bytes, wanted entries of 12 bytes");
    refused(&|t| t.sizes.truncate(12), "ot.bzv, entry 12: is in block 1, but there are 1 blocks");
    refused(&|t| t.packed.truncate(t.packed.len() - 1), "ot.bzs, entry 1: its block ends");
    refused(&|t| t.packed[2] ^= 0xff, "ot.bzz, entry 0: the block");
    refused(&|t| t.sizes[8] += 1, "ot.bzz, entry 0: the block unpacks into");
    refused(&|t| t.sizes[8] -= 1, "ot.bzz, entry 0: the block unpacks into more bytes, wanted");
    refused(&|t| t.sizes[11] = 0x7f, "which no Bible does");
    refused(&|t| t.places[17] = 1, "ot.bzv, entry 1: ends 30 bytes after");
    refused(&|t| t.places.clear(), "ot.bzv: no chapter begins in it");
    refused(&|t| *t = Testament::new(&[&[&chapter("Obad", 2)]]), "Obad 2 begins in it, wanted Obad 1");
    refused(
        &|t| *t = Testament::new(&[&[&format!("{}{}", chapter("Obad", 1), chapter("Obad", 2))]]),
        "more than one chapter of Obad",
    );
    refused(
        &|t| *t = Testament::new(&[&[&book("Tob", "x"), &book("Tob", "x")]]),
        "the book Tob begins for the second time",
    );
    refused(&|t| *t = Testament::new(&[&[&chapter("Gen", 1), "x"]]), "Gen has 1 chapters, wanted 50");
    let dir = tempfile::tempdir().unwrap();
    assert!(Bible::open(dir.path()).unwrap_err().to_string().contains("ot.bzs"));
    let mut old = Testament::default();
    old.block(b"\xff\xfe");
    old.place(0, 0, 2);
    assert!(open(&old, &good().1).unwrap_err().contains("entry 0: its text is not UTF-8"));
}

/// Entries that alternate between two large blocks would unpack them again each time.
#[test]
fn blocks_are_not_unpacked_without_end() {
    let mut old = Testament::default();
    for _ in 0..2 {
        old.block(&vec![b'x'; 8 << 20]);
    }
    for i in 0..1000 {
        old.place(i % 2, i, 2);
    }
    assert!(open(&old, &small().1).unwrap_err().contains("which no Bible does"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn damaged_files_never_panic(file in 0..3_usize, cut in 0..400_usize, changes in prop::collection::vec((0..400_usize, any::<u8>()), 0..4)) {
        let (mut old, new) = small();
        let bytes = [&mut old.sizes, &mut old.places, &mut old.packed].into_iter().nth(file).unwrap();
        for (at, byte) in changes {
            if let Some(old) = bytes.get_mut(at) {
                *old = byte;
            }
        }
        bytes.truncate(cut);
        if let Ok(bible) = open(&old, &new) {
            prop_assert!(bible.verses().all(|(_, text)| text.len() < 1000));
        }
    }
}
