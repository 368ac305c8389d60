//! `CREATE STREAM/TABLE` with columns, and `ALTER … ADD COLUMN`.
//!
//! The caller has dealt with `IF NOT EXISTS`; it also fills in the statement's text.

use super::expr::Scope as _;
use super::formats;
use super::names::{header_type, is_system_column, place};
use super::properties::{Clause, Properties};
use super::replace::check_replaceable;
use super::scope::NoColumns;
use super::type_names::resolve_type;
use crate::catalog::{Source, SourceKind};
use crate::error::{Error, Result};
use crate::format::{FormatName, FormatSpec, Side};
use crate::functions::values::java_time::Pattern;
use crate::plan::{Planner, SourcePlan, TopicPlan};
use crate::schema::{Column, Schema};
use crate::sql::ast::{self, ColumnConstraint, Statement};
use crate::types::SqlType;

/// Partitions of a topic that a statement creates without saying how many. Our choice: enough to use a few cores.
const PARTITIONS_DEFAULT: u32 = 4;

impl Planner<'_> {
    pub fn create_source(&self, create: &ast::CreateSource) -> Result<SourcePlan> {
        let is_table = create.kind == ast::SourceKind::Table;
        let name = &create.name.name;
        let word = if is_table { "table" } else { "stream" };
        check_replaceable(self, create.or_replace, create.is_source, word, name)?;
        let properties = Properties::parse(Clause::Source, &create.properties)?;
        let topic = properties.topic.clone().ok_or_else(|| {
            Error::statement(
                "Failed to prepare statement: Missing required property \"KAFKA_TOPIC\" which has no default value.",
            )
            .at(create.name.position)
        })?;
        let (schema, headers) = self.columns(create, is_table)?;
        let key_format = properties.format(Side::Key, &self.default_key_format()?)?;
        let value_format = self.declared_value_format(&properties)?;
        check_schema_ids(&properties, &key_format, &value_format)?;
        self.check_some_columns(create, &schema, &headers, is_table, &key_format, &value_format)?;
        if properties.window.is_some() && schema.key.is_empty() {
            return Err(Error::statement("Windowed sources require a key column."));
        }
        formats::check_key_types(&schema.key)?;
        if !schema.key.is_empty() || key_format.name == FormatName::None {
            formats::check(&key_format, &schema.key, Side::Key)?;
        }
        let value_format = self.wrapped(value_format, &schema, &properties)?;
        formats::check(&value_format, &schema.value, Side::Value)?;
        check_timestamp(&properties, &schema)?;
        formats::available(key_format.name)?;
        formats::available(value_format.name)?;
        let default = if self.settings.strict() { 1 } else { PARTITIONS_DEFAULT };
        let (partitions, create_topic) = self
            .topic(&topic, &properties, default, properties.retention_ms)
            .map_err(|e| e.at(create.name.position))?;
        SourcePlan {
            source: Source {
                name: name.clone(),
                kind: if is_table { SourceKind::Table } else { SourceKind::Stream },
                topic,
                partitions,
                key_format,
                value_format,
                schema,
                headers,
                windowed: properties.window,
                timestamp_column: properties.timestamp,
                timestamp_format: properties.timestamp_format,
                is_source: create.is_source,
                created_by: None,
                sql: String::new(),
                timestamp_throw_on_invalid: self.settings.bool("ksql.timestamp.throw.on.invalid"),
                discard: false,
            },
            create_topic,
        }
        .replacing(self, create.or_replace)
    }

    /// The source with the columns added.
    pub fn alter_source(&self, statement: &Statement) -> Result<Source> {
        let Statement::AlterSource { kind, name, columns } = statement else {
            return Err(Error::internal("alter_source takes ALTER statements"));
        };
        let source = self
            .catalog
            .source(&name.name)
            .ok_or_else(|| Error::not_found(format!("Source {} does not exist", name.name)).at(name.position))?;
        let word = if source.is_table() { "table" } else { "stream" };
        if source.is_table() != (*kind == ast::SourceKind::Table) {
            return Err(Error::statement(format!(
                "Incompatible data source type is {}, but statement was ALTER {}",
                word.to_uppercase(),
                if *kind == ast::SourceKind::Table { "TABLE" } else { "STREAM" }
            ))
            .at(name.position));
        }
        if source.created_by.is_some() {
            return Err(Error::statement("ALTER command is not supported for CREATE ... AS statements."));
        }
        if source.is_source {
            return Err(Error::statement(format!(
                "Cannot alter {word} '{}': ALTER operations are not supported on source {word}s.",
                source.name
            )));
        }
        let mut altered = source.clone();
        for column in columns {
            if is_system_column(&column.name) {
                return Err(reserved_name(&column.name).at(column.position));
            }
            let taken = altered.schema.columns().any(|c| c.name == column.name)
                || altered.headers.iter().any(|(header, _)| *header == column.name);
            if taken {
                return Err(Error::statement(format!(
                    "Cannot add column `{}` to schema. A column with the same name already exists.",
                    column.name
                ))
                .at(column.position));
            }
            if column.constraint.is_some() {
                return Err(Error::statement(format!(
                    "Cannot add column `{}`: only value columns can be added.",
                    column.name
                ))
                .at(column.position));
            }
            altered.schema.value.push(Column::new(&column.name, self.resolve(&column.ty)?));
        }
        if altered.schema.value.len() > 1 {
            altered.value_format.wrap_single = None;
        }
        formats::check(&altered.value_format, &altered.schema.value, Side::Value)?;
        Ok(altered)
    }

    pub(super) fn resolve(&self, ty: &ast::TypeName) -> Result<SqlType> {
        let types = NoColumns { catalog: self.catalog };
        resolve_type(ty, &|name| types.custom_type(name))
    }

    pub(super) fn default_key_format(&self) -> Result<FormatSpec> {
        let name = self.settings.get("ksql.persistence.default.format.key").unwrap_or("KAFKA");
        Ok(FormatSpec::new(formats::by_name(name)?))
    }

    pub(super) fn wrap_single_default(&self) -> Option<bool> {
        self.settings.get("ksql.persistence.wrap.single.values").map(|v| v.eq_ignore_ascii_case("true"))
    }

    fn declared_value_format(&self, properties: &Properties) -> Result<FormatSpec> {
        let default = match self.settings.get("ksql.persistence.default.format.value") {
            Some(name) => Some(formats::by_name(name)?),
            None if self.settings.strict() => None,
            None => Some(FormatName::Json),
        };
        match properties.value_format.or(default) {
            Some(name) => properties.format(Side::Value, &FormatSpec::new(name)),
            None => Err(Error::statement(
                "Statement is missing the 'VALUE_FORMAT' property from the WITH clause. Either provide one or set a \
                 default via the 'ksql.persistence.default.format.value' config.",
            )),
        }
    }

    fn columns(&self, create: &ast::CreateSource, is_table: bool) -> Result<(Schema, Vec<(String, Option<String>)>)> {
        let mut schema = Schema::default();
        let mut headers: Vec<(String, Option<String>)> = Vec::new();
        for column in &create.columns {
            let refuse = |message: String| {
                Err(Error::statement(format!("{}{message}", place(column.position))).at(column.position))
            };
            if is_system_column(&column.name) {
                return Err(reserved_name(&column.name).at(column.position));
            }
            let taken = schema.columns().any(|c| c.name == column.name)
                || headers.iter().any(|(header, _)| *header == column.name);
            let ty = self.resolve(&column.ty).map_err(|e| e.at(column.position))?;
            if taken {
                return Err(Error::statement(format!(
                    "Duplicate value columns found in schema: `{}` {ty}",
                    column.name
                ))
                .at(column.position));
            }
            match &column.constraint {
                Some(ColumnConstraint::Key) if is_table => {
                    return refuse(format!(
                        "Column `{}` is a 'KEY' column: please use 'PRIMARY KEY' for tables.\nTables have PRIMARY KEYs, \
                         which are unique and NON NULL.\nStreams have KEYs, which have no uniqueness or NON NULL \
                         constraints.",
                        column.name
                    ));
                }
                Some(ColumnConstraint::PrimaryKey) if !is_table => {
                    return refuse(format!(
                        "Column `{}` is a 'PRIMARY KEY' column: please use 'KEY' for streams.\nTables have PRIMARY KEYs, \
                         which are unique and NON NULL.\nStreams have KEYs, which have no uniqueness or NON NULL \
                         constraints.",
                        column.name
                    ));
                }
                Some(ColumnConstraint::Key | ColumnConstraint::PrimaryKey) => {
                    schema.key.push(Column::new(&column.name, ty));
                }
                Some(ColumnConstraint::Headers) => {
                    if ty != header_type(None) {
                        return refuse(format!(
                            "Invalid type for HEADERS column: expected ARRAY<STRUCT<`KEY` STRING, `VALUE` BYTES>>, got \
                             {ty}"
                        ));
                    }
                    if !headers.is_empty() {
                        return refuse("Schema already contains a HEADERS column.".to_string());
                    }
                    headers.push((column.name.clone(), None));
                }
                Some(ColumnConstraint::Header(key)) => {
                    if ty != header_type(Some(key)) {
                        return refuse(format!("Invalid type for HEADER('{key}') column: expected BYTES, got {ty}"));
                    }
                    if headers.iter().any(|(_, k)| k.is_none()) {
                        return refuse("Schema already contains a HEADERS column.".to_string());
                    }
                    if headers.iter().any(|(_, k)| k.as_ref() == Some(key)) {
                        return refuse(format!("Schema already contains a HEADER('{key}') column."));
                    }
                    headers.push((column.name.clone(), Some(key.clone())));
                }
                None => schema.value.push(Column::new(&column.name, ty)),
            }
        }
        Ok((schema, headers))
    }

    /// Without declared columns a part's schema is inferred, which only registry formats can.
    fn check_some_columns(
        &self,
        create: &ast::CreateSource,
        schema: &Schema,
        headers: &[(String, Option<String>)],
        is_table: bool,
        key: &FormatSpec,
        value: &FormatSpec,
    ) -> Result<()> {
        if is_table && schema.key.is_empty() && !formats::infers(key.name) {
            return Err(Error::statement("Tables require a PRIMARY KEY. Please define the PRIMARY KEY.")
                .at(create.name.position));
        }
        let infers_key = schema.key.is_empty() && formats::infers(key.name);
        let infers_value = schema.value.is_empty() && formats::infers(value.name);
        if infers_key {
            formats::available(key.name)?;
        }
        if infers_value {
            formats::available(value.name)?;
        }
        if schema.is_empty() && headers.is_empty() && !infers_value {
            return Err(Error::statement("No columns supplied.").at(create.name.position));
        }
        Ok(())
    }

    /// The value format, with single columns wrapped or not.
    pub(super) fn wrapped(&self, format: FormatSpec, schema: &Schema, properties: &Properties) -> Result<FormatSpec> {
        let default = self.wrap_single_default();
        let wrap_single = formats::wrapping(format.name, schema.value.len(), properties.wrap_single, default)?;
        Ok(FormatSpec { wrap_single, ..format })
    }

    /// A source's topic: its partitions, and the topic if it must be created, with `default` partitions if none are named.
    pub(super) fn topic(
        &self,
        name: &str,
        properties: &Properties,
        default: u32,
        retention_ms: Option<i64>,
    ) -> Result<(u32, Option<TopicPlan>)> {
        match ((self.topic_partitions)(name), properties.partitions) {
            (Some(existing), Some(wanted)) if wanted != existing => Err(Error::statement(format!(
                "A Kafka topic with the name '{name}' already exists, with different partition/replica \
                 configuration than required. KSQL expects {wanted} partitions (topic has {existing})."
            ))),
            (Some(existing), _) => Ok((existing, None)),
            (None, wanted) => {
                let partitions = wanted.unwrap_or(default);
                Ok((partitions, Some(TopicPlan { name: name.to_string(), partitions, retention_ms })))
            }
        }
    }
}

