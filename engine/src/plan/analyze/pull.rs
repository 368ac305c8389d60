//! Pull queries: bounded lookups in ksqlDB's own grammar.

use crate::error::{Error, Result};
use crate::plan::{Planner, PullPlan};
use crate::sql::ast;

impl Planner<'_> {
    pub fn pull(&self, _query: &ast::Query) -> Result<PullPlan> {
        Err(Error::internal("pull queries are not planned yet"))
    }
}
