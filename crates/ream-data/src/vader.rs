//! VADER (Hutto & Gilbert, 2014): the sentiment of a text from rated words and a few rules; lexicon, constants and rules of the package
//! vaderSentiment 3.3.2.
//!
//! Each word of the lexicon counts with its mean rating, changed by capitals, by the three words before it (degree adverbs, negation,
//! idioms) and by *but*; the sum `s`, raised by `!` and `?`, becomes the compound score `s / sqrt(s^2 + 15)` in (-1, 1).

use std::collections::HashMap;
use std::path::Path;

use crate::error::DataError;

/// What a degree adverb adds.
const BOOST: f64 = 0.293;
/// What capitals add.
const CAPITALS: f64 = 0.733;
/// What negation multiplies by.
const NEGATION: f64 = -0.74;
/// About the largest expected squared sum.
const ALPHA: f64 = 15.0;

const NEGATIONS: &str = "aint arent cannot cant couldnt darent didnt doesnt ain't aren't can't couldn't daren't didn't doesn't dont hadnt hasnt havent isnt mightnt mustnt neither don't hadn't hasn't haven't isn't mightn't mustn't neednt needn't never none nope nor not nothing nowhere oughtnt shant shouldnt uhuh wasnt werent oughtn't shan't shouldn't uh-uh wasn't weren't without wont wouldnt won't wouldn't rarely seldom despite";

const STRONGER: &str = "absolutely amazingly awfully completely considerable considerably decidedly deeply effing enormous enormously entirely especially exceptional exceptionally extreme extremely fabulously flipping flippin frackin fracking fricking frickin frigging friggin fully fuckin fucking fuggin fugging greatly hella highly hugely incredible incredibly intensely major majorly more most particularly purely quite really remarkably so substantially thoroughly total totally tremendous tremendously uber unbelievably unusually utter utterly very";

const WEAKER: &str = "almost barely hardly kinda kindof kind-of less little marginal marginally occasional occasionally partly scarce scarcely slight slightly somewhat sorta sortof sort-of";

/// Pairs of words that weaken, seen before the word they weaken.
const WEAKER_PAIRS: [&str; 3] = ["just enough", "kind of", "sort of"];

/// Phrases with a rating of their own.
const PHRASES: [(&str, f64); 9] = [
    ("the shit", 3.0),
    ("the bomb", 3.0),
    ("bad ass", 1.5),
    ("badass", 1.5),
    ("bus stop", 0.0),
    ("yeah right", -2.0),
    ("kiss of death", -1.5),
    ("to die for", 3.0),
    ("beating heart", 3.5),
];

/// The rated words.
#[derive(Clone, Debug)]
pub struct Vader {
    ratings: HashMap<String, f64>,
    emoji: HashMap<char, String>,
}

/// A word as it stands and in small letters.
struct Word {
    lower: String,
    is_upper: bool,
}

/// The words of a text.
struct Sentence<'a> {
    vader: &'a Vader,
    words: Vec<Word>,
    /// Whether some words, but not all, are in capitals.
    capitals_differ: bool,
}

