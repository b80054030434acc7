//! The condition `b(y)`: words, a regular expression, a sentiment, an external command; and a second matcher beside each.
//!
//! A word occurs where its letters stand between signs that are no letters: *amazing* is found in `"Amazing!"` and in *amaz* + *ing*, but
//! not in *amazingly*. Capitals do not matter. A word at the very end of a text counts: the text ends there.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

use ream_data::vader::Vader;
use ream_lab::{Error, Invalid, Result};
use regex::Regex;
use regex_syntax::hir::{Class, Hir, HirKind, Look};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a text must satisfy; all conditions that are given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Condition {
    /// Words of which one must occur; a word is letters only.
    pub words: Vec<String>,
    /// A regular expression that must be found in the text; empty for none.
    pub regex: String,
    /// The VADER compound score that must be exceeded.
    pub compound_above: Option<f64>,
    /// A program and its arguments: it reads the text on standard input and prints 1 when the condition holds, 0 when not.
    pub command: Vec<String>,
    /// Whether the command may be started; nothing is run without this.
    pub allow_command: bool,
}

impl Condition {
    /// One of these words must occur.
    #[must_use]
    pub fn word(word: &str) -> Self {
        Self { words: vec![word.to_owned()], ..Self::default() }
    }

    /// This expression must be found.
    #[must_use]
    pub fn pattern(regex: &str) -> Self {
        Self { regex: regex.to_owned(), ..Self::default() }
    }

    /// The compound score must be above this.
    #[must_use]
    pub fn sentiment(above: f64) -> Self {
        Self { compound_above: Some(above), ..Self::default() }
    }

    /// Whether a text must be scored for its sentiment.
    #[must_use]
    pub fn needs_vader(&self) -> bool {
        self.compound_above.is_some()
    }

    /// Checks what can be checked without a text. `key` is where it stands, for errors.
    ///
    /// # Errors
    /// Nothing is asked for; a word that is none; the place where an expression goes wrong; a threshold that no score exceeds; a command
    /// without consent.
    pub fn check(&self, key: &str) -> Result<(), Invalid> {
        let is_empty = self.words.is_empty()
            && self.regex.is_empty()
            && self.compound_above.is_none()
            && self.command.is_empty();
        if is_empty {
            return Err(Invalid::new(key, "words, regex, compound_above or command", "none of them"));
        }
        if let Some(word) =
            self.words.iter().find(|word| word.is_empty() || !word.chars().all(char::is_alphabetic))
        {
            return Err(Invalid::new(format!("{key}.words"), "words of letters only", format!("`{word}`")));
        }
        parse(&self.regex).map_err(|(at, problem)| {
            let wanted = format!("a regular expression; at character {at}: {problem}");
            Invalid::new(format!("{key}.regex"), wanted, format!("`{}`", self.regex))
        })?;
        if let Some(above) = self.compound_above {
            Invalid::unless_in(&format!("{key}.compound_above"), above, -1.0..=0.999)?;
        }
        if !self.command.is_empty() && !self.allow_command {
            let wanted = "allow_command = true beside it, since it starts a program of yours for every text";
            return Err(Invalid::new(format!("{key}.command"), wanted, "no consent"));
        }
        Ok(())
    }

    /// Refuses a length in which the condition can never hold. `tokens_of` counts tokens of a word, `longest` is the longest token in bytes.
    ///
    /// # Errors
    /// What is needed and what there is.
    pub fn fits(
        &self,
        key: &str,
        length: usize,
        tokens_of: impl Fn(&str) -> usize,
        longest: usize,
    ) -> Result<(), Invalid> {
        let shortest = self.words.iter().map(|word| tokens_of(word)).min().unwrap_or(0);
        if shortest > length {
            let wanted =
                format!("texts of at least {shortest} tokens, which the shortest of the words takes");
            return Err(Invalid::new(key, wanted, format!("{length}: the condition can never hold")));
        }
        let bytes = parse(&self.regex).ok().flatten().and_then(|hir| hir.properties().minimum_len());
        if let Some(bytes) = bytes.filter(|bytes| *bytes > length * longest) {
            let wanted = format!("texts of at least {bytes} bytes, which the regular expression takes");
            let got = format!("{length} tokens of at most {longest} bytes: the condition can never hold");
            return Err(Invalid::new(key, wanted, got));
        }
        Ok(())
    }
}

