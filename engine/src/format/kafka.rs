//! The KAFKA format: one bare column in the bytes of Kafka's own serialisers.
//!
//! | type | bytes |
//! |---|---|
//! | INTEGER | 4, big endian |
//! | BIGINT | 8, big endian |
//! | DOUBLE | 8, big endian |
//! | STRING | UTF-8; bytes that are not become U+FFFD |
//! | BYTES | as they are |
//!
//! A null column is a null record.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};

use super::none::NoColumns;
use super::records::{self, Read};
use super::{Canonical, Decoded, Encoded, Format, FormatRef, absorb_nulls};
use crate::error::{Error, Result};
use crate::schema::Column;
use crate::types::SqlType;

struct Kafka(SqlType);

pub(super) fn create(columns: &[Column]) -> Result<FormatRef> {
    match columns {
        [] => Ok(Arc::new(NoColumns)),
        [column] => match column.ty {
            SqlType::Integer | SqlType::Bigint | SqlType::Double | SqlType::String | SqlType::Bytes => {
                Ok(Arc::new(Kafka(column.ty.clone())))
            }
            _ => Err(Error::statement(format!(
                "The 'KAFKA' format does not support type '{}', column: `{}`",
                column.ty.base_name(),
                column.name
            ))),
        },
        _ => {
            let names: Vec<String> = columns.iter().map(|c| format!("`{}` {}", c.name, c.ty)).collect();
            Err(Error::statement(format!(
                "The 'KAFKA' format only supports a single field. Got: [{}]",
                names.join(", ")
            )))
        }
    }
}

impl Format for Kafka {
    fn decode(&self, records: &BinaryArray, wanted: &[usize]) -> Result<Decoded> {
        records::decode(records, std::iter::once(&self.0), wanted, |_, bytes, columns| {
            let column = &mut columns[0];
            let fits = match self.0 {
                SqlType::Integer => push(bytes, |b| column.push_int(i32::from_be_bytes(b))),
                SqlType::Bigint => push(bytes, |b| column.push_long(i64::from_be_bytes(b))),
                SqlType::Double => push(bytes, |b| column.push_double(f64::from_be_bytes(b))),
                SqlType::String => {
                    column.push_text(String::from_utf8_lossy(bytes).as_bytes());
                    true
                }
                _ => {
                    column.push_text(bytes);
                    true
                }
            };
            if fits {
                Ok(Read::Columns)
            } else {
                Err(format!("{} bytes are no {} of the KAFKA format", bytes.len(), self.0))
            }
        })
    }

    fn canonicalise(&self, columns: Vec<ArrayRef>, null: Option<&BooleanBuffer>) -> Result<Canonical> {
        let (columns, null) = absorb_nulls(columns, null, true)?;
        Ok(Canonical { columns, null, errors: Vec::new() })
    }

    fn encode(&self, columns: &[ArrayRef], null: Option<&BooleanBuffer>) -> Result<Encoded> {
        let [array] = columns else { return Err(Error::internal("the KAFKA format writes exactly one column")) };
        let nulls = NullBuffer::union(array.nulls(), null.map(|n| NullBuffer::new(!n)).as_ref());
        let fixed = |width: usize, value: &dyn Fn(usize, &mut BinaryBuilder)| {
            let mut out = BinaryBuilder::with_capacity(array.len(), array.len() * width);
            for row in 0..array.len() {
                if nulls.as_ref().is_some_and(|n| n.is_null(row)) {
                    out.append_null();
                } else {
                    value(row, &mut out);
                }
            }
            out.finish()
        };
        let bytes = match self.0 {
            SqlType::Integer => {
                let values = array.as_primitive::<Int32Type>();
                fixed(4, &|row, out| out.append_value(values.value(row).to_be_bytes()))
            }
            SqlType::Bigint => {
                let values = array.as_primitive::<Int64Type>();
                fixed(8, &|row, out| out.append_value(values.value(row).to_be_bytes()))
            }
            SqlType::Double => {
                let values = array.as_primitive::<Float64Type>();
                fixed(8, &|row, out| out.append_value(values.value(row).to_be_bytes()))
            }
            SqlType::String => {
                let text = array.as_string::<i32>();
                BinaryArray::new(text.offsets().clone(), text.values().clone(), nulls)
            }
            _ => {
                let bytes = array.as_binary::<i32>();
                BinaryArray::new(bytes.offsets().clone(), bytes.values().clone(), nulls)
            }
        };
        Ok(Encoded { bytes, errors: Vec::new() })
    }
}

/// Pushes a value of exactly `N` bytes; false if there are more or fewer.
fn push<const N: usize>(bytes: &[u8], push: impl FnOnce([u8; N])) -> bool {
    bytes.try_into().map(push).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::RowError;

    #[test]
    fn wrong_lengths_are_row_errors() -> Result<()> {
        let format = create(&[Column::new("K", SqlType::Integer)])?;
        let read = format.decode(&BinaryArray::from_opt_vec(vec![Some(&[0, 0, 0, 7]), Some(&[1]), None]), &[0])?;
        assert_eq!(read.columns[0].as_primitive::<Int32Type>().iter().collect::<Vec<_>>(), vec![Some(7), None, None]);
        assert_eq!(read.errors, vec![RowError::new(1, "1 bytes are no INTEGER of the KAFKA format")]);
        assert_eq!(read.null.map(|n| n.count_set_bits()), Some(1));
        Ok(())
    }
}
