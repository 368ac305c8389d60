//! Statements that change the catalog. Each is planned into one [`Change`] against a catalog, real or a copy, and touches
//! nothing itself.

use std::sync::Arc;

use super::{Outcome, Session, entity};
use crate::catalog::commands::Change;
use crate::catalog::{Catalog, PersistentQuery, Source, SourceKind};
use crate::config::Settings;
use crate::entity::{CommandStatus, EntityBody};
use crate::error::{Error, Result};
use crate::plan::adopt::Stores;
use crate::plan::analyze::type_names::resolve_type;
use crate::plan::steps::{PLAN_FORMAT, Plan, Scan, ScanColumn, Step, StepKind, TimestampColumn};
use crate::plan::{Planner, QueryPlan, SourcePlan, TopicPlan};
use crate::runtime::rejects::{rejected_name, rejected_schema, system_source};
use crate::sql::ast::{self, ParsedStatement, QueryTarget, Statement};

impl Session {
    /// Plans one statement into a change of `catalog`; None for statements that change nothing. `topics` are topics that
    /// earlier statements of the same request will have made.
    pub(super) fn plan_change(
        &self,
        parsed: &ParsedStatement,
        catalog: &Catalog,
        settings: &Settings,
        topics: &[TopicPlan],
    ) -> Result<Option<Change>> {
        let partitions = |name: &str| {
            self.engine
                .log()
                .topic(name)
                .map(|t| t.partitions)
                .or_else(|| topics.iter().find(|t| t.name == name).map(|t| t.partitions))
        };
        let planner = Planner { catalog, settings, topic_partitions: &partitions };
        let text = parsed.text.as_str();
        Ok(match &parsed.statement {
            Statement::CreateSource(create) => {
                if create.if_not_exists && catalog.source(&create.name.name).is_some() {
                    return Ok(None);
                }
                refuse_existing(catalog, &create.name, kind_word(create.kind), create.or_replace)?;
                Some(self.create_source(planner.create_source(create)?, create, catalog, settings, text)?)
            }
            Statement::CreateAs(create) => {
                if create.if_not_exists && catalog.source(&create.name.name).is_some() {
                    return Ok(None);
                }
                refuse_existing(catalog, &create.name, kind_word(create.kind), create.or_replace)?;
                let existing = catalog.source(&create.name.name).and_then(|s| s.created_by.clone());
                let number = catalog.next_query_number;
                let kind = if create.kind == ast::SourceKind::Stream { "CSAS" } else { "CTAS" };
                let id = existing.clone().unwrap_or_else(|| format!("{kind}_{}_{number}", create.name.name));
                let plan = planner.create_as(create, &id)?;
                Some(self.create_as(plan, &id, create, catalog, settings, text)?)
            }
            Statement::InsertSelect(insert) => {
                let number = catalog.next_query_number;
                let named = insert.properties.iter().find(|p| p.name == "QUERY_ID");
                let id = match named.map(|p| &p.value) {
                    Some(ast::Literal::String(name)) => name.to_uppercase(),
                    _ => format!("INSERTQUERY_{number}"),
                };
                if catalog.queries.contains_key(id.as_str()) {
                    return Err(Error::statement(format!("Query ID '{id}' already exists.")));
                }
                let plan = planner.insert_select(insert, &id)?;
                let query = self.query_of(&plan, &id, Some(insert.target.name.clone()), catalog, settings, text)?;
                let mut change = created(&id);
                change.command_id = format!("stream/{}/create", insert.target.name);
                change.queries.push((id, Some(Arc::new(query))));
                Some(change)
            }
            Statement::AlterSource { kind, name, .. } => {
                let source = planner.alter_source(&parsed.statement)?;
                let word = kind_word(*kind);
                Some(Change {
                    command_id: format!("{}/{}/alter", word.to_lowercase(), name.name),
                    message: format!("{} altered", title(word)),
                    sources: vec![(source.name.clone(), Some(Arc::new(source)))],
                    ..Change::default()
                })
            }
            Statement::Drop { kind, name, if_exists, delete_topic } => {
                self.drop_source(catalog, *kind, name, *if_exists, *delete_topic)?
            }
            Statement::CreateType { name, if_not_exists, ty } => {
                if catalog.types.contains_key(name.as_str()) {
                    if *if_not_exists {
                        return Ok(None);
                    }
                    return Err(Error::statement(format!(
                        "Cannot register custom type '{name}' since it is already registered with type: {}",
                        catalog.types[name.as_str()]
                    )));
                }
                let ty = resolve_type(ty, &|n| catalog.types.get(n).cloned())?;
                Some(Change {
                    command_id: format!("type/{name}/create"),
                    message: format!("Registered custom type with name '{name}' and SQL type {ty}"),
                    types: vec![(name.clone(), Some(ty))],
                    ..Change::default()
                })
            }
            Statement::DropType { name, if_exists } => {
                if !catalog.types.contains_key(name.as_str()) {
                    if *if_exists {
                        return Ok(None);
                    }
                    return Err(Error::statement(format!("Type {name} does not exist.")));
                }
                Some(Change {
                    command_id: format!("type/{name}/drop"),
                    message: format!("Dropped type '{name}'"),
                    types: vec![(name.clone(), None)],
                    ..Change::default()
                })
            }
            Statement::Terminate(target) => {
                Some(each_query(catalog, target, "terminate", "Query terminated.", |_| None)?)
            }
            Statement::Pause(target) => Some(each_query(catalog, target, "pause", "Query paused.", |query| {
                Some(PersistentQuery { paused: true, ..query.clone() })
            })?),
            Statement::Resume(target) => {
                let change = each_query(catalog, target, "resume", "Query resumed.", |query| {
                    Some(PersistentQuery { paused: false, ..query.clone().with_limits_of(settings) })
                })?;
                if let (QueryTarget::Id(_), [(id, _)]) = (target, change.queries.as_slice()) {
                    self.engine.runtime().check_resumable(id)?;
                }
                Some(change)
            }
            // Planned for its errors only: a request with a SELECT that cannot run must not run its other statements.
            Statement::Query(query) if query.emit.is_some() => {
                planner.push(query)?;
                None
            }
            _ => None,
        })
    }

