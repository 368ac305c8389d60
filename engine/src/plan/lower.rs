//! Plan → stages → pipelines of operators.
//!
//! A plan is cut at every step that moves rows to another partition (`Rekey`, `Aggregate` off the key). Between two cuts
//! lies a stage; a task runs one stage for one partition.
//!
//! ```text
//! SELECT K2, COUNT(*) FROM S WHERE V > 0 GROUP BY K2
//!
//! stage 0   source S ─► Filter ─► Group ─► repartition by K2
//! stage 1   stage 0 ─► Aggregate ─► Project ─► result
//! ```
//!
//! Old rows of tables are asked for only where something needs them: a table's filter, HAVING, and re-grouping.
//!
//! Steps with state are numbered in the order they are built, inputs first, through all stages; a started query keeps
//! the state of each under a store number of its own (see [`super::adopt`]).

use super::expr::{Expr, ExprKind};
use super::steps::{Aggregate, Join, JoinKind, JoinShape, NamedExpr, Plan, Scan, Step, StepKind, TableFunctionCall};
use super::steps::{WindowSpec, WindowSpecKind};
use crate::error::{Error, Result};
use crate::format::FormatSpec;
use crate::ops::aggregate::AggregateRows;
use crate::ops::compact::Compacted;
use crate::ops::filter::Filter;
use crate::ops::flat_map::FlatMap;
use crate::ops::foreign_key::Travelling;
use crate::ops::foreign_key::left::ForeignKeyLeft;
use crate::ops::foreign_key::result::ForeignKeyResult;
use crate::ops::foreign_key::right::ForeignKeyRight;
use crate::ops::group::{Group, grouped_schema};
use crate::ops::limit::Limit;
pub use crate::ops::pipeline::Pipeline;
use crate::ops::pipeline::Wired;
use crate::ops::project::Project;
use crate::ops::rekey::Rekey;
use crate::ops::session_aggregate::SessionAggregate;
use crate::ops::source_table::SourceTable;
use crate::ops::stream_stream::{StreamStreamJoin, Within};
use crate::ops::stream_table::StreamTableJoin;
use crate::ops::table_table::TableTableJoin;
use crate::ops::window_aggregate::WindowAggregate;
use crate::ops::{InputId, Operator};
use crate::schema::{Column, RESERVED_COLUMNS, Schema};

/// A straight piece of a query between topics.
pub struct Stage {
    /// Position in the list that [`lower`] returned; stages come after the stages they read from.
    pub id: u32,
    pub inputs: Vec<StageInput>,
    pub output: StageOutput,
    /// Schema of the rows the stage's pipeline puts out.
    pub schema: Schema,
    /// Whether those rows are table changes.
    pub table: bool,
    pub windowed: bool,
    root: Node,
}

pub enum StageInput {
    /// A source's topic, decoded by the runtime as the scan says.
    Source(Box<Scan>, /** a table's topic */ bool),
    /// Rows of an earlier stage, re-keyed. Those of a re-grouped table carry their old rows.
    Stage(u32),
}

pub enum StageOutput {
    /// The plan's sink or the push query's client.
    Result,
    /// The next stage: the runtime sends each row to the partition of its key bytes in this format.
    Repartition { key_format: FormatSpec },
}

/// Settings operators need: limits of aggregates, emission policy.
#[derive(Debug, Clone, Default)]
pub struct OperatorSettings {
    pub values: std::collections::BTreeMap<String, String>,
}

/// A stage's operators as a tree, inputs below.
enum Node {
    Input(InputId),
    /// `store`: where the state of a step that has some is kept.
    Operator {
        store: Option<u32>,
        spec: Box<Spec>,
        inputs: Vec<Node>,
    },
}

