//! The logbook and the fleet.

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::Shared;
use super::extract::{Body, Path, Query};
use crate::problem::{Failure, Problem};
use crate::types::{
    AircraftList, Created, Flight, FlightEntry, FlightFilter, FlightPage, FlightTotals,
    NewAircraft, NewFlight, Paging,
};

/// The most flights that one answer holds.
const PAGE_LIMIT_MAX: u32 = 500;

/// Part of the logbook, each flight once however many contexts hold it.
#[utoipa::path(get, path = "/v1/flights", tag = "flights", security(("token" = [])),
    params(FlightFilter, Paging),
    responses((status = 200, body = FlightPage), (status = "default", body = Problem)))]
pub(super) async fn list(
    State(shared): State<Shared>,
    Query(filter): Query<FlightFilter>,
    Query(paging): Query<Paging>,
) -> Result<Json<FlightPage>, Problem> {
    if !(1..=PAGE_LIMIT_MAX).contains(&paging.limit) {
        let detail = format!("limit must be 1 to {PAGE_LIMIT_MAX}");
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    }
    Ok(Json(shared.service.flights(filter, paging).await?))
}

/// Logs a flight.
#[utoipa::path(post, path = "/v1/flights", tag = "flights", security(("token" = [])),
    request_body = NewFlight,
    responses((status = 201, body = Created), (status = "default", body = Problem)))]
pub(super) async fn add(
    State(shared): State<Shared>,
    Body(flight): Body<NewFlight>,
) -> Result<impl IntoResponse, Problem> {
    let created = shared.service.add_flight(flight).await?;
    let location = [(header::LOCATION, format!("/v1/flights/{}", created.id))];
    Ok((StatusCode::CREATED, location, Json(created)))
}

/// What flights add up to, to the second.
#[utoipa::path(get, path = "/v1/flights/totals", tag = "flights", security(("token" = [])),
    params(FlightFilter),
    responses((status = 200, body = FlightTotals), (status = "default", body = Problem)))]
pub(super) async fn totals(
    State(shared): State<Shared>,
    Query(filter): Query<FlightFilter>,
) -> Result<Json<FlightTotals>, Problem> {
    Ok(Json(shared.service.flight_totals(filter).await?))
}

/// One flight.
#[utoipa::path(get, path = "/v1/flights/{id}", tag = "flights", security(("token" = [])),
    params(("id" = String, Path, description = "Identifier of the flight")),
    responses((status = 200, body = Flight), (status = "default", body = Problem)))]
pub(super) async fn show(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<Json<Flight>, Problem> {
    Ok(Json(shared.service.flight(id).await?))
}

/// Changes the fields that the body names, by JSON merge patch (RFC 7396): null clears a field.
#[utoipa::path(patch, path = "/v1/flights/{id}", tag = "flights", security(("token" = [])),
    params(("id" = String, Path, description = "Identifier of the flight")),
    request_body(content = FlightEntry, description = "Only the fields to be changed"),
    responses((status = 200, body = Flight), (status = "default", body = Problem)))]
pub(super) async fn edit(
    State(shared): State<Shared>,
    Path(id): Path<String>,
    Body(patch): Body<Value>,
) -> Result<Json<Flight>, Problem> {
    let current = shared.service.flight(id.clone()).await?;
    let entry = patched(&current.entry, patch)?;
    Ok(Json(shared.service.edit_flight(id, entry).await?))
}

/// Deletes a flight in every context that holds it.
#[utoipa::path(delete, path = "/v1/flights/{id}", tag = "flights", security(("token" = [])),
    params(("id" = String, Path, description = "Identifier of the flight")),
    responses((status = 204), (status = "default", body = Problem)))]
pub(super) async fn delete(
    State(shared): State<Shared>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    shared.service.delete_flight(id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which aircraft.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
pub(super) struct AircraftFilter {
    /// Only aircraft of this context.
    context: Option<String>,
}

/// The aircraft of all contexts, or of one.
#[utoipa::path(get, path = "/v1/aircraft", tag = "aircraft", security(("token" = [])),
    params(AircraftFilter),
    responses((status = 200, body = AircraftList), (status = "default", body = Problem)))]
pub(super) async fn list_aircraft(
    State(shared): State<Shared>,
    Query(filter): Query<AircraftFilter>,
) -> Result<Json<AircraftList>, Problem> {
    Ok(Json(shared.service.aircraft(filter.context).await?))
}

/// Adds an aircraft.
#[utoipa::path(post, path = "/v1/aircraft", tag = "aircraft", security(("token" = [])),
    request_body = NewAircraft,
    responses((status = 201, body = Created), (status = "default", body = Problem)))]
pub(super) async fn add_aircraft(
    State(shared): State<Shared>,
    Body(aircraft): Body<NewAircraft>,
) -> Result<impl IntoResponse, Problem> {
    let created = shared.service.add_aircraft(aircraft).await?;
    Ok((StatusCode::CREATED, Json(created)))
}

fn patched(entry: &FlightEntry, patch: Value) -> Result<FlightEntry, Problem> {
    if !patch.is_object() {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "send an object with the fields to be changed",
        ));
    }
    let mut target =
        serde_json::to_value(entry).map_err(|error| Failure::Internal(error.to_string()))?;
    merge(&mut target, patch);
    serde_json::from_value(target)
        .map_err(|error| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()))
}

/// RFC 7396; serde_json bounds the depth of what it parses, and with it this recursion.
fn merge(target: &mut Value, patch: Value) {
    match patch {
        Value::Object(fields) => {
            if !target.is_object() {
                *target = Value::Object(serde_json::Map::new());
            }
            let Some(object) = target.as_object_mut() else {
                return;
            };
            for (name, value) in fields {
                if value.is_null() {
                    object.remove(&name);
                } else {
                    merge(object.entry(name).or_insert(Value::Null), value);
                }
            }
        }
        value => *target = value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(patch: Value) -> Result<FlightEntry, u16> {
        let entry = FlightEntry {
            tail: Some("N1".into()),
            total: 3600,
            landings: Some(2),
            ..FlightEntry::default()
        };
        patched(&entry, patch).map_err(|problem| problem.status)
    }

    #[test]
    fn a_patch_touches_only_what_it_names() {
        let entry = check(json!({"total": 5400, "instructor": {"name": "Ann"}})).unwrap();
        assert_eq!((entry.total, entry.landings), (5400, Some(2)));
        assert_eq!(entry.instructor.name.as_deref(), Some("Ann"));
        assert_eq!(entry.tail.as_deref(), Some("N1"));
    }

    #[test]
    fn null_clears() {
        let entry = check(json!({"tail": null, "total": null})).unwrap();
        assert_eq!((entry.tail, entry.total), (None, 0));
    }

    #[test]
    fn misspelt_fields_and_wrong_types_are_refused() {
        assert_eq!(check(json!({"totl": 1})), Err(422));
        assert_eq!(check(json!({"total": "1.5"})), Err(422));
        assert_eq!(check(json!({"date": "14.5.2026"})), Err(422));
        assert_eq!(check(json!([1])), Err(400));
    }
}