    pub(super) fn change(&mut self, parsed: &ParsedStatement) -> Result<Outcome> {
        let settings = self.settings.clone();
        let done = self.engine.change(|catalog| self.plan_change(parsed, catalog, &settings, &[]))?;
        // A SELECT after CREATE … AS waits for the new query, too.
        self.wrote = true;
        let body = match done {
            Some(change) => EntityBody::CurrentStatus {
                command_id: change.command_id,
                command_status: CommandStatus {
                    status: "SUCCESS".into(),
                    message: change.message,
                    query_id: change.query_id,
                },
                command_sequence_number: self.engine.log().position(crate::log::ReadLevel::Sequenced).0 as i64,
            },
            None => EntityBody::Warning { message: nothing_to_do(&parsed.statement) },
        };
        Ok(Outcome::Entity(Box::new(entity(&parsed.text, body))))
    }

    fn create_source(
        &self,
        plan: SourcePlan,
        create: &ast::CreateSource,
        catalog: &Catalog,
        settings: &Settings,
        text: &str,
    ) -> Result<Change> {
        let SourcePlan { mut source, create_topic } = plan;
        source.sql = text.to_string();
        let word = kind_word(create.kind);
        let mut change = Change {
            command_id: format!("{}/{}/create", word.to_lowercase(), source.name),
            message: format!("{} created", title(word)),
            replaces: create.or_replace,
            ..Change::default()
        };
        change.create_topics.extend(create_topic);
        if !settings.strict() {
            add_rejected_stream(&mut change, &source.name, catalog);
        }
        if source.is_source && source.is_table() {
            let number = catalog.next_query_number;
            let id = format!("CST_{}_{number}", source.name);
            let plan = table_plan(&source);
            change.queries.push((
                id.clone(),
                Some(Arc::new(PersistentQuery {
                    id: id.clone(),
                    number,
                    sql: text.to_string(),
                    start: self.engine.runtime().start_offsets(&plan, false)?,
                    stores: Stores::new(&plan)?,
                    plan,
                    sources: vec![source.name.clone()],
                    sink: None,
                    settings: settings.overrides().clone(),
                    paused: false,
                    epoch: 0,
                })),
            ));
            source.created_by = None;
            change.query_id = Some(id);
        }
        change.sources.push((source.name.clone(), Some(Arc::new(source))));
        Ok(change)
    }

