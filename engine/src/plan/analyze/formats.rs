//! What each format can hold (ksqlDB: serialization formats), and its messages when asked for more.
//!
//! | format | several columns | wrap single | unwrap single | types |
//! |---|---|---|---|---|
//! | NONE | only no column at all, keys only | no | no | – |
//! | KAFKA | no | no | yes | INTEGER, BIGINT, DOUBLE, STRING, BYTES |
//! | DELIMITED | yes | no | yes | no ARRAY, MAP, STRUCT |
//! | JSON, JSON_SR, AVRO | yes | yes | yes | all; MAP keys STRING |
//! | PROTOBUF, PROTOBUF_NOSR | yes | yes | no | all; MAP keys STRING |

use crate::error::{Error, Result};
use crate::format::{FormatName, FormatSpec, Side};
use crate::schema::Column;
use crate::types::SqlType;

/// A format by its SQL name.
pub(super) fn by_name(name: &str) -> Result<FormatName> {
    FormatName::from_sql(name.trim()).ok_or_else(|| {
        Error::statement(format!("Unknown format: {}", name.trim().to_uppercase()))
            .with_hint("formats are NONE, KAFKA, DELIMITED, JSON and PROTOBUF_NOSR")
    })
}

/// The one place that says which formats can be used.
pub(super) fn available(name: FormatName) -> Result<()> {
    match name {
        FormatName::None | FormatName::Kafka | FormatName::Delimited | FormatName::Json | FormatName::ProtobufNosr => {
            Ok(())
        }
        FormatName::JsonSr | FormatName::Avro | FormatName::Protobuf => {
            Err(Error::statement(format!("format {} is not built yet", name.sql()))
                .with_hint("use JSON, DELIMITED, KAFKA or PROTOBUF_NOSR"))
        }
    }
}

pub(super) fn wraps(name: FormatName) -> bool {
    !matches!(name, FormatName::None | FormatName::Kafka | FormatName::Delimited)
}

pub(super) fn unwraps(name: FormatName) -> bool {
    !matches!(name, FormatName::None | FormatName::Protobuf | FormatName::ProtobufNosr)
}

/// Whether columns can be read from the schema registry instead of being declared.
pub(super) fn infers(name: FormatName) -> bool {
    matches!(name, FormatName::JsonSr | FormatName::Avro | FormatName::Protobuf)
}

/// Whether a format reads and writes these columns on this side.
pub(super) fn check(spec: &FormatSpec, columns: &[Column], side: Side) -> Result<()> {
    let Err(reason) = holds(spec.name, columns, side) else {
        return Ok(());
    };
    let part = match side {
        Side::Key => "Key",
        Side::Value => "Value",
    };
    Err(Error::statement(format!(
        "{part} format does not support schema.\nformat: {}\nschema: Persistence{{columns={}, features=[{}]}}\nreason: {}",
        spec.name.sql(),
        printed(columns, side),
        features(spec, columns, side),
        reason.message(),
    )))
}

/// The reason a format cannot hold these columns.
pub(super) fn holds(name: FormatName, columns: &[Column], side: Side) -> Result<()> {
    let refuse = |text: String| Err(Error::statement(text));
    match name {
        FormatName::None if columns.is_empty() && side == Side::Key => return Ok(()),
        FormatName::None => {
            return refuse(format!(
                "The 'NONE' format can only be used when no columns are defined. Got: {}",
                printed(columns, side)
            ));
        }
        FormatName::Kafka if columns.len() > 1 => {
            return refuse(format!("The 'KAFKA' format only supports a single field. Got: {}", printed(columns, side)));
        }
        _ => {}
    }
    for column in columns {
        match name {
            FormatName::Kafka => {
                if !matches!(
                    column.ty,
                    SqlType::Integer | SqlType::Bigint | SqlType::Double | SqlType::String | SqlType::Bytes
                ) {
                    return refuse(format!("The 'KAFKA' format does not support type '{}'", column.ty.base_name()));
                }
            }
            FormatName::Delimited => {
                if column.ty.is_nested() {
                    return refuse(format!(
                        "The 'DELIMITED' format does not support type '{}', column: `{}`",
                        column.ty.base_name(),
                        column.name
                    ));
                }
            }
            FormatName::Avro => {
                string_map_keys(&column.ty, "Avro only supports MAPs with STRING keys")?;
                avro_name(&column.name)?;
                avro_field_names(&column.ty)?;
            }
            FormatName::Json | FormatName::JsonSr => {
                string_map_keys(&column.ty, "JSON only supports MAP types with STRING keys")?;
            }
            FormatName::Protobuf | FormatName::ProtobufNosr => {
                string_map_keys(&column.ty, "PROTOBUF format only supports MAP types with STRING keys")?;
            }
            FormatName::None => {}
        }
    }
    Ok(())
}

fn string_map_keys(ty: &SqlType, message: &str) -> Result<()> {
    match ty {
        SqlType::Map(key, _) if **key != SqlType::String => Err(Error::statement(message)),
        SqlType::Map(_, value) => string_map_keys(value, message),
        SqlType::Array(item) => string_map_keys(item, message),
        SqlType::Struct(fields) => fields.iter().try_for_each(|f| string_map_keys(&f.ty, message)),
        _ => Ok(()),
    }
}

