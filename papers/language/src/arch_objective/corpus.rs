//! Texts by chapter: which are held out, in what order the others are read, and what the held-out ones have fresh.

use std::collections::{BTreeMap, BTreeSet};

use ream_lab::Invalid;
use ream_rand::Stream;

/// A chapter of a work: verses of a Bible, lines of a scene, paragraphs of the user's own text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chapter {
    /// Which work, for instance `kjv`.
    pub work: String,
    /// Which book or play.
    pub book: String,
    /// What it has in common with chapters of other works: two translations of one chapter have the same group, and are
    /// held out together.
    pub group: String,
    /// Its lines in order; none is blank.
    pub lines: Vec<String>,
}

impl Chapter {
    /// A chapter of a book of the Bible, grouped with the same chapter of other translations.
    pub fn of_bible(work: &str, book: &str, number: usize, lines: Vec<String>) -> Self {
        Self { work: work.to_owned(), book: book.to_owned(), group: format!("{book} {number}"), lines }
    }

    /// A part of another work, in a group of its own.
    pub fn of_work(work: &str, book: &str, number: usize, lines: Vec<String>) -> Self {
        let group = format!("{work}: {book} {number}");
        Self { work: work.to_owned(), book: book.to_owned(), group, lines }
    }
}

/// A held-out chapter: lines that also stand in a training chapter are gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldOut {
    /// Which work.
    pub work: String,
    /// Which book or play.
    pub book: String,
    /// Lines in order, `None` where training has the same line.
    pub lines: Vec<Option<String>>,
}

impl HeldOut {
    /// Lines that training does not have.
    pub fn fresh(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().flatten().map(String::as_str)
    }

    /// Neighbouring lines that training has neither of.
    pub fn pairs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines.windows(2).filter_map(|pair| Some((pair[0].as_deref()?, pair[1].as_deref()?)))
    }
}

/// Chapters to train on, in the order in which every model reads them, and chapters to judge on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    /// Training chapters.
    pub train: Vec<Chapter>,
    /// Held-out chapters.
    pub held_out: Vec<HeldOut>,
    /// Held-out lines that were dropped because training has them too.
    pub copied: usize,
}

