//! WordPiece (Schuster and Nakajima, 2012; as in BERT): words are cut into the longest pieces of a vocabulary, from the left.

use std::collections::HashMap;
use std::path::Path;

use serde::Deserialize;

use super::error::{SentenceError, read_json};
use super::text::words;

/// A tokenizer in the form of BERT's, read from `tokenizer.json`.
#[derive(Clone, Debug)]
pub struct WordPiece {
    /// Pieces that begin a word.
    begin: HashMap<String, u32>,
    /// Pieces that go on with one, without their prefix.
    go_on: HashMap<String, u32>,
    /// Special tokens: text that spells one is taken as it, as the reference does.
    special: Vec<(String, u32)>,
    unknown: u32,
    first: u32,
    last: u32,
    /// Tokens that a model needs rows for.
    size: usize,
    /// Longer words are unknown without a look.
    most_characters: usize,
    /// Bytes of the longest piece.
    longest: usize,
}

/// The parts of `tokenizer.json` that decide what a text becomes. Truncation and padding are the caller's.
#[derive(Deserialize)]
struct File {
    normalizer: Normalizer,
    pre_tokenizer: Kind,
    #[serde(default)]
    added_tokens: Vec<Added>,
    model: Model,
}

#[derive(Deserialize)]
struct Normalizer {
    #[serde(rename = "type")]
    kind: String,
    clean_text: bool,
    handle_chinese_chars: bool,
    /// As `lowercase` when it is not said.
    strip_accents: Option<bool>,
    lowercase: bool,
}

#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
struct Added {
    id: u32,
    content: String,
}

#[derive(Deserialize)]
struct Model {
    #[serde(rename = "type", default = "word_piece")]
    kind: String,
    unk_token: String,
    continuing_subword_prefix: String,
    max_input_chars_per_word: usize,
    vocab: HashMap<String, u32>,
}

fn word_piece() -> String {
    "WordPiece".to_owned()
}

impl WordPiece {
    /// Reads `tokenizer.json`.
    ///
    /// # Errors
    /// The file cannot be read, or is not an uncased BERT tokenizer.
    pub fn open(path: &Path) -> Result<Self, SentenceError> {
        Self::new(read_json::<File>(path)?).map_err(|problem| SentenceError::form(path, problem))
    }

    fn new(file: File) -> Result<Self, String> {
        let wanted = |what: &str, got: &str, wanted: &str| match got == wanted {
            true => Ok(()),
            false => Err(format!("{what} `{got}`, wanted `{wanted}`")),
        };
        wanted("normalizer", &file.normalizer.kind, "BertNormalizer")?;
        wanted("pre_tokenizer", &file.pre_tokenizer.kind, "BertPreTokenizer")?;
        wanted("model", &file.model.kind, "WordPiece")?;
        let n = &file.normalizer;
        if !(n.clean_text && n.handle_chinese_chars && n.lowercase && n.strip_accents.unwrap_or(n.lowercase))
        {
            return Err(
                "a normalizer that cleans text, spaces ideographs, lowers case and strips accents is wanted"
                    .to_owned(),
            );
        }
        let Model { vocab, continuing_subword_prefix: prefix, .. } = file.model;
        if prefix.is_empty() {
            return Err("continuing_subword_prefix is empty, wanted `##` or another mark".to_owned());
        }
        let id = |token: &str| vocab.get(token).copied().ok_or(format!("the vocabulary has no `{token}`"));
        let (unknown, first, last) = (id(&file.model.unk_token)?, id("[CLS]")?, id("[SEP]")?);
        let ids = vocab.values().chain(file.added_tokens.iter().map(|added| &added.id));
        let size = ids.max().map_or(0, |most| *most as usize + 1);
        let longest = vocab.keys().map(String::len).max().unwrap_or(0);
        let special = file.added_tokens.into_iter().filter(|added| !added.content.is_empty());
        let special = special.map(|added| (added.content, added.id)).collect();
        let (mut begin, mut go_on) = (HashMap::new(), HashMap::new());
        for (piece, id) in sorted(vocab) {
            match piece.strip_prefix(&prefix) {
                Some(rest) => go_on.insert(rest.to_owned(), id),
                None => begin.insert(piece, id),
            };
        }
        let most_characters = file.model.max_input_chars_per_word;
        Ok(Self { begin, go_on, special, unknown, first, last, size, most_characters, longest })
    }

    /// One more than the largest token: the rows that an embedding needs.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }

    /// The tokens of a text between `[CLS]` and `[SEP]`; of a long text the first `most`, these two among them.
    #[must_use]
    pub fn encode(&self, text: &str, most: usize) -> Vec<u32> {
        let room = most.saturating_sub(1);
        let mut tokens = vec![self.first];
        let mut rest = text;
        while !rest.is_empty() && tokens.len() < room {
            let (plain, special, after) = self.next_special(rest);
            self.encode_plain(plain, room, &mut tokens);
            tokens.extend(special);
            rest = after;
        }
        tokens.truncate(room);
        tokens.push(self.last);
        tokens
    }

