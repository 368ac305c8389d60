//! Ordinary SQL over retained logs and tables: bound and run by DataFusion, with Headwater's meaning.
//!
//! Before binding, one pass over sqlparser's tree makes comparisons two-valued where it matters (inside NOT, in the
//! SELECT list, in CASE …): `a = b` becomes `(a = b) IS TRUE`. Top-level conditions of WHERE, HAVING and ON stay as they
//! are, since null and false act alike there and joins must see their keys. Function names are ours first, DataFusion's
//! where ksqlDB has none; an aggregate with DISTINCT or OVER, which ksqlDB does not have, is DataFusion's. DataFusion then
//! applies all its rules: the plan is bounded.

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use datafusion::common::TableReference;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::datasource::provider_as_source;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::SessionStateBuilder;
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, TypePlanner};
use datafusion::logical_expr::{AggregateUDF, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource, WindowUDF};
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::SessionConfig;
use datafusion::sql::planner::{ParserOptions, SqlToRel};
use futures::StreamExt;
use sqlparser::ast::{
    BinaryOperator, DuplicateTreatment, ExcludeSelectItem, Expr, Function, FunctionArg, FunctionArgExpr,
    FunctionArguments, GroupByExpr, Ident, JoinConstraint, JoinOperator, ObjectName, ObjectNamePart,
    OneOrManyWithParens, Query, Select, SelectItem, SetExpr, Statement, TableFactor, UnaryOperator, Visit, VisitMut,
    Visitor, VisitorMut, WildcardAdditionalOptions,
};
use tokio::sync::Notify;

use crate::Engine;
use crate::catalog::Catalog;
use crate::catalog::providers::SourceTable;
use crate::config::{BATCH_MEMORY_BYTES_MAX, Settings};
use crate::error::{Error, Result};
use crate::functions::batch_casts::{CAST_AS, cast_udf};
use crate::functions::udf::FailedRows;
use crate::plan::analyze::resolve_type;
use crate::plan::batch_arithmetic::KsqlArithmetic;
use crate::results::{EndReason, ResultColumn, ResultEvent, ResultKind, ResultQueue, ResultStream};
use crate::rows::batch_of;
use crate::schema::{Column, RESERVED_COLUMNS};
use crate::types::SqlType;

/// Sources a query names, once each.
pub fn sources_of(query: &Query, catalog: &Catalog) -> Vec<String> {
    relations(query).into_iter().filter(|name| catalog.source(name).is_some()).collect()
}

/// Starts a bounded query; its rows come through the stream.
pub fn execute(engine: &Engine, query: Query, settings: &Settings) -> Result<ResultStream> {
    let queue = ResultQueue::new();
    let (state, plan) = bind(engine, query, settings, queue.clone())?;
    let columns: Vec<Column> = plan
        .schema()
        .fields()
        .iter()
        .map(|f| Ok(Column::new(f.name().clone(), SqlType::from_arrow(f.data_type())?)))
        .collect::<Result<_>>()?;
    let result = columns.iter().map(|c| ResultColumn { name: c.name.clone(), ty: c.ty.clone(), key: false }).collect();
    let out = queue.clone();
    std::thread::Builder::new().name("batch".into()).stack_size(32 << 20).spawn(move || {
        let run = std::panic::AssertUnwindSafe(|| batch_runtime()?.block_on(run(&state, &plan, &columns, &out)));
        let done = std::panic::catch_unwind(run).unwrap_or_else(|panic| {
            let text = crate::runtime::pool::panic_text(panic.as_ref());
            Err(Error::internal(format!("the query broke an invariant: {text}")))
        });
        out.push(done.map(|()| ResultEvent::End(EndReason::Completed)));
    })?;
    Ok(ResultStream::new(engine.next_query_id("batch"), ResultKind::Batch, result, queue))
}

/// DataFusion's optimised plan as text.
pub fn explain(engine: &Engine, text: &str, settings: &Settings) -> Result<String> {
    let (state, plan) = bind(engine, crate::sql::parse_batch(text)?, settings, ResultQueue::new())?;
    Ok(state.optimize(&plan)?.display_indent().to_string())
}

