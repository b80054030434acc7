//! The style sheet, the script and the icon, part of the program; their names carry a hash of what is in them, so that
//! readers may keep them for ever.

use std::sync::LazyLock;

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::state::App;

struct Asset {
    /// `/assets/ream-0123456789ab.css`.
    address: String,
    /// The hash, quoted.
    etag: String,
    media_type: &'static str,
    bytes: &'static [u8],
}

impl Asset {
    fn new(stem: &str, extension: &str, media_type: &'static str, bytes: &'static [u8]) -> Self {
        let hash: String = Sha256::digest(bytes).iter().take(6).map(|b| format!("{b:02x}")).collect();
        Self {
            address: format!("/assets/{stem}-{hash}.{extension}"),
            etag: format!("\"{hash}\""),
            media_type,
            bytes,
        }
    }
}

static CSS: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("ream", "css", "text/css; charset=utf-8", include_bytes!("../assets/ream.css"))
});
static JS: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("ream", "js", "text/javascript; charset=utf-8", include_bytes!("../assets/ream.js"))
});
static RUNS_CSS: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("runs", "css", "text/css; charset=utf-8", include_bytes!("../assets/runs.css"))
});
static RUN_JS: LazyLock<Asset> = LazyLock::new(|| {
    Asset::new("run", "js", "text/javascript; charset=utf-8", include_bytes!("../assets/run.js"))
});
static ICON: LazyLock<Asset> =
    LazyLock::new(|| Asset::new("icon", "svg", "image/svg+xml", include_bytes!("../assets/icon.svg")));

/// Address of the style sheet.
pub(crate) fn css() -> &'static str {
    &CSS.address
}

/// Address of the script.
pub(crate) fn js() -> &'static str {
    &JS.address
}

/// Address of the style sheet of the pages of runs.
pub(crate) fn runs_css() -> &'static str {
    &RUNS_CSS.address
}

/// Address of the script of a run's page.
pub(crate) fn run_js() -> &'static str {
    &RUN_JS.address
}

/// Address of the icon.
pub(crate) fn icon() -> &'static str {
    &ICON.address
}

pub(crate) fn routes() -> Router<App> {
    Router::new().route("/assets/{name}", get(asset)).route("/favicon.ico", get(favicon))
}

async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Result<Response> {
    let fits = |asset: &&Asset| asset.address.strip_prefix("/assets/") == Some(name.as_str());
    let found = [&*CSS, &*JS, &*RUNS_CSS, &*RUN_JS, &*ICON].into_iter().find(fits);
    let asset = found.ok_or_else(|| Error::not_found(format!("There is no file {name}.")))?;
    Ok(answer(asset, &headers))
}

async fn favicon(headers: HeaderMap) -> Response {
    answer(&ICON, &headers)
}

fn answer(asset: &'static Asset, headers: &HeaderMap) -> Response {
    let kept = headers.get(header::IF_NONE_MATCH).and_then(|v| v.to_str().ok());
    let marks = [
        (header::ETAG, asset.etag.as_str()),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::CONTENT_TYPE, asset.media_type),
    ];
    if kept.is_some_and(|kept| kept.contains(&asset.etag)) {
        return (StatusCode::NOT_MODIFIED, marks).into_response();
    }
    (marks, asset.bytes).into_response()
}
