//! What a statement answers, in ksqlDB's JSON shapes.
//!
//! The HTTP door writes these as they are; the command line prints them as tables, whether they come from an embedded
//! engine or over HTTP. Field names and `@type` values from ksqlDB's REST reference.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

/// One answer. `statement_text` and `warnings` are common to all.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    #[serde(flatten)]
    pub body: EntityBody,
    #[serde(rename = "statementText")]
    pub statement_text: String,
    #[serde(default)]
    pub warnings: Vec<Warning>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Warning {
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "@type")]
pub enum EntityBody {
    #[serde(rename = "currentStatus", rename_all = "camelCase")]
    CurrentStatus { command_id: String, command_status: CommandStatus, command_sequence_number: i64 },
    #[serde(rename = "streams")]
    Streams { streams: Vec<SourceInfo> },
    #[serde(rename = "tables")]
    Tables { tables: Vec<SourceInfo> },
    #[serde(rename = "sourceDescription", rename_all = "camelCase")]
    SourceDescription { source_description: Box<SourceDescription> },
    #[serde(rename = "source_descriptions", rename_all = "camelCase")]
    SourceDescriptions { source_descriptions: Vec<SourceDescription> },
    #[serde(rename = "queries")]
    Queries { queries: Vec<RunningQuery> },
    #[serde(rename = "queryDescription", rename_all = "camelCase")]
    QueryDescription { query_description: Box<QueryDescription> },
    #[serde(rename = "query_descriptions", rename_all = "camelCase")]
    QueryDescriptions { query_descriptions: Vec<QueryDescription> },
    #[serde(rename = "kafka_topics")]
    Topics { topics: Vec<TopicInfo> },
    #[serde(rename = "kafka_topics_extended")]
    TopicsExtended { topics: Vec<TopicInfo> },
    #[serde(rename = "properties", rename_all = "camelCase")]
    Properties { properties: Vec<PropertyInfo>, overwritten_properties: Vec<String>, default_properties: Vec<String> },
    #[serde(rename = "function_names")]
    FunctionNames { functions: Vec<FunctionName> },
    #[serde(rename = "describe_function", rename_all = "camelCase")]
    DescribeFunction {
        name: String,
        description: String,
        author: String,
        version: String,
        path: String,
        #[serde(rename = "type")]
        kind: String,
        functions: Vec<FunctionSignature>,
    },
    #[serde(rename = "type_list")]
    Types { types: indexmap_json::Map },
    #[serde(rename = "variables")]
    Variables { variables: Vec<Variable> },
    #[serde(rename = "terminate_query", rename_all = "camelCase")]
    TerminateQuery { query_id: String, was_terminated: bool },
    #[serde(rename = "assert_topic", rename_all = "camelCase")]
    AssertTopic { topic_name: String, exists: bool },
    #[serde(rename = "warning_entity")]
    Warning { message: String },
    /// Ours: rows written by INSERT and COPY, shown by the command line only.
    #[serde(rename = "rowsWritten")]
    RowsWritten { rows: u64, rejected: u64 },
}

/// Names in insertion order with any JSON value.
pub mod indexmap_json {
    pub type Map = serde_json::Map<String, serde_json::Value>;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CommandStatus {
    /// QUEUED, PARSING, EXECUTING, RUNNING, TERMINATED, SUCCESS or ERROR.
    pub status: String,
    pub message: String,
    pub query_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceInfo {
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    pub topic: String,
    pub key_format: String,
    pub value_format: String,
    pub is_windowed: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceDescription {
    pub name: String,
    /// TUMBLING, HOPPING, SESSION or null.
    pub window_type: Option<String>,
    pub read_queries: Vec<RunningQuery>,
    pub write_queries: Vec<RunningQuery>,
    pub fields: Vec<FieldInfo>,
    #[serde(rename = "type")]
    pub kind: String,
    pub timestamp: String,
    pub statistics: String,
    pub error_stats: String,
    pub extended: bool,
    pub key_format: String,
    pub value_format: String,
    pub topic: String,
    pub partitions: u32,
    pub replication: u32,
    pub statement: String,
    pub query_offset_summaries: Vec<Json>,
    pub source_constraints: Vec<String>,
    pub cluster_statistics: Vec<Json>,
    pub cluster_error_stats: Vec<Json>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldInfo {
    pub name: String,
    pub schema: FieldSchema,
    /// KEY, SYSTEM, HEADER or absent.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    #[serde(rename = "headerKey", skip_serializing_if = "Option::is_none")]
    pub header_key: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldSchema {
    #[serde(rename = "type")]
    pub kind: String,
    pub fields: Option<Vec<FieldInfo>>,
    pub member_schema: Option<Box<FieldSchema>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parameters: Option<indexmap_json::Map>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunningQuery {
    pub query_string: String,
    pub sinks: Vec<String>,
    pub sink_kafka_topics: Vec<String>,
    pub id: String,
    pub status_count: indexmap_json::Map,
    /// PERSISTENT, PUSH, or BATCH (of EXPLAIN).
    pub query_type: String,
    /// RUNNING, PAUSED or ERROR.
    pub state: String,
    /// Ours: why it does not go on, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Ours: the query's counters (rows in, out, accepted, filtered, unmatched, late, rejected, lag, state, busy time).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counters: Option<indexmap_json::Map>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct QueryDescription {
    pub id: String,
    pub statement_text: String,
    pub window_type: Option<String>,
    pub fields: Vec<FieldInfo>,
    pub sources: Vec<String>,
    pub sinks: Vec<String>,
    pub topology: String,
    pub execution_plan: String,
    pub overridden_properties: indexmap_json::Map,
    pub ksql_host_query_status: indexmap_json::Map,
    pub query_type: String,
    pub query_errors: Vec<Json>,
    pub tasks_metadata: Vec<Json>,
    pub state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counters: Option<indexmap_json::Map>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicInfo {
    pub name: String,
    /// One entry per partition: its number of replicas.
    pub replica_info: Vec<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer_group_count: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PropertyInfo {
    pub name: String,
    pub scope: String,
    pub value: Option<String>,
    pub editable: bool,
    pub level: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionName {
    pub name: String,
    /// SCALAR, AGGREGATE or TABLE.
    #[serde(rename = "type")]
    pub kind: String,
    pub category: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionSignature {
    pub arguments: Vec<FunctionArgument>,
    pub return_type: String,
    pub description: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FunctionArgument {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub description: String,
    pub is_variadic: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Variable {
    pub name: String,
    pub value: String,
}
