//! Which state the new form of a query takes over.
//!
//! A step with state keeps it in a *store*, by a number that the query gives out once. `CREATE OR REPLACE` lowers the new
//! plan and matches steps by their definition (key, window, aggregates; sides of a join; columns of a table, to which some
//! may have been added): a matched step goes on with the store of the old one, any other gets a new number and starts empty.
//!
//! ```text
//! old   table T → store 0    GROUP BY K: COUNT(*) → store 1
//! new   GROUP BY K: COUNT(*) → store 1             (a filter below it does not matter)
//! newer GROUP BY K: COUNT(*), MAX(V) → store 2     starts empty
//! ```

use serde::{Deserialize, Serialize};

use super::lower::{lower, stateful_steps};
use super::steps::Plan;
use crate::error::Result;

/// The stores of a query's steps.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Stores {
    /// Store of each step with state, in the order the plan is lowered.
    pub of_steps: Vec<u32>,
    /// The next number: none is given out twice, or a step could find what another left.
    next: u32,
}

impl Stores {
    /// The stores of a query that begins.
    pub fn new(plan: &Plan) -> Result<Stores> {
        let next = stateful_steps(&lower(plan)?).len() as u32;
        Ok(Stores { of_steps: (0..next).collect(), next })
    }

    /// The stores of `new`, which goes on where `old` with these stores is, and the names of steps that start empty.
    pub fn adopted(&self, old: &Plan, new: &Plan) -> Result<(Stores, Vec<String>)> {
        let before = stateful_steps(&lower(old)?);
        let mut free: Vec<_> = before.into_iter().zip(self.of_steps.iter().copied()).collect();
        let mut stores = Stores { of_steps: Vec::new(), next: self.next };
        let mut empty = Vec::new();
        for step in stateful_steps(&lower(new)?) {
            match free.iter().position(|(old, _)| step.continues(old)) {
                Some(found) => stores.of_steps.push(free.remove(found).1),
                None => {
                    stores.of_steps.push(stores.next);
                    stores.next += 1;
                    empty.push(step.name);
                }
            }
        }
        Ok((stores, empty))
    }
}
