//! Multitask prompted finetuning: twelve families of tasks to train on, seven that training never shows.
//!
//! A family makes a question from lines of text; a template puts it into words. Every family has three templates. Answers are
//! words of the text, parts of it, or yes and no. Training draws from training chapters, the set T of the held-out families
//! from held-out chapters.

use std::collections::BTreeSet;

use ream_rand::{Rng, Stream};

use super::corpus::{Chapter, HeldOut, bare_words};
use super::items::{AROUND, Item, like_length};
use super::vocabulary::Vocabulary;

/// Lines to make questions from.
pub struct Source<'a> {
    /// Lines by chapter, `None` where a line may not be used, with the book of each.
    chapters: Vec<(&'a str, Vec<Option<&'a str>>)>,
    /// Beginnings of lines, to choose wrong ones from.
    beginnings: Vec<&'a str>,
}

impl<'a> Source<'a> {
    /// Of chapters to train on.
    pub fn train(chapters: &'a [Chapter]) -> Self {
        let lines = |c: &'a Chapter| c.lines.iter().map(|line| Some(line.as_str())).collect();
        Self::new(chapters.iter().map(|c| (c.book.as_str(), lines(c))).collect())
    }

    /// Of held-out chapters: only lines that training does not have.
    pub fn held_out(chapters: &'a [HeldOut]) -> Self {
        let lines = |c: &'a HeldOut| c.lines.iter().map(Option::as_deref).collect();
        Self::new(chapters.iter().map(|c| (c.book.as_str(), lines(c))).collect())
    }

    fn new(chapters: Vec<(&'a str, Vec<Option<&'a str>>)>) -> Self {
        let all = chapters.iter().flat_map(|(_, lines)| lines.iter().flatten());
        let beginnings = all.map(|line| beginning(line)).collect();
        Self { chapters, beginnings }
    }

    /// A line with its book.
    fn line(&self, rng: &mut Rng) -> Option<(&'a str, &'a str)> {
        let (book, lines) = self.chapters.get(rng.below(self.chapters.len()))?;
        Some((book, (*lines.get(rng.below(lines.len()))?)?))
    }

    /// `count` neighbouring words of a line, without marks.
    fn piece(&self, count: usize, rng: &mut Rng) -> Option<Vec<&'a str>> {
        let words = bare_words(self.line(rng)?.1);
        let from = rng.below((words.len() + 1).checked_sub(count).filter(|room| *room > 0)?);
        Some(words[from..from + count].to_vec())
    }

    /// `count` neighbouring words, no two alike.
    fn distinct_piece(&self, count: usize, rng: &mut Rng) -> Option<Vec<&'a str>> {
        let piece = self.piece(count, rng)?;
        let keys: BTreeSet<String> = piece.iter().map(|word| word.to_lowercase()).collect();
        (keys.len() == count).then_some(piece)
    }

    /// Words of three letters and more, no two alike.
    fn words(&self, count: usize, rng: &mut Rng) -> Option<Vec<&'a str>> {
        let mut words: Vec<&str> = Vec::new();
        for _ in 0..count {
            let line = bare_words(self.line(rng)?.1);
            let word = *line.get(rng.below(line.len()))?;
            if word.chars().count() < 3 || words.iter().any(|w| w.to_lowercase() == word.to_lowercase()) {
                return None;
            }
            words.push(word);
        }
        Some(words)
    }

    /// A line and the one after it, both cut to their beginnings.
    fn neighbours(&self, rng: &mut Rng) -> Option<(&'a str, &'a str)> {
        let (_, lines) = self.chapters.get(rng.below(self.chapters.len()))?;
        let at = rng.below(lines.len().checked_sub(1)?);
        Some((beginning(lines[at]?), beginning(lines[at + 1]?)))
    }

    fn other_beginnings(&self, right: &str, besides: &str, rng: &mut Rng) -> Option<Vec<String>> {
        // A handful is enough to find three of like length, and cheaper than looking through all.
        let some: Vec<&str> = (0..40)
            .map(|_| self.beginnings[rng.below(self.beginnings.len())])
            .filter(|line| *line != besides)
            .collect();
        let wrong: Vec<String> =
            like_length(&some, right, 3, 10, rng).into_iter().map(|line| format!(" {line}")).collect();
        (wrong.len() == 3).then_some(wrong)
    }
}