impl Vader {
    /// Reads `vader_lexicon.txt` and `emoji_utf8_lexicon.txt` of a folder.
    ///
    /// # Errors
    /// A file that cannot be read; a line without a word and its rating.
    pub fn open(folder: &Path) -> Result<Self, DataError> {
        let read = |name: &str| {
            let path = folder.join(name);
            let text = std::fs::read_to_string(&path).map_err(DataError::io("read", &path))?;
            Ok::<_, DataError>((path, text))
        };
        let (path, text) = read("vader_lexicon.txt")?;
        let mut ratings = HashMap::new();
        for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let mut cells = line.trim().split('\t');
            let (word, rating) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
            let rating: f64 = rating.parse().map_err(|_| {
                DataError::line(
                    &path,
                    i as u64 + 1,
                    format!("wanted a word, a tab and its rating, got `{}`", line.trim()),
                )
            })?;
            ratings.insert(word.to_owned(), rating);
        }
        let (path, text) = read("emoji_utf8_lexicon.txt")?;
        let mut emoji = HashMap::new();
        for (i, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let (sign, words) = line.trim().split_once('\t').ok_or_else(|| {
                DataError::line(&path, i as u64 + 1, "wanted an emoji, a tab and its description".to_owned())
            })?;
            // Signs of several characters are never found: the text is looked at character by character.
            let mut signs = sign.chars();
            if let (Some(sign), None) = (signs.next(), signs.next()) {
                emoji.insert(sign, words.split('\t').next().unwrap_or_default().to_owned());
            }
        }
        Ok(Self { ratings, emoji })
    }

    /// The compound score of a text, between -1 (most negative) and 1, to four decimals as the package gives it; 0 without words.
    #[must_use]
    pub fn compound(&self, text: &str) -> f64 {
        let text = self.without_emoji(text);
        let sentence = Sentence::new(self, &text);
        if sentence.words.is_empty() {
            return 0.0;
        }
        let mut ratings: Vec<f64> = (0..sentence.words.len()).map(|i| sentence.rating(i)).collect();
        if let Some(but) = sentence.words.iter().position(|word| word.lower == "but") {
            weigh_around(&mut ratings, but);
        }
        let mut sum: f64 = ratings.iter().sum();
        if sum > 0.0 {
            sum += emphasis(&text);
        } else if sum < 0.0 {
            sum -= emphasis(&text);
        }
        let compound = sum / (sum * sum + ALPHA).sqrt();
        format!("{compound:.4}").parse().unwrap_or(compound)
    }

    /// Emoji as their descriptions.
    fn without_emoji(&self, text: &str) -> String {
        let mut plain = String::new();
        let mut after_space = true;
        for sign in text.chars() {
            if let Some(words) = self.emoji.get(&sign) {
                if !after_space {
                    plain.push(' ');
                }
                plain.push_str(words);
                after_space = false;
            } else {
                plain.push(sign);
                after_space = sign == ' ';
            }
        }
        plain.trim().to_owned()
    }
}

