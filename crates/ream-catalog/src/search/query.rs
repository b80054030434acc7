//! The query language: text to a tree, with positions of mistakes.
//!
//! ```text
//! query  = or
//! or     = and { "OR" and }
//! and    = unary { ["AND"] unary }
//! unary  = { "NOT" | "-" } value
//! value  = [ field ":" ] ( "(" or ")" | '"' phrase '"' | word | word"*" | range )
//! ```
//! Operators are upper case: `and` is a word like others. A field's name is lower case, and its value follows the colon at once, so
//! that a pasted title such as `BERT: pre-training ...` is a row of words.

use std::fmt;

/// Longest query, bytes.
pub const MAX_BYTES: usize = 4096;
/// Most words, phrases and conditions of a query.
pub const MAX_CLAUSES: usize = 256;
/// Deepest nesting of parentheses.
pub const MAX_DEPTH: usize = 24;

/// The verdicts that `verdict:` knows.
pub const VERDICTS: [&str; 6] = [
    "confirmed",
    "confirmed at reduced scale",
    "direction only",
    "not confirmed",
    "inconclusive",
    "not tested",
];

/// Fields that can stand before a colon; the first spelling is the one shown.
const FIELDS: [(&str, Scope); 18] = [
    ("title", Scope::Text(TextField::Title)),
    ("abstract", Scope::Text(TextField::Abstract)),
    ("author", Scope::Text(TextField::Author)),
    ("org", Scope::Text(TextField::Organisation)),
    ("family", Scope::Text(TextField::Family)),
    ("topic", Scope::Text(TextField::Topic)),
    ("claim", Scope::Text(TextField::Claim)),
    ("arxiv", Scope::Text(TextField::Arxiv)),
    ("year", Scope::Year),
    ("verdict", Scope::Verdict),
    ("runs", Scope::Runs),
    // Other spellings.
    ("authors", Scope::Text(TextField::Author)),
    ("organisation", Scope::Text(TextField::Organisation)),
    ("organization", Scope::Text(TextField::Organisation)),
    ("topics", Scope::Text(TextField::Topic)),
    ("claims", Scope::Text(TextField::Claim)),
    ("summary", Scope::Text(TextField::Abstract)),
    ("verdicts", Scope::Verdict),
];
const SHOWN_FIELDS: usize = 11;

/// A mistake in a query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at character {character}: {what}; {wanted}")]
pub struct QueryError {
    /// Byte position of the mistake in the query, from 0; always on a boundary between characters.
    pub at: usize,
    /// The same in characters, from 1.
    pub character: usize,
    /// What is wrong.
    pub what: String,
    /// What would be right.
    pub wanted: String,
}

/// A field that holds text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TextField {
    /// All of them: a word without a field.
    Any,
    /// Title.
    Title,
    /// Abstract.
    Abstract,
    /// Names of authors.
    Author,
    /// Organisations, affiliations among them.
    Organisation,
    /// The crate of the edition.
    Family,
    /// Subject words.
    Topic,
    /// Statements of claims.
    Claim,
    /// arXiv number.
    Arxiv,
}

/// How text is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A word, in any of its English forms. A word of several parts (`self-attention`) is a phrase of them.
    Word,
    /// Words in this order, side by side.
    Phrase,
    /// Words that begin so, as they are written.
    Prefix,
}

