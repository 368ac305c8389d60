//! The engine from SQL text to rows, in memory.

use std::time::Duration;

use headwater_engine::engine::EngineConfig;
use headwater_engine::results::{EndReason, ResultEvent, ResultStream};
use headwater_engine::{Access, Engine, Outcome, Session};

fn session() -> Session {
    Engine::open(EngineConfig::memory()).expect("an engine in memory opens").session(Access::default())
}

/// Runs a script; the last statement's result stream, if it has one.
fn run(session: &mut Session, sql: &str) -> Option<ResultStream> {
    let mut last = None;
    for statement in session.parse(sql).unwrap_or_else(|e| panic!("{e}: {sql}")) {
        last = match session.execute(&statement).unwrap_or_else(|e| panic!("{e}: {}", statement.text)) {
            Outcome::Query(stream) => Some(stream),
            _ => None,
        };
    }
    last
}

/// All rows as text, in order, `|` between columns.
fn rows(mut stream: ResultStream) -> Vec<String> {
    let mut lines = Vec::new();
    loop {
        match stream.next_blocking(Duration::from_secs(20)).expect("the query runs") {
            Some(ResultEvent::Rows { batch, .. }) => {
                let table = arrow::util::pretty::pretty_format_batches(&[batch]).expect("rows print").to_string();
                for line in table.lines().skip(3).filter(|l| l.starts_with('|')) {
                    lines.push(line.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>().join("|"));
                }
            }
            Some(ResultEvent::End(EndReason::Cancelled)) | None => {
                panic!("the query ended without its rows: {lines:?}")
            }
            Some(ResultEvent::End(_)) => return lines,
            Some(ResultEvent::Line(line)) => lines.push(line),
        }
    }
}

const ORDERS: &str = "
    CREATE STREAM orders (id INT KEY, item VARCHAR, amount BIGINT) WITH (KAFKA_TOPIC='orders', VALUE_FORMAT='JSON');
    CREATE TABLE totals AS SELECT item, COUNT(*) AS n, SUM(amount) AS total FROM orders GROUP BY item;
    INSERT INTO orders VALUES (1, 'tea', 3);
    INSERT INTO orders VALUES (2, 'cup', 5);
    INSERT INTO orders VALUES (3, 'tea', 4);";

#[test]
fn a_push_query_sees_every_change() {
    let mut session = session();
    let stream = run(
        &mut session,
        &format!(
            "{ORDERS} SET 'auto.offset.reset'='earliest';
             SELECT id, amount * 2 AS twice FROM orders WHERE amount > 3 EMIT CHANGES LIMIT 2;"
        ),
    );
    let mut rows = rows(stream.expect("a query"));
    rows.sort();
    assert_eq!(rows, ["2|10", "3|8"]);
}

#[test]
fn a_pull_query_waits_for_this_sessions_writes() {
    let mut session = session();
    let stream = run(&mut session, &format!("{ORDERS} SELECT * FROM totals WHERE item = 'tea';"));
    assert_eq!(rows(stream.expect("a query")), ["tea|2|7"]);
}

#[test]
fn batch_sql_reads_the_retained_log() {
    let mut session = session();
    let stream = run(
        &mut session,
        &format!("{ORDERS} SELECT item, SUM(amount) AS s FROM orders GROUP BY item ORDER BY s DESC;"),
    );
    assert_eq!(rows(stream.expect("a query")), ["tea|7", "cup|5"]);
}

#[test]
fn a_failed_statement_leaves_nothing_behind() {
    let mut session = session();
    run(&mut session, ORDERS);
    let statement = &session.parse("CREATE STREAM bad AS SELECT nope FROM orders;").expect("it parses")[0];
    let error = session.execute(statement).err().expect("it is refused");
    assert!(error.message().contains("NOPE"), "{error}");
    assert!(session.engine().catalog().source("BAD").is_none());
}
