//! Cutting text into words, as a model's tokenizer does it.

use unicode_properties::{GeneralCategoryGroup, UnicodeGeneralCategory};

use crate::bpe::words::{Class, cut, first, length_of_run, length_of_white, length_of_word};

/// How text is cut into words before merges are applied. `L` and `N` are Unicode's categories letter and number; at each place the first
/// alternative that fits is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreTokenizer {
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?L+| ?N+| ?[^\s L N]+|\s+(?!\S)|\s+`.
    Gpt2,
    /// Every number alone; what is left between them as [`Gpt2`](Self::Gpt2).
    SmolLm,
    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n L N]?L+|N{1,3}| ?[^\s L N]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`; a word that is a token is not cut further.
    Llama3,
    /// [`bpe::words`](crate::bpe::words()): the words of tokenizers that are trained here. Other programs do not know it.
    Ream,
}

impl PreTokenizer {
    /// Names in files.
    pub(super) const NAMES: [(&'static str, Self); 4] =
        [("gpt-2", Self::Gpt2), ("smollm", Self::SmolLm), ("llama-bpe", Self::Llama3), ("ream", Self::Ream)];

    /// By its name in a GGUF file (`tokenizer.ggml.pre`).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, pre)| *pre)
    }

    /// Its name in a GGUF file.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Gpt2 => "gpt-2",
            Self::SmolLm => "smollm",
            Self::Llama3 => "llama-bpe",
            Self::Ream => "ream",
        }
    }

    pub(super) fn takes_whole_words(self) -> bool {
        self == Self::Llama3
    }

    /// Hands on word after word; together they are the text.
    pub fn words<'t>(self, text: &'t [u8], mut hand_on: impl FnMut(&'t [u8])) {
        match self {
            Self::Gpt2 => cut(text, gpt2).for_each(hand_on),
            Self::SmolLm => {
                for piece in cut(text, number_or_rest) {
                    cut(piece, gpt2).for_each(&mut hand_on);
                }
            }
            Self::Llama3 => cut(text, llama3).for_each(hand_on),
            Self::Ream => crate::bpe::words(text).for_each(hand_on),
        }
    }
}

/// Letters and numbers by general category.
fn of_categories(c: char) -> Class {
    if c.is_ascii() {
        return match c {
            'a'..='z' | 'A'..='Z' => Class::Letter,
            '0'..='9' => Class::Number,
            ' ' | '\t'..='\r' => Class::White,
            _ => Class::Sign,
        };
    }
    match c.general_category_group() {
        GeneralCategoryGroup::Letter => Class::Letter,
        GeneralCategoryGroup::Number => Class::Number,
        _ if c.is_whitespace() => Class::White,
        _ => Class::Sign,
    }
}

fn gpt2(text: &[u8]) -> usize {
    length_of_word(text, of_categories)
}

/// One number, or everything up to the next.
fn number_or_rest(text: &[u8]) -> usize {
    let mut length = 0;
    while let Some((class, bytes)) = first(&text[length..], of_categories) {
        if class == Class::Number {
            return if length == 0 { bytes } else { length };
        }
        length += bytes;
    }
    length
}

fn llama3(text: &[u8]) -> usize {
    if let Some(length) = ending_of_any_case(text) {
        return length;
    }
    let run = |at: usize, class: Class| length_of_run(&text[at..], class, of_categories).0;
    let first_at = |at: usize| first(&text[at..], of_categories);
    let Some((class, bytes)) = first_at(0) else { return text.len() };
    let line_end = |at: usize| matches!(text.get(at), Some(b'\r' | b'\n'));
    match class {
        Class::Letter => return run(0, Class::Letter),
        Class::Number => return up_to_three_numbers(text),
        // One character of any other kind belongs to the letters behind it.
        _ if !line_end(0) && matches!(first_at(bytes), Some((Class::Letter, _))) => {
            return bytes + run(bytes, Class::Letter);
        }
        _ => {}
    }
    let space = usize::from(text[0] == b' ');
    let signs = run(space, Class::Sign);
    if signs > 0 {
        let end = space + signs;
        return end + (end..).take_while(|&at| line_end(at)).count();
    }
    let white = run(0, Class::White);
    match (0..white).rev().find(|&at| line_end(at)) {
        Some(last) => last + 1,
        None => length_of_white(text, of_categories),
    }
}

fn up_to_three_numbers(text: &[u8]) -> usize {
    let mut length = 0;
    for _ in 0..3 {
        match first(&text[length..], of_categories) {
            Some((Class::Number, bytes)) => length += bytes,
            _ => break,
        }
    }
    length
}

/// `'s 't 're 've 'm 'll 'd` in any case; the long s is an s.
fn ending_of_any_case(text: &[u8]) -> Option<usize> {
    const ENDINGS: [&[u8]; 7] = [b"s", b"t", b"re", b"ve", b"m", b"ll", b"d"];
    let rest = text.strip_prefix(b"'")?;
    if rest.starts_with("\u{17f}".as_bytes()) {
        return Some(3);
    }
    let fits =
        |ending: &&&[u8]| rest.get(..ending.len()).is_some_and(|start| start.eq_ignore_ascii_case(ending));
    ENDINGS.iter().find(fits).map(|ending| 1 + ending.len())
}
