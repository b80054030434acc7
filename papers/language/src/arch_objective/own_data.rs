//! The user's own files: text to pretrain on, tasks to judge on.
//!
//! | file | what it is |
//! |---|---|
//! | UTF-8 text | lines; blank lines end paragraphs, and paragraphs are gathered into chapters |
//! | JSON lines `{"text": ...}` | one document each |
//! | JSON lines `{"prompt": ..., "options": [...], "answer": 0}` | one item each, with an optional `"task"` |

use std::path::Path;

use ream_lab::{Error, Invalid, Result};
use serde::Deserialize;
use serde_json::Value;

use super::corpus::Chapter;
use super::items::Item;

/// Shortest text, in characters.
pub const SHORTEST_TEXT: usize = 50_000;
/// A chapter made from plain text ends with the first paragraph after so many lines.
const CHAPTER_LINES: usize = 40;
/// Most words of a line; longer paragraphs are broken, so that items fit a context.
const LINE_WORDS: usize = 30;
/// Name of the work that the user's text is.
const WORK: &str = "own";

/// What a file holds.
#[derive(Clone, Debug, PartialEq)]
pub enum OwnData {
    /// Text to pretrain on.
    Text(Vec<Chapter>),
    /// Tasks to judge on.
    Tasks(Vec<Item>),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TextLine {
    text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TaskLine {
    prompt: String,
    options: Vec<String>,
    answer: i64,
    #[serde(default)]
    task: Option<String>,
}

/// Reads a file; `.jsonl` or a first line that is a JSON object make it JSON lines.
///
/// # Errors
/// The file and line, what is wrong, what would be right.
pub fn read(file: &Path) -> Result<OwnData> {
    let name = file.display().to_string();
    let bytes = std::fs::read(file)
        .map_err(|error| Error::from(Invalid::new(&name, "a file that can be read", error.to_string())))?;
    let text = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Error::from(Invalid::new(&name, "UTF-8 text", format!("a byte that is none at position {at}")))
    })?;
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("");
    let json = file.extension().is_some_and(|e| e.eq_ignore_ascii_case("jsonl"))
        || serde_json::from_str::<Value>(first).is_ok_and(|value| value.is_object());
    let data = if json { parse_json_lines(&name, &text)? } else { OwnData::Text(chapters_of_text(&text)) };
    if let OwnData::Text(chapters) = &data {
        check_length(&name, chapters)?;
    }
    Ok(data)
}

fn check_length(name: &str, chapters: &[Chapter]) -> Result<(), Invalid> {
    let characters: usize = chapters.iter().flat_map(|c| &c.lines).map(|line| line.chars().count()).sum();
    if characters < SHORTEST_TEXT {
        return Err(Invalid::new(
            name,
            format!("at least {SHORTEST_TEXT} characters of text"),
            characters.to_string(),
        ));
    }
    if chapters.len() < 2 {
        return Err(Invalid::new(name, "at least two documents, so that one can be held out", "one"));
    }
    Ok(())
}

