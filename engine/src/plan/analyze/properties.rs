//! The WITH clause as typed properties.
//!
//! | clause of | takes |
//! |---|---|
//! | `CREATE STREAM/TABLE` | topic, formats, `TIMESTAMP`, `WINDOW_TYPE`/`WINDOW_SIZE`, schema ids, connector notes |
//! | `CREATE … AS` | topic, formats, `TIMESTAMP`, schema ids, and our `DISCARD` |
//! | `INSERT INTO … SELECT` | `QUERY_ID` |
//!
//! `DISCARD = true` (ours): the query's rows are computed, counted and dropped, for measuring.

use super::formats;
use crate::error::{Error, Result};
use crate::format::{FormatName, FormatSpec, Nullable, Side};
use crate::plan::steps::{WindowInfo, WindowType};
use crate::sql::ast::{Literal, Property};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clause {
    Source,
    Sink,
    Insert,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Properties {
    pub topic: Option<String>,
    pub partitions: Option<u32>,
    pub retention_ms: Option<i64>,
    pub key_format: Option<FormatName>,
    pub value_format: Option<FormatName>,
    pub key_delimiter: Option<char>,
    pub value_delimiter: Option<char>,
    pub key_nullable: Option<Nullable>,
    pub value_nullable: Option<Nullable>,
    pub wrap_single: Option<bool>,
    pub timestamp: Option<String>,
    pub timestamp_format: Option<String>,
    pub window: Option<WindowInfo>,
    pub key_schema_id: Option<i64>,
    pub value_schema_id: Option<i64>,
    pub key_schema_name: Option<String>,
    pub value_schema_name: Option<String>,
    pub discard: bool,
    pub query_id: Option<String>,
}

const SHARED: [&str; 20] = [
    "KAFKA_TOPIC",
    "PARTITIONS",
    "REPLICAS",
    "RETENTION_MS",
    "CLEANUP_POLICY",
    "FORMAT",
    "KEY_FORMAT",
    "VALUE_FORMAT",
    "KEY_DELIMITER",
    "VALUE_DELIMITER",
    "WRAP_SINGLE_VALUE",
    "TIMESTAMP",
    "TIMESTAMP_FORMAT",
    "KEY_SCHEMA_ID",
    "VALUE_SCHEMA_ID",
    "KEY_SCHEMA_FULL_NAME",
    "VALUE_SCHEMA_FULL_NAME",
    "VALUE_AVRO_SCHEMA_FULL_NAME",
    "KEY_PROTOBUF_NULLABLE_REPRESENTATION",
    "VALUE_PROTOBUF_NULLABLE_REPRESENTATION",
];

impl Clause {
    fn takes(self, name: &str) -> bool {
        match self {
            Clause::Source => {
                SHARED.contains(&name)
                    || ["WINDOW_TYPE", "WINDOW_SIZE", "SOURCE_CONNECTOR", "SOURCED_BY_CONNECTOR"].contains(&name)
            }
            Clause::Sink => SHARED.contains(&name) || name == "DISCARD",
            Clause::Insert => name == "QUERY_ID",
        }
    }
}

impl Properties {
    pub fn parse(clause: Clause, list: &[Property]) -> Result<Self> {
        Self::parse_inner(clause, list).map_err(|e| e.prefixed("Failed to prepare statement: "))
    }

    fn parse_inner(clause: Clause, list: &[Property]) -> Result<Self> {
        let unknown: Vec<&Property> = list.iter().filter(|p| !clause.takes(&p.name)).collect();
        if let Some(first) = unknown.first() {
            let names: Vec<&str> = unknown.iter().map(|p| p.name.as_str()).collect();
            return Err(Error::statement(format!(
                "Invalid config variable(s) in the WITH clause: {}",
                names.join(",")
            ))
            .at(first.position));
        }
        let mut properties = Properties::default();
        let mut window_type = None;
        let mut window_size_ms = None;
        for property in list {
            properties.take(property, &mut window_type, &mut window_size_ms).map_err(|e| e.at(property.position))?;
        }
        if list.iter().any(|p| p.name == "FORMAT") {
            for other in ["KEY_FORMAT", "VALUE_FORMAT"] {
                if let Some(property) = list.iter().find(|p| p.name == other) {
                    return Err(Error::statement(format!(
                        "Cannot supply both '{other}' and 'FORMAT' properties, as 'FORMAT' sets both key and value \
                         formats. Either use just 'FORMAT', or use 'KEY_FORMAT' and 'VALUE_FORMAT'."
                    ))
                    .at(property.position));
                }
            }
        }
        properties.window = window(window_type, window_size_ms)?;
        Ok(properties)
    }

    fn take(
        &mut self,
        property: &Property,
        window_type: &mut Option<WindowType>,
        window_size_ms: &mut Option<i64>,
    ) -> Result<()> {
        match property.name.as_str() {
            "KAFKA_TOPIC" => self.topic = Some(text(property)?),
            "PARTITIONS" => self.partitions = Some(partitions(property)?),
            "REPLICAS" => drop(integer(property)?),
            "RETENTION_MS" => self.retention_ms = Some(integer(property)?),
            "CLEANUP_POLICY" => drop(text(property)?),
            "FORMAT" => {
                let format = formats::by_name(&text(property)?)?;
                self.key_format = Some(format);
                self.value_format = Some(format);
            }
            "KEY_FORMAT" => self.key_format = Some(formats::by_name(&text(property)?)?),
            "VALUE_FORMAT" => self.value_format = Some(formats::by_name(&text(property)?)?),
            "KEY_DELIMITER" => self.key_delimiter = Some(delimiter(property)?),
            "VALUE_DELIMITER" => self.value_delimiter = Some(delimiter(property)?),
            "KEY_PROTOBUF_NULLABLE_REPRESENTATION" => self.key_nullable = Some(nullable(property)?),
            "VALUE_PROTOBUF_NULLABLE_REPRESENTATION" => self.value_nullable = Some(nullable(property)?),
            "WRAP_SINGLE_VALUE" => self.wrap_single = Some(boolean(property)?),
            "TIMESTAMP" => self.timestamp = Some(identifier(&text(property)?)),
            "TIMESTAMP_FORMAT" => self.timestamp_format = Some(text(property)?),
            "WINDOW_TYPE" => *window_type = Some(window_type_of(property)?),
            "WINDOW_SIZE" => *window_size_ms = Some(window_size(property)?),
            "KEY_SCHEMA_ID" => self.key_schema_id = Some(integer(property)?),
            "VALUE_SCHEMA_ID" => self.value_schema_id = Some(integer(property)?),
            "KEY_SCHEMA_FULL_NAME" => self.key_schema_name = Some(text(property)?),
            "VALUE_SCHEMA_FULL_NAME" | "VALUE_AVRO_SCHEMA_FULL_NAME" => {
                self.value_schema_name = Some(text(property)?);
            }
            "DISCARD" => self.discard = boolean(property)?,
            "QUERY_ID" => self.query_id = Some(query_id(property)?),
            _ => drop(text(property)?),
        }
        Ok(())
    }

    /// The format of one side with the parameters said for it, `inherited` giving what is not said.
    pub fn format(&self, side: Side, inherited: &FormatSpec) -> Result<FormatSpec> {
        let (name, delimiter, nullable, schema_name) = match side {
            Side::Key => (self.key_format, self.key_delimiter, self.key_nullable, &self.key_schema_name),
            Side::Value => (self.value_format, self.value_delimiter, self.value_nullable, &self.value_schema_name),
        };
        let name = name.unwrap_or(inherited.name);
        let refuse = |config: &str| {
            Err(Error::statement(format!("{} does not support the following configs: [{config}]", name.sql())))
        };
        if delimiter.is_some() && name != FormatName::Delimited {
            return refuse("delimiter");
        }
        if nullable.is_some() && !matches!(name, FormatName::Protobuf | FormatName::ProtobufNosr) {
            return refuse("nullableRepresentation");
        }
        match schema_name {
            Some(_) if !matches!(name, FormatName::Avro | FormatName::Protobuf) => return refuse("fullSchemaName"),
            Some(empty) if empty.trim().is_empty() => {
                return Err(Error::statement(
                    "fullSchemaName cannot be empty. Format configuration: {fullSchemaName=}",
                ));
            }
            _ => {}
        }
        let inherited = if inherited.name == name { inherited.clone() } else { FormatSpec::new(name) };
        Ok(FormatSpec {
            delimiter: delimiter.or(inherited.delimiter),
            nullable: nullable.unwrap_or(inherited.nullable),
            ..FormatSpec::new(name)
        })
    }
}

fn window(kind: Option<WindowType>, size_ms: Option<i64>) -> Result<Option<WindowInfo>> {
    match (kind, size_ms) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err(Error::statement("'WINDOW_SIZE' requires 'WINDOW_TYPE' to be set in the WITH clause.")),
        (Some(WindowType::Session), Some(_)) => {
            Err(Error::statement("'WINDOW_SIZE' should not be set for SESSION windows."))
        }
        (Some(WindowType::Session), None) => Ok(Some(WindowInfo { kind: WindowType::Session, size_ms: None })),
        (Some(kind), Some(_)) => Ok(Some(WindowInfo { kind, size_ms })),
        (Some(kind), None) => {
            let kind = if kind == WindowType::Hopping { "HOPPING" } else { "TUMBLING" };
            Err(Error::statement(format!(
                "{kind} windows require 'WINDOW_SIZE' to be provided in the WITH clause. \
                 For example: 'WINDOW_SIZE'='10 SECONDS'"
            )))
        }
    }
}

