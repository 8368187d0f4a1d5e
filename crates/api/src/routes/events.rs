//! The live stream.
//!
//! It carries no content, only what to ask for again, so a listener that missed some asks once and is right again.

use std::convert::Infallible;
use std::time::Duration;

use axum::extract::State;
use axum::response::sse;
use futures::{Stream, StreamExt};

use super::Shared;
use crate::problem::Problem;

/// What happens, as server-sent events; the data of each is an `Event`.
#[utoipa::path(get, path = "/v1/events", tag = "sync", security(("token" = [])),
    responses(
        (status = 200, content_type = "text/event-stream", body = crate::types::Event),
        (status = "default", body = Problem)))]
pub(super) async fn stream(
    State(shared): State<Shared>,
) -> sse::Sse<impl Stream<Item = Result<sse::Event, Infallible>>> {
    let mut ended = shared.ended.clone();
    let until = async move {
        let _ = ended.wait_for(|ended| *ended).await;
    };
    let events = shared
        .service
        .events()
        .map(|event| {
            let data = serde_json::to_string(&event).unwrap_or_default();
            Ok(sse::Event::default().event(event.name()).data(data))
        })
        .take_until(until);
    sse::Sse::new(events).keep_alive(sse::KeepAlive::new().interval(Duration::from_secs(15)))
}
