//! Aggregate functions: running, column at a time.
//!
//! A function is written once, as an [`Aggregator`] over dense group numbers: continuous queries ask it for a result per
//! row, batch SQL ([`datafusion`]) for one at the end, so the two cannot disagree.
//!
//! | file | functions |
//! |---|---|
//! | [`numeric`] | COUNT, SUM, AVG, STDDEV_SAMP, STDDEV_SAMPLE |
//! | [`extremes`] | MIN, MAX |
//! | [`lists`], [`offset`] | COLLECT_LIST, COLLECT_SET, TOPK, TOPKDISTINCT, EARLIEST_BY_OFFSET, LATEST_BY_OFFSET |
//! | [`tallies`] | HISTOGRAM, ATTR |
//! | [`sketch`] | COUNT_DISTINCT |
//! | [`correlation`], [`sum_list`] | CORRELATION, SUM_LIST |

pub mod cells;
pub mod correlation;
pub mod datafusion;
pub mod extremes;
pub mod fold;
pub mod lists;
pub mod numeric;
pub mod offset;
pub mod registry;
pub mod sketch;
pub mod slots;
pub mod sum_list;
pub mod tallies;
mod test_only;

pub use self::datafusion::datafusion_udafs;
pub use self::registry::{create, exists, has_plain_state, list, names, resolve};

use arrow::array::{ArrayRef, UInt32Array};
use arrow::buffer::BooleanBuffer;

use crate::error::{Result, RowError};
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
    /// Memory of all groups' states; asked after every run, so it is kept, not counted.
    fn bytes(&self) -> usize;
}

pub struct Args<'a> {
    /// Arguments of the new rows, one array per column argument.
    pub values: &'a [ArrayRef],
    /// Set bit = the row is added.
    pub add: &'a BooleanBuffer,
    /// Arguments of the rows taken back before the add, and which rows have one.
    pub undo: Option<(&'a [ArrayRef], &'a BooleanBuffer)>,
}

#[derive(Clone, Copy)]
pub struct Emit<'a> {
    pub rows: EmitRows<'a>,
    pub old: bool,
}

#[derive(Clone, Copy)]
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