fn batch_runtime() -> Result<&'static tokio::runtime::Runtime> {
    static RUNTIME: OnceLock<std::result::Result<tokio::runtime::Runtime, String>> = OnceLock::new();
    RUNTIME
        .get_or_init(|| {
            tokio::runtime::Builder::new_multi_thread()
                .thread_name("batch")
                .thread_stack_size(16 << 20)
                .build()
                .map_err(|e| e.to_string())
        })
        .as_ref()
        .map_err(|e| Error::unavailable(format!("threads for batch queries cannot be started: {e}")))
}

async fn run(state: &SessionState, plan: &LogicalPlan, columns: &[Column], out: &Arc<ResultQueue>) -> Result<()> {
    let physical = state.create_physical_plan(plan).await.and_then(stoppable).map_err(translate)?;
    let mut stream = execute_stream(physical, state.task_ctx()).map_err(translate)?;
    let cancelled = Arc::new(Notify::new());
    out.on_cancel({
        let cancelled = cancelled.clone();
        move || cancelled.notify_one()
    });
    let schema = Arc::new(arrow::datatypes::Schema::new(columns.iter().map(Column::to_arrow).collect::<Vec<_>>()));
    loop {
        let next = tokio::select! {
            biased;
            () = cancelled.notified() => return Ok(()),
            next = stream.next() => next,
        };
        let Some(batch) = next else { return Ok(()) };
        let batch: RecordBatch = batch.map_err(translate)?;
        let arrays = batch
            .columns()
            .iter()
            .zip(columns)
            .map(|(array, column)| {
                let wanted = column.ty.to_arrow();
                if *array.data_type() == wanted { Ok(array.clone()) } else { Ok(cast(array, &wanted)?) }
            })
            .collect::<Result<Vec<_>>>()?;
        if batch.num_rows() > 0 {
            let batch = batch_of(schema.clone(), arrays, batch.num_rows())?;
            if !out.push(Ok(ResultEvent::Rows { batch, tombstones: None })) {
                return Ok(());
            }
        }
        if !tokio::task::block_in_place(|| out.wait_for_room()) {
            return Ok(());
        }
    }
}

/// The plan, with what joins put out counted as work: one that makes a million rows of a thousand would otherwise not look
/// up to see that its client has gone.
fn stoppable(plan: Arc<dyn ExecutionPlan>) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
    let wrapped = |node: Arc<dyn ExecutionPlan>| {
        Ok(match node.children().len() {
            0 | 1 => Transformed::no(node),
            _ => Transformed::yes(Arc::new(CooperativeExec::new(node)) as Arc<dyn ExecutionPlan>),
        })
    };
    Ok(plan.transform_up(wrapped)?.data)
}

fn translate(error: DataFusionError) -> Error {
    match error {
        DataFusionError::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(other) => Error::statement(other.to_string()),
        },
        DataFusionError::ResourcesExhausted(message) => {
            Error::limit(format!("the query needs more memory than {BATCH_MEMORY_BYTES_MAX}"))
                .with_cause(message)
                .with_hint(format!(
                    "SET '{BATCH_MEMORY_BYTES_MAX}' to more, select fewer columns or rows, or aggregate first"
                ))
        }
        DataFusionError::Plan(message) | DataFusionError::Execution(message) => Error::statement(message),
        DataFusionError::NotImplemented(message) => Error::statement(format!("not possible yet: {message}")),
        DataFusionError::SchemaError(error, _) => Error::statement(error.to_string()),
        DataFusionError::ArrowError(error, _) => {
            Error::statement(crate::functions::values::arithmetic::message(*error))
        }
        // What happened is the innermost; the layers around it only say where in DataFusion.
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => translate(*inner),
        DataFusionError::Collection(mut errors) if !errors.is_empty() => translate(errors.remove(0)),
        DataFusionError::Shared(inner) => Error::statement(plain(&inner)),
        other => Error::statement(plain(&other)),
    }
}

