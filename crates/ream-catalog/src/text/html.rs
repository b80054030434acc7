//! HTML in titles and abstracts: to plain text, and back where plain text looks like HTML.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use super::{one_line, paragraphs};

/// Elements that publishers and feeds put into titles and abstracts. Anything else between `<` and `>` is text:
/// `if a <b and c> d` is mathematics, not an element.
const ELEMENTS: [&str; 62] = [
    "a",
    "abbr",
    "article",
    "b",
    "big",
    "blockquote",
    "body",
    "br",
    "center",
    "cite",
    "code",
    "dd",
    "del",
    "div",
    "dl",
    "dt",
    "em",
    "embed",
    "font",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "hr",
    "html",
    "i",
    "iframe",
    "img",
    "input",
    "ins",
    "li",
    "link",
    "mark",
    "meta",
    "object",
    "ol",
    "p",
    "pre",
    "q",
    "s",
    "script",
    "section",
    "small",
    "span",
    "strike",
    "strong",
    "style",
    "sub",
    "sup",
    "svg",
    "table",
    "tbody",
    "td",
    "th",
    "tr",
    "tt",
    "u",
    "ul",
];

/// Elements that end a paragraph.
const BLOCKS: [&str; 9] = ["p", "div", "br", "li", "ul", "ol", "tr", "blockquote", "section"];

/// More elements than this in one text are cut out without building a tree, whose cost grows with depth times length.
const MOST_ELEMENTS: usize = 1000;

static CLEANER: LazyLock<ammonia::Builder<'static>> = LazyLock::new(|| {
    let mut cleaner = ammonia::Builder::new();
    cleaner
        .tags(HashSet::from(["p", "br", "div", "li"]))
        .tag_attributes(HashMap::new())
        .generic_attributes(HashSet::new())
        .link_rel(None);
    cleaner
});

/// Plain text of what may hold HTML: elements go (scripts and styles with their content), entities become characters,
/// paragraphs stay apart, white space and control characters as in [`paragraphs`].
#[must_use]
pub fn plain(text: &str) -> String {
    paragraphs(&without_markup(text))
}

/// As [`plain`], on one line.
#[must_use]
pub fn plain_line(text: &str) -> String {
    one_line(&without_markup(text))
}

/// The inverse of [`plain`] for plain text: itself in nearly all cases, and with `&` and `<` as entities where it would
/// be taken for HTML.
#[must_use]
pub fn markup(text: &str) -> Cow<'_, str> {
    if without_markup(text) == text {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace('&', "&amp;").replace('<', "&lt;"))
}

fn without_markup(text: &str) -> Cow<'_, str> {
    if !text.contains(['<', '&']) {
        return Cow::Borrowed(text);
    }
    let Some(html) = only_known(text) else { return Cow::Borrowed(text) };
    let clean = CLEANER.clean(&html).to_string();
    Cow::Owned(decoded(&clean))
}

/// The text with every `<` and `&` escaped that starts neither a known element, a comment nor an entity. Nothing where
/// the text has none of them.
fn only_known(text: &str) -> Option<String> {
    let mut html = String::with_capacity(text.len() + 16);
    let (mut elements, mut entities) = (0, 0);
    let mut rest = text;
    // Found once: to look for them at every element would cost the square of the length.
    let lower = text.to_ascii_lowercase();
    let last =
        Last { comment: text.rfind("-->"), script: lower.rfind("</script"), style: lower.rfind("</style") };
    while let Some(at) = rest.find(['<', '&']) {
        html.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with('&') {
            let entity = is_entity(rest);
            entities += usize::from(entity);
            html.push_str(if entity { "&" } else { "&amp;" });
            rest = &rest[1..];
            continue;
        }
        let Some(length) = element(rest, &last, text.len() - rest.len()) else {
            html.push_str("&lt;");
            rest = &rest[1..];
            continue;
        };
        elements += 1;
        if elements <= MOST_ELEMENTS {
            html.push_str(&rest[..length]);
        }
        rest = &rest[length..];
    }
    html.push_str(rest);
    (elements + entities > 0).then_some(html)
}

