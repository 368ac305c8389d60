//! One plan path: from a parsed statement to something that runs.
//!
//! | statement | planner | becomes |
//! |---|---|---|
//! | `CREATE STREAM/TABLE` with columns | [`Planner::create_source`] | a [`Source`] and perhaps a topic |
//! | `CREATE … AS SELECT` | [`Planner::create_as`] | a [`QueryPlan`] with a sink |
//! | `INSERT INTO … SELECT` | [`Planner::insert_select`] | a [`QueryPlan`] into an existing source |
//! | `SELECT … EMIT` | [`Planner::push`] | a [`QueryPlan`] without sink |
//! | `SELECT` in ksqlDB's pull grammar | [`Planner::pull`] | a [`PullPlan`] |
//! | `INSERT INTO … VALUES` | [`Planner::insert_values`] | typed constant expressions per column |

pub mod adopt;
pub mod analyze;
pub mod batch;
mod batch_arithmetic;
mod batch_calls;
pub mod compile;
pub mod expr;
pub mod lower;
pub mod steps;

use crate::catalog::{Catalog, Source};
use crate::config::Settings;
use crate::plan::expr::Expr;
use crate::plan::steps::Plan;
use crate::schema::Column;

/// Everything planning may look at. Planning changes nothing.
pub struct Planner<'a> {
    pub catalog: &'a Catalog,
    pub settings: &'a Settings,
    /// Partition count of an existing topic.
    pub topic_partitions: &'a dyn Fn(&str) -> Option<u32>,
}

/// A source to be created, and its topic if it does not exist yet.
#[derive(Debug, Clone, PartialEq)]
pub struct SourcePlan {
    pub source: Source,
    pub create_topic: Option<TopicPlan>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct TopicPlan {
    pub name: String,
    pub partitions: u32,
    pub retention_ms: Option<i64>,
}

/// A continuous query.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryPlan {
    pub plan: Plan,
    /// Names of the sources read, left to right.
    pub sources: Vec<String>,
    /// The stream or table it writes; its topic if that is new.
    pub sink: Option<SourcePlan>,
    /// Columns of the result as a client sees them, in SELECT order (push queries).
    pub columns: Vec<Column>,
}

/// A bounded query over one source in ksqlDB's pull grammar.
#[derive(Debug, Clone, PartialEq)]
pub struct PullPlan {
    pub source: String,
    /// Whole keys asked for; None = scan.
    pub keys: Option<Vec<Vec<crate::plan::expr::Value>>>,
    pub window_start: Option<(i64, i64)>,
    pub window_end: Option<(i64, i64)>,
    /// Over the source's columns (and ROWTIME, WINDOWSTART, WINDOWEND …); applied to every row found.
    pub predicate: Option<Expr>,
    /// Result columns in SELECT order; the flag marks key columns.
    pub select: Vec<(Column, Expr, bool)>,
    pub limit: Option<u64>,
}

/// `INSERT INTO … VALUES`: for each row the values of key, value columns in the target's order (missing = null), and
/// ROWTIME if given.
#[derive(Debug, Clone, PartialEq)]
pub struct InsertPlan {
    pub target: String,
    pub rows: Vec<InsertRow>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct InsertRow {
    /// Constant expressions of exactly the column types.
    pub values: Vec<Expr>,
    pub time: Option<Expr>,
    /// No key column was given.
    pub null_key: bool,
}