fn parse_json_lines(name: &str, text: &str) -> Result<OwnData, Invalid> {
    let rows = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let (mut chapters, mut items): (Vec<Chapter>, Vec<Item>) = (Vec::new(), Vec::new());
    for (index, line) in rows {
        let place = format!("{name}:{}", index + 1);
        let value: Value = serde_json::from_str(line)
            .map_err(|error| Invalid::new(&place, "a JSON object", error.to_string()))?;
        let kind = |key: &str| value.get(key).is_some();
        match (kind("text"), kind("prompt")) {
            (true, false) if items.is_empty() => {
                let row: TextLine = serde_json::from_value(value)
                    .map_err(|error| Invalid::new(&place, r#"{"text": "..."}"#, error.to_string()))?;
                let lines = lines_of(&row.text);
                if !lines.is_empty() {
                    chapters.push(Chapter::of_work(WORK, WORK, chapters.len() + 1, lines));
                }
            }
            (false, true) if chapters.is_empty() => {
                let wanted = r#"{"prompt": "...", "options": ["...", "..."], "answer": 0}"#;
                let row: TaskLine = serde_json::from_value(value)
                    .map_err(|error| Invalid::new(&place, wanted, error.to_string()))?;
                items.push(check_item(&place, row)?);
            }
            (true, true) | (false, false) => {
                return Err(Invalid::new(&place, "either `text` or `prompt`", "both or neither"));
            }
            _ => return Err(Invalid::new(&place, "a file of texts or a file of tasks", "a mixture")),
        }
    }
    if chapters.is_empty() && items.is_empty() {
        return Err(Invalid::new(name, r#"lines of {"text"} or {"prompt", "options", "answer"}"#, "none"));
    }
    // Items of a task stand together, tasks in the order in which they first appear.
    let mut order: Vec<String> = Vec::new();
    for item in &items {
        if !order.contains(&item.task) {
            order.push(item.task.clone());
        }
    }
    items.sort_by_key(|item| order.iter().position(|task| *task == item.task));
    Ok(if items.is_empty() { OwnData::Text(chapters) } else { OwnData::Tasks(items) })
}

fn check_item(place: &str, row: TaskLine) -> Result<Item, Invalid> {
    let count = row.options.len();
    if count < 2 {
        return Err(Invalid::new(format!("{place}, options"), "at least two", count.to_string()));
    }
    if row.options.iter().any(String::is_empty) {
        return Err(Invalid::new(format!("{place}, options"), "options that are not empty", "an empty one"));
    }
    let answer = usize::try_from(row.answer).ok().filter(|answer| *answer < count).ok_or_else(|| {
        let wanted = format!("an index from 0 to {}", count - 1);
        Invalid::new(format!("{place}, answer"), wanted, row.answer.to_string())
    })?;
    Ok(Item {
        task: row.task.unwrap_or_else(|| WORK.to_owned()),
        prompt: row.prompt,
        options: row.options,
        answer,
    })
}

/// Paragraphs of plain text, gathered into chapters of some forty lines.
fn chapters_of_text(text: &str) -> Vec<Chapter> {
    let mut chapters: Vec<Chapter> = Vec::new();
    let mut lines: Vec<String> = Vec::new();
    let mut close = |lines: &mut Vec<String>| {
        if !lines.is_empty() {
            let number = chapters.len() + 1;
            chapters.push(Chapter::of_work(WORK, WORK, number, std::mem::take(lines)));
        }
    };
    for line in text.lines() {
        if line.trim().is_empty() {
            if lines.len() >= CHAPTER_LINES {
                close(&mut lines);
            }
        } else {
            // A text without blank lines is cut, too.
            if lines.len() >= 2 * CHAPTER_LINES {
                close(&mut lines);
            }
            lines.extend(lines_of(line));
        }
    }
    close(&mut lines);
    chapters
}

/// Lines of a document: spaces collapsed, long lines broken between words.
fn lines_of(text: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        lines.extend(words.chunks(LINE_WORDS).map(|chunk| chunk.join(" ")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(text: &str, suffix: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::Builder::new().suffix(suffix).tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    fn refused(text: &str, suffix: &str) -> String {
        read(file(text, suffix).path()).unwrap_err().to_string()
    }

    #[test]
    fn a_text_becomes_chapters() {
        let text: String =
            (0..60).map(|p| format!("Paragraph {p}. {}\n\n", "word and word ".repeat(80))).collect();
        let OwnData::Text(chapters) = read(file(&text, ".txt").path()).unwrap() else { panic!() };
        assert!(chapters.len() >= 2);
        assert!(chapters.iter().all(|c| c.lines.iter().all(|l| l.split(' ').count() <= LINE_WORDS)));
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let all: Vec<String> = chapters.iter().flat_map(|c| &c.lines).flat_map(|l| words(l)).collect();
        assert_eq!(all, words(&text));
    }

    #[test]
    fn json_lines_of_text_are_documents() {
        let line = format!("{{\"text\": \"{}\"}}\n", "a word of text ".repeat(200));
        let OwnData::Text(chapters) = read(file(&line.repeat(20), ".jsonl").path()).unwrap() else {
            panic!()
        };
        assert_eq!(chapters.len(), 20);
    }

    #[test]
    fn tasks_are_read_and_stand_together() {
        let text = concat!(
            "{\"prompt\": \"p\", \"options\": [\"a\", \"b\"], \"answer\": 1, \"task\": \"one\"}\n\n",
            "{\"prompt\": \"q\", \"options\": [\"a\", \"b\", \"c\"], \"answer\": 2}\n",
            "{\"prompt\": \"r\", \"options\": [\"a\", \"b\"], \"answer\": 0, \"task\": \"one\"}\n",
        );
        let OwnData::Tasks(items) = read(file(text, ".jsonl").path()).unwrap() else { panic!() };
        let tasks: Vec<(&str, usize)> = items.iter().map(|i| (i.task.as_str(), i.answer)).collect();
        assert_eq!(tasks, [("one", 1), ("one", 0), ("own", 2)]);
    }

    /// Every error names the file, the line, what was wrong and what would be right.
    #[test]
    fn what_is_wrong_is_said() {
        let task = |options: &str, answer: &str| {
            format!("\n{{\"prompt\": \"p\", \"options\": {options}, \"answer\": {answer}}}\n")
        };
        for (text, suffix, wanted) in [
            ("too short".to_owned(), ".txt", "at least 50000 characters of text, got 9"),
            (task("[\"a\"]", "0"), ".jsonl", ":2, options: wanted at least two, got 1"),
            (task("[\"a\", \"b\"]", "2"), ".jsonl", ":2, answer: wanted an index from 0 to 1, got 2"),
            (task("[\"a\", \"b\"]", "-1"), ".jsonl", ":2, answer: wanted an index from 0 to 1, got -1"),
            (task("[\"a\", \"\"]", "0"), ".jsonl", "options that are not empty"),
            ("{\"prompt\": \"p\"}".to_owned(), ".jsonl", ":1: wanted {\"prompt\""),
            ("{\"txt\": \"p\"}".to_owned(), ".jsonl", ":1: wanted either `text` or `prompt`"),
            ("{\"text\": \"p\", \"more\": 1}".to_owned(), ".jsonl", "unknown field"),
            ("not json".to_owned(), ".jsonl", ":1: wanted a JSON object"),
            (String::new(), ".jsonl", "got none"),
            (format!("{{\"text\": \"p\"}}{}", task("[\"a\", \"b\"]", "0")), ".jsonl", "a mixture"),
            (format!("{{\"text\": \"{}\"}}", "word ".repeat(12_000)), ".jsonl", "at least two documents"),
        ] {
            let error = refused(&text, suffix);
            assert!(error.contains(wanted), "{error}\nwanted {wanted}");
        }
        let mut bytes = tempfile::NamedTempFile::new().unwrap();
        bytes.write_all(&[b'a', 0xff]).unwrap();
        let error = read(bytes.path()).unwrap_err().to_string();
        assert!(error.contains("UTF-8 text, got a byte that is none at position 1"), "{error}");
        assert!(read(Path::new("/no/such/file")).is_err());
    }
}
