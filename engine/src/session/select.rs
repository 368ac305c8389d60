//! Queries: push (EMIT), pull (ksqlDB's bounded grammar over one source), batch (ordinary SQL), PRINT.
//!
//! | statement | reads | ends |
//! |---|---|---|
//! | `SELECT … EMIT CHANGES` | the log as it grows, durable part | LIMIT, or the client goes |
//! | `SELECT … FROM table WHERE key = …` | the table its query keeps, at a group boundary, once that is durable | with its rows |
//! | `SELECT … FROM stream` | the log from its start to its end now | with its rows |
//! | any other SELECT without EMIT | DataFusion over the same | with its rows |

use std::sync::Arc;

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::{Field, Schema as ArrowSchema, SchemaRef};

use super::{Outcome, Session};
use crate::catalog::Source;
use crate::error::{Error, Result};
use crate::log::{Offset, ReadLevel, ReadLimit, TopicPartition};
use crate::ops::Lookup;
use crate::plan::analyze::walk::find_aggregates;
use crate::plan::compile::Compiled;
use crate::plan::steps::{Scan, ScanColumn, TimestampColumn};
use crate::plan::{Planner, PullPlan};
use crate::results::{EndReason, ResultColumn, ResultEvent, ResultKind, ResultQueue, ResultStream};
use crate::rows::{Rows, batch_of};
use crate::runtime::scan::Scanner;
use crate::schema::{ROWOFFSET, ROWPARTITION, ROWTIME, WINDOWEND, WINDOWSTART};
use crate::sql::ast::{ParsedStatement, Query, SelectItem};
use crate::types::SqlType;

impl Session {
    pub(super) fn select(&mut self, parsed: &ParsedStatement, query: &Query) -> Result<Outcome> {
        if query.emit.is_some() {
            return self.push(parsed, query);
        }
        let aggregates = query.select.iter().any(|item| match item {
            SelectItem::Expr { expr, .. } => !find_aggregates(expr).is_empty(),
            _ => false,
        });
        let ours = query.joins.is_empty() && query.group_by.is_empty() && query.window.is_none() && !aggregates;
        if !ours && !self.settings.strict() {
            return self.batch(&parsed.text);
        }
        self.pull(parsed, query)
    }

    fn push(&mut self, parsed: &ParsedStatement, query: &Query) -> Result<Outcome> {
        let catalog = self.engine.catalog();
        let partitions = |name: &str| self.engine.log().topic(name).map(|t| t.partitions);
        let plan =
            Planner { catalog: &catalog, settings: &self.settings, topic_partitions: &partitions }.push(query)?;
        let latest = !self.settings.get("auto.offset.reset").is_some_and(|v| v.eq_ignore_ascii_case("earliest"));
        let stream = self.engine.runtime().push_query(&plan, &parsed.text, latest, self.settings.overrides())?;
        Ok(Outcome::Query(stream))
    }