/// The first seven words of a line.
fn beginning(line: &str) -> &str {
    line.match_indices(' ').nth(6).map_or(line, |(at, _)| &line[..at])
}

/// A question before it is put into words.
struct Question {
    /// What takes the place of `{a}`, `{b}` and `{c}` in a template.
    fields: Vec<String>,
    right: String,
    wrong: Vec<String>,
}

impl Question {
    fn new(fields: &[&str], right: &str, wrong: Vec<String>) -> Self {
        let fields = fields.iter().map(|field| (*field).to_owned()).collect();
        Self { fields, right: format!(" {right}"), wrong }
    }

    fn yes_or_no(fields: &[&str], yes: bool) -> Self {
        let (right, wrong) = if yes { ("yes", " no") } else { ("no", " yes") };
        Self::new(fields, right, vec![wrong.to_owned()])
    }
}

/// Makes a question of some lines, or none of others. The side is the answer of a yes-or-no question: it alternates, because a
/// draw that gives no question is repeated, and one answer may be harder to come by than the other.
type Make = fn(&Source<'_>, Side, &mut Rng) -> Option<Question>;

/// The answer that a yes-or-no question must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Yes,
    No,
}

/// A family of tasks.
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// Three ways to ask; `{a}`, `{b}`, `{c}` stand for what the question is about.
    pub templates: [&'static str; 3],
    make: Make,
}

