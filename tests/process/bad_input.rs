//! Wrong input gets one clear error (what, where, what to do), the right exit code, and never a panic.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use crate::support::{BINARY, Server, headwater, headwater_with, sql};

#[test]
fn a_wrong_call_exits_with_1() {
    headwater(&["--bogus"]).failed(1);
    headwater(&["-e", "SELECT 1;", "-f", "x.sql"]).failed(1);
    headwater(&["--server", "http://127.0.0.1:1", "--data", "x", "-e", "SELECT 1;"]).failed(1);
    let text = headwater(&["--data", ":memory:", "-f", "no/such/file.sql"]).failed(1);
    assert!(text.contains("no/such/file.sql cannot be read"), "{text}");
    headwater(&["--data", ":memory:", "--output", "xml", "-e", "SELECT 1;"]).failed(1);
}

#[test]
fn an_unreachable_server_exits_with_2() {
    let text = headwater(&["--server", "http://127.0.0.1:1", "-e", "SHOW STREAMS;"]).failed(2);
    assert!(text.contains("cannot be reached") && text.contains("hint:"), "{text}");
}

#[test]
fn a_misspelt_keyword_is_shown_where_it_is() {
    let text = sql(&[], "SELECT 1 AS one;\nSELEC 2 AS two;").failed(3);
    assert!(text.contains("at line 2, column 1\n  | SELEC 2 AS two;\n  | ^"), "{text}");
}

#[test]
fn an_unknown_column_is_shown_where_it_is_with_what_was_meant() {
    let script = "CREATE STREAM orders (amount INT) WITH (kafka_topic='o', value_format='JSON', partitions=1);
SELECT
  amout FROM orders EMIT CHANGES;";
    let text = sql(&[], script).failed(3);
    assert!(text.contains("at line 3, column 3\n  |   amout FROM orders EMIT CHANGES;\n  |   ^"), "{text}");
    assert!(text.to_lowercase().contains("did you mean amount"), "{text}");
}

#[test]
fn nul_and_invalid_utf8_are_refused_with_their_place() {
    let text = headwater_with(&["--data", ":memory:"], b"SELECT 1;\nSELECT '\xff';").failed(1);
    assert!(text.contains("not UTF-8") && text.contains("line 2"), "{text}");
    headwater_with(&["--data", ":memory:"], b"SELECT \0;").failed(3);
}

#[test]
fn unknown_settings_are_refused_with_the_nearest() {
    let text = sql(&[], "SET 'auto.ofset.reset' = 'earliest';").failed(3);
    assert!(text.contains("Unknown property") && text.contains("auto.offset.reset"), "{text}");
}

#[test]
fn hostile_statements_end_quickly() {
    let terms = vec!["1"; 100_000].join("+");
    sql_from_stdin(&format!("SELECT {terms} AS x;")).failed(3);
    let deep = format!("SELECT {}1{} AS x;", "(".repeat(20_000), ")".repeat(20_000));
    sql_from_stdin(&deep).failed(3);
    let long = format!("SELECT '{}' AS x;", "x".repeat(10 << 20));
    let ran = sql_from_stdin(&long);
    assert!(matches!(ran.code, Some(0 | 3)) && !ran.stderr.contains("panicked"), "{:?} {}", ran.code, ran.stderr);
}

#[test]
fn ten_thousand_columns_run_or_state_the_limit() {
    let columns: Vec<String> = (0..10_000).map(|i| format!("{i} AS c{i}")).collect();
    let ran = sql_from_stdin(&format!("SELECT {};", columns.join(", ")));
    match ran.code {
        Some(0) => assert_eq!(ran.stdout.lines().next().map(|l| l.split(',').count()), Some(10_000)),
        _ => assert!(ran.failed(3).contains("limit"), "the limit is named"),
    }
}

fn sql_from_stdin(sql: &str) -> crate::support::Ran {
    headwater_with(&["--data", ":memory:"], sql.as_bytes())
}

#[test]
fn a_port_in_use_is_said() {
    let server = Server::start();
    let address = server.url.trim_start_matches("http://");
    let text = headwater(&["serve", "--data", ":memory:", "--listen", address]).failed(2);
    assert!(text.contains(address) && text.contains("--listen"), "{text}");
}

#[test]
fn other_machines_are_let_in_only_on_purpose() {
    let text = headwater(&["serve", "--data", ":memory:", "--listen", "0.0.0.0:0"]).failed(1);
    assert!(text.contains("--insecure"), "{text}");
    headwater(&["serve", "--data", ":memory:", "--listen", "nonsense"]).failed(1);
}

#[test]
fn a_second_process_on_the_same_directory_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let _server = Server::with(&["--data", data]);
    let text = headwater(&["--data", data, "-e", "SHOW STREAMS;"]).failed(2);
    assert!(text.contains("another process") || text.contains("in use") || text.contains("pid"), "{text}");
}

#[test]
fn a_directory_that_cannot_be_written_is_refused() {
    let text = headwater(&["--data", "/proc/headwater", "-e", "SHOW STREAMS;"]).failed(2);
    assert!(text.contains("/proc/headwater"), "{text}");
}

