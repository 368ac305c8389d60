//! `POST /inserts-stream`: first line `{"target": "S"}`, then one JSON object a row; one acknowledgement a row.
//!
//! Rows that have arrived are written together, and acknowledged once they are durable, while the rest of the request
//! is still on its way: `{"status":"ok","seq":0}`, or `{"status":"error","seq":1,"error_code":…,"message":…}` for a row
//! that cannot be written, which never stops the others.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use futures::{FutureExt, StreamExt};
use headwater_engine::session::SentRow;
use headwater_engine::{Error, Session};
use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

use super::Shared;
use super::errors::{ApiError, code_of, error_message};
use super::media::{self, Media, negotiate};
use super::request::SqlRequest;

/// Rows written in one group at most.
const ROWS_PER_WRITE_MAX: usize = 4096;
/// Acknowledgements waiting for a client that does not read them; beyond it no more rows are taken.
const ACK_CHUNKS_MAX: usize = 16;
/// Read while rows are being written, at most; then the client waits.
const READ_AHEAD_BYTES_MAX: usize = 1 << 20;
/// A client that neither sends nor ends is dropped after this time.
const IDLE_TIMEOUT: Duration = Duration::from_secs(600);

pub(crate) async fn inserts_stream(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let media = negotiate(&headers, &[Media::Delimited, Media::Json, Media::V1])?;
    media::check_body_type(&headers)?;
    let mut lines = Lines::new(body, shared.options.row_bytes_max);
    let Some(first) = lines.next().await? else {
        return Err(ApiError::bad_request("the first line must be {\"target\": \"<stream or table>\"}"));
    };
    let request = InsertsRequest::parse(&first)?;
    let session = {
        let target = request.target.clone();
        shared
            .blocking(move |shared| {
                if shared.engine.catalog().source(&target).is_none() {
                    return Err(ApiError::bad_request(format!(
                        "Cannot insert values into an unknown stream/table: {target}"
                    )));
                }
                let mut session = shared.session();
                request.settings.apply(&mut session)?;
                Ok((session, target))
            })
            .await?
    };
    let (acks, mut chunks) = mpsc::channel::<Bytes>(ACK_CHUNKS_MAX);
    let array = media != Media::Delimited;
    tokio::spawn(write_rows(shared, session, lines, Acks { chunks: acks, array, sequence: 0 }));
    let chunks = futures::stream::poll_fn(move |cx| chunks.poll_recv(cx)).map(Ok::<_, Infallible>);
    Ok(([(header::CONTENT_TYPE, media.header())], Body::from_stream(chunks)).into_response())
}

struct InsertsRequest {
    target: String,
    settings: SqlRequest,
}

impl InsertsRequest {
    fn parse(line: &[u8]) -> Result<Self, ApiError> {
        let wrong = |e: &dyn std::fmt::Display| {
            ApiError::bad_request(format!("the first line must be {{\"target\": \"<stream or table>\"}}: {e}"))
        };
        let mut object: Map<String, Value> = serde_json::from_slice(line).map_err(|e| wrong(&e))?;
        let target = match object.remove("target") {
            Some(Value::String(target)) => fold_identifier(&target),
            _ => return Err(wrong(&"\"target\" is missing")),
        };
        object.insert("sql".into(), Value::String(String::new()));
        Ok(Self { target, settings: SqlRequest::from_json(object)? })
    }
}

/// As SQL does: `` `s` `` and `"s"` keep their case, `s` is `S`.
fn fold_identifier(name: &str) -> String {
    unquoted(name).unwrap_or_else(|| name.to_uppercase())
}

fn unquoted(name: &str) -> Option<String> {
    ['`', '"'].into_iter().find_map(|quote| {
        let inner = name.strip_prefix(quote)?.strip_suffix(quote)?;
        Some(inner.replace(&format!("{quote}{quote}"), &quote.to_string()))
    })
}

