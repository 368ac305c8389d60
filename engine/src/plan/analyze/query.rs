//! A continuous query: from its clauses to a tree of steps.
//!
//! ```text
//! FROM / JOIN        Scan, and for joins Rekey or Project and Join            joins
//! WHERE              Filter
//! PARTITION BY       Rekey
//! table functions    FlatMap
//! GROUP BY, HAVING   Aggregate                                                aggregates
//! SELECT             Project: key columns, value columns                      projection, keys
//! ```
//!
//! The order of the checks is ksqlDB's, so that a statement with several mistakes is refused for the same one.
//!
//! **Push queries.** The last `Project` keeps the key columns as keys, selected or not, so that a deletion can be shown
//! with its key; everything else selected is a value column. `Planned::columns` names the selected ones in SELECT order;
//! every one of them is a column of the last step.

use super::expr::{Analyzer, Clause, text};
use super::keys::{KeyColumn, KeyOrigin};
use super::names::{self, Names, unused};
use super::projection::Item;
use super::properties::Properties;
use super::scope::StepScope;

use super::walk::{collect_columns, find_aggregates, find_table_functions, same, visit};
use crate::catalog::{Catalog, Source};
use crate::config::Settings;
use crate::error::{Error, Result};
use crate::format::{FormatName, FormatSpec};
use crate::functions::FunctionKind;
use crate::functions::signature::Widening;
use crate::plan::Planner;
use crate::plan::expr::Expr;
use crate::plan::steps::{NamedExpr, Scan, ScanColumn, Step, StepKind, TableFunctionCall, TimestampColumn};
use crate::schema::{self, Column, Schema};
use crate::sql::ast;

/// What the query is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// A client reads it.
    Push,
    /// It writes the sink of that name; GROUP BY and PARTITION BY make keys in this format.
    Sink {
        name: &'a str,
        key_format: &'a FormatSpec,
        /// Says which column of the result is its time.
        properties: Option<&'a Properties>,
    },
}

/// A query ready to run, but for its sink.
pub(super) struct Planned {
    pub root: Step,
    pub sources: Vec<String>,
    pub columns: Vec<Column>,
}

pub(super) struct QueryPlanner<'a> {
    pub catalog: &'a Catalog,
    pub settings: &'a Settings,
    pub query: &'a ast::Query,
    pub names: Names<'a>,
    pub purpose: Purpose<'a>,
}

/// The query so far.
pub(super) struct Input {
    pub step: Step,
    pub key: Vec<KeyColumn>,
    /// The key column a join made up, which a final `*` shows.
    pub synthetic: Option<String>,
}

/// Clauses with every column qualified.
pub(super) struct Clauses {
    pub joins: Vec<ast::Expr>,
    pub filter: Option<ast::Expr>,
    pub group_by: Vec<ast::Expr>,
    pub partition_by: Vec<ast::Expr>,
    pub having: Option<ast::Expr>,
}

impl<'a> QueryPlanner<'a> {
    pub fn new(planner: &'a Planner<'_>, query: &'a ast::Query, purpose: Purpose<'a>) -> Result<Self> {
        let names = Names::of(planner.catalog, query)?;
        names.check_qualifiers(query)?;
        Ok(Self { catalog: planner.catalog, settings: planner.settings, query, names, purpose })
    }

    pub fn is_persistent(&self) -> bool {
        matches!(self.purpose, Purpose::Sink { .. })
    }

