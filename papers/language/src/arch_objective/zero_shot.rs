//! The zero-shot set Z: six tasks made from held-out chapters, judged after pretraining alone.
//!
//! | task | prompt | options |
//! |---|---|---|
//! | Z1 | first half of a verse | its second half, 3 second halves of other verses |
//! | Z2 | a verse | the next verse, 3 others |
//! | Z3 | a verse up to the middle of a word | the rest of the word, 3 rests of other words |
//! | Z4 | a verse up to a pronoun | the verb form that agrees (*thou* art), one that does not |
//! | Z5 | the first words of a verse | the other words in order, and shuffled |
//! | Z6 | half a verse, or half a line of a play | a continuation of its kind, one of the other kind |
//!
//! Options of one item are of like length. Long verses are cut to the words next to the seam, so that all of it fits into
//! the context.

use std::collections::BTreeSet;

use ream_rand::{Rng, Stream};

use super::corpus::{HeldOut, bare};
use super::items::{AROUND, Item, like_length};
use super::vocabulary::Vocabulary;

/// Tasks of Z.
pub const TASKS: [&str; 6] = ["z1-half", "z2-next", "z3-word", "z4-agreement", "z5-order", "z6-register"];
/// Most words of a prompt or an option.
const WORDS: usize = 14;
/// Distractors come from so many candidates of nearest length.
const NEAREST: usize = 20;
/// Draws for each item that is wanted.
const TRIES: usize = 60;
/// The work that Z6 sets against the others.
const PLAYS: &str = "shakespeare";

/// Pronoun, the verb that agrees, one that does not.
const AGREEMENT: [(&str, &str, &str); 24] = [
    ("thou", "art", "is"),
    ("thou", "hast", "hath"),
    ("thou", "shalt", "shall"),
    ("thou", "wilt", "will"),
    ("he", "hath", "have"),
    ("he", "is", "art"),
    ("he", "was", "were"),
    ("he", "has", "have"),
    ("she", "hath", "have"),
    ("she", "is", "are"),
    ("she", "was", "were"),
    ("it", "is", "are"),
    ("it", "was", "were"),
    ("I", "am", "is"),
    ("I", "have", "hath"),
    ("I", "was", "were"),
    ("we", "are", "is"),
    ("we", "have", "hath"),
    ("ye", "are", "is"),
    ("ye", "have", "hath"),
    ("you", "are", "is"),
    ("they", "are", "is"),
    ("they", "were", "was"),
    ("they", "have", "hath"),
];

/// What the tasks draw from.
struct Pool<'a> {
    chapters: &'a [HeldOut],
    /// Fresh lines of seven words and more, with the index of their chapter.
    lines: Vec<(usize, &'a str)>,
    /// Second halves of these lines.
    halves: Vec<&'a str>,
    /// Beginnings of all fresh lines.
    beginnings: Vec<&'a str>,
    /// Long words.
    words: Vec<&'a str>,
}

impl<'a> Pool<'a> {
    fn new(chapters: &'a [HeldOut]) -> Self {
        let lines: Vec<(usize, &str)> = chapters
            .iter()
            .enumerate()
            .flat_map(|(at, chapter)| chapter.fresh().map(move |line| (at, line)))
            .filter(|(_, line)| line.split_whitespace().count() >= 7)
            .collect();
        let halves = lines.iter().map(|(_, line)| first_words(halve(line).1, WORDS)).collect();
        let beginnings = lines.iter().map(|(_, line)| first_words(line, WORDS)).collect();
        let words: BTreeSet<&str> = lines
            .iter()
            .flat_map(|(_, line)| line.split_whitespace().map(bare))
            .filter(|word| word.chars().count() >= 6 && word.chars().all(char::is_alphabetic))
            .collect();
        Self { chapters, lines, halves, beginnings, words: words.into_iter().collect() }
    }

