//! Addresses with queries.

use std::fmt::Write;

/// A path with a query; parts without a value are left out.
pub(crate) fn address<'a>(path: &str, query: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = path.to_owned();
    let mut mark = '?';
    for (key, value) in query {
        if !value.is_empty() {
            out.push(mark);
            mark = '&';
            out.push_str(key);
            out.push('=');
            encode(value, &mut out);
        }
    }
    out
}

/// A text as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    encode(text, &mut out);
    out
}

fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_leaves_its_place() {
        assert_eq!(address("/", [("sort", "hot"), ("family", "")]), "/?sort=hot");
        assert_eq!(
            address("/search", [("q", "a b&c=\"é"), ("m", "x")]),
            "/search?q=a%20b%26c%3D%22%C3%A9&m=x"
        );
        assert_eq!(segment("../a b"), "..%2Fa%20b");
    }
}
