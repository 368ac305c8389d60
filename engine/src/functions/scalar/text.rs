//! Functions of STRING.

use arrow::datatypes::Int32Type;

use super::ScalarFunction;
use crate::functions::columns::{Bin, Str, map1};

const CATEGORY: &str = "STRING";

pub fn functions() -> Vec<ScalarFunction> {
    vec![
        ScalarFunction::new("UCASE", CATEGORY, "The text in upper case.")
            .overload("(STRING text) -> STRING", |args, _| {
                map1::<Str, Str>(args, |text| Ok(Some(text.to_uppercase())))
            }),
        ScalarFunction::new("LCASE", CATEGORY, "The text in lower case.")
            .overload("(STRING text) -> STRING", |args, _| {
                map1::<Str, Str>(args, |text| Ok(Some(text.to_lowercase())))
            }),
        ScalarFunction::new("LEN", CATEGORY, "Number of characters of a text (UTF-16 units), or number of bytes.")
            .overload("(STRING text) -> INT", |args, _| {
                map1::<Str, Int32Type>(args, |text| Ok(Some(text.encode_utf16().count() as i32)))
            })
            .overload("(BYTES bytes) -> INT", |args, _| map1::<Bin, Int32Type>(args, |b| Ok(Some(b.len() as i32)))),
    ]
}
