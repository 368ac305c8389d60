//! Whoever needs the queries to be further than they are: read-your-writes, step mode, and CREATE OR REPLACE.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::query::QueryState;
use super::{RunningQuery, Runtime};
use crate::clock::Stopwatch;
use crate::error::{Error, Result};
use crate::log::{Offset, ReadLevel, TopicPartition};

impl Runtime {
    /// Waits until any query moves, at most `timeout`.
    pub fn wait_for_progress(&self, timeout: Duration) {
        self.progress.wait(timeout);
    }

    /// Waits until the queries have consumed what their inputs hold now, one after another (a later one reads what an
    /// earlier one writes). The error names the query that lags.
    pub fn wait_caught_up(&self, queries: &[String], timeout: Duration) -> Result<()> {
        let watch = Stopwatch::start();
        for id in queries {
            let Some(query) = self.queries.read().get(id).cloned() else { continue };
            let mut stages: Vec<u32> = query.tasks.iter().map(|t| t.stage).collect();
            stages.dedup();
            for stage in stages {
                let ends = self.ends(&query, stage)?;
                // A paused or parked query will not move: what it has is the answer.
                while query.shared.state() == QueryState::Running && !self.reached(&query, stage, &ends) {
                    if watch.elapsed() > timeout {
                        return Err(Error::unavailable(format!(
                            "query {id} has not caught up with its input within {} s",
                            timeout.as_secs()
                        ))
                        .with_hint("SHOW QUERIES tells its lag; SELECT again when it has caught up"));
                    }
                    self.progress.wait(Duration::from_millis(20));
                }
            }
        }
        // What they wrote is in its place; a bounded query reads what is on disk.
        self.log.wait_durable(self.log.position(ReadLevel::Sequenced))
    }

    fn ends(&self, query: &RunningQuery, stage: u32) -> Result<BTreeMap<TopicPartition, Offset>> {
        let mut ends = BTreeMap::new();
        for task in query.tasks.iter().filter(|t| t.stage == stage) {
            for input in task.task.lock().inputs() {
                if let Ok(range) = self.log.range(&input.at, ReadLevel::Sequenced) {
                    ends.insert(input.at, range.end);
                }
            }
        }
        Ok(ends)
    }

    fn reached(&self, query: &RunningQuery, stage: u32, ends: &BTreeMap<TopicPartition, Offset>) -> bool {
        query.tasks.iter().filter(|t| t.stage == stage).all(|running| {
            let mut task = running.task.lock();
            // Somebody waits for it: what is held back leaves now. A failure shows as the query's state.
            if task.has_taken(ends) && query.shared.state() == QueryState::Running {
                task.commit_or_fail();
            }
            task.inputs().iter().all(|input| ends.get(&input.at).is_none_or(|end| input.committed() >= *end))
        })
    }

    /// Step mode: releases records of one source partition to one query and runs its stages until they are idle.
    pub fn step(&self, id: &str, topic: &str, partition: u32, records: usize) -> Result<usize> {
        let query = self.query(id)?;
        let mut released = 0;
        for running in &query.tasks {
            let mut task = running.task.lock();
            for input in task.inputs_mut() {
                if input.topic == topic && input.at.partition == partition && input.scanner.is_some() {
                    let end = self.log.range(&input.at, ReadLevel::Sequenced)?.end;
                    let more = ((end - input.next()).max(0) as usize).min(records);
                    input.release(more);
                    released = released.max(more);
                }
            }
        }
        self.run_to_idle(&query)?;
        Ok(released)
    }

    /// A started query, for whoever is to replace it.
    pub fn running(&self, id: &str) -> Option<Arc<RunningQuery>> {
        self.queries.read().get(id).cloned()
    }

    /// Before a query is replaced: it takes no more from its sources, and what lies between its stages runs to its end,
    /// since the topics between them go with the old form. A query that failed is left as it is.
    pub fn drain(&self, query: &RunningQuery) -> Result<()> {
        if query.shared.state() == QueryState::Error {
            return Ok(());
        }
        for running in &query.tasks {
            running.task.lock().hold_sources();
        }
        let drained = self.run_to_idle(query);
        if drained.is_err() && !self.step {
            for running in &query.tasks {
                running.task.lock().resume_sources();
            }
        }
        drained
    }

    fn run_to_idle(&self, query: &RunningQuery) -> Result<()> {
        loop {
            let mut any = false;
            for running in &query.tasks {
                any |= running.task.lock().run_to_idle()?;
            }
            if !any {
                return Ok(());
            }
        }
    }

    /// Hands the state of `old` to the started query of the same id, store by store. A log that keeps state has done so
    /// already.
    pub fn adopt(&self, old: &RunningQuery) -> Result<()> {
        if self.durable {
            return Ok(());
        }
        let query = self.query(&old.shared.id)?;
        for (before, after) in old.tasks.iter().zip(&query.tasks) {
            let before = before.task.lock();
            let mut after = after.task.lock();
            for (store, state) in before.snapshot()? {
                after.apply(store, &state)?;
            }
            after.measure_state();
        }
        Ok(())
    }
}