    fn pull(&mut self, parsed: &ParsedStatement, query: &Query) -> Result<Outcome> {
        let catalog = self.engine.catalog();
        let partitions = |name: &str| self.engine.log().topic(name).map(|t| t.partitions);
        let plan =
            Planner { catalog: &catalog, settings: &self.settings, topic_partitions: &partitions }.pull(query)?;
        let source = catalog
            .source(&plan.source)
            .ok_or_else(|| Error::not_found(format!("{} does not exist.", plan.source)).at(query.from.name.position))?
            .clone();
        if source.is_table() && self.engine.table_query(&source).is_none() && !self.settings.strict() {
            return self.batch(&parsed.text);
        }
        self.wait_for(&source.name)?;
        let stream_kind = if source.is_table() { ResultKind::Pull } else { ResultKind::PullStream };
        let columns = plan
            .select
            .iter()
            .map(|(column, _, key)| ResultColumn { name: column.name.clone(), ty: column.ty.clone(), key: *key })
            .collect();
        let queue = ResultQueue::new();
        let id = self.engine.next_query_id(&format!("pull_{}", source.name));
        // ksqlDB's answers have no such remark.
        let strict = self.settings.strict();
        if source.is_table() {
            let id = self
                .engine
                .table_query(&source)
                .ok_or_else(|| Error::statement(format!("{} is not materialized", source.name)))?;
            let lookup =
                Lookup { keys: plan.keys.clone(), window_start: plan.window_start, window_end: plan.window_end };
            let rows = self.engine.runtime().lookup_in_key_order(&id, &lookup)?.ok_or_else(|| {
                Error::statement(format!("the table {} cannot be looked up: its query keeps no state", source.name))
            })?;
            let mut answer = PullAnswer::new(&plan, &source, !strict)?;
            for rows in rows {
                if !answer.add(&rows, &queue)? {
                    break;
                }
            }
            queue.push(Ok(ResultEvent::End(EndReason::Completed)));
        } else {
            let reader = BoundedScan::new(&self.engine, &source)?;
            let (plan, queue) = (plan.clone(), queue.clone());
            self.spawn_bounded("pull", queue.clone(), move || {
                let mut answer = PullAnswer::new(&plan, &source, !strict)?;
                let mut limited = false;
                reader.run(&mut |rows, rejected| {
                    queue.add_rejected(rejected);
                    let more = answer.add(&rows, &queue)?;
                    limited = !more && answer.left == Some(0);
                    Ok(more && queue.wait_for_room())
                })?;
                let reason = if limited { EndReason::LimitReached } else { EndReason::Completed };
                queue.push(Ok(ResultEvent::End(reason)));
                Ok(())
            })?;
        }
        Ok(Outcome::Query(ResultStream::new(id, stream_kind, columns, queue)))
    }

    /// Ordinary SQL over retained logs and tables.
    pub(super) fn batch(&mut self, text: &str) -> Result<Outcome> {
        let query = crate::sql::parse_batch(text)?;
        if self.settings.strict() {
            return Err(Error::statement(
                "Pull queries don't support JOIN, GROUP BY, ORDER BY, subqueries and other clauses of ordinary SQL."
                    .to_string(),
            )
            .with_hint("without ksql.strict Headwater runs it as a batch query"));
        }
        for name in crate::plan::batch::sources_of(&query, &self.engine.catalog()) {
            self.wait_for(&name)?;
        }
        Ok(Outcome::Query(crate::plan::batch::execute(&self.engine, query, &self.settings)?))
    }

    /// Runs bounded work on a thread of its own; an error becomes the result's end.
    fn spawn_bounded(
        &self,
        name: &str,
        queue: Arc<ResultQueue>,
        work: impl FnOnce() -> Result<()> + Send + 'static,
    ) -> Result<()> {
        let clock = Arc::clone(&self.engine.inner.clock);
        std::thread::Builder::new().name(name.to_string()).stack_size(16 * 1024 * 1024).spawn(move || {
            let run = std::panic::AssertUnwindSafe(|| crate::clock::with(&clock, work));
            let done = std::panic::catch_unwind(run).unwrap_or_else(|panic| {
                Err(Error::internal(format!(
                    "the query broke an invariant: {}",
                    crate::runtime::pool::panic_text(panic.as_ref())
                )))
            });
            if let Err(error) = done {
                queue.push(Err(error));
            }
        })?;
        Ok(())
    }