impl<'a> Sentence<'a> {
    fn new(vader: &'a Vader, text: &str) -> Self {
        let is_space = |c: char| c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c);
        let words: Vec<Word> = text
            .split(is_space)
            .filter(|word| !word.is_empty())
            .map(|word| {
                let bare = word.trim_matches(|c: char| c.is_ascii_punctuation());
                // What is left of an emoticon is too short for a word.
                let word = if bare.chars().count() <= 2 { word } else { bare };
                Word {
                    lower: word.to_lowercase(),
                    is_upper: word.chars().any(char::is_uppercase) && !word.chars().any(char::is_lowercase),
                }
            })
            .collect();
        let upper = words.iter().filter(|word| word.is_upper).count();
        let capitals_differ = 0 < upper && upper < words.len();
        Self { vader, words, capitals_differ }
    }

    fn lower(&self, i: usize) -> &str {
        self.words.get(i).map_or("", |word| &word.lower)
    }

    /// The word `back` places before word `i`.
    fn before(&self, i: usize, back: usize) -> &str {
        i.checked_sub(back).map_or("", |i| self.lower(i))
    }

    fn is_rated(&self, i: usize) -> bool {
        self.vader.ratings.contains_key(self.lower(i))
    }

    fn shouts(&self, i: usize) -> bool {
        self.capitals_differ && self.words[i].is_upper
    }

    /// What word `i` adds to the sum.
    fn rating(&self, i: usize) -> f64 {
        let word = self.lower(i);
        let modifies = boost(word).is_some() || (word == "kind" && self.lower(i + 1) == "of");
        let Some(rating) = self.vader.ratings.get(word).copied().filter(|_| !modifies) else { return 0.0 };
        let mut value = if word == "no" && i + 1 < self.words.len() && self.is_rated(i + 1) {
            // It negates the next word instead.
            0.0
        } else {
            rating
        };
        let joined = matches!(self.before(i, 1), "or" | "nor");
        if self.before(i, 1) == "no" || self.before(i, 2) == "no" || (self.before(i, 3) == "no" && joined) {
            value = rating * NEGATION;
        }
        if self.shouts(i) {
            value += if value > 0.0 { CAPITALS } else { -CAPITALS };
        }
        for back in 1..=3.min(i) {
            if !self.is_rated(i - back) {
                value += self.degree(i - back, value) * [1.0, 0.95, 0.9][back - 1];
                value = self.negate(value, i, back);
                if back == 3 {
                    value = self.phrases(value, i);
                }
            }
        }
        self.least(value, i)
    }

    /// What a degree adverb adds to a word of this value.
    fn degree(&self, i: usize, value: f64) -> f64 {
        let Some(boost) = boost(self.lower(i)) else { return 0.0 };
        let mut change = if value < 0.0 { -boost } else { boost };
        if self.shouts(i) {
            change += if value > 0.0 { CAPITALS } else { -CAPITALS };
        }
        change
    }

    fn negate(&self, value: f64, i: usize, back: usize) -> f64 {
        let before = |back| self.before(i, back);
        let points = |word: &str| matches!(word, "so" | "this");
        if back == 2 {
            if before(2) == "never" && points(before(1)) {
                return value * 1.25;
            }
            if before(2) == "without" && before(1) == "doubt" {
                return value;
            }
        }
        if back == 3 {
            if (before(3) == "never" && points(before(2))) || points(before(1)) {
                return value * 1.25;
            }
            if before(3) == "without" && (before(2) == "doubt" || before(1) == "doubt") {
                return value;
            }
        }
        if is_negation(before(back)) { value * NEGATION } else { value }
    }

    /// Phrases around word `i`, which has at least three words before it.
    fn phrases(&self, mut value: f64, i: usize) -> f64 {
        let words =
            |first: usize, last: usize| (first..=last).map(|at| self.lower(at)).collect::<Vec<_>>().join(" ");
        let rated = |phrase: &str| PHRASES.iter().find(|(known, _)| *known == phrase).map(|(_, r)| *r);
        let around =
            [words(i - 1, i), words(i - 2, i), words(i - 2, i - 1), words(i - 3, i - 1), words(i - 3, i - 2)];
        if let Some(rating) = around.iter().find_map(|phrase| rated(phrase)) {
            value = rating;
        }
        for last in [i + 1, i + 2] {
            if let Some(rating) = rated(&words(i, last)).filter(|_| last < self.words.len()) {
                value = rating;
            }
        }
        let weaker = [words(i - 3, i - 1), words(i - 3, i - 2), words(i - 2, i - 1)];
        value - BOOST * weaker.iter().filter(|pair| WEAKER_PAIRS.contains(&pair.as_str())).count() as f64
    }

    /// *Least* negates, but not *at least* and *very least*.
    fn least(&self, value: f64, i: usize) -> f64 {
        let negates = self.before(i, 1) == "least" && !matches!(self.before(i, 2), "at" | "very");
        if negates && !self.is_rated(i - 1) { value * NEGATION } else { value }
    }
}

fn boost(word: &str) -> Option<f64> {
    if STRONGER.split(' ').any(|known| known == word) {
        return Some(BOOST);
    }
    WEAKER.split(' ').any(|known| known == word).then_some(-BOOST)
}

fn is_negation(word: &str) -> bool {
    word.contains("n't") || NEGATIONS.split(' ').any(|known| known == word)
}

/// Halves what stands before *but* and raises what stands after it. As in the package, each value is looked for from the start, so of
/// equal values the first is changed again.
fn weigh_around(ratings: &mut [f64], but: usize) {
    for at in 0..ratings.len() {
        let value = ratings[at];
        let first = ratings.iter().position(|other| *other == value).unwrap_or(at);
        match first.cmp(&but) {
            std::cmp::Ordering::Less => ratings[first] = value * 0.5,
            std::cmp::Ordering::Greater => ratings[first] = value * 1.5,
            std::cmp::Ordering::Equal => {}
        }
    }
}

