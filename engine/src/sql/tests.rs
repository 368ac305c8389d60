//! What parses, what prints, and what is refused where.

use super::*;
use crate::error::ErrorKind;

fn parse_with(text: &str, strict: bool) -> Result<Vec<ParsedStatement>> {
    parse(text, &BTreeMap::new(), ParseOptions { strict, ..ParseOptions::default() })
}

fn one(text: &str) -> Statement {
    let mut statements = parse_with(text, false).unwrap_or_else(|e| panic!("{text}: {e}"));
    assert_eq!(statements.len(), 1, "{text}");
    statements.remove(0).statement
}

/// A tree as text, without the places in the text.
fn shape(statement: &Statement) -> String {
    shape_of(&format!("{statement:?}"))
}

fn shape_of(debug: &str) -> String {
    let mut out = String::new();
    let mut rest = debug;
    while let Some(start) = rest.find("Position {") {
        out.push_str(&rest[..start]);
        let end = rest[start..].find('}').map_or(rest.len(), |end| start + end + 1);
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// What each statement prints as; every printed form must parse back to the same tree.
#[test]
fn statements_print_and_parse_back() {
    for (text, printed) in [
        (
            "create or replace stream s (k int key, v map<string, array<int>>, h array<struct<key string, value bytes>> \
             headers, x bytes header('a')) with (kafka_topic='t', partitions=3, wrap_single_value=false)",
            "CREATE OR REPLACE STREAM S (K INTEGER KEY, V MAP<STRING, ARRAY<INTEGER>>, H ARRAY<STRUCT<KEY STRING, VALUE \
             BYTES>> HEADERS, X BYTES HEADER('a')) WITH (KAFKA_TOPIC='t', PARTITIONS=3, WRAP_SINGLE_VALUE=false)",
        ),
        (
            "create source table if not exists t (a int primary key)",
            "CREATE SOURCE TABLE IF NOT EXISTS T (A INTEGER PRIMARY KEY)",
        ),
        (
            "create table t with (value_format='avro') as select a, count(*) as n, b x from s s1 window w tumbling (size 1 \
             hour, retention 2 hours, grace period 1 day) where a > 1 group by a, b having count(*) > 1 emit final limit 3",
            "CREATE TABLE T WITH (VALUE_FORMAT='avro') AS SELECT A, COUNT(*) AS N, B AS X FROM S AS S1 WINDOW W TUMBLING \
             (SIZE 3600000 MILLISECONDS, RETENTION 7200000 MILLISECONDS, GRACE PERIOD 86400000 MILLISECONDS) WHERE (A > 1) \
             GROUP BY A, B HAVING (COUNT(*) > 1) EMIT FINAL LIMIT 3",
        ),
        (
            "select a.*, b->*, c from a join b within (1 second, 2 seconds) grace period 3 seconds on a.x = b.x full outer \
             join c on a.x = c.x left join d within 1 minute on a.x = d.x partition by (a.y, c) emit changes",
            "SELECT A.*, B->*, C FROM A INNER JOIN B WITHIN (1000 MILLISECONDS, 2000 MILLISECONDS) GRACE PERIOD 3000 \
             MILLISECONDS ON (A.X = B.X) FULL OUTER JOIN C ON (A.X = C.X) LEFT OUTER JOIN D WITHIN (60000 MILLISECONDS, \
             60000 MILLISECONDS) ON (A.X = D.X) PARTITION BY A.Y, C EMIT CHANGES",
        ),
        (
            "select * from s window hopping (size 2 minutes, advance by 1 minute) group by (a) + 1",
            "SELECT * FROM S WINDOW HOPPING (SIZE 120000 MILLISECONDS, ADVANCE BY 60000 MILLISECONDS) GROUP BY (A + 1)",
        ),
        ("select 1a as 2b from s partition by (a is null)", "SELECT `1A` AS `2B` FROM S PARTITION BY (A IS NULL)"),
        ("select emit, partition from s emit emit changes", "SELECT EMIT, PARTITION FROM S AS EMIT EMIT CHANGES"),
        ("insert into s with (query_id='q') select * from t", "INSERT INTO S WITH (QUERY_ID='q') SELECT * FROM T"),
        (
            "insert into s (a, `b`) values (1, -2.50), (null, 'x')",
            "INSERT INTO S (A, `b`) VALUES (1, -2.50), (null, 'x')",
        ),
        ("insert into s values ()", "INSERT INTO S VALUES ()"),
        ("drop stream if exists s delete topic", "DROP STREAM IF EXISTS S DELETE TOPIC"),
        ("alter table t add column a int, add b string", "ALTER TABLE T ADD COLUMN A INTEGER, ADD COLUMN B STRING"),
        ("alter stream t add column decimal(2, 1)", "ALTER STREAM T ADD COLUMN COLUMN DECIMAL(2, 1)"),
        ("alter system 'a' = 'b'", "ALTER SYSTEM 'a' = 'b'"),
        ("create type if not exists t as struct<a int>", "CREATE TYPE IF NOT EXISTS T AS STRUCT<A INTEGER>"),
        ("drop type t", "DROP TYPE T"),
        ("terminate ctas_t_1", "TERMINATE CTAS_T_1"),
        ("pause all", "PAUSE ALL"),
        ("resume all", "RESUME ALL"),
        ("set 'auto.offset.reset'='earliest'", "SET 'auto.offset.reset' = 'earliest'"),
        ("unset 'a'", "UNSET 'a'"),
        ("define v = 'x'", "DEFINE v = 'x'"),
        ("undefine v", "UNDEFINE v"),
        ("list all topics extended", "SHOW ALL TOPICS EXTENDED"),
        ("show source connectors", "SHOW CONNECTORS"),
        ("show connector plugins", "SHOW CONNECTOR PLUGINS"),
        ("show queries extended", "SHOW QUERIES EXTENDED"),
        ("show variables", "SHOW VARIABLES"),
        ("describe s extended", "DESCRIBE S EXTENDED"),
        ("describe tables", "DESCRIBE TABLES"),
        ("describe function abs", "DESCRIBE FUNCTION ABS"),
        ("describe connector c", "DESCRIBE CONNECTOR C"),
        ("explain ctas_1", "EXPLAIN CTAS_1"),
        ("explain select a from s", "EXPLAIN SELECT A FROM S"),
        ("print users from beginning interval 2 limit 3", "PRINT 'users' FROM BEGINNING INTERVAL 2 LIMIT 3"),
        ("run script 'a.sql'", "RUN SCRIPT 'a.sql'"),
        ("copy s from 'x.csv' with (format = csv)", "COPY S FROM 'x.csv' WITH (FORMAT='CSV')"),
        ("copy s to 'x.csv'", "COPY (SELECT * FROM S) TO 'x.csv'"),
        (
            "copy (select a from s order by a) to 'x' (header = true)",
            "COPY (SELECT A FROM S ORDER BY A) TO 'x' WITH (HEADER=true)",
        ),
        (
            "assert topic t with (partitions=1) timeout 10 seconds",
            "ASSERT TOPIC 't' WITH (PARTITIONS=1) TIMEOUT 10000 MILLISECONDS",
        ),
        ("assert not exists schema subject 'a-value' id 3", "ASSERT NOT EXISTS SCHEMA SUBJECT 'a-value' ID 3"),
        ("assert values s (a) values (1)", "ASSERT VALUES S (A) VALUES (1)"),
        ("assert null values s (k) key (1)", "ASSERT NULL VALUES S (K) KEY (1)"),
        ("assert stream s (a int) with (kafka_topic='t')", "ASSERT STREAM S (A INTEGER) WITH (KAFKA_TOPIC='t')"),
        (
            "create sink connector c with ('connector.class'='x')",
            "CREATE SINK CONNECTOR C WITH (`connector.class`='x')",
        ),
        ("drop connector if exists c", "DROP CONNECTOR IF EXISTS C"),
        ("select left(a, 1), `abs`(b) from s", "SELECT `LEFT`(A, 1), `abs`(B) FROM S"),
        (
            "select -(1), - -1, a[1]->b from s where not a not in (1, 2)",
            "SELECT -(1), - -1, A[1]->B FROM S WHERE (NOT (A NOT IN (1, 2)))",
        ),
    ] {
        let statement = one(text);
        assert_eq!(statement.to_string(), printed);
        if !matches!(statement, Statement::Explain(_)) {
            assert_eq!(shape(&one(printed)), shape(&statement), "{printed}");
        }
    }
}

#[test]
fn what_fits_the_grammar_is_a_query_and_the_rest_ordinary_sql() {
    for (text, is_batch) in [
        ("SELECT a, count(*) FROM s JOIN t ON s.k = t.k GROUP BY a LIMIT 3", false),
        ("SELECT a FROM s ORDER BY a", true),
        ("SELECT DISTINCT a FROM s", true),
        ("SELECT a FROM s, t", true),
        ("SELECT a FROM s LIMIT 1 OFFSET 2", true),
        ("SELECT a FROM s WHERE a IN (SELECT b FROM t)", true),
        ("SELECT a FROM (SELECT a FROM s) x", true),
        ("SELECT a FROM s UNION SELECT a FROM t", true),
        ("SELECT a FROM s JOIN t USING (k)", true),
        ("SELECT a FROM s CROSS JOIN t", true),
        ("SELECT sum(a) OVER (ORDER BY b) FROM s", true),
        ("SELECT count(DISTINCT a) FROM s", true),
        ("SELECT 1", true),
        ("WITH x AS (SELECT 1 AS a) SELECT * FROM x", true),
        ("VALUES (1, 2)", true),
        ("(SELECT a FROM s) UNION ALL (SELECT a FROM t)", true),
    ] {
        assert_eq!(matches!(one(text), Statement::BatchQuery(_)), is_batch, "{text}");
        assert_eq!(parse_with(text, true).is_err(), is_batch, "{text}");
    }
}

#[test]
fn errors_say_where_and_what() {
    for (text, message) in [
        (
            "CREATE STREAM INPUT (K STRING (KEY)) WITH (kafka_topic='input');",
            "line 1:32: Syntax Error\nExpecting {'STRING', INTEGER_VALUE}\nStatement: CREATE STREAM INPUT (K STRING (KEY)) \
             WITH (kafka_topic='input');",
        ),
        ("CREATE STREAM I (K VARCHAR(9) (KEY));", "line 1:31: Syntax Error\nExpecting {',', ')'}\nStatement: "),
        (
            "SHOW STREAMS;\nSELECT * FROM S1 ORDER BY K DESC;",
            "line 2:24: Syntax Error\n\nStatement: SELECT * FROM S1 ORDER BY K DESC;",
        ),
        ("SELECT * FROM r LIMIT heh;", "line 1:23: Syntax Error"),
        ("CREATE STREAM I (C NULL);", "line 1:20: Syntax Error\n\"NULL\" is a reserved keyword"),
        ("CREATE TABLE O AS SELECT COUNT(*) FROM T GROUP BY D AND I;", "line 1:53: Syntax Error"),
        ("SELECT * FROM EXPLODE(A) EMIT CHANGES;", "line 1:22: Syntax Error"),
        (
            "SHO STREAMS;",
            "line 1:1: Syntax Error\nUnknown statement 'SHO'\nDid you mean 'SHOW'?\nStatement: SHO STREAMS;",
        ),
        ("SELECT ? FROM s EMIT CHANGES;", "line 1:8: Syntax Error"),
        (
            "SELECT 9223372036854775808 FROM s;",
            "Failed to prepare statement: line 1:9: Invalid numeric literal: 9223372036854775808",
        ),
        ("SELECT -1e400 FROM s;", "Failed to prepare statement: line 1:10: Number overflows DOUBLE: -1e400"),
        (
            "CREATE TABLE INPUT (ID INT KEY);",
            "Line: 1, Col: 21: Column `ID` is a 'KEY' column: please use 'PRIMARY KEY' for tables.",
        ),
        (
            "CREATE STREAM INPUT (ID INT PRIMARY KEY);",
            "Line: 1, Col: 22: Column `ID` is a 'PRIMARY KEY' column: please use 'KEY' for streams.",
        ),
        ("CREATE STREAM O AS SELECT a FROM b PARTITION BY ();", "PARTITION BY requires at least one expression"),
        ("SELECT * FROM s LIMIT -1;", "Pull queries don't support negative integers in the LIMIT clause."),
    ] {
        let error = parse_with(text, true).expect_err(text);
        assert!(error.message().starts_with(message), "{text}\n{error}");
    }
}

#[test]
fn misspelt_words_get_a_hint() {
    for (text, hint) in [
        ("SELECT * FORM s EMIT CHANGES", "Did you mean \"FROM\"?"),
        ("SELECT a FORM s EMIT CHANGES", "Did you mean \"FROM\"?"),
        ("CREATE STREEM s (a INT)", "Did you mean \"STREAM\"?"),
        ("INSERT INTO s VALEUS (1)", "Did you mean \"VALUES\"?"),
        ("SELECT a FROM s WHRE a = 1 EMIT CHANGES", "Did you mean \"WHERE\"?"),
    ] {
        assert_eq!(parse_with(text, false).unwrap_err().hint(), Some(hint), "{text}");
    }
}

#[test]
fn variables_apply_from_their_definition_on() {
    let text = "DEFINE t = 'orders'; SELECT * FROM ${T} WHERE a = '${t}'; UNDEFINE t; SELECT '${t}' FROM s;";
    let texts: Vec<String> = parse_with(text, false).unwrap().into_iter().map(|s| s.text).collect();
    assert_eq!(texts[1], "SELECT * FROM orders WHERE a = 'orders'");
    assert_eq!(texts[3], "SELECT '${t}' FROM s");
    let error = parse_with("SELECT * FROM ${t};", false).unwrap_err();
    assert_eq!(error.message(), "line 1:15: Variable 't' is not defined");
}

#[test]
fn statements_keep_their_text_and_place() {
    let statements = parse_with("-- x\nSHOW STREAMS ;\n  SELECT 'a;b' FROM s -- y\n;", false).unwrap();
    let found: Vec<_> = statements.iter().map(|s| (s.text.as_str(), s.position.line, s.position.column)).collect();
    assert_eq!(found, [("SHOW STREAMS", 2, 1), ("SELECT 'a;b' FROM s", 3, 3)]);
}

#[test]
fn the_deepest_allowed_statement_parses_and_prints_on_a_small_stack() {
    let nested =
        |open: &str, close: &str| format!("SELECT {}a{} FROM s", open.repeat(NESTING_MAX), close.repeat(NESTING_MAX));
    let texts = [
        nested("(", ")"),
        nested("f(", ")"),
        nested("CASE WHEN b THEN ", " END"),
        format!("SELECT {} FROM s", vec!["a"; EXPRESSION_DEPTH_MAX].join(" || ")),
        format!("SELECT * FROM s WHERE {}", vec!["a"; EXPRESSION_DEPTH_MAX].join(" OR ")),
        format!("SELECT {} a FROM s", "NOT ".repeat(EXPRESSION_DEPTH_MAX)),
        format!("SELECT {}1{}", "(SELECT ".repeat(NESTING_MAX), ")".repeat(NESTING_MAX)),
        format!("SELECT {}a{} FROM s ORDER BY a", "f(".repeat(NESTING_MAX), ")".repeat(NESTING_MAX)),
        format!("SELECT {}a{} FROM s ORDER BY a", "(".repeat(NESTING_MAX), ")".repeat(NESTING_MAX)),
        format!("SELECT * FROM {}s JOIN t USING (k){}", "(".repeat(NESTING_MAX - 1), ")".repeat(NESTING_MAX - 1)),
        format!("SELECT * FROM {}s{}", "(SELECT * FROM ".repeat(NESTING_MAX), ")".repeat(NESTING_MAX)),
    ];
    for text in &texts {
        assert!(one(text).to_string().starts_with("SELECT "));
    }
}

#[test]
fn hostile_text_is_refused_quickly_and_clearly() {
    for text in [
        format!("SELECT {} FROM s", vec!["a"; 100_000].join(" + ")),
        format!("SELECT * FROM s WHERE {}", vec!["a = 1"; 100_000].join(" OR ")),
        format!("SELECT {}1{}", "(SELECT ".repeat(10_000), ")".repeat(10_000)),
        format!("SELECT * FROM {}", vec!["s"; 10_000].join(", ")),
        " ".repeat(SQL_BYTES_MAX + 1),
        "SHOW TYPES;".repeat(STATEMENTS_MAX + 1),
        format!("DEFINE v = '{}'; SELECT '{}' FROM s;", "x".repeat(100_000), "${v}".repeat(100_000)),
        format!("SELECT CAST(a AS STRUCT<{}>) FROM s ORDER BY a", vec!["a INT"; 40_000].join(", ")),
    ] {
        assert_eq!(parse_with(&text, false).unwrap_err().kind(), ErrorKind::Limit, "{:.40}", text);
    }
    assert!(parse_with("SELECT \0 FROM s", false).unwrap_err().message().contains("NUL byte"));
}

mod generated {
    use proptest::prelude::*;

    use super::super::ast::{ArithmeticOp, ComparisonOp, Expr, Literal, TypeName};
    use super::super::{keywords, parse_expression, print};
    use super::*;
    use crate::types::SqlType;

    fn any_name() -> impl Strategy<Value = String> {
        prop_oneof![
            "[A-C]{1,2}",
            "[a-c `\"é1]{0,3}",
            proptest::sample::select(keywords().collect::<Vec<_>>()).prop_map(str::to_string),
        ]
    }

    fn any_literal() -> impl Strategy<Value = Literal> {
        prop_oneof![
            Just(Literal::Null),
            any::<bool>().prop_map(Literal::Boolean),
            any::<i32>().prop_map(Literal::Integer),
            (i64::from(i32::MAX) + 1..=i64::MAX).prop_map(Literal::Bigint),
            "-?[0-9]{1,2}\\.[0-9]{0,2}".prop_map(Literal::Decimal),
            proptest::num::f64::NORMAL.prop_map(Literal::Double),
            "[a'\"\n;-]{0,4}".prop_map(Literal::String),
        ]
    }

    fn any_type() -> impl Strategy<Value = TypeName> {
        let plain = prop_oneof![
            Just(TypeName::Sql(SqlType::Integer)),
            Just(TypeName::Sql(SqlType::decimal(4, 2))),
            "[A-C]".prop_map(TypeName::Custom),
        ];
        plain.prop_recursive(2, 6, 2, |ty| {
            prop_oneof![
                ty.clone().prop_map(|item| TypeName::Array(Box::new(item))),
                (ty.clone(), ty.clone()).prop_map(|(k, v)| TypeName::Map(Box::new(k), Box::new(v))),
                prop::collection::vec((any_name(), ty), 0..3).prop_map(TypeName::Struct),
            ]
        })
    }

    fn any_expr() -> impl Strategy<Value = Expr> {
        let position = Position::default();
        let leaf = prop_oneof![
            any_literal().prop_map(Expr::Literal),
            (prop::option::of(any_name()), any_name()).prop_map(move |(source, name)| Expr::Column {
                source,
                name,
                position
            }),
        ];
        leaf.prop_recursive(4, 24, 3, move |e| {
            let boxed = || e.clone().prop_map(Box::new);
            let list = || prop::collection::vec(e.clone(), 0..3);
            let nonempty = || prop::collection::vec(e.clone(), 1..3);
            let flag = any::<bool>;
            let arithmetic = proptest::sample::select(vec![
                ArithmeticOp::Add,
                ArithmeticOp::Subtract,
                ArithmeticOp::Multiply,
                ArithmeticOp::Modulo,
            ]);
            let comparison = proptest::sample::select(vec![
                ComparisonOp::Equal,
                ComparisonOp::NotEqual,
                ComparisonOp::LessOrEqual,
                ComparisonOp::IsDistinctFrom,
                ComparisonOp::IsNotDistinctFrom,
            ]);
            let operators = prop_oneof![
                (arithmetic, boxed(), boxed()).prop_map(|(op, left, right)| Expr::Arithmetic { op, left, right }),
                (comparison, boxed(), boxed()).prop_map(|(op, left, right)| Expr::Comparison { op, left, right }),
                (boxed(), boxed()).prop_map(|(left, right)| Expr::Concat { left, right }),
                (boxed(), boxed()).prop_map(|(left, right)| Expr::And(left, right)),
                (boxed(), boxed()).prop_map(|(left, right)| Expr::Or(left, right)),
                boxed().prop_map(Expr::Not),
                boxed().prop_map(Expr::Negate),
                boxed().prop_map(Expr::Plus),
                (boxed(), "[a-c/]{1,3}").prop_map(|(expr, zone)| Expr::AtTimeZone { expr, zone }),
            ];
            let predicates = prop_oneof![
                (boxed(), flag()).prop_map(|(expr, negated)| Expr::IsNull { expr, negated }),
                (boxed(), boxed(), boxed(), flag()).prop_map(|(expr, low, high, negated)| Expr::Between {
                    expr,
                    low,
                    high,
                    negated
                }),
                (boxed(), nonempty(), flag()).prop_map(|(expr, list, negated)| Expr::In { expr, list, negated }),
                (boxed(), boxed(), prop::option::of("[!']"), flag())
                    .prop_map(|(expr, pattern, escape, negated)| Expr::Like { expr, pattern, escape, negated }),
            ];
            let others = prop_oneof![
                (boxed(), boxed()).prop_map(|(base, index)| Expr::Subscript { base, index }),
                (boxed(), any_name()).prop_map(|(base, field)| Expr::Field { base, field }),
                (boxed(), any_type()).prop_map(|(expr, ty)| Expr::Cast { expr, ty }),
                (any_name(), list(), flag()).prop_map(move |(name, args, star)| {
                    Expr::Call { name, star: star && args.is_empty(), args, position }
                }),
                (any_name(), prop::collection::vec(any_name(), 1..3), boxed()).prop_map(
                    move |(name, parameters, body)| Expr::Call {
                        name,
                        args: vec![Expr::IntervalUnit("DAYS".into()), Expr::Lambda { parameters, body }],
                        star: false,
                        position,
                    }
                ),
                list().prop_map(Expr::Array),
                prop::collection::vec((e.clone(), e.clone()), 0..3).prop_map(Expr::Map),
                prop::collection::vec((any_name(), e.clone()), 0..3).prop_map(Expr::Struct),
                (
                    prop::option::of(boxed()),
                    prop::collection::vec((e.clone(), e.clone()), 1..3),
                    prop::option::of(boxed())
                )
                    .prop_map(|(operand, branches, otherwise)| Expr::Case {
                        operand,
                        branches,
                        otherwise
                    }),
            ];
            prop_oneof![operators, predicates, others]
        })
    }

    fn without_places(expr: &Expr) -> String {
        shape_of(&format!("{expr:?}"))
    }

    proptest! {
        #[test]
        fn any_expression_prints_and_parses_back(expr in any_expr()) {
            let printed = print::sql(&expr);
            let again = parse_expression(&printed).map_err(|e| TestCaseError::fail(format!("{printed}: {e}")))?;
            prop_assert_eq!(without_places(&again), without_places(&expr), "{}", printed);
        }

        #[test]
        fn no_text_makes_the_parser_panic(
            words in prop::collection::vec(
                prop_oneof![
                    proptest::sample::select(keywords().chain(["s", "->", "(", ")", ",", ";", "=", "=>", ":=", "*", "[",
                        "]", "<", ">", "'", "\"", "`", "${v}", ".", "-", "1", ".5", "1e9", "é", "--", "/*"]).collect::<Vec<_>>())
                        .prop_map(str::to_string),
                    any::<String>(),
                ],
                0..24,
            ),
            strict: bool,
        ) {
            let text = words.join(" ");
            let _ = parse_with(&text, strict);
            let _ = split_statements(&text);
            let _ = parse_batch(&text);
        }
    }
}

/// Words that open a clause of ordinary SQL are names in ksqlDB's grammar, and so they are where nothing else fits.
#[test]
fn what_ksqldb_reads_is_read() {
    for text in [
        "SELECT a FROM s connect",
        "SELECT a union FROM s order EMIT CHANGES",
        "CREATE STREAM x AS SELECT a FROM s natural",
        "INSERT INTO x SELECT a FROM s using",
    ] {
        assert!(parse_with(text, true).is_ok(), "{text}");
        assert_eq!(shape(&one(text)), shape(&parse_with(text, true).unwrap()[0].statement), "{text}");
    }
}
