//! Headers that keep a page from doing what it should not.

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::Marks;
use crate::error::Error;

/// The same for every answer.
///
/// `same-origin` for the referrer: with `no-referrer` browsers send `Origin: null` with a form, which cannot be told from
/// another site's.
const ALWAYS: [(HeaderName, &str); 5] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-embedder-policy"), "require-corp"),
];

/// Gives every request a nonce and every answer its policy.
pub(super) async fn policy(mut request: Request, next: Next) -> Response {
    let Ok(nonce) = random() else {
        let refused = Error::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "no_randomness",
            "The system gives no random numbers.",
        );
        return refused.into_response();
    };
    let policy = format!(
        "default-src 'none'; style-src 'self' 'nonce-{nonce}'; script-src 'self' 'nonce-{nonce}'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    request.extensions_mut().insert(Marks { nonce, csrf: String::new() });
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    if let Ok(policy) = HeaderValue::from_str(&policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    for (name, value) in ALWAYS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

/// 128 random bits in hexadecimal.
pub(crate) fn random() -> Result<String, getrandom::Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}