/// What `!` and `?` add to the size of the sum.
fn emphasis(text: &str) -> f64 {
    let count = |sign: char| text.matches(sign).count();
    let questions = match count('?') {
        0 | 1 => 0.0,
        n @ 2..=3 => n as f64 * 0.18,
        _ => 0.96,
    };
    count('!').min(4) as f64 * 0.292 + questions
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compound scores of the Python package: `SentimentIntensityAnalyzer().polarity_scores(text)["compound"]`, vaderSentiment 3.3.2,
    /// Python 3.11.
    const GOLDEN: &[(&str, f64)] = &[
        ("VADER is smart, handsome, and funny.", 0.8316),
        ("VADER is smart, handsome, and funny!", 0.8439),
        ("VADER is very smart, handsome, and funny.", 0.8545),
        ("VADER is VERY SMART, handsome, and FUNNY.", 0.9227),
        ("VADER is VERY SMART, handsome, and FUNNY!!!", 0.9342),
        ("VADER is VERY SMART, uber handsome, and FRIGGIN FUNNY!!!", 0.9469),
        ("VADER is not smart, handsome, nor funny.", -0.7424),
        ("The book was good.", 0.4404),
        ("At least it isn't a horrible book.", 0.431),
        ("The book was only kind of good.", 0.3832),
        ("The plot was good, but the characters are uncompelling and the dialog is not great.", -0.7042),
        ("Today SUX!", -0.5461),
        ("Today only kinda sux! But I'll get by, lol", 0.5249),
        ("Make sure you :) or :D today!", 0.8633),
        ("Catch utf-8 emoji such as such as \u{1f498} and \u{1f48b} and \u{1f601}", 0.875),
        ("Not bad at all", 0.431),
        ("It was never so good", 0.6626),
        ("It was never this good", 0.6084),
        ("Without doubt a great day", 0.7359),
        ("without a doubt a great day", 0.7359),
        ("He is the least happy man", -0.4585),
        ("at least he is happy", 0.5719),
        ("the very least happy", 0.6096),
        ("least good", -0.3412),
        ("No good came of it", -0.3412),
        ("no", -0.296),
        ("no joy or love", -0.7536),
        ("there is no hope nor joy", 0.0328),
        ("Roger Dodger is one of the most compelling variations on this theme.", 0.2944),
        ("Roger Dodger is one of the least compelling variations on this theme.", -0.1695),
        ("What?? Is that good???", 0.594),
        ("good????? bad", -0.3736),
        ("It is the shit today", 0.6124),
        ("they went to the bus stop and cried", 0.0),
        ("a kiss of death for them all", 0.0772),
        ("this is to die for", -0.5994),
        ("my beating heart was sad", -0.2263),
        ("yeah right you love me", 0.7506),
        ("sort of nice people", 0.4215),
        ("it was sort of a nice day", 0.3626),
        ("kind of a great loss", 0.4215),
        ("good but good but bad and good", 0.5994),
        ("", 0.0),
        ("!!!", 0.0),
        ("   ", 0.0),
        ("The old house burned, and everyone she loved was dead.", -0.1027),
        ("he wasn't very happy, hardly sad", -0.7419),
        ("NOT GOOD", -0.3412),
        ("not GOOD at all", -0.4494),
        ("An AMAZING, wonderful, happy ending!", 0.922),
        ("I can't wait :-)", -0.2411),
        ("so so so good", 0.6618),
        ("extremely, absolutely terrible?", -0.5678),
        ("I rarely enjoy THIS, seldom hate it", 0.0951),
        ("\u{c9}TAIT good", 0.4404),
        ("love\tlove\nlove hate but love", 0.9052),
        ("The LORD is merciful and gracious, slow to anger, and plenteous in mercy.", 0.34),
        ("bad ass guy and badass deeds", -0.6808),
        ("n't good couldn't be better", -0.5875),
    ];

    /// The lines of the lexicon that the golden texts use stand in `vader/`.
    fn vader() -> Vader {
        Vader::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vader")).unwrap()
    }

    #[test]
    fn scores_are_those_of_the_package() {
        let vader = vader();
        for (text, wanted) in GOLDEN {
            assert_eq!(vader.compound(text), *wanted, "{text}");
        }
    }

    #[test]
    fn a_bad_line_is_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("vader_lexicon.txt"), "good\t1.9\t0.9\nbad\n").unwrap();
        std::fs::write(dir.path().join("emoji_utf8_lexicon.txt"), "").unwrap();
        let error = Vader::open(dir.path()).unwrap_err().to_string();
        assert!(
            error.contains("vader_lexicon.txt:2: wanted a word, a tab and its rating, got `bad`"),
            "{error}"
        );
    }
}
