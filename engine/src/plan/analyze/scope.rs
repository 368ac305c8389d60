//! What an expression sees: the columns of the step below it, and parts that were computed there already.

use super::expr::Scope;
use super::walk::same;
use crate::catalog::Catalog;
use crate::error::{Error, Position, Result};
use crate::plan::expr::Expr;
use crate::schema::Schema;
use crate::sql::ast;
use crate::types::SqlType;

/// The columns of one step, under the names they have inside the plan.
pub(super) struct StepScope<'a> {
    pub schema: &'a Schema,
    pub catalog: &'a Catalog,
    /// Aggregates, table functions and GROUP BY expressions that are columns by now.
    pub computed: &'a [(ast::Expr, Expr)],
}

impl<'a> StepScope<'a> {
    pub fn new(schema: &'a Schema, catalog: &'a Catalog) -> Self {
        StepScope { schema, catalog, computed: &[] }
    }
}

impl Scope for StepScope<'_> {
    fn column(&self, source: Option<&str>, name: &str, position: Position) -> Result<Expr> {
        match self.schema.column(name) {
            Some(column) if source.is_none() => Ok(Expr::column(name, column.ty.clone())),
            _ => Err(Error::statement(format!("Unknown column {name}.")).at(position)),
        }
    }

    fn custom_type(&self, name: &str) -> Option<SqlType> {
        self.catalog.types.get(name).cloned()
    }

    fn replacement(&self, expr: &ast::Expr) -> Option<Expr> {
        self.computed.iter().find(|(written, _)| same(written, expr)).map(|(_, column)| column.clone())
    }
}

/// No columns at all: the values of INSERT.
pub(super) struct NoColumns<'a> {
    pub catalog: &'a Catalog,
}

impl Scope for NoColumns<'_> {
    fn column(&self, source: Option<&str>, name: &str, position: Position) -> Result<Expr> {
        Err(match source {
            Some(source) => super::names::unknown_qualifier(source),
            None => Error::statement(format!("Column reference is not allowed here: {name}")),
        }
        .at(position))
    }

    fn custom_type(&self, name: &str) -> Option<SqlType> {
        self.catalog.types.get(name).cloned()
    }
}
