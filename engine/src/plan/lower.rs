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
//! Steps are numbered in the order they are built, inputs first, through all stages; state belongs to a step's number.

use super::expr::{Expr, ExprKind};
use super::steps::{Aggregate, Join, JoinKind, JoinShape, NamedExpr, Plan, Scan, Step, StepKind, TableFunctionCall};
use super::steps::{WindowSpec, WindowSpecKind};
use crate::error::{Error, Result};
use crate::format::FormatSpec;
use crate::ops::aggregate::AggregateRows;
use crate::ops::compact::Compacted;
use crate::ops::filter::Filter;
use crate::ops::flat_map::FlatMap;
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
use crate::schema::Schema;

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
    Operator { step: u32, spec: Box<Spec>, inputs: Vec<Node> },
}

/// Everything an operator is built from.
enum Spec {
    SourceTable { schema: Schema, windowed: bool, old: bool, kept: bool },
    Filter { predicate: Expr, schema: Schema, old: bool, place: &'static str },
    Project { key: Vec<NamedExpr>, value: Vec<NamedExpr>, input: Schema, output: Schema, old: bool },
    FlatMap { functions: Vec<TableFunctionCall>, input: Schema, output: Schema },
    Rekey { key: Vec<NamedExpr>, input: Schema, output: Schema },
    Group { aggregate: Box<Aggregate>, input: Schema },
    Aggregate { aggregate: Box<Aggregate>, output: Schema, old: bool },
    StreamTable { kind: JoinKind, right: Schema, right_windowed: bool, output: Schema },
    TableTable { kind: JoinKind, left: Schema, right: Schema, windowed: bool, output: Schema, old: bool },
    StreamStream { kind: JoinKind, within: Within, left: Schema, right: Schema, windowed: bool, output: Schema },
    Limit(u64),
}

/// Cuts a plan into stages; a shape that cannot run yet is refused by name.
pub fn lower(plan: &Plan) -> Result<Vec<Stage>> {
    let mut lowering = Lowering { stages: Vec::new(), next_step: 0 };
    let mut inputs = Vec::new();
    // A plan that is a scan and nothing else keeps a source table for pulls.
    let kept = plan.sink.is_some() || matches!(plan.root.kind, StepKind::Scan(_));
    let mut root = lowering.node(&plan.root, Asked { old: false, kept }, &mut inputs)?;
    if let Some(limit) = plan.limit {
        root = lowering.operator(Spec::Limit(limit), vec![root]);
    }
    lowering.finish(&plan.root.schema, &plan.root, root, inputs, StageOutput::Result);
    Ok(lowering.stages)
}

struct Lowering {
    stages: Vec<Stage>,
    next_step: u32,
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
        let stage = self.finish(&step.schema, step, node, below_inputs, output);
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
            let stage = self.finish(&grouped_schema(aggregate), input, node, below_inputs, output);
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
            JoinShape::ForeignKey { .. } => Err(not_built("a foreign-key join")),
        }
    }

    fn operator(&mut self, spec: Spec, inputs: Vec<Node>) -> Node {
        let step = self.next_step;
        self.next_step += 1;
        Node::Operator { step, spec: Box::new(spec), inputs }
    }

    fn finish(
        &mut self,
        schema: &Schema,
        step: &Step,
        root: Node,
        inputs: Vec<StageInput>,
        output: StageOutput,
    ) -> u32 {
        let id = self.stages.len() as u32;
        let (schema, table, windowed) = (schema.clone(), step.table, step.windowed.is_some());
        self.stages.push(Stage { id, inputs, output, schema, table, windowed, root });
        id
    }
}

fn next_input(inputs: &mut Vec<StageInput>, stage: u32) -> Node {
    inputs.push(StageInput::Stage(stage));
    Node::Input(inputs.len() - 1)
}

fn is_column(expr: &Expr, name: &str) -> bool {
    matches!(&expr.kind, ExprKind::Column(column) if column == name)
}

fn not_built(what: &str) -> Error {
    Error::statement(format!("{what} is not built yet"))
}

impl Stage {
    /// Operators in the order they feed each other, and where each input enters.
    pub(crate) fn wire(&self, settings: &OperatorSettings) -> Result<(Vec<Wired>, Vec<Option<(usize, InputId)>>)> {
        let mut operators = Vec::new();
        let mut entries = vec![None; self.inputs.len()];
        wire(&self.root, settings, &mut operators, &mut entries)?;
        Ok((operators, entries))
    }
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
    let (step, spec, inputs) = match node {
        Node::Input(input) => return Ok(Below::Input(*input)),
        Node::Operator { step, spec, inputs } => (*step, spec, inputs),
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
        step,
        operator: spec.build(settings)?,
        stateful: spec.is_stateful(),
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
            Spec::Aggregate { .. } | Spec::StreamTable { .. } | Spec::TableTable { .. } | Spec::StreamStream { .. } => {
                true
            }
            Spec::Filter { .. }
            | Spec::Project { .. }
            | Spec::FlatMap { .. }
            | Spec::Rekey { .. }
            | Spec::Group { .. }
            | Spec::Limit(_) => false,
        }
    }

    fn build(&self, settings: &OperatorSettings) -> Result<Box<dyn Operator>> {
        Ok(match self {
            Spec::SourceTable { schema, windowed, old, kept } => {
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
