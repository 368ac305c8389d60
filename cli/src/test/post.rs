//! What must exist when a case has ended: its `post` field.
//!
//! | field | rule |
//! |---|---|
//! | `sources` | each must exist; given fields must be equal; a `keyFormat` without window means not windowed |
//! | `topics.topics` | each must exist; names of ksqlDB's internal topics are its own business and are skipped |
//! | `topics.blacklist` | patterns no topic may match; only `.*` at the ends is understood |

use headwater_engine::Access;
use headwater_engine::catalog::{Catalog, Source};
use headwater_engine::format::FormatSpec;
use headwater_engine::schema::{Column, Schema};
use headwater_engine::sql::ast::{ColumnConstraint, ColumnDef, Statement, TypeName};
use headwater_engine::types::{SqlType, StructField};
use serde_json::Value;

use super::case::{list, text};
use super::fixture::{Fixture, schema_text, source_type, window_type};

pub fn difference(fixture: &Fixture, post: &Value) -> Option<String> {
    let catalog = fixture.catalog();
    let sources = list(post, "sources").iter().find_map(|expected| source_differs(fixture, &catalog, expected));
    sources.or_else(|| topics_differ(fixture, &post["topics"]))
}

fn source_differs(fixture: &Fixture, catalog: &Catalog, expected: &Value) -> Option<String> {
    let name = text(expected, "name")?;
    let Some(source) = catalog.source(&name) else { return Some(format!("source {name} does not exist")) };
    let differs = |what: &str, expected: &str, actual: &str| {
        (expected != actual).then(|| format!("source {name}: {what}: expected {expected}, got {actual}"))
    };
    if let Some(ty) = text(expected, "type")
        && let Some(difference) = differs("type", &ty.to_lowercase(), source_type(source.kind))
    {
        return Some(difference);
    }
    if let Some(schema) = text(expected, "schema") {
        match parse_schema(fixture, catalog, &schema) {
            Ok((parsed, headers)) => {
                if parsed != source.schema || headers != source.headers {
                    return differs("schema", &schema, &schema_text(source));
                }
            }
            Err(error) => return Some(format!("source {name}: the expected schema cannot be read: {error}")),
        }
    }
    if let Some(key_format) = expected.get("keyFormat").filter(|v| v.is_object()) {
        if let Some(format) = text(key_format, "format")
            && let Some(difference) = differs("key format", &format, source.key_format.name.sql())
        {
            return Some(difference);
        }
        let windowed = source.windowed.as_ref();
        let kind = windowed.map_or("none", |w| window_type(w.kind));
        let expected_kind = text(key_format, "windowType").unwrap_or_else(|| "none".to_string());
        if let Some(difference) = differs("window type", &expected_kind, kind) {
            return Some(difference);
        }
        let size = windowed.and_then(|w| w.size_ms);
        let expected_size = key_format["windowSize"].as_i64();
        if size != expected_size {
            return Some(format!("source {name}: window size: expected {expected_size:?}, got {size:?}"));
        }
    }
    if let Some(format) = text(expected, "valueFormat")
        && let Some(difference) = differs("value format", &format, source.value_format.name.sql())
    {
        return Some(difference);
    }
    if let Some(is_source) = expected["isSource"].as_bool()
        && is_source != source.is_source
    {
        return Some(format!("source {name}: isSource: expected {is_source}, got {}", source.is_source));
    }
    features_differ(expected, source)
}

/// How single columns are wrapped, where the case says so.
fn features_differ(expected: &Value, source: &Source) -> Option<String> {
    let value = features(&source.value_format);
    let key = if source.schema.key.len() == 1 { vec!["UNWRAP_SINGLES"] } else { Vec::new() };
    for (field, actual) in [("keyFeatures", key), ("valueFeatures", value)] {
        if let Some(wanted) = expected[field].as_array() {
            let wanted: Vec<&str> = wanted.iter().filter_map(Value::as_str).collect();
            if wanted != actual {
                return Some(format!("source {}: {field}: expected {wanted:?}, got {actual:?}", source.name));
            }
        }
    }
    None
}

fn features(format: &FormatSpec) -> Vec<&'static str> {
    match format.wrap_single {
        Some(true) => vec!["WRAP_SINGLES"],
        Some(false) => vec!["UNWRAP_SINGLES"],
        None => Vec::new(),
    }
}