fn window_type_of(property: &Property) -> Result<WindowType> {
    match text(property)?.trim().to_uppercase().as_str() {
        "TUMBLING" => Ok(WindowType::Tumbling),
        "HOPPING" => Ok(WindowType::Hopping),
        "SESSION" => Ok(WindowType::Session),
        other => Err(Error::statement(format!(
            "Configuration WINDOW_TYPE is invalid: Unknown window type: {other}. Window type can only be one of: \
             SESSION, HOPPING, TUMBLING"
        ))),
    }
}

fn window_size(property: &Property) -> Result<i64> {
    let said = text(property)?;
    duration_ms(&said).map_err(|e| e.prefixed("Configuration WINDOW_SIZE is invalid: "))
}

/// `20 SECONDS`, units as in a WINDOW clause.
fn duration_ms(said: &str) -> Result<i64> {
    let wrong = |why: String| Error::parse(format!("Invalid duration: '{said}'. {why}"));
    let parts: Vec<&str> = said.split_whitespace().collect();
    let [amount, unit] = parts[..] else {
        return Err(wrong("Expected format: '<number> <unit>', for example '10 SECONDS'".into()));
    };
    let amount: i64 = amount.parse().map_err(|_| wrong(format!("Not numeric: {amount}")))?;
    let unit = unit.to_uppercase();
    let unit_ms = match unit.strip_suffix('S').unwrap_or(&unit) {
        "DAY" => 86_400_000,
        "HOUR" => 3_600_000,
        "MINUTE" => 60_000,
        "SECOND" => 1_000,
        "MILLISECOND" => 1,
        _ => return Err(wrong(format!("Unknown time unit: '{unit}'"))),
    };
    if amount <= 0 {
        return Err(wrong("Duration must be positive".into()));
    }
    amount.checked_mul(unit_ms).ok_or_else(|| wrong("Duration is too long".into()))
}

