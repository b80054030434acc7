//! What changes something carries a token: the HMAC of a cookie under a secret of this process.
//!
//! The cookie is `HttpOnly` and `SameSite=Strict`; a page carries the token in the first field of every form, a program
//! may send it as `x-csrf-token`. The token is looked for in the first bytes of the body, before any handler sees it, so
//! that no route can forget it; the body then goes on as a stream.

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, stream};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{Marks, changes, random};
use crate::error::Error;
use crate::state::App;

/// The token stands within this many bytes of a body.
const HEAD: usize = 4096;

/// What tokens are made with; lives as long as the process.
///
/// Without random numbers there is none: then no token fits, and nothing can be changed.
pub(crate) struct Secret(Option<[u8; 32]>);

impl Secret {
    /// A new one.
    pub(crate) fn new() -> Self {
        let mut bytes = [0; 32];
        Self(getrandom::fill(&mut bytes).ok().map(|()| bytes))
    }

    fn mac(&self, cookie: &str) -> Option<Hmac<Sha256>> {
        // HMAC takes keys of any length.
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0?).ok()?;
        mac.update(cookie.as_bytes());
        Some(mac)
    }

    fn token(&self, cookie: &str) -> String {
        let bytes = self.mac(cookie).map(|mac| mac.finalize().into_bytes());
        bytes.iter().flatten().map(|b| format!("{b:02x}")).collect()
    }

    /// Compares in constant time.
    fn fits(&self, cookie: &str, token: &str) -> bool {
        let digits = |i| token.get(2 * i..2 * i + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
        let bytes: Option<Vec<u8>> = (0..token.len() / 2).map(digits).collect();
        token.len() == 64
            && bytes.zip(self.mac(cookie)).is_some_and(|(bytes, mac)| mac.verify_slice(&bytes).is_ok())
    }
}

/// Gives every page its token and every reader a cookie; refuses changes without both.
pub(super) async fn check(State(app): State<App>, mut request: Request, next: Next) -> Response {
    // Cookies do not know ports: two sites on one machine would take each other's.
    let name = format!("ream-{}", app.site.bind.port());
    let known = cookie(request.headers(), &name);
    if changes(request.method()) {
        let Some(cookie) = &known else { return refusal() };
        let Some(checked) = with_token(request, |token| app.secret.fits(cookie, token)).await else {
            return refusal();
        };
        request = checked;
    }
    let fresh = match &known {
        Some(_) => None,
        None => random().ok(),
    };
    if let (Some(cookie), Some(marks)) =
        (known.as_ref().or(fresh.as_ref()), request.extensions_mut().get_mut::<Marks>())
    {
        marks.csrf = app.secret.token(cookie);
    }
    let mut response = next.run(request).await;
    let is_page =
        response.headers().get(header::CONTENT_TYPE).is_some_and(|t| t.as_bytes().starts_with(b"text/html"));
    if let Some(cookie) = fresh.filter(|_| is_page)
        && let Ok(value) =
            HeaderValue::from_str(&format!("{name}={cookie}; Path=/; HttpOnly; SameSite=Strict"))
    {
        response.headers_mut().append(header::SET_COOKIE, value);
    }
    response
}

fn refusal() -> Response {
    Error::new(
        StatusCode::FORBIDDEN,
        "csrf",
        "This form was made before the site was started again, or by another site. Go back, reload the page, and send it once more.",
    )
    .into_response()
}

/// The cookie, if it can be one of ours.
fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let pairs =
        headers.get_all(header::COOKIE).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';'));
    let mut values = pairs.filter_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='));
    values.find(|v| v.len() == 32 && v.bytes().all(|b| b.is_ascii_hexdigit())).map(str::to_owned)
}

/// The request with its whole body, if it carries a token that fits.
async fn with_token(request: Request, fits: impl Fn(&str) -> bool) -> Option<Request> {
    if let Some(token) = request.headers().get("x-csrf-token") {
        return token.to_str().is_ok_and(fits).then_some(request);
    }
    let kind = request.headers().get(header::CONTENT_TYPE)?.to_str().ok()?.to_owned();
    let (parts, body) = request.into_parts();
    let mut rest = body.into_data_stream();
    let mut head = Vec::new();
    loop {
        match find(&kind, &head) {
            Found::Token(token) if fits(&token) => break,
            Found::NotYet if head.len() < HEAD => match rest.next().await {
                Some(chunk) => head.extend_from_slice(&chunk.ok()?),
                // At the end of the body a form of one field ends without a mark.
                None => match find(&kind, &[head.as_slice(), b"&"].concat()) {
                    Found::Token(token) if fits(&token) => break,
                    _ => return None,
                },
            },
            _ => return None,
        }
    }
    let head: Result<Bytes, axum::Error> = Ok(head.into());
    let whole = stream::once(std::future::ready(head)).chain(rest);
    Some(Request::from_parts(parts, Body::from_stream(whole)))
}

