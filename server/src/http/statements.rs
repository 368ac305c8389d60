//! `POST /ksql`: statements one after another, answered with one entity each; `POST /ksql/terminate`.
//!
//! The statements of a request are planned together first; if one cannot run, none does. If one fails while running,
//! those before it stay done, and the error carries their answers.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use headwater_engine::catalog::SourceKind;
use headwater_engine::entity::{Entity, EntityBody};
use headwater_engine::sql::ast::Statement;
use headwater_engine::{Outcome, Session};
use serde_json::Value;

use super::Shared;
use super::errors::ApiError;
use super::media::{Media, negotiate};
use super::request::{SqlRequest, read_object};

pub(crate) async fn ksql(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let media = negotiate(&headers, &[Media::V1, Media::Json])?;
    let request = SqlRequest::read(&headers, body, shared.options.body_bytes_max).await?;
    let entities = shared
        .blocking(move |shared| {
            let mut session = shared.session();
            request.apply(&mut session)?;
            run(shared, &mut session, &request.sql)
        })
        .await?;
    let body = serde_json::to_vec(&entities)
        .map_err(|e| headwater_engine::Error::internal(format!("the answer cannot be written as JSON: {e}")))?;
    Ok(([(header::CONTENT_TYPE, media.header())], body).into_response())
}

/// Runs all statements of `sql`, or none if they do not fit together.
fn run(shared: &Shared, session: &mut Session, sql: &str) -> Result<Vec<Entity>, ApiError> {
    let statements = session.parse(sql).map_err(|e| e.in_statement(sql))?;
    if let Some(query) = statements.iter().find(|s| is_query(&s.statement)) {
        return Err(ApiError::query_endpoint(&query.text));
    }
    session.validate(&statements).map_err(|e| e.in_statement(sql))?;
    let mut entities = Vec::new();
    for statement in &statements {
        match session.execute(statement) {
            // ksqlDB answers INSERT … VALUES with nothing, and its clients know no such entity.
            Ok(Outcome::Entity(entity)) if matches!(entity.body, EntityBody::RowsWritten { .. }) => {}
            Ok(Outcome::Entity(entity)) => {
                shared.remember_status(&entity.body);
                entities.push(*entity);
            }
            Ok(Outcome::Nothing) => {}
            Ok(Outcome::Query(_)) => return Err(ApiError::query_endpoint(&statement.text).after(entities)),
            Err(error) => return Err(ApiError::from(error.in_statement(&statement.text)).after(entities)),
        }
    }
    Ok(entities)
}

fn is_query(statement: &Statement) -> bool {
    matches!(statement, Statement::Query(_) | Statement::BatchQuery(_) | Statement::Print { .. })
}

/// Ends every query, drops every source (its topic too where `deleteTopicList` names it), then stops the server.
pub(crate) async fn terminate(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, ApiError> {
    let media = negotiate(&headers, &[Media::V1, Media::Json])?;
    let mut request = read_object(&headers, body, shared.options.body_bytes_max).await?;
    let patterns = match request.remove("deleteTopicList") {
        Some(Value::Array(patterns)) => patterns
            .iter()
            .map(|p| p.as_str().map(TopicPattern::parse).unwrap_or_else(|| TopicPattern::parse("?")))
            .collect::<Result<Vec<_>, _>>()?,
        Some(Value::Null) | None => Vec::new(),
        Some(_) => return Err(ApiError::bad_request("\"deleteTopicList\" must be an array of strings")),
    };
    shared
        .blocking(move |shared| {
            let mut session = shared.session();
            run(shared, &mut session, "TERMINATE ALL;")?;
            drop_all(shared, &mut session, &patterns)
        })
        .await?;
    shared.terminate();
    Ok(([(header::CONTENT_TYPE, media.header())], "{}").into_response())
}

/// Sources that others were made from come last: a pass drops what nothing depends on, until nothing is left.
fn drop_all(shared: &Shared, session: &mut Session, delete: &[TopicPattern]) -> Result<(), ApiError> {
    loop {
        let sources: Vec<_> = shared.engine.catalog().sources.values().cloned().collect();
        let mut last_error = None;
        let mut dropped = false;
        for source in &sources {
            let kind = if source.kind == SourceKind::Table { "TABLE" } else { "STREAM" };
            let with_topic = !source.is_source && delete.iter().any(|p| p.matches(&source.topic));
            let suffix = if with_topic { " DELETE TOPIC" } else { "" };
            let name = source.name.replace('`', "``");
            match run(shared, session, &format!("DROP {kind} IF EXISTS `{name}`{suffix};")) {
                Ok(_) => dropped = true,
                Err(error) => last_error = Some(error),
            }
        }
        match last_error {
            Some(error) if !dropped => return Err(error),
            Some(_) => {}
            None => return Ok(()),
        }
    }
}

/// A topic name or a regular expression of the forms `prefix.*` and `.*`.
struct TopicPattern {
    prefix: String,
    any_end: bool,
}

impl TopicPattern {
    fn parse(pattern: &str) -> Result<Self, ApiError> {
        let (prefix, any_end) = match pattern.strip_suffix(".*") {
            Some(prefix) => (prefix, true),
            None => (pattern, false),
        };
        if prefix.contains(|c: char| "*+?()[]{}|^$\\".contains(c)) {
            let message = format!("Invalid pattern: {pattern} (a topic name or a prefix followed by .* is understood)");
            return Err(ApiError::bad_request(message));
        }
        Ok(Self { prefix: prefix.to_string(), any_end })
    }

    fn matches(&self, topic: &str) -> bool {
        if self.any_end { topic.starts_with(&self.prefix) } else { topic == self.prefix }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_to_delete_are_named_or_prefixed() {
        assert!(TopicPattern::parse("FOO").unwrap().matches("FOO"));
        assert!(!TopicPattern::parse("FOO").unwrap().matches("FOO2"));
        assert!(TopicPattern::parse("bar.*").unwrap().matches("bar_1"));
        assert!(TopicPattern::parse(".*").unwrap().matches("x"));
        assert!(TopicPattern::parse("a[").is_err());
    }
}
