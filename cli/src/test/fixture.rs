//! A fresh engine for one case, and what its topics hold.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryBuilder, Int64Array, ListArray, StringBuilder, StructArray,
};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use headwater_engine::catalog::{Catalog, Source, SourceKind};
use headwater_engine::clock::{Clock, ManualClock, SystemClock};
use headwater_engine::engine::Sync;
use headwater_engine::format::{FormatName, FormatSpec, Nullable, Side as Part};
use headwater_engine::log::EncodedRecords;
use headwater_engine::log::partitioner::partition_of;
use headwater_engine::plan::steps::{WindowInfo, WindowType};
use headwater_engine::rows::header_type;
use headwater_engine::schema::Column;
use headwater_engine::sql::ast::{CreateSource, Literal, Property, Statement};
use headwater_engine::types::SqlType;
use headwater_engine::{Access, Engine, EngineConfig, Error, Session, Storage};
use serde_json::{Map, Value, json};

use super::bytes::{self, Side};
use super::case::{Case, Header, Record, list, text};
use super::compare::{Actual, Fractions};
use super::report::Failure;

/// Settings that speak to the runner, not to the engine.
const EXACT_NUMBERS: &str = "use.exact.numeric.comparison";

pub struct Fixture {
    pub engine: Engine,
    pub session: Session,
    /// Topic → how its records are written, as the first source over it declares.
    shapes: BTreeMap<String, Shape>,
    exact: bool,
    drive: Drive,
    /// Partition and row of records in the order they came, of topics with several partitions.
    arrivals: BTreeMap<String, Vec<(u32, usize)>>,
}

#[derive(Debug, Clone)]
struct Shape {
    source: String,
    key: Side,
    value: Side,
    window: Option<WindowInfo>,
}

/// Whether the engine runs by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Drive {
    /// Only when stepped, on a clock that stands at 1970.
    Step,
    Free,
}

impl Drive {
    /// Partitions of topics for which nobody says how many. ksqlDB's server makes four; its record-by-record driver runs
    /// all partitions as one.
    fn partitions(self) -> u32 {
        match self {
            Drive::Step => 1,
            Drive::Free => 4,
        }
    }
}

impl Fixture {
    pub fn open(drive: Drive, properties: &Map<String, Value>) -> Result<Self, Failure> {
        let clock: Arc<dyn Clock> = match drive {
            Drive::Step => ManualClock::at(0),
            Drive::Free => Arc::new(SystemClock),
        };
        let engine = Engine::open(EngineConfig {
            storage: Storage::Memory,
            sync: Sync::Never,
            clock,
            workers: Some(1),
            step: drive == Drive::Step,
            settings: BTreeMap::from([("ksql.strict".to_string(), "true".to_string())]),
        })
        .map_err(|e| broken("the engine does not start", &e))?;
        let mut session = engine.session(Access::default());
        for (name, value) in properties.iter().filter(|(name, _)| *name != EXACT_NUMBERS) {
            session.set(name, &plain(value)).map_err(|e| broken("a property is refused", &e))?;
        }
        let exact = properties.get(EXACT_NUMBERS).is_none_or(|v| plain(v) != "false");
        Ok(Self { engine, session, shapes: BTreeMap::new(), exact, drive, arrivals: BTreeMap::new() })
    }

    /// Makes the topics a case takes for granted: those it lists, those its statements read, those of its inputs.
    pub fn create_topics(&mut self, case: &Case) -> Result<(), Failure> {
        let mut wanted: BTreeMap<String, u32> = BTreeMap::new();
        // Statements that say PARTITIONS make their topic themselves.
        let mut left_alone = BTreeSet::new();
        let mut peek = self.engine.session(Access::default());
        for sql in &case.statements {
            // What cannot be parsed fails when its turn comes.
            for parsed in peek.parse(sql).unwrap_or_default() {
                if let Statement::CreateSource(create) = &parsed.statement
                    && let Some(topic) = topic_of(create)
                {
                    if property(&create.properties, "PARTITIONS").is_some() {
                        left_alone.insert(topic);
                    } else {
                        wanted.insert(topic, self.drive.partitions());
                    }
                }
            }
        }
        wanted.extend(case.inputs.iter().map(|r| (r.topic.clone(), self.drive.partitions())));
        // A case that checks how many partitions a topic has takes it for granted with as many.
        for topic in list(&case.post["topics"], "topics") {
            if let (Some(name), Some(partitions)) = (text(topic, "name"), topic["partitions"].as_u64()) {
                wanted.insert(name, u32::try_from(partitions).unwrap_or(1));
            }
        }
        wanted.retain(|topic, _| !left_alone.contains(topic));
        wanted.extend(case.topics.iter().map(|t| (t.name.clone(), t.partitions)));
        for (topic, partitions) in wanted {
            self.create_topic(&topic, partitions)?;
        }
        for spec in &case.topics {
            let named = |format: &Option<String>| format.as_deref().and_then(FormatName::from_sql);
            let shape = Shape::undeclared(named(&spec.key_format), named(&spec.value_format));
            self.shapes.insert(spec.name.clone(), shape);
        }
        Ok(())
    }

