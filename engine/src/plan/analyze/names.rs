//! Whose column a name means, and what it is called inside the plan.
//!
//! ```text
//! FROM ORDERS O JOIN USERS U …          inside the plan
//! O.ID   -> column ID of O              O_ID
//! TOTAL  -> only O has it: O.TOTAL      O_TOTAL
//! ID     -> both have it: ambiguous
//! ```
//!
//! With one source a column keeps its own name. Every source also has the pseudo-columns, a windowed one the window's
//! bounds; a windowed GROUP BY over one source lends it those bounds in SELECT and GROUP BY.

use std::collections::{BTreeMap, BTreeSet};

use super::tree;
use super::walk::collect_columns;
use crate::catalog::{Catalog, Source};
use crate::error::{Error, Position, Result};
use crate::schema::{self, Column};
use crate::sql::ast::{Expr, Query, SelectItem};
use crate::types::SqlType;

/// One source of a query under the name its columns are qualified with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Relation<'a> {
    pub alias: &'a str,
    pub source: &'a Source,
    pub position: Position,
}

pub(super) struct Names<'a> {
    /// Left to right.
    pub relations: Vec<Relation<'a>>,
    /// A windowed GROUP BY: bounds may be named although no source has them.
    windowed_group: bool,
    /// Names inside the plan, by relation and column; empty with one source.
    inside: Vec<BTreeMap<String, String>>,
}

/// Pseudo-columns every source has, in ksqlDB's order.
pub(super) const PSEUDO_COLUMNS: [(&str, SqlType); 3] = [
    (schema::ROWTIME, SqlType::Bigint),
    (schema::ROWPARTITION, SqlType::Integer),
    (schema::ROWOFFSET, SqlType::Bigint),
];

pub(super) const WINDOW_BOUNDS: [&str; 2] = [schema::WINDOWSTART, schema::WINDOWEND];

pub(super) fn is_system_column(name: &str) -> bool {
    schema::RESERVED_COLUMNS.contains(&name)
}

pub(super) fn is_window_bound(name: &str) -> bool {
    WINDOW_BOUNDS.contains(&name)
}

/// Type of a header column.
pub(super) fn header_type(key: Option<&str>) -> SqlType {
    match key {
        Some(_) => SqlType::Bytes,
        None => SqlType::headers(),
    }
}

/// `Line: 3, Col: 38: `, as ksqlDB puts it before messages about a place.
pub(super) fn place(position: Position) -> String {
    if position == Position::default() {
        return String::new();
    }
    format!("Line: {}, Col: {}: ", position.line, position.column)
}

impl<'a> Relation<'a> {
    /// Declared columns: key, value, headers.
    pub fn declared(&self) -> Vec<Column> {
        let headers = self.source.headers.iter().map(|(name, key)| Column::new(name, header_type(key.as_deref())));
        self.source.schema.columns().cloned().chain(headers).collect()
    }

    /// Type of a column of the source, pseudo-columns included.
    pub fn type_of(&self, name: &str) -> Option<SqlType> {
        if let Some(column) = self.declared().into_iter().find(|c| c.name == name) {
            return Some(column.ty);
        }
        if self.source.windowed.is_some() && is_window_bound(name) {
            return Some(SqlType::Bigint);
        }
        PSEUDO_COLUMNS.iter().find(|(pseudo, _)| *pseudo == name).map(|(_, ty)| ty.clone())
    }
}

impl<'a> Names<'a> {
    /// Finds the query's sources.
    pub fn of(catalog: &'a Catalog, query: &'a Query) -> Result<Self> {
        let mut relations = Vec::with_capacity(1 + query.joins.len());
        for relation in std::iter::once(&query.from).chain(query.joins.iter().map(|j| &j.relation)) {
            let source = find_source(catalog, &relation.name.name)
                .map_err(|e| e.prefixed("Failed to prepare statement: ").at(relation.name.position))?;
            relations.push(Relation { alias: relation.alias_or_name(), source, position: relation.name.position });
        }
        for (index, relation) in relations.iter().enumerate() {
            if let Some(earlier) = relations[..index].iter().find(|r| r.alias == relation.alias) {
                if earlier.source.name == relation.source.name {
                    return Err(self_join(&relation.source.name));
                }
                return Err(Error::statement(format!(
                    "Each data source must have a unique alias: '{}' is used twice.",
                    relation.alias
                ))
                .at(relation.position));
            }
        }
        let inside = if relations.len() > 1 { joined_names(&relations) } else { Vec::new() };
        Ok(Names { relations, windowed_group: query.window.is_some() && query.joins.is_empty(), inside })
    }

    pub fn is_join(&self) -> bool {
        self.relations.len() > 1
    }

