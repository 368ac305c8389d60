//! Clients' queries: one task each, over all partitions, whose rows go to the client alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::client::ClientWriter;
use super::input::Input;
use super::query::QueryShared;
use super::scan::Scanner;
use super::task::{FailureTopics, Task, TaskBody, TaskOutput, TaskParts, needs_order};
use super::{ClientInfo, ClientQuery, Runtime};
use crate::error::{Error, Result};
use crate::log::ReadLevel;
use crate::ops::compact::Compaction;
use crate::plan::QueryPlan;
use crate::plan::lower::{OperatorSettings, StageInput, lower};
use crate::results::{ResultColumn, ResultKind, ResultQueue, ResultStream};

impl Runtime {
    /// Starts a client's query; its rows come through the stream.
    pub fn push_query(
        &self,
        plan: &QueryPlan,
        sql: &str,
        latest: bool,
        settings: &BTreeMap<String, String>,
    ) -> Result<ResultStream> {
        let stages = lower(&plan.plan)?;
        let number = self.next_client.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let source = plan.sources.first().map_or("query", String::as_str);
        let members: Vec<usize> = (0..stages.len()).collect();
        let mut runs = self.stage_runs(&stages, &members, &OperatorSettings { values: settings.clone() })?;
        for run in &mut runs {
            run.pipeline.set_track_changes(false);
        }
        // ksqlDB taps the running query that writes the source, and says so in the id; here the log's tail is as cheap.
        let asked = settings.get("ksql.query.push.v2.enabled").is_some_and(|v| v.eq_ignore_ascii_case("true"));
        let stateless = runs.iter().all(|run| run.pipeline.stores().is_empty());
        let one_source = plan.sources.len() == 1 && self.is_written(source);
        let tap = asked && latest && stateless && one_source;
        let kind = if tap { "SCALABLE_PUSH_QUERY" } else { "transient" };
        let id = format!("{kind}_{source}_{number}");
        let shared = Arc::new(QueryShared::new(&id, false, settings, self.progress.clone()));
        let mut inputs = Vec::new();
        for (slot, stage) in stages.iter().enumerate() {
            for (number, input) in stage.inputs.iter().enumerate() {
                let StageInput::Source(scan, table) = input else { continue };
                let topic = self.topic(&scan.topic)?;
                for partition in 0..topic.partitions {
                    let at = topic.partition(partition);
                    let range = self.log.range(&at, ReadLevel::Durable)?;
                    let from = if latest && !*table { range.end } else { range.start };
                    let reader = self.log.reader(&at, from, ReadLevel::Durable)?;
                    let scanner = Scanner::new(scan, *table, self.typed.clone())?;
                    let names = (topic.name.clone(), scan.source.clone());
                    inputs.push(Input::new(slot, number, at, names, reader, Some(scanner), false));
                }
            }
        }
        let last = stages.last().ok_or_else(|| Error::internal("a plan without stages"))?;
        let columns: Vec<usize> = plan
            .columns
            .iter()
            .map(|c| {
                last.schema
                    .index_of(&c.name)
                    .ok_or_else(|| Error::internal(format!("the plan does not make column {}", c.name)))
            })
            .collect::<Result<_>>()?;
        let result_columns: Vec<ResultColumn> =
            plan.columns.iter().map(|c| ResultColumn { name: c.name.clone(), ty: c.ty.clone(), key: false }).collect();
        let schema =
            Arc::new(arrow::datatypes::Schema::new(plan.columns.iter().map(|c| c.to_arrow()).collect::<Vec<_>>()));
        let queue = ResultQueue::new();
        let output = TaskOutput::Client(Box::new(ClientWriter {
            queue: queue.clone(),
            columns,
            schema,
            left: plan.plan.limit,
            table: last.table,
            whole_rows: tap.then(|| plan.plan.root.scans().iter().any(|scan| !scan.declared.key.is_empty())),
        }));
        if plan.plan.limit == Some(0) {
            queue.push(Ok(crate::results::ResultEvent::End(crate::results::EndReason::LimitReached)));
        }
        let task = Task::new(TaskParts {
            query: shared.clone(),
            partition: 0,
            stages: runs,
            inputs,
            output,
            producer: None,
            failures: FailureTopics { processing_log: None, rejected: BTreeMap::new() },
            clock: self.clock.clone(),
            track_state: false,
            ordered: needs_order(&stages),
            compaction: Compaction::of(settings),
            idle_max: self.idle_max(settings),
        });
        let cell = self.pool.spawn(Box::new(TaskBody(Arc::new(Mutex::new(task)))));
        {
            let (shared, cell) = (shared.clone(), cell.clone());
            queue.on_cancel(move || {
                shared.stop();
                std::task::Waker::from(cell).wake();
            });
        }
        let mut clients = self.clients.lock();
        clients.retain(|_, c| !c.shared.is_stopped() && c.queue.strong_count() > 0);
        clients.insert(id.clone(), ClientQuery { sql: sql.to_string(), shared, cell, queue: Arc::downgrade(&queue) });
        Ok(ResultStream::new(id, ResultKind::Push, result_columns, queue))
    }

    /// Ends a client's query by id; false if there is none.
    pub fn close_client(&self, id: &str) -> bool {
        let client = self.clients.lock().remove(id);
        let Some(client) = client else { return false };
        client.shared.stop();
        if let Some(queue) = client.queue.upgrade() {
            queue.push(Ok(crate::results::ResultEvent::End(crate::results::EndReason::Cancelled)));
        }
        std::task::Waker::from(client.cell).wake();
        true
    }

    pub fn clients(&self) -> Vec<ClientInfo> {
        let mut clients = self.clients.lock();
        clients.retain(|_, c| !c.shared.is_stopped());
        clients
            .iter()
            .map(|(id, c)| ClientInfo {
                id: id.clone(),
                sql: c.sql.clone(),
                counters: *c.shared.counters.lock(),
                state_size: c.shared.state_size(),
            })
            .collect()
    }
}
