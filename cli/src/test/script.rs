//! Scripts with ASSERT statements (ksqlDB's SQL tests).
//!
//! Statements run one by one. After an INSERT all queries are stepped until nothing is left, depth first; a query created
//! later does not see earlier records.
//!
//! | statement | holds if |
//! |---|---|
//! | `ASSERT VALUES s (columns) VALUES (…)` | the next record of the topic of `s` that was not asserted yet has these values |
//! | `ASSERT NULL VALUES s (columns) KEY (…)` | that record is a tombstone with this key |
//! | `ASSERT STREAM s (elements) WITH (…)` | `s` is declared so |
//!
//! Expected values are made by inserting them into a stream of the same columns in a second engine: any expression that
//! INSERT takes may stand in an ASSERT.

use std::collections::BTreeMap;

use arrow::array::{Array, BinaryArray};
use headwater_engine::catalog::{Source, SourceKind};
use headwater_engine::format::json::{JsonStyle, write_value};
use headwater_engine::format::{self, FormatName, FormatSpec, Side, windowed};
use headwater_engine::log::EncodedRecords;
use headwater_engine::schema::{Column, ROWTIME};
use headwater_engine::sql::ast::{self, CreateSource, Literal, ParsedStatement, Statement};
use headwater_engine::{Error, Outcome};
use serde_json::{Map, Value};

use super::case::Case;
use super::fixture::{Drive, Fixture, property, topic_of};
use super::post::schema_of;
use super::report::{Failure, Raised, Report};

pub fn run(case: &Case) -> Report {
    let mut report = Report::default();
    let mut properties = case.properties.clone();
    properties.entry("auto.offset.reset").or_insert_with(|| "latest".into());
    match Fixture::open(Drive::Step, &properties) {
        Ok(fixture) => {
            let mut script = Script { fixture, case, asserted: BTreeMap::new(), statement: 0 };
            let raised = script.run_text(&case.text).err();
            report.failure = judge(case, raised.as_ref()).err();
            report.error = raised;
            script.fixture.learn();
            report.sources = script.fixture.sources_json();
            report.topics = script.fixture.topics_json();
            let topics: Vec<&String> = script.asserted.keys().collect();
            for topic in topics {
                match script.fixture.read(topic) {
                    Ok(records) => report.records.extend(records.into_iter().map(|r| r.json)),
                    Err(failure) => report.failure = Some(failure),
                }
            }
        }
        Err(failure) => report.failure = Some(failure),
    }
    report
}

fn judge(case: &Case, raised: Option<&Raised>) -> Result<(), Failure> {
    match (raised, &case.expected_error) {
        (None, None) => Ok(()),
        (None, Some(_)) => Err(Failure::differs("no error raised")),
        (Some(raised), None) => {
            Err(Failure::differs(format!("statement {} failed: {}", raised.statement, raised.message)))
        }
        (Some(raised), Some(expected)) => raised.differs_from(expected).map_or(Ok(()), |e| Err(Failure::differs(e))),
    }
}

struct Script<'a> {
    fixture: Fixture,
    case: &'a Case,
    /// Records of each topic that were asserted.
    asserted: BTreeMap<String, usize>,
    /// Number of the statement that runs.
    statement: usize,
}

/// A record's columns as JSON text, and its time.
struct Decoded {
    columns: BTreeMap<String, String>,
    time: i64,
    tombstone: bool,
}

