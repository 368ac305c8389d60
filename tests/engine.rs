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

#[test]
fn compacted_tables_send_the_last_change_per_key_and_end_the_same() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || Engine::open(EngineConfig::directory(folder.path())).expect("the directory opens");
    let engine = open();
    let mut session = engine.session(Access::default());
    let inserts: String = (0..50).map(|i| format!("INSERT INTO orders VALUES ({i}, 'item {}', {i});", i % 3)).collect();
    let script = format!(
        "CREATE STREAM orders (id INT KEY, item VARCHAR, amount BIGINT)
           WITH (KAFKA_TOPIC='orders', VALUE_FORMAT='JSON', PARTITIONS=1);
         CREATE TABLE every AS SELECT item, COUNT(*) AS n FROM orders GROUP BY item;
         SET 'emit.buffer.ms'='600000';
         CREATE TABLE held AS SELECT item, COUNT(*) AS n FROM orders GROUP BY item;
         CREATE TABLE sizes AS SELECT n, COUNT(*) AS items FROM held GROUP BY n;
         {inserts}"
    );
    run(&mut session, &script).expect("it runs");
    let table = |name: &str, session: &mut _| {
        let mut rows = run(session, &format!("SELECT * FROM {name};")).expect("it runs");
        rows.sort();
        rows
    };
    let records = |topic: &str| -> usize {
        engine.read_topic(topic).expect("it reads").iter().map(|(_, records)| records.time.len()).sum()
    };
    assert_eq!(table("held", &mut session), table("every", &mut session));
    assert_eq!(table("held", &mut session), ["item 0|17", "item 1|17", "item 2|16"]);
    assert_eq!(table("sizes", &mut session), ["16|1", "17|2"]);
    assert_eq!((records("EVERY"), records("HELD"), records("SIZES")), (50, 3, 2));
    // What is held back is committed when the engine closes, and state goes on from there.
    run(&mut session, "INSERT INTO orders VALUES (50, 'item 2', 1);").expect("it runs");
    engine.close().expect("it closes");
    drop((session, engine));
    let engine = open();
    let mut session = engine.session(Access::default());
    run(&mut session, "INSERT INTO orders VALUES (51, 'item 2', 1);").expect("it runs");
    assert_eq!(table("held", &mut session), ["item 0|17", "item 1|17", "item 2|18"]);
    assert_eq!(table("sizes", &mut session), ["16|0", "17|2", "18|1"]);
    engine.close().expect("it closes");
}

#[test]
fn a_query_over_two_inputs_waits_for_the_one_without_data() {
    let script = |idle_ms: u32| {
        format!(
            "CREATE TABLE names (id INT PRIMARY KEY, name VARCHAR) WITH (KAFKA_TOPIC='names', VALUE_FORMAT='JSON', PARTITIONS=1);
             CREATE STREAM clicks (id INT KEY, page VARCHAR) WITH (KAFKA_TOPIC='clicks', VALUE_FORMAT='JSON', PARTITIONS=1);
             SET 'max.task.idle.ms'='{idle_ms}';
             CREATE STREAM named AS SELECT c.id, page, name FROM clicks c LEFT JOIN names n ON c.id = n.id;
             INSERT INTO clicks (ROWTIME, id, page) VALUES (20, 1, 'a');
             {}
             INSERT INTO names (ROWTIME, id, name) VALUES (10, 1, 'Ada');
             SELECT page, name FROM named;",
            // Without waiting, the click is joined before the name is there.
            if idle_ms == 0 { "SELECT page, name FROM named;" } else { "" },
        )
    };
    assert_eq!(run(&mut memory_session(), &script(0)).expect("it runs"), ["a|"]);
    assert_eq!(run(&mut memory_session(), &script(2000)).expect("it runs"), ["a|Ada"]);
}

const PARTED: &str = "
    CREATE STREAM s (id INT KEY, g VARCHAR, v INT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=4);
    CREATE TABLE c AS SELECT g, COUNT(*) AS n, SUM(v) AS t FROM s GROUP BY g;
    INSERT INTO s VALUES (1, 'a', 1); INSERT INTO s VALUES (2, 'b', 2); INSERT INTO s VALUES (3, 'a', 3);
    INSERT INTO s VALUES (4, 'c', 4);";