/// The parsed expression; an error is the character (from 1) and what is wrong there.
fn parse(pattern: &str) -> std::result::Result<Option<Hir>, (usize, String)> {
    if pattern.is_empty() {
        return Ok(None);
    }
    let at = |offset: usize| pattern.get(..offset).map_or(0, |before| before.chars().count()) + 1;
    regex_syntax::Parser::new().parse(pattern).map(Some).map_err(|error| match error {
        regex_syntax::Error::Parse(e) => (at(e.span().start.offset), e.kind().to_string()),
        regex_syntax::Error::Translate(e) => (at(e.span().start.offset), e.kind().to_string()),
        other => (1, other.to_string()),
    })
}

/// A condition ready to be tested: what the sampler uses.
#[derive(Clone)]
pub struct Constraint {
    condition: Condition,
    words: Vec<String>,
    regex: Option<Regex>,
    vader: Option<Arc<Vader>>,
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Constraint").field("condition", &self.condition).finish_non_exhaustive()
    }
}

impl Constraint {
    /// Prepares a condition; `vader` is needed where a sentiment is asked for.
    ///
    /// # Errors
    /// Those of [`Condition::check`]; a sentiment without ratings.
    pub fn new(condition: &Condition, vader: Option<Arc<Vader>>) -> Result<Self> {
        condition.check("condition")?;
        if condition.needs_vader() && vader.is_none() {
            return Err(Error::failed("a sentiment is asked for, but there are no rated words"));
        }
        let regex = match condition.regex.as_str() {
            "" => None,
            pattern => Some(Regex::new(pattern).map_err(|e| Error::Input(e.to_string()))?),
        };
        Ok(Self {
            words: condition.words.iter().map(|word| word.to_lowercase()).collect(),
            regex,
            vader,
            condition: condition.clone(),
        })
    }

    /// The condition.
    #[must_use]
    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// `b(y)` of a whole text.
    ///
    /// # Errors
    /// A command that cannot be started or answers anything but 0 or 1.
    pub fn holds(&self, text: &str) -> Result<bool> {
        if !self.words.is_empty() && self.word_at(text).is_none() {
            return Ok(false);
        }
        if self.regex.as_ref().is_some_and(|regex| !regex.is_match(text)) {
            return Ok(false);
        }
        if let (Some(above), Some(vader)) = (self.condition.compound_above, &self.vader)
            && vader.compound(text) <= above
        {
            return Ok(false);
        }
        if self.condition.command.is_empty() { Ok(true) } else { ask(&self.condition.command, text) }
    }

    /// The byte where the first of the words begins.
    #[must_use]
    pub fn word_at(&self, text: &str) -> Option<usize> {
        text.split(|c: char| !c.is_alphabetic())
            .filter(|word| !word.is_empty())
            .find(|word| self.words.contains(&word.to_lowercase()))
            .map(|word| word.as_ptr() as usize - text.as_ptr() as usize)
    }

    /// The byte where what is asked for begins: the first word, or the first match of the expression.
    #[must_use]
    pub fn place(&self, text: &str) -> Option<usize> {
        if self.words.is_empty() {
            return self.regex.as_ref()?.find(text).map(|found| found.start());
        }
        self.word_at(text)
    }
}

fn ask(command: &[String], text: &str) -> Result<bool> {
    let (program, arguments) = command.split_first().ok_or_else(|| Error::failed("an empty command"))?;
    let failed = |problem: String| Error::Input(format!("condition.command `{program}`: {problem}"));
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|e| failed(format!("cannot be started: {e}")))?;
    if let Some(mut input) = child.stdin.take() {
        // A program may answer without reading all of the text.
        let _ = input.write_all(text.as_bytes());
    }
    let output = child.wait_with_output().map_err(|e| failed(e.to_string()))?;
    let answer = String::from_utf8_lossy(&output.stdout);
    match (output.status.success(), answer.trim()) {
        (true, "1") => Ok(true),
        (true, "0") => Ok(false),
        (true, other) => Err(failed(format!("wanted 0 or 1 on standard output, got `{other}`"))),
        (false, _) => Err(failed(format!("ended with {}", output.status))),
    }
}

/// The same condition by another path of code: words through a regular expression, expressions through an interpreter of their syntax
/// tree. A sentiment is scored again by the same rules.
#[derive(Debug)]
pub struct Witness {
    words: Option<Regex>,
    expression: Option<Hir>,
    sentiment: Option<(f64, Arc<Vader>)>,
    command: Vec<String>,
}