/// Families that finetuning trains on.
pub const TRAINED: [Family; 12] = [
    Family {
        name: "first-word",
        templates: ["{a}\nFirst word:", "What is the first word of: {a}\nAnswer:", "Begin of \"{a}\" is"],
        make: |source, _, rng| {
            let n = 4 + rng.below(5);
            word_of(source, rng, n, 0)
        },
    },
    Family {
        name: "last-word",
        templates: ["{a}\nLast word:", "What is the last word of: {a}\nAnswer:", "\"{a}\" ends with"],
        make: |source, _, rng| {
            let n = 4 + rng.below(5);
            word_of(source, rng, n, n - 1)
        },
    },
    Family {
        name: "third-word",
        templates: [
            "{a}\nThird word:",
            "What is the third word of: {a}\nAnswer:",
            "Word three in \"{a}\" is",
        ],
        make: |source, _, rng| {
            let n = 4 + rng.below(5);
            word_of(source, rng, n, 2)
        },
    },
    Family {
        name: "copy",
        templates: ["{a}\nThe same again:", "Copy: {a}\nAnswer:", "Say after me \"{a}\":"],
        make: |source, _, rng| {
            let text = some_words(source, rng)?.join(" ");
            Some(Question::new(&[&text], &text, Vec::new()))
        },
    },
    Family {
        name: "lower-case",
        templates: ["{a}\nIn small letters:", "Make lower case: {a}\nAnswer:", "Without capitals \"{a}\":"],
        make: |source, _, rng| {
            let text = some_words(source, rng)?.join(" ");
            Some(Question::new(&[&text], &text.to_lowercase(), Vec::new()))
        },
    },
    Family {
        name: "contains-word",
        templates: ["{a}\nDoes it have the word {b}?", "Is {b} a word of: {a}\nAnswer:", "\"{a}\" says {b}:"],
        make: |source, side, rng| {
            let words = some_words(source, rng)?;
            let inside = side == Side::Yes;
            let word = if inside { words[rng.below(words.len())] } else { source.words(1, rng)?[0] };
            let there = words.iter().any(|w| w.to_lowercase() == word.to_lowercase());
            (there == inside).then(|| Question::yes_or_no(&[&words.join(" "), word], inside))
        },
    },
    Family {
        name: "same-book",
        templates: [
            "{a}\n{b}\nFrom the same book?",
            "Are both from one book: {a} / {b}\nAnswer:",
            "\"{a}\" and \"{b}\" share a book:",
        ],
        make: same_book,
    },
    Family {
        name: "longer-of-two",
        templates: [
            "{a} or {b}\nThe longer word:",
            "Which is longer: {a}, {b}\nAnswer:",
            "More letters, {a} or {b}:",
        ],
        make: |source, _, rng| length_of_two(source, rng, true),
    },
    Family {
        name: "first-of-three",
        templates: [
            "{a}, {b}, {c}\nFirst in the alphabet:",
            "Which comes first in a dictionary: {a}, {b}, {c}\nAnswer:",
            "Sort {a}, {b}, {c} and take the first:",
        ],
        make: |source, _, rng| order_of_three(source, rng, 0),
    },
    Family {
        name: "word-count",
        templates: ["{a}\nHow many words?", "Count the words of: {a}\nAnswer:", "\"{a}\" is so long:"],
        make: |source, _, rng| {
            let count = 2 + rng.below(9);
            let text = source.piece(count, rng)?.join(" ");
            let buckets = ["two to four", "five to seven", "eight or more"];
            let right = if count < 5 { 0 } else { 1 + usize::from(count > 7) };
            let wrong = (0..3).filter(|b| *b != right).map(|b| format!(" {}", buckets[b])).collect();
            Some(Question::new(&[&text], buckets[right], wrong))
        },
    },
    Family {
        name: "swap-two",
        templates: [
            "{a}\nWith the first two words swapped:",
            "Swap words one and two of: {a}\nAnswer:",
            "Change places of the first two in \"{a}\":",
        ],
        make: |source, _, rng| {
            let words = some_words(source, rng)?;
            let mut swapped = words.clone();
            swapped.swap(0, 1);
            Some(Question::new(&[&words.join(" ")], &swapped.join(" "), Vec::new()))
        },
    },
    Family {
        name: "next-verse",
        templates: [
            "{a}\nThe next verse begins:",
            "What comes after: {a}\nAnswer:",
            "\"{a}\" is followed by",
        ],
        make: |source, _, rng| {
            let (this, next) = source.neighbours(rng)?;
            Some(Question::new(&[this], next, source.other_beginnings(next, this, rng)?))
        },
    },
];

