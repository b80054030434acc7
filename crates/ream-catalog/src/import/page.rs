//! A daily-papers page, saved as plain text from a browser.
//!
//! Blocks are set apart by blank lines: title, abstract, and a block that closes the entry:
//!
//! ```text
//!   • 7 authors            or: nvidia NVIDIA
//! ·
//! Dec 15, 2022 3
//! ```
//! An organisation's line is the text of its picture, which is the account's name and has no space, then the name that is
//! shown (`nvidia NVIDIA`, `Skywork Skywork`). The date may lack its year; the number after it counts comments. The
//! closing block may be missing, and so may parts of it or the abstract. A block is taken for an abstract by its place
//! and its length: titles stay under [`LONGEST_TITLE`], and an abstract that is shorter ends like a sentence.

use std::collections::VecDeque;

use super::json::too_long;
use super::sink::Sink;
use super::source::{Line, Source};
use super::tidy::short;
use super::{Fault, Stop};
use crate::record::{Date, Record};

/// What stands between authors and date.
pub(crate) const DOT: &str = "·";
/// Characters.
const LONGEST_TITLE: usize = 300;
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// Lines of the page itself.
const FURNITURE: [&str; 18] = [
    "new",
    "Get trending papers in your email inbox!",
    "Subscribe",
    "Daily Papers",
    "Previous",
    "Next",
    "System theme",
    "Company",
    "TOS",
    "Privacy",
    "About",
    "Careers",
    "Website",
    "Models",
    "Datasets",
    "Spaces",
    "Pricing",
    "Docs",
];

/// Whether a line is one that only such a page has.
pub(crate) fn is_sign(line: &str) -> bool {
    line == "Daily Papers" || authors(line).is_some()
}

pub(crate) fn read(source: &mut Source<'_>, sink: &mut Sink<'_>) -> Result<(), Stop> {
    let mut page = Page { blocks: VecDeque::new() };
    let mut text = Vec::new();
    let mut block = Block::default();
    loop {
        let line = source.line;
        let kept = source.next_line(&mut text, sink.limits.record)?;
        let content = String::from_utf8_lossy(&text);
        let content = content.trim();
        if kept.is_none() || (content.is_empty() && kept == Some(Line::Whole)) {
            let full = std::mem::take(&mut block);
            if !full.lines.is_empty() || full.long {
                page.push(full, sink)?;
            }
            if kept.is_none() {
                return page.flush(sink);
            }
            continue;
        }
        if block.lines.is_empty() && !block.long {
            block.line = line;
        }
        block.bytes += content.len();
        if kept == Some(Line::TooLong) || block.bytes > sink.limits.record {
            block.long = true;
            block.lines.clear();
        } else if !block.long {
            block.lines.push(content.to_owned());
        }
    }
}

/// Lines between blank lines.
#[derive(Default)]
struct Block {
    line: u64,
    lines: Vec<String>,
    bytes: usize,
    long: bool,
}

impl Block {
    fn closes(&self) -> bool {
        self.lines.iter().any(|line| line == DOT || authors(line).is_some())
    }

    fn is_furniture(&self) -> bool {
        let alone = |line: &str| {
            FURNITURE.contains(&line)
                || (line.starts_with("by") && line.ends_with("community"))
                || dated(line).is_some()
        };
        !self.long && self.lines.iter().all(|line| alone(line))
    }

    fn text(&self) -> String {
        self.lines.join("\n")
    }

    /// Whether it can only be an abstract, or is one where a title stands before it.
    fn is_abstract(&self, after_title: bool) -> bool {
        let length: usize = self.lines.iter().map(|line| line.chars().count()).sum();
        let sentence = self.lines.last().is_some_and(|line| line.ends_with(['.', '!']));
        length > LONGEST_TITLE || (after_title && sentence)
    }
}

/// Blocks that wait for what comes after them: at most a title and its abstract.
struct Page {
    blocks: VecDeque<Block>,
}

