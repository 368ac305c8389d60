//! SQL types and the Arrow types that hold them.
//!
//! | SQL | Arrow | notes |
//! |---|---|---|
//! | BOOLEAN | Boolean | |
//! | INTEGER | Int32 | |
//! | BIGINT | Int64 | |
//! | DOUBLE | Float64 | |
//! | DECIMAL(p, s) | Decimal256(p, s) | one width for all, precision up to 76, so that arithmetic has one code path |
//! | STRING | Utf8 | |
//! | BYTES | Binary | |
//! | DATE | Date32 | days since 1970-01-01 |
//! | TIME | Time32(ms) | milliseconds of the day |
//! | TIMESTAMP | Timestamp(ms) | no zone |
//! | `ARRAY<T>` | List(`item` T) | |
//! | `MAP<K, V>` | Map(`entries` {`key`, `value`}) | unsorted |
//! | `STRUCT<…>` | Struct | field names kept |
//!
//! Rules from ksqlDB's documentation, *Data types*; the Arrow side is our choice.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Fields, TimeUnit};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Largest precision a DECIMAL may have.
pub const DECIMAL_PRECISION_MAX: u8 = 76;

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SqlType {
    Boolean,
    Integer,
    Bigint,
    Double,
    Decimal { precision: u8, scale: u8 },
    String,
    Bytes,
    Date,
    Time,
    Timestamp,
    Array(Box<SqlType>),
    Map(Box<SqlType>, Box<SqlType>),
    Struct(Vec<StructField>),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StructField {
    pub name: String,
    pub ty: SqlType,
}

impl SqlType {
    pub fn decimal(precision: u8, scale: u8) -> Self {
        SqlType::Decimal { precision, scale }
    }

    pub fn array(item: SqlType) -> Self {
        SqlType::Array(Box::new(item))
    }

    pub fn map(key: SqlType, value: SqlType) -> Self {
        SqlType::Map(Box::new(key), Box::new(value))
    }

    pub fn structure<N: Into<String>>(fields: impl IntoIterator<Item = (N, SqlType)>) -> Self {
        SqlType::Struct(fields.into_iter().map(|(name, ty)| StructField { name: name.into(), ty }).collect())
    }

    /// Of a HEADERS column: all headers of a record.
    pub fn headers() -> Self {
        Self::array(Self::structure([("KEY", SqlType::String), ("VALUE", SqlType::Bytes)]))
    }

    pub fn is_numeric(&self) -> bool {
        matches!(self, SqlType::Integer | SqlType::Bigint | SqlType::Double | SqlType::Decimal { .. })
    }

    /// DATE, TIME or TIMESTAMP.
    pub fn is_temporal(&self) -> bool {
        matches!(self, SqlType::Date | SqlType::Time | SqlType::Timestamp)
    }

    pub fn is_nested(&self) -> bool {
        matches!(self, SqlType::Array(_) | SqlType::Map(..) | SqlType::Struct(_))
    }

    /// The name without parameters, as ksqlDB's messages use it: `DECIMAL`, `ARRAY`, `STRING`.
    pub fn base_name(&self) -> &'static str {
        match self {
            SqlType::Boolean => "BOOLEAN",
            SqlType::Integer => "INTEGER",
            SqlType::Bigint => "BIGINT",
            SqlType::Double => "DOUBLE",
            SqlType::Decimal { .. } => "DECIMAL",
            SqlType::String => "STRING",
            SqlType::Bytes => "BYTES",
            SqlType::Date => "DATE",
            SqlType::Time => "TIME",
            SqlType::Timestamp => "TIMESTAMP",
            SqlType::Array(_) => "ARRAY",
            SqlType::Map(..) => "MAP",
            SqlType::Struct(_) => "STRUCT",
        }
    }

    pub fn to_arrow(&self) -> DataType {
        match self {
            SqlType::Boolean => DataType::Boolean,
            SqlType::Integer => DataType::Int32,
            SqlType::Bigint => DataType::Int64,
            SqlType::Double => DataType::Float64,
            SqlType::Decimal { precision, scale } => DataType::Decimal256(*precision, *scale as i8),
            SqlType::String => DataType::Utf8,
            SqlType::Bytes => DataType::Binary,
            SqlType::Date => DataType::Date32,
            SqlType::Time => DataType::Time32(TimeUnit::Millisecond),
            SqlType::Timestamp => DataType::Timestamp(TimeUnit::Millisecond, None),
            SqlType::Array(item) => DataType::List(Arc::new(Field::new_list_field(item.to_arrow(), true))),
            SqlType::Map(key, value) => DataType::Map(
                Arc::new(Field::new(
                    "entries",
                    DataType::Struct(Fields::from(vec![
                        Field::new("key", key.to_arrow(), false),
                        Field::new("value", value.to_arrow(), true),
                    ])),
                    false,
                )),
                false,
            ),
            SqlType::Struct(fields) => DataType::Struct(fields.iter().map(StructField::to_arrow).collect()),
        }
    }

    /// The SQL type of an Arrow type that [`SqlType::to_arrow`] or DataFusion made.
    pub fn from_arrow(ty: &DataType) -> Result<SqlType> {
        Ok(match ty {
            DataType::Boolean => SqlType::Boolean,
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => SqlType::Integer,
            DataType::Int64 | DataType::UInt32 | DataType::UInt64 => SqlType::Bigint,
            DataType::Float16 | DataType::Float32 | DataType::Float64 => SqlType::Double,
            DataType::Decimal32(p, s)
            | DataType::Decimal64(p, s)
            | DataType::Decimal128(p, s)
            | DataType::Decimal256(p, s) => SqlType::decimal(*p, (*s).max(0) as u8),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => SqlType::String,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
                SqlType::Bytes
            }
            DataType::Date32 | DataType::Date64 => SqlType::Date,
            DataType::Time32(_) | DataType::Time64(_) => SqlType::Time,
            DataType::Timestamp(..) => SqlType::Timestamp,
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                SqlType::array(SqlType::from_arrow(item.data_type())?)
            }
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(fields) if fields.len() == 2 => SqlType::map(
                    SqlType::from_arrow(fields[0].data_type())?,
                    SqlType::from_arrow(fields[1].data_type())?,
                ),
                other => return Err(Error::internal(format!("a map without entries: {other}"))),
            },
            DataType::Struct(fields) => SqlType::Struct(
                fields
                    .iter()
                    .map(|f| Ok(StructField { name: f.name().clone(), ty: SqlType::from_arrow(f.data_type())? }))
                    .collect::<Result<_>>()?,
            ),
            DataType::Dictionary(_, value) => SqlType::from_arrow(value)?,
            other => return Err(Error::statement(format!("type {other} has no SQL type"))),
        })
    }
}

impl StructField {
    pub fn to_arrow(&self) -> Field {
        Field::new(&self.name, self.ty.to_arrow(), true)
    }
}

/// ksqlDB's printed form: `DECIMAL(4, 2)`, `ARRAY<INTEGER>`, ``STRUCT<`F0` STRING>``.
impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SqlType::Decimal { precision, scale } => write!(f, "DECIMAL({precision}, {scale})"),
            SqlType::Array(item) => write!(f, "ARRAY<{item}>"),
            SqlType::Map(key, value) => write!(f, "MAP<{key}, {value}>"),
            SqlType::Struct(fields) => {
                f.write_str("STRUCT<")?;
                for (i, field) in fields.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "`{}` {}", field.name, field.ty)?;
                }
                f.write_str(">")
            }
            simple => f.write_str(simple.base_name()),
        }
    }
}
