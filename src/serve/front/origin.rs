//! Web pages must not act through the browser of somebody whose service needs no token. In: the head of a request.
//! Out: whether it was meant for this service.
//!
//! A page elsewhere can make a browser send requests here, and a name of its own that it lets point to 127.0.0.1 makes
//! them look like its own (DNS rebinding). Browsers say where a request comes from; other programs need not.

use crate::serve::Problem;
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderName, StatusCode, header};
use std::net::IpAddr;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses what another site's page sent, and, where `local`, what was sent by a name that is not this machine's.
///
/// # Errors
/// 421 for the name, 403 for the site.
pub(super) fn check(request: &Parts, local: bool) -> Result<(), Problem> {
    let text = |name: HeaderName| request.headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let named = request.uri.authority().cloned();
    let named = named.or_else(|| text(header::HOST).and_then(|host| host.parse::<Authority>().ok()));
    if local && !named.as_ref().is_some_and(is_this_machine) {
        let name = named.as_ref().map_or("none", Authority::as_str);
        return Err(Problem::new(StatusCode::MISDIRECTED_REQUEST, format!("host {name} is not this machine"))
            .with_hint("ask by localhost or 127.0.0.1, or give the service tokens: then any name will do"));
    }
    let foreign = |site: &str| {
        Err(Problem::new(StatusCode::FORBIDDEN, format!("the request comes from a page of {site}"))
            .with_hint("open it from the service's own page, or give the service tokens"))
    };
    match text(FETCH_SITE) {
        Some("same-origin" | "none") | None => {}
        Some(_) => return foreign("another site"),
    }
    let Some(origin) = text(header::ORIGIN) else { return Ok(()) };
    let own = named.as_ref().is_some_and(|named| {
        ["http", "https"].iter().any(|scheme| origin.eq_ignore_ascii_case(&format!("{scheme}://{named}")))
    });
    if own { Ok(()) } else { foreign(origin) }
}

/// Whether a name can only mean this machine. Source: RFC 6761, section 6.3, for names below `localhost`.
fn is_this_machine(name: &Authority) -> bool {
    let host = name.host().trim_end_matches('.').to_ascii_lowercase();
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn answer(headers: &[(&str, &str)], local: bool) -> u16 {
        let mut request = Request::post("/v1/jobs");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        check(&parts, local).map_or_else(|problem| problem.status, |()| 200)
    }

    #[test]
    fn a_name_that_somebody_else_let_point_here_is_refused() {
        for host in ["localhost:8080", "127.0.0.1:8080", "127.1.2.3", "[::1]:8080", "a.localhost", "LOCALHOST."] {
            assert_eq!(answer(&[("host", host)], true), 200, "{host}");
        }
        for host in ["evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "a b", ""] {
            assert_eq!(answer(&[("host", host)], true), 421, "{host}");
        }
        assert_eq!(answer(&[], true), 421);
        assert_eq!(answer(&[("host", "flowdiff.example")], false), 200, "beyond this machine any name will do");
    }

    #[test]
    fn a_page_of_another_site_is_refused() {
        let host = ("host", "localhost:8080");
        for (name, value, status) in [
            ("sec-fetch-site", "same-origin", 200),
            ("sec-fetch-site", "none", 200),
            ("sec-fetch-site", "cross-site", 403),
            ("sec-fetch-site", "same-site", 403),
            ("origin", "http://localhost:8080", 200),
            ("origin", "https://localhost:8080", 200),
            ("origin", "http://localhost:9090", 403),
            ("origin", "http://localhost:8080.evil.example", 403),
            ("origin", "null", 403),
            ("origin", "https://evil.example", 403),
        ] {
            assert_eq!(answer(&[host, (name, value)], true), status, "{name}: {value}");
            assert_eq!(answer(&[host, (name, value)], false), status, "{name}: {value}");
        }
    }
}
