//! The engine from SQL text to rows, in memory and over a restart.

use headwater_engine::engine::EngineConfig;
use headwater_engine::{Access, Engine};
use headwater_tests::sql::{memory_session, run};

const ORDERS: &str = "
    CREATE STREAM orders (id INT KEY, item VARCHAR, amount BIGINT) WITH (KAFKA_TOPIC='orders', VALUE_FORMAT='JSON');
    CREATE TABLE totals AS SELECT item, COUNT(*) AS n, SUM(amount) AS total FROM orders GROUP BY item;
    INSERT INTO orders VALUES (1, 'tea', 3);
    INSERT INTO orders VALUES (2, 'cup', 5);
    INSERT INTO orders VALUES (3, 'tea', 4);";

#[test]
fn a_push_query_sees_every_change() {
    let mut session = memory_session();
    let script = format!(
        "{ORDERS} SET 'auto.offset.reset'='earliest';
         SELECT id, amount * 2 AS twice FROM orders WHERE amount > 3 EMIT CHANGES LIMIT 2;"
    );
    let mut rows = run(&mut session, &script).expect("it runs");
    rows.sort();
    assert_eq!(rows, ["2|10", "3|8"]);
}

#[test]
fn a_pull_query_waits_for_this_sessions_writes() {
    let mut session = memory_session();
    let rows = run(&mut session, &format!("{ORDERS} SELECT * FROM totals WHERE item = 'tea';")).expect("it runs");
    assert_eq!(rows, ["tea|2|7"]);
}

#[test]
fn a_failed_statement_leaves_nothing_behind() {
    let mut session = memory_session();
    run(&mut session, ORDERS).expect("it runs");
    let error = run(&mut session, "CREATE STREAM bad AS SELECT nope FROM orders;").expect_err("it is refused");
    assert!(error.message().contains("NOPE"), "{error}");
    assert!(session.engine().catalog().source("BAD").is_none());
}

#[test]
fn a_restart_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || Engine::open(EngineConfig::directory(folder.path())).expect("the directory opens");
    let engine = open();
    run(&mut engine.session(Access::default()), ORDERS).expect("it runs");
    engine.close().expect("it closes");
    drop(engine);
    let engine = open();
    let mut session = engine.session(Access::default());
    run(&mut session, "INSERT INTO orders VALUES (4, 'tea', 10);").expect("it runs");
    assert_eq!(run(&mut session, "SELECT * FROM totals WHERE item = 'tea';").expect("it runs"), ["tea|3|17"]);
    engine.close().expect("it closes");
}

#[test]
fn a_replaced_query_keeps_its_place_and_what_state_fits() {
    let mut session = memory_session();
    run(
        &mut session,
        "CREATE STREAM s (id INT KEY, v INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=1);
         CREATE STREAM c AS SELECT id, v FROM s;
         INSERT INTO s VALUES (1, 1);
         SELECT * FROM c;
         CREATE OR REPLACE STREAM c AS SELECT id, v FROM s WHERE v > 1;
         INSERT INTO s VALUES (2, 1);
         INSERT INTO s VALUES (3, 2);",
    )
    .expect("it runs");
    assert_eq!(run(&mut session, "SELECT id FROM c ORDER BY id;").expect("it runs"), ["1", "3"]);
}