impl Script<'_> {
    fn run_text(&mut self, text: &str) -> Result<(), Raised> {
        let parsed = self.fixture.session.parse(text).map_err(|e| self.raised(&e))?;
        for statement in parsed {
            self.run_statement(&statement)?;
            self.statement += 1;
        }
        Ok(())
    }

    fn raised(&self, error: &Error) -> Raised {
        Raised::of_statement(self.statement, error)
    }

    fn mismatch(&self, message: impl Into<String>) -> Raised {
        Raised::assertion(self.statement, message)
    }

    fn run_statement(&mut self, parsed: &ParsedStatement) -> Result<(), Raised> {
        match &parsed.statement {
            Statement::AssertValues { insert } => {
                let columns = (!insert.columns.is_empty()).then_some(insert.columns.as_slice());
                self.assert_record(&insert.target.name, columns, &parsed.text, false)
            }
            Statement::AssertTombstone { target, columns, .. } => {
                self.assert_record(&target.name, Some(columns), &parsed.text, true)
            }
            Statement::AssertSource(expected) => self.assert_source(expected),
            Statement::RunScript { path } => match self.case.scripts.get(path).and_then(Value::as_str) {
                Some(text) => self.run_text(text),
                None => Err(self.mismatch(format!("there is no script {path}"))),
            },
            statement => {
                if let Statement::CreateSource(create) = statement
                    && property(&create.properties, "PARTITIONS").is_none()
                    && let Some(topic) = topic_of(create)
                {
                    self.fixture.create_topic(&topic, 1).map_err(|failure| self.mismatch(failure.why))?;
                }
                match self.fixture.session.execute(parsed).map_err(|e| self.raised(&e))? {
                    Outcome::Nothing | Outcome::Entity(_) | Outcome::Query(_) => self.fixture.learn(),
                }
                if matches!(statement, Statement::InsertValues(_)) {
                    let stepped = self.fixture.engine.step_all();
                    stepped.map_err(|e| Raised::at_runtime(self.statement, &e))?;
                }
                Ok(())
            }
        }
    }

    fn assert_record(
        &mut self,
        target: &str,
        columns: Option<&[String]>,
        text: &str,
        tombstone: bool,
    ) -> Result<(), Raised> {
        let catalog = self.fixture.catalog();
        let Some(source) = catalog.source(target) else {
            return Err(self.mismatch(format!("Source {target} does not exist")));
        };
        let next = self.asserted.entry(source.topic.clone()).or_default();
        let at = *next;
        *next += 1;
        let records = self.fixture.engine.read_topic(&source.topic).map_err(|e| self.raised(&e))?;
        let mut actual = None;
        let mut before = at;
        for (_, encoded) in &records {
            if before < encoded.time.len() {
                actual = Some(decode(source, encoded, before).map_err(|e| self.mismatch(e))?);
                break;
            }
            before -= encoded.time.len();
        }
        let Some(actual) = actual else {
            return Err(self.mismatch(format!(
                "Expected another record, but all records have already been read from {}",
                source.topic
            )));
        };
        let expected = self.expected_record(source, text, tombstone)?;
        let declared: Vec<String> = source.schema.columns().map(|c| c.name.clone()).collect();
        let compared = columns.unwrap_or(&declared);
        let differs = actual.tombstone != tombstone
            || compared.iter().any(|name| {
                if name == ROWTIME {
                    expected.time != actual.time
                } else {
                    expected.columns.get(name) != actual.columns.get(name)
                }
            });
        if differs {
            let shown = |record: &Decoded| format!("{:?} at {}", record.columns, record.time);
            return Err(self.mismatch(format!(
                "Expected record does not match actual. Expected: {}. Actual: {}",
                shown(&expected),
                shown(&actual)
            )));
        }
        Ok(())
    }

    /// Inserts what the ASSERT says into a stream of the same columns elsewhere, and reads it back.
    fn expected_record(&self, source: &Source, text: &str, tombstone: bool) -> Result<Decoded, Raised> {
        let mut scratch = Fixture::open(Drive::Step, &Map::new()).map_err(|failure| self.mismatch(failure.why))?;
        let json = FormatSpec::new(FormatName::Json);
        let twin = Source {
            kind: SourceKind::Stream,
            topic: "expected".to_string(),
            key_format: json.clone(),
            value_format: json,
            windowed: None,
            ..source.clone()
        };
        let create = format!(
            "CREATE STREAM `{}` ({}) WITH (KAFKA_TOPIC='expected', PARTITIONS=1, FORMAT='JSON');",
            source.name, source.schema
        );
        for sql in [create, as_insert(text, tombstone)] {
            for parsed in scratch.session.parse(&sql).map_err(|e| self.raised(&e))? {
                scratch.session.execute(&parsed).map_err(|e| self.raised(&e))?;
            }
        }
        let records = scratch.engine.read_topic("expected").map_err(|e| self.raised(&e))?;
        let record = records.iter().find(|(_, r)| !r.time.is_empty());
        let (_, encoded) = record.ok_or_else(|| self.mismatch("the expected record cannot be made"))?;
        decode(&twin, encoded, 0).map_err(|e| self.mismatch(e))
    }

    fn assert_source(&self, expected: &CreateSource) -> Result<(), Raised> {
        let name = &expected.name.name;
        let refuse = |message: String| Raised {
            kind: super::report::RaisedKind::Statement,
            ..Raised::assertion(self.statement, message)
        };
        let catalog = self.fixture.catalog();
        let Some(source) = catalog.source(name) else { return Err(refuse(format!("Source {name} does not exist"))) };
        let differs = |what: &str, expected: &str, actual: &str| {
            refuse(format!(
                "Expected {what} does not match actual for source {name}. Expected: {expected}, Actual: {actual}"
            ))
        };
        let kind = match expected.kind {
            ast::SourceKind::Stream => SourceKind::Stream,
            ast::SourceKind::Table => SourceKind::Table,
        };
        if kind != source.kind {
            return Err(differs("type", &format!("{kind:?}"), &format!("{:?}", source.kind)));
        }
        let (schema, headers) = schema_of(&catalog, &expected.columns).map_err(refuse)?;
        if schema != source.schema || headers != source.headers {
            return Err(differs("schema", &schema.to_string(), &source.schema.to_string()));
        }
        let wanted = |name: &str| literal_text(property(&expected.properties, name));
        let both = wanted("FORMAT");
        let wrap = |spec: &FormatSpec| spec.wrap_single.unwrap_or(true).to_string();
        let checks = [
            ("kafka topic", wanted("KAFKA_TOPIC"), Some(source.topic.clone())),
            (
                "key format",
                wanted("KEY_FORMAT").or(both.clone()).or(Some("KAFKA".to_string())),
                Some(source.key_format.name.sql().to_string()),
            ),
            ("value format", wanted("VALUE_FORMAT").or(both), Some(source.value_format.name.sql().to_string())),
            ("value serde features", wanted("WRAP_SINGLE_VALUE"), Some(wrap(&source.value_format))),
            ("timestamp column", wanted("TIMESTAMP"), source.timestamp_column.clone()),
            ("timestamp format", wanted("TIMESTAMP_FORMAT"), source.timestamp_format.clone()),
        ];
        for (what, wanted, actual) in checks {
            if let Some(wanted) = wanted
                && !actual.as_ref().is_some_and(|actual| actual.eq_ignore_ascii_case(&wanted))
            {
                return Err(differs(what, &wanted, actual.as_deref().unwrap_or("none")));
            }
        }
        Ok(())
    }
}