/// An error's text without the names of DataFusion's parts in front.
fn plain(error: &DataFusionError) -> String {
    let text = error.strip_backtrace();
    let prefixes = ["Error during planning: ", "Execution error: ", "Schema error: "];
    prefixes.iter().find_map(|prefix| text.strip_prefix(prefix)).unwrap_or(&text).to_string()
}

fn bind(
    engine: &Engine,
    mut query: Query,
    settings: &Settings,
    queue: Arc<ResultQueue>,
) -> Result<(SessionState, LogicalPlan)> {
    let catalog = engine.catalog();
    let pseudo = pseudo_columns(&query);
    if !pseudo.is_empty() {
        exclude_from_wildcards(&mut query, &pseudo);
    }
    let sources = relations(&query).into_iter().filter_map(|name| catalog.source(&name));
    let columns = sources.flat_map(|source| source.schema.columns()).map(|column| column.name.clone()).collect();
    super::batch_calls::as_calls(&mut query, &|name| catalog.types.get(name).cloned(), &columns)?;
    two_valued(&mut query);
    let ordered = settle_calls(&mut query);
    let mut tables: HashMap<String, Arc<dyn TableSource>> = HashMap::new();
    for name in relations(&query) {
        if let Some(source) = catalog.source(&name) {
            let table = SourceTable::new(engine, source, &pseudo, queue.clone())?;
            tables.insert(name, provider_as_source(Arc::new(table)));
        }
    }
    let mut config = SessionConfig::new().with_batch_size(8192);
    config.options_mut().sql_parser.map_string_types_to_utf8view = false;
    if ordered {
        // Partial results of several threads would meet in any order.
        config = config.with_target_partitions(1);
    }
    let memory_bytes_max = usize::try_from(settings.bytes(BATCH_MEMORY_BYTES_MAX)).unwrap_or(usize::MAX);
    let pool = datafusion::execution::memory_pool::GreedyMemoryPool::new(memory_bytes_max);
    let runtime = datafusion::execution::runtime_env::RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::new(pool))
        .with_disk_manager_builder(
            datafusion::execution::disk_manager::DiskManagerBuilder::default()
                .with_mode(datafusion::execution::disk_manager::DiskManagerMode::Disabled),
        )
        .build_arc()
        .map_err(translate)?;
    let mut state =
        SessionStateBuilder::new().with_config(config).with_runtime_env(runtime).with_default_features().build();
    let now_ms = engine.inner.clock.now_ms();
    // now() and its kin are one instant per query.
    state.execution_props_mut().query_execution_start_time = chrono::DateTime::from_timestamp_millis(now_ms);
    let failed = FailedRows::of(queue.clone());
    let ours: Arc<dyn ExprPlanner> = Arc::new(KsqlArithmetic { failed: failed.clone() });
    let context = Context {
        expr_planners: std::iter::once(ours).chain(state.expr_planners().iter().cloned()).collect(),
        catalog: &catalog,
        tables,
        state: &state,
        scalars: crate::functions::datafusion::scalar_udfs(now_ms, &failed)
            .into_iter()
            .map(|f| (f.name().to_uppercase(), f))
            .collect(),
        lambdas: crate::functions::batch_lambdas::higher_order_udfs()
            .into_iter()
            .map(|f| (f.name().to_uppercase(), f))
            .collect(),
        aggregates: crate::functions::aggregate::datafusion::datafusion_udafs()
            .into_iter()
            .map(|f| (f.name().to_uppercase(), f))
            .collect(),
        failed,
    };
    let options = ParserOptions {
        enable_ident_normalization: false,
        map_string_types_to_utf8view: false,
        ..ParserOptions::default()
    };
    let plan = SqlToRel::new_with_options(&context, options)
        .sql_statement_to_plan(Statement::Query(Box::new(query)))
        .map_err(translate)?;
    Ok((state, plan))
}

