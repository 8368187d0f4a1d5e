//! Contexts, joining, members and devices.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::Shared;
use super::extract::{Body, Path};
use crate::problem::Problem;
use crate::types::{
    ContextList, Created, DeviceList, Invite, Join, MemberList, NewContext, NewInvite, NewJoin,
};

/// The contexts of this device.
#[utoipa::path(get, path = "/v1/contexts", tag = "contexts", security(("token" = [])),
    responses((status = 200, body = ContextList), (status = "default", body = Problem)))]
pub(super) async fn list(State(shared): State<Shared>) -> Result<Json<ContextList>, Problem> {
    Ok(Json(shared.service.contexts().await?))
}

/// Makes a context, with this device's person as its owner.
#[utoipa::path(post, path = "/v1/contexts", tag = "contexts", security(("token" = [])),
    request_body = NewContext,
    responses((status = 201, body = Created), (status = "default", body = Problem)))]
pub(super) async fn create(
    State(shared): State<Shared>,
    Body(context): Body<NewContext>,
) -> Result<impl IntoResponse, Problem> {
    let created = shared.service.create_context(context).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

/// Makes an invitation: a link that may be sent and a secret that is spoken.
#[utoipa::path(post, path = "/v1/contexts/{id}/invites", tag = "contexts", security(("token" = [])),
    params(("id" = String, Path, description = "Identifier of the context")),
    request_body = NewInvite,
    responses((status = 201, body = Invite), (status = "default", body = Problem)))]
pub(super) async fn invite(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Body(invite): Body<NewInvite>,
) -> Result<impl IntoResponse, Problem> {
    if !(1..=1000).contains(&invite.uses) {
        return Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "uses must be 1 to 1000",
        ));
    }
    let invite = shared.service.invite(id, invite).await?;
    Ok((StatusCode::CREATED, Json(invite)))
}

/// Begins to join a context; it goes on in the background.
#[utoipa::path(post, path = "/v1/joins", tag = "contexts", security(("token" = [])),
    request_body = NewJoin,
    responses((status = 202, body = Join), (status = "default", body = Problem)))]
pub(super) async fn join(
    State(shared): State<Shared>,
    Body(join): Body<NewJoin>,
) -> Result<impl IntoResponse, Problem> {
    let join = shared.service.join(join).await?;
    Ok((StatusCode::ACCEPTED, Json(join)))
}

/// How far joining has come.
#[utoipa::path(get, path = "/v1/joins/{context}", tag = "contexts", security(("token" = [])),
    params(("context" = String, Path, description = "Identifier of the context")),
    responses((status = 200, body = Join), (status = "default", body = Problem)))]
pub(super) async fn join_state(
    State(shared): State<Shared>,
    Path(context): Path<String>,
) -> Result<Json<Join>, Problem> {
    Ok(Json(shared.service.join_state(context).await?))
}

/// Gives up joining; nothing of it is kept.
#[utoipa::path(delete, path = "/v1/joins/{context}", tag = "contexts", security(("token" = [])),
    params(("context" = String, Path, description = "Identifier of the context")),
    responses((status = 204), (status = "default", body = Problem)))]
pub(super) async fn cancel_join(
    State(shared): State<Shared>,
    Path(context): Path<String>,
) -> Result<StatusCode, Problem> {
    shared.service.cancel_join(context).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The members of a context.
#[utoipa::path(get, path = "/v1/contexts/{id}/members", tag = "contexts", security(("token" = [])),
    params(("id" = String, Path, description = "Identifier of the context")),
    responses((status = 200, body = MemberList), (status = "default", body = Problem)))]
pub(super) async fn members(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<MemberList>, Problem> {
    Ok(Json(shared.service.members(id).await?))
}

/// The devices of all contexts.
#[utoipa::path(get, path = "/v1/devices", tag = "contexts", security(("token" = [])),
    responses((status = 200, body = DeviceList), (status = "default", body = Problem)))]
pub(super) async fn devices(State(shared): State<Shared>) -> Result<Json<DeviceList>, Problem> {
    Ok(Json(shared.service.devices().await?))
}
