//! Stata's `.dta`, releases 102 to 119, through the crate `dta`.
//!
//! Numbers are kept as they are stored: a labelled variable is its codes, a date its days (or milliseconds) since 1960, a `float` the double
//! that equals it. Stata's missing values (`.`, `.a` to `.z`) are cells without a value.
//!
//! A file whose notes claim a length that they have not makes the crate take that much room for a moment, at most 4 GiB, before it is refused.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;
use std::rc::Rc;

use dta::stata::dta::byte_order::ByteOrder;
use dta::stata::dta::dta_error::DtaError;
use dta::stata::dta::dta_reader::DtaReader;
use dta::stata::dta::header::Header;
use dta::stata::dta::long_string_ref::LongStringRef;
use dta::stata::dta::record_reader::RecordReader;
use dta::stata::dta::release::Release;
use dta::stata::dta::value::Value;

use super::Table;
use crate::decompress;
use crate::error::DataError;

/// Texts of any length (`strL`) stand behind the rows that refer to them: the references of each such column, in order of rows.
type References = BTreeMap<usize, Vec<LongStringRef>>;

pub(super) fn read(path: &Path) -> Result<Table, DataError> {
    let file = Shared(Rc::new(RefCell::new(decompress::open(path)?)));
    let mut records = open(path, file.clone())?;
    let names = records.schema().variables().iter().map(|v| v.name().to_owned()).collect();
    let mut table = Table::with_header(path, names)?;
    let mut references = References::new();
    while let Some(record) = records.read_record().map_err(|e| broken(path, &e))? {
        for (j, value) in record.values().iter().enumerate() {
            match words(value) {
                Ok(cell) => table.columns[j].push(&cell).map_err(|e| DataError::format(path, e))?,
                Err(reference) => references.entry(j).or_default().push(reference),
            }
        }
        table.rows += 1;
    }
    if references.is_empty() {
        return Ok(table);
    }
    let texts = long_texts(file, records.header())
        .map_err(|e| DataError::format(path, format!("cannot be read as a Stata file: long texts: {e}")))?;
    for (j, column) in references {
        for reference in column {
            let bytes = texts.get(&(reference.variable(), reference.observation()));
            let text = records.encoding().decode_without_bom_handling(bytes.map_or(&[], |b| b)).0;
            table.columns[j].push(&text).map_err(|e| DataError::format(path, e))?;
        }
    }
    Ok(table)
}

/// A file that two read in turn: the records' reader, and what comes after it.
#[derive(Clone)]
struct Shared(Rc<RefCell<Box<dyn Read>>>);

impl Read for Shared {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.borrow_mut().read(buffer)
    }
}

/// The texts behind the rows, by variable and observation of their first use. They are read here because the crate makes room for as many bytes as
/// an entry says that it has, up to 4 GiB, before it looks whether the file has them.
fn long_texts(mut file: Shared, header: &Header) -> io::Result<BTreeMap<(u32, u64), Vec<u8>>> {
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let little = header.byte_order() == ByteOrder::LittleEndian;
    let number = |file: &mut Shared, bytes: usize| -> io::Result<u64> {
        let mut raw = [0; 8];
        file.read_exact(&mut raw[..bytes])?;
        Ok(if little { u64::from_le_bytes(raw) } else { u64::from_be_bytes(raw) >> (64 - 8 * bytes) })
    };
    let mut begin = Vec::new();
    while !begin.ends_with(b"<strls>") {
        if begin.len() > 64 {
            return Err(wrong("they do not begin behind the rows"));
        }
        begin.push(number(&mut file, 1)? as u8);
    }
    let mut texts = BTreeMap::new();
    loop {
        let mut word = [0; 3];
        file.read_exact(&mut word)?;
        match &word {
            b"</s" => return Ok(texts),
            b"GSO" => {}
            _ => return Err(wrong("an entry begins with neither `GSO` nor the end")),
        }
        let wide = if header.release() == Release::V117 { 4 } else { 8 };
        let key = (number(&mut file, 4)? as u32, number(&mut file, wide)?);
        let is_text = number(&mut file, 1)? == 130;
        let length = number(&mut file, 4)?;
        let mut bytes = Vec::new();
        if (&mut file).take(length).read_to_end(&mut bytes)? < length as usize {
            return Err(wrong("the file ends within one"));
        }
        // A text ends with a zero byte; a binary entry is no text.
        if is_text {
            bytes.truncate(bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len()));
            texts.insert(key, bytes);
        }
    }
}

fn broken(path: &Path, error: &DtaError) -> DataError {
    DataError::format(path, format!("cannot be read as a Stata file: {error}"))
}

fn open(path: &Path, file: Shared) -> Result<RecordReader<Shared>, DataError> {
    let broken = |e: DtaError| broken(path, &e);
    let schema = DtaReader::new().from_reader(file).read_header().map_err(broken)?;
    let mut characteristics = schema.read_schema().map_err(broken)?;
    characteristics.skip_to_end().map_err(broken)?;
    characteristics.into_record_reader().map_err(broken)
}

/// A cell as text, nothing for a missing value; or where its text stands.
fn words<'a>(value: &'a Value<'_>) -> Result<Cow<'a, str>, LongStringRef> {
    let number = match value {
        Value::String(text) => return Ok(Cow::Borrowed(text)),
        Value::LongStringRef(reference) => return Err(*reference),
        Value::Byte(v) => v.present().map(f64::from),
        Value::Int(v) => v.present().map(f64::from),
        Value::Long(v) => v.present().map(f64::from),
        Value::Float(v) => v.present().map(f64::from),
        Value::Double(v) => v.present(),
    };
    Ok(number.map_or(Cow::Borrowed(""), |v| Cow::Owned(v.to_string())))
}
