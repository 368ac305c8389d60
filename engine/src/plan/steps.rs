//! A query's plan: a tree of steps from the sources to the sink.
//!
//! The catalog stores it (as JSON, with [`PLAN_FORMAT`]); a restart lowers the stored plan again and never re-plans the
//! SQL. Names inside a plan are unique per step: a join's input columns are `ALIAS_COL`.
//!
//! ```text
//! CREATE TABLE T AS SELECT K, COUNT(*) AS N FROM S WHERE V > 0 GROUP BY K;
//!
//! Project   key [K]  value [N = KSQL_AGG_VARIABLE_0]
//! └ Aggregate  group [K]  COUNT()
//!   └ Filter  V > 0
//!     └ Scan  S
//! ```
//!
//! Key and value columns of every step are in its schema; `ROWTIME` and its kin are ordinary value columns of the scan
//! that names them.

use serde::{Deserialize, Serialize};

use crate::format::FormatSpec;
use crate::plan::expr::Expr;
use crate::schema::Schema;
use crate::types::SqlType;

/// Raised whenever the meaning of stored plans changes.
pub const PLAN_FORMAT: u32 = 1;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub format: u32,
    pub root: Step,
    /// Number of rows after which a push query ends.
    pub limit: Option<u64>,
    /// Where a persistent query writes.
    pub sink: Option<Sink>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub kind: StepKind,
    /// What the step's rows look like.
    pub schema: Schema,
    /// Whether rows are facts or replace the row of their key.
    pub table: bool,
    /// Whether rows carry a window beside their key.
    pub windowed: Option<WindowInfo>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum StepKind {
    Scan(Scan),
    Filter {
        input: Box<Step>,
        predicate: Expr,
    },
    Project {
        input: Box<Step>,
        key: Vec<NamedExpr>,
        value: Vec<NamedExpr>,
    },
    FlatMap {
        input: Box<Step>,
        functions: Vec<TableFunctionCall>,
    },
    /// New key from expressions over the input; the input's columns all become values of the result, beside those named
    /// in `key`. Cuts a stage (rows move to the partition of their new key) unless the key did not change.
    Rekey {
        input: Box<Step>,
        key: Vec<NamedExpr>,
        format: FormatSpec,
    },
    Aggregate(Aggregate),
    Join(Join),
}

/// Reads a topic as a source declared it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Scan {
    /// Name of the stream or table.
    pub source: String,
    pub topic: String,
    pub key_format: FormatSpec,
    pub value_format: FormatSpec,
    /// All columns as declared (header columns excluded), under their declared names.
    pub declared: Schema,
    /// The scan's output columns in order: `(output name, what it is)`. Key columns first, as `Step::schema` says.
    pub columns: Vec<(String, ScanColumn)>,
    pub timestamp: Option<TimestampColumn>,
    /// The topic's keys carry a window.
    pub windowed: Option<WindowInfo>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ScanColumn {
    /// A declared key or value column, by name.
    Declared(String),
    RowTime,
    RowPartition,
    RowOffset,
    WindowStart,
    WindowEnd,
    /// All headers, `ARRAY<STRUCT<KEY STRING, VALUE BYTES>>`.
    Headers,
    /// The last header of that name, BYTES.
    Header(String),
}

/// Takes ROWTIME from a column instead of the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TimestampColumn {
    pub column: String,
    /// Java `DateTimeFormatter` pattern; only for STRING columns.
    pub format: Option<String>,
    /// `ksql.timestamp.throw.on.invalid`: an invalid time stops the query instead of setting the record aside.
    pub throw_on_invalid: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowInfo {
    pub kind: WindowType,
    /// None for sessions.
    pub size_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WindowType {
    Tumbling,
    Hopping,
    Session,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NamedExpr {
    pub name: String,
    pub expr: Expr,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableFunctionCall {
    pub function: String,
    pub args: Vec<Expr>,
    /// Name of the result column, appended to the input's value columns.
    pub output: String,
    pub ty: SqlType,
}

/// Output schema: key = the group columns, value = the aggregates' outputs (then `WINDOWSTART`, `WINDOWEND` if named).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Aggregate {
    pub input: Box<Step>,
    /// Group expressions over the input, named as the result's key columns.
    pub group: Vec<NamedExpr>,
    /// Whether the group is exactly the input's key, so that no repartition is needed.
    pub on_key: bool,
    /// How key bytes of the repartition topic are made (decides the partition).
    pub key_format: FormatSpec,
    pub window: Option<WindowSpec>,
    /// Input columns that are carried beside the aggregates (value of the last row), needed by expressions over group
    /// columns only; usually empty.
    pub aggregates: Vec<AggregateCall>,
    /// `WINDOWSTART`/`WINDOWEND` become value columns of these names.
    pub window_start: Option<String>,
    pub window_end: Option<String>,
    /// Over the output columns.
    pub having: Option<Expr>,
    pub emit_final: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AggregateCall {
    /// Name in the registry, upper case.
    pub function: String,
    /// Column arguments over the input.
    pub args: Vec<Expr>,
    /// Constant arguments (k, n, ignoreNulls …).
    pub constants: Vec<crate::plan::expr::Value>,
    /// Name of the output column.
    pub output: String,
    pub ty: SqlType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowSpec {
    pub kind: WindowSpecKind,
    pub grace_ms: i64,
    pub retention_ms: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum WindowSpecKind {
    Tumbling { size_ms: i64 },
    Hopping { size_ms: i64, advance_ms: i64 },
    Session { gap_ms: i64 },
}

/// Both inputs are keyed by the join key already (a `Rekey` below does that). Output schema: `key`, then the left's
/// value columns, then the right's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Join {
    pub left: Box<Step>,
    pub right: Box<Step>,
    pub kind: JoinKind,
    pub shape: JoinShape,
    /// Name of the result's key column.
    pub key: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum JoinShape {
    StreamTable,
    TableTable,
    StreamStream {
        before_ms: i64,
        after_ms: i64,
        grace_ms: Option<i64>,
    },
    /// Left expression over the left's columns = the right's primary key.
    ForeignKey {
        left_expr: Expr,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sink {
    /// Name of the stream or table written to.
    pub name: String,
    pub topic: String,
    pub key_format: FormatSpec,
    pub value_format: FormatSpec,
    /// ROWTIME of written records comes from this column of the result.
    pub timestamp: Option<TimestampColumn>,
    /// Rows are computed, counted and dropped: for measuring.
    pub discard: bool,
}

impl Step {
    /// Direct inputs, left first.
    pub fn inputs(&self) -> Vec<&Step> {
        match &self.kind {
            StepKind::Scan(_) => vec![],
            StepKind::Filter { input, .. }
            | StepKind::Project { input, .. }
            | StepKind::FlatMap { input, .. }
            | StepKind::Rekey { input, .. } => vec![input],
            StepKind::Aggregate(aggregate) => vec![&aggregate.input],
            StepKind::Join(join) => vec![&join.left, &join.right],
        }
    }

    /// All scans below, left to right.
    pub fn scans(&self) -> Vec<&Scan> {
        if let StepKind::Scan(scan) = &self.kind {
            return vec![scan];
        }
        self.inputs().into_iter().flat_map(Step::scans).collect()
    }
}
