//! Questions with options: a prompt, what could follow it, and which of these is right.

use ream_rand::Rng;
use serde::{Deserialize, Serialize};

use super::vocabulary::Vocabulary;

/// A question with options.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// The task it belongs to.
    pub task: String,
    /// What is given.
    pub prompt: String,
    /// What could follow it, at least two.
    pub options: Vec<String>,
    /// Index of the right one.
    pub answer: usize,
}

impl Item {
    /// The right option put among the wrong ones at random; nothing when two options are equal.
    pub fn new(task: &str, prompt: String, right: String, wrong: Vec<String>, rng: &mut Rng) -> Option<Self> {
        let answer = rng.below(wrong.len() + 1);
        let mut options = wrong;
        options.insert(answer, right);
        let distinct = (1..options.len()).all(|i| !options[..i].contains(&options[i]));
        (distinct && options.len() >= 2).then(|| Self { task: task.to_owned(), prompt, options, answer })
    }

    /// Expected accuracy of a guess.
    pub fn chance(&self) -> f64 {
        1.0 / self.options.len() as f64
    }

    /// Tokens of the prompt with its longest option.
    pub fn tokens(&self, vocabulary: &Vocabulary) -> usize {
        let longest = self.options.iter().map(|option| vocabulary.encode(option).len()).max();
        vocabulary.encode(&self.prompt).len() + longest.unwrap_or(0)
    }
}

/// Special tokens around prompt and option, at most: the end before it, two sentinels, the end after it.
pub const AROUND: usize = 4;

/// `wrong` of the `nearest` candidates closest to `length` in characters, drawn at random without repetition. Distractors of
/// like length keep a summed log probability from choosing by length alone.
pub fn like_length<'a>(
    candidates: &[&'a str],
    right: &str,
    wrong: usize,
    nearest: usize,
    rng: &mut Rng,
) -> Vec<&'a str> {
    let length = right.chars().count();
    let mut others: Vec<&str> = candidates.iter().copied().filter(|c| *c != right).collect();
    // The order among candidates of one length must be random, not alphabetical: capitals are rarer.
    rng.shuffle(&mut others);
    others.sort_by_key(|c| c.chars().count().abs_diff(length));
    others.truncate(nearest);
    rng.shuffle(&mut others);
    others.truncate(wrong);
    others
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    #[test]
    fn distractors_are_of_like_length_and_of_no_alphabet() {
        let texts: Vec<String> = ('A'..='Z').chain('a'..='z').map(|c| c.to_string().repeat(5)).collect();
        let mut candidates: Vec<&str> = texts.iter().map(String::as_str).collect();
        candidates.extend(["far too long to be chosen", "x"]);
        let mut lower = 0;
        for step in 0..300 {
            let mut rng = Stream::new(1, "like length").at(step);
            let wrong = like_length(&candidates, "mmmmm", 3, 10, &mut rng);
            assert_eq!(wrong.len(), 3);
            assert!(wrong.iter().all(|w| w.len() == 5 && *w != "mmmmm"));
            lower += wrong.iter().filter(|w| w.starts_with(char::is_lowercase)).count();
        }
        assert!((380..=520).contains(&lower), "{lower} of 900 are among 25 of 51");
    }
}
