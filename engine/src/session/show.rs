//! SHOW, DESCRIBE, EXPLAIN: what exists and how it is doing, in ksqlDB's shapes.

use serde_json::{Map, Value as Json, json};

use super::Session;
use crate::catalog::{Catalog, PersistentQuery, Source};
use crate::config::SETTINGS;
use crate::entity::{
    EntityBody, FieldInfo, FieldSchema, FunctionArgument, FunctionName, FunctionSignature, PropertyInfo,
    QueryDescription, RunningQuery, SourceDescription, SourceInfo, TopicInfo, Variable,
};
use crate::error::{Error, Position, Result};
use crate::functions::{self, FunctionKind};
use crate::plan::Planner;
use crate::plan::lower::lower;
use crate::plan::steps::{Plan, Step, StepKind, WindowInfo, WindowType};
use crate::runtime::QueryMetrics;
use crate::runtime::query::QueryState;
use crate::runtime::rejects::is_system;
use crate::schema::Schema;
use crate::sql::ast::{self, Explain, Show, Statement};
use crate::types::SqlType;

impl Session {
    pub(super) fn show(&self, show: &Show) -> Result<EntityBody> {
        let catalog = self.engine.catalog();
        Ok(match show {
            Show::Streams { extended: true } => self.describe_all(ast::SourceKind::Stream, true)?,
            Show::Tables { extended: true } => self.describe_all(ast::SourceKind::Table, true)?,
            Show::Streams { .. } => EntityBody::Streams { streams: sources(&catalog, false) },
            Show::Tables { .. } => EntityBody::Tables { tables: sources(&catalog, true) },
            Show::Topics { all, extended } => {
                let mut topics: Vec<TopicInfo> = self
                    .engine
                    .topics()
                    .into_iter()
                    .filter(|t| *all || !t.internal)
                    .map(|t| TopicInfo {
                        name: t.name.clone(),
                        replica_info: vec![1; t.partitions as usize],
                        consumer_count: extended.then(|| consumers(&catalog, &t.name)),
                        consumer_group_count: extended.then(|| consumers(&catalog, &t.name)),
                    })
                    .collect();
                topics.sort_by(|a, b| a.name.cmp(&b.name));
                if *extended { EntityBody::TopicsExtended { topics } } else { EntityBody::Topics { topics } }
            }
            Show::Queries { extended: true } => EntityBody::QueryDescriptions {
                query_descriptions: catalog
                    .queries_in_order()
                    .into_iter()
                    .map(|q| self.query_description(q, &catalog))
                    .collect::<Result<_>>()?,
            },
            Show::Queries { .. } => EntityBody::Queries { queries: self.running_queries(&catalog) },
            Show::Functions => EntityBody::FunctionNames {
                functions: functions::list_all(self.settings.strict())
                    .into_iter()
                    .map(|f| FunctionName {
                        name: f.name.to_string(),
                        kind: kind_name(f.kind).to_string(),
                        category: f.category.to_string(),
                    })
                    .collect(),
            },
            Show::Properties => EntityBody::Properties {
                properties: SETTINGS
                    .iter()
                    .map(|s| PropertyInfo {
                        name: s.name.to_string(),
                        scope: "KSQL".to_string(),
                        value: self.settings.get(s.name).map(str::to_string),
                        editable: s.editable,
                        level: if s.editable { "QUERY" } else { "SERVER" }.to_string(),
                    })
                    .collect(),
                overwritten_properties: self.settings.overrides().keys().cloned().collect(),
                default_properties: SETTINGS
                    .iter()
                    .filter(|s| !self.settings.overrides().contains_key(s.name))
                    .map(|s| s.name.to_string())
                    .collect(),
            },
            Show::Types => EntityBody::Types {
                types: catalog.types.iter().map(|(name, ty)| (name.to_string(), json!(field_schema(ty)))).collect(),
            },
            Show::Variables => EntityBody::Variables {
                variables: self
                    .variables
                    .iter()
                    .map(|(name, value)| Variable { name: name.clone(), value: value.clone() })
                    .collect(),
            },
            Show::Connectors | Show::ConnectorPlugins => {
                return Err(Error::statement("connectors are not built yet")
                    .with_hint("headwater load and COPY … FROM read files"));
            }
        })
    }

