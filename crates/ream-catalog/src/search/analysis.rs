//! Words of a text: cut at what is neither letter nor digit, folded (case, diacritics, compatibility forms), and for titles, abstracts
//! and claims reduced to their English stem.

use tantivy::Index;
use tantivy::tokenizer::{
    AsciiFoldingFilter, Language, RemoveLongFilter, Stemmer, TextAnalyzer, Token, TokenStream, Tokenizer,
};
use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

/// Name of the analyzer that folds.
pub(crate) const FOLDED: &str = "ream-folded";
/// Name of the analyzer that folds and stems.
pub(crate) const STEMMED: &str = "ream-stemmed";
/// Longest word, bytes; longer ones are not indexed.
const LONGEST: usize = 80;

/// The analyzer that folds.
pub(crate) fn folded() -> TextAnalyzer {
    TextAnalyzer::builder(Words::default())
        .filter(AsciiFoldingFilter)
        .filter(RemoveLongFilter::limit(LONGEST))
        .build()
}

/// The analyzer that folds and stems.
pub(crate) fn stemmed() -> TextAnalyzer {
    TextAnalyzer::builder(Words::default())
        .filter(AsciiFoldingFilter)
        .filter(RemoveLongFilter::limit(LONGEST))
        .filter(Stemmer::new(Language::English))
        .build()
}

/// Makes both known to an index.
pub(crate) fn register(index: &Index) {
    index.tokenizers().register(FOLDED, folded());
    index.tokenizers().register(STEMMED, stemmed());
}

/// The words of a text, with their positions.
pub(crate) fn words(analyzer: &mut TextAnalyzer, text: &str) -> Vec<Token> {
    let mut stream = analyzer.token_stream(text);
    let mut found = Vec::new();
    while stream.advance() {
        found.push(stream.token().clone());
    }
    found
}

/// A name or value folded as a whole: its words joined by spaces.
pub(crate) fn fold(text: &str) -> String {
    let texts: Vec<String> = words(&mut folded(), text).into_iter().map(|token| token.text).collect();
    texts.join(" ")
}

/// Cuts and folds. A combining mark belongs to the letter before it, so that both normal forms give the same word.
#[derive(Clone, Default)]
struct Words {
    token: Token,
}

struct WordStream<'a> {
    text: &'a str,
    at: usize,
    token: &'a mut Token,
}

impl Tokenizer for Words {
    type TokenStream<'a> = WordStream<'a>;

    fn token_stream<'a>(&'a mut self, text: &'a str) -> WordStream<'a> {
        self.token.reset();
        WordStream { text, at: 0, token: &mut self.token }
    }
}

impl TokenStream for WordStream<'_> {
    fn advance(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let Some(skip) = rest.find(char::is_alphanumeric) else { return false };
        let from = self.at + skip;
        let word = &self.text[from..];
        let length = word.find(|c: char| !c.is_alphanumeric() && !is_combining_mark(c)).unwrap_or(word.len());
        let word = &word[..length];
        self.at = from + length;
        self.token.text.clear();
        if word.is_ascii() {
            self.token.text.push_str(word);
            self.token.text.make_ascii_lowercase();
        } else {
            let plain = word.nfkd().filter(|c| !is_combining_mark(*c)).flat_map(char::to_lowercase);
            // Lower case may bring marks of its own (`İ`).
            self.token.text.extend(plain.filter(|c| !is_combining_mark(*c)));
        }
        self.token.offset_from = from;
        self.token.offset_to = self.at;
        self.token.position = self.token.position.wrapping_add(1);
        true
    }

    fn token(&self) -> &Token {
        self.token
    }

    fn token_mut(&mut self) -> &mut Token {
        self.token
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_case_diacritics_and_forms() {
        assert_eq!(
            fold("Señor Łukasz Kaiser, Ørsted e\u{301}t \u{ff26}ull ﬁne İ"),
            "senor lukasz kaiser orsted et full fine i"
        );
        assert_eq!(fold("cafe\u{301}"), fold("café"));
        assert_eq!(fold("-- + "), "");
    }

    #[test]
    fn stems_english() {
        let texts: Vec<String> = words(&mut stemmed(), "Transformers transforming self-attentions")
            .into_iter()
            .map(|t| t.text)
            .collect();
        assert_eq!(texts, ["transform", "transform", "self", "attent"]);
    }

    #[test]
    fn positions_and_offsets_follow_the_text() {
        let tokens = words(&mut folded(), "  Été, 2024!");
        assert_eq!((tokens[0].offset_from, tokens[0].offset_to, tokens[0].position), (2, 7, 0));
        assert_eq!((tokens[1].offset_from, tokens[1].offset_to, tokens[1].position), (9, 13, 1));
    }
}
