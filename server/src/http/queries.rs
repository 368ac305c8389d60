//! `POST /query`, `POST /query-stream`, `POST /close-query`: one query, its rows as they come.
//!
//! A bounded query that fails before its first row, and soon, answers with an error status; later errors are the last
//! element of the answer. When the client goes, the body is dropped, and with it the query.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use headwater_engine::results::{EndReason, ResultEvent, ResultKind, ResultStream};
use headwater_engine::sql::ast::Statement;
use headwater_engine::{Error, Outcome};

use super::Shared;
use super::errors::ApiError;
use super::media::{Media, negotiate};
use super::request::{SqlRequest, read_object};
use super::rows::{RowForm, RowWriter};
use super::shared::Running;

/// A chunk of the answer is sent once it has this many bytes, or when no row is waiting.
const CHUNK_BYTES: usize = 64 * 1024;
/// How long a bounded query's answer waits for its first row, so that a failure is a status. Then the header is sent: with it
/// the client has the id that stops a long query.
const FIRST_ROW_WAIT: Duration = Duration::from_millis(300);
/// What `/close-query` takes, also for answers whose form does not show it.
const QUERY_ID: HeaderName = HeaderName::from_static("query-id");

pub(crate) async fn query(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let form = match negotiate(&headers, &[Media::V1, Media::Json, Media::Delimited, Media::Ndjson, Media::Protobuf])? {
        Media::V1 | Media::Json => RowForm::StreamedRows,
        Media::Delimited => RowForm::Delimited,
        Media::Ndjson => RowForm::Ndjson,
        Media::Protobuf => RowForm::Protobuf,
    };
    let request = SqlRequest::read(&headers, body, shared.options.body_bytes_max).await?;
    answer(shared, request, form, true).await
}

pub(crate) async fn query_stream(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let form = match negotiate(&headers, &[Media::Delimited, Media::Json, Media::V1, Media::Ndjson, Media::Protobuf])? {
        Media::Delimited => RowForm::Delimited,
        Media::Json => RowForm::JsonArray,
        Media::V1 => RowForm::StreamedRows,
        Media::Ndjson => RowForm::Ndjson,
        Media::Protobuf => RowForm::Protobuf,
    };
    let request = SqlRequest::read(&headers, body, shared.options.body_bytes_max).await?;
    answer(shared, request, form, false).await
}

/// PRINT answers lines of text: anywhere on `/query`, on `/query-stream` only if the client takes the delimited form.
async fn answer(
    shared: Arc<Shared>,
    request: SqlRequest,
    mut form: RowForm,
    print_in_any_form: bool,
) -> Result<Response, ApiError> {
    let (mut stream, is_print) = shared.blocking(move |shared| start(shared, &request)).await?;
    if is_print {
        if !print_in_any_form && form != RowForm::Delimited {
            return Err(ApiError::not_acceptable(Media::Delimited.name()));
        }
        form = RowForm::Lines;
    }
    let running = shared.register(&stream.query_id, stream.canceller())?;
    shared.metrics.count_query(stream.kind);
    let first = match stream.kind {
        ResultKind::Push | ResultKind::Print => None,
        _ => match tokio::time::timeout(FIRST_ROW_WAIT, stream.next()).await {
            Ok(first) => first.transpose()?,
            Err(_not_yet) => None,
        },
    };
    let query_id = HeaderValue::from_str(&stream.query_id).map_err(|_| Error::internal("a query id is not ASCII"))?;
    let writer = RowWriter::new(form, stream.kind, stream.columns.clone())?;
    let mut out = Vec::new();
    writer.header(&stream.query_id, &mut out);
    let rows = Rows { stream, writer, out, rest: None, ended: false, _running: running };
    let rows = rows.with_first(first);
    let chunks = futures::stream::unfold(rows, |mut rows| async move {
        let chunk = rows.next_chunk().await?;
        Some((Ok::<_, Infallible>(chunk), rows))
    });
    let headers = [(header::CONTENT_TYPE, form.media().header()), (QUERY_ID, query_id)];
    Ok((headers, Body::from_stream(chunks)).into_response())
}

