//! The PROTOBUF_NOSR format: a proto3 message whose fields are the columns, numbered from 1; no registry, no framing.
//!
//! | type | field |
//! |---|---|
//! | BOOLEAN, INTEGER, BIGINT, DOUBLE, STRING, BYTES | `bool`, `int32`, `int64`, `double`, `string`, `bytes` |
//! | DECIMAL | message `{bytes value = 1; uint32 precision = 2; int32 scale = 3}` (two's complement, big endian) |
//! | DATE | message `{int32 year = 1, month = 2, day = 3}` |
//! | TIME | message `{int32 hours = 1, minutes = 2, seconds = 3, nanos = 4}` |
//! | TIMESTAMP | message `{int64 seconds = 1; int32 nanos = 2}` |
//! | STRUCT | message of its fields, numbered from 1 |
//! | ARRAY | repeated; numbers packed; null items are left out |
//! | MAP | repeated message `{key = 1; value = 2}` |
//!
//! Proto3 cannot tell null from a default: null and missing BOOLEAN, numbers, STRING, BYTES, ARRAY and MAP read as false,
//! 0, `''`, no bytes, `[]` and `{}`; the types that are messages read as null. With [`Nullable::Optional`] a field of one
//! of the first five that is there is written even if it is a default, and one that is not reads as null; with
//! [`Nullable::Wrapper`] it is a message `{value = 1}`, as `google.protobuf.Int32Value` is. An ARRAY or MAP inside an ARRAY is wrapped
//! in a message of one field (our choice; Protobuf has no such thing). Unknown fields are skipped, the last of several
//! values wins.

pub mod schema;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{
    Date32Type, Decimal256Type, Float64Type, Int32Type, Int64Type, Time32MillisecondType, TimestampMillisecondType,
    i256,
};

use self::wire::{Field, Value, push_bytes, push_double, push_message, push_varint};
use super::columns::Growing;
use super::temporal::{civil, days_from_civil};
use super::{Canonical, Decoded, Encoded, Format, FormatRef, Nullable, records};
use crate::error::{Error, Result};
use crate::schema::Column;
use crate::types::SqlType;

struct Protobuf {
    names: Vec<String>,
    types: Vec<SqlType>,
    nullable: Nullable,
}

type Read<T> = std::result::Result<T, &'static str>;

pub(super) fn create(columns: &[Column], nullable: Nullable) -> Result<FormatRef> {
    for column in columns {
        check(&column.ty, &column.name)?;
    }
    Ok(Arc::new(Protobuf {
        names: columns.iter().map(|c| c.name.clone()).collect(),
        types: columns.iter().map(|c| c.ty.clone()).collect(),
        nullable,
    }))
}

fn check(ty: &SqlType, column: &str) -> Result<()> {
    match ty {
        SqlType::Map(key, _) if **key != SqlType::String => Err(Error::statement(format!(
            "PROTOBUF_NOSR only supports MAP types with STRING keys, column `{column}` has keys of type {key}"
        ))),
        SqlType::Map(_, inner) | SqlType::Array(inner) => check(inner, column),
        SqlType::Struct(fields) => fields.iter().try_for_each(|f| check(&f.ty, column)),
        _ => Ok(()),
    }
}

impl Format for Protobuf {
    fn decode(&self, records: &BinaryArray, wanted: &[usize]) -> Result<Decoded> {
        records::decode(records, self.types.iter(), wanted, |_, record, columns| {
            let refused = |column: Option<&str>, what: &str| {
                let place = column.map(|name| format!(", column `{name}`")).unwrap_or_default();
                format!("the Protobuf message cannot be read: {what}{place}")
            };
            let fields = wire::fields(record).map_err(|what| refused(None, what))?;
            for (i, (ty, to)) in self.types.iter().zip(columns).enumerate() {
                read_field(ty, self.nullable, &fields, i as u32 + 1, to)
                    .map_err(|what| refused(Some(&self.names[i]), what))?;
            }
            Ok(records::Read::Columns)
        })
    }

