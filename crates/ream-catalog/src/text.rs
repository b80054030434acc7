//! Text as it comes from outside: titles to compare by, identifiers in any spelling, HTML to plain text.

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

mod html;

pub use html::{markup, plain, plain_line};

/// A title as merging compares it: compatibility forms and accents taken apart (NFKD), lower case, without marks,
/// punctuation and spaces. `+` and `#` stay, or *C*, *C++* and *C#* would be one. A title of nothing but signs keeps
/// them, or all such titles would be one paper. Applying it twice changes nothing.
#[must_use]
pub fn normalise_title(title: &str) -> String {
    let folded: String = title.nfkd().flat_map(char::to_lowercase).collect();
    let folded: String = folded.nfkd().flat_map(fold_rest).collect();
    let kept: String = folded
        .chars()
        .filter(|&c| (c.is_alphanumeric() && !is_combining_mark(c)) || matches!(c, '+' | '#'))
        .collect();
    if kept.is_empty() {
        folded.chars().filter(|c| !c.is_whitespace() && !c.is_control()).collect()
    } else {
        kept
    }
}

/// What lower case leaves apart and case folding joins.
fn fold_rest(c: char) -> impl Iterator<Item = char> {
    let (first, second) = match c {
        'ß' => ('s', Some('s')),
        'ς' => ('σ', None),
        _ => (c, None),
    };
    std::iter::once(first).chain(second)
}

/// The arXiv number without its version, from any usual spelling: `2212.07677v2`, `arXiv:2212.07677 [cs.LG]`,
/// `math.GT/0309136`, `oai:arXiv.org:math/0309136`, `10.48550/arXiv.2212.07677`, addresses of arxiv.org and of sites
/// that use its numbers. Nothing where the text is something else.
#[must_use]
pub fn arxiv_id(text: &str) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase();
    let mut rest = lower.as_str();
    if let Some((scheme, address)) = rest.split_once("://") {
        if scheme != "http" && scheme != "https" {
            return None;
        }
        let (host, path) = address.split_once('/')?;
        rest = arxiv_path(host, path)?;
    }
    for prefix in ["urn:", "oai:arxiv.org:", "doi:", "10.48550/", "arxiv.org/abs/", "arxiv.org/pdf/", "arxiv"]
    {
        rest = rest.strip_prefix(prefix).unwrap_or(rest);
    }
    let rest = rest.trim_start_matches([':', '.', ' ']);
    let rest = rest.split(['?', '#', '[', ' ', '\t', '\n']).next()?;
    let rest = rest.trim_end_matches('/');
    number(rest.strip_suffix(".pdf").unwrap_or(rest))
}

/// The part of an address's path that holds the number, on sites that have one there.
fn arxiv_path<'a>(host: &str, path: &'a str) -> Option<&'a str> {
    let host = host.strip_prefix("www.").unwrap_or(host);
    let folders: &[&str] = match host {
        "arxiv.org"
        | "export.arxiv.org"
        | "ar5iv.org"
        | "ar5iv.labs.arxiv.org"
        | "alphaxiv.org"
        | "browse.arxiv.org" => &["abs/", "pdf/", "html/", "format/", "ps/", "e-print/", "src/"],
        "huggingface.co" | "hf.co" => &["papers/"],
        "doi.org" | "dx.doi.org" => &["10.48550/"],
        _ => return None,
    };
    folders.iter().find_map(|folder| path.strip_prefix(folder))
}

/// Archives of the numbers before April 2007, which read `archive/YYMMNNN`.
const OLD_ARCHIVES: [&str; 38] = [
    "acc-phys", "adap-org", "alg-geom", "ao-sci", "astro-ph", "atom-ph", "bayes-an", "chao-dyn", "chem-ph",
    "cmp-lg", "comp-gas", "cond-mat", "cs", "dg-ga", "funct-an", "gr-qc", "hep-ex", "hep-lat", "hep-ph",
    "hep-th", "math", "math-ph", "mtrl-th", "nlin", "nucl-ex", "nucl-th", "patt-sol", "physics", "plasm-ph",
    "q-alg", "q-bio", "q-fin", "quant-ph", "solv-int", "stat", "supr-con", "test", "eess",
];

