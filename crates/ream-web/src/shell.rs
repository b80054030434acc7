//! What surrounds every page.

use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::header;
use axum::http::request::Parts;

use crate::assets;
use crate::guard::Marks;
use crate::state::App;

/// What the base template needs. Handlers take it as an argument.
pub(crate) struct Shell {
    /// For `<script nonce>` and `<style nonce>`; anything inline without it does not take effect.
    pub(crate) nonce: String,
    /// For the hidden field `csrf` of every form that is posted.
    pub(crate) csrf: String,
    /// Whether papers can be run from this site.
    pub(crate) can_run: bool,
    /// Scheme and host as the reader asked for them: feeds need whole addresses.
    pub(crate) origin: String,
}

impl Shell {
    /// A shell outside of a request.
    pub(crate) fn bare() -> Self {
        Self { nonce: String::new(), csrf: String::new(), can_run: false, origin: String::new() }
    }

    /// Address of the style sheet.
    #[allow(clippy::unused_self, reason = "templates call it")]
    pub(crate) fn css(&self) -> &'static str {
        assets::css()
    }

    /// Address of the icon.
    #[allow(clippy::unused_self, reason = "templates call it")]
    pub(crate) fn icon(&self) -> &'static str {
        assets::icon()
    }

    /// Address of the style sheet of the pages of runs.
    #[allow(clippy::unused_self, reason = "templates call it")]
    pub(crate) fn runs_css(&self) -> &'static str {
        assets::runs_css()
    }

    /// Address of the script of a run's page.
    #[allow(clippy::unused_self, reason = "templates call it")]
    pub(crate) fn run_js(&self) -> &'static str {
        assets::run_js()
    }

    /// Address of the script.
    #[allow(clippy::unused_self, reason = "templates call it")]
    pub(crate) fn js(&self) -> &'static str {
        assets::js()
    }
}

impl FromRequestParts<App> for Shell {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let marks = parts.extensions.get::<Marks>().cloned().unwrap_or_default();
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let host = host.map_or_else(|| app.site.bind.to_string(), str::to_owned);
        let origin = format!("http://{host}");
        Ok(Self { nonce: marks.nonce, csrf: marks.csrf, can_run: app.can_run(), origin })
    }
}
