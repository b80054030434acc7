//! The user's own tables: what is read, and errors with file, row, column.

use std::io::Write;
use std::path::PathBuf;

use proptest::prelude::*;
use ream_data::Table;

struct Folder(tempfile::TempDir);

#[allow(clippy::unwrap_used, reason = "only called by tests")]
impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }
}

#[test]
fn csv_tsv_and_jsonl_are_read() {
    let folder = Folder::new();
    for (name, text) in [
        ("a.csv", "\u{feff}x,name,y\n1,ann,2.5\n-3e2,\"b,ob\",\n"),
        ("a.tsv", "x\tname\ty\n1\tann\t2.5\n-3e2\tb,ob\tNA\n"),
        ("a.jsonl", "{\"x\": 1, \"name\": \"ann\", \"y\": 2.5}\n\n{\"name\": \"b,ob\", \"x\": -300.0}\n"),
    ] {
        let table = Table::open(&folder.file(name, text)).unwrap();
        assert_eq!(table.rows(), 2, "{name}");
        assert_eq!(table.numbers("x").unwrap(), [1.0, -300.0], "{name}");
        assert_eq!(table.numbers_or_missing("y").unwrap(), [Some(2.5), None], "{name}");
        assert_eq!(table.texts("name").unwrap(), [Some("ann".into()), Some("b,ob".to_owned())], "{name}");
        assert!(table.is_numeric("x").unwrap() && !table.is_numeric("name").unwrap());
    }
}

#[test]
fn gzip_is_unpacked() {
    let folder = Folder::new();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    packed.write_all(b"x\n1\n2\n").unwrap();
    let table = Table::open(&folder.file("a.csv.gz", packed.finish().unwrap())).unwrap();
    assert_eq!(table.numbers("x").unwrap(), [1.0, 2.0]);
    assert!(Table::open(&folder.file("b.csv.gz", "x\n1\n")).is_err(), "not gzip at all");
}

#[test]
fn errors_say_where_and_what() {
    let folder = Folder::new();
    let open = |name: &str, bytes: &[u8]| Table::open(&folder.file(name, bytes)).unwrap_err().to_string();
    for (name, bytes, wanted) in [
        ("empty.csv", &b""[..], "the file is empty"),
        ("header.csv", b"a,b\n", "no rows below the header"),
        ("ragged.csv", b"a,b\n1,2\n3\n", "ragged.csv:3: 1 cells where the header has 2 columns"),
        ("twice.csv", b"a,a\n1,2\n", "two columns are called `a`"),
        ("latin.csv", b"a\ncaf\xe9\n", "latin.csv:2: not UTF-8 (byte 4 of a cell)"),
        ("semicolon.csv", b"a;b\n1;2\n", "separated by `;`"),
        ("a.xlsx", b"x", "a table is a .csv"),
        ("empty.jsonl", b"", "the file is empty"),
        ("list.jsonl", b"[1]\n", "list.jsonl:1: each line is one JSON object"),
        ("broken.jsonl", b"{\"a\": 1}\n{\"a\": \n", "broken.jsonl:2: not JSON"),
        ("nested.jsonl", b"{\"a\": [1]}\n", "`a` is a list or an object"),
    ] {
        let error = open(name, bytes);
        assert!(error.contains(wanted), "{name}: {error}");
    }
    assert!(Table::open("no/such/file.csv".as_ref()).unwrap_err().to_string().contains("cannot read"));
}

#[test]
fn cells_are_named_by_row_and_column() {
    let folder = Folder::new();
    let table = Table::open(&folder.file("t.csv", "price,age\n1,2\nx,\nNaN,inf\n")).unwrap();
    let error = |column: &str| table.numbers(column).unwrap_err().to_string();
    assert!(error("price").contains("row 2, column `price`: `x` is no finite number"), "{}", error("price"));
    assert!(error("age").contains("row 2, column `age`: the value is missing"), "{}", error("age"));
    assert!(table.numbers_or_missing("age").unwrap_err().to_string().contains("row 3, column `age`: `inf`"));
    assert!(
        error("prise").contains("no column `prise`; did you mean `price`?; the columns are price, age"),
        "{}",
        error("prise")
    );
}

#[cfg(not(feature = "parquet"))]
#[test]
fn parquet_says_what_it_needs() {
    let folder = Folder::new();
    let error = Table::open(&folder.file("t.parquet", "PAR1")).unwrap_err().to_string();
    assert!(error.contains("--features parquet"), "{error}");
}