/// Families that finetuning never shows: the set T.
pub const HELD_OUT: [Family; 7] = [
    Family {
        name: "second-last-word",
        templates: [
            "{a}\nThe word before the last:",
            "What is the second last word of: {a}\nAnswer:",
            "Last but one in \"{a}\" is",
        ],
        make: |source, _, rng| {
            let n = 5 + rng.below(4);
            word_of(source, rng, n, n - 2)
        },
    },
    Family {
        name: "middle-word",
        templates: [
            "{a}\nMiddle word:",
            "What is the middle word of: {a}\nAnswer:",
            "In the middle of \"{a}\" is",
        ],
        make: |source, _, rng| {
            let n = 5 + 2 * rng.below(2);
            word_of(source, rng, n, n / 2)
        },
    },
    Family {
        name: "contains-letter",
        templates: [
            "{a}\nDoes it have the letter {b}?",
            "Is {b} a letter of: {a}\nAnswer:",
            "\"{a}\" is spelt with {b}:",
        ],
        make: |source, side, rng| {
            let word = source.words(1, rng)?[0];
            let inside = side == Side::Yes;
            let letters: Vec<char> = word.to_lowercase().chars().collect();
            // A letter that is absent is drawn as often as texts use it, like one that is present.
            let from = if inside {
                letters.clone()
            } else {
                source.words(1, rng)?[0].to_lowercase().chars().collect()
            };
            let letter = from[rng.below(from.len())];
            (letters.contains(&letter) == inside)
                .then(|| Question::yes_or_no(&[word, &letter.to_string()], inside))
        },
    },
    Family {
        name: "is-shuffled",
        templates: [
            "{a}\nAre these words out of order?",
            "Was this shuffled: {a}\nAnswer:",
            "\"{a}\" is mixed up:",
        ],
        make: |source, side, rng| {
            let words = some_words(source, rng)?;
            let shuffled = side == Side::Yes;
            let mut order = words.clone();
            if shuffled {
                rng.shuffle(&mut order);
            }
            ((order != words) == shuffled).then(|| Question::yes_or_no(&[&order.join(" ")], shuffled))
        },
    },
    Family {
        name: "shorter-of-two",
        templates: [
            "{a} or {b}\nThe shorter word:",
            "Which is shorter: {a}, {b}\nAnswer:",
            "Fewer letters, {a} or {b}:",
        ],
        make: |source, _, rng| length_of_two(source, rng, false),
    },
    Family {
        name: "last-of-three",
        templates: [
            "{a}, {b}, {c}\nLast in the alphabet:",
            "Which comes last in a dictionary: {a}, {b}, {c}\nAnswer:",
            "Sort {a}, {b}, {c} and take the last:",
        ],
        make: |source, _, rng| order_of_three(source, rng, 2),
    },
    Family {
        name: "previous-verse",
        templates: [
            "{a}\nThe verse before begins:",
            "What comes before: {a}\nAnswer:",
            "\"{a}\" is preceded by",
        ],
        make: |source, _, rng| {
            let (before, this) = source.neighbours(rng)?;
            Some(Question::new(&[this], before, source.other_beginnings(before, this, rng)?))
        },
    },
];

/// Four to eight words.
fn some_words<'a>(source: &Source<'a>, rng: &mut Rng) -> Option<Vec<&'a str>> {
    let count = 4 + rng.below(5);
    source.distinct_piece(count, rng)
}

/// Three other words of a text.
fn others_of(words: &[&str], at: usize, rng: &mut Rng) -> Vec<String> {
    let mut others: Vec<String> =
        (0..words.len()).filter(|i| *i != at).map(|i| format!(" {}", words[i])).collect();
    rng.shuffle(&mut others);
    others.truncate(3);
    others
}

fn word_of(source: &Source<'_>, rng: &mut Rng, count: usize, at: usize) -> Option<Question> {
    let words = source.distinct_piece(count, rng)?;
    Some(Question::new(&[&words.join(" ")], words[at], others_of(&words, at, rng)))
}

fn length_of_two(source: &Source<'_>, rng: &mut Rng, longer: bool) -> Option<Question> {
    let words = source.words(2, rng)?;
    let [a, b] = [words[0].chars().count(), words[1].chars().count()];
    let right = if (a > b) == longer { 0 } else { 1 };
    // A difference of one letter is a quibble.
    (a.abs_diff(b) >= 2).then(|| Question::new(&words, words[right], vec![format!(" {}", words[1 - right])]))
}

fn order_of_three(source: &Source<'_>, rng: &mut Rng, rank: usize) -> Option<Question> {
    let words = source.words(3, rng)?;
    let mut sorted: Vec<usize> = (0..3).collect();
    sorted.sort_by_key(|i| words[*i].to_lowercase());
    let wrong = sorted.iter().filter(|i| **i != sorted[rank]).map(|i| format!(" {}", words[*i])).collect();
    Some(Question::new(&words, words[sorted[rank]], wrong))
}