    /// Text up to the first special token that is spelled in it, that token, and the text behind it.
    fn next_special<'t>(&self, text: &'t str) -> (&'t str, Option<u32>, &'t str) {
        let found = self.special.iter().filter_map(|(name, id)| Some((text.find(name.as_str())?, name, id)));
        match found.min_by_key(|(at, name, _)| (*at, std::cmp::Reverse(name.len()))) {
            Some((at, name, id)) => (&text[..at], Some(*id), &text[at + name.len()..]),
            None => (text, None, ""),
        }
    }

    fn encode_plain(&self, text: &str, room: usize, tokens: &mut Vec<u32>) {
        words(text, |word| {
            if tokens.len() < room {
                self.encode_word(word, tokens);
            }
        });
    }

    /// The longest pieces from the left; a word with a part that no piece fits is unknown as a whole.
    fn encode_word(&self, word: &str, tokens: &mut Vec<u32>) {
        let start = tokens.len();
        let mut rest = word;
        if word.chars().count() > self.most_characters {
            return tokens.push(self.unknown);
        }
        while !rest.is_empty() {
            let pieces = if rest.len() == word.len() { &self.begin } else { &self.go_on };
            let mut end = rest.floor_char_boundary(self.longest);
            let piece = loop {
                if let Some(id) = pieces.get(&rest[..end]).filter(|_| end > 0) {
                    break Some(*id);
                }
                if end == 0 {
                    break None;
                }
                end = rest.floor_char_boundary(end - 1);
            };
            let Some(piece) = piece else {
                tokens.truncate(start);
                return tokens.push(self.unknown);
            };
            tokens.push(piece);
            rest = &rest[end..];
        }
    }
}

/// In the order of the tokens.
fn sorted(vocabulary: HashMap<String, u32>) -> Vec<(String, u32)> {
    let mut all: Vec<(String, u32)> = vocabulary.into_iter().collect();
    all.sort_by_key(|(_, id)| *id);
    all
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A tokenizer with these pieces after the special tokens `[PAD]`, `[UNK]`, `[CLS]`, `[SEP]`: piece `i` is token `4 + i`.
    pub(in super::super) fn file(pieces: &[&str]) -> String {
        let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"];
        let vocab: serde_json::Map<String, serde_json::Value> = special
            .iter()
            .chain(pieces)
            .enumerate()
            .map(|(i, piece)| ((*piece).to_owned(), i.into()))
            .collect();
        let added: Vec<_> =
            special.iter().enumerate().map(|(i, s)| serde_json::json!({ "id": i, "content": s })).collect();
        serde_json::json!({
            "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                "strip_accents": null, "lowercase": true },
            "pre_tokenizer": { "type": "BertPreTokenizer" },
            "added_tokens": added,
            "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                "max_input_chars_per_word": 12, "vocab": vocab },
        })
        .to_string()
    }

    fn tokenizer(pieces: &[&str]) -> WordPiece {
        WordPiece::new(serde_json::from_str(&file(pieces)).unwrap()).unwrap()
    }

    #[test]
    fn the_longest_piece_wins_and_a_word_that_does_not_fit_is_unknown() {
        let t = tokenizer(&["un", "una", "##ff", "##able", "##aff", "##a", "a", "é", "e", ","]);
        let (cls, sep, unk) = (2, 3, 1);
        assert_eq!(t.encode("", 256), [cls, sep]);
        // una + ##ff + ##able, not un + ##aff + ##able: greedy from the left.
        assert_eq!(t.encode("unaffable", 256), [cls, 5, 6, 7, sep]);
        assert_eq!(t.encode("Una, UN", 256), [cls, 5, 13, 4, sep]);
        assert_eq!(t.encode("unx a", 256), [cls, unk, 10, sep]);
        // Accents are gone before the vocabulary is asked.
        assert_eq!(t.encode("É", 256), [cls, 12, sep]);
        assert_eq!(t.encode("aaaaaaaaaaaa", 256).len(), 14);
        assert_eq!(t.encode("aaaaaaaaaaaaa", 256), [cls, unk, sep]);
        assert_eq!(t.size(), 14);
    }

    #[test]
    fn long_texts_are_cut_and_special_tokens_may_be_spelled() {
        let t = tokenizer(&["a", "##a"]);
        assert_eq!(t.encode(&"a ".repeat(500), 6), [2, 4, 4, 4, 4, 3]);
        assert_eq!(t.encode("aaaaaa", 4), [2, 4, 5, 3]);
        assert_eq!(t.encode("a[SEP]a [PAD]", 256), [2, 4, 3, 4, 0, 3]);
        assert_eq!(t.encode("a[sep]", 256), [2, 4, 1, 1, 1, 3]);
    }

    #[test]
    fn other_kinds_of_tokenizers_are_refused() {
        for (what, with, words) in [
            ("\"BertNormalizer\"", "\"NFC\"", "normalizer `NFC`, wanted `BertNormalizer`"),
            ("\"WordPiece\"", "\"BPE\"", "model `BPE`, wanted `WordPiece`"),
            ("\"lowercase\":true", "\"lowercase\":false", "lowers case"),
            ("\"[CLS]\":2", "\"[cls]\":2", "the vocabulary has no `[CLS]`"),
        ] {
            let text = file(&["a"]);
            assert!(text.contains(what), "{text}");
            let problem =
                WordPiece::new(serde_json::from_str(&text.replace(what, with)).unwrap()).unwrap_err();
            assert!(problem.contains(words), "{problem}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_gives_tokens_of_the_vocabulary_between_the_marks(text in ".{0,80}", most in 2_usize..20) {
            let t = tokenizer(&["a", "##a", "b", "##b", "1", "##1"]);
            let tokens = t.encode(&text, most);
            assert!(tokens.len() <= most && tokens.iter().all(|id| (*id as usize) < t.size()));
            assert_eq!((tokens[0], tokens[tokens.len() - 1]), (2, 3));
        }
    }
}
