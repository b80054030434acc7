//! Reading the header. Whatever a count or a length says, it is compared with the bytes that are left before anything is made of it.

use std::collections::BTreeMap;
use std::ops::Range;

use super::kind::Kind;
use super::value::{Value, ValueKind};

/// What is wrong, and at which byte.
pub(super) struct Problem {
    pub(super) at: usize,
    pub(super) text: String,
}

/// A place in bytes.
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..).unwrap_or_default()
    }

    pub(super) fn problem(&self, text: String) -> Problem {
        Problem { at: self.at, text }
    }

    pub(super) fn take(&mut self, n: usize) -> Result<&'a [u8], Problem> {
        let rest = self.rest();
        let Some(taken) = rest.get(..n) else {
            return Err(
                self.problem(format!("{n} bytes are wanted and {} are left; is it cut off?", rest.len()))
            );
        };
        self.at += n;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Problem> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Problem> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64, Problem> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// A number of things that take at least so many bytes each.
    pub(super) fn count(&mut self, least_bytes: usize, what: &str) -> Result<usize, Problem> {
        let at = self.at;
        let count = self.u64()?;
        let left = self.rest().len();
        match usize::try_from(count) {
            Ok(n) if n <= left / least_bytes => Ok(n),
            _ => Err(Problem {
                at,
                text: format!(
                    "{count} {what} take at least {least_bytes} bytes each and {left} bytes are left; is it cut off?"
                ),
            }),
        }
    }

    pub(super) fn string(&mut self) -> Result<&'a str, Problem> {
        let n = self.count(1, "characters of a string")?;
        let at = self.at;
        let bytes = self.take(n)?;
        str::from_utf8(bytes)
            .map_err(|e| Problem { at: at + e.valid_up_to(), text: "a string is not UTF-8".to_owned() })
    }
}

/// Where a value is in the file.
pub(super) struct Place {
    pub(super) kind: ValueKind,
    pub(super) bytes: Range<usize>,
}

/// What a tensor is.
pub(super) struct Info {
    pub(super) name: String,
    /// Fastest first.
    pub(super) shape: Vec<usize>,
    /// A type that is read here, or its number.
    pub(super) kind: Result<Kind, u32>,
    /// Where its bytes are in the file; the end is not known when the type is not.
    pub(super) bytes: Range<usize>,
}

pub(super) struct Header {
    pub(super) version: u32,
    pub(super) alignment: usize,
    pub(super) keys: BTreeMap<String, Place>,
    pub(super) tensors: Vec<Info>,
}

const MAGIC: [u8; 4] = *b"GGUF";
/// Most dimensions of a tensor.
const MOST_DIMENSIONS: u32 = 4;
/// Where tensors begin when no key says otherwise: multiples of this.
pub(super) const ALIGNMENT: usize = 32;

/// Reads the header of a file and checks that every tensor is inside and none overlaps another.
pub(super) fn header(bytes: &[u8]) -> Result<Header, Problem> {
    let mut cursor = Cursor::new(bytes);
    if bytes.get(..4) != Some(&MAGIC[..]) {
        let text = "the file does not begin with `GGUF`; is it a GGUF file?".to_owned();
        return Err(Problem { at: 0, text });
    }
    cursor.take(4)?;
    let version = cursor.u32()?;
    if !(2..=3).contains(&version) {
        let shown = match version.swap_bytes() {
            swapped @ 1..=3 => format!("{swapped}, big-endian"),
            _ => version.to_string(),
        };
        return Err(Problem { at: 4, text: format!("version {shown}, wanted 2 or 3, little-endian") });
    }
    let tensor_count = cursor.count(name_and(4 + 8 + 4 + 8), "tensors")?;
    let key_count = cursor.count(name_and(4 + 1), "keys")?;
    let keys = read_keys(&mut cursor, key_count)?;
    let alignment = alignment(bytes, &keys)?;
    let mut tensors = Vec::new();
    for _ in 0..tensor_count {
        tensors.push((cursor.at(), read_info(&mut cursor)?));
    }
    let data = cursor.at().next_multiple_of(alignment);
    place(&mut tensors, data, alignment, bytes.len())?;
    Ok(Header { version, alignment, keys, tensors: tensors.into_iter().map(|(_, info)| info).collect() })
}

/// Bytes of a name of one letter and of what follows it.
const fn name_and(bytes: usize) -> usize {
    8 + 1 + bytes
}

fn read_keys(cursor: &mut Cursor<'_>, count: usize) -> Result<BTreeMap<String, Place>, Problem> {
    let mut keys = BTreeMap::new();
    for _ in 0..count {
        let at = cursor.at();
        let name = cursor.string()?;
        let number = cursor.u32()?;
        let Some(kind) = ValueKind::from_number(number) else {
            return Err(cursor.problem(format!("key `{name}` has type {number}, wanted 0 to 12")));
        };
        let start = cursor.at();
        Value::read(kind, cursor)
            .map_err(|problem| Problem { at: problem.at, text: format!("key `{name}`: {}", problem.text) })?;
        let place = Place { kind, bytes: start..cursor.at() };
        if name.is_empty() || keys.insert(name.to_owned(), place).is_some() {
            return Err(Problem { at, text: format!("key `{name}`: names are unique and not empty") });
        }
    }
    Ok(keys)
}

