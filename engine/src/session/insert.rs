//! INSERT INTO … VALUES, and rows given as JSON: typed once, at the door.
//!
//! What enters: constant expressions or JSON objects. What leaves: one group with canonical rows, durable when the
//! statement returns. A statement's rows are written all or not at all.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, Int64Array, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::concat;
use arrow::datatypes::{Int64Type, Schema as ArrowSchema};
use bytes::Bytes;

use super::Session;
use super::door::{Admitted, Door, Record, Run, Spread};
use crate::catalog::Source;
use crate::error::{Error, Result};
use crate::format::{self, FormatName, FormatSpec, Side};
use crate::log::ReadLevel;
use crate::plan::Planner;
use crate::plan::compile::Compiled;
use crate::plan::expr::Expr;
use crate::rows::{Rows, batch_of};
use crate::schema::{Column, ROWTIME};
use crate::sql::ast;
use crate::types::SqlType;

impl Session {
    /// Returns how many rows were written.
    pub(super) fn insert_values(&mut self, insert: &ast::InsertValues) -> Result<u64> {
        let catalog = self.engine.catalog();
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
    pub(crate) fn write_rows(&mut self, source: &Source, rows: Rows) -> Result<u64> {
        let door = self.door(source)?;
        let record = |_: usize| Record { line: None, raw: None };
        let admitted = door.admit(Run { rows, refused: Vec::new(), record: &record })?;
        if let Some((_, _, reason)) = admitted.refused.first() {
            return Err(Error::statement(reason.clone()));
        }
        let written = admitted.rows.len() as u64;
        self.write_admitted(door, admitted)?;
        Ok(written)
    }

    fn door(&self, source: &Source) -> Result<Door> {
        // Sessions begin with different partitions, so that many short ones spread, too.
        Door::new(&self.engine, source, "INSERT", self.number as u32)
    }

    fn write_admitted(&mut self, mut door: Door, admitted: Admitted) -> Result<()> {
        self.wrote = true;
        let now_ms = self.engine.inner.clock.now_ms();
        let mut transaction = self.producer()?.begin()?;
        door.append(admitted, Spread::Rows, now_ms, transaction.as_mut())?;
        transaction.commit(ReadLevel::Durable, None)?.wait()?;
        Ok(())
    }

    /// Writes rows given as JSON objects (column name → value) to a stream or table; one result per row, in order. What
    /// HTTP's `/inserts-stream` does. Refused rows go to the rejected log; blocks until all is durable.
    pub fn insert_json(&mut self, target: &str, rows: &[SentRow]) -> Result<Vec<Result<()>>> {
        let catalog = self.engine.catalog();
        let source = writable(&catalog, target)?;
        let mut refused: Vec<(usize, String)> = Vec::new();
        let mut texts = Vec::with_capacity(rows.len());
        for (number, row) in rows.iter().enumerate() {
            match &row.object {
                Ok(object) => {
                    let is_known = |name: &str| {
                        source.schema.columns().any(|c| c.name == name || c.name == name.to_uppercase())
                            || name.eq_ignore_ascii_case(ROWTIME)
                    };
                    if let Some(name) = object.keys().find(|name| !is_known(name)) {
                        refused.push((number, format!("Column name `{name}` does not exist.")));
                    }
                    texts.push(serde_json::to_vec(object).map_err(|e| Error::internal(e.to_string()))?);
                }
                Err(reason) => {
                    refused.push((number, reason.clone()));
                    texts.push(b"{}".to_vec());
                }
            }
        }
        let decoded = decode_objects(source, &BinaryArray::from_iter_values(texts.iter().map(Vec::as_slice)))?;
        refused.extend(decoded.errors);
        let keys = source.schema.key.len();
        for (column, key) in source.schema.key.iter().enumerate().filter(|_| source.is_table()) {
            let nulls = decoded.batch.column(column);
            refused.extend((0..rows.len()).filter(|row| nulls.is_null(*row)).map(|row| {
                let reason = format!(
                    "Failed to insert values into '{}'. Value for primary key column(s) {} is required for tables",
                    source.name, key.name
                );
                (row, reason)
            }));
        }
        let time = or_now(&decoded.time, self.engine.inner.clock.now_ms());
        let sent = with_null_keys(Rows::append(decoded.batch, time), keys);
        let record = |row: usize| Record { line: None, raw: Some(rows[row].text.to_vec()) };
        let door = self.door(source)?;
        let admitted = door.admit(Run { rows: sent, refused, record: &record })?;
        let mut results: Vec<Result<()>> = vec![Ok(()); rows.len()];
        for (row, _, reason) in &admitted.refused {
            results[*row] = Err(Error::statement(reason.clone()));
        }
        self.write_admitted(door, admitted)?;
        Ok(results)
    }
}

/// A row as a client sent it.
pub struct SentRow {
    pub text: Bytes,
    /// The object it is, or why it is none.
    pub object: std::result::Result<serde_json::Map<String, serde_json::Value>, String>,
}

/// Times, and now where there is none.
pub(crate) fn or_now(time: &Int64Array, now_ms: i64) -> Int64Array {
    Int64Array::from_iter_values(time.iter().map(|time| time.unwrap_or(now_ms)))
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
