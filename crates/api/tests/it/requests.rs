//! What each endpoint does with good and with bad requests.

use axum::body::Body;
use serde_json::json;

use crate::support::Interface;

#[tokio::test]
async fn the_logbook_comes_in_parts() {
    let interface = Interface::new();
    let first = interface.get("/v1/flights?limit=10").await;
    assert_eq!(first.body["count"], 30);
    assert_eq!(first.body["flights"].as_array().unwrap().len(), 10);
    assert_eq!(first.body["flights"][0]["entry"]["date"], "2026-01-30");
    let last = interface
        .get("/v1/flights?limit=10&offset=25&order=oldest")
        .await;
    assert_eq!(last.body["flights"].as_array().unwrap().len(), 5);
    let filtered = interface
        .get("/v1/flights?tail=N738VU&from=2026-01-03&until=2026-01-05")
        .await;
    assert_eq!(filtered.body["count"], 2);
}

#[tokio::test]
async fn a_flight_is_logged_read_changed_and_deleted() {
    let interface = Interface::new();
    let created = interface
        .with_json(
            "POST",
            "/v1/flights",
            r#"{"entry":{"date":"2026-05-14","total":5040,"tail":"N1"}}"#,
        )
        .await;
    assert_eq!(created.status, 201);
    let path = format!("/v1/flights/{}", created.body["id"].as_str().unwrap());

    let shown = interface.get(&path).await;
    assert_eq!(shown.body["entry"]["total"], 5040);
    assert_eq!(shown.body["entry"]["landings"], json!(null));

    let changed = interface
        .with_json("PATCH", &path, r#"{"landings":2,"tail":null}"#)
        .await;
    assert_eq!(changed.body["entry"]["landings"], 2);
    assert_eq!(changed.body["entry"]["tail"], json!(null));
    assert_eq!(changed.body["entry"]["total"], 5040);

    assert_eq!(interface.with_json("DELETE", &path, "").await.status, 204);
    assert!(interface.get(&path).await.problem(404).contains("flight"));
}

#[tokio::test]
async fn unknown_things_are_not_found() {
    let interface = Interface::new();
    for (method, path, body) in [
        ("GET", "/v1/flights/nothing", ""),
        ("PATCH", "/v1/flights/nothing", "{}"),
        ("DELETE", "/v1/flights/nothing", ""),
        ("GET", "/v1/contexts/00/members", ""),
        ("POST", "/v1/contexts/00/invites", r#"{"role":"member"}"#),
        ("GET", "/v1/joins/00", ""),
        ("DELETE", "/v1/joins/00", ""),
        ("GET", "/v1/aircraft?context=00", ""),
        ("GET", "/v1/nothing", ""),
        ("GET", "/v1", ""),
        ("GET", "/nothing", ""),
        ("GET", "/v1/flights/", ""),
    ] {
        let reply = interface.with_json(method, path, body).await;
        assert_eq!(reply.status, 404, "{method} {path}");
        reply.problem(404);
    }
}

#[tokio::test]
async fn a_wrong_method_is_a_problem_document() {
    let interface = Interface::new();
    interface
        .with_json("PUT", "/v1/flights", "{}")
        .await
        .problem(405);
    interface.with_json("POST", "/", "{}").await.problem(405);
}

#[tokio::test]
async fn bad_bodies_say_what_is_wrong() {
    let interface = Interface::new();
    let check = async |path: &str, body: &str, status: u16, word: &str| {
        let reply = interface.with_json("POST", path, body).await;
        let detail = reply.problem(status);
        assert!(detail.contains(word), "{detail}");
    };
    check("/v1/flights", "", 400, "EOF").await;
    check("/v1/flights", "{", 400, "EOF").await;
    check("/v1/flights", "[]", 422, "NewFlight").await;
    check("/v1/flights", "\u{0}", 400, "expected value").await;
    check("/v1/flights", r#"{"entry":{"totl":1}}"#, 422, "totl").await;
    check("/v1/flights", r#"{"entry":{"total":"1.5"}}"#, 422, "total").await;
    check(
        "/v1/flights",
        r#"{"entry":{"landings":-1}}"#,
        422,
        "landings",
    )
    .await;
    check(
        "/v1/flights",
        r#"{"entry":{"date":"2026-02-30"}}"#,
        422,
        "date",
    )
    .await;
    check("/v1/flights", r#"{"entry":{},"more":1}"#, 422, "more").await;
    check("/v1/aircraft", r#"{"entry":{}}"#, 422, "tail").await;
    check("/v1/contexts", r#"{"name":"x","kind":"bank"}"#, 422, "club").await;
    check("/v1/contexts/x/invites", r#"{"role":"king"}"#, 422, "king").await;
    check(
        "/v1/contexts/x/invites",
        r#"{"role":"member","uses":0}"#,
        422,
        "uses",
    )
    .await;
    check(
        "/v1/joins",
        r#"{"link":"https://elsewhere","secret":"x"}"#,
        422,
        "aeroedge://",
    )
    .await;
    let nested = format!(r#"{{"entry":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
    check("/v1/flights", &nested, 422, "invalid type").await;
    let nested = format!(
        r#"{{"remarks":{}{}}}"#,
        r#"{"a":"#.repeat(5000),
        "}".repeat(5000)
    );
    let reply = interface
        .with_json("PATCH", "/v1/flights/flight-00001", &nested)
        .await;
    reply.problem(400);
}

#[tokio::test]
async fn bodies_of_another_type_or_size_are_refused() {
    let interface = Interface::new();
    let form = interface
        .request("POST", "/v1/flights")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from("entry=1"))
        .unwrap();
    interface.reply(form).await.problem(415);
    let untyped = interface
        .request("POST", "/v1/flights")
        .body(Body::from("{}"))
        .unwrap();
    interface.reply(untyped).await.problem(415);

    let remarks = "x".repeat(8 << 20);
    let huge = format!(r#"{{"entry":{{"remarks":"{remarks}"}}}}"#);
    interface
        .with_json("POST", "/v1/flights", &huge)
        .await
        .problem(413);
    let latin = interface
        .request("POST", "/v1/flights")
        .header("content-type", "application/json")
        .body(Body::from(&b"{\"entry\":{\"remarks\":\"\xe4\"}}"[..]))
        .unwrap();
    interface.reply(latin).await.problem(400);
}

#[tokio::test]
async fn bad_queries_say_what_is_wrong() {
    let interface = Interface::new();
    for query in [
        "limit=0",
        "limit=501",
        "limit=-1",
        "limit=many",
        "offset=-1",
        "order=sideways",
        "from=yesterday",
        "from=2026-02-30",
    ] {
        interface
            .get(&format!("/v1/flights?{query}"))
            .await
            .problem(400);
    }
    let escaped = interface.get("/v1/flights/%ff").await;
    escaped.problem(400);
}

#[tokio::test]
async fn a_poke_reaches_the_program() {
    let interface = Interface::new();
    assert_eq!(
        interface.with_json("POST", "/v1/poke", "").await.status,
        204
    );
    assert_eq!(
        interface
            .memory
            .pokes
            .load(std::sync::atomic::Ordering::Relaxed),
        1
    );
}
