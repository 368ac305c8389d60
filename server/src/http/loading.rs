//! `POST /headwater/load`: the first line says what follows, the rest is a file of rows, read as it arrives; the answer is
//! a report.
//!
//! | field of the first line | meaning |
//! |---|---|
//! | `target` | stream, table, or bare topic |
//! | `format` | `json` (an object a line) or `csv` (with a header) |
//! | `null` | CSV text that stands for null |
//! | `key` | bare topic: the field that becomes the key |
//! | `timestamp` | column that gives each row's time |
//!
//! What `headwater load --server` uses: a load through a server is the load an embedded engine does, rejected log
//! included. Rows are written in groups while the body arrives; a client that breaks off leaves the groups before.

use std::io::{self, Read};
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use bytes::{Buf, Bytes};
use futures::StreamExt;
use headwater_engine::session::load::{LoadFormat, LoadReport, LoadRequest};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::Shared;
use super::errors::ApiError;
use super::inserts::Lines;
use super::media::Json;

/// Parts of the body read ahead of the engine.
const PARTS_AHEAD_MAX: usize = 16;
/// A client that sends nothing for this time is given up.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

pub(crate) async fn load(State(shared): State<Arc<Shared>>, body: Body) -> Result<Json, ApiError> {
    let mut lines = Lines::new(body, shared.options.row_bytes_max);
    let first = lines.next().await?.unwrap_or_default();
    let options = Options::parse(&first)?;
    let (parts, received) = mpsc::channel(PARTS_AHEAD_MAX);
    let (current, rest) = lines.into_rest();
    let sender = tokio::spawn(send_parts(rest, parts));
    let report = shared
        .blocking(move |shared| {
            let request = LoadRequest {
                target: &options.target,
                format: options.format,
                input: Box::new(Parts { received, current }),
                null: options.null.as_deref(),
                key: options.key.as_deref(),
                timestamp: options.timestamp.as_deref(),
            };
            Ok(shared.session().load(request, &mut |_| {})?)
        })
        .await;
    // A refused load has not read the body; a client that still sends would not see the answer.
    if sender.await.is_err() {
        tracing::debug!("the rest of a body could not be read");
    }
    let report = report?;
    shared.metrics.count_inserts(report.rows as usize);
    Ok(Json(report_json(&report)))
}

fn report_json(report: &LoadReport) -> Value {
    json!({
        "rows": report.rows,
        "rejected": report.rejected,
        "bytes": report.bytes,
        "firstErrors": report.first_errors,
        "ignoredColumns": report.ignored_columns,
        "missingColumns": report.missing_columns,
    })
}

struct Options {
    target: String,
    format: LoadFormat,
    null: Option<String>,
    key: Option<String>,
    timestamp: Option<String>,
}

impl Options {
    fn parse(line: &[u8]) -> Result<Self, ApiError> {
        let wrong = |e: &dyn std::fmt::Display| {
            ApiError::bad_request(format!(
                "the first line must be {{\"target\": …, \"format\": \"json\" or \"csv\"}}: {e}"
            ))
        };
        let mut all: Map<String, Value> = serde_json::from_slice(line).map_err(|e| wrong(&e))?;
        let mut text = |name: &str| match all.remove(name) {
            Some(Value::String(text)) => Ok(Some(text)),
            Some(Value::Null) | None => Ok(None),
            Some(_) => Err(wrong(&format!("\"{name}\" must be a string"))),
        };
        Ok(Self {
            target: text("target")?.ok_or_else(|| wrong(&"\"target\" is missing"))?,
            format: match text("format")?.as_deref() {
                Some("json") => LoadFormat::Json,
                Some("csv") => LoadFormat::Csv,
                _ => return Err(wrong(&"there is no such format")),
            },
            null: text("null")?,
            key: text("key")?,
            timestamp: text("timestamp")?,
        })
    }
}

/// Hands the body on; once the engine does not want it any more, reads what is left and forgets it.
async fn send_parts(mut body: BodyDataStream, parts: mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let part = match tokio::time::timeout(IDLE_TIMEOUT, body.next()).await {
            Ok(Some(Ok(part))) => Ok(part),
            Ok(Some(Err(error))) => Err(io::Error::other(error)),
            Ok(None) => return,
            Err(_) => Err(io::Error::other("the client sent nothing for too long")),
        };
        let failed = part.is_err();
        // Nobody may want it any more: it is read all the same.
        let _wanted = parts.send(part).await;
        if failed {
            return;
        }
    }
}

/// The body as the engine reads it: blocking, on a thread of its own.
struct Parts {
    received: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Parts {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.received.blocking_recv() {
                Some(part) => self.current = part?,
                None => return Ok(0),
            }
        }
        let count = buffer.len().min(self.current.len());
        self.current.copy_to_slice(&mut buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_checked() {
        let options =
            Options::parse(br#"{"target":"`a b`","format":"csv","null":"N/A"}"#).map_err(|e| e.body()).unwrap();
        assert_eq!((options.target.as_str(), options.format), ("`a b`", LoadFormat::Csv));
        assert_eq!(options.null.as_deref(), Some("N/A"));
        for wrong in [&b"{}"[..], br#"{"target":"s","format":"xml"}"#, br#"{"target":1,"format":"csv"}"#, b"id,name"] {
            assert!(Options::parse(wrong).is_err());
        }
    }
}
