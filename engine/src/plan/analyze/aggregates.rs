//! GROUP BY, its window, and HAVING.
//!
//! ```text
//! SELECT REGION AS R, SUM(V) * 2 FROM S GROUP BY REGION HAVING COUNT(*) > 1
//!
//! Aggregate  group [REGION]  KSQL_AGG_VARIABLE_0 = SUM(V), KSQL_AGG_VARIABLE_1 = COUNT()
//!            having KSQL_AGG_VARIABLE_1 > 1
//! ```
//!
//! Whatever SELECT and HAVING say outside of aggregates must be made of the grouping expressions; behind the aggregate
//! these are its key columns, the aggregates its value columns.

use super::constant;
use super::expr::{Analyzer, Clause, text};
use super::formats;
use super::keys::{KeyColumn, KeyOrigin, joined};
use super::names::{is_window_bound, place, unused};
use super::projection::{Item, Written};
use super::query::{Clauses, Input, QueryPlanner, implicit_repartition};
use super::scope::StepScope;
use super::walk::{find_aggregates, same, visit};
use crate::error::{Error, Result};
use crate::functions::aggregate::{self, ResolvedAggregate};
use crate::functions::signature::Widening;
use crate::functions::{ArgType, FunctionKind, kind_of, ordinary};
use crate::plan::expr::Expr;
use crate::plan::steps::{
    Aggregate, AggregateCall, NamedExpr, Step, StepKind, WindowInfo, WindowSpec, WindowSpecKind, WindowType,
};
use crate::schema::{self, Column, Schema};
use crate::sql::ast;
use crate::types::SqlType;

/// Default grace of windows under EMIT CHANGES, less the window's size (Kafka Streams).
const GRACE_DEFAULT_MS: i64 = 24 * 60 * 60 * 1000;

/// Whether some aggregate without arguments counts ROWTIME because it does not exist without arguments.
pub(super) fn counts_row_time(items: &[Written], clauses: &Clauses) -> bool {
    items.iter().filter_map(Written::expr).chain(&clauses.having).flat_map(find_aggregates).any(|call| {
        matches!(call, ast::Expr::Call { name, args, .. }
            if args.is_empty() && aggregate::resolve(name, &[], Widening::Nowhere).is_err())
    })
}

