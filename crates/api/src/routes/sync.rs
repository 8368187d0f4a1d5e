//! How the exchange with other devices stands, and what sets it going.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;

use super::Shared;
use crate::problem::Problem;
use crate::types::{ConflictList, PeerList, SyncStatus};

/// How this device stands with the others.
#[utoipa::path(get, path = "/v1/sync", tag = "sync", security(("token" = [])),
    responses((status = 200, body = SyncStatus), (status = "default", body = Problem)))]
pub(super) async fn status(State(shared): State<Shared>) -> Result<Json<SyncStatus>, Problem> {
    Ok(Json(shared.service.sync_status().await?))
}

/// The devices met so far.
#[utoipa::path(get, path = "/v1/sync/peers", tag = "sync", security(("token" = [])),
    responses((status = 200, body = PeerList), (status = "default", body = Problem)))]
pub(super) async fn peers(State(shared): State<Shared>) -> Result<Json<PeerList>, Problem> {
    Ok(Json(shared.service.peers().await?))
}

/// Looks for changes and peers at once.
#[utoipa::path(post, path = "/v1/sync/now", tag = "sync", security(("token" = [])),
    responses((status = 202), (status = "default", body = Problem)))]
pub(super) async fn now(State(shared): State<Shared>) -> Result<StatusCode, Problem> {
    shared.service.sync_now().await?;
    Ok(StatusCode::ACCEPTED)
}

/// Says that another process wrote to the database: what it wrote is sent at once.
#[utoipa::path(post, path = "/v1/poke", tag = "sync", security(("token" = [])),
    responses((status = 204), (status = "default", body = Problem)))]
pub(super) async fn poke(State(shared): State<Shared>) -> Result<StatusCode, Problem> {
    shared.service.poke().await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What was edited by several at once, with every value.
#[utoipa::path(get, path = "/v1/conflicts", tag = "sync", security(("token" = [])),
    responses((status = 200, body = ConflictList), (status = "default", body = Problem)))]
pub(super) async fn conflicts(State(shared): State<Shared>) -> Result<Json<ConflictList>, Problem> {
    Ok(Json(shared.service.conflicts().await?))
}
