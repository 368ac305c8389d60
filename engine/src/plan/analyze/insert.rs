//! `INSERT INTO … VALUES`: constant expressions, coerced to the target's column types.
//!
//! Columns left out are null; ROWTIME may be given. Tables need their whole key, streams may have none.

use arrow::array::Array;

use super::constant;
use super::expr::{Analyzer, Clause};
use super::names::{case_hint, unknown_qualifier};
use super::scope::NoColumns;
use super::walk::collect_columns;
use crate::catalog::Source;
use crate::error::{Error, Result};
use crate::plan::expr::{Expr, ExprKind, Value};
use crate::plan::{InsertPlan, InsertRow, Planner};
use crate::schema::{ROWOFFSET, ROWPARTITION, ROWTIME};
use crate::sql::ast;
use crate::types::SqlType;

/// Where a given value goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Column(usize),
    RowTime,
}

impl Planner<'_> {
    pub fn insert_values(&self, insert: &ast::InsertValues) -> Result<InsertPlan> {
        let name = &insert.target.name;
        for value in insert.rows.iter().flatten() {
            if let Some(column) = collect_columns(value).first() {
                return Err(match column.source {
                    Some(source) => unknown_qualifier(source),
                    None => Error::statement(format!(
                        "Failed to prepare statement: Column reference is not allowed in VALUES: {}",
                        column.name
                    )),
                }
                .at(column.position));
            }
        }
        let source = self.catalog.source(name).ok_or_else(|| {
            Error::not_found(format!(
                "Cannot insert values into an unknown stream/table: `{name}`{}",
                case_hint(self.catalog, name)
            ))
            .at(insert.target.position)
        })?;
        self.check_insertable(source).map_err(|e| e.at(insert.target.position))?;
        let prefix = format!("Failed to insert values into '{name}'. ");
        let slots = slots(source, &insert.columns).map_err(|e| e.prefixed(&prefix))?;
        let rows = insert
            .rows
            .iter()
            .map(|row| self.insert_row(source, &slots, row, insert.columns.is_empty()))
            .collect::<Result<Vec<_>>>()
            .map_err(|e| e.prefixed(&prefix))?;
        Ok(InsertPlan { target: name.clone(), rows })
    }

    fn check_insertable(&self, source: &Source) -> Result<()> {
        let refuse = |message: String| Err(Error::statement(message));
        if !self.settings.bool("ksql.insert.into.values.enabled") {
            return refuse(
                "The server has disabled INSERT INTO ... VALUES functionality. To enable it, restart your KSQL server \
                 with 'ksql.insert.into.values.enabled'=true"
                    .to_string(),
            );
        }
        let word = if source.is_table() { "table" } else { "stream" };
        if source.is_source {
            return refuse(format!("Cannot insert values into read-only {word}: {}", source.name));
        }
        if source.windowed.is_some() {
            return refuse("Cannot insert values into windowed stream/table!".to_string());
        }
        Ok(())
    }

    fn insert_row(&self, source: &Source, slots: &[Slot], row: &[ast::Expr], all: bool) -> Result<InsertRow> {
        if row.len() != slots.len() {
            return Err(Error::statement(if all {
                format!(
                    "Expected a value for each column. Expected Columns: [{}]. Got {} values",
                    names(source),
                    row.len()
                )
            } else {
                format!(
                    "Expected number columns to match number of values. Columns: {}, values: {}",
                    slots.len(),
                    row.len()
                )
            }));
        }
        let scope = NoColumns { catalog: self.catalog };
        let analyzer = Analyzer::new(&scope, self.settings).in_clause(Clause::Values);
        let mut values: Vec<Expr> = source.schema.columns().map(|c| Expr::null(c.ty.clone())).collect();
        let mut time = None;
        for (slot, value) in slots.iter().zip(row) {
            match slot {
                Slot::RowTime => time = Some(analyzer.column_value(value, ROWTIME, &SqlType::Bigint)?),
                Slot::Column(index) => {
                    let Some(column) = source.schema.columns().nth(*index) else { continue };
                    values[*index] = analyzer.column_value(value, &column.name, &column.ty)?;
                }
            }
        }
        let given = |index: usize| slots.contains(&Slot::Column(index));
        let keys = source.schema.key.len();
        let missing: Vec<String> =
            (0..keys).filter(|i| !given(*i)).map(|i| source.schema.key[i].name.clone()).collect();
        if source.is_table() && !missing.is_empty() {
            return Err(Error::statement(format!(
                "Value for primary key column(s) {} is required for tables",
                missing.join(", ")
            )));
        }
        // A key of which nothing is given, or only NULL, is no key.
        let mut null_key = keys > 0;
        for value in &values[..keys] {
            null_key &= is_null(value)?;
        }
        if source.is_table() && null_key {
            return Err(Error::statement("Primary key columns can not be NULL".to_string()));
        }
        Ok(InsertRow { values, time, null_key })
    }
}

fn is_null(value: &Expr) -> Result<bool> {
    match &value.kind {
        ExprKind::Literal(Value::Null) => Ok(true),
        ExprKind::Literal(_) | ExprKind::Array(_) | ExprKind::Map(_) | ExprKind::Struct(_) => Ok(false),
        _ => Ok(constant::evaluate_array(value)?.is_null(0)),
    }
}

/// What each given value is for.
fn slots(source: &Source, columns: &[String]) -> Result<Vec<Slot>> {
    if columns.is_empty() {
        return Ok((0..source.schema.len()).map(Slot::Column).collect());
    }
    let headers: Vec<&str> =
        columns.iter().filter(|c| source.headers.iter().any(|(h, _)| h == *c)).map(String::as_str).collect();
    if !headers.is_empty() {
        return Err(Error::statement(format!("Cannot insert into HEADER columns: {}", headers.join(", "))));
    }
    let mut slots = Vec::with_capacity(columns.len());
    let mut unknown = Vec::new();
    for column in columns {
        let slot = match source.schema.index_of(column) {
            Some(index) => Slot::Column(index),
            None if column == ROWTIME => Slot::RowTime,
            None if column == ROWPARTITION || column == ROWOFFSET => {
                return Err(Error::statement(format!("Inserting into column `{column}` is not allowed.")));
            }
            None => {
                unknown.push(format!("`{column}`"));
                continue;
            }
        };
        if slots.contains(&slot) {
            return Err(Error::statement(format!("Column `{column}` is given twice.")));
        }
        slots.push(slot);
    }
    match unknown.len() {
        0 => Ok(slots),
        1 => Err(Error::statement(format!("Column name {} does not exist.", unknown[0]))
            .with_hint(format!("columns are {}", names(source)))),
        _ => Err(Error::statement(format!("Column names {} do not exist.", unknown.join(", ")))
            .with_hint(format!("columns are {}", names(source)))),
    }
}

fn names(source: &Source) -> String {
    source.schema.columns().map(|c| c.name.as_str()).collect::<Vec<_>>().join(", ")
}
