//! TeX of bibliographies to Unicode and back: accents, letters and signs by name, dashes and quotation marks.
//!
//! Mathematics between dollar signs stays as it is written, in both directions: titles from arXiv hold the same.

use unicode_normalization::UnicodeNormalization;

mod tables;

use tables::{accent, dropped_command, sign};

/// Nested groups beyond this are read as text.
const DEPTH: usize = 100;
/// Characters of mathematics that an export leaves as they are.
const MATHEMATICS: usize = 500;

/// Plain text of TeX. Commands that are not known stay as they are written.
pub(crate) fn untexified(tex: &str) -> String {
    let mut reader = Reader { rest: tex, text: String::with_capacity(tex.len()), depth: 0 };
    reader.group();
    reader.text
}

struct Reader<'a> {
    rest: &'a str,
    text: String,
    depth: usize,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn starts(&mut self, with: &str) -> bool {
        match self.rest.strip_prefix(with) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// Reads up to the brace that closes the group, or the end.
    fn group(&mut self) {
        while let Some(c) = self.next() {
            match c {
                '{' if self.depth < DEPTH => {
                    self.depth += 1;
                    self.group();
                    self.depth -= 1;
                }
                '}' if self.depth > 0 => return,
                '{' | '}' => {}
                '\\' => self.command(),
                '$' => self.mathematics(),
                '~' => self.text.push(' '),
                '-' if self.starts("--") => self.text.push('—'),
                '-' if self.starts("-") => self.text.push('–'),
                '`' if self.starts("`") => self.text.push('“'),
                '\'' if self.starts("'") => self.text.push('”'),
                c => self.text.push(c),
            }
        }
    }

    /// `$...$` as it stands; a single dollar sign is one.
    fn mathematics(&mut self) {
        self.text.push('$');
        if let Some(end) = unescaped_dollar(self.rest) {
            self.text.push_str(&self.rest[..=end]);
            self.rest = &self.rest[end + 1..];
        }
    }

    fn command(&mut self) {
        let Some(first) = self.next() else {
            self.text.push('\\');
            return;
        };
        if !first.is_ascii_alphabetic() {
            return self.sign_command(first);
        }
        let length = self.rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(self.rest.len());
        let name = format!("{first}{}", &self.rest[..length]);
        self.rest = &self.rest[length..];
        if name == "par" {
            self.text.push_str("\n\n");
        } else if let Some(mark) = name.chars().next().filter(|_| name.len() == 1).and_then(accent) {
            return self.accented(mark);
        } else if let Some(sign) = sign(&name) {
            self.text.push_str(sign);
        } else if name == "href" {
            self.rest = self.rest.trim_start();
            if self.depth < DEPTH && self.starts("{") {
                let at = self.text.len();
                self.depth += 1;
                self.group();
                self.depth -= 1;
                self.text.truncate(at);
            }
            return;
        } else if !dropped_command(&name) {
            return self.unknown(&name);
        }
        // A space after a command's name only ends the name.
        let trimmed = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        self.rest = trimmed;
        if sign(&name).is_some() {
            self.starts("{}");
        }
    }

    /// A command of one sign: an accent, an escaped sign, a space.
    fn sign_command(&mut self, sign: char) {
        match sign {
            '\'' | '`' | '^' | '"' | '~' | '=' | '.' => {
                if let Some(mark) = accent(sign) {
                    self.accented(mark);
                }
            }
            ',' | ';' | ':' | ' ' | '\\' | '\n' | '\t' | '\r' => self.text.push(' '),
            '-' | '/' | '!' | '@' | '(' | ')' | '[' | ']' => {}
            sign => self.text.push(sign),
        }
    }

    /// An accent over the next letter or group.
    fn accented(&mut self, mark: char) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\r', '\n']);
        // Without a letter to stand on, an accent is nothing; the brace belongs to the group around it.
        if self.rest.starts_with('}') || self.depth >= DEPTH {
            return;
        }
        let at = self.text.len();
        self.depth += 1;
        match self.next() {
            None => {}
            Some('{') => self.group(),
            Some('\\') => self.command(),
            Some(c) => self.text.push(c),
        }
        self.depth -= 1;
        let base = self.text.split_off(at);
        let mut letters = base.chars();
        let Some(first) = letters.next() else { return };
        // The letters without a dot are written for accents, which stand on the usual ones in Unicode.
        let first = match first {
            'ı' => 'i',
            'ȷ' => 'j',
            first => first,
        };
        self.text.extend([first, mark].into_iter().nfc());
        self.text.push_str(letters.as_str());
    }

    /// A command that is not known, with the group after it, as written.
    fn unknown(&mut self, name: &str) {
        self.text.push('\\');
        self.text.push_str(name);
        if let Some(length) = group_length(self.rest) {
            self.text.push_str(&self.rest[..length]);
            self.rest = &self.rest[length..];
        }
    }
}

