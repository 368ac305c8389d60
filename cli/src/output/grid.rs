//! Entities as tables: what SHOW, DESCRIBE and EXPLAIN answer, in columns, so that every output mode can write it.

use headwater_engine::entity::{
    EntityBody, FieldInfo, FieldSchema, FunctionSignature, QueryDescription, RunningQuery, SourceDescription,
    SourceInfo, TopicInfo,
};
use serde_json::Value;

use crate::backend::{Block, Column};

/// A small table with a name.
pub struct Grid {
    pub title: Option<String>,
    pub columns: Vec<Column>,
    pub rows: Block,
}

impl Grid {
    /// Columns are `NAME` or `NAME:TYPE`.
    pub fn new(columns: &[&str]) -> Self {
        let columns: Vec<Column> = columns
            .iter()
            .map(|c| {
                let (name, ty) = c.split_once(':').unwrap_or((c, "STRING"));
                Column { name: name.to_string(), ty: ty.to_string() }
            })
            .collect();
        Self { title: None, rows: Block::new(columns.len()), columns }
    }

    pub fn titled(mut self, title: impl Into<String>) -> Self {
        self.title = Some(title.into());
        self
    }

    pub fn row<const N: usize>(&mut self, cells: [Value; N]) {
        for cell in cells {
            self.rows.cell(|out| out.extend_from_slice(cell.to_string().as_bytes()));
        }
        self.rows.end_row(false);
    }
}

fn text(text: impl Into<String>) -> Value {
    Value::String(text.into())
}

fn maybe(text: &Option<String>) -> Value {
    text.clone().map_or(Value::Null, Value::String)
}

pub fn of_entity(body: &EntityBody) -> Vec<Grid> {
    match body {
        EntityBody::Streams { streams } => vec![sources(streams, "Stream")],
        EntityBody::Tables { tables } => vec![sources(tables, "Table")],
        EntityBody::SourceDescription { source_description } => source(source_description),
        EntityBody::SourceDescriptions { source_descriptions } => source_descriptions.iter().flat_map(source).collect(),
        EntityBody::Queries { queries } => vec![self::queries(queries)],
        EntityBody::QueryDescription { query_description } => query(query_description),
        EntityBody::QueryDescriptions { query_descriptions } => query_descriptions.iter().flat_map(query).collect(),
        EntityBody::Topics { topics } => vec![self::topics(topics, false)],
        EntityBody::TopicsExtended { topics } => vec![self::topics(topics, true)],
        EntityBody::Properties { properties, .. } => {
            let mut grid = Grid::new(&["Property", "Scope", "Level", "Editable:BOOLEAN", "Value"]);
            for p in properties {
                grid.row([text(&p.name), text(&p.scope), text(&p.level), Value::Bool(p.editable), maybe(&p.value)]);
            }
            vec![grid]
        }
        EntityBody::FunctionNames { functions } => {
            let mut grid = Grid::new(&["Function", "Type", "Category"]);
            for f in functions {
                grid.row([text(&f.name), text(&f.kind), text(&f.category)]);
            }
            vec![grid]
        }
        EntityBody::DescribeFunction { name, description, kind, functions, .. } => {
            let mut grid =
                Grid::new(&["Signature", "Returns", "Description"]).titled(format!("{name} ({kind}): {description}"));
            for f in functions {
                grid.row([text(signature(name, f)), text(&f.return_type), text(&f.description)]);
            }
            vec![grid]
        }
        EntityBody::Types { types } => {
            let mut grid = Grid::new(&["Type", "Definition"]);
            for (name, schema) in types {
                let definition = serde_json::from_value::<FieldSchema>(schema.clone())
                    .map_or_else(|_| schema.to_string(), |schema| type_text(&schema));
                grid.row([text(name), text(definition)]);
            }
            vec![grid]
        }
        EntityBody::Variables { variables } => {
            let mut grid = Grid::new(&["Variable", "Value"]);
            for v in variables {
                grid.row([text(&v.name), text(&v.value)]);
            }
            vec![grid]
        }
        EntityBody::AssertTopic { topic_name, exists } => {
            let mut grid = Grid::new(&["Topic", "Exists:BOOLEAN"]);
            grid.row([text(topic_name), Value::Bool(*exists)]);
            vec![grid]
        }
        // Messages, not tables.
        EntityBody::CurrentStatus { .. }
        | EntityBody::TerminateQuery { .. }
        | EntityBody::Warning { .. }
        | EntityBody::RowsWritten { .. } => Vec::new(),
    }
}