    pub(super) fn describe(&self, name: &str, extended: bool, position: Option<Position>) -> Result<EntityBody> {
        let catalog = self.engine.catalog();
        let source = catalog.source(name).ok_or_else(|| {
            let near = crate::config::nearest(name, catalog.sources.keys().map(AsRef::as_ref));
            let error =
                Error::not_found(format!("Could not find STREAM/TABLE '{name}' in the Metastore")).at_maybe(position);
            match near {
                Some(near) => error.with_hint(format!("did you mean {near}?")),
                None => error.with_hint("SHOW STREAMS and SHOW TABLES list what exists"),
            }
        })?;
        Ok(EntityBody::SourceDescription {
            source_description: Box::new(self.source_description(source, &catalog, extended)),
        })
    }

    pub(super) fn describe_all(&self, kind: ast::SourceKind, extended: bool) -> Result<EntityBody> {
        let catalog = self.engine.catalog();
        let table = kind == ast::SourceKind::Table;
        Ok(EntityBody::SourceDescriptions {
            source_descriptions: catalog
                .sources
                .values()
                .filter(|s| s.is_table() == table && !is_system(&s.name))
                .map(|s| self.source_description(s, &catalog, extended))
                .collect(),
        })
    }

    pub(super) fn describe_function(&self, name: &str) -> Result<EntityBody> {
        let list = functions::list_all(self.settings.strict());
        let Some(function) = list.iter().find(|f| f.name.eq_ignore_ascii_case(name)) else {
            let error = Error::not_found(format!("Can't find any functions with the name '{name}'"));
            return Err(match crate::config::nearest(&name.to_uppercase(), list.iter().map(|f| f.name)) {
                Some(near) => error.with_hint(format!("did you mean {near}?")),
                None => error.with_hint("SHOW FUNCTIONS lists them all"),
            });
        };
        Ok(EntityBody::DescribeFunction {
            name: function.name.to_string(),
            description: function.description.to_string(),
            author: "Headwater".into(),
            version: String::new(),
            path: "internal".into(),
            kind: kind_name(function.kind).to_string(),
            functions: function
                .signatures
                .iter()
                .map(|s| FunctionSignature {
                    arguments: s
                        .arguments
                        .iter()
                        .map(|(name, ty, variadic)| FunctionArgument {
                            name: name.clone(),
                            kind: ty.clone(),
                            description: String::new(),
                            is_variadic: *variadic,
                        })
                        .collect(),
                    return_type: s.returns.clone(),
                    description: s.description.clone(),
                })
                .collect(),
        })
    }

    pub(super) fn explain(&self, explain: &Explain) -> Result<EntityBody> {
        let catalog = self.engine.catalog();
        let description = match explain {
            Explain::Query(id) => {
                let query = catalog.queries.get(id.to_uppercase().as_str()).ok_or_else(|| {
                    Error::not_found(format!(
                        "Query with id:{id} does not exist, use SHOW QUERIES to view the full set of queries."
                    ))
                })?;
                self.query_description(query, &catalog)?
            }
            Explain::Statement(parsed) => {
                let partitions = |name: &str| self.engine.log().topic(name).map(|t| t.partitions);
                let planner = Planner { catalog: &catalog, settings: &self.settings, topic_partitions: &partitions };
                let plan = match &parsed.statement {
                    Statement::Query(query) if query.emit.is_some() => planner.push(query)?.plan,
                    Statement::CreateAs(create) => planner.create_as(create, "EXPLAIN")?.plan,
                    Statement::InsertSelect(insert) => planner.insert_select(insert, "EXPLAIN")?.plan,
                    Statement::Query(_) | Statement::BatchQuery(_) => {
                        let text = crate::plan::batch::explain(&self.engine, &parsed.text, &self.settings)?;
                        return Ok(explained("BATCH", &parsed.text, text, Vec::new(), &Schema::default(), None));
                    }
                    _ => {
                        return Err(Error::statement("EXPLAIN takes a query id, a SELECT or a CREATE … AS SELECT"));
                    }
                };
                let sources = plan.root.scans().iter().map(|s| s.source.clone()).collect();
                let text = render_plan(&plan)?;
                let kind = if plan.sink.is_some() { "PERSISTENT" } else { "PUSH" };
                return Ok(explained(kind, &parsed.text, text, sources, &plan.root.schema, plan.root.windowed));
            }
        };
        Ok(EntityBody::QueryDescription { query_description: Box::new(description) })
    }

