//! Queries with a place to go: `CREATE … AS SELECT`, `INSERT INTO … SELECT`, and push queries.
//!
//! A new sink inherits what its WITH clause does not say from the query's left-most source: key and value format (and
//! the delimiter, if the format is the same), number of partitions. A result without key has key format NONE.

use super::depth::check_storable;
use super::formats;
use super::names::{Names, place};
use super::properties::{Clause, Properties};
use super::query::{Planned, Purpose, QueryPlanner};
use super::replace::{check_query_upgrade, check_replaceable};
use crate::catalog::{Source, SourceKind};
use crate::error::{Error, Result};
use crate::format::{FormatName, FormatSpec, Side};
use crate::plan::steps::{NamedExpr, PLAN_FORMAT, Plan, Sink, Step, StepKind, TimestampColumn};
use crate::plan::{Planner, QueryPlan, SourcePlan, TopicPlan};
use crate::schema::Column;
use crate::sql::ast::{self, Statement};
use crate::sql::print;

impl Planner<'_> {
    /// A query with a new sink; `id` is the query's.
    pub fn create_as(&self, create: &ast::CreateAs, id: &str) -> Result<QueryPlan> {
        let name = &create.name.name;
        let is_table = create.kind == ast::SourceKind::Table;
        let word = if is_table { "table" } else { "stream" };
        check_replaceable(self, create.or_replace, false, word, name)?;
        let properties = Properties::parse(Clause::Sink, &create.properties)?;
        refuse_limit(&create.query, &format!("CREATE {} AS SELECT", word.to_uppercase()))?;

        let leftmost = Names::of(self.catalog, &create.query)?.relations[0].source;
        let inherited = match leftmost.key_format.name {
            FormatName::None => self.default_key_format()?,
            _ => leftmost.key_format.clone(),
        };
        let key_format = properties.format(Side::Key, &inherited)?;
        let value_format = properties.format(Side::Value, &leftmost.value_format)?;
        let purpose = Purpose::Sink { name, key_format: &key_format, properties: Some(&properties) };
        let planned = QueryPlanner::new(self, &create.query, purpose)?.plan()?;
        check_kind(&planned, is_table)?;

        let schema = planned.root.schema.clone();
        let key_format = if schema.key.is_empty() {
            match properties.key_format {
                None | Some(FormatName::None) => FormatSpec::new(FormatName::None),
                Some(_) => return Err(Error::statement("Key format specified for stream without key columns.")),
            }
        } else {
            key_format
        };
        let value_format = self.wrapped(value_format, &schema, &properties)?;
        formats::check_key_types(&schema.key)?;
        if self.settings.strict() {
            check_state_formats(&planned.root, &value_format)?;
        }
        formats::check(&key_format, &schema.key, Side::Key)
            .and_then(|()| formats::check(&value_format, &schema.value, Side::Value))
            .map_err(|e| self.with_settled(e, create))?;
        formats::available(key_format.name)?;
        formats::available(value_format.name)?;

        let prefix = self.settings.get("ksql.output.topic.name.prefix").unwrap_or_default();
        let topic = properties.topic.clone().unwrap_or_else(|| format!("{prefix}{name}"));
        let (partitions, create_topic) = self.sink_topic(&topic, &properties, leftmost.partitions, &planned.root)?;
        let throw_on_invalid = self.settings.bool("ksql.timestamp.throw.on.invalid");
        let sink = Sink {
            name: name.clone(),
            topic: topic.clone(),
            key_format: key_format.clone(),
            value_format: value_format.clone(),
            timestamp: properties.timestamp.clone().map(|column| TimestampColumn {
                column,
                format: properties.timestamp_format.clone(),
                throw_on_invalid,
            }),
            discard: properties.discard,
        };
        let source = Source {
            name: name.clone(),
            kind: if is_table { SourceKind::Table } else { SourceKind::Stream },
            topic,
            partitions,
            key_format,
            value_format,
            schema,
            headers: Vec::new(),
            windowed: planned.root.windowed,
            timestamp_column: properties.timestamp,
            timestamp_format: properties.timestamp_format,
            is_source: false,
            created_by: Some(id.to_string()),
            sql: String::new(),
            timestamp_throw_on_invalid: throw_on_invalid,
            discard: properties.discard,
        };
        let plan = Plan { format: PLAN_FORMAT, root: planned.root, limit: None, sink: Some(sink) };
        check_storable(&plan)?;
        if create.or_replace {
            check_query_upgrade(self, name, &plan)?;
        }
        let sink = SourcePlan { source, create_topic }.replacing(self, create.or_replace)?;
        Ok(QueryPlan { plan, sources: planned.sources, sink: Some(sink), columns: planned.columns })
    }

    /// The refusal with the statement as it was understood: every column qualified, every item named.
    fn with_settled(&self, refused: Error, create: &ast::CreateAs) -> Error {
        let query = QueryPlanner::new(self, &create.query, Purpose::Push).and_then(|planner| planner.settled_query());
        match query {
            Ok(query) => {
                let statement = Statement::CreateAs(ast::CreateAs { query, ..create.clone() });
                Error::statement(format!("{}\nStatement: {}", refused.message(), print::formatted(&statement)))
            }
            Err(_) => refused,
        }
    }

    /// A query into an existing stream; `_id` is the query's.
    pub fn insert_select(&self, insert: &ast::InsertSelect, _id: &str) -> Result<QueryPlan> {
        let position = insert.target.position;
        let target = self.catalog.source(&insert.target.name).ok_or_else(|| {
            Error::not_found(format!("{}Source `{}` does not exist.", place(position), insert.target.name)).at(position)
        })?;
        Properties::parse(Clause::Insert, &insert.properties)?;
        let refuse = |message: String| Err(Error::statement(message).at(position));
        if target.is_table() {
            return refuse(format!(
                "INSERT INTO can only be used to insert into a stream. {} is a table.",
                target.name
            ));
        }
        if target.is_source {
            return refuse(format!("Cannot insert into read-only stream: {}", target.name));
        }
        if !target.headers.is_empty() {
            return refuse(format!("Cannot insert into {} because it has header columns", target.name));
        }
        refuse_limit(&insert.query, "INSERT INTO")?;
        let purpose = Purpose::Sink { name: &target.name, key_format: &target.key_format, properties: None };
        let mut planned = QueryPlanner::new(self, &insert.query, purpose)?.plan()?;
        if planned.root.table {
            return Err(Error::statement(format!(
                "Incompatible data sink and query result. Data sink ({}) type is KSTREAM but select query result is KTABLE.",
                target.name
            ))
            .with_hint("a stream cannot take back what changes of a table replace: CREATE TABLE … AS SELECT keeps them"));
        }
        fit(&mut planned.root, target)?;
        let sink = Sink {
            name: target.name.clone(),
            topic: target.topic.clone(),
            key_format: target.key_format.clone(),
            value_format: target.value_format.clone(),
            timestamp: None,
            discard: target.discard,
        };
        let plan = Plan { format: PLAN_FORMAT, root: planned.root, limit: None, sink: Some(sink) };
        check_storable(&plan)?;
        let sink = SourcePlan { source: target.clone(), create_topic: None };
        Ok(QueryPlan { plan, sources: planned.sources, sink: Some(sink), columns: planned.columns })
    }

    /// `SELECT … EMIT`: a query for one client.
    pub fn push(&self, query: &ast::Query) -> Result<QueryPlan> {
        let planned = QueryPlanner::new(self, query, Purpose::Push)?.plan()?;
        let plan = Plan { format: PLAN_FORMAT, root: planned.root, limit: query.limit, sink: None };
        Ok(QueryPlan { plan, sources: planned.sources, sink: None, columns: planned.columns })
    }

    fn sink_topic(
        &self,
        topic: &str,
        properties: &Properties,
        inherited: u32,
        root: &Step,
    ) -> Result<(u32, Option<TopicPlan>)> {
        let default = self.settings.integer("ksql.sink.partitions").and_then(|n| u32::try_from(n).ok());
        // A windowed table's rows must stay as long as its windows can be asked for.
        let retention_ms = properties.retention_ms.map(|ms| ms.max(window_retention_ms(root).unwrap_or(ms)));
        self.topic(topic, properties, default.filter(|n| *n > 0).unwrap_or(inherited), retention_ms)
    }
}

