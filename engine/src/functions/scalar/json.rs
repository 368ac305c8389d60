//! Functions of JSON text.
//!
//! A text is read up to the end of its first JSON value; what follows does not count (as Jackson's `readTree`). Numbers
//! keep their text.

use std::fmt::Write;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use arrow::datatypes::{DataType, Float64Type, Int32Type, Int64Type};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::{CallContext, Evaluated, ScalarFunction};
use crate::functions::columns::{Bool, Output, Str, StrList, StrMap, column, map1, map2};
use crate::functions::values::java_map::iteration_order;
use crate::functions::values::text::{double_text, write_value};

const CATEGORY: &str = "JSON";

pub fn functions() -> Vec<ScalarFunction> {
    vec![
        ScalarFunction::new("EXTRACTJSONFIELD", CATEGORY, "The value at a path such as $.a.b[0] of a JSON text.")
            .example(r#"EXTRACTJSONFIELD('{"a": [1, "x"]}', '$.a[1]')"#, "x")
            .overload("(STRING input, STRING path) -> STRING", |args, _| {
                map2::<Str, Str, Str>(args, |text, path| {
                    let path = parse_path(path)?;
                    Ok(at_path(&parse(text)?, &path).map(|found| match found {
                        Value::String(text) => text.clone(),
                        other => other.to_string(),
                    }))
                })
            }),
        ScalarFunction::new("IS_JSON_STRING", CATEGORY, "Whether a text is JSON.")
            .example("IS_JSON_STRING('[1, 2]')", "true")
            .overload("(STRING input) -> BOOLEAN", |args, _| {
                let texts = column::<Str>(&args[0]);
                Bool::build(texts.len(), |row| Ok(Some(texts.is_valid(row) && parse(texts.value(row)).is_ok())))
            }),
        ScalarFunction::new("JSON_ARRAY_LENGTH", CATEGORY, "Number of items of a JSON array.")
            .example("JSON_ARRAY_LENGTH('[1, 2]')", "2")
            .overload("(STRING jsonArray) -> INT", |args, _| {
                map1::<Str, Int32Type>(args, |text| Ok(parse(text)?.as_array().map(|items| items.len() as i32)))
            }),
        ScalarFunction::new("JSON_ARRAY_CONTAINS", CATEGORY, "Whether a JSON array has an item that equals the value.")
            .example("JSON_ARRAY_CONTAINS('[1, 2]', 2)", "true")
            .printed("JSON_ARRAY_CONTAINS")
            .overload("(STRING jsonArray, T val) -> BOOLEAN", array_contains),
        ScalarFunction::new("JSON_KEYS", CATEGORY, "The keys of a JSON object.")
            .example(r#"JSON_KEYS('{"a": 1, "b": 2}')"#, "[a, b]")
            .overload("(STRING json_string) -> ARRAY<STRING>", |args, _| {
                map1::<Str, StrList>(args, |text| {
                    Ok(parse(text)?.as_object().map(|o| o.keys().map(|key| Some(key.clone())).collect()))
                })
            }),
        ScalarFunction::new("JSON_RECORDS", CATEGORY, "The entries of a JSON object, values as JSON text.")
            .example(r#"JSON_RECORDS('{"a": 1}')"#, "{a=1}")
            .overload("(STRING json_string) -> MAP<STRING, STRING>", |args, _| {
                map1::<Str, StrMap>(args, |text| {
                    Ok(parse(text)?
                        .as_object()
                        .map(|o| o.iter().map(|(k, v)| (k.clone(), Some(v.to_string()))).collect()))
                })
            }),
        ScalarFunction::new("JSON_ITEMS", CATEGORY, "The items of a JSON array, as JSON text.")
            .example(r#"JSON_ITEMS('[{"a": 1}, 2]')"#, r#"[{"a":1}, 2]"#)
            .overload("(STRING json_items) -> ARRAY<STRING>", |args, _| {
                map1::<Str, StrList>(args, |text| {
                    Ok(parse(text)?.as_array().map(|items| items.iter().map(|item| Some(item.to_string())).collect()))
                })
            }),
        ScalarFunction::new("JSON_CONCAT", CATEGORY, "JSON objects merged, or JSON arrays one after the other.")
            .example("JSON_CONCAT('[1]', '[2]')", "[1,2]")
            .overload("(STRING... jsonStrings) -> STRING", |args, ctx| {
                let texts: Vec<_> = args.iter().map(column::<Str>).collect();
                Str::build(ctx.rows, |row| {
                    if texts.is_empty() || texts.iter().any(|t| t.is_null(row)) {
                        return Ok(None);
                    }
                    let parts: Result<Vec<Value>, String> = texts.iter().map(|t| parse(t.value(row))).collect();
                    // A text that is not JSON makes the whole null, without an error.
                    Ok(parts.ok().map(|parts| concat(parts).to_string()))
                })
            }),
        ScalarFunction::new("TO_JSON_STRING", CATEGORY, "Any value as JSON text.")
            .example("TO_JSON_STRING(STRUCT(a := 1, b := 'x'))", r#"{"A":1,"B":"x"}"#)
            .overload("(T val) -> STRING", |args, _| to_json(&args[0])),
    ]
}

/// The first JSON value of a text.
fn parse(text: &str) -> Result<Value, String> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    match values.next() {
        Some(value) => value.map_err(|e| format!("Invalid JSON format:{text}: {e}")),
        None => Err(format!("Invalid JSON format:{text}: there is no value")),
    }
}

/// Steps of a path: `$.a.b[0]["c"]`.
fn parse_path(path: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("Invalid path: {path}");
    let mut rest = path.strip_prefix('$').ok_or_else(wrong)?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if let Some(bracket) = rest.strip_prefix('[') {
            let (step, after) = match bracket.chars().next() {
                Some(quote @ ('"' | '\'')) => {
                    let end = bracket[1..].find(quote).ok_or_else(wrong)?;
                    (&bracket[1..=end], bracket[end + 2..].strip_prefix(']').ok_or_else(wrong)?)
                }
                _ => bracket.split_once(']').ok_or_else(wrong)?,
            };
            steps.push(step.to_string());
            rest = after;
        } else if let Some(name) = rest.strip_prefix('.') {
            let end = name.find(['.', '[']).unwrap_or(name.len());
            if end == 0 {
                return Err(wrong());
            }
            steps.push(name[..end].to_string());
            rest = &name[end..];
        } else {
            return Err(wrong());
        }
    }
    Ok(steps)
}

fn at_path<'v>(value: &'v Value, path: &[String]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, step| match value {
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        Value::Object(fields) => fields.get(step),
        _ => None,
    })
}

fn concat(parts: Vec<Value>) -> Value {
    if parts.iter().all(Value::is_object) {
        let mut merged = serde_json::Map::new();
        for part in parts {
            if let Value::Object(fields) = part {
                merged.extend(fields);
            }
        }
        return Value::Object(merged);
    }
    let mut items = Vec::new();
    for part in parts {
        match part {
            Value::Array(more) => items.extend(more),
            other => items.push(other),
        }
    }
    Value::Array(items)
}

fn array_contains(args: &[ArrayRef], _: &CallContext<'_>) -> Evaluated {
    let texts = column::<Str>(&args[0]);
    Bool::build(texts.len(), |row| {
        if texts.is_null(row) {
            return Ok(Some(false));
        }
        let Ok(Value::Array(items)) = parse(texts.value(row)) else { return Ok(Some(false)) };
        Ok(Some(items.iter().any(|item| is_value(item, args[1].as_ref(), row))))
    })
}

/// Whole numbers equal INT and BIGINT, others DOUBLE (Jackson's token types).
fn is_value(item: &Value, array: &dyn Array, row: usize) -> bool {
    if array.is_null(row) {
        return item.is_null();
    }
    match (item, array.data_type()) {
        (Value::Bool(b), DataType::Boolean) => array.as_boolean().value(row) == *b,
        (Value::String(s), DataType::Utf8) => array.as_string::<i32>().value(row) == s,
        (Value::Number(n), DataType::Int32) => {
            n.as_i64() == Some(i64::from(array.as_primitive::<Int32Type>().value(row)))
        }
        (Value::Number(n), DataType::Int64) => n.as_i64() == Some(array.as_primitive::<Int64Type>().value(row)),
        (Value::Number(n), DataType::Float64) => {
            let is_whole = n.to_string().bytes().all(|b| b.is_ascii_digit() || b == b'-');
            !is_whole && n.as_f64() == Some(array.as_primitive::<Float64Type>().value(row))
        }
        _ => false,
    }
}

fn to_json(array: &ArrayRef) -> Evaluated {
    let mut builder = StringBuilder::with_capacity(array.len(), array.len() * 16);
    let mut text = String::new();
    for row in 0..array.len() {
        text.clear();
        write_json(array.as_ref(), row, &mut text);
        builder.append_value(&text);
    }
    Ok(Arc::new(builder.finish()))
}

fn write_json(array: &dyn Array, row: usize, out: &mut String) {
    if array.is_null(row) {
        out.push_str("null");
        return;
    }
    match array.data_type() {
        DataType::Utf8 => write_string(array.as_string::<i32>().value(row), out),
        DataType::Binary => write_string(&STANDARD.encode(array.as_binary::<i32>().value(row)), out),
        DataType::Float64 => out.push_str(&double_text(array.as_primitive::<Float64Type>().value(row))),
        DataType::Date32 | DataType::Time32(_) | DataType::Timestamp(..) => {
            out.push('"');
            write_value(array, row, out);
            out.push('"');
        }
        DataType::List(_) => {
            let items = array.as_list::<i32>().value(row);
            out.push('[');
            for i in 0..items.len() {
                if i > 0 {
                    out.push(',');
                }
                write_json(items.as_ref(), i, out);
            }
            out.push(']');
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let mut key = String::new();
            out.push('{');
            let order = iteration_order(entries.column(0).as_ref(), 0..entries.len());
            for (at, i) in order.into_iter().map(|i| i as usize).enumerate() {
                if at > 0 {
                    out.push(',');
                }
                key.clear();
                write_value(entries.column(0).as_ref(), i, &mut key);
                write_string(&key, out);
                out.push(':');
                write_json(entries.column(1).as_ref(), i, out);
            }
            out.push('}');
        }
        DataType::Struct(fields) => {
            out.push('{');
            for (i, (field, column)) in fields.iter().zip(array.as_struct().columns()).enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_string(field.name(), out);
                out.push(':');
                write_json(column.as_ref(), row, out);
            }
            out.push('}');
        }
        _ => write_value(array, row, out),
    }
}

