//! Records one after another into columns: what every decoder does around its own reading of one record.
//!
//! | record | row |
//! |---|---|
//! | no bytes at all (a tombstone) | null in every column, null as a whole |
//! | `read` says it is null | the same |
//! | `read` refuses it | null in every column, and an error; what it had pushed is cut off again |
//! | else | what `read` pushed |

use arrow::array::{Array, ArrayRef, BinaryArray};

use super::columns::Growing;
use super::{Decoded, rows_of};
use crate::error::{Result, RowError};
use crate::types::SqlType;

/// What `read` made of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    /// One row was pushed to every column.
    Columns,
    /// The record stands for null; nothing was pushed.
    Null,
}

/// Decodes into columns of `types`, those that are not `wanted` only to see whether they can be read. `read` is given
/// the row, its bytes and the columns.
pub(super) fn decode<'t>(
    records: &BinaryArray,
    types: impl Iterator<Item = &'t SqlType>,
    wanted: &[usize],
    mut read: impl FnMut(usize, &[u8], &mut [Growing]) -> std::result::Result<Read, String>,
) -> Result<Decoded> {
    let rows = records.len();
    let kept = |(i, ty)| if wanted.contains(&i) { Growing::new(ty, rows) } else { Growing::discard(ty) };
    let mut columns: Vec<Growing> = types.enumerate().map(kept).collect();
    let (mut null_rows, mut errors) = (Vec::new(), Vec::new());
    for row in 0..rows {
        let record = records.is_valid(row).then(|| records.value(row));
        match record.map_or(Ok(Read::Null), |bytes| read(row, bytes, &mut columns)) {
            Ok(Read::Columns) => {}
            Ok(Read::Null) => {
                columns.iter_mut().for_each(Growing::push_null);
                null_rows.push(row);
            }
            Err(message) => {
                errors.push(RowError::new(row, message));
                for column in &mut columns {
                    column.truncate(row);
                    column.push_null();
                }
            }
        }
    }
    let mut finished: Vec<Option<Growing>> = columns.into_iter().map(Some).collect();
    let mut arrays: Vec<ArrayRef> = Vec::with_capacity(wanted.len());
    for (n, &i) in wanted.iter().enumerate() {
        match finished[i].take() {
            Some(column) => arrays.push(column.finish()?),
            None => {
                let earlier = wanted[..n].iter().position(|&w| w == i);
                arrays.push(arrays[earlier.expect("a column taken before was wanted before")].clone());
            }
        }
    }
    Ok(Decoded { columns: arrays, null: rows_of(&null_rows, rows), errors })
}