    fn line(&self, rng: &mut Rng) -> Option<&'a str> {
        self.lines.get(rng.below(self.lines.len())).map(|(_, line)| *line)
    }

    fn work(&self, line: usize) -> &'a str {
        &self.chapters[self.lines[line].0].work
    }
}

/// A line cut before its middle word: the second half begins with its space.
fn halve(line: &str) -> (&str, &str) {
    let count = line.split_whitespace().count();
    cut_before(line, count / 2)
}

/// A line cut before word `index`, from 0; the second part begins with the space.
fn cut_before(line: &str, index: usize) -> (&str, &str) {
    let mut words = line.char_indices().filter(|(_, c)| c.is_whitespace()).map(|(at, _)| at);
    match index.checked_sub(1).and_then(|i| words.nth(i)) {
        Some(at) => line.split_at(at),
        None => ("", line),
    }
}

/// The first words of a text, with any space before them.
fn first_words(text: &str, most: usize) -> &str {
    let led = text.len() - text.trim_start().len();
    let (head, _) = cut_before(text.trim_start(), most);
    if head.is_empty() { text } else { &text[..led + head.len()] }
}

/// The last words of a text.
fn last_words(text: &str, most: usize) -> &str {
    let count = text.split_whitespace().count();
    if count <= most { text } else { cut_before(text, count - most).1.trim_start() }
}

fn owned(texts: Vec<&str>) -> Vec<String> {
    texts.into_iter().map(str::to_owned).collect()
}

fn half(pool: &Pool<'_>, _: usize, rng: &mut Rng) -> Option<Item> {
    let (first, second) = halve(pool.line(rng)?);
    let right = first_words(second, WORDS);
    let wrong = like_length(&pool.halves, right, 3, NEAREST, rng);
    (wrong.len() == 3).then(|| {
        Item::new(TASKS[0], last_words(first, WORDS).to_owned(), right.to_owned(), owned(wrong), rng)
    })?
}

fn next(pool: &Pool<'_>, _: usize, rng: &mut Rng) -> Option<Item> {
    let chapter = pool.chapters.get(rng.below(pool.chapters.len()))?;
    let pairs: Vec<(&str, &str)> = chapter.pairs().collect();
    let (this, next) = *pairs.get(rng.below(pairs.len()))?;
    let right = first_words(next, WORDS);
    let wrong = like_length(&pool.beginnings, right, 3, NEAREST, rng);
    if wrong.len() < 3 || wrong.contains(&first_words(this, WORDS)) {
        return None;
    }
    // Verses stand on lines of their own, as in training.
    let prompt = format!("{}\n", last_words(this, WORDS));
    Item::new(TASKS[1], prompt, right.to_owned(), owned(wrong), rng)
}

fn word(pool: &Pool<'_>, _: usize, rng: &mut Rng) -> Option<Item> {
    let line = pool.line(rng)?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let at = 2 + rng.below(words.len() - 2);
    let word = bare(words[at]);
    if word.chars().count() < 6 || !word.chars().all(char::is_alphabetic) {
        return None;
    }
    let ending = |word: &str| -> (String, String) {
        let letters: Vec<char> = word.chars().collect();
        let (a, b) = letters.split_at(letters.len() / 2);
        (a.iter().collect(), b.iter().collect())
    };
    let (stem, right) = ending(word);
    let mut endings: Vec<String> = pool
        .words
        .iter()
        .map(|w| ending(w))
        .filter(|(other, e)| *other != stem && *e != right && e.chars().count() == right.chars().count())
        .map(|(_, e)| e)
        .collect();
    endings.sort_unstable();
    endings.dedup();
    rng.shuffle(&mut endings);
    endings.truncate(3);
    let before = words[..at].join(" ");
    // A quotation mark before the word stays where it was.
    let lead: String = words[at].chars().take_while(|c| !c.is_alphanumeric()).collect();
    (endings.len() == 3).then(|| {
        Item::new(TASKS[2], format!("{} {lead}{stem}", last_words(&before, WORDS)), right, endings, rng)
    })?
}

