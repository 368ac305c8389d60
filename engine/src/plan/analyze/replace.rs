//! `CREATE OR REPLACE`: what may change under readers, data and state that exist already.
//!
//! | of | may change |
//! |---|---|
//! | a source | value columns, by adding some at the end |
//! | a query | WHERE, HAVING, and its projection by columns at the end; not joins, windowed aggregates, grouping |

use super::formats::printed;
use crate::catalog::Source;
use crate::error::{Error, Result};
use crate::format::{FormatSpec, Side};
use crate::plan::steps::{Aggregate, JoinShape, Plan, Step, StepKind};
use crate::plan::{Planner, SourcePlan};
use crate::schema::Column;

/// Whether a statement may create a source of that name at all. `word` is `stream` or `table`.
pub(super) fn check_replaceable(
    planner: &Planner<'_>,
    or_replace: bool,
    is_source: bool,
    word: &str,
    name: &str,
) -> Result<()> {
    let existing = planner.catalog.source(name);
    let refuse = |why: String| Err(Error::statement(format!("Cannot add {word} '{name}': {why}")));
    if or_replace {
        if !planner.settings.bool("ksql.create.or.replace.enabled") {
            return Err(Error::statement(
                "CREATE OR REPLACE is disabled by 'ksql.create.or.replace.enabled' = 'false'.",
            ));
        }
        if is_source || existing.is_some_and(|s| s.is_source) {
            return refuse(format!("CREATE OR REPLACE is not supported on source {word}s."));
        }
        return match existing {
            Some(old) if old.is_table() != (word == "table") => refuse(format!(
                "A {} with the same name already exists",
                if old.is_table() { "table" } else { "stream" }
            )),
            _ => Ok(()),
        };
    }
    match existing {
        None => Ok(()),
        Some(old) => {
            refuse(format!("A {} with the same name already exists", if old.is_table() { "table" } else { "stream" }))
        }
    }
}

impl SourcePlan {
    /// The same plan, if it may take the place of the source of its name.
    pub(super) fn replacing(self, planner: &Planner<'_>, or_replace: bool) -> Result<SourcePlan> {
        if or_replace && let Some(old) = planner.catalog.source(&self.source.name) {
            check_source_upgrade(old, &self.source)?;
        }
        Ok(self)
    }
}

fn check_source_upgrade(old: &Source, new: &Source) -> Result<()> {
    let differs = |what: &str, was: &str, is: &str| {
        Err(Error::statement(format!(
            "Cannot upgrade data source: DataSource '`{}`' has {what} = {was} which is not upgradeable to {is}",
            old.name
        )))
    };
    if old.topic != new.topic {
        return differs("topic", &old.topic, &new.topic);
    }
    let same_format =
        |a: &FormatSpec, b: &FormatSpec| a.name == b.name && a.delimiter == b.delimiter && a.nullable == b.nullable;
    if !same_format(&old.key_format, &new.key_format) {
        return differs("keyFormat", old.key_format.name.sql(), new.key_format.name.sql());
    }
    if !same_format(&old.value_format, &new.value_format) {
        return differs("valueFormat", old.value_format.name.sql(), new.value_format.name.sql());
    }
    let changed_keys = changed(&old.schema.key, &new.schema.key);
    let why = if !changed_keys.is_empty() || old.schema.key.len() != new.schema.key.len() {
        format!(
            "(Key columns must be identical. The following key columns are changed, missing or reordered: {})",
            printed(&changed_keys, Side::Key)
        )
    } else {
        let changed_values = changed(&old.schema.value, &new.schema.value);
        if changed_values.is_empty() {
            return Ok(());
        }
        format!("(The following columns are changed, missing or reordered: {})", printed(&changed_values, Side::Value))
    };
    differs("schema", &old.schema.to_string(), &format!("{}. {why}", new.schema))
}

/// Old columns that are not where they were, as they were.
fn changed(old: &[Column], new: &[Column]) -> Vec<Column> {
    old.iter().enumerate().filter(|(i, column)| new.get(*i) != Some(column)).map(|(_, c)| c.clone()).collect()
}

/// Whether a query may go on where the one that made `sink` stands, with its state.
pub(super) fn check_query_upgrade(planner: &Planner<'_>, sink: &str, new: &Plan) -> Result<()> {
    let existing = planner
        .catalog
        .source(sink)
        .and_then(|s| s.created_by.as_ref())
        .and_then(|id| planner.catalog.queries.get(id.as_str()));
    let Some(existing) = existing else {
        return Ok(());
    };
    if let Some(step) = unsupported(&existing.plan.root).or_else(|| unsupported(&new.root)) {
        return Err(Error::statement(format!("Upgrades not yet supported for {step}"))
            .with_hint("drop the old one and create it again"));
    }
    let differs = |step: &str, what: &str| {
        Err(Error::statement(format!("Query is not upgradeable. Plan step of type {step} must have matching {what}.")))
    };
    let was: Vec<&str> = existing.plan.root.scans().iter().map(|s| s.source.as_str()).collect();
    let is: Vec<&str> = new.root.scans().iter().map(|s| s.source.as_str()).collect();
    if was != is {
        return differs("StreamSource", "sources");
    }
    match (aggregate(&existing.plan.root), aggregate(&new.root)) {
        (None, None) => Ok(()),
        (Some(old), Some(new)) => {
            let step = if old.input.table { "TableAggregate" } else { "StreamAggregate" };
            // A changed key is reported with the sink's schema.
            if old.group != new.group {
                return Ok(());
            }
            if needed(old) != needed(new) {
                return differs(step, "columns not part of aggregate");
            }
            let functions = |a: &Aggregate| {
                a.aggregates
                    .iter()
                    .map(|c| (c.function.clone(), c.args.clone(), c.constants.clone()))
                    .collect::<Vec<_>>()
            };
            if functions(old) != functions(new) {
                return differs(step, "aggregation functions");
            }
            Ok(())
        }
        _ => differs("StreamSelect", "class"),
    }
}

/// The first step whose state cannot be taken over, by ksqlDB's name for it.
fn unsupported(step: &Step) -> Option<&'static str> {
    match &step.kind {
        StepKind::Join(join) => Some(match join.shape {
            JoinShape::StreamTable => "StreamTableJoin",
            JoinShape::TableTable => "TableTableJoin",
            JoinShape::StreamStream { .. } => "StreamStreamJoin",
            JoinShape::ForeignKey { .. } => "ForeignKeyTableTableJoin",
        }),
        StepKind::Aggregate(aggregate) if aggregate.window.is_some() => Some("StreamWindowedAggregate"),
        _ => step.inputs().into_iter().find_map(unsupported),
    }
}

fn aggregate(step: &Step) -> Option<&Aggregate> {
    match &step.kind {
        StepKind::Aggregate(aggregate) => Some(aggregate),
        _ => step.inputs().into_iter().find_map(aggregate),
    }
}

/// Columns an aggregate's rows are made from.
fn needed(aggregate: &Aggregate) -> Vec<String> {
    let mut names: Vec<String> =
        aggregate.input.scans().iter().flat_map(|s| s.columns.iter().map(|(name, _)| name.clone())).collect();
    names.sort();
    names
}