fn same_book(source: &Source<'_>, side: Side, rng: &mut Rng) -> Option<Question> {
    let (book, line) = source.line(rng)?;
    let same = side == Side::Yes;
    let (other_book, other) = source.line(rng)?;
    let (other_book, other) = if same && other_book != book {
        let chapters: Vec<usize> =
            (0..source.chapters.len()).filter(|i| source.chapters[*i].0 == book).collect();
        let (_, lines) = &source.chapters[chapters[rng.below(chapters.len())]];
        (book, (*lines.get(rng.below(lines.len()))?)?)
    } else {
        (other_book, other)
    };
    ((book == other_book) == same && line != other)
        .then(|| Question::yes_or_no(&[beginning(line), beginning(other)], same))
}

/// A template with its question.
fn put(template: &str, fields: &[String]) -> String {
    let mut text = template.to_owned();
    for (name, field) in ["{a}", "{b}", "{c}"].into_iter().zip(fields) {
        text = text.replacen(name, field, 1);
    }
    text
}

/// Questions of some families in turn, under their templates in turn.
pub struct Mixture<'a> {
    families: &'static [Family],
    source: Source<'a>,
    vocabulary: &'a Vocabulary,
    context: usize,
    stream: Stream,
}

impl<'a> Mixture<'a> {
    /// What finetuning trains on; a question fits into `context` tokens with all that goes around it.
    pub fn trained(
        chapters: &'a [Chapter],
        vocabulary: &'a Vocabulary,
        context: usize,
        stream: Stream,
    ) -> Self {
        Self { families: &TRAINED, source: Source::train(chapters), vocabulary, context, stream }
    }

    /// What it is judged on.
    pub fn held_out(
        chapters: &'a [HeldOut],
        vocabulary: &'a Vocabulary,
        context: usize,
        stream: Stream,
    ) -> Self {
        Self { families: &HELD_OUT, source: Source::held_out(chapters), vocabulary, context, stream }
    }

    /// One draw of question `index` of a family: nothing when the draw is no question, or too long.
    fn draw(&self, family: usize, index: u64, draw: u64) -> Option<Item> {
        let mut rng = self.stream.child(family as u64).child(index).at(draw);
        let family = &self.families[family];
        let template = family.templates[rng.below(3)];
        let side = if index.is_multiple_of(2) { Side::Yes } else { Side::No };
        let question = (family.make)(&self.source, side, &mut rng)?;
        let prompt = put(template, &question.fields);
        let item = if question.wrong.is_empty() {
            // Nothing to choose from: only ever trained on.
            Item { task: family.name.to_owned(), prompt, options: vec![question.right], answer: 0 }
        } else {
            Item::new(family.name, prompt, question.right, question.wrong, &mut rng)?
        };
        (item.tokens(self.vocabulary) + AROUND <= self.context).then_some(item)
    }

    /// Question `index`: families take turns. Nothing when the text gives none of this family within many draws.
    pub fn item(&self, index: u64) -> Option<Item> {
        let families = self.families.len() as u64;
        let family = (index % families) as usize;
        (0..200).find_map(|draw| self.draw(family, index / families, draw))
    }

    /// `count` questions of each family, no prompt twice; fewer where the text does not give them.
    pub fn items(&self, count: usize) -> Vec<Item> {
        let families = self.families.len() as u64;
        let mut all = Vec::new();
        for family in 0..families {
            let (mut found, mut seen) = (0, BTreeSet::new());
            for index in 0..4 * count as u64 {
                if found == count {
                    break;
                }
                if let Some(item) = self.item(index * families + family)
                    && seen.insert(item.prompt.clone())
                {
                    all.push(item);
                    found += 1;
                }
            }
        }
        all
    }
}

/// What the held-out set shares with training; zeros, or its scores are void.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overlap {
    /// Families under one name.
    pub families: usize,
    /// Templates in the same words.
    pub templates: usize,
    /// Prompts in the same words.
    pub prompts: usize,
}