fn is_entity(text: &str) -> bool {
    let name = text[1..].bytes().take(33).position(|b| !(b.is_ascii_alphanumeric() || b == b'#'));
    name.is_some_and(|end| end > 0 && text.as_bytes()[end + 1] == b';')
}

/// Where what closes a comment, a script and a style stands for the last time.
struct Last {
    comment: Option<usize>,
    script: Option<usize>,
    style: Option<usize>,
}

/// The length of the known element, closing tag or comment at the start of the text, which begins at byte `at` of the
/// whole.
fn element(text: &str, last: &Last, at: usize) -> Option<usize> {
    if text.starts_with("<!--") {
        last.comment.filter(|&end| end > at)?;
        return text.find("-->").map(|end| end + 3);
    }
    let name_at = if text.starts_with("</") { 2 } else { 1 };
    let name_length = text[name_at..].find(|c: char| !(c.is_ascii_alphanumeric() || c == ':'))?;
    let name = text[name_at..name_at + name_length].to_ascii_lowercase();
    // JATS and MathML come with their prefixes in what publishers deposit.
    let known = ELEMENTS.binary_search(&name.as_str()).is_ok()
        || name.starts_with("jats:")
        || name.starts_with("mml:");
    let inside = &text[name_at + name_length..];
    let end = inside.find(['<', '>']).filter(|&end| inside.as_bytes()[end] == b'>')?;
    let proper = inside.starts_with(['>', '/']) || inside.starts_with(char::is_whitespace);
    // Without its end a script would take everything after it along.
    let closed = match name.as_str() {
        "script" => last.script.is_some_and(|end| end >= at),
        "style" => last.style.is_some_and(|end| end >= at),
        _ => true,
    };
    (known && proper && closed).then_some(name_at + name_length + end + 1)
}

/// Text of the cleaner's output, which holds only the four elements it was allowed and four entities.
fn decoded(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&']) {
        text.push_str(&rest[..at]);
        rest = &rest[at..];
        if rest.starts_with('<') {
            let end = rest.find('>').map_or(rest.len(), |end| end + 1);
            let name = rest[1..end].trim_matches(['/', '>', ' ']);
            if BLOCKS.contains(&name) {
                text.push_str("\n\n");
            }
            rest = &rest[end..];
            continue;
        }
        let entity = [("&lt;", "<"), ("&gt;", ">"), ("&nbsp;", " "), ("&quot;", "\""), ("&amp;", "&")]
            .into_iter()
            .find(|(entity, _)| rest.starts_with(entity));
        let (length, value) = entity.map_or((1, "&"), |(entity, value)| (entity.len(), value));
        text.push_str(value);
        rest = &rest[length..];
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted() {
        assert!(ELEMENTS.is_sorted());
    }

    #[test]
    fn html_becomes_text() {
        assert_eq!(
            plain("<p>One <i>x</i><sub>2</sub></p><p>Two &amp; &eacute;&#x41;&nbsp;b</p>"),
            "One x2\n\nTwo & éA b"
        );
        assert_eq!(plain_line("A<script>alert('x')</script> <b onclick=x>B</b><!-- no -->"), "A B");
        assert_eq!(plain_line("<jats:p>Deposited</jats:p> <img src=x onerror=alert(1)>"), "Deposited");
        assert_eq!(plain_line("&lt;script&gt;"), "<script>");
    }

    #[test]
    fn mathematics_stays() {
        for text in [
            "p<0.05 and a <b, c> d",
            "$x<y$ & R&D; AT&T",
            "<s_1,s_2> <|endoftext|>",
            "a << b >> c",
            "x<y",
            "<script>",
        ] {
            assert_eq!(plain(text), text);
            assert_eq!(markup(text), text);
        }
    }

    #[test]
    fn text_that_looks_like_html_comes_back() {
        for text in ["How <b> differs from <strong>", "&amp; &lt; &copy;", "<p>", "a & b <i>c</i> &#65;"] {
            assert_ne!(markup(text), text);
            assert_eq!(plain(&markup(text)), text);
        }
    }

    #[test]
    fn many_elements_cost_little() {
        let text = format!("{}x{}", "<div>".repeat(100_000), "<p>".repeat(100_000));
        assert_eq!(plain(&text), "x");
    }
}