#[cfg(feature = "parquet")]
#[test]
fn parquet_is_read() {
    use parquet::data_type::{ByteArray, ByteArrayType, DoubleType};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    let folder = Folder::new();
    let path = folder.0.path().join("t.parquet");
    let schema = parse_message_type("message t { OPTIONAL DOUBLE x; REQUIRED BINARY name (UTF8); }").unwrap();
    let file = std::fs::File::create(&path).unwrap();
    let mut writer =
        SerializedFileWriter::new(file, schema.into(), WriterProperties::builder().build().into()).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<DoubleType>().write_batch(&[1.5, -2.0], Some(&[1, 0, 1]), None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let names: Vec<ByteArray> = ["a", "b", "ü"].map(ByteArray::from).to_vec();
    column.typed::<ByteArrayType>().write_batch(&names, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    let table = Table::open(&path).unwrap();
    assert_eq!(table.numbers_or_missing("x").unwrap(), [Some(1.5), None, Some(-2.0)]);
    assert_eq!(table.texts("name").unwrap()[2].as_deref(), Some("ü"));
    let broken = folder.file("b.parquet", "PAR1 this is not one PAR1");
    assert!(Table::open(&broken).unwrap_err().to_string().contains("cannot be read as Parquet"));
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), end in prop::sample::select(vec!["csv", "tsv", "jsonl", "csv.gz", "dta", "parquet"])) {
        let folder = Folder::new();
        let _ = Table::open(&folder.file(&format!("t.{end}"), bytes));
    }

    #[test]
    fn what_is_written_is_read(rows in prop::collection::vec((any::<f64>().prop_filter("finite", |v| v.is_finite()), "[a-z ,\"\n]{1,12}"), 1..20)) {
        let folder = Folder::new();
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(["x", "name"]).unwrap();
        for (x, name) in &rows {
            writer.write_record([x.to_string(), name.clone()]).unwrap();
        }
        let table = Table::open(&folder.file("t.csv", writer.into_inner().unwrap())).unwrap();
        prop_assert_eq!(table.numbers("x").unwrap(), rows.iter().map(|r| r.0).collect::<Vec<_>>());
        for (read, (_, name)) in table.texts("name").unwrap().into_iter().zip(&rows) {
            // A cell of blanks only says that there is no value.
            prop_assert_eq!(read.unwrap_or_else(|| name.clone()), name.clone());
        }
    }
}

/// Files that pandas wrote: `tests/stata/make.py`.
fn stata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/stata").join(name)
}

#[test]
fn stata_files_are_read() {
    for release in ["114", "117", "118"] {
        let table = Table::open(&stata(&format!("{release}.dta"))).unwrap();
        assert_eq!(
            table.names(),
            ["i8", "i16", "i32", "f32", "f64", "name", "arm", "day", "arm.label"],
            "{release}"
        );
        let numbers = |name: &str| table.numbers_or_missing(name).unwrap();
        assert_eq!(numbers("i8"), [Some(1.0), Some(-2.0), Some(3.0)], "{release}");
        assert_eq!(numbers("i16"), [Some(1000.0), Some(-2000.0), Some(3000.0)], "{release}");
        assert_eq!(numbers("i32"), [Some(1e5), Some(-2e5), Some(3e5)], "{release}");
        assert_eq!(numbers("f32"), [Some(f64::from(0.1f32)), None, Some(-2.5)], "{release}");
        assert_eq!(numbers("f64"), [Some(0.1), Some(1e-300), None], "{release}");
        assert_eq!(table.texts("name").unwrap(), [Some("ann".to_owned()), Some("b,ob".to_owned()), None]);
        assert_eq!(numbers("arm"), [Some(0.0), Some(1.0), Some(0.0)], "{release}");
        let label = |text: &str| Some(text.to_owned());
        assert_eq!(
            table.texts("arm.label").unwrap(),
            ["control", "treated", "control"].map(label),
            "{release}"
        );
        assert_eq!(numbers("day"), [Some(1.0), Some(14610.0), Some(-1.0)], "days since 1960");
    }
}

#[test]
fn broken_stata_files_are_errors() {
    let folder = Folder::new();
    for release in ["114", "117", "118"] {
        let whole = std::fs::read(stata(&format!("{release}.dta"))).unwrap();
        for length in (0..whole.len() - 40).step_by(7) {
            // Labels stand last: without them there may be a table, but never one without its rows.
            if let Ok(table) = Table::open(&folder.file("cut.dta", &whole[..length])) {
                assert_eq!(table.rows(), 3, "{release}: cut to {length} bytes");
            }
        }
        for place in 0..whole.len() {
            let mut changed = whole.clone();
            changed[place] ^= 0x55;
            // Any table or any error, but no panic.
            drop(Table::open(&folder.file("changed.dta", changed)));
        }
    }
    let error = Table::open(&folder.file("text.dta", "x,y\n1,2\n")).unwrap_err().to_string();
    assert!(error.contains("text.dta") && error.contains("cannot be read as Stata"), "{error}");
}
