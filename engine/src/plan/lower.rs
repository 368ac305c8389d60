//! Plan → stages → pipelines of operators.
//!
//! A plan is cut at every step that moves rows to another partition (`Rekey`, `Aggregate` off the key). Between two cuts
//! lies a stage; a task runs one stage for one partition.

use super::steps::{Plan, Scan};
use crate::error::{Error, Result};
use crate::format::FormatSpec;
use crate::ops::{InputId, Lookup, OpContext};
use crate::rows::Rows;
use crate::schema::Schema;
use crate::state::StateChanges;

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
}

pub enum StageInput {
    /// A source's topic, decoded by the runtime as the scan says.
    Source(Box<Scan>, /** a table's topic */ bool),
    /// Rows of an earlier stage, re-keyed.
    Stage(u32),
}

pub enum StageOutput {
    /// The plan's sink or the push query's client.
    Result,
    /// The next stage: the runtime sends each row to the partition of its key bytes in this format.
    Repartition { key_format: FormatSpec },
}

pub fn lower(_plan: &Plan) -> Result<Vec<Stage>> {
    Err(Error::internal("plans are not lowered yet"))
}

/// Settings operators need: limits of aggregates, emission policy.
#[derive(Debug, Clone, Default)]
pub struct OperatorSettings {
    pub values: std::collections::BTreeMap<String, String>,
}

/// The operators of one stage for one partition, wired from its inputs to its output.
pub struct Pipeline {
    _private: (),
}

impl Pipeline {
    pub fn build(_stage: &Stage, _settings: &OperatorSettings) -> Result<Pipeline> {
        Err(Error::internal("plans are not lowered yet"))
    }

    /// Sends a whole run through the operators (driving `Then::Advance` and `Then::Yield`), appending what leaves the
    /// stage, in order.
    pub fn push(
        &mut self,
        _input: InputId,
        _rows: &Rows,
        _ctx: &mut OpContext<'_>,
        _out: &mut Vec<Rows>,
    ) -> Result<()> {
        Err(Error::internal("plans are not lowered yet"))
    }

    /// State rows changed since the last call, by step number.
    pub fn take_changes(&mut self) -> Result<Vec<(u32, StateChanges)>> {
        Ok(Vec::new())
    }

    /// Steps that hold state.
    pub fn stateful_steps(&self) -> Vec<u32> {
        Vec::new()
    }

    pub fn apply(&mut self, _step: u32, _changes: &StateChanges) -> Result<()> {
        Ok(())
    }

    pub fn snapshot(&self) -> Result<Vec<(u32, StateChanges)>> {
        Ok(Vec::new())
    }

    /// The table this stage maintains, as its output rows: the topmost stateful operator's rows through the stateless
    /// ones above it. None if the stage holds no table.
    pub fn lookup(&mut self, _lookup: &Lookup) -> Result<Option<Vec<Rows>>> {
        Ok(None)
    }

    pub fn state_size(&self) -> (u64, u64) {
        (0, 0)
    }
}