impl QueryPlanner<'_> {
    pub fn aggregate(
        &self,
        input: Input,
        items: &[Item],
        clauses: &Clauses,
        computed: &mut Vec<(ast::Expr, Expr)>,
    ) -> Result<Input> {
        let groups: Vec<ast::Expr> = clauses.group_by.iter().map(|e| self.names.inside(e)).collect();
        let having = clauses.having.as_ref().map(|e| self.names.inside(e));
        self.check_grouping(&groups, items, having.as_ref())?;

        let on_key =
            groups.len() == input.key.len() && groups.iter().zip(&input.key).all(|(group, key)| key.is_exactly(group));
        if !on_key && input.step.windowed.is_some() {
            return Err(implicit_repartition());
        }
        let (group, calls) = {
            let scope = StepScope::new(&input.step.schema, self.catalog);
            let group = self.group_columns(&scope, &groups, &clauses.group_by, items)?;
            let calls = self.calls(&scope, items, having.as_ref(), &group, input.step.table, computed)?;
            (group, calls)
        };
        let named: Vec<Column> = group.iter().map(|g| Column::new(&g.name, g.expr.ty.clone())).collect();
        self.check_key_types(&groups, items, &named)?;
        computed.extend(groups.iter().zip(&named).map(|(e, c)| (e.clone(), Expr::column(&c.name, c.ty.clone()))));

        let window = self.window(input.step.table)?;
        let bound = |name: &str| {
            let named = items.iter().any(|i| mentions(&i.expr, name));
            (window.is_some() && named).then(|| name.to_string())
        };
        let (window_start, window_end) = (bound(schema::WINDOWSTART), bound(schema::WINDOWEND));
        let mut value: Vec<Column> = calls.iter().map(|c| Column::new(&c.output, c.ty.clone())).collect();
        value.extend(window_start.iter().chain(&window_end).map(|name| Column::new(name, SqlType::Bigint)));
        let schema = Schema::new(named, value);
        let having = match &having {
            None => None,
            Some(having) => {
                let scope = StepScope { computed, ..StepScope::new(&schema, self.catalog) };
                Some(super::depth::balanced(self.analyzer(&scope, Clause::Predicate).predicate(having, "HAVING")?))
            }
        };
        let key = group
            .iter()
            .zip(&groups)
            .map(|(named, written)| KeyColumn {
                name: named.name.clone(),
                origin: KeyOrigin::GroupBy,
                written: vec![written.clone()],
                printed: vec![text(written)],
                exact: vec![written.clone()],
            })
            .collect();
        let key_format = self.internal_key_format(&group);
        let windowed = window.map(|w| info(w.kind)).or(input.step.windowed);
        let aggregate = Aggregate {
            input: Box::new(input.step),
            group,
            on_key,
            key_format,
            window,
            aggregates: calls,
            window_start,
            window_end,
            having,
            emit_final: self.query.emit == Some(ast::Emit::Final),
        };
        let step = Step { kind: StepKind::Aggregate(aggregate), schema, table: true, windowed };
        Ok(Input { step, key, synthetic: None })
    }

    /// What may stand where.
    fn check_grouping(&self, groups: &[ast::Expr], items: &[Item], having: Option<&ast::Expr>) -> Result<()> {
        for (i, group) in groups.iter().enumerate() {
            if let Some(ast::Expr::Call { name, position, .. }) = find_aggregates(group).first() {
                return Err(Error::statement(format!(
                    "GROUP BY does not support aggregate functions: {name} is an aggregate function."
                ))
                .at(*position));
            }
            self.refuse_window_bound(group)?;
            if groups[..i].iter().any(|earlier| same(earlier, group)) {
                return Err(Error::statement(format!("Duplicate GROUP BY expression: {}", text(group))));
            }
        }
        let selects = items.iter().map(|i| &i.expr);
        for expr in selects.clone().chain(having) {
            for call in find_aggregates(expr) {
                let ast::Expr::Call { name, args, position, .. } = call else { continue };
                for arg in args {
                    if let Some(ast::Expr::Call { name: inner, .. }) = find_aggregates(arg).first() {
                        return Err(Error::statement(format!(
                            "Aggregate functions can not be nested: {name}({inner}())"
                        ))
                        .at(*position));
                    }
                    self.refuse_window_bound(arg)?;
                }
            }
            check_functions_exist(expr, self.settings.strict())?;
        }
        if let Some(having) = having {
            self.refuse_window_bound(having)?;
        }
        if !selects.clone().chain(having).any(|e| !find_aggregates(e).is_empty()) {
            return Err(Error::statement(
                "GROUP BY requires aggregate functions in either the SELECT or HAVING clause.",
            )
            .with_hint("to drop duplicates add COUNT(*) to the SELECT list"));
        }
        let windowed = self.query.window.is_some();
        let stray: Vec<String> = selects.filter(|e| !stray_columns(e, groups, windowed).is_empty()).map(text).collect();
        if !stray.is_empty() {
            return Err(Error::statement(format!(
                "Non-aggregate SELECT expression(s) not part of GROUP BY: {}\nEither add the column(s) to the GROUP BY \
                 or remove them from the SELECT.",
                stray.join(", ")
            )));
        }
        let stray: Vec<String> =
            having.map(|e| stray_columns(e, groups, false)).unwrap_or_default().iter().map(text).collect();
        if !stray.is_empty() {
            return Err(Error::statement(format!(
                "Non-aggregate HAVING expression not part of GROUP BY: {}",
                stray.join(", ")
            )));
        }
        Ok(())
    }

    /// A window's bounds are known only behind the aggregate.
    fn refuse_window_bound(&self, expr: &ast::Expr) -> Result<()> {
        if self.query.window.is_none() {
            return Ok(());
        }
        match super::walk::collect_columns(expr).into_iter().find(|c| is_window_bound(c.name)) {
            None => Ok(()),
            Some(column) => Err(Error::statement(format!(
                "Window bounds column {} can only be used in the SELECT clause of windowed aggregations and can not be \
                 passed to aggregate functions.\nSee https://github.com/confluentinc/ksql/issues/4397",
                column.name
            ))
            .at(column.position)),
        }
    }

    /// The grouping expressions, typed and named.
    fn group_columns(
        &self,
        scope: &StepScope<'_>,
        groups: &[ast::Expr],
        said: &[ast::Expr],
        items: &[Item],
    ) -> Result<Vec<NamedExpr>> {
        let analyzer = Analyzer::new(scope, self.settings).in_clause(Clause::GroupBy);
        let mut generated = self.generated_names();
        let mut named: Vec<NamedExpr> = Vec::with_capacity(groups.len());
        for (group, said) in groups.iter().zip(said) {
            let name = match group {
                ast::Expr::Column { name, .. } => name.clone(),
                _ => match items.iter().find(|i| same(&i.expr, group)) {
                    Some(item) => item.name.clone(),
                    None => generated.name_for(said),
                },
            };
            let plain = |n: &str| groups.iter().any(|g| g != group && super::query::is_column(g, n));
            let name = unused(&name, |n| plain(n) || named.iter().any(|g| g.name == n));
            named.push(NamedExpr { name, expr: analyzer.expr(group)? });
        }
        Ok(named)
    }

    /// A key column is named in the message as the projection names it.
    fn check_key_types(&self, groups: &[ast::Expr], items: &[Item], columns: &[Column]) -> Result<()> {
        let renamed: Vec<Column> = groups
            .iter()
            .zip(columns)
            .map(|(group, column)| match items.iter().find(|i| same(&i.expr, group)) {
                Some(item) => Column::new(&item.name, column.ty.clone()),
                None => column.clone(),
            })
            .collect();
        formats::check_key_types(&renamed)
    }

    /// Every different aggregate of SELECT and HAVING, once.
    fn calls(
        &self,
        scope: &StepScope<'_>,
        items: &[Item],
        having: Option<&ast::Expr>,
        group: &[NamedExpr],
        over_table: bool,
        computed: &mut Vec<(ast::Expr, Expr)>,
    ) -> Result<Vec<AggregateCall>> {
        let analyzer = Analyzer::new(scope, self.settings).in_clause(Clause::Select);
        let mut calls: Vec<AggregateCall> = Vec::new();
        let mut without_undo: Vec<String> = Vec::new();
        for call in items.iter().map(|i| &i.expr).chain(having).flat_map(find_aggregates) {
            if computed.iter().any(|(known, _)| same(known, call)) {
                continue;
            }
            let ast::Expr::Call { name, args, position, .. } = call else { continue };
            let row_time = [super::tree::column(&self.row_time(), *position)];
            let args = if args.is_empty() && aggregate::resolve(name, &[], Widening::Nowhere).is_err() {
                &row_time[..]
            } else {
                args
            };
            let types = args.iter().map(|a| analyzer.arg_type(a)).collect::<Result<Vec<ArgType>>>()?;
            let resolved =
                aggregate::resolve(name, &types, Widening::unless(self.settings.strict(), Widening::Nowhere))
                    .map_err(|e| e.at(*position))?;
            if !resolved.undo && !without_undo.contains(name) {
                without_undo.push(name.clone());
            }
            let output = format!("KSQL_AGG_VARIABLE_{}", calls.len());
            let output = unused(&output, |n| group.iter().any(|g| g.name == n));
            let made = aggregate_call(&analyzer, name, args, resolved, output).map_err(|e| e.at(*position))?;
            computed.push((call.clone(), Expr::column(&made.output, made.ty.clone())));
            calls.push(made);
        }
        if over_table && !without_undo.is_empty() {
            let plural = if without_undo.len() == 1 { "" } else { "s" };
            return Err(Error::statement(format!(
                "The aggregation function{plural} {} cannot be applied to a table source, only to a stream source.",
                joined(&without_undo, "and")
            ))
            .with_hint("a table's old rows must be taken back, which this function cannot do"));
        }
        Ok(calls)
    }

    /// The window with its defaults.
    fn window(&self, over_table: bool) -> Result<Option<WindowSpec>> {
        let Some(window) = &self.query.window else {
            return Ok(None);
        };
        if over_table {
            return Err(Error::statement("Windowing not supported for table aggregations."));
        }
        let (kind, size_ms) = match window.kind {
            ast::WindowKind::Tumbling { size_ms } => (WindowSpecKind::Tumbling { size_ms }, size_ms),
            ast::WindowKind::Hopping { size_ms, advance_ms } => {
                if advance_ms <= 0 || advance_ms > size_ms {
                    return Err(Error::statement(
                        "HOPPING window advance must be positive and not larger than the window size.",
                    ));
                }
                (WindowSpecKind::Hopping { size_ms, advance_ms }, size_ms)
            }
            ast::WindowKind::Session { gap_ms } => (WindowSpecKind::Session { gap_ms }, gap_ms),
        };
        if size_ms <= 0 {
            return Err(Error::statement("Window size must be positive."));
        }
        let grace_ms = window.grace_ms.unwrap_or(match self.query.emit {
            Some(ast::Emit::Final) => 0,
            _ => (GRACE_DEFAULT_MS - size_ms).max(0),
        });
        let needed_ms = size_ms.saturating_add(grace_ms);
        if let Some(retention_ms) = window.retention_ms
            && retention_ms < needed_ms
        {
            return Err(Error::statement(format!(
                "The retention period must be at least the window's size plus its grace period: {retention_ms} ms is \
                 less than {needed_ms} ms."
            )));
        }
        Ok(Some(WindowSpec { kind, grace_ms, retention_ms: window.retention_ms.unwrap_or(needed_ms) }))
    }
}