fn sources(sources: &[SourceInfo], what: &str) -> Grid {
    let mut grid = Grid::new(&[what, "Topic", "Key Format", "Value Format", "Windowed:BOOLEAN"]);
    for s in sources {
        grid.row([
            text(&s.name),
            text(&s.topic),
            text(&s.key_format),
            text(&s.value_format),
            Value::Bool(s.is_windowed),
        ]);
    }
    grid
}

fn source(source: &SourceDescription) -> Vec<Grid> {
    let mut grids = vec![fields(&source.fields).titled(format!("{} ({})", source.name, source.kind.to_lowercase()))];
    if source.extended {
        let mut facts = Grid::new(&["Property", "Value"]);
        let mut fact = |name: &str, value: Value| {
            if !matches!(&value, Value::Null) && value != text("") {
                facts.row([text(name), value]);
            }
        };
        fact("Topic", text(&source.topic));
        fact("Partitions", text(source.partitions.to_string()));
        fact("Key format", text(&source.key_format));
        fact("Value format", text(&source.value_format));
        fact("Window", maybe(&source.window_type));
        fact("Timestamp column", text(&source.timestamp));
        fact("Statement", text(&source.statement));
        fact("Statistics", text(&source.statistics));
        fact("Errors", text(&source.error_stats));
        fact("Built from", text(source.source_constraints.join(", ")));
        grids.push(facts);
        for (title, queries) in [("Read by", &source.read_queries), ("Written by", &source.write_queries)] {
            if !queries.is_empty() {
                grids.push(self::queries(queries).titled(title));
            }
        }
    }
    grids
}

fn fields(fields: &[FieldInfo]) -> Grid {
    let mut grid = Grid::new(&["Field", "Type"]);
    for field in fields {
        let note = match (field.kind.as_deref(), &field.header_key) {
            (Some("KEY"), _) => " (key)".to_string(),
            (Some("HEADER"), Some(key)) => format!(" (header '{key}')"),
            (Some("HEADER"), None) => " (headers)".to_string(),
            (Some(other), _) => format!(" ({})", other.to_lowercase()),
            (None, _) => String::new(),
        };
        grid.row([text(&field.name), text(type_text(&field.schema) + &note)]);
    }
    grid
}

/// The type as SQL writes it.
fn type_text(schema: &FieldSchema) -> String {
    let member = || schema.member_schema.as_ref().map_or_else(String::new, |m| type_text(m));
    match schema.kind.as_str() {
        "ARRAY" => format!("ARRAY<{}>", member()),
        "MAP" => format!("MAP<STRING, {}>", member()),
        "STRUCT" => {
            let fields = schema.fields.iter().flatten();
            let fields: Vec<String> = fields.map(|f| format!("{} {}", f.name, type_text(&f.schema))).collect();
            format!("STRUCT<{}>", fields.join(", "))
        }
        "DECIMAL" => match &schema.parameters {
            Some(p) => {
                let number = |name: &str| p.get(name).map_or_else(String::new, |v| v.to_string());
                format!("DECIMAL({}, {})", number("precision"), number("scale"))
            }
            None => "DECIMAL".to_string(),
        },
        simple => simple.to_string(),
    }
}