impl Witness {
    /// The second matcher of a constraint.
    ///
    /// # Errors
    /// None for a condition that was checked.
    pub fn new(constraint: &Constraint) -> Result<Self> {
        let condition = constraint.condition();
        let words = match condition.words.join("|").as_str() {
            "" => None,
            words => {
                let pattern = format!(r"(?i)(?:\A|[^\p{{Alphabetic}}])(?:{words})(?:\z|[^\p{{Alphabetic}}])");
                Some(Regex::new(&pattern).map_err(|e| Error::failed(e.to_string()))?)
            }
        };
        Ok(Self {
            words,
            expression: parse(&condition.regex).map_err(|(_, problem)| Error::failed(problem))?,
            sentiment: condition.compound_above.zip(constraint.vader.clone()),
            command: condition.command.clone(),
        })
    }

    /// Whether a decoded text satisfies the condition.
    ///
    /// # Errors
    /// Those of a command.
    pub fn confirms(&self, text: &str) -> Result<bool> {
        let words = self.words.as_ref().is_none_or(|regex| regex.is_match(text));
        let expression = self.expression.as_ref().is_none_or(|hir| {
            let anywhere: BTreeSet<usize> =
                (0..=text.len()).filter(|at| text.is_char_boundary(*at)).collect();
            !ends(hir, text, &anywhere).is_empty()
        });
        let sentiment = self.sentiment.as_ref().is_none_or(|(above, vader)| vader.compound(text) > *above);
        Ok(words && expression && sentiment && (self.command.is_empty() || ask(&self.command, text)?))
    }
}

/// Where matches end that begin at one of `starts`.
fn ends(hir: &Hir, text: &str, starts: &BTreeSet<usize>) -> BTreeSet<usize> {
    let bytes = text.as_bytes();
    match hir.kind() {
        HirKind::Empty => starts.clone(),
        HirKind::Literal(literal) => starts
            .iter()
            .filter(|at| bytes[**at..].starts_with(&literal.0))
            .map(|at| at + literal.0.len())
            .collect(),
        HirKind::Class(class) => starts.iter().filter_map(|at| class_end(class, text, *at)).collect(),
        HirKind::Look(look) => starts.iter().copied().filter(|at| looks(*look, text, *at)).collect(),
        HirKind::Capture(capture) => ends(&capture.sub, text, starts),
        HirKind::Concat(parts) => parts.iter().fold(starts.clone(), |at, part| ends(part, text, &at)),
        HirKind::Alternation(parts) => parts.iter().flat_map(|part| ends(part, text, starts)).collect(),
        HirKind::Repetition(repetition) => {
            let (mut now, mut round) = (starts.clone(), 0);
            let mut found = if repetition.min == 0 { now.clone() } else { BTreeSet::new() };
            while repetition.max.is_none_or(|max| round < max) {
                now = ends(&repetition.sub, text, &now);
                round += 1;
                let before = found.len();
                if round >= repetition.min {
                    found.extend(&now);
                }
                if now.is_empty() || (round > repetition.min && found.len() == before) {
                    break;
                }
            }
            found
        }
    }
}

fn class_end(class: &Class, text: &str, at: usize) -> Option<usize> {
    match class {
        Class::Unicode(class) => {
            let sign = text.get(at..)?.chars().next()?;
            let inside = class.iter().any(|range| (range.start()..=range.end()).contains(&sign));
            inside.then(|| at + sign.len_utf8())
        }
        Class::Bytes(class) => {
            let byte = *text.as_bytes().get(at)?;
            class.iter().any(|range| (range.start()..=range.end()).contains(&byte)).then_some(at + 1)
        }
    }
}

