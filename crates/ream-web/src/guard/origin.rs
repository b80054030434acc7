//! Who is asked, and who asks.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::changes;
use crate::error::{Error, Result};
use crate::state::App;

/// Refuses requests for another host and from another site.
pub(super) async fn check(State(app): State<App>, request: Request, next: Next) -> Response {
    let names = Names { bind: app.site.bind, more: &app.site.options.hosts };
    let checked =
        host(&names, &request).and_then(|()| sender(&names, request.headers(), changes(request.method())));
    match checked {
        Err(error) => error.into_response(),
        Ok(()) if changes(request.method()) && !app.can_run() => Error::new(
            StatusCode::FORBIDDEN,
            "runs_off",
            "This site can only be read: papers are run and imported where it listens on a loopback address and has no other name (ream serve without --bind and --host).",
        )
        .into_response(),
        Ok(()) => next.run(request).await,
    }
}

/// The names under which the site answers.
struct Names<'a> {
    bind: SocketAddr,
    /// Names that the operator has added, with a port where one is shown in addresses.
    more: &'a [String],
}

impl Names<'_> {
    /// Whether `host[:port]` is this site.
    ///
    /// A loopback name or the address that is bound, with its port. Where every address of the machine is bound, any
    /// address in digits: only names can be made to point somewhere else.
    fn fits(&self, authority: &str) -> bool {
        if self.more.iter().any(|name| name.eq_ignore_ascii_case(authority)) {
            return true;
        }
        let Some((host, port)) = split(authority) else { return false };
        if port.unwrap_or(80) != self.bind.port() {
            return false;
        }
        if host.eq_ignore_ascii_case("localhost") {
            return true;
        }
        let digits = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        digits
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_loopback() || ip == self.bind.ip() || self.bind.ip().is_unspecified())
    }
}

/// `host:port`, `[v6]:port`, `host`.
fn split(authority: &str) -> Option<(&str, Option<u16>)> {
    let end = authority.rfind(']').map_or(0, |end| end + 1);
    match authority[end..].rfind(':') {
        None => Some((authority, None)),
        Some(colon) => {
            let port = &authority[end + colon + 1..];
            let plain = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
            Some((&authority[..end + colon], Some(port.parse().ok().filter(|_| plain)?)))
        }
    }
}

/// The `Host` header, once, and the address of the request where it carries one.
fn host(names: &Names<'_>, request: &Request) -> Result<()> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (first, second) = (hosts.next().and_then(|h| h.to_str().ok()), hosts.next());
    let asked = request.uri().authority().map(axum::http::uri::Authority::as_str);
    let good =
        second.is_none() && first.is_some_and(|h| names.fits(h)) && asked.is_none_or(|a| names.fits(a));
    if good {
        return Ok(());
    }
    Err(Error::new(
        StatusCode::MISDIRECTED_REQUEST,
        "bad_host",
        format!(
            "This site answers as localhost:{port} and {}. Another name for it is allowed with --host NAME.",
            names.bind,
            port = names.bind.port()
        ),
    ))
}

/// `Origin` and the browser's own word on where a request comes from.
fn sender(names: &Names<'_>, headers: &HeaderMap, changes: bool) -> Result<()> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let origin = text(header::ORIGIN);
    let site = text(HeaderName::from_static("sec-fetch-site"));
    let mode = text(HeaderName::from_static("sec-fetch-mode"));
    let refuse = |code, message: &str| Err(Error::new(StatusCode::FORBIDDEN, code, message));
    let ours = |origin: &str| {
        ["http://", "https://"]
            .iter()
            .any(|scheme| origin.strip_prefix(scheme).is_some_and(|rest| names.fits(rest)))
    };
    if origin.is_some_and(|origin| !ours(origin)) {
        return refuse("bad_origin", "The request comes from a page of another site.");
    }
    match (site, changes) {
        // A link from another site leads here; an image, a script or a request of its pages does not.
        (Some("cross-site" | "same-site"), false) if mode == Some("navigate") => Ok(()),
        (Some("same-origin" | "none"), false) | (None, false) | (Some("same-origin"), true) => Ok(()),
        // A program that is no browser sends neither.
        (None, true) if origin.is_none() => Ok(()),
        _ => refuse(
            "cross_site",
            "The request comes from a page of another site, or from a browser that does not say where from.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(bind: &str, authority: &str) -> bool {
        let more = ["papers.lab.example".to_owned()];
        Names { bind: bind.parse().unwrap(), more: &more }.fits(authority)
    }

    #[test]
    fn only_names_that_nobody_can_make_point_elsewhere() {
        for good in [
            "localhost:8040",
            "LOCALHOST:8040",
            "127.0.0.1:8040",
            "[::1]:8040",
            "127.9.9.9:8040",
            "papers.lab.example",
        ] {
            assert!(fits("127.0.0.1:8040", good), "{good}");
        }
        for bad in [
            "",
            ":8040",
            "localhost",
            "localhost:80",
            "localhost:08040x",
            "localhost:",
            "evil.example:8040",
            "127.0.0.1.evil.example:8040",
            "localhost.evil.example:8040",
            "10.0.0.1:8040",
            "[::1]",
            "[::1]:1",
            "[::1:8040",
            "0x7f.1:8040",
            "a@localhost:8040",
            "localhost:8040:8040",
            "papers.lab.example:8040",
            "localhost:+8040",
        ] {
            assert!(!fits("127.0.0.1:8040", bad), "{bad}");
        }
        assert!(fits("127.0.0.1:80", "localhost") && fits("0.0.0.0:8040", "10.0.0.1:8040"));
        assert!(!fits("0.0.0.0:8040", "evil.example:8040") && !fits("192.168.1.2:8040", "10.0.0.1:8040"));
    }

    #[test]
    fn other_sites_may_link_here_and_nothing_else() {
        let more = [];
        let names = Names { bind: "127.0.0.1:8040".parse().unwrap(), more: &more };
        let ask = |pairs: &[(&'static str, &str)], changes| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(HeaderName::from_static(name), value.parse().unwrap());
            }
            sender(&names, &headers, changes).is_ok()
        };
        let (site, mode, origin) = ("sec-fetch-site", "sec-fetch-mode", "origin");
        assert!(ask(&[], false) && ask(&[], true), "programs that are no browsers");
        assert!(ask(&[(site, "cross-site"), (mode, "navigate")], false));
        assert!(!ask(&[(site, "cross-site"), (mode, "navigate")], true));
        assert!(!ask(&[(site, "cross-site"), (mode, "no-cors")], false));
        assert!(!ask(&[(site, "same-site"), (mode, "cors")], false));
        assert!(ask(&[(site, "same-origin"), (origin, "http://localhost:8040")], true));
        assert!(!ask(&[(site, "same-origin"), (origin, "http://localhost:8041")], true));
        for other in ["null", "http://evil.example", "http://evil.example:8040", "file://", "localhost:8040"]
        {
            assert!(
                !ask(&[(origin, other)], false) && !ask(&[(site, "same-origin"), (origin, other)], true),
                "{other}"
            );
        }
        assert!(!ask(&[(site, "none")], true) && ask(&[(site, "none")], false));
        assert!(!ask(&[(origin, "http://localhost:8040")], true), "a browser says both");
    }
}