/// A number in its canonical form, if it is one (info.arxiv.org/help/arxiv_identifier.html): `YYMM.NNNN` from April
/// 2007, five digits from 2015, `archive/YYMMNNN` before; a subject class (`math.GT/`) is no part of it.
fn number(text: &str) -> Option<String> {
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    let text = match text.rsplit_once('v') {
        Some((head, version)) if !version.is_empty() && version.len() <= 3 && digits(version) => head,
        _ => text,
    };
    let month = |yymm: &str| matches!(yymm.get(2..4)?.parse().ok()?, 1u8..=12).then_some(());
    if let Some((archive, serial)) = text.split_once('/') {
        let (archive, class) = archive.split_once('.').unwrap_or((archive, "xx"));
        let known = OLD_ARCHIVES.contains(&archive)
            && class.len() == 2
            && class.bytes().all(|b| b.is_ascii_lowercase());
        (known && serial.len() == 7 && digits(serial)).then_some(())?;
        month(serial)?;
        return Some(format!("{archive}/{serial}"));
    }
    let (yymm, serial) = text.split_once('.')?;
    (yymm.len() == 4 && digits(yymm) && digits(serial)).then_some(())?;
    month(yymm)?;
    let wanted = if yymm < "1501" { 4 } else { 5 };
    (yymm >= "0704" && serial.len() == wanted).then(|| format!("{yymm}.{serial}"))
}

/// The identifier of a DOI in lower case, from `10.1000/182`, `doi:10.1000/182` or an address of doi.org.
#[must_use]
pub fn doi(text: &str) -> Option<String> {
    let lower = text.trim().to_ascii_lowercase();
    let address = ["https://", "http://"].iter().find_map(|scheme| lower.strip_prefix(scheme));
    let name = match address {
        Some(address) => {
            let path = ["doi.org/", "dx.doi.org/", "www.doi.org/"]
                .iter()
                .find_map(|host| address.strip_prefix(host))?;
            percent_decoded(path)?
        }
        None => lower.strip_prefix("doi:").unwrap_or(&lower).trim_start().to_owned(),
    };
    let (prefix, suffix) = name.split_once('/')?;
    let registrant = prefix.strip_prefix("10.")?;
    let numbers =
        registrant.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()));
    let clean =
        !suffix.is_empty() && suffix.len() <= 500 && !suffix.chars().any(|c| c.is_whitespace() || dropped(c));
    (numbers && registrant.len() >= 4 && registrant.len() <= 20 && clean).then_some(name)
}

/// `%2F` and the like put back; nothing where the result is not UTF-8.
fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = (first == b'%')
            .then(|| tail.get(..2))
            .flatten()
            .and_then(|hex| std::str::from_utf8(hex).ok())
            .filter(|hex| hex.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code {
            Some(byte) => (bytes.push(byte), rest = &tail[2..]).1,
            None => (bytes.push(first), rest = tail).1,
        }
    }
    String::from_utf8(bytes).ok().map(|text| text.to_ascii_lowercase())
}

/// An http or https address without spaces and control characters.
#[must_use]
pub fn is_address(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    rest.is_some_and(|rest| {
        rest.chars().next().is_some_and(|c| c.is_alphanumeric() || c == '[')
            && !text
                .chars()
                .any(|c| c.is_whitespace() || dropped(c) || matches!(c, '"' | '<' | '>' | '\\' | '`'))
    })
}

/// Text on one line: runs of white space become one space, control characters go.
#[must_use]
pub fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for word in text.split(char::is_whitespace) {
        let before = line.len();
        if before > 0 {
            line.push(' ');
        }
        let start = line.len();
        line.extend(word.chars().filter(|&c| !dropped(c)));
        if line.len() == start {
            line.truncate(before);
        }
    }
    line
}

/// Text whose paragraphs stay apart (`\n\n` between them) and whose lines are joined within each.
#[must_use]
pub fn paragraphs(text: &str) -> String {
    let mut out: Vec<String> = Vec::new();
    let mut current = String::new();
    for line in text.split(['\n', '\u{2029}']) {
        let line = one_line(line);
        if line.is_empty() {
            if !current.is_empty() {
                out.push(std::mem::take(&mut current));
            }
            continue;
        }
        if !current.is_empty() {
            current.push(' ');
        }
        current.push_str(&line);
    }
    out.extend((!current.is_empty()).then_some(current));
    out.join("\n\n")
}