fn reserved_name(name: &str) -> Error {
    Error::statement(format!("'{name}' is a reserved column name. You cannot use it as a name for a column."))
}

fn check_schema_ids(properties: &Properties, key: &FormatSpec, value: &FormatSpec) -> Result<()> {
    for (id, side, format) in
        [(properties.key_schema_id, "KEY", key.name), (properties.value_schema_id, "VALUE", value.name)]
    {
        if id.is_some() && !formats::infers(format) {
            return Err(Error::statement(format!(
                "{side}_FORMAT should support schema inference when {side}_SCHEMA_ID is provided. Current format is {}.",
                format.sql()
            )));
        }
    }
    Ok(())
}

/// The TIMESTAMP property must name a column that can hold a time.
pub(super) fn check_timestamp(properties: &Properties, schema: &Schema) -> Result<()> {
    let Some(name) = &properties.timestamp else {
        return match properties.timestamp_format {
            None => Ok(()),
            Some(_) => Err(Error::statement("TIMESTAMP_FORMAT can only be used with TIMESTAMP.")),
        };
    };
    let Some(column) = schema.column(name) else {
        return Err(Error::statement(format!(
            "The TIMESTAMP column set in the WITH clause does not exist in the schema: '{name}'"
        )));
    };
    let format = properties.timestamp_format.is_some();
    match column.ty {
        SqlType::String if !format => Err(Error::statement(format!(
            "A String timestamp field has been specified without also specifying the timestamp_format. Column: `{name}`"
        ))),
        SqlType::Bigint | SqlType::Timestamp if format => Err(Error::statement(format!(
            "'TIMESTAMP_FORMAT' set, but the timestamp column `{name}` is of type {}; formats are for STRING columns.",
            column.ty
        ))),
        SqlType::String => match properties.timestamp_format.as_deref().map(Pattern::new) {
            Some(Err(why)) => Err(Error::statement(format!("TIMESTAMP_FORMAT cannot be used: {why}"))
                .with_hint("a format such as yyyy-MM-dd''T''HH:mm:ss.SSSX; letters in quotes stand for themselves")),
            _ => Ok(()),
        },
        SqlType::Bigint | SqlType::Timestamp => Ok(()),
        _ => Err(Error::statement(format!(
            "Timestamp column, `{name}`, should be LONG(INT64), TIMESTAMP, or a String with a timestamp_format \
             specified. Got {}.",
            column.ty
        ))),
    }
}
