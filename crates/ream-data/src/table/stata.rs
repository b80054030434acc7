//! Stata's `.dta`, formats 113 to 115 (Stata 8 to 12) and 117 to 119 (Stata 13 and later), by the published description of the
//! format.
//!
//! Numbers stay numbers; Stata's 27 missing values are empty cells. A variable `v` whose codes have labels comes with a second
//! column `v.label`.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;

use super::{Column, Table};
use crate::decompress;
use crate::error::DataError;

pub(super) fn read(path: &Path) -> Result<Table, DataError> {
    let mut bytes = Vec::new();
    decompress::open(path)?.read_to_end(&mut bytes).map_err(DataError::io("read", path))?;
    parse(path, &bytes)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Table, DataError> {
    let broken = |problem: String| DataError::format(path, format!("cannot be read as Stata: {problem}"));
    let file = if bytes.starts_with(b"<stata_dta>") { tagged(bytes) } else { untagged(bytes) };
    let file = file.map_err(broken)?;
    let mut table = Table::with_header(path, file.variables.iter().map(|v| v.name.clone()).collect())?;
    let mut labels: Vec<(usize, Column)> = file
        .variables
        .iter()
        .enumerate()
        .filter(|(_, v)| file.labels.contains_key(&v.label_set))
        .map(|(j, v)| (j, Column { name: format!("{}.label", v.name), ..Column::default() }))
        .collect();
    for row in 0..file.rows {
        fill(&file, row, &mut table, &mut labels).map_err(broken)?;
    }
    table.rows = file.rows;
    for (_, column) in labels {
        // A variable of that very name stays what it is.
        if !table.has(&column.name) {
            table.columns.push(column);
        }
    }
    Ok(table)
}

/// How the cells of a variable are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Storage {
    /// Bytes of a text of fixed width.
    Text(usize),
    /// A reference to a long text.
    Long,
    Byte,
    Int,
    Word,
    Float,
    Double,
}

impl Storage {
    fn width(self) -> usize {
        match self {
            Self::Text(width) => width,
            Self::Long | Self::Double => 8,
            Self::Byte => 1,
            Self::Int => 2,
            Self::Word | Self::Float => 4,
        }
    }

    /// Code of formats 113 to 115.
    fn of_byte(code: u8) -> Result<Self, String> {
        Ok(match code {
            1..=244 => Self::Text(code as usize),
            251 => Self::Byte,
            252 => Self::Int,
            253 => Self::Word,
            254 => Self::Float,
            255 => Self::Double,
            other => return Err(format!("a variable has the unknown type {other}")),
        })
    }

    /// Code of formats 117 to 119.
    fn of_word(code: u16) -> Result<Self, String> {
        Ok(match code {
            1..=2045 => Self::Text(code as usize),
            32768 => Self::Long,
            65526 => Self::Double,
            65527 => Self::Float,
            65528 => Self::Word,
            65529 => Self::Int,
            65530 => Self::Byte,
            other => return Err(format!("a variable has the unknown type {other}")),
        })
    }
}

struct Variable {
    name: String,
    storage: Storage,
    /// Bytes from the start of a row.
    offset: usize,
    /// Name of its set of labels, or nothing.
    label_set: String,
}

type Labels = BTreeMap<String, BTreeMap<i32, String>>;

struct File<'a> {
    release: u16,
    little: bool,
    rows: usize,
    width: usize,
    variables: Vec<Variable>,
    data: &'a [u8],
    labels: Labels,
    long: BTreeMap<u64, String>,
}

/// Reads forward through bytes; past the end is an error, never a panic.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    little: bool,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else {
            return Err(format!("it ends at byte {}, in the middle of something", self.bytes.len()));
        };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    fn unsigned(&mut self, count: usize) -> Result<u64, String> {
        let little = self.little;
        Ok(unsigned(self.take(count)?, little))
    }

    fn size(&mut self, count: usize) -> Result<usize, String> {
        let value = self.unsigned(count)?;
        usize::try_from(value).map_err(|_| format!("it claims a size of {value}"))
    }

    fn tag(&mut self, tag: &str) -> Result<(), String> {
        let at = self.at;
        if self.take(tag.len())? == tag.as_bytes() {
            Ok(())
        } else {
            Err(format!("wanted {tag} at byte {at}"))
        }
    }

    fn texts(&mut self, count: usize, width: usize, latin: bool) -> Result<Vec<String>, String> {
        (0..count).map(|_| Ok(text(self.take(width)?, latin))).collect()
    }
}