async fn write_rows(shared: Arc<Shared>, (mut session, target): (Session, String), mut lines: Lines, mut acks: Acks) {
    loop {
        let rows = match lines.available().await {
            Ok(Some(rows)) => rows,
            Ok(None) => break,
            Err(error) => {
                acks.fail(error.body()).await;
                break;
            }
        };
        let target = target.clone();
        let write = shared.blocking(move |_| {
            let results = insert(&mut session, &target, &rows);
            Ok((session, results))
        });
        tokio::pin!(write);
        // What arrives meanwhile is written together: a slow disk makes larger groups, not a longer queue.
        let written = loop {
            tokio::select! {
                biased;
                written = &mut write => break written,
                () = lines.read_ahead(), if lines.has_room() => {}
            }
        };
        let results;
        (session, results) = match written {
            Ok(written) => written,
            Err(error) => {
                acks.fail(error.body()).await;
                break;
            }
        };
        shared.metrics.count_inserts(results.iter().filter(|r| r.is_ok()).count());
        if !acks.send(&results).await {
            return;
        }
    }
    acks.close().await;
}

/// One result per line, in order: the good ones are written together, the others go to the rejected log.
fn insert(session: &mut Session, target: &str, lines: &[Bytes]) -> Vec<Result<(), Error>> {
    let object = |line: &Bytes| -> Result<Map<String, Value>, String> {
        let row: Map<String, Value> =
            serde_json::from_slice(line).map_err(|e| format!("the row is not a JSON object: {e}"))?;
        Ok(row.into_iter().map(|(name, value)| (unquoted(&name).unwrap_or(name), value)).collect())
    };
    let rows: Vec<SentRow> = lines.iter().map(|line| SentRow { text: line.clone(), object: object(line) }).collect();
    session.insert_json(target, &rows).unwrap_or_else(|error| vec![Err(error); rows.len()])
}

/// Acknowledgements on their way to the client.
struct Acks {
    chunks: mpsc::Sender<Bytes>,
    array: bool,
    sequence: u64,
}

impl Acks {
    /// False when the client has gone.
    async fn send(&mut self, results: &[Result<(), Error>]) -> bool {
        let mut out = Vec::with_capacity(results.len() * 32);
        for result in results {
            let ack = match result {
                Ok(()) => json!({"status": "ok", "seq": self.sequence}),
                Err(error) => {
                    let mut ack = Map::new();
                    ack.insert("status".into(), json!("error"));
                    ack.insert("seq".into(), json!(self.sequence));
                    let mut message = error_message(error, code_of(error.kind()));
                    message.remove("@type");
                    ack.extend(message);
                    Value::Object(ack)
                }
            };
            self.element(&ack, &mut out);
            self.sequence += 1;
        }
        self.chunks.send(out.into()).await.is_ok()
    }

    /// The rest of the request is not read any more.
    async fn fail(&mut self, error: Map<String, Value>) {
        let mut out = Vec::new();
        self.element(&Value::Object(error), &mut out);
        self.sequence += 1;
        if self.chunks.send(out.into()).await.is_err() {
            tracing::debug!("the client left before it was told of an error");
        }
    }

    fn element(&self, element: &Value, out: &mut Vec<u8>) {
        if self.array {
            out.extend_from_slice(if self.sequence == 0 { b"[" } else { b",\n" });
        }
        out.extend_from_slice(element.to_string().as_bytes());
        if !self.array {
            out.push(b'\n');
        }
    }

    async fn close(self) {
        let end: &'static [u8] = match (self.array, self.sequence) {
            (false, _) => return,
            (true, 0) => b"[]\n",
            (true, _) => b"]\n",
        };
        if self.chunks.send(Bytes::from_static(end)).await.is_err() {
            tracing::debug!("the client left before the last acknowledgement");
        }
    }
}

/// The lines of a body as they arrive; empty lines are skipped.
pub(super) struct Lines {
    body: BodyDataStream,
    buffer: BytesMut,
    line_bytes_max: usize,
    ended: bool,
    /// What went wrong behind the bytes in the buffer.
    failed: Option<ApiError>,
}

impl Lines {
    pub fn new(body: Body, line_bytes_max: usize) -> Self {
        Self { body: body.into_data_stream(), buffer: BytesMut::new(), line_bytes_max, ended: false, failed: None }
    }