    /// The source named first: sinks inherit its formats and partitions.
    pub fn leftmost(&self) -> &'a Source {
        self.names.relations[0].source
    }

    pub fn plan(&self) -> Result<Planned> {
        let items = self.written_items()?;
        let clauses = self.clauses()?;
        self.check_references(&items, &clauses)?;
        self.check_rules(&items, &clauses)?;

        let mut input = self.from(&items, &clauses)?;
        if let Some(filter) = &clauses.filter {
            input = self.filter(input, filter)?;
        }
        if !clauses.partition_by.is_empty() {
            input = self.partition_by(input, &clauses.partition_by)?;
        }
        let items = self.expand(items, &input)?;
        let mut computed = Vec::new();
        if items.iter().any(|i| !find_table_functions(&i.expr).is_empty()) {
            input = self.flat_map(input, &items, &mut computed)?;
        }
        if !clauses.group_by.is_empty() {
            input = self.aggregate(input, &items, &clauses, &mut computed)?;
        }
        let (root, columns) = self.project(input, &items, &computed)?;
        let sources = self.names.relations.iter().map(|r| r.source.name.clone()).collect();
        Ok(Planned { root, sources, columns })
    }

    pub fn analyzer<'s>(&'s self, scope: &'s StepScope<'s>, clause: Clause) -> Analyzer<'s> {
        Analyzer::new(scope, self.settings).in_clause(clause)
    }

    /// Every clause with its columns qualified.
    pub fn clauses(&self) -> Result<Clauses> {
        let all = |list: &[ast::Expr]| list.iter().map(|e| self.names.qualify(e)).collect::<Result<Vec<_>>>();
        let maybe = |e: &Option<ast::Expr>| e.as_ref().map(|e| self.names.qualify(e)).transpose();
        let query = self.query;
        Ok(Clauses {
            joins: query.joins.iter().map(|j| self.names.qualify(&j.on)).collect::<Result<_>>()?,
            filter: maybe(&query.filter)?,
            group_by: all(&query.group_by)?,
            partition_by: all(&query.partition_by)?,
            having: maybe(&query.having)?,
        })
    }

    /// Every column named must exist somewhere.
    fn check_references(&self, items: &[super::projection::Written], clauses: &Clauses) -> Result<()> {
        for (index, on) in clauses.joins.iter().enumerate() {
            super::joins::Condition::of(&self.names, index + 1, on)?;
        }
        if let Some(filter) = &clauses.filter {
            self.names.check(filter, "WHERE", &[])?;
        }
        for expr in &clauses.group_by {
            self.names.check(expr, "GROUP BY", &[])?;
        }
        for expr in &clauses.partition_by {
            self.names.check(expr, "PARTITION BY", &[])?;
        }
        if let Some(having) = &clauses.having {
            self.names.check(having, "HAVING", &[])?;
        }
        let synthetic: Vec<String> = self.synthetic_key(clauses)?.into_iter().collect();
        for item in items {
            if let Some(expr) = item.expr() {
                self.names.check(expr, "SELECT", &synthetic)?;
            }
        }
        Ok(())
    }

    /// What ksqlDB refuses before it looks at types.
    fn check_rules(&self, items: &[super::projection::Written], clauses: &Clauses) -> Result<()> {
        let query = self.query;
        let refuse = |text: &str| Err(Error::statement(text));
        if self.names.is_join() || !clauses.group_by.is_empty() {
            let kafka: Vec<&str> = self
                .names
                .relations
                .iter()
                .filter(|r| r.source.value_format.name == FormatName::Kafka)
                .map(|r| r.source.name.as_str())
                .collect();
            if !kafka.is_empty() {
                let clause = if self.names.is_join() { "JOIN" } else { "GROUP BY" };
                return Err(Error::statement(format!(
                    "Source(s) {} are using the 'KAFKA' value format. This format does not yet support {clause}.",
                    kafka.join(", ")
                ))
                .with_hint("copy the source into another value format first"));
            }
        }
        if !clauses.group_by.is_empty() && !clauses.partition_by.is_empty() {
            return refuse("Only one of PARTITION BY and GROUP BY may be used in one query.");
        }
        let aggregates: Vec<&ast::Expr> = items.iter().filter_map(|i| i.expr()).flat_map(find_aggregates).collect();
        if clauses.group_by.is_empty() {
            if let Some(ast::Expr::Call { position, .. }) = aggregates.first() {
                return Err(self.aggregate_without_group(&aggregates).at(*position));
            }
            if clauses.having.is_some() {
                return refuse("HAVING clause requires a GROUP BY clause.");
            }
            if query.window.is_some() {
                return refuse("WINDOW clause requires a GROUP BY clause.");
            }
        }
        if query.emit == Some(ast::Emit::Final) {
            if !self.settings.bool("ksql.suppress.enabled") {
                return refuse(
                    "Suppression is currently disabled. You can enable it by setting ksql.suppress.enabled to true",
                );
            }
            if clauses.group_by.is_empty() || query.window.is_none() {
                return refuse("EMIT FINAL is only supported for windowed aggregations.");
            }
        }
        if self.is_persistent()
            && self.names.relations.iter().any(|r| r.source.is_table() && r.source.windowed.is_some())
        {
            return refuse("KSQL does not support persistent queries on windowed tables.");
        }
        self.check_table_functions(items, clauses)
    }

    fn aggregate_without_group(&self, aggregates: &[&ast::Expr]) -> Error {
        let printed: Vec<String> = aggregates
            .iter()
            .map(|call| match call {
                ast::Expr::Call { name, args, .. } if args.is_empty() => format!("{name}({})", self.row_time()),
                other => text(&self.names.inside(other)),
            })
            .collect();
        let calls = printed.join(", ");
        let persistent = match self.purpose {
            Purpose::Push => None,
            Purpose::Sink { .. } if self.leftmost().is_table() => Some("TABLE"),
            Purpose::Sink { .. } => Some("TABLE"),
        };
        match persistent {
            Some(kind) => Error::statement(format!(
                "CREATE {kind} AS SELECT statement does not support aggregate function [{calls}] without a GROUP BY \
                 clause."
            )),
            None => Error::statement(format!(
                "Use of aggregate functions requires a GROUP BY clause. Aggregate function(s): {calls}"
            )),
        }
    }

    /// What `COUNT(*)` counts: ROWTIME of the first source.
    pub fn row_time(&self) -> String {
        self.names.internal(self.names.relations[0].alias, schema::ROWTIME)
    }

    fn check_table_functions(&self, items: &[super::projection::Written], clauses: &Clauses) -> Result<()> {
        let elsewhere = clauses
            .filter
            .iter()
            .map(|e| (e, "WHERE"))
            .chain(clauses.group_by.iter().map(|e| (e, "GROUP BY")))
            .chain(clauses.partition_by.iter().map(|e| (e, "PARTITION BY")))
            .chain(clauses.having.iter().map(|e| (e, "HAVING")))
            .chain(clauses.joins.iter().map(|e| (e, "JOIN ON")));
        for (expr, clause) in elsewhere {
            if let Some(ast::Expr::Call { name, position, .. }) = find_table_functions(expr).first() {
                return Err(Error::statement(format!("Table functions can't be used in {clause} clauses: {name}"))
                    .at(*position));
            }
        }
        let mut any = false;
        for expr in items.iter().filter_map(|i| i.expr()) {
            for call in find_table_functions(expr) {
                any = true;
                let ast::Expr::Call { name, args, position, .. } = call else { continue };
                let inner = args.iter().flat_map(find_table_functions).next();
                if let Some(ast::Expr::Call { name: inner, .. }) = inner {
                    return Err(
                        Error::statement(format!("Table functions can't be nested: {name}({inner}())")).at(*position)
                    );
                }
            }
            let mut in_case = None;
            visit(expr, &mut |part| {
                if matches!(part, ast::Expr::Case { .. }) {
                    in_case = in_case.take().or_else(|| find_table_functions(part).into_iter().next());
                }
                true
            });
            if let Some(ast::Expr::Call { name, position, .. }) = in_case {
                return Err(
                    Error::statement(format!("Table functions can't be used in CASE statements: {name}")).at(*position)
                );
            }
        }
        if !any {
            return Ok(());
        }
        if !clauses.group_by.is_empty() {
            return Err(Error::statement("Table functions cannot be used with aggregations."));
        }
        if self.leftmost().is_table() {
            return Err(Error::statement("Table source is not supported with table functions"));
        }
        Ok(())
    }

    /// The first step: one scan, or a tree of joins.
    fn from(&self, items: &[super::projection::Written], clauses: &Clauses) -> Result<Input> {
        let used = self.used_columns(items, clauses);
        if self.names.is_join() {
            return self.join(items, clauses, &used);
        }
        let relation = &self.names.relations[0];
        let step = scan(&self.names, relation, &used[0], self.settings);
        if !self.is_persistent() && clauses.group_by.is_empty() && clauses.partition_by.is_empty() {
            return Ok(self.keyed_by_window(step));
        }
        let key = relation.source.schema.key.iter().map(|column| source_key(&column.name)).collect();
        Ok(Input { step, key, synthetic: None })
    }

    /// For push queries a window's bounds, where named, are part of the key: a deletion is shown with them.
    fn keyed_by_window(&self, mut step: Step) -> Input {
        let is_bound = |c: &Column| names::is_window_bound(&c.name);
        let (bounds, value) = step.schema.value.into_iter().partition(is_bound);
        step.schema = Schema { key: step.schema.key.into_iter().chain::<Vec<Column>>(bounds).collect(), value };
        if let StepKind::Scan(scan) = &mut step.kind {
            scan.columns.sort_by_key(|(name, _)| step.schema.index_of(name));
        }
        let key = step.schema.key.iter().map(|column| source_key(&column.name)).collect();
        Input { step, key, synthetic: None }
    }

    /// Per source the columns the query names, so that scans read no others.
    fn used_columns(&self, items: &[super::projection::Written], clauses: &Clauses) -> Vec<Vec<String>> {
        let mut used: Vec<Vec<String>> = self.names.relations.iter().map(|_| Vec::new()).collect();
        let mut add = |index: usize, name: &str| {
            if !used[index].iter().any(|n| n == name) {
                used[index].push(name.to_string());
            }
        };
        let alone = clauses
            .joins
            .iter()
            .chain(&clauses.filter)
            .chain(&clauses.group_by)
            .chain(&clauses.partition_by)
            .chain(&clauses.having);
        for expr in alone.chain(items.iter().filter_map(|i| i.expr())) {
            for column in collect_columns(expr) {
                let Some(source) = column.source else { continue };
                if let Some(index) = self.names.relations.iter().position(|r| r.alias == source) {
                    add(index, column.name);
                }
            }
        }
        for item in items {
            let super::projection::Written::Star { source } = item else { continue };
            for (index, relation) in self.names.relations.iter().enumerate() {
                if source.as_ref().is_some_and(|s| s != relation.alias) {
                    continue;
                }
                for column in relation.declared() {
                    add(index, &column.name);
                }
                if relation.source.windowed.is_some() && (self.names.is_join() || !self.is_persistent()) {
                    names::WINDOW_BOUNDS.iter().for_each(|bound| add(index, bound));
                }
                if self.names.is_join() && !clauses.partition_by.is_empty() {
                    names::PSEUDO_COLUMNS.iter().for_each(|(pseudo, _)| add(index, pseudo));
                }
            }
        }
        // A table's rows are kept as they are scanned: whole, so that a replaced query may show more of them.
        if self.is_persistent() && self.leftmost().is_table() && !self.names.is_join() && clauses.group_by.is_empty() {
            self.leftmost().schema.value.iter().for_each(|column| add(0, &column.name));
        }
        if super::aggregates::counts_row_time(items, clauses) {
            add(0, schema::ROWTIME);
        }
        used
    }

    fn filter(&self, input: Input, filter: &ast::Expr) -> Result<Input> {
        let written = self.names.inside(filter);
        let predicate = {
            let scope = StepScope::new(&input.step.schema, self.catalog);
            super::depth::balanced(self.analyzer(&scope, Clause::Predicate).predicate(&written, "WHERE")?)
        };
        let Input { step, key, synthetic } = input;
        Ok(Input { step: filtered(step, predicate), key, synthetic })
    }

    fn partition_by(&self, input: Input, expressions: &[ast::Expr]) -> Result<Input> {
        if input.step.table {
            return Err(Error::statement("PARTITION BY is only supported for STREAM sources, not TABLE.")
                .with_hint("a table is re-keyed by GROUP BY"));
        }
        let written: Vec<ast::Expr> = expressions.iter().map(|e| self.names.inside(e)).collect();
        let is_null = |e: &ast::Expr| matches!(e, ast::Expr::Literal(ast::Literal::Null));
        if written.len() > 1 && written.iter().any(is_null) {
            return Err(Error::statement("Cannot PARTITION BY multiple columns including NULL"));
        }
        for (i, expr) in written.iter().enumerate() {
            if written[..i].iter().any(|earlier| same(earlier, expr)) {
                return Err(Error::statement(format!("Duplicate PARTITION BY expression: {}", text(expr))));
            }
        }
        let windowed = input.step.windowed;
        let already = !is_null(&written[0])
            && written.len() == input.key.len()
            && written.iter().zip(&input.key).all(|(e, k)| k.is_exactly(e));
        if already {
            // Rows are where they belong already; only the names in messages change.
            let key = std::iter::zip(input.key, expressions)
                .map(|(key, said)| KeyColumn {
                    origin: KeyOrigin::PartitionBy,
                    written: vec![self.names.inside(said)],
                    printed: vec![text(said)],
                    ..key
                })
                .collect();
            return Ok(Input { step: input.step, key, synthetic: None });
        }
        if windowed.is_some() {
            return Err(implicit_repartition());
        }
        let mut generated = self.generated_names();
        let mut key = Vec::new();
        let mut exprs = Vec::new();
        if !is_null(&written[0]) {
            let scope = StepScope::new(&input.step.schema, self.catalog);
            let analyzer = self.analyzer(&scope, Clause::PartitionBy);
            for (written, said) in written.iter().zip(expressions) {
                let name = self.chosen_name(said, written, &mut generated);
                let name = unused(&name, |n| {
                    key.iter().any(|k: &KeyColumn| k.name == n)
                        || (input.step.schema.column(n).is_some() && !is_column(written, n))
                });
                exprs.push(NamedExpr { name: name.clone(), expr: analyzer.expr(written)? });
                key.push(KeyColumn {
                    name,
                    origin: KeyOrigin::PartitionBy,
                    written: vec![written.clone()],
                    printed: vec![text(said)],
                    exact: vec![written.clone()],
                });
            }
        }
        let format = self.internal_key_format(&exprs);
        let step = rekeyed(input.step, exprs, format);
        super::formats::check_key_types(&step.schema.key)?;
        Ok(Input { step, key, synthetic: None })
    }

    /// The name of a key column made from an expression: the alias it is selected under, else as an unaliased SELECT
    /// item would be called.
    pub fn chosen_name(
        &self,
        said: &ast::Expr,
        written: &ast::Expr,
        generated: &mut super::projection::GeneratedNames,
    ) -> String {
        if let ast::Expr::Column { name, .. } = written {
            return name.clone();
        }
        let selected = self.query.select.iter().find_map(|item| match item {
            ast::SelectItem::Expr { expr, alias } => {
                let qualified = self.names.qualify(expr).ok()?;
                same(&qualified, said).then(|| alias.clone()).flatten()
            }
            _ => None,
        });
        match selected {
            Some(alias) => alias,
            None => generated.name_for(said),
        }
    }

    /// The key format for rows on their way to another partition: the sink's if it can hold the key, else JSON.
    pub fn internal_key_format(&self, key: &[NamedExpr]) -> FormatSpec {
        let wanted = match self.purpose {
            Purpose::Sink { key_format, .. } => key_format,
            Purpose::Push => &self.leftmost().key_format,
        };
        let columns: Vec<Column> = key.iter().map(|k| Column::new(&k.name, k.expr.ty.clone())).collect();
        match super::formats::holds(wanted.name, &columns, crate::format::Side::Key) {
            Ok(()) if super::formats::available(wanted.name).is_ok() => wanted.clone(),
            _ => FormatSpec::new(FormatName::Json),
        }
    }

    fn flat_map(&self, input: Input, items: &[Item], computed: &mut Vec<(ast::Expr, Expr)>) -> Result<Input> {
        let mut functions = Vec::new();
        {
            let scope = StepScope::new(&input.step.schema, self.catalog);
            let analyzer = self.analyzer(&scope, Clause::TableFunction);
            for call in items.iter().flat_map(|i| find_table_functions(&i.expr)) {
                if computed.iter().any(|(known, _)| same(known, call)) {
                    continue;
                }
                let ast::Expr::Call { name, args, position, .. } = call else { continue };
                debug_assert_eq!(crate::functions::kind_of(name), Some(FunctionKind::Table));
                let types = args.iter().map(|a| analyzer.arg_type(a)).collect::<Result<Vec<_>>>()?;
                let widening = Widening::unless(self.settings.strict(), Widening::Nowhere);
                let resolved = crate::functions::table::resolve(name, &types, widening).map_err(|e| e.at(*position))?;
                let args = args
                    .iter()
                    .zip(&resolved.args)
                    .map(|(arg, ty)| analyzer.expr_as(arg, ty))
                    .collect::<Result<Vec<_>>>()?;
                let output = format!("KSQL_SYNTH_{}", functions.len());
                let output = unused(&output, |n| input.step.schema.column(n).is_some());
                computed.push((call.clone(), Expr::column(&output, resolved.returns.clone())));
                functions.push(TableFunctionCall { function: name.clone(), args, output, ty: resolved.returns });
            }
        }
        let Input { step, key, synthetic } = input;
        let mut schema = step.schema.clone();
        schema.value.extend(functions.iter().map(|f| Column::new(&f.output, f.ty.clone())));
        let (table, windowed) = (step.table, step.windowed);
        let step = Step { kind: StepKind::FlatMap { input: Box::new(step), functions }, schema, table, windowed };
        Ok(Input { step, key, synthetic })
    }
}

