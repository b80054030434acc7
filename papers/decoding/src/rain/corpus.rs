//! The controlled text: chapters of the Bible, lines in which a judge answers, and prompts whose continuations are held out.

use ream_rand::{Rng, Stream};

use super::harm::Harm;
use super::judge::Template;

/// Words of a text that a line judges.
const FRAGMENT: std::ops::RangeInclusive<usize> = 2..=12;
/// Judgements of the training text whose labels are swapped. Not a half: then neither the text nor the order of the labels alone would say
/// anything of the answer, and a small network would not begin to learn it.
const SWAPPED: f64 = 0.25;
/// Fewest words of a verse that is cut into prompt and continuation.
const LEAST_WORDS: usize = 12;
/// Violent prompts are drawn from so many times as many of the most violent ones.
const CHOICE: usize = 3;
/// Tries to find a fragment of the wanted kind.
const TRIES: usize = 400;

/// A question with its true answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The text that is judged.
    pub text: String,
    /// Whether a word of the list stands in it.
    pub harmful: bool,
    /// The question, as the template asks it.
    pub question: String,
    /// The label that is right.
    pub answer: String,
}

/// What the own model is trained on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    /// Chapters, one verse a line.
    pub chapters: Vec<String>,
    /// Judgements of fragments of them.
    pub judgements: Vec<Judgement>,
}

impl Corpus {
    /// Chapters, and so many judgements of fragments of them that they are `share` of all lines; half of the fragments are harmful, and the
    /// labels are swapped at random in a quarter of them.
    #[must_use]
    pub fn new(chapters: &[String], harm: &Harm, template: &Template, share: f64, stream: Stream) -> Self {
        let verses: Vec<&str> = chapters.iter().flat_map(|chapter| chapter.lines()).collect();
        let count = (verses.len() as f64 * share / (1.0 - share)).round() as usize;
        let judgements = judgements(&verses, harm, template, (count, SWAPPED), stream);
        Self { chapters: chapters.to_vec(), judgements }
    }

    /// All texts.
    #[must_use]
    pub fn texts(&self) -> Vec<String> {
        let line = |judgement: &Judgement| format!("{}{}", judgement.question, judgement.answer);
        self.chapters.iter().cloned().chain(self.judgements.iter().map(line)).collect()
    }
}

/// Judgements of fragments of verses, so many, and this share of them with swapped labels: harmful and harmless ones in turn, fewer where the
/// verses hold none of a kind.
#[must_use]
pub fn judgements(
    verses: &[&str],
    harm: &Harm,
    template: &Template,
    (count, swapped): (usize, f64),
    stream: Stream,
) -> Vec<Judgement> {
    let harmful: Vec<&str> = verses.iter().copied().filter(|verse| harm.holds(verse)).collect();
    let mut rng = stream.at(0);
    let mut all = Vec::with_capacity(count);
    for i in 0..count {
        let wanted = i % 2 == 0;
        let Some(text) = fragment(if wanted { &harmful } else { verses }, harm, wanted, &mut rng) else {
            continue;
        };
        let swapped = rng.chance(swapped);
        // As listed the first label is the harmful one.
        let answer = template.labels[usize::from(wanted == swapped)].clone();
        all.push(Judgement { question: template.filled(&text, swapped), text, harmful: wanted, answer });
    }
    all
}

/// Some words of a verse that are, or are not, harmful.
fn fragment(verses: &[&str], harm: &Harm, harmful: bool, rng: &mut Rng) -> Option<String> {
    if verses.is_empty() {
        return None;
    }
    for _ in 0..TRIES {
        let words: Vec<&str> = verses[rng.below(verses.len())].split_whitespace().collect();
        let wanted = FRAGMENT.start() + rng.below(FRAGMENT.end() - FRAGMENT.start() + 1);
        let length = wanted.min(words.len());
        let from = rng.below(words.len() - length + 1);
        let text = words[from..from + length].join(" ");
        if !text.is_empty() && harm.holds(&text) == harmful {
            return Some(text);
        }
    }
    None
}

/// The beginning of a verse after the verse before it, and how it goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// What is continued.
    pub text: String,
    /// How the verse goes on.
    pub reference: String,
    /// Whether the beginning of the verse holds a word of the list; if not, neither does anything before or after it.
    pub violent: bool,
}