/// Everything an operator is built from.
enum Spec {
    SourceTable { source: String, schema: Schema, windowed: bool, old: bool, kept: bool },
    Filter { predicate: Expr, schema: Schema, old: bool, place: &'static str },
    Project { key: Vec<NamedExpr>, value: Vec<NamedExpr>, input: Schema, output: Schema, old: bool },
    FlatMap { functions: Vec<TableFunctionCall>, input: Schema, output: Schema },
    Rekey { key: Vec<NamedExpr>, input: Schema, output: Schema },
    Group { aggregate: Box<Aggregate>, input: Schema },
    Aggregate { aggregate: Box<Aggregate>, output: Schema, old: bool },
    StreamTable { kind: JoinKind, right: Schema, right_windowed: bool, output: Schema },
    TableTable { kind: JoinKind, left: Schema, right: Schema, windowed: bool, output: Schema, old: bool },
    StreamStream { kind: JoinKind, within: Within, left: Schema, right: Schema, windowed: bool, output: Schema },
    ForeignKeyLeft { foreign_key: Expr, join: Box<ForeignKeyJoin> },
    ForeignKeyRight { join: Box<ForeignKeyJoin> },
    ForeignKeyResult { join: Box<ForeignKeyJoin>, old: bool, kept: bool },
    Limit(u64),
}

/// What the parts of a foreign-key join are built from.
#[derive(Clone)]
struct ForeignKeyJoin {
    kind: JoinKind,
    left: Schema,
    left_key_format: FormatSpec,
    right: Schema,
    travelling: Travelling,
    output: Schema,
}

/// Cuts a plan into stages; a shape that cannot run yet is refused by name.
pub fn lower(plan: &Plan) -> Result<Vec<Stage>> {
    let mut lowering = Lowering { stages: Vec::new(), next_store: 0 };
    let mut inputs = Vec::new();
    // A plan that is a scan and nothing else keeps a source table for pulls.
    let kept = plan.sink.is_some() || matches!(plan.root.kind, StepKind::Scan(_));
    let mut root = lowering.node(&plan.root, Asked { old: false, kept }, &mut inputs)?;
    if let Some(limit) = plan.limit {
        root = lowering.operator(Spec::Limit(limit), vec![root]);
    }
    lowering.finish(&plan.root.schema, Form::of(&plan.root), root, inputs, StageOutput::Result);
    Ok(lowering.stages)
}

struct Lowering {
    stages: Vec<Stage>,
    next_store: u32,
}

/// What the steps above ask of a step's rows.
#[derive(Clone, Copy)]
struct Asked {
    /// Old rows beside the new ones.
    old: bool,
    /// A source's table is to be kept for lookups, since nothing above holds one.
    kept: bool,
}

impl Asked {
    const NOTHING: Asked = Asked { old: false, kept: false };
}

impl Lowering {
    fn node(&mut self, step: &Step, asked: Asked, inputs: &mut Vec<StageInput>) -> Result<Node> {
        let node = match &step.kind {
            StepKind::Scan(scan) => {
                let input = Node::Input(inputs.len());
                inputs.push(StageInput::Source(Box::new(scan.clone()), step.table));
                if !step.table {
                    return Ok(input);
                }
                let spec = Spec::SourceTable {
                    source: scan.source.clone(),
                    schema: step.schema.clone(),
                    windowed: step.windowed.is_some(),
                    old: asked.old,
                    kept: asked.kept,
                };
                self.operator(spec, vec![input])
            }
            StepKind::Filter { input, predicate } => {
                let below = self.node(input, Asked { old: input.table, ..asked }, inputs)?;
                let (predicate, schema) = (predicate.clone(), step.schema.clone());
                self.operator(Spec::Filter { predicate, schema, old: asked.old, place: "Filter" }, vec![below])
            }
            StepKind::Project { input, key, value } => {
                let below = self.node(input, asked, inputs)?;
                let spec = Spec::Project {
                    key: key.clone(),
                    value: value.clone(),
                    input: input.schema.clone(),
                    output: step.schema.clone(),
                    old: asked.old,
                };
                self.operator(spec, vec![below])
            }
            StepKind::FlatMap { input, functions } => {
                let below = self.node(input, Asked::NOTHING, inputs)?;
                let functions = functions.clone();
                let spec = Spec::FlatMap { functions, input: input.schema.clone(), output: step.schema.clone() };
                self.operator(spec, vec![below])
            }
            StepKind::Rekey { input, key, format } => self.rekey(step, input, key, format, inputs)?,
            StepKind::Aggregate(aggregate) => self.aggregate(step, aggregate, asked, inputs)?,
            StepKind::Join(join) => self.join(step, join, asked, inputs)?,
        };
        Ok(node)
    }

