//! What happens at the limits of state and memory: nothing is lost, and the way on is named.

use std::time::Duration;

use headwater_engine::clock::Stopwatch;
use headwater_engine::engine::EngineConfig;
use headwater_engine::entity::{EntityBody, RunningQuery};
use headwater_engine::{Access, Engine, ErrorKind, Outcome, Session};
use headwater_tests::sql::{memory_session, run};

const KEYS: usize = 2000;

fn query(session: &mut Session, id: &str) -> RunningQuery {
    let statement = session.parse("SHOW QUERIES;").expect("it parses").remove(0);
    let Outcome::Entity(entity) = session.execute(&statement).expect("it runs") else { panic!("queries are shown") };
    let EntityBody::Queries { queries } = entity.body else { panic!("queries are shown") };
    queries.into_iter().find(|q| q.id == id).expect("the query is there")
}

fn wait_for_state(session: &mut Session, id: &str, state: &str) -> RunningQuery {
    let begun = Stopwatch::start();
    loop {
        let found = query(session, id);
        if found.state == state {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "{id} is {} and never {state}", found.state);
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn counter(query: &RunningQuery, name: &str) -> u64 {
    query.counters.as_ref().and_then(|c| c.get(name)?.as_u64()).unwrap_or_else(|| panic!("{name} is counted"))
}

/// `INSERT INTO s` of keys `k0…`, each twice, 100 rows a statement.
fn inserts() -> String {
    let rows: Vec<String> = (0..2 * KEYS).map(|i| format!("('k{}', 'v{i}')", i % KEYS)).collect();
    rows.chunks(100).map(|rows| format!("INSERT INTO s VALUES {};", rows.join(", "))).collect()
}

fn parked_and_resumed(partitions: u32, open: &dyn Fn() -> Engine, restart: bool) {
    let engine = open();
    let mut session = engine.session(Access::default());
    let create = format!(
        "CREATE STREAM s (k VARCHAR KEY, v VARCHAR) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS={partitions});
         SET 'query.state.bytes.max'='60000';
         CREATE TABLE t AS SELECT v, COUNT(*) AS n, COLLECT_LIST(k) AS ks FROM s GROUP BY v;
         CREATE TABLE small AS SELECT k, COUNT(*) AS n FROM s WHERE k = 'k1' GROUP BY k;"
    );
    run(&mut session, &create).expect("it runs");
    run(&mut session, &inserts()).expect("inserts are taken though a query is parked");
    let parked = wait_for_state(&mut session, "CTAS_T_0", "ERROR");
    let reason = parked.error.expect("the reason is shown");
    for part in ["query.state.bytes.max = 60000", "offset ", "partition ", "RESUME CTAS_T_0"] {
        assert!(reason.contains(part), "{reason}");
    }
    let kept = query(&mut session, "CTAS_T_0");
    assert!(counter(&kept, "stateBytes") > 60_000);
    assert!(counter(&kept, "stateRows") > 100 && counter(&kept, "lag") > 0, "it stopped on the way: {kept:?}");
    let small = run(&mut session, "SELECT n FROM small WHERE k = 'k1';").expect("other queries go on");
    assert_eq!(small, ["2"]);
    let engine = if restart {
        drop(session);
        engine.close().expect("it closes");
        drop(engine);
        open()
    } else {
        engine
    };
    let mut session = engine.session(Access::default());
    wait_for_state(&mut session, "CTAS_T_0", "ERROR");
    run(&mut session, "RESUME CTAS_T_0;").expect("it is asked to go on");
    wait_for_state(&mut session, "CTAS_T_0", "ERROR");
    run(&mut session, "SET 'query.state.bytes.max'='100000000'; RESUME CTAS_T_0;").expect("the limit is raised");
    session.see_earlier_writes();
    let whole = run(&mut session, "SELECT COUNT(*) AS c, SUM(n) AS s, MAX(n) AS m FROM t;").expect("it runs");
    assert_eq!(whole, [format!("{0}|{0}|1", 2 * KEYS)], "every row was counted once");
    assert_eq!(wait_for_state(&mut session, "CTAS_T_0", "RUNNING").error, None);
    engine.close().expect("it closes");
}

#[test]
fn a_query_whose_state_is_full_is_parked_and_goes_on_exactly_in_memory() {
    parked_and_resumed(1, &|| Engine::open(EngineConfig::memory()).expect("it opens"), false);
    parked_and_resumed(3, &|| Engine::open(EngineConfig::memory()).expect("it opens"), false);
}

#[test]
fn a_query_whose_state_is_full_is_parked_and_goes_on_exactly_after_a_restart() {
    for partitions in [1, 3] {
        let folder = tempfile::tempdir().expect("a folder");
        let open = || Engine::open(EngineConfig::directory(folder.path())).expect("it opens");
        parked_and_resumed(partitions, &open, true);
    }
}

#[test]
fn a_push_query_whose_state_is_full_ends_with_an_error() {
    let mut session = memory_session();
    run(&mut session, "CREATE STREAM s (k VARCHAR KEY, v VARCHAR) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON');")
        .expect("it runs");
    run(&mut session, &inserts()).expect("it runs");
    let error = run(
        &mut session,
        "SET 'auto.offset.reset'='earliest'; SET 'query.state.bytes.max'='60000';
         SELECT k, COUNT(*) FROM s GROUP BY k EMIT CHANGES;",
    )
    .expect_err("it ends");
    assert_eq!(error.kind(), ErrorKind::Limit);
    assert!(error.message().contains("query.state.bytes.max = 60000"), "{error}");
}

#[test]
fn a_batch_query_that_needs_more_memory_than_it_may_ends_with_an_error() {
    let mut session = memory_session();
    run(
        &mut session,
        "CREATE STREAM s (k VARCHAR KEY, v VARCHAR) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON');
         CREATE TABLE t (k VARCHAR PRIMARY KEY, v VARCHAR) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON');",
    )
    .expect("it runs");
    run(&mut session, &inserts()).expect("it runs");
    run(&mut session, "SET 'batch.memory.bytes.max'='50000';").expect("it runs");
    for select in
        ["SELECT k, v FROM s ORDER BY v;", "SELECT v, COUNT(*) FROM s GROUP BY v;", "SELECT * FROM t ORDER BY k;"]
    {
        let error = run(&mut session, select).expect_err("it ends");
        assert_eq!(error.kind(), ErrorKind::Limit, "{select}: {error}");
        assert!(error.message().contains("batch.memory.bytes.max"), "{error}");
    }
    let rows = run(&mut session, "UNSET 'batch.memory.bytes.max'; SELECT COUNT(*) FROM t;").expect("it runs");
    assert_eq!(rows, [KEYS.to_string()]);
}

/// A time that cannot be read stops the query of this source.
#[test]
fn a_query_that_failed_is_started_again_from_the_log_or_says_that_it_cannot() {
    let script = "
        SET 'ksql.timestamp.throw.on.invalid'='true';
        CREATE STREAM d (k INT KEY, t VARCHAR) WITH (KAFKA_TOPIC='d', VALUE_FORMAT='JSON', PARTITIONS=1, TIMESTAMP='T', TIMESTAMP_FORMAT='yyyy-MM-dd');
        CREATE TABLE sums AS SELECT k, COUNT(*) AS n FROM d GROUP BY k;
        INSERT INTO d VALUES (1, '2020-02-02');
        SELECT n FROM sums WHERE k = 1;
        INSERT INTO d VALUES (1, 'yesterday');";
    let folder = tempfile::tempdir().expect("a folder");
    for config in [EngineConfig::memory(), EngineConfig::directory(folder.path())] {
        let durable = config.storage != headwater_engine::engine::Storage::Memory;
        let engine = Engine::open(config).expect("it opens");
        let mut session = engine.session(Access::default());
        run(&mut session, script).expect("it runs");
        let failed = wait_for_state(&mut session, "CTAS_SUMS_0", "ERROR").error;
        let resumed = run(&mut session, "RESUME CTAS_SUMS_0;");
        if durable {
            resumed.expect("it starts again");
            assert_eq!(wait_for_state(&mut session, "CTAS_SUMS_0", "ERROR").error, failed, "the row is still there");
            assert_eq!(counter(&query(&mut session, "CTAS_SUMS_0"), "lag"), 1);
        } else {
            let error = resumed.expect_err("its state is gone");
            assert!(error.message().contains("in memory"), "{error}");
        }
        engine.close().expect("it closes");
    }
}

#[test]
fn limits_are_checked_when_they_are_set() {
    let mut session = memory_session();
    for value in ["0", "-1", "1.5", "4GB"] {
        let error = run(&mut session, &format!("SET 'query.state.bytes.max'='{value}';")).expect_err("it is refused");
        assert!(error.message().contains("query.state.bytes.max"), "{error}");
    }
    let error = run(
        &mut session,
        "CREATE STREAM s (k VARCHAR KEY) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON');
         CREATE TABLE t AS SELECT k, COUNT(*) FROM s WINDOW HOPPING (SIZE 365 DAYS, ADVANCE BY 1 SECOND) GROUP BY k;",
    )
    .expect_err("a row would be in millions of windows");
    assert_eq!(error.kind(), ErrorKind::Limit, "{error}");
}