/// A query.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Every paper: the empty query.
    Everything,
    /// Text in a field.
    Text {
        /// Where.
        field: TextField,
        /// What.
        text: String,
        /// How.
        form: Form,
        /// Byte position in the query.
        at: usize,
    },
    /// A span of years, both ends included.
    Year {
        /// First.
        from: Option<u64>,
        /// Last.
        until: Option<u64>,
    },
    /// A claim with one of these verdicts.
    Verdict(Vec<&'static str>),
    /// Whether it has a system that runs here.
    Runs(bool),
    /// It runs here, and a full run takes so many minutes.
    Minutes {
        /// At least, or more than (`false`).
        from: Option<(f64, bool)>,
        /// At most, or less than (`false`).
        until: Option<(f64, bool)>,
    },
    /// All of them.
    And(Vec<Node>),
    /// Any of them.
    Or(Vec<Node>),
    /// Everything else.
    Not(Box<Node>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Text(TextField),
    Year,
    Verdict,
    Runs,
}

impl Node {
    /// Words that carry the query's meaning: bare words and phrases that are not negated, in order.
    #[must_use]
    pub fn free_text(&self) -> String {
        let mut words = Vec::new();
        self.collect_free(&mut words);
        words.join(" ")
    }

    fn collect_free<'a>(&'a self, words: &mut Vec<&'a str>) {
        match self {
            Self::Text { field: TextField::Any, text, .. } => words.push(text),
            Self::And(nodes) | Self::Or(nodes) => nodes.iter().for_each(|node| node.collect_free(words)),
            _ => {}
        }
    }

    /// The conditions that a paper near in meaning must meet all the same: the clauses without bare words, and the negations.
    #[must_use]
    pub fn conditions(&self) -> Self {
        let clauses = match self {
            Self::And(nodes) => nodes.as_slice(),
            other => std::slice::from_ref(other),
        };
        let kept = clauses.iter().filter(|node| node.free_text().is_empty()).cloned().collect();
        join(kept, Self::And)
    }

    /// The same with any of the bare words instead of all of them; nothing where there is only one.
    #[must_use]
    pub fn any_word(&self) -> Option<Self> {
        let Self::And(nodes) = self else { return None };
        let bare = |node: &&Self| matches!(node, Self::Text { field: TextField::Any, .. });
        let words: Vec<Self> = nodes.iter().filter(bare).cloned().collect();
        if words.len() < 2 {
            return None;
        }
        let mut all = vec![Self::Or(words)];
        all.extend(nodes.iter().filter(|node| !bare(node)).cloned());
        Some(join(all, Self::And))
    }
}

/// One node as itself, several joined, none as everything.
fn join(mut nodes: Vec<Node>, with: fn(Vec<Node>) -> Node) -> Node {
    match nodes.len() {
        0 => Node::Everything,
        1 => nodes.remove(0),
        _ => with(nodes),
    }
}

