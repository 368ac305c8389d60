//! Equality of values of any type, nested ones included.
//!
//! | left | right | equal | rule |
//! |---|---|---|---|
//! | `[1, null]` | `[1, null]` | yes | inside a collection null equals null |
//! | `{a=1, b=2}` | `{b=2, a=1}` | yes | the order of entries does not count |
//! | `null` | `null` | no; yes for the DISTINCT forms | a comparison with null is false |

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, ListArray, MapArray, StructArray, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp;
use arrow::compute::take;
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type};
use arrow::row::{RowConverter, SortField};

/// Row by row: are the values equal? Never null. `nulls_equal`: two nulls count as equal.
pub fn equal_rows(left: &ArrayRef, right: &ArrayRef, nulls_equal: bool) -> Result<BooleanArray, String> {
    if left.data_type().is_nested() {
        let equal = BooleanBuffer::collect_bool(left.len(), |row| {
            if left.is_null(row) || right.is_null(row) {
                nulls_equal && left.is_null(row) && right.is_null(row)
            } else {
                equal_at(left.as_ref(), row, right.as_ref(), row)
            }
        });
        return Ok(BooleanArray::new(equal, None));
    }
    let result = if nulls_equal { cmp::not_distinct(left, right) } else { cmp::eq(left, right) };
    Ok(without_nulls(result.map_err(|e| e.to_string())?))
}

/// Null as false.
pub fn without_nulls(array: BooleanArray) -> BooleanArray {
    match array.nulls() {
        None => array,
        Some(nulls) => BooleanArray::new(array.values() & nulls.inner(), None),
    }
}

/// [`equal_at`] for two columns, the types looked at once.
pub fn equality<'a>(left: &'a dyn Array, right: &'a dyn Array) -> Box<dyn Fn(usize, usize) -> bool + 'a> {
    fn typed<'a, A: Array, V: PartialEq>(
        left: &'a A,
        right: &'a A,
        value: impl Fn(&'a A, usize) -> V + 'a,
    ) -> Box<dyn Fn(usize, usize) -> bool + 'a> {
        if left.null_count() == 0 && right.null_count() == 0 {
            return Box::new(move |i, j| value(left, i) == value(right, j));
        }
        Box::new(move |i, j| match (left.is_null(i), right.is_null(j)) {
            (false, false) => value(left, i) == value(right, j),
            (i, j) => i && j,
        })
    }
    match (left.data_type(), right.data_type()) {
        (DataType::Int32, DataType::Int32) => {
            typed(left.as_primitive::<Int32Type>(), right.as_primitive::<Int32Type>(), |a, i| a.value(i))
        }
        (DataType::Int64, DataType::Int64) => {
            typed(left.as_primitive::<Int64Type>(), right.as_primitive::<Int64Type>(), |a, i| a.value(i))
        }
        (DataType::Utf8, DataType::Utf8) => typed(left.as_string::<i32>(), right.as_string::<i32>(), |a, i| a.value(i)),
        _ => Box::new(move |i, j| equal_at(left, i, right, j)),
    }
}

/// Whether two values of one type are equal; null equals null.
pub fn equal_at(left: &dyn Array, i: usize, right: &dyn Array, j: usize) -> bool {
    if left.is_null(i) || right.is_null(j) {
        return left.is_null(i) && right.is_null(j);
    }
    match left.data_type() {
        DataType::List(_) => {
            let (a, b) = (left.as_list::<i32>().value(i), right.as_list::<i32>().value(j));
            a.len() == b.len() && (0..a.len()).all(|k| equal_at(a.as_ref(), k, b.as_ref(), k))
        }
        DataType::Struct(_) => {
            let (a, b) = (left.as_struct(), right.as_struct());
            a.num_columns() == b.num_columns()
                && a.columns().iter().zip(b.columns()).all(|(a, b)| equal_at(a.as_ref(), i, b.as_ref(), j))
        }
        DataType::Map(..) => {
            let (a, b) = (left.as_map().value(i), right.as_map().value(j));
            a.len() == b.len()
                && (0..a.len()).all(|k| {
                    (0..b.len()).any(|l| {
                        equal_at(a.column(0).as_ref(), k, b.column(0).as_ref(), l)
                            && equal_at(a.column(1).as_ref(), k, b.column(1).as_ref(), l)
                    })
                })
        }
        DataType::Utf8 => left.as_string::<i32>().value(i) == right.as_string::<i32>().value(j),
        DataType::Int32 => left.as_primitive::<Int32Type>().value(i) == right.as_primitive::<Int32Type>().value(j),
        DataType::Int64 => left.as_primitive::<Int64Type>().value(i) == right.as_primitive::<Int64Type>().value(j),
        DataType::Float64 => {
            left.as_primitive::<Float64Type>().value(i).total_cmp(&right.as_primitive::<Float64Type>().value(j)).is_eq()
        }
        _ => left.slice(i, 1).to_data() == right.slice(j, 1).to_data(),
    }
}

/// The same values with every map's entries in the order of their keys, so that equal values look equal to Arrow's
/// row encoding.
pub fn canonical(array: &ArrayRef) -> Result<ArrayRef, String> {
    if !has_map(array.data_type()) {
        return Ok(Arc::clone(array));
    }
    match array.data_type() {
        DataType::List(field) => {
            let list = array.as_list::<i32>();
            let values = canonical(list.values())?;
            let list = ListArray::try_new(Arc::clone(field), list.offsets().clone(), values, list.nulls().cloned());
            Ok(Arc::new(list.map_err(|e| e.to_string())?))
        }
        DataType::Struct(fields) => {
            let structure = array.as_struct();
            let columns = structure.columns().iter().map(canonical).collect::<Result<Vec<_>, _>>()?;
            let structure = StructArray::try_new(fields.clone(), columns, structure.nulls().cloned());
            Ok(Arc::new(structure.map_err(|e| e.to_string())?))
        }
        DataType::Map(field, sorted) => {
            let map = array.as_map();
            let keys = canonical(map.keys())?;
            let converter = RowConverter::new(vec![SortField::new(keys.data_type().clone())]);
            let ranks = converter.and_then(|c| c.convert_columns(&[Arc::clone(&keys)])).map_err(|e| e.to_string())?;
            let mut order: Vec<u32> = (0..keys.len() as u32).collect();
            for bounds in map.value_offsets().windows(2) {
                order[bounds[0] as usize..bounds[1] as usize]
                    .sort_by(|a, b| ranks.row(*a as usize).cmp(&ranks.row(*b as usize)));
            }
            let order = UInt32Array::from(order);
            let values = canonical(map.values())?;
            let columns = [&keys, &values]
                .map(|column| take(column, &order, None).map_err(|e| e.to_string()))
                .into_iter()
                .collect::<Result<Vec<_>, _>>()?;
            let entries =
                StructArray::try_new(map.entries().fields().clone(), columns, None).map_err(|e| e.to_string())?;
            let map =
                MapArray::try_new(Arc::clone(field), map.offsets().clone(), entries, map.nulls().cloned(), *sorted);
            Ok(Arc::new(map.map_err(|e| e.to_string())?))
        }
        _ => Ok(Arc::clone(array)),
    }
}

fn has_map(ty: &DataType) -> bool {
    match ty {
        DataType::Map(..) => true,
        DataType::List(field) => has_map(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|f| has_map(f.data_type())),
        _ => false,
    }
}