    pub fn create_topic(&self, topic: &str, partitions: u32) -> Result<(), Failure> {
        self.engine.create_topic(topic, partitions).map_err(|e| broken("a topic cannot be made", &e))
    }

    /// Remembers how the sources that exist now write their topics, also for when they have been dropped.
    pub fn learn(&mut self) {
        for source in self.engine.catalog().sources.values() {
            let known = self.shapes.get(&source.topic);
            if known.is_none_or(|shape| shape.source.is_empty() || shape.source == source.name) {
                self.shapes.insert(source.topic.clone(), Shape::of(source));
            }
        }
    }

    fn shape(&self, topic: &str) -> Shape {
        self.shapes.get(topic).cloned().unwrap_or_else(|| Shape::undeclared(None, None))
    }

    /// How fractions in keys and values of a topic are compared.
    pub fn fractions(&self, topic: &str) -> (Fractions, Fractions) {
        let shape = self.shape(topic);
        let of = |side: &Side| {
            if self.exact && side.format == FormatName::Json { Fractions::Exact } else { Fractions::Nearly }
        };
        (of(&shape.key), of(&shape.value))
    }

    /// Appends input records, in order, where their keys belong; gives the partition of each.
    pub fn produce(&self, records: &[Record]) -> Result<Vec<u32>, Failure> {
        let mut partitions = Vec::with_capacity(records.len());
        for record in records {
            let shape = self.shape(&record.topic);
            let unwritable = |e| Failure::other(format!("an input of topic {} {e}", record.topic));
            let mut key = bytes::encode(&shape.key, &record.key).map_err(unwritable)?;
            // All windows of a key are in one partition.
            let partition = key.as_ref().map_or(0, |key| partition_of(key, self.partitions_of(&record.topic)));
            if let (Some(window), Some(bytes)) = (&record.window, &mut key) {
                *bytes = bytes::join_window(std::mem::take(bytes), window);
            }
            let value = bytes::encode(&shape.value, &record.value).map_err(unwritable)?;
            let encoded = EncodedRecords {
                keys: BinaryArray::from_opt_vec(vec![key.as_deref()]),
                values: BinaryArray::from_opt_vec(vec![value.as_deref()]),
                time: Int64Array::from(vec![record.timestamp.unwrap_or(0)]),
                headers: headers_column(&record.headers)?,
            };
            self.engine
                .produce(&record.topic, partition, encoded)
                .map_err(|e| broken("an input cannot be appended", &e))?;
            partitions.push(partition);
        }
        Ok(partitions)
    }

    fn partitions_of(&self, topic: &str) -> u32 {
        self.engine.topics().iter().find(|t| t.name == topic).map_or(1, |t| t.partitions)
    }

    /// Notes which records have come to these topics since it was last called: a case states the records of all partitions
    /// in the order they came.
    pub fn note_arrivals(&mut self, topics: &[&str]) -> Result<(), Error> {
        for topic in topics {
            let partitions = self.partitions_of(topic);
            if partitions == 1 {
                continue;
            }
            let mut counts = vec![0; partitions as usize];
            for (partition, records) in self.engine.read_topic(topic)? {
                counts[partition as usize] += records.time.len();
            }
            let arrivals = self.arrivals.entry(topic.to_string()).or_default();
            for (partition, count) in (0..).zip(counts) {
                let known = arrivals.iter().filter(|at| at.0 == partition).count();
                arrivals.extend((known..count).map(|row| (partition, row)));
            }
        }
        Ok(())
    }