    fn rekey(
        &mut self,
        step: &Step,
        input: &Step,
        key: &[NamedExpr],
        format: &FormatSpec,
        inputs: &mut Vec<StageInput>,
    ) -> Result<Node> {
        let spec = Spec::Rekey { key: key.to_vec(), input: input.schema.clone(), output: step.schema.clone() };
        let same_key = key.len() == input.schema.key.len()
            && key.iter().zip(&input.schema.key).all(|(named, column)| is_column(&named.expr, &column.name));
        if same_key && step.schema == input.schema {
            return self.node(input, Asked::NOTHING, inputs);
        }
        // Rows without a key stay where they are.
        if same_key || key.is_empty() {
            let below = self.node(input, Asked::NOTHING, inputs)?;
            return Ok(self.operator(spec, vec![below]));
        }
        let mut below_inputs = Vec::new();
        let below = self.node(input, Asked::NOTHING, &mut below_inputs)?;
        let node = self.operator(spec, vec![below]);
        let output = StageOutput::Repartition { key_format: format.clone() };
        let stage = self.finish(&step.schema, Form::of(step), node, below_inputs, output);
        Ok(next_input(inputs, stage))
    }

    fn aggregate(
        &mut self,
        step: &Step,
        aggregate: &Aggregate,
        asked: Asked,
        inputs: &mut Vec<StageInput>,
    ) -> Result<Node> {
        let input = &aggregate.input;
        let below_asks = Asked { old: input.table, kept: false };
        let group = Spec::Group { aggregate: Box::new(aggregate.clone()), input: input.schema.clone() };
        let grouped = if aggregate.on_key {
            let below = self.node(input, below_asks, inputs)?;
            self.operator(group, vec![below])
        } else {
            let mut below_inputs = Vec::new();
            let below = self.node(input, below_asks, &mut below_inputs)?;
            let node = self.operator(group, vec![below]);
            let output = StageOutput::Repartition { key_format: aggregate.key_format.clone() };
            let stage = self.finish(&grouped_schema(aggregate), Form::of(input), node, below_inputs, output);
            next_input(inputs, stage)
        };
        let old = asked.old || aggregate.having.is_some();
        let spec = Spec::Aggregate { aggregate: Box::new(aggregate.clone()), output: step.schema.clone(), old };
        let node = self.operator(spec, vec![grouped]);
        Ok(match &aggregate.having {
            Some(having) => {
                let (predicate, schema) = (having.clone(), step.schema.clone());
                self.operator(Spec::Filter { predicate, schema, old: asked.old, place: "Having" }, vec![node])
            }
            None => node,
        })
    }

    fn join(&mut self, step: &Step, join: &Join, asked: Asked, inputs: &mut Vec<StageInput>) -> Result<Node> {
        match &join.shape {
            JoinShape::StreamTable => {
                let left = self.node(&join.left, Asked::NOTHING, inputs)?;
                let right = self.node(&join.right, Asked::NOTHING, inputs)?;
                let spec = Spec::StreamTable {
                    kind: join.kind,
                    right: join.right.schema.clone(),
                    right_windowed: join.right.windowed.is_some(),
                    output: step.schema.clone(),
                };
                Ok(self.operator(spec, vec![left, right]))
            }
            JoinShape::TableTable => {
                let left = self.node(&join.left, Asked::NOTHING, inputs)?;
                let right = self.node(&join.right, Asked::NOTHING, inputs)?;
                let spec = Spec::TableTable {
                    kind: join.kind,
                    left: join.left.schema.clone(),
                    right: join.right.schema.clone(),
                    windowed: step.windowed.is_some(),
                    output: step.schema.clone(),
                    old: asked.old,
                };
                Ok(self.operator(spec, vec![left, right]))
            }
            JoinShape::StreamStream { before_ms, after_ms, grace_ms } => {
                let left = self.node(&join.left, Asked::NOTHING, inputs)?;
                let right = self.node(&join.right, Asked::NOTHING, inputs)?;
                let spec = Spec::StreamStream {
                    kind: join.kind,
                    within: Within { before_ms: *before_ms, after_ms: *after_ms, grace_ms: *grace_ms },
                    left: join.left.schema.clone(),
                    right: join.right.schema.clone(),
                    windowed: step.windowed.is_some(),
                    output: step.schema.clone(),
                };
                Ok(self.operator(spec, vec![left, right]))
            }
            JoinShape::ForeignKey { left_expr } => self.foreign_key_join(step, join, left_expr, asked, inputs),
        }
    }

