//! Request bodies: `{"ksql" or "sql", "streamsProperties" or "properties", "sessionVariables"}`.
//!
//! `/ksql` and `/query` use the first names, `/query-stream` the second; clients mix them up, so every route takes both.

use std::time::Duration;

use axum::body::Body;
use axum::http::HeaderMap;
use bytes::Bytes;
use headwater_engine::Session;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::{Map, Value};

use super::errors::ApiError;
use super::media;

/// A body must have arrived within this time.
const BODY_READ_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) struct SqlRequest {
    pub sql: String,
    properties: Map<String, Value>,
    variables: Map<String, Value>,
    /// The client has written before, and a bounded SELECT must see it (`requestProperties`, our own).
    read_your_writes: bool,
}

/// Name of that request property.
const READ_YOUR_WRITES: &str = "headwater.read.your.writes";

impl SqlRequest {
    pub async fn read(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Self, ApiError> {
        Self::from_json(read_object(headers, body, bytes_max).await?)
    }

    pub fn from_json(mut body: Map<String, Value>) -> Result<Self, ApiError> {
        let sql = match body.remove("ksql").or_else(|| body.remove("sql")) {
            Some(Value::String(sql)) => sql,
            Some(_) => return Err(ApiError::bad_request("\"ksql\" must be a string")),
            None => return Err(ApiError::bad_request("the body has no \"ksql\" (or \"sql\")")),
        };
        let mut object = |names: &[&str]| -> Result<Map<String, Value>, ApiError> {
            let mut all = Map::new();
            for name in names {
                match body.remove(*name) {
                    Some(Value::Object(object)) => all.extend(object),
                    Some(Value::Null) | None => {}
                    Some(_) => return Err(ApiError::bad_request(format!("\"{name}\" must be an object"))),
                }
            }
            Ok(all)
        };
        let request_properties = object(&["requestProperties"])?;
        Ok(Self {
            read_your_writes: request_properties.get(READ_YOUR_WRITES) == Some(&Value::Bool(true)),
            sql,
            properties: object(&["streamsProperties", "properties"])?,
            variables: object(&["sessionVariables"])?,
        })
    }

    /// Gives the session this request's settings and variables.
    pub fn apply(&self, session: &mut Session) -> Result<(), ApiError> {
        for (name, value) in &self.properties {
            session.set(name, &text_of(name, value)?).map_err(ApiError::bad_property)?;
        }
        for (name, value) in &self.variables {
            session.define(name, &text_of(name, value)?);
        }
        if self.read_your_writes {
            session.see_earlier_writes();
        }
        Ok(())
    }
}

fn text_of(name: &str, value: &Value) -> Result<String, ApiError> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        _ => Err(ApiError::bad_request(format!("the value of '{name}' must be a string, number or boolean"))),
    }
}

/// The body as one JSON object.
pub(crate) async fn read_object(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
) -> Result<Map<String, Value>, ApiError> {
    media::check_body_type(headers)?;
    let bytes = read_bytes(body, bytes_max).await?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(ApiError::bad_request("the body must be a JSON object")),
        Err(error) => Err(ApiError::bad_request(format!("the body is not valid JSON: {error}"))),
    }
}

async fn read_bytes(body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    let collected = tokio::time::timeout(BODY_READ_TIMEOUT, Limited::new(body, bytes_max).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::body_too_large(bytes_max)),
        Ok(Err(error)) => Err(ApiError::bad_request(format!("the body could not be read: {error}"))),
        Err(_) => Err(ApiError::bad_request(format!("the body did not arrive within {BODY_READ_TIMEOUT:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn request(body: Value) -> Result<SqlRequest, ApiError> {
        SqlRequest::from_json(body.as_object().unwrap().clone())
    }

    #[test]
    fn both_spellings_of_a_request_are_read() {
        let old = request(json!({"ksql": "A;", "streamsProperties": {"auto.offset.reset": "earliest"}})).unwrap();
        let new = request(json!({"sql": "A;", "properties": {"auto.offset.reset": "earliest"}})).unwrap();
        assert_eq!((old.sql, old.properties), (new.sql, new.properties));
        assert!(request(json!({"ksql": "A;", "streamsProperties": null})).is_ok());
    }

    #[test]
    fn what_has_the_wrong_shape_is_refused() {
        assert!(request(json!({})).is_err());
        assert!(request(json!({"ksql": 1})).is_err());
        assert!(request(json!({"ksql": "A;", "sessionVariables": []})).is_err());
    }
}
