//! Nobody without the token, from another page or under another name gets in, on any endpoint.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::Request;

use crate::support::Interface;

const CONTEXT: &str = "0b5f7a3c9d1e4f60718293a4b5c6d7e8";

/// Every endpoint: method, template, an address of it, a body, and what a caller with the token gets.
const CASES: &[(&str, &str, &str, &str, u16)] = &[
    ("get", "/v1/flights", "/v1/flights", "", 200),
    (
        "post",
        "/v1/flights",
        "/v1/flights",
        r#"{"entry":{"total":60}}"#,
        201,
    ),
    ("get", "/v1/flights/totals", "/v1/flights/totals", "", 200),
    (
        "get",
        "/v1/flights/{id}",
        "/v1/flights/flight-00001",
        "",
        200,
    ),
    (
        "patch",
        "/v1/flights/{id}",
        "/v1/flights/flight-00001",
        r#"{"total":60}"#,
        200,
    ),
    (
        "delete",
        "/v1/flights/{id}",
        "/v1/flights/flight-00001",
        "",
        204,
    ),
    ("get", "/v1/aircraft", "/v1/aircraft", "", 200),
    (
        "post",
        "/v1/aircraft",
        "/v1/aircraft",
        r#"{"entry":{"tail":"N738VU"}}"#,
        201,
    ),
    ("get", "/v1/contexts", "/v1/contexts", "", 200),
    (
        "post",
        "/v1/contexts",
        "/v1/contexts",
        r#"{"name":"Hangar 4","kind":"club"}"#,
        201,
    ),
    (
        "post",
        "/v1/contexts/{id}/invites",
        "/v1/contexts/@/invites",
        r#"{"role":"member"}"#,
        201,
    ),
    (
        "get",
        "/v1/contexts/{id}/members",
        "/v1/contexts/@/members",
        "",
        200,
    ),
    (
        "put",
        "/v1/contexts/{id}/members/{user}",
        "/v1/contexts/@/members/a1",
        r#"{"role":"manager"}"#,
        200,
    ),
    (
        "delete",
        "/v1/contexts/{id}/members/{user}",
        "/v1/contexts/@/members/a1",
        "",
        200,
    ),
    (
        "post",
        "/v1/contexts/{id}/leave",
        "/v1/contexts/@/leave",
        "",
        200,
    ),
    (
        "post",
        "/v1/contexts/{id}/rotate",
        "/v1/contexts/@/rotate",
        "",
        200,
    ),
    (
        "get",
        "/v1/contexts/{id}/invites",
        "/v1/contexts/@/invites",
        "",
        200,
    ),
    (
        "delete",
        "/v1/contexts/{id}/invites/{invite}",
        "/v1/contexts/@/invites/b2",
        "",
        200,
    ),
    ("delete", "/v1/devices/{key}", "/v1/devices/d2", "", 200),
    ("get", "/v1/pairing", "/v1/pairing", "", 200),
    ("post", "/v1/pairing", "/v1/pairing", "", 201),
    ("delete", "/v1/pairing", "/v1/pairing", "", 204),
    (
        "post",
        "/v1/pairing/consent",
        "/v1/pairing/consent",
        r#"{"digits":"012 345"}"#,
        200,
    ),
    (
        "post",
        "/v1/joins",
        "/v1/joins",
        r#"{"link":"aeroedge://join","secret":"x"}"#,
        202,
    ),
    ("get", "/v1/joins/{context}", "/v1/joins/@", "", 200),
    ("delete", "/v1/joins/{context}", "/v1/joins/@", "", 204),
    ("get", "/v1/devices", "/v1/devices", "", 200),
    ("get", "/v1/sync", "/v1/sync", "", 200),
    ("get", "/v1/sync/peers", "/v1/sync/peers", "", 200),
    ("post", "/v1/sync/now", "/v1/sync/now", "", 202),
    ("post", "/v1/poke", "/v1/poke", "", 204),
    ("get", "/v1/conflicts", "/v1/conflicts", "", 200),
    ("get", "/v1/events", "/v1/events", "", 200),
    ("get", "/v1/version", "/v1/version", "", 200),
    ("get", "/v1/openapi.json", "/v1/openapi.json", "", 200),
];

fn plain(case: &(&str, &str, &str, &str, u16)) -> axum::http::request::Builder {
    Request::builder()
        .method(case.0.to_uppercase().as_str())
        .uri(case.2.replace('@', CONTEXT))
        .header("content-type", "application/json")
}

#[test]
fn every_endpoint_has_a_case_here() {
    let described: BTreeSet<(String, String)> = aeroedge_api::description()
        .paths
        .paths
        .iter()
        .flat_map(|(path, item)| {
            let methods = serde_json::to_value(item).unwrap();
            let methods: Vec<String> = methods.as_object().unwrap().keys().cloned().collect();
            methods.into_iter().map(|method| (method, path.clone()))
        })
        .collect();
    let covered = CASES
        .iter()
        .map(|(method, template, ..)| ((*method).to_owned(), (*template).to_owned()))
        .collect();
    assert_eq!(described, covered);
}