    /// Three stages: asks leave the left table's partitions for those of the right one, answers come back.
    fn foreign_key_join(
        &mut self,
        step: &Step,
        join: &Join,
        foreign_key: &Expr,
        asked: Asked,
        inputs: &mut Vec<StageInput>,
    ) -> Result<Node> {
        let travelling = Travelling::new(join, &foreign_key.ty, &step.schema);
        let (asks, answers) = (travelling.asks.clone(), travelling.answers.clone());
        let (left_key_format, right_key_format) = (key_format(&join.left)?, key_format(&join.right)?);
        let parts = Box::new(ForeignKeyJoin {
            kind: join.kind,
            left: join.left.schema.clone(),
            left_key_format: left_key_format.clone(),
            right: join.right.schema.clone(),
            travelling,
            output: step.schema.clone(),
        });
        let mut left_inputs = Vec::new();
        let left_input = self.node(&join.left, Asked::NOTHING, &mut left_inputs)?;
        let left = Spec::ForeignKeyLeft { foreign_key: foreign_key.clone(), join: parts.clone() };
        let left = self.operator(left, vec![left_input]);
        let output = StageOutput::Repartition { key_format: right_key_format };
        let left_stage = self.finish(&asks, Form::STREAM, left, left_inputs, output);

        let mut right_inputs = Vec::new();
        let asks = next_input(&mut right_inputs, left_stage);
        let right = self.node(&join.right, Asked::NOTHING, &mut right_inputs)?;
        let right = self.operator(Spec::ForeignKeyRight { join: parts.clone() }, vec![asks, right]);
        let output = StageOutput::Repartition { key_format: left_key_format };
        let right_stage = self.finish(&answers, Form::of(step), right, right_inputs, output);

        let answers = next_input(inputs, right_stage);
        let Asked { old, kept } = asked;
        Ok(self.operator(Spec::ForeignKeyResult { join: parts, old, kept }, vec![answers]))
    }

    fn operator(&mut self, spec: Spec, inputs: Vec<Node>) -> Node {
        let store = spec.is_stateful().then_some(self.next_store);
        self.next_store += u32::from(store.is_some());
        Node::Operator { store, spec: Box::new(spec), inputs }
    }

    fn finish(&mut self, schema: &Schema, form: Form, root: Node, inputs: Vec<StageInput>, output: StageOutput) -> u32 {
        let id = self.stages.len() as u32;
        let (schema, Form { table, windowed }) = (schema.clone(), form);
        self.stages.push(Stage { id, inputs, output, schema, table, windowed, root });
        id
    }
}

/// What a stage puts out.
#[derive(Clone, Copy)]
struct Form {
    table: bool,
    windowed: bool,
}

impl Form {
    const STREAM: Form = Form { table: false, windowed: false };

    fn of(step: &Step) -> Form {
        Form { table: step.table, windowed: step.windowed.is_some() }
    }
}

/// How the keys of a table's topic are written, by which it is partitioned.
fn key_format(table: &Step) -> Result<FormatSpec> {
    match table.scans()[..] {
        [scan] => Ok(scan.key_format.clone()),
        _ => Err(Error::internal("a side of a foreign-key join is one source")),
    }
}

fn next_input(inputs: &mut Vec<StageInput>, stage: u32) -> Node {
    inputs.push(StageInput::Stage(stage));
    Node::Input(inputs.len() - 1)
}

fn is_column(expr: &Expr, name: &str) -> bool {
    matches!(&expr.kind, ExprKind::Column(column) if column == name)
}

impl Stage {
    /// Operators in the order they feed each other, and where each input enters.
    pub(crate) fn wire(&self, settings: &OperatorSettings) -> Result<(Vec<Wired>, Vec<Option<(usize, InputId)>>)> {
        let mut operators = Vec::new();
        let mut entries = vec![None; self.inputs.len()];
        wire(&self.root, settings, &mut operators, &mut entries)?;
        Ok((operators, entries))
    }

