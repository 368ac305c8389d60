//! Aggregate functions: running, column at a time.

pub mod extremes;
pub mod fold;
pub mod numeric;
pub mod slots;

use arrow::array::{ArrayRef, UInt32Array};
use arrow::buffer::BooleanBuffer;

use super::{ArgType, FunctionInfo};
use crate::error::{Error, Result, RowError};
use crate::plan::expr::Value;
use crate::types::SqlType;

/// A resolved aggregate call.
#[derive(Debug, Clone, PartialEq)]
pub struct ResolvedAggregate {
    /// The type each column argument must be cast to.
    pub args: Vec<SqlType>,
    /// How many of the call's last arguments are constants.
    pub constants: usize,
    pub returns: SqlType,
    /// Whether it can take back a row, as a table source needs.
    pub undo: bool,
}

/// One SQL aggregate over all groups of a task; slots are dense group numbers.
pub trait Aggregator: Send {
    /// Rows in row order; results per row (old ones too if asked), errors per row.
    fn update(&mut self, groups: &[u32], args: &Args<'_>, emit: Emit<'_>) -> Result<Updated>;
    /// Session windows: folds slot `from` into slot `into`.
    fn merge(&mut self, into: u32, from: u32) -> Result<()>;
    /// Current results of these slots.
    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef>;
    /// What a snapshot or state change keeps, as `state_types` says.
    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>>;
    fn load(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()>;
    fn clear(&mut self, slots: &[u32]);
    fn state_types(&self) -> Vec<SqlType>;
}

pub struct Args<'a> {
    /// Arguments of the new rows, one array per column argument.
    pub values: &'a [ArrayRef],
    /// Set bit = the row is added.
    pub add: &'a BooleanBuffer,
    /// Arguments of the rows taken back before the add, and which rows have one.
    pub undo: Option<(&'a [ArrayRef], &'a BooleanBuffer)>,
}

pub struct Emit<'a> {
    pub rows: EmitRows<'a>,
    pub old: bool,
}

pub enum EmitRows<'a> {
    EveryRow,
    These(&'a UInt32Array),
    Nothing,
}

pub struct Updated {
    /// Result after each emitted row.
    pub new: Option<ArrayRef>,
    /// Result before each emitted row, if asked for.
    pub old: Option<ArrayRef>,
    pub errors: Vec<RowError>,
}

/// Whether there is an aggregate of that name, in any case.
pub fn exists(name: &str) -> bool {
    NAMES.contains(&name.to_ascii_uppercase().as_str())
}

const NAMES: &[&str] = &["AVG", "COUNT", "MAX", "MIN", "STDDEV_SAMP", "STDDEV_SAMPLE", "SUM"];

pub fn list() -> Vec<FunctionInfo> {
    Vec::new()
}

/// Picks the overload. `args` are all arguments as written; constants come last and must be literals, which
/// `plan::analyze` checks with the count returned.
pub fn resolve(name: &str, args: &[ArgType]) -> Result<ResolvedAggregate> {
    let upper = name.to_ascii_uppercase();
    let Some(ArgType::Sql(ty)) = args.first() else {
        return match upper.as_str() {
            "COUNT" => Ok(ResolvedAggregate { args: vec![], constants: 0, returns: SqlType::Bigint, undo: true }),
            _ => Err(Error::statement(format!("Can't find any functions with the name '{name}'"))),
        };
    };
    let (arg, returns, undo) = match upper.as_str() {
        "COUNT" => (ty.clone(), SqlType::Bigint, true),
        "SUM" if ty.is_numeric() => (ty.clone(), ty.clone(), true),
        "AVG" | "STDDEV_SAMP" | "STDDEV_SAMPLE" if ty.is_numeric() => match ty {
            SqlType::Decimal { .. } => (SqlType::Double, SqlType::Double, true),
            other => (other.clone(), SqlType::Double, true),
        },
        "MIN" | "MAX" => (ty.clone(), ty.clone(), false),
        _ => return Err(Error::statement(format!("Can't find any functions with the name '{name}'"))),
    };
    Ok(ResolvedAggregate { args: vec![arg], constants: 0, returns, undo })
}

/// `limits`: settings by name (`ksql.functions.collect_list.limit` …).
pub fn create(
    name: &str,
    args: &[SqlType],
    _constants: &[Value],
    _limits: &std::collections::BTreeMap<String, String>,
) -> Result<Box<dyn Aggregator>> {
    let upper = name.to_ascii_uppercase();
    let argument = || args.first().ok_or_else(|| Error::internal(format!("{upper} was given no argument")));
    match upper.as_str() {
        "COUNT" => Ok(Box::new(numeric::Count::default())),
        "SUM" => numeric::sum(argument()?),
        "AVG" => numeric::average(argument()?),
        "MIN" => extremes::extreme(extremes::Extreme::Least, argument()?),
        "MAX" => extremes::extreme(extremes::Extreme::Greatest, argument()?),
        "STDDEV_SAMP" => numeric::variance(argument()?, false),
        "STDDEV_SAMPLE" => numeric::variance(argument()?, true),
        _ => Err(Error::statement(format!("Can't find any functions with the name '{name}'"))),
    }
}