    /// Defaults replace nulls at any depth, so it is done by writing and reading.
    fn canonicalise(&self, columns: Vec<ArrayRef>, null: Option<&BooleanBuffer>) -> Result<Canonical> {
        let wanted: Vec<usize> = (0..self.types.len()).collect();
        let bytes = self.encode(&columns, null)?.bytes;
        let Decoded { columns, null, errors } = self.decode(&bytes, &wanted)?;
        Ok(Canonical { columns, null, errors })
    }

    fn encode(&self, columns: &[ArrayRef], null: Option<&BooleanBuffer>) -> Result<Encoded> {
        let rows = columns.first().map(|c| c.len()).or(null.map(|n| n.len())).unwrap_or(0);
        let mut out = BinaryBuilder::with_capacity(rows, rows * 8 * columns.len());
        let mut message = Vec::new();
        for row in 0..rows {
            if null.is_some_and(|n| n.value(row)) {
                out.append_null();
                continue;
            }
            message.clear();
            for (i, (ty, array)) in self.types.iter().zip(columns).enumerate() {
                write_field(ty, self.nullable, array.as_ref(), row, i as u32 + 1, &mut message);
            }
            out.append_value(&message);
        }
        Ok(Encoded { bytes: out.finish(), errors: Vec::new() })
    }
}