struct Context<'a> {
    catalog: &'a Catalog,
    tables: HashMap<String, Arc<dyn TableSource>>,
    state: &'a SessionState,
    scalars: HashMap<String, Arc<ScalarUDF>>,
    lambdas: HashMap<String, Arc<HigherOrderUDF>>,
    aggregates: HashMap<String, Arc<AggregateUDF>>,
    expr_planners: Vec<Arc<dyn ExprPlanner>>,
    failed: FailedRows,
}

impl ContextProvider for Context<'_> {
    fn get_table_source(&self, name: TableReference) -> DataFusionResult<Arc<dyn TableSource>> {
        let name = name.table();
        self.tables.get(name).cloned().ok_or_else(|| {
            let error = Error::not_found(format!("{name} does not exist."));
            let near = crate::config::nearest(name, self.catalog.sources.keys().map(AsRef::as_ref));
            DataFusionError::External(Box::new(match near {
                Some(near) => error.with_hint(format!("did you mean {near}?")),
                None => error.with_hint("SHOW STREAMS and SHOW TABLES list what exists"),
            }))
        })
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        &self.expr_planners
    }

    fn get_type_planner(&self) -> Option<Arc<dyn TypePlanner>> {
        None
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        if let Some(ty) = name.strip_prefix(CAST_AS) {
            return crate::sql::parse_type(ty)
                .and_then(|ty| resolve_type(&ty, &|_| None))
                .ok()
                .map(|ty| cast_udf(ty, self.failed.clone()));
        }
        self.scalars
            .get(&name.to_uppercase())
            .or_else(|| self.state.scalar_functions().get(&name.to_lowercase()))
            .cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.lambdas
            .get(&name.to_uppercase())
            .or_else(|| self.state.higher_order_functions().get(&name.to_lowercase()))
            .cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        let (name, ours) = match name.strip_suffix(ORDINARY) {
            Some(name) => (name, None),
            None => (name, self.aggregates.get(&name.to_uppercase())),
        };
        ours.or_else(|| self.state.aggregate_functions().get(&name.to_lowercase())).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(&name.to_lowercase()).cloned()
    }

    fn get_variable_type(&self, _variable_names: &[String]) -> Option<DataType> {
        None
    }

    fn options(&self) -> &ConfigOptions {
        self.state.config_options()
    }

    fn udf_names(&self) -> Vec<String> {
        self.scalars.keys().cloned().chain(self.state.scalar_functions().keys().cloned()).collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.lambdas.keys().chain(self.state.higher_order_functions().keys()).cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.aggregates.keys().cloned().chain(self.state.aggregate_functions().keys().cloned()).collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}

/// Last parts of all relation names in a query.
fn relations(query: &Query) -> BTreeSet<String> {
    struct Names(BTreeSet<String>);
    impl Visitor for Names {
        type Break = ();
        fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<()> {
            self.0.extend(relation.0.last().and_then(|p| p.as_ident()).map(|i| i.value.clone()));
            ControlFlow::Continue(())
        }
    }
    let mut names = Names(BTreeSet::new());
    // The visitor never breaks.
    let _done = query.visit(&mut names);
    names.0
}

/// Pseudo-columns a query names.
fn pseudo_columns(query: &Query) -> Vec<String> {
    struct Pseudo(BTreeSet<String>);
    impl Visitor for Pseudo {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
            let name = match expr {
                Expr::Identifier(ident) => Some(ident),
                Expr::CompoundIdentifier(idents) => idents.last(),
                _ => None,
            };
            self.0.extend(name.map(|i| i.value.clone()).filter(|n| RESERVED_COLUMNS.contains(&n.as_str())));
            ControlFlow::Continue(())
        }
    }
    let mut pseudo = Pseudo(BTreeSet::new());
    let _done = query.visit(&mut pseudo);
    pseudo.0.into_iter().collect()
}