/// A step keeps its state by what it is, not by where it stands: a filter goes in below the aggregate.
fn replaced_below(engine: &Engine, reopen: &dyn Fn() -> Option<Engine>) {
    let mut session = engine.session(Access::default());
    run(&mut session, PARTED).expect("it runs");
    // What was not consumed yet would meet the new filter.
    assert_eq!(run(&mut session, "SELECT COUNT(*) AS n FROM c;").expect("it runs"), ["3"]);
    run(
        &mut session,
        "CREATE OR REPLACE TABLE c AS SELECT g, COUNT(*) AS n, SUM(v) AS t FROM s WHERE v > 2 GROUP BY g;
         INSERT INTO s VALUES (5, 'a', 1); INSERT INTO s VALUES (6, 'b', 9);",
    )
    .expect("it runs");
    let select = "SELECT g, n, t FROM c ORDER BY g;";
    let expected = ["a|2|4", "b|2|11", "c|1|4"];
    assert_eq!(run(&mut session, select).expect("it runs"), expected);
    if let Some(engine) = reopen() {
        let mut session = engine.session(Access::default());
        assert_eq!(run(&mut session, select).expect("it runs"), expected);
        run(&mut session, "INSERT INTO s VALUES (7, 'c', 6);").expect("it runs");
        assert_eq!(run(&mut session, "SELECT t FROM c WHERE g = 'c';").expect("it runs"), ["10"]);
        engine.close().expect("it closes");
    }
}

#[test]
fn a_filter_put_below_an_aggregate_keeps_its_groups() {
    let engine = Engine::open(EngineConfig::memory()).expect("it opens");
    replaced_below(&engine, &|| None);
    let folder = tempfile::tempdir().expect("a folder");
    let open = || Engine::open(EngineConfig::directory(folder.path())).expect("the directory opens");
    let engine = open();
    replaced_below(&engine, &|| {
        engine.close().expect("it closes");
        Some(open())
    });
}

#[test]
fn a_replaced_query_says_which_steps_start_empty() {
    let mut session = memory_session();
    run(
        &mut session,
        "CREATE TABLE t (id INT PRIMARY KEY, v INT, w INT) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON', PARTITIONS=1);
         CREATE TABLE c AS SELECT id, v FROM t WHERE v > 1;",
    )
    .expect("it runs");
    let mut replace = |sql: &str| {
        let statements = session.parse(sql).expect("it parses");
        match session.execute(&statements[0]).expect("it runs") {
            headwater_engine::Outcome::Entity(entity) => serde_json::to_string(&*entity).expect("it prints"),
            _ => panic!("a change answers with its status"),
        }
    };
    let same = replace("CREATE OR REPLACE TABLE c AS SELECT id, v FROM t WHERE v > 2;");
    assert!(!same.contains("start without"), "{same}");
    replace("ALTER TABLE t ADD COLUMN x INT;");
    let added = replace("CREATE OR REPLACE TABLE c AS SELECT id, v, x FROM t WHERE v > 3;");
    assert!(!added.contains("start without"), "{added}");
    let wider = replace("CREATE OR REPLACE TABLE c AS SELECT id, v, x, ROWTIME AS stamp FROM t WHERE v > 2;");
    assert!(wider.contains("these steps start without earlier rows: table T with columns ID, V"), "{wider}");
}