    /// All records of a topic, as they came if that was noted, otherwise by partition and offset. A topic that does not
    /// exist holds none.
    pub fn read(&self, topic: &str) -> Result<Vec<Actual>, Failure> {
        if !self.engine.topics().iter().any(|t| t.name == topic) {
            return Ok(Vec::new());
        }
        let shape = self.shape(topic);
        let partitions = self.engine.read_topic(topic).map_err(|e| broken("a topic cannot be read", &e))?;
        let mut records = Vec::new();
        for (partition, encoded) in partitions {
            for row in 0..encoded.time.len() {
                records.push((partition, shape.render(topic, partition, &encoded, row)));
            }
        }
        if let Some(arrivals) = self.arrivals.get(topic) {
            let mut rows: BTreeMap<u32, usize> = BTreeMap::new();
            records.sort_by_cached_key(|(partition, _)| {
                let row = rows.entry(*partition).or_default();
                *row += 1;
                arrivals.iter().position(|at| *at == (*partition, *row - 1))
            });
        }
        Ok(records.into_iter().map(|(_, record)| record).collect())
    }

    pub fn sources_json(&self) -> Vec<Value> {
        self.engine.catalog().sources.values().map(|source| source_json(source)).collect()
    }

    pub fn topics_json(&self) -> Vec<Value> {
        let topics = self.engine.topics();
        let shown = topics.iter().filter(|t| !t.internal).map(|topic| {
            let shape = self.shape(&topic.name);
            json!({
                "name": topic.name,
                "keyFormat": shape.key.format.sql(),
                "valueFormat": shape.value.format.sql(),
                "partitions": topic.partitions,
            })
        });
        shown.collect()
    }

    pub fn catalog(&self) -> Arc<Catalog> {
        self.engine.catalog()
    }
}

impl Shape {
    fn undeclared(key: Option<FormatName>, value: Option<FormatName>) -> Self {
        let side = |part, format| Side { part, format, nullable: Nullable::Implicit, columns: Vec::new() };
        Self {
            source: String::new(),
            key: side(Part::Key, key.unwrap_or(FormatName::Kafka)),
            value: side(Part::Value, value.unwrap_or(FormatName::Json)),
            window: None,
        }
    }

    fn of(source: &Source) -> Self {
        let side = |part, format: &FormatSpec, columns: &[Column]| Side {
            part,
            format: format.name,
            nullable: format.nullable,
            columns: columns.to_vec(),
        };
        Self {
            source: source.name.clone(),
            key: side(Part::Key, &source.key_format, &source.schema.key),
            value: side(Part::Value, &source.value_format, &source.schema.value),
            window: source.windowed,
        }
    }

    fn render(&self, topic: &str, partition: u32, encoded: &EncodedRecords, row: usize) -> Actual {
        let bytes_of = |array: &BinaryArray| array.is_valid(row).then(|| array.value(row).to_vec());
        let mut key = bytes_of(&encoded.keys);
        let mut window = None;
        if let (Some(info), Some(bytes)) = (&self.window, &key) {
            let size_ms = if info.kind == WindowType::Session { None } else { info.size_ms };
            if let Some((inner, found)) = bytes::split_window(bytes, size_ms) {
                window = Some(found);
                key = Some(inner.to_vec());
            }
        }
        let value = bytes_of(&encoded.values);
        let record = Record {
            topic: topic.to_string(),
            key: bytes::decode(&self.key, key.as_deref()),
            value: bytes::decode(&self.value, value.as_deref()),
            timestamp: Some(encoded.time.value(row)),
            window,
            headers: encoded.headers.as_ref().map(|headers| headers_of(headers, row)).unwrap_or_default(),
        };
        let window = record
            .window
            .map(|w| json!({"start": w.start, "end": w.end, "type": if w.session { "session" } else { "time" }}));
        let headers: Vec<Value> = record.headers.iter().map(|h| json!({"KEY": h.key, "VALUE": h.value})).collect();
        let json = json!({
            "topic": topic,
            "partition": partition,
            "key": record.key,
            "value": record.value,
            "timestamp": record.timestamp,
            "window": window,
            "headers": headers,
        });
        Actual { record, json }
    }
}

