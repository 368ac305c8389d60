//! A table that a continuous query maintains equals the batch answer over the same log.
//!
//! Only meanings that do not depend on arrival order are compared; rows with a null group key are left out of the batch
//! answer, as ksqlDB drops them.

use headwater_tests::sql::{memory_session, run};
use proptest::prelude::*;

/// `(continuous query, batch query)`.
const PAIRS: &[(&str, &str)] = &[
    (
        "CREATE TABLE t AS SELECT g, COUNT(*) AS n, SUM(v) AS s, MIN(v) AS lo, MAX(v) AS hi FROM s GROUP BY g",
        "SELECT g, COUNT(*) AS n, COALESCE(SUM(v), CAST(0 AS BIGINT)) AS s, MIN(v) AS lo, MAX(v) AS hi FROM s
         WHERE g IS NOT NULL GROUP BY g",
    ),
    (
        "CREATE TABLE t AS SELECT g, COUNT(v) AS n, SUM(CASE WHEN v > 5 THEN 1 ELSE 0 END) AS big FROM s
         WHERE v <> 3 OR v IS NULL GROUP BY g",
        "SELECT g, COUNT(v) AS n, SUM(CASE WHEN v > 5 THEN 1 ELSE 0 END) AS big FROM s
         WHERE (v <> 3 OR v IS NULL) AND g IS NOT NULL GROUP BY g",
    ),
    (
        "CREATE TABLE t AS SELECT g, COUNT(*) AS n FROM s WHERE NOT (v = 3) GROUP BY g",
        "SELECT g, COUNT(*) AS n FROM s WHERE NOT (v = 3) AND g IS NOT NULL GROUP BY g",
    ),
    (
        "CREATE TABLE t WITH (KEY_FORMAT='JSON') AS SELECT g, v % 2 AS odd, COUNT(*) AS n FROM s GROUP BY g, v % 2",
        "SELECT g, v % 2 AS odd, COUNT(*) AS n FROM s WHERE g IS NOT NULL AND v IS NOT NULL GROUP BY g, v % 2",
    ),
];

fn literal(value: Option<i64>) -> String {
    value.map_or("NULL".into(), |v| v.to_string())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, ..ProptestConfig::default() })]

    #[test]
    fn a_maintained_table_equals_the_batch_answer(
        rows in prop::collection::vec((prop::option::of(0i64..4), prop::option::of(0i64..9)), 1..40),
        partitions in 1u32..4,
    ) {
        for (continuous, batch) in PAIRS {
            let mut session = memory_session();
            let values: Vec<String> =
                rows.iter().map(|(g, v)| format!("({}, {})", literal(*g), literal(*v))).collect();
            let script = format!(
                "CREATE STREAM s (g BIGINT, v BIGINT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON', PARTITIONS={partitions});
                 {continuous}; INSERT INTO s (g, v) VALUES {};",
                values.join(", ")
            );
            run(&mut session, &script).map_err(|e| TestCaseError::fail(format!("{e}: {script}")))?;
            let sorted = |mut rows: Vec<String>| { rows.sort(); rows };
            let kept = run(&mut session, "SELECT * FROM t;").map_err(|e| TestCaseError::fail(e.to_string()))?;
            let answer = run(&mut session, &format!("{batch};")).map_err(|e| TestCaseError::fail(format!("{e}: {batch}")))?;
            prop_assert_eq!(sorted(kept), sorted(answer), "{}", continuous);
        }
    }
}
