//! Wrong input gets one clear error (what, where, what to do), the right exit code, and never a panic.

use crate::support::{Server, headwater, headwater_with, sql};

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