enum Found {
    Token(String),
    NotYet,
    Never,
}

/// Looks for the token in the first field of a form of which this much has come.
fn find(kind: &str, head: &[u8]) -> Found {
    let text = String::from_utf8_lossy(head);
    let (before, end) = if kind.starts_with("application/x-www-form-urlencoded") {
        ("csrf=".to_owned(), "&".to_owned())
    } else if let Some(boundary) = boundary(kind) {
        let field = "Content-Disposition: form-data; name=\"csrf\"";
        (format!("--{boundary}\r\n{field}\r\n\r\n"), format!("\r\n--{boundary}"))
    } else {
        return Found::Never;
    };
    let start = text.get(..before.len().min(text.len())).unwrap_or_default();
    if !before.to_ascii_lowercase().starts_with(&start.to_ascii_lowercase()) {
        return Found::Never;
    }
    match text.get(before.len()..).and_then(|rest| Some(rest[..rest.find(&end)?].to_owned())) {
        Some(token) => Found::Token(token),
        None => Found::NotYet,
    }
}

fn boundary(kind: &str) -> Option<&str> {
    let rest = kind.strip_prefix("multipart/form-data")?;
    let value = rest.split(';').find_map(|part| part.trim().strip_prefix("boundary="))?;
    Some(value.trim_matches('"')).filter(|b| !b.is_empty() && b.len() <= 70)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answer is Python's: `hmac.new(bytes(range(32)), b"Hi There", "sha256").hexdigest()`.
    #[test]
    fn the_token_is_an_hmac() {
        let secret = Secret(Some(std::array::from_fn(|i| i as u8)));
        assert_eq!(secret.token("Hi There"), HMAC);
        assert!(secret.fits("Hi There", HMAC));
        assert!(
            !secret.fits("Hi there", HMAC)
                && !secret.fits("Hi There", &HMAC[..62])
                && !secret.fits("Hi There", "")
        );
        assert!(!secret.fits("Hi There", &HMAC.replace('a', "é")), "letters that are no digits");
    }
    const HMAC: &str = "278639ec02309d3afded1b273f1349ba63b9089c12476d716bee3ecc94673e9e";

    fn token(kind: &str, body: &[u8]) -> Option<String> {
        match find(kind, body) {
            Found::Token(token) => Some(token),
            Found::NotYet | Found::Never => None,
        }
    }

    #[test]
    fn the_first_field_is_the_token() {
        let form = "application/x-www-form-urlencoded";
        assert_eq!(token(form, b"csrf=abc&x=1").as_deref(), Some("abc"));
        assert_eq!(token(form, b"x=1&csrf=abc&"), None, "not the first field");
        assert!(matches!(find(form, b"csr"), Found::NotYet) && matches!(find(form, b"csx"), Found::Never));
        let kind = "multipart/form-data; boundary=----b1";
        let body =
            b"------b1\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\nabc\r\n------b1\r\nContent";
        assert_eq!(token(kind, body).as_deref(), Some("abc"));
        assert!(matches!(find(kind, &body[..40]), Found::NotYet));
        assert!(matches!(find(kind, b"------b2\r\n"), Found::Never));
        assert!(
            matches!(find("text/plain", b"csrf=abc&"), Found::Never),
            "a form that needs no consent elsewhere"
        );
    }

    #[test]
    fn only_cookies_of_our_shape() {
        let mut headers = HeaderMap::new();
        let good = "0123456789abcdef0123456789abcdef";
        headers.append(
            header::COOKIE,
            HeaderValue::from_str(&format!("ream-1=x; ream-80={good}; a=b")).unwrap(),
        );
        assert_eq!(cookie(&headers, "ream-80").as_deref(), Some(good));
        assert_eq!(cookie(&headers, "ream-1"), None);
        assert_eq!(cookie(&headers, "ream-8"), None);
    }
}
