//! Values as SQL sees them, beyond what Arrow's kernels know: their text, their equality, exact decimals, casts.

pub mod access;
pub mod arithmetic;
pub mod cast;
pub mod civil;
pub mod decimal;
pub mod equality;
pub mod java_map;
pub mod java_time;
pub mod like;
pub mod order;
pub mod text;

use arrow::array::{Array, ArrayData, ArrayRef, make_array};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;

/// The array with exactly this type: nested fields may differ in nullability and names alone.
pub fn conform(array: ArrayRef, ty: &DataType) -> Result<ArrayRef, String> {
    if array.data_type() == ty {
        return Ok(array);
    }
    if array.data_type().equals_datatype(ty) {
        return retyped(array.to_data(), ty).map(make_array).map_err(|e| e.to_string());
    }
    arrow::compute::cast(&array, ty).map_err(|e| e.to_string()).and_then(|cast| {
        if cast.data_type() == ty { Ok(cast) } else { Err(format!("{} is not {ty}", array.data_type())) }
    })
}

fn retyped(data: ArrayData, ty: &DataType) -> Result<ArrayData, ArrowError> {
    let child_types: Vec<&DataType> = match ty {
        DataType::List(field) | DataType::Map(field, _) => vec![field.data_type()],
        DataType::Struct(fields) => fields.iter().map(|f| f.data_type()).collect(),
        _ => Vec::new(),
    };
    let children = data
        .child_data()
        .iter()
        .zip(child_types)
        .map(|(child, ty)| retyped(child.clone(), ty))
        .collect::<Result<Vec<_>, _>>()?;
    data.into_builder().data_type(ty.clone()).child_data(children).build()
}
