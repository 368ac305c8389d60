//! `headwater serve` as a process: HTTP/2 without TLS, the remote command line, stopping and starting again.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use headwater_engine::clock::Stopwatch;

use crate::support::{Server, headwater, wait};

const CREATE: &str =
    "CREATE STREAM s (id INT KEY, v BIGINT) WITH (kafka_topic='s', value_format='JSON', partitions=1);";

fn curl(args: &[&str]) -> Option<String> {
    let ran = match Command::new("curl").args(["-sS", "-m", "20"]).args(args).output() {
        Ok(ran) => ran,
        Err(_) if std::env::var_os("CI").is_none() => {
            eprintln!("not run: curl is missing");
            return None;
        }
        Err(error) => panic!("curl is needed: {error}"),
    };
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    Some(String::from_utf8(ran.stdout).unwrap())
}

#[test]
fn one_port_speaks_both_http_versions() {
    let server = Server::start();
    let info = format!("{}/info", server.url);
    let version = ["-w", "%{http_version}", "-o", "/dev/null"];
    if let Some(one) = curl(&[&version[..], &[&info]].concat()) {
        assert_eq!(one, "1.1");
        let two = curl(&[&version[..], &["--http2-prior-knowledge", &info]].concat());
        assert_eq!(two.as_deref(), Some("2"));
    }
}

#[test]
fn inserts_and_queries_stream_over_http2() {
    let server = Server::start();
    server.ksql(CREATE);
    let inserts = format!("{}/inserts-stream", server.url);
    let rows = "{\"target\":\"S\"}\n{\"ID\":1,\"V\":9007199254740993}\n{\"ID\":2,\"V\":2}\n";
    let Some(acks) = curl(&["--http2-prior-knowledge", &inserts, "--data-binary", rows]) else { return };
    assert_eq!(acks, "{\"status\":\"ok\",\"seq\":0}\n{\"status\":\"ok\",\"seq\":1}\n");
    let query = format!("{}/query-stream", server.url);
    let body = r#"{"sql":"SELECT * FROM s EMIT CHANGES LIMIT 2;","properties":{"auto.offset.reset":"earliest"}}"#;
    let answer = curl(&["--http2-prior-knowledge", &query, "-d", body]).unwrap();
    let lines: Vec<&str> = answer.lines().collect();
    assert!(lines[0].contains(r#""columnNames":["ID","V"],"columnTypes":["INTEGER","BIGINT"]"#), "{answer}");
    assert_eq!(lines[1..], ["[1,9007199254740993]", "[2,2]"]);
}

#[test]
fn the_command_line_works_the_same_over_http() {
    let server = Server::start();
    let remote = |sql: &str| headwater(&["--server", &server.url, "-e", sql]);
    remote(CREATE).ok();
    let script = "INSERT INTO s VALUES (1, 9007199254740993); INSERT INTO s VALUES (2, null);
        SET 'auto.offset.reset' = 'earliest'; DEFINE n = '2'; SELECT id, v FROM s EMIT CHANGES LIMIT ${n};";
    assert_eq!(remote(script).ok(), "ID,V\n1,9007199254740993\n2,\n");
    assert!(remote("SHOW STREAMS; DESCRIBE s; SHOW PROPERTIES; SHOW FUNCTIONS;").ok().contains("S,s,KAFKA,JSON,false"));
    let text = remote("SELECT\n  w FROM s EMIT CHANGES;").failed(3);
    assert!(text.contains("at line 2, column 3\n  |   w FROM s EMIT CHANGES;\n  |   ^"), "{text}");
    assert!(remote("PRINT s FROM BEGINNING LIMIT 1;").ok().contains("key: 1"));
    remote("SET 'nonsense' = '1';").failed(3);
    remote("COPY s FROM 'x.csv';").failed(3);
}

#[test]
fn what_a_script_wrote_its_select_sees() {
    let server = Server::start();
    let script = format!(
        "{CREATE} CREATE TABLE t AS SELECT id, COUNT(*) AS n FROM s GROUP BY id;
         INSERT INTO s VALUES (1, 1); INSERT INTO s VALUES (1, 2); SELECT id, n FROM t WHERE id = 1;"
    );
    assert_eq!(headwater(&["--server", &server.url, "-e", &script]).ok(), "ID,N\n1,2\n");
    assert_eq!(headwater(&["--data", ":memory:", "-e", &script]).ok(), "ID,N\n1,2\n");
}

#[test]
fn sigterm_ends_push_queries_well_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let mut server = Server::with(&["--data", data]);
    server.ksql(CREATE);
    server.ksql("INSERT INTO s VALUES (1, 10);");
    let mut push = Command::new(crate::support::BINARY)
        .args(["--server", &server.url, "--output", "ndjson", "-e"])
        .arg("SET 'auto.offset.reset' = 'earliest'; SELECT id, v FROM s EMIT CHANGES;")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut rows = BufReader::new(push.stdout.take().unwrap()).lines();
    assert_eq!(rows.next().unwrap().unwrap(), "{\"ID\":1,\"V\":10}");
    let told = Stopwatch::start();
    server.terminate();
    assert_eq!(wait(&mut server.child).code(), Some(0));
    assert!(told.elapsed() < Duration::from_secs(10));
    assert_eq!(wait(&mut push).code(), Some(0));
    let out = headwater(&["--data", data, "-e", "SELECT id, v FROM s ORDER BY id;"]).ok();
    assert_eq!(out, "ID,V\n1,10\n");
}

#[test]
fn metrics_and_health_answer_in_their_own_formats() {
    let server = Server::start();
    server.ksql(CREATE);
    server.ksql("CREATE STREAM t AS SELECT * FROM s;");
    let (status, text) = server.get("/metrics");
    assert_eq!(status, 200);
    assert!(text.contains("headwater_http_requests_total{route=\"/ksql\",status=\"200\"} 2"), "{text}");
    assert!(text.contains("headwater_query_lag{query=\"CSAS_T_"), "{text}");
    assert!(text.ends_with("# EOF\n"));
    for path in ["/livez", "/readyz", "/chc/live", "/chc/ready", "/healthcheck"] {
        assert_eq!(server.get(path).0, 200, "{path}");
    }
}
