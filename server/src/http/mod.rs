//! ksqlDB's HTTP API over the engine, with health and metrics beside it.
//!
//! | route | does | file |
//! |---|---|---|
//! | `POST /ksql`, `/ksql/terminate` | statements → entities | `statements` |
//! | `POST /query`, `/query-stream`, `/close-query` | a query → rows | `queries`, `rows` |
//! | `POST /inserts-stream` | rows → acknowledgements | `inserts` |
//! | `POST /headwater/load` | a file of rows → a report | `loading` |
//! | `GET /info`, `/healthcheck`, `/clusterStatus`, `/status…`, `/is_valid_property/…`, `/v1/metadata…`, `/chc/…`, `/livez`, `/readyz` | what the server says of itself | `info` |
//! | `GET /metrics` | Prometheus text | `metrics` |
//!
//! A request is a session of its own: its `streamsProperties` and `sessionVariables` are the session's settings and
//! variables. Engine calls block, so they run on the blocking pool, a bounded number at a time; rows of a query flow to
//! the client as they come, and a client that goes cancels its query. Network sessions reach no files.

mod errors;
mod info;
mod inserts;
mod loading;
mod media;
mod metrics;
mod queries;
mod request;
mod rows;
mod shared;
mod statements;

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{Method, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Router, http::StatusCode};
use headwater_engine::Engine;

use errors::ApiError;
pub(crate) use shared::Shared;

/// What may be chosen about the door. Every limit has its unit in its name and a fixed answer when it is reached.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Largest request body; 413 beyond it. `/inserts-stream` has no such limit, each of its lines has `row_bytes_max`.
    pub body_bytes_max: usize,
    /// Largest line of `/inserts-stream`; the request ends with an error beyond it.
    pub row_bytes_max: usize,
    /// Statements running at a time; others wait their turn.
    pub statements_max: usize,
    /// Connections open at a time; further ones are closed at once.
    pub connections_max: usize,
    /// Push and pull queries streaming at a time; 429 with code 40003 beyond it.
    pub queries_max: usize,
    /// Host and port as `/clusterStatus` names this server.
    pub advertised: String,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            body_bytes_max: 32 << 20,
            row_bytes_max: 8 << 20,
            statements_max: 64,
            connections_max: 10_000,
            queries_max: 1_000,
            advertised: "localhost:8088".to_string(),
        }
    }
}

/// The routes over one engine, for a server of one's own or for calls in process.
pub fn router(engine: Engine, options: ServerOptions) -> Router {
    build(engine, options).0
}

pub(crate) fn build(engine: Engine, options: ServerOptions) -> (Router, Arc<Shared>) {
    let shared = Arc::new(Shared::new(engine, options));
    let router = Router::new()
        .route("/ksql", post(statements::ksql))
        .route("/ksql/terminate", post(statements::terminate))
        .route("/query", post(queries::query))
        .route("/query-stream", post(queries::query_stream))
        .route("/close-query", post(queries::close_query))
        .route("/inserts-stream", post(inserts::inserts_stream))
        .route("/headwater/load", post(loading::load))
        .route("/", get(info::root))
        .route("/info", get(info::info))
        .route("/healthcheck", get(info::healthcheck))
        .route("/clusterStatus", get(info::cluster_status))
        .route("/status", get(info::statuses))
        .route("/status/{kind}/{entity}/{action}", get(info::status))
        .route("/is_valid_property/{name}", get(info::is_valid_property))
        .route("/v1/metadata", get(info::metadata))
        .route("/v1/metadata/id", get(info::metadata_id))
        .route("/chc/ready", get(info::ready))
        .route("/chc/live", get(info::live))
        .route("/readyz", get(info::ready))
        .route("/livez", get(info::live))
        .route("/metrics", get(metrics::metrics))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(middleware::from_fn_with_state(shared.clone(), watch))
        .with_state(shared.clone());
    (router, shared)
}

/// Counts every request, and answers none but the health probes once the server is stopping.
async fn watch(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let path = metrics::route_of(request.uri().path());
    let response = if shared.is_stopping() && !matches!(path, "/livez" | "/chc/live" | "/metrics") {
        ApiError::shutting_down().into_response()
    } else {
        next.run(request).await
    };
    shared.metrics.count_request(path, response.status().as_u16());
    response
}

async fn not_found(uri: Uri) -> ApiError {
    ApiError::generic(StatusCode::NOT_FOUND, 40400, format!("there is nothing at {}", uri.path()))
}

async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    ApiError::generic(StatusCode::METHOD_NOT_ALLOWED, 40500, format!("{} does not answer {method}", uri.path()))
}