#[test]
fn every_endpoint_is_described_as_needing_the_token() {
    for (path, item) in &aeroedge_api::description().paths.paths {
        for (method, operation) in serde_json::to_value(item).unwrap().as_object().unwrap() {
            assert_eq!(
                operation["security"][0]["token"],
                serde_json::json!([]),
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn the_token_opens_every_endpoint() {
    let interface = Interface::new();
    for case in CASES {
        let request = plain(case)
            .header("host", "localhost:8766")
            .header(
                "authorization",
                format!("bearer {}", interface.token.reveal()),
            )
            .body(Body::from(case.3))
            .unwrap();
        let response = interface.send(request).await;
        assert_eq!(response.status().as_u16(), case.4, "{} {}", case.0, case.1);
        assert_eq!(response.headers()["cache-control"], "no-store");
    }
}

#[tokio::test]
async fn without_the_token_every_endpoint_is_closed() {
    let interface = Interface::new();
    let almost = format!("Bearer {}", &interface.token.reveal()[1..]);
    for case in CASES.iter().chain(&[
        ("get", "", "/v1/nothing", "", 0),
        ("get", "", "/else", "", 0),
    ]) {
        for offered in [
            None,
            Some("Bearer "),
            Some("Bearer x"),
            Some("Basic eDp5"),
            Some(&*almost),
        ] {
            let mut request = plain(case).header("host", "127.0.0.1:8766");
            if let Some(offered) = offered {
                request = request.header("authorization", offered);
            }
            let reply = interface
                .reply(request.body(Body::from(case.3)).unwrap())
                .await;
            reply.problem(401);
        }
        let in_address = format!("{}?token={}", case.2, interface.token.reveal());
        let request =
            plain(&(case.0, case.1, &in_address, case.3, 0)).header("host", "127.0.0.1:8766");
        interface
            .reply(request.body(Body::from(case.3)).unwrap())
            .await
            .problem(401);
    }
}

#[tokio::test]
async fn foreign_pages_are_refused_even_with_the_token() {
    let interface = Interface::new();
    for case in CASES {
        for (name, value) in [
            ("origin", "https://evil.example"),
            ("origin", "null"),
            ("origin", "http://127.0.0.1:9999"),
            ("origin", "https://127.0.0.1:8766"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            let request = plain(case)
                .header("host", "127.0.0.1:8766")
                .header(name, value)
                .header(
                    "authorization",
                    format!("Bearer {}", interface.token.reveal()),
                )
                .body(Body::from(case.3))
                .unwrap();
            interface.reply(request).await.problem(403);
        }
    }
}

#[tokio::test]
async fn a_foreign_name_for_loopback_is_refused() {
    let interface = Interface::new();
    for path in ["/", "/healthz", "/v1/flights"] {
        for host in [
            Some("evil.example:8766"),
            Some("127.0.0.1.evil.example"),
            Some(""),
            None,
        ] {
            let mut request = Request::builder().uri(path).header(
                "authorization",
                format!("Bearer {}", interface.token.reveal()),
            );
            if let Some(host) = host {
                request = request.header("host", host);
            }
            interface
                .reply(request.body(Body::empty()).unwrap())
                .await
                .problem(421);
        }
    }
}

#[tokio::test]
async fn our_own_page_and_programs_are_let_in() {
    let interface = Interface::new();
    for host in ["127.0.0.1:8766", "localhost:8766", "[::1]:8766"] {
        let request = Request::builder()
            .uri("/v1/flights")
            .header("host", host)
            .header("origin", format!("http://{host}"))
            .header("sec-fetch-site", "same-origin")
            .header(
                "authorization",
                format!("Bearer {}", interface.token.reveal()),
            )
            .body(Body::empty())
            .unwrap();
        assert_eq!(interface.reply(request).await.status, 200);
    }
}

#[tokio::test]
async fn a_preflight_gets_no_permission() {
    let interface = Interface::new();
    let request = Request::builder()
        .method("OPTIONS")
        .uri("/v1/flights")
        .header("host", "127.0.0.1:8766")
        .header("origin", "https://evil.example")
        .header("access-control-request-method", "POST")
        .body(Body::empty())
        .unwrap();
    let response = interface.send(request).await;
    assert_eq!(response.status(), 403);
    assert!(
        !response
            .headers()
            .contains_key("access-control-allow-origin")
    );
}

#[tokio::test]
async fn the_empty_page_and_the_health_check_need_no_token() {
    let interface = Interface::new();
    for path in ["/", "/healthz"] {
        let request = Request::builder()
            .uri(path)
            .header("host", "127.0.0.1:8766")
            .body(Body::empty())
            .unwrap();
        let response = interface.send(request).await;
        assert_eq!(response.status(), 200);
        assert!(!format!("{response:?}").contains(interface.token.reveal()));
    }
}

#[tokio::test]
async fn the_page_runs_no_script_but_its_own() {
    let interface = Interface::new();
    let request = interface.request("GET", "/").body(Body::empty()).unwrap();
    let response = interface.send(request).await;
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .unwrap();
    assert!(
        policy.starts_with("default-src 'none'; script-src 'sha256-"),
        "{policy}"
    );
    assert!(!policy.contains("unsafe"), "{policy}");
    assert!(policy.contains("frame-ancestors 'none'"));
}
