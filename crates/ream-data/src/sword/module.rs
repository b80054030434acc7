//! The files of a testament, entry by entry.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use flate2::read::ZlibDecoder;

use super::markup::{self, Reading};
use super::{Book, canon};
use crate::error::DataError;

/// Most bytes that the blocks of a testament unpack into; the richest markup known takes a fifth of it. Entries may point to
/// blocks in any order, so damaged ones could unpack the same block again and again.
const MOST_UNPACKED: u64 = 256 << 20;
/// Most bytes of text in a testament: ten times the longest known.
const MOST_TEXT: usize = 64 << 20;

/// Reads a testament's books.
pub(super) fn read(folder: &Path, testament: &str, books: &mut Vec<Book>) -> Result<(), DataError> {
    let mut blocks = Blocks::open(folder, testament)?;
    let places = folder.join(format!("{testament}.bzv"));
    let bytes = read_file(&places)?;
    let entries = entries::<10>(&places, &bytes)?;
    let mut builder = Builder { books, open: false };
    let first = builder.books.len();
    let (mut before, mut length_of_text) = (None, 0);
    for (i, entry) in entries.iter().enumerate() {
        let wrong = |problem: String| at_entry(&places, i, problem);
        let [b0, b1, b2, b3, s0, s1, s2, s3, l0, l1] = *entry;
        let length = usize::from(u16::from_le_bytes([l0, l1]));
        // The same text as the entry before: a verse of several numbers, which its first number holds.
        if length == 0 || before == Some(entry) {
            builder.verse(String::new());
            continue;
        }
        before = Some(entry);
        let block = blocks.get(u32::from_le_bytes([b0, b1, b2, b3])).map_err(|error| match error {
            BlockError::Absent(problem) => wrong(problem),
            BlockError::Data(error) => error,
        })?;
        let start = u32::from_le_bytes([s0, s1, s2, s3]) as usize;
        let markup = start.checked_add(length).and_then(|end| block.get(start..end)).ok_or_else(|| {
            wrong(format!("ends {length} bytes after {start}, but its block has {} bytes", block.len()))
        })?;
        let markup = str::from_utf8(markup).map_err(|_| wrong("its text is not UTF-8".to_owned()))?;
        let reading = markup::read(markup);
        length_of_text += reading.text.len();
        if length_of_text > MOST_TEXT {
            return Err(wrong(format!("the text is longer than {MOST_TEXT} bytes, which no Bible is")));
        }
        builder.entry(reading).map_err(wrong)?;
    }
    // A book of which the module has only a heading, or whose text it keeps in the heading for want of numbers.
    builder.books.retain(|book| !book.chapters.is_empty());
    if builder.books.len() == first {
        return Err(DataError::format(&places, "no chapter begins in it"));
    }
    for book in &builder.books[first..] {
        let (got, wanted) = (book.chapters.len(), canon::chapters(&book.id));
        if wanted.is_some_and(|wanted| wanted != got) {
            let problem = format!("{} has {got} chapters, wanted {}", book.id, wanted.unwrap_or_default());
            return Err(DataError::format(
                &places,
                format!("{problem}: it is truncated, or counts chapters in another way"),
            ));
        }
    }
    Ok(())
}

/// Books as they grow.
struct Builder<'a> {
    books: &'a mut Vec<Book>,
    /// A chapter has begun and its book has not ended.
    open: bool,
}

impl Builder<'_> {
    fn entry(&mut self, reading: Reading) -> Result<(), String> {
        if let Some((id, name)) = reading.book {
            return self.begin(id, name);
        }
        if let Some((id, number)) = reading.chapter {
            if reading.many_chapters {
                return Err(format!("more than one chapter of {id} begins in it"));
            }
            if self.books.last().is_none_or(|book| book.id != id) {
                self.begin(id.clone(), None)?;
            }
            let Some(book) = self.books.last_mut() else { return Ok(()) };
            if number != book.chapters.len() + 1 {
                return Err(format!("{id} {number} begins in it, wanted {id} {}", book.chapters.len() + 1));
            }
            book.chapters.push(Vec::new());
            self.open = true;
            return Ok(());
        }
        self.verse(reading.text);
        self.open &= !reading.ends;
        Ok(())
    }

    fn begin(&mut self, id: String, name: Option<String>) -> Result<(), String> {
        self.open = false;
        if self.books.iter().any(|book| book.id == id) {
            return Err(format!("the book {id} begins for the second time"));
        }
        let name = name.or_else(|| canon::name(&id).map(str::to_owned)).unwrap_or_else(|| id.clone());
        self.books.push(Book { id, name, chapters: Vec::new() });
        Ok(())
    }

    /// What stands before the first chapter of a book is its introduction, what stands after its end belongs to nothing.
    fn verse(&mut self, text: String) {
        if self.open
            && let Some(chapter) = self.books.last_mut().and_then(|book| book.chapters.last_mut())
        {
            chapter.push(text);
        }
    }
}