fn source_key(name: &str) -> KeyColumn {
    KeyColumn {
        name: name.to_string(),
        origin: KeyOrigin::Source,
        written: vec![super::tree::column(name, Default::default())],
        printed: vec![name.to_string()],
        exact: vec![super::tree::column(name, Default::default())],
    }
}

pub(super) fn is_column(expr: &ast::Expr, wanted: &str) -> bool {
    matches!(expr, ast::Expr::Column { source: None, name, .. } if name == wanted)
}

pub(super) fn implicit_repartition() -> Error {
    Error::statement(
        "Implicit repartitioning of windowed sources is not supported. See \
         https://github.com/confluentinc/ksql/issues/4385.",
    )
}

pub(super) fn filtered(step: Step, predicate: Expr) -> Step {
    let (schema, table, windowed) = (step.schema.clone(), step.table, step.windowed);
    Step { kind: StepKind::Filter { input: Box::new(step), predicate }, schema, table, windowed }
}

/// A `Rekey` step: the new key, and every other column of the input as a value: its values first, then its old keys.
pub(super) fn rekeyed(step: Step, key: Vec<NamedExpr>, format: FormatSpec) -> Step {
    let schema = Schema {
        key: key.iter().map(|k| Column::new(&k.name, k.expr.ty.clone())).collect(),
        value: step.schema.columns().filter(|c| !key.iter().any(|k| k.name == c.name)).cloned().collect(),
    };
    Step { kind: StepKind::Rekey { input: Box::new(step), key, format }, schema, table: false, windowed: None }
}