    /// PRINT: records of a topic as text.
    pub(super) fn print(
        &mut self,
        topic: &str,
        from_beginning: bool,
        interval: Option<u64>,
        limit: Option<u64>,
    ) -> Result<Outcome> {
        let found = self.engine.log().topic(topic).ok_or_else(|| {
            Error::not_found(format!("Could not find topic '{topic}', or the KSQL user does not have permissions to list the topic. Topic names are case-sensitive."))
                .with_hint("SHOW TOPICS lists them")
        })?;
        let log = self.engine.log().clone();
        let typed = self.engine.inner.typed.clone();
        let mut readers = Vec::new();
        for partition in 0..found.partitions {
            let at = found.partition(partition);
            let range = log.range(&at, ReadLevel::Durable)?;
            readers.push((
                partition,
                log.reader(&at, if from_beginning { range.start } else { range.end }, ReadLevel::Durable)?,
            ));
        }
        let queue = ResultQueue::new();
        let out = queue.clone();
        let every = interval.unwrap_or(1).max(1);
        self.spawn_bounded("print", queue.clone(), move || {
            let (wake, woken) = std::sync::mpsc::sync_channel::<()>(1);
            let waker = std::task::Waker::from(Arc::new(Signal(wake)));
            out.on_cancel({
                let waker = waker.clone();
                move || waker.wake()
            });
            let mut printer = crate::format::sniff::Printer::default();
            let (mut seen, mut printed) = (0u64, 0u64);
            loop {
                let mut any = false;
                for (partition, reader) in &mut readers {
                    reader.wake_on_data(&waker);
                    while let Some(batch) = reader.take(ReadLimit { rows_max: 1000 })? {
                        any = true;
                        let records = typed.encoded(&batch.body)?;
                        for row in 0..records.time.len() {
                            seen += 1;
                            if (seen - 1) % every != 0 {
                                continue;
                            }
                            let key = (!records.keys.is_null(row)).then(|| records.keys.value(row));
                            let value = (!records.values.is_null(row)).then(|| records.values.value(row));
                            for line in printer.lines(records.time.value(row), key, value, *partition) {
                                out.push(Ok(ResultEvent::Line(line)));
                            }
                            printed += 1;
                            if limit.is_some_and(|limit| printed >= limit) {
                                out.push(Ok(ResultEvent::End(EndReason::LimitReached)));
                                return Ok(());
                            }
                        }
                        if !out.wait_for_room() {
                            return Ok(());
                        }
                    }
                }
                if out.is_cancelled() {
                    return Ok(());
                }
                if !any && woken.recv().is_err() {
                    return Ok(());
                }
            }
        })?;
        Ok(Outcome::Query(ResultStream::new(
            self.engine.next_query_id(&format!("print_{topic}")),
            ResultKind::Print,
            vec![],
            queue,
        )))
    }
}

struct Signal(std::sync::mpsc::SyncSender<()>);

impl std::task::Wake for Signal {
    fn wake(self: Arc<Self>) {
        // A full channel holds a wake already.
        let _full = self.0.try_send(());
    }
}

/// All rows of a stream from the log's start to its end now, durable part.
pub(crate) struct BoundedScan {
    scanner: Scanner,
    parts: Vec<(TopicPartition, Offset, Offset)>,
    log: Arc<dyn crate::log::Log>,
}

impl BoundedScan {
    pub fn new(engine: &crate::Engine, source: &Source) -> Result<Self> {
        let topic = engine
            .log()
            .topic(&source.topic)
            .ok_or_else(|| Error::not_found(format!("topic {} of {} does not exist", source.topic, source.name)))?;
        let parts = (0..topic.partitions)
            .map(|partition| {
                let at = topic.partition(partition);
                let range = engine.log().range(&at, ReadLevel::Durable)?;
                Ok((at, range.start, range.end))
            })
            .collect::<Result<_>>()?;
        let scan = scan_all(source);
        let scanner = Scanner::new(&scan, source.is_table(), engine.inner.typed.clone())?;
        Ok(Self { scanner, parts, log: engine.log().clone() })
    }