fn topics_differ(fixture: &Fixture, expected: &Value) -> Option<String> {
    let actual = fixture.topics_json();
    for topic in list(expected, "topics") {
        let name = text(topic, "name").unwrap_or_default();
        if name.starts_with("_confluent") || name.ends_with("-repartition") || name.ends_with("-changelog") {
            continue;
        }
        let Some(found) = actual.iter().find(|t| t["name"] == name.as_str()) else {
            return Some(format!("topic {name} does not exist"));
        };
        for field in ["keyFormat", "valueFormat"] {
            // `{"format": "JSON"}` or `"JSON"`.
            let wanted = text(&topic[field], "format").or_else(|| text(topic, field));
            if let Some(wanted) = wanted
                && found[field] != wanted.as_str()
            {
                return Some(format!("topic {name}: {field}: expected {wanted}, got {}", found[field]));
            }
        }
        if let Some(partitions) = topic["partitions"].as_u64()
            && found["partitions"].as_u64() != Some(partitions)
        {
            return Some(format!("topic {name}: expected {partitions} partitions, got {}", found["partitions"]));
        }
    }
    let patterns = match &expected["blacklist"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(many) => many.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    patterns.iter().find_map(|pattern| {
        let forbidden = actual.iter().filter_map(|t| t["name"].as_str()).find(|name| matches(pattern, name))?;
        Some(format!("topic {forbidden} must not exist"))
    })
}

fn matches(pattern: &str, name: &str) -> bool {
    match (pattern.strip_prefix(".*"), pattern.strip_suffix(".*")) {
        (Some(rest), Some(_)) => name.contains(rest.trim_end_matches(".*")),
        (Some(end), None) => name.ends_with(end),
        (None, Some(start)) => name.starts_with(start),
        (None, None) => name == pattern,
    }
}

type Headers = Vec<(String, Option<String>)>;

fn parse_schema(fixture: &Fixture, catalog: &Catalog, schema: &str) -> Result<(Schema, Headers), String> {
    let kind = if schema.contains("PRIMARY KEY") { "TABLE" } else { "STREAM" };
    let sql = format!("CREATE {kind} X ({schema}) WITH (KAFKA_TOPIC='X', VALUE_FORMAT='JSON');");
    let parsed = fixture.engine.session(Access::default()).parse(&sql).map_err(|e| e.to_string())?;
    match parsed.into_iter().next().map(|p| p.statement) {
        Some(Statement::CreateSource(create)) => schema_of(catalog, &create.columns),
        _ => Err("it is not a list of columns".to_string()),
    }
}

/// Declared columns as a schema and header columns.
pub fn schema_of(catalog: &Catalog, columns: &[ColumnDef]) -> Result<(Schema, Headers), String> {
    let (mut schema, mut headers) = (Schema::default(), Vec::new());
    for column in columns {
        match &column.constraint {
            Some(ColumnConstraint::Headers) => headers.push((column.name.clone(), None)),
            Some(ColumnConstraint::Header(key)) => headers.push((column.name.clone(), Some(key.clone()))),
            constraint => {
                let to = if constraint.is_some() { &mut schema.key } else { &mut schema.value };
                to.push(Column::new(column.name.clone(), type_of(catalog, &column.ty)?));
            }
        }
    }
    Ok((schema, headers))
}

fn type_of(catalog: &Catalog, ty: &TypeName) -> Result<SqlType, String> {
    Ok(match ty {
        TypeName::Sql(ty) => ty.clone(),
        TypeName::Custom(name) => {
            catalog.types.get(name.as_str()).cloned().ok_or_else(|| format!("type {name} does not exist"))?
        }
        TypeName::Array(item) => SqlType::array(type_of(catalog, item)?),
        TypeName::Map(key, value) => SqlType::map(type_of(catalog, key)?, type_of(catalog, value)?),
        TypeName::Struct(fields) => SqlType::Struct(
            fields
                .iter()
                .map(|(name, ty)| Ok(StructField { name: name.clone(), ty: type_of(catalog, ty)? }))
                .collect::<Result<_, String>>()?,
        ),
    })
}