fn agreement(pool: &Pool<'_>, _: usize, rng: &mut Rng) -> Option<Item> {
    let line = pool.line(rng)?;
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut places = Vec::new();
    for at in 1..words.len() {
        for rule in AGREEMENT {
            let same = |word: &str, wanted: &str| bare(word).eq_ignore_ascii_case(wanted);
            // A mark between the two would separate them.
            if words[at - 1].ends_with(char::is_alphabetic)
                && same(words[at - 1], rule.0)
                && same(words[at], rule.1)
            {
                places.push((at, rule));
            }
        }
    }
    let (at, (_, right, wrong)) = *places.get(rng.below(places.len()))?;
    let prompt = last_words(&words[..at].join(" "), WORDS).to_owned();
    Item::new(TASKS[3], prompt, format!(" {right}"), vec![format!(" {wrong}")], rng)
}

fn order(pool: &Pool<'_>, _: usize, rng: &mut Rng) -> Option<Item> {
    let line = first_words(pool.line(rng)?, WORDS);
    let words: Vec<&str> = line.split_whitespace().collect();
    let (head, tail) = words.split_at(3);
    let mut shuffled = tail.to_vec();
    rng.shuffle(&mut shuffled);
    let join = |words: &[&str]| format!(" {}", words.join(" "));
    Item::new(TASKS[4], head.join(" "), join(tail), vec![join(&shuffled)], rng)
}

fn register(pool: &Pool<'_>, nth: usize, rng: &mut Rng) -> Option<Item> {
    let index = rng.below(pool.lines.len());
    // Prompts from plays and from verses take turns: a draw of the wrong kind is drawn again.
    let from_play = nth % 2 == 1;
    if (pool.work(index) == PLAYS) != from_play {
        return None;
    }
    let (first, second) = halve(pool.lines[index].1);
    let right = first_words(second, WORDS);
    let others: Vec<&str> = (0..pool.lines.len())
        .filter(|i| (pool.work(*i) == PLAYS) != from_play)
        .map(|i| pool.halves[i])
        .collect();
    // Equal length: characters may differ by one in twenty.
    let wrong = *like_length(&others, right, 1, 3, rng).first()?;
    let (a, b) = (right.chars().count(), wrong.chars().count());
    (20 * a.abs_diff(b) <= a).then(|| {
        Item::new(
            TASKS[5],
            last_words(first, WORDS).to_owned(),
            right.to_owned(),
            vec![wrong.to_owned()],
            rng,
        )
    })?
}

