//! Who is let in.
//!
//! Three questions, in this order: was the request meant for this host (a foreign name that was pointed at loopback is
//! not), does it come from our own page or from no page at all, and does it carry the token. No answer to a stranger
//! tells whether a path exists.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::problem::Problem;
use crate::token::Token;

/// Lets pass what was sent to loopback by our own page or by a program.
pub(crate) async fn local_only(request: Request, next: Next) -> Response {
    match check_addressed(&request).and_then(|host| check_origin(request.headers(), &host)) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// Lets pass what carries the token.
pub(crate) async fn with_token(
    State(token): State<Token>,
    request: Request,
    next: Next,
) -> Response {
    let offered = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    if offered.is_some_and(|offered| token.matches(offered)) {
        next.run(request).await
    } else {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "send the token of the data folder (api.token) as a bearer token",
        )
        .into_response()
    }
}

/// The host the request names, if it is this machine.
fn check_addressed(request: &Request) -> Result<String, Problem> {
    let host = request
        .uri()
        .authority()
        .map(|authority| authority.as_str().to_owned())
        .or_else(|| {
            let mut hosts = request.headers().get_all(header::HOST).iter();
            match (hosts.next(), hosts.next()) {
                (Some(host), None) => host.to_str().ok().map(str::to_owned),
                _ => None,
            }
        })
        .unwrap_or_default();
    if is_loopback(&host) {
        Ok(host)
    } else {
        Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            "this program answers to 127.0.0.1 and localhost only",
        ))
    }
}

/// A browser names the page a request comes from; a program names none.
fn check_origin(headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    let own = headers.get_all(header::ORIGIN).iter().all(|origin| {
        origin
            .to_str()
            .is_ok_and(|origin| origin.strip_prefix("http://") == Some(host))
    });
    let same_site = headers.get_all("sec-fetch-site").iter().all(|site| {
        site.to_str()
            .is_ok_and(|site| matches!(site, "same-origin" | "none"))
    });
    // A link on another page may lead a person here: that is a navigation, and shows nothing but the empty shell.
    let navigation = headers
        .get("sec-fetch-mode")
        .is_some_and(|mode| mode == "navigate")
        && headers
            .get("sec-fetch-dest")
            .is_some_and(|dest| dest == "document")
        && !headers.contains_key(header::ORIGIN);
    if own && (same_site || navigation) {
        Ok(())
    } else {
        Err(Problem::new(
            StatusCode::FORBIDDEN,
            "requests from other pages are not accepted",
        ))
    }
}

fn is_loopback(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            name
        }
        _ => host,
    };
    name == "127.0.0.1" || name == "[::1]" || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_loopback() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:8766",
            "localhost:1",
            "LocalHost",
            "[::1]:8766",
            "[::1]",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "",
            ":8766",
            "evil.example",
            "127.0.0.1.evil.example:8766",
            "localhost.:1",
            "127.0.0.1:80:80",
            "127.0.0.2",
            "user@localhost",
            "0.0.0.0:8766",
            "127.0.0.1:",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
