//! What BERT does to a text before it looks for word pieces (Devlin et al., 2019: `BasicTokenizer`).
//!
//! Control characters go, every kind of space becomes one, characters of Chinese writing and punctuation become words of their own,
//! letters lose their accents and become lower case. Categories are those of the Unicode tables of `unicode-properties`; characters
//! that were assigned after the reference's tables were made may differ.

use unicode_normalization::UnicodeNormalization;
use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// Calls `take` for every word of a text, normalised.
pub(super) fn words(text: &str, mut take: impl FnMut(&str)) {
    let mut word = String::new();
    let mut end = |word: &mut String| {
        if !word.is_empty() {
            take(word);
            word.clear();
        }
    };
    let plain = text.chars().filter(|c| !is_dropped(*c));
    // Decomposition sees the text with its spaces: marks are not reordered across them.
    for c in plain.nfd().filter(|c| !is_accent(*c)).flat_map(char::to_lowercase) {
        if is_space(c) {
            end(&mut word);
        } else if is_cjk(c) || is_punctuation(c) {
            end(&mut word);
            word.push(c);
            end(&mut word);
        } else {
            word.push(c);
        }
    }
    end(&mut word);
}

fn is_space(c: char) -> bool {
    c.is_whitespace()
}

/// Control, format and private characters, and the sign of what could not be decoded.
fn is_dropped(c: char) -> bool {
    match c {
        '\t' | '\n' | '\r' => false,
        '\u{fffd}' => true,
        _ if c.is_ascii() => c.is_ascii_control(),
        _ => {
            use GeneralCategory::{Control, Format, PrivateUse};
            matches!(c.general_category(), Control | Format | PrivateUse)
        }
    }
}

fn is_accent(c: char) -> bool {
    !c.is_ascii() && c.general_category() == GeneralCategory::NonspacingMark
}

fn is_punctuation(c: char) -> bool {
    if c.is_ascii() {
        c.is_ascii_punctuation()
    } else {
        c.general_category_group() == GeneralCategoryGroup::Punctuation
    }
}

/// The blocks of ideographs, also those of Japanese and Korean; not kana and hangul, which are written with spaces.
fn is_cjk(c: char) -> bool {
    matches!(
        u32::from(c),
        0x4E00..=0x9FFF
            | 0x3400..=0x4DBF
            | 0x2_0000..=0x2_A6DF
            | 0x2_A700..=0x2_B73F
            | 0x2_B740..=0x2_B81F
            | 0x2_B920..=0x2_CEAF
            | 0xF900..=0xFAFF
            | 0x2_F800..=0x2_FA1F
    )
}

#[cfg(test)]
mod tests {
    fn words(text: &str) -> Vec<String> {
        let mut all = Vec::new();
        super::words(text, |word| all.push(word.to_owned()));
        all
    }

    #[test]
    fn spaces_punctuation_case_and_accents() {
        assert_eq!(words("  Hello,\tWorld!\u{a0}x "), ["hello", ",", "world", "!", "x"]);
        assert_eq!(words("Café NAÏVE Ångström"), ["cafe", "naive", "angstrom"]);
        assert_eq!(words("e\u{301}t\u{e9}"), ["ete"]);
        assert_eq!(words("state-of-the-art (2.5%)").len(), 13);
        assert_eq!(words("“quotes” — dash"), ["“", "quotes", "”", "—", "dash"]);
        assert!(words(" \n\t ").is_empty() && words("").is_empty());
    }

    #[test]
    fn what_is_no_text_goes_and_ideographs_stand_alone() {
        assert_eq!(words("a\0b\u{200d}c\u{fffd}d\u{7}e"), ["abcde"]);
        assert_eq!(words("自然语言 nlp"), ["自", "然", "语", "言", "nlp"]);
        assert_eq!(words("カタカナ"), ["カタカナ"]);
        assert_eq!(words("한글"), ["\u{1112}\u{1161}\u{11ab}\u{1100}\u{1173}\u{11af}"]);
    }
}
