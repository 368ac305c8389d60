//! Pull queries: bounded lookups in one source, in ksqlDB's own grammar.
//!
//! ```text
//! SELECT N FROM T WHERE ID = 7 OR ID = 9        keys [[7], [9]]
//! SELECT N FROM T WHERE ID = 7 AND N > 3        keys [[7]], predicate
//! SELECT N FROM T WHERE N > 3                   scan, predicate
//! ```
//!
//! The whole WHERE clause is the predicate of every row found; keys and window bounds only say where to look. WHERE is
//! read as alternatives of conditions; if one of them does not name every key column, the table is scanned. Settings can
//! forbid that: then ksqlDB's rules on what a lookup must look like are applied.

use super::expr::{Analyzer, Clause, text};
use super::names::{self, Names};
use super::pull_keys::{KeyRules, Lookup};
use super::query::{Purpose, QueryPlanner};
use super::scope::StepScope;
use super::walk::collect_columns;
use crate::catalog::Source;
use crate::error::{Error, Result};
use crate::plan::expr::Expr;
use crate::plan::{Planner, PullPlan};
use crate::schema::{self, Column, Schema};
use crate::sql::ast;
use crate::types::SqlType;

const MORE: &str =
    " See https://cnfl.io/queries for more info.\nAdd EMIT CHANGES if you intended to issue a push query.";

impl Planner<'_> {
    pub fn pull(&self, query: &ast::Query) -> Result<PullPlan> {
        check_clauses(query, self.settings.bool("ksql.query.pull.limit.clause.enabled"))?;
        let planner = QueryPlanner::new(self, query, Purpose::Push)?;
        let relation = planner.names.relations[0];
        let source = relation.source;
        let schema = pull_schema(&relation);
        let filter = query.filter.as_ref().map(|f| planner.names.qualify(f)).transpose()?;
        if let Some(filter) = &filter {
            planner.names.check(filter, "WHERE", &[])?;
            refuse_system_columns(filter, "WHERE")?;
        }
        let select = self.pull_select(query, &planner.names, &schema, source.is_table())?;
        self.check_pullable(source).map_err(|e| e.at(query.from.name.position))?;
        let scope = StepScope::new(&schema, self.catalog);
        let analyzer = Analyzer::new(&scope, self.settings).in_clause(Clause::Pull);
        let filter = filter.map(|f| planner.names.inside(&f));
        let mut predicate = None;
        let mut lookup = Lookup::default();
        if let Some(filter) = &filter {
            check_likes(filter, &schema)?;
            predicate = Some(analyzer.predicate(filter, "WHERE")?);
        }
        if source.is_table() {
            let rules = KeyRules {
                schema: &source.schema,
                windowed: source.windowed.is_some(),
                table_scan: self.settings.bool("ksql.query.pull.table.scan.enabled"),
                range_scan: self.settings.bool("ksql.query.pull.range.scan.enabled"),
                strict: self.settings.strict(),
                analyzer: &analyzer,
            };
            lookup = rules.lookup(filter.as_ref())?;
        }
        Ok(PullPlan {
            source: source.name.clone(),
            keys: lookup.keys,
            window_start: lookup.window_start,
            window_end: lookup.window_end,
            predicate,
            select,
            limit: query.limit,
        })
    }

    fn check_pullable(&self, source: &Source) -> Result<()> {
        if source.is_table() {
            let kept = source.created_by.is_some() || source.is_source;
            if !kept && self.settings.strict() {
                return Err(Error::statement(format!(
                    "The `{0}` table isn't queryable. To derive a queryable table, you can do 'CREATE TABLE \
                     QUERYABLE_{0} AS SELECT * FROM {0}'. See https://cnfl.io/queries for more info.",
                    source.name
                )));
            }
        } else if !self.settings.bool("ksql.query.pull.stream.enabled") {
            return Err(Error::statement(
                "Pull queries on streams are disabled. To create a push query on the stream, add EMIT CHANGES to the \
                 end. To enable pull queries on streams, set the ksql.query.pull.stream.enabled config to 'true'.",
            ));
        }
        Ok(())
    }

    fn pull_select(
        &self,
        query: &ast::Query,
        names: &Names<'_>,
        schema: &Schema,
        is_table: bool,
    ) -> Result<Vec<(Column, Expr, bool)>> {
        let scope = StepScope::new(schema, self.catalog);
        let analyzer = Analyzer::new(&scope, self.settings).in_clause(Clause::Pull);
        let mut generated = super::projection::GeneratedNames::over(names);
        let mut select: Vec<(Column, Expr, bool)> = Vec::new();
        let is_key = |expr: &ast::Expr| {
            is_table && matches!(expr, ast::Expr::Column { name, .. } if schema.key.iter().any(|k| k.name == *name))
        };
        for item in &query.select {
            match item {
                ast::SelectItem::Star { .. } => {
                    for column in schema.columns().filter(|c| c.name != schema::ROWTIME) {
                        let key = is_table && schema.key.contains(column);
                        select.push((column.clone(), Expr::column(&column.name, column.ty.clone()), key));
                    }
                }
                ast::SelectItem::StructStar(expr) => {
                    let expr = names.qualify(expr)?;
                    names.check(&expr, "SELECT", &[])?;
                    let base = names.inside(&expr);
                    let SqlType::Struct(fields) = analyzer.expr(&base)?.ty else {
                        return Err(Error::statement(format!(
                            "Struct expression '{}->*' must reference a STRUCT column.",
                            text(&base)
                        )));
                    };
                    for field in fields {
                        let part = ast::Expr::Field { base: Box::new(base.clone()), field: field.name.clone() };
                        select.push((Column::new(field.name, field.ty), analyzer.expr(&part)?, false));
                    }
                }
                ast::SelectItem::Expr { expr, alias } => {
                    let expr = names.qualify(expr)?;
                    names.check(&expr, "SELECT", &[])?;
                    refuse_system_columns(&expr, "SELECT")?;
                    let name = match alias {
                        Some(alias) => alias.clone(),
                        None => generated.name_for(&expr),
                    };
                    let expr = names.inside(&expr);
                    let typed = analyzer.expr(&expr)?;
                    select.push((Column::new(name, typed.ty.clone()), typed, is_key(&expr)));
                }
            }
        }
        let repeated: Vec<String> = select
            .iter()
            .enumerate()
            .filter(|(i, (column, ..))| select[..*i].iter().any(|(earlier, ..)| earlier.name == column.name))
            .map(|(_, (column, ..))| format!("`{}` {}", column.name, column.ty))
            .collect();
        if !repeated.is_empty() {
            return Err(Error::statement(format!("Duplicate value columns found in schema: {}", repeated.join(", "))));
        }
        Ok(select)
    }
}