/// Compares held-out items with those trained on.
pub fn overlap<'a>(trained: impl IntoIterator<Item = &'a Item>, held_out: &[Item]) -> Overlap {
    let (mut names, mut prompts) = (BTreeSet::new(), BTreeSet::new());
    for item in trained {
        names.insert(item.task.as_str());
        prompts.insert(item.prompt.as_str());
    }
    let templates: BTreeSet<&str> = TRAINED.iter().flat_map(|family| family.templates).collect();
    let held: BTreeSet<&str> = held_out.iter().map(|item| item.task.as_str()).collect();
    Overlap {
        families: held.iter().filter(|name| names.contains(*name)).count(),
        templates: HELD_OUT.iter().flat_map(|f| f.templates).filter(|t| templates.contains(t)).count(),
        prompts: held_out.iter().filter(|item| prompts.contains(item.prompt.as_str())).count(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::corpus::{Corpus, tests::sample};
    use super::super::vocabulary::Bytes;
    use super::*;

    struct Made {
        corpus: Corpus,
        vocabulary: Vocabulary,
    }

    fn made() -> Made {
        let corpus = Corpus::split(sample(6, 20), 0.1, Stream::new(1, "split")).unwrap();
        Made { corpus, vocabulary: Vocabulary::new(Box::new(Bytes::default()), 8) }
    }

    impl Made {
        fn trained(&self) -> Mixture<'_> {
            Mixture::trained(&self.corpus.train, &self.vocabulary, 240, Stream::new(1, "mixture"))
        }
        fn held_out(&self) -> Mixture<'_> {
            Mixture::held_out(&self.corpus.held_out, &self.vocabulary, 240, Stream::new(1, "held out"))
        }
    }

    fn words(text: &str) -> Vec<&str> {
        text.split_whitespace().collect()
    }

    /// The text of a question under its first two templates: the first line, or what stands before "\nAnswer:".
    fn text_of(item: &Item) -> Option<&str> {
        if let Some(head) = item.prompt.strip_suffix("\nAnswer:") {
            return head.split_once(": ").map(|(_, text)| text);
        }
        item.prompt.split_once('\n').map(|(text, _)| text)
    }

    fn right(item: &Item) -> &str {
        item.options[item.answer].trim()
    }

    #[test]
    fn answers_are_right() {
        let made = made();
        let mut checked = BTreeSet::new();
        let all = made.trained().items(40).into_iter().chain(made.held_out().items(40));
        for item in all {
            let Some(text) = text_of(&item) else { continue };
            let w = words(text);
            let right = right(&item);
            let options: Vec<&str> = item.options.iter().map(|o| o.trim()).collect();
            match item.task.as_str() {
                "first-word" => assert_eq!(right, w[0]),
                "last-word" => assert_eq!(right, w[w.len() - 1]),
                "third-word" => assert_eq!(right, w[2]),
                "copy" => assert_eq!(right, text),
                "lower-case" => assert_eq!(right, text.to_lowercase()),
                "swap-two" => {
                    let mut swapped = w.clone();
                    swapped.swap(0, 1);
                    assert_eq!(right, swapped.join(" "));
                }
                "word-count" => {
                    let bucket = match w.len() {
                        0..5 => "two to four",
                        5..8 => "five to seven",
                        _ => "eight or more",
                    };
                    assert_eq!(right, bucket);
                }
                "second-last-word" => assert_eq!((right, options.len()), (w[w.len() - 2], 4)),
                "middle-word" => assert_eq!((right, options.len(), w.len() % 2), (w[w.len() / 2], 4, 1)),
                "longer-of-two" => assert!(options.iter().all(|o| o.len() <= right.len())),
                "shorter-of-two" => assert!(options.iter().all(|o| o.len() >= right.len())),
                "first-of-three" => {
                    assert_eq!(options.len(), 3);
                    assert!(options.iter().all(|o| o.to_lowercase() >= right.to_lowercase()));
                }
                "last-of-three" => {
                    assert_eq!(options.len(), 3);
                    assert!(options.iter().all(|o| o.to_lowercase() <= right.to_lowercase()));
                }
                "contains-letter" => {
                    let Some((_, letter)) = item.prompt.split_once("letter ") else { continue };
                    let Some(letter) = letter.strip_suffix('?') else { continue };
                    assert_eq!(text.to_lowercase().contains(letter), right == "yes", "{item:?}");
                }
                _ => continue,
            }
            checked.insert(item.task);
        }
        assert_eq!(checked.len(), 14, "{checked:?}");
    }

    #[test]
    fn neighbours_are_neighbours_and_books_are_books() {
        let made = made();
        let lines: Vec<Vec<&str>> = made
            .corpus
            .held_out
            .iter()
            .map(|c| c.lines.iter().flatten().map(|l| beginning(l)).collect())
            .collect();
        for item in made.held_out().items(60).iter().filter(|i| i.task == "previous-verse") {
            let Some(text) = text_of(item) else { continue };
            let there = lines.iter().any(|c| c.windows(2).any(|p| p[0] == right(item) && p[1] == text));
            assert!(there, "{item:?}");
            assert_eq!(item.options.len(), 4);
        }
        let train = made.trained().items(60);
        let same: Vec<&Item> = train.iter().filter(|i| i.task == "same-book").collect();
        let yes = same.iter().filter(|i| right(i) == "yes").count();
        assert!((25..=35).contains(&yes), "{yes} of {}", same.len());
    }

    /// Held-out families appear in training under no template, no prompt is shared, and a shared prompt would be counted.
    #[test]
    fn training_never_shows_the_held_out_families() {
        let made = made();
        let (trained, mut held_out) = (made.trained().items(60), made.held_out().items(60));
        assert_eq!(overlap(&trained, &held_out), Overlap::default());
        held_out.push(trained[0].clone());
        assert_eq!(overlap(&trained, &held_out), Overlap { families: 1, templates: 0, prompts: 1 });
        let names: BTreeSet<&str> = TRAINED.iter().chain(&HELD_OUT).map(|f| f.name).collect();
        assert_eq!(names.len(), 19);
    }

    /// Yes and no are as frequent: always saying one of them is guessing.
    #[test]
    fn yes_and_no_are_balanced() {
        let made = made();
        let all = [made.trained().items(100), made.held_out().items(100)].concat();
        for family in ["contains-word", "same-book", "contains-letter", "is-shuffled"] {
            let of: Vec<&Item> = all.iter().filter(|i| i.task == family).collect();
            let yes = of.iter().filter(|i| right(i) == "yes").count();
            assert!(
                of.len() > 80 && (2 * yes).abs_diff(of.len()) <= of.len() / 10,
                "{family}: {yes} of {}",
                of.len()
            );
        }
    }

    #[test]
    fn families_take_turns_and_use_all_their_templates() {
        let made = made();
        let mixture = made.trained();
        let items: Vec<Item> = (0..360).filter_map(|index| mixture.item(index)).collect();
        assert_eq!(items.len(), 360);
        for (at, family) in TRAINED.iter().enumerate() {
            let of: Vec<&Item> = items.iter().skip(at).step_by(12).collect();
            assert!(of.iter().all(|i| i.task == family.name));
            for template in family.templates {
                let (head, tail) = (template.split('{').next(), template.rsplit('}').next());
                let used = of.iter().any(|item| {
                    item.prompt.starts_with(head.unwrap()) && item.prompt.ends_with(tail.unwrap())
                });
                assert!(used, "{}: {template}", family.name);
            }
        }
    }

    #[test]
    fn held_out_items_use_only_fresh_lines_of_held_out_chapters() {
        let made = made();
        let held: String =
            made.corpus.held_out.iter().flat_map(HeldOut::fresh).map(|l| bare_words(l).join(" ")).collect();
        let items = made.held_out().items(20);
        assert_eq!(items.len(), 140);
        for item in items.iter().filter(|i| ["second-last-word", "middle-word"].contains(&i.task.as_str())) {
            if let Some(text) = text_of(item) {
                assert!(held.contains(text), "{text}");
            }
        }
    }
}
