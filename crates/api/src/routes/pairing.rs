//! Letting a second device of the same person in.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::Shared;
use super::extract::Body;
use crate::problem::Problem;
use crate::types::{Pairing, PairingConsent, PairingOffer};

/// Shows a way in for a second device of this device's person. One shown before is void.
#[utoipa::path(post, path = "/v1/pairing", tag = "contexts", security(("token" = [])),
    responses((status = 201, body = PairingOffer), (status = "default", body = Problem)))]
pub(super) async fn offer(State(shared): State<Shared>) -> Result<impl IntoResponse, Problem> {
    let offer = shared.service.offer_pairing().await?;
    Ok((StatusCode::CREATED, Json(offer)))
}

/// How far the pairing has come.
#[utoipa::path(get, path = "/v1/pairing", tag = "contexts", security(("token" = [])),
    responses((status = 200, body = Pairing), (status = "default", body = Problem)))]
pub(super) async fn show(State(shared): State<Shared>) -> Result<Json<Pairing>, Problem> {
    Ok(Json(shared.service.pairing().await?))
}

/// Lets the new device in, after the digits were compared.
#[utoipa::path(post, path = "/v1/pairing/consent", tag = "contexts", security(("token" = [])),
    request_body = PairingConsent,
    responses((status = 200, body = Pairing), (status = "default", body = Problem)))]
pub(super) async fn consent(
    State(shared): State<Shared>,
    Body(consent): Body<PairingConsent>,
) -> Result<Json<Pairing>, Problem> {
    Ok(Json(shared.service.confirm_pairing(consent).await?))
}

/// Ends the pairing; nothing more is given.
#[utoipa::path(delete, path = "/v1/pairing", tag = "contexts", security(("token" = [])),
    responses((status = 204), (status = "default", body = Problem)))]
pub(super) async fn end(State(shared): State<Shared>) -> Result<StatusCode, Problem> {
    shared.service.end_pairing().await?;
    Ok(StatusCode::NO_CONTENT)
}
