//! How fast do JSON records of declared columns become arrays?
//!
//! The records are Nexmark's bids. Theirs is what one writes first with serde: a `DeserializeSeed` that walks each record
//! with sonic-rs and appends every field to its column's builder; fields that are not wanted are ignored.

use arrow::array::{Array, ArrayRef, BinaryArray, Int64Builder, StringBuilder};
use headwater_engine::format::{FormatName, FormatSpec, Side, create};
use headwater_engine::schema::Column;
use headwater_engine::types::SqlType;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::fmt;
use std::hint::black_box;
use std::sync::Arc;

use super::Comparison;
use super::data::{scattered, word};

const RECORDS: usize = 4096;
const FIELDS: [&str; 7] = ["auction", "bidder", "price", "channel", "url", "date_time", "extra"];

pub fn run(measure: &mut dyn FnMut(Comparison<'_>)) {
    let records = bids();
    let columns: Vec<Column> = FIELDS.iter().map(|name| Column::new(name.to_uppercase(), type_of(name))).collect();
    let format = create(&FormatSpec::new(FormatName::Json), &columns, Side::Value).expect("JSON holds these columns");
    for (name, wanted) in [("bid, all 7 columns", &[0, 1, 2, 3, 4, 5, 6][..]), ("bid, 2 of 7 columns", &[0, 2])] {
        let ours = format.decode(&records, wanted).expect("good JSON");
        assert!(ours.errors.is_empty() && ours.columns == walk(&records, wanted), "both read the same");
        measure(Comparison {
            name,
            rows: RECORDS,
            bar: 1.0 / 1.1,
            ours: &mut || drop(black_box(format.decode(&records, wanted).expect("good JSON"))),
            theirs: Some(("serde over sonic-rs", &mut || drop(black_box(walk(&records, wanted))))),
        });
    }
}

fn type_of(name: &str) -> SqlType {
    if matches!(name, "channel" | "url" | "extra") { SqlType::String } else { SqlType::Bigint }
}

fn bids() -> BinaryArray {
    BinaryArray::from_iter_values((0..RECORDS).map(|row| {
        let n = |salt, below| scattered(row, salt) % below;
        format!(
            "{{\"auction\":{},\"bidder\":{},\"price\":{},\"channel\":\"channel-{}\",\"url\":\"https://www.nexmark.com/{}/item.htm?\
             query=1&channel_id={}\",\"date_time\":{},\"extra\":\"{}{}{}\"}}",
            1000 + n(1, 10_000),
            1000 + n(2, 10_000),
            100 + n(3, 10_000_000),
            n(4, 10_000),
            word(row, 5),
            n(6, 1_000_000_000),
            1_700_000_000_000 + row as u64,
            word(row, 7),
            word(row, 8),
            word(row, 9),
        )
    }))
}

enum Builder {
    Ignored,
    Long(Int64Builder),
    Text(StringBuilder),
}

fn walk(records: &BinaryArray, wanted: &[usize]) -> Vec<ArrayRef> {
    let mut builders: Vec<Builder> = FIELDS
        .iter()
        .enumerate()
        .map(|(i, name)| match type_of(name) {
            _ if !wanted.contains(&i) => Builder::Ignored,
            SqlType::Bigint => Builder::Long(Int64Builder::with_capacity(records.len())),
            _ => Builder::Text(StringBuilder::with_capacity(records.len(), records.len() * 16)),
        })
        .collect();
    for record in records.iter().flatten() {
        let mut deserializer = sonic_rs::Deserializer::from_slice(record);
        Record(&mut builders).deserialize(&mut deserializer).expect("good JSON");
    }
    let finished = builders.into_iter().filter_map(|builder| -> Option<ArrayRef> {
        match builder {
            Builder::Ignored => None,
            Builder::Long(mut longs) => Some(Arc::new(longs.finish())),
            Builder::Text(mut texts) => Some(Arc::new(texts.finish())),
        }
    });
    finished.collect()
}

struct Record<'b>(&'b mut [Builder]);

impl<'de> DeserializeSeed<'de> for Record<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Record<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = [false; FIELDS.len()];
        while let Some(name) = map.next_key::<&str>()? {
            match FIELDS.iter().position(|field| *field == name) {
                Some(field) => {
                    map.next_value_seed(Value(&mut self.0[field]))?;
                    seen[field] = true;
                }
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        for (builder, _) in self.0.iter_mut().zip(seen).filter(|(_, seen)| !seen) {
            match builder {
                Builder::Ignored => {}
                Builder::Long(longs) => longs.append_null(),
                Builder::Text(texts) => texts.append_null(),
            }
        }
        Ok(())
    }
}

struct Value<'b>(&'b mut Builder);

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        match self.0 {
            Builder::Ignored => deserializer.deserialize_ignored_any(IgnoredAny).map(drop),
            Builder::Long(_) => deserializer.deserialize_i64(self),
            Builder::Text(_) => deserializer.deserialize_str(self),
        }
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number or a text")
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        if let Builder::Long(longs) = self.0 {
            longs.append_value(value);
        }
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        let value = i64::try_from(value).map_err(E::custom)?;
        self.visit_i64(value)
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        if let Builder::Text(texts) = self.0 {
            texts.append_value(value);
        }
        Ok(())
    }
}
