//! Reads a page as a browser would, as far as tags go, and says what in it could run.

/// Elements that the site's pages consist of.
const TAGS: &str = "aside article textarea html head meta title link script style body a header form label input button nav ul ol li main footer p h1 h2 h3 h4 span strong small code pre \
    div section details summary dl dt dd table caption thead tbody tr th td select option fieldset legend progress noscript figure figcaption time mark em br hr kbd \
    svg path text tspan g defs clippath rect circle line image desc lineargradient stop";
/// Attributes that they have.
const ATTRIBUTES: &str = "rows cols wrap multiple min step data-item data-open data-copy data-keys required novalidate aria-expanded aria-controls lang charset name content rel href type src defer nonce class id value action method enctype role for placeholder autocomplete maxlength \
    tabindex aria-label aria-labelledby aria-describedby aria-invalid aria-current aria-hidden checked selected open hidden max inputmode spellcheck scope data-name \
    data-events http-equiv colspan title xmlns width height viewbox font-family font-size font-weight text-anchor fill stroke stroke-width stroke-dasharray stroke-linejoin stroke-linecap opacity fill-opacity stroke-opacity \
    d x y cx cy r x1 x2 y1 y2 transform clip-path preserveaspectratio image-rendering offset stop-color dominant-baseline readonly datetime rowspan";

/// What in a page should not be there; empty for a good one.
pub fn foreign(page: &str) -> Vec<String> {
    let known = |list: &str, word: &str| list.split_whitespace().any(|other| other == word);
    let mut wrong = Vec::new();
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if rest.starts_with("!doctype")
            || !rest.starts_with(|c: char| c == '/' || c == '!' || c == '?' || c.is_ascii_alphabetic())
        {
            if !rest.starts_with("!doctype") {
                wrong.push(format!("a bare < before {rest:.30}"));
            }
            continue;
        }
        let (name, attributes, after) = tag(rest);
        let plain = name.trim_start_matches('/');
        if !known(TAGS, plain) {
            wrong.push(format!("<{name}>"));
        }
        for (attribute, value) in &attributes {
            let leads = matches!(attribute.as_str(), "href" | "src" | "action");
            let own = value.starts_with('/') && !value.starts_with("//")
                || value.starts_with('#')
                || value.starts_with('?')
                || value.starts_with("https://")
                || value.starts_with("data:image/png;base64,");
            if !known(ATTRIBUTES, attribute) || (leads && !own) {
                wrong.push(format!("<{name} {attribute}={value:?}>"));
            }
        }
        let nonce = attributes.iter().any(|(name, value)| name == "nonce" && !value.is_empty());
        let src = attributes.iter().any(|(name, _)| name == "src");
        if (name == "script" && !src) || (name == "style" && !nonce) {
            wrong.push(format!("<{name}> inline"));
        }
        // What is in a script or a style ends only with its own tag.
        rest = match name.as_str() {
            "script" | "style" => after.find(&format!("</{name}")).map_or("", |end| &after[end..]),
            _ => after,
        };
    }
    wrong
}

/// Name and attributes of the tag that begins here, in lower case, and what follows it.
fn tag(text: &str) -> (String, Vec<(String, String)>, &str) {
    let end = text.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(text.len());
    let name = text[..end].trim_end_matches('/').to_ascii_lowercase();
    let mut rest = &text[end..];
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        if let Some(after) = rest.strip_prefix('>') {
            return (name, attributes, after);
        }
        if rest.is_empty() {
            return (name, attributes, rest);
        }
        let end =
            rest.find(|c: char| c.is_whitespace() || matches!(c, '=' | '>' | '/')).unwrap_or(rest.len());
        let attribute = rest[..end].to_ascii_lowercase();
        rest = rest[end..].trim_start();
        let mut value = String::new();
        if let Some(after) = rest.strip_prefix('=') {
            let after = after.trim_start();
            let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''));
            let (start, end) = match quote {
                Some(quote) => (1, after[1..].find(quote).map_or(after.len(), |end| end + 1)),
                None => (0, after.find(|c: char| c.is_whitespace() || c == '>').unwrap_or(after.len())),
            };
            value = after[start..end].to_owned();
            rest = after.get(end + start..).unwrap_or_default();
        }
        attributes.push((attribute, value));
    }
}

/// The reader itself must see what it is there for.
pub fn sees_payloads() {
    assert!(foreign("<!doctype html><p class=\"x\">a &lt;b&gt;</p><a href=\"/x\">y</a>").is_empty());
    for page in [
        "<p><img src=x onerror=1></p>",
        "<a href=\"javascript:1\">",
        "<p onclick='1'>",
        "<script>1</script>",
        "<a href=//evil.example>",
        "<style>x</style>",
        "<p title=\"\"onmouseover=1>",
        "<SVG ONLOAD=1>",
        "<foreignObject>",
        "a < b <!-- x",
        "<base href=/x>",
        "<iframe src=/x>",
    ] {
        assert!(!foreign(page).is_empty(), "{page}");
    }
}