    /// `each` gets rows and how many records could not be read; false ends the scan.
    pub fn run(&self, each: &mut dyn FnMut(Rows, u64) -> Result<bool>) -> Result<()> {
        for (at, start, end) in &self.parts {
            let mut reader = self.log.reader(at, *start, ReadLevel::Durable)?;
            reader.narrow(self.scanner.wanted());
            while reader.next_offset() < *end {
                let rows_max = ((*end - reader.next_offset()) as usize).min(8192);
                let Some(batch) = reader.take(ReadLimit { rows_max })? else { break };
                let scanned = self.scanner.scan(&batch, at.partition)?;
                if !each(scanned.rows, scanned.rejected.len() as u64)? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Every column a query can name: declared ones, headers, pseudo-columns.
pub(crate) fn scan_all(source: &Source) -> Scan {
    let mut columns: Vec<(String, ScanColumn)> =
        source.schema.columns().map(|c| (c.name.clone(), ScanColumn::Declared(c.name.clone()))).collect();
    for (name, key) in &source.headers {
        columns.push((name.clone(), key.clone().map_or(ScanColumn::Headers, ScanColumn::Header)));
    }
    columns.push((ROWTIME.into(), ScanColumn::RowTime));
    columns.push((ROWPARTITION.into(), ScanColumn::RowPartition));
    columns.push((ROWOFFSET.into(), ScanColumn::RowOffset));
    if source.windowed.is_some() {
        columns.push((WINDOWSTART.into(), ScanColumn::WindowStart));
        columns.push((WINDOWEND.into(), ScanColumn::WindowEnd));
    }
    Scan {
        source: source.name.clone(),
        topic: source.topic.clone(),
        key_format: source.key_format.clone(),
        value_format: source.value_format.clone(),
        declared: source.schema.clone(),
        columns,
        timestamp: source.timestamp_column.as_ref().map(|column| TimestampColumn {
            column: column.clone(),
            format: source.timestamp_format.clone(),
            throw_on_invalid: false,
        }),
        windowed: source.windowed,
    }
}

/// Applies a pull plan's predicate, projection and limit to rows of its source.
struct PullAnswer {
    schema: SchemaRef,
    predicate: Option<Compiled>,
    select: Vec<Compiled>,
    result: SchemaRef,
    left: Option<u64>,
    tells_failures: bool,
}

impl PullAnswer {
    fn new(plan: &PullPlan, source: &Source, tells_failures: bool) -> Result<Self> {
        let mut fields: Vec<Field> = source.schema.columns().map(|c| c.to_arrow()).collect();
        for (name, key) in &source.headers {
            let ty = if key.is_none() { SqlType::headers() } else { SqlType::Bytes };
            fields.push(Field::new(name, ty.to_arrow(), true));
        }
        for name in [ROWTIME, WINDOWSTART, WINDOWEND, ROWOFFSET] {
            fields.push(Field::new(name, SqlType::Bigint.to_arrow(), true));
        }
        fields.push(Field::new(ROWPARTITION, SqlType::Integer.to_arrow(), true));
        let schema = Arc::new(ArrowSchema::new(fields));
        let predicate = match &plan.predicate {
            Some(expr) => Some(Compiled::new(expr, &schema)?),
            None => None,
        };
        let select = plan.select.iter().map(|(_, expr, _)| Compiled::new(expr, &schema)).collect::<Result<_>>()?;
        let result = Arc::new(ArrowSchema::new(plan.select.iter().map(|(c, _, _)| c.to_arrow()).collect::<Vec<_>>()));
        Ok(Self { schema, predicate, select, result, left: plan.limit, tells_failures })
    }

    /// Sends what matches; false when the limit is reached or the client is gone.
    fn add(&mut self, rows: &Rows, queue: &ResultQueue) -> Result<bool> {
        if self.left == Some(0) {
            return Ok(false);
        }
        let batch = rows.named(&self.schema)?;
        let batch = match &self.predicate {
            Some(predicate) => {
                let (keep, _) = predicate.predicate(&batch)?;
                arrow::compute::filter_record_batch(&batch, &keep)?
            }
            None => batch,
        };
        let mut count = batch.num_rows();
        let mut columns: Vec<ArrayRef> = Vec::new();
        for select in &self.select {
            let (column, failed) = select.evaluate(&batch)?;
            if let Some(first) = failed.first().filter(|_| self.tells_failures) {
                queue.add_failed(failed.len() as u64, &first.message);
            }
            columns.push(column);
        }
        if let Some(left) = &mut self.left {
            count = count.min(*left as usize);
            *left -= count as u64;
            columns = columns.iter().map(|c| c.slice(0, count)).collect();
        }
        if count > 0
            && !queue
                .push(Ok(ResultEvent::Rows { batch: batch_of(self.result.clone(), columns, count)?, tombstones: None }))
        {
            return Ok(false);
        }
        Ok(self.left != Some(0))
    }
}
