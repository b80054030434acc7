//! Cutting text into words.

/// Cuts text into words; together they are the text. As GPT-2 does, and at each place the first of these that fits:
///
/// 1. an English ending with its apostrophe: `'s 't 're 've 'm 'll 'd`;
/// 2. letters, with at most one space before them;
/// 3. digits and other numbers, with at most one space before them;
/// 4. other signs, with at most one space before them;
/// 5. white space, but its last character is left for the word that follows.
///
/// Letters and numbers are Unicode's properties *alphabetic* and *numeric* (GPT-2's pattern has the categories L and N, so
/// combining vowel signs of some scripts count as signs there). Bytes that are no UTF-8 count as signs.
pub fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    cut(text, |rest| length_of_word(rest, of_properties))
}

/// Cuts a text into pieces: `length` says how many bytes the first piece of a text that is not empty has, at least 1.
pub(crate) fn cut<'t>(
    text: &'t [u8],
    mut length: impl FnMut(&'t [u8]) -> usize,
) -> impl Iterator<Item = &'t [u8]> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(length(rest));
        rest = after;
        Some(piece)
    })
}

const ENDINGS: [&[u8]; 7] = [b"'s", b"'t", b"'re", b"'ve", b"'m", b"'ll", b"'d"];

/// What a character is to a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Letter,
    Number,
    White,
    Sign,
}

/// Bytes of the word at the start of a text that is not empty; at least 1.
pub(crate) fn length_of_word(text: &[u8], classes: fn(char) -> Class) -> usize {
    if let Some(ending) = ENDINGS.iter().find(|ending| text.starts_with(ending)) {
        return ending.len();
    }
    let space = usize::from(text[0] == b' ');
    match first(&text[space..], classes) {
        Some((class, _)) if class != Class::White => space + length_of_run(&text[space..], class, classes).0,
        _ => length_of_white(text, classes),
    }
}

/// Bytes of white space at the start: its last character is left for what follows, unless it is the only one.
pub(crate) fn length_of_white(text: &[u8], classes: fn(char) -> Class) -> usize {
    let (length, last) = length_of_run(text, Class::White, classes);
    if length == text.len() || length == last { length } else { length - last }
}

/// Bytes of the characters of one class at the start, and bytes of the last one of them.
pub(crate) fn length_of_run(text: &[u8], wanted: Class, classes: fn(char) -> Class) -> (usize, usize) {
    let (mut length, mut last) = (0, 0);
    while let Some((class, bytes)) = first(&text[length..], classes)
        && class == wanted
    {
        length += bytes;
        last = bytes;
    }
    (length, last)
}

/// Class and bytes of the first character; a byte that belongs to none is a sign.
pub(crate) fn first(text: &[u8], classes: fn(char) -> Class) -> Option<(Class, usize)> {
    let byte = *text.first()?;
    if byte.is_ascii() {
        return Some((classes(char::from(byte)), 1));
    }
    // No character is longer than four bytes.
    match text[..text.len().min(4)].utf8_chunks().next().and_then(|chunk| chunk.valid().chars().next()) {
        Some(c) => Some((classes(c), c.len_utf8())),
        None => Some((Class::Sign, 1)),
    }
}

/// Letters and numbers by Unicode's properties *alphabetic* and *numeric*.
fn of_properties(c: char) -> Class {
    if c.is_alphabetic() {
        Class::Letter
    } else if c.is_numeric() {
        Class::Number
    } else if c.is_whitespace() {
        Class::White
    } else {
        Class::Sign
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cut(text: &str) -> Vec<&str> {
        words(text.as_bytes()).map(|word| str::from_utf8(word).unwrap()).collect()
    }

    #[test]
    fn words_take_the_space_before_them() {
        assert_eq!(cut("And God said, Let"), ["And", " God", " said", ",", " Let"]);
        assert_eq!(cut("it's he'll 'tis don'T"), ["it", "'s", " he", "'ll", " '", "tis", " don", "'", "T"]);
        assert_eq!(
            cut("in 1611: \u{201c}\u{e1}rbol\u{201d}"),
            ["in", " 1611", ":", " \u{201c}", "\u{e1}rbol", "\u{201d}"]
        );
        assert_eq!(cut("a   b\n\nc \n"), ["a", "  ", " b", "\n", "\n", "c", " \n"]);
        assert_eq!(cut("a\tb\u{3000}\u{3000}c "), ["a", "\t", "b", "\u{3000}", "\u{3000}", "c", " "]);
        assert_eq!(cut(""), [""; 0]);
    }

    #[test]
    fn broken_bytes_are_signs() {
        let text = b"a\xffb \xe2\x82c\xe2\x82\xac";
        let cut: Vec<&[u8]> = words(text).collect();
        assert_eq!(cut, [&b"a"[..], b"\xff", b"b", b" \xe2\x82", b"c", "\u{20ac}".as_bytes()]);
    }

    proptest! {
        #[test]
        fn words_are_the_text(text in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"a '\n1s".to_vec())], 0..60)) {
            let cut: Vec<&[u8]> = words(&text).collect();
            prop_assert!(cut.iter().all(|word| !word.is_empty()));
            prop_assert_eq!(cut.concat(), text);
        }
    }
}
