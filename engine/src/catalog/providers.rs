//! Streams and tables as DataFusion reads them: bounded scans of retained logs, or of a table's state.
//!
//! | source | rows |
//! |---|---|
//! | stream | every record between the log's start and its end when the query began, durable part |
//! | table kept by a query | that query's state at a group boundary |
//! | any other table | the last record of each key in the log, deletions left out |
//!
//! Only the columns asked for are decoded. `ROWOFFSET` and `ROWTIME` bounds skip what lies before them.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::datatypes::SchemaRef;
use arrow::row::{OwnedRow, RowConverter, SortField};
use async_trait::async_trait;
use datafusion::catalog::{Session as DataFusionSession, TableProvider};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result as DataFusionResult};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, Operator, TableProviderFilterPushDown};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::scalar::ScalarValue;

use crate::Engine;
use crate::catalog::Source;
use crate::error::{Error, Result};
use crate::log::{Log, Offset, ReadLevel, ReadLimit, TopicPartition, batch_bytes};
use crate::ops::Lookup;
use crate::plan::steps::{Scan, ScanColumn};
use crate::results::ResultQueue;
use crate::rows::Rows;
use crate::runtime::scan::Scanner;
use crate::runtime::typed::TypedSchemas;
use crate::schema::{ROWOFFSET, ROWTIME, WINDOWEND, WINDOWSTART};

/// Rows one scan step reads.
const SCAN_ROWS_MAX: usize = 8192;

/// Memory of one key while the latest record of each is looked for: its row form and its place.
const KEY_BYTES: usize = 96;

/// One source for one bounded query.
pub struct SourceTable {
    source: Source,
    /// The scan of every column the query may name, in the table's order.
    scan: Scan,
    schema: SchemaRef,
    log: Arc<dyn Log>,
    typed: Arc<TypedSchemas>,
    parts: Vec<(TopicPartition, Range<Offset>)>,
    content: Content,
    /// Where records that could not be read are counted.
    queue: Arc<ResultQueue>,
}

enum Content {
    Log,
    /// Last record of each key.
    LatestPerKey,
    /// Rows of the table's state.
    State(Vec<Rows>),
}

impl fmt::Debug for SourceTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SourceTable({})", self.source.name)
    }
}

impl SourceTable {
    /// `pseudo`: the pseudo-columns the query names; the others are left out, so that `*` does not show them.
    pub fn new(engine: &Engine, source: &Source, pseudo: &[String], queue: Arc<ResultQueue>) -> Result<Self> {
        let mut scan = crate::session::select::scan_all(source);
        scan.columns.retain(|(name, column)| matches!(column, ScanColumn::Declared(_)) || pseudo.contains(name));
        // Windows are part of a windowed table's identity: ksqlDB shows them in `*`.
        if source.windowed.is_some() {
            for (name, column) in [(WINDOWSTART, ScanColumn::WindowStart), (WINDOWEND, ScanColumn::WindowEnd)] {
                if !scan.columns.iter().any(|(n, _)| n == name) {
                    scan.columns.insert(source.schema.key.len(), (name.to_string(), column));
                }
            }
        }
        let log = engine.log().clone();
        let typed = engine.inner.typed.clone();
        let schema = Scanner::new(&scan, source.is_table(), typed.clone())?.schema();
        let content = match engine.table_query(source) {
            Some(query) if source.is_table() => match engine.runtime().lookup(&query, &Lookup::default())? {
                Some(rows) => Content::State(rows),
                None => Content::LatestPerKey,
            },
            _ if source.is_table() => Content::LatestPerKey,
            _ => Content::Log,
        };
        let mut parts = Vec::new();
        if let Some(topic) = log.topic(&source.topic) {
            for partition in 0..topic.partitions {
                let at = topic.partition(partition);
                parts.push((at, log.range(&at, ReadLevel::Durable)?));
            }
        }
        Ok(Self { source: source.clone(), scan, schema, log, typed, parts, content, queue })
    }

    fn project_scan(&self, wanted: &[usize]) -> Result<Scanner> {
        let scan =
            Scan { columns: wanted.iter().map(|i| self.scan.columns[*i].clone()).collect(), ..self.scan.clone() };
        Scanner::new(&scan, self.source.is_table(), self.typed.clone())
    }