    fn running_queries(&self, catalog: &Catalog) -> Vec<RunningQuery> {
        let metrics = self.engine.runtime().metrics();
        let mut all: Vec<RunningQuery> = catalog
            .queries_in_order()
            .into_iter()
            .map(|q| running_query(q, catalog, metrics.iter().find(|m| m.id == q.id)))
            .collect();
        for client in self.engine.runtime().clients() {
            all.push(RunningQuery {
                query_string: client.sql,
                sinks: vec![],
                sink_kafka_topics: vec![],
                id: client.id,
                status_count: status_count("RUNNING"),
                query_type: "PUSH".into(),
                state: "RUNNING".into(),
                error: None,
                counters: Some(counters_json(&client.counters, client.state_size)),
            });
        }
        all
    }

    fn query_description(&self, query: &PersistentQuery, catalog: &Catalog) -> Result<QueryDescription> {
        let metrics = self.engine.runtime().metrics();
        let metrics = metrics.iter().find(|m| m.id == query.id);
        let state = state_name(metrics);
        let root = &query.plan.root;
        let sink = query.sink.as_ref().and_then(|s| catalog.source(s));
        Ok(QueryDescription {
            id: query.id.clone(),
            statement_text: query.sql.clone(),
            window_type: root.windowed.map(window_name),
            fields: fields(&root.schema, root.windowed),
            sources: query.sources.clone(),
            sinks: query.sink.clone().into_iter().collect(),
            topology: render_stages(&query.plan)?,
            execution_plan: render_plan(&query.plan)?,
            overridden_properties: query.settings.iter().map(|(k, v)| (k.clone(), json!(v))).collect(),
            ksql_host_query_status: Map::from_iter([("localhost:8088".to_string(), json!(state))]),
            query_type: "PERSISTENT".into(),
            query_errors: metrics
                .and_then(|m| m.error.as_ref())
                .map(|e| json!({"errorMessage": reason(e), "type": "SYSTEM"}))
                .into_iter()
                .collect(),
            tasks_metadata: sink.map(|s| json!({"topic": s.topic, "partitions": s.partitions})).into_iter().collect(),
            state: state.to_string(),
            counters: metrics.map(metrics_json),
        })
    }

    fn source_description(&self, source: &Source, catalog: &Catalog, extended: bool) -> SourceDescription {
        let metrics = self.engine.runtime().metrics();
        let queries = |ids: Vec<&str>| -> Vec<RunningQuery> {
            ids.into_iter()
                .filter_map(|id| catalog.queries.get(id))
                .map(|q| running_query(q, catalog, metrics.iter().find(|m| m.id == q.id)))
                .collect()
        };
        let mut fields = fields(&source.schema, source.windowed);
        for (name, key) in &source.headers {
            let ty = match key {
                Some(_) => SqlType::Bytes,
                None => SqlType::headers(),
            };
            fields.push(FieldInfo {
                name: name.clone(),
                schema: field_schema(&ty),
                kind: Some("HEADER".into()),
                header_key: key.clone(),
            });
        }
        let statistics = if extended { self.topic_statistics(source) } else { String::new() };
        SourceDescription {
            name: source.name.clone(),
            window_type: source.windowed.map(window_name),
            read_queries: queries(catalog.readers_of(&source.name)),
            write_queries: queries(catalog.writers_of(&source.name)),
            fields,
            kind: if source.is_table() { "TABLE" } else { "STREAM" }.into(),
            timestamp: source.timestamp_column.clone().unwrap_or_default(),
            statistics,
            error_stats: String::new(),
            extended,
            key_format: source.key_format.name.sql().into(),
            value_format: source.value_format.name.sql().into(),
            topic: source.topic.clone(),
            partitions: if extended { source.partitions } else { 0 },
            replication: u32::from(extended),
            statement: source.sql.clone(),
            query_offset_summaries: vec![],
            source_constraints: vec![],
            cluster_statistics: vec![],
            cluster_error_stats: vec![],
        }
    }