/// A scan of a source with the columns used: its whole key, and what else is named.
pub(super) fn scan(names: &Names<'_>, relation: &names::Relation<'_>, used: &[String], settings: &Settings) -> Step {
    let source = relation.source;
    let mut columns = Vec::new();
    let mut schema = Schema::default();
    let inside = |name: &str| names.internal(relation.alias, name);
    for column in &source.schema.key {
        columns.push((inside(&column.name), ScanColumn::Declared(column.name.clone())));
        schema.key.push(Column::new(inside(&column.name), column.ty.clone()));
    }
    let mut value = |name: &str, what: ScanColumn, ty: crate::types::SqlType| {
        columns.push((inside(name), what));
        schema.value.push(Column::new(inside(name), ty));
    };
    let is_used = |name: &str| used.iter().any(|u| u == name);
    for column in source.schema.value.iter().filter(|c| is_used(&c.name)) {
        value(&column.name, ScanColumn::Declared(column.name.clone()), column.ty.clone());
    }
    for (name, header) in source.headers.iter().filter(|(name, _)| is_used(name)) {
        let what = match header {
            None => ScanColumn::Headers,
            Some(key) => ScanColumn::Header(key.clone()),
        };
        value(name, what, names::header_type(header.as_deref()));
    }
    for (name, ty) in names::PSEUDO_COLUMNS.into_iter().filter(|(name, _)| is_used(name)) {
        let what = match name {
            schema::ROWTIME => ScanColumn::RowTime,
            schema::ROWPARTITION => ScanColumn::RowPartition,
            _ => ScanColumn::RowOffset,
        };
        value(name, what, ty);
    }
    if source.windowed.is_some() {
        if is_used(schema::WINDOWSTART) {
            value(schema::WINDOWSTART, ScanColumn::WindowStart, crate::types::SqlType::Bigint);
        }
        if is_used(schema::WINDOWEND) {
            value(schema::WINDOWEND, ScanColumn::WindowEnd, crate::types::SqlType::Bigint);
        }
    }
    let scan = Scan {
        source: source.name.clone(),
        topic: source.topic.clone(),
        key_format: source.key_format.clone(),
        value_format: source.value_format.clone(),
        declared: source.schema.clone(),
        columns,
        timestamp: source.timestamp_column.as_ref().map(|column| TimestampColumn {
            column: column.clone(),
            format: source.timestamp_format.clone(),
            throw_on_invalid: source.timestamp_throw_on_invalid || settings.bool("ksql.timestamp.throw.on.invalid"),
        }),
        windowed: source.windowed,
    };
    Step { kind: StepKind::Scan(scan), schema, table: source.is_table(), windowed: source.windowed }
}