/// Reads a query.
///
/// ```
/// use ream_catalog::search::{parse, Node};
///
/// let query = parse("\"speculative decoding\" author:chen year:2023.. -survey").unwrap();
/// assert!(matches!(query, Node::And(clauses) if clauses.len() == 4));
/// let mistake = parse("attention AND (loss").unwrap_err();
/// assert_eq!(mistake.at, 14);
/// ```
///
/// # Errors
/// [`QueryError`], which points at the first mistake.
pub fn parse(text: &str) -> Result<Node, QueryError> {
    if text.len() > MAX_BYTES {
        let parser = Parser { text, at: 0, clauses: 0 };
        return Err(parser.error(
            text.floor_char_boundary(MAX_BYTES),
            format_args!("a query of {} bytes is too long", text.len()),
            format_args!("at most {MAX_BYTES} bytes are read"),
        ));
    }
    let mut parser = Parser { text, at: 0, clauses: 0 };
    parser.space();
    if parser.rest().is_empty() {
        return Ok(Node::Everything);
    }
    let node = parser.or(Scope::Text(TextField::Any), 0)?;
    if parser.rest().is_empty() {
        Ok(node)
    } else {
        Err(parser.error(parser.at, "this `)` closes nothing", "remove it, or open it with `(` before"))
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    clauses: usize,
}

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    fn error(&self, at: usize, what: impl fmt::Display, wanted: impl fmt::Display) -> QueryError {
        let character = self.text[..at].chars().count() + 1;
        QueryError { at, character, what: what.to_string(), wanted: wanted.to_string() }
    }

    /// The operator that stands here as a word of its own.
    fn operator(&self) -> Option<&'static str> {
        ["AND", "OR", "NOT"].into_iter().find(|op| {
            self.rest().strip_prefix(op).is_some_and(|rest| {
                rest.chars().next().is_none_or(|c| c.is_whitespace() || "()\"".contains(c))
            })
        })
    }

    fn eat(&mut self, operator: &str) -> bool {
        let here = self.operator() == Some(operator);
        if here {
            self.at += operator.len();
            self.space();
        }
        here
    }

    fn or(&mut self, scope: Scope, depth: usize) -> Result<Node, QueryError> {
        let mut nodes = vec![self.and(scope, depth)?];
        while self.eat("OR") {
            nodes.push(self.and(scope, depth)?);
        }
        Ok(join(nodes, Node::Or))
    }

    fn and(&mut self, scope: Scope, depth: usize) -> Result<Node, QueryError> {
        let mut nodes = vec![self.unary(scope, depth)?];
        loop {
            let explicit = self.eat("AND");
            let ends =
                self.rest().is_empty() || self.rest().starts_with(')') || self.operator() == Some("OR");
            if ends && !explicit {
                return Ok(join(nodes, Node::And));
            }
            nodes.push(self.unary(scope, depth)?);
        }
    }

    fn unary(&mut self, scope: Scope, depth: usize) -> Result<Node, QueryError> {
        let mut negated = false;
        loop {
            if self.eat("NOT") {
                negated = !negated;
            } else if self.rest().starts_with('-')
                && self.rest()[1..].starts_with(|c: char| c.is_alphanumeric() || "(\"".contains(c))
            {
                self.at += 1;
                negated = !negated;
            } else {
                break;
            }
        }
        if let Some(operator) = self.operator() {
            return Err(self.error(
                self.at,
                format_args!("`{operator}` has nothing to join here"),
                format_args!("write a word before and after it, or `\"{operator}\"` to look for the word"),
            ));
        }
        if self.rest().is_empty() || self.rest().starts_with(')') {
            return Err(self.error(
                self.at,
                "something is missing here",
                "write a word, a \"phrase\" or a condition",
            ));
        }
        let node = self.value(scope, depth)?;
        Ok(if negated { Node::Not(Box::new(node)) } else { node })
    }

    fn value(&mut self, scope: Scope, depth: usize) -> Result<Node, QueryError> {
        let start = self.at;
        if self.rest().starts_with('(') {
            return self.group(scope, depth);
        }
        self.clauses += 1;
        if self.clauses > MAX_CLAUSES {
            return Err(self.error(
                start,
                format_args!("more than {MAX_CLAUSES} words and conditions"),
                "shorten the query",
            ));
        }
        if self.rest().starts_with('"') {
            let text = self.quoted()?;
            return self.leaf(scope, text, Form::Phrase, start);
        }
        let run = self.run();
        if let Some((name, _)) = run.split_once(':')
            && scope == Scope::Text(TextField::Any)
            && !name.is_empty()
            && name.bytes().all(|b| b.is_ascii_lowercase())
            && let Some(inner) = self.field(name, start)?
        {
            self.at = start + name.len() + 1;
            self.clauses -= 1;
            return self.value(inner, depth);
        }
        self.at = start + run.len();
        self.space();
        match run.find('*') {
            Some(star) if star + 1 < run.len() => Err(self.error(
                start + star,
                "a `*` inside a word",
                "it stands at the end of a word: `pre*`; quotes look for the text itself",
            )),
            Some(0) => Err(self.error(
                start,
                "a `*` without letters before it",
                "write the word's beginning: `pre*`",
            )),
            Some(star) => self.leaf(scope, &run[..star], Form::Prefix, start),
            None => self.leaf(scope, run, Form::Word, start),
        }
    }

    /// The text up to the next space, parenthesis or quote.
    fn run(&self) -> &'a str {
        let rest = self.rest();
        &rest[..rest.find(|c: char| c.is_whitespace() || "()\"".contains(c)).unwrap_or(rest.len())]
    }

    fn group(&mut self, scope: Scope, depth: usize) -> Result<Node, QueryError> {
        let start = self.at;
        if depth >= MAX_DEPTH {
            return Err(self.error(
                start,
                "too many parentheses in each other",
                format_args!("at most {MAX_DEPTH}"),
            ));
        }
        self.at += 1;
        self.space();
        if self.rest().starts_with(')') {
            return Err(self.error(
                start,
                "empty parentheses",
                "write something between them, or remove them",
            ));
        }
        let node = self.or(scope, depth + 1)?;
        if !self.rest().starts_with(')') {
            return Err(self.error(start, "this `(` is never closed", "close it with `)`"));
        }
        self.at += 1;
        self.space();
        Ok(node)
    }

    fn quoted(&mut self) -> Result<&'a str, QueryError> {
        let start = self.at;
        let inner = &self.rest()[1..];
        let Some(end) = inner.find('"') else {
            return Err(self.error(start, "this quote is never closed", "close it with another `\"`"));
        };
        self.at += end + 2;
        self.space();
        Ok(&inner[..end])
    }

    /// The field of that name; nothing where the colon belongs to the text.
    fn field(&self, name: &str, start: usize) -> Result<Option<Scope>, QueryError> {
        let after = self.text[start + name.len() + 1..].chars().next();
        let open = after.is_none_or(|c| c.is_whitespace() || c == ')');
        match FIELDS.iter().find(|(known, _)| *known == name) {
            Some(_) if open => Err(self.error(
                start + name.len() + 1,
                format_args!("`{name}:` has no value"),
                format_args!("write it right behind the colon, as in {}", example(name)),
            )),
            Some((_, scope)) => Ok(Some(*scope)),
            None if open => Ok(None),
            None => {
                let shown: Vec<&str> = FIELDS[..SHOWN_FIELDS].iter().map(|(name, _)| *name).collect();
                let near = shown.iter().find(|known| strsim::osa_distance(known, name) <= 2);
                let hint = near.map_or_else(String::new, |near| format!("did you mean `{near}:`? "));
                Err(self.error(
                    start,
                    format_args!("there is no field `{name}`"),
                    format_args!("{hint}fields are {}; quotes look for the text itself", shown.join(", ")),
                ))
            }
        }
    }

    fn leaf(&self, scope: Scope, text: &str, form: Form, at: usize) -> Result<Node, QueryError> {
        match scope {
            Scope::Text(field) => Ok(Node::Text { field, text: text.to_owned(), form, at }),
            Scope::Year => self.year(text, at),
            Scope::Verdict => self.verdict(text, form, at),
            Scope::Runs => self.runs(text, at),
        }
    }

    fn year(&self, text: &str, at: usize) -> Result<Node, QueryError> {
        let wrong = || {
            self.error(
                at,
                format_args!("`{text}` is no year"),
                "write year:2024, year:2024.. (since), year:..2023 (until) or year:2020..2022",
            )
        };
        let number = |part: &str| -> Result<Option<u64>, QueryError> {
            if part.is_empty() {
                return Ok(None);
            }
            if part.len() > 4 || !part.bytes().all(|b| b.is_ascii_digit()) {
                return Err(wrong());
            }
            part.parse().map(Some).map_err(|_| wrong())
        };
        let (from, until) = match text.split_once("..") {
            Some((from, until)) => (number(from)?, number(until)?),
            None => (number(text)?, number(text)?),
        };
        match (from, until) {
            (None, None) => Err(wrong()),
            (Some(a), Some(b)) if a > b => Err(self.error(
                at,
                format_args!("{a}..{b} runs backwards"),
                format_args!("write year:{b}..{a}"),
            )),
            (from, until) => Ok(Node::Year { from, until }),
        }
    }

    fn verdict(&self, text: &str, form: Form, at: usize) -> Result<Node, QueryError> {
        let wanted = text.to_lowercase().replace(['-', '_'], " ");
        let known = |verdict: &&'static str| match form {
            Form::Prefix => verdict.starts_with(&wanted),
            _ => **verdict == wanted,
        };
        let found: Vec<&'static str> = VERDICTS.into_iter().filter(|v| known(v)).collect();
        if found.is_empty() {
            let list = VERDICTS.map(|v| v.replace(' ', "-")).join(", ");
            return Err(self.error(
                at,
                format_args!("there is no verdict `{text}`"),
                format_args!("verdicts are {list}"),
            ));
        }
        Ok(Node::Verdict(found))
    }

    fn runs(&self, text: &str, at: usize) -> Result<Node, QueryError> {
        let wrong = || {
            self.error(
                at,
                format_args!("`{text}` says nothing about runs"),
                "write runs:yes, runs:no, or the time of a full run: runs:<2min, runs:<=30s, runs:>1h, runs:1min..10min",
            )
        };
        let minutes = |part: &str| duration(part).ok_or_else(wrong);
        Ok(match text {
            "yes" | "true" => Node::Runs(true),
            "no" | "false" => Node::Runs(false),
            _ => {
                let end = |part: &str| {
                    if part.is_empty() { Ok(None) } else { minutes(part).map(|m| Some((m, true))) }
                };
                let (from, until) = if let Some(rest) = text.strip_prefix("<=") {
                    (None, Some((minutes(rest)?, true)))
                } else if let Some(rest) = text.strip_prefix('<') {
                    (None, Some((minutes(rest)?, false)))
                } else if let Some(rest) = text.strip_prefix(">=") {
                    (Some((minutes(rest)?, true)), None)
                } else if let Some(rest) = text.strip_prefix('>') {
                    (Some((minutes(rest)?, false)), None)
                } else if let Some((from, until)) = text.split_once("..") {
                    (end(from)?, end(until)?)
                } else {
                    return Err(wrong());
                };
                if from.is_none() && until.is_none() {
                    return Err(wrong());
                }
                Node::Minutes { from, until }
            }
        })
    }
}

