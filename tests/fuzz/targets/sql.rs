//! SQL text: what parses must print and parse back, what is refused is refused at a place in the text, and planning ends in
//! a plan or in an error that is not ours.
//!
//! | step | must hold |
//! |---|---|
//! | parse | the error's line and column lie in the text; what ksqlDB's grammar takes, ours takes too |
//! | split | a text that parses splits into as many statements |
//! | print | `parse(print(statement)) == statement` |
//! | plan | no panic, no internal error; a plan is the same after it was stored and read |

use std::collections::BTreeMap;
use std::sync::OnceLock;

use headwater_engine::plan::analyze::constant;
use headwater_engine::plan::lower::lower;
use headwater_engine::plan::steps::Plan;
use headwater_engine::plan::{Planner, QueryPlan};
use headwater_engine::session::{Access, Session};
use headwater_engine::sql::ast::{ParsedStatement, Statement};
use headwater_engine::sql::{self, ParseOptions, print, split_statements};
use headwater_engine::{Engine, EngineConfig, Error, ErrorKind, Result};

/// What the statements of an input may name.
const CATALOG: &str = "
    CREATE TYPE address AS STRUCT<street STRING, zip INT>;
    CREATE STREAM s (k STRING KEY, i INT, b BIGINT, d DOUBLE, n DECIMAL(10, 2), t STRING, f BOOLEAN, y BYTES, da DATE,
        ti TIME, ts TIMESTAMP, l ARRAY<INT>, m MAP<STRING, BIGINT>, r STRUCT<a INT, b STRUCT<c STRING>>)
        WITH (kafka_topic = 's', partitions = 2, value_format = 'JSON');
    CREATE STREAM s2 (k STRING KEY, v BIGINT) WITH (kafka_topic = 's2', partitions = 2, value_format = 'DELIMITED');
    CREATE TABLE t (k STRING PRIMARY KEY, v BIGINT, w STRING)
        WITH (kafka_topic = 't', partitions = 2, value_format = 'JSON');
    CREATE TABLE c AS SELECT k, COUNT(*) AS n, SUM(v) AS total FROM s2 GROUP BY k;";

pub fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let (split, rest) = split_statements(&text);
    let pieces = split.len() + usize::from(!rest.is_empty());
    let strict = parse(&text, true);
    match parse(&text, false) {
        Err(error) => {
            assert_ours(&error, "parse");
            assert_inside(&error, &text);
            assert!(strict.is_err(), "strict mode reads what ordinary mode refuses: {error}");
        }
        Ok(statements) => {
            assert_eq!(statements.len(), pieces, "statements parsed, and pieces split");
            for (strict, ours) in strict.unwrap_or_default().iter().zip(&statements) {
                let (strict, ours) = (shape(&strict.statement), shape(&ours.statement));
                // `a NATURAL JOIN b` names an alias in ksqlDB's grammar, a kind of join in ordinary SQL.
                assert!(strict == ours || ours.contains("BatchQuery("), "strict mode: {strict}\nordinary: {ours}");
            }
            statements.iter().for_each(check_statement);
        }
    }
}

fn parse(text: &str, strict: bool) -> Result<Vec<ParsedStatement>> {
    sql::parse(text, &BTreeMap::new(), ParseOptions { strict, ..ParseOptions::default() })
}

fn check_statement(parsed: &ParsedStatement) {
    let _ = print::formatted(&parsed.statement);
    let printed = parsed.statement.to_string();
    // Ordinary SQL is printed by sqlparser, and EXPLAIN keeps the text it was given.
    let tree = shape(&parsed.statement);
    if !tree.contains("BatchQuery(") && !tree.contains("Explain(") {
        let again = parse(&printed, false).unwrap_or_else(|e| panic!("{printed:?} does not parse: {e}"));
        assert_eq!(again.len(), 1, "one statement prints as one: {printed:?}");
        assert_eq!(shape(&again[0].statement), tree, "printed: {printed:?}");
    }
    if let Err(error) = plan(parsed) {
        assert_ours(&error, &parsed.text);
    }
}

/// Plans one statement over the catalog, and runs it where that changes nothing.
fn plan(parsed: &ParsedStatement) -> Result<()> {
    let mut session = session();
    let catalog = session.engine().catalog();
    let topics = session.engine().topics();
    let partitions = |name: &str| topics.iter().find(|t| t.name == name).map(|t| t.partitions);
    let settings = session.settings().clone();
    let planner = Planner { catalog: &catalog, settings: &settings, topic_partitions: &partitions };
    match &parsed.statement {
        Statement::Query(query) if query.emit.is_some() => check_plan(&planner.push(query)?),
        Statement::Query(query) => planner.pull(query).map(drop),
        Statement::InsertValues(insert) => {
            for row in planner.insert_values(insert)?.rows {
                row.values.iter().chain(&row.time).try_for_each(|value| constant::evaluate_array(value).map(drop))?;
            }
            Ok(())
        }
        Statement::CreateAs(create) => check_plan(&planner.create_as(create, "Q")?),
        Statement::InsertSelect(insert) => check_plan(&planner.insert_select(insert, "Q")?),
        Statement::Show(_)
        | Statement::Describe { .. }
        | Statement::DescribeAll { .. }
        | Statement::DescribeFunction { .. }
        | Statement::Explain(_) => session.execute(parsed).map(drop),
        _ => session.validate(std::slice::from_ref(parsed)),
    }
}

fn check_plan(query: &QueryPlan) -> Result<()> {
    lower(&query.plan)?;
    let stored = serde_json::to_string(&query.plan).expect("a plan can be stored");
    let read: Plan = serde_json::from_str(&stored).unwrap_or_else(|e| panic!("{stored} cannot be read: {e}"));
    assert_eq!(read, query.plan, "a plan, and the plan that was stored");
    Ok(())
}

fn session() -> Session {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let engine = ENGINE.get_or_init(|| {
        let config = EngineConfig { step: true, ..EngineConfig::memory() };
        let engine = Engine::open(config).expect("an engine in memory");
        let mut session = engine.session(Access::default());
        for statement in session.parse(CATALOG).expect("the catalog parses") {
            session.execute(&statement).expect("the catalog is made");
        }
        engine
    });
    engine.session(Access::default())
}

/// An internal error is a bug, whatever the text.
fn assert_ours(error: &Error, what: &str) {
    assert_ne!(error.kind(), ErrorKind::Internal, "{what}: {error}");
}

/// Errors after substitution are counted in the substituted text.
fn assert_inside(error: &Error, text: &str) {
    let Some(position) = error.position().filter(|_| !text.contains("${")) else { return };
    let lines: Vec<&str> = text.split('\n').collect();
    let line = usize::try_from(position.line).ok().and_then(|line| lines.get(line.checked_sub(1)?));
    let columns = line.unwrap_or_else(|| panic!("line {} of {}", position.line, lines.len())).chars().count() as u64;
    assert!((1..=columns + 1).contains(&position.column), "column {} of {columns}: {error}", position.column);
}

/// A tree as text, without the places in the text.
fn shape(tree: &impl std::fmt::Debug) -> String {
    let debug = format!("{tree:?}");
    let mut pieces = debug.split("Position {");
    let mut shape = pieces.next().unwrap_or_default().to_string();
    for piece in pieces {
        shape.push_str(piece.split_once('}').map_or(piece, |(_, after)| after));
    }
    shape
}