#[test]
fn values_that_do_not_fit_are_refused_and_what_was_there_stays() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let run = |sql: &str| headwater(&["--data", data, "-e", sql]);
    run("CREATE TABLE t (id INT PRIMARY KEY, v INT, seen TIMESTAMP) WITH (kafka_topic='t', value_format='JSON', partitions=1);
         INSERT INTO t VALUES (1, 10, '2020-01-02T03:04:05.000');")
    .ok();
    for (sql, said) in [
        ("INSERT INTO t VALUES ('one', 2, NULL);", "INT"),
        ("INSERT INTO t VALUES (2, ARRAY[1], NULL);", "V"),
        ("INSERT INTO t (v) VALUES (3);", "ID"),
        ("INSERT INTO t VALUES (NULL, 3, NULL);", "Primary key"),
        ("INSERT INTO t VALUES (2, 99999999999, NULL);", "99999999999"),
        ("INSERT INTO t VALUES (2, 1, '+999999999-01-01T00:00:00');", "999999999"),
        ("INSERT INTO t (ROWTIME, id) VALUES (-1, 2);", "-1"),
        ("INSERT INTO t (id, nope) VALUES (2, 2);", "NOPE"),
    ] {
        let text = run(sql).failed(3);
        assert!(text.starts_with("error:") && text.contains(said), "{sql}: {text}");
    }
    assert_eq!(run("SELECT id, v FROM t;").ok(), "ID,V\n1,10\n");
}

#[test]
fn what_fails_for_a_row_is_null_there_and_is_told() {
    for (expression, said) in [
        ("v / (v - v)", "by zero"),
        ("CAST(v * 1000 AS DECIMAL(3, 1))", "7000"),
        ("CAST('x' AS INT)", "\"x\""),
        ("CAST('2020-99-99T00:00:00' AS TIMESTAMP)", "2020-99-99"),
    ] {
        let script = format!(
            "CREATE STREAM s (id INT KEY, v BIGINT) WITH (kafka_topic='s', value_format='JSON', partitions=1);
             CREATE STREAM d AS SELECT id, {expression} AS x FROM s;
             INSERT INTO s VALUES (1, 7);
             SELECT id, x FROM d;
             SELECT query FROM PROCESSING_LOG;
             SELECT id, {expression} AS x FROM s;
             SELECT id, {expression} AS x FROM s ORDER BY id;"
        );
        let ran = sql(&[], &script);
        let told =
            ran.stderr.lines().filter(|line| line.starts_with("(1 row, 1 value could not be computed: ")).count();
        assert!(told == 2 && ran.stderr.contains(said), "{expression}: {}", ran.stderr);
        assert_eq!(ran.ok(), "ID,X\n1,\nQUERY\nCSAS_D_0\nID,X\n1,\nID,X\n1,\n", "{expression}");
    }
}

#[test]
fn a_directory_of_a_newer_version_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    headwater(&["--data", data, "-e", "SHOW STREAMS;"]).ok();
    let format = folder.path().join("FORMAT");
    std::fs::write(&format, "9999\n").unwrap();
    let text = headwater(&["--data", data, "-e", "SHOW STREAMS;"]).failed(2);
    assert!(text.contains("newer Headwater") && text.contains("hint:"), "{text}");
    assert_eq!(std::fs::read_to_string(&format).unwrap(), "9999\n");
}

/// On a small disk of the server's own, mounted where nobody else sees it.
#[test]
fn a_full_disk_holds_inserts_back_until_there_is_room_and_loses_none() {
    let mounts = Command::new("unshare").args(["-rm", "mount", "-t", "tmpfs", "none", "/mnt"]).output();
    if !mounts.is_ok_and(|tried| tried.status.success()) {
        eprintln!("unshare cannot mount a disk here: a full disk was not tried");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().to_str().unwrap();
    let serve = format!(
        "mount -t tmpfs -o size=96m none {disk} && exec {BINARY} serve --listen 127.0.0.1:0 --data {disk}/data"
    );
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", &serve]);
    let server = Server::of(command);
    server.ksql("CREATE STREAM s (id INT KEY, v STRING) WITH (kafka_topic='s', value_format='JSON', partitions=1);");
    let filler = format!("/proc/{}/root{disk}/filler", server.child.id());
    let mut file = std::fs::File::create(&filler).expect("the server's disk can be seen");
    while file.write_all(&[0; 1 << 16]).is_ok() {}
    drop(file);
    let text = "x".repeat(4 << 20);
    let held = std::thread::scope(|scope| {
        let inserts = scope.spawn(|| {
            for id in 0..8 {
                server.ksql(&format!("INSERT INTO s VALUES ({id}, '{text}');"));
            }
        });
        std::thread::sleep(Duration::from_secs(3));
        let held = !inserts.is_finished();
        std::fs::remove_file(&filler).expect("the filler can be removed");
        inserts.join().expect("every insert is acknowledged");
        held
    });
    assert!(held, "the disk never was full");
    let (status, rows) = server.post("/query", r#"{"ksql": "SELECT COUNT(*) AS n FROM s;"}"#);
    assert!(status == 200 && rows.contains("[8]"), "{rows}");
}