fn alignment(bytes: &[u8], keys: &BTreeMap<String, Place>) -> Result<usize, Problem> {
    let Some(place) = keys.get("general.alignment") else { return Ok(ALIGNMENT) };
    let value = Value::read(place.kind, &mut Cursor::new(&bytes[place.bytes.clone()]))?;
    let wanted = |n: &usize| n.is_power_of_two() && (8..=1 << 20).contains(n);
    value.integer().and_then(|n| usize::try_from(n).ok()).filter(wanted).ok_or_else(|| Problem {
        at: place.bytes.start,
        text: format!("key `general.alignment` is {value:?}, wanted a power of two from 8 to 2^20"),
    })
}

/// A tensor's entry; its bytes are still counted from the beginning of the data.
fn read_info(cursor: &mut Cursor<'_>) -> Result<Info, Problem> {
    let at = cursor.at();
    let name = cursor.string()?.to_owned();
    let wrong = |text: String| Problem { at, text: format!("tensor `{name}`: {text}") };
    let dimensions = cursor.u32()?;
    if !(1..=MOST_DIMENSIONS).contains(&dimensions) {
        return Err(wrong(format!("{dimensions} dimensions, wanted 1 to {MOST_DIMENSIONS}")));
    }
    let mut sizes = [0_u64; MOST_DIMENSIONS as usize];
    let sizes = &mut sizes[..dimensions as usize];
    for size in &mut *sizes {
        *size = cursor.u64()?;
    }
    let shape: Option<Vec<usize>> =
        sizes.iter().map(|&size| usize::try_from(size).ok().filter(|&n| n > 0)).collect();
    let elements = shape.as_ref().and_then(|s| s.iter().try_fold(1_usize, |n, &size| n.checked_mul(size)));
    let (Some(shape), Some(elements)) = (shape, elements) else {
        return Err(wrong(format!("shape {sizes:?}, wanted sizes from 1 whose product fits memory")));
    };
    let number = cursor.u32()?;
    let kind = Kind::from_number(number).ok_or(number);
    let length = match kind {
        Ok(kind) if shape[0].is_multiple_of(kind.block().0) => kind.bytes(elements),
        Ok(kind) => {
            let (block, _) = kind.block();
            return Err(wrong(format!(
                "rows of {} elements in {kind}, wanted a multiple of {block}",
                shape[0]
            )));
        }
        Err(_) => Some(0),
    };
    let offset = cursor.u64()?;
    let start = usize::try_from(offset).ok();
    let (Some(start), Some(end)) = (start, start.zip(length).and_then(|(start, n)| start.checked_add(n)))
    else {
        return Err(wrong(format!("{elements} elements at offset {offset} reach past any file")));
    };
    Ok(Info { name, shape, kind, bytes: start..end })
}

/// Counts the tensors' bytes from the beginning of the file, and checks that they are inside, aligned, and apart.
fn place(tensors: &mut [(usize, Info)], data: usize, alignment: usize, length: usize) -> Result<(), Problem> {
    for (at, info) in &mut *tensors {
        let wrong = |text: String| Problem { at: *at, text: format!("tensor `{}`: {text}", info.name) };
        if !info.bytes.start.is_multiple_of(alignment) {
            return Err(wrong(format!("offset {}, wanted a multiple of {alignment}", info.bytes.start)));
        }
        let moved = |n: usize| n.checked_add(data).filter(|&n| n <= length);
        let (Some(start), Some(end)) = (moved(info.bytes.start), moved(info.bytes.end)) else {
            return Err(wrong(format!(
                "its data end at byte {} and the file has {length}; is it cut off?",
                info.bytes.end.saturating_add(data)
            )));
        };
        info.bytes = start..end;
    }
    let mut order: Vec<&(usize, Info)> = tensors.iter().collect();
    order.sort_by_key(|(_, info)| (info.bytes.start, info.bytes.end));
    for pair in order.windows(2) {
        let [(_, a), (at, b)] = pair else { continue };
        if a.bytes.end > b.bytes.start {
            return Err(Problem { at: *at, text: format!("tensors `{}` and `{}` overlap", a.name, b.name) });
        }
    }
    let mut names: Vec<(&str, usize)> = tensors.iter().map(|(at, info)| (info.name.as_str(), *at)).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        Some(pair) => Err(Problem { at: pair[1].1, text: format!("tensor `{}` is there twice", pair[1].0) }),
        None => Ok(()),
    }
}