fn text(property: &Property) -> Result<String> {
    Ok(match &property.value {
        Literal::String(s) => s.clone(),
        Literal::Boolean(b) => b.to_string(),
        Literal::Integer(i) => i.to_string(),
        Literal::Bigint(i) => i.to_string(),
        Literal::Decimal(digits) => digits.clone(),
        Literal::Double(d) => d.to_string(),
        Literal::Null => return Err(wrong_value(property, "null", "a value is needed")),
    })
}

fn integer(property: &Property) -> Result<i64> {
    let said = text(property)?;
    said.trim().parse().map_err(|_| wrong_value(property, &said, "Not a number of type INT"))
}

fn partitions(property: &Property) -> Result<u32> {
    let count = integer(property)?;
    u32::try_from(count)
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| wrong_value(property, &count.to_string(), "Value must be at least 1"))
}

fn boolean(property: &Property) -> Result<bool> {
    let said = text(property)?;
    match said.trim().to_ascii_lowercase().as_str() {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(wrong_value(property, &said, "Expected value to be either true or false")),
    }
}

fn wrong_value(property: &Property, said: &str, why: &str) -> Error {
    Error::statement(format!("Invalid value {said} for configuration {}: {why}", property.name))
}

fn nullable(property: &Property) -> Result<Nullable> {
    let said = text(property)?;
    match said.to_ascii_uppercase().as_str() {
        "OPTIONAL" => Ok(Nullable::Optional),
        "WRAPPER" => Ok(Nullable::Wrapper),
        _ => Err(Error::statement(format!(
            "Invalid value {said} for configuration {}: String must be one of: OPTIONAL, WRAPPER",
            property.name
        ))),
    }
}