fn literal_text(literal: Option<&Literal>) -> Option<String> {
    Some(match literal? {
        Literal::Null => return None,
        Literal::Boolean(b) => b.to_string(),
        Literal::Integer(n) => n.to_string(),
        Literal::Bigint(n) => n.to_string(),
        Literal::Double(d) => d.to_string(),
        Literal::Decimal(text) | Literal::String(text) => text.clone(),
    })
}

/// `ASSERT VALUES s …` → `INSERT INTO s …`; `ASSERT NULL VALUES s (K) KEY (1)` → `INSERT INTO s (K) VALUES (1)`.
fn as_insert(text: &str, tombstone: bool) -> String {
    let upper = text.to_ascii_uppercase();
    let body = upper.find("VALUES").map_or(text, |at| &text[at + "VALUES".len()..]);
    let mut insert = format!("INSERT INTO {}", body.trim());
    if tombstone && let Some(at) = insert.to_ascii_uppercase().find(")").map(|at| at + 1) {
        let rest = insert.split_off(at);
        let values = rest.trim_start();
        insert.push_str(" VALUES");
        insert.push_str(values.get(3..).unwrap_or_default());
    }
    if !insert.ends_with(';') {
        insert.push(';');
    }
    insert
}

fn decode(source: &Source, encoded: &EncodedRecords, row: usize) -> Result<Decoded, String> {
    let mut keys = encoded.keys.slice(row, 1);
    if let Some(info) = &source.windowed {
        keys = windowed::split(&keys, info).keys;
    }
    let values = encoded.values.slice(row, 1);
    let mut columns = BTreeMap::new();
    decode_side(&source.key_format, &source.schema.key, Side::Key, &keys, &mut columns)?;
    decode_side(&source.value_format, &source.schema.value, Side::Value, &values, &mut columns)?;
    Ok(Decoded { columns, time: encoded.time.value(row), tombstone: values.is_null(0) })
}

fn decode_side(
    spec: &FormatSpec,
    declared: &[Column],
    side: Side,
    bytes: &BinaryArray,
    columns: &mut BTreeMap<String, String>,
) -> Result<(), String> {
    let format = format::create(spec, declared, side).map_err(|e| e.to_string())?;
    let wanted: Vec<usize> = (0..declared.len()).collect();
    let decoded = format.decode(bytes, &wanted).map_err(|e| e.to_string())?;
    if let Some(error) = decoded.errors.first() {
        return Err(error.message.clone());
    }
    for (column, array) in declared.iter().zip(&decoded.columns) {
        let mut text = Vec::new();
        write_value(&column.ty, array.as_ref(), 0, JsonStyle::Record, &mut text).map_err(|e| e.to_string())?;
        columns.insert(column.name.clone(), String::from_utf8_lossy(&text).into_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::as_insert;

    #[test]
    fn an_assert_becomes_the_insert_that_would_make_its_record() {
        assert_eq!(
            as_insert("ASSERT VALUES b (id, v) VALUES (1, 'x')", false),
            "INSERT INTO b (id, v) VALUES (1, 'x');"
        );
        assert_eq!(as_insert("assert null values b (id) key (1);", true), "INSERT INTO b (id) VALUES (1);");
    }
}