    /// Gives the steps with state the stores they were assigned: step `n` the `n`th.
    pub(crate) fn use_stores(&mut self, stores: &[u32]) -> Result<()> {
        fn assign(node: &mut Node, stores: &[u32]) -> Result<()> {
            let Node::Operator { store, inputs, .. } = node else { return Ok(()) };
            if let Some(store) = store {
                let assigned = stores.get(*store as usize).copied();
                *store = assigned.ok_or_else(|| Error::internal(format!("step {store} was assigned no store")))?;
            }
            inputs.iter_mut().try_for_each(|input| assign(input, stores))
        }
        assign(&mut self.root, stores)
    }
}

/// A step with state, as the next form of its query may know it again.
pub(crate) struct StatefulStep {
    /// What a user calls it.
    pub name: String,
    /// All that its state depends on, as text: two steps of the same definition may take each other's state.
    pub definition: String,
    /// What a table's rows look like: those of a table that has had columns added at its end may be taken over, too.
    pub rows: Schema,
}

impl StatefulStep {
    /// Whether this step may go on with the state of `old`. Columns added are null in its rows, which pseudo-columns never
    /// are.
    pub fn continues(&self, old: &StatefulStep) -> bool {
        let is_pseudo = |column: &Column| RESERVED_COLUMNS.iter().any(|reserved| column.name.ends_with(reserved));
        self.definition == old.definition
            && self.rows.key == old.rows.key
            && self.rows.value.strip_prefix(&old.rows.value[..]).is_some_and(|added| !added.iter().any(is_pseudo))
    }
}

/// The steps with state in their order, which is that of [`Stage::use_stores`].
pub(crate) fn stateful_steps(stages: &[Stage]) -> Vec<StatefulStep> {
    fn collect(node: &Node, steps: &mut Vec<StatefulStep>) {
        let Node::Operator { store, spec, inputs } = node else { return };
        inputs.iter().for_each(|input| collect(input, steps));
        if store.is_some() {
            steps.push(spec.stateful_step());
        }
    }
    let mut steps = Vec::new();
    stages.iter().for_each(|stage| collect(&stage.root, &mut steps));
    steps
}

/// Where an operator's rows come from.
enum Below {
    Operator(usize),
    Input(InputId),
}

/// Adds the operators of a subtree; returns its topmost one, or the input it is.
fn wire(
    node: &Node,
    settings: &OperatorSettings,
    operators: &mut Vec<Wired>,
    entries: &mut [Option<(usize, InputId)>],
) -> Result<Below> {
    let (store, spec, inputs) = match node {
        Node::Input(input) => return Ok(Below::Input(*input)),
        Node::Operator { store, spec, inputs } => (*store, spec, inputs),
    };
    let mut below = Vec::with_capacity(inputs.len());
    for input in inputs {
        below.push(wire(input, settings, operators, entries)?);
    }
    let at = operators.len();
    for (port, source) in below.iter().enumerate() {
        match source {
            Below::Operator(operator) => operators[*operator].to = Some((at, port)),
            Below::Input(input) => entries[*input] = Some((at, port)),
        }
    }
    operators.push(Wired {
        store,
        operator: spec.build(settings)?,
        to: None,
        from: match below.first() {
            Some(Below::Operator(operator)) => Some(*operator),
            _ => None,
        },
    });
    Ok(Below::Operator(at))
}

impl Spec {
    fn is_stateful(&self) -> bool {
        match self {
            Spec::SourceTable { old, kept, .. } => *old || *kept,
            Spec::Aggregate { .. }
            | Spec::StreamTable { .. }
            | Spec::TableTable { .. }
            | Spec::StreamStream { .. }
            | Spec::ForeignKeyLeft { .. }
            | Spec::ForeignKeyRight { .. }
            | Spec::ForeignKeyResult { .. } => true,
            Spec::Filter { .. }
            | Spec::Project { .. }
            | Spec::FlatMap { .. }
            | Spec::Rekey { .. }
            | Spec::Group { .. }
            | Spec::Limit(_) => false,
        }
    }

    fn stateful_step(&self) -> StatefulStep {
        let columns =
            |schema: &Schema| schema.columns().map(|column| column.name.as_str()).collect::<Vec<_>>().join(", ");
        let join = |what: &str, kind: &JoinKind, detail: serde_json::Value, sides: &[&Schema]| StatefulStep {
            name: format!("the {what} join"),
            definition: serde_json::json!([what, kind, detail, sides]).to_string(),
            rows: Schema::default(),
        };
        match self {
            Spec::SourceTable { source, schema, windowed, .. } => StatefulStep {
                name: format!("table {source} with columns {}", columns(schema)),
                definition: serde_json::json!(["table", source, windowed]).to_string(),
                rows: schema.clone(),
            },
            Spec::Aggregate { aggregate, .. } => {
                // Not the names of outputs: state knows them by position.
                let calls: Vec<_> =
                    aggregate.aggregates.iter().map(|c| (&c.function, &c.args, &c.constants, &c.ty)).collect();
                let key: Vec<_> = aggregate.group.iter().map(|g| &g.expr).collect();
                let sources: Vec<_> = aggregate.input.scans().iter().map(|scan| scan.topic.as_str()).collect();
                let detail = (&aggregate.window, aggregate.emit_final, aggregate.input.table);
                StatefulStep {
                    name: format!("GROUP BY {}", columns(&Schema::new(grouped_schema(aggregate).key, vec![]))),
                    definition: serde_json::json!(["aggregate", sources, key, calls, detail]).to_string(),
                    rows: Schema::default(),
                }
            }
            Spec::StreamTable { kind, right, right_windowed, .. } => {
                join("stream-table", kind, serde_json::json!(right_windowed), &[right])
            }
            Spec::TableTable { kind, left, right, windowed, .. } => {
                join("table-table", kind, serde_json::json!(windowed), &[left, right])
            }
            Spec::StreamStream { kind, within, left, right, windowed, .. } => {
                let within = (within.before_ms, within.after_ms, within.grace_ms, windowed);
                join("stream-stream", kind, serde_json::json!(within), &[left, right])
            }
            Spec::ForeignKeyLeft { foreign_key, join: parts } => {
                join("foreign-key", &parts.kind, serde_json::json!(["left", foreign_key]), &[&parts.left])
            }
            Spec::ForeignKeyRight { join: parts } => {
                let format = serde_json::json!(["right", parts.left_key_format]);
                join("foreign-key", &parts.kind, format, &[&parts.left, &parts.right])
            }
            Spec::ForeignKeyResult { join: parts, .. } => {
                join("foreign-key", &parts.kind, serde_json::json!("result"), &[&parts.output])
            }
            Spec::Filter { .. }
            | Spec::Project { .. }
            | Spec::FlatMap { .. }
            | Spec::Rekey { .. }
            | Spec::Group { .. }
            | Spec::Limit(_) => unreachable!("the step has no state"),
        }
    }

