//! Columns while they grow: what decoders write into.
//!
//! Like Arrow's builders, but they can be cut back to an earlier length (a record found bad half-way leaves no trace), and
//! one of them only counts: a column that is validated but not wanted.
//!
//! | call | effect |
//! |---|---|
//! | `push_…` | one row more |
//! | `push_null` | one null row more, nested rows included where Arrow wants them |
//! | `truncate(n)` | as if only the first `n` rows had been pushed |
//! | `finish` | the array, or an error if its text passes Arrow's 2 GiB |

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, Date32Array, Decimal256Array, Float64Array, Int32Array,
    Int64Array, ListArray, MapArray, StringArray, StructArray, Time32MillisecondArray, TimestampMillisecondArray,
    new_null_array,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{DataType, i256};

use crate::error::{Error, Result};
use crate::types::SqlType;

/// One column that grows row by row.
pub(super) struct Growing {
    ty: DataType,
    values: Values,
    /// Made at the first null.
    valid: Option<BooleanBufferBuilder>,
    len: usize,
}

enum Values {
    /// Validated, not kept.
    Discard,
    Boolean(BooleanBufferBuilder),
    Int(Vec<i32>),
    Long(Vec<i64>),
    Double(Vec<f64>),
    Decimal(Vec<i256>),
    /// STRING and BYTES.
    Text {
        ends: Vec<i32>,
        bytes: Vec<u8>,
    },
    List {
        ends: Vec<i32>,
        item: Box<Growing>,
    },
    Map {
        ends: Vec<i32>,
        key: Box<Growing>,
        value: Box<Growing>,
    },
    Struct(Vec<Growing>),
}

impl Growing {
    pub(super) fn new(ty: &SqlType, rows: usize) -> Self {
        let ends = |rows: usize| Vec::with_capacity(rows);
        let values = match ty {
            SqlType::Boolean => Values::Boolean(BooleanBufferBuilder::new(rows)),
            SqlType::Integer | SqlType::Date | SqlType::Time => Values::Int(Vec::with_capacity(rows)),
            SqlType::Bigint | SqlType::Timestamp => Values::Long(Vec::with_capacity(rows)),
            SqlType::Double => Values::Double(Vec::with_capacity(rows)),
            SqlType::Decimal { .. } => Values::Decimal(Vec::with_capacity(rows)),
            SqlType::String | SqlType::Bytes => {
                Values::Text { ends: ends(rows), bytes: Vec::with_capacity(rows.saturating_mul(16)) }
            }
            SqlType::Array(item) => Values::List { ends: ends(rows), item: Box::new(Growing::new(item, 0)) },
            SqlType::Map(key, value) => Values::Map {
                ends: ends(rows),
                key: Box::new(Growing::new(key, 0)),
                value: Box::new(Growing::new(value, 0)),
            },
            SqlType::Struct(fields) => Values::Struct(fields.iter().map(|f| Growing::new(&f.ty, rows)).collect()),
        };
        Self { ty: ty.to_arrow(), values, valid: None, len: 0 }
    }