/// The topic a CREATE STREAM or TABLE reads.
pub fn topic_of(create: &CreateSource) -> Option<String> {
    match property(&create.properties, "KAFKA_TOPIC") {
        Some(Literal::String(topic)) => Some(topic.clone()),
        _ => None,
    }
}

pub fn property<'a>(properties: &'a [Property], name: &str) -> Option<&'a Literal> {
    properties.iter().find(|p| p.name == name).map(|p| &p.value)
}

pub fn broken(what: &str, error: &Error) -> Failure {
    Failure::other(format!("{what}: {error}"))
}

pub fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

fn headers_column(headers: &[Header]) -> Result<Option<ListArray>, Failure> {
    if headers.is_empty() {
        return Ok(None);
    }
    let (mut keys, mut values) = (StringBuilder::new(), BinaryBuilder::new());
    for header in headers {
        keys.append_option(header.key.as_deref());
        let bytes = header.value.as_ref().map(|text| BASE64.decode(text)).transpose();
        values.append_option(bytes.map_err(|e| Failure::other(format!("a header is not base64: {e}")))?);
    }
    let DataType::Struct(fields) = header_type() else { return Err(Failure::other("headers are not structs")) };
    let columns: Vec<ArrayRef> = vec![Arc::new(keys.finish()), Arc::new(values.finish())];
    let items = StructArray::new(fields, columns, None);
    let item = Arc::new(Field::new_list_field(header_type(), true));
    Ok(Some(ListArray::new(item, OffsetBuffer::from_lengths([headers.len()]), Arc::new(items), None)))
}

fn headers_of(headers: &ListArray, row: usize) -> Vec<Header> {
    if headers.is_null(row) {
        return Vec::new();
    }
    let items = headers.value(row);
    let items = items.as_struct();
    let (keys, values) = (items.column(0).as_string::<i32>(), items.column(1).as_binary::<i32>());
    (0..items.len())
        .map(|i| Header {
            key: keys.is_valid(i).then(|| keys.value(i).to_string()),
            value: values.is_valid(i).then(|| BASE64.encode(values.value(i))),
        })
        .collect()
}

fn source_json(source: &Source) -> Value {
    let window_type = source.windowed.as_ref().map(|w| window_type(w.kind));
    json!({
        "name": source.name,
        "type": source_type(source.kind),
        "topic": source.topic,
        "schema": schema_text(source),
        "keyFormat": {
            "format": source.key_format.name.sql(),
            "windowType": window_type,
            "windowSize": source.windowed.as_ref().and_then(|w| w.size_ms),
        },
        "valueFormat": source.value_format.name.sql(),
        "isSource": source.is_source,
    })
}

pub fn source_type(kind: SourceKind) -> &'static str {
    match kind {
        SourceKind::Stream => "stream",
        SourceKind::Table => "table",
    }
}

pub fn window_type(kind: WindowType) -> &'static str {
    match kind {
        WindowType::Tumbling => "TUMBLING",
        WindowType::Hopping => "HOPPING",
        WindowType::Session => "SESSION",
    }
}

/// `ID BIGINT KEY, V BIGINT, H BYTES HEADER('k')`, quoted only where needed.
pub fn schema_text(source: &Source) -> String {
    let column = |name: &str, ty: &SqlType, suffix: &str| {
        let bare = name.starts_with(|c: char| c.is_ascii_uppercase() || c == '_')
            && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
        if bare { format!("{name} {ty}{suffix}") } else { format!("`{name}` {ty}{suffix}") }
    };
    let keys = source.schema.key.iter().map(|c| column(&c.name, &c.ty, " KEY"));
    let values = source.schema.value.iter().map(|c| column(&c.name, &c.ty, ""));
    let all = SqlType::array(SqlType::structure([("KEY", SqlType::String), ("VALUE", SqlType::Bytes)]));
    let headers = source.headers.iter().map(|(name, key)| match key {
        Some(key) => column(name, &SqlType::Bytes, &format!(" HEADER('{key}')")),
        None => column(name, &all, " HEADERS"),
    });
    keys.chain(values).chain(headers).collect::<Vec<_>>().join(", ")
}
