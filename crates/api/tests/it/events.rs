//! The live stream.

use std::time::Duration;

use aeroedge_api::types::Event;
use axum::body::Body;
use http_body_util::BodyExt;
use tokio::time::timeout;

use crate::support::Interface;

#[tokio::test]
async fn what_happens_is_streamed_and_the_stream_ends_with_the_program() {
    let interface = Interface::new();
    let request = interface
        .request("GET", "/v1/events")
        .body(Body::empty())
        .unwrap();
    let response = interface.send(request).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut body = response.into_body();

    interface.memory.announce(Event::Changed {
        context: None,
        tables: vec!["flight".into()],
    });
    let frame = timeout(Duration::from_secs(5), body.frame())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
    assert_eq!(
        text,
        "event: changed\ndata: {\"type\":\"changed\",\"context\":null,\"tables\":[\"flight\"]}\n\n"
    );

    interface.end.send(true).unwrap();
    let end = timeout(Duration::from_secs(5), body.frame()).await.unwrap();
    assert!(end.is_none());
}

#[tokio::test]
async fn a_listener_that_fell_behind_is_told() {
    let interface = Interface::new();
    let request = interface
        .request("GET", "/v1/events")
        .body(Body::empty())
        .unwrap();
    let mut body = interface.send(request).await.into_body();
    for _ in 0..40 {
        interface.memory.announce(Event::PeerUp {
            device: "d2".into(),
        });
    }
    let frame = timeout(Duration::from_secs(5), body.frame())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let text = String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap();
    assert!(text.starts_with("event: missed\n"), "{text}");
}