    /// A column of `ty` that counts its rows and keeps nothing; nested columns are kept in shape but stay small, since
    /// the caller cuts them back.
    pub(super) fn discard(ty: &SqlType) -> Self {
        let values = match ty {
            SqlType::Array(item) => Values::List { ends: Vec::new(), item: Box::new(Growing::discard(item)) },
            SqlType::Map(key, value) => Values::Map {
                ends: Vec::new(),
                key: Box::new(Growing::discard(key)),
                value: Box::new(Growing::discard(value)),
            },
            SqlType::Struct(fields) => Values::Struct(fields.iter().map(|f| Growing::discard(&f.ty)).collect()),
            _ => Values::Discard,
        };
        Self { ty: ty.to_arrow(), values, valid: None, len: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn pushed(&mut self) {
        if let Some(valid) = &mut self.valid {
            valid.append(true);
        }
        self.len += 1;
    }

    pub(super) fn push_bool(&mut self, value: bool) {
        if let Values::Boolean(values) = &mut self.values {
            values.append(value);
        }
        self.pushed();
    }

    pub(super) fn push_int(&mut self, value: i32) {
        if let Values::Int(values) = &mut self.values {
            values.push(value);
        }
        self.pushed();
    }

    pub(super) fn push_long(&mut self, value: i64) {
        if let Values::Long(values) = &mut self.values {
            values.push(value);
        }
        self.pushed();
    }

    pub(super) fn push_double(&mut self, value: f64) {
        if let Values::Double(values) = &mut self.values {
            values.push(value);
        }
        self.pushed();
    }

    pub(super) fn push_decimal(&mut self, value: i256) {
        if let Values::Decimal(values) = &mut self.values {
            values.push(value);
        }
        self.pushed();
    }

    /// STRING or BYTES.
    pub(super) fn push_text(&mut self, value: &[u8]) {
        if let Values::Text { ends, bytes } = &mut self.values {
            bytes.extend_from_slice(value);
            ends.push(bytes.len() as i32);
        }
        self.pushed();
    }

    pub(super) fn push_null(&mut self) {
        match &mut self.values {
            Values::Discard => {}
            Values::Boolean(values) => values.append(false),
            Values::Int(values) => values.push(0),
            Values::Long(values) => values.push(0),
            Values::Double(values) => values.push(0.0),
            Values::Decimal(values) => values.push(i256::ZERO),
            Values::Text { ends, bytes } => ends.push(bytes.len() as i32),
            Values::List { ends, item } => ends.push(item.len as i32),
            Values::Map { ends, key, .. } => ends.push(key.len as i32),
            Values::Struct(fields) => fields.iter_mut().for_each(Growing::push_null),
        }
        let len = self.len;
        self.valid
            .get_or_insert_with(|| {
                let mut valid = BooleanBufferBuilder::new(len + 1);
                valid.append_n(len, true);
                valid
            })
            .append(false);
        self.len += 1;
    }

    /// Where the items of the row being written go; end the row with [`Growing::end_row`].
    pub(super) fn item(&mut self) -> &mut Growing {
        match &mut self.values {
            Values::List { item, .. } => item,
            _ => unreachable!("only a list has items"),
        }
    }

    /// Where the entries of the row being written go; end the row with [`Growing::end_row`].
    pub(super) fn entries(&mut self) -> (&mut Growing, &mut Growing) {
        match &mut self.values {
            Values::Map { key, value, .. } => (key, value),
            _ => unreachable!("only a map has entries"),
        }
    }

    /// The fields of a struct; each gets exactly one row, then [`Growing::end_row`].
    pub(super) fn fields(&mut self) -> &mut [Growing] {
        match &mut self.values {
            Values::Struct(fields) => fields,
            _ => unreachable!("only a struct has fields"),
        }
    }

    /// Ends a row of a list, map or struct whose items, entries or fields have been pushed.
    pub(super) fn end_row(&mut self) {
        match &mut self.values {
            Values::List { ends, item } => ends.push(item.len as i32),
            Values::Map { ends, key, .. } => ends.push(key.len as i32),
            _ => {}
        }
        self.pushed();
    }

    /// Back to the first `rows` rows, whatever was begun after them.
    pub(super) fn truncate(&mut self, rows: usize) {
        let rows = rows.min(self.len);
        let start = |ends: &[i32]| if rows == 0 { 0 } else { ends[rows - 1] as usize };
        match &mut self.values {
            Values::Discard => {}
            Values::Boolean(values) => values.truncate(rows),
            Values::Int(values) => values.truncate(rows),
            Values::Long(values) => values.truncate(rows),
            Values::Double(values) => values.truncate(rows),
            Values::Decimal(values) => values.truncate(rows),
            Values::Text { ends, bytes } => {
                ends.truncate(rows);
                bytes.truncate(start(ends));
            }
            Values::List { ends, item } => {
                ends.truncate(rows);
                item.truncate(start(ends));
            }
            Values::Map { ends, key, value } => {
                ends.truncate(rows);
                key.truncate(start(ends));
                value.truncate(start(ends));
            }
            Values::Struct(fields) => fields.iter_mut().for_each(|f| f.truncate(rows)),
        }
        if let Some(valid) = &mut self.valid {
            valid.truncate(rows);
        }
        self.len = rows;
    }

    pub(super) fn finish(self) -> Result<ArrayRef> {
        let Self { ty, values, valid, len } = self;
        let nulls = valid.map(|mut v| NullBuffer::new(v.finish()));
        let array: ArrayRef = match values {
            Values::Discard => new_null_array(&ty, len),
            Values::Boolean(mut values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int(values) => match ty {
                DataType::Date32 => Arc::new(Date32Array::new(values.into(), nulls)),
                DataType::Time32(_) => Arc::new(Time32MillisecondArray::new(values.into(), nulls)),
                _ => Arc::new(Int32Array::new(values.into(), nulls)),
            },
            Values::Long(values) => match ty {
                DataType::Timestamp(..) => Arc::new(TimestampMillisecondArray::new(values.into(), nulls)),
                _ => Arc::new(Int64Array::new(values.into(), nulls)),
            },
            Values::Double(values) => Arc::new(Float64Array::new(values.into(), nulls)),
            Values::Decimal(values) => {
                Arc::new(Decimal256Array::new(ScalarBuffer::from(values), nulls).with_data_type(ty))
            }
            Values::Text { ends, bytes } => {
                let offsets = offsets(ends, bytes.len())?;
                match ty {
                    DataType::Binary => Arc::new(BinaryArray::try_new(offsets, Buffer::from_vec(bytes), nulls)?),
                    _ => Arc::new(StringArray::try_new(offsets, Buffer::from_vec(bytes), nulls)?),
                }
            }
            Values::List { ends, item } => {
                let offsets = offsets(ends, item.len)?;
                let DataType::List(field) = ty else { unreachable!("a growing list has a list type") };
                Arc::new(ListArray::try_new(field, offsets, item.finish()?, nulls)?)
            }
            Values::Map { ends, key, value } => {
                let offsets = offsets(ends, key.len)?;
                let DataType::Map(field, sorted) = ty else { unreachable!("a growing map has a map type") };
                let DataType::Struct(fields) = field.data_type() else { unreachable!("a map's entries are a struct") };
                let entries = StructArray::try_new(fields.clone(), vec![key.finish()?, value.finish()?], None)?;
                Arc::new(MapArray::try_new(field, offsets, entries, nulls, sorted)?)
            }
            Values::Struct(fields) => {
                let DataType::Struct(types) = ty else { unreachable!("a growing struct has a struct type") };
                let columns = fields.into_iter().map(Growing::finish).collect::<Result<Vec<_>>>()?;
                Arc::new(StructArray::try_new_with_length(types, columns, nulls, len)?)
            }
        };
        Ok(array)
    }
}

/// Arrow's offsets from the ends of each row.
fn offsets(ends: Vec<i32>, len: usize) -> Result<OffsetBuffer<i32>> {
    if i32::try_from(len).is_err() {
        return Err(Error::limit("a batch holds more than 2 GiB of one column; read fewer records at once"));
    }
    let mut offsets = Vec::with_capacity(ends.len() + 1);
    offsets.push(0);
    offsets.extend_from_slice(&ends);
    Ok(OffsetBuffer::new(offsets.into()))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, AsArray};

    use super::*;

    #[test]
    fn a_row_cut_back_leaves_no_trace() -> Result<()> {
        let mut column = Growing::new(&SqlType::array(SqlType::String), 0);
        column.item().push_text(b"a");
        column.end_row();
        column.item().push_text(b"half");
        column.item().push_null();
        column.truncate(1);
        column.push_null();
        let array = column.finish()?;
        assert_eq!(array.len(), 2);
        assert_eq!(array.null_count(), 1);
        let items = array.as_list::<i32>().values().clone();
        assert_eq!(items.as_string::<i32>().iter().collect::<Vec<_>>(), vec![Some("a")]);
        Ok(())
    }
}
