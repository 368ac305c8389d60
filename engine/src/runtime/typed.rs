//! The schemas behind typed batches.
//!
//! A typed batch in the log carries only a fingerprint. This is the list of what each fingerprint stands for: formats,
//! columns, window. A reader with the same fingerprint shares the columns; every other reader, and every client, gets the
//! encoded face, made from what is listed here. Entries are kept in the log's catalog map (`typed/<fingerprint>`), and
//! never change.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::BinaryArray;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};

use crate::catalog::Source;
use crate::error::{Error, Result};
use crate::format::{self, FormatRef, FormatSpec, Side, windowed};
use crate::log::{EncodedRecords, LogBody};
use crate::plan::steps::{Scan, WindowInfo};
use crate::rows::Rows;
use crate::schema::Schema;

/// What a fingerprint stands for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TypedSchema {
    pub key_format: FormatSpec,
    pub value_format: FormatSpec,
    pub schema: Schema,
    pub windowed: Option<WindowInfo>,
}

impl TypedSchema {
    pub fn of_source(source: &Source) -> Self {
        Self {
            key_format: source.key_format.clone(),
            value_format: source.value_format.clone(),
            schema: source.schema.clone(),
            windowed: source.windowed,
        }
    }

    pub fn of_scan(scan: &Scan) -> Self {
        Self {
            key_format: scan.key_format.clone(),
            value_format: scan.value_format.clone(),
            schema: scan.declared.clone(),
            windowed: scan.windowed,
        }
    }

    /// FNV-1a over the JSON form, which is stable for a given release of the catalog format.
    pub fn fingerprint(&self) -> Result<u64> {
        let text = serde_json::to_vec(self).map_err(|e| Error::internal(e.to_string()))?;
        Ok(text
            .iter()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)))
    }

    pub fn catalog_key(fingerprint: u64) -> String {
        format!("typed/{fingerprint:016x}")
    }
}

/// A typed schema with its formats ready to run.
pub struct TypedCodec {
    pub typed: TypedSchema,
    pub fingerprint: u64,
    pub key: FormatRef,
    pub value: FormatRef,
}

impl TypedCodec {
    pub fn new(typed: TypedSchema) -> Result<Self> {
        let fingerprint = typed.fingerprint()?;
        let key = format::create(&typed.key_format, &typed.schema.key, Side::Key)?;
        let value = format::create(&typed.value_format, &typed.schema.value, Side::Value)?;
        Ok(Self { typed, fingerprint, key, value })
    }

    /// Bytes of the keys, window included; null where the key is null.
    pub fn encode_keys(&self, rows: &Rows) -> Result<BinaryArray> {
        let keys = self.encode_plain_keys(rows)?;
        match (&rows.window, self.typed.windowed) {
            (Some(window), Some(info)) => Ok(windowed::join(&keys, window, info.kind)),
            _ => Ok(keys),
        }
    }

    /// Keys without their windows: what decides the partition, so that all windows of a key are in one.
    pub fn encode_plain_keys(&self, rows: &Rows) -> Result<BinaryArray> {
        let keys = self.typed.schema.key.len();
        if keys == 0 {
            return Ok(BinaryArray::new_null(rows.len()));
        }
        Ok(self.key.encode(&rows.columns.columns()[..keys], rows.null_key.as_ref())?.bytes)
    }

    pub fn encode_values(&self, rows: &Rows) -> Result<BinaryArray> {
        let keys = self.typed.schema.key.len();
        Ok(self.value.encode(&rows.columns.columns()[keys..], rows.null_value.as_ref())?.bytes)
    }

    pub fn encode(&self, rows: &Rows) -> Result<EncodedRecords> {
        Ok(EncodedRecords {
            keys: self.encode_keys(rows)?,
            values: self.encode_values(rows)?,
            time: rows.time.clone(),
            headers: rows.headers.clone(),
        })
    }

    /// What decoding the encoded form would give; rows that cannot be written are named and must be left out.
    pub fn canonicalise(&self, rows: Rows) -> Result<(Rows, Vec<crate::error::RowError>)> {
        let keys = self.typed.schema.key.len();
        let (schema, count) = (rows.columns.schema(), rows.len());
        let mut columns = rows.columns.columns().to_vec();
        let values = columns.split_off(keys);
        let mut errors = Vec::new();
        let (mut columns, null_key) = if keys == 0 {
            (columns, rows.null_key)
        } else {
            let key = self.key.canonicalise(columns, rows.null_key.as_ref())?;
            errors.extend(key.errors);
            (key.columns, key.null)
        };
        let value = self.value.canonicalise(values, rows.null_value.as_ref())?;
        errors.extend(value.errors);
        errors.sort_by_key(|e| e.row);
        errors.dedup_by_key(|e| e.row);
        columns.extend(value.columns);
        let rows =
            Rows { columns: crate::rows::batch_of(schema, columns, count)?, null_key, null_value: value.null, ..rows };
        Ok((rows, errors))
    }
}

/// All fingerprints known to this engine.
#[derive(Default)]
pub struct TypedSchemas {
    codecs: RwLock<HashMap<u64, Arc<TypedCodec>>>,
}

impl TypedSchemas {
    pub fn get(&self, fingerprint: u64) -> Option<Arc<TypedCodec>> {
        self.codecs.read().get(&fingerprint).cloned()
    }

    /// Adds a schema if it is new; says whether it was.
    pub fn add(&self, typed: &TypedSchema) -> Result<(Arc<TypedCodec>, bool)> {
        let fingerprint = typed.fingerprint()?;
        if let Some(codec) = self.get(fingerprint) {
            return Ok((codec, false));
        }
        let codec = Arc::new(TypedCodec::new(typed.clone())?);
        self.codecs.write().insert(fingerprint, codec.clone());
        Ok((codec, true))
    }

    /// The encoded face of any batch.
    pub fn encoded(&self, body: &LogBody) -> Result<EncodedRecords> {
        match body {
            LogBody::Encoded(records) => Ok(records.clone()),
            LogBody::Typed { rows, fingerprint } => self
                .get(*fingerprint)
                .ok_or_else(|| Error::internal(format!("typed batch with unknown fingerprint {fingerprint:016x}")))?
                .encode(rows),
        }
    }
}
