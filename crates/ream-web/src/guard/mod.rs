//! What stands between the network and the pages: headers that keep a page from doing what it should not.

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};

use crate::error::Error;
use crate::state::App;

/// What a request carries for its page, as a request extension.
#[derive(Clone, Debug, Default)]
pub(crate) struct Marks {
    /// Nonce of the content security policy.
    pub(crate) nonce: String,
    /// Token that forms send back.
    pub(crate) csrf: String,
}

/// Puts the protections around all routes. Layers added here see every request.
pub(crate) fn protect(routes: Router<App>, _app: &App) -> Router<App> {
    routes.layer(from_fn(policy))
}

/// Gives every request a nonce and every answer its policy.
async fn policy(mut request: Request, next: Next) -> Response {
    let Ok(nonce) = nonce() else {
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
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// 128 random bits in hexadecimal.
fn nonce() -> Result<String, getrandom::Error> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}