    pub fn relation(&self, alias: &str) -> Option<&Relation<'a>> {
        self.relations.iter().find(|r| r.alias == alias)
    }

    /// What a column is called inside the plan.
    pub fn internal(&self, alias: &str, column: &str) -> String {
        if !self.is_join() {
            return column.to_string();
        }
        let relation = self.relations.iter().position(|r| r.alias == alias);
        let known = relation.and_then(|r| self.inside[r].get(column));
        known.cloned().unwrap_or_else(|| format!("{alias}_{column}"))
    }

    /// Refuses qualifiers that name no source, anywhere in the query.
    pub fn check_qualifiers(&self, query: &Query) -> Result<()> {
        let known = |source: Option<&str>, position: Position| match source {
            Some(name) if self.relation(name).is_none() => Err(unknown_qualifier(name).at(position)),
            _ => Ok(()),
        };
        for item in &query.select {
            match item {
                SelectItem::Star { source, position } => known(source.as_deref(), *position)?,
                SelectItem::StructStar(_) | SelectItem::Expr { .. } => {}
            }
        }
        for expr in every_expr(query) {
            for column in collect_columns(expr) {
                known(column.source, column.position)?;
            }
        }
        Ok(())
    }

    /// `expr` with every column that a source has qualified by it; unknown names stay as they are.
    pub fn qualify(&self, expr: &Expr) -> Result<Expr> {
        tree::replace(expr, &mut |part| {
            let Expr::Column { source: None, name, position } = part else {
                return Ok(None);
            };
            let owners: Vec<&str> =
                self.relations.iter().filter(|r| r.type_of(name).is_some()).map(|r| r.alias).collect();
            match owners[..] {
                [] => Ok(None),
                [one] => {
                    Ok(Some(Expr::Column { source: Some(one.to_string()), name: name.clone(), position: *position }))
                }
                _ => {
                    let mut candidates: Vec<String> = owners.iter().map(|o| format!("{o}.{name}")).collect();
                    candidates.sort();
                    Err(Error::statement(format!(
                        "Failed to prepare statement: {}Column '{name}' is ambiguous. Could be {}.",
                        place(*position),
                        candidates.join(" or ")
                    ))
                    .at(*position))
                }
            }
        })
    }

    /// Refuses columns that no source has. `clause` as ksqlDB names it: `SELECT`, `WHERE`, `JOIN ON`, …
    pub fn check(&self, expr: &Expr, clause: &str, also_known: &[String]) -> Result<()> {
        for column in collect_columns(expr) {
            let known = match column.source {
                Some(source) => self.relation(source).is_some_and(|r| r.type_of(column.name).is_some()),
                None => also_known.iter().any(|k| k == column.name),
            };
            let bound = self.windowed_group && is_window_bound(column.name);
            if !known && !bound {
                let text = match column.source {
                    Some(source) => format!("{source}.{}", column.name),
                    None => column.name.to_string(),
                };
                let error =
                    Error::statement(format!("{}{clause} column '{text}' cannot be resolved.", place(column.position)))
                        .at(column.position);
                return Err(match self.nearest(column.name) {
                    Some(near) => error.with_hint(format!("did you mean {near}?")),
                    None => error,
                });
            }
        }
        Ok(())
    }

    fn nearest(&self, name: &str) -> Option<String> {
        let names = self.relations.iter().flat_map(|r| r.declared()).map(|c| c.name);
        names.map(|n| (crate::config::distance(&n, name), n)).min().filter(|(edits, _)| *edits <= 2).map(|(_, n)| n)
    }

    /// A qualified expression with the names columns have inside the plan.
    pub fn inside(&self, expr: &Expr) -> Expr {
        super::walk::substitute(expr, &|part| match part {
            Expr::Column { source: Some(alias), name, position } => {
                Some(tree::column(&self.internal(alias, name), *position))
            }
            _ => None,
        })
    }
}

/// `ALIAS_COL` for every column of a join's sources, told apart where two would be the same (`A.B_C` and `A_B.C`).
fn joined_names(relations: &[Relation<'_>]) -> Vec<BTreeMap<String, String>> {
    let mut taken: BTreeSet<String> = BTreeSet::new();
    relations
        .iter()
        .map(|relation| {
            let system = schema::RESERVED_COLUMNS.iter().map(|name| (*name).to_string());
            let columns = relation.declared().into_iter().map(|c| c.name).chain(system);
            columns
                .map(|column| {
                    let name = unused(&format!("{}_{column}", relation.alias), |n| taken.contains(n));
                    taken.insert(name.clone());
                    (column, name)
                })
                .collect()
        })
        .collect()
}

/// `wanted`, or `wanted_1`, `wanted_2` … if it is taken.
pub fn unused(wanted: &str, taken: impl Fn(&str) -> bool) -> String {
    if !taken(wanted) {
        return wanted.to_string();
    }
    (1_u64..).map(|n| format!("{wanted}_{n}")).find(|n| !taken(n)).unwrap_or_default()
}

/// Every expression of a query but the star items.
fn every_expr(query: &Query) -> impl Iterator<Item = &Expr> {
    let select = query.select.iter().filter_map(|item| match item {
        SelectItem::Expr { expr, .. } | SelectItem::StructStar(expr) => Some(expr),
        SelectItem::Star { .. } => None,
    });
    select
        .chain(query.joins.iter().map(|j| &j.on))
        .chain(&query.filter)
        .chain(&query.group_by)
        .chain(&query.partition_by)
        .chain(&query.having)
}

pub(super) fn unknown_qualifier(name: &str) -> Error {
    Error::statement(format!("Failed to prepare statement: '{name}' is not a valid stream/table name or alias."))
}

pub(super) fn self_join(name: &str) -> Error {
    Error::statement(format!("Can not join '{name}' to '{name}': self joins are not yet supported."))
}

/// The source of that name, or what is wrong with the name.
pub(super) fn find_source<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a Source> {
    catalog.source(name).ok_or_else(|| Error::not_found(format!("{name} does not exist.{}", case_hint(catalog, name))))
}

/// A source that differs from `name` in case only, as ksqlDB points it out.
pub(super) fn case_hint(catalog: &Catalog, name: &str) -> String {
    let mut others = catalog.sources.keys().map(AsRef::<str>::as_ref).filter(|other| *other != name);
    match others.find(|other| other.eq_ignore_ascii_case(name)) {
        None => String::new(),
        Some(similar) if similar == similar.to_uppercase() => {
            format!("\nDid you mean {similar}? Hint: try removing double quotes from the source name.")
        }
        Some(similar) => format!(
            "\nDid you mean \"{similar}\"? Hint: wrap the source name in double quotes to make it case-sensitive."
        ),
    }
}
