//! Errors as ksqlDB's clients read them.
//!
//! `{"@type":"generic_error","error_code":40000,"message":"…","stackTrace":[]}`; for a statement also `statementText`
//! and `entities` (answers of the statements before it). The status is the code divided by 100. `stackTrace` is always
//! there because clients index it. `position` and `hint` are ours.

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use headwater_engine::entity::Entity;
use headwater_engine::{Error, ErrorKind};
use serde_json::{Map, Value, json};

#[derive(Debug)]
pub(crate) struct ApiError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    code: u32,
    error: Error,
    entities: Vec<Entity>,
}

impl ApiError {
    fn new(status: StatusCode, code: u32, error: Error) -> Self {
        Self(Box::new(Inner { status, code, error, entities: Vec::new() }))
    }

    pub fn generic(status: StatusCode, code: u32, message: impl Into<String>) -> Self {
        Self::new(status, code, Error::statement(message))
    }

    /// The request itself is wrong, whatever the SQL.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::generic(StatusCode::BAD_REQUEST, 40000, message)
    }

    pub fn bad_property(error: Error) -> Self {
        Self::new(StatusCode::BAD_REQUEST, 40000, error)
    }

    /// A query was sent where only statements run.
    pub fn query_endpoint(statement: &str) -> Self {
        let error = Error::statement("SELECT and PRINT are sent to /query or /query-stream, not to /ksql");
        Self::new(StatusCode::BAD_REQUEST, 40002, error.in_statement(statement))
    }

    pub fn too_many_queries(max: usize) -> Self {
        let message = format!("{max} queries are streaming already, which is the limit");
        Self::generic(StatusCode::TOO_MANY_REQUESTS, 40003, message)
    }

    pub fn not_acceptable(offered: &str) -> Self {
        let message = format!("none of the types in Accept is offered here; there is {offered}");
        Self::generic(StatusCode::NOT_ACCEPTABLE, 40600, message)
    }

    pub fn unsupported_media_type(given: &str) -> Self {
        let message = format!("a body of type {given} is not understood; send application/json");
        Self::generic(StatusCode::UNSUPPORTED_MEDIA_TYPE, 41500, message)
    }

    pub fn body_too_large(max: usize) -> Self {
        let message = format!("the request body is larger than {max} bytes");
        Self::generic(StatusCode::PAYLOAD_TOO_LARGE, 41300, message)
    }

    pub fn shutting_down() -> Self {
        Self::generic(StatusCode::SERVICE_UNAVAILABLE, 50303, "the server is shutting down")
    }

    /// A push query that cannot be planned is a bad request, not a failed statement (ksqlDB).
    pub fn of_push_query(error: Error) -> Self {
        if code_of(error.kind()) != 40001 {
            return error.into();
        }
        let plain = Error::new(error.kind(), error.message()).at_maybe(error.position());
        let plain = match error.hint() {
            Some(hint) => plain.with_hint(hint),
            None => plain,
        };
        Self::new(StatusCode::BAD_REQUEST, 40000, plain)
    }

    /// Answers of the statements that ran before the one that failed.
    pub fn after(mut self, entities: Vec<Entity>) -> Self {
        self.0.entities = entities;
        self
    }

    pub fn body(&self) -> Map<String, Value> {
        let Inner { code, error, entities, .. } = &*self.0;
        let mut body = error_message(error, *code);
        if let Some(statement) = error.statement_text() {
            body.insert("@type".into(), json!("statement_error"));
            let end = if statement.trim_end().ends_with(';') { "" } else { ";" };
            body.insert("statementText".into(), json!(format!("{statement}{end}")));
            body.insert("entities".into(), json!(entities));
        }
        body
    }
}

/// An engine error in the middle of a stream of rows.
pub(crate) fn error_message(error: &Error, code: u32) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("@type".into(), json!("generic_error"));
    body.insert("error_code".into(), json!(code));
    body.insert("message".into(), json!(error.message()));
    body.insert("stackTrace".into(), json!([]));
    if let Some(position) = error.position() {
        body.insert("position".into(), json!({"line": position.line, "column": position.column}));
    }
    if let Some(hint) = error.hint() {
        body.insert("hint".into(), json!(hint));
    }
    body
}

/// ksqlDB's code for an engine error.
pub(crate) fn code_of(kind: ErrorKind) -> u32 {
    match kind {
        ErrorKind::Parse | ErrorKind::Statement | ErrorKind::NotFound | ErrorKind::Limit => 40001,
        ErrorKind::Unavailable => 50301,
        ErrorKind::Storage | ErrorKind::Internal => 50000,
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        let code = code_of(error.kind());
        let status = StatusCode::from_u16((code / 100) as u16).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::new(status, code, error)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = Value::Object(self.body()).to_string();
        let json = HeaderValue::from_static("application/json");
        (self.0.status, [(header::CONTENT_TYPE, json)], body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_statement_names_itself_and_what_ran_before() {
        let error = ApiError::from(Error::statement("no").in_statement("DROP STREAM S;")).after(Vec::new());
        let body = Value::Object(error.body());
        assert_eq!(body["@type"], "statement_error");
        assert_eq!(body["error_code"], 40001);
        assert_eq!(body["statementText"], "DROP STREAM S;");
        assert_eq!(body["entities"], json!([]));
        assert_eq!(body["stackTrace"], json!([]));
    }

    #[test]
    fn a_bad_request_has_no_statement() {
        let body = Value::Object(ApiError::bad_request("no").body());
        assert_eq!(body["@type"], "generic_error");
        assert_eq!(body.get("statementText"), None);
    }
}
