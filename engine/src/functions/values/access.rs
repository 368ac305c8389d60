//! Reaching into collections and building them.
//!
//! | expression | value |
//! |---|---|
//! | `[10, 20][1]`, `[-1]`, `[0]`, `[3]` | 10, 20, null, null |
//! | `{a=1}['b']` | null |
//! | `null->F` | null |
//! | `MAP('a' := 1, 'a' := 2)` | `{a=2}` |

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, UInt32Array};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{interleave, take};
use arrow::datatypes::{DataType, Int32Type};

use super::cast::with_nulls;
use super::equality::equal_at;
use crate::functions::scalar::Evaluated;
use crate::types::SqlType;

/// `array[index]`: 1-based, negative from the end, null outside.
pub fn array_item(array: &ArrayRef, index: &ArrayRef) -> Evaluated {
    let list = array.as_list::<i32>();
    let index = index.as_primitive::<Int32Type>();
    let offsets = list.value_offsets();
    let rows: UInt32Array = (0..list.len())
        .map(|row| {
            if list.is_null(row) || index.is_null(row) {
                return None;
            }
            let (start, length) = (offsets[row], offsets[row + 1] - offsets[row]);
            let at = match index.value(row) {
                at @ 1.. => at - 1,
                at => length.checked_add(at).filter(|_| at < 0)?,
            };
            (0..length).contains(&at).then_some((start + at) as u32)
        })
        .collect();
    take(list.values(), &rows, None).map_err(|e| e.to_string())
}

/// `map[key]`: null if there is no such key.
pub fn map_item(map: &ArrayRef, key: &ArrayRef) -> Evaluated {
    let map = map.as_map();
    let offsets = map.value_offsets();
    let keys = map.keys();
    let text_keys = keys.as_string_opt::<i32>().zip(key.as_string_opt::<i32>());
    let rows: UInt32Array = (0..map.len())
        .map(|row| {
            if map.is_null(row) || key.is_null(row) {
                return None;
            }
            let mut entries = offsets[row] as usize..offsets[row + 1] as usize;
            let found = match text_keys {
                Some((keys, wanted)) => {
                    let wanted = wanted.value(row);
                    entries.find(|entry| keys.value(*entry) == wanted)
                }
                None => entries.find(|entry| equal_at(keys.as_ref(), *entry, key.as_ref(), row)),
            };
            found.map(|entry| entry as u32)
        })
        .collect();
    take(map.values(), &rows, None).map_err(|e| e.to_string())
}

/// `struct->field`, the field by position; null where the struct is null.
pub fn struct_field(structure: &ArrayRef, position: usize) -> Evaluated {
    let structure = structure.as_struct();
    with_nulls(structure.column(position), structure.nulls())
}

/// Columns side by side become one item each of every row's array.
pub fn array_of(items: &[ArrayRef], rows: usize, ty: &SqlType) -> Evaluated {
    let DataType::List(field) = ty.to_arrow() else { return Err(format!("{ty} is not an ARRAY")) };
    let values =
        if items.is_empty() { arrow::array::new_empty_array(field.data_type()) } else { interleaved(items, rows)? };
    let offsets = OffsetBuffer::from_lengths(std::iter::repeat_n(items.len(), rows));
    Ok(Arc::new(ListArray::try_new(field, offsets, values, None).map_err(|e| e.to_string())?))
}

/// Row 0 of every column, row 1 of every column, …
fn interleaved(columns: &[ArrayRef], rows: usize) -> Evaluated {
    let places: Vec<(usize, usize)> =
        (0..rows).flat_map(|row| (0..columns.len()).map(move |column| (column, row))).collect();
    let columns: Vec<&dyn Array> = columns.iter().map(AsRef::as_ref).collect();
    interleave(&columns, &places).map_err(|e| e.to_string())
}

/// `MAP(k := v, …)`: of equal keys the last value stays, a null key is left out.
pub fn map_of(keys: &[ArrayRef], values: &[ArrayRef], rows: usize, ty: &SqlType) -> Evaluated {
    if keys.is_empty() {
        return build_map(ty, None, vec![0; rows], None);
    }
    let (all_keys, all_values) = (interleaved(keys, rows)?, interleaved(values, rows)?);
    let mut picked = Vec::with_capacity(rows * keys.len());
    let mut lengths = Vec::with_capacity(rows);
    for row in 0..rows {
        lengths.push(last_of_each_key(&all_keys, row * keys.len()..(row + 1) * keys.len(), &mut picked));
    }
    let picked = UInt32Array::from(picked);
    let keys = take(&all_keys, &picked, None).map_err(|e| e.to_string())?;
    let values = take(&all_values, &picked, None).map_err(|e| e.to_string())?;
    build_map(ty, Some((keys, values)), lengths, None)
}

/// Appends the positions of the entries that stay: keys in order of first appearance, each with its last value.
/// Quadratic in the entries of one row; fine to some hundreds.
pub fn last_of_each_key(keys: &ArrayRef, entries: std::ops::Range<usize>, picked: &mut Vec<u32>) -> usize {
    let start = picked.len();
    for entry in entries {
        if keys.is_null(entry) {
            continue;
        }
        let known = picked[start..].iter().position(|p| equal_at(keys.as_ref(), *p as usize, keys.as_ref(), entry));
        match known {
            Some(at) => picked[start + at] = entry as u32,
            None => picked.push(entry as u32),
        }
    }
    picked.len() - start
}

/// A MAP column from its entries, or without any.
pub fn build_map(
    ty: &SqlType,
    entries: Option<(ArrayRef, ArrayRef)>,
    lengths: Vec<usize>,
    nulls: Option<NullBuffer>,
) -> Evaluated {
    let DataType::Map(field, sorted) = ty.to_arrow() else { return Err(format!("{ty} is not a MAP")) };
    let DataType::Struct(fields) = field.data_type() else { return Err(format!("{ty} has no entries")) };
    let columns = match entries {
        Some((keys, values)) => vec![keys, values],
        None => fields.iter().map(|f| arrow::array::new_empty_array(f.data_type())).collect(),
    };
    let entries = StructArray::try_new(fields.clone(), columns, None).map_err(|e| e.to_string())?;
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(MapArray::try_new(field, offsets, entries, nulls, sorted).map_err(|e| e.to_string())?))
}

/// An ARRAY column from its items.
pub fn build_list(ty: &SqlType, items: ArrayRef, lengths: Vec<usize>, nulls: Option<NullBuffer>) -> Evaluated {
    let DataType::List(field) = ty.to_arrow() else { return Err(format!("{ty} is not an ARRAY")) };
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(ListArray::try_new(field, offsets, items, nulls).map_err(|e| e.to_string())?))
}

/// `STRUCT(f := v, …)`.
pub fn struct_of(values: &[ArrayRef], rows: usize, ty: &SqlType) -> Evaluated {
    let DataType::Struct(fields) = ty.to_arrow() else { return Err(format!("{ty} is not a STRUCT")) };
    let structure = StructArray::try_new_with_length(fields, values.to_vec(), None, rows).map_err(|e| e.to_string())?;
    Ok(Arc::new(structure))
}
