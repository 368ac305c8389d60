//! Which media types a request may have and an answer will have.
//!
//! | Accept | chosen from what the route offers |
//! |---|---|
//! | absent, `*/*` | the route's first |
//! | `application/json;q=0.5, application/vnd.ksql.v1+json` | the offered type of the highest weight |
//! | nothing offered | 406 |
//!
//! Bodies: JSON under any of its names. `curl -d` calls its JSON a form, which is accepted unless a browser page of
//! another site may have sent it (it would carry `Origin`). Anything else is 415.

use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde_json::Value;

use super::errors::ApiError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Media {
    /// `application/vnd.ksql.v1+json`
    V1,
    Json,
    /// `application/vnd.ksqlapi.delimited.v1`: one JSON value a line.
    Delimited,
    /// `application/x-ndjson`: one object a row.
    Ndjson,
    /// `application/vnd.ksql.v1+protobuf`: JSON around rows that are Protobuf messages.
    Protobuf,
}

impl Media {
    const ALL: [Media; 5] = [Media::V1, Media::Json, Media::Delimited, Media::Ndjson, Media::Protobuf];

    pub const fn name(self) -> &'static str {
        match self {
            Media::V1 => "application/vnd.ksql.v1+json",
            Media::Json => "application/json",
            Media::Delimited => "application/vnd.ksqlapi.delimited.v1",
            Media::Ndjson => "application/x-ndjson",
            Media::Protobuf => "application/vnd.ksql.v1+protobuf",
        }
    }

    pub const fn header(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }
}

/// A JSON answer of the routes that offer nothing else.
pub(crate) struct Json(pub Value);

impl IntoResponse for Json {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, Media::Json.header())], self.0.to_string()).into_response()
    }
}

/// The best of `offered` for this request; `offered[0]` is the default.
pub(crate) fn negotiate(headers: &HeaderMap, offered: &[Media]) -> Result<Media, ApiError> {
    let refused = || ApiError::not_acceptable(&offered.iter().map(|m| m.name()).collect::<Vec<_>>().join(", "));
    let mut values = headers.get_all(header::ACCEPT).iter().peekable();
    if values.peek().is_none() {
        return Ok(offered[0]);
    }
    let mut best: Option<(Media, f32)> = None;
    for value in values {
        for range in value.to_str().map_err(|_| refused())?.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().unwrap_or_default().to_ascii_lowercase();
            let weight = parts.find_map(|p| p.strip_prefix("q=")).map_or(Some(1.0), |q| q.trim().parse().ok());
            let weight: f32 = weight.unwrap_or(0.0);
            let chosen = match name.as_str() {
                "*/*" | "application/*" => Some(offered[0]),
                name => offered.iter().copied().find(|m| m.name() == name),
            };
            if let Some(media) = chosen
                && weight > 0.0
                && best.is_none_or(|(_, other)| weight > other)
            {
                best = Some((media, weight));
            }
        }
    }
    best.map(|(media, _)| media).ok_or_else(refused)
}

/// Refuses bodies that are not JSON by their own word.
pub(crate) fn check_body_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Ok(()) };
    let given = String::from_utf8_lossy(value.as_bytes()).into_owned();
    let name = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let form = name == "application/x-www-form-urlencoded" && !headers.contains_key(header::ORIGIN);
    if form || Media::ALL.iter().any(|m| m.name() == name) {
        Ok(())
    } else {
        Err(ApiError::unsupported_media_type(&given))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(value))])
    }

    #[test]
    fn the_heaviest_offered_type_wins() {
        let offered = [Media::Delimited, Media::Json, Media::V1];
        assert_eq!(negotiate(&HeaderMap::new(), &offered).unwrap(), Media::Delimited);
        assert_eq!(negotiate(&accept("*/*"), &offered).unwrap(), Media::Delimited);
        let both = accept("application/json;q=0.5, application/vnd.ksql.v1+json");
        assert_eq!(negotiate(&both, &offered).unwrap(), Media::V1);
        assert_eq!(negotiate(&accept("text/html, application/json"), &offered).unwrap(), Media::Json);
        assert!(negotiate(&accept("application/vnd.ksql.v1+protobuf"), &offered).is_err());
        assert!(negotiate(&accept("application/json;q=0"), &offered).is_err());
    }

    #[test]
    fn a_form_is_only_taken_from_tools() {
        let mut headers = HeaderMap::new();
        assert!(check_body_type(&headers).is_ok());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        assert!(check_body_type(&headers).is_ok());
        headers.insert(header::ORIGIN, HeaderValue::from_static("http://elsewhere"));
        assert!(check_body_type(&headers).is_err());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        assert!(check_body_type(&headers).is_ok());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml"));
        assert!(check_body_type(&headers).is_err());
    }
}
