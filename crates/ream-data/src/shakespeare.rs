//! Shakespeare's plays and poems in modern spelling, from Project Gutenberg's texts.

use std::fs;
use std::path::Path;

use crate::error::DataError;

/// The files that are no plays.
const POEMS: [&str; 5] = [
    "lovers_complaint_gut",
    "passionate_pilgrim_gut",
    "phoenix_and_the_turtle_gut",
    "rape_of_lucrece_gut",
    "sonnets_gut",
];

/// A play or a book of poems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// The file's name without its ending: `hamlet_gut`.
    pub id: String,
    /// The title as printed: `HAMLET, PRINCE OF DENMARK`.
    pub title: String,
    /// What follows title and author, line by line, without white space at the ends of lines; lines between stanzas are
    /// empty. Stage directions and names of speakers are kept as they stand.
    pub lines: Vec<String>,
}

/// The plays in the folder of the data set `shakespeare`, in the order of their ids.
///
/// # Errors
/// There are none, a file cannot be read, is no UTF-8, holds no text, or a notice of Project Gutenberg's has no end.
pub fn plays(folder: &Path) -> Result<Vec<Work>, DataError> {
    works(folder, |id| !POEMS.contains(&id))
}

/// The books of poems in that folder, in the order of their ids.
///
/// # Errors
/// As for [`plays`].
pub fn poems(folder: &Path) -> Result<Vec<Work>, DataError> {
    works(folder, |id| POEMS.contains(&id))
}

fn works(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<Work>, DataError> {
    let mut ids = Vec::new();
    for entry in fs::read_dir(folder).map_err(DataError::io("read", folder))? {
        let name = entry.map_err(DataError::io("read", folder))?.file_name();
        if let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".txt"))
            && id.ends_with("_gut")
            && wanted(id)
        {
            ids.push(id.to_owned());
        }
    }
    if ids.is_empty() {
        return Err(DataError::format(
            folder,
            "holds no file of Shakespeare's (their names end in `_gut.txt`)",
        ));
    }
    ids.sort_unstable();
    ids.into_iter().map(|id| work(&folder.join(format!("{id}.txt")), id)).collect()
}

fn work(file: &Path, id: String) -> Result<Work, DataError> {
    let bytes = fs::read(file).map_err(DataError::io("read", file))?;
    let text = str::from_utf8(&bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count() as u64;
        DataError::line(file, line, "is not UTF-8")
    })?;
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let body = without_notices(&lines).map_err(|line| {
        DataError::line(file, line, "a notice of Project Gutenberg's without the line that ends it")
    })?;
    let mut rest = body.iter().copied().skip_while(|line| line.is_empty());
    let title = rest.next().ok_or_else(|| DataError::format(file, "holds no text"))?.to_owned();
    let mut rest = rest.skip_while(|line| line.is_empty()).peekable();
    rest.next_if(|line| line.eq_ignore_ascii_case("by William Shakespeare"));
    let mut lines: Vec<String> = rest.skip_while(|line| line.is_empty()).map(str::to_owned).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    Ok(Work { id, title, lines })
}

/// What stands between the notices of Project Gutenberg's; the error is the number of a line of theirs that is left.
fn without_notices<'a, 'b>(lines: &'b [&'a str]) -> Result<&'b [&'a str], u64> {
    // The small print of the older files, the markers of the newer ones.
    let opens = |line: &&str| line.starts_with("*END*THE SMALL PRINT") || line.starts_with("*** START OF");
    let closes =
        |line: &&str| line.starts_with("*** END OF") || line.starts_with("End of the Project Gutenberg");
    let from = lines.iter().rposition(opens).map_or(0, |i| i + 1);
    let to = lines[from..].iter().position(closes).map_or(lines.len(), |i| from + i);
    match lines[from..to].iter().position(|line| line.contains("Project Gutenberg")) {
        Some(i) => Err((from + i + 1) as u64),
        None => Ok(&lines[from..to]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Vec<Work>, DataError> {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x_gut.txt"), text).unwrap();
        fs::write(dir.path().join("x_gut_f.txt"), "THE FOLIO").unwrap();
        fs::write(dir.path().join("sonnets_gut.txt"), "THE SONNETS\nby William Shakespeare\n\n  I\n\nFrom")
            .unwrap();
        assert_eq!(poems(dir.path()).unwrap()[0].lines, ["  I", "", "From"]);
        plays(dir.path())
    }

    #[test]
    fn a_play_is_title_and_lines() {
        let plays = read(b"\nA PLAY  \n\nby William Shakespeare\r\n\n\nACT I\n\n  ANN. Ay. \n\n").unwrap();
        assert_eq!(plays.len(), 1);
        assert_eq!((plays[0].id.as_str(), plays[0].title.as_str()), ("x_gut", "A PLAY"));
        assert_eq!(plays[0].lines, ["ACT I", "", "  ANN. Ay."]);
    }

    #[test]
    fn notices_are_cut() {
        let old = b"Project Gutenberg's Etext\n*END*THE SMALL PRINT! x*END*\nA PLAY\nAy.\nEnd of the Project Gutenberg Etext\nmore";
        assert_eq!(read(old).unwrap()[0].lines, ["Ay."]);
        let new = b"The Project Gutenberg eBook\n*** START OF THE PROJECT\n\nA PLAY\nAy.\n*** END OF THE PROJECT\nmore";
        assert_eq!(read(new).unwrap()[0].lines, ["Ay."]);
        let open = read(b"\nThe Project Gutenberg eBook\nA PLAY\n").unwrap_err().to_string();
        assert!(open.contains("x_gut.txt:2: a notice"), "{open}");
    }

    #[test]
    fn what_is_no_text_is_an_error() {
        assert!(read(b"A\nB\n\xff\n").unwrap_err().to_string().contains("x_gut.txt:3: is not UTF-8"));
        assert!(read(b"\n\n").unwrap_err().to_string().contains("holds no text"));
        let empty = tempfile::tempdir().unwrap();
        assert!(plays(empty.path()).unwrap_err().to_string().contains("holds no file"));
    }
}
