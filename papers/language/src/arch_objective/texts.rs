//! The built-in texts: two English Bibles and Shakespeare's plays, by chapter.

use std::path::Path;

use ream_data::{shakespeare, sword::Bible};
use ream_lab::{Error, Result, Run};
use ream_lm::Bpe;

use super::corpus::Chapter;
use super::vocabulary::Codec;

/// Data sets, each with the name of its work.
const BIBLES: [(&str, &str); 2] = [("kjv", "kjv"), ("web-bible", "web")];
/// The data set of the plays.
const PLAYS: &str = "shakespeare";
/// Lines of a part of a play: the files do not mark scenes in one way.
const PART_LINES: usize = 60;

/// Ids of all data sets used.
pub fn data_sets() -> Vec<String> {
    BIBLES.iter().map(|(id, _)| *id).chain([PLAYS]).map(str::to_owned).collect()
}

/// Chapters of all texts.
///
/// # Errors
/// A data set was not fetched, or cannot be read.
pub fn built_in(run: &Run) -> Result<Vec<Chapter>> {
    let mut chapters = Vec::new();
    for (id, work) in BIBLES {
        chapters.extend(bible(&run.data(id)?, work)?);
    }
    chapters.extend(plays(&run.data(PLAYS)?)?);
    Ok(chapters)
}

/// Chapters of a Bible: its verses.
fn bible(folder: &Path, work: &str) -> Result<Vec<Chapter>> {
    let bible = Bible::open(folder)?.canonical();
    let chapters = bible.chapters().map(|(book, number, verses)| {
        let verses = verses.iter().filter(|verse| !verse.is_empty()).cloned().collect();
        Chapter::of_bible(work, &book.id, number, verses)
    });
    Ok(chapters.filter(|chapter| !chapter.lines.is_empty()).collect())
}

/// Parts of plays: their printed lines.
fn plays(folder: &Path) -> Result<Vec<Chapter>> {
    let mut chapters = Vec::new();
    for play in shakespeare::plays(folder)? {
        let lines: Vec<String> = play
            .lines
            .iter()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .filter(|line| !line.is_empty())
            .collect();
        for (number, part) in lines.chunks(PART_LINES).enumerate() {
            chapters.push(Chapter::of_work("shakespeare", &play.id, number + 1, part.to_vec()));
        }
    }
    Ok(chapters)
}

/// A byte-level BPE as tokens of text.
pub struct BpeCodec(Bpe);

impl BpeCodec {
    /// Learns `merges` merges on the first chapters, up to so many characters of them.
    ///
    /// # Errors
    /// The text has too few pairs that occur twice.
    pub fn learn(chapters: &[Chapter], merges: usize, characters: usize) -> Result<Self> {
        let mut left = characters;
        let texts = chapters.iter().flat_map(|chapter| &chapter.lines).take_while(|line| {
            let room = left > 0;
            left = left.saturating_sub(line.chars().count());
            room
        });
        Bpe::train(texts, merges).map(Self).map_err(|error| Error::Input(format!("merges: {error}")))
    }

    /// The merges, which are all there is to know of it.
    pub fn merges(&self) -> &[(u32, u32)] {
        self.0.merges()
    }
}

impl Codec for BpeCodec {
    fn size(&self) -> usize {
        self.0.vocabulary()
    }
    fn encode(&self, text: &str) -> Vec<u32> {
        self.0.encode(text)
    }
    fn bytes(&self, token: u32) -> &[u8] {
        self.0.bytes_of(token).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::super::corpus::tests::sample;
    use super::*;

    #[test]
    fn the_tokenizer_is_learned_and_loses_nothing() {
        let chapters = sample(3, 10);
        let codec = BpeCodec::learn(&chapters, 60, 1_000_000).unwrap();
        assert_eq!((codec.size(), codec.merges().len()), (256 + 60, 60));
        let text = "the king spake unto the people, und sagte: Größe";
        let tokens = codec.encode(text);
        assert!(tokens.len() < text.len());
        let bytes: Vec<u8> = tokens.iter().flat_map(|t| codec.bytes(*t).to_vec()).collect();
        assert_eq!(bytes, text.as_bytes());
        let error = BpeCodec::learn(&chapters[..1], 40_000, 1000).err().unwrap().to_string();
        assert!(error.contains("merges"), "{error}");
    }
}
