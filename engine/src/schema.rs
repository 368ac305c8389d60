//! The schema of a relation: key columns, then value columns.
//!
//! `ID STRING KEY, V BIGINT` is `key: [ID STRING]`, `value: [V BIGINT]`. A relation's Arrow columns are the key columns
//! followed by the value columns, in this order, everywhere. Pseudo-columns (`ROWTIME`, …) are not part of it; a plan
//! that names one gets it as an ordinary value column from the scan.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema as ArrowSchema, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::types::SqlType;

pub const ROWTIME: &str = "ROWTIME";
pub const ROWPARTITION: &str = "ROWPARTITION";
pub const ROWOFFSET: &str = "ROWOFFSET";
pub const WINDOWSTART: &str = "WINDOWSTART";
pub const WINDOWEND: &str = "WINDOWEND";

/// Names no column may be declared with (ksqlDB: *Pseudo columns*).
pub const RESERVED_COLUMNS: [&str; 5] = [ROWTIME, ROWPARTITION, ROWOFFSET, WINDOWSTART, WINDOWEND];

#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Column {
    pub name: String,
    pub ty: SqlType,
}

impl Column {
    pub fn new(name: impl Into<String>, ty: SqlType) -> Self {
        Self { name: name.into(), ty }
    }

    pub fn to_arrow(&self) -> Field {
        Field::new(&self.name, self.ty.to_arrow(), true)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Schema {
    pub key: Vec<Column>,
    pub value: Vec<Column>,
}

impl Schema {
    pub fn new(key: Vec<Column>, value: Vec<Column>) -> Self {
        Self { key, value }
    }

    pub fn columns(&self) -> impl Iterator<Item = &Column> {
        self.key.iter().chain(&self.value)
    }

    pub fn len(&self) -> usize {
        self.key.len() + self.value.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Position among all columns, key columns first.
    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.columns().position(|c| c.name == name)
    }

    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns().find(|c| c.name == name)
    }

    pub fn to_arrow(&self) -> SchemaRef {
        Arc::new(ArrowSchema::new(self.columns().map(Column::to_arrow).collect::<Vec<_>>()))
    }
}

/// ksqlDB's printed form: `` `ID` STRING KEY, `V` BIGINT ``.
impl fmt::Display for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for (columns, suffix) in [(&self.key, " KEY"), (&self.value, "")] {
            for column in columns {
                if !std::mem::take(&mut first) {
                    f.write_str(", ")?;
                }
                write!(f, "`{}` {}{suffix}", column.name, column.ty)?;
            }
        }
        Ok(())
    }
}