    /// `records: 12 (partition 0: 0..12)`.
    fn topic_statistics(&self, source: &Source) -> String {
        let Some(topic) = self.engine.log().topic(&source.topic) else { return String::new() };
        let ranges: Vec<_> = (0..topic.partitions)
            .filter_map(|p| {
                Some((p, self.engine.log().range(&topic.partition(p), crate::log::ReadLevel::Durable).ok()?))
            })
            .collect();
        let records: i64 = ranges.iter().map(|(_, r)| r.end - r.start).sum();
        let each: Vec<String> = ranges.iter().map(|(p, r)| format!("partition {p}: {}..{}", r.start, r.end)).collect();
        format!("records: {records} ({})", each.join(", "))
    }

    pub(super) fn assert_topic(
        &self,
        topic: &str,
        properties: &[ast::Property],
        exists: bool,
        timeout_ms: Option<u64>,
    ) -> Result<EntityBody> {
        let watch = crate::clock::Stopwatch::start();
        let timeout = std::time::Duration::from_millis(timeout_ms.unwrap_or(1000));
        loop {
            let found = self.engine.log().topic(topic);
            let mut wrong = Vec::new();
            if let Some(found) = &found {
                for property in properties {
                    let wanted = match &property.value {
                        ast::Literal::Integer(n) => i64::from(*n),
                        ast::Literal::Bigint(n) => *n,
                        other => {
                            return Err(Error::statement(format!("{} must be a number, not {other:?}", property.name)));
                        }
                    };
                    let actual = match property.name.as_str() {
                        "PARTITIONS" => i64::from(found.partitions),
                        "REPLICAS" => 1,
                        name => {
                            return Err(Error::statement(format!("Cannot assert unknown topic property: {name}")));
                        }
                    };
                    if wanted != actual {
                        wrong.push(format!(
                            "Mismatched configuration for topic {topic}: For config {}, expected {wanted} got {actual}",
                            property.name.to_lowercase()
                        ));
                    }
                }
            }
            let problem = match (&found, exists) {
                (None, true) => Some(format!("Topic {topic} does not exist")),
                (Some(_), false) if wrong.is_empty() => Some(format!("Topic {topic} exists")),
                (Some(_), true) if !wrong.is_empty() => Some(wrong.join("\n")),
                _ => None,
            };
            match problem {
                None => return Ok(EntityBody::AssertTopic { topic_name: topic.to_string(), exists }),
                Some(problem) if watch.elapsed() >= timeout || self.engine.is_step() => {
                    return Err(Error::statement(problem));
                }
                Some(_) => self.engine.runtime().wait_for_progress(std::time::Duration::from_millis(10)),
            }
        }
    }
}

fn sources(catalog: &Catalog, tables: bool) -> Vec<SourceInfo> {
    catalog
        .sources
        .values()
        .filter(|s| s.is_table() == tables && !is_system(&s.name))
        .map(|s| SourceInfo {
            kind: if tables { "TABLE" } else { "STREAM" }.into(),
            name: s.name.clone(),
            topic: s.topic.clone(),
            key_format: s.key_format.name.sql().into(),
            value_format: s.value_format.name.sql().into(),
            is_windowed: s.windowed.is_some(),
        })
        .collect()
}

