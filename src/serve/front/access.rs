//! Who asks, and may they. In: the head of a request. Out: an [`Identity`] beside it, or 401, 403.
//!
//! What a route asks for stands in one table here: what it does not name needs `read` to be read and `operate` for the
//! rest, so a route that is forgotten is closed.

use super::origin;
use super::tokens::Tokens;
use crate::error::Error;
use crate::serve::Problem;
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use clap::ValueEnum;
use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;

/// What somebody may do. No role is part of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// See what is published, and what differs.
    Read,
    /// Run SQL of their own.
    Sql,
    /// Build windows, cancel jobs.
    Operate,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 3] = [Role::Read, Role::Sql, Role::Operate];

    /// Its name in settings and in messages.
    pub fn name(self) -> &'static str {
        match self {
            Role::Read => "read",
            Role::Sql => "sql",
            Role::Operate => "operate",
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(name: &str) -> Result<Role, String> {
        let found = Role::ALL.into_iter().find(|role| role.name() == name);
        found.ok_or_else(|| format!("there is no role {name:?}: roles are read, sql and operate"))
    }
}

/// Who asks where there are no tokens; no token has this name.
pub(super) const ANONYMOUS: &str = "anonymous";

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The name of their token; `anonymous` where there are no tokens.
    pub name: Arc<str>,
    roles: [bool; 3],
}

impl Identity {
    /// Somebody with `roles`.
    pub fn new(name: &str, roles: &[Role]) -> Identity {
        Identity { name: name.into(), roles: Role::ALL.map(|role| roles.contains(&role)) }
    }

    /// Somebody of whom nothing is known, where there are no tokens.
    fn anonymous() -> Identity {
        Identity::new(ANONYMOUS, &Role::ALL)
    }

    /// Whether nothing is known of them.
    pub fn is_anonymous(&self) -> bool {
        &*self.name == ANONYMOUS
    }

    /// Whether they may do what `role` is for.
    pub fn may(&self, role: Role) -> bool {
        self.roles[role as usize]
    }

    /// Refuses what they may not do.
    ///
    /// # Errors
    /// 403 naming the role.
    pub fn require(&self, role: Role) -> Result<(), Problem> {
        match self.may(role) {
            true => Ok(()),
            false => {
                let detail = format!("{} has no role {}", self.name, role.name());
                Err(Problem::new(StatusCode::FORBIDDEN, detail).with_hint("use a token that has it"))
            }
        }
    }
}

/// Handlers take it as an argument; a router that was not put behind a [`super::Front`] has none and refuses.
impl<S: Send + Sync> FromRequestParts<S> for Identity {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let nobody = || Problem::new(StatusCode::UNAUTHORIZED, "nobody said who asks");
        parts.extensions.get::<Identity>().cloned().ok_or_else(nobody)
    }
}

/// For handlers that only want to tell who asked: `None` on a router without a front.
impl<S: Send + Sync> OptionalFromRequestParts<S> for Identity {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Identity>().cloned())
    }
}

/// Paths that need no token: they say nothing of the network. `/web/` holds the page's own files.
const OPEN: [&str; 6] = ["/", "/healthz", "/readyz", "/version", "/openapi.json", "/docs"];
const OPEN_FOLDER: &str = "/web/";
/// Where the metrics are.
pub(super) const METRICS: &str = "/metrics";

/// What a request needs; `None` if it is for everybody.
fn needed(method: &Method, path: &str, metrics_open: bool) -> Option<Role> {
    let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(method);
    match path {
        "/v1/sql" => Some(Role::Sql),
        METRICS if metrics_open => None,
        path if reads && (OPEN.contains(&path) || path.starts_with(OPEN_FOLDER)) => None,
        _ if reads => Some(Role::Read),
        _ => Some(Role::Operate),
    }
}

/// Who is let in.
#[derive(Debug)]
pub(super) enum Access {
    /// Whoever reaches the service; `local` if only this machine does.
    Everybody {
        /// Whether the name that a request uses must be this machine's.
        local: bool,
    },
    /// Who has a token.
    Tokens(Tokens),
}