/// The blocks of a testament; one is unpacked at a time, as entries come in the order of blocks.
struct Blocks {
    index: PathBuf,
    sizes: Vec<u8>,
    packed_path: PathBuf,
    packed: Vec<u8>,
    current: Option<u32>,
    block: Vec<u8>,
    unpacked: u64,
}

enum BlockError {
    /// There is none of that number.
    Absent(String),
    Data(DataError),
}

impl Blocks {
    fn open(folder: &Path, testament: &str) -> Result<Self, DataError> {
        let index = folder.join(format!("{testament}.bzs"));
        let packed_path = folder.join(format!("{testament}.bzz"));
        let sizes = read_file(&index)?;
        entries::<12>(&index, &sizes)?;
        let packed = read_file(&packed_path)?;
        Ok(Self { index, sizes, packed_path, packed, current: None, block: Vec::new(), unpacked: 0 })
    }

    fn get(&mut self, number: u32) -> Result<&[u8], BlockError> {
        if self.current != Some(number) {
            self.current = None;
            self.unpack(number)?;
            self.current = Some(number);
        }
        Ok(&self.block)
    }

    fn unpack(&mut self, number: u32) -> Result<(), BlockError> {
        let (entries, _) = self.sizes.as_chunks::<12>();
        let Some(entry) = entries.get(number as usize) else {
            return Err(BlockError::Absent(format!(
                "is in block {number}, but there are {} blocks",
                entries.len()
            )));
        };
        let [o0, o1, o2, o3, p0, p1, p2, p3, s0, s1, s2, s3] = *entry;
        let offset = u32::from_le_bytes([o0, o1, o2, o3]) as usize;
        let length = u32::from_le_bytes([p0, p1, p2, p3]) as usize;
        let size = u64::from(u32::from_le_bytes([s0, s1, s2, s3]));
        let wrong = |problem: String| BlockError::Data(at_entry(&self.index, number as usize, problem));
        let packed =
            offset.checked_add(length).and_then(|end| self.packed.get(offset..end)).ok_or_else(|| {
                wrong(format!(
                    "its block ends {length} bytes after {offset}, but the file has {} bytes",
                    self.packed.len()
                ))
            })?;
        self.unpacked = self.unpacked.saturating_add(size);
        if self.unpacked > MOST_UNPACKED {
            return Err(wrong(format!(
                "the blocks unpack into more than {MOST_UNPACKED} bytes, which no Bible does"
            )));
        }
        self.block.clear();
        let read = ZlibDecoder::new(packed).take(size + 1).read_to_end(&mut self.block);
        let damaged =
            |problem: String| BlockError::Data(at_entry(&self.packed_path, number as usize, problem));
        read.map_err(|error| damaged(format!("the block cannot be unpacked: {error}")))?;
        if self.block.len() as u64 != size {
            let got =
                if self.block.len() as u64 > size { "more".to_owned() } else { self.block.len().to_string() };
            return Err(damaged(format!("the block unpacks into {got} bytes, wanted {size}")));
        }
        Ok(())
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, DataError> {
    fs::read(path).map_err(DataError::io("read", path))
}

/// The entries of `N` bytes that a file consists of.
fn entries<'a, const N: usize>(path: &Path, bytes: &'a [u8]) -> Result<&'a [[u8; N]], DataError> {
    match bytes.as_chunks::<N>() {
        (entries, []) => Ok(entries),
        _ => Err(DataError::format(
            path,
            format!("has {} bytes, wanted entries of {N} bytes: it is truncated", bytes.len()),
        )),
    }
}

/// A problem of an entry, counted from 0 as in the format.
fn at_entry(path: &Path, number: usize, problem: String) -> DataError {
    DataError::Format { file: path.display().to_string(), place: format!(", entry {number}"), problem }
}