/// Counters become columns of their own, named as the engine names them.
fn queries(queries: &[RunningQuery]) -> Grid {
    let mut counters: Vec<&str> = Vec::new();
    for query in queries {
        for name in query.counters.iter().flat_map(|c| c.keys()) {
            if !counters.contains(&name.as_str()) {
                counters.push(name);
            }
        }
    }
    let mut names = vec!["Query ID", "Type", "State", "Sink"];
    let typed: Vec<String> = counters.iter().map(|c| format!("{c}:BIGINT")).collect();
    names.extend(typed.iter().map(String::as_str));
    let failed = queries.iter().any(|query| query.error.is_some());
    names.extend(failed.then_some("Error"));
    names.push("SQL");
    let mut grid = Grid::new(&names);
    for query in queries {
        let mut cells =
            vec![text(&query.id), text(&query.query_type), text(&query.state), text(query.sinks.join(", "))];
        cells.extend(
            counters
                .iter()
                .map(|name| query.counters.as_ref().and_then(|c| c.get(*name)).cloned().unwrap_or(Value::Null)),
        );
        cells.extend(failed.then(|| query.error.as_ref().map_or(Value::Null, text)));
        cells.push(text(query.query_string.split_whitespace().collect::<Vec<_>>().join(" ")));
        for cell in cells {
            grid.rows.cell(|out| out.extend_from_slice(cell.to_string().as_bytes()));
        }
        grid.rows.end_row(false);
    }
    grid
}

fn query(query: &QueryDescription) -> Vec<Grid> {
    let mut facts = Grid::new(&["Property", "Value"]).titled(format!("Query {}", query.id));
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            facts.row([text(name), text(value)]);
        }
    };
    fact("Type", query.query_type.clone());
    fact("State", query.state.clone());
    fact("Statement", query.statement_text.clone());
    fact("Sources", query.sources.join(", "));
    fact("Sinks", query.sinks.join(", "));
    fact("Window", query.window_type.clone().unwrap_or_default());
    for (name, value) in &query.overridden_properties {
        fact(&format!("SET {name}"), value.as_str().map_or_else(|| value.to_string(), str::to_string));
    }
    for (name, value) in query.counters.iter().flatten() {
        fact(name, value.as_str().map_or_else(|| value.to_string(), str::to_string));
    }
    for error in &query.query_errors {
        fact("Error", error["errorMessage"].as_str().map_or_else(|| error.to_string(), str::to_string));
    }
    let mut grids = vec![facts];
    if !query.fields.is_empty() {
        grids.push(fields(&query.fields).titled("Columns"));
    }
    for (title, plan) in [("Plan", &query.execution_plan), ("Topology", &query.topology)] {
        if !plan.is_empty() {
            let mut grid = Grid::new(&[title]);
            for line in plan.lines() {
                grid.row([text(line)]);
            }
            grids.push(grid);
        }
    }
    grids
}

fn topics(topics: &[TopicInfo], extended: bool) -> Grid {
    let mut names = vec!["Topic", "Partitions:BIGINT", "Replicas"];
    if extended {
        names.extend(["Consumers:BIGINT", "Consumer Groups:BIGINT"]);
    }
    let mut grid = Grid::new(&names);
    for topic in topics {
        let mut replicas: Vec<String> = topic.replica_info.iter().map(u32::to_string).collect();
        replicas.dedup();
        let (name, partitions) = (text(&topic.name), Value::from(topic.replica_info.len()));
        let replicas = text(replicas.join(","));
        if extended {
            let count = |n: Option<u64>| n.map_or(Value::Null, Value::from);
            grid.row([name, partitions, replicas, count(topic.consumer_count), count(topic.consumer_group_count)]);
        } else {
            grid.row([name, partitions, replicas]);
        }
    }
    grid
}

fn signature(name: &str, function: &FunctionSignature) -> String {
    let arguments: Vec<String> = function
        .arguments
        .iter()
        .map(|a| {
            let rest = if a.is_variadic { "[]" } else { "" };
            format!("{} {}{rest}", a.name, a.kind).trim().to_string()
        })
        .collect();
    format!("{name}({})", arguments.join(", "))
}