impl Access {
    /// Who asks, if they may; `None` for what is open to all.
    pub(super) fn admit(&self, request: &Parts, metrics_open: bool) -> Result<Option<Identity>, Refusal> {
        let Some(role) = needed(&request.method, request.uri.path(), metrics_open) else { return Ok(None) };
        let identity = match self {
            Access::Everybody { local } => {
                origin::check(request, *local).map_err(Refusal::Origin)?;
                Identity::anonymous()
            }
            Access::Tokens(tokens) => {
                let secret = bearer(&request.headers).ok_or(Refusal::NoToken)?;
                tokens.find(secret).ok_or(Refusal::UnknownToken)?
            }
        };
        match identity.may(role) {
            true => Ok(Some(identity)),
            false => Err(Refusal::Role(identity, role)),
        }
    }

    /// Reads the tokens again if their file changed, or `always`.
    pub(super) fn reload(&self, always: bool) -> Result<(), Error> {
        match self {
            Access::Everybody { .. } => Ok(()),
            Access::Tokens(tokens) => tokens.reload(always),
        }
    }
}

/// Why somebody is not let in.
#[derive(Debug)]
pub(super) enum Refusal {
    /// The request came from another site, or by a name that is not this machine's.
    Origin(Problem),
    NoToken,
    UnknownToken,
    /// Known, but not for this.
    Role(Identity, Role),
}

impl IntoResponse for Refusal {
    /// Source: RFC 6750, section 3.
    fn into_response(self) -> Response {
        let (problem, challenge) = match self {
            Refusal::Origin(problem) => return problem.into_response(),
            Refusal::NoToken => (
                Problem::new(StatusCode::UNAUTHORIZED, "this needs a token")
                    .with_hint("send Authorization: Bearer TOKEN; `flowdiff token new` makes one"),
                "Bearer realm=\"flowdiff\"".to_owned(),
            ),
            Refusal::UnknownToken => (
                Problem::new(StatusCode::UNAUTHORIZED, "the token is not known here"),
                "Bearer realm=\"flowdiff\", error=\"invalid_token\"".to_owned(),
            ),
            Refusal::Role(identity, role) => (
                identity.require(role).err().unwrap_or(Problem::new(StatusCode::FORBIDDEN, "not allowed")),
                format!("Bearer realm=\"flowdiff\", error=\"insufficient_scope\", scope=\"{}\"", role.name()),
            ),
        };
        let mut response = problem.into_response();
        if let Ok(challenge) = HeaderValue::from_str(&challenge) {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

/// The token of `Authorization: Bearer ...`; of several headers, none counts.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_that_nobody_thought_of_is_closed() {
        for (method, path, role) in [
            (Method::GET, "/healthz", None),
            (Method::GET, "/web/app.js", None),
            (Method::GET, "/metrics", Some(Role::Read)),
            (Method::GET, "/v1/diffs", Some(Role::Read)),
            (Method::GET, "/v1/new", Some(Role::Read)),
            (Method::GET, "//healthz", Some(Role::Read)),
            (Method::POST, "/", Some(Role::Operate)),
            (Method::POST, "/healthz", Some(Role::Operate)),
            (Method::POST, "/v1/sql", Some(Role::Sql)),
            (Method::GET, "/v1/sql", Some(Role::Sql)),
            (Method::POST, "/v1/jobs", Some(Role::Operate)),
            (Method::DELETE, "/v1/jobs/1", Some(Role::Operate)),
            (Method::POST, "/digest", Some(Role::Operate)),
            (Method::GET, "/digest", Some(Role::Read)),
        ] {
            assert_eq!(needed(&method, path, false), role, "{method} {path}");
        }
        assert_eq!(needed(&Method::GET, "/metrics", true), None);
    }

    #[test]
    fn a_token_is_read_from_one_header_of_the_bearer_scheme() {
        let headers = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            headers
        };
        assert_eq!(bearer(&headers(&["Bearer abc"])), Some("abc"));
        assert_eq!(bearer(&headers(&["bearer  abc "])), Some("abc"));
        assert_eq!(bearer(&headers(&["Basic abc"])), None);
        assert_eq!(bearer(&headers(&["abc"])), None);
        assert_eq!(bearer(&headers(&["Bearer abc", "Bearer def"])), None);
        assert_eq!(bearer(&headers(&[])), None);
    }
}
