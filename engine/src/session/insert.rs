//! INSERT INTO … VALUES, and rows given as JSON: typed once, at the door.
//!
//! What enters: constant expressions or JSON objects. What leaves: one group with canonical rows, durable when the
//! statement returns. A statement's rows are written all or not at all.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, BooleanArray, Int64Array, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::concat;
use arrow::datatypes::{Int64Type, Schema as ArrowSchema};

use super::Session;
use crate::catalog::Source;
use crate::error::{Error, Result};
use crate::format::{self, FormatName, FormatSpec, Side};
use crate::log::{LogBody, ReadLevel};
use crate::plan::Planner;
use crate::plan::compile::Compiled;
use crate::plan::expr::Expr;
use crate::rows::{Change, Rows, batch_of};
use crate::runtime::sink::{append, split};
use crate::runtime::typed::TypedSchema;
use crate::schema::{Column, ROWTIME};
use crate::sql::ast;
use crate::types::SqlType;

impl Session {
    /// Returns how many rows were written.
    pub(super) fn insert_values(&mut self, insert: &ast::InsertValues) -> Result<u64> {
        let catalog = self.engine.catalog_now();
        let partitions = |name: &str| self.engine.log().topic(name).map(|t| t.partitions);
        let planner = Planner { catalog: &catalog, settings: &self.settings, topic_partitions: &partitions };
        let plan = planner.insert_values(insert)?;
        let prefix = format!("Failed to insert values into '{}'. ", plan.target);
        let source =
            catalog.source(&plan.target).ok_or_else(|| Error::not_found(format!("{} does not exist", plan.target)))?;
        let now_ms = self.engine.inner.clock.now_ms();
        let mut columns: Vec<Vec<ArrayRef>> = vec![Vec::new(); source.schema.len()];
        let mut time = Vec::new();
        let mut null_key = Vec::new();
        for row in &plan.rows {
            for (values, expr) in columns.iter_mut().zip(&row.values) {
                values.push(constant(expr).map_err(|e| e.prefixed(&prefix))?);
            }
            time.push(match &row.time {
                None => now_ms,
                Some(expr) => {
                    let value = constant(&expr.clone().cast_to(SqlType::Bigint)).map_err(|e| e.prefixed(&prefix))?;
                    let value = arrow::array::AsArray::as_primitive::<Int64Type>(&value);
                    if value.is_null(0) { now_ms } else { value.value(0) }
                }
            });
            null_key.push(row.null_key);
        }
        if let Some(negative) = time.iter().find(|t| **t < 0) {
            return Err(Error::statement(format!("{prefix}Invalid timestamp: {negative}")));
        }
        let columns = columns
            .iter()
            .map(|parts| Ok(concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?))
            .collect::<Result<Vec<ArrayRef>>>()?;
        let batch = batch_of(source.schema.to_arrow(), columns, plan.rows.len())?;
        let keys = source.schema.key.len();
        let null_key = null_key.into_iter().map(|n| n && keys > 0).collect::<BooleanBuffer>();
        let rows = Rows {
            null_key: (null_key.count_set_bits() > 0).then_some(null_key),
            ..Rows::append(batch, Int64Array::from(time))
        };
        self.write_rows(source, rows).map_err(|e| e.prefixed(&prefix))
    }

    /// Writes rows of a source's own columns, in one durable group. All or none.
    pub(crate) fn write_rows(&mut self, source: &Source, mut rows: Rows) -> Result<u64> {
        if source.is_table() {
            rows.change = Change::Upsert { old: None };
        }
        let (codec, _) = self.engine.inner.typed.add(&TypedSchema::of_source(source))?;
        let topic = self
            .engine
            .log()
            .topic(&source.topic)
            .ok_or_else(|| Error::not_found(format!("topic {} of {} does not exist", source.topic, source.name)))?;
        let (mut rows, errors) = codec.canonicalise(rows)?;
        if let Some(error) = errors.first() {
            return Err(Error::statement(error.message.clone()));
        }
        rows.headers = None;
        let written = rows.len() as u64;
        let (rows, keys) = (rows.clone(), if topic.partitions == 1 { None } else { Some(codec.encode_keys(&rows)?) });
        let keyless = keys.as_ref().is_none_or(|k| k.null_count() == k.len());
        let home = if keyless { (self.number % u64::from(topic.partitions.max(1))) as u32 } else { 0 };
        let parts = if keyless && topic.partitions > 1 {
            round_robin(&rows, topic.partitions, home)?
        } else {
            split(rows, keys.as_ref(), topic.partitions, home)?
        };
        self.wrote = true;
        let mut transaction = self.producer()?.begin()?;
        for (partition, rows) in parts {
            let body = LogBody::Typed { rows, fingerprint: codec.fingerprint };
            append(transaction.as_mut(), &topic, partition, body)?;
        }
        transaction.commit(ReadLevel::Durable, None)?.wait()?;
        Ok(written)
    }