fn avro_field_names(ty: &SqlType) -> Result<()> {
    match ty {
        SqlType::Map(_, inner) | SqlType::Array(inner) => avro_field_names(inner),
        SqlType::Struct(fields) => fields.iter().try_for_each(|f| {
            avro_name(&f.name)?;
            avro_field_names(&f.ty)
        }),
        _ => Ok(()),
    }
}

/// Avro names are `[A-Za-z_][A-Za-z0-9_]*`.
fn avro_name(name: &str) -> Result<()> {
    let wrong = |what: &str| Err(Error::statement(format!("Schema is not compatible with Avro: {what}: {name}")));
    if !name.starts_with(|c: char| c.is_alphabetic() || c == '_') {
        return wrong("Illegal initial character");
    }
    if !name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        return wrong("Illegal character in");
    }
    Ok(())
}

/// ``[`K` STRING KEY, `L` INTEGER KEY]``.
pub(super) fn printed(columns: &[Column], side: Side) -> String {
    let suffix = if side == Side::Key { " KEY" } else { "" };
    let columns: Vec<String> = columns.iter().map(|c| format!("`{}` {}{suffix}", c.name, c.ty)).collect();
    format!("[{}]", columns.join(", "))
}

/// Serde features as ksqlDB prints them.
fn features(spec: &FormatSpec, columns: &[Column], side: Side) -> &'static str {
    match side {
        Side::Key if columns.len() == 1 && wraps(spec.name) && unwraps(spec.name) => "UNWRAP_SINGLES",
        Side::Key => "",
        Side::Value => match spec.wrap_single {
            Some(true) => "WRAP_SINGLES",
            Some(false) => "UNWRAP_SINGLES",
            None => "",
        },
    }
}

/// A key must not contain a MAP anywhere: two equal maps may be written differently (ksqlDB).
pub(super) fn check_key_types(key: &[Column]) -> Result<()> {
    fn contains_map(ty: &SqlType) -> bool {
        match ty {
            SqlType::Map(..) => true,
            SqlType::Array(item) => contains_map(item),
            SqlType::Struct(fields) => fields.iter().any(|f| contains_map(&f.ty)),
            _ => false,
        }
    }
    match key.iter().find(|c| contains_map(&c.ty)) {
        None => Ok(()),
        Some(column) => Err(Error::statement(format!(
            "Map keys, including types that contain maps, are not supported as they may lead to unexpected behavior \
             due to inconsistent serialization. Key column name: `{}`. Column type: {}. See \
             https://github.com/confluentinc/ksql/issues/6621 for more.",
            column.name, column.ty
        ))),
    }
}

/// `WRAP_SINGLE_VALUE`, as said in WITH or by the setting; the setting gives way where it does not fit.
pub(super) fn wrapping(
    format: FormatName,
    value_columns: usize,
    said: Option<bool>,
    default: Option<bool>,
) -> Result<Option<bool>> {
    let fits = |wrap: bool| if wrap { wraps(format) } else { unwraps(format) };
    match said {
        None => Ok(default.filter(|wrap| value_columns == 1 && fits(*wrap))),
        Some(_) if value_columns > 1 => {
            Err(Error::statement("'WRAP_SINGLE_VALUE' is only valid for single-field value schemas"))
        }
        Some(wrap) if !fits(wrap) => Err(Error::statement(format!(
            "Format '{}' does not support 'WRAP_SINGLE_VALUE' set to '{wrap}'.",
            format.sql()
        ))),
        Some(wrap) => Ok(Some(wrap)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(types: &[SqlType]) -> Vec<Column> {
        types.iter().enumerate().map(|(i, ty)| Column::new(format!("C{i}"), ty.clone())).collect()
    }

    #[test]
    fn kafka_keys_are_one_plain_column() {
        let spec = FormatSpec::new(FormatName::Kafka);
        assert!(check(&spec, &columns(&[SqlType::Bigint]), Side::Key).is_ok());
        let two = check(&spec, &columns(&[SqlType::Bigint, SqlType::String]), Side::Key).unwrap_err();
        assert_eq!(
            two.message(),
            "Key format does not support schema.\nformat: KAFKA\n\
             schema: Persistence{columns=[`C0` BIGINT KEY, `C1` STRING KEY], features=[]}\n\
             reason: The 'KAFKA' format only supports a single field. Got: [`C0` BIGINT KEY, `C1` STRING KEY]"
        );
    }

    #[test]
    fn the_setting_for_wrapping_gives_way_but_the_statement_does_not() {
        assert_eq!(wrapping(FormatName::Delimited, 1, None, Some(true)).unwrap(), None);
        assert!(wrapping(FormatName::Delimited, 1, Some(true), None).is_err());
        assert_eq!(wrapping(FormatName::Json, 2, None, Some(false)).unwrap(), None);
        assert!(wrapping(FormatName::Json, 2, Some(false), None).is_err());
    }
}