/// Reads field `number` of a message into one row.
fn read_field(ty: &SqlType, nullable: Nullable, fields: &[Field<'_>], number: u32, to: &mut Growing) -> Read<()> {
    let mut values = fields.iter().filter(|f| f.number == number).map(|f| f.value);
    match ty {
        SqlType::Array(item) => {
            for value in values {
                read_items(item, nullable, value, to.item())?;
            }
            to.end_row();
            Ok(())
        }
        SqlType::Map(_, value_type) => {
            let mut entries: Vec<(&[u8], Vec<Field<'_>>)> = Vec::new();
            let mut places: HashMap<&[u8], usize> = HashMap::new();
            for value in values {
                let entry = wire::fields(value.bytes()?)?;
                let key = entry.iter().rev().find(|f| f.number == 1).map_or(Ok(&b""[..]), |f| f.value.bytes())?;
                match places.get(key) {
                    Some(&earlier) => entries[earlier].1 = entry,
                    None => {
                        places.insert(key, entries.len());
                        entries.push((key, entry));
                    }
                }
            }
            let (keys, values) = to.entries();
            for (key, entry) in &entries {
                keys.push_text(std::str::from_utf8(key).map_err(|_| "a string that is not UTF-8")?.as_bytes());
                read_field(value_type, nullable, entry, 2, values)?;
            }
            to.end_row();
            Ok(())
        }
        _ => match (nullable, values.next_back()) {
            (Nullable::Optional | Nullable::Wrapper, None) => {
                to.push_null();
                Ok(())
            }
            (Nullable::Wrapper, Some(wrapper)) if is_plain(ty) => {
                let value = wire::fields(wrapper.bytes()?)?.iter().rfind(|f| f.number == 1).map(|f| f.value);
                read_value(ty, nullable, value, to)
            }
            (_, value) => read_value(ty, nullable, value, to),
        },
    }
}

/// Types of Protobuf's own, which have no null.
fn is_plain(ty: &SqlType) -> bool {
    matches!(
        ty,
        SqlType::Boolean | SqlType::Integer | SqlType::Bigint | SqlType::Double | SqlType::String | SqlType::Bytes
    )
}

/// A repeated field's value: one item, or packed numbers.
fn read_items(item: &SqlType, nullable: Nullable, value: Value<'_>, to: &mut Growing) -> Read<()> {
    match (item, value) {
        (SqlType::Boolean | SqlType::Integer | SqlType::Bigint, Value::Bytes(mut packed)) => {
            while !packed.is_empty() {
                let number = wire::varint(&mut packed)?;
                read_value(item, nullable, Some(Value::Varint(number)), to)?;
            }
            Ok(())
        }
        (SqlType::Double, Value::Bytes(packed)) => {
            let (numbers, rest) = packed.as_chunks::<8>();
            numbers.iter().for_each(|bytes| to.push_double(f64::from_le_bytes(*bytes)));
            if rest.is_empty() { Ok(()) } else { Err("a double that is cut off") }
        }
        (SqlType::Array(_) | SqlType::Map(..), Value::Bytes(wrapped)) => {
            read_field(item, nullable, &wire::fields(wrapped)?, 1, to)
        }
        _ => read_value(item, nullable, Some(value), to),
    }
}

/// A value, or what a missing one stands for.
fn read_value(ty: &SqlType, nullable: Nullable, value: Option<Value<'_>>, to: &mut Growing) -> Read<()> {
    match ty {
        SqlType::Boolean => to.push_bool(value.map_or(Ok(0), |v| v.varint())? != 0),
        SqlType::Integer => to.push_int(value.map_or(Ok(0), |v| v.varint())? as i32),
        SqlType::Bigint => to.push_long(value.map_or(Ok(0), |v| v.varint())? as i64),
        SqlType::Double => to.push_double(value.map_or(Ok(0.0), |v| v.double())?),
        SqlType::Bytes => to.push_text(value.map_or(Ok(&[][..]), |v| v.bytes())?),
        SqlType::String => {
            let bytes = value.map_or(Ok(&[][..]), |v| v.bytes())?;
            to.push_text(std::str::from_utf8(bytes).map_err(|_| "a string that is not UTF-8")?.as_bytes());
        }
        SqlType::Decimal { .. } | SqlType::Date | SqlType::Time | SqlType::Timestamp | SqlType::Struct(_) => {
            let Some(value) = value else {
                to.push_null();
                return Ok(());
            };
            read_message(ty, nullable, &wire::fields(value.bytes()?)?, to)?;
        }
        SqlType::Array(_) | SqlType::Map(..) => return Err("a list where one value is expected"),
    }
    Ok(())
}

fn read_message(ty: &SqlType, nullable: Nullable, fields: &[Field<'_>], to: &mut Growing) -> Read<()> {
    let number = |number: u32| -> Read<i64> {
        let value = fields.iter().rev().find(|f| f.number == number);
        value.map_or(Ok(0), |f| f.value.varint()).map(|n| n as i64)
    };
    match ty {
        SqlType::Decimal { precision, scale } => {
            let unscaled = fields.iter().rev().find(|f| f.number == 1).map_or(Ok(&[][..]), |f| f.value.bytes())?;
            let value = rescaled(from_big_endian(unscaled)?, number(3)?, *precision, *scale);
            to.push_decimal(value.ok_or("a number that does not fit its DECIMAL without rounding")?);
        }
        SqlType::Date => {
            let days = days_from_civil(number(1)?, number(2)?, number(3)?).and_then(|d| i32::try_from(d).ok());
            to.push_int(days.ok_or("a day that does not exist")?);
        }
        SqlType::Time => {
            let seconds = number(1)?.checked_mul(3600).zip(number(2)?.checked_mul(60));
            let seconds = seconds.and_then(|(h, m)| h.checked_add(m)?.checked_add(number(3).ok()?));
            let ms = seconds.and_then(|s| s.checked_mul(1000)?.checked_add(number(4).ok()? / 1_000_000));
            to.push_int(ms.and_then(|ms| i32::try_from(ms).ok()).ok_or("a time out of range")?);
        }
        SqlType::Timestamp => {
            let ms = number(1)?.checked_mul(1000).and_then(|s| s.checked_add(number(2).ok()?.div_euclid(1_000_000)));
            to.push_long(ms.ok_or("a timestamp out of range")?);
        }
        SqlType::Struct(types) => {
            for (i, field) in types.iter().enumerate() {
                read_field(&field.ty, nullable, fields, i as u32 + 1, &mut to.fields()[i])?;
            }
            to.end_row();
        }
        _ => return Err("a message where a value is expected"),
    }
    Ok(())
}

fn write_field(ty: &SqlType, nullable: Nullable, array: &dyn Array, row: usize, number: u32, out: &mut Vec<u8>) {
    if array.is_null(row) {
        return;
    }
    match ty {
        SqlType::Array(item) => {
            let items = array.as_list::<i32>().value(row);
            let valid = (0..items.len()).filter(|&i| items.is_valid(i));
            match **item {
                SqlType::Boolean | SqlType::Integer | SqlType::Bigint | SqlType::Double => {
                    let mut packed = Vec::new();
                    valid.for_each(|i| write_packed(item, items.as_ref(), i, &mut packed));
                    if !packed.is_empty() {
                        push_bytes(number, &packed, out);
                    }
                }
                SqlType::Array(_) | SqlType::Map(..) => {
                    valid.for_each(|i| {
                        push_message(number, out, |out| write_field(item, nullable, items.as_ref(), i, 1, out))
                    });
                }
                _ => valid.for_each(|i| write_value(item, nullable, items.as_ref(), i, number, true, out)),
            }
        }
        SqlType::Map(key_type, value_type) => {
            let map = array.as_map();
            let range = map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
            for i in range {
                push_message(number, out, |out| {
                    write_field(key_type, Nullable::Implicit, map.keys().as_ref(), i, 1, out);
                    write_field(value_type, nullable, map.values().as_ref(), i, 2, out);
                });
            }
        }
        _ if nullable == Nullable::Wrapper && is_plain(ty) => {
            push_message(number, out, |out| write_value(ty, nullable, array, row, 1, false, out));
        }
        _ => write_value(ty, nullable, array, row, number, nullable == Nullable::Optional, out),
    }
}

fn write_packed(ty: &SqlType, array: &dyn Array, row: usize, out: &mut Vec<u8>) {
    match ty {
        SqlType::Boolean => push_varint(u64::from(array.as_boolean().value(row)), out),
        SqlType::Integer => push_varint(i64::from(array.as_primitive::<Int32Type>().value(row)) as u64, out),
        SqlType::Bigint => push_varint(array.as_primitive::<Int64Type>().value(row) as u64, out),
        _ => out.extend(array.as_primitive::<Float64Type>().value(row).to_le_bytes()),
    }
}

/// A valid value that is no list or map. Defaults are left out unless `always`.
fn write_value(
    ty: &SqlType,
    nullable: Nullable,
    array: &dyn Array,
    row: usize,
    number: u32,
    always: bool,
    out: &mut Vec<u8>,
) {
    let long = |value: i64, out: &mut Vec<u8>| {
        if value != 0 || always {
            wire::push_tag(number, 0, out);
            push_varint(value as u64, out);
        }
    };
    let parts = |parts: &[i64], out: &mut Vec<u8>| {
        push_message(number, out, |out| {
            for (i, &part) in parts.iter().enumerate().filter(|(_, part)| **part != 0) {
                wire::push_tag(i as u32 + 1, 0, out);
                push_varint(part as u64, out);
            }
        });
    };
    let text = |bytes: &[u8], out: &mut Vec<u8>| {
        if !bytes.is_empty() || always {
            push_bytes(number, bytes, out);
        }
    };
    match ty {
        SqlType::Boolean => long(i64::from(array.as_boolean().value(row)), out),
        SqlType::Integer => long(i64::from(array.as_primitive::<Int32Type>().value(row)), out),
        SqlType::Bigint => long(array.as_primitive::<Int64Type>().value(row), out),
        SqlType::Double => {
            let value = array.as_primitive::<Float64Type>().value(row);
            // Negative zero is no default.
            if value.to_bits() != 0 || always {
                push_double(number, value, out);
            }
        }
        SqlType::String => text(array.as_string::<i32>().value(row).as_bytes(), out),
        SqlType::Bytes => text(array.as_binary::<i32>().value(row), out),
        SqlType::Decimal { precision, scale } => {
            let value = array.as_primitive::<Decimal256Type>().value(row);
            push_message(number, out, |out| {
                push_bytes(1, to_big_endian(&value.to_be_bytes()), out);
                for (number, part) in [(2, *precision), (3, *scale)] {
                    if part != 0 {
                        wire::push_tag(number, 0, out);
                        push_varint(u64::from(part), out);
                    }
                }
            });
        }
        SqlType::Date => {
            let (year, month, day) = civil(i64::from(array.as_primitive::<Date32Type>().value(row)));
            parts(&[year, month, day], out);
        }
        SqlType::Time => {
            let ms = i64::from(array.as_primitive::<Time32MillisecondType>().value(row));
            parts(&[ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000 * 1_000_000], out);
        }
        SqlType::Timestamp => {
            let ms = array.as_primitive::<TimestampMillisecondType>().value(row);
            parts(&[ms.div_euclid(1000), ms.rem_euclid(1000) * 1_000_000], out);
        }
        SqlType::Struct(fields) => {
            let columns = array.as_struct().columns();
            push_message(number, out, |out| {
                for (i, (field, column)) in fields.iter().zip(columns).enumerate() {
                    write_field(&field.ty, nullable, column.as_ref(), row, i as u32 + 1, out);
                }
            });
        }
        SqlType::Array(_) | SqlType::Map(..) => unreachable!("lists and maps are repeated fields"),
    }
}

/// Two's complement without superfluous sign bytes.
fn to_big_endian(bytes: &[u8; 32]) -> &[u8] {
    let mut from = 0;
    while from < 31 {
        let superfluous = match bytes[from] {
            0x00 => bytes[from + 1] < 0x80,
            0xff => bytes[from + 1] >= 0x80,
            _ => false,
        };
        if !superfluous {
            break;
        }
        from += 1;
    }
    &bytes[from..]
}

fn from_big_endian(bytes: &[u8]) -> Read<i256> {
    let sign = if bytes.first().is_some_and(|b| *b >= 0x80) { 0xff } else { 0 };
    let mut wide = [sign; 32];
    let start = 32usize.checked_sub(bytes.len()).ok_or("a number too long for a DECIMAL")?;
    wide[start..].copy_from_slice(bytes);
    Ok(i256::from_be_bytes(wide))
}

fn rescaled(unscaled: i256, scale_in: i64, precision: u8, scale: u8) -> Option<i256> {
    let text = format!("{unscaled}e{}", scale_in.checked_neg()?);
    super::number::DecimalText::parse(&text)?.to_decimal(precision, scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_those_of_proto3() -> Result<()> {
        let columns = [
            Column::new("A", SqlType::Integer),
            Column::new("B", SqlType::String),
            Column::new("C", SqlType::array(SqlType::Bigint)),
        ];
        let format = create(&columns, Nullable::Implicit)?;
        // 1: 150, 2: "testing", 3: [3, 270]; then a field nobody declared.
        let bytes = b"\x08\x96\x01\x12\x07testing\x1a\x03\x03\x8e\x02\x20\x01";
        let read = format.decode(&BinaryArray::from_vec(vec![bytes]), &[0, 1, 2])?;
        assert!(read.errors.is_empty(), "{:?}", read.errors);
        assert_eq!(read.columns[0].as_primitive::<Int32Type>().value(0), 150);
        let written = format.encode(&read.columns, None)?;
        assert_eq!(written.bytes.value(0), &bytes[..bytes.len() - 2]);
        Ok(())
    }

    #[test]
    fn nulls_read_as_defaults() -> Result<()> {
        let columns = [Column::new("A", SqlType::Integer), Column::new("B", SqlType::Date)];
        let read = create(&columns, Nullable::Implicit)?
            .decode(&BinaryArray::from_vec(vec![b"".as_slice(), b"\x0a"]), &[0, 1])?;
        assert_eq!(read.columns[0].as_primitive::<Int32Type>().value(0), 0);
        assert!(read.columns[1].is_null(0));
        assert_eq!(read.errors.len(), 1);
        Ok(())
    }

    #[test]
    fn nulls_stay_nulls_where_fields_are_optional_or_wrapped() -> Result<()> {
        let columns = [Column::new("A", SqlType::Integer), Column::new("B", SqlType::String)];
        for (nullable, defaults) in [
            (Nullable::Optional, b"\x08\x00\x12\x00".as_slice()),
            // Int32Value {} and StringValue {}: messages without their field.
            (Nullable::Wrapper, b"\x0a\x00\x12\x00"),
        ] {
            let format = create(&columns, nullable)?;
            let read = format.decode(&BinaryArray::from_vec(vec![b"".as_slice(), defaults]), &[0, 1])?;
            assert!(read.errors.is_empty() && read.columns.iter().all(|column| column.is_null(0)), "{nullable:?}");
            assert_eq!(read.columns[0].as_primitive::<Int32Type>().value(1), 0);
            assert!(read.columns[1].is_valid(1) && read.columns[1].as_string::<i32>().value(1).is_empty());
            let written = format.encode(&read.columns, None)?.bytes;
            assert_eq!((written.value(0), written.value(1)), (b"".as_slice(), defaults));
        }
        Ok(())
    }
}