fn refuse_limit(query: &ast::Query, statement: &str) -> Result<()> {
    match query.limit {
        None => Ok(()),
        Some(_) => Err(Error::statement(format!("{statement} statements don't support LIMIT clause."))),
    }
}

fn check_kind(planned: &Planned, wants_table: bool) -> Result<()> {
    if planned.root.table == wants_table {
        return Ok(());
    }
    let is = if planned.root.table { "TABLE" } else { "STREAM" };
    Err(Error::statement(format!(
        "Invalid result type. Your SELECT query produces a {is}. Please use CREATE {is} AS SELECT statement instead."
    )))
}

fn window_retention_ms(step: &Step) -> Option<i64> {
    if let StepKind::Aggregate(aggregate) = &step.kind {
        return aggregate.window.map(|w| w.retention_ms);
    }
    step.inputs().into_iter().find_map(window_retention_ms)
}

/// ksqlDB keeps an aggregate's state in the sink's value format, which must be able to hold it.
fn check_state_formats(root: &Step, value_format: &FormatSpec) -> Result<()> {
    let flat = matches!(value_format.name, FormatName::Delimited | FormatName::Kafka);
    let nested = |step: &Step| match &step.kind {
        StepKind::Aggregate(aggregate) => aggregate
            .aggregates
            .iter()
            .any(|call| !crate::functions::aggregate::has_plain_state(&call.function) || call.ty.is_nested()),
        _ => false,
    };
    fn any(step: &Step, f: &dyn Fn(&Step) -> bool) -> bool {
        f(step) || step.inputs().into_iter().any(|input| any(input, f))
    }
    if flat && any(root, &nested) {
        return Err(Error::statement(
            "One of the functions used in the statement has an intermediate type that the value format can not handle. \
             Please remove the function or change the format.",
        ));
    }
    Ok(())
}

/// Brings a query's result to the types of an existing stream, whose columns it must match by position and name.
fn fit(root: &mut Step, target: &Source) -> Result<()> {
    let incompatible = |root: &Step| {
        Error::statement(format!(
            "Incompatible schema between results and sink.\nResult schema is {}\nSink schema is {}",
            root.schema, target.schema
        ))
    };
    let names = |columns: &[Column]| columns.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
    let same_keys = root.schema.key == target.schema.key;
    if !same_keys || names(&root.schema.value) != names(&target.schema.value) {
        return Err(incompatible(root));
    }
    let before = root.clone();
    let StepKind::Project { value, .. } = &mut root.kind else {
        return Err(Error::internal("a query ends in a projection"));
    };
    for (NamedExpr { expr, .. }, column) in value.iter_mut().zip(&target.schema.value) {
        let fitted = super::coerce::implicit(expr, &column.ty).ok_or_else(|| incompatible(&before))?;
        *expr = fitted;
    }
    root.schema.value.clone_from(&target.schema.value);
    Ok(())
}