impl Page {
    fn push(&mut self, block: Block, sink: &mut Sink<'_>) -> Result<(), Stop> {
        if block.long {
            self.flush(sink)?;
            return sink.record(block.line, Err(too_long(sink.limits.record)));
        }
        if block.closes() {
            // Text without a closing block of its own before the last title and abstract was settled already.
            return self.settle(Some(&block), sink);
        }
        if block.is_furniture() {
            return self.flush(sink);
        }
        let is_abstract = block.is_abstract(self.blocks.len() == 1);
        if !is_abstract || self.blocks.len() > 1 {
            self.flush(sink)?;
        }
        self.blocks.push_back(block);
        Ok(())
    }

    /// An entry that has no closing block.
    fn flush(&mut self, sink: &mut Sink<'_>) -> Result<(), Stop> {
        if self.blocks.is_empty() { Ok(()) } else { self.settle(None, sink) }
    }

    fn settle(&mut self, closing: Option<&Block>, sink: &mut Sink<'_>) -> Result<(), Stop> {
        let first = self.blocks.pop_front();
        let second = self.blocks.pop_front();
        let Some(title) = first else {
            let line = closing.map_or(0, |block| block.line);
            return sink
                .record(line, Err(Fault::new("authors and date without a title", "a title before them")));
        };
        let line = title.line;
        if title.is_abstract(false) {
            let what = format!("`{}` is too long for a title", short(&title.text()));
            let wanted = format!("a title of at most {LONGEST_TITLE} characters before it");
            return sink.record(line, Err(Fault::new(what, wanted)));
        }
        if second.is_none() && closing.is_none() {
            let what = format!("`{}` stands alone", short(&title.text()));
            return sink.record(
                line,
                Err(Fault::new(what, "a title with an abstract or a line of authors after it")),
            );
        }
        let mut record = Record {
            title: crate::text::plain_line(&title.text()),
            summary: second.map(|block| crate::text::plain(&block.text())),
            ..Record::default()
        };
        for line in closing.into_iter().flat_map(|block| &block.lines) {
            close(&mut record, line);
        }
        sink.record(line, Ok((record, None)))
    }
}

/// What a line of the closing block says.
fn close(record: &mut Record, line: &str) {
    if line == DOT {
    } else if let Some(count) = authors(line) {
        record.author_count = Some(count);
    } else if let Some((date, comments)) = dated(line) {
        record.date = Some(date);
        record.comments = comments;
    } else {
        record.organisations.push(organisation(line).to_owned());
    }
}

/// `• 7 authors`.
fn authors(line: &str) -> Option<u32> {
    let (count, word) = line.strip_prefix('•')?.trim().split_once(' ')?;
    matches!(word.trim(), "author" | "authors").then_some(())?;
    count.parse().ok()
}

/// The name that is shown, after the account's; a single word is both.
fn organisation(line: &str) -> &str {
    match line.split_once(' ') {
        Some((account, shown))
            if account.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) =>
        {
            shown.trim()
        }
        _ => line,
    }
}

/// `Dec 15, 2022`, `Dec 15`, each perhaps with a number of comments after it.
fn dated(line: &str) -> Option<(Date, Option<u32>)> {
    let mut words = line.split_whitespace();
    let month = words.next()?.to_ascii_lowercase();
    let number = MONTHS.iter().position(|name| month.starts_with(name))?;
    let full = month.len() <= 3 || FULL_MONTHS.contains(&month.trim_end_matches('.'));
    let month = u8::try_from(number + 1).ok().filter(|_| full)?;
    let day = words.next()?;
    let year = if day.ends_with(',') { Some(words.next()?.parse().ok()?) } else { None };
    let day = day.trim_end_matches(',').parse().ok()?;
    let comments = words.next().map(str::parse).transpose().ok()?;
    words.next().is_none().then_some((Date::new(year, Some(month), Some(day))?, comments))
}

const FULL_MONTHS: [&str; 13] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "sept",
    "september",
    "october",
    "november",
    "december",
];
