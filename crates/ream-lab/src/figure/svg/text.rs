//! Widths of texts without a font, and lines that fit.

/// Hundredths of an em of the printable ASCII characters: widths of common sans-serif faces, on the wide side, so that
/// room kept by these widths is enough whichever face the reader has.
const WIDTHS: [u8; 95] = [
    32, 38, 44, 80, 63, 92, 76, 27, 38, 38, 48, 80, 32, 36, 32, 33, // space to /
    62, 62, 62, 62, 62, 62, 62, 62, 62, 62, 33, 33, 80, 80, 80, 53, // 0 to ?
    98, 69, 69, 70, 76, 64, 59, 77, 75, 30, 40, 66, 57, 86, 75, 78, // @ to O
    62, 78, 69, 64, 62, 73, 69, 98, 68, 63, 68, 38, 33, 38, 80, 50, // P to _
    50, 60, 62, 54, 62, 60, 34, 62, 62, 27, 27, 57, 27, 94, 62, 60, // ` to o
    62, 62, 40, 52, 38, 62, 58, 80, 58, 58, 52, 60, 32, 60, 80, // p to ~
];

/// The width of a text in pixels at a font size.
pub(in crate::figure) fn width(text: &str, size: f64) -> f64 {
    let ems: f64 = text
        .chars()
        .map(|c| match c {
            ' '..='~' => f64::from(WIDTHS[c as usize - 32]) / 100.0,
            '\u{300}'..='\u{36f}' => 0.0,
            '⁰'..='₎' | '¹' | '²' | '³' => 0.40,
            '–' | '·' => 0.5,
            c if (c as u32) < 0x1100 => 0.66,
            '\u{2000}'..='\u{2bff}' => 0.82,
            _ => 1.05,
        })
        .sum();
    ems * size
}

/// The longest beginning that fits, with an ellipsis where something is left out.
pub(super) fn shorten(text: &str, size: f64, room: f64) -> String {
    if width(text, size) <= room {
        return text.to_owned();
    }
    let mut out: Vec<char> = Vec::new();
    let mut used = width("…", size);
    for c in text.chars() {
        used += width(c.encode_utf8(&mut [0; 4]), size);
        if used > room {
            break;
        }
        out.push(c);
    }
    out.into_iter().collect::<String>().trim_end().to_owned() + "…"
}

/// Lines of at most `room` pixels and at most `most` lines; the last one is shortened if that is not enough.
pub(super) fn wrap(text: &str, size: f64, room: f64, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if width(line, size) + width(" ", size) + width(word, size) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    if lines.len() > most {
        let rest = lines.split_off(most.max(1) - 1).join(" ");
        lines.push(rest);
    }
    lines.into_iter().map(|line| shorten(&line, size, room)).collect()
}

/// Escapes a text for XML and leaves out the control characters that XML does not allow.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' | '\r' => out.push(' '),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit() {
        let text = "a rather long title of several words that needs more than one line";
        let lines = wrap(text, 12.0, 150.0, 9);
        assert!(lines.len() > 2);
        assert!(lines.iter().all(|l| width(l, 12.0) <= 150.0));
        assert_eq!(lines.join(" "), text);
        let two = wrap(text, 12.0, 150.0, 2);
        assert_eq!(two.len(), 2);
        assert!(two[1].ends_with('…'));
        assert!(wrap("", 12.0, 150.0, 2).is_empty());
    }

    #[test]
    fn xml_is_escaped() {
        assert_eq!(escape("a<b & \"c\"\u{1}\n>"), "a&lt;b &amp; &quot;c&quot; &gt;");
    }
}