fn info(kind: WindowSpecKind) -> WindowInfo {
    match kind {
        WindowSpecKind::Tumbling { size_ms } => WindowInfo { kind: WindowType::Tumbling, size_ms: Some(size_ms) },
        WindowSpecKind::Hopping { size_ms, .. } => WindowInfo { kind: WindowType::Hopping, size_ms: Some(size_ms) },
        WindowSpecKind::Session { .. } => WindowInfo { kind: WindowType::Session, size_ms: None },
    }
}

fn mentions(expr: &ast::Expr, name: &str) -> bool {
    super::walk::collect_columns(expr).iter().any(|c| c.name == name)
}

/// Columns outside of aggregates that are not part of a grouping expression, once each.
fn stray_columns(expr: &ast::Expr, groups: &[ast::Expr], bounds: bool) -> Vec<ast::Expr> {
    let mut stray: Vec<ast::Expr> = Vec::new();
    visit_outside(expr, groups, &mut |column, name| {
        let allowed = bounds && is_window_bound(name);
        if !allowed && !stray.iter().any(|s| same(s, column)) {
            stray.push(column.clone());
        }
    });
    stray
}

fn visit_outside(expr: &ast::Expr, groups: &[ast::Expr], f: &mut dyn FnMut(&ast::Expr, &str)) {
    let outside = super::tree::replace(expr, &mut |part| {
        let is_call = matches!(part, ast::Expr::Call { name, .. } if kind_of(name) == Some(FunctionKind::Aggregate));
        if is_call || groups.iter().any(|g| same(g, part)) {
            return Ok(Some(ast::Expr::Literal(ast::Literal::Null)));
        }
        if let ast::Expr::Column { name, .. } = part {
            f(part, name);
        }
        Ok(None)
    });
    debug_assert!(outside.is_ok(), "nothing is refused here");
}