fn consumers(catalog: &Catalog, topic: &str) -> u64 {
    catalog.queries.values().filter(|q| q.plan.root.scans().iter().any(|s| s.topic == topic)).count() as u64
}

fn running_query(query: &PersistentQuery, catalog: &Catalog, metrics: Option<&QueryMetrics>) -> RunningQuery {
    let state = state_name(metrics);
    RunningQuery {
        query_string: query.sql.clone(),
        sinks: query.sink.clone().into_iter().collect(),
        sink_kafka_topics: query
            .sink
            .as_ref()
            .and_then(|s| catalog.source(s))
            .map(|s| s.topic.clone())
            .into_iter()
            .collect(),
        id: query.id.clone(),
        status_count: status_count(state),
        query_type: "PERSISTENT".into(),
        state: state.into(),
        error: metrics.and_then(|m| m.error.as_ref()).map(reason),
        counters: metrics.map(metrics_json),
    }
}

/// Why a query does not go on, and what to do.
fn reason(error: &Error) -> String {
    match error.hint() {
        Some(hint) => format!("{error}. {hint}."),
        None => error.to_string(),
    }
}

fn status_count(state: &str) -> Map<String, Json> {
    Map::from_iter([(state.to_string(), json!(1))])
}

fn state_name(metrics: Option<&QueryMetrics>) -> &'static str {
    match metrics.map(|m| m.state) {
        Some(QueryState::Running) => "RUNNING",
        Some(QueryState::Paused) => "PAUSED",
        Some(QueryState::Parked | QueryState::Error) => "ERROR",
        Some(QueryState::Stopped) | None => "NOT_RUNNING",
    }
}

fn counters_json(counters: &crate::ops::Counters, state_size: (u64, u64)) -> Map<String, Json> {
    let entries = [
        ("in", counters.rows_in),
        ("out", counters.rows_out),
        ("accepted", counters.accepted),
        ("filtered", counters.filtered),
        ("unmatched", counters.unmatched),
        ("late", counters.late),
        ("rejected", counters.rejected),
        ("lateWindows", counters.late_windows),
        ("fieldErrors", counters.field_errors),
        ("stateRows", state_size.0),
        ("stateBytes", state_size.1),
    ];
    entries.into_iter().map(|(name, value)| (name.to_string(), json!(value))).collect()
}

fn metrics_json(metrics: &QueryMetrics) -> Map<String, Json> {
    let mut all = counters_json(&metrics.counters, metrics.state_size);
    all.insert("lag".into(), json!(metrics.lag));
    all.insert("busyMs".into(), json!(metrics.busy_ns / 1_000_000));
    all
}

fn kind_name(kind: FunctionKind) -> &'static str {
    match kind {
        FunctionKind::Scalar => "SCALAR",
        FunctionKind::Aggregate => "AGGREGATE",
        FunctionKind::Table => "TABLE",
    }
}

fn window_name(window: WindowInfo) -> String {
    match window.kind {
        WindowType::Tumbling => "TUMBLING",
        WindowType::Hopping => "HOPPING",
        WindowType::Session => "SESSION",
    }
    .to_string()
}

fn fields(schema: &Schema, windowed: Option<WindowInfo>) -> Vec<FieldInfo> {
    let field = |name: &str, ty: &SqlType, kind: Option<&str>| FieldInfo {
        name: name.to_string(),
        schema: field_schema(ty),
        kind: kind.map(str::to_string),
        header_key: None,
    };
    let mut fields: Vec<FieldInfo> = schema.key.iter().map(|c| field(&c.name, &c.ty, Some("KEY"))).collect();
    if windowed.is_some() {
        fields.push(field(crate::schema::WINDOWSTART, &SqlType::Bigint, Some("SYSTEM")));
        fields.push(field(crate::schema::WINDOWEND, &SqlType::Bigint, Some("SYSTEM")));
    }
    fields.extend(schema.value.iter().map(|c| field(&c.name, &c.ty, None)));
    fields
}

