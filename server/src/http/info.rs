//! What the server says of itself: version, health, commands that ran, names of settings.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use headwater_engine::clock::{Clock, SystemClock};
use headwater_engine::config;
use serde_json::{Map, Value, json};

use super::Shared;
use super::errors::ApiError;
use super::media::Json;

/// One engine is a cluster of one.
const CLUSTER_ID: &str = "headwater";

fn service_id() -> &'static str {
    config::SETTINGS.iter().find(|s| s.name == "ksql.service.id").and_then(|s| s.default).unwrap_or("default_")
}

fn server_status(shared: &Shared) -> &'static str {
    if shared.is_stopping() { "TERMINATING" } else { "RUNNING" }
}

pub(crate) async fn root() -> Redirect {
    Redirect::permanent("/info")
}

pub(crate) async fn info(State(shared): State<Arc<Shared>>) -> Json {
    Json(json!({"KsqlServerInfo": {
        "version": env!("CARGO_PKG_VERSION"),
        "kafkaClusterId": CLUSTER_ID,
        "ksqlServiceId": service_id(),
        "serverStatus": server_status(&shared),
    }}))
}

pub(crate) async fn metadata() -> Json {
    Json(json!({"version": env!("CARGO_PKG_VERSION"), "clusterId": cluster_id()}))
}

pub(crate) async fn metadata_id() -> Json {
    Json(cluster_id())
}

fn cluster_id() -> Value {
    json!({"scope": {"path": [], "clusters": {"kafka-cluster": CLUSTER_ID, "ksql-cluster": service_id()}}, "id": ""})
}

/// The names are ksqlDB's: its metastore is the catalog, its Kafka the log, its command runner the one who applies
/// statements. The log is asked for its topics, which fails to answer only if the engine hangs.
pub(crate) async fn healthcheck(State(shared): State<Arc<Shared>>) -> Response {
    let healthy = shared.blocking(|shared| Ok(shared.engine.topics().len())).await.is_ok();
    let part = json!({"isHealthy": healthy});
    let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = json!({
        "isHealthy": healthy,
        "details": {"metastore": part, "kafka": part, "commandRunner": part},
        "serverState": {"state": "READY"},
    });
    (status, Json(body)).into_response()
}

pub(crate) async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    if shared.is_stopping() { ApiError::shutting_down().into_response() } else { "ok\n".into_response() }
}

/// Answers as long as the process does; what is outside of it has no say.
pub(crate) async fn live() -> &'static str {
    "ok\n"
}

pub(crate) async fn cluster_status(State(shared): State<Arc<Shared>>) -> Result<Json, ApiError> {
    let queries = shared
        .blocking(|shared| {
            let catalog = shared.engine.catalog();
            Ok(catalog.queries_in_order().iter().map(|q| q.id.clone()).collect::<Vec<_>>())
        })
        .await?;
    let now_ms = SystemClock.now_ms();
    let active: Map<String, Value> = queries
        .into_iter()
        .map(|id| {
            let roles =
                json!({"activeStores": [], "activePartitions": [], "standByStores": [], "standByPartitions": []});
            (id, roles)
        })
        .collect();
    let host = json!({
        "hostAlive": true,
        "lastStatusUpdateMs": now_ms,
        "activeStandbyPerQuery": active,
        "hostStoreLags": {"stateStoreLags": {}, "updateTimeMs": now_ms},
    });
    Ok(Json(json!({"clusterStatus": {shared.options.advertised.as_str(): host}})))
}

pub(crate) async fn statuses(State(shared): State<Arc<Shared>>) -> Json {
    let statuses: Map<String, Value> =
        shared.statuses().into_iter().map(|(id, status)| (id, Value::String(status.status))).collect();
    Json(json!({"commandStatuses": statuses}))
}

pub(crate) async fn status(
    State(shared): State<Arc<Shared>>,
    Path((kind, entity, action)): Path<(String, String, String)>,
) -> Result<Json, ApiError> {
    let wanted = format!("{kind}/{entity}/{action}");
    match shared.statuses().into_iter().find(|(id, _)| *id == wanted) {
        Some((_, status)) => Ok(Json(json!(status))),
        None => Err(ApiError::generic(StatusCode::NOT_FOUND, 40400, format!("no command {wanted} ran here"))),
    }
}

pub(crate) async fn is_valid_property(Path(name): Path<String>) -> Result<Json, ApiError> {
    match config::validate_name(&name) {
        Ok(Some(setting)) if !setting.editable => {
            Err(ApiError::bad_request(format!("Cannot override property '{name}'")))
        }
        Ok(_) => Ok(Json(json!(true))),
        Err(error) => Err(ApiError::bad_property(error)),
    }
}