/// Where the next dollar sign stands that has no backslash before it.
fn unescaped_dollar(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, b) in text.bytes().enumerate() {
        match b {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'$' => return Some(at),
            _ => {}
        }
    }
    None
}

/// The length of the group at the start of the text.
fn group_length(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, b) in text.bytes().enumerate() {
        match b {
            b'{' => depth += 1,
            b'}' => depth = depth.checked_sub(1)?,
            _ if depth == 0 => return None,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

/// TeX of plain text, with balanced braces, on one line: [`untexified`] gives the text back.
pub(crate) fn texified(text: &str) -> String {
    let mut tex = String::with_capacity(text.len() + 16);
    let mut rest = text;
    let mut before = None;
    while let Some(c) = rest.chars().next() {
        if c == '$'
            && let Some(length) = mathematics_length(rest)
        {
            tex.push_str(&rest[..length]);
            rest = &rest[length..];
            before = Some('$');
            continue;
        }
        match c {
            '\\' => tex.push_str("{\\textbackslash}"),
            '{' => tex.push_str("{\\textbraceleft}"),
            '}' => tex.push_str("{\\textbraceright}"),
            '~' => tex.push_str("{\\textasciitilde}"),
            '^' => tex.push_str("{\\textasciicircum}"),
            '%' | '&' | '#' | '$' | '_' => tex.extend(['\\', c]),
            '-' | '`' | '\'' if before == Some(c) => tex.extend(['{', c, '}']),
            '\n' => {
                // Two of them part paragraphs.
                let more = rest.trim_start_matches('\n');
                tex.push_str(" \\par ");
                rest = more;
                before = None;
                continue;
            }
            c => tex.push(c),
        }
        before = Some(c);
        rest = &rest[c.len_utf8()..];
    }
    tex
}

/// The length of `$...$` at the start of the text, where it is surely mathematics and safe to write as it stands.
fn mathematics_length(text: &str) -> Option<usize> {
    // Longer ones are not worth the search, which starts again at every dollar sign.
    let near = text.char_indices().nth(MATHEMATICS).map_or(text, |(end, _)| &text[..end]);
    let inside_end = unescaped_dollar(&near[1..])?;
    let inside = &text[1..=inside_end];
    let open = inside.starts_with(char::is_whitespace) || inside.ends_with(char::is_whitespace);
    let balanced = group_length(&format!("{{{inside}}}")) == Some(inside.len() + 2);
    (!inside.is_empty() && !open && balanced && !inside.contains(['%', '#', '\n', '@']))
        .then_some(inside_end + 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accents_and_letters() {
        for (tex, text) in [
            ("G{\\\"o}del", "Gödel"),
            ("Erd\\H{o}s, P\\'al", "Erdős, Pál"),
            ("\\'{\\i}\\v Z\\c{c}\\k{a}", "íŽçą"),
            ("Stra{\\ss}e \\AA ngstr\\\"om {\\O}re \\L{}ukasz", "Straße Ångström Øre Łukasz"),
            ("pages 1--2---``so'' it's~said", "pages 1–2—“so” it's said"),
            ("{The {B}ayes} \\emph{rule} {\\it of} \\textbf{x}", "The Bayes rule of x"),
            ("50\\% \\& \\$5 \\_ \\# \\textbackslash{}x", "50% & $5 _ # \\x"),
            ("$O(n^{2})$ \\LaTeX\\ and \\foo{bar}", "$O(n^{2})$ LaTeX and \\foo{bar}"),
            ("\\href{http://x}{here} \\url{http://a_b}", "here http://a_b"),
            ("\\'", ""),
            ("a\\", "a\\"),
            ("}{", ""),
            ("{\\'}x", "x"),
        ] {
            assert_eq!(untexified(tex), text, "{tex}");
        }
    }

    #[test]
    fn text_comes_back() {
        for text in [
            "50% of R&D_x #1 {a} \\b ~ ^ \"q\"",
            "-- --- ``x'' -----",
            "$x^2$ and $5 or 6$",
            "$a\\$ b",
            "}{",
            "\\par",
            "one\n\ntwo",
            "$",
            "$$",
            "\\$x$",
            "$\\alpha$-net",
            "``",
            "a$%$b",
        ] {
            let tex = texified(text);
            assert_eq!(untexified(&tex).replace(" \n\n", "\n\n"), text, "{tex}");
            assert!(group_length(&format!("{{{tex}}}")) == Some(tex.len() + 2), "{tex}");
        }
    }
}