/// `*` does not show pseudo-columns, named elsewhere or not; windows of windowed tables it does.
fn exclude_from_wildcards(query: &mut Query, pseudo: &[String]) {
    let hidden: Vec<ObjectName> = pseudo
        .iter()
        .filter(|name| name.starts_with("ROW"))
        .map(|name| ObjectName::from(vec![Ident::new(name.clone())]))
        .collect();
    if hidden.is_empty() {
        return;
    }
    each_select(query, &mut |select| {
        let reads_source = select.from.iter().any(|f| matches!(f.relation, TableFactor::Table { .. }));
        for item in &mut select.projection {
            if let SelectItem::Wildcard(options) | SelectItem::QualifiedWildcard(_, options) = item
                && reads_source
                && options.opt_exclude.is_none()
            {
                *options = WildcardAdditionalOptions {
                    opt_exclude: Some(ExcludeSelectItem::Multiple(hidden.clone())),
                    ..options.clone()
                };
            }
        }
    });
}

fn each_select(query: &mut Query, change: &mut dyn FnMut(&mut Select)) {
    struct Selects<'a>(&'a mut dyn FnMut(&mut Select));
    impl VisitorMut for Selects<'_> {
        type Break = ();
        fn pre_visit_query(&mut self, query: &mut Query) -> ControlFlow<()> {
            in_set_expr(&mut query.body, self.0);
            ControlFlow::Continue(())
        }
    }
    fn in_set_expr(body: &mut SetExpr, change: &mut dyn FnMut(&mut Select)) {
        match body {
            SetExpr::Select(select) => change(select),
            SetExpr::SetOperation { left, right, .. } => {
                in_set_expr(left, change);
                in_set_expr(right, change);
            }
            _ => {}
        }
    }
    let _done = query.visit(&mut Selects(change));
}

/// Behind the name of an aggregate that is to be DataFusion's. No name can end like this.
const ORDINARY: &str = " (ordinary)";

/// Marks the aggregates with clauses that ksqlDB's do not have, and keeps the case of lambdas' parameters, which is folded
/// already. Whether aggregates of ksqlDB alone are called: those may depend on the order of rows.
fn settle_calls(query: &mut Query) -> bool {
    struct Calls {
        ordered: bool,
    }
    impl VisitorMut for Calls {
        type Break = ();
        fn pre_visit_expr(&mut self, expr: &mut Expr) -> ControlFlow<()> {
            if let Expr::Lambda(lambda) = expr {
                let parameters = match &mut lambda.params {
                    OneOrManyWithParens::One(one) => std::slice::from_mut(one),
                    OneOrManyWithParens::Many(many) => many.as_mut_slice(),
                };
                parameters.iter_mut().for_each(|parameter| parameter.name.quote_style = Some('"'));
            }
            let Expr::Function(function) = expr else { return ControlFlow::Continue(()) };
            let distinct = match &function.args {
                FunctionArguments::List(list) => list.duplicate_treatment == Some(DuplicateTreatment::Distinct),
                _ => false,
            };
            if let [ObjectNamePart::Identifier(name)] = &mut function.name.0[..]
                && crate::functions::aggregate::exists(&name.value)
            {
                self.ordered |= !IN_ANY_ORDER.contains(&name.value.to_uppercase().as_str());
                if distinct || function.over.is_some() {
                    name.value.push_str(ORDINARY);
                }
            }
            ControlFlow::Continue(())
        }
    }
    let mut calls = Calls { ordered: false };
    // The visitor never breaks.
    let _done = query.visit(&mut calls);
    calls.ordered
}

/// Aggregates whose result does not depend on the order of rows.
const IN_ANY_ORDER: [&str; 8] = ["COUNT", "SUM", "AVG", "MIN", "MAX", "COUNT_DISTINCT", "TOPK", "TOPKDISTINCT"];