#[test]
fn a_foreign_key_join_finds_its_rows_over_partitions_and_restarts() {
    let folder = tempfile::tempdir().expect("a folder");
    let open = || Engine::open(EngineConfig::directory(folder.path())).expect("the directory opens");
    let engine = open();
    let mut session = engine.session(Access::default());
    let mut script = String::from(
        "CREATE TABLE orders (id INT PRIMARY KEY, item VARCHAR, n INT) WITH (KAFKA_TOPIC='o', VALUE_FORMAT='JSON', PARTITIONS=3);
         CREATE TABLE items (name VARCHAR PRIMARY KEY, price INT) WITH (KAFKA_TOPIC='i', KEY_FORMAT='JSON', VALUE_FORMAT='JSON', PARTITIONS=5);
         CREATE TABLE bill AS SELECT o.id AS id, i.name AS name, n * price AS total FROM orders o LEFT JOIN items i ON o.item = i.name;",
    );
    for id in 0..40 {
        script.push_str(&format!("INSERT INTO orders VALUES ({id}, 'item{}', {id});", id % 7));
    }
    for item in 0..7 {
        script.push_str(&format!("INSERT INTO items VALUES ('item{item}', {});", 10 + item));
    }
    run(&mut session, &script).expect("it runs");
    let bill = |prices: &dyn Fn(i64) -> Option<i64>, item: &dyn Fn(i64) -> i64| -> Vec<String> {
        let line = |id: i64| match prices(item(id)) {
            Some(price) => format!("{id}|item{}|{}", item(id), id * price),
            None => format!("{id}||"),
        };
        (0..40).map(line).collect()
    };
    let select = "SELECT id, name, total FROM bill ORDER BY id;";
    assert_eq!(run(&mut session, select).expect("it runs"), bill(&|item| Some(10 + item), &|id| id % 7));
    engine.close().expect("it closes");
    drop((session, engine));
    let engine = open();
    let mut session = engine.session(Access::default());
    let mut script = String::from("INSERT INTO items VALUES ('item3', 100);");
    for id in (0..40).filter(|id| id % 7 == 1) {
        script.push_str(&format!("INSERT INTO orders VALUES ({id}, 'item9', {id});"));
    }
    run(&mut session, &script).expect("it runs");
    let prices = |item: i64| if item == 9 { None } else { Some(if item == 3 { 100 } else { 10 + item }) };
    let items = |id: i64| if id % 7 == 1 { 9 } else { id % 7 };
    assert_eq!(run(&mut session, select).expect("it runs"), bill(&prices, &items));
    engine.close().expect("it closes");
}

#[test]
fn rows_from_before_a_column_was_added_are_still_taken_back() {
    for folder in [None, Some(tempfile::tempdir().expect("a folder"))] {
        let config = folder.as_ref().map_or_else(EngineConfig::memory, |f| EngineConfig::directory(f.path()));
        let engine = Engine::open(config).expect("it opens");
        let mut session = engine.session(Access::default());
        run(
            &mut session,
            "CREATE TABLE t (id INT PRIMARY KEY, v INT) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON', PARTITIONS=1);
             CREATE TABLE c AS SELECT id, v FROM t WHERE v > 1;
             INSERT INTO t VALUES (1, 5); INSERT INTO t VALUES (2, 6);",
        )
        .expect("it runs");
        assert_eq!(run(&mut session, "SELECT id, v FROM c ORDER BY id;").expect("it runs"), ["1|5", "2|6"]);
        run(
            &mut session,
            "ALTER TABLE t ADD COLUMN x INT;
             CREATE OR REPLACE TABLE c AS SELECT id, v, x FROM t WHERE v > 1;
             INSERT INTO t (id, v, x) VALUES (1, 0, 7); INSERT INTO t (id, v, x) VALUES (3, 8, 9);",
        )
        .expect("it runs");
        assert_eq!(run(&mut session, "SELECT id, v, x FROM c ORDER BY id;").expect("it runs"), ["2|6|", "3|8|9"]);
        let written: usize = engine.read_topic("C").expect("it reads").iter().map(|(_, r)| r.time.len()).sum();
        // Two rows, the deletion of the first, and the third.
        assert_eq!(written, 4);
        engine.close().expect("it closes");
    }
}

#[test]
fn catching_up_over_several_partitions_makes_no_row_late() {
    let mut session = memory_session();
    run(
        &mut session,
        "CREATE STREAM readings (id INT KEY, place INT) WITH (KAFKA_TOPIC='readings', VALUE_FORMAT='JSON', PARTITIONS=4);",
    )
    .expect("it runs");
    for block in 0..10 {
        let rows: Vec<String> = (block * 2000..(block + 1) * 2000).map(|i| format!("({i}, {i}, {})", i % 7)).collect();
        run(&mut session, &format!("INSERT INTO readings (ROWTIME, id, place) VALUES {};", rows.join(", ")))
            .expect("it runs");
    }
    for round in 0..3 {
        let rows = run(
            &mut session,
            &format!(
                "CREATE TABLE per_place_{round} AS SELECT place, COUNT(*) AS n FROM readings
                   WINDOW TUMBLING (SIZE 1 SECOND, RETENTION 1 HOUR, GRACE PERIOD 0 SECONDS) GROUP BY place;
                 SELECT COUNT(*) AS windows, SUM(n) AS n FROM per_place_{round};"
            ),
        );
        assert_eq!(rows.expect("it runs"), ["140|20000"]);
    }
}