fn unsigned(bytes: &[u8], little: bool) -> u64 {
    let push = |value: u64, byte: &u8| (value << 8) | u64::from(*byte);
    if little { bytes.iter().rev().fold(0, push) } else { bytes.iter().fold(0, push) }
}

/// The text before the first zero byte; formats before 118 are read as Latin-1.
fn text(bytes: &[u8], latin: bool) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let bytes = &bytes[..end];
    if latin && std::str::from_utf8(bytes).is_err() {
        return bytes.iter().map(|b| char::from(*b)).collect();
    }
    String::from_utf8_lossy(bytes).into_owned()
}

/// Puts storage, names and sets of labels together.
fn variables(
    storage: Vec<Storage>,
    names: Vec<String>,
    label_sets: Vec<String>,
) -> Result<(Vec<Variable>, usize), String> {
    let mut width = 0_usize;
    let mut variables = Vec::new();
    for ((storage, name), label_set) in storage.into_iter().zip(names).zip(label_sets) {
        variables.push(Variable { name, storage, offset: width, label_set });
        width += storage.width();
    }
    if width == 0 { Err("there are no variables".to_owned()) } else { Ok((variables, width)) }
}

/// Formats 117 to 119.
fn tagged(bytes: &[u8]) -> Result<File<'_>, String> {
    let mut c = Cursor { bytes, at: 0, little: true };
    c.tag("<stata_dta><header><release>")?;
    let release = match c.take(3)? {
        b"117" => 117,
        b"118" => 118,
        b"119" => 119,
        other => {
            let got = String::from_utf8_lossy(other);
            return Err(format!("wanted a release from 117 to 119, got `{got}`; save it for Stata 14"));
        }
    };
    c.tag("</release><byteorder>")?;
    c.little = match c.take(3)? {
        b"LSF" => true,
        b"MSF" => false,
        _ => return Err("the byte order is LSF or MSF".to_owned()),
    };
    c.tag("</byteorder><K>")?;
    let count = c.size(if release == 119 { 4 } else { 2 })?;
    c.tag("</K><N>")?;
    let rows = c.size(if release == 117 { 4 } else { 8 })?;
    c.tag("</N><label>")?;
    let length = c.size(if release == 117 { 1 } else { 2 })?;
    c.take(length)?;
    c.tag("</label><timestamp>")?;
    let length = c.size(1)?;
    c.take(length)?;
    c.tag("</timestamp></header><map>")?;
    c.take(14 * 8)?;
    c.tag("</map><variable_types>")?;
    let storage: Result<Vec<Storage>, String> =
        (0..count).map(|_| Storage::of_word(c.unsigned(2)? as u16)).collect();
    let storage = storage?;
    let latin = release == 117;
    let (name, format, label) = if latin { (33, 49, 81) } else { (129, 57, 321) };
    c.tag("</variable_types><varnames>")?;
    let names = c.texts(count, name, latin)?;
    c.tag("</varnames><sortlist>")?;
    c.take((count + 1) * if release == 119 { 4 } else { 2 })?;
    c.tag("</sortlist><formats>")?;
    c.take(count * format)?;
    c.tag("</formats><value_label_names>")?;
    let label_sets = c.texts(count, name, latin)?;
    c.tag("</value_label_names><variable_labels>")?;
    c.take(count * label)?;
    c.tag("</variable_labels><characteristics>")?;
    while c.bytes[c.at..].starts_with(b"<ch>") {
        c.tag("<ch>")?;
        let length = c.size(4)?;
        c.take(length)?;
        c.tag("</ch>")?;
    }
    c.tag("</characteristics><data>")?;
    let (variables, width) = variables(storage, names, label_sets)?;
    let data = c.take(rows.checked_mul(width).ok_or("it claims too many rows")?)?;
    c.tag("</data><strls>")?;
    let long = long_texts(&mut c, release)?;
    c.tag("</strls><value_labels>")?;
    let mut labels = Labels::new();
    while c.bytes[c.at..].starts_with(b"<lbl>") {
        c.tag("<lbl>")?;
        label_set(&mut c, name, latin, &mut labels)?;
        c.tag("</lbl>")?;
    }
    Ok(File { release, little: c.little, rows, width, variables, data, labels, long })
}

