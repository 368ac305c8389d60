//! Answers in Protobuf → the text form that ksqlDB's cases state them in.
//!
//! What enters: the elements of such an answer, and the result's schema as the same query answered in JSON names it. What
//! leaves: the same elements, `protobufBytes` of each row as text:
//!
//! ```text
//! ID: 1
//! TAGS {
//!   key: "a"
//!   value: 3
//! }
//! ```
//!
//! Defaults are not written, as in Protobuf itself.

use std::collections::BTreeMap;

use arrow::array::{Array, AsArray, BinaryArray};
use arrow::datatypes::{Float64Type, Int32Type, Int64Type};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use headwater_engine::format::{self, FormatName, FormatSpec, Side};
use headwater_engine::plan::analyze::type_names::resolve_type;
use headwater_engine::schema::Column;
use headwater_engine::sql::ast::Statement;
use headwater_engine::sql::{self, ParseOptions};
use headwater_engine::types::SqlType;
use serde_json::{Value, json};

/// The elements of an answer, rows as text. `schema` is like `` `ID` BIGINT KEY, `V` STRING ``.
pub fn readable(answer: &Value, schema: &str) -> Result<Value, String> {
    let columns = columns(schema)?;
    let codec = format::create(&FormatSpec::new(FormatName::ProtobufNosr), &columns, Side::Value)
        .map_err(|e| e.message().to_string())?;
    let wanted: Vec<usize> = (0..columns.len()).collect();
    let elements = answer.as_array().ok_or_else(|| format!("expected rows, got {answer}"))?;
    let readable = |element: &Value| -> Result<Value, String> {
        let Some(bytes) = element["row"]["protobufBytes"].as_str() else { return Ok(element.clone()) };
        let bytes = BASE64.decode(bytes).map_err(|e| e.to_string())?;
        let decoded =
            codec.decode(&BinaryArray::from_vec(vec![&bytes]), &wanted).map_err(|e| e.message().to_string())?;
        if let Some(error) = decoded.errors.first() {
            return Err(error.message.clone());
        }
        let mut text = String::new();
        for (column, values) in columns.iter().zip(&decoded.columns) {
            write_field(&column.name, &column.ty, values.as_ref(), 0, "", &mut text)?;
        }
        Ok(json!({"row": text}))
    };
    elements.iter().map(readable).collect::<Result<Vec<_>, _>>().map(Value::Array)
}

fn columns(schema: &str) -> Result<Vec<Column>, String> {
    let text = format!("CREATE STREAM RESULT ({schema});");
    let parsed = sql::parse(&text, &BTreeMap::new(), ParseOptions::default()).map_err(|e| e.message().to_string())?;
    let Some(Statement::CreateSource(create)) = parsed.first().map(|parsed| &parsed.statement) else {
        return Err(format!("{schema} is no schema"));
    };
    let column = |column: &sql::ast::ColumnDef| {
        let ty = resolve_type(&column.ty, &|_| None).map_err(|e| e.message().to_string())?;
        Ok(Column::new(column.name.clone(), ty))
    };
    create.columns.iter().map(column).collect()
}

/// Writes a field, or nothing if it has its default.
fn write_field(
    name: &str,
    ty: &SqlType,
    values: &dyn Array,
    row: usize,
    indent: &str,
    out: &mut String,
) -> Result<(), String> {
    if values.is_null(row) {
        return Ok(());
    }
    match ty {
        SqlType::Array(item) => {
            let items = values.as_list::<i32>().value(row);
            (0..items.len()).try_for_each(|i| write_item(name, item, items.as_ref(), i, indent, out))
        }
        SqlType::Map(key, value) => {
            let map = values.as_map();
            let range = map.value_offsets()[row] as usize..map.value_offsets()[row + 1] as usize;
            let inner = format!("{indent}  ");
            for i in range {
                out.push_str(&format!("{indent}{name} {{\n"));
                write_field("key", key, map.keys().as_ref(), i, &inner, out)?;
                write_field("value", value, map.values().as_ref(), i, &inner, out)?;
                out.push_str(&format!("{indent}}}\n"));
            }
            Ok(())
        }
        SqlType::Struct(_) => write_item(name, ty, values, row, indent, out),
        _ if is_default(ty, values, row) => Ok(()),
        _ => write_item(name, ty, values, row, indent, out),
    }
}

fn is_default(ty: &SqlType, values: &dyn Array, row: usize) -> bool {
    match ty {
        SqlType::Boolean => !values.as_boolean().value(row),
        SqlType::Integer => values.as_primitive::<Int32Type>().value(row) == 0,
        SqlType::Bigint => values.as_primitive::<Int64Type>().value(row) == 0,
        SqlType::Double => values.as_primitive::<Float64Type>().value(row).to_bits() == 0,
        SqlType::String => values.as_string::<i32>().value(row).is_empty(),
        SqlType::Bytes => values.as_binary::<i32>().value(row).is_empty(),
        _ => false,
    }
}

fn write_item(
    name: &str,
    ty: &SqlType,
    values: &dyn Array,
    row: usize,
    indent: &str,
    out: &mut String,
) -> Result<(), String> {
    let text = match ty {
        SqlType::Boolean => values.as_boolean().value(row).to_string(),
        SqlType::Integer => values.as_primitive::<Int32Type>().value(row).to_string(),
        SqlType::Bigint => values.as_primitive::<Int64Type>().value(row).to_string(),
        SqlType::Double => format!("{:?}", values.as_primitive::<Float64Type>().value(row)),
        SqlType::String => quoted(values.as_string::<i32>().value(row).as_bytes()),
        SqlType::Bytes => quoted(values.as_binary::<i32>().value(row)),
        SqlType::Struct(fields) => {
            out.push_str(&format!("{indent}{name} {{\n"));
            let inner = format!("{indent}  ");
            for (field, column) in fields.iter().zip(values.as_struct().columns()) {
                write_field(&field.name, &field.ty, column.as_ref(), row, &inner, out)?;
            }
            out.push_str(&format!("{indent}}}\n"));
            return Ok(());
        }
        other => return Err(format!("no case states a {other} in Protobuf")),
    };
    out.push_str(&format!("{indent}{name}: {text}\n"));
    Ok(())
}

/// Bytes as Protobuf's text form quotes them.
fn quoted(bytes: &[u8]) -> String {
    let escaped: String = bytes
        .iter()
        .map(|byte| match byte {
            b'"' => "\\\"".into(),
            b'\\' => "\\\\".into(),
            b'\n' => "\\n".into(),
            b'\r' => "\\r".into(),
            b'\t' => "\\t".into(),
            0x20..=0x7e => char::from(*byte).to_string(),
            other => format!("\\{other:03o}"),
        })
        .collect();
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_become_text_without_defaults() {
        // 1: 5, 2: {key "a", value 3}; then a row of defaults.
        let rows = ["CAUSBQoBYRAD", ""].map(|bytes| json!({"row": {"protobufBytes": bytes}}));
        let answer = json!([{"header": {}}, rows[0], rows[1], {"finalMessage": "Limit Reached"}]);
        let text = "ID: 5\nTAGS {\n  key: \"a\"\n  value: 3\n}\n";
        let expected = json!([{"header": {}}, {"row": text}, {"row": ""}, {"finalMessage": "Limit Reached"}]);
        assert_eq!(readable(&answer, "`ID` BIGINT KEY, `TAGS` MAP<STRING, INTEGER>"), Ok(expected));
    }
}
