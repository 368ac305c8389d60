//! Few values without ceremony: an Arrow IPC message of one row of ten columns takes 1.5 KB, this form some 100 bytes.
//!
//! ```text
//! array    = nulls values
//! nulls    = 0                        none
//!          | 1 bits                   set = valid
//! values   = bytes × width            numbers, dates, decimals
//!          | bits                     booleans
//!          | length × n, bytes        texts, binaries
//!          | length × n, array        lists, maps
//!          | array × fields           structs
//! ```
//!
//! The number of values and the type are known to whoever reads.

use arrow::array::{Array, ArrayData, ArrayRef, AsArray, make_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer};
use arrow::datatypes::DataType;

use super::{Bytes, damaged, put_number};
use crate::error::{Error, Result};

/// Whether arrays of this type have a compact form.
pub(crate) fn supports(ty: &DataType) -> bool {
    match ty {
        DataType::Null | DataType::Boolean | DataType::Utf8 | DataType::Binary => true,
        DataType::List(item) | DataType::Map(item, _) => supports(item.data_type()),
        DataType::Struct(fields) => fields.iter().all(|f| supports(f.data_type())),
        other => other.primitive_width().is_some(),
    }
}

pub(crate) fn put_array(out: &mut Vec<u8>, array: &dyn Array) -> Result<()> {
    match array.nulls().filter(|n| n.null_count() > 0) {
        Some(nulls) => {
            out.push(1);
            put_bits(out, nulls.inner());
        }
        None => out.push(0),
    }
    match array.data_type() {
        DataType::Null => {}
        DataType::Boolean => put_bits(out, array.as_boolean().values()),
        DataType::Utf8 => put_texts(out, array.as_string::<i32>().offsets(), array.as_string::<i32>().values()),
        DataType::Binary => put_texts(out, array.as_binary::<i32>().offsets(), array.as_binary::<i32>().values()),
        DataType::List(_) => put_items(out, array.as_list::<i32>().offsets(), array.as_list::<i32>().values())?,
        DataType::Map(_, _) => put_items(out, array.as_map().offsets(), array.as_map().entries())?,
        DataType::Struct(_) => {
            for child in array.as_struct().columns() {
                put_array(out, child)?;
            }
        }
        other => {
            let width = other.primitive_width().ok_or_else(|| unsupported(other))?;
            let data = array.to_data();
            out.extend_from_slice(&data.buffers()[0][data.offset() * width..(data.offset() + data.len()) * width]);
        }
    }
    Ok(())
}

fn put_texts(out: &mut Vec<u8>, offsets: &[i32], bytes: &[u8]) {
    let (start, end) = put_lengths(out, offsets);
    out.extend_from_slice(&bytes[start..end]);
}

fn put_items(out: &mut Vec<u8>, offsets: &[i32], items: &dyn Array) -> Result<()> {
    let (start, end) = put_lengths(out, offsets);
    put_array(out, &items.slice(start, end - start))
}

pub(crate) fn take_array(from: &mut Bytes<'_>, ty: &DataType, len: usize) -> Result<ArrayRef> {
    Ok(make_array(take_data(from, ty, len)?))
}

fn take_data(from: &mut Bytes<'_>, ty: &DataType, len: usize) -> Result<ArrayData> {
    let nulls = match from.byte()? {
        0 => None,
        1 => Some(NullBuffer::new(take_bits(from, len)?)),
        _ => return Err(damaged()),
    };
    let builder = ArrayData::builder(ty.clone()).len(len);
    let builder = match ty {
        DataType::Null => return Ok(ArrayData::new_null(ty, len)),
        DataType::Boolean => builder.add_buffer(take_bits(from, len)?.into_inner()),
        DataType::Utf8 | DataType::Binary => {
            let (offsets, bytes) = take_lengths(from, len)?;
            builder.add_buffer(offsets).add_buffer(Buffer::from(from.take(bytes)?))
        }
        DataType::List(item) | DataType::Map(item, _) => {
            let (offsets, items) = take_lengths(from, len)?;
            builder.add_buffer(offsets).add_child_data(take_data(from, item.data_type(), items)?)
        }
        DataType::Struct(fields) => {
            let children = fields.iter().map(|f| take_data(from, f.data_type(), len)).collect::<Result<Vec<_>>>()?;
            builder.child_data(children)
        }
        other => {
            let width = other.primitive_width().ok_or_else(|| unsupported(other))?;
            let bytes = len.checked_mul(width).ok_or_else(damaged)?;
            builder.add_buffer(Buffer::from(from.take(bytes)?))
        }
    };
    Ok(builder.nulls(nulls).build()?)
}

fn put_bits(out: &mut Vec<u8>, bits: &BooleanBuffer) {
    out.extend_from_slice(&bits.sliced()[..bits.len().div_ceil(8)]);
}

fn take_bits(from: &mut Bytes<'_>, len: usize) -> Result<BooleanBuffer> {
    Ok(BooleanBuffer::new(Buffer::from(from.take(len.div_ceil(8))?), 0, len))
}

/// Returns where the items of the array start and end.
fn put_lengths(out: &mut Vec<u8>, offsets: &[i32]) -> (usize, usize) {
    for pair in offsets.windows(2) {
        put_number(out, (pair[1] - pair[0]) as u64);
    }
    (offsets[0] as usize, offsets[offsets.len() - 1] as usize)
}

/// Returns the offsets and how many items there are in all.
fn take_lengths(from: &mut Bytes<'_>, len: usize) -> Result<(Buffer, usize)> {
    let mut end = 0i32;
    let mut offsets = Vec::with_capacity(len + 1);
    offsets.push(0);
    for _ in 0..len {
        let item = i32::try_from(from.len()?).map_err(|_| damaged())?;
        end = end.checked_add(item).ok_or_else(damaged)?;
        offsets.push(end);
    }
    Ok((Buffer::from_vec(offsets), end as usize))
}

fn unsupported(ty: &DataType) -> Error {
    Error::internal(format!("arrays of type {ty} have no compact form"))
}
