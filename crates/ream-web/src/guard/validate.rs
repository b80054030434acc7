//! Validators: a reader that has an answer asks whether it has changed, and is told so in a few bytes.
//!
//! Every whole answer gets the hash of its body as `ETag`, with one exception: a page that carries the nonce or the token
//! of its own request. Told *not modified*, a browser would show the page that it has kept, with the nonce of then under
//! the policy of now, and nothing inline would take effect; and a form would send a token of before the last start. Such
//! pages are found by looking for both in the body, so that no page has to remember what it carries.
//!
//! The tag is weak: on its way out a body may be compressed, and is then the same only in meaning. `If-Modified-Since` is
//! not answered: a list that lost a paper, or whose verdicts were judged again, is not younger than its newest paper.

use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};

use super::Marks;
use crate::error::Error;

/// Largest body that is hashed, bytes; larger ones are written as they are made.
const LARGEST: u64 = 8 << 20;

/// The tag of a body.
pub(crate) fn tag(body: &[u8]) -> String {
    let hash: String = Sha256::digest(body).iter().take(16).map(|b| format!("{b:02x}")).collect();
    format!("W/\"{hash}\"")
}

/// Gives answers their tags, and answers readers that have them already with nothing.
pub(super) async fn check(request: Request, next: Next) -> Response {
    if request.method() != Method::GET {
        return next.run(request).await;
    }
    let kept = request.headers().get(header::IF_NONE_MATCH).cloned();
    let marks = request.extensions().get::<Marks>().cloned().unwrap_or_default();
    let mut response = next.run(request).await;
    if response.status() != StatusCode::OK || !response.headers().contains_key(header::CACHE_CONTROL) {
        return response;
    }
    if !response.headers().contains_key(header::ETAG) {
        // What is written while it is made has no size yet: exports of everything, events of runs.
        if response.body().size_hint().exact().is_none_or(|bytes| bytes > LARGEST) {
            return response;
        }
        let (parts, body) = response.into_parts();
        let Ok(bytes) = to_bytes(body, usize::MAX).await else {
            return Error::internal(&"the answer broke off").into_response();
        };
        let tag = (!carries(&bytes, &marks)).then(|| tag(&bytes));
        response = Response::from_parts(parts, Body::from(bytes));
        let Some(value) = tag.and_then(|tag| HeaderValue::from_str(&tag).ok()) else { return response };
        response.headers_mut().insert(header::ETAG, value);
    }
    let fits = kept.zip(response.headers().get(header::ETAG)).is_some_and(|(kept, tag)| fits(&kept, tag));
    if fits { not_modified(response.headers()) } else { response }
}

/// Whether a body holds what is good for one request only.
fn carries(body: &[u8], marks: &Marks) -> bool {
    let text = String::from_utf8_lossy(body);
    [&marks.nonce, &marks.csrf].into_iter().any(|mark| !mark.is_empty() && text.contains(mark.as_str()))
}

/// Weak comparison (RFC 9110, 8.8.3.2) with a list of tags.
fn fits(kept: &HeaderValue, tag: &HeaderValue) -> bool {
    let bare = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let (Ok(kept), Ok(tag)) = (kept.to_str(), tag.to_str()) else { return false };
    kept.trim() == "*" || kept.split(',').any(|one| bare(one) == bare(tag))
}

/// The headers that a kept answer is brought up to date with, and no body.
fn not_modified(headers: &HeaderMap) -> Response {
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    for name in [header::ETAG, header::CACHE_CONTROL, header::LAST_MODIFIED] {
        if let Some(value) = headers.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_compared_weakly() {
        let value = |text: &str| HeaderValue::from_str(text).unwrap();
        let tag = value("W/\"ab\"");
        for kept in ["W/\"ab\"", "\"ab\"", "\"x\", W/\"ab\"", "*"] {
            assert!(fits(&value(kept), &tag), "{kept}");
        }
        for kept in ["\"a\"", "ab", "\"ab", ""] {
            assert!(!fits(&value(kept), &tag), "{kept}");
        }
    }

    #[test]
    fn what_is_of_one_request_is_found() {
        let marks = Marks { nonce: "0123".into(), csrf: "4567".into() };
        assert!(carries(b"<style nonce=\"0123\">", &marks) && carries(b"value=\"4567\"", &marks));
        assert!(!carries(b"<p>01 23", &marks) && !carries(b"anything", &Marks::default()));
    }
}