    fn create_as(
        &self,
        plan: QueryPlan,
        id: &str,
        create: &ast::CreateAs,
        catalog: &Catalog,
        settings: &Settings,
        text: &str,
    ) -> Result<Change> {
        let sink = plan.sink.clone().ok_or_else(|| Error::internal("CREATE … AS was planned without a sink"))?;
        let mut query = self.query_of(&plan, id, Some(create.name.name.clone()), catalog, settings, text)?;
        let mut change = created(id);
        let word = kind_word(create.kind);
        change.command_id = format!("{}/{}/create", word.to_lowercase(), create.name.name);
        if let Some(old) = catalog.queries.get(id) {
            let (stores, empty) = old.stores.adopted(&old.plan, &query.plan)?;
            query.number = old.number;
            query.epoch = old.epoch + 1;
            query.start = old.start.clone();
            query.stores = stores;
            change.replaces = true;
            if !empty.is_empty() {
                change.message.push_str(&format!("; these steps start without earlier rows: {}", empty.join(", ")));
            }
        }
        let SourcePlan { mut source, create_topic } = sink;
        source.sql = text.to_string();
        source.created_by = Some(id.to_string());
        change.create_topics.extend(create_topic);
        if !settings.strict() {
            add_rejected_stream(&mut change, &source.name, catalog);
        }
        change.sources.push((source.name.clone(), Some(Arc::new(source))));
        change.queries.push((id.to_string(), Some(Arc::new(query))));
        Ok(change)
    }

    fn query_of(
        &self,
        plan: &QueryPlan,
        id: &str,
        sink: Option<String>,
        catalog: &Catalog,
        settings: &Settings,
        text: &str,
    ) -> Result<PersistentQuery> {
        let latest = settings.get("auto.offset.reset").is_some_and(|v| v.eq_ignore_ascii_case("latest"));
        Ok(PersistentQuery {
            id: id.to_string(),
            number: catalog.next_query_number,
            sql: text.to_string(),
            start: self.engine.runtime().start_offsets(&plan.plan, latest)?,
            plan: plan.plan.clone(),
            sources: plan.sources.clone(),
            sink,
            settings: settings.overrides().clone(),
            paused: false,
            epoch: 0,
            stores: Stores::new(&plan.plan)?,
        })
    }

    fn drop_source(
        &self,
        catalog: &Catalog,
        kind: ast::SourceKind,
        name: &ast::Name,
        if_exists: bool,
        delete_topic: bool,
    ) -> Result<Option<Change>> {
        let word = title(kind_word(kind));
        let Some(source) = catalog.source(&name.name) else {
            if if_exists {
                return Ok(None);
            }
            return Err(Error::not_found(format!("{word} {} does not exist.", name.name)).at(name.position));
        };
        if source.is_table() != (kind == ast::SourceKind::Table) {
            let other = if source.is_table() { "TABLE" } else { "STREAM" };
            return Err(Error::statement(format!(
                "Incompatible data source type is {other}, but statement was DROP {}",
                kind_word(kind)
            ))
            .at(name.position));
        }
        if delete_topic && source.is_source {
            return Err(Error::statement(format!("Cannot delete topic for read-only source: {}", source.name)));
        }
        let own = source.created_by.clone().or_else(|| self.own_query(catalog, source));
        let readers: Vec<&Arc<PersistentQuery>> = catalog
            .queries_in_order()
            .into_iter()
            .filter(|q| Some(&q.id) != own.as_ref() && q.sources.contains(&source.name))
            .collect();
        let writers: Vec<&str> =
            catalog.writers_of(&source.name).into_iter().filter(|id| Some(*id) != own.as_deref()).collect();
        let mut sinks: Vec<&str> = readers.iter().filter_map(|q| q.sink.as_deref()).collect();
        sinks.sort_unstable();
        sinks.dedup();
        if !sinks.is_empty() {
            return Err(Error::statement(format!(
                "Cannot drop {0}.\nThe following streams and/or tables read from this source: [{1}].\nYou need to drop them before dropping {0}.",
                source.name,
                sinks.join(", ")
            ))
            .at(name.position));
        }
        if !writers.is_empty() {
            return Err(Error::statement(format!(
                "Cannot drop {0}.\nThe following queries write into this source: [{1}].\nYou need to terminate them before dropping {0}.",
                source.name,
                writers.join(", ")
            ))
            .at(name.position));
        }
        let mut change = Change {
            command_id: format!("{}/{}/drop", kind_word(kind).to_lowercase(), source.name),
            message: format!("Source `{}` (topic: {}) was dropped.", source.name, source.topic),
            sources: vec![(source.name.clone(), None)],
            ..Change::default()
        };
        if let Some(id) = own {
            change.queries.push((id, None));
        }
        let rejected = rejected_name(&source.name);
        if catalog.source(&rejected).is_some() && catalog.readers_of(&rejected).is_empty() {
            change.sources.push((rejected.clone(), None));
            change.drop_topics.push(rejected);
        }
        if delete_topic {
            change.drop_topics.push(source.topic.clone());
        }
        Ok(Some(change))
    }

