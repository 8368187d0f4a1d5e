//! Contexts, joining, members and devices.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;

use super::Shared;
use super::extract::{Body, Path};
use crate::problem::Problem;
use crate::types::{
    Changed, ContextList, Created, DeviceList, Invite, InviteList, Join, MemberList, NewContext,
    NewInvite, NewJoin, NewRights,
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

/// Gives a member another role and other permissions.
///
/// What rights are lost ends where this device knows the member's writing to end; new keys are made for what the member may not read any more.
#[utoipa::path(put, path = "/v1/contexts/{id}/members/{user}", tag = "contexts", security(("token" = [])),
    params(("id" = String, Path, description = "Identifier of the context"), ("user" = String, Path, description = "Identifier of the person")),
    request_body = NewRights,
    responses((status = 200, body = Changed), (status = "default", body = Problem)))]
pub(super) async fn set_role(
    State(shared): State<Shared>,
    Path((id, user)): Path<(String, String)>,
    Body(rights): Body<NewRights>,
) -> Result<Json<Changed>, Problem> {
    Ok(Json(shared.service.set_role(id, user, rights).await?))
}

/// Shuts a member out with all devices and makes new keys; what they wrote so far stays.
#[utoipa::path(delete, path = "/v1/contexts/{id}/members/{user}", tag = "contexts", security(("token" = [])),
    params(("id" = String, Path, description = "Identifier of the context"), ("user" = String, Path, description = "Identifier of the person")),
    responses((status = 200, body = Changed), (status = "default", body = Problem)))]
pub(super) async fn remove_member(
    State(shared): State<Shared>,
    Path((id, user)): Path<(String, String)>,
) -> Result<Json<Changed>, Problem> {
    Ok(Json(shared.service.remove_member(id, user).await?))
}

/// Ends the membership of this device's person; own flights are kept in the personal logbook.
#[utoipa::path(post, path = "/v1/contexts/{id}/leave", tag = "contexts", security(("token" = [])),
    params(("id" = String, Path, description = "Identifier of the context")),
    responses((status = 200, body = Changed), (status = "default", body = Problem)))]
pub(super) async fn leave(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Changed>, Problem> {
    Ok(Json(shared.service.leave(id).await?))
}

/// Makes new keys for a context; open invitations are void by it.
#[utoipa::path(post, path = "/v1/contexts/{id}/rotate", tag = "contexts", security(("token" = [])),
    params(("id" = String, Path, description = "Identifier of the context")),
    responses((status = 200, body = Changed), (status = "default", body = Problem)))]
pub(super) async fn rotate(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Changed>, Problem> {
    Ok(Json(shared.service.rotate(id).await?))
}

/// The invitations of a context, without their links and secrets.
#[utoipa::path(get, path = "/v1/contexts/{id}/invites", tag = "contexts", security(("token" = [])),
    params(("id" = String, Path, description = "Identifier of the context")),
    responses((status = 200, body = InviteList), (status = "default", body = Problem)))]
pub(super) async fn invites(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<InviteList>, Problem> {
    Ok(Json(shared.service.invites(id).await?))
}

/// Withdraws an invitation.
#[utoipa::path(delete, path = "/v1/contexts/{id}/invites/{invite}", tag = "contexts", security(("token" = [])),
    params(("id" = String, Path, description = "Identifier of the context"), ("invite" = String, Path, description = "Key of the invitation")),
    responses((status = 200, body = Changed), (status = "default", body = Problem)))]
pub(super) async fn void_invite(
    State(shared): State<Shared>,
    Path((id, invite)): Path<(String, String)>,
) -> Result<Json<Changed>, Problem> {
    Ok(Json(shared.service.void_invite(id, invite).await?))
}

/// Shuts a device out of every context that this one may shut it out of, and makes new keys.
#[utoipa::path(delete, path = "/v1/devices/{key}", tag = "contexts", security(("token" = [])),
    params(("key" = String, Path, description = "Public key of the device")),
    responses((status = 200, body = Changed), (status = "default", body = Problem)))]
pub(super) async fn revoke_device(
    State(shared): State<Shared>,
    Path(key): Path<String>,
) -> Result<Json<Changed>, Problem> {
    Ok(Json(shared.service.revoke_device(key).await?))
}

/// The devices of all contexts.
#[utoipa::path(get, path = "/v1/devices", tag = "contexts", security(("token" = [])),
    responses((status = 200, body = DeviceList), (status = "default", body = Problem)))]
pub(super) async fn devices(State(shared): State<Shared>) -> Result<Json<DeviceList>, Problem> {
    Ok(Json(shared.service.devices().await?))
}