fn delimiter(property: &Property) -> Result<char> {
    let said = text(property)?;
    let example = "\nExample valid value: ';'";
    let invalid = |why: String| Error::statement(format!("Configuration {} is invalid: {why}{example}", property.name));
    if said.trim().is_empty() {
        return Err(invalid(
            "Delimiter cannot be empty, if you meant to have a tab or space for delimiter, please use the special \
             values 'TAB' or 'SPACE'"
                .into(),
        ));
    }
    match said.to_ascii_uppercase().as_str() {
        "TAB" => return Ok('\t'),
        "SPACE" => return Ok(' '),
        _ => {}
    }
    let mut characters = said.chars();
    match (characters.next(), characters.next()) {
        (Some(one), None) => Ok(one),
        _ => Err(invalid(format!(
            "Invalid delimiter value: '{said}'. Delimiter must be a single character or TAB,SPACE"
        ))),
    }
}

fn query_id(property: &Property) -> Result<String> {
    let said = text(property)?;
    let id = said.trim().to_uppercase();
    let reserved = ["INSERTQUERY_", "CTAS_", "CSAS_", "CST_", "TRANSIENT_"];
    if id.is_empty() || !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(Error::statement(format!(
            "Query IDs may contain only alphanumeric characters and '_'. Got: '{said}'"
        )));
    }
    if let Some(prefix) = reserved.iter().find(|p| id.starts_with(**p)) {
        return Err(Error::statement(format!("Query IDs must not start with '{prefix}'. Got: '{said}'")));
    }
    Ok(id)
}

/// A column named inside a string: folded to upper case unless quoted.
fn identifier(said: &str) -> String {
    let said = said.trim();
    for quote in ['`', '"'] {
        if let Some(inner) = said.strip_prefix(quote).and_then(|s| s.strip_suffix(quote)) {
            return inner.to_string();
        }
    }
    said.to_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Position;

    fn said(list: &[(&str, Literal)]) -> Vec<Property> {
        list.iter()
            .map(|(name, value)| Property {
                name: (*name).to_string(),
                value: value.clone(),
                position: Position { line: 1, column: 1 },
            })
            .collect()
    }

    fn string(s: &str) -> Literal {
        Literal::String(s.to_string())
    }

    #[test]
    fn format_sets_both_sides_and_excludes_the_others() {
        let both = Properties::parse(Clause::Source, &said(&[("FORMAT", string("json"))])).unwrap();
        assert_eq!((both.key_format, both.value_format), (Some(FormatName::Json), Some(FormatName::Json)));
        let clash = said(&[("KEY_FORMAT", string("KAFKA")), ("FORMAT", string("KAFKA"))]);
        let error = Properties::parse(Clause::Source, &clash).unwrap_err();
        assert!(error.message().contains("Cannot supply both 'KEY_FORMAT' and 'FORMAT' properties"));
    }

    #[test]
    fn a_delimiter_is_one_character_or_a_name() {
        let parsed = |d: &str| Properties::parse(Clause::Source, &said(&[("VALUE_DELIMITER", string(d))]));
        assert_eq!(parsed("TAB").unwrap().value_delimiter, Some('\t'));
        assert!(parsed("<~>").unwrap_err().message().contains("Invalid delimiter value: '<~>'"));
        assert!(parsed(" ").unwrap_err().message().contains("Delimiter cannot be empty"));
    }

    #[test]
    fn window_sizes_have_known_units() {
        assert_eq!(duration_ms("20 seconds").unwrap(), 20_000);
        assert_eq!(
            duration_ms("30 bobs").unwrap_err().message(),
            "Invalid duration: '30 bobs'. Unknown time unit: 'BOBS'"
        );
    }

    #[test]
    fn unknown_properties_are_named() {
        let error = Properties::parse(Clause::Sink, &said(&[("COLOUR", string("red"))])).unwrap_err();
        assert!(error.message().ends_with("Invalid config variable(s) in the WITH clause: COLOUR"));
    }
}
