//! Rows of the tables that queries keep, for pull and batch queries.
//!
//! Each task answers at a group boundary; the answer is given once what it rests on is durable. A pull query's rows come
//! partition by partition, within one in the order of their serialised key, then of their window: the order in which
//! ksqlDB's stores hold them, so that LIMIT keeps the same rows.

use arrow::array::UInt32Array;

use super::{RunningQuery, Runtime};
use crate::error::Result;
use crate::format::{self, FormatRef, Side};
use crate::ops::Lookup;
use crate::plan::steps::StepKind;
use crate::rows::Rows;

impl Runtime {
    /// Current rows of the table that a query maintains, as its sink's rows, in no order. None if it keeps no table.
    pub fn lookup(&self, query: &str, lookup: &Lookup) -> Result<Option<Vec<Rows>>> {
        let query = self.query(query)?;
        Ok(self.rows_by_partition(&query, lookup)?.map(|parts| parts.into_iter().flatten().collect()))
    }

    /// The same in the order of partitions and keys.
    pub fn lookup_in_key_order(&self, query: &str, lookup: &Lookup) -> Result<Option<Vec<Rows>>> {
        let query = self.query(query)?;
        let Some(parts) = self.rows_by_partition(&query, lookup)? else { return Ok(None) };
        let plan = &query.definition.plan;
        let format = match (&plan.sink, &plan.root.kind) {
            (Some(sink), _) => &sink.key_format,
            (None, StepKind::Scan(scan)) => &scan.key_format,
            (None, _) => return Ok(Some(parts.into_iter().flatten().collect())),
        };
        let key = &plan.root.schema.key;
        let codec = format::create(format, key, Side::Key)?;
        let ordered =
            parts.into_iter().filter(|rows| !rows.is_empty()).map(|rows| in_key_order(&rows, &codec, key.len()));
        Ok(Some(ordered.collect::<Result<_>>()?))
    }

    fn rows_by_partition(&self, query: &RunningQuery, lookup: &Lookup) -> Result<Option<Vec<Vec<Rows>>>> {
        let mut parts = Vec::new();
        let mut position = Default::default();
        for index in &query.table_tasks {
            let mut task = query.tasks[*index].task.lock();
            match task.lookup(lookup)? {
                Some(rows) => parts.push(rows),
                None => return Ok(None),
            }
            position = std::cmp::max(position, task.last_commit());
        }
        self.log.wait_durable(position)?;
        Ok(Some(parts))
    }
}

/// `parts` is not empty.
fn in_key_order(parts: &[Rows], codec: &FormatRef, key_columns: usize) -> Result<Rows> {
    let rows = Rows::concat(parts)?;
    if rows.len() < 2 {
        return Ok(rows);
    }
    let keys = codec.encode(&rows.columns.columns()[..key_columns], rows.null_key.as_ref())?.bytes;
    let window = |row: u32| rows.window.as_ref().map_or(0, |window| window.start.value(row as usize));
    let mut order: Vec<u32> = (0..rows.len() as u32).collect();
    order.sort_by(|&a, &b| keys.value(a as usize).cmp(keys.value(b as usize)).then_with(|| window(a).cmp(&window(b))));
    rows.take(&UInt32Array::from(order))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Float64Array, RecordBatch};
    use arrow::datatypes::Float64Type;

    use super::*;
    use crate::format::{FormatName, FormatSpec};
    use crate::schema::Column;
    use crate::types::SqlType;

    #[test]
    fn rows_of_a_partition_come_in_the_order_of_their_key_bytes() {
        let rows = |keys: Vec<f64>| {
            let time = vec![0; keys.len()].into();
            let columns = RecordBatch::try_from_iter([("K", Arc::new(Float64Array::from(keys)) as _)]).unwrap();
            Rows::append(columns, time)
        };
        let ordered = |format: FormatName| {
            let column = Column::new("K", SqlType::Double);
            let codec = format::create(&FormatSpec::new(format), &[column], Side::Key).unwrap();
            let rows = in_key_order(&[rows(vec![90.0, 110.0]), rows(vec![-1.0, 10.0])], &codec, 1).unwrap();
            rows.columns.column(0).as_primitive::<Float64Type>().values().to_vec()
        };
        // Eight bytes, the sign first; and as text.
        assert_eq!(ordered(FormatName::Kafka), [10.0, 90.0, 110.0, -1.0]);
        assert_eq!(ordered(FormatName::Json), [-1.0, 10.0, 110.0, 90.0]);
    }
}