fn check_clauses(query: &ast::Query, limits: bool) -> Result<()> {
    let refused = [
        (!query.joins.is_empty(), "JOIN"),
        (query.window.is_some(), "WINDOW"),
        (!query.group_by.is_empty(), "GROUP BY"),
        (!query.partition_by.is_empty(), "PARTITION BY"),
        (query.having.is_some(), "HAVING"),
        (query.limit.is_some() && !limits, "LIMIT"),
    ];
    match refused.into_iter().find(|(used, _)| *used) {
        None => Ok(()),
        Some((_, clause)) => Err(Error::statement(format!("Pull queries don't support {clause} clauses.{MORE}"))),
    }
}

/// What a pull query can name: key, window bounds (which belong to a windowed table's key), values, headers, ROWTIME.
fn pull_schema(relation: &names::Relation<'_>) -> Schema {
    let source = relation.source;
    let mut key = source.schema.key.clone();
    if source.windowed.is_some() {
        key.extend(names::WINDOW_BOUNDS.map(|bound| Column::new(bound, SqlType::Bigint)));
    }
    let mut value: Vec<Column> = relation.declared().into_iter().skip(source.schema.key.len()).collect();
    value.push(Column::new(schema::ROWTIME, SqlType::Bigint));
    Schema::new(key, value)
}

fn refuse_system_columns(expr: &ast::Expr, clause: &str) -> Result<()> {
    let used = collect_columns(expr);
    let refused: Vec<String> = [schema::ROWPARTITION, schema::ROWOFFSET]
        .into_iter()
        .filter(|name| used.iter().any(|c| c.name == *name))
        .map(|name| format!("`{name}`"))
        .collect();
    if refused.is_empty() {
        return Ok(());
    }
    Err(Error::statement(format!(
        "Pull queries don't support the following columns in {clause} clauses: {}\n",
        refused.join(", ")
    )))
}

/// LIKE is for text alone (ksqlDB's own message for pull queries).
fn check_likes(filter: &ast::Expr, schema: &Schema) -> Result<()> {
    let mut wrong = None;
    super::walk::visit(filter, &mut |part| {
        if let ast::Expr::Like { expr, .. } = part
            && let ast::Expr::Column { name, .. } = &**expr
            && let Some(column) = schema.column(name)
            && column.ty != SqlType::String
        {
            wrong = Some(column.ty.clone());
        }
        wrong.is_none()
    });
    match wrong {
        None => Ok(()),
        Some(ty) => Err(Error::statement(format!(
            "The column type for Like condition must be VARCHAR. The column type is {ty}"
        ))),
    }
}