    /// The next line, once it is there.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ApiError> {
        loop {
            if let Some(line) = self.buffered() {
                return Ok(Some(line));
            }
            if let Some(error) = self.failed.take() {
                return Err(error);
            }
            if self.ended {
                return Ok(None);
            }
            self.fill().await?;
        }
    }

    /// What follows the lines taken: bytes that are there already, and the body.
    pub fn into_rest(self) -> (Bytes, BodyDataStream) {
        (self.buffer.freeze(), self.body)
    }

    /// At least one line, and all others that are there already.
    async fn available(&mut self) -> Result<Option<Vec<Bytes>>, ApiError> {
        let Some(first) = self.next().await? else { return Ok(None) };
        let mut lines = vec![first];
        while lines.len() < ROWS_PER_WRITE_MAX {
            match self.buffered() {
                Some(line) => lines.push(line),
                None if self.ended || self.failed.is_some() => break,
                None => match self.fill().now_or_never() {
                    Some(filled) => filled?,
                    None => break,
                },
            }
        }
        Ok(Some(lines))
    }

    /// Reads on; what goes wrong is told once the lines before it have been taken.
    async fn read_ahead(&mut self) {
        self.failed = self.fill().await.err();
    }

    fn has_room(&self) -> bool {
        !self.ended && self.failed.is_none() && self.buffer.len() < READ_AHEAD_BYTES_MAX
    }

    fn buffered(&mut self) -> Option<Bytes> {
        loop {
            let line = match self.buffer.iter().position(|b| *b == b'\n') {
                Some(end) => {
                    let mut line = self.buffer.split_to(end + 1);
                    line.truncate(end);
                    line
                }
                None if self.ended && !self.buffer.is_empty() => self.buffer.split(),
                None => return None,
            };
            if !line.iter().all(u8::is_ascii_whitespace) {
                return Some(line.freeze());
            }
        }
    }

    async fn fill(&mut self) -> Result<(), ApiError> {
        if self.buffer.len() > self.line_bytes_max {
            return Err(ApiError::body_too_large(self.line_bytes_max));
        }
        match tokio::time::timeout(IDLE_TIMEOUT, self.body.next()).await {
            Ok(Some(Ok(bytes))) => self.buffer.extend_from_slice(&bytes),
            Ok(Some(Err(error))) => {
                return Err(ApiError::bad_request(format!("the body could not be read: {error}")));
            }
            Ok(None) => self.ended = true,
            Err(_) => return Err(ApiError::bad_request("the client sent nothing for too long")),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_cut_wherever_the_body_is() {
        let parts = ["{\"a\":", "1}\n\n{\"a\":2}", "\r\n{\"a\":3}"];
        let body = Body::from_stream(futures::stream::iter(parts.map(|p| Ok::<_, Infallible>(Bytes::from(p)))));
        let mut lines = Lines::new(body, 100);
        assert_eq!(lines.next().await.unwrap().unwrap(), "{\"a\":1}");
        let rest = lines.available().await.unwrap().unwrap();
        assert_eq!(rest, ["{\"a\":2}\r", "{\"a\":3}"]);
        assert!(lines.available().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn what_was_read_ahead_is_taken_together_and_a_failure_comes_behind_it() {
        let gone = || Err(std::io::Error::other("gone"));
        let parts = vec![Ok("{}\n"), Ok("{\"a\":1}\n"), Ok("{\"a\":2}\n"), gone()];
        let mut lines = Lines::new(Body::from_stream(futures::stream::iter(parts)), 100);
        assert_eq!(lines.next().await.unwrap().unwrap(), "{}");
        while lines.has_room() {
            lines.read_ahead().await;
        }
        assert_eq!(lines.available().await.unwrap().unwrap(), ["{\"a\":1}", "{\"a\":2}"]);
        assert!(lines.available().await.is_err());
    }

    #[tokio::test]
    async fn a_line_without_end_is_refused() {
        let endless = futures::stream::repeat(Bytes::from_static(&[b'x'; 64])).map(Ok::<_, Infallible>);
        let mut lines = Lines::new(Body::from_stream(endless), 1000);
        assert!(lines.next().await.is_err());
    }

    #[test]
    fn targets_fold_like_identifiers() {
        assert_eq!(fold_identifier("s"), "S");
        assert_eq!(fold_identifier("`s`"), "s");
        assert_eq!(fold_identifier("\"s\""), "s");
    }
}