/// Makes comparisons two-valued wherever null and false would differ.
fn two_valued(query: &mut Query) {
    each_select(query, &mut |select| {
        for item in &mut select.projection {
            if let SelectItem::UnnamedExpr(expr) | SelectItem::ExprWithAlias { expr, .. } = item {
                wrap(expr);
            }
        }
        if let GroupByExpr::Expressions(exprs, _) = &mut select.group_by {
            exprs.iter_mut().for_each(wrap);
        }
        for condition in [&mut select.selection, &mut select.having].into_iter().flatten() {
            below_conjuncts(condition);
        }
        for join in select.from.iter_mut().flat_map(|f| &mut f.joins) {
            if let JoinOperator::Join(JoinConstraint::On(on))
            | JoinOperator::Inner(JoinConstraint::On(on))
            | JoinOperator::Left(JoinConstraint::On(on))
            | JoinOperator::LeftOuter(JoinConstraint::On(on))
            | JoinOperator::Right(JoinConstraint::On(on))
            | JoinOperator::RightOuter(JoinConstraint::On(on))
            | JoinOperator::FullOuter(JoinConstraint::On(on)) = &mut join.join_operator
            {
                below_conjuncts(on);
            }
        }
    });
}

/// Leaves AND, OR and plain comparisons at the top as they are.
fn below_conjuncts(expr: &mut Expr) {
    match expr {
        Expr::Nested(inner) => below_conjuncts(inner),
        Expr::BinaryOp { left, op: BinaryOperator::And | BinaryOperator::Or, right } => {
            below_conjuncts(left);
            below_conjuncts(right);
        }
        Expr::BinaryOp { left, op, right } if is_comparison(op) => {
            wrap(left);
            wrap(right);
        }
        Expr::Between { negated: false, .. }
        | Expr::InList { negated: false, .. }
        | Expr::Like { negated: false, .. } => {}
        other => wrap(other),
    }
}

fn is_comparison(op: &BinaryOperator) -> bool {
    matches!(
        op,
        BinaryOperator::Eq
            | BinaryOperator::NotEq
            | BinaryOperator::Lt
            | BinaryOperator::LtEq
            | BinaryOperator::Gt
            | BinaryOperator::GtEq
    )
}

/// Wraps every comparison at or below `expr`, subqueries excepted (they are walked on their own).
fn wrap(expr: &mut Expr) {
    let comparison = match expr {
        Expr::Nested(inner)
        | Expr::UnaryOp { op: UnaryOperator::Not, expr: inner }
        | Expr::IsNull(inner)
        | Expr::IsNotNull(inner) => {
            wrap(inner);
            false
        }
        Expr::BinaryOp { left, op, right } => {
            wrap(left);
            wrap(right);
            is_comparison(op)
        }
        Expr::Between { expr, low, high, .. } => {
            wrap(expr);
            wrap(low);
            wrap(high);
            true
        }
        Expr::InList { expr, list, .. } => {
            wrap(expr);
            list.iter_mut().for_each(wrap);
            true
        }
        Expr::Like { .. } => true,
        Expr::Function(Function { args: FunctionArguments::List(list), .. }) => {
            for arg in &mut list.args {
                if let FunctionArg::Unnamed(FunctionArgExpr::Expr(arg)) = arg {
                    wrap(arg);
                }
            }
            false
        }
        Expr::Lambda(lambda) => {
            wrap(&mut lambda.body);
            false
        }
        Expr::Array(array) => {
            array.elem.iter_mut().for_each(wrap);
            false
        }
        Expr::CompoundFieldAccess { root, .. } => {
            wrap(root);
            false
        }
        Expr::Case { operand, conditions, else_result, .. } => {
            for part in [operand, else_result].into_iter().flatten() {
                wrap(part);
            }
            for when in conditions {
                wrap(&mut when.condition);
                wrap(&mut when.result);
            }
            false
        }
        _ => false,
    };
    if comparison {
        let negated = match expr {
            Expr::Between { negated, .. } | Expr::InList { negated, .. } | Expr::Like { negated, .. } => {
                std::mem::take(negated)
            }
            _ => false,
        };
        let inner =
            std::mem::replace(expr, Expr::Wildcard(sqlparser::ast::helpers::attached_token::AttachedToken::empty()));
        let positive = Expr::IsTrue(Box::new(Expr::Nested(Box::new(inner))));
        // NOT of a two-valued test: `a NOT IN (…)` is true where a is null, as in ksqlDB.
        *expr = if negated { Expr::UnaryOp { op: UnaryOperator::Not, expr: Box::new(positive) } } else { positive };
    }
}
