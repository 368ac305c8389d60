//! Changes of the catalog: planned as a whole, logged as one group, applied as a whole.
//!
//! The same [`Change`] is applied to a copy when a request's statements are validated together, and to the real catalog
//! once its group is durable. Nothing of a failed statement remains.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Catalog, PersistentQuery, Source};
use crate::error::{Error, Result};
use crate::log::Control;
use crate::plan::TopicPlan;
use crate::types::SqlType;

#[derive(Debug, Clone, Default)]
pub struct Change {
    /// New form of each named source; None removes it.
    pub sources: Vec<(String, Option<Arc<Source>>)>,
    pub queries: Vec<(String, Option<Arc<PersistentQuery>>)>,
    pub types: Vec<(String, Option<SqlType>)>,
    pub create_topics: Vec<TopicPlan>,
    pub drop_topics: Vec<String>,
    /// A query of the same id takes over positions and what state still fits.
    pub replaces: bool,
    /// What ksqlDB answers: `stream/S1/create`.
    pub command_id: String,
    pub message: String,
    pub query_id: Option<String>,
}

impl Catalog {
    /// The catalog after `change`; the log is not touched.
    pub fn apply(&mut self, change: &Change) {
        put_all(&mut self.sources, &change.sources);
        for (id, query) in &change.queries {
            if let Some(query) = query {
                self.next_query_number = self.next_query_number.max(query.number + 1);
            }
            put(&mut self.queries, id, query.as_ref());
        }
        put_all(&mut self.types, &change.types);
    }

    /// What the log must record for `change`.
    pub fn controls(change: &Change) -> Result<Vec<Control>> {
        let mut controls = Vec::new();
        collect("source", change.sources.iter().map(|(name, source)| (name, source.as_deref())), &mut controls)?;
        collect("query", change.queries.iter().map(|(id, query)| (id, query.as_deref())), &mut controls)?;
        collect("type", change.types.iter().map(|(name, ty)| (name, ty.as_ref())), &mut controls)?;
        if let Some(number) = change.queries.iter().filter_map(|(_, q)| q.as_ref()).map(|q| q.number + 1).max() {
            controls.push(Control::Catalog { key: "next_query_number".into(), value: Some(number.to_string()) });
        }
        Ok(controls)
    }

    /// Reads what the log keeps.
    pub fn restore(entries: &BTreeMap<String, String>) -> Result<Catalog> {
        let mut catalog = Catalog::default();
        for (key, value) in entries {
            match key.split_once('/') {
                Some(("source", name)) => {
                    catalog.sources.insert(name.into(), Arc::new(read(key, value)?));
                }
                Some(("query", id)) => {
                    catalog.queries.insert(id.into(), Arc::new(read(key, value)?));
                }
                Some(("type", name)) => {
                    catalog.types.insert(name.into(), read(key, value)?);
                }
                None if key == "next_query_number" => catalog.next_query_number = read(key, value)?,
                // Written by other parts of the engine under their own prefix.
                _ => {}
            }
        }
        Ok(catalog)
    }
}

fn put<T: Clone>(map: &mut BTreeMap<Arc<str>, T>, name: &str, value: Option<&T>) {
    match value {
        Some(value) => {
            map.insert(name.into(), value.clone());
        }
        None => {
            map.remove(name);
        }
    }
}

fn put_all<T: Clone>(map: &mut BTreeMap<Arc<str>, T>, changes: &[(String, Option<T>)]) {
    for (name, value) in changes {
        put(map, name, value.as_ref());
    }
}

fn collect<'a, T: Serialize + 'a>(
    kind: &str,
    changes: impl Iterator<Item = (&'a String, Option<&'a T>)>,
    into: &mut Vec<Control>,
) -> Result<()> {
    for (name, value) in changes {
        let value = match value {
            Some(value) => Some(serde_json::to_string(value).map_err(|e| Error::internal(e.to_string()))?),
            None => None,
        };
        into.push(Control::Catalog { key: format!("{kind}/{name}"), value });
    }
    Ok(())
}

fn read<T: DeserializeOwned>(key: &str, value: &str) -> Result<T> {
    serde_json::from_str(value).map_err(|e| {
        Error::storage(format!("catalog entry {key} cannot be read: {e}"))
            .with_hint("the data directory was written by another version, or is damaged")
    })
}