    /// Writes rows given as JSON objects (column name → value) to a stream or table; one result per row, in order.
    /// What HTTP's `/inserts-stream` does. Blocks until the accepted rows are durable.
    pub fn insert_json(
        &mut self,
        target: &str,
        rows: &[serde_json::Map<String, serde_json::Value>],
    ) -> Result<Vec<Result<()>>> {
        let catalog = self.engine.catalog_now();
        let source = writable(&catalog, target)?;
        let mut results: Vec<Result<()>> = Vec::with_capacity(rows.len());
        let mut texts = Vec::with_capacity(rows.len());
        for row in rows {
            let unknown = row.keys().find(|name| {
                !source.schema.columns().any(|c| c.name == **name || c.name == name.to_uppercase())
                    && !name.eq_ignore_ascii_case(ROWTIME)
            });
            results.push(match unknown {
                Some(name) => Err(Error::statement(format!("Column name `{name}` does not exist."))),
                None => Ok(()),
            });
            texts.push(serde_json::to_vec(row).map_err(|e| Error::internal(e.to_string()))?);
        }
        let bytes = BinaryArray::from_iter_values(texts.iter().map(Vec::as_slice));
        let decoded = decode_objects(source, &bytes)?;
        for (row, message) in decoded.errors {
            if results[row].is_ok() {
                results[row] = Err(Error::statement(message));
            }
        }
        let keys = source.schema.key.len();
        if source.is_table() {
            for (row, result) in results.iter_mut().enumerate() {
                let missing = (0..keys).find(|k| decoded.batch.column(*k).is_null(row));
                if let Some(column) = missing.filter(|_| result.is_ok()) {
                    *result = Err(Error::statement(format!(
                        "Failed to insert values into '{}'. Value for primary key column(s) {} is required for tables",
                        source.name, source.schema.key[column].name
                    )));
                }
            }
        }
        let keep: BooleanArray = results.iter().map(|r| Some(r.is_ok())).collect();
        let now_ms = self.engine.inner.clock.now_ms();
        let time: Int64Array = (0..rows.len())
            .map(|i| if decoded.time.is_null(i) { now_ms } else { decoded.time.value(i) })
            .collect::<Vec<_>>()
            .into();
        let accepted = with_null_keys(Rows::append(decoded.batch, time), keys).filter(&keep)?;
        if !accepted.is_empty() {
            self.write_rows(source, accepted)?;
        }
        Ok(results)
    }
}

/// The source of that name, if rows may be written to it.
pub(crate) fn writable<'a>(catalog: &'a crate::catalog::Catalog, target: &str) -> Result<&'a Source> {
    let source = catalog.source(target).or_else(|| catalog.source(&target.to_uppercase())).ok_or_else(|| {
        Error::not_found(format!("Cannot insert values into an unknown stream/table: {target}"))
            .with_hint("SHOW STREAMS and SHOW TABLES list what exists")
    })?;
    if source.is_source {
        let kind = if source.is_table() { "table" } else { "stream" };
        return Err(Error::statement(format!("Cannot insert values into read-only {kind}: {}", source.name)));
    }
    if source.windowed.is_some() {
        return Err(Error::statement("Cannot insert values into windowed stream/table!"));
    }
    Ok(source)
}

pub(crate) struct DecodedObjects {
    /// Key columns, then value columns.
    pub batch: RecordBatch,
    /// ROWTIME, null where not given.
    pub time: Int64Array,
    pub errors: Vec<(usize, String)>,
}

/// JSON objects with a source's columns as fields (and ROWTIME).
pub(crate) fn decode_objects(source: &Source, objects: &BinaryArray) -> Result<DecodedObjects> {
    let mut columns: Vec<Column> = source.schema.columns().cloned().collect();
    let with_time = !columns.iter().any(|c| c.name == ROWTIME);
    if with_time {
        columns.push(Column::new(ROWTIME, SqlType::Bigint));
    }
    let spec = FormatSpec { wrap_single: Some(true), ..FormatSpec::new(FormatName::Json) };
    let json = format::create(&spec, &columns, Side::Value)?;
    let wanted: Vec<usize> = (0..columns.len()).collect();
    let decoded = json.decode(objects, &wanted)?;
    let mut arrays = decoded.columns;
    let time = match arrays.pop() {
        Some(time) if with_time => arrow::array::AsArray::as_primitive::<Int64Type>(&time).clone(),
        other => {
            arrays.extend(other);
            Int64Array::new_null(objects.len())
        }
    };
    let batch = batch_of(source.schema.to_arrow(), arrays, objects.len())?;
    let errors = decoded.errors.into_iter().map(|e| (e.row, e.message)).collect();
    Ok(DecodedObjects { batch, time, errors })
}

/// Marks rows whose key columns are all null as rows without key.
pub(crate) fn with_null_keys(rows: Rows, keys: usize) -> Rows {
    if keys == 0 {
        return rows;
    }
    let bits: BooleanBuffer =
        (0..rows.len()).map(|row| (0..keys).all(|k| rows.columns.column(k).is_null(row))).collect();
    Rows { null_key: (bits.count_set_bits() > 0).then_some(bits), ..rows }
}

/// Keyless rows at a front door: spread evenly, in order.
fn round_robin(rows: &Rows, partitions: u32, first: u32) -> Result<Vec<(u32, Rows)>> {
    (0..partitions)
        .map(|slot| {
            let indices: UInt32Array =
                (slot..rows.len() as u32).step_by(partitions as usize).collect::<Vec<_>>().into();
            Ok(((first + slot) % partitions, rows.take(&indices)?))
        })
        .filter(|part| part.as_ref().map_or(true, |(_, rows)| !rows.is_empty()))
        .collect()
}

/// The one value of a constant expression.
fn constant(expr: &Expr) -> Result<ArrayRef> {
    let schema = Arc::new(ArrowSchema::empty());
    let compiled = Compiled::new(expr, &schema)?;
    let (value, errors) = compiled.evaluate(&batch_of(schema, vec![], 1)?)?;
    match errors.into_iter().next() {
        Some(error) => Err(Error::statement(error.message)),
        None => Ok(value),
    }
}