/// An unknown function is reported as such before anything is said of grouping.
fn check_functions_exist(expr: &ast::Expr, strict: bool) -> Result<()> {
    let mut unknown = None;
    visit(expr, &mut |part| {
        if let ast::Expr::Call { name, position, .. } = part
            && kind_of(name).is_none()
            && (strict || !ordinary::exists(name))
            && unknown.is_none()
        {
            unknown = Some((name.clone(), *position));
        }
        true
    });
    match unknown {
        None => Ok(()),
        Some((name, position)) => {
            Err(Error::statement(format!("{}Can't find any functions with the name '{name}'", place(position)))
                .at(position))
        }
    }
}

fn aggregate_call(
    analyzer: &Analyzer<'_>,
    name: &str,
    args: &[ast::Expr],
    resolved: ResolvedAggregate,
    output: String,
) -> Result<AggregateCall> {
    let columns = args.len().saturating_sub(resolved.constants);
    let mut constants = Vec::new();
    for (index, arg) in args.iter().enumerate().skip(columns) {
        let literal = match arg {
            ast::Expr::Literal(_) => true,
            ast::Expr::Negate(inner) => matches!(**inner, ast::Expr::Literal(_)),
            _ => false,
        };
        if !literal {
            return Err(Error::statement(format!(
                "Parameter {} passed to function {name} must be a literal constant, but was expression: '{}'",
                index + 1,
                text(arg)
            )));
        }
        constants.push(match analyzer.expr_or_null(arg)? {
            None => crate::plan::expr::Value::Null,
            Some(expr) => constant::evaluate(&expr)?,
        });
    }
    let args = args[..columns]
        .iter()
        .zip(&resolved.args)
        .map(|(arg, ty)| analyzer.expr_as(arg, ty))
        .collect::<Result<Vec<Expr>>>()?;
    Ok(AggregateCall { function: name.to_string(), args, constants, output, ty: resolved.returns })
}
