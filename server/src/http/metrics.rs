//! `GET /metrics`: what the door counts, and what each query counts, as Prometheus text.
//!
//! | metric | labels |
//! |---|---|
//! | `headwater_http_requests_total` | route, status |
//! | `headwater_http_queries_total` | kind |
//! | `headwater_http_rows_inserted_total` | |
//! | `headwater_http_queries_streaming` | |
//! | `headwater_query_<counter>` | query, state |
//!
//! Routes are the router's own, never the path a client made up: the number of series is bounded.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use headwater_engine::entity::{EntityBody, RunningQuery};
use headwater_engine::results::ResultKind;
use headwater_engine::{Error, Outcome};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

use super::Shared;
use super::errors::ApiError;

type Labels = Vec<(&'static str, String)>;

pub(crate) struct Metrics {
    requests: Family<Labels, Counter>,
    queries: Family<Labels, Counter>,
    rows_inserted: Counter,
}

impl Metrics {
    pub fn new() -> Self {
        Self { requests: Family::default(), queries: Family::default(), rows_inserted: Counter::default() }
    }

    pub fn count_request(&self, route: &str, status: u16) {
        self.requests.get_or_create(&vec![("route", route.to_string()), ("status", status.to_string())]).inc();
    }

    pub fn count_query(&self, kind: ResultKind) {
        let kind = match kind {
            ResultKind::Push => "push",
            ResultKind::Pull => "pull",
            ResultKind::PullStream => "pull_stream",
            ResultKind::Batch => "batch",
            ResultKind::Print => "print",
        };
        self.queries.get_or_create(&vec![("kind", kind.to_string())]).inc();
    }

    pub fn count_inserts(&self, rows: usize) {
        self.rows_inserted.inc_by(rows as u64);
    }
}

/// The route that answers `path`; everything else is `other`.
pub(crate) fn route_of(path: &str) -> &'static str {
    const ROUTES: [&str; 20] = [
        "/headwater/load",
        "/ksql",
        "/ksql/terminate",
        "/query",
        "/query-stream",
        "/close-query",
        "/inserts-stream",
        "/",
        "/info",
        "/healthcheck",
        "/clusterStatus",
        "/status",
        "/is_valid_property",
        "/v1/metadata",
        "/v1/metadata/id",
        "/chc/ready",
        "/chc/live",
        "/readyz",
        "/livez",
        "/metrics",
    ];
    if let Some(route) = ROUTES.iter().find(|route| **route == path) {
        return route;
    }
    ["/status", "/is_valid_property"]
        .into_iter()
        .find(|prefix| path.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/')))
        .unwrap_or("other")
}

pub(crate) async fn metrics(State(shared): State<Arc<Shared>>) -> Result<Response, ApiError> {
    let text = shared.blocking(|shared| Ok(render(shared)?)).await?;
    let media = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, media)], text).into_response())
}

fn render(shared: &Arc<Shared>) -> Result<String, Error> {
    let mut registry = Registry::with_prefix("headwater");
    let http = registry.sub_registry_with_prefix("http");
    http.register("requests", "Requests answered", shared.metrics.requests.clone());
    http.register("queries", "Queries started", shared.metrics.queries.clone());
    http.register("rows_inserted", "Rows taken by /inserts-stream", shared.metrics.rows_inserted.clone());
    let streaming = ConstGauge::new(shared.running_queries() as i64);
    http.register_collector(Box::new(One {
        name: "queries_streaming",
        help: "Queries streaming now",
        value: streaming,
    }));
    registry.register_collector(Box::new(QueryCounters { queries: running_queries(shared)? }));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)
        .map_err(|_| Error::internal("the metrics cannot be written as text"))?;
    Ok(text)
}

fn running_queries(shared: &Arc<Shared>) -> Result<Vec<RunningQuery>, Error> {
    let mut session = shared.session();
    let mut queries = Vec::new();
    for statement in session.parse("SHOW QUERIES;")? {
        if let Outcome::Entity(entity) = session.execute(&statement)?
            && let EntityBody::Queries { queries: shown } = entity.body
        {
            queries.extend(shown);
        }
    }
    Ok(queries)
}

#[derive(Debug)]
struct One {
    name: &'static str,
    help: &'static str,
    value: ConstGauge<i64>,
}

impl Collector for One {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let metric = encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
        self.value.encode(metric)
    }
}

/// Every numeric counter of every query; the names are the engine's.
#[derive(Debug)]
struct QueryCounters {
    queries: Vec<RunningQuery>,
}

impl Collector for QueryCounters {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let mut by_name: BTreeMap<&str, Vec<(&RunningQuery, f64)>> = BTreeMap::new();
        for query in &self.queries {
            for (name, value) in query.counters.iter().flatten() {
                if let Some(value) = value.as_f64() {
                    by_name.entry(name).or_default().push((query, value));
                }
            }
        }
        for (name, values) in by_name {
            let metric_name = format!("query_{}", snake_case(name));
            let mut metric =
                encoder.encode_descriptor(&metric_name, &format!("{name} of a query"), None, MetricType::Gauge)?;
            for (query, value) in values {
                let labels = [("query", query.id.as_str()), ("state", query.state.as_str())];
                ConstGauge::new(value).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

fn snake_case(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        match c {
            'A'..='Z' => {
                out.push('_');
                out.push(c.to_ascii_lowercase());
            }
            'a'..='z' | '0'..='9' | '_' => out.push(c),
            _ => out.push('_'),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_paths_share_one_series() {
        assert_eq!(route_of("/ksql"), "/ksql");
        assert_eq!(route_of("/status/stream/S/create"), "/status");
        assert_eq!(route_of("/statusx"), "other");
        assert_eq!(route_of("/nothing/here"), "other");
    }
}