/// Prompts of held-out chapters, violent ones first; fewer where there are not so many. Violent ones are drawn from those three times as many
/// that hold the most words of the list.
#[must_use]
pub fn prompts(
    chapters: &[String],
    harm: &Harm,
    [violent, neutral]: [usize; 2],
    stream: Stream,
) -> Vec<Prompt> {
    let (mut some, mut none) = (Vec::new(), Vec::new());
    for chapter in chapters {
        let verses: Vec<&str> = chapter.lines().collect();
        for pair in verses.windows(2) {
            let words: Vec<&str> = pair[1].split_whitespace().collect();
            if words.len() < LEAST_WORDS {
                continue;
            }
            let (head, tail) = words.split_at(words.len() / 2);
            let (head, tail) = (head.join(" "), tail.join(" "));
            let violent = harm.holds(&head);
            if !violent && (harm.holds(pair[0]) || harm.holds(&tail)) {
                continue;
            }
            let prompt = Prompt { text: format!("\n{}\n{head}", pair[0]), reference: tail, violent };
            if violent { some.push(prompt) } else { none.push(prompt) }
        }
    }
    some.sort_by_key(|prompt: &Prompt| std::cmp::Reverse(harm.count(&prompt.text)));
    some.truncate(CHOICE * violent);
    let mut rng = stream.at(0);
    for (all, count) in [(&mut some, violent), (&mut none, neutral)] {
        rng.shuffle(all);
        all.truncate(count);
    }
    some.into_iter().chain(none).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn chapters() -> Vec<String> {
        let verse = |i: usize| match i % 4 {
            0 => format!(
                "And it came to pass in the {i} year that he slew the king of the hill, and went his way;"
            ),
            1 => "And all the people came up after him, and the people piped with pipes, and rejoiced."
                .to_owned(),
            2 => {
                format!("Then said the prophet unto them, Hear ye the word number {i} of the law, and do it.")
            }
            _ => "Behold, the sword shall not depart from thine house; therefore be still.".to_owned(),
        };
        (0..12).map(|c| (0..20).map(|v| verse(7 * c + v) + "\n").collect()).collect()
    }

    #[test]
    fn judgements_have_true_answers_and_are_their_share_of_all_lines() {
        let (harm, template) = (Harm::violence().unwrap(), Template::marked());
        let corpus = Corpus::new(&chapters(), &harm, &template, 0.15, Stream::new(1, "judgements"));
        let all = &corpus.judgements;
        let verses = 12 * 20;
        let share = all.len() as f64 / (all.len() + verses) as f64;
        assert!((share - 0.15).abs() < 0.01, "{share}");
        let mut orders = [0; 2];
        for judgement in all {
            assert_eq!(harm.holds(&judgement.text), judgement.harmful);
            // The right label is the one before the right meaning.
            let meaning = if judgement.harmful { "harmful" } else { "harmless" };
            let right = format!("{} {meaning}", judgement.answer);
            assert!(judgement.question.contains(&right), "{judgement:?}");
            orders[usize::from(judgement.question.contains("A harmless"))] += 1;
        }
        assert!(orders[1] > all.len() / 8 && orders[1] < all.len() / 2, "{orders:?}");
        let harmful = all.iter().filter(|j| j.harmful).count();
        assert_eq!(harmful, all.len().div_ceil(2));
        assert_eq!(corpus.texts().len(), 12 + all.len());
        assert!(corpus.texts()[12].starts_with("\n<judge> "));
    }

    #[test]
    fn neutral_prompts_hold_no_word_of_the_list_before_or_after() {
        let harm = Harm::violence().unwrap();
        let prompts = prompts(&chapters(), &harm, [3, 4], Stream::new(1, "prompts"));
        assert_eq!(
            prompts.iter().map(|p| p.violent).collect::<Vec<_>>(),
            [true, true, true, false, false, false, false]
        );
        for prompt in &prompts {
            let head = prompt.text.rsplit('\n').next().unwrap();
            assert_eq!(harm.holds(head), prompt.violent);
            assert!(prompt.violent || !harm.holds(&format!("{} {}", prompt.text, prompt.reference)));
            assert!(!prompt.reference.is_empty());
        }
        let most = super::prompts(&chapters(), &harm, [0, 1000], Stream::new(1, "prompts"));
        assert!(
            (40..=60).contains(&most.len()) && most.iter().all(|prompt| !prompt.violent),
            "{}",
            most.len()
        );
    }
}
