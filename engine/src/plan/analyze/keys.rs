//! The key of a query's result, and whether the SELECT list has it.
//!
//! A persistent query must select its key, each key column once (ksqlDB). What the key is called in the projection is
//! what the sink's key column is called. Of a join's equivalent columns any one will do:
//!
//! ```text
//! SELECT R.B, R.A AS K FROM L JOIN R … ON L.A = R.A      key: K, because L.A is not selected and R.A is the same
//! ```

use super::projection::Item;
use super::walk::same;
use crate::error::{Error, Result};
use crate::sql::ast;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyOrigin {
    Source,
    PartitionBy,
    GroupBy,
    Join,
    /// A key column a join made up, because no column of a source always has the key.
    Synthetic,
    /// The left table's own key, kept through a foreign-key join.
    ForeignKey,
}

/// One key column of a step.
#[derive(Debug, Clone)]
pub(super) struct KeyColumn {
    /// Its name in the step.
    pub name: String,
    pub origin: KeyOrigin,
    /// Expressions that are this column when selected, best first; as they are written inside the plan.
    pub written: Vec<ast::Expr>,
    /// The same as messages print them.
    pub printed: Vec<String>,
    /// Expressions that have this column's value in every row: rows keyed by one need not move.
    pub exact: Vec<ast::Expr>,
}

impl KeyColumn {
    /// Whether rows keyed by `expr` are keyed by this column already.
    pub fn is_exactly(&self, expr: &ast::Expr) -> bool {
        self.exact.iter().any(|w| same(w, expr))
    }
}

/// For each key column the item that selects it, None where there is none.
pub(super) fn selected(keys: &[KeyColumn], items: &[Item]) -> Result<Vec<Option<usize>>> {
    keys.iter()
        .map(|key| {
            let found = key.written.iter().find_map(|written| {
                let matches: Vec<usize> = (0..items.len()).filter(|i| same(&items[*i].expr, written)).collect();
                (!matches.is_empty()).then_some((written, matches))
            });
            match found {
                None => Ok(None),
                Some((_, matches)) if matches.len() == 1 => Ok(Some(matches[0])),
                Some((written, matches)) => Err(selected_twice(key, written, &matches, items)),
            }
        })
        .collect()
}

/// ksqlDB's new planner: a stream's key is what of it is selected, in SELECT order.
pub(super) fn in_selected_order(
    keys: Vec<KeyColumn>,
    selected: Vec<Option<usize>>,
) -> (Vec<KeyColumn>, Vec<Option<usize>>) {
    if keys.iter().any(|k| k.origin != KeyOrigin::Source) {
        return (keys, selected);
    }
    let mut kept: Vec<(usize, KeyColumn)> =
        keys.into_iter().zip(selected).filter_map(|(key, item)| Some((item?, key))).collect();
    kept.sort_by_key(|(item, _)| *item);
    kept.into_iter().map(|(item, key)| (key, Some(item))).unzip()
}

const SELECT_ONCE: &str = "\nEach key column must only be in the projection once. If you intended to copy the key into \
                           the value, then consider using the AS_VALUE function to indicate which key reference should \
                           be copied.";

fn selected_twice(key: &KeyColumn, written: &ast::Expr, matches: &[usize], items: &[Item]) -> Error {
    let mut names: Vec<&str> = matches.iter().map(|i| items[*i].name.as_str()).collect();
    if key.origin == KeyOrigin::GroupBy {
        let quoted: Vec<String> = names.iter().map(|n| format!("`{n}`")).collect();
        return Error::statement(format!(
            "The projection contains a key column more than once: {}.{SELECT_ONCE}",
            joined(&quoted, "and")
        ));
    }
    names.sort_unstable();
    let column = match written {
        ast::Expr::Column { name, .. } => name,
        _ => &key.name,
    };
    Error::statement(format!(
        "The projection contains a key column (`{column}`) more than once, aliased as: {}.{SELECT_ONCE}",
        joined(&names, "and")
    ))
}

/// Refuses a persistent query whose projection lacks a key column.
pub(super) fn check_selected(keys: &[KeyColumn], selected: &[Option<usize>], sink: &str, left: &str) -> Result<()> {
    let missing: Vec<&KeyColumn> =
        keys.iter().zip(selected).filter(|(_, item)| item.is_none()).map(|(key, _)| key).collect();
    let Some(first) = missing.first() else {
        return Ok(());
    };
    let print = |keys: &[&KeyColumn]| keys.iter().map(|k| k.printed[0].clone()).collect::<Vec<_>>();
    let all: Vec<&KeyColumn> = keys.iter().collect();
    Err(match first.origin {
        KeyOrigin::ForeignKey => {
            let names: Vec<String> = missing.iter().map(|k| format!("`{}`", k.printed[0])).collect();
            Error::statement(format!(
                "Primary key columns missing in projection. For foreign-key table-table joins, the projection must \
                 include all primary key columns from the left input table (`{left}`). Missing columns: {}.",
                names.join(", ")
            ))
        }
        KeyOrigin::Join => missing_from_projection(sink, "join expression", &first.printed, false, ""),
        KeyOrigin::Synthetic => missing_from_projection(
            sink,
            "join expression",
            &first.printed,
            false,
            &format!(
                "\n{} was added as a synthetic key column because the join criteria did not match any source column.",
                first.printed[0]
            ),
        ),
        KeyOrigin::Source => missing_from_projection(sink, "key column", &print(&all), true, ""),
        KeyOrigin::PartitionBy => missing_from_projection(sink, "partitioning expression", &print(&all), true, ""),
        KeyOrigin::GroupBy => missing_from_projection(sink, "grouping expression", &print(&missing), true, ""),
    })
}

fn missing_from_projection(sink: &str, what: &str, printed: &[String], all: bool, more: &str) -> Error {
    let plural = if printed.len() == 1 { "" } else { "s" };
    let example = if all { printed.join(", ") } else { printed[0].clone() };
    Error::statement(format!(
        "Key missing from projection (ie, SELECT). See https://cnfl.io/2LV7ouS.\n\
         The query used to build `{sink}` must include the {what}{plural} {} in its projection (eg, SELECT \
         {example}...).{more}",
        joined(printed, if all { "and" } else { "or" })
    ))
}

/// `A, B and C`.
pub(super) fn joined<S: AsRef<str>>(parts: &[S], last: &str) -> String {
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    match parts.split_last() {
        None => String::new(),
        Some((only, [])) => (*only).to_string(),
        Some((end, rest)) => format!("{} {last} {end}", rest.join(", ")),
    }
}