/// What tells two lines apart: letters and digits alone, in lower case.
pub fn line_key(line: &str) -> String {
    line.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

impl Corpus {
    /// Holds out a share of the groups of each work, at least one, and shuffles the others by chapter.
    ///
    /// # Errors
    /// Fewer than two groups of chapters in a work.
    pub fn split(chapters: Vec<Chapter>, share: f64, stream: Stream) -> Result<Self, Invalid> {
        let held = held_out_groups(&chapters, share, stream.child(0))?;
        let (mut held_out, mut train): (Vec<Chapter>, Vec<Chapter>) =
            chapters.into_iter().partition(|chapter| held.contains(&chapter.group));
        stream.child(1).at(0).shuffle(&mut train);
        // What is measured on the first of them should be of all works.
        stream.child(2).at(0).shuffle(&mut held_out);
        let seen: BTreeSet<String> =
            train.iter().flat_map(|chapter| &chapter.lines).map(|line| line_key(line)).collect();
        let mut copied = 0;
        let held_out = held_out
            .into_iter()
            .map(|chapter| {
                let lines = chapter.lines.into_iter().map(|line| {
                    let fresh = !seen.contains(&line_key(&line));
                    copied += usize::from(!fresh);
                    fresh.then_some(line)
                });
                HeldOut { work: chapter.work, book: chapter.book, lines: lines.collect() }
            })
            .collect();
        Ok(Self { train, held_out, copied })
    }

    /// Held-out lines that stand in a training chapter: 0 by construction, counted anew for the report.
    pub fn overlap(&self) -> usize {
        let seen: BTreeSet<String> =
            self.train.iter().flat_map(|chapter| &chapter.lines).map(|line| line_key(line)).collect();
        self.held_out.iter().flat_map(HeldOut::fresh).filter(|line| seen.contains(&line_key(line))).count()
    }

    /// Text of a training chapter: its lines, each on its own line.
    pub fn text(chapter: &Chapter) -> String {
        chapter.lines.join("\n")
    }
}

/// Groups to hold out, drawn among the groups of each work in turn, so that every work has some.
fn held_out_groups(chapters: &[Chapter], share: f64, stream: Stream) -> Result<BTreeSet<String>, Invalid> {
    let mut works: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for chapter in chapters {
        works.entry(&chapter.work).or_default().insert(&chapter.group);
    }
    if works.is_empty() {
        return Err(Invalid::new("text", "at least two chapters", "none"));
    }
    let mut held: BTreeSet<String> = BTreeSet::new();
    for (index, (work, groups)) in works.into_iter().enumerate() {
        if groups.len() < 2 {
            return Err(Invalid::new(
                format!("text `{work}`"),
                "at least two chapters",
                groups.len().to_string(),
            ));
        }
        let wanted = (libm::round(share * groups.len() as f64) as usize).clamp(1, groups.len() - 1);
        // What another work of the same group already holds out counts.
        let (already, mut others): (Vec<&str>, Vec<&str>) =
            groups.into_iter().partition(|group| held.contains(*group));
        stream.at(index as u64).shuffle(&mut others);
        held.extend(others.into_iter().take(wanted.saturating_sub(already.len())).map(str::to_owned));
    }
    Ok(held)
}

/// What is left of a word without the marks around it.
pub fn bare(word: &str) -> &str {
    word.trim_matches(|c: char| !c.is_alphanumeric())
}

/// Words of a line without marks around them.
pub fn bare_words(line: &str) -> Vec<&str> {
    line.split_whitespace().map(bare).filter(|word| !word.is_empty()).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Chapters of made-up verses: two translations of `books` x `chapters`, and a play, all of English-like words.
    pub(in super::super) fn sample(books: usize, chapters: usize) -> Vec<Chapter> {
        const WORDS: [&str; 24] = [
            "the", "and", "of", "king", "Israel", "spake", "unto", "house", "people", "mountain", "water",
            "bread", "servant", "father", "daughter", "heaven", "great", "came", "to", "pass", "when",
            "brethren", "saying", "journey",
        ];
        let line = |rng: &mut ream_rand::Rng, pronoun: &str| {
            let n = 7 + rng.below(9);
            let mut words: Vec<&str> = (0..n).map(|_| WORDS[rng.below(WORDS.len())]).collect();
            words.insert(n / 2, pronoun);
            format!("{}.", words.join(" "))
        };
        let mut all = Vec::new();
        for (w, (work, forms)) in
            [("kjv", ["thou art", "he hath", "thou hast"]), ("web", ["you are", "he has", "they were"])]
                .into_iter()
                .enumerate()
        {
            for book in 0..books {
                for number in 1..=chapters {
                    let stream = Stream::new(w as u64, "sample").child(book as u64);
                    let mut rng = stream.at(number as u64);
                    let lines = (0..14).map(|at| line(&mut rng, forms[at % 3])).collect();
                    all.push(Chapter::of_bible(work, &format!("Book{book}"), number, lines));
                }
            }
        }
        for number in 1..=chapters {
            let mut rng = Stream::new(9, "sample").at(number as u64);
            let lines = (0..14).map(|_| line(&mut rng, "my lord")).collect();
            all.push(Chapter::of_work("shakespeare", "Play", number, lines));
        }
        all
    }

    #[test]
    fn chapters_are_held_out_together_and_nothing_of_them_is_trained_on() {
        let mut chapters = sample(4, 20);
        // One verse stands in every chapter, as formulas do in the Bible.
        for chapter in &mut chapters {
            chapter.lines.push("And the LORD spake unto Moses, saying,".to_owned());
        }
        let all = chapters.len();
        let corpus = Corpus::split(chapters, 0.05, Stream::new(1, "split")).unwrap();
        assert_eq!(corpus.train.len() + corpus.held_out.len(), all);
        // 5 % of 80 groups in both translations, and one of 20 scenes.
        assert_eq!(corpus.held_out.len(), 9);
        for work in ["kjv", "web", "shakespeare"] {
            assert!(corpus.held_out.iter().any(|c| c.work == work), "{work}");
        }
        let trained: BTreeSet<&str> = corpus.train.iter().map(|c| c.group.as_str()).collect();
        assert_eq!(trained.len(), 76 + 19);
        assert_eq!((corpus.copied, corpus.overlap()), (9, 0));
        assert!(corpus.held_out.iter().all(|c| c.lines.last() == Some(&None)));
    }

    #[test]
    fn the_order_is_one_for_a_seed_and_whole_chapters_move() {
        let split = |seed| Corpus::split(sample(3, 10), 0.1, Stream::new(seed, "split")).unwrap();
        assert_eq!(split(1), split(1));
        assert_ne!(split(1).train, split(2).train);
        let chapters = sample(3, 10);
        assert!(split(1).train.iter().all(|c| chapters.contains(c)));
    }

    #[test]
    fn a_text_of_one_chapter_is_refused() {
        let one = vec![Chapter::of_work("own", "text", 1, vec!["a line".to_owned()])];
        let error = Corpus::split(one, 0.05, Stream::new(1, "split")).unwrap_err();
        assert!(error.to_string().contains("at least two chapters"), "{error}");
    }
}
