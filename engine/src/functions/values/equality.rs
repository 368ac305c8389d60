//! Equality of values of any type, nested ones included.
//!
//! | left | right | equal | rule |
//! |---|---|---|---|
//! | `[1, null]` | `[1, null]` | yes | inside a collection null equals null |
//! | `{a=1, b=2}` | `{b=2, a=1}` | yes | the order of entries does not count |
//! | `null` | `null` | no; yes for the DISTINCT forms | a comparison with null is false |

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::kernels::cmp;
use arrow::datatypes::DataType;

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
        _ => left.slice(i, 1).to_data() == right.slice(j, 1).to_data(),
    }
}