    /// Start offsets after bounds on ROWOFFSET and ROWTIME.
    fn pruned(&self, filters: &[Expr]) -> Result<Vec<(TopicPartition, Range<Offset>)>> {
        let mut parts = self.parts.clone();
        for filter in filters {
            let Some((column, operator, value)) = bound(filter) else { continue };
            for (at, range) in &mut parts {
                match (column.as_str(), operator) {
                    (ROWOFFSET, Operator::Gt) => range.start = range.start.max(value.saturating_add(1)),
                    (ROWOFFSET, Operator::GtEq) => range.start = range.start.max(value),
                    (ROWOFFSET, Operator::Lt) => range.end = range.end.min(value),
                    (ROWOFFSET, Operator::LtEq) => range.end = range.end.min(value.saturating_add(1)),
                    (ROWOFFSET, Operator::Eq) => {
                        range.start = range.start.max(value);
                        range.end = range.end.min(value.saturating_add(1));
                    }
                    (ROWTIME, Operator::Gt | Operator::GtEq | Operator::Eq) if self.scan.timestamp.is_none() => {
                        range.start = range.start.max(self.log.offset_at_time(at, value, ReadLevel::Durable)?);
                    }
                    _ => {}
                }
            }
        }
        Ok(parts)
    }

    /// The last record of each key, deletions left out; `held` counts what is in memory meanwhile.
    fn latest_per_key(&self, wanted: &[usize], held: &MemoryReservation) -> DataFusionResult<Vec<RecordBatch>> {
        let keys = self.source.schema.key.len();
        let all: Vec<usize> = (0..self.scan.columns.len()).collect();
        let scanner = self.project_scan(&all).map_err(outside)?;
        let converter = RowConverter::new(
            self.source.schema.key.iter().map(|c| SortField::new(c.ty.to_arrow())).collect::<Vec<_>>(),
        )?;
        let mut batches = Vec::new();
        let mut latest: HashMap<OwnedRow, Option<(usize, usize)>> = HashMap::new();
        for (at, range) in &self.parts {
            let mut reader = self.log.reader(at, range.start, ReadLevel::Durable).map_err(outside)?;
            reader.narrow(scanner.wanted());
            while reader.next_offset() < range.end {
                let rows_max = ((range.end - reader.next_offset()) as usize).min(SCAN_ROWS_MAX);
                let Some(batch) = reader.take(ReadLimit { rows_max }).map_err(outside)? else { break };
                let scanned = scanner.scan(&batch, at.partition).map_err(outside)?;
                self.queue.add_rejected(scanned.rejected.len() as u64);
                let key_rows = converter.convert_columns(&scanned.rows.columns.columns()[..keys])?;
                let before = latest.capacity();
                for row in 0..scanned.rows.len() {
                    let place = (!scanned.rows.is_null_value(row)).then_some((batches.len(), row));
                    latest.insert(key_rows.row(row).owned(), place);
                }
                let index_bytes = (latest.capacity() - before) * KEY_BYTES;
                held.try_grow(batch_bytes(&scanned.rows.columns) + index_bytes)?;
                batches.push(scanned.rows.columns);
            }
        }
        let mut keep: Vec<Vec<bool>> = batches.iter().map(|b| vec![false; b.num_rows()]).collect();
        for (batch, row) in latest.into_values().flatten() {
            keep[batch][row] = true;
        }
        batches
            .iter()
            .zip(keep)
            .map(|(batch, keep)| {
                Ok(arrow::compute::filter_record_batch(&batch.project(wanted)?, &BooleanArray::from(keep))?)
            })
            .collect()
    }
}