fn looks(look: Look, text: &str, at: usize) -> bool {
    let bytes = text.as_bytes();
    let (first, last) = (at == 0, at == bytes.len());
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let before = text.get(..at).and_then(|t| t.chars().next_back()).is_some_and(is_word);
    let after = text.get(at..).and_then(|t| t.chars().next()).is_some_and(is_word);
    match look {
        Look::Start => first,
        Look::End => last,
        Look::StartLF | Look::StartCRLF => first || bytes[at - 1] == b'\n',
        Look::EndLF | Look::EndCRLF => last || bytes[at] == b'\n',
        Look::WordAscii | Look::WordUnicode => before != after,
        Look::WordAsciiNegate | Look::WordUnicodeNegate => before == after,
        Look::WordStartAscii | Look::WordStartUnicode => !before && after,
        Look::WordEndAscii | Look::WordEndUnicode => before && !after,
        Look::WordStartHalfAscii | Look::WordStartHalfUnicode => !before,
        Look::WordEndHalfAscii | Look::WordEndHalfUnicode => !after,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ream_rand::Stream;

    fn both(condition: &Condition, text: &str) -> bool {
        let constraint = Constraint::new(condition, None).unwrap();
        let holds = constraint.holds(text).unwrap();
        assert_eq!(holds, Witness::new(&constraint).unwrap().confirms(text).unwrap(), "{text:?}");
        holds
    }

    #[test]
    fn a_word_is_found_whole_whatever_its_tokens_and_capitals() {
        let amazing = Condition::word("amazing");
        for (text, wanted) in [
            ("It was amazing", true),
            ("AMAZING!", true),
            ("\"Amazing's\"", true),
            ("amazing", true),
            ("amazingly good", false),
            ("unamazing", false),
            ("amaz ing", false),
            ("éamazing", false),
            ("amazing9", true),
            ("", false),
        ] {
            assert_eq!(both(&amazing, text), wanted, "{text}");
        }
        let constraint = Constraint::new(&amazing, None).unwrap();
        assert_eq!(constraint.word_at("So, amazing amazing"), Some(4));
    }

    #[test]
    fn both_matchers_of_an_expression_agree_on_random_texts() {
        let mut rng = Stream::new(1, "texts").at(0);
        let signs = ["a", "b", "?", ".", " ", "\n", "é", "_", "7"];
        let patterns = [
            r"(?s)\?.*\.\s*\z",
            r"^a+b{2,3}$",
            r"(a|bb)*\.",
            r"\bab?\b",
            r"(?i)[^a-z\s]+A",
            r"(?m)^\d|é{2}$",
            r"(?:a*)*\?",
            r"\Ba\B",
        ];
        let mut found = 0;
        for _ in 0..2000 {
            let text: String = (0..rng.below(9)).map(|_| signs[rng.below(signs.len())]).collect();
            for pattern in patterns {
                found += usize::from(both(&Condition::pattern(pattern), &text));
            }
        }
        assert!((500..15_000).contains(&found), "{found}");
    }

    #[test]
    fn mistakes_are_named() {
        let wrong = |condition: Condition| condition.check("own").unwrap_err().to_string();
        assert!(wrong(Condition::default()).contains("own: wanted words, regex"));
        let error = wrong(Condition::pattern("é(a"));
        assert!(
            error.contains("own.regex") && error.contains("at character 2") && error.contains("unclosed"),
            "{error}"
        );
        assert!(wrong(Condition::word("two words")).contains("`two words`"));
        assert!(wrong(Condition::sentiment(1.0)).contains("between -1 and 0.999"));
        let command = Condition { command: vec!["true".to_owned()], ..Condition::default() };
        assert!(wrong(command).contains("allow_command = true"));
        let short = Condition::word("amazing").fits("length", 2, |_| 3, 10).unwrap_err().to_string();
        assert!(short.contains("at least 3 tokens") && short.contains("can never hold"), "{short}");
        let short = Condition::pattern("a{50}").fits("length", 4, |_| 0, 10).unwrap_err().to_string();
        assert!(short.contains("at least 50 bytes"), "{short}");
    }

    #[test]
    fn a_command_answers_with_0_or_1() {
        let script = |text: &str| Condition {
            command: vec!["sh".to_owned(), "-c".to_owned(), text.to_owned()],
            allow_command: true,
            ..Condition::default()
        };
        let answer = |text: &str| Constraint::new(&script(text), None).unwrap().holds("some text");
        assert!(answer("grep -qc some && echo 1 || echo 0").unwrap());
        assert!(!answer("grep -q other && echo 1 || echo 0").unwrap());
        assert!(answer("echo maybe").unwrap_err().to_string().contains("wanted 0 or 1"));
        assert!(answer("exit 3").unwrap_err().to_string().contains("ended with"));
        let missing = Condition { command: vec!["no-such-program".to_owned()], ..script("") };
        let error = Constraint::new(&missing, None).unwrap().holds("x").unwrap_err().to_string();
        assert!(error.contains("cannot be started"), "{error}");
    }
}