/// A time such as `2min`, `30s`, `1.5h` in minutes; a bare number is minutes.
fn duration(text: &str) -> Option<f64> {
    let digits = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let value: f64 = text[..digits].parse().ok()?;
    let unit = match &text[digits..] {
        "s" | "sec" | "seconds" => 1.0 / 60.0,
        "" | "m" | "min" | "minutes" => 1.0,
        "h" | "hours" => 60.0,
        _ => return None,
    };
    (value.is_finite() && value <= 1e9).then_some(value * unit)
}

fn example(field: &str) -> &'static str {
    match field {
        "year" => "year:2024..",
        "verdict" | "verdicts" => "verdict:confirmed",
        "runs" => "runs:<2min",
        "author" | "authors" => "author:lovelace",
        "arxiv" => "arxiv:2212.07677",
        _ => "title:attention or title:\"two words\"",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn word(text: &str, at: usize) -> Node {
        Node::Text { field: TextField::Any, text: text.into(), form: Form::Word, at }
    }

    #[test]
    fn binds_and_before_or() {
        let got = parse("a b OR c AND NOT d").unwrap();
        let want = Node::Or(vec![
            Node::And(vec![word("a", 0), word("b", 2)]),
            Node::And(vec![word("c", 7), Node::Not(Box::new(word("d", 17)))]),
        ]);
        assert_eq!(got, want);
        assert_eq!(parse("NOT -d").unwrap(), word("d", 5));
    }

    #[test]
    fn reads_fields_and_groups() {
        let text = |field, text: &str, form, at| Node::Text { field, text: text.into(), form, at };
        assert_eq!(
            parse("title:(\"in context\" OR learn*)").unwrap(),
            Node::Or(vec![
                text(TextField::Title, "in context", Form::Phrase, 7),
                text(TextField::Title, "learn", Form::Prefix, 23),
            ])
        );
        assert_eq!(parse("year:2020..2022").unwrap(), Node::Year { from: Some(2020), until: Some(2022) });
        assert_eq!(
            parse("year:(2020 OR ..1999)").unwrap(),
            Node::Or(vec![
                Node::Year { from: Some(2020), until: Some(2020) },
                Node::Year { from: None, until: Some(1999) }
            ])
        );
        assert_eq!(parse("verdict:not-confirmed").unwrap(), Node::Verdict(vec!["not confirmed"]));
        assert_eq!(
            parse("verdict:confirmed*").unwrap(),
            Node::Verdict(vec!["confirmed", "confirmed at reduced scale"])
        );
        assert_eq!(parse("runs:<30s").unwrap(), Node::Minutes { from: None, until: Some((0.5, false)) });
        assert_eq!(
            parse("runs:1..1h").unwrap(),
            Node::Minutes { from: Some((1.0, true)), until: Some((60.0, true)) }
        );
        assert_eq!(parse("runs:no").unwrap(), Node::Runs(false));
    }

    #[test]
    fn a_colon_in_a_pasted_title_is_text() {
        assert_eq!(parse("bert: pre-training").unwrap().free_text(), "bert: pre-training");
        assert_eq!(parse("GPT-4:what").unwrap().free_text(), "GPT-4:what");
        assert_eq!(parse("a - b -").unwrap().free_text(), "a - b -");
    }

    #[test]
    fn points_at_mistakes() {
        for (text, at, hint) in [
            ("a AND", 5, "write a word"),
            ("OR a", 0, "before and after"),
            ("a AND OR b", 6, "before and after"),
            ("(a", 0, "close it"),
            ("a)", 1, "remove it"),
            ("a \"b c", 2, "close it"),
            ("()", 0, "between them"),
            ("naïve titel:x", 7, "did you mean `title:`?"),
            ("title: x", 6, "right behind the colon"),
            ("year:20x4", 5, "year:2024.."),
            ("year:2024..2020", 5, "year:2020..2024"),
            ("year:..", 5, "year:2024.."),
            ("verdict:maybe", 8, "not-confirmed"),
            ("runs:soon", 5, "runs:<2min"),
            ("a*b", 1, "end of a word"),
            ("x *", 2, "beginning"),
            ("https://arxiv.org", 0, "quotes"),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error.at, at, "{text}: {error}");
            assert!(error.to_string().contains(hint), "{text}: {error}");
        }
    }

    #[test]
    fn is_bounded() {
        assert_eq!(parse(&"(".repeat(4000)).unwrap_err().at, MAX_DEPTH);
        assert!(parse(&"NOT ".repeat(1000)).is_err());
        assert!(parse(&"a ".repeat(MAX_CLAUSES)).is_ok());
        assert!(parse(&"a ".repeat(MAX_CLAUSES + 1)).is_err());
        assert!(parse(&"é".repeat(MAX_BYTES)).is_err());
    }

    #[test]
    fn splits_meaning_from_conditions() {
        let node = parse("fast decoding -survey year:2024 title:tree").unwrap();
        assert_eq!(node.free_text(), "fast decoding");
        let Node::And(kept) = node.conditions() else { panic!("{node:?}") };
        assert_eq!(kept.len(), 3);
        assert!(
            matches!(node.any_word(), Some(Node::And(all)) if matches!(all[0], Node::Or(_)) && all.len() == 4)
        );
        assert_eq!(parse("word").unwrap().any_word(), None);
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}") {
            check(&text);
        }

        #[test]
        fn never_panics_on_near_queries(parts in prop::collection::vec(prop::sample::select(vec![
            "a", "é", " ", "AND", "OR", "NOT", "(", ")", "\"", "-", "*", ":", "..", "title:", "year:", "2024", "runs:",
            "<", "2min", "verdict:", "confirmed", "author:", "x:", "\u{301}", "\u{3000}",
        ]), 0..24)) {
            check(&parts.concat());
        }
    }

    fn check(text: &str) {
        if let Err(error) = parse(text) {
            assert!(text.is_char_boundary(error.at) && error.at <= text.len());
            assert!(!error.what.is_empty() && !error.wanted.is_empty());
        }
    }
}