    fn build(&self, settings: &OperatorSettings) -> Result<Box<dyn Operator>> {
        Ok(match self {
            Spec::SourceTable { schema, windowed, old, kept, .. } => {
                let table = Box::new(SourceTable::new(schema, *windowed, *old, *kept)?);
                // Without old rows nobody takes one back: a change may as well go on at once.
                if *old { Compacted::around(table, schema, &settings.values) } else { table }
            }
            Spec::Filter { predicate, schema, old, place } => Box::new(Filter::new(predicate, schema, *old, place)?),
            Spec::Project { key, value, input, output, old } => {
                Box::new(Project::new(key, value, input, output, *old)?)
            }
            Spec::FlatMap { functions, input, output } => Box::new(FlatMap::new(functions, input, output)?),
            Spec::Rekey { key, input, output } => Box::new(Rekey::new(key, input, output)?),
            Spec::Group { aggregate, input } => Box::new(Group::new(aggregate, input)?),
            Spec::Aggregate { aggregate, output, old } => {
                let table = aggregate_operator(aggregate, output, *old, settings)?;
                // EMIT FINAL sends one row per window anyway.
                if aggregate.emit_final { table } else { Compacted::around(table, output, &settings.values) }
            }
            Spec::StreamTable { kind, right, right_windowed, output } => {
                Box::new(StreamTableJoin::new(*kind, right, *right_windowed, output)?)
            }
            Spec::TableTable { kind, left, right, windowed, output, old } => {
                Box::new(TableTableJoin::new(*kind, left, right, *windowed, output, *old)?)
            }
            Spec::StreamStream { kind, within, left, right, windowed, output } => {
                Box::new(StreamStreamJoin::new(*kind, *within, left, right, *windowed, output)?)
            }
            Spec::ForeignKeyLeft { foreign_key, join } => {
                Box::new(ForeignKeyLeft::new(foreign_key, join.kind, &join.left, &join.travelling)?)
            }
            Spec::ForeignKeyRight { join } => Box::new(ForeignKeyRight::new(
                join.kind,
                &join.left,
                &join.left_key_format,
                &join.right,
                &join.travelling,
            )?),
            Spec::ForeignKeyResult { join, old, kept } => {
                Box::new(ForeignKeyResult::new(&join.travelling, &join.output, *old, *kept)?)
            }
            Spec::Limit(rows) => Box::new(Limit::new(*rows)),
        })
    }
}

fn aggregate_operator(
    aggregate: &Aggregate,
    output: &Schema,
    old: bool,
    settings: &OperatorSettings,
) -> Result<Box<dyn Operator>> {
    Ok(match aggregate.window {
        None => Box::new(AggregateRows::new(aggregate, output, old, settings)?),
        Some(spec @ WindowSpec { kind: WindowSpecKind::Session { .. }, .. }) => {
            Box::new(SessionAggregate::new(aggregate, spec, output, old, settings)?)
        }
        Some(spec) => Box::new(WindowAggregate::new(aggregate, spec, output, old, settings)?),
    })
}