/// Long texts by their reference, as it stands in a cell.
fn long_texts(c: &mut Cursor<'_>, release: u16) -> Result<BTreeMap<u64, String>, String> {
    let mut long = BTreeMap::new();
    while c.bytes[c.at..].starts_with(b"GSO") {
        c.tag("GSO")?;
        let variable = c.unsigned(4)?;
        let observation = c.unsigned(if release == 117 { 4 } else { 8 })?;
        c.take(1)?;
        let length = c.size(4)?;
        long.insert(reference(variable, observation), text(c.take(length)?, release == 117));
    }
    Ok(long)
}

fn reference(variable: u64, observation: u64) -> u64 {
    (variable << 48) ^ observation
}

/// Formats 113 to 115.
fn untagged(bytes: &[u8]) -> Result<File<'_>, String> {
    let mut c = Cursor { bytes, at: 0, little: true };
    let head = c.take(4)?;
    let release = u16::from(head[0]);
    if !(113..=115).contains(&release) || !matches!(head[1], 1 | 2) {
        return Err("it does not begin as a .dta file of Stata 8 or later; save it for Stata 14".to_owned());
    }
    c.little = head[1] == 2;
    let (count, rows) = (c.size(2)?, c.size(4)?);
    c.take(81 + 18)?;
    let storage: Result<Vec<Storage>, String> =
        c.take(count)?.iter().map(|code| Storage::of_byte(*code)).collect();
    let storage = storage?;
    let names = c.texts(count, 33, true)?;
    c.take((count + 1) * 2)?;
    c.take(count * if release == 113 { 12 } else { 49 })?;
    let label_sets = c.texts(count, 33, true)?;
    c.take(count * 81)?;
    loop {
        let (kind, length) = (c.unsigned(1)?, c.size(4)?);
        if kind == 0 && length == 0 {
            break;
        }
        c.take(length)?;
    }
    let (variables, width) = variables(storage, names, label_sets)?;
    let data = c.take(rows.checked_mul(width).ok_or("it claims too many rows")?)?;
    let mut labels = Labels::new();
    while c.at < bytes.len() {
        label_set(&mut c, 33, true, &mut labels)?;
    }
    Ok(File { release, little: c.little, rows, width, variables, data, labels, long: BTreeMap::new() })
}

/// One set of labels: its name, codes and texts.
fn label_set(c: &mut Cursor<'_>, name: usize, latin: bool, labels: &mut Labels) -> Result<(), String> {
    let length = c.size(4)?;
    let name = text(c.take(name)?, latin);
    c.take(3)?;
    let little = c.little;
    let mut c = Cursor { bytes: c.take(length)?, at: 0, little };
    let (count, size) = (c.size(4)?, c.size(4)?);
    let words = count.checked_mul(4).ok_or("it claims too many labels")?;
    let (offsets, codes) = (c.take(words)?, c.take(words)?);
    let texts = c.take(size)?;
    let set = labels.entry(name).or_default();
    for (offset, code) in offsets.chunks_exact(4).zip(codes.chunks_exact(4)) {
        let start = unsigned(offset, little) as usize;
        let Some(rest) = texts.get(start..) else {
            return Err("a label begins past the end of its set".to_owned());
        };
        set.insert(unsigned(code, little) as u32 as i32, text(rest, latin));
    }
    Ok(())
}

fn fill(
    file: &File<'_>,
    row: usize,
    table: &mut Table,
    labels: &mut [(usize, Column)],
) -> Result<(), String> {
    let bytes = &file.data[row * file.width..(row + 1) * file.width];
    let mut next_label = 0;
    for (j, (variable, column)) in file.variables.iter().zip(&mut table.columns).enumerate() {
        let cell = &bytes[variable.offset..variable.offset + variable.storage.width()];
        let words = file.words(variable.storage, cell)?;
        column.push(&words)?;
        if let Some((of, label)) = labels.get_mut(next_label).filter(|(of, _)| *of == j) {
            let set = file.labels.get(&file.variables[*of].label_set);
            let known = words.parse().ok().and_then(|code: i32| set?.get(&code));
            label.push(known.map_or("", String::as_str))?;
            next_label += 1;
        }
    }
    Ok(())
}

