//! State of operators, and what a group records of it.
//!
//! An operator keeps its state in whatever typed form is fastest. Towards the log it speaks one language: rows keyed by
//! bytes. A change is the last state row per changed key; a snapshot is the same for all keys. So recovery is data only:
//! the newest snapshot, then the changes of the groups after it, applied in order.
//!
//! ```text
//! key (Binary) | deleted | payload columns …
//! 0x61         | false   | 3 | 12.5
//! 0x62         | true    | null | null
//! ```

use arrow::array::RecordBatch;

pub mod snapshot;

/// Changes of one store in one group, or a whole snapshot of it.
#[derive(Debug, Clone, Default)]
pub struct StateChanges {
    pub tables: Vec<StateTable>,
}

/// Changed rows of one of a store's tables.
#[derive(Debug, Clone)]
pub struct StateTable {
    /// Which of the operator's tables: each operator documents its own.
    pub table: u32,
    /// First column `key` Binary, second `deleted` Boolean, then the payload. A key occurs once.
    pub rows: RecordBatch,
}

impl StateChanges {
    pub fn is_empty(&self) -> bool {
        self.tables.iter().all(|t| t.rows.num_rows() == 0)
    }
}