/// A type as ksqlDB's REST API describes it.
pub fn field_schema(ty: &SqlType) -> FieldSchema {
    let (fields, member, parameters) = match ty {
        SqlType::Array(item) => (None, Some(Box::new(field_schema(item))), None),
        SqlType::Map(_, value) => (None, Some(Box::new(field_schema(value))), None),
        SqlType::Struct(fields) => {
            let fields = fields
                .iter()
                .map(|f| FieldInfo { name: f.name.clone(), schema: field_schema(&f.ty), kind: None, header_key: None })
                .collect();
            (Some(fields), None, None)
        }
        SqlType::Decimal { precision, scale } => {
            let parameters =
                Map::from_iter([("precision".to_string(), json!(precision)), ("scale".to_string(), json!(scale))]);
            (None, None, Some(parameters))
        }
        _ => (None, None, None),
    };
    FieldSchema { kind: ty.base_name().to_string(), fields, member_schema: member, parameters }
}

fn explained(
    query_type: &str,
    text: &str,
    plan: String,
    sources: Vec<String>,
    schema: &Schema,
    windowed: Option<WindowInfo>,
) -> EntityBody {
    EntityBody::QueryDescription {
        query_description: Box::new(QueryDescription {
            id: String::new(),
            statement_text: text.to_string(),
            window_type: windowed.map(window_name),
            fields: fields(schema, windowed),
            sources,
            sinks: vec![],
            topology: String::new(),
            execution_plan: plan,
            overridden_properties: Map::new(),
            ksql_host_query_status: Map::new(),
            query_type: query_type.into(),
            query_errors: vec![],
            tasks_metadata: vec![],
            state: String::new(),
            counters: None,
        }),
    }
}

/// One line per step, inputs indented below.
fn render_plan(plan: &Plan) -> Result<String> {
    let mut lines = Vec::new();
    if let Some(sink) = &plan.sink {
        let discard = if sink.discard { " (discarded)" } else { "" };
        lines.push(format!("Sink {} (topic {}){discard}", sink.name, sink.topic));
    }
    render_step(&plan.root, usize::from(plan.sink.is_some()), &mut lines);
    Ok(lines.join("\n"))
}

fn render_step(step: &Step, depth: usize, lines: &mut Vec<String>) {
    let what = match &step.kind {
        StepKind::Scan(scan) => format!("Scan {} (topic {})", scan.source, scan.topic),
        StepKind::Filter { .. } => "Filter".to_string(),
        StepKind::Project { .. } => "Project".to_string(),
        StepKind::FlatMap { functions, .. } => {
            format!("FlatMap {}", functions.iter().map(|f| f.function.as_str()).collect::<Vec<_>>().join(", "))
        }
        StepKind::Rekey { key, .. } => {
            format!("Rekey by {}", key.iter().map(|k| k.name.as_str()).collect::<Vec<_>>().join(", "))
        }
        StepKind::Aggregate(aggregate) => format!(
            "Aggregate by {}: {}{}{}",
            aggregate.group.iter().map(|k| k.name.as_str()).collect::<Vec<_>>().join(", "),
            aggregate.aggregates.iter().map(|a| a.function.as_str()).collect::<Vec<_>>().join(", "),
            aggregate.window.map(|w| format!(", {:?}", w.kind)).unwrap_or_default(),
            if aggregate.emit_final { ", emit final" } else { "" }
        ),
        StepKind::Join(join) => format!("{:?} join on {}", join.kind, join.key),
    };
    lines.push(format!("{}{what}  [{}]", "  ".repeat(depth), step.schema));
    for input in step.inputs() {
        render_step(input, depth + 1, lines);
    }
}

/// How the plan is cut into stages.
fn render_stages(plan: &Plan) -> Result<String> {
    Ok(lower(plan)?
        .iter()
        .map(|stage| format!("stage {}: {} input(s)  [{}]", stage.id, stage.inputs.len(), stage.schema))
        .collect::<Vec<_>>()
        .join("\n"))
}