impl File<'_> {
    /// A cell as text; nothing where the value is missing.
    fn words(&self, storage: Storage, cell: &[u8]) -> Result<String, String> {
        let raw = unsigned(cell, self.little);
        let whole =
            |value: i64, largest: i64| if value > largest { String::new() } else { value.to_string() };
        Ok(match storage {
            Storage::Text(_) => text(cell, self.release < 118),
            Storage::Byte => whole(i64::from(raw as u8 as i8), 100),
            Storage::Int => whole(i64::from(raw as u16 as i16), 32_740),
            Storage::Word => whole(i64::from(raw as u32 as i32), 2_147_483_620),
            Storage::Float => {
                // The least missing value is 2^127. All digits: other programs compute with the double that equals it.
                let value = f32::from_bits(raw as u32);
                if value >= 1.701_411_8e38 || value.is_nan() {
                    String::new()
                } else {
                    f64::from(value).to_string()
                }
            }
            Storage::Double => {
                // The least missing value is 2^1023.
                let value = f64::from_bits(raw);
                if value >= 8.988_465_674_311_579e307 || value.is_nan() {
                    String::new()
                } else {
                    value.to_string()
                }
            }
            Storage::Long => self.long_text(cell)?,
        })
    }

    fn long_text(&self, cell: &[u8]) -> Result<String, String> {
        let split = match self.release {
            117 => 4,
            118 => 2,
            _ => 3,
        };
        // Big-endian files keep variable and observation in this order too.
        let (variable, observation) =
            (unsigned(&cell[..split], self.little), unsigned(&cell[split..], self.little));
        if variable == 0 && observation == 0 {
            return Ok(String::new());
        }
        match self.long.get(&reference(variable, observation)) {
            Some(text) => Ok(text.clone()),
            None => Err("a cell refers to a long text that is not there".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn padded(text: &str, width: usize) -> Vec<u8> {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(width, 0);
        bytes
    }

    /// A set of labels for the codes 1 and 7.
    fn labels(name: &str, width: usize) -> Vec<u8> {
        let texts = b"one\0seven\0";
        let mut set = Vec::new();
        for word in [2_u32, texts.len() as u32, 0, 4, 1, 7] {
            set.extend(word.to_le_bytes());
        }
        set.extend(texts);
        let mut bytes = (set.len() as u32).to_le_bytes().to_vec();
        bytes.extend(padded(name, width));
        bytes.extend([0; 3]);
        bytes.extend(set);
        bytes
    }

    /// Two rows of a code with labels, a text, a float, a double, an int, a long; the second row is missing but for the code.
    fn rows() -> Vec<u8> {
        let mut data = Vec::new();
        data.push(7);
        data.extend(padded("café", 5));
        data.extend(0.1_f32.to_le_bytes());
        data.extend((-1e-300_f64).to_le_bytes());
        data.extend((-5_i16).to_le_bytes());
        data.extend(70_000_i32.to_le_bytes());
        data.push(2);
        data.extend(padded("", 5));
        data.extend(0x7f00_0000_u32.to_le_bytes());
        data.extend(0x7fe0_0000_0000_0000_u64.to_le_bytes());
        data.extend(32_741_i16.to_le_bytes());
        data.extend(2_147_483_621_i32.to_le_bytes());
        data
    }

    const NAMES: [&str; 6] = ["code", "name", "f", "d", "i", "l"];

    fn modern() -> Vec<u8> {
        let mut file = b"<stata_dta><header><release>118</release><byteorder>LSF</byteorder><K>".to_vec();
        file.extend(6_u16.to_le_bytes());
        file.extend(b"</K><N>");
        file.extend(2_u64.to_le_bytes());
        file.extend(b"</N><label>\0\0</label><timestamp>\0</timestamp></header><map>");
        file.extend([0; 112]);
        file.extend(b"</map><variable_types>");
        for code in [65530_u16, 5, 65527, 65526, 65529, 65528] {
            file.extend(code.to_le_bytes());
        }
        file.extend(b"</variable_types><varnames>");
        NAMES.iter().for_each(|name| file.extend(padded(name, 129)));
        file.extend(b"</varnames><sortlist>");
        file.extend([0; 14]);
        file.extend(b"</sortlist><formats>");
        file.extend([0; 6 * 57]);
        file.extend(b"</formats><value_label_names>");
        file.extend(padded("codes", 129));
        file.extend([0; 5 * 129]);
        file.extend(b"</value_label_names><variable_labels>");
        file.extend([0; 6 * 321]);
        file.extend(b"</variable_labels><characteristics><ch>\x02\0\0\0hi</ch></characteristics><data>");
        file.extend(rows());
        file.extend(b"</data><strls></strls><value_labels><lbl>");
        file.extend(labels("codes", 129));
        file.extend(b"</lbl></value_labels></stata_dta>");
        file
    }

    fn old() -> Vec<u8> {
        let mut file = vec![115, 2, 1, 0, 6, 0, 2, 0, 0, 0];
        file.extend([0; 99]);
        file.extend([251, 5, 254, 255, 252, 253]);
        NAMES.iter().for_each(|name| file.extend(padded(name, 33)));
        file.extend([0; 14]);
        file.extend([0; 6 * 49]);
        file.extend(padded("codes", 33));
        file.extend([0; 5 * 33]);
        file.extend([0; 6 * 81]);
        file.extend([1, 2, 0, 0, 0, 9, 9, 0, 0, 0, 0, 0]);
        file.extend(rows());
        file.extend(labels("codes", 33));
        file
    }

    fn open(bytes: &[u8]) -> Result<Table, DataError> {
        parse("t.dta".as_ref(), bytes)
    }

    #[test]
    fn both_families_of_formats_are_read() {
        for bytes in [modern(), old()] {
            let table = open(&bytes).unwrap();
            assert_eq!(table.names(), ["code", "name", "f", "d", "i", "l", "code.label"]);
            assert_eq!(table.numbers("code").unwrap(), [7.0, 2.0]);
            assert_eq!(table.texts("code.label").unwrap(), [Some("seven".to_owned()), None]);
            assert_eq!(table.texts("name").unwrap(), [Some("café".to_owned()), None]);
            assert_eq!(table.numbers_or_missing("f").unwrap(), [Some(f64::from(0.1_f32)), None]);
            assert_eq!(table.numbers_or_missing("d").unwrap(), [Some(-1e-300), None]);
            assert_eq!(table.numbers_or_missing("i").unwrap(), [Some(-5.0), None]);
            assert_eq!(table.numbers_or_missing("l").unwrap(), [Some(70_000.0), None]);
        }
    }

    #[test]
    fn long_texts_are_found() {
        let (variable, observation) = (2_u64, 5_u64);
        let mut bytes = b"GSO".to_vec();
        bytes.extend((variable as u32).to_le_bytes());
        bytes.extend(observation.to_le_bytes());
        bytes.push(130);
        bytes.extend(6_u32.to_le_bytes());
        bytes.extend(b"hello\0");
        let long = long_texts(&mut Cursor { bytes: &bytes, at: 0, little: true }, 118).unwrap();
        let file = File {
            release: 118,
            little: true,
            rows: 0,
            width: 8,
            variables: Vec::new(),
            data: &[],
            labels: Labels::new(),
            long,
        };
        let cell = [2, 0, 5, 0, 0, 0, 0, 0];
        assert_eq!(file.words(Storage::Long, &cell).unwrap(), "hello");
        assert_eq!(file.words(Storage::Long, &[0; 8]).unwrap(), "");
        assert!(file.words(Storage::Long, &[1; 8]).is_err());
    }

    #[test]
    fn cut_and_changed_files_are_refused_without_a_panic() {
        for bytes in [modern(), old()] {
            for cut in 0..bytes.len() {
                // The last labels of the old format may be absent.
                if let Err(error) = open(&bytes[..cut]) {
                    assert!(error.to_string().contains("cannot be read as Stata"), "{error}");
                }
            }
            for at in 0..bytes.len() {
                let mut changed = bytes.clone();
                changed[at] ^= 0xff;
                let _ = open(&changed);
            }
        }
        let error = open(b"<stata_dta><header><release>120</release>").unwrap_err().to_string();
        assert!(error.contains("wanted a release from 117 to 119, got `120`"), "{error}");
        assert!(open(b"nothing of the kind").unwrap_err().to_string().contains("Stata 8 or later"));
    }
}