    /// The query that keeps a source table's rows.
    fn own_query(&self, catalog: &Catalog, source: &Source) -> Option<String> {
        catalog
            .queries
            .values()
            .find(|q| q.sink.is_none() && q.sources.first() == Some(&source.name))
            .map(|q| q.id.clone())
    }
}

/// Adds `<SOURCE>$REJECTED`, if the catalog has none yet.
fn add_rejected_stream(change: &mut Change, source: &str, catalog: &Catalog) {
    let name = rejected_name(source);
    if catalog.source(&name).is_none() {
        change.create_topics.push(TopicPlan { name: name.clone(), partitions: 1, retention_ms: None });
        change.sources.push((name.clone(), Some(Arc::new(system_source(&name, rejected_schema())))));
    }
}

/// A plan that only keeps a table: what a source table's own query runs.
fn table_plan(source: &Source) -> Plan {
    Plan {
        format: PLAN_FORMAT,
        root: Step {
            kind: StepKind::Scan(Scan {
                source: source.name.clone(),
                topic: source.topic.clone(),
                key_format: source.key_format.clone(),
                value_format: source.value_format.clone(),
                declared: source.schema.clone(),
                columns: source
                    .schema
                    .columns()
                    .map(|c| (c.name.clone(), ScanColumn::Declared(c.name.clone())))
                    .collect(),
                timestamp: source.timestamp_column.as_ref().map(|column| TimestampColumn {
                    column: column.clone(),
                    format: source.timestamp_format.clone(),
                    throw_on_invalid: source.timestamp_throw_on_invalid,
                }),
                windowed: source.windowed,
            }),
            schema: source.schema.clone(),
            table: true,
            windowed: source.windowed,
        },
        limit: None,
        sink: None,
    }
}

fn created(id: &str) -> Change {
    Change { message: format!("Created query with ID {id}"), query_id: Some(id.to_string()), ..Change::default() }
}

/// One change of every query named: `form` gives its new form, None removes it.
fn each_query(
    catalog: &Catalog,
    target: &QueryTarget,
    action: &str,
    message: &str,
    form: impl Fn(&PersistentQuery) -> Option<PersistentQuery>,
) -> Result<Change> {
    let queries: Vec<&Arc<PersistentQuery>> = match target {
        QueryTarget::All => catalog.queries_in_order(),
        QueryTarget::Id(id) => {
            let found = catalog.queries.get(id.to_uppercase().as_str()).ok_or_else(|| {
                Error::not_found(format!("Unknown queryId: {id}")).with_hint("SHOW QUERIES lists the queries that run")
            })?;
            vec![found]
        }
    };
    let name = match target {
        QueryTarget::All => "ALL".to_string(),
        QueryTarget::Id(id) => id.to_uppercase(),
    };
    Ok(Change {
        command_id: format!("{action}/{name}/execute"),
        message: message.to_string(),
        queries: queries.into_iter().map(|q| (q.id.clone(), form(q).map(Arc::new))).collect(),
        ..Change::default()
    })
}

fn refuse_existing(catalog: &Catalog, name: &ast::Name, kind: &str, or_replace: bool) -> Result<()> {
    match catalog.source(&name.name) {
        Some(existing) if !or_replace => {
            let existing = if existing.kind == SourceKind::Table { "table" } else { "stream" };
            Err(Error::statement(format!(
                "Cannot add {} '{}': A {existing} with the same name already exists",
                kind.to_lowercase(),
                name.name
            ))
            .at(name.position)
            .with_hint("CREATE OR REPLACE changes it, DROP removes it"))
        }
        _ => Ok(()),
    }
}

fn nothing_to_do(statement: &Statement) -> String {
    match statement {
        Statement::CreateSource(create) => exists(create.kind, &create.name.name),
        Statement::CreateAs(create) => exists(create.kind, &create.name.name),
        Statement::CreateType { name, .. } => format!("Custom type '{name}' already exists."),
        Statement::Drop { kind, name, .. } => format!("{} {} does not exist.", title(kind_word(*kind)), name.name),
        Statement::DropType { name, .. } => format!("Type {name} does not exist."),
        _ => "Nothing to do.".into(),
    }
}

fn exists(kind: ast::SourceKind, name: &str) -> String {
    let kind = kind_word(kind).to_lowercase();
    format!("Cannot add {kind} `{name}`: A {kind} with the same name already exists.")
}

pub(super) fn kind_word(kind: ast::SourceKind) -> &'static str {
    match kind {
        ast::SourceKind::Stream => "STREAM",
        ast::SourceKind::Table => "TABLE",
    }
}

fn title(word: &str) -> String {
    let lower = word.to_lowercase();
    let mut chars = lower.chars();
    chars.next().map(|c| c.to_uppercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}
