//! One case, whatever file it came from.

use serde_json::{Map, Value};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Suite {
    /// Statements and input records → exact output records, sources, or an error.
    Records,
    /// Statements over HTTP → responses.
    Rest,
    /// A script with ASSERT statements.
    Script,
}

#[derive(Debug, Clone)]
pub struct Case {
    pub id: String,
    /// What the case is counted under.
    pub capability: String,
    /// What it uses: its tags and formats, and `schema-registry` if it needs one. Cases made from other files have none.
    pub labels: Vec<String>,
    pub suite: Suite,
    pub statements: Vec<String>,
    pub properties: Map<String, Value>,
    pub topics: Vec<TopicSpec>,
    pub inputs: Vec<Record>,
    pub outputs: Vec<Record>,
    /// Expected HTTP responses, each `{"admin": …}`, `{"query": […]}` or `{"queryProto": […]}`.
    pub responses: Vec<Value>,
    pub expected_error: Option<ExpectedError>,
    /// `post`: sources and topics that must exist at the end.
    pub post: Value,
    /// Start the last query before the inputs are produced.
    pub push_first: bool,
    /// The script's text.
    pub text: String,
    /// Files that RUN SCRIPT may name.
    pub scripts: Map<String, Value>,
}

/// A topic that exists before the statements run.
#[derive(Debug, Clone)]
pub struct TopicSpec {
    pub name: String,
    pub partitions: u32,
    pub key_format: Option<String>,
    pub value_format: Option<String>,
}

/// An input or expected output.
#[derive(Debug, Clone)]
pub struct Record {
    pub topic: String,
    pub key: Value,
    pub value: Value,
    pub timestamp: Option<i64>,
    pub window: Option<Window>,
    pub headers: Vec<Header>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    pub start: i64,
    pub end: i64,
    pub session: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub key: Option<String>,
    /// Base64; None = null.
    pub value: Option<String>,
}

#[derive(Debug, Clone, Default)]
pub struct ExpectedError {
    /// A Java class name; its last part says the kind.
    pub class: Option<String>,
    pub message: Option<String>,
    pub cause_message: Option<String>,
    /// HTTP status.
    pub status: Option<u64>,
}

impl Case {
    /// Whether its id or capability contains the text.
    pub fn matches(&self, text: &str) -> bool {
        self.id.contains(text) || self.capability.contains(text)
    }

    pub fn uses(&self, label: &str) -> bool {
        self.labels.iter().any(|l| l.eq_ignore_ascii_case(label))
    }

    /// From an object of a `.jsonl` file.
    pub fn from_json(object: &Value) -> Result<Case, String> {
        let id = text(object, "id").ok_or("a case without id")?;
        let suite = match object["suite"].as_str() {
            Some("qtt") => Suite::Records,
            Some("rqtt") => Suite::Rest,
            Some("sqltest") => Suite::Script,
            other => return Err(format!("{id}: unknown suite {other:?}")),
        };
        let labels = [list(object, "tags"), list(object, "formats_used")].concat();
        let mut labels: Vec<String> = labels.iter().filter_map(|l| l.as_str().map(str::to_string)).collect();
        labels
            .extend(object["needs_schema_registry"].as_bool().filter(|needs| *needs).map(|_| "schema-registry".into()));
        let case = Self::from_fields(id, text(object, "capability").unwrap_or_default(), suite, object)?;
        Ok(Case { labels, ..case })
    }

    /// The fields both forms of JSON share; those of ksqlDB's own form are renamed by the caller.
    pub fn from_fields(id: String, capability: String, suite: Suite, object: &Value) -> Result<Case, String> {
        let records = |field: &str| -> Result<Vec<Record>, String> {
            list(object, field).iter().map(|r| Record::from_json(r).map_err(|e| format!("{id}: {e}"))).collect()
        };
        Ok(Case {
            statements: list(object, "statements").iter().filter_map(|s| s.as_str().map(str::to_string)).collect(),
            properties: object["properties"].as_object().cloned().unwrap_or_default(),
            topics: list(object, "topics").iter().filter_map(TopicSpec::from_json).collect(),
            inputs: records("inputs")?,
            outputs: records("outputs")?,
            responses: list(object, "responses").to_vec(),
            expected_error: ExpectedError::from_json(&object["expected_error"]),
            post: object["post"].clone(),
            push_first: object["input_conditions"]["waitForActivePushQuery"].as_bool().unwrap_or(false),
            text: text(object, "text").unwrap_or_default(),
            scripts: object["scripts"].as_object().cloned().unwrap_or_default(),
            id,
            capability,
            labels: Vec::new(),
            suite,
        })
    }
}

impl TopicSpec {
    fn from_json(object: &Value) -> Option<Self> {
        Some(Self {
            name: text(object, "name")?,
            partitions: object["partitions"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or(1),
            key_format: text(object, "keyFormat"),
            value_format: text(object, "valueFormat"),
        })
    }
}

impl Record {
    fn from_json(object: &Value) -> Result<Self, String> {
        let window = &object["window"];
        let window = match (window["start"].as_i64(), window["end"].as_i64()) {
            (Some(start), Some(end)) => Some(Window {
                start,
                end,
                session: window["type"].as_str().is_some_and(|t| t.eq_ignore_ascii_case("session")),
            }),
            _ => None,
        };
        Ok(Self {
            topic: text(object, "topic").ok_or("a record without topic")?,
            key: object["key"].clone(),
            value: object["value"].clone(),
            timestamp: object["timestamp"].as_i64(),
            window,
            headers: list(object, "headers")
                .iter()
                .map(|h| Header { key: text(h, "KEY"), value: text(h, "VALUE") })
                .collect(),
        })
    }
}

impl ExpectedError {
    fn from_json(object: &Value) -> Option<Self> {
        object.as_object()?;
        Some(Self {
            class: text(object, "type"),
            message: text(object, "message"),
            cause_message: text(object, "causeMessage"),
            status: object["status"].as_u64(),
        })
    }

    /// `KsqlException` of `io.confluent.ksql.util.KsqlException`.
    pub fn class_name(&self) -> Option<&str> {
        self.class.as_deref().map(|class| class.rsplit('.').next().unwrap_or(class))
    }
}

pub fn text(object: &Value, field: &str) -> Option<String> {
    object[field].as_str().map(str::to_string)
}

pub fn list<'a>(object: &'a Value, field: &str) -> &'a [Value] {
    object[field].as_array().map_or(&[], Vec::as_slice)
}
