//! `kill -9` under load: every acknowledged row is there once, and every table equals a run that never crashed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Server, headwater};

const WRITERS: u64 = 4;

#[test]
fn what_was_acknowledged_survives_kill_9_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let data = data.to_str().expect("a UTF-8 path");
    headwater(&[
        "--data",
        data,
        "-e",
        "CREATE STREAM s (id BIGINT KEY, g INT, v BIGINT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS=2);
         CREATE STREAM copied AS SELECT id, g, v * 2 AS w FROM s;
         CREATE TABLE t AS SELECT g, COUNT(*) AS n, SUM(v) AS total FROM s GROUP BY g;",
    ])
    .ok();
    let acknowledged: Arc<Mutex<Vec<u64>>> = Arc::default();
    let next = Arc::new(AtomicU64::new(0));
    for round in 0..3u64 {
        let mut server = Server::with(&["--data", data]);
        let stop = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..WRITERS)
            .map(|_| {
                let (url, stop, next, acknowledged) =
                    (server.url.clone(), stop.clone(), next.clone(), acknowledged.clone());
                std::thread::spawn(move || {
                    while !stop.load(Ordering::Relaxed) {
                        let id = next.fetch_add(1, Ordering::Relaxed);
                        let body = format!("{{\"ksql\":\"INSERT INTO s VALUES ({id}, {}, {id});\"}}", id % 7);
                        let sent =
                            ureq::post(&format!("{url}/ksql")).content_type("application/json").send(body.as_str());
                        match sent {
                            Ok(_) => acknowledged.lock().expect("no writer panics").push(id),
                            // The server was killed: this row may or may not be there.
                            Err(_) => return,
                        }
                    }
                })
            })
            .collect();
        std::thread::sleep(Duration::from_millis(300 + 250 * round));
        server.child.kill().expect("the server can be killed");
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().expect("no writer panics");
        }
        server.child.wait().expect("the server ends");
    }
    let acknowledged = acknowledged.lock().expect("no writer panics").clone();
    assert!(acknowledged.len() > 20, "only {} rows were acknowledged", acknowledged.len());
    // One row more makes the SELECTs wait until the queries have caught up.
    let last = next.fetch_add(1, Ordering::Relaxed);
    let out = headwater(&[
        "--data",
        data,
        "--output",
        "ndjson",
        "-e",
        &format!(
            "INSERT INTO s VALUES ({last}, {}, {last});
             SELECT 's' AS what, id AS a, v AS b FROM s;
             SELECT 'copied' AS what, id AS a, w AS b FROM copied;
             SELECT 't' AS what, g AS a, n AS b, total AS c FROM t;",
            last % 7
        ),
    ])
    .ok();
    let mut rows: BTreeMap<u64, u64> = BTreeMap::new();
    let mut copied: BTreeMap<u64, u64> = BTreeMap::new();
    let mut table: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for line in out.lines() {
        let row: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let number = |name: &str| row[name].as_u64().unwrap_or_else(|| panic!("{line}"));
        match row["WHAT"].as_str() {
            Some("s") => *rows.entry(number("A")).or_default() += 1,
            Some("copied") => {
                assert_eq!(number("B"), number("A") * 2);
                *copied.entry(number("A")).or_default() += 1;
            }
            _ => {
                table.insert(number("A"), (number("B"), number("C")));
            }
        }
    }
    for id in acknowledged.iter().chain([&last]) {
        assert_eq!(rows.get(id), Some(&1), "row {id} of {} must be there once", rows.len());
    }
    assert!(rows.values().all(|n| *n == 1), "a row is there twice: {rows:?}");
    assert_eq!(rows, copied, "the copy differs from its source");
    let mut expected: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
    for id in rows.keys() {
        let group = expected.entry(id % 7).or_default();
        *group = (group.0 + 1, group.1 + id);
    }
    assert_eq!(table, expected, "the table differs from a run that never crashed");
}