/// Makes the item after `nth` others of its task, or none of some lines.
type Maker = fn(&Pool<'_>, usize, &mut Rng) -> Option<Item>;

/// Items of all tasks that the chapters can give, at most `count` each, none twice; each fits into `context` tokens with all
/// that goes around it. Tasks without plays or without pronouns have fewer or none.
pub fn items(
    chapters: &[HeldOut],
    count: usize,
    vocabulary: &Vocabulary,
    context: usize,
    stream: Stream,
) -> Vec<Item> {
    let pool = Pool::new(chapters);
    let makers: [Maker; 6] = [half, next, word, agreement, order, register];
    let mut all = Vec::new();
    if pool.lines.is_empty() {
        return all;
    }
    for (task, maker) in makers.into_iter().enumerate() {
        let mut seen = BTreeSet::new();
        let mut found = 0;
        for draw in 0..(TRIES * count) as u64 {
            if found == count {
                break;
            }
            let mut rng = stream.child(task as u64).at(draw);
            let Some(item) = maker(&pool, found, &mut rng) else { continue };
            if item.tokens(vocabulary) + AROUND <= context && seen.insert(item.prompt.clone()) {
                all.push(item);
                found += 1;
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::super::corpus::{Corpus, tests::sample};
    use super::super::vocabulary::Bytes;
    use super::*;

    fn made() -> (Corpus, Vec<Item>) {
        let corpus = Corpus::split(sample(6, 20), 0.1, Stream::new(1, "split")).unwrap();
        let vocabulary = Vocabulary::new(Box::new(Bytes::default()), 8);
        let items = items(&corpus.held_out, 30, &vocabulary, 240, Stream::new(1, "zero-shot"));
        (corpus, items)
    }

    #[test]
    fn every_task_has_its_items_and_its_number_of_options() {
        let (_, items) = made();
        for (task, options) in TASKS.into_iter().zip([4, 4, 4, 2, 2, 2]) {
            let of: Vec<&Item> = items.iter().filter(|i| i.task == task).collect();
            assert_eq!(of.len(), 30, "{task}");
            assert!(of.iter().all(|i| i.options.len() == options && i.answer < options), "{task}");
            // The right option stands everywhere.
            assert!((0..options).all(|at| of.iter().any(|i| i.answer == at)), "{task}");
        }
    }

    /// Scores computed on items copied from training chapters are void: the right continuation is never a training line's.
    #[test]
    fn items_come_from_held_out_lines() {
        let (corpus, items) = made();
        let train: String = corpus.train.iter().map(Corpus::text).collect::<Vec<_>>().join("\n");
        let held: String = corpus.held_out.iter().flat_map(HeldOut::fresh).collect::<Vec<_>>().join("\n");
        for item in items.iter().filter(|i| i.task != TASKS[5]) {
            let whole = format!("{}{}", item.prompt, item.options[item.answer]);
            assert!(held.contains(&whole) || item.task == TASKS[1], "{whole}");
            // Three words in a row may well stand in training too; six of them do not by chance.
            assert!(whole.split_whitespace().count() < 6 || !train.contains(&whole), "{whole}");
        }
    }

    #[test]
    fn the_right_option_completes_the_line() {
        let (corpus, items) = made();
        let lines: BTreeSet<&str> = corpus.held_out.iter().flat_map(HeldOut::fresh).collect();
        for item in &items {
            let right = &item.options[item.answer];
            match item.task.as_str() {
                "z2-next" => assert!(lines.iter().any(|l| l.starts_with(right.as_str())), "{item:?}"),
                "z4-agreement" => {
                    let pronoun = item.prompt.rsplit(' ').next().unwrap();
                    assert!(
                        AGREEMENT.iter().any(|r| r.0.eq_ignore_ascii_case(pronoun) && r.1 == right.trim())
                    );
                }
                "z5-order" => {
                    let sorted = |text: &str| {
                        let mut words: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
                        words.sort();
                        words
                    };
                    assert_eq!(sorted(&item.options[0]), sorted(&item.options[1]));
                }
                _ => {}
            }
        }
    }

    /// Half of the prompts of Z6 are from plays, so preferring one kind of text is guessing.
    #[test]
    fn prompts_of_both_kinds_are_as_frequent() {
        let (corpus, items) = made();
        let plays: Vec<&str> =
            corpus.held_out.iter().filter(|c| c.work == PLAYS).flat_map(HeldOut::fresh).collect();
        let from_play = |item: &&Item| {
            let whole = format!("{}{}", item.prompt, item.options[item.answer]);
            plays.iter().any(|line| line.contains(&whole))
        };
        let of: Vec<&Item> = items.iter().filter(|i| i.task == TASKS[5]).collect();
        assert_eq!(of.iter().copied().filter(|i| from_play(i)).count(), 15);
        let right_words =
            |item: &&Item| item.options[0].chars().count().abs_diff(item.options[1].chars().count());
        assert!(of.iter().copied().all(|i| 20 * right_words(&i) <= i.options[i.answer].chars().count()));
    }

    #[test]
    fn lines_are_cut_where_they_should_be() {
        assert_eq!(halve("a b c d e"), ("a b", " c d e"));
        assert_eq!(first_words(" c d e", 2), " c d");
        assert_eq!(first_words("c d e", 3), "c d e");
        assert_eq!(last_words("a b c", 2), "b c");
        assert_eq!(last_words("a b", 2), "a b");
    }
}