/// Characters that never enter the catalogue: controls, what XML cannot hold, byte order marks, and the marks that turn
/// the direction of everything after them.
pub(crate) fn dropped(c: char) -> bool {
    (c.is_control() && !c.is_whitespace())
        || matches!(c, '\u{fffe}' | '\u{ffff}' | '\u{feff}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_compare_without_case_accents_and_punctuation() {
        let title = normalise_title("Straße – Über  “ﬁne” Models:  A Café");
        assert_eq!(title, "strasseuberfinemodelsacafe");
        assert_eq!(normalise_title(&title), title);
        assert_eq!(
            normalise_title("Hydra: Sequentially-Dependent"),
            normalise_title("HYDRA sequentially dependent")
        );
        assert_ne!(normalise_title("Fast C++"), normalise_title("Fast C"));
        assert_ne!(normalise_title("∞?"), normalise_title("→!"));
        assert_eq!(normalise_title("自己回帰モデル"), "自己回帰モテル");
    }

    #[test]
    fn arxiv_numbers_in_any_spelling() {
        for spelling in [
            "2212.07677",
            "2212.07677v2",
            "arXiv:2212.07677v1 [cs.LG]",
            "ARXIV: 2212.07677",
            "arXiv.2212.07677",
            "https://arxiv.org/abs/2212.07677v2",
            "http://arxiv.org/pdf/2212.07677v12.pdf",
            "oai:arXiv.org:2212.07677",
            "https://www.arxiv.org/abs/2212.07677?context=cs",
            "10.48550/arXiv.2212.07677",
            "arxiv.org/abs/2212.07677",
            "https://doi.org/10.48550/arXiv.2212.07677",
            "https://huggingface.co/papers/2212.07677#community",
            "doi:10.48550/ARXIV.2212.07677",
            " 2212.07677 ",
        ] {
            assert_eq!(arxiv_id(spelling).as_deref(), Some("2212.07677"), "{spelling}");
        }
        for spelling in ["math.GT/0309136v1", "math/0309136", "http://arxiv.org/abs/math/0309136"] {
            assert_eq!(arxiv_id(spelling).as_deref(), Some("math/0309136"), "{spelling}");
        }
        assert_eq!(arxiv_id("0704.0001").as_deref(), Some("0704.0001"));
    }

    #[test]
    fn what_is_no_arxiv_number() {
        for text in [
            "",
            "2213.07677",
            "2212.0767",
            "1412.12345",
            "2212.07677x",
            "10.1000/182",
            "maths/0309136",
            "math/0313136",
            "https://example.org/abs/2212.07677",
            "https://arxiv.org/list/2212",
            "0703.0001",
            "２２１２.07677",
            "v1",
            "é",
            "ééé.12345",
        ] {
            assert_eq!(arxiv_id(text), None, "{text}");
        }
    }

    #[test]
    fn identifiers_of_objects() {
        for text in [
            "10.1000/ABC",
            "doi: 10.1000/abc",
            "https://doi.org/10.1000%2Fabc",
            "http://dx.doi.org/10.1000/Abc",
        ] {
            assert_eq!(doi(text).as_deref(), Some("10.1000/abc"), "{text}");
        }
        for text in
            ["10.1/x", "10.1000", "10.1000/a b", "https://example.org/10.1000/abc", "11.1000/abc", "10.1000/"]
        {
            assert_eq!(doi(text), None, "{text}");
        }
        assert_eq!(
            doi("10.1002/(sici)1<1::aid-x>3.0.co;2-9%25").as_deref(),
            Some("10.1002/(sici)1<1::aid-x>3.0.co;2-9%25")
        );
    }

    #[test]
    fn white_space_and_controls() {
        assert_eq!(one_line(" a\t\u{0}b \u{1}  c\u{a0}\u{202e}d\n"), "a b c d");
        assert_eq!(paragraphs("a\nb\n \n\n c \u{7}\n"), "a b\n\nc");
        assert_eq!(paragraphs("\n\n"), "");
    }

    #[test]
    fn addresses() {
        assert!(is_address("https://arxiv.org/abs/2212.07677"));
        for text in ["javascript:alert(1)", "https://", "https:// x", "ftp://x", "https://a\"b", "http://<x>"]
        {
            assert!(!is_address(text), "{text}");
        }
    }
}
