//! The endpoints and their description.

mod contexts;
mod events;
mod extract;
mod flights;
mod pairing;
mod sync;

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router, middleware};
use tokio::sync::watch;
use utoipa::OpenApi;
use utoipa::openapi::OpenApi as Description;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::problem::Problem;
use crate::service::Service;
use crate::token::Token;
use crate::{guard, page};

/// Request bodies are refused beyond this; the largest honest one is a flight with its approaches and people.
const BODY_BYTES_MAX: usize = 256 * 1024;

/// What handlers hold.
#[derive(Clone)]
struct Shared {
    service: Arc<dyn Service>,
    description: Arc<Description>,
    ended: watch::Receiver<bool>,
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "AeroEdge",
        description = "The local interface of one running device. It answers on loopback only; every path under /v1 needs \
                       the token of the data folder as a bearer token. Errors are problem documents (RFC 9457).",
        license(name = "MIT OR Apache-2.0")
    ),
    components(schemas(Problem, crate::types::Event)),
    tags(
        (name = "flights", description = "The logbook"),
        (name = "aircraft", description = "The fleet"),
        (name = "contexts", description = "Groups that share data, their members and devices"),
        (name = "sync", description = "Who is in sync, conflicts and live events"),
        (name = "program", description = "The program itself")
    )
)]
struct Base;

fn described() -> (Router<Shared>, Description) {
    let mut base = Base::openapi();
    if let Some(components) = base.components.as_mut() {
        components.add_security_scheme(
            "token",
            SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
        );
    }
    OpenApiRouter::with_openapi(base)
        .routes(routes!(flights::list, flights::add))
        .routes(routes!(flights::totals))
        .routes(routes!(flights::show, flights::edit, flights::delete))
        .routes(routes!(flights::list_aircraft, flights::add_aircraft))
        .routes(routes!(contexts::list, contexts::create))
        .routes(routes!(contexts::invites, contexts::invite))
        .routes(routes!(contexts::void_invite))
        .routes(routes!(contexts::set_role, contexts::remove_member))
        .routes(routes!(contexts::leave))
        .routes(routes!(contexts::rotate))
        .routes(routes!(contexts::join))
        .routes(routes!(contexts::join_state, contexts::cancel_join))
        .routes(routes!(contexts::members))
        .routes(routes!(contexts::devices))
        .routes(routes!(contexts::revoke_device))
        .routes(routes!(pairing::show, pairing::offer, pairing::end))
        .routes(routes!(pairing::consent))
        .routes(routes!(sync::status))
        .routes(routes!(sync::peers))
        .routes(routes!(sync::now))
        .routes(routes!(sync::poke))
        .routes(routes!(sync::conflicts))
        .routes(routes!(events::stream))
        .routes(routes!(identity))
        .routes(routes!(openapi))
        .split_for_parts()
}

/// The description of all endpoints, as it stands in `openapi/aeroedge.json`.
pub fn description() -> Description {
    described().1
}

/// All endpoints over a service. Event streams end when `ended` turns true, so that the program can end.
pub fn router(service: Arc<dyn Service>, token: Token, ended: watch::Receiver<bool>) -> Router {
    let (guarded, description) = described();
    let shared = Shared {
        service,
        description: Arc::new(description),
        ended,
    };
    let guarded = guarded
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(token, guard::with_token))
        .layer(middleware::map_response(never_stored))
        .with_state(shared);
    Router::new()
        .route("/", get(page::show))
        .route("/healthz", get(health))
        .method_not_allowed_fallback(wrong_method)
        .fallback_service(guarded)
        .layer(middleware::from_fn(guard::local_only))
}

async fn health() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "application/json")],
        r#"{"status":"ok"}"#,
    )
}

async fn unknown() -> Problem {
    Problem::new(
        StatusCode::NOT_FOUND,
        "there is no such path; GET /v1/openapi.json lists those there are",
    )
}

async fn wrong_method() -> Problem {
    Problem::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "the path does not take this method; GET /v1/openapi.json lists those it takes",
    )
}

/// Answers hold private data: no cache may keep them, and no browser may guess at their type.
async fn never_stored(mut response: axum::response::Response) -> axum::response::Response {
    use axum::http::HeaderValue;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// Which program, device and person answer.
#[utoipa::path(get, path = "/v1/version", tag = "program", security(("token" = [])),
    responses((status = 200, body = crate::types::Identity), (status = "default", body = Problem)))]
async fn identity(State(shared): State<Shared>) -> Result<Json<crate::types::Identity>, Problem> {
    Ok(Json(shared.service.identity().await?))
}

/// This description.
#[utoipa::path(get, path = "/v1/openapi.json", tag = "program", security(("token" = [])),
    responses((status = 200, body = serde_json::Value), (status = "default", body = Problem)))]
async fn openapi(State(shared): State<Shared>) -> Json<Description> {
    Json((*shared.description).clone())
}