fn start(shared: &Arc<Shared>, request: &SqlRequest) -> Result<(ResultStream, bool), ApiError> {
    let mut session = shared.session();
    request.apply(&mut session)?;
    let statements = session.parse(&request.sql).map_err(|e| e.in_statement(&request.sql))?;
    let [statement] = statements.as_slice() else {
        let message = format!("Expected exactly one KSQL statement; found {} instead", statements.len());
        return Err(Error::statement(message).in_statement(&request.sql).into());
    };
    let is_print = matches!(statement.statement, Statement::Print { .. });
    if !is_print && !matches!(statement.statement, Statement::Query(_) | Statement::BatchQuery(_)) {
        let error = Error::statement("only SELECT and PRINT run here; send other statements to /ksql");
        return Err(error.in_statement(&statement.text).into());
    }
    let pushes = matches!(&statement.statement, Statement::Query(query) if query.emit.is_some());
    let outcome = session.execute(statement).map_err(|error| match pushes {
        true => ApiError::of_push_query(error),
        false => error.in_statement(&statement.text).into(),
    })?;
    match outcome {
        Outcome::Query(stream) => Ok((stream, is_print)),
        _ => Err(Error::internal("a query answered without rows").in_statement(&statement.text).into()),
    }
}

/// A query on its way to the client.
struct Rows {
    stream: ResultStream,
    writer: RowWriter,
    /// Written, not sent yet; holds the header at first.
    out: Vec<u8>,
    /// A batch and its first row not written yet.
    rest: Option<(RecordBatch, Option<BooleanBuffer>, usize)>,
    ended: bool,
    _running: Running,
}

impl Rows {
    fn with_first(mut self, first: Option<ResultEvent>) -> Self {
        if let Some(event) = first {
            self.take(Ok(event));
        }
        self
    }

    fn take(&mut self, event: headwater_engine::Result<ResultEvent>) {
        match event {
            Ok(ResultEvent::Rows { batch, tombstones }) => self.rest = Some((batch, tombstones, 0)),
            Ok(ResultEvent::Line(line)) => self.writer.line(&line, &mut self.out),
            Ok(ResultEvent::End(reason)) => self.end(reason),
            Err(error) => {
                self.writer.error(&error, &mut self.out);
                self.ended = true;
            }
        }
    }

    fn end(&mut self, reason: EndReason) {
        self.writer.end(reason, &self.stream.notes(), &mut self.out);
        self.ended = true;
    }

    /// Writes rows of the batch at hand until the chunk is full.
    fn write_rest(&mut self) {
        let Some((batch, tombstones, first)) = self.rest.take() else { return };
        match self.writer.rows(&batch, tombstones.as_ref(), first, CHUNK_BYTES, &mut self.out) {
            Ok(next) if next == batch.num_rows() => {}
            Ok(next) => self.rest = Some((batch, tombstones, next)),
            Err(error) => self.take(Err(error)),
        }
    }

    async fn next_chunk(&mut self) -> Option<Bytes> {
        loop {
            self.write_rest();
            if self.out.len() >= CHUNK_BYTES || (self.ended && self.rest.is_none()) {
                break;
            }
            // What is there already joins this chunk; otherwise what is written leaves first.
            match self.stream.next_blocking(Duration::ZERO) {
                Ok(Some(event)) => self.take(Ok(event)),
                Err(error) => self.take(Err(error)),
                Ok(None) if !self.out.is_empty() => break,
                Ok(None) => match self.stream.next().await {
                    Some(event) => self.take(event),
                    None => self.end(EndReason::Completed),
                },
            }
        }
        if self.out.is_empty() { None } else { Some(Bytes::from(std::mem::take(&mut self.out))) }
    }
}

pub(crate) async fn close_query(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let mut request = read_object(&headers, body, shared.options.body_bytes_max).await?;
    let Some(serde_json::Value::String(query_id)) = request.remove("queryId") else {
        return Err(ApiError::bad_request("No queryId provided"));
    };
    if shared.close_query(&query_id) {
        Ok(StatusCode::OK.into_response())
    } else {
        Err(ApiError::bad_request(format!("No query with id {query_id}")))
    }
}