#[async_trait]
impl TableProvider for SourceTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> DataFusionResult<Vec<TableProviderFilterPushDown>> {
        Ok(filters
            .iter()
            .map(|f| match bound(f) {
                Some(_) => TableProviderFilterPushDown::Inexact,
                None => TableProviderFilterPushDown::Unsupported,
            })
            .collect())
    }

    async fn scan(
        &self,
        state: &dyn DataFusionSession,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> DataFusionResult<Arc<dyn ExecutionPlan>> {
        let wanted: Vec<usize> = projection.cloned().unwrap_or_else(|| (0..self.schema.fields().len()).collect());
        let schema = Arc::new(self.schema.project(&wanted)?);
        let held =
            MemoryConsumer::new(format!("table {}", self.source.name)).register(&state.runtime_env().memory_pool);
        let partitions: Vec<Arc<dyn PartitionStream>> = match &self.content {
            Content::Log => self
                .pruned(filters)
                .map_err(outside)?
                .into_iter()
                .map(|(at, range)| -> Result<Arc<dyn PartitionStream>> {
                    Ok(Arc::new(LogPartition {
                        schema: schema.clone(),
                        scanner: Arc::new(self.project_scan(&wanted)?),
                        log: self.log.clone(),
                        at,
                        range,
                        queue: self.queue.clone(),
                    }))
                })
                .collect::<Result<_>>()
                .map_err(outside)?,
            Content::LatestPerKey => {
                let batches = self.latest_per_key(&wanted, &held)?;
                vec![Arc::new(Batches { schema: schema.clone(), batches, _held: held })]
            }
            Content::State(rows) => {
                held.try_grow(rows.iter().map(|r| batch_bytes(&r.columns)).sum())?;
                let batches = rows.iter().map(|r| r.named(&schema)).collect::<Result<_>>().map_err(outside)?;
                vec![Arc::new(Batches { schema: schema.clone(), batches, _held: held })]
            }
        };
        Ok(Arc::new(StreamingTableExec::try_new(schema, partitions, None, None, false, limit)?))
    }
}

/// `ROWTIME >= 10` and its kin: column, operator (column on the left), value.
fn bound(filter: &Expr) -> Option<(String, Operator, i64)> {
    let Expr::BinaryExpr(binary) = filter else { return None };
    let (column, operator, value) = match (binary.left.as_ref(), binary.right.as_ref()) {
        (Expr::Column(column), Expr::Literal(value, _)) => (column, binary.op, value),
        (Expr::Literal(value, _), Expr::Column(column)) => (column, binary.op.swap()?, value),
        _ => return None,
    };
    let ScalarValue::Int64(Some(value)) = value else { return None };
    [ROWTIME, ROWOFFSET].contains(&column.name.as_str()).then(|| (column.name.clone(), operator, *value))
}

fn outside(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

struct LogPartition {
    schema: SchemaRef,
    scanner: Arc<Scanner>,
    log: Arc<dyn Log>,
    at: TopicPartition,
    range: Range<Offset>,
    queue: Arc<ResultQueue>,
}

impl fmt::Debug for LogPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogPartition({}, {:?})", self.at.partition, self.range)
    }
}

impl PartitionStream for LogPartition {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _ctx: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (scanner, log, at, range, queue) =
            (self.scanner.clone(), self.log.clone(), self.at, self.range.clone(), self.queue.clone());
        let mut reader = None;
        let mut next = move || -> Result<Option<RecordBatch>> {
            if range.start >= range.end || queue.is_cancelled() {
                return Ok(None);
            }
            if reader.is_none() {
                let mut opened = log.reader(&at, range.start, ReadLevel::Durable)?;
                opened.narrow(scanner.wanted());
                reader = Some(opened);
            }
            let Some(reader) = reader.as_mut() else { return Ok(None) };
            if reader.next_offset() >= range.end {
                return Ok(None);
            }
            let rows_max = ((range.end - reader.next_offset()) as usize).min(SCAN_ROWS_MAX);
            let Some(batch) = reader.take(ReadLimit { rows_max })? else { return Ok(None) };
            let scanned = scanner.scan(&batch, at.partition)?;
            queue.add_rejected(scanned.rejected.len() as u64);
            let rows = scanned.rows;
            // A record that is null as a whole is no row of a stream.
            let columns = match &rows.null_value {
                Some(null) => arrow::compute::filter_record_batch(&rows.columns, &BooleanArray::new(!null, None))?,
                None => rows.columns,
            };
            Ok(Some(columns))
        };
        let stream = futures::stream::iter(std::iter::from_fn(move || next().map_err(outside).transpose()));
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream))
    }
}

struct Batches {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    /// Gives the memory of `batches` back to the query's pool.
    _held: MemoryReservation,
}

impl fmt::Debug for Batches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Batches({})", self.batches.len())
    }
}

impl PartitionStream for Batches {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _ctx: Arc<TaskContext>) -> SendableRecordBatchStream {
        let batches = self.batches.clone().into_iter().map(Ok);
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), futures::stream::iter(batches)))
    }
}