fn write_string(text: &str, out: &mut String) {
    let _ = write!(out, "{}", Value::from(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_reach_into_objects_and_arrays() {
        let value = parse(r#"{"a": {"b": [{"c": 1.50}]}, "@t": "x"}} tail"#).unwrap();
        let at = |path: &str| parse_path(path).map(|p| at_path(&value, &p).map(ToString::to_string));
        assert_eq!(at("$.a.b[0].c"), Ok(Some("1.50".into())));
        assert_eq!(at("$.a['b'][0]"), Ok(Some(r#"{"c":1.50}"#.into())));
        assert_eq!(at("$.@t"), Ok(Some("\"x\"".into())));
        assert_eq!(at("$.a.b[7]"), Ok(None));
        assert!(at("a.b").is_err());
        assert!(at("$..a").is_err());
    }

    #[test]
    fn objects_merge_and_anything_else_becomes_an_array() {
        let all = |texts: &[&str]| concat(texts.iter().map(|t| parse(t).unwrap()).collect()).to_string();
        assert_eq!(all(&[r#"{"a": {"5": 6}}"#, r#"{"a": {"3": 4}}"#]), r#"{"a":{"3":4}}"#);
        assert_eq!(all(&["[1, 2]", r#"{"a": 1}"#]), r#"[1,2,{"a":1}]"#);
        assert_eq!(all(&["null", "null"]), "[null,null]");
    }
}
